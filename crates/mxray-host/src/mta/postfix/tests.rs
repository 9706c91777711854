//! Whole configurations: typical ones, hostile ones, and our reading of files against Postfix's own.

use super::interpret::{Input, SETTINGS, server};
use super::*;
use mxray_model::evidence::{Endpoint, Purpose, TlsMode};
use std::io::Write as _;
use std::path::PathBuf;

/// The services of Debian's master.cf that matter here.
const MASTER: &str = "\
smtp      inet  n       -       y       -       -       smtpd
pickup    unix  n       -       y       60      1       pickup
cleanup   unix  n       -       y       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       y       -       -       trivial-rewrite
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       y       -       -       smtp
relay     unix  -       -       y       -       -       smtp
        -o syslog_name=postfix/$service_name
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       y       -       -       lmtp
maildrop  unix  -       n       n       -       -       pipe
  flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}
";

pub(super) fn machine() -> Machine {
    Machine {
        host_name: "vm".into(),
        addresses: Seen::Value(["127.0.0.1", "192.0.2.2", "::1"].iter().map(|a| a.parse().unwrap()).collect()),
        ipv6: true,
        ..Machine::default()
    }
}

pub(super) fn read_with(main: &str, master: &str, dump: Seen<BTreeMap<String, String>>, machine: &Machine) -> Server {
    server(&Input {
        config_dir: "/etc/postfix",
        version: Seen::Value("3.7.11".into()),
        dump,
        main: main_cf::parse(main.as_bytes()),
        master: master_cf::parse(master.as_bytes()),
        commented: &[],
        types: Seen::Absent,
        defaults: &BTreeMap::new(),
        machine,
        primary: true,
        saslauthd: None,
        read: &|path| match path {
            "/etc/postfix/networks" => Seen::Value(b"# ours\n10.0.0.0/8 \n/etc/postfix/more\n".to_vec()),
            "/etc/postfix/sql.cf" => Seen::Value(b"user = mail\nhosts = unix:/run/mysqld/mysqld.sock\n".to_vec()),
            "/etc/postfix/pg.cf" => Seen::Value(b"hosts = 127.0.0.1\n".to_vec()),
            "/etc/postfix/two.cf" => Seen::Value(b"hosts = 127.0.0.1 192.0.2.9\n".to_vec()),
            "/etc/postfix/cache.cf" => Seen::Value(b"memcache = inet:localhost:11211\n".to_vec()),
            "/etc/postfix/more" => Seen::Value(b"192.0.2.0/24, /etc/postfix/networks\n".to_vec()),
            _ => Seen::Absent,
        },
        runnable: &|_| BTreeMap::new(),
    })
}

fn read(main: &str, extra_services: &str) -> Server {
    read_with(main, &format!("{MASTER}{extra_services}"), Seen::not_attempted("test"), &machine())
}

/// What is listed besides the defaults that files cannot tell.
fn problems(server: &Server) -> Vec<(String, u32)> {
    let uncertain = |text: &str| {
        text.contains("postconf could not be asked") || text.starts_with("not set") || text.contains("is not set")
    };
    server
        .problems
        .iter()
        .filter(|problem| !uncertain(&problem.text))
        .map(|problem| (problem.at.file.rsplit('/').next().unwrap().to_owned(), problem.at.line))
        .collect()
}

fn helpers(server: &Server) -> Vec<&str> {
    server.helpers.keys().map(String::as_str).collect()
}

#[test]
fn a_cidr_table_in_mynetworks_is_read_where_it_only_lists() {
    let read = |table: &'static str| {
        let tables = move |_: &str| Seen::Value(table.as_bytes().to_vec());
        super::interpret::networks_of("127.0.0.0/8 cidr:/etc/postfix/nets", &tables)
    };
    assert_eq!(read("# all\n0.0.0.0/0\tOK\n  of them\n::/0 OK\n"), "127.0.0.0/8 0.0.0.0/0 ::/0");
    assert_eq!(read("!192.0.2.0/24 OK\n"), "127.0.0.0/8 cidr:/etc/postfix/nets");
    assert_eq!(read("if 10.0.0.0/8\n10.1.0.0/16 OK\nendif\n"), "127.0.0.0/8 cidr:/etc/postfix/nets");
}

