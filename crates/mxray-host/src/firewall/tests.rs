//! The rulesets of network namespaces of our own, read over netlink and asked what mail asks.

use super::plan::{Interest, Smarthost};
use super::*;
use mxray_model::evidence::{
    Account, Configured, Egress, FileLine, FilterQuestion, FilterVerdict, Firewall, Purpose, Server, TlsMode,
    WantedListener,
};
use mxray_sys::namespace::NetworkNamespace;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const LINKS: &str = "
link set lo up
link add d0 type veth peer name e0
link set d0 up
link set e0 up
address add 203.0.113.25/24 dev d0
address add 2001:db8:1::25/64 dev d0 nodad
route add default via 203.0.113.1
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

    fn feed(&self, program: &[&str], text: &str) -> Result<(), String> {
        let mut words = vec!["netns", "exec", &self.0];
        words.extend(program);
        let spawned = Command::new("ip").args(words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| error.to_string())?;
        // Who does not read what is written has said so by its exit code.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let done = child.wait_with_output().map_err(|error| error.to_string())?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    }

    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let name = NetworkNamespace::parse(&self.0).unwrap();
        let thread = std::thread::spawn(move || {
            name.enter().unwrap();
            work()
        });
        thread.join().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// A namespace with this ruleset, or a line that says why there is none.
fn with(name: &str, ruleset: &str) -> Option<Namespace> {
    let made = Namespace::new(name).and_then(|namespace| {
        namespace.feed(&["ip", "-force", "-batch", "-"], LINKS)?;
        namespace.feed(&["ip", "-6", "-batch", "-"], "route add default via 2001:db8:1::1 dev d0\n")?;
        namespace.feed(&["nft", "list", "ruleset"], "")?;
        Ok(namespace)
    });
    match made {
        Ok(namespace) => {
            // Where nft works, it has to take the ruleset.
            namespace.feed(&["nft", "-f", "-"], ruleset).unwrap();
            Some(namespace)
        }
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "skipped: {name}: no network namespace with a ruleset here: {}", error.trim());
            None
        }
    }
}

fn until() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn postfix(smarthost: Option<&str>) -> Server {
    let at = FileLine { file: "/etc/postfix/master.cf".to_owned(), line: 12 };
    let wanted = WantedListener {
        service: "smtp".to_owned(),
        command: "smtpd".to_owned(),
        port: 25,
        addresses: vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()],
        purpose: Purpose::Relay,
        tls: TlsMode::Starttls,
        process_limit: None,
        multiplexed: false,
        overrides: BTreeMap::new(),
        at,
    };
    let configured = |value: &str| Configured { value: value.to_owned(), setting: "relayhost".to_owned(), at: None };
    Server {
        software: "postfix".to_owned(),
        enabled: true,
        wanted: [("smtp/inet".to_owned(), wanted)].into(),
        egress: Egress {
            sends: true,
            account: Seen::Value(Account { name: "postfix".to_owned(), uid: 4107 }),
            smarthosts: smarthost.into_iter().map(configured).collect(),
            ..Egress::default()
        },
        ..Server::default()
    }
}

fn interest(smarthost: Option<&str>) -> Interest {
    Interest {
        servers: [("postfix".to_owned(), postfix(smarthost))].into(),
        known: crate::routes::Known {
            public: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            ..crate::routes::Known::default()
        },
        local_port: 46_000,
        ..Interest::default()
    }
}

fn ask(namespace: &Namespace, interest: Interest) -> Firewall {
    namespace.inside(move || {
        let programs = Programs::new(until());
        let rulesets = match read(&programs, until()) {
            Seen::Value(rulesets) => rulesets,
            other => panic!("{other:?}"),
        };
        match examine(&rulesets, &interest, until()) {
            Seen::Value(firewall) => firewall,
            other => panic!("{other:?}"),
        }
    })
}

fn first<'a>(firewall: &'a Firewall, question: &'a FilterQuestion) -> &'a mxray_model::evidence::FilterAnswer {
    &firewall.answers[&question.ends[0].answer]
}

