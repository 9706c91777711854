//! A socket that is there, and that its permissions keep from the one who has to open it.

use crate::view;
use mxray_model::evidence::{Barred, Endpoint, Helper, HelperKind};
use mxray_model::{Evidence, Finding, Fix};

/// Adds which step is closed, to whom, and the lines that open it.
pub fn told(
    evidence: &Evidence,
    instance: &str,
    key: &str,
    helper: &Helper,
    barred: &Barred,
    finding: Finding,
) -> Finding {
    let user = helper.connects_as.value().map_or("postfix", |account| account.name.as_str());
    let Barred { path, mode, owner, group, .. } = barred;
    let may_not = if barred.directory { "pass" } else { "write to" };
    let finding = finding.because(
        format!("{user} may not {may_not} {path} (mode {mode}, owner {owner}, group {group})."),
        path.clone(),
        view::server_pointer(instance, &["helpers", key, "state", "value", "barred"]),
    );
    // What Dovecot makes anew at each start has its permissions in Dovecot's configuration.
    if let (HelperKind::Sasl | HelperKind::Delivery, Endpoint::Unix { path: socket }, false) =
        (helper.kind, &helper.endpoint, barred.directory)
        && let Some(at) = offered(evidence, socket)
    {
        let (file, line) = at;
        return finding.fix(
            Fix::here(format!("Let Dovecot make the socket for {user}: in its unix_listener, then reload."))
                .config(file, line, format!("mode = 0660\nuser = {user}\ngroup = {user}"))
                .command("doveadm reload")
                .verify("mxray doctor"),
        );
    }
    let fix = if barred.group_may && group != "root" {
        Fix::here(format!("Make {user} a member of the group {group}, which may."))
            .command(format!("usermod -a -G {group} {user}"))
            .command("postfix reload")
            .undo(format!("gpasswd -d {user} {group}"))
    } else if barred.directory {
        Fix::here(format!("Let {user} pass the directory."))
            .command(format!("chgrp {user} {path}"))
            .command(format!("chmod g+x {path}"))
            .undo(format!("chgrp {group} {path}; chmod {mode} {path}"))
    } else {
        Fix::here(format!(
            "Let the service make its socket for the group of {user} (opendkim: UMask 007 and Group {user}; rspamd: mode=0660 \
             group={user} in bind_socket), then restart it. What chmod changes lasts until its next start."
        ))
        .command(format!("chgrp {user} {path}"))
        .command(format!("chmod g+rw {path}"))
        .undo(format!("chgrp {group} {path}; chmod {mode} {path}"))
    };
    finding.fix(fix.verify("mxray doctor"))
}

/// Where Dovecot's configuration has the socket.
fn offered(evidence: &Evidence, socket: &str) -> Option<(String, Option<u32>)> {
    let servers = view::enabled(evidence.servers.value()?).filter(|(_, server)| view::is_dovecot(server));
    for (_, dovecot) in servers {
        let mut own = dovecot.offered.iter();
        if let Some((_, offered)) = own.find(|(path, _)| view::same_socket(path, socket)) {
            let at = offered.at.as_ref();
            return Some((
                at.map_or_else(|| dovecot.configured_by.clone(), |at| at.file.clone()),
                at.map(|at| at.line),
            ));
        }
    }
    None
}
