//! `mxray reports`: what receivers report about our domains, added up and judged.
//!
//! `show.rs` prints. What must not live here: the reading (`mxray-mail`), the sums (`mxray-engine`), the rules.

mod show;

use crate::cli::{ListFormat, ListFormatArgs};
use crate::config::parse::{self, FailOn};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::mailbox;
use crate::output::Output;
use mxray_engine::reports::{Own, Sum};
use mxray_mail::causes::Rules;
use mxray_mail::report;
use mxray_model::evidence::Reports;
use mxray_model::{Evidence, Prefix, Seen, Severity, Unseen};
use mxray_rules::examine_by;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Rules that need nothing but reports.
const ASKED: [&str; 3] = ["DMARC114", "STS111", "LOG111"];

const EXAMPLES: &str = "\
Examples:
  mxray reports ~/Maildir/.Reports
      DMARC and TLS reports and complaints, as they came in by mail
  mxray reports --own 192.0.2.0/28 --own 2001:db8::/64 reports/*.xml.gz
      who sends in our name, and which of our own servers do not align
  mxray reports google.com\\!example.org\\!1700000000\\!1700086399.zip
  mxray reports --json ~/Maildir/.Reports | jq '.dmarc[].sources | keys'

Exit codes: 1 a finding reaches --fail-on; 2 no report could be read.
";

/// Read DMARC reports, failure reports, TLS reports and complaints: who sends in our name, what fails and why, what changed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportsArgs {
    /// Reports (XML, JSON, gzip, zip), mails with them, mailbox files, maildirs and other directories; `-` reads standard input
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// Our own servers send from here; may be repeated. Addresses that the domain's SPF record passes are known besides
    #[arg(long, value_name = "IP|PREFIX")]
    pub own: Vec<Prefix>,

    /// How many messages a domain sent in the time of the reports, for the rate of complaints; may be repeated
    #[arg(long, value_name = "DOMAIN=NUMBER", value_parser = sent)]
    pub sent: Vec<(String, u64)>,

    /// Exit with 1 when a finding is at least this severe: critical, error, warning, notice, info, or never
    /// [default: error]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on)]
    pub fail_on: Option<FailOn>,

    #[command(flatten)]
    pub output: ListFormatArgs,
}

fn sent(text: &str) -> Result<(String, u64), String> {
    let parts =
        text.split_once('=').and_then(|(domain, number)| Some((domain.to_ascii_lowercase(), number.parse().ok()?)));
    parts.filter(|(domain, _)| !domain.is_empty()).ok_or_else(|| "it is DOMAIN=NUMBER".to_owned())
}

/// Reads, judges and prints.
pub fn run(
    args: &ReportsArgs,
    format: ListFormat,
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let rules = Rules::built_in();
    let own = Own { prefixes: args.own.clone(), sent: args.sent.iter().cloned().collect::<BTreeMap<_, _>>() };
    let mut sum = Sum::new(own);
    let went = mailbox::each(&args.paths, |file, bytes| {
        sum.add(file, report::read(bytes, &rules));
        Ok(())
    })?;
    for (what, why) in went.unread {
        sum.unread(&what, &why);
    }
    let reports = sum.finish();
    let answered = reports.read.dmarc + reports.read.tls + reports.read.feedback > 0;
    let mut evidence = Evidence { reports: Seen::Value(reports), ..Evidence::default() };
    let mut judged = examine_by(&evidence, |rule| ASKED.contains(&rule.code));
    let Seen::Value(reports) = std::mem::take(&mut evidence.reports) else { return Ok(exit::UNANSWERED) };
    judged.unseen.extend(unread(&reports));
    let options = output.options();
    output.emit(|out| match format {
        ListFormat::Json => show::json(&reports, &judged, out),
        ListFormat::Text => show::text(&reports, &judged, &options, out),
    })?;
    let level = match args.fail_on {
        Some(FailOn(level)) => level,
        None => environment.fail_on().map_err(Failure::Usage)?.unwrap_or(Some(Severity::Error)),
    };
    let worst = judged.findings.iter().map(|finding| finding.severity).max();
    Ok(match level {
        Some(level) if worst >= Some(level) => exit::FINDING,
        _ if !answered => exit::UNANSWERED,
        _ => exit::OK,
    })
}

/// Files that were given and not read: what they would have told is unknown.
fn unread(reports: &Reports) -> Vec<Unseen> {
    let read = &reports.read;
    let row = |what: String, why: String| Unseen {
        what,
        why,
        needs: "a report of DMARC (XML), of TLS (JSON) or of a complaint, bare, packed or within a mail".to_owned(),
    };
    let mut rows: Vec<Unseen> = read.unread.iter().map(|(name, why)| row(name.clone(), why.clone())).collect();
    let more = read.unread_count.saturating_sub(rows.len() as u64);
    if more > 0 {
        rows.push(row(format!("{more} more files"), "not read".to_owned()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_messages_are_read() {
        assert_eq!(sent("Example.org=12"), Ok(("example.org".to_owned(), 12)));
        for wrong in ["", "example.org", "=1", "example.org=many"] {
            assert!(sent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_rule_that_is_asked_exists() {
        assert!(ASKED.iter().all(|code| mxray_rules::rule(code).is_some()));
    }
}
