//! Bytes of which some bits are not known, and what can be said of them all the same.

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    Yes,
    No,
    Maybe,
}

impl Truth {
    pub fn of(known: bool) -> Self {
        if known { Truth::Yes } else { Truth::No }
    }

    /// Of what may not be known.
    pub fn of_option(known: Option<bool>) -> Self {
        known.map_or(Truth::Maybe, Truth::of)
    }

    pub fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Yes, Truth::Yes) => Truth::Yes,
            _ => Truth::Maybe,
        }
    }

    pub fn or(self, other: Truth) -> Truth {
        self.not().and(other.not()).not()
    }

    pub fn not(self) -> Truth {
        match self {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            Truth::Maybe => Truth::Maybe,
        }
    }

    /// The same, or its contrary.
    pub fn inverted(self, inverted: bool) -> Truth {
        if inverted { self.not() } else { self }
    }
}

/// The most that a value has: nf_tables' registers.
const BYTES_MAX: usize = 64;

/// A value; a bit whose place in `known` is 0 may be either, and is 0 in `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    value: [u8; BYTES_MAX],
    known: [u8; BYTES_MAX],
    len: usize,
}

impl Bits {
    pub fn known(bytes: &[u8]) -> Self {
        let mut bits = Bits { value: [0; BYTES_MAX], known: [0xff; BYTES_MAX], len: bytes.len().min(BYTES_MAX) };
        for (place, byte) in bits.value.iter_mut().zip(bytes) {
            *place = *byte;
        }
        bits
    }

    pub fn unknown(len: usize) -> Self {
        Bits { value: [0; BYTES_MAX], known: [0; BYTES_MAX], len: len.min(BYTES_MAX) }
    }

    /// A number in this machine's byte order, as registers hold what the kernel itself made.
    pub fn number(number: u32) -> Self {
        Bits::known(&number.to_ne_bytes())
    }

