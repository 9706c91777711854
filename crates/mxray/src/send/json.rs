//! `mxray/send/1`: a row for each recipient, and every connection with its whole session.

use super::deliver::{Attempt, Row};
use super::letter::Letter;
use super::outcome::Status;
use super::plan::Plan;
use super::route::{Goal, Group, NoWay};
use mxray_model::Unseen;
use mxray_model::session::Raw;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/send/1";

pub fn write(rows: &[Row], attempts: &[Attempt], out: &mut dyn Write) -> io::Result<()> {
    let unseen: Vec<Unseen> = rows.iter().filter(|row| row.outcome.status == Status::Unknown).map(unseen).collect();
    let rows: Vec<Value> = rows.iter().map(row).collect();
    serde_json::to_writer(
        &mut *out,
        &json!({ "schema": SCHEMA, "rows": rows, "attempts": attempts, "unseen": unseen }),
    )?;
    out.write_all(b"\n")
}

fn row(row: &Row) -> Value {
    let outcome = &row.outcome;
    json!({
        "recipient": row.recipient,
        "status": outcome.status,
        "stage": outcome.stage,
        "server": row.server,
        "address": row.address,
        "port": row.port,
        "code": outcome.reply.as_ref().map(|reply| reply.code),
        "enhanced": outcome.reply.as_ref().and_then(|reply| reply.enhanced).map(|code| code.to_string()),
        "reply": outcome.reply.as_ref().map(|reply| &reply.lines),
        "why": outcome.why,
    })
}

fn unseen(row: &Row) -> Unseen {
    let why = row.outcome.why.clone().unwrap_or_else(|| "the reply does not say it".to_owned());
    Unseen { what: row.recipient.clone(), why, needs: String::new() }
}

pub fn dry_run(
    plan: &Plan,
    letter: &Letter,
    ways: &[(&Group, Result<Vec<Goal>, NoWay>)],
    out: &mut dyn Write,
) -> io::Result<()> {
    let rows: Vec<Value> = ways
        .iter()
        .flat_map(|(group, way)| {
            group.recipients.iter().map(move |recipient| {
                let goals: Vec<Value> = way.iter().flatten().map(goal).collect();
                let why = way.as_ref().err().map(|no_way| no_way.why.as_str());
                json!({ "recipient": recipient, "servers": goals, "why": why })
            })
        })
        .collect();
    serde_json::to_writer(
        &mut *out,
        &json!({
            "schema": SCHEMA,
            "dry_run": true,
            "sender": plan.sender.address,
            "rows": rows,
            "message": Raw::from(letter.message.bytes()),
            "unseen": [],
        }),
    )?;
    out.write_all(b"\n")
}

fn goal(goal: &Goal) -> Value {
    match goal {
        Goal::Host { name, port, preference } => json!({ "server": name, "port": port, "preference": preference }),
        Goal::Unix(path) => json!({ "server": mxray_model::text::untrusted(path.as_os_str().as_encoded_bytes()) }),
    }
}
