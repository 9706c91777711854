//! What software besides mail servers asks for at its next start: filters, policy services, front ends, super servers,
//! containers. One module reads one software's files; nothing is run, started or asked, but a container engine that runs.
//!
//! What is not understood is told with its line, never guessed. What must not live here: what mail servers ask for (`mta`),
//! socket units (`units`), and whether two of them can stand side by side (`mxray-rules`).

mod amavis;
mod clamav;
mod command;
mod containers;
mod found;
mod haproxy;
mod inetd;
mod kumomta;
mod nginx;
mod perl;
mod place;
mod pmta;
mod policy;
mod postsrsd;
mod shell;
mod signing;
mod spamd;
#[cfg(test)]
mod tests;
mod yaml;

pub use signing::add_signers;

use crate::mta::daemon::{hidden, is_elsewhere};
use crate::mta::machine::Machine;
use crate::mta::names;
use crate::namespaces::MAIL_PORTS;
use crate::processes::Table;
use crate::units::boot::Boot;
use found::{Asked, Found};
use mxray_model::evidence::{AskedListener, Bystanders, Problem};
use mxray_model::{Blind, Seen};
use place::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

/// Ports on which filters, policy services and their like stand by default.
pub const FILTER_PORTS: &[u16] = &[
    783, 3310, 7357, 8552, 8891, 8892, 8893, 8894, 10001, 10002, 10003, 10023, 10024, 10025, 10026, 10027, 10031,
    10040, 11332, 11333, 11334, 12301, 12345, 12525,
];

/// One software, how it is found, and what reads its files.
struct Reader {
    software: &'static str,
    units: &'static [&'static str],
    processes: &'static [&'static str],
    /// One of these is there where it is installed; files alone may be left over.
    programs: &'static [&'static str],
    from_documentation: bool,
    read: fn(&Place, &Boot) -> Seen<Found>,
}

const fn reader(
    software: &'static str,
    units: &'static [&'static str],
    processes: &'static [&'static str],
    programs: &'static [&'static str],
    read: fn(&Place, &Boot) -> Seen<Found>,
) -> Reader {
    Reader { software, units, processes, programs, from_documentation: false, read }
}

const READERS: &[Reader] = &[
    reader(
        "amavis",
        &["amavis.service", "amavisd.service", "amavisd-new.service"],
        &["amavisd", "amavisd-new"],
        &["/usr/sbin/amavisd", "/usr/sbin/amavisd-new", "/usr/bin/amavisd", "/usr/local/sbin/amavisd"],
        |place, _| amavis::read(place),
    ),
    reader(
        "spamassassin",
        spamd::UNITS,
        &["spamd"],
        &["/usr/sbin/spamd", "/usr/bin/spamd", "/usr/local/bin/spamd"],
        spamd::read,
    ),
    reader(
        "clamav",
        &["clamav-daemon.service", "clamd@scan.service", "clamd.service"],
        &["clamd"],
        &["/usr/sbin/clamd", "/usr/local/sbin/clamd"],
        clamav::read_clamd,
    ),
    reader(
        "clamav-milter",
        &["clamav-milter.service"],
        &["clamav-milter"],
        &["/usr/sbin/clamav-milter"],
        clamav::read_milter,
    ),
    reader(
        "postsrsd",
        &["postsrsd.service"],
        &["postsrsd"],
        &["/usr/sbin/postsrsd", "/usr/local/sbin/postsrsd"],
        postsrsd::read,
    ),
    reader("postgrey", &["postgrey.service"], &["postgrey"], &["/usr/sbin/postgrey"], policy::postgrey),
    reader(
        "policyd-rate-limit",
        &["policyd-rate-limit.service"],
        &["policyd-rate-limit", "policyd-rate-li"],
        &["/usr/bin/policyd-rate-limit"],
        policy::rate_limit,
    ),
    reader(
        "policyd-weight",
        &["policyd-weight.service"],
        &["policyd-weight"],
        &["/usr/sbin/policyd-weight"],
        policy::weight,
    ),
    reader(
        "postfwd",
        &["postfwd.service"],
        &["postfwd", "postfwd2", "postfwd3"],
        &["/usr/sbin/postfwd"],
        policy::postfwd,
    ),
    reader("spampd", &["spampd.service"], &["spampd"], &["/usr/sbin/spampd"], policy::spampd),
    reader("clamsmtp", &["clamsmtp.service"], &["clamsmtpd"], &["/usr/sbin/clamsmtpd"], policy::clamsmtp),
    Reader {
        software: "cluebringer",
        units: &["postfix-cluebringer.service", "cluebringer.service", "cbpolicyd.service"],
        processes: &["cbpolicyd"],
        programs: &["/usr/sbin/cbpolicyd", "/usr/bin/cbpolicyd"],
        from_documentation: true,
        read: policy::cluebringer,
    },
    reader(
        "haproxy",
        &["haproxy.service"],
        &["haproxy"],
        &["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"],
        haproxy::read,
    ),
    reader("nginx", &["nginx.service"], &["nginx"], &["/usr/sbin/nginx", "/usr/local/sbin/nginx"], nginx::read),
    reader(
        "inetd",
        &["openbsd-inetd.service", "inetutils-inetd.service", "inetd.service"],
        &["inetd", "inetutils-inetd"],
        &["/usr/sbin/inetd", "/usr/sbin/inetutils-inetd"],
        inetd::read,
    ),
    reader("xinetd", &["xinetd.service"], &["xinetd"], &["/usr/sbin/xinetd"], inetd::read_xinetd),
    Reader {
        software: "powermta",
        units: &["pmta.service"],
        processes: &["pmtad"],
        programs: &["/usr/sbin/pmtad"],
        from_documentation: true,
        read: |place, _| pmta::read(place),
    },
    Reader {
        software: "kumomta",
        units: &["kumomta.service"],
        processes: &["kumod"],
        programs: &["/opt/kumomta/sbin/kumod"],
        from_documentation: true,
        read: |place, _| kumomta::read(place),
    },
];

