//! TLS by rustls, with a verifier that writes down what it is shown and never says no.

use crate::clock::millis;
use crate::stream::{Socket, words};
use mxray_model::Seen;
use mxray_model::evidence::{TlsEnding, TlsFacts};
use mxray_model::session::{KeyKind, TlsVersion};
use rustix::event::PollFlags;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The roots that chains are checked against; read once for all sessions.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    // To be filled by the certificate examination.
}

/// A certificate of ours with its key.
#[derive(Debug)]
pub struct ClientIdentity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

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

/// Writes down the chain. Signatures of the handshake itself are checked as ever: they are what TLS is.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default, Clone)]
struct Shown {
    chain: Vec<Vec<u8>>,
    ocsp: bool,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        shown.ocsp = !ocsp_response.is_empty();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes a handshake on a connected socket.
pub(crate) fn handshake(socket: &Socket, plan: &TlsPlan, until: Instant) -> (TlsFacts, Option<Box<ClientConnection>>) {
    let began = Instant::now();
    let provider = Arc::new(ring::default_provider());
    let recorder = Arc::new(Recorder { provider: Arc::clone(&provider), shown: Mutex::default() });
    let mut facts = TlsFacts {
        server_name: plan.server_name.clone(),
        reference_name: plan.reference_name.clone(),
        took_ms: 0,
        ending: TlsEnding::Established,
        version: Seen::not_attempted("the handshake failed"),
        suite: Seen::not_attempted("the handshake failed"),
        group: Seen::not_attempted("the handshake failed"),
        chain: Seen::not_attempted("no certificate came"),
        problems: Vec::new(),
        trusted: std::collections::BTreeMap::new(),
        client_certificate_requested: false,
        ocsp_stapled: false,
    };
    let connection = match connection(plan, provider, Arc::clone(&recorder)) {
        Ok(connection) => connection,
        Err(error) => {
            facts.ending = TlsEnding::Incompatible { error: error.to_string() };
            return (facts, None);
        }
    };
    let mut connection = Box::new(connection);
    facts.ending = shake(&mut connection, socket, until);
    facts.took_ms = millis(began.elapsed());
    let shown = recorder.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    facts.ocsp_stapled = shown.ocsp;
    if let Some(version) = connection.protocol_version() {
        facts.version = Seen::Value(format!("{version:?}"));
    }
    let established = facts.ending == TlsEnding::Established;
    (facts, established.then_some(connection))
}

fn connection(
    plan: &TlsPlan,
    provider: Arc<CryptoProvider>,
    recorder: Arc<Recorder>,
) -> Result<ClientConnection, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(recorder)
        .with_no_client_auth();
    let name = plan.server_name.as_deref().and_then(|name| ServerName::try_from(name.to_owned()).ok());
    let mut config = config;
    config.enable_sni = name.is_some();
    // A connection wants a name even where none is sent.
    let nameless = || ServerName::try_from("nameless.invalid").map_err(|_| rustls::Error::UnsupportedNameType);
    ClientConnection::new(Arc::new(config), name.map_or_else(nameless, Ok)?)
}

/// Reads and writes until it stands, or not.
fn shake(tls: &mut ClientConnection, mut socket: &Socket, until: Instant) -> TlsEnding {
    let began = Instant::now();
    while tls.is_handshaking() {
        let wants = if tls.wants_write() { PollFlags::OUT } else { PollFlags::IN };
        match socket.wait(wants, until) {
            Ok(true) => {}
            Ok(false) => return TlsEnding::TimedOut { after_ms: millis(began.elapsed()) },
            Err(errno) => return TlsEnding::Broke { error: words(&errno.into()) },
        }
        if tls.wants_write() {
            if let Err(error) = tls.write_tls(&mut socket) {
                return TlsEnding::Broke { error: words(&error) };
            }
            continue;
        }
        match tls.read_tls(&mut socket) {
            Ok(0) => return TlsEnding::PeerClosed,
            Ok(_) => {}
            Err(error) => return TlsEnding::Broke { error: words(&error) },
        }
        if let Err(error) = tls.process_new_packets() {
            // The alert that says so.
            let _ = tls.write_tls(&mut socket);
            return match error {
                rustls::Error::AlertReceived(alert) => TlsEnding::Alert { name: format!("{alert:?}") },
                other => TlsEnding::Incompatible { error: other.to_string() },
            };
        }
    }
    TlsEnding::Established
}
