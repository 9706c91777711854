//! A certificate of ours, for servers that ask for one.

use super::verifier::provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A certificate of ours with its key.
#[derive(Debug)]
pub struct ClientIdentity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// From the texts of two files, which may be one. The certificate stands first, then those that signed it.
    ///
    /// # Errors
    /// What is missing, or does not fit together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| format!("the certificate cannot be read: {error}"))?;
        if chain.is_empty() {
            return Err("no certificate in it".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "no private key in it that can be used (an encrypted one cannot)".to_owned()
            }
            other => format!("the private key cannot be read: {other}"),
        })?;
        let identity = ClientIdentity { chain, key };
        identity.certified()?;
        Ok(identity)
    }

    pub(super) fn certified(&self) -> Result<Arc<CertifiedKey>, String> {
        let key = provider().key_provider.load_private_key(self.key.clone_key());
        let key = key.map_err(|error| format!("the private key cannot be used: {error}"))?;
        let certified = CertifiedKey::new(self.chain.clone(), key);
        match certified.keys_match() {
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                Err("the private key does not belong to the certificate".to_owned())
            }
            // Where it cannot be told, the server will: `openssl x509 -req` makes certificates of version 1, which rustls
            // does not read.
            Ok(()) | Err(_) => Ok(Arc::new(certified)),
        }
    }
}
