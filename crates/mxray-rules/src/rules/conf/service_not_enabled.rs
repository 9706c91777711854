//! CONF103: users are expected to send through this server, and no submission service is enabled.

use crate::exim;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Purpose, Server};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

mod dovecot;

pub const RULE: Rule = Rule {
    code: "CONF103",
    name: "service-not-enabled",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "submission or mailbox access is expected and not enabled",
    page: include_str!("service_not_enabled.md"),
    check,
};

const SUBMISSION_PORTS: [u16; 2] = [587, 465];

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    // Users may be told any port; only logins on port 25 alone are another matter.
    let submits = |server: &Server| {
        server.wanted.values().any(|w| match w.purpose {
            Purpose::Submission | Purpose::Submissions => true,
            Purpose::Relay if w.port == 25 => false,
            _ => !w.is_loopback_only() && server.setting_of(w, "smtpd_sasl_auth_enable").trim() == "yes",
        })
    };
    // One instance of several may take all submission; so may another program on the same ports.
    let enabled = view::enabled(servers).any(|(_, server)| submits(server));
    let served = SUBMISSION_PORTS.iter().any(|port| !view::listeners_on(sockets, *port).is_empty());
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers).filter(|(_, server)| view::is_dovecot(server)) {
        match dovecot::missing_access(evidence, instance, server, sockets) {
            Some(finding) => judgement.find(finding),
            None => judgement
                .well(format!("{instance}: mailboxes can be reached, or nothing says that users read them here")),
        }
    }
    if enabled || served {
        judgement.well("submission is enabled");
        return Ok(judgement);
    }
    for (instance, server) in view::enabled(servers).filter(|(_, server)| !view::is_dovecot(server)) {
        // A service that is there and switched off is CONF101's.
        if ["submission", "submissions", "smtps"].iter().any(|service| view::is_disabled(server, service)) {
            continue;
        }
        match expected(evidence, instance, server) {
            Some(sign) => judgement.find(finding(evidence, instance, server, sign)),
            None => judgement.well(format!("{instance}: nothing says that users send through it")),
        }
    }
    Ok(judgement)
}

/// What says that users are meant to send here.
struct Sign {
    text: String,
    source: String,
    pointer: String,
}

fn expected(evidence: &Evidence, instance: &str, server: &Server) -> Option<Sign> {
    if evidence.declared.submission_user {
        return Some(Sign {
            text: "mxray's configuration names a user who submits here ([submission] user).".to_owned(),
            source: "mxray.toml".to_owned(),
            pointer: view::pointer(["declared", "submission_user"]),
        });
    }
    let parameter = view::logins_sign(server)?;
    Some(Sign {
        text: format!("Logins are configured: {parameter} = {}.", server.setting(parameter)),
        source: server.set_at(parameter).map_or_else(|| server.config_dir.clone(), ToString::to_string),
        pointer: view::server_pointer(instance, &["settings", parameter]),
    })
}

/// Users of an old set-up may log in on port 25: then this is a risk, not an outage.
fn logs_in_on_25(server: &Server) -> bool {
    server.wanted.values().any(|w| w.port == 25 && server.setting_of(w, "smtpd_sasl_auth_enable").trim() == "yes")
}

fn finding(evidence: &Evidence, instance: &str, server: &Server, sign: Sign) -> Finding {
    let words = Words::new(evidence, server);
    let on_25 = logs_in_on_25(server);
    let severity = if on_25 { Severity::Warning } else { Severity::Critical };
    let except = if on_25 { "; logins are offered on port 25 only" } else { "" };
    let unread = server.master == Seen::Absent;
    RULE.finding_as(
        severity,
        Subject::service(format!("{instance} submission")),
        format!("Users cannot send through {instance}: neither port 587 nor 465 is enabled, although logins are configured{except}."),
    )
    .confidence(if unread { 0.7 } else { 0.85 })
    .touches(view::port_scope(587))
    .because(sign.text, sign.source, sign.pointer)
    .because(
        format!("{} enables no service on port 587 or 465.", words.master_cf()),
        words.master_cf(),
        view::server_pointer(instance, &["wanted"]),
    )
    .because("Nothing listens on port 587 or 465.", "sock_diag", view::pointer(["sockets", "value", "listeners"]))
    .data("ports", SUBMISSION_PORTS.to_vec())
    .data("logins_on_25", on_25)
    .fix(enable(server, &words))
    .reference("RFC 6409")
    .reference("RFC 8314 section 3.3")
}

fn enable(server: &Server, words: &Words<'_>) -> Fix {
    if server.software == "exim" {
        let ports = format!("{} : 587", server.setting("daemon_smtp_ports"));
        let place = ("daemon_smtp_ports", server.set_at("daemon_smtp_ports"));
        let text = "Let the daemon listen on port 587, too, with an authenticator for your users, and restart it.";
        return exim::change(server, words, text, place, &ports, true).verify(view::look_again(587));
    }
    Fix::here("Enable submission, with TLS and login required, then let the running server open it.")
        .command(words.set_service_line("submission/inet", "submission inet n - y - - smtpd"))
        .command(words.set_override("submission/inet", "smtpd_tls_security_level", "encrypt"))
        .command(words.set_override("submission/inet", "smtpd_sasl_auth_enable", "yes"))
        .command(words.set_override("submission/inet", "smtpd_relay_restrictions", "permit_sasl_authenticated,reject"))
        .command(words.reload())
        .config(words.master_cf(), None, "submission inet n - y - - smtpd")
        .undo(words.remove_service("submission/inet"))
        .verify(view::look_again(587))
}
