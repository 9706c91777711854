//! Tests: every conversation in `scenarios/` is played against the machines, whole and cut short at each step, and judged as
//! a service of this host, as one that was asked about and as one that our mail passes.
//!
//! What must hold: no rule panics; a session that was cut short never says more of the server than the whole one does;
//! "come again" in place of the greeting says nothing of the server at all.

use crate::catalogue;
use mxray_model::evidence::{
    Dial, DialOutcome, EndpointWhy, ExaminedEndpoint, Purpose, Session, SessionProtocol, TlsMode, standard_service,
};
use mxray_model::session::{Depth, MailboxProtocol};
use mxray_model::{Evidence, Seen, Severity};
use mxray_wire::scenario::{Scenario, Step};
use mxray_wire::{Client, Machine, Moment, Starttls, Want, mailbox, smtp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

/// How a conversation is cut short.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Silence,
    Close,
    Reset,
}

const CUTS: [Cut; 3] = [Cut::Silence, Cut::Close, Cut::Reset];

/// Plays the first `count` things that the server does, then the cut. Whatever the client writes is taken: where the
/// scenario expects something else, the server answers beside the question, as servers do.
fn play<M: Machine>(mut client: M, steps: &[Step], count: usize, cut: Cut) -> M::Session {
    let mut now = Moment::from_millis(5);
    let mut does = steps.iter().filter(|step| !matches!(step, Step::Client(_))).take(count).peekable();
    for _ in 0..5_000 {
        match client.want(now) {
            Want::Write(_) | Want::Close => {}
            Want::Done => break,
            Want::StartTls => {
                let established = matches!(does.next_if(|step| matches!(step, Step::Tls(_))), Some(Step::Tls(true)));
                client.on_tls(established, now);
            }
            Want::Read { until } => match does.next() {
                Some(Step::Server(bytes)) => client.on_bytes(bytes, now),
                Some(Step::Endless(bytes)) => {
                    for _ in 0..400 {
                        client.on_bytes(bytes, now);
                    }
                }
                Some(Step::Wait(millis)) => {
                    now += Moment::from_millis(*millis);
                    if now >= until {
                        client.on_deadline(until);
                    }
                }
                Some(Step::Close) => client.on_closed(now),
                Some(Step::Reset | Step::Tls(_) | Step::TlsFault(_)) => {
                    client.on_broken("Connection reset by peer", now);
                }
                Some(Step::Silence | Step::Client(_)) => client.on_deadline(until),
                None => match cut {
                    Cut::Silence => {
                        now = now.max(until);
                        client.on_deadline(until);
                    }
                    Cut::Close => client.on_closed(now),
                    Cut::Reset => client.on_broken("Connection reset by peer", now),
                },
            },
        }
    }
    client.into_session()
}

fn smtp_plan(scenario: &Scenario) -> smtp::Plan {
    let words: BTreeMap<&str, &str> = scenario.plan.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut plan = smtp::Plan::new("probe.example").unwrap();
    plan.implicit_tls = words.get("tls") == Some(&"implicit");
    if words.get("starttls") == Some(&"never") {
        plan.starttls = Starttls::Never;
    }
    if words.get("dialect") == Some(&"lmtp") {
        plan.dialect = smtp::Dialect::Lmtp;
    }
    plan.try_in_clear = words.get("in-clear") == Some(&"yes");
    if let Some(to) = words.get("to") {
        let to: Vec<&str> = to.split(',').collect();
        plan.depth = Depth::Rcpt;
        plan.envelope = Some(smtp::Envelope::new(words.get("from").unwrap_or(&""), &to).unwrap());
    }
    plan
}

fn mailbox_plan(scenario: &Scenario, protocol: MailboxProtocol) -> mailbox::Plan {
    let mut plan = mailbox::Plan::new(protocol);
    plan.depth = Depth::Tls;
    plan.implicit_tls = scenario.plan.iter().any(|(key, value)| key == "tls" && value == "implicit");
    plan
}

