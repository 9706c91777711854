//! LOOK009: the addresses of one service do not do the same: what a client gets depends on which one it meets.

use crate::outside::{self, Contact, Stake, at};
use crate::replies;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{CertificateProblem, ExaminedEndpoint, Session, TlsEnding};
use mxray_model::session::{Extension, SmtpSession};
use mxray_model::{Blind, Evidence, Finding, Mover, Seen, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    code: "LOOK009",
    name: "vantage-differs",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the addresses of one service disagree in what they offer, in their certificate or in whether they serve at all",
    page: include_str!("vantage_differs.md"),
    check,
};

/// What a client does differently when it is missing. Others (names of products, XCLIENT) may differ from node to node.
const SMTP_MATTERS: [&str; 6] = ["STARTTLS", "AUTH", "8BITMIME", "SMTPUTF8", "SIZE", "REQUIRETLS"];
const MAILBOX_MATTERS: [&str; 5] = ["STARTTLS", "STLS", "LOGINDISABLED", "AUTH", "SASL"];

/// What one address showed, by subject: `greeting`, `in clear STARTTLS`, `certificate`. What is unknown does not stand here.
type Shown = BTreeMap<String, String>;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (key, endpoint) in outside::endpoints(evidence, &RULE)? {
        let seen: Vec<(Contact<'_>, Shown)> =
            outside::contacts(key, endpoint).map(|contact| (contact, shown(contact))).collect();
        let comparable: Vec<&(Contact<'_>, Shown)> = seen.iter().filter(|(_, shown)| !shown.is_empty()).collect();
        // Servers serve their own machine in another way: those two kinds of sessions are not compared.
        let (same_host, far): (Vec<_>, Vec<_>) =
            comparable.into_iter().partition(|(contact, _)| contact.from_same_host());
        let mut differing: Vec<Difference<'_>> =
            outside::contacts(key, endpoint).flat_map(between_connections).collect();
        differing.extend(differences(&same_host));
        differing.extend(differences(&far));
        if !differing.is_empty() {
            judgement.find(finding(key, endpoint, &differing));
        } else if seen.len() < 2 {
            judgement.well(format!("{key}: it has one address, and showed the same each time"));
        } else if same_host.len().max(far.len()) >= 2 {
            judgement.well(format!("{key}: the addresses that could be compared agree"));
        } else {
            not_compared(key, endpoint).iter().for_each(|blind| judgement.blind(&RULE, blind));
        }
    }
    Ok(judgement)
}

/// One address may be several hosts behind a balancer: what some of its connections offered, and others did not.
fn between_connections(contact: Contact<'_>) -> Vec<Difference<'_>> {
    let mailbox = contact.endpoint.protocol.mailbox().is_some();
    let matters: &[&str] = if mailbox { &MAILBOX_MATTERS } else { &SMTP_MATTERS };
    let announced: Vec<&BTreeSet<String>> =
        contact.seen.samples.iter().filter_map(|sample| sample.announced.value()).collect();
    let difference = |keyword: &&str| {
        let count = announced.iter().filter(|list| list.contains(*keyword)).count();
        (count > 0 && count < announced.len()).then(|| Difference {
            subject: format!("{keyword} in clear"),
            by_address: vec![(contact, format!("offered in {count} of {} connections", announced.len()))],
        })
    };
    matters.iter().filter_map(difference).collect()
}

/// Why there was nothing to compare.
fn not_compared(key: &str, endpoint: &ExaminedEndpoint) -> Vec<Blind> {
    let unknown: Vec<Blind> = outside::contacts(key, endpoint).filter_map(why_not).collect();
    if !unknown.is_empty() {
        return unknown;
    }
    let why = format!("{key}: sessions from the machine itself are not compared with those from elsewhere");
    vec![Blind::NotAttempted { why }]
}

fn why_not(contact: Contact<'_>) -> Option<Blind> {
    if contact.endpoint.protocol.mailbox().is_some() {
        let session = match contact.mailbox() {
            Ok(session) => session,
            Err(blind) => return Some(blind),
        };
        return session.capabilities.is_empty().then(|| contact.cut_short(&session.ending, None));
    }
    match contact.smtp() {
        Ok(session) if session.hellos.iter().any(|hello| hello.extensions.value().is_some()) => None,
        Ok(session) => Some(replies::cut_short(contact, session)),
        Err(blind) => Some(blind),
    }
}

fn shown(contact: Contact<'_>) -> Shown {
    let mut shown = match &contact.seen.session {
        Seen::Value(Session::Smtp(session)) => smtp(contact, session),
        Seen::Value(Session::Mailbox(session)) => {
            let mut shown = Shown::new();
            for list in &session.capabilities {
                if let Seen::Value(listed) = &list.listed {
                    offers(&mut shown, list.tls, listed, &MAILBOX_MATTERS);
                }
            }
            shown
        }
        Seen::Absent | Seen::Unknown(_) => Shown::new(),
    };
    if let Seen::Value(tls) = &contact.seen.tls
        && tls.ending == TlsEnding::Established
        && tls.chain.value().is_some()
    {
        // Each node may have a certificate of its own; it matters whether something is wrong with one of them only.
        let kinds: BTreeSet<&str> = tls.problems.iter().map(problem).collect();
        let text = if kinds.is_empty() { "nothing wrong".to_owned() } else { list(kinds) };
        shown.insert("certificate".to_owned(), text);
    }
    shown
}

fn smtp(contact: Contact<'_>, session: &SmtpSession) -> Shown {
    let mut shown = Shown::new();
    match session.greeting.value() {
        Some(greeting) if greeting.code == 220 => _ = shown.insert("greeting".to_owned(), "serves".to_owned()),
        // A refusal that is meant for us, or that ends by itself, says nothing of the address.
        Some(greeting) if greeting.is_permanent() && !replies::names_us(greeting, contact) => {
            shown.insert("greeting".to_owned(), format!("refuses ({})", greeting.code));
        }
        _ => {}
    }
    for hello in &session.hellos {
        if let Seen::Value(listed) = &hello.extensions {
            offers(&mut shown, hello.tls, listed, &SMTP_MATTERS);
        }
    }
    shown
}

fn offers(shown: &mut Shown, tls: bool, listed: &BTreeMap<String, Extension>, matters: &[&str]) {
    let when = if tls { "under TLS" } else { "in clear" };
    for keyword in matters {
        let text = match listed.get(*keyword) {
            None => "not offered".to_owned(),
            // Of a size limit it matters that there is one; ways to log in matter by name.
            Some(extension) if matches!(*keyword, "AUTH" | "SASL") => {
                list(extension.parameters.iter().map(String::as_str).collect())
            }
            Some(_) => "offered".to_owned(),
        };
        shown.insert(format!("{keyword} {when}"), text);
    }
}

fn list(words: BTreeSet<&str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(" ")
}

fn problem(problem: &CertificateProblem) -> &'static str {
    match problem {
        CertificateProblem::Expired { .. } => "expired",
        CertificateProblem::NotYetValid { .. } => "not yet valid",
        CertificateProblem::NameMismatch { .. } => "another name",
        CertificateProblem::UnknownRoot { .. } | CertificateProblem::SelfSigned => "not trusted",
        CertificateProblem::Incomplete { .. } => "incomplete chain",
        CertificateProblem::BadSignature { .. } => "bad signature",
        CertificateProblem::Disordered => "disordered chain",
        CertificateProblem::WeakKey { .. } | CertificateProblem::WeakSignature { .. } => "weak",
        CertificateProblem::WrongUsage { .. } | CertificateProblem::NotACa { .. } => "wrong usage",
        CertificateProblem::PathTooLong { .. } | CertificateProblem::NameNotAllowed { .. } => {
            "forbidden by its authority"
        }
        CertificateProblem::Unreadable { .. } | CertificateProblem::UnknownCritical { .. } => "unreadable",
    }
}

/// One subject on which they disagree, and what each address shows of it.
struct Difference<'a> {
    subject: String,
    by_address: Vec<(Contact<'a>, String)>,
}

fn differences<'a>(seen: &[&(Contact<'a>, Shown)]) -> Vec<Difference<'a>> {
    let subjects: BTreeSet<&String> = seen.iter().flat_map(|(_, shown)| shown.keys()).collect();
    subjects
        .into_iter()
        .filter_map(|subject| {
            let by_address: Vec<(Contact<'a>, String)> =
                seen.iter().filter_map(|(contact, shown)| Some((*contact, shown.get(subject)?.clone()))).collect();
            let texts: BTreeSet<&String> = by_address.iter().map(|(_, text)| text).collect();
            (texts.len() > 1).then(|| Difference { subject: subject.clone(), by_address })
        })
        .collect()
}

