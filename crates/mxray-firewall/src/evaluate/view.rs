//! A packet as rules see it: headers, interfaces, conntrack's knowledge, the sender. What is not known is unknown bit by bit.

use crate::bits::{Bits, Truth};
use crate::ruleset::Hook;
use mxray_model::evidence::{Direction, Packet};
use std::net::IpAddr;

/// Conntrack's states, as nf_tables numbers them (`NF_CT_STATE_BIT`); `untracked` is bit 6.
pub const INVALID: u32 = 1;
pub const ESTABLISHED: u32 = 2;
pub const RELATED: u32 = 4;
pub const NEW: u32 = 8;
pub const UNTRACKED: u32 = 64;
const ANY_STATE: u32 = INVALID | ESTABLISHED | RELATED | NEW | UNTRACKED;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// An interface of the packet at one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The hook has none: output has no interface to come in by.
    None,
    Named(String),
    Unknown,
}

impl Device {
    pub fn of(name: Option<&String>) -> Self {
        name.map_or(Device::Unknown, |name| Device::Named(name.clone()))
    }

    /// The name as a register holds it: 16 bytes.
    pub fn bits(&self) -> Bits {
        match self {
            Device::None => Bits::known(&[0; 16]),
            Device::Unknown => Bits::unknown(16),
            Device::Named(name) => {
                let mut bytes = [0; 16];
                for (place, byte) in bytes.iter_mut().take(15).zip(name.bytes()) {
                    *place = byte;
                }
                Bits::known(&bytes)
            }
        }
    }
}

/// Whose socket the packet belongs to, at one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// No socket of this host is known to the packet yet.
    None,
    Socket {
        uid: Option<u32>,
        gid: Option<u32>,
        cgroup: Option<String>,
        mark: u32,
    },
    Unknown,
}

/// The packet on its way. Rules change it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub v6: bool,
    /// The number of the transport protocol; `None` where the question names one that has no number here.
    pub protocol: Option<u8>,
    pub network: Bits,
    pub transport: Bits,
    /// As the packet was when conntrack first saw it.
    pub first: (Bits, Bits),
    pub mark: Bits,
    pub ct_mark: Bits,
    pub ct_zone: Bits,
    pub ct_labels: Bits,
    /// The states that it may have once conntrack has seen it: bits.
    pub states: u32,
    /// Its destination or source was changed: `None` where only perhaps.
    pub translated: Option<bool>,
    pub source_translated: Option<bool>,
    pub device_in: Device,
    pub device_out: Device,
    pub sender: Sender,
    /// It was sent by this host itself and has already met conntrack in output.
    pub looped: bool,
    pub hook: Hook,
    pub priority: i32,
    /// A rule may have given it another way than conntrack and routing tell of.
    pub astray: Astray,
}

/// What rules beyond address translation do to a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Astray {
    No,
    /// Its header names another port than it came with: it meets the same hooks, and another socket.
    Port,
    /// It may meet other hooks than those that are walked: another address in its header, or a socket of this host.
    Way,
}

/// The number of a protocol's name.
pub fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "icmp" => Some(1),
        "ipv6-icmp" | "icmpv6" | "icmp6" => Some(58),
        "igmp" => Some(2),
        "dccp" => Some(33),
        "gre" => Some(47),
        "esp" => Some(50),
        "ah" => Some(51),
        "sctp" => Some(132),
        "udplite" => Some(136),
        "all" => Some(0),
        other => other.parse().ok(),
    }
}

impl View {
    pub fn new(packet: &Packet) -> Self {
        let v6 = packet.destination.is_ipv6();
        let protocol = protocol_number(&packet.protocol);
        let states = match packet.state.as_str() {
            "new" => NEW,
            "established" => ESTABLISHED,
            "related" => RELATED,
            "invalid" => INVALID,
            "untracked" => UNTRACKED,
            _ => ANY_STATE,
        };
        let (network, transport) = (network(packet, protocol), transport(packet, protocol));
        let fresh = |len| if states == NEW { Bits::known(&vec![0; len]) } else { Bits::unknown(len) };
        let sender = match packet.direction {
            Direction::Out => {
                Sender::Socket { uid: packet.uid, gid: packet.gid, cgroup: packet.cgroup.clone(), mark: packet.mark }
            }
            Direction::In | Direction::Forward => Sender::None,
        };
        View {
            v6,
            protocol,
            network,
            transport,
            first: (network, transport),
            mark: Bits::number(packet.mark),
            ct_mark: fresh(4),
            ct_zone: Bits::known(&[0, 0]),
            ct_labels: fresh(16),
            states,
            translated: if states == NEW { Some(false) } else { None },
            source_translated: if states == NEW { Some(false) } else { None },
            device_in: Device::None,
            device_out: Device::None,
            sender,
            looped: false,
            hook: Hook::Prerouting,
            priority: 0,
            astray: Astray::No,
        }
    }

