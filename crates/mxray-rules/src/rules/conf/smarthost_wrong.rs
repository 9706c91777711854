//! CONF102: the host that everything is handed to does not exist, refuses us, or does not take our login.

use crate::outside::{self, Contact};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{
    Configured, DialOutcome, DnsOutcome, EndpointWhy, ExaminedEndpoint, Lookup, Server, Session,
};
use mxray_model::session::{Reply, SmtpSession};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "CONF102",
    name: "smarthost-wrong",
    severity: Severity::Critical,
    since: "0.2.0",
    summary: "the host that all mail is handed to does not exist, refuses, or does not take the login",
    page: include_str!("smarthost_wrong.md"),
    check,
};

/// What is wrong with one place that mail is handed to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wrong {
    /// The name does not exist, or has no address.
    NoSuchHost { told: String, pointer: String },
    /// Its port is closed.
    Closed { pointer: String },
    /// It greets with a refusal.
    Refuses { said: String, pointer: String },
    /// It does not take the login.
    Login { said: String, pointer: String },
}

/// What one place came to.
enum State {
    Bad(Wrong),
    Well,
    Blind(Blind),
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        // A smarthost on this machine is a service of this machine, and other rules' business.
        let ours = evidence.endpoints.iter().filter(|(_, endpoint)| {
            let is_it = |why: &EndpointWhy| matches!(why, EndpointWhy::Smarthost { server } if server == instance);
            endpoint.why.iter().any(is_it)
        });
        let (mut bad, mut blind, mut well) = (Vec::new(), None, 0u32);
        for (key, endpoint) in ours {
            match state(evidence, server, key, endpoint) {
                State::Bad(wrong) => bad.push((key, endpoint, wrong)),
                State::Well => well += 1,
                State::Blind(why) => blind = Some(why),
            }
        }
        match (bad.first(), blind) {
            // One that works takes the mail of those that do not (RFC 5321 section 5.1; all servers try the next one).
            _ if well > 0 => {
                judgement.well(format!("{instance}: the host that it hands its mail to takes our sessions"));
            }
            (_, Some(why)) => judgement.blind(&RULE, &why),
            (Some((key, endpoint, wrong)), None) => {
                judgement.find(finding(evidence, (instance, server), (key, endpoint), wrong, bad.len()));
            }
            (None, None) if !server.egress.smarthosts.is_empty() => {
                judgement.blind(&RULE, &Blind::NotAttempted { why: "the smarthost was not connected to".to_owned() });
            }
            (None, None) => {}
        }
    }
    Ok(judgement)
}

/// One endpoint: bad where every address is.
fn state(evidence: &Evidence, server: &Server, key: &str, endpoint: &ExaminedEndpoint) -> State {
    match &endpoint.resolved {
        Seen::Unknown(blind) => return State::Blind(blind.clone()),
        Seen::Absent => {
            let (told, pointer) = nowhere(evidence, key, endpoint);
            return State::Bad(Wrong::NoSuchHost { told, pointer });
        }
        Seen::Value(_) => {}
    }
    let (mut bad, mut blind) = (None, None);
    for contact in outside::contacts(key, endpoint) {
        match at(server, contact) {
            State::Well => return State::Well,
            State::Bad(wrong) => bad = bad.or(Some(wrong)),
            State::Blind(why) => blind = blind.or(Some(why)),
        }
    }
    match (blind, bad) {
        (None, Some(wrong)) => State::Bad(wrong),
        (Some(why), _) => State::Blind(why),
        (None, None) => State::Blind(Blind::NotAttempted { why: format!("{key} was not connected to") }),
    }
}

/// What the name servers say of a name that leads nowhere.
fn nowhere(evidence: &Evidence, key: &str, endpoint: &ExaminedEndpoint) -> (String, String) {
    let asked = Lookup::key("A", &endpoint.host);
    match evidence.lookups.get(&asked) {
        Some(lookup) => {
            let told = match lookup.outcome {
                DnsOutcome::NoSuchName => format!("The name {} does not exist (NXDOMAIN).", endpoint.host),
                _ => format!("The name {} has no address.", endpoint.host),
            };
            (told, view::pointer(["lookups", &asked]))
        }
        None => (format!("The name {} leads nowhere.", endpoint.host), view::pointer(["endpoints", key, "resolved"])),
    }
}

fn at(server: &Server, contact: Contact<'_>) -> State {
    let silent = |what: &str| Blind::NotAttempted { why: format!("{}: {what}", contact.name()) };
    match &contact.seen.dial.outcome {
        // Whoever sent an ICMP message stands on the way, or is the host's own filter: not the relay's word.
        DialOutcome::Refused if contact.seen.dial.icmp.value().is_none() => {
            return State::Bad(Wrong::Closed { pointer: contact.pointer(&["dial"]) });
        }
        DialOutcome::Connected => {}
        other => return State::Blind(silent(other.as_str())),
    }
    match &contact.seen.session {
        Seen::Value(Session::Smtp(session)) => told(server, contact, session),
        Seen::Value(Session::Mailbox(_)) => State::Blind(silent("it speaks no SMTP")),
        Seen::Absent => State::Blind(silent("no session was held")),
        Seen::Unknown(blind) => State::Blind(blind.clone()),
    }
}

