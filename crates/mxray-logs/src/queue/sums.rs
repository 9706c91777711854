//! Entries into sums: by state, cause, destination, sender and age. Memory is bounded by names, not by messages.

use std::collections::BTreeMap;

use mxray_mail::causes::{Cause, Finality, Retry, Rules, Said, Speaker};

use super::{Entry, State};
use crate::cut::has;
use crate::join::LOCAL;

/// Limits of the ages in seconds, doubling as qshape's do.
pub const AGE_LIMITS_S: [i64; 9] = [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 86_400, 432_000];
/// Names in each table; what is beyond is summed up under `(others)`.
const NAMES_MAX: usize = 5_000;
const OTHERS: &[u8] = b"(others)";

/// Messages or recipients up to one age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgeRow {
    /// `None`: older than the last limit.
    pub below_s: Option<i64>,
    pub count: u64,
}

/// What waits under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    pub messages: u64,
    pub recipients: u64,
    pub oldest_s: i64,
    pub ages: [u64; AGE_LIMITS_S.len() + 1],
}

impl Row {
    fn add(&mut self, age_s: i64, messages: u64, recipients: u64) {
        self.messages += messages;
        self.recipients += recipients;
        self.oldest_s = self.oldest_s.max(age_s);
        let at = AGE_LIMITS_S.iter().position(|limit| age_s < *limit).unwrap_or(AGE_LIMITS_S.len());
        self.ages[at] += messages;
    }

    pub fn ages(&self) -> Vec<AgeRow> {
        let limits = AGE_LIMITS_S.into_iter().map(Some).chain([None]);
        limits.zip(self.ages).map(|(below_s, count)| AgeRow { below_s, count }).collect()
    }
}

/// Recipients that wait for one cause at one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseRow {
    pub cause: Cause,
    pub receiver: Vec<u8>,
    pub finality: Finality,
    pub retry: Retry,
    pub recipients: u64,
    pub oldest_s: i64,
    /// One reason as the queue gives it, and of the same recipient the host and the domain.
    pub sample: Vec<u8>,
    pub host: Vec<u8>,
    pub domain: Vec<u8>,
    pub rule: Option<String>,
}

/// One message that stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub id: Vec<u8>,
    pub state: State,
    pub age_s: i64,
    pub bytes: Option<u64>,
    pub sender: Vec<u8>,
    pub recipients: u64,
    pub first_recipient: Vec<u8>,
    pub reason: Vec<u8>,
    pub next_try_s: Option<i64>,
}

/// What waits, added up.
#[derive(Debug, Clone)]
pub struct Sums {
    now_s: i64,
    pub messages: u64,
    /// `None`: of some message the files do not say.
    pub bytes: Option<u64>,
    pub recipients: u64,
    pub states: BTreeMap<State, Row>,
    pub destinations: BTreeMap<Vec<u8>, Row>,
    pub senders: BTreeMap<Vec<u8>, Row>,
    pub causes: BTreeMap<(Cause, Vec<u8>), CauseRow>,
    /// Deferred messages that came within the last hour and not within the last five minutes.
    pub young_deferred: u64,
    /// The oldest of each state.
    pub oldest: BTreeMap<State, Waiting>,
    /// Of the active ones, the message with most recipients: it may hold the others up.
    pub widest_active: Option<Waiting>,
    /// When the next of those that say it is tried.
    pub next_try_s: Option<i64>,
}

impl Sums {
    pub fn new(now_s: i64) -> Sums {
        Sums {
            now_s,
            messages: 0,
            bytes: Some(0),
            recipients: 0,
            states: BTreeMap::new(),
            destinations: BTreeMap::new(),
            senders: BTreeMap::new(),
            causes: BTreeMap::new(),
            young_deferred: 0,
            oldest: BTreeMap::new(),
            widest_active: None,
            next_try_s: None,
        }
    }

    pub fn add(&mut self, rules: &Rules, entry: &Entry) {
        let age_s = (self.now_s - entry.arrived_s).max(0);
        let recipients = entry.recipients.len() as u64;
        self.messages += 1;
        self.bytes = self.bytes.zip(entry.bytes).map(|(all, one)| all.saturating_add(one));
        self.recipients += recipients;
        self.states.entry(entry.state).or_default().add(age_s, 1, recipients);
        if entry.state == State::Deferred && (300..3_600).contains(&age_s) {
            self.young_deferred += 1;
        }
        if let Some(at) = entry.next_try_s.filter(|_| entry.state == State::Deferred) {
            self.next_try_s = Some(self.next_try_s.map_or(at, |first| first.min(at)));
        }
        named(&mut self.senders, domain_of(&entry.sender)).add(age_s, 1, recipients);
        let mut domains: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for recipient in &entry.recipients {
            *domains.entry(domain_of(&recipient.address)).or_default() += 1;
            // Of what is on hold nothing is tried: what was said before is not why it waits.
            if !recipient.reason.is_empty() && entry.state != State::Hold {
                self.reason(rules, age_s, &recipient.address, &recipient.reason);
            }
        }
        for (domain, count) in domains {
            named(&mut self.destinations, domain).add(age_s, 1, count);
        }
        self.notable(entry, age_s);
    }

