//! Where others go wrong, by the numbers of the traps, and records of every kind. The suite is in `tests/vectors`.

use super::{Spf, SpfSurveyor};
use crate::ask::Kind;
use crate::played::Zone;
use mxray_model::evidence::RecordData;
use mxray_model::evidence::published::{SpfEffect, SpfProblem, SpfResult, SpfSurvey, SpfVerdict};
use proptest::prelude::*;

fn from(ip: &str, zone: &Zone) -> SpfVerdict {
    zone.outcome(Spf {
        ip: ip.parse().unwrap(),
        helo: "mail.example.org".into(),
        mail_from: "ann.lee@example.org".into(),
        receiver: "mx.example.net".into(),
        now_s: 1_800_000_000,
    })
}

fn record(text: &str) -> Zone {
    Zone::default().txt("example.org", text)
}

fn result(text: &str) -> SpfResult {
    from("192.0.2.1", &record(text)).result
}

fn survey(zone: &Zone) -> SpfSurvey {
    zone.outcome(SpfSurveyor { domain: "example.org".into() })
}

fn flaws(zone: &Zone) -> Vec<SpfProblem> {
    survey(zone).flaws.into_iter().map(|flaw| flaw.problem).collect()
}

#[test]
fn t18_every_spelling_of_a_term_costs_one_lookup() {
    let zone = |term: &str| {
        record(&format!("v=spf1 {term} -all exp=why.example.org"))
            .a("example.org", "198.51.100.1")
            .mx("example.org", "mail.example.org")
            .a("mail.example.org", "198.51.100.2")
            .txt("other.example", "v=spf1 -all")
            .a("other.example", "198.51.100.3")
            .mx("other.example", "mail.example.org")
    };
    for term in [
        "a",
        "+a",
        "?A",
        "a/24",
        "a//64",
        "a:other.example",
        "~a:other.example/28",
        "mx",
        "mx:other.example/30",
        "include:other.example",
        "exists:none.example.org",
        "ptr",
    ] {
        let verdict = from("203.0.113.9", &zone(term));
        assert_eq!((verdict.result, verdict.lookups), (SpfResult::Fail, 1), "{term}");
        assert_eq!(survey(&zone(term)).lookups, 1, "{term}");
    }
    let redirected = record("v=spf1 redirect=other.example").txt("other.example", "v=spf1 -all");
    assert_eq!(from("203.0.113.9", &redirected).lookups, 1);
    assert_eq!(from("203.0.113.9", &record("v=spf1 ip4:192.0.2.0/24 -all")).lookups, 0);
}

#[test]
fn t19_unknown_modifiers_are_ignored_and_includes_cost_each_time() {
    assert_eq!(result("v=spf1 moo=foo:bar/baz +ip4:192.0.2.1 -all"), SpfResult::Pass);
    assert_eq!(result("v=spf1 ip4:192.0.2.1"), SpfResult::Pass);
    let zone = record("v=spf1 include:a.example include:b.example -all")
        .txt("a.example", "v=spf1 include:shared.example -all")
        .txt("b.example", "v=spf1 include:shared.example -all")
        .txt("shared.example", "v=spf1 ip4:198.51.100.0/24 -all");
    assert_eq!(from("192.0.2.1", &zone).lookups, 4);
    let seen = survey(&zone);
    assert_eq!((seen.lookups, seen.exact), (4, true));
    assert_eq!(seen.flaws, []);
}

#[test]
fn t20_what_lenient_readers_let_through() {
    for wrong in [
        "ip4:192.0.2.0/33",
        "ip4:192.0.2.0/032",
        "ip4:192.0.2",
        "ip6:2001:db8::/129",
        "a:",
        "include:",
        "a/",
        "a//",
        "all:x",
        "+",
        "a:foo",
        "ptr/24",
        "ip4",
        "exp=a.example exp=b.example",
        "foo",
        "a:%{x}.example",
        "a:%{d",
        "a:100%.example",
        "-all;",
    ] {
        let text = format!("v=spf1 {wrong} +all");
        assert_eq!(result(&text), SpfResult::PermError, "{wrong}");
        let syntax = |problem: &SpfProblem| matches!(problem, SpfProblem::Syntax { column, .. } if *column >= 8);
        assert!(flaws(&record(&text)).iter().any(syntax), "{wrong}");
    }
    let two = record("v=spf1 +all").txt("example.org", "v=spf1 -all");
    assert_eq!(from("192.0.2.1", &two).result, SpfResult::PermError);
    assert!(flaws(&two).contains(&SpfProblem::Multiple { count: 2 }));
    assert_eq!(result("v=spf1 ip6:::/0 -all"), SpfResult::Fail);
    assert_eq!(from("::ffff:192.0.2.1", &record("v=spf1 ip4:192.0.2.1 -all")).result, SpfResult::Pass);
}

