//! ID104: a mail server that says no full name in HELO.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Configured, RouteOutcome, RoutePurpose, Server};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "ID104",
    name: "helo-not-fqdn",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a mail server introduces itself with a name that no other host can look up",
    page: include_str!("helo_not_fqdn.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers).filter(|(_, server)| published::sends_directly(server)) {
        if server.egress.hello.is_empty() {
            let why = format!("what {instance} says in HELO does not stand in its configuration as a plain name");
            judgement.blind(&RULE, &Blind::NotAttempted { why });
        }
        for name in &server.egress.hello {
            match judge(&name.value) {
                Ok(()) => judgement.well(format!("{instance} says {} in HELO", name.value)),
                Err(_) if !leaves(evidence, instance) => {
                    judgement.well(format!("{instance} says {} in HELO, and reaches nobody outside", name.value));
                }
                Err(why) => judgement.find(finding(evidence, (instance, server), name, why)),
            }
        }
    }
    Ok(judgement)
}

/// An address in brackets is allowed where a host has no name (RFC 5321 section 4.1.4).
fn judge(name: &str) -> Result<(), &'static str> {
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let literal = literal.map(|text| text.strip_prefix("IPv6:").unwrap_or(text));
    if literal.is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()) {
        return Ok(());
    }
    published::public_form(name)
}

/// The kernel has a way to the Internet for this server's mail. Where nobody knows, it is taken to have one.
fn leaves(evidence: &Evidence, instance: &str) -> bool {
    let Some(routing) = evidence.routing.value() else { return true };
    let mut outward = routing
        .answers
        .values()
        .filter(|answer| answer.server == instance && answer.purpose == RoutePurpose::Sample)
        .peekable();
    outward.peek().is_none() || outward.any(|answer| !matches!(answer.outcome.value(), Some(RouteOutcome::Refused(_))))
}

/// Mail leaves from a public address: receivers see this name beside it.
fn is_public_sender(evidence: &Evidence, instance: &str) -> bool {
    published::senders(evidence).iter().any(|sender| sender.servers().contains(instance))
}

fn finding(evidence: &Evidence, (instance, server): (&str, &Server), name: &Configured<String>, why: &str) -> Finding {
    let said = &name.value;
    let severity = if is_public_sender(evidence, instance) { RULE.severity } else { Severity::Warning };
    let summary =
        format!("{instance} says \"{said}\" in HELO ({why}): receivers that look the name up refuse its mail.");
    let words = Words::new(evidence, server);
    let wanted = wanted(evidence, instance);
    let text = match wanted {
        Some(_) => "Let it say a full name that exists in DNS and leads to the address that mail leaves from.",
        None => {
            "Let it say a full name that exists in DNS and leads to the address that mail leaves from; mail.example.org stands for it here."
        }
    };
    let full = wanted.unwrap_or("mail.example.org");
    let step = if server.software == "postfix" {
        let parameter = if server.set_at("smtp_helo_name").is_some() { "smtp_helo_name" } else { "myhostname" };
        words.setting_fix(text, parameter, full)
    } else {
        let (file, line) = match &name.at {
            Some(at) => (at.file.clone(), Some(at.line)),
            None => (words.main_cf(), None),
        };
        let line_text = match server.software.as_str() {
            "exim" if name.setting.starts_with("helo_data") && name.at.is_some() => format!("helo_data = {full}"),
            "exim" => format!("primary_hostname = {full}"),
            "opensmtpd" => format!("action … relay helo {full}"),
            "sendmail" => format!("define(`confDOMAIN_NAME', `{full}')"),
            _ => full.to_owned(),
        };
        Fix::here(text).config(file, line, line_text).verify("mxray doctor")
    };
    let at = name.at.as_ref().map_or(String::new(), |at| format!(" ({at})"));
    RULE.finding_as(severity, Subject::service(instance), summary)
        .confidence(0.95)
        .because(
            format!("{} = {said}{at}", name.setting),
            server.configured_by.as_str(),
            view::server_pointer(instance, &["egress", "hello"]),
        )
        .data("name", said.as_str())
        .data("setting", name.setting.as_str())
        .reference("RFC 5321 section 2.3.5")
        .reference("RFC 5321 section 4.1.1.1")
        .fix(step.command(words.reload()))
}

/// The name of an address that its mail leaves from, as DNS has it.
fn wanted<'a>(evidence: &'a Evidence, instance: &str) -> Option<&'a str> {
    let senders = published::senders(evidence);
    let of_it = senders.iter().filter(|sender| sender.servers().contains(instance));
    of_it.filter_map(|sender| sender.sender.confirmed.value()?.first()).map(String::as_str).next()
}
