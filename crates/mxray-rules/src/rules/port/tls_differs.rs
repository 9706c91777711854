//! PORT112: a service is configured for another way of TLS than the assignments file says.

use crate::assigned;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Assignment, Assignments, Server, TlsMode, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "PORT112",
    name: "port-tls-differs",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a service is configured for another way of TLS than the assignments file says",
    page: include_str!("tls_differs.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let assignments = assigned::file(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let declared = |entry: &Assignment| entry.tls.filter(|_| entry.protocol == "tcp" && !assigned::is_range(entry));
    for (name, entry) in &assignments.services {
        let Some(tls) = declared(entry) else { continue };
        let servers = view::servers(evidence, &RULE)?;
        let mut configured = 0;
        for (instance, server) in view::enabled(servers) {
            for (key, wanted) in server.wanted.iter().filter(|(_, wanted)| is_meant(entry, wanted)) {
                configured += 1;
                if wanted.tls != tls {
                    let finding = differs(assignments, (name, entry, tls), (instance, server), (key, wanted));
                    judgement.find(assigned::for_people(finding, name, entry));
                } else {
                    judgement.well(format!("{name} is configured with {}, as declared", text(tls)));
                }
            }
        }
        if configured == 0 {
            let why = format!("no mail server whose configuration is read has {}", assigned::ports_text(entry));
            judgement.blind(&RULE, &Blind::NotAttempted { why });
        }
    }
    Ok(judgement)
}

/// Of an entry with addresses only listeners at one of them, or at all addresses.
fn is_meant(entry: &Assignment, wanted: &WantedListener) -> bool {
    let at_one =
        |address| wanted.addresses.contains(address) || wanted.addresses.iter().any(std::net::IpAddr::is_unspecified);
    wanted.port == entry.ports.0 && (entry.addresses.is_empty() || entry.addresses.iter().any(at_one))
}

fn text(tls: TlsMode) -> &'static str {
    match tls {
        TlsMode::None => "no TLS",
        TlsMode::Starttls => "STARTTLS for who wants it",
        TlsMode::StarttlsRequired => "nothing without STARTTLS",
        TlsMode::Implicit => "TLS from the first byte",
    }
}

/// The file's words.
fn word(tls: TlsMode) -> &'static str {
    match tls {
        TlsMode::None => "none",
        TlsMode::Starttls => "starttls",
        TlsMode::StarttlsRequired => "starttls-required",
        TlsMode::Implicit => "implicit",
    }
}

/// Passwords and mail may pass in clear where the file promises that they do not.
fn is_weaker(actual: TlsMode, declared: TlsMode) -> bool {
    let in_clear = |tls| match tls {
        TlsMode::None => 2,
        TlsMode::Starttls => 1,
        TlsMode::StarttlsRequired | TlsMode::Implicit => 0,
    };
    in_clear(actual) > in_clear(declared)
}

fn differs(
    assignments: &Assignments,
    (name, entry, declared): (&str, &Assignment, TlsMode),
    (instance, server): (&str, &Server),
    (key, wanted): (&str, &WantedListener),
) -> Finding {
    // One of the two ways does not begin as a client of the other expects: no session comes about.
    let breaks = (wanted.tls == TlsMode::Implicit) != (declared == TlsMode::Implicit);
    let severity = match breaks || is_weaker(wanted.tls, declared) {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let service = view::service_text(wanted);
    RULE.finding_as(
        severity,
        assigned::subject(&entry.protocol, &[], wanted.port),
        format!("{service} is configured with {}, and the file says {} for {name}.", text(wanted.tls), text(declared)),
    )
    .touches(view::service_at(instance, wanted.port))
    .touches(view::port_scope(wanted.port))
    .because(format!("{name} has tls = \"{}\".", word(declared)), entry.at.to_string(), assigned::pointer(name))
    .because(
        format!("{} asks for {service} with {}.", server.software, text(wanted.tls)),
        wanted.at.to_string(),
        view::server_pointer(instance, &["wanted", key]),
    )
    .data("service", name)
    .data("port", wanted.port)
    .data("declared", word(declared))
    .data("configured", word(wanted.tls))
    .fix(
        Fix::here(format!("If the file is right, configure {service} for {}.", text(declared)))
            .verify(format!("mxray probe 127.0.0.1:{} && mxray ports audit", wanted.port)),
    )
    .fix(Fix::here("If the configuration is right, say so in the file.").config(
        assignments.file.clone(),
        Some(entry.at.line),
        format!("tls = \"{}\"", word(wanted.tls)),
    ))
}
