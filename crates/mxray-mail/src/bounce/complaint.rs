//! Complaints and other feedback: RFC 5965, RFC 6591 (failed authentication), and what providers sent before and still send.
//!
//! What must not live here: how many complaints are too many (rules).

use serde::Serialize;

use crate::causes::{Cause, Finality};
use crate::read::{Fields, Part, Parts};

use super::forms::addresses_in;
use super::{Kind, RECIPIENTS_MAX, Reading, Recipient, SaidBy, dsn, message_id};

/// Messages for which one report may stand; what says more is taken for one.
const INCIDENTS_MAX: u64 = 1_000_000;

/// What a report of feedback says.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Complaint {
    /// `abuse`, `fraud`, `virus`, `not-spam`, `auth-failure`, `other`, … in lower case.
    pub feedback_type: String,
    pub user_agent: Option<String>,
    pub source_ip: Option<String>,
    pub reported_domain: Option<String>,
    pub original_mail_from: Option<String>,
    pub arrival_date: Option<String>,
    /// How many messages it stands for (RFC 5965 section 3.2).
    pub incidents: u64,
    pub auth_failure: Option<AuthFailure>,
}

/// What failed (RFC 6591 section 3.1, RFC 7489 section 7.3).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AuthFailure {
    pub failure: Option<String>,
    pub authentication_results: Option<String>,
    pub delivery_result: Option<String>,
    pub dkim_domain: Option<String>,
    pub dkim_selector: Option<String>,
    pub spf_dns: Option<String>,
    pub identity_alignment: Option<String>,
}

/// Reads a complaint, if it is one.
pub fn read(parts: &Parts<'_>, reading: &mut Reading) -> bool {
    let report = parts.own().find(|part| part.kind == "message/feedback-report");
    if let Some(part) = report {
        let body = part.body();
        // Empty lines between fields are damage that some providers send.
        let joined = without_empty_lines(&body);
        take(Fields::new(&joined), "arf", reading);
        recovered(parts, reading);
        return true;
    }
    in_text(parts, reading) || hotmail(parts, reading)
}

fn take(fields: Fields<'_>, form: &'static str, reading: &mut Reading) {
    let feedback_type = fields.filled("feedback-type").unwrap_or_else(|| "abuse".to_owned()).to_ascii_lowercase();
    reading.form = form;
    reading.kind = match feedback_type.as_str() {
        "not-spam" => Kind::NotSpam,
        "auth-failure" => Kind::AuthFailure,
        _ => Kind::Complaint,
    };
    let failure = AuthFailure {
        failure: fields.filled("auth-failure"),
        authentication_results: fields.filled("authentication-results"),
        delivery_result: fields.filled("delivery-result"),
        dkim_domain: fields.filled("dkim-domain"),
        dkim_selector: fields.filled("dkim-selector"),
        spf_dns: fields.filled("spf-dns"),
        identity_alignment: fields.filled("identity-alignment"),
    };
    reading.complaint = Some(Complaint {
        user_agent: fields.filled("user-agent"),
        source_ip: fields.filled("source-ip").or_else(|| fields.filled("source")).map(|value| first_word(&value)),
        reported_domain: fields.filled("reported-domain"),
        original_mail_from: fields.filled("original-mail-from").map(|value| dsn::address(&value)),
        arrival_date: fields.filled("arrival-date").or_else(|| fields.filled("received-date")),
        incidents: fields
            .filled("incidents")
            .and_then(|number| number.parse().ok())
            .filter(|number| (1..=INCIDENTS_MAX).contains(number))
            .unwrap_or(1),
        auth_failure: (feedback_type == "auth-failure").then_some(failure),
        feedback_type,
    });
    reading.reporting_mta = fields.filled("reporting-mta").map(|value| dsn::address(&value));
    // Where the report hides the address, the message within may still show it.
    let named: Vec<String> = ["original-rcpt-to", "removal-recipient"]
        .iter()
        .flat_map(|name| fields.all(name).map(|value| dsn::address(&value)).collect::<Vec<_>>())
        .filter(|address| address.contains('@'))
        .collect();
    let named = if named.is_empty() { reading.original.to.clone() } else { named };
    recipients(named, reading);
}

