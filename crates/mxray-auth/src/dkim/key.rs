//! Key records (RFC 6376 section 3.6.1, RFC 8301 section 3.2, RFC 8463): read, judged, and used.
//!
//! What must not live here: which selectors there are. They cannot be enumerated.

use crate::public::Public;
use crate::tags::{Tags, column, squeezed};
use data_encoding::BASE64;
use mxray_model::evidence::published::{DkimKey, DkimKeyProblem};
use mxray_model::text::untrusted;

/// RFC 8301 section 3.2.
pub(super) const RSA_BITS_MIN: u32 = 1024;
const RSA_BITS_GOOD: u32 = 2048;
/// More is neither calculated here nor by most receivers, who must calculate up to 4096.
const RSA_BITS_MAX: u32 = 8192;
const ED25519_BYTES: usize = 32;

/// A record, and the key in it.
#[derive(Debug, Clone)]
pub(crate) struct KeyRecord {
    pub facts: DkimKey,
    pub public: Option<Public>,
}

/// Judges a key record, found under `name`.
pub fn judge(name: &str, record: &[u8]) -> DkimKey {
    read(name, record).facts
}

pub(crate) fn read(name: &str, record: &[u8]) -> KeyRecord {
    let text = String::from_utf8_lossy(record);
    let (tags, errors) = Tags::read(&text);
    let mut problems: Vec<DkimKeyProblem> = errors
        .into_iter()
        .take(8)
        .map(|error| DkimKeyProblem::Syntax { column: error.column(), why: error.why })
        .collect();
    version(&tags, &mut problems);
    let kind = tags.get("k").map_or_else(|| "rsa".to_owned(), |kind| untrusted(squeezed(kind).as_bytes()));
    let list = |tag: &str| -> Vec<String> {
        let value = tags.get(tag).unwrap_or_default();
        let parts = value.split(':').map(|part| part.trim().to_ascii_lowercase()).filter(|part| !part.is_empty());
        parts.map(|part| untrusted(part.as_bytes())).take(20).collect()
    };
    let (hashes, services, flags) = (list("h"), list("s"), list("t"));
    if !hashes.is_empty() && !hashes.iter().any(|hash| hash == "sha256") {
        problems.push(DkimKeyProblem::Hashes { allowed: hashes.join(":") });
    }
    if !is_for_mail(&services) {
        problems.push(DkimKeyProblem::Services { allowed: services.join(":") });
    }
    let encoded = tags.get("p").map(squeezed);
    let public = match &encoded {
        None => {
            problems.push(DkimKeyProblem::NoKey);
            None
        }
        Some(encoded) if encoded.is_empty() => {
            problems.push(DkimKeyProblem::Revoked);
            None
        }
        Some(encoded) => public(&kind, encoded, &mut problems),
    };
    let told = public.as_ref().map(|public| public.told(None));
    let facts = DkimKey {
        name: name.to_owned(),
        record: untrusted(record),
        kind,
        bits: told.as_ref().map_or(0, |told| told.bits),
        spki_sha256: told.map(|told| told.spki_sha256),
        public: encoded.filter(|encoded| !encoded.is_empty()).map(|encoded| untrusted(encoded.as_bytes())),
        testing: flags.iter().any(|flag| flag == "y"),
        exact_identity: flags.iter().any(|flag| flag == "s"),
        hashes,
        services,
        problems,
    };
    KeyRecord { facts, public }
}

pub(super) fn is_for_mail(services: &[String]) -> bool {
    services.is_empty() || services.iter().any(|service| service == "*" || service == "email")
}

/// A record that says which version it is says so first, and exactly.
fn version(tags: &Tags<'_>, problems: &mut Vec<DkimKeyProblem>) {
    let Some(tag) = tags.tag("v") else { return };
    if tag.value != "DKIM1" {
        problems.push(DkimKeyProblem::Version { found: untrusted(tag.value.as_bytes()) });
    } else if tags.0.first().is_none_or(|first| first.name != "v") {
        let why = "v=DKIM1 stands first, or not at all".to_owned();
        problems.push(DkimKeyProblem::Syntax { column: column(tag.at), why });
    }
}

