//! Single hellos: what a server speaks that could not agree with us, and (deep) all that it speaks.

use super::session::tls_plan;
use super::{CONNECT_PATIENCE, Examination, Tools};
use crate::dial::DialPlan;
use crate::tls::{HelloTarget, certificates_from, deep, old_versions};
use mxray_model::Seen;
use mxray_model::evidence::{DialOutcome, ExaminedAddress, TlsEnding, TlsMode};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// For each hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks where there is something to learn, and notes it.
pub(super) fn ask(examination: &Examination, address: IpAddr, tools: &Tools, examined: &mut ExaminedAddress) {
    let Seen::Value(facts) = &mut examined.tls else { return };
    let failed = has_failed(&facts.ending);
    if !failed && !examination.beyond.deep {
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
        implicit: examination.tls == TlsMode::Implicit,
        ehlo: &examination.ehlo,
        server_name: plan.server_name.as_deref(),
        patience: PATIENCE,
    };
    if examination.beyond.deep {
        examined.hellos = deep(&target, examination.until);
    } else {
        examined.hellos = old_versions(&target, examination.until);
    }
    if failed {
        certificates_from(&examined.hellos, facts, &plan);
    }
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
