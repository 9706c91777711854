//! Decisions, proposals and edits on facts that are made up here; the kernel's own word is in `kernel_tests`.

use super::decide::{Answer, Decision, decide};
use super::edits::{Edit, Role, daemon, entry, firewall};
use super::facts::{Asked, Facts, Holder, Holding, Way};
use super::wish::{LowPorts, Starter, Wish};
use super::{propose, text};
use mxray_host::filter_managers::Installed;
use mxray_model::binding::Binding;
use mxray_model::evidence::*;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn starter() -> Starter {
    Starter {
        uid: 0,
        user: "root".to_owned(),
        assumed: false,
        unit: None,
        low_ports: LowPorts::May { because: "it starts as root".to_owned() },
        confined: Vec::new(),
    }
}

fn wish(service: &str, port: u16, addresses: &[&str]) -> Wish {
    Wish {
        service: service.to_owned(),
        protocol: "tcp".to_owned(),
        port,
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        v6: V6Policy::Any,
        reuse_port: false,
        starter: starter(),
        exposure: Exposure::Public,
    }
}

fn facts() -> Facts {
    let kernel = Kernel {
        local_ports: Seen::Value(PortRange { first: 32768, last: 60999 }),
        reserved_ports: Seen::Value(Vec::new()),
        unprivileged_port_start: Seen::Value(1024),
        ..Kernel::default()
    };
    Facts {
        holders: Seen::Value(BTreeMap::new()),
        bound_are_listed: Seen::Value(()),
        assignments: Seen::Absent,
        firewall: Seen::Absent,
        kernel,
        addresses: Seen::Value(["127.0.0.1", "::1", "192.0.2.25"].iter().map(|text| ip(text)).collect()),
        nonlocal_v4: Seen::Value(false),
        nonlocal_v6: Seen::Value(false),
        has_ipv6: true,
        bind_v6_only: Seen::Value(false),
        names: BTreeMap::from([(25, "smtp".to_owned()), (2526, "ontobroker".to_owned())]),
        ..Facts::default()
    }
}

fn holder(address: &str, port: u16, state: Holding) -> Holder {
    Holder {
        binding: Binding::new("tcp", ip(address), port),
        state,
        inode: 7,
        unit: Seen::Value("exim4.service".to_owned()),
        owners: Seen::Value(vec![Owner { pid: 812, name: "exim4".to_owned() }]),
        software: BTreeSet::new(),
    }
}

fn with(mut facts: Facts, holder: Holder) -> Facts {
    if let Seen::Value(all) = &mut facts.holders {
        all.entry(holder.binding.port).or_default().push(holder);
    }
    facts
}

fn asked(address: &str, port: u16) -> Asked {
    Asked {
        software: "exim".to_owned(),
        service: "25/inet".to_owned(),
        binding: Binding::new("tcp", ip(address), port),
        unit: "exim4.service".to_owned(),
        at_boot: Seen::Value("exim4.service, /etc/systemd/system/multi-user.target.wants/exim4.service".to_owned()),
        running: Seen::Value(false),
        by_dnat: false,
        from_documentation: false,
        at: FileLine { file: "/etc/exim4/exim4.conf".to_owned(), line: 12 },
    }
}

fn asking(asked: Asked) -> Facts {
    let asked = BTreeMap::from([(asked.binding.port, vec![asked])]);
    Facts { asked, ..facts() }
}

fn codes(decision: &Decision) -> Vec<&'static str> {
    decision.reasons.iter().map(|reason| reason.code).collect()
}

fn written(wish: &Wish, facts: &Facts) -> (Answer, Vec<&'static str>) {
    let decision = decide(wish, facts);
    (decision.answer, codes(&decision))
}

#[test]
fn nothing_in_the_way_is_yes_and_each_holder_is_a_no_with_its_name() {
    assert_eq!(written(&wish("postfix", 2525, &[]), &facts()), (Answer::Yes, vec![]));
    let taken = with(facts(), holder("0.0.0.0", 2525, Holding::Listens));
    let decision = decide(&wish("postfix", 2525, &[]), &taken);
    assert_eq!((decision.answer, codes(&decision)), (Answer::No, vec!["listener"]));
    let reason = &decision.reasons[0];
    assert!(reason.text.contains("exim4 (pid 812) of exim4.service"), "{}", reason.text);
    assert_eq!((reason.pids.clone(), reason.unit.as_deref()), (vec![812], Some("exim4.service")));
    assert_eq!(written(&wish("x", 2525, &["::1"]), &taken).0, Answer::Yes);
    let bound = with(facts(), holder("127.0.0.1", 2525, Holding::Bound));
    assert_eq!(written(&wish("x", 2525, &[]), &bound), (Answer::No, vec!["bound"]));
    assert_eq!(written(&wish("x", 2525, &["192.0.2.25"]), &bound).0, Answer::Yes);
}

