//! TLS106: nobody who checks would believe the certificate: a chain with a hole, an authority that nobody knows, or none.

use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::transport::{self, Demand, Peers};
use mxray_model::evidence::{CertificateProblem, ExaminedEndpoint, PresentedCertificate};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "TLS106",
    name: "cert-untrusted",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the certificate is not believed: its chain is incomplete, its root unknown, or it signed itself",
    page: include_str!("cert_untrusted.md"),
    check,
};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    SelfSigned,
    Incomplete { issuer: String, url: Option<String> },
    UnknownRoot { root: String },
    Broken,
    NoAuthority,
    Usage,
    Critical { oid: String },
    Unreadable,
}

impl Kind {
    fn as_str(&self) -> &'static str {
        match self {
            Kind::SelfSigned => "self-signed",
            Kind::Incomplete { .. } => "incomplete chain",
            Kind::UnknownRoot { .. } => "unknown root",
            Kind::Broken => "broken signature",
            Kind::NoAuthority => "signed by no authority",
            Kind::Usage => "not for servers",
            Kind::Critical { .. } => "unknown critical extension",
            Kind::Unreadable => "unreadable",
        }
    }

    fn text(&self) -> String {
        match self {
            Kind::SelfSigned => "the certificate is signed by itself".to_owned(),
            Kind::Incomplete { issuer, .. } => {
                format!("the chain is incomplete, the certificate of its issuer ({issuer}) is not sent along")
            }
            Kind::UnknownRoot { root } => format!("the chain ends at an authority that nobody knows ({root})"),
            Kind::Broken => "a signature in the chain is not its issuer's".to_owned(),
            Kind::NoAuthority => "a certificate in the chain signs another without being allowed to".to_owned(),
            Kind::Usage => "the certificate is not made for servers".to_owned(),
            Kind::Critical { oid } => {
                format!(
                    "a certificate has a critical extension that nobody knows ({oid}), and has to be refused for it"
                )
            }
            Kind::Unreadable => "the certificate cannot be read".to_owned(),
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "its certificate is trusted",
        |contact| judge(evidence, contact),
        |bad| {
            let kind = &bad.first.1;
            let usual = transport::usual(*kind == Kind::SelfSigned);
            let severity = transport::severity(evidence, bad.endpoint, usual, Demand::Verify);
            let promised = transport::promise(evidence, bad.endpoint, Demand::Verify);
            let by_policy = transport::by_policy(evidence, bad.endpoint, promised);
            let effect = match transport::peers(bad.endpoint) {
                Peers::Users => "mail programs warn or stop",
                Peers::Servers if transport::demand(evidence, bad.endpoint) == Demand::Verify => {
                    "our server demands a certificate that holds, and hands on no mail"
                }
                _ => "senders that check (MTA-STS) keep their mail",
            };
            let finding = bad
                .finding(&RULE, severity, format!("{}: {}; {effect}.{by_policy}", bad.whose(), kind.text()))
                .data("kind", kind.as_str())
                .reference("RFC 5280 section 6.1")
                .reference("RFC 5246 section 7.4.2");
            let finding = bad.because(finding, &["tls", "value", "problems"], Kind::text);
            fixes(evidence, bad.endpoint, kind).into_iter().fold(finding, Finding::fix)
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Kind> {
    let (facts, chain) = match transport::chain(evidence, contact) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    if facts.trusted.values().any(|verdict| verdict.value() == Some(&true)) {
        let usage = facts.problems.iter().any(|problem| matches!(problem, CertificateProblem::WrongUsage { .. }));
        return if usage { Verdict::Bad(Kind::Usage) } else { Verdict::Well };
    }
    let kind = facts.problems.iter().find_map(|problem| kind(problem, chain));
    let blind = facts.trusted.values().find_map(Seen::blind);
    match (kind, blind) {
        // What signed itself needs no store to be known for it.
        (Some(kind @ (Kind::SelfSigned | Kind::Broken)), _) | (Some(kind), None) => Verdict::Bad(kind),
        (_, Some(blind)) => Verdict::Blind(blind.clone()),
        (None, None) => Verdict::Blind(Blind::NotAttempted {
            why: format!("the certificate of {} was not held against any store", contact.name()),
        }),
    }
}

fn kind(problem: &CertificateProblem, chain: &[PresentedCertificate]) -> Option<Kind> {
    Some(match problem {
        CertificateProblem::SelfSigned => Kind::SelfSigned,
        CertificateProblem::Incomplete { issuer } => {
            let last = chain.iter().find(|presented| {
                presented.certificate.value().is_some_and(|certificate| certificate.issuer == *issuer)
            });
            let url =
                last.and_then(|presented| presented.issuer_urls.iter().find(|url| url.starts_with("http://")).cloned());
            Kind::Incomplete { issuer: issuer.clone(), url }
        }
        CertificateProblem::UnknownRoot { subject } => Kind::UnknownRoot { root: subject.clone() },
        CertificateProblem::BadSignature { .. } => Kind::Broken,
        CertificateProblem::NotACa { at } if *at > 0 => Kind::NoAuthority,
        CertificateProblem::PathTooLong { .. } | CertificateProblem::NameNotAllowed { .. } => Kind::NoAuthority,
        CertificateProblem::UnknownCritical { oid, .. } => Kind::Critical { oid: oid.clone() },
        CertificateProblem::Unreadable { at: 0, .. } => Kind::Unreadable,
        _ => return None,
    })
}

fn fixes(evidence: &Evidence, endpoint: &ExaminedEndpoint, kind: &Kind) -> Vec<Fix> {
    let look = format!("{} 2>&1 | grep -i 'verif'", transport::s_client(endpoint));
    let step = |text: &str| transport::certificate_step(evidence, endpoint, text).verify(look.clone());
    match kind {
        Kind::SelfSigned => vec![step(
            "Have a certificate issued by an authority that clients know (Let's Encrypt issues them by itself), for the name that they use.",
        )],
        Kind::Incomplete { issuer, url } => incomplete(evidence, endpoint, issuer, url.as_deref(), &look),
        Kind::UnknownRoot { root } => vec![step(&format!(
            "Have a certificate issued by an authority that clients know; or, where {root} is your own and all clients are yours, give them its root."
        ))],
        Kind::Broken => vec![step(
            "Put the certificates of one issue together again: the server's own first, then the one that signed it.",
        )],
        Kind::NoAuthority => vec![step(
            "Have it issued by an authority that may sign for this name (basicConstraints CA:TRUE, within pathlen and nameConstraints).",
        )],
        Kind::Usage => vec![step("Have it issued with the extended key usage serverAuth.")],
        Kind::Critical { oid } => vec![step(&format!(
            "Have a new certificate issued without {oid}, or with this extension not marked critical; a certificate with 1.3.6.1.4.1.11129.2.4.3 is the draft that an authority shows to logs, and not the one that it issued."
        ))],
        Kind::Unreadable => vec![step("Have a new certificate issued: this one is not encoded as X.509 says.")],
    }
}

/// Which file, and how it is put together.
fn incomplete(
    evidence: &Evidence,
    endpoint: &ExaminedEndpoint,
    issuer: &str,
    url: Option<&str>,
    look: &str,
) -> Vec<Fix> {
    let fetch = |file: &str| {
        let (file, url) = (shell_word(file), url.map(shell_word)?);
        Some(format!("curl -s {url} | openssl x509 -inform DER -outform PEM >>{file}"))
    };
    let Some((_, files)) = transport::files(evidence, endpoint, None) else {
        let text = format!(
            "Send the certificate of {issuer} along, behind the server's own (certbot: fullchain.pem and not cert.pem)."
        );
        return vec![outside::step(endpoint, text).verify(look)];
    };
    let file = files.chain.value.as_str();
    // certbot and its like keep both beside each other.
    if let Some(directory) = file.strip_suffix("/cert.pem").filter(|directory| directory.contains("/live/")) {
        let text = "Present the file that holds the whole chain.";
        if let Some(fix) = transport::present_step(evidence, endpoint, text, &format!("{directory}/fullchain.pem")) {
            return vec![fix.verify(look)];
        }
    }
    let text = format!(
        "Put the certificate of {issuer} behind the server's own: `cat leaf.pem intermediate.pem`, in this order."
    );
    let mut fix = transport::certificate_step(evidence, endpoint, &text);
    if let Some(command) = fetch(file) {
        fix.commands.insert(0, command);
    }
    vec![fix.undo(format!("take the certificate out of {file} again, and reload")).verify(look)]
}
