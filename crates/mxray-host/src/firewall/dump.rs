//! The nf_tables ruleset of this network namespace, as the kernel lists it over `NETLINK_NETFILTER`: whole, of one generation,
//! or an error.
//!
//! Only the `NFT_MSG_GET*` messages are known (linux/netfilter/nf_tables.h). What the bytes say is `mxray-firewall`'s business.

use crate::read;
use crate::routes::wire::{Malformed, Message, attribute, attributes, message};
use mxray_model::{Blind, Seen};
use mxray_sys::netlink::{DATAGRAM_BYTES_MAX, Family, Netlink, NetlinkError};
use rustix::io::Errno;
use std::path::Path;
use std::time::Instant;

/// fail2ban, Docker and the like change their rules every few seconds at most; four tries take some milliseconds.
const TRIES_MAX: u32 = 4;
/// A hundred thousand rules have 50 MB, a block list of a million networks has 90 MB.
const BYTES_MAX: usize = 256 << 20;
/// Each costs a question of its own (some 20 µs). Rules that name several ports make one each.
const SETS_MAX: usize = 200_000;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u8 = 1;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_GETRULE: u8 = 7;
const NFT_MSG_GETSET: u8 = 10;
const NFT_MSG_GETSETELEM: u8 = 13;
const NFT_MSG_GETGEN: u8 = 16;
const NFT_MSG_GETOBJ: u8 = 19;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_REQUEST_DUMP: u16 = 0x301;

