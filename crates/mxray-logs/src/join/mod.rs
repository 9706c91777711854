//! Lines into the lives of messages, and those into sums. A life that ends leaves its sums behind and goes: memory grows with
//! what is on its way, not with the log.
//!
//! A message is received when the queue takes it up: a transaction that comes to nothing is none. It is counted once, however
//! many queue ids it has: behind a content filter, as a forwarded one or at the next hop it goes on (`queued as`,
//! `orig_queue_id`, `forwarded as`). Start reading at [`Analysis::line`]. What must not live here: how a server words it.

mod fold;
mod life;
mod receiver;
mod sessions;
mod steps;
mod story;
mod summary;
mod sums;
mod table;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use mxray_mail::causes::{Cause, Rules};
use mxray_model::text::untrusted;

use crate::batch::Batch;
use crate::cut::kept;
use crate::envelope::Line;
use crate::event::Meaning;
use crate::grammar::{Grammars, Program};
use crate::reader::Read;
use crate::sketch::{Heavy, Minutes, Percentiles};
use crate::stamp::Stamp;
use life::{ByKey, ByShort, Key, Life};
pub(crate) use receiver::operator_of;
pub use summary::{
    CauseOut, IncidentOut, Quantiles, Rate, ReceiverOut, RecipientsOut, SCHEMA as LOGS_SCHEMA, SenderOut, Summary,
    TimelineRow, Unseen as LogUnseen,
};
use sums::{AccountSums, CauseSums, Incident, ReceiverSums, SenderSums, Totals};

/// How deliveries within this host are named, where others have their operator.
pub(crate) const LOCAL: &[u8] = b"(local)";
use table::{OTHERS, Table};

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    MessageId(Vec<u8>),
    To(Vec<u8>),
    From(Vec<u8>),
    QueueId(Vec<u8>),
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Lines before are not looked at.
    pub since: Option<Stamp>,
    /// Lines after are not looked at.
    pub until: Option<Stamp>,
    /// The lives to tell line by line.
    pub selection: Option<Selection>,
    /// Most lives at once. At about 400 bytes each the default takes 40 MB when it is full.
    pub lives_max: usize,
    /// Most recipients of all lives. At up to 48 bytes each the default takes 24 MB when it is full.
    pub recipients_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { since: None, until: None, selection: None, lives_max: 100_000, recipients_max: 500_000 }
    }
}

/// Ids of lives that ended lately, so that a link that is told late finds them.
const ENDED_MAX: usize = 16_384;
/// Names that are remembered to find something quickly; forgotten as a whole when there are more.
const REMEMBERED_MAX: usize = 65_536;
const RECEIVERS_MAX: usize = 2_048;
const SENDERS_MAX: usize = 8_192;
const CAUSES_MAX: usize = 10_000;
const SAMPLES_MAX: usize = 20;
const INCIDENTS_MAX: usize = 200;
/// Servers and instances whose logs may be mixed.
const ORIGINS_MAX: usize = 1_024;
const STORIES_MAX: usize = 50;
const STORY_LINES_MAX: usize = 400;
/// Longest line of a life that is kept whole. Postfix writes up to 2 KiB, Exim up to 8.
const STORY_LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines of all lives that go on, while some are looked for: whose they are is often known by a late line only.
const STORY_BYTES_MAX: usize = 48 << 20;
/// What a line takes beside its text.
const STORY_LINE_OVERHEAD: usize = 48;

/// One life, told line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub queue_id: String,
    pub host: String,
    pub instance: String,
    pub sender: String,
    pub message_id: String,
    pub lines: Vec<(Option<Stamp>, String)>,
    /// Earlier lines of it that were not kept.
    pub lines_left_out: u64,
}

/// A server: which host, which instance.
#[derive(Debug, Clone)]
struct OriginName {
    host: Box<[u8]>,
    instance: Box<[u8]>,
    both: Box<[u8]>,
}

/// A life that ended lately.
#[derive(Debug, Clone, Copy)]
struct Ended {
    /// It was counted as received.
    counted: bool,
    first: Stamp,
    /// Number of this end: a used id may end twice.
    number: u64,
}

/// How many lines were what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    pub read: u64,
    pub understood: u64,
    pub foreign: u64,
    /// Of the foreign ones, those that stand in a mail server's own file: what administrators let it write.
    pub free_text: u64,
    pub not_understood: u64,
    pub outside_window: u64,
    /// Of those not understood and of the free texts, some: one of each beginning.
    pub samples: Vec<String>,
}

/// Kinds of the counts over time.
pub const COUNTED: [&str; 5] = ["delivered", "deferred", "bounced", "rejected", "received"];

