//! Reports about TLS: RFC 8460, and what senders make of it.
//!
//! Microsoft leaves `sending-mta-ip` out, Postfix's reporter the domain, some write `mx-host` as a list: what is there is taken.
//! What must not live here: whether a failure is ours.

use serde_json::{Map, Value};

/// Policies of one report, and failures of one policy.
const MANY: usize = 10_000;
const NONE: &str = "JSON, but no TLS report";
/// Longest value that is kept.
const VALUE_BYTES_MAX: usize = 4096;

/// A report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsReport {
    pub organization: String,
    pub contact: String,
    pub report_id: String,
    /// RFC 3339, as they stand there.
    pub begin: String,
    pub end: String,
    pub policies: Vec<TlsPolicy>,
}

/// Sessions under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// `sts`, `tlsa` or `no-policy-found`.
    pub kind: String,
    pub strings: Vec<String>,
    pub domain: String,
    pub mx_hosts: Vec<String>,
    pub successes: u64,
    pub failures: u64,
    pub details: Vec<TlsFailure>,
}

/// Sessions that failed alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFailure {
    /// `certificate-expired`, … (RFC 8460 section 4.3).
    pub kind: String,
    pub sending_ip: String,
    pub mx_host: String,
    pub mx_helo: String,
    pub receiving_ip: String,
    pub sessions: u64,
    pub reason: String,
    pub more: String,
}

/// Reads a report, or a list of them, as some tools save what came in.
///
/// # Errors
/// It is no JSON, or nothing of this form stands in it.
pub fn read(bytes: &[u8]) -> Result<Vec<TlsReport>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value: Value = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(bytes)),
    }
    .map_err(|error| format!("not JSON: {error}"))?;
    match &value {
        Value::Object(report) => Ok(vec![one(report)?]),
        Value::Array(list) if !list.is_empty() => {
            list.iter().take(MANY).map(|value| one(value.as_object().ok_or(NONE)?)).collect()
        }
        _ => Err(NONE.to_owned()),
    }
}

fn one(report: &Map<String, Value>) -> Result<TlsReport, String> {
    let policies = list(report, "policies");
    if policies.is_empty() && !report.contains_key("organization-name") && !report.contains_key("report-id") {
        return Err(NONE.to_owned());
    }
    let dates = report.get("date-range").and_then(Value::as_object);
    let date = |key: &str| dates.map(|dates| text(dates, key)).unwrap_or_default();
    Ok(TlsReport {
        organization: text(report, "organization-name"),
        contact: text(report, "contact-info"),
        report_id: text(report, "report-id"),
        begin: date("start-datetime"),
        end: date("end-datetime"),
        policies: policies.iter().filter_map(|value| value.as_object()).take(MANY).map(policy).collect(),
    })
}

fn policy(entry: &Map<String, Value>) -> TlsPolicy {
    let empty = Map::new();
    let policy = entry.get("policy").and_then(Value::as_object).unwrap_or(&empty);
    let summary = entry.get("summary").and_then(Value::as_object).unwrap_or(&empty);
    TlsPolicy {
        kind: text(policy, "policy-type").to_ascii_lowercase(),
        strings: texts(policy, "policy-string"),
        domain: text(policy, "policy-domain").to_ascii_lowercase(),
        mx_hosts: texts(policy, "mx-host"),
        successes: number(summary, "total-successful-session-count"),
        failures: number(summary, "total-failure-session-count"),
        details: list(entry, "failure-details")
            .iter()
            .filter_map(|value| value.as_object())
            .take(MANY)
            .map(failure)
            .collect(),
    }
}

fn failure(entry: &Map<String, Value>) -> TlsFailure {
    TlsFailure {
        kind: text(entry, "result-type").to_ascii_lowercase(),
        sending_ip: text(entry, "sending-mta-ip"),
        mx_host: texts(entry, "receiving-mx-hostname").into_iter().next().unwrap_or_default(),
        mx_helo: text(entry, "receiving-mx-helo"),
        receiving_ip: text(entry, "receiving-ip"),
        sessions: number(entry, "failed-session-count").max(u64::from(!entry.contains_key("failed-session-count"))),
        reason: text(entry, "failure-reason-code"),
        more: text(entry, "additional-information"),
    }
}

/// Some write one where the standard has several.
fn list<'v>(object: &'v Map<String, Value>, key: &str) -> Vec<&'v Value> {
    match object.get(key) {
        Some(Value::Array(values)) => values.iter().collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![one],
    }
}

fn texts(object: &Map<String, Value>, key: &str) -> Vec<String> {
    list(object, key).into_iter().filter_map(Value::as_str).take(MANY).map(kept).collect()
}

fn text(object: &Map<String, Value>, key: &str) -> String {
    match object.get(key) {
        Some(Value::String(text)) => kept(text),
        Some(number @ Value::Number(_)) => number.to_string(),
        _ => String::new(),
    }
}

fn kept(text: &str) -> String {
    let text = text.trim();
    let end = (0..=text.len().min(VALUE_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

fn number(object: &Map<String, Value>, key: &str) -> u64 {
    let number: u64 = match object.get(key) {
        Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
        Some(value) => value.as_u64().unwrap_or(0),
        None => 0,
    };
    // More than there are sessions is no number.
    if number > super::COUNT_MAX { 0 } else { number }
}
