//! Mailboxes that nobody can read: users send through this host and their mail is delivered to Dovecot here, IMAP or POP3
//! is installed, and no listener of either is configured.
//!
//! A Dovecot that only checks logins, or only takes deliveries, is everyday: each sign alone says nothing.

use super::RULE;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Endpoint, HelperKind, Purpose, Server, Sockets};
use mxray_model::{Evidence, Finding, Severity, Subject};

const MAILBOX_PORTS: [u16; 4] = [143, 993, 110, 995];
/// Protocol, service, and its two listeners with their ports.
type Access = (&'static str, &'static str, [(&'static str, u16); 2]);
const ACCESS: [Access; 2] =
    [("imap", "imap-login", [("imap", 143), ("imaps", 993)]), ("pop3", "pop3-login", [("pop3", 110), ("pop3s", 995)])];

pub fn missing_access(evidence: &Evidence, instance: &str, server: &Server, sockets: &Sockets) -> Option<Finding> {
    let reads = |server: &Server| {
        server
            .wanted
            .values()
            .any(|w| w.purpose == Purpose::Mailbox && view::list("imap-login pop3-login").contains(&w.command.as_str()))
    };
    let served = MAILBOX_PORTS.iter().any(|port| !view::listeners_on(sockets, *port).is_empty());
    if reads(server) || served {
        return None;
    }
    let installed = |service: &str| server.settings.contains_key(&format!("service/{service}/executable"));
    let (protocol, service, listeners) = *ACCESS.iter().find(|(_, service, _)| installed(service))?;
    let (sender, delivery) = delivers_here(evidence, server)?;
    let words = Words::new(evidence, server);
    let [plain, tls] = listeners;
    let enabled = view::list(server.setting("protocols")).contains(&protocol);
    let (why, at) = if enabled {
        let why = format!("All listeners of {service} are switched off (port = 0).");
        (why, server.set_at("protocols").map_or_else(|| server.configured_by.clone(), ToString::to_string))
    } else {
        let value = server.setting("protocols");
        let at = server.set_at("protocols").map_or_else(|| server.configured_by.clone(), ToString::to_string);
        (format!("protocols = {value}: it does not name {protocol}, which is installed."), at)
    };
    let finding = RULE
        .finding_as(
            Severity::Critical,
            Subject::service(format!("{instance} {protocol}")),
            format!("Users cannot read their mail: neither IMAP nor POP3 is enabled in {instance}, although mail is delivered to it here."),
        )
        .confidence(0.75)
        .touches(view::port_scope(plain.1))
        .touches(view::port_scope(tls.1))
        .because(why, at, view::server_pointer(instance, &["settings", "protocols"]))
        .because(delivery, sender.0, sender.1)
        .because(
            "Nothing listens on port 143, 993, 110 or 995.",
            "sock_diag",
            view::pointer(["sockets", "value", "listeners"]),
        )
        .data("ports", vec![plain.1, tls.1])
        .data("logins_on_25", false)
        .reference("doveconf(1)");
    let step = if enabled {
        words.nested_fix(
            "Give the listener its port back.",
            &format!("service/{service}/inet_listener/{}", tls.0),
            &[("port", tls.1.to_string())],
        )
    } else {
        let value = format!("{} {protocol}", server.setting("protocols"));
        words.nested_fix(
            &format!("Enable {protocol}, then let Dovecot open its ports."),
            "",
            &[("protocols", value.trim().to_owned())],
        )
    };
    Some(finding.fix(step.verify(view::look_again(tls.1))))
}

/// The parameter by which another server of this host hands mail to Dovecot, with its place, where users also send.
fn delivers_here(evidence: &Evidence, dovecot: &Server) -> Option<((String, String), String)> {
    let servers = evidence.servers.value()?;
    view::enabled(servers).filter(|(_, server)| !view::is_dovecot(server)).find_map(|(name, server)| {
        let users = server.wanted.values().any(|wanted| {
            matches!(wanted.purpose, Purpose::Submission | Purpose::Submissions) && !wanted.is_loopback_only()
        });
        let (key, helper) = server.helpers.iter().find(|(_, helper)| {
            helper.kind == HelperKind::Delivery
                && matches!(&helper.endpoint, Endpoint::Unix { path }
                    if dovecot.offered.keys().any(|own| view::same_socket(own, path)))
        })?;
        let source = helper.at.as_ref().map_or_else(|| server.config_dir.clone(), ToString::to_string);
        let text =
            format!("{name} takes mail of its users and hands what it delivers to Dovecot ({}).", helper.setting);
        users.then(|| ((source, view::server_pointer(name, &["helpers", key])), text))
    })
}
