//! Which listeners are spoken to, and by which address and name.

use super::*;
use mxray_model::evidence::FileLine;

fn listener(address: &str, port: u16) -> (String, Listener) {
    let listener = Listener {
        protocol: "tcp".to_owned(),
        address: address.parse().unwrap(),
        port,
        v6_only: Seen::Value(true),
        uid: 0,
        interface: 0,
        inode: 1,
        unit: Seen::Absent,
        owners: Seen::Absent,
        queue: Seen::Value(AcceptQueue { waiting: 0, limit: 100, oldest_ms: Seen::Absent, drained: Seen::Absent }),
        drops: Seen::Absent,
    };
    (format!("tcp/{address}:{port}"), listener)
}

fn wanted(command: &str, port: u16, addresses: &[&str]) -> WantedListener {
    WantedListener {
        service: port.to_string(),
        command: command.to_owned(),
        port,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        purpose: Purpose::Relay,
        tls: TlsMode::Starttls,
        process_limit: None,
        multiplexed: false,
        overrides: BTreeMap::new(),
        at: FileLine { file: String::new(), line: 1 },
    }
}

fn host(listeners: &[(&str, u16)], all: Vec<(&str, WantedListener)>) -> Evidence {
    let server = Server {
        software: "postfix".to_owned(),
        enabled: true,
        host_name: "Mail.Example.org".to_owned(),
        wanted: all.into_iter().map(|(key, wanted)| (key.to_owned(), wanted)).collect(),
        ..Server::default()
    };
    let listeners = listeners.iter().map(|(address, port)| listener(address, *port)).collect();
    let own = ["127.0.0.1", "10.0.0.5", "192.88.98.7", "::1", "fe80::1", "fd00::5", "2a00:1098::25"];
    Evidence {
        servers: Seen::Value([("postfix".to_owned(), server)].into()),
        sockets: Seen::Value(Sockets { listeners, ..Sockets::default() }),
        addresses: Seen::Value(own.map(|address| address.parse().unwrap()).into()),
        ..Evidence::default()
    }
}

fn own(evidence: &Evidence) -> Vec<OwnService> {
    plan(evidence, &Sessions::default()).own
}

fn text(reached: Vec<(String, Vec<IpAddr>)>) -> Vec<String> {
    reached.into_iter().map(|(host, addresses)| format!("{host} {addresses:?}")).collect()
}

#[test]
fn the_public_name_counts_where_it_leads_here() {
    let both = [("0.0.0.0", 25), ("::", 25)];
    let found = own(&host(&both, vec![("smtp/inet", wanted("smtpd", 25, &["0.0.0.0", "::"]))]));
    let at = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        text(found[0].reached_by(&[("mail.example.org".to_owned(), addresses)].into()))
    };
    assert_eq!(at(&["192.88.98.7", "2a00:1098::25"]), ["mail.example.org [192.88.98.7, 2a00:1098::25]"]);
    // Debian's 127.0.1.1, a balancer's address, and no answer at all: the listener's own addresses then.
    let plain = ["192.88.98.7 [192.88.98.7]", "2a00:1098::25 [2a00:1098::25]"];
    for elsewhere in [&["127.0.1.1"][..], &["192.0.2.99"], &[]] {
        assert_eq!(at(elsewhere), plain, "{elsewhere:?}");
    }
}

#[test]
fn a_listener_on_one_address_is_met_there() {
    let found = own(&host(&[("127.0.0.1", 25)], vec![("smtp/inet", wanted("smtpd", 25, &["127.0.0.1"]))]));
    assert_eq!(text(found[0].reached_by(&BTreeMap::new())), ["127.0.0.1 [127.0.0.1]"]);
    let named = [("mail.example.org".to_owned(), vec!["192.88.98.7".parse().unwrap()])].into();
    assert_eq!(text(found[0].reached_by(&named)), ["127.0.0.1 [127.0.0.1]"]);
}

#[test]
fn what_does_not_listen_is_not_spoken_to() {
    assert!(own(&host(&[("127.0.0.1", 25)], vec![("smtp/inet", wanted("smtpd", 25, &["10.0.0.5"]))])).is_empty());
    assert!(own(&host(&[("0.0.0.0", 628)], vec![("628/inet", wanted("qmqpd", 628, &["0.0.0.0"]))])).is_empty());
}

#[test]
fn whoever_waits_for_somebody_else_is_left_alone() {
    let four = ["0.0.0.0"];
    let alone = |change: &dyn Fn(&mut WantedListener, &mut Server, &mut Sockets)| {
        let mut evidence = host(&[("0.0.0.0", 25)], vec![("smtp/inet", wanted("smtpd", 25, &four))]);
        let (Seen::Value(servers), Seen::Value(sockets)) = (&mut evidence.servers, &mut evidence.sockets) else {
            unreachable!()
        };
        let server = servers.get_mut("postfix").unwrap();
        let mut listener = server.wanted["smtp/inet"].clone();
        change(&mut listener, server, sockets);
        server.wanted.insert("smtp/inet".to_owned(), listener);
        own(&evidence)[0].left_alone.clone()
    };
    assert_eq!(alone(&|_, _, _| {}), None);
    let proxied = |wanted: &mut WantedListener, _: &mut Server, _: &mut Sockets| {
        wanted.overrides.insert("smtpd_upstream_proxy_protocol".to_owned(), "haproxy".to_owned());
    };
    assert!(alone(&proxied).unwrap().contains("PROXY"));
    assert!(alone(&|wanted, _, _| wanted.purpose = Purpose::Internal).is_some());
    let full = |_: &mut WantedListener, _: &mut Server, sockets: &mut Sockets| {
        for listener in sockets.listeners.values_mut() {
            let (oldest_ms, drained) = (Seen::Value(10), Seen::Value(true));
            listener.queue = Seen::Value(AcceptQueue { waiting: 101, limit: 100, oldest_ms, drained });
        }
    };
    assert!(alone(&full).unwrap().contains("full"));
    let stopped = |_: &mut WantedListener, server: &mut Server, _: &mut Sockets| {
        server.master = Seen::Value(Master { pid: 7, state: 'T' });
    };
    assert!(alone(&stopped).unwrap().contains("stopped"));
}

#[test]
fn targets_are_met_as_the_server_that_sends() {
    let mut evidence = host(&[], Vec::new());
    let Seen::Value(servers) = &mut evidence.servers else { unreachable!() };
    servers.get_mut("postfix").unwrap().egress.sends = true;
    let target = Target::Exchangers { domain: "example.org".to_owned() };
    let wish = Sessions { targets: vec![target.clone(), target], ..Sessions::default() };
    let others = plan(&evidence, &wish).others;
    assert_eq!(others.len(), 1);
    assert_eq!((others[0].by_mx, others[0].as_server.as_deref()), (true, Some("postfix")));
}
