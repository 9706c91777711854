//! SOCK112: the mail server itself does not run.

use crate::rule::{Judgement, Rule};
use crate::view::{self, Words};
use mxray_model::{Evidence, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "SOCK112",
    name: "service-not-running",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the mail server itself does not run",
    page: include_str!("service_not_running.md"),
    check,
};

fn check(evidence: &Evidence) -> Judgement {
    let servers = match view::servers(evidence, &RULE) {
        Ok(servers) => servers,
        Err(judgement) => return judgement,
    };
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        match &server.master {
            Seen::Value(master) => {
                judgement.well(format!("{instance} runs (process {})", master.pid));
            }
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
            Seen::Absent => {
                let words = Words::new(evidence, server);
                let log = server.directories.get("log").map_or("/var/log", String::as_str);
                judgement.find(
                    RULE.finding(
                        Subject::service(instance),
                        format!("{instance} does not run: no mail is accepted or delivered by it."),
                    )
                    .confidence(0.95)
                    .because(
                        format!("{} is configured in {}.", server.software, server.config_dir),
                        server.configured_by.clone(),
                        view::server_pointer(instance, &["config_dir"]),
                    )
                    .because(
                        "Its master process was looked for among all processes and is not there.",
                        "/proc",
                        view::server_pointer(instance, &["master"]),
                    )
                    .data("software", server.software.clone())
                    .data("config_dir", server.config_dir.clone())
                    .fix(
                        Fix::here("Check the configuration, start the server, and read why it ended if it ends again.")
                            .command(words.check())
                            .command(words.start())
                            .verify(format!("mxray doctor; otherwise look for \"fatal\" in the log below {log}")),
                    )
                    .reference("postfix(1)"),
                );
            }
        }
    }
    judgement
}
