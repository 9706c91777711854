//! The walk for a person: one line a chain, then the verdict, then what to do.

use super::Row;
use mxray_host::firewall::words;
use mxray_model::Unseen;
use mxray_model::evidence::{FilterAnswer, FilterStep, FilterTable, FilterVerdict};
use std::collections::BTreeMap;
use std::io::{self, Write};

pub(super) fn write(
    rows: &[Row],
    tables: &BTreeMap<String, FilterTable>,
    unseen: &[Unseen],
    out: &mut dyn Write,
) -> io::Result<()> {
    if tables.is_empty() && unseen.is_empty() {
        writeln!(out, "There is no packet filter here: no table in nf_tables, none of the legacy framework.")?;
    }
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let sender = row.sender.as_ref().map_or_else(String::new, |sender| format!("  ({sender})"));
        writeln!(out, "{}{sender}", words(&row.answer.packet))?;
        walk(&row.answer, tables, out)?;
        if let Some(to) = &row.answer.rewritten_to {
            let address = to.address.map_or_else(String::new, |address| address.to_string());
            let port = to.port.map_or_else(String::new, |port| format!(" port {port}"));
            writeln!(out, "  rewritten to {address}{port} by {}", to.by.text)?;
        }
        if let Some(back) = &row.back {
            writeln!(out, "  and the answer to it: {}", words(&back.packet))?;
            walk(back, tables, out)?;
        }
        writeln!(out, "=> {}", verdict(row.deciding()))?;
        for fix in &row.fixes {
            writeln!(out, "   {}", fix.text)?;
            for command in &fix.commands {
                writeln!(out, "     {command}")?;
            }
            if !fix.undo.is_empty() {
                writeln!(out, "     (to undo: {})", fix.undo)?;
            }
        }
    }
    for unseen in unseen {
        let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
        writeln!(out, "not seen: {}: {}{needs}", unseen.what, unseen.why)?;
    }
    Ok(())
}

fn walk(answer: &FilterAnswer, tables: &BTreeMap<String, FilterTable>, out: &mut dyn Write) -> io::Result<()> {
    if answer.walk.is_empty() {
        return writeln!(out, "  no chain sees it");
    }
    for step in &answer.walk {
        writeln!(out, "  {}", line(step, tables))?;
    }
    Ok(())
}

/// `input        0  nft inet filter        input: jump tcp_in   rule 4: meta l4proto tcp jump tcp_in`
fn line(step: &FilterStep, tables: &BTreeMap<String, FilterTable>) -> String {
    let hook = if step.hook.is_empty() { String::new() } else { format!("{} {}", step.hook, step.priority) };
    let manager = tables.get(&step.table).and_then(|table| table.manager.as_deref());
    let manager = manager.map_or_else(String::new, |manager| format!(" ({manager})"));
    let indent = "  ".repeat(usize::try_from(step.depth).unwrap_or(0).min(16));
    let rule = step.rule.as_ref().map_or_else(String::new, |rule| {
        let handle = rule.handle.map_or_else(String::new, |handle| format!(" handle {handle}"));
        let packets = rule.packets.map_or_else(String::new, |packets| format!("  [{packets} packets]"));
        format!("  rule {}{handle}: {}{packets}", rule.position, rule.text)
    });
    format!("{hook:<20} {}{manager}  {indent}{}: {}{rule}", step.table, step.chain, step.said)
}

fn verdict(answer: &FilterAnswer) -> String {
    let by = || mxray_rules::decided_by(answer);
    match &answer.verdict {
        FilterVerdict::Pass => "passes".to_owned(),
        FilterVerdict::Drop => format!("DROPPED by {}", by()),
        FilterVerdict::Reject { with } => format!("REJECTED ({with}) by {}", by()),
        FilterVerdict::Queue => format!("handed to a program (NFQUEUE), which decides, by {}", by()),
        FilterVerdict::Unknown { why } if answer.by.is_some() => format!("not known: {}, at {}", why.why(), by()),
        FilterVerdict::Unknown { why } => format!("not known: {}", why.why()),
    }
}
