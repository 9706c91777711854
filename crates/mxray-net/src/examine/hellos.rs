//! Single hellos: what a server speaks that could not agree with us, whether one that does not greet waits for TLS, and (deep)
//! all that a server speaks.

use super::session::tls_plan;
use super::{CONNECT_PATIENCE, Examination, Tools};
use crate::dial::DialPlan;
use crate::tls::{HelloTarget, certificates_from, deep, new_versions, old_versions};
use mxray_model::Seen;
use mxray_model::evidence::{DialOutcome, EndpointWhy, ExaminedAddress, Purpose, Session, TlsEnding, TlsMode};
use mxray_model::session::{Ending, MailboxStage, Stage, Transcript, What};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// For each hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of the connections to a server that does not greet.
const SILENT: Duration = Duration::from_secs(2);
/// A server that closes without a word after this long may have waited for us to begin.
const WAITED_MS: u64 = 2000;

/// Asks where there is something to learn, and notes it.
pub(super) fn ask(examination: &Examination, address: IpAddr, tools: &Tools, examined: &mut ExaminedAddress) {
    let silent = examination.tls != TlsMode::Implicit
        && examined.session.value().is_some_and(|seen| awaits_tls(seen, examination));
    let failed = match &examined.tls {
        Seen::Value(facts) => has_failed(&facts.ending),
        Seen::Absent | Seen::Unknown(_) => false,
    };
    let begun = examined.tls.value().is_some();
    let worth = silent || failed || (begun && examination.beyond.deep);
    if !worth {
        return;
    }
    let peer = SocketAddr::new(address, examination.port);
    let connect = |until: Instant| {
        let until = until.min(Instant::now() + CONNECT_PATIENCE);
        let (dial, stream) = tools.dialler.dial(DialPlan { peer, source: examination.source }, until);
        stream.ok_or_else(|| match dial.outcome {
            DialOutcome::Failed { error } => error,
            outcome => outcome.as_str().to_owned(),
        })
    };
    let plan = tls_plan(examination, tools);
    let target = HelloTarget {
        connect: &connect,
        protocol: examination.protocol,
        implicit: silent || examination.tls == TlsMode::Implicit,
        ehlo: &examination.ehlo,
        server_name: plan.server_name.as_deref(),
        patience: if silent { SILENT } else { PATIENCE },
    };
    if silent {
        examined.hellos = new_versions(&target, examination.until);
        return;
    }
    if examination.beyond.deep {
        examined.hellos = deep(&target, examination.until);
    } else {
        examined.hellos = old_versions(&target, examination.until);
    }
    if let Seen::Value(facts) = &mut examined.tls
        && failed
    {
        certificates_from(&examined.hellos, facts, &plan);
    }
}

/// No greeting came, and neither did anything else, or what came is a record of TLS: so does a server look on whose port TLS
/// begins with the first byte.
fn awaits_tls(session: &Session, examination: &Examination) -> bool {
    let (greets, transcript, ending) = match session {
        Session::Smtp(session) => (session.stage == Stage::Greeting, &session.transcript, &session.ending),
        Session::Mailbox(session) => (session.stage == MailboxStage::Greeting, &session.transcript, &session.ending),
    };
    let waited = match ending {
        Ending::Deadline { .. } => true,
        Ending::PeerClosed | Ending::Broke { .. } => {
            transcript.entries.last().is_some_and(|last| last.at_ms >= WAITED_MS)
        }
        _ => false,
    };
    match first_bytes(transcript) {
        None => greets && waited && may_speak_first(examination),
        Some(bytes) => greets && is_record(bytes),
    }
}

/// Who takes mail from strangers may hold its greeting back to see who speaks before it (postscreen(8), Exim's and Sendmail's
/// pauses), and remember who did: nobody else's server is tempted so without being asked to.
fn may_speak_first(examination: &Examination) -> bool {
    let own = examination.why.iter().any(|why| matches!(why, EndpointWhy::Own { .. }));
    own || examination.beyond.deep || examination.purpose != Purpose::Relay
}

fn first_bytes(transcript: &Transcript) -> Option<&[u8]> {
    transcript.entries.iter().find_map(|entry| match &entry.what {
        What::Received(raw) => Some(raw.0.as_slice()),
        What::Sent(_) | What::Mark(_) => None,
    })
}

/// An alert or a handshake message, of any version (RFC 8446 section 5.1).
fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [21 | 22, 3, ..])
}

/// The server and we could not agree, or it broke off; a silence says nothing about versions.
fn has_failed(ending: &TlsEnding) -> bool {
    match ending {
        TlsEnding::Alert { .. } | TlsEnding::PeerClosed | TlsEnding::Broke { .. } | TlsEnding::Incompatible { .. } => {
            true
        }
        TlsEnding::Established | TlsEnding::NotTls { .. } | TlsEnding::TimedOut { .. } => false,
    }
}
