//! MTA-STS (RFC 8461): record, policy, and which servers it covers.
//!
//! What must not live here: fetching, and whether a server's certificate holds.

use crate::ask::{Asker, Evaluator, Fetched, Kind, Pending};
use crate::spf::{askable, text};
use crate::tags::Tags;
use mxray_model::evidence::RecordData;
use mxray_model::evidence::published::{StsMode, StsPolicy, StsProblem, StsRecord, StsState};
use mxray_model::{Blind, Seen, text::untrusted};

/// Section 3.2.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
const MAX_AGE_MAX_S: u64 = 31_557_600;
const WEEK_S: u64 = 7 * 86_400;
const ID_MAX: usize = 32;
const PATTERNS_MAX: usize = 500;
const PROBLEMS_MAX: usize = 20;

/// Evaluates a domain's MTA-STS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sts {
    pub domain: String,
}

impl Evaluator for Sts {
    type Outcome = StsState;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<StsState, Pending> {
        let Some(domain) = askable(&self.domain) else {
            let domain = untrusted(self.domain.as_bytes());
            let blind = || Blind::NotUnderstood { what: "a domain's name".to_owned(), text: domain.clone() };
            let (record, policy) = (Seen::Unknown(blind()), Seen::Unknown(blind()));
            let uncovered = Seen::Unknown(blind());
            return Ok(StsState { domain, record, policy, fetch: None, uncovered });
        };
        ask.ahead(&domain, Kind::Mx);
        let record = found(&domain, ask)?;
        let mut state =
            StsState { domain: domain.clone(), record, policy: Seen::Absent, fetch: None, uncovered: Seen::Absent };
        match &state.record {
            // No sender fetches a policy that no record announces.
            Seen::Value(record) if !several(record) && is_record(record.text.as_bytes()) => {}
            Seen::Value(_) | Seen::Absent => return Ok(state),
            Seen::Unknown(blind) => {
                (state.policy, state.uncovered) = (Seen::Unknown(blind.clone()), Seen::Unknown(blind.clone()));
                return Ok(state);
            }
        }
        let fetched = ask.policy(&domain)?;
        (state.policy, state.fetch) = fetched_policy(fetched);
        state.uncovered = match &state.policy {
            Seen::Value(policy) => uncovered(&domain, policy, ask)?,
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        Ok(state)
    }
}

fn several(record: &StsRecord) -> bool {
    record.problems.iter().any(|problem| matches!(problem, StsProblem::SeveralRecords { .. }))
}

/// Section 3.1: records that do not begin with the version are none, and several are none.
fn found(domain: &str, ask: &mut Asker<'_>) -> Result<Seen<StsRecord>, Pending> {
    let texts: Vec<Vec<u8>> = match ask.dns(&format!("_mta-sts.{domain}"), Kind::Txt)?.found() {
        Seen::Value(records) => records.into_iter().filter_map(text).collect(),
        Seen::Absent => return Ok(Seen::Absent),
        Seen::Unknown(blind) => return Ok(Seen::Unknown(blind)),
    };
    let own: Vec<&Vec<u8>> = texts.iter().filter(|text| is_record(text)).collect();
    Ok(match (own.as_slice(), texts.as_slice()) {
        ([one], _) => Seen::Value(record(one)),
        // One that is meant to be a record is worth a word; what a wildcard answers with is not.
        ([], [other]) if is_meant(other) => Seen::Value(record(other)),
        ([], _) => Seen::Absent,
        ([first, ..], _) => {
            let mut read = record(first);
            let count = u32::try_from(own.len()).unwrap_or(u32::MAX);
            read.problems.push(StsProblem::SeveralRecords { count });
            Seen::Value(read)
        }
    })
}

fn is_record(text: &[u8]) -> bool {
    text.strip_prefix(b"v=STSv1").is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b';'))
}

fn is_meant(text: &[u8]) -> bool {
    text.to_ascii_lowercase().windows(3).any(|three| three == b"sts")
}

