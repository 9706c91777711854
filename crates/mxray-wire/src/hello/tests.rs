//! Hellos are decoded again; servers' answers are scripted, cut everywhere, and played by a real OpenSSL.

use super::names::{SECP256R1, X25519, X25519_MLKEM768};
use super::parse::Bytes;
use super::{Entropy, Plan, Prober, encode, names, suites};
use crate::{Machine, Moment, Want};
use mxray_model::session::{
    AnomalyKind, Ending, ForeignKind, KeyExchange, KeyKind, Limit, Raw, SuiteGroup, TlsHelloSession, TlsVersion,
    Weakness, What,
};
use mxray_model::{Blind, Seen};
use proptest::prelude::*;

mod openssl;

const ENTROPY: Entropy = Entropy { random: [0x11; 32], session: [0x22; 32], share: [0x33; 32] };
const VERSIONS: [TlsVersion; 5] =
    [TlsVersion::Ssl3, TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13];
const GROUPS: [SuiteGroup; 9] = [
    SuiteGroup::Any,
    SuiteGroup::Null,
    SuiteGroup::Export,
    SuiteGroup::Anonymous,
    SuiteGroup::Rc4,
    SuiteGroup::Des,
    SuiteGroup::Cbc,
    SuiteGroup::Aead,
    SuiteGroup::Dhe,
];

fn plan(version: TlsVersion, group: SuiteGroup) -> Plan {
    Plan::new(version, group, KeyKind::Any, None, ENTROPY).unwrap()
}

// --- what a server sends ---

fn block(bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - bytes..], content].concat()
}

fn record(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &version.to_be_bytes(), &block(2, payload)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &block(3, body)].concat()
}

fn extension(number: u16, value: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &block(2, value)].concat()
}

fn server_hello(version: u16, random: &[u8], suite: u16, extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = [&version.to_be_bytes()[..], random, &block(1, &[7; 32]), &suite.to_be_bytes(), &[0]].concat();
    if let Some(extensions) = extensions {
        body.extend(block(2, extensions));
    }
    message(2, &body)
}

fn certificate(chain: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = chain.iter().flat_map(|certificate| block(3, certificate)).collect();
    message(11, &block(3, &list))
}

fn dh_exchange(prime_bytes: usize) -> Vec<u8> {
    message(12, &[block(2, &vec![0xc5; prime_bytes]), block(2, &[2]), block(2, &[9; 64])].concat())
}

fn ecdh_exchange(curve: u16) -> Vec<u8> {
    message(12, &[&[3][..], &curve.to_be_bytes(), &block(1, &[4; 65]), &[4, 1], &block(2, &[5; 64])].concat())
}

fn done() -> Vec<u8> {
    message(14, &[])
}

fn flight(version: u16, messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| record(22, version, message)).collect()
}

// --- playing ---

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Silence,
    Close,
    Reset,
}

fn play(plan: Plan, pieces: &[&[u8]], then: Then) -> TlsHelloSession {
    let (mut prober, mut pieces) = (Prober::new(plan), pieces.iter());
    let now = Moment::from_millis(5);
    for _ in 0..600_000 {
        match prober.want(now) {
            Want::Write(_) | Want::Close => {}
            Want::StartTls => panic!("nobody makes a handshake"),
            Want::Done => return prober.into_session(),
            Want::Read { until } => match (pieces.next(), then) {
                (Some(piece), _) => prober.on_bytes(piece, now),
                (None, Then::Silence) => prober.on_deadline(until),
                (None, Then::Close) => prober.on_closed(now),
                (None, Then::Reset) => prober.on_broken("Connection reset by peer", now),
            },
        }
    }
    panic!("it does not end");
}

