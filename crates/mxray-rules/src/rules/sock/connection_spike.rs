//! SOCK107: a service has far more connections than it usually has at this hour.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Baseline, Load, Usual};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject, Unseen};

pub const RULE: Rule = Rule {
    code: "SOCK107",
    name: "connection-spike",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "connections far above what was learned for this service and hour",
    page: include_str!("connection_spike.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let (mut well, mut compared) = (Vec::new(), 0);
    for (port, load) in sockets.services.iter().filter(|(port, _)| view::is_mail_port(evidence, **port)) {
        let now = load.established.saturating_add(load.waiting);
        // Too few for a spike, whatever is usual.
        if now < Usual::EXCESS_MIN {
            well.push(now);
            continue;
        }
        match evidence.baseline.value().map(|baseline| (baseline, baseline.services.get(port))) {
            Some((baseline, Some(usual))) if usual.is_spike() => {
                judgement.find(spike(evidence, baseline, *port, load, usual));
            }
            Some((_, Some(usual))) if usual.is_learned() => {
                compared += 1;
                well.push(now);
            }
            _ => judgement.unseen.push(not_learned(evidence, *port, now)),
        }
    }
    if judgement.findings.is_empty() && judgement.unseen.is_empty() && !well.is_empty() {
        let most = well.iter().max().copied().unwrap_or_default();
        judgement.well(match compared {
            0 => format!("no service has {} connections or more (most: {most})", Usual::EXCESS_MIN),
            _ => format!("no service is far above what was learned for this hour (most connections: {most})"),
        });
    }
    Ok(judgement)
}

/// Why nobody can say whether this is usual.
fn not_learned(evidence: &Evidence, port: u16, now: u32) -> Unseen {
    let so_far = match &evidence.baseline {
        Seen::Value(baseline) => match baseline.services.get(&port) {
            Some(usual) => usual.learned_so_far(),
            None => Usual::default().learned_so_far(),
        },
        Seen::Absent => "nothing is learned about this network namespace".to_owned(),
        Seen::Unknown(blind) => blind.why(),
    };
    Unseen {
        what: RULE.code.to_owned(),
        why: format!("whether {now} connections to port {port} are usual at this hour: {so_far}"),
        needs: match &evidence.baseline {
            Seen::Unknown(blind) if !blind.needs().is_empty() => blind.needs(),
            _ => "runs of mxray on several days, by the same user: `mxray sockets --learn` from a timer".to_owned(),
        },
    }
}

fn spike(evidence: &Evidence, baseline: &Baseline, port: u16, load: &Load, usual: &Usual) -> Finding {
    let tops = |counts: &[mxray_model::evidence::Count]| {
        counts.iter().take(3).map(|count| format!("{} ({})", count.who, count.count)).collect::<Vec<_>>().join(", ")
    };
    let service = view::service_on(evidence, port);
    let mut finding = RULE
        .finding(
            view::port_scope(port),
            format!(
                "{} connections to port {port}, where up to {} are usual at this hour.",
                usual.now, usual.p95
            ),
        )
        .confidence(0.6)
        .because(
            format!(
                "Around {:02} h UTC, 95 % of {} samples on {} days had at most {}; half had at most {}; the highest was {}.",
                baseline.hour, usual.samples, usual.days, usual.p95, usual.median, usual.max
            ),
            baseline.file.clone(),
            view::pointer(["baseline", "value", "services", &port.to_string()]),
        )
        .because(
            format!("{} different addresses now; most: {}", load.peers_distinct, tops(&load.peers)),
            "sock_diag",
            view::pointer(["sockets", "value", "services", &port.to_string()]),
        )
        .data("port", port)
        .data("connections", usual.now)
        .data("usual_p95", usual.p95)
        .data("usual_median", usual.median)
        .data("samples", usual.samples)
        .data("days", usual.days)
        .data("addresses", load.peers_distinct);
    if let Some((name, _, wanted)) = service {
        finding = finding
            .touches(Subject::service(name))
            .touches(Subject::service(format!("{name} {}/inet", wanted.service)));
    }
    finding.fix(
        Fix::here("See who they are. Customers after an outage or a mailing go by themselves; strangers from everywhere are a flood.")
            .command(format!("mxray sockets --port {port} --by network"))
            .command("mxray sockets --spikes")
            .verify("mxray sockets --spikes"),
    )
    .fix(
        Fix::here(format!("A flood: keep the rest reachable by limiting new connections from each network to port {port}."))
            .command(format!(
                "nft add rule inet filter input tcp dport {port} ct state new meter spike{port} '{{ ip saddr and 255.255.255.0 limit rate over 10/minute }}' reject"
            ))
            .undo("nft -a list chain inet filter input; nft delete rule inet filter input handle N")
            .verify(format!("mxray sockets --port {port} --by network")),
    )
}
