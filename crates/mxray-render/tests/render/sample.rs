//! Two reports of a made-up host: one healthy, one where most things that a renderer can meet are there.

use mxray_model::evidence::{Counter, PortRange};
use mxray_model::{
    Blind, Evidence, Finding, Fix, Mover, Question, REPORT_SCHEMA, Record, Report, Row, RuledOut, Seen, Severity,
    Subject, SubjectKind, Tool, Unseen, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

pub fn healthy() -> Report {
    Report {
        schema: REPORT_SCHEMA.into(),
        tool: Tool { name: "mxray".into(), version: "0.1.0".into() },
        started: "2026-01-02T03:04:05Z".into(),
        took_ms: 412,
        question: Question { command: "doctor".into(), targets: Vec::new() },
        verdict: Verdict::Healthy,
        summary: "Postfix accepts mail on ports 25 and 587, and nothing here stands in its way.".into(),
        causes: Vec::new(),
        findings: vec![time_wait()],
        ruled_out: Vec::new(),
        healthy: vec![
            row("SOCK101", "every configured service has its listener"),
            row("SOCK112", "Postfix runs (master is process 812)"),
            row("HOST101", "file systems of queue, mailboxes and log have space and inodes"),
            row("CONF101", "delivery is switched on."),
        ],
        unseen: Vec::new(),
        evidence: evidence(),
    }
}

pub fn broken() -> Report {
    let probe = Finding::new(
        "MX113",
        "mx-unreachable",
        Severity::Error,
        Subject::endpoint("mx.example.org:25/tcp"),
        "nobody can connect to mx.example.org on port 25",
    );
    let mut listener = Finding::new(
        "SOCK101",
        "listener-missing",
        Severity::Critical,
        Subject::service("smtp/inet"),
        "smtp/inet is configured and has no listener on 0.0.0.0:25",
    );
    listener.explains = vec![probe.id.clone()];
    let mut dead = dead_server();
    dead.explains = vec![listener.id.clone()];
    let mut listed = listed();
    listed.explains = vec![probe.id.clone()];
    Report {
        verdict: Verdict::Broken,
        summary:
            "Mail from other servers is refused: Postfix is configured to listen on ports 25 and 587 and does not run."
                .into(),
        causes: vec![dead.clone(), listed.clone()],
        findings: vec![dead, listed, listener, probe, time_wait()],
        ruled_out: vec![RuledOut {
            code: "PORT101".into(),
            name: "port-held-by-other".into(),
            because: "no other process holds port 25 or 587".into(),
        }],
        healthy: vec![
            row("HOST101", "file systems of queue, mailboxes and log have space and inodes"),
            row("CONF101", "delivery is switched on"),
        ],
        unseen: vec![
            unseen("SOCK109", "not permitted: descriptors of other users' processes", "root"),
            unseen("SOCK110", "not permitted: descriptors of other users' processes", "root"),
            unseen("SOCK111", "not permitted: descriptors of other users' processes", "root"),
            unseen("SOCK114", "not permitted: read /var/spool/postfix/private", "cap_dac_read_search"),
            unseen("journal", "read the journal: no answer within 2000 ms", "a longer --deadline"),
            unseen("DNS", "this version examines the host alone", ""),
        ],
        ..healthy()
    }
}

fn row(code: &str, text: &str) -> Row {
    Row { code: code.into(), text: text.into() }
}

fn unseen(what: &str, why: &str, needs: &str) -> Unseen {
    Unseen { what: what.into(), why: why.into(), needs: needs.into() }
}

fn dead_server() -> Finding {
    Finding::new(
        "SOCK112",
        "service-not-running",
        Severity::Critical,
        Subject::service("postfix"),
        "Postfix is installed, enabled and configured, and its master process does not run",
    )
    .because("no process of the instance in /etc/postfix was found among 143 visible ones", "/proc", "/servers/value/postfix/master")
    .because("smtp/inet asks for port 25", "/etc/postfix/master.cf:12", "/servers/value/postfix/wanted/smtp~1inet")
    .fix(
        Fix::here("Ask Postfix why it stopped, before anything else: it refuses to start with a configuration that it cannot read.")
            .command("postfix check")
            .command("journalctl -u postfix@-.service --since '-1h' --no-pager | grep -E 'fatal|panic|error' | tail -n 20"),
    )
    .fix(
        Fix::here("Listen on all addresses.")
            .config("/etc/postfix/main.cf", Some(41), "inet_interfaces = all")
            .config("/etc/postfix/master.cf", None, "submission inet n - y - - smtpd\n  -o smtpd_tls_security_level=encrypt")
            .undo("postconf -e 'inet_interfaces = loopback-only'"),
    )
    .fix(
        Fix::here("Start it.")
            .command("systemctl start postfix")
            .undo("systemctl stop postfix")
            .verify("ss -ltn 'sport = :25'"),
    )
    .reference("RFC 5321, 4.5.4.2")
}

fn listed() -> Finding {
    let mut finding = Finding::new(
        "FW105",
        "blocked-by-destination",
        Severity::Warning,
        Subject::new(SubjectKind::Address, "192.0.2.7"),
        "the destination refuses this address",
    )
    .confidence(0.8)
    .because("the reply names the list | and a `code`", "transcript", "/parts");
    finding.whose_move = Mover::Receiver;
    finding.fix = vec![Fix {
        text: "Publish the address's name, then ask the operator to look again.".into(),
        who: "provider".into(),
        commands: Vec::new(),
        records: vec![Record {
            name: "7.2.0.192.in-addr.arpa.".into(),
            kind: "PTR".into(),
            value: "mx.example.org.".into(),
        }],
        config: Vec::new(),
        undo: String::new(),
        verify: "The operator's form answers within a day.".into(),
    }];
    finding
}

fn time_wait() -> Finding {
    Finding::new(
        "SOCK116",
        "time-wait-near-limit",
        Severity::Notice,
        Subject::host(),
        "4,120 sockets wait in TIME-WAIT, of 8,192 that the kernel keeps",
    )
    .fix(Fix::here("Nothing needs to be done while the number does not grow."))
}

fn evidence() -> Evidence {
    let mut evidence = Evidence::default();
    evidence.vantage.host_name = "mx.example.org".into();
    evidence.vantage.uid = 1000;
    evidence.vantage.capabilities = BTreeSet::new();
    evidence.vantage.container = Seen::Absent;
    evidence.kernel.local_ports = Seen::Value(PortRange { first: 32768, last: 60999 });
    evidence.kernel.counters =
        Seen::Value(BTreeMap::from([("TcpExt.ListenOverflows".to_owned(), Counter { first: 3, last: 5 })]));
    evidence.processes =
        Seen::Unknown(Blind::NotPermitted { what: "read /proc of other users".into(), needs: "root".into() });
    evidence.servers = Seen::Value(BTreeMap::new());
    evidence
}
