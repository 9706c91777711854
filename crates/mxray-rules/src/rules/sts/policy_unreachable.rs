//! STS103: the record for MTA-STS promises a policy, and senders cannot fetch it.

use crate::policies::{self, Of, Policy, WEEK_S};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{StsMode, StsProblem, StsState};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS103",
    name: "sts-policy-unreachable",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the policy of MTA-STS cannot be fetched: no server, no certificate that holds, a redirection, not 200",
    page: include_str!("policy_unreachable.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence) {
        let Some(sts) = of.sts(&RULE, &mut judgement) else { continue };
        // A record that is none leads nobody to a policy.
        let leads = sts.record.value().is_some_and(|record| {
            !record.problems.iter().any(|problem| matches!(problem, StsProblem::SeveralRecords { .. }))
        });
        match &sts.policy {
            Seen::Value(_) => judgement.well(format!("{}: the policy of MTA-STS can be fetched", of.name)),
            Seen::Absent if leads => judgement.find(finding(evidence, of, sts)),
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, of: Of<'_>, sts: &StsState) -> Finding {
    let (name, file) = (of.name, policies::sts_file(of.name));
    let why = sts.fetch.clone().unwrap_or_else(|| "there is none".to_owned());
    let severity = of.severity(evidence, Policy::Sts, RULE.severity);
    of.finding(&RULE, severity, of.subject(), format!("Senders cannot fetch the MTA-STS policy of {name}: {why}."))
        .data("why", why.clone())
        .data("url", file.clone())
        .because(why, file.clone(), of.pointer(&["sts", "value", "fetch"]))
        .because(
            format!("_mta-sts.{name} says that there is a policy"),
            "DNS",
            of.pointer(&["sts", "value", "record"]),
        )
        .fix(serve(of, &file))
        .fix(
            of.step("Or, if the domain is not to have a policy any more: remove the record _mta-sts. Senders that have fetched a policy before go on by it until its max_age is over.")
                .undo("publish the record again"),
        )
        .reference("RFC 8461 section 3.3")
}

fn serve(of: Of<'_>, file: &str) -> Fix {
    let text = format!(
        "Answer {file} by 200 and nothing else: no redirection, over TLS, with a certificate that a public authority has issued for mta-sts.{}. If the file itself is gone, put one there again:",
        of.name
    );
    let hosts: Vec<&str> =
        of.hosts().value().into_iter().flat_map(|hosts| hosts.iter()).map(|host| host.name.as_str()).collect();
    let mut fix = of.step(text).verify(format!("curl -sS --max-redirs 0 -D - {file}"));
    fix.who = format!("operator of the web server mta-sts.{}", of.name);
    if !hosts.is_empty() {
        for line in policies::sts_policy(StsMode::Testing, hosts.into_iter(), WEEK_S) {
            fix = fix.config(file, None, line);
        }
    }
    fix
}