#[test]
fn debian_as_installed() {
    let server = read("smtpd_banner = $myhostname ESMTP\ncompatibility_level = 3.6\n", "");
    assert_eq!(server.host_name, "vm.localdomain");
    assert_eq!(
        server.setting("smtpd_relay_restrictions"),
        "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"
    );
    assert_eq!(server.setting("relay_domains"), "");
    assert_eq!(server.wanted.len(), 1);
    assert_eq!(server.wanted["smtp/inet"].addresses.len(), 2);
    assert!(server.enabled && server.helpers.is_empty());
    assert_eq!(server.configured_by, "files");
    assert_eq!(server.directories["queue"], "/var/spool/postfix");
    assert_eq!(server.directories["mailboxes"], "/var/mail");
    assert_eq!(problems(&server), []);
    assert!(server.problems.iter().any(|problem| problem.text.contains("queue_directory = ")));
}

#[test]
fn send_only() {
    let main = "myhostname = web.example.org\ninet_interfaces = loopback-only\nmydestination = localhost.$mydomain, localhost, $myhostname\nrelayhost =\n";
    let server = read(main, "");
    assert!(server.wanted["smtp/inet"].is_loopback_only());
    assert_eq!(server.wanted["smtp/inet"].purpose, Purpose::Relay);
    assert_eq!(server.setting("mydestination"), "localhost.example.org, localhost, web.example.org");
    assert_eq!(server.set_at("inet_interfaces").unwrap().line, 2);
    assert_eq!(server.set_at("inet_protocols"), None);
}

#[test]
fn amavis_with_reinjection_and_a_policy_daemon_of_its_own() {
    let main = "content_filter = smtp-amavis:[127.0.0.1]:10024\nsmtpd_recipient_restrictions = permit_mynetworks,\n  reject_unauth_destination,\n  check_policy_service unix:private/policyd-spf,\n  check_policy_service { inet:127.0.0.1:10023, default_action = DUNNO }\ncompatibility_level=2\n";
    let server = read(
        main,
        concat!(
            "smtp-amavis unix - - n - 2 smtp\n  -o smtp_data_done_timeout=1200\n",
            "127.0.0.1:10025 inet n - n - - smtpd\n  -o content_filter=\n  -o smtpd_recipient_restrictions=permit_mynetworks,reject\n",
            "policyd-spf unix - n n - 0 spawn user=policyd-spf argv=/usr/bin/policyd-spf\n",
        ),
    );
    assert_eq!(
        helpers(&server),
        ["content_filter inet:127.0.0.1:10024", "smtpd_recipient_restrictions inet:127.0.0.1:10023"]
    );
    let filter = &server.helpers["content_filter inet:127.0.0.1:10024"];
    assert_eq!(filter.needed_by.iter().map(String::as_str).collect::<Vec<_>>(), ["pickup/unix", "smtp/inet"]);
    assert_eq!(filter.at.as_ref().unwrap().line, 1);
    assert_eq!(server.helpers["smtpd_recipient_restrictions inet:127.0.0.1:10023"].on_failure, "accept");
    assert_eq!(server.wanted["127.0.0.1:10025/inet"].purpose, Purpose::Internal);
    assert_eq!(problems(&server), []);
}

