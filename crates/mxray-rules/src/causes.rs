//! Folds consequences under causes and ranks the causes. Pure arithmetic on findings; the knowledge of what explains
//! what stands in `precedence.rs`.

use crate::precedence::explains;
use mxray_model::Finding;
use std::cmp::Ordering;

/// Orders the findings, notes in each which others it explains, and picks out the causes.
///
/// A cause is a finding of `warning` or worse that no other explains. No finding is lost; whenever one is `warning` or
/// worse there is at least one cause; the same findings in any order give the same result.
pub fn fold(mut findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    findings.sort_by(rank);
    findings = one_of_each(findings);
    let explained: Vec<bool> = findings.iter().map(|one| findings.iter().any(|other| explains(other, one))).collect();
    let links: Vec<Vec<String>> = findings
        .iter()
        .map(|cause| findings.iter().filter(|other| explains(cause, other)).map(|other| other.id.clone()).collect())
        .collect();
    for (finding, ids) in findings.iter_mut().zip(links) {
        finding.explains = ids;
    }
    let causes = findings
        .iter()
        .zip(explained)
        .filter(|(finding, explained)| finding.severity.can_be_cause() && !explained)
        .map(|(finding, _)| finding.clone())
        .collect();
    (findings, causes)
}

/// Of several findings with one identity the first stays, and touches what any of them touches: two instances may miss
/// one port.
fn one_of_each(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        match kept.iter_mut().find(|first| first.id == finding.id) {
            Some(first) => first.scope.extend(finding.scope),
            None => kept.push(finding),
        }
    }
    kept
}

/// Severity, then confidence, then code, then subject.
fn rank(a: &Finding, b: &Finding) -> Ordering {
    b.severity
        .cmp(&a.severity)
        .then_with(|| b.confidence.total_cmp(&a.confidence))
        .then_with(|| a.code.cmp(&b.code))
        .then_with(|| a.subject.cmp(&b.subject))
        .then_with(|| a.summary.cmp(&b.summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precedence::NEAREST_FIRST;
    use mxray_model::{Severity, Subject};
    use proptest::prelude::*;

    fn any_finding() -> impl Strategy<Value = Finding> {
        let severities =
            [Severity::Info, Severity::Notice, Severity::Warning, Severity::Error, Severity::Critical].to_vec();
        (
            proptest::sample::select(NEAREST_FIRST.to_vec()),
            proptest::sample::select(severities),
            0u8..4,
            proptest::collection::vec(0u8..4, 0..3),
            0u8..=10,
        )
            .prop_map(|(code, severity, subject, touched, confidence)| {
                let mut finding = Finding::new(code, "any", severity, Subject::service(format!("s{subject}")), "any")
                    .confidence(f32::from(confidence) / 10.0);
                for other in touched {
                    finding = finding.touches(Subject::service(format!("s{other}")));
                }
                finding
            })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_does_not_matter(findings in proptest::collection::vec(any_finding(), 0..30)) {
            let (all, causes) = fold(findings.clone());
            for finding in &findings {
                prop_assert!(all.iter().any(|kept| kept.id == finding.id));
            }
            let mut reversed = findings;
            reversed.reverse();
            // Two findings with one identity are one; which of them stays is decided by rank, so drop that case.
            let ids: std::collections::BTreeSet<_> = reversed.iter().map(|f| f.id.clone()).collect();
            if ids.len() == reversed.len() {
                prop_assert_eq!(fold(reversed), (all, causes));
            }
        }

        #[test]
        fn a_warning_always_has_a_cause(findings in proptest::collection::vec(any_finding(), 0..30)) {
            let (all, causes) = fold(findings);
            prop_assert_eq!(all.iter().any(|f| f.severity.can_be_cause()), !causes.is_empty());
            for cause in &causes {
                prop_assert!(cause.severity.can_be_cause());
            }
        }

        #[test]
        fn every_fault_leads_back_to_a_cause(findings in proptest::collection::vec(any_finding(), 0..30)) {
            let (all, causes) = fold(findings);
            let mut reached: std::collections::BTreeSet<String> = causes.iter().map(|c| c.id.clone()).collect();
            loop {
                let next: Vec<String> = all
                    .iter()
                    .filter(|f| reached.contains(&f.id))
                    .flat_map(|f| f.explains.clone())
                    .filter(|id| !reached.contains(id))
                    .collect();
                if next.is_empty() {
                    break;
                }
                reached.extend(next);
            }
            for finding in all.iter().filter(|f| f.severity.can_be_cause()) {
                prop_assert!(reached.contains(&finding.id), "{} hangs in a circle", finding.code);
            }
        }
    }
}
