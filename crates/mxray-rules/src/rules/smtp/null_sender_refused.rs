//! SMTP108: the empty sender, by which bounces and other reports come, is refused.

use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use crate::words::Words;
use mxray_model::evidence::Purpose;
use mxray_model::session::{Reply, Transaction};
use mxray_model::{Blind, Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP108",
    name: "null-sender-refused",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "mail from the empty sender is refused: users never learn that their mail was not delivered",
    page: include_str!("null_sender_refused.md"),
    check,
};

struct Refused<'a> {
    reply: &'a Reply,
    /// At RCPT: MAIL itself was taken.
    at_recipient: bool,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it takes mail from the empty sender", judge, |bad| {
        let Refused { reply, at_recipient } = bad.first.1;
        let severity = outside::for_operator(RULE.severity, bad.endpoint);
        let summary = format!(
            "{} refuses the empty sender, so that bounces do not come in: {}.",
            bad.whose(),
            replies::said(reply).trim_end_matches('.')
        );
        let finding = bad
            .finding(&RULE, severity, summary)
            .confidence(if at_recipient { 0.85 } else { 0.95 })
            .data("code", reply.code)
            .data("stage", if at_recipient { "rcpt" } else { "mail" })
            .reference("RFC 5321 section 4.5.5")
            .reference("RFC 5321 section 6.1");
        let finding =
            bad.because(finding, &at::SMTP, |refused| format!("MAIL FROM:<>: {}", replies::said(refused.reply)));
        let again = outside::probe_command(bad.endpoint, " --depth rcpt");
        let own = outside::own(evidence, bad.endpoint).filter(|(_, server, _)| server.software == "postfix");
        let step = match own {
            Some((_, server, _)) => Fix::here(
                "Take the entry that refuses <> out of the sender restrictions (a check_sender_access table with the key of smtpd_null_access_lookup_key, by default <>).",
            )
            .command(Words::new(evidence, server).show("smtpd_sender_restrictions"))
            .command(Words::new(evidence, server).show("smtpd_null_access_lookup_key"))
            .undo("put the entry back"),
            None => outside::step(
                bad.endpoint,
                "Take mail from <> like any other: limit it by recipient if there is too much of it, and never refuse all of it.",
            ),
        };
        finding.fix(step.verify(again))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Refused<'_>> {
    let endpoint = contact.endpoint;
    if endpoint.protocol.mailbox().is_some() || !matches!(endpoint.purpose, Purpose::Relay | Purpose::Internal) {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let Some(transaction) = session.transactions().find(|one| one.sender.is_empty()) else {
        return Verdict::Silent;
    };
    let Some(reply) = transaction.mail.value() else {
        return Verdict::Blind(replies::cut_short(contact, session));
    };
    let blind = |why: &str| {
        let said = replies::said(reply);
        Verdict::Blind(Blind::NotAttempted { why: format!("{}: {said}: {why}", contact.name()) })
    };
    match reply {
        reply if reply.is_positive() => of_recipients(contact, transaction),
        reply if reply.is_transient() => blind("it asks to come again"),
        reply if replies::names_us(reply, contact) => blind("that is said of our address (LOOK006)"),
        reply if matches!(reply.code, 503 | 530 | 538) => blind("something else has to come first"),
        // Not of the sender, but of an extension or a parameter (RFC 5321 section 4.1.1.11).
        reply if matches!(reply.code, 504 | 552 | 555) => blind("that speaks of something else than the sender"),
        reply if reply.is_permanent() => Verdict::Bad(Refused { reply, at_recipient: false }),
        _ => blind("that is no answer to MAIL"),
    }
}

/// Some servers take MAIL and say it at RCPT: only a text that speaks of the sender counts.
fn of_recipients<'a>(contact: Contact<'_>, transaction: &'a Transaction) -> Verdict<Refused<'a>> {
    const OF_NULL: &[&str] = &[
        "null sender",
        "empty sender",
        "null reverse",
        "empty reverse",
        "empty envelope",
        "null envelope",
        "<>",
        "bounces not",
        "no bounces",
    ];
    let mut replies = transaction.recipients.iter().filter_map(|one| one.reply.value());
    let refused = replies.find(|reply| {
        let text = replies::text(reply).to_lowercase();
        reply.is_permanent() && !replies::names_us(reply, contact) && OF_NULL.iter().any(|word| text.contains(word))
    });
    refused.map_or(Verdict::Well, |reply| Verdict::Bad(Refused { reply, at_recipient: true }))
}
