//! DKIM110: the published key is another one than this host signs with.

use crate::authentication::dkim::{self, Key, Local, is_revoked, local, local_pointer, record_of, unusable};
use crate::authentication::{change, publish};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::PrivateKey;
use mxray_model::evidence::published::DkimKey;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "DKIM110",
    name: "dkim-key-mismatch",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the published key is not that of the private key which this host signs with",
    page: include_str!("key_mismatch.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::published(evidence, &RULE, |key, keys, judgement| {
        let usable: Vec<(usize, &DkimKey)> =
            keys.iter().enumerate().filter(|(_, one)| !is_revoked(one) && unusable(one).is_none()).collect();
        let locals = local(evidence, &key.name());
        if locals.is_empty() || usable.is_empty() {
            return judgement.well(format!("{}: there are no two keys that could differ", key.name()));
        }
        for local in &locals {
            compare(key, &usable, local, judgement);
        }
    })
}

fn compare(key: &Key<'_>, usable: &[(usize, &DkimKey)], local: &Local<'_>, judgement: &mut Judgement) {
    let private = match &local.private {
        Seen::Value(private) => *private,
        Seen::Absent => {
            let why = format!("{} holds no private key that could be compared", local.file);
            return judgement.blind(&RULE, &Blind::NotAttempted { why });
        }
        Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
    };
    let verdicts: Vec<Seen<bool>> = usable.iter().map(|(_, one)| is_same(one, private)).collect();
    if verdicts.contains(&Seen::Value(true)) {
        return judgement.well(format!("{} is the key in {}", key.name(), local.file));
    }
    match verdicts.iter().find_map(Seen::blind) {
        Some(blind) => judgement.blind(&RULE, blind),
        None => judgement.find(finding(key, usable, local, private)),
    }
}

/// By the text of p=, or by what it holds: RFC 6376 has two encodings of one RSA key.
fn is_same(published: &DkimKey, private: &PrivateKey) -> Seen<bool> {
    if let (Some(public), Seen::Value(own)) = (&published.public, &private.dkim_public)
        && public == own
    {
        return Seen::Value(true);
    }
    match (&published.spki_sha256, &private.public) {
        (Some(theirs), Seen::Value(own)) => Seen::Value(theirs.eq_ignore_ascii_case(&own.spki_sha256)),
        (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        (None, _) => Seen::not_attempted("the published key cannot be read here"),
        (_, Seen::Absent) => Seen::not_attempted("the private key's public half cannot be calculated"),
    }
}

fn finding(key: &Key<'_>, usable: &[(usize, &DkimKey)], local: &Local<'_>, private: &PrivateKey) -> Finding {
    // One that does not run breaks nothing until it does.
    let runs = local.signer.running.value().is_some();
    let severity = if runs || local.signer.running.blind().is_some() { RULE.severity } else { Severity::Error };
    let name = key.name();
    let summary = format!(
        "{} signs with the key in {}, and {name} publishes another one: all of its signatures fail.",
        local.software, local.file
    );
    let mut finding = key
        .finding(&RULE, severity, summary)
        .confidence(0.95)
        .because(format!("the private key is in {}", local.file), local.key.at.to_string(), local_pointer(local))
        .data("file", local.file)
        .data("software", local.software)
        .touches(Subject::file(local.file));
    for (at, _) in usable {
        let pointer = key.pointer(&["keys", "value", &at.to_string(), "record"]);
        finding = finding.because("p= is of another key", format!("TXT {name}"), pointer);
    }
    for step in steps(key, &name, local, private) {
        finding = finding.fix(step);
    }
    finding.reference("RFC 6376 section 3.6.1").reference("RFC 6376 section 6.1.3")
}

fn steps(key: &Key<'_>, name: &str, local: &Local<'_>, private: &PrivateKey) -> [Fix; 2] {
    let text = "Publish the key that this host signs with, in place of the other:";
    let publish = match record_of(private) {
        Some(record) => publish(text, name, &record),
        None => change("Publish the key that this host signs with, in place of the other."),
    };
    let other = Fix::here(format!(
        "Or, where another host signs with the published key under this selector, give this one a key and a selector of its own \
         ({}).",
        local.key.at
    ));
    [key.verified(publish), other]
}
