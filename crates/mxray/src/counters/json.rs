//! Counters for a program: `mxray/counters/1` as one object, or one row a line. Keys are stable, units are in the names.
//!
//! Every row has a `kind`: `counter`, `level` or `listener`. All counters are there, also those that did not change.

use super::change::{Reading, View};
use super::meaning;
use mxray_model::Unseen;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

const SCHEMA: &str = "mxray/counters/1";

#[derive(Serialize)]
struct Whole<'a> {
    schema: &'static str,
    /// `null`: totals.
    window_ms: Option<u64>,
    rows: Vec<Value>,
    unseen: &'a [Unseen],
}

/// # Errors
/// Never: `out` is memory.
pub fn object(view: &View, out: &mut Vec<u8>) -> io::Result<()> {
    let whole = Whole { schema: SCHEMA, window_ms: view.window_ms, rows: rows(view), unseen: &view.unseen };
    serde_json::to_writer(&mut *out, &whole)?;
    writeln!(out)
}

/// # Errors
/// Never: `out` is memory.
pub fn lines(view: &View, out: &mut Vec<u8>) -> io::Result<()> {
    for row in rows(view) {
        serde_json::to_writer(&mut *out, &row)?;
        writeln!(out)?;
    }
    for unseen in &view.unseen {
        serde_json::to_writer(&mut *out, &json!({ "unseen": unseen }))?;
        writeln!(out)?;
    }
    Ok(())
}

fn rows(view: &View) -> Vec<Value> {
    let counters = view.counters.iter().map(|(name, reading)| {
        let mut row = amounts("counter", view, *reading);
        row.insert("name".to_owned(), json!(name));
        if let Some(usual) = view.usual(name) {
            row.insert("usual_per_second".to_owned(), json!(usual));
        }
        if let Some(group) = meaning::group_of(name) {
            row.insert("group".to_owned(), json!(group.key));
            if group.share.is_some_and(|(part, _)| part == name)
                && let Some(share) = view.share(group)
            {
                row.insert("share_percent".to_owned(), json!(share));
                if let Some(usual) = view.usual.as_ref().and_then(|usual| usual.retransmitted_percent) {
                    row.insert("usual_share_percent".to_owned(), json!(usual));
                }
            }
        }
        Value::Object(row)
    });
    let levels = view.levels.iter().map(|(name, level)| {
        let mut row = Map::new();
        row.insert("kind".to_owned(), json!("level"));
        row.insert("name".to_owned(), json!(name));
        row.insert("value".to_owned(), json!(level.value));
        if let Some(limit) = level.limit {
            row.insert("limit".to_owned(), json!(limit));
        }
        Value::Object(row)
    });
    let listeners = view.listeners.iter().map(|(listener, reading)| {
        let mut row = amounts("listener", view, *reading);
        row.insert("name".to_owned(), json!(listener.name));
        row.insert("service".to_owned(), json!(listener.service));
        row.insert("unit".to_owned(), json!(listener.unit));
        Value::Object(row)
    });
    counters.chain(levels).chain(listeners).collect()
}

/// `delta` and `per_second` are left out where they are not known: totals, and what went backwards.
fn amounts(kind: &str, view: &View, reading: Reading) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("kind".to_owned(), json!(kind));
    row.insert("total".to_owned(), json!(reading.last));
    if reading.first.is_some()
        && let Some(delta) = reading.amount()
    {
        row.insert("delta".to_owned(), json!(delta));
        row.insert("per_second".to_owned(), json!(view.per_second(delta)));
    }
    row
}
