//! Which destinations mail needs from here, as far as it can be told without asking a name server: smarthosts, next hops of
//! transport tables, busy peers, the operator's targets, and samples of the Internet for what is sent by MX.
//!
//! What must not live here: netlink (that is `examine`'s), any answer.

use super::{Action, Tables};
use crate::mta::machine::Machine;
use crate::read;
use mxray_model::evidence::{FileLine, RoutePurpose, Server};
use mxray_model::special::is_special;
use mxray_model::{Prefix, Seen};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Tables that admins write by hand have a few hundred lines.
const TABLE_BYTES_MAX: u64 = 1 << 20;
/// Of one server: each costs two questions to the kernel (some 20 µs) and a place in the evidence.
const NEEDS_MAX: usize = 64;
/// Parts of the Internet that routes and rules speak of. Hosts that ban single addresses by routes have thousands.
const MENTIONED_MAX: usize = 128;
/// Hosts with many bound addresses have pools of them, all alike to routing.
pub(crate) const SOURCES_MAX: usize = 4;

/// One in each sixteenth of what can be sent to: no single network of a reasonable size covers two.
pub(crate) const SAMPLES4: [Ipv4Addr; 14] = [
    Ipv4Addr::new(8, 97, 33, 1),
    Ipv4Addr::new(24, 97, 33, 1),
    Ipv4Addr::new(40, 97, 33, 1),
    Ipv4Addr::new(57, 97, 33, 1),
    Ipv4Addr::new(73, 97, 33, 1),
    Ipv4Addr::new(89, 97, 33, 1),
    Ipv4Addr::new(105, 97, 33, 1),
    Ipv4Addr::new(121, 97, 33, 1),
    Ipv4Addr::new(137, 97, 33, 1),
    Ipv4Addr::new(153, 97, 33, 1),
    Ipv4Addr::new(168, 97, 33, 1),
    Ipv4Addr::new(185, 97, 33, 1),
    Ipv4Addr::new(201, 97, 33, 1),
    Ipv4Addr::new(217, 97, 33, 1),
];
/// One for each registry's large block of 2000::/3 (IANA, IPv6 Global Unicast Address Assignments).
pub(crate) const SAMPLES6: [Ipv6Addr; 6] = [
    Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2400, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2800, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2c00, 0, 0, 0, 0, 0, 0, 1),
];

/// One destination, and why it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub purpose: RoutePurpose,
    pub destination: IpAddr,
    pub port: u16,
    pub configured: String,
    pub at: Option<FileLine>,
}

/// What the collector knows besides the server.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// `[doctor] targets`
    pub targets: Vec<String>,
    /// `[network] public_prefixes`
    pub public: Vec<Prefix>,
    /// Destinations and ports of outgoing connections, busiest first.
    pub towards: Vec<(IpAddr, u16)>,
}

/// What this server needs, each destination once, in order of weight.
pub(crate) fn of_server(server: &Server, known: &Known, tables: &Tables, machine: &Machine) -> Vec<Need> {
    let mut needs = Needs { all: Vec::new(), taken: BTreeSet::new(), families: families(server) };
    let is_postfix = server.software == "postfix";
    // One on this host itself is known as well, and needs no route.
    let mut is_known = false;
    for smarthost in &server.egress.smarthosts {
        is_known |= needs.named(RoutePurpose::Smarthost, &smarthost.value, is_postfix, smarthost.at.as_ref(), machine);
    }
    let default = server.setting("default_transport");
    if is_postfix && default.contains('[') {
        let at = server.set_at("default_transport");
        is_known |= needs.named(RoutePurpose::Smarthost, default, true, at, machine);
    }
    if is_postfix {
        for (file, line, next) in tables_of(server) {
            let _ = needs.named(RoutePurpose::Transport, &next, true, Some(&FileLine { file, line }), machine);
        }
    }
    for target in &known.targets {
        let _ = needs.named(RoutePurpose::Target, target, false, None, machine);
    }
    for (destination, port) in known.towards.iter().filter(|(_, port)| matches!(port, 25 | 465 | 587)) {
        needs.add(RoutePurpose::Connected, destination.to_canonical(), *port, "", None);
    }
    // A smarthost whose address only DNS knows is as far away as anything.
    if !is_known && sends_by_mx(server) {
        for sample in SAMPLES4.map(IpAddr::V4).into_iter().chain(SAMPLES6.map(IpAddr::V6)) {
            needs.add(RoutePurpose::Sample, sample, 25, "", None);
        }
        needs.mentioned(tables, &known.public);
    }
    needs.all
}

