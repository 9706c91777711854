//! Targets for what others report: bounces, complaints, reports of DMARC and TLS, and what they are packed in.

use bolero::check;
use mxray_mail::bounce;
use mxray_mail::causes::Rules;
use mxray_mail::read::{Fields, Parts, parameter, words};
use mxray_mail::report;
use std::sync::LazyLock;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::built_in);

const DSN: &str = "From: MAILER-DAEMON@mx.example\nX-Failed-Recipients: r@example.net\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\n<r@example.net>: host in.example.net said: 550 5.1.1 User unknown\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; r@example.net\nAction: failed\nStatus: 5.1.1 (no)\nDiagnostic-Code: smtp; 550 5.1.1 x\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@example.org>\n\n--b--\n";
const ARF: &str = "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: <r@example.net>\nIncidents: 3\nSource-IP: 192.0.2.1\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: r@example.com\nFrom: a@example.org\n\n--b--\n";
const XML: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>x</org_name><report_id>1</report_id><date_range><begin>1</begin><end>2</end></date_range></report_metadata><policy_published><domain>example.org</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.org</header_from></identifiers><auth_results><spf><domain>example.org</domain><result>pass</result></spf></auth_results></record></feedback>";
const JSON: &str = "{\"organization-name\":\"x\",\"date-range\":{},\"report-id\":\"1\",\"policies\":[{\"policy\":{\"policy-type\":\"sts\",\"mx-host\":[\"a\"]},\"summary\":{\"total-failure-session-count\":1},\"failure-details\":[{\"result-type\":\"x\"}]}]}";

/// Each group of three bytes changes one: a place and a value.
fn changed(text: &str, input: &[u8]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for change in input.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        bytes[place] = change[2];
    }
    bytes
}

fn read(bytes: &[u8]) {
    let reading = bounce::read(bytes, &RULES);
    assert!(reading.recipients.len() <= bounce::RECIPIENTS_MAX);
    assert!(reading.recipients.iter().all(|recipient| recipient.reply.len() <= bounce::SAID_BYTES_MAX));
}

#[test]
fn delivery_status() {
    check!().for_each(|input: &[u8]| {
        read(&changed(DSN, input));
        read(input);
    });
}

#[test]
fn feedback() {
    check!().for_each(|input: &[u8]| read(&changed(ARF, input)));
}

#[test]
fn dmarc_and_tls_reports() {
    check!().for_each(|input: &[u8]| {
        for text in [XML, JSON] {
            let found = report::read(&changed(text, input), &RULES);
            assert!(!found.reports.is_empty() || !found.troubles.is_empty());
        }
    });
}

#[test]
fn packed_reports() {
    // An XML document in a stored block of gzip, so that mutations reach the header, the block and the document.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    let length = u16::try_from(XML.len()).unwrap_or(u16::MAX);
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(XML.as_bytes());
    check!().for_each(|input: &[u8]| {
        let mut bytes = packed.clone();
        for change in input.chunks_exact(3) {
            let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
            bytes[place] = change[2];
        }
        report::read(&bytes, &RULES);
        report::read(&[b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", input].concat(), &RULES);
        report::read(&[b"PK\x03\x04", input].concat(), &RULES);
    });
}

#[test]
fn parts_and_fields() {
    check!().for_each(|input: &[u8]| {
        let parts = Parts::of(input);
        for part in &parts.parts {
            part.text();
            part.file_name();
        }
        let text = String::from_utf8_lossy(input);
        parameter(&text, "boundary");
        words(&text);
        Fields::new(input).each().count();
    });
}
