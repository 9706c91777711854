//! The whole way from text to facts, and hostile text.

use super::interpret::{Input, server};
use super::{DEBIAN, attach, daemon, sections, text};
use crate::mta::machine::Machine;
use crate::processes::{Row, Table};
use mxray_model::evidence::{DomainKind, Endpoint, Server};
use mxray_model::{Blind, Seen};
use proptest::prelude::*;
use std::collections::BTreeMap;

const FILE: &str = "/etc/exim4/exim4.conf";

fn nothing(_: &str) -> Seen<Vec<u8>> {
    Seen::Absent
}

fn read_with(content: &str, defaults: &str, load: text::Load<'_>) -> Server {
    let config = sections::parse(&text::read(FILE, content.as_bytes(), load));
    let machine = Machine { host_name: "mail.harbour.example".to_owned(), ipv6: true, ..Machine::default() };
    server(&Input {
        file: FILE,
        config,
        dump: Seen::Absent,
        built: DEBIAN,
        answers: &BTreeMap::new(),
        defaults: Some(daemon::defaults(defaults.as_bytes())),
        machine: &machine,
        newer: Vec::new(),
    })
}

fn read(content: &str) -> Server {
    read_with(content, "", &nothing)
}

const WHOLE: &str = r#"
HOME = /srv/mail
domainlist local_domains = @ : localhost : harbour.example : !not.harbour.example
domainlist virtual_domains = ${lookup mysql{SELECT d FROM t WHERE password='hunter2'}}
domainlist relay_to_domains = <; relayed.example ; *.deep.example
hostlist relay_from_hosts = 127.0.0.1
hide mysql_servers = localhost/mail/exim/hunter2
acl_smtp_rcpt = acl_check_rcpt
acl_smtp_data = acl_check_data
spamd_address = 127.0.0.1 783
av_scanner = clamd:/run/clamav/clamd.ctl
tls_certificate = /etc/ssl/mail.pem
message_size_limit = 20M
log_file_path = /var/log/exim/%slog : syslog

begin acl
acl_check_rcpt:
  accept hosts = :
  accept hosts = +relay_from_hosts
         control = submission
  require message = no
         domains = +local_domains : +relay_to_domains
  accept
acl_check_data:
  deny malware = */defer_ok
  warn spam = nobody:true
  accept

begin routers
virtual:
  driver = accept
  domains = +virtual_domains
  transport = lmtp
smart:
  driver = manualroute
  domains = ! +local_domains
  transport = remote_smtp
  route_list = * smart.example::587 byname
local_user:
  driver = accept
  domains = +local_domains
  transport = maildir

begin transports
remote_smtp:
  driver = smtp
  interface = <; 192.0.2.7 ; 2001:db8::7
  tls_certificate = /etc/ssl/client.pem
  tls_privatekey = /etc/ssl/client.key
unused:
  driver = smtp
  interface = 192.0.2.99
lmtp:
  driver = lmtp
  socket = /run/dovecot/lmtp
maildir:
  driver = appendfile
  directory = HOME/$domain/$local_part/

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if saslauthd{{$auth2}{$auth3}}{1}{0}}
dovecot:
  driver = dovecot
  public_name = LOGIN
  server_socket = /run/dovecot/auth-client
"#;

#[test]
fn a_whole_configuration_becomes_the_neutral_facts() {
    let server = read(WHOLE);
    let domains: Vec<(String, DomainKind)> =
        server.domains.iter().map(|d| (d.value.name.clone(), d.value.kind)).collect();
    let names = |kind| domains.iter().filter(|(_, k)| *k == kind).map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(DomainKind::Local), ["mail.harbour.example", "localhost", "harbour.example"]);
    assert_eq!(names(DomainKind::Relay), ["relayed.example", "*.deep.example"]);
    assert_eq!(names(DomainKind::Virtual).len(), 1);
    assert_eq!(server.size_limit.value().unwrap().value, 20 << 20);
    let bound: Vec<String> = server.egress.sources.iter().map(|source| source.value.to_string()).collect();
    assert_eq!(bound, ["192.0.2.7", "2001:db8::7"]);
    assert_eq!(server.egress.smarthosts[0].value, "smart.example:587");
    assert!(server.egress.sends);
    let files: Vec<_> =
        server.certificates.iter().map(|c| (c.chain.value.as_str(), c.key.value.as_str(), c.as_client)).collect();
    assert_eq!(
        files,
        [("/etc/ssl/mail.pem", "/etc/ssl/mail.pem", false), ("/etc/ssl/client.pem", "/etc/ssl/client.key", true)]
    );
    let directories: Vec<_> = server.directories.iter().map(|(of, at)| format!("{of} {at}")).collect();
    assert_eq!(directories, ["log /var/log/exim", "mailboxes /srv/mail", "queue /var/spool/exim4"]);
    assert!(server.problems.iter().all(|problem| problem.text.contains("exim -bP")), "{:?}", server.problems);
}

