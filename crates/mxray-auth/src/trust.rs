//! Roots: whom a store believes, by name and key. Their dates are not looked at: a store keeps what it believes, and a wrong
//! clock would make strangers of all of them.

use crate::certificate;
use crate::der::{SEQUENCE, element};
use crate::public::Public;
use std::collections::BTreeMap;
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

/// The roots of one store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors {
    by_name: BTreeMap<Vec<u8>, Vec<Public>>,
    count: usize,
}

impl Anchors {
    /// A root's certificate. `false`: it cannot be read.
    pub fn add_certificate(&mut self, der: &[u8]) -> bool {
        let Some((name, public)) = certificate::name_and_key(der) else { return false };
        self.insert(name, public);
        true
    }

    /// A root by the contents of its name and of its SubjectPublicKeyInfo, without the outer SEQUENCE of either (as
    /// webpki-roots keeps them). `false`: it cannot be read.
    pub fn add_parts(&mut self, name: &[u8], spki: &[u8]) -> bool {
        let (name, spki) = (element(SEQUENCE, name), element(SEQUENCE, spki));
        let (Ok((_, name)), Ok((_, spki))) = (X509Name::from_der(&name), SubjectPublicKeyInfo::from_der(&spki)) else {
            return false;
        };
        self.insert(canonical(&name), certificate::public(&spki));
        true
    }

    fn insert(&mut self, name: Vec<u8>, public: Public) {
        let keys = self.by_name.entry(name).or_default();
        if !keys.contains(&public) {
            keys.push(public);
            self.count += 1;
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The keys of the roots with this name.
    pub(crate) fn keys(&self, name: &[u8]) -> &[Public] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A name in the form in which two are compared: texts without regard to case, encoding and white space (RFC 5280
/// section 7.1, as far as ASCII goes).
pub(crate) fn canonical(name: &X509Name<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for set in name.iter_rdn() {
        let mut parts: Vec<Vec<u8>> = set
            .iter()
            .map(|attribute| {
                let (kind, value) = (attribute.attr_type().as_bytes(), attribute.attr_value());
                let folded = match value.tag() {
                    Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::T61String => fold(value.data),
                    _ => value.data.to_vec(),
                };
                let mut part = element(0x06, kind);
                part.extend(element(0x0c, &folded));
                part
            })
            .collect();
        parts.sort();
        out.extend(element(0x31, &parts.concat()));
    }
    out
}

fn fold(text: &[u8]) -> Vec<u8> {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>().join(&b' ')
}
