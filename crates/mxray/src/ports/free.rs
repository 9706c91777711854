//! `mxray ports free [RANGE]`: ports that nothing speaks against, and what speaks against the others. Decided by the same rules as
//! `ports plan`.

use super::file;
use super::plan::decide::{Decision, Weight, decide};
use super::plan::facts::Facts;
use super::plan::text::{filled, unseen};
use super::plan::wish::{LowPorts, Starter, Wish};
use super::plan::{Protocol, address, json, look, propose, range};
use crate::cli::ListFormatArgs;
use crate::config::Config;
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use clap::Args;
use mxray_model::evidence::{Exposure, PortRange, V6Policy};
use mxray_model::{Seen, Unseen};
use serde_json::json;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

/// Ports that need no privilege and that IANA leaves to registered services, where connections rarely come from.
const USUAL: PortRange = PortRange { first: 1024, last: 32767 };

const EXAMPLES: &str = "\
Free means: nobody has it, nothing is configured to take it at the next restart,
the assignments file gives it to nobody, /etc/services has no name for it, and
no outgoing connection takes it. Exit code 1 where none is.

Examples:
  mxray ports free
      ten ports for a new service
  mxray ports free 10020-10040
      all of a range, with what speaks against those that are not free
  mxray ports free 1-1023 --count 5 --address 127.0.0.1
      low ports, for a service that starts as root
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FreeArgs {
    /// These ports [default: 1024-32767, without those that are not free]
    #[arg(value_name = "FIRST-LAST", value_parser = range)]
    pub range: Option<PortRange>,

    /// For a service on these addresses only [default: all]
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = address)]
    pub address: Vec<IpAddr>,

    /// Transport
    #[arg(long, value_enum, default_value = "tcp", value_name = "PROTOCOL")]
    pub protocol: Protocol,

    /// Stop after so many free ports [default: 10, or all of a range that is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub count: Option<u16>,

    /// The assignments file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub output: ListFormatArgs,
}

/// One port with what speaks against it.
pub struct Row {
    pub port: u16,
    pub free: bool,
    pub decision: Decision,
}

pub fn run(args: &FreeArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment
        .format(args.output.json, args.output.format, crate::cli::ListFormat::Text)
        .map_err(Failure::Usage)?;
    let assignments = file::wanted(args.file.as_deref(), config, environment)?;
    let within = args.range.unwrap_or(USUAL);
    let seen = look::look(config, assignments.map_or(Seen::Absent, Seen::Value), &args.address, &|port| {
        args.range.is_some_and(|range| (range.first..=range.last).contains(&port))
    });
    if let Seen::Unknown(blind) = &seen.facts.holders {
        return Err(Failure::Unanswered(format!("which ports are in use: {}", blind.why())));
    }
    let most = args.count.or(args.range.is_none().then_some(10));
    let rows = rows(&wish(args), within, most, &seen.facts);
    // Of a range that nobody named, what is taken is of no interest.
    let shown: Vec<&Row> = rows.iter().filter(|row| row.free || args.range.is_some()).collect();
    let options = output.options();
    match format {
        crate::cli::ListFormat::Text => output
            .emit(|out| out.write_all(text(&shown, &seen.facts.unseen, usize::from(options.columns)).as_bytes()))?,
        crate::cli::ListFormat::Json => output.emit(|out| as_json(&shown, &seen.facts.unseen, out))?,
    }
    Ok(if rows.iter().any(|row| row.free) { exit::OK } else { exit::FINDING })
}

/// A service of nobody in particular that starts as root.
fn wish(args: &FreeArgs) -> Wish {
    Wish {
        service: String::new(),
        protocol: args.protocol.name().to_owned(),
        port: 0,
        addresses: args.address.clone(),
        v6: V6Policy::Any,
        reuse_port: false,
        starter: Starter {
            uid: 0,
            user: "root".to_owned(),
            assumed: true,
            unit: None,
            low_ports: LowPorts::May { because: "it starts as root".to_owned() },
            confined: Vec::new(),
        },
        exposure: Exposure::Public,
    }
}

/// From the first port on, until `most` are free.
fn rows(wish: &Wish, within: PortRange, most: Option<u16>, facts: &Facts) -> Vec<Row> {
    let mut found = Vec::new();
    let mut free = 0;
    for port in within.first..=within.last {
        if most.is_some_and(|most| free >= most) {
            break;
        }
        let decision = decide(&wish.on(port), facts);
        let is_free = propose::is_clear(&decision);
        free += u16::from(is_free);
        found.push(Row { port, free: is_free, decision });
    }
    found
}

/// Neighbours of which the same is to be said stand in one line.
fn text(rows: &[&Row], all_unseen: &[Unseen], columns: usize) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("no port is free\n");
    }
    let mut rest = rows;
    while let Some((first, _)) = rest.split_first() {
        let said = against(first);
        let alike = rest
            .iter()
            .zip(u32::from(first.port)..)
            .take_while(|(row, port)| u32::from(row.port) == *port && row.free == first.free && against(row) == said)
            .count();
        let last = rest.get(alike.saturating_sub(1)).map_or(first.port, |row| row.port);
        let ports = if last == first.port { first.port.to_string() } else { format!("{}-{last}", first.port) };
        let word = if first.free { "free" } else { "no" };
        let line = format!("{ports:<12}{word:<6}{said}");
        filled_at(line.trim_end(), columns, &mut text);
        rest = rest.get(alike.max(1)..).unwrap_or_default();
    }
    unseen(all_unseen, columns, &mut text);
    text
}

fn filled_at(line: &str, columns: usize, text: &mut String) {
    let (head, said) = line.split_at(line.len().min(18));
    if said.is_empty() {
        text.push_str(head.trim_end());
        return text.push('\n');
    }
    let mut body = String::new();
    filled(said, 0, 18, columns.saturating_sub(18).max(40), &mut body);
    text.push_str(head);
    text.push_str(&body);
}

/// What speaks against it: the heaviest reason, without the port's own number, so that neighbours can stand together.
fn against(row: &Row) -> String {
    if row.free {
        return String::new();
    }
    let heavy =
        row.decision.reasons.iter().filter(|reason| reason.weight != Weight::Remark || reason.code == "registered");
    let said: Vec<String> = heavy
        .filter(|reason| reason.code != "unread" && reason.code != "assignments")
        .map(|reason| {
            let at = reason.at.as_ref().map_or_else(String::new, |at| format!(" [{at}]"));
            format!("{}{at}", reason.text)
        })
        .collect();
    said.join("; ")
}

fn as_json(rows: &[&Row], unseen: &[Unseen], out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let reasons: Vec<_> = row.decision.reasons.iter().map(json::reason).collect();
            json!({ "port": row.port, "free": row.free, "reasons": reasons })
        })
        .collect();
    writeln!(out, "{}", json!({ "schema": "mxray/ports-free/1", "rows": rows, "unseen": unseen }))
}