struct Needs {
    all: Vec<Need>,
    taken: BTreeSet<IpAddr>,
    families: (bool, bool),
}

impl Needs {
    /// Takes a next hop whose address is known here; false: it is not.
    fn named(
        &mut self,
        purpose: RoutePurpose,
        text: &str,
        brackets: bool,
        at: Option<&FileLine>,
        machine: &Machine,
    ) -> bool {
        let found = next_hop(text, brackets).and_then(|(host, port)| Some((machine.resolve(host)?, port)));
        let Some((addresses, port)) = found else { return false };
        for address in &addresses {
            self.add(purpose, *address, port, text, at);
        }
        !addresses.is_empty()
    }

    fn add(&mut self, purpose: RoutePurpose, destination: IpAddr, port: u16, configured: &str, at: Option<&FileLine>) {
        let is_used = if destination.is_ipv4() { self.families.0 } else { self.families.1 };
        let samples = matches!(purpose, RoutePurpose::Sample | RoutePurpose::Mentioned);
        if !is_used || destination.is_loopback() || destination.is_unspecified() || destination.is_multicast() {
            return;
        }
        if (samples || self.all.len() < NEEDS_MAX) && self.taken.insert(destination) {
            self.all.push(Need { purpose, destination, port, configured: configured.to_owned(), at: at.cloned() });
        }
    }

    /// One address of each network that a route or a rule refuses, or that a rule takes out of the common way.
    fn mentioned(&mut self, tables: &Tables, public: &[Prefix]) {
        let routes = tables.routes.iter().filter(|route| route.kind.refuses()).map(|route| route.destination);
        let rules = tables.rules.iter().filter(|rule| rule.action != Action::Nop).filter_map(|rule| rule.to);
        let mut networks: Vec<Prefix> =
            routes.chain(rules).filter(|network| network.length > 0).map(Prefix::network).collect();
        // The largest first, since only so many are asked about.
        networks.sort_by_key(|network| (network.length, network.address));
        networks.dedup();
        let wanted = networks.into_iter().filter_map(|network| within(network, public)).take(MENTIONED_MAX);
        for address in wanted {
            self.add(RoutePurpose::Mentioned, address, 25, "", None);
        }
    }
}

/// The families that it uses for sending.
fn families(server: &Server) -> (bool, bool) {
    let list = server.setting("inet_protocols").to_ascii_lowercase();
    if server.software != "postfix" || list.trim().is_empty() || list.contains("all") {
        return (true, true);
    }
    (list.contains("ipv4"), list.contains("ipv6"))
}

/// Mail that no table speaks of leaves to wherever DNS says.
fn sends_by_mx(server: &Server) -> bool {
    let default = server.setting("default_transport").trim();
    let name = default.split(':').next().unwrap_or_default();
    server.egress.sends && !matches!(name, "error" | "retry" | "discard" | "local" | "virtual" | "lmtp")
}

/// Host and port of a next hop as configured: `[smtp.example.com]:587`, `smtp:[192.0.2.1]`, `192.0.2.1`.
///
/// `brackets`: a name without them is looked up by MX, which only DNS can answer.
fn next_hop(text: &str, brackets: bool) -> Option<(&str, u16)> {
    let text = text.trim();
    if let Some((_, rest)) = text.split_once('[') {
        let (host, rest) = rest.split_once(']')?;
        return Some((host, port(rest.trim_start_matches(':'))));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, 25));
    }
    if brackets || text.is_empty() || text.contains('/') {
        return None;
    }
    let (host, rest) = text.split_once(':').unwrap_or((text, ""));
    Some((host, port(rest.trim_start_matches(':'))))
}

