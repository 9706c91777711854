//! One message while it is on its way: what its lines told, until it ends.

use mxray_mail::causes::Cause;

use crate::stamp::Stamp;

/// Instance and queue id: what lines of one message share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub origin: u16,
    length: u8,
    id: [u8; ID_BYTES_MAX],
}

/// Postfix's long ids have at most 20 characters, Exim's 23.
const ID_BYTES_MAX: usize = 29;

impl Key {
    pub fn new(origin: u16, id: &[u8]) -> Key {
        let length = id.len().min(ID_BYTES_MAX);
        let mut key = Key { origin, length: length as u8, id: [0; ID_BYTES_MAX] };
        key.id[..length].copy_from_slice(&id[..length]);
        key
    }

    pub fn id(&self) -> &[u8] {
        &self.id[..usize::from(self.length)]
    }

    /// Enough to tell the few thousand keys apart that are remembered after their end: two in 10^11 share one.
    pub fn short(&self) -> u64 {
        crate::sketch::hashed(self.id()) ^ u64::from(self.origin).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Queue ids are chosen by our own server, not by strangers, and are looked up for each line: a quick hash is enough.
impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.short());
    }
}

/// Passes on the hash that a [`Key`] made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passing(u64);

impl std::hash::Hasher for Passing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = crate::sketch::hashed(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub type ByKey<V> = std::collections::HashMap<Key, V, std::hash::BuildHasherDefault<Passing>>;
/// By [`Key::short`].
pub type ByShort<V> = std::collections::HashMap<u64, V, std::hash::BuildHasherDefault<Passing>>;

/// Recipients that are found by looking at one after the other.
const LOOKED_THROUGH_MAX: usize = 32;

/// Where one recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Delivered,
    Bounced,
    /// Given up, as the line of the recipient itself says (Exim, Sendmail, OpenSMTPD).
    Expired,
    /// The message lives on under another id: behind a content filter, at the next hop, as a forwarded one.
    HandedOn,
}

#[derive(Debug, Clone, Copy)]
pub struct Recipient {
    /// Of the address and the one it came from.
    pub hash: u64,
    /// Number in the table of receivers.
    pub receiver: u32,
    pub state: State,
    pub deferred: bool,
    /// The last that was said of it.
    pub cause: Cause,
}

/// How a message came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Birth {
    /// Its first line is missing: it began before the log does.
    #[default]
    Before,
    /// A client or a local program handed it in.
    Accepted,
    /// Made here: a notice, or a forwarded message.
    Made,
}

#[derive(Debug, Clone, Default)]
pub struct Life {
    pub birth: Birth,
    pub first: Stamp,
    pub last: Stamp,
    pub sender: Box<[u8]>,
    pub account: Box<[u8]>,
    pub client: Box<[u8]>,
    pub message_id: Box<[u8]>,
    pub has_message_id: bool,
    pub announced: u32,
    pub recipients: Vec<Recipient>,
    /// Places of the recipients, where they are too many to be looked through: a list may have fifty thousand.
    pub places: Option<Box<ByShort<u32>>>,
    /// It was taken up by the queue at least once: before that it may still come to nothing.
    pub queued: bool,
    pub notice: bool,
    /// The continuation of another life.
    pub continued: bool,
    /// Another life named it as the one before: what is sent to ourselves goes on there.
    pub goes_on: bool,
    pub probe: bool,
    pub expired: bool,
    pub held: bool,
    pub discarded: bool,
    /// Kept only while something is looked for.
    pub lines: Vec<(Option<Stamp>, String)>,
    /// Lines that were not kept, to stay within the bound.
    pub lines_left_out: u64,
    pub wanted: bool,
}

/// Why a life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Removed,
    /// Its transaction was given up, or refused as a whole: it never was a message.
    NeverWas,
    /// The id belongs to another message now, and nobody said what became of this one.
    Reused,
    /// Goes on under another id.
    Requeued,
    /// It was forgotten to stay within the bound.
    Forgotten,
}

impl Life {
    pub fn is_message(&self) -> bool {
        (self.queued || self.held) && !self.probe && !self.discarded
    }

    /// The recipient of a hash, new where it is not known.
    pub fn recipient(&mut self, hash: u64) -> &mut Recipient {
        let next = self.recipients.len();
        let at = match &mut self.places {
            Some(places) => *places.entry(hash).or_insert(next as u32) as usize,
            None => self.recipients.iter().position(|recipient| recipient.hash == hash).unwrap_or(next),
        };
        if at == next {
            let (state, cause) = (State::Pending, Cause::Unknown);
            self.recipients.push(Recipient { hash, receiver: 0, state, deferred: false, cause });
            if self.recipients.len() == LOOKED_THROUGH_MAX {
                let places = self.recipients.iter().zip(0..).map(|(recipient, at)| (recipient.hash, at));
                self.places = Some(Box::new(places.collect()));
            }
        }
        &mut self.recipients[at]
    }

    /// Every recipient that was announced has come to an end.
    pub fn is_done(&self) -> bool {
        let open = self.recipients.iter().any(|recipient| recipient.state == State::Pending);
        self.queued && !open && !self.recipients.is_empty() && self.unseen() == 0
    }

    /// Recipients that the queue announced and of which no line spoke.
    pub fn unseen(&self) -> u64 {
        u64::from(self.announced).saturating_sub(self.recipients.len() as u64)
    }
}
