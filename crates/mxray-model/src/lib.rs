//! The values that everything else speaks in: evidence, findings, reports.
//!
//! Start at [`Seen`], then [`Evidence`], then [`Report`]. What lives here is data and its serialised form, which is
//! the public JSON contract. What must not: any I/O, any clock, any judgement (that is `mxray-rules`), any sentence
//! for a renderer beyond what a finding itself says.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

pub mod binding;
pub mod evidence;
mod finding;
pub mod nearest;
mod prefix;
mod report;
mod reverse;
mod seen;
pub mod session;
pub mod special;
mod subject;
pub mod text;

pub use evidence::Evidence;
pub use finding::{ConfigLine, Finding, Fix, Mover, Reason, Record, Severity, quoted_txt};
pub use prefix::{BadPrefix, Prefix};
pub use report::{Question, REPORT_SCHEMA, Report, Row, RuledOut, Tool, Unseen, Verdict};
pub use reverse::reverse_name;
pub use seen::{Blind, Seen};
pub use subject::{Subject, SubjectKind};
