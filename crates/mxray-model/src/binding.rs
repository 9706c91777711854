//! When the kernel refuses a second bind and listen, as the kernel decides it: the table that `ports plan`, PORT102 and PORT103
//! share, and the other reasons why a service would not get a port. Pure; that it is the kernel's own table is shown by a test
//! that binds every pair (`tests/kernel.rs`).
//!
//! What decides is not the port's number alone: it is which packets each socket would take (family, address, IPV6_V6ONLY, mapped
//! addresses, interface), whether both asked for SO_REUSEPORT under one user, and whether the first one listens.

use crate::Seen;
use crate::evidence::{Kernel, Listener, PortRange};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket as bind(2) and listen(2) see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `tcp` or `udp`
    pub protocol: String,
    pub address: IpAddr,
    pub port: u16,
    /// Of an IPv6 wildcard socket: refuses IPv4 (IPV6_V6ONLY). A socket on one IPv6 address refuses it anyway.
    pub v6_only: bool,
    /// SO_REUSEPORT was set before the bind.
    pub reuse_port: bool,
    pub uid: u32,
    /// Bound to an interface or VRF (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// The VRF that `device` is, or is a part of. `None`: the default one.
    pub vrf: Option<String>,
}

impl Binding {
    /// A socket without any option, bound by root.
    pub fn new(protocol: &str, address: IpAddr, port: u16) -> Binding {
        Binding {
            protocol: protocol.to_owned(),
            address,
            port,
            v6_only: false,
            reuse_port: false,
            uid: 0,
            device: None,
            vrf: None,
        }
    }

    /// A socket that was seen. sock_diag does not tell SO_REUSEPORT of others' sockets: that it was not set is assumed, which
    /// errs towards a conflict.
    pub fn of(listener: &Listener) -> Binding {
        Binding {
            v6_only: listener.v6_only == Seen::Value(true),
            uid: listener.uid,
            device: (listener.interface != 0).then(|| listener.interface.to_string()),
            ..Binding::new(&listener.protocol, listener.address, listener.port)
        }
    }

    /// The IPv4 address that it takes packets for.
    fn v4(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(v6) if v6.is_unspecified() => (!self.v6_only).then_some(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        }
    }

    /// The IPv6 address that it takes packets for.
    fn v6(&self) -> Option<Ipv6Addr> {
        match self.address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none().then_some(v6),
        }
    }

    /// Would a packet to `address` reach it?
    pub fn takes(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(asked) => self.v4().is_some_and(|own| own.is_unspecified() || own == asked),
            IpAddr::V6(asked) => self.v6().is_some_and(|own| own.is_unspecified() || own == asked),
        }
    }

    /// Both take packets for at least one address.
    fn overlaps(&self, other: &Binding) -> bool {
        fn meet<A: PartialEq + Copy>(one: Option<A>, other: Option<A>, any: A) -> bool {
            one.zip(other).is_some_and(|(one, other)| one == other || one == any || other == any)
        }
        meet(self.v4(), other.v4(), Ipv4Addr::UNSPECIFIED) || meet(self.v6(), other.v6(), Ipv6Addr::UNSPECIFIED)
    }

    /// The same interfaces, at least in part. TCP keeps VRFs apart before it looks at interfaces (net.ipv4.tcp_l3mdev_accept
    /// is 0 by default); UDP does not.
    fn same_wire(&self, other: &Binding) -> bool {
        if self.protocol == "tcp" && self.vrf != other.vrf {
            return false;
        }
        match (&self.device, &other.device) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    /// The kernel puts both into one group, and deals connections out within it.
    fn one_group(&self, other: &Binding) -> bool {
        // A wildcard and a single address, or an IPv4 socket and an IPv6 one, are never of one group.
        let of_ipv6 = self.address.is_ipv6() && other.address.is_ipv6();
        let wildcard = self.address.is_unspecified();
        self.address == other.address
            && self.device == other.device
            && (!of_ipv6 || !wildcard || self.v6_only == other.v6_only)
    }
}

/// What becomes of the second of two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Both work, and never meet.
    Apart,
    /// Both work, and the kernel deals connections out between them.
    Shared,
    /// Both work under SO_REUSEPORT without being one group: where a connection goes decides who gets it, the one bound more
    /// narrowly first. One of them may get none.
    Divided,
    /// EADDRINUSE.
    Refused,
}

