//! Whole configurations: our reading of files against Dovecot's own dump, 2.4's notation against its documentation, and
//! what must never be kept.

use super::*;
use mxray_model::evidence::{Purpose, TlsMode};
use std::io::Write;

fn machine() -> Machine {
    Machine {
        host_name: "mail.example.org".into(),
        addresses: Seen::Value(["127.0.0.1", "192.0.2.2", "::1"].iter().map(|a| a.parse().unwrap()).collect()),
        ipv6: true,
        hosts: BTreeMap::from([("mail.example.org".to_owned(), vec!["192.0.2.2".parse().unwrap()])]),
        ..Machine::default()
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-dovecot-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// From files alone.
fn from_files(file: &str) -> Server {
    server(file, tree::read(file, defaults(), &Disk), Seen::Absent, &machine(), &|_| true, &|_| Seen::Absent)
}

fn read(text: &str) -> Server {
    struct One<'a>(&'a str);
    impl Files for One<'_> {
        fn matching(&self, _: &str, pattern: &str) -> Result<Vec<String>, Missing> {
            Ok(vec![pattern.to_owned()])
        }
        fn read(&self, path: &str) -> Result<Vec<u8>, Missing> {
            if path == FILE { Ok(self.0.as_bytes().to_vec()) } else { Err(Missing::NotThere) }
        }
    }
    const FILE: &str = "/etc/dovecot/dovecot.conf";
    server(FILE, tree::read(FILE, defaults(), &One(text)), Seen::Absent, &machine(), &|_| true, &|_| Seen::Absent)
}

fn ports(server: &Server) -> Vec<u16> {
    let mut ports: Vec<u16> = server.wanted.values().map(|wanted| wanted.port).collect();
    ports.sort_unstable();
    ports
}

/// What our reading and Dovecot's must have in common, as text; services that are not installed here stand in no dump.
fn brief(server: &Server, services: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, wanted) in &server.wanted {
        lines.push(format!(
            "{key} {} {:?} {:?} {:?} {:?} {} {:?}",
            wanted.port,
            wanted.addresses,
            wanted.tls,
            wanted.purpose,
            wanted.process_limit,
            wanted.multiplexed,
            wanted.overrides
        ));
    }
    for (key, setting) in &server.settings {
        let service = key.split('/').nth(1);
        if service.is_some_and(|service| services.iter().any(|known| known == service)) {
            lines.push(format!("{key} = {}", setting.value));
        }
    }
    for name in ["protocols", "listen", "ssl", "default_process_limit", "mail_location"] {
        let words: Vec<&str> = server.setting(name).split_whitespace().collect();
        lines.push(format!("{name} = {}", words.join(" ")));
    }
    lines.extend(server.certificates.iter().map(|files| {
        format!("{} {} {:?} {:?} {}", files.chain.value, files.key.value, files.services, files.names, files.as_client)
    }));
    lines.extend(server.offered.iter().map(|(path, socket)| format!("{path} {}", socket.service)));
    lines.extend(server.directories.iter().map(|(usage, directory)| format!("{usage}: {directory}")));
    lines.sort();
    lines
}