#[test]
fn a_service_is_not_in_its_own_way() {
    let taken = with(facts(), holder("0.0.0.0", 25, Holding::Listens));
    let mut own = wish("exim4", 25, &[]);
    assert_eq!(written(&own, &taken).0, Answer::Yes);
    own.service = "smtp".to_owned();
    assert_eq!(written(&own, &taken).0, Answer::No);
    own.starter.unit = Some("exim4.service".to_owned());
    assert_eq!(written(&own, &taken).0, Answer::Yes);
    let instance =
        Holder { unit: Seen::Value("postfix@-.service".to_owned()), ..holder("0.0.0.0", 25, Holding::Listens) };
    own.starter.unit = Some("postfix.service".to_owned());
    assert_eq!(written(&own, &with(facts(), instance)).0, Answer::Yes);
}

#[test]
fn what_a_software_is_configured_for_is_its_own_whoever_names_it() {
    // In a container without systemd: the process is called master, and is known as Postfix's.
    let master = Holder {
        unit: Seen::Absent,
        owners: Seen::Value(vec![Owner { pid: 9, name: "master".to_owned() }]),
        software: BTreeSet::from(["postfix".to_owned()]),
        ..holder("0.0.0.0", 587, Holding::Listens)
    };
    let submission = Asked {
        software: "postfix".to_owned(),
        service: "submission/inet".to_owned(),
        unit: String::new(),
        ..asked("0.0.0.0", 587)
    };
    let both = with(asking(submission), master.clone());
    assert_eq!(written(&wish("postfix", 587, &[]), &with(facts(), master)), (Answer::Yes, vec!["own"]));
    assert_eq!(written(&wish("submission", 587, &[]), &both), (Answer::Yes, vec!["own", "own_configured"]));
    assert_eq!(written(&wish("dovecot", 587, &[]), &both).0, Answer::No);
}

#[test]
fn connections_hold_a_port_only_where_this_host_made_them() {
    let connection = |way| {
        let state = Holding::Connected { remote: ip("198.51.100.7"), port: 25, closing: false, way };
        written(&wish("x", 40000, &[]), &with(facts(), holder("192.0.2.25", 40000, state)))
    };
    assert_eq!(connection(Way::Out), (Answer::No, vec!["connection", "ephemeral"]));
    assert_eq!(connection(Way::InLeft), (Answer::Yes, vec!["ephemeral", "connection_left"]));
    assert_eq!(connection(Way::InListened), (Answer::Yes, vec!["ephemeral"]));
    assert_eq!(connection(Way::Unknown), (Answer::Unknown, vec!["connection", "ephemeral"]));
}

#[test]
fn what_is_configured_counts_from_the_next_restart_on() {
    let free = wish("postfix", 25, &[]);
    assert_eq!(written(&free, &asking(asked("0.0.0.0", 25))).0, Answer::NotAfterRestart);
    let off = Asked { at_boot: Seen::Absent, ..asked("0.0.0.0", 25) };
    assert_eq!(written(&free, &asking(off)), (Answer::Yes, vec!["configured_off", "registered"]));
    let unknown = Asked { at_boot: Seen::not_attempted("test"), ..asked("0.0.0.0", 25) };
    assert_eq!(written(&free, &asking(unknown)).0, Answer::Unknown);
    let running = Asked { at_boot: Seen::Absent, running: Seen::Value(true), ..asked("0.0.0.0", 25) };
    assert_eq!(written(&free, &asking(running)).0, Answer::NotAfterRestart);
    assert_eq!(written(&wish("exim", 25, &[]), &asking(asked("0.0.0.0", 25))).0, Answer::Yes);
    assert_eq!(written(&wish("x", 25, &["192.0.2.25"]), &asking(asked("127.0.0.1", 25))).0, Answer::Yes);
    let container = Asked { by_dnat: true, ..asked("0.0.0.0", 25) };
    assert_eq!(written(&free, &asking(container)), (Answer::No, vec!["dnat", "registered"]));
}

