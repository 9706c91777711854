//! From the trust anchor to an answer, zone by zone, and what becomes of trust on the way.

use super::TrustAnchors;
use super::denial::{Below, ITERATIONS_MAX, NSEC, NSEC3, Proofs};
use super::keys::{Delegation, Key, RRSIG, Rrsig, Set, Verified, date, is_supported, rank, set, verify};
use super::wire::{Message, Name, Record, split_name};
use crate::ask::{Asker, Kind, Pending};
use mxray_model::evidence::published::{
    DelegationSigner, SecurityChain, SecurityLink, SecurityReason, SecurityState, ZoneSignature,
};
use std::collections::BTreeMap;

const CNAME: u16 = 5;
const DNAME: u16 = 39;

/// Labels of a name that is walked to. Reverse names of IPv6 addresses have 34.
const LABELS_MAX: usize = 40;
/// Aliases that are followed; resolvers themselves stop at about so many.
const ALIASES_MAX: usize = 8;
/// Keys of a zone; even during a change of keys there are fewer than ten.
const KEYS_MAX: usize = 64;
/// DS records of a zone.
const DELEGATIONS_MAX: usize = 32;
/// Signatures of one set, and keys with the same tag, that are tried. Whoever has more means harm (CVE-2023-50387).
const SIGNATURES_MAX: usize = 8;
const SAME_TAG_MAX: usize = 4;
/// Signatures that are calculated for one evaluation.
const VERIFIED_MAX: u32 = 512;
/// NSEC and NSEC3 records of one answer; three are enough for any proof.
const PROOFS_MAX: usize = 16;

type Told<T> = Result<T, SecurityReason>;

pub(super) struct Walk<'a> {
    anchors: &'a TrustAnchors,
    now_s: i64,
    verified: u32,
    anchor: Option<Step>,
    /// By name, below the anchor.
    steps: BTreeMap<Name, Step>,
}

/// What was found at a name on the way down.
#[derive(Debug, Clone)]
enum Step {
    /// A zone begins here, and its keys are trusted.
    Zone(Vec<Key>, Box<SecurityLink>),
    /// The zone above goes on.
    NotCut,
    /// Nothing is here or below.
    Nothing,
    /// Trust ends here.
    Ends(SecurityReason, Box<SecurityLink>),
}

/// Where the walk to a name ended.
enum Reached {
    Zone(Name, Vec<Key>),
    Ended(SecurityReason),
}

impl<'a> Walk<'a> {
    pub fn new(anchors: &'a TrustAnchors, now_s: i64) -> Self {
        Walk { anchors, now_s, verified: 0, anchor: None, steps: BTreeMap::new() }
    }

    pub fn question(&mut self, name: &str, kind: Kind, ask: &mut Asker<'_>) -> Result<SecurityChain, Pending> {
        let mut chain = SecurityChain { question: format!("{} {name}", kind.as_str()), ..SecurityChain::default() };
        let mut names: Vec<Name> = Vec::new();
        let mut next = Name::read(name);
        let reason = loop {
            let Some(name) = next.take() else {
                break Some(not_answered(&chain.question, "it is no name that can be asked for"));
            };
            if names.contains(&name) || names.len() >= ALIASES_MAX || name.labels().len() > LABELS_MAX {
                break Some(SecurityReason::TooMuch { what: chain.question.clone() });
            }
            match self.answer(&name, kind, &mut chain, ask)? {
                Ok(Some(target)) => next = Some(target),
                Ok(None) => break None,
                Err(reason) => break Some(reason),
            }
            names.push(name);
        };
        chain.state = reason.as_ref().map_or(SecurityState::Secure, SecurityReason::state);
        chain.reason = reason;
        Ok(chain)
    }