/// Mail servers, with the services that start them as a whole.
const SERVERS: &[(&str, &[&str])] = &[
    ("dovecot", &["dovecot.service"]),
    ("exim", &["exim4.service", "exim.service"]),
    ("opensmtpd", &["opensmtpd.service", "smtpd.service"]),
    ("postfix", &["postfix.service"]),
    ("sendmail", &["sendmail.service"]),
];

/// Reads all of them.
pub fn look(table: &Seen<Table>) -> Seen<Bystanders> {
    Seen::Value(look_at(&Place::here(), table))
}

fn look_at(place: &Place, table: &Seen<Table>) -> Bystanders {
    let boot = Boot::read(&place.root);
    let mut out = Bystanders::default();
    for (software, units) in SERVERS {
        out.servers_at_boot.insert((*software).to_owned(), boot.of(units).1);
    }
    for reader in READERS {
        let runs = running(table, &Running { units: reader.units, processes: reader.processes, words: &[] });
        let installed = reader.programs.iter().any(|program| place.exists(program)) || boot.knows(reader.units);
        // What neither runs nor could be started has left its files behind.
        if !installed && runs != Seen::Value(true) {
            continue;
        }
        match (reader.read)(place, &boot) {
            Seen::Value(found) => {
                let (unit, at_boot) = boot.of(reader.units);
                let start = Start { unit, at_boot, running: runs };
                keep(&mut out, reader, &start, found);
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                out.unread.insert(reader.software.to_owned(), problem(reader.software, &blind));
            }
        }
    }
    let mut found = Found::default();
    for asked in containers::look(place, &boot, table, &mut found) {
        insert(&mut out, asked);
    }
    unread(&mut out, "containers", found.unread);
    out
}

/// When a software's next start is, and whether it runs.
struct Start {
    unit: String,
    at_boot: Seen<String>,
    running: Seen<bool>,
}

fn keep(out: &mut Bystanders, reader: &Reader, start: &Start, found: Found) {
    for asked in found.asked {
        let asked = listener(reader.software, start, asked);
        insert(out, AskedListener { from_documentation: reader.from_documentation, ..asked });
    }
    unread(out, reader.software, found.unread);
}

fn listener(software: &str, start: &Start, asked: Asked) -> AskedListener {
    let v6_only = if asked.address.is_ipv6() { Seen::Value(asked.v6_only) } else { Seen::Absent };
    AskedListener {
        software: software.to_owned(),
        service: asked.service,
        protocol: if asked.udp { "udp" } else { "tcp" }.to_owned(),
        address: asked.address,
        port: asked.port,
        v6_only,
        reuse_port: asked.reuse_port,
        unit: start.unit.clone(),
        at_boot: start.at_boot.clone(),
        running: start.running.clone(),
        by_dnat: false,
        from_documentation: false,
        at: asked.at,
    }
}

