//! A server's own sockets that somebody deleted below it, or that a service has which it has not read yet.

use super::RULE;
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Master, Server};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Subject};

/// So many are one event: somebody emptied the directory.
const MANY: usize = 3;

pub(super) fn sockets(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    let Seen::Value(master) = &server.master else { return };
    if server.unlinked.len() >= MANY {
        judgement.find(emptied(evidence, instance, server, master));
        return;
    }
    for path in &server.unlinked {
        judgement.find(one(evidence, instance, server, master, path));
    }
}

fn one(evidence: &Evidence, instance: &str, server: &Server, master: &Master, path: &str) -> Finding {
    let words = Words::new(evidence, server);
    let name = path.rsplit('/').next().unwrap_or(path);
    let summary = format!(
        "{instance} runs, and the socket of its service {name}, {path}, is not there: its other programs cannot reach it."
    );
    let finding = RULE
        .finding(Subject::endpoint(format!("unix:{path}")), summary)
        .because(
            format!("{path} does not exist, and the master (process {}) runs.", master.pid),
            format!("stat {path}"),
            view::server_pointer(instance, &["unlinked"]),
        )
        .data("endpoint", format!("unix:{path}"));
    again(&words, instance, server, finding, path)
}

fn emptied(evidence: &Evidence, instance: &str, server: &Server, master: &Master) -> Finding {
    let words = Words::new(evidence, server);
    let paths: Vec<&str> = server.unlinked.iter().map(String::as_str).collect();
    let first = paths.first().copied().unwrap_or_default();
    let setting = if view::is_dovecot(server) { "base_dir" } else { "queue_directory" };
    let directory = server.setting(setting);
    let directory =
        if directory.is_empty() { first.rsplit_once('/').map_or("", |(front, _)| front) } else { directory };
    let names: Vec<&str> = paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
    let summary = format!(
        "{instance} runs, and {} sockets of its own services are not in {directory} ({}): its programs cannot reach one another.",
        paths.len(),
        names.join(", ")
    );
    let finding = RULE
        .finding(Subject::path(directory), summary)
        .because(
            format!("These do not exist, and the master (process {}) runs: {}.", master.pid, paths.join(", ")),
            format!("stat {first}"),
            view::server_pointer(instance, &["unlinked"]),
        )
        .data("endpoint", format!("unix:{first}"));
    let finding =
        paths.iter().fold(finding, |finding, path| finding.touches(Subject::endpoint(format!("unix:{path}"))));
    again(&words, instance, server, finding, first)
}

fn again(words: &Words<'_>, instance: &str, server: &Server, finding: Finding, path: &str) -> Finding {
    let mut fix = Fix::here(
        "The master makes its sockets at its start, and those of new services when it is told to read its files.",
    )
    .command(words.restart());
    if server.software == "postfix" {
        fix = fix.command("postqueue -f");
    }
    let mut finding = finding
        .confidence(0.95)
        .data("setting", if server.software == "postfix" { "master.cf" } else { "base_dir" })
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(fix.verify(format!("test -e {}", shell_word(path))))
        .reference(if server.software == "postfix" { "master(8)" } else { "doc.dovecot.org, base_dir" });
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}
