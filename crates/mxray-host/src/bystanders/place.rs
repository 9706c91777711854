//! Where the files of other software are read from, and what their text is resolved against. Bounded; every file is a path of
//! this machine below one root, so that tests have a machine of their own.

use crate::mta::machine::Machine;
use crate::read;
use mxray_model::Seen;
use mxray_model::text::untrusted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// A configuration of a front end with some thousand hosts is a megabyte.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Most files that one pattern or directory gives.
const LISTED_MAX: usize = 1_000;

/// The machine whose files are read.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub root: PathBuf,
    pub machine: Machine,
    /// `net.ipv6.bindv6only`: an IPv6 wildcard of a program that does not say otherwise refuses IPv4.
    pub only_six: bool,
}

impl Place {
    pub fn here() -> Place {
        let only_six = read::line("/proc/sys/net/ipv6/bindv6only") == Seen::Value("1".to_owned());
        Place { root: PathBuf::from("/"), machine: Machine::look(), only_six }
    }

    pub fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file as text; what is no UTF-8 stands as U+FFFD. One that is longer than the limit is unknown: half of it would be a
    /// guess.
    pub fn text(&self, path: &str) -> Seen<String> {
        let full = self.below(path);
        match read::file(&full, FILE_BYTES_MAX) {
            Seen::Value(content) if content.cut => {
                read::failed("read", Path::new(path), &format!("longer than {FILE_BYTES_MAX} bytes"))
            }
            Seen::Value(content) => Seen::Value(String::from_utf8_lossy(&content.bytes).into_owned()),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind),
        }
    }

    pub fn exists(&self, path: &str) -> bool {
        self.below(path).symlink_metadata().is_ok()
    }

    /// The files that a shell pattern names, sorted; paths as the machine has them.
    pub fn matching(&self, pattern: &str) -> Vec<String> {
        let root = glob::Pattern::escape(&self.root.to_string_lossy());
        let full = format!("{}/{}", root.trim_end_matches('/'), pattern.trim_start_matches('/'));
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let Ok(paths) = glob::glob_with(&full, options) else { return Vec::new() };
        let named = paths.flatten().filter_map(|path| {
            let below = path.strip_prefix(&self.root).ok()?;
            let text = format!("/{}", below.to_str()?);
            (untrusted(text.as_bytes()) == text).then_some(text)
        });
        let mut found: Vec<String> = named.take(LISTED_MAX).collect();
        found.sort();
        found
    }

    /// The addresses of a literal, of a name in /etc/hosts, or of a wildcard; the latter for both families.
    pub fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        match host {
            "" | "*" => Some(self.any()),
            host => self.machine.resolve(host),
        }
    }

    /// Both wildcards, where the kernel has both families.
    pub fn any(&self) -> Vec<IpAddr> {
        let six = self.machine.ipv6.then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        std::iter::once(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).chain(six).collect()
    }
}
