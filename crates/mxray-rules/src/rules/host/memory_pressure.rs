//! HOST109: memory is short, for mail's own control groups, for TCP, or for the whole machine.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Memory, MemoryGroup, TcpMemory};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "HOST109",
    name: "memory-pressure",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "mail processes are killed for want of memory, or all of the machine's is in use",
    page: include_str!("memory_pressure.md"),
    check,
};

/// Of a group's limit: the next message of some size is enough.
const NEAR_PERCENT: u64 = 95;
/// With kills behind it and so much in use, the next one is only a matter of load.
const HIGH_PERCENT: u64 = 80;
/// Of the machine's memory: the kernel starts to kill at about this much.
const AVAILABLE_PERCENT_MIN: u64 = 3;
/// Of swap: nothing is left to give way to.
const SWAP_PERCENT_MIN: u64 = 5;
/// Share of time in which everything waited for memory, in hundredths of a percent: a server that is in use answers late.
const STALLED_MIN: u32 = 1000;

/// What rises when TCP's memory is short (include/uapi/linux/snmp.h): the mark was passed, or received data was dropped for it.
/// The last ones also rise for one socket whose own buffer is full, so they mean this only above the mark.
const TCP_DROPPED: [&str; 3] = ["TcpExt.TCPMemoryPressures", "TcpExt.PruneCalled", "TcpExt.RcvPruned"];

