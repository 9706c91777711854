//! SOCK104: connections are lost because nobody accepts them fast enough.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::Listener;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "SOCK104",
    name: "accept-queue-overflow",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the accept queue of a mail service is full, or its drops rise",
    page: include_str!("accept_queue_overflow.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut blind = None;
    let mut looked = 0;
    for (key, listener) in &sockets.listeners {
        if listener.protocol != "tcp" || !view::is_mail_port(evidence, listener.port) {
            continue;
        }
        match &listener.queue {
            Seen::Unknown(reason) => blind = Some(reason),
            Seen::Absent => {}
            Seen::Value(_) => looked += 1,
        }
        match overflow(evidence, key, listener) {
            Some(finding) => judgement.find(finding),
            // A queue that has room now may have lost connections a moment ago; no listener did where the kernel counted
            // no overflow at all.
            None if view::counter_rise(evidence, "TcpExt.ListenOverflows") != Some(0) => {
                blind = blind.or(listener.drops.blind());
            }
            None => {}
        }
    }
    if let Some(reason) = blind {
        judgement.blind(&RULE, reason);
    }
    if looked > 0 && blind.is_none() && judgement.findings.is_empty() {
        judgement.well(format!("accept queues of {looked} mail listeners have room"));
    }
    Ok(judgement)
}

fn overflow(evidence: &Evidence, key: &str, listener: &Listener) -> Option<Finding> {
    let queue = listener.queue.value()?;
    let rise = listener.drops.value().map_or(0, |drops| drops.last.saturating_sub(drops.first));
    // sk_drops counts more than overflows; only together with the kernel's overflow counter does it mean one.
    let overflows = view::counter_rise(evidence, "TcpExt.ListenOverflows");
    let lost_now = rise > 0 && overflows.is_none_or(|count| count > 0);
    if !queue.is_full() && !lost_now {
        return None;
    }
    let port = listener.port;
    let what = if queue.is_full() {
        format!("{} connections wait for accept, the limit is {}", queue.waiting, queue.limit)
    } else {
        format!("{rise} connections were dropped while we looked")
    };
    let mut finding = RULE
        .finding(view::endpoint(&[listener.address], port), format!("Port {port} loses new connections: {what}."))
        .confidence(if queue.is_full() || overflows.is_some() { 0.95 } else { 0.7 })
        .touches(view::port_scope(port))
        .because(
            format!("Accept queue: {} waiting, limit {}.", queue.waiting, queue.limit),
            "sock_diag",
            format!("{}/queue", view::listener_pointer(key)),
        )
        .data("waiting", queue.waiting)
        .data("limit", queue.limit)
        .data("drops_risen", rise)
        .reference("listen(2)")
        .reference("tcp(7)");
    if let Seen::Value(drops) = &listener.drops {
        finding = finding.because(
            format!("Drops on this listener: {} at first, {} then.", drops.first, drops.last),
            "sock_diag",
            format!("{}/drops", view::listener_pointer(key)),
        );
    }
    Some(fixes(evidence, finding, port, queue.limit))
}

/// The limit is the smaller of what the program asked for and `somaxconn`; which of the two binds decides the fix.
fn fixes(evidence: &Evidence, finding: Finding, port: u16, limit: u32) -> Finding {
    let step = match &evidence.kernel.somaxconn {
        Seen::Value(somaxconn) if *somaxconn <= limit => {
            Fix::here("Raise the kernel's limit, then restart the service: a listener keeps the limit of its start.")
                .command("sysctl -w net.core.somaxconn=4096")
                .config("/etc/sysctl.d/60-mail.conf", None, "net.core.somaxconn = 4096")
                .undo(format!("sysctl -w net.core.somaxconn={somaxconn}"))
        }
        _ => match view::service_on(evidence, port) {
            Some((_, server, wanted)) if view::is_dovecot(server) => {
                let processes = wanted.process_limit.unwrap_or(100).saturating_mul(2);
                Words::new(evidence, server).nested_fix(
                    "Let more processes serve the port; its backlog follows the process limit.",
                    &format!("service/{}", wanted.command),
                    &[("process_limit", processes.to_string())],
                )
            }
            // postscreen is one process and must stay one; its backlog is the default limit (master(8) takes the larger).
            Some((_, server, wanted)) if wanted.multiplexed => {
                let words = Words::new(evidence, server);
                let limit = server.setting("default_process_limit").trim().parse::<u32>().unwrap_or(100);
                words
                    .setting_fix(
                        "Raise the default limit, which the backlog follows, and look in the log what holds the service up.",
                        "default_process_limit",
                        &limit.saturating_mul(2).to_string(),
                    )
                    .command(words.restart())
            }
            Some((_, server, wanted)) => {
                let words = Words::new(evidence, server);
                let service = format!("{}/inet", wanted.service);
                let processes = wanted.process_limit.unwrap_or(100).saturating_mul(2);
                Fix::here("Let more processes serve the port; its backlog follows the process limit.")
                    .command(words.set_service(&service, "process_limit", &processes.to_string()))
                    .command(words.restart())
                    .undo(words.set_service(
                        &service,
                        "process_limit",
                        &wanted.process_limit.map_or_else(|| "0".to_owned(), |limit| limit.to_string()),
                    ))
                    .config(wanted.at.file.clone(), Some(wanted.at.line), format!("the maxproc column: {processes}"))
            }
            None => Fix::here("Find out why the program behind the port accepts slower than its peers connect."),
        },
    };
    finding.fix(step.verify(view::look_again(port)))
}
