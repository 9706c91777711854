//! The fields DKIM-Signature, ARC-Message-Signature and ARC-Seal, read (RFC 6376 section 3.5, RFC 8617 section 4.1).
//!
//! What must not live here: whether a signature holds.

use super::canon::Canonicalization;
use crate::tags::{Tags, squeezed};
use data_encoding::BASE64;
use mxray_model::evidence::published::DkimReason;
use mxray_model::text::untrusted;

/// Which of the three a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Dkim,
    ArcMessage,
    ArcSeal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    RsaSha1,
    RsaSha256,
    Ed25519Sha256,
}

impl Algorithm {
    fn named(name: &str) -> Option<Algorithm> {
        match name.to_ascii_lowercase().as_str() {
            "rsa-sha1" => Some(Algorithm::RsaSha1),
            "rsa-sha256" => Some(Algorithm::RsaSha256),
            "ed25519-sha256" => Some(Algorithm::Ed25519Sha256),
            _ => None,
        }
    }

    /// As `k=` says it.
    pub fn key(self) -> &'static str {
        match self {
            Algorithm::RsaSha1 | Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        }
    }

    /// As `h=` of a key says it.
    pub fn hash(self) -> &'static str {
        match self {
            Algorithm::RsaSha1 => "sha1",
            Algorithm::RsaSha256 | Algorithm::Ed25519Sha256 => "sha256",
        }
    }
}

/// A field as it could be read; what could not is a reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Signature {
    pub algorithm: Option<Algorithm>,
    pub algorithm_name: Option<String>,
    pub signature: Vec<u8>,
    pub body_hash: Option<Vec<u8>>,
    pub head: Option<Canonicalization>,
    pub body: Option<Canonicalization>,
    pub canonicalization: Option<String>,
    pub domain: Option<String>,
    pub selector: Option<String>,
    pub identity: Option<String>,
    pub fields: Vec<String>,
    pub length: Option<u64>,
    pub signed_s: Option<i64>,
    pub expires_s: Option<i64>,
    pub unknown_query: Option<String>,
    /// `cv=` of a seal.
    pub chain: Option<String>,
    pub reasons: Vec<DkimReason>,
}

/// Signatures of one message that are read for their names.
const SIGNERS_MAX: usize = 16;

/// The domain and the selector of each signature of a message, each pair once, whether the signature holds or not.
pub fn signed_by(message: &super::Message<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for value in message.values("dkim-signature").take(SIGNERS_MAX) {
        let read = Signature::read(value, Sort::Dkim);
        if let (Some(domain), Some(selector)) = (read.domain, read.selector)
            && !found.contains(&(domain.clone(), selector.clone()))
        {
            found.push((domain, selector));
        }
    }
    found
}

/// Most fields that a signature names.
const SIGNED_FIELDS_MAX: usize = 1000;

fn syntax(tag: &str, why: &str) -> DkimReason {
    DkimReason::SignatureSyntax { tag: tag.to_owned(), why: why.to_owned() }
}

impl Signature {
    pub fn read(value: &[u8], sort: Sort) -> Signature {
        let text = String::from_utf8_lossy(value);
        let mut read = Signature::default();
        let tags = match Tags::parse(&text) {
            Ok(tags) => tags,
            Err(error) => {
                read.reasons.push(syntax("", &error.why));
                Tags::read(&text).0
            }
        };
        read.missing(&tags, sort);
        read.names(&tags, sort);
        read.hashes(&tags, sort);
        read.form(&tags, sort);
        read.times(&tags);
        read
    }

    fn missing(&mut self, tags: &Tags<'_>, sort: Sort) {
        let needed: &[&str] = match sort {
            Sort::Dkim => &["v", "a", "b", "bh", "d", "h", "s"],
            Sort::ArcMessage => &["a", "b", "bh", "d", "h", "s"],
            Sort::ArcSeal => &["a", "b", "cv", "d", "s"],
        };
        for tag in needed.iter().filter(|tag| tags.get(tag).is_none_or(str::is_empty)) {
            self.reasons.push(DkimReason::MissingTag { tag: (*tag).to_owned() });
        }
        match tags.get("v") {
            Some(version) if sort == Sort::Dkim && version != "1" && !version.is_empty() => {
                self.reasons.push(DkimReason::Version { found: untrusted(version.as_bytes()) });
            }
            _ => {}
        }
        // RFC 8617 section 4.1.3: a seal covers what it covers, always.
        if sort == Sort::ArcSeal {
            for tag in ["h", "bh", "c", "l"].into_iter().filter(|tag| tags.get(tag).is_some()) {
                self.reasons.push(syntax(tag, "an ARC-Seal has no such tag (RFC 8617 section 4.1.3)"));
            }
            self.chain = tags.get("cv").map(|chain| untrusted(chain.to_ascii_lowercase().as_bytes()));
        }
    }

