//! MBOX104: users' programs find no SRV records by which to set themselves up.

use crate::policies::{self, Of};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{Discovery, DomainWhy};
use mxray_model::evidence::{Purpose, Server, TlsMode, WantedListener};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "MBOX104",
    name: "srv-missing",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "no SRV records: users' programs cannot find the servers by the domain alone",
    page: include_str!("srv_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence).filter(Of::is_ours_to_receive) {
        let discovery = match &of.domain.discovery {
            Seen::Value(discovery) => discovery,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        if !discovery.services.is_empty() {
            judgement.well(format!("{}: users' programs find SRV records", of.name));
            continue;
        }
        if let Some(blind) = discovery.asked.values().find_map(Seen::blind) {
            judgement.blind(&RULE, blind);
            continue;
        }
        let services = services(evidence, of);
        let takes_mail = match of.hosts() {
            Seen::Value(hosts) => !hosts.is_empty(),
            Seen::Absent => false,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, &blind);
                continue;
            }
        };
        // A host that only passes mail on has no users' programs to be found by.
        if takes_mail && !discovery.asked.is_empty() && !services.is_empty() {
            judgement.find(finding(of, discovery, &services));
        }
    }
    Ok(judgement)
}

/// `_imaps`, 993, `mail.example.org`
struct Service {
    label: &'static str,
    port: u16,
    host: String,
}

/// What of users' services is known to be there: listeners of this host, for its own domains; what was connected to at the
/// hosts that take the mail, for others.
fn services(evidence: &Evidence, of: Of<'_>) -> Vec<Service> {
    let mut found: Vec<Service> = Vec::new();
    let mut add = |label: Option<&'static str>, port: u16, host: &str| {
        let Some(label) = label.filter(|_| host.contains('.')) else { return };
        if !found.iter().any(|known| known.label == label) {
            found.push(Service { label, port, host: host.trim_end_matches('.').to_owned() });
        }
    };
    let is_own = of.domain.why.iter().any(|why| matches!(why, DomainWhy::Own { .. }));
    if is_own {
        let servers = evidence.servers.value().into_iter().flatten();
        let name = |server: &Server| {
            let host = server.host_name.trim().to_owned();
            if host.contains('.') { host } else { evidence.vantage.host_name.clone() }
        };
        for (_, server) in servers.filter(|(_, server)| server.enabled) {
            for wanted in server.wanted.values().filter(|wanted| !wanted.is_loopback_only()) {
                add(label(wanted), wanted.port, &name(server));
            }
        }
    }
    for endpoint in evidence.endpoints.values() {
        let host = of.hosts().value().is_some_and(|hosts| hosts.iter().any(|host| host.name == endpoint.host));
        let answered = endpoint.addresses.values().any(|one| one.session.value().is_some());
        if host && answered {
            add(of_port(endpoint.port, endpoint.purpose), endpoint.port, &endpoint.host);
        }
    }
    found
}

fn label(wanted: &WantedListener) -> Option<&'static str> {
    match (wanted.purpose, wanted.port, wanted.tls) {
        (Purpose::Submissions, ..) => Some("_submissions"),
        (Purpose::Submission, ..) => Some("_submission"),
        (Purpose::Mailbox, port, _) if of_port(port, wanted.purpose).is_some() => of_port(port, wanted.purpose),
        (Purpose::Mailbox, _, TlsMode::Implicit) if wanted.command.starts_with("imap") => Some("_imaps"),
        (Purpose::Mailbox, _, TlsMode::Implicit) if wanted.command.starts_with("pop3") => Some("_pop3s"),
        (Purpose::Mailbox, ..) if wanted.command.starts_with("managesieve") => Some("_sieve"),
        _ => None,
    }
}

/// Ports in clear are left out: RFC 8314 section 3 has programs prefer TLS from the first byte.
fn of_port(port: u16, purpose: Purpose) -> Option<&'static str> {
    match (port, purpose) {
        (993, _) => Some("_imaps"),
        (995, _) => Some("_pop3s"),
        (4190, _) => Some("_sieve"),
        (_, Purpose::Submissions) => Some("_submissions"),
        (_, Purpose::Submission) => Some("_submission"),
        _ => None,
    }
}

fn finding(of: Of<'_>, discovery: &Discovery, services: &[Service]) -> Finding {
    let name = of.name;
    let mut fix = of
        .step("Publish one record for each service that users have, with a name that its certificate carries. A target of `.` says that there is no such service.")
        .undo("remove the records");
    for service in services {
        let Service { label, port, host } = service;
        fix = fix.record(format!("{label}._tcp.{name}"), "SRV", format!("0 1 {port} {host}."));
    }
    of.finding(
        &RULE,
        RULE.severity,
        of.subject(),
        format!("{name} has no SRV records for submission and mailboxes: users' programs cannot find the servers by themselves."),
    )
    .data("services", services.iter().map(|service| service.label).collect::<Vec<_>>())
    .because(
        format!("none of {} exists", discovery.asked.keys().cloned().collect::<Vec<_>>().join(", ")),
        "DNS",
        of.pointer(&["discovery", "value", "asked"]),
    )
    .fix(fix)
    .reference("RFC 6186 section 3")
    .reference("RFC 8314 section 5.1")
}