/// Whole, cut in two at every byte, and byte by byte: always the same.
fn answered(plan: &Plan, bytes: &[u8], then: Then) -> TlsHelloSession {
    let expected = play(plan.clone(), &[bytes], then);
    for at in 1..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert!(play(plan.clone(), &[head, tail], then) == expected, "cut at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert!(play(plan.clone(), &single, then) == expected, "byte by byte");
    let json = serde_json::to_string(&expected).unwrap();
    assert_eq!(serde_json::from_str::<TlsHelloSession>(&json).unwrap(), expected);
    expected
}

fn suite_name(session: &TlsHelloSession) -> &str {
    session.server_hello.value().and_then(|hello| hello.suite.registered.name.as_deref()).unwrap_or("none")
}

fn weak(session: &TlsHelloSession) -> &[Weakness] {
    session.server_hello.value().map(|hello| hello.suite.weak.as_slice()).unwrap_or_default()
}

fn kinds(session: &TlsHelloSession) -> Vec<AnomalyKind> {
    session.transcript.anomalies.iter().map(|anomaly| anomaly.kind.clone()).collect()
}

fn sent(session: &TlsHelloSession) -> Vec<&[u8]> {
    let sent = session.transcript.entries.iter();
    sent.filter_map(|entry| if let What::Sent(raw) = &entry.what { Some(raw.0.as_slice()) } else { None }).collect()
}

// --- the hello ---

struct Decoded {
    record: usize,
    version: usize,
    suites: Vec<u16>,
    extensions: Vec<(usize, Vec<u8>)>,
    message_bytes: usize,
}

fn decode(bytes: &[u8]) -> Decoded {
    let mut bytes = Bytes(bytes);
    let block = |bytes: &mut Bytes<'_>, size: usize| {
        let length = bytes.number(size).unwrap();
        bytes.take(length).unwrap().to_vec()
    };
    assert_eq!(bytes.number(1), Some(22));
    let record = bytes.number(2).unwrap();
    let message = block(&mut bytes, 2);
    assert!(bytes.0.is_empty());
    let mut inner = Bytes(&message);
    assert_eq!(inner.number(1), Some(1));
    let body = block(&mut inner, 3);
    assert!(inner.0.is_empty());
    let mut body = Bytes(&body);
    let version = body.number(2).unwrap();
    assert_eq!(body.take(32), Some(&[0x11; 32][..]));
    let session = block(&mut body, 1);
    assert!(session.is_empty() || session == [0x22; 32]);
    let suites = block(&mut body, 2).chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    assert_eq!(block(&mut body, 1), [0]);
    let mut extensions = Vec::new();
    if !body.0.is_empty() {
        let list = block(&mut body, 2);
        let mut list = Bytes(&list);
        while !list.0.is_empty() {
            let number = list.number(2).unwrap();
            extensions.push((number, block(&mut list, 2)));
        }
    }
    assert!(body.0.is_empty());
    Decoded { record, version, suites, extensions, message_bytes: message.len() }
}

#[test]
fn every_hello_says_what_its_plan_says() {
    let mut made = 0;
    for version in VERSIONS {
        for (group, keys) in
            GROUPS.into_iter().flat_map(|g| [KeyKind::Any, KeyKind::Rsa, KeyKind::Ecdsa].map(|k| (g, k)))
        {
            let name = (version != TlsVersion::Ssl3).then_some("mail.example");
            let Ok(plan) = Plan::new(version, group, keys, name, ENTROPY) else { continue };
            made += 1;
            let hello = decode(&encode::client_hello(&plan));
            let number = usize::from(version.number());
            assert_eq!((hello.record, hello.version), (number.min(0x0301), number.min(0x0303)));
            let (signal, asked): (Vec<u16>, Vec<u16>) = hello.suites.iter().partition(|suite| **suite == 0x00ff);
            assert_eq!(asked, plan.suites());
            assert_eq!(signal.len(), usize::from(version != TlsVersion::Tls13));
            assert!(
                !(256..512).contains(&hello.message_bytes) || version == TlsVersion::Ssl3,
                "{}",
                hello.message_bytes
            );
            let has = |number| hello.extensions.iter().any(|(known, _)| *known == number);
            assert_eq!(hello.extensions.is_empty(), version == TlsVersion::Ssl3);
            assert_eq!(has(0), name.is_some());
            assert_eq!(has(13), version >= TlsVersion::Tls12, "RFC 5246 section 7.4.1.4.1");
            assert_eq!((has(43), has(51)), (version == TlsVersion::Tls13, version == TlsVersion::Tls13));
        }
    }
    assert!(made > 60, "{made}");
}

