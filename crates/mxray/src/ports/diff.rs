//! `mxray ports diff A B`: what two saved reports say differently about ports. Both are read as `doctor --replay` reads them; the
//! comparison is of the tables in `standing`, and pure.

use super::standing::{Actual, Configured, Declared, Key, Standing, table};
use crate::cli::{ListFormat, ListFormatArgs};
use crate::doctor;
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use clap::Args;
use mxray_model::text::untrusted;
use mxray_model::{Evidence, Seen, Unseen};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Both are JSON reports of `mxray doctor` or `mxray ports audit`. Exit code 1:
something differs; 2: nothing does, but not everything could be compared.

Examples:
  mxray ports audit --json >before.json; …; mxray ports audit --json >after.json
  mxray ports diff before.json after.json
      what an upgrade changed
  ssh mx2 mxray doctor --no-sessions --json | mxray ports diff mx1.json -
      two hosts that should be alike
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    /// The first report; `-` reads standard input
    #[arg(value_name = "A")]
    pub first: PathBuf,

    /// The second report; `-` reads standard input
    #[arg(value_name = "B")]
    pub second: PathBuf,

    #[command(flatten)]
    pub output: ListFormatArgs,
}

pub fn run(args: &DiffArgs, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment.format(args.output.json, args.output.format, ListFormat::Text).map_err(Failure::Usage)?;
    if args.first == Path::new("-") && args.second == Path::new("-") {
        return Err(Failure::Usage("standard input can be one of the two reports, not both".to_owned()));
    }
    let (first, second) = (side(&args.first)?, side(&args.second)?);
    let diff = compare(&first.evidence, &second.evidence);
    let text = match format {
        ListFormat::Text => text(&first, &second, &diff),
        ListFormat::Json => format!("{}\n", as_json(&first, &second, &diff)),
    };
    output.emit(|out| out.write_all(text.as_bytes()))?;
    Ok(match (diff.rows.is_empty(), diff.unseen.is_empty()) {
        (false, _) => exit::FINDING,
        (true, false) => exit::UNANSWERED,
        (true, true) => exit::OK,
    })
}

/// One of the two reports.
struct Side {
    name: String,
    host: String,
    started: String,
    evidence: Evidence,
}

fn side(file: &Path) -> Result<Side, Failure> {
    let saved = doctor::saved(file, "ports diff")?;
    Ok(Side {
        name: untrusted(file.as_os_str().as_encoded_bytes()),
        host: untrusted(saved.evidence.vantage.host_name.as_bytes()),
        started: untrusted(saved.started.as_bytes()),
        evidence: saved.evidence,
    })
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// `listener`, `configured`, `declared`, `forbidden`
    what: &'static str,
    /// `added`, `removed`, or what changed: `owner`, `exposure`, `addresses`, …
    change: &'static str,
    port: u16,
    protocol: String,
    /// The entry or the software, where there may be several on a port.
    name: String,
    before: String,
    after: String,
}

struct Diff {
    rows: Vec<Row>,
    unseen: Vec<Unseen>,
}

/// Which of the three a report can speak of at all.
struct Spoken {
    listeners: bool,
    declared: bool,
}

impl Spoken {
    fn of(evidence: &Evidence) -> Spoken {
        Spoken { listeners: evidence.sockets.blind().is_none(), declared: evidence.assignments.blind().is_none() }
    }
}

fn compare(first: &Evidence, second: &Evidence) -> Diff {
    let ((before, blind_before), (after, blind_after)) = (table(first), table(second));
    let (one, two) = (Spoken::of(first), Spoken::of(second));
    // What only one of the two could see is no difference between hosts.
    let listeners = one.listeners && two.listeners;
    let declared = one.declared && two.declared;
    let software =
        |unseen: &[Unseen]| -> BTreeSet<String> { unseen.iter().map(|unseen| unseen.what.clone()).collect() };
    let hidden: BTreeSet<String> = software(&blind_before).union(&software(&blind_after)).cloned().collect();
    let nothing = Standing::default();
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let mut rows = Vec::new();
    for key in keys {
        let (one, two) = (before.get(key).unwrap_or(&nothing), after.get(key).unwrap_or(&nothing));
        let mut differ = Differ { key, rows: &mut rows };
        if listeners {
            differ.listeners(one.actual.as_ref(), two.actual.as_ref());
        }
        differ.configured(&one.configured, &two.configured, &hidden);
        if declared {
            differ.declared(&one.declared, &two.declared);
            differ.forbidden(one.forbidden.as_deref(), two.forbidden.as_deref());
        }
    }
    let in_which = |unseen: Vec<Unseen>, side: &'static str| {
        unseen.into_iter().map(move |unseen| Unseen { what: format!("{side}: {}", unseen.what), ..unseen })
    };
    let mut unseen: Vec<Unseen> = in_which(blind_before, "A").chain(in_which(blind_after, "B")).collect();
    unseen.extend(owners_hidden(first, "A").into_iter().chain(owners_hidden(second, "B")));
    Diff { rows, unseen }
}

