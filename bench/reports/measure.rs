//! How fast bounces and DMARC rows are read: `measure-reports bounces DIRECTORY`, `dsns NUMBER` (made here) or `rows NUMBER`. For
//! measurements: what is read is in memory before it begins, and one core is used. `write-dsns` and `write-rows` print what
//! would be read, for others to read: an mbox, a report.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Write as _, stdout};

use mxray_mail::bounce;
use mxray_mail::causes::Rules;
use mxray_mail::report::{self, Report};

/// As long as this at least, so that the start does not count.
const SECONDS_MIN: f64 = 2.0;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().collect();
    let rules = Rules::built_in();
    let (what, read, seconds) = match &words[1..] {
        [what, directory] if what == "bounces" => {
            let mut mails = Vec::new();
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                if path.extension().is_some_and(|end| end == "eml") {
                    mails.push(std::fs::read(path)?);
                }
            }
            let (times, seconds) = timed(|| mails.iter().map(|mail| bounce::read(mail, &rules).recipients.len()).sum());
            ("bounces", times * mails.len(), seconds)
        }
        [what, number] if what == "rows" => {
            let number: usize = number.parse()?;
            let text = xml(number)?;
            let (times, seconds) = timed(|| match report::read(text.as_bytes(), &rules).reports.first() {
                Some(Report::Dmarc(report)) => report.rows.len(),
                _ => 0,
            });
            ("rows", times * number, seconds)
        }
        [what, number] if what == "dsns" => {
            let mails: Vec<String> = (0..number.parse()?).map(dsn).collect();
            let (times, seconds) =
                timed(|| mails.iter().map(|mail| bounce::read(mail.as_bytes(), &rules).recipients.len()).sum());
            ("bounces", times * mails.len(), seconds)
        }
        [what, number] if what == "write-dsns" => {
            let write = |number| write!(stdout(), "From MAILER-DAEMON Thu Jan  1 00:00:00 2026\n{}\n", dsn(number));
            return Ok((0..number.parse()?).try_for_each(write)?);
        }
        [what, number] if what == "write-rows" => return Ok(stdout().write_all(xml(number.parse()?)?.as_bytes())?),
        _ => return Err("usage: measure-reports bounces DIRECTORY | [write-]dsns NUMBER | [write-]rows NUMBER".into()),
    };
    writeln!(
        stdout(),
        "{{\"{what}\": {read}, \"seconds\": {seconds:.3}, \"per_second\": {:.0}}}",
        read as f64 / seconds
    )?;
    Ok(())
}

/// How often, and how long the processor took for it. On a machine with other work the clock tells of that work.
fn timed(mut once: impl FnMut() -> usize) -> (usize, f64) {
    let start = processor();
    let mut times = 0;
    loop {
        std::hint::black_box(once());
        times += 1;
        let seconds = processor() - start;
        if seconds >= SECONDS_MIN {
            return (times, seconds);
        }
    }
}

/// Seconds that this thread has run (user and system; Linux, Documentation/scheduler/sched-stats.rst).
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// A report like those of large receivers: many addresses, few domains.
fn xml(rows: usize) -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n  <report_metadata>\n    <org_name>receiver.example</org_name>\n    <report_id>1</report_id>\n    <date_range>\n      <begin>1700000000</begin>\n      <end>1700086399</end>\n    </date_range>\n  </report_metadata>\n  <policy_published>\n    <domain>example.org</domain>\n    <p>none</p>\n  </policy_published>\n",
    );
    for row in 0..rows {
        let (a, b) = (row / 250 % 250, row % 250);
        write!(
            text,
            "  <record>\n    <row>\n      <source_ip>10.{}.{a}.{b}</source_ip>\n      <count>{}</count>\n      <policy_evaluated>\n        <disposition>none</disposition>\n        <dkim>pass</dkim>\n        <spf>fail</spf>\n      </policy_evaluated>\n    </row>\n    <identifiers>\n      <header_from>example.org</header_from>\n    </identifiers>\n    <auth_results>\n      <dkim>\n        <domain>example.org</domain>\n        <result>pass</result>\n        <selector>s1</selector>\n      </dkim>\n      <spf>\n        <domain>bounce{}.example.net</domain>\n        <result>fail</result>\n      </spf>\n    </auth_results>\n  </record>\n",
            row / 62_500,
            row % 9 + 1,
            row % 40
        )?;
    }
    text.push_str("</feedback>\n");
    Ok(text)
}

/// What Postfix sends back (RFC 3464): each with recipient, receiver and text of its own.
fn dsn(number: usize) -> String {
    const SAID: [(&str, &str); 6] = [
        ("5.1.1", "550 5.1.1 <TO>: Recipient address rejected: User unknown in virtual mailbox table"),
        ("5.7.1", "554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org"),
        ("5.2.2", "552-5.2.2 The recipient's inbox is out of storage space (TO)"),
        ("5.7.26", "550-5.7.26 This mail has been blocked because the sender is unauthenticated; SPF = did not pass"),
        ("4.4.1", "connect to HOST[192.0.2.25]:25: Connection timed out"),
        ("5.3.4", "552 5.3.4 Message size exceeds fixed limit"),
    ];
    let (status, said) = SAID[number % SAID.len()];
    let (to, host) =
        (format!("user{number}@domain{}.example", number % 500), format!("mx{}.receiver.example", number % 90));
    let said = said.replace("TO", &to).replace("HOST", &host);
    format!(
        "Return-Path: <>\nDate: Thu, 1 Jan 2026 00:00:{:02} +0000 (UTC)\nFrom: MAILER-DAEMON@mx.example.org (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\nTo: bob@example.org\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"{number:08X}.1/mx.example.org\"\nMessage-Id: <{number}.n@mx.example.org>\n\nThis is a MIME-encapsulated message.\n\n--{number:08X}.1/mx.example.org\nContent-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\nThis is the mail system at host mx.example.org.\n\nI'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients. It's attached below.\n\n<{to}>: host {host}[192.0.2.25] said: {said}\n    (in reply to RCPT TO command)\n\n--{number:08X}.1/mx.example.org\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\nX-Postfix-Queue-ID: {number:08X}\nX-Postfix-Sender: rfc822; bob@example.org\nArrival-Date: Thu,  1 Jan 2026 00:00:00 +0000 (UTC)\n\nFinal-Recipient: rfc822; {to}\nOriginal-Recipient: rfc822;{to}\nAction: failed\nStatus: {status}\nRemote-MTA: dns; {host}\nDiagnostic-Code: smtp; {said}\n\n--{number:08X}.1/mx.example.org\nContent-Description: Undelivered Message\nContent-Type: message/rfc822\n\nReturn-Path: <bob@example.org>\nReceived: by mx.example.org (Postfix, from userid 1000) id {number:08X}; Thu,  1 Jan 2026 00:00:00 +0000 (UTC)\nFrom: Bob <bob@example.org>\nTo: {to}\nSubject: Invoice {number}\nMessage-Id: <{number}@example.org>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\nPlease find it attached.\n\n--{number:08X}.1/mx.example.org--\n",
        number % 60
    )
}
