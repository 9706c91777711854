//! Verifies the signatures of a message (RFC 6376 section 6). Nothing is cut short at the first failure: all reasons are told.
//!
//! What must not live here: reading of fields and keys, canonical forms.

use super::canon::{BodyCanonicalizer, Canonicalization, canonical_field};
use super::field::{Algorithm, Signature, Sort, without_signature};
use super::key::{self, KeyRecord, RSA_BITS_MIN, is_for_mail};
use super::message::{Field, Message};
use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::public::Public;
use crate::signature::{self as signatures, Hash, Scheme};
use crate::spf::text;
use data_encoding::BASE64;
use mxray_model::evidence::DnsOutcome;
use mxray_model::evidence::published::{DkimNote, DkimReason, DkimResult, DkimVerdict};
use mxray_model::{Seen, text::untrusted};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use std::collections::BTreeMap;

/// Most signatures of one message that are verified: each costs a lookup and a calculation, and its sender nothing.
const SIGNATURES_MAX: usize = 20;
/// Most key records of one selector that are tried.
const KEYS_MAX: usize = 4;
/// Clocks differ by minutes.
const SKEW_S: i64 = 300;
/// What readers see (section 5.4.1).
const SEEN_FIELDS: [&str; 6] = ["subject", "to", "cc", "date", "reply-to", "content-type"];

/// Verifies a message's DKIM signatures at a time.
#[derive(Debug)]
pub struct DkimVerifier<'m> {
    message: Message<'m>,
    now_s: i64,
    prepared: Vec<Prepared<'m>>,
}

/// A signature with what of it needs no key.
#[derive(Debug)]
pub(super) struct Prepared<'m> {
    pub field: Field<'m>,
    pub signature: Signature,
    pub body: Option<BodyHash>,
}

#[derive(Debug, Clone)]
pub(super) struct BodyHash {
    pub computed: Vec<u8>,
    /// Of the canonical body.
    pub total: u64,
}

impl<'m> DkimVerifier<'m> {
    pub fn new(bytes: &'m [u8], now_s: i64) -> Self {
        let message = Message::read(bytes);
        let fields: Vec<Field<'m>> = message.named("dkim-signature").take(SIGNATURES_MAX).copied().collect();
        let prepared = fields.into_iter().map(|field| Prepared::new(field, Sort::Dkim, &message)).collect();
        DkimVerifier { message, now_s, prepared }
    }
}

impl<'m> Prepared<'m> {
    pub fn new(field: Field<'m>, sort: Sort, message: &Message<'m>) -> Self {
        let signature = Signature::read(field.value(), sort);
        let body = match (signature.body, signature.algorithm) {
            (Some(body), Some(algorithm)) => Some(body_hash(message.body(), body, algorithm, signature.length)),
            _ => None,
        };
        Prepared { field, signature, body }
    }

    /// Where the key is. `None`: the field does not say.
    pub fn key_name(&self) -> Option<String> {
        match (&self.signature.selector, &self.signature.domain) {
            (Some(selector), Some(domain)) => crate::spf::askable(&format!("{selector}._domainkey.{domain}")),
            _ => None,
        }
    }
}

impl Evaluator for DkimVerifier<'_> {
    type Outcome = Vec<DkimVerdict>;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Vec<DkimVerdict>, Pending> {
        for name in self.prepared.iter().filter_map(Prepared::key_name) {
            ask.ahead(&name, Kind::Txt);
        }
        let verdicts = self.prepared.iter().enumerate().map(|(at, prepared)| {
            let fields = &prepared.signature.fields;
            let hashed = |key: &Key| {
                let head = prepared.signature.head.unwrap_or(Canonicalization::Simple);
                holds(prepared, key, &signed_data(&self.message, &prepared.field, fields, head))
            };
            let mut verdict = verdict(prepared, self.now_s, ask, &hashed)?;
            verdict.at = u32::try_from(at).unwrap_or(u32::MAX);
            self.about_message(&mut verdict);
            Ok(verdict)
        });
        verdicts.collect()
    }
}