/// Host and port of a smarthost, whether or not only DNS knows where it is.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    next_hop(text, false)
}

fn port(text: &str) -> u16 {
    match text {
        "submission" => 587,
        "submissions" | "smtps" | "ssmtp" => 465,
        other => other.parse().unwrap_or(25),
    }
}

/// The next hops that tables of the configuration name, with file and line.
///
/// Of an indexed table the text is read that it is made from, which stands beside it (postmap(1)).
fn tables_of(server: &Server) -> Vec<(String, u32, String)> {
    let mut found = Vec::new();
    for setting in ["transport_maps", "sender_dependent_relayhost_maps"] {
        for entry in server.setting(setting).split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            let Some((kind, path)) = entry.split_once(':') else { continue };
            let is_file = matches!(
                kind,
                "hash" | "btree" | "lmdb" | "dbm" | "sdbm" | "cdb" | "texthash" | "cidr" | "regexp" | "pcre"
            );
            if !is_file || !path.starts_with('/') {
                continue;
            }
            if let Seen::Value(content) = read::file(Path::new(path), TABLE_BYTES_MAX) {
                let text = String::from_utf8_lossy(&content.bytes).into_owned();
                found.extend(next_hops(&text).map(|(line, next)| (path.to_owned(), line, next)));
            }
        }
    }
    found
}

/// Line and result of each entry that names a host in brackets.
fn next_hops(text: &str) -> impl Iterator<Item = (u32, String)> {
    text.lines().zip(1u32..).filter_map(|(line, number)| {
        if line.trim_start().starts_with('#') {
            return None;
        }
        let result = line.split_whitespace().skip(1).find(|word| word.contains('[') && word.contains(']'))?;
        Some((number, mxray_model::text::untrusted(result.as_bytes())))
    })
}

fn is_public(address: IpAddr, public: &[Prefix]) -> bool {
    public.iter().any(|prefix| prefix.contains(address)) || !is_special(address)
}

