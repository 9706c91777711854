//! Plays every file in `scenarios/smtp` against the machine, and random servers.

use super::{Dialect, Envelope, Handover, Message, Plan, Smtp, Stop, StopHow};
use crate::play;
use crate::scenario::Scenario;
use crate::{Client, Machine, Moment, Want};
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "name",
    "depth",
    "starttls",
    "tls",
    "from",
    "to",
    "then",
    "in-clear",
    "message",
    "pipelining",
    "chunking",
    "dialect",
    "user",
    "password",
    "mechanisms",
    "nonce",
    "clear",
    "initial",
    "stop",
    "helo",
    "auth-required",
    "needs",
    "proxy",
    "xclient",
    "chunk",
    "announced",
    "distrust",
];

fn client(scenario: &Scenario) -> Client<Smtp> {
    let of = play::words(scenario, WORDS);
    let mut plan = Plan::new(of("name").unwrap_or("probe.example")).unwrap();
    plan.depth = play::depth(of("depth").unwrap_or("tls"));
    plan.starttls = play::starttls(of("starttls"));
    plan.implicit_tls = of("tls") == Some("implicit");
    plan.pipelining = of("pipelining") == Some("yes");
    if of("dialect") == Some("lmtp") {
        plan.dialect = Dialect::Lmtp;
    }
    let recipients: Vec<&str> = of("to").map(|to| to.split(',').collect()).unwrap_or_default();
    if !recipients.is_empty() {
        plan.envelope = Some(Envelope::new(of("from").unwrap_or_default(), &recipients).unwrap());
    }
    // `then=FROM/TO`: another transaction behind the first.
    plan.further = of("then")
        .into_iter()
        .flat_map(|then| then.split(','))
        .map(|then| {
            let (from, to) = then.split_once('/').unwrap();
            Envelope::new(from, &[to]).unwrap()
        })
        .collect();
    plan.try_in_clear = of("in-clear") == Some("yes");
    if let Some(text) = of("message") {
        let mut message = Message::new(text.replace("\\n", "\n").as_bytes());
        message.chunking = of("chunking") == Some("yes");
        plan.message = Some(message);
    }
    plan.auth = play::auth(&of);
    plan.handover = handover(&of);
    if let Some((keyword, parameter)) = of("announced").and_then(|word| word.split_once(':')) {
        let envelope = plan.envelope.take().unwrap().with_announced(keyword, parameter).unwrap();
        plan.envelope = Some(envelope.with_announced_for_each(keyword, |to| format!("FOR={to}")).unwrap());
    }
    if let Some(bytes) = of("chunk") {
        plan.message.as_mut().unwrap().chunk_bytes = Some(bytes.parse().unwrap());
    }
    let mut client = Client::smtp(plan);
    if of("distrust") == Some("yes") {
        client.distrust();
    }
    client
}

fn handover<'a>(of: impl Fn(&str) -> Option<&'a str>) -> Handover {
    let mut handover = Handover::default();
    handover.helo_only = of("helo") == Some("yes");
    handover.auth_required = of("auth-required") == Some("yes");
    handover.needs = of("needs").map(str::to_owned).into_iter().collect();
    handover.stop = of("stop").map(stop);
    if of("proxy") == Some("v1") {
        let ends = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:25".parse().unwrap());
        handover = handover.with_proxy_v1(Some(ends));
    }
    match of("xclient") {
        Some(attributes) => handover.with_xclient(&attributes.split(',').collect::<Vec<_>>()).unwrap(),
        None => handover,
    }
}

/// `quit:rcpt`, `drop:data`, `unanswered:mail`.
fn stop(word: &str) -> Stop {
    let (how, after) = word.split_once(':').unwrap();
    let how = match how {
        "quit" => StopHow::Quit,
        "drop" => StopHow::Drop,
        "unanswered" => StopHow::DropUnanswered,
        other => panic!("stop={other}"),
    };
    Stop { after: serde_json::from_value(serde_json::Value::String(after.to_owned())).unwrap(), how }
}

#[test]
fn every_scenario_ends_as_it_says() {
    play::check_all("smtp", client);
}

#[test]
fn any_cut_of_the_bytes_gives_the_same_session() {
    play::check_cuts("smtp", client);
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
        let plan = words.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut client = client(&Scenario { plan, ..Scenario::default() });
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
