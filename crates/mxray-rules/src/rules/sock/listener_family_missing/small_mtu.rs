//! The kernel has no IPv6 on an interface whose MTU is below 1280, and DNS leads others to an address that was there.

use super::{Family, RULE, lookup_key};
use crate::rule::Judgement;
use crate::view;
use mxray_model::evidence::Server;
use mxray_model::{Evidence, Finding, Fix, Subject};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) fn check(
    evidence: &Evidence,
    (instance, server): (&str, &Server),
    own: &BTreeSet<IpAddr>,
    judgement: &mut Judgement,
) {
    let Some((link, mtu)) = evidence.routing.value().and_then(|routing| routing.below_1280.iter().next()) else {
        return;
    };
    if !server.wanted.values().any(view::is_public_smtp) {
        return;
    }
    let key = lookup_key(server, Family::Six);
    let Some(published) = evidence.lookups.get(&key).and_then(|lookup| lookup.addresses().value().cloned()) else {
        return;
    };
    let lost: Vec<&IpAddr> = published.iter().filter(|address| address.is_ipv6() && !own.contains(*address)).collect();
    if let Some(address) = lost.first().filter(|_| lost.len() == published.len()) {
        judgement.find(finding(instance, server, (link, *mtu), **address));
    }
}

fn finding(instance: &str, server: &Server, (link, mtu): (&String, u32), address: IpAddr) -> Finding {
    let name = server.host_name.trim_end_matches('.');
    let mut finding = RULE
        .finding(
            Subject::service(format!("{instance} over IPv6")),
            format!(
                "{link} has an MTU of {mtu}: below 1280 the kernel keeps no IPv6 on an interface, and {address}, which DNS has for \
                 {name}, is not on this host."
            ),
        )
        .confidence(0.9)
        .touches(Subject::service(instance))
        .because(
            format!("{link} is up, carries IPv4, and has an MTU of {mtu}."),
            "rtnetlink",
            view::pointer(["routing", "value", "below_1280", link]),
        )
        .because(
            format!("{name} has the AAAA record {address}, and no interface has the address."),
            "DNS",
            view::pointer(["lookups", &lookup_key(server, Family::Six)]),
        )
        .data("family", "IPv6")
        .data("address", address.to_string())
        .data("mtu", mtu)
        .fix(
            Fix::here(
                "Give the interface at least 1280 where the network is configured (Ethernet has 1500). Addresses and routes of IPv6 do not \
                 come back by themselves: configure the interface anew.",
            )
            .command(format!("ip link set dev {} mtu 1500", mxray_model::text::shell_word(link)))
            .command(format!("ifup --force {0} || networkctl reconfigure {0}", mxray_model::text::shell_word(link)))
            .undo(format!("ip link set dev {} mtu {mtu}", mxray_model::text::shell_word(link)))
            .verify("ip -6 address show"),
        )
        .reference("RFC 8200 section 5");
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}