impl DkimVerifier<'_> {
    /// What the message around the signature adds.
    fn about_message(&self, verdict: &mut DkimVerdict) {
        let senders = self.message.named("from").count();
        let signed = |name: &str| verdict.fields.iter().filter(|field| field.eq_ignore_ascii_case(name)).count();
        if senders > 1 && verdict.result == DkimResult::Pass && signed("from") < senders {
            let count = u32::try_from(senders).unwrap_or(u32::MAX);
            verdict.reasons.push(DkimReason::SeveralFrom { count });
            verdict.result = DkimResult::Fail;
        }
        let mut absent: Vec<String> = verdict.fields.iter().map(|name| name.to_ascii_lowercase()).collect();
        absent.sort_unstable();
        absent.dedup();
        absent.retain(|name| self.message.named(name).next().is_none());
        verdict.absent_fields = absent;
        let missing = |name: &&&str| self.message.named(name).next().is_some() && signed(name) == 0;
        let unsigned: Vec<&str> = SEEN_FIELDS.iter().filter(missing).copied().collect();
        let notes = unsigned.into_iter().map(|name| DkimNote::FieldNotSigned { name: name.to_owned() });
        verdict.notes.extend(notes);
        if self.message.has_bare_line_feeds() {
            verdict.notes.push(DkimNote::BareLineFeeds);
        }
    }
}

/// What a key lookup came to.
pub(super) enum Keys {
    Found(Vec<KeyRecord>),
    Not(DkimReason),
}

type Key = KeyRecord;

/// Section 6.1.2. Several records are undefined; each is tried.
pub(super) fn keys(name: &str, ask: &mut Asker<'_>) -> Result<Keys, Pending> {
    let lookup = ask.dns(name, Kind::Txt)?;
    let name = untrusted(name.as_bytes());
    let missing = || Keys::Not(DkimReason::KeyMissing { name: name.clone() });
    Ok(match lookup.found() {
        Seen::Value(records) => {
            let texts = records.into_iter().filter_map(text).take(KEYS_MAX);
            let found: Vec<KeyRecord> = texts.map(|text| key::read(&name, &text)).collect();
            if found.is_empty() { missing() } else { Keys::Found(found) }
        }
        Seen::Absent => missing(),
        Seen::Unknown(blind) => {
            let why = match &lookup.outcome {
                DnsOutcome::Refused { rcode } => rcode.clone(),
                _ => blind.why(),
            };
            Keys::Not(DkimReason::KeyNotLookedUp { name, why })
        }
    })
}

/// Everything about one signature: the field, the key, the body, the signature itself.
pub(super) fn verdict(
    prepared: &Prepared<'_>,
    now_s: i64,
    ask: &mut Asker<'_>,
    hashed: &dyn Fn(&Key) -> Result<(), DkimReason>,
) -> Result<DkimVerdict, Pending> {
    let read = &prepared.signature;
    let mut verdict = blank(prepared);
    verdict.reasons.clone_from(&read.reasons);
    if let Some(at_s) = read.expires_s.filter(|at_s| *at_s < now_s) {
        verdict.reasons.push(DkimReason::Expired { at_s });
    }
    if let Some(signed_s) = read.signed_s.filter(|signed_s| *signed_s > now_s.saturating_add(SKEW_S)) {
        verdict.notes.push(DkimNote::SignedInFuture { seconds: signed_s.saturating_sub(now_s) });
    }
    let body = body_reasons(prepared, &mut verdict);
    if let Some(name) = prepared.key_name() {
        match keys(&name, ask)? {
            Keys::Not(reason) => verdict.reasons.push(reason),
            Keys::Found(found) => with_keys(&found, prepared, &mut verdict, hashed),
        }
    }
    // Section 6.1.3: the body's hash is compared when there is a key.
    verdict.reasons.extend(body);
    verdict.result = verdict.reasons.iter().map(result_of).max_by_key(weight).unwrap_or(DkimResult::Pass);
    Ok(verdict)
}

fn blank(prepared: &Prepared<'_>) -> DkimVerdict {
    let read = &prepared.signature;
    DkimVerdict {
        at: 0,
        result: DkimResult::Pass,
        reasons: Vec::new(),
        notes: Vec::new(),
        domain: read.domain.clone(),
        selector: read.selector.clone(),
        identity: read.identity.clone(),
        algorithm: read.algorithm_name.clone(),
        canonicalization: read.canonicalization.clone(),
        fields: read.fields.clone(),
        absent_fields: Vec::new(),
        signed_s: read.signed_s,
        expires_s: read.expires_s,
        body_hash_claimed: read.body_hash.as_ref().map(|hash| BASE64.encode(hash)),
        body_hash_computed: prepared.body.as_ref().map(|body| BASE64.encode(&body.computed)),
        key: None,
    }
}

