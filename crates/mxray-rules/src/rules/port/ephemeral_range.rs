//! PORT108: a service's port lies in the range from which the kernel takes ports for outgoing connections.

use crate::assigned;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::binding;
use mxray_model::evidence::{FileLine, PortRange};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    code: "PORT108",
    name: "port-in-ephemeral-range",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a connection to anywhere may take the port before its service does",
    page: include_str!("ephemeral_range.md"),
    check,
};

/// Who wants a port.
struct Wish {
    service: String,
    at: FileLine,
    pointer: String,
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    let wishes = wishes(evidence);
    let mut safe = !wishes.is_empty();
    let taken = |port: &u16| matches!(binding::ephemeral(*port, &evidence.kernel), Seen::Value(_));
    let endangered_ports: BTreeSet<u16> = wishes.keys().map(|(_, port)| *port).filter(taken).collect();
    if let Some(blind) = evidence.servers.blind().filter(|_| evidence.assignments.value().is_none()) {
        judgement.blind(&RULE, blind);
    }
    for ((protocol, port), wish) in wishes {
        match binding::ephemeral(port, &evidence.kernel) {
            Seen::Value(range) => {
                safe = false;
                judgement.find(endangered(evidence, (&protocol, port, &wish), range, &endangered_ports));
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                safe = false;
                judgement.blind(&RULE, &blind);
            }
        }
    }
    if safe {
        judgement.well("no assigned or configured port can be taken by an outgoing connection");
    }
    Ok(judgement)
}

/// Ports that stand in files, mail servers' and the operator's; what chooses one of a range sees what is taken.
fn wishes(evidence: &Evidence) -> BTreeMap<(String, u16), Wish> {
    let mut wishes = BTreeMap::new();
    for (name, entry) in evidence.assignments.value().into_iter().flat_map(|assignments| &assignments.services) {
        if !assigned::is_range(entry) {
            let wish = Wish { service: name.clone(), at: entry.at.clone(), pointer: assigned::pointer(name) };
            wishes.insert((entry.protocol.clone(), entry.ports.0), wish);
        }
    }
    for (instance, server) in evidence.servers.value().into_iter().flat_map(view::enabled) {
        for (key, wanted) in &server.wanted {
            let wish = || Wish {
                service: format!("{instance} ({})", wanted.service),
                at: wanted.at.clone(),
                pointer: view::server_pointer(instance, &["wanted", key]),
            };
            wishes.entry(("tcp".to_owned(), wanted.port)).or_insert_with(wish);
        }
    }
    wishes
}

fn endangered(
    evidence: &Evidence,
    (protocol, port, wish): (&str, u16, &Wish),
    range: PortRange,
    all: &BTreeSet<u16>,
) -> Finding {
    let (first, last) = (range.first, range.last);
    // The setting is replaced as a whole: what is reserved already has to be named again, and the others of these with it.
    let reserved = evidence.kernel.reserved_ports.value().into_iter().flatten();
    let kept = reserved.map(|kept| match kept.first == kept.last {
        true => kept.first.to_string(),
        false => format!("{}-{}", kept.first, kept.last),
    });
    let kept: Vec<String> = kept.collect();
    let setting = |ports: &[String]| format!("net.ipv4.ip_local_reserved_ports={}", ports.join(","));
    let wanted: Vec<String> = all.iter().map(u16::to_string).collect();
    let line = setting(&[kept.clone(), wanted].concat());
    RULE.finding(
        assigned::subject(protocol, &[], port),
        format!(
            "{} has {protocol} port {port}, which any outgoing connection may have taken when it starts: the kernel gives \
             away {first} to {last}.",
            wish.service
        ),
    )
    .confidence(0.95)
    .because(format!("{} has port {port}.", wish.service), wish.at.to_string(), wish.pointer.clone())
    .because(
        format!("The range is {first} to {last}, and {port} is not reserved."),
        "net.ipv4.ip_local_port_range",
        "/kernel/local_ports",
    )
    .data("service", wish.service.clone())
    .data("protocol", protocol)
    .data("port", port)
    .data("first", first)
    .data("last", last)
    .reference("kernel Documentation/networking/ip-sysctl.rst, ip_local_reserved_ports")
    .fix(
        Fix::here("Reserve it, now and for the next start of the machine.")
            .command(format!("sysctl -w {line}"))
            .config("/etc/sysctl.d/50-mail-ports.conf", None, line)
            .undo(format!("sysctl -w {}; rm /etc/sysctl.d/50-mail-ports.conf", setting(&kept)))
            .verify("sysctl net.ipv4.ip_local_reserved_ports"),
    )
    .fix(Fix::here("Or give the service a port below the range."))
}
