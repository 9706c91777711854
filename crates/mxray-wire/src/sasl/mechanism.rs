//! The mechanisms by name, what each needs, and the ones that are one message long.

use super::scram::Hash;
use crate::secret::Secret;
use md5::{Digest, Md5};

/// A mechanism that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    ScramSha256Plus,
    ScramSha1Plus,
    ScramSha256,
    ScramSha1,
    External,
    Oauthbearer,
    Xoauth2,
    CramMd5,
    Plain,
    Login,
}

const NAMES: [(Mechanism, &str); 10] = [
    (Mechanism::ScramSha256Plus, "SCRAM-SHA-256-PLUS"),
    (Mechanism::ScramSha1Plus, "SCRAM-SHA-1-PLUS"),
    (Mechanism::ScramSha256, "SCRAM-SHA-256"),
    (Mechanism::ScramSha1, "SCRAM-SHA-1"),
    (Mechanism::External, "EXTERNAL"),
    (Mechanism::Oauthbearer, "OAUTHBEARER"),
    (Mechanism::Xoauth2, "XOAUTH2"),
    (Mechanism::CramMd5, "CRAM-MD5"),
    (Mechanism::Plain, "PLAIN"),
    (Mechanism::Login, "LOGIN"),
];

impl Mechanism {
    /// By its registered name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(mechanism, _)| *mechanism)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// Whoever reads along learns the password or the token.
    pub fn shows_secret(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login | Mechanism::Xoauth2 | Mechanism::Oauthbearer)
    }

    pub(crate) fn hash(self) -> Option<Hash> {
        match self {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => Some(Hash::Sha256),
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => Some(Hash::Sha1),
            _ => None,
        }
    }

    /// Needs channel binding.
    pub(crate) fn binds(self) -> bool {
        matches!(self, Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus)
    }
}

/// Who logs in.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    /// The password, or the OAuth token.
    pub secret: Secret,
    /// To act for somebody else; empty: for the user.
    pub authorize_as: String,
}

impl Login {
    pub fn new(user: &str, secret: Secret) -> Self {
        Login { user: user.to_owned(), secret, authorize_as: String::new() }
    }

    /// RFC 4616
    pub(crate) fn plain(&self) -> Secret {
        let mut message = format!("{}\0{}\0", self.authorize_as, self.user).into_bytes();
        message.extend_from_slice(self.secret.expose());
        Secret::new(message)
    }

    /// RFC 4422, appendix A.1: who the client wants to be. Who it is, its certificate says.
    pub(crate) fn external(&self) -> Secret {
        let wanted = if self.authorize_as.is_empty() { &self.user } else { &self.authorize_as };
        Secret::new(wanted.clone())
    }

    /// RFC 2195: the keyed digest of the challenge in hexadecimal.
    pub(crate) fn cram_md5(&self, challenge: &[u8]) -> Secret {
        let digest: String =
            hmac_md5(self.secret.expose(), challenge).iter().map(|byte| format!("{byte:02x}")).collect();
        Secret::new(format!("{} {digest}", self.user))
    }

    /// Google's and Microsoft's own, older than RFC 7628.
    pub(crate) fn xoauth2(&self) -> Secret {
        let mut message = format!("user={}\x01auth=Bearer ", self.user).into_bytes();
        message.extend_from_slice(self.secret.expose());
        message.extend_from_slice(b"\x01\x01");
        Secret::new(message)
    }

    /// RFC 7628 section 3.1
    pub(crate) fn oauthbearer(&self) -> Secret {
        let user = self.user.replace('=', "=3D").replace(',', "=2C");
        let mut message = format!("n,a={user},\x01auth=Bearer ").into_bytes();
        message.extend_from_slice(self.secret.expose());
        message.extend_from_slice(b"\x01\x01");
        Secret::new(message)
    }
}

/// What binds an exchange to its TLS channel (RFC 5056).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `tls-exporter` (RFC 9266) or `tls-server-end-point` (RFC 5929).
    pub kind: String,
    pub data: Vec<u8>,
}

/// RFC 2104 over MD5, which the one crypto provider rightly lacks.
fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    const BLOCK: usize = 64;
    let mut block = [0u8; BLOCK];
    if key.len() > BLOCK {
        block[..16].copy_from_slice(&Md5::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, text: &[u8]| {
        let mut hash = Md5::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        hash.finalize()
    };
    let mut out = [0; 16];
    out.copy_from_slice(&keyed(0x5c, &keyed(0x36, text)));
    out
}
