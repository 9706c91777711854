//! What receivers report about a domain: DMARC aggregates (RFC 7489 appendix C, RFC 9990), failures (RFC 6591), TLS (RFC 8460).
//!
//! Start reading at [`read`]: bytes of any of the forms that they come in, bare, packed, in mail, in mail in mail. One that is
//! damaged stands among the troubles and stops none of the others. What must not live here: files, and what the figures mean.

mod aggregate;
mod open;
mod tls;

pub use aggregate::{Aggregate, AuthResult, Disposition, Published, ROWS_MAX, Reason, Row, Scope, Source};
pub use open::{DOCUMENT_BYTES_MAX, DOCUMENTS_MAX, TOTAL_BYTES_MAX};
pub use tls::{TlsFailure, TlsPolicy, TlsReport};

use crate::bounce::{self, Kind, Reading};
use crate::causes::Rules;
use open::Form;

/// Messages of one row, sessions of one failure: more than all receivers have in a day is no count.
pub const COUNT_MAX: u64 = 1_000_000_000_000;

/// One report.
#[derive(Debug, Clone)]
pub enum Report {
    Dmarc(Box<Aggregate>),
    Tls(Box<TlsReport>),
    /// A message that failed authentication, or a complaint: what stands in a mail of its own.
    Feedback(Box<Reading>),
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Where in the file, as the names of attachments and archive members.
    pub what: String,
    pub why: String,
}

/// What stands in a file.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub reports: Vec<Report>,
    pub troubles: Vec<Trouble>,
}

/// Reads a file or a mail.
pub fn read(bytes: &[u8], rules: &Rules) -> Found {
    let mut found = Found::default();
    let mut opened = open::Opened::default();
    opened.open(bytes, "", 0);
    for document in opened.documents {
        let read = match document.form {
            Form::Xml => aggregate::read(&document.bytes).map(|report| vec![Report::Dmarc(Box::new(report))]),
            Form::Json => tls::read(&document.bytes)
                .map(|reports| reports.into_iter().map(|report| Report::Tls(Box::new(report))).collect()),
            Form::Feedback => feedback(&document.bytes, rules).map(|report| vec![report]),
        };
        match read {
            Ok(reports) => found.reports.extend(reports),
            Err(why) => found.troubles.push(Trouble { what: document.name, why }),
        }
    }
    found.troubles.extend(opened.troubles.into_iter().map(|(what, why)| Trouble { what, why }));
    found
}

fn feedback(bytes: &[u8], rules: &Rules) -> Result<Report, String> {
    let reading = bounce::read(bytes, rules);
    match reading.kind {
        Kind::Complaint | Kind::NotSpam | Kind::AuthFailure => Ok(Report::Feedback(Box::new(reading))),
        _ => Err("a mail without a report".to_owned()),
    }
}

#[cfg(test)]
mod tests;
