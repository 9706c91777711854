//! TLS-RPT's record (RFC 8460 section 3).

use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::dmarc::target;
use crate::spf::{askable, text};
use crate::tags::{Tags, column, squeezed};
use mxray_model::evidence::published::TlsReportRecord;
use mxray_model::{Blind, Seen, text::untrusted};

const VERSION: &str = "TLSRPTv1";
const TARGETS_MAX: usize = 50;

/// Finds a domain's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsReports {
    pub domain: String,
}

impl Evaluator for TlsReports {
    /// Absent: none, so that nobody reports.
    type Outcome = Seen<TlsReportRecord>;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Self::Outcome, Pending> {
        let Some(name) = askable(&format!("_smtp._tls.{}", self.domain)) else {
            let text = untrusted(self.domain.as_bytes());
            return Ok(Seen::Unknown(Blind::NotUnderstood { what: "a domain's name".to_owned(), text }));
        };
        Ok(match ask.dns(&name, Kind::Txt)?.found() {
            Seen::Value(records) => {
                let texts: Vec<Vec<u8>> = records.into_iter().filter_map(text).collect();
                let own: Vec<&Vec<u8>> = texts.iter().filter(|text| is_record(text)).collect();
                match (own.as_slice(), texts.as_slice()) {
                    ([record], _) => Seen::Value(read(record)),
                    // Section 3: several are none. One that is meant and misses the version is worth its problems.
                    // What a wildcard answers with is not.
                    ([], [other]) if is_meant(other) => Seen::Value(read(other)),
                    ([], _) => Seen::Absent,
                    ([first, ..], _) => {
                        let mut record = read(first);
                        record.problems.push((1, format!("{} records; senders take none of them", own.len())));
                        Seen::Value(record)
                    }
                }
            }
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind),
        })
    }
}

fn is_record(text: &[u8]) -> bool {
    text.strip_prefix(b"v=TLSRPTv1").is_some_and(|rest| matches!(rest.first(), Some(b';' | b' ')))
}

fn is_meant(text: &[u8]) -> bool {
    let small = text.to_ascii_lowercase();
    small.windows(3).any(|three| three == b"tls") || small.windows(4).any(|four| four == b"rua=")
}

/// Reads a record.
pub fn read(text: &[u8]) -> TlsReportRecord {
    let shown = untrusted(text);
    let whole = String::from_utf8_lossy(text);
    let (tags, errors) = Tags::read(&whole);
    let mut problems: Vec<(u32, String)> =
        errors.into_iter().take(8).map(|error| (error.column(), error.why)).collect();
    if !is_record(text) || tags.0.first().is_none_or(|tag| tag.name != "v" || tag.value != VERSION) {
        problems.push((1, format!("it does not begin with v={VERSION};")));
    }
    let mut targets = Vec::new();
    match tags.tag("rua") {
        None => problems.push((1, "there is no rua=".to_owned())),
        Some(tag) => {
            for piece in tag.value.split(',').take(TARGETS_MAX) {
                let uri = squeezed(piece);
                let https = uri.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
                match target(&uri) {
                    Ok(Some(_)) => targets.push(untrusted(uri.as_bytes())),
                    Ok(None) if https && uri.len() > 8 => targets.push(untrusted(uri.as_bytes())),
                    Ok(None) => {
                        problems.push((column(tag.value_at), "reports go to mailto: or https: alone".to_owned()));
                    }
                    Err(why) => problems.push((column(tag.value_at), why.to_owned())),
                }
            }
        }
    }
    TlsReportRecord { text: shown, targets, problems }
}
