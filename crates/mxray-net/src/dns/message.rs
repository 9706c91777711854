//! Messages: a question as bytes, and bytes as an answer to it. Pure.
//!
//! Whatever comes is bounded by the 64 KiB of one message; of its records a bounded number is kept.

use super::names;
use super::salvage::{self, Salvaged, Unreadable};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use mxray_model::evidence::{DnsRecord, RecordData};
use mxray_model::session::Raw;
use mxray_model::text::untrusted;
use std::collections::HashSet;
use std::str::FromStr;

/// What fits through nearly all networks in one piece (DNS Flag Day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Records that are kept of one answer: as many as the 64 KiB of a message can hold, twelve bytes each. With fewer, a policy that
/// stands among the verifications of many services would be there or not as the server turns its records round.
const RECORDS_MAX: usize = 65_535 / 12;
/// Extended errors that are kept; servers send one or two.
const EXTENDED_MAX: usize = 8;
/// Aliases that are followed within one answer; resolvers themselves stop at about so many.
const ALIASES_MAX: usize = 16;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub name: Name,
    pub kind: RecordType,
    /// DO and AD: what a client asks with that relies on DNSSEC (RFC 4035 section 3.2.1, RFC 6840 section 5.7).
    pub dnssec: bool,
    /// Without it, a server that does not know EDNS(0) understands the question (RFC 6891 section 6.2.2).
    pub edns: bool,
    /// CD: whoever is asked leaves the validation to us (RFC 4035 section 3.2.2).
    pub unchecked: bool,
    /// RD: whoever is asked may ask others. Without it, it says what it knows by itself.
    pub recursion: bool,
}

impl Question {
    pub fn new(name: Name, kind: RecordType) -> Self {
        Question { name, kind, dnssec: false, edns: true, unchecked: false, recursion: true }
    }

    /// As it goes out.
    pub fn bytes(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.checking_disabled = self.unchecked;
        message.metadata.authentic_data = self.dnssec;
        let mut query = Query::query(self.name.clone(), self.kind);
        query.set_query_class(DNSClass::IN);
        message.add_query(query);
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(self.dnssec);
            message.set_edns(edns);
        }
        message.to_vec().ok()
    }
}

/// The type by its mnemonic, or as `TYPE123` (RFC 3597 section 5).
pub(super) fn kind(text: &str) -> Option<RecordType> {
    let text = text.to_ascii_uppercase();
    match text.strip_prefix("TYPE").map(u16::from_str) {
        Some(Ok(number)) => Some(RecordType::from(number)),
        _ => RecordType::from_str(&text).ok(),
    }
}

/// An answer, as far as it concerns the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub code: u16,
    pub authoritative: bool,
    pub truncated: bool,
    pub authentic: bool,
    pub extended: Vec<String>,
    /// The records of the name and of those that it is an alias of.
    pub records: Vec<DnsRecord>,
    pub left_out: u32,
    /// Records of the message whose data are not what their type says.
    pub unreadable: u32,
    /// Records of the kind are there.
    pub found: bool,
    /// Where the aliases led to, if they did.
    pub alias_of: Option<Name>,
    /// A SOA record says that there is nothing (RFC 2308 section 2.2): its owner.
    pub denied_by: Option<String>,
    /// RA.
    pub recursive: bool,
    /// As it came.
    pub packet: Vec<u8>,
}

/// What a packet is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    /// No answer to this question: of another one, late, or forged.
    Stray,
    /// It answers, and cannot be read.
    Unreadable(String),
    Answer(Box<Answer>),
}

/// Reads what came for a question.
pub(super) fn read(bytes: &[u8], id: u16, question: &Question) -> Packet {
    let Some((own_id, flags)) = head(bytes) else { return Packet::Stray };
    let (is_answer, operation) = (flags & 0x8000 != 0, flags & 0x7800);
    if own_id != id || !is_answer || operation != 0 {
        return Packet::Stray;
    }
    match Message::from_vec(bytes) {
        Ok(message) => answer(&message, &[], question, bytes),
        Err(error) => match salvage::read(bytes) {
            Some(salvaged) => salvaged_answer(&salvaged, question, bytes, &error.to_string()),
            None => Packet::Unreadable(untrusted(error.to_string().as_bytes())),
        },
    }
}