    /// States as a rule sees them at this hook and priority: before conntrack (-200) a packet has none, and reads as invalid.
    pub fn seen_states(&self) -> u32 {
        let first =
            matches!(self.hook, Hook::Ingress) || matches!(self.hook, Hook::Prerouting | Hook::Output) && !self.looped;
        if self.states == UNTRACKED || !first {
            return self.states;
        }
        match (self.hook, self.priority.cmp(&-200)) {
            (Hook::Ingress, _) | (_, std::cmp::Ordering::Less) => INVALID,
            (_, std::cmp::Ordering::Equal) => INVALID | self.states,
            (_, std::cmp::Ordering::Greater) => self.states,
        }
    }

    /// The state as a register holds it.
    pub fn state_bits(&self) -> Bits {
        let seen = self.seen_states();
        let each = [INVALID, ESTABLISHED, RELATED, NEW, UNTRACKED].into_iter().filter(|bit| seen & bit != 0);
        each.map(Bits::number).reduce(|a, b| a.join(&b)).unwrap_or(Bits::unknown(4))
    }

    /// Whether the packet has an entry in conntrack here. `None`: perhaps.
    pub fn tracked(&self) -> Option<bool> {
        let seen = self.seen_states();
        match (seen & (INVALID | UNTRACKED) != 0, seen & (NEW | ESTABLISHED | RELATED) != 0) {
            (false, true) => Some(true),
            (true, false) => Some(false),
            _ => None,
        }
    }

    pub fn source(&self) -> Bits {
        if self.v6 { self.network.piece(8, 16) } else { self.network.piece(12, 4) }
    }

    pub fn destination(&self) -> Bits {
        if self.v6 { self.network.piece(24, 16) } else { self.network.piece(16, 4) }
    }

    pub fn source_port(&self) -> Bits {
        self.transport.piece(0, 2)
    }

    pub fn destination_port(&self) -> Bits {
        self.transport.piece(2, 2)
    }

    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, Some(TCP | UDP | 33 | 132 | 136))
    }

    /// Whether its destination is another than it came with.
    pub fn redirected(&self) -> bool {
        let at = if self.v6 { (24, 16) } else { (16, 4) };
        self.destination() != self.first.0.piece(at.0, at.1)
    }

    /// Whether its destination or the port there is another than it came with: a translation to what it has already is none
    /// (`nf_nat_setup_info` then leaves the connection's status as it is). `None`: not known.
    pub fn translation(&self) -> Option<bool> {
        let at = if self.v6 { (24, 16) } else { (16, 4) };
        let pairs =
            [(self.destination(), self.first.0.piece(at.0, at.1)), (self.destination_port(), self.first.1.piece(2, 2))];
        let ports = if self.has_ports() { 2 } else { 1 };
        let same = pairs.iter().take(ports).map(|(now, first)| match (now == first, first.all()) {
            (true, _) => Truth::Yes,
            (false, Some(bytes)) => now.equals(bytes),
            (false, None) => Truth::Maybe,
        });
        match same.fold(Truth::Yes, Truth::and) {
            Truth::Yes => Some(false),
            Truth::No => Some(true),
            Truth::Maybe => None,
        }
    }

    /// A rule writes into the header, past conntrack.
    pub fn overwrite(&mut self, of_network: bool, offset: usize, bits: &Bits) {
        let covers = |at: usize, len: usize| offset < at + len && at < offset + bits.len();
        let part = if of_network { &mut self.network } else { &mut self.transport };
        part.put(offset, bits);
        let (addresses, len) = if self.v6 { (8, 32) } else { (12, 8) };
        let astray = match of_network {
            true if covers(addresses, len) => Astray::Way,
            false if covers(2, 2) && self.has_ports() => Astray::Port,
            _ => Astray::No,
        };
        self.astray = self.astray.max(astray);
    }

    pub fn put_destination(&mut self, address: &Bits) {
        self.network.put(if self.v6 { 24 } else { 16 }, address);
    }

    pub fn put_source(&mut self, address: &Bits) {
        self.network.put(if self.v6 { 8 } else { 12 }, address);
    }

    /// What holds whether the packet went the one way or the other.
    pub fn join(&mut self, other: &View) {
        self.network = self.network.join(&other.network);
        self.transport = self.transport.join(&other.transport);
        self.mark = self.mark.join(&other.mark);
        self.ct_mark = self.ct_mark.join(&other.ct_mark);
        self.ct_zone = self.ct_zone.join(&other.ct_zone);
        self.ct_labels = self.ct_labels.join(&other.ct_labels);
        self.states |= other.states;
        self.astray = self.astray.max(other.astray);
        self.translated = self.translated.filter(|one| other.translated == Some(*one));
        self.source_translated = self.source_translated.filter(|one| other.source_translated == Some(*one));
        if self.device_out != other.device_out {
            self.device_out = Device::Unknown;
        }
    }
}

