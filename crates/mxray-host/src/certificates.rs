//! The files of all servers' certificates and keys, read and compared.
//!
//! What they mean is `mxray-auth`'s to say. Keys are mostly root's alone: without root they are unknown, with the reason.

use crate::read;
use mxray_auth::FILE_BYTES_MAX;
use mxray_model::evidence::{CertificateFiles, CertificatePair, Server};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// Most pairs that are read: hosting platforms have one for each of some thousand domains.
const PAIRS_MAX: usize = 5_000;

/// Which files are to be compared.
#[derive(Debug, Clone, Default)]
pub struct Wanted(BTreeMap<String, Files>);

#[derive(Debug, Clone)]
struct Files {
    chain: String,
    key: String,
    /// Files in which a key's certificate may stand where its own has none (Postfix: a list of files is read as one).
    further: Vec<String>,
}

/// The key under which a pair stands in the evidence.
fn name(files: &CertificateFiles) -> String {
    format!("{} {}", files.chain.value, files.key.value)
}

/// The pairs that the servers name.
pub fn wanted(servers: &BTreeMap<String, Server>) -> Wanted {
    let mut wanted = BTreeMap::new();
    for server in servers.values() {
        for (number, files) in server.certificates.iter().enumerate() {
            if wanted.len() == PAIRS_MAX {
                break;
            }
            // What a daemon puts together for each connection (`${tls_in_sni}.pem`), or keeps elsewhere, is no file to read.
            let is_path = |path: &str| path.starts_with('/') && !path.contains('$');
            if !is_path(&files.chain.value) || !is_path(&files.key.value) {
                continue;
            }
            let is_list = files.chain.setting.ends_with("tls_chain_files");
            let behind = server.certificates.get(number + 1..).unwrap_or_default();
            let same_list = |other: &&CertificateFiles| {
                other.chain.setting == files.chain.setting && other.chain.at == files.chain.at
            };
            let further =
                behind.iter().take_while(same_list).filter(|_| is_list).map(|other| other.chain.value.clone());
            let (chain, key) = (files.chain.value.clone(), files.key.value.clone());
            wanted.insert(name(files), Files { chain, key, further: further.collect() });
        }
    }
    Wanted(wanted)
}

/// Reads and compares them.
pub fn read(wanted: &Wanted) -> BTreeMap<String, CertificatePair> {
    wanted.0.iter().map(|(name, files)| (name.clone(), pair(files))).collect()
}

/// None of them was read in time.
pub fn unread(wanted: &Wanted, blind: &Blind) -> BTreeMap<String, CertificatePair> {
    let unknown = |files: &Files| CertificatePair {
        key_behind: false,
        chain_file: files.chain.clone(),
        key_file: files.key.clone(),
        chain: Seen::Unknown(blind.clone()),
        key: Seen::Unknown(blind.clone()),
        belongs: Seen::Unknown(blind.clone()),
    };
    wanted.0.iter().map(|(name, files)| (name.clone(), unknown(files))).collect()
}

fn pair(files: &Files) -> CertificatePair {
    let mut chain = content(&files.chain);
    for further in &files.further {
        if let (Seen::Value(bytes), Seen::Value(more)) = (&mut chain, content(further)) {
            bytes.push(b'\n');
            bytes.extend(more);
        }
    }
    mxray_auth::pair(&files.chain, chain, &files.key, content(&files.key))
}

/// A file, whole: of one that is cut off no certificate can be said to be the first.
pub(crate) fn content(path: &str) -> Seen<Vec<u8>> {
    let at = Path::new(path);
    match read::file(at, FILE_BYTES_MAX) {
        Seen::Value(content) if content.cut => read::failed("read", at, &format!("longer than {FILE_BYTES_MAX} bytes")),
        Seen::Value(content) => Seen::Value(content.bytes),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::Configured;
    use std::collections::BTreeSet;

    fn files(setting: &str, chain: &str, key: &str) -> CertificateFiles {
        let of = |value: &str| Configured { value: value.to_owned(), setting: setting.to_owned(), at: None };
        CertificateFiles {
            chain: of(chain),
            key: of(key),
            services: BTreeSet::new(),
            as_client: false,
            names: BTreeSet::new(),
        }
    }

    fn server(certificates: Vec<CertificateFiles>) -> BTreeMap<String, Server> {
        BTreeMap::from([("postfix".to_owned(), Server { certificates, ..Server::default() })])
    }

    #[test]
    fn a_list_of_files_is_read_as_one() {
        let fixture = |name: &str| format!("{}/../mxray-auth/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let (key, chain) = (fixture("rsa.key"), fixture("rsa.pem"));
        let list = "smtpd_tls_chain_files";
        let found = read(&wanted(&server(vec![files(list, &key, &key), files(list, &chain, &chain)])));
        assert_eq!(found[&format!("{key} {key}")].belongs, Seen::Value(true));
        assert!(found[&format!("{chain} {chain}")].key.value().unwrap().key.is_absent());
        // In two parameters of their own they are two files.
        let found = read(&wanted(&server(vec![files("smtpd_tls_cert_file", &key, &key), files("x", &chain, &chain)])));
        assert!(found[&format!("{key} {key}")].belongs.is_absent());
    }

    #[test]
    fn what_is_no_file_is_not_read_and_what_is_missing_is_absent() {
        let found = read(&wanted(&server(vec![files("a", "/dev/zero", "/does/not/exist")])));
        let pair = &found["/dev/zero /does/not/exist"];
        assert!(pair.chain.blind().is_some() && pair.key.is_absent() && pair.belongs.blind().is_some());
        assert!(read(&wanted(&server(vec![files("a", "/etc/${tls_in_sni}.pem", "cert.pem")]))).is_empty());
    }
}
