//! That something is not there, proven by NSEC (RFC 4034 section 4, RFC 4035 section 5.4) or NSEC3 (RFC 5155 section 8).
//!
//! The records that come in here have been verified: each is signed by the zone. What must not live here: verifying them.

use super::wire::{Name, split_name};
use data_encoding::BASE32HEX_NOPAD;
use ring::digest;

pub(super) const NSEC: u16 = 47;
pub(super) const NSEC3: u16 = 50;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const DNAME: u16 = 39;
const DS: u16 = 43;

/// RFC 9276 section 3.2: a validator may treat more as not signed, and validators do so from 50, 100 or 150 on.
pub(super) const ITERATIONS_MAX: u16 = 100;

/// One verified record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Nsec { owner: Name, next: Name, types: Vec<u16> },
    Nsec3 { hash: Vec<u8>, next: Vec<u8>, opt_out: bool, types: Vec<u16> },
}

/// How NSEC3 names are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hashing {
    pub iterations: u16,
    pub salt: Vec<u8>,
}

/// All proofs of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Proofs {
    pub zone: Name,
    pub all: Vec<Proof>,
    /// Of the NSEC3 records; those that are made otherwise than the first one are not taken.
    pub hashing: Option<Hashing>,
}

/// What is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proven {
    pub how: &'static str,
    /// There may be names that are not signed where this one was looked for (RFC 5155 section 6).
    pub opt_out: bool,
}

/// What stands at a name below the apex of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// A zone of its own, which is not signed.
    Unsigned { opt_out: bool },
    /// The same zone goes on.
    NotCut,
    /// Nothing, and nothing below it.
    Nothing,
}

impl Proofs {
    /// Takes the data of a verified record.
    pub fn add(&mut self, owner: &Name, kind: u16, data: &[u8]) -> Option<()> {
        match kind {
            NSEC => {
                let (next, bitmap) = split_name(data)?;
                self.all.push(Proof::Nsec { owner: owner.clone(), next, types: types(bitmap)? });
            }
            NSEC3 => {
                let (proof, hashing) = nsec3(owner, data)?;
                match &self.hashing {
                    Some(known) if *known != hashing => return None,
                    _ => self.hashing = Some(hashing),
                }
                self.all.push(proof);
            }
            _ => return None,
        }
        Some(())
    }

    /// The name exists, or a wildcard stands for it, and there are no records of the kind.
    pub fn no_data(&self, name: &Name, kind: u16) -> Option<Proven> {
        if let Some(types) = self.at(name) {
            return lacks(types, kind).then(|| self.proven(false));
        }
        if self.is_empty_name(name) {
            return Some(self.proven(false));
        }
        // RFC 5155 section 8.6: no DS, where unsigned zones are left out.
        let encloser = self.encloser(name)?;
        if kind == DS && encloser.opt_out {
            return Some(self.proven(true));
        }
        // The wildcard that answers has none either.
        let wild = self.at(&encloser.name.wildcard())?;
        lacks(wild, kind).then(|| self.proven(encloser.opt_out))
    }

    /// The name does not exist, and no wildcard stands for it.
    pub fn no_name(&self, name: &Name) -> Option<Proven> {
        let encloser = self.encloser(name)?;
        let wild = self.gap(&encloser.name.wildcard())?;
        Some(self.proven(encloser.opt_out || wild))
    }

    /// An answer was made from the wildcard below the last `labels` labels: nothing stands nearer to the name.
    pub fn no_nearer(&self, name: &Name, labels: usize) -> Option<Proven> {
        let nearer = name.last(labels.checked_add(1)?);
        self.gap(&nearer).map(|opt_out| self.proven(opt_out))
    }

    /// Whether a zone begins at this name, where there is no DS record. `None`: it is not proven.
    pub fn below(&self, name: &Name) -> Option<Below> {
        if let Some(types) = self.at(name) {
            let has = |kind: u16| types.contains(&kind);
            // What the zone below says of itself does not count here.
            if has(DS) || has(SOA) {
                return None;
            }
            return Some(if has(NS) { Below::Unsigned { opt_out: false } } else { Below::NotCut });
        }
        if self.is_empty_name(name) {
            return Some(Below::NotCut);
        }
        let encloser = self.encloser(name)?;
        Some(if encloser.opt_out { Below::Unsigned { opt_out: true } } else { Below::Nothing })
    }