    pub fn byte(number: u8) -> Self {
        Bits::known(&[number])
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn value(&self) -> &[u8] {
        self.value.get(..self.len).unwrap_or_default()
    }

    fn known_bits(&self) -> &[u8] {
        self.known.get(..self.len).unwrap_or_default()
    }

    pub fn is_known(&self) -> bool {
        self.known_bits().iter().all(|bits| *bits == 0xff)
    }

    /// The value, where all of it is known.
    pub fn all(&self) -> Option<&[u8]> {
        self.is_known().then(|| self.value())
    }

    /// The number that a native register holds, where it is known.
    pub fn as_number(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.all()?.get(..4)?.try_into().ok()?))
    }

    /// The smallest and the greatest value that it may have, in the order of bytes.
    pub fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        let high = self.value().iter().zip(self.known_bits()).map(|(value, known)| value | !known).collect();
        (self.value().to_vec(), high)
    }

    /// A piece of it, as it stands at a place; what is beyond its end is not known.
    pub fn piece(&self, at: usize, len: usize) -> Self {
        let mut piece = Bits::unknown(len);
        for offset in 0..piece.len {
            let from = at + offset;
            if from >= self.len {
                break;
            }
            if let (Some(value), Some(known)) = (self.value.get(from), self.known.get(from)) {
                if let Some(place) = piece.value.get_mut(offset) {
                    *place = *value;
                }
                if let Some(place) = piece.known.get_mut(offset) {
                    *place = *known;
                }
            }
        }
        piece
    }

    /// Puts a piece at a place.
    pub fn put(&mut self, at: usize, piece: &Bits) {
        for (offset, (value, known)) in piece.value().iter().zip(piece.known_bits()).enumerate() {
            if at + offset >= self.len {
                break;
            }
            if let Some(place) = self.value.get_mut(at + offset) {
                *place = *value;
            }
            if let Some(place) = self.known.get_mut(at + offset) {
                *place = *known;
            }
        }
    }

    /// What holds of both: bits in which they differ, or which one of them does not know, are not known.
    pub fn join(&self, other: &Bits) -> Bits {
        let mut joined = Bits::unknown(self.len.min(other.len));
        for at in 0..joined.len {
            let (Some(a), Some(b), Some(ka), Some(kb)) =
                (self.value.get(at), other.value.get(at), self.known.get(at), other.known.get(at))
            else {
                break;
            };
            let known = ka & kb & !(a ^ b);
            if let (Some(value), Some(place)) = (joined.value.get_mut(at), joined.known.get_mut(at)) {
                *value = a & known;
                *place = known;
            }
        }
        joined
    }

    fn map(&self, change: impl Fn(usize, u8, u8) -> (u8, u8)) -> Bits {
        let mut out = *self;
        for at in 0..self.len {
            let (Some(value), Some(known)) = (out.value.get_mut(at), out.known.get_mut(at)) else { break };
            (*value, *known) = change(at, *value, *known);
            *value &= *known;
        }
        out
    }

    /// `(value & mask) ^ xor`; a bit that the mask takes away is known.
    pub fn masked(&self, mask: &[u8], xor: &[u8]) -> Bits {
        self.map(|at, value, known| {
            let (mask, xor) = (mask.get(at).copied().unwrap_or(0), xor.get(at).copied().unwrap_or(0));
            ((value & mask) ^ xor, known | !mask)
        })
    }

    /// As the kernel shifts: 32-bit words in this machine's order, the first word being the most significant.
    pub fn shifted(&self, by: u32, left: bool) -> Bits {
        let words = self.len.div_ceil(4);
        let mut out = Bits::known(&[0; BYTES_MAX]);
        out.len = self.len;
        let by = by % 32;
        let word = |bytes: &[u8; BYTES_MAX], at: usize| {
            let piece = bytes.get(at * 4..at * 4 + 4).and_then(|four| four.try_into().ok());
            piece.map_or(0, u32::from_ne_bytes)
        };
        for at in 0..words {
            let (value, unknown) = (word(&self.value, at), !word(&self.known, at));
            let carried = |bytes: &[u8; BYTES_MAX], inverted: bool| {
                let neighbour = if left { at.checked_add(1).filter(|next| *next < words) } else { at.checked_sub(1) };
                let word = neighbour.map_or(0, |next| if inverted { !word(bytes, next) } else { word(bytes, next) });
                match (by, left) {
                    (0, _) => 0,
                    (_, true) => word >> (32 - by),
                    (_, false) => word << (32 - by),
                }
            };
            let shift = |word: u32| if left { word << by } else { word >> by };
            let value = shift(value) | carried(&self.value, false);
            let known = !(shift(unknown) | carried(&self.known, true));
            out.put(at * 4, &Bits::known(&value.to_ne_bytes()));
            if let Some(places) = out.known.get_mut(at * 4..at * 4 + 4) {
                places.copy_from_slice(&known.to_ne_bytes());
            }
        }
        out.map(|_, value, known| (value, known))
    }

    /// Each group of so many bytes turned round, where this machine is little-endian.
    pub fn swapped(&self, size: usize) -> Bits {
        if cfg!(target_endian = "big") || !matches!(size, 2 | 4 | 8) {
            return *self;
        }
        let mut out = *self;
        for at in 0..self.len {
            let from = (at / size) * size + (size - 1 - at % size);
            out.put(at, &self.piece(from, 1));
        }
        out
    }

    pub fn equals(&self, bytes: &[u8]) -> Truth {
        let piece = self.piece(0, bytes.len());
        let differs = piece
            .value()
            .iter()
            .zip(piece.known_bits())
            .zip(bytes)
            .any(|((value, known), byte)| (value ^ byte) & known != 0);
        match (differs, piece.is_known()) {
            (true, _) => Truth::No,
            (false, true) => Truth::Yes,
            (false, false) => Truth::Maybe,
        }
    }

    /// In the order of bytes.
    pub fn less_than(&self, bytes: &[u8]) -> Truth {
        let (low, high) = self.piece(0, bytes.len()).bounds();
        match (high.as_slice() < bytes, low.as_slice() < bytes) {
            (true, _) => Truth::Yes,
            (false, false) => Truth::No,
            (false, true) => Truth::Maybe,
        }
    }

    pub fn greater_than(&self, bytes: &[u8]) -> Truth {
        let (low, high) = self.piece(0, bytes.len()).bounds();
        match (low.as_slice() > bytes, high.as_slice() > bytes) {
            (true, _) => Truth::Yes,
            (false, false) => Truth::No,
            (false, true) => Truth::Maybe,
        }
    }

    /// Both ends inclusive.
    pub fn within(&self, low: &[u8], high: &[u8]) -> Truth {
        self.less_than(low).not().and(self.greater_than(high).not())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_bit_that_differs_decides() {
        let mut bits = Bits::unknown(4);
        bits.put(2, &Bits::known(&[0, 25]));
        assert_eq!(bits.equals(&[0x10, 0, 0, 26]), Truth::No);
        assert_eq!(bits.equals(&[0x10, 0, 0, 25]), Truth::Maybe);
        assert_eq!(bits.piece(2, 2).equals(&[0, 25]), Truth::Yes);
        assert_eq!(bits.masked(&[0, 0, 0xff, 0xff], &[0; 4]).equals(&[0, 0, 0, 25]), Truth::Yes);
    }

    #[test]
    fn order_is_told_where_the_known_bits_decide() {
        let low = Bits::unknown(2).masked(&[0x03, 0xff], &[0, 0]);
        assert_eq!(low.less_than(&[0x04, 0]), Truth::Yes);
        assert_eq!(low.less_than(&[0x02, 0]), Truth::Maybe);
        assert_eq!(low.within(&[0, 0], &[3, 0xff]), Truth::Yes);
        assert_eq!(low.within(&[4, 0], &[0xff, 0xff]), Truth::No);
    }

    #[test]
    fn joining_keeps_what_both_know() {
        let joined = Bits::known(&[10, 0, 0, 1]).join(&Bits::known(&[10, 0, 0, 2]));
        assert_eq!(joined.equals(&[10, 0, 0, 3]), Truth::Maybe);
        assert_eq!(joined.equals(&[11, 0, 0, 1]), Truth::No);
    }

    #[test]
    fn shifts_and_swaps_are_the_kernels() {
        assert_eq!(Bits::number(0x0102).shifted(4, true).as_number(), Some(0x1020));
        assert_eq!(Bits::number(0x0102).shifted(8, false).as_number(), Some(0x01));
        assert_eq!(Bits::known(&[1, 2]).swapped(2).value(), [2, 1]);
        assert!(Bits::unknown(4).shifted(31, true).piece(0, 4).all().is_none());
    }
}
