//! What is installed: the distribution's word about itself, and the versions of mail software's packages.
//!
//! Read from files that every user may read. What is still supported is a rule's business.

use crate::read;
use mxray_model::evidence::{Distribution, Software};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// os-release(5) has some twenty lines.
const RELEASE_BYTES_MAX: u64 = 64 * 1024;
/// dpkg's status file has about 1 kB a package: 6 MB where everything of a desktop is installed.
const STATUS_BYTES_MAX: u64 = 64 << 20;
const APK_BYTES_MAX: u64 = 64 << 20;
/// Package sources that are looked at; a host with more than a dozen is rare.
const SOURCES_MAX: usize = 256;

/// Packages of mail software and of its TLS libraries. A `*` stands for the rest of the name.
const PACKAGES: &[&str] = &[
    "postfix",
    "exim",
    "exim4-daemon-*",
    "dovecot",
    "dovecot-core",
    "opensmtpd",
    "sendmail-bin",
    "opendkim",
    "opendmarc",
    "rspamd",
    "openssl",
    "libssl1*",
    "libssl3*",
    "libgnutls30*",
];

/// Parts of the addresses at which paid support beyond a release's end is served, and what it is called.
const EXTENDED: &[(&str, &str)] = &[
    ("esm.ubuntu.com", "Ubuntu Pro (ESM)"),
    ("freexian.com/extended-lts", "Freexian ELTS"),
    ("deb.freexian.com", "Freexian ELTS"),
    ("repo.tuxcare.com", "TuxCare ELS"),
    ("repo.cloudlinux.com", "TuxCare ELS"),
];

/// Looks at all of it.
pub fn look() -> Software {
    Software {
        distribution: distribution(),
        extended_support: extended(),
        packages: packages(),
        tls_libraries: Seen::not_attempted("it needs the processes of mail software (`tls_library`)"),
    }
}

fn distribution() -> Seen<Distribution> {
    // os-release(5): the first one that is there.
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        match read::file(Path::new(path), RELEASE_BYTES_MAX) {
            Seen::Value(content) => return Seen::Value(os_release(&content.bytes)),
            Seen::Absent => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    Seen::Absent
}

/// `KEY=value`, `KEY="value"`: assignments of a shell, the last one of a key holds.
fn os_release(bytes: &[u8]) -> Distribution {
    let mut found = Distribution { id: "linux".to_owned(), ..Distribution::default() };
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = untrusted(line.trim_ascii());
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = unquoted(value);
        match key {
            "ID" => found.id = value,
            "VERSION_ID" => found.version = value,
            "PRETTY_NAME" => found.name = value,
            "SUPPORT_END" => found.support_end = Some(value).filter(|date| is_date(date)),
            _ => {}
        }
    }
    found
}

fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut out = String::new();
    let mut escaped = false;
    for c in inner.unwrap_or(value).chars() {
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        out.push(c);
    }
    out
}

/// `2026-05-13`
fn is_date(text: &str) -> bool {
    let shape = |(at, c): (usize, char)| if matches!(at, 4 | 7) { c == '-' } else { c.is_ascii_digit() };
    text.len() == 10 && text.char_indices().all(shape)
}

/// Is a source of longer support configured for apt, dnf or yum? Only that is kept: such addresses carry passwords.
fn extended() -> Seen<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    for directory in ["/etc/apt/sources.list.d", "/etc/yum.repos.d"] {
        match std::fs::read_dir(directory) {
            Ok(entries) => files.extend(entries.take(SOURCES_MAX + 1).flatten().map(|entry| entry.path())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Seen::Unknown(read::blind("read", Path::new(directory), &error, "root")),
        }
    }
    files.sort();
    let mut unread = (files.len() > SOURCES_MAX)
        .then(|| Blind::NotAttempted { why: format!("there are more than {SOURCES_MAX} package sources") });
    for path in files.iter().filter(|path| is_source(path)).take(SOURCES_MAX) {
        match read::file(path, RELEASE_BYTES_MAX) {
            Seen::Value(content) => {
                if let Some(name) = extended_in(&content.bytes) {
                    return Seen::Value(format!("{name}, {}", read::shown(path)));
                }
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => unread = Some(blind),
        }
    }
    unread.map_or(Seen::Absent, Seen::Unknown)
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["list", "sources", "repo"].iter().any(|known| extension == *known))
}

fn extended_in(bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines
        .flat_map(|line| EXTENDED.iter().filter(move |(address, _)| line.contains(address)))
        .map(|(_, name)| *name)
        .next()
}

