//! Plays every file in `scenarios/*.smtp` (from the workspace's root) against the machine, whole and cut at every byte.

use super::{Dialect, Envelope, Message, Plan};
use crate::base64;
use crate::sasl::{Login, Mechanism};
use crate::scenario::{Scenario, Step};
use crate::{Auth, Client, Machine, Moment, Secret, Starttls, Want};
use mxray_model::session::{Depth, SmtpSession};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// Conversations up to this size are cut; long ones at every few bytes.
const CUT_BYTES_MAX: usize = 2000;
const CUTS_MAX: usize = 150;

fn plan(words: &[(String, String)]) -> Plan {
    let of = |name: &str| words.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    for (name, _) in words {
        assert!(
            [
                "name",
                "depth",
                "starttls",
                "tls",
                "from",
                "to",
                "message",
                "pipelining",
                "chunking",
                "dialect",
                "user",
                "password",
                "mechanisms",
                "nonce",
                "clear",
                "initial"
            ]
            .contains(&name.as_str()),
            "no such word in a plan: {name}"
        );
    }
    let mut plan = Plan::new(of("name").unwrap_or("probe.example")).unwrap();
    plan.depth = match of("depth").unwrap_or("tls") {
        "connect" => Depth::Connect,
        "greeting" => Depth::Greeting,
        "ehlo" => Depth::Ehlo,
        "tls" => Depth::Tls,
        "auth" => Depth::Auth,
        "rcpt" => Depth::Rcpt,
        "message" => Depth::Message,
        other => panic!("no such depth: {other}"),
    };
    plan.starttls = match of("starttls").unwrap_or("if-offered") {
        "never" => Starttls::Never,
        "if-offered" => Starttls::IfOffered,
        "required" => Starttls::Required,
        other => panic!("starttls={other}"),
    };
    plan.implicit_tls = of("tls") == Some("implicit");
    plan.pipelining = of("pipelining") == Some("yes");
    if of("dialect") == Some("lmtp") {
        plan.dialect = Dialect::Lmtp;
    }
    let recipients: Vec<&str> = of("to").map(|to| to.split(',').collect()).unwrap_or_default();
    if !recipients.is_empty() {
        plan.envelope = Some(Envelope::new(of("from").unwrap_or_default(), &recipients).unwrap());
    }
    if let Some(text) = of("message") {
        let mut message = Message::new(text.replace("\\n", "\n").as_bytes());
        message.chunking = of("chunking") == Some("yes");
        plan.message = Some(message);
    }
    if let Some(user) = of("user") {
        let login = Login::new(user, Secret::new(of("password").unwrap_or_default()));
        let mut auth = Auth::with_password(login, of("nonce").unwrap_or("fyko+d2lbbFgONRv9qkxdawL"));
        if let Some(names) = of("mechanisms") {
            auth.mechanisms = names.split(',').map(|name| Mechanism::named(name).unwrap()).collect();
        }
        auth.in_clear = of("clear") == Some("yes");
        auth.initial_response = of("initial") != Some("no");
        plan.auth = Some(auth);
    }
    plan
}

/// Plays a scenario; what the server says comes in the pieces that `cut` makes of it.
fn play(scenario: &Scenario, cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) -> SmtpSession {
    let now = Moment::from_millis(5);
    let mut client = Client::new(plan(&scenario.plan));
    let mut steps = scenario.steps.iter().peekable();
    let mut written = Vec::new();
    for _ in 0..100_000 {
        match client.want(now) {
            Want::Write(bytes) => written.extend_from_slice(bytes.expose()),
            Want::StartTls => match steps.next() {
                Some(Step::Tls(ok)) => client.on_tls(*ok, now),
                other => panic!("a handshake is wanted, and the scenario has {other:?}"),
            },
            Want::Read { .. } => read(&mut client, &mut steps, &mut written, cut, now),
            Want::Close => {}
            Want::Done => {
                check_written(&mut steps, &mut written);
                let left: Vec<&Step> = steps.filter(|step| !matches!(step, Step::Close | Step::Silence)).collect();
                assert!(left.is_empty(), "the session was over before {left:?}");
                return client.into_session();
            }
        }
    }
    panic!("the session does not end");
}

fn check_written<'a>(steps: &mut std::iter::Peekable<impl Iterator<Item = &'a Step>>, written: &mut Vec<u8>) {
    if let Some(Step::Client(expected)) = steps.peek() {
        assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(expected), "what the client wrote");
        steps.next();
        written.clear();
    }
    assert!(written.is_empty(), "unexpected: {}", String::from_utf8_lossy(written));
}

