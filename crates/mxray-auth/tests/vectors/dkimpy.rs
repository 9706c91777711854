//! dkimpy's cases for DKIM and ARC, with the messages, keys and records of its source package. Where dkimpy signs with a key
//! of 1024 bits, which nobody should, its key of 2048 bits signs here.

use super::{packages, score};
use mxray_auth::ask::{Evaluator, Kind, Machine, Step, Want, answered, unanswered};
use mxray_auth::dkim::{ArcVerifier, Canonicalization, DkimVerifier, Signer, Signing, judge_key};
use mxray_model::evidence::published::{
    ArcReason, ArcResult, DkimKeyProblem, DkimNote, DkimReason, DkimResult, DkimVerdict,
};
use mxray_model::evidence::{DnsOutcome, DnsRecord, RecordData};
use std::path::PathBuf;

const NOW_S: i64 = 1_800_000_000;
/// RFC 8463 appendix A.
const BRISBANE: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

struct Package(PathBuf);

type Zone = Vec<(String, Vec<u8>)>;

impl Package {
    fn data(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join("dkim/tests/data").join(name)).unwrap()
    }

    fn source(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join("dkim/tests").join(name)).unwrap()
    }

    /// A record that stands as a string in a test's source.
    fn record(&self, source: &str, owner: &str) -> Vec<u8> {
        let text = self.source(source);
        let rest = text.split_once(&format!("'{owner}.': \"\"\"")).unwrap().1;
        rest.split_once("\"\"\"").unwrap().0.replace("\\\n", "").into_bytes()
    }

    fn seed(&self, name: &str) -> Vec<u8> {
        let text = String::from_utf8(self.data(name)).unwrap();
        data_encoding::BASE64.decode(text.trim().as_bytes()).unwrap()
    }

    /// The byte strings of a list in a test's source.
    fn literals(&self, source: &str, list: &str, number: usize) -> Vec<u8> {
        let text = self.source(source);
        let rest = text.split(&format!("{list} = [")).nth(number).unwrap();
        let inside = rest.split_once("]\n").unwrap().0;
        let pieces = inside.split("b'").skip(1).map(|piece| piece.split('\'').next().unwrap());
        pieces.collect::<String>().replace("\\r\\n", "\r\n").into_bytes()
    }
}

fn driven<E: Evaluator>(evaluator: E, zone: &Zone) -> E::Outcome {
    let mut machine = Machine::new(evaluator);
    for _ in 0..100 {
        match machine.step() {
            Step::Done(outcome) => return outcome,
            Step::Wants(wants) => {
                for want in wants {
                    let Want::Dns { name, kind } = want else { panic!("no policy is fetched") };
                    let texts = zone.iter().filter(|(owner, _)| *owner == name).map(|(_, text)| DnsRecord {
                        name: name.clone(),
                        ttl_s: 60,
                        data: RecordData::Txt { strings: text.chunks(255).map(Into::into).collect() },
                    });
                    let records: Vec<DnsRecord> = texts.collect();
                    let lookup = match records.is_empty() {
                        true => unanswered(&name, kind, DnsOutcome::NoSuchName),
                        false => answered(&name, kind, records),
                    };
                    assert_eq!(kind, Kind::Txt);
                    machine.dns(&name, kind, lookup);
                }
            }
        }
    }
    panic!("it does not end");
}

fn verified(message: &[u8], zone: &Zone) -> Vec<DkimVerdict> {
    driven(DkimVerifier::new(message, NOW_S), zone)
}

fn zone(records: &[(&str, &[u8])]) -> Zone {
    records.iter().map(|(name, text)| ((*name).to_owned(), text.to_vec())).collect()
}

fn first(message: &[u8], zone: &Zone) -> (DkimResult, String) {
    let verdicts = verified(message, zone);
    verdicts
        .first()
        .map_or((DkimResult::PermError, "no signature".into()), |verdict| (verdict.result, format!("{verdict:?}")))
}

const FORMS: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

fn signing(domain: &str, selector: &str, head: Canonicalization, body: Canonicalization, fields: &[&str]) -> Signing {
    Signing {
        domain: domain.into(),
        selector: selector.into(),
        head,
        body,
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
        length: None,
        signed_s: Some(NOW_S - 60),
        expires_s: None,
    }
}

/// Counts cases.
struct Tally {
    all: usize,
    failures: Vec<String>,
}

impl Tally {
    fn is(&mut self, name: &str, right: bool, seen: impl FnOnce() -> String) {
        self.all += 1;
        if !right {
            self.failures.push(format!("{name}: {}", seen()));
        }
    }

