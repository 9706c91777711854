//! Whether anything starts Exim's daemon at all. An Exim that came with the system and that nobody started is no mail
//! server; one that inetd or a socket unit starts for each connection has no daemon to look for.

use super::daemon::Defaults;
use crate::read;
use mxray_model::Seen;
use mxray_model::evidence::{FileLine, Server};
use std::path::{Path, PathBuf};

const NAMES: &[&str] = &["exim4", "exim"];
/// systemd's links, by unit and target.
const WANTED_BY: &str = "/etc/systemd/system/multi-user.target.wants";
/// System V's links by run level: `S01exim4` starts it, `K01exim4` does not.
const RUN_LEVELS: &[&str] = &["/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d"];

/// `None`: installed, and never started by anybody. `false`: something else starts it, or nothing does any more.
pub(super) fn is_enabled(server: &Server, defaults: Option<&Defaults>) -> Option<bool> {
    if defaults.is_some_and(|defaults| defaults.commands.is_empty()) || started_by_connection() {
        return Some(false);
    }
    if is_masked() {
        return Some(false);
    }
    match links() {
        Links::Start => Some(true),
        Links::None if has_run(server) => Some(true),
        Links::Stop if has_run(server) => Some(false),
        Links::None | Links::Stop => None,
    }
}

enum Links {
    Start,
    Stop,
    /// A container without an init, or a start that nobody has set up.
    None,
}

fn links() -> Links {
    let there = |path: &Path| path.symlink_metadata().is_ok();
    if NAMES.iter().any(|name| there(&Path::new(WANTED_BY).join(format!("{name}.service")))) {
        return Links::Start;
    }
    let mut found = Links::None;
    for entry in RUN_LEVELS.iter().filter_map(|level| std::fs::read_dir(level).ok()).flatten().flatten() {
        let file = entry.file_name();
        let name = file.to_string_lossy();
        if !NAMES.iter().any(|known| name.get(3..) == Some(known)) {
            continue;
        }
        if name.starts_with('S') {
            return Links::Start;
        }
        found = Links::Stop;
    }
    found
}

fn is_masked() -> bool {
    let is_null = |name: &str| {
        std::fs::read_link(format!("/etc/systemd/system/{name}.service"))
            .is_ok_and(|target| target == Path::new("/dev/null"))
    };
    NAMES.iter().any(|name| is_null(name))
}

/// A daemon leaves its pid file and its log; what must not be looked at may be there.
fn has_run(server: &Server) -> bool {
    let traces = ["/run/exim4/exim.pid", "/run/exim.pid", "/var/run/exim.pid"].map(str::to_owned);
    let log = server.directories.get("log").map(|log| format!("{log}/mainlog"));
    traces.into_iter().chain(log).any(|path| !matches!(Path::new(&path).try_exists(), Ok(false)))
}

/// `smtp stream tcp nowait root /usr/sbin/exim4 exim4 -bs` in inetd.conf, or an enabled socket unit.
fn started_by_connection() -> bool {
    const INETD_BYTES_MAX: u64 = 1 << 20;
    let units = NAMES.iter().any(|name| {
        Path::new("/etc/systemd/system/sockets.target.wants").join(format!("{name}.socket")).symlink_metadata().is_ok()
    });
    let content = read::file(Path::new("/etc/inetd.conf"), INETD_BYTES_MAX);
    let by_inetd = content.value().is_some_and(|content| {
        let mut lines = content.bytes.split(|byte| *byte == b'\n');
        lines.any(|line| {
            let line = String::from_utf8_lossy(line);
            line.starts_with("smtp") && line.contains("exim")
        })
    });
    units || by_inetd
}

/// The line of a crontab that runs the queue (`exim -q`, `runq`). `Unknown`: a crontab may not be read.
pub(super) fn cron_runs_queue() -> Seen<FileLine> {
    const CRONTAB_BYTES_MAX: u64 = 1 << 20;
    const FILES_MAX: usize = 1000;
    const DIRECTORIES: &[&str] =
        &["/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/var/spool/cron/crontabs", "/var/spool/cron"];
    let mut files = vec![PathBuf::from("/etc/crontab")];
    let mut blind = None;
    for directory in DIRECTORIES.iter().map(Path::new) {
        match std::fs::read_dir(directory) {
            Ok(entries) => files.extend(entries.flatten().map(|entry| entry.path()).take(FILES_MAX)),
            Err(error) => blind = blind.or(read::refused::<()>("list", directory, &error).blind().cloned()),
        }
    }
    for file in files.iter().filter(|file| !file.is_dir()) {
        match read::file(file, CRONTAB_BYTES_MAX) {
            Seen::Value(content) => {
                let lines = content.bytes.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
                if let Some((index, _)) = lines.enumerate().find(|(_, line)| runs_queue(line)) {
                    return Seen::Value(FileLine {
                        file: read::shown(file),
                        line: u32::try_from(index + 1).unwrap_or(u32::MAX),
                    });
                }
            }
            Seen::Absent => {}
            Seen::Unknown(why) => blind = blind.or(Some(why)),
        }
    }
    blind.map_or(Seen::Absent, Seen::Unknown)
}

fn runs_queue(line: &str) -> bool {
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let words: Vec<String> = line.split('#').next().unwrap_or_default().split_whitespace().map(base).collect();
    let starts = |name: &String| matches!(name.as_str(), "exim" | "exim4" | "sendmail");
    let behind = words.iter().skip_while(|word| !starts(word));
    words.iter().any(|word| word == "runq") || behind.into_iter().any(|word| word.starts_with("-q"))
}

#[cfg(test)]
mod tests {
    use super::runs_queue;

    #[test]
    fn crontabs_name_the_queue_run() {
        assert!(runs_queue("*/10 * * * * root /usr/sbin/exim4 -q"));
        assert!(runs_queue("0 * * * * mail [ -x /usr/sbin/exim ] && /usr/sbin/exim -qff"));
        assert!(runs_queue("@hourly root runq"));
        assert!(!runs_queue("# */10 * * * * root /usr/sbin/exim4 -q"));
        assert!(!runs_queue("17 * * * * root /usr/sbin/exim_tidydb -q /var/spool/exim4 retry"));
    }
}
