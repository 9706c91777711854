//! What a DNS list says of an address or a domain (RFC 5782), and what its answer cannot mean.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// How an answer is to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ListAnswer {
    /// With the meanings that the list publishes for its codes.
    Listed {
        codes: Vec<Ipv4Addr>,
        meanings: Vec<String>,
    },
    NotListed,
    /// The list does not answer us: too many questions, a public resolver, a name that it does not take.
    Refused {
        code: Ipv4Addr,
        why: String,
    },
    /// No answer that a list gives: outside 127.0.0.0/8, or 127.0.0.1. A resolver or a portal made it.
    Rewritten {
        address: Ipv4Addr,
    },
    /// A code that the list does not publish.
    Undocumented {
        codes: Vec<Ipv4Addr>,
    },
    Unknown {
        why: String,
    },
}

/// How a list answers its own test points (RFC 5782 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ListHealth {
    /// It lists what it must list, and not what it must not.
    Working,
    /// It does not list its test point: dead, or it answers nobody.
    ListsNothing,
    /// It lists what no list lists: it is shut, and answers everything.
    ListsEverything,
    Refused {
        why: String,
    },
    /// Whoever answers is not the list.
    Rewritten,
    Unknown {
        why: String,
    },
}
