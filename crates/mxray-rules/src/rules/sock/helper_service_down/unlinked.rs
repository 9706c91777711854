//! Postfix's own sockets that somebody deleted below a running master, or that a service has which it has not read yet.

use super::RULE;
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::Server;
use mxray_model::{Evidence, Fix, Seen, Subject};

pub(super) fn sockets(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    let Seen::Value(master) = &server.master else { return };
    let words = Words::new(evidence, server);
    for path in &server.unlinked {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut finding = RULE
            .finding(
                Subject::endpoint(format!("unix:{path}")),
                format!("{instance} runs, and the socket of its service {name}, {path}, is not there: its other programs cannot reach it."),
            )
            .confidence(0.95)
            .because(
                format!("{path} does not exist, and the master (process {}) runs.", master.pid),
                format!("stat {path}"),
                view::server_pointer(instance, &["unlinked"]),
            )
            .data("setting", "master.cf")
            .data("endpoint", format!("unix:{path}"))
            .touches(Subject::service(instance))
            .touches(Subject::service(format!("{instance} delivery")))
            .fix(
                Fix::here("The master makes its sockets at its start, and those of new services when it is told to read its files.")
                    .command(words.restart())
                    .command("postqueue -f")
                    .verify(format!("test -e {}", mxray_model::text::shell_word(path))),
            )
            .reference("master(8)");
        for wanted in server.wanted.values() {
            finding = finding.touches(view::port_scope(wanted.port));
        }
        judgement.find(finding);
    }
}
