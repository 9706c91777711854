//! A socket's error queue: the ICMP errors that came for it, with their senders (ip(7), ipv6(7): IP_RECVERR).
//!
//! What an error means for a connection is not known here.

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use rustix::io::Errno;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

/// SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6 (linux/errqueue.h).
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;

/// One ICMP or ICMPv6 error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    /// Who sent it: a router, the destination, or this host itself.
    pub from: IpAddr,
    /// What the kernel makes of it for the program.
    pub errno: Errno,
}

/// Has the kernel keep the errors that come for this socket, with their senders; or has it stop, and forget what it kept. To
/// be asked for before connect(2), and to be ended behind it: while they are kept, any ICMP error ends an open connection,
/// which otherwise goes on (RFC 1122 section 4.2.3.9; `tcp_v4_err` in the kernel).
///
/// # Errors
/// As the kernel gave it; a sandbox may refuse the option.
pub fn keep(socket: impl AsFd, is_ipv4: bool, on: bool) -> io::Result<()> {
    let socket = socket.as_fd();
    let set = if is_ipv4 {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &on)
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &on)
    };
    Ok(set?)
}

/// Has bind(2) to port 0 take no port: connect(2) chooses one then, which only has to be free towards its peer
/// (IP_BIND_ADDRESS_NO_PORT, Linux 4.2; it holds for IPv6 sockets, too).
///
/// # Errors
/// As the kernel gave it.
pub fn bind_no_port(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket.as_fd(), sockopt::IpBindAddressNoPort, &true)?)
}

/// Takes the next ICMP error off the queue. `None`: the queue is empty. Errors that this host's kernel made without any
/// packet are passed over.
///
/// # Errors
/// As the kernel gave it.
pub fn next(socket: impl AsFd) -> io::Result<Option<Icmp>> {
    let socket = socket.as_fd();
    loop {
        // The packet that the error is about; its first bytes are of no use here.
        let mut packet = [0; 64];
        let mut parts = [IoSliceMut::new(&mut packet)];
        let mut control = nix::cmsg_space!([u8; 256]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if let Some(icmp) = message.cmsgs()?.find_map(|message| icmp(&message)) {
            return Ok(Some(icmp));
        }
    }
}

fn icmp(message: &ControlMessageOwned) -> Option<Icmp> {
    match message {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) if error.ee_origin == ORIGIN_ICMP => {
            let from = IpAddr::V4(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)));
            Some(icmp_of(error, from))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) if error.ee_origin == ORIGIN_ICMP6 => {
            let from = IpAddr::V6(Ipv6Addr::from(from.sin6_addr.s6_addr));
            Some(icmp_of(error, from))
        }
        _ => None,
    }
}

fn icmp_of(error: &libc::sock_extended_err, from: IpAddr) -> Icmp {
    let errno = i32::try_from(error.ee_errno).unwrap_or_default();
    Icmp { kind: error.ee_type, code: error.ee_code, from, errno: Errno::from_raw_os_error(errno) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::UdpSocket;

    /// A datagram to a port of this host where nobody listens comes back as "port unreachable", from this host.
    fn refused(own: &str) -> Option<Icmp> {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        keep(&socket, socket.local_addr().unwrap().is_ipv4(), true).unwrap();
        assert_eq!(next(&socket).unwrap(), None);
        // One that hears somebody else alone: nobody can have its port meanwhile, and for us nobody is there.
        let deaf = UdpSocket::bind((own, 0)).unwrap();
        deaf.connect(deaf.local_addr().unwrap()).unwrap();
        socket.connect(deaf.local_addr().unwrap()).unwrap();
        socket.send(b"x").unwrap();
        // The refusal wakes the reader; the queue has it from then on.
        socket.recv(&mut [0; 8]).unwrap_err();
        next(&socket).unwrap()
    }

    #[test]
    fn the_sender_of_an_error_is_told() {
        assert_eq!(
            refused("127.0.0.1"),
            Some(Icmp { kind: 3, code: 3, from: "127.0.0.1".parse().unwrap(), errno: Errno::CONNREFUSED })
        );
        match refused("::1") {
            None => {
                let _ = writeln!(io::stderr(), "skipped: the_sender_of_an_error_is_told for IPv6: ::1 is not here");
            }
            seen => assert_eq!(
                seen,
                Some(Icmp { kind: 1, code: 4, from: "::1".parse().unwrap(), errno: Errno::CONNREFUSED })
            ),
        }
    }
}
