//! Certificates (RFC 5280), as far as mail needs them.

use crate::pem::Block;
use crate::public::Public;
use crate::trust::canonical;
use mxray_model::evidence::Certificate;
use mxray_model::text::untrusted;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Most names of one certificate that are kept; public authorities allow 100.
const NAMES_MAX: usize = 1000;

/// Is this block a certificate? OpenSSL takes all three labels.
pub(crate) fn is_certificate(block: &Block) -> bool {
    matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
}

/// What a block says, and its public key.
pub(crate) fn read(block: &Block) -> Result<(Certificate, Public), String> {
    let der = block.der.as_ref().map_err(|why| (*why).to_owned())?;
    // Behind a TRUSTED CERTIFICATE stands what OpenSSL adds to it; it is left alone.
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| untrusted(error.to_string().as_bytes()))?;
    Ok(told(&parsed))
}

/// What a certificate says, and its public key.
pub(crate) fn told(parsed: &X509Certificate<'_>) -> (Certificate, Public) {
    let spki = parsed.public_key();
    let public = public(spki);
    let certificate = Certificate {
        subject: untrusted(parsed.subject().to_string().as_bytes()),
        issuer: untrusted(parsed.issuer().to_string().as_bytes()),
        names: names(parsed),
        not_before: moment(parsed.validity().not_before),
        not_after: moment(parsed.validity().not_after),
        public: public.told(Some(spki.raw)),
    };
    (certificate, public)
}

/// The public key of a certificate. `None`: it cannot be read.
pub(crate) fn public_of(der: &[u8]) -> Option<Public> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| public(parsed.public_key()))
}

/// Whose it is, in the form that is compared, and its public key. `None`: it cannot be read.
pub(crate) fn name_and_key(der: &[u8]) -> Option<(Vec<u8>, Public)> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some((canonical(parsed.subject()), public(parsed.public_key())))
}

pub(crate) fn public(spki: &SubjectPublicKeyInfo<'_>) -> Public {
    let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve = curve.as_ref().map(x509_parser::asn1_rs::Oid::as_bytes);
    Public::from_parts(spki.algorithm.algorithm.as_bytes(), curve, &spki.subject_public_key.data)
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return BTreeSet::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(untrusted(name.as_bytes())),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    names.take(NAMES_MAX).collect()
}

pub(crate) fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|six| Ipv6Addr::from(six).to_string())
}

/// RFC 3339, in UTC.
pub(crate) fn moment(time: ASN1Time) -> String {
    let at = time.to_datetime();
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second())
}
