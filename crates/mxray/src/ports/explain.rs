//! `mxray ports explain`: one packet's way through this host's packet filters.
//!
//! The rules are read and walked; nothing is sent. What a blocked port means for mail is `mxray doctor`'s business.

mod text;

use crate::cli::{ListFormat, ListFormatArgs};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::routes::{Stop, senders, user};
use clap::Args;
use mxray_host::firewall::{self, Rulesets, Way};
use mxray_host::names::{Services, primary_group};
use mxray_host::programs::Programs;
use mxray_host::{kernel, routes};
use mxray_model::evidence::{Direction, FilterAnswer, FilterVerdict, Firewall, Packet};
use mxray_model::special::is_special;
use mxray_model::{Blind, Fix, Seen, Unseen};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const SCHEMA: &str = "mxray/ports-explain/1";
/// Rulesets are read, and the mail servers' configuration is asked for, within this.
const WITHIN: Duration = Duration::from_secs(5);
/// Anybody on the Internet.
const STRANGER4: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 97, 33, 1));
const STRANGER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 1));
/// Own addresses that are asked about; more are pools.
const ADDRESSES_MAX: usize = 8;

const EXAMPLES: &str = "\
A connection is two packets: where the first one passes, its answer is walked,
too. Exit code 2: the rules cannot be read, or the verdict is not known.

Examples:
  mxray ports explain 25
      could anybody on the Internet reach port 25 here, and which rule decides?
  mxray ports explain 587 --from 192.0.2.7
      the same for one client: is it banned?
  mxray ports explain 25 --out --to 198.51.100.25
      could the mail server connect there? (And root, where that differs)
  mxray ports explain 53 --out --udp --to 192.0.2.53 --as postfix
  mxray ports explain submission --in --interface wg0 --json
";

/// Which packet.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The port that is connected to, by number or by its name in /etc/services
    #[arg(value_name = "PORT")]
    pub port: String,

    /// A packet that comes in (the default)
    #[arg(long = "in", conflicts_with = "out")]
    pub inward: bool,

    /// A packet that this host sends
    #[arg(long)]
    pub out: bool,

    /// Where it comes from [default: anybody on the Internet; with --out, what routing says]
    #[arg(long, value_name = "ADDR")]
    pub from: Option<IpAddr>,

    /// Where it goes [default: this host's own addresses; with --out, anybody on the Internet]
    #[arg(long, value_name = "ADDR")]
    pub to: Option<IpAddr>,

    /// Whose process sends it: a user by name or number [default: the mail server's]
    #[arg(long = "as", value_name = "USER|UID", requires = "out")]
    pub user: Option<String>,

    /// UDP instead of TCP
    #[arg(long)]
    pub udp: bool,

    /// The interface that it comes in or leaves by [default: what routing says]
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,

    #[command(flatten)]
    pub format: ListFormatArgs,
}

/// One packet with its answer.
pub(super) struct Row {
    pub answer: FilterAnswer,
    /// The answer to it, where it passes and that is stopped.
    pub back: Option<FilterAnswer>,
    /// Whose it is: `postfix (uid 107)`.
    pub sender: Option<String>,
    pub fixes: Vec<Fix>,
}

impl Row {
    /// What decides about the connection.
    pub fn deciding(&self) -> &FilterAnswer {
        self.back.as_ref().unwrap_or(&self.answer)
    }
}

pub fn run(args: &ExplainArgs, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment
        .format(args.format.json, args.format.format, ListFormat::Text)
        .map_err(Failure::Usage)?;
    let port = Services::read()
        .port(&args.port)
        .filter(|port| *port > 0)
        .ok_or_else(|| Failure::Usage(format!("{}: neither a port nor a name in /etc/services", mxray_model::text::untrusted(args.port.as_bytes()))))?;
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from.is_ipv4() != to.is_ipv4()
    {
        return Err(Failure::Usage("--from and --to are of different families".to_owned()));
    }
    let until = Instant::now() + WITHIN;
    let programs = Programs::new(until);
    let rulesets = firewall::read(&programs, until);
    programs.end();
    let rulesets = match rulesets {
        Seen::Value(rulesets) => rulesets,
        Seen::Absent => Rulesets::default(),
        Seen::Unknown(blind) => return unreadable(&blind, format, output),
    };
    let mut unseen: Vec<Unseen> = rulesets
        .unread
        .iter()
        .map(|(what, blind)| Unseen { what: format!("the rules of {what}"), why: blind.why(), needs: blind.needs() })
        .collect();
    let rows = rows(args, port, &rulesets, &mut unseen)?;
    output.emit(|out| match format {
        ListFormat::Text => text::write(&rows, &rulesets.tables(), &unseen, out),
        ListFormat::Json => json(&rows, &unseen, out),
    })?;
    let known = !rows.is_empty()
        && rows.iter().all(|row| !matches!(row.deciding().verdict, FilterVerdict::Unknown { .. } | FilterVerdict::Queue));
    Ok(if known { exit::OK } else { exit::UNANSWERED })
}

