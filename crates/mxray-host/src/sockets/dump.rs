//! The dump loop: one request to `NETLINK_SOCK_DIAG`, its datagrams decoded in place, whole or an error.

use super::stale;
use super::wire::{self, InetRequest, Malformed, Message, Messages};
use super::{Snapshot, Socket};
use mxray_model::Blind;
use mxray_sys::netlink::{DATAGRAM_BYTES_MAX, Family, Netlink, NetlinkError};
use rustix::io::Errno;

/// A view that was torn, or an answer that overflowed, is asked for again this often.
const TRIES_MAX: u32 = 4;
/// Each try has its own netlink socket, so no answer to an older request can be in it.
const SEQUENCE: u32 = 1;
/// The memory bound of one look (about 130 bytes each). No host that still works has as many.
pub const SOCKETS_MAX: usize = 2_000_000;

/// Memory for the `tcp_info` of an examination: 100,000 connections.
const INFOS_BYTES_MAX: usize = 24 << 20;

/// Why a dump gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("{0}")]
    Netlink(#[from] NetlinkError),
    #[error("the kernel refuses to list {what} sockets: {errno}")]
    Refused { what: &'static str, errno: Errno },
    #[error("the kernel's list of {what} sockets: {error}")]
    Malformed { what: &'static str, error: Malformed },
    #[error("more than {SOCKETS_MAX} {what} sockets")]
    TooMany { what: &'static str },
}

impl DumpError {
    pub(crate) fn blind(&self) -> Blind {
        let errno = match self {
            DumpError::Netlink(error) => error.errno(),
            DumpError::Refused { errno, .. } => Some(*errno),
            DumpError::Malformed { .. } | DumpError::TooMany { .. } => None,
        };
        if matches!(errno, Some(Errno::PERM | Errno::ACCESS)) {
            return Blind::NotPermitted { what: self.to_string(), needs: "a sandbox that permits AF_NETLINK".into() };
        }
        Blind::Failed { step: "list sockets over netlink".into(), error: self.to_string() }
    }

    /// The kernel did not take the filter program; without it, it would answer.
    fn is_bad_filter(&self) -> bool {
        matches!(self, DumpError::Refused { errno: Errno::INVAL, .. })
    }
}

/// The kernel refuses to list `family`'s sockets because it has none: IPv6 is not built in or is switched off.
fn has_no_family(request: &InetRequest<'_>, error: &DumpError) -> bool {
    request.family == wire::AF_INET6 && matches!(error, DumpError::Refused { errno: Errno::AFNOSUPPORT, .. })
}

/// Which `tcp_info` is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// Of connections that wait for `accept` (it tells since when); of those that may be stale, and of mail's own, as far
    /// as [`INFOS_BYTES_MAX`] goes.
    Examination,
    All,
}

/// Appends what the kernel lists to `snapshot`.
///
/// # Errors
/// Nothing is appended then.
pub(crate) fn inet(request: &InetRequest<'_>, keep: Keep, snapshot: &mut Snapshot) -> Result<(), DumpError> {
    match inet_once(request, keep, snapshot) {
        Err(error) if error.is_bad_filter() && (!request.ports.is_empty() || request.peer.is_some()) => {
            inet_once(&InetRequest { ports: &[], peer: None, ..*request }, keep, snapshot)
        }
        Err(error) if has_no_family(request, &error) => Ok(()),
        outcome => outcome,
    }
}

pub(crate) fn inet_once(request: &InetRequest<'_>, keep: Keep, snapshot: &mut Snapshot) -> Result<(), DumpError> {
    let what = request.protocol.name();
    let start = (snapshot.sockets.len(), snapshot.infos.len());
    let torn = whole(what, &request.encode(SEQUENCE), |event| {
        let payload = match event {
            Event::Restart => {
                snapshot.sockets.truncate(start.0);
                snapshot.infos.truncate(start.1);
                return Ok(());
            }
            Event::Record(payload) => payload,
        };
        if snapshot.sockets.len() == SOCKETS_MAX {
            return Err(DumpError::TooMany { what });
        }
        let (socket, info) =
            wire::inet(request.protocol, payload).map_err(|error| DumpError::Malformed { what, error })?;
        let wanted = match keep {
            Keep::Nothing => false,
            Keep::Examination => {
                socket.waits_for_accept() || (snapshot.infos.len() < INFOS_BYTES_MAX && stale::is_of_interest(&socket))
            }
            Keep::All => true,
        };
        snapshot.push(socket, if wanted { info } else { &[] });
        Ok(())
    });
    match torn {
        Ok(torn) => snapshot.torn |= torn,
        Err(error) => {
            snapshot.sockets.truncate(start.0);
            snapshot.infos.truncate(start.1);
            return Err(error);
        }
    }
    Ok(())
}

/// Hands each UNIX socket in `states` to `with`; `None` means "forget what came before". True: the view is torn.
pub(crate) fn unix(states: u32, mut with: impl FnMut(Option<wire::Unix<'_>>)) -> Result<bool, DumpError> {
    let what = "unix";
    let mut records = 0;
    whole(what, &wire::unix_request(states, SEQUENCE), |event| {
        match event {
            Event::Restart => {
                records = 0;
                with(None);
            }
            Event::Record(payload) => {
                records += 1;
                if records > SOCKETS_MAX {
                    return Err(DumpError::TooMany { what });
                }
                with(Some(wire::unix(payload).map_err(|error| DumpError::Malformed { what, error })?));
            }
        }
        Ok(())
    })
}

enum Event<'a> {
    /// What came before belongs to a view that is thrown away.
    Restart,
    Record(&'a [u8]),
}

fn whole(
    what: &'static str,
    request: &[u8],
    with: impl FnMut(Event<'_>) -> Result<(), DumpError>,
) -> Result<bool, DumpError> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    again(with, |with| once(what, request, &mut buffer, with))
}

/// Asks until the view is whole; true: it stayed torn.
fn again<W: FnMut(Event<'_>) -> Result<(), DumpError>>(
    mut with: W,
    mut ask: impl FnMut(&mut W) -> Result<bool, DumpError>,
) -> Result<bool, DumpError> {
    let mut tries = 1;
    loop {
        match ask(&mut with) {
            Ok(true) if tries < TRIES_MAX => {}
            Err(DumpError::Netlink(NetlinkError::Overrun { .. } | NetlinkError::Truncated { .. }))
                if tries < TRIES_MAX => {}
            outcome => return outcome,
        }
        with(Event::Restart)?;
        tries += 1;
    }
}

/// One dump to its end; true: the kernel's tables changed meanwhile.
fn once(
    what: &'static str,
    request: &[u8],
    buffer: &mut [u8],
    with: &mut impl FnMut(Event<'_>) -> Result<(), DumpError>,
) -> Result<bool, DumpError> {
    let netlink = Netlink::open(Family::SockDiag)?;
    netlink.send(request)?;
    let mut torn = false;
    loop {
        let datagram = netlink.receive(buffer)?;
        if datagram.is_empty() {
            return Err(DumpError::Malformed { what, error: Malformed { what: "an empty answer", at: 0 } });
        }
        for message in Messages::new(datagram, SEQUENCE) {
            match message.map_err(|error| DumpError::Malformed { what, error })? {
                Message::Record { payload, interrupted } => {
                    torn |= interrupted;
                    with(Event::Record(payload))?;
                }
                Message::Done { interrupted } => return Ok(torn | interrupted),
                Message::Refused { errno } => {
                    return Err(DumpError::Refused { what, errno: Errno::from_raw_os_error(errno) });
                }
                Message::Overrun => {
                    return Err(NetlinkError::Overrun { family: "NETLINK_SOCK_DIAG" }.into());
                }
            }
        }
    }
}

impl Snapshot {
    pub(crate) fn push(&mut self, mut socket: Socket, info: &[u8]) {
        if let (Ok(start), Ok(length)) = (u32::try_from(self.infos.len()), u16::try_from(info.len()))
            && length > 0
        {
            socket.info = (start, length);
            self.infos.extend_from_slice(info);
        }
        self.sockets.push(socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records that are left after `answers`, one of them an answer's outcome with one record each.
    fn left(answers: &[fn() -> Result<bool, DumpError>]) -> (u32, usize, Result<bool, DumpError>) {
        let mut records = 0;
        let mut asked = 0;
        let with = |event: Event<'_>| {
            match event {
                Event::Restart => records = 0,
                Event::Record(_) => records += 1,
            }
            Ok(())
        };
        let outcome = again(with, |with| {
            with(Event::Record(&[]))?;
            asked += 1;
            answers[asked - 1]()
        });
        (records, asked, outcome)
    }

    fn torn() -> Result<bool, DumpError> {
        Ok(true)
    }

    fn overrun() -> Result<bool, DumpError> {
        Err(NetlinkError::Overrun { family: "test" }.into())
    }

    #[test]
    fn a_torn_view_is_thrown_away_and_asked_for_again() {
        assert!(matches!(left(&[torn, overrun, || Ok(false)]), (1, 3, Ok(false))));
        // What stays torn is kept, and said to be torn.
        assert!(matches!(left(&[torn as fn() -> _; 4]), (1, 4, Ok(true))));
        // What stays cut off is no list at all.
        assert!(matches!(left(&[overrun as fn() -> _; 4]), (1, 4, Err(DumpError::Netlink(_)))));
        let refused = || Err(DumpError::Refused { what: "test", errno: Errno::NOENT });
        assert!(matches!(left(&[refused]), (1, 1, Err(DumpError::Refused { .. }))));
    }
}
