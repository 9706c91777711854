//! SCRAM (RFC 5802, RFC 7677): the server's proof is verified, and its iteration count bounded.

use super::{Binding, Login, Trouble};
use crate::base64;
use crate::secret::Secret;
use mxray_model::text::untrusted;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// Servers use 4,096 to 600,000. A hostile one could ask for hours.
const ITERATIONS_MAX: u32 = 1_000_000;
/// A salt is some 16 bytes; a message is one line.
const MESSAGE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
        }
    }

    fn length(self) -> usize {
        self.digest().output_len()
    }
}

/// One SCRAM exchange.
#[derive(Debug)]
pub(crate) struct Scram {
    hash: Hash,
    password: Secret,
    /// `n,,`, `y,,` or `p=tls-exporter,,`, with the name to act for.
    header: String,
    binding: Vec<u8>,
    first_bare: String,
    nonce: String,
    /// What the server has to prove with; known after its first message.
    signature: Option<Vec<u8>>,
    verified: bool,
    said: Option<String>,
}

impl Scram {
    pub fn new(
        hash: Hash,
        binds: bool,
        login: &Login,
        nonce: &str,
        binding: Option<&Binding>,
    ) -> Result<Self, Trouble> {
        let prepared = |text: &str| stringprep::saslprep(text).map(std::borrow::Cow::into_owned);
        let user = prepared(&login.user).map_err(|_| Trouble::Unusable)?;
        let password = std::str::from_utf8(login.secret.expose()).ok().and_then(|text| prepared(text).ok());
        // What is no text is used as it is: some servers store it so.
        let password = password.map_or_else(|| login.secret.clone(), Secret::new);
        let flag = match binding.filter(|_| binds) {
            Some(binding) => format!("p={}", binding.kind),
            None if binds => return Err(Trouble::Unusable),
            None => "n".to_owned(),
        };
        let actor = match login.authorize_as.as_str() {
            "" => String::new(),
            name => format!("a={}", escaped(name)),
        };
        Ok(Scram {
            hash,
            password,
            header: format!("{flag},{actor},"),
            binding: binding.filter(|_| binds).map(|binding| binding.data.clone()).unwrap_or_default(),
            first_bare: format!("n={},r={nonce}", escaped(&user)),
            nonce: nonce.to_owned(),
            signature: None,
            verified: false,
            said: None,
        })
    }

    pub fn first(&self) -> Secret {
        Secret::new(format!("{}{}", self.header, self.first_bare))
    }

    /// The client's proof, from the server's salt, nonce and count.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Secret, Trouble> {
        let text = message(challenge)?;
        let nonce = attribute(text, 'r').ok_or(Trouble::BadChallenge("no nonce"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Trouble::BadChallenge("the nonce is not a continuation of ours"));
        }
        let salt = attribute(text, 's').and_then(|salt| base64::decode(salt.as_bytes()));
        let salt = salt.filter(|salt| !salt.is_empty()).ok_or(Trouble::BadChallenge("no salt"))?;
        let count: u32 =
            attribute(text, 'i').and_then(|count| count.parse().ok()).ok_or(Trouble::BadChallenge("no count"))?;
        let count = NonZeroU32::new(count).ok_or(Trouble::BadChallenge("a count of zero"))?;
        if count.get() > ITERATIONS_MAX {
            return Err(Trouble::TooExpensive(count.get()));
        }
        if attribute(text, 'm').is_some() {
            return Err(Trouble::BadChallenge("an extension that has to be understood"));
        }
        let mut salted = vec![0; self.hash.length()];
        pbkdf2::derive(self.hash.pbkdf2(), count, &salt, self.password.expose(), &mut salted);
        let mut bound = self.header.clone().into_bytes();
        bound.extend_from_slice(&self.binding);
        let without_proof = format!("c={},r={nonce}", base64::encode(&bound));
        let all = format!("{},{text},{without_proof}", self.first_bare);
        let client_key = self.sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), &client_key);
        let signature = self.sign(stored_key.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        let server_key = self.sign(&salted, b"Server Key");
        self.signature = Some(self.sign(&server_key, all.as_bytes()));
        Ok(Secret::new(format!("{without_proof},p={}", base64::encode(&proof))))
    }

    /// The server's last message: its signature, or its reason.
    pub fn verify(&mut self, challenge: &[u8]) -> Result<(), Trouble> {
        let text = message(challenge)?;
        if let Some(error) = attribute(text, 'e') {
            self.said = Some(untrusted(error.as_bytes()));
            return Ok(());
        }
        let given = attribute(text, 'v').and_then(|value| base64::decode(value.as_bytes()));
        self.verified = given.is_some() && given == self.signature;
        if self.verified { Ok(()) } else { Err(Trouble::WrongServerSignature) }
    }

    pub fn is_verified(&self) -> bool {
        self.verified
    }

    pub fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    fn sign(&self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hash.hmac(), key), text).as_ref().to_vec()
    }
}

fn message(challenge: &[u8]) -> Result<&str, Trouble> {
    let text = std::str::from_utf8(challenge).map_err(|_| Trouble::BadChallenge("not UTF-8"))?;
    if text.len() > MESSAGE_BYTES_MAX { Err(Trouble::BadChallenge("too long")) } else { Ok(text) }
}

fn attribute(text: &str, name: char) -> Option<&str> {
    text.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
