//! SOCK112: the mail server itself does not run.

use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::service_units;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::Server;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeSet;

pub const RULE: Rule = Rule {
    code: "SOCK112",
    name: "service-not-running",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the mail server itself does not run",
    page: include_str!("service_not_running.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        match &server.master {
            Seen::Value(master) => judgement.well(format!("{instance} runs (process {})", master.pid)),
            Seen::Absent if service_units::waits_for_a_client(evidence, server).is_some() => {
                let unit = service_units::waits_for_a_client(evidence, server).map_or("", String::as_str);
                judgement.well(format!("{instance} starts when somebody connects ({unit})"));
            }
            Seen::Absent => judgement.find(not_running(evidence, instance, server).confidence(0.95).because(
                "Its master process was looked for among all processes and is not there.",
                "/proc",
                view::server_pointer(instance, &["master"]),
            )),
            Seen::Unknown(blind) => match silent_ports(evidence, instance, server) {
                Some(ports) => judgement.find(not_running(evidence, instance, server).confidence(0.8).because(
                    format!("Its processes are hidden, but nothing listens on any of its ports ({ports})."),
                    "sock_diag",
                    view::pointer(["sockets", "value", "listeners"]),
                )),
                None => judgement.blind(&RULE, blind),
            },
        }
    }
    Ok(judgement)
}

/// The ports that a server asks for, where it has none of them. One missing port may have other reasons: several
/// at once say that nobody is there to open them.
fn silent_ports(evidence: &Evidence, instance: &str, server: &Server) -> Option<String> {
    if place::elsewhere(evidence, instance, server).is_some() {
        return None;
    }
    let sockets = evidence.sockets.value()?;
    let ports: BTreeSet<u16> = server.wanted.values().map(|wanted| wanted.port).collect();
    let silent = server.wanted.values().all(|wanted| view::listeners_of(sockets, wanted).is_empty());
    let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
    (silent && ports.len() > 1).then(|| list.join(", "))
}

fn not_running(evidence: &Evidence, instance: &str, server: &Server) -> Finding {
    let words = Words::new(evidence, server);
    let log = server.directories.get("log").map_or("/var/log", String::as_str);
    let effect = if view::is_dovecot(server) {
        "nobody can read mail or log in through it, and what is delivered through it waits"
    } else {
        "no mail is accepted or delivered by it"
    };
    let finding = RULE.finding(Subject::service(instance), format!("{instance} does not run: {effect}."));
    // Whatever answers on its ports is not this server. The ports as such are not touched: another server may want them, too.
    let ports = server.wanted.values().map(|wanted| view::service_at(instance, wanted.port));
    let finding = ports.fold(finding, Finding::touches);
    let finding = reasons(evidence, instance, server, &words, finding);
    finding
        .because(
            format!("{} is configured in {}.", server.software, server.config_dir),
            server.configured_by.clone(),
            view::server_pointer(instance, &["config_dir"]),
        )
        .data("software", server.software.clone())
        .data("config_dir", server.config_dir.clone())
        .fix(
            Fix::here("Check the configuration, start the server, and read in its log why it ended.")
                .command(words.check())
                .command(words.start())
                .command(words.last_words(log))
                .verify("mxray doctor"),
        )
        .reference(words.program_page())
}

/// What is known to keep it from being started: a mask, or a configuration with which it cannot start.
fn reasons(evidence: &Evidence, instance: &str, server: &Server, words: &Words<'_>, mut finding: Finding) -> Finding {
    if let Some((name, unit)) = service_units::masked(evidence, server) {
        finding = finding
            .because(
                format!("{name} is masked: systemd refuses to start it."),
                unit.file.clone(),
                view::pointer(["units", "value", "services", name]),
            )
            .fix(
                Fix::here("Unmask the unit.")
                    .command(format!("systemctl unmask {name}"))
                    .undo(format!("systemctl mask {name}")),
            );
    }
    match server.problems.iter().find(|problem| problem.text.contains("cannot start")) {
        Some(problem) => finding
            .because(problem.text.clone(), problem.at.to_string(), view::server_pointer(instance, &["problems"]))
            .fix(
                Fix::here("Correct what keeps it from starting.")
                    .config(problem.at.file.clone(), Some(problem.at.line), "the line, corrected or taken out")
                    .verify(words.check()),
            ),
        None => finding,
    }
}
