//! For a person: each connection with its conversation, then a line for each recipient.

use super::deliver::{Attempt, Row, distrust};
use super::letter::Letter;
use super::outcome::{Outcome, Status};
use super::plan::Plan;
use super::route::{Goal, Group, NoWay};
use mxray_model::Seen;
use mxray_model::evidence::{TlsEnding, TlsFacts};
use mxray_model::session::{Entry, Raw, Transcript, What};
use mxray_model::text::untrusted;
use mxray_render::{Options, Piece, Screen, Style, codes};
use std::io::{self, Write};

/// Lines of one message that are shown; `-v` shows all.
const LINES_SHOWN: usize = 40;

/// One connection.
pub fn attempt(attempt: &Attempt, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    screen.prose("", &[Piece::new(Style::Bold, &place(attempt))])?;
    if let Some(trouble) = &attempt.trouble {
        screen.prose("  ", &[Piece::new(Style::Caution, trouble)])?;
    }
    if let Some(dial) = &attempt.dial {
        let from = dial.local.value().map(|local| format!(" from {local}")).unwrap_or_default();
        let text = format!("{} after {} ms{from}", dial.outcome.as_str(), dial.took_ms);
        let style = if attempt.session.is_some() { Style::Faint } else { Style::Caution };
        screen.prose("  ", &[Piece::new(style, &text)])?;
    }
    if let Some(session) = &attempt.session {
        let most = if options.verbose { usize::MAX } else { LINES_SHOWN };
        mxray_render::transcript(&mut screen, &line_by_line(&session.transcript, most))?;
    }
    if let Seen::Value(facts) = &attempt.tls {
        tls(&mut screen, facts)?;
    }
    screen.blank()
}

fn place(attempt: &Attempt) -> String {
    let name = &attempt.server;
    let mut text = match attempt.port {
        Some(port) if name.contains(':') => format!("[{name}]:{port}"),
        Some(port) => format!("{name}:{port}"),
        None => name.clone(),
    };
    if let Some(address) = attempt.address.filter(|address| address.to_string() != *name) {
        text.push_str(&format!(" at {address}"));
    }
    if let Some(preference) = attempt.preference {
        text.push_str(&format!(" (MX, preference {preference})"));
    }
    text
}

fn tls(screen: &mut Screen<'_>, facts: &TlsFacts) -> io::Result<()> {
    if facts.ending != TlsEnding::Established {
        let text = format!("TLS: {}", facts.ending.words());
        return screen.prose("  ", &[Piece::new(Style::Caution, &text)]);
    }
    let known: Vec<&str> = [&facts.version, &facts.suite, &facts.group]
        .iter()
        .filter_map(|fact| fact.value())
        .map(String::as_str)
        .collect();
    screen.prose("  ", &[Piece::plain(&format!("TLS: {}", known.join(", ")))])?;
    let problems: Vec<String> = facts.problems.iter().map(mxray_model::evidence::CertificateProblem::words).collect();
    let (style, text) = match distrust(facts) {
        None if problems.is_empty() => (Style::Calm, "certificate: trusted here, and for this name".to_owned()),
        None => (Style::Caution, format!("certificate: trusted here, and for this name; but {}", problems.join("; "))),
        Some(_) if !problems.is_empty() => (Style::Caution, format!("certificate: {}", problems.join("; "))),
        Some(why) => (Style::Caution, why),
    };
    screen.prose("  ", &[Piece::new(style, &text)])
}

/// What is sent in one go, a line of it at a time; of a long message only the beginning.
fn line_by_line(transcript: &Transcript, most: usize) -> Transcript {
    let mut shown = transcript.clone();
    shown.entries.clear();
    for entry in &transcript.entries {
        let What::Sent(Raw(bytes)) = &entry.what else {
            shown.entries.push(entry.clone());
            continue;
        };
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let kept = if lines.len() > most { most.saturating_sub(2) } else { lines.len() };
        let sent = |what: Raw| Entry { what: What::Sent(what), ..entry.clone() };
        shown.entries.extend(lines.iter().take(kept).map(|line| sent(Raw::from(*line))));
        if let Some(last) = lines.last().filter(|_| kept < lines.len()) {
            let left = lines.len() - kept - 1;
            shown.entries.push(sent(Raw::from(format!("[{left} more lines; -v shows them]").as_str())));
            shown.entries.push(sent(Raw::from(*last)));
        }
    }
    shown
}

