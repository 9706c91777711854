//! LOG111: too many recipients complain.

use super::{domain, percent, reports};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::reports::Complaints;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};
use serde_json::Value;
use std::sync::LazyLock;

pub const RULE: Rule = Rule {
    code: "LOG111",
    name: "complaint-rate-high",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "recipients complain about more of our mail than receivers put up with",
    page: include_str!("complaint_rate_high.md"),
    check,
};

/// Receivers' thresholds, as dated data.
struct Rates {
    warning_percent: f64,
    error_percent: f64,
    complaints_min: u64,
    messages_min: u64,
    checked: String,
}

static RATES: LazyLock<Rates> = LazyLock::new(|| {
    // A test reads the file; one that is damaged would name no rate too high.
    let data: Value = serde_json::from_str(include_str!("complaint_rates.json")).unwrap_or_default();
    let figure = |key: &str| data.get(key).and_then(Value::as_f64).unwrap_or(f64::INFINITY);
    let count = |key: &str| data.get(key).and_then(Value::as_u64).unwrap_or(u64::MAX);
    Rates {
        warning_percent: figure("warning_percent"),
        error_percent: figure("error_percent"),
        complaints_min: count("complaints_min"),
        messages_min: count("messages_min"),
        checked: data.get("checked").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
});

fn check(evidence: &Evidence) -> Said {
    let reports = reports(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, sum) in &reports.complaints {
        if sum.complaints < RATES.complaints_min {
            continue;
        }
        match &sum.messages {
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
            Seen::Absent => {}
            // A rate of so few says nothing.
            Seen::Value(messages) if *messages < RATES.messages_min => {}
            Seen::Value(messages) => match finding(name, sum, *messages) {
                Some(finding) => judgement.find(finding),
                None => {
                    judgement
                        .well(format!("{} complaints about {messages} messages of {name} are few", sum.complaints));
                }
            },
        }
    }
    Ok(judgement)
}

fn finding(name: &str, sum: &Complaints, messages: u64) -> Option<Finding> {
    let rate = percent(sum.complaints, messages);
    let severity = match rate {
        rate if rate >= RATES.error_percent => Severity::Error,
        rate if rate >= RATES.warning_percent => Severity::Warning,
        _ => return None,
    };
    let reporters: Vec<String> = sum.reporters.iter().map(|(reporter, count)| format!("{reporter} {count}")).collect();
    let summary = format!("{} of {messages} messages of {name} drew a complaint ({rate} %).", sum.complaints);
    let finding = RULE
        .finding_as(severity, domain(name), summary)
        .confidence(0.8)
        .because(
            format!("Complaints by who reported them: {}.", reporters.join(", ")),
            "feedback reports",
            format!("/reports/value/complaints/{name}"),
        )
        .data("complaints", sum.complaints)
        .data("messages", messages)
        .data("percent", rate)
        .data("thresholds_of", RATES.checked.clone())
        .reference("RFC 5965");
    Some(finding.fix(
        Fix::here(
            "Stop sending to those who complain, and look which mailing draws the complaints: its list, how one subscribes to it, and whether leaving it takes one click (RFC 8058).",
        )
        .verify("the complaints of the next days: mxray reports PATH"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_whole() {
        assert!(RATES.warning_percent < RATES.error_percent && RATES.error_percent < 1.0);
        assert!(RATES.messages_min < 10_000 && RATES.complaints_min < 10 && RATES.checked.starts_with("20"));
    }
}
