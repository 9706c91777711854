//! Ways from the server's certificate up to a root: by name, and by signature.

use super::{Link, Stores};
use crate::public::Public;
use crate::signature::{self, Signature};
use mxray_model::evidence::RootStore;
use std::collections::{BTreeMap, BTreeSet};

/// Most certificates on one way; public authorities stay below six.
const STEPS_MAX: usize = 10;
/// Most ways that are walked. Cross-signing makes a handful; more is an attack on the one who looks.
const PATHS_MAX: usize = 64;
/// Most signatures that are calculated, for the same reason.
const SIGNATURES_MAX: usize = 200;

/// Where a way ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// At a root of these stores.
    Anchor(BTreeSet<RootStore>),
    /// At a certificate that signed itself.
    SelfSigned,
    /// The issuer is not here.
    Missing,
    /// One with the issuer's name is here, and did not sign this.
    BadSignature,
}

/// One way.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Places in the list of readable certificates, the server's own first.
    pub steps: Vec<usize>,
    pub end: End,
    /// Every signature on it was calculated, and is good.
    pub proven: bool,
    /// Its last certificate stands in a store itself.
    pub top_is_anchor: bool,
}

impl Path {
    /// Lower is better.
    pub fn cost(&self, problems: usize) -> (u8, usize, bool, usize) {
        let end = match self.end {
            End::Anchor(_) => 0,
            End::SelfSigned => 1,
            End::Missing => 2,
            End::BadSignature => 3,
        };
        (end, problems, !self.proven, self.steps.len())
    }
}

/// All ways, and what was calculated on them.
pub(super) struct Paths {
    pub all: Vec<Path>,
    /// A bound was reached: there may be more.
    pub gave_up: bool,
    /// By child and issuer.
    checked: BTreeMap<(usize, usize), Signature>,
    calculated: usize,
}

/// Did this key sign this certificate?
pub(super) fn signed_by(child: &Link<'_>, issuer: &Public) -> Signature {
    let parsed = &child.parsed;
    // RFC 5280 section 4.1.1.2: named twice, once where it is signed.
    if parsed.signature_algorithm != parsed.tbs_certificate.signature {
        return Signature::Bad;
    }
    // A signature is whole bytes.
    if parsed.signature_value.unused_bits != 0 {
        return Signature::Bad;
    }
    let message = parsed.tbs_certificate.as_ref();
    signature::by(issuer, &parsed.signature_algorithm, message, &parsed.signature_value.data)
}

impl Paths {
    /// From the first certificate upwards.
    pub fn walk(links: &[Link<'_>], stores: &Stores) -> Paths {
        let mut paths = Paths { all: Vec::new(), gave_up: false, checked: BTreeMap::new(), calculated: 0 };
        paths.from(links, stores, &mut vec![0], true);
        paths
    }

    fn from(&mut self, links: &[Link<'_>], stores: &Stores, steps: &mut Vec<usize>, proven: bool) {
        let Some(link) = steps.last().and_then(|step| links.get(*step)) else { return };
        if self.all.len() >= PATHS_MAX || steps.len() > STEPS_MAX {
            self.gave_up = true;
            return;
        }
        let own = stores_with(stores, &link.subject, |key| *key == link.public);
        if !own.is_empty() {
            self.end(steps, End::Anchor(own), proven, true);
            return;
        }
        let (good, unclear, mut bad) = self.at_anchor(link, stores);
        let mut ended = !good.is_empty() || !unclear.is_empty();
        if !good.is_empty() {
            self.end(steps, End::Anchor(good), proven, false);
        }
        if !unclear.is_empty() {
            self.end(steps, End::Anchor(unclear), false, false);
        }
        if link.is_self_issued() && self.signature(links, link.at, steps.last().copied(), link) != Signature::Bad {
            self.end(steps, End::SelfSigned, proven, false);
            ended = true;
        }
        for (step, issuer) in links.iter().enumerate() {
            if issuer.subject != link.issuer || steps.contains(&step) {
                continue;
            }
            match self.signature(links, link.at, Some(step), link) {
                Signature::Bad => bad = true,
                verdict => {
                    ended = true;
                    steps.push(step);
                    self.from(links, stores, steps, proven && verdict == Signature::Good);
                    steps.pop();
                }
            }
        }
        if !ended {
            self.end(steps, if bad { End::BadSignature } else { End::Missing }, proven, false);
        }
    }

    /// The stores with a root that signed this certificate, those whose signature cannot be calculated, and whether one by
    /// that name did not sign it.
    fn at_anchor(&mut self, link: &Link<'_>, stores: &Stores) -> (BTreeSet<RootStore>, BTreeSet<RootStore>, bool) {
        let (mut good, mut unclear, mut bad) = (BTreeSet::new(), BTreeSet::new(), false);
        for (store, anchors) in stores {
            let keys = anchors.value().map_or(&[][..], |anchors| anchors.keys(&link.issuer));
            for key in keys {
                match self.calculate(|| signed_by(link, key)) {
                    Signature::Good => _ = good.insert(*store),
                    Signature::CannotTell => _ = unclear.insert(*store),
                    Signature::Bad => bad = true,
                }
            }
        }
        unclear.retain(|store| !good.contains(store));
        (good, unclear, bad)
    }

    fn signature(&mut self, links: &[Link<'_>], at: usize, issuer: Option<usize>, child: &Link<'_>) -> Signature {
        let Some((step, issuer)) = issuer.and_then(|step| Some((step, links.get(step)?))) else {
            return Signature::CannotTell;
        };
        if let Some(known) = self.checked.get(&(at, step)) {
            return *known;
        }
        let verdict =
            self.calculate(|| if issuer.at == at { child.by_itself() } else { signed_by(child, &issuer.public) });
        self.checked.insert((at, step), verdict);
        verdict
    }

    fn calculate(&mut self, check: impl FnOnce() -> Signature) -> Signature {
        if self.calculated >= SIGNATURES_MAX {
            self.gave_up = true;
            return Signature::CannotTell;
        }
        self.calculated += 1;
        check()
    }

    fn end(&mut self, steps: &[usize], end: End, proven: bool, top_is_anchor: bool) {
        self.all.push(Path { steps: steps.to_vec(), end, proven, top_is_anchor });
    }

    /// After the server's own, each certificate has to sign one in front of it (RFC 5246 section 7.4.2).
    pub fn is_disordered(&mut self, links: &[Link<'_>]) -> bool {
        (1..links.len()).any(|step| {
            let Some(issuer) = links.get(step) else { return false };
            let earlier = links.iter().take(step).filter(|child| child.issuer == issuer.subject);
            let earlier: Vec<&Link<'_>> = earlier.collect();
            !earlier.into_iter().any(|child| self.signature(links, child.at, Some(step), child) != Signature::Bad)
        })
    }
}

fn stores_with(stores: &Stores, name: &[u8], is: impl Fn(&Public) -> bool) -> BTreeSet<RootStore> {
    let has = |anchors: &mxray_model::Seen<crate::Anchors>| {
        anchors.value().is_some_and(|anchors| anchors.keys(name).iter().any(&is))
    };
    stores.iter().filter(|(_, anchors)| has(anchors)).map(|(store, _)| *store).collect()
}
