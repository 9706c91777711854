//! Generated rulesets and packets: what we say against what the kernel does.
//!
//! The rulesets are loaded into a network namespace, real packets are sent through it (`kernel/driver.py`), and what arrives is
//! compared with what was said of the very ruleset that the kernel then had. We may say `unknown` now and then; we may never say
//! that a packet passes which does not, or the other way round.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

#[path = "kernel/admins.rs"]
mod admins;
#[path = "kernel/generate.rs"]
mod generate;
#[path = "kernel/rare.rs"]
mod rare;

use data_encoding::HEXLOWER;
use generate::{Dice, Sent};
use mxray_firewall::{Family, InterfaceFacts, RouteFacts, Ruleset, Surroundings, evaluate, legacy, nft};
use mxray_model::evidence::{Direction, FilterAnswer, FilterVerdict, Packet};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const TEST: &str = "what_we_say_is_what_the_kernel_does";

/// The driver in a namespace of its own.
struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    surroundings: Surroundings,
}

impl Driver {
    /// `Err`: why it cannot run here.
    fn start() -> Result<Driver, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/driver.py");
        let mut child = Command::new("unshare")
            .args(["--net", "python3", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let Ok(hello) = serde_json::from_str::<Value>(&line) else {
            let done = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(said.lines().last().unwrap_or("the driver says nothing").to_owned());
        };
        Ok(Driver { child, input, output, surroundings: surroundings(&hello["indexes"]) })
    }

    fn play(&mut self, case: &Value) -> Value {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{case}").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the driver ended at {case}"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn surroundings(indexes: &Value) -> Surroundings {
    let interface = |name: &str, kind, addresses: &[(&str, u8)]| {
        let facts = InterfaceFacts {
            index: indexes[name].as_u64().and_then(|index| u32::try_from(index).ok()),
            kind: Some(kind),
            addresses: addresses.iter().map(|(address, len)| (address.parse().unwrap(), *len)).collect(),
        };
        (name.to_owned(), facts)
    };
    let route = |prefix: &str, len, name: &str| RouteFacts {
        prefix: (prefix.parse().unwrap(), len),
        interface: Some(name.to_owned()),
        metric: 0,
    };
    Surroundings {
        interfaces: [
            interface("lo", 772, &[("127.0.0.1", 8), ("::1", 128)]),
            interface("a0", 1, &[("10.9.1.1", 24), ("fd09:1::1", 64)]),
            interface("a1", 1, &[("10.9.2.1", 24), ("fd09:2::1", 64)]),
        ]
        .into(),
        routes: Some(vec![
            route("10.9.1.0", 24, "a0"),
            route("10.9.2.0", 24, "a1"),
            route("10.8.0.0", 24, "a0"),
            route("fd09:1::", 64, "a0"),
            route("fd09:2::", 64, "a1"),
            route("fd08::", 64, "a0"),
        ]),
        policy_routing: false,
        cgroups: [].into(),
    }
}

fn question(sent: &Sent, around: &Surroundings) -> Packet {
    let destination: IpAddr = sent.destination.parse().unwrap();
    let own = around.is_own(destination) == Some(true);
    let direction = match (sent.from, own) {
        ("a", _) => Direction::Out,
        (_, true) => Direction::In,
        (_, false) => Direction::Forward,
    };
    let through = |out: bool| {
        let route = around.route(destination, None).flatten().and_then(|route| route.interface.clone());
        if own && out { Some("lo".to_owned()) } else { route }
    };
    let came = match sent.from {
        "b" => Some("a0".to_owned()),
        "c" => Some("a1".to_owned()),
        _ => None,
    };
    let from_here = direction == Direction::Out;
    Packet {
        direction,
        protocol: if sent.tcp { "tcp" } else { "udp" }.to_owned(),
        source: sent.source.parse().unwrap(),
        destination,
        source_port: Some(sent.source_port),
        destination_port: Some(sent.destination_port),
        interface_in: came,
        interface_out: if direction == Direction::In { None } else { through(from_here) },
        state: "new".to_owned(),
        uid: from_here.then_some(sent.uid),
        gid: from_here.then_some(sent.gid),
        mark: sent.mark,
        cgroup: None,
    }
}

fn host_of(address: IpAddr) -> &'static str {
    match address.to_string().as_str() {
        "10.9.1.2" | "10.8.0.5" | "fd09:1::2" | "fd08::5" => "b",
        "10.9.2.2" | "fd09:2::2" => "c",
        _ => "a",
    }
}

/// What is wrong with an answer, by what became of the packet.
fn wrong(answer: &FilterAnswer, became: &Value) -> Option<String> {
    let arrived = became.get("host").is_some();
    let answered = became.get("error").and_then(Value::as_str).is_some_and(|error| error != "EPERM");
    match &answer.verdict {
        FilterVerdict::Unknown { .. } => None,
        FilterVerdict::Pass => {
            let packet = &answer.packet;
            let rewritten = answer.rewritten_to.as_ref();
            let address = rewritten.and_then(|to| to.address).unwrap_or(packet.destination);
            let port = rewritten.and_then(|to| to.port).or(packet.destination_port);
            let expected = json!({"host": host_of(address), "port": port});
            (*became != expected).then(|| format!("passes to {expected}"))
        }
        // That it is stopped is certain; how, where a rule that only may match rejects it, is not.
        FilterVerdict::Drop if !arrived && answer.walk.iter().any(|step| step.said.starts_with("reject")) => None,
        FilterVerdict::Drop | FilterVerdict::Queue => (arrived || answered).then(|| "drops".to_owned()),
        FilterVerdict::Reject { with } => arrived.then(|| format!("rejects with {with}")),
    }
}

fn rulesets(played: &Value) -> Vec<Ruleset> {
    let mut decoder = nft::Decoder::new();
    for message in played["messages"].as_array().unwrap() {
        let fed = decoder.feed(&HEXLOWER.decode(message.as_str().unwrap().as_bytes()).unwrap());
        assert_eq!(fed.error, None);
    }
    let mut all = vec![decoder.finish()];
    assert_eq!(all[0].left_out, []);
    for (family, key) in [(Family::Ip, "save4"), (Family::Ip6, "save6")] {
        let ruleset = legacy::parse(family, &mut played[key].as_str().unwrap().as_bytes());
        assert_eq!(ruleset.left_out, [], "{}", played[key]);
        all.push(ruleset);
    }
    all
}

/// Packets in the driver's words.
fn told(packets: &[Sent]) -> Vec<Value> {
    packets
        .iter()
        .map(|sent| {
            json!({"from": sent.from, "protocol": if sent.tcp { "tcp" } else { "udp" }, "source": sent.source,
                "destination": sent.destination, "source_port": sent.source_port,
                "destination_port": sent.destination_port, "uid": sent.uid, "gid": sent.gid, "mark": sent.mark})
        })
        .collect()
}

/// One ruleset with its packets, in the driver's words.
fn case(kind: &str, seed: u64, packets: &[Sent], patience: u32) -> Value {
    let mut dice = Dice::new(seed);
    let sent = told(packets);
    match kind {
        "nft" => json!({"kind": kind, "text": generate::nft(&mut dice), "packets": sent, "patience": patience}),
        _ => {
            let four = generate::iptables(&mut dice, false, kind == "legacy");
            let six = generate::iptables(&mut dice, true, kind == "legacy");
            json!({"kind": kind, "text4": four, "text6": six, "packets": sent, "patience": patience})
        }
    }
}

#[derive(Default)]
struct Count {
    loaded: usize,
    refused: usize,
    packets: usize,
    passed: usize,
    stopped: usize,
    unknown: usize,
    wrong: Vec<String>,
    why: std::collections::BTreeMap<String, usize>,
    refusals: std::collections::BTreeMap<String, usize>,
}

/// Plays one ruleset; where something is wrong, once more with patience, for a packet that was late.
fn play(driver: &mut Driver, kind: &str, seed: u64, next_port: &mut u16, count: &mut Count) {
    let around = driver.surroundings.clone();
    for patience in [12, 500] {
        let mut dice = Dice::new(seed ^ 0xffff);
        let packets: Vec<Sent> = (0..12)
            .map(|_| {
                *next_port = if *next_port >= 60_000 { 20_000 } else { *next_port + 1 };
                generate::packet(&mut dice, *next_port)
            })
            .collect();
        let asked = case(kind, seed, &packets, patience);
        let played = driver.play(&asked);
        if let Some(why) = played.get("refused") {
            count.refused += 1;
            let why = why.as_str().unwrap();
            *count.refusals.entry(why.lines().next().unwrap_or("").chars().skip(25).take(90).collect()).or_default() +=
                1;
            return;
        }
        let rulesets = rulesets(&played);
        let mut found = Vec::new();
        let answers: Vec<FilterAnswer> =
            packets.iter().map(|sent| evaluate(&rulesets, &question(sent, &around), &around)).collect();
        for (sent, answer) in packets.iter().zip(&answers) {
            let became = played["packets"].get(sent.source_port.to_string()).cloned().unwrap_or(Value::Null);
            if let Some(said) = wrong(answer, &became) {
                let text = asked.get("text").or(asked.get("text4")).and_then(Value::as_str).unwrap();
                let six = asked.get("text6").and_then(Value::as_str).unwrap_or_default();
                found.push(format!(
                    "{kind} seed {seed}: {sent:?}\nwe say it {said}, it became {became}\n{text}{six}\n{:#?}",
                    answer
                        .walk
                        .iter()
                        .map(|step| format!(
                            "{} {}: {} ({})",
                            step.table,
                            step.chain,
                            step.said,
                            step.rule.as_ref().map_or(String::new(), |rule| format!("{} {}", rule.position, rule.text))
                        ))
                        .collect::<Vec<_>>()
                ));
            }
        }
        if !found.is_empty() && patience < 100 {
            continue;
        }
        count.loaded += 1;
        for answer in &answers {
            count.packets += 1;
            match &answer.verdict {
                FilterVerdict::Pass => count.passed += 1,
                FilterVerdict::Unknown { why } => {
                    count.unknown += 1;
                    *count.why.entry(why.why()).or_default() += 1;
                }
                _ => count.stopped += 1,
            }
        }
        count.wrong.extend(found);
        return;
    }
}

fn present(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|done| done.success())
}

#[test]
fn what_we_say_is_what_the_kernel_does() {
    let mut stderr = std::io::stderr();
    if !present("nft") {
        let _ = writeln!(stderr, "skipped: {TEST}: nft is not installed");
        return;
    }
    let mut driver = match Driver::start() {
        Ok(driver) => driver,
        Err(why) => {
            let _ = writeln!(stderr, "skipped: {TEST}: {why}");
            return;
        }
    };
    let first: u64 = std::env::var("MXRAY_FIREWALL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds: u64 = std::env::var("MXRAY_FIREWALL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let mut next_port = 20_000;
    let mut wrong = Vec::new();
    let kinds = [("nft", "nft", rounds), ("legacy", "iptables-legacy", rounds / 4), ("xt", "iptables-nft", rounds / 4)];
    for (kind, program, rounds) in kinds {
        if !present(program) {
            let _ = writeln!(stderr, "skipped: {TEST}: rulesets of {program}: it is not installed");
            continue;
        }
        let mut count = Count::default();
        let wanted = usize::try_from(rounds).unwrap();
        for seed in first..first + 3 * rounds {
            if count.loaded == wanted {
                break;
            }
            play(&mut driver, kind, seed, &mut next_port, &mut count);
        }
        let _ = writeln!(
            stderr,
            "{program}: {} rulesets ({} more refused), {} packets: {} pass, {} are stopped, {} unknown {:?}",
            count.loaded, count.refused, count.packets, count.passed, count.stopped, count.unknown, count.why
        );
        wrong.append(&mut count.wrong);
        if !wrong.is_empty() {
            continue;
        }
        assert!(count.loaded == wanted, "{} rulesets; refused: {:?}", count.loaded, count.refusals);
        assert!(count.unknown * 20 < count.packets, "too much is unknown: {:?}", count.why);
        assert!(count.passed * 10 > count.packets && count.stopped * 10 > count.packets, "nothing is compared");
    }
    assert!(
        wrong.is_empty(),
        "{} wrong answers; the first:\n{}",
        wrong.len(),
        wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n\n")
    );
}

/// Plays a ruleset that somebody wrote; gives what is wrong, and how many packets are unknown.
fn play_written(driver: &mut Driver, written: &admins::Written, first_port: u16) -> (Vec<String>, Vec<String>) {
    let around = driver.surroundings.clone();
    let packets: Vec<Sent> = (first_port..)
        .zip(admins::PACKETS)
        .map(|(source_port, (from, tcp, source, destination, destination_port, uid, gid))| Sent {
            from,
            tcp: *tcp,
            source,
            destination,
            source_port,
            destination_port: *destination_port,
            uid: *uid,
            gid: *gid,
            mark: 0,
        })
        .collect();
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for patience in [15, 500] {
        let (text, six) = (&written.text, &written.six);
        let case = json!({"kind": written.kind, "text": text, "text4": text, "text6": six, "packets": told(&packets), "patience": patience});
        let played = driver.play(&case);
        assert!(played.get("refused").is_none(), "{}: {played}", written.name);
        let rulesets = rulesets(&played);
        found.clear();
        unknown.clear();
        for sent in &packets {
            let answer = evaluate(&rulesets, &question(sent, &around), &around);
            let became = played["packets"].get(sent.source_port.to_string()).cloned().unwrap_or(Value::Null);
            if let FilterVerdict::Unknown { why } = &answer.verdict {
                unknown.push(format!("{sent:?}: {}", why.why()));
            }
            if let Some(said) = wrong(&answer, &became) {
                let steps: Vec<String> =
                    answer.walk.iter().map(|step| format!("{} {}: {}", step.table, step.chain, step.said)).collect();
                found.push(format!("{}: {sent:?}\nwe say it {said}, it became {became}\n{steps:#?}", written.name));
            }
        }
        if found.is_empty() {
            break;
        }
    }
    (found, unknown)
}

#[test]
fn rulesets_that_people_write() {
    let test = "rulesets_that_people_write";
    let mut stderr = std::io::stderr();
    let mut driver = match Driver::start() {
        Ok(driver) if present("nft") => driver,
        Ok(_) => return drop(writeln!(stderr, "skipped: {test}: nft is not installed")),
        Err(why) => return drop(writeln!(stderr, "skipped: {test}: {why}")),
    };
    let mut bad = Vec::new();
    let all = admins::all();
    for (at, written) in all.iter().enumerate() {
        let program = match written.kind {
            "legacy" => "iptables-legacy",
            "xt" => "iptables-nft",
            _ => "nft",
        };
        if !present(program) {
            let _ = writeln!(stderr, "skipped: {test}: {}: {program} is not installed", written.name);
            continue;
        }
        let first = 30_000 + u16::try_from(at * admins::PACKETS.len()).unwrap();
        let (wrong, unknown) = play_written(&mut driver, written, first);
        bad.extend(wrong);
        if unknown.len() > written.unknown {
            bad.push(format!("{}: unknown: {unknown:#?}", written.name));
        }
    }
    assert!(bad.is_empty(), "{} of {} packets:\n{}", bad.len(), all.len() * admins::PACKETS.len(), bad.join("\n\n"));
}

/// What few rules have is written in plainer words than nft's.
const IN_OTHER_WORDS: [&str; 9] =
    ["jhash", "meter ", "ackseq", "ttl set", "dscp set", "dport set", "daddr set", "tcp option", " level "];

/// Rules of many kinds, as `nft --stateless list ruleset` writes them.
const WRITTEN: &str = include_str!("kernel/written.nft");

/// The rules of each chain in a listing, by table and chain.
fn listed(text: &str) -> Vec<(String, Vec<String>)> {
    let mut chains: Vec<(String, Vec<String>)> = Vec::new();
    let mut table = String::new();
    let mut inside = false;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {").to_owned();
        } else if let Some(name) = line.strip_prefix("chain ") {
            chains.push((format!("{table} {}", name.trim_end_matches(" {")), Vec::new()));
            inside = true;
        } else if line == "}" {
            inside = false;
        } else if inside && !line.is_empty() && !line.starts_with("type ") {
            let mut rule = line.to_owned();
            // A set is broken into lines.
            while rule.matches('{').count() > rule.matches('}').count() {
                rule = format!("{} {}", rule.trim_end(), lines.next().unwrap());
            }
            chains.last_mut().unwrap().1.push(rule.replace('\t', " "));
        }
    }
    chains
}

/// Without what nft says twice of a reset, and sorted.
fn plain(rule: &str) -> String {
    sorted(&rule.replace("meta l4proto tcp reject with tcp", "reject with tcp"))
}

/// The same with the elements of sets in one order: a set of concatenations has none.
fn sorted(rule: &str) -> String {
    let mut out = String::new();
    for (at, piece) in rule.split('{').enumerate() {
        let (inside, after) = if at == 0 { ("", piece) } else { piece.split_once('}').unwrap_or((piece, "")) };
        let mut elements: Vec<&str> = inside.split(',').map(str::trim).collect();
        elements.sort_unstable();
        out.push_str(&elements.join(", "));
        out.push_str(after);
    }
    out
}

fn ours(ruleset: &Ruleset) -> Vec<(String, Vec<String>)> {
    let of = |table: &mxray_firewall::Table| {
        let name = format!("{} {}", table.family.name(), table.name);
        let rules = |chain: &mxray_firewall::Chain| chain.rules.iter().map(|rule| table.text(rule)).collect();
        table.chains.iter().map(|chain| (format!("{name} {}", chain.name), rules(chain))).collect::<Vec<_>>()
    };
    ruleset.tables.iter().flat_map(of).collect()
}

/// nft's own decoder reads the same: tables, chains with hook and priority, handles, numbers of elements.
fn compare_json(ruleset: &Ruleset, listing: &Value) {
    let mut theirs: Vec<String> = Vec::new();
    for object in listing["nftables"].as_array().unwrap() {
        if let Some(chain) = object.get("chain") {
            let hook = chain.get("hook").map_or(String::new(), |hook| {
                format!(
                    " {} {} {} {}",
                    hook.as_str().unwrap(),
                    chain["prio"],
                    chain["type"].as_str().unwrap(),
                    chain["policy"].as_str().unwrap()
                )
            });
            theirs.push(format!(
                "chain {} {} {}{hook}",
                chain["family"].as_str().unwrap(),
                chain["table"].as_str().unwrap(),
                chain["name"].as_str().unwrap()
            ));
        }
        if let Some(rule) = object.get("rule") {
            theirs.push(format!(
                "rule {} {} {}",
                rule["chain"].as_str().unwrap(),
                rule["handle"],
                rule.get("comment").unwrap_or(&Value::Null)
            ));
        }
        if let Some(set) = object.get("set") {
            let count = set.get("elem").and_then(Value::as_array).map_or(0, Vec::len);
            theirs.push(format!("set {} {count}", set["name"].as_str().unwrap()));
        }
    }
    let mut own: Vec<String> = Vec::new();
    for table in &ruleset.tables {
        for chain in &table.chains {
            let base = chain.base.as_ref().map_or(String::new(), |base| {
                let (kind, policy) =
                    (format!("{:?}", base.kind).to_lowercase(), format!("{:?}", base.policy).to_lowercase());
                format!(" {} {} {kind} {policy}", base.hook.name(), base.priority)
            });
            own.push(format!("chain {} {} {}{base}", table.family.name(), table.name, chain.name));
            for rule in &chain.rules {
                own.push(format!("rule {} {} {}", chain.name, rule.handle.unwrap(), json!(rule.comment)));
            }
        }
        for set in table.sets.iter().filter(|set| !set.anonymous && !set.map) {
            let count = set.elements.iter().filter(|element| !element.interval_end).count();
            own.push(format!("set {} {count}", set.name));
        }
    }
    theirs.sort();
    own.sort();
    assert_eq!(own, theirs);
}

#[test]
fn our_words_are_nfts_own() {
    let test = "our_words_are_nfts_own";
    if !present("nft") {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: nft is not installed");
        return;
    }
    let mut driver = match Driver::start() {
        Ok(driver) => driver,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
            return;
        }
    };
    let mut differ = Vec::new();
    let mut same = 0;
    let texts = std::iter::once(WRITTEN.to_owned()).chain((900..930).map(|seed| generate::nft(&mut Dice::new(seed))));
    for (at, text) in texts.enumerate() {
        let played = driver.play(&json!({"kind": "nft", "text": text, "packets": [], "patience": 0, "list": true}));
        if let Some(why) = played.get("refused") {
            assert!(at > 0, "{why}");
            continue;
        }
        let ruleset = rulesets(&played).swap_remove(0);
        compare_json(&ruleset, &played["json"]);
        let theirs = listed(played["list"].as_str().unwrap());
        for ((chain, theirs), (name, ours)) in theirs.iter().zip(ours(&ruleset)) {
            assert_eq!(*chain, name);
            assert_eq!(theirs.len(), ours.len(), "{chain}");
            for (theirs, ours) in theirs.iter().zip(ours) {
                // nft asks the system for an interface's name, and writes a comment beside the rule.
                if IN_OTHER_WORDS.iter().any(|words| theirs.contains(words)) {
                    continue;
                }
                let theirs = theirs
                    .split(" comment \"")
                    .next()
                    .unwrap()
                    .replace("iif \"lo\"", "iif 1")
                    .replace("oif \"a0\"", "oif 3");
                if plain(&theirs) == plain(&ours) { same += 1 } else { differ.push(format!("{theirs}\n{ours}\n")) }
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "{same} rules in the same words");
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), same + differ.len(), differ.join("\n"));
}
