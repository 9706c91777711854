//! STS104: the policy of MTA-STS is there, and senders cannot use it, or not all of it.

use super::record_invalid::words;
use crate::policies::{self, Of, Policy, WEEK_S};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{StsMode, StsPolicy, StsProblem};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS104",
    name: "sts-policy-invalid",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the policy of MTA-STS breaks the rules of its format: senders cannot use it, or not all of it",
    page: include_str!("policy_invalid.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence) {
        let Some(sts) = of.sts(&RULE, &mut judgement) else { continue };
        match &sts.policy {
            Seen::Value(policy) => {
                // That a policy is short-lived breaks no rule.
                let bad: Vec<&StsProblem> =
                    policy.problems.iter().filter(|one| !matches!(one, StsProblem::ShortAge { .. })).collect();
                if bad.is_empty() {
                    judgement.well(format!("{}: the policy of MTA-STS can be used", of.name));
                } else {
                    judgement.find(finding(evidence, of, policy, &bad));
                }
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, of: Of<'_>, policy: &StsPolicy, bad: &[&StsProblem]) -> Finding {
    let (name, file) = (of.name, policies::sts_file(of.name));
    let only_type = bad.iter().all(|problem| matches!(problem, StsProblem::ContentType { .. }));
    // RFC 8461 section 3.2: the media type is asked for, and senders should not refuse others.
    let (severity, effect) = match (policy.valid, only_type) {
        (false, _) => (RULE.severity, "cannot be used"),
        (true, false) => (Severity::Warning, "is used in part"),
        (true, true) => (Severity::Notice, "is not served as it should be"),
    };
    let what: Vec<String> = bad.iter().map(|problem| words(problem)).collect();
    let mode = policy.mode.unwrap_or(StsMode::Testing);
    let hosts: Vec<&str> =
        of.hosts().value().into_iter().flat_map(|all| all.iter()).map(|host| host.name.as_str()).collect();
    let age = policy.max_age_s.unwrap_or(WEEK_S);
    let mut fix = of.step(format!("Serve this at {file}, as text/plain.")).undo("put the file back as it was");
    fix.who = format!("operator of the web server mta-sts.{name}");
    for line in policies::sts_policy(mode, hosts.into_iter(), age) {
        fix = fix.config(file.clone(), None, line);
    }
    let old = of.domain.sts.value().and_then(|sts| sts.record.value()).and_then(|record| record.id.as_deref());
    let id = policies::quoted(&policies::sts_record(&policies::new_id(evidence, old)));
    of.finding(
        &RULE,
        of.severity(evidence, Policy::Sts, severity),
        of.subject(),
        format!("The MTA-STS policy of {name} {effect}: {}.", what.join("; ")),
    )
    .data("problems", what)
    .data("usable", policy.valid)
    .because(
        format!("the policy as it was fetched: {}", policy.text),
        file,
        of.pointer(&["sts", "value", "policy", "value"]),
    )
    .fix(fix)
    .fix(of.step("Then publish another id, so that senders that have a policy fetch the new one.").record(
        format!("_mta-sts.{name}"),
        "TXT",
        id,
    ))
    .reference("RFC 8461 section 3.2")
}
