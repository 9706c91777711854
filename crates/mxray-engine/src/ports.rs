//! The audit of ports: the collectors that it needs, and the report that it gives.
//!
//! It takes one look where an examination takes two, so it is quick; it asks the rules about ports alone, and its verdict is about
//! these.

use crate::collect::{
    Options, attach, flat, join_servers, join_sessions, known, start_owners, start_readers, start_sessions,
    start_signers, summarise, wait_for_owners, wait_for_servers,
};
use crate::filters;
use crate::judge::{Asked, report, verdict};
use crate::parts::{Parts, Progress};
use crate::surroundings;
use mxray_host::programs::Programs;
use mxray_host::{kernel, mta, ownership, processes, sockets, vantage};
use mxray_model::evidence::{Assignments, Evidence};
use mxray_model::{Blind, Finding, Question, Report, Seen, Unseen, Verdict};
use mxray_rules::Rule;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The command of a question that is judged here.
pub(crate) const AUDIT: &str = "ports audit";

/// Looks at what bears on ports.
pub(crate) fn collect(options: &Options, progress: Progress<'_>) -> Evidence {
    let mut parts = Parts::new(options.deadline, progress);
    let vantage = parts.start("vantage", vantage::look);
    let settings = parts.start("kernel", kernel::settings);
    let sample = parts.start("sockets", sockets::sample);
    let addresses = parts.start("addresses", mta::addresses);
    let table = parts.start("processes", processes::table);
    let programs = Programs::new(parts.margin());
    let readers = start_readers(&mut parts, &programs);
    let sample = flat(parts.wait(sample));
    let table = Arc::new(flat(parts.wait(table)));
    let owners = start_owners(&mut parts, &sample, &table);
    let rulesets = filters::start(&mut parts, &programs);
    let (mut servers, unread) = wait_for_servers(&mut parts, readers);
    let rulesets = flat(parts.wait(rulesets));
    programs.end();
    attach(&mut parts, &mut servers, &table);
    let namespaces = surroundings::start(&mut parts, &table, &servers);
    let units = surroundings::start_units(&mut parts, &table, &servers);
    let bystanders = surroundings::start_bystanders(&mut parts, &table);
    let signers = start_signers(&mut parts, &table);
    let owners = wait_for_owners(&mut parts, owners);
    let mut evidence = Evidence {
        vantage: parts.wait(vantage).unwrap_or_else(|blind| vantage::without_files(&blind)),
        declared: options.declared.clone(),
        kernel: parts.wait(settings).unwrap_or_default(),
        unread,
        ..Evidence::default()
    };
    evidence.sockets = summarise(&sample, None, &owners);
    join_servers(&mut evidence, servers, &sample, &owners, &table);
    evidence.addresses = flat(parts.wait(addresses));
    evidence.namespaces = surroundings::finish(&mut parts, namespaces, &table);
    evidence.units = flat(parts.wait(units));
    let signers = flat(parts.wait(signers));
    evidence.bystanders = surroundings::finish_bystanders(&mut parts, bystanders, &signers);
    evidence.assignments = self::owners(&mut parts, options, &evidence);
    let resolver = crate::resolvers::of(&evidence.resolver, options);
    let sessions = start_sessions(&mut parts, &evidence, options, &resolver);
    join_sessions(&mut parts, &mut evidence, sessions);
    evidence.firewall = filters::ask(&mut parts, rulesets, &evidence, known(&evidence));
    evidence.parts = parts.finish();
    evidence
}

