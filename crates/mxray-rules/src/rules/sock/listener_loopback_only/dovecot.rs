//! Dovecot's listeners on loopback. A server whose mailboxes a webmail of this host reads listens there on purpose; one
//! that is open to others with IMAP and shut with IMAPS does not.

use super::{RULE, base, first_port, listens_on_loopback_only, stale, undeclared};
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Purpose, Server, Sockets, TlsMode, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Severity};

pub fn check(evidence: &Evidence, instance: &str, server: &Server, sockets: &Sockets, judgement: &mut Judgement) {
    let words = Words::new(evidence, server);
    let public = |wanted: &&WantedListener| wanted.purpose == Purpose::Mailbox || view::is_public_smtp(wanted);
    let on_loopback: Vec<(&String, &WantedListener)> = server
        .wanted
        .iter()
        .filter(|(_, wanted)| public(wanted) && listens_on_loopback_only(sockets, wanted.port))
        .collect();
    let Some(on_loopback) = undeclared(evidence, (instance, server), on_loopback, &words, judgement) else { return };
    let (by_configuration, against_it): (Vec<_>, Vec<_>) =
        on_loopback.into_iter().partition(|(_, wanted)| wanted.is_loopback_only());
    if !against_it.is_empty() {
        return judgement.find(stale(instance, &against_it, &words));
    }
    // TLS from the first byte keeps others from listening in on the way, and on loopback there is none.
    let shut: Vec<(&String, &WantedListener)> = by_configuration
        .iter()
        .copied()
        .filter(|(_, wanted)| wanted.tls == TlsMode::Implicit && is_reached_otherwise(server, sockets, wanted))
        .collect();
    if !shut.is_empty() {
        judgement.find(tls_shut(instance, &shut, &words));
    } else if by_configuration.is_empty() {
        if server.wanted.values().any(|wanted| public(&wanted)) {
            judgement.well(format!("{instance}: what others must reach does not listen on loopback alone"));
        }
    } else if mailboxes(server).all(WantedListener::is_loopback_only) && users_submit(evidence) {
        judgement.blind(&RULE, &undecided(instance));
    } else {
        judgement.well(format!("{instance}: some services are for programs of this host alone, by configuration"));
    }
}

fn mailboxes(server: &Server) -> impl Iterator<Item = &WantedListener> {
    server.wanted.values().filter(|wanted| wanted.purpose == Purpose::Mailbox)
}

/// Another listener of the same service takes clients of other machines.
fn is_reached_otherwise(server: &Server, sockets: &Sockets, wanted: &WantedListener) -> bool {
    server.wanted.values().any(|other| {
        other.command == wanted.command
            && other.port != wanted.port
            && !other.overrides.contains_key("haproxy")
            && view::listeners_on(sockets, other.port).iter().any(|(_, listener)| !listener.is_loopback())
    })
}

/// Users of other machines send their mail here: so they may read it here, too.
fn users_submit(evidence: &Evidence) -> bool {
    let servers = evidence.servers.value().into_iter().flatten().filter(|(_, server)| server.enabled);
    servers.flat_map(|(_, server)| server.wanted.values()).any(|wanted| {
        matches!(wanted.purpose, Purpose::Submission | Purpose::Submissions) && !wanted.is_loopback_only()
    })
}

fn undecided(instance: &str) -> Blind {
    Blind::NotAttempted {
        why: format!(
            "{instance} serves mailboxes on loopback only, while users of other machines submit mail here: whether they \
             also read it here, or only through a webmail of this host, stands in no file"
        ),
    }
}

/// 2.4 calls it `listen`.
fn address_name(words: &Words<'_>, wanted: &WantedListener) -> &'static str {
    let listen = format!("service/{}/inet_listener/{}/listen", wanted.command, wanted.service);
    if words.is_set(&listen) { "listen" } else { "address" }
}

fn tls_shut(instance: &str, services: &[(&String, &WantedListener)], words: &Words<'_>) -> Finding {
    let mut finding =
        base(instance, services, "while the same service without TLS is open to others", words).confidence(0.75);
    finding.severity = Severity::Error;
    for (key, wanted) in services {
        finding = finding.because(
            format!("{} is configured for loopback addresses.", wanted.service),
            wanted.at.to_string(),
            view::server_pointer(instance, &["wanted", key]),
        );
    }
    widened(finding, services, words)
}

/// The line that opens each of them.
pub(super) fn widened(finding: Finding, services: &[(&String, &WantedListener)], words: &Words<'_>) -> Finding {
    services.iter().fold(finding, |finding, (_, wanted)| {
        finding.fix(
            words
                .nested_fix(
                    "Let it listen where the others do; or switch it off (port = 0) if nobody is to use it.",
                    &format!("service/{}/inet_listener/{}", wanted.command, wanted.service),
                    &[(address_name(words, wanted), "*, ::".to_owned())],
                )
                .verify(view::look_again(first_port(services))),
        )
    })
}
