//! Our answers beside those of `ip route get`, in a network namespace of our own with several tables and rules.

use super::*;
use mxray_sys::namespace::NetworkNamespace;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const SETUP: &str = "
link set lo up
link add d0 type veth peer name e0
link add d1 type veth peer name e1
link set d0 up
link set d1 up
link set e0 up
link set e1 up
address add 203.0.113.25/24 dev d0
address add 203.0.113.26/24 dev d0
address add 10.9.0.2/16 dev d1
address add 2001:db8:1::25/64 dev d0 nodad
address add 2001:db8:1::26/64 dev d0 nodad
address add fd00:9::2/64 dev d1 nodad
route add default via 203.0.113.1
route add 10.0.0.0/8 via 10.9.0.1
route add 172.16.0.0/12 via 10.9.0.3 src 10.9.0.2 mtu lock 1400
route add blackhole 96.0.0.0/4
route add prohibit 112.0.0.0/5
route add unreachable 120.0.0.0/6
route add 192.0.0.0/4 nexthop via 203.0.113.2 weight 1 nexthop via 203.0.113.3 weight 2
route add throw 64.0.0.0/4 table 107
route add 64.0.0.0/2 via 10.9.0.107 table 107
route add default via 10.9.0.7 table 70
route add blackhole 128.0.0.0/3 table 70
route add default via 203.0.113.254 table 26
route add local 198.18.0.0/15 dev lo
rule add priority 10 to 32.0.0.0/5 prohibit
rule add priority 11 to 40.0.0.0/6 unreachable
rule add priority 12 to 44.0.0.0/7 blackhole
rule add priority 20 fwmark 7 lookup 70
rule add priority 30 uidrange 107-110 lookup 107
rule add priority 40 from 203.0.113.26 lookup 26
rule add priority 50 to 48.0.0.0/6 ipproto tcp dport 25 lookup 26
route add unreachable default table 71
rule add priority 55 to 52.0.0.0/6 lookup 71 suppress_prefixlength 0
rule add priority 60 goto 70
rule add priority 70 not from all fwmark 0 lookup main suppress_prefixlength 0
";

const SETUP6: &str = "
route add default via 2001:db8:1::1
route add blackhole 3000::/8
route add prohibit 2c00::/8
route add unreachable 2d00::/8
route add 2600::/8 via fd00:9::1 mtu 1400
route add default via fd00:9::7 table 70
route add blackhole 2400::/7 table 70
route add 2400::/6 via fd00:9::107 table 107
route add default via 2001:db8:1::fe table 26
rule add priority 10 to 2e00::/8 prohibit
rule add priority 11 to 2f00::/9 unreachable
rule add priority 12 to 2f80::/9 blackhole
rule add priority 20 fwmark 7 lookup 70
rule add priority 30 uidrange 107-110 lookup 107
rule add priority 40 from 2001:db8:1::26 lookup 26
route add prohibit default table 71
rule add priority 55 to 2a00::/8 lookup 71 suppress_prefixlength 0
rule add priority 56 to 2800::/7 lookup 26 suppress_prefixlength 0
";

/// A named namespace that goes with the value.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Result<Namespace, String> {
        let name = format!("mxray-{name}-{}", std::process::id());
        let done = Command::new("ip").args(["netns", "add", &name]).output().map_err(|error| error.to_string())?;
        let namespace = Namespace(name);
        if done.status.success() { Ok(namespace) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    }

    /// Runs ip(8) on many lines, going on after a refusal.
    fn batch(&self, options: &[&str], lines: &str) -> Output {
        let mut child = Command::new("ip")
            .args(["-n", &self.0, "-force"])
            .args(options)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = lines.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let done = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        done
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// A namespace with the routes and rules of this test, or a line that says why there is none.
fn prepared(name: &str, test: &str) -> Option<Namespace> {
    let namespace = match Namespace::new(name) {
        Ok(namespace) => namespace,
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "skipped: {test}: no network namespace here: {}", error.trim());
            return None;
        }
    };
    for (options, lines) in [(&[] as &[&str], SETUP), (&["-6"], SETUP6)] {
        let done = namespace.batch(options, lines);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    Some(namespace)
}