#[test]
fn privilege_addresses_and_families() {
    let mut low = wish("x", 25, &[]);
    low.starter.low_ports = LowPorts::MayNot { because: "policyd (uid 990) does not have it".to_owned(), at: None };
    assert_eq!(written(&low, &facts()).0, Answer::No);
    assert_eq!(written(&low.on(1024), &facts()).0, Answer::Yes);
    let mut open = facts();
    open.kernel.unprivileged_port_start = Seen::Value(0);
    assert_eq!(written(&low, &open).0, Answer::Yes);
    open.kernel.unprivileged_port_start = Seen::not_attempted("test");
    assert_eq!(written(&low, &open).0, Answer::Unknown);
    assert_eq!(written(&wish("x", 2525, &["192.0.2.99"]), &facts()), (Answer::No, vec!["address"]));
    let floating = Facts { nonlocal_v4: Seen::Value(true), ..facts() };
    assert_eq!(written(&wish("x", 2525, &["192.0.2.99"]), &floating), (Answer::Yes, vec!["address_nonlocal"]));
    assert_eq!(written(&wish("x", 2525, &["2001:db8::99"]), &floating).0, Answer::No);
    let mut loopback = facts();
    loopback.local.insert(ip("127.0.0.9"), Seen::Value(true));
    assert_eq!(written(&wish("x", 2525, &["127.0.0.9"]), &loopback).0, Answer::Yes);
    let four = Facts { has_ipv6: false, ..facts() };
    assert_eq!(written(&wish("x", 2525, &["::"]), &four), (Answer::No, vec!["family"]));
    assert_eq!(written(&wish("x", 2525, &[]), &four).0, Answer::Yes);
    let blind = Facts { addresses: Seen::not_attempted("test"), ..facts() };
    assert_eq!(written(&wish("x", 2525, &["192.0.2.25"]), &blind).0, Answer::Unknown);
}

#[test]
fn reuse_port_shares_under_one_user_alone() {
    let mut sharing = wish("x", 2525, &["0.0.0.0"]);
    sharing.reuse_port = true;
    let one = with(facts(), holder("0.0.0.0", 2525, Holding::Listens));
    assert_eq!(written(&sharing, &one), (Answer::Unknown, vec!["maybe_shared"]));
    let two = with(one.clone(), holder("0.0.0.0", 2525, Holding::Listens));
    assert_eq!(written(&sharing, &two), (Answer::Yes, vec!["shared"]));
    sharing.starter.uid = 990;
    assert_eq!(written(&sharing, &two).0, Answer::No);
}

fn assignment(first: u16, last: u16) -> Assignment {
    Assignment {
        at: FileLine { file: "/etc/mxray/mxray-ports.toml".to_owned(), line: 3 },
        protocol: "tcp".to_owned(),
        ports: (first, last),
        addresses: BTreeSet::new(),
        owner: PortOwner::default(),
        v6: V6Policy::Any,
        exposure: Exposure::Loopback,
        tls: None,
        purpose: "greylisting".to_owned(),
        contact: "postmaster".to_owned(),
    }
}

#[test]
fn what_was_decided_counts_like_what_the_kernel_says() {
    let mut declared = facts();
    let mut forbidden = Forbidden {
        at: FileLine { file: "f".to_owned(), line: 1 },
        protocol: "tcp".to_owned(),
        port: 110,
        except_loopback: false,
        reason: "plaintext".to_owned(),
    };
    let mut file = Assignments { file: "f".to_owned(), ..Assignments::default() };
    file.services.insert("postgrey".to_owned(), assignment(10023, 10030));
    file.forbidden.insert("tcp 110".to_owned(), forbidden.clone());
    declared.assignments = Seen::Value(file.clone());
    assert_eq!(written(&wish("dovecot", 110, &["127.0.0.1"]), &declared), (Answer::No, vec!["forbidden"]));
    assert_eq!(written(&wish("policyd", 10025, &[]), &declared), (Answer::No, vec!["assigned"]));
    let mut own = wish("postgrey", 10025, &["127.0.0.1"]);
    own.exposure = Exposure::Loopback;
    assert_eq!(written(&own, &declared), (Answer::Yes, vec!["own_assigned"]));
    own.exposure = Exposure::Public;
    assert_eq!(written(&own, &declared), (Answer::No, vec!["assigned_narrower"]));
    forbidden.except_loopback = true;
    file.forbidden.insert("tcp 110".to_owned(), forbidden);
    declared.assignments = Seen::Value(file);
    assert_eq!(written(&wish("dovecot", 110, &["127.0.0.1"]), &declared).0, Answer::Yes);
    assert_eq!(written(&wish("dovecot", 110, &[]), &declared).0, Answer::No);
    declared.assignments = Seen::Unknown(Blind::NotAttempted { why: "test".to_owned() });
    assert_eq!(written(&wish("dovecot", 110, &[]), &declared).0, Answer::Unknown);
}

