//! Names for numbers: services by port (`/etc/services`), users by id (`/etc/passwd`). Read once by whoever asks.

use crate::read;
use mxray_model::Seen;
use mxray_model::evidence::Account;
use mxray_model::text::untrusted;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Debian's file has 13 kB, the full IANA list 1.5 MB.
const SERVICES_BYTES_MAX: u64 = 8 << 20;
/// A large host's local users; directories behind NSS are not asked, since that could mean the network.
const PASSWD_BYTES_MAX: u64 = 64 << 20;

/// Mail's own ports (IANA), for hosts without `/etc/services` and for the names that it lacks.
const MAIL: [(&str, u16); 11] = [
    ("smtp", 25),
    ("lmtp", 24),
    ("pop3", 110),
    ("imap", 143),
    ("submissions", 465),
    ("smtps", 465),
    ("submission", 587),
    ("imaps", 993),
    ("pop3s", 995),
    ("sieve", 4190),
    ("managesieve", 4190),
];

/// Service names and ports.
#[derive(Debug, Clone, Default)]
pub struct Services {
    ports: BTreeMap<String, u16>,
    names: BTreeMap<u16, String>,
}

impl Services {
    /// Reads `/etc/services`; mail's own names are known without it.
    pub fn read() -> Self {
        let text = read::bounded(Path::new("/etc/services"), SERVICES_BYTES_MAX).unwrap_or_default();
        Services::parse(&text)
    }

    fn parse(text: &[u8]) -> Self {
        let mut services = Services::default();
        for (name, port) in MAIL {
            services.ports.insert(name.to_owned(), port);
            services.names.entry(port).or_insert_with(|| name.to_owned());
        }
        for line in text.split(|byte| *byte == b'\n') {
            let line = untrusted(line.split(|byte| *byte == b'#').next().unwrap_or_default());
            let line = line.replace("\\t", " ");
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some((port, _))) = (words.next(), words.next().and_then(|word| word.split_once('/')))
            else {
                continue;
            };
            let Ok(port) = port.parse() else { continue };
            for name in std::iter::once(name).chain(words) {
                services.ports.entry(name.to_owned()).or_insert(port);
            }
            services.names.entry(port).or_insert_with(|| name.to_owned());
        }
        services
    }

    /// The port of a name, or of a number.
    pub fn port(&self, text: &str) -> Option<u16> {
        text.parse().ok().or_else(|| self.ports.get(&text.to_ascii_lowercase()).copied())
    }

    /// The first name of a port.
    pub fn name(&self, port: u16) -> Option<&str> {
        self.names.get(&port).map(String::as_str)
    }
}

/// Local user names by id; empty where `/etc/passwd` cannot be read.
pub fn users() -> BTreeMap<u32, String> {
    passwd(&read::bounded(Path::new("/etc/passwd"), PASSWD_BYTES_MAX).unwrap_or_default())
}

/// A local user by name. `Absent`: `/etc/passwd` has no such user; NSS behind it is not asked.
pub fn account(name: &str) -> Seen<Account> {
    let path = Path::new("/etc/passwd");
    match read::bounded(path, PASSWD_BYTES_MAX) {
        Ok(text) => {
            let found = passwd(&text).into_iter().find(|(_, other)| other == name);
            found.map_or(Seen::Absent, |(uid, name)| Seen::Value(Account { name, uid }))
        }
        Err(error) => Seen::Unknown(read::blind("read", path, &error, "root")),
    }
}

/// Who a user is to the kernel that checks permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    /// The primary one and those of `/etc/group`, as initgroups(3) gives them.
    pub groups: BTreeSet<u32>,
}

