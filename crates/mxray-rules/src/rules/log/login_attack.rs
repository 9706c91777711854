//! LOG105: somebody tries passwords.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "LOG105",
    name: "login-attack",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "passwords are tried in numbers",
    page: include_str!("login_attack.md"),
    check,
};

/// Every public server is tried some hundred times a day. In one hour so many are more than that noise.
const HOUR_FAILURES: u64 = 500;
/// Worth a word: within the window.
const FAILURES: u64 = 200;
/// A telephone with an old password tries as well: several times an hour, all day.
const ONE_SOURCE: u64 = 100;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let failed = logs.logins.failed;
    let lately = logs.recent.value().map_or(0, |recent| recent.logins_failed);
    let attack = lately >= HOUR_FAILURES;
    let first = logs.logins.sources.first();
    if !attack && failed < FAILURES && first.is_none_or(|source| source.failures < ONE_SOURCE) {
        judgement.well(format!("{failed} logins failed, {} succeeded", logs.logins.granted));
        return Ok(judgement);
    }
    let sources: Vec<String> =
        logs.logins.sources.iter().take(5).map(|source| format!("{} ({})", source.address, source.failures)).collect();
    let when = if attack { format!("{lately} in the last hour") } else { format!("{failed} in this log") };
    let from = if sources.is_empty() { String::new() } else { format!(", most from {}", sources.join(", ")) };
    let subject = match first {
        Some(source) if source.failures.saturating_mul(2) > failed => {
            Subject::new(SubjectKind::Address, &source.address)
        }
        _ => Subject::service("logins"),
    };
    let addresses: Vec<String> = logs.logins.sources.iter().take(20).map(|source| source.address.clone()).collect();
    judgement.find(
        RULE.finding_as(
            if attack { RULE.severity } else { Severity::Notice },
            subject,
            format!("Logins fail in numbers: {when}{from}."),
        )
        .confidence(0.8)
        .data("failed", failed)
        .data("failed_last_hour", lately)
        .data("granted", logs.logins.granted)
        .data("sources", addresses)
        .because(format!("{failed} logins failed, {} succeeded.", logs.logins.granted), logged::SOURCE, logged::log_pointer(&["logins"]))
        .fix(
            Fix::here("Have the addresses that try kept out for some hours (fail2ban, CrowdSec), and see that no login has a weak password.")
                .command("mxray logs --since 1h")
                .verify("mxray logs --since 1h"),
        ),
    );
    Ok(judgement)
}
