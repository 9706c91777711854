//! TLS by rustls, with a verifier that writes down what it is shown and never says no to a certificate (RFC 7435: whether one
//! matters is a question of policy).
//!
//! Start reading at [`handshake`]; `verifier` is what rustls asks, `roots` the stores, `identity` a certificate of ours, `hello`
//! the single hellos that rustls cannot make. What must not live here: what is wrong with a chain (`mxray-auth`), and whether that
//! matters (rules).

mod hello;
mod identity;
mod roots;
#[cfg(test)]
pub(crate) mod tests;
mod verifier;

pub use hello::{HelloTarget, certificates_from, deep, hello, new_versions, old_versions};
pub use identity::ClientIdentity;
pub use roots::Roots;

use crate::clock::millis;
use crate::stream::{Socket, words};
use mxray_auth::Examined;
use mxray_model::evidence::{TlsEnding, TlsFacts};
use mxray_model::session::{KeyKind, Raw, TlsVersion};
use mxray_model::{Blind, Seen};
use mxray_wire::hello::names;
use rustix::event::PollFlags;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::{Duration, Instant};
use verifier::{Asked, Recorder, Shown, provider};

/// How long the rest of a line is waited for that is no TLS.
const FOREIGN_LINE: Duration = Duration::from_secs(2);
/// Most of it that is kept.
const FOREIGN_BYTES_MAX: usize = 512;
/// A server that wants a certificate of ours says only behind the handshake that it has to have one (RFC 8446 section 4.4.2.4). With
/// most it follows at once; where nothing comes, the server waits for us.
const VERDICT: Duration = Duration::from_secs(1);

/// A handshake to make.
#[derive(Debug, Clone, Default)]
pub struct TlsPlan {
    /// Sent as SNI; an address is never sent (RFC 6066 section 3).
    pub server_name: Option<String>,
    /// What the certificate is compared with.
    pub reference_name: Option<String>,
    pub roots: Arc<Roots>,
    pub identity: Option<Arc<ClientIdentity>>,
    /// Nothing below, nothing above; `None`: TLS 1.2 and 1.3.
    pub lowest: Option<TlsVersion>,
    pub highest: Option<TlsVersion>,
    /// Which of a host's certificates to ask for.
    pub keys: KeyKind,
}

impl TlsPlan {
    /// The name that goes over the wire: no address, and none that no host can have.
    fn sni(&self) -> Option<ServerName<'static>> {
        let name = self.server_name.as_deref()?;
        let name = name.strip_suffix('.').unwrap_or(name);
        ServerName::try_from(name.to_owned()).ok().filter(|name| matches!(name, ServerName::DnsName(_)))
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let within = |version: &TlsVersion| {
            self.lowest.is_none_or(|lowest| lowest.number() <= version.number())
                && self.highest.is_none_or(|highest| version.number() <= highest.number())
        };
        let all = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
        all.into_iter().filter(|(version, _)| within(version)).map(|(_, supported)| supported).collect()
    }
}

/// Makes a handshake on a connected socket.
pub(crate) fn handshake(socket: &Socket, plan: &TlsPlan, until: Instant) -> (TlsFacts, Option<Box<ClientConnection>>) {
    let began = Instant::now();
    let recorder = Arc::new(Recorder::new(plan.keys));
    let asked = Arc::new(Asked::new(plan.identity.as_deref()));
    let name = plan.sni();
    let mut facts = nothing_yet(plan, name.as_ref());
    let mut connection = match connection(plan, name, Arc::clone(&recorder), Arc::clone(&asked)) {
        Ok(connection) => Box::new(connection),
        Err(error) => {
            facts.ending = TlsEnding::Incompatible { error };
            return (facts, None);
        }
    };
    facts.ending = shake(&mut connection, socket, until);
    if facts.ending == TlsEnding::Established
        && asked.was()
        && plan.identity.is_none()
        && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    {
        facts.ending = verdict(&mut connection, socket, until);
    }
    facts.took_ms = millis(began.elapsed());
    facts.client_certificate_requested = asked.was();
    told(&mut facts, &connection);
    let shown = recorder.shown();
    facts.ocsp_stapled = shown.ocsp;
    add_chain(&mut facts, &shown, plan);
    let established = facts.ending == TlsEnding::Established;
    (facts, established.then_some(connection))
}