#[test]
fn key_kinds_restrict_signatures_and_suites() {
    let signatures = |keys| {
        let plan = Plan::new(TlsVersion::Tls12, SuiteGroup::Any, keys, None, ENTROPY).unwrap();
        let hello = decode(&encode::client_hello(&plan));
        hello.extensions.into_iter().find(|(number, _)| *number == 13).unwrap().1
    };
    assert!(signatures(KeyKind::Rsa)[2..].chunks(2).all(|pair| pair[1] == 1 || pair[0] == 8));
    assert!(signatures(KeyKind::Ecdsa)[2..].chunks(2).all(|pair| pair[1] == 3));
}

#[test]
fn a_key_share_is_there_where_it_needs_no_arithmetic() {
    let share = |groups: &[u16]| {
        let plan = Plan::with_groups(TlsVersion::Tls13, SuiteGroup::Any, KeyKind::Any, None, groups, ENTROPY).unwrap();
        let hello = decode(&encode::client_hello(&plan));
        hello.extensions.into_iter().find(|(number, _)| *number == 51).unwrap().1
    };
    assert_eq!(share(&[X25519_MLKEM768]), [0, 0]);
    assert_eq!(share(&[SECP256R1, X25519]).len(), 2 + 4 + 32);
}

// --- answers ---

#[test]
fn ssl3_with_rc4_is_seen() {
    let bytes = flight(0x0300, &[server_hello(0x0300, &[1; 32], 5, None), certificate(&[b"leaf", b"root"]), done()]);
    let session = answered(&plan(TlsVersion::Ssl3, SuiteGroup::Rc4), &bytes, Then::Silence);
    assert_eq!(suite_name(&session), "TLS_RSA_WITH_RC4_128_SHA");
    assert_eq!(weak(&session), [Weakness::Rc4, Weakness::NoForwardSecrecy]);
    assert_eq!(session.server_hello.value().unwrap().version, TlsVersion::Ssl3);
    assert_eq!(session.certificates, Seen::Value(vec![Raw::from("leaf"), Raw::from("root")]));
    assert_eq!((session.key_exchange.clone(), session.takes_offer()), (Seen::Absent, Seen::Value(true)));
    assert_eq!((session.ending.clone(), kinds(&session)), (Ending::Finished, vec![]));
    // Behind the hello, nothing but a goodbye.
    assert_eq!(sent(&session)[1..], [&[21, 3, 0, 0, 2, 1, 0][..]]);
}

#[test]
fn each_weak_group_is_seen_with_each_old_version() {
    let cases: [(SuiteGroup, u16, &[u8], &[Weakness]); 5] = [
        (SuiteGroup::Des, 0x000a, &[], &[Weakness::SmallBlocks, Weakness::NoForwardSecrecy]),
        (SuiteGroup::Null, 0x0002, &[], &[Weakness::NoEncryption, Weakness::NoForwardSecrecy]),
        (SuiteGroup::Rc4, 0x0004, &[], &[Weakness::Rc4, Weakness::NoForwardSecrecy]),
        (SuiteGroup::Export, 0x0003, &[0xff; 64], &[Weakness::Export, Weakness::Rc4, Weakness::NoForwardSecrecy]),
        (SuiteGroup::Anonymous, 0x0034, &[], &[Weakness::Anonymous]),
    ];
    for version in &VERSIONS[..4] {
        for (group, suite, modulus, expected) in cases {
            let anonymous = group == SuiteGroup::Anonymous;
            let mut messages = vec![server_hello(version.number(), &[1; 32], suite, None)];
            if !anonymous {
                messages.push(certificate(&[b"leaf"]));
            }
            if anonymous {
                messages.push(dh_exchange(128));
            } else if !modulus.is_empty() {
                messages.push(message(12, &[block(2, modulus), block(2, &[1, 0, 1]), block(2, &[5; 64])].concat()));
            }
            messages.push(done());
            let session = answered(&plan(*version, group), &flight(version.number(), &messages), Then::Silence);
            assert_eq!(session.takes_offer(), Seen::Value(true), "{version:?} {group:?}");
            assert_eq!(weak(&session), expected);
            assert_eq!(session.certificates.is_absent(), anonymous);
            let exchange = match group {
                SuiteGroup::Export => Seen::Value(KeyExchange::ExportRsa { modulus_bits: 512 }),
                SuiteGroup::Anonymous => Seen::Value(KeyExchange::Dh { prime_bits: 1024, prime: Raw(vec![0xc5; 128]) }),
                _ => Seen::Absent,
            };
            assert_eq!((session.key_exchange, session.ending), (exchange, Ending::Finished));
        }
    }
}

