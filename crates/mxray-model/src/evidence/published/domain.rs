//! One domain with everything that was found published for its mail.
//!
//! What must not live here: whether any of it is well (rules), and the lookups that it rests on (`outside/dns.rs`).

use super::{
    BimiRecord, DaneVerdict, Discovery, DkimKey, DmarcDiscovery, DmarcTarget, MailRouting, SecurityChain, SpfSurvey,
    StsState, TlsReportRecord, Zone,
};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why a domain is looked at; its mail is judged by that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DomainWhy {
    /// The operator named it.
    Asked,
    /// A mail server of this host takes its mail: the instance.
    Own { server: String },
    /// This host writes mail in its name: the instance, or the signer whose configuration says so.
    Sends { by: String },
    /// A signer of this host writes it into its signatures (`d=`), on mail that is written in the names of others.
    Signs { by: String },
    /// Mail of this host goes there.
    Receiver,
}

impl DomainWhy {
    /// What it publishes is for us to mend: no receiver's, and no other organisation's in whose name we merely sign.
    pub fn is_own(&self) -> bool {
        !matches!(self, DomainWhy::Receiver | DomainWhy::Signs { .. })
    }
}

/// Where a selector was learned: one that nobody named is not known to be missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SelectorFrom {
    /// `--selector`.
    Asked,
    /// A signature of this mail.
    Mail { file: String },
    /// The configuration of a signer of this host.
    Signer { software: String },
    /// A report of a receiver.
    Report,
}

/// One selector and the key under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Selector {
    pub from: BTreeSet<SelectorFrom>,
    /// Absent: no TXT record under `SELECTOR._domainkey.DOMAIN`. Several where more than one is published.
    pub keys: Seen<Vec<DkimKey>>,
}

/// What was found for one domain. A field that nobody filled was not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Domain {
    /// As U-labels, where that is another text.
    pub shown: Option<String>,
    pub why: BTreeSet<DomainWhy>,
    /// Who serves the zone. Absent: the name is no zone and lies in none that could be found.
    pub zone: Seen<Zone>,
    /// DNSSEC from the root down to this name.
    pub security: Seen<SecurityChain>,
    /// DNSSEC for what its mail needs besides: `A mx.example.org`, `TLSA _25._tcp.mx.example.org`, `TXT _dmarc.example.org`.
    pub secured: BTreeMap<String, SecurityChain>,
    pub route: Seen<MailRouting>,
    /// Absent: no record.
    pub spf: Seen<SpfSurvey>,
    /// By selector.
    pub selectors: BTreeMap<String, Selector>,
    pub dmarc: Seen<DmarcDiscovery>,
    /// The addresses that its DMARC record has reports sent to.
    pub report_targets: Seen<Vec<DmarcTarget>>,
    pub sts: Seen<StsState>,
    /// Absent: no record.
    pub tls_reports: Seen<TlsReportRecord>,
    /// Absent: no record.
    pub bimi: Seen<BimiRecord>,
    /// DANE of each host that takes its mail, by `HOST:PORT ADDRESS`.
    pub dane: BTreeMap<String, DaneVerdict>,
    /// SRV records, autoconfig.
    pub discovery: Seen<Discovery>,
}