/// Tries the keys: the first one with which all is well, else what is wrong with the first.
fn with_keys(
    found: &[Key],
    prepared: &Prepared<'_>,
    verdict: &mut DkimVerdict,
    hashed: &dyn Fn(&Key) -> Result<(), DkimReason>,
) {
    let mut first: Option<(&Key, Vec<DkimReason>)> = None;
    for key in found {
        let mut reasons = key_reasons(key, prepared);
        if let (Some(_), true) = (&key.public, reasons.iter().all(|reason| !unusable(reason))) {
            reasons.extend(hashed(key).err());
        }
        let good = reasons.is_empty();
        if good || first.is_none() {
            first = Some((key, reasons));
        }
        if good {
            break;
        }
    }
    let Some((key, reasons)) = first else { return };
    verdict.reasons.extend(reasons);
    if found.len() > 1 {
        verdict.notes.push(DkimNote::SeveralKeys { count: u32::try_from(found.len()).unwrap_or(u32::MAX) });
    }
    if key.facts.testing {
        verdict.notes.push(DkimNote::TestMode);
    }
    if key.facts.kind == "rsa" && (RSA_BITS_MIN..2048).contains(&key.facts.bits) {
        verdict.notes.push(DkimNote::ShortKey { bits: key.facts.bits });
    }
    verdict.key = Some(key.facts.clone());
}

/// With these the signature cannot even be calculated.
fn unusable(reason: &DkimReason) -> bool {
    matches!(reason, DkimReason::KeyOfOtherKind { .. } | DkimReason::KeyTooShort { .. } | DkimReason::KeyInvalid { .. })
}

/// Section 6.1.2, steps 4 to 9, and RFC 8301.
fn key_reasons(key: &Key, prepared: &Prepared<'_>) -> Vec<DkimReason> {
    use mxray_model::evidence::published::DkimKeyProblem as Problem;
    let facts = &key.facts;
    let name = facts.name.clone();
    let mut reasons = Vec::new();
    for problem in &facts.problems {
        let invalid = |why: String| DkimReason::KeyInvalid { name: name.clone(), why };
        reasons.extend(match problem {
            Problem::Revoked => Some(DkimReason::KeyRevoked { name: name.clone() }),
            Problem::Syntax { column, why } => Some(invalid(format!("column {column}: {why}"))),
            Problem::Version { found } => Some(invalid(format!("v={found}"))),
            Problem::NoKey => Some(invalid("there is no p=".to_owned())),
            Problem::Base64 { at, why } => Some(invalid(format!("p=, character {at}: {why}"))),
            Problem::NotAKey { why } => Some(invalid(why.clone())),
            Problem::UnknownKind { kind } => Some(invalid(format!("k={kind} is not known"))),
            Problem::TooShort { bits } => Some(DkimReason::KeyTooShort { bits: *bits }),
            Problem::Services { allowed } => Some(DkimReason::ServiceNotAllowed { allowed: allowed.clone() }),
            Problem::TooLong { .. } | Problem::Short { .. } | Problem::Hashes { .. } => None,
        });
    }
    debug_assert!(is_for_mail(&facts.services) || !reasons.is_empty());
    let Some(algorithm) = prepared.signature.algorithm else { return reasons };
    if !facts.hashes.is_empty() && !facts.hashes.iter().any(|hash| hash == algorithm.hash()) {
        reasons.push(DkimReason::HashNotAllowed { allowed: facts.hashes.join(":") });
    }
    if facts.kind != algorithm.key() && matches!(facts.kind.as_str(), "rsa" | "ed25519") {
        let signature = prepared.signature.algorithm_name.clone().unwrap_or_default();
        reasons.push(DkimReason::KeyOfOtherKind { key: facts.kind.clone(), signature });
    }
    if let (true, Some(identity), Some(domain)) =
        (facts.exact_identity, &prepared.signature.identity, &prepared.signature.domain)
    {
        let of = identity.rsplit_once('@').map(|(_, of)| of);
        if !of.is_some_and(|of| of.eq_ignore_ascii_case(domain)) {
            reasons.push(DkimReason::SubdomainNotAllowed { identity: identity.clone() });
        }
    }
    reasons
}

/// Section 6.1.3, step 3.
fn body_reasons(prepared: &Prepared<'_>, verdict: &mut DkimVerdict) -> Vec<DkimReason> {
    let (Some(body), Some(claimed)) = (&prepared.body, &prepared.signature.body_hash) else { return Vec::new() };
    if let Some(signed) = prepared.signature.length {
        if signed > body.total {
            return vec![DkimReason::BodyShorterThanSigned { signed, body: body.total }];
        }
        if signed < body.total {
            verdict.notes.push(DkimNote::BodyPartlySigned { signed, body: body.total });
        }
    }
    match body.computed == *claimed {
        true => Vec::new(),
        false => {
            let (claimed, computed) = (BASE64.encode(claimed), BASE64.encode(&body.computed));
            vec![DkimReason::BodyHashDiffers { claimed, computed }]
        }
    }
}

