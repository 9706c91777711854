//! The network namespaces of this machine: which processes live in them, and which listeners on ports of mail they hold.
//!
//! No namespace is entered. `/proc/PID/net` shows the sockets of the namespace that a process lives in, also to those who
//! may not read its `ns/net` link; and its files are the kernel's own entries of that namespace, so that their inode
//! numbers tell two namespaces apart. What must not live here: judgement about what is not seen (`mxray-rules`).

use crate::processes::{Row, Table};
use crate::{read, sockets};
use mxray_model::evidence::{Namespace, Namespaces, Place, Server};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The ports of mail, whatever a configuration says.
pub const MAIL_PORTS: &[u16] = &[24, 25, 110, 143, 465, 587, 993, 995, 2525, 4190];
/// Where `ip netns add` keeps its namespaces (ip-netns(8)).
const NAMED: &str = "/run/netns";
/// Names that are looked at. Routers in software have some hundred.
const NAMES_MAX: usize = 1024;
/// Namespaces whose sockets are read; half a millisecond each.
const LOOKED_INTO_MAX: usize = 512;
/// Namespaces of which evidence keeps a description; a container host may have a thousand.
const KEPT_MAX: usize = 64;
/// Units and programs named of each.
const UNITS_MAX: usize = 8;
/// One line an interface.
const INTERFACES_BYTES_MAX: u64 = 1 << 20;
/// What it takes to see which namespace another user's process lives in, where `/proc` does not show it.
const NEEDS: &str = "root";

/// What is looked for in other namespaces.
#[derive(Debug)]
pub struct Interest<'a> {
    pub servers: &'a BTreeMap<String, Server>,
    /// Ports on which a listener bears on mail.
    pub ports: &'a BTreeSet<u16>,
    /// Keep also those that have nothing to do with mail.
    pub all: bool,
}

/// The kernel's entry of a namespace: the same for all processes in it, and for no other.
type Identity = u64;

/// A namespace while it is being put together.
#[derive(Debug, Default)]
struct Found {
    namespace: Namespace,
    /// Someone through whose directory it can be looked into.
    through: Option<u32>,
}

/// Looks at the namespaces of all visible processes. `Unknown` where not even our own can be told.
///
/// "Ours" is that of the calling thread.
pub fn look(table: &Table, interest: &Interest<'_>) -> Seen<Namespaces> {
    let own = match identity(Path::new("/proc/thread-self/net")) {
        Ok(own) => own,
        Err(error) => {
            return Seen::Unknown(read::blind("look at", Path::new("/proc/thread-self/net/dev"), &error, NEEDS));
        }
    };
    let mut result = Namespaces { complete: table.all_visible, ..Namespaces::default() };
    let mut found: BTreeMap<Identity, Found> = BTreeMap::new();
    let mut of_process: BTreeMap<u32, Identity> = BTreeMap::new();
    for row in table.rows.values().filter(|row| lives(row)) {
        match identity(&net_of(row.pid)) {
            Ok(identity) => {
                of_process.insert(row.pid, identity);
                if identity != own {
                    note(found.entry(identity).or_default(), row, interest);
                }
            }
            Err(error) => result.complete &= has_ended(&error),
        }
    }
    let mut found: Vec<(Identity, Found)> = found.into_iter().collect();
    // Those with mail software first: they are looked into and kept whatever else there is.
    found.sort_by_key(|(_, found)| found.namespace.software.is_empty());
    let left_out = found.len().saturating_sub(LOOKED_INTO_MAX);
    result.left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
    found.truncate(LOOKED_INTO_MAX);
    let mut others: Vec<(Identity, Namespace)> =
        found.into_iter().map(|(identity, found)| (identity, look_into(found, interest))).collect();
    let empty = add_names(&mut others);
    let keys = keep(&mut result, others, empty, interest);
    let masters = interest.servers.iter().map(|(instance, server)| (instance.clone(), server.master.as_ref()));
    result.servers = masters
        .map(|(instance, master)| (instance, master_place(master.map(|master| master.pid), own, &of_process, &keys)))
        .collect();
    Seen::Value(result)
}

/// The namespace of the calling thread, described like the others.
pub fn own(table: &Table, interest: &Interest<'_>) -> Namespace {
    let net = Path::new("/proc/thread-self/net");
    let Ok(own) = identity(net) else { return Namespace::default() };
    let mut found = Found::default();
    for row in table.rows.values().filter(|row| lives(row)) {
        if identity(&net_of(row.pid)).is_ok_and(|identity| identity == own) {
            note(&mut found, row, interest);
        }
    }
    let mut namespace = look_into(found, interest);
    namespace.inode = std::fs::metadata("/proc/thread-self/ns/net").map_or_else(
        |error| read::refused("look at", Path::new("/proc/thread-self/ns/net"), &error),
        |data| Seen::Value(data.ino()),
    );
    namespace
}