    /// One name: what it is an alias of, if that is what it is.
    fn answer(
        &mut self,
        name: &Name,
        kind: Kind,
        chain: &mut SecurityChain,
        ask: &mut Asker<'_>,
    ) -> Result<Told<Option<Name>>, Pending> {
        let signed = ask.signed(&name.to_string(), kind);
        // Where the records are signed by a zone above, nobody has to prove that none begins between.
        let message = signed.as_ref().ok().and_then(|signed| signed.message.as_ref());
        let signer = message.and_then(|message| signer(message, name, kind.number()));
        let end = match kind {
            Kind::Ds => name.parent().unwrap_or_default(),
            _ => name.clone(),
        };
        let (reached, links) = self.reach(&signer.unwrap_or(end), ask)?;
        for link in links {
            if !chain.links.iter().any(|known| known.zone == link.zone) {
                chain.links.push(link);
            }
        }
        let (zone, keys) = match reached {
            Reached::Zone(zone, keys) => (zone, keys),
            Reached::Ended(reason) => return Ok(Err(reason)),
        };
        let signed = signed?;
        let what = what(name, kind.number());
        let Some(message) = signed.message.as_ref().filter(|_| signed.is_answer()) else {
            let why = if signed.why.is_empty() { "the name servers say that they failed" } else { &signed.why };
            return Ok(Err(not_answered(&what, why)));
        };
        let mut judge = Judge { walk: self, zone: &zone, keys: &keys, message };
        Ok(judge.positive_or_denied(name, kind.number(), chain))
    }

    /// Goes down to the zone that the name lies in.
    fn reach(&mut self, end: &Name, ask: &mut Asker<'_>) -> Result<(Reached, Vec<SecurityLink>), Pending> {
        let top = self.anchors.zone.clone();
        if !end.is_in(&top) {
            let why = format!("the keys that are trusted are those of {top}");
            let reason = SecurityReason::AnchorDiffers { zone: end.to_string(), why };
            return Ok((Reached::Ended(reason), Vec::new()));
        }
        let counts = (top.labels().len() + 1)..=end.labels().len();
        // All of it is asked for side by side.
        let _ = ask.signed(&top.to_string(), Kind::Dnskey);
        for count in counts.clone() {
            let below = end.last(count).to_string();
            if ask.signed(&below, Kind::Ds).is_ok_and(has_delegation) {
                let _ = ask.signed(&below, Kind::Dnskey);
            }
        }
        let mut links = Vec::new();
        let anchor = match self.anchor.clone() {
            Some(anchor) => anchor,
            None => {
                let entered = self.enter_anchor(ask)?;
                self.anchor.insert(entered).clone()
            }
        };
        let mut zone = match anchor {
            Step::Zone(keys, link) => {
                links.push(*link);
                (top, keys)
            }
            Step::Ends(reason, link) => return Ok((Reached::Ended(reason), vec![*link])),
            Step::NotCut | Step::Nothing => return Ok((Reached::Zone(top, Vec::new()), links)),
        };
        for count in counts {
            let below = end.last(count);
            let step = match self.steps.get(&below) {
                Some(step) => step.clone(),
                None => {
                    let step = self.step(&zone.0, &zone.1, &below, ask)?;
                    self.steps.insert(below.clone(), step.clone());
                    step
                }
            };
            match step {
                Step::Zone(keys, link) => {
                    links.push(*link);
                    zone = (below, keys);
                }
                Step::NotCut => {}
                Step::Nothing => break,
                Step::Ends(reason, link) => {
                    links.push(*link);
                    return Ok((Reached::Ended(reason), links));
                }
            }
        }
        Ok((Reached::Zone(zone.0, zone.1), links))
    }

    /// The zone that is trusted. What is wrong with it is nobody's fault whose name is asked for.
    fn enter_anchor(&mut self, ask: &mut Asker<'_>) -> Result<Step, Pending> {
        let anchors = self.anchors;
        let zone = anchors.zone.clone();
        let mut link = SecurityLink { zone: zone.to_string(), ..SecurityLink::default() };
        let told = self.keys_of(&zone, ask, &mut link, |key| anchors.trusts(key))?;
        link.delegated = anchors
            .delegations
            .iter()
            .map(|one| one.shown(link.keys.iter().any(|key| key.tag == one.tag && key.algorithm == one.algorithm)))
            .collect();
        let reason = match told {
            Ok(keys) => {
                link.state = SecurityState::Secure;
                return Ok(Step::Zone(keys, Box::new(link)));
            }
            Err(reason @ SecurityReason::NotAnswered { .. }) => reason,
            Err(SecurityReason::UnsignedRecords { .. }) => SecurityReason::Stripped { zone: zone.to_string() },
            Err(SecurityReason::NoKeys { .. }) => SecurityReason::AnchorDiffers {
                zone: zone.to_string(),
                why: "it has none; names are those of another, unsigned root".to_owned(),
            },
            Err(other) => SecurityReason::AnchorDiffers { zone: zone.to_string(), why: other.to_string() },
        };
        Ok(ends(reason, link))
    }

