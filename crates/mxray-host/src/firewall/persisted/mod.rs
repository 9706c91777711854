//! What was written down for the next start, beside what runs.
//!
//! Files in iptables-save's form are read as rulesets, put in the place of what runs, and asked what mail asks (`walk`): how a
//! rule is spelled does not matter then. nftables' own language is compared rule by rule, in one form (`nft_file`), of
//! firewalld's zones the open ports of mail (`zones`). What cannot be compared for certain is unknown, never a guess. Rules of
//! programs that make them as they go are nobody's drift.

mod nft_file;
mod walk;
mod zones;

use super::Rulesets;
use super::ask::Way;
use crate::{read, units};
use mxray_model::evidence::{FilterAbout, FilterQuestion, FilterVerdict, Firewall, Persisted};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// iptables-save of a hundred thousand rules has 10 MB.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;
/// Rules of each side that are told.
pub(super) const TOLD_MAX: usize = 16;
/// Programs that make rules while they run, and write none down.
pub(super) const MAKERS: [&str; 8] =
    ["fail2ban", "crowdsec", "docker", "libvirt", "kube-proxy", "podman", "sshguard", "tailscale"];

pub(super) fn is_makers(manager: Option<&str>) -> bool {
    manager.is_some_and(|name| MAKERS.contains(&name))
}

/// All files that are there, by path.
pub(super) fn compare(rulesets: &Rulesets, way: &mut Way<'_>, running: &Firewall) -> BTreeMap<String, Seen<Persisted>> {
    let mut found = BTreeMap::new();
    if let Some(seen) = nft_file::compare(rulesets, way, running, Path::new("/etc/nftables.conf")) {
        found.insert("/etc/nftables.conf".to_owned(), seen);
    }
    for (file, ipv4) in [("/etc/iptables/rules.v4", true), ("/etc/iptables/rules.v6", false)] {
        if let Some(seen) = iptables(way, running, file, ipv4) {
            found.insert(file.to_owned(), seen);
        }
    }
    found.extend(ufw(way, running));
    for (file, mut seen) in zones::compare(rulesets) {
        if let Seen::Value(persisted) = &mut seen {
            zones::decided(persisted, &entering(running));
        }
        found.insert(file, seen);
    }
    found
}

/// Questions of strangers who come in over TCP: key, port, and whether they pass now.
fn entering(running: &Firewall) -> Vec<(String, u16, bool)> {
    let enters = |question: &FilterQuestion| {
        matches!(question.about, FilterAbout::Enter { .. }) && question.protocol == "tcp" && question.server.is_some()
    };
    let questions = running.questions.iter().filter(|(_, question)| enters(question));
    let answered = questions.filter_map(|(key, question)| {
        let answer = running.answers.get(&question.ends.first()?.answer)?;
        match answer.verdict {
            FilterVerdict::Pass => Some((key.clone(), question.port, true)),
            FilterVerdict::Drop | FilterVerdict::Reject { .. } => Some((key.clone(), question.port, false)),
            FilterVerdict::Queue | FilterVerdict::Unknown { .. } => None,
        }
    });
    answered.collect()
}

/// Whether a unit is started with the machine.
pub(super) fn at_boot(unit: &str) -> Seen<bool> {
    match units::pulled_in(unit) {
        Seen::Value(_) => Seen::Value(true),
        Seen::Absent => Seen::Value(false),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

pub(super) fn nothing(loaded_by: &str, at_boot: Seen<bool>) -> Persisted {
    Persisted {
        loaded_by: loaded_by.to_owned(),
        at_boot,
        only_running: Vec::new(),
        only_in_file: Vec::new(),
        only_in_file_texts: Vec::new(),
        differs: BTreeMap::new(),
        untold: BTreeMap::new(),
    }
}

/// A file's text. `None`: it is not there.
pub(super) fn text_of(path: &Path) -> Option<Seen<Vec<u8>>> {
    match read::file(path, FILE_BYTES_MAX) {
        Seen::Value(content) if content.cut => Some(Seen::Unknown(Blind::NotAttempted {
            why: format!("{} is larger than the {} MiB that are read", read::shown(path), FILE_BYTES_MAX >> 20),
        })),
        Seen::Value(content) => Some(Seen::Value(content.bytes)),
        Seen::Absent => None,
        Seen::Unknown(blind) => Some(Seen::Unknown(blind)),
    }
}

/// netfilter-persistent's files (Debian's iptables-persistent).
fn iptables(way: &mut Way<'_>, running: &Firewall, file: &str, ipv4: bool) -> Option<Seen<Persisted>> {
    const UNIT: &str = "netfilter-persistent.service";
    let text = match text_of(Path::new(file))? {
        Seen::Value(text) => text,
        Seen::Unknown(blind) => return Some(Seen::Unknown(blind)),
        Seen::Absent => return None,
    };
    let mut persisted = nothing(UNIT, at_boot(UNIT));
    if persisted.at_boot == Seen::Value(true) {
        walk::whole_tables(way, running, (file, &text, ipv4), &mut persisted);
    }
    Some(Seen::Value(persisted))
}

/// ufw's own rules: `user.rules` is in iptables-restore's form.
fn ufw(way: &mut Way<'_>, running: &Firewall) -> Vec<(String, Seen<Persisted>)> {
    const UNIT: &str = "ufw.service";
    let enabled = match text_of(Path::new("/etc/ufw/ufw.conf")) {
        Some(Seen::Value(text)) => is_enabled(&String::from_utf8_lossy(&text)),
        _ => return Vec::new(),
    };
    if !enabled {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (file, ipv4) in [("/etc/ufw/user.rules", true), ("/etc/ufw/user6.rules", false)] {
        let seen = match text_of(Path::new(file)) {
            Some(Seen::Value(text)) => {
                let mut persisted = nothing(UNIT, at_boot(UNIT));
                if persisted.at_boot == Seen::Value(true) {
                    walk::chains(way, running, (file, &text, ipv4), &mut persisted);
                }
                Seen::Value(persisted)
            }
            Some(Seen::Unknown(blind)) => Seen::Unknown(blind),
            Some(Seen::Absent) | None => continue,
        };
        found.push((file.to_owned(), seen));
    }
    found
}

/// `ENABLED=yes` of ufw.conf, which is a shell's file.
fn is_enabled(text: &str) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.strip_prefix("ENABLED="))
        .next_back()
        .is_some_and(|value| value.trim_matches(['"', '\'']).eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw_says_whether_it_is_on() {
        assert!(is_enabled("# comment\nENABLED=yes\nLOGLEVEL=low\n"));
        assert!(is_enabled("ENABLED=no\nENABLED=\"yes\"\n"));
        assert!(!is_enabled("#ENABLED=yes\nENABLED=no\n") && !is_enabled(""));
    }
}