#[test]
fn what_cannot_be_seen_is_never_a_yes() {
    let blind = Blind::NotPermitted { what: "list sockets".to_owned(), needs: "cap".to_owned() };
    let nothing = Facts { holders: Seen::Unknown(blind), ..facts() };
    assert_eq!(written(&wish("x", 2525, &[]), &nothing).0, Answer::Unknown);
    let mut half = facts();
    let why = "permission denied".to_owned();
    half.unseen.push(mxray_model::Unseen { what: "configuration of exim".to_owned(), why, needs: "root".to_owned() });
    let decision = decide(&wish("x", 2525, &[]), &half);
    assert_eq!((decision.now, decision.answer), (super::decide::Can::Yes, Answer::Unknown));
    // It speaks against no port in particular.
    assert!(propose::is_clear(&decision));
}

#[test]
fn the_nearest_port_is_free_by_all_rules() {
    let mut busy = with(facts(), holder("0.0.0.0", 2525, Holding::Listens));
    busy.asked.insert(2524, vec![asked("0.0.0.0", 2524)]);
    // 2526 has a name, 2524 is asked for: the next above.
    assert_eq!(propose::nearest(&wish("postfix", 2525, &[]), &busy), Some(2527));
    // From inside the kernel's range, the first below it.
    let busy = with(facts(), holder("0.0.0.0", 32768, Holding::Listens));
    assert_eq!(propose::nearest(&wish("postfix", 32768, &[]), &busy), Some(32767));
    // No privileged port for whoever did not ask for one.
    let busy = with(facts(), holder("0.0.0.0", 1024, Holding::Listens));
    assert_eq!(propose::nearest(&wish("x", 1024, &[]), &busy), Some(1025));
}

#[test]
fn a_dynamic_port_stays_where_it_is_and_two_services_differ() {
    let range = PortRange { first: 10100, last: 10199 };
    let port = |service: &str, facts: &Facts| {
        propose::dynamic(&wish(service, 0, &["127.0.0.1"]), range, facts).map(|(port, _)| port)
    };
    let first = port("postgrey", &facts()).unwrap();
    assert_eq!(port("postgrey", &facts()), Some(first));
    assert_ne!(port("policyd", &facts()), Some(first));
    // Taken: the next one. Its own: the same one.
    let other = with(facts(), holder("127.0.0.1", first, Holding::Listens));
    assert_eq!(port("postgrey", &other), Some(if first == 10199 { 10100 } else { first + 1 }));
    let own =
        Holder { unit: Seen::Value("postgrey.service".to_owned()), ..holder("127.0.0.1", first, Holding::Listens) };
    assert_eq!(port("postgrey", &with(facts(), own)), Some(first));
    let mut decided = facts();
    let mut file = Assignments::default();
    file.services.insert("postgrey".to_owned(), assignment(10150, 10150));
    let mut asking = wish("postgrey", 0, &["127.0.0.1"]);
    asking.exposure = Exposure::Loopback;
    decided.assignments = Seen::Value(file);
    assert_eq!(propose::dynamic(&asking, range, &decided).map(|(port, _)| port), Some(10150));
    let full = (10100..=10199).fold(facts(), |facts, port| with(facts, holder("127.0.0.1", port, Holding::Listens)));
    assert_eq!(port("postgrey", &full), None);
}

// --- edits --------------------------------------------------------------------------------------------------------

