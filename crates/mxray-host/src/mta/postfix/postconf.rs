//! Asking `postconf`: found at a fixed path, checked, run with an empty environment, bounded in time and output.

use crate::programs::{self, Programs};
use crate::read;
use mxray_model::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where packages put it: Debian, Red Hat, SUSE; FreeBSD ports and self-built; /opt builds.
const PLACES: &[&str] =
    &["/usr/sbin/postconf", "/usr/local/sbin/postconf", "/usr/bin/postconf", "/opt/postfix/sbin/postconf"];
/// It takes some 10 ms; up to 2 s where main.cf was changed within the last second, which it then reads repeatedly. It may
/// look up the host name, so a dead resolver can hold it.
const PATIENCE: Duration = Duration::from_secs(4);

/// postconf, found and fit to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postconf(PathBuf);

impl Postconf {
    /// The first one of the known places. `Unknown` where one is there that must not be run.
    pub fn find() -> Seen<Postconf> {
        for place in PLACES {
            let found = trusted(Path::new(place));
            if !found.is_absent() {
                return found;
            }
        }
        Seen::Absent
    }

    /// The effective, unexpanded values of one instance, defaults included.
    pub fn values(&self, programs: &Programs, config_dir: &str) -> Seen<BTreeMap<String, String>> {
        self.run(programs, &["-c", config_dir]).map(|output| dump(&output))
    }

    /// The types of tables that this installation can open, one a line: built in, or in a library that `dynamicmaps.cf` names
    /// (postconf(1), -m).
    pub fn types(&self, programs: &Programs, config_dir: &str) -> Seen<BTreeSet<String>> {
        self.run(programs, &["-c", config_dir, "-m"]).map(|output| {
            output.split(|byte| *byte == b'\n').map(super::lines::escaped).filter(|line| !line.is_empty()).collect()
        })
    }

    /// The built-in values of all parameters, unexpanded.
    pub fn built_in(&self, programs: &Programs) -> Seen<BTreeMap<String, String>> {
        self.run(programs, &["-d"]).map(|output| dump(&output))
    }

    /// The same, expanded by postconf itself (2.10 and later): what our own expansion is tested against.
    #[cfg(test)]
    pub fn expanded(&self, programs: &Programs, config_dir: &str) -> Seen<BTreeMap<String, String>> {
        self.run(programs, &["-x", "-c", config_dir]).map(|output| dump(&output))
    }

    /// What it lists with one of its options (`-n`, `-M`, `-P`): what our own reading is tested against.
    #[cfg(test)]
    pub fn listed(&self, programs: &Programs, config_dir: &str, option: &str) -> Seen<Vec<u8>> {
        self.run(programs, &["-c", config_dir, option])
    }

    pub fn path(&self) -> String {
        read::shown(&self.0)
    }

    fn run(&self, programs: &Programs, arguments: &[&str]) -> Seen<Vec<u8>> {
        let step = format!("run {} {}", self.path(), arguments.join(" "));
        let mut command = Command::new(&self.0);
        command.args(arguments);
        programs.run(command, step, PATIENCE)
    }
}

/// postconf, where nobody but root can have put it there.
pub(super) fn trusted(path: &Path) -> Seen<Postconf> {
    programs::trusted(path).map(Postconf)
}

/// `name = value`, one a line.
fn dump(output: &[u8]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in output.split(|byte| *byte == b'\n') {
        let line = super::lines::escaped(line);
        if let Some((name, value)) = line.split_once('=') {
            values.insert(name.trim_matches(' ').to_owned(), value.trim_matches(' ').to_owned());
        }
    }
    values
}
