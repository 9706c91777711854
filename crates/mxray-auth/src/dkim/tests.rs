//! Traps by their numbers, canonical forms as others test them, and what must hold of any body. dkimpy's cases are in
//! `tests/vectors`.

use super::message::Field;
use super::verify::signed_data;
use super::{
    ArcVerifier, BodyCanonicalizer, Canonicalization, DkimVerifier, Message, Signer, Signing, canonical_body,
    canonical_field, first_difference, judge_key,
};
use crate::ask::Kind;
use crate::played::Zone;
use data_encoding::BASE64;
use mxray_model::evidence::RecordData;
use mxray_model::evidence::published::{
    ArcReason, ArcResult, ArcVerdict, DkimKeyProblem, DkimNote, DkimReason, DkimResult, DkimVerdict,
};
use proptest::prelude::*;
use ring::digest::{SHA256, digest};

const NOW_S: i64 = 1_800_000_000;
const SEED: [u8; 32] = [7; 32];
const MESSAGE: &str =
    "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject:  a   test\r\n\r\nHello  \r\n\r\nyou\r\n\r\n\r\n";
const FORMS: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

fn signer() -> Signer {
    Signer::ed25519(&SEED).unwrap()
}

fn signing(fields: &[&str]) -> Signing {
    Signing {
        domain: "example.org".into(),
        selector: "s1".into(),
        head: Canonicalization::Relaxed,
        body: Canonicalization::Relaxed,
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
        length: None,
        signed_s: Some(NOW_S - 10),
        expires_s: None,
    }
}

fn signed(signing: &Signing) -> String {
    format!("{}{MESSAGE}", signer().sign(MESSAGE.as_bytes(), signing).unwrap())
}

fn published(record: &str) -> Zone {
    Zone::default().txt("s1._domainkey.example.org", record)
}

fn verify(message: &str, zone: &Zone) -> Vec<DkimVerdict> {
    zone.outcome(DkimVerifier::new(message.as_bytes(), NOW_S))
}

