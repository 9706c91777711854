//! HOST103: the clock is wrong, by somebody's word who knows, by a moment that must have passed, or by the dates of others.

use crate::others_dates::{self, Others};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Clock, Stamp, StampKind, TimeDaemon};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "HOST103",
    name: "clock-wrong",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the clock is off by so much that signatures, certificates or DNSSEC suffer",
    page: include_str!("clock_wrong.md"),
    check,
};

/// From here on others notice: Kerberos and many verifiers of signatures allow five minutes (RFC 4120, section 1.6).
const ERROR_S: u64 = 300;
/// Log lines of two hosts no longer fit together, and one-time passwords fail.
const WARNING_S: u64 = 60;
/// A build machine's clock and time zone are its own affair.
const BUILT_SLACK_S: i64 = 86_400;
/// A stamp is written some moments after the clock was set.
const SYNCHRONISED_SLACK_S: i64 = 60;

fn check(evidence: &Evidence) -> Said {
    let clock = &evidence.clock;
    let now = *view::known(&clock.now_s, &RULE)?;
    let mut judgement = Judgement::nothing();
    let told = by_daemon(clock);
    if let Some((name, daemon, ahead_ms)) = told
        && ahead_ms.unsigned_abs() >= WARNING_S * 1000
    {
        judgement.find(says_daemon(name, daemon, ahead_ms));
        return Ok(judgement);
    }
    if let Some((pointer, at, what)) = not_yet(clock, now) {
        judgement.find(before(clock, now, at, &what, pointer));
        return Ok(judgement);
    }
    if told.is_none()
        && let Some(others) = others_dates::contradict(evidence, now)
    {
        judgement.find(against_others(clock, others));
        return Ok(judgement);
    }
    judgement.findings.extend(unkept(evidence));
    if !judgement.findings.is_empty() {
        return Ok(judgement);
    }
    match (told, &clock.kernel) {
        (Some((name, _, ahead_ms)), _) => judgement.well(format!("{name} says that the clock is {ahead_ms} ms ahead")),
        (None, Seen::Value(kernel)) if kernel.synchronised => judgement.well("the kernel's clock is kept by somebody"),
        (None, Seen::Unknown(blind)) if clock.daemons.blind().is_some() => judgement.blind(&RULE, blind),
        (None, _) => match daemon_blind(clock) {
            Some(blind) => judgement.blind(&RULE, blind),
            None => judgement.well("nothing here contradicts the clock"),
        },
    }
    Ok(judgement)
}

/// How far the clock is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Off {
    /// Negative: behind.
    pub ahead_s: i64,
    /// It may be more.
    pub at_least: bool,
}

/// What this rule says of the clock, for rules whose findings a wrong one explains. `None`: nothing is wrong with it.
pub fn wrong_by(evidence: &Evidence) -> Option<Off> {
    let now = *evidence.clock.now_s.value()?;
    if let Some((_, _, ahead_ms)) = by_daemon(&evidence.clock) {
        let wrong = ahead_ms.unsigned_abs() >= WARNING_S * 1000;
        return wrong.then_some(Off { ahead_s: ahead_ms / 1000, at_least: false });
    }
    if let Some((_, at, _)) = not_yet(&evidence.clock, now) {
        return Some(Off { ahead_s: now - at, at_least: true });
    }
    others_dates::contradict(evidence, now).map(|others| Off { ahead_s: others.ahead_s, at_least: others.at_least })
}

/// The word of a daemon that follows a source.
fn by_daemon(clock: &Clock) -> Option<(&str, &TimeDaemon, i64)> {
    let mut all = clock.daemons.value()?.iter();
    all.find_map(|(name, daemon)| {
        let follows = daemon.synchronised.value() == Some(&true);
        Some((name.as_str(), daemon, *daemon.ahead_ms.value().filter(|_| follows)?))
    })
}

/// Why the one that ought to know could not be asked.
fn daemon_blind(clock: &Clock) -> Option<&mxray_model::Blind> {
    clock.daemons.value().into_iter().flat_map(BTreeMap::values).find_map(|daemon| daemon.ahead_ms.blind())
}

fn says_daemon(name: &str, daemon: &TimeDaemon, ahead_ms: i64) -> Finding {
    let seconds = ahead_ms.unsigned_abs() / 1000;
    let severity = if seconds >= ERROR_S { Severity::Error } else { Severity::Warning };
    let direction = if ahead_ms > 0 { "ahead" } else { "behind" };
    RULE.finding_as(
        severity,
        Subject::host(),
        format!(
            "The clock is {} {direction}, by the word of {name}, which corrects it slowly or not at all.",
            span(seconds)
        ),
    )
    .confidence(0.95)
    .because(
        format!("{name} (process {}) follows a source and is {seconds} s {direction} of it.", daemon.pid),
        "chronyc tracking",
        view::pointer(["clock", "daemons", "value", name, "ahead_ms"]),
    )
    .data("ahead_s", ahead_ms / 1000)
    .data("by", name)
    .fix(
        Fix::here("Set the clock at once instead of letting it drift to the right time.")
            .command("chronyc makestep")
            .verify("chronyc tracking"),
    )
    .reference("chronyc(1), makestep")
}

