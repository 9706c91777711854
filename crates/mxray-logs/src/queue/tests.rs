//! Listings and files of queues as the servers write them.

use super::sums::{AGE_LIMITS_S, Sums};
use super::{State, exim, opensmtpd, postfix, sendmail};
use mxray_mail::causes::{Cause, Rules};
use proptest::prelude::*;

const LISTING: &str = concat!(
    r#"{"queue_name": "deferred", "queue_id": "4ABC", "arrival_time": 1000, "message_size": 337, "forced_expire": false, "sender": "ann@harbour.example", "recipients": [{"address": "bob@far.example", "delay_reason": "connect to mx.far.example[192.0.2.9]:25: Connection refused"}, {"address": "eve@far.example", "delay_reason": "delivery temporarily suspended: connect to mx.far.example[192.0.2.9]:25: Connection refused"}], "new_member": [1]}"#,
    "\n",
    r#"{"queue_name": "hold", "queue_id": "4ABD", "arrival_time": 400, "message_size": 5, "sender": "MAILER-DAEMON", "recipients": [{"address": "\u0007x@y.example", "delay_reason": "lost connection with mx.y.example[192.0.2.7]"}]}"#,
    "\n",
    r#"{"queue_name": "active", "queue_id": "4ABE", "arrival_time": 4500, "sender": "a@b.example", "recipients": [{"address": "c@d.example", "other_reason": "host mx.d.example[192.0.2.8] said: 450 4.2.0 Greylisted (in reply to RCPT TO command)"}]}"#,
    "\nMail queue is strange\n",
);

#[test]
fn a_listing_of_postfix() {
    let (entries, foreign, cut) = postfix::listing(LISTING.as_bytes(), 100);
    assert_eq!((entries.len(), foreign, cut), (3, 1, false));
    assert_eq!(entries[1].state, State::Hold);
    assert!(entries[1].sender.is_empty());
    assert!(postfix::listing(LISTING.as_bytes(), 2).2);
    let rules = Rules::built_in();
    let mut sums = Sums::new(5_000);
    entries.iter().for_each(|entry| sums.add(&rules, entry));
    // The third says no size: no sum, rather than one that is too small.
    assert_eq!((sums.messages, sums.recipients, sums.bytes), (3, 4, None));
    let refused = &sums.causes[&(Cause::Refused, b"far.example".to_vec())];
    assert_eq!((refused.recipients, refused.oldest_s, refused.host.as_slice()), (2, 4_000, &b"mx.far.example"[..]));
    // What is on hold waits for somebody here, whatever was said before.
    assert_eq!(sums.causes.len(), 2);
    assert_eq!(sums.causes[&(Cause::Greylist, b"d.example".to_vec())].recipients, 1);
    assert_eq!(sums.destinations[&b"far.example".to_vec()].recipients, 2);
    assert_eq!(sums.states[&State::Deferred].ages().iter().position(|row| row.count == 1), Some(4));
    assert_eq!(sums.oldest[&State::Hold].id, b"4ABD");
    assert_eq!(sums.young_deferred, 0);
}

#[test]
fn the_next_try_follows_the_age_within_its_limits() {
    assert_eq!(postfix::next_try_in_s(10, 300, 4_000, 300), 600);
    assert_eq!(postfix::next_try_in_s(1_000, 300, 4_000, 300), 1_300);
    assert_eq!(postfix::next_try_in_s(100_000, 300, 4_000, 300), 4_300);
}

const HEADER: &[u8] = b"1tABCD-00000000abc-1X2Y-H\nDebian-exim 106 112\n<ann@harbour.example>\n1700000000 1\n-received_time_usec .123\n-frozen 1700000100\n-body_linecount 1\nYN done@far.example\nNN also@far.example\n3\ndone@far.example\nbob@far.example\neve@far.example 0 0,0#1\n\n012  Subject: x\n";

