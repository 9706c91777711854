//! Blocklists that have a sending address or a domain, and lists that cannot be believed.
//!
//! Here stands what the rules share: which listings there are of a subject, and in which words. A list that refuses, is dead or is
//! answered for by a resolver never says "listed", and never "not listed".

pub mod domain_listed;
pub mod ip_listed;
pub mod ip_listed_minor;
pub mod refused;
pub mod unhealthy;

use crate::published::{self, listing_severity};
use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::published::{Listing, SenderWhy};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One list's word on one subject, with its key.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a str,
    listing: &'a Listing,
}

/// What all lists say of each address, or of each domain.
fn by_subject<'a>(
    evidence: &'a Evidence,
    addresses: bool,
    rule: &Rule,
    judgement: &mut Judgement,
) -> BTreeMap<&'a str, Vec<Entry<'a>>> {
    let mut found: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    none_asked(evidence, rule, judgement);
    for (key, listing) in &evidence.names.listings {
        if listing.subject.parse::<IpAddr>().is_ok() == addresses {
            found.entry(&listing.subject).or_default().push(Entry { key, listing });
        }
    }
    found
}

fn none_asked(evidence: &Evidence, rule: &Rule, judgement: &mut Judgement) {
    if evidence.names.listings.is_empty() {
        let why = "no list was asked".to_owned();
        judgement.blind(rule, &Blind::Elsewhere { why, look: "mxray lists ADDRESS".to_owned() });
    }
}

/// An entry of a list that many receivers go by.
fn is_major(listing: &Listing) -> bool {
    listing.tier == 1 && !listing.netblock
}

/// Those that list the subject as bad.
fn listed<'a>(entries: &[Entry<'a>], major: bool) -> Vec<Entry<'a>> {
    let bad = entries.iter().filter(|entry| listing_severity(entry.listing).is_some());
    bad.filter(|entry| is_major(entry.listing) == major).copied().collect()
}

/// Says of which lists nothing is known, in one line, or that those that answered do not have it.
fn clear(rule: &Rule, subject: &str, entries: &[Entry<'_>], major: bool, judgement: &mut Judgement) {
    let of: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| is_major(entry.listing) == major && !entry.listing.allow).collect();
    let unknown: Vec<&&Entry<'_>> = of.iter().filter(|entry| entry.listing.listed.blind().is_some()).collect();
    if let Some(first) = unknown.first() {
        let why = first.listing.listed.blind().map(Blind::why).unwrap_or_default();
        let (count, all, zone) = (unknown.len(), of.len(), &first.listing.zone);
        let why = format!("{subject}: {count} of {all} lists cannot be relied on, as {zone}: {why}");
        let look = format!("mxray lists {subject} --resolver ADDRESS-OF-AN-OWN-RESOLVER");
        judgement.blind(rule, &Blind::Elsewhere { why, look });
    }
    let known = of.len() - unknown.len();
    if known > 0 && listed(entries, major).is_empty() {
        judgement.well(format!("{subject} is on none of {known} lists that answer"));
    }
}

/// `Spamhaus ZEN (CSS: sends spam)`
fn in_words(listing: &Listing) -> String {
    match listing.meanings.is_empty() {
        true => listing.list.clone(),
        false => format!("{} ({})", listing.list, listing.meanings.join("; ")),
    }
}

/// One finding of all of these, with each list's own words and its page for being taken off.
fn finding(rule: &Rule, severity: Severity, subject: Subject, summary: &str, entries: &[Entry<'_>]) -> Finding {
    let listings = || entries.iter().map(|entry| entry.listing);
    let verify = format!("mxray lists {}", subject.value);
    let mut finding = rule
        .finding_as(severity, subject, summary)
        .confidence(0.97)
        .data("lists", listings().map(|one| one.zone.clone()).collect::<Vec<_>>())
        .data("meanings", listings().flat_map(|one| one.meanings.clone()).collect::<Vec<_>>())
        .data("delisting", listings().filter_map(|one| one.delisting.clone()).collect::<Vec<_>>())
        .reference("RFC 5782 section 2");
    for Entry { key, listing } in entries {
        let said = listing.texts.first().map_or(String::new(), |text| format!(" It says: {text}"));
        let text = format!("{} has an answer at {}.{said}", listing.zone, listing.asked);
        finding = finding.because(text, in_words(listing), view::pointer(["names", "listings", key]));
    }
    let first = "Find what got it there first: a broken account, a form that sends, a host behind the same address. Whoever asks \
                 to be taken off before that is back on within hours.";
    let mut step = Fix::here("Then ask each list to take it off, where it has a page for that.").verify(verify.clone());
    for listing in listings() {
        if let Some(page) = &listing.delisting {
            step.text.push_str(&format!(" {}: {page}", listing.list));
        }
    }
    finding.fix(Fix::here(first).verify(verify)).fix(step)
}

/// Mail leaves this host from there; it was not only asked about.
fn is_in_use(evidence: &Evidence, address: &str) -> bool {
    let sender = evidence.names.senders.get(address);
    sender.is_some_and(|sender| sender.why.iter().any(|why| !matches!(why, SenderWhy::Asked)))
}

fn address(text: &str) -> Subject {
    Subject::new(SubjectKind::Address, text)
}

fn domain(name: &str) -> Subject {
    published::subject(name)
}

/// Lists in one of two states, by zone, each with an entry that shows it.
fn in_state<'a>(evidence: &'a Evidence, is: impl Fn(&Listing) -> bool) -> BTreeMap<&'a str, Entry<'a>> {
    let all = evidence.names.listings.iter().filter(|(_, listing)| is(listing));
    all.map(|(key, listing)| (listing.zone.as_str(), Entry { key, listing })).collect()
}

/// What became of the lists themselves: one finding for all of them. It is a notice: nothing is wrong with the mail.
fn about_lists(
    evidence: &Evidence,
    rule: &Rule,
    is: impl Fn(&Listing) -> bool,
    well: &str,
    text: impl Fn(usize, usize, &str) -> (String, Fix),
) -> Judgement {
    let mut judgement = Judgement::nothing();
    let all: std::collections::BTreeSet<&str> =
        evidence.names.listings.values().map(|listing| listing.zone.as_str()).collect();
    let bad = in_state(evidence, is);
    let Some((first, _)) = bad.first_key_value() else {
        let known = evidence.names.listings.values().filter(|listing| listing.listed.blind().is_none()).count();
        let unknown = evidence.names.listings.values().find_map(|listing| listing.listed.blind());
        match (known, unknown) {
            (0, Some(blind)) => judgement.blind(rule, blind),
            (0, None) => none_asked(evidence, rule, &mut judgement),
            _ => judgement.well(well.to_owned()),
        }
        return judgement;
    };
    let (summary, fix) = text(bad.len(), all.len(), first);
    let mut finding = rule
        .finding(Subject::new(SubjectKind::List, if bad.len() == 1 { first } else { "several" }), summary)
        .confidence(0.95)
        .data("lists", bad.keys().copied().collect::<Vec<_>>())
        .reference("RFC 5782 section 5");
    for Entry { key, listing } in bad.values().take(8) {
        let why = match &listing.listed {
            Seen::Unknown(blind) => blind.why(),
            Seen::Value(_) | Seen::Absent => String::new(),
        };
        finding = finding.because(
            format!("{}: {why}.", listing.zone),
            "DNS, A",
            view::pointer(["names", "listings", key, "listed"]),
        );
    }
    judgement.find(finding.fix(fix));
    judgement
}
