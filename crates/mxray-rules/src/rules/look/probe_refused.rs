//! LOOK006: a server refused the one who asks, so that it told nothing of what it does for others.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::session::{Reply, SmtpSession, Stage};
use mxray_model::{Evidence, Fix, Mover, Severity};

pub const RULE: Rule = Rule {
    code: "LOOK006",
    name: "probe-refused",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "a server refused the address that mxray asked from; of what it does for others nothing is known",
    page: include_str!("probe_refused.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let well = "nothing that was said speaks of the address that asks";
    outside::each(evidence, &RULE, well, judge, |bad| {
        let (contact, (stage, reply)) = &bad.first;
        let ours = contact.our_address().map_or_else(|| "our address".to_owned(), |address| address.to_string());
        let sends = evidence.servers.value().is_some_and(|all| all.values().any(|server| server.egress.sends));
        // Where a mail server of this host hands its mail over from here, this is no matter of the probe alone.
        let our_mail = outside::stake(bad.endpoint) == Stake::Passed && sends;
        let severity = if our_mail { Severity::Warning } else { RULE.severity };
        let summary = format!(
            "{} refuses us, and speaks of the address that we come from ({ours}): {}.",
            bad.whose(),
            replies::said(reply).trim_end_matches('.')
        );
        let mut finding = bad
            .finding(&RULE, severity, summary)
            .confidence(0.9)
            .data("stage", replies::stage_text(*stage))
            .data("code", reply.code)
            .data("our_address", ours.clone())
            .reference("RFC 5321 section 3.1")
            .reference("RFC 3463 section 3.8");
        finding.whose_move = Mover::Us;
        bad.because(finding, &at::SMTP, |(_, reply)| replies::said(reply))
            .fix(
                Fix::here(format!(
                    "Look {ours} up at the list that the text names (behind a translation of addresses: the public address), and have it taken off after its reason is gone."
                ))
                .verify(outside::probe_command(bad.endpoint, "")),
            )
            .fix(Fix::here(format!(
                "To learn what {} does for others, ask from another address.",
                bad.endpoint.host
            )))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<(Stage, Reply)> {
    if contact.endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    if let Some((stage, reply)) = said_of_us(session, contact) {
        return Verdict::Bad((stage, reply.clone()));
    }
    // Who said nothing at all has not said that he minds us.
    if session.greeting.value().is_none() {
        return Verdict::Blind(replies::cut_short(contact, session));
    }
    Verdict::Well
}

fn said_of_us<'a>(session: &'a SmtpSession, contact: Contact<'_>) -> Option<(Stage, &'a Reply)> {
    let early = replies::refusal(session);
    // HELO may have been taken where EHLO was refused: what was said of us was said.
    let hellos = session.hellos.iter().map(|hello| (Stage::Ehlo, &hello.reply)).filter(|(_, reply)| reply.code >= 400);
    let later = session.transactions().flat_map(|transaction| {
        let mail = transaction.mail.value().map(|reply| (Stage::Mail, reply));
        let recipients = transaction.recipients.iter().filter_map(|one| one.reply.value());
        mail.into_iter().chain(recipients.map(|reply| (Stage::Rcpt, reply)))
    });
    // What is too often is another rule's (LOOK007), and ends by itself.
    let of_us = |reply: &Reply| replies::names_us(reply, contact) && !replies::speaks_of_rate(reply);
    early
        .into_iter()
        .chain(hellos)
        .chain(later)
        .find(|(_, reply)| of_us(reply) && !replies::speaks_of_greylisting(reply))
}
