//! The lab as cargo tests: the fixed share with what the change touches, and that a diagnosis changes nothing.
//!
//! Where namespaces are not permitted, or a package is missing, each test prints `skipped: N lab cases: REASON` and
//! shows nothing else: a skip must never look like a pass.

use lab::doctor::{self, Circumstances};
use lab::host::{self, Host};
use lab::machine::{Machine, Spec, say};
use lab::{coverage, fault, preflight, runner, table, verdicts};
use std::path::PathBuf;
use std::time::Duration;

/// Reading all of /etc twice takes well under a second.
const FINGERPRINT_LIMIT: Duration = Duration::from_secs(30);

/// Some eighty sessions, many of which wait for the answer to a wrong password.
const SESSIONS_LIMIT: Duration = Duration::from_secs(240);

/// Whether the lab can run; says so on standard error, past the capture of the test harness, when it cannot.
fn possible(cases: usize) -> bool {
    match preflight::check() {
        Ok(()) => true,
        Err(reason) => {
            say(&format!("skipped: {cases} lab cases: {reason}"));
            false
        }
    }
}

fn mxray() -> PathBuf {
    match doctor::binary() {
        Ok(path) => path,
        Err(reason) => panic!("{reason}"),
    }
}

#[test]
fn the_share_and_the_change_are_answered_right() {
    let plan = lab::changed::plan().unwrap_or_else(|error| {
        say(&format!("what the change touches is not known, so only the share runs: {error}"));
        runner::share().unwrap()
    });
    assert!(!plan.faults.is_empty() && !plan.healthy.is_empty());
    let rows: usize = plan.tables.values().map(|table| table.case.len()).sum();
    if !possible(plan.faults.len() + plan.healthy.len() + rows) {
        return;
    }
    let outcomes = runner::run(&plan, &mxray()).unwrap();
    say(&table::rows(&outcomes.cases));
    say(&table::summary(&outcomes));
    assert!(outcomes.left.is_empty(), "left behind: {:?}", outcomes.left);
    let wrong: Vec<_> = outcomes.cases.iter().filter(|case| !case.good()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_diagnosis_changes_nothing() {
    if !possible(1) {
        return;
    }
    let mxray = mxray();
    let hosts = host::all().unwrap();
    let mut host = Host::up("healthy", &hosts["healthy"], Some(&mxray)).unwrap();
    let traces = host.traces();
    host.prove_health().unwrap();
    // Something to find: a ruleset, a queued message, a route.
    let fixture = "nft 'table inet lab { chain in { type filter hook input priority 0; tcp dport 25 accept; }; }'
        ip route add 192.0.2.0/24 via $PEER4
        postconf -e defer_transports=smtp
        postfix_reload
        mail --host 127.0.0.1 --from alice@$DOMAIN --to dave@elsewhere.example
        until_true 10 bash -c 'find /var/spool/postfix/deferred -type f | grep -q .'";
    host.machine.must("fixture", fixture, &[], FINGERPRINT_LIMIT).unwrap();
    let fingerprint =
        || host.machine.must("fingerprint", ". $LAB/fingerprint.sh", &[], FINGERPRINT_LIMIT).expect("a fingerprint");
    let before = fingerprint();
    for circumstances in [
        Circumstances::default(),
        Circumstances { unprivileged: true, ..Circumstances::default() },
        Circumstances { without_netlink: true, ..Circumstances::default() },
    ] {
        doctor::examine(&host, circumstances).unwrap();
        assert_eq!(differences(&before, &fingerprint()), Vec::<String>::new(), "changed by doctor {circumstances:?}");
    }
    // The fingerprint sees what it is there to see.
    for change in [
        "nft add rule inet lab in tcp dport 587 drop",
        "ip route del 192.0.2.0/24",
        "sysctl -qw net.ipv4.tcp_syncookies=0",
        "sed -i 's/biff = no/biff = yes/' /etc/postfix/main.cf",
        "rm -r /var/spool/postfix/hold",
    ] {
        let before = fingerprint();
        host.machine.must(change, change, &[], FINGERPRINT_LIMIT).unwrap();
        assert!(!differences(&before, &fingerprint()).is_empty(), "not seen: {change}");
    }
    drop(host);
    assert_eq!(runner::leftovers(&traces), Vec::<String>::new());
}

fn differences(before: &str, after: &str) -> Vec<String> {
    use std::collections::BTreeSet;
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    gone.chain(after.difference(&before).map(|line| format!("+ {line}"))).collect()
}

/// `probe`, `talk` and `send` hold sessions with the real servers of a host: each mechanism that is offered logs in, a wrong
/// password is AUTH106 with the server's words, what is handed over arrives.
fn sessions_with(slug: &str, prepare: &str, argv: &str) -> std::io::Result<()> {
    let hosts = host::all()?;
    let file = &hosts[slug];
    if !possible(1) {
        return Ok(());
    }
    if let Err(reason) = lab::foreign::packages(&file.foreign) {
        say(&format!("skipped: sessions with {slug}: {reason}"));
        return Ok(());
    }
    let mut host = Host::up(slug, file, Some(&mxray()))?;
    let traces = host.traces();
    host.prove_health()?;
    if !prepare.is_empty() {
        host.machine.must("prepare", prepare, &[], host::SETUP_LIMIT)?;
    }
    let said = host.machine.must("sessions", &format!("python3 $LAB/sessions.py {argv}"), &[], SESSIONS_LIMIT)?;
    say(&format!("{slug}: {}", said.trim()));
    drop(host);
    assert_eq!(runner::leftovers(&traces), Vec::<String>::new());
    Ok(())
}

#[test]
fn sessions_with_postfix_and_dovecot() {
    let prepare = "echo 'auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2' >>/etc/dovecot/local.conf
        printf 'service lmtp {\\n inet_listener lmtp {\\n address = 127.0.0.1\\n port = 24\\n }\\n}\\n' >>/etc/dovecot/local.conf
        dovecot_restart
        postfix_restart
        until_true 10 greets $HOST4 587";
    let services = ["submission", "submissions", "imap", "imaps", "pop3", "pop3s"];
    let targets = services.map(|service| format!("{service}://$HOST_NAME")).join(",");
    sessions_with(
        "healthy",
        prepare,
        &format!(
            "$HOST_NAME alice@$DOMAIN alice-secret {targets} \
             PLAIN,LOGIN,CRAM-MD5,SCRAM-SHA-1,SCRAM-SHA-256,OAUTHBEARER,XOAUTH2 --talk 25 587 \
             --send bob@$DOMAIN --mailbox /var/mail/vhosts/$DOMAIN/bob --lmtp 127.0.0.1:24"
        ),
    )
    .unwrap();
}

#[test]
fn sessions_with_managesieve() {
    let prepare = "echo 'auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256' >>/etc/dovecot/local.conf
        dovecot_restart
        until_true 10 listens 4190";
    let mechanisms = "PLAIN,LOGIN,CRAM-MD5,SCRAM-SHA-1,SCRAM-SHA-256";
    let argv = format!("$HOST_NAME alice@$DOMAIN alice-secret sieve://$HOST_NAME {mechanisms}");
    sessions_with("managesieve", prepare, &argv).unwrap();
}

#[test]
fn sessions_with_exim() {
    sessions_with(
        "exim",
        "",
        "$HOST_NAME alice alice-secret submission://$HOST_NAME,submissions://$HOST_NAME PLAIN --talk 25 --send bob@$DOMAIN --mailbox /var/mail/bob",
    )
    .unwrap();
}

#[test]
fn sessions_with_opensmtpd() {
    sessions_with(
        "opensmtpd",
        "",
        "$HOST_NAME nobody nothing '' '' --talk 25 --send bob@$DOMAIN --mailbox /var/mail/vhosts/$DOMAIN/bob",
    )
    .unwrap();
}

/// EXTERNAL (RFC 4422): who the client is, its certificate says.
#[test]
fn a_certificate_logs_in_at_exim() {
    if !possible(1) {
        return;
    }
    let file = &host::all().unwrap()["exim"];
    if let Err(reason) = lab::foreign::packages(&file.foreign) {
        say(&format!("skipped: a login by certificate: {reason}"));
        return;
    }
    let mut host = Host::up("exim", file, Some(&mxray())).unwrap();
    let traces = host.traces();
    host.prove_health().unwrap();
    let script = r#"cat >/run/lab/external <<'END'
external_server:
  driver = external
  public_name = EXTERNAL
  server_condition = ${if eq{$auth1}{alice}}
  server_set_id = $auth1
  server_advertise_condition = $tls_in_certificate_verified
END
        sed -i '/^begin authenticators/r /run/lab/external' /etc/exim4/exim4.conf.template
        printf 'MAIN_TLS_TRY_VERIFY_HOSTS = *\nMAIN_TLS_VERIFY_CERTIFICATES = /run/lab/trusted.pem\n' >>/etc/exim4/exim4.conf.localmacros
        cat $CA/root.pem $CA/intermediate.pem >/run/lab/trusted.pem
        update-exim4.conf
        exim_restart
        until_true 10 greets $HOST4 587
        openssl ecparam -genkey -name prime256v1 -noout -out /run/lab/client.key 2>/dev/null
        openssl req -new -key /run/lab/client.key -subj /CN=alice 2>/dev/null |
            openssl x509 -req -CA $CA/intermediate.pem -CAkey $CA/intermediate.key -CAcreateserial -days 30 -out /run/lab/client.crt 2>/dev/null
        export STATE_DIRECTORY=/proc/nonexistent
        send() { mxray send --server $HOST_NAME:587 --tls required --from alice@$DOMAIN --to bob@$DOMAIN --text x --mechanism EXTERNAL \
            --client-cert /run/lab/client.crt --client-key /run/lab/client.key --json "$@"; }
        send --user alice
        grep -q 'A=external_server:alice' $EXIM_LOG
        if send --user mallory >/run/lab/refused; then exit 1; fi
        grep -q '"code": *535' /run/lab/refused"#;
    let said = host.machine.must("a login by certificate", script, &[], SESSIONS_LIMIT).unwrap();
    assert!(said.contains("EXTERNAL"), "{said}");
    drop(host);
    assert_eq!(runner::leftovers(&traces), Vec::<String>::new());
}

#[test]
fn a_recipient_that_is_put_off_is_greylisting() {
    if !possible(1) {
        return;
    }
    let host = Host::up("healthy", &host::all().unwrap()["healthy"], Some(&mxray())).unwrap();
    let traces = host.traces();
    let sink = "exec python3 $LAB/sink.py --ready --listen $PEER4 --rcpt '450 4.2.0 Greylisted, see http://postgrey.example/help'";
    let held = host.peer.hold("a server that greylists", sink, host::SETUP_LIMIT).unwrap();
    let script = "until_true 5 greets $PEER4 25
        code=0
        STATE_DIRECTORY=/proc/nonexistent mxray probe smtp://$PEER4 --depth rcpt --from alice@$DOMAIN --to dave@elsewhere.example --json || code=$?
        [ $code -ne 1 ] || echo alarm >&2";
    let said = host.machine.must("probe", script, &[], SESSIONS_LIMIT).unwrap();
    assert!(!said.contains("alarm"), "{said}");
    assert!(said.contains("\"code\":\"SMTP109\"") || said.contains("greylist"), "{said}");
    drop(held);
    drop(host);
    assert_eq!(runner::leftovers(&traces), Vec::<String>::new());
}

#[test]
fn a_machine_takes_everything_with_it() {
    if !possible(1) {
        return;
    }
    let machine = Machine::start(&Spec { name: "brief.example".to_owned(), ..Spec::default() }).unwrap();
    // What a daemon would leave: a process of its own session that holds none of our pipes, and a cgroup.
    let script = "unit stray.service bash -c 'sleep 600 & disown'; until_true 5 pgrep -x sleep; hostname";
    let said = machine.must("start a stray", script, &[], Duration::from_secs(10)).unwrap();
    assert_eq!(said.trim(), "brief.example");
    let traces = machine.traces();
    assert!(traces.left().len() > 2, "the check sees a living machine: {:?}", traces.left());
    drop(machine);
    assert_eq!(runner::leftovers(&[traces]), Vec::<String>::new());
}

#[test]
fn every_fault_and_host_file_is_sound() {
    let (hosts, faults) = (host::all().unwrap(), fault::all().unwrap());
    for (slug, table) in verdicts::all().unwrap() {
        assert!(hosts.contains_key(&table.host), "{slug} wants host {}", table.host);
    }
    for (slug, fault) in &faults {
        assert!(hosts.contains_key(&fault.host), "{slug} wants host {}", fault.host);
        assert!(fault.expect.chars().any(|c| c.is_ascii_digit()), "{slug} expects {}", fault.expect);
    }
    let share = runner::share().unwrap();
    assert!(share.faults.len() < faults.len(), "the share is a part");
}

#[test]
fn every_code_has_a_case_or_a_reason() {
    let (all, covered) = (coverage::catalogue().unwrap(), coverage::covered().unwrap());
    assert!(all.len() > 100 && !covered.is_empty());
    let wrong = coverage::wrong(&all, &covered, &coverage::uncovered().unwrap());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
