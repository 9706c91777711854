//! A machine in a scratch directory with the files that Debian's packages ship, and what people make of them.

use super::*;
use crate::processes::Row;
use mxray_model::evidence::FileLine;
use proptest::prelude::*;
use std::path::PathBuf;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-bystanders-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("run/systemd/system")).unwrap();
        let scratch = Scratch(path);
        scratch.write("etc/hosts", "");
        scratch
    }

    fn write(&self, path: &str, text: &str) -> &Scratch {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// The unit is there, and a link pulls it in.
    fn unit(&self, name: &str, text: &str, enabled: bool) -> &Scratch {
        self.write(&format!("lib/systemd/system/{name}"), text);
        if enabled {
            self.write(&format!("etc/systemd/system/multi-user.target.wants/{name}"), "");
        }
        self
    }

    fn place(&self) -> Place {
        let machine = crate::mta::machine::Machine { ipv6: true, ..Default::default() };
        Place { root: self.0.clone(), machine, only_six: false }
    }

    fn look(&self, processes: &[&str]) -> Bystanders {
        let row = |(pid, name): (u32, &&str)| Row {
            pid,
            parent: 1,
            name: (*name).to_owned(),
            command: vec![(*name).to_owned()],
            uid: 0,
            state: 'S',
            started: 0,
            unit: Seen::Absent,
        };
        let rows = (100..).zip(processes).map(row).map(|row| (row.pid, row)).collect();
        look_at(&self.place(), &Seen::Value(Table { all_visible: true, rows }))
    }

    /// `KEY FILE:LINE` of all, files without the root.
    fn told(&self, processes: &[&str]) -> Vec<String> {
        let seen = self.look(processes);
        seen.listeners.iter().map(|(key, asked)| format!("{key} {}", asked.at)).collect()
    }
}

