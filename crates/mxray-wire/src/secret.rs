//! Bytes that may not be shown.

use std::fmt;

/// What takes the place of a secret. Its length says nothing about the secret's.
pub(crate) const MASK: &[u8] = b"***";
/// A secret shorter than this is not looked for in what a peer says: a one-letter password would mask half of it.
const LOOKED_FOR_BYTES_MIN: usize = 4;

/// Bytes with a secret in them. They have no `Display`, and `Debug` shows their number alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(bytes.into())
    }

    /// The bytes themselves, for whoever writes them to a peer.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving the writes out.
        std::hint::black_box(&self.0);
    }
}

/// The secrets of a session in every form in which they go over the wire; what a peer repeats is masked by these.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<Secret>);

impl Secrets {
    pub fn add(&mut self, form: &[u8]) {
        if form.len() >= LOOKED_FOR_BYTES_MIN {
            self.0.push(Secret::new(form));
            // The longest first: a form that holds another one is masked whole.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        }
    }

    /// The same bytes with each secret replaced.
    pub fn masked(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for secret in &self.0 {
            out = replaced(&out, secret.expose());
        }
        out
    }
}

fn replaced(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        if let Some(behind) = rest.strip_prefix(secret) {
            out.extend_from_slice(MASK);
            rest = behind;
        } else {
            out.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter22")), "Secret(8 bytes)");
        let mut secrets = Secrets::default();
        secrets.add(b"hunter22");
        secrets.add(b"hunter22-and-more");
        secrets.add(b"x");
        assert_eq!(secrets.masked(b"535 no hunter22-and-more x, hunter22"), b"535 no *** x, ***");
    }
}
