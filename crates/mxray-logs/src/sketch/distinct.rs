//! How many different things there were: HyperLogLog with 4,096 registers (Flajolet and others, 2007).

use super::{NotASketch, head, put, take_exactly};

const KIND: u64 = 3;
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;

/// A count of distinct things in four kilobytes; error about 1.6 % (one standard deviation), exact for few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct {
    registers: Box<[u8]>,
}

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct { registers: vec![0; REGISTERS].into_boxed_slice() }
    }
}

/// FNV-1a, then the finish of MurmurHash3: the same on every machine, as a serial form needs it.
pub(crate) fn hashed(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    // Eight bytes at a time: addresses are short, and this is asked for each line.
    let chunks = bytes.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        hash = (hash ^ u64::from_le_bytes(chunk.try_into().unwrap_or_default())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= (bytes.len() as u64) << 56;
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

impl Distinct {
    pub fn add(&mut self, thing: &[u8]) {
        self.add_hash(hashed(thing));
    }

    pub(crate) fn add_hash(&mut self, hash: u64) {
        let register = (hash >> (64 - BITS)) as usize;
        let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
        if let Some(own) = self.registers.get_mut(register) {
            *own = (*own).max(rank);
        }
    }

    pub fn merge(&mut self, other: &Distinct) {
        for (own, other) in self.registers.iter_mut().zip(&other.registers) {
            *own = (*own).max(*other);
        }
    }

    pub fn count(&self) -> u64 {
        let count = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|rank| 0.5f64.powi(i32::from(*rank))).sum();
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        let estimate = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
        // Few: the share of empty registers says more (linear counting).
        let estimate =
            if estimate <= 2.5 * count && empty > 0 { count * (count / empty as f64).ln() } else { estimate };
        estimate.round() as u64
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, KIND);
        put(&mut out, super::VERSION);
        out.extend_from_slice(&self.registers);
        out
    }

    /// # Errors
    /// What [`Distinct::to_bytes`] did not write.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Distinct, NotASketch> {
        head(&mut bytes, KIND)?;
        let registers = take_exactly(&mut bytes, REGISTERS as u64)?;
        let fits = bytes.is_empty() && registers.iter().all(|rank| u32::from(*rank) <= 64 - BITS + 1);
        fits.then(|| Distinct { registers: registers.into() }).ok_or(NotASketch)
    }
}