/// The identity that a daemon takes on for a user. `Absent`: `/etc/passwd` has no such user.
pub fn identity(user: &str) -> Seen<Identity> {
    let files = (Path::new("/etc/passwd"), Path::new("/etc/group"));
    let read = |path| read::bounded(path, PASSWD_BYTES_MAX).map_err(|error| read::blind("read", path, &error, "root"));
    match (read(files.0), read(files.1)) {
        (Ok(passwd), Ok(group)) => identity_in(&passwd, &group, user).map_or(Seen::Absent, Seen::Value),
        (Err(blind), _) | (_, Err(blind)) => Seen::Unknown(blind),
    }
}

fn identity_in(passwd: &[u8], group: &[u8], user: &str) -> Option<Identity> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
    let fields = |line: &[u8]| -> Vec<Vec<u8>> { line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect() };
    let mut lines = passwd.split(|byte| *byte == b'\n').map(fields);
    let own = lines.find(|own| own.first().is_some_and(|name| name == user.as_bytes()))?;
    let mut groups = BTreeSet::from([number(own.get(3)?)?]);
    for line in group.split(|byte| *byte == b'\n').map(fields) {
        let Some(members) = line.get(3) else { continue };
        if members.split(|byte| *byte == b',').any(|member| member == user.as_bytes()) {
            groups.extend(line.get(2).and_then(|gid| number(gid)));
        }
    }
    Some(Identity { uid: number(own.get(2)?)?, groups })
}

/// The first local group of this id.
pub fn group(gid: u32) -> Option<String> {
    let text = read::bounded(Path::new("/etc/group"), PASSWD_BYTES_MAX).ok()?;
    // The columns that matter are those of /etc/passwd: name, password, id.
    passwd(&text).remove(&gid)
}

/// The group that a user's processes begin with, from `/etc/passwd`. `Absent`: no such user there.
pub fn primary_group(uid: u32) -> Seen<u32> {
    let path = Path::new("/etc/passwd");
    let number = |field: &[u8]| std::str::from_utf8(field).ok().and_then(|text| text.parse::<u32>().ok());
    match read::bounded(path, PASSWD_BYTES_MAX) {
        Ok(text) => {
            let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':'));
            let group = lines.find_map(|mut fields| {
                let (own, group) = (fields.nth(2)?, fields.next()?);
                (number(own) == Some(uid)).then(|| number(group))?
            });
            group.map_or(Seen::Absent, Seen::Value)
        }
        Err(error) => Seen::Unknown(read::blind("read", path, &error, "root")),
    }
}

fn passwd(text: &[u8]) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
        if let Some(uid) = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) {
            users.entry(uid).or_insert_with(|| untrusted(name));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports() {
        let services =
            Services::parse(b"# x\nsmtp\t\t25/tcp\tmail\nsubmissions 465/tcp ssmtp smtps urd\nfoo 9/udp # bar\nbad\n");
        for (name, port) in [("smtp", 25), ("mail", 25), ("SMTP", 25), ("urd", 465), ("foo", 9), ("2525", 2525)] {
            assert_eq!(services.port(name), Some(port), "{name}");
        }
        assert_eq!(services.port("bar"), None);
        assert_eq!(services.port("70000"), None);
        assert_eq!((services.name(465), services.name(1)), (Some("submissions"), None));
        assert_eq!(Services::parse(b"").port("imaps"), Some(993));
    }

    #[test]
    fn an_identity_has_all_of_its_groups() {
        let passwd = b"root:x:0:0::/:/bin/sh\npostfix:x:107:115::/:\nopen:x:9:9::/:\n";
        let group = b"postfix:x:115:\nopendkim:x:116:other,postfix\nnot:x:117:postfixer\nbad:x:y:postfix\n";
        let groups = BTreeSet::from([115, 116]);
        assert_eq!(identity_in(passwd, group, "postfix"), Some(Identity { uid: 107, groups }));
        assert_eq!(identity_in(passwd, group, "post"), None);
    }

    #[test]
    fn the_first_user_of_an_id_counts() {
        let users = passwd(b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbad\npost\x1bfix:x:107:1::/:\n");
        assert_eq!(users, BTreeMap::from([(0, "root".into()), (107, "post\\u{1b}fix".into())]));
    }
}
