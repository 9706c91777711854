//! A socket that Dovecot would make for another mail server of this host: whether its configuration has it, and the lines
//! that give it one.

use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Endpoint, Helper, HelperKind, Server};
use mxray_model::{Evidence, Finding, Fix, Seen, Subject};

/// Is Dovecot the one who makes this socket? Its instance, and whether its configuration has it.
fn provider<'a>(evidence: &'a Evidence, helper: &Helper) -> Option<(&'a String, &'a Server, bool)> {
    let mut servers = view::enabled(evidence.servers.value()?).filter(|(_, server)| view::is_dovecot(server));
    let (instance, server) = servers.next()?;
    let offered = match &helper.endpoint {
        Endpoint::Unix { path } => server.offered.keys().any(|own| view::same_socket(own, path)),
        Endpoint::Inet { port, .. } => server.wanted.values().any(|wanted| wanted.port == *port),
    };
    // A socket that nobody makes: who asks for logins by Dovecot's protocol, or names Dovecot, means this one.
    let meant = match (&helper.endpoint, helper.kind) {
        (Endpoint::Unix { .. }, HelperKind::Sasl) => !helper.setting.contains("saslauthd"),
        (Endpoint::Unix { path }, HelperKind::Delivery) => path.contains("dovecot") || path.ends_with("/lmtp"),
        _ => false,
    };
    (offered || meant).then_some((instance, server, offered))
}

/// Adds what Dovecot's own configuration says of the socket, and the fix that fits. `None`: not Dovecot's.
pub fn explained(evidence: &Evidence, user: &Server, helper: &Helper, finding: &Finding) -> Option<Finding> {
    let (instance, server, offered) = provider(evidence, helper)?;
    let words = Words::new(evidence, server);
    let finding = finding.clone().touches(Subject::service(instance));
    let finding = match (&helper.kind, helper.state.value()) {
        (HelperKind::Sasl, _) => finding.touches(Subject::service(format!("{instance} auth"))),
        _ => finding,
    };
    // A process that is stopped is there: its fix is another one.
    if !helper.state.is_absent() {
        return Some(finding);
    }
    let Endpoint::Unix { path } = &helper.endpoint else { return Some(finding) };
    if offered {
        let step = match &server.master {
            Seen::Value(_) => {
                Fix::here("Dovecot runs and its configuration has the socket: restart it, so that it makes it anew.")
                    .command(words.check())
                    .command(words.restart())
            }
            Seen::Absent | Seen::Unknown(_) => {
                Fix::here("Start Dovecot, which makes the socket.").command(words.check()).command(words.start())
            }
        };
        return Some(finding.fix(step.verify("mxray doctor")));
    }
    let service = if helper.kind == HelperKind::Sasl { "auth" } else { "lmtp" };
    let finding = finding.because(
        format!("No service of Dovecot has a unix_listener {path}."),
        server.configured_by.clone(),
        view::server_pointer(instance, &["offered"]),
    );
    let owner = user.setting("mail_owner");
    let owner = if owner.is_empty() { "postfix" } else { owner };
    let mode = if service == "auth" { "0660" } else { "0600" };
    let lines = format!(
        "service {service} {{\n  unix_listener {path} {{\n    mode = {mode}\n    user = {owner}\n    group = {owner}\n  }}\n}}"
    );
    let step = Fix::here(format!("Let Dovecot make the socket that {} names.", helper.setting))
        .config(words.dovecot_conf(), None, lines)
        .command(words.check())
        .command(words.reload())
        .undo(format!("take the lines out of {} again, then {}", words.dovecot_conf(), words.reload()))
        .verify("mxray doctor");
    let finding = finding.fix(step);
    let enabled = service != "lmtp" || view::list(server.setting("protocols")).contains(&"lmtp");
    Some(if enabled {
        finding
    } else {
        finding.fix(
            Fix::here("Enable LMTP: protocols does not name it.")
                .config(
                    server.set_at("protocols").map_or_else(|| words.dovecot_conf(), |at| at.file.clone()),
                    server.set_at("protocols").map(|at| at.line),
                    format!("protocols = {} lmtp", server.setting("protocols")),
                )
                .command(words.reload()),
        )
    })
}
