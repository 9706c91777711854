//! Logins in clear, and the lines by which each server software is told about logins. Several rules ask the same of
//! different protocols; no judgement about a protocol lives here.

use crate::exim;
use crate::outside::{self, Contact};
use crate::words::Words;
use mxray_model::evidence::{ExaminedEndpoint, Helper, HelperKind, Server, WantedListener};
use mxray_model::session::{Extension, MailboxSession};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Subject};
use std::collections::BTreeMap;

/// Mechanisms that carry the password as it is (RFC 4616; LOGIN was never standardised).
pub const IN_CLEAR: [&str; 2] = ["PLAIN", "LOGIN"];

/// Those of an announcement that carry the password as it is.
pub fn in_clear(extension: &Extension) -> Vec<String> {
    let upper = extension.parameters.iter().map(|word| word.to_ascii_uppercase());
    upper.filter(|word| IN_CLEAR.contains(&word.as_str())).collect()
}

/// Whether this session tells what others would be offered: a service that only this machine reaches has no path on which
/// anybody could listen.
pub fn concerns_nobody(evidence: &Evidence, contact: Contact<'_>) -> bool {
    let public = outside::own(evidence, contact.endpoint).is_some_and(|(_, _, wanted)| !wanted.is_loopback_only());
    outside::is_implicit_tls(contact.endpoint) || (contact.is_loopback() && !public)
}

/// What was announced before TLS, in a mailbox protocol. `Err`: why nobody knows.
///
/// # Errors
/// Why nobody knows.
pub fn announced_in_clear<'a>(
    contact: Contact<'_>,
    session: &'a MailboxSession,
) -> Result<&'a BTreeMap<String, Extension>, Blind> {
    match session.capabilities.iter().find(|list| !list.tls).map(|list| &list.listed) {
        Some(Seen::Value(listed)) => Ok(listed),
        Some(Seen::Absent) => {
            Err(Blind::NotAttempted { why: format!("{} does not know how to list what it offers", contact.name()) })
        }
        Some(Seen::Unknown(blind)) => Err(Blind::NotAttempted { why: format!("{}: {}", contact.name(), blind.why()) }),
        None => {
            let greeting = session.greeting.value().filter(|greeting| !greeting.ok);
            Err(contact.cut_short(&session.ending, greeting.map(crate::replies::answered)))
        }
    }
}

/// Dovecot takes whoever comes from its own address for secured (Settings: disable_plaintext_auth, auth_allow_cleartext), so
/// that a session from there does not show what others get; then its configuration decides. `None`: the session does.
pub fn by_configuration(evidence: &Evidence, contact: Contact<'_>) -> Option<Result<bool, Blind>> {
    if !contact.from_same_host() {
        return None;
    }
    let of_dovecot = |server: &Server, wanted: &WantedListener| {
        let set = |name: &str| server.setting_of(wanted, name).to_owned();
        match (set("auth_allow_cleartext").as_str(), set("disable_plaintext_auth").as_str()) {
            ("yes", _) | (_, "no") => Some(true),
            ("no", _) | (_, "yes") => Some(false),
            _ => None,
        }
    };
    match outside::own(evidence, contact.endpoint) {
        Some((_, server, _)) if server.software != "dovecot" => None,
        Some((_, server, wanted)) if of_dovecot(server, wanted).is_some() => of_dovecot(server, wanted).map(Ok),
        _ => Some(Err(asked_from_here(contact))),
    }
}

/// Whoever comes from the machine itself may be told another tale.
pub fn asked_from_here(contact: Contact<'_>) -> Blind {
    Blind::Elsewhere {
        why: format!(
            "{} was asked from the machine that it runs on, which some servers (Dovecot) trust more than others",
            contact.name()
        ),
        look: format!("{} from another machine", outside::probe_command(contact.endpoint, "")),
    }
}

