//! Scenario files: one text file, one conversation, with what to expect of it. An operator can send one; tests play them; a
//! hostile server can be made from one.
//!
//! ```text
//! # STARTTLS is announced last, in lower case
//! plan: depth=tls
//! S: 220 mail.example ESMTP
//! C: EHLO probe.example
//! S: 250-mail.example
//! S: 250 starttls
//! C: STARTTLS
//! S: 220 go ahead
//! tls: ok
//! ...
//! expect: /ending = "finished"
//! anomalies: bare_lf
//! ```
//!
//! `S:` and `C:` lines get CRLF; `s:` and `c:` are the bytes as written, in the escapes of `Raw` (`\r`, `\n`, `\xNN`).
//! `S+: N TEXT` is the text N times, `endless: TEXT` until the client goes. What else the server can do: `close`, `reset`,
//! `silence`, each a line of its own; `wait: MS` lets time go by; `tls: fails` refuses with an alert, `tls: garbage`, `tls:
//! hangs`, `tls: closes` and `tls: resets` fail in other ways. `findings:` names the codes that an examination has to find.

use mxray_model::session::Raw;
use std::fmt;

/// A bound for what `S+:` makes, so that a small file cannot fill the memory.
const REPEATED_BYTES_MAX: usize = 64 << 20;

/// A day: more is a slip of the pen.
const WAIT_MS_MAX: u64 = 86_400_000;

/// One step of a conversation, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The server writes these bytes.
    Server(Vec<u8>),
    /// The client writes exactly these bytes.
    Client(Vec<u8>),
    /// A TLS handshake succeeds, or fails with an alert.
    Tls(bool),
    /// The server does something else than a handshake.
    TlsFault(TlsFault),
    /// The server writes these bytes again and again until the client goes.
    Endless(Vec<u8>),
    /// The server closes in order.
    Close,
    /// The server resets the connection.
    Reset,
    /// The server says nothing more until the client gives up waiting.
    Silence,
    /// So many milliseconds go by. A client that does not wait so long gives up.
    Wait(u64),
}

/// What a server can do instead of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// Bytes that are no TLS.
    Garbage,
    /// Nothing comes.
    Hangs,
    Closes,
    Resets,
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scenario {
    /// `name=value` words of `plan:` lines, for the protocol to understand.
    pub plan: Vec<(String, String)>,
    pub steps: Vec<Step>,
    /// JSON pointer and JSON value.
    pub expect: Vec<(String, String)>,
    /// `anomalies:` names them all, in any order; `None` where the line is missing.
    pub anomalies: Option<Vec<String>>,
    /// Codes of the catalogue.
    pub findings: Vec<String>,
}

/// A line that is none of a scenario's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    pub line: usize,
    pub why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLine {}

