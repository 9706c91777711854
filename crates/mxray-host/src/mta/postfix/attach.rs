//! Which processes belong to which instance: the master by its lock or its working directory, and the workers below it.

use super::master_cf::{MasterCf, ProcessLimit, Service};
use crate::mta::daemon::{hidden, is_elsewhere};
use crate::processes::{Row, Table};
use crate::{files, read};
use mxray_model::evidence::{Children, Master, Server};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// /proc/locks has some 60 bytes a lock; databases hold thousands.
const LOCKS_BYTES_MAX: u64 = 16 << 20;

/// A file's identity: device and inode.
type FileId = (u64, u64);

/// Fills in `master` and `children` of every instance.
pub(crate) fn attach(servers: &mut BTreeMap<String, Server>, table: &Table) {
    let locks = match read::kernel(Path::new("/proc/locks"), LOCKS_BYTES_MAX) {
        Seen::Value(content) => locks(&String::from_utf8_lossy(&content.bytes)),
        Seen::Absent | Seen::Unknown(_) => Vec::new(),
    };
    let identities: Vec<Identity> = servers.values().map(Identity::look).collect();
    let instances = servers.len();
    for (server, own) in servers.values_mut().zip(&identities) {
        let candidates: Vec<&Row> = table.rows.values().filter(|row| is_master(row, server)).collect();
        let only = instances == 1 && candidates.len() == 1;
        let ties = candidates.iter().map(|row| {
            let others = identities.iter().filter(|other| !std::ptr::eq(*other, own));
            (*row, tie(row, server, own, others, &locks, only, table))
        });
        server.master = decide(ties.collect(), table.all_visible);
        server.works_in = match &server.master {
            Seen::Value(master) => works_in(master.pid, own.queue),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        server.children = match &server.master {
            Seen::Value(master) => super::services(server).map(|services| {
                children(server, &services, table.rows.values().filter(|row| row.parent == master.pid))
            }),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
    }
}

/// What tells one instance's master from another's.
#[derive(Debug, Default)]
struct Identity {
    queue: Option<FileId>,
    /// The file that the master holds locked as long as it lives.
    pid_file: Option<FileId>,
    /// On overlayfs and btrfs stat shows another device than the kernel's own tables.
    device_lies: bool,
}

impl Identity {
    fn look(server: &Server) -> Identity {
        let id = |path: &Path| std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
        let queue = PathBuf::from(server.setting("queue_directory"));
        Identity {
            queue: id(&queue),
            pid_file: id(&queue.join("pid/master.pid")),
            device_lies: files::device_lies(&queue),
        }
    }
}

impl Identity {
    /// Is this entry of the lock table our file? Where stat and the kernel's table name different devices, the inode has
    /// to do.
    fn is_lock(&self, file: FileId) -> bool {
        self.pid_file.is_some_and(|own| own == file || (self.device_lies && own.1 == file.1))
    }
}

/// Is this process a master of Postfix at all? The name alone is not enough: Cyrus has a `master` too.
fn is_master(row: &Row, server: &Server) -> bool {
    if matches!(row.state, 'Z' | 'X') || row.name != "master" {
        return false;
    }
    let Some(program) = row.command.first() else { return false };
    let own = format!("{}/master", server.setting("daemon_directory"));
    *program == own || program == "master" || program.contains("/postfix/")
}

/// How a candidate relates to an instance.
enum Tie {
    Same,
    Other,
    Unproven(Blind),
}

fn tie<'a>(
    row: &Row,
    server: &Server,
    own: &Identity,
    others: impl Iterator<Item = &'a Identity>,
    locks: &[(u32, FileId)],
    only: bool,
    table: &Table,
) -> Tie {
    let lock = by_lock(row.pid, own, others, locks);
    match lock {
        Lock::Ours => return Tie::Same,
        Lock::Anothers => return Tie::Other,
        Lock::Perhaps | Lock::None => {}
    }
    // The master works in its queue directory. The link leads into the process's own mount namespace, so a container's
    // /var/spool/postfix is not taken for ours.
    let link = PathBuf::from(format!("/proc/{}/cwd", row.pid));
    match std::fs::metadata(&link) {
        Ok(data) if own.queue == Some((data.dev(), data.ino())) => return Tie::Same,
        // Its queue directory was moved or configured anew since it started; it still says what it was started with.
        Ok(_) if was_started_with(row.pid, &server.config_dir) => return Tie::Same,
        Ok(_) => return Tie::Other,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Tie::Other,
        Err(_) => {}
    }
    if lock == Lock::Perhaps && !is_elsewhere(row, table) {
        return Tie::Same;
    }
    let own_program = format!("{}/master", server.setting("daemon_directory"));
    if only && row.command.first() == Some(&own_program) && !is_elsewhere(row, table) {
        return Tie::Same;
    }
    Tie::Unproven(Blind::NotPermitted {
        what: format!("see whether process {} (master) works in {}", row.pid, server.setting("queue_directory")),
        needs: "root".to_owned(),
    })
}

/// What the lock table says of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Ours,
    Anothers,
    /// The inode is ours, and the device cannot be compared.
    Perhaps,
    None,
}