    fn names(&mut self, tags: &Tags<'_>, sort: Sort) {
        let mut name = |tag: &str| {
            let value = tags.get(tag).filter(|value| !value.is_empty()).map(squeezed)?;
            if !is_domain(&value) {
                self.reasons.push(syntax(tag, "no domain name"));
            }
            Some(untrusted(value.to_ascii_lowercase().as_bytes()))
        };
        (self.domain, self.selector) = (name("d"), name("s"));
        // In ARC `i=` is the number of the set.
        if sort == Sort::Dkim {
            let identity = tags.get("i").map(squeezed);
            if let (Some(identity), Some(domain)) = (&identity, &self.domain) {
                let of = identity.rsplit_once('@').map(|(_, of)| of.to_ascii_lowercase());
                if !of.is_some_and(|of| crate::spf::is_within(&of, domain)) {
                    let identity = untrusted(identity.as_bytes());
                    self.reasons.push(DkimReason::IdentityOutside { identity, domain: domain.clone() });
                }
            }
            let default = || self.domain.as_ref().map(|domain| format!("@{domain}"));
            self.identity = identity.map(|identity| untrusted(identity.as_bytes())).or_else(default);
        }
        if let Some(list) = tags.get("h") {
            let names = list.split(':').map(str::trim).take(SIGNED_FIELDS_MAX);
            self.fields = names.map(|name| untrusted(name.as_bytes())).collect();
            let signs = |wanted: &str| self.fields.iter().any(|name| name.eq_ignore_ascii_case(wanted));
            if self.fields.iter().any(String::is_empty) {
                self.reasons.push(syntax("h", "an empty name"));
            }
            if !signs("from") && sort == Sort::Dkim {
                self.reasons.push(DkimReason::FromNotSigned);
            }
            // RFC 8617 section 4.1.2.
            if sort == Sort::ArcMessage && signs("arc-seal") {
                self.reasons
                    .push(syntax("h", "an ARC-Message-Signature does not sign ARC-Seal (RFC 8617 section 4.1.2)"));
            }
        }
    }

    fn hashes(&mut self, tags: &Tags<'_>, sort: Sort) {
        if let Some(name) = tags.get("a").filter(|name| !name.is_empty()) {
            self.algorithm = Algorithm::named(name);
            let name = untrusted(name.as_bytes());
            match self.algorithm {
                None => self.reasons.push(DkimReason::UnknownAlgorithm { name: name.clone() }),
                Some(Algorithm::RsaSha1) => self.reasons.push(DkimReason::Sha1),
                Some(_) => {}
            }
            self.algorithm_name = Some(name);
        }
        let mut decoded = |tag: &str| {
            let value = tags.get(tag).map(squeezed).filter(|value| !value.is_empty())?;
            let bytes = BASE64.decode(value.as_bytes()).ok();
            if bytes.is_none() {
                self.reasons.push(syntax(tag, "it is no base64"));
            }
            bytes
        };
        let signature = decoded("b");
        if sort != Sort::ArcSeal {
            self.body_hash = decoded("bh");
        }
        self.signature = signature.unwrap_or_default();
    }

    fn form(&mut self, tags: &Tags<'_>, sort: Sort) {
        if sort == Sort::ArcSeal {
            (self.head, self.body) = (Some(Canonicalization::Relaxed), None);
            return;
        }
        let name = tags.get("c").map_or_else(|| "simple/simple".to_owned(), squeezed);
        // Section 3.5: one name is the head's, and the body is simple.
        let (head, body) = name.split_once('/').unwrap_or((name.as_str(), "simple"));
        (self.head, self.body) = (Canonicalization::named(head), Canonicalization::named(body));
        let full = untrusted(format!("{head}/{body}").to_ascii_lowercase().as_bytes());
        if self.head.is_none() || self.body.is_none() {
            self.reasons.push(DkimReason::UnknownCanonicalization { name: full.clone() });
        }
        self.canonicalization = Some(full);
        if let Some(length) = tags.get("l") {
            // Up to 76 digits are allowed (section 3.5); no body has as many.
            match length.bytes().all(|byte| byte.is_ascii_digit()) && !length.is_empty() {
                true => self.length = Some(length.parse().unwrap_or(u64::MAX)),
                false => self.reasons.push(syntax("l", "no number")),
            }
        }
        if let Some(methods) = tags.get("q")
            && !methods.split(':').any(|method| method.trim().eq_ignore_ascii_case("dns/txt"))
        {
            self.unknown_query = Some(untrusted(methods.as_bytes()));
        }
    }

    fn times(&mut self, tags: &Tags<'_>) {
        let mut time = |tag: &str| {
            let value = tags.get(tag)?;
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if !digits {
                self.reasons.push(syntax(tag, "no number of seconds"));
                return None;
            }
            // Section 3.5 asks for values up to the year 200,000 and beyond.
            Some(value.parse().unwrap_or(i64::MAX))
        };
        (self.signed_s, self.expires_s) = (time("t"), time("x"));
        if let (Some(signed_s), Some(expires_s)) = (self.signed_s, self.expires_s)
            && expires_s <= signed_s
        {
            self.reasons.push(DkimReason::ExpiresBeforeSigned { signed_s, expires_s });
        }
    }
}

/// Section 3.5 with RFC 5321's labels; underscores stand in selectors of some.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii();
        !label.is_empty() && label.len() <= 63 && label.chars().all(fits) && !label.starts_with('-')
    };
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

/// The field with the value of `b=` taken out and nothing else changed (section 3.7).
pub(super) fn without_signature(raw: &[u8]) -> Vec<u8> {
    let value_at = raw.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
    let mut out = raw.get(..value_at).unwrap_or_default().to_vec();
    let rest = raw.get(value_at..).unwrap_or_default();
    for (number, piece) in rest.split(|byte| *byte == b';').enumerate() {
        if number > 0 {
            out.push(b';');
        }
        match piece.iter().position(|byte| *byte == b'=') {
            Some(equals) if piece.get(..equals).is_some_and(|name| name.trim_ascii() == b"b") => {
                out.extend_from_slice(piece.get(..=equals).unwrap_or_default());
            }
            _ => out.extend_from_slice(piece),
        }
    }
    out
}
