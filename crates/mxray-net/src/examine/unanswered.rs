//! Who answered, where a connection to somebody else did not come to stand: other ports of the same address, and the way.
//!
//! This begins while a silent port is still waited for, since a silent port takes all the time there is. It is done for
//! hosts that take our mail and for what was asked about on the port of mail exchange; that other ports are closed is usual.

use super::{Examination, Tools};
use crate::dial::{DialPlan, compare};
use crate::distance::explain;
use crate::stream::Stream;
use mxray_model::evidence::{Dial, DialOutcome, EndpointWhy, Purpose};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A connection that takes longer is likely to come to nothing: the first SYN is lost or dropped then.
const SLOW: Duration = Duration::from_millis(900);
/// What most hosts answer on, the port of the Web first; then the other ports of mail.
const COMPARED: [u16; 4] = [443, 80, 587, 465];
/// For the comparison. A host that is there answers within this.
const COMPARE: Duration = Duration::from_millis(1500);
/// For the way behind it.
const MEASURE: Duration = Duration::from_secs(5);

/// Connects; where that is refused or comes to nothing, looks at who answers.
pub(super) fn dial(
    examination: &Examination,
    plan: DialPlan,
    tools: &Tools,
    until: Instant,
) -> (Dial, Option<Stream>, BTreeMap<String, Dial>) {
    if !concerns(examination, plan.peer.ip()) {
        let (dial, stream) = tools.dialler.dial(plan, until);
        return (dial, stream, BTreeMap::new());
    }
    let early = Mutex::new(None);
    let meanwhile = || {
        let looked = Looked::at(plan, until);
        if let Ok(mut early) = early.lock() {
            *early = Some(looked);
        }
    };
    let (mut dial, stream) = tools.dialler.dial_or(plan, until, SLOW, meanwhile);
    let early = early.into_inner().ok().flatten();
    if matches!(dial.outcome, DialOutcome::Connected | DialOutcome::Reset) {
        return (dial, stream, BTreeMap::new());
    }
    let Looked { compared, way } = match early {
        Some(early) => early,
        None => Looked { compared: others(plan, until), way: None },
    };
    let references = answering(&compared);
    match way {
        Some(way) => dial.distance = way.distance,
        None => explain(&mut dial, plan.source, &references, until.min(Instant::now() + MEASURE)),
    }
    (dial, stream, compared)
}

/// Is it worth the packets?
fn concerns(examination: &Examination, address: IpAddr) -> bool {
    let why = |why: &EndpointWhy| match why {
        EndpointWhy::Exchanger { .. } | EndpointWhy::Smarthost { .. } => true,
        EndpointWhy::Asked => examination.purpose == Purpose::Relay,
        EndpointWhy::Surveyed | EndpointWhy::Own { .. } => false,
    };
    let own = examination.why.iter().any(|why| matches!(why, EndpointWhy::Own { .. }));
    !own && !address.is_loopback() && examination.why.iter().any(why)
}

/// What was seen while a slow connection was waited for.
struct Looked {
    compared: BTreeMap<String, Dial>,
    way: Option<Dial>,
}

impl Looked {
    fn at(plan: DialPlan, until: Instant) -> Self {
        let compared = others(plan, until);
        // Nothing has come until now: the way is that of a silence.
        let mut silent = Dial { outcome: DialOutcome::TimedOut { after_ms: 0 }, ..Dial::of(plan.peer) };
        explain(&mut silent, plan.source, &answering(&compared), until.min(Instant::now() + MEASURE));
        Looked { compared, way: Some(silent) }
    }
}

fn others(plan: DialPlan, until: Instant) -> BTreeMap<String, Dial> {
    let ports: Vec<u16> = COMPARED.into_iter().filter(|port| *port != plan.peer.port()).collect();
    compare(plan.peer.ip(), plan.source, &ports, until.min(Instant::now() + COMPARE))
}

/// The ports that accepted a connection, in the order of preference.
fn answering(compared: &BTreeMap<String, Dial>) -> Vec<u16> {
    let accepts =
        |port: &u16| compared.get(&port.to_string()).is_some_and(|dial| dial.outcome == DialOutcome::Connected);
    COMPARED.into_iter().filter(accepts).collect()
}