fn check(evidence: &Evidence) -> Said {
    let memory = &evidence.memory;
    let total = *view::known(&memory.total_bytes, &RULE)?;
    let mut judgement = Judgement::nothing();
    tcp(evidence, &mut judgement);
    match machine(memory, total) {
        Some(finding) => judgement.find(finding),
        None => judge_available(memory, total, &mut judgement),
    }
    let groups = match &memory.groups {
        Seen::Value(groups) => groups,
        Seen::Absent => return Ok(judgement),
        Seen::Unknown(blind) => {
            judgement.blind(&RULE, blind);
            return Ok(judgement);
        }
    };
    for (directory, seen) in groups {
        match seen {
            Seen::Value(group) => one(evidence, directory, group, &mut judgement),
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

/// Above the pressure mark TCP's buffers shrink, at the last one memory is refused. Peaks pass: it has to be so at both ends of
/// the window, and below the last mark something must have been dropped for it.
fn tcp(evidence: &Evidence, judgement: &mut Judgement) {
    let memory = match &evidence.kernel.tcp_memory {
        Seen::Value(memory) => memory,
        // A container's: the machine's own examination says it.
        Seen::Absent => return,
        Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
    };
    let least = memory.first.min(memory.last);
    if least <= memory.pressure {
        return judgement.well(format!("TCP uses {} of {} pages of memory", memory.last, memory.max));
    }
    let dropped: Vec<(&str, u64)> = TCP_DROPPED
        .iter()
        .filter_map(|name| Some((*name, view::counter_rise(evidence, name)?)))
        .filter(|(_, rise)| *rise > 0)
        .collect();
    let refuses = least >= memory.max;
    let severity = if refuses || !dropped.is_empty() { Severity::Warning } else { Severity::Notice };
    judgement.find(tcp_short(memory, severity, refuses, &dropped));
}

fn tcp_short(memory: &TcpMemory, severity: Severity, refuses: bool, dropped: &[(&str, u64)]) -> Finding {
    let bytes = |pages: u64| view::bytes_text(pages.saturating_mul(memory.page_bytes));
    let effect = match (refuses, dropped) {
        (true, _) => "the kernel refuses memory to connections, which hang or are reset",
        (false, []) => "the kernel makes the buffers of all connections smaller",
        (false, _) => "the kernel drops what was received, to be sent again",
    };
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::host(),
            format!("TCP uses {} of the {} that it may have: {effect}.", bytes(memory.last), bytes(memory.max)),
        )
        .confidence(0.8)
        .because(
            format!(
                "{} pages at the first look and {} at the last; pressure begins above {}, the end is {}.",
                memory.first, memory.last, memory.pressure, memory.max
            ),
            "/proc/net/sockstat, net.ipv4.tcp_mem",
            view::pointer(["kernel", "tcp_memory"]),
        );
    for (name, rise) in dropped {
        let seen = format!("{name} rose by {rise}.");
        finding = finding.because(seen, "/proc/net/netstat", view::pointer(["kernel", "counters", "value", name]));
    }
    let refused = dropped.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    finding
        .data("tcp_pages", memory.last)
        .data("tcp_pages_pressure", memory.pressure)
        .data("tcp_pages_max", memory.max)
        .data("rising", refused)
        .fix(
            Fix::here("See which connections hold it: a program that does not read, or peers that do not. Raise net.ipv4.tcp_mem only where the machine has memory to spare.")
                .command("ss -tnpm")
                .verify("mxray counters --interval 10s"),
        )
        .reference("tcp(7), tcp_mem")
}

fn judge_available(memory: &Memory, total: u64, judgement: &mut Judgement) {
    match &memory.available_bytes {
        Seen::Value(available) => {
            judgement.well(format!(
                "{} of {} memory can be had",
                view::bytes_text(*available),
                view::bytes_text(total)
            ));
        }
        Seen::Absent => {}
        Seen::Unknown(blind) => judgement.blind(&RULE, blind),
    }
}

/// Nothing left, and everybody waits for it. One of the two alone is a busy machine.
fn machine(memory: &Memory, total: u64) -> Option<Finding> {
    let available = *memory.available_bytes.value()?;
    let stalled = *memory.stalled_60s.value()?;
    let swap_total = memory.swap_total_bytes.value().copied().unwrap_or(0);
    let swap_free = memory.swap_free_bytes.value().copied().unwrap_or(0);
    let short = available.saturating_mul(100) < total.saturating_mul(AVAILABLE_PERCENT_MIN)
        && (swap_total == 0 || swap_free.saturating_mul(100) < swap_total.saturating_mul(SWAP_PERCENT_MIN));
    (short && stalled >= STALLED_MIN).then(|| {
        RULE.finding(
            Subject::host(),
            format!(
                "{} of {} memory are left, and for {} % of the last minute everything waited for memory.",
                view::bytes_text(available),
                view::bytes_text(total),
                stalled / 100
            ),
        )
        .confidence(0.9)
        .because(
            format!("MemAvailable is {}, swap free {}.", view::bytes_text(available), view::bytes_text(swap_free)),
            "/proc/meminfo",
            view::pointer(["memory", "available_bytes"]),
        )
        .because(
            format!("All tasks were stalled for {} % of the last 60 s.", stalled / 100),
            "/proc/pressure/memory",
            view::pointer(["memory", "stalled_60s"]),
        )
        .data("available_bytes", available)
        .data("total_bytes", total)
        .data("stalled_percent", stalled / 100)
        .fix(
            Fix::here("See who has it, and give less to it or more to the machine.")
                .command("ps -eo rss,pid,comm --sort=-rss | head -n 15")
                .verify("cat /proc/pressure/memory"),
        )
        .reference("proc_pressure: Documentation/accounting/psi.rst of the kernel")
    })
}

fn one(evidence: &Evidence, directory: &str, group: &MemoryGroup, judgement: &mut Judgement) {
    let kills = match &group.oom_kills {
        Seen::Value(kills) => Some(*kills),
        Seen::Absent => None,
        Seen::Unknown(blind) => {
            judgement.blind(&RULE, blind);
            None
        }
    };
    let used_percent = group.limit_bytes.value().map(|limit| percent(group.working_set_bytes, *limit));
    let killed = kills.map_or(0, |kills| kills.last);
    let rising = kills.is_some_and(|kills| kills.rise() > 0);
    let near = used_percent.is_some_and(|percent| percent >= NEAR_PERCENT);
    let again = killed > 0 && used_percent.is_some_and(|percent| percent >= HIGH_PERCENT);
    if rising || again {
        judgement.find(short(evidence, directory, group, Severity::Warning, killed));
    } else if killed > 0 || near {
        // The counter does not say when: it may have been half a year ago. And a limit may be meant to be close.
        judgement.find(short(evidence, directory, group, Severity::Notice, killed));
    } else {
        judgement.well(format!("{directory}: no process was killed for want of memory"));
    }
}

fn percent(used: u64, limit: u64) -> u64 {
    used.saturating_mul(100).checked_div(limit).unwrap_or(100)
}

fn short(evidence: &Evidence, directory: &str, group: &MemoryGroup, severity: Severity, killed: u64) -> Finding {
    let software = group.software.iter().cloned().collect::<Vec<_>>().join(", ");
    let used = view::bytes_text(group.working_set_bytes);
    let room = group.limit_bytes.value().map_or_else(
        || format!("{used} are in use, without a limit of its own"),
        |limit| format!("{used} of {} are in use", view::bytes_text(*limit)),
    );
    let deaths = match killed {
        0 => "no process was killed yet".to_owned(),
        1 => "1 process was killed for want of memory since it was started".to_owned(),
        many => format!("{many} processes were killed for want of memory since it was started"),
    };
    let pointer = |field: &str| view::pointer(["memory", "groups", "value", directory, "value", field]);
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::path(directory),
            format!("In the control group of {software}, {room}; {deaths}."),
        )
        .confidence(0.9)
        .because(format!("{room}."), format!("{directory}/memory.*"), pointer("working_set_bytes"))
        .because(format!("{deaths}."), format!("{directory}/memory.events"), pointer("oom_kills"))
        .data("software", group.software.iter().cloned().collect::<Vec<_>>())
        .data("killed", killed)
        .data("working_set_bytes", group.working_set_bytes)
        .data("limit_bytes", group.limit_bytes.value().copied());
    for software in &group.software {
        finding = finding.touches(Subject::service(software));
    }
    for (name, server) in evidence.servers.value().into_iter().flatten() {
        if group.software.contains(&server.software) {
            finding = finding.touches(Subject::service(name));
        }
    }
    let unit = directory.rsplit('/').next().unwrap_or_default();
    let managed = evidence.vantage.service_manager.value().is_some() && unit.ends_with(".service");
    let fix = match group.limit_bytes.value().filter(|_| managed) {
        Some(limit) => Fix::here("Raise the limit, or remove it; it holds at once.")
            .command(format!("systemctl set-property {} MemoryMax={}", shell_word(unit), limit.saturating_mul(2)))
            .undo(format!("systemctl set-property {} MemoryMax={limit}", shell_word(unit))),
        None => Fix::here("Give the group more memory, or let fewer processes run side by side."),
    };
    finding
        .fix(fix.verify(format!("cat {}/memory.events", shell_word(directory))))
        .reference("systemd.resource-control(5), MemoryMax=")
        .reference("Documentation/admin-guide/cgroup-v2.rst of the kernel, memory.events")
}