fn server(software: &str, config_dir: &str, version: &str) -> BTreeMap<String, Server> {
    let server = Server {
        software: software.to_owned(),
        config_dir: config_dir.to_owned(),
        configured_by: format!("{config_dir}/smtpd.conf"),
        host_name: "mail.harbour.example".to_owned(),
        version: Seen::Value(version.to_owned()),
        ..Server::default()
    };
    BTreeMap::from([(software.to_owned(), server)])
}

fn daemon_edit(wish: &Wish, servers: &BTreeMap<String, Server>) -> Edit {
    let known = daemon::Known { servers: Some(servers), ..daemon::Known::default() };
    daemon::edit(wish, Role::of(&wish.service, wish.port), &wish.sockets(true, false), &known)
}

/// What our own reader makes of the lines: addresses and TLS of the listener on the port.
fn read_back(software: &str, edit: &Edit, port: u16) -> (BTreeSet<IpAddr>, TlsMode) {
    let before = if software == "opensmtpd" {
        "pki mail.harbour.example cert \"/c\"\npki mail.harbour.example key \"/k\"\n"
    } else {
        ""
    };
    let text = format!("{before}{}\n", edit.lines.join("\n"));
    let read = mxray_host::mta::draft(software, &text).unwrap();
    assert!(
        read.problems.iter().all(|problem| !problem.text.contains("unknown") && !problem.text.contains("no port")),
        "{text}\n{:?}",
        read.problems
    );
    let own: Vec<_> = read.wanted.values().filter(|wanted| wanted.port == port).collect();
    assert!(!own.is_empty(), "{software}: {text}\n{:?}", read.problems);
    (own.iter().flat_map(|wanted| wanted.addresses.clone()).collect(), own[0].tls)
}

#[test]
fn every_daemon_line_reads_back_as_what_was_asked_for() {
    let cases: &[(&str, &[&str])] =
        &[("127.0.0.1", &["127.0.0.1"]), ("::1", &["::1"]), ("both", &["127.0.0.1", "::1"]), ("all", &[])];
    for (software, directory) in [
        ("postfix", "/etc/postfix"),
        ("dovecot", "/etc/dovecot"),
        ("exim", "/etc/exim"),
        ("opensmtpd", "/etc"),
        ("sendmail", "/etc/mail"),
    ] {
        let servers = server(software, directory, "2.3.19");
        for (name, addresses) in cases {
            let edit = daemon_edit(&wish(software, 2525, addresses), &servers);
            let (found, tls) = read_back(software, &edit, 2525);
            let asked: BTreeSet<IpAddr> = match addresses {
                [] => ["0.0.0.0", "::"].iter().map(|text| ip(text)).collect(),
                all => all.iter().map(|text| ip(text)).collect(),
            };
            assert_eq!(found, asked, "{software} {name}: {edit:?}");
            assert_ne!(tls, TlsMode::Implicit, "{software}");
        }
    }
}

#[test]
fn lines_for_front_ends_and_filters_read_back_as_what_was_asked_for() {
    let cases: [&[&str]; 4] = [&["127.0.0.1"], &["::1"], &["127.0.0.1", "::1"], &[]];
    for software in ["haproxy", "nginx"] {
        for addresses in cases {
            let wish = wish(software, 2525, addresses);
            let edit = daemon_edit(&wish, &BTreeMap::new());
            let lines = edit.lines.join("\n");
            let text = if software == "nginx" { format!("stream {{ server {{ {lines} }} }}") } else { lines };
            let asked: BTreeSet<_> = wish
                .sockets(true, false)
                .iter()
                .map(|socket| (SocketAddr::new(socket.address, 2525), socket.address.is_ipv6() && socket.v6_only))
                .collect();
            assert_eq!(mxray_host::bystanders::draft(software, &text), Some(asked), "{text}");
        }
    }
    for (software, addresses, host) in [
        ("opendkim", &["127.0.0.1"][..], "127.0.0.1"),
        ("opendkim", &["::1"], "::1"),
        ("rspamd", &["127.0.0.1"], "127.0.0.1"),
        ("rspamd", &["::1"], "::1"),
        ("rspamd", &["0.0.0.0"], "0.0.0.0"),
    ] {
        let edit = daemon_edit(&wish(software, 8891, addresses), &BTreeMap::new());
        let lines = edit.lines.join("\n");
        // rspamd's file is what its main one includes for this worker.
        let text = match software {
            "rspamd" => format!("worker \"rspamd_proxy\" {{ milter = yes; {lines} }}"),
            _ => lines,
        };
        let read = mxray_host::signers::draft(software, &text);
        let expected = Endpoint::Inet { host: host.to_owned(), port: 8891 };
        assert_eq!(read, Some(Seen::Value(vec![expected])), "{text}");
    }
}

