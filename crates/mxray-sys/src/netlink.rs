//! A netlink socket: one request out, datagrams in. The bytes have no meaning here.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::time::Duration;

/// A buffer that holds every datagram of a dump: the kernel packs at most 32 KiB into one, whatever we offer
/// (`netlink_dump`, `SKB_WITH_OVERHEAD(32768)`).
pub const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// The kernel answers a dump at once; a socket that stays silent this long will not speak at all.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Which part of the kernel to talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `NETLINK_SOCK_DIAG`
    SockDiag,
    /// `NETLINK_ROUTE`
    Route,
    /// `NETLINK_NETFILTER`: packet filters and tracked connections. Opening needs no privilege, asking does (`CAP_NET_ADMIN`).
    Netfilter,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Family::SockDiag => "NETLINK_SOCK_DIAG",
            Family::Route => "NETLINK_ROUTE",
            Family::Netfilter => "NETLINK_NETFILTER",
        }
    }

    fn protocol(self) -> Option<Protocol> {
        match self {
            Family::SockDiag => Some(net::netlink::SOCK_DIAG),
            // NETLINK_ROUTE is 0, which is what "no protocol" sends.
            Family::Route => None,
            Family::Netfilter => Some(net::netlink::NETFILTER),
        }
    }
}

/// What went wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("open a {family} socket: {source}")]
    Open { family: &'static str, source: Errno },
    #[error("send a request of {bytes} bytes to {family}: {source}")]
    Send { family: &'static str, bytes: usize, source: Errno },
    #[error("receive an answer from {family}: {source}")]
    Receive { family: &'static str, source: Errno },
    /// `ENOBUFS`: the kernel dropped part of the answer; what was received before is incomplete.
    #[error("{family} dropped part of its answer: the receive buffer overflowed")]
    Overrun { family: &'static str },
    #[error("{family} sent {bytes} bytes into a buffer of {room}: the rest is lost")]
    Truncated { family: &'static str, bytes: usize, room: usize },
}

impl NetlinkError {
    /// The system's own error, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NetlinkError::Open { source, .. }
            | NetlinkError::Send { source, .. }
            | NetlinkError::Receive { source, .. } => Some(*source),
            NetlinkError::Overrun { .. } => Some(Errno::NOBUFS),
            NetlinkError::Truncated { .. } => None,
        }
    }
}

/// An open netlink socket, bound to the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    family: Family,
}

impl Netlink {
    /// Opens a socket. Needs no privilege.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` where the kernel lacks the family, `EACCES` or `EPERM` where a sandbox refuses it.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let failed = |source| NetlinkError::Open { family: family.name(), source };
        let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, family.protocol())
            .map_err(failed)?;
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(SILENCE_MAX)).map_err(failed)?;
        Ok(Netlink { fd, family })
    }

    /// Sends one request. An unconnected netlink socket sends to the kernel.
    ///
    /// # Errors
    /// What the kernel says, with the size of the request.
    pub fn send(&self, request: &[u8]) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Send { family: self.family.name(), bytes: request.len(), source };
        let sent = rustix::io::retry_on_intr(|| net::send(&self.fd, request, SendFlags::empty())).map_err(failed)?;
        if sent == request.len() { Ok(()) } else { Err(failed(Errno::MSGSIZE)) }
    }

    /// Receives one datagram into `buffer` and returns its bytes.
    ///
    /// # Errors
    /// [`NetlinkError::Truncated`] when `buffer` was too small, [`NetlinkError::Overrun`] when the kernel dropped
    /// something; both mean that the dump is not complete and must be asked for again.
    pub fn receive<'buffer>(&self, buffer: &'buffer mut [u8]) -> Result<&'buffer [u8], NetlinkError> {
        let family = self.family.name();
        let room = buffer.len();
        // With MSG_TRUNC the kernel returns the datagram's own length, even where it did not fit.
        let received = rustix::io::retry_on_intr(|| net::recv(&self.fd, &mut *buffer, RecvFlags::TRUNC));
        let (_, bytes) = match received {
            Ok(received) => received,
            Err(Errno::NOBUFS) => return Err(NetlinkError::Overrun { family }),
            Err(source) => return Err(NetlinkError::Receive { family, source }),
        };
        buffer.get(..bytes).ok_or(NetlinkError::Truncated { family, bytes, room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RTM_GETLINK` dump: every machine has at least `lo`, and the answer does not fit into 16 bytes.
    fn links() -> Vec<u8> {
        let mut request = Vec::new();
        request.extend_from_slice(&32u32.to_ne_bytes());
        request.extend_from_slice(&18u16.to_ne_bytes());
        request.extend_from_slice(&0x301u16.to_ne_bytes());
        request.extend_from_slice(&[0; 24]);
        request
    }

    #[test]
    fn the_kernel_answers_and_a_small_buffer_is_noticed() {
        let netlink = Netlink::open(Family::Route).unwrap();
        netlink.send(&links()).unwrap();
        let mut small = [0; 16];
        assert!(matches!(netlink.receive(&mut small), Err(NetlinkError::Truncated { room: 16, .. })));

        let netlink = Netlink::open(Family::Route).unwrap();
        netlink.send(&links()).unwrap();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        assert!(netlink.receive(&mut buffer).unwrap().len() > 32);
    }
}
