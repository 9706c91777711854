//! The nf_tables ruleset of this network namespace, as the kernel lists it over `NETLINK_NETFILTER`: whole, of one generation,
//! or an error.
//!
//! Only questions are asked (`NFT_MSG_GET*`). What the bytes say is `mxray-firewall`'s business.

use crate::read;
use mxray_firewall::Ruleset;
use mxray_firewall::nft::{Decoder, request};
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

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    #[error("{0}")]
    Netlink(#[from] NetlinkError),
    #[error("the kernel refuses to list {what}: {errno}")]
    Refused { what: &'static str, errno: Errno },
    #[error("the kernel gave no answer about {what}")]
    NoAnswer { what: &'static str },
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
pub(crate) fn nf_tables(until: Instant) -> Seen<Ruleset> {
    if is_not_loaded() {
        return Seen::Absent;
    }
    match whole(until) {
        Ok(ruleset) => Seen::Value(ruleset),
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
    is_module && read::line("/sys/module/nf_tables/initstate").is_absent()
}

fn whole(until: Instant) -> Result<Ruleset, DumpError> {
    for _ in 0..TRIES_MAX {
        let mut talk = Talk::open(until)?;
        let before = talk.generation()?;
        match talk.all() {
            Ok(Some(ruleset)) if talk.generation()? == before => return Ok(ruleset),
            Ok(_) | Err(DumpError::Netlink(NetlinkError::Overrun { .. } | NetlinkError::Truncated { .. })) => {}
            // A set that was listed a moment ago and is gone now.
            Err(DumpError::Refused { errno: Errno::NOENT, .. }) if Talk::open(until)?.generation()? != before => {}
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

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Rises with every change of this namespace's ruleset.
    fn generation(&mut self) -> Result<u32, DumpError> {
        let sequence = self.next();
        self.netlink.send(&request::generation(sequence))?;
        let fed = Decoder::new().feed(self.netlink.receive(&mut self.buffer)?);
        match (fed.generation, fed.error) {
            (Some(generation), _) => Ok(generation),
            (None, Some(errno)) if errno != 0 => {
                Err(DumpError::Refused { what: GENERATION, errno: Errno::from_raw_os_error(errno) })
            }
            _ => Err(DumpError::NoAnswer { what: GENERATION }),
        }
    }

    /// `None`: the kernel's lists changed meanwhile.
    fn all(&mut self) -> Result<Option<Ruleset>, DumpError> {
        let mut decoder = Decoder::new();
        let mut whole = true;
        for what in request::Dump::ALL {
            let sequence = self.next();
            match self.list(name_of(what), &request::dump(what, sequence), &mut decoder) {
                Ok(same) => whole &= same,
                // Before Linux 4.10 there are no stateful objects.
                Err(DumpError::Refused { errno: Errno::INVAL | Errno::OPNOTSUPP, .. })
                    if what == request::Dump::Objects => {}
                Err(error) => return Err(error),
            }
        }
        let sets = decoder.sets();
        if sets.len() > SETS_MAX {
            return Err(DumpError::TooManySets);
        }
        for (family, table, set) in sets {
            let sequence = self.next();
            let request = request::elements(family, &table, &set, sequence);
            whole &= self.list("elements of a set", &request, &mut decoder)?;
        }
        Ok(whole.then(|| decoder.finish()))
    }

    /// One dump to its end; false: the kernel's lists changed meanwhile.
    fn list(&mut self, what: &'static str, request: &[u8], decoder: &mut Decoder) -> Result<bool, DumpError> {
        self.netlink.send(request)?;
        let mut torn = false;
        loop {
            if Instant::now() > self.until {
                return Err(DumpError::Late);
            }
            let datagram = self.netlink.receive(&mut self.buffer)?;
            if datagram.is_empty() {
                return Err(DumpError::NoAnswer { what });
            }
            self.bytes += datagram.len();
            if self.bytes > BYTES_MAX {
                return Err(DumpError::TooLarge);
            }
            let fed = decoder.feed(datagram);
            torn |= fed.interrupted;
            match fed.error {
                Some(errno) if errno != 0 => {
                    return Err(DumpError::Refused { what, errno: Errno::from_raw_os_error(errno) });
                }
                _ if fed.done => return Ok(!torn),
                _ => {}
            }
        }
    }
}

fn name_of(what: request::Dump) -> &'static str {
    match what {
        request::Dump::Tables => "tables",
        request::Dump::Chains => "chains",
        request::Dump::Rules => "rules",
        request::Dump::Sets => "sets",
        request::Dump::Objects => "objects",
    }
}
