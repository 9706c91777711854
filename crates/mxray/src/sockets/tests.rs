//! The command as a whole, on this kernel's loopback.

use super::{By, Direction, Format, SocketsArgs, Sort, Terminal, run};
use mxray_host::baseline::Place;
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

fn output(args: &SocketsArgs, terminal: Option<Terminal>) -> String {
    let mut out = Vec::new();
    let format = if args.json { Format::Json } else { args.format.unwrap_or_default() };
    assert_eq!(run(args, format, &Place::default(), &mut out, terminal, false).unwrap(), 0);
    String::from_utf8(out).unwrap()
}

fn rows(args: &SocketsArgs) -> Vec<Value> {
    let whole: Value = serde_json::from_str(&output(&SocketsArgs { json: true, ..args.clone() }, None)).unwrap();
    assert_eq!(whole["schema"], "mxray/sockets/1");
    whole["rows"].as_array().unwrap().clone()
}

/// A listener with one accepted and one waiting connection; clients keep both open.
struct Fixture {
    port: u16,
    _kept: (TcpListener, Vec<TcpStream>),
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

fn fixture() -> (Fixture, SocketsArgs) {
    let listener = bind();
    let at = listener.local_addr().unwrap();
    let mut kept = vec![TcpStream::connect(at).unwrap()];
    kept.push(listener.accept().unwrap().0);
    kept.push(TcpStream::connect(at).unwrap());
    let port = at.port();
    let args = SocketsArgs { port: vec![port.to_string()], ..SocketsArgs::default() };
    // The handshake's last step may lag behind connect.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !rows(&args).iter().any(|row| row["waits_for_accept"] == true) {
        assert!(std::time::Instant::now() < end, "the second connection never waits");
        std::thread::yield_now();
    }
    (Fixture { port, _kept: (listener, kept) }, args)
}

#[test]
fn json_rows_say_what_each_socket_is() {
    let (fixture, args) = fixture();
    let rows = rows(&SocketsArgs { pids: true, ..args });
    assert_eq!(rows.len(), 5, "{rows:#?}");
    let of = |direction: &str| rows.iter().filter(|row| row["direction"] == direction).collect::<Vec<_>>();
    let listener = rows.iter().find(|row| row["state"] == "LISTEN").unwrap();
    assert_eq!((&listener["waiting_connections"], &listener["local_port"]), (&1.into(), &fixture.port.into()));
    assert_eq!(listener["owners"][0]["pid"], std::process::id());
    assert!(listener.get("tcp_info").is_none() && listener["drops"] == 0);
    assert_eq!((of("in").len(), of("out").len()), (2, 2));
    let waiting: Vec<_> = of("in").into_iter().filter(|row| row["waits_for_accept"] == true).collect();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].get("owners").is_none() && waiting[0].get("inode").is_none());
    assert!(of("out").iter().all(|row| row["tcp_info"]["rtt_us"].is_u64() && row["owners"][0]["pid"].is_u64()));
}

#[test]
fn a_wildcard_of_both_families_is_no_wildcard_of_ipv6() {
    let scenario = [(Some(false), "*:"), (Some(true), "[::]:"), (None, "")];
    for (v6_only, begin) in scenario {
        let Some(listener) = bind_both(v6_only) else {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "skipped: a_wildcard_of_both_families: no IPv6 here");
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let args = SocketsArgs { port: vec![port.to_string()], listening: true, ..SocketsArgs::default() };
        let text = output(&args, None);
        let wanted = if begin.is_empty() { format!("0.0.0.0:{port}") } else { format!("{begin}{port}") };
        assert!(text.split_whitespace().any(|word| word == wanted), "{wanted}: {text}");
    }
}

/// A listener on all addresses: of both families, of IPv6 alone, or (`None`) of IPv4.
fn bind_both(v6_only: Option<bool>) -> Option<TcpListener> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let family = if v6_only.is_some() { AddressFamily::INET6 } else { AddressFamily::INET };
    let fd = socket(family, SocketType::STREAM, None).ok()?;
    let at: std::net::SocketAddr = match v6_only {
        Some(only) => {
            sockopt::set_ipv6_v6only(&fd, only).ok()?;
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        }
        None => (Ipv4Addr::UNSPECIFIED, 0).into(),
    };
    bind(&fd, &at).ok()?;
    listen(&fd, 1).ok()?;
    Some(fd.into())
}

#[test]
fn ndjson_is_one_object_a_line() {
    let (_fixture, args) = fixture();
    let text = output(&SocketsArgs { format: Some(Format::Ndjson), ..args }, None);
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().filter(|row| row.get("protocol").is_some()).count(), 5);
}

