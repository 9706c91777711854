//! Questions to `NETLINK_ROUTE`: dumps that are whole or an error, and single lookups.
//!
//! Nothing here changes a route: only the `RTM_GET*` messages are known. What an answer means is `walk`'s and the
//! callers' business.

use super::wire::{self, Malformed, Message, Question};
use mxray_model::Blind;
use mxray_sys::netlink::{DATAGRAM_BYTES_MAX, Family, Netlink, NetlinkError};
use rustix::io::Errno;

/// A view that was torn, or an answer that overflowed, is asked for again this often.
const TRIES_MAX: u32 = 4;
/// Each dump has its own netlink socket, so no answer to an older request can be in it.
const SEQUENCE: u32 = 1;
/// A full table of the Internet has a million routes of IPv4; no host that still works has more of anything.
const RECORDS_MAX: usize = 5_000_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    #[error("{0}")]
    Netlink(#[from] NetlinkError),
    #[error("the kernel refuses to list {what}: {errno}")]
    Refused { what: &'static str, errno: Errno },
    #[error("the kernel's list of {what}: {error}")]
    Malformed { what: &'static str, error: Malformed },
    #[error("more than {RECORDS_MAX} {what}")]
    TooMany { what: &'static str },
    #[error("the list of {what} changed each time while it was read")]
    Torn { what: &'static str },
    #[error("the kernel gave no answer about {what}")]
    NoAnswer { what: &'static str },
}

impl TalkError {
    /// As a reason for not knowing.
    pub fn blind(&self) -> Blind {
        let errno = match self {
            TalkError::Netlink(error) => error.errno(),
            TalkError::Refused { errno, .. } => Some(*errno),
            _ => None,
        };
        if matches!(errno, Some(Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT)) {
            return Blind::NotPermitted { what: self.to_string(), needs: "a sandbox that permits AF_NETLINK".into() };
        }
        Blind::Failed { step: "ask for routes over netlink".into(), error: self.to_string() }
    }
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    pub what: &'static str,
    pub request: u16,
    pub family: u8,
}

/// Hands each record to `with`; `None` means "forget what came before".
///
/// # Errors
/// The list is not whole.
pub(crate) fn dump(
    subject: Subject,
    mut with: impl FnMut(Option<&[u8]>) -> Result<(), Malformed>,
) -> Result<(), TalkError> {
    let what = subject.what;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    for _ in 0..TRIES_MAX {
        match once(subject, &mut buffer, &mut with) {
            Ok(false) => return Ok(()),
            Ok(true) | Err(TalkError::Netlink(NetlinkError::Overrun { .. } | NetlinkError::Truncated { .. })) => {
                with(None).map_err(|error| TalkError::Malformed { what, error })?;
            }
            // A kernel without IPv6 has no list of it, which is an empty list.
            Err(TalkError::Refused { errno: Errno::AFNOSUPPORT | Errno::OPNOTSUPP, .. })
                if subject.family == wire::AF_INET6 =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Err(TalkError::Torn { what })
}

/// One dump to its end; true: the kernel's tables changed meanwhile.
fn once(
    subject: Subject,
    buffer: &mut [u8],
    with: &mut impl FnMut(Option<&[u8]>) -> Result<(), Malformed>,
) -> Result<bool, TalkError> {
    let Subject { what, request, family } = subject;
    let malformed = |error| TalkError::Malformed { what, error };
    let netlink = Netlink::open(Family::Route)?;
    netlink.send(&wire::dump(request, family, SEQUENCE))?;
    let (mut torn, mut records) = (false, 0);
    loop {
        let datagram = netlink.receive(buffer)?;
        if datagram.is_empty() {
            return Err(malformed(Malformed { what: "an empty answer", at: 0 }));
        }
        let mut at = 0;
        while let Some(message) = wire::message(datagram, &mut at, SEQUENCE).map_err(malformed)? {
            match message {
                // RTM_NEW* is the number below its RTM_GET* by two.
                Message::Record { kind, payload, interrupted } if kind + 2 == request => {
                    torn |= interrupted;
                    records += 1;
                    if records > RECORDS_MAX {
                        return Err(TalkError::TooMany { what });
                    }
                    with(Some(payload)).map_err(malformed)?;
                }
                Message::Record { interrupted, .. } => torn |= interrupted,
                Message::Done { interrupted } => return Ok(torn | interrupted),
                Message::Outcome { errno: 0 } => {}
                Message::Outcome { errno } => {
                    return Err(TalkError::Refused { what, errno: Errno::from_raw_os_error(errno) });
                }
                Message::Overrun => return Err(NetlinkError::Overrun { family: "NETLINK_ROUTE" }.into()),
            }
        }
    }
}

/// A socket for single lookups.
#[derive(Debug)]
pub(crate) struct Asker {
    netlink: Netlink,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Asker {
    /// # Errors
    /// No netlink here.
    pub fn open() -> Result<Self, TalkError> {
        Ok(Asker { netlink: Netlink::open(Family::Route)?, buffer: vec![0; DATAGRAM_BYTES_MAX], sequence: 0 })
    }

    /// The kernel's answer: a route, or the errno that a program would get.
    ///
    /// # Errors
    /// The kernel could not be asked, or its answer not be read.
    pub fn ask(&mut self, question: &Question, matched: bool) -> Result<Result<super::Route, Errno>, TalkError> {
        let what = "one destination";
        self.sequence = self.sequence.wrapping_add(1);
        self.netlink.send(&wire::lookup(question, matched, self.sequence))?;
        let malformed = |error| TalkError::Malformed { what, error };
        loop {
            let datagram = self.netlink.receive(&mut self.buffer)?;
            let mut at = 0;
            let Some(message) = wire::message(datagram, &mut at, self.sequence).map_err(malformed)? else { continue };
            return match message {
                Message::Record { payload, .. } => match wire::route(payload).map_err(malformed)? {
                    Some(route) => Ok(Ok(route)),
                    None => Err(TalkError::NoAnswer { what }),
                },
                Message::Outcome { errno } if errno != 0 => Ok(Err(Errno::from_raw_os_error(errno))),
                _ => Err(TalkError::NoAnswer { what }),
            };
        }
    }
}