fn packages() -> Seen<BTreeMap<String, String>> {
    let dpkg = Path::new("/var/lib/dpkg/status");
    match read::file(dpkg, STATUS_BYTES_MAX) {
        Seen::Value(content) if content.cut => {
            return read::failed("read", dpkg, &format!("it has more than {STATUS_BYTES_MAX} bytes"));
        }
        Seen::Value(content) => return Seen::Value(dpkg_status(&content.bytes)),
        Seen::Absent => {}
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    let apk = Path::new("/lib/apk/db/installed");
    match read::file(apk, APK_BYTES_MAX) {
        Seen::Value(content) if content.cut => {
            return read::failed("read", apk, &format!("it has more than {APK_BYTES_MAX} bytes"));
        }
        Seen::Value(content) => return Seen::Value(apk_installed(&content.bytes)),
        Seen::Absent => {}
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    Seen::Unknown(Blind::NotAttempted { why: "no package database that mxray reads (dpkg, apk) is here".to_owned() })
}

fn is_wanted(name: &str) -> bool {
    PACKAGES.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *wanted,
    })
}

/// deb822(5) paragraphs: what is installed by its own status.
fn dpkg_status(bytes: &[u8]) -> BTreeMap<String, String> {
    let (mut name, mut version, mut installed) = ("", "", false);
    let mut found = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n').chain([b"".as_slice()]) {
        let line = std::str::from_utf8(line).unwrap_or("?");
        if line.is_empty() {
            if installed && is_wanted(name) {
                found.insert(untrusted(name.as_bytes()), untrusted(version.as_bytes()));
            }
            (name, version, installed) = ("", "", false);
        } else if let Some(value) = line.strip_prefix("Package:") {
            name = value.trim();
        } else if let Some(value) = line.strip_prefix("Version:") {
            version = value.trim();
        } else if let Some(value) = line.strip_prefix("Status:") {
            installed = value.trim().ends_with(" installed");
        }
    }
    found
}

/// apk-package(5): `P:` is the name, `V:` the version.
fn apk_installed(bytes: &[u8]) -> BTreeMap<String, String> {
    let (mut name, mut version) = ("", "");
    let mut found = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n').chain([b"".as_slice()]) {
        let line = std::str::from_utf8(line).unwrap_or("?");
        if line.is_empty() {
            if is_wanted(name) {
                found.insert(untrusted(name.as_bytes()), untrusted(version.as_bytes()));
            }
            (name, version) = ("", "");
        } else if let Some(value) = line.strip_prefix("P:") {
            name = value;
        } else if let Some(value) = line.strip_prefix("V:") {
            version = value;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_release_is_read_as_a_shell_reads_it() {
        let text =
            b"# x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_ID='13'\n\
            SUPPORT_END=2026-05-13\nNAME=\"a \\\"b\\\"\"\nbroken\n";
        let found = os_release(text);
        assert_eq!((found.id.as_str(), found.version.as_str()), ("debian", "13"));
        assert_eq!(found.support_end.as_deref(), Some("2026-05-13"));
        assert_eq!(os_release(b"SUPPORT_END=soon\n").support_end, None);
        assert_eq!(os_release(b"").id, "linux");
        assert_eq!(unquoted("\"a \\\"b\\\"\""), "a \"b\"");
    }

    #[test]
    fn only_what_is_installed_counts() {
        let text = b"Package: postfix\nStatus: install ok installed\nVersion: 3.7.11-0+deb12u1\nDescription: x\n Version: 9\n\n\
            Package: exim4-daemon-light\nStatus: deinstall ok config-files\nVersion: 4.96-15\n\n\
            Package: libssl3\nStatus: hold ok installed\nVersion: 3.0.17-1\n\nPackage: vim\nStatus: install ok installed\nVersion: 1";
        let found = dpkg_status(text);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("libssl3".to_owned(), "3.0.17-1".to_owned()), ("postfix".to_owned(), "3.7.11-0+deb12u1".to_owned()),]
        );
        let found = apk_installed(b"C:Q1\nP:postfix\nV:3.9.1-r0\n\nP:musl\nV:1\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("postfix".to_owned(), "3.9.1-r0".to_owned())]);
    }

    #[test]
    fn longer_support_is_known_by_its_source_and_no_password_is_kept() {
        let pro = b"# deb https://esm.ubuntu.com/x\ndeb https://bearer:secret@esm.ubuntu.com/infra/ubuntu focal-infra-security main\n";
        assert_eq!(extended_in(pro), Some("Ubuntu Pro (ESM)"));
        assert_eq!(
            extended_in(b"# deb https://esm.ubuntu.com/x\ndeb http://mirror.example/debian buster main\n"),
            None
        );
        assert!(!is_source(Path::new("/etc/apt/sources.list.d/x.list.disabled")));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            os_release(&bytes);
            dpkg_status(&bytes);
            apk_installed(&bytes);
            extended_in(&bytes);
        }
    }
}