fn session(kind: &str, scenario: &Scenario, count: usize, cut: Cut) -> Session {
    let protocol = match kind {
        "imap" => MailboxProtocol::Imap,
        "pop3" => MailboxProtocol::Pop3,
        "sieve" => MailboxProtocol::Sieve,
        _ => return Session::Smtp(Box::new(play(Client::smtp(smtp_plan(scenario)), &scenario.steps, count, cut))),
    };
    let client = Client::mailbox(mailbox_plan(scenario, protocol));
    Session::Mailbox(Box::new(play(client, &scenario.steps, count, cut)))
}

/// A host with one endpoint, that of the session.
fn evidence(port: u16, tls: bool, why: &EndpointWhy, session: Session) -> Evidence {
    static HEALTHY: LazyLock<Evidence> = LazyLock::new(|| serde_json::from_str(include_str!("healthy.json")).unwrap());
    let mut evidence = Evidence { servers: HEALTHY.servers.clone(), ..Evidence::default() };
    let mut endpoint = HEALTHY.endpoints.values().next().unwrap().clone();
    let (protocol, _, purpose) =
        standard_service(port).unwrap_or((SessionProtocol::Smtp, TlsMode::Starttls, Purpose::Other));
    endpoint.port = port;
    endpoint.protocol = protocol;
    endpoint.purpose = purpose;
    endpoint.tls = if tls { TlsMode::Implicit } else { TlsMode::Starttls };
    endpoint.why = [why.clone()].into();
    let seen = endpoint.addresses.values_mut().next().unwrap();
    seen.dial = Dial {
        peer: format!("192.0.2.1:{port}").parse().unwrap(),
        local: Seen::Value("203.0.113.9:40000".parse().unwrap()),
        took_ms: 1,
        outcome: DialOutcome::Connected,
        icmp: Seen::Absent,
        distance: Seen::Absent,
    };
    seen.session = Seen::Value(session);
    seen.tls = Seen::Absent;
    seen.requires_tls = Seen::not_attempted("not asked");
    evidence.endpoints.insert(ExaminedEndpoint::key(&endpoint.host, port, protocol), endpoint);
    evidence
}

fn stakes(port: u16) -> [EndpointWhy; 3] {
    let wanted = if port == 587 { "submission/inet" } else { "smtp/inet" };
    [
        EndpointWhy::Own { server: "postfix".to_owned(), wanted: wanted.to_owned() },
        EndpointWhy::Asked,
        EndpointWhy::Exchanger { domain: "example.net".to_owned(), preference: 10 },
    ]
}

#[expect(clippy::disallowed_methods, reason = "the files are the test's own")]
fn scenarios(kind: &str) -> Vec<(String, Scenario)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(kind);
    let mut files: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == kind));
    files.sort();
    assert!(!files.is_empty());
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, Scenario::parse(&std::fs::read_to_string(path).unwrap()).unwrap())
    };
    files.iter().map(read).collect()
}

/// Codes of what is at least a warning, and of what is said at all; only of rules that look at sessions.
fn said(evidence: &Evidence) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    const FAMILIES: [&str; 6] = ["ABUSE", "LOOK", "SMTP", "AUTH", "MBOX", "TLS"];
    let (mut bad, mut all) = (BTreeSet::new(), BTreeSet::new());
    for rule in catalogue().iter().filter(|rule| FAMILIES.iter().any(|family| rule.code.starts_with(family))) {
        for finding in rule.judge(evidence).findings {
            all.insert(rule.code);
            if finding.severity >= Severity::Warning {
                bad.insert(rule.code);
            }
        }
    }
    (bad, all)
}

/// The end itself is what is wrong: a greeting that does not come or has no end; at an own service a connection that is closed in
/// place of the greeting or of the reply to EHLO; anywhere a STARTTLS that is announced and gets no reply.
fn is_of_the_end(code: &str, why: &EndpointWhy) -> bool {
    let own = matches!(why, EndpointWhy::Own { .. });
    match code {
        "SMTP101" | "TLS102" => true,
        "SMTP103" | "MBOX107" => own,
        _ => false,
    }
}