fn by_lock<'a>(
    pid: u32,
    own: &Identity,
    mut others: impl Iterator<Item = &'a Identity>,
    locks: &[(u32, FileId)],
) -> Lock {
    let exact = |identity: &Identity| identity.pid_file.is_some_and(|file| locks.contains(&(pid, file)));
    let holds = |identity: &Identity| locks.iter().any(|(holder, file)| *holder == pid && identity.is_lock(*file));
    if exact(own) {
        return Lock::Ours;
    }
    let perhaps = holds(own);
    if others.any(|other| exact(other) || (holds(other) && !perhaps)) {
        return Lock::Anothers;
    }
    if perhaps { Lock::Perhaps } else { Lock::None }
}

/// Where the master works, if the path of its queue leads somewhere else now: something was mounted over it, or the directory
/// was replaced. A path means something only in our own mount namespace.
fn works_in(pid: u32, queue: Option<FileId>) -> Seen<String> {
    let link = PathBuf::from(format!("/proc/{pid}/cwd"));
    let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
    match std::fs::metadata(&link) {
        Ok(data) if queue == Some((data.dev(), data.ino())) => Seen::Absent,
        Ok(_) if namespace("self") != namespace(&pid.to_string()) => Seen::Absent,
        Ok(_) => match std::fs::read_link(&link) {
            Ok(path) => Seen::Value(read::shown(&path)),
            Err(error) => read::refused("read", &link, &error),
        },
        Err(error) => read::refused("look at", &link, &error),
    }
}

/// postfix(1) hands the configuration directory to the master in MAIL_CONFIG. A path means something only in our own
/// mount namespace.
fn was_started_with(pid: u32, config_dir: &str) -> bool {
    const ENVIRONMENT_BYTES_MAX: u64 = 1 << 20;
    let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
    let own = namespace("self");
    if own.is_none() || own != namespace(&pid.to_string()) {
        return false;
    }
    match read::kernel(Path::new(&format!("/proc/{pid}/environ")), ENVIRONMENT_BYTES_MAX) {
        Seen::Value(content) => names_config(&content.bytes, config_dir),
        Seen::Absent | Seen::Unknown(_) => false,
    }
}

fn names_config(environment: &[u8], config_dir: &str) -> bool {
    let mut settings = environment.split(|byte| *byte == 0);
    settings.any(|setting| setting.strip_prefix(b"MAIL_CONFIG=").is_some_and(|dir| dir == config_dir.as_bytes()))
}

fn decide(ties: Vec<(&Row, Tie)>, all_visible: bool) -> Seen<Master> {
    let mut unproven = None;
    for (row, tie) in ties {
        match tie {
            Tie::Same => return Seen::Value(Master { pid: row.pid, state: row.state }),
            Tie::Unproven(blind) => unproven = Some(blind),
            Tie::Other => {}
        }
    }
    match unproven {
        Some(blind) => Seen::Unknown(blind),
        None if all_visible => Seen::Absent,
        None => Seen::Unknown(hidden()),
    }
}

