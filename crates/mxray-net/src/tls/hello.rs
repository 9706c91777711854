//! Single hellos: one question to a connection of its own, the answer read and never followed up. For what rustls cannot
//! speak, and where a handshake failed: why it did.

use super::{TlsPlan, add_examined};
use crate::clock::Clock;
use crate::drive::drive;
use crate::stream::{Came, Stream, words};
use mxray_model::evidence::{SessionProtocol, TlsFacts};
use mxray_model::session::{Ending, KeyKind, SuiteGroup, TlsHelloSession, TlsVersion};
use mxray_model::{Blind, Seen};
use mxray_wire::hello::names::{SECP256R1, SECP384R1, X25519, X25519_MLKEM768};
use mxray_wire::hello::{BadOffer, Entropy, Plan, Prober};
use mxray_wire::{Client, Machine, Want, mailbox, smtp};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::time::{Duration, Instant};

/// Between two connections: servers count them, and a burst is what attackers make.
const PAUSE: Duration = Duration::from_millis(150);

/// Whom to ask, and how TLS begins there.
pub struct HelloTarget<'a> {
    /// Opens one more connection; what came of it in words where it failed.
    pub connect: &'a dyn Fn(Instant) -> Result<Stream, String>,
    pub protocol: SessionProtocol,
    /// From the first byte, and not behind STARTTLS.
    pub implicit: bool,
    /// The argument of EHLO.
    pub ehlo: &'a str,
    /// No address, where there is one.
    pub server_name: Option<&'a str>,
    /// For each connection.
    pub patience: Duration,
}

impl fmt::Debug for HelloTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloTarget")
            .field("protocol", &self.protocol)
            .field("implicit", &self.implicit)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// What is offered.
#[derive(Debug, Clone, Copy)]
struct Offer<'a> {
    version: TlsVersion,
    suites: SuiteGroup,
    keys: KeyKind,
    name: Option<&'a str>,
    /// `None`: the usual ones.
    groups: Option<&'a [u16]>,
}

impl<'a> Offer<'a> {
    fn version(version: TlsVersion, name: Option<&'a str>) -> Self {
        // SSLv3 has no extensions, and so no name.
        let name = name.filter(|_| version != TlsVersion::Ssl3);
        Offer { version, suites: SuiteGroup::Any, keys: KeyKind::Any, name, groups: None }
    }

    /// A name that TLS cannot carry is not sent, as in any other handshake.
    fn plan(&self) -> Result<Plan, BadOffer> {
        let name = self.name.map(|name| name.strip_suffix('.').unwrap_or(name));
        match self.named(name) {
            Err(BadOffer::ServerName) => self.named(None),
            plan => plan,
        }
    }

    fn named(&self, name: Option<&str>) -> Result<Plan, BadOffer> {
        match self.groups {
            None => Plan::new(self.version, self.suites, self.keys, name, entropy()),
            Some(groups) => Plan::with_groups(self.version, self.suites, self.keys, name, groups, entropy()),
        }
    }
}

/// Fresh for each hello, and no secret. Without randomness zeros do: no handshake is ever finished.
fn entropy() -> Entropy {
    let random = SystemRandom::new();
    let mut entropy = Entropy { random: [0; 32], session: [0; 32], share: [9; 32] };
    for part in [&mut entropy.random, &mut entropy.session, &mut entropy.share] {
        let _ = random.fill(part);
    }
    entropy
}

/// Asks one question on a connection of its own.
pub fn hello(target: &HelloTarget<'_>, mut plan: Plan, until: Instant) -> TlsHelloSession {
    let until = until.min(Instant::now() + target.patience);
    plan.patience = plan.patience.min(until.saturating_duration_since(Instant::now()));
    let offer = plan.offer().clone();
    let clock = Clock::start(until);
    let ready = (target.connect)(until).and_then(|stream| up_to_tls(target, stream, clock));
    match ready {
        // A session of its own begins: its clock, too.
        Ok(stream) => drive(Prober::new(plan), stream, &TlsPlan::default(), Clock::start(until), |_, _| ()).session,
        Err(error) => {
            let blind = || Blind::Failed { step: "come to TLS once more".to_owned(), error: error.clone() };
            TlsHelloSession {
                offer,
                server_hello: Seen::Unknown(blind()),
                certificates: Seen::Unknown(blind()),
                key_exchange: Seen::Unknown(blind()),
                ..TlsHelloSession::default()
            }
        }
    }
}

/// Talks until TLS is the next thing.
fn up_to_tls(target: &HelloTarget<'_>, stream: Stream, clock: Clock) -> Result<Stream, String> {
    if target.implicit {
        return Ok(stream);
    }
    match target.protocol.mailbox() {
        Some(protocol) => talk(Client::mailbox(mailbox::Plan::new(protocol)), stream, clock),
        None => {
            let mut plan = smtp::Plan::new(target.ehlo).map_err(|error| error.to_string())?;
            if target.protocol == SessionProtocol::Lmtp {
                plan.dialect = smtp::Dialect::Lmtp;
            }
            talk(Client::smtp(plan), stream, clock)
        }
    }
}