#[test]
fn an_envelope_of_exim() {
    let mut entry = exim::header(b"1tABCD-00000000abc-1X2Y", HEADER).unwrap();
    assert_eq!((entry.state, entry.arrived_s, entry.recipients.len()), (State::Hold, 1_700_000_000, 2));
    exim::journal(&mut entry, b"eve@far.example\n");
    assert_eq!(entry.recipients.len(), 1);
    // How large the message is stands in no envelope: no sum of bytes, rather than one that is too small.
    let mut sums = Sums::new(1_700_000_100);
    sums.add(&Rules::built_in(), &entry);
    assert_eq!((sums.messages, sums.bytes), (1, None));
    let log = b"2026-05-01 10:00:00 bob@far.example R=dnslookup T=remote_smtp defer (111) H=mx.far.example [192.0.2.9]: Connection refused\n";
    exim::message_log(&mut entry, log);
    assert!(entry.recipients[0].reason.ends_with(b"Connection refused"), "{entry:?}");
    assert_eq!(exim::header(b"other", HEADER), None);
    assert_eq!(exim::header(b"1tABCD-00000000abc-1X2Y", &HEADER[..90]), None);
}

#[test]
fn envelopes_of_opensmtpd_of_one_message_are_one_entry() {
    let text = b"version: 3\ndispatcher: \"out\"\ntype: mta\nsender: ann@harbour.example\nrcpt: bob@far.example\ndest: bob@far.example\nctime: 1700000000\nlast-try: 1700000400\nexpire: 345600\nretry: 1\nerrorline: 451 4.3.0 not now\n";
    let one = opensmtpd::envelope(b"0123456789abcdef", text).unwrap();
    let other = opensmtpd::envelope(b"01234567ffffffff", text).unwrap();
    assert_eq!((one.state, one.last_try_s), (State::Deferred, Some(1_700_000_400)));
    let joined = opensmtpd::joined(vec![one, other]);
    assert_eq!((joined.len(), joined[0].recipients.len()), (1, 2));
    assert_eq!(opensmtpd::envelope(b"x", b"\x1f\x8b\x00"), None);
}

