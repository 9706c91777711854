//! PORT103: two services listen on one port through SO_REUSEPORT, and each gets a part of the connections.

use crate::assigned;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::binding::{Binding, Together, together};
use mxray_model::evidence::{Listener, Owner};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "PORT103",
    name: "port-shared-silently",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "two services listen on one port through SO_REUSEPORT, each gets a part",
    page: include_str!("shared_silently.md"),
    check,
};

/// Are two sockets those of one service?
enum Kin {
    One,
    Two,
    Unknown(Blind),
}

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    // Multicast and clients share UDP ports by design.
    let tcp: Vec<(&String, &Listener)> =
        sockets.listeners.iter().filter(|(_, listener)| listener.protocol == "tcp").collect();
    let mut clean = true;
    for (index, first) in tcp.iter().enumerate() {
        for second in tcp.iter().skip(index + 1).filter(|second| meet(first.1, second.1)) {
            match kin(evidence, first.1, second.1) {
                Kin::One => {}
                Kin::Two => {
                    clean = false;
                    judgement.find(shared(evidence, *first, *second));
                }
                Kin::Unknown(blind) => {
                    clean = false;
                    judgement.blind(&RULE, &blind);
                }
            }
        }
    }
    if clean {
        judgement.well("no port is shared by two services");
    }
    Ok(judgement)
}

/// Both are there, so if they take the same packets, both have set SO_REUSEPORT. Sockets on interfaces or VRFs of their own do
/// not meet, and where one of them is bound to all the kernel keeps VRFs apart.
fn meet(one: &Listener, other: &Listener) -> bool {
    one.port == other.port
        && one.interface == other.interface
        && together(&Binding::of(one), &Binding::of(other)) != Together::Apart
}

fn kin(evidence: &Evidence, one: &Listener, other: &Listener) -> Kin {
    if let (Some(first), Some(second)) = (one.unit.value(), other.unit.value()) {
        return if service(first) == service(second) { Kin::One } else { Kin::Two };
    }
    let (first, second) = match (one.owners.value(), other.owners.value()) {
        (Some(first), Some(second)) if !first.is_empty() && !second.is_empty() => (first, second),
        _ => {
            let blind = one.owners.blind().or_else(|| other.owners.blind()).cloned();
            return Kin::Unknown(blind.unwrap_or_else(|| Blind::NotAttempted {
                why: format!("who holds the two sockets on port {} is not known", one.port),
            }));
        }
    };
    if first.iter().any(|owner| second.iter().any(|other| related(evidence, owner, other))) {
        return Kin::One;
    }
    // Two of one name may be a server's old and new process at a reload, or two servers.
    if first.iter().any(|owner| second.iter().any(|other| owner.name == other.name)) {
        return Kin::Unknown(Blind::NotAttempted {
            why: format!("port {} is shared by processes of one name, outside any unit", one.port),
        });
    }
    Kin::Two
}

/// `haproxy` of `haproxy@2.service`: instances that share a port do so by their administrator's will.
fn service(unit: &str) -> &str {
    unit.split(['@', '.']).next().unwrap_or(unit)
}

/// The same process, parent and child, or children of one parent that is not the first process.
fn related(evidence: &Evidence, one: &Owner, other: &Owner) -> bool {
    let parent = |owner: &Owner| {
        let process = evidence.processes.value()?.mail.get(&owner.pid)?;
        (process.parent > 1).then_some(process.parent)
    };
    one.pid == other.pid
        || parent(one) == Some(other.pid)
        || parent(other) == Some(one.pid)
        || (parent(one).is_some() && parent(one) == parent(other))
}

fn shared(evidence: &Evidence, first: (&String, &Listener), second: (&String, &Listener)) -> Finding {
    let port = first.1.port;
    let declared = evidence.assignments.value().is_some_and(|file| assigned::entry_on(file, "tcp", port).is_some());
    let bears = declared || view::is_mail_port(evidence, port);
    let severity = if bears { RULE.severity } else { Severity::Notice };
    let (one, other) = (assigned::holder(first.1), assigned::holder(second.1));
    let how = if first.1.address == second.1.address {
        "the kernel deals connections out between them by chance"
    } else {
        "the one that is bound to the address gets what comes there, the other one the rest"
    };
    let mut finding = RULE
        .finding_as(severity, view::port_scope(port), format!("{one} and {other} both listen on port {port}: {how}."))
        .confidence(0.9)
        .data("port", port)
        .data("holders", vec![one, other])
        .reference("socket(7), SO_REUSEPORT");
    for (key, listener) in [first, second] {
        let text = format!("{} listens on {}.", assigned::holder(listener), assigned::place(listener));
        finding = finding.because(text, "sock_diag", view::listener_pointer(key));
    }
    let stop = [first.1, second.1].into_iter().filter_map(|listener| listener.unit.value()).fold(
        Fix::here("Decide which of them is to serve the port, and stop the other one; only one of these commands.")
            .command(format!("mxray sockets --listening --port {port} --pids")),
        |fix, unit| match unit.ends_with(".service") {
            true => fix.command(format!("systemctl disable --now {}", shell_word(unit))),
            false => fix,
        },
    );
    finding.fix(stop.undo("systemctl enable --now UNIT").verify(view::look_again(port)))
}
