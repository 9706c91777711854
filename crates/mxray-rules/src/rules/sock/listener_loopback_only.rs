//! SOCK102: a public service listens only on loopback.

mod dovecot;
mod exim;

use crate::assigned;
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Exposure, Purpose, Server, Sockets, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "SOCK102",
    name: "listener-loopback-only",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a public service listens only on loopback",
    page: include_str!("listener_loopback_only.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        if view::is_dovecot(server) {
            dovecot::check(evidence, instance, server, sockets, &mut judgement);
            continue;
        }
        let on_loopback: Vec<(&String, &WantedListener)> = server
            .wanted
            .iter()
            .filter(|(_, wanted)| view::is_public_smtp(wanted) && listens_on_loopback_only(sockets, wanted.port))
            .collect();
        let words = Words::new(evidence, server);
        let Some(on_loopback) = undeclared(evidence, (instance, server), on_loopback, &words, &mut judgement) else {
            continue;
        };
        let (by_configuration, against_it): (Vec<_>, Vec<_>) =
            on_loopback.into_iter().partition(|(_, wanted)| wanted.is_loopback_only());
        if !against_it.is_empty() {
            judgement.find(stale(instance, &against_it, &words));
        } else if by_configuration.iter().any(|(_, wanted)| wanted.purpose == Purpose::Relay) {
            match (view::receives_mail(evidence, server), view::names_domain(server)) {
                (Some(domains), _) if may_be_fetched(server) => judgement.blind(&RULE, &undecided(instance, &domains)),
                (Some(domains), _) => judgement.find(configured(instance, server, &by_configuration, &domains, &words)),
                (None, Some(domain)) => judgement.blind(&RULE, &undecided(instance, &domain)),
                (None, None) => judgement
                    .well(format!("{instance} listens on loopback only, and nothing says that it should receive mail")),
            }
        } else if server.wanted.values().any(view::is_public_smtp) {
            // Submission for this machine alone (a webmail's) is a choice, where mail from outside has its own way in.
            judgement.well(format!("{instance}: what others must reach does not listen on loopback alone"));
        }
    }
    Ok(judgement)
}

type Services<'a> = Vec<(&'a String, &'a WantedListener)>;

/// What the assignments file says nothing of. Where it wants a service on loopback, that is well; where it wants one to be reached
/// from anywhere, nothing else has to speak for it: then `None`, and it was said.
fn undeclared<'a>(
    evidence: &Evidence,
    (instance, server): (&str, &Server),
    on_loopback: Services<'a>,
    words: &Words<'_>,
    judgement: &mut Judgement,
) -> Option<Services<'a>> {
    let Some(file) = evidence.assignments.value() else { return Some(on_loopback) };
    let entry = |wanted: &WantedListener| assigned::entry_on(file, "tcp", wanted.port);
    let (for_here, rest): (Services<'_>, Services<'_>) = on_loopback
        .into_iter()
        .partition(|(_, wanted)| entry(wanted).is_some_and(|(_, entry)| entry.exposure == Exposure::Loopback));
    for (_, wanted) in &for_here {
        judgement.well(format!("{} is for this machine alone, as {} says", view::service_text(wanted), file.file));
    }
    let (for_all, rest): (Services<'_>, Services<'_>) = rest
        .into_iter()
        .partition(|(_, wanted)| entry(wanted).is_some_and(|(_, entry)| entry.exposure == Exposure::Public));
    if for_all.is_empty() {
        return Some(rest);
    }
    let mut finding = base(instance, &for_all, "but the assignments file has it open to all", words);
    for (name, entry) in for_all.iter().filter_map(|(_, wanted)| entry(wanted)) {
        finding = finding.because(format!("{name} is public."), entry.at.to_string(), assigned::pointer(name));
    }
    if !for_all.iter().any(|(_, wanted)| wanted.purpose == Purpose::Relay) {
        finding.severity = Severity::Error;
    }
    let port = first_port(&for_all);
    let by_configuration = for_all.iter().all(|(_, wanted)| wanted.is_loopback_only());
    let finding = match by_configuration {
        false => finding.fix(words.listen_anew("Restart the server: addresses are chosen at its start.")),
        true => widened(finding, instance, server, &for_all, words),
    };
    judgement.find(
        finding.fix(
            Fix::here("Or, if it is for this machine alone, say exposure = \"loopback\" in the file.")
                .command(format!("mxray ports audit --file {}", mxray_model::text::shell_word(&file.file)))
                .verify(view::look_again(port)),
        ),
    );
    None
}

/// Mail that is fetched elsewhere is handed over on loopback; such a host sends through its provider, and its users do not
/// submit here.
fn may_be_fetched(server: &Server) -> bool {
    let submits = |wanted: &WantedListener| matches!(wanted.purpose, Purpose::Submission | Purpose::Submissions);
    view::has_relayhost(server) && !server.wanted.values().any(submits)
}