impl Scenario {
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut scenario = Scenario::default();
        for (number, line) in (1..).zip(text.lines()) {
            scenario.line(line).map_err(|why| BadLine { line: number, why })?;
        }
        Ok(scenario)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        match line.trim() {
            "" => return Ok(()),
            text if text.starts_with('#') => return Ok(()),
            "close" => return self.step(Step::Close),
            "reset" => return self.step(Step::Reset),
            "silence" => return self.step(Step::Silence),
            _ => {}
        }
        let (head, rest) = line.split_once(':').ok_or("neither a step nor an expectation")?;
        let text = rest.strip_prefix(' ').unwrap_or(rest);
        match head.trim() {
            "S" => self.step(Step::Server(with_ending(text)?)),
            "C" => self.step(Step::Client(with_ending(text)?)),
            "s" => self.step(Step::Server(raw(text)?)),
            "c" => self.step(Step::Client(raw(text)?)),
            "S+" => self.step(Step::Server(repeated(text)?)),
            "wait" => {
                let text = text.trim();
                let wait = text.parse().ok().filter(|wait| *wait <= WAIT_MS_MAX);
                self.step(Step::Wait(wait.ok_or_else(|| format!("no time in milliseconds: {text}"))?))
            }
            "tls" => match text.trim() {
                "ok" => self.step(Step::Tls(true)),
                "fails" => self.step(Step::Tls(false)),
                "garbage" => self.step(Step::TlsFault(TlsFault::Garbage)),
                "hangs" => self.step(Step::TlsFault(TlsFault::Hangs)),
                "closes" => self.step(Step::TlsFault(TlsFault::Closes)),
                "resets" => self.step(Step::TlsFault(TlsFault::Resets)),
                other => Err(format!("tls is ok, fails, garbage, hangs, closes or resets, not {other}")),
            },
            "endless" => match raw(text)? {
                piece if piece.is_empty() => Err("endless: TEXT".to_owned()),
                piece => self.step(Step::Endless(piece)),
            },
            "findings" => {
                self.findings.extend(text.split_whitespace().map(str::to_owned));
                Ok(())
            }
            "plan" => text.split_whitespace().try_for_each(|word| {
                let (name, value) = word.split_once('=').ok_or_else(|| format!("no value: {word}"))?;
                self.plan.push((name.to_owned(), value.to_owned()));
                Ok(())
            }),
            "expect" => {
                let (path, value) = text.split_once(" = ").ok_or("expect: /pointer = JSON")?;
                self.expect.push((path.trim().to_owned(), value.trim().to_owned()));
                Ok(())
            }
            "anomalies" => {
                self.anomalies = Some(text.split_whitespace().map(str::to_owned).collect());
                Ok(())
            }
            other => Err(format!("unknown: {other}:")),
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "the last word of every arm")]
    fn step(&mut self, step: Step) -> Result<(), String> {
        match (self.steps.last_mut(), step) {
            (Some(Step::Server(said)), Step::Server(more)) => said.extend(more),
            (Some(Step::Client(said)), Step::Client(more)) => said.extend(more),
            (_, step) => self.steps.push(step),
        }
        Ok(())
    }
}

fn raw(text: &str) -> Result<Vec<u8>, String> {
    text.parse::<Raw>().map(|raw| raw.0).map_err(|error| error.to_string())
}

fn with_ending(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = raw(text)?;
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

fn repeated(text: &str) -> Result<Vec<u8>, String> {
    let (count, piece) = text.split_once(' ').ok_or("S+: N TEXT")?;
    let count: usize = count.parse().map_err(|_| format!("no number: {count}"))?;
    let piece = raw(piece)?;
    if piece.len().saturating_mul(count) > REPEATED_BYTES_MAX {
        return Err(format!("more than {REPEATED_BYTES_MAX} bytes"));
    }
    Ok(piece.repeat(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let text = "# x\nplan: depth=tls name=a\nS: 220 a\ns: 22\nC: EHLO a\ntls: ok\nS+: 3 ab\\r\nwait: 20\nclose\n\
                    expect: /ending = \"finished\"\nanomalies: bare_lf nul\nfindings: SMTP101\n";
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(
            scenario.steps,
            [
                Step::Server(b"220 a\r\n22".to_vec()),
                Step::Client(b"EHLO a\r\n".to_vec()),
                Step::Tls(true),
                Step::Server(b"ab\rab\rab\r".to_vec()),
                Step::Wait(20),
                Step::Close
            ]
        );
        assert_eq!(scenario.plan.len(), 2);
        assert_eq!(scenario.expect, [("/ending".to_owned(), "\"finished\"".to_owned())]);
        assert_eq!(scenario.anomalies.unwrap(), ["bare_lf", "nul"]);
        assert_eq!(scenario.findings, ["SMTP101"]);
    }

    #[test]
    fn a_bad_line_is_told_with_its_number() {
        for bad in [
            "x",
            "S? a",
            "tls: maybe",
            "endless:",
            "plan: depth",
            "expect: /a 1",
            "S: \\q",
            "S+: x y",
            "S+: 999999999999 y",
            "wait: x",
        ] {
            assert_eq!(Scenario::parse(&format!("\n{bad}\n")).unwrap_err().line, 2, "{bad}");
        }
    }
}
