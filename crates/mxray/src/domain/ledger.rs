//! SPF's ledger as a tree: each record under the term that led to it, each term with what became of it.

use mxray_model::evidence::published::{SpfEffect, SpfStep, SpfVerdict};
use mxray_render::{Piece, Screen, Style};
use std::io;

/// Deeper ones are not moved further to the right, so that lines stay readable.
const INDENTED_MAX: u32 = 8;

pub fn write(verdict: &SpfVerdict, screen: &mut Screen<'_>) -> io::Result<()> {
    let mut before: Option<(u32, &str)> = None;
    for step in &verdict.ledger {
        let indent = "  ".repeat(usize::try_from(step.depth.min(INDENTED_MAX)).unwrap_or_default());
        // Back from an include, the indentation says whose terms go on.
        let entered =
            before.is_none_or(|(depth, domain)| step.depth > depth || (step.depth == depth && step.domain != domain));
        if entered {
            screen.prose(&indent, &[Piece::new(Style::Bold, &step.domain)])?;
        }
        before = Some((step.depth, &step.domain));
        line(&indent, step, screen)?;
    }
    Ok(())
}

fn line(indent: &str, step: &SpfStep, screen: &mut Screen<'_>) -> io::Result<()> {
    let (mark, style) = match step.effect {
        SpfEffect::Matched => ("matches", Style::Calm),
        SpfEffect::NotMatched => ("no match", Style::Plain),
        SpfEffect::Entered => ("entered", Style::Plain),
        SpfEffect::Skipped => ("skipped", Style::Faint),
        SpfEffect::Broke => ("broken", Style::Alarm),
    };
    let first = format!("{indent}  {mark:<8}  ");
    let column = format!("(column {}; lookups {}, void {})", step.column, step.lookups, step.voids);
    let term = if step.term.is_empty() { "(nothing)" } else { &step.term };
    let asks = match &step.target {
        Some(target) if !step.term.ends_with(target.as_str()) => format!("asks {target}"),
        _ => String::new(),
    };
    let note = if step.note.is_empty() { String::new() } else { format!("- {}", step.note) };
    let mut pieces = vec![Piece::new(style, term)];
    if step.effect != SpfEffect::Skipped {
        pieces.push(Piece::new(Style::Faint, &asks));
        pieces.push(Piece::new(Style::Faint, &column));
    }
    pieces.push(Piece::new(Style::Faint, &note));
    pieces.retain(|piece| !piece.text.is_empty());
    screen.prose(&first, &pieces)
}
