//! Processes: the table of all that are visible, who holds a socket, and the details of a few.
//!
//! The table is cheap (four small files each); descriptors are walked only for sockets that somebody asks about, and
//! the walk stops when all are found. A process that ends while it is looked at is no error: it is left out.
//! What must not live here: what a process means for mail (that is `mta`).

pub mod at_once;
mod holders;

pub use at_once::AtOnce;
pub use holders::{Holders, holders, holders_at_once, owners};

use crate::{cgroup, mounts, read, secrets};
use mxray_model::evidence::{Descriptors, Process, Processes};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// More processes than the kernel's default `pid_max` on a large host (4,194,304 is its ceiling): a bound, not a guess.
const PROCESSES_MAX: usize = 1 << 20;
/// Descriptors counted one by one on kernels that do not tell the number.
const DESCRIPTORS_COUNTED_MAX: usize = 1 << 20;
/// Enough for /proc/stat of a machine with a thousand processors.
const BOOT_BYTES_MAX: u64 = 4 << 20;
/// Words kept of a command line.
const COMMAND_WORDS_MAX: usize = 256;
/// Bytes read of a command line: what is recognised stands at its beginning, and some programs pass megabytes.
const COMMAND_BYTES_MAX: u64 = 16 * 1024;

/// One process. `name` and the words of `command` are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub pid: u32,
    pub parent: u32,
    pub name: String,
    /// Empty for a kernel thread and for a process that has ended and waits for its parent.
    pub command: Vec<String>,
    /// Real user id.
    pub uid: u32,
    /// The kernel's letter.
    pub state: char,
    /// In clock ticks since boot: with the pid, it names this process and no later one.
    pub started: u64,
    pub unit: Seen<String>,
}

/// All visible processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Neither `hidepid` nor an error stood between us and any process. Only then does "no such process" mean anything.
    pub all_visible: bool,
    pub rows: BTreeMap<u32, Row>,
}

/// Reads every visible process.
///
/// `Unknown` where `/proc` cannot be listed at all.
pub fn table() -> Seen<Table> {
    match pids() {
        Ok(pids) => {
            let mut table = Table { all_visible: all_visible(), rows: BTreeMap::new() };
            for pid in pids {
                match row(pid) {
                    Ok(row) => _ = table.rows.insert(pid, row),
                    Err(error) => table.all_visible &= has_ended(&error),
                }
            }
            Seen::Value(table)
        }
        Err(blind) => Seen::Unknown(blind),
    }
}