#[test]
fn the_prime_of_dh_and_the_curve_are_seen() {
    let hello = |suite| server_hello(0x0301, &[1; 32], suite, None);
    let plan = plan(TlsVersion::Tls10, SuiteGroup::Any);
    let bytes = flight(0x0301, &[hello(0x0033), certificate(&[b"x"]), dh_exchange(64), done()]);
    let session = answered(&plan, &bytes, Then::Silence);
    assert!(matches!(session.key_exchange, Seen::Value(KeyExchange::Dh { prime_bits: 512, .. })));
    let bytes = flight(0x0301, &[hello(0xc014), certificate(&[b"x"]), ecdh_exchange(SECP256R1), done()]);
    let session = answered(&plan, &bytes, Then::Silence);
    assert_eq!(session.key_exchange, Seen::Value(KeyExchange::Ecdh { curve: names::group(SECP256R1) }));
    for odd in [&[][..], &[3], &[9, 9], &[3, 0, 23, 200]] {
        let bytes = flight(0x0301, &[hello(0xc014), certificate(&[b"x"]), message(12, odd), done()]);
        let session = answered(&plan, &bytes, Then::Silence);
        assert_eq!(session.key_exchange, Seen::Value(KeyExchange::NotUnderstood), "{odd:?}");
    }
}

#[test]
fn how_messages_lie_in_records_does_not_matter() {
    let extensions = [extension(0xff01, &[0]), extension(23, &[])].concat();
    let messages = [
        server_hello(0x0303, &[1; 32], 0xc02f, Some(&extensions)),
        certificate(&[&[0x30; 700], &[0x31; 300]]),
        message(22, &[1, 0, 0, 1, 9]),
        ecdh_exchange(X25519),
        message(13, &[1, 1, 0, 0, 0, 0]),
        done(),
    ];
    let plan = plan(TlsVersion::Tls12, SuiteGroup::Aead);
    let facts = |bytes: &[u8]| {
        let mut session = play(plan.clone(), &[bytes], Then::Silence);
        session.transcript = Default::default();
        if let Seen::Value(hello) = &mut session.server_hello {
            hello.entry = 0;
        }
        session
    };
    let separate = facts(&flight(0x0303, &messages));
    let hello = separate.server_hello.value().unwrap();
    assert!(hello.secure_renegotiation && hello.extended_master_secret && separate.certificate_requested);
    assert_eq!((hello.extensions.as_slice(), hello.could_have), (&[0xff01, 23][..], None));
    let together = messages.concat();
    assert_eq!(facts(&record(22, 0x0303, &together)), separate);
    for size in [1, 2, 3, 7, 50] {
        let cut: Vec<u8> = together.chunks(size).flat_map(|chunk| record(22, 0x0303, chunk)).collect();
        let found = facts(&cut);
        // One byte in each record is more records than anybody sends.
        let expected = if together.len().div_ceil(size) > 1024 {
            Ending::Limit { limit: Limit::Records }
        } else {
            Ending::Finished
        };
        assert_eq!(found.ending, expected, "{size}");
        assert!(found == separate || size == 1, "{size}");
    }
}

#[test]
fn tls13_shows_version_suite_and_group() {
    let key_share = [&[0, 29][..], &block(2, &[6; 32])].concat();
    let extensions = [extension(43, &[3, 4]), extension(51, &key_share)].concat();
    let hello = record(22, 0x0303, &server_hello(0x0303, &[1; 32], 0x1301, Some(&extensions)));
    let bytes = [hello, record(20, 0x0303, &[1]), record(23, 0x0303, &[0xaa; 40])].concat();
    let session = answered(&plan(TlsVersion::Tls13, SuiteGroup::Any), &bytes, Then::Silence);
    let found = session.server_hello.value().unwrap();
    assert_eq!((found.version, found.retry, found.group.as_ref().unwrap().number), (TlsVersion::Tls13, false, X25519));
    assert_eq!((suite_name(&session), weak(&session)), ("TLS_AES_128_GCM_SHA256", &[][..]));
    assert!(session.certificates.blind().is_some_and(|blind| blind.why().contains("encrypts")));
    assert_eq!((session.takes_offer(), session.ending.clone()), (Seen::Value(true), Ending::Finished));
}

