//! A finding: what is wrong, why we say so, and what exactly to do about it.

use crate::Subject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How much it hurts. The order is the order of reports: the most damaging is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A fact.
    Info,
    /// Worth knowing.
    Notice,
    /// Risk or partial failure.
    Warning,
    /// Conformant peers will fail.
    Error,
    /// Mail is lost or refused, or the host is being abused, now.
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }

    /// A fact or a notice is never a cause, and explains nothing away.
    pub fn can_be_cause(self) -> bool {
        self >= Severity::Warning
    }
}

/// Who can end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mover {
    Us,
    Recipient,
    Receiver,
    /// The provider, or somebody on the path.
    Network,
    /// It ends by itself: wait.
    Nobody,
}

impl Mover {
    pub fn as_str(self) -> &'static str {
        match self {
            Mover::Us => "us",
            Mover::Recipient => "recipient",
            Mover::Receiver => "receiver",
            Mover::Network => "network",
            Mover::Nobody => "nobody",
        }
    }
}

/// One fact that a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reason {
    pub text: String,
    /// Where it was seen: `sock_diag`, `/etc/postfix/main.cf:12`, `postconf`.
    pub source: String,
    /// JSON pointer into the report's `evidence`.
    pub evidence: String,
}

/// One DNS record to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

/// A string of a TXT record holds so many bytes (RFC 1035 section 3.3.14).
const STRING_BYTES_MAX: usize = 255;

impl Record {
    /// As a zone file has it: the name with its final dot, text in quotes, and long text in several strings (RFC 1035
    /// section 5.1).
    pub fn zone_line(&self) -> String {
        let name = if self.name.ends_with('.') { self.name.clone() } else { format!("{}.", self.name) };
        let value = match self.kind.as_str() {
            "TXT" if !self.value.starts_with('"') => quoted_txt(&self.value),
            _ => self.value.clone(),
        };
        format!("{name} IN {} {value}", self.kind)
    }

    /// The value as forms of DNS providers ask for it: text without quotes and in one piece.
    pub fn form_value(&self) -> String {
        match self.kind.as_str() {
            "TXT" if self.value.starts_with('"') => unquoted(&self.value),
            _ => self.value.clone(),
        }
    }
}

/// A text as the strings of a TXT record in a zone file: quoted, none longer than 255 bytes.
pub fn quoted_txt(text: &str) -> String {
    let mut strings = vec![String::new()];
    let mut bytes = 0;
    for c in text.chars() {
        if bytes + c.len_utf8() > STRING_BYTES_MAX {
            strings.push(String::new());
            bytes = 0;
        }
        bytes += c.len_utf8();
        if let Some(last) = strings.last_mut() {
            if matches!(c, '"' | '\\') {
                last.push('\\');
            }
            last.push(c);
        }
    }
    strings.iter().map(|string| format!("\"{string}\"")).collect::<Vec<_>>().join(" ")
}

/// What stands between quotes, joined without anything between (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2).
fn unquoted(text: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                out.push(c);
                escaped = false;
            }
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ if inside => out.push(c),
            _ => {}
        }
    }
    out
}

/// One configuration line as it should read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConfigLine {
    pub file: String,
    pub line: Option<u32>,
    pub text: String,
}

/// One step that ends it. Steps stand in the order in which they are to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fix {
    pub text: String,
    /// Who does it: `admin of this host`, `provider`, …
    pub who: String,
    #[serde(default)]
    pub commands: Vec<String>,
    #[serde(default)]
    pub records: Vec<Record>,
    #[serde(default)]
    pub config: Vec<ConfigLine>,
    #[serde(default)]
    pub undo: String,
    #[serde(default)]
    pub verify: String,
}

impl Fix {
    /// A step for whoever administers this host.
    pub fn here(text: impl Into<String>) -> Self {
        Fix {
            text: text.into(),
            who: "admin of this host".to_owned(),
            commands: Vec::new(),
            records: Vec::new(),
            config: Vec::new(),
            undo: String::new(),
            verify: String::new(),
        }
    }

    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// `name` without, names in `value` with the final dot, as in a zone file.
    #[must_use]
    pub fn record(mut self, name: impl Into<String>, kind: &str, value: impl Into<String>) -> Self {
        self.records.push(Record { name: name.into(), kind: kind.to_owned(), value: value.into() });
        self
    }

    #[must_use]
    pub fn config(mut self, file: impl Into<String>, line: Option<u32>, text: impl Into<String>) -> Self {
        self.config.push(ConfigLine { file: file.into(), line, text: text.into() });
        self
    }