#[test]
fn helpers_are_those_that_somebody_asks() {
    let server = read(WHOLE);
    let brief: Vec<_> =
        server.helpers.values().map(|h| (h.setting.as_str(), h.endpoint.to_string(), h.on_failure.as_str())).collect();
    for expected in [
        ("spamd_address", "inet:127.0.0.1:783".to_owned(), "tempfail"),
        ("av_scanner", "unix:/run/clamav/clamd.ctl".to_owned(), "accept"),
        ("socket of lmtp", "unix:/run/dovecot/lmtp".to_owned(), "defer"),
        ("server_condition of plain", "unix:/var/run/saslauthd/mux".to_owned(), "tempfail"),
        ("server_socket of dovecot", "unix:/run/dovecot/auth-client".to_owned(), "tempfail"),
    ] {
        assert!(brief.contains(&expected), "{expected:?} in {brief:?}");
    }
    assert_eq!(brief.len(), 5);
    let unasked = read("spamd_address = 127.0.0.1 783\nav_scanner = clamd:/run/clamd\n");
    assert!(unasked.helpers.is_empty());
}

#[test]
fn no_secret_becomes_evidence() {
    let text = format!("{:?}", read(WHOLE));
    assert!(!text.contains("hunter2"), "{text}");
    let hidden = read(
        "hide domainlist local_domains = mysql-secret\nhide tls_certificate = mysql-secret\nhide hold_domains = mysql-secret\n",
    );
    assert!(!format!("{hidden:?}").contains("mysql-secret"), "{hidden:?}");
}

#[test]
fn what_cannot_be_understood_is_a_problem_with_its_line() {
    let load = |path: &str| match path {
        "/loop" => Seen::Value(b".include /loop\n".to_vec()),
        "/secret" => Seen::Unknown(Blind::NotPermitted { what: "read /secret".into(), needs: "root".into() }),
        _ => Seen::Absent,
    };
    let text = "smtp_accept_max 5 !\n.include /none\n.include /secret\n.include /loop\n.endif\nONE = 1\nONE = 2\n.ifdef ONE\n\
                tls_certificate = ${if x}\nqueue_only\nno_queue_only\ndaemon_smtp_ports = nosuch\nbegin nowhere\n";
    let server = read_with(text, "COMMONOPTIONS=$(which)\n", &load);
    let problems: Vec<String> =
        server.problems.iter().map(|problem| format!("{} {}", problem.at, problem.text)).collect();
    for (at, part) in [
        (":1 ", "no option"),
        (":2 ", "/none does not exist"),
        (":3 ", "not permitted"),
        ("/loop:1 ", "include each other"),
        (":5 ", ".endif without"),
        (":7 ", "ONE is defined already"),
        (":9 ", "decided for each connection"),
        (":11 ", "second time"),
        (":12 ", "nosuch is no port"),
        (":13 ", "no section nowhere"),
        (":1 ", "no .endif"),
        ("/etc/default/exim4:1 ", "only a shell"),
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(at) && problem.contains(part)),
            "{at}{part}: {problems:#?}"
        );
    }
}

