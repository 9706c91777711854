//! What a reader makes of one software's files: the sockets that it asks for, and the lines that it could not understand.

use super::place::Place;
use mxray_model::evidence::{FileLine, Problem};
use mxray_model::text::untrusted;
use std::net::IpAddr;

/// Most listeners of one software; a front end may ask for ranges.
pub(super) const LISTENERS_MAX: usize = 512;
/// Most lines of one software that are told as not understood.
pub(super) const UNREAD_MAX: usize = 16;

/// One socket that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub service: String,
    pub udp: bool,
    pub address: IpAddr,
    pub port: u16,
    /// Of an IPv6 socket.
    pub v6_only: bool,
    pub reuse_port: bool,
    pub at: FileLine,
}

/// All of one software.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub asked: Vec<Asked>,
    pub unread: Vec<Problem>,
}

/// One line that asks: who, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub service: &'a str,
    pub file: &'a str,
    pub number: u32,
}

impl Line<'_> {
    pub fn at(&self) -> FileLine {
        FileLine { file: untrusted(self.file.as_bytes()), line: self.number }
    }
}

impl Found {
    pub fn ask(&mut self, line: Line<'_>, address: IpAddr, port: u16) -> Option<&mut Asked> {
        if port == 0 {
            return None;
        }
        if self.asked.len() == LISTENERS_MAX {
            self.puzzled(line, "more listeners than are kept");
            return None;
        }
        self.asked.push(Asked {
            service: untrusted(line.service.as_bytes()),
            udp: false,
            address,
            port,
            // Most programs open one socket for each family, and say so; those that do not change it.
            v6_only: address.is_ipv6(),
            reuse_port: false,
            at: line.at(),
        });
        self.asked.last_mut()
    }

    /// All addresses of a host; one that only DNS knows is told as not understood.
    pub fn ask_host(&mut self, place: &Place, line: Line<'_>, host: &str, port: u16) {
        match place.addresses(host) {
            Some(addresses) => {
                for address in addresses {
                    self.ask(line, address, port);
                }
            }
            None => self.puzzled(line, &format!("the addresses of {host} are not known from files")),
        }
    }

    /// A line that could not be understood, with why.
    pub fn puzzled(&mut self, line: Line<'_>, why: &str) {
        let problem = Problem { at: line.at(), text: untrusted(why.as_bytes()) };
        if self.unread.len() < UNREAD_MAX && !self.unread.contains(&problem) {
            self.unread.push(problem);
        }
    }

    pub fn add(&mut self, mut other: Found) {
        let room = LISTENERS_MAX.saturating_sub(self.asked.len());
        other.asked.truncate(room);
        self.asked.append(&mut other.asked);
        other.unread.truncate(UNREAD_MAX.saturating_sub(self.unread.len()));
        self.unread.append(&mut other.unread);
    }
}

/// `192.0.2.1:25`, `[::1]:25`, `::1:25` (the port is behind the last colon), `:25`, `host:25`. `None`: no port.
pub(super) fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    Some((host, port))
}

/// The number of a line, counted from 0, for people.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}
