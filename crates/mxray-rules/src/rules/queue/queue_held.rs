//! QUEUE103: mail is on hold, and nobody releases it.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "QUEUE103",
    name: "queue-held",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "messages are on hold or frozen: they stay until somebody releases them",
    page: include_str!("queue_held.md"),
    check,
};

/// Some filters (MailScanner) take their work from the hold queue: what is there for moments is on its way.
const HELD_S: u64 = 600;
/// Frozen notices to senders that do not exist stand in every Exim's queue.
const FROZEN_NOTICES: &str = "exim";

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    if logged::blind_queues(evidence, &RULE, &mut judgement) {
        return Ok(judgement);
    }
    for (instance, queue) in logged::queues(evidence) {
        let Some(held) = queue.states.get("hold").filter(|row| row.messages > 0) else {
            judgement.well(format!("{instance}: no message is on hold"));
            continue;
        };
        let software =
            evidence.servers.value().and_then(|servers| servers.get(instance)).map_or("", |server| &server.software);
        let notices = queue.senders.get("").map_or(0, |row| row.messages);
        let only_notices = software == FROZEN_NOTICES && notices >= held.messages;
        let severity = if held.oldest_s < HELD_S || only_notices { Severity::Notice } else { RULE.severity };
        let (thing, release) = if software == "exim" {
            ("frozen", "exim -bpru | grep frozen; exim -Mt MESSAGE-ID")
        } else {
            ("on hold", "postsuper -H QUEUE-ID")
        };
        let count =
            if held.messages == 1 { "1 message is".to_owned() } else { format!("{} messages are", held.messages) };
        let mut finding = RULE
            .finding_as(
                severity,
                Subject::new(SubjectKind::Queue, instance),
                format!("{count} {thing} in the queue of {instance}, the oldest since {}: nothing is tried until somebody releases it.", logged::span(held.oldest_s)),
            )
            .confidence(0.9)
            .data("messages", held.messages)
            .data("oldest_s", held.oldest_s)
            .because(
                format!("{} messages {thing}, the oldest since {}.", held.messages, logged::span(held.oldest_s)),
                queue.source.clone(),
                logged::queue_pointer(instance, "states"),
            )
            .touches(Subject::service(format!("{instance} delivery")))
            .fix(
                Fix::here("Look at them, find out who holds them (an access table, a filter, somebody by hand), and release or delete them.")
                    .command("mxray queue")
                    .command(release)
                    .verify("mxray queue"),
            );
        if let Some(oldest) = queue.oldest.get("hold") {
            finding = finding.data("oldest", oldest.id.clone()).because(
                format!(
                    "{} from {} to {}",
                    oldest.id,
                    if oldest.sender.is_empty() { "<>" } else { &oldest.sender },
                    oldest.first_recipient
                ),
                queue.source.clone(),
                logged::queue_pointer(instance, "oldest"),
            );
        }
        judgement.find(finding);
    }
    Ok(judgement)
}