pub(super) fn holds(prepared: &Prepared<'_>, key: &Key, data: &[u8]) -> Result<(), DkimReason> {
    use signatures::Signature as Answer;
    let Some(public) = &key.public else { return Ok(()) };
    let signature = &prepared.signature.signature;
    if signature.is_empty() {
        return Ok(());
    }
    let answer = match (prepared.signature.algorithm, public) {
        // RFC 8463 section 3: the hash is what is signed.
        (Some(Algorithm::Ed25519Sha256), Public::Ed25519(_)) => {
            signatures::check(public, Scheme::Ed25519, digest(&SHA256, data).as_ref(), signature)
        }
        (Some(Algorithm::RsaSha256), Public::Rsa { .. }) => {
            signatures::check(public, Scheme::Pkcs1(Hash::Sha256), data, signature)
        }
        (Some(Algorithm::RsaSha1), Public::Rsa { .. }) => {
            signatures::check(public, Scheme::Pkcs1(Hash::Sha1), data, signature)
        }
        _ => return Ok(()),
    };
    match answer {
        Answer::Good => Ok(()),
        Answer::Bad => Err(DkimReason::SignatureDiffers),
        Answer::CannotTell => {
            let (kind, bits) = public.kind();
            Err(DkimReason::CannotCompute { why: format!("{kind} with {bits} bits") })
        }
    }
}

/// What is signed of the head (section 3.7): the fields of `h=`, each name from the bottom up, then the signature's own field.
pub(super) fn signed_data(
    message: &Message<'_>,
    own: &Field<'_>,
    fields: &[String],
    head: Canonicalization,
) -> Vec<u8> {
    let mut out = Vec::new();
    // From the bottom up, so that the last one is taken first. A message may have many fields, and name them all.
    let mut left: BTreeMap<Vec<u8>, Vec<&Field<'_>>> = BTreeMap::new();
    for field in message.fields().iter().filter(|field| field.raw.as_ptr() != own.raw.as_ptr()) {
        left.entry(field.name().to_ascii_lowercase()).or_default().push(field);
    }
    for name in fields {
        // Where there are no more of the name, nothing is hashed: so it is signed that there is none.
        if let Some(field) = left.get_mut(name.to_ascii_lowercase().as_bytes()).and_then(Vec::pop) {
            out.extend(canonical_field(field.raw, head));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend(canonical_field(&without_signature(own.raw), head));
    out
}

fn body_hash(body: &[u8], kind: Canonicalization, algorithm: Algorithm, length: Option<u64>) -> BodyHash {
    let mut context = Context::new(match algorithm {
        Algorithm::RsaSha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::RsaSha256 | Algorithm::Ed25519Sha256 => &SHA256,
    });
    let most = length.unwrap_or(u64::MAX);
    let mut total = 0_u64;
    let mut sink = |piece: &[u8]| {
        let room = usize::try_from(most.saturating_sub(total)).unwrap_or(usize::MAX);
        context.update(piece.get(..room.min(piece.len())).unwrap_or_default());
        total += piece.len() as u64;
    };
    let mut canonicalizer = BodyCanonicalizer::new(kind);
    canonicalizer.update(body, &mut sink);
    canonicalizer.finish(&mut sink);
    BodyHash { computed: context.finish().as_ref().to_vec(), total }
}

fn result_of(reason: &DkimReason) -> DkimResult {
    match reason {
        DkimReason::KeyNotLookedUp { .. } => DkimResult::TempError,
        DkimReason::CannotCompute { .. } => DkimResult::Unknown,
        DkimReason::BodyHashDiffers { .. }
        | DkimReason::SignatureDiffers
        | DkimReason::Expired { .. }
        | DkimReason::SeveralFrom { .. }
        | DkimReason::BodyShorterThanSigned { .. } => DkimResult::Fail,
        _ => DkimResult::PermError,
    }
}

/// What is certain outweighs what may pass by.
fn weight(result: &DkimResult) -> u8 {
    match result {
        DkimResult::Pass => 0,
        DkimResult::Unknown => 1,
        DkimResult::TempError => 2,
        DkimResult::Fail => 3,
        DkimResult::PermError => 4,
    }
}