    /// What stands at a name below the apex of a trusted zone.
    fn step(&mut self, zone: &Name, keys: &[Key], below: &Name, ask: &mut Asker<'_>) -> Result<Step, Pending> {
        const DS: u16 = 43;
        let link = SecurityLink { zone: below.to_string(), ..SecurityLink::default() };
        let signed = ask.signed(&below.to_string(), Kind::Ds)?;
        let Some(message) = signed.message.as_ref().filter(|_| signed.is_answer()) else {
            let why = if signed.why.is_empty() { "the name servers say that they failed" } else { &signed.why };
            return Ok(ends(not_answered(&what(below, DS), why), link));
        };
        let delegations = match (Judge { walk: self, zone, keys, message }).delegations(below) {
            Ok(Delegated::Signed(delegations)) => delegations,
            Ok(Delegated::Not(Below::NotCut)) => return Ok(Step::NotCut),
            Ok(Delegated::Not(Below::Nothing)) => return Ok(Step::Nothing),
            Ok(Delegated::Not(Below::Unsigned { opt_out })) => {
                let reason = SecurityReason::Unsigned { zone: below.to_string(), parent: zone.to_string(), opt_out };
                return Ok(ends(reason, link));
            }
            Err(reason) => return Ok(ends(reason, link)),
        };
        self.enter(below, &delegations, link, ask)
    }

    /// A zone with DS records.
    fn enter(
        &mut self,
        zone: &Name,
        delegations: &[Delegation],
        mut link: SecurityLink,
        ask: &mut Asker<'_>,
    ) -> Result<Step, Pending> {
        link.delegated = delegations.iter().map(|one| one.shown(false)).collect();
        let mut usable: Vec<&Delegation> = delegations.iter().filter(|one| one.is_supported()).collect();
        // RFC 4509 section 3: beside a better digest, SHA-1 does not count.
        if usable.iter().any(|one| one.digest_type != 1) {
            usable.retain(|one| one.digest_type != 1);
        }
        if usable.is_empty() {
            let each = |one: &Delegation| format!("algorithm {}, digest type {}", one.algorithm, one.digest_type);
            let mut kinds: Vec<String> = delegations.iter().map(each).collect();
            kinds.dedup();
            let reason = SecurityReason::Unsupported { zone: zone.to_string(), what: kinds.join("; ") };
            return Ok(ends(reason, link));
        }
        let told = self.keys_of(zone, ask, &mut link, |key| usable.iter().any(|one| one.names(zone, key)))?;
        let is_key = |shown: &DelegationSigner, matching: &[Key]| {
            let same = |one: &&Delegation| {
                (one.tag, one.algorithm, one.digest_type) == (shown.tag, shown.algorithm, shown.digest_type)
            };
            delegations.iter().filter(same).any(|one| matching.iter().any(|key| one.names(zone, key)))
        };
        let all = ask.signed(&zone.to_string(), Kind::Dnskey).map(|signed| keys_in(signed.message.as_ref(), zone));
        let all = all.unwrap_or_default();
        for shown in &mut link.delegated {
            shown.matches = is_key(shown, &all);
        }
        Ok(match told {
            Ok(keys) => {
                link.state = SecurityState::Secure;
                Step::Zone(keys, Box::new(link))
            }
            Err(SecurityReason::NoMatchingKey { zone, keys, .. }) => {
                let ds = usable.iter().map(|one| one.tag).collect();
                ends(SecurityReason::NoMatchingKey { zone, ds, keys }, link)
            }
            Err(reason) => ends(reason, link),
        })
    }

