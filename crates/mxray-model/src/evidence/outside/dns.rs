//! Name lookups: the question, each try with its server, and the answer as it came.

use crate::session::Raw;
use crate::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// One question, and all that was done to have it answered. Its key in the evidence is `TYPE name`: `MX example.org`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lookup {
    /// Without the final dot.
    pub name: String,
    /// `A`, `MX`, `TLSA`.
    pub kind: String,
    pub outcome: DnsOutcome,
    /// The answer section in wire order, aliases included.
    pub records: Vec<DnsRecord>,
    /// In order; the last one is the one that counts.
    pub tries: Vec<DnsTry>,
}

impl ResolverCheck {
    /// Its key in the evidence: the address, with its zone where it has one, with the port where it is not 53.
    pub fn key(server: &SocketAddr) -> String {
        const DNS_PORT: u16 = 53;
        let zone = match server {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("%{}", v6.scope_id()),
            _ => String::new(),
        };
        match (server.port(), server.ip()) {
            (DNS_PORT, address) => format!("{address}{zone}"),
            (port, IpAddr::V4(address)) => format!("{address}:{port}"),
            (port, IpAddr::V6(address)) => format!("[{address}{zone}]:{port}"),
        }
    }

    /// What stood in the way each time.
    pub fn troubles(&self) -> impl Iterator<Item = DnsTrouble> + '_ {
        self.asked.iter().flat_map(|lookup| &lookup.tries).filter_map(|one| one.trouble)
    }
}

impl Lookup {
    /// The key of a question.
    pub fn key(kind: &str, name: &str) -> String {
        format!("{kind} {}", name.trim_end_matches('.').to_ascii_lowercase())
    }

    /// The question in words; the root is a dot.
    fn asked(&self) -> String {
        let name = if self.name.is_empty() { "." } else { &self.name };
        format!("{} {name}", self.kind)
    }

    /// The records of the kind that was asked for. `Absent`: the name does not exist, or has none.
    pub fn found(&self) -> Seen<Vec<&DnsRecord>> {
        match &self.outcome {
            DnsOutcome::Found => {
                Seen::Value(self.records.iter().filter(|record| record.data.kind() == self.kind).collect())
            }
            DnsOutcome::NoData | DnsOutcome::NoSuchName => Seen::Absent,
            DnsOutcome::Refused { rcode } => {
                Seen::Unknown(Blind::Failed { step: format!("asking for {}", self.asked()), error: rcode.clone() })
            }
            DnsOutcome::NoAnswer { after_ms } => Seen::Unknown(self.no_answer(*after_ms)),
            DnsOutcome::NotAsked(blind) => Seen::Unknown(blind.clone()),
        }
    }

    /// Silence is a matter of time; what came instead of an answer is not.
    fn no_answer(&self, after_ms: u64) -> Blind {
        let timed_out = || Blind::TimedOut { what: self.asked(), after_ms };
        let mut words: Vec<String> = Vec::new();
        for one in &self.tries {
            let Some(trouble) = one.trouble else { continue };
            let is_rest = one.transport == Transport::Tcp && self.tries.iter().any(|udp| cut(udp, one.server));
            let text = if is_rest {
                format!("{}'s answer does not fit into UDP, and over TCP it {}", one.server, trouble.as_str())
            } else if trouble == DnsTrouble::Silent {
                return timed_out();
            } else {
                format!("{} {}", one.server, trouble.as_str())
            };
            if !words.contains(&text) {
                words.push(text);
            }
        }
        if words.is_empty() {
            return timed_out();
        }
        Blind::Failed { step: format!("asking for {}", self.asked()), error: words.join(", ") }
    }

    /// The resolver fails with its validation, and has an answer without it. `None`: it did not fail, or was not asked again.
    pub fn fails_validation(&self) -> Option<bool> {
        let failed = matches!(&self.outcome, DnsOutcome::Refused { rcode } if rcode == "SERVFAIL");
        let again = self.tries.iter().rev().find(|one| one.unchecked && one.trouble.is_none())?;
        let answers = again.rcode.value().is_some_and(|code| code == "NOERROR" || code == "NXDOMAIN");
        failed.then_some(answers)
    }

    /// The addresses of an A or AAAA question.
    pub fn addresses(&self) -> Seen<Vec<IpAddr>> {
        self.found().map(|records| {
            let address = |record: &&DnsRecord| match record.data {
                RecordData::A { address } => Some(IpAddr::V4(address)),
                RecordData::Aaaa { address } => Some(IpAddr::V6(address)),
                _ => None,
            };
            records.iter().filter_map(address).collect()
        })
    }
}

