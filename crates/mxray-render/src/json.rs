//! The report as JSON: exactly the value, serialised. The contract is `mxray-model`'s; nothing is added here.

use crate::Options;
use mxray_model::Report;
use mxray_model::text::is_steering;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::io;

pub(crate) fn render(report: &Report, _options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    write_json(report, out)
}

/// Any value as indented JSON with a line feed at its end.
///
/// Characters that steer a terminal are written as `\uXXXX`, which is the same JSON: people do look at it in one.
///
/// # Errors
/// What `out` returns, and `InvalidData` for a value that JSON cannot hold.
pub fn write_json(value: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    let formatter = Calm { pretty: PrettyFormatter::new() };
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, formatter);
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Any value as JSON on one line, for a stream of such lines; escaped in the same way.
///
/// # Errors
/// What `out` returns, and `InvalidData` for a value that JSON cannot hold.
pub fn write_json_line(value: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    // Into memory first: a line is written whole, and serde writes token by token.
    let mut line = serde_json::to_string(value).map_err(io::Error::from)?;
    if may_steer(&line) && line.contains(is_steering) {
        line = line.chars().fold(String::with_capacity(line.len() + 16), |mut safe, c| {
            if is_steering(c) {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
            } else {
                safe.push(c);
            }
            safe
        });
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

/// Almost every line is plain ASCII, which is told by its bytes.
fn may_steer(text: &str) -> bool {
    text.bytes().any(|byte| !matches!(byte, b' '..=b'~'))
}

/// Serde's indented form, with steering characters escaped. Those below U+0020 serde escapes itself.
struct Calm {
    pretty: PrettyFormatter<'static>,
}

impl Formatter for Calm {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !may_steer(fragment) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| is_steering(*c)) {
            writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steering_characters_are_escaped_and_mean_the_same() {
        let text = "a\u{9b}31m\u{202e}b\u{1b}[0m\u{7f} größe \"q\" \\";
        let mut out = Vec::new();
        write_json(&text, &mut out).unwrap();
        let written = String::from_utf8(out).unwrap();
        assert!(!written.trim_end().contains(is_steering), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
