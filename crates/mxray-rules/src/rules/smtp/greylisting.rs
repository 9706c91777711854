//! SMTP109: a server has unknown senders come a second time.

use crate::logged;
use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{Purpose, Session};
use mxray_model::session::{Reply, SmtpSession};
use mxray_model::{Blind, Evidence, Fix, Mover, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP109",
    name: "greylisting",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "a server has unknown senders come a second time: the first message of each waits some minutes",
    page: include_str!("greylisting.md"),
    check,
};

/// By its own name, by the same envelope being taken later, and by its form alone.
const BY_NAME: f32 = 0.95;
const BY_FORM: f32 = 0.6;

struct Greylisted<'a> {
    reply: &'a Reply,
    confidence: f32,
    /// The same sender and recipient were taken later.
    taken_later: bool,
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = sessions(evidence).unwrap_or_else(|early| early);
    if let Some(blind) = logged::forbidden(evidence) {
        judgement.blind(&RULE, blind);
    }
    for asked in logged::putting_off(evidence, &["greylist"]) {
        let (severity, waits) = asked.while_waiting(RULE.severity);
        let summary = format!(
            "{} has unknown senders come a second time{waits}: {}.",
            asked.cause.receiver,
            logged::quoted(&asked.cause.sample)
        );
        let mut finding = asked.finding(&RULE, severity, summary, evidence).confidence(BY_NAME).reference("RFC 6647");
        finding.whose_move = Mover::Nobody;
        judgement.find(
            finding.fix(
                Fix::here("Wait: the queue tries again, and from then on this host is known there.")
                    .command("mxray queue")
                    .verify("mxray logs --since 1h"),
            ),
        );
    }
    Ok(judgement)
}

fn sessions(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it takes the first mail of an unknown sender", judge, |bad| {
        let Greylisted { reply, confidence, taken_later } = bad.first.1;
        let waits = outside::is_smarthost(bad.endpoint);
        let severity = if waits { Severity::Warning } else { RULE.severity };
        let for_us = if waits { "; all mail of this host goes through it, and waits" } else { "" };
        let summary = format!(
            "{} has unknown senders come a second time: {}{for_us}.",
            bad.whose(),
            replies::said(reply).trim_end_matches('.')
        );
        let mut finding = bad
            .finding(&RULE, severity, summary)
            .confidence(confidence)
            .data("code", reply.code)
            .data("taken_later", taken_later)
            .reference("RFC 6647")
            .reference("RFC 5321 section 4.5.4.1");
        finding.whose_move = if waits { Mover::Receiver } else { Mover::Nobody };
        let finding = bad.because(finding, &at::SMTP, |one| replies::said(one.reply));
        let again = outside::probe_command(bad.endpoint, " --depth rcpt");
        let finding = finding.fix(
            Fix::here("Wait: the sender's queue tries again, and from then on it is known. Looking again after some minutes shows whether it was that.")
                .command(again.clone())
                .verify(again),
        );
        if !waits {
            return finding;
        }
        finding.fix(Fix::here("Ask the provider of the smarthost to leave its customers out of greylisting."))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Greylisted<'_>> {
    let endpoint = contact.endpoint;
    if endpoint.protocol.mailbox().is_some() || matches!(endpoint.purpose, Purpose::Internal) {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let mut asked = false;
    let mut other = None;
    let all = session.transactions().flat_map(|one| one.recipients.iter().map(move |recipient| (one, recipient)));
    for (transaction, recipient) in all {
        let Some(reply) = recipient.reply.value() else { continue };
        asked = true;
        if !reply.is_transient() {
            continue;
        }
        let taken_later = taken(contact, session, &transaction.sender, &recipient.address);
        let by_form = matches!(reply.code, 450 | 451)
            && replies::asks_to_come_again(reply)
            && reply.enhanced.is_none_or(|code| matches!(code.subject, 0 | 2 | 7) && code.detail <= 1);
        if replies::speaks_of_greylisting(reply) || taken_later {
            return Verdict::Bad(Greylisted { reply, confidence: BY_NAME, taken_later });
        }
        if by_form && !replies::speaks_of_rate(reply) && !replies::names_us(reply, contact) {
            return Verdict::Bad(Greylisted { reply, confidence: BY_FORM, taken_later });
        }
        other = other.or(Some(reply));
    }
    match other {
        Some(reply) => Verdict::Blind(Blind::NotAttempted {
            why: format!("{}: {}: whether that ends by itself only time tells", contact.name(), replies::said(reply)),
        }),
        None if asked => Verdict::Well,
        // No recipient was asked for.
        None if session.transaction.is_none() => Verdict::Silent,
        None => Verdict::Blind(replies::cut_short(contact, session)),
    }
}

/// The same sender and recipient, taken in a later transaction, of this session or of one that was held after it.
fn taken(contact: Contact<'_>, session: &SmtpSession, sender: &str, address: &str) -> bool {
    let later = contact.seen.retried.iter().filter_map(|retried| match retried.session.value()? {
        Session::Smtp(session) => Some(&**session),
        Session::Mailbox(_) => None,
    });
    let mut all = std::iter::once(session).chain(later).flat_map(SmtpSession::transactions);
    all.any(|one| {
        let taken = |reply: &Reply| reply.is_positive();
        one.sender == sender
            && one.recipients.iter().any(|one| one.address == address && one.reply.value().is_some_and(taken))
    })
}