/// The assignments with what this host knows of the users and packages that they name.
pub(crate) fn owners(parts: &mut Parts<'_>, options: &Options, evidence: &Evidence) -> Seen<Assignments> {
    let Seen::Value(assignments) = &options.assignments else { return options.assignments.clone() };
    let listeners = evidence.sockets.value().into_iter().flat_map(|sockets| sockets.listeners.values());
    let holders: BTreeSet<u32> =
        listeners.filter_map(|listener| listener.owners.value()).flatten().map(|owner| owner.pid).collect();
    let mut known = assignments.clone();
    let pending = parts.start("owners of assigned ports", move || {
        ownership::resolve(&mut known, &holders);
        known
    });
    match parts.wait(pending) {
        Ok(known) => Seen::Value(known),
        Err(blind) => {
            let mut known = assignments.clone();
            ownership::unread(&mut known, &blind);
            Seen::Value(known)
        }
    }
}

/// What an audit asks: the rules about ports, and those about listeners that are reached from too few places or too many.
fn is_asked(rule: &Rule) -> bool {
    rule.code.starts_with("PORT") || matches!(rule.code, "SOCK102" | "SOCK103" | "LOOK010")
}

/// Runs these rules and makes the report.
pub(crate) fn judge(question: Question, evidence: Evidence, started: String, took_ms: u64) -> Report {
    let mut judged = mxray_rules::examine_by(&evidence, is_asked);
    let gaps = gaps(&evidence);
    let verdict = verdict(&judged.causes, !gaps.is_empty());
    let summary = summary(verdict, &judged.causes, &gaps, &evidence);
    judged.unseen.extend(gaps);
    judged.unseen.extend(unread(&evidence));
    report(Asked { question, started, took_ms }, evidence, judged, verdict, summary)
}

/// Without these an audit says nothing.
fn gaps(evidence: &Evidence) -> Vec<Unseen> {
    let blind = |what: &str, blind: Option<&Blind>| {
        blind.map(|blind| Unseen { what: what.to_owned(), why: blind.why(), needs: blind.needs() })
    };
    let none = || Unseen {
        what: "the assignments file".to_owned(),
        why: "there is none".to_owned(),
        needs: "mxray ports init --output /etc/mxray/mxray-ports.toml".to_owned(),
    };
    let assignments = match &evidence.assignments {
        Seen::Absent => Some(none()),
        other => blind("the assignments file", other.blind()),
    };
    blind("sockets", evidence.sockets.blind()).into_iter().chain(assignments).collect()
}

/// Configurations that were not read: what they will ask for at the next start is not known.
fn unread(evidence: &Evidence) -> Vec<Unseen> {
    let servers = evidence.unread.iter().map(|(software, blind)| Unseen {
        what: format!("configuration of {software}"),
        why: blind.why(),
        needs: blind.needs(),
    });
    let sockets = evidence.sockets.value().filter(|sockets| sockets.listeners_left_out > 0);
    let left_out = sockets.map(|sockets| Unseen {
        what: format!("{} more listeners", sockets.listeners_left_out),
        why: "left out of the report, because there are so many".to_owned(),
        needs: "mxray sockets --listening".to_owned(),
    });
    servers.chain(left_out).collect()
}

fn summary(verdict: Verdict, causes: &[Finding], gaps: &[Unseen], evidence: &Evidence) -> String {
    match (verdict, causes) {
        (Verdict::Broken | Verdict::Degraded, [only]) => only.summary.clone(),
        (Verdict::Broken | Verdict::Degraded, [first, rest @ ..]) => match rest.len() {
            1 => format!("{} There is one more difference.", first.summary),
            more => format!("{} There are {more} more differences.", first.summary),
        },
        (Verdict::Healthy, _) => {
            let entries = evidence.assignments.value().map_or(0, |assignments| assignments.services.len());
            let listeners = evidence.sockets.value().map_or(0, |sockets| sockets.listeners.len());
            format!(
                "This host is as the assignments file says: {} declared, {} seen.",
                counted(entries, "port"),
                counted(listeners, "listener")
            )
        }
        _ => {
            let reasons: Vec<String> = gaps.iter().map(|gap| format!("{} ({})", gap.what, gap.why)).collect();
            format!("Cannot say whether this host is as declared: not seen: {}.", reasons.join("; "))
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("one {what}") } else { format!("{count} {what}s") }
}