    fn is_pass(&mut self, name: &str, message: &[u8], zone: &Zone) {
        let (result, seen) = first(message, zone);
        self.is(name, result == DkimResult::Pass, || seen);
    }

    fn is_refused(&mut self, name: &str, message: &[u8], zone: &Zone, because: impl Fn(&DkimReason) -> bool) {
        let verdicts = verified(message, zone);
        let right = verdicts.first().is_some_and(|verdict| {
            matches!(verdict.result, DkimResult::Fail | DkimResult::PermError) && verdict.reasons.iter().any(because)
        });
        self.is(name, right, || format!("{verdicts:?}"));
    }
}

#[test]
fn dkimpy_cases() {
    let Some(folder) = packages("dkimpy_cases") else { return };
    let package = Package(folder.join("dkimpy-1.1.8"));
    let mut tally = Tally { all: 0, failures: Vec::new() };
    signed_by_others(&package, &mut tally);
    signed_by_us(&package, &mut tally);
    changed_on_the_way(&package, &mut tally);
    keys(&package, &mut tally);
    score("dkim", tally.all - tally.failures.len(), tally.all, &tally.failures);
}

fn signed_by_others(package: &Package, tally: &mut Tally) {
    let gmail = package.record("test_dkim.py", "20120113._domainkey.gmail.com");
    let gmail = zone(&[("20120113._domainkey.gmail.com", &gmail)]);
    tally.is_pass("test_degenerate_folding", &package.data("test2.message"), &gmail);

    let test = package.data("test.txt");
    let football = zone(&[
        ("brisbane._domainkey.football.example.com", BRISBANE.as_bytes()),
        ("test._domainkey.football.example.com", &test),
    ]);
    let twice = package.data("rfc6376.signed.msg");
    let both = verified(&twice, &football);
    let passes = |verdict: &DkimVerdict| verdict.result == DkimResult::Pass;
    tally.is("test_rfc8032_previous_verifies", both.first().is_some_and(passes), || format!("{both:?}"));
    tally.is("test_double_previous_verifies", both.get(1).is_some_and(passes), || format!("{both:?}"));
    let short = |verdict: &DkimVerdict| verdict.notes.contains(&DkimNote::ShortKey { bits: 1024 });
    tally.is("the key of 1024 bits is told of", both.get(1).is_some_and(short), || format!("{both:?}"));

    tally.is_refused("test_no_t", &package.data("rfc6376.signed.no_t.msg"), &football, |reason| {
        matches!(reason, DkimReason::SignatureDiffers | DkimReason::BodyHashDiffers { .. })
    });
    let exim = zone(&[("sed._domainkey.test.ex", &package.data("eximtest.dns"))]);
    tally.is_pass("test_verify_third_party", &package.data("ed25519test2.msg"), &exim);
    let attacker = zone(&[("test._domainkey.legitimate.com(.attacker.com", &test)]);
    tally.is_refused(
        "test_invalid_domain_verify",
        &package.data("test.message.baddomain"),
        &attacker,
        |reason| matches!(reason, DkimReason::SignatureSyntax { tag, .. } if tag == "d"),
    );
    // One octet of the key's own encoding is lost.
    let broken = "k=rsa; p=MFwwDQYJKoZIhvNAQEBBQADSwAwSAJBANmBe10IgY+u7h3enWTukkqtUD5PR52Tb/mPfjC0QJTocVBq6Za/PlzfV+Py92VaCak19F4WrbVTK5Gg5tW220MCAwEAAQ==";
    let broken = zone(&[("test._domainkey.football.example.com", broken.as_bytes())]);
    tally.is_refused("test_catch_bad_key", &package.data("rfc6376.signed.rsa.msg"), &broken, |reason| {
        matches!(reason, DkimReason::KeyInvalid { .. })
    });
    let unsigned = verified(&package.data("test.message"), &football);
    tally.is("test_verifies_nosig", unsigned.is_empty(), || format!("{unsigned:?}"));
}

