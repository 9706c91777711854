//! The tables of the xtables framework, of before nf_tables. Both act on every packet.
//!
//! Its rules are read by a program only: the kernel's own interface (getsockopt on a raw socket) gives structures that
//! differ from extension to extension. `/proc/net/ip_tables_names` tells whether there is a table at all; where there is none,
//! nothing is run.

use crate::programs::{self, Programs};
use crate::read;
use mxray_model::{Blind, Seen};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// It takes some 2 ms, and up to a second for a hundred thousand rules.
const PATIENCE: Duration = Duration::from_secs(4);
/// Tables have names like `filter`; the kernel knows five.
const NAMES_BYTES_MAX: u64 = 4096;

/// One family of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family {
    pub ipv4: bool,
    names: &'static str,
    /// In the order of preference: `iptables-save` is the legacy one's on systems from before 2018, and nf_tables' on others.
    programs: &'static [&'static str],
}

pub(crate) const FAMILIES: [Family; 2] = [
    Family {
        ipv4: true,
        names: "/proc/thread-self/net/ip_tables_names",
        programs: &["/usr/sbin/iptables-legacy-save", "/sbin/iptables-legacy-save", "/usr/sbin/iptables-save", "/sbin/iptables-save"],
    },
    Family {
        ipv4: false,
        names: "/proc/thread-self/net/ip6_tables_names",
        programs: &["/usr/sbin/ip6tables-legacy-save", "/sbin/ip6tables-legacy-save", "/usr/sbin/ip6tables-save", "/sbin/ip6tables-save"],
    },
];

/// What iptables-save(8) says of this family. `Absent`: no table of it is in use.
pub(crate) fn rules(family: Family, programs: &Programs) -> Seen<Vec<u8>> {
    match read::kernel(Path::new(family.names), NAMES_BYTES_MAX) {
        Seen::Value(names) if !names.bytes.trim_ascii().is_empty() => {}
        Seen::Value(_) | Seen::Absent => return Seen::Absent,
        Seen::Unknown(Blind::NotPermitted { what, .. }) => {
            return Seen::Unknown(Blind::NotPermitted { what, needs: "root".to_owned() });
        }
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    let program = match program(family) {
        Seen::Value(program) => program,
        Seen::Absent => {
            return Seen::Unknown(Blind::NotAttempted {
                why: format!("{} has tables, and {} is not installed, which lists them", family.names, name(family)),
            });
        }
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let step = format!("run {}", name(family));
    let mut command = Command::new(&program);
    // One program serves all names, and goes by the one that it is called with.
    command.arg0(name(family)).arg("-c");
    programs.run(command, step, PATIENCE)
}

fn name(family: Family) -> &'static str {
    if family.ipv4 { "iptables-legacy-save" } else { "ip6tables-legacy-save" }
}

/// The first of the known places whose program is the legacy one. `Unknown` where one is there that must not be run.
fn program(family: Family) -> Seen<PathBuf> {
    for place in family.programs {
        match programs::trusted(Path::new(place)) {
            Seen::Value(real) if is_legacy(&real) => return Seen::Value(real),
            Seen::Value(_) | Seen::Absent => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    Seen::Absent
}

/// The program behind all names is `xtables-legacy-multi`, before 1.8 `xtables-multi`; nf_tables' is `xtables-nft-multi`.
fn is_legacy(real: &Path) -> bool {
    let name = real.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    name.contains("multi") && !name.contains("nft")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_the_other_framework_is_not_taken() {
        for (path, legacy) in [
            ("/usr/sbin/xtables-legacy-multi", true),
            ("/sbin/xtables-multi", true),
            ("/sbin/iptables-multi", true),
            ("/usr/sbin/xtables-nft-multi", false),
            ("/usr/local/sbin/iptables-save", false),
        ] {
            assert_eq!(is_legacy(Path::new(path)), legacy, "{path}");
        }
    }
}
