//! Decoding on built and captured bytes; the real kernel on loopback.

use super::dump::Keep;
use super::wire::{self, InetRequest, Malformed, Message, Messages};
use super::*;
use mxray_model::Seen;
use mxray_model::evidence::{Listener, Sockets};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Patience for a condition on a loaded machine; no test waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn look() -> Sample {
    match sample() {
        Seen::Value(sample) => sample,
        other => panic!("no sample: {:?}", other.blind()),
    }
}

fn summary(first: &Sample, last: &Sample) -> Sockets {
    summarise(first, Some(last), &BTreeMap::new())
}

fn listener_at(sockets: &Sockets, at: SocketAddr) -> &Listener {
    sockets.listeners.get(&format!("tcp/{at}")).unwrap_or_else(|| panic!("no {at} in {:?}", sockets.listeners.keys()))
}

/// A listener whose backlog we choose; std's is 4096.
fn listen(backlog: i32) -> (TcpListener, SocketAddr) {
    let listener = bind();
    rustix::net::listen(&listener, backlog).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// On a port below the ephemeral range, so that no client of any other test has the same number.
fn bind() -> TcpListener {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + std::process::id() * 61;
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
}

/// Ends a connection without leaving TIME-WAIT behind for the tests that count it.
fn reset(connection: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).unwrap();
    drop(connection);
}

// ---- bytes ----