/// Variants of what administrators write; each is a whole dovecot.conf.
const GENERATED: &[(&str, &str)] = &[
    ("empty", ""),
    ("protocols", "protocols = imap"),
    ("none", "protocols = none"),
    ("added", "protocols = imap\nprotocols = $protocols lmtp pop3\n"),
    ("one address", "protocols = imap pop3\nlisten = 192.0.2.2"),
    ("two addresses", "protocols = imap\nlisten = 127.0.0.1, ::1"),
    ("four only", "protocols = imap\nlisten = *"),
    ("no tls", "protocols = imap pop3\nssl = no"),
    (
        "required",
        "protocols = imap lmtp\nssl = required\nservice lmtp {\n  inet_listener lmtp {\n    address = 127.0.0.1\n    port = 24\n  }\n}",
    ),
    (
        "port 0",
        "protocols = imap pop3\nservice imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}\nservice pop3-login {\n  inet_listener pop3 {\n    port = 0\n  }\n}",
    ),
    (
        "another port",
        "protocols = imap\nservice imap-login {\n  inet_listener imap-proxy {\n    port = 10143\n    haproxy = yes\n  }\n  inet_listener imaps {\n    address = 127.0.0.1\n  }\n}",
    ),
    (
        "performance",
        "protocols = imap\nservice imap-login {\n  service_count = 0\n  process_min_avail = 4\n  process_limit = 8\n  client_limit = 500\n}",
    ),
    (
        "defaults raised",
        "protocols = imap pop3\ndefault_process_limit = 400\ndefault_client_limit = 4000\nservice imap {\n  process_limit = 2048\n}",
    ),
    (
        "auth over tcp",
        "protocols = lmtp\nservice auth {\n  inet_listener {\n    port = 12345\n  }\n  unix_listener /var/spool/postfix/private/auth {\n    mode = 0660\n    user = root\n  }\n  unix_listener auth-client {\n    mode = 0\n  }\n}",
    ),
    (
        "certificates",
        "protocols = imap pop3\nssl_cert = </etc/ssl/a.pem\nssl_key = </etc/ssl/a.key\nlocal_name mail.example.org {\n  ssl_cert = </etc/ssl/b.pem\n  ssl_key = </etc/ssl/b.key\n}\nprotocol pop3 {\n  ssl_cert = </etc/ssl/c.pem\n}\nlocal 192.0.2.2 {\n  protocol imap {\n    ssl_cert = </etc/ssl/d.pem\n    ssl_key = </etc/ssl/d.key\n  }\n}",
    ),
    (
        "sections again",
        "protocols = imap\nservice imap-login {\n  process_limit = 3\n}\nservice imap-login {\n  inet_listener imap {\n    port = 1143\n  }\n  process_limit = 30\n}\n",
    ),
    (
        "mailboxes",
        "protocols = imap\nmail_location = maildir:/srv/vmail/%d/%n:INDEX=/var/index/%u\nlog_path = /var/log/dovecot/main.log",
    ),
    (
        "filters",
        "protocols = imap\nremote 192.0.2.0/24 {\n  mail_max_userip_connections = 50\n}\nprotocol imap {\n  mail_max_userip_connections = 20\n}\nprotocol !imap {\n  mail_debug = no\n}",
    ),
    (
        "quotes and comments",
        "protocols = \"imap lmtp\" # both\nlisten = '*' # IPv4\nmail_location = \\\n  maildir:~/Maildir\n",
    ),
    (
        "own postlogin",
        "protocols = imap\nservice imap {\n  executable = imap imap-postlogin\n}\nservice imap-postlogin {\n  executable = script-login /bin/true\n  user = $default_internal_user\n  unix_listener imap-postlogin {\n  }\n}",
    ),
];

fn dumped(file: &str) -> Option<Vec<u8>> {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    match dump(&Programs::new(deadline), file) {
        Seen::Value(output) => Some(output),
        other => panic!("doveconf: {other:?}"),
    }
}

fn compare(name: &str, file: &str) {
    let output = dumped(file).unwrap();
    let shown = tree::text(&output).tree;
    let services: Vec<String> = shown.sections_of("service").map(|section| section.name.clone()).collect();
    let own = tree::read(file, defaults(), &Disk);
    assert!(own.problems.is_empty() && !own.incomplete, "{name}: {:?}", own.problems);
    let with_dump = server(file, own, Seen::Value(output), &machine(), &|_| true, &|_| Seen::Absent);
    assert!(with_dump.version.value().is_some_and(|version| version.starts_with("2.")), "{name}");
    assert_eq!(brief(&from_files(file), &services), brief(&with_dump, &services), "{name}");
}

#[test]
fn our_reading_of_files_is_dovecots_own() {
    if !DOVECONFS.iter().any(|path| Path::new(path).exists()) {
        let _ = writeln!(std::io::stderr(), "skipped: our_reading_of_files_is_dovecots_own: doveconf is not installed");
        return;
    }
    let scratch = Scratch::new("compare");
    for (index, (name, text)) in GENERATED.iter().enumerate() {
        // Debian's build has no protocols by default, upstream's has.
        let text = if text.contains("protocols") { (*text).to_owned() } else { format!("protocols =\n{text}") };
        compare(name, &scratch.write(&format!("{index}/dovecot.conf"), &text));
    }
    let files = [
        ("plain", "!include conf.d/*.conf\n!include_try local.conf\n!include_try gone.conf\nprotocols = imap\n"),
        ("local", "!include_try local.conf\n!include conf.d/b.conf\n"),
    ];
    for (name, main) in files {
        scratch.write(
            &format!("{name}/conf.d/a.conf"),
            "service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}\n",
        );
        scratch.write(
            &format!("{name}/conf.d/b.conf"),
            "protocols = imap pop3\nservice imap-login {\n  process_limit = 55\n}\n",
        );
        scratch.write(&format!("{name}/conf.d/.hidden.conf"), "protocols = lmtp\n");
        scratch.write(
            &format!("{name}/local.conf"),
            "listen = 127.0.0.1\nssl_cert = </etc/ssl/x.pem\nssl_key = </etc/ssl/x.key\n",
        );
        compare(name, &scratch.write(&format!("{name}/dovecot.conf"), main));
    }
    debian(&scratch);
}

