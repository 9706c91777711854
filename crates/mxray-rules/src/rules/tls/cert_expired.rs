//! TLS103: a certificate has expired, or is not valid yet.

use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::rules::host::clock_wrong;
use crate::transport::{self, Demand};
use mxray_model::evidence::{CertificateProblem, ExaminedEndpoint};
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "TLS103",
    name: "cert-expired",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a certificate has expired, or is not valid yet",
    page: include_str!("cert_expired.md"),
    check,
};

struct Outdated {
    /// In the chain; 0 the server's own.
    at: u32,
    moment: String,
    expired: bool,
    whose: String,
    self_signed: bool,
}

impl Outdated {
    fn text(&self) -> String {
        let whose = if self.at == 0 {
            "the certificate".to_owned()
        } else {
            format!("the authority's certificate ({})", self.whose)
        };
        let what = if self.expired { "expired on" } else { "is not valid before" };
        format!("{whose} {what} {}", self.moment)
    }
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "its certificates are within their dates",
        |contact| judge(evidence, contact),
        |bad| {
            let outdated = &bad.first.1;
            let usual = transport::usual(outdated.self_signed);
            let severity = transport::severity(evidence, bad.endpoint, usual, Demand::Verify);
            let promised = transport::promise(evidence, bad.endpoint, Demand::Verify);
            let by_policy = transport::by_policy(evidence, bad.endpoint, promised);
            let since = since(evidence, outdated);
            let mut finding = bad
                .finding(&RULE, severity, format!("{}: {}{since}.{by_policy}", bad.whose(), outdated.text()))
                .data("expired", outdated.expired)
                .data("moment", outdated.moment.clone())
                .data("place", outdated.at)
                .reference("RFC 5280 section 6.1.3");
            if clock_is_to_blame(evidence, outdated) {
                finding = finding.touches(Subject::host());
            }
            let finding = bad.because(finding, &["tls", "value", "problems"], Outdated::text);
            fixes(evidence, bad.endpoint, outdated).into_iter().fold(finding, Finding::fix)
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Outdated> {
    let (facts, chain) = match transport::chain(evidence, contact) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    let outdated = facts.problems.iter().find_map(|problem| {
        let (at, moment, expired) = match problem {
            CertificateProblem::Expired { at, not_after } => (*at, not_after.clone(), true),
            CertificateProblem::NotYetValid { at, not_before } => (*at, not_before.clone(), false),
            _ => return None,
        };
        let place = usize::try_from(at).ok().and_then(|at| chain.get(at));
        let whose =
            place.and_then(|presented| presented.certificate.value()).map_or_else(String::new, |c| c.subject.clone());
        let self_signed = facts.problems.contains(&CertificateProblem::SelfSigned);
        Some(Outdated { at, moment, expired, whose, self_signed })
    });
    outdated.map_or(Verdict::Well, Verdict::Bad)
}

fn since(evidence: &Evidence, outdated: &Outdated) -> String {
    let Some((now, moment)) = evidence.clock.now_s.value().zip(transport::moment_s(&outdated.moment)) else {
        return String::new();
    };
    let span = transport::span(now.abs_diff(moment));
    if outdated.expired { format!(" ({span} ago)") } else { format!(" (in {span})") }
}

/// By the right time it would be valid.
fn clock_is_to_blame(evidence: &Evidence, outdated: &Outdated) -> bool {
    let Some(wrong) = clock_wrong::wrong_by(evidence) else { return false };
    let (Some(now), Some(moment)) = (evidence.clock.now_s.value(), transport::moment_s(&outdated.moment)) else {
        return false;
    };
    let right = now.saturating_sub(wrong.ahead_s);
    if outdated.expired { right <= moment } else { right >= moment || wrong.at_least && wrong.ahead_s < 0 }
}

fn fixes(evidence: &Evidence, endpoint: &ExaminedEndpoint, outdated: &Outdated) -> Vec<Fix> {
    let look = format!("{} | openssl x509 -noout -dates", transport::s_client(endpoint));
    if !outdated.expired {
        let text = "Look at the clocks, this host's first: a certificate that nobody dates ahead is not valid yet for a clock that is behind.";
        return vec![Fix::here(text).command("timedatectl").verify(look)];
    }
    let files = transport::files(evidence, endpoint, None);
    let younger = files.and_then(|(_, files)| transport::younger_on_disk(evidence, files, &outdated.moment));
    if let Some(not_after) = younger.filter(|_| outdated.at == 0) {
        let text = format!(
            "The file holds a renewed one already (until {not_after}): have the server read it, and let what renews it reload the server each time."
        );
        return vec![transport::certificate_step(evidence, endpoint, &text).verify(look)];
    }
    let text = match outdated.at {
        0 => {
            "Renew the certificate (certbot: `certbot renew`, and a deploy hook that reloads the server), and find out why that has not happened by itself."
        }
        _ => {
            "Put the authority's present certificates behind the server's own: they come with each renewal (`fullchain.pem`)."
        }
    };
    vec![transport::certificate_step(evidence, endpoint, text).verify(look)]
}
