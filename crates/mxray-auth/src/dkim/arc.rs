//! Verifies a message's ARC chain (RFC 8617 section 5.2). It is experimental, and verified, not made, here.
//!
//! What must not live here: whether a receiver believes a sealer.

use super::canon::{Canonicalization, canonical_field};
use super::field::{Sort, without_signature};
use super::message::{Field, Message};
use super::verify::{self, Prepared, holds, signed_data};
use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::tags::Tags;
use mxray_model::evidence::published::{ArcReason, ArcResult, ArcSet, ArcVerdict, DkimReason, DkimResult, DkimVerdict};
use mxray_model::text::untrusted;

/// Section 4.2.1.
const SETS_MAX: u32 = 50;
const RESULTS: &str = "ARC-Authentication-Results";
const MESSAGE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";

/// Verifies a message's chain at a time.
#[derive(Debug)]
pub struct ArcVerifier<'m> {
    message: Message<'m>,
    now_s: i64,
    sets: Vec<Set<'m>>,
    /// Why the chain cannot be walked at all.
    broken: Vec<ArcReason>,
}

#[derive(Debug)]
struct Set<'m> {
    instance: u32,
    results: Field<'m>,
    message: Prepared<'m>,
    seal: Prepared<'m>,
}

impl<'m> ArcVerifier<'m> {
    pub fn new(bytes: &'m [u8], now_s: i64) -> Self {
        let message = Message::read(bytes);
        let (sets, broken) = collected(&message);
        ArcVerifier { message, now_s, sets, broken }
    }