/// Runs something in a thread of that namespace.
fn inside<T: Send + 'static>(namespace: &Namespace, work: impl FnOnce() -> T + Send + 'static) -> T {
    let name = NetworkNamespace::parse(&namespace.0).unwrap();
    let thread = std::thread::spawn(move || {
        name.enter().unwrap();
        work()
    });
    thread.join().unwrap()
}

/// The same numbers each time (xorshift64).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Destinations of all kinds, each with a user, a mark or a source of its own; different from each other.
fn questions(count: usize) -> Vec<Question> {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut found: BTreeMap<IpAddr, Question> = BTreeMap::new();
    while found.len() < count {
        let high = random(&mut state);
        let is_ipv4 = found.len().is_multiple_of(2);
        let destination: IpAddr = if is_ipv4 {
            std::net::Ipv4Addr::from_bits(u32::try_from(high >> 32).unwrap()).into()
        } else {
            std::net::Ipv6Addr::from_bits(u128::from(high >> 4 | 2 << 60) << 64 | u128::from(random(&mut state))).into()
        };
        let choice = random(&mut state) >> 16;
        let sources = if is_ipv4 { ["203.0.113.26", "10.9.0.2"] } else { ["2001:db8:1::26", "fd00:9::2"] };
        let source = sources.get(usize::try_from(choice % 4).unwrap()).map(|text| text.parse().unwrap());
        let uid = Some([0, 107, 65534][usize::try_from(choice / 4 % 3).unwrap()]);
        let mark = [0, 0, 7][usize::try_from(choice / 12 % 3).unwrap()];
        found.insert(destination, Question { destination, source, uid, mark, port: 25 });
    }
    found.into_values().collect()
}

fn line(question: &Question, fibmatch: bool) -> String {
    let source = question.source.map_or(String::new(), |source| format!(" from {source}"));
    let mark = if question.mark == 0 { String::new() } else { format!(" mark {:#x}", question.mark) };
    let matched = if fibmatch { " fibmatch" } else { "" };
    let (to, uid) = (question.destination, question.uid.unwrap());
    format!("route get{matched} {to}{source}{mark} uid {uid} ipproto tcp dport 25\n")
}

/// The lines of ip(8) that are answers, by their place among the questions, and the errors by the same.
fn theirs(done: &Output, count: usize) -> Vec<Result<String, String>> {
    let mut failed = BTreeMap::new();
    let mut last = String::new();
    for error in String::from_utf8_lossy(&done.stderr).lines() {
        if let Some(number) = error.strip_prefix("Command failed -:") {
            failed.insert(number.parse::<usize>().unwrap(), std::mem::take(&mut last));
        } else {
            last = error.to_owned();
        }
    }
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut lines = stdout.lines();
    (1..=count)
        .map(|number| match failed.remove(&number) {
            Some(error) => Err(error),
            None => Ok(lines.next().unwrap_or_default().to_owned()),
        })
        .collect()
}

fn word_after<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}

fn compare(question: &Question, ours: &Answer, links: &Links, theirs: &Result<String, String>) {
    match (&ours.outcome, theirs) {
        (Ok(route), Ok(line)) => {
            let hop = route.hops.first().copied().unwrap_or_default();
            assert_eq!(hop.gateway.map(|gateway| gateway.to_string()).as_deref(), word_after(line, "via"), "{line}");
            assert_eq!(Some(links.name(hop.interface).as_str()), word_after(line, "dev"), "{line}");
            let source = route.prefer_source.map(|source| source.to_string());
            // Where the question has a source, ip prints it as `from`.
            assert_eq!(source.as_deref(), word_after(line, "src"), "{line}");
            let table = word_after(line, "table").unwrap_or("main");
            // Multicast and broadcast come out of no table.
            assert!(route.table == 0 || table_name(route.table) == table, "{line}");
        }
        (Err(errno), Err(error)) => {
            let text = std::io::Error::from(*errno).to_string();
            let said = error.trim_start_matches("RTNETLINK answers: ");
            assert!(text.starts_with(said), "{question:?}: {text} / {error}");
        }
        _ => panic!("{question:?}: {ours:?} / {theirs:?}"),
    }
}