/// The files of Debian's packages, as they come.
fn debian(scratch: &Scratch) {
    let from = Path::new("/usr/share/dovecot");
    if !from.join("dovecot.conf").exists() {
        let _ = writeln!(std::io::stderr(), "skipped: debian: no /usr/share/dovecot/dovecot.conf");
        return;
    }
    let files = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file() && path.to_string_lossy().contains(".conf")).collect::<Vec<_>>()
    };
    for path in files(from).iter().chain(&files(&from.join("conf.d"))) {
        let name = path.strip_prefix(from).unwrap().to_string_lossy().into_owned();
        scratch.write(&format!("debian/{name}"), &std::fs::read_to_string(path).unwrap());
    }
    let file = scratch.0.join("debian/dovecot.conf").to_string_lossy().into_owned();
    compare("debian", &file);
    let imap = &from_files(&file).wanted["imap-login/imap"];
    assert!(imap.at.file.ends_with("/conf.d/10-master.conf") && imap.at.line > 1, "{:?}", imap.at);
}

#[test]
fn places_stand_where_files_and_dump_agree() {
    let text = "protocols = imap\nservice imap-login {\n  inet_listener imap {\n    port = 1143\n  }\n  process_limit = 5\n}\n";
    let dump = "# 2.3.21 (abc): /x\nprotocols = imap\nservice imap-login {\n  protocol = imap\n  process_limit = 6\n  \
                inet_listener imap {\n    port = 1143\n  }\n  inet_listener imaps {\n    port = 993\n    ssl = yes\n  }\n}\nlisten = *\n";
    struct One<'a>(&'a str);
    impl Files for One<'_> {
        fn matching(&self, _: &str, _: &str) -> Result<Vec<String>, Missing> {
            Err(Missing::NotThere)
        }
        fn read(&self, _: &str) -> Result<Vec<u8>, Missing> {
            Ok(self.0.as_bytes().to_vec())
        }
    }
    let own = tree::read("/x", defaults(), &One(text));
    let server = server("/x", own, Seen::Value(dump.as_bytes().to_vec()), &machine(), &|_| false, &|_| Seen::Absent);
    assert_eq!(server.version, Seen::Value("2.3.21".to_owned()));
    assert_eq!(server.wanted["imap-login/imap"].at.line, 3);
    // Where the listener is a default, its service's section is the place to write it.
    assert_eq!(server.wanted["imap-login/imaps"].at.line, 2);
    let limit = &server.settings["service/imap-login/process_limit"];
    assert_eq!((limit.value.as_str(), limit.at.as_ref()), ("6", None), "the dump holds, and its place is not known");
    assert!(!server.settings.contains_key("service/imap-login/executable"), "no such program here");
}

