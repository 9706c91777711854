//! The answer as a value, in the form that programs get it (`mxray/logs/1`).

use std::collections::BTreeMap;

use mxray_mail::causes::{Finality, Move, Retry};
use mxray_model::text::untrusted;
use serde::Serialize;

use super::fold::Fold;
use super::life::{End, Key};
use super::sums::{AccountSums, ReceiverSums, Recipients, SenderSums};
use super::table::{OTHERS, Row, Table};
use super::{Analysis, COUNTED};
use crate::sketch::Percentiles;
use crate::stamp::Stamp;

pub const SCHEMA: &str = "mxray/logs/1";
/// Rows of each table.
const ROWS_MAX: usize = 100;
/// Causes have a row for each receiver.
const CAUSE_ROWS_MAX: usize = 1_000;
/// Under so many final recipients a rate says nothing.
pub const RATE_RECIPIENTS_MIN: u64 = 100;

/// What a log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    pub schema: &'static str,
    pub window: Window,
    pub lines: LinesOut,
    pub messages: Messages,
    pub attempts: Attempts,
    pub recipients: RecipientsOut,
    pub rejects: Rejects,
    pub rates: Rates,
    pub delays: Delays,
    pub tls: TlsOut,
    pub logins: Logins,
    pub causes: Vec<CauseOut>,
    pub receivers: Vec<ReceiverOut>,
    pub senders: Vec<SenderOut>,
    pub accounts: Vec<AccountOut>,
    pub clients: Vec<SenderOut>,
    pub instances: Vec<SenderOut>,
    pub incidents: Vec<IncidentOut>,
    pub troubles: Troubles,
    pub timeline: Timeline,
    /// Filled by rules, which see this value as evidence.
    pub findings: Vec<serde_json::Value>,
    pub unseen: Vec<Unseen>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Window {
    pub first: Option<String>,
    pub last: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LinesOut {
    pub read: u64,
    pub understood: u64,
    pub foreign: u64,
    /// Of the foreign, those in a mail server's own file: what administrators let it write.
    pub free_text: u64,
    pub not_understood: u64,
    pub outside_window: u64,
    pub samples: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Messages {
    /// Taken up by the queue for the first time, notices and continuations not counted.
    pub received: u64,
    /// Queue files that ended, notices included.
    pub removed: u64,
    /// In the queue when the log ended, notices included.
    pub alive: u64,
    /// Of those, held by hand or by a rule.
    pub held: u64,
    pub notices: u64,
    /// Further queue ids of messages that had one before: behind filters, forwarded, at a next hop.
    pub continued: u64,
    /// The first line lies before the window.
    pub began_before: u64,
    /// The id was used again and no line says how the first message ended.
    pub ended_unseen: u64,
    /// Transactions that were given up or refused as a whole.
    pub never_queued: u64,
    pub discarded: u64,
    pub probes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attempts {
    pub sent: u64,
    pub deferred: u64,
    pub bounced: u64,
    /// Of the deferred and bounced, those that repeat an earlier error and tried nothing.
    pub echoes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecipientsOut {
    pub delivered: u64,
    pub bounced: u64,
    pub expired: u64,
    pub pending: u64,
    /// Left the queue without a line that says how.
    pub unknown: u64,
    pub deferred_ever: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rejects {
    pub total: u64,
    pub by_code: BTreeMap<String, u64>,
}

/// Numerator and denominator, and the percentage where there are enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rate {
    pub numerator: u64,
    pub denominator: u64,
    pub percent: Option<f64>,
}

/// Of recipients: bounce (the address is wrong), block (reputation and policy) and expiry by those that are final; deferral
/// by all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rates {
    pub bounce: Rate,
    pub block: Rate,
    pub expiry: Rate,
    pub deferral: Rate,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quantiles {
    pub count: u64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Of attempts that delivered; each right to one per cent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Delays {
    pub total: Quantiles,
    pub before_queue: Quantiles,
    pub in_queue: Quantiles,
    pub connecting: Quantiles,
    pub sending: Quantiles,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TlsOut {
    pub sent_remote: u64,
    pub sent_tls: u64,
    /// Sessions of clients of ours.
    pub received_tls: u64,
    pub failures_out: u64,
    pub failures_in: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Logins {
    pub granted: u64,
    pub failed: u64,
    pub sources: Vec<Source>,
    /// How much a source's count may be too low.
    pub sources_error: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Source {
    pub address: String,
    pub failures: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CauseOut {
    pub cause: &'static str,
    pub receiver: String,
    pub about: &'static str,
    pub whose_move: Move,
    pub finality: Finality,
    /// What the first digit of the reply says.
    pub retry: Option<bool>,
    /// What to look at to confirm it.
    pub proof: &'static str,
    pub attempts: u64,
    /// Not delivered, and this was the last that was said.
    pub recipients: u64,
    pub first: String,
    pub last: String,
    /// Deliveries to the receiver after its last attempt: what came through since says that it is over.
    pub delivered_since: u64,
    /// Of one of the attempts: the host that it was about, and the recipient's domain.
    pub host: String,
    pub domain: String,
    pub sample: String,
    pub rule: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReceiverOut {
    pub name: String,
    pub attempts: u64,
    pub last_delivered: Option<String>,
    pub recipients: RecipientsOut,
    pub rates: Rates,
    pub sent_remote: u64,
    pub sent_tls: u64,
    pub delay: Quantiles,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SenderOut {
    pub name: String,
    pub messages: u64,
    pub refused: u64,
    pub recipients: RecipientsOut,
    pub rates: Rates,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccountOut {
    pub name: String,
    pub messages: u64,
    pub recipients: RecipientsOut,
    pub rates: Rates,
    pub logins: u64,
    pub failures: u64,
    /// Different addresses it came from.
    pub clients: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    pub busiest_hour: Option<String>,
    pub busiest_hour_messages: u64,
    /// Of the other hours in which it sent anything.
    pub usual_hour_messages: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IncidentOut {
    pub first: String,
    pub last: String,
    pub host: String,
    pub instance: String,
    pub panic: bool,
    /// The program, as its line names it.
    pub program: String,
    pub text: String,
    pub lines: u64,
    /// That program did something else afterwards, or the server was started anew.
    pub over: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Troubles {
    pub warnings: u64,
    pub errors: u64,
    pub fatals: u64,
    pub panics: u64,
    pub starts: u64,
    pub stored: u64,
    pub discarded_by_sieve: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Timeline {
    pub step_minutes: i64,
    pub kinds: [&'static str; 5],
    pub rows: Vec<TimelineRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimelineRow {
    pub at: String,
    pub counts: [u64; 5],
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unseen {
    pub what: String,
    pub why: String,
    pub needs: String,
}

impl Analysis {
    /// What the lines so far say. Lines may follow.
    pub fn summary(&self) -> Summary {
        self.clone().into_summary()
    }

    /// What all lines say.
    pub fn into_summary(mut self) -> Summary {
        let (alive, held) = self.count_alive();
        let totals = &self.totals;
        Summary {
            schema: SCHEMA,
            window: Window { first: self.first.map(Stamp::rfc3339), last: self.last.map(Stamp::rfc3339) },
            lines: LinesOut {
                read: self.lines.read,
                understood: self.lines.understood,
                foreign: self.lines.foreign,
                free_text: self.lines.free_text,
                not_understood: self.lines.not_understood,
                outside_window: self.lines.outside_window,
                samples: self.lines.samples.clone(),
            },
            messages: Messages {
                received: totals.received,
                removed: totals.removed,
                alive,
                held,
                notices: totals.notices,
                continued: totals.continued,
                began_before: totals.began_before,
                ended_unseen: totals.reused,
                never_queued: totals.never_were,
                discarded: totals.discarded,
                probes: totals.probes,
            },
            attempts: Attempts {
                sent: totals.sent,
                deferred: totals.deferred,
                bounced: totals.bounced,
                echoes: totals.echoes,
            },
            recipients: recipients_out(&totals.recipients),
            rejects: Rejects { total: totals.refusals, by_code: totals.refusals_by_code.clone() },
            rates: rates(&totals.recipients),
            delays: self.delays_out(),
            tls: TlsOut {
                sent_remote: totals.sent_remote,
                sent_tls: totals.sent_tls,
                received_tls: totals.tls_in,
                failures_out: totals.tls_failures_out,
                failures_in: totals.tls_failures_in,
            },
            logins: self.logins_out(),
            causes: self.causes_out(),
            receivers: rows(&self.receivers, receiver_out),
            senders: rows(&self.senders, sender_out),
            accounts: rows(&self.accounts, account_out),
            clients: rows(&self.clients, sender_out),
            instances: rows(&self.instances, sender_out),
            incidents: self.incidents_out(),
            troubles: Troubles {
                warnings: totals.warnings,
                errors: totals.errors,
                fatals: totals.fatals,
                panics: totals.panics,
                starts: totals.starts,
                stored: totals.stored,
                discarded_by_sieve: totals.discarded_by_sieve,
            },
            timeline: self.timeline_out(),
            findings: Vec::new(),
            unseen: self.unseen_out(),
        }
    }

    /// Folds the lives that still go on. How many there are, and how many of them are held.
    fn count_alive(&mut self) -> (u64, u64) {
        self.end_done();
        let lives = std::mem::take(&mut self.lives);
        let mut keys: Vec<Key> = lives.keys().copied().collect();
        // The order decides which names find room.
        keys.sort_unstable();
        let (mut alive, mut held) = (0, 0);
        for key in keys {
            let Some(life) = lives.get(&key) else { continue };
            if life.discarded {
                self.totals.discarded += 1;
            } else if life.probe {
                self.totals.probes += 1;
            } else if life.queued || life.held {
                alive += 1;
                held += u64::from(life.held);
                self.fold(key, life, &Fold::of(life, End::Forgotten));
            }
        }
        (alive, held)
    }

    fn delays_out(&self) -> Delays {
        let [total, before_queue, in_queue, connecting, sending] = self.delays.each_ref().map(quantiles);
        Delays { total, before_queue, in_queue, connecting, sending }
    }

    fn logins_out(&self) -> Logins {
        let sources = self.login_sources.top(20);
        let sources = sources.into_iter().map(|(address, failures)| Source { address: untrusted(address), failures });
        Logins {
            granted: self.totals.logins,
            failed: self.totals.login_failures,
            sources: sources.collect(),
            sources_error: self.login_sources.error(),
        }
    }

    fn causes_out(&self) -> Vec<CauseOut> {
        let mut causes: Vec<CauseOut> = self
            .causes
            .iter()
            .map(|((cause, receiver), sums)| CauseOut {
                cause: cause.name(),
                receiver: name_of(self.receivers.name(*receiver), *receiver == OTHERS),
                about: cause.about(),
                whose_move: cause.whose_move(),
                finality: sums.finality,
                retry: match sums.retry {
                    Retry::Yes => Some(true),
                    Retry::No => Some(false),
                    Retry::Unsaid => None,
                },
                proof: cause.proof(),
                attempts: sums.attempts,
                recipients: sums.recipients,
                first: sums.first.rfc3339(),
                last: sums.last.rfc3339(),
                delivered_since: self
                    .receivers
                    .get(*receiver)
                    .map_or(0, |row| row.sent.saturating_sub(sums.sent_before)),
                host: sums.host.clone(),
                domain: sums.domain.clone(),
                sample: sums.sample.clone(),
                rule: sums.rule.clone(),
            })
            .collect();
        let key = |cause: &CauseOut| (std::cmp::Reverse(cause.recipients), std::cmp::Reverse(cause.attempts));
        causes.sort_by(|one, other| {
            key(one).cmp(&key(other)).then_with(|| (one.cause, &one.receiver).cmp(&(other.cause, &other.receiver)))
        });
        causes.truncate(CAUSE_ROWS_MAX);
        causes
    }

    fn incidents_out(&self) -> Vec<IncidentOut> {
        self.incidents
            .iter()
            .map(|incident| IncidentOut {
                first: incident.first.rfc3339(),
                last: incident.last.rfc3339(),
                host: untrusted(self.origin_names(incident.origin).0),
                instance: untrusted(self.origin_names(incident.origin).1),
                panic: incident.panic,
                program: untrusted(&incident.tag),
                text: incident.text.clone(),
                lines: incident.lines,
                over: incident.over,
            })
            .collect()
    }

    fn timeline_out(&self) -> Timeline {
        let rows = self.minutes.rows();
        let at = |minute: i64| Stamp(minute * 60 * crate::stamp::SECOND).rfc3339();
        Timeline {
            step_minutes: self.minutes.step_minutes(),
            kinds: COUNTED,
            rows: rows.into_iter().map(|(minute, counts)| TimelineRow { at: at(minute), counts }).collect(),
        }
    }

    fn unseen_out(&self) -> Vec<Unseen> {
        let mut unseen = Vec::new();
        let mut say = |what: &str, why: String, needs: &str| {
            unseen.push(Unseen { what: what.to_owned(), why, needs: needs.to_owned() });
        };
        if self.lines.not_understood > 0 {
            say(
                "lines not understood",
                format!("{} of {}", self.lines.not_understood, self.lines.read),
                "a look at the samples",
            );
        }
        if self.totals.forgotten > 0 {
            say(
                "messages on their way",
                format!("{} were forgotten to stay within the memory's bound", self.totals.forgotten),
                "a shorter window",
            );
        }
        let moved = [self.receivers.moved, self.senders.moved, self.accounts.moved, self.clients.moved];
        if moved.iter().any(|moved| *moved > 0) {
            let why = format!("{} rare names were put together as (others)", moved.iter().sum::<u64>());
            say("rows of rare names", why, "a shorter window");
        }
        if self.stories_left_out > 0 {
            say(
                "further lives",
                format!("{} more match what is looked for", self.stories_left_out),
                "a narrower question",
            );
        }
        unseen
    }
}

fn name_of(name: &[u8], others: bool) -> String {
    if others { "(others)".to_owned() } else { untrusted(name) }
}

fn rows<R: Row, O>(table: &Table<R>, out: impl Fn(&[u8], &R) -> O) -> Vec<O> {
    table
        .sorted()
        .into_iter()
        .filter(|(_, row)| row.weight() > 0)
        .take(ROWS_MAX)
        .map(|(name, row)| out(name, row))
        .collect()
}

fn recipients_out(recipients: &Recipients) -> RecipientsOut {
    RecipientsOut {
        delivered: recipients.delivered,
        bounced: recipients.bounced,
        expired: recipients.expired,
        pending: recipients.pending,
        unknown: recipients.unknown,
        deferred_ever: recipients.deferred_ever,
    }
}

fn rate(numerator: u64, denominator: u64) -> Rate {
    let percent = (denominator >= RATE_RECIPIENTS_MIN)
        .then(|| (numerator as f64 / denominator as f64 * 10_000.0).round() / 100.0);
    Rate { numerator, denominator, percent }
}

fn rates(recipients: &Recipients) -> Rates {
    let finished = recipients.finished();
    Rates {
        bounce: rate(recipients.bounced_hard, finished),
        block: rate(recipients.blocked, finished),
        expiry: rate(recipients.expired, finished),
        deferral: rate(recipients.deferred_ever, recipients.all()),
    }
}

fn quantiles(sum: &Percentiles) -> Quantiles {
    let at = |share| sum.at(share).map(|micros| (micros as f64 / 100.0).round() / 10.0);
    Quantiles { count: sum.count(), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) }
}

fn receiver_out(name: &[u8], sums: &ReceiverSums) -> ReceiverOut {
    ReceiverOut {
        name: untrusted(name),
        attempts: sums.attempts,
        last_delivered: sums.last_sent.map(Stamp::rfc3339),
        recipients: recipients_out(&sums.recipients),
        rates: rates(&sums.recipients),
        sent_remote: sums.sent_remote,
        sent_tls: sums.sent_tls,
        delay: quantiles(&sums.delay),
    }
}

fn sender_out(name: &[u8], sums: &SenderSums) -> SenderOut {
    SenderOut {
        name: untrusted(name),
        messages: sums.messages,
        refused: sums.refused,
        recipients: recipients_out(&sums.recipients),
        rates: rates(&sums.recipients),
    }
}

fn account_out(name: &[u8], sums: &AccountSums) -> AccountOut {
    let busiest = sums.hours.0.iter().max_by_key(|(hour, count)| (*count, std::cmp::Reverse(*hour)));
    let (hour, most) = busiest.map_or((None, 0), |(hour, count)| (Some(*hour), *count));
    let others = sums.hours.0.len().saturating_sub(1);
    let rest = sums.hours.0.iter().map(|(_, count)| count).sum::<u64>() - most;
    AccountOut {
        name: untrusted(name),
        messages: sums.messages,
        recipients: recipients_out(&sums.recipients),
        rates: rates(&sums.recipients),
        logins: sums.logins,
        failures: sums.failures,
        clients: sums.clients(),
        first: sums.first.map(Stamp::rfc3339),
        last: sums.last.map(Stamp::rfc3339),
        busiest_hour: hour.map(|hour| Stamp(hour * 3600 * crate::stamp::SECOND).rfc3339()),
        busiest_hour_messages: most,
        usual_hour_messages: if others == 0 { 0.0 } else { (rest as f64 / others as f64 * 10.0).round() / 10.0 },
    }
}
