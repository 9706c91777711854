//! CONF110: a policy or a table is configured, and something keeps it from having its effect.

mod asked;

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Configured, Server, SmtpClient, Table};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "CONF110",
    name: "policy-without-effect",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a policy or a table is configured, and something switches it off or keeps it from being read",
    page: include_str!("policy_without_effect.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        let before = judgement.findings.len() + judgement.unseen.len();
        for finding in dane(evidence, instance, server) {
            judgement.find(finding);
        }
        // One table may stand in the lists of many services.
        let mut tables: BTreeMap<&String, &Configured<Vec<String>>> = BTreeMap::new();
        for client in server.clients.values() {
            for name in &client.policy_tables.value {
                tables.entry(name).or_insert(&client.policy_tables);
            }
        }
        asked::tables(evidence, instance, server, |name| tables.contains_key(name), &mut judgement);
        asked::typeless(evidence, instance, server, &mut judgement);
        asked::quoted(evidence, instance, server, &mut judgement);
        asked::unlisted(evidence, instance, server, &mut judgement);
        asked::domains(evidence, instance, server, &mut judgement);
        asked::misspelt(evidence, instance, server, &mut judgement);
        for (name, list) in tables {
            let Some(table) = server.tables.get(name) else { continue };
            one_table(evidence, &At { instance, server, name, list, table }, &mut judgement);
        }
        if judgement.findings.len() + judgement.unseen.len() == before && !server.clients.is_empty() {
            judgement.well(format!(
                "{instance}: what it asks of TLS can have effect, and the tables that it names are there"
            ));
        }
    }
    Ok(judgement)
}

/// DANE needs answers of which DNSSEC has shown that they are genuine (RFC 7672 section 2.1); Postfix asks for these
/// only where it is told to.
fn dane(evidence: &Evidence, instance: &str, server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    for level in ["dane-only", "dane"] {
        let without = |client: &SmtpClient| client.tls_level.value == level && client.dns_support.value != "dnssec";
        let services: Vec<(&String, &SmtpClient)> =
            server.clients.iter().filter(|(_, client)| without(client)).collect();
        if let Some((first, client)) = services.first() {
            let names = services.iter().map(|(name, _)| (*name).clone()).collect();
            findings.push(without_dnssec(evidence, instance, server, first, client, names));
        }
    }
    findings
}

fn without_dnssec(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    service: &str,
    client: &SmtpClient,
    services: Vec<String>,
) -> Finding {
    let level = &client.tls_level.value;
    let only = level == "dane-only";
    let (severity, effect) = if only {
        (Severity::Critical, "nothing is delivered by it")
    } else {
        (Severity::Warning, "certificates are not checked, and mail goes out as with \"may\"")
    };
    let support = if client.dns_support.value.is_empty() { "not set" } else { &client.dns_support.value };
    let words = Words::new(evidence, server);
    let place =
        |configured: &Configured<String>| configured.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string);
    let pointer = |field: &str| view::server_pointer(instance, &["clients", service, field]);
    let step = "Let the SMTP client ask for DNSSEC. It needs a resolver on this host that validates (unbound, for example); \
                without one leave it, and set the level to may.";
    let by_service = client.tls_level.at.as_ref().is_some_and(|at| at.file.ends_with("/master.cf"));
    let fix = if by_service {
        let at = client.tls_level.at.as_ref();
        Fix::here(step).config(
            place(&client.tls_level).rsplit_once(':').map_or("", |(file, _)| file),
            at.map(|at| at.line),
            "-o smtp_dns_support_level=dnssec",
        )
    } else {
        Fix::here(step)
            .command(words.set("smtp_dns_support_level", "dnssec"))
            .config(
                words.main_cf(),
                client.dns_support.at.as_ref().map(|at| at.line),
                "smtp_dns_support_level = dnssec",
            )
            .undo(match client.dns_support.at {
                Some(_) => words.set("smtp_dns_support_level", &client.dns_support.value),
                None => words.show("smtp_dns_support_level").replacen("postconf", "postconf -X", 1),
            })
    };
    RULE.finding_as(
        severity,
        Subject::service(format!("{instance} smtp_tls_security_level")),
        format!("smtp_tls_security_level = {level} without DNSSEC lookups: {effect}."),
    )
    .confidence(0.97)
    .because(format!("smtp_tls_security_level = {level}"), place(&client.tls_level), pointer("tls_level"))
    .because(format!("smtp_dns_support_level is {support}."), place(&client.dns_support), pointer("dns_support"))
    .data("policy", level.clone())
    .data("services", services)
    .fix(fix.verify(words.show("smtp_dns_support_level")))
    .fix(Fix::here("Let the running server read it.").command(words.reload()))
    .reference("postconf(5), smtp_dns_support_level")
    .reference("RFC 7672 section 2.1")
}

