//! Routes, rules, interfaces, addresses and neighbours as values, and as the words in which ip(8) takes them back.
//!
//! No netlink here (`wire`, `talk`), and no answer to where a packet goes (`walk`).

use mxray_model::Prefix;
use mxray_model::text::shell_word;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// RT_TABLE_MAIN
pub const MAIN: u32 = 254;
/// RT_TABLE_LOCAL
pub const LOCAL: u32 = 255;

/// What a route does with a packet (rtnetlink(7), rtm_type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    /// The search goes on with the next rule.
    Throw,
    Other,
}

impl Kind {
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Kind::Unicast,
            2 => Kind::Local,
            3 => Kind::Broadcast,
            4 => Kind::Anycast,
            5 => Kind::Multicast,
            6 => Kind::Blackhole,
            7 => Kind::Unreachable,
            8 => Kind::Prohibit,
            9 => Kind::Throw,
            _ => Kind::Other,
        }
    }

    /// As ip-route(8) writes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Unicast => "unicast",
            Kind::Local => "local",
            Kind::Broadcast => "broadcast",
            Kind::Anycast => "anycast",
            Kind::Multicast => "multicast",
            Kind::Blackhole => "blackhole",
            Kind::Unreachable => "unreachable",
            Kind::Prohibit => "prohibit",
            Kind::Throw => "throw",
            Kind::Other => "other",
        }
    }

    /// Packets are refused or dropped.
    pub fn refuses(self) -> bool {
        matches!(self, Kind::Blackhole | Kind::Unreachable | Kind::Prohibit)
    }
}

/// Where a route leads next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hop {
    pub gateway: Option<IpAddr>,
    /// The interface's index; 0: none.
    pub interface: u32,
    /// `RTNH_F_*`
    pub flags: u32,
    /// 0: the only hop.
    pub weight: u32,
}

impl Hop {
    /// The kernel passes it over: the interface is down, or has no carrier and the host ignores such routes.
    pub fn is_dead(self) -> bool {
        const RTNH_F_DEAD: u32 = 1;
        self.flags & RTNH_F_DEAD != 0
    }

    pub fn is_without_carrier(self) -> bool {
        const RTNH_F_LINKDOWN: u32 = 16;
        self.flags & RTNH_F_LINKDOWN != 0
    }

    /// The gateway need not be in a network of the interface.
    fn is_onlink(self) -> bool {
        const RTNH_F_ONLINK: u32 = 4;
        self.flags & RTNH_F_ONLINK != 0
    }
}

/// One route, of a table or as the kernel's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: Prefix,
    /// IPv6 alone: for packets from here only.
    pub from: Option<Prefix>,
    pub tos: u8,
    pub table: u32,
    /// Who made it: 2 kernel, 3 boot, 4 static, 9 router advertisement, 16 DHCP, …
    pub protocol: u8,
    pub scope: u8,
    pub kind: Kind,
    pub metric: u32,
    pub hops: Vec<Hop>,
    pub prefer_source: Option<IpAddr>,
    pub next_hop_id: Option<u32>,
    pub mtu: Option<u32>,
    pub mtu_locked: bool,
    /// `None`: for good.
    pub expires_ms: Option<u64>,
    /// An answer, or an exception that the kernel learnt; no route that somebody configured.
    pub cached: bool,
}

impl Route {
    pub fn is_default(&self) -> bool {
        self.destination.length == 0 && self.from.is_none_or(|from| from.length == 0)
    }

    pub fn is_ipv4(&self) -> bool {
        self.destination.address.is_ipv4()
    }

    /// All of it, in the words of `ip route`; `short` leaves out what `ip route del` does not take.
    fn words(&self, links: &Links, short: bool) -> String {
        let mut text = match self.kind {
            Kind::Unicast => String::new(),
            kind => format!("{} ", kind.name()),
        };
        text.push_str(&self.destination_word());
        let mut word = |name: &str, value: &dyn std::fmt::Display| text.push_str(&format!(" {name} {value}"));
        if let Some(from) = self.from.filter(|from| from.length > 0) {
            word("from", &from);
        }
        if self.tos != 0 {
            word("tos", &format_args!("{:#04x}", self.tos));
        }
        if let [hop] = self.hops[..] {
            hop_words(hop, self.is_ipv4(), links, &mut word);
        }
        if self.table != MAIN {
            word("table", &table_name(self.table));
        }
        if !short {
            if let Some(id) = self.next_hop_id {
                word("nhid", &id);
            }
            if !matches!(self.protocol, 0 | 3) {
                word("proto", &protocol_name(self.protocol));
            }
            if let Some(source) = self.prefer_source {
                word("src", &source);
            }
        }
        if self.metric != 0 {
            word("metric", &self.metric);
        }
        if !short {
            if let Some(mtu) = self.mtu {
                word(if self.mtu_locked { "mtu lock" } else { "mtu" }, &mtu);
            }
            if let [hop] = self.hops[..]
                && hop.is_onlink()
            {
                text.push_str(" onlink");
            }
            for hop in self.hops.iter().filter(|_| self.hops.len() > 1) {
                text.push_str(" nexthop");
                hop_words(*hop, self.is_ipv4(), links, &mut |name, value| text.push_str(&format!(" {name} {value}")));
                let _ = write!(text, " weight {}", hop.weight);
            }
        }
        text
    }

