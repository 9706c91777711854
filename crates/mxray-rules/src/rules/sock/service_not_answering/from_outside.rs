//! What a session saw: the connection stood, and not a byte came.

use super::RULE;
use crate::outside::{self, Contact};
use crate::rule::Judgement;
use crate::rules::sock::{descriptor_limit_near, helper_service_down};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{DialOutcome, DnsOutcome, Lookup, Server, Session, WantedListener};
use mxray_model::session::Ending;
use mxray_model::{Evidence, Finding, Fix, Seen, Subject};

/// Without a pause of its own making a server greets within a second. Lookups of the client's name, which many make first,
/// end by then, too: resolvers give up after 5 s, or after 10 with a second server (resolv.conf(5)).
const SILENT_MS: u64 = 8_000;

/// Own services that accept and say nothing. Ports of which something was found already are left to that.
pub(super) fn silent(evidence: &Evidence, told: &[u16], judgement: &mut Judgement) {
    for (key, endpoint) in &evidence.endpoints {
        let Some((instance, server, wanted)) = outside::own(evidence, endpoint) else { continue };
        if told.contains(&endpoint.port) || endpoint.addresses.is_empty() {
            continue;
        }
        let waited: Vec<(Contact<'_>, Option<u64>)> =
            outside::contacts(key, endpoint).map(|contact| (contact, silence_ms(contact))).collect();
        // One address that greets shows that the service does: what the other one lacks is another thing.
        let least = waited.iter().map(|(_, waited)| waited.unwrap_or(0)).min().unwrap_or(0);
        if least == 0 {
            continue;
        }
        // Without descriptors nothing is started that would greet: that limit is what has to change.
        let starved = descriptor_limit_near::is_reached_by(evidence, &server.software);
        // And without what checks logins or filters mail, Postfix's smtpd ends or waits before it greets.
        let missed = helper_service_down::is_missed_by(evidence, instance, server, wanted);
        if least < SILENT_MS || starved || missed || may_pause(server, wanted) || names_fail(evidence) {
            for (contact, _) in waited {
                let ending = Ending::Deadline { waited_ms: least };
                judgement.blind(&RULE, &contact.cut_short(&ending, None));
            }
            continue;
        }
        if let Some((contact, _)) = waited.first() {
            judgement.find(finding(evidence, (instance, server, wanted), *contact, least));
        }
    }
}

/// How long nothing came on a connection that stood. `None`: something came, or the connection did not stand.
fn silence_ms(contact: Contact<'_>) -> Option<u64> {
    if contact.seen.dial.outcome != DialOutcome::Connected {
        return None;
    }
    let (greeted, ending, received) = match contact.seen.session.value()? {
        Session::Smtp(session) => (session.greeting.value().is_some(), &session.ending, &session.transcript),
        Session::Mailbox(session) => (session.greeting.value().is_some(), &session.ending, &session.transcript),
    };
    let came = received.entries.iter().any(|entry| matches!(entry.what, mxray_model::session::What::Received(_)));
    match ending {
        Ending::Deadline { waited_ms } if !greeted && !came => Some(*waited_ms),
        _ => None,
    }
}

/// Servers look the client's name up before they greet: without a name server all of them are late, and that is the fault.
fn names_fail(evidence: &Evidence) -> bool {
    let checks = &evidence.resolver_checks;
    let dead = !checks.is_empty() && checks.values().all(|check| check.answers != Seen::Value(true));
    let silent = |lookup: &Lookup| matches!(lookup.outcome, DnsOutcome::NoAnswer { .. } | DnsOutcome::Refused { .. });
    dead || evidence.lookups.values().any(silent)
}

/// The configuration holds greetings back, or may: postscreen's test, `sleep` among the restrictions, a `delay` in Exim's
/// access lists, which are not read.
fn may_pause(server: &Server, wanted: &WantedListener) -> bool {
    let restrictions = server.setting_of(wanted, "smtpd_client_restrictions");
    wanted.command == "postscreen"
        || restrictions.split([',', ' ', '\t']).any(|word| word == "sleep")
        || server.software == "exim"
}

fn finding(
    evidence: &Evidence,
    (instance, server, wanted): (&String, &Server, &WantedListener),
    contact: Contact<'_>,
    waited_ms: u64,
) -> Finding {
    let words = Words::new(evidence, server);
    RULE.finding(
        view::endpoint(&[contact.seen.dial.peer.ip()], wanted.port),
        format!(
            "Port {} accepts connections, but nobody greets: {} s passed without a byte.",
            wanted.port,
            waited_ms / 1000
        ),
    )
    .confidence(0.8)
    .touches(view::port_scope(wanted.port))
    .touches(Subject::service(instance))
    .because(
        format!("A session with {} stood for {waited_ms} ms, and nothing came.", contact.name()),
        "a session",
        contact.pointer(&["session"]),
    )
    .data("service", wanted.service.clone())
    .data("waited_ms", waited_ms)
    .fix(
        Fix::here("Look into its log for what it waits for (a lookup, a lock, a service behind it), then restart it.")
            .command(words.restart())
            .verify(view::look_again(wanted.port)),
    )
    .reference("RFC 5321 section 4.5.3.2.1")
}
