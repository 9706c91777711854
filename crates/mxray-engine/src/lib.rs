//! One examination: collectors side by side under one deadline, evidence joined, rules called, the report made.
//!
//! [`examine`] looks at this machine; [`judge`] turns evidence into a report and does no I/O, which is why a saved
//! report can be judged again (`doctor --replay`). What a fact means is the rules' business, how it is read the
//! collectors'; here lives only who runs when, and what becomes of a part that crashed or came too late.

mod collect;
mod cut_short;
mod domains;
mod filters;
mod judge;
pub mod logs;
mod machine;
pub mod maillog;
mod names;
mod outside;
mod parts;
mod ports;
pub mod reports;
mod resolvers;
mod sessions;
mod surroundings;
mod thin;
pub mod told;

pub use collect::{Options, Scope, collect};
pub use judge::judge;
pub use names::{NamesWish, Signed, listing};
pub use parts::{Progress, is_part_of_an_examination};
pub use sessions::{Sessions, Target};
pub use told::ToldWish;

use jiff::Timestamp;
use mxray_model::{Evidence, Question, Report, Seen};
use std::time::Instant;

/// Looks at this machine and reports.
pub fn examine(question: Question, options: &Options, progress: Progress<'_>) -> Report {
    let started = Timestamp::now();
    let clock = Instant::now();
    let evidence = collect(options, progress);
    let took_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    judge(question, evidence, started.to_string(), took_ms)
}

/// Reports on services that somebody connected to: the moment and the time that it took are taken here.
pub fn report_on(question: Question, look: impl FnOnce() -> Evidence) -> Report {
    let started = Timestamp::now();
    let clock = Instant::now();
    let mut evidence = look();
    // Certificates end at a date: without one nobody can say which are near it.
    let now_s = started.as_second();
    if !matches!(evidence.clock.now_s, Seen::Value(_)) {
        evidence.clock.now_s = Seen::Value(now_s);
        evidence.clock.today = Seen::Value(mxray_host::clock::date(now_s));
    }
    let took_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    judge(question, evidence, started.to_string(), took_ms)
}
