//! hickory's validator, asked about the same zones: a second opinion that shares no line with ours, nor with `delv`'s.

use super::World;
use hickory_net::client::{Client, DnssecClient};
use hickory_net::proto::dnssec::{Algorithm, Proof, PublicKeyBuf, TrustAnchors};
use hickory_net::proto::op::{DnsRequestOptions, DnsResponse, Query};
use hickory_net::proto::rr::{Name, RecordType};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::xfer::{DnsHandle, FirstAnswer};
use hickory_net::{DnsError, NetError};
use mxray_auth::ask::Kind;
use mxray_model::evidence::published::SecurityState;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// What it makes of each of these, and what it says where it fails.
pub(super) fn verdicts(world: &World, questions: &[(&str, Kind)]) -> Vec<(SecurityState, String)> {
    let anchors = Arc::new(anchors(world));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let patience = Some(Duration::from_secs(30));
        let (connecting, handle) = TcpClientStream::new(world.server, None, patience, TokioRuntimeProvider::default());
        let (client, background) = Client::<TokioRuntimeProvider>::new(connecting.await.unwrap(), handle);
        tokio::spawn(background);
        let client = DnssecClient::from_client(client, anchors);
        let mut verdicts = Vec::new();
        for (name, kind) in questions {
            let query = Query::query(Name::from_ascii(format!("{name}.")).unwrap(), record_type(*kind));
            let mut options = DnsRequestOptions::default();
            options.use_edns = true;
            options.edns_set_dnssec_ok = true;
            verdicts.push(verdict(client.lookup(query, options).first_answer().await));
        }
        verdicts
    })
}

fn record_type(kind: Kind) -> RecordType {
    kind.as_str().parse().unwrap()
}

/// The key that signs the root's keys, as `dnssec-keygen` wrote it.
fn anchors(world: &World) -> TrustAnchors {
    let mut files = fs::read_dir(world.dir.join("root")).unwrap().map(|entry| entry.unwrap().path());
    let text =
        fs::read_to_string(files.find(|path| path.extension().is_some_and(|end| end == "key")).unwrap()).unwrap();
    let record = text.lines().find(|line| !line.starts_with(';')).unwrap();
    let words: Vec<&str> = record.split_whitespace().skip_while(|word| *word != "DNSKEY").skip(3).collect();
    let (algorithm, key) = words.split_first().unwrap();
    let bytes = data_encoding::BASE64.decode(key.concat().as_bytes()).unwrap();
    let mut anchors = TrustAnchors::empty();
    anchors.insert(&PublicKeyBuf::new(bytes, Algorithm::from_u8(algorithm.parse().unwrap())));
    anchors
}

fn verdict(answer: Result<DnsResponse, NetError>) -> (SecurityState, String) {
    match answer {
        Ok(response) => {
            let section = if response.answers.is_empty() { &response.authorities } else { &response.answers };
            // An RRSIG record says nothing by itself.
            let proofs: Vec<Proof> = section
                .iter()
                .filter(|record| record.record_type() != RecordType::RRSIG)
                .map(|record| record.proof)
                .collect();
            (worst(&proofs), format!("{proofs:?}"))
        }
        Err(NetError::Dns(DnsError::Nsec { proof, .. })) => (state(proof), format!("NSEC {proof}")),
        Err(error) => (SecurityState::Indeterminate, error.to_string()),
    }
}

fn worst(proofs: &[Proof]) -> SecurityState {
    let order = [Proof::Bogus, Proof::Indeterminate, Proof::Insecure, Proof::Secure];
    order.into_iter().find(|proof| proofs.contains(proof)).map_or(SecurityState::Indeterminate, state)
}

fn state(proof: Proof) -> SecurityState {
    match proof {
        Proof::Secure => SecurityState::Secure,
        Proof::Insecure => SecurityState::Insecure,
        Proof::Bogus => SecurityState::Bogus,
        Proof::Indeterminate => SecurityState::Indeterminate,
    }
}
