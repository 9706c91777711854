//! The text of a record (RFC 9989 sections 4.7 and 4.8). A bad value costs its tag, not the record.
//!
//! What must not live here: which record applies.

use crate::tags::{Tag, Tags, column, squeezed};
use mxray_model::evidence::published::{DmarcMode, DmarcPolicy, DmarcProblem, DmarcPsd, DmarcRecord, DmarcUri};
use mxray_model::text::untrusted;

const KNOWN: [&str; 15] =
    ["v", "p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf", "pct", "rf", "ri", "s"];
/// Gone in RFC 9989.
const REMOVED: [&str; 3] = ["pct", "rf", "ri"];
/// Most report addresses of one tag.
const URIS_MAX: usize = 50;

/// Section 4.8: the record begins with `v=DMARC1`, in exactly these letters.
pub(super) fn is_record(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let first = text.split(';').next().unwrap_or_default();
    match first.split_once('=') {
        Some((name, value)) => {
            let blank: &[char] = &[' ', '\t'];
            name.trim_end_matches(blank).eq_ignore_ascii_case("v") && value.trim_matches(blank) == "DMARC1"
        }
        None => false,
    }
}

/// Why text that is meant to be a record is none.
pub(super) fn near_miss(text: &[u8]) -> Option<String> {
    if is_record(text) {
        return None;
    }
    let start = String::from_utf8_lossy(text).chars().take(24).collect::<String>().to_ascii_lowercase();
    let squeezed: String = start.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '=' | ';')).collect();
    if !squeezed.contains("dmarc") {
        return None;
    }
    let exact = squeezed.starts_with("v=dmarc1;") || squeezed == "v=dmarc1";
    Some(match exact {
        true => "the version is written exactly v=DMARC1, and nothing stands before it".to_owned(),
        false => "it does not begin with v=DMARC1 and a semicolon".to_owned(),
    })
}

/// Reads a record; that it is one is known.
pub fn read(text: &[u8]) -> DmarcRecord {
    let shown = untrusted(text);
    let text = String::from_utf8_lossy(text);
    let (tags, errors) = Tags::read(&text);
    let mut problems: Vec<DmarcProblem> = errors
        .into_iter()
        .take(8)
        .map(|error| DmarcProblem::Syntax { column: error.column(), why: error.why })
        .collect();
    let mut reader = Reader { tags: &tags, problems: &mut problems };
    let policy = reader.policy("p");
    let subdomains = reader.policy("sp");
    let nonexistent = reader.policy("np");
    let (dkim, spf) = (reader.mode("adkim"), reader.mode("aspf"));
    let psd = match reader.choice("psd", &["y", "n", "u"]) {
        Some("y") => DmarcPsd::Yes,
        Some("n") => DmarcPsd::No,
        _ => DmarcPsd::Undefined,
    };
    let testing = reader.choice("t", &["y", "n"]) == Some("y");
    let (aggregate, failure) = (reader.uris("rua"), reader.uris("ruf"));
    let percent = reader.percent();
    reader.others();
    let stated = policy.is_some();
    let policy = policy.unwrap_or(DmarcPolicy::None);
    judge(&tags, policy, subdomains, nonexistent, &mut problems);
    if aggregate.is_empty() {
        problems.push(DmarcProblem::NoReports);
    }
    if testing {
        problems.push(DmarcProblem::Testing);
    }
    let subdomains = subdomains.unwrap_or(policy);
    DmarcRecord {
        text: shown,
        policy,
        policy_stated: stated,
        subdomains,
        nonexistent: nonexistent.unwrap_or(subdomains),
        dkim,
        spf,
        psd,
        testing,
        percent,
        aggregate,
        failure,
        problems,
    }
}

fn judge(
    tags: &Tags<'_>,
    policy: DmarcPolicy,
    subdomains: Option<DmarcPolicy>,
    nonexistent: Option<DmarcPolicy>,
    problems: &mut Vec<DmarcProblem>,
) {
    let at = tags.0.iter().position(|tag| tag.name.eq_ignore_ascii_case("p"));
    match at {
        None => problems.push(DmarcProblem::PolicyMissing),
        Some(at) if at != 1 => problems.push(DmarcProblem::PolicyNotSecond),
        Some(_) => {}
    }
    for (tag, stated) in [("sp", subdomains), ("np", nonexistent)] {
        if let Some(weaker) = stated.filter(|stated| *stated < policy) {
            problems.push(DmarcProblem::Weaker { tag: tag.to_owned(), policy: weaker });
        }
    }
}

