//! Folds consequences under causes and ranks the causes. Pure arithmetic on findings; the knowledge of what explains
//! what stands in `precedence.rs`.

use crate::precedence::explains;
use mxray_model::{Finding, Fix};
use std::cmp::Ordering;

/// Orders the findings, notes in each which others it explains, and picks out the causes.
///
/// A cause is a finding of `warning` or worse that no other explains, and that no other cause's very fix ends as well. No finding is lost; whenever one is `warning` or
/// worse there is at least one cause; the same findings in any order give the same result.
pub fn fold(mut findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    findings.sort_by(rank);
    findings = one_of_each(findings);
    let explained: Vec<bool> = findings.iter().map(|one| findings.iter().any(|other| explains(other, one))).collect();
    let mut links: Vec<Vec<String>> = findings
        .iter()
        .map(|cause| findings.iter().filter(|other| explains(cause, other)).map(|other| other.id.clone()).collect())
        .collect();
    let mut causes: Vec<usize> = Vec::new();
    for (at, (finding, explained)) in findings.iter().zip(explained).enumerate() {
        if !finding.severity.can_be_cause() || explained {
            continue;
        }
        let same =
            causes.iter().find(|cause| findings.get(**cause).is_some_and(|cause| ended_by_one_fix(cause, finding)));
        match same.and_then(|cause| links.get_mut(*cause)) {
            Some(ids) => ids.push(finding.id.clone()),
            None => causes.push(at),
        }
    }
    for (finding, ids) in findings.iter_mut().zip(links) {
        finding.explains = ids;
    }
    let causes = causes.into_iter().filter_map(|at| findings.get(at).cloned()).collect();
    (findings, causes)
}

/// One trouble that shows in several places: a certificate at each port, a filter rule in both families. The same code, and the
/// very same work ends both; how it is verified may differ. Advice without a line or a command to type is no such work.
fn ended_by_one_fix(first: &Finding, other: &Finding) -> bool {
    let same_step = |one: &Fix, other: &Fix| {
        one.text == other.text
            && one.who == other.who
            && one.commands == other.commands
            && one.records == other.records
            && one.config == other.config
    };
    let does_something = |step: &Fix| !(step.commands.is_empty() && step.records.is_empty() && step.config.is_empty());
    first.code == other.code
        && first.whose_move == other.whose_move
        && first.fix.len() == other.fix.len()
        && first.fix.iter().any(does_something)
        && first.fix.iter().zip(&other.fix).all(|(one, other)| same_step(one, other))
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
        .then_with(|| a.subject.kind.cmp(&b.subject.kind))
        .then_with(|| by_numbers(&a.subject.value, &b.subject.value))
        .then_with(|| a.subject.cmp(&b.subject))
        .then_with(|| a.summary.cmp(&b.summary))
}

/// As a person orders names: port 25 before port 110. Runs of digits are compared as the numbers that they are.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (until(a, true), until(b, true));
        match text_a.cmp(text_b) {
            Ordering::Equal if text_a.len() == a.len() && text_b.len() == b.len() => return Ordering::Equal,
            Ordering::Equal => {}
            unequal => return unequal,
        }
        (a, b) = (a.get(text_a.len()..).unwrap_or_default(), b.get(text_b.len()..).unwrap_or_default());
        let (digits_a, digits_b) = (until(a, false), until(b, false));
        let number = |digits: &str| digits.trim_start_matches('0').to_owned();
        let (number_a, number_b) = (number(digits_a), number(digits_b));
        match number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(&number_b)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        (a, b) = (a.get(digits_a.len()..).unwrap_or_default(), b.get(digits_b.len()..).unwrap_or_default());
    }
}

/// The beginning of a text up to the first digit, or up to the first that is none.
fn until(text: &str, digit: bool) -> &str {
    let end = text.find(|c: char| c.is_ascii_digit() == digit).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
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

    fn at(port: &str, command: &str) -> Finding {
        let subject = Subject::endpoint(format!("mail.example.org:{port}"));
        let finding = Finding::new("TLS103", "any", Severity::Error, subject, format!("expired at {port}"));
        let step = Fix::here("Renew it.").verify(format!("look at {port}"));
        finding.fix(if command.is_empty() { step } else { step.command(command) })
    }

    #[test]
    fn what_one_fix_ends_is_one_cause() {
        let findings = vec![at("993", "reload"), at("25", "reload"), at("143", "restart"), at("110", "reload")];
        let (all, causes) = fold(findings);
        let of: Vec<&str> = causes.iter().map(|cause| cause.summary.as_str()).collect();
        assert_eq!(of, ["expired at 25", "expired at 143"]);
        assert_eq!(causes.first().map(|cause| cause.explains.len()), Some(2));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn the_same_advice_is_not_the_same_trouble() {
        let (_, causes) = fold(vec![at("25", ""), at("110", "")]);
        assert_eq!(causes.len(), 2);
    }

    #[test]
    fn subjects_stand_in_the_order_of_their_numbers() {
        for (less, more) in [("a:25/x", "a:110/x"), ("10.0.0.9", "10.0.0.10"), ("a", "a1"), ("a007b", "a7c"), ("", "1")]
        {
            assert_eq!(by_numbers(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(by_numbers(more, less), Ordering::Greater, "{less} {more}");
        }
        assert_eq!(by_numbers("a1b", "a1b"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_of_subjects_is_one(a in "[a0-2é]{0,6}", b in "[a0-2é]{0,6}", c in "[a0-2é]{0,6}") {
            prop_assert_eq!(by_numbers(&a, &b), by_numbers(&b, &a).reverse());
            if by_numbers(&a, &b) != Ordering::Greater && by_numbers(&b, &c) != Ordering::Greater {
                prop_assert_ne!(by_numbers(&a, &c), Ordering::Greater);
            }
        }

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