/// What could be saved of a message counts where it says what was asked for, or how else to ask.
fn salvaged_answer(salvaged: &Salvaged, question: &Question, bytes: &[u8], error: &str) -> Packet {
    let Packet::Answer(mut answer) = answer(&salvaged.message, &salvaged.unreadable, question, bytes) else {
        return Packet::Stray;
    };
    answer.unreadable = salvaged.count;
    if answer.truncated || answer.code != 0 && !salvaged.is_cut {
        return Packet::Answer(answer);
    }
    let last = answer.alias_of.as_ref().unwrap_or(&question.name);
    let is_wanted = |one: &&Unreadable| {
        let kind = one.kind == question.kind || (one.kind == RecordType::CNAME && question.kind != RecordType::CNAME);
        one.is_answer && one.class == DNSClass::IN && kind && one.owner.eq_ignore_root(last)
    };
    match salvaged.unreadable.iter().find(is_wanted) {
        _ if salvaged.is_cut => Packet::Unreadable(untrusted(error.as_bytes())),
        // Where one of several can be read, that one is there.
        Some(one) if !answer.found => {
            let (kind, count) = (mnemonic(one.kind), one.data.len());
            Packet::Unreadable(format!("its {kind} record has {count} bytes of data, which are none of that type"))
        }
        _ => Packet::Answer(answer),
    }
}

fn head(bytes: &[u8]) -> Option<(u16, u16)> {
    let head: &[u8; 12] = bytes.first_chunk()?;
    Some((u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]])))
}

fn answer(message: &Message, unreadable: &[Unreadable], question: &Question, bytes: &[u8]) -> Packet {
    let metadata = &message.metadata;
    let code = u16::from(metadata.response_code);
    match message.queries.as_slice() {
        [asked] => {
            let same = asked.query_type() == question.kind && asked.query_class() == DNSClass::IN;
            if !same || !asked.name().eq_ignore_root(&question.name) {
                return Packet::Stray;
            }
        }
        // Servers leave it out where they refuse to look at it; where there are records, they have to say of what.
        [] if code != 0 && message.answers.is_empty() => {}
        _ => return Packet::Stray,
    }
    let chain = chain(&message.answers, question);
    let concerns = |record: &&Record| {
        record.dns_class == DNSClass::IN
            && (chain.iter().any(|name| name.eq_ignore_root(&record.name))
                || record.record_type() == RecordType::from(39))
    };
    // "RRsets are not permitted to have duplicate records" (RFC 2181 sections 5 and 5.2; TTLs make none): some servers and
    // caches send one twice, and that is still one.
    let mut seen = HashSet::new();
    let mut concerned: Vec<&Record> = message.answers.iter().filter(concerns).collect();
    let sent = concerned.len();
    concerned.retain(|record| seen.insert((&record.name, &record.data)));
    let last = chain.last().unwrap_or(&question.name);
    let is_wanted = |record: &&&Record| record.record_type() == question.kind && record.name.eq_ignore_root(last);
    // They stand behind the others.
    let stepped_over = unreadable.iter().filter(|one| {
        one.is_answer && one.class == DNSClass::IN && chain.iter().any(|name| name.eq_ignore_root(&one.owner))
    });
    let soa = message.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
    let readable = concerned.iter().map(|record| self::record(record));
    let kept: Vec<DnsRecord> = readable.chain(stepped_over.map(bare)).take(RECORDS_MAX).collect();
    let all = message.answers.len().saturating_sub(sent - concerned.len())
        + unreadable.iter().filter(|one| one.is_answer).count();
    Packet::Answer(Box::new(Answer {
        code,
        authoritative: metadata.authoritative,
        truncated: metadata.truncation,
        authentic: metadata.authentic_data,
        extended: message.edns.as_ref().map(extended).unwrap_or_default(),
        left_out: u32::try_from(all.saturating_sub(kept.len())).unwrap_or(u32::MAX),
        unreadable: 0,
        records: kept,
        found: concerned.iter().any(|record| is_wanted(&record)),
        alias_of: (chain.len() > 1).then(|| last.clone()),
        denied_by: soa.map(|record| names::shown(&record.name)),
        recursive: metadata.recursion_available,
        packet: bytes.to_vec(),
    }))
}

