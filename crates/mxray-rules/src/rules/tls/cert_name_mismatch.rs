//! TLS105: the certificate is for other names than the one that clients use.

use crate::outside::{self, Contact, Verdict};
use crate::policies;
use crate::rule::{Rule, Said};
use crate::transport::{self, Demand, Promise};
use mxray_model::evidence::{CertificateProblem, ExaminedEndpoint};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "TLS105",
    name: "cert-name-mismatch",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the certificate does not carry the name that clients use",
    page: include_str!("cert_name_mismatch.md"),
    check,
};

struct Mismatch {
    wanted: String,
    names: Vec<String>,
    /// The name stands in the subject alone.
    common_only: bool,
    /// Whoever checks names stops at this already.
    self_signed: bool,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "its certificate carries its name",
        |contact| judge(evidence, contact),
        |bad| {
            let mismatch = &bad.first.1;
            // Policies are about the names of MX records; by another one nobody comes from outside.
            let named = policies::led_here(evidence, bad.endpoint)
                .iter()
                .any(|(_, host)| host.name.eq_ignore_ascii_case(&mismatch.wanted));
            let promised = match transport::promise(evidence, bad.endpoint, Demand::Verify) {
                Promise::Broken if !named => Promise::None,
                promised => promised,
            };
            let by_policy = transport::by_policy(evidence, bad.endpoint, promised);
            let usual = transport::usual(mismatch.self_signed);
            let severity = transport::severity_by(evidence, bad.endpoint, usual, Demand::Verify, promised);
            let for_whom = match (mismatch.names.as_slice(), mismatch.common_only) {
                (_, true) => "carries it as common name alone, which clients no longer look at".to_owned(),
                ([], false) => "carries no name at all".to_owned(),
                ([one], _) => format!("is for {one}"),
                ([first, rest @ ..], _) => format!("is for {first} and {} more", rest.len()),
            };
            let finding = bad
                .finding(
                    &RULE,
                    severity,
                    format!(
                        "{}: the certificate is not for {} but {for_whom}.{by_policy}",
                        bad.whose(),
                        mismatch.wanted
                    ),
                )
                .data("wanted", mismatch.wanted.clone())
                .data("names", mismatch.names.clone())
                .data("common_name_only", mismatch.common_only)
                .reference("RFC 9525 section 6.3");
            let finding = bad.because(finding, &["tls", "value", "problems"], |one| match one.names.as_slice() {
                [] => "the certificate has no subjectAltName".to_owned(),
                names => format!("the certificate's names are {}", names.join(", ")),
            });
            fixes(evidence, bad.endpoint, mismatch).into_iter().fold(finding, Finding::fix)
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Mismatch> {
    let (facts, chain) = match transport::chain(evidence, contact) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    if facts.reference_name.is_none() {
        return Verdict::Silent;
    }
    let found = facts.problems.iter().find_map(|problem| match problem {
        CertificateProblem::NameMismatch { wanted, names } => Some((wanted, names)),
        _ => None,
    });
    let Some((wanted, names)) = found else { return Verdict::Well };
    let subject = chain.first().and_then(|leaf| leaf.certificate.value()).map_or("", |leaf| leaf.subject.as_str());
    let common =
        subject.split(", ").any(|part| part.strip_prefix("CN=").is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
    Verdict::Bad(Mismatch {
        wanted: wanted.clone(),
        names: names.clone(),
        common_only: common && names.is_empty(),
        self_signed: facts.problems.contains(&CertificateProblem::SelfSigned),
    })
}

fn fixes(evidence: &Evidence, endpoint: &ExaminedEndpoint, mismatch: &Mismatch) -> Vec<Fix> {
    let look = format!("{} | openssl x509 -noout -ext subjectAltName", transport::s_client(endpoint));
    let text = format!("Have a certificate issued that carries {} as well.", mismatch.wanted);
    let mut out = vec![transport::certificate_step(evidence, endpoint, &text).verify(look)];
    if let Some(name) = mismatch.names.iter().find(|name| !name.starts_with('*') && name.contains('.')) {
        let command = format!("mxray probe {}", shell_word(&format!("{name}:{}", endpoint.port)));
        out.push(Fix::here(format!("Or have clients connect by a name that it carries: {name}.")).verify(command));
    }
    out
}