/// The workers among the master's child processes, by service.
fn children<'a>(
    server: &Server,
    services: &MasterCf,
    rows: impl Iterator<Item = &'a Row>,
) -> BTreeMap<String, Children> {
    let limit = |service: &Service| limit(service, server.setting("default_process_limit"));
    let mut found: BTreeMap<String, Children> = BTreeMap::new();
    for key in server.wanted.keys() {
        let limit = services.services.get(key).and_then(limit);
        found.insert(key.clone(), Children { limit, ..Children::default() });
    }
    for row in rows.filter(|row| !matches!(row.state, 'Z' | 'X')) {
        let Some(key) = service_of(&row.command) else { continue };
        let entry = found.entry(key).or_insert_with_key(|key| Children {
            limit: services.services.get(key).and_then(limit),
            ..Children::default()
        });
        entry.count += 1;
        entry.stopped += u32::from(matches!(row.state, 'T' | 't'));
    }
    found
}

fn limit(service: &Service, default: &str) -> Option<u32> {
    match service.processes {
        ProcessLimit::At(most) => Some(most),
        ProcessLimit::None => None,
        // 100 is Postfix's own default.
        ProcessLimit::Default => Some(default.trim().parse().unwrap_or(100)).filter(|most| *most > 0),
    }
}

/// `smtpd -n smtp -t inet -u -c …` → `smtp/inet`. The master leaves out `-n` where service and program share the name.
fn service_of(command: &[String]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let mut name = program.rsplit('/').next().unwrap_or(program).to_owned();
    let mut kind = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" => name.clone_from(words.next()?),
            "-t" => kind = words.next().cloned(),
            // What follows are the service's own arguments.
            "-o" => break,
            _ => {}
        }
        if kind.is_some() {
            break;
        }
    }
    Some(format!("{name}/{}", kind?))
}

