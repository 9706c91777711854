//! Linux security modules that may refuse a service its port: SELinux, whose policy knows ports, and AppArmor, whose profiles know
//! families and capabilities. What is read is what stands open; the policy itself is not worked out. [`Profile::read`] is pure.

use crate::read;
use mxray_model::evidence::FileLine;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::path::Path;

const PROFILES: &str = "/etc/apparmor.d";
/// A distribution ships two hundred at most.
const FILES_MAX: usize = 1000;
/// The kernel's list has a line for each loaded profile.
const LOADED_BYTES_MAX: u64 = 1 << 20;

/// SELinux enforces its policy. `Absent`: this kernel has none, or it only notes.
pub fn selinux() -> Seen<()> {
    match read::line("/sys/fs/selinux/enforce") {
        Seen::Value(text) if text == "1" => Seen::Value(()),
        Seen::Value(_) | Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// What a profile says of sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub at: FileLine,
    /// Rules that allow sockets of IPv4 and IPv6.
    pub ipv4: bool,
    pub ipv6: bool,
    /// CAP_NET_BIND_SERVICE
    pub low_ports: bool,
}

/// The enforced profile of a program, or the one of this name. `Absent`: none.
pub fn apparmor(program: Option<&str>, name: Option<&str>, protocol: &str) -> Seen<Profile> {
    match read::line("/sys/module/apparmor/parameters/enabled") {
        Seen::Value(text) if text == "Y" => {}
        Seen::Value(_) | Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    let Some(profile) = find(Path::new(PROFILES), program, name, protocol) else { return Seen::Absent };
    match read::kernel(Path::new("/sys/kernel/security/apparmor/profiles"), LOADED_BYTES_MAX) {
        Seen::Value(loaded) => {
            let enforced = format!("{} (enforce)", profile.name);
            let is = untrusted_lines(&loaded.bytes).iter().any(|line| line.trim() == enforced);
            if is { Seen::Value(profile) } else { Seen::Absent }
        }
        Seen::Absent => Seen::Absent,
        Seen::Unknown(_) => Seen::Unknown(Blind::NotPermitted {
            what: format!("see whether the AppArmor profile {} is enforced", profile.name),
            needs: "root".to_owned(),
        }),
    }
}

fn find(below: &Path, program: Option<&str>, name: Option<&str>, protocol: &str) -> Option<Profile> {
    let mut files: Vec<_> = std::fs::read_dir(below).ok()?.take(FILES_MAX).filter_map(Result::ok).collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    files.iter().filter(|file| file.file_type().is_ok_and(|kind| kind.is_file())).find_map(|file| {
        let text = untrusted_lines(&read::bounded(&file.path(), read::SMALL_BYTES_MAX).ok()?);
        let local = below.join("local").join(file.file_name());
        let local =
            read::bounded(&local, read::SMALL_BYTES_MAX).map(|bytes| untrusted_lines(&bytes)).unwrap_or_default();
        Profile::read(&read::shown(&file.path()), &text, &local, program, name, protocol)
    })
}

fn untrusted_lines(bytes: &[u8]) -> Vec<String> {
    bytes.split(|byte| *byte == b'\n').map(untrusted).collect()
}

impl Profile {
    /// The profile of a file that is for the program, or has the name. `local` is what its administrator adds to it.
    fn read(
        file: &str,
        lines: &[String],
        local: &[String],
        program: Option<&str>,
        name: Option<&str>,
        protocol: &str,
    ) -> Option<Profile> {
        let (at, own) = lines.iter().enumerate().find_map(|(at, line)| Some((at, header(line, program, name)?)))?;
        let body = lines.iter().skip(at + 1).take_while(|line| !line.starts_with('}')).chain(local);
        let mut profile = Profile {
            name: own,
            at: FileLine { file: file.to_owned(), line: u32::try_from(at + 1).unwrap_or(u32::MAX) },
            ipv4: false,
            ipv6: false,
            low_ports: false,
        };
        let mut denied = Vec::new();
        for line in body {
            let line = line.trim().trim_end_matches(',');
            match line.strip_prefix("deny ") {
                Some(rule) => denied.push(rule.trim().to_owned()),
                None => profile.allow(line, protocol, true),
            }
        }
        for rule in denied {
            profile.allow(&rule, protocol, false);
        }
        Some(profile)
    }

    fn allow(&mut self, rule: &str, protocol: &str, allow: bool) {
        let mut words = rule.split_whitespace();
        match words.next() {
            Some("network") => {
                let words: Vec<&str> = words.collect();
                let kind = |tcp: &str, udp: &str| if protocol == "tcp" { tcp.to_owned() } else { udp.to_owned() };
                let other = [kind("dgram", "stream"), kind("udp", "tcp"), "raw".to_owned(), "icmp".to_owned()];
                if words.iter().any(|word| other.iter().any(|other| other == word)) {
                    return;
                }
                let named = |family: &str| words.contains(&family);
                let any = !words.iter().any(|word| FAMILIES.contains(word));
                if any || named("inet") {
                    self.ipv4 = allow;
                }
                if any || named("inet6") {
                    self.ipv6 = allow;
                }
            }
            Some("capability") => {
                let all = rule == "capability";
                if all || words.any(|word| word == "net_bind_service") {
                    self.low_ports = allow;
                }
            }
            // It has rules for TCP and UDP of both families.
            Some("include" | "#include") if rule.contains("<abstractions/nameservice>") && allow => {
                (self.ipv4, self.ipv6) = (true, true);
            }
            _ => {}
        }
    }
}

/// Families that a `network` rule may name (apparmor.d(5)); those that have nothing to do with ports are enough to know that one
/// is named.
const FAMILIES: [&str; 8] = ["inet", "inet6", "unix", "netlink", "packet", "bluetooth", "vsock", "can"];

/// The name of a profile that begins here and is the one that is looked for.
fn header(line: &str, program: Option<&str>, wanted: Option<&str>) -> Option<String> {
    let head = line.strip_suffix('{').or_else(|| line.trim_end().strip_suffix('{'))?;
    let mut words = head.split_whitespace().map(|word| word.trim_matches('"')).peekable();
    let named = words.next_if_eq(&"profile").is_some();
    let name = words.next().filter(|name| named || name.starts_with('/') || name.starts_with('@'))?;
    let attached = words.next().filter(|word| word.starts_with('/')).unwrap_or(name);
    let is_program = program.is_some_and(|program| {
        let both = [attached.replace("{,usr/}", ""), attached.replace("{,usr/}", "usr/")];
        both.iter().any(|path| path == program)
    });
    let is_named = wanted.is_some_and(|wanted| wanted == name);
    let is_it = if wanted.is_some() { is_named } else { is_program };
    is_it.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str, local: &str, protocol: &str) -> Option<Profile> {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        Profile::read("/etc/apparmor.d/x", &lines(text), &lines(local), Some("/usr/sbin/clamd"), None, protocol)
    }

    #[test]
    fn a_profile_is_found_by_what_it_is_attached_to() {
        let text =
            "#include <tunables/global>\n/{,usr/}sbin/clamd flags=(attach_disconnected) {\n  network inet stream,\n}\n";
        let found = profile(text, "", "tcp").unwrap();
        assert!(found.ipv4 && !found.ipv6 && !found.low_ports);
        assert_eq!(found.at.line, 2);
        assert!(!profile(text, "", "udp").unwrap().ipv4);
        assert_eq!(profile("profile clam /usr/sbin/clamd {\n}\n", "", "tcp").unwrap().name, "clam");
        assert_eq!(profile("/usr/sbin/other {\n network,\n}\n", "", "tcp"), None);
    }

    #[test]
    fn rules_of_the_file_and_of_its_local_part_count() {
        let head = "/usr/sbin/clamd {\n  include <abstractions/base>\n";
        let with = |rule: &str, local: &str| profile(&format!("{head}  {rule}\n}}\n"), local, "tcp").unwrap();
        assert!(with("network,", "").ipv6 && with("include <abstractions/nameservice>", "").ipv4);
        assert!(with("", "network inet6 stream,\ncapability net_bind_service,").low_ports);
        assert!(!with("network unix,", "").ipv4 && !with("network netlink raw,", "").ipv4);
        assert!(!with("deny network inet,", "network,").ipv4);
        assert!(with("capability,", "").low_ports);
    }
}
