//! FW106: the destination itself refuses the connection: nothing listens there.

use crate::outside::{self, Contact};
use crate::reach::{Access, Loss, Reached, addresses, in_words, loss, others};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{EndpointWhy, ExaminedEndpoint};
use mxray_model::{Blind, Evidence, Finding, Mover, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "FW106",
    name: "destination-not-listening",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the destination itself refuses the connection: nothing listens on that port",
    page: include_str!("destination_not_listening.md"),
    check,
};

/// The refusal came from as far as the host is; a filter in the last router before it looks the same.
const MEASURED: f32 = 0.95;
/// Any device on the way can send a RST.
const NOT_MEASURED: f32 = 0.7;

fn check(evidence: &Evidence) -> Said {
    outside::endpoints(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (key, endpoint) in others(evidence) {
        if let Seen::Unknown(blind) = &endpoint.resolved {
            judgement.blind(&RULE, blind);
            continue;
        }
        let access = Access::of(key, endpoint);
        let refusals: Vec<(Contact<'_>, Reached)> = addresses(key, endpoint)
            .filter(|(_, reached)| matches!(reached, Reached::Closed | Reached::Reset))
            .collect();
        match refusals.first() {
            _ if access.is_open() => judgement.well(format!("{key} accepts connections")),
            Some(first) => judgement.find(finding(evidence, key, endpoint, first, &refusals)),
            None => {
                for (contact, reached) in addresses(key, endpoint) {
                    if reached == Reached::Unknown {
                        let (step, error) = (format!("connecting to {}", contact.name()), in_words(&contact, &reached));
                        judgement.blind(&RULE, &Blind::Failed { step, error });
                    }
                }
                if access.is_dead() {
                    judgement.well(format!("{key} does not refuse: what stops the connection is not its closed port"));
                }
            }
        }
    }
    Ok(judgement)
}

fn finding(
    evidence: &Evidence,
    key: &str,
    endpoint: &ExaminedEndpoint,
    (first, kind): &(Contact<'_>, Reached),
    refusals: &[(Contact<'_>, Reached)],
) -> Finding {
    let measured = refusals.iter().any(|(_, reached)| *reached == Reached::Closed);
    let severity = match loss(evidence, endpoint) {
        Loss::Whole => RULE.severity,
        Loss::Partial => Severity::Error,
        Loss::Spare => Severity::Warning,
    };
    let name = outside::name(endpoint);
    let summary = if measured {
        format!("Nothing listens at {name}: the host itself refuses the connection.")
    } else {
        format!(
            "{name} refuses the connection. From how far the refusal came is not known; most likely nothing listens there."
        )
    };
    let here = first.from_same_host();
    let who = if here { "on this host" } else { "there" };
    let mut finding = RULE
        .finding_as(severity, outside::subject(key), summary)
        .confidence(if measured { MEASURED } else { NOT_MEASURED })
        .because(
            format!("{}: {}.", first.name(), in_words(first, kind)),
            "connect(2)",
            first.pointer(&["dial", "outcome"]),
        )
        .data("addresses", refusals.iter().map(|(contact, _)| contact.at.to_owned()).collect::<Vec<_>>())
        .data("at_full_distance", measured);
    if let Some(way) = first.seen.dial.distance.value() {
        if let Some(at) = way.answered_at.value() {
            finding = finding.data("answered_at", *at);
        }
        if let (Some(at), Some(port)) = (way.host_at.value(), way.reference) {
            let text = format!("Port {port} of the same host answers from hop {at}.");
            finding = finding.data("host_at", *at).because(text, "TTL", first.pointer(&["dial", "distance", "value"]));
        }
    }
    for why in &endpoint.why {
        // Whose setting led there.
        if let EndpointWhy::Smarthost { server } = why {
            finding = finding.touches(Subject::service(server));
        }
    }
    if here {
        finding = finding.touches(crate::view::port_scope(endpoint.port));
    }
    finding.whose_move = if here { Mover::Us } else { Mover::Receiver };
    let text = format!("Start the mail server {who}, or publish and configure the host and port on which one listens.");
    let mut fix = outside::step(endpoint, text).verify(outside::probe_command(endpoint, ""));
    if here {
        fix.who = mxray_model::Fix::here("").who;
    }
    finding.fix(fix).reference("RFC 9293 section 3.10.7.1").reference("RFC 5321 section 5.1")
}