/// Records of a queue file.
fn records(all: &[(u8, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in all {
        bytes.push(*kind);
        let mut length = value.len();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(value.as_bytes());
    }
    bytes
}

#[test]
fn a_queue_file_of_postfix() {
    let long = "x".repeat(300);
    let head = [
        (b'C', "            337             665               2               0             337               0"),
        (b'T', "1700000000 123456"),
        (b'A', long.as_str()),
        (b'S', "ann@harbour.example"),
        (b'D', "done@far.example"),
        (b'O', "eve@harbour.example"),
        (b'R', "eve@far.example"),
    ];
    let mut file = records(&head);
    // A recipient that a milter added stands behind the end; the jump leads there.
    let jump = file.len() + 17;
    let behind = jump + records(&[(b'M', ""), (b'N', "R is no recipient here"), (b'X', ""), (b'E', "")]).len();
    file.extend(records(&[
        (b'p', &format!("{behind:15}")),
        (b'M', ""),
        (b'N', "R is no recipient here"),
        (b'X', ""),
        (b'E', ""),
    ]));
    file.extend(records(&[(b'R', "bob@far.example"), (b'p', &format!("{jump:15}"))]));
    let deferred = b"<eve@far.example>: x\nrecipient=eve@far.example\noffset=5\nstatus=4.4.1\naction=delayed\nreason=connect to mx.far.example[192.0.2.9]:25: Connection refused\n\n";
    let entry = postfix::file(b"4ABC", "deferred", &file, deferred).unwrap();
    assert_eq!((entry.state, entry.arrived_s, entry.bytes), (State::Deferred, 1_700_000_000, Some(337)));
    let named: Vec<_> = entry.recipients.iter().map(|one| String::from_utf8_lossy(&one.address).into_owned()).collect();
    assert_eq!(named, ["eve@far.example", "bob@far.example"]);
    assert!(entry.recipients[0].reason.ends_with(b"refused") && entry.recipients[1].reason.is_empty());
    assert_eq!(postfix::file(b"x", "hold", &records(&head[..2]), b""), None);
    // One that leads to itself ends.
    let circle = records(&[(b'T', "1 0"), (b'S', ""), (b'p', "              7")]);
    assert!(postfix::file(b"x", "active", &circle, b"").is_some());
}

const CONTROL: &[u8] = b"V8\nT1700000000\nK1700000400\nN3\nP120312\nI8/1/4711\nMDeferred: Connection refused by mx.far.example.\nFbs\n$_mail.b.example [192.0.2.1]\n$rESMTP\nS<ann@harbour.example>\nrRFC822; bob@far.example\nRPFD:<bob@far.example>\nRPFD:eve@far.example\nH?P?Return-Path: <\x81g>\nHReceived: from mail.b.example\n\tby mx\n.\nRPFD:<behind@the.end>\n";

#[test]
fn a_control_file_of_sendmail() {
    let entry = sendmail::control(b"4ALFjb1u004711", CONTROL, false).unwrap();
    assert_eq!((entry.state, entry.arrived_s, entry.last_try_s), (State::Deferred, 1_700_000_000, Some(1_700_000_400)));
    assert_eq!(entry.sender, b"ann@harbour.example");
    let addresses: Vec<&[u8]> = entry.recipients.iter().map(|one| one.address.as_slice()).collect();
    assert_eq!(addresses[..2], [&b"bob@far.example"[..], b"eve@far.example"]);
    assert!(!addresses.contains(&&b"behind@the.end"[..]));
    assert!(entry.recipients[0].reason.ends_with(b"refused by mx.far.example."));
    let rules = Rules::built_in();
    let mut sums = Sums::new(1_700_001_000);
    sums.add(&rules, &entry);
    assert!(sums.causes.contains_key(&(Cause::Refused, b"far.example".to_vec())), "{:?}", sums.causes.keys());
    // A message that waits for its first attempt, one that is quarantined, and files that are none.
    let fresh = b"V8\nT1700000000\nK0\nN0\nS<>\nR<bob@far.example>\n.\n";
    let fresh = |set_aside| sendmail::control(b"x", fresh, set_aside).unwrap().state;
    assert_eq!((fresh(false), fresh(true)), (State::Incoming, State::Hold));
    for text in [&b"V8\nT1\nS<a@b.example>\n.\n"[..], b"", b"\x1f\x8b", b"R<bob@far.example>\n", b"V8\nTx\nR<a@b>\n"] {
        assert_eq!(sendmail::control(b"x", text, false), None);
    }
}

/// Made once: a case takes a millisecond, the rules a hundred.
static RULES: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(Rules::built_in);

#[test]
fn what_waits_for_this_hosts_own_service_is_named_as_the_log_names_it() {
    let of = |reason: &str| {
        let line = format!(
            r#"{{"queue_name": "deferred", "queue_id": "4ABE", "arrival_time": 4500, "sender": "a@b.example", "recipients": [{{"address": "c@d.example", "delay_reason": "{reason}"}}]}}"#
        );
        let mut sums = Sums::new(5_000);
        postfix::listing(line.as_bytes(), 10).0.iter().for_each(|entry| sums.add(&Rules::built_in(), entry));
        let receivers: Vec<String> =
            sums.causes.keys().map(|(_, receiver)| String::from_utf8_lossy(receiver).into_owned()).collect();
        receivers.concat()
    };
    for own in ["mail.d.example[private/dovecot-lmtp]", "127.0.0.1[127.0.0.1]", "localhost[::1]"] {
        assert_eq!(
            of(&format!("host {own} said: 451 4.2.0 Internal error occurred (in reply to end of DATA command)")),
            "(local)"
        );
    }
    assert_eq!(of("host mx.d.example[192.0.2.8] said: 451 4.3.0 later (in reply to RCPT TO command)"), "d.example");
}

proptest! {
    #[test]
    fn nothing_that_is_read_makes_a_reader_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400), now in any::<i32>()) {
        let mut all = postfix::listing(&bytes, 10).0;
        all.extend(exim::header(b"id", &bytes));
        all.extend(opensmtpd::envelope(b"id", &bytes));
        all.extend(postfix::file(b"id", "active", &[records(&[(b'T', "1 0"), (b'S', "")]), bytes.clone()].concat(), &bytes));
        all.extend(sendmail::control(b"id", &[b"V8\nT1\nR<a@b.example>\n", bytes.as_slice()].concat(), false));
        let mut of_exim = exim::header(b"id", &[b"id-H\nu 1 1\n<>\n1 0\n", bytes.as_slice()].concat());
        if let Some(entry) = &mut of_exim {
            exim::journal(entry, &bytes);
            exim::message_log(entry, &bytes);
        }
        all.extend(of_exim);
        let mut sums = Sums::new(i64::from(now));
        all.iter().for_each(|entry| sums.add(&RULES, entry));
        prop_assert_eq!(sums.messages, all.len() as u64);
        prop_assert!(sums.states.values().all(|row| row.ages().len() == AGE_LIMITS_S.len() + 1));
    }
}
