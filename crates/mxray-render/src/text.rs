//! The report for a terminal: read at three in the morning, over SSH, by somebody who wants to know what to type.
//!
//! Order: the verdict, each cause with its fix, what else was noticed, what could not be looked at, what is well.
//! Wrapping and colour are `screen.rs`'s; here stands only what is said.

use crate::outline::{Consequence, Outline};
use crate::screen::{Piece, Screen, Style};
use crate::well::Well;
use crate::{Options, dump, unseen};
use mxray_model::{Finding, Fix, Mover, Report, Severity, Verdict};
use std::io;

/// Consequences shown under one cause; `-v` shows all. A dead host may explain thousands.
const CONSEQUENCES_SHOWN: usize = 12;
/// Notices and facts shown; `-v` shows all.
const NOTICED_SHOWN: usize = 20;
/// Deeper consequences are indented no further, or nothing is left of the line.
const DEPTH_SHOWN: usize = 8;
/// Where the text of a fix step begins, and its commands.
const STEP_INDENT: usize = 8;
const COMMAND_INDENT: usize = 12;

pub(crate) fn render(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    written(report, options, options.verbose, out)
}

/// For whoever has shown the evidence already.
pub(crate) fn without_evidence(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    written(report, options, false, out)
}

fn written(report: &Report, options: &Options, all: bool, out: &mut dyn io::Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    let mut outline = Outline::new(report);
    verdict(&mut screen, report)?;
    for (index, cause) in report.causes.iter().enumerate() {
        screen.blank()?;
        headline(&mut screen, &format!("{}. ", index + 1), cause)?;
        body(&mut screen, cause)?;
        let below = outline.under(cause);
        for (heading, list) in Outline::headed(cause, &below) {
            consequences(&mut screen, heading, &list, options)?;
        }
        fixes(&mut screen, cause)?;
        move_and_references(&mut screen, cause)?;
    }
    noticed(&mut screen, &outline.rest(), options)?;
    not_looked_at(&mut screen, report, options)?;
    healthy(&mut screen, report, options)?;
    if options.verbose {
        ruled_out(&mut screen, report)?;
    }
    if all {
        evidence(&mut screen, report)?;
    }
    closing(&mut screen, report, options)
}

fn verdict(screen: &mut Screen<'_>, report: &Report) -> io::Result<()> {
    let style = match report.verdict {
        Verdict::Healthy => Style::Calm,
        Verdict::Degraded | Verdict::Unknown => Style::Caution,
        Verdict::Broken => Style::Alarm,
    };
    let word = format!("{}:", report.verdict.as_str().to_uppercase());
    screen.prose("", &[Piece::new(style, &word), Piece::new(Style::Bold, &report.summary)])
}

/// Findings one after the other, each with its reasons and its steps: for what is no report.
pub fn findings(screen: &mut Screen<'_>, all: &[Finding]) -> io::Result<()> {
    for (number, finding) in (1..).zip(all) {
        screen.blank()?;
        headline(screen, &format!("{number}. "), finding)?;
        body(screen, finding)?;
        fixes(screen, finding)?;
        move_and_references(screen, finding)?;
    }
    Ok(())
}

/// `1. CRITICAL SOCK101 listener-missing, service smtp/inet`, and the summary below it.
fn headline(screen: &mut Screen<'_>, first: &str, finding: &Finding) -> io::Result<()> {
    let severity = finding.severity.as_str().to_uppercase();
    let name = format!("{},", finding.name);
    let subject = finding.subject.to_string();
    let sure = if finding.confidence < 1.0 {
        format!("(confidence {:.0} %)", f64::from(finding.confidence) * 100.0)
    } else {
        String::new()
    };
    screen.prose(
        first,
        &[
            Piece::new(severity_style(finding.severity), &severity),
            Piece::new(Style::Bold, &finding.code),
            Piece::plain(&name),
            Piece::plain(&subject),
            Piece::plain(&sure),
        ],
    )?;
    let indent = " ".repeat(first.len());
    screen.prose(&indent, &[Piece::new(Style::Bold, &finding.summary)])
}

fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Critical | Severity::Error => Style::Alarm,
        Severity::Warning => Style::Caution,
        Severity::Notice | Severity::Info => Style::Plain,
    }
}