#[test]
fn a_retry_names_the_group_that_is_wanted() {
    let retry: Vec<u8> = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let extensions = [extension(43, &[3, 4]), extension(51, &X25519_MLKEM768.to_be_bytes())].concat();
    let bytes = record(22, 0x0303, &server_hello(0x0303, &retry, 0x1302, Some(&extensions)));
    let session = answered(&plan(TlsVersion::Tls13, SuiteGroup::Aead), &bytes, Then::Silence);
    let found = session.server_hello.value().unwrap();
    assert!(found.retry);
    assert_eq!(found.group.as_ref().unwrap().name.as_deref(), Some("X25519MLKEM768"));
}

#[test]
fn a_lower_version_is_no_oddity_and_no_yes() {
    let random = [&[1; 24][..], b"DOWNGRD\x01"].concat();
    let bytes = flight(0x0301, &[server_hello(0x0301, &random, 0x002f, None), certificate(&[b"x"]), done()]);
    let session = answered(&plan(TlsVersion::Tls12, SuiteGroup::Cbc), &bytes, Then::Silence);
    assert_eq!((session.takes_offer(), kinds(&session)), (Seen::Value(false), vec![]));
    assert_eq!(session.server_hello.value().unwrap().could_have, Some(TlsVersion::Tls13));
}

#[test]
fn what_was_not_offered_is_no_answer_to_the_question() {
    // Asked for NULL, a server says AES: a box in the middle, or a server that does not look.
    let bytes = flight(0x0301, &[server_hello(0x0301, &[1; 32], 0x002f, None), certificate(&[b"x"]), done()]);
    let session = answered(&plan(TlsVersion::Tls10, SuiteGroup::Null), &bytes, Then::Silence);
    assert_eq!(kinds(&session), [AnomalyKind::NotOffered { number: 0x002f }]);
    assert!(session.takes_offer().blind().is_some());
    let bytes = flight(0x0303, &[server_hello(0x0303, &[1; 32], 0x0005, None), done()]);
    let session = answered(&plan(TlsVersion::Tls10, SuiteGroup::Rc4), &bytes, Then::Silence);
    assert_eq!(kinds(&session), [AnomalyKind::NotOffered { number: 0x0303 }, AnomalyKind::Malformed]);
}

#[test]
fn an_alert_refuses_only_where_it_says_so() {
    let cases = [
        (2, 40, Some("handshake_failure"), true),
        (2, 70, Some("protocol_version"), true),
        (2, 71, Some("insufficient_security"), true),
        (2, 80, Some("internal_error"), false),
        (2, 112, Some("unrecognized_name"), false),
        (2, 200, None, false),
        (1, 0, Some("close_notify"), false),
    ];
    for (level, number, name, refuses) in cases {
        let bytes = record(21, 0x0301, &[level, number]);
        let session = answered(&plan(TlsVersion::Tls10, SuiteGroup::Any), &bytes, Then::Close);
        let alert = &session.alerts[0];
        assert_eq!((alert.number, alert.name.as_deref(), alert.fatal), (number, name, level == 2));
        assert_eq!(session.server_hello.is_absent(), refuses, "{name:?}");
        assert_eq!(session.takes_offer().value().copied(), refuses.then_some(false));
        assert_eq!(sent(&session).len(), 1, "who has refused hears nothing more");
    }
}

#[test]
fn a_warning_is_kept_and_the_hello_behind_it_read() {
    let hello = server_hello(0x0303, &[1; 32], 0x009c, None);
    let flight = flight(0x0303, &[hello, certificate(&[b"x"]), done()]);
    let bytes = [record(21, 0x0303, &[1, 112]), flight].concat();
    let session = answered(&plan(TlsVersion::Tls12, SuiteGroup::Any), &bytes, Then::Silence);
    assert_eq!((session.alerts.len(), session.alerts[0].refuses_name()), (1, false));
    assert_eq!((suite_name(&session), session.ending.clone()), ("TLS_RSA_WITH_AES_128_GCM_SHA256", Ending::Finished));
}

