//! Dovecot's processes that own no port and without which its ports are of no use.

use super::RULE;
use crate::view;
use mxray_model::evidence::{Children, Server};
use mxray_model::{Finding, Fix, Severity, Subject};

/// Without these every login waits: who checks it, who counts it, who knows the configuration, who takes log lines.
const NEEDED: [(&str, &str); 4] = [
    ("auth", "nobody can log in"),
    ("anvil", "logins wait"),
    ("config", "no process can start"),
    ("log", "processes wait as soon as the pipe of log lines is full"),
];

/// Stopped processes among them. The users' own (`imap`) are each one user's affair.
pub fn helpers_stopped(instance: &str, server: &Server) -> Vec<Finding> {
    let Some(children) = server.children.value().filter(|_| view::is_dovecot(server)) else { return Vec::new() };
    let stopped = |name: &str| children.get(name).filter(|children| children.stopped > 0);
    let found = NEEDED.iter().filter_map(|(name, effect)| Some((*name, *effect, stopped(name)?)));
    found.map(|(name, effect, children)| finding(instance, server, name, effect, children)).collect()
}

fn finding(instance: &str, server: &Server, name: &str, effect: &str, children: &Children) -> Finding {
    let severity = if children.stopped == children.count { Severity::Critical } else { Severity::Error };
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::service(format!("{instance} {name}")),
            format!("{} of {} {name} processes of {instance} are stopped: {effect}.", children.stopped, children.count),
        )
        .confidence(0.95)
        .touches(Subject::service(format!("{instance} {name}")))
        .because(
            format!("{} processes of {name} are in state T.", children.stopped),
            "/proc",
            view::server_pointer(instance, &["children", "value", name]),
        )
        .data("service", name)
        .data("stopped", children.stopped)
        .data("processes", children.count)
        .fix(
            Fix::here("Let it go on; then find out who stopped it.")
                .command(format!("pkill -CONT -x {name}"))
                .verify("doveadm who"),
        )
        .reference("signal(7), SIGSTOP");
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}