/// One TCP listener on 127.0.0.1:2525 as Linux 6.18 sent it (with SKMEMINFO, SHUTDOWN, cgroup), and the end.
fn captured() -> Vec<u8> {
    let text = include_str!("../../../../scenarios/netlink/listener-6.18.hex");
    hex(text)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.lines().filter(|line| !line.starts_with('#')).flat_map(str::bytes).filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The sockets of one datagram, and whether the kernel said that it was all.
fn decoded(datagram: &[u8]) -> Result<(Vec<Socket>, bool), Malformed> {
    let mut sockets = Vec::new();
    for message in Messages::new(datagram, 1) {
        match message? {
            Message::Record { payload, .. } => sockets.push(wire::inet(Protocol::Tcp, payload)?.0),
            Message::Done { .. } => return Ok((sockets, true)),
            Message::Refused { .. } | Message::Overrun => return Ok((sockets, false)),
        }
    }
    Ok((sockets, false))
}

#[test]
fn a_captured_listener_is_read() {
    let (sockets, done) = decoded(&captured()).unwrap();
    let [socket] = sockets[..] else { panic!("{sockets:?}") };
    assert!(done);
    assert_eq!((socket.state, socket.local_port, socket.remote_port), (State::Listen, 2525, 0));
    assert_eq!(socket.local, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!((socket.receive_queue, socket.send_queue), (1, Some(5)));
    assert_eq!((socket.drops, socket.cgroup), (Some(0), Some(1)));
    assert!(socket.inode != 0 && socket.cookie != 0);
}

#[test]
fn cut_anywhere_it_is_an_error_or_unfinished_never_an_empty_list() {
    let whole = captured();
    for length in 0..whole.len() {
        match decoded(&whole[..length]) {
            Ok((_, done)) => assert!(!done, "{length} of {} bytes passed for the whole list", whole.len()),
            Err(malformed) => assert!(malformed.at <= whole.len()),
        }
    }
}

#[test]
fn cut_inside_an_attribute_it_is_an_error() {
    let whole = captured();
    let length = u32::from_ne_bytes(whole[..4].try_into().unwrap()) as usize;
    for cut in 1..length - 16 {
        let mut short = whole[..length - cut].to_vec();
        let claimed = u32::try_from(short.len()).unwrap();
        short[..4].copy_from_slice(&claimed.to_ne_bytes());
        // Where the cut falls on the end of an attribute, nothing is lost but that attribute.
        if let Ok((sockets, done)) = decoded(&short) {
            assert!(!done && sockets.len() == 1, "cut by {cut}");
        }
    }
}

#[test]
fn the_kernels_other_answers() {
    let message = |kind: u16, flags: u16, sequence: u32, payload: &[u8]| {
        let mut out = u32::try_from(16 + payload.len()).unwrap().to_ne_bytes().to_vec();
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
        out
    };
    fn one(bytes: &[u8]) -> Option<Result<Message<'_>, Malformed>> {
        Messages::new(bytes, 1).next()
    }
    let refused = message(2, 0, 1, &(-2i32).to_ne_bytes());
    assert_eq!(one(&refused), Some(Ok(Message::Refused { errno: 2 })));
    // A dump may end with an error instead of the end.
    let failed = message(3, 2, 1, &(-105i32).to_ne_bytes());
    assert_eq!(one(&failed), Some(Ok(Message::Refused { errno: 105 })));
    let torn = message(3, 0x12, 1, &0u32.to_ne_bytes());
    assert_eq!(one(&torn), Some(Ok(Message::Done { interrupted: true })));
    assert_eq!(one(&message(4, 0, 1, &[])), Some(Ok(Message::Overrun)));
    assert_eq!(one(&message(3, 0, 9, &[0; 4])), None, "the answer to another request");
    assert!(matches!(one(&message(2, 0, 1, &[])), Some(Err(_))));
    assert!(matches!(one(&[0; 16]), Some(Err(_))), "a length of zero must not loop");
}

#[test]
fn prefixes_hold_what_they_hold() {
    let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
    let is_in = |prefix: Prefix, address: &str| prefix.contains(address.parse().unwrap());
    assert!(is_in(prefix("192.0.2.0", 24), "192.0.2.255"));
    assert!(!is_in(prefix("192.0.2.0", 24), "192.0.3.0"));
    assert!(is_in(prefix("0.0.0.0", 0), "203.0.113.9"));
    assert!(is_in(prefix("2001:db8::", 32), "2001:db8:ffff::1"));
    assert!(!is_in(prefix("2001:db8::", 32), "192.0.2.1"));
    assert!(is_in(prefix("::1", 128), "::1") && !is_in(prefix("::1", 128), "::2"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _ = decoded(&bytes);
        let _ = wire::inet(Protocol::Udp, &bytes);
        let _ = wire::unix(&bytes);
        tcp_info::each(TcpInfo::new(&bytes), |_, _| {});
        procnet::unix(&bytes, |_| {});
        let _ = procnet::inet(Protocol::Tcp, &bytes, |_| {});
    }

    #[test]
    fn no_change_of_real_bytes_makes_it_panic(at in 0usize..300, value in proptest::num::u8::ANY) {
        let mut bytes = captured();
        let length = bytes.len();
        bytes[at % length] = value;
        let _ = decoded(&bytes);
    }
}

// ---- this kernel ----

#[test]
fn who_waits_is_seen_its_age_grows_and_taking_one_drains() {
    let (listener, at) = listen(5);
    let mut talkative = TcpStream::connect(at).unwrap();
    let quiet = TcpStream::connect(at).unwrap();
    let first = until("two wait", || {
        let sample = look();
        (listener_at(&summary(&sample, &sample), at).queue.value()?.waiting == 2).then_some(sample)
    });
    assert!(first.anyone_waits());
    // Neither what a client says nor what it hears changes since when it waits.
    until("half a second of waiting", || {
        talkative.write_all(b"x").unwrap();
        let sockets = summary(&first, &look());
        let queue = listener_at(&sockets, at).queue.value()?.clone();
        assert_eq!(queue.drained, Seen::Value(false));
        (*queue.oldest_ms.value()? >= 500).then_some(())
    });
    let sockets = summary(&first, &look());
    let load = &sockets.services[&at.port()];
    assert_eq!((load.waiting, load.established, load.peers_distinct), (2, 0, 1));
    assert_eq!((load.peers[0].who.as_str(), load.peers[0].count), ("127.0.0.1", 2));
    assert_eq!(load.networks[0].who, "127.0.0.0/24");

    let (taken, _) = listener.accept().unwrap();
    let sockets = until("one is taken", || {
        let sockets = summary(&first, &look());
        (listener_at(&sockets, at).queue.value()?.waiting == 1).then_some(sockets)
    });
    let queue = listener_at(&sockets, at).queue.value().unwrap();
    assert_eq!(queue.drained, Seen::Value(true));
    let load = &sockets.services[&at.port()];
    assert_eq!((load.waiting, load.established), (1, 1));
    drop((taken, quiet, talkative));

    let (_empty, at) = listen(5);
    let sample = look();
    let queue = listener_at(&summary(&sample, &sample), at).queue.value().unwrap().clone();
    assert_eq!((queue.waiting, queue.oldest_ms, queue.drained), (0, Seen::Absent, Seen::Absent));
}

#[test]
fn one_look_says_nothing_of_what_moved() {
    let (listener, at) = listen(5);
    let client = TcpStream::connect(at).unwrap();
    let sample = until("it waits", || {
        let sample = look();
        (listener_at(&summary(&sample, &sample), at).queue.value()?.waiting == 1).then_some(sample)
    });
    let sockets = summarise(&sample, None, &BTreeMap::new());
    let seen = listener_at(&sockets, at);
    let queue = seen.queue.value().unwrap();
    assert_eq!(queue.waiting, 1);
    assert!(queue.drained.blind().is_some() && seen.drops.blind().is_some(), "{seen:?}");
    drop((client, listener));
}

#[test]
fn a_client_that_hung_up_still_waits() {
    let (_listener, at) = listen(5);
    drop(TcpStream::connect(at).unwrap());
    let sample = until("CLOSE-WAIT", || {
        let sample = look();
        (summary(&sample, &sample).services[&at.port()].close_wait == 1).then_some(sample)
    });
    let queue = listener_at(&summary(&sample, &sample), at).queue.value().unwrap().clone();
    assert_eq!((queue.waiting, queue.drained), (1, Seen::Value(false)));
    assert!(queue.oldest_ms.value().is_some());
}

#[test]
fn a_full_queue_drops_and_is_full() {
    let (listener, at) = listen(1);
    let first = look();
    let mut clients = Vec::new();
    let sockets = until("a full queue that drops", || {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let _ = rustix::net::connect(&socket, &at);
        clients.push(socket);
        let sockets = summary(&first, &look());
        let listener = listener_at(&sockets, at);
        let drops = listener.drops.value()?;
        (listener.queue.value()?.is_full() && drops.last > drops.first).then_some(sockets)
    });
    let queue = listener_at(&sockets, at).queue.value().unwrap();
    assert_eq!((queue.waiting, queue.limit), (2, 1));
    drop((listener, clients));
}

#[test]
fn outbound_connections_are_counted_by_destination() {
    let (listener, at) = listen(50);
    let connections: Vec<_> = (0..40).map(|_| (TcpStream::connect(at).unwrap(), listener.accept().unwrap())).collect();
    let sample = look();
    let sockets = summary(&sample, &sample);
    assert_eq!(sockets.services[&at.port()].established, 40);
    // Our own ends use ephemeral ports; the accepted ends are inbound and do not.
    let towards = sockets.towards.iter().find(|to| to.port == at.port()).unwrap();
    assert_eq!((towards.ports_used, towards.time_wait, towards.connecting), (40, 0, 0));
    assert_eq!(towards.destination, at.ip());
    let local = connections[0].0.local_addr().unwrap();
    for (number, (mine, (theirs, _))) in connections.into_iter().enumerate() {
        // Our end closes first, so TIME-WAIT is ours; a few are enough.
        if number < 3 {
            drop(mine);
        } else {
            reset(mine);
        }
        drop(theirs);
    }
    until("TIME-WAIT counts", || {
        let sample = look();
        let sockets = summary(&sample, &sample);
        let Some(towards) = sockets.towards.iter().find(|to| to.port == at.port() && to.source == local.ip()) else {
            // Fuller destinations of other tests may have pushed it off the list.
            return (sockets.states.get("TIME-WAIT").is_some_and(|count| *count >= 3)).then_some(());
        };
        (towards.time_wait == 3 && towards.ports_used == 3).then_some(())
    });
}

#[test]
fn this_process_is_found_as_owner_and_a_made_up_inode_is_not() {
    let (_listener, at) = listen(5);
    let sample = look();
    let socket =
        sample.snapshot.sockets.iter().find(|s| s.state == State::Listen && s.local_port == at.port()).unwrap();
    let inode = u64::from(socket.inode);
    assert!(sample.listener_inodes().contains(&inode));
    let Seen::Value(table) = crate::processes::table() else { panic!("no table") };
    let nobody = u64::from(u32::MAX);
    let found = crate::processes::owners(&table, &BTreeSet::from([inode, nobody]), &[std::process::id()]);
    let Seen::Value(owners) = &found[&inode] else { panic!("{found:?}") };
    assert_eq!(owners[0].pid, std::process::id());
    // Here another process may be unreadable even for root (process 1 of a virtual machine): then it is unknown.
    assert!(!matches!(found[&nobody], Seen::Value(_)));
    let sockets = summarise(&sample, Some(&sample), &found);
    assert_eq!(listener_at(&sockets, at).owners, found[&inode]);
    assert_eq!(listener_at(&sockets, at).uid, rustix::process::geteuid().as_raw());
}

#[test]
fn unix_listeners_are_known_by_path_file_and_queue() {
    use std::os::unix::fs::MetadataExt;
    let path = std::env::temp_dir().join(format!("mxray \x1b[2J {}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
    let meta = std::fs::metadata(&path).unwrap();
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let sample = look();
    std::fs::remove_file(&path).unwrap();
    let seen = sample.unix().value().unwrap().iter().find(|seen| seen.inode == inode).unwrap();
    assert_eq!(seen.raw_path, path.to_str().unwrap().as_bytes());
    assert!(!seen.path.contains('\x1b') && seen.path.contains("\\u{1b}"));
    assert_eq!(seen.file, Some((meta.dev(), meta.ino() & u64::from(u32::MAX))));
    assert_eq!(seen.queue.value().unwrap().waiting, 1);
    assert!(matches!(seen.queue.value().unwrap().oldest_ms, Seen::Unknown(_)));
    assert!(sample.listener_inodes().contains(&inode) && sample.anyone_waits());
    drop(client);
}

#[test]
fn proc_net_tells_the_same_listeners_and_admits_the_rest() {
    let (_listener, at) = listen(5);
    let _client = TcpStream::connect(at).unwrap();
    let query = Query { tcp: true, udp: true, ..Query::default() };
    // The handshake's last step may lag behind connect, and /proc/net is no moment's view while others open and close.
    let sockets = until("one waits", || {
        let mut snapshot = Snapshot::empty(Source::ProcNet);
        from_proc(Path::new(PROC_NET), &query, &mut snapshot).unwrap();
        snapshot.refused = Some(Blind::NotAttempted { why: "test".into() });
        let units = snapshot.units();
        let mut sample = look();
        (sample.snapshot, sample.units) = (snapshot, units);
        let sockets = summary(&sample, &sample);
        (sockets.services.get(&at.port())?.waiting == 1).then_some(sockets)
    });
    assert_eq!(sockets.source, "/proc/net");
    let listener = listener_at(&sockets, at);
    assert!(listener.queue.blind().is_some() && listener.drops.blind().is_some() && listener.unit.blind().is_some());
    assert!(from_proc(Path::new("/nonexistent"), &query, &mut Snapshot::empty(Source::ProcNet)).is_err());
}

#[test]
fn the_kernels_filter_and_ours_agree() {
    let (listener, at) = listen(5);
    let client = TcpStream::connect(at).unwrap();
    let (other, other_at) = listen(5);
    let ports = |query: &Query| {
        let mut found: Vec<(u16, u16)> =
            scan(query).unwrap().sockets.iter().map(|s| (s.local_port, s.remote_port)).collect();
        found.sort_unstable();
        found
    };
    let client_port = client.local_addr().unwrap().port();
    let query = Query { tcp: true, ports: vec![at.port()], ..Query::default() };
    let mut expected = vec![(at.port(), 0), (at.port(), client_port), (client_port, at.port())];
    expected.sort_unstable();
    assert_eq!(ports(&query), expected);
    let query = Query { ports: vec![1, at.port(), 2, other_at.port()], states: State::Listen.bit(), ..query };
    let mut expected = vec![(at.port(), 0), (other_at.port(), 0)];
    expected.sort_unstable();
    assert_eq!(ports(&query), expected);
    let peer = Prefix { address: "127.0.0.1".parse().unwrap(), length: 32 };
    let query = Query { tcp: true, ports: vec![at.port()], peer: Some(peer), ..Query::default() };
    assert_eq!(ports(&query).len(), 2);
    let far = Prefix { address: "192.0.2.0".parse().unwrap(), length: 24 };
    assert!(ports(&Query { peer: Some(far), ..query }).is_empty());
    drop((listener, other));
    assert!(client.as_raw_fd() > 0);
}

#[test]
fn the_kernel_takes_the_filter_program() {
    let (_listener, at) = listen(5);
    let _other = listen(5);
    let peer = Prefix { address: "127.0.0.0".parse().unwrap(), length: 8 };
    let cases = [(vec![at.port()], None), (vec![at.port(), 25, 465], Some(peer)), (vec![], Some(peer))];
    for ((ports, peer), family) in cases.iter().cloned().zip([wire::AF_INET, wire::AF_UNSPEC].into_iter().cycle()) {
        let request = InetRequest {
            family,
            protocol: Protocol::Tcp,
            states: u32::MAX >> 20,
            tcp_info: true,
            memory: true,
            ports: &ports,
            peer,
        };
        let mut snapshot = Snapshot::empty(Source::SockDiag);
        // Not `inet`, which would ask again without the program.
        dump::inet_once(&request, Keep::All, &mut snapshot).unwrap();
        let stray = snapshot.sockets.iter().find(|socket| {
            !(ports.is_empty() || ports.contains(&socket.local_port) || ports.contains(&socket.remote_port))
        });
        assert_eq!(stray, None, "{ports:?} {peer:?}");
    }
}

#[test]
fn ss_lists_the_same_connections() {
    if !Path::new("/usr/bin/ss").exists() {
        skip("/usr/bin/ss is not installed");
        return;
    }
    let (listener, at) = listen(300);
    let mut kept = Vec::new();
    for number in 0..200 {
        kept.push(TcpStream::connect(at).unwrap());
        // A share of them stays unaccepted.
        if number % 4 != 0 {
            kept.push(listener.accept().unwrap().0);
        }
    }
    let query = Query { tcp: true, ports: vec![at.port()], ..Query::default() };
    until("the handshakes are over", || {
        scan(&query).unwrap().sockets.iter().all(|s| s.state != State::SynReceived).then_some(())
    });
    let ours: BTreeSet<String> = scan(&query)
        .unwrap()
        .sockets
        .iter()
        .map(|s| {
            let end = |ip: IpAddr, port: u16| if port == 0 { format!("{ip}:*") } else { format!("{ip}:{port}") };
            let ends = (end(s.here(), s.local_port), end(s.peer(), s.remote_port));
            format!("{} {} {} {} {}", s.state.name(), s.receive_queue, s.send_queue.unwrap(), ends.0, ends.1)
        })
        .collect();
    let port = at.port();
    let filter = format!("sport = :{port} or dport = :{port}");
    let output = std::process::Command::new("/usr/bin/ss").args(["-tanH", &filter]).output().unwrap();
    let theirs: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_ascii_whitespace().take(5).collect::<Vec<_>>().join(" "))
        .collect();
    kept.into_iter().for_each(reset);
    assert_eq!(ours.len(), 401);
    assert_eq!(ours, theirs);
}

#[test]
fn one_walk_for_both_families_lists_what_two_walks_list() {
    let four = bind();
    let port = four.local_addr().unwrap().port();
    let mut all = vec![four];
    match TcpListener::bind(("::1", port)) {
        Ok(six) => all.push(six),
        Err(error) => skip(&format!("IPv6 half: no [::1] here: {error}")),
    }
    // Accepted, so that no handshake is on its way between the walks.
    let clients: Vec<_> =
        all.iter().map(|one| (TcpStream::connect(one.local_addr().unwrap()).unwrap(), one.accept().unwrap())).collect();
    let list = |families: &[u8]| {
        let mut snapshot = Snapshot::empty(Source::SockDiag);
        for family in families {
            let states = u32::MAX >> 20;
            let ports = &[port];
            let protocol = Protocol::Tcp;
            let request =
                InetRequest { family: *family, protocol, states, tcp_info: true, memory: true, ports, peer: None };
            dump::inet_once(&request, Keep::All, &mut snapshot).unwrap();
        }
        let mut found: Vec<_> = snapshot
            .sockets
            .iter()
            .map(|s| (s.local, s.local_port, s.remote_port, s.state, s.cookie, s.cgroup, snapshot.info(s).is_some()))
            .collect();
        found.sort_unstable();
        found
    };
    let both = list(&[wire::AF_UNSPEC]);
    assert_eq!(both.len(), 3 * all.len());
    assert_eq!(both, list(&[wire::AF_INET, wire::AF_INET6]));
    drop(clients);
}

// ---- other rights, other namespaces: this test binary again, as a child ----

const PORT: &str = "MXRAY_TEST_PORT";

fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// Runs one ignored test of this binary behind `wrapper`; `false`: the wrapper is not permitted or not there.
fn again(wrapper: &[&str], test: &str, port: u16) -> bool {
    let (program, options) = wrapper.split_first().unwrap();
    let runs = |arguments: &[&str]| {
        std::process::Command::new(program)
            .args(options)
            .arg(std::env::current_exe().unwrap())
            .args(arguments)
            .env(PORT, port.to_string())
            .output()
    };
    if !runs(&["--list"]).is_ok_and(|output| output.status.success()) {
        return false;
    }
    let name = format!("sockets::tests::{test}");
    let output = runs(&["--ignored", "--exact", &name, "--nocapture"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

fn port_of_parent() -> u16 {
    std::env::var(PORT).unwrap().parse().unwrap()
}

#[test]
fn without_rights_the_socket_is_seen_and_its_owner_is_hidden() {
    let (_listener, at) = listen(5);
    let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    if !rustix::process::geteuid().is_root() {
        skip("only root can become another user");
    } else if !again(&nobody, "as_nobody", at.port()) {
        skip("setpriv is missing, or uid 65534 cannot run this test binary where it lies");
    }
}

#[test]
#[ignore = "run as uid 65534 by without_rights_the_socket_is_seen_and_its_owner_is_hidden"]
fn as_nobody() {
    assert_eq!(rustix::process::geteuid().as_raw(), 65534);
    let port = port_of_parent();
    let sample = look();
    let (_own, own_at) = listen(5);
    let both = look();
    let inode_at = |sample: &Sample, port| {
        let socket = sample.snapshot.sockets.iter().find(|s| s.state == State::Listen && s.local_port == port).unwrap();
        (u64::from(socket.inode), socket.uid)
    };
    let (foreign, uid) = inode_at(&sample, port);
    let (own, _) = inode_at(&both, own_at.port());
    assert_eq!(uid, 0);
    let Seen::Value(table) = crate::processes::table() else { panic!("no table") };
    let owners = crate::processes::owners(&table, &BTreeSet::from([foreign, own]), &[]);
    assert!(owners[&own].value().is_some_and(|owners| owners[0].pid == std::process::id()));
    match &owners[&foreign] {
        Seen::Unknown(Blind::NotPermitted { needs, .. }) => assert!(needs.contains("root"), "{needs}"),
        other => panic!("{other:?}"),
    }
    // What needs no right is there: that the process lives, its limits, the listener's queue.
    let parent = rustix::process::getppid().unwrap().as_raw_pid().unsigned_abs();
    let seen = crate::processes::describe(&table, &BTreeSet::from([parent]), |_| Seen::Absent);
    assert!(seen.mail[&parent].capabilities.value().is_some());
    if crate::processes::kernel_counts_descriptors() {
        assert!(seen.mail[&parent].descriptors.value().is_some(), "{:?}", seen.mail[&parent].descriptors);
    } else {
        assert!(matches!(seen.mail[&parent].descriptors, Seen::Unknown(Blind::NotPermitted { .. })));
    }
    assert!(summary(&sample, &sample).listeners.values().any(|l| l.port == port && l.queue.value().is_some()));
}

#[test]
fn another_namespace_has_other_sockets() {
    let (_listener, at) = listen(5);
    if !again(&["/usr/bin/unshare", "--net"], "in_a_fresh_namespace", at.port()) {
        skip("unshare --net is not permitted or not installed");
    }
}

#[test]
#[ignore = "run behind unshare --net by another_namespace_has_other_sockets"]
fn in_a_fresh_namespace() {
    let port = port_of_parent();
    let own = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let sockets = summary(&look(), &look());
    assert_eq!(sockets.listeners.len(), 1, "{:?}", sockets.listeners);
    assert_eq!(listener_at(&sockets, own.local_addr().unwrap()).port, own.local_addr().unwrap().port());
    assert!(
        sockets.listeners.values().all(|listener| listener.port != port || port == own.local_addr().unwrap().port())
    );
}

#[test]
fn a_namespace_can_be_entered_by_process() {
    let (_listener, at) = listen(5);
    let child = std::process::Command::new("/usr/bin/unshare").args(["--net", "/bin/sleep", "60"]).spawn();
    let Ok(mut child) = child else {
        skip("unshare is not installed");
        return;
    };
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    let namespace = format!("/proc/{}/ns/net", child.id());
    let other = until("its own namespace", || {
        let gone = child.try_wait().unwrap().is_some();
        let link = std::fs::read_link(&namespace).ok();
        (gone || link.as_ref().is_some_and(|link| *link != ours)).then_some(!gone)
    });
    if !other {
        skip("unshare --net is not permitted");
        return;
    }
    let pid = child.id().to_string();
    // Only this one thread moves; it ends in the other namespace.
    let seen = std::thread::spawn(move || {
        mxray_sys::namespace::NetworkNamespace::parse(&pid).unwrap().enter().unwrap();
        let sample = look();
        let mut fallback = Snapshot::empty(Source::ProcNet);
        from_proc(Path::new(PROC_NET), &Query { tcp: true, udp: true, ..Query::default() }, &mut fallback).unwrap();
        (summary(&sample, &sample).listeners.len(), fallback.sockets.len(), crate::vantage::look().network_namespace)
    })
    .join();
    child.kill().unwrap();
    child.wait().unwrap();
    let (listeners, fallback, inode) = seen.unwrap();
    assert_eq!((listeners, fallback), (0, 0));
    assert_ne!(inode, crate::vantage::look().network_namespace);
    let sample = look();
    assert_eq!(listener_at(&summary(&sample, &sample), at).port, at.port());
}

#[test]
fn behind_hidepid_nothing_is_called_absent() {
    // In a process namespace of its own: before Linux 5.8, hidepid belonged to the namespace and not to the mount.
    let script =
        "mount -t proc -o hidepid=2 proc /proc && setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"; exit $?";
    let wrapper = ["/usr/bin/unshare", "--mount", "--pid", "--fork", "/bin/sh", "-c", script, "sh"];
    if !again(&wrapper, "as_nobody_behind_hidepid", 0) {
        skip("unshare, mount or setpriv is not permitted or not installed, or uid 65534 cannot run this test binary");
    }
}

#[test]
#[ignore = "run by behind_hidepid_nothing_is_called_absent"]
fn as_nobody_behind_hidepid() {
    let (_own, at) = listen(5);
    let sample = look();
    let socket = sample.snapshot.sockets.iter().find(|s| s.local_port == at.port()).unwrap();
    let (own, nobody) = (u64::from(socket.inode), u64::from(u32::MAX));
    let Seen::Value(table) = crate::processes::table() else { panic!("no table") };
    assert!(!table.all_visible && !table.rows.contains_key(&1) && table.rows.contains_key(&std::process::id()));
    let owners = crate::processes::owners(&table, &BTreeSet::from([own, nobody]), &[]);
    assert!(owners[&own].value().is_some());
    match &owners[&nobody] {
        Seen::Unknown(Blind::NotPermitted { what, .. }) => assert!(what.contains("hidepid"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_made_in_a_unit_names_it() {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { panic!("no mount table") };
    let point = mounts.lines().find_map(|line| line.split_once(" - cgroup2 ")?.0.split(' ').nth(4));
    let Some(point) = point else {
        skip("no cgroup v2 is mounted");
        return;
    };
    let unit = Path::new(point).join(format!("mxray-test-{}.service", std::process::id()));
    if let Err(error) = std::fs::create_dir(&unit) {
        skip(&format!("no cgroup can be made: {error}"));
        return;
    }
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", unit.display());
    let ran = std::panic::catch_unwind(|| again(&["/bin/sh", "-c", &script, "sh"], "in_a_unit", 0));
    until("the test's cgroup is empty", || std::fs::remove_dir(&unit).ok());
    if !ran.unwrap() {
        skip("a process cannot be moved into a cgroup");
    }
}

#[test]
#[ignore = "run by a_socket_made_in_a_unit_names_it"]
fn in_a_unit() {
    let (_own, at) = listen(5);
    let sample = look();
    let sockets = summary(&sample, &sample);
    let own = std::fs::read("/proc/self/cgroup").unwrap();
    let Seen::Value(unit) = crate::cgroup::of_process(&own) else { panic!("{own:?}") };
    assert!(unit.starts_with("mxray-test-"), "{unit}");
    assert_eq!(listener_at(&sockets, at).unit, Seen::Value(unit));
}