    /// The keys of a zone, signed by one that is trusted already.
    fn keys_of(
        &mut self,
        zone: &Name,
        ask: &mut Asker<'_>,
        link: &mut SecurityLink,
        trusted: impl Fn(&Key) -> bool,
    ) -> Result<Told<Vec<Key>>, Pending> {
        const DNSKEY: u16 = 48;
        let signed = ask.signed(&zone.to_string(), Kind::Dnskey)?;
        let Some(message) = signed.message.as_ref().filter(|_| signed.is_answer()) else {
            let why = if signed.why.is_empty() { "the name servers say that they failed" } else { &signed.why };
            return Ok(Err(not_answered(&what(zone, DNSKEY), why)));
        };
        let Some(records) = set(&message.answers, zone, DNSKEY) else {
            return Ok(Err(SecurityReason::NoKeys { zone: zone.to_string() }));
        };
        let keys = keys_in(Some(message), zone);
        link.keys = keys.iter().map(Key::shown).collect();
        let matching: Vec<Key> = keys.iter().filter(|key| key.signs() && trusted(key)).cloned().collect();
        if matching.is_empty() {
            let tags = keys.iter().map(|key| key.tag).collect();
            return Ok(Err(SecurityReason::NoMatchingKey { zone: zone.to_string(), ds: Vec::new(), keys: tags }));
        }
        let mut judge = Judge { walk: self, zone, keys: &matching, message };
        let told = judge.verified(&records, &mut link.signatures);
        Ok(told.map(|_| keys.into_iter().filter(Key::signs).collect()))
    }
}

enum Delegated {
    Signed(Vec<Delegation>),
    Not(Below),
}

/// One message of a zone whose keys are trusted.
struct Judge<'w, 'a, 'm> {
    walk: &'w mut Walk<'a>,
    zone: &'m Name,
    keys: &'m [Key],
    message: &'m Message,
}

