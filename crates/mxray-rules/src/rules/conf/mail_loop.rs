//! CONF106: mail goes round in circles.

use crate::logged::{self, Holds};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{LogCause, MailLogs};
use mxray_model::{Evidence, Finding, Fix, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "CONF106",
    name: "mail-loop",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the same mail comes back until the hop limit, or this server is told to hand it to itself",
    page: include_str!("mail_loop.md"),
    check,
};

const CAUSE: &str = "loop";
/// A foreign domain whose MX points here by mistake is met once in a while.
const FOREIGN_RECIPIENTS: u64 = 3;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let loops = logs.causes.iter().filter(|cause| cause.cause == CAUSE);
    for cause in loops.filter(|cause| logged::holds(evidence, logs, cause) == Holds::Yes) {
        judgement.find(finding(evidence, logs, cause));
    }
    if judgement.findings.is_empty() {
        judgement.well("no mail goes round in circles");
    }
    Ok(judgement)
}

/// A domain that this host is meant to know: of its own name, of its configuration, or of its records.
fn is_ours(evidence: &Evidence, domain: &str) -> bool {
    let same = |name: &str| {
        let (name, domain) = (name.trim_end_matches('.').to_ascii_lowercase(), domain.to_ascii_lowercase());
        !domain.is_empty() && (name == domain || name.ends_with(&format!(".{domain}")))
    };
    let servers = evidence.servers.value().into_iter().flatten();
    same(&evidence.vantage.host_name)
        || servers.into_iter().any(|(_, server)| {
            same(&server.host_name) || server.domains.iter().any(|configured| same(&configured.value.name))
        })
}

fn finding(evidence: &Evidence, logs: &MailLogs, cause: &LogCause) -> Finding {
    let text = cause.sample.to_ascii_lowercase();
    let itself = text.contains("loops back to myself");
    let ours = is_ours(evidence, &cause.domain) || is_ours(evidence, &cause.receiver);
    let severity = match (ours, itself) {
        (true, _) => RULE.severity,
        (false, true) if cause.recipients < FOREIGN_RECIPIENTS && !logged::matters(logs, cause) => Severity::Notice,
        (false, true) => Severity::Error,
        // A forwarding at the receiver may be what turns it.
        (false, false) => Severity::Warning,
    };
    let domain = if cause.domain.is_empty() { &cause.receiver } else { &cause.domain };
    let summary = if itself {
        format!(
            "Mail for {domain} leads back to this server, which does not know the domain as its own: {}.",
            logged::quoted(&cause.sample)
        )
    } else {
        format!("Mail for {domain} went round until the limit of hops: {}.", logged::quoted(&cause.sample))
    };
    let finding = RULE
        .finding_as(severity, Subject::new(SubjectKind::Domain, domain), summary)
        .confidence(if ours { 0.9 } else { 0.7 })
        .data("recipients", cause.recipients)
        .data("itself", itself)
        .data("last", cause.last.clone())
        .because(logged::attempts_text(cause), logged::SOURCE, logged::log_pointer(&["causes"]))
        .touches(logged::receiver_scope(&cause.receiver))
        .touches(Subject::service("sending"))
        .reference("RFC 5321 section 6.3");
    if itself {
        return finding.fix(
            Fix::here("Tell the server that the domain is its own (Postfix: mydestination, virtual_mailbox_domains or relay_domains with a transport), or let its MX point to the server that has it.")
                .command("postconf mydestination virtual_mailbox_domains virtual_alias_domains relay_domains relayhost transport_maps")
                .verify("mxray logs --since 10m"),
        );
    }
    finding.fix(
        Fix::here("Follow the Received lines of one of these messages: the two servers, or the two forwardings, that hand it to each other stand there in turn. Change one of them.")
            .command("mxray logs --since 1h")
            .verify("mxray logs --since 10m"),
    )
}