#[test]
fn ispmail_with_virtual_mailboxes_over_lmtp_and_milters() {
    let main = concat!(
        "compatibility_level = 3.6\nvirtual_transport = lmtp:unix:private/dovecot-lmtp\n",
        "virtual_mailbox_domains = proxy:mysql:/etc/postfix/domains.cf\n",
        "smtpd_milters = inet:127.0.0.1:11332\nnon_smtpd_milters = $smtpd_milters\nmilter_default_action = accept\n",
        "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_sasl_auth_enable = yes\n",
        "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /etc/ssl/a.pem\nvirtual_mailbox_base = /var/vmail\n",
        "mydestination =\nmaillog_file = /var/log/mail/postfix.log\n",
    );
    let submission = concat!(
        "submission inet n - y - - smtpd\n  -o smtpd_tls_security_level=encrypt\n",
        "  -o { smtpd_milters = inet:127.0.0.1:11332, { unix:/opendkim/o.sock, default_action=reject } }\n",
        "submissions inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_path=/run/dovecot/auth\n",
    );
    let server = read(main, submission);
    assert_eq!(
        helpers(&server),
        [
            "non_smtpd_milters inet:127.0.0.1:11332",
            "smtpd_milters inet:127.0.0.1:11332",
            "smtpd_milters unix:/var/spool/postfix/opendkim/o.sock",
            "smtpd_sasl_path unix:/run/dovecot/auth",
            "smtpd_sasl_path unix:/var/spool/postfix/private/auth",
            "virtual_transport unix:/var/spool/postfix/private/dovecot-lmtp",
        ]
    );
    let own = &server.helpers["smtpd_milters unix:/var/spool/postfix/opendkim/o.sock"];
    assert_eq!(own.on_failure, "reject");
    assert_eq!(own.needed_by.iter().collect::<Vec<_>>(), ["submission/inet"]);
    assert_eq!(own.at.as_ref().unwrap().file, "/etc/postfix/master.cf");
    assert_eq!(server.helpers["smtpd_milters inet:127.0.0.1:11332"].on_failure, "accept");
    assert!(server.helpers["virtual_transport unix:/var/spool/postfix/private/dovecot-lmtp"].needed_by.is_empty());
    assert_eq!(server.wanted["submission/inet"].tls, TlsMode::StarttlsRequired);
    assert_eq!(server.wanted["submissions/inet"].tls, TlsMode::Implicit);
    assert_eq!(server.setting("smtpd_tls_key_file"), "/etc/ssl/a.pem");
    assert_eq!(server.directories["log"], "/var/log/mail");
    assert_eq!(server.directories["virtual mailboxes"], "/var/vmail");
    assert!(!server.directories.contains_key("mailboxes"));
}

#[test]
fn mailcow_like_with_postscreen_and_socketmaps() {
    let main = concat!(
        "compatibility_level = 3.6\ninet_interfaces = all\npostscreen_tls_security_level = may\n",
        "smtpd_milters = inet:rspamd:9900\nsmtp_tls_policy_maps = socketmap:inet:127.0.0.1:8461:postfix\n",
        "transport_maps = hash:/etc/postfix/t, socketmap:unix:/run/map.sock:x, tcp:localhost:7777\n",
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:dovecot:10001\n",
        "virtual_transport = lmtp:inet:dovecot:24\nvirtual_mailbox_domains = example.org\n",
    );
    let services = concat!(
        "smtp inet n - n - 1 postscreen\n  -o smtpd_upstream_proxy_protocol=\n",
        "smtpd pass - - n - 30 smtpd\n  -o smtpd_helo_restrictions=permit_mynetworks\n",
        "588 inet n - n - - smtpd -o smtpd_tls_auth_only=no\n10587 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n",
    );
    let server = read(main, services);
    let smtp = &server.wanted["smtp/inet"];
    assert!(smtp.multiplexed && smtp.process_limit == Some(30) && smtp.tls == TlsMode::Starttls);
    assert_eq!(server.wanted["10587/inet"].purpose, Purpose::Internal);
    let milter = &server.helpers["smtpd_milters inet:rspamd:9900"];
    assert_eq!(
        milter.needed_by.iter().map(String::as_str).collect::<Vec<_>>(),
        ["10587/inet", "588/inet", "smtp/inet", "smtpd/pass"]
    );
    assert!(server.helpers.contains_key("smtp_tls_policy_maps inet:127.0.0.1:8461"));
    assert!(server.helpers.contains_key("transport_maps unix:/var/spool/postfix/run/map.sock"));
    assert!(server.helpers.contains_key("transport_maps inet:localhost:7777"));
    assert!(server.helpers.contains_key("smtpd_sasl_path inet:dovecot:10001"));
    assert_eq!(
        server.helpers["virtual_transport inet:dovecot:24"].endpoint,
        Endpoint::Inet { host: "dovecot".into(), port: 24 }
    );
}