fn one(message: &str, zone: &Zone) -> DkimVerdict {
    let mut all = verify(message, zone);
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

fn first(verdict: &DkimVerdict) -> &DkimReason {
    verdict.reasons.first().expect("a reason")
}

#[test]
fn t27_without_a_signature_nothing_is_said_of_selectors() {
    let (verdicts, asked) = Zone::default().play(DkimVerifier::new(MESSAGE.as_bytes(), NOW_S));
    assert_eq!((verdicts, asked), (vec![], vec![]));
}

#[test]
fn t28_strings_are_joined_within_a_record_and_records_are_not() {
    let record = signer().record();
    let (left, right) = record.split_at(20);
    let halves =
        Zone::default().with("s1._domainkey.example.org", RecordData::Txt { strings: vec![left.into(), right.into()] });
    assert_eq!(one(&signed(&signing(&["from"])), &halves).result, DkimResult::Pass);
    let other = Signer::ed25519(&[9; 32]).unwrap().record();
    let two = published(&other).txt("s1._domainkey.example.org", &record);
    let verdict = one(&signed(&signing(&["from"])), &two);
    assert_eq!(verdict.result, DkimResult::Pass);
    assert!(verdict.notes.contains(&DkimNote::SeveralKeys { count: 2 }));
}

#[test]
fn t29_what_is_invalid_and_what_is_only_short() {
    let key = |record: &str| judge_key("s1._domainkey.example.org", record.as_bytes());
    let bits = |bits: &str| key(&format!("p={bits}"));
    let rsa1024 = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
    assert_eq!(bits(rsa1024).problems, [DkimKeyProblem::Short { bits: 1024 }]);
    let rsa512 = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBANmBe10IgY+u7h3enWTukkqtUD5PR52Tb/mPfjC0QJTocVBq6Za/PlzfV+Py92VaCak19F4WrbVTK5Gg5tW220MCAwEAAQ==";
    assert_eq!(bits(rsa512).problems, [DkimKeyProblem::TooShort { bits: 512 }]);
    assert_eq!(key("v=DKIM1; k=rsa; p=").problems, [DkimKeyProblem::Revoked]);
    assert_eq!(key("k=rsa").problems, [DkimKeyProblem::NoKey]);
    assert_eq!(key(&format!("k=rsa; v=DKIM1; p={rsa1024}")).problems.len(), 2);
    for (damaged, at) in [
        (rsa1024.replacen('G', "\"", 1), 3),
        (rsa1024.replacen("Gf", "-f", 1), 3),
        (rsa1024[..rsa1024.len() - 1].to_owned(), 216),
        (format!("{}=={}", &rsa1024[..10], &rsa1024[10..]), 11),
    ] {
        let problems = bits(&damaged).problems;
        assert!(
            matches!(problems.as_slice(), [DkimKeyProblem::Base64 { at: place, .. }] if *place == at),
            "{problems:?}"
        );
    }
    let cut = bits(&rsa1024[..120]).problems;
    assert!(matches!(cut.as_slice(), [DkimKeyProblem::NotAKey { .. }]), "{cut:?}");
    // White space within the key is allowed, and so is a bare record with notes.
    assert_eq!(bits(&format!("{} \t{}; n=of 2024; t=s", &rsa1024[..30], &rsa1024[30..])).bits, 1024);
    let spki = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let wrapped = key(&format!("v=DKIM1; k=ed25519; p={spki}")).problems;
    assert!(matches!(wrapped.as_slice(), [DkimKeyProblem::NotAKey { why }] if why.contains("bare key")), "{wrapped:?}");
}

#[test]
fn t29a_a_testing_key_verifies_and_fails_as_any_other() {
    let record = signer().record().replace("k=ed25519", "t=y; k=ed25519");
    let good = one(&signed(&signing(&["from"])), &published(&record));
    assert_eq!((good.result, good.notes.contains(&DkimNote::TestMode)), (DkimResult::Pass, true));
    let bad = one(&signed(&signing(&["from"])).replace("you", "me"), &published(&record));
    assert_eq!(bad.result, DkimResult::Fail);
}

#[test]
fn every_failure_has_its_reason() {
    let zone = published(&signer().record());
    let message = signed(&signing(&["from", "subject"]));
    let changed = |from: &str, to: &str| {
        assert!(message.contains(from), "{from} is not in {message}");
        one(&message.replacen(from, to, 1), &zone)
    };
    assert!(matches!(first(&changed("you", "me")), DkimReason::BodyHashDiffers { .. }));
    assert_eq!(changed("a   test", "a test!").reasons, [DkimReason::SignatureDiffers]);
    assert_eq!(changed("a   test", "a test").result, DkimResult::Pass);
    assert_eq!(first(&changed("v=1;", "v=2;")), &DkimReason::Version { found: "2".into() });
    assert_eq!(first(&changed("v=1;", "")), &DkimReason::MissingTag { tag: "v".into() });
    assert_eq!(first(&changed("a=ed25519-sha256", "a=rsa-sha1")), &DkimReason::Sha1);
    assert!(matches!(first(&changed("a=ed25519-sha256", "a=rsa-md5")), DkimReason::UnknownAlgorithm { .. }));
    assert!(matches!(first(&changed("c=relaxed/relaxed", "c=nofws")), DkimReason::UnknownCanonicalization { .. }));
    assert_eq!(first(&changed("h=from:", "h=x-from:")), &DkimReason::FromNotSigned);
    let kind = changed("a=ed25519-sha256", "a=rsa-sha256");
    assert!(matches!(first(&kind), DkimReason::KeyOfOtherKind { .. }), "{kind:?}");
    let outside = changed("v=1;", "v=1; i=@example.net;");
    assert!(matches!(first(&outside), DkimReason::IdentityOutside { .. }));
    let expired = changed("v=1;", &format!("v=1; x={};", NOW_S - 1));
    assert!(expired.reasons.contains(&DkimReason::Expired { at_s: NOW_S - 1 }));
    assert!(matches!(first(&changed("v=1;", "v=1; x=5;")), DkimReason::ExpiresBeforeSigned { .. }));
    assert!(matches!(first(&changed("v=1;", "v=1; v=1;")), DkimReason::SignatureSyntax { .. }));
    let short = |reason: &DkimReason| matches!(reason, DkimReason::BodyShorterThanSigned { signed: 9999, .. });
    assert!(changed("v=1;", "v=1; l=9999;").reasons.iter().any(short));

    let with = |record: &str| one(&message, &published(record));
    let key = signer().record();
    assert!(matches!(first(&with("v=DKIM1; k=ed25519; p=")), DkimReason::KeyRevoked { .. }));
    assert!(matches!(first(&with("v=DKIM1; k=ed25519; p=AAAA")), DkimReason::KeyInvalid { .. }));
    assert!(matches!(first(&with(&key.replace("k=", "h=sha1; k="))), DkimReason::HashNotAllowed { .. }));
    assert!(matches!(first(&with(&key.replace("k=", "s=tlsrpt; k="))), DkimReason::ServiceNotAllowed { .. }));
    assert_eq!(with(&key.replace("k=", "s=other:email; h=sha1:sha256; k=")).result, DkimResult::Pass);
    let strict = published(&key.replace("k=", "t=s; k="));
    assert_eq!(one(&message, &strict).result, DkimResult::Pass);
    let below = one(&message.replacen("v=1;", "v=1; i=@sub.example.org;", 1), &strict);
    assert!(matches!(first(&below), DkimReason::SubdomainNotAllowed { .. }));
    assert_eq!(with(&Signer::ed25519(&[1; 32]).unwrap().record()).reasons, [DkimReason::SignatureDiffers]);
    assert!(matches!(first(&one(&message, &Zone::default())), DkimReason::KeyMissing { .. }));
    let late = one(&message, &Zone::default().fails("s1._domainkey.example.org", Kind::Txt));
    assert_eq!(late.result, DkimResult::TempError);
    assert!(matches!(first(&late), DkimReason::KeyNotLookedUp { .. }));
}

#[test]
fn what_is_worth_a_look_is_noted() {
    let zone = published(&signer().record());
    let verdict = one(&signed(&Signing { length: Some(5), ..signing(&["from"]) }), &zone);
    assert_eq!(verdict.result, DkimResult::Pass);
    assert!(verdict.notes.contains(&DkimNote::BodyPartlySigned { signed: 5, body: 14 }), "{:?}", verdict.notes);
    assert!(verdict.notes.contains(&DkimNote::FieldNotSigned { name: "subject".into() }));
    let ahead = one(&signed(&Signing { signed_s: Some(NOW_S + 3600), ..signing(&["from"]) }), &zone);
    assert_eq!(ahead.result, DkimResult::Pass);
    assert!(ahead.notes.contains(&DkimNote::SignedInFuture { seconds: 3600 }));
    let file = signed(&signing(&["from", "reply-to"])).replace("\r\n", "\n");
    let verdict = one(&file, &zone);
    assert_eq!(
        (verdict.result, verdict.absent_fields.as_slice()),
        (DkimResult::Pass, ["reply-to".to_owned()].as_slice())
    );
    assert!(verdict.notes.contains(&DkimNote::BareLineFeeds));
    // Two From fields of which one is signed are no pass, wherever the other stands.
    let twice = signed(&signing(&["from"])).replacen("To:", "From: <eve@example.com>\r\nTo:", 1);
    assert_ne!(one(&twice, &zone).result, DkimResult::Pass);
    let above = format!("From: <eve@example.com>\r\n{}", signed(&signing(&["from"])));
    assert!(one(&above, &zone).reasons.contains(&DkimReason::SeveralFrom { count: 2 }));
}

#[test]
fn the_first_line_that_differs_is_found() {
    let other = MESSAGE.replace("you", "thou").replace("Subject:  a", "Subject: a");
    let (original, received) = (Message::read(MESSAGE.as_bytes()), Message::read(other.as_bytes()));
    let names = ["from".to_owned(), "subject".to_owned()];
    let relaxed = (Canonicalization::Relaxed, Canonicalization::Relaxed);
    let found = first_difference(&original, &received, &names, relaxed).unwrap();
    assert_eq!((found.field, found.line, found.received.as_deref()), (None, Some(3), Some("thou\\r\\n")));
    let simple = (Canonicalization::Simple, Canonicalization::Simple);
    let found = first_difference(&original, &received, &names, simple).unwrap();
    assert_eq!(found.field.as_deref(), Some("subject"));
    assert_eq!(first_difference(&original, &original, &names, simple), None);
}

#[test]
fn canonical_forms() {
    let simple = |text: &str| String::from_utf8(canonical_body(text.as_bytes(), Canonicalization::Simple)).unwrap();
    let relaxed = |text: &str| String::from_utf8(canonical_body(text.as_bytes(), Canonicalization::Relaxed)).unwrap();
    for (text, wanted) in [
        ("", "\r\n"),
        ("\r\n\r\n", "\r\n"),
        ("Foo bar", "Foo bar\r\n"),
        ("a \t \r\n\r\n", "a \t \r\n"),
        (" \r\n", " \r\n"),
        ("a\rb\r", "a\rb\r\r\n"),
    ] {
        assert_eq!(simple(text), wanted, "{text:?}");
    }
    for (text, wanted) in [
        ("", ""),
        ("\r\n \t\r\n", ""),
        ("Foo \t bar", "Foo bar\r\n"),
        (" a \t\r\n\r\n b\r\n\r\n", " a\r\n\r\n b\r\n"),
        ("a \r", "a \r\r\n"),
    ] {
        assert_eq!(relaxed(text), wanted, "{text:?}");
    }
    // RFC 6376 section 3.4.5.
    assert_eq!(relaxed(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
    assert_eq!(canonical_field(b"B : Y\t\r\n\tZ  ", Canonicalization::Relaxed), b"b:Y Z");
    assert_eq!(canonical_field(b"B : Y\t\r\n\tZ  ", Canonicalization::Simple), b"B : Y\t\r\n\tZ  ");
    assert_eq!(canonical_field(b"A: \xff\r\n \t ", Canonicalization::Relaxed), b"a:\xff");
    // A CR alone ends no line.
    assert_eq!(canonical_field(b"A: b\rc\r\n d\n e", Canonicalization::Relaxed), b"a:b\rc d e");
}

/// Puts one more set in front of a message (RFC 8617 section 5.1).
fn sealed(message: &str, instance: u32, chain: &str) -> String {
    let encoded = |data: &[u8]| BASE64.encode(&signer().calculate(data).unwrap());
    let read = Message::read(message.as_bytes());
    let hash = BASE64.encode(digest(&SHA256, &canonical_body(read.body(), Canonicalization::Relaxed)).as_ref());
    let tags = "a=ed25519-sha256; d=example.org; s=s1";
    let own = format!("ARC-Message-Signature: i={instance}; {tags}; c=relaxed/relaxed; h=from:subject; bh={hash}; b=");
    let fields = ["from".to_owned(), "subject".to_owned()];
    let data = signed_data(&read, &Field::new(own.as_bytes()).unwrap(), &fields, Canonicalization::Relaxed);
    let results = format!("ARC-Authentication-Results: i={instance}; relay{instance}.example;\r\n spf=pass; dkim=pass");
    let below = format!("{own}{}\r\n{results}\r\n{message}", encoded(&data));
    let seal = format!("ARC-Seal: i={instance}; {tags}; cv={chain}; b=");
    let open = format!("{seal}\r\n{below}");
    let data = ArcVerifier::new(open.as_bytes(), NOW_S).sealed(instance);
    format!("{seal}{}\r\n{below}", encoded(&data))
}

fn chain(message: &str) -> ArcVerdict {
    published(&signer().record()).outcome(ArcVerifier::new(message.as_bytes(), NOW_S))
}

#[test]
fn a_chain_over_three_relays() {
    let one = sealed(MESSAGE, 1, "none");
    assert_eq!((chain(&one).result, chain(&one).oldest_pass), (ArcResult::Pass, Some(0)));
    // The second relay is a list that changes subject and body, which is what chains are for.
    let listed = one.replace("a   test", "[list] a test").replace("you", "you\r\n-- list");
    let two = sealed(&listed, 2, "pass");
    let three = sealed(&two, 3, "pass");
    let verdict = chain(&three);
    assert_eq!(
        (verdict.result, verdict.oldest_pass, verdict.reasons.as_slice()),
        (ArcResult::Pass, Some(2), [].as_slice())
    );
    let messages: Vec<DkimResult> = verdict.sets.iter().map(|set| set.message).collect();
    assert_eq!(messages, [DkimResult::Fail, DkimResult::Pass, DkimResult::Pass]);
    assert!(verdict.sets[0].results.starts_with("i=1; relay1.example"));
    // A change behind the last relay, a set taken out, results changed, a broken chain sealed over.
    assert_eq!(chain(&three.replace("-- list", "-- spam")).result, ArcResult::Fail);
    assert_eq!(chain(&three.replace("relay1.example", "relay9.example")).result, ArcResult::Fail);
    let without =
        three.split("\r\n").filter(|line| !line.starts_with("ARC-Seal: i=2")).collect::<Vec<_>>().join("\r\n");
    let reasons = chain(&without).reasons;
    assert!(matches!(reasons.as_slice(), [ArcReason::Incomplete { instance: 2, .. }]), "{reasons:?}");
    let over = sealed(&two.replace("relay1.example", "relay9.example"), 3, "fail");
    assert!(chain(&over).reasons.contains(&ArcReason::BrokenBefore { instance: 3 }));
    let wrong = chain(&sealed(&two, 3, "none")).reasons;
    assert_eq!(wrong, [ArcReason::ChainValue { instance: 3, found: "none".into() }]);
    let late = Zone::default().fails("s1._domainkey.example.org", Kind::Txt);
    assert_eq!(late.outcome(ArcVerifier::new(three.as_bytes(), NOW_S)).result, ArcResult::Unknown);
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -~]{0,6}".prop_map(String::into_bytes),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b" \t".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// RFC 6376 sections 3.4.3 and 3.4.4 once more, line by line and without a stream: as they are written there, and slow.
fn body_by_the_book(body: &[u8], form: Canonicalization) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let last = lines.len() - 1;
    for line in lines.iter_mut().take(last) {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if form == Canonicalization::Relaxed {
        for line in &mut lines {
            let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
            let mut reduced: Vec<u8> = Vec::new();
            for (at, word) in words.enumerate() {
                if at > 0 && reduced.last() != Some(&b' ') {
                    reduced.push(b' ');
                }
                reduced.extend_from_slice(word);
            }
            while reduced.last() == Some(&b' ') {
                reduced.pop();
            }
            *line = reduced;
        }
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if lines.is_empty() && form == Canonicalization::Simple {
        return b"\r\n".to_vec();
    }
    lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect()
}

proptest! {
    #[test]
    fn a_second_canonicalisation_by_the_book_comes_to_the_same(body in body()) {
        for form in [Canonicalization::Simple, Canonicalization::Relaxed] {
            prop_assert_eq!(canonical_body(&body, form), body_by_the_book(&body, form));
        }
    }

    #[test]
    fn a_canonical_body_is_its_own_canonical_form(body in body()) {
        for form in FORMS {
            let once = canonical_body(&body, form);
            prop_assert_eq!(canonical_body(&once, form), once.clone());
            prop_assert!(once.is_empty() || once.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn how_a_body_is_cut_does_not_show(body in body(), cuts in proptest::collection::vec(0_usize..100, 0..8)) {
        for form in FORMS {
            let mut out = Vec::new();
            let mut sink = |piece: &[u8]| out.extend_from_slice(piece);
            let mut canonicalizer = BodyCanonicalizer::new(form);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(body.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for cut in cuts {
                canonicalizer.update(&body[from..cut], &mut sink);
                from = cut;
            }
            canonicalizer.update(&body[from..], &mut sink);
            canonicalizer.finish(&mut sink);
            prop_assert_eq!(out, canonical_body(&body, form));
        }
    }

    #[test]
    fn a_canonical_field_is_its_own_canonical_form(name in "[A-Za-z-]{1,8} ?", value in "[ -~\t]{0,30}(\r\n[ \t][ -~]{0,10})?") {
        for form in FORMS {
            let once = canonical_field(format!("{name}:{value}").as_bytes(), form);
            prop_assert_eq!(canonical_field(&once, form), once.clone());
        }
    }

    #[test]
    fn what_is_signed_verifies(body in body(), head in 0_usize..2, form in 0_usize..2) {
        let mut message = b"From: a@example.org\r\nSubject: x\r\n\r\n".to_vec();
        message.extend(body);
        let how = Signing { head: FORMS[head], body: FORMS[form], ..signing(&["from", "from", "subject"]) };
        let mut whole = signer().sign(&message, &how).unwrap().into_bytes();
        whole.extend(message);
        let verdicts = published(&signer().record()).outcome(DkimVerifier::new(&whole, NOW_S));
        prop_assert_eq!(verdicts[0].result, DkimResult::Pass);
    }

    #[test]
    fn t50_a_record_that_is_generated_is_read(seed in any::<[u8; 32]>()) {
        let key = judge_key("s1._domainkey.example.org", Signer::ed25519(&seed).unwrap().record().as_bytes());
        prop_assert_eq!((key.bits, key.problems), (256, vec![]));
    }
}
