//! FW113: this host's own packet filters stop questions to its name servers.

use crate::filters::{self, Outcome};
use crate::resolvers;
use crate::rule::{Judgement, Rule, Said};
use crate::unprivileged;
use mxray_model::evidence::{FilterAbout, FilterAnswer, FilterQuestion, Firewall};
use mxray_model::{Blind, Evidence, Finding, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "FW113",
    name: "dns-blocked-here",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "this host's own packet filters stop questions to its name servers",
    page: include_str!("dns_blocked_here.md"),
    check,
};

const CONFIDENCE: f32 = 0.97;

/// A name server with what becomes of questions to it.
struct Asked<'a> {
    address: IpAddr,
    udp: Option<(&'a String, &'a FilterQuestion, Outcome<'a>)>,
    tcp: Option<(&'a String, &'a FilterQuestion, Outcome<'a>)>,
}

fn check(evidence: &Evidence) -> Said {
    if let Seen::Unknown(blind) = &evidence.firewall {
        return unprivileged::dns(evidence, &RULE, blind);
    }
    let firewall = filters::firewall(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut groups: BTreeMap<String, BTreeMap<IpAddr, Asked<'_>>> = BTreeMap::new();
    for (key, question) in filters::questions(firewall) {
        let FilterAbout::Resolve { server } = question.about else { continue };
        let who = question.server.clone().unwrap_or_default();
        let asked = groups.entry(who).or_default().entry(server).or_insert(Asked { address: server, udp: None, tcp: None });
        let place = if question.protocol == "udp" { &mut asked.udp } else { &mut asked.tcp };
        *place = Some((key, question, filters::outcome(firewall, &question.ends)));
    }
    for (who, servers) in &groups {
        judge(evidence, firewall, who, servers, &mut judgement);
    }
    Ok(judgement)
}

fn udp<'a>(asked: &Asked<'a>) -> Option<Outcome<'a>> {
    asked.udp.as_ref().map(|(.., outcome)| outcome.clone())
}

fn judge(
    evidence: &Evidence,
    firewall: &Firewall,
    who: &str,
    servers: &BTreeMap<IpAddr, Asked<'_>>,
    judgement: &mut Judgement,
) {
    let mut stopped: Vec<(&Asked<'_>, &String, &FilterQuestion, &FilterAnswer)> = Vec::new();
    let mut unknown: Option<Blind> = None;
    let mut open = 0;
    for asked in servers.values() {
        match (&asked.udp, udp(asked)) {
            (Some((key, question, _)), Some(Outcome::Stopped(answer))) => {
                stopped.push((asked, key, question, answer));
            }
            (_, Some(Outcome::Unknown(blind))) => unknown = Some(blind),
            _ => open += 1,
        }
    }
    if let Some(blind) = &unknown {
        judgement.blind(&RULE, blind);
    }
    // What systemd-resolved asks may be asked over TLS (port 853): only where it gets no answer is port 53 missed.
    let is_behind = who.is_empty();
    let answers = |address: IpAddr| matches!(resolvers::health(evidence, address), resolvers::Health::Answers(_));
    let is_missed = !is_behind || !evidence.resolver_checks.values().any(|check| answers(check.server.ip()));
    for (asked, key, question, answer) in &stopped {
        let all = open == 0 && unknown.is_none();
        let severity = match (is_missed, all) {
            (false, _) => Severity::Notice,
            (true, true) => RULE.severity,
            (true, false) => Severity::Warning,
        };
        judgement.find(finding(firewall, who, asked.address, (key, question, answer), (severity, all)));
    }
    for asked in servers.values() {
        let udp_open = matches!(udp(asked), Some(Outcome::Passes));
        if let (true, Some((key, question, Outcome::Stopped(answer)))) = (udp_open, &asked.tcp) {
            let one = (*key, *question, *answer);
            judgement.find(over_tcp(firewall, asked.address, one));
        }
    }
    if stopped.is_empty() && unknown.is_none() && open > 0 {
        judgement.well("the packet filters let questions to the name servers out, and answers in");
    }
}

fn finding(
    firewall: &Firewall,
    who: &str,
    address: IpAddr,
    (key, question, answer): (&String, &FilterQuestion, &FilterAnswer),
    (severity, all): (Severity, bool),
) -> Finding {
    let how = filters::stopped_how(answer);
    let asker = if who.is_empty() { "the resolver of this machine" } else { who };
    let effect = if all {
        "nobody says where mail is to go, and it waits in the queue"
    } else {
        "each question waits for it in vain, until another one is asked"
    };
    let what = if answer.packet.state == "new" { "Questions of" } else { "Answers to" };
    let summary =
        format!("{what} {asker} to the name server {address} are {how} by this host's own packet filter: {effect}.");
    let subject = Subject::new(SubjectKind::Resolver, address.to_string());
    let mut finding = RULE
        .finding_as(severity, subject, summary)
        .confidence(CONFIDENCE)
        .data("server", address.to_string())
        .data("protocol", question.protocol.clone())
        .data("port", question.port)
        .reference("RFC 1035 section 4.2");
    if !who.is_empty() {
        finding = finding.touches(Subject::service(who));
    }
    let finding = filters::because(finding, firewall, key, answer);
    let verify = filters::explain_out(question, answer);
    filters::fixes(firewall, answer, &verify).into_iter().fold(finding, Finding::fix)
}

/// Most answers fit into one packet. Those that do not are asked for again over TCP.
fn over_tcp(
    firewall: &Firewall,
    address: IpAddr,
    (key, question, answer): (&String, &FilterQuestion, &FilterAnswer),
) -> Finding {
    let summary = format!(
        "The name server {address} can be asked over UDP alone: this host's own packet filter stops TCP port {}, by which long answers come (DNSSEC, long TXT records).",
        question.port
    );
    let subject = Subject::new(SubjectKind::Resolver, format!("{address} over TCP"));
    let finding = RULE
        .finding_as(Severity::Notice, subject, summary)
        .confidence(CONFIDENCE)
        .data("server", address.to_string())
        .data("protocol", question.protocol.clone())
        .data("port", question.port)
        .reference("RFC 7766 section 5");
    let finding = filters::because(finding, firewall, key, answer);
    let verify = filters::explain_out(question, answer);
    filters::fixes(firewall, answer, &verify).into_iter().fold(finding, Finding::fix)
}
