//! MBOX102: a POP3 server takes USER and PASS before TLS.

use super::{ClearLogin, mechanisms_in_clear};
use crate::outside;
use crate::rule::{Rule, Said};
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::Extension;
use mxray_model::{Evidence, Severity};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "MBOX102",
    name: "pop3-clear-login",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a POP3 server takes passwords before TLS, where everybody on the path can read them",
    page: include_str!("pop3_clear_login.md"),
    check,
};

const POP3: ClearLogin = ClearLogin {
    protocol: SessionProtocol::Pop3,
    ways,
    listed: "CAPA without TLS lists",
    references: &["RFC 2595 section 4", "RFC 8314 section 3"],
};

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "it takes no password before TLS",
        |contact| POP3.judge(evidence, contact),
        |bad| POP3.finding(evidence, &RULE, bad),
    )
}

fn ways(listed: &BTreeMap<String, Extension>) -> Vec<String> {
    // RFC 2449 section 6.3: the server has USER and PASS.
    let user = listed.contains_key("USER").then(|| "USER".to_owned());
    user.into_iter().chain(mechanisms_in_clear(listed, "SASL", ' ')).collect()
}