/// proc(5): `6: FLOCK  ADVISORY  WRITE 812 fe:00:131 0 EOF` → process and file. Waiting ones (`->`) hold nothing.
fn locks(text: &str) -> Vec<(u32, FileId)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, kind, _, _, pid, file, ..] = fields.as_slice() else { continue };
        if *kind == "->" {
            continue;
        }
        let Ok(pid) = pid.parse::<u32>() else { continue };
        let parts: Vec<&str> = file.split(':').collect();
        let [major, minor, inode] = parts.as_slice() else { continue };
        let (Ok(major), Ok(minor), Ok(inode)) =
            (u32::from_str_radix(major, 16), u32::from_str_radix(minor, 16), inode.parse::<u64>())
        else {
            continue;
        };
        found.push((pid, (rustix::fs::makedev(major, minor), inode)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, parent: u32, state: char, command: &[&str]) -> Row {
        Row {
            pid,
            parent,
            name: command[0].rsplit('/').next().unwrap().to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            uid: 0,
            state,
            started: 0,
            unit: Seen::Absent,
        }
    }

    #[test]
    fn the_service_stands_in_the_workers_own_arguments() {
        let of = |words: &[&str]| service_of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["smtpd", "-n", "smtp", "-t", "inet", "-u", "-c"]).as_deref(), Some("smtp/inet"));
        assert_eq!(of(&["qmgr", "-l", "-t", "unix", "-u"]).as_deref(), Some("qmgr/unix"));
        assert_eq!(
            of(&["smtpd", "-n", "127.0.0.1:10025", "-t", "inet", "-s", "2", "-o", "x=-t"]).as_deref(),
            Some("127.0.0.1:10025/inet")
        );
        assert_eq!(of(&["smtpd: control"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn locks_name_process_and_file() {
        let text = "1: FLOCK  ADVISORY  WRITE 812 fe:01:131 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 9 fe:01:131 0 EOF\n\
                    2: POSIX  ADVISORY  READ -1 00:16:2 0 EOF\nbroken\n";
        assert_eq!(locks(text), [(812, (rustix::fs::makedev(0xfe, 1), 131))]);
    }

    #[test]
    fn the_environment_names_the_configuration() {
        assert!(names_config(b"PATH=/bin\0MAIL_CONFIG=/etc/postfix\0", "/etc/postfix"));
        assert!(!names_config(b"MAIL_CONFIG=/etc/postfix-out\0XMAIL_CONFIG=/etc/postfix\0", "/etc/postfix"));
        assert!(!was_started_with(std::process::id(), "/no/such/configuration"));
    }

    #[test]
    fn a_lock_tells_instances_apart_also_where_devices_differ() {
        let identity = |inode, device_lies| Identity { queue: None, pid_file: Some((53, inode)), device_lies };
        let of = |own: &Identity, other: &Identity, device| {
            by_lock(812, own, std::iter::once(other), &[(7, (53, 8)), (812, (device, 7))])
        };
        assert_eq!(of(&identity(7, false), &identity(8, false), 53), Lock::Ours);
        assert_eq!(of(&identity(8, false), &identity(7, false), 53), Lock::Anothers);
        assert_eq!(of(&identity(7, false), &identity(8, false), 52), Lock::None);
        assert_eq!(of(&identity(7, true), &identity(8, true), 52), Lock::Perhaps);
        assert_eq!(of(&identity(8, true), &identity(7, true), 52), Lock::Anothers);
    }

    fn server() -> Server {
        let mut server = Server { software: "postfix".into(), ..Server::default() };
        for (name, value) in [
            ("queue_directory", "/no/such/queue"),
            ("daemon_directory", "/usr/lib/postfix/sbin"),
            ("default_process_limit", "100"),
            ("smtpd_service_name", "smtpd"),
        ] {
            server.settings.insert(name.into(), mxray_model::evidence::Setting { value: value.into(), at: None });
        }
        server
    }

    fn attached(rows: Vec<Row>, all_visible: bool) -> Server {
        let mut servers = BTreeMap::from([("postfix".to_owned(), server())]);
        let table = Table { all_visible, rows: rows.into_iter().map(|row| (row.pid, row)).collect() };
        attach(&mut servers, &table);
        servers.remove("postfix").unwrap()
    }

    #[test]
    fn no_master_is_absent_only_where_all_processes_can_be_seen() {
        let foreign = || vec![row(77, 1, 'S', &["/usr/lib/cyrus/bin/master", "-d"])];
        assert!(attached(foreign(), true).master.is_absent());
        assert!(attached(foreign(), true).children.is_absent());
        assert!(attached(foreign(), false).master.blind().is_some());
    }

    #[test]
    fn a_master_that_cannot_be_proven_is_unknown_and_a_dead_one_is_none() {
        let blind = || Blind::NotPermitted { what: "x".into(), needs: "root".into() };
        let ours = row(5, 1, 'T', &["/usr/lib/postfix/sbin/master", "-w"]);
        assert!(decide(vec![(&ours, Tie::Unproven(blind()))], true).blind().is_some());
        assert!(decide(vec![(&ours, Tie::Other)], true).is_absent());
        let found = decide(vec![(&ours, Tie::Unproven(blind())), (&ours, Tie::Same)], true);
        assert!(found.value().unwrap().is_stopped());
        let zombie = row(6, 1, 'Z', &["/usr/lib/postfix/sbin/master"]);
        assert!(!is_master(&zombie, &server()));
    }

    #[test]
    fn workers_are_counted_by_service() {
        use super::super::master_cf::parse;
        use mxray_model::evidence::{FileLine, Purpose, TlsMode, WantedListener};
        let services =
            parse(b"smtp inet n - y - 1 postscreen\nsmtpd pass - - y - 2 smtpd\nqmgr unix n - n 300 1 qmgr\n");
        let mut server = server();
        server.wanted.insert(
            "smtp/inet".into(),
            WantedListener {
                service: "smtp".into(),
                command: "postscreen".into(),
                port: 25,
                addresses: Vec::new(),
                purpose: Purpose::Relay,
                tls: TlsMode::None,
                process_limit: Some(2),
                multiplexed: true,
                overrides: BTreeMap::new(),
                at: FileLine { file: "/etc/postfix/master.cf".into(), line: 1 },
            },
        );
        let rows = [
            row(2, 1, 'T', &["postscreen", "-l", "-n", "smtp", "-t", "inet", "-u"]),
            row(3, 1, 'S', &["smtpd", "-t", "pass", "-u", "-c"]),
            row(4, 1, 'T', &["smtpd", "-t", "pass", "-u", "-c"]),
            row(5, 1, 'S', &["qmgr", "-l", "-t", "unix"]),
            row(6, 1, 'Z', &["smtpd", "-t", "pass"]),
        ];
        let found = children(&server, &services, rows.iter());
        assert_eq!(found["smtp/inet"], Children { count: 1, stopped: 1, limit: Some(1) });
        assert_eq!(found["smtpd/pass"], Children { count: 2, stopped: 1, limit: Some(2) });
        assert_eq!(found["qmgr/unix"], Children { count: 1, stopped: 0, limit: Some(1) });
    }
}