    fn notable(&mut self, entry: &Entry, age_s: i64) {
        let waiting = || Waiting {
            id: entry.id.clone(),
            state: entry.state,
            age_s,
            bytes: entry.bytes,
            sender: entry.sender.clone(),
            recipients: entry.recipients.len() as u64,
            first_recipient: entry.recipients.first().map(|first| first.address.clone()).unwrap_or_default(),
            reason: entry
                .recipients
                .iter()
                .map(|one| &one.reason)
                .find(|one| !one.is_empty())
                .cloned()
                .unwrap_or_default(),
            next_try_s: entry.next_try_s,
        };
        if self.oldest.get(&entry.state).is_none_or(|oldest| oldest.age_s < age_s) {
            self.oldest.insert(entry.state, waiting());
        }
        let wide = |widest: &Waiting| widest.recipients < entry.recipients.len() as u64;
        if entry.state == State::Active && self.widest_active.as_ref().is_none_or(wide) {
            self.widest_active = Some(waiting());
        }
    }

    fn reason(&mut self, rules: &Rules, age_s: i64, address: &[u8], reason: &[u8]) {
        // What Postfix repeats without a try is the first error: for what waits that is the reason.
        let reason = reason.strip_prefix(b"delivery temporarily suspended: ").unwrap_or(reason);
        let theirs = has(reason, b" said: ")
            || has(reason, b" refused to talk to me: ")
            || has(reason, b"SMTP error from")
            || reason.first().is_some_and(u8::is_ascii_digit);
        let speaker = if theirs { Speaker::Theirs } else { Speaker::Ours };
        let domain = domain_of(address);
        let host = mxray_mail::causes::unwrap(reason).host.map(<[u8]>::to_vec);
        let host = host.or_else(|| connected_to(reason)).unwrap_or_else(|| domain.clone());
        let verdict = rules.judge(&Said { host: &host, text: reason, speaker });
        let receiver = match rules.receiver_of(&host) {
            // As the log's lines have it, whose relay is the socket.
            _ if is_own_socket(reason) => LOCAL.to_vec(),
            Some(name) => name.as_bytes().to_vec(),
            None => crate::join::operator_of(&host),
        };
        let full = self.causes.len() >= NAMES_MAX && !self.causes.contains_key(&(verdict.cause, receiver.clone()));
        let receiver = if full { OTHERS.to_vec() } else { receiver };
        let row = self.causes.entry((verdict.cause, receiver.clone())).or_insert_with(|| CauseRow {
            cause: verdict.cause,
            receiver,
            finality: verdict.finality,
            retry: verdict.retry,
            recipients: 0,
            oldest_s: 0,
            sample: reason.to_vec(),
            host,
            domain,
            rule: verdict.rule.map(str::to_owned),
        });
        row.recipients += 1;
        row.oldest_s = row.oldest_s.max(age_s);
    }
}

/// `host mail.example.org[private/dovecot-lmtp] said: …`: who speaks is this host's own delivery service.
fn is_own_socket(reason: &[u8]) -> bool {
    let Some(behind) = reason.strip_prefix(b"host ") else { return false };
    let (Some(open), Some(close)) = (memchr::memchr(b'[', behind), memchr::memchr(b']', behind)) else { return false };
    let inner = behind.get(open + 1..close).unwrap_or_default();
    inner.contains(&b'/') || inner.starts_with(b"127.") || inner == b"::1"
}

/// `connect to mx.example.org[192.0.2.1]:25: …`
fn connected_to(reason: &[u8]) -> Option<Vec<u8>> {
    let behind = reason.strip_prefix(b"connect to ")?;
    let end = memchr::memchr(b'[', behind)?;
    (end <= 255 && !behind[..end].contains(&b'/')).then(|| behind[..end].to_vec()).filter(|name| !name.is_empty())
}

fn named(table: &mut BTreeMap<Vec<u8>, Row>, name: Vec<u8>) -> &mut Row {
    let full = table.len() >= NAMES_MAX && !table.contains_key(&name);
    table.entry(if full { OTHERS.to_vec() } else { name }).or_default()
}

fn domain_of(address: &[u8]) -> Vec<u8> {
    let domain = memchr::memrchr(b'@', address).map_or(address, |at| &address[at + 1..]);
    domain[..domain.len().min(255)].to_ascii_lowercase()
}