#[test]
fn filters_leave_what_they_name() {
    let (fixture, args) = fixture();
    let count = |change: fn(&mut SocketsArgs)| {
        let mut args = args.clone();
        change(&mut args);
        rows(&args).len()
    };
    assert_eq!(count(|args| args.listening = true), 1);
    assert_eq!(count(|args| args.direction = Some(Direction::In)), 2);
    assert_eq!(count(|args| args.direction = Some(Direction::Out)), 2);
    assert_eq!(count(|args| args.state = vec!["estab".into()]), 4);
    assert_eq!(count(|args| args.peer = vec!["127.0.0.0/8".into()]), 4);
    assert_eq!(count(|args| args.peer = vec!["192.0.2.0/24".into(), "127.0.0.1".into()]), 4);
    assert_eq!(count(|args| args.peer = vec!["192.0.2.0/24".into()]), 0);
    assert_eq!(count(|args| args.udp = true), 0);
    assert_eq!(count(|args| args.unit = Some("no-such-unit.service".into())), 0);
    assert_eq!(count(|args| args.process = Some("no-such-process".into())), 0);
    assert_eq!(count(|args| args.limit = Some(2)), 2);
    assert!(fixture.port > 0);
}

#[test]
fn groups_count_everything_once() {
    let (fixture, args) = fixture();
    let groups = |by| rows(&SocketsArgs { by: Some(by), ..args.clone() });
    let remote = groups(By::Remote);
    assert_eq!((remote.len(), &remote[0]["name"], &remote[0]["sockets"]), (1, &"127.0.0.1".into(), &4.into()));
    assert_eq!((&remote[0]["established"], &remote[0]["waiting"]), (&3.into(), &1.into()));
    assert_eq!(groups(By::Network)[0]["name"], "127.0.0.0/24");
    let services = groups(By::Service);
    let names: Vec<&str> = services.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, [format!("in tcp/{}", fixture.port), format!("out tcp/{}", fixture.port)]);
    assert_eq!((&services[0]["sockets"], &services[0]["listening"]), (&3.into(), &1.into()));
    for by in [By::State, By::Unit, By::Process] {
        let sum: u64 = groups(by).iter().map(|row| row["sockets"].as_u64().unwrap()).sum();
        assert_eq!(sum, 5, "{by:?}");
    }
}

#[test]
fn text_is_a_line_a_socket_and_fits_a_terminal() {
    let (fixture, args) = fixture();
    let text = output(&SocketsArgs { info: true, pids: true, ..args.clone() }, None);
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.contains("waiting for accept") && text.contains("RTT-MS"), "{text}");
    assert!(text.contains(&format!("{}/", std::process::id())), "{text}");
    assert!(text.lines().nth(1).unwrap().contains(&format!("127.0.0.1:{}", fixture.port)), "listeners first: {text}");
    let narrow = Terminal { columns: 50, rows: 24 };
    let text = output(&SocketsArgs { info: true, pids: true, ..args.clone() }, Some(narrow));
    assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
    let text = output(&SocketsArgs { sort: Some(Sort::RecvQ), ..args }, None);
    let queues: Vec<u32> =
        text.lines().skip(1).map(|line| line.split_ascii_whitespace().nth(2).unwrap().parse().unwrap()).collect();
    assert!(queues.is_sorted_by(|a, b| a >= b), "{text}");
}

#[test]
fn a_small_terminal_gets_sums_and_how_to_see_all() {
    let (_fixture, args) = fixture();
    let tiny = Terminal { columns: 100, rows: 6 };
    let text = output(&args, Some(tiny));
    assert!(text.contains("5 sockets: ") && text.contains("--all") && text.contains("REMOTE"), "{text}");
    let all = output(&SocketsArgs { all: true, ..args }, Some(tiny));
    assert_eq!(all.lines().count(), 6);
}

#[test]
fn a_process_name_cannot_steer_the_terminal() {
    let (_fixture, args) = fixture();
    let before = std::fs::read("/proc/self/comm").unwrap();
    std::fs::write("/proc/self/comm", b"ev\x1b[2J\"il").unwrap();
    let args = SocketsArgs { pids: true, process: Some("ev*il".into()), ..args };
    let text = output(&args, None);
    let json = rows(&args);
    std::fs::write("/proc/self/comm", before.trim_ascii()).unwrap();
    assert!(!text.contains('\x1b') && text.contains("ev\\u{1b}[2J\"il"), "{text}");
    assert_eq!(json.len(), 4, "the listener and what is accepted or ours: {json:#?}");
    assert_eq!(json[0]["owners"][0]["process"], "ev\\u{1b}[2J\"il");
}

#[test]
fn nonsense_is_usage_and_a_closed_pipe_is_an_error_to_the_caller() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let args = SocketsArgs { state: vec!["open".into()], ..SocketsArgs::default() };
    assert_eq!(run(&args, Format::Text, &Place::default(), &mut Vec::new(), None, false).unwrap(), 64);
    let error = run(&SocketsArgs::default(), Format::Text, &Place::default(), &mut Closed, None, false).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}
