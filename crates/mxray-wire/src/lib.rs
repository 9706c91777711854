//! Protocol machines without I/O: clients of SMTP, LMTP, IMAP, POP3 and ManageSieve, SASL, and a prober of TLS hellos.
//!
//! Bytes and time come in, wants go out; a driver (`mxray-net`) owns the socket, the clock and TLS. What a session was is a
//! value of `mxray-model` (`session`): every byte with its direction and time, the replies, what was odd, where it ended.
//! Start reading at [`Want`] and [`Machine`], then `talk.rs`, then [`smtp`] and [`mailbox`]; [`hello`] stands alone.
//!
//! What must not live here: sockets, clocks, TLS, name lookups, and any judgement beyond "this is not what the protocol
//! says" (that is `mxray-rules`).
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod auth;
mod base64;
pub mod dialogue;
pub mod hello;
mod lines;
pub mod mailbox;
#[cfg(test)]
mod play;
pub mod sasl;
pub mod scenario;
mod secret;
pub mod smtp;
mod talk;

pub use auth::Auth;
pub use secret::Secret;
pub use talk::Client;

use std::time::Duration;

/// Time since the session began, by a clock that only goes forward.
pub type Moment = Duration;

/// Whether STARTTLS is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Starttls {
    Never,
    #[default]
    IfOffered,
    /// Also where it is not announced, and nothing goes on without it.
    Required,
}

/// What a machine needs next. The driver does it, tells the machine what came of it, and asks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Write all of these bytes. They may hold a secret, so they are not to be logged.
    Write(Secret),
    /// Read; `on_bytes`, `on_closed` or `on_broken` tells what came, `on_deadline` that nothing did.
    Read { until: Moment },
    /// Make a TLS handshake on this connection; `on_tls` tells the outcome.
    StartTls,
    /// Close in order: everything that was to be said has been said.
    Close,
    /// It is over.
    Done,
}

/// What a driver runs: a client of any protocol.
pub trait Machine {
    /// What the session was.
    type Session;

    /// What to do next.
    fn want(&mut self, now: Moment) -> Want;

    /// Bytes came.
    fn on_bytes(&mut self, bytes: &[u8], now: Moment);

    /// The peer closed its side in order.
    fn on_closed(&mut self, now: Moment);

    /// The connection broke: reset, or what the system says.
    fn on_broken(&mut self, error: &str, now: Moment);

    /// The moment of `Want::Read` is over. Also for the driver's own deadline, which may come earlier.
    fn on_deadline(&mut self, now: Moment);

    /// The handshake's outcome; what was negotiated, or what failed, is the driver's evidence.
    fn on_tls(&mut self, established: bool, now: Moment);

    fn is_over(&self) -> bool;

    fn into_session(self) -> Self::Session;
}
