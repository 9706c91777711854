//! Targets for all of mxray-wire that reads what a server says, and for the files that describe a conversation.
//!
//! An input is a conversation: its first byte chooses how the session goes, each of the others is a byte of the server or a
//! whole line that servers say, so that the inner states are reached. What must hold stands in each target: it ends, its
//! memory is bounded, it does not panic.

use bolero::check;
use mxray_model::session::{Depth, Ending, KeyKind, MailboxProtocol, Raw, SuiteGroup, TlsVersion, Transcript, What};
use mxray_model::evidence::SessionProtocol;
use mxray_wire::dialogue::Dialogue;
use mxray_wire::hello::{self, Entropy, Prober};
use mxray_wire::sasl::{Exchange, Login, Mechanism};
use mxray_wire::scenario::Scenario;
use mxray_wire::{Auth, Client, Machine, Moment, Secret, Want, mailbox, smtp};

/// What a transcript may keep of what was received: the bound of every protocol, and of the prober.
const KEPT_BYTES_MAX: usize = 256 * 1024;
/// Wants without an end would be a machine that does not end.
const WANTS_MAX: usize = 1_000_000;

/// Bytes up to here are themselves, the ones behind are lines.
const LINES_FROM: u8 = 0xb0;

#[rustfmt::skip]
const SMTP: &[&str] = &[
    "220 mail.example ESMTP\r\n", "250-mail.example\r\n", "250-STARTTLS\r\n", "250-PIPELINING\r\n", "250-CHUNKING\r\n",
    "250-AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-1\r\n", "250 SIZE 10240000\r\n", "250 ok\r\n", "354 go\r\n",
    "334 \r\n", "334 VXNlcm5hbWU6\r\n", "235 2.7.0 ok\r\n", "421 4.3.0 bye\r\n", "450 4.2.0 later\r\n", "550 5.7.1 no\r\n",
    "221 bye\r\n", "250-", "220-", "\n", "\r", "2", "5.7.1 ", "tanstaaf", "***",
];

#[rustfmt::skip]
const MAILBOX: &[&str] = &[
    "* OK hi\r\n", "* PREAUTH hi\r\n", "* BYE\r\n", "* CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN AUTH=SCRAM-SHA-256\r\n",
    "m1 OK\r\n", "m2 OK\r\n", "m3 OK\r\n", "m2 NO [AUTHENTICATIONFAILED] no\r\n", "* X {10}\r\n", "* X {3+}\r\n", "+ \r\n",
    "+OK hi <1.2@x>\r\n", "+OK\r\n", "-ERR [AUTH] no\r\n", "STLS\r\n", "SASL PLAIN LOGIN\r\n", ".\r\n", "..\r\n",
    "\"SASL\" \"PLAIN SCRAM-SHA-1\"\r\n", "\"STARTTLS\"\r\n", "OK\r\n", "NO (TRYLATER) \"x\"\r\n", "OK (SASL \"dj0=\")\r\n",
    "\"dj0=\"\r\n", "{4}\r\n", "\"\\\"", "\n", "tanstaaf",
];

fn conversation(input: &[u8], lines: &[&str]) -> Vec<u8> {
    let mut said = Vec::with_capacity(input.len() * 4);
    for byte in input {
        match byte.checked_sub(LINES_FROM).and_then(|place| lines.get(usize::from(place))) {
            Some(line) => said.extend_from_slice(line.as_bytes()),
            None => said.push(*byte),
        }
    }
    said
}

/// Runs a machine to its end; time goes by with each step.
fn run<M: Machine>(machine: M, said: &[u8], choice: u8) -> M::Session {
    run_cut(machine, said, choice, usize::from(choice % 7) * 9 + 1, u64::from(choice))
}