/// The name, and what it is an alias of, in order. A loop ends it.
fn chain(answers: &[Record], question: &Question) -> Vec<Name> {
    let mut chain = vec![question.name.clone()];
    if question.kind == RecordType::CNAME || question.kind == RecordType::ANY {
        return chain;
    }
    while chain.len() <= ALIASES_MAX {
        let Some(last) = chain.last() else { break };
        let target = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name.eq_ignore_root(last) => Some(target.0.clone()),
            _ => None,
        });
        match target {
            Some(target) if !chain.iter().any(|name| name.eq_ignore_root(&target)) => chain.push(target),
            _ => break,
        }
    }
    chain
}

fn record(record: &Record) -> DnsRecord {
    DnsRecord { name: names::shown(&record.name), ttl_s: record.ttl, data: data(record) }
}

fn data(record: &Record) -> RecordData {
    match &record.data {
        RData::A(address) => RecordData::A { address: address.0 },
        RData::AAAA(address) => RecordData::Aaaa { address: address.0 },
        RData::MX(mx) if mx.exchange.is_root() => RecordData::Mx { preference: mx.preference, exchange: String::new() },
        RData::MX(mx) => RecordData::Mx { preference: mx.preference, exchange: names::shown(&mx.exchange) },
        RData::CNAME(target) => RecordData::Cname { target: names::shown(&target.0) },
        RData::PTR(target) => RecordData::Ptr { target: names::shown(&target.0) },
        RData::TXT(txt) => RecordData::Txt { strings: txt.txt_data.iter().map(|text| Raw::from(&**text)).collect() },
        RData::TLSA(tlsa) => RecordData::Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: hexadecimal(&tlsa.cert_data),
        },
        RData::NS(target) => RecordData::Ns { target: names::shown(&target.0) },
        RData::SOA(soa) => RecordData::Soa {
            primary: names::shown(&soa.mname),
            mailbox: names::shown(&soa.rname),
            serial: soa.serial,
            minimum_s: soa.minimum,
        },
        RData::SRV(srv) => RecordData::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: if srv.target.is_root() { String::new() } else { names::shown(&srv.target) },
        },
        rest => other(record, unknown(rest)),
    }
}

/// By its number, not by its mnemonic: whoever looks for records of the type does not find it.
fn bare(one: &Unreadable) -> DnsRecord {
    let text = rfc3597(&one.data);
    let data = RecordData::Other { kind: format!("TYPE{}", u16::from(one.kind)), text };
    DnsRecord { name: names::shown(&one.owner), ttl_s: one.ttl_s, data }
}

fn other(record: &Record, text: String) -> RecordData {
    RecordData::Other { kind: mnemonic(record.record_type()), text }
}

fn mnemonic(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

fn unknown(data: &RData) -> String {
    let mut bytes = Vec::new();
    let written = data.emit(&mut BinEncoder::new(&mut bytes));
    if written.is_err() {
        bytes.clear();
    }
    rfc3597(&bytes)
}

/// RFC 3597 section 5: `\# length digits`.
fn rfc3597(bytes: &[u8]) -> String {
    format!("\\# {} {}", bytes.len(), hexadecimal(bytes)).trim_end().to_owned()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 8914: a number, its name, and what the server adds.
fn extended(edns: &Edns) -> Vec<String> {
    const EXTENDED_ERROR: u16 = 15;
    let all = edns.options().as_ref().iter();
    let texts = all.filter_map(|(code, option)| match option {
        EdnsOption::Unknown(_, data) if u16::from(*code) == EXTENDED_ERROR => {
            let (number, text) = data.split_first_chunk::<2>()?;
            let number = u16::from_be_bytes(*number);
            let name = EXTENDED.get(usize::from(number)).copied().unwrap_or("unregistered");
            let text = untrusted(text);
            Some(if text.is_empty() { format!("{number} {name}") } else { format!("{number} {name}: {text}") })
        }
        _ => None,
    });
    texts.take(EXTENDED_MAX).collect()
}

/// RFC 8914 section 5.2.
const EXTENDED: [&str; 25] = [
    "Other",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
];

/// The mnemonic of a response code (RFC 6895 section 2.3).
pub(super) fn code_text(code: u16) -> String {
    let known = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        other => return format!("RCODE{other}"),
    };
    known.to_owned()
}