#[test]
fn a_syntax_error_has_its_column() {
    let seen = flaws(&record("v=spf1 ip4:192.0.2.0/33 -all"));
    let [SpfProblem::Syntax { column: 22, text, .. }] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(text, "ip4:192.0.2.0/33");
}

#[test]
fn t21_a_void_lookup_counts_once() {
    let zone = record("v=spf1 a:one.example mx:two.example -all");
    let verdict = from("192.0.2.1", &zone);
    assert_eq!((verdict.result, verdict.voids, verdict.lookups), (SpfResult::Fail, 2, 2));
    let three = record("v=spf1 a:one.example mx:two.example exists:three.example -all");
    let verdict = from("192.0.2.1", &three);
    assert_eq!((verdict.result, verdict.voids), (SpfResult::PermError, 3));
    let last = verdict.ledger.last().unwrap();
    assert_eq!((last.term.as_str(), last.effect), ("exists:three.example", SpfEffect::Broke));
    assert!(flaws(&three).contains(&SpfProblem::VoidsExceeded { voids: 3 }));
    // A host with addresses of one family alone is void for nobody who is meant.
    let one_family = record("v=spf1 a:h1.example a:h2.example a:h3.example -all")
        .a("h1.example", "192.0.2.1")
        .a("h2.example", "192.0.2.2")
        .a("h3.example", "192.0.2.3");
    assert_eq!(survey(&one_family).voids, 0);
}

#[test]
fn t22_macros_are_dynamic_until_there_is_a_sender() {
    let zone = record("v=spf1 exists:%{ir}.%{l1r-}.%{d2}.spf.example.net -all")
        .a("1.2.0.192.ann.lee.example.org.spf.example.net", "127.0.0.2");
    let (seen, asked) = zone.play(SpfSurveyor { domain: "example.org".into() });
    assert!(!seen.exact && seen.flaws.iter().any(|flaw| matches!(flaw.problem, SpfProblem::Dynamic { column: 8, .. })));
    assert_eq!(asked, ["TXT example.org"]);
    assert!(!seen.flaws.iter().any(|flaw| matches!(flaw.problem, SpfProblem::IncludeNoRecord { .. })));
    let verdict = from("192.0.2.1", &zone);
    assert_eq!(verdict.result, SpfResult::Pass);
    assert_eq!(verdict.ledger[0].target.as_deref(), Some("1.2.0.192.ann.lee.example.org.spf.example.net"));
    // %{d} alone is known without one.
    assert!(survey(&record("v=spf1 include:_spf.%{d} -all").txt("_spf.example.org", "v=spf1 -all")).exact);
}

#[test]
fn t23_the_worst_case_and_what_one_sender_costs() {
    let includes: String = (0..11).map(|number| format!("include:i{number}.example ")).collect();
    let mut zone = record(&format!("v=spf1 ip4:192.0.2.1 {includes}-all"));
    for number in 0..11 {
        zone = zone.txt(&format!("i{number}.example"), "v=spf1 ip4:198.51.100.1 -all");
    }
    assert_eq!((from("192.0.2.1", &zone).result, from("192.0.2.1", &zone).lookups), (SpfResult::Pass, 0));
    assert_eq!(from("198.51.100.1", &zone).lookups, 1);
    assert_eq!(from("203.0.113.1", &zone).result, SpfResult::PermError);
    let seen = survey(&zone);
    assert_eq!(seen.lookups, 11);
    assert!(seen.flaws.iter().any(|flaw| flaw.problem == SpfProblem::LookupsExceeded { lookups: 11 }));
    assert_eq!(seen.tree.last().unwrap().term, "-all");
}

