//! Helpers joined with the sockets: does anything listen where the configuration sends mail, and who.
//!
//! "Nothing listens" is said only where every place was looked at: another machine, a name that only DNS knows, a socket
//! file behind a closed directory and a listener in another network namespace are unknown.

use super::access;
use super::machine::Machine;
use crate::processes::Table;
use crate::sockets::{Sample, UnixListener};
use crate::{files, read};
use mxray_model::evidence::{AcceptQueue, Barred, Endpoint, Helper, HelperState, Listener, Owner, Server, Sockets};
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Most other network namespaces that are looked into for a socket.
const NAMESPACES_MAX: usize = 64;
/// /proc/net/unix has some 80 bytes a socket.
const UNIX_BYTES_MAX: u64 = 16 << 20;

/// Fills in the state of every helper.
///
/// `owners` is by socket inode, of listening TCP and UNIX sockets alike.
pub fn join_helpers(
    servers: &mut BTreeMap<String, Server>,
    sockets: Seen<(&Sample, &Sockets)>,
    owners: &BTreeMap<u64, Seen<Vec<Owner>>>,
    table: &Seen<Table>,
) {
    if let Seen::Value((sample, _)) = &sockets
        && let Seen::Value(listeners) = sample.unix()
    {
        servers.values_mut().for_each(|server| unlinked(server, listeners));
    }
    if servers.values().all(|server| server.helpers.is_empty()) {
        return;
    }
    let facts = sockets.map(|(sample, sockets)| Facts {
        unix: sample.unix(),
        sockets,
        owners,
        table,
        machine: Machine::look(),
    });
    join(servers, &facts);
}

/// Everything that helpers are judged by.
struct Facts<'a> {
    unix: Seen<&'a [UnixListener]>,
    sockets: &'a Sockets,
    owners: &'a BTreeMap<u64, Seen<Vec<Owner>>>,
    table: &'a Seen<Table>,
    machine: Machine,
}

fn join(servers: &mut BTreeMap<String, Server>, facts: &Seen<Facts<'_>>) {
    for server in servers.values_mut() {
        let queue = server.setting("queue_directory").to_owned();
        for helper in server.helpers.values_mut() {
            let state = match facts {
                Seen::Value(facts) => match &helper.endpoint {
                    Endpoint::Inet { host, port } => facts.inet(host, *port),
                    Endpoint::Unix { path } => facts.unix(Path::new(path), Path::new(&queue)),
                },
                Seen::Absent => Seen::not_attempted("the sockets were not looked at"),
                Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
            };
            helper.state = state.map(|state| HelperState { barred: barred(helper), ..state });
        }
    }
}

/// Sockets that Dovecot's processes hold and that its other processes no longer find: somebody emptied its run directory. Where
/// nobody may look, a socket counts as there.
fn unlinked(server: &mut Server, listeners: &[UnixListener]) {
    /// The first ones say what is wrong.
    const TOLD_MAX: usize = 20;
    let base = PathBuf::from(server.setting("base_dir"));
    if server.software != "dovecot" || server.master.value().is_none() || !base.is_absolute() {
        return;
    }
    let paths = listeners.iter().map(|listener| PathBuf::from(std::ffi::OsStr::from_bytes(&listener.raw_path)));
    let gone = paths.filter(|path| path.starts_with(&base) && matches!(path.try_exists(), Ok(false)));
    server.unlinked = gone.map(|path| read::shown(&path)).take(TOLD_MAX).collect();
}

