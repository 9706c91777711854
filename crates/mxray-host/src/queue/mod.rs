//! The queues of mail servers, as bytes: Postfix's own listing or, where it does not run, its files, the files of Exim, OpenSMTPD and Sendmail.
//!
//! What must not live here: what the bytes say (`mxray-logs`' `queue`). Nothing is locked, moved or written; what is delivered
//! while we look is missing, or stands there a moment too long.

mod files;
mod postfix;
#[cfg(test)]
mod tests;

use crate::programs::Programs;
use mxray_model::Seen;
use mxray_model::evidence::Server;
use std::time::Instant;

/// Messages of which files are read; a queue that is longer is told as that.
pub const MESSAGES_MAX: usize = 20_000;
/// Of one file: envelopes of lists with thousands of recipients, and logs of many tries.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What was read of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The command or the directory.
    pub source: String,
    pub pieces: Vec<Piece>,
    /// There is more than was read.
    pub cut: bool,
    /// Files that could not be read, or went while we looked.
    pub unread: u64,
}

/// One piece of a queue in its server's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// `postqueue -j`.
    PostfixListing(Vec<u8>),
    /// A queue file below the directory `state`, and what its last attempts left; empty: nothing.
    Postfix {
        state: &'static str,
        id: Vec<u8>,
        file: Vec<u8>,
        deferred: Vec<u8>,
    },
    /// The files of one message; empty: there is none.
    Exim {
        id: Vec<u8>,
        header: Vec<u8>,
        journal: Vec<u8>,
        log: Vec<u8>,
    },
    OpenSmtpd {
        id: Vec<u8>,
        envelope: Vec<u8>,
    },
    /// A control file; `set_aside`: one of a message that is quarantined.
    Sendmail {
        id: Vec<u8>,
        control: Vec<u8>,
        set_aside: bool,
    },
}

/// What waits in one server's queue. `Absent`: this software has none that is known.
pub fn look(server: &Server, programs: &Programs, until: Instant) -> Seen<Found> {
    match (server.software.as_str(), server.directories.get("queue")) {
        // Without a master postqueue starts showq itself, whose complaints stand in the log as the server's own.
        ("postfix", Some(queue)) if server.master.is_absent() => files::postfix(queue, until),
        ("postfix", _) => postfix::look(server, programs),
        ("exim", Some(spool)) => files::exim(spool, until),
        ("opensmtpd", Some(spool)) => files::opensmtpd(spool, until),
        ("sendmail", Some(queue)) => files::sendmail(queue, until),
        _ => Seen::Absent,
    }
}
