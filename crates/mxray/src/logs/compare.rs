//! Two logs beside each other: what is more, what is less, what is new.
//!
//! What must not live here: a judgement of which is better.

use super::{Answer, Asked, Format, judge, rendered, unanswered};
use crate::exit::{self, Failure};
use crate::output::Output;
use mxray_engine::maillog::Source;
use mxray_host::maillog::find;
use mxray_logs::{Rate, Summary};
use mxray_render::{Block, Document, Section, Table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

const SCHEMA: &str = "mxray/logs-compare/1";

#[derive(Serialize)]
struct Both<'a> {
    schema: &'static str,
    before: &'a Summary,
    after: &'a Summary,
}

pub fn run(
    asked: &Asked,
    (before, after): (&PathBuf, &PathBuf),
    format: Format,
    top: usize,
    output: &mut Output,
) -> Result<u8, Failure> {
    let (before, after) = (read(asked, before)?, read(asked, after)?);
    let options = output.options();
    output.emit(|out| match format {
        Format::Json => {
            let both = Both { schema: SCHEMA, before: &before, after: &after };
            mxray_render::write_json(&both, out)
        }
        _ => mxray_render::render_document(&document(&before, &after, top), rendered(format), &options, out),
    })?;
    Ok(exit::OK)
}

fn read(asked: &Asked, path: &PathBuf) -> Result<Summary, Failure> {
    let found = find(std::slice::from_ref(path));
    let mut analysis = asked.analysis();
    let mut ended = asked.read(found.files.into_iter().map(Source::File).collect(), &mut analysis);
    ended.unseen.extend(found.unseen);
    if analysis.lines().read == 0 {
        return Err(unanswered(&ended.unseen));
    }
    let mut answer = Answer { summary: analysis.into_summary(), ended };
    judge(&mut answer);
    Ok(answer.summary)
}

fn document(before: &Summary, after: &Summary, top: usize) -> Document {
    let counts = |of: &Summary| {
        [
            ("messages received", of.messages.received),
            ("in the queue at the end", of.messages.alive),
            ("attempts sent", of.attempts.sent),
            ("attempts deferred", of.attempts.deferred),
            ("attempts bounced", of.attempts.bounced),
            ("recipients delivered", of.recipients.delivered),
            ("recipients bounced", of.recipients.bounced),
            ("recipients expired", of.recipients.expired),
            ("refused by us", of.rejects.total),
            ("logins failed", of.logins.failed),
        ]
    };
    let rows = counts(before).into_iter().zip(counts(after)).map(|((name, one), (_, other))| row(name, one, other));
    let rates = [
        ("bounce rate", before.rates.bounce, after.rates.bounce),
        ("block rate", before.rates.block, after.rates.block),
        ("expiry rate", before.rates.expiry, after.rates.expiry),
        ("deferral rate", before.rates.deferral, after.rates.deferral),
    ];
    let shares = rates.map(|(name, one, other)| vec![name.to_owned(), share(one), share(other), points(one, other)]);
    let head = vec!["", ">A", ">B", ">change"];
    let window = |of: &Summary| {
        format!("{} to {}", of.window.first.as_deref().unwrap_or("?"), of.window.last.as_deref().unwrap_or("?"))
    };
    let tables = vec![
        Block::Items(vec![format!("A: {}", window(before)), format!("B: {}", window(after))]),
        Block::Table(Table { head: head.clone(), rows: rows.chain(shares).collect() }),
    ];
    let mut sections = vec![Section { title: "Counts and rates".to_owned(), blocks: tables }];
    let causes = |of: &Summary| {
        let named = |cause: &mxray_logs::CauseOut| (format!("{} at {}", cause.cause, cause.receiver), cause.attempts);
        of.causes.iter().map(named).collect::<BTreeMap<_, _>>()
    };
    let receivers = |of: &Summary| {
        let named = |receiver: &mxray_logs::ReceiverOut| (receiver.name.clone(), receiver.recipients.delivered);
        of.receivers.iter().map(named).collect::<BTreeMap<_, _>>()
    };
    let parts = [
        ("Causes, by failed attempts", causes(before), causes(after)),
        ("Receivers, by recipients delivered", receivers(before), receivers(after)),
    ];
    for (title, one, other) in parts {
        let rows = changed(&one, &other, top);
        if !rows.is_empty() {
            let blocks = vec![Block::Table(Table { head: head.clone(), rows })];
            sections.push(Section { title: title.to_owned(), blocks });
        }
    }
    Document { title: "Two logs".to_owned(), sections }
}

fn row(name: &str, one: u64, other: u64) -> Vec<String> {
    vec![name.to_owned(), one.to_string(), other.to_string(), change(one, other)]
}

fn change(one: u64, other: u64) -> String {
    match (one, other) {
        (0, 0) => String::new(),
        (0, _) => "new".to_owned(),
        (_, 0) => "gone".to_owned(),
        _ => format!("{:+.0} %", (other as f64 / one as f64 - 1.0) * 100.0),
    }
}

fn share(rate: Rate) -> String {
    rate.percent.map_or_else(|| format!("{} of {}", rate.numerator, rate.denominator), |share| format!("{share:.2} %"))
}

fn points(one: Rate, other: Rate) -> String {
    one.percent.zip(other.percent).map_or(String::new(), |(one, other)| format!("{:+.2}", other - one))
}

/// What changed most, first.
fn changed(one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>, top: usize) -> Vec<Vec<String>> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut rows: Vec<(u64, &String, u64, u64)> = names
        .into_iter()
        .map(|name| {
            let counts = [one, other].map(|counts| counts.get(name).copied().unwrap_or(0));
            (counts[0].abs_diff(counts[1]), name, counts[0], counts[1])
        })
        .filter(|(difference, ..)| *difference > 0)
        .collect();
    rows.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1)));
    rows.into_iter().take(top).map(|(_, name, one, other)| row(name, one, other)).collect()
}
