//! Sums that merge: of two halves of a log they give what they give of the whole.
//!
//! Each says its error: [`Minutes`] none, [`Percentiles`] one per cent of the value, [`Distinct`] about two per cent of the
//! count (one standard deviation), [`Heavy`] what [`Heavy::error`] says. All have a bound, whatever comes. A serial form
//! begins with a version and is read leniently only in that an unknown version is refused. What must not live here: what is
//! counted.

mod distinct;
mod heavy;
mod minutes;
mod percentiles;

pub use distinct::Distinct;
pub(crate) use distinct::hashed;
pub use heavy::Heavy;
pub use minutes::Minutes;
pub use percentiles::Percentiles;

/// A serial form that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotASketch;

/// Numbers in seven bits a byte, the last without its high bit.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, NotASketch> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(NotASketch)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NotASketch)
}

/// Signed numbers, near nought in both directions short.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn take_exactly<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], NotASketch> {
    let length = usize::try_from(length).map_err(|_| NotASketch)?;
    let (head, rest) = bytes.split_at_checked(length).ok_or(NotASketch)?;
    *bytes = rest;
    Ok(head)
}

fn head(bytes: &mut &[u8], kind: u64) -> Result<(), NotASketch> {
    (take(bytes)? == kind && take(bytes)? == VERSION).then_some(()).ok_or(NotASketch)
}

const VERSION: u64 = 1;

#[cfg(test)]
mod tests;