/// Reads the record at `_mta-sts`.
pub fn record(text: &[u8]) -> StsRecord {
    let shown = untrusted(text);
    let whole = String::from_utf8_lossy(text);
    let (tags, errors) = Tags::read(&whole);
    let mut problems: Vec<StsProblem> =
        errors.into_iter().take(8).map(|error| StsProblem::Record { column: error.column(), why: error.why }).collect();
    if !is_record(text) {
        let why = "it does not begin with v=STSv1; and is none".to_owned();
        problems.push(StsProblem::Record { column: 1, why });
    }
    let id = tags.tag("id");
    match id {
        None => problems.push(StsProblem::MissingKey { key: "id".to_owned() }),
        Some(tag) => {
            let fits = !tag.value.is_empty() && tag.value.len() <= ID_MAX;
            if !fits || !tag.value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let why = format!("id= is 1 to {ID_MAX} letters and digits");
                problems.push(StsProblem::Record { column: crate::tags::column(tag.value_at), why });
            }
        }
    }
    StsRecord { text: shown, id: id.map(|tag| untrusted(tag.value.as_bytes())), problems }
}

/// Section 3.3: 200 and nothing else is a policy.
fn fetched_policy(fetched: &Fetched) -> (Seen<StsPolicy>, Option<String>) {
    match fetched {
        Fetched::Body { bytes, content_type } => {
            let mut read = policy(bytes);
            if let Some(found) = content_type
                && !found.trim().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("text/plain"))
            {
                read.problems.push(StsProblem::ContentType { found: untrusted(found.as_bytes()) });
            }
            (Seen::Value(read), None)
        }
        Fetched::Status(status @ 300..=399) => {
            (Seen::Absent, Some(format!("the server answers {status}, and redirections are not followed")))
        }
        Fetched::Status(status) => (Seen::Absent, Some(format!("the server answers {status}, where 200 is asked for"))),
        Fetched::NotTrusted(why) => (Seen::Absent, Some(untrusted(why.as_bytes()))),
        Fetched::TooLarge => (Seen::Absent, Some(format!("the policy is larger than {POLICY_BYTES_MAX} bytes"))),
        Fetched::NoServer(why) | Fetched::Malformed(why) => (Seen::Absent, Some(untrusted(why.as_bytes()))),
        Fetched::NotAllowed(why) => {
            let why = untrusted(why.as_bytes());
            (Seen::Unknown(Blind::NotAttempted { why: why.clone() }), Some(why))
        }
        Fetched::Unknown(blind) => (Seen::Unknown(blind.clone()), Some(blind.why())),
    }
}

