//! Reports as people and programs read them: text, JSON, Markdown, HTML, Nagios.
//!
//! One file per format; each is a pure function of a [`Report`]. What must not live here: a decision about what is
//! wrong (`mxray-rules`), any look at the machine, the clock, the terminal or the environment (the binary decides on
//! colour and width and says so in [`Options`]). Everything that came from outside is escaped for the medium, once
//! more, even though collectors have done so already. Start at [`render`], then `text.rs`.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod capabilities;
pub mod codes;
mod document;
mod dump;
mod endpoint;
mod html;
mod json;
mod markdown;
mod nagios;
mod outline;
mod page;
mod probe;
mod safe;
mod screen;
mod text;
mod unseen;
mod well;

pub use document::{Bar, Block, Document, Section, Table, render_document};
pub use endpoint::{conduct_text, endpoint, is_silent, transcript};
pub use json::{write_json, write_json_line};
pub use nagios::nagios_status;
pub use page::render_page;
pub use safe::{columns_of, printable};
pub use screen::{Piece, Screen, Style};
pub use text::findings;

use mxray_model::Report;
use std::io;

/// The forms in which a report is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Markdown,
    Html,
    Nagios,
}

/// How to render. What does not apply to a format is ignored by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// ANSI colours, in text only. Colour never carries a meaning that the words do not.
    pub colour: bool,
    /// Width that prose is wrapped to. Commands, paths and configuration lines are never broken.
    pub columns: u16,
    /// Everything: rivals that were cleared, every consequence, all evidence.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { colour: false, columns: 80, verbose: false }
    }
}

/// Writes the report in one format.
///
/// # Errors
/// Only what `out` itself returns.
pub fn render(report: &Report, format: Format, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    match format {
        Format::Text if is_probe(report) => probe::render(report, options, out),
        Format::Text => text::render(report, options, out),
        Format::Json => json::render(report, options, out),
        Format::Markdown => markdown::render(report, options, out),
        Format::Html => html::render(report, options, out),
        Format::Nagios => nagios::render(report, options, out),
    }
}

/// A probe is about endpoints, and shows them.
pub(crate) fn is_probe(report: &Report) -> bool {
    report.question.command == "probe"
}