/// Most places at which one conversation is cut; the first ones tell most.
const CUTS_MAX: usize = 14;

fn check(kind: &str, ports: &[u16]) {
    let (mut wrong, mut faults) = (Vec::new(), 0);
    for (name, scenario) in scenarios(kind) {
        let steps = scenario.steps.iter().filter(|step| !matches!(step, Step::Client(_))).count();
        for port in ports {
            for why in stakes(*port) {
                let tls = scenario.plan.iter().any(|(key, value)| key == "tls" && value == "implicit");
                let judged = |count, cut| said(&evidence(*port, tls, &why, session(kind, &scenario, count, cut)));
                let (whole, _) = judged(steps, Cut::Silence);
                faults += whole.len();
                for (count, cut) in (0..steps.min(CUTS_MAX)).flat_map(|count| CUTS.map(|cut| (count, cut))) {
                    let (bad, _) = judged(count, cut);
                    let more: Vec<_> = bad.difference(&whole).filter(|code| !is_of_the_end(code, &why)).collect();
                    if !more.is_empty() {
                        wrong.push(format!("{name} on {port} as {why:?}, {cut:?} behind {count} of {steps}: {more:?}"));
                    }
                }
            }
        }
    }
    assert!(faults > 0, "no conversation has a fault, so that nothing is compared");
    assert!(wrong.is_empty(), "cut short, these say more than whole:\n{}", wrong.join("\n"));
}

#[test]
fn smtp_cut_short_says_no_more_than_whole() {
    check("smtp", &[25, 587]);
}

#[test]
fn mailboxes_cut_short_say_no_more_than_whole() {
    check("imap", &[143]);
    check("pop3", &[110]);
    check("sieve", &[4190]);
}

/// 421 says "come again" (RFC 5321 section 3.8): nothing that the server can or cannot do follows.
#[test]
fn come_again_in_place_of_the_greeting_is_no_fault() {
    for text in ["421 4.3.2 mx.example Service not available", "421 later", "450 4.3.2 busy", "421-a\r\n421 b"] {
        let scenario = Scenario::parse(&format!("S: {}\nclose\n", text.replace("\r\n", "\nS: "))).unwrap();
        for port in [25, 465, 587] {
            for why in stakes(port) {
                let evidence = evidence(port, false, &why, session("smtp", &scenario, 2, Cut::Close));
                assert_eq!(said(&evidence).1, BTreeSet::new(), "{text} on {port} as {why:?}");
            }
        }
    }
}

/// What the files of bad behaviour are there for: the named rule says it.
#[test]
fn behaviour_has_its_code() {
    let expected = [
        ("access-demanded.smtp", 25, "SMTP112"),
        ("ehlo-middlebox.smtp", 25, "SMTP111"),
        ("ehlo-refused-helo.smtp", 25, "SMTP103"),
        ("ehlo-underscores.smtp", 25, "SMTP113"),
        ("greeting-554.smtp", 25, "SMTP101"),
        ("greeting-endless-multiline.smtp", 25, "SMTP101"),
        ("greeting-letters.smtp", 25, "SMTP101"),
        ("greeting-multiline-mixed.smtp", 25, "SMTP101"),
        ("greeting-silent.smtp", 25, "SMTP102"),
        ("greeting-stars.smtp", 25, "SMTP111"),
        ("greeting-text-before.smtp", 25, "SMTP101"),
        ("rcpt-greylisted.smtp", 25, "SMTP109"),
        ("transactions-null-refused.smtp", 25, "SMTP108"),
    ];
    let all: BTreeMap<String, Scenario> = scenarios("smtp").into_iter().collect();
    let mut wrong = Vec::new();
    for (name, port, code) in expected {
        let scenario = &all[name];
        let session = session("smtp", scenario, usize::MAX, Cut::Silence);
        let said = said(&evidence(port, false, &EndpointWhy::Asked, session)).1;
        if !said.contains(code) {
            wrong.push(format!("{name}: {code} is not among {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
