//! Name lookups as evidence: every try with its server, its transport and its time.

use mxray_model::Seen;
use mxray_model::evidence::{DnsOutcome, DnsRecord, Lookup, RecordData};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Whom to ask.
#[derive(Debug, Clone, Default)]
pub struct Resolver {
    /// In order. Empty: nobody can be asked.
    pub servers: Vec<SocketAddr>,
}

/// The addresses behind a name, and the questions that told them.
#[derive(Debug, Clone)]
pub struct Answered {
    /// `Absent`: the name has none, or does not exist.
    pub addresses: Seen<Vec<IpAddr>>,
    pub lookups: Vec<Lookup>,
}

impl Resolver {
    /// One question.
    pub fn lookup(&self, kind: &str, name: &str, _until: Instant) -> Lookup {
        let outcome = DnsOutcome::NotAsked(mxray_model::Blind::NotAttempted { why: "not built".to_owned() });
        Lookup { name: name.to_owned(), kind: kind.to_owned(), outcome, records: Vec::new(), tries: Vec::new() }
    }

    /// A and AAAA, side by side; an address stands for itself.
    pub fn addresses(&self, host: &str, _until: Instant) -> Answered {
        if let Ok(address) = host.parse() {
            return Answered { addresses: Seen::Value(vec![address]), lookups: Vec::new() };
        }
        let found =
            std::net::ToSocketAddrs::to_socket_addrs(&(host, 0)).map(|found| found.map(|one| one.ip()).collect());
        let addresses: Vec<IpAddr> = found.unwrap_or_default();
        let record = |address: &IpAddr| DnsRecord {
            name: host.to_owned(),
            ttl_s: 0,
            data: match *address {
                IpAddr::V4(address) => RecordData::A { address },
                IpAddr::V6(address) => RecordData::Aaaa { address },
            },
        };
        let lookup = |kind: &str| {
            let records: Vec<DnsRecord> = addresses.iter().map(record).filter(|r| r.data.kind() == kind).collect();
            let outcome = if records.is_empty() { DnsOutcome::NoData } else { DnsOutcome::Found };
            Lookup { name: host.to_owned(), kind: kind.to_owned(), outcome, records, tries: Vec::new() }
        };
        let lookups = vec![lookup("A"), lookup("AAAA")];
        Answered { addresses: if addresses.is_empty() { Seen::Absent } else { Seen::Value(addresses) }, lookups }
    }
}