/// A table of a server, and the list that names it.
struct At<'a> {
    instance: &'a str,
    server: &'a Server,
    name: &'a String,
    list: &'a Configured<Vec<String>>,
    table: &'a Table,
}

fn one_table(evidence: &Evidence, at: &At<'_>, judgement: &mut Judgement) {
    match (&at.table.bytes, &at.table.not_indexed) {
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => judgement.blind(&RULE, blind),
        (Seen::Absent, _) => judgement.find(missing(evidence, at)),
        (Seen::Value(_), Seen::Value(keys)) if !keys.is_empty() => judgement.find(stale(evidence, at, keys)),
        (Seen::Value(_), _) => {}
    }
}

/// Postfix cannot look a policy up, and keeps the mail: "TLS policy lookup … client TLS configuration problem".
fn missing(evidence: &Evidence, at: &At<'_>) -> Finding {
    let summary = format!(
        "{} names {}, and {} does not exist: no policy can be looked up, and all mail to other hosts waits.",
        at.list.setting, at.name, at.table.file
    );
    let finding = common(at, RULE.finding_as(Severity::Critical, Subject::file(&at.table.file), summary))
        .touches(Subject::service(format!("{} delivery", at.instance)));
    let words = Words::new(evidence, at.server);
    let fix = match &at.table.text {
        Seen::Value(_) => Fix::here("Make the index of the text that lies beside it.")
            .command(format!("postmap {}", shell_word(at.name))),
        Seen::Absent | Seen::Unknown(_) => {
            let fix =
                Fix::here("Put the table in place (and index it with postmap), or take its name out of the list.");
            let rest: Vec<&str> = at.list.value.iter().filter(|name| *name != at.name).map(String::as_str).collect();
            match &at.list.at {
                Some(place) => fix.config(
                    place.file.clone(),
                    Some(place.line),
                    format!("{} = {}", at.list.setting, rest.join(" ")),
                ),
                None => fix,
            }
        }
    };
    let look = format!("postmap -q example.com {}", shell_word(at.name));
    finding
        .fix(fix.verify(look))
        .fix(Fix::here("Try again what waits.").command(words.reload()).command("postqueue -f"))
}

fn stale(evidence: &Evidence, at: &At<'_>, keys: &[String]) -> Finding {
    let text = at.table.text.value().map_or("", String::as_str);
    let summary = format!(
        "{} is older than {text}, and lacks what the text says of {}: those policies have no effect.",
        at.table.file,
        keys.join(", ")
    );
    let finding = common(at, RULE.finding(Subject::file(&at.table.file), summary)).data("keys", keys.to_vec());
    let words = Words::new(evidence, at.server);
    finding
        .fix(Fix::here("Make the index anew.").command(format!("postmap {}", shell_word(at.name))).verify(format!(
            "postmap -q {} {}",
            keys.first().map_or_else(String::new, |key| shell_word(key)),
            shell_word(at.name)
        )))
        .fix(Fix::here("Let the running server open it.").command(words.reload()))
}

fn common(at: &At<'_>, finding: Finding) -> Finding {
    finding
        .confidence(0.95)
        .because(
            format!("{} = {}", at.list.setting, at.list.value.join(" ")),
            at.list.at.as_ref().map_or_else(|| at.server.config_dir.clone(), ToString::to_string),
            view::server_pointer(at.instance, &["clients"]),
        )
        .because(
            format!("{}: looked at.", at.table.file),
            "stat",
            view::server_pointer(at.instance, &["tables", at.name]),
        )
        .data("policy", at.list.setting.clone())
        .data("table", at.name.clone())
        .reference("postconf(5), smtp_tls_policy_maps")
}
