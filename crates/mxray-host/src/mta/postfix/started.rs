//! Which configuration a running Postfix was started with: its master carries the directory in its environment.
//!
//! `postfix -c DIRECTORY start` leaves no other trace, and the files in the built-in place are then not those that count.
//! Of an environment only this one variable is looked at. What the directories hold is read elsewhere.

use super::{Item, items};
use crate::read;
use mxray_model::Blind;
use mxray_model::evidence::Server;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// postfix(1) sets it for everything that it starts, also where the directory is the built-in one.
const VARIABLE: &[u8] = b"MAIL_CONFIG=";
/// The environment of a daemon is small; postfix(1) clears what it does not know (import_environment).
const ENVIRONMENT_BYTES_MAX: u64 = 64 * 1024;
/// /proc/PID/comm is a line of 16 bytes at most.
const COMM_BYTES_MAX: u64 = 64;
/// The program's path stands first.
const COMMAND_BYTES_MAX: u64 = 4096;

/// The masters of this file system, wherever their network is.
#[derive(Debug, Default)]
pub(super) struct Started {
    /// The directories that they were started with.
    pub directories: BTreeSet<PathBuf>,
    /// There is one of which it cannot be told.
    pub hidden: bool,
}

pub(super) fn look() -> Started {
    let mut started = Started::default();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Started { hidden: true, ..started } };
    let here = std::fs::metadata("/").map(|data| (data.dev(), data.ino())).ok();
    for process in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
        let process = process.path();
        // Others, and one that has ended meanwhile.
        if !is_master(&process) {
            continue;
        }
        let environ = read::bounded(&process.join("environ"), ENVIRONMENT_BYTES_MAX);
        // A container's files are not those that we see; a sandbox of systemd has the same root.
        let root = std::fs::metadata(process.join("root")).map(|data| (data.dev(), data.ino()));
        match (environ, root) {
            (Ok(bytes), Ok(root)) if Some(root) == here => started.directories.extend(directory(&bytes)),
            (Ok(_), Ok(_)) => {}
            (Err(error), _) | (_, Err(error)) => {
                started.hidden |= error.kind() == std::io::ErrorKind::PermissionDenied;
            }
        }
    }
    started
}

/// Cyrus has a master, too. What a process runs is in its command line, which everybody may read.
fn is_master(process: &Path) -> bool {
    let read = |name: &str, limit: u64| read::bounded(&process.join(name), limit).unwrap_or_default();
    read("comm", COMM_BYTES_MAX).trim_ascii_end() == b"master" && {
        let command = read("cmdline", COMMAND_BYTES_MAX);
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        program.ends_with(b"/master") && !program.windows(5).any(|part| part == b"cyrus")
    }
}

fn directory(environ: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let value = environ.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(VARIABLE))?;
    let path = Path::new(std::ffi::OsStr::from_bytes(value));
    path.is_absolute().then(|| real(path))
}

/// The same directory may be named through a link.
pub(super) fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

impl Started {
    /// Directories of running masters that are not among these, as configuration names them.
    pub fn besides(&self, known: &[String]) -> Vec<String> {
        let known: BTreeSet<PathBuf> = known.iter().map(|directory| real(Path::new(directory))).collect();
        self.directories.difference(&known).map(|directory| read::shown(directory)).collect()
    }

    /// Is the instance of the built-in place not the one that works there? The master of another directory serves the same
    /// queue, which only one may, or this one has never run.
    pub fn is_replaced(&self, built_in: &Server, by: &Server) -> bool {
        let queue = |server: &Server| real(Path::new(server.setting("queue_directory")));
        let ran = || !matches!(queue(built_in).join("pid/master.pid").try_exists(), Ok(false));
        !self.directories.contains(&real(Path::new(&built_in.config_dir))) && (queue(built_in) == queue(by) || !ran())
    }

