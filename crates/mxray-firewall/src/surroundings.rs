//! What rules ask of the host beside the packet: its addresses, interfaces, routes and cgroups.

use mxray_model::Prefix;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The host around its packet filters. What is left empty is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// By name. Empty: not known, and `fib` and address types answer `unknown` for all but the well-known addresses.
    pub interfaces: BTreeMap<String, InterfaceFacts>,
    /// The main table's routes. `None`: not known.
    pub routes: Option<Vec<RouteFacts>>,
    /// Whether rules besides the three usual ones choose routing tables: then `routes` do not tell where a packet goes.
    pub policy_routing: bool,
    /// The numbers of cgroups (the inode of the directory), by path below the root: `system.slice/postfix.service`.
    pub cgroups: BTreeMap<String, u64>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceFacts {
    pub index: Option<u32>,
    /// `ARPHRD_*`: 1 is Ethernet, 772 loopback.
    pub kind: Option<u16>,
    /// Addresses with the length of their prefix, in the kernel's order.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFacts {
    pub prefix: (IpAddr, u8),
    /// `None`: it leads nowhere (blackhole, unreachable, prohibit).
    pub interface: Option<String>,
    pub metric: u32,
}

impl Surroundings {
    /// Whether the address is one of this host's; `None` where the host's addresses are not known.
    pub fn is_own(&self, address: IpAddr) -> Option<bool> {
        if address.is_loopback() || self.holder_of(address).is_some() {
            return Some(true);
        }
        if address.is_multicast() || self.broadcast(address) {
            return Some(false);
        }
        if self.interfaces.is_empty() { None } else { Some(false) }
    }

    /// The interface that has the address.
    pub fn holder_of(&self, address: IpAddr) -> Option<&str> {
        let has = |facts: &InterfaceFacts| facts.addresses.iter().any(|(own, _)| *own == address);
        self.interfaces.iter().find(|(_, facts)| has(facts)).map(|(name, _)| name.as_str())
    }

    /// The limited broadcast address, or one of an own network.
    pub fn broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        if v4.is_broadcast() {
            return true;
        }
        let asked = u32::from(v4);
        self.interfaces.values().flat_map(|facts| &facts.addresses).any(|(own, length)| match own {
            IpAddr::V4(own) if *length < 31 => {
                let hosts = u32::MAX.checked_shr(u32::from(*length)).unwrap_or(0);
                asked == (u32::from(*own) | hosts)
            }
            _ => false,
        })
    }

    /// The route that a packet to the address takes by the main table alone. `None`: not known. `Some(None)`: none leads there.
    pub fn route(&self, address: IpAddr, through: Option<&str>) -> Option<Option<&RouteFacts>> {
        if self.policy_routing {
            return None;
        }
        let routes = self.routes.as_ref()?;
        let fits = |route: &&RouteFacts| {
            covers(route.prefix, address) && through.is_none_or(|name| route.interface.as_deref() == Some(name))
        };
        let best = routes.iter().filter(fits).min_by_key(|route| (u8::MAX - route.prefix.1, route.metric));
        Some(best)
    }
}

/// Whether a prefix holds an address.
pub(crate) fn covers((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    Prefix { address: network, length }.contains(address)
}