    fn proven(&self, opt_out: bool) -> Proven {
        Proven { how: if self.hashing.is_some() { "NSEC3" } else { "NSEC" }, opt_out }
    }

    /// The types at a name.
    fn at(&self, name: &Name) -> Option<&[u16]> {
        let hashed = self.hashed(name);
        self.all.iter().find_map(|proof| match proof {
            Proof::Nsec { owner, types, .. } if owner == name => Some(types.as_slice()),
            Proof::Nsec3 { hash, types, .. } if Some(hash) == hashed.as_ref() => Some(types.as_slice()),
            _ => None,
        })
    }

    /// A name that is only there because others stand below it (NSEC; with NSEC3 it has a record of its own).
    fn is_empty_name(&self, name: &Name) -> bool {
        self.all.iter().any(|proof| match proof {
            Proof::Nsec { owner, next, .. } => covers(owner, next, name) && next.is_in(name),
            Proof::Nsec3 { .. } => false,
        })
    }

    /// The name lies between two that follow each other: it is not there, and nothing is below it. Says whether unsigned
    /// zones may be left out between them.
    fn gap(&self, name: &Name) -> Option<bool> {
        let hashed = self.hashed(name);
        self.all.iter().find_map(|proof| match proof {
            Proof::Nsec { owner, next, types } => {
                let inside = covers(owner, next, name) && !next.is_in(name);
                (inside && !(name.is_in(owner) && ends_here(types))).then_some(false)
            }
            Proof::Nsec3 { hash, next, opt_out, .. } => {
                let inside = hashed.as_ref().is_some_and(|of| between(hash, next, of));
                inside.then_some(*opt_out)
            }
        })
    }

    /// The nearest name above that exists, where the one below it on the way to the name is not there.
    fn encloser(&self, name: &Name) -> Option<Encloser> {
        let apex = self.zone.labels().len();
        if self.hashing.is_some() {
            let above = (apex..name.labels().len()).rev().map(|count| (count, name.last(count)));
            for (count, candidate) in above {
                let Some(types) = self.at(&candidate) else { continue };
                // A delegation, or DNAME: names below are not this zone's to deny (RFC 5155 section 8.3).
                if ends_here(types) && candidate != self.zone {
                    return None;
                }
                let opt_out = self.gap(&name.last(count + 1))?;
                return Some(Encloser { name: candidate, opt_out });
            }
            return None;
        }
        let opt_out = self.gap(name)?;
        let shared = |other: &Name| {
            let pairs = name.labels().iter().rev().zip(other.labels().iter().rev());
            pairs.take_while(|(one, other)| one == other).count()
        };
        let counts = self.all.iter().filter_map(|proof| match proof {
            Proof::Nsec { owner, next, .. } if covers(owner, next, name) => Some(shared(owner).max(shared(next))),
            _ => None,
        });
        let count = counts.max()?.max(apex);
        (count < name.labels().len()).then(|| Encloser { name: name.last(count), opt_out })
    }

    fn hashed(&self, name: &Name) -> Option<Vec<u8>> {
        let hashing = self.hashing.as_ref()?;
        let mut text = name.bytes();
        for _ in 0..=hashing.iterations.min(ITERATIONS_MAX) {
            text.extend(&hashing.salt);
            text = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text).as_ref().to_vec();
        }
        Some(text)
    }
}

struct Encloser {
    name: Name,
    opt_out: bool,
}

/// The name's records are those of another zone, or of none.
fn ends_here(types: &[u16]) -> bool {
    (types.contains(&NS) && !types.contains(&SOA)) || types.contains(&DNAME)
}

/// RFC 4035 section 5.4, RFC 6840 sections 4.1 and 4.3.
fn lacks(types: &[u16], kind: u16) -> bool {
    let foreign = if kind == DS { types.contains(&SOA) } else { types.contains(&NS) && !types.contains(&SOA) };
    !foreign && !types.contains(&kind) && (kind == CNAME || !types.contains(&CNAME))
}

fn covers(owner: &Name, next: &Name, name: &Name) -> bool {
    // The last one of a zone leads back to its apex.
    if owner < next { owner < name && name < next } else { owner < name }
}

fn between(hash: &[u8], next: &[u8], of: &[u8]) -> bool {
    if hash < next { hash < of && of < next } else { hash < of || of < next }
}

