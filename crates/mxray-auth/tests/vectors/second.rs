//! dkimpy as a second opinion: made-up messages in canonical form, byte for byte, and signatures of each verified by the other.
//!
//! One process of Python answers all cases. The messages come from a fixed seed: what fails once fails again. Where dkimpy is
//! known to differ from RFC 6376, [`excuse`] says how and why, and a test counts that each excuse is still needed.

use super::packages;
use mxray_auth::ask::{Machine, Step, Want, answered};
use mxray_auth::dkim::{Canonicalization, DkimVerifier, Message, Signer, Signing, canonical_body, canonical_field};
use mxray_model::evidence::published::DkimResult;
use mxray_model::evidence::{DnsRecord, RecordData};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CASES: usize = 2_000;
/// Each costs a modular power in Python.
const SIGNED_BY_DKIMPY: usize = 48;
const SIGNED_BY_US: usize = 200;

/// A hundred times as many, and others, by hand: `MXRAY_TIMES=100` and `MXRAY_SEED=1`.
fn by_hand(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// SplitMix64: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(count).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a [u8]]) -> &'a [u8] {
        of[self.below(of.len())]
    }

    fn some(&mut self, most: usize, of: &[&[u8]]) -> Vec<u8> {
        (0..self.below(most + 1)).flat_map(|_| self.one(of).to_vec()).collect()
    }
}

/// Of fields, the odd ones last: bare CR, VT, FF.
const VALUES: &[&[u8]] = &[
    b"a",
    b"Word",
    b" ",
    b"  ",
    b"\t",
    b" \t ",
    b"\r\n ",
    b"\r\n\t",
    b"\r\n \r\n ",
    b"\n ",
    b":",
    b";",
    b"=?utf-8?q?x?=",
    b"\xc3\xbc",
    b"\xff",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"\0",
    b"\r",
    b"\x0b",
    b"\x0c",
];
const BODIES: &[&[u8]] = &[
    b"a",
    b"Word",
    b" ",
    b"  ",
    b"\t",
    b" \t",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b" \r\n",
    b"\t\n",
    b".",
    b"..\r\n",
    b"\0",
    b"\xff",
    b"\xc3\xbc",
    b"-- \r\n",
    b"line of a text\r\n",
    b"\r",
    b"\r\r\n",
    b"\x0b",
    b"\x0c",
];
/// Those with which nobody's parser has trouble.
const TAME: usize = 17;
const TAME_BODIES: usize = 18;
const NAMES: &[&[u8]] = &[b"From", b"To", b"SUBJECT", b"X-A", b"X-Again", b"List-Id", b"x-y-z"];

struct Case {
    /// With their folds, without their last line ends.
    fields: Vec<Vec<u8>>,
    message: Vec<u8>,
}

/// What both sign: one From field, and a body without what dkimpy has an opinion of its own about.
fn tame(dice: &mut Dice) -> Case {
    let mut case = case(dice, &NAMES[1..], &VALUES[..TAME], &BODIES[..TAME_BODIES]);
    if matches!(case.message.last(), Some(b' ' | b'\t')) {
        case.message.push(b'\n');
    }
    case
}

fn case(dice: &mut Dice, names: &[&[u8]], values: &[&[u8]], bodies: &[&[u8]]) -> Case {
    let mut fields = vec![[b"From:", &dice.some(6, values)[..]].concat()];
    for _ in 0..dice.below(6) {
        fields.push([dice.one(names), b":", &dice.some(10, values)[..]].concat());
    }
    let mut message = Vec::new();
    for field in &mut fields {
        // What ends in a CR would end in CRLF with the LF behind it, and a fold at the end is an empty line with blanks.
        field.extend(if matches!(field.last(), Some(b'\r')) { &b"x"[..] } else { b"" });
        message.extend_from_slice(field);
        message.extend_from_slice(dice.one(&[b"\r\n", b"\r\n", b"\n"]));
    }
    message.extend_from_slice(dice.one(&[b"\r\n", b"\n"]));
    message.extend(dice.some(14, bodies));
    Case { fields, message }
}

fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Vec<u8> {
    if text == "-" { Vec::new() } else { data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap() }
}