#[test]
fn strangers_and_mail_are_asked_about() {
    let ruleset = "table inet filter {
        set banned { type ipv4_addr; flags interval; elements = { 8.97.0.0/16 } }
        chain input { type filter hook input priority 0; policy drop;
            ct state established,related accept
            ip saddr @banned drop
            tcp dport { 25, 587 } accept; }
        chain output { type filter hook output priority 0;
            meta skuid 4107 tcp dport 25 reject; }
        }";
    let Some(namespace) = with("filter-asked", ruleset) else { return };
    let firewall = ask(&namespace, interest(None));
    let enters = &firewall.questions["in tcp/25 to 203.0.113.25"];
    assert_eq!(enters.ends.iter().map(|end| end.packets).collect::<Vec<_>>(), [13, 1], "{enters:#?}");
    assert_eq!(first(&firewall, enters).verdict, FilterVerdict::Pass);
    let leaves = &firewall.questions["out postfix Internet tcp/25 over IPv4"];
    assert!(first(&firewall, leaves).verdict.stops() && leaves.uid == Some(4107), "{leaves:#?}");
    let root = &firewall.answers[&leaves.as_root[0].answer];
    assert_eq!(root.verdict, FilterVerdict::Pass);
    assert!(first(&firewall, leaves).by.as_ref().is_some_and(|rule| rule.by_sender && rule.handle.is_some()));
    assert!(firewall.questions.contains_key("in tcp/25 to 2001:db8:1::25"));
    assert!(firewall.tables.contains_key("nft inet filter") && firewall.unread.is_empty());
}

#[test]
fn who_is_let_in_on_purpose_is_named() {
    let ruleset = "table inet filter {
        chain input { type filter hook input priority 0; policy drop;
            ct state established,related accept
            ip saddr 198.51.100.4 accept
            ip saddr { 67.231.144.0/20, 203.0.113.128/25 } tcp dport 25 accept; }
        }";
    let Some(namespace) = with("filter-admitted", ruleset) else { return };
    let firewall = ask(&namespace, interest(None));
    let enters = &firewall.questions["in tcp/25 to 203.0.113.25"];
    assert!(first(&firewall, enters).verdict.stops());
    // Whoever may do everything was not let in for mail.
    assert_eq!(enters.admitted, ["67.231.144.0", "203.0.113.128"]);
}

#[test]
fn an_answer_that_cannot_come_back_stops_the_connection() {
    let ruleset = "table inet filter {
        set bad { type ipv4_addr; elements = { 198.51.100.7 } }
        chain input { type filter hook input priority 0; policy accept;
            ip saddr @bad drop; }
        }";
    let Some(namespace) = with("filter-back", ruleset) else { return };
    let mut asked = interest(Some("[smtp.example.com]:587"));
    // The name is known to DNS alone.
    let firewall = ask(&namespace, asked.clone());
    let key = "out postfix [smtp.example.com]:587 tcp/587 over IPv4";
    assert_eq!(first(&firewall, &firewall.questions[key]).verdict, FilterVerdict::Pass);
    asked.smarthosts = vec![Smarthost {
        server: "postfix".to_owned(),
        host: "smtp.example.com".to_owned(),
        port: 587,
        addresses: vec!["198.51.100.7".parse().unwrap()],
    }];
    let firewall = ask(&namespace, asked);
    let answer = first(&firewall, &firewall.questions[key]);
    assert!(answer.verdict.stops() && answer.packet.state == "established", "{answer:#?}");
    // With a smarthost nothing else has to leave.
    assert!(!firewall.questions.contains_key("out postfix Internet tcp/25 over IPv4"));
}

#[test]
fn nothing_there_is_absent() {
    let Some(namespace) = with("filter-none", "flush ruleset") else { return };
    let seen = namespace.inside(|| read(&Programs::new(until()), until()));
    assert!(seen.is_absent(), "{seen:?}");
}

#[test]
fn a_large_ruleset_is_read_whole() {
    let mut ruleset =
        String::from("table inet filter {\n chain input { type filter hook input priority 0; policy drop;\n");
    for port in 1..3000 {
        ruleset.push_str(&format!("tcp dport {port} accept\n"));
    }
    ruleset.push_str("}\n}\n");
    let Some(namespace) = with("filter-large", &ruleset) else { return };
    let firewall = ask(&namespace, interest(None));
    assert_eq!(firewall.tables["nft inet filter"].rules, 2999);
    let enters = &firewall.questions["in tcp/25 to 203.0.113.25"];
    let by = first(&firewall, enters).walk.iter().filter_map(|step| step.rule.as_ref()).next().unwrap();
    assert_eq!(by.position, 25);
}