    /// As `ip route show` has it.
    pub fn text(&self, links: &Links) -> String {
        self.words(links, false)
    }

    /// The command that takes it away.
    pub fn delete(&self, links: &Links) -> String {
        let family = if self.is_ipv4() { "" } else { "-6 " };
        format!("ip {family}route del {}", self.words(links, true))
    }

    /// The command that puts it back.
    pub fn add(&self, links: &Links) -> String {
        let family = if self.is_ipv4() { "" } else { "-6 " };
        let mut route = self.clone();
        route.next_hop_id = None;
        format!("ip {family}route add {}", route.words(links, false))
    }

    /// `default`, `192.0.2.0/24`, `192.0.2.1`.
    pub fn destination_word(&self) -> String {
        prefix_word(self.destination, "default")
    }
}

fn hop_words(hop: Hop, is_ipv4: bool, links: &Links, word: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
    match hop.gateway {
        Some(gateway) if gateway.is_ipv4() != is_ipv4 => word("via inet6", &gateway),
        Some(gateway) => word("via", &gateway),
        None => {}
    }
    if hop.interface != 0 {
        word("dev", &shell_word(&links.name(hop.interface)));
    }
}

fn prefix_word(prefix: Prefix, all: &str) -> String {
    match prefix.length {
        0 => all.to_owned(),
        _ if Prefix::of(prefix.address) == prefix => prefix.address.to_string(),
        _ => prefix.to_string(),
    }
}

/// What a rule does with what it matches (fib_rules.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Lookup,
    Goto,
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
    Other,
}

impl Action {
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Action::Lookup,
            2 => Action::Goto,
            3 => Action::Nop,
            6 => Action::Blackhole,
            7 => Action::Unreachable,
            8 => Action::Prohibit,
            _ => Action::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Action::Lookup => "lookup",
            Action::Goto => "goto",
            Action::Nop => "nop",
            Action::Blackhole => "blackhole",
            Action::Unreachable => "unreachable",
            Action::Prohibit => "prohibit",
            Action::Other => "other",
        }
    }
}

/// One routing rule. `None` and 0: any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    pub is_ipv4: bool,
    pub priority: u32,
    pub action: Action,
    pub table: u32,
    pub from: Option<Prefix>,
    pub to: Option<Prefix>,
    pub tos: u8,
    pub invert: bool,
    pub mark: u32,
    pub mask: u32,
    pub incoming: Option<String>,
    pub outgoing: Option<String>,
    /// The table is that of the VRF which the packet is in.
    pub of_vrf: bool,
    pub users: Option<(u32, u32)>,
    /// IP protocol.
    pub protocol: Option<u8>,
    pub ports: Option<(u16, u16)>,
    pub source_ports: Option<(u16, u16)>,
    pub goto: Option<u32>,
    pub suppress_prefix_length: Option<u32>,
}

impl Rule {
    /// Selectors and action, in the words of `ip rule`.
    pub fn text(&self) -> String {
        let mut text = if self.invert { "not ".to_owned() } else { String::new() };
        let mut word = |name: &str, value: &dyn std::fmt::Display| text.push_str(&format!("{name} {value} "));
        word("from", &self.from.map_or("all".to_owned(), |from| prefix_word(from, "all")));
        if let Some(to) = self.to {
            word("to", &prefix_word(to, "all"));
        }
        if self.tos != 0 {
            word("tos", &format_args!("{:#04x}", self.tos));
        }
        match (self.mark, self.mask) {
            (0, 0) => {}
            (mark, 0 | u32::MAX) => word("fwmark", &format_args!("{mark:#x}")),
            (mark, mask) => word("fwmark", &format_args!("{mark:#x}/{mask:#x}")),
        }
        for (name, interface) in [("iif", &self.incoming), ("oif", &self.outgoing)] {
            if let Some(interface) = interface {
                word(name, &shell_word(interface));
            }
        }
        if let Some((first, last)) = self.users {
            word("uidrange", &format_args!("{first}-{last}"));
        }
        if let Some(protocol) = self.protocol {
            match protocol {
                6 => word("ipproto", &"tcp"),
                17 => word("ipproto", &"udp"),
                other => word("ipproto", &other),
            }
        }
        for (name, ports) in [("sport", self.source_ports), ("dport", self.ports)] {
            match ports {
                Some((first, last)) if first == last => word(name, &first),
                Some((first, last)) => word(name, &format_args!("{first}-{last}")),
                None => {}
            }
        }
        match self.action {
            Action::Lookup if self.of_vrf => text.push_str("l3mdev"),
            Action::Lookup => word("lookup", &table_name(self.table)),
            Action::Goto => word("goto", &self.goto.unwrap_or_default()),
            action => text.push_str(action.name()),
        }
        if let Some(length) = self.suppress_prefix_length {
            let _ = write!(text, "suppress_prefixlength {length}");
        }
        text.trim_end().to_owned()
    }