#[test]
fn tls_from_the_first_byte_reads_back_too() {
    for (software, directory, service, port) in [
        ("postfix", "/etc/postfix", "submissions", 465),
        ("postfix", "/etc/postfix", "smtps", 2465),
        ("opensmtpd", "/etc", "submissions", 465),
        ("dovecot", "/etc/dovecot", "imaps", 993),
        ("dovecot", "/etc/dovecot", "pop3s", 1995),
        ("exim", "/etc/exim", "submissions", 465),
    ] {
        let mut wish = wish(service, port, &["127.0.0.1"]);
        wish.starter.unit = Some(format!("{software}.service"));
        let edit = daemon_edit(&wish, &server(software, directory, "2.4.1"));
        assert_eq!(read_back(software, &edit, port).1, TlsMode::Implicit, "{software}: {edit:?}");
    }
    let edit = daemon_edit(&wish("submission", 587, &[]), &server("postfix", "/etc/postfix", "3.7"));
    let read = mxray_host::mta::draft("postfix", &edit.lines.join("\n")).unwrap();
    let submission = read.wanted.values().next().unwrap();
    assert_eq!(submission.purpose, Purpose::Submission);
    assert_eq!(submission.overrides["smtpd_relay_restrictions"], "permit_sasl_authenticated,reject");
}

#[test]
fn dovecot_s_key_follows_its_version_and_exim_keeps_what_it_had() {
    let edit = daemon_edit(&wish("dovecot", 1143, &["192.0.2.25"]), &server("dovecot", "/etc/dovecot", "2.4.1"));
    assert!(edit.lines.contains(&"    listen = 192.0.2.25".to_owned()), "{edit:?}");
    let mut servers = server("exim", "/etc/exim", "4.96");
    let set = |value: &str| Setting {
        value: value.to_owned(),
        at: Some(FileLine { file: "/etc/exim/exim.conf".to_owned(), line: 9 }),
    };
    let exim = servers.get_mut("exim").unwrap();
    exim.settings.insert("daemon_smtp_ports".to_owned(), set("25 : 587"));
    exim.settings.insert("local_interfaces".to_owned(), set("127.0.0.1 : ::::1"));
    let edit = daemon_edit(&wish("exim", 2525, &[]), &servers);
    assert_eq!(edit.lines, ["daemon_smtp_ports = 25 : 587 : 2525"]);
    assert_eq!(edit.file.as_deref(), Some("/etc/exim/exim.conf"));
    let edit = daemon_edit(&wish("exim", 2525, &["192.0.2.25"]), &servers);
    assert_eq!(edit.lines, ["local_interfaces = <; 127.0.0.1 ; ::1 ; 192.0.2.25.2525"]);
}

#[test]
fn a_line_that_is_there_is_not_written_again_and_a_socket_unit_gets_a_drop_in() {
    let mut servers = server("postfix", "/etc/postfix", "3.7");
    let mut wanted = mxray_host::mta::draft("postfix", "2525 inet n - n - - smtpd\n").unwrap().wanted;
    servers.get_mut("postfix").unwrap().wanted.append(&mut wanted);
    let edit = daemon_edit(&wish("postfix", 2525, &[]), &servers);
    assert!(edit.lines.is_empty() && edit.text.contains("master.cf:1"), "{edit:?}");
    let unit = SocketUnit { service: "smtp@.service".to_owned(), accept: true, ..SocketUnit::default() };
    let known = daemon::Known { socket: Some(("smtp.socket", &unit)), ..daemon::Known::default() };
    let asked = wish("smtp", 2525, &["::1", "127.0.0.1"]);
    let edit = daemon::edit(&asked, Role::Smtp, &asked.sockets(true, false), &known);
    assert_eq!(edit.lines, ["[Socket]", "ListenStream=[::1]:2525", "ListenStream=127.0.0.1:2525"]);
    assert_eq!(edit.file.as_deref(), Some("/etc/systemd/system/smtp.socket.d/port.conf"));
}