fn body(screen: &mut Screen<'_>, finding: &Finding) -> io::Result<()> {
    if finding.because.is_empty() {
        return Ok(());
    }
    screen.prose("   ", &[Piece::plain("Because")])?;
    for reason in &finding.because {
        let source = if reason.source.is_empty() { String::new() } else { format!("[{}]", reason.source) };
        screen.prose("     - ", &[Piece::plain(&reason.text), Piece::new(Style::Faint, &source)])?;
    }
    Ok(())
}

fn consequences(
    screen: &mut Screen<'_>,
    heading: &str,
    below: &[&Consequence<'_>],
    options: &Options,
) -> io::Result<()> {
    let shown = if options.verbose { below.len() } else { CONSEQUENCES_SHOWN };
    screen.prose("   ", &[Piece::plain(heading)])?;
    for consequence in below.iter().take(shown) {
        let first = format!("{:indent$}- ", "", indent = 5 + 2 * consequence.depth.min(DEPTH_SHOWN));
        let again = if consequence.again { "(see above)" } else { "" };
        let pieces =
            [Piece::plain(&consequence.finding.code), Piece::plain(&consequence.finding.summary), Piece::plain(again)];
        screen.prose(&first, &pieces)?;
    }
    more(screen, "     ", below.len(), shown)
}

fn more(screen: &mut Screen<'_>, indent: &str, all: usize, shown: usize) -> io::Result<()> {
    if all <= shown {
        return Ok(());
    }
    screen.prose(indent, &[Piece::plain(&format!("and {} more (-v shows all)", all - shown))])
}

fn fixes(screen: &mut Screen<'_>, finding: &Finding) -> io::Result<()> {
    if finding.fix.is_empty() {
        return Ok(());
    }
    screen.blank()?;
    screen.prose("   ", &[Piece::new(Style::Bold, "Fix")])?;
    for (index, step) in finding.fix.iter().enumerate() {
        fix_step(screen, index + 1, step)?;
    }
    Ok(())
}

fn fix_step(screen: &mut Screen<'_>, number: usize, step: &Fix) -> io::Result<()> {
    let number = format!("{number}.");
    let first = format!("     {number:<3}");
    let who = if is_us(&step.who) { String::new() } else { format!("({})", step.who) };
    screen.prose(&first, &[Piece::plain(&step.text), Piece::plain(&who)])?;
    for line in &step.config {
        let place = match line.line {
            Some(number) => format!("in {}:{number}", line.file),
            None => format!("in {}", line.file),
        };
        screen.verbatim(STEP_INDENT, Style::Plain, &place)?;
        // A master.cf entry with its options is several lines, and must be copied as such.
        for text in line.text.lines() {
            screen.verbatim(COMMAND_INDENT, Style::Code, text)?;
        }
    }
    for record in &step.records {
        screen.verbatim(COMMAND_INDENT, Style::Code, &record.zone_line())?;
        let form = format!("(name {}, type {}, value {})", record.name, record.kind, record.form_value());
        screen.verbatim(COMMAND_INDENT, Style::Faint, &form)?;
    }
    for command in &step.commands {
        screen.verbatim(COMMAND_INDENT, Style::Code, command)?;
    }
    labelled(screen, "undo:", &step.undo)?;
    labelled(screen, "verify:", &step.verify)
}

/// A sentence is wrapped; a command stands on a line of its own, to be copied.
fn labelled(screen: &mut Screen<'_>, label: &str, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let first = format!("{:STEP_INDENT$}{label} ", "");
    if is_sentence(text) {
        return screen.prose(&first, &[Piece::plain(text)]);
    }
    screen.prose(first.trim_end(), &[])?;
    screen.verbatim(COMMAND_INDENT, Style::Code, text)
}

/// Rules write commands bare and sentences as sentences.
pub(crate) fn is_sentence(text: &str) -> bool {
    text.ends_with('.') || text.starts_with(char::is_uppercase)
}

pub(crate) fn is_us(who: &str) -> bool {
    who.is_empty() || who == "admin of this host"
}

fn move_and_references(screen: &mut Screen<'_>, finding: &Finding) -> io::Result<()> {
    if let Some(sentence) = whose_move(finding.whose_move) {
        screen.prose("   ", &[Piece::new(Style::Bold, "Whose move:"), Piece::plain(sentence)])?;
    }
    if finding.references.is_empty() {
        return Ok(());
    }
    screen.prose("   See ", &[Piece::new(Style::Faint, &finding.references.join(", "))])
}

/// What to tell somebody who cannot end it alone; nothing where it is ours.
pub(crate) fn whose_move(mover: Mover) -> Option<&'static str> {
    match mover {
        Mover::Us => None,
        Mover::Recipient => Some("the recipient's. Nothing on this host ends it."),
        Mover::Receiver => Some("the receiving server's operator. Nothing on this host ends it alone."),
        Mover::Network => Some("the provider's, or somebody's on the path. Send them this report."),
        Mover::Nobody => Some("nobody's. It ends by itself: wait."),
    }
}

