//! The outcomes of connect(2), one network for all of them; ports and addresses keep them apart.

use super::closes;
use super::net::{Net, client, router, server};
use crate::dial::{DialPlan, dial, dial_unix};
use mxray_model::Seen;
use mxray_model::evidence::{Dial, DialOutcome};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// Long enough for everything that answers.
const LONG: Duration = Duration::from_secs(30);
/// For what never answers.
const SHORT: Duration = Duration::from_millis(400);

fn to(net: &Net, address: IpAddr, port: u16, source: Option<IpAddr>, patience: Duration) -> Dial {
    let plan = DialPlan { peer: SocketAddr::new(address, port), source };
    net.within("client", || dial(plan, Instant::now() + patience).0)
}

/// `from KIND/CODE`, or `-`.
fn icmp(dial: &Dial) -> String {
    match &dial.icmp {
        Seen::Value(icmp) => format!("{} {}/{}", icmp.from, icmp.kind, icmp.code),
        Seen::Absent => "-".to_owned(),
        Seen::Unknown(blind) => blind.why(),
    }
}

#[test]
fn what_answers_is_told_apart() {
    let Some(net) = Net::make("what_answers_is_told_apart") else { return };
    let rule = "tcp dport 26 reject with icmpx port-unreachable; tcp dport 27 reject with icmpx admin-prohibited; \
                tcp dport 28 drop; tcp dport 29 reject with icmpx no-route";
    net.nft("r2", "filter", "forward", rule);
    net.nft("server", "filter", "input", "tcp dport 36 reject with icmpx port-unreachable");
    net.nft("client", "filter", "output", "tcp dport 46 reject with icmpx port-unreachable; tcp dport 48 drop");
    for ipv4 in [true, false] {
        let _listener = net.listen("server", 25, ipv4);
        let seen = |port| to(&net, server(ipv4), port, None, LONG);
        let (r2, host, own) = (router(2, ipv4), server(ipv4), client(ipv4));
        let (port_unreachable, prohibited) = if ipv4 { ("3/3", "3/13") } else { ("1/4", "1/1") };

        let connected = seen(25);
        assert_eq!((connected.outcome.clone(), icmp(&connected)), (DialOutcome::Connected, "-".to_owned()));
        assert_eq!(connected.local.value().map(SocketAddr::ip), Some(own));
        let reset = seen(33);
        assert_eq!((reset.outcome.clone(), icmp(&reset)), (DialOutcome::Refused, "-".to_owned()));
        assert!(reset.local.value().is_some_and(|local| local.ip() == own && local.port() != 0));
        for (port, from) in [(26, r2), (36, host), (46, own)] {
            let refused = seen(port);
            assert_eq!(
                (refused.outcome.clone(), icmp(&refused)),
                (DialOutcome::Refused, format!("{from} {port_unreachable}"))
            );
        }
        let forbidden = seen(27);
        let errno = if ipv4 { DialOutcome::HostUnreachable } else { DialOutcome::Prohibited };
        assert_eq!((forbidden.outcome.clone(), icmp(&forbidden)), (errno, format!("{r2} {prohibited}")));
        let no_route = seen(29);
        assert_eq!(no_route.outcome, DialOutcome::NetworkUnreachable);
        assert!(icmp(&no_route).starts_with(&r2.to_string()), "{no_route:?}");
        for port in [28, 48] {
            let silent = to(&net, host, port, None, SHORT);
            assert!(matches!(silent.outcome, DialOutcome::TimedOut { after_ms } if after_ms == silent.took_ms));
            assert_eq!(icmp(&silent), "-");
        }
    }
}

#[test]
fn what_the_own_kernel_refuses_is_told_apart() {
    let Some(net) = Net::make("what_the_own_kernel_refuses_is_told_apart") else { return };
    for ipv4 in [true, false] {
        let network = |number: u8| if ipv4 { format!("10.78.{number}.0/24") } else { format!("fd78:{number}::/64") };
        let within = |number: u8| -> IpAddr {
            if ipv4 { format!("10.78.{number}.9") } else { format!("fd78:{number}::9") }.parse().unwrap()
        };
        for (number, kind) in [(1, "unreachable"), (2, "prohibit"), (3, "blackhole")] {
            net.ip("client", &format!("route add {kind} {}", network(number)));
        }
        let local = |number| {
            let seen = to(&net, within(number), 25, None, LONG);
            assert_eq!(icmp(&seen), "-");
            seen.outcome
        };
        assert_eq!(local(1), DialOutcome::HostUnreachable);
        assert_eq!(local(2), DialOutcome::Prohibited);
        assert_eq!(local(3), DialOutcome::Blackhole);

        // The source address: of another host, of the other family.
        let elsewhere = to(&net, server(ipv4), 25, Some(server(ipv4)), LONG);
        assert_eq!(elsewhere.outcome, DialOutcome::NoLocalAddress);
        let crossed = to(&net, server(ipv4), 25, Some(client(!ipv4)), LONG);
        assert!(matches!(crossed.outcome, DialOutcome::Failed { .. }), "{crossed:?}");

        // A neighbour that does not resolve: this host itself says so, after a while.
        net.within("client", || {
            let family = if ipv4 { "ipv4" } else { "ipv6" };
            std::fs::write(format!("/proc/sys/net/{family}/neigh/right/retrans_time_ms"), "50").unwrap();
        });
        let nobody: IpAddr = if ipv4 { "10.77.0.99" } else { "fd77:0::99" }.parse().unwrap();
        let dead = to(&net, nobody, 25, None, LONG);
        assert_eq!(dead.outcome, DialOutcome::HostUnreachable);
        assert!(icmp(&dead).starts_with(&format!("{} ", client(ipv4))), "{dead:?}");

        net.ip("client", if ipv4 { "route del default" } else { "-6 route del default" });
        assert_eq!(to(&net, server(ipv4), 25, None, LONG).outcome, DialOutcome::NetworkUnreachable);
    }
}