#[test]
fn names_that_somebody_typed_steer_nothing() {
    for name in ["x; reboot", "a\nb inet n - n - - sh", "}\nservice evil {", "'$(id)'", "-o", "ü"] {
        for software in ["postfix", "dovecot", "exim", "opensmtpd", "sendmail", "haproxy", "nginx"] {
            let mut asked = wish(name, 2525, &["127.0.0.1"]);
            asked.starter.unit = Some(format!("{software}.service"));
            let edit = daemon_edit(&asked, &BTreeMap::new());
            assert!(!edit.lines.is_empty() && edit.lines.iter().all(|line| !line.contains(name)), "{edit:?}");
        }
        for manager in
            [firewall::Manager::Ufw, firewall::Manager::Iptables { persisted: None }, firewall::Manager::Firewalld]
        {
            let edit = firewall::edit(&wish(name, 2525, &[]), &manager, &Seen::Absent);
            assert!(edit.commands.iter().all(|command| !command.contains(name)), "{edit:?}");
        }
        let edit = entry::edit(&wish(name, 2525, &[]), Role::Other, None, None);
        let (read, complaints) = super::super::file::parse(Path::new("/x"), &edit.lines.join("\n"));
        assert!(complaints.is_empty() && read.services.len() == 1, "{edit:?}\n{complaints:?}");
    }
}

#[test]
fn the_entry_reads_back_as_the_wish() {
    let mut asked = wish("submission", 587, &["192.0.2.25", "2001:db8::25"]);
    asked.v6 = V6Policy::Separate;
    asked.exposure = Exposure::Prefixes(vec!["192.0.2.0/24".to_owned(), "2001:db8::/32".to_owned()]);
    asked.starter.unit = Some("postfix.service".to_owned());
    let range = PortRange { first: 500, last: 600 };
    for (file, range) in [(None, None), (Some("/srv/ports.toml"), Some(range))] {
        let edit = entry::edit(&asked, Role::Submission, file, range);
        let head = if file.is_some() { "version = 1\n" } else { "" };
        let (read, complaints) =
            super::super::file::parse(Path::new("/x"), &format!("{head}{}", edit.lines.join("\n")));
        assert!(complaints.is_empty(), "{complaints:?}");
        let own = read.services.values().next().unwrap();
        assert_eq!((own.ports, own.protocol.as_str(), own.v6), ((587, 587), "tcp", V6Policy::Separate));
        assert_eq!((&own.exposure, own.tls), (&asked.exposure, Some(TlsMode::StarttlsRequired)));
        assert_eq!(own.addresses, asked.addresses.iter().copied().collect());
        assert_eq!((own.owner.unit.as_str(), own.owner.user.as_str()), ("postfix.service", "root"));
    }
}

fn table(key: &str, manager: Option<&str>) -> Seen<Firewall> {
    let table = FilterTable {
        framework: key.split(' ').next().unwrap_or_default().to_owned(),
        rules: 3,
        manager: manager.map(str::to_owned),
        ..FilterTable::default()
    };
    Seen::Value(Firewall { tables: BTreeMap::from([(key.to_owned(), table)]), ..Firewall::default() })
}