/// Its answer over UDP says that there is more (TC).
fn cut(one: &DnsTry, server: SocketAddr) -> bool {
    one.server == server && one.transport == Transport::Udp && one.truncated
}

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DnsOutcome {
    /// There are records of the kind.
    Found,
    /// The name exists and has none of the kind (RFC 2308 section 2.2).
    NoData,
    /// NXDOMAIN (RFC 8020).
    NoSuchName,
    /// SERVFAIL, REFUSED and what else is no answer.
    Refused { rcode: String },
    /// No server answered, in all tries together.
    NoAnswer { after_ms: u64 },
    /// The question could not be asked.
    NotAsked(Blind),
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DnsRecord {
    /// The owner, without the final dot.
    pub name: String,
    pub ttl_s: u32,
    pub data: RecordData,
}

/// What a record says. Names are without the final dot, and escaped as in a zone file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RecordData {
    A {
        address: std::net::Ipv4Addr,
    },
    Aaaa {
        address: std::net::Ipv6Addr,
    },
    /// The exchange is empty for a null MX (RFC 7505).
    Mx {
        preference: u16,
        exchange: String,
    },
    Cname {
        target: String,
    },
    Ptr {
        target: String,
    },
    Txt {
        strings: Vec<Raw>,
    },
    /// The data in lower-case hexadecimal digits (RFC 6698 section 2.1).
    Tlsa {
        usage: u8,
        selector: u8,
        matching: u8,
        data: String,
    },
    Ns {
        target: String,
    },
    /// Of the times only those that mail administrators look at (RFC 1035 section 3.3.13).
    Soa {
        primary: String,
        mailbox: String,
        serial: u32,
        /// How long a "there is none" is kept (RFC 2308 section 4).
        minimum_s: u32,
    },
    /// The target is empty where the service is decidedly not offered (RFC 2782).
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    Other {
        kind: String,
        text: String,
    },
}

impl RecordData {
    /// The type's mnemonic.
    pub fn kind(&self) -> &str {
        match self {
            RecordData::A { .. } => "A",
            RecordData::Aaaa { .. } => "AAAA",
            RecordData::Mx { .. } => "MX",
            RecordData::Cname { .. } => "CNAME",
            RecordData::Ptr { .. } => "PTR",
            RecordData::Txt { .. } => "TXT",
            RecordData::Tlsa { .. } => "TLSA",
            RecordData::Ns { .. } => "NS",
            RecordData::Soa { .. } => "SOA",
            RecordData::Srv { .. } => "SRV",
            RecordData::Other { kind, .. } => kind,
        }
    }
}

/// How a question was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Udp,
    Tcp,
}

/// One question to one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DnsTry {
    pub server: SocketAddr,
    pub transport: Transport,
    pub took_ms: u64,
    /// The mnemonic of the answer's code, `NOERROR`, `SERVFAIL`. Unknown: no answer, or one that cannot be read.
    pub rcode: Seen<String>,
    /// AA: the server answers for the zone itself.
    #[serde(default)]
    pub authoritative: bool,
    /// TC: the answer did not fit.
    #[serde(default)]
    pub truncated: bool,
    /// AD: the server says that it has validated (worth no more than the way to it).
    #[serde(default)]
    pub authentic: bool,
    /// CD: it was asked to leave the validation out. What it says then tells why it failed before, and is not the answer.
    #[serde(default)]
    pub unchecked: bool,
    /// RA: the server asks others for its clients.
    #[serde(default)]
    pub recursive: bool,
    /// The zone whose SOA record stands beside a "there is none" (RFC 2308 section 3).
    #[serde(default)]
    pub denied_by: Option<String>,
    /// RFC 8914, where the server says more.
    #[serde(default)]
    pub extended: Vec<String>,
    /// Why no answer came of it. `None`: one came, whatever it says.
    #[serde(default)]
    pub trouble: Option<DnsTrouble>,
    /// Packets from the server's address that answer another question, or none.
    #[serde(default)]
    pub strays: u32,
    /// Records of the answer that were not kept: there were too many, or they belong to other names.
    #[serde(default)]
    pub left_out: u32,
    /// Records of the answer whose data are not what their type says. Those of the name stand among the records as `TYPE16`
    /// and bytes (RFC 3597 section 5).
    #[serde(default)]
    pub unreadable: u32,
}

/// Why a question to one server had no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DnsTrouble {
    /// Nothing came.
    Silent,
    /// ECONNREFUSED: the host is there, and nobody listens.
    PortClosed,
    /// No route, or a neighbour that does not answer.
    Unreachable,
    /// EACCES, EPERM: a route, a rule or a security module of this host.
    Prohibited,
    /// The answer cannot be read.
    Unreadable,
    /// The connection broke before the answer was whole.
    Broken,
    /// We could not ask.
    Failed,
}

impl DnsTrouble {
    /// To be put behind the server's name.
    pub fn as_str(self) -> &'static str {
        match self {
            DnsTrouble::Silent => "does not answer",
            DnsTrouble::PortClosed => "refuses connections: nobody listens on the port",
            DnsTrouble::Unreachable => "cannot be reached",
            DnsTrouble::Prohibited => "may not be asked from here",
            DnsTrouble::Unreadable => "answers what cannot be read",
            DnsTrouble::Broken => "breaks the connection off",
            DnsTrouble::Failed => "could not be asked",
        }
    }
}

/// A name server of this host, asked directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ResolverCheck {
    pub server: SocketAddr,
    /// What it was asked: the root's servers, a name that it knows by itself, and over TCP once more.
    pub asked: Vec<Lookup>,
    /// It answers at all, whatever it says.
    pub answers: Seen<bool>,
    /// Nobody listens on its port.
    #[serde(default)]
    pub refused: bool,
    /// It answers over TCP (RFC 7766). Unknown: not asked.
    #[serde(default)]
    pub answers_tcp: Seen<bool>,
    /// What it says of DNSSEC.
    #[serde(default)]
    pub dnssec: Seen<DnssecAnswer>,
}

/// What became of a question with the bits DO and AD for the root's own record, which has been signed since 2010.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DnssecAnswer {
    /// AD came: the server says that it has validated.
    Validated,
    /// Signatures came, and no AD: it passes DNSSEC on and does not validate.
    NotValidated,
    /// Neither came, and the root's servers are those of the Internet, whose root is signed: it takes signatures away.
    Stripped,
    /// Neither came, and the root is another one: it may not be signed.
    Unsigned,
}
