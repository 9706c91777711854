//! STS111: senders report that TLS towards us failed.

use super::{domain, percent, reports};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::reports::{TlsFailures, TlsReports};
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "STS111",
    name: "tls-failures-reported",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "senders' TLS reports name sessions towards us that failed",
    page: include_str!("tls_failures_reported.md"),
    check,
};

/// Below both, networks and restarts explain it.
const SESSIONS_MANY: u64 = 10;
const PERCENT_MANY: f64 = 1.0;
const SHOWN: usize = 5;

fn check(evidence: &Evidence) -> Said {
    let reports = reports(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, sum) in &reports.tls {
        if sum.failures == 0 {
            judgement.well(format!("{} TLS sessions towards {name} went well, as senders report", sum.successes));
        } else if sum.over {
            let text = format!("TLS towards {name} failed before {}, and in no sender's newest report", sum.last);
            judgement.well(text);
        } else {
            judgement.find(finding(name, sum));
        }
    }
    Ok(judgement)
}

fn finding(name: &str, sum: &TlsReports) -> Finding {
    let total = sum.successes.saturating_add(sum.failures);
    let share = percent(sum.failures, total);
    let many = sum.failures >= SESSIONS_MANY || share >= PERCENT_MANY;
    let severity = if many { RULE.severity } else { Severity::Notice };
    let kinds: Vec<String> = sum.failed.iter().map(|failed| failed.kind.clone()).collect();
    let first = kinds.first().map_or("no reason given", String::as_str);
    let towards = if name.is_empty() { "a domain that they do not name" } else { name };
    let subject = if name.is_empty() { domain("(not named)") } else { domain(name) };
    let mut finding = RULE
        .finding_as(
            severity,
            subject,
            format!("Senders report {} of {total} TLS sessions towards {towards} as failed: {first}.", sum.failures),
        )
        .confidence(0.9)
        .data("failures", sum.failures)
        .data("sessions", total)
        .data("kinds", kinds)
        .reference("RFC 8460 section 4.3");
    for failed in sum.failed.iter().take(SHOWN) {
        let mx = if failed.mx.is_empty() { "a host that is not named" } else { &failed.mx };
        let text = format!("{} at {mx}: {} sessions, told by {}.", failed.kind, failed.sessions, failed.reporter);
        finding = finding.because(text, "TLS reports", format!("/reports/value/tls/{name}/failed"));
    }
    finding.fix(fix(name, sum.failed.first()))
}

/// Each result type has its own remedy (RFC 8460 sections 4.3.1 and 4.3.2).
fn fix(name: &str, failed: Option<&TlsFailures>) -> Fix {
    let mx = failed.map(|failed| failed.mx.as_str()).filter(|mx| !mx.is_empty()).unwrap_or("the MX host");
    let text = match failed.map_or("", |failed| failed.kind.as_str()) {
        "starttls-not-supported" => {
            format!("Offer STARTTLS on port 25 of {mx}; a device in front of it may take the offer away.")
        }
        "certificate-host-mismatch" => {
            format!("Give {mx} a certificate that has its name, or correct the name in MX and policy.")
        }
        "certificate-expired" => format!("Renew the certificate of {mx}, and have its renewal reload the mail server."),
        "certificate-not-trusted" => {
            format!("Have {mx} present a chain up to a root that senders know, with the intermediate certificates.")
        }
        "tlsa-invalid" | "dnssec-invalid" | "dane-required" => {
            format!(
                "Compare the TLSA records of {mx} with the certificate that it presents, and look whether their zone validates."
            )
        }
        "sts-policy-fetch-error" | "sts-policy-invalid" | "sts-webpki-invalid" => {
            format!(
                "Serve the policy at https://mta-sts.{name}/.well-known/mta-sts.txt, with a valid certificate and without redirects."
            )
        }
        _ => format!("Look at a session of your own with {mx}; the senders' words stand in the reports."),
    };
    let target = if mx == "the MX host" { name } else { mx };
    Fix::here(text).verify(format!("mxray probe {target}:25; the next day's reports"))
}
