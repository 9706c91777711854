//! The units that bear on mail, for evidence: services of mail software, and the socket units that open ports of mail.

use super::files::{self, Assignment, Links, Loaded, assignments};
use crate::processes::Table;
use crate::{read, secrets};
use mxray_model::Seen;
use mxray_model::evidence::{FileLine, Setting, SocketUnit, Unit, UnitListen, Units};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Services of mail software under the names that packages and the projects' own instructions give them.
const SERVICES: &[&str] = &[
    "amavis.service",
    "amavisd.service",
    "clamav-daemon.service",
    "clamav-milter.service",
    "courier-mta.service",
    "cyrus-imapd.service",
    "dovecot.service",
    "exim.service",
    "exim4.service",
    "haproxy.service",
    "haraka.service",
    "kumomta.service",
    "maddy.service",
    "nullmailer.service",
    "opendkim.service",
    "opendmarc.service",
    "opensmtpd.service",
    "pmta.service",
    "policyd-spf.service",
    "postfix.service",
    "postgrey.service",
    "postsrsd.service",
    "rspamd.service",
    "saslauthd.service",
    "sendmail.service",
    "smtpd.service",
    "spamassassin.service",
    "spamd.service",
    "stalwart-mail.service",
    "stalwart.service",
];
/// Prefixes of instances: `postfix@-.service`.
const TEMPLATES: &[&str] = &["postfix@", "dovecot@", "exim4@", "exim@"];
/// Units of which evidence keeps a description; multi-instance servers have some hundred.
const UNITS_MAX: usize = 300;
/// Socket units that are read; a desktop has a hundred.
const SOCKETS_MAX: usize = 2000;
/// What evidence keeps of a unit, by section and key.
const KEPT: &[(&str, &str)] = &[
    ("Unit", "JoinsNamespaceOf"),
    ("Service", "ExecStart"),
    ("Service", "LimitNOFILE"),
    ("Service", "MemoryMax"),
    ("Service", "NetworkNamespacePath"),
    ("Service", "PrivateNetwork"),
    ("Service", "ProtectSystem"),
    ("Service", "ReadOnlyPaths"),
    ("Service", "Restart"),
    ("Service", "RestrictAddressFamilies"),
    ("Service", "RootDirectory"),
    ("Service", "RootImage"),
    ("Service", "SocketBindAllow"),
    ("Service", "SocketBindDeny"),
    ("Service", "TasksMax"),
    ("Service", "User"),
    ("Socket", "BindIPv6Only"),
    ("Socket", "BindToDevice"),
    ("Socket", "FreeBind"),
    ("Socket", "ReusePort"),
];

/// Reads the units. `Absent`: systemd starts nothing here, whatever files lie about.
///
/// `also`: units that processes of mail software were seen in; `ports`: those on which a socket bears on mail.
pub fn look(table: &Seen<Table>, also: &BTreeSet<String>, ports: &BTreeSet<u16>) -> Seen<Units> {
    match Path::new("/run/systemd/system").try_exists() {
        Ok(true) => Seen::Value(look_below(Path::new("/"), table, also, ports)),
        Ok(false) => Seen::Absent,
        Err(error) => read::refused("look for", Path::new("/run/systemd/system"), &error),
    }
}

/// One service, whatever it is for. `Absent`: there is no such unit. Who runs in it is not looked at.
pub fn one(name: &str) -> Seen<Unit> {
    let root = Path::new("/");
    let table = Seen::not_attempted("one unit was asked for");
    files::load(root, name).map(|loaded| describe(name, &loaded, &Links::read(root), &table))
}

fn look_below(root: &Path, table: &Seen<Table>, also: &BTreeSet<String>, ports: &BTreeSet<u16>) -> Units {
    let links = Links::read(root);
    let is_template_of = |name: &&str| TEMPLATES.iter().any(|prefix| name.starts_with(prefix));
    let mut names: BTreeSet<String> = SERVICES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(links.units().filter(is_template_of).map(str::to_owned));
    names.extend(also.iter().filter(|name| name.ends_with(".service") && !name.contains('/')).cloned());
    let mut units = Units::default();
    for name in names.into_iter().take(UNITS_MAX) {
        let unit = files::load(root, &name).map(|loaded| describe(&name, &loaded, &links, table));
        if !unit.is_absent() {
            units.services.insert(name, unit);
        }
    }
    // Where nobody says otherwise, a port alone follows net.ipv6.bindv6only.
    let only_six = read::line("/proc/sys/net/ipv6/bindv6only") == Seen::Value("1".to_owned());
    for name in files::of_kind(root, ".socket").into_iter().take(SOCKETS_MAX) {
        let socket = files::load(root, &name).map(|loaded| socket(&name, &loaded, &links, table, only_six));
        let bears_on_mail = match &socket {
            Seen::Value(socket) => {
                units.services.contains_key(&socket.service)
                    || socket.listens.iter().any(|listen| listen.protocol == "tcp" && ports.contains(&listen.port))
            }
            // A unit that cannot be read counts only where its name says that it is mail's.
            Seen::Unknown(_) => SERVICES.iter().any(|known| known.split('.').next() == name.split('.').next()),
            Seen::Absent => false,
        };
        if bears_on_mail && units.sockets.len() < UNITS_MAX {
            units.sockets.insert(name, socket);
        }
    }
    units
}

