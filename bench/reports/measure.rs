//! How fast bounces and DMARC rows are read: `measure-reports bounces DIRECTORY` or `measure-reports rows NUMBER`. For
//! measurements: what is read is in memory before the clock starts, and one core is used.

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
        _ => return Err("usage: measure-reports bounces DIRECTORY | rows NUMBER".into()),
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
