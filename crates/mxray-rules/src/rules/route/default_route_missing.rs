//! ROUTE101: nothing says where to send what is not for a neighbour.

use super::{Asked, Own, SOURCE, Sender, ask_again, asked_as, family, has_default, own, place_text, senders};
use crate::rule::{Rule, Said};
use crate::view;
use mxray_model::evidence::Routing;
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "ROUTE101",
    name: "default-route-missing",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "there is no default route, and mail has to leave this network",
    page: include_str!("default_route_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let (routing, senders, mut judgement) = senders(evidence, &RULE)?;
    let mut stranded: Option<Finding> = None;
    for sender in &senders {
        match way_out(evidence, routing, sender) {
            Way::There(text) => judgement.well(text),
            Way::Nothing => {}
            Way::CannotTell(blind) => judgement.blind(&RULE, &blind),
            Way::Missing { severity, confidence, asked, effect } => {
                let found = stranded.take().unwrap_or_else(|| {
                    missing(routing, asked, severity, confidence, format!("There is no default route: {effect}."))
                });
                stranded = Some(found.touches(Subject::service(sender.name)));
            }
        }
    }
    if let Some(finding) = stranded {
        judgement.find(finding);
    }
    Ok(judgement)
}

enum Way<'a> {
    There(String),
    /// Nothing was asked about, or another rule speaks of it.
    Nothing,
    CannotTell(Blind),
    Missing {
        severity: Severity,
        confidence: f32,
        asked: Asked<'a>,
        effect: String,
    },
}

fn way_out<'a>(evidence: &Evidence, routing: &Routing, sender: &Sender<'a>) -> Way<'a> {
    if let Some(way) = to_places(routing, sender) {
        return way;
    }
    let (four, six) = (sender.samples(true), sender.samples(false));
    if let Some(ipv4) = [true, false].into_iter().find(|ipv4| sender.gets_out(*ipv4)) {
        let own4 = own(evidence, routing, true);
        let nothing4 = !ipv4 && own4 != Own::None && all_lost(routing, &four);
        // Most receivers have IPv4 alone. Private addresses may be there for the management.
        if let Some(asked) = four.first().copied().filter(|_| nothing4) {
            let effect = format!("{} reaches nobody over IPv4 beyond its own network", sender.name);
            let (severity, confidence) =
                if own4 == Own::Public { (Severity::Critical, 0.95) } else { (Severity::Notice, 0.5) };
            return Way::Missing { severity, confidence, asked, effect };
        }
        return Way::There(format!("{}: the Internet is routed over {}", sender.name, family(ipv4)));
    }
    let lost: Vec<Asked<'a>> =
        [&four, &six].into_iter().filter(|samples| all_lost(routing, samples)).flatten().copied().collect();
    let all = four.len() + six.len();
    let Some(asked) = lost.first().copied().filter(|_| lost.len() == all) else { return Way::Nothing };
    let is_public = [true, false].into_iter().any(|ipv4| own(evidence, routing, ipv4) == Own::Public);
    if !is_public && !routing.wide.is_empty() {
        let effect = format!("{} reaches only the networks that have routes of their own", sender.name);
        return Way::Missing { severity: Severity::Notice, confidence: 0.5, asked, effect };
    }
    if let Some(smarthost) = sender.server.egress.smarthosts.first() {
        if !is_public && is_at_home(&sender.server.host_name, &smarthost.value) {
            let why = format!("there is no default route, and only DNS can tell where {} is", smarthost.value);
            return Way::CannotTell(Blind::NotAttempted { why });
        }
        let effect = format!("{} cannot reach {}, unless it is in this network", sender.name, smarthost.value);
        return Way::Missing { severity: Severity::Critical, confidence: 0.85, asked, effect };
    }
    let effect = format!("{} reaches nobody beyond its own network", sender.name);
    Way::Missing { severity: Severity::Critical, confidence: 0.95, asked, effect }
}

/// Every sample finds nothing, and no default route of that family stands in any table (else ROUTE102 speaks).
fn all_lost(routing: &Routing, samples: &[Asked<'_>]) -> bool {
    let Some(first) = samples.first() else { return false };
    samples.iter().all(|asked| asked.finds_nothing()) && !has_default(routing, first.is_ipv4())
}

/// Judges by what the configuration names; `None`: it names nothing whose address is known.
fn to_places<'a>(routing: &Routing, sender: &Sender<'a>) -> Option<Way<'a>> {
    let lost = |asked: &Asked<'_>| asked.finds_nothing() && !has_default(routing, asked.is_ipv4());
    let places = sender.places();
    let stranded = places.iter().find(|(_, all)| all.iter().all(lost));
    let samples = [sender.samples(true), sender.samples(false)].concat();
    if let Some(((purpose, name), all)) = stranded {
        let effect = if !samples.is_empty() && samples.iter().all(lost) {
            format!("{} reaches nobody beyond its own network", sender.name)
        } else {
            format!("{} cannot reach {}", sender.name, place_text(*purpose, name))
        };
        let asked = *all.first()?;
        return Some(Way::Missing { severity: Severity::Critical, confidence: 0.97, asked, effect });
    }
    let ((purpose, name), _) = places.first_key_value().filter(|_| samples.is_empty())?;
    Some(Way::There(format!("{}: {} is routed", sender.name, place_text(*purpose, name).trim_end_matches(','))))
}

/// Under the same domain: it may well stand in the same network.
fn is_at_home(host: &str, smarthost: &str) -> bool {
    let bare = smarthost.trim_start_matches(|c| c != '[').trim_start_matches('[');
    let name = bare.split([']', ':']).next().unwrap_or_default();
    let name = if name.is_empty() { smarthost.split(':').next().unwrap_or_default() } else { name };
    let domain = |name: &str| {
        let labels: Vec<&str> = name.trim_end_matches('.').rsplit('.').take(2).collect();
        labels.join(".").to_ascii_lowercase()
    };
    !name.contains('.') || domain(name) == domain(host)
}

fn missing(routing: &Routing, asked: Asked<'_>, severity: Severity, confidence: f32, summary: String) -> Finding {
    let interface = routing.addresses.values().next().map_or("eth0", |own| own.interface.as_str());
    let interface = shell_word(interface);
    let others: Vec<&str> = routing.defaults.iter().map(|default| default.text.as_str()).collect();
    RULE.finding_as(severity, Subject::host(), summary)
        .confidence(confidence)
        .because(
            format!("Asked about {}, the kernel says: network is unreachable (ENETUNREACH).", asked_as(asked)),
            SOURCE,
            asked.pointer(),
        )
        .because(
            format!("Of {} routes in all tables, none that could be used is a default.", routing.routes),
            SOURCE,
            view::pointer(["routing", "value", "defaults"]),
        )
        .data("routes", routing.routes)
        .data("defaults", others.into_iter().map(str::to_owned).collect::<Vec<_>>())
        .data("destination", asked.answer.destination.to_string())
        .fix(
            Fix::here("See whether the interface is up, and what the network's configuration says of the gateway.")
                .command("ip -br link; ip -br address; ip route show")
                .command(
                    "grep -rsE 'gateway|Gateway=|routes?:|via' /etc/network /etc/netplan /etc/systemd/network \
                     /etc/NetworkManager/system-connections",
                ),
        )
        .fix(
            Fix::here(format!(
                "Set the default route where that network is configured, and for now by hand: \
                 `ip route add default via GATEWAY dev {interface}`, with the address of your router."
            ))
            .undo("ip route del default")
            .verify(ask_again(asked)),
        )
        .reference("ip-route(8)")
        .reference("connect(2), ENETUNREACH")
}