#[test]
fn used_up_ports_are_no_wrong_address() {
    let Some(net) = Net::make("used_up_ports_are_no_wrong_address") else { return };
    // Each round has two ports of its own, so that none waits for what an earlier one has left in the kernel.
    let mut first = 40_000;
    for ipv4 in [true, false] {
        let _listener = net.listen("server", 25, ipv4);
        let _other = net.listen("server", 26, ipv4);
        for source in [None, Some(client(ipv4))] {
            first += 2;
            net.within("client", || {
                std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{first} {}", first + 1)).unwrap();
            });
            let plan = |port| DialPlan { peer: SocketAddr::new(server(ipv4), port), source };
            let (held, full, other) = net.within("client", || {
                let until = Instant::now() + LONG;
                let held: Vec<_> = (0..2).map(|_| dial(plan(25), until)).collect();
                // A bound address takes no port of its own: towards another peer the same ports are free.
                (held, dial(plan(25), until).0.outcome, dial(plan(26), until).0.outcome)
            });
            assert!(held.iter().all(|(dial, _)| dial.outcome == DialOutcome::Connected), "{held:?}");
            assert_eq!((full, other), (DialOutcome::NoLocalPort, DialOutcome::Connected), "{source:?}");
        }
    }
}

#[test]
fn an_open_connection_outlives_a_stray_error() {
    let Some(net) = Net::make("an_open_connection_outlives_a_stray_error") else { return };
    let listener = net.listen("server", 25, true);
    let plan = DialPlan { peer: SocketAddr::new(server(true), 25), source: None };
    let (_, stream) = net.within("client", || dial(plan, Instant::now() + LONG));
    let mut stream = stream.unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    // From here on the router refuses; what was under way is told so.
    net.nft("r1", "filter", "forward", "tcp dport 25 reject with icmpx admin-prohibited");
    stream.write_all(b"NOOP\r\n", Instant::now() + LONG).unwrap();
    accepted.write_all(b"220 x\r\n").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer, Instant::now() + LONG), crate::stream::Came::Bytes(7));
    assert_eq!(stream.read(&mut buffer, Instant::now() + SHORT), crate::stream::Came::TimedOut);
}

#[test]
fn a_refusal_on_this_host_needs_no_network() {
    // An address of this test's own: nobody else takes the port once it is closed.
    let listener = std::net::TcpListener::bind("127.25.1.2:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let source: IpAddr = "127.0.0.9".parse().unwrap();
    let (seen, stream) = dial(DialPlan { peer, source: Some(source) }, Instant::now() + LONG);
    assert_eq!(seen.outcome, DialOutcome::Connected);
    assert_eq!(listener.accept().unwrap().1.ip(), source);
    drop(stream);
    closes(&listener);
    let (seen, stream) = dial(DialPlan { peer, source: None }, Instant::now() + LONG);
    assert_eq!((seen.outcome, seen.icmp, stream.is_none()), (DialOutcome::Refused, Seen::Absent, true));
}

#[test]
fn a_unix_socket_is_dialled_like_any_other() {
    let directory = std::env::temp_dir().join(format!("mxray-unix-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("lmtp");
    let missing = dial_unix(&path, Instant::now() + LONG).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    let listener = UnixListener::bind(&path).unwrap();
    let mut stream = dial_unix(&path, Instant::now() + LONG).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.write_all(b"220 x\r\n").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer, Instant::now() + LONG), crate::stream::Came::Bytes(7));
    // A full queue is waited for, until the deadline.
    rustix::net::listen(&listener, 0).unwrap();
    let _waiting = dial_unix(&path, Instant::now() + LONG).unwrap();
    let full = dial_unix(&path, Instant::now() + SHORT).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::TimedOut);
    closes(&listener);
    let refused = dial_unix(&path, Instant::now() + LONG).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    std::fs::remove_dir_all(&directory).unwrap();
}
