//! The report for a ticket: Markdown as GitHub, GitLab and most trackers read it. Foreign text is escaped so that it
//! is neither formatting nor markup; commands stand in fences that they cannot close.

use crate::outline::{Consequence, Outline};
use crate::safe::printable;
use crate::text::{is_sentence, is_us, whose_move};
use crate::{Options, dump, unseen};
use mxray_model::{Finding, Fix, Report};
use std::io;

/// Consequences listed under one cause; verbose lists all.
const CONSEQUENCES_SHOWN: usize = 50;
/// Trackers render lists no deeper than this in a readable way.
const DEPTH_SHOWN: usize = 4;

pub(crate) fn render(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut outline = Outline::new(report);
    writeln!(out, "# mxray: {}\n", report.verdict.as_str())?;
    writeln!(out, "{}\n", prose(&report.summary))?;
    let command = format!("{} {}", report.question.command, report.question.targets.join(" "));
    writeln!(
        out,
        "{} {}, {} started {}, took {} ms.",
        prose(&report.tool.name),
        prose(&report.tool.version),
        code(command.trim()),
        prose(&report.started),
        report.took_ms
    )?;
    if crate::is_probe(report) {
        let blocks = crate::probe::plain(report, options)?;
        writeln!(out, "\n## Endpoints")?;
        fence(blocks.lines(), "text", out)?;
    }
    for (index, cause) in report.causes.iter().enumerate() {
        writeln!(out, "\n## {}. {}\n", index + 1, title(cause))?;
        details(cause, out)?;
        let below = outline.under(cause);
        for (heading, list) in Outline::headed(cause, &below) {
            consequences(heading, &list, options, out)?;
        }
        fixes(cause, out)?;
    }
    noticed(&outline.rest(), options, out)?;
    not_looked_at(report, options, out)?;
    healthy(report, out)?;
    if options.verbose {
        ruled_out(report, out)?;
        let evidence = dump::lines(&report.evidence);
        writeln!(out, "\n## Evidence")?;
        fence(evidence.iter().map(String::as_str), "", out)?;
    }
    Ok(())
}

fn title(finding: &Finding) -> String {
    format!("{} {}: {}", finding.severity.as_str().to_uppercase(), prose(&finding.code), prose(&finding.summary))
}

fn details(finding: &Finding, out: &mut dyn io::Write) -> io::Result<()> {
    write!(out, "{}, {} {}", code(&finding.name), finding.subject.kind.as_str(), code(&finding.subject.value))?;
    if finding.confidence < 1.0 {
        write!(out, ", confidence {:.0} %", f64::from(finding.confidence) * 100.0)?;
    }
    writeln!(out)?;
    if let Some(sentence) = whose_move(finding.whose_move) {
        writeln!(out, "\n**Whose move:** {sentence}")?;
    }
    if !finding.because.is_empty() {
        writeln!(out, "\n**Because**\n")?;
    }
    for reason in &finding.because {
        write!(out, "- {}", prose(&reason.text))?;
        if !reason.source.is_empty() {
            write!(out, " ({})", code(&reason.source))?;
        }
        writeln!(out)?;
    }
    if !finding.references.is_empty() {
        writeln!(out, "\nSee {}.", prose(&finding.references.join(", ")))?;
    }
    Ok(())
}

fn consequences(
    heading: &str,
    below: &[&Consequence<'_>],
    options: &Options,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let shown = if options.verbose { below.len() } else { CONSEQUENCES_SHOWN };
    writeln!(out, "\n**{heading}**\n")?;
    for consequence in below.iter().take(shown) {
        let indent = 2 * consequence.depth.min(DEPTH_SHOWN);
        let again = if consequence.again { " (see above)" } else { "" };
        let finding = consequence.finding;
        writeln!(out, "{:indent$}- {} {}{again}", "", prose(&finding.code), prose(&finding.summary))?;
    }
    if below.len() > shown {
        writeln!(out, "- and {} more", below.len() - shown)?;
    }
    Ok(())
}

fn fixes(finding: &Finding, out: &mut dyn io::Write) -> io::Result<()> {
    if finding.fix.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Fix")?;
    for (index, step) in finding.fix.iter().enumerate() {
        fix_step(index + 1, step, out)?;
    }
    Ok(())
}

/// Steps are paragraphs, not list items: a fence inside a list item depends on the tracker's idea of indentation.
fn fix_step(number: usize, step: &Fix, out: &mut dyn io::Write) -> io::Result<()> {
    let who = if is_us(&step.who) { String::new() } else { format!(" ({})", prose(&step.who)) };
    writeln!(out, "\n**Step {number}.** {}{who}", prose(&step.text))?;
    for line in &step.config {
        let number = line.line.map(|number| format!(" line {number}")).unwrap_or_default();
        writeln!(out, "\nIn {}{number}:", code(&line.file))?;
        fence(line.text.lines(), "", out)?;
    }
    for record in &step.records {
        fence([record.zone_line().as_str()], "", out)?;
        let (name, value) = (code(&record.name), code(&record.form_value()));
        writeln!(out, "\nAs a form asks for it: name {name}, type {}, value {value}", code(&record.kind))?;
    }
    if !step.commands.is_empty() {
        fence(step.commands.iter().map(String::as_str), "sh", out)?;
    }
    labelled("Undo", &step.undo, out)?;
    labelled("Verify", &step.verify, out)
}

fn labelled(label: &str, text: &str, out: &mut dyn io::Write) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    if is_sentence(text) {
        return writeln!(out, "\n{label}: {}", prose(text));
    }
    writeln!(out, "\n{label}:")?;
    fence([text], "sh", out)
}