struct Reader<'t, 'p> {
    tags: &'t Tags<'t>,
    problems: &'p mut Vec<DmarcProblem>,
}

impl<'t> Reader<'t, '_> {
    /// Names are without case (section 4.8).
    fn tag(&self, name: &str) -> Option<&'t Tag<'t>> {
        self.tags.0.iter().find(|tag| tag.name.eq_ignore_ascii_case(name))
    }

    fn choice<'c>(&mut self, name: &str, choices: &[&'c str]) -> Option<&'c str> {
        let tag = self.tag(name)?;
        let chosen = choices.iter().find(|choice| choice.eq_ignore_ascii_case(tag.value)).copied();
        if chosen.is_none() {
            self.bad(tag);
        }
        chosen
    }

    fn bad(&mut self, tag: &Tag<'_>) {
        let (name, value) = (untrusted(tag.name.as_bytes()), untrusted(tag.value.as_bytes()));
        self.problems.push(DmarcProblem::Value { tag: name, value, column: column(tag.value_at) });
    }

    fn policy(&mut self, name: &str) -> Option<DmarcPolicy> {
        match self.choice(name, &["none", "quarantine", "reject"])? {
            "none" => Some(DmarcPolicy::None),
            "quarantine" => Some(DmarcPolicy::Quarantine),
            _ => Some(DmarcPolicy::Reject),
        }
    }

    fn mode(&mut self, name: &str) -> DmarcMode {
        match self.choice(name, &["r", "s"]) {
            Some("s") => DmarcMode::Strict,
            _ => DmarcMode::Relaxed,
        }
    }

    fn percent(&mut self) -> Option<u32> {
        let tag = self.tag("pct")?;
        let percent = tag.value.parse::<u32>().ok().filter(|percent| *percent <= 100);
        if percent.is_none() {
            self.bad(tag);
        }
        percent
    }

    fn others(&mut self) {
        for tag in &self.tags.0 {
            let lower = tag.name.to_ascii_lowercase();
            if REMOVED.contains(&lower.as_str()) {
                let value = untrusted(tag.value.as_bytes());
                self.problems.push(DmarcProblem::RemovedTag { tag: lower, value });
            } else if !KNOWN.contains(&lower.as_str()) {
                self.problems.push(DmarcProblem::UnknownTag { tag: untrusted(tag.name.as_bytes()) });
            }
        }
        if let Some(tag) = self.tag("fo")
            && !tag.value.split(':').all(|option| matches!(option.trim(), "0" | "1" | "d" | "s" | "D" | "S"))
        {
            self.bad(tag);
        }
    }

    /// Section 4.7: URIs, of which receivers have to know `mailto:`.
    fn uris(&mut self, name: &str) -> Vec<DmarcUri> {
        let Some(tag) = self.tag(name) else { return Vec::new() };
        let mut found = Vec::new();
        for piece in tag.value.split(',').take(URIS_MAX) {
            let uri = squeezed(piece);
            let (uri, size) = match uri.split_once('!') {
                Some((uri, size)) => (uri.to_owned(), Some(size.to_owned())),
                None => (uri, None),
            };
            let shown = untrusted(uri.as_bytes());
            if size.is_some() {
                self.problems.push(DmarcProblem::SizeLimit { uri: shown.clone() });
            }
            match target(&uri) {
                Ok(domain) => found.push(DmarcUri { uri: shown, domain }),
                Err(why) => {
                    let tag = name.to_owned();
                    self.problems.push(DmarcProblem::Uri { tag, uri: shown, why: why.to_owned() });
                }
            }
        }
        found
    }
}

/// The domain of a `mailto:` URI (RFC 6068). Other schemes have none that is known here.
pub(crate) fn target(uri: &str) -> Result<Option<String>, &'static str> {
    if uri.is_empty() {
        return Err("a URI is missing");
    }
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err("no URI: an address is written mailto:name@domain");
    };
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !named {
        return Err("no URI: an address is written mailto:name@domain");
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        return Ok(None);
    }
    let address = rest.split(['?', '#']).next().unwrap_or_default();
    match address.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && crate::spf::askable(domain).is_some() && domain.contains('.') => {
            Ok(Some(domain.trim_end_matches('.').to_ascii_lowercase()))
        }
        _ => Err("no address after mailto:"),
    }
}