/// A moment that must have passed and has not: where it stands in the evidence, when it is, and whose it is.
fn not_yet(clock: &Clock, now: i64) -> Option<(String, i64, String)> {
    let late = |stamp: &Stamp| {
        let slack = match stamp.kind {
            StampKind::Synchronised => SYNCHRONISED_SLACK_S,
            StampKind::Built => BUILT_SLACK_S,
        };
        stamp.at_s.saturating_sub(slack) > now
    };
    let stamps = clock.past.iter().filter_map(|(path, seen)| Some((path, seen.value()?)));
    let (path, stamp) = stamps.filter(|(_, stamp)| late(stamp)).max_by_key(|(_, stamp)| stamp.at_s)?;
    let what = match stamp.kind {
        StampKind::Synchronised => {
            format!("{path} was renewed then, when a time daemon's clock agreed with its source")
        }
        StampKind::Built => format!("{path} was made then by those who published it"),
    };
    Some((view::pointer(["clock", "past", path.as_str(), "value"]), stamp.at_s, what))
}

fn before(clock: &Clock, now: i64, at: i64, what: &str, pointer: String) -> Finding {
    let seconds = at.abs_diff(now);
    let today = clock.today.value().map_or("", String::as_str);
    RULE.finding_as(
        if seconds >= ERROR_S { Severity::Error } else { Severity::Warning },
        Subject::host(),
        format!(
            "The clock says {today} and is at least {} behind: it is before a moment that has passed.",
            span(seconds)
        ),
    )
    .confidence(0.9)
    .because(format!("{what}; by the clock that is {} ahead.", span(seconds)), "stat", pointer)
    .because(format!("The clock says {today}."), "clock_gettime", view::pointer(["clock", "now_s"]))
    .data("ahead_s", -i64::try_from(seconds).unwrap_or(i64::MAX))
    .data("by", what)
    .fix(
        Fix::here("Set the clock, and let a time daemon keep it. In a container: on the machine that it runs on.")
            .command("timedatectl set-ntp true")
            .verify("timedatectl"),
    )
    .reference("timedatectl(1)")
}

fn against_others(clock: &Clock, others: Others) -> Finding {
    let seconds = others.ahead_s.unsigned_abs();
    let direction = if others.ahead_s > 0 { "ahead" } else { "behind" };
    let least = if others.at_least { "at least " } else { "" };
    let today = clock.today.value().map_or("", String::as_str);
    let finding = RULE
        .finding_as(
            Severity::Error,
            Subject::host(),
            format!("The clock says {today} and is {least}{} {direction}, by the dates of other hosts.", span(seconds)),
        )
        .confidence(0.9)
        .because(format!("The clock says {today}."), "clock_gettime", view::pointer(["clock", "now_s"]))
        .data("ahead_s", others.ahead_s)
        .data("by", others.by)
        .fix(
            Fix::here("Set the clock, and let a time daemon keep it. In a container: on the machine that it runs on.")
                .command("timedatectl set-ntp true")
                .verify("timedatectl"),
        )
        .reference("timedatectl(1)");
    others.reasons.into_iter().fold(finding, |finding, (text, pointer)| finding.because(text, "session", pointer))
}

/// A whole machine whose clock nobody keeps. It may be right, so this is no cause.
fn unkept(evidence: &Evidence) -> Option<Finding> {
    let clock = &evidence.clock;
    let kernel = clock.kernel.value().filter(|kernel| !kernel.synchronised)?;
    let whole_machine = evidence.vantage.container.is_absent() && evidence.vantage.service_manager.value().is_some();
    (whole_machine && clock.daemons.is_absent()).then(|| {
        RULE.finding_as(
            Severity::Notice,
            Subject::host(),
            "Nobody keeps the clock: no time daemon runs, and the kernel counts its clock as unsynchronised. It may still be right.",
        )
        .confidence(0.7)
        .because(
            format!("STA_UNSYNC is set, and the error may be {} ms.", kernel.max_error_us / 1000),
            "adjtimex",
            view::pointer(["clock", "kernel"]),
        )
        .data("by", "adjtimex")
        .fix(Fix::here("Let a time daemon keep it.").command("timedatectl set-ntp true").verify("timedatectl"))
        .reference("adjtimex(2)")
    })
}

/// `90 s`, `12 min`, `5 h`, `40 days`
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