#[test]
fn tables_in_databases_lead_to_the_database() {
    let main = concat!(
        "compatibility_level = 3.6\nvirtual_alias_maps = proxy:mysql:/etc/postfix/sql.cf, mysql:/etc/postfix/sql.cf\n",
        "transport_maps = pgsql:/etc/postfix/pg.cf mysql:/etc/postfix/two.cf mysql:/etc/postfix/missing.cf\n",
        "smtpd_sender_login_maps = memcache:/etc/postfix/cache.cf\n",
    );
    let server = read(main, "");
    assert_eq!(
        helpers(&server),
        [
            "smtpd_sender_login_maps inet:localhost:11211",
            "transport_maps inet:127.0.0.1:5432",
            // proxymap runs outside the chroot, smtpd inside.
            "virtual_alias_maps unix:/run/mysqld/mysqld.sock",
            "virtual_alias_maps unix:/var/spool/postfix/run/mysqld/mysqld.sock",
        ]
    );
}

#[test]
fn networks_in_files_are_read_and_tables_are_told() {
    let server = read("mynetworks = 127.0.0.0/8, /etc/postfix/networks cidr:/etc/postfix/table.cidr\n", "");
    assert_eq!(
        server.setting("mynetworks"),
        "127.0.0.0/8 10.0.0.0/8 192.0.2.0/24 /etc/postfix/networks cidr:/etc/postfix/table.cidr"
    );
    assert_eq!(problems(&server), [("main.cf".to_owned(), 1), ("main.cf".to_owned(), 1)], "loop and table");
    assert_eq!(problems(&read("mynetworks = /etc/postfix/missing\n", "")).len(), 1);
    assert_eq!(read("mynetworks = 127.0.0.0/8,10.0.0.0/8\n", "").setting("mynetworks"), "127.0.0.0/8,10.0.0.0/8");
}

#[test]
fn loops_and_undefined_names_are_problems_at_their_line() {
    let main = "a = $b\nb = $c\nc = $a\nmydestination = $a\nrelayhost = $nowhere\n";
    let server = read(main, "submission inet n - y - - smtpd -o smtpd_client_restrictions=$mua_client_restrictions\n");
    let places = problems(&server);
    assert!(places.contains(&("main.cf".to_owned(), 4)) && places.contains(&("main.cf".to_owned(), 5)), "{places:?}");
    assert!(places.contains(&("master.cf".to_owned(), 15)), "{places:?}");
    assert_eq!(server.setting("relayhost"), "");
}

#[test]
fn overrides_reach_settings_through_references() {
    let main = "smtpd_relay_restrictions = $mua_relay_restrictions\nmua_relay_restrictions = reject\n";
    let server = read(main, "submission inet n - y - - smtpd -o mua_relay_restrictions=permit\n");
    let submission = &server.wanted["submission/inet"];
    assert_eq!(server.setting_of(submission, "smtpd_relay_restrictions"), "permit");
    assert_eq!(server.setting("smtpd_relay_restrictions"), "reject");
    assert!(!submission.overrides.contains_key("mydestination"));
}

#[test]
fn saslauthd_is_found_through_the_librarys_own_configuration() {
    assert_eq!(
        saslauthd_socket(b"pwcheck_method: saslauthd\nmech_list: PLAIN\n").as_deref(),
        Some("/var/run/saslauthd/mux")
    );
    assert_eq!(saslauthd_socket(b"pwcheck_method: auxprop\nsaslauthd_path: /x/mux\n"), None);
    let with = b"saslauthd_path: /x/mux\npwcheck_method: auxprop saslauthd\n";
    assert_eq!(saslauthd_socket(with).as_deref(), Some("/x/mux"));
}

#[test]
fn an_instance_of_several_runs_only_where_it_says_so() {
    assert!(!read("multi_instance_directories = /etc/postfix-out\n", "").enabled);
    assert!(read("multi_instance_directories = /etc/postfix-out\nmulti_instance_enable = YES\n", "").enabled);
    assert!(read("multi_instance_directories = ,\n", "").enabled);
}