fn finding(key: &str, endpoint: &ExaminedEndpoint, differing: &[Difference<'_>]) -> Finding {
    let subjects: BTreeSet<&str> = differing.iter().map(|one| one.subject.as_str()).collect();
    let subjects: Vec<&str> = subjects.into_iter().collect();
    let mut finding = RULE
        .finding(
            outside::subject(key),
            format!("{} does not do the same each time: {}.", outside::name(endpoint), subjects.join(", ")),
        )
        .confidence(0.9)
        .data("differs", subjects)
        .reference("RFC 5321 section 4.1.1.1");
    for difference in differing {
        for (contact, text) in &difference.by_address {
            let place = if difference.subject == "certificate" {
                contact.pointer(&["tls"])
            } else if contact.endpoint.protocol.mailbox().is_some() {
                contact.pointer(&at::MAILBOX)
            } else {
                contact.pointer(&at::SMTP)
            };
            finding = finding.because(format!("{}: {}: {text}", contact.at, difference.subject), "session", place);
        }
    }
    if outside::stake(endpoint) != Stake::Own {
        finding.whose_move = Mover::Receiver;
    }
    let step = outside::step(
        endpoint,
        "Set all addresses up alike, or take the one that differs out of DNS until it is: peers choose among them by chance.",
    );
    outside::touching(finding, endpoint).fix(step.verify(outside::probe_command(endpoint, "")))
}
