//! STS106: the policy of MTA-STS asks for a certificate that holds, and an MX host does not present one.

use crate::outside::{self, Contact};
use crate::policies::{self, Of, Policy};
use crate::rule::{Judgement, Rule, Said};
use crate::transport::{self, Offer};
use mxray_model::evidence::published::{MailHost, StsMode};
use mxray_model::evidence::{CertificateProblem, PresentedCertificate, TlsEnding, TlsFacts};
use mxray_model::{Blind, Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS106",
    name: "sts-mx-cert-fails",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "an MX host does not keep what the MTA-STS policy promises: STARTTLS with a certificate that holds for its name",
    page: include_str!("mx_cert_fails.md"),
    check,
};

/// One address of an MX host, and what a sender that checks would say.
struct Failure<'a> {
    contact: Contact<'a>,
    host: &'a str,
    why: String,
    at: &'static [&'static str],
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence) {
        let Some(sts) = of.sts(&RULE, &mut judgement) else { continue };
        let mode = match (policies::usable(sts), &sts.policy) {
            (Some((_, StsMode::None)), _) => continue,
            (Some((_, mode)), _) => mode,
            (None, Seen::Unknown(blind)) => {
                judgement.blind(&RULE, blind);
                continue;
            }
            (None, _) => continue,
        };
        let hosts = match of.hosts() {
            Seen::Value(hosts) => hosts,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, &blind);
                continue;
            }
        };
        let uncovered = sts.uncovered.value();
        // To hosts that the policy leaves out nobody delivers in any case (STS105).
        let covered = hosts.iter().filter(|host| uncovered.is_none_or(|names| !names.contains(&host.name)));
        let (mut failures, mut good) = (Vec::new(), 0u32);
        for host in covered {
            judge(evidence, host, &mut failures, &mut good, &mut judgement);
        }
        if !failures.is_empty() {
            judgement.find(finding(evidence, of, mode, &failures));
        } else if good > 0 {
            judgement.well(format!("{}: the servers that were seen keep what MTA-STS promises", of.name));
        }
    }
    Ok(judgement)
}

fn judge<'a>(
    evidence: &'a Evidence,
    host: &'a MailHost,
    failures: &mut Vec<Failure<'a>>,
    good: &mut u32,
    judgement: &mut Judgement,
) {
    let endpoints = policies::endpoints_of(evidence, host);
    if endpoints.is_empty() {
        let why = format!("nobody connected to {}:25", host.name);
        judgement.blind(&RULE, &Blind::NotAttempted { why });
    }
    for (key, endpoint) in endpoints {
        for contact in outside::contacts(key, endpoint) {
            match trouble(contact, &host.name) {
                Seen::Value((why, at)) => failures.push(Failure { contact, host: &host.name, why, at }),
                Seen::Absent => *good += 1,
                Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
            }
        }
    }
}