/// A public address of a network; `None`: it has none, as bogon filters have not.
fn within(network: Prefix, public: &[Prefix]) -> Option<IpAddr> {
    let bits: u8 = if network.address.is_ipv4() { 32 } else { 128 };
    let host = u32::from(bits - network.length.min(bits));
    let span = 1u128.checked_shl(host).unwrap_or(0).wrapping_sub(1);
    [1.min(span), span / 2, span.saturating_sub(1)].into_iter().find_map(|offset| {
        let address = match network.address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() | u32::try_from(offset).ok()?).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() | offset).into()),
        };
        is_public(address, public).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_as_they_are_written() {
        assert_eq!(next_hop("[smtp.example.com]:587", true), Some(("smtp.example.com", 587)));
        assert_eq!(next_hop("smtp:[192.0.2.1]", true), Some(("192.0.2.1", 25)));
        assert_eq!(next_hop("relay:[ipv6:2001:db8::1]:smtps", true), Some(("ipv6:2001:db8::1", 465)));
        assert_eq!(next_hop("192.0.2.1", true), Some(("192.0.2.1", 25)));
        // By MX: only DNS can tell.
        assert_eq!(next_hop("example.com", true), None);
        assert_eq!(next_hop("smart.example.com::587", false), Some(("smart.example.com", 587)));
        let table = "# x smtp:[192.0.2.9]\nexample.org smtp:[192.0.2.1]:26\nlocal.example lmtp:unix:x\n";
        assert_eq!(next_hops(table).collect::<Vec<_>>(), [(2, "smtp:[192.0.2.1]:26".to_owned())]);
    }

    #[test]
    fn a_bogon_filter_speaks_of_no_public_address() {
        let in_it = |text: &str| within(text.parse().unwrap(), &[]).map(|address| address.to_string());
        for bogon in ["10.0.0.0/8", "192.168.7.0/24", "224.0.0.0/4", "203.0.113.0/24", "fc00::/7", "2001:db8::/32"] {
            assert_eq!(in_it(bogon), None, "{bogon}");
        }
        assert_eq!(in_it("45.0.0.0/8").as_deref(), Some("45.0.0.1"));
        assert_eq!(in_it("45.1.2.3/32").as_deref(), Some("45.1.2.3"));
        assert_eq!(in_it("192.0.0.0/4").as_deref(), Some("199.255.255.255"));
        assert_eq!(in_it("2000::/3").as_deref(), Some("2000::1"));
        let own: Prefix = "203.0.113.0/24".parse().unwrap();
        assert_eq!(within(own, &[own]).unwrap().to_string(), "203.0.113.1");
    }

    fn server(smarthost: &str, settings: &[(&str, &str)]) -> Server {
        let mut server = Server { software: "postfix".to_owned(), enabled: true, ..Server::default() };
        server.egress.sends = true;
        if !smarthost.is_empty() {
            let value = smarthost.to_owned();
            server.egress.smarthosts =
                vec![mxray_model::evidence::Configured { value, setting: "relayhost".to_owned(), at: None }];
        }
        for (name, value) in settings {
            let setting = mxray_model::evidence::Setting { value: (*value).to_owned(), at: None };
            server.settings.insert((*name).to_owned(), setting);
        }
        server
    }

    fn asked(server: &Server, known: &Known) -> Vec<(RoutePurpose, IpAddr)> {
        let needs = of_server(server, known, &Tables::default(), &Machine::default());
        needs.into_iter().map(|need| (need.purpose, need.destination)).collect()
    }

    #[test]
    fn samples_stand_for_what_only_dns_knows() {
        let known = Known::default();
        let by_mx = asked(&server("", &[]), &known);
        assert_eq!(by_mx.len(), SAMPLES4.len() + SAMPLES6.len());
        assert_eq!(asked(&server("[smtp.example.com]:587", &[]), &known), by_mx);
        // One family only, as configured.
        assert_eq!(asked(&server("", &[("inet_protocols", "ipv4")]), &known).len(), SAMPLES4.len());
        // All of it is known: the smarthost's address, or that nothing leaves.
        let smarthost: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(asked(&server("[192.0.2.1]", &[]), &known), [(RoutePurpose::Smarthost, smarthost)]);
        assert_eq!(asked(&server("[127.0.0.1]:10025", &[]), &known), []);
        assert_eq!(asked(&server("", &[("default_transport", "error")]), &known), []);
        assert_eq!(asked(&server("", &[("default_transport", "smtp:[192.0.2.1]:26")]), &known).len(), 1);
    }

    #[test]
    fn targets_and_peers_are_asked_about_once_each() {
        let peers = ["192.0.2.7", "192.0.2.1", "::ffff:192.0.2.8"].map(|text| (text.parse().unwrap(), 25));
        let known = Known {
            targets: vec!["192.0.2.7".to_owned(), "example.com".to_owned()],
            towards: peers.into(),
            ..Known::default()
        };
        let all = asked(&server("[192.0.2.1]", &[]), &known);
        let purposes: Vec<RoutePurpose> = all.iter().map(|(purpose, _)| *purpose).collect();
        assert_eq!(purposes, [RoutePurpose::Smarthost, RoutePurpose::Target, RoutePurpose::Connected]);
        assert_eq!(all[2].1.to_string(), "192.0.2.8");
    }

    #[test]
    fn samples_are_public() {
        let all = SAMPLES4.map(IpAddr::V4).into_iter().chain(SAMPLES6.map(IpAddr::V6));
        for sample in all {
            assert!(is_public(sample, &[]), "{sample}");
        }
    }
}
