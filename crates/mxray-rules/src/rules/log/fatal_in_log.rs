//! LOG106: a program of the mail server ends with a fatal line, again and again.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use crate::words::Words;
use mxray_model::evidence::{LogIncident, MailLogs, Server};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG106",
    name: "fatal-in-log",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a program of the mail server gives up with a fatal error",
    page: include_str!("fatal_in_log.md"),
    check,
};

/// A supervisor starts it anew at least each minute while there is work: what was silent for longer has nothing to do, or is over.
const QUIET_S: i64 = 1_800;
/// A crash draws two or three lines: so many are more than one crash.
const LINES_OF_A_LOOP: u64 = 4;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for incident in &logs.incidents {
        if is_over(evidence, logs, incident) {
            continue;
        }
        judgement.find(finding(evidence, logs, incident));
    }
    if judgement.findings.is_empty() {
        let over = logs.incidents.len();
        judgement.well(if over == 0 {
            "no program gave up with a fatal line".to_owned()
        } else {
            format!("{over} fatal lines are over: the programs went on")
        });
    }
    Ok(judgement)
}

/// The program lives again, or nothing was heard of it for long.
fn is_over(evidence: &Evidence, logs: &MailLogs, incident: &LogIncident) -> bool {
    let quiet = logged::age_s(evidence, logs, &incident.last).is_some_and(|age| age > QUIET_S);
    incident.over || (quiet && !incident.panic)
}

/// What an administrator or a monitor types: it failed, and mail goes on. Those through which local programs give mail, and
/// `postfix` itself, are none of these.
fn is_a_command(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(
        name,
        "postqueue"
            | "postsuper"
            | "postmap"
            | "postalias"
            | "postconf"
            | "postcat"
            | "postkick"
            | "postlock"
            | "postlog"
    )
}

fn finding(evidence: &Evidence, logs: &MailLogs, incident: &LogIncident) -> Finding {
    let repeats = incident.times > 1 || incident.lines >= LINES_OF_A_LOOP;
    let old = logged::age_s(evidence, logs, &incident.last).is_some_and(|age| age > QUIET_S);
    let severity = match (repeats, incident.panic, old) {
        (_, false, _) if is_a_command(&incident.program) => Severity::Notice,
        (_, _, true) => Severity::Warning,
        (true, _, _) | (_, true, _) => RULE.severity,
        // Once: a signal, a file that was being replaced.
        _ => Severity::Warning,
    };
    let program = if incident.program.is_empty() { &incident.instance } else { &incident.program };
    let instance = server_of(evidence, incident);
    let server = instance.as_ref().and_then(|name| evidence.servers.value()?.get(name));
    // The programs of Postfix have no check of their own.
    let check = server.map_or_else(|| "postfix check".to_owned(), |server| Words::new(evidence, server).check());
    let how = if repeats { "gives up again and again" } else { "gave up" };
    let subject = match &instance {
        Some(instance) => format!("{instance} {program}"),
        None => program.clone(),
    };
    let mut finding = RULE
        .finding_as(severity, Subject::service(subject), format!("{program} {how}: {}.", logged::quoted(&incident.text)))
        .confidence(if repeats { 0.9 } else { 0.7 })
        .data("program", program.clone())
        .data("text", incident.text.clone())
        .data("times", incident.times)
        .data("lines", incident.lines)
        .data("first", incident.first.clone())
        .data("last", incident.last.clone())
        .because(
            match incident.lines {
                1 => format!("At {}: {}", incident.last, incident.text),
                lines => format!("From {} to {}, {lines} lines: {}", incident.first, incident.last, incident.text),
            },
            logged::SOURCE,
            logged::log_pointer(&["incidents"]),
        )
        .fix(
            Fix::here("The line names what is wrong: a setting, a table, a permission, a limit. Put that right, and have the server read it.")
                .command(check)
                .verify("mxray logs --since 10m"),
        );
    if let Some((instance, server)) = instance.as_deref().zip(server) {
        finding = touching_services(finding, (instance, server), incident, program);
    }
    for cause in
        logs.causes.iter().filter(|cause| logged::is_of_the_server(&cause.cause) || logged::is_of_the_way(&cause.cause))
    {
        finding = finding.touches(logged::receiver_scope(&cause.receiver));
    }
    finding
}

/// What does not work while the program gives up: delivery, and the ports that it serves.
fn touching_services(
    finding: Finding,
    (instance, server): (&str, &Server),
    incident: &LogIncident,
    program: &str,
) -> Finding {
    let mut finding =
        finding.touches(Subject::service(instance)).touches(Subject::service(format!("{instance} delivery")));
    // Who says what it lacks speaks of the helper.
    if incident.text.contains("SASL") {
        finding = finding.touches(Subject::service(format!("{instance} helpers")));
    }
    let service = program.strip_prefix(&format!("{}/", incident.instance)).unwrap_or(program);
    // What starts all of them fails for all of them.
    let all = matches!(service, "postfix" | "master" | "postfix-script");
    for wanted in server.wanted.values() {
        // `postfix/submission/smtpd` is the service `submission`; `postfix/smtpd` may be any.
        if all || service.contains(wanted.service.as_str()) || service == wanted.command {
            finding = finding
                .touches(crate::view::service_at(instance, wanted.port))
                .touches(crate::view::port_scope(wanted.port));
        }
    }
    finding
}

/// The configured server that the log's name for the instance belongs to.
fn server_of(evidence: &Evidence, incident: &LogIncident) -> Option<String> {
    let Seen::Value(servers) = &evidence.servers else { return None };
    if servers.contains_key(&incident.instance) {
        return Some(incident.instance.clone());
    }
    let named = servers.iter().find(|(_, server)| server.setting("syslog_name") == incident.instance);
    let by_software = || servers.iter().find(|(_, server)| incident.program.starts_with(server.software.as_str()));
    named.or_else(by_software).map(|(name, _)| name.clone())
}