impl Judge<'_, '_, '_> {
    fn positive_or_denied(&mut self, name: &Name, kind: u16, chain: &mut SecurityChain) -> Told<Option<Name>> {
        let message = self.message;
        if let Some(records) = set(&message.answers, name, kind) {
            self.expanded(&records, &mut chain.signatures)?;
            return Ok(None);
        }
        if kind != CNAME
            && let Some(target) = self.alias(name, &mut chain.signatures)?
        {
            return Ok(Some(target));
        }
        const NXDOMAIN: u16 = 3;
        let what = what(name, kind);
        let proofs = self.proofs(&what)?;
        let proven = if message.code == NXDOMAIN { proofs.no_name(name) } else { proofs.no_data(name, kind) };
        let Some(proven) = proven else {
            return Err(SecurityReason::NoProof { what });
        };
        chain.denial = Some(proven.how.to_owned());
        if proven.opt_out {
            let (zone, parent) = (name.to_string(), self.zone.to_string());
            return Err(SecurityReason::Unsigned { zone, parent, opt_out: true });
        }
        Ok(None)
    }

    /// Where an alias leads, or DNAME above it (RFC 6672): its own signature is what counts then.
    fn alias(&mut self, name: &Name, signatures: &mut Vec<ZoneSignature>) -> Told<Option<Name>> {
        let message = self.message;
        let Some(alias) = set(&message.answers, name, CNAME) else { return Ok(None) };
        let Some((target, _)) = alias.datas.first().and_then(|data| split_name(data)) else { return Ok(None) };
        if alias.signatures.is_empty() {
            let above = (0..name.labels().len()).rev().map(|count| name.last(count));
            for owner in above.filter(|owner| owner.is_in(self.zone)) {
                let Some(records) = set(&message.answers, &owner, DNAME) else { continue };
                self.verified(&records, signatures)?;
                let to = records.datas.first().and_then(|data| split_name(data)).map(|(to, _)| to);
                let made = to.and_then(|to| name.substituted(&owner, &to));
                return if made.as_ref() == Some(&target) {
                    Ok(Some(target))
                } else {
                    Err(SecurityReason::UnsignedRecords { what: what(name, CNAME) })
                };
            }
        }
        self.expanded(&alias, signatures)?;
        Ok(Some(target))
    }

    /// The DS records of a name, or what is there instead.
    fn delegations(&mut self, below: &Name) -> Told<Delegated> {
        const DS: u16 = 43;
        let message = self.message;
        let mut signatures = Vec::new();
        if let Some(records) = set(&message.answers, below, DS) {
            self.verified(&records, &mut signatures)?;
            let all = records.datas.iter().take(DELEGATIONS_MAX).filter_map(|data| Delegation::read(data));
            return Ok(Delegated::Signed(all.collect()));
        }
        // An alias stands alone at its name (RFC 1034 section 3.6.2): no zone begins there.
        if self.alias(below, &mut signatures)?.is_some() {
            return Ok(Delegated::Not(Below::NotCut));
        }
        let what = what(below, DS);
        let found = self.proofs(&what)?.below(below);
        found.map(Delegated::Not).ok_or(SecurityReason::NoProof { what })
    }

    /// Records whose signature holds; where it was made for a wildcard, that nothing stands nearer (RFC 4035 section 5.3.4).
    fn expanded(&mut self, records: &Set<'_>, signatures: &mut Vec<ZoneSignature>) -> Told<()> {
        let labels = self.verified(records, signatures)?;
        if is_as_signed(records.owner, labels) {
            return Ok(());
        }
        let what = what(records.owner, records.kind);
        let proven = self.proofs(&what)?.no_nearer(records.owner, usize::from(labels));
        match proven {
            None => Err(SecurityReason::NoProof { what: format!("nearer name than the wildcard of {what}") }),
            Some(proven) if proven.opt_out => Err(SecurityReason::Unsigned {
                zone: records.owner.to_string(),
                parent: self.zone.to_string(),
                opt_out: true,
            }),
            Some(_) => Ok(()),
        }
    }

    /// One signature of the zone holds: how many labels it was made for.
    fn verified(&mut self, records: &Set<'_>, signatures: &mut Vec<ZoneSignature>) -> Told<u8> {
        let what = what(records.owner, records.kind);
        if records.signatures.is_empty() {
            return Err(SecurityReason::UnsignedRecords { what });
        }
        let mut worst: Option<SecurityReason> = None;
        for rrsig in records.signatures.iter().take(SIGNATURES_MAX) {
            let told = self.holds(records, rrsig, &what);
            let (inception, expiration) = rrsig.times(self.walk.now_s);
            signatures.push(ZoneSignature {
                of: what.clone(),
                tag: rrsig.tag,
                algorithm: rrsig.algorithm,
                inception: date(inception),
                expiration: date(expiration),
                reason: told.as_ref().err().cloned(),
            });
            match told {
                Ok(()) => return Ok(rrsig.labels),
                Err(reason @ SecurityReason::TooMuch { .. }) => return Err(reason),
                Err(reason) if worst.as_ref().is_none_or(|known| rank(&reason) > rank(known)) => worst = Some(reason),
                Err(_) => {}
            }
        }
        Err(worst.unwrap_or(SecurityReason::UnsignedRecords { what }))
    }

    fn holds(&mut self, records: &Set<'_>, rrsig: &Rrsig, what: &str) -> Told<()> {
        let what = || what.to_owned();
        if rrsig.signer != *self.zone {
            let (signer, zone) = (rrsig.signer.to_string(), self.zone.to_string());
            return Err(SecurityReason::WrongSigner { what: what(), signer, zone });
        }
        let unsupported = || SecurityReason::Unsupported {
            zone: self.zone.to_string(),
            what: format!("algorithm {}, key {}", rrsig.algorithm, rrsig.tag),
        };
        if !is_supported(rrsig.algorithm) {
            return Err(unsupported());
        }
        let (inception, expiration) = rrsig.times(self.walk.now_s);
        if expiration < self.walk.now_s {
            return Err(SecurityReason::Expired { what: what(), at: date(expiration) });
        }
        if inception > self.walk.now_s {
            return Err(SecurityReason::NotYetValid { what: what(), at: date(inception) });
        }
        let bad = SecurityReason::BadSignature { what: what(), tag: rrsig.tag };
        let Some(text) = rrsig.signed(records.owner, records.kind, &records.datas) else { return Err(bad) };
        let same = |key: &&Key| key.tag == rrsig.tag && key.algorithm == rrsig.algorithm;
        let mut keys = self.keys.iter().filter(same).take(SAME_TAG_MAX).peekable();
        if keys.peek().is_none() {
            return Err(SecurityReason::UnknownKey { what: what(), tag: rrsig.tag });
        }
        for key in keys {
            self.walk.verified += 1;
            if self.walk.verified > VERIFIED_MAX {
                return Err(SecurityReason::TooMuch { what: what() });
            }
            match verify(key, &text, &rrsig.signature) {
                Verified::Good => return Ok(()),
                Verified::CannotTell => return Err(unsupported()),
                Verified::Bad => {}
            }
        }
        Err(bad)
    }

    /// The NSEC and NSEC3 records whose signatures hold.
    fn proofs(&mut self, what: &str) -> Told<Proofs> {
        let message = self.message;
        let mut proofs = Proofs { zone: self.zone.clone(), ..Proofs::default() };
        let mut problem = None;
        let is_proof = |record: &&Record| matches!(record.kind, NSEC | NSEC3);
        for record in message.authorities.iter().filter(is_proof).take(PROOFS_MAX) {
            let Some(records) = set(&message.authorities, &record.owner, record.kind) else { continue };
            match self.verified(&records, &mut Vec::new()) {
                // A proof that was made from a wildcard proves nothing.
                Ok(labels) if is_as_signed(&record.owner, labels) => {
                    let _ = proofs.add(&record.owner, record.kind, &record.data);
                }
                Ok(_) => {}
                Err(reason) => problem = Some(reason),
            }
        }
        if let Some(hashing) = proofs.hashing.as_ref().filter(|hashing| hashing.iterations > ITERATIONS_MAX) {
            let what = format!("NSEC3 with {} iterations (RFC 9276 section 3.2)", hashing.iterations);
            return Err(SecurityReason::Unsupported { zone: self.zone.to_string(), what });
        }
        match problem {
            Some(reason) if proofs.all.is_empty() => Err(reason),
            _ if proofs.all.is_empty() => Err(SecurityReason::NoProof { what: what.to_owned() }),
            _ => Ok(proofs),
        }
    }
}

