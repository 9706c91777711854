//! Whether what this host puts on its mail belongs to the domain of the author, by configuration alone: the domain that a signer
//! writes into `d=`, and SPF for the addresses that the domain's mail leaves from.
//!
//! What must not live here: what is reported of mail that was sent (`rules/reported`), and any judgement.

use super::{Of, by_itself, is_hidden, public_prefixes};
use crate::view;
use mxray_model::evidence::published::{DmarcDiscovery, DmarcMode, DomainWhy, SenderAddress, SenderWhy, SpfResult};
use mxray_model::evidence::{FileLine, Signer};
use mxray_model::{Blind, Evidence, Seen};
use std::collections::BTreeSet;

/// A signer that signs a domain's mail in the names of others.
#[derive(Debug)]
pub struct Foreign<'a> {
    pub software: &'a str,
    /// What it writes into `d=`.
    pub names: BTreeSet<&'a str>,
    /// The keys that it uses for that.
    pub at: Vec<&'a FileLine>,
}

/// Those that sign mail of this domain, where none signs it in an aligned name. Absent: one does, or none signs it at all.
/// Unknown: what a signer does is not known, or another program may sign besides.
pub fn foreign<'a>(evidence: &'a Evidence, of: &Of<'_>, found: &DmarcDiscovery) -> Seen<Vec<Foreign<'a>>> {
    let Seen::Value(signers) = &evidence.signers else { return Seen::Absent };
    let mut foreign = Vec::new();
    for (software, signer) in signers.iter().filter(|(_, signer)| is_in_use(signer)) {
        match &signer.domains {
            Seen::Value(domains) if !domains.iter().any(|domain| covers(domain, of.name)) => continue,
            Seen::Value(_) => {}
            Seen::Absent => continue,
            Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
        }
        let used = |file: &'a mxray_model::evidence::KeyUse| file.names.difference(&file.idle);
        let names: BTreeSet<&str> = signer
            .keys
            .values()
            .flat_map(used)
            .filter_map(|name| name.split_once("._domainkey."))
            .map(|(_, d)| d)
            .collect();
        if names.iter().any(|name| is_aligned(name, of.name, found)) {
            return Seen::Absent;
        }
        if names.is_empty() || !signer.problems.is_empty() {
            return Seen::not_attempted(&format!("in whose name {software} signs for {} is not known", of.name));
        }
        let at = signer.keys.values().filter(|file| used(file).next().is_some()).map(|file| &file.at).collect();
        foreign.push(Foreign { software, names, at });
    }
    match by_itself(evidence) {
        _ if foreign.is_empty() => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
        Seen::Value(_) | Seen::Absent => Seen::Value(foreign),
    }
}

fn is_in_use(signer: &Signer) -> bool {
    let runs = signer.running.value().is_some() || signer.enabled == Seen::Value(true);
    runs && signer.mode.value().is_none_or(|mode| mode.signs)
}

/// `*`, the name, or `.example.org` and `*.example.org` for what is below.
fn covers(pattern: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let pattern = pattern.trim_end_matches('.').to_ascii_lowercase();
    let below = pattern.strip_prefix("*.").or_else(|| pattern.strip_prefix('.'));
    pattern == "*" || pattern == name || below.is_some_and(|zone| name == zone || name.ends_with(&format!(".{zone}")))
}

/// RFC 9989 section 4.4.1, read so that doubt counts as aligned: both generations' organisations do.
fn is_aligned(signer: &str, author: &str, found: &DmarcDiscovery) -> bool {
    let (signer, author) = (signer.to_ascii_lowercase(), author.to_ascii_lowercase());
    // `%` and the like stand for the author's own.
    if signer == author || !signer.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')) {
        return true;
    }
    if found.record.as_ref().is_some_and(|record| record.dkim == DmarcMode::Strict) {
        return false;
    }
    let organisations = [&found.current.organizational, &found.older.organizational].into_iter().flatten();
    let within = |zone: &String| signer == *zone || signer.ends_with(&format!(".{zone}"));
    let mut organisations = organisations.peekable();
    organisations.peek().is_none() || organisations.any(within)
}

/// Whether SPF vouches for the domain's mail from each address that it leaves from. Unknown: an address is not known, SPF could not
/// be evaluated, or the envelope address is rewritten here.
pub fn by_spf(evidence: &Evidence, of: &Of<'_>) -> Seen<bool> {
    if let Some((server, table)) = rewritten(evidence) {
        return Seen::not_attempted(&format!("{table} of {server} may put another name into the envelope"));
    }
    let public = public_prefixes(evidence);
    let servers: BTreeSet<&str> = of.domain.why.iter().filter_map(|why| writer(evidence, why)).collect();
    let from_here = |sender: &&SenderAddress| {
        sender.why.iter().any(|why| match why {
            SenderWhy::Route { server } | SenderWhy::Bound { server } => {
                servers.is_empty() || servers.contains(server.as_str())
            }
            SenderWhy::Asked => false,
        })
    };
    let all: Vec<(&String, &SenderAddress)> =
        evidence.names.senders.iter().filter(|(_, sender)| from_here(sender)).collect();
    if all.is_empty() {
        return Seen::not_attempted("the addresses that its mail leaves from are not known");
    }
    for (text, sender) in all {
        if view::address_of(text).is_none_or(|address| is_hidden(address, &public)) {
            return Seen::not_attempted(&format!("{text} is private: receivers see another address"));
        }
        match sender.spf.get(of.name).map(|verdict| (verdict.result, &verdict.reason)) {
            Some((SpfResult::Pass, _)) => {}
            Some((SpfResult::TempError, why)) => {
                let step = format!("SPF of {} for {text}", of.name);
                return Seen::Unknown(Blind::Failed { step, error: why.clone() });
            }
            Some(_) => return Seen::Value(false),
            None => return Seen::not_attempted(&format!("SPF of {} was not evaluated for {text}", of.name)),
        }
    }
    Seen::Value(true)
}

/// A server that has tables for the addresses of senders (postconf(5), ADDRESS REWRITING; SRS is one).
fn rewritten(evidence: &Evidence) -> Option<(&str, &str)> {
    let servers = evidence.servers.value()?.iter().filter(|(_, server)| server.enabled && server.egress.sends);
    servers.into_iter().find_map(|(name, server)| {
        let tables = ["canonical_maps", "sender_canonical_maps"];
        let table = tables.into_iter().find(|table| !server.setting(table).trim().is_empty());
        let generic = server.clients.values().flat_map(|client| &client.rewriting);
        let mut generic = generic.map(|table| table.setting.as_str()).filter(|name| *name == "smtp_generic_maps");
        Some((name.as_str(), table.or_else(|| generic.next())?))
    })
}

/// The mail server that writes in the domain's name, where it is one.
fn writer<'a>(evidence: &Evidence, why: &'a DomainWhy) -> Option<&'a str> {
    match why {
        DomainWhy::Sends { by } if evidence.servers.value().is_some_and(|servers| servers.contains_key(by)) => Some(by),
        _ => None,
    }
}
