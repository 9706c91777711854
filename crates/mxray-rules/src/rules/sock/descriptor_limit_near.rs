//! SOCK109: a mail process is near its limit of open files.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Descriptors, Process};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    code: "SOCK109",
    name: "descriptor-limit-near",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "open files near RLIMIT_NOFILE of a mail process",
    page: include_str!("descriptor_limit_near.md"),
    check,
};

/// From here on, one burst of connections is enough to reach the limit.
const NEAR_PERCENT: u64 = 90;

/// fs.nr_open as the kernel sets it: no limit can be raised above it.
const RAISED_MAX: u64 = 1_048_576;

fn check(evidence: &Evidence) -> Said {
    let processes = view::known(&evidence.processes, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut worst: BTreeMap<(&str, &str), (u32, &Process, Descriptors)> = BTreeMap::new();
    let (mut seen, mut blind) = (0, None);
    for (pid, process) in &processes.mail {
        let Seen::Value(software) = &process.software else { continue };
        let descriptors = match &process.descriptors {
            Seen::Value(descriptors) => *descriptors,
            Seen::Absent => continue,
            Seen::Unknown(reason) => {
                blind = Some(reason);
                continue;
            }
        };
        seen += 1;
        if !is_near(descriptors) {
            continue;
        }
        // Workers of one kind share one fate: the fullest speaks for all of them.
        let entry = worst.entry((software, &process.name)).or_insert((*pid, process, descriptors));
        if descriptors.used > entry.2.used {
            *entry = (*pid, process, descriptors);
        }
    }
    for ((software, _), (pid, process, descriptors)) in worst {
        judgement.find(near(evidence, software, pid, process, descriptors));
    }
    let hidden = Blind::NotPermitted {
        what: "other users' processes are hidden (hidepid)".to_owned(),
        needs: "cap_sys_ptrace".to_owned(),
    };
    if !processes.all_visible {
        blind = blind.or(Some(&hidden));
    }
    match blind {
        Some(reason) => judgement.blind(&RULE, reason),
        None if seen > 0 && judgement.findings.is_empty() => {
            judgement.well(format!("{seen} mail processes are far from their limits of open files"));
        }
        None => {}
    }
    Ok(judgement)
}

/// Is a process of this software near its limit? What it starts fails with it, so its services may be silent for that.
pub fn is_reached_by(evidence: &Evidence, software: &str) -> bool {
    evidence.processes.value().is_some_and(|processes| {
        processes.mail.values().any(|process| {
            process.software.value().is_some_and(|one| one == software)
                && process.descriptors.value().copied().is_some_and(is_near)
        })
    })
}

fn is_near(descriptors: Descriptors) -> bool {
    descriptors.limit != u64::MAX
        && descriptors.used.saturating_mul(100) >= descriptors.limit.saturating_mul(NEAR_PERCENT)
}

fn near(evidence: &Evidence, software: &str, pid: u32, process: &Process, descriptors: Descriptors) -> Finding {
    let Descriptors { used, limit } = descriptors;
    let raised = limit.saturating_mul(4).clamp(4096, RAISED_MAX).max(limit);
    let mut finding = RULE
        .finding(
            Subject::new(SubjectKind::Process, format!("{software}/{}", process.name)),
            format!("{} (process {pid}, {software}) has {used} of {limit} files open; at the limit it can accept nothing more.", process.name),
        )
        .confidence(0.95)
        .touches(Subject::service(software))
        .because(
            format!("{used} descriptors in use, soft limit {limit}."),
            format!("/proc/{pid}/fd, /proc/{pid}/limits"),
            view::pointer(["processes", "value", "mail", &pid.to_string(), "descriptors"]),
        )
        .data("pid", pid)
        .data("process", process.name.clone())
        .data("used", used)
        .data("limit", limit)
        .fix(
            Fix::here("Raise the limit of the running process; nothing needs a restart for that.")
                .command(format!("prlimit --pid {pid} --nofile={raised}:{raised}"))
                .undo(format!("prlimit --pid {pid} --nofile={limit}"))
                .verify(format!("grep 'open files' /proc/{pid}/limits")),
        )
        .reference("getrlimit(2), RLIMIT_NOFILE");
    for (name, server) in evidence.servers.value().into_iter().flatten() {
        if server.software == software {
            finding = finding.touches(Subject::service(name));
        }
    }
    for port in ports_of(evidence, pid, &process.name) {
        finding = finding.touches(view::port_scope(port));
    }
    let managed = evidence.vantage.service_manager == Seen::Value("systemd".to_owned());
    let unit = process.unit.value().filter(|unit| unit.ends_with(".service") && managed);
    match unit {
        Some(unit) => finding.fix(
            Fix::here("Make it last across restarts.")
                .command(format!("systemctl edit {}", shell_word(unit)))
                .config(
                    format!("/etc/systemd/system/{unit}.d/override.conf"),
                    None,
                    format!("[Service]\nLimitNOFILE={raised}"),
                )
                .command(format!("systemctl restart {}", shell_word(unit))),
        ),
        None => finding.fix(Fix::here(format!(
            "Make it last: raise the limit (ulimit -n {raised}) in whatever starts {software}."
        ))),
    }
}

/// The ports that processes like this one accept on.
fn ports_of(evidence: &Evidence, pid: u32, name: &str) -> BTreeSet<u16> {
    let listeners = evidence.sockets.value().into_iter().flat_map(|sockets| sockets.listeners.values());
    listeners
        .filter(|listener| {
            let owners = listener.owners.value().into_iter().flatten();
            owners.into_iter().any(|owner| owner.pid == pid || owner.name == name)
        })
        .map(|listener| listener.port)
        .collect()
}