fn read<'a>(
    client: &mut Client<super::Smtp>,
    steps: &mut std::iter::Peekable<impl Iterator<Item = &'a Step>>,
    written: &mut Vec<u8>,
    cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>,
    now: Moment,
) {
    check_written(steps, written);
    match steps.next() {
        Some(Step::Server(bytes)) => {
            for piece in cut(bytes) {
                client.on_bytes(&piece, now);
            }
        }
        Some(Step::Close) => client.on_closed(now),
        Some(Step::Reset) => client.on_broken("Connection reset by peer", now),
        None | Some(Step::Silence) => client.on_deadline(now),
        Some(other) => panic!("the client reads, and the scenario has {other:?}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the files are the test's own")]
fn scenarios() -> Vec<(PathBuf, Scenario)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/smtp");
    let files = directory.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "smtp")).collect();
    files.sort();
    assert!(!files.is_empty());
    let parse = |path: &PathBuf| match Scenario::parse(&std::fs::read_to_string(path).unwrap()) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    files.into_iter().map(|path| (path.clone(), parse(&path))).collect()
}

fn whole(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![bytes.to_vec()]
}

#[test]
fn every_scenario_ends_as_it_says() {
    let mut wrong = Vec::new();
    for (path, scenario) in scenarios() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(session) = std::panic::catch_unwind(|| play(&scenario, &whole)) else {
            wrong.push(format!("{name}: did not play"));
            continue;
        };
        let json = serde_json::to_value(&session).unwrap();
        check_no_secret(&name, &scenario, &json.to_string());
        assert!(scenario.anomalies.is_some() && !scenario.expect.is_empty(), "{name}: expects nothing");
        for (pointer, value) in &scenario.expect {
            let expected: serde_json::Value =
                serde_json::from_str(value).unwrap_or_else(|error| panic!("{name}: {value}: {error}"));
            let found = json.pointer(pointer);
            if found != Some(&expected) {
                wrong.push(format!("{name}: {pointer} is {found:?}, not {expected}"));
            }
        }
        let mut kinds: Vec<String> = session
            .transcript
            .anomalies
            .iter()
            .map(|anomaly| match serde_json::to_value(&anomaly.kind).unwrap() {
                serde_json::Value::String(name) => name,
                other => other.as_object().unwrap().keys().next().unwrap().clone(),
            })
            .collect();
        kinds.sort();
        kinds.dedup();
        let mut expected = scenario.anomalies.clone().unwrap_or_default();
        expected.sort();
        if kinds != expected {
            wrong.push(format!("{name}: anomalies {kinds:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A password that a scenario logs in with stands nowhere in what is kept of the session.
fn check_no_secret(name: &str, scenario: &Scenario, json: &str) {
    for (_, password) in scenario.plan.iter().filter(|(word, _)| word == "password") {
        let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [password.clone(), hex.to_ascii_uppercase(), hex, base64::encode(password.as_bytes())] {
            assert!(!json.contains(&form), "{name}: the session holds {form}");
        }
    }
}

/// What stands in the buffer behind the reply to STARTTLS depends on the cut; that alone may differ.
#[test]
fn any_cut_of_the_bytes_gives_the_same_session() {
    for (path, scenario) in scenarios() {
        let bytes: usize = scenario.steps.iter().map(|step| if let Step::Server(b) = step { b.len() } else { 0 }).sum();
        let injects = scenario.anomalies.iter().flatten().any(|name| name == "text_before_tls");
        if bytes > CUT_BYTES_MAX || injects {
            continue;
        }
        let expected = play(&scenario, &whole);
        for at in (1..bytes).step_by(bytes / CUTS_MAX + 1) {
            let cut = |bytes: &[u8]| {
                let (head, tail) = bytes.split_at(at.min(bytes.len()));
                [head, tail].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
            };
            assert!(play(&scenario, &cut) == expected, "{} cut at {at}", path.display());
        }
        let single = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect();
        assert!(play(&scenario, &single) == expected, "{} byte by byte", path.display());
    }
}

proptest! {
    /// Whatever comes, the machine neither panics nor keeps more than its bounds, and it ends when the peer does.
    #[test]
    fn nothing_that_a_server_says_hurts(pieces in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            Just(b"220 a\r\n".to_vec()), Just(b"250-x\r\n250 STARTTLS\r\n".to_vec()), Just(b"354 go\r\n".to_vec()),
            Just(b"421 bye\r\n".to_vec()), Just(b"250 ok\r\n".to_vec()),
        ], 0..40), tls in any::<bool>())
    {
        let words = [("depth", "message"), ("to", "a@b.example,c@d.example"), ("message", "x"), ("pipelining", "yes")];
        let words: Vec<_> = words.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut client = Client::new(plan(&words));
        for piece in pieces {
            while !matches!(client.want(Moment::ZERO), Want::Read { .. } | Want::Done) {
                client.on_tls(tls, Moment::ZERO);
            }
            client.on_bytes(&piece, Moment::ZERO);
        }
        client.on_closed(Moment::ZERO);
        for _ in 0..20 {
            if client.want(Moment::ZERO) == Want::StartTls {
                client.on_tls(false, Moment::ZERO);
            }
            client.on_closed(Moment::ZERO);
        }
        prop_assert!(client.is_over());
    }
}