/// What becomes of two sockets that both want to take connections. The order makes no difference to the kernel.
///
/// SO_REUSEADDR makes none for listening TCP sockets, and is not asked for here. Two UDP sockets that both set it are let
/// through by the kernel, and the last one gets all.
pub fn together(one: &Binding, other: &Binding) -> Together {
    let meet = one.protocol == other.protocol && one.port == other.port && one.same_wire(other) && one.overlaps(other);
    if !meet {
        return Together::Apart;
    }
    if !(one.reuse_port && other.reuse_port && one.uid == other.uid) {
        return Together::Refused;
    }
    if one.one_group(other) { Together::Shared } else { Together::Divided }
}

/// What has a port already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Takes connections; of UDP, every bound socket.
    Listening(Binding),
    /// Bound, and does not listen. sock_diag before Linux 6.8 and /proc/net/tcp do not show it. `reuse_address`: it set
    /// SO_REUSEADDR.
    Bound { binding: Binding, reuse_address: bool },
    /// A connection that this host made from the port, from the local address of `binding`. No option of a listener helps
    /// where the kernel chose the port.
    Outgoing(Binding),
}

impl Holder {
    /// Would bind and listen give EADDRINUSE? `reuse_address`: the newcomer sets SO_REUSEADDR, as every mail server does.
    pub fn refuses(&self, newcomer: &Binding, reuse_address: bool) -> bool {
        match self {
            Holder::Listening(binding) => together(binding, newcomer) == Together::Refused,
            Holder::Bound { binding, reuse_address: first } => {
                together(binding, newcomer) == Together::Refused && !(*first && reuse_address)
            }
            Holder::Outgoing(binding) => {
                let connection = Binding { reuse_port: false, ..binding.clone() };
                together(&connection, newcomer) == Together::Refused
            }
        }
    }
}

/// Why a service would not get a port, or may not get it the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Something has it: EADDRINUSE.
    Taken(Holder),
    /// Something listens there under the same user, and both set SO_REUSEPORT: no error, and each gets a part.
    SharedWith { binding: Binding, how: Together },
    /// Below net.ipv4.ip_unprivileged_port_start: EACCES without cap_net_bind_service. `first_free` is the first port that
    /// needs none.
    Privileged { first_free: u32 },
    /// In net.ipv4.ip_local_port_range and not reserved: a connection from here to anywhere may have it when the service
    /// starts.
    Ephemeral { range: PortRange },
    /// The address is not one of this host's: EADDRNOTAVAIL.
    NotOurAddress,
}