/// The names of some processes, escaped, as far as they still exist.
pub fn names(pids: &BTreeSet<u32>) -> BTreeMap<u32, String> {
    let name = |pid| {
        let bytes = read::bounded(&file(pid, "comm"), read::SMALL_BYTES_MAX).ok()?;
        Some(untrusted(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
    };
    pids.iter().filter_map(|pid| Some((*pid, name(*pid)?))).collect()
}

/// The visible processes whose name `matches` (it gets the bytes as the process chose them).
///
/// # Errors
/// `/proc` cannot be listed.
pub fn named(matches: impl Fn(&[u8]) -> bool) -> Result<Vec<u32>, Blind> {
    let mut pids = pids()?;
    pids.retain(|pid| {
        read::bounded(&file(*pid, "comm"), read::SMALL_BYTES_MAX)
            .is_ok_and(|name| matches(name.strip_suffix(b"\n").unwrap_or(&name)))
    });
    Ok(pids)
}

/// The processes with their open descriptors and capabilities, for evidence.
pub fn describe(table: &Table, pids: &BTreeSet<u32>, software: impl Fn(&Row) -> Seen<String>) -> Processes {
    let boot_s = boot_s();
    let mail = pids
        .iter()
        .filter_map(|pid| table.rows.get(pid))
        .filter(|row| is_still(row))
        .map(|row| {
            let software = software(row);
            let process = Process {
                parent: row.parent,
                name: row.name.clone(),
                command: shown_command(row, &software),
                uid: row.uid,
                state: row.state,
                started_s: boot_s.clone().map(|boot_s| boot_s.saturating_add(seconds(row.started))),
                unit: row.unit.clone(),
                descriptors: descriptors(row.pid),
                capabilities: capabilities(row.pid),
                software,
            };
            (row.pid, process)
        })
        .collect();
    Processes { all_visible: table.all_visible, mail }
}

/// When the machine was started: `btime` of /proc/stat (proc_stat(5)), in seconds since 1970.
fn boot_s() -> Seen<i64> {
    let path = Path::new("/proc/stat");
    // A line for each processor and a long one of interrupts stand in it.
    let content = match read::kernel(path, BOOT_BYTES_MAX) {
        Seen::Value(content) => content,
        Seen::Absent => return Seen::not_attempted("there is no /proc/stat"),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let line = content.bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"btime "));
    match line.and_then(|digits| number(digits.trim_ascii())) {
        Some(boot_s) => Seen::Value(boot_s),
        None => {
            Seen::Unknown(Blind::NotUnderstood { what: "/proc/stat".to_owned(), text: "no line \"btime\"".to_owned() })
        }
    }
}

/// Clock ticks as seconds.
fn seconds(ticks: u64) -> i64 {
    i64::try_from(ticks / rustix::param::clock_ticks_per_second().max(1)).unwrap_or(i64::MAX)
}

/// What evidence keeps of a command line. Of mail software all but what may be a secret; of any other program its first
/// word, because what else stands there is its own business.
fn shown_command(row: &Row, software: &Seen<String>) -> String {
    if software.value().is_some() {
        return secrets::command(&row.command);
    }
    let first = row.command.first().map(String::as_str).unwrap_or_default();
    first.split_whitespace().next().unwrap_or_default().to_owned()
}

pub(crate) fn pids() -> Result<Vec<u32>, Blind> {
    let proc = Path::new("/proc");
    let entries = std::fs::read_dir(proc).map_err(|error| read::blind("read", proc, &error, "a readable /proc"))?;
    let mut pids: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        .take(PROCESSES_MAX)
        .collect();
    if pids.is_empty() {
        let error = "it lists no process, not even this one".to_owned();
        return Err(Blind::Failed { step: "list /proc".into(), error });
    }
    pids.sort_unstable();
    Ok(pids)
}

fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// A process that ends while it is read gives "no such file" or "no such process". Any other error (no descriptors left,
/// a refusal) hides one that may well live.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn row(pid: u32) -> io::Result<Row> {
    let stat = read::bounded(&file(pid, "stat"), read::SMALL_BYTES_MAX)?;
    let status = read::bounded(&file(pid, "status"), read::SMALL_BYTES_MAX)?;
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let stat = Stat::parse(&stat).ok_or_else(malformed)?;
    let uid = read::status_field(&status, "Uid").and_then(|ids| number(ids.split(u8::is_ascii_whitespace).next()?));
    // A master is known by its command line: unread, it would look like a server that does not run.
    let command = read::bounded(&file(pid, "cmdline"), COMMAND_BYTES_MAX)?;
    let cgroup = file(pid, "cgroup");
    let unit = match read::bounded(&cgroup, read::SMALL_BYTES_MAX) {
        Ok(text) => cgroup::of_process(&text),
        Err(error) => Seen::Unknown(read::blind("read", &cgroup, &error, "root")),
    };
    Ok(Row {
        pid,
        parent: stat.parent,
        name: untrusted(stat.name),
        command: words(&command),
        uid: uid.ok_or_else(malformed)?,
        state: stat.state,
        started: stat.started,
        unit,
    })
}

/// Words end with a zero byte; a process that rewrote its title has one word with blanks, and zeros behind.
fn words(command: &[u8]) -> Vec<String> {
    let end = command.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let used = command.get(..end).unwrap_or_default();
    if used.is_empty() {
        return Vec::new();
    }
    used.split(|byte| *byte == 0).take(COMMAND_WORDS_MAX).map(untrusted).collect()
}

struct Stat<'a> {
    name: &'a [u8],
    state: char,
    parent: u32,
    started: u64,
}

