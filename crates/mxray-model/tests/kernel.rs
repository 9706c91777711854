//! `binding::together` beside the kernel: every pair of addresses, families, options, users and interfaces is bound in a network
//! namespace of its own, and where both sockets work, connections show who gets them.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use mxray_model::binding::{Binding, Holder, Together, together};
use serde_json::{Value, json};
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

const SCRIPT: &str = include_str!("bind_pairs.py");
const EADDRINUSE: i64 = 98;

/// Every kind of address: wildcards, loopback, specific ones, mapped ones.
const SOCKETS: &[(&str, bool)] = &[
    ("0.0.0.0", false),
    ("127.0.0.1", false),
    ("127.0.0.2", false),
    ("192.0.2.1", false),
    ("::", false),
    ("::", true),
    ("::1", false),
    ("::1", true),
    ("2001:db8::1", false),
    ("::ffff:0.0.0.0", false),
    ("::ffff:127.0.0.1", false),
    ("::ffff:192.0.2.1", false),
];

/// Runs the script in a namespace of its own, or says why not.
fn bound(test: &str, prepare: &str, cases: &[Value]) -> Option<Vec<Value>> {
    let set_up = format!(
        "set -e; ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo nodad; {prepare}\n\
         exec python3 -c \"$SCRIPT\""
    );
    let child = Command::new("unshare")
        .args(["--net", "sh", "-c", &set_up])
        .env("SCRIPT", SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let done = child.and_then(|mut child| {
        let mut input = child.stdin.take().unwrap();
        let text = serde_json::to_string(cases).unwrap();
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let done = child.wait_with_output();
        // Where it ended before it read, the writer's broken pipe says nothing more.
        let _ = writer.join();
        done
    });
    let why = match done {
        Ok(done) if done.status.success() => return Some(serde_json::from_slice(&done.stdout).unwrap()),
        Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(!why.contains("Traceback"), "{why}");
    let _ = writeln!(std::io::stderr(), "skipped: {test}: no network namespace like that here: {why}");
    None
}

fn socket(protocol: &str, (address, v6_only): (&str, bool)) -> Binding {
    Binding { v6_only, ..Binding::new(protocol, address.parse().unwrap(), 4025) }
}

fn asked(pair: &[Binding; 2], destinations: &[IpAddr]) -> Value {
    let told = |socket: &Binding| {
        json!({
            "protocol": socket.protocol, "address": socket.address, "v6_only": socket.v6_only,
            "reuse_port": socket.reuse_port, "uid": socket.uid, "device": socket.device,
        })
    };
    json!([[told(&pair[0]), told(&pair[1])], destinations])
}

/// All pairs of addresses in both orders, times what `vary` makes of each pair.
fn pairs(protocol: &str, vary: impl Fn(&Binding, &Binding) -> Vec<[Binding; 2]>) -> Vec<[Binding; 2]> {
    let both = SOCKETS.iter().flat_map(|first| SOCKETS.iter().map(move |second| (*first, *second)));
    both.flat_map(|(first, second)| vary(&socket(protocol, first), &socket(protocol, second))).collect()
}

fn by_reuse_and_user(first: &Binding, second: &Binding) -> Vec<[Binding; 2]> {
    let made = [(false, false, 0), (true, false, 0), (false, true, 0), (true, true, 0), (true, true, 65_534)];
    let with = |(one, two, uid): (bool, bool, u32)| {
        [Binding { reuse_port: one, uid, ..first.clone() }, Binding { reuse_port: two, ..second.clone() }]
    };
    made.into_iter().map(with).collect()
}

fn compare(pair: &[Binding; 2], answer: &Value) {
    let said = together(&pair[0], &pair[1]);
    assert_eq!(said, together(&pair[1], &pair[0]), "the order must not matter: {pair:?}");
    let errno = answer[0].as_i64().unwrap_or_else(|| panic!("the first could not be bound: {pair:?}"));
    let expected = if said == Together::Refused { EADDRINUSE } else { 0 };
    assert_eq!(errno, expected, "we said {said:?}: {pair:?}");
    for (destination, got) in answer[1].as_object().unwrap() {
        let (one, two) = (got[0].as_u64().unwrap(), got[1].as_u64().unwrap());
        match said {
            Together::Shared => assert!(one > 0 && two > 0, "{destination}: {one} and {two} of {pair:?}"),
            Together::Divided => assert!((one > 0) ^ (two > 0), "{destination}: {one} and {two} of {pair:?}"),
            Together::Apart | Together::Refused => panic!("both take {destination}: {pair:?}"),
        }
    }
}

#[test]
fn every_pair_does_what_the_kernel_does() {
    let test = "every_pair_does_what_the_kernel_does";
    let everywhere: Vec<IpAddr> =
        ["127.0.0.1", "127.0.0.2", "192.0.2.1", "::1", "2001:db8::1"].map(|text| text.parse().unwrap()).into();
    let mut all = pairs("tcp", by_reuse_and_user);
    all.extend(pairs("udp", by_reuse_and_user));
    let cases: Vec<Value> = all
        .iter()
        .map(|pair| {
            let dealt = pair[0].protocol == "tcp" && together(&pair[0], &pair[1]) != Together::Refused;
            let common = |to: &&IpAddr| dealt && pair.iter().all(|socket| socket.takes(**to));
            asked(pair, &everywhere.iter().filter(common).copied().collect::<Vec<_>>())
        })
        .collect();
    let Some(answers) = bound(test, "true", &cases) else { return };
    assert_eq!(answers.len(), all.len());
    all.iter().zip(&answers).for_each(|(pair, answer)| compare(pair, answer));
    assert!(answers.iter().any(|answer| answer[1].as_object().is_some_and(|deals| !deals.is_empty())));
}

#[test]
fn interfaces_and_vrfs_do_what_the_kernel_does() {
    let test = "interfaces_and_vrfs_do_what_the_kernel_does";
    let veth = "ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up;";
    let on = |socket: &Binding, device: &str, vrf: Option<&str>| Binding {
        device: Some(device.to_owned()),
        vrf: vrf.map(str::to_owned),
        ..socket.clone()
    };
    let interfaces = |first: &Binding, second: &Binding| {
        vec![
            [on(first, "d0", None), second.clone()],
            [on(first, "d0", None), on(second, "d1", None)],
            [on(first, "d0", None), on(second, "d0", None)],
        ]
    };
    let vrfs = |first: &Binding, second: &Binding| {
        vec![
            [on(first, "blue", Some("blue")), second.clone()],
            [on(first, "blue", Some("blue")), on(second, "d0", Some("blue"))],
            [on(first, "d0", Some("blue")), on(second, "d1", None)],
            [on(first, "d0", Some("blue")), second.clone()],
        ]
    };
    // Only wildcards: a single address has to be the interface's own.
    let wildcards = |pair: &[Binding; 2]| pair.iter().all(|socket| socket.address.to_canonical().is_unspecified());
    type Vary<'a> = &'a dyn Fn(&Binding, &Binding) -> Vec<[Binding; 2]>;
    let vrf = "ip link add blue type vrf table 10; ip link set blue up; ip link set d0 master blue;";
    for (name, more, vary) in [("interfaces", "", &interfaces as Vary<'_>), ("VRFs", vrf, &vrfs as Vary<'_>)] {
        let all: Vec<_> = ["tcp", "udp"].iter().flat_map(|protocol| pairs(protocol, vary)).filter(wildcards).collect();
        let cases: Vec<Value> = all.iter().map(|pair| asked(pair, &[])).collect();
        let Some(answers) = bound(&format!("{test} ({name})"), &format!("{veth} {more}"), &cases) else { continue };
        all.iter().zip(&answers).for_each(|(pair, answer)| compare(pair, answer));
    }
}

#[test]
fn an_outgoing_connection_is_in_the_way_of_a_listener() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let local = client.local_addr().unwrap();
    let holder = Holder::Outgoing(Binding::new("tcp", local.ip(), local.port()));
    for address in ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::"] {
        let address: IpAddr = address.parse().unwrap();
        // The standard library sets SO_REUSEADDR.
        let refused = match std::net::TcpListener::bind((address, local.port())) {
            Ok(_) => false,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => true,
            // No IPv6 here.
            Err(_) => continue,
        };
        let newcomer = Binding::new("tcp", address, local.port());
        assert_eq!(holder.refuses(&newcomer, true), refused, "{address}");
    }
}