    /// Section 5.1.1: what the seal with this number covers: all sets up to it, the fields of each in the order results,
    /// message, seal, and itself without its signature.
    pub(super) fn sealed(&self, instance: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for set in self.sets.iter().filter(|set| set.instance <= instance) {
            for field in [&set.results, &set.message.field] {
                out.extend(canonical_field(field.raw, Canonicalization::Relaxed));
                out.extend_from_slice(b"\r\n");
            }
            let seal = set.seal.field.raw;
            if set.instance == instance {
                out.extend(canonical_field(&without_signature(seal), Canonicalization::Relaxed));
            } else {
                out.extend(canonical_field(seal, Canonicalization::Relaxed));
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    fn seal(&self, set: &Set<'_>, ask: &mut Asker<'_>) -> Result<DkimVerdict, Pending> {
        let hashed = |key: &super::key::KeyRecord| holds(&set.seal, key, &self.sealed(set.instance));
        verify::verdict(&set.seal, self.now_s, ask, &hashed)
    }

    fn message(&self, set: &Set<'_>, ask: &mut Asker<'_>) -> Result<DkimVerdict, Pending> {
        let signature = &set.message.signature;
        let head = signature.head.unwrap_or(Canonicalization::Simple);
        let hashed = |key: &super::key::KeyRecord| {
            holds(&set.message, key, &signed_data(&self.message, &set.message.field, &signature.fields, head))
        };
        verify::verdict(&set.message, self.now_s, ask, &hashed)
    }
}

impl Evaluator for ArcVerifier<'_> {
    type Outcome = ArcVerdict;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<ArcVerdict, Pending> {
        let mut verdict =
            ArcVerdict { result: ArcResult::None, reasons: self.broken.clone(), oldest_pass: None, sets: Vec::new() };
        if !verdict.reasons.is_empty() {
            verdict.result = ArcResult::Fail;
            return Ok(verdict);
        }
        let Some(newest) = self.sets.last() else { return Ok(verdict) };
        for set in &self.sets {
            for name in [set.seal.key_name(), set.message.key_name()].into_iter().flatten() {
                ask.ahead(&name, Kind::Txt);
            }
        }
        if newest.seal.signature.chain.as_deref() == Some("fail") {
            verdict.reasons.push(ArcReason::BrokenBefore { instance: newest.instance });
        }
        let mut oldest = Some(0);
        for set in self.sets.iter().rev() {
            let (seal, message) = (self.seal(set, ask)?, self.message(set, ask)?);
            chain_value(set, newest, &mut verdict.reasons);
            let instance = set.instance;
            if message.result != DkimResult::Pass {
                if instance == newest.instance {
                    verdict.reasons.push(ArcReason::Message { instance, reasons: message.reasons });
                    oldest = None;
                } else if oldest == Some(0) {
                    oldest = Some(instance + 1);
                }
            }
            let sealed = seal.result;
            if sealed != DkimResult::Pass {
                verdict.reasons.push(ArcReason::Seal { instance, reasons: seal.reasons });
            }
            verdict.sets.push(told(set, sealed, message.result));
        }
        verdict.sets.reverse();
        verdict.result = result(&verdict.reasons);
        verdict.oldest_pass = oldest.filter(|_| verdict.result == ArcResult::Pass);
        Ok(verdict)
    }
}

/// Section 5.2, step 3C.
fn chain_value(set: &Set<'_>, newest: &Set<'_>, reasons: &mut Vec<ArcReason>) {
    let found = set.seal.signature.chain.clone().unwrap_or_default();
    let wanted = if set.instance == 1 { "none" } else { "pass" };
    let said_already = set.instance == newest.instance && found == "fail";
    if found != wanted && !said_already {
        reasons.push(ArcReason::ChainValue { instance: set.instance, found });
    }
}

fn told(set: &Set<'_>, seal: DkimResult, message: DkimResult) -> ArcSet {
    let signature = &set.seal.signature;
    ArcSet {
        instance: set.instance,
        domain: signature.domain.clone(),
        selector: signature.selector.clone(),
        chain: signature.chain.clone(),
        results: untrusted(set.results.value().trim_ascii()),
        seal,
        message,
    }
}

/// A chain fails when something is certain to be wrong; what could not be looked at leaves it open.
fn result(reasons: &[ArcReason]) -> ArcResult {
    let open =
        |reason: &DkimReason| matches!(reason, DkimReason::KeyNotLookedUp { .. } | DkimReason::CannotCompute { .. });
    let certain = |reason: &ArcReason| match reason {
        ArcReason::Seal { reasons, .. } | ArcReason::Message { reasons, .. } => !reasons.iter().all(open),
        _ => true,
    };
    match reasons {
        [] => ArcResult::Pass,
        reasons if reasons.iter().any(certain) => ArcResult::Fail,
        _ => ArcResult::Unknown,
    }
}

/// Section 5.2, steps 1 to 3: the sets, or why there are none that can be walked.
fn collected<'m>(message: &Message<'m>) -> (Vec<Set<'m>>, Vec<ArcReason>) {
    let mut reasons = Vec::new();
    let mut numbered = |name: &str| -> Vec<(u32, Field<'m>)> {
        let mut found = Vec::new();
        for field in message.named(name).take(SETS_MAX as usize * 2) {
            match instance(field.value(), name) {
                Ok(number) => found.push((number, *field)),
                Err(why) => reasons.push(ArcReason::Instance { field: name.to_owned(), why }),
            }
        }
        found
    };
    let fields = [numbered(RESULTS), numbered(MESSAGE), numbered(SEAL)];
    let highest = fields.iter().flatten().map(|(number, _)| *number).max().unwrap_or(0);
    if highest > SETS_MAX {
        reasons.push(ArcReason::TooManySets { sets: highest });
        return (Vec::new(), reasons);
    }
    let mut sets = Vec::new();
    for number in 1..=highest {
        let of = |at: usize| -> Vec<Field<'m>> {
            let found = fields.get(at).map(Vec::as_slice).unwrap_or_default();
            found.iter().filter(|(found, _)| *found == number).map(|(_, field)| *field).collect()
        };
        match (of(0).as_slice(), of(1).as_slice(), of(2).as_slice()) {
            ([results], [own], [seal]) => sets.push(Set {
                instance: number,
                results: *results,
                message: Prepared::new(*own, Sort::ArcMessage, message),
                seal: Prepared::new(*seal, Sort::ArcSeal, message),
            }),
            (results, own, seal) => {
                let (results, own, seal) = (results.len(), own.len(), seal.len());
                let why = format!("{results} {RESULTS}, {own} {MESSAGE}, {seal} {SEAL}; there is one of each");
                reasons.push(ArcReason::Incomplete { instance: number, why });
            }
        }
    }
    if reasons.is_empty() { (sets, reasons) } else { (Vec::new(), reasons) }
}

/// `i=`: a number from 1 to 50.
fn instance(value: &[u8], name: &str) -> Result<u32, String> {
    let text = String::from_utf8_lossy(value);
    // The results behind it are no list of tags.
    let first = if name == RESULTS { text.split(';').next().unwrap_or_default().to_owned() } else { text.into_owned() };
    let tags = Tags::read(&first).0;
    let Some(found) = tags.get("i") else { return Err("there is no i=".to_owned()) };
    match found.parse::<u32>() {
        Ok(number) if number > 0 && found.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!("i={}", untrusted(found.as_bytes()))),
    }
}
