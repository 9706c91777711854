//! Rows for a program (`mxray/lists/1`), and for a person: what is listed first, then what is not known.

use super::{Told, severity};
use mxray_model::Severity;
use mxray_net::{ListKind, ListRow, ListState, unicode_name};
use mxray_render::{Options, Piece, Screen, Style};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/lists/1";

pub fn json(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<Value> = told.answers.rows.iter().map(row).collect();
    serde_json::to_writer(
        &mut *out,
        &json!({
            "schema": SCHEMA,
            "catalogue": told.checked,
            "rows": rows,
            "resolver_rewrites": told.answers.rewrites,
            "dropped": told.dropped,
            "unseen": told.unseen,
        }),
    )?;
    out.write_all(b"\n")
}

fn row(row: &ListRow) -> Value {
    let mut value = json!(row);
    if let Value::Object(object) = &mut value {
        object.insert("severity".to_owned(), json!(severity(row).map(Severity::as_str)));
        object.insert("subject_unicode".to_owned(), json!(unicode(row)));
    }
    value
}

fn unicode(row: &ListRow) -> Option<String> {
    if row.kind == ListKind::Domain { unicode_name(&row.subject) } else { None }
}

pub fn text(told: &Told, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    let mut subjects: Vec<&ListRow> = Vec::new();
    for row in &told.answers.rows {
        if !subjects.iter().any(|known| known.subject == row.subject) {
            subjects.push(row);
        }
    }
    for first in subjects {
        let rows: Vec<&ListRow> = told.answers.rows.iter().filter(|row| row.subject == first.subject).collect();
        subject(first, &rows, options, &mut screen)?;
        screen.blank()?;
    }
    if told.answers.rewrites.value() == Some(&true) {
        let text = "The resolver makes up addresses for names that do not exist. No list can be believed through it.";
        screen.prose("", &[Piece::new(Style::Alarm, text)])?;
    }
    if options.verbose {
        for closed in &told.dropped {
            let text = format!("{} since {}: {} ({})", closed.zone, closed.since, closed.why, closed.source);
            screen.prose("not asked: ", &[Piece::new(Style::Faint, &text)])?;
        }
    } else {
        let text = format!(
            "The catalogue is of {}; {} lists that are closed are not asked (-v names them).",
            told.checked,
            told.dropped.len()
        );
        screen.prose("", &[Piece::new(Style::Faint, &text)])?;
    }
    Ok(())
}

fn subject(first: &ListRow, rows: &[&ListRow], options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let of = |state: ListState, allow: bool| {
        rows.iter().filter(|row| row.state == state && row.allow == allow).copied().collect::<Vec<&ListRow>>()
    };
    let mut listed = of(ListState::Listed, false);
    listed.sort_by_key(|row| std::cmp::Reverse(severity(row)));
    let (clear, unknown) = (of(ListState::NotListed, false), rows.iter().filter(|row| row.state == ListState::Unknown));
    let name = unicode(first).map_or_else(|| first.subject.clone(), |unicode| format!("{} ({unicode})", first.subject));
    let known = listed.len() + clear.len();
    let (style, what) = match (listed.len(), known) {
        (_, 0) => (Style::Caution, "no blocklist could be asked".to_owned()),
        (0, known) => (Style::Calm, format!("on none of {known} blocklists that answer")),
        (count, known) => (Style::Alarm, format!("on {count} of {known} blocklists that answer")),
    };
    screen.prose("", &[Piece::new(Style::Bold, &format!("{name}:")), Piece::new(style, &what)])?;
    for row in &listed {
        blocked(row, options, screen)?;
    }
    for row in of(ListState::Listed, true) {
        let text = format!("{}: {}", row.list, row.meanings.join("; "));
        screen.prose("  allowed   ", &[Piece::new(Style::Calm, &text)])?;
    }
    if !clear.is_empty() {
        let names: Vec<&str> = clear.iter().map(|row| row.list.as_str()).collect();
        screen.prose("  not on    ", &[Piece::plain(&names.join(", "))])?;
    }
    for row in unknown {
        let why = row.why.as_deref().unwrap_or_default();
        screen.prose("  unknown   ", &[Piece::plain(&format!("{}:", row.list)), Piece::new(Style::Faint, why)])?;
    }
    Ok(())
}

fn blocked(row: &ListRow, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let severity = severity(row).map_or("", Severity::as_str);
    let style = if severity == "error" { Style::Alarm } else { Style::Caution };
    let text = format!("(tier {}): {}", row.tier, row.meanings.join("; "));
    screen.prose("  listed    ", &[Piece::new(style, &row.list), Piece::plain(&text)])?;
    for text in &row.texts {
        screen.prose("            ", &[Piece::new(Style::Faint, text)])?;
    }
    if row.netblock {
        let text = "for its neighbours; hardly any receiver minds";
        screen.prose("            ", &[Piece::new(Style::Faint, text)])?;
    }
    if let Some(page) = &row.delisting {
        screen.prose("            ", &[Piece::plain(&format!("delisting: {page}"))])?;
    }
    if options.verbose {
        let text = format!("asked {}; lists {}; by {}", row.asked, row.granularity, row.source);
        screen.prose("            ", &[Piece::new(Style::Faint, &text)])?;
    }
    Ok(())
}
