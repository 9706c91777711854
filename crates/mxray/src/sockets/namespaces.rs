//! `mxray sockets --namespaces`: the network namespaces of this machine, who lives in them, and their listeners on ports of
//! mail. It says what to give to `--netns`.

use super::Format;
use crate::exit;
use mxray_host::namespaces::{self, Interest, MAIL_PORTS};
use mxray_host::processes;
use mxray_model::evidence::Namespace;
use mxray_model::{Blind, Seen, Unseen};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Schema of this list's JSON.
const SCHEMA: &str = "mxray/namespaces/1";

#[derive(Debug, Serialize)]
struct List<'a> {
    schema: &'static str,
    rows: &'a [Row],
    unseen: &'a [Unseen],
}

/// One namespace. What is unknown is left out, and `unseen` says why.
#[derive(Debug, Serialize)]
struct Row {
    /// What `--netns` takes.
    netns: String,
    /// The one that this run looks at.
    here: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    names: BTreeSet<String>,
    processes: u32,
    units: BTreeSet<String>,
    software: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interfaces: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<BTreeSet<String>>,
}

/// Lists them; the exit code is 2 where they could not be told apart.
///
/// `ports`: besides those of mail.
///
/// # Errors
/// `out` cannot be written.
pub fn run(ports: &[u16], format: Format, out: &mut dyn Write) -> io::Result<u8> {
    let ports: BTreeSet<u16> = MAIL_PORTS.iter().chain(ports).copied().collect();
    let servers = BTreeMap::new();
    let interest = Interest { servers: &servers, ports: &ports, all: true };
    let seen = match processes::table() {
        Seen::Value(table) => {
            let others = namespaces::look(&table, &interest);
            let own = namespaces::own(&table, &interest);
            others.map(|others| (own, others))
        }
        Seen::Absent => Seen::not_attempted("there is no list of processes"),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    };
    let (own, found) = match seen {
        Seen::Value(both) => both,
        Seen::Absent => return Ok(exit::UNANSWERED),
        Seen::Unknown(blind) => {
            writeln!(io::stderr(), "mxray sockets: {}", blind.why())?;
            return Ok(exit::UNANSWERED);
        }
    };
    let mut unseen = Vec::new();
    let mut rows = vec![row("", true, own, &mut unseen)];
    rows.extend(found.others.into_iter().map(|(key, namespace)| row(&key, false, namespace, &mut unseen)));
    if !found.complete {
        let blind = Blind::NotPermitted { what: "see all processes".to_owned(), needs: "root".to_owned() };
        unseen.push(Unseen { what: "further namespaces".to_owned(), why: blind.why(), needs: blind.needs() });
    }
    if found.left_out > 0 {
        let why = "there are so many, or which processes live in them may not be read".to_owned();
        unseen.push(Unseen { what: format!("{} more namespaces", found.left_out), why, needs: "root".to_owned() });
    }
    write(&rows, &unseen, format, out)?;
    Ok(exit::OK)
}

fn row(key: &str, here: bool, namespace: Namespace, unseen: &mut Vec<Unseen>) -> Row {
    let label = if here { "this namespace" } else { key };
    for blind in [namespace.listeners.blind(), namespace.interfaces.blind()].into_iter().flatten().take(1) {
        let what = format!("the listeners of {label}");
        unseen.push(Unseen { what, why: blind.why(), needs: blind.needs() });
    }
    Row {
        netns: key.to_owned(),
        here,
        inode: namespace.inode.value().copied(),
        processes: namespace.processes,
        interfaces: namespace.interfaces.value().cloned(),
        listeners: namespace.listeners.value().cloned(),
        names: namespace.names,
        units: namespace.units,
        software: namespace.software,
    }
}

fn write(rows: &[Row], unseen: &[Unseen], format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &List { schema: SCHEMA, rows, unseen })?;
            writeln!(out)
        }
        Format::Ndjson => {
            for row in rows {
                serde_json::to_writer(&mut *out, row)?;
                writeln!(out)?;
            }
            for remark in unseen {
                serde_json::to_writer(&mut *out, &serde_json::json!({ "unseen": remark }))?;
                writeln!(out)?;
            }
            Ok(())
        }
        Format::Text => {
            text(rows, out)?;
            let mut stderr = io::stderr().lock();
            unseen.iter().try_for_each(|remark| {
                let needs = if remark.needs.is_empty() { String::new() } else { format!(" (needs {})", remark.needs) };
                writeln!(stderr, "not seen: {}: {}{needs}", remark.what, remark.why)
            })
        }
    }
}

/// Columns as wide as they need be; the listeners, which may be many, stand last.
fn text(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    const HEAD: [&str; 5] = ["NETNS", "PROCESSES", "INTERFACES", "WHO", "LISTENS FOR MAIL"];
    let join = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(",");
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    // Containers of one pod run many things: the first ones say which it is.
    let first = |words: &BTreeSet<String>| match words.len() {
        count @ 4.. => format!("{} +{}", words.iter().take(3).cloned().collect::<Vec<_>>().join(","), count - 3),
        _ => join(words),
    };
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            // The machine's own namespace holds half of its units: those say nothing.
            let who = if row.here || !row.software.is_empty() { &row.software } else { &row.units };
            [
                if row.here { "(this one)".to_owned() } else { row.netns.clone() },
                row.processes.to_string(),
                row.interfaces.as_ref().map_or_else(|| "?".to_owned(), |names| or_dash(join(names))),
                or_dash(first(who)),
                row.listeners.as_ref().map_or_else(|| "?".to_owned(), |listeners| or_dash(join(listeners))),
            ]
        })
        .collect();
    let width = |column: usize| {
        let longest = cells.iter().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max();
        longest.unwrap_or(0).max(HEAD.get(column).map_or(0, |head| head.len()))
    };
    let widths: Vec<usize> = (0..HEAD.len() - 1).map(width).chain(std::iter::once(0)).collect();
    let mut line = |cells: [&str; 5]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(HEAD)?;
    cells.iter().try_for_each(|cells| line(cells.each_ref().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_unknown_is_no_dash() {
        let mut unseen = Vec::new();
        let mail = Namespace {
            names: BTreeSet::from(["mail".to_owned()]),
            processes: 9,
            software: BTreeSet::from(["postfix".to_owned()]),
            listeners: Seen::Value(BTreeSet::from(["tcp/0.0.0.0:25".to_owned()])),
            interfaces: Seen::Value(BTreeSet::from(["eth0".to_owned(), "lo".to_owned()])),
            ..Namespace::default()
        };
        let rows = [row("", true, Namespace::default(), &mut unseen), row("mail", false, mail, &mut unseen)];
        let mut out = Vec::new();
        text(&rows, &mut out).unwrap();
        let wanted = "NETNS       PROCESSES  INTERFACES  WHO      LISTENS FOR MAIL\n\
                      (this one)  0          ?           -        ?\n\
                      mail        9          eth0,lo     postfix  tcp/0.0.0.0:25\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert_eq!(unseen.len(), 1);
        let mut json = Vec::new();
        write(&rows, &unseen, Format::Json, &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["rows"][1]["listeners"][0], "tcp/0.0.0.0:25");
        assert!(json["rows"][0].get("listeners").is_none() && json["rows"][0]["here"] == true);
    }
}
