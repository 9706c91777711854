//! Targets for what domains publish and what messages carry: records, signatures, canonical forms.

use bolero::check;
use mxray_auth::ask::{Evaluator, Fetched, Kind, Machine, Step, Want, answered, unanswered};
use mxray_auth::dkim::{
    ArcVerifier, BodyCanonicalizer, Canonicalization, DkimVerifier, Signer, Signing, canonical_body, canonical_field,
    judge_key,
};
use mxray_auth::dmarc::{Dmarc, DmarcReports, read_record};
use mxray_auth::spf::{Spf, SpfSurveyor};
use mxray_auth::transport::{Sts, TlsReports, bimi_record, sts_policy, sts_record, tls_report_record};
use mxray_model::evidence::published::{DkimResult, DmarcInputs, DmarcUri, SpfResult};
use mxray_model::evidence::{DnsOutcome, DnsRecord, RecordData};

/// More rounds than any evaluation has questions.
const ROUNDS_MAX: usize = 2_000;
const NOW_S: i64 = 1_800_000_000;
const FORMS: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

/// Words that records are made of; a byte from 0x80 on stands for one.
const WORDS: [&str; 48] = [
    "v=spf1 ", "include:a.example ", "redirect=b.example", "a:%{d} ", "mx ", "ptr ", "exists:%{ir}.x.example ", "-all",
    "+all ", "ip4:192.0.2.0/24 ", "ip6:2001:db8::/32 ", "exp=%{s}.e.example ", "%{p}", "%{l1r-}", "%%", "a/24//64 ",
    "v=DKIM1; ", "k=rsa; ", "k=ed25519; ", "p=", "t=y:s; ", "h=sha256; ", "s=email; ", "n=note; ",
    "v=DMARC1; ", "p=reject; ", "sp=none; ", "np=reject; ", "psd=y; ", "psd=n; ", "t=y; ", "rua=mailto:a@b.example",
    "v=STSv1; ", "id=2026; ", "v=TLSRPTv1; ", "v=BIMI1; ", "l=https://a.example/b.svg; ", "a=;", "!10m,", "adkim=s; ",
    "DKIM-Signature: v=1; a=ed25519-sha256; d=a.example; s=x; h=from; bh=AAAA; b=AAAA;\r\n",
    "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.example; s=x; b=AAAA;\r\n",
    "ARC-Message-Signature: i=1; a=rsa-sha256; d=a.example; s=x; h=from; bh=AAAA; b=AAAA;\r\n",
    "ARC-Authentication-Results: i=1; a.example; spf=pass\r\n", "From: a@a.example\r\n", "\r\n", " \t", "c=relaxed/relaxed; ",
];

fn spoken(input: &[u8]) -> Vec<u8> {
    let word = |byte: &u8| match usize::from(*byte).checked_sub(0x80) {
        Some(at) => WORDS[at % WORDS.len()].as_bytes().to_vec(),
        None => vec![*byte],
    };
    input.iter().flat_map(word).collect()
}

/// Answers everything from the texts, one after the other, so that records lead to each other in any way.
fn driven<E: Evaluator>(evaluator: E, texts: &[Vec<u8>]) -> E::Outcome {
    let mut machine = Machine::new(evaluator);
    for round in 0..ROUNDS_MAX {
        match machine.step() {
            Step::Done(outcome) => return outcome,
            Step::Wants(wants) => {
                assert!(!wants.is_empty());
                for want in wants {
                    match want {
                        Want::Dns { name, kind } => {
                            let text = texts.get((name.len() + round) % texts.len().max(1));
                            let data = match (kind, text) {
                                (Kind::Txt, Some(text)) => RecordData::Txt { strings: vec![text.as_slice().into()] },
                                (Kind::A, Some(text)) if text.len() % 3 != 0 => RecordData::A { address: [192, 0, 2, 1].into() },
                                (Kind::Mx, Some(_)) => RecordData::Mx { preference: 1, exchange: "m.example".into() },
                                (Kind::Ptr, Some(_)) => RecordData::Ptr { target: "c.example".into() },
                                _ => {
                                    machine.dns(&name, kind, unanswered(&name, kind, DnsOutcome::NoSuchName));
                                    continue;
                                }
                            };
                            let record = DnsRecord { name: name.clone(), ttl_s: 1, data };
                            machine.dns(&name, kind, answered(&name, kind, vec![record]));
                        }
                        // No evaluator of these texts asks for what is signed.
                        Want::Signed { name, .. } => panic!("nobody asks for {name} with its signatures here"),
                        Want::StsPolicy { domain } => {
                            let bytes = texts.first().cloned().unwrap_or_default();
                            machine.policy(&domain, Fetched::Body { bytes, content_type: None });
                        }
                    }
                }
            }
        }
    }
    panic!("the evaluation does not end");
}

