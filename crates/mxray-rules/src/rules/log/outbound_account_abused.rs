//! LOG104: a login sends what its owner does not.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{LogAccount, MailLogs};
use mxray_model::text::shell_quoted;
use mxray_model::{Evidence, Fix, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "LOG104",
    name: "outbound-account-abused",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "one login sends far more than it usually does, from many places or to many addresses that do not exist",
    page: include_str!("outbound_account_abused.md"),
    check,
};

/// In its busiest hour, against the other hours in which it sent anything.
const TIMES_USUAL: u64 = 10;
const HOUR_MESSAGES_MIN: u64 = 50;
/// By volume alone: a newsletter is sent by its account once a month, in thousands. Only a word.
const HOUR_MESSAGES_LARGE: u64 = 1_000;
/// A person has a telephone, a computer and a train; hardly a dozen networks in a day.
const PLACES_MIN: u64 = 10;
/// Of its recipients that are final, those that do not exist or refused it.
const REFUSED_PERCENT: u64 = 15;
const REFUSED_OF_MIN: u64 = 20;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for account in &logs.accounts {
        let signs = signs(account);
        if signs.len() >= 2 || account.busiest_hour_messages >= HOUR_MESSAGES_LARGE && !signs.is_empty() {
            judgement.find(finding(evidence, logs, account, &signs));
        }
    }
    if judgement.findings.is_empty() && !logs.accounts.is_empty() {
        judgement.well(format!("{} logins sent mail, none beyond what is usual for it", logs.accounts.len()));
    }
    Ok(judgement)
}

/// What speaks for a stranger behind a login. Each alone has innocent reasons.
fn signs(account: &LogAccount) -> Vec<String> {
    let mut signs = Vec::new();
    let hour = account.busiest_hour_messages;
    if hour >= HOUR_MESSAGES_MIN
        && hour.saturating_mul(10) >= account.usual_hour_messages_tenths.max(10).saturating_mul(TIMES_USUAL)
    {
        let tenths = account.usual_hour_messages_tenths;
        signs.push(format!(
            "{hour} messages in the hour from {}, where {}.{} an hour are usual",
            account.busiest_hour,
            tenths / 10,
            tenths % 10
        ));
    }
    if account.clients >= PLACES_MIN {
        signs.push(format!("it came from {} different addresses", account.clients));
    }
    let finished = account.recipients.finished();
    // Each of these is counted once: an address that is wrong, or a refusal.
    let refused = account.bounce.numerator + account.block.numerator;
    if finished >= REFUSED_OF_MIN && refused.saturating_mul(100) >= finished.saturating_mul(REFUSED_PERCENT) {
        signs.push(format!("{refused} of its {finished} recipients do not exist or refused it"));
    }
    signs
}

fn finding(evidence: &Evidence, logs: &MailLogs, account: &LogAccount, signs: &[String]) -> mxray_model::Finding {
    const QUIET_S: i64 = 6 * 3_600;
    let quiet = logged::age_s(evidence, logs, &account.last).is_some_and(|age| age > QUIET_S);
    let severity = match (signs.len() >= 2, quiet) {
        (true, false) => RULE.severity,
        (true, true) => Severity::Warning,
        (false, _) => Severity::Notice,
    };
    let name = &account.name;
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::new(SubjectKind::Account, name),
            format!("Somebody seems to send through the login {name} who is not its owner: {}.", signs.join("; ")),
        )
        .confidence(if signs.len() > 2 { 0.95 } else { 0.85 })
        .data("messages", account.messages)
        .data("busiest_hour", account.busiest_hour.clone())
        .data("busiest_hour_messages", account.busiest_hour_messages)
        .data("clients", account.clients)
        .touches(Subject::service("sending"))
        .touches(Subject::service("reputation"))
        .touches(Subject::service("deferrals"));
    for sign in signs {
        finding = finding.because(format!("{name}: {sign}."), logged::SOURCE, logged::log_pointer(&["accounts"]));
    }
    for cause in &logs.causes {
        finding = finding.touches(logged::receiver_scope(&cause.receiver));
    }
    for (instance, _) in logged::queues(evidence) {
        finding = finding.touches(Subject::new(SubjectKind::Queue, instance));
    }
    finding
        .fix(
            Fix::here("Change the password of this login at once, and end its sessions.")
                .verify(format!("mxray logs --since 1h --from {}", shell_quoted(name))),
        )
        .fix(Fix::here("Take out of the queue what it sent, after a look at it.").command("mxray queue"))
        .fix(Fix::here("Find out how the password got out (the owner's devices, the same password elsewhere), and set a limit of messages an hour for each login."))
}