/// What was listed, in the kernel's order: each message with its header `nfgenmsg`, without that of netlink.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    pub tables: Vec<Vec<u8>>,
    pub chains: Vec<Vec<u8>>,
    pub rules: Vec<Vec<u8>>,
    pub sets: Vec<Vec<u8>>,
    pub elements: Vec<Vec<u8>>,
    pub objects: Vec<Vec<u8>>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    #[error("{0}")]
    Netlink(#[from] NetlinkError),
    #[error("the kernel refuses to list {what}: {errno}")]
    Refused { what: &'static str, errno: Errno },
    #[error("the kernel's list of {what}: {error}")]
    Malformed { what: &'static str, error: Malformed },
    #[error("the ruleset is larger than the {} MiB that are read", BYTES_MAX >> 20)]
    TooLarge,
    #[error("the ruleset has more than {SETS_MAX} sets")]
    TooManySets,
    #[error("the ruleset changed each time while it was read ({TRIES_MAX} times)")]
    Torn,
    #[error("there was no more time")]
    Late,
}

impl DumpError {
    fn blind(&self) -> Blind {
        let errno = match self {
            DumpError::Netlink(error) => error.errno(),
            DumpError::Refused { errno, .. } => Some(*errno),
            _ => None,
        };
        match errno {
            Some(Errno::PERM | Errno::ACCESS) => Blind::NotPermitted {
                what: "list the rules of the packet filter (nf_tables)".to_owned(),
                needs: "cap_net_admin".to_owned(),
            },
            Some(Errno::AFNOSUPPORT) => Blind::NotPermitted {
                what: "list the rules of the packet filter (nf_tables): no netlink socket".to_owned(),
                needs: "a sandbox that permits AF_NETLINK".to_owned(),
            },
            _ => Blind::Failed { step: "list the rules of the packet filter (nf_tables)".to_owned(), error: self.to_string() },
        }
    }

    /// The kernel has no nf_tables, or cannot load it: EINVAL for a subsystem that nobody has registered (nfnetlink_rcv_msg).
    fn is_nothing_there(&self) -> bool {
        match self {
            DumpError::Netlink(error) => error.errno() == Some(Errno::PROTONOSUPPORT),
            DumpError::Refused { what: GENERATION, errno } => {
                matches!(*errno, Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT)
            }
            _ => false,
        }
    }
}

/// Lists everything. `Absent`: this kernel has no nf_tables, or has not loaded it.
pub(crate) fn nf_tables(until: Instant) -> Seen<Dump> {
    if is_not_loaded() {
        return Seen::Absent;
    }
    match whole(until) {
        Ok(dump) => Seen::Value(dump),
        Err(error) if error.is_nothing_there() => Seen::Absent,
        Err(error) => Seen::Unknown(error.blind()),
    }
}

/// To ask for what is not there would load it: an examination changes nothing, not even that.
fn is_not_loaded() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = Path::new("/lib/modules").join(release).join("kernel/net/netfilter");
    let is_module = ["nf_tables.ko", "nf_tables.ko.xz", "nf_tables.ko.zst", "nf_tables.ko.gz"]
        .iter()
        .any(|name| modules.join(name).exists());
    is_module && matches!(read::line("/sys/module/nf_tables/initstate"), Seen::Absent)
}

fn whole(until: Instant) -> Result<Dump, DumpError> {
    for _ in 0..TRIES_MAX {
        let mut talk = Talk::open(until)?;
        let before = talk.generation()?;
        match talk.all() {
            Ok(Some(dump)) if talk.generation()? == before => return Ok(dump),
            Ok(_) | Err(DumpError::Netlink(NetlinkError::Overrun { .. } | NetlinkError::Truncated { .. })) => {}
            // A set that was listed a moment ago and is gone now.
            Err(DumpError::Refused { errno: Errno::NOENT, .. }) if talk.generation()? != before => {}
            Err(error) => return Err(error),
        }
    }
    Err(DumpError::Torn)
}

const GENERATION: &str = "the ruleset's generation";

/// One socket, and what was read over it.
struct Talk {
    netlink: Netlink,
    buffer: Vec<u8>,
    sequence: u32,
    bytes: usize,
    until: Instant,
}

impl Talk {
    fn open(until: Instant) -> Result<Talk, DumpError> {
        let netlink = Netlink::open(Family::Netfilter)?;
        Ok(Talk { netlink, buffer: vec![0; DATAGRAM_BYTES_MAX], sequence: 0, bytes: 0, until })
    }

    /// NFTA_GEN_ID: rises with every change of this namespace's ruleset.
    fn generation(&mut self) -> Result<u32, DumpError> {
        const NFTA_GEN_ID: u16 = 1;
        self.send(NFT_MSG_GETGEN, NLM_F_REQUEST, 0, &[])?;
        let missing = DumpError::Malformed { what: GENERATION, error: Malformed { what: "the answer", at: 0 } };
        let datagram = self.netlink.receive(&mut self.buffer)?;
        let malformed = |error| DumpError::Malformed { what: GENERATION, error };
        let mut at = 0;
        match message(datagram, &mut at, self.sequence).map_err(malformed)? {
            Some(Message::Record { payload, .. }) => {
                for attribute in attributes(payload.get(NFGENMSG_BYTES..).unwrap_or_default()) {
                    let (kind, value) = attribute.map_err(malformed)?;
                    if kind == NFTA_GEN_ID {
                        return value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(missing);
                    }
                }
                Err(missing)
            }
            Some(Message::Outcome { errno }) if errno != 0 => {
                Err(DumpError::Refused { what: GENERATION, errno: Errno::from_raw_os_error(errno) })
            }
            _ => Err(missing),
        }
    }

    /// `None`: the kernel's lists changed meanwhile.
    fn all(&mut self) -> Result<Option<Dump>, DumpError> {
        let mut dump = Dump::default();
        let mut whole = self.list("tables", NFT_MSG_GETTABLE, 0, &[], &mut dump.tables)?;
        whole &= self.list("chains", NFT_MSG_GETCHAIN, 0, &[], &mut dump.chains)?;
        whole &= self.list("sets", NFT_MSG_GETSET, 0, &[], &mut dump.sets)?;
        whole &= self.list("rules", NFT_MSG_GETRULE, 0, &[], &mut dump.rules)?;
        // Before Linux 4.10 there are no stateful objects.
        match self.list("objects", NFT_MSG_GETOBJ, 0, &[], &mut dump.objects) {
            Ok(same) => whole &= same,
            Err(DumpError::Refused { errno: Errno::INVAL | Errno::OPNOTSUPP, .. }) => {}
            Err(error) => return Err(error),
        }
        if dump.sets.len() > SETS_MAX {
            return Err(DumpError::TooManySets);
        }
        for index in 0..dump.sets.len() {
            let Some((family, request)) = dump.sets.get(index).and_then(|set| elements_of(set)) else { continue };
            whole &= self.list("elements of a set", NFT_MSG_GETSETELEM, family, &request, &mut dump.elements)?;
        }
        Ok(whole.then_some(dump))
    }

    fn send(&mut self, kind: u8, flags: u16, family: u8, attributes: &[u8]) -> Result<(), DumpError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, flags, family, attributes, self.sequence);
        Ok(self.netlink.send(&request)?)
    }

    /// One dump to its end; false: the kernel's lists changed meanwhile.
    fn list(
        &mut self,
        what: &'static str,
        kind: u8,
        family: u8,
        attributes: &[u8],
        into: &mut Vec<Vec<u8>>,
    ) -> Result<bool, DumpError> {
        self.send(kind, NLM_F_REQUEST_DUMP, family, attributes)?;
        // NFT_MSG_NEW* is the number below its NFT_MSG_GET*.
        let wanted = NFNL_SUBSYS_NFTABLES << 8 | u16::from(kind - 1);
        let malformed = |error| DumpError::Malformed { what, error };
        let mut torn = false;
        loop {
            if Instant::now() > self.until {
                return Err(DumpError::Late);
            }
            let datagram = self.netlink.receive(&mut self.buffer)?;
            self.bytes += datagram.len();
            if self.bytes > BYTES_MAX {
                return Err(DumpError::TooLarge);
            }
            let mut at = 0;
            while let Some(message) = message(datagram, &mut at, self.sequence).map_err(malformed)? {
                match message {
                    Message::Record { kind, payload, interrupted } => {
                        torn |= interrupted;
                        if kind == wanted {
                            into.push(payload.to_vec());
                        }
                    }
                    Message::Done { interrupted } => return Ok(!(torn | interrupted)),
                    Message::Outcome { errno: 0 } => {}
                    Message::Outcome { errno } => {
                        return Err(DumpError::Refused { what, errno: Errno::from_raw_os_error(errno) });
                    }
                    Message::Overrun => return Err(NetlinkError::Overrun { family: "NETLINK_NETFILTER" }.into()),
                }
            }
        }
    }
}