#[test]
fn the_packet_filter_s_edit_is_in_its_manager_s_words() {
    let nothing = Installed::default();
    let manager = |firewall: &Seen<Firewall>, installed: &Installed| firewall::Manager::of(firewall, installed);
    let private = || {
        let mut wish = wish("submission", 587, &[]);
        wish.exposure = Exposure::Private;
        wish
    };
    let commands = |wish: &Wish, manager: &firewall::Manager| firewall::edit(wish, manager, &Seen::Absent).commands;
    assert_eq!(manager(&Seen::Absent, &nothing), firewall::Manager::None);
    let ufw = manager(&table("nft ip filter", Some("ufw")), &nothing);
    assert_eq!(commands(&wish("smtp", 25, &[]), &ufw)[0], "ufw allow 25/tcp comment smtp");
    assert_eq!(commands(&private(), &ufw)[0], "ufw allow proto tcp from 10.0.0.0/8 to any port 587 comment submission");
    let firewalld = manager(&table("nft inet firewalld", Some("firewalld")), &nothing);
    assert_eq!(
        commands(&wish("smtp", 25, &[]), &firewalld),
        ["firewall-cmd --permanent --add-port=25/tcp", "firewall-cmd --reload"]
    );
    let nft = manager(&table("nft inet filter", None), &nothing);
    assert_eq!(
        commands(&private(), &nft),
        [
            "nft 'insert rule inet filter input ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } tcp dport 587 accept comment \"submission\"'",
            "nft 'insert rule inet filter input ip6 saddr { fc00::/7 } tcp dport 587 accept comment \"submission\"'"
        ]
    );
    let legacy = manager(&table("legacy ip filter", None), &nothing);
    assert_eq!(commands(&wish("smtp", 25, &["192.0.2.25"]), &legacy).len(), 1);
    assert!(commands(&wish("smtp", 25, &[]), &legacy)[1].starts_with("ip6tables -I INPUT -p tcp --dport 25 "));
    let compat = manager(&table("nft ip filter", Some("iptables-nft")), &nothing);
    assert_eq!(compat, firewall::Manager::Iptables { persisted: None });
    let unseen = Seen::Unknown(Blind::NotPermitted { what: "dump".to_owned(), needs: "cap_net_admin".to_owned() });
    assert!(
        firewall::edit(&wish("smtp", 25, &[]), &manager(&unseen, &nothing), &unseen).text.contains("cap_net_admin")
    );
    let on_disk = Installed { ufw: true, ..Installed::default() };
    assert_eq!(manager(&unseen, &on_disk), firewall::Manager::Ufw);
    let mut near = private();
    near.exposure = Exposure::Loopback;
    assert!(commands(&near, &nft).is_empty());
}

fn answered(verdict: FilterVerdict, rewritten_to: Option<RewrittenTo>) -> Seen<Firewall> {
    let packet = Packet {
        direction: Direction::In,
        protocol: "tcp".to_owned(),
        source: ip("8.97.33.1"),
        destination: ip("192.0.2.25"),
        source_port: Some(46000),
        destination_port: Some(25),
        interface_in: Some("eth0".to_owned()),
        interface_out: None,
        state: "new".to_owned(),
        uid: None,
        gid: None,
        mark: 0,
        cgroup: None,
    };
    let stops = verdict.stops().then(rule);
    let answer = FilterAnswer { packet, verdict, by: stops, walk: Vec::new(), rewritten_to };
    let mut firewall = table("nft inet filter", None).value().unwrap().clone();
    firewall.answers.insert("a".to_owned(), answer);
    Seen::Value(firewall)
}

fn rule() -> FilterRule {
    FilterRule {
        table: "nft inet filter".to_owned(),
        chain: "input".to_owned(),
        handle: Some(4),
        position: 1,
        text: "tcp dport 25 drop".to_owned(),
        packets: None,
        comment: None,
        manager: None,
        by_sender: false,
    }
}

#[test]
fn the_running_ruleset_decides_whether_a_rule_is_needed_and_dnat_is_a_no() {
    let asked = wish("smtp", 25, &[]);
    let nft = firewall::Manager::of(&table("nft inet filter", None), &Installed::default());
    let passes = firewall::edit(&asked, &nft, &answered(FilterVerdict::Pass, None));
    assert!(passes.commands.is_empty() && passes.text.contains("passes the running ruleset"), "{passes:?}");
    let stopped = firewall::edit(&asked, &nft, &answered(FilterVerdict::Drop, None));
    assert!(stopped.commands.len() == 1 && stopped.text.contains("`tcp dport 25 drop`"), "{stopped:?}");
    let unknown = FilterVerdict::Unknown { why: Blind::NotAttempted { why: "x".to_owned() } };
    assert_eq!(firewall::edit(&asked, &nft, &answered(unknown, None)).commands.len(), 1);
    let to = RewrittenTo { address: Some(ip("172.17.0.2")), port: None, by: rule() };
    let taken = Facts { firewall: answered(FilterVerdict::Pass, Some(to)), ..facts() };
    let (answer, codes) = written(&asked, &taken);
    assert_eq!((answer, codes[0]), (Answer::No, "dnat_rule"));
    // A rule for port 25 says nothing of another port.
    assert_eq!(written(&asked.on(2525), &taken).0, Answer::Yes);
}

#[test]
fn words_are_filled_into_the_columns() {
    let mut out = String::new();
    text::filled("\nno       one two three four", 2, 11, 20, &mut out);
    assert_eq!(out, "\n  no       one two\n           three\n           four\n");
}