fn noticed(screen: &mut Screen<'_>, rest: &[&Finding], options: &Options) -> io::Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    // What is a warning or worse is never folded away, whatever ranking made of it.
    let grave = rest.iter().filter(|finding| finding.severity.can_be_cause()).count();
    let shown = if options.verbose { rest.len() } else { grave.max(NOTICED_SHOWN) };
    screen.blank()?;
    screen.prose("", &[Piece::new(Style::Bold, "Also noticed")])?;
    for finding in rest.iter().take(shown) {
        let severity = finding.severity.as_str().to_uppercase();
        let pieces = [
            Piece::new(severity_style(finding.severity), &severity),
            Piece::new(Style::Bold, &finding.code),
            Piece::plain(&finding.summary),
        ];
        screen.prose("  - ", &pieces)?;
        if options.verbose {
            body(screen, finding)?;
            fixes(screen, finding)?;
            move_and_references(screen, finding)?;
        }
    }
    more(screen, "    ", rest.len(), shown)
}

fn not_looked_at(screen: &mut Screen<'_>, report: &Report, options: &Options) -> io::Result<()> {
    if report.unseen.is_empty() {
        return Ok(());
    }
    screen.blank()?;
    screen.prose("", &[Piece::new(Style::Bold, "Could not look")])?;
    for group in unseen::grouped(report) {
        for line in group.lines(options.verbose) {
            screen.prose("  - ", &[Piece::plain(&line)])?;
        }
        if !group.remedy.is_empty() {
            screen.prose("    ", &[Piece::new(Style::Caution, &group.remedy)])?;
        }
    }
    Ok(())
}

fn healthy(screen: &mut Screen<'_>, report: &Report, options: &Options) -> io::Result<()> {
    match Well::of(&report.healthy, options.verbose) {
        Well::Nothing => Ok(()),
        Well::Sentences(text) => {
            screen.blank()?;
            screen.prose("", &[Piece::new(Style::Calm, "Healthy:"), Piece::plain(&text)])
        }
        Well::Families(lines) => {
            screen.blank()?;
            screen.prose("", &[Piece::new(Style::Calm, "Healthy")])?;
            lines.iter().try_for_each(|line| screen.prose("  - ", &[Piece::plain(line)]))
        }
    }
}

fn ruled_out(screen: &mut Screen<'_>, report: &Report) -> io::Result<()> {
    if report.ruled_out.is_empty() {
        return Ok(());
    }
    screen.blank()?;
    screen.prose("", &[Piece::new(Style::Bold, "Ruled out")])?;
    for rival in &report.ruled_out {
        let name = format!("{}:", rival.name);
        screen.prose("  - ", &[Piece::plain(&rival.code), Piece::plain(&name), Piece::plain(&rival.because)])?;
    }
    Ok(())
}

fn evidence(screen: &mut Screen<'_>, report: &Report) -> io::Result<()> {
    screen.blank()?;
    screen.prose("", &[Piece::new(Style::Bold, "Evidence")])?;
    for line in dump::lines(&report.evidence) {
        screen.verbatim(2, Style::Plain, &line)?;
    }
    Ok(())
}

fn closing(screen: &mut Screen<'_>, report: &Report, options: &Options) -> io::Result<()> {
    screen.blank()?;
    let took = format!(
        "{} {}, started {}, took {} ms.",
        report.tool.name, report.tool.version, report.started, report.took_ms
    );
    screen.prose("", &[Piece::new(Style::Faint, &took)])?;
    let Some(cause) = report.causes.first() else { return Ok(()) };
    let hint = format!("`mxray explain {}` says more about it.", cause.code);
    let all = if options.verbose { "" } else { "-v shows all evidence." };
    screen.prose("", &[Piece::new(Style::Faint, &hint), Piece::new(Style::Faint, all)])
}