fn talk<M: Machine>(mut machine: M, mut stream: Stream, clock: Clock) -> Result<Stream, String> {
    let mut buffer = [0; 4096];
    let mut failed: Option<String> = None;
    loop {
        match machine.want(clock.now()) {
            Want::Write(bytes) => {
                if let Err(error) = stream.write_all(bytes.expose(), clock.deadline()) {
                    machine.on_broken(&words(&error), clock.now());
                    failed.get_or_insert(words(&error));
                }
            }
            Want::Read { until } => match stream.read(&mut buffer, clock.instant(until)) {
                Came::Bytes(count) => machine.on_bytes(buffer.get(..count).unwrap_or_default(), clock.now()),
                Came::Closed => {
                    machine.on_closed(clock.now());
                    failed.get_or_insert("the server closed the connection".to_owned());
                }
                Came::TimedOut => {
                    machine.on_deadline(clock.now());
                    failed.get_or_insert("the server did not answer in time".to_owned());
                }
                Came::Broke(error) => {
                    machine.on_broken(&error, clock.now());
                    failed.get_or_insert(error);
                }
            },
            Want::StartTls => return Ok(stream),
            Want::Close => {}
            Want::Done => break,
        }
    }
    stream.close();
    Err(failed.unwrap_or_else(|| "the server did not go on to TLS this time".to_owned()))
}

/// Asks one after the other, with pauses, until one says enough.
fn ask(
    target: &HelloTarget<'_>,
    offers: &[Offer<'_>],
    until: Instant,
    out: &mut Vec<TlsHelloSession>,
    enough: impl Fn(&TlsHelloSession) -> bool,
) {
    for offer in offers {
        let Ok(plan) = offer.plan() else { continue };
        if !out.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left <= PAUSE {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        let session = hello(target, plan, until);
        // Whom we did not reach once, we leave alone.
        let stop = enough(&session) || session.transcript.entries.is_empty();
        out.push(session);
        if stop {
            return;
        }
    }
}

fn is_taken(session: &TlsHelloSession) -> bool {
    session.takes_offer() == Seen::Value(true)
}

const NEW: [TlsVersion; 2] = [TlsVersion::Tls13, TlsVersion::Tls12];

/// Does it speak TLS as today's programs do? One hello for each version, until one is taken; a silence is enough.
pub fn new_versions(target: &HelloTarget<'_>, until: Instant) -> Vec<TlsHelloSession> {
    let mut out = Vec::new();
    let enough = |session: &TlsHelloSession| is_taken(session) || matches!(session.ending, Ending::Deadline { .. });
    ask(target, &NEW.map(|version| Offer::version(version, target.server_name)), until, &mut out, enough);
    out
}

/// After a handshake that failed: what does the server speak?
///
/// TLS 1.3 and 1.2 first, with everything in them that rustls does not have (RSA key exchange, CBC, other groups): a server that
/// takes those is reached by others, and the old versions are not what ails it. Else one hello for each old version.
pub fn old_versions(target: &HelloTarget<'_>, until: Instant) -> Vec<TlsHelloSession> {
    let mut out = Vec::new();
    ask(target, &NEW.map(|version| Offer::version(version, target.server_name)), until, &mut out, is_taken);
    if out.len() == NEW.len() && !out.iter().any(is_taken) {
        let old = [TlsVersion::Tls11, TlsVersion::Tls10, TlsVersion::Ssl3];
        ask(target, &old.map(|version| Offer::version(version, target.server_name)), until, &mut out, |_| false);
    }
    out
}

/// Everything: versions, kinds of suites within each that is taken, groups, with and without a name, RSA and ECDSA. Dozens of
/// connections, so only where somebody asked for it.
pub fn deep(target: &HelloTarget<'_>, until: Instant) -> Vec<TlsHelloSession> {
    const VERSIONS: [TlsVersion; 5] =
        [TlsVersion::Tls13, TlsVersion::Tls12, TlsVersion::Tls11, TlsVersion::Tls10, TlsVersion::Ssl3];
    const SUITES: [SuiteGroup; 8] = [
        SuiteGroup::Null,
        SuiteGroup::Export,
        SuiteGroup::Anonymous,
        SuiteGroup::Rc4,
        SuiteGroup::Des,
        SuiteGroup::Cbc,
        SuiteGroup::Aead,
        SuiteGroup::Dhe,
    ];
    const GROUPS: [&[u16]; 4] = [&[X25519_MLKEM768], &[X25519], &[SECP256R1], &[SECP384R1]];
    let name = target.server_name;
    let mut out = Vec::new();
    ask(target, &VERSIONS.map(|version| Offer::version(version, name)), until, &mut out, |_| false);
    let taken: Vec<TlsVersion> = out.iter().filter(|session| is_taken(session)).map(|s| s.offer.version).collect();
    let mut offers = Vec::new();
    for version in taken.iter().filter(|version| version.number() < TlsVersion::Tls13.number()) {
        offers.extend(SUITES.map(|suites| Offer { suites, ..Offer::version(*version, name) }));
    }
    if taken.contains(&TlsVersion::Tls13) {
        offers.extend(GROUPS.map(|groups| Offer { groups: Some(groups), ..Offer::version(TlsVersion::Tls13, name) }));
    }
    // Certificates can be seen up to TLS 1.2.
    let seen = taken.iter().copied().find(|version| *version != TlsVersion::Tls13);
    if let Some(version) = seen {
        offers.extend([KeyKind::Rsa, KeyKind::Ecdsa].map(|keys| Offer { keys, ..Offer::version(version, name) }));
        if name.is_some() {
            offers.push(Offer::version(version, None));
        }
    }
    ask(target, &offers, until, &mut out, |_| false);
    out
}

/// A handshake that failed has shown no certificate; a hello up to TLS 1.2 may have, and it is the same server.
pub fn certificates_from(hellos: &[TlsHelloSession], facts: &mut TlsFacts, plan: &TlsPlan) {
    if facts.chain.value().is_some() {
        return;
    }
    let shown = hellos.iter().find_map(|session| session.certificates.value().filter(|chain| !chain.is_empty()));
    if let Some(chain) = shown {
        let ders: Vec<Vec<u8>> = chain.iter().map(|der| der.0.clone()).collect();
        add_examined(facts, &plan.roots.examine(&ders, plan.reference_name.as_deref()));
    }
}
