//! SASL mechanisms (RFC 4422) from the client's side, as exchanges that say why they stopped.
//!
//! No I/O and no randomness: the nonce comes from the caller. A protocol's machine carries the messages: it encodes them,
//! and hides every one of them from the transcript. What a server proves (SCRAM's signature) and what it says of a failure
//! (SCRAM's `e=`, OAuth's JSON) is kept.

mod mechanism;
mod scram;

pub use mechanism::{Binding, Login, Mechanism};

use crate::base64;
use crate::secret::Secret;
use mxray_model::text::untrusted;
use scram::Scram;

/// Why an exchange cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The user name or password has a character that the mechanism cannot carry (RFC 4013).
    Unusable,
    /// More challenges than the mechanism has.
    TooMany,
    /// The challenge is not what the mechanism says; which part of it.
    BadChallenge(&'static str),
    /// SCRAM: the server does not know the password, or is not the one that it says it is.
    WrongServerSignature,
    /// SCRAM asks for more iterations than anybody should compute for a stranger.
    TooExpensive(u32),
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    login: Login,
    step: u32,
    scram: Option<Scram>,
    said: Option<String>,
}

impl Exchange {
    /// `nonce` is printable ASCII without a comma, at least 18 characters from a good source of randomness.
    ///
    /// # Errors
    /// The login cannot be used with this mechanism.
    pub fn new(mechanism: Mechanism, login: &Login, nonce: &str, binding: Option<&Binding>) -> Result<Self, Trouble> {
        let scram = match mechanism.hash() {
            Some(hash) => Some(Scram::new(hash, mechanism.binds(), login, nonce, binding)?),
            None => None,
        };
        if scram.is_none() && login.user.contains('\0') {
            return Err(Trouble::Unusable);
        }
        Ok(Exchange { mechanism, login: login.clone(), step: 0, scram, said: None })
    }

    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The message that can go with the command itself. `None`: the server speaks first (LOGIN, CRAM-MD5).
    pub fn initial(&mut self) -> Option<Secret> {
        let first = match self.mechanism {
            Mechanism::Login | Mechanism::CramMd5 => return None,
            Mechanism::Plain => self.login.plain(),
            Mechanism::External => self.login.external(),
            Mechanism::Xoauth2 => self.login.xoauth2(),
            Mechanism::Oauthbearer => self.login.oauthbearer(),
            _ => self.scram.as_ref().map(Scram::first).unwrap_or_default(),
        };
        self.step += 1;
        Some(first)
    }

    /// The answer to a challenge. Without `initial`, the first, empty challenge asks for that message.
    ///
    /// # Errors
    /// The exchange is to be cancelled.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Secret, Trouble> {
        self.step += 1;
        match (self.mechanism, self.step) {
            (Mechanism::Login, 1) => Ok(Secret::new(self.login.user.as_bytes())),
            (Mechanism::Login, 2) => Ok(self.login.secret.clone()),
            (Mechanism::CramMd5, 1) => Ok(self.login.cram_md5(challenge)),
            (Mechanism::Xoauth2 | Mechanism::Oauthbearer, 2) => {
                self.said = Some(untrusted(challenge));
                // RFC 7628 section 3.2.3: the client acknowledges the error, and the server then fails the command.
                Ok(Secret::new(if self.mechanism == Mechanism::Oauthbearer { &b"\x01"[..] } else { b"" }))
            }
            (_, 1) => {
                self.step = 0;
                self.initial().ok_or(Trouble::TooMany)
            }
            (_, step) => match &mut self.scram {
                Some(scram) if step == 2 => scram.answer(challenge),
                Some(scram) if step == 3 => scram.verify(challenge).map(|()| Secret::default()),
                _ => Err(Trouble::TooMany),
            },
        }
    }

    /// Data that came with success, where the protocol has that (IMAP, ManageSieve): SCRAM's last message.
    ///
    /// # Errors
    /// The server's signature is wrong.
    pub fn finish(&mut self, data: &[u8]) -> Result<(), Trouble> {
        match &mut self.scram {
            Some(scram) if !data.is_empty() => scram.verify(data),
            _ => Ok(()),
        }
    }

    /// SCRAM: has the server proven that it knows the password? `None` for every other mechanism.
    pub fn server_proved_itself(&self) -> Option<bool> {
        self.scram.as_ref().map(Scram::is_verified)
    }

    /// What the server said of a failure, in the mechanism's own way; escaped.
    pub fn server_said(&self) -> Option<&str> {
        self.said.as_deref().or_else(|| self.scram.as_ref().and_then(Scram::said))
    }

    /// A message that tells the secret, or something that a secret can be guessed from. A user name does not.
    pub fn is_telling(&self, message: &Secret) -> bool {
        !matches!(self.mechanism, Mechanism::Login) || message == &self.login.secret
    }

    /// The secret in the forms in which a server may repeat it.
    pub fn forms(&self) -> Vec<Secret> {
        let secret = self.login.secret.expose();
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let url: String = secret.iter().map(|byte| url_encoded(*byte)).collect();
        let mut forms = vec![Secret::new(secret), Secret::new(hex.to_ascii_uppercase()), Secret::new(hex)];
        forms.push(Secret::new(base64::encode(secret)));
        forms.push(Secret::new(base64::encode(self.login.plain().expose())));
        forms.push(Secret::new(url));
        forms
    }
}

fn url_encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests;