/// In the range from which the kernel takes ports for outgoing connections, and not taken out of it. `Absent`: it is not in
/// danger. Unknown: the range, or within it the reservations, could not be read.
pub fn ephemeral(port: u16, kernel: &Kernel) -> Seen<PortRange> {
    let range = match &kernel.local_ports {
        Seen::Value(range) if (range.first..=range.last).contains(&port) => *range,
        Seen::Value(_) | Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    match &kernel.reserved_ports {
        Seen::Value(reserved) if reserved.iter().any(|kept| (kept.first..=kept.last).contains(&port)) => Seen::Absent,
        Seen::Value(_) | Seen::Absent => Seen::Value(range),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

/// Below the first port that everybody may bind. `Absent`: anybody may.
pub fn privileged(port: u16, kernel: &Kernel) -> Seen<u32> {
    match &kernel.unprivileged_port_start {
        Seen::Value(start) if u32::from(port) < *start => Seen::Value(*start),
        Seen::Value(_) | Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

/// Everything that stands in the newcomer's way, what holds the port first. `may_bind_low`: it starts with
/// cap_net_bind_service, as root does. What could not be seen is not in the list: callers look at [`ephemeral`] and
/// [`privileged`] for that.
pub fn obstacles(
    newcomer: &Binding,
    reuse_address: bool,
    may_bind_low: bool,
    holders: &[Holder],
    kernel: &Kernel,
) -> Vec<Obstacle> {
    let taken = holders.iter().filter(|holder| holder.refuses(newcomer, reuse_address));
    let mut found: Vec<Obstacle> = taken.cloned().map(Obstacle::Taken).collect();
    found.extend(holders.iter().filter_map(|holder| match holder {
        Holder::Listening(binding) => match together(binding, newcomer) {
            how @ (Together::Shared | Together::Divided) => {
                Some(Obstacle::SharedWith { binding: binding.clone(), how })
            }
            Together::Apart | Together::Refused => None,
        },
        _ => None,
    }));
    if let (false, Seen::Value(first_free)) = (may_bind_low, privileged(newcomer.port, kernel)) {
        found.push(Obstacle::Privileged { first_free });
    }
    if let Seen::Value(range) = ephemeral(newcomer.port, kernel) {
        found.push(Obstacle::Ephemeral { range });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blind;

    fn at(address: &str) -> Binding {
        Binding::new("tcp", address.parse().unwrap(), 25)
    }

    fn v6_only(address: &str) -> Binding {
        Binding { v6_only: true, ..at(address) }
    }

    #[test]
    fn the_measured_table_holds() {
        for (first, second, expected) in [
            (at("0.0.0.0"), at("127.0.0.1"), Together::Refused),
            (at("127.0.0.1"), at("127.0.0.2"), Together::Apart),
            (at("0.0.0.0"), at("::"), Together::Refused),
            (at("::"), at("127.0.0.1"), Together::Refused),
            (v6_only("::"), at("0.0.0.0"), Together::Apart),
            (v6_only("::"), at("::"), Together::Refused),
            (at("::1"), at("0.0.0.0"), Together::Apart),
            (at("::ffff:127.0.0.1"), at("127.0.0.1"), Together::Refused),
            (at("::ffff:127.0.0.1"), v6_only("::"), Together::Apart),
        ] {
            assert_eq!(together(&first, &second), expected, "{first:?} {second:?}");
            assert_eq!(together(&second, &first), expected, "{second:?} {first:?}");
        }
        let udp = Binding { protocol: "udp".to_owned(), ..at("0.0.0.0") };
        assert_eq!(together(&udp, &at("0.0.0.0")), Together::Apart);
    }

    #[test]
    fn sharing_needs_the_option_of_both_and_one_user() {
        let shared = |address: &str, uid| Binding { reuse_port: true, uid, ..at(address) };
        assert_eq!(together(&shared("0.0.0.0", 0), &shared("0.0.0.0", 0)), Together::Shared);
        assert_eq!(together(&shared("0.0.0.0", 0), &shared("127.0.0.1", 0)), Together::Divided);
        assert_eq!(together(&shared("0.0.0.0", 0), &shared("0.0.0.0", 8)), Together::Refused);
        assert_eq!(together(&shared("0.0.0.0", 0), &at("0.0.0.0")), Together::Refused);
    }

    #[test]
    fn interfaces_keep_sockets_apart() {
        let on = |device: &str| Binding { device: Some(device.to_owned()), ..at("0.0.0.0") };
        assert_eq!(together(&on("eth0"), &on("eth1")), Together::Apart);
        assert_eq!(together(&on("eth0"), &at("0.0.0.0")), Together::Refused);
        let inside = Binding { vrf: Some("blue".to_owned()), ..on("blue") };
        assert_eq!(together(&inside, &at("0.0.0.0")), Together::Apart);
    }

    #[test]
    fn what_holds_a_port_without_listening_is_in_the_way() {
        let mut bound = Holder::Bound { binding: at("0.0.0.0"), reuse_address: false };
        assert!(bound.refuses(&at("127.0.0.1"), true));
        bound = Holder::Bound { binding: at("0.0.0.0"), reuse_address: true };
        assert!(!bound.refuses(&at("127.0.0.1"), true), "whoever listens first has it");
        let outgoing = Holder::Outgoing(at("192.0.2.1"));
        assert!(outgoing.refuses(&at("0.0.0.0"), true));
        assert!(!outgoing.refuses(&at("127.0.0.1"), true));
    }

    #[test]
    fn the_kernel_s_ranges_are_obstacles_and_unknown_ones_are_not_none() {
        let kernel = Kernel {
            local_ports: Seen::Value(PortRange { first: 32768, last: 60999 }),
            reserved_ports: Seen::Value(vec![PortRange { first: 33000, last: 33001 }]),
            unprivileged_port_start: Seen::Value(1024),
            ..Kernel::default()
        };
        assert!(matches!(ephemeral(32768, &kernel), Seen::Value(_)));
        assert_eq!(ephemeral(33001, &kernel), Seen::Absent);
        assert_eq!(ephemeral(25, &kernel), Seen::Absent);
        let found = obstacles(&at("0.0.0.0"), true, false, &[Holder::Listening(at("::"))], &kernel);
        assert_eq!(found.len(), 2, "{found:?}");
        let blind = Seen::Unknown(Blind::NotAttempted { why: "nobody looked".to_owned() });
        let unread = Kernel { reserved_ports: blind, ..kernel };
        assert!(matches!(ephemeral(40000, &unread), Seen::Unknown(_)));
        assert_eq!(ephemeral(25, &unread), Seen::Absent, "outside the range no reservation matters");
    }
}