/// Reads lines and holds what they add up to.
#[derive(Debug, Clone)]
pub struct Analysis {
    rules: Arc<Rules>,
    options: Options,
    grammars: Grammars,
    lines: Lines,
    sample_heads: HashSet<Vec<u8>>,
    first: Option<Stamp>,
    last: Option<Stamp>,
    origins: Vec<OriginName>,
    origin_last: u16,
    /// Boxed: the table itself stays small enough for the nearest cache.
    lives: ByKey<Box<Life>>,
    /// Recipients of all lives.
    recipients_alive: usize,
    ended: ByShort<Ended>,
    ended_order: VecDeque<(u64, u64)>,
    ends: u64,
    receivers: Table<ReceiverSums>,
    /// Host names whose receiver is known already.
    receiver_of: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    senders: Table<SenderSums>,
    accounts: Table<AccountSums>,
    clients: Table<SenderSums>,
    instances: Table<SenderSums>,
    causes: BTreeMap<(Cause, u32), CauseSums>,
    totals: Totals,
    minutes: Minutes<5>,
    delays: [Percentiles; 5],
    login_sources: Heavy,
    incidents: Vec<Incident>,
    /// Some incident is not over yet.
    open_incidents: bool,
    /// Which host a process has TLS with.
    tls_peers: HashMap<(u16, u32), u64, foldhash::fast::RandomState>,
    /// Sessions with TLS, where attempts name theirs.
    tls_sessions: HashSet<u64, foldhash::fast::RandomState>,
    /// Ids under which forwarded messages are to go on.
    awaited: HashMap<Key, Stamp>,
    /// Clients of sessions, where other lines name the session alone.
    session_clients: HashMap<u64, Box<[u8]>, foldhash::fast::RandomState>,
    stories: Vec<Story>,
    stories_left_out: u64,
    /// Of the lines that lives keep.
    story_bytes: usize,
    story_bytes_max: usize,
    wanted: HashSet<Key>,
    continuation: bool,
}

impl Analysis {
    pub fn new(rules: Arc<Rules>, options: Options) -> Analysis {
        Analysis {
            rules,
            options,
            grammars: Grammars::default(),
            lines: Lines::default(),
            sample_heads: HashSet::new(),
            first: None,
            last: None,
            origins: Vec::new(),
            origin_last: 0,
            lives: ByKey::default(),
            recipients_alive: 0,
            ended: ByShort::default(),
            ended_order: VecDeque::new(),
            ends: 0,
            receivers: Table::new(RECEIVERS_MAX),
            receiver_of: HashMap::default(),
            senders: Table::new(SENDERS_MAX),
            accounts: Table::new(SENDERS_MAX),
            clients: Table::new(SENDERS_MAX),
            instances: Table::new(ORIGINS_MAX),
            causes: BTreeMap::new(),
            totals: Totals::default(),
            minutes: Minutes::default(),
            delays: Default::default(),
            login_sources: Heavy::new(1_024),
            incidents: Vec::new(),
            open_incidents: false,
            tls_peers: HashMap::default(),
            tls_sessions: HashSet::default(),
            awaited: HashMap::new(),
            session_clients: HashMap::default(),
            stories: Vec::new(),
            stories_left_out: 0,
            story_bytes: 0,
            story_bytes_max: STORY_BYTES_MAX,
            wanted: HashSet::new(),
            continuation: false,
        }
    }