/// The question stays without an answer, and a program is told so as well.
fn unreadable(blind: &Blind, format: ListFormat, output: &mut Output) -> Result<u8, Failure> {
    if format == ListFormat::Json {
        let unseen = [Unseen { what: "the packet filters' rules".to_owned(), why: blind.why(), needs: blind.needs() }];
        output.emit(|out| json(&[], &unseen, out))?;
        return Ok(exit::UNANSWERED);
    }
    let needs = if blind.needs().is_empty() { String::new() } else { format!(" (needs {})", blind.needs()) };
    Err(Failure::Unanswered(format!("the packet filters' rules: {}{needs}", blind.why())))
}

fn rows(
    args: &ExplainArgs,
    port: u16,
    rulesets: &Rulesets,
    unseen: &mut Vec<Unseen>,
) -> Result<Vec<Row>, Failure> {
    let blind = |error: routes::TalkError| Failure::Unanswered(error.blind().why());
    let tables = routes::look().map_err(blind)?;
    let local = kernel::settings().local_ports.value().map_or(46_000, |range| range.first / 2 + range.last / 2);
    let senders = if args.out { askers(args, unseen)? } else { Vec::new() };
    let cgroups = senders.iter().filter_map(|sender| sender.cgroup.clone());
    let mut way = Way::new(rulesets, &tables, cgroups, local).map_err(blind)?;
    let facts = Firewall { tables: rulesets.tables(), ..Firewall::default() };
    let mut rows = Vec::new();
    if args.out {
        outward(args, port, &mut way, &senders, unseen, &mut rows);
    } else {
        inward(args, port, &mut way, &tables, &mut rows);
    }
    if rows.is_empty() {
        unseen.push(Unseen {
            what: "the packet".to_owned(),
            why: "no route leads there, or this host has no address of that family".to_owned(),
            needs: "--from and --to: mxray routes shows what there is".to_owned(),
        });
    }
    for row in &mut rows {
        if row.deciding().verdict.stops() {
            row.fixes = mxray_rules::filter_fixes(&facts, row.deciding(), "the same command again");
        }
    }
    Ok(rows)
}

fn inward(args: &ExplainArgs, port: u16, way: &mut Way<'_>, tables: &routes::Tables, rows: &mut Vec<Row>) {
    let protocol = if args.udp { "udp" } else { "tcp" };
    for to in destinations(args, tables) {
        let from = args.from.unwrap_or(if to.is_ipv4() { STRANGER4 } else { STRANGER6 });
        let mut packet = way.packet_in(protocol, (from, Some(way.local_port())), (to, Some(port)), "new");
        if args.interface.is_some() {
            packet.interface_in.clone_from(&args.interface);
        }
        rows.push(walked(way, &packet, None));
    }
}