impl<'a> Stat<'a> {
    /// The name stands in parentheses and may itself hold any, and blanks and line breaks: the last `)` ends it.
    fn parse(stat: &'a [u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let name = stat.get(open + 1..close)?;
        let mut fields = stat.get(close + 1..)?.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let state = char::from(*fields.next()?.first()?);
        let parent = number(fields.next()?)?;
        // proc_pid_stat(5): the start time is field 22; the parent was field 4.
        let started = number(fields.nth(17)?)?;
        Some(Stat { name, state, parent, started })
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The pid still belongs to the process that the table saw.
fn is_still(row: &Row) -> bool {
    read::bounded(&file(row.pid, "stat"), read::SMALL_BYTES_MAX)
        .ok()
        .and_then(|stat| Stat::parse(&stat).map(|stat| stat.started == row.started))
        .unwrap_or(false)
}

/// Does this kernel give the number of descriptors as the size of `/proc/PID/fd`? (6.2 and later; our own is never 0.)
pub(crate) fn kernel_counts_descriptors() -> bool {
    std::fs::metadata("/proc/self/fd").is_ok_and(|meta| meta.len() > 0)
}

fn descriptors(pid: u32) -> Seen<Descriptors> {
    let limits = file(pid, "limits");
    let limit = match read::bounded(&limits, read::SMALL_BYTES_MAX) {
        Ok(text) => match soft_limit(&text) {
            Some(limit) => limit,
            None => {
                return Seen::Unknown(Blind::NotUnderstood {
                    what: limits.display().to_string(),
                    text: "no line \"Max open files\"".into(),
                });
            }
        },
        Err(error) => return Seen::Unknown(read::blind("read", &limits, &error, "root")),
    };
    match descriptor_count(pid) {
        Ok(used) => Seen::Value(Descriptors { used, limit }),
        Err(error) => Seen::Unknown(read::blind("read", &file(pid, "fd"), &error, OTHERS)),
    }
}

fn descriptor_count(pid: u32) -> io::Result<u64> {
    let path = file(pid, "fd");
    if kernel_counts_descriptors() {
        return std::fs::metadata(&path).map(|meta| meta.len());
    }
    let mut count = 0;
    for entry in std::fs::read_dir(&path)?.take(DESCRIPTORS_COUNTED_MAX) {
        entry?;
        count += 1;
    }
    Ok(count)
}

fn soft_limit(limits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(limits).ok()?;
    let words = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match words.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn capabilities(pid: u32) -> Seen<BTreeSet<String>> {
    let path = file(pid, "status");
    let status = match read::bounded(&path, read::SMALL_BYTES_MAX) {
        Ok(status) => status,
        Err(error) => return Seen::Unknown(read::blind("read", &path, &error, "root")),
    };
    mask(&status, "CapEff").map_or_else(
        || Seen::Unknown(Blind::NotUnderstood { what: path.display().to_string(), text: "no line \"CapEff\"".into() }),
        |bits| Seen::Value(mxray_sys::capability::names(bits)),
    )
}

/// A capability mask of a status file.
pub(crate) fn mask(status: &[u8], key: &str) -> Option<u64> {
    let digits = std::str::from_utf8(read::status_field(status, key)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// What it takes to read other users' descriptors.
pub(crate) const OTHERS: &str = "root, or cap_sys_ptrace and cap_dac_read_search";

/// Other users' processes can be seen: `/proc` is mounted without `hidepid`, or we are let past it.
///
/// With hidepid, whoever may read process 1 is in the exempt group or may trace it; both open every other process.
pub fn all_visible() -> bool {
    let Ok(table) = mounts::table() else { return false };
    !hides(&table) || read::bounded(Path::new("/proc/1/stat"), read::SMALL_BYTES_MAX).is_ok()
}

/// The last mount on `/proc` counts: it covers the ones before.
fn hides(table: &[u8]) -> bool {
    let is_set = |option: &[u8]| option.strip_prefix(b"hidepid=").is_some_and(|value| !matches!(value, b"0" | b"off"));
    let on_proc = mounts::mounts(table).filter(|mount| mount.point == Path::new("/proc")).last();
    on_proc.is_some_and(|mount| mount.options.split(|byte| *byte == b',').any(is_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"12 (a) R 1 (\n) S 7 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.name, stat.state, stat.parent, stat.started), (&b"a) R 1 (\n"[..], 'S', 7, 4711));
        assert!(Stat::parse(b"12 (a) S 7").is_none());
        assert!(Stat::parse(b")(").is_none());
        assert!(Stat::parse(b"").is_none());
    }

    #[test]
    fn command_lines_of_both_kinds() {
        assert_eq!(words(b"master\0-w\0"), ["master", "-w"]);
        assert_eq!(words(b"smtpd: idle  \0\0\0"), ["smtpd: idle  "]);
        assert_eq!(words(b"x\x1b[2J\0"), ["x\\u{1b}[2J"]);
        assert!(words(b"\0\0").is_empty());
        assert!(words(b"").is_empty());
        assert_eq!(words(&[b"a\0".repeat(5000)].concat()).len(), COMMAND_WORDS_MAX);
    }

    #[test]
    fn limits_and_hidepid_are_read() {
        let limits = b"Limit  Soft  Hard  Units\nMax open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit(b"Max open files            unlimited            unlimited            files     \n"),
            Some(u64::MAX)
        );
        assert_eq!(soft_limit(b"Max processes 1 1\n"), None);
        let open = b"22 1 0:5 / /proc rw,nosuid shared:7 - proc proc rw\n";
        let hidden = b"22 1 0:5 / /proc rw,nosuid - proc proc rw,hidepid=invisible\n";
        assert!(!hides(open));
        assert!(hides(hidden));
        assert!(!hides(&[&hidden[..], open].concat()));
        assert!(!hides(b"22 1 0:5 / /proc rw - proc proc rw,hidepid=0\n"));
    }

    #[test]
    fn only_a_process_that_has_ended_may_be_left_out() {
        let errno = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(has_ended(&errno(rustix::io::Errno::NOENT)) && has_ended(&errno(rustix::io::Errno::SRCH)));
        assert!(!has_ended(&errno(rustix::io::Errno::MFILE)) && !has_ended(&errno(rustix::io::Errno::ACCESS)));
        assert!(has_ended(&row(u32::MAX).unwrap_err()));
    }

    #[test]
    fn of_foreign_programs_only_the_first_word_is_kept() {
        let Seen::Value(table) = table() else { panic!("no table") };
        let own = &table.rows[&std::process::id()];
        let with =
            |words: &[&str]| Row { command: words.iter().map(|word| (*word).to_owned()).collect(), ..own.clone() };
        let mysqld = with(&["/usr/sbin/mysqld", "--init=hunter2"]);
        assert_eq!(shown_command(&mysqld, &Seen::Absent), "/usr/sbin/mysqld");
        assert_eq!(shown_command(&with(&["nginx: master hunter2"]), &Seen::Absent), "nginx:");
        let mail = with(&["rspamc", "--password", "hunter2", "stat"]);
        assert_eq!(shown_command(&mail, &Seen::Value("rspamd".into())), "rspamc --password [masked] stat");
    }

    #[test]
    fn we_see_ourselves() {
        let pid = std::process::id();
        let Seen::Value(table) = table() else { panic!("no table") };
        let row = &table.rows[&pid];
        assert!(row.started > 0 && !row.command.is_empty());
        let seen = describe(&table, &BTreeSet::from([pid, u32::MAX]), |_| Seen::Absent);
        assert_eq!(seen.mail.len(), 1);
        let Seen::Value(descriptors) = &seen.mail[&pid].descriptors else { panic!("{:?}", seen.mail) };
        assert!(descriptors.used >= 3 && descriptors.limit >= descriptors.used);
        assert!(seen.mail[&pid].capabilities.value().is_some());
    }

    #[test]
    fn a_process_that_ended_is_left_out() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let Seen::Value(table) = table() else { panic!("no table") };
        assert!(table.rows.contains_key(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(describe(&table, &BTreeSet::from([child.id()]), |_| Seen::Absent).mail.is_empty());
    }
}
