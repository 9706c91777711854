//! Signers that hash a message before its lines end in CRLF: the hash in the signature tells.
//!
//! What must not live here: verification, which takes LF for CRLF as the protocol has it (RFC 6376 section 5.3).

use super::canon::{Canonicalization, canonical_body};
use super::message::Message;
use data_encoding::BASE64;
use mxray_model::evidence::published::DkimVerdict;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// Is the hash in a signature that of the body with lines that end in LF alone? Then that is all that is wrong with the body.
pub fn hashed_with_line_feeds(verdict: &DkimVerdict, message: &[u8]) -> bool {
    let (Some(claimed), Some(computed)) = (&verdict.body_hash_claimed, &verdict.body_hash_computed) else {
        return false;
    };
    if claimed == computed {
        return false;
    }
    let body = verdict.canonicalization.as_deref().and_then(|both| both.split('/').nth(1)).unwrap_or("simple");
    let Some(kind) = Canonicalization::named(body.trim()) else { return false };
    let sent = canonical_body(Message::read(message).body(), kind);
    let mut lines = Vec::with_capacity(sent.len());
    for (at, byte) in sent.iter().enumerate() {
        if !(*byte == b'\r' && sent.get(at + 1) == Some(&b'\n')) {
            lines.push(*byte);
        }
    }
    let old = verdict.algorithm.as_deref().is_some_and(|name| name.to_ascii_lowercase().ends_with("sha1"));
    let hash = if old { &SHA1_FOR_LEGACY_USE_ONLY } else { &SHA256 };
    BASE64.encode(digest(hash, &lines).as_ref()) == *claimed
}