/// Listeners whose owner nobody could see: a change of owner cannot be told for these.
fn owners_hidden(evidence: &Evidence, side: &str) -> Option<Unseen> {
    let listeners = evidence.sockets.value()?.listeners.values();
    let hidden = |listener: &&mxray_model::evidence::Listener| {
        !matches!(listener.unit, Seen::Value(_)) && listener.owners.blind().is_some()
    };
    let blinds: Vec<_> = listeners.filter(hidden).filter_map(|listener| listener.owners.blind()).collect();
    let first = blinds.first()?;
    let what = format!("{side}: owners of {} listeners", blinds.len());
    Some(Unseen { what, why: first.why(), needs: first.needs() })
}

/// Collects the differences of one port.
struct Differ<'a> {
    key: &'a Key,
    rows: &'a mut Vec<Row>,
}

impl Differ<'_> {
    fn row(&mut self, what: &'static str, change: &'static str, name: &str, before: String, after: String) {
        let (port, protocol) = self.key;
        let name = name.to_owned();
        self.rows.push(Row { what, change, port: *port, protocol: protocol.clone(), name, before, after });
    }

    fn changed(&mut self, what: &'static str, change: &'static str, name: &str, before: String, after: String) {
        if before != after {
            self.row(what, change, name, before, after);
        }
    }

    fn listeners(&mut self, before: Option<&Actual>, after: Option<&Actual>) {
        match (before, after) {
            (None, None) => {}
            (Some(gone), None) => self.row("listener", "removed", "", listener(gone), String::new()),
            (None, Some(new)) => self.row("listener", "added", "", String::new(), listener(new)),
            (Some(before), Some(after)) => {
                self.changed("listener", "addresses", "", words(&before.addresses), words(&after.addresses));
                let reach = |actual: &Actual| actual.reach.as_str().to_owned();
                self.changed("listener", "exposure", "", reach(before), reach(after));
                // Nobody was seen to own it on one side: that is no change.
                if !before.owners.is_empty() && !after.owners.is_empty() {
                    self.changed("listener", "owner", "", words(&before.owners), words(&after.owners));
                }
                let users = |actual: &Actual| words(&actual.uids.iter().map(u32::to_string).collect());
                self.changed("listener", "uid", "", users(before), users(after));
            }
        }
    }

    fn configured(
        &mut self,
        before: &BTreeMap<String, Configured>,
        after: &BTreeMap<String, Configured>,
        hidden: &BTreeSet<String>,
    ) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let software = name.split(' ').next().unwrap_or(name);
            match (before.get(name), after.get(name)) {
                _ if hidden.iter().any(|what| what.ends_with(&format!("configuration of {software}"))) => {}
                (Some(gone), None) => self.row("configured", "removed", name, configured(gone), String::new()),
                (None, Some(new)) => self.row("configured", "added", name, String::new(), configured(new)),
                (Some(before), Some(after)) => {
                    self.changed("configured", "addresses", name, words(&before.addresses), words(&after.addresses));
                    if before.at_boot != "unknown" && after.at_boot != "unknown" {
                        let (one, two) = (before.at_boot.to_owned(), after.at_boot.to_owned());
                        self.changed("configured", "at_boot", name, one, two);
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn declared(&mut self, before: &BTreeMap<String, Declared>, after: &BTreeMap<String, Declared>) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            match (before.get(name), after.get(name)) {
                (Some(gone), None) => self.row("declared", "removed", name, declared(gone), String::new()),
                (None, Some(new)) => self.row("declared", "added", name, String::new(), declared(new)),
                (Some(before), Some(after)) => {
                    let range = |entry: &Declared| {
                        entry.range.map_or_else(String::new, |(first, last)| format!("{first}-{last}"))
                    };
                    self.changed("declared", "exposure", name, before.exposure.clone(), after.exposure.clone());
                    self.changed("declared", "owner", name, before.owner.clone(), after.owner.clone());
                    self.changed("declared", "addresses", name, words(&before.addresses), words(&after.addresses));
                    self.changed("declared", "range", name, range(before), range(after));
                    self.changed("declared", "tls", name, before.tls.to_owned(), after.tls.to_owned());
                    self.changed("declared", "v6", name, before.v6.to_owned(), after.v6.to_owned());
                    self.changed("declared", "purpose", name, before.purpose.clone(), after.purpose.clone());
                    self.changed("declared", "contact", name, before.contact.clone(), after.contact.clone());
                }
                (None, None) => {}
            }
        }
    }

    fn forbidden(&mut self, before: Option<&str>, after: Option<&str>) {
        let change = match (before, after) {
            (None, Some(_)) => "added",
            (Some(_), None) => "removed",
            _ => "reason",
        };
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        self.changed("forbidden", change, "", text(before), text(after));
    }
}