#[test]
fn t24_names_have_no_case_and_the_first_match_counts() {
    assert_eq!(result("V=SPF1 IP4:192.0.2.1 -ALL"), SpfResult::Pass);
    assert_eq!(result("v=spf1 ~all ip4:192.0.2.1"), SpfResult::SoftFail);
    assert_eq!(result("v=spf1 +all ip4:999.0.2.1"), SpfResult::PermError);
    let dead = flaws(&record("v=spf1 -all ip4:192.0.2.1"));
    assert!(matches!(dead.as_slice(), [SpfProblem::DeadTerm { column: 13, .. }]), "{dead:?}");
    let both = flaws(&record("v=spf1 redirect=other.example -all"));
    assert!(matches!(both.as_slice(), [SpfProblem::DeadTerm { .. }]), "{both:?}");
}

#[test]
fn t25_only_the_exact_version_begins_a_record() {
    for near in
        [" v=spf1 -all", "\"v=spf1 -all\"", "v=spf10 -all", "v=spf1;-all", "v=spf2 -all", "spf1 -all", "v= spf1 -all"]
    {
        assert_eq!(result(near), SpfResult::None, "{near}");
        let seen = flaws(&record(near));
        assert!(seen.iter().any(|problem| matches!(problem, SpfProblem::NotRecord { .. })), "{near}: {seen:?}");
        assert!(seen.contains(&SpfProblem::Missing), "{near}");
    }
    let split = Zone::default()
        .with("example.org", RecordData::Txt { strings: vec!["v=spf1 ip4:192.0".into(), ".2.1 -all".into()] });
    assert_eq!(from("192.0.2.1", &split).result, SpfResult::Pass);
    // Others' records are nobody's near miss.
    for other in ["v=DMARC1; p=none", "google-site-verification=spf", "spf.example.org is ours", "MS=ms123"] {
        assert_eq!(flaws(&record(other)), [SpfProblem::Missing], "{other}");
    }
}

#[test]
fn what_could_not_be_asked_is_not_absent() {
    let zone = record("v=spf1 include:late.example -all").fails("late.example", Kind::Txt);
    assert_eq!(from("192.0.2.1", &zone).result, SpfResult::TempError);
    let seen = survey(&zone);
    assert!(!seen.exact);
    assert!(matches!(seen.flaws[0].problem, SpfProblem::NotSeen { .. }), "{seen:?}");
    let own = Zone::default().fails("example.org", Kind::Txt);
    assert!(!flaws(&own).contains(&SpfProblem::Missing));
}

#[test]
fn a_survey_ends_and_says_what_is_wrong() {
    let looped = record("v=spf1 include:a.example -all").txt("a.example", "v=spf1 include:example.org ?all");
    assert!(flaws(&looped).contains(&SpfProblem::Loop { target: "example.org".into() }));
    let missing = record("v=spf1 include:none.example -all");
    assert!(flaws(&missing).contains(&SpfProblem::IncludeNoRecord { target: "none.example".into() }));
    let open = record("v=spf1 include:a.example -all").txt("a.example", "v=spf1 +all");
    assert!(flaws(&open).contains(&SpfProblem::PassAll { term: "+all".into() }));
    let harmless = record("v=spf1 -include:a.example ~all").txt("a.example", "v=spf1 +all");
    assert_eq!(flaws(&harmless), []);
    assert_eq!(flaws(&record("v=spf1 ip4:192.0.2.1")), [SpfProblem::NoDefault { term: None }]);
    assert_eq!(flaws(&record("v=spf1 ?all")), [SpfProblem::NoDefault { term: Some("?all".into()) }]);
    let broad = flaws(&record("v=spf1 ip4:10.0.0.0/8 -all"));
    assert_eq!(broad, [SpfProblem::BroadRange { term: "ip4:10.0.0.0/8".into(), addresses_log2: 24 }]);
    assert_eq!(flaws(&record("v=spf1 ptr -all")), [SpfProblem::PtrUsed { term: "ptr".into() }]);
    let mut many = record("v=spf1 mx -all");
    for number in 0..11 {
        many = many.mx("example.org", &format!("m{number}.example")).a(&format!("m{number}.example"), "192.0.2.1");
    }
    assert!(flaws(&many).contains(&SpfProblem::MxOverTen { name: "example.org".into(), count: 11 }));
    // Two records that include each other twice would be walked for ever.
    let mut exploding = Zone::default();
    let mut name = "example.org".to_owned();
    for depth in 0..18 {
        let next = format!("d{depth}.example");
        exploding = exploding
            .txt(&name, &format!("v=spf1 include:{next} a:x include:{next}/ include:{next} include:{next} -all"));
        name = next;
    }
    assert!(survey(&exploding.txt(&name, "v=spf1 -all")).tree.len() <= 400);
}

