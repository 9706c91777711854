//! SMTP113: behind the greeting, replies are not of the form that clients read by, or come without a question.

use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::session::{Anomaly, AnomalyKind, SmtpSession};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP113",
    name: "replies-malformed",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "replies that are malformed, or that nobody asked for: clients and server get out of step",
    page: include_str!("replies_malformed.md"),
    check,
};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Separator,
    Unasked,
    MixedCodes,
    NotAReply,
}

impl Kind {
    fn of(kind: &AnomalyKind) -> Option<Self> {
        match kind {
            AnomalyKind::BadSeparator => Some(Kind::Separator),
            AnomalyKind::Unasked => Some(Kind::Unasked),
            AnomalyKind::MixedCodes { .. } => Some(Kind::MixedCodes),
            AnomalyKind::NotAReply => Some(Kind::NotAReply),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Separator => "separator",
            Kind::Unasked => "unasked",
            Kind::MixedCodes => "mixed_codes",
            Kind::NotAReply => "no_reply",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Kind::Separator => {
                "the mark behind the code is neither a blank nor \"-\", so that senders take the line for the last one of its reply"
            }
            Kind::Unasked => {
                "a reply comes to which there was no command, so that senders take it for the answer to their next one"
            }
            Kind::MixedCodes => {
                "the lines of one reply have different codes, so that some senders go by the first and others by the last"
            }
            Kind::NotAReply => "among its replies is a line that is none",
        }
    }
}

struct Odd {
    kind: Kind,
    line: String,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "its replies are of the form that clients read by", judge, |bad| {
        let Odd { kind, line } = &bad.first.1;
        // Most programs log such a line and read on.
        let severity = if *kind == Kind::NotAReply { Severity::Warning } else { RULE.severity };
        let finding = bad
            .finding(&RULE, severity, format!("{}: {}: {line}.", bad.whose(), kind.text()))
            .confidence(0.95)
            .data("kind", kind.word())
            .reference("RFC 5321 section 4.2")
            .reference("RFC 5321 section 4.2.1");
        let finding = outside::touching_helpers(finding, evidence, bad.endpoint);
        bad.because(finding, &at::SMTP, |odd| format!("{}: {}", odd.kind.word(), odd.line)).fix(
            outside::step(
                bad.endpoint,
                "Have the server, or the filter or proxy in front of it that writes into the session, answer each command with one reply: one code, \"-\" behind it in all lines but the last.",
            )
            .verify(outside::probe_command(bad.endpoint, " -v")),
        )
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Odd> {
    if contact.endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    // What is wrong up to there is SMTP101's.
    let Some(greeting) = session.greeting.value().filter(|greeting| greeting.code == 220) else {
        return Verdict::Silent;
    };
    let behind = u64::from(greeting.entry) + greeting.lines.len() as u64;
    match worst(session, behind) {
        Some(odd) => Verdict::Bad(odd),
        None if session.hellos.is_empty() => Verdict::Silent,
        None => Verdict::Well,
    }
}

/// The first of the worst kind.
fn worst(session: &SmtpSession, behind: u64) -> Option<Odd> {
    let later = session.transcript.anomalies.iter().filter(|one| u64::from(one.entry) >= behind);
    let odd = later.filter_map(|Anomaly { kind, entry }| Some((Kind::of(kind)?, *entry)));
    let (kind, entry) = odd.min_by_key(|(kind, entry)| (*kind, *entry))?;
    Some(Odd { kind, line: replies::received_from(&session.transcript, entry).unwrap_or_default() })
}
