//! Asking Exim itself: `exim -C FILE -bP`, as a user with no rights at all.
//!
//! Exim writes what is wrong with its configuration into its panic log whenever root or Exim's own user runs it, even
//! with `-bP`; a file named by `-C` makes it drop its privileges for everybody else, and complain to standard error only
//! (specification, 5.2, and tried with 4.96). The examined machine is not written to, and values under `hide` stay hidden.

use super::super::postfix::escaped;
use crate::programs::{Programs, trusted};
use crate::read;
use mxray_model::Seen;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where packages put it: Debian, Red Hat and SUSE; FreeBSD ports; self-built.
const PLACES: &[&str] = &["/usr/sbin/exim4", "/usr/sbin/exim", "/usr/local/sbin/exim", "/usr/exim/bin/exim"];
/// It takes some 10 ms. It may look up the host's name, so a dead resolver can hold it.
const PATIENCE: Duration = Duration::from_secs(4);
/// `nobody`, on every system that Exim runs on.
const NOBODY: u32 = 65534;

/// exim, found and fit to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exim(PathBuf);

impl Exim {
    /// The first one of the known places. `Unknown` where one is there that must not be run.
    pub fn find() -> Seen<Exim> {
        for place in PLACES {
            let found = trusted(Path::new(place));
            if !found.is_absent() {
                return found.map(Exim);
            }
        }
        Seen::Absent
    }

    /// The main options with their defaults, and the names of what it was built with.
    pub fn options(&self, programs: &Programs, config: &str) -> Seen<BTreeMap<String, String>> {
        let step = format!("run {} -C {config} -bP", read::shown(&self.0));
        let mut command = Command::new(&self.0);
        command.args(["-C", config, "-bP"]);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        programs.run(command, step, PATIENCE).map(|output| dump(&output))
    }
}

/// `name = value`, `name` and `no_name`, one a line.
pub(super) fn dump(output: &[u8]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in output.split(|byte| *byte == b'\n') {
        let line = escaped(line.trim_ascii());
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim()),
            None => line.strip_prefix("no_").map_or((line.as_str(), "true"), |name| (name, "false")),
        };
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    values
}
