//! MBOX103: a ManageSieve server takes passwords before TLS.

use super::{ClearLogin, mechanisms_in_clear};
use crate::outside;
use crate::rule::{Rule, Said};
use mxray_model::evidence::SessionProtocol;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "MBOX103",
    name: "sieve-clear-login",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a ManageSieve server takes passwords before TLS, where everybody on the path can read them",
    page: include_str!("sieve_clear_login.md"),
    check,
};

const SIEVE: ClearLogin = ClearLogin {
    protocol: SessionProtocol::Sieve,
    // RFC 5804 section 1.7: a server that offers none before TLS lists an empty SASL.
    ways: |listed| mechanisms_in_clear(listed, "SASL", ' '),
    listed: "the capabilities without TLS list",
    references: &["RFC 5804 section 2.1", "RFC 5804 section 5"],
};

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "it takes no password before TLS",
        |contact| SIEVE.judge(evidence, contact),
        |bad| SIEVE.finding(evidence, &RULE, bad),
    )
}
