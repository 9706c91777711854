//! Sums for a program (`mxray/reports/1`), and for a person: findings first, then who sends in our name.

use mxray_model::evidence::reports::{
    CheckedDomain, DmarcReports, OwnBy, ReportChange, ReportChanged, ReportedSource, Reports, TlsReports,
};
use mxray_model::{Seen, Severity};
use mxray_render::{Options, Piece, Screen, Style};
use mxray_rules::Judged;
use serde_json::json;
use std::io::{self, Write};

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/reports/1";
/// Sources and changes that a person is shown without -v.
const SHOWN: usize = 15;

pub fn json(reports: &Reports, judged: &Judged, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(
        &mut *out,
        &json!({
            "schema": SCHEMA,
            "read": reports.read,
            "dmarc": reports.dmarc,
            "tls": reports.tls,
            "complaints": reports.complaints,
            "findings": judged.findings,
            "healthy": judged.healthy,
            "unseen": judged.unseen,
        }),
    )?;
    out.write_all(b"\n")
}

pub fn text(reports: &Reports, judged: &Judged, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    for finding in &judged.findings {
        let style = if finding.severity >= Severity::Error { Style::Alarm } else { Style::Caution };
        let head = format!("{} {}", finding.severity.as_str(), finding.code);
        screen.prose("", &[Piece::new(style, &head), Piece::new(Style::Bold, &finding.summary)])?;
        for fix in &finding.fix {
            screen.prose("  fix: ", &[Piece::plain(&fix.text)])?;
        }
    }
    if !judged.findings.is_empty() {
        screen.blank()?;
    }
    for (domain, sum) in &reports.dmarc {
        dmarc(domain, sum, options, &mut screen)?;
        screen.blank()?;
    }
    for (domain, sum) in &reports.tls {
        tls(domain, sum, options, &mut screen)?;
        screen.blank()?;
    }
    for (domain, sum) in &reports.complaints {
        let of = match &sum.messages {
            Seen::Value(messages) => format!(" of {messages} messages"),
            Seen::Absent | Seen::Unknown(_) => String::new(),
        };
        let failed = if sum.auth_failures > 0 {
            format!(", {} single reports of failed authentication", sum.auth_failures)
        } else {
            String::new()
        };
        let text = format!("{} complaints{of}, {} taken out of junk{failed}", sum.complaints, sum.not_spam);
        let name = if domain.is_empty() { "a domain that is not named:".to_owned() } else { format!("{domain}:") };
        screen.prose("", &[Piece::new(Style::Bold, &name), Piece::plain(&text)])?;
        let reporters: Vec<String> = sum.reporters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        screen.prose("  from       ", &[Piece::new(Style::Faint, &reporters.join(", "))])?;
        screen.blank()?;
    }
    read(reports, judged, options, &mut screen)
}

fn read(reports: &Reports, judged: &Judged, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let read = &reports.read;
    let text = format!(
        "{} files: {} DMARC reports with {} rows, {} TLS reports, {} complaints and single reports; {} came twice, {} not read.",
        read.files, read.dmarc, read.rows, read.tls, read.feedback, read.repeated, read.unread_count
    );
    screen.prose("", &[Piece::new(Style::Faint, &text)])?;
    let most = if options.verbose { usize::MAX } else { SHOWN };
    for unseen in judged.unseen.iter().take(most) {
        let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
        let text = format!("{}{needs}", unseen.why);
        screen
            .prose("  unseen     ", &[Piece::plain(&format!("{}:", unseen.what)), Piece::new(Style::Faint, &text)])?;
    }
    if judged.unseen.len() > most {
        let text = format!("{} more (-v)", judged.unseen.len() - most);
        screen.prose("  unseen     ", &[Piece::new(Style::Faint, &text)])?;
    }
    Ok(())
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "nothing".to_owned();
    }
    format!("{part} of {whole} ({:.1} %)", part as f64 * 100.0 / whole as f64)
}

fn dmarc(domain: &str, sum: &DmarcReports, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let policy = sum.policy.value().map_or("not told", String::as_str);
    let reports: u64 = sum.reporters.values().sum();
    let text = format!(
        "p={policy}; {} in {} of {}, {} to {}",
        number(sum.messages, "message"),
        number(reports, "report"),
        number(sum.reporters.len() as u64, "receiver"),
        day(&sum.first),
        day(&sum.last)
    );
    let of = if domain.is_empty() { "a domain that is not named" } else { domain };
    screen.prose("", &[Piece::new(Style::Bold, &format!("{of}:")), Piece::plain(&text)])?;
    let text =
        format!("{}; quarantined {}, rejected {}", share(sum.aligned, sum.messages), sum.quarantined, sum.rejected);
    screen.prose("  aligned    ", &[Piece::plain(&text)])?;
    let most = if options.verbose { usize::MAX } else { SHOWN };
    let mut sources: Vec<(&String, &ReportedSource)> = sum.sources.iter().collect();
    sources.sort_by_key(|(name, source)| (source.own.is_none(), std::cmp::Reverse(source.messages), name.as_str()));
    for (name, source) in sources.iter().take(most) {
        one(name, source, screen)?;
    }
    if sources.len() > most || sum.others > 0 {
        let more = sources.len().saturating_sub(most);
        let rest: u64 = sources.iter().skip(most).map(|(_, source)| source.messages).sum();
        let text = format!("{} more with {} (-v)", number(more as u64, "source"), number(rest + sum.others, "message"));
        screen.prose("  others     ", &[Piece::new(Style::Faint, &text)])?;
    }
    for change in sum.changes.iter().take(most) {
        screen.prose("  changed    ", &[Piece::plain(&changed(change))])?;
    }
    Ok(())
}

