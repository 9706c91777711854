//! Two files, or one that holds both: what is in them, and whether key and certificate belong together.

use crate::certificate;
use crate::key::{Private, Secret, private};
use crate::pem::{Block, blocks};
use mxray_model::evidence::{CertificatePair, ChainFile, KeyFile, PrivateKey, PublicKey};
use mxray_model::{Blind, Seen};
use zeroize::Zeroizing;

/// What was read of one file: its bytes, that it is not there, or why it could not be read.
type Read = Seen<Vec<u8>>;

/// A certificate file and a key file, as a server is told to use them: the first certificate, and the first private key.
///
/// The bytes of both are overwritten before this returns.
pub fn pair(chain_file: &str, chain: Read, key_file: &str, key: Read) -> CertificatePair {
    let (chain, key) = (chain.map(Zeroizing::new), key.map(Zeroizing::new));
    let (chain, key) = (chain.as_ref().map(|bytes| blocks(bytes)), key.as_ref().map(|bytes| blocks(bytes)));
    let leaf = chain.value().and_then(|blocks| blocks.iter().find(|block| certificate::is_certificate(block)));
    let secret = key.value().and_then(|blocks| blocks.iter().find_map(private));
    let belongs = match (&chain, &key) {
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
        (Seen::Value(_), Seen::Value(_)) => match (leaf, &secret) {
            (Some(leaf), Some(secret)) => belongs(chain_file, leaf, key_file, secret),
            _ => Seen::Absent,
        },
    };
    let key_line = key.value().and_then(|blocks| blocks.iter().find(|block| private(block).is_some())).map(|b| b.line);
    CertificatePair {
        key_behind: chain_file == key_file && leaf.zip(key_line).is_some_and(|(leaf, key)| key > leaf.line),
        chain_file: chain_file.to_owned(),
        key_file: key_file.to_owned(),
        chain: chain.map(|blocks| chain_of(chain_file, &blocks)),
        key: key.map(|_| KeyFile { key: secret.map_or(Seen::Absent, |secret| Seen::Value(told(key_file, &secret))) }),
        belongs,
    }
}

/// A file with certificates alone.
pub fn chain_file(name: &str, bytes: &[u8]) -> ChainFile {
    chain_of(name, &blocks(bytes))
}

/// A file with a private key alone, such as a DKIM signer's. The bytes are overwritten before this returns.
pub fn key_file(name: &str, bytes: Vec<u8>) -> KeyFile {
    let bytes = Zeroizing::new(bytes);
    let key = blocks(&bytes).iter().find_map(private);
    KeyFile { key: key.map_or(Seen::Absent, |key| Seen::Value(told(name, &key))) }
}

fn chain_of(name: &str, blocks: &[Block]) -> ChainFile {
    let mut certificates = blocks.iter().filter(|block| certificate::is_certificate(block)).peekable();
    let leaf = match certificates.peek() {
        Some(block) => match certificate::read(block) {
            Ok((certificate, _)) => Seen::Value(certificate),
            Err(why) => Seen::Unknown(strange(name, block, why)),
        },
        None => Seen::Absent,
    };
    ChainFile { certificates: u32::try_from(certificates.count()).unwrap_or(u32::MAX), leaf }
}

fn belongs(chain_file: &str, leaf: &Block, key_file: &str, secret: &Private) -> Seen<bool> {
    let public = match certificate::read(leaf) {
        Ok((_, public)) => public,
        Err(why) => return Seen::Unknown(strange(chain_file, leaf, why)),
    };
    match secret.belongs_to(&public) {
        Ok(answer) => Seen::Value(answer),
        Err(text) => Seen::Unknown(Blind::NotUnderstood { what: format!("the private key in {key_file}"), text }),
    }
}

fn strange(name: &str, block: &Block, text: String) -> Blind {
    Blind::NotUnderstood { what: format!("the certificate at {name}:{}", block.line), text }
}

fn told(name: &str, secret: &Private) -> PrivateKey {
    let not_understood = |text| Blind::NotUnderstood { what: format!("the private key in {name}"), text };
    let (public, dkim_public): (Seen<PublicKey>, Seen<String>) = match secret.public() {
        Ok(public) => (Seen::Value(public.told(None)), public.dkim().map_or(Seen::Absent, Seen::Value)),
        Err(why) => (Seen::Unknown(not_understood(why.clone())), Seen::Unknown(not_understood(why))),
    };
    let encrypted = matches!(secret.secret, Secret::Encrypted);
    PrivateKey { form: secret.form.to_owned(), encrypted, public, dkim_public }
}
