//! One socket as the kernel reported it: plain numbers, no text, no judgement.

use std::net::IpAddr;

/// The transport of an internet socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// IPPROTO_TCP, IPPROTO_UDP
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

/// A TCP state, numbered as in the kernel's `net/tcp_states.h`. UDP uses `Established` (connected) and `Unconnected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Unconnected = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl State {
    /// In the kernel's order.
    pub const ALL: [State; 11] = [
        State::Established,
        State::SynSent,
        State::SynReceived,
        State::FinWait1,
        State::FinWait2,
        State::TimeWait,
        State::Unconnected,
        State::CloseWait,
        State::LastAck,
        State::Listen,
        State::Closing,
    ];

    /// The kernel's number; 12 is a request socket, which `ss` shows as SYN-RECV, and 13 is bound and idle.
    pub fn from_number(number: u8) -> Option<State> {
        Some(match number {
            1 => State::Established,
            2 => State::SynSent,
            3 | 12 => State::SynReceived,
            4 => State::FinWait1,
            5 => State::FinWait2,
            6 => State::TimeWait,
            7 | 13 => State::Unconnected,
            8 => State::CloseWait,
            9 => State::LastAck,
            10 => State::Listen,
            11 => State::Closing,
            _ => return None,
        })
    }

    /// The word that `ss` prints.
    pub fn name(self) -> &'static str {
        match self {
            State::Established => "ESTAB",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECV",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::TimeWait => "TIME-WAIT",
            State::Unconnected => "UNCONN",
            State::CloseWait => "CLOSE-WAIT",
            State::LastAck => "LAST-ACK",
            State::Listen => "LISTEN",
            State::Closing => "CLOSING",
        }
    }

    /// Its bit in a dump request.
    pub fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

/// One TCP or UDP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    pub protocol: Protocol,
    pub state: State,
    /// As the kernel keeps it: an IPv4 peer of a dual-stack socket is `::ffff:192.0.2.1`. See [`Socket::peer`].
    pub local: IpAddr,
    pub local_port: u16,
    /// Unspecified where there is no peer.
    pub remote: IpAddr,
    pub remote_port: u16,
    /// The interface that it is bound to; 0: none.
    pub interface: u32,
    /// As this user namespace numbers it. 0 on TIME-WAIT and SYN-RECV, whoever they belong to.
    pub uid: u32,
    /// 0: no process can hold it. See [`Socket::waits_for_accept`].
    pub inode: u32,
    /// Bytes unread; on LISTEN the connections that wait for `accept`.
    pub receive_queue: u32,
    /// Bytes not acknowledged; on LISTEN the limit of the accept queue. `None` on a listener read from `/proc/net`.
    pub send_queue: Option<u32>,
    /// Kernel's own identity of this socket; guards against a reused 4-tuple. 0 from `/proc/net`.
    pub cookie: u64,
    /// Id of the cgroup v2 that it was created in. `None`: the kernel did not say.
    pub cgroup: Option<u64>,
    /// On IPv6 listeners and unconnected sockets.
    pub v6_only: Option<bool>,
    /// `sk_drops`
    pub drops: Option<u32>,
    /// Bit 1: receiving is shut down, bit 2: sending is.
    pub shutdown: Option<u8>,
    /// Where its `tcp_info` begins in the snapshot's store, and its length; 0: none.
    pub(crate) info: (u32, u16),
}

impl Socket {
    /// The peer's address, with IPv4 taken out of its IPv6 wrapping.
    pub fn peer(&self) -> IpAddr {
        self.remote.to_canonical()
    }

    /// The local address, unwrapped likewise.
    pub fn here(&self) -> IpAddr {
        self.local.to_canonical()
    }

    /// Established in the kernel, not yet taken by `accept`: no process has a file for it, so it has no inode.
    ///
    /// A process that closes its end moves the connection on to FIN-WAIT or LAST-ACK at once, so an orphan is never in
    /// these two states; TIME-WAIT and SYN-RECV records have no inode either and wait for nobody.
    pub fn waits_for_accept(&self) -> bool {
        self.protocol == Protocol::Tcp && self.inode == 0 && matches!(self.state, State::Established | State::CloseWait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_number_has_its_state() {
        for state in State::ALL {
            assert_eq!(State::from_number(state as u8), Some(state));
        }
        assert_eq!(State::from_number(12), Some(State::SynReceived));
        assert_eq!(State::from_number(0), None);
        assert_eq!(State::from_number(14), None);
    }
}