/// Reads a policy (section 3.2). Lines end with LF or with CRLF.
pub fn policy(bytes: &[u8]) -> StsPolicy {
    let mut read = StsPolicy {
        text: untrusted(bytes),
        mode: None,
        max_age_s: None,
        patterns: Vec::new(),
        valid: false,
        problems: Vec::new(),
    };
    let mut version = None;
    let mut seen: Vec<String> = Vec::new();
    let kept = bytes.get(..POLICY_BYTES_MAX.min(bytes.len())).unwrap_or_default();
    if bytes.len() > POLICY_BYTES_MAX {
        read.problems.push(StsProblem::Policy { line: 0, why: format!("more than {POLICY_BYTES_MAX} bytes") });
    }
    for (number, line) in kept.split(|byte| *byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        let place = u32::try_from(number + 1).unwrap_or(u32::MAX);
        if line.trim().is_empty() {
            continue;
        }
        let mut wrong = |why: String| {
            if read.problems.len() < PROBLEMS_MAX {
                read.problems.push(StsProblem::Policy { line: place, why });
            }
        };
        let Some((key, value)) = line.split_once(':') else {
            wrong(format!("{} is no `key: value`", untrusted(line.as_bytes())));
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        // All but the first of a key are ignored, but of mx.
        if key != "mx" && seen.iter().any(|known| known == key) {
            wrong(format!("{} stands there twice; the first one counts", untrusted(key.as_bytes())));
            continue;
        }
        seen.push(key.to_owned());
        match key {
            "version" => version = Some(value == "STSv1"),
            "mode" => read.mode = mode(value, &mut wrong),
            "max_age" => read.max_age_s = max_age(value, &mut read.problems),
            "mx" if !is_pattern(value) => {
                wrong(format!("{} is no name and no `*.` with a name behind it", untrusted(value.as_bytes())));
            }
            "mx" if read.patterns.len() < PATTERNS_MAX => read.patterns.push(pattern(value)),
            // Unknown keys are ignored (section 3.2).
            _ => {}
        }
    }
    conclude(&mut read, version);
    read
}

fn conclude(read: &mut StsPolicy, version: Option<bool>) {
    let mut missing = |key: &str| read.problems.push(StsProblem::MissingKey { key: key.to_owned() });
    match version {
        None => missing("version"),
        Some(true) => {}
        Some(false) => {
            read.problems.push(StsProblem::Policy { line: 0, why: "version: STSv1 is the only one".to_owned() });
        }
    }
    let told = |key: &str, problems: &[StsProblem]| {
        problems.iter().any(|problem| match problem {
            StsProblem::Policy { why, .. } => why.starts_with(key),
            StsProblem::MaxAge { .. } => key == "max_age",
            _ => false,
        })
    };
    if read.mode.is_none() && !told("mode", &read.problems) {
        read.problems.push(StsProblem::MissingKey { key: "mode".to_owned() });
    }
    if read.max_age_s.is_none() && !told("max_age", &read.problems) {
        read.problems.push(StsProblem::MissingKey { key: "max_age".to_owned() });
    }
    let active = matches!(read.mode, Some(StsMode::Enforce | StsMode::Testing));
    if active && read.patterns.is_empty() {
        read.problems.push(StsProblem::NoMx);
    }
    if let Some(seconds) = read.max_age_s.filter(|seconds| active && *seconds < WEEK_S) {
        read.problems.push(StsProblem::ShortAge { seconds });
    }
    let complete = version == Some(true) && read.mode.is_some() && read.max_age_s.is_some();
    read.valid = complete && (!active || !read.patterns.is_empty());
}

fn mode(value: &str, wrong: &mut impl FnMut(String)) -> Option<StsMode> {
    match value {
        "enforce" => Some(StsMode::Enforce),
        "testing" => Some(StsMode::Testing),
        "none" => Some(StsMode::None),
        other => {
            wrong(format!("mode: {} is none of enforce, testing, none", untrusted(other.as_bytes())));
            None
        }
    }
}

fn max_age(value: &str, problems: &mut Vec<StsProblem>) -> Option<u64> {
    let digits = !value.is_empty() && value.len() <= 10 && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u64>() {
        Ok(seconds) if digits && seconds <= MAX_AGE_MAX_S => Some(seconds),
        _ => {
            problems.push(StsProblem::MaxAge { found: untrusted(value.as_bytes()) });
            None
        }
    }
}

fn pattern(value: &str) -> String {
    untrusted(value.trim_end_matches('.').to_ascii_lowercase().as_bytes())
}

fn is_pattern(value: &str) -> bool {
    let name = value.strip_prefix("*.").unwrap_or(value);
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
    };
    !name.is_empty() && name.split('.').all(label)
}

/// Section 4.1: `*.` stands for exactly one label on the left.
pub fn matches(pattern: &str, name: &str) -> bool {
    let clean = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let (pattern, name) = (clean(pattern), clean(name));
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => pattern == name,
    }
}

fn uncovered(domain: &str, policy: &StsPolicy, ask: &mut Asker<'_>) -> Result<Seen<Vec<String>>, Pending> {
    let names: Vec<String> = match ask.dns(domain, Kind::Mx)?.found() {
        Seen::Value(records) => {
            let exchange = |record: &mxray_model::evidence::DnsRecord| match &record.data {
                RecordData::Mx { exchange, .. } if !exchange.is_empty() => Some(exchange.clone()),
                _ => None,
            };
            records.into_iter().filter_map(exchange).collect()
        }
        // RFC 5321 section 5.1: the domain itself.
        Seen::Absent => vec![domain.to_owned()],
        Seen::Unknown(blind) => return Ok(Seen::Unknown(blind)),
    };
    let covered = |name: &String| policy.patterns.iter().any(|pattern| matches(pattern, name));
    Ok(Seen::Value(names.into_iter().filter(|name| !covered(name)).collect()))
}