#[test]
fn the_notation_of_2_4_is_read() {
    let server = read(include_str!("dovecot24.conf"));
    assert_eq!(server.problems, []);
    assert_eq!(ports(&server), [993, 4190, 4190, 10024]);
    let imaps = &server.wanted["imap-login/imaps"];
    assert_eq!((imaps.tls, imaps.purpose, imaps.process_limit), (TlsMode::Implicit, Purpose::Mailbox, Some(512)));
    assert!(imaps.multiplexed, "restart_request_count = unlimited");
    assert_eq!(imaps.addresses, ["192.0.2.2".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(server.wanted["lmtp/lmtp"].addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    let files: Vec<(&str, &str, Vec<&str>)> = server
        .certificates
        .iter()
        .map(|c| (c.chain.value.as_str(), c.key.value.as_str(), c.names.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        files,
        [
            ("/etc/ssl/mail.pem", "/etc/ssl/mail.key", vec![]),
            ("/etc/ssl/other.pem", "/etc/ssl/other.key", vec!["imap.example.net", "pop.example.net"]),
        ]
    );
    assert_eq!(server.directories["mailboxes"], "/srv/mail");
    assert_eq!(server.offered["/var/spool/postfix/private/auth"].service, "auth");
    assert_eq!(server.setting("protocols"), "imap lmtp sieve");
}

use std::net::IpAddr;

#[test]
fn patterns_name_files_as_glob_does() {
    let scratch = Scratch::new("patterns");
    let main = scratch.write("dovecot.conf", "");
    for name in ["conf.d/b.conf", "conf.d/a.conf", "conf.d/.c.conf", "conf.d/deep/d.conf", "one.conf"] {
        scratch.write(name, "");
    }
    let matching = |pattern: &str| {
        let found = Disk.matching(&main, pattern)?;
        let relative = found.iter().map(|path| path.replace(&*scratch.0.to_string_lossy(), ""));
        Ok::<Vec<String>, Missing>(relative.collect())
    };
    let both = || Ok(vec!["/conf.d/a.conf".to_owned(), "/conf.d/b.conf".to_owned()]);
    assert_eq!(matching("conf.d/*.conf"), both());
    assert_eq!(matching("**/*.conf"), both());
    assert_eq!(matching("one.conf"), Ok(vec!["/one.conf".to_owned()]));
    assert_eq!(matching("none/*.conf"), Err(Missing::NotThere));
    assert!(matches!(matching("a[*.conf"), Err(Missing::Unreadable(_))));
}

#[test]
fn what_is_secret_or_hostile_is_not_kept() {
    let server = read(
        "ssl_key = \"-----BEGIN PRIVATE KEY----- hunter2\"\nssl_cert = hunter2\nssl_key_password = hunter2\n\
         passdb {\n driver = static\n args = password=hunter2\n}\nservice x\u{1b}[2J {\n inet_listener a {\n port = 99\n }\n}\n\
         submission_relay_password = hunter2\nmail_location = maildir:/x\u{1b}[2J/%u\n",
    );
    let kept = format!("{server:?}");
    assert!(!kept.contains("hunter2") && !kept.contains('\u{1b}') && server.certificates.is_empty(), "{kept}");
}

#[test]
fn a_port_or_an_address_that_is_none_is_a_problem() {
    let server = read(
        "service imap-login {\n inet_listener imap {\n  port = imap\n }\n inet_listener imaps {\n  address = mail.elsewhere.example\n }\n}\nprotocols = imap\n",
    );
    assert_eq!(ports(&server), [993]);
    assert!(server.wanted["imap-login/imaps"].addresses.is_empty());
    let told: Vec<(u32, &str)> = server.problems.iter().map(|p| (p.at.line, p.text.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "service imap-login: \"imap\" is no port"),
            (5, "service imap-login: the address of \"mail.elsewhere.example\" stands in DNS only"),
        ]
    );
}

#[test]
fn what_doveconf_complains_of_has_its_place() {
    let failed = |error: &str| Blind::Failed { step: "run doveconf".into(), error: error.into() };
    let problem = refused(
        "/etc/dovecot/dovecot.conf",
        &failed(
            "exit status: 89: doveconf: Fatal: Error in configuration file /etc/dovecot/local.conf line 7: Unknown setting: prtocols",
        ),
    );
    assert_eq!(problem.at, FileLine { file: "/etc/dovecot/local.conf".into(), line: 7 });
    assert_eq!(problem.text, "Dovecot cannot start with it: Unknown setting: prtocols");
    assert!(refused("/etc/dovecot/dovecot.conf", &failed("gone")).text.contains("could not be asked"));
}

#[test]
fn a_masked_or_disabled_unit_is_switched_off_on_purpose() {
    let scratch = Scratch::new("unit");
    assert!(!is_switched_off(&scratch.0), "no systemd");
    scratch.write("run/systemd/system/x", "");
    scratch.write("lib/systemd/system/dovecot.service", "[Service]\n");
    scratch.write("etc/systemd/system/multi-user.target.wants/postfix.service", "");
    assert!(is_switched_off(&scratch.0));
    scratch.write("etc/systemd/system/multi-user.target.wants/dovecot.service", "");
    assert!(!is_switched_off(&scratch.0));
    std::os::unix::fs::symlink("/dev/null", scratch.0.join("etc/systemd/system/dovecot.service")).unwrap();
    assert!(is_switched_off(&scratch.0));
}
