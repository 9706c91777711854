//! What the rules on DKIM keys share: published keys by selector, who uses them, and the record of a private key of this host.

use super::{Of, each_signed};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::published::{DkimKey, DkimKeyProblem, Selector, SelectorFrom};
use mxray_model::evidence::{KeyUse, PrivateKey, Signer};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};

/// A selector of a domain that is ours to judge.
pub struct Key<'a> {
    pub of: Of<'a>,
    pub selector: &'a str,
    pub one: &'a Selector,
}

/// Where a private key stands, and what for.
pub struct Local<'a> {
    pub software: &'a str,
    pub signer: &'a Signer,
    pub file: &'a str,
    pub key: &'a KeyUse,
    pub private: Seen<&'a PrivateKey>,
}

impl Key<'_> {
    pub fn name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.of.name)
    }

    pub fn subject(&self) -> Subject {
        Subject::new(SubjectKind::Name, self.name())
    }

    pub fn pointer(&self, rest: &[&str]) -> String {
        self.of.pointer(&[&["selectors", self.selector], rest].concat())
    }

    /// A signer of this host signs with it.
    pub fn is_used(&self) -> bool {
        self.one.from.iter().any(|from| matches!(from, SelectorFrom::Signer { .. }))
    }

    /// Who names the selector.
    pub fn told_by(&self) -> String {
        let words = self.one.from.iter().map(|from| match from {
            SelectorFrom::Asked => "--selector".to_owned(),
            SelectorFrom::Mail { file } => format!("a signature of {file}"),
            SelectorFrom::Signer { software } => format!("the configuration of {software}"),
            SelectorFrom::Report => "a receiver's report".to_owned(),
        });
        super::listed(&words.collect::<Vec<_>>())
    }

    /// The finding with what all of them say.
    pub fn finding(&self, rule: &Rule, severity: Severity, summary: String) -> Finding {
        rule.finding_as(severity, self.subject(), summary)
            .because(format!("the selector is known from {}", self.told_by()), "selectors", self.pointer(&["from"]))
            .data("selector", self.selector)
            .data("domain", self.of.name)
            .touches(self.of.subject())
    }

    /// The step that looks again.
    pub fn verified(&self, fix: Fix) -> Fix {
        fix.verify(format!("mxray domain {} --selector {} --no-connect", self.of.name, self.selector))
    }
}

/// Every selector that somebody named. That of a domain none is known is DKIM101's.
pub fn selectors(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Key<'_>, &mut Judgement)) -> Said {
    each_signed(evidence, rule, |of, judgement| {
        if of.domain.selectors.is_empty() {
            judgement.well(format!("{}: no selector is known that this could be said of", of.name));
        }
        for (selector, one) in &of.domain.selectors {
            judge(&Key { of: *of, selector, one }, judgement);
        }
    })
}

/// Every selector whose records were seen.
pub fn published(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Key<'_>, &[DkimKey], &mut Judgement)) -> Said {
    selectors(evidence, rule, |key, judgement| match &key.one.keys {
        Seen::Value(keys) => judge(key, keys, judgement),
        Seen::Absent => judgement.well(format!("{}: no key is published that this could be said of", key.name())),
        Seen::Unknown(blind) => judgement.blind(rule, blind),
    })
}

pub fn is_revoked(key: &DkimKey) -> bool {
    key.problems.contains(&DkimKeyProblem::Revoked)
}

/// Why no verifier can use it. `None`: it can be used.
pub fn unusable(key: &DkimKey) -> Option<String> {
    key.problems.iter().find_map(|problem| match problem {
        DkimKeyProblem::Syntax { column, why } => Some(format!("at column {column}: {why}")),
        DkimKeyProblem::Version { found } => {
            Some(format!("it begins with v={found}, which is no version of a DKIM key (DKIM1)"))
        }
        DkimKeyProblem::NoKey => Some("it has no p=, and so no key".to_owned()),
        DkimKeyProblem::Base64 { at, why } => Some(format!("p= is no base64 at character {at}: {why}")),
        DkimKeyProblem::NotAKey { why } => Some(format!("p= holds no key: {why}")),
        DkimKeyProblem::UnknownKind { kind } => Some(format!("k={kind} is no kind of key that verifiers know")),
        DkimKeyProblem::TooLong { bits } => Some(format!("it has {bits} bits, more than verifiers calculate with")),
        DkimKeyProblem::Hashes { allowed } => Some(format!("h={allowed} allows no hash that signers use")),
        DkimKeyProblem::Services { allowed } => Some(format!("s={allowed}: it is not for mail")),
        DkimKeyProblem::Revoked | DkimKeyProblem::TooShort { .. } | DkimKeyProblem::Short { .. } => None,
    })
}

/// The private keys of this host that sign under one name.
pub fn local<'a>(evidence: &'a Evidence, name: &str) -> Vec<Local<'a>> {
    let mut found = Vec::new();
    for (software, signer) in evidence.signers.value().into_iter().flatten() {
        for (file, key) in &signer.keys {
            let named =
                |names: &std::collections::BTreeSet<String>| names.iter().any(|one| one.eq_ignore_ascii_case(name));
            if named(&key.names) && !named(&key.idle) {
                let private = match &key.file {
                    Seen::Value(held) => held.key.as_ref(),
                    Seen::Absent => Seen::Absent,
                    Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
                };
                found.push(Local { software, signer, file, key, private });
            }
        }
    }
    found
}

/// The record that a private key's public half wants, where DKIM knows its kind.
pub fn record_of(private: &PrivateKey) -> Option<String> {
    let public = private.dkim_public.value()?;
    let kind = match private.public.value()?.algorithm.as_str() {
        "RSA" => "rsa",
        "Ed25519" => "ed25519",
        _ => return None,
    };
    Some(format!("v=DKIM1; k={kind}; p={public}"))
}

/// The step that publishes the key which this host signs with, where it can be read.
pub fn publish_own(evidence: &Evidence, key: &Key<'_>, text: &str) -> Fix {
    let name = key.name();
    let record = local(evidence, &name).into_iter().find_map(|local| record_of(local.private.value()?));
    key.verified(match record {
        Some(record) => super::publish(text, &name, &record),
        None => super::change(format!(
            "{text} Its text is in the file that was made with the private key (`{}.txt`).",
            key.selector
        )),
    })
}

/// Where the key's place in the configuration is, for a reason.
pub fn local_pointer(local: &Local<'_>) -> String {
    view::pointer(["signers", "value", local.software, "keys", local.file])
}