/// The step after which passwords are taken under TLS alone.
pub fn only_under_tls(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Fix {
    let again = outside::probe_command(endpoint, "");
    let text = "Take passwords under TLS only (with a certificate and STARTTLS in place first).";
    let Some((_, server, wanted)) = outside::own(evidence, endpoint) else {
        return outside::step(
            endpoint,
            "Offer no login before TLS (Postfix: smtpd_tls_auth_only = yes; Dovecot: disable_plaintext_auth = yes, from 2.4 on auth_allow_cleartext = no; others likewise).",
        )
        .verify(again);
    };
    let words = Words::new(evidence, server);
    let fix = match server.software.as_str() {
        "postfix" => {
            return outside::postfix_setting(evidence, endpoint, text, "smtpd_tls_auth_only", "yes")
                .unwrap_or_else(|| Fix::here(text).command(words.set("smtpd_tls_auth_only", "yes")).verify(again));
        }
        "dovecot" => {
            let (name, value) =
                if is_dovecot_2_4(server) { ("auth_allow_cleartext", "no") } else { ("disable_plaintext_auth", "yes") };
            // Where a protocol has its own word, only that one counts.
            let path = if wanted.overrides.contains_key(name) {
                format!("protocol/{}", endpoint.protocol.as_str())
            } else {
                String::new()
            };
            words.nested_fix(text, &path, &[(name, value.to_owned())])
        }
        "exim" => {
            let place = ("auth_advertise_hosts", server.set_at("auth_advertise_hosts"));
            exim::change(server, &words, text, place, "${if eq{$tls_in_cipher}{}{}{*}}", false)
        }
        _ => other_line(text, server, wanted, &words),
    };
    fix.verify(again)
}

/// OpenSMTPD and Sendmail, whose listeners say it in their own line.
fn other_line(text: &str, server: &Server, wanted: &WantedListener, words: &Words<'_>) -> Fix {
    let (file, line) = (wanted.at.file.clone(), Some(wanted.at.line));
    let fix = if server.software == "opensmtpd" {
        Fix::here(text).config(file, line, "listen on … tls-require auth")
    } else {
        // `p`: no mechanism that can be read on the way, unless TLS protects it (Sendmail Operation Guide 5.6, AuthOptions).
        Fix::here(text).config(file, None, "define(`confAUTH_OPTIONS', `A p y')dnl")
    };
    fix.command(words.check()).command(words.restart()).undo(format!("put {} back as it was, and restart", wanted.at))
}

/// The step after which a submission service goes on under TLS alone.
pub fn require_tls(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Fix {
    let again = outside::probe_command(endpoint, "");
    let text = "Take mail on this port under TLS only.";
    let Some((_, server, wanted)) = outside::own(evidence, endpoint) else {
        return outside::step(
            endpoint,
            "Take mail on this port under TLS only (Postfix: -o smtpd_tls_security_level=encrypt below the service in master.cf), or offer port 465.",
        )
        .verify(again);
    };
    let words = Words::new(evidence, server);
    let fix = match server.software.as_str() {
        // For this service alone: port 25 must take mail without TLS (RFC 3207 section 4).
        "postfix" => words
            .override_fix(text, wanted, "smtpd_tls_security_level", "encrypt")
            .command(words.reload()),
        "exim" => Fix::here(text)
            .config(server.config_dir.clone(), None, "acl_smtp_mail: deny condition = ${if eq{$interface_port}{587}} !encrypted = * message = 530 Must issue a STARTTLS command first")
            .command(words.check())
            .command(words.reload())
            .undo("take the lines out again, and reload"),
        _ => other_line(text, server, wanted, &words),
    };
    fix.verify(again)
}

/// The step after which a submission service offers logins.
pub fn offer_logins(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Fix {
    let again = outside::probe_command(endpoint, "");
    let Some((_, server, wanted)) = outside::own(evidence, endpoint) else {
        return outside::step(endpoint, "Offer AUTH on this port under TLS, or close the port.").verify(again);
    };
    let words = Words::new(evidence, server);
    let text = "Switch logins on for this service.";
    let fix = match server.software.as_str() {
        "postfix" if is_on(server.setting_of(wanted, "smtpd_sasl_auth_enable")) => Fix::here(
            "Logins are switched on, and the service has nothing to offer: name the service that checks passwords (smtpd_sasl_type, smtpd_sasl_path) and look at what it offers.",
        )
        .command(words.show("smtpd_sasl_type"))
        .command(words.show("smtpd_sasl_path"))
        .undo("nothing is changed by this step"),
        "postfix" => words.override_fix(text, wanted, "smtpd_sasl_auth_enable", "yes").command(words.reload()),
        "exim" => {
            let place = ("auth_advertise_hosts", server.set_at("auth_advertise_hosts"));
            let text = "Offer logins under TLS, with an authenticator for your users (section `begin authenticators`).";
            exim::change(server, &words, text, place, "${if eq{$tls_in_cipher}{}{}{*}}", false)
        }
        _ => other_line(text, server, wanted, &words),
    };
    fix.verify(again)
}

/// The services that check passwords for the service behind an endpoint.
pub fn sasl_of<'a>(evidence: &'a Evidence, endpoint: &ExaminedEndpoint) -> Vec<&'a Helper> {
    let Some((_, server, wanted)) = outside::own(evidence, endpoint) else { return Vec::new() };
    let needed = |helper: &&Helper| {
        let named = helper.needed_by.iter().any(|key| server.wanted.get(key) == Some(wanted));
        helper.kind == HelperKind::Sasl && (helper.needed_by.is_empty() || named)
    };
    server.helpers.values().filter(needed).collect()
}

/// Lets a finding fold under the fault of the service that checks passwords (SOCK114).
pub fn touching_sasl(mut finding: Finding, evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Finding {
    for helper in sasl_of(evidence, endpoint) {
        finding = finding.touches(Subject::endpoint(helper.endpoint.to_string()));
    }
    finding
}

pub fn is_on(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("yes")
}

fn is_dovecot_2_4(server: &Server) -> bool {
    let by_version = server.version.value().map(|version| crate::support::numbers(version));
    by_version.map_or_else(|| server.settings.contains_key("dovecot_config_version"), |numbers| numbers >= vec![2, 4])
}
