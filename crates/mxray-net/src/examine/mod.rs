//! One endpoint, examined: names, connections, sessions, address by address, side by side.
//!
//! `session` holds one session with one address; `unanswered` looks at who answers where that comes to nothing; `facts` reads
//! from it what is told of every endpoint; `conduct` says how the server treats whoever comes; `hellos` asks what a server
//! speaks that could not agree with us; `again` holds further sessions where somebody asked for them.

mod again;
mod conduct;
mod facts;
mod hellos;
mod session;
#[cfg(test)]
mod tests;
mod unanswered;

use crate::clock::millis;
use crate::dns::Resolver;
use crate::tls::Roots;
use crate::user::Dialler;
use mxray_model::evidence::{
    Dial, DialOutcome, EndpointWhy, ExaminedAddress, ExaminedEndpoint, Lookup, Phase, PhaseTime, Purpose,
    SessionProtocol, StarttlsFacts, TlsMode,
};
use mxray_model::session::Depth;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use mxray_wire::{Auth, smtp};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection is waited for: four SYNs of the kernel's. What comes later is no service that mail can use.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Of a thread that holds a session; certificates are checked on it.
const STACK_BYTES: usize = 1 << 20;
/// Most addresses of one name that are gone to; a name may have thousands.
const ADDRESSES_MAX: usize = 32;

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
    /// What goes beyond one ordinary session.
    pub beyond: Beyond,
    /// For the whole of it.
    pub until: Instant,
}

/// What is done only for whoever asks for it.
#[derive(Debug, Clone, Default)]
pub struct Beyond {
    /// Transactions behind the first one.
    pub further: Vec<smtp::Envelope>,
    /// Ask in clear whether TLS is required, on any port. It is asked on submission ports in any case.
    pub ask_required: bool,
    /// Several paced connections for each address, and five minutes of patience for the greeting.
    pub deep: bool,
    /// Ask again after these pauses, one behind the other, where a recipient was put off.
    pub retry: Vec<Duration>,
    /// Log in only where the certificate is beyond doubt.
    pub trusted_login: bool,
    /// How long it took to find the `addresses` that are given.
    pub resolve_ms: Option<u64>,
}

/// Examines one endpoint at all its addresses. The lookups that led there come along.
pub fn examine(examination: &Examination, tools: &Tools) -> (ExaminedEndpoint, Vec<Lookup>) {
    let began = Instant::now();
    let (resolved, lookups, resolve_ms) = match &examination.addresses {
        Some(known) => (Seen::Value(known.clone()), Vec::new(), examination.beyond.resolve_ms),
        None => {
            let answered = tools.resolver.addresses(&examination.host, examination.until);
            (answered.addresses, answered.lookups, Some(millis(began.elapsed())))
        }
    };
    let resolve = resolve_ms.map(|took_ms| PhaseTime { phase: Phase::Resolve, took_ms });
    let mut addresses: Vec<IpAddr> = resolved.value().cloned().unwrap_or_default();
    if let Some(source) = examination.source {
        addresses.retain(|address| address.is_ipv4() == source.is_ipv4());
    }
    addresses.truncate(ADDRESSES_MAX);
    let look = |address: IpAddr| guarded(examination, address, tools, resolve);
    let seen: BTreeMap<String, ExaminedAddress> = match addresses.as_slice() {
        // The usual case of a check that runs often: no thread is worth its price.
        [one] => BTreeMap::from([(one.to_string(), look(*one))]),
        several => side_by_side(several, &look),
    };
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

fn side_by_side(
    addresses: &[IpAddr],
    look: &(dyn Fn(IpAddr) -> ExaminedAddress + Sync),
) -> BTreeMap<String, ExaminedAddress> {
    // A crash within becomes evidence; the name tells the program's hook so.
    let name = std::thread::current().name().unwrap_or("part:session").to_owned();
    std::thread::scope(|scope| {
        let start = |address: &IpAddr| {
            let address = *address;
            let builder = std::thread::Builder::new().name(name.clone()).stack_size(STACK_BYTES);
            (address, builder.spawn_scoped(scope, move || look(address)))
        };
        let running: Vec<_> = addresses.iter().map(start).collect();
        let join = |(address, thread): (IpAddr, std::io::Result<std::thread::ScopedJoinHandle<'_, _>>)| {
            let seen = match thread {
                // No thread to be had: one after the other, then.
                Err(_) => look(address),
                Ok(thread) => thread.join().unwrap_or_else(|panic| crashed(SocketAddr::new(address, 0), &*panic)),
            };
            (address.to_string(), seen)
        };
        running.into_iter().map(join).collect()
    })
}

/// A crash costs this address and nothing else, and is told.
fn guarded(examination: &Examination, address: IpAddr, tools: &Tools, resolve: Option<PhaseTime>) -> ExaminedAddress {
    let look = || one_address(examination, address, tools, resolve);
    catch_unwind(AssertUnwindSafe(look))
        .unwrap_or_else(|panic| crashed(SocketAddr::new(address, examination.port), &*panic))
}

fn crashed(peer: SocketAddr, panic: &(dyn Any + Send)) -> ExaminedAddress {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = untrusted(text.unwrap_or("a panic without a message").as_bytes());
    let blind = || Blind::Failed { step: "the examination of this address".to_owned(), error: error.clone() };
    let dial = Dial {
        peer,
        local: Seen::Unknown(blind()),
        took_ms: 0,
        outcome: DialOutcome::Failed { error: format!("mxray crashed: {error}") },
        icmp: Seen::Unknown(blind()),
        distance: Seen::Unknown(blind()),
    };
    ExaminedAddress { session: Seen::Unknown(blind()), tls: Seen::Unknown(blind()), ..blank(dial) }
}

/// What is known of an address that was dialled and no more.
fn blank(dial: Dial) -> ExaminedAddress {
    ExaminedAddress {
        dial,
        as_user: None,
        session: Seen::Absent,
        tls: Seen::Absent,
        hellos: Vec::new(),
        requires_tls: Seen::not_attempted("not asked"),
        starttls: StarttlsFacts::default(),
        conduct: Vec::new(),
        roles: Vec::new(),
        samples: Vec::new(),
        retried: Vec::new(),
        compared: BTreeMap::new(),
        timings: Vec::new(),
    }
}

fn one_address(
    examination: &Examination,
    address: IpAddr,
    tools: &Tools,
    resolve: Option<PhaseTime>,
) -> ExaminedAddress {
    let session::Seance { dial, session, tls, compared } = session::hold(examination, address, tools);
    let as_user = tools.dialler.user().map(str::to_owned);
    let mut examined = ExaminedAddress { session, tls, as_user, compared, ..blank(dial) };
    hellos::ask(examination, address, tools, &mut examined);
    examined.timings = facts::timings(resolve, &examined);
    examined.requires_tls = facts::requires_tls(examination, &examined.session);
    examined.starttls = facts::starttls(examination, &examined);
    examined.roles = facts::roles(examination, &examined.session);
    if examination.beyond.deep {
        examined.samples = again::samples(examination, address, tools, &examined);
    }
    if !examination.beyond.retry.is_empty() {
        examined.retried = again::retries(examination, address, tools, &examined.session);
    }
    examined.conduct = conduct::of(&examined);
    examined
}
