//! Further sessions with an address that was examined, held only where somebody asked for them, one at a time and with pauses.

use super::session::{Seance, hold};
use super::{Examination, Tools, blank, facts};
use mxray_model::evidence::{DialOutcome, ExaminedAddress, NodeSample, Retried, Session, TlsMode};
use mxray_model::session::{Depth, Ending};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One address may be several hosts behind a balancer; with three connections the odd one is likely to be met.
const SAMPLES: usize = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// The session that was held, and others after it.
pub(super) fn samples(
    examination: &Examination,
    address: IpAddr,
    tools: &Tools,
    first: &ExaminedAddress,
) -> Vec<NodeSample> {
    let mut samples = vec![sample(examination, first)];
    if first.dial.outcome != DialOutcome::Connected {
        return samples;
    }
    let mut plain = examination.clone();
    plain.depth = examination.depth.min(Depth::Tls);
    plain.auth = None;
    // Whoever did not answer once is looked for once.
    plain.why.clear();
    while samples.len() < SAMPLES && rest(PAUSE, examination.until) {
        let Seance { dial, session, tls, .. } = hold(&plain, address, tools);
        let mut examined = ExaminedAddress { session, tls, ..blank(dial) };
        examined.requires_tls = facts::requires_tls(&plain, &examined.session);
        examined.starttls = facts::starttls(&plain, &examined);
        samples.push(sample(&plain, &examined));
    }
    samples
}

fn sample(examination: &Examination, examined: &ExaminedAddress) -> NodeSample {
    let (greeting, announced, ending) = match &examined.session {
        Seen::Value(session) => told(session, examination.tls == TlsMode::Implicit),
        Seen::Absent => (nobody(), nobody(), Ending::Open),
        Seen::Unknown(blind) => (Seen::Unknown(blind.clone()), Seen::Unknown(blind.clone()), Ending::Open),
    };
    let certificate = match &examined.tls {
        Seen::Value(tls) => match &tls.chain {
            Seen::Value(chain) => chain.first().map_or(Seen::Absent, |leaf| Seen::Value(leaf.sha256.clone())),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        },
        Seen::Absent => Seen::not_attempted("no handshake was begun"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    };
    let (outcome, starttls) = (examined.dial.outcome.clone(), examined.starttls.clone());
    NodeSample { outcome, greeting, announced, starttls, certificate, ending }
}

fn nobody<T>() -> Seen<T> {
    Seen::not_attempted("no connection came to stand")
}

fn told(session: &Session, implicit: bool) -> (Seen<String>, Seen<BTreeSet<String>>, Ending) {
    let none = || Seen::not_attempted("no list was seen");
    match session {
        Session::Smtp(session) => {
            let greeting = session.greeting.as_ref().map(facts::said);
            let hello = session.hellos.iter().find(|hello| hello.tls == implicit);
            let list =
                hello.map_or_else(none, |hello| hello.extensions.as_ref().map(|known| known.keys().cloned().collect()));
            (greeting, list, session.ending.clone())
        }
        Session::Mailbox(session) => {
            let greeting = session.greeting.as_ref().map(|greeting| untrusted(&greeting.text.0));
            let listed = session.capabilities.iter().find(|list| list.tls == implicit);
            let list =
                listed.map_or_else(none, |list| list.listed.as_ref().map(|known| known.keys().cloned().collect()));
            (greeting, list, session.ending.clone())
        }
    }
}

/// Asks again for recipients that were put off, after each pause, until nobody is put off any more.
pub(super) fn retries(
    examination: &Examination,
    address: IpAddr,
    tools: &Tools,
    first: &Seen<Session>,
) -> Vec<Retried> {
    let mut sessions: Vec<Retried> = Vec::new();
    for pause in &examination.beyond.retry {
        let last = sessions.last().map_or(first, |retried| &retried.session);
        if !puts_off(last) {
            break;
        }
        let after_s = pause.as_secs();
        if !rest(*pause, examination.until) {
            let blind =
                Blind::NotAttempted { why: format!("the deadline comes before the pause of {after_s} s is over") };
            sessions.push(Retried { after_s, session: Seen::Unknown(blind) });
            break;
        }
        sessions.push(Retried { after_s, session: hold(examination, address, tools).session });
    }
    sessions
}

fn puts_off(session: &Seen<Session>) -> bool {
    let Some(Session::Smtp(session)) = session.value() else { return false };
    let mut recipients = session.transactions().flat_map(|transaction| &transaction.recipients);
    recipients.any(|recipient| recipient.reply.value().is_some_and(|reply| matches!(reply.code, 450 | 451)))
}

/// Lets time pass; `false`, at once, where the deadline would come first.
fn rest(pause: Duration, until: Instant) -> bool {
    let fits = until.saturating_duration_since(Instant::now()) > pause;
    if fits {
        std::thread::sleep(pause);
    }
    fits
}