/// What the fields leave out, as those of Microsoft do: the message within tells who complained, subject or text from where it came.
fn recovered(parts: &Parts<'_>, reading: &mut Reading) {
    let text = parts.own().find(|part| part.kind == "text/plain").map(Part::text).unwrap_or_default();
    if let Some(complaint) = reading.complaint.as_mut()
        && complaint.source_ip.is_none()
    {
        let subject = reading.subject.as_deref().unwrap_or_default();
        complaint.source_ip = address_in(subject).or_else(|| address_in(&text));
    }
    let marked =
        parts.parts.iter().find_map(|part| part.fields.get("x-hmxmroriginalrecipient").filter(|_| part.foreign));
    if let Some(marked) = marked.filter(|_| reading.recipients.is_empty()) {
        recipients(addresses_in(&marked), reading);
    }
}

/// The first address of the network in a text.
fn address_in(text: &str) -> Option<String> {
    let bare =
        |word: &str| word.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != ':').trim_end_matches(':').to_owned();
    text.split_whitespace().map(bare).find(|word| word.len() > 3 && word.parse::<std::net::IpAddr>().is_ok())
}

fn recipients(addresses: Vec<String>, reading: &mut Reading) {
    for address in addresses.into_iter().take(RECIPIENTS_MAX) {
        let mut recipient = Recipient::new(address);
        (recipient.cause, recipient.finality) = (Cause::Feedback, Finality::NoFailure);
        if let Some(agent) = reading.complaint.as_ref().and_then(|complaint| complaint.user_agent.clone()) {
            recipient.said_by = SaidBy::Reporter(agent);
        }
        reading.recipients.push(recipient);
    }
}

/// A report whose fields stand in the text: gateways that cannot write parts.
fn in_text(parts: &Parts<'_>, reading: &mut Reading) -> bool {
    let root = parts.parts.first().map(|part| part.content_type.to_ascii_lowercase()).unwrap_or_default();
    let first = parts.own().find(|part| part.kind.starts_with("text/plain"));
    let Some(part) = first else { return false };
    let body = part.body();
    let has_type = memchr::memmem::find(&body, b"\nFeedback-Type:").is_some() || body.starts_with(b"Feedback-Type:");
    let is_report = root.contains("feedback-report");
    if !has_type && !is_report {
        return false;
    }
    take(Fields::new(&without_empty_lines(&body)), "arf-text", reading);
    true
}

/// Hotmail's complaints from before RFC 5965: the message alone, marked with who had it.
fn hotmail(parts: &Parts<'_>, reading: &mut Reading) -> bool {
    let marked = |part: &&Part<'_>| part.foreign && part.fields.has("x-hmxmroriginalrecipient");
    let Some(part) = parts.parts.iter().find(marked) else { return false };
    reading.kind = Kind::Complaint;
    reading.form = "hotmail";
    let subject = reading.subject.clone().unwrap_or_default();
    reading.complaint = Some(Complaint {
        feedback_type: "abuse".to_owned(),
        user_agent: Some("Hotmail".to_owned()),
        source_ip: address_in(&subject),
        incidents: 1,
        ..Complaint::default()
    });
    reading.original.message_id = part.fields.filled("message-id").map(|id| message_id(&id));
    let marked = part.fields.get("x-hmxmroriginalrecipient").map(|value| addresses_in(&value)).unwrap_or_default();
    recipients(marked, reading);
    true
}

fn without_empty_lines(body: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        joined.extend_from_slice(line);
    }
    joined
}

fn first_word(value: &str) -> String {
    value.split_whitespace().next().unwrap_or_default().trim_matches(['[', ']']).to_owned()
}
