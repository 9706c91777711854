//! What is asked: version, suites, keys, groups, name. Checked here, so that no plan makes a hello that says something else.

use super::names::{self, usual_groups};
use super::suites;
use crate::Moment;
use mxray_model::session::{KeyKind, SuiteGroup, TlsOffer, TlsVersion};
use std::fmt;

/// RFC 1035 section 2.3.4: a name has at most 255 octets on the wire, so 253 characters.
const NAME_BYTES_MAX: usize = 253;
/// Most groups of one offer; the registry has fewer that anybody uses.
const GROUPS_MAX: usize = 64;

/// Random bytes of one hello: fresh for each, and no secret. The key share is of X25519, where all bytes are a key; its
/// private half is known to nobody, because no handshake is ever finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entropy {
    pub random: [u8; 32],
    pub session: [u8; 32],
    pub share: [u8; 32],
}

/// An offer that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadOffer {
    /// The version has no such suites.
    NoSuites,
    /// SSLv3 has no extensions: no server name, and no choice of groups.
    NoExtensions,
    /// No host name (RFC 6066 section 3: ASCII, no address, no dot at the end).
    ServerName,
    /// TLS 1.3 needs a group, and nothing has more than a few.
    Groups,
    /// A version without a name.
    Version,
}

impl fmt::Display for BadOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadOffer::NoSuites => "this version has no suite of that kind",
            BadOffer::NoExtensions => "SSLv3 has no extensions, so neither server name nor groups",
            BadOffer::ServerName => "not a host name that TLS can carry",
            BadOffer::Groups => "no group, or too many",
            BadOffer::Version => "no such version",
        })
    }
}

impl std::error::Error for BadOffer {}

/// One question.
#[derive(Debug, Clone)]
pub struct Plan {
    offer: TlsOffer,
    suites: Vec<u16>,
    pub(super) entropy: Entropy,
    /// For all of the answer: a server that trickles does not get more.
    pub patience: Moment,
}

impl Plan {
    /// # Errors
    /// The version cannot say it.
    pub fn new(
        version: TlsVersion,
        group: SuiteGroup,
        keys: KeyKind,
        server_name: Option<&str>,
        entropy: Entropy,
    ) -> Result<Self, BadOffer> {
        Plan::with_groups(version, group, keys, server_name, usual_groups(version), entropy)
    }

    /// The groups in this order. None at all, up to TLS 1.2: no suite with elliptic curves is offered, either.
    ///
    /// # Errors
    /// The version cannot say it.
    pub fn with_groups(
        version: TlsVersion,
        group: SuiteGroup,
        keys: KeyKind,
        server_name: Option<&str>,
        groups: &[u16],
        entropy: Entropy,
    ) -> Result<Self, BadOffer> {
        if matches!(version, TlsVersion::Other(_)) {
            return Err(BadOffer::Version);
        }
        if version == TlsVersion::Ssl3 && (server_name.is_some() || !groups.is_empty()) {
            return Err(BadOffer::NoExtensions);
        }
        if groups.len() > GROUPS_MAX || groups.is_empty() && version == TlsVersion::Tls13 {
            return Err(BadOffer::Groups);
        }
        if server_name.is_some_and(|name| !is_host_name(name)) {
            return Err(BadOffer::ServerName);
        }
        let suites = suites::offered(version, group, keys, !groups.is_empty());
        if suites.is_empty() {
            return Err(BadOffer::NoSuites);
        }
        let offer = TlsOffer {
            version,
            suites: group,
            keys,
            groups: groups.iter().map(|number| names::group(*number)).collect(),
            server_name: server_name.map(str::to_owned),
        };
        Ok(Plan { offer, suites, entropy, patience: Moment::from_secs(10) })
    }

    pub fn offer(&self) -> &TlsOffer {
        &self.offer
    }

    /// By number, in the order of the offer.
    pub fn suites(&self) -> &[u16] {
        &self.suites
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    // No top-level domain is a number, and every address ends with one.
    let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= NAME_BYTES_MAX && name.split('.').all(label) && !number
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTROPY: Entropy = Entropy { random: [1; 32], session: [2; 32], share: [3; 32] };

    #[test]
    fn an_offer_that_cannot_be_made_is_told() {
        use SuiteGroup::{Aead, Any, Cbc};
        use TlsVersion::{Other, Ssl3, Tls11, Tls12, Tls13};
        let plan = |version, group, name| Plan::new(version, group, KeyKind::Any, name, ENTROPY).map(|_| ());
        assert_eq!(plan(Ssl3, Any, Some("mail.example")), Err(BadOffer::NoExtensions));
        assert_eq!(plan(Tls11, Aead, None), Err(BadOffer::NoSuites));
        assert_eq!(plan(Tls13, Cbc, None), Err(BadOffer::NoSuites));
        assert_eq!(plan(Other(5), Any, None), Err(BadOffer::Version));
        assert_eq!(plan(Tls12, Any, Some("mail.example")), Ok(()));
        for bad in ["", ".", "mail.example.", "192.0.2.1", "a b", "2001:db8::1", "größe.example", "a\0b", "a..b"] {
            assert_eq!(plan(Tls12, Any, Some(bad)), Err(BadOffer::ServerName), "{bad:?}");
        }
        let long = format!("{}.example", "a".repeat(64));
        assert_eq!(plan(Tls12, Any, Some(&long)), Err(BadOffer::ServerName));
        let none = Plan::with_groups(Tls13, Any, KeyKind::Any, None, &[], ENTROPY);
        assert_eq!(none.map(|_| ()), Err(BadOffer::Groups));
    }

    #[test]
    fn without_groups_no_curve_is_offered() {
        let plan = Plan::with_groups(TlsVersion::Tls12, SuiteGroup::Any, KeyKind::Any, None, &[], ENTROPY).unwrap();
        let names = plan.suites().iter().filter_map(|number| suites::suite(*number).registered.name);
        assert!(names.clone().count() > 20 && names.clone().all(|name| !name.contains("ECDH")));
    }
}
