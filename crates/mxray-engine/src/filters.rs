//! This host's packet filters: when their rules are listed, and when they are asked.
//!
//! The rules are listed early, beside everything else. They are asked last: only then is known where smarthosts are and which
//! ports are listened on. Asking is arithmetic; nothing is sent.

use crate::parts::{Parts, Pending};
use mxray_host::firewall::{self, Interest, Rulesets, Smarthost};
use mxray_host::programs::Programs;
use mxray_host::routes;
use mxray_model::Seen;
use mxray_model::evidence::{EndpointWhy, Evidence, Firewall};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A ruleset of a hundred thousand rules is listed within half a second.
const LISTING: Duration = Duration::from_secs(2);
/// Walks through such a ruleset take milliseconds each.
const ASKING: Duration = Duration::from_secs(1);

/// Lists the rules. A program may be asked here, so this has to be awaited before programs are ended.
pub(crate) fn start(parts: &mut Parts<'_>, programs: &Programs) -> Pending<Seen<Rulesets>> {
    let (programs, until) = (programs.clone(), parts.margin().min(Instant::now() + LISTING));
    parts.start("packet filters", move || firewall::read(&programs, until))
}

/// Asks them what becomes of mail's packets.
pub(crate) fn ask(
    parts: &mut Parts<'_>,
    rulesets: Seen<Rulesets>,
    evidence: &Evidence,
    known: routes::Known,
) -> Seen<Firewall> {
    let rulesets = match rulesets {
        Seen::Value(rulesets) => rulesets,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let interest = interest(evidence, known);
    let until = Instant::now() + ASKING;
    let pending = parts.start("what packet filters do", move || firewall::examine(&rulesets, &interest, until));
    parts.wait(pending).unwrap_or_else(Seen::Unknown)
}

fn interest(evidence: &Evidence, known: routes::Known) -> Interest {
    // A program's port lies anywhere in the range.
    let middle = |range: &mxray_model::evidence::PortRange| range.first + (range.last - range.first) / 2;
    Interest {
        servers: evidence.servers.value().cloned().unwrap_or_default(),
        listeners: evidence.sockets.value().map_or_else(BTreeMap::new, |sockets| sockets.listeners.clone()),
        resolver: evidence.resolver.clone(),
        known,
        smarthosts: smarthosts(evidence),
        local_port: evidence.kernel.local_ports.value().filter(|r| r.first <= r.last).map_or(46_000, middle),
    }
}

/// Where sessions found the smarthosts.
fn smarthosts(evidence: &Evidence) -> Vec<Smarthost> {
    let mut found = Vec::new();
    for endpoint in evidence.endpoints.values() {
        for why in &endpoint.why {
            if let EndpointWhy::Smarthost { server } = why {
                let addresses = endpoint.addresses.values().map(|examined| examined.dial.peer.ip()).collect();
                found.push(Smarthost {
                    server: server.clone(),
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    addresses,
                });
            }
        }
    }
    found
}
