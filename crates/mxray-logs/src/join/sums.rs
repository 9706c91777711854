//! What is counted: of everything, of one receiver, of one account.

use std::collections::BTreeMap;

use mxray_mail::causes::{Finality, Retry};

use super::table::Row;
use crate::sketch::{Distinct, Percentiles};
use crate::stamp::Stamp;

/// Recipients by how they ended. Each is counted once, when its message ends or the log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recipients {
    pub delivered: u64,
    pub bounced: u64,
    /// Of the bounced, those whose address itself was wrong.
    pub bounced_hard: u64,
    /// Of the bounced and expired, those refused for reputation or policy.
    pub blocked: u64,
    pub expired: u64,
    /// Not final when the log ended.
    pub pending: u64,
    /// Those of all that were put off at least once.
    pub deferred_ever: u64,
    /// Their message left the queue and no line says what became of them.
    pub unknown: u64,
}

impl Recipients {
    pub fn merge(&mut self, other: &Recipients) {
        self.delivered += other.delivered;
        self.bounced += other.bounced;
        self.bounced_hard += other.bounced_hard;
        self.blocked += other.blocked;
        self.expired += other.expired;
        self.pending += other.pending;
        self.deferred_ever += other.deferred_ever;
        self.unknown += other.unknown;
    }

    pub fn finished(&self) -> u64 {
        self.delivered + self.bounced + self.expired
    }

    pub fn all(&self) -> u64 {
        self.finished() + self.pending + self.unknown
    }
}

/// Of one receiver.
#[derive(Debug, Clone, Default)]
pub struct ReceiverSums {
    pub recipients: Recipients,
    pub attempts: u64,
    /// Of the attempts, those that delivered.
    pub sent: u64,
    pub last_sent: Option<Stamp>,
    pub sent_remote: u64,
    pub sent_tls: u64,
    pub delay: Percentiles,
}

impl Row for ReceiverSums {
    fn merge(&mut self, other: &ReceiverSums) {
        self.recipients.merge(&other.recipients);
        self.attempts += other.attempts;
        self.sent += other.sent;
        self.last_sent = self.last_sent.max(other.last_sent);
        self.sent_remote += other.sent_remote;
        self.sent_tls += other.sent_tls;
        self.delay.merge(&other.delay);
    }

    fn weight(&self) -> u64 {
        self.attempts + self.recipients.all()
    }
}

/// Of one sending domain, client or instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderSums {
    pub messages: u64,
    pub refused: u64,
    pub recipients: Recipients,
}

impl Row for SenderSums {
    fn merge(&mut self, other: &SenderSums) {
        self.messages += other.messages;
        self.refused += other.refused;
        self.recipients.merge(&other.recipients);
    }

    fn weight(&self) -> u64 {
        self.messages + self.refused + self.recipients.all()
    }
}

/// Of one login name.
#[derive(Debug, Clone, Default)]
pub struct AccountSums {
    pub messages: u64,
    pub recipients: Recipients,
    pub logins: u64,
    pub failures: u64,
    pub first: Option<Stamp>,
    pub last: Option<Stamp>,
    /// Messages of each hour, for what is usual and what is not. Bounded by [`HOURS_MAX`].
    pub hours: Hours,
    /// Addresses that it came from, by their hashes; a sketch only where there are many: most accounts have few.
    few_clients: Vec<u64>,
    clients: Option<Box<Distinct>>,
}

/// Counts by hour, in order: most names have one hour only, and what comes is of the last one.
#[derive(Debug, Clone, Default)]
pub struct Hours(pub Vec<(i64, u64)>);

impl Hours {
    fn add(&mut self, hour: i64, count: u64) {
        match self.0.iter().rposition(|(known, _)| *known <= hour) {
            Some(at) if self.0[at].0 == hour => self.0[at].1 += count,
            before => self.0.insert(before.map_or(0, |at| at + 1), (hour, count)),
        }
        if self.0.len() > HOURS_MAX {
            self.0.remove(0);
        }
    }
}