/// What a sender would say of one address (RFC 8461 section 4.2). Absent: nothing.
fn trouble(contact: Contact<'_>, host: &str) -> Seen<(String, &'static [&'static str])> {
    match transport::offer(contact) {
        Ok(Offer::NotAnnounced) => return Seen::Value(("it offers no STARTTLS".to_owned(), &["session"])),
        Ok(Offer::Refused { puts_off: true, said, .. } | Offer::Refused { code: 421, said, .. }) => {
            return Seen::Unknown(Blind::NotAttempted {
                why: format!("{} did not go on with us: {said}", contact.name()),
            });
        }
        Ok(Offer::Refused { said, .. }) => {
            return Seen::Value((format!("it answers STARTTLS with {said}"), &["session"]));
        }
        Ok(Offer::Unanswered { what }) => return Seen::Value((format!("to STARTTLS {what}"), &["session"])),
        Ok(Offer::Begun) => {}
        Err(blind) => return Seen::Unknown(blind),
    }
    match &contact.seen.tls {
        Seen::Value(facts) => of_handshake(contact, facts, host),
        Seen::Absent => Seen::not_attempted("no handshake was made"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

fn of_handshake(contact: Contact<'_>, facts: &TlsFacts, host: &str) -> Seen<(String, &'static [&'static str])> {
    let chain = match &facts.chain {
        Seen::Value(chain) => chain,
        Seen::Absent => return Seen::Value(("it presents no certificate".to_owned(), &["tls"])),
        // A handshake that fails has many reasons, of which TLS102 tells.
        Seen::Unknown(blind) => {
            let why = format!("{} showed no certificate: {}", contact.name(), blind.why());
            return Seen::Unknown(Blind::NotAttempted { why });
        }
    };
    if !matches!(facts.ending, TlsEnding::Established) {
        return Seen::not_attempted("the handshake did not come to its end");
    }
    let same = |name: &Option<String>| name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host));
    let by_name = |problem: &&CertificateProblem| matches!(problem, CertificateProblem::NameMismatch { .. });
    let others = facts.problems.iter().filter(|problem| !by_name(problem) && problem.is_refused());
    let mut bad: Vec<String> = others.map(CertificateProblem::words).collect();
    let compared = same(&facts.reference_name);
    if compared {
        bad.extend(facts.problems.iter().filter(by_name).map(CertificateProblem::words));
    } else if !carries(chain, host) {
        if !same(&facts.server_name) {
            // Asked by the right name the server may show another one.
            let why = format!("{} was asked by another name than {host}", contact.name());
            return Seen::Unknown(Blind::NotAttempted { why });
        }
        bad.push(format!("the certificate is not for {host}"));
    }
    if !bad.is_empty() {
        return Seen::Value((bad.join("; "), &["tls", "value", "problems"]));
    }
    if facts.trusted.values().any(|trusted| *trusted == Seen::Value(true)) {
        return Seen::Absent;
    }
    facts.trusted.values().find_map(Seen::blind).map_or(Seen::Absent, |blind| Seen::Unknown(blind.clone()))
}

/// RFC 9525 section 6.3: `*` stands for one whole label on the left.
fn carries(chain: &[PresentedCertificate], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let parent = host.split_once('.').map_or("", |(_, parent)| parent);
    let leaf = chain.first().and_then(|leaf| leaf.certificate.value());
    leaf.is_some_and(|leaf| {
        leaf.names.iter().map(|name| name.to_ascii_lowercase()).any(|name| match name.strip_prefix("*.") {
            Some(rest) => !parent.is_empty() && rest == parent,
            None => name == host,
        })
    })
}

fn finding(evidence: &Evidence, of: Of<'_>, mode: StsMode, failures: &[Failure<'_>]) -> Finding {
    let name = of.name;
    let enforce = mode == StsMode::Enforce;
    let severity = if enforce { RULE.severity } else { Severity::Warning };
    let mut hosts: Vec<&str> = failures.iter().map(|failure| failure.host).collect();
    hosts.dedup();
    let effect = if enforce { "deliver nothing there" } else { "would deliver nothing there with `enforce`" };
    let first = failures.first().map(|failure| failure.why.clone()).unwrap_or_default();
    let mut finding = of
        .finding(
            &RULE,
            of.severity(evidence, Policy::Sts, severity),
            of.subject(),
            format!(
                "{} does not keep what the MTA-STS policy of {name} promises ({first}): senders that know MTA-STS {effect}.",
                hosts.join(", ")
            ),
        )
        .data("hosts", hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
        .data("mode", if enforce { "enforce" } else { "testing" });
    for failure in failures {
        finding = failure.contact.because(finding, &failure.why, failure.at);
        finding = outside::touching(finding.touches(outside::subject(failure.contact.key)), failure.contact.endpoint);
    }
    if let Some(failure) = failures.first() {
        let host = failure.host;
        let text = format!(
            "Present a certificate of a public authority for {host}, with its chain behind it, and offer STARTTLS to everybody."
        );
        finding = finding
            .fix(outside::step(failure.contact.endpoint, text).verify(transport::s_client(failure.contact.endpoint)));
    }
    if enforce && let Some(sts) = of.domain.sts.value().and_then(policies::usable) {
        finding = finding.fix(testing(evidence, of, sts.0));
    }
    finding.reference("RFC 8461 section 4.2")
}

/// Until then: mail comes through again for all who fetch the policy anew.
fn testing(evidence: &Evidence, of: Of<'_>, policy: &mxray_model::evidence::published::StsPolicy) -> mxray_model::Fix {
    let file = policies::sts_file(of.name);
    let old = of.domain.sts.value().and_then(|sts| sts.record.value()).and_then(|record| record.id.as_deref());
    let id = policies::quoted(&policies::sts_record(&policies::new_id(evidence, old)));
    let names = policy.patterns.iter().map(String::as_str);
    let lines = policies::sts_policy(StsMode::Testing, names, policy.max_age_s.unwrap_or(policies::WEEK_S));
    let text = "If that takes long: set the policy to testing, and publish another id, so that senders fetch it.";
    lines
        .into_iter()
        .fold(of.step(text), |fix, line| fix.config(file.clone(), None, line))
        .record(format!("_mta-sts.{}", of.name), "TXT", id)
        .undo("set it back to enforce with another id")
}
