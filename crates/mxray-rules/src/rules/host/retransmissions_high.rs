//! HOST108: much of what is sent has to be sent again.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Sent, Sockets};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "HOST108",
    name: "retransmissions-high",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "much of what this host sends has to be sent again",
    page: include_str!("retransmissions_high.md"),
    check,
};

/// With fewer segments a handful of losses decides: at 500, 5 % are 25 of them.
const SEGMENTS_MIN: u64 = 500;
/// At 5 % TCP's throughput over 50 ms is down to about 1 Mbit/s (Mathis et al. 1997: MSS/RTT · 1.22/√p).
const PERCENT_MIN: u64 = 5;
/// One network with a bad path is not this host's; three at once have little in common but this host.
const NETWORKS_LOSSY_MIN: u32 = 3;

/// All of it together.
#[derive(Default)]
struct Sum {
    connections: u32,
    segments: u64,
    retransmitted: u64,
    networks: u32,
    /// Of one port at most: networks of different ports may be the same ones.
    networks_lossy: u32,
}

impl Sum {
    fn add(&mut self, sent: &Sent) {
        self.connections = self.connections.saturating_add(sent.connections);
        self.segments = self.segments.saturating_add(sent.segments);
        self.retransmitted = self.retransmitted.saturating_add(sent.retransmitted);
        self.networks = self.networks.max(sent.networks);
        self.networks_lossy = self.networks_lossy.max(sent.networks_lossy);
    }

    fn percent(&self) -> u64 {
        self.retransmitted.saturating_mul(100) / self.segments.max(1)
    }
}

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let (sum, blind) = sum(sockets);
    let mut judgement = Judgement::nothing();
    if sum.segments < SEGMENTS_MIN {
        // Little traffic is no fault and no blindness, but it is no proof either: nothing is said.
        if let Some(blind) = blind {
            judgement.blind(&RULE, blind);
        }
        return Ok(judgement);
    }
    let is_high = sum.percent() >= PERCENT_MIN
        && sum.networks_lossy >= NETWORKS_LOSSY_MIN
        && sum.networks_lossy.saturating_mul(2) >= sum.networks;
    if is_high {
        judgement.find(lossy(evidence, &sum));
    } else {
        judgement.well(format!(
            "{} of {} segments on {} open connections with mail were sent again ({} %)",
            sum.retransmitted,
            sum.segments,
            sum.connections,
            sum.percent()
        ));
    }
    Ok(judgement)
}

fn sum(sockets: &Sockets) -> (Sum, Option<&Blind>) {
    let mut sum = Sum::default();
    let mut blind = None;
    for load in sockets.services.values() {
        match &load.sent {
            Seen::Value(sent) => sum.add(sent),
            Seen::Absent => {}
            Seen::Unknown(why) => blind = blind.or(Some(why)),
        }
    }
    sockets.sent_to.values().for_each(|sent| sum.add(sent));
    (sum, blind)
}

fn lossy(evidence: &Evidence, sum: &Sum) -> Finding {
    let mut finding = RULE
        .finding(
            Subject::host(),
            format!(
                "{} % of the segments on open connections with mail had to be sent again, towards {} networks.",
                sum.percent(),
                sum.networks_lossy
            ),
        )
        .confidence(0.75)
        .because(
            format!(
                "{} of {} segments on {} connections; {} of up to {} networks lose 2 % or more",
                sum.retransmitted, sum.segments, sum.connections, sum.networks_lossy, sum.networks
            ),
            "tcp_info of open connections",
            view::pointer(["sockets", "value", "services"]),
        )
        .data("percent", sum.percent())
        .data("segments", sum.segments)
        .data("retransmitted", sum.retransmitted)
        .data("connections", sum.connections)
        .data("networks_lossy", sum.networks_lossy)
        .reference("RFC 4022, tcpRetransSegs")
        .reference("RFC 6298");
    let rise = |name| view::counter_rise(evidence, name);
    if let (Some(again), Some(out @ 1..)) = (rise("Tcp.RetransSegs"), rise("Tcp.OutSegs")) {
        finding = finding.because(
            format!(
                "While we looked ({} ms), {again} segments were sent again beside {out} new ones.",
                evidence.kernel.window_ms
            ),
            "/proc/net/snmp",
            view::pointer(["kernel", "counters"]),
        );
    }
    finding.fix(
        Fix::here("Find where it is lost: this host's link first, then its line. A duplex or cable fault shows as errors of the interface.")
            .command("ip -s -s link")
            .command("mxray counters --interval 30s")
            .command("mxray sockets --port 25 --info --sort retrans --limit 20")
            .verify("mxray counters --interval 30s"),
    )
    .fix(Fix::here(
        "If the interface is clean, take the peers' addresses and the share to the provider: the loss is on the line or beyond.",
    ))
}
