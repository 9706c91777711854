//! The plan beside the kernel: situations are made in a network namespace, the plan is asked there, and then a process of that user
//! really binds and listens. A yes has to work, a no has to be refused.

use super::decide::{Answer, decide};
use super::facts::Facts;
use super::look::fill_holders;
use super::wish::{LowPorts, Starter, Wish};
use mxray_host::{kernel, mta, vantage};
use mxray_model::Seen;
use mxray_model::evidence::{Exposure, V6Policy};
use mxray_sys::namespace::NetworkNamespace;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = include_str!("situations.py");
/// Each takes some milliseconds.
const SITUATIONS: usize = 400;
const NOBODY: u32 = 65_534;

/// A named namespace that goes with the value.
struct Namespace(String);

impl Namespace {
    fn new() -> Result<Namespace, String> {
        let name = format!("mxray-plan-{}", std::process::id());
        let run = |words: &[&str]| {
            let done = Command::new("ip").args(words).output().map_err(|error| error.to_string())?;
            done.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&done.stderr).trim().to_owned())
        };
        run(&["netns", "add", &name])?;
        let made = Namespace(name);
        let name = made.0.as_str();
        run(&["-n", name, "link", "set", "lo", "up"])?;
        run(&["-n", name, "addr", "add", "192.0.2.1/32", "dev", "lo"])?;
        run(&["-n", name, "addr", "add", "2001:db8::1/128", "dev", "lo", "nodad"])?;
        Ok(made)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// The process that makes situations.