fn nothing_yet(plan: &TlsPlan, name: Option<&ServerName<'_>>) -> TlsFacts {
    let failed = || Blind::NotAttempted { why: "the handshake did not come that far".to_owned() };
    TlsFacts {
        server_name: name.map(|name| name.to_str().into_owned()),
        reference_name: plan.reference_name.clone(),
        took_ms: 0,
        ending: TlsEnding::Established,
        version: Seen::Unknown(failed()),
        suite: Seen::Unknown(failed()),
        group: Seen::Unknown(failed()),
        chain: Seen::Unknown(failed()),
        problems: Vec::new(),
        trusted: std::collections::BTreeMap::new(),
        client_certificate_requested: false,
        ocsp_stapled: false,
    }
}

/// What was agreed upon, as far as it came.
fn told(facts: &mut TlsFacts, connection: &ClientConnection) {
    if let Some(version) = connection.protocol_version() {
        let name = match version {
            ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
            ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
            other => format!("{other:?}"),
        };
        facts.version = Seen::Value(name);
    }
    if let Some(suite) = connection.negotiated_cipher_suite() {
        // The registry's names have no version in them.
        let name = format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
        facts.suite = Seen::Value(name);
    }
    if let Some(group) = connection.negotiated_key_exchange_group() {
        let number = u16::from(group.name());
        facts.group = Seen::Value(names::group(number).name.unwrap_or_else(|| number.to_string()));
    }
}

fn add_chain(facts: &mut TlsFacts, shown: &Shown, plan: &TlsPlan) {
    if shown.chain.is_empty() {
        return;
    }
    let examined = plan.roots.examine(&shown.chain, plan.reference_name.as_deref());
    add_examined(facts, &examined);
    if shown.unproven {
        let blind = Blind::NotUnderstood {
            what: "the proof that the server has the certificate's key".to_owned(),
            text: "signed in a way that mxray cannot calculate".to_owned(),
        };
        for verdict in facts.trusted.values_mut().filter(|verdict| verdict.value() == Some(&true)) {
            *verdict = Seen::Unknown(blind.clone());
        }
    }
}

fn add_examined(facts: &mut TlsFacts, examined: &Examined) {
    facts.chain = Seen::Value(examined.chain.clone());
    facts.problems.clone_from(&examined.problems);
    facts.trusted.clone_from(&examined.trusted);
}

fn connection(
    plan: &TlsPlan,
    name: Option<ServerName<'static>>,
    recorder: Arc<Recorder>,
    asked: Arc<Asked>,
) -> Result<ClientConnection, String> {
    let versions = plan.versions();
    if versions.is_empty() {
        return Err("sessions can be held with TLS 1.2 and 1.3 only".to_owned());
    }
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&versions);
    let mut config = config
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(recorder)
        .with_client_cert_resolver(asked);
    // Each look is a whole handshake.
    config.resumption = Resumption::disabled();
    config.enable_sni = name.is_some();
    // A connection wants a name even where none is sent.
    let name = match name {
        Some(name) => name,
        None => ServerName::try_from("nameless.invalid").map_err(|error| error.to_string())?,
    };
    ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
}