/// A relay that says no to us says it of our mail, whatever its reason.
fn told(server: &Server, contact: Contact<'_>, session: &SmtpSession) -> State {
    let pointer = |step: &str| contact.pointer(&["session", "value", "smtp", step]);
    match &session.greeting {
        Seen::Value(reply) if reply.is_permanent() => {
            State::Bad(Wrong::Refuses { said: said(reply), pointer: pointer("greeting") })
        }
        Seen::Value(reply) if reply.is_positive() => match session.auth.value().and_then(|login| login.reply.value()) {
            // 535: the credentials are wrong; 454 and other 4yz say nothing of them (RFC 4954 section 6).
            Some(reply) if reply.code == 535 => {
                State::Bad(Wrong::Login { said: said(reply), pointer: pointer("auth") })
            }
            Some(reply) if reply.is_transient() => State::Blind(contact.cut_short(&session.ending, Some(said(reply)))),
            Some(_) => State::Well,
            None => match &session.auth {
                Seen::Unknown(blind) if logs_in(server) => State::Blind(blind.clone()),
                _ => State::Well,
            },
        },
        Seen::Value(reply) => State::Blind(contact.cut_short(&session.ending, Some(said(reply)))),
        Seen::Absent | Seen::Unknown(_) => State::Blind(contact.cut_short(&session.ending, None)),
    }
}

/// The files with its logins, of servers that have no command which shows them.
fn login_files(server: &Server) -> Vec<&str> {
    if server.software == "postfix" {
        return Vec::new();
    }
    let logins = server.clients.values().filter_map(|client| client.login.as_ref());
    logins.flat_map(|login| &login.tables.value).map(String::as_str).collect()
}

/// The server logs in at its smarthost, as far as its configuration says.
fn logs_in(server: &Server) -> bool {
    server.clients.values().any(|client| client.login.is_some())
}

/// Code and text of a reply on one line.
fn said(reply: &Reply) -> String {
    let lines: Vec<String> = reply.lines.iter().map(|line| untrusted(&line.0)).collect();
    format!("{} {}", reply.code, lines.join(" "))
}

fn finding(
    evidence: &Evidence,
    (instance, server): (&str, &Server),
    (key, endpoint): (&String, &ExaminedEndpoint),
    wrong: &Wrong,
    places: usize,
) -> Finding {
    let host = format!("{}:{}", endpoint.host, endpoint.port);
    let (what, kind, because, pointer) = match wrong {
        Wrong::NoSuchHost { told, pointer } => ("does not exist", "no-such-host", told.clone(), pointer),
        Wrong::Closed { pointer } => {
            ("takes no connections", "closed", format!("{host} answers a connection with a reset."), pointer)
        }
        Wrong::Refuses { said, pointer } => ("refuses us", "refuses", format!("It greets with: {said}"), pointer),
        Wrong::Login { said, pointer } => {
            ("does not take our login", "login", format!("It answers the login with: {said}"), pointer)
        }
    };
    let mut finding = RULE
        .finding(
            Subject::endpoint(key),
            format!("{instance} hands all of its mail to {host}, which {what}: nothing leaves this host."),
        )
        .confidence(if matches!(wrong, Wrong::Closed { .. }) { 0.9 } else { 0.95 })
        .touches(Subject::service(instance))
        .because(because, "DNS and sessions", pointer.clone())
        .data("host", endpoint.host.clone())
        .data("port", endpoint.port)
        .data("what", kind)
        .data("places", places);
    let configured = server.egress.smarthosts.first();
    if let Some(set) = configured {
        let place = set.at.as_ref().map_or_else(|| server.config_dir.clone(), ToString::to_string);
        finding = finding
            .because(
                format!("{} = {}", set.setting, set.value),
                place,
                view::server_pointer(instance, &["egress", "smarthosts"]),
            )
            .data("setting", set.setting.clone());
    }
    fixes(evidence, finding, server, wrong, configured)
        .reference("RFC 5321 section 5.1")
        .reference(if server.software == "postfix" { "postconf(5), relayhost" } else { "RFC 4954 section 6" })
}

fn fixes(
    evidence: &Evidence,
    finding: Finding,
    server: &Server,
    wrong: &Wrong,
    configured: Option<&Configured<String>>,
) -> Finding {
    let words = Words::new(evidence, server);
    let again = "mxray doctor";
    let text = match wrong {
        Wrong::NoSuchHost { .. } => {
            "Name a host that exists. A name in brackets is looked up by its address, one without by its MX records."
        }
        Wrong::Closed { .. } => {
            "Name the host and the port at which your provider takes mail from you: 587 or 465 with a login, seldom 25."
        }
        Wrong::Refuses { .. } => {
            "Ask its operator what the refusal is about: most relays take mail from known addresses only, or after a login on port 587."
        }
        Wrong::Login { .. } => {
            "Put the right user and password where the server looks for them, and have it read them anew."
        }
    };
    let text = match (wrong, login_files(server)) {
        (Wrong::Login { .. }, files) if !files.is_empty() => format!("{text} It looks in {}.", files.join(", ")),
        _ => text.to_owned(),
    };
    let mut fix = Fix::here(text).verify(again);
    if words.is_postfix() {
        fix = match wrong {
            Wrong::Login { .. } => fix.command(words.show("smtp_sasl_password_maps")),
            _ => {
                let old = configured.map_or("", |set| set.value.as_str());
                fix.command(words.set("relayhost", "[SMARTHOST]:PORT")).undo(words.set("relayhost", old))
            }
        };
        fix = fix.command(words.reload());
    } else if matches!(wrong, Wrong::Login { .. }) {
        fix = fix.command(words.reload());
    } else if let Some(set) = configured {
        let (file, line) = match &set.at {
            Some(at) => (at.file.clone(), Some(at.line)),
            None => (server.config_dir.clone(), None),
        };
        fix = fix.config(file, line, format!("{}: the right host", set.setting)).command(words.reload());
    }
    finding.fix(fix)
}