    /// Why it cannot be said that the built-in place counts: a master is there that does not tell, and main.cf names another
    /// directory (postconf(5), alternate_config_directories) that is no instance of postmulti(1).
    pub fn doubt(&self, built_in: &Server) -> Option<Blind> {
        let words = |name: &str| -> BTreeSet<String> {
            let words = items(built_in.setting(name)).into_iter();
            words.filter_map(|item| if let Item::Word(word) = item { Some(word.to_owned()) } else { None }).collect()
        };
        let listed = words("multi_instance_directories");
        let alternate = words("alternate_config_directories");
        let other = alternate.difference(&listed).find(|directory| {
            !matches!(Path::new(directory).join("main.cf").try_exists(), Ok(false))
                && **directory != built_in.config_dir
        });
        other.filter(|_| self.hidden).map(|directory| not_told(&format!(": {directory} may be the one")))
    }

    /// Why it cannot be said that there is no configuration, where the built-in place has none.
    pub fn somewhere(&self) -> Option<Blind> {
        (self.hidden && self.directories.is_empty()).then(|| not_told(""))
    }
}

fn not_told(more: &str) -> Blind {
    Blind::NotPermitted {
        what: format!("see with which configuration Postfix was started{more}"),
        needs: "root".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::Setting;

    fn server(config_dir: &str, settings: &[(&str, &str)]) -> Server {
        let setting =
            |(name, value): &(&str, &str)| ((*name).to_owned(), Setting { value: (*value).to_owned(), at: None });
        Server {
            config_dir: config_dir.to_owned(),
            settings: settings.iter().map(setting).collect(),
            ..Server::default()
        }
    }

    #[test]
    fn the_variable_is_found() {
        assert_eq!(directory(b"PATH=/bin\0MAIL_CONFIG=/nonexistent/mail\0LANG=C\0"), Some("/nonexistent/mail".into()));
        assert_eq!(directory(b"XMAIL_CONFIG=/etc/a\0MAIL_CONFIG=etc\0"), None);
        assert_eq!(directory(b""), None);
    }

    #[test]
    fn who_serves_the_same_queue_stands_in_its_place() {
        let started = Started { directories: BTreeSet::from(["/nonexistent/mail".into()]), hidden: false };
        let built_in = server("/nonexistent/postfix", &[("queue_directory", "/nonexistent/queue")]);
        let same = server("/nonexistent/mail", &[("queue_directory", "/nonexistent/queue")]);
        assert_eq!(started.besides(&["/nonexistent/postfix".to_owned()]), ["/nonexistent/mail"]);
        assert!(started.is_replaced(&built_in, &same));
        let both = ["/nonexistent/mail".into(), "/nonexistent/postfix".into()];
        let both = Started { directories: BTreeSet::from(both), hidden: false };
        assert!(!both.is_replaced(&built_in, &same));
        // A queue that has had a master: its server may be down.
        let ran = std::env::temp_dir().join(format!("mxray-started-{}", std::process::id()));
        std::fs::create_dir_all(ran.join("pid")).unwrap();
        std::fs::write(ran.join("pid/master.pid"), "1\n").unwrap();
        let ran_before = server("/nonexistent/postfix", &[("queue_directory", ran.to_str().unwrap())]);
        assert!(!started.is_replaced(&ran_before, &same));
        std::fs::remove_dir_all(&ran).unwrap();
    }

    #[test]
    fn a_master_that_does_not_tell_is_a_doubt_only_where_there_is_another_directory() {
        let started = Started { directories: BTreeSet::new(), hidden: true };
        assert!(started.doubt(&server("/etc/postfix", &[])).is_none());
        let other = std::env::temp_dir().join(format!("mxray-alternate-{}", std::process::id()));
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("main.cf"), "").unwrap();
        let name = other.to_str().unwrap();
        let named = server("/etc/postfix", &[("alternate_config_directories", name)]);
        assert!(started.doubt(&named).is_some());
        assert!(Started::default().doubt(&named).is_none());
        let instance =
            server("/etc/postfix", &[("alternate_config_directories", name), ("multi_instance_directories", name)]);
        assert!(started.doubt(&instance).is_none());
        std::fs::remove_dir_all(&other).unwrap();
    }
}
