//! What is trusted without being signed by anybody: the root's keys, or those of a file.

use super::keys::{Delegation, Key};
use super::wire::Name;
use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use mxray_model::text::untrusted;

/// When the built-in keys were compared with those that IANA publishes (root-anchors.xml): 20326 since 2017, 38696 since 2024.
pub const ROOT_KEYS_DATE: &str = "2026-11-01";
/// As IANA publishes them.
const ROOT_KEYS: &str = "\
. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";
/// Lines of a file that are read. A file has a few.
const LINES_MAX: usize = 1024;

/// Keys of one zone that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchors {
    pub(super) zone: Name,
    pub(super) delegations: Vec<Delegation>,
    pub(super) keys: Vec<Key>,
}

impl Default for TrustAnchors {
    fn default() -> Self {
        TrustAnchors::root()
    }
}

impl TrustAnchors {
    /// The keys of the Internet's root, as of [`ROOT_KEYS_DATE`].
    pub fn root() -> Self {
        let nothing = TrustAnchors { zone: Name::default(), delegations: Vec::new(), keys: Vec::new() };
        TrustAnchors::read(ROOT_KEYS).unwrap_or(nothing)
    }

    /// Reads DS and DNSKEY records as they stand in a zone file, one a line or in parentheses: what `dnssec-keygen` writes and
    /// unbound's `trust-anchor-file` and `auto-trust-anchor-file` are.
    ///
    /// # Errors
    /// A line is something else, or none is a key.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut anchors: Option<TrustAnchors> = None;
        for line in joined(text).iter().take(LINES_MAX) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let bad = || format!("{} is no DS or DNSKEY record", untrusted(line.trim().as_bytes()));
            let (owner, kind, rest) = parts(&words).ok_or_else(bad)?;
            let owner = Name::read(&owner.to_ascii_lowercase()).ok_or_else(bad)?;
            let into = anchors.get_or_insert_with(|| TrustAnchors {
                zone: owner.clone(),
                delegations: Vec::new(),
                keys: Vec::new(),
            });
            if into.zone != owner {
                return Err(format!("keys of {} and of {owner}: one zone can be trusted", into.zone));
            }
            match kind {
                Kind::Ds => into.delegations.push(delegation(rest).ok_or_else(bad)?),
                Kind::Dnskey => into.keys.push(key(rest).ok_or_else(bad)?),
            }
        }
        anchors.ok_or_else(|| "it has no DS or DNSKEY record".to_owned())
    }

    /// The zone, and the tags of its keys.
    pub fn shown(&self) -> String {
        let tags = self.delegations.iter().map(|one| one.tag).chain(self.keys.iter().map(|key| key.tag));
        let tags: Vec<String> = tags.map(|tag| tag.to_string()).collect();
        format!("{} {}", self.zone, tags.join(", "))
    }

    /// This key of the zone is trusted.
    pub(super) fn trusts(&self, key: &Key) -> bool {
        self.delegations.iter().any(|one| one.names(&self.zone, key)) || self.keys.contains(key)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ds,
    Dnskey,
}

/// Lines without comments, where parentheses hold several together.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default();
        let plain = line.replace(['(', ')'], " ");
        match lines.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(&plain);
            }
            None => lines.push(plain),
        }
        open = match (line.rfind('('), line.rfind(')')) {
            (Some(begin), Some(end)) => begin > end,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => open,
        };
    }
    lines
}

/// Owner, type and data of a line; a time to live and a class may stand between.
fn parts<'a>(words: &'a [&'a str]) -> Option<(&'a str, Kind, &'a [&'a str])> {
    let (owner, rest) = words.split_first()?;
    let between = |word: &&str| word.eq_ignore_ascii_case("IN") || word.bytes().all(|byte| byte.is_ascii_digit());
    let skipped = rest.iter().take_while(|word| between(word)).count();
    let (kind, data) = rest.get(skipped..)?.split_first()?;
    let kind = if kind.eq_ignore_ascii_case("DS") {
        Kind::Ds
    } else if kind.eq_ignore_ascii_case("DNSKEY") {
        Kind::Dnskey
    } else {
        return None;
    };
    Some((owner, kind, data))
}

fn delegation(words: &[&str]) -> Option<Delegation> {
    let [tag, algorithm, digest_type, digest @ ..] = words else { return None };
    let digest = HEXUPPER_PERMISSIVE.decode(digest.concat().as_bytes()).ok()?;
    Some(Delegation {
        tag: tag.parse().ok()?,
        algorithm: algorithm.parse().ok()?,
        digest_type: digest_type.parse().ok()?,
        digest,
    })
}

fn key(words: &[&str]) -> Option<Key> {
    let [flags, protocol, algorithm, public @ ..] = words else { return None };
    let flags: u16 = flags.parse().ok()?;
    let mut data = flags.to_be_bytes().to_vec();
    data.push(protocol.parse().ok()?);
    data.push(algorithm.parse().ok()?);
    data.extend(BASE64.decode(public.concat().as_bytes()).ok()?);
    Key::read(&data)
}
