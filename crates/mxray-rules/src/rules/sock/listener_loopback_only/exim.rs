//! Exim: where the addresses stand that it listens on.

use super::first_port;
use crate::words::Words;
use crate::{exim, view};
use mxray_model::Finding;
use mxray_model::evidence::{Server, WantedListener};

/// `-oX` beats local_interfaces, which Debian makes of an answer.
pub(super) fn listen_on_all(
    finding: Finding,
    instance: &str,
    server: &Server,
    services: &[(&String, &WantedListener)],
    words: &Words<'_>,
) -> Finding {
    let by_option = services.iter().find(|(_, wanted)| wanted.at.file.starts_with("/etc/default/"));
    let (name, at) = match by_option {
        Some((_, wanted)) => ("SMTPLISTENEROPTIONS", Some(&wanted.at)),
        None => exim::written(server, "local_interfaces", "dc_local_interfaces"),
    };
    let every = if name == "local_interfaces" { "<; ::0 ; 0.0.0.0" } else { "" };
    let step = exim::change(
        server,
        words,
        "Let it listen on all addresses, and restart it: a reload does not change them.",
        (name, at),
        every,
        true,
    );
    finding
        .because(
            format!("{name} = {}", server.setting(if by_option.is_some() { "daemon options" } else { name })),
            at.map_or_else(|| server.config_dir.clone(), ToString::to_string),
            view::server_pointer(instance, &["settings"]),
        )
        .fix(step.verify(view::look_again(first_port(services))))
}