    /// From here on replies mean what these rules say; what was counted stays as it was.
    pub fn use_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
        self.receiver_of.clear();
    }

    /// One line as [`crate::Reader`] gives it.
    pub fn line(&mut self, raw: &[u8], read: Read<'_>) {
        let line = match read {
            Read::Framed(line) => line,
            Read::Unframed(text) => {
                self.lines.read += 1;
                return self.unframed(text);
            }
        };
        let (program, meaning) = self.grammars.read(&line);
        self.meant(raw, &line, program, &meaning);
    }

    /// One line of a batch: what [`Analysis::line`] does, where another thread has read it already.
    pub fn batch_line(&mut self, batch: &Batch, at: usize) {
        let Some(understood) = batch.understood(at) else { return };
        match understood.line {
            Some((line, program, meaning)) => self.meant(understood.raw, &line, program, &meaning),
            None => {
                self.lines.read += 1;
                self.unframed(understood.raw);
            }
        }
    }

    #[inline]
    fn meant(&mut self, raw: &[u8], line: &Line<'_>, program: Option<Program>, meaning: &Meaning<'_>) {
        self.lines.read += 1;
        if let Some(stamp) = line.stamp {
            let outside = self.options.since.is_some_and(|since| stamp < since)
                || self.options.until.is_some_and(|until| stamp > until);
            if outside {
                self.lines.outside_window += 1;
                return;
            }
            self.first = Some(self.first.map_or(stamp, |first| first.min(stamp)));
            self.last = Some(self.last.map_or(stamp, |last| last.max(stamp)));
        }
        self.continuation = matches!(program, Some(Program::Exim | Program::Dovecot));
        match meaning {
            Meaning::Foreign => self.lines.foreign += 1,
            Meaning::FreeText => {
                self.lines.foreign += 1;
                self.lines.free_text += 1;
                self.sample(raw, line.text);
            }
            Meaning::NotUnderstood => self.not_understood(raw, line.text),
            Meaning::Understood(event) => {
                self.lines.understood += 1;
                let origin = self.origin(line.host, line.tag, program);
                for _ in 0..line.repeats.min(REPEATS_MAX) {
                    self.event(origin, line, event, raw);
                }
            }
        }
    }

    /// A line without a stamp goes on with the one before, where that server writes such lines (Exim's rejectlog has the
    /// message's header below a rejection).
    fn unframed(&mut self, text: &[u8]) {
        if self.continuation {
            self.lines.understood += 1;
        } else {
            self.not_understood(text, text);
        }
    }

    fn not_understood(&mut self, raw: &[u8], text: &[u8]) {
        self.lines.not_understood += 1;
        self.sample(raw, text);
    }

    fn sample(&mut self, raw: &[u8], text: &[u8]) {
        // Words without digits: a hundred lines that differ in their numbers are one sample.
        let head: Vec<u8> = text.iter().filter(|byte| !byte.is_ascii_digit()).take(24).copied().collect();
        if self.lines.samples.len() < SAMPLES_MAX && self.sample_heads.insert(head) {
            self.lines.samples.push(untrusted(&raw[..raw.len().min(400)]));
        }
    }

    fn origin(&mut self, host: &[u8], tag: &[u8], program: Option<Program>) -> u16 {
        let instance: &[u8] = match program {
            Some(Program::Postfix) => memchr::memchr(b'/', tag).map_or(tag, |at| &tag[..at]),
            // A filter's lines name the queue ids of the server beside it.
            Some(Program::Filter) => return self.beside(host),
            Some(Program::Exim) => b"exim",
            Some(Program::Dovecot) => b"dovecot",
            Some(Program::OpenSmtpd) => b"smtpd",
            Some(Program::Sendmail) => b"sendmail",
            None => b"",
        };
        let (host, instance) = (kept(host), kept(instance));
        let is = |origin: &OriginName| *origin.instance == *instance && *origin.host == *host;
        if self.origins.get(usize::from(self.origin_last)).is_some_and(is) {
            return self.origin_last;
        }
        let at = self.origins.iter().position(is).unwrap_or_else(|| {
            if self.origins.len() < ORIGINS_MAX {
                let both = [host, &b" "[..], instance].concat();
                self.origins.push(OriginName { host: host.into(), instance: instance.into(), both: both.into() });
            }
            self.origins.len() - 1
        });
        self.origin_last = u16::try_from(at).unwrap_or(0);
        self.origin_last
    }

    /// The first server seen on the same host.
    fn beside(&self, host: &[u8]) -> u16 {
        let host = kept(host);
        let at = self.origins.iter().position(|origin| *origin.host == *host && *origin.instance != *b"dovecot");
        at.and_then(|at| u16::try_from(at).ok()).unwrap_or(0)
    }

    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The lives that were looked for, in the order of their ends; then those that still go on.
    pub fn stories(&self) -> (Vec<Story>, u64) {
        let mut told = self.stories.clone();
        let mut left_out = self.stories_left_out;
        let mut alive: Vec<_> = self.lives.iter().filter(|(key, life)| self.is_wanted(key, life)).collect();
        alive.sort_by_key(|(key, life)| (life.first, **key));
        for (key, life) in alive {
            if told.len() < STORIES_MAX {
                told.push(self.story(*key, life));
            } else {
                left_out += 1;
            }
        }
        (told, left_out)
    }

    fn story(&self, key: Key, life: &Life) -> Story {
        let (host, instance) = self.origin_names(key.origin);
        Story {
            queue_id: untrusted(key.id()),
            host: untrusted(host),
            instance: untrusted(instance),
            sender: untrusted(&life.sender),
            message_id: untrusted(&life.message_id),
            lines: life.lines.clone(),
            lines_left_out: life.lines_left_out,
        }
    }

    fn origin_names(&self, origin: u16) -> (&[u8], &[u8]) {
        self.origins.get(usize::from(origin)).map_or((&[], &[]), |origin| (&origin.host, &origin.instance))
    }

    fn is_wanted(&self, key: &Key, life: &Life) -> bool {
        let same = |one: &[u8], other: &[u8]| one.eq_ignore_ascii_case(other);
        life.wanted
            || self.wanted.contains(key)
            || match &self.options.selection {
                None => false,
                Some(Selection::QueueId(id)) => key.id() == id.as_slice(),
                Some(Selection::MessageId(id)) => *life.message_id == *kept(crate::cut::bare(id)),
                Some(Selection::From(sender)) => same(&life.sender, kept(sender)),
                // Told by the recipient's line.
                Some(Selection::To(_)) => false,
            }
    }
}

/// `message repeated N times`: a wrong number must not hold us.
const REPEATS_MAX: u32 = 1_000;

#[cfg(test)]
mod tests;