    #[must_use]
    pub fn undo(mut self, undo: impl Into<String>) -> Self {
        self.undo = undo.into();
        self
    }

    #[must_use]
    pub fn verify(mut self, verify: impl Into<String>) -> Self {
        self.verify = verify.into();
        self
    }
}

/// One thing that is wrong (or worth knowing) with one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// Hash of code and subject: the same from run to run.
    pub id: String,
    pub code: String,
    pub name: String,
    pub severity: Severity,
    /// 0 to 1: how sure we are that this is so.
    pub confidence: f32,
    pub subject: Subject,
    pub summary: String,
    pub whose_move: Mover,
    /// The rule's machine-readable facts; the keys stand on the rule's page.
    pub data: BTreeMap<String, Value>,
    pub because: Vec<Reason>,
    /// Ids of the findings that are consequences of this one, or that its fix ends as well.
    pub explains: Vec<String>,
    pub fix: Vec<Fix>,
    pub references: Vec<String>,
    /// What else it touches; consequences are looked for here. Not part of the report: rules say it anew.
    #[serde(skip)]
    pub scope: BTreeSet<Subject>,
}

impl Finding {
    /// A finding with its identity; the rule adds what it saw and what to do.
    pub fn new(code: &str, name: &str, severity: Severity, subject: Subject, summary: impl Into<String>) -> Self {
        let scope = BTreeSet::from([subject.clone()]);
        Finding {
            id: identity(code, &subject),
            code: code.to_owned(),
            name: name.to_owned(),
            severity,
            confidence: 1.0,
            subject,
            summary: summary.into(),
            whose_move: Mover::Us,
            data: BTreeMap::new(),
            because: Vec::new(),
            explains: Vec::new(),
            fix: Vec::new(),
            references: Vec::new(),
            scope,
        }
    }

    #[must_use]
    pub fn because(mut self, text: impl Into<String>, source: impl Into<String>, evidence: impl Into<String>) -> Self {
        self.because.push(Reason { text: text.into(), source: source.into(), evidence: evidence.into() });
        self
    }

    #[must_use]
    pub fn confidence(mut self, confidence: f32) -> Self {
        self.confidence = confidence;
        self
    }

    #[must_use]
    pub fn data(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix.push(fix);
        self
    }

    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.references.push(reference.into());
        self
    }

    /// Says what else this finding touches.
    #[must_use]
    pub fn touches(mut self, subject: Subject) -> Self {
        self.scope.insert(subject);
        self
    }
}

/// FNV-1a over code and subject, as 16 hexadecimal digits: short, stable, and needs no library.
fn identity(code: &str, subject: &Subject) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in [code, subject.kind.as_str(), &subject.value] {
        for byte in part.bytes().chain([0]) {
            hash ^= u64::from(byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_for_a_zone_and_for_a_form() {
        let record = |kind: &str, value: &str| Record {
            name: "example.org".to_owned(),
            kind: kind.to_owned(),
            value: value.to_owned(),
        };
        let both = |record: &Record| (record.zone_line(), record.form_value());
        let spf = "v=spf1 mx -all";
        let quoted = "example.org. IN TXT \"v=spf1 mx -all\"";
        assert_eq!(both(&record("TXT", spf)), (quoted.to_owned(), spf.to_owned()));
        assert_eq!(both(&record("TXT", "\"v=spf1 \" \"mx -all\"")).1, spf);
        assert_eq!(record("MX", "10 mx.example.org.").zone_line(), "example.org. IN MX 10 mx.example.org.");
        let key = "k".repeat(300);
        let long = record("TXT", &key).zone_line();
        assert_eq!(long, format!("example.org. IN TXT \"{}\" \"{}\"", "k".repeat(255), "k".repeat(45)));
        let back = record("TXT", long.split_once("TXT ").unwrap().1);
        assert_eq!(back.form_value(), key);
        let odd = "a\"b\\c";
        assert_eq!(record("TXT", odd).zone_line(), "example.org. IN TXT \"a\\\"b\\\\c\"");
        assert_eq!(record("TXT", "\"a\\\"b\\\\c\"").form_value(), odd);
    }

    #[test]
    fn identity_depends_on_code_and_subject_alone() {
        let a = Finding::new("SOCK101", "listener-missing", Severity::Critical, Subject::service("smtp"), "one");
        let b = Finding::new("SOCK101", "listener-missing", Severity::Warning, Subject::service("smtp"), "two");
        let c = Finding::new("SOCK101", "listener-missing", Severity::Critical, Subject::host(), "one");
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, c.id);
    }
}