#[test]
fn what_is_no_tls_is_told_by_its_first_line() {
    let cases: [(&[u8], ForeignKind, &str); 9] = [
        (b"220 mail.example ESMTP\r\n250 x\r\n", ForeignKind::Smtp, "220 mail.example ESMTP\\r\\n"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", ForeignKind::Http, "HTTP/1.1 400 Bad Request\\r\\n"),
        (b"* OK IMAP4rev1 ready\r\n", ForeignKind::Imap, "* OK IMAP4rev1 ready\\r\\n"),
        (b"+OK POP3\r\n", ForeignKind::Pop3, "+OK POP3\\r\\n"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ForeignKind::Ssh, "SSH-2.0-OpenSSH_9.2\\r\\n"),
        (b"hello", ForeignKind::Text, "hello"),
        (b"\x80\x2e\x04\x00\x00", ForeignKind::Ssl2, "\\x80.\\x04\\x00\\x00"),
        (b"\x00\x01\x02", ForeignKind::Binary, "\\x00\\x01\\x02"),
        (b"\x16\x05\x00", ForeignKind::Binary, "\\x16\\x05\\x00"),
    ];
    for (bytes, kind, first) in cases {
        for then in [Then::Close, Then::Silence, Then::Reset] {
            let session = answered(&plan(TlsVersion::Tls12, SuiteGroup::Any), bytes, then);
            let foreign = session.foreign.clone().unwrap();
            assert_eq!((foreign.kind, foreign.first.to_string().as_str()), (kind, first));
            assert!(matches!(session.server_hello, Seen::Unknown(Blind::NotUnderstood { .. })));
            assert_eq!((session.ending.clone(), sent(&session).len()), (Ending::Distrusted, 1));
        }
    }
    let long = vec![b'x'; 100_000];
    let session = play(plan(TlsVersion::Tls12, SuiteGroup::Any), &[&long], Then::Silence);
    assert_eq!(session.foreign.unwrap().first.0.len(), 512);
}

#[test]
fn an_interruption_is_unknown_and_never_a_no() {
    let plan = plan(TlsVersion::Tls12, SuiteGroup::Any);
    let nothing = |then| answered(&plan, b"", then);
    assert_eq!(nothing(Then::Close).ending, Ending::PeerClosed);
    assert_eq!(nothing(Then::Reset).ending, Ending::Broke { error: "Connection reset by peer".to_owned() });
    assert_eq!(nothing(Then::Silence).ending, Ending::Deadline { waited_ms: 10_000 });
    for then in [Then::Close, Then::Reset, Then::Silence] {
        assert!(nothing(then).takes_offer().blind().is_some());
        // Within the ServerHello, and behind it.
        let hello = flight(0x0303, &[server_hello(0x0303, &[1; 32], 0xc02f, None)]);
        let cut = answered(&plan, &hello[..30], then);
        assert!(cut.server_hello.blind().is_some());
        let behind = answered(&plan, &hello, then);
        assert_eq!(behind.takes_offer(), Seen::Value(true));
        assert!(behind.certificates.blind().is_some() && behind.key_exchange.blind().is_some());
        assert!(!behind.certificates.is_absent() && behind.ending != Ending::Finished);
    }
    let hello = flight(0x0303, &[server_hello(0x0303, &[1; 32], 0xc02f, None)]);
    let bytes = [hello, record(21, 0x0303, &[2, 80])].concat();
    let alert = answered(&plan, &bytes, Then::Close);
    assert_eq!(
        (alert.ending, alert.certificates.blind().unwrap().why().contains("internal_error")),
        (Ending::Refused, true)
    );
}

#[test]
fn a_server_that_trickles_gets_no_more_time() {
    let plan = plan(TlsVersion::Tls12, SuiteGroup::Any);
    let mut prober = Prober::new(plan);
    assert!(matches!(prober.want(Moment::ZERO), Want::Write(_)));
    let bytes = flight(0x0303, &[server_hello(0x0303, &[1; 32], 0xc02f, None)]);
    for (second, byte) in (1..9).zip(&bytes) {
        let now = Moment::from_secs(second);
        prober.on_bytes(&[*byte], now);
        assert_eq!(prober.want(now), Want::Read { until: Moment::from_secs(10) });
    }
}

#[test]
fn a_broken_answer_ends_the_session() {
    let plan = plan(TlsVersion::Tls12, SuiteGroup::Any);
    let hello = || server_hello(0x0303, &[1; 32], 0xc02f, None);
    let mut long_session = hello();
    long_session[4 + 34] = 33;
    let broken = [
        record(22, 0x0303, &certificate(&[b"x"])),
        flight(0x0303, &[hello(), hello()]),
        flight(0x0303, &[hello(), certificate(&[b"x"]), certificate(&[b"y"])]),
        flight(0x0303, &[long_session]),
        flight(0x0303, &[server_hello(0x0303, &[1; 32], 5, Some(&[0, 43, 0, 9, 1]))]),
        record(23, 0x0303, b"data"),
        record(20, 0x0303, &[1]),
        [flight(0x0303, &[hello()]), b"250 ok, mail accepted\r\n".to_vec()].concat(),
        [&[22, 3, 3, 0xff, 0xff][..], &[0; 100]].concat(),
    ];
    for bytes in broken {
        let session = answered(&plan, &bytes, Then::Silence);
        assert_eq!(session.ending, Ending::Distrusted, "{bytes:?}");
        assert!(kinds(&session).contains(&AnomalyKind::Malformed));
    }
    let session = answered(&plan, &record(24, 0x0303, &[1, 0, 1]), Then::Close);
    assert_eq!(kinds(&session), [AnomalyKind::Unasked]);
}

#[test]
fn every_bound_holds() {
    let plan = plan(TlsVersion::Tls12, SuiteGroup::Any);
    let limit = |bytes: &[u8]| {
        let whole = play(plan.clone(), &[bytes], Then::Silence);
        let pieces: Vec<&[u8]> = bytes.chunks(777).collect();
        assert!(play(plan.clone(), &pieces, Then::Silence) == whole);
        let kept: usize = whole
            .transcript
            .entries
            .iter()
            .map(|e| if let What::Received(raw) = &e.what { raw.0.len() } else { 0 })
            .sum();
        assert!(kept <= 256 * 1024);
        match whole.ending {
            Ending::Limit { limit } => limit,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(limit(&record(22, 0x0303, &[2, 0xff, 0xff, 0xff])), Limit::MessageBytes);
    assert_eq!(limit(&record(22, 0x0303, &[]).repeat(20_000)), Limit::Records);
    assert_eq!(limit(&record(21, 0x0303, &[1, 100]).repeat(20_000)), Limit::Records);
    let hello = flight(0x0303, &[server_hello(0x0303, &[1; 32], 0xc02f, None)]);
    let status = message(22, &[0; 16_000]);
    assert_eq!(limit(&[hello, record(22, 0x0303, &status).repeat(700)].concat()), Limit::SessionBytes);
}

fn a_record() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(20u8), Just(21), Just(22), Just(22), Just(22), Just(23), any::<u8>()];
    let inner = prop_oneof![Just(0u8), Just(2), Just(11), Just(12), Just(13), Just(14), any::<u8>()];
    (kind, inner, 0x0300u16..0x0305, proptest::collection::vec(any::<u8>(), 0..120), any::<bool>()).prop_map(
        |(kind, inner, version, body, wrapped)| {
            record(kind, version, &if wrapped { message(inner, &body) } else { body })
        },
    )
}

proptest! {
    /// Whatever comes in whatever pieces: no panic, an end, and the same value.
    #[test]
    fn nothing_that_a_server_sends_hurts(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                a_record(), a_record(),
                Just(flight(0x0303, &[server_hello(0x0303, &[1; 32], 0xc02f, None)])),
                Just(flight(0x0303, &[certificate(&[b"leaf"]), ecdh_exchange(X25519)])),
                Just(flight(0x0303, &[done()])),
            ], 0..8),
        version in 0usize..5, cut in 1usize..50, then in prop_oneof![Just(Then::Silence), Just(Then::Close), Just(Then::Reset)])
    {
        let plan = plan(VERSIONS[version], SuiteGroup::Any);
        let bytes = pieces.concat();
        let whole = play(plan.clone(), &[&bytes], then);
        let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
        prop_assert_eq!(&play(plan, &pieces, then), &whole);
        prop_assert!(whole.ending != Ending::Open);
        let json = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<TlsHelloSession>(&json).unwrap(), whole);
    }

    #[test]
    fn every_suite_has_a_way_to_be_read(number in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let exchange = super::parse::key_exchange(number, &body);
        let nothing = matches!(suites::exchange(number), suites::Exchange::Nothing | suites::Exchange::Unknown);
        prop_assert!(!nothing || exchange == KeyExchange::NotUnderstood);
    }
}
