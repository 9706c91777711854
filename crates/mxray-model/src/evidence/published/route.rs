//! Where a domain's mail goes, by its MX records and addresses.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// RFC 5321 section 5.1 and RFC 7505. No MX record, a null MX and an implicit one are three things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailRoute {
    /// `0 .`: the domain takes no mail.
    Null,
    /// MX records; addresses of the domain itself count no more.
    Servers {
        hosts: Vec<MailHost>,
    },
    /// No MX record: the domain's own addresses.
    Implicit {
        host: MailHost,
    },
    /// The domain exists, and has neither.
    Nowhere,
    NoSuchDomain,
    Unknown {
        why: String,
    },
}

/// A host that mail for the domain goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MailHost {
    pub preference: u16,
    pub name: String,
    /// Of both families. Absent: it has none.
    pub addresses: Seen<Vec<IpAddr>>,
    /// Where its name leads, where it is an alias (RFC 2181 section 10.3 forbids it, and most senders follow it).
    pub alias: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailRouteProblem {
    /// RFC 7505 section 3: a null MX stands alone.
    NullBesideOthers,
    /// RFC 7505 section 3: its preference is 0.
    NullPreference {
        preference: u16,
    },
    /// An address where a name belongs.
    AddressAsName {
        name: String,
    },
    NotAHostName {
        name: String,
    },
    Alias {
        name: String,
        target: String,
    },
    NoAddress {
        name: String,
    },
    /// An address that nobody outside reaches (RFC 6890).
    SpecialAddress {
        name: String,
        address: IpAddr,
    },
    Duplicate {
        name: String,
    },
}

/// What was found for a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MailRouting {
    pub domain: String,
    pub route: MailRoute,
    pub problems: Vec<MailRouteProblem>,
}

impl MailRoute {
    /// The hosts in the order in which senders try them.
    pub fn hosts(&self) -> &[MailHost] {
        match self {
            MailRoute::Servers { hosts } => hosts,
            MailRoute::Implicit { host } => std::slice::from_ref(host),
            MailRoute::Null | MailRoute::Nowhere | MailRoute::NoSuchDomain | MailRoute::Unknown { .. } => &[],
        }
    }
}
