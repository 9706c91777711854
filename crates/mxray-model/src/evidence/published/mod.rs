//! What a domain publishes for mail (MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, TLSA, BIMI), and what evaluating it comes to.
//!
//! `mxray-auth` fills these from lookups. What must not live here: the lookups themselves (`outside/dns.rs`), and whether a
//! result matters (rules). Text of records has gone through [`crate::text::untrusted`].

mod discovery;
mod dkim;
mod dmarc;
mod domain;
mod mail;
mod results;
mod route;
mod sender;
mod spf;
mod transport;
mod zone;

pub use discovery::{Discovery, DiscoveryPage, ServiceReached, ServiceRecord, ServiceTls};
pub use dkim::{
    ArcReason, ArcResult, ArcSet, ArcVerdict, DkimKey, DkimKeyProblem, DkimNote, DkimReason, DkimResult, DkimVerdict,
};
pub use dmarc::{
    DmarcAnswer, DmarcDiscovery, DmarcFound, DmarcInputs, DmarcMode, DmarcPolicy, DmarcProblem, DmarcPsd, DmarcRecord,
    DmarcResult, DmarcRow, DmarcStep, DmarcTarget, DmarcUri, DmarcVerdict,
};
pub use domain::{Domain, DomainWhy, Selector, SelectorFrom};
pub use mail::ExaminedMail;
pub use results::{StatedResult, StatedResults};
pub use route::{MailHost, MailRoute, MailRouteProblem, MailRouting};
pub use sender::{HelloName, Listing, SenderAddress, SenderWhy};
pub use spf::{SpfEffect, SpfFlaw, SpfNode, SpfProblem, SpfResult, SpfStep, SpfSurvey, SpfVerdict};
pub use transport::{
    BimiRecord, DaneResult, DaneVerdict, StsMode, StsPolicy, StsProblem, StsRecord, StsState, TlsReportRecord,
    TlsaMatch, TlsaProblem,
};
pub use zone::{
    DelegationSigner, SecurityChain, SecurityLink, SecurityReason, SecurityState, Zone, ZoneKey, ZoneServer,
    ZoneSignature,
};

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What names say that bears on mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Names {
    /// By name, as A-labels.
    pub domains: BTreeMap<String, Domain>,
    /// Addresses that mail leaves from.
    pub senders: BTreeMap<String, SenderAddress>,
    /// Other public addresses of this host: mail could leave from them and does not.
    pub spares: BTreeMap<String, SenderAddress>,
    /// By `SUBJECT ZONE`.
    pub listings: BTreeMap<String, Listing>,
    /// The resolver makes up addresses for names that do not exist.
    pub rewrites: Seen<bool>,
    /// Domains and addresses of this host that nobody asked about, and why.
    pub left_out: BTreeMap<String, String>,
}