fn ends(reason: SecurityReason, mut link: SecurityLink) -> Step {
    link.state = reason.state();
    link.reason = Some(reason.clone());
    Step::Ends(reason, Box::new(link))
}

fn not_answered(what: &str, why: &str) -> SecurityReason {
    SecurityReason::NotAnswered { what: what.to_owned(), why: why.to_owned() }
}

fn has_delegation(signed: &super::Signed) -> bool {
    const DS: u16 = 43;
    signed.message.as_ref().is_some_and(|message| message.answers.iter().any(|record| record.kind == DS))
}

fn keys_in(message: Option<&Message>, zone: &Name) -> Vec<Key> {
    const DNSKEY: u16 = 48;
    let records = message.map(|message| message.answers.as_slice()).unwrap_or_default();
    let of = records.iter().filter(|record| record.kind == DNSKEY && record.owner == *zone);
    of.take(KEYS_MAX).filter_map(|record| Key::read(&record.data)).collect()
}

/// The signature was made for this name, and not for a wildcard that stands for it. Of a wildcard's own name, the asterisk does
/// not count (RFC 4034 section 3.1.3).
fn is_as_signed(owner: &Name, labels: u8) -> bool {
    let own = owner.labels();
    let asterisk = own.first().is_some_and(|label| label == b"*");
    usize::from(labels) == own.len() || (asterisk && usize::from(labels) + 1 == own.len())
}

/// In whose name the records are signed that answer, or the alias that does.
fn signer(message: &Message, name: &Name, kind: u16) -> Option<Name> {
    let records = set(&message.answers, name, kind).or_else(|| set(&message.answers, name, CNAME))?;
    records.signatures.into_iter().map(|one| one.signer).find(|signer| name.is_in(signer))
}

/// `TYPE name`.
fn what(name: &Name, kind: u16) -> String {
    let mnemonic = match kind {
        1 => "A",
        2 => "NS",
        CNAME => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        DNAME => "DNAME",
        43 => "DS",
        RRSIG => "RRSIG",
        NSEC => "NSEC",
        48 => "DNSKEY",
        NSEC3 => "NSEC3",
        52 => "TLSA",
        other => return format!("TYPE{other} {name}"),
    };
    format!("{mnemonic} {name}")
}