fn noticed(rest: &[&Finding], options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Also noticed\n")?;
    for finding in rest {
        writeln!(out, "- {}", title(finding))?;
    }
    if !options.verbose {
        return Ok(());
    }
    for finding in rest {
        writeln!(out, "\n### {}\n", title(finding))?;
        details(finding, out)?;
        fixes(finding, out)?;
    }
    Ok(())
}

fn not_looked_at(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    if report.unseen.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Could not look\n")?;
    for group in unseen::grouped(report) {
        for reason in &group.reasons {
            writeln!(out, "- {}: {}", prose(&reason.hidden(options.verbose)), prose(reason.why))?;
        }
        if !group.remedy.is_empty() {
            writeln!(out, "  - {}", prose(&group.remedy))?;
        }
    }
    Ok(())
}

fn healthy(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    if report.healthy.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Healthy\n")?;
    for row in &report.healthy {
        writeln!(out, "- {}", prose(&row.text))?;
    }
    Ok(())
}

fn ruled_out(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    if report.ruled_out.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Ruled out\n")?;
    for rival in &report.ruled_out {
        writeln!(out, "- {} {}: {}", prose(&rival.code), code(&rival.name), prose(&rival.because))?;
    }
    Ok(())
}

/// Text that says what it says and formats nothing.
///
/// An underscore between letters is left alone: no dialect in use takes it for emphasis, and a ticket full of
/// `smtpd\_milters` is hard to read raw.
pub(crate) fn prose(text: &str) -> String {
    let safe = printable(text);
    let mut escaped = String::with_capacity(safe.len() + 8);
    let mut previous = ' ';
    let mut rest = safe.chars().peekable();
    let digits = safe.bytes().take_while(u8::is_ascii_digit).count();
    let mut at = 0;
    while let Some(c) = rest.next() {
        let inside_word = previous.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        let escape = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' => true,
            '_' => !inside_word,
            '-' | '+' | '=' | ':' => at == 0,
            // `1. ` at the start of a line begins a numbered list.
            '.' | ')' => digits > 0 && at == digits && rest.peek().is_none_or(|next| *next == ' '),
            _ => false,
        };
        if escape {
            escaped.push('\\');
        }
        escaped.push(c);
        previous = c;
        at += c.len_utf8();
    }
    escaped
}

/// A code span that its content cannot end.
fn code(text: &str) -> String {
    let safe = printable(text);
    let ticks = "`".repeat(longest_run(&safe) + 1);
    // CommonMark strips one blank on both sides, which keeps a backtick at the rim apart from the delimiter.
    if safe.starts_with('`') || safe.ends_with('`') || safe.is_empty() {
        format!("{ticks} {safe} {ticks}")
    } else {
        format!("{ticks}{safe}{ticks}")
    }
}

/// A fenced block that its lines cannot end, with a blank line before it.
pub(crate) fn fence<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    language: &str,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let lines: Vec<_> = lines.into_iter().map(printable).collect();
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let ticks = "`".repeat(longest.max(2) + 1);
    writeln!(out, "\n{ticks}{language}")?;
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{ticks}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_formats_nothing() {
        assert_eq!(prose("a|b `c` <d> *e* _f_ smtpd_milters"), r"a\|b \`c\` \<d\> \*e\* \_f\_ smtpd_milters");
        assert_eq!(prose("- x"), r"\- x");
        assert_eq!(prose("12. x"), r"12\. x");
        assert_eq!(prose("0.1.0"), "0.1.0");
        assert_eq!(prose("port 25. x"), "port 25. x");
        assert_eq!(prose("[x](http://y)"), r"\[x\](http://y)");
    }

    #[test]
    fn code_cannot_be_closed_from_inside() {
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`a"), "`` `a ``");
        let mut out = Vec::new();
        fence(["```", "rm -rf x"], "sh", &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\n````sh\n```\nrm -rf x\n````\n");
    }
}