/// An address that is known, in a register.
pub fn address_bits(address: IpAddr) -> Bits {
    match address {
        IpAddr::V4(v4) => Bits::known(&v4.octets()),
        IpAddr::V6(v6) => Bits::known(&v6.octets()),
    }
}

/// The address that a register holds, where all of it is known.
pub fn bits_address(bits: &Bits) -> Option<IpAddr> {
    let bytes = bits.all()?;
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The header of IPv4 or IPv6 of an ordinary packet: no options, no fragment.
fn network(packet: &Packet, protocol: Option<u8>) -> Bits {
    let protocol = protocol.map_or(Bits::unknown(1), Bits::byte);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut bits = Bits::unknown(20);
            bits.put(0, &Bits::byte(0x45));
            // Of flags and fragment offset, "do not fragment" alone is not known.
            bits.put(6, &Bits::unknown(2).masked(&[0x40, 0], &[0, 0]));
            bits.put(9, &protocol);
            bits.put(12, &Bits::known(&source.octets()));
            bits.put(16, &Bits::known(&destination.octets()));
            bits
        }
        (source, IpAddr::V6(destination)) => {
            let mut bits = Bits::unknown(40);
            bits.put(0, &Bits::unknown(1).masked(&[0x0f], &[0x60]));
            bits.put(6, &protocol);
            if let IpAddr::V6(source) = source {
                bits.put(8, &Bits::known(&source.octets()));
            }
            bits.put(24, &Bits::known(&destination.octets()));
            bits
        }
        (IpAddr::V6(_), IpAddr::V4(destination)) => {
            let mut bits = Bits::unknown(20);
            bits.put(0, &Bits::byte(0x45));
            bits.put(9, &protocol);
            bits.put(16, &Bits::known(&destination.octets()));
            bits
        }
    }
}

/// The transport's header. The first packet of a TCP connection has SYN, and no other flag.
fn transport(packet: &Packet, protocol: Option<u8>) -> Bits {
    let len = match protocol {
        Some(TCP) => 20,
        Some(UDP | 1 | 58) => 8,
        _ => 4,
    };
    let mut bits = Bits::unknown(len);
    if matches!(protocol, Some(TCP | UDP | 33 | 132 | 136)) {
        let port = |port: Option<u16>| port.map_or(Bits::unknown(2), |port| Bits::known(&port.to_be_bytes()));
        bits.put(0, &port(packet.source_port));
        bits.put(2, &port(packet.destination_port));
    }
    if protocol == Some(TCP) {
        match packet.state.as_str() {
            "new" => {
                bits.put(8, &Bits::known(&[0, 0, 0, 0]));
                bits.put(13, &Bits::byte(0x02));
            }
            // ACK is set; an answer may be a SYN-ACK.
            "established" => bits.put(13, &Bits::unknown(1).masked(&[0xef], &[0x10])),
            _ => {}
        }
    }
    bits
}