fn is_empty(seen: &Bystanders) -> bool {
    seen.listeners.is_empty() && seen.unread.is_empty()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn amavis_as_debian_ships_it_and_as_people_change_it() {
    let scratch = Scratch::new("amavis");
    scratch.unit("amavis.service", "[Service]\nExecStart=/usr/sbin/amavisd foreground\n", true);
    scratch.write(
        "etc/amavis/conf.d/20-debian_defaults",
        "use strict;\n\n$inet_socket_port = 10024;   # default listening socket\n1;\n",
    );
    scratch.write("etc/amavis/conf.d/25-amavis_helpers", "$unix_socketname = \"/var/lib/amavis/amavisd.sock\";\n");
    let file = "/etc/amavis/conf.d/20-debian_defaults:3";
    assert_eq!(
        scratch.told(&[]),
        [format!("amavis tcp/127.0.0.1:10024 {file}"), format!("amavis tcp/[::1]:10024 {file}")]
    );
    let seen = scratch.look(&["amavisd-new"]);
    let asked = &seen.listeners["amavis tcp/127.0.0.1:10024"];
    assert_eq!(
        (asked.unit.as_str(), &asked.running, asked.from_documentation),
        ("amavis.service", &Seen::Value(true), false)
    );
    assert!(asked.at_boot.value().unwrap().ends_with("multi-user.target.wants/amavis.service"));
    scratch.write(
        "etc/amavis/conf.d/50-user",
        "$inet_socket_port = [10024,\n 10026];\n$inet_socket_bind = '192.0.2.1';\n",
    );
    scratch.write("etc/amavis/conf.d/50-user.dpkg-old", "$inet_socket_port = 1;\n");
    let user = "/etc/amavis/conf.d/50-user:1";
    assert_eq!(
        scratch.told(&[]),
        [format!("amavis tcp/192.0.2.1:10024 {user}"), format!("amavis tcp/192.0.2.1:10026 {user}")]
    );
    scratch.write("etc/amavis/conf.d/50-user", "if ($x) {\n  $inet_socket_port = 10028;\n}\n1;\n");
    let seen = scratch.look(&[]);
    assert!(seen.listeners.is_empty());
    assert_eq!(seen.unread["amavis"].at, FileLine { file: "/etc/amavis/conf.d/50-user".into(), line: 2 });
}

#[test]
fn spamd_by_its_unit_and_its_options() {
    let scratch = Scratch::new("spamd");
    let unit =
        "[Service]\nEnvironmentFile=-/etc/default/spamd\nExecStart=/usr/sbin/spamd --pidfile=/run/spamd.pid $OPTIONS\n";
    scratch.unit("spamd.service", unit, false);
    scratch.write("etc/default/spamd", "OPTIONS=\"--create-prefs --max-children 5 --helper-home-dir\"\n");
    scratch.write("etc/default/spamassassin", "ENABLED=0\nOPTIONS=\"-i 192.0.2.9 -p 99\"\n");
    let seen = scratch.look(&[]);
    assert_eq!(
        seen.listeners.keys().collect::<Vec<_>>(),
        ["spamassassin tcp/127.0.0.1:783", "spamassassin tcp/[::1]:783"]
    );
    let asked = &seen.listeners["spamassassin tcp/127.0.0.1:783"];
    assert!(asked.at_boot.is_absent() && asked.running == Seen::Value(false));
    for (options, wanted) in [
        ("-i", &["spamassassin tcp/0.0.0.0:783", "spamassassin tcp/[::]:783"][..]),
        ("-d -i 192.0.2.1 -p 784", &["spamassassin tcp/192.0.2.1:784"]),
        (
            "--listen=192.0.2.1:785 --listen [::1]:786 -u 783",
            &["spamassassin tcp/192.0.2.1:785", "spamassassin tcp/[::1]:786"],
        ),
        ("--socketpath=/run/spamd.sock", &[]),
        ("-4 -A 10.0.0.0/8 -p783", &["spamassassin tcp/127.0.0.1:783"]),
    ] {
        scratch.write("etc/default/spamd", &format!("OPTIONS=\"{options}\"\n"));
        assert_eq!(scratch.look(&[]).listeners.keys().collect::<Vec<_>>(), wanted, "{options}");
    }
    scratch.write("etc/default/spamd", "OPTIONS=\"-p $(cat /port)\"\n");
    let seen = scratch.look(&[]);
    assert!(seen.listeners.is_empty() && seen.unread["spamassassin"].at.line == 1, "{seen:?}");
}

#[test]
fn filters_and_policy_services_by_their_packages_defaults() {
    let scratch = Scratch::new("filters");
    scratch.unit("clamav-daemon.service", "[Service]\nExecStart=/usr/sbin/clamd --foreground=true\n", true);
    scratch.write(
        "etc/clamav/clamd.conf",
        "#TCPSocket 1\nLocalSocket /run/clamav/clamd.ctl\nTCPSocket 3310\nTCPAddr 127.0.0.1\n",
    );
    scratch.unit("clamav-milter.service", "[Service]\n", true);
    scratch
        .write("etc/clamav/clamav-milter.conf", "MilterSocket inet:7357@localhost\nClamdSocket tcp:127.0.0.1:3310\n");
    scratch.unit("postgrey.service", "[Service]\nEnvironmentFile=-/etc/default/postgrey\nExecStart=/usr/sbin/postgrey \\\n $POSTGREY_OPTS \\\n --greylist-text=\"${POSTGREY_TEXT}\"\n", true);
    scratch.write("etc/default/postgrey", "POSTGREY_OPTS=\"--inet=10023\"\n");
    scratch.unit("postsrsd.service", "[Service]\nExecStart=/usr/share/postsrsd/postsrsd-systemd-launcher\n", true);
    let launcher = "#!/bin/sh\nSRS_FORWARD_PORT=10001\nSRS_REVERSE_PORT=10002\nSRS_DOMAIN=\"`postconf -h mydomain || true`\"\nSRS_LISTEN_ADDR=127.0.0.1\nif [ -r \"/etc/default/postsrsd\" ]\nthen\n\t. \"/etc/default/postsrsd\"\nfi\nexec /usr/sbin/postsrsd -f \"${SRS_FORWARD_PORT}\"\n";
    scratch.write("usr/share/postsrsd/postsrsd-systemd-launcher", launcher);
    scratch.write("etc/default/postsrsd", "SRS_SEPARATOR==\nSRS_FORWARD_PORT=10024\n");
    scratch.unit("policyd-rate-limit.service", "[Service]\n", true);
    scratch.write(
        "etc/policyd-rate-limit.yaml",
        "backend: 0\n# SOCKET: [\"127.0.0.1\", 1]\nSOCKET: [\"127.0.0.1\", 8552]\n",
    );
    scratch.write("usr/sbin/policyd-weight", "#!/usr/bin/perl\n");
    scratch.unit("postfwd.service", "[Service]\nEnvironmentFile=-/etc/default/postfwd\nExecStart=/usr/sbin/postfwd $ARGS --interface $INET --port $PORT --user $RUNAS\n", true);
    scratch.write(
        "etc/default/postfwd",
        "INET=127.0.0.1\nPORT=10040\nRUNAS=\"postfw\"\nARGS=\"--summary=600 --cache=600\"\n",
    );
    scratch.unit("spampd.service", "[Service]\nEnvironmentFile=-/var/run/spampd/spampd.arguments\nExecStart=/usr/sbin/spampd --setsid $SPAMPD_ARGS\n", true);
    scratch.write("etc/default/spampd", "LISTENHOST=127.0.0.1\nLISTENPORT=10025\nDESTPORT=10026\nADDOPTS=\"\"\n");
    scratch.unit("clamsmtp.service", "[Service]\n", true);
    scratch.write("etc/clamsmtpd.conf", "# Listen: 1\nOutAddress: 10025\nListen: 127.0.0.1:10026\n");
    assert_eq!(
        scratch.told(&[]),
        [
            "clamav tcp/127.0.0.1:3310 /etc/clamav/clamd.conf:4",
            "clamav-milter tcp/127.0.0.1:7357 /etc/clamav/clamav-milter.conf:1",
            "clamsmtp tcp/127.0.0.1:10026 /etc/clamsmtpd.conf:3",
            "policyd-rate-limit tcp/127.0.0.1:8552 /etc/policyd-rate-limit.yaml:3",
            "policyd-weight tcp/127.0.0.1:12525 /etc/policyd-weight.conf:0",
            "postfwd tcp/127.0.0.1:10040 /etc/default/postfwd:2",
            "postgrey tcp/127.0.0.1:10023 /etc/default/postgrey:1",
            "postgrey tcp/[::1]:10023 /etc/default/postgrey:1",
            "postsrsd tcp/127.0.0.1:10002 /usr/share/postsrsd/postsrsd-systemd-launcher:3",
            "postsrsd tcp/127.0.0.1:10024 /etc/default/postsrsd:2",
            "spampd tcp/127.0.0.1:10025 /etc/default/spampd:2",
        ]
    );
    // A clamd that gets its sockets from systemd opens none.
    scratch.write("lib/systemd/system/clamav-daemon.socket", "[Socket]\nListenStream=/run/clamav/clamd.ctl\n");
    scratch.write("etc/systemd/system/sockets.target.wants/clamav-daemon.socket", "");
    assert!(!scratch.told(&[]).iter().any(|told| told.contains(":3310")));
}

#[test]
fn what_was_removed_has_left_its_files_and_asks_for_nothing() {
    let scratch = Scratch::new("removed");
    scratch.write("etc/haproxy/haproxy.cfg", "frontend smtp\n bind :25\n");
    scratch.write("etc/default/postgrey", "POSTGREY_OPTS=\"--inet=10023\"\n");
    scratch.write("etc/rc2.d/S01haproxy", "");
    assert!(is_empty(&scratch.look(&[])));
    // Its program lies there: the script would start it.
    scratch.write("usr/sbin/haproxy", "");
    let seen = scratch.look(&[]);
    let asked = &seen.listeners["haproxy tcp/0.0.0.0:25"];
    assert!(asked.at_boot.value().unwrap().ends_with("rc2.d/S01haproxy"));
    scratch.unit("haproxy.service", "", true);
    assert!(scratch.look(&[]).listeners["haproxy tcp/0.0.0.0:25"].at_boot.is_absent(), "an empty unit file masks");
}

const HAPROXY: &str = "\
global
  log /dev/log local0
  stats socket /run/haproxy/admin.sock mode 660
  stats socket ipv4@127.0.0.1:9999 level admin
defaults
  mode tcp
frontend smtp # in front
  bind 203.0.113.25:25,203.0.113.26:25 name a
  bind :::25 v6only
  bind \"*:587\"
frontend dual
  bind [::]:465 v4v6
  bind :2500-2502 namespace blue
  bind unix@/run/x.sock
  bind abns@x
listen range
  bind ipv4@127.0.0.1:10030-10032
  bind 127.0.0.1:1000-2000
frontend off
  bind :993
  disabled
backend x
  server a 127.0.0.1:10026 send-proxy-v2
frontend odd
  bind \"${ADDRESS}:25\"
  bind mx.elsewhere.example:25
.if defined(X)
  bind :26
.endif
log-forward syslog
  dgram-bind 127.0.0.1:1514
";

#[test]
fn haproxy_in_all_the_ways_that_its_manual_has() {
    let scratch = Scratch::new("haproxy");
    scratch.unit("haproxy.service", "[Service]\nEnvironment=\"CONFIG=/etc/haproxy/haproxy.cfg\" \"PIDFILE=/run/haproxy.pid\"\nExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -p $PIDFILE\n", true);
    scratch.write("etc/haproxy/haproxy.cfg", HAPROXY);
    let seen = scratch.look(&["haproxy"]);
    let keys: Vec<&str> = seen.listeners.keys().map(|key| key.strip_prefix("haproxy ").unwrap()).collect();
    assert_eq!(
        keys,
        [
            "tcp/0.0.0.0:587",
            "tcp/127.0.0.1:10030",
            "tcp/127.0.0.1:10031",
            "tcp/127.0.0.1:10032",
            "tcp/127.0.0.1:9999",
            "tcp/203.0.113.25:25",
            "tcp/203.0.113.26:25",
            "tcp/[::]:25",
            "tcp/[::]:465",
            "udp/127.0.0.1:1514",
        ]
    );
    let six = |key: &str| seen.listeners[&format!("haproxy {key}")].v6_only.clone();
    assert_eq!((six("tcp/[::]:25"), six("tcp/[::]:465")), (Seen::Value(true), Seen::Value(false)));
    assert!(seen.listeners.values().all(|asked| asked.reuse_port));
    let lines: Vec<u32> = seen.unread.values().map(|problem| problem.at.line).collect();
    assert_eq!(lines, [18, 25, 26, 28], "{:?}", seen.unread);
    // A directory instead of a file.
    scratch.write("etc/default/haproxy", "CONFIG=/etc/haproxy/conf.d\n");
    scratch
        .write("etc/haproxy/conf.d/b.cfg", "frontend b\n bind :26\n")
        .write("etc/haproxy/conf.d/b.cfg.bak", "frontend c\n bind :27\n");
    scratch.unit(
        "haproxy.service",
        "[Service]\nEnvironmentFile=-/etc/default/haproxy\nExecStart=/usr/sbin/haproxy -Ws -f $CONFIG\n",
        true,
    );
    assert_eq!(scratch.told(&[]), ["haproxy tcp/0.0.0.0:26 /etc/haproxy/conf.d/b.cfg:2"]);
}

#[test]
fn nginx_in_front_of_mail_and_not_of_the_web() {
    let scratch = Scratch::new("nginx");
    scratch.unit("nginx.service", "[Service]\nExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'\n", true);
    scratch.write("etc/nginx/nginx.conf", "user www-data;\ninclude /etc/nginx/modules-enabled/*.conf;\nevents { worker_connections 768; }\n\
        http {\n  server { listen 80; }\n  content_by_lua_block { -- don't }\n  include sites-enabled/*;\n}\ninclude mail.d/*.conf;\n\
        stream {\n  upstream x { server 127.0.0.1:2525; }\n  server { listen [::]:587 ipv6only=off reuseport; proxy_pass x; }\n  server { listen 127.0.0.1:53 udp; }\n}\n");
    scratch.write("etc/nginx/mail.d/mail.conf", "mail {\n  server_name mail.example.org;\n  server {\n    listen 25; # smtp\n    protocol smtp;\n  }\n  server { listen localhost:143; listen unix:/run/x; }\n  server { listen mx.elsewhere.example:110; }\n}\n");
    assert_eq!(
        scratch.told(&[]),
        [
            "nginx tcp/0.0.0.0:25 /etc/nginx/mail.d/mail.conf:4",
            "nginx tcp/127.0.0.1:143 /etc/nginx/mail.d/mail.conf:7",
            "nginx tcp/[::1]:143 /etc/nginx/mail.d/mail.conf:7",
            "nginx tcp/[::]:587 /etc/nginx/nginx.conf:12",
            "nginx udp/127.0.0.1:53 /etc/nginx/nginx.conf:13",
        ]
    );
    let seen = scratch.look(&[]);
    let both = &seen.listeners["nginx tcp/[::]:587"];
    assert_eq!((&both.v6_only, both.reuse_port), (&Seen::Value(false), true));
    assert_eq!(seen.unread["nginx"].at.line, 8);
    // A file that includes itself ends.
    scratch.write("etc/nginx/nginx.conf", "include nginx.conf;\nmail { server { listen 25; } }\n");
    assert!(!scratch.look(&[]).unread.is_empty());
}

#[test]
fn super_servers() {
    let scratch = Scratch::new("inetd");
    scratch.unit("openbsd-inetd.service", "[Service]\nExecStart=/usr/sbin/inetd\n", true);
    scratch.write("etc/inetd.conf", "# comment\n#<off># smtp stream tcp nowait root /x x\nsmtp stream tcp nowait mail /usr/sbin/exim4 exim4 -bs\n\
        192.0.2.1:\nimaps stream tcp4 nowait root /x x\n*:pop3 stream tcp6 nowait root /x x\ntalk dgram udp wait nobody /x x\n/run/x stream unix nowait root /x x\n");
    scratch.write("etc/services", "imaps 993/tcp\npop3 110/tcp\n");
    scratch.unit("xinetd.service", "[Service]\n", false);
    scratch.write("etc/xinetd.conf", "defaults\n{\n}\nincludedir /etc/xinetd.d\n");
    scratch.write("etc/xinetd.d/smtp", "service smtp\n{\n\tdisable = no\n\tsocket_type = stream\n\tbind = 192.0.2.7\n\tserver = /usr/sbin/sendmail\n}\n");
    scratch.write(
        "etc/xinetd.d/off",
        "service off {\n disable = yes\n port = 587\n}\nservice on {\n port = 588\n type = UNLISTED\n}\n",
    );
    scratch.write("etc/xinetd.d/smtp.bak", "service smtp\n{\n}\n");
    let mut place = scratch.place();
    place.machine.ports = [("imaps", 993), ("pop3", 110)].map(|(name, port)| (name.to_owned(), port)).into();
    let seen = look_at(&place, &Seen::Value(Table { all_visible: true, ..Table::default() }));
    let told: Vec<String> = seen.listeners.iter().map(|(key, asked)| format!("{key} {}", asked.at.line)).collect();
    assert_eq!(
        told,
        [
            "inetd tcp/0.0.0.0:25 3",
            "inetd tcp/192.0.2.1:993 5",
            "inetd tcp/[::]:110 6",
            "inetd tcp/[::]:25 3",
            "xinetd tcp/192.0.2.7:25 1",
            "xinetd tcp/[::]:588 6"
        ]
    );
}

#[test]
fn sending_platforms_are_read_from_their_documentation_and_say_so() {
    let scratch = Scratch::new("platforms");
    scratch.unit("pmta.service", "[Service]\n", true);
    scratch.write("etc/pmta/config", "# smtp-listener 1.2.3.4:1\nsmtp-listener 0/0:25\nhttp-mgmt-port 8080\n<smtp-listener 192.0.2.1:587>\n tls yes\n</smtp-listener>\ninclude /etc/pmta/more\n");
    scratch.write("etc/pmta/more", "smtp-listener nonsense\n");
    scratch.unit("kumomta.service", "[Service]\n", true);
    scratch.write("opt/kumomta/etc/policy/init.lua", "local kumo = require 'kumo'\n-- kumo.start_esmtp_listener { listen = '1.1.1.1:1' }\nkumo.on('init', function()\n  \
        kumo.start_esmtp_listener {\n    hostname = 'listen = \"x\"',\n    trace = { listen = '9.9.9.9:9' },\n    listen = '0.0.0.0:2525',\n  }\n  \
        kumo.start_esmtp_listener {\n    listen = host .. ':26',\n  }\n  kumo.start_http_listener {}\nend)\n");
    let seen = scratch.look(&[]);
    let told: Vec<String> = seen.listeners.iter().map(|(key, asked)| format!("{key} {}", asked.at.line)).collect();
    assert_eq!(
        told,
        [
            "kumomta tcp/0.0.0.0:2525 7",
            "kumomta tcp/127.0.0.1:8000 12",
            "powermta tcp/0.0.0.0:25 2",
            "powermta tcp/0.0.0.0:8080 3",
            "powermta tcp/192.0.2.1:587 4"
        ]
    );
    assert!(seen.listeners.values().all(|asked| asked.from_documentation));
    assert_eq!((seen.unread["kumomta"].at.line, seen.unread["powermta"].at.line), (10, 1));
}

#[test]
fn containers_of_files_alone_start_nothing_where_no_engine_is() {
    let scratch = Scratch::new("compose");
    scratch.write(
        "opt/mail/docker-compose.yml",
        "services:\n  postfix:\n    restart: always\n    ports: [\"${SMTP_PORT:-25}:25\"]\n",
    );
    scratch.write("opt/mail/.env", "SMTP_PORT=127.0.0.1:26\n");
    scratch.write(
        "etc/containers/systemd/mail.container",
        "[Container]\nImage=x\nPublishPort=25:25\nPublishPort=%h:1:1\n[Install]\nWantedBy=multi-user.target\n",
    );
    let seen = scratch.look(&[]);
    let compose = &seen.listeners["docker tcp/127.0.0.1:26"];
    assert_eq!((&compose.at_boot, &compose.running, compose.by_dnat), (&Seen::Absent, &Seen::Value(false), true));
    let quadlet = &seen.listeners["podman tcp/0.0.0.0:25"];
    assert_eq!((quadlet.unit.as_str(), quadlet.at.line), ("mail.service", 3));
    assert_eq!(quadlet.at_boot, Seen::Value("/etc/containers/systemd/mail.container".to_owned()));
    assert_eq!(seen.unread["containers"].at.line, 4);
    // A user's starts with the machine where the user lingers.
    scratch.write(
        "home/ann/.config/containers/systemd/imap.container",
        "[Container]\nPublishPort=127.0.0.1:1143:143\n[Install]\nWantedBy=default.target\n",
    );
    scratch.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n");
    assert!(!scratch.look(&[]).listeners.contains_key("podman tcp/127.0.0.1:1143"));
    scratch.write("var/lib/systemd/linger/ann", "");
    let seen = scratch.look(&[]);
    let asked = &seen.listeners["podman tcp/127.0.0.1:1143"];
    assert!(asked.at_boot.value().is_some() && !asked.by_dnat);
}

#[test]
fn mail_servers_are_started_by_units_or_run_levels() {
    let scratch = Scratch::new("servers");
    scratch.unit("postfix.service", "[Service]\n", true).unit("dovecot.service", "[Service]\n", false);
    scratch.write("etc/rc3.d/S01exim4", "").write("etc/rc3.d/K01sendmail", "");
    let seen = scratch.look(&[]).servers_at_boot;
    let started = |software: &str| seen[software].value().is_some();
    assert!(started("postfix") && started("exim") && !started("dovecot") && !started("sendmail"));
    assert!(seen["dovecot"].is_absent());
    // Without systemd the run levels alone count.
    std::fs::remove_dir_all(scratch.0.join("run/systemd")).unwrap();
    let seen = scratch.look(&[]).servers_at_boot;
    assert!(seen["postfix"].is_absent() && seen["exim"].value().is_some());
}

#[test]
fn an_engine_that_does_not_run_is_not_asked() {
    let scratch = Scratch::new("engine");
    scratch.write("run/docker.sock", "");
    scratch.write("opt/mail/compose.yaml", "services: {smtp: {ports: [\"25:25\"]}}\n");
    let seen = scratch.look(&[]);
    assert!(seen.unread["containers"].text.contains("would start it"), "{seen:?}");
    let asked = &seen.listeners["docker tcp/0.0.0.0:25"];
    assert!(asked.at_boot.blind().is_some() && asked.running.blind().is_some());
}

#[test]
fn nothing_here_is_nothing_seen() {
    let scratch = Scratch::new("nothing");
    assert!(is_empty(&scratch.look(&[])));
    // Processes that may be hidden.
    scratch.unit("postgrey.service", "[Service]\nExecStart=/usr/sbin/postgrey --inet=10023\n", true);
    let seen = look_at(&scratch.place(), &Seen::Value(Table::default()));
    assert!(seen.listeners["postgrey tcp/127.0.0.1:10023"].running.blind().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        understand(&bytes);
    }

    #[test]
    fn damaged_files_are_read(at in 0..HAPROXY.len(), length in 0..40usize, with in "[ -~\n{}'\"$;:]{0,8}") {
        let mut text = HAPROXY.as_bytes().to_vec();
        let end = (at + length).min(text.len());
        text.splice(at..end, with.bytes());
        understand(&text);
    }
}