/// A directory that goes away with its test.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-postfix-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(super) fn write(&self, name: &str, text: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        // Postfix reads a main.cf again and again while it is younger than a second.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    }

    pub(super) fn dir(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().trim_end_matches('/').to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn skipped<T>(test: &str, why: &str) -> Option<T> {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    None
}

/// postconf, or a printed reason why a comparison with it is left out.
pub(super) fn postconf_or_skip(test: &str) -> Option<Postconf> {
    match Postconf::find() {
        Seen::Value(postconf) => Some(postconf),
        Seen::Absent => skipped(test, "postconf is not installed"),
        Seen::Unknown(blind) => skipped(test, &blind.why()),
    }
}

#[test]
fn several_instances_are_found_with_their_names_and_an_unreadable_one_is_told() {
    let scratch = Scratch::new("instances");
    let (out, gone) = (scratch.dir("out"), scratch.dir("gone"));
    scratch.write("in/master.cf", MASTER.as_bytes());
    scratch.write("out/master.cf", MASTER.replace("smtpd", "postscreen").as_bytes());
    let main = format!(
        "myhostname = in.example.org\nmulti_instance_enable = yes\nmulti_instance_directories = {out}, {gone}\nqueue_directory = /var/spool/postfix\n"
    );
    scratch.write("in/main.cf", main.as_bytes());
    scratch.write(
        "out/main.cf",
        b"multi_instance_name = postfix-out\nmyhostname = out.example.org\nqueue_directory=/var/spool/postfix-out\n",
    );
    // A directory in place of a file can be looked at by everybody and read by nobody.
    std::fs::create_dir_all(scratch.0.join("gone/main.cf")).unwrap();
    let installed = Installed {
        postconf: Postconf::find(),
        version: Seen::Value("3.7.11".into()),
        defaults: BTreeMap::new(),
        machine: machine(),
        programs: &programs(),
    };
    let servers = installed.all(&scratch.dir("in"), &Started::default());
    let servers = servers.value().unwrap();
    assert_eq!(servers.keys().map(String::as_str).collect::<Vec<_>>(), ["postfix", "postfix-out"]);
    assert!(servers["postfix"].enabled && !servers["postfix-out"].enabled);
    assert_eq!(servers["postfix-out"].host_name, "out.example.org");
    assert_eq!(servers["postfix-out"].directories["queue"], "/var/spool/postfix-out");
    assert!(servers["postfix"].problems.iter().any(|problem| problem.text.contains("gone") && problem.at.line == 3));
}

#[test]
fn a_forbidden_configuration_is_unknown_and_a_broken_one_is_read_from_the_files() {
    let scratch = Scratch::new("broken");
    let installed = Installed {
        postconf: Postconf::find(),
        version: Seen::Absent,
        defaults: BTreeMap::new(),
        machine: machine(),
        programs: &programs(),
    };
    std::fs::create_dir_all(scratch.0.join("a/main.cf")).unwrap();
    assert!(installed.all(&scratch.dir("a"), &Started::default()).blind().is_some());
    scratch.write("b/main.cf", b"myhostname = mx.example.org\nthis is no assignment\n");
    scratch.write("b/master.cf", MASTER.as_bytes());
    let broken = installed.all(&scratch.dir("b"), &Started::default());
    let server = &broken.value().unwrap()["postfix"];
    assert_eq!(server.host_name, "mx.example.org");
    assert!(server.problems.iter().any(|problem| problem.at.line == 2));
    // Where postconf is here it stops at that line, too.
    assert_eq!(server.configured_by, "files");
}

#[test]
fn what_was_started_with_another_directory_is_judged_by_it() {
    let scratch = Scratch::new("started");
    let installed = Installed {
        postconf: Postconf::find(),
        version: Seen::Absent,
        defaults: BTreeMap::new(),
        machine: machine(),
        programs: &programs(),
    };
    let queue = scratch.dir("queue");
    for (directory, name) in [("built-in", "old"), ("own", "mx")] {
        scratch.write(&format!("{directory}/master.cf"), MASTER.as_bytes());
        let main = format!("myhostname = {name}.example.org\nqueue_directory = {queue}\n");
        scratch.write(&format!("{directory}/main.cf"), main.as_bytes());
    }
    let (built_in, own) = (scratch.dir("built-in"), scratch.dir("own"));
    let names = |started: &Started, at: &str| -> Vec<String> {
        installed.all(at, started).value().unwrap().values().map(|server| server.host_name.clone()).collect()
    };
    assert_eq!(names(&Started::default(), &built_in), ["old.example.org"]);
    let mut started = Started::default();
    started.directories.insert(std::fs::canonicalize(&own).unwrap());
    assert_eq!(names(&started, &built_in), ["mx.example.org"]);
    assert_eq!(names(&started, &scratch.dir("nothing")), ["mx.example.org"]);
    // A master that does not tell, and no file where it could have its own.
    let hidden = Started { hidden: true, ..Started::default() };
    assert!(installed.all(&scratch.dir("nothing"), &hidden).blind().is_some());
}

/// Pieces of main.cf that meet in every combination below.
const PIECES: &[&[&str]] = &[
    &["compatibility_level = 0", "compatibility_level = 1", "compatibility_level = 2", "compatibility_level = 3.6"],
    &["", "mydomain = example.net", "mydomain = example.net\nmyorigin = $mydomain"],
    &["myhostname = mx.example.org", "myhostname = mx.example.org\n# x\nmyhostname = mx2.example.org"],
    &[
        "mydestination = $myhostname, localhost.$mydomain,\n   # inside\n\tlocalhost ${undefined_here}",
        "mydestination =",
        "x = ${{$myhostname} == {mx.example.org} ? {first} : {second}}\nmydestination = $x $(myhostname)",
    ],
    &[
        "",
        "relay_domains = ${relayhost?{$mydestination}:{none.example}}",
        "relay_domains = ${relayhost:empty} $$literal",
    ],
    &["relayhost =", "relayhost = [smart.example.org]:587", ""],
    &["mynetworks = 127.0.0.0/8 [::1]/128", "mynetworks = 127.0.0.0/8\n\n\n  10.0.0.0/8"],
    &[
        "",
        "smtpd_recipient_restrictions = $own, reject\nown = check_policy_service { inet:127.0.0.1:10023, timeout=3s }",
        "smtpd_tls_cert_file = /etc/ssl/c.pem\nsmtpd_tls_security_level = ${smtpd_tls_cert_file?may}",
    ],
    &["default_process_limit = ${{10} > {9} ? {50} : {60}}", "", "default_process_limit=7"],
];

/// The piece of each kind that one round takes; the step makes all pieces meet in different company.
fn configuration_of(round: usize) -> String {
    let mut rest = round.wrapping_mul(7919);
    let mut text = String::new();
    for kind in PIECES {
        text.push_str(kind[rest % kind.len()]);
        text.push('\n');
        rest = rest / kind.len() + rest % 5;
    }
    text
}

#[test]
fn our_reading_of_files_agrees_with_postconf() {
    let Some(postconf) = postconf_or_skip("our_reading_of_files_agrees_with_postconf") else { return };
    let scratch = Scratch::new("agree");
    let services = concat!(
        "submission inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot\n",
        "  -o smtpd_sasl_path=private/auth -o { smtpd_client_restrictions = $own, reject }\n",
    );
    let master = format!("{MASTER}{services}");
    for round in 0..40 {
        let main = configuration_of(round);
        scratch.write("main.cf", main.as_bytes());
        scratch.write("master.cf", master.as_bytes());
        let dump = postconf.values(&programs(), &scratch.dir(""));
        assert!(dump.value().is_some(), "{dump:?}\n{main}");
        let machine = machine();
        let asked = read_with(&main, &master, dump, &machine);
        let read = read_with(&main, &master, Seen::not_attempted("test"), &machine);
        assert_eq!(asked.configured_by, "postconf");
        for name in SETTINGS {
            assert_eq!(read.settings.get(*name), asked.settings.get(*name), "{name} in round {round}:\n{main}");
        }
        assert_eq!(read.wanted, asked.wanted, "{main}");
        assert_eq!(read.helpers, asked.helpers, "{main}");
        assert_eq!(read.directories, asked.directories, "{main}");
    }
}

/// Filled in by the daemons themselves, for each mail, or never: `postconf -x` leaves them alone. And a process id.
const EXPANDED_LATER: &[&str] = &[
    "default_rbl_reply",
    "forward_path",
    "postscreen_expansion_filter",
    "postscreen_reject_footer",
    "process_id",
    "smtpd_expansion_filter",
];

#[test]
fn our_expansion_agrees_with_postconf() {
    use super::effective::Values;
    let Some(postconf) = postconf_or_skip("our_expansion_agrees_with_postconf") else { return };
    let scratch = Scratch::new("expand");
    scratch.write("master.cf", MASTER.as_bytes());
    for round in 0..12 {
        let main = configuration_of(round * 3);
        scratch.write("main.cf", main.as_bytes());
        let dir = scratch.dir("");
        let expanded = match postconf.expanded(&programs(), &dir) {
            Seen::Value(expanded) => expanded,
            other => {
                skipped::<()>("our_expansion_agrees_with_postconf", &format!("no -x here: {other:?}"));
                return;
            }
        };
        let dump = postconf.values(&programs(), &dir);
        let values = Values::from_dump(dump.value().unwrap().clone(), &main_cf::parse(main.as_bytes()));
        assert!(expanded.len() > 500, "a whole dump");
        for (name, theirs) in expanded.iter().filter(|(name, _)| !EXPANDED_LATER.contains(&name.as_str())) {
            // postconf prints a run of blanks as one.
            let ours = values.get(name).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
            assert_eq!(ours.as_ref(), Ok(theirs), "{name} in\n{main}");
        }
    }
}

#[test]
fn a_program_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("trust");
    let program = scratch.0.join("postconf");
    scratch.write("postconf", b"#!/bin/sh\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(postconf::trusted(&program).blind().is_some());
    assert!(postconf::trusted(&scratch.0.join("missing")).is_absent());
}

pub(super) fn programs() -> crate::programs::Programs {
    crate::programs::Programs::new(std::time::Instant::now() + std::time::Duration::from_secs(60))
}

#[test]
fn no_password_of_a_configuration_becomes_evidence() {
    let main = "smtp_sasl_password_maps = static:user:hunter2\n\
        static:user:hunter2\n\
        relay_domains = ${x?{a}y_password=hunter2}\n\
        ldap_bind_pw = hunter2\n\
        virtual_mailbox_domains = inline:{ { example.org = hunter2 } }\n";
    let master = "smtp inet n - y - - smtpd -o ldap_bind_pw=hunter2 -o smtp_sasl_password_maps=static:u:hunter2\n  \
        -o x_maps=inline:{a=hunter2} -o smtpd_sasl_auth_enable=yes\n";
    let server = read(main, master);
    let kept = format!("{server:?}");
    assert!(!kept.contains("hunter2"), "{kept}");
    let smtp = &server.wanted["smtp/inet"];
    assert_eq!(smtp.overrides["smtpd_sasl_auth_enable"], "yes");
    assert!(smtp.overrides.contains_key("ldap_bind_pw"));
}

#[test]
fn what_is_said_in_helo() {
    let names = |server: &mxray_model::evidence::Server| -> Vec<String> {
        server.egress.hello.iter().map(|name| name.value.clone()).collect()
    };
    let by_default = read("myhostname = mx.example.org\n", "smtp unix - - y - - smtp\n");
    assert_eq!(names(&by_default), ["mx.example.org"]);
    assert_eq!(by_default.egress.hello[0].at, None);
    // What feeds a filter may say anything.
    let master = "smtp unix - - y - - smtp\nrelay unix - - y - - smtp -o smtp_helo_name=relay.example.org\n\
                  amavis unix - - y - - smtp -o smtp_helo_name=localhost\n";
    let set = read("myhostname = mx.example.org\nsmtp_helo_name = out.example.org\n", master);
    assert_eq!(names(&set), ["relay.example.org", "out.example.org"]);
}