/// Under `haproxy tcp/0.0.0.0:25`; a second one there has `#2` behind it.
fn insert(out: &mut Bystanders, asked: AskedListener) {
    const SAME_MAX: u32 = 50;
    let address = std::net::SocketAddr::new(asked.address, asked.port);
    let key = format!("{} {}/{address}", asked.software, asked.protocol);
    let name = |count: u32| if count == 1 { key.clone() } else { format!("{key}#{count}") };
    if let Some(free) = (1..=SAME_MAX).map(name).find(|name| !out.listeners.contains_key(name)) {
        out.listeners.insert(free, asked);
    }
}

/// The first under the software's own name, the others with their line.
fn unread(out: &mut Bystanders, software: &str, problems: Vec<Problem>) {
    for problem in problems {
        let key =
            if out.unread.contains_key(software) { format!("{software} {}", problem.at) } else { software.to_owned() };
        out.unread.entry(key).or_insert(problem);
    }
}

fn problem(software: &str, blind: &Blind) -> Problem {
    let at = mxray_model::evidence::FileLine { file: software.to_owned(), line: 0 };
    Problem { at, text: blind.why() }
}

/// What processes of a software look like.
struct Running<'a> {
    units: &'a [&'a str],
    processes: &'a [&'a str],
    /// Words of the command line that have to stand in it.
    words: &'a [&'a str],
}

/// Do processes of it live on this machine, and not in a container?
fn running(table: &Seen<Table>, what: &Running<'_>) -> Seen<bool> {
    let table = match table {
        Seen::Value(table) => table,
        Seen::Absent => return Seen::not_attempted("there is no list of processes"),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let is_it = |row: &crate::processes::Row| {
        let by_unit = row.unit.value().is_some_and(|unit| what.units.contains(&unit.as_str()));
        let by_name =
            || names(row).iter().any(|name| what.processes.contains(&name.as_str())) && !is_elsewhere(row, table);
        let says = |word: &&str| row.command.iter().any(|own| own == word);
        !matches!(row.state, 'Z' | 'X') && (by_unit || by_name()) && what.words.iter().all(says)
    };
    match table.rows.values().any(is_it) {
        true => Seen::Value(true),
        false if table.all_visible => Seen::Value(false),
        false => Seen::Unknown(hidden()),
    }
}

/// A port of mail, or one on which its filters stand.
fn bears_on_mail(port: u16) -> bool {
    MAIL_PORTS.contains(&port) || FILTER_PORTS.contains(&port)
}

/// A name that services(5) has for a port of mail.
fn bears_on_mail_name(name: &str) -> bool {
    ["smtp", "smtps", "ssmtp", "submission", "submissions", "lmtp", "imap", "imap2", "imaps", "pop3", "pop3s", "sieve"]
        .contains(&name)
}

/// The sockets that a piece of configuration asks for which stands in no file, each with its IPV6_V6ONLY: lines that are proposed to
/// somebody are read back before they are trusted. `None`: not of this software, or a line of it is not understood.
pub fn draft(software: &str, text: &str) -> Option<BTreeSet<(SocketAddr, bool)>> {
    let machine = Machine { ipv6: true, ..Machine::default() };
    let place = Place { root: Path::new("/proc/nonexistent").to_owned(), machine, only_six: false };
    let mut found = Found::default();
    match software {
        "haproxy" => haproxy::parse(&place, text, "draft", &mut found),
        "nginx" => nginx::parse(&place, text, "draft", &mut found),
        _ => return None,
    }
    let asked = found.asked.iter().map(|asked| (SocketAddr::new(asked.address, asked.port), asked.v6_only));
    found.unread.is_empty().then(|| asked.collect())
}

/// Every parser of this module on the same text, for fuzzing: how much came of it.
pub fn understand(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let place = Place { root: Path::new("/proc/nonexistent").to_owned(), ..Place::default() };
    let mut found = Found::default();
    let mut variables = shell::Variables::new();
    shell::read(&text, "any", &mut variables);
    let mut sets = BTreeMap::new();
    perl::read(&text, "any", &["$inet_socket_port", "@listen_sockets"], &mut sets);
    haproxy::parse(&place, &text, "any", &mut found);
    nginx::parse(&place, &text, "any", &mut found);
    let included = pmta::parse(&place, &text, "any", &mut found);
    kumomta::parse(&place, &text, "any", &mut found);
    inetd::parse(&place, &text, "any", &mut found);
    inetd::parse_xinetd(&place, &text, "any", &mut found);
    let of_yaml = yaml::parse(&text).map_or(0, |root| root.entries().count());
    let contained = containers::understand(&place, &text, bytes, &mut found);
    variables.len() + sets.len() + included.len() + of_yaml + contained + found.asked.len() + shell::words(&text).len()
}
