//! FW111: the kernel's table of tracked connections is full.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::Fill;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "FW111",
    name: "conntrack-full",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the table of tracked connections is full: new connections are dropped",
    page: include_str!("conntrack_full.md"),
    check,
};

/// The table cannot be caught at its very limit: entries come and go while it is read.
const FULL_PERCENT: u64 = 98;
const NEAR_PERCENT: u64 = 90;

fn check(evidence: &Evidence) -> Said {
    let fill = match &evidence.kernel.conntrack {
        Seen::Value(fill) => *fill,
        Seen::Absent => {
            let mut judgement = Judgement::nothing();
            judgement.well("connections are not tracked here");
            return Ok(judgement);
        }
        Seen::Unknown(blind) => return Err(Judgement::cannot_tell(&RULE, blind)),
    };
    let mut judgement = Judgement::nothing();
    // 0: no limit (nf_conntrack_max in the kernel's nf_conntrack-sysctl.rst).
    let percent = fill.used.saturating_mul(100).checked_div(fill.limit).unwrap_or(0);
    if percent >= NEAR_PERCENT {
        judgement.find(full(fill, percent));
    } else {
        judgement.well(format!("{} of {} tracked connections", fill.used, fill.limit));
    }
    Ok(judgement)
}

fn full(fill: Fill, percent: u64) -> Finding {
    let Fill { used, limit } = fill;
    let (severity, effect) = if percent >= FULL_PERCENT {
        (Severity::Critical, "is full: packets of new connections, in and out, are dropped")
    } else {
        (Severity::Warning, "is nearly full: with it full, packets of new connections are dropped")
    };
    RULE.finding_as(
        severity,
        Subject::host(),
        format!("The table of tracked connections ({used} of {limit}) {effect}."),
    )
    .confidence(0.9)
    .because(
        format!("nf_conntrack_count is {used}, nf_conntrack_max {limit}."),
        "/proc/sys/net/netfilter",
        view::pointer(["kernel", "conntrack"]),
    )
    .data("used", used)
    .data("limit", limit)
    .fix(
        Fix::here("Make it larger, which holds at once; an entry takes about 320 bytes.")
            .command(format!("sysctl -w net.netfilter.nf_conntrack_max={}", limit.saturating_mul(2)))
            .undo(format!("sysctl -w net.netfilter.nf_conntrack_max={limit}"))
            .verify("sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"),
    )
    .fix(Fix::here(
        "Find out who fills it (conntrack -L), and do not track what needs no tracking, such as the questions of a name server.",
    ))
    .reference("Documentation/networking/nf_conntrack-sysctl.rst of the kernel")
}