fn signed_by_us(package: &Package, tally: &mut Tally) {
    let rsa = |name: &str| Signer::from_file(&package.data(name)).unwrap();
    let record = package.data("2048_testkey_wo_markers.pub.txt");
    let bare = package.data("2048_testkey_wo_markers.pub.rsa.txt");
    let pkcs8 = package.data("2048_testkey_PKCS8.key.pub.txt");
    let example = zone(&[
        ("a._domainkey.example.com", &record),
        ("b._domainkey.example.com", &bare),
        ("c._domainkey.example.com", &pkcs8),
        ("ed._domainkey.example.com", &package.data("ed25519test.dns")),
        ("rfc._domainkey.example.com", BRISBANE.as_bytes()),
    ]);
    let signers = [
        ("SubjectPublicKeyInfo2048", "a", rsa("2048_testkey.key")),
        ("RSAPublicKey2048", "b", rsa("2048_testkey.key")),
        ("RSAPublicKey2048PKCS8", "c", rsa("2048_testkey_PKCS8.key")),
        ("ed25519", "ed", Signer::ed25519(&package.seed("ed25519test.key")).unwrap()),
        ("rfc8032", "rfc", Signer::ed25519(&package.seed("rfc8032_7_1.key")).unwrap()),
    ];
    let messages = ["test.message", "rfc6376.msg", "rfc6376.w1258.msg", "message.mbox", "ed25519test.msg"];
    let fields = ["From", "To", "Subject", "Date", "Message-ID", "From", "Received", "Received"];
    for (name, selector, signer) in &signers {
        for file in messages {
            for (head, body) in FORMS.into_iter().flat_map(|head| FORMS.map(|body| (head, body))) {
                let message = package.data(file);
                let field = signer.sign(&message, &signing("example.com", selector, head, body, &fields)).unwrap();
                let signed = [field.as_bytes(), &message].concat();
                tally.is_pass(&format!("test_verifies {name} {file} {head}/{body}"), &signed, &example);
            }
        }
        let made = zone(&[("made._domainkey.example.com", signer.record().as_bytes())]);
        let message = package.data("test.message");
        let form = signing("example.com", "made", Canonicalization::Relaxed, Canonicalization::Relaxed, &fields);
        let signed = [signer.sign(&message, &form).unwrap().as_bytes(), &message].concat();
        tally.is_pass(&format!("our own record for {name}"), &signed, &made);
    }
    let none = signers[0]
        .2
        .sign(&package.data("test_nofrom.message"), &signing("example.com", "a", FORMS[0], FORMS[0], &["From"]));
    tally.is("test_no_from_fails", none.is_err(), || format!("{none:?}"));
    let bad = signers[0].2.sign(
        &package.data("test.message"),
        &signing("legitimate.com(.attacker.com;", "a", FORMS[0], FORMS[0], &["From"]),
    );
    tally.is("test_invalid_domain_sign", bad.is_err(), || format!("{bad:?}"));
}

fn changed_on_the_way(package: &Package, tally: &mut Tally) {
    let signer = Signer::from_file(&package.data("2048_testkey.key")).unwrap();
    let example = zone(&[("a._domainkey.example.com", &package.data("2048_testkey_wo_markers.pub.txt"))]);
    let message = package.data("test.message");
    for (head, body) in FORMS.into_iter().flat_map(|head| FORMS.map(|body| (head, body))) {
        let name = format!("{head}/{body}");
        let fields = ["From", "From", "To", "Subject"];
        let form = signing("example.com", "a", head, body, &fields);
        let field = signer.sign(&message, &form).unwrap();
        let with = |message: &[u8]| [field.as_bytes(), message].concat();
        let changed = with(&[&message[..], b"foo"].concat());
        tally.is_refused(&format!("test_altered_body_fails {name}"), &changed, &example, |reason| {
            matches!(reason, DkimReason::BodyHashDiffers { .. })
        });
        let second = b"From: \"Resident Evil\" <sales@spammer.example>\r\n";
        let differs = |reason: &DkimReason| matches!(reason, DkimReason::SignatureDiffers);
        tally.is_refused(
            &format!("test_multiple_from_fails {name}"),
            &with(&[second, &message[..]].concat()),
            &example,
            differs,
        );
        tally.is_pass(
            &format!("an unknown field {name}"),
            &with(&[b"X-Foo: bar\r\n", &message[..]].concat()),
            &example,
        );
        let long = Signing { length: Some(body_length(&message, body)), ..form.clone() };
        let field = signer.sign(&message, &long).unwrap();
        let grown = [field.as_bytes(), &message, b"added more text\n"].concat();
        tally.is_pass(&format!("test_l_verify {name}"), &grown, &example);
        let noted =
            verified(&grown, &example)[0].notes.iter().any(|note| matches!(note, DkimNote::BodyPartlySigned { .. }));
        tally.is(&format!("what was added is told of {name}"), noted, || "no note".into());
    }
}

fn body_length(message: &[u8], form: Canonicalization) -> u64 {
    let body = mxray_auth::dkim::Message::read(message);
    mxray_auth::dkim::canonical_body(body.body(), form).len() as u64
}