/// The answers, a line each. `None`: Python is not there.
fn asked(package: &Path, questions: &str) -> Option<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/second.py");
    let mut python = Command::new("python3");
    // Nothing is compiled into the package's folder.
    python.arg("-B").arg(script).arg(package).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match python.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skipped: dkimpy as a second opinion: python3: {error}");
            return None;
        }
    };
    let mut input = child.stdin.take().unwrap();
    let done = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(questions.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(done.status.success());
    Some(String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn dkimpy() -> Option<PathBuf> {
    Some(packages("dkimpy as a second opinion")?.join("dkimpy-1.1.8"))
}

/// What Python's `strip()` takes away besides white space and line ends.
fn stripped(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c);
    let Some(from) = value.iter().position(|byte| !is_blank(byte)) else { return &[] };
    let to = value.iter().rposition(|byte| !is_blank(byte)).unwrap();
    &value[from..=to]
}

/// Where dkimpy is known to differ, and what it makes of it.
fn excuse(what: &str, ours: &[u8], case: &Case) -> Option<(&'static str, Vec<u8>)> {
    let body = Message::read(&case.message).body().to_vec();
    match what {
        // Section 3.4.4 a: all white space at the end of lines goes, and the last line is one. dkimpy wants to see its CRLF.
        "body relaxed" if matches!(body.last(), Some(b' ' | b'\t')) => {
            let with_end = [&body[..], b"x"].concat();
            let mut theirs = canonical_body(&with_end, Canonicalization::Relaxed);
            theirs.truncate(theirs.len() - 3);
            Some(("white space behind the last line end", [&theirs[..], b"\r\n"].concat()))
        }
        // Section 3.4.2: WSP is stripped, which is blanks and tabs. dkimpy strips all that Python takes for white space.
        "field relaxed" => {
            let colon = ours.iter().position(|byte| *byte == b':')?;
            let theirs = [&ours[..=colon], stripped(&ours[colon + 1..])].concat();
            (theirs != ours).then_some(("control characters at the ends of a field", theirs))
        }
        _ => None,
    }
}

#[test]
fn canonical_forms_are_those_of_dkimpy() {
    let Some(package) = dkimpy() else { return };
    let mut dice = Dice(by_hand("MXRAY_SEED", 6376) as u64);
    let many = CASES * by_hand("MXRAY_TIMES", 1);
    let cases: Vec<Case> = (0..many).map(|_| case(&mut dice, NAMES, VALUES, BODIES)).collect();
    let questions = cases.iter().fold(String::new(), |text, case| text + "canon " + &hexadecimal(&case.message) + "\n");
    let Some(answers) = asked(&package, &questions) else { return };
    assert_eq!(answers.len(), many);
    let (mut differ, mut excused) = (Vec::new(), BTreeMap::new());
    for (number, (case, answer)) in cases.iter().zip(&answers).enumerate() {
        let mut theirs = answer.split(' ').map(bytes);
        let body = Message::read(&case.message).body().to_vec();
        let mut ours = vec![
            ("body simple", canonical_body(&body, Canonicalization::Simple)),
            ("body relaxed", canonical_body(&body, Canonicalization::Relaxed)),
        ];
        for (what, form) in [("field simple", Canonicalization::Simple), ("field relaxed", Canonicalization::Relaxed)] {
            ours.extend(case.fields.iter().map(|field| (what, canonical_field(field, form))));
        }
        for (what, ours) in ours {
            let mut their = theirs.next().unwrap_or_default();
            if what.starts_with("field") {
                assert!(their.ends_with(b"\r\n"), "{number} {what}: {answer}");
                their.truncate(their.len() - 2);
            }
            if their == ours {
                continue;
            }
            match excuse(what, &ours, case) {
                Some((why, expected)) if expected == their => *excused.entry(why).or_insert(0) += 1,
                _ => differ.push(format!(
                    "{number} {what}: {:?} is {:?}",
                    ours.escape_ascii().to_string(),
                    their.escape_ascii().to_string()
                )),
            }
        }
        assert_eq!(theirs.next(), None, "{number}: it sees more fields");
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ[..differ.len().min(10)].join("\n"));
    assert_eq!(excused.len(), 2, "what is excused and does not happen: {excused:?}");
}

const FORMS: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

fn verified(message: &[u8], record: &[u8]) -> (DkimResult, String) {
    // dkimpy signs with the clock of this machine.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut machine = Machine::new(DkimVerifier::new(message, i64::try_from(now.as_secs()).unwrap() + 1));
    loop {
        let wants = match machine.step() {
            Step::Done(verdicts) => {
                let first = verdicts.first().unwrap();
                return (first.result, format!("{:?}", first.reasons));
            }
            Step::Wants(wants) => wants,
        };
        for want in wants {
            let Want::Dns { name, kind } = want else { panic!("no policy is fetched") };
            let data = RecordData::Txt { strings: record.chunks(255).map(Into::into).collect() };
            let records = vec![DnsRecord { name: name.clone(), ttl_s: 60, data }];
            machine.dns(&name, kind, answered(&name, kind, records));
        }
    }
}

#[test]
fn signatures_hold_for_the_other() {
    let Some(package) = dkimpy() else { return };
    let file = |name: &str| std::fs::read(package.join("dkim/tests/data").join(name)).unwrap();
    let (key, record) = (file("2048_testkey.key"), file("2048_testkey_wo_markers.pub.txt"));
    let signer = Signer::from_file(&key).unwrap();
    let mut dice = Dice(by_hand("MXRAY_SEED", 8463) as u64);
    let times = by_hand("MXRAY_TIMES", 1);
    let (by_dkimpy, by_us) = (SIGNED_BY_DKIMPY * times, SIGNED_BY_US * times);
    let mut questions = String::new();
    let theirs: Vec<(Case, Canonicalization, Canonicalization)> = (0..by_dkimpy)
        .map(|_| {
            let case = tame(&mut dice);
            (case, FORMS[dice.below(2)], FORMS[dice.below(2)])
        })
        .collect();
    for (number, (case, head, body)) in theirs.iter().enumerate() {
        let words = [head.to_string(), body.to_string(), u8::from(number % 3 == 0).to_string()];
        let words: Vec<String> = words.iter().map(|word| hexadecimal(word.as_bytes())).collect();
        questions += &format!("sign {} {} {}\n", hexadecimal(&case.message), words.join(" "), hexadecimal(&key));
    }
    // With `l=`, what others put behind it does not count.
    for number in 0..by_us {
        let case = tame(&mut dice);
        let (head, body) = (FORMS[dice.below(2)], FORMS[dice.below(2)]);
        let whole = canonical_body(Message::read(&case.message).body(), body).len();
        let length = (number % 3 == 0).then(|| u64::try_from(dice.below(whole + 1)).unwrap());
        let signing = Signing {
            domain: "example.com".to_owned(),
            selector: "a".to_owned(),
            head,
            body,
            fields: ["From", "From", "To", "Subject", "X-A", "X-Again", "X-Again"].map(str::to_owned).to_vec(),
            length,
            signed_s: Some(1_700_000_000),
            expires_s: (number % 5 == 0).then_some(4_000_000_000),
        };
        let field = signer.sign(&case.message, &signing).unwrap();
        let message = [field.as_bytes(), &case.message].concat();
        questions += &format!("verify {} {}\n", hexadecimal(&message), hexadecimal(&record));
    }
    let Some(answers) = asked(&package, &questions) else { return };
    assert_eq!(answers.len(), by_dkimpy + by_us);
    let mut differ = Vec::new();
    for (number, ((case, ..), answer)) in theirs.iter().zip(&answers).enumerate() {
        assert!(!answer.starts_with('!'), "{number}: {answer}");
        let signed = [bytes(answer), case.message.clone()].concat();
        let (result, why) = verified(&signed, &record);
        if result != DkimResult::Pass {
            differ.push(format!("{number}: dkimpy's own is {result:?} {why}: {}", signed.escape_ascii()));
        }
    }
    let lines: Vec<&str> = questions.lines().collect();
    for (answer, question) in answers.iter().zip(lines).skip(by_dkimpy) {
        if answer != "1" {
            let message = bytes(question.split(' ').nth(1).unwrap());
            differ.push(format!("dkimpy says {answer} of {}", message.escape_ascii()));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ[..differ.len().min(5)].join("\n"));
}
