//! Access to mailboxes: IMAP, POP3, ManageSieve.
//!
//! Here stands what the three rules of passwords before TLS share; a rule has its own file.

pub mod greeting_bad;
pub mod imap_clear_login;
pub mod pop3_clear_login;
pub mod sieve_clear_login;
pub mod srv_missing;
pub mod srv_wrong;

use crate::logins;
use crate::outside::{Bad, Contact, Verdict, at};
use crate::rule::Rule;
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::Extension;
use mxray_model::{Evidence, Finding};
use std::collections::BTreeMap;

/// What tells the protocols apart when one takes a password in clear.
struct ClearLogin {
    protocol: SessionProtocol,
    /// The ways that its capabilities name before TLS.
    ways: fn(&BTreeMap<String, Extension>) -> Vec<String>,
    /// How that is said of a server: `CAPA without TLS lists`.
    listed: &'static str,
    references: &'static [&'static str],
}

impl ClearLogin {
    /// Whether this has anything to say about the contact.
    fn concerns(&self, evidence: &Evidence, contact: Contact<'_>) -> bool {
        contact.endpoint.protocol == self.protocol && !logins::concerns_nobody(evidence, contact)
    }

    fn judge(&self, evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
        if !self.concerns(evidence, contact) {
            return Verdict::Silent;
        }
        let listed = match contact.mailbox().and_then(|session| logins::announced_in_clear(contact, session)) {
            Ok(listed) => listed,
            Err(blind) => return Verdict::Blind(blind),
        };
        let ways = (self.ways)(listed);
        if ways.is_empty() {
            return Verdict::Well;
        }
        match logins::by_configuration(evidence, contact) {
            None | Some(Ok(true)) => Verdict::Bad(ways),
            Some(Ok(false)) => Verdict::Well,
            Some(Err(blind)) => Verdict::Blind(blind),
        }
    }

    fn finding(&self, evidence: &Evidence, rule: &Rule, bad: &Bad<'_, Vec<String>>) -> Finding {
        let ways = &bad.first.1;
        let summary = format!(
            "{} takes passwords before TLS ({}): who listens on the path can read them.",
            bad.whose(),
            ways.join(", ")
        );
        let finding = bad.finding(rule, rule.severity, summary).data("ways", ways.clone());
        let finding = self.references.iter().fold(finding, |finding, reference| finding.reference(*reference));
        bad.because(finding, &at::MAILBOX, |ways| format!("{} {}", self.listed, ways.join(", ")))
            .fix(logins::only_under_tls(evidence, bad.endpoint))
    }
}

/// `SASL PLAIN`: mechanisms that show the password, in a list of capabilities.
fn mechanisms_in_clear(listed: &BTreeMap<String, Extension>, list: &str, joint: char) -> Vec<String> {
    let mechanisms = listed.get(list).map(logins::in_clear).unwrap_or_default();
    mechanisms.into_iter().map(|mechanism| format!("{list}{joint}{mechanism}")).collect()
}
