//! What this host's packet filters would do with a packet, and which rule decides.
//!
//! Rulesets as values ([`Ruleset`]), two decoders that make them ([`nft::Decoder`] of nf_tables' netlink messages,
//! [`legacy::parse`] of iptables-save's text), the names by which managers are known ([`manager`]), and [`evaluate`], which
//! walks a packet through netfilter's hooks. What is not known about a packet, and an expression that is not understood,
//! gives `unknown`, but only where the answer depends on it.
//! What must not live here: any I/O, any clock. Bytes and text come from `mxray-host`; whether an answer is a fault is said by
//! `mxray-rules`.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod bits;
mod evaluate;
mod expression;
pub mod legacy;
pub mod manager;
pub mod nft;
mod ruleset;
mod surroundings;
pub mod xt;

pub use evaluate::{SenderDifference, compare_senders, evaluate};
pub use expression::{Base as PayloadBase, Expression};
pub use ruleset::{
    Base, Chain, ChainKind, Element, Family, Framework, Hook, LeftOut, Object, Policy, Rule, Ruleset, Set, Table,
    Verdict,
};
pub use surroundings::{InterfaceFacts, RouteFacts, Surroundings};