#[test]
fn hostile_sizes_end_soon_and_are_told() {
    let begun = std::time::Instant::now();
    let doubling =
        (0..60).fold("A00 = aaaaaaaaaa\n".to_owned(), |text, n| format!("{text}A{:02} = A{n:02}A{n:02}\n", n + 1));
    let macros = (0..5000).fold(String::new(), |text, n| format!("{text}M{n}_ = x\n"));
    let many = "q".repeat(200) + "\n";
    for text in [
        format!("{doubling}smtp_accept_max = A60\n"),
        format!("{macros}{}", many.repeat(20_000)),
        "hold_domains = \\\n".repeat(300_000),
        format!("hold_domains = {}\n", "a:".repeat(3 << 20)),
        ".ifdef X\n".repeat(100_000),
        format!("begin acl\na:\n{}", "  deny hosts = *\n".repeat(200_000)),
    ] {
        let server = read(&text);
        assert!(!server.problems.is_empty(), "{}", text.get(..60).unwrap());
        let kept: usize = server.settings.values().map(|setting| setting.value.len()).sum();
        assert!(kept < 1 << 20);
    }
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

fn row(pid: u32, parent: u32, state: char, command: &str) -> Row {
    let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    Row { pid, parent, name: "exim4".to_owned(), command, uid: 999, state, started: 0, unit: Seen::Absent }
}

fn attached(content: &str, defaults: Option<&str>, rows: Vec<Row>) -> Server {
    let mut server = read_with(content, defaults.unwrap_or_default(), &nothing);
    if defaults.is_none() {
        server.settings.remove("daemon options");
    }
    let table = Table { all_visible: true, rows: rows.into_iter().map(|row| (row.pid, row)).collect() };
    let mut servers = BTreeMap::from([("exim".to_owned(), server)]);
    attach::attach(&mut servers, &table);
    servers.remove("exim").unwrap()
}

#[test]
fn the_daemon_is_told_from_deliveries_and_the_queue_runner() {
    let rows = vec![
        row(5, 1, 'S', "/usr/sbin/exim4 -oP /run/exim4/eximqr.pid -q30m"),
        row(7, 1, 'S', "/usr/sbin/exim4 -bd"),
        row(8, 7, 'S', "/usr/sbin/exim4 -bd"),
        row(9, 7, 'T', "/usr/sbin/exim4 -bd"),
        row(10, 7, 'S', "/usr/sbin/exim4 -Mc 1abc-000-00"),
        row(11, 1, 'S', "/usr/sbin/exim4 -Mc 1abd-000-00"),
    ];
    let server = attached("smtp_accept_max = 30\n", Some("QUEUERUNNER='separate'"), rows);
    assert_eq!(server.master.value().unwrap().pid, 7);
    let children = server.children.value().unwrap()["smtp/inet"];
    assert_eq!((children.count, children.stopped, children.limit), (2, 1, Some(30)));
    assert_eq!(server.setting("queue runner"), "daemon");
    let runner = || vec![row(5, 1, 'S', "/usr/sbin/exim4 -oP /run/exim4/eximqr.pid -q30m")];
    assert!(attached("", Some("QUEUERUNNER='separate'"), runner()).master.is_absent());
    assert_eq!(attached("", Some("QUEUERUNNER='queueonly'"), runner()).master.value().unwrap().pid, 5);
    assert!(attached("", None, runner()).wanted.is_empty());
    let none = attached(
        "",
        Some(""),
        vec![row(11, 1, 'S', "/usr/sbin/exim4 -Mc 1abd-000-00"), row(12, 1, 'S', "/usr/sbin/exim4 -t")],
    );
    assert!(none.master.is_absent() && none.children.is_absent());
}

#[test]
fn without_a_file_the_running_daemon_says_how_it_was_started() {
    let server = attached("", None, vec![row(7, 1, 'S', "/usr/sbin/exim -bd -q1h -oX 2525")]);
    assert_eq!(server.wanted.keys().collect::<Vec<_>>(), ["2525/inet"]);
    assert_eq!(server.setting("daemon options"), "-bd -q1h -oX 2525");
}

#[test]
fn an_endpoint_is_shown_as_it_is_asked() {
    let server = read(&WHOLE.replace("127.0.0.1 783", "::1 783").replace("spamd_address = ", "spamd_address = <; "));
    let spamd = server.helpers.values().find(|helper| helper.setting == "spamd_address").unwrap();
    assert_eq!(spamd.endpoint, Endpoint::Inet { host: "::1".to_owned(), port: 783 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(content in "[\\x00-\\x7fä€]{0,400}", defaults in "[ -~\n]{0,100}") {
        read_with(&content, &defaults, &|_| Seen::Value(b"x = 1\n.include y\n".to_vec()));
    }

    #[test]
    fn no_shuffled_configuration_panics(lines in proptest::collection::vec(proptest::sample::select(WHOLE.lines().collect::<Vec<_>>()), 0..80), cut in 0usize..20) {
        let text = lines.iter().map(|line| line.get(cut.min(line.len())..).unwrap_or(line)).collect::<Vec<_>>().join("\n");
        read(&text);
    }
}

#[test]
fn what_is_said_in_helo() {
    let names = |data: &str| -> Vec<String> {
        let text = format!(
            "primary_hostname = mx.example.org\nbegin routers\nr:\n  driver = dnslookup\n  transport = t\nbegin transports\nt:\n  driver = smtp\n{data}"
        );
        read(&text).egress.hello.into_iter().map(|name| name.value).collect()
    };
    assert_eq!(names(""), ["mx.example.org"]);
    assert_eq!(names("  helo_data = out.example.org\n"), ["out.example.org"]);
    assert!(names("  helo_data = ${lookup{x}lsearch{/names}}\n").is_empty());
}
