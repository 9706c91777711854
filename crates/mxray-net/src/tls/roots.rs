//! The stores that chains are held against, read once and when they are first needed; and what was found of each chain, since
//! many addresses present the same one.

use mxray_auth::{Anchors, Examined, Stores, chain};
use mxray_model::evidence::RootStore;
use mxray_model::{Blind, Seen};
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most chains that are remembered; behind it they are forgotten and examined again.
const REMEMBERED_MAX: usize = 4096;
/// What is remembered of a chain holds for so long, in seconds: certificates expire.
const REMEMBERED_S: i64 = 600;

/// The roots that chains are checked against; read once for all sessions.
#[derive(Debug, Default)]
pub struct Roots {
    stores: OnceLock<Stores>,
    known: Mutex<BTreeMap<Vec<u8>, Arc<Examined>>>,
}

impl Roots {
    /// These and no others.
    pub fn given(stores: Stores) -> Self {
        let roots = Roots::default();
        let _ = roots.stores.set(stores);
        roots
    }

    /// This host's own, and Mozilla's as they were when this was built.
    pub fn stores(&self) -> &Stores {
        self.stores.get_or_init(|| Stores::from([(RootStore::System, system()), (RootStore::Mozilla, mozilla())]))
    }

    /// Everything that is wrong with a chain now.
    pub fn examine(&self, ders: &[Vec<u8>], reference: Option<&str>) -> Arc<Examined> {
        let now = now_s();
        let key = key(ders, reference, now);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(examined) = known().get(&key) {
            return Arc::clone(examined);
        }
        let examined = Arc::new(chain(ders, reference, self.stores(), now));
        let mut known = known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, Arc::clone(&examined));
        examined
    }
}

fn key(ders: &[Vec<u8>], reference: Option<&str>, now: i64) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    part(&(now / REMEMBERED_S).to_be_bytes());
    part(reference.map_or(&[][..], str::as_bytes));
    part(&[u8::from(reference.is_some())]);
    ders.iter().for_each(|der| part(der));
    hash.finish().as_ref().to_vec()
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

/// This host's bundle, where OpenSSL would look (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
fn system() -> Seen<Anchors> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut anchors = Anchors::default();
    for der in &loaded.certs {
        anchors.add_certificate(der);
    }
    match loaded.errors.first() {
        Some(error) if anchors.is_empty() => Seen::Unknown(Blind::Failed {
            step: "read this host's root certificates".to_owned(),
            error: mxray_model::text::untrusted(error.to_string().as_bytes()),
        }),
        None if anchors.is_empty() => Seen::Absent,
        _ => Seen::Value(anchors),
    }
}

fn mozilla() -> Seen<Anchors> {
    let mut anchors = Anchors::default();
    for root in webpki_roots::TLS_SERVER_ROOTS {
        anchors.add_parts(&root.subject, &root.subject_public_key_info);
    }
    Seen::Value(anchors)
}