fn describe(name: &str, loaded: &Loaded, links: &Links, table: &Seen<Table>) -> Unit {
    let lines = assignments(&loaded.texts);
    let mut settings: BTreeMap<String, Setting> = BTreeMap::new();
    for line in lines.iter().filter(|line| KEPT.contains(&(line.section.as_str(), line.key.as_str()))) {
        if line.value.is_empty() {
            settings.remove(&line.key);
        } else {
            settings.insert(line.key.clone(), Setting { value: kept(line), at: Some(place(line)) });
        }
    }
    Unit {
        file: read::shown(&loaded.fragment),
        masked: loaded.masked,
        enabled: links.of(name),
        active: active(name, table),
        settings,
    }
}

/// A command line may hold a password.
fn kept(line: &Assignment) -> String {
    if line.key == "ExecStart" {
        let words: Vec<String> = line.value.split_whitespace().map(str::to_owned).collect();
        return secrets::command(&words);
    }
    line.value.clone()
}

fn place(line: &Assignment) -> FileLine {
    FileLine { file: line.file.clone(), line: line.line }
}

/// How many processes its cgroup holds, told by the processes that are in it.
fn active(name: &str, table: &Seen<Table>) -> Seen<u32> {
    match table {
        Seen::Value(table) => {
            let of_it = table.rows.values().filter(|row| row.unit.value().is_some_and(|unit| unit == name)).count();
            let told = table.rows.values().all(|row| row.unit.blind().is_none());
            match u32::try_from(of_it).unwrap_or(u32::MAX) {
                0 if table.all_visible && told => Seen::Absent,
                0 => Seen::not_attempted("not all processes and their cgroups can be seen"),
                count => Seen::Value(count),
            }
        }
        Seen::Absent => Seen::not_attempted("there is no list of processes"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

fn socket(name: &str, loaded: &Loaded, links: &Links, table: &Seen<Table>, only_six: bool) -> SocketUnit {
    let unit = describe(name, loaded, links, table);
    let lines: Vec<Assignment> =
        assignments(&loaded.texts).into_iter().filter(|line| line.section == "Socket").collect();
    let last = |key: &str| lines.iter().rev().find(|line| line.key == key).map_or("", |line| line.value.as_str());
    let accept = matches!(last("Accept").to_ascii_lowercase().as_str(), "1" | "yes" | "y" | "true" | "t" | "on");
    let only_six = match last("BindIPv6Only") {
        "ipv6-only" => true,
        "both" => false,
        _ => only_six,
    };
    let stem = name.strip_suffix(".socket").unwrap_or(name);
    let service = match last("Service") {
        "" if accept => format!("{stem}@.service"),
        "" => format!("{stem}.service"),
        service => service.to_owned(),
    };
    SocketUnit { unit, listens: listens(&lines, only_six), service, accept }
}

/// The Listen lines; an empty one takes back all before it, of whatever kind (systemd.socket(5)).
fn listens(lines: &[Assignment], only_six: bool) -> Vec<UnitListen> {
    let mut found = Vec::new();
    for line in lines {
        let protocol = match line.key.as_str() {
            "ListenStream" => "tcp",
            "ListenDatagram" => "udp",
            _ => continue,
        };
        if line.value.is_empty() {
            found.clear();
        } else if let Some(listen) = listen(line, protocol, only_six) {
            found.push(listen);
        }
    }
    found
}

/// A path, an abstract name, a port, or an address with a port. Anything else (`vsock:`, a specifier) is no socket that
/// we compare.
fn listen(line: &Assignment, protocol: &str, only_six: bool) -> Option<UnitListen> {
    let text = line.value.as_str();
    let made = |protocol: &str, addresses: Vec<IpAddr>, port: u16| {
        let (protocol, text) = (protocol.to_owned(), text.to_owned());
        Some(UnitListen { protocol, text, addresses, port, at: place(line) })
    };
    if text.starts_with('/') || text.starts_with('@') {
        return made("unix", Vec::new(), 0);
    }
    let both = |port| {
        let four = (!only_six).then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        made(protocol, std::iter::once(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).chain(four).collect(), port)
    };
    if let Ok(port) = text.parse::<u16>() {
        return both(port);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    // A zone or an interface may follow: `[fe80::1%eth0]:25`, `[::]:25%eth0`.
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match host.split('%').next().unwrap_or(host).parse::<IpAddr>().ok()? {
        IpAddr::V6(six) if six.is_unspecified() => both(port),
        address => made(protocol, vec![address], port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("mxray-describe-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        }

        fn look(&self) -> Units {
            let table = Seen::Value(Table { all_visible: true, ..Table::default() });
            look_below(&self.0, &table, &BTreeSet::new(), &BTreeSet::from([25, 143]))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn masks_links_drop_ins_and_aliases() {
        let scratch = Scratch::new("services");
        scratch.write("lib/systemd/system/postfix@.service", "[Service]\nPrivateNetwork=no\nUser=x\n");
        scratch.write("etc/systemd/system/postfix@.service.d/a.conf", "[Service]\nPrivateNetwork=yes\nUser=\n");
        scratch.link(
            "run/systemd/generator/postfix.service.wants/postfix@-.service",
            "/lib/systemd/system/postfix@.service",
        );
        scratch.link("etc/systemd/system/exim4.service", "/dev/null");
        scratch.write("lib/systemd/system/exim4.service", "[Service]\nExecStart=/usr/sbin/exim4 -bd\n");
        scratch.write(
            "lib/systemd/system/dovecot.service",
            "[Service]\nExecStart=/usr/sbin/dovecot -F -o secret_password=hunter2\n",
        );
        scratch.link("etc/systemd/system/spamd.service", "dovecot.service");
        scratch.write("etc/systemd/system/dovecot.service.d/m.conf", "[Service]\nMemoryMax=1G\n");
        scratch.link("etc/systemd/system/dovecot.service", "/lib/systemd/system/dovecot.service");
        let units = scratch.look();
        let postfix = units.services["postfix@-.service"].value().unwrap();
        assert!(postfix.is_yes("PrivateNetwork") && postfix.setting("User").is_empty() && !postfix.masked);
        assert!(postfix.enabled.value().unwrap().ends_with("postfix.service.wants/postfix@-.service"));
        assert_eq!(postfix.settings["PrivateNetwork"].at.as_ref().unwrap().line, 2);
        let exim = units.services["exim4.service"].value().unwrap();
        assert!(exim.masked && exim.enabled.is_absent() && exim.active.is_absent());
        let alias = units.services["spamd.service"].value().unwrap();
        assert_eq!(alias.setting("MemoryMax"), "1G");
        assert!(!units.services.contains_key("rspamd.service"));
        assert!(!format!("{units:?}").contains("hunter2"), "{units:?}");
    }

    #[test]
    fn socket_units_of_mail_are_kept_and_read_as_systemd_reads_them() {
        let scratch = Scratch::new("sockets");
        scratch.write("lib/systemd/system/dovecot.service", "[Service]\n");
        scratch.write(
            "lib/systemd/system/dovecot.socket",
            "[Socket]\nListenStream=999\nListenStream=\nListenStream=0.0.0.0:143\nListenStream=[::]:143\nBindIPv6Only=ipv6-only\n",
        );
        scratch.write("lib/systemd/system/smtp.socket", "[Socket]\nListenStream=25\nBindIPv6Only=both\nAccept=yes\n");
        scratch.write("lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n");
        scratch.write(
            "lib/systemd/system/odd.socket",
            "[Socket]\nListenStream=vsock::25\nListenStream=/run/a\nListenStream=70000\n",
        );
        let units = scratch.look();
        assert_eq!(units.sockets.keys().collect::<Vec<_>>(), ["dovecot.socket", "smtp.socket"]);
        let dovecot = units.sockets["dovecot.socket"].value().unwrap();
        let told: Vec<(String, Vec<String>)> = dovecot
            .listens
            .iter()
            .map(|l| (l.text.clone(), l.addresses.iter().map(ToString::to_string).collect()))
            .collect();
        let wanted = [("0.0.0.0:143", "0.0.0.0"), ("[::]:143", "::")];
        assert_eq!(told, wanted.map(|(text, address)| (text.to_owned(), vec![address.to_owned()])));
        assert_eq!((dovecot.service.as_str(), dovecot.accept), ("dovecot.service", false));
        let smtp = units.sockets["smtp.socket"].value().unwrap();
        assert_eq!((smtp.service.as_str(), smtp.accept, smtp.listens[0].addresses.len()), ("smtp@.service", true, 2));
    }
}