/// A line for each recipient, and what a refusal means.
pub fn rows(rows: &[Row], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    for row in rows {
        let outcome = &row.outcome;
        let style = match outcome.status {
            Status::Accepted => Style::Calm,
            Status::Refused => Style::Alarm,
            Status::Stopped => Style::Plain,
            Status::Deferred | Status::NotSent | Status::Unknown => Style::Caution,
        };
        let recipient = format!("{}:", untrusted(row.recipient.as_bytes()));
        let rest = format!("{}{}", by(row), words(outcome));
        let pieces =
            [Piece::new(Style::Bold, &recipient), Piece::new(style, outcome.status.as_str()), Piece::plain(&rest)];
        screen.prose("", &pieces)?;
        if let Some(meaning) = meaning(outcome) {
            screen.prose("  ", &[Piece::new(Style::Faint, meaning)])?;
        }
    }
    Ok(())
}

fn by(row: &Row) -> String {
    let stage = match row.outcome.status {
        Status::Accepted => String::new(),
        _ => format!("at {}", row.outcome.stage),
    };
    let Some(server) = &row.server else { return stage };
    let blank = if stage.is_empty() { "" } else { " " };
    match row.address.filter(|address| address.to_string() != *server) {
        Some(address) => format!("{stage}{blank}by {server} ({address})"),
        None => format!("{stage}{blank}by {server}"),
    }
}

fn words(outcome: &Outcome) -> String {
    let mut text = String::new();
    if let Some(reply) = &outcome.reply {
        let lines: Vec<String> = reply.lines.iter().map(|line| untrusted(&line.0)).collect();
        text.push_str(&format!(": {} {}", reply.code, lines.join(" ")));
    }
    if let Some(why) = &outcome.why {
        text.push_str(if text.is_empty() { ": " } else { "; " });
        text.push_str(why);
    }
    text
}

/// In the standards' words; the enhanced code says more where there is one.
fn meaning(outcome: &Outcome) -> Option<&'static str> {
    let reply = outcome.reply.as_ref().filter(|_| matches!(outcome.status, Status::Refused | Status::Deferred))?;
    reply.enhanced.and_then(codes::enhanced_code).or_else(|| codes::reply_code(reply.code))
}

/// What would be sent, and where.
pub fn dry_run(
    plan: &Plan,
    letter: &Letter,
    ways: &[(&Group, Result<Vec<Goal>, NoWay>)],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "from <{}>", untrusted(plan.sender.address.as_bytes()))?;
    for (group, way) in ways {
        for recipient in &group.recipients {
            writeln!(out, "to <{}>", untrusted(recipient.as_bytes()))?;
        }
        match way {
            Ok(goals) => {
                for goal in goals {
                    writeln!(out, "  by {}", untrusted(goal_text(goal).as_bytes()))?;
                }
            }
            Err(no_way) => writeln!(out, "  {}: {}", no_way.status.as_str(), no_way.why)?,
        }
    }
    writeln!(out)?;
    for line in letter.message.bytes().split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        writeln!(
            out,
            "{}",
            String::from_utf8_lossy(line)
                .split('\t')
                .map(|part| untrusted(part.as_bytes()))
                .collect::<Vec<_>>()
                .join("\t")
        )?;
    }
    Ok(())
}

fn goal_text(goal: &Goal) -> String {
    match goal {
        Goal::Host { name, port, preference } => {
            let host = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
            match preference {
                Some(preference) => format!("{host} (MX, preference {preference})"),
                None => host,
            }
        }
        Goal::Unix(path) => path.display().to_string(),
    }
}