/// The server says all of it, in pieces, and then closes or says nothing more.
fn run_cut<M: Machine>(mut machine: M, said: &[u8], choice: u8, piece_bytes: usize, step_ms: u64) -> M::Session {
    let mut pieces = said.chunks(piece_bytes);
    let mut now = Moment::ZERO;
    for _ in 0..WANTS_MAX {
        now += Moment::from_millis(step_ms);
        match machine.want(now) {
            Want::Write(_) | Want::Close => {}
            Want::StartTls => machine.on_tls(choice & 0x40 != 0, now),
            Want::Read { until } => match pieces.next() {
                _ if now >= until => machine.on_deadline(now),
                Some(piece) => machine.on_bytes(piece, now),
                None if choice & 0x80 != 0 => machine.on_closed(now),
                None => machine.on_deadline(until),
            },
            Want::Done => {
                assert!(machine.is_over());
                return machine.into_session();
            }
        }
    }
    panic!("it does not end");
}

fn bounded(transcript: &Transcript, ending: &Ending) {
    assert!(*ending != Ending::Open);
    let received = transcript.entries.iter().map(|e| if let What::Received(raw) = &e.what { raw.0.len() } else { 0 });
    // Masks may be longer than what they hide.
    assert!(received.sum::<usize>() <= 2 * KEPT_BYTES_MAX);
    for anomaly in &transcript.anomalies {
        assert!((anomaly.entry as usize) <= transcript.entries.len());
    }
}

fn auth(choice: u8) -> Auth {
    let mut auth = Auth::with_password(Login::new("tim", Secret::new("tanstaaf")), "fyko+d2lbbFgONRv9qkxdawL");
    auth.in_clear = true;
    auth.initial_response = choice & 1 == 0;
    auth
}

fn smtp_session(input: &[u8], dialect: smtp::Dialect) {
    let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
    let mut plan = smtp::Plan::new("probe.example").unwrap();
    plan.dialect = dialect;
    plan.depth = Depth::Message;
    plan.pipelining = choice & 2 != 0;
    plan.implicit_tls = choice & 4 != 0;
    plan.auth = (choice & 8 != 0).then(|| auth(choice));
    plan.envelope = Some(smtp::Envelope::new("x@y.example", &["a@b.example", "c@d.example"]).unwrap());
    let mut message = smtp::Message::new(b"Subject: x\n\n.\n");
    message.chunking = choice & 16 != 0;
    plan.message = Some(message);
    let session = run(Client::smtp(plan), &conversation(rest, SMTP), choice);
    bounded(&session.transcript, &session.ending);
}

fn mailbox_session(input: &[u8], protocol: MailboxProtocol) {
    let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
    let mut plan = mailbox::Plan::new(protocol);
    plan.depth = Depth::Auth;
    plan.implicit_tls = choice & 4 != 0;
    plan.auth = (choice & 8 != 0).then(|| auth(choice));
    let session = run(Client::mailbox(plan), &conversation(rest, MAILBOX), choice);
    bounded(&session.transcript, &session.ending);
}

#[test]
fn smtp_client() {
    check!().for_each(|input: &[u8]| smtp_session(input, smtp::Dialect::Smtp));
}

#[test]
fn lmtp_client() {
    check!().for_each(|input: &[u8]| smtp_session(input, smtp::Dialect::Lmtp));
}

#[test]
fn imap_client() {
    check!().for_each(|input: &[u8]| mailbox_session(input, MailboxProtocol::Imap));
}

#[test]
fn pop3_client() {
    check!().for_each(|input: &[u8]| mailbox_session(input, MailboxProtocol::Pop3));
}

#[test]
fn sieve_client() {
    check!().for_each(|input: &[u8]| mailbox_session(input, MailboxProtocol::Sieve));
}