/// Two weeks.
const HOURS_MAX: usize = 336;
/// Addresses of one account that are kept one by one: 128 bytes instead of a sketch's four thousand.
const FEW: usize = 16;

impl AccountSums {
    pub fn seen(&mut self, stamp: Option<Stamp>, client: &[u8]) {
        if let Some(stamp) = stamp {
            self.first = Some(self.first.map_or(stamp, |first| first.min(stamp)));
            self.last = Some(self.last.map_or(stamp, |last| last.max(stamp)));
        }
        if client.is_empty() {
            return;
        }
        self.came_from(crate::sketch::hashed(client));
    }

    fn came_from(&mut self, client: u64) {
        if let Some(clients) = &mut self.clients {
            clients.add_hash(client);
        } else if !self.few_clients.contains(&client) {
            self.few_clients.push(client);
            if self.few_clients.len() > FEW {
                let clients = self.clients.get_or_insert_default();
                std::mem::take(&mut self.few_clients).into_iter().for_each(|client| clients.add_hash(client));
            }
        }
    }

    pub fn sent(&mut self, stamp: Stamp) {
        self.messages += 1;
        self.hours.add(stamp.minute().div_euclid(60), 1);
    }

    pub fn clients(&self) -> u64 {
        self.clients.as_ref().map_or(self.few_clients.len() as u64, |clients| clients.count())
    }
}

impl Row for AccountSums {
    fn merge(&mut self, other: &AccountSums) {
        self.messages += other.messages;
        self.recipients.merge(&other.recipients);
        self.logins += other.logins;
        self.failures += other.failures;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        other.hours.0.iter().for_each(|(hour, count)| self.hours.add(*hour, *count));
        other.few_clients.iter().for_each(|client| self.came_from(*client));
        if let Some(other) = &other.clients {
            let own = self.clients.get_or_insert_default();
            std::mem::take(&mut self.few_clients).into_iter().for_each(|client| own.add_hash(client));
            own.merge(other);
        }
    }

    fn weight(&self) -> u64 {
        // A name that only failed may be anything a stranger typed.
        self.messages * 16 + self.logins * 4 + self.failures
    }
}

/// One cause at one receiver.
#[derive(Debug, Clone)]
pub struct CauseSums {
    pub attempts: u64,
    /// Recipients whose last word it was.
    pub recipients: u64,
    pub first: Stamp,
    pub last: Stamp,
    /// Deliveries to the receiver before its last attempt: with those of now, how many came after it.
    pub sent_before: u64,
    /// The host that it was about, or the recipient's domain where none is known.
    pub host: String,
    /// The recipient's domain.
    pub domain: String,
    /// A reply as it stood in the log.
    pub sample: String,
    pub rule: Option<String>,
    pub finality: Finality,
    pub retry: Retry,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub received: u64,
    pub continued: u64,
    pub notices: u64,
    pub probes: u64,
    pub removed: u64,
    pub never_were: u64,
    pub discarded: u64,
    pub reused: u64,
    pub forgotten: u64,
    pub began_before: u64,
    pub sent: u64,
    pub deferred: u64,
    pub bounced: u64,
    pub echoes: u64,
    pub refusals: u64,
    pub refusals_by_code: BTreeMap<String, u64>,
    pub logins: u64,
    pub login_failures: u64,
    pub sent_remote: u64,
    pub sent_tls: u64,
    pub tls_in: u64,
    pub tls_failures_in: u64,
    pub tls_failures_out: u64,
    pub stored: u64,
    pub discarded_by_sieve: u64,
    pub connections: u64,
    pub starts: u64,
    pub warnings: u64,
    pub errors: u64,
    pub fatals: u64,
    pub panics: u64,
    pub recipients: Recipients,
}

/// Something that stopped a program: what follows within a minute belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub first: Stamp,
    pub last: Stamp,
    pub origin: u16,
    pub text: String,
    pub panic: bool,
    pub lines: u64,
    /// The program whose line it was, as it names itself there.
    pub tag: Box<[u8]>,
    /// After its last line that program did something else, or the server was started anew.
    pub over: bool,
}
