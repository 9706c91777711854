//! What a domain publishes for mail (MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, TLSA, BIMI), and what evaluating it comes to.
//!
//! `mxray-auth` fills these from lookups. What must not live here: the lookups themselves (`outside/dns.rs`), and whether a
//! result matters (rules). Text of records has gone through [`crate::text::untrusted`].

mod dkim;
mod dmarc;
mod results;
mod route;
mod spf;
mod transport;

pub use dkim::{
    ArcReason, ArcResult, ArcSet, ArcVerdict, DkimKey, DkimKeyProblem, DkimNote, DkimReason, DkimResult, DkimVerdict,
};
pub use dmarc::{
    DmarcAnswer, DmarcDiscovery, DmarcFound, DmarcInputs, DmarcMode, DmarcPolicy, DmarcProblem, DmarcPsd, DmarcRecord,
    DmarcResult, DmarcRow, DmarcStep, DmarcTarget, DmarcUri, DmarcVerdict,
};
pub use results::{StatedResult, StatedResults};
pub use route::{MailHost, MailRoute, MailRouteProblem, MailRouting};
pub use spf::{SpfEffect, SpfFlaw, SpfNode, SpfProblem, SpfResult, SpfStep, SpfSurvey, SpfVerdict};
pub use transport::{
    BimiRecord, DaneResult, DaneVerdict, StsMode, StsPolicy, StsProblem, StsRecord, StsState, TlsReportRecord,
    TlsaMatch, TlsaProblem,
};