#[test]
fn everybody_may_stand_in_several_terms() {
    let open = |text: &str| flaws(&record(text)).iter().any(|flaw| matches!(flaw, SpfProblem::PassAll { .. }));
    for text in [
        "v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all",
        "v=spf1 ip4:128.0.0.0/1 ip4:0.0.0.0/2 ip4:64.0.0.0/2 ~all",
        "v=spf1 ip6:2000::/3 -all",
        "v=spf1 ip6:::/1 -all",
    ] {
        assert!(open(text), "{text}");
    }
    for text in [
        "v=spf1 ip4:0.0.0.0/1 ?ip4:128.0.0.0/1 -all",
        "v=spf1 ip4:0.0.0.0/1 -all",
        "v=spf1 ip6:4000::/3 -all",
        "v=spf1 ip6:2000::/4 ip6:2001:db8::/3 -all",
    ] {
        assert_eq!(open(text), text.contains("2001:db8"), "{text}");
    }
}

#[test]
fn wants_that_do_not_depend_on_each_other_are_told_together() {
    let zone = record("v=spf1 include:a.example include:b.example mx -all");
    let machine = crate::ask::Machine::new(SpfSurveyor { domain: "example.org".into() });
    let mut machine = machine;
    machine.dns("example.org", Kind::Txt, zone.lookup("example.org", Kind::Txt));
    let crate::ask::Step::Wants(wants) = machine.step() else { panic!("it is not done") };
    assert_eq!(wants.len(), 3, "{wants:?}");
}

fn term() -> impl Strategy<Value = String> {
    let name = "[a-z]{1,8}\\.(example|test)";
    prop_oneof![
        Just("a".to_owned()),
        Just("mx".to_owned()),
        name.prop_map(|name| format!("include:{name}")),
        (name, 0_u8..=32).prop_map(|(name, length)| format!("a:{name}/{length}")),
        (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(ip, length)| format!("ip4:{}/{length}", std::net::Ipv4Addr::from(ip))),
        (any::<[u8; 16]>(), 0_u8..=128)
            .prop_map(|(ip, length)| format!("ip6:{}/{length}", std::net::Ipv6Addr::from(ip))),
        name.prop_map(|name| format!("exists:%{{i}}.{name}")),
        name.prop_map(|name| format!("moo={name}")),
    ]
}

proptest! {
    #[test]
    fn t50_a_record_that_is_generated_is_read(terms in proptest::collection::vec(term(), 0..12), all in "[-~?+]?all") {
        let text = format!("v=spf1 {} {all}", terms.join(" "));
        let read = super::record::parse(text.as_bytes());
        prop_assert_eq!(read.errors, []);
        prop_assert_eq!(read.terms.len(), terms.len() + 1);
        for term in &read.terms {
            let at = usize::try_from(term.column).unwrap() - 1;
            prop_assert!(text[at..].starts_with(&term.text));
        }
    }

    #[test]
    fn any_text_is_evaluated_and_surveyed(text in "[ -~]{0,60}", tail in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut bytes = format!("v=spf1 {text}").into_bytes();
        bytes.extend(tail);
        let zone = Zone::default().with("example.org", RecordData::Txt { strings: vec![bytes.as_slice().into()] });
        from("192.0.2.1", &zone);
        from("2001:db8::1", &zone);
        survey(&zone);
    }
}
