//! Where the kernel sends what mail servers send: its own answers, and the rules and routes that decide.

use super::server::FileLine;
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Routing of this network namespace, as far as mail needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Routing {
    /// Own addresses that reach beyond host and link, by address.
    pub addresses: BTreeMap<String, OwnAddress>,
    /// More addresses than are kept here.
    pub addresses_left_out: u32,
    /// Routing rules besides the three that every kernel has, as `ip rule` writes them, with their priorities.
    pub rules: Vec<String>,
    /// The loopback interface is down: this host does not reach itself, at none of its addresses.
    pub loopback_down: bool,
    /// The loopback interface is up and has no address of 127.0.0.0/8.
    pub loopback_bare: bool,
    /// The MTU of each interface that is up, carries an IPv4 address of this host, and cannot have IPv6: the kernel wants 1280.
    pub below_1280: BTreeMap<String, u32>,
    /// Routes of all tables without the kernel's own local ones.
    pub routes: u32,
    /// Networks of at least a /16 (IPv6: a /40) with a gateway of their own, as sites without a default route have them.
    pub wide: Vec<String>,
    /// The default routes of all tables and families, in the kernel's order.
    pub defaults: Vec<DefaultRoute>,
    /// What the kernel would do with mail, by `SERVER DESTINATION` or `SERVER DESTINATION from SOURCE`.
    pub answers: BTreeMap<String, RouteAnswer>,
    /// Addresses that outgoing connections or listeners are to be bound to, by address.
    pub sources: BTreeMap<String, BoundSource>,
}

/// An address of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnAddress {
    pub interface: String,
    /// The VRF that the interface belongs to: programs outside of it cannot use the address.
    pub vrf: Option<String>,
    pub state: AddressState,
}

/// Whether an address can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AddressState {
    Usable,
    /// IPv6: whether another host has it is not settled yet.
    Tentative,
    /// IPv6: another host on the link has it.
    Duplicate,
}

/// A route that takes what no other takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DefaultRoute {
    pub ipv4: bool,
    /// `main`, `local`, `default`, or the number of the table.
    pub table: String,
    /// `unicast`, `blackhole`, `unreachable`, `prohibit`, `throw`
    pub kind: String,
    /// As `ip route` writes it.
    pub text: String,
    /// An interface is down, or has gone: the kernel passes it over.
    pub dead: bool,
}

/// Why a destination was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoutePurpose {
    /// All mail leaves through it, by configuration.
    Smarthost,
    /// Some mail goes there, by a table of the configuration.
    Transport,
    /// Connections of mail go there now.
    Connected,
    /// The operator named it.
    Target,
    /// It stands for the public Internet.
    Sample,
    /// It stands for a part of the Internet that a route or a rule speaks of.
    Mentioned,
}

/// The kernel's answer about one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteAnswer {
    /// The instance whose user and source address were asked with.
    pub server: String,
    pub purpose: RoutePurpose,
    pub destination: IpAddr,
    pub port: u16,
    /// What the configuration says of it, where it does: `[smtp.example.com]:587`.
    pub configured: String,
    pub at: Option<FileLine>,
    /// `None`: not known; the kernel was asked for the user that mxray runs as.
    pub uid: Option<u32>,
    /// The address that the server binds to. `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    pub outcome: Seen<RouteOutcome>,
}

/// What the kernel would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteOutcome {
    Sent(RouteTaken),
    Refused(RouteRefused),
}

/// The way that a packet takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteTaken {
    /// The entry that was found, `default` or a network. `None`: the kernel does not tell (before 4.15).
    pub matched: Option<String>,
    pub table: String,
    pub interface: String,
    pub source: Option<IpAddr>,
    /// Where it goes next on the link: the gateway, or the destination itself. `None`: the link has no neighbours (a
    /// tunnel, loopback).
    pub next_hop: Option<IpAddr>,
    pub is_gateway: bool,
    /// The interface has a link partner.
    pub carrier: bool,
    /// The next hop's entry in the neighbour table. `Absent`: it has none, nobody uses it.
    pub neighbour: Seen<NextHop>,
}

/// A next hop, as the kernel found it when it was used last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NextHop {
    /// As ip-neighbour(8) writes it, in small letters: `reachable`, `stale`, `incomplete`, `failed`.
    pub state: String,
    /// The same at a second look, a second later, which is taken only where the first was not good.
    pub state_later: Option<String>,
    /// Since the state changed last, at the last look.
    pub changed_ms: Option<u64>,
}

impl NextHop {
    /// It did not answer when it was asked for its hardware address, neither before the first look nor until the last.
    pub fn is_dead(&self) -> bool {
        let bad = |state: &str| matches!(state, "failed" | "incomplete");
        bad(&self.state) && self.state_later.as_deref().is_none_or(bad)
    }
}

/// Why nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteRefused {
    pub refusal: Refusal,
    /// What connect(2) gives to a program: `ENETUNREACH`.
    pub errno: String,
    /// What decides. `Absent`: no route matches.
    pub by: Seen<Refuser>,
}

/// The kernel's refusals, by errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// EINVAL
    Blackhole,
    /// EACCES
    Prohibit,
    /// EHOSTUNREACH
    Unreachable,
    /// ENETUNREACH
    NoRoute,
    Other,
}

/// The route or rule that refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Refuser {
    pub is_rule: bool,
    /// In ip(8)'s own words.
    pub text: String,
    /// The command that takes it away, and the one that puts it back.
    pub delete: String,
    pub add: String,
    /// What it covers. `None`: a rule without a destination.
    pub network: Option<String>,
    /// Who made a route: `static`, `boot` (ip(8) by hand or by a script), `dhcp`, `zebra`. Empty for a rule.
    pub protocol: String,
}

/// An address that the configuration has connections bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BoundSource {
    /// The kernel takes the address for its own: it is an interface's, or of a network that is local by a route.
    pub local: Seen<bool>,
    /// net.ipv4.ip_nonlocal_bind or net.ipv6.ip_nonlocal_bind: programs may bind to any address.
    pub non_local_bind: Seen<bool>,
}
