//! DKIM107: the key says that the domain is testing.

use crate::authentication::dkim::{self, Key};
use crate::authentication::publish;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DkimKey;
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM107",
    name: "dkim-test-mode",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a key says that the domain is only testing DKIM (t=y)",
    page: include_str!("test_mode.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::published(evidence, &RULE, |key, keys, judgement| {
        match keys.iter().enumerate().find(|(_, one)| one.testing) {
            Some((at, one)) => judgement.find(finding(key, at, one)),
            None => judgement.well(format!("{} is not marked as a test", key.name())),
        }
    })
}

fn finding(key: &Key<'_>, at: usize, one: &DkimKey) -> Finding {
    let name = key.name();
    key.finding(
        &RULE,
        RULE.severity,
        format!("The DKIM key at {name} says that the domain is testing: a failing signature is to count as none."),
    )
    .because("t= has y", format!("TXT {name}"), key.pointer(&["keys", "value", &at.to_string(), "testing"]))
    .data("record", one.record.as_str())
    .fix(key.verified(publish("Take the flag out once signatures verify:", &name, &without_test(&one.record))))
    .reference("RFC 6376 section 3.6.1")
}

/// The record with `y` taken out of t=.
fn without_test(record: &str) -> String {
    let tag = |part: &str| match part.split_once('=') {
        Some((name, value)) if name.trim() == "t" => {
            let left: Vec<&str> =
                value.split(':').map(str::trim).filter(|flag| *flag != "y" && !flag.is_empty()).collect();
            (!left.is_empty()).then(|| format!("t={}", left.join(":")))
        }
        _ => Some(part.trim().to_owned()).filter(|part| !part.is_empty()),
    };
    record.split(';').filter_map(tag).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::without_test;

    #[test]
    fn the_flag_alone_is_taken_out() {
        assert_eq!(without_test("v=DKIM1; t=y; p=AAAA"), "v=DKIM1; p=AAAA");
        assert_eq!(without_test("v=DKIM1; k=rsa; t = s : y ;p=AA=="), "v=DKIM1; k=rsa; t=s; p=AA==");
    }
}