/// Kernel threads, and the dead that wait for their parent, live nowhere.
fn lives(row: &Row) -> bool {
    !matches!(row.state, 'Z' | 'X') && !row.command.is_empty()
}

fn net_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/net"))
}

/// `dev` is there in every namespace, with IPv4 or without.
fn identity(net: &Path) -> io::Result<Identity> {
    Ok(std::fs::metadata(net.join("dev"))?.ino())
}

fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn note(found: &mut Found, row: &Row, interest: &Interest<'_>) {
    let namespace = &mut found.namespace;
    namespace.processes = namespace.processes.saturating_add(1);
    found.through.get_or_insert(row.pid);
    if let Seen::Value(unit) = &row.unit
        && namespace.units.len() < UNITS_MAX
    {
        namespace.units.insert(unit.clone());
    }
    if let Seen::Value(software) = crate::mta::software_of(row, interest.servers) {
        namespace.software.insert(software);
    }
}

/// Its listeners and interfaces, through the oldest process in it.
fn look_into(found: Found, interest: &Interest<'_>) -> Namespace {
    let mut namespace = found.namespace;
    let Some(pid) = found.through else { return namespace };
    namespace.pid = Seen::Value(pid);
    let link = PathBuf::from(format!("/proc/{pid}/ns/net"));
    namespace.inode = match std::fs::metadata(&link) {
        Ok(data) => Seen::Value(data.ino()),
        Err(error) => read::refused("look at", &link, &error),
    };
    let net = net_of(pid);
    namespace.interfaces =
        read::kernel(&net.join("dev"), INTERFACES_BYTES_MAX).map(|content| interfaces(&content.bytes));
    namespace.listeners = sockets::listeners_below(&net).map(|listeners| {
        let of_mail = listeners.iter().filter(|socket| interest.ports.contains(&socket.local_port));
        of_mail.map(|socket| format!("tcp/{}", SocketAddr::new(socket.local, socket.local_port))).collect()
    });
    namespace
}

/// `/proc/net/dev`: two lines of head, then `name: numbers`.
fn interfaces(text: &[u8]) -> BTreeSet<String> {
    let names = text.split(|byte| *byte == b'\n').skip(2).filter_map(|line| {
        // An interface's own name may hold a colon (an alias), the numbers hold none.
        let end = line.iter().rposition(|byte| *byte == b':')?;
        Some(untrusted(line.get(..end)?.trim_ascii()))
    });
    names.collect()
}

/// Gives the namespaces their names, and returns names of those in which nobody lives, with their numbers.
fn add_names(others: &mut [(Identity, Namespace)]) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(NAMED) else { return Vec::new() };
    let ours = std::fs::metadata("/proc/thread-self/ns/net").map(|data| data.ino());
    let mut empty = Vec::new();
    for entry in entries.flatten().take(NAMES_MAX) {
        let Ok(inode) = std::fs::metadata(entry.path()).map(|data| data.ino()) else { continue };
        if ours.as_ref().is_ok_and(|ours| *ours == inode) {
            continue;
        }
        let name = untrusted(entry.file_name().as_bytes());
        match others.iter_mut().find(|(_, namespace)| namespace.inode == Seen::Value(inode)) {
            Some((_, namespace)) => _ = namespace.names.insert(name),
            None => empty.push((name, inode)),
        }
    }
    empty
}

/// Puts those that bear on mail into the result, and says by which key each is known.
fn keep(
    result: &mut Namespaces,
    others: Vec<(Identity, Namespace)>,
    empty: Vec<(String, u64)>,
    interest: &Interest<'_>,
) -> BTreeMap<Identity, String> {
    let mut keys = BTreeMap::new();
    // Of a process whose link may not be read, we cannot tell whether one of the names is its namespace's.
    let nameless = others.iter().any(|(_, namespace)| namespace.inode.value().is_none());
    for (identity, namespace) in others {
        let bears_on_mail =
            !namespace.software.is_empty() || namespace.listeners.value().is_some_and(|l| !l.is_empty());
        let pid = namespace.pid.value().map(ToString::to_string);
        // Digits alone are taken for a process id.
        let name = namespace.names.iter().find(|name| name.parse::<u32>().is_err()).cloned();
        let Some(key) = name.or(pid) else { continue };
        if (bears_on_mail || interest.all) && result.others.len() < KEPT_MAX {
            keys.insert(identity, key.clone());
            result.others.insert(key, namespace);
        } else {
            result.left_out = result.left_out.saturating_add(1);
        }
    }
    for (name, inode) in empty {
        if !interest.all || nameless || result.others.len() >= KEPT_MAX {
            result.left_out = result.left_out.saturating_add(1);
            continue;
        }
        let names = BTreeSet::from([name.clone()]);
        let why = "nobody lives in it whose /proc entry would show its sockets";
        let listeners = Seen::Unknown(Blind::Elsewhere {
            why: why.to_owned(),
            look: format!("mxray --netns {name} sockets --listening"),
        });
        let namespace = Namespace {
            inode: Seen::Value(inode),
            names,
            pid: Seen::Absent,
            listeners,
            interfaces: Seen::not_attempted(why),
            ..Namespace::default()
        };
        result.others.insert(name, namespace);
    }
    keys
}