/// RFC 4034 section 4.1.2: windows of 256 types, each a number, a length and bits.
fn types(mut bitmap: &[u8]) -> Option<Vec<u16>> {
    let mut types = Vec::new();
    while let Some((window, rest)) = bitmap.split_first() {
        let (length, rest) = rest.split_first()?;
        let (bits, rest) = rest.split_at_checked(usize::from(*length))?;
        if !(1..=32).contains(&bits.len()) {
            return None;
        }
        for (place, byte) in bits.iter().enumerate() {
            for bit in 0..8u16 {
                if byte & (0x80 >> bit) != 0 {
                    let place = u16::try_from(place).ok()?;
                    types.push(u16::from(*window) << 8 | place << 3 | bit);
                }
            }
        }
        bitmap = rest;
    }
    Some(types)
}

/// RFC 5155 section 3.2. Records whose hash or flags are unknown say nothing (section 8.1 and 8.2).
fn nsec3(owner: &Name, data: &[u8]) -> Option<(Proof, Hashing)> {
    let (head, rest) = data.split_first_chunk::<5>()?;
    let [algorithm, flags, high, low, salt] = *head;
    let (salt, rest) = rest.split_at_checked(usize::from(salt))?;
    let (length, rest) = rest.split_first()?;
    let (next, bitmap) = rest.split_at_checked(usize::from(*length))?;
    if algorithm != 1 || flags > 1 {
        return None;
    }
    let label = owner.labels().first()?.to_ascii_uppercase();
    let hash = BASE32HEX_NOPAD.decode(&label).ok()?;
    let proof = Proof::Nsec3 { hash, next: next.to_vec(), opt_out: flags & 1 != 0, types: types(bitmap)? };
    Some((proof, Hashing { iterations: u16::from_be_bytes([high, low]), salt: salt.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::read(text).unwrap()
    }

    fn zone(all: &[(&str, &str, &[u16])]) -> Proofs {
        let nsec = |(owner, next, types): &(&str, &str, &[u16])| Proof::Nsec {
            owner: name(owner),
            next: name(next),
            types: types.to_vec(),
        };
        Proofs { zone: name("x.example"), all: all.iter().map(nsec).collect(), hashing: None }
    }

    #[test]
    fn names_between_two_are_not_there() {
        let proofs = zone(&[("x.example", "a.x.example", &[NS, SOA]), ("m.x.example", "x.example", &[1])]);
        assert!(proofs.no_name(&name("z.x.example")).is_some());
        assert_eq!(proofs.no_name(&name("b.x.example")), None);
        assert!(proofs.no_data(&name("m.x.example"), 28).is_some());
        assert_eq!(proofs.no_data(&name("m.x.example"), 1), None);
    }

    #[test]
    fn a_wildcard_has_to_be_denied_too() {
        // The wildcard lies between the apex and `a`, and nothing says so.
        let proofs = zone(&[("m.x.example", "x.example", &[1])]);
        assert_eq!(proofs.no_name(&name("z.x.example")), None);
        assert!(proofs.no_nearer(&name("z.x.example"), 2).is_some());
    }

    #[test]
    fn names_between_are_empty_and_there() {
        let proofs = zone(&[("x.example", "a.b.x.example", &[NS, SOA])]);
        assert!(proofs.no_data(&name("b.x.example"), 1).is_some());
        assert_eq!(proofs.no_name(&name("b.x.example")), None);
        assert_eq!(proofs.below(&name("b.x.example")), Some(Below::NotCut));
    }

    #[test]
    fn a_delegation_does_not_speak_for_what_is_below_it() {
        let proofs = zone(&[("sub.x.example", "x.example", &[NS])]);
        assert_eq!(proofs.no_name(&name("a.sub.x.example")), None);
        assert_eq!(proofs.no_data(&name("sub.x.example"), 1), None);
        assert_eq!(proofs.below(&name("sub.x.example")), Some(Below::Unsigned { opt_out: false }));
    }

    #[test]
    fn types_are_bits_in_windows() {
        assert_eq!(types(&[0, 1, 0x40]), Some(vec![1]));
        assert_eq!(types(&[0, 6, 0, 0, 0, 0, 0, 3, 1, 1, 0x40]), Some(vec![46, 47, 257]));
        assert_eq!(types(&[0, 0]), None);
        assert_eq!(types(&[0, 9, 1]), None);
    }
}
