//! Logs of mail servers: lines into facts, facts into the lives of messages, lives into answers.
//!
//! Bytes go in, values come out; the same bytes give the same values. Start reading at [`Reader`] (bytes into lines), then
//! [`grammar`](Grammars) (a line into an [`Event`]), then [`Analysis`] (events into lives and sums). What must not live here:
//! files, clocks, waiting, decompression, and what a reply means (`mxray-mail`'s causes).
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod batch;
mod cut;
mod dovecot;
mod envelope;
mod event;
mod exim;
mod filters;
mod grammar;
mod join;
mod opensmtpd;
mod postfix;
pub mod queue;
mod reader;
pub mod seek;
mod sendmail;
pub mod sketch;
mod stamp;

pub use batch::{Batch, Framer};
pub use envelope::{Line, Scratch, frame};
pub use event::{
    Arrival, ArrivalOf, Attempt, AttemptOf, Delays, Event, EventOf, Meaning, MeaningOf, Notice, Peer, PeerOf, Refusal,
    RefusalOf, Severity, Status,
};
pub use grammar::{Grammars, Program};
pub use join::{
    Analysis, COUNTED, CauseOut, IncidentOut, LOGS_SCHEMA, Lines, LogUnseen, Options, Quantiles, Rate, ReceiverOut,
    RecipientsOut, Selection, SenderOut, Story, Summary, TimelineRow,
};
pub use reader::{LINE_BYTES_MAX, Origin, Read, Reader};
pub use stamp::{SECOND, Stamp, YearScan, Years};
