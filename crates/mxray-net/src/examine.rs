//! One endpoint, examined: names, connections, sessions, address by address, side by side.

use crate::clock::{Clock, millis};
use crate::dial::DialPlan;
use crate::dns::Resolver;
use crate::drive::drive;
use crate::tls::{Roots, TlsPlan};
use crate::user::Dialler;
use mxray_model::Seen;
use mxray_model::evidence::{
    EndpointWhy, ExaminedAddress, ExaminedEndpoint, Lookup, Phase, PhaseTime, Purpose, Session, SessionProtocol,
    TlsMode,
};
use mxray_model::session::Depth;
use mxray_wire::{Auth, Client, mailbox, smtp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// What all examinations of a run share.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    pub resolver: Resolver,
    pub roots: Arc<Roots>,
    /// Who opens the connections.
    pub dialler: Dialler,
}

/// What is to be examined, and how far.
#[derive(Debug, Clone)]
pub struct Examination {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub protocol: SessionProtocol,
    pub tls: TlsMode,
    pub purpose: Purpose,
    pub why: BTreeSet<EndpointWhy>,
    pub depth: Depth,
    /// The argument of EHLO.
    pub ehlo: String,
    /// What the certificate is compared with, where it is not the host's name.
    pub reference_name: Option<String>,
    /// The address that connections come from; only addresses of its family are then dialled.
    pub source: Option<IpAddr>,
    /// These addresses instead of those that the name leads to.
    pub addresses: Option<Vec<IpAddr>>,
    pub auth: Option<Auth>,
    pub envelope: Option<smtp::Envelope>,
    /// For the whole of it.
    pub until: Instant,
}

/// Examines one endpoint at all its addresses. The lookups that led there come along.
pub fn examine(examination: &Examination, tools: &Tools) -> (ExaminedEndpoint, Vec<Lookup>) {
    let began = Instant::now();
    let (resolved, lookups) = match &examination.addresses {
        Some(known) => (Seen::Value(known.clone()), Vec::new()),
        None => {
            let answered = tools.resolver.addresses(&examination.host, examination.until);
            (answered.addresses, answered.lookups)
        }
    };
    let resolve = PhaseTime { phase: Phase::Resolve, took_ms: millis(began.elapsed()) };
    let addresses: Vec<IpAddr> = resolved.value().cloned().unwrap_or_default();
    let seen: BTreeMap<String, ExaminedAddress> = std::thread::scope(|scope| {
        let start = |address: IpAddr| (address, scope.spawn(move || one_address(examination, address, tools, resolve)));
        let running: Vec<_> = addresses.into_iter().map(start).collect();
        let joined =
            running.into_iter().filter_map(|(address, thread)| Some((address.to_string(), thread.join().ok()?)));
        joined.collect()
    });
    let endpoint = ExaminedEndpoint {
        host: examination.host.clone(),
        port: examination.port,
        protocol: examination.protocol,
        tls: examination.tls,
        purpose: examination.purpose,
        why: examination.why.clone(),
        resolved,
        addresses: seen,
    };
    (endpoint, lookups)
}

fn one_address(examination: &Examination, address: IpAddr, tools: &Tools, resolve: PhaseTime) -> ExaminedAddress {
    let peer = SocketAddr::new(address, examination.port);
    let (dialled, stream) = tools.dialler.dial(DialPlan { peer, source: examination.source }, examination.until);
    let connect = PhaseTime { phase: Phase::Connect, took_ms: dialled.took_ms };
    let mut examined = ExaminedAddress {
        dial: dialled,
        as_user: tools.dialler.user().map(str::to_owned),
        session: Seen::Absent,
        tls: Seen::Absent,
        hellos: Vec::new(),
        requires_tls: Seen::not_attempted("not asked"),
        compared: BTreeMap::new(),
        timings: vec![resolve, connect],
    };
    let Some(stream) = stream else { return examined };
    let named = examination.host.parse::<IpAddr>().is_err().then(|| examination.host.clone());
    let tls = TlsPlan {
        server_name: named.clone(),
        reference_name: examination.reference_name.clone().or(named),
        roots: Arc::clone(&tools.roots),
        ..TlsPlan::default()
    };
    let clock = Clock::start(examination.until);
    match examination.protocol.mailbox() {
        Some(protocol) => {
            let mut plan = mailbox::Plan::new(protocol);
            plan.depth = examination.depth;
            plan.implicit_tls = examination.tls == TlsMode::Implicit;
            plan.auth = examination.auth.clone();
            let held = drive(Client::mailbox(plan), stream, &tls, clock, Client::<mailbox::Mailbox>::bind);
            examined.session = Seen::Value(Session::Mailbox(Box::new(held.session)));
            examined.tls = held.tls;
        }
        None => {
            let Ok(mut plan) = smtp::Plan::new(&examination.ehlo) else {
                examined.session = Seen::not_attempted("the EHLO name cannot be part of a command");
                return examined;
            };
            plan.depth = examination.depth;
            plan.implicit_tls = examination.tls == TlsMode::Implicit;
            plan.auth = examination.auth.clone();
            plan.envelope = examination.envelope.clone();
            let held = drive(Client::smtp(plan), stream, &tls, clock, Client::<smtp::Smtp>::bind);
            examined.session = Seen::Value(Session::Smtp(Box::new(held.session)));
            examined.tls = held.tls;
        }
    }
    examined
}
