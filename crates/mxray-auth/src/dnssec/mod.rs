//! DNSSEC: whether an answer is signed from the trust anchor down, and if it is not, why (RFC 4033–4035, 5155, 6840, 8624).
//!
//! Whoever is asked gives records and signatures and is not believed: a resolver's AD bit counts nothing here. The clock is an
//! argument. `wire` reads messages, `keys` and `denial` judge records, `anchors` has what is trusted, `walk` goes from zone to
//! zone. What must not live here: asking (`mxray-net`), and what a verdict means for mail (rules).

mod anchors;
mod denial;
mod keys;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

pub use anchors::{ROOT_KEYS_DATE, TrustAnchors};

use crate::ask::{Asker, Evaluator, Kind, Pending};
use mxray_model::evidence::published::SecurityChain;
use mxray_model::evidence::{DnsOutcome, Lookup};

/// An answer with signatures, as far as validation needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    message: Option<wire::Message>,
    /// Why there is none.
    why: String,
}

impl Signed {
    /// From what became of the question, and the message that counts.
    pub fn new(lookup: &Lookup, packet: Option<&[u8]>) -> Self {
        let message = packet.and_then(wire::Message::read);
        let why = match &lookup.outcome {
            DnsOutcome::Refused { rcode } => format!("the name servers say {rcode}"),
            _ if message.is_some() => String::new(),
            _ if packet.is_some() => "the answer cannot be read".to_owned(),
            _ => lookup.found().blind().map_or_else(|| "no message came".to_owned(), mxray_model::Blind::why),
        };
        Signed { message, why }
    }

    /// NOERROR or NXDOMAIN.
    pub fn is_answer(&self) -> bool {
        self.message.as_ref().is_some_and(|message| matches!(message.code, 0 | 3))
    }
}

/// Validates answers, each from the trust anchor down. The zones on the way are walked once for all of them.
#[derive(Debug, Clone)]
pub struct Validation {
    pub questions: Vec<(String, Kind)>,
    pub anchors: TrustAnchors,
    pub now_s: i64,
}

impl Evaluator for Validation {
    /// In the order of the questions.
    type Outcome = Vec<SecurityChain>;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Self::Outcome, Pending> {
        let mut walk = walk::Walk::new(&self.anchors, self.now_s);
        let chains: Vec<Result<SecurityChain, Pending>> =
            self.questions.iter().map(|(name, kind)| walk.question(name, *kind, ask)).collect();
        chains.into_iter().collect()
    }
}

/// For the fuzzer: validates what bytes say, whatever was asked.
#[doc(hidden)]
pub fn judges(packet: &[u8], name: &str, kind: Kind, anchors: &str, now_s: i64) -> Option<SecurityChain> {
    use crate::ask::{Machine, Step, Want, unanswered};
    let anchors = TrustAnchors::read(anchors).ok()?;
    let mut machine = Machine::new(Validation { questions: vec![(name.to_owned(), kind)], anchors, now_s });
    for _ in 0..64 {
        match machine.step() {
            Step::Done(mut chains) => return chains.pop(),
            Step::Wants(wants) => {
                for want in wants {
                    if let Want::Signed { name, kind } = want {
                        let lookup = unanswered(&name, kind, DnsOutcome::NoData);
                        machine.signed(&name, kind, std::sync::Arc::new(Signed::new(&lookup, Some(packet))));
                    }
                }
            }
        }
    }
    None
}

/// For the fuzzer: takes the NSEC and NSEC3 records of bytes as if they were signed, and asks them all that can be asked. Says
/// how much they prove of a name at once.
#[doc(hidden)]
pub fn denies(packet: &[u8], zone: &str, name: &str) -> Option<[bool; 4]> {
    let message = wire::Message::read(packet)?;
    let (zone, name) = (wire::Name::read(zone)?, wire::Name::read(name)?);
    let mut proofs = denial::Proofs { zone, ..denial::Proofs::default() };
    for record in message.answers.iter().chain(&message.authorities) {
        let _ = proofs.add(&record.owner, record.kind, &record.data);
    }
    let labels = name.labels().len().saturating_sub(1);
    Some([
        proofs.no_data(&name, 1).is_some(),
        proofs.no_name(&name).is_some(),
        proofs.no_nearer(&name, labels).is_some(),
        proofs.below(&name).is_some(),
    ])
}