/// Records with right lengths around what comes, so that messages are reached.
fn records(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = input;
    while let Some((&[kind, length], behind)) = rest.split_first_chunk::<2>() {
        let (body, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        let message = [2, 2, 11, 12, 12, 13, 14, 4][usize::from(kind % 8)];
        let size = u8::try_from(body.len()).unwrap_or(u8::MAX);
        match kind / 32 {
            0 => out.extend([&[21, 3, 1, 0, size], body].concat()),
            1 => out.extend([&[kind, 3, 3, 0, size], body].concat()),
            2 => out.extend_from_slice(body),
            // A ServerHello that is right up to its suite.
            3 => {
                let head = [&[22, 3, 3, 0, 42, 2, 0, 0, 38, 3, kind % 5][..], &[7; 32], &[0]].concat();
                out.extend([&head[..], &[0xc0, kind, 0]].concat());
            }
            _ => out.extend([&[22, 3, 3, 0, size.saturating_add(4), message, 0, 0, size], body].concat()),
        }
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn hello_prober() {
    let entropy = Entropy { random: [1; 32], session: [2; 32], share: [3; 32] };
    let versions = [TlsVersion::Ssl3, TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13];
    check!().for_each(|input: &[u8]| {
        let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
        let version = versions[usize::from(choice) % versions.len()];
        let plan = hello::Plan::new(version, SuiteGroup::Any, KeyKind::Any, None, entropy).unwrap();
        let said = records(rest);
        let session = run(Prober::new(plan.clone()), &said, choice);
        bounded(&session.transcript, &session.ending);
        let whole = run_cut(Prober::new(plan.clone()), &said, choice, usize::MAX, 0);
        for piece_bytes in [1, 2, 5, 64] {
            assert!(run_cut(Prober::new(plan.clone()), &said, choice, piece_bytes, 0) == whole, "cut by {piece_bytes}");
        }
    });
}

#[test]
fn sasl_exchange() {
    let mechanisms = [
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::External,
        Mechanism::Oauthbearer,
        Mechanism::Xoauth2,
        Mechanism::CramMd5,
        Mechanism::Plain,
        Mechanism::Login,
    ];
    let login = Login::new("tim", Secret::new("tanstaaf"));
    check!().for_each(|input: &[u8]| {
        let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
        let mechanism = mechanisms[usize::from(choice) % mechanisms.len()];
        let Ok(mut exchange) = Exchange::new(mechanism, &login, "fyko+d2lbbFgONRv9qkxdawL", None) else { return };
        let _ = exchange.initial();
        for challenge in rest.split(|byte| *byte == 0) {
            // Challenges that go on where the client left off.
            let challenge = if choice & 0x80 != 0 {
                [b"r=fyko+d2lbbFgONRv9qkxdawL", challenge, b",s=QSXCR+Q6sek8bf92,i=9"].concat()
            } else {
                challenge.to_vec()
            };
            if exchange.respond(&challenge).is_err() {
                break;
            }
        }
        let _ = exchange.finish(rest);
        assert!(exchange.server_proved_itself() != Some(true), "nobody can guess the signature");
    });
}

#[test]
fn scenario_file() {
    check!().for_each(|input: &[u8]| {
        let lines = [
            "S: 2",
            "s: \\x",
            "C: ",
            "S+: 3 ",
            "tls: ok",
            "wait: 5",
            "plan: a=b",
            "expect: /a = 1",
            "anomalies: ",
            "\n",
        ];
        let text = conversation(input, &lines);
        let _ = Scenario::parse(&String::from_utf8_lossy(&text));
    });
}

#[test]
fn raw_bytes() {
    check!().for_each(|input: &[u8]| {
        let raw = Raw::from(input);
        assert_eq!(raw.to_string().parse::<Raw>(), Ok(raw));
        let _ = String::from_utf8_lossy(input).parse::<Raw>();
    });
}

#[test]
fn typed_session() {
    let protocols = [SessionProtocol::Smtp, SessionProtocol::Lmtp, SessionProtocol::Imap, SessionProtocol::Pop3, SessionProtocol::Sieve];
    check!().for_each(|input: &[u8]| {
        let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
        let protocol = protocols[usize::from(choice) % protocols.len()];
        let lines = if matches!(protocol, SessionProtocol::Smtp | SessionProtocol::Lmtp) { SMTP } else { MAILBOX };
        let mut dialogue = Dialogue::new(protocol);
        for (turn, piece) in rest.chunks(7).enumerate() {
            let now = Moment::from_millis(turn as u64);
            dialogue.receive(&conversation(piece, lines));
            while dialogue.heard(now).is_some() {}
            let _ = dialogue.rest(now);
            dialogue.say(piece, now);
        }
        dialogue.on_closed(choice & 0x80 == 0);
        let text = dialogue.scenario("typed");
        assert!(Scenario::parse(&text).is_ok(), "what is saved can be read: {text}");
    });
}
