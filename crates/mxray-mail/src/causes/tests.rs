//! Each rule's own sample, and what may never decide.

use super::*;
use crate::causes::matching::RuleError;

fn judge(rules: &Rules, host: &str, text: &str) -> Cause {
    rules.judge(&Said { host: host.as_bytes(), text: text.as_bytes(), speaker: Speaker::Ours }).cause
}

#[test]
fn the_built_in_rules_match_their_samples() {
    let (rules, sources) = Rules::with(&[]).expect("the built-in rules").counts();
    assert!(rules >= 100 && sources >= 10, "{rules} rules, {sources} sources");
}

/// The causes that no reply can name: they come from what surrounds it.
const NOT_BY_REPLY: [Cause; 5] =
    [Cause::Echo, Cause::NotABounce, Cause::Feedback, Cause::DeliveredReport, Cause::Unknown];

#[test]
fn every_cause_has_a_rule_and_a_name() {
    let rules = Rules::built_in();
    let covered: Vec<Cause> = rules.causes().collect();
    let missing: Vec<_> =
        Cause::ALL.iter().filter(|cause| !covered.contains(cause) && !NOT_BY_REPLY.contains(cause)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(Cause::ALL.len() >= 56);
    for cause in Cause::ALL {
        assert_eq!(Cause::named(cause.name()), Some(*cause));
        assert_eq!(serde_json_name(*cause), cause.name());
    }
}

fn serde_json_name(cause: Cause) -> String {
    toml::Value::try_from(cause).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[test]
fn the_same_code_means_different_things() {
    let rules = Rules::built_in();
    // Google's x.7.27 is SPF; registered is a null MX of the sender (RFC 7505).
    assert_eq!(judge(&rules, "aspmx.l.google.com", "550-5.7.27 Your email has been blocked"), Cause::AuthSpf);
    assert_ne!(judge(&rules, "mx.example.org", "550 5.7.27 Your email has been blocked"), Cause::AuthSpf);
    // A code alone names nothing.
    assert_eq!(judge(&rules, "mx.example.org", "550 5.1.1 xyzzy"), Cause::Unknown);
}

#[test]
fn names_of_people_are_no_evidence() {
    let rules = Rules::built_in();
    for local in ["quota", "spamhaus.org", "virus", "greylist", "mailbox-full"] {
        let text = format!(
            "host spamhaus.example.org[192.0.2.1] said: 550 5.1.1 <{local}@example.org>: User unknown (in reply to RCPT TO command)"
        );
        assert_eq!(judge(&rules, "", &text), Cause::RcptUnknown, "{text}");
    }
}

#[test]
fn an_echo_is_no_evidence() {
    let rules = Rules::built_in();
    let text = b"delivery temporarily suspended: connect to mx.example.org[192.0.2.1]:25: Connection refused";
    let verdict = rules.judge(&Said { host: b"", text, speaker: Speaker::Ours });
    assert_eq!((verdict.cause, verdict.is_evidence()), (Cause::Echo, false));
}

#[test]
fn the_first_digit_decides_about_the_next_attempt() {
    let rules = Rules::built_in();
    let read = |text: &str| {
        let verdict = rules.judge(&Said { host: b"", text: text.as_bytes(), speaker: Speaker::Theirs });
        (verdict.cause, verdict.finality, verdict.retry)
    };
    // Code and enhanced code disagree: the reply is what counts.
    assert_eq!(read("550 4.2.2 Mailbox full"), (Cause::RcptFull, Finality::MessageDead, Retry::No));
    assert_eq!(read("452 4.2.2 Mailbox full"), (Cause::RcptFull, Finality::Wait, Retry::Yes));
    assert_eq!(read("450 5.1.1 User unknown"), (Cause::RcptUnknown, Finality::Wait, Retry::Yes));
    assert_eq!(read("550 5.7.1 dnsbl.example blocked using x").1, Finality::StopLane);
}

#[test]
fn users_rules_come_first_and_are_checked() {
    let own = |rule: &str| format!("rule = [{rule}]\n[source.me]\nabout = \"seen here\"\ndate = \"2026-01-01\"\n");
    let good =
        r#"{ id = "mine", cause = "greylist", any = ["user unknown"], source = "me", sample = "550 user unknown" }"#;
    let rules = Rules::with(&[&own(good)]).expect("a good file");
    assert_eq!(judge(&rules, "", "550 5.1.1 User unknown"), Cause::Greylist);
    let error = |rule: &str| Rules::with(&[&own(rule)]).expect_err("a bad file");
    let code_alone = r#"{ id = "a", cause = "greylist", enhanced = ["5.1.1"], source = "me", sample = "550 5.1.1 x" }"#;
    assert_eq!(error(code_alone), RuleError::CodeAlone { id: "a".into() });
    let unsourced = r#"{ id = "b", cause = "greylist", any = ["x"], source = "nobody", sample = "x" }"#;
    assert!(matches!(error(unsourced), RuleError::NoSource { .. }));
    let missed = r#"{ id = "c", cause = "greylist", any = ["abc"], source = "me", sample = "x" }"#;
    assert!(matches!(error(missed), RuleError::Sample { .. }));
    let unknown = r#"{ id = "d", cause = "greylist", words = ["abc"], source = "me", sample = "abc" }"#;
    assert!(matches!(error(unknown), RuleError::Form { .. }));
}

#[test]
fn receivers_are_told_by_whole_labels() {
    let rules = Rules::built_in();
    assert_eq!(rules.receiver_of(b"alt1.gmail-smtp-in.l.google.com"), Some("google"));
    assert_eq!(rules.receiver_of(b"x.mail.protection.OUTLOOK.com."), Some("microsoft"));
    assert_eq!(rules.receiver_of(b"notgoogle.com"), None);
    assert_eq!(rules.receiver_of(b""), None);
}

#[test]
fn replies_of_large_receivers_are_understood() {
    let rules = Rules::built_in();
    let mut wrong = Vec::new();
    for line in include_str!("replies.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [cause, host, reply] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let said = Said { host: host.as_bytes(), text: reply.as_bytes(), speaker: Speaker::Theirs };
        let found = rules.judge(&said);
        if found.cause.name() != cause {
            wrong.push(format!("{} by {:?} instead of {line}", found.cause.name(), found.rule));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
