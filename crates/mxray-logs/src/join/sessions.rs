//! What is told once of a session and holds for its lines: the client, where a line names its session alone (OpenSMTPD).
//!
//! And messages that go on under another id. What must not live here: how a server words it.

use super::life::{Birth, Key};
use super::{Analysis, REMEMBERED_MAX};
use crate::cut::{kept, word};
use crate::envelope::Line;
use crate::event::{Arrival, Attempt, Event, Peer, Refusal};
use crate::sketch::hashed;
use crate::stamp::{SECOND, Stamp};

/// A forwarded message is written before it is said; what else stands between the lines is the disorder of logs.
const AWAITED: i64 = 60 * SECOND;

/// Sixteen hexadecimal digits at the beginning of a line.
fn session(line: &Line<'_>) -> Option<u64> {
    let first = word(line.text).0;
    (first.len() == 16 && first.iter().all(u8::is_ascii_hexdigit)).then(|| hashed(first))
}

/// The same, of this client.
pub(super) fn from_client<'a>(event: &Event<'a>, address: &'a [u8]) -> Event<'a> {
    let of = |peer: Peer<'a>| Peer { name: peer.name, address };
    match *event {
        Event::Login { account, client, granted } => Event::Login { account, client: of(client), granted },
        Event::Arrival { id, arrival, begins } => {
            Event::Arrival { id, arrival: Arrival { client: of(arrival.client), ..arrival }, begins }
        }
        Event::Refusal { id, refusal } => {
            Event::Refusal { id, refusal: Refusal { client: of(refusal.client), ..refusal } }
        }
        other => other,
    }
}

impl Analysis {
    /// The address of the client, where the line lacks it and its session told it before.
    #[inline]
    pub(super) fn client_of_session(&mut self, line: &Line<'_>, event: &Event<'_>) -> Option<Box<[u8]>> {
        let client = match event {
            Event::Connect { client } => {
                if let Some(session) = session(line) {
                    self.session_begins(session, client.address);
                }
                return None;
            }
            // Nothing comes after it.
            Event::Disconnect { client } if client.address.is_empty() => {
                if let Some(session) = session(line) {
                    self.session_clients.remove(&session);
                }
                return None;
            }
            Event::Login { client, .. } => client,
            Event::Arrival { arrival, .. } => &arrival.client,
            Event::Refusal { refusal, .. } => &refusal.client,
            _ => return None,
        };
        if !client.address.is_empty() || self.session_clients.is_empty() {
            return None;
        }
        self.session_clients.get(&session(line)?).cloned()
    }

    fn session_begins(&mut self, session: u64, address: &[u8]) {
        if self.session_clients.len() > REMEMBERED_MAX {
            self.session_clients.clear();
        }
        self.session_clients.insert(session, kept(address).into());
    }

    /// Whether the next id is a life of these logs: then this one goes on there.
    fn continued_as(&mut self, key: Key, next: &[u8], stamp: Stamp) -> bool {
        let Some(child) = self.find_elsewhere(next, key, stamp) else { return false };
        let parent =
            self.lives.get(&key).map(|life| (life.first, life.account.clone(), life.client.clone(), life.wanted));
        if let Some(life) = self.lives.get_mut(&child) {
            // Older than what it would continue: the same letters, another message.
            if parent.as_ref().is_some_and(|(first, ..)| life.first < *first) {
                return false;
            }
            life.continued = true;
            if let Some((_, account, client, wanted)) = parent {
                if life.account.is_empty() {
                    life.account = account;
                }
                life.client = client;
                life.wanted |= wanted;
            }
        } else if let Some(ended) = self.ended.get_mut(&child.short()) {
            if parent.as_ref().is_some_and(|(parent, ..)| ended.first < *parent) {
                return false;
            }
            // It ended already, and was taken for a message of its own.
            if std::mem::take(&mut ended.counted) {
                self.totals.received = self.totals.received.saturating_sub(1);
                self.totals.continued += 1;
            }
        }
        self.want_too(key, child);
        true
    }

    /// Whether a recipient goes on under the next id. What local(8) forwards does, also where the log tells of the new message
    /// only later, or of its first lines not at all: it is waited for.
    pub(super) fn goes_on_as(&mut self, key: Key, next: &[u8], stamp: Stamp, attempt: &Attempt<'_>) -> bool {
        if self.continued_as(key, next, stamp) {
            return true;
        }
        if !attempt.text.starts_with(b"forwarded as ") {
            return false;
        }
        if self.awaited.len() > REMEMBERED_MAX {
            self.awaited.clear();
        }
        let child = Key::new(key.origin, next);
        self.want_too(key, child);
        self.awaited.insert(child, stamp);
        true
    }

    /// Whether a message was forwarded to this id a short time ago: ids are used again.
    pub(super) fn was_awaited(&mut self, key: &Key, now: Stamp) -> bool {
        self.awaited.remove(key).is_some_and(|since| (now.0 - since.0).abs() <= AWAITED)
    }

    /// Recipients of a message that go on under an id of their own: no other message, and counted where they are.
    pub(super) fn split_off(&mut self, key: Key, from: Key, stamp: Stamp) {
        let parent = self.lives.get(&from).map(|life| {
            (life.sender.clone(), life.message_id.clone(), life.account.clone(), life.client.clone(), life.wanted)
        });
        let life = self.life(key, stamp);
        life.continued = true;
        life.birth = Birth::Made;
        life.queued = true;
        if let Some((sender, message_id, account, client, wanted)) = parent {
            life.sender = sender;
            life.has_message_id = !message_id.is_empty();
            life.message_id = message_id;
            life.account = account;
            life.client = client;
            life.wanted |= wanted;
        }
        self.want_too(from, key);
    }
}