fn texts(input: &[u8]) -> Vec<Vec<u8>> {
    input.split(|byte| *byte == b'\n').map(spoken).collect()
}

#[test]
fn published_records() {
    check!().for_each(|input: &[u8]| {
        let text = spoken(input);
        judge_key("s._domainkey.a.example", &text);
        read_record(&text);
        sts_record(&text);
        sts_policy(&text);
        tls_report_record(&text);
        bimi_record(&text);
    });
}

#[test]
fn spf_evaluation() {
    check!().for_each(|input: &[u8]| {
        let texts: Vec<Vec<u8>> = texts(input).into_iter().map(|text| [b"v=spf1 ".to_vec(), text].concat()).collect();
        let ip = if input.len() % 2 == 0 { "192.0.2.1" } else { "2001:db8::1" };
        let mail_from = String::from_utf8_lossy(&input[..input.len().min(20)]).into_owned() + "@a.example";
        let query = Spf { ip: ip.parse().unwrap(), helo: "h.example".into(), mail_from, receiver: "r".into(), now_s: NOW_S };
        let verdict = driven(query, &texts);
        assert!(verdict.lookups <= 11 && verdict.voids <= 3, "{verdict:?}");
        assert!(verdict.lookups <= 10 || verdict.result == SpfResult::PermError);
        let survey = driven(SpfSurveyor { domain: "a.example".into() }, &texts);
        assert!(survey.tree.len() <= 400);
    });
}

#[test]
fn dmarc_and_transport_evaluation() {
    check!().for_each(|input: &[u8]| {
        let texts = texts(input);
        let inputs = DmarcInputs {
            author: "x.y.a.example".into(),
            spf: Some(("a.example".into(), SpfResult::Pass)),
            dkim: vec![("y.a.example".into(), DkimResult::Pass)],
        };
        driven(Dmarc { inputs }, &texts);
        let targets = vec![DmarcUri { uri: "mailto:a@b.example".into(), domain: Some("b.example".into()) }];
        driven(DmarcReports { domain: "a.example".into(), targets }, &texts);
        driven(Sts { domain: "a.example".into() }, &texts);
        driven(TlsReports { domain: "a.example".into() }, &texts);
    });
}

#[test]
fn signed_message() {
    check!().for_each(|input: &[u8]| {
        let (head, keys) = input.split_at(input.len() / 2);
        let message = spoken(head);
        driven(DkimVerifier::new(&message, NOW_S), &texts(keys));
        driven(ArcVerifier::new(&message, NOW_S), &texts(keys));
    });
}

#[test]
fn dkim_canonical_forms() {
    let signer = Signer::ed25519(&[3; 32]).unwrap();
    check!().for_each(|input: &[u8]| {
        for form in FORMS {
            let once = canonical_body(input, form);
            assert_eq!(canonical_body(&once, form), once);
            let mut out = Vec::new();
            let mut sink = |piece: &[u8]| out.extend_from_slice(piece);
            let mut canonicalizer = BodyCanonicalizer::new(form);
            input.chunks(3).for_each(|piece| canonicalizer.update(piece, &mut sink));
            canonicalizer.finish(&mut sink);
            assert_eq!(out, once);
            let field = canonical_field(input, form);
            assert_eq!(canonical_field(&field, form), field);
        }
        let mut message = b"From: a@a.example\r\n\r\n".to_vec();
        message.extend_from_slice(input);
        let signing = Signing {
            domain: "a.example".into(),
            selector: "x".into(),
            head: FORMS[input.len() % 2],
            body: FORMS[input.len() / 2 % 2],
            fields: vec!["from".into(), "from".into()],
            length: None,
            signed_s: None,
            expires_s: None,
        };
        let mut whole = signer.sign(&message, &signing).unwrap().into_bytes();
        whole.extend(message);
        let verdicts = driven(DkimVerifier::new(&whole, NOW_S), &[signer.record().into_bytes()]);
        assert_eq!(verdicts[0].result, DkimResult::Pass);
    });
}