/// A host that only sends often has its domain in `mydestination`, too; so has one whose way in was closed by mistake.
fn undecided(instance: &str, domain: &str) -> Blind {
    Blind::NotAttempted {
        why: format!(
            "{instance} listens on loopback only, and {domain}: whether mail from outside should come here stands in the domain's MX records, which are not looked up"
        ),
    }
}

fn listens_on_loopback_only(sockets: &Sockets, port: u16) -> bool {
    let listeners = view::listeners_on(sockets, port);
    !listeners.is_empty() && listeners.iter().all(|(_, listener)| listener.is_loopback())
}

/// Configured for all, listening on loopback: the running server is older than its configuration.
fn stale(instance: &str, services: &[(&String, &WantedListener)], words: &Words<'_>) -> Finding {
    base(instance, services, "although its configuration asks for more", words).confidence(0.95).fix(
        words
            .listen_anew("Restart the server: addresses are chosen at its start, a reload does not change them.")
            .verify(view::look_again(first_port(services))),
    )
}

/// Configured for loopback on a host that is somebody's mail exchanger.
fn configured(
    instance: &str,
    server: &Server,
    services: &[(&String, &WantedListener)],
    domains: &str,
    words: &Words<'_>,
) -> Finding {
    let is_postfix = server.software == "postfix";
    let sign = if is_postfix { "settings" } else { "domains" };
    let finding = base(instance, services, "but it is the final destination or a relay of mail from outside", words)
        .confidence(0.9)
        .because(domains, words.listeners_in().0, view::server_pointer(instance, &[sign]));
    widened(finding, instance, server, services, words)
}

/// How what is configured for loopback is opened to others, in the server's own words.
fn widened(
    finding: Finding,
    instance: &str,
    server: &Server,
    services: &[(&String, &WantedListener)],
    words: &Words<'_>,
) -> Finding {
    if view::is_dovecot(server) {
        return dovecot::widened(finding, services, words);
    }
    let is_postfix = server.software == "postfix";
    if server.software == "exim" {
        return exim::listen_on_all(finding, instance, server, services, words);
    }
    if !is_postfix {
        return services.iter().fold(finding, |finding, (_, wanted)| {
            finding.fix(words.listen_everywhere("Let it listen on the addresses that others reach.", wanted))
        });
    }
    let interfaces = server.setting("inet_interfaces");
    if matches!(interfaces.trim(), "all" | "") {
        return services.iter().fold(finding, |finding, (_, wanted)| {
            finding.fix(
                Fix::here(format!("Take the loopback address out of the name of the service {}.", wanted.service))
                    .config(wanted.at.file.clone(), Some(wanted.at.line), format!("{} inet …", bare_name(wanted)))
                    .undo(format!("put {} back, and restart", wanted.service))
                    .command(words.restart())
                    .verify(view::look_again(wanted.port)),
            )
        });
    }
    let step = words.setting_fix("Let it listen on all addresses.", "inet_interfaces", "all");
    finding
        .because(
            format!("inet_interfaces = {interfaces}"),
            server.set_at("inet_interfaces").map_or_else(|| words.main_cf(), ToString::to_string),
            view::server_pointer(instance, &["settings", "inet_interfaces"]),
        )
        .fix(step)
        .fix(
            Fix::here("Restart the server: a reload does not change addresses.")
                .command(words.restart())
                .verify(view::look_again(first_port(services))),
        )
}

fn base(instance: &str, services: &[(&String, &WantedListener)], but: &str, words: &Words<'_>) -> Finding {
    let ports: Vec<u16> = services.iter().map(|(_, wanted)| wanted.port).collect();
    let texts: Vec<String> = services.iter().map(|(_, wanted)| view::service_text(wanted)).collect();
    let mut finding = RULE
        .finding(
            view::port_scope(first_port(services)),
            format!("{instance} can be reached from this machine only: {} on loopback, {but}.", texts.join(", ")),
        )
        .touches(Subject::service(instance))
        .data("ports", ports.clone())
        .because(
            format!("All listeners on port {} are bound to loopback addresses.", join(&ports)),
            "sock_diag",
            view::pointer(["sockets", "value", "listeners"]),
        )
        .reference(words.listeners_in().1);
    for port in ports {
        finding = finding.touches(view::port_scope(port));
    }
    finding
}

fn join(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Port 25 first: it is what keeps mail of others out.
fn first_port(services: &[(&String, &WantedListener)]) -> u16 {
    let relay = services.iter().find(|(_, wanted)| wanted.purpose == Purpose::Relay);
    relay.or_else(|| services.first()).map_or(25, |(_, wanted)| wanted.port)
}

/// `smtp` of `127.0.0.1:smtp`.
fn bare_name(wanted: &WantedListener) -> &str {
    wanted.service.rsplit(':').next().unwrap_or(&wanted.service)
}
