//! The report as one HTML file: to mail, to attach, to print. It loads nothing and runs nothing.
//!
//! The style sheet stands in `report.css` and is put into the file. All text goes through [`escaped`]; the only tags
//! are those written here.

use crate::outline::{Consequence, Outline};
use crate::safe::printable;
use crate::text::{is_sentence, is_us, whose_move};
use crate::{Options, dump, unseen};
use mxray_model::{Finding, Fix, Report};
use std::io;

pub(crate) const STYLE: &str = include_str!("report.css");
/// Deeper consequences stand on the same level: browsers and eyes both give up.
const DEPTH_SHOWN: usize = 8;

pub(crate) fn render(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut outline = Outline::new(report);
    head(report, out)?;
    if crate::is_probe(report) {
        let blocks = crate::probe::plain(report, options)?;
        writeln!(out, "<section>\n<h2>Endpoints</h2>\n<pre>")?;
        for line in blocks.lines() {
            writeln!(out, "{}", escaped(line))?;
        }
        writeln!(out, "</pre>\n</section>")?;
    }
    for (index, cause) in report.causes.iter().enumerate() {
        writeln!(out, "<section class=\"cause {}\">", cause.severity.as_str())?;
        writeln!(out, "<h2>{}. {}</h2>", index + 1, title(cause))?;
        details(cause, out)?;
        let below = outline.under(cause);
        for (heading, list) in Outline::headed(cause, &below) {
            consequences(heading, &list, out)?;
        }
        fixes(cause, out)?;
        writeln!(out, "</section>")?;
    }
    noticed(&outline.rest(), out)?;
    not_looked_at(report, options, out)?;
    healthy(report, out)?;
    if options.verbose {
        ruled_out(report, out)?;
        writeln!(out, "<section>\n<h2>Evidence</h2>\n<pre>")?;
        for line in dump::lines(&report.evidence) {
            writeln!(out, "{}", escaped(&line))?;
        }
        writeln!(out, "</pre>\n</section>")?;
    }
    writeln!(
        out,
        "</main>\n<footer><p>{} {}, started {}, took {} ms.</p></footer>\n</body>\n</html>",
        escaped(&report.tool.name),
        escaped(&report.tool.version),
        escaped(&report.started),
        report.took_ms
    )
}

fn head(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let verdict = report.verdict.as_str();
    let asked = format!("{} {}", report.question.command, report.question.targets.join(" "));
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>mxray {}: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header class=\"{verdict}\">\n\
         <h1>{}</h1>\n<p>{}</p>\n</header>\n<main>",
        escaped(asked.trim()),
        verdict.to_uppercase(),
        escaped(&report.summary)
    )
}

fn title(finding: &Finding) -> String {
    format!(
        "<span class=\"severity {0}\">{0}</span> {1} {2}",
        finding.severity.as_str(),
        escaped(&finding.code),
        escaped(&finding.name)
    )
}

fn details(finding: &Finding, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "<p class=\"summary\">{}</p>", escaped(&finding.summary))?;
    write!(out, "<p>{} <code>{}</code>", finding.subject.kind.as_str(), escaped(&finding.subject.value))?;
    if finding.confidence < 1.0 {
        write!(out, ", confidence {:.0} %", f64::from(finding.confidence) * 100.0)?;
    }
    writeln!(out, "</p>")?;
    if let Some(sentence) = whose_move(finding.whose_move) {
        writeln!(out, "<p><strong>Whose move:</strong> {}</p>", escaped(sentence))?;
    }
    if !finding.because.is_empty() {
        writeln!(out, "<h3>Because</h3>\n<ul>")?;
        for reason in &finding.because {
            let source = if reason.source.is_empty() {
                String::new()
            } else {
                format!(" <code class=\"source\">{}</code>", escaped(&reason.source))
            };
            writeln!(out, "<li>{}{source}</li>", escaped(&reason.text))?;
        }
        writeln!(out, "</ul>")?;
    }
    if !finding.references.is_empty() {
        writeln!(out, "<p>See {}.</p>", escaped(&finding.references.join(", ")))?;
    }
    Ok(())
}

fn consequences(heading: &str, below: &[&Consequence<'_>], out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "<h3>{heading}</h3>\n<ul class=\"tree\">")?;
    for consequence in below {
        let finding = consequence.finding;
        writeln!(
            out,
            "<li class=\"depth{}\">{} {}{}</li>",
            consequence.depth.min(DEPTH_SHOWN),
            escaped(&finding.code),
            escaped(&finding.summary),
            if consequence.again { " (see above)" } else { "" }
        )?;
    }
    writeln!(out, "</ul>")
}

fn fixes(finding: &Finding, out: &mut dyn io::Write) -> io::Result<()> {
    if finding.fix.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h3>Fix</h3>\n<ol class=\"fix\">")?;
    for step in &finding.fix {
        fix_step(step, out)?;
    }
    writeln!(out, "</ol>")
}

