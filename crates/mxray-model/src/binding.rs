//! When the kernel refuses a second bind and listen, as the kernel decides it: the table that `ports plan`, PORT102 and PORT103
//! share. Pure; that it is the kernel's own table is shown by a test that binds every pair.

use std::net::IpAddr;

/// A socket as bind(2) and listen(2) see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `tcp` or `udp`
    pub protocol: String,
    pub address: IpAddr,
    pub port: u16,
    /// Of an IPv6 socket: refuses IPv4 (IPV6_V6ONLY).
    pub v6_only: bool,
    /// SO_REUSEPORT was set before the bind.
    pub reuse_port: bool,
    pub uid: u32,
    /// Bound to an interface or VRF (SO_BINDTODEVICE).
    pub device: Option<String>,
}

/// What becomes of the second of two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Both work, and never meet.
    Apart,
    /// Both work, and the kernel deals connections out between them.
    Shared,
    /// EADDRINUSE.
    Refused,
}