    pub(crate) fn command(&self, what: &str) -> String {
        let family = if self.is_ipv4 { "" } else { "-6 " };
        format!("ip {family}rule {what} priority {} {}", self.priority, self.text())
    }

    /// The command that takes it away.
    pub fn delete(&self) -> String {
        self.command("del")
    }

    /// The command that puts it back.
    pub fn add(&self) -> String {
        self.command("add")
    }
}

/// A neighbour on a link, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub address: IpAddr,
    pub interface: u32,
    /// `NUD_*`
    pub state: u16,
    pub hardware: Option<String>,
    /// Since its state changed last.
    pub updated_ms: Option<u64>,
}

impl Neighbour {
    /// As ip-neighbour(8) writes it, in small letters.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            0x01 => "incomplete",
            0x02 => "reachable",
            0x04 => "stale",
            0x08 => "delay",
            0x10 => "probe",
            0x20 => "failed",
            0x40 => "noarp",
            0x80 => "permanent",
            0 => "none",
            _ => "unknown",
        }
    }
}

/// An address of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    pub address: IpAddr,
    pub length: u8,
    pub interface: u32,
    /// The name under which the interface carries an IPv4 address: an alias has its own (`eth0:1`).
    pub label: String,
    pub scope: u8,
    /// `IFA_F_*`
    pub flags: u32,
}

impl LocalAddress {
    /// Another host on the link has it: nothing can be bound to it (RFC 4862 section 5.4.5).
    pub fn is_duplicate(&self) -> bool {
        const IFA_F_DADFAILED: u32 = 0x08;
        self.flags & IFA_F_DADFAILED != 0
    }

    /// Whether another host has it is not settled; only an optimistic one can be used meanwhile (RFC 4429).
    pub fn is_tentative(&self) -> bool {
        const IFA_F_OPTIMISTIC: u32 = 0x04;
        const IFA_F_TENTATIVE: u32 = 0x40;
        self.flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC) == IFA_F_TENTATIVE
    }

    /// Loopback and link-local addresses reach nobody beyond the host or the link.
    pub fn is_beyond_link(&self) -> bool {
        const RT_SCOPE_UNIVERSE: u8 = 0;
        const RT_SCOPE_SITE: u8 = 200;
        matches!(self.scope, RT_SCOPE_UNIVERSE | RT_SCOPE_SITE)
    }
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `IFF_*`
    pub flags: u32,
    pub mtu: u32,
    pub master: Option<u32>,
    /// `vrf`, `veth`, `wireguard`; empty for hardware.
    pub kind: String,
}

impl Link {
    pub fn is_up(&self) -> bool {
        self.flags & 1 != 0
    }

    pub fn is_loopback(&self) -> bool {
        const IFF_LOOPBACK: u32 = 0x8;
        self.flags & IFF_LOOPBACK != 0
    }

    pub fn has_carrier(&self) -> bool {
        const IFF_LOWER_UP: u32 = 1 << 16;
        self.flags & IFF_LOWER_UP != 0
    }

    /// Next hops have no address on the link: a tunnel, a point-to-point line, loopback.
    pub fn has_no_neighbours(&self) -> bool {
        const IFF_LOOPBACK_POINTOPOINT_NOARP: u32 = 0x8 | 0x10 | 0x80;
        self.flags & IFF_LOOPBACK_POINTOPOINT_NOARP != 0
    }
}

/// The interfaces, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(pub BTreeMap<u32, Link>);

impl Links {
    /// An interface's name, or its number where it has gone meanwhile.
    pub fn name(&self, index: u32) -> String {
        self.0.get(&index).map_or_else(|| format!("if{index}"), |link| link.name.clone())
    }

    /// The VRF that an interface belongs to.
    pub fn vrf_of(&self, index: u32) -> Option<&Link> {
        let master = self.0.get(&index)?.master?;
        self.0.get(&master).filter(|master| master.kind == "vrf")
    }
}

/// The names that every ip(8) knows; others are numbers to all of them.
pub fn table_name(table: u32) -> String {
    match table {
        MAIN => "main".to_owned(),
        LOCAL => "local".to_owned(),
        253 => "default".to_owned(),
        other => other.to_string(),
    }
}

/// Who made a route, as `/etc/iproute2/rt_protos` ships it.
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        18 => "keepalived",
        42 => "babel",
        186 => "bgp",
        188 => "ospf",
        other => return other.to_string(),
    }
    .to_owned()
}