fn one(name: &str, source: &ReportedSource, screen: &mut Screen<'_>) -> io::Result<()> {
    let open = source.messages.saturating_sub(source.aligned).saturating_sub(source.forwarded);
    let (label, style) = match (&source.own, open) {
        (Some(_), 0) => ("  own        ", Style::Calm),
        (Some(_), _) => ("  own        ", Style::Alarm),
        (None, 0) if source.aligned > 0 => ("  aligned    ", Style::Calm),
        (None, 0) => ("  passed on  ", Style::Faint),
        (None, _) => ("  foreign    ", Style::Caution),
    };
    let passed_on = if source.forwarded > 0 { format!(", {} passed on", source.forwarded) } else { String::new() };
    let own = match &source.own {
        Some(OwnBy::Declared { prefix }) => format!(" (own: {prefix})"),
        Some(OwnBy::Spf { domain }) => format!(" (own: SPF of {domain})"),
        None => String::new(),
    };
    let text = format!(
        "{}, {} aligned (DKIM {}, SPF {}){passed_on}{own}",
        number(source.messages, "message"),
        source.aligned,
        source.dkim_aligned,
        source.spf_aligned
    );
    screen.prose(label, &[Piece::new(style, name), Piece::plain(&text)])?;
    for kind in source.unaligned.iter().take(if source.own.is_some() { 3 } else { 1 }) {
        let dkim = checks(&kind.dkim, "no signature");
        let spf = checks(&kind.spf, "not told");
        let text = format!("{} from {}: DKIM {dkim}; SPF {spf}", kind.messages, kind.header_from);
        screen.prose("             ", &[Piece::new(Style::Faint, &text)])?;
    }
    Ok(())
}

fn checks(checks: &[CheckedDomain], none: &str) -> String {
    if checks.is_empty() {
        return none.to_owned();
    }
    let one = |check: &CheckedDomain| match check.domain.as_str() {
        "" => check.result.clone(),
        domain => format!("{} for {domain}", check.result),
    };
    checks.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn changed(change: &ReportChange) -> String {
    let ReportChange { reporter, source, what, messages } = change;
    let messages = number(*messages, "message");
    match what {
        ReportChanged::NewSource => format!("{source} is new ({messages}, {reporter})"),
        ReportChanged::SourceGone => format!("{source} sends no more ({messages} before, {reporter})"),
        ReportChanged::AlignmentLost => format!("{source} does not align any more ({messages}, {reporter})"),
        ReportChanged::AlignmentGained => format!("{source} aligns now ({messages}, {reporter})"),
        ReportChanged::Policy { from, to } => format!("the policy was p={from} and is p={to} ({reporter})"),
    }
}

fn tls(domain: &str, sum: &TlsReports, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let name = if domain.is_empty() {
        "TLS towards a domain that is not named:".to_owned()
    } else {
        format!("TLS towards {domain}:")
    };
    let total = sum.successes + sum.failures;
    let over = if sum.over { "; over, by the newest report of each sender" } else { "" };
    let text = format!(
        "{} sessions failed{over}; {}, {} to {}",
        share(sum.failures, total),
        number(sum.reporters.len() as u64, "sender"),
        day(&sum.first),
        day(&sum.last)
    );
    screen.prose("", &[Piece::new(Style::Bold, &name), Piece::plain(&text)])?;
    for (kind, sessions) in &sum.policies {
        let text = format!("{kind}: {} well, {} failed", sessions.successes, sessions.failures);
        screen.prose("  policy     ", &[Piece::plain(&text)])?;
    }
    let most = if options.verbose { usize::MAX } else { SHOWN };
    for failed in sum.failed.iter().take(most) {
        let mx = if failed.mx.is_empty() { "a host that is not named" } else { &failed.mx };
        let text = format!(
            "at {mx}: {}, told by {}, last {}",
            number(failed.sessions, "session"),
            failed.reporter,
            day(&failed.last)
        );
        screen.prose("  failed     ", &[Piece::new(Style::Alarm, &failed.kind), Piece::plain(&text)])?;
        if !failed.reason.is_empty() {
            screen.prose("             ", &[Piece::new(Style::Faint, &failed.reason)])?;
        }
    }
    Ok(())
}

fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The day of an RFC 3339 stamp.
fn day(stamp: &str) -> &str {
    stamp.split('T').next().unwrap_or(stamp)
}
