//! What rustls asks while it shakes hands: is this certificate good, is this signature, and have we one of our own?

use super::identity::ClientIdentity;
use mxray_auth::{Signature, handshake_signature};
use mxray_model::session::KeyKind;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// One for all handshakes.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// What was shown.
#[derive(Debug, Default, Clone)]
pub(super) struct Shown {
    pub chain: Vec<Vec<u8>>,
    pub ocsp: bool,
    /// The signature that proves the key could not be calculated.
    pub unproven: bool,
}

/// Writes down the chain. Signatures of the handshake itself are checked as ever: they are what TLS is.
#[derive(Debug)]
pub(super) struct Recorder {
    keys: KeyKind,
    shown: Mutex<Shown>,
}

impl Recorder {
    pub fn new(keys: KeyKind) -> Self {
        Recorder { keys, shown: Mutex::default() }
    }

    pub fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match handshake_signature(certificate, u16::from(signed.scheme), message, signed.signature()) {
            Signature::Good => {}
            Signature::Bad => return Err(Error::InvalidCertificate(CertificateError::BadSignature)),
            // A server with such a key is odd and no fault; what it proves is not known.
            Signature::CannotTell => self.shown.lock().unwrap_or_else(PoisonError::into_inner).unproven = true,
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
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
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, certificate, signed)
    }

    /// What is offered decides which of its certificates a host shows (RFC 8446 section 4.2.3). Keys that ring cannot calculate
    /// with are offered, too: their servers are examined like others.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        const ECDSA: [SignatureScheme; 3] = [
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
        ];
        const RSA: [SignatureScheme; 6] = [
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
        ];
        const EDWARDS: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ED448];
        match self.keys {
            KeyKind::Any => [&ECDSA[..], &EDWARDS, &RSA].concat(),
            KeyKind::Rsa => RSA.to_vec(),
            KeyKind::Ecdsa => ECDSA.to_vec(),
        }
    }
}

/// Notes that a certificate of ours was asked for, and gives it where there is one.
#[derive(Debug)]
pub(super) struct Asked {
    was: AtomicBool,
    identity: Option<Arc<CertifiedKey>>,
}

impl Asked {
    pub fn new(identity: Option<&ClientIdentity>) -> Self {
        Asked { was: AtomicBool::new(false), identity: identity.and_then(|identity| identity.certified().ok()) }
    }

    pub fn was(&self) -> bool {
        self.was.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Why we ended it, in words that a mail admin reads.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the server's signature does not fit its certificate".to_owned()
        }
        Error::NoCertificatesPresented => "the server presents no certificate".to_owned(),
        other => other.to_string(),
    }
}
