//! STS105: the policy of MTA-STS leaves out a host that the MX records name.

use crate::policies::{self, Of, Policy, WEEK_S};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{StsMode, StsPolicy};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS105",
    name: "sts-mx-uncovered",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the policy of MTA-STS does not list an MX host: senders do not deliver to it",
    page: include_str!("mx_uncovered.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence) {
        let Some(sts) = of.sts(&RULE, &mut judgement) else { continue };
        let active = policies::usable(sts).filter(|(_, mode)| *mode != StsMode::None);
        match (&sts.uncovered, active) {
            (Seen::Value(names), Some((policy, mode))) if !names.is_empty() => {
                judgement.find(finding(evidence, of, (policy, mode), names));
            }
            (Seen::Value(_), Some(_)) => judgement.well(format!("{}: the policy of MTA-STS covers every MX", of.name)),
            (Seen::Unknown(blind), _) => judgement.blind(&RULE, blind),
            (Seen::Value(_) | Seen::Absent, _) => {}
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, of: Of<'_>, (policy, mode): (&StsPolicy, StsMode), names: &[String]) -> Finding {
    let (name, file) = (of.name, policies::sts_file(of.name));
    let enforce = mode == StsMode::Enforce;
    let severity = if enforce { RULE.severity } else { Severity::Warning };
    let hosts = of.hosts().value().map_or(0, |hosts| hosts.len());
    let all = hosts > 0 && names.len() >= hosts;
    let effect = match (enforce, all) {
        (true, true) => "senders that know MTA-STS deliver no mail at all",
        (true, false) => "senders that know MTA-STS do not deliver to it",
        (false, _) => "with `enforce`, senders would not deliver to it",
    };
    // The policy as it is, with what is missing.
    let patterns = policy.patterns.iter().map(String::as_str).chain(names.iter().map(String::as_str));
    let lines = policies::sts_policy(mode, patterns, policy.max_age_s.unwrap_or(WEEK_S));
    let mut fix = of.step(format!("Add what is missing to {file}:")).undo("put the file back as it was");
    fix.who = format!("operator of the web server mta-sts.{name}");
    for line in lines {
        fix = fix.config(file.clone(), None, line);
    }
    let old = of.domain.sts.value().and_then(|sts| sts.record.value()).and_then(|record| record.id.as_deref());
    let id = policies::quoted(&policies::sts_record(&policies::new_id(evidence, old)));
    of.finding(
        &RULE,
        of.severity(evidence, Policy::Sts, severity),
        of.subject(),
        format!("The MTA-STS policy of {name} does not cover the MX {}: {effect}.", names.join(", ")),
    )
    .data("uncovered", names.to_vec())
    .data("patterns", policy.patterns.clone())
    .data("mode", if enforce { "enforce" } else { "testing" })
    .because(
        format!("the policy has mx: {}", policy.patterns.join(", ")),
        file,
        of.pointer(&["sts", "value", "policy", "value", "patterns"]),
    )
    .because(format!("the MX records name {}", names.join(", ")), "DNS", of.pointer(&["sts", "value", "uncovered"]))
    .fix(fix)
    .fix(of.step("Then publish another id: senders keep the policy that they have until they see one.").record(
        format!("_mta-sts.{name}"),
        "TXT",
        id,
    ))
    .reference("RFC 8461 section 4.1")
}