fn fix_step(step: &Fix, out: &mut dyn io::Write) -> io::Result<()> {
    let who = if is_us(&step.who) { String::new() } else { format!(" ({})", escaped(&step.who)) };
    writeln!(out, "<li><p>{}{who}</p>", escaped(&step.text))?;
    for line in &step.config {
        let number = line.line.map(|number| format!(":{number}")).unwrap_or_default();
        writeln!(out, "<p>In <code>{}{number}</code></p>", escaped(&line.file))?;
        pre(line.text.lines(), out)?;
    }
    for record in &step.records {
        pre([record.zone_line().as_str()], out)?;
        let [name, kind, value] = [&record.name, &record.kind, &record.form_value()].map(|text| escaped(text));
        writeln!(
            out,
            "<p>As a form asks for it: name <code>{name}</code>, type <code>{kind}</code>, value <code>{value}</code></p>"
        )?;
    }
    if !step.commands.is_empty() {
        pre(step.commands.iter().map(String::as_str), out)?;
    }
    labelled("Undo", &step.undo, out)?;
    labelled("Verify", &step.verify, out)?;
    writeln!(out, "</li>")
}

fn labelled(label: &str, text: &str, out: &mut dyn io::Write) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    if is_sentence(text) {
        return writeln!(out, "<p>{label}: {}</p>", escaped(text));
    }
    writeln!(out, "<p>{label}:</p>")?;
    pre([text], out)
}

fn pre<'a>(lines: impl IntoIterator<Item = &'a str>, out: &mut dyn io::Write) -> io::Result<()> {
    let lines: Vec<_> = lines.into_iter().map(escaped).collect();
    writeln!(out, "<pre><code>{}</code></pre>", lines.join("\n"))
}

fn noticed(rest: &[&Finding], out: &mut dyn io::Write) -> io::Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section>\n<h2>Also noticed</h2>\n<div class=\"wide\"><table>")?;
    writeln!(
        out,
        "<thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Code</th><th scope=\"col\">Subject</th>\
         <th scope=\"col\">What</th></tr></thead>\n<tbody>"
    )?;
    for finding in rest {
        writeln!(
            out,
            "<tr><td><span class=\"severity {0}\">{0}</span></td><th scope=\"row\">{1}</th><td>{2}</td><td>{3}</td></tr>",
            finding.severity.as_str(),
            escaped(&finding.code),
            escaped(&finding.subject.to_string()),
            escaped(&finding.summary)
        )?;
    }
    writeln!(out, "</tbody>\n</table></div>\n</section>")
}

fn not_looked_at(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    if report.unseen.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section>\n<h2>Could not look</h2>\n<ul>")?;
    for group in unseen::grouped(report) {
        for reason in &group.reasons {
            writeln!(
                out,
                "<li><strong>{}</strong>: {}</li>",
                escaped(&reason.hidden(options.verbose)),
                escaped(reason.why)
            )?;
        }
        if !group.remedy.is_empty() {
            writeln!(out, "<li class=\"remedy\">{}</li>", escaped(&group.remedy))?;
        }
    }
    writeln!(out, "</ul>\n</section>")
}

fn healthy(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    if report.healthy.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section>\n<h2>Healthy</h2>\n<ul class=\"compact\">")?;
    for row in &report.healthy {
        writeln!(out, "<li>{}</li>", escaped(&row.text))?;
    }
    writeln!(out, "</ul>\n</section>")
}

fn ruled_out(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    if report.ruled_out.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section>\n<h2>Ruled out</h2>\n<ul>")?;
    for rival in &report.ruled_out {
        writeln!(
            out,
            "<li><strong>{} {}</strong>: {}</li>",
            escaped(&rival.code),
            escaped(&rival.name),
            escaped(&rival.because)
        )?;
    }
    writeln!(out, "</ul>\n</section>")
}

/// Text for element content and for quoted attributes alike.
pub(crate) fn escaped(text: &str) -> String {
    let safe = printable(text);
    let mut out = String::with_capacity(safe.len() + 8);
    for c in safe.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        assert_eq!(escaped("<b a=\"x\" c='y'>&"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;");
        assert!(!STYLE.contains('<'), "the style sheet could end its own element");
    }
}
