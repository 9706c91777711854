//! What two entries of one assignments file do to each other. Two that the kernel would let stand side by side may both be there;
//! what it would refuse is a mistake of the file.

use mxray_model::binding::{Binding, Together, together};
use mxray_model::evidence::{Assignment, Assignments, Exposure, Forbidden, V6Policy};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One contradiction.
pub struct Clash {
    /// Of the entry that comes second.
    pub line: u32,
    pub what: String,
    pub help: String,
}

pub fn all(assignments: &Assignments) -> Vec<Clash> {
    let mut by_protocol: BTreeMap<&str, Vec<(&String, &Assignment)>> = BTreeMap::new();
    for entry in &assignments.services {
        by_protocol.entry(&entry.1.protocol).or_default().push(entry);
    }
    let mut clashes = Vec::new();
    for services in by_protocol.values_mut() {
        services.sort_by_key(|(_, assignment)| (assignment.ports, assignment.at.line));
        for (index, first) in services.iter().enumerate() {
            // Sorted by their first port: behind one that begins after our end nothing overlaps.
            let rest = services.iter().skip(index + 1).take_while(|second| second.1.ports.0 <= first.1.ports.1);
            clashes.extend(rest.filter(|second| overlap(first.1, second.1)).map(|second| overlapping(*first, *second)));
        }
    }
    clashes.extend(assignments.forbidden.values().flat_map(|forbidden| contradictions(forbidden, assignments)));
    clashes
}

fn is_range(assignment: &Assignment) -> bool {
    assignment.ports.0 != assignment.ports.1
}

/// Services that each choose a port may choose from one range; they see what is taken.
fn overlap(one: &Assignment, other: &Assignment) -> bool {
    !(is_range(one) && is_range(other))
        && bindings(one)
            .iter()
            .any(|first| bindings(other).iter().any(|second| together(first, second) != Together::Apart))
}

fn bindings(assignment: &Assignment) -> Vec<Binding> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses: Vec<IpAddr> = match assignment.addresses.is_empty() {
        true if assignment.v6 == V6Policy::None => everywhere.into_iter().take(1).collect(),
        true => everywhere.into(),
        false => assignment.addresses.iter().copied().collect(),
    };
    // A wildcard takes IPv4 as well only where the file says so: which one is meant, the addresses tell.
    let v6_only = assignment.v6 != V6Policy::Dual;
    addresses.into_iter().map(|address| Binding { v6_only, ..Binding::new("tcp", address, 0) }).collect()
}

fn overlapping((first_name, first): (&String, &Assignment), (second_name, second): (&String, &Assignment)) -> Clash {
    let in_order = first.at.line <= second.at.line;
    let (early, early_name, late, late_name) =
        if in_order { (first, first_name, second, second_name) } else { (second, second_name, first, first_name) };
    Clash {
        line: late.at.line,
        what: format!("`{late_name}` overlaps with `{early_name}` on {}", ports(first, second)),
        help: format!(
            "`{early_name}` stands at line {}; two services on one port need addresses of their own",
            early.at.line
        ),
    }
}

fn ports(one: &Assignment, other: &Assignment) -> String {
    let (first, last) = (one.ports.0.max(other.ports.0), one.ports.1.min(other.ports.1));
    let protocol = &one.protocol;
    if first == last { format!("{protocol} {first}") } else { format!("{protocol} {first} to {last}") }
}

/// Assigned and forbidden. One that may listen on loopback may be assigned for loopback.
fn contradictions(forbidden: &Forbidden, assignments: &Assignments) -> Vec<Clash> {
    let holds = |assignment: &Assignment| {
        assignment.protocol == forbidden.protocol
            && (assignment.ports.0..=assignment.ports.1).contains(&forbidden.port)
            && !is_range(assignment)
            && !(forbidden.except_loopback && assignment.exposure == Exposure::Loopback)
    };
    let each = |(name, assignment): (&String, &Assignment)| {
        let help = match forbidden.except_loopback {
            true => format!("it may listen on loopback: exposure = \"loopback\" for `{name}`, or take one of both out"),
            false => "take one of both out".to_owned(),
        };
        Clash {
            line: forbidden.at.line,
            what: format!(
                "{} {} is forbidden, and assigned to `{name}` (line {})",
                forbidden.protocol, forbidden.port, assignment.at.line
            ),
            help,
        }
    };
    assignments.services.iter().filter(|(_, assignment)| holds(assignment)).map(each).collect()
}