/// What keeps the user that connects from the socket's file.
fn barred(helper: &Helper) -> Seen<Barred> {
    let Endpoint::Unix { path } = &helper.endpoint else { return Seen::Absent };
    match &helper.connects_as {
        Seen::Value(account) => access::barred(Path::new(path), account),
        Seen::Absent => Seen::not_attempted("no such user"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

impl Facts<'_> {
    fn inet(&self, host: &str, port: u16) -> Seen<HelperState> {
        let Some(addresses) = self.machine.resolve(host) else {
            return Seen::not_attempted(&format!("the address of {host} stands in DNS only"));
        };
        let mut own: Vec<IpAddr> = Vec::new();
        for address in addresses {
            match self.machine.is_own(address) {
                Seen::Value(true) => own.push(address.to_canonical()),
                Seen::Value(false) | Seen::Absent => {}
                Seen::Unknown(blind) => return Seen::Unknown(blind),
            }
        }
        if own.is_empty() {
            return Seen::not_attempted(&format!("{host} is another machine"));
        }
        let reaches = |listener: &&Listener| {
            let covers = |address: &IpAddr| {
                // A connection to the unspecified address goes to loopback.
                listener.covers(*address) || (address.is_unspecified() && listener.is_loopback())
            };
            listener.protocol == "tcp" && listener.port == port && own.iter().any(covers)
        };
        match self.sockets.listeners.values().find(reaches) {
            Some(listener) => {
                let owners = match &listener.owners {
                    Seen::Value(_) => listener.owners.clone(),
                    Seen::Absent | Seen::Unknown(_) => {
                        self.owners.get(&listener.inode).cloned().unwrap_or_else(|| listener.owners.clone())
                    }
                };
                Seen::Value(self.state(owners, listener.queue.clone()))
            }
            None => Seen::Absent,
        }
    }

    fn unix(&self, path: &Path, queue: &Path) -> Seen<HelperState> {
        match &self.unix {
            Seen::Value(listeners) => self.unix_among(listeners, path, queue),
            Seen::Absent => Seen::not_attempted("UNIX sockets were not looked at"),
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        }
    }

    fn unix_among(&self, listeners: &[UnixListener], path: &Path, queue: &Path) -> Seen<HelperState> {
        let named = |path: &Path| listeners.iter().find(|listener| listener.raw_path == path.as_os_str().as_bytes());
        let data = match std::fs::metadata(path) {
            Ok(data) => data,
            Err(error) => {
                return match read::refused("look at", path, &error) {
                    Seen::Absent if leaves_by_link(path, queue) => Seen::not_attempted(&format!(
                        "{} passes an absolute symbolic link, which leads elsewhere inside the chroot",
                        read::shown(path)
                    )),
                    // The file may not be seen; a listener that was bound by this very name still answers.
                    Seen::Unknown(blind) => match named(path) {
                        Some(listener) => Seen::Value(self.unix_state(listener)),
                        None => Seen::Unknown(blind),
                    },
                    other => other,
                };
            }
        };
        if !data.file_type().is_socket() {
            return Seen::Absent;
        }
        // The kernel tells the lower half of an inode's number only.
        let file = (data.dev(), data.ino() & u64::from(u32::MAX));
        if let Some(listener) = listeners.iter().find(|listener| listener.file == Some(file)) {
            return Seen::Value(self.unix_state(listener));
        }
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let inode_lies = files::is_overlay(&real);
        for name in [path, real.as_path()] {
            if let Some(listener) = named(name) {
                // Elsewhere another inode under the same name is a dead file in front of a listener that lost its own.
                let same = listener.file.is_none_or(|(_, inode)| inode == file.1) || inode_lies;
                if same {
                    return Seen::Value(self.unix_state(listener));
                }
            }
        }
        self.elsewhere(listeners, &real)
    }

    fn unix_state(&self, listener: &UnixListener) -> HelperState {
        let owners = self.owners.get(&listener.inode).cloned();
        self.state(owners.unwrap_or_else(|| Seen::not_attempted("not looked for")), listener.queue.clone())
    }

    fn state(&self, owners: Seen<Vec<Owner>>, queue: Seen<AcceptQueue>) -> HelperState {
        let stopped = match (&owners, self.table) {
            (Seen::Value(owners), Seen::Value(table)) => all_stopped(owners, table),
            (Seen::Value(_), Seen::Unknown(blind)) | (Seen::Unknown(blind), _) => Seen::Unknown(blind.clone()),
            (Seen::Value(_), Seen::Absent) | (Seen::Absent, _) => Seen::not_attempted("its processes are not known"),
        };
        HelperState { owners, queue, stopped, barred: Seen::not_attempted("not looked at") }
    }

    /// No listener in our own network namespace is at that file. A socket in the file system can be connected to across
    /// network namespaces, and a process may have bound it by a name relative to its own directory.
    fn elsewhere(&self, listeners: &[UnixListener], path: &Path) -> Seen<HelperState> {
        let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        let ends_alike = |raw: &[u8]| raw.rsplit(|byte| *byte == b'/').next() == Some(name);
        let relative = |listener: &&UnixListener| {
            !listener.raw_path.starts_with(b"/") && ends_alike(&listener.raw_path) && listener.file.is_none()
        };
        if let Some(listener) = listeners.iter().find(relative) {
            return Seen::not_attempted(&format!(
                "a listener of the same name was bound in a directory that is not known ({})",
                listener.path
            ));
        }
        let table = match self.table {
            Seen::Value(table) => table,
            Seen::Absent => return Seen::not_attempted("other network namespaces are found through processes"),
            Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
        };
        match foreign_listener(table, &ends_alike) {
            Ok(false) => Seen::Absent,
            Ok(true) => {
                let why = "held in another network namespace";
                let (owners, queue) = (Seen::not_attempted(why), Seen::not_attempted(why));
                Seen::Value(HelperState {
                    owners,
                    queue,
                    stopped: Seen::not_attempted(why),
                    barred: Seen::not_attempted(why),
                })
            }
            Err(blind) => Seen::Unknown(blind),
        }
    }
}

/// Are all of them stopped that take clients? A process whose child holds the socket, too, leaves the clients to it
/// (Dovecot's master, any pre-forking server); one that the table does not have has ended or come since.
fn all_stopped(owners: &[Owner], table: &Table) -> Seen<bool> {
    let parents: BTreeSet<u32> =
        owners.iter().filter_map(|owner| table.rows.get(&owner.pid)).map(|row| row.parent).collect();
    let mut any = false;
    for owner in owners.iter().filter(|owner| !parents.contains(&owner.pid)) {
        match table.rows.get(&owner.pid) {
            Some(row) if matches!(row.state, 'T' | 't') => any = true,
            Some(_) => return Seen::Value(false),
            None => return Seen::not_attempted("an owner is not in the process table"),
        }
    }
    if any { Seen::Value(true) } else { Seen::not_attempted("no owner is known") }
}

/// Below the queue directory an absolute symbolic link means one thing to a chrooted daemon and another one to us.
fn leaves_by_link(path: &Path, queue: &Path) -> bool {
    // A server without a queue has no chroot there.
    let below = |part: &&Path| !queue.as_os_str().is_empty() && part.starts_with(queue) && *part != queue;
    let mut parts = path.ancestors().take_while(below);
    parts.any(|part| std::fs::read_link(part).is_ok_and(|target| target.is_absolute()))
}

/// Does a listening UNIX socket of such a name exist in another network namespace of this machine?
fn foreign_listener(table: &Table, ends_alike: &dyn Fn(&[u8]) -> bool) -> Result<bool, Blind> {
    let link = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net"));
    let needs = |what: String| Blind::NotPermitted { what, needs: "root".to_owned() };
    let own = link("self")
        .map_err(|error| Blind::Failed { step: "read /proc/self/ns/net".to_owned(), error: error.to_string() })?;
    let mut seen: BTreeSet<PathBuf> = BTreeSet::from([own]);
    let mut refused = !table.all_visible;
    for pid in table.rows.keys() {
        let namespace = match link(&pid.to_string()) {
            Ok(namespace) => namespace,
            Err(error) => {
                refused |= error.kind() == std::io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        if !seen.insert(namespace) {
            continue;
        }
        if seen.len() > NAMESPACES_MAX {
            let why = format!("more than {NAMESPACES_MAX} network namespaces");
            return Err(Blind::NotAttempted { why });
        }
        match read::kernel(Path::new(&format!("/proc/{pid}/net/unix")), UNIX_BYTES_MAX) {
            Seen::Value(content) if accepting_paths(&content.bytes).any(ends_alike) => return Ok(true),
            Seen::Value(content) if content.cut => {
                let why = format!("more than {UNIX_BYTES_MAX} bytes of UNIX sockets in another network namespace");
                return Err(Blind::NotAttempted { why });
            }
            Seen::Value(_) | Seen::Absent => {}
            Seen::Unknown(blind) => return Err(blind),
        }
    }
    if refused { Err(needs("look into other network namespaces for its listener".to_owned())) } else { Ok(false) }
}

/// The paths of accepting sockets in /proc/net/unix: the flag __SO_ACCEPTCON in the fourth column.
fn accepting_paths(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    const ACCEPTING: u64 = 0x10000;
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let flags = std::str::from_utf8(fields.nth(3)?).ok()?;
        let flags = u64::from_str_radix(flags, 16).ok()?;
        let path = fields.nth(3)?;
        (flags & ACCEPTING != 0).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::Row;
    use mxray_model::evidence::{Helper, HelperKind};
    use std::os::unix::net::UnixListener as Bound;

    fn row(pid: u32, state: char) -> Row {
        Row {
            pid,
            parent: 1,
            name: "milter".into(),
            command: vec!["milter".into()],
            uid: 0,
            state,
            started: 0,
            unit: Seen::Absent,
        }
    }

    fn queue() -> Seen<AcceptQueue> {
        Seen::Value(AcceptQueue { waiting: 0, limit: 5, oldest_ms: Seen::Absent, drained: Seen::Absent })
    }

    fn listener(path: &Path, inode: u64, file: Option<(u64, u64)>) -> UnixListener {
        UnixListener {
            path: read::shown(path),
            raw_path: path.as_os_str().as_bytes().to_vec(),
            inode,
            file,
            queue: queue(),
            uid: mxray_model::Seen::Value(0),
        }
    }

    /// The table of this test alone: its own process, so that no other namespace is looked into.
    fn table(rows: Vec<Row>) -> Seen<Table> {
        Seen::Value(Table { all_visible: true, rows: rows.into_iter().map(|row| (row.pid, row)).collect() })
    }

    fn state(
        endpoint: Endpoint,
        unix: &[UnixListener],
        sockets: &Sockets,
        owners: &BTreeMap<u64, Seen<Vec<Owner>>>,
        table: &Seen<Table>,
    ) -> Seen<HelperState> {
        state_with(endpoint, Seen::Value(unix), sockets, owners, table)
    }

    fn state_with(
        endpoint: Endpoint,
        unix: Seen<&[UnixListener]>,
        sockets: &Sockets,
        owners: &BTreeMap<u64, Seen<Vec<Owner>>>,
        table: &Seen<Table>,
    ) -> Seen<HelperState> {
        let helper = Helper {
            kind: HelperKind::Milter,
            endpoint,
            setting: "smtpd_milters".into(),
            at: None,
            needed_by: BTreeSet::new(),
            on_failure: "tempfail".into(),
            connects_as: Seen::not_attempted("who connects was not looked up"),
            state: Seen::Absent,
        };
        let server = Server { helpers: BTreeMap::from([("x".to_owned(), helper)]), ..Server::default() };
        let mut servers = BTreeMap::from([("postfix".to_owned(), server)]);
        let machine =
            Machine { addresses: Seen::Value(BTreeSet::from(["192.0.2.2".parse().unwrap()])), ..Machine::default() };
        join(&mut servers, &Seen::Value(Facts { unix, sockets, owners, table, machine }));
        servers["postfix"].helpers["x"].state.clone()
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("mxray-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(std::fs::canonicalize(path).unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_file_is_joined_by_identity_through_links_and_other_names() {
        let scratch = Scratch::new("join");
        let socket = scratch.0.join("milter.sock");
        let _bound = Bound::bind(&socket).unwrap();
        let data = std::fs::metadata(&socket).unwrap();
        let link = scratch.0.join("link.sock");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        // Bound under a name that only its own chroot knows.
        let unix = [listener(Path::new("/milter.sock"), 7, Some((data.dev(), data.ino())))];
        let owners = BTreeMap::from([(7, Seen::Value(vec![Owner { pid: 5, name: "milter".into() }]))]);
        for path in [&socket, &link] {
            let endpoint = Endpoint::Unix { path: path.to_str().unwrap().to_owned() };
            let found = state(endpoint, &unix, &Sockets::default(), &owners, &table(vec![row(5, 'T')]));
            let found = found.value().unwrap();
            assert_eq!(found.stopped, Seen::Value(true));
            assert_eq!(found.owners.value().unwrap().len(), 1);
        }
    }

    #[test]
    fn a_dead_socket_file_a_missing_one_and_a_plain_file_are_absent() {
        let scratch = Scratch::new("dead");
        let dead = scratch.0.join("dead.sock");
        drop(Bound::bind(&dead).unwrap());
        let plain = scratch.0.join("plain");
        std::fs::write(&plain, "").unwrap();
        let own = table(vec![row(std::process::id(), 'S')]);
        for path in [dead.as_path(), plain.as_path(), &scratch.0.join("missing"), &plain.join("below")] {
            let endpoint = Endpoint::Unix { path: path.to_str().unwrap().to_owned() };
            let found = state(endpoint, &[], &Sockets::default(), &BTreeMap::new(), &own);
            assert!(found.is_absent(), "{}: {found:?}", path.display());
        }
    }

    #[test]
    fn a_listener_that_lost_its_file_to_another_does_not_count() {
        let scratch = Scratch::new("lost");
        let socket = scratch.0.join("lost.sock");
        let _bound = Bound::bind(&socket).unwrap();
        let data = std::fs::metadata(&socket).unwrap();
        let endpoint = || Endpoint::Unix { path: socket.to_str().unwrap().to_owned() };
        let own = table(vec![row(std::process::id(), 'S')]);
        let stale = [listener(&socket, 7, Some((data.dev(), data.ino() + 1)))];
        let found = state(endpoint(), &stale, &Sockets::default(), &BTreeMap::new(), &own);
        assert_eq!(found.is_absent(), !files::is_overlay(&socket), "{found:?}");
        // The kernel did not tell the file: the name decides.
        let nameless = [listener(&socket, 7, None)];
        let found = state(endpoint(), &nameless, &Sockets::default(), &BTreeMap::new(), &own);
        assert!(found.value().is_some());
        // A name in an unknown directory decides nothing.
        let relative = [listener(Path::new("lost.sock"), 7, None)];
        let found = state(endpoint(), &relative, &Sockets::default(), &BTreeMap::new(), &own);
        assert!(found.blind().is_some());
    }

    #[test]
    fn hidden_processes_may_hide_another_namespace() {
        let scratch = Scratch::new("hidden");
        let dead = scratch.0.join("dead.sock");
        drop(Bound::bind(&dead).unwrap());
        let hidden = Seen::Value(Table { all_visible: false, rows: BTreeMap::new() });
        let endpoint = Endpoint::Unix { path: dead.to_str().unwrap().to_owned() };
        let found = state(endpoint, &[], &Sockets::default(), &BTreeMap::new(), &hidden);
        assert!(found.blind().is_some(), "{found:?}");
    }

    #[test]
    fn inet_helpers_are_judged_on_this_machine_only() {
        let listener = Listener {
            protocol: "tcp".into(),
            address: "127.0.0.1".parse().unwrap(),
            port: 8891,
            v6_only: Seen::Absent,
            uid: 0,
            inode: 9,
            unit: Seen::Absent,
            owners: Seen::Value(vec![Owner { pid: 5, name: "opendkim".into() }]),
            queue: queue(),
            drops: Seen::Absent,
            interface: 0,
        };
        let sockets =
            Sockets { listeners: BTreeMap::from([("tcp/127.0.0.1:8891".to_owned(), listener)]), ..Sockets::default() };
        let own = table(vec![row(5, 'S')]);
        let at =
            |host: &str, port| state(Endpoint::Inet { host: host.into(), port }, &[], &sockets, &BTreeMap::new(), &own);
        assert_eq!(at("localhost", 8891).value().unwrap().stopped, Seen::Value(false));
        assert!(at("127.0.0.1", 8892).is_absent());
        assert!(at("192.0.2.2", 8891).is_absent(), "bound to loopback only");
        assert!(at("198.51.100.7", 8891).blind().is_some());
        assert!(at("filter.example.org", 8891).blind().is_some());
    }

    #[test]
    fn accepting_sockets_are_told_by_their_flag() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            ffff: 00000002 00000000 00010000 0001 01 1234 /run/a.sock\n\
            ffff: 00000003 00000000 00000000 0001 03 1235 /run/b.sock\n\
            ffff: 00000003 00000000 00010000 0001 03 1236\n";
        assert_eq!(accepting_paths(table).collect::<Vec<_>>(), [b"/run/a.sock"]);
    }

    #[test]
    fn an_unread_list_of_sockets_is_no_dead_helper() {
        let scratch = Scratch::new("unread");
        let socket = scratch.0.join("milter.sock");
        let _bound = Bound::bind(&socket).unwrap();
        let refused = Blind::NotPermitted { what: "list UNIX sockets".into(), needs: "netlink".into() };
        let endpoint = Endpoint::Unix { path: socket.to_str().unwrap().to_owned() };
        let unix = Seen::Unknown(refused.clone());
        let found = state_with(endpoint, unix, &Sockets::default(), &BTreeMap::new(), &table(Vec::new()));
        assert_eq!(found.blind(), Some(&refused));
    }
}