/// What was typed, else own addresses: the public ones where there are any.
fn destinations(args: &ExplainArgs, tables: &routes::Tables) -> Vec<IpAddr> {
    if let Some(to) = args.to {
        return vec![to];
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for ipv4 in [true, false] {
        if args.from.is_some_and(|from| from.is_ipv4() != ipv4) {
            continue;
        }
        let own = tables.addresses.iter().filter(|own| own.is_beyond_link() && own.address.is_ipv4() == ipv4);
        let own: Vec<IpAddr> = own.map(|own| own.address).filter(|address| !address.is_loopback()).collect();
        let public: Vec<IpAddr> = own.iter().copied().filter(|address| !is_special(*address)).collect();
        found.extend(if public.is_empty() { own } else { public });
    }
    let mut seen = BTreeSet::new();
    found.retain(|address| seen.insert(*address));
    found.truncate(ADDRESSES_MAX);
    found
}

/// Who sends.
struct Asker {
    uid: Option<u32>,
    name: String,
    cgroup: Option<String>,
    sources: Vec<IpAddr>,
}

fn askers(args: &ExplainArgs, unseen: &mut Vec<Unseen>) -> Result<Vec<Asker>, Failure> {
    if let Some(text) = &args.user {
        let (uid, name) = user(text).map_err(|stop| match stop {
            Stop::Usage(what) => Failure::Usage(what),
            Stop::Blind(blind) => Failure::Unanswered(blind.why()),
        })?;
        let name = if name.is_empty() { format!("uid {uid}") } else { format!("{name} (uid {uid})") };
        return Ok(vec![Asker { uid: Some(uid), name, cgroup: None, sources: Vec::new() }]);
    }
    let mut found: Vec<Asker> = Vec::new();
    for (server, facts) in senders(unseen) {
        let Some(account) = facts.egress.account.value() else { continue };
        if found.iter().all(|known| known.uid != Some(account.uid)) {
            found.push(Asker {
                uid: Some(account.uid),
                name: format!("{server}: {} (uid {})", account.name, account.uid),
                cgroup: facts.master.value().and_then(|master| firewall::cgroup_of(master.pid)),
                sources: facts.egress.sources.iter().map(|source| source.value).collect(),
            });
        }
    }
    let root = || Asker { uid: Some(0), name: "root".to_owned(), cgroup: None, sources: Vec::new() };
    if found.iter().all(|known| known.uid != Some(0)) {
        found.push(root());
    }
    Ok(found)
}

fn outward(
    args: &ExplainArgs,
    port: u16,
    way: &mut Way<'_>,
    senders: &[Asker],
    unseen: &mut Vec<Unseen>,
    rows: &mut Vec<Row>,
) {
    let protocol = if args.udp { "udp" } else { "tcp" };
    let family = args.to.or(args.from).map(|address| address.is_ipv4());
    let strangers = [STRANGER4, STRANGER6];
    let to: Vec<IpAddr> = match args.to {
        Some(to) => vec![to],
        None => strangers.into_iter().filter(|to| family.is_none_or(|ipv4| ipv4 == to.is_ipv4())).collect(),
    };
    for to in to {
        let mut of: Vec<Row> = Vec::new();
        for sender in senders {
            let bound = sender.sources.iter().copied().find(|source| source.is_ipv4() == to.is_ipv4());
            let Some(mut packet) = way.packet_out(protocol, args.from.or(bound), (to, port), sender.uid) else { continue };
            packet.gid = sender.uid.and_then(|uid| primary_group(uid).value().copied());
            packet.cgroup.clone_from(&sender.cgroup);
            if args.interface.is_some() {
                packet.interface_out.clone_from(&args.interface);
            }
            let row = walked(way, &packet, Some(sender.name.clone()));
            // Root is told of only where it makes a difference.
            let same = of.iter().any(|known| {
                known.deciding().verdict == row.deciding().verdict && known.deciding().by == row.deciding().by
            });
            if !same {
                of.push(row);
            }
        }
        if of.is_empty() && args.to.is_some() {
            unseen.push(Unseen {
                what: format!("the packet to {to}"),
                why: "the kernel has no route for it".to_owned(),
                needs: format!("mxray routes {to}"),
            });
        }
        rows.extend(of);
    }
}

fn walked(way: &mut Way<'_>, packet: &Packet, sender: Option<String>) -> Row {
    let (answer, back) = firewall::explain(way, packet);
    // Of an answer that passes, and of one of which nothing is known, there is nothing to tell.
    let stops = |back: &FilterAnswer| {
        back.verdict.stops() || (back.packet.direction == Direction::In && !matches!(back.verdict, FilterVerdict::Pass))
    };
    Row { answer, back: back.filter(stops), sender, fixes: Vec::new() }
}

fn json(rows: &[Row], unseen: &[Unseen], out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let row = |row: &Row| {
        serde_json::json!({
            "packet": row.answer.packet,
            "sender": row.sender,
            "verdict": row.deciding().verdict,
            "decided_by": mxray_rules::decided_by(row.deciding()),
            "rule": row.deciding().by,
            "walk": row.answer.walk,
            "rewritten_to": row.answer.rewritten_to,
            "answer": row.back,
            "fix": row.fixes,
        })
    };
    let rows: Vec<serde_json::Value> = rows.iter().map(row).collect();
    writeln!(out, "{}", serde_json::json!({ "schema": SCHEMA, "rows": rows, "unseen": unseen }))
}