struct Maker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Maker {
    fn start(namespace: &Namespace) -> Result<Maker, String> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &namespace.0, "python3", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut maker = Maker { child, to, from };
        maker.ask(&json!({}))?;
        Ok(maker)
    }

    fn ask(&mut self, order: &Value) -> Result<Value, String> {
        writeln!(self.to, "{order}").map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same numbers each time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const HELD: &[&str] = &["0.0.0.0", "127.0.0.1", "127.0.0.2", "192.0.2.1", "::", "::1", "2001:db8::1"];

fn holders(random: &mut Random, protocol: &str) -> Vec<Value> {
    let count = random.one(&[0, 1, 1, 1, 2, 2, 3]);
    let mut chosen = false;
    (0..count)
        .map(|_| {
            let tcp: &[&str] = &["listen", "listen", "listen", "bound", "left", "outgoing", "time_wait"];
            let mut kind = if protocol == "tcp" { random.one(tcp) } else { "bound" };
            // The kernel chooses one port only.
            if matches!(kind, "outgoing" | "time_wait") && std::mem::replace(&mut chosen, true) {
                kind = "listen";
            }
            let address = match kind {
                "outgoing" | "time_wait" => random.one(&["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"]),
                "left" => random.one(&["0.0.0.0", "127.0.0.1", "::1"]),
                _ => random.one(HELD),
            };
            json!({
                "kind": kind, "protocol": protocol, "address": address, "v6_only": random.one(&[true, false]),
                "reuse_port": random.one(&[true, false]), "uid": random.one(&[0, NOBODY]),
            })
        })
        .collect()
}

fn wish(random: &mut Random, protocol: &str) -> Wish {
    let lists: &[&[&str]] = &[
        &[],
        &[],
        &["0.0.0.0"],
        &["127.0.0.1"],
        &["192.0.2.1"],
        &["127.0.0.3"],
        &["192.0.2.99"],
        &["::"],
        &["::1"],
        &["2001:db8::1"],
        &["2001:db8::99"],
        &["0.0.0.0", "127.0.0.1"],
        &["0.0.0.0", "::"],
        &["127.0.0.1", "::1", "192.0.2.1"],
    ];
    let uid = random.one(&[0, 0, NOBODY]);
    let low_ports = match uid {
        0 => LowPorts::May { because: "it is root".to_owned() },
        _ => LowPorts::MayNot { because: "it is nobody".to_owned(), at: None },
    };
    Wish {
        service: "newcomer".to_owned(),
        protocol: protocol.to_owned(),
        port: 0,
        addresses: random.one(lists).iter().map(|text| text.parse().unwrap()).collect(),
        v6: random.one(&[V6Policy::Any, V6Policy::None, V6Policy::Dual, V6Policy::Separate]),
        reuse_port: random.one(&[false, false, true]),
        starter: Starter { uid, user: String::new(), assumed: false, unit: None, low_ports, confined: Vec::new() },
        exposure: Exposure::Public,
    }
}

/// What `ports plan` would see here.
fn facts(wish: &Wish) -> Facts {
    let mut facts = Facts {
        assignments: Seen::Absent,
        kernel: kernel::settings(),
        addresses: mta::addresses(),
        local: super::look::local(&wish.addresses),
        nonlocal_v4: kernel::nonlocal_bind(false),
        nonlocal_v6: kernel::nonlocal_bind(true),
        has_ipv6: kernel::has_ipv6(),
        bind_v6_only: kernel::bind_v6_only(),
        ..Facts::default()
    };
    fill_holders(&mut facts, &vantage::look(), &BTreeMap::new(), &|_| false);
    facts
}

#[derive(Debug, Default)]
struct Tally {
    yes: usize,
    no: usize,
    unknown: usize,
}

/// Settings of this namespace that decide about binds. Where /proc/sys may not be written, they stay as they are.
fn set(random: &mut Random) {
    let floating = random.one(&["0", "0", "1"]);
    for (setting, value) in [
        ("ipv4/ip_nonlocal_bind", floating),
        ("ipv6/ip_nonlocal_bind", floating),
        ("ipv4/ip_unprivileged_port_start", random.one(&["1024", "1024", "0", "5000"])),
        ("ipv6/bindv6only", random.one(&["0", "1"])),
    ] {
        let _ = std::fs::write(format!("/proc/sys/net/{setting}"), value);
    }
}

fn compare(maker: &mut Maker) -> Tally {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = Tally::default();
    for _ in 0..SITUATIONS {
        set(&mut random);
        let protocol = random.one(&["tcp", "tcp", "tcp", "udp"]);
        let situation = holders(&mut random, protocol);
        let port = random.one(&[4025, 4025, 4025, 25]);
        let stands = maker.ask(&json!({ "holders": situation, "port": port })).unwrap();
        let mut wish = wish(&mut random, protocol);
        wish.port = u16::try_from(stands["port"].as_u64().unwrap()).unwrap();
        let facts = facts(&wish);
        let decision = decide(&wish, &facts);
        let told: Vec<Value> =
            decision.sockets.iter().map(|one| json!({ "address": one.address, "v6_only": one.v6_only })).collect();
        let order = json!({
            "sockets": told, "protocol": protocol, "port": wish.port, "uid": wish.starter.uid, "reuse_port": wish.reuse_port,
        });
        let errno = maker.ask(&order).unwrap()["errno"].as_i64().unwrap();
        let all =
            || format!("{situation:?}\n{wish:?}\n{:?}\n{:?}\nerrno {errno}", decision.reasons, facts.at(wish.port));
        match decision.answer {
            Answer::Yes => assert_eq!(errno, 0, "the plan said yes: {}", all()),
            Answer::No => assert_ne!(errno, 0, "the plan said no: {}", all()),
            Answer::NotAfterRestart => panic!("nothing is configured here: {}", all()),
            Answer::Unknown => tally.unknown += 1,
        }
        tally.yes += usize::from(decision.answer == Answer::Yes);
        tally.no += usize::from(decision.answer == Answer::No);
        maker.ask(&json!({})).unwrap();
    }
    tally
}

#[test]
fn a_yes_works_and_a_no_is_refused() {
    let test = "a_yes_works_and_a_no_is_refused";
    let skipped = |why: &str| {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    };
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(why) => return skipped(&format!("no network namespace here: {why}")),
    };
    let mut maker = match Maker::start(&namespace) {
        Ok(maker) => maker,
        Err(why) => return skipped(&format!("python3 does not run there: {why}")),
    };
    let name = NetworkNamespace::parse(&namespace.0).unwrap();
    let thread = std::thread::spawn(move || {
        name.enter().unwrap();
        let release = vantage::look().kernel_release;
        let bound_are_seen = super::look::lists_bound(&release);
        (bound_are_seen.then(|| compare(&mut maker)), release)
    });
    let (tally, release) = thread.join().unwrap();
    let Some(tally) = tally else {
        return skipped(&format!("Linux {release} does not list sockets that are bound and do not listen"));
    };
    // All three answers come up, and few situations are beyond us.
    assert!(tally.yes > 50 && tally.no > 100, "{tally:?}");
    assert!(tally.unknown * 10 < SITUATIONS, "{tally:?}");
}

#[test]
fn an_address_is_what_was_typed() {
    assert_eq!(super::address("[::1]"), Ok("::1".parse::<IpAddr>().unwrap()));
    assert_eq!(super::address("*"), Ok("0.0.0.0".parse::<IpAddr>().unwrap()));
    assert!(super::address("mail.example.org").is_err());
    assert!(super::range("10-9").is_err() && super::range("0-9").is_err() && super::range("9-70000").is_err());
    assert_eq!(super::range("25").map(|range| (range.first, range.last)), Ok((25, 25)));
}
