//! Messages that the library refuses as a whole, read as far as they go. Pure.
//!
//! One record whose data are not what its type says, an option that is cut short, or a message that was cut on its way: what
//! stands beside it is still an answer. Each record says its own length (RFC 1035 section 4.1.3), so that one that cannot be
//! read can be stepped over. What must not live here: whether the message answers a question (`message`).

use hickory_proto::op::{Edns, Header, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// RFC 1035 section 4.1.1.
const HEAD_BYTES: usize = 12;
/// Records that are stepped over and kept. A zone that is written badly has one or two.
const UNREADABLE_MAX: usize = 32;

/// What a message says, as far as it can be read.
#[derive(Debug)]
pub(super) struct Salvaged {
    /// Of the additional section there is the OPT record alone.
    pub message: Message,
    /// Those of the answers first.
    pub unreadable: Vec<Unreadable>,
    /// How many there are, those that were not kept included.
    pub count: u32,
    /// The message breaks off: there may be more answers than these, or there is none and what would say so is not whole.
    pub is_cut: bool,
}

/// A record whose data are not what its type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub owner: Name,
    pub kind: RecordType,
    pub class: DNSClass,
    pub ttl_s: u32,
    pub data: Vec<u8>,
    pub is_answer: bool,
}

/// Reads what can be read. `None`: there is no header, or no question that could be told.
pub(super) fn read(bytes: &[u8]) -> Option<Salvaged> {
    let mut decoder = BinDecoder::new(bytes);
    let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
    let mut message = Message::new(metadata.id, metadata.message_type, OpCode::Query);
    message.metadata = metadata;
    // Servers that cannot read a question send the header back, counts and all. That a name does not exist is not said so.
    if bytes.len() == HEAD_BYTES && metadata.response_code != ResponseCode::NXDomain {
        return Some(Salvaged { message, unreadable: Vec::new(), count: 0, is_cut: counts.answers > 0 });
    }
    for _ in 0..counts.queries {
        message.queries.push(Query::read(&mut decoder).ok()?);
    }
    let at = decoder.index();
    let mut walk = Walk { bytes, at, unreadable: Vec::new(), count: 0 };
    let (answers, mut is_cut) = walk.section(counts.answers, true);
    message.answers = answers;
    if !is_cut {
        let (authorities, breaks_off) = walk.section(counts.authorities, false);
        message.authorities = authorities;
        if !breaks_off {
            walk.additional(counts.additionals, &mut message);
        }
        // That there is nothing has to be said whole.
        is_cut = breaks_off && message.answers.is_empty();
    }
    Some(Salvaged { message, unreadable: walk.unreadable, count: walk.count, is_cut })
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    unreadable: Vec<Unreadable>,
    count: u32,
}

impl Walk<'_> {
    /// The records of one section, and whether it breaks off.
    fn section(&mut self, count: u16, is_answer: bool) -> (Vec<Record>, bool) {
        let mut records = Vec::new();
        for _ in 0..count {
            match self.next(is_answer) {
                None => return (records, true),
                Some(Ok(record)) if !is_of_the_message(record.record_type()) => records.push(record),
                Some(Ok(_)) => self.count = self.count.saturating_add(1),
                Some(Err(unreadable)) => self.keep(unreadable),
            }
        }
        (records, false)
    }

    /// The additional section as far as the OPT record, which says more of the response code (RFC 6891 section 6.1.3).
    fn additional(&mut self, count: u16, message: &mut Message) {
        for _ in 0..count {
            match self.next(false) {
                None => return,
                Some(Ok(record)) if record.record_type() == RecordType::OPT => {
                    let edns = Edns::from(&record);
                    message.metadata.merge_response_code(edns.rcode_high());
                    message.edns = Some(edns);
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(unreadable)) => {
                    if unreadable.kind == RecordType::OPT {
                        let [high, ..] = unreadable.ttl_s.to_be_bytes();
                        message.metadata.merge_response_code(high);
                        self.keep(unreadable);
                        return;
                    }
                    self.keep(unreadable);
                }
            }
        }
    }

    fn keep(&mut self, unreadable: Unreadable) {
        self.count = self.count.saturating_add(1);
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.push(unreadable);
        }
    }

    /// The next record. `None`: it has no end that could be told, and nothing behind it can be read.
    fn next(&mut self, is_answer: bool) -> Option<Result<Record, Unreadable>> {
        let start = u16::try_from(self.at).ok().filter(|start| usize::from(*start) <= self.bytes.len())?;
        let whole = BinDecoder::new(self.bytes);
        let mut head = whole.clone(start);
        let owner = Name::read(&mut head).ok()?;
        let kind = RecordType::from(head.read_u16().ok()?.unverified(/* any type there may be */));
        let class = DNSClass::from(head.read_u16().ok()?.unverified(/* any class there may be */));
        let ttl_s = head.read_u32().ok()?.unverified(/* any time there may be */);
        let length = usize::from(head.read_u16().ok()?.unverified(/* the data are there, or reading them fails */));
        let data = head.read_slice(length).ok()?.unverified(/* bytes */).to_vec();
        self.at = head.index();
        Some(match Record::read(&mut whole.clone(start)) {
            // Of no data the library makes a record of its own, which belongs to updates (RFC 2136).
            Ok(record) if length > 0 || kind == RecordType::OPT => Ok(record),
            _ => Err(Unreadable { owner, kind, class, ttl_s, data, is_answer }),
        })
    }
}

/// OPT, SIG and TSIG say something of a message, and nothing of a name: they are no answers.
fn is_of_the_message(kind: RecordType) -> bool {
    matches!(kind, RecordType::OPT | RecordType::SIG | RecordType::TSIG)
}
