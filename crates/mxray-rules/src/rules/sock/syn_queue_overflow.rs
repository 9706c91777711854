//! SOCK105: half-open connections fill the backlog.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{AcceptQueue, Load};
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "SOCK105",
    name: "syn-queue-overflow",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "half-open connections fill the backlog; SYN cookies, or drops without them",
    page: include_str!("syn_queue_overflow.md"),
    check,
};

/// Fewer half-open connections than this are everyday loss on slow links, however small the backlog.
const HALF_OPEN_MIN: u32 = 16;

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let (mut most, mut blind) = (0, None);
    for (port, load) in &sockets.services {
        if !view::is_mail_port(evidence, *port) {
            continue;
        }
        most = most.max(load.half_open);
        let listeners = view::listeners_on(sockets, *port);
        if load.half_open >= HALF_OPEN_MIN {
            blind = blind.or_else(|| listeners.iter().find_map(|(_, listener)| listener.queue.blind()));
        }
        let queues = listeners.into_iter().filter_map(|(key, l)| Some((key, l.queue.value()?)));
        let Some((key, queue)) = queues.min_by_key(|(_, queue)| queue.limit) else { continue };
        if let Some(finding) = flood(evidence, *port, load, key, queue) {
            judgement.find(finding);
        }
    }
    if !judgement.findings.is_empty() {
        return Ok(judgement);
    }
    match blind {
        Some(reason) => judgement.blind(&RULE, reason),
        None => judgement.well(format!("no backlog is filled by half-open connections (most: {most})")),
    }
    Ok(judgement)
}

fn flood(evidence: &Evidence, port: u16, load: &Load, key: &str, queue: &AcceptQueue) -> Option<Finding> {
    let kernel = &evidence.kernel;
    let cookies = kernel.syncookies.value().copied();
    // Without cookies the kernel keeps the last quarter of tcp_max_syn_backlog for peers that it knows.
    let syn_room = kernel.max_syn_backlog.value().map(|most| most / 4 * 3);
    let backlog_full = load.half_open >= queue.limit;
    let syn_full = cookies == Some(0) && syn_room.is_some_and(|room| load.half_open >= room);
    let refused = ["TcpExt.TCPReqQFullDrop", "TcpExt.TCPReqQFullDoCookies"]
        .into_iter()
        .filter_map(|name| view::counter_rise(evidence, name))
        .sum::<u64>();
    let half_full_and_refusing = refused > 0 && load.half_open >= queue.limit / 2;
    if load.half_open < HALF_OPEN_MIN || !(backlog_full || syn_full || half_full_and_refusing) {
        return None;
    }
    let answer = match cookies {
        Some(0) => "new connections are dropped, SYN cookies are off",
        Some(_) => "the kernel falls back to SYN cookies",
        None => "what the kernel does with new ones is unknown",
    };
    let top: Vec<String> = load.half_open_peers.iter().take(5).map(|c| format!("{} ({})", c.who, c.count)).collect();
    let finding = RULE
        .finding(
            view::port_scope(port),
            format!(
                "{} half-open connections fill port {port}'s backlog of {}: {answer}.",
                load.half_open, queue.limit
            ),
        )
        .confidence(if backlog_full || syn_full { 0.95 } else { 0.8 })
        .because(
            format!(
                "{} connections in SYN-RECV from {} addresses: {}",
                load.half_open,
                load.half_open_distinct,
                top.join(", ")
            ),
            "sock_diag",
            view::pointer(["sockets", "value", "services", &port.to_string()]),
        )
        .because(
            format!("The backlog of the listener is {}.", queue.limit),
            "sock_diag",
            format!("{}/queue", view::listener_pointer(key)),
        )
        .data("half_open", load.half_open)
        .data("limit", queue.limit)
        .data("addresses", load.half_open_distinct)
        .data("refused_while_looking", refused)
        .reference("RFC 4987");
    Some(fixes(finding, port, load, cookies))
}

fn fixes(finding: Finding, port: u16, load: &Load, cookies: Option<u32>) -> Finding {
    let mut finding = finding;
    if cookies == Some(0) {
        finding = finding.fix(
            Fix::here("Switch SYN cookies on: they answer without keeping state.")
                .command("sysctl -w net.ipv4.tcp_syncookies=1")
                .config("/etc/sysctl.d/60-mail.conf", None, "net.ipv4.tcp_syncookies = 1")
                .undo("sysctl -w net.ipv4.tcp_syncookies=0")
                .verify("sysctl net.ipv4.tcp_syncookies"),
        );
    }
    let main = load.half_open_peers.first().filter(|top| top.count.saturating_mul(2) > load.half_open);
    let step = match main {
        Some(top) => {
            let family = if top.who.contains(':') { "ip6" } else { "ip" };
            Fix::here(format!("{} sends more than half of them. Block it before this host.", top.who))
                .command(format!("nft insert rule inet filter input {family} saddr {} tcp dport {port} drop", top.who))
                .undo("nft -a list chain inet filter input; nft delete rule inet filter input handle N")
        }
        None => Fix::here(
            "The addresses are many and probably forged: ask the provider to filter the flood before it reaches this host.",
        ),
    };
    finding.fix(step.verify(format!("mxray sockets --port {port} --state syn-recv --by remote")))
}