#[test]
fn a_thousand_destinations_as_ip_route_get_answers_them() {
    const COUNT: usize = 1000;
    let Some(namespace) = prepared("get", "a_thousand_destinations_as_ip_route_get_answers_them") else { return };
    // IPv4 first, in the order of addresses.
    let questions = questions(COUNT);
    let ask = |matched: bool| -> Vec<Result<String, String>> {
        let of = |is_ipv4: bool| questions.iter().filter(move |question| question.destination.is_ipv4() == is_ipv4);
        let both = [("-4", true), ("-6", false)].map(|(family, is_ipv4)| {
            let lines: String = of(is_ipv4).map(|question| line(question, matched)).collect();
            theirs(&namespace.batch(&["-o", family], &lines), of(is_ipv4).count())
        });
        both.concat()
    };
    let (plain, matched) = (ask(false), ask(true));

    let copies = questions.clone();
    let (tables, answers) = inside(&namespace, move || {
        let mut looker = Looker::open().unwrap();
        let answers: Vec<Answer> = copies.iter().map(|question| looker.lookup(question).unwrap()).collect();
        (look().unwrap(), answers)
    });

    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for ((question, ours), (plain, matched)) in questions.iter().zip(&answers).zip(plain.iter().zip(&matched)) {
        compare(question, ours, &tables.links, plain);
        if let (Some(route), Ok(line)) = (&ours.matched, matched) {
            let words: Vec<&str> =
                line.split_whitespace().filter(|w| !["local", "broadcast", "multicast"].contains(w)).collect();
            assert_eq!(route.destination_word(), words[0], "{line}");
        } else {
            assert!(ours.matched.is_none() && matched.is_err(), "{question:?}: {ours:?} / {matched:?}");
        }
        // The way gone once more ends where the kernel's does, and at the same entry.
        let walk = walk(&tables.rules, &tables.routes, question);
        assert!(walk.ends_as(ours.end()), "{question:?}: {ours:?} / {walk:?}");
        if let (Some(route), Some(entry)) = (&ours.matched, walk.route) {
            assert_eq!((route.destination, route.table), (entry.destination, entry.table), "{question:?}");
        }
        *ends.entry(format!("{:?}", ours.end())).or_default() += 1;
    }
    // Each kind of end was among them, or nothing was compared.
    assert!(ends.len() >= 5 && ends.values().all(|count| *count >= 5), "{ends:?}");
}

/// What a finding tells an administrator to run.
#[test]
fn each_command_takes_its_route_or_rule_away_and_puts_it_back() {
    let Some(namespace) = prepared("undo", "each_command_takes_its_route_or_rule_away_and_puts_it_back") else {
        return;
    };
    let before = inside(&namespace, || look().unwrap());
    let run = |command: &str| {
        let words = command.strip_prefix("ip ").unwrap().split_whitespace();
        let done = Command::new("ip").args(["-n", &namespace.0]).args(words).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    };
    // The kernel's own routes come and go while link-local addresses settle.
    fn made(tables: &Tables) -> impl Iterator<Item = &Route> {
        tables.routes.iter().filter(|route| route.protocol == 3)
    }
    // The order among equals may differ once one of them was put back.
    let sorted = |tables: &Tables| {
        let mut all: Vec<String> = made(tables).map(|route| route.text(&tables.links)).collect();
        all.extend(tables.rules.iter().map(|rule| format!("{} {}", rule.is_ipv4, rule.command("add"))));
        all.sort();
        all
    };
    let routes = made(&before).map(|route| (route.delete(&before.links), route.add(&before.links)));
    let rules = before.rules.iter().filter(|rule| (1..32766).contains(&rule.priority));
    let commands: Vec<(String, String)> = routes.chain(rules.map(|rule| (rule.delete(), rule.add()))).collect();
    assert!(commands.len() >= 35, "{commands:#?}");
    for (delete, add) in &commands {
        run(delete);
        let without = inside(&namespace, || look().unwrap());
        let count = |tables: &Tables| made(tables).count() + tables.rules.len();
        assert_eq!(count(&without) + 1, count(&before), "{delete}");
        run(add);
        let after = inside(&namespace, || look().unwrap());
        assert_eq!(sorted(&after), sorted(&before), "{delete}; {add}");
    }
}
