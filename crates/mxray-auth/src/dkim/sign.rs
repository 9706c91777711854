//! Makes a signature field (RFC 6376 section 5) with rsa-sha256 or ed25519-sha256.
//!
//! What must not live here: where keys are kept. A key is wiped when it goes, and nothing of it is printed.

use super::canon::{BodyCanonicalizer, Canonicalization};
use super::message::{Field, Message};
use super::verify::signed_data;
use crate::pem;
use data_encoding::BASE64;
use ring::digest::{Context, SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use std::fmt;

/// Longest line of a field that is made here (RFC 5322 section 2.1.1).
const LINE_MAX: usize = 76;
const SEED_BYTES: usize = 32;

/// A private key that can sign.
pub struct Signer(Pair);

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm())
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerError {
    /// The file has no private key that signs: encrypted, of another kind, below 2048 bits.
    NoKey(String),
    /// RFC 6376 section 5.4: From has to be signed, and the message has none.
    NoFrom,
    /// A domain, selector or field name that cannot stand in the field.
    BadName(String),
    Failed,
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignerError::NoKey(why) => write!(f, "no key to sign with: {why}"),
            SignerError::NoFrom => f.write_str("the message has no From field, which has to be signed"),
            SignerError::BadName(name) => write!(f, "{name:?} cannot stand in a signature"),
            SignerError::Failed => f.write_str("the signature could not be calculated"),
        }
    }
}

impl std::error::Error for SignerError {}

/// What a signature says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    pub domain: String,
    pub selector: String,
    pub head: Canonicalization,
    pub body: Canonicalization,
    /// Names, each as often as it is to be signed. `from` once more than it is there keeps others from adding one.
    pub fields: Vec<String>,
    /// Only so many bytes of the body; nobody should (section 8.2).
    pub length: Option<u64>,
    pub signed_s: Option<i64>,
    pub expires_s: Option<i64>,
}

impl Signer {
    /// From the text of a key file: PKCS#8 or PKCS#1.
    ///
    /// # Errors
    /// It holds no key that signs.
    pub fn from_file(text: &[u8]) -> Result<Signer, SignerError> {
        let mut why = "there is no private key in the file".to_owned();
        for block in pem::blocks(text) {
            let der = match (&block.der, block.encrypted || block.label.starts_with("ENCRYPTED")) {
                (_, true) => {
                    why = "it is encrypted".to_owned();
                    continue;
                }
                (Ok(der), false) => der,
                (Err(error), false) => {
                    why = (*error).to_owned();
                    continue;
                }
            };
            let rsa = match block.label.as_str() {
                "PRIVATE KEY" => {
                    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                        return Ok(Signer(Pair::Ed25519(pair)));
                    }
                    RsaKeyPair::from_pkcs8(der)
                }
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(der),
                _ => continue,
            };
            match rsa {
                Ok(pair) => return Ok(Signer(Pair::Rsa(Box::new(pair)))),
                Err(error) => why = error.to_string(),
            }
        }
        Err(SignerError::NoKey(why))
    }

    /// From the seed of an Ed25519 key (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// It has not 32 bytes.
    pub fn ed25519(seed: &[u8]) -> Result<Signer, SignerError> {
        match Ed25519KeyPair::from_seed_unchecked(seed) {
            Ok(pair) if seed.len() == SEED_BYTES => Ok(Signer(Pair::Ed25519(pair))),
            _ => Err(SignerError::NoKey("a seed has 32 bytes".to_owned())),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.0 {
            Pair::Rsa(_) => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// The record that belongs to the key.
    pub fn record(&self) -> String {
        match &self.0 {
            Pair::Rsa(pair) => {
                // ring gives the bare RSAPublicKey; published is the SubjectPublicKeyInfo around it.
                let spki = crate::der::spki(crate::public::RSA, None, true, pair.public_key().as_ref());
                format!("v=DKIM1; k=rsa; p={}", BASE64.encode(&spki))
            }
            Pair::Ed25519(pair) => format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(pair.public_key().as_ref())),
        }
    }

    /// The field to be put in front of the message, with its line end.
    ///
    /// # Errors
    /// The message cannot be signed so.
    pub fn sign(&self, message: &[u8], signing: &Signing) -> Result<String, SignerError> {
        let read = Message::read(message);
        let has_from = signing.fields.iter().any(|name| name.eq_ignore_ascii_case("from"));
        if !has_from || read.named("from").next().is_none() {
            return Err(SignerError::NoFrom);
        }
        let unsigned = self.unsigned(&read, signing)?;
        let own = Field::new(unsigned.as_bytes()).ok_or(SignerError::Failed)?;
        let data = signed_data(&read, &own, &signing.fields, signing.head);
        let signature = self.calculate(&data)?;
        let mut field = unsigned;
        for piece in BASE64.encode(&signature).as_bytes().chunks(LINE_MAX - 4) {
            field.push_str("\r\n ");
            field.push_str(&String::from_utf8_lossy(piece));
        }
        field.push_str("\r\n");
        Ok(field)
    }

    pub(super) fn calculate(&self, data: &[u8]) -> Result<Vec<u8>, SignerError> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let done = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature);
                done.map(|()| signature).map_err(|_| SignerError::Failed)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(digest(&SHA256, data).as_ref()).as_ref().to_vec()),
        }
    }

    /// The field with an empty `b=`, folded.
    fn unsigned(&self, message: &Message<'_>, signing: &Signing) -> Result<String, SignerError> {
        for name in [&signing.domain, &signing.selector].into_iter().chain(&signing.fields) {
            let fits = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | ':' | '=');
            if name.is_empty() || !name.chars().all(fits) {
                return Err(SignerError::BadName(name.clone()));
            }
        }
        let body_hash = BASE64.encode(&hashed(message.body(), signing.body, signing.length));
        let mut tags = vec![
            "v=1".to_owned(),
            format!("a={}", self.algorithm()),
            format!("c={}/{}", signing.head, signing.body),
            format!("d={}", signing.domain),
            format!("s={}", signing.selector),
        ];
        tags.extend(signing.signed_s.map(|at| format!("t={at}")));
        tags.extend(signing.expires_s.map(|at| format!("x={at}")));
        tags.extend(signing.length.map(|bytes| format!("l={bytes}")));
        let mut out = "DKIM-Signature:".to_owned();
        let mut line = out.len();
        let mut add = |piece: &str, out: &mut String| {
            if line + piece.len() + 1 > LINE_MAX {
                out.push_str("\r\n");
                line = 0;
            }
            out.push(' ');
            out.push_str(piece);
            line += piece.len() + 1;
        };
        for tag in tags {
            add(&format!("{tag};"), &mut out);
        }
        let last = signing.fields.len().saturating_sub(1);
        for (at, name) in signing.fields.iter().enumerate() {
            let (before, after) = (if at == 0 { "h=" } else { "" }, if at == last { ";" } else { ":" });
            add(&format!("{before}{name}{after}"), &mut out);
        }
        add(&format!("bh={body_hash};"), &mut out);
        add("b=", &mut out);
        Ok(out)
    }
}

fn hashed(body: &[u8], kind: Canonicalization, length: Option<u64>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let mut left = length.unwrap_or(u64::MAX);
    let mut sink = |piece: &[u8]| {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        context.update(piece.get(..take).unwrap_or_default());
        left -= take as u64;
    };
    let mut canonicalizer = BodyCanonicalizer::new(kind);
    canonicalizer.update(body, &mut sink);
    canonicalizer.finish(&mut sink);
    context.finish().as_ref().to_vec()
}
