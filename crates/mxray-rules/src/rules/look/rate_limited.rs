//! LOOK007: a server has us wait because we ask too often, or too many at a time.

use crate::logged;
use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{ExaminedEndpoint, Session};
use mxray_model::session::{Ending, Reply, SmtpSession, Stage};
use mxray_model::{Evidence, Fix, Mover, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "LOOK007",
    name: "rate-limited",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "a server has us wait because we come too often or with too many connections; what it offers is unknown",
    page: include_str!("rate_limited.md"),
    check,
};

/// How sure we are by the server's own words, and by the course of events alone.
const BY_WORDS: f32 = 0.9;
const BY_COURSE: f32 = 0.6;

struct Limited<'a> {
    stage: Stage,
    reply: &'a Reply,
    confidence: f32,
}

/// Causes of logs that ask for fewer connections or for less mail.
const CAUSES: [&str; 4] = ["too-many-connections", "rcpt-rate", "rate-reputation", "rate-new-ip"];

fn check(evidence: &Evidence) -> Said {
    let mut judgement = sessions(evidence).unwrap_or_else(|early| early);
    if let Some(blind) = logged::forbidden(evidence) {
        judgement.blind(&RULE, blind);
    }
    for asked in logged::putting_off(evidence, &CAUSES) {
        let (severity, waits) = asked.while_waiting(RULE.severity);
        let summary = format!(
            "{} limits how much it takes from us{waits}: {}.",
            asked.cause.receiver,
            logged::quoted(&asked.cause.sample)
        );
        judgement.find(
            asked.finding(&RULE, severity, summary, evidence).confidence(BY_WORDS).reference("RFC 5321 section 3.8").fix(
                Fix::here("Send more slowly and over fewer connections at a time (Postfix: smtp_destination_concurrency_limit, smtp_destination_rate_delay), and wait: faster retries make it worse.")
                    .command("mxray queue")
                    .verify("mxray queue --interval 60"),
            ),
        );
    }
    Ok(judgement)
}

fn sessions(evidence: &Evidence) -> Said {
    let well = "it asked nobody to come less often";
    outside::each(
        evidence,
        &RULE,
        well,
        |contact| judge(evidence, contact),
        |bad| {
            let Limited { stage, reply, confidence } = &bad.first.1;
            let waits = outside::is_smarthost(bad.endpoint);
            let severity = if waits { Severity::Warning } else { RULE.severity };
            let for_us = if waits { "; all mail of this host goes through it" } else { "" };
            let summary = format!(
                "{} limits how often we may come: {}{for_us}.",
                bad.whose(),
                replies::said(reply).trim_end_matches('.')
            );
            let mut finding = bad
                .finding(&RULE, severity, summary)
                .confidence(*confidence)
                .data("stage", replies::stage_text(*stage))
                .data("code", reply.code)
                .reference("RFC 5321 section 3.8")
                .reference("RFC 5321 section 4.5.4.1");
            finding.whose_move = if waits { Mover::Us } else { Mover::Nobody };
            let finding = bad.because(finding, &at::SMTP, |limited| replies::said(limited.reply));
            let again = outside::probe_command(bad.endpoint, "");
            let finding = finding.fix(
                Fix::here("Wait some minutes and look again; each try counts against us.")
                    .command(again.clone())
                    .verify(again),
            );
            if !waits {
                return finding;
            }
            finding.fix(Fix::here(
            "Send more slowly and over fewer connections at a time (Postfix: smtp_destination_concurrency_limit, smtp_destination_rate_delay), or ask the provider for a higher limit.",
        ))
        },
    )
}

fn judge<'a>(evidence: &Evidence, contact: Contact<'a>) -> Verdict<Limited<'a>> {
    if contact.endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let early = replies::refusal(session);
    let mails = session.transactions().filter_map(|one| one.mail.value()).map(|reply| (Stage::Mail, reply));
    let recipients = session.transactions().flat_map(|one| &one.recipients).filter_map(|one| one.reply.value());
    let all = early.into_iter().chain(mails).chain(recipients.map(|reply| (Stage::Rcpt, reply)));
    if let Some((stage, reply)) = all.into_iter().find(|(_, reply)| replies::speaks_of_rate(reply)) {
        return Verdict::Bad(Limited { stage, reply, confidence: BY_WORDS });
    }
    match early {
        // "Come again", from a server that had served us in the same run.
        Some((stage, reply)) if matches!(reply.code, 421 | 451) && !replies::names_us(reply, contact) => {
            if served_otherwise(evidence, contact) {
                return Verdict::Bad(Limited { stage, reply, confidence: BY_COURSE });
            }
            Verdict::Blind(replies::cut_short(contact, session))
        }
        _ if session.greeting.value().is_none() => Verdict::Blind(replies::cut_short(contact, session)),
        _ => Verdict::Well,
    }
}

/// The same address, on this or on another port, held a whole session with us.
fn served_otherwise(evidence: &Evidence, contact: Contact<'_>) -> bool {
    let peer = contact.seen.dial.peer.ip();
    let whole = |endpoint: &ExaminedEndpoint| {
        let contacts = endpoint.addresses.values().filter(|seen| seen.dial.peer.ip() == peer);
        contacts
            .into_iter()
            .any(|seen| matches!(&seen.session, Seen::Value(Session::Smtp(session)) if finished(session)))
    };
    evidence.endpoints.values().any(whole)
}

fn finished(session: &SmtpSession) -> bool {
    session.ending == Ending::Finished && session.hellos.iter().any(|hello| hello.reply.code == 250)
}
