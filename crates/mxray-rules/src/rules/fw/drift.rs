//! FW112: the ruleset that runs is not the one that the next start loads.

use crate::filters;
use crate::reach::egress_scope;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{FilterAbout, FilterQuestion, Firewall, Persisted, PersistedAnswer};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "FW112",
    name: "firewall-drift",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the packet filter's rules that run are not those that the next start loads",
    page: include_str!("drift.md"),
    check,
};

/// Mail is let through now and will not be, or the other way round: both rulesets were walked.
const WALKED: f32 = 0.9;
/// Texts were compared.
const COMPARED: f32 = 0.8;

fn check(evidence: &Evidence) -> Said {
    let firewall = filters::firewall(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    if firewall.persisted.is_empty() {
        judgement.well("no ruleset is written down for the next start where mxray looks for one");
    }
    for (file, persisted) in &firewall.persisted {
        match persisted {
            Seen::Value(persisted) => judge(firewall, file, persisted, &mut judgement),
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
            Seen::Absent => {}
        }
    }
    Ok(judgement)
}

fn judge(firewall: &Firewall, file: &str, persisted: &Persisted, judgement: &mut Judgement) {
    let loads = match &persisted.at_boot {
        Seen::Value(loads) => *loads,
        Seen::Absent => false,
        Seen::Unknown(blind) => {
            judgement.blind(&RULE, blind);
            return;
        }
    };
    if !loads {
        judgement.well(format!("{file} is not loaded by the next start ({} is off)", persisted.loaded_by));
        return;
    }
    let same = persisted.differs.is_empty() && persisted.only_running.is_empty() && persisted.only_in_file.is_empty();
    if let Some((key, why)) = persisted.untold.first_key_value() {
        let why = format!("what {file} will make of {} cannot be told: {why}", what(firewall, key));
        judgement.blind(&RULE, &Blind::NotAttempted { why });
    }
    if same && persisted.untold.is_empty() {
        judgement.well(format!("{file}: what the next start loads is what runs, as far as mail is concerned"));
    }
    if !same {
        judgement.find(finding(firewall, file, persisted));
    }
}

fn finding(firewall: &Firewall, file: &str, persisted: &Persisted) -> Finding {
    let worse = persisted.differs.iter().find(|(_, answer)| !answer.passes_then);
    let better = persisted.differs.iter().find(|(_, answer)| answer.passes_then);
    let (severity, confidence, summary) = match (worse, better) {
        (Some((key, answer)), _) => (
            RULE.severity,
            WALKED,
            format!(
                "After the next start mail will be stopped: {} passes now, and {file} does not let it pass ({}).",
                what(firewall, key),
                answer.by
            ),
        ),
        (None, Some((key, answer))) => (
            RULE.severity,
            WALKED,
            format!(
                "{} is stopped by rules that run ({}) and do not stand in {file}, which the next start loads.",
                what(firewall, key),
                answer.by
            ),
        ),
        (None, None) => (
            Severity::Notice,
            COMPARED,
            format!(
                "The rules that run are not those of {file}, which the next start loads: {} more run, {} more stand in the file. What mail needs passes with both.",
                persisted.only_running.len(),
                persisted.only_in_file.len()
            ),
        ),
    };
    let mut finding = RULE
        .finding_as(severity, Subject::new(SubjectKind::File, file), summary)
        .confidence(confidence)
        .data("loaded_by", persisted.loaded_by.clone())
        .data("only_running", persisted.only_running.clone())
        .data("only_in_file", persisted.only_in_file_texts.clone())
        .data("questions", persisted.differs.keys().cloned().collect::<Vec<_>>())
        .reference("nftables.service, netfilter-persistent(8), ufw-framework(8), firewalld(1)");
    let at = |rest: &[&str]| {
        let mut parts = vec!["firewall", "value", "persisted", file, "value"];
        parts.extend(rest);
        view::pointer(parts)
    };
    finding = finding.because(format!("{} loads it.", persisted.loaded_by), file, at(&["loaded_by"]));
    for (key, answer) in persisted.differs.iter().take(4) {
        finding = finding.because(told(firewall, key, answer), file, at(&["differs", key]));
        if let Some(question) = firewall.questions.get(key) {
            finding = finding.touches(scope(question));
        }
    }
    for (text, index) in persisted.only_running.iter().take(4).zip(0u32..) {
        finding =
            finding.because(format!("Only running: {text}"), "nf_tables", at(&["only_running", &index.to_string()]));
    }
    for ((line, text), index) in persisted.only_in_file.iter().zip(&persisted.only_in_file_texts).take(4).zip(0u32..) {
        finding = finding.because(
            format!("Only in the file: {text}"),
            line.to_string(),
            at(&["only_in_file", &index.to_string()]),
        );
    }
    fixes(file, persisted).into_iter().fold(finding, Finding::fix)
}

fn what(firewall: &Firewall, key: &str) -> String {
    let Some(question) = firewall.questions.get(key) else { return key.to_owned() };
    let (protocol, port) = (&question.protocol, question.port);
    match &question.about {
        FilterAbout::Enter { to } => format!("{protocol} port {port} of {to}, from outside,"),
        FilterAbout::Leave { .. } => format!("outgoing mail on port {port}"),
        FilterAbout::Resolve { server } => format!("{protocol} port {port} of the name server {server}"),
        FilterAbout::Helper { to } => format!("port {port} of {to}, which the mail server needs,"),
    }
}

fn told(firewall: &Firewall, key: &str, answer: &PersistedAnswer) -> String {
    let word = |passes: bool| if passes { "passes" } else { "is stopped" };
    let at = answer.at.as_ref().map_or_else(String::new, |at| format!(", {at}"));
    format!(
        "{} {} now and {} after the next start (by {}{at}).",
        what(firewall, key),
        word(answer.passes_now),
        word(answer.passes_then),
        answer.by
    )
}

fn scope(question: &FilterQuestion) -> Subject {
    match question.about {
        FilterAbout::Enter { .. } => view::port_scope(question.port),
        FilterAbout::Resolve { server } => crate::resolvers::subject(server),
        FilterAbout::Leave { .. } | FilterAbout::Helper { .. } => egress_scope(question.port, question.ipv4),
    }
}

fn fixes(file: &str, persisted: &Persisted) -> Vec<Fix> {
    let quoted = mxray_model::text::shell_word(file);
    let verify = "mxray doctor";
    match persisted.loaded_by.as_str() {
        "nftables.service" => vec![
            Fix::here("See what differs, and decide which of the two is meant.")
                .command(format!("nft -c -f {quoted}"))
                .command("nft list ruleset")
                .verify(verify),
            Fix::here("Where the file is meant: load it. Where what runs is meant: write it down.")
                .command(format!("nft list ruleset >{quoted}.running"))
                .command(format!("nft -f {quoted}"))
                .undo(format!("nft flush ruleset; nft -f {quoted}.running"))
                .verify(verify),
        ],
        "ufw.service" => vec![
            Fix::here("Where the files are meant, load them; rules that were put past ufw go.")
                .command("ufw status verbose")
                .command("ufw reload")
                .undo("ufw disable")
                .verify(verify),
        ],
        "firewalld.service" => vec![
            Fix::here("Where what runs is meant: write it down. Where the files are meant: firewall-cmd --reload.")
                .command("firewall-cmd --runtime-to-permanent")
                .undo("the zone's file below /etc/firewalld/zones, as it was (firewalld keeps it with .old)")
                .verify(verify),
        ],
        _ => vec![
            Fix::here("See what differs, and decide which of the two is meant.")
                .command(format!("iptables-save | diff {quoted} -"))
                .verify(verify),
            Fix::here("Where what runs is meant: write it down. Where the file is meant: netfilter-persistent reload.")
                .command(format!("cp -p {quoted} {quoted}.before"))
                .command("netfilter-persistent save")
                .undo(format!("mv {quoted}.before {quoted}"))
                .verify(verify),
        ],
    }
}
