//! A mail server whose control group is frozen: no signal shows it, and none ends it.

use super::RULE;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Master, Server};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Subject};

pub(super) fn finding(evidence: &Evidence, instance: &str, server: &Server, master: &Master) -> Finding {
    let group = server.frozen.value().map_or("", String::as_str);
    let words = Words::new(evidence, server);
    let file = format!("{group}/cgroup.freeze");
    // systemd keeps an account of what it froze.
    let unit = group.rsplit('/').next().filter(|name| name.ends_with(".service") || name.ends_with(".slice"));
    let systemd = evidence.vantage.service_manager == Seen::Value("systemd".to_owned());
    let mut fix =
        Fix::here("Let it go on; then find out who froze it (systemctl freeze, a backup, a container engine's pause).");
    if let Some(unit) = unit.filter(|_| systemd) {
        fix = fix.command(format!("systemctl thaw {}", shell_word(unit)));
    }
    let mut finding = RULE
        .finding(
            Subject::service(instance),
            format!(
                "{instance} is frozen (process {}, control group {group}): it holds its ports and does nothing.",
                master.pid
            ),
        )
        .confidence(0.98)
        .because(format!("{file} holds 1."), file.clone(), view::server_pointer(instance, &["frozen"]))
        .data("pid", master.pid)
        .data("state", "frozen")
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(fix.command(format!("echo 0 > {}", shell_word(&file))).verify(format!("cat {}", shell_word(&file))))
        .fix(Fix::here("If it is frozen again, look for who does it before you restart it.").command(words.check()))
        .reference("Linux, Control Group v2, cgroup.freeze")
        .reference("systemctl(1), freeze");
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}
