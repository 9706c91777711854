//! Exim: `smtp_accept_max` holds for all of its ports together. At the limit a client is not left waiting: its connection
//! is accepted, answered with `421 Too many concurrent SMTP connections; please try again later`, and closed.

use super::RULE;
use crate::rule::Judgement;
use crate::words::Words;
use crate::{exim, view};
use mxray_model::evidence::{Server, Sockets};
use mxray_model::{Evidence, Fix, Seen, Severity, Subject};

pub(super) fn saturated(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    sockets: &Sockets,
    judgement: &mut Judgement,
) {
    let children = match &server.children {
        Seen::Value(children) => children.values().next().copied(),
        Seen::Absent => None,
        Seen::Unknown(reason) => return judgement.blind(&RULE, reason),
    };
    let Some(children) = children else { return };
    let Some(limit) = children.limit.filter(|limit| children.count >= *limit) else {
        return judgement.well(format!("{instance}: fewer connections than smtp_accept_max allows"));
    };
    let words = Words::new(evidence, server);
    let more = limit.saturating_mul(2).max(40).to_string();
    let at = server.set_at("smtp_accept_max");
    let mut finding = RULE
        .finding_as(
            Severity::Error,
            Subject::service(format!("{instance} smtp")),
            format!(
                "{instance} serves {} connections at a time, as many as it may: the next client is told 421.",
                children.count
            ),
        )
        .confidence(0.95)
        .touches(Subject::service(instance))
        .because(
            format!("{} processes of the daemon serve a connection each; smtp_accept_max = {limit}.", children.count),
            at.map_or_else(|| server.config_dir.clone(), ToString::to_string),
            view::server_pointer(instance, &["children", "value"]),
        )
        .data("service", "smtp")
        .data("processes", children.count)
        .data("limit", limit)
        .data("waiting", 0)
        .reference("Exim specification, section 14.23, smtp_accept_max");
    // The limit is one for all ports.
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port)).touches(view::service_at(instance, wanted.port));
    }
    let mut ports: Vec<u16> = server.wanted.values().map(|wanted| wanted.port).collect();
    ports.retain(|port| sockets.services.get(port).is_some_and(|load| load.established > 0));
    for port in &ports {
        finding = finding.because(
            format!("Port {port}: {} connections.", sockets.services.get(port).map_or(0, |load| load.established)),
            "sock_diag",
            view::pointer(["sockets", "value", "services", &port.to_string()]),
        );
    }
    let first = ports.first().copied().unwrap_or(25);
    judgement.find(
        finding
            .fix(
                Fix::here(
                    "See who holds the connections; a few addresses that hold most are a flood, not a limit too low.",
                )
                .command(format!("mxray sockets --port {first} --by remote")),
            )
            .fix(
                exim::change(server, &words, "Allow more connections.", ("smtp_accept_max", at), &more, false)
                    .verify("exim -bP smtp_accept_max"),
            ),
    );
}
