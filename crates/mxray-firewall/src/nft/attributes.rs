//! Netlink messages and attributes (linux/netlink.h), as iterators that end where the bytes do.

/// `NLA_TYPE_MASK`: without the flags for nesting and byte order.
const TYPE_MASK: u16 = 0x3fff;

/// A netlink message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'bytes> {
    pub kind: u16,
    pub flags: u16,
    pub body: &'bytes [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A number in this machine's byte order.
pub fn native_u32(bytes: &[u8]) -> Option<u32> {
    u32_at(bytes, 0)
}

/// The messages of a datagram; the second value says that bytes were left which are no message.
pub fn messages(datagram: &[u8]) -> (Vec<Message<'_>>, bool) {
    let mut found = Vec::new();
    let mut rest = datagram;
    while rest.len() >= 16 {
        let (Some(len), Some(kind), Some(flags)) = (u32_at(rest, 0), u16_at(rest, 4), u16_at(rest, 6)) else {
            return (found, true);
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(body) = rest.get(16..len) else { return (found, true) };
        found.push(Message { kind, flags, body });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    (found, !rest.is_empty())
}

/// The attributes of a message or of an attribute that holds others.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'bytes>(pub &'bytes [u8]);

impl<'bytes> Iterator for Attributes<'bytes> {
    type Item = (u16, &'bytes [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let Some(value) = self.0.get(4..len) else {
            self.0 = &[];
            return None;
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'bytes> Attributes<'bytes> {
    /// The first attribute of this number.
    pub fn get(self, kind: u16) -> Option<&'bytes [u8]> {
        let mut all = self;
        all.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes inside the first attribute of this number; none where it is missing.
    pub fn nested(self, kind: u16) -> Attributes<'bytes> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// A number in the network's byte order, as nf_tables sends all of its numbers.
    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.get(..4)?.try_into().ok()?))
    }

    pub fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.get(..8)?.try_into().ok()?))
    }

    pub fn u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    /// A text up to its NUL, made safe.
    pub fn text(self, kind: u16) -> Option<String> {
        Some(text(self.get(kind)?))
    }
}

/// A text up to its NUL, made safe.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    mxray_model::text::untrusted(bytes.get(..end).unwrap_or_default())
}

/// nftables' own user data: type and length of one byte each (libnftnl/udata.h).
pub fn user_data(mut bytes: &[u8], kind: u8) -> Option<&[u8]> {
    while let [found, len, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*len))?;
        if *found == kind {
            return Some(value);
        }
        bytes = rest.get(usize::from(*len)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_lies_ends_the_list() {
        let mut list = Attributes(&[8, 0, 1, 0, 0, 0, 0, 7, 200, 0, 2, 0, 1]);
        assert_eq!(list.next(), Some((1, [0, 0, 0, 7].as_slice())));
        assert_eq!(list.next(), None);
        assert_eq!(list.next(), None);
        assert_eq!(Attributes(&[3, 0, 1, 0, 9, 9, 9, 9]).next(), None, "shorter than its own head");
        assert_eq!(Attributes(&[8, 0, 1, 0, 0, 0, 0, 7]).u32(1), Some(7));
    }

    #[test]
    fn a_message_that_claims_more_than_is_there_is_not_read() {
        let mut datagram = vec![20, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        assert!(matches!(messages(&datagram), (found, false) if found.len() == 1));
        datagram[0] = 200;
        assert!(matches!(messages(&datagram), (found, true) if found.is_empty()));
    }

    #[test]
    fn user_data_is_read_to_its_end() {
        assert_eq!(user_data(&[1, 1, 9, 0, 2, b'h', b'i'], 0), Some(b"hi".as_slice()));
        assert_eq!(user_data(&[0, 9, b'h'], 0), None);
    }
}