fn keys(package: &Package, tally: &mut Tally) {
    let judged = |name: &str| judge_key("test._domainkey.example.com", &package.data(name));
    let has = |name: &str, wanted: fn(&DkimKeyProblem) -> bool| judged(name).problems.iter().any(wanted);
    let seen = |name: &str| format!("{:?}", judged(name));
    tally.is("test_bad_version", has("badversion.txt", |one| matches!(one, DkimKeyProblem::Version { .. })), || {
        seen("badversion.txt")
    });
    tally.is("test_unknown_k", has("badk.txt", |one| matches!(one, DkimKeyProblem::UnknownKind { .. })), || {
        seen("badk.txt")
    });
    tally.is(
        "test_non_tlsrpt_with_tlsrptsvc",
        has("test_tlsrpt.txt", |one| matches!(one, DkimKeyProblem::Services { .. })),
        || seen("test_tlsrpt.txt"),
    );
    tally.is(
        "a key that was cut",
        has("test_bad.txt", |one| matches!(one, DkimKeyProblem::NotAKey { .. } | DkimKeyProblem::Base64 { .. })),
        || seen("test_bad.txt"),
    );
    let implicit = judged("test2.txt");
    tally.is("test_implicit_k", implicit.kind == "rsa" && implicit.bits == 1024, || format!("{implicit:?}"));
    for (file, bits) in [
        ("1024_testkey_wo_markers.pub.txt", 1024),
        ("1024_testkey_wo_markers.pub.rsa.txt", 1024),
        ("2048_testkey_wo_markers.pub.rsa.txt", 2048),
    ] {
        let key = judged(file);
        tally.is(file, key.bits == bits && (bits == 2048) == key.problems.is_empty(), || format!("{key:?}"));
    }
}

#[test]
fn dkimpy_chains() {
    let Some(folder) = packages("dkimpy_chains") else { return };
    let package = Package(folder.join("dkimpy-1.1.8"));
    let mut tally = Tally { all: 0, failures: Vec::new() };
    let message = package.data("test.message");
    let example = zone(&[("test._domainkey.example.com", &package.data("test.txt"))]);
    let chain = |fields: &[u8], zone: &Zone| {
        let whole = [fields, &message].concat();
        driven(ArcVerifier::new(&whole, NOW_S), zone)
    };
    let good = package.literals("test_arc.py", "expected_sig", 1);
    let verdict = chain(&good, &example);
    let right = verdict.result == ArcResult::Pass && verdict.oldest_pass == Some(0);
    tally.is("test_signs_and_verifies", right, || format!("{verdict:#?}"));
    let with_h = package.literals("test_arc.py", "sig_lines", 1);
    let verdict = chain(&with_h, &example);
    let named = |reason: &ArcReason| {
        let tag = |reason: &DkimReason| matches!(reason, DkimReason::SignatureSyntax { tag, .. } if tag == "h");
        matches!(reason, ArcReason::Seal { reasons, .. } if reasons.iter().any(tag))
    };
    let right = verdict.result == ArcResult::Fail && verdict.reasons.iter().any(named);
    tally.is("test_fails_h_in_as", right, || format!("{verdict:#?}"));

    let text = String::from_utf8(good.clone()).unwrap();
    let none = chain(b"", &example);
    tally.is("no chain", none.result == ArcResult::None, || format!("{none:?}"));
    for (name, from, to) in [
        ("a set without results", "ARC-Authentication-Results", "X-Results"),
        ("a number left out", "i=1", "i=2"),
        ("a chain that begins with pass", "cv=none", "cv=pass"),
        ("a chain that says it is broken", "cv=none", "cv=fail"),
        ("too many sets", "i=1", "i=51"),
        ("no number", "i=1", "i=x"),
        ("results that were changed", "spf=pass", "spf=fail"),
        ("a seal that was changed", "t=12345;\r\n b=iSKj", "t=12346;\r\n b=iSKj"),
    ] {
        let verdict = chain(text.replace(from, to).as_bytes(), &example);
        let right = verdict.result == ArcResult::Fail && !verdict.reasons.is_empty() && text.contains(from);
        tally.is(name, right, || format!("{verdict:#?}"));
    }
    let whole = [&good[..], &message, b"more\n"].concat();
    let verdict = driven(ArcVerifier::new(&whole, NOW_S), &example);
    tally.is("a body that was changed", verdict.result == ArcResult::Fail, || format!("{verdict:#?}"));
    let verdict = chain(&good, &zone(&[]));
    let missing = |reason: &ArcReason| matches!(reason, ArcReason::Seal { reasons, .. } if matches!(reasons[..], [DkimReason::KeyMissing { .. }]));
    tally.is("a key that is gone", verdict.reasons.iter().any(missing), || format!("{verdict:#?}"));
    score("arc", tally.all - tally.failures.len(), tally.all, &tally.failures);
}