fn master_place(
    master: Seen<u32>,
    own: Identity,
    of_process: &BTreeMap<u32, Identity>,
    keys: &BTreeMap<Identity, String>,
) -> Seen<Place> {
    let pid = match master {
        Seen::Value(pid) => pid,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    match of_process.get(&pid) {
        Some(identity) if *identity == own => Seen::Value(Place::Here),
        Some(identity) => match keys.get(identity) {
            Some(key) => Seen::Value(Place::Elsewhere { namespace: key.clone() }),
            None => Seen::Value(Place::Elsewhere { namespace: pid.to_string() }),
        },
        None => Seen::Unknown(Blind::Failed {
            step: format!("look at /proc/{pid}/net"),
            error: "the process ended, or its directory may not be read".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    #[test]
    fn interfaces_are_the_words_before_the_last_colon() {
        let text = b"Inter-|   Receive\n face |bytes\n    lo: 1 2 3\neth0:1: 4 5\n  a\x1bb: 1\nbroken\n";
        let found: Vec<String> = interfaces(text).into_iter().collect();
        assert_eq!(found, ["a\\u{1b}b", "eth0:1", "lo"]);
    }

    /// A child in a network namespace of its own with a listener on loopback; `None` where that is not permitted.
    fn apart() -> Option<(Child, u16)> {
        let script = "import socket,sys\ns=socket.socket();s.bind(('0.0.0.0',0));s.listen()\nprint(s.getsockname()[1],flush=True)\nsys.stdin.read()";
        let mut child = Command::new("unshare")
            .args(["--net", "python3", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = Vec::new();
        let mut output = child.stdout.take()?;
        let mut byte = [0];
        while output.read(&mut byte).ok()? == 1 && byte != *b"\n" {
            said.extend(byte);
        }
        match String::from_utf8(said).ok()?.parse() {
            Ok(port) => Some((child, port)),
            Err(_) => {
                let _ = child.wait();
                None
            }
        }
    }

    #[test]
    fn a_listener_in_another_namespace_is_found_without_entering_it() {
        let Some((mut child, port)) = apart() else {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "skipped: a_listener_in_another_namespace_is_found_without_entering_it: unshare --net or python3 is not permitted here"
            );
            return;
        };
        let Seen::Value(table) = processes::table() else { panic!("no table") };
        let ports = BTreeSet::from([port]);
        let servers = BTreeMap::new();
        let seen = look(&table, &Interest { servers: &servers, ports: &ports, all: false });
        drop(child.stdin.take());
        child.wait().unwrap();
        let Seen::Value(found) = seen else { panic!("{seen:?}") };
        let other = &found.others[&child.id().to_string()];
        assert_eq!(other.listeners, Seen::Value(BTreeSet::from([format!("tcp/0.0.0.0:{port}")])));
        assert!(other.is_cut_off() && other.inode.value().is_some() && other.processes == 1);
    }

    #[test]
    fn where_a_master_runs_is_told_by_its_process() {
        let of_process = BTreeMap::from([(5, 1), (6, 2), (7, 3)]);
        let keys = BTreeMap::from([(2, "mail".to_owned())]);
        let place = |pid| master_place(Seen::Value(pid), 1, &of_process, &keys);
        assert_eq!(place(5), Seen::Value(Place::Here));
        assert_eq!(place(6), Seen::Value(Place::Elsewhere { namespace: "mail".to_owned() }));
        assert_eq!(place(7), Seen::Value(Place::Elsewhere { namespace: "7".to_owned() }));
        assert!(place(8).blind().is_some());
        assert!(master_place(Seen::Absent, 1, &of_process, &keys).is_absent());
    }
}