fn words(all: &BTreeSet<String>) -> String {
    all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn listener(actual: &Actual) -> String {
    let owners = if actual.owners.is_empty() { "an owner that was not seen".to_owned() } else { words(&actual.owners) };
    format!("{owners} on {} ({})", words(&actual.addresses), actual.reach.as_str())
}

fn configured(configured: &Configured) -> String {
    format!("{} in {}", words(&configured.addresses), configured.at)
}

fn declared(declared: &Declared) -> String {
    let owner = if declared.owner.is_empty() { String::new() } else { format!(" for {}", declared.owner) };
    format!("{}{owner}, {}", declared.exposure, declared.at)
}

fn text(first: &Side, second: &Side, diff: &Diff) -> String {
    let mut text = String::new();
    for (letter, side) in [("A", first), ("B", second)] {
        let host = if side.host.is_empty() { "a host without a name" } else { &side.host };
        let _ = writeln!(text, "{letter}: {host}, {} ({})", side.started, side.name);
    }
    text.push('\n');
    if diff.rows.is_empty() {
        text.push_str("no difference\n");
    }
    for row in &diff.rows {
        let name = if row.name.is_empty() { String::new() } else { format!(" {}", row.name) };
        let head = format!("{}/{} {}{name}", row.port, row.protocol, row.what);
        let _ = match (row.before.as_str(), row.after.as_str(), row.change) {
            (_, after, "added") => writeln!(text, "+ {head}: {after}"),
            (before, _, "removed") => writeln!(text, "- {head}: {before}"),
            (before, after, change) => writeln!(text, "~ {head}, {change}: {} -> {}", shown(before), shown(after)),
        };
    }
    if !diff.unseen.is_empty() {
        text.push('\n');
    }
    for unseen in &diff.unseen {
        let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
        let _ = writeln!(text, "not seen: {}: {}{needs}", unseen.what, unseen.why);
    }
    text
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn as_json(first: &Side, second: &Side, diff: &Diff) -> Value {
    let side = |side: &Side| json!({ "file": side.name, "host": side.host, "started": side.started });
    let rows: Vec<Value> = diff
        .rows
        .iter()
        .map(|row| {
            json!({
                "what": row.what, "change": row.change, "port": row.port, "protocol": row.protocol,
                "name": row.name, "before": row.before, "after": row.after,
            })
        })
        .collect();
    json!({ "schema": "mxray/ports-diff/1", "a": side(first), "b": side(second), "rows": rows, "unseen": diff.unseen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Blind;
    use mxray_model::evidence::*;

    fn listener(address: &str, port: u16, unit: &str, uid: u32) -> (String, Listener) {
        let listener = Listener {
            protocol: "tcp".to_owned(),
            address: address.parse().unwrap(),
            port,
            v6_only: Seen::Absent,
            uid,
            inode: u64::from(port) + u64::from(uid),
            unit: if unit.is_empty() { Seen::Absent } else { Seen::Value(unit.to_owned()) },
            owners: Seen::Value(vec![Owner { pid: uid + 100, name: "master".to_owned() }]),
            queue: Seen::Absent,
            drops: Seen::Absent,
            interface: 0,
        };
        (format!("tcp/{address}:{port}"), listener)
    }

    fn evidence(listeners: &[(&str, u16, &str, u32)], assignments: &str) -> Evidence {
        let listeners =
            listeners.iter().map(|(address, port, unit, uid)| listener(address, *port, unit, *uid)).collect();
        let (file, complaints) = crate::ports::file::parse(Path::new("/f"), &format!("version = 1\n{assignments}"));
        assert!(complaints.is_empty(), "{complaints:?}");
        Evidence {
            sockets: Seen::Value(Sockets { listeners, ..Sockets::default() }),
            servers: Seen::Absent,
            units: Seen::Absent,
            bystanders: Seen::Absent,
            assignments: Seen::Value(file),
            addresses: Seen::Value(BTreeSet::from(["127.0.0.1".parse().unwrap(), "9.9.9.9".parse().unwrap()])),
            ..Evidence::default()
        }
    }

    fn told(diff: &Diff) -> Vec<String> {
        diff.rows
            .iter()
            .map(|row| format!("{} {} {} {} -> {}", row.port, row.what, row.change, row.before, row.after))
            .collect()
    }

    #[test]
    fn the_same_twice_is_no_difference_and_neither_are_process_ids() {
        let one = evidence(&[("0.0.0.0", 25, "postfix.service", 0)], "");
        let mut two = one.clone();
        if let Seen::Value(sockets) = &mut two.sockets {
            for listener in sockets.listeners.values_mut() {
                listener.inode += 9;
                listener.owners = Seen::Value(vec![Owner { pid: 4711, name: "master".to_owned() }]);
            }
        }
        let diff = compare(&one, &two);
        assert!(diff.rows.is_empty() && diff.unseen.is_empty(), "{:?} {:?}", diff.rows, diff.unseen);
    }

    #[test]
    fn each_kind_of_change_has_its_row() {
        let before = evidence(
            &[("127.0.0.1", 25, "exim4.service", 0), ("127.0.0.1", 10023, "", 0)],
            "[[service]]\nname = \"smtp\"\nport = 25\nexposure = \"loopback\"\n[[forbidden]]\nport = 110\n",
        );
        let after = evidence(
            &[("0.0.0.0", 25, "postfix.service", 7), ("127.0.0.1", 2525, "", 0)],
            "[[service]]\nname = \"smtp\"\nport = 25\nexposure = \"public\"\n",
        );
        assert_eq!(
            told(&compare(&before, &after)),
            [
                "25 listener addresses 127.0.0.1 -> 0.0.0.0",
                "25 listener exposure loopback -> public",
                "25 listener owner exim4.service -> postfix.service",
                "25 listener uid 0 -> 7",
                "25 declared exposure loopback -> everybody",
                "110 forbidden removed must not listen -> ",
                "2525 listener added  -> master on 127.0.0.1 (loopback)",
                "10023 listener removed master on 127.0.0.1 (loopback) -> ",
            ]
        );
    }

    #[test]
    fn what_one_side_could_not_see_is_not_gone() {
        let before = evidence(
            &[("127.0.0.1", 25, "exim4.service", 0)],
            "[[service]]\nname = \"a\"\nport = 25\nexposure = \"public\"\n",
        );
        let mut after = before.clone();
        let blind = || Blind::NotPermitted { what: "look".to_owned(), needs: "root".to_owned() };
        after.sockets = Seen::Unknown(blind());
        after.assignments = Seen::Unknown(blind());
        let diff = compare(&before, &after);
        assert!(diff.rows.is_empty(), "{:?}", told(&diff));
        assert_eq!(diff.unseen.len(), 2);
        let mut server = mxray_host::mta::draft("postfix", "smtp inet n - y - - smtpd\n").unwrap();
        server.enabled = true;
        let mut before = before;
        before.servers = Seen::Value(BTreeMap::from([("postfix".to_owned(), server)]));
        let mut after = before.clone();
        after.servers = Seen::Absent;
        assert_eq!(compare(&before, &after).rows.len(), 1);
        after.servers = Seen::Unknown(blind());
        after.unread.insert("postfix".to_owned(), blind());
        assert!(compare(&before, &after).rows.is_empty());
    }
}
