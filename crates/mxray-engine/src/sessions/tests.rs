//! What is carried out of a plan, against name servers that do not answer and listeners of this test.

use super::*;
use mxray_model::evidence::{Configured, Listener, Sockets, WantedListener};
use std::io::{Read, Write};
use std::net::TcpListener;

fn listener(address: IpAddr, port: u16) -> Listener {
    Listener {
        protocol: "tcp".to_owned(),
        address,
        port,
        v6_only: Seen::Absent,
        uid: 0,
        interface: 0,
        inode: 1,
        unit: Seen::Absent,
        owners: Seen::Absent,
        queue: Seen::Absent,
        drops: Seen::Absent,
    }
}

fn wanted(address: IpAddr, port: u16) -> WantedListener {
    WantedListener {
        service: "smtp".to_owned(),
        command: "smtpd".to_owned(),
        port,
        addresses: vec![address],
        purpose: Purpose::Relay,
        tls: TlsMode::Starttls,
        process_limit: None,
        multiplexed: false,
        overrides: BTreeMap::new(),
        at: mxray_model::evidence::FileLine { file: "/etc/postfix/master.cf".to_owned(), line: 1 },
    }
}

fn host(address: IpAddr, port: u16) -> Evidence {
    let mut server = Server {
        software: "postfix".to_owned(),
        enabled: true,
        host_name: "mail.test.invalid".to_owned(),
        ..Server::default()
    };
    server.wanted.insert("smtp/inet".to_owned(), wanted(address, port));
    let mut sockets = Sockets::default();
    sockets.listeners.insert(format!("tcp/{address}:{port}"), listener(address, port));
    Evidence {
        servers: Seen::Value([("postfix".to_owned(), server)].into()),
        sockets: Seen::Value(sockets),
        addresses: Seen::Value([address].into()),
        ..Evidence::default()
    }
}

/// Nobody listens on this port of ours, so a question is refused at once.
fn unanswered() -> Resolver {
    Resolver::new(vec!["127.0.0.1:9".parse().unwrap()])
}

fn nobody() -> Sessions {
    Sessions::default()
}

#[test]
fn an_own_service_is_greeted_and_quit() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let heard = thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        peer.write_all(b"220 mail.test.invalid ESMTP\r\n").unwrap();
        let mut all = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = peer.read(&mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let reply: &[u8] = if line.starts_with("QUIT") { b"221 bye\r\n" } else { b"250 mail.test.invalid\r\n" };
            all.push(line);
            let _ = peer.write_all(reply);
        }
        all.concat()
    });
    let evidence = host([127, 0, 0, 1].into(), port);
    let found = prepare(&evidence, &nobody(), &unanswered(), Instant::now() + Duration::from_secs(20)).hold();
    let heard = heard.join().unwrap();
    assert_eq!(heard, "EHLO mail.test.invalid\r\nQUIT\r\n");
    let endpoint = &found.endpoints[&format!("127.0.0.1:{port}/smtp")];
    let own = EndpointWhy::Own { server: "postfix".to_owned(), wanted: "smtp/inet".to_owned() };
    assert_eq!(endpoint.why, [own].into());
    assert!(endpoint.addresses["127.0.0.1"].session.value().is_some());
}

#[test]
fn a_smarthost_is_met_from_the_address_that_the_server_sends_from() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let peer = thread::spawn(move || server.accept().unwrap().1.ip());
    let mut evidence = host([127, 0, 0, 1].into(), 1);
    let Seen::Value(servers) = &mut evidence.servers else { unreachable!() };
    let own = servers.get_mut("postfix").unwrap();
    own.wanted.clear();
    own.egress.sends = true;
    let set = |value: &str| Configured { value: value.to_owned(), setting: "relayhost".to_owned(), at: None };
    own.egress.smarthosts = vec![set(&format!("[127.0.0.1]:{port}"))];
    own.egress.sources =
        vec![Configured { value: [127, 0, 0, 7].into(), setting: "smtp_bind_address".to_owned(), at: None }];
    let found = prepare(&evidence, &nobody(), &unanswered(), Instant::now() + Duration::from_secs(20)).hold();
    assert_eq!(peer.join().unwrap(), IpAddr::from([127, 0, 0, 7]));
    let endpoint = &found.endpoints[&format!("127.0.0.1:{port}/smtp")];
    assert_eq!(endpoint.why, [EndpointWhy::Smarthost { server: "postfix".to_owned() }].into());
}

#[test]
fn a_target_is_told_where_nobody_looked() {
    let question = Question { command: "doctor".to_owned(), targets: vec!["user@Example.org".to_owned()] };
    let mut evidence = Evidence::default();
    assert!(notes(&question, &evidence)[0].why.contains("nothing was connected to"));
    let lookup = Lookup {
        name: "example.org".to_owned(),
        kind: "MX".to_owned(),
        outcome: mxray_model::evidence::DnsOutcome::Found,
        records: Vec::new(),
        tries: Vec::new(),
    };
    evidence.lookups.insert(Lookup::key("MX", "example.org"), lookup);
    assert!(notes(&question, &evidence)[0].why.contains("null"));
}