/// `struct nfgenmsg`: family, version, resource (linux/netfilter/nfnetlink.h).
const NFGENMSG_BYTES: usize = 4;
const HEADER_BYTES: usize = 16;

fn request(kind: u8, flags: u16, family: u8, attributes: &[u8], sequence: u32) -> Vec<u8> {
    let length = HEADER_BYTES + NFGENMSG_BYTES + attributes.len();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend_from_slice(&(NFNL_SUBSYS_NFTABLES << 8 | u16::from(kind)).to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(&[family, 0, 0, 0]);
    out.extend_from_slice(attributes);
    out
}

/// The family of a set, and the attributes by which its elements are asked for. `None`: it has no name, which no kernel sends.
fn elements_of(set: &[u8]) -> Option<(u8, Vec<u8>)> {
    const NFTA_SET_TABLE: u16 = 1;
    const NFTA_SET_NAME: u16 = 2;
    const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
    const NFTA_SET_ELEM_LIST_SET: u16 = 2;
    let family = *set.first()?;
    let mut table = None;
    let mut name = None;
    for attribute in attributes(set.get(NFGENMSG_BYTES..)?) {
        match attribute.ok()? {
            (NFTA_SET_TABLE, value) => table = Some(value),
            (NFTA_SET_NAME, value) => name = Some(value),
            _ => {}
        }
    }
    let mut request = Vec::new();
    attribute(&mut request, NFTA_SET_ELEM_LIST_TABLE, table?);
    attribute(&mut request, NFTA_SET_ELEM_LIST_SET, name?);
    Some((family, request))
}
