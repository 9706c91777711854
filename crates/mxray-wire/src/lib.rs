//! Protocol machines without I/O: SMTP and LMTP clients, and the reader of lines that all of them share.
//!
//! Bytes and time come in, wants go out; a driver (`mxray-net`) owns the socket, the clock and TLS. What a session was is a
//! value of `mxray-model` (`session`): every byte with its direction and time, the replies, what was odd, where it ended.
//! Start reading at [`Want`], then [`smtp::Client`].
//!
//! What must not live here: sockets, clocks, TLS, name lookups, and any judgement beyond "this is not what the protocol
//! says" (that is `mxray-rules`).
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod base64;
mod lines;
pub mod sasl;
pub mod scenario;
mod secret;
pub mod smtp;

pub use secret::Secret;

use std::time::Duration;

/// Time since the session began, by a clock that only goes forward.
pub type Moment = Duration;

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
