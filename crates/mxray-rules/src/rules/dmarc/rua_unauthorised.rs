//! DMARC107: reports are to go to a domain that has not said it wants them.

use crate::authentication::dmarc::{Applied, records};
use crate::authentication::{listed, publish};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DmarcTarget;
use mxray_model::{Blind, Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC107",
    name: "dmarc-rua-unauthorised",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "reports are to go to another organisation that has not allowed it",
    page: include_str!("rua_unauthorised.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    records(evidence, &RULE, |applied, judgement| {
        let targets = match &applied.of.domain.report_targets {
            Seen::Value(targets) => targets.as_slice(),
            Seen::Absent => &[],
            Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
        };
        let refused: Vec<(usize, &DmarcTarget)> =
            targets.iter().enumerate().filter(|(_, target)| is_refused(target)).collect();
        if !refused.is_empty() {
            return judgement.find(finding(applied, &refused));
        }
        match targets.iter().find(|target| target.authorized.is_none()) {
            Some(target) => judgement.blind(&RULE, &Blind::NotAttempted { why: target.why.clone() }),
            None => judgement.well(format!("whoever is to be sent reports about {} has allowed it", applied.owner)),
        }
    })
}

/// It takes mail, and has not said that it takes this. A domain without mail has nobody who could say it (DMARC106).
fn is_refused(target: &DmarcTarget) -> bool {
    let takes_mail = !matches!(target.receives, Seen::Value(false) | Seen::Absent);
    target.authorized == Some(false) && takes_mail
}

fn finding(applied: &Applied<'_>, refused: &[(usize, &DmarcTarget)]) -> Finding {
    let mut domains: Vec<&str> = refused.iter().map(|(_, target)| target.domain.as_str()).collect();
    domains.dedup();
    let summary = format!(
        "Reports about {} are to go to {}, which has not said that it takes them: they are not sent.",
        applied.owner,
        listed(&domains)
    );
    let mut finding = applied.finding(&RULE, RULE.severity, summary).data("domains", domains);
    for (at, target) in refused {
        let pointer = applied.of.pointer(&["report_targets", "value", &at.to_string()]);
        let source = target.asked.as_ref().map_or_else(|| applied.source(), |asked| format!("TXT {asked}"));
        finding = finding.because(format!("{}: {}", target.uri, target.why), source, pointer);
    }
    for (_, target) in refused {
        if let Some(asked) = &target.asked {
            let mut step = publish(format!("Have {} publish that it takes them:", target.domain), asked, "v=DMARC1");
            step.who = format!("whoever publishes {}", target.domain);
            if !finding.fix.contains(&step) {
                finding = finding.fix(applied.verified(step));
            }
        }
    }
    if finding.fix.is_empty() {
        finding = finding.fix(
            applied.verified(crate::authentication::change("Have reports sent to an address of the domain itself.")),
        );
    }
    finding.reference("RFC 9990 section 4")
}