fn public(kind: &str, encoded: &str, problems: &mut Vec<DkimKeyProblem>) -> Option<Public> {
    if !matches!(kind, "rsa" | "ed25519") {
        problems.push(DkimKeyProblem::UnknownKind { kind: kind.to_owned() });
        return None;
    }
    let bytes = match BASE64.decode(encoded.as_bytes()) {
        Ok(bytes) => bytes,
        Err(error) => {
            let (at, why) = damage(encoded, error.position);
            problems.push(DkimKeyProblem::Base64 { at: column(at), why });
            return None;
        }
    };
    if kind == "ed25519" {
        return ed25519(&bytes, problems);
    }
    // RFC 6376 erratum 3017: some publish the bare RSAPublicKey of section 3.6.1, most the SubjectPublicKeyInfo.
    let Some(public) = crate::public::rsa_record(&bytes) else {
        let why = match crate::public::spki_kind(&bytes) {
            Some(other) => format!("k=rsa, and the key is {other}"),
            None => "it is no RSA key: cut off, or damaged".to_owned(),
        };
        problems.push(DkimKeyProblem::NotAKey { why });
        return None;
    };
    let (_, bits) = public.kind();
    match bits {
        0..RSA_BITS_MIN => problems.push(DkimKeyProblem::TooShort { bits }),
        RSA_BITS_MIN..RSA_BITS_GOOD => problems.push(DkimKeyProblem::Short { bits }),
        RSA_BITS_GOOD..=RSA_BITS_MAX => {}
        _ => problems.push(DkimKeyProblem::TooLong { bits }),
    }
    Some(public)
}

/// RFC 8463 section 4: the bare key. A SubjectPublicKeyInfo is a frequent mistake, and no receiver takes it.
fn ed25519(bytes: &[u8], problems: &mut Vec<DkimKeyProblem>) -> Option<Public> {
    if bytes.len() == ED25519_BYTES {
        return Some(Public::Ed25519(bytes.to_vec()));
    }
    let why = match crate::public::spki_kind(bytes) {
        Some(kind) => {
            format!("a SubjectPublicKeyInfo ({kind}); k=ed25519 takes the bare key of 32 bytes (RFC 8463 section 4)")
        }
        None => format!("{} bytes; an Ed25519 key has 32 (RFC 8463 section 4)", bytes.len()),
    };
    problems.push(DkimKeyProblem::NotAKey { why });
    None
}

/// Where base64 breaks, and what the usual accidents look like.
fn damage(encoded: &str, position: usize) -> (usize, String) {
    let strange = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
    if let Some((at, c)) = encoded.char_indices().find(|(_, c)| strange(*c)) {
        let why = match c {
            '"' | '\'' | '\u{201c}' | '\u{201d}' => "a quotation mark, which belongs to the zone file".to_owned(),
            '\\' => "a backslash, which belongs to the zone file".to_owned(),
            '-' | '_' => format!("{c:?}: the alphabet for URLs (RFC 4648 section 5) is not taken here"),
            c => format!("{:?} is no character of base64", untrusted(c.to_string().as_bytes())),
        };
        return (at, why);
    }
    let unpadded = encoded.trim_end_matches('=').len();
    if encoded.get(..unpadded).is_some_and(|inner| inner.contains('=')) {
        return (encoded.find('=').unwrap_or(position), "padding in the middle: two strings in one".to_owned());
    }
    if !encoded.len().is_multiple_of(4) {
        let why = format!("{} characters, which is no multiple of four: cut off, or a character lost", encoded.len());
        return (encoded.len(), why);
    }
    (position, "the last bits are not zero: a character was changed or lost".to_owned())
}
