//! What comes back: bounces, and the reports of receivers.

use super::{Scratch, mxray, text};
use serde_json::Value;

const BOUNCE: &str = "\
From: MAILER-DAEMON@mx.example.net
To: news@example.org
Subject: Undelivered Mail Returned to Sender
Date: Mon, 2 Nov 2026 08:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"

--b
Content-Type: text/plain

Sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; gone@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.com
Diagnostic-Code: smtp; 550 5.1.1 <gone@example.com>: Recipient address rejected: User unknown

--b
Content-Type: message/rfc822

From: news@example.org
To: gone@example.com
Message-ID: <first@example.org>
Subject: News

--b--
";

const REPORT: &str = "<?xml version=\"1.0\"?>
<feedback><report_metadata><org_name>receiver.example</org_name><report_id>7</report_id>
<date_range><begin>1793404800</begin><end>1793491199</end></date_range></report_metadata>
<policy_published><domain>example.org</domain><p>reject</p></policy_published>
<record><row><source_ip>192.0.2.25</source_ip><count>12</count>
<policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>example.org</header_from></identifiers>
<auth_results><spf><domain>example.org</domain><result>fail</result></spf></auth_results></record></feedback>
";

#[test]
fn a_bounce_says_who_why_and_whether_for_good() {
    let scratch = Scratch::new("bounce");
    let file = scratch.file("bounce.eml", BOUNCE);
    let other = scratch.file("letter.eml", "From: a@example.org\nTo: b@example.org\nSubject: hello\n\nHello.\n");
    let output = mxray(&["bounce", "--json", &file.to_string_lossy(), &other.to_string_lossy()]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(told["schema"], "mxray/bounce/1");
    let rows: Vec<&Value> = told["rows"].as_array().unwrap().iter().collect();
    let failed = rows.iter().find(|row| row["recipient"] == "gone@example.com").unwrap_or_else(|| panic!("{told:#}"));
    assert_eq!((&failed["status"], &failed["cause"]), (&"5.1.1".into(), &"rcpt-unknown".into()), "{failed:#}");
    let shown = mxray(&["bounce", &file.to_string_lossy()]).output().unwrap();
    assert!(text(&shown.stdout).contains("gone@example.com"), "{}", text(&shown.stdout));
}

#[test]
fn a_report_says_who_sends_in_our_name_and_one_bad_file_stops_nothing() {
    let scratch = Scratch::new("reports");
    scratch.file("in/report.xml", REPORT);
    scratch.file("in/broken.xml", "<feedback><oops");
    let directory = scratch.0.join("in");
    let words = ["reports", "--json", "--own", "192.0.2.25", &directory.to_string_lossy()];
    let output = mxray(&words).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(told["schema"], "mxray/reports/1");
    assert!(told.to_string().contains("192.0.2.25"), "{told:#}");
    let codes: Vec<&str> =
        told["findings"].as_array().unwrap().iter().filter_map(|finding| finding["code"].as_str()).collect();
    assert!(codes.contains(&"DMARC114"), "{told:#}");
    assert!(told["read"]["unread"].to_string().contains("broken.xml"), "{told:#}");
    assert_eq!(output.status.code(), Some(1));
}