/// Reads and writes until it stands, or not.
fn shake(tls: &mut ClientConnection, socket: &Socket, until: Instant) -> TlsEnding {
    let began = Instant::now();
    let mut answered = false;
    while tls.is_handshaking() || tls.wants_write() {
        let wants = if tls.wants_write() { PollFlags::OUT } else { PollFlags::IN };
        match socket.wait(wants, until) {
            // A peer that always has something more to say is not waited for, either.
            Ok(true) if Instant::now() < until => {}
            Ok(_) => return TlsEnding::TimedOut { after_ms: millis(began.elapsed()) },
            Err(errno) => return TlsEnding::Broke { error: words(&errno.into()) },
        }
        if tls.wants_write() {
            match tls.write_tls(&mut &*socket) {
                Ok(_) => continue,
                Err(error) if is_idle(&error) => continue,
                // What the server said before it hung up may wait to be read.
                Err(error) => return last_words(tls, socket).unwrap_or(TlsEnding::Broke { error: words(&error) }),
            }
        }
        if !answered {
            if let Some(first) = foreign(socket, until) {
                return TlsEnding::NotTls { first };
            }
            answered = true;
        }
        if let Some(ending) = receive(tls, socket) {
            return ending;
        }
    }
    TlsEnding::Established
}

fn is_idle(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

/// Reads what is there. `Some`: it is over.
fn receive(tls: &mut ClientConnection, mut socket: &Socket) -> Option<TlsEnding> {
    match tls.read_tls(&mut socket) {
        Ok(0) => return Some(TlsEnding::PeerClosed),
        Ok(_) => {}
        Err(error) if is_idle(&error) => return None,
        Err(error) => return Some(TlsEnding::Broke { error: words(&error) }),
    }
    let error = tls.process_new_packets().err()?;
    // The alert that says so.
    let _ = tls.write_tls(&mut socket);
    Some(match error {
        rustls::Error::AlertReceived(alert) => {
            let number = u8::from(alert);
            TlsEnding::Alert { name: names::alert(number).unwrap_or_else(|| number.to_string()) }
        }
        other => TlsEnding::Incompatible { error: verifier::words(&other) },
    })
}

/// An alert that came before the connection broke.
fn last_words(tls: &mut ClientConnection, socket: &Socket) -> Option<TlsEnding> {
    receive(tls, socket).filter(|ending| matches!(ending, TlsEnding::Alert { .. }))
}

/// The first bytes of what is no TLS. A record begins with its type and the version 3 (RFC 8446 section 5.1).
fn foreign(socket: &Socket, until: Instant) -> Option<Raw> {
    let mut first = [0; FOREIGN_BYTES_MAX];
    let length = socket.peek(&mut first)?;
    let is_record = match first.get(..length).unwrap_or_default() {
        [kind, 3, ..] => (20..=24).contains(kind),
        [kind] => (20..=24).contains(kind),
        // Closed: rustls sees it, too.
        [] => true,
        _ => false,
    };
    if is_record {
        return None;
    }
    let until = until.min(Instant::now() + FOREIGN_LINE);
    let mut kept = Vec::new();
    while !kept.contains(&b'\n') && kept.len() < FOREIGN_BYTES_MAX && socket.wait(PollFlags::IN, until) == Ok(true) {
        match std::io::Read::read(&mut &*socket, &mut first) {
            Ok(0) => break,
            Ok(count) => kept.extend_from_slice(first.get(..count).unwrap_or_default()),
            Err(error) if is_idle(&error) => {}
            Err(_) => break,
        }
    }
    let line = kept.iter().position(|byte| *byte == b'\n').map_or(kept.len(), |at| at + 1);
    kept.truncate(line.min(FOREIGN_BYTES_MAX));
    Some(Raw(kept))
}

/// What the server says of the certificate that it did not get.
fn verdict(tls: &mut ClientConnection, socket: &Socket, until: Instant) -> TlsEnding {
    match socket.wait(PollFlags::IN, until.min(Instant::now() + VERDICT)) {
        // Data of the session are no verdict, and wait in the connection until they are read.
        Ok(true) => receive(tls, socket).unwrap_or(TlsEnding::Established),
        _ => TlsEnding::Established,
    }
}
