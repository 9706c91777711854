//! The few steps through DER that key files need: sequences, integers, octet strings, object identifiers.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// The elements of a constructed value, one after the other.
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements of the SEQUENCE that `der` is. What follows it is not looked at.
    pub fn of_sequence(der: &'a [u8]) -> Option<Elements<'a>> {
        Elements(der).sequence()
    }

    fn any(&mut self) -> Option<Any<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(any)
    }

    fn universal(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let any = self.any()?;
        (any.class() == Class::Universal && any.tag() == tag).then_some(any.data)
    }

    pub fn sequence(&mut self) -> Option<Elements<'a>> {
        self.universal(Tag::Sequence).map(Elements)
    }

    /// An INTEGER that is not negative, without leading zeros.
    pub fn unsigned(&mut self) -> Option<&'a [u8]> {
        let data = self.universal(Tag::Integer)?;
        if data.first().is_none_or(|first| *first >= 0x80) {
            return None;
        }
        Some(unpadded(data))
    }

    pub fn octets(&mut self) -> Option<&'a [u8]> {
        self.universal(Tag::OctetString)
    }

    /// The contents of an OBJECT IDENTIFIER.
    pub fn oid(&mut self) -> Option<&'a [u8]> {
        self.universal(Tag::Oid)
    }

    /// The next element, where it has a context tag (`[0]`, `[1]`): its number and contents.
    pub fn next_tagged(&mut self) -> Option<(u32, &'a [u8])> {
        let any = self.any()?;
        (any.class() == Class::ContextSpecific).then_some((any.tag().0, any.data))
    }

    /// The elements of contents that somebody else unwrapped.
    pub fn inside(data: &'a [u8]) -> Elements<'a> {
        Elements(data)
    }

    /// A BIT STRING of whole bytes.
    pub fn bits(&mut self) -> Option<&'a [u8]> {
        self.universal(Tag::BitString)?.strip_prefix(&[0])
    }
}

/// A number without the zeros in front of it.
pub(crate) fn unpadded(data: &[u8]) -> &[u8] {
    let zeros = data.iter().take_while(|byte| **byte == 0).count();
    data.get(zeros..).unwrap_or_default()
}

/// One element, encoded (X.690 section 8.1).
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = contents.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap_or_default());
    } else {
        let bytes = length.to_be_bytes();
        let bytes = unpadded(&bytes);
        out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(contents);
    out
}

pub(crate) const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const NULL: [u8; 2] = [0x05, 0x00];

/// An INTEGER that is not negative.
pub(crate) fn integer(unsigned: &[u8]) -> Vec<u8> {
    let pad = unsigned.first().is_none_or(|first| *first >= 0x80);
    let mut contents = Vec::with_capacity(unsigned.len() + 1);
    contents.extend(pad.then_some(0));
    contents.extend_from_slice(unsigned);
    element(INTEGER, &contents)
}

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1). `parameters` is an object identifier, or none for NULL where
/// `null_parameters` says so.
pub(crate) fn spki(algorithm: &[u8], parameters: Option<&[u8]>, null_parameters: bool, key: &[u8]) -> Vec<u8> {
    let mut identifier = element(OBJECT_IDENTIFIER, algorithm);
    match parameters {
        Some(oid) => identifier.extend(element(OBJECT_IDENTIFIER, oid)),
        None if null_parameters => identifier.extend(NULL),
        None => {}
    }
    let mut bits = vec![0];
    bits.extend_from_slice(key);
    let mut contents = element(SEQUENCE, &identifier);
    contents.extend(element(BIT_STRING, &bits));
    element(SEQUENCE, &contents)
}
