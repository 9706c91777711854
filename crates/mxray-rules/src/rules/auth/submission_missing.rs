//! AUTH103: users are to hand in mail here, and neither port for it is open.

use crate::outside::{self, Stake};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{DialOutcome, ExaminedEndpoint, Purpose, Server, SessionProtocol};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "AUTH103",
    name: "submission-missing",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "users are to hand in their mail here, and ports 587 and 465 are both closed",
    page: include_str!("submission_missing.md"),
    check,
};

const PORTS: [u16; 2] = [587, 465];

/// What is known of one port.
enum Port {
    /// Somebody answers.
    Open,
    /// Refused at every address, or without a listener.
    Closed {
        place: String,
        text: String,
    },
    Unknown(Blind),
}

fn check(evidence: &Evidence) -> Said {
    let endpoints = outside::endpoints(evidence, &RULE)?;
    let mut hosts: BTreeMap<&str, Vec<(&str, &ExaminedEndpoint)>> = BTreeMap::new();
    for (key, endpoint) in endpoints {
        if is_ours(evidence, endpoint) {
            hosts.entry(&endpoint.host).or_default().push((key, endpoint));
        }
    }
    let mut judgement = Judgement::nothing();
    let Some(expected) = expected(evidence) else {
        judgement.well("nobody is known to hand in mail here");
        return Ok(judgement);
    };
    for (host, own) in hosts {
        let ports = PORTS.map(|port| state(evidence, &own, port));
        match ports {
            [Port::Open, _] | [_, Port::Open] => judgement.well(format!("{host} takes mail of users")),
            [Port::Closed { place: a, text: first }, Port::Closed { place: b, text: second }] => {
                judgement.find(missing(evidence, host, &expected, [(a, first), (b, second)]));
            }
            [Port::Unknown(blind), _] | [_, Port::Unknown(blind)] => judgement.blind(&RULE, &blind),
        }
    }
    Ok(judgement)
}

/// A name or address of this host.
fn is_ours(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> bool {
    if outside::stake(endpoint) == Stake::Own {
        return true;
    }
    let own = evidence.addresses.value();
    let all = endpoint.resolved.value().filter(|addresses| !addresses.is_empty());
    all.is_some_and(|addresses| addresses.iter().all(|address| own.is_some_and(|own| own.contains(address))))
}

/// Why submission is expected, with the place, and the server that has it.
fn expected(evidence: &Evidence) -> Option<(String, String)> {
    if evidence.declared.submission_user {
        let text = "mxray's own configuration names a user who sends through this host".to_owned();
        return Some((text, view::pointer(["declared", "submission_user"])));
    }
    let servers = evidence.servers.value()?;
    view::enabled(servers).find_map(|(instance, server)| {
        let (key, wanted) = server.wanted.iter().find(|(_, wanted)| {
            matches!(wanted.purpose, Purpose::Submission | Purpose::Submissions)
                && PORTS.contains(&wanted.port)
                && !wanted.is_loopback_only()
        })?;
        let text = format!("{instance} is configured for {} ({})", view::service_text(wanted), wanted.at);
        Some((text, view::server_pointer(instance, &["wanted", key])))
    })
}

fn state(evidence: &Evidence, own: &[(&str, &ExaminedEndpoint)], port: u16) -> Port {
    let asked: Vec<_> = own
        .iter()
        .filter(|(_, endpoint)| endpoint.port == port && endpoint.protocol == SessionProtocol::Smtp)
        .flat_map(|(key, endpoint)| outside::contacts(key, endpoint))
        .collect();
    if let Some(other) = asked.iter().find(|contact| contact.seen.dial.outcome != DialOutcome::Refused) {
        // Silence is a filter's, perhaps for us alone.
        return match &other.seen.dial.outcome {
            DialOutcome::Connected => Port::Open,
            outcome => Port::Unknown(Blind::NotAttempted {
                why: format!("connecting to {}: {}", other.name(), outcome.as_str()),
            }),
        };
    }
    if let Some(first) = asked.first() {
        return Port::Closed { place: first.pointer(&["dial"]), text: format!("{}: connection refused", first.name()) };
    }
    match &evidence.sockets {
        Seen::Value(sockets) if view::listeners_on(sockets, port).is_empty() => Port::Closed {
            place: view::pointer(["sockets", "value", "listeners"]),
            text: format!("nothing listens on port {port}"),
        },
        Seen::Value(_) => Port::Open,
        Seen::Absent => Port::Unknown(Blind::NotAttempted { why: format!("port {port} was not tried") }),
        Seen::Unknown(blind) => Port::Unknown(blind.clone()),
    }
}

fn missing(evidence: &Evidence, host: &str, (why, place): &(String, String), ports: [(String, String); 2]) -> Finding {
    let mut finding = RULE
        .finding(
            Subject::new(mxray_model::SubjectKind::Name, host),
            format!("Users cannot hand in mail at {host}: ports 587 and 465 are both closed."),
        )
        .confidence(0.9)
        .touches(view::port_scope(587))
        .touches(view::port_scope(465))
        .because(format!("{why}."), "configuration", place)
        .data("ports", PORTS.to_vec())
        .reference("RFC 6409 section 3.1")
        .reference("RFC 8314 section 3.3");
    for (place, text) in ports {
        finding = finding.because(format!("{text}."), "connect", place);
    }
    let postfix = evidence.servers.value().and_then(|all| view::enabled(all).find(|(_, one)| is_postfix(one)));
    let again = format!("mxray probe {}:587", mxray_model::text::shell_word(host));
    let Some((instance, server)) = postfix else {
        return finding.fix(
            Fix::here("Let the mail server listen on port 465 (TLS from the first byte) or 587, with logins and TLS required.")
                .verify(again),
        );
    };
    let words = Words::new(evidence, server);
    finding.touches(Subject::service(instance)).fix(
        Fix::here("Open submission, with TLS and login required; where it stands in master.cf already, see why it does not listen.")
            .command(words.set_service_line("submission/inet", "submission inet n - y - - smtpd"))
            .command(words.set_override("submission/inet", "smtpd_tls_security_level", "encrypt"))
            .command(words.set_override("submission/inet", "smtpd_sasl_auth_enable", "yes"))
            .command(words.set_override("submission/inet", "smtpd_relay_restrictions", "permit_sasl_authenticated,reject"))
            .command(words.reload())
            .undo(words.remove_service("submission/inet"))
            .verify(again),
    )
}

fn is_postfix(server: &Server) -> bool {
    server.software == "postfix"
}
