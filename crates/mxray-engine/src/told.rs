//! What this host's mail servers tell of themselves: their logs, lately first and within bounds, and their queues.
//!
//! Here lives how much is read, and how sums of a queue become evidence. What must not live here: where logs and queues are
//! (`mxray-host`), what their lines mean (`mxray-logs`), and what is a fault (rules).

use crate::logs::{evidence_of, mover};
use crate::maillog::{self, Ended, Reading, Source};
use crate::parts::{Parts, Pending};
use crate::sessions::Target;
use jiff::Timestamp;
use mxray_host::maillog::{Journal, JournalWindow, found_here};
use mxray_host::programs::Programs;
use mxray_host::queue::{Found, Piece, look};
use mxray_logs::queue::{self, Entry, State, Sums};
use mxray_logs::{Analysis, Options, SECOND, Stamp, Summary};
use mxray_mail::causes::{Cause, Retry, Rules};
use mxray_model::evidence::published::{DomainWhy, MailRoute};
use mxray_model::evidence::{Evidence, LogSource, MailLogs, Queue, QueueCause, QueueMessage, QueueRow, Server};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen, Unseen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Of each file so much from its end.
const TAIL_BYTES: u64 = 64 << 20;
/// For all that is read of logs. The last hour comes first, so that what is cut is the older part.
const PATIENCE: Duration = Duration::from_secs(2);
/// What "now" is, for rates and for faults that may be over.
const RECENT_S: i64 = 3_600;
/// Rows of each table of a queue.
const ROWS_MAX: usize = 50;
/// Destinations that are examined because mail to them fails.
const TARGETS_MAX: usize = 4;
/// What waits for this part of all is worth a connection.
const SHARE_MIN_PERCENT: u64 = 5;
/// So many recipients of the log that a typing error is not among them.
const LOGGED_MIN: u64 = 3;

/// What logs and queues are asked.
#[derive(Debug, Clone)]
pub struct ToldWish {
    /// How far back logs are read.
    pub logs_since: Duration,
    /// What replies mean.
    pub rules: Arc<Rules>,
}

/// What was started and is still to come.
pub(crate) struct Told {
    logs: Pending<Seen<MailLogs>>,
    queues: Vec<(String, Pending<Seen<Queue>>)>,
    programs: Programs,
}

pub(crate) fn start(parts: &mut Parts<'_>, servers: &Seen<BTreeMap<String, Server>>, wish: &ToldWish) -> Told {
    let known = servers.value().cloned().unwrap_or_default();
    let directories: BTreeSet<String> =
        known.values().filter_map(|server| server.directories.get("log").cloned()).collect();
    let until = parts.margin();
    let (since, rules) = (wish.logs_since, Arc::clone(&wish.rules));
    let logs = parts.start("mail logs", move || read_logs(&directories, since, &rules, until));
    let programs = Programs::new(until);
    let mut queues = Vec::new();
    for (name, server) in known.into_iter().filter(|(_, server)| server.enabled && server.software != "dovecot") {
        let (programs, rules) = (programs.clone(), Arc::clone(&wish.rules));
        let part = format!("queue of {name}");
        queues.push((name, parts.start(&part, move || read_queue(&server, &programs, &rules, until))));
    }
    Told { logs, queues, programs }
}

impl Told {
    pub fn join(self, parts: &mut Parts<'_>, evidence: &mut Evidence) {
        evidence.logs = parts.wait(self.logs).unwrap_or_else(Seen::Unknown);
        for (name, pending) in self.queues {
            let queue = parts.wait(pending).unwrap_or_else(Seen::Unknown);
            if !queue.is_absent() {
                evidence.queues.insert(name, queue);
            }
        }
        self.programs.end();
    }
}

/// The logs of this host since so long ago.
fn read_logs(directories: &BTreeSet<String>, since: Duration, rules: &Arc<Rules>, until: Instant) -> Seen<MailLogs> {
    let deadline = until.min(Instant::now() + PATIENCE);
    let now = Stamp(Timestamp::now().as_microsecond());
    let ago = |seconds: i64| Stamp(now.0.saturating_sub(seconds.saturating_mul(SECOND)));
    let since_s = i64::try_from(since.as_secs()).unwrap_or(i64::MAX / SECOND);
    let whole_since = ago(since_s);
    let recent_since = ago(RECENT_S.min(since_s));
    let Some((recent, _)) = pass(directories, rules, recent_since, deadline) else { return Seen::Absent };
    let Some((whole, ended)) = pass(directories, rules, whole_since, deadline) else { return Seen::Absent };
    // What was cut is the end, which the first pass has.
    let mut logs = match ended.cut_short {
        false => evidence_of(&whole, Some(&recent)),
        true => evidence_of(&recent, Some(&recent)),
    };
    logs.since = Seen::Value(if ended.cut_short { recent_since } else { whole_since }.rfc3339());
    logs.sources = sources(&ended);
    Seen::Value(logs)
}

/// Reads what is there since a moment. `None`: there are no logs here.
fn pass(
    directories: &BTreeSet<String>,
    rules: &Arc<Rules>,
    since: Stamp,
    deadline: Instant,
) -> Option<(Summary, Ended)> {
    let found = found_here(directories);
    let mut unseen = found.unseen;
    let mut sources: Vec<Source> = found.files.into_iter().map(Source::File).collect();
    if sources.is_empty() {
        match Journal::open(JournalWindow { since: Some(since.0), until: None, follow: false }) {
            Seen::Value(stream) => {
                sources.push(Source::Stream { name: "the journal".to_owned(), stream: Box::new(stream) });
            }
            Seen::Absent if unseen.is_empty() => return None,
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                unseen.push(Unseen { what: "the journal".to_owned(), why: blind.why(), needs: blind.needs() });
            }
        }
    }
    let mut analysis = Analysis::new(Arc::clone(rules), Options { since: Some(since), ..Options::default() });
    let stop = AtomicBool::new(false);
    let mut ended = maillog::read(
        sources,
        &mut analysis,
        Reading {
            since: Some(since),
            until: None,
            tail_bytes: Some(TAIL_BYTES),
            deadline: Some(deadline),
            stop: &stop,
            progress: &mut |_| {},
        },
    );
    ended.unseen.append(&mut unseen);
    Some((analysis.into_summary(), ended))
}

/// What was read, and what was not and why.
fn sources(ended: &Ended) -> BTreeMap<String, Seen<LogSource>> {
    let read = |source: &maillog::SourceRead| {
        let cut = ended.unseen.iter().find(|unseen| unseen.what.ends_with(&source.name));
        let cut = cut.map_or_else(String::new, |unseen| format!("{}: {}", unseen.what, unseen.why));
        (source.name.clone(), Seen::Value(LogSource { bytes: source.bytes, cut }))
    };
    let mut all: BTreeMap<String, Seen<LogSource>> = ended.sources.iter().map(read).collect();
    for unseen in &ended.unseen {
        if all.keys().any(|name| unseen.what.ends_with(name.as_str())) {
            continue;
        }
        let blind =
            Blind::NotPermitted { what: format!("read {} ({})", unseen.what, unseen.why), needs: unseen.needs.clone() };
        all.insert(unseen.what.clone(), Seen::Unknown(blind));
    }
    all
}

/// What waits in one server's queue, now.
pub fn read_queue(server: &Server, programs: &Programs, rules: &Rules, until: Instant) -> Seen<Queue> {
    look(server, programs, until).map(|found| queue_of(server, &found, rules, Timestamp::now().as_second()))
}

/// The pieces of a queue, added up.
pub fn queue_of(server: &Server, found: &Found, rules: &Rules, now_s: i64) -> Queue {
    let (mut entries, mut cut, mut not_understood) = (Vec::new(), found.cut, found.unread);
    let mut envelopes = Vec::new();
    for piece in &found.pieces {
        match piece {
            Piece::PostfixListing(text) => {
                let (listed, foreign, more) = queue::postfix::listing(text, mxray_host::queue::MESSAGES_MAX);
                // The line at which a long listing was ended is no line.
                not_understood += foreign.saturating_sub(u64::from(found.cut));
                cut |= more;
                entries.extend(listed.into_iter().map(|entry| with_next_try(server, entry, now_s)));
            }
            Piece::Postfix { state, id, file, deferred } => match queue::postfix::file(id, state, file, deferred) {
                // Nobody is left: it is about to be taken away.
                Some(entry) if entry.recipients.is_empty() => {}
                Some(entry) => entries.push(entry),
                None => not_understood += 1,
            },
            Piece::Exim { id, header, journal, log } => match queue::exim::header(id, header) {
                Some(mut entry) => {
                    queue::exim::journal(&mut entry, journal);
                    queue::exim::message_log(&mut entry, log);
                    entries.push(entry);
                }
                None => not_understood += 1,
            },
            Piece::Sendmail { id, control, set_aside } => match queue::sendmail::control(id, control, *set_aside) {
                Some(entry) => entries.push(entry),
                None => not_understood += 1,
            },
            Piece::OpenSmtpd { id, envelope } => match queue::opensmtpd::envelope(id, envelope) {
                Some(envelope) => envelopes.push(envelope),
                None => not_understood += 1,
            },
        }
    }
    entries.extend(queue::opensmtpd::joined(envelopes));
    let mut sums = Sums::new(now_s);
    entries.iter().for_each(|entry| sums.add(rules, entry));
    let mut queue = evidence_of_queue(&sums, now_s);
    queue.source.clone_from(&found.source);
    queue.not_understood = not_understood;
    queue.truncated_at = if cut { Seen::Value(sums.messages) } else { Seen::Absent };
    queue
}

/// Postfix's queue files say when, its listing does not: its law of waiting does (qmgr(8)).
fn with_next_try(server: &Server, mut entry: Entry, now_s: i64) -> Entry {
    let seconds = |name: &str, usual: i64| time_of(server.setting(name)).unwrap_or(usual);
    if entry.state == State::Deferred {
        let age_s = (now_s - entry.arrived_s).max(0);
        let (least, most) = (seconds("minimal_backoff_time", 300), seconds("maximal_backoff_time", 4_000));
        let wait = queue::postfix::next_try_in_s(age_s, least, most, seconds("queue_run_delay", 300));
        entry.next_try_s = Some(now_s.saturating_add(wait));
    }
    entry
}

/// `300s`, `5m`, `1h`: Postfix's times.
fn time_of(text: &str) -> Option<i64> {
    let text = text.trim();
    let (digits, unit) =
        text.split_at(text.len() - text.chars().next_back().filter(char::is_ascii_alphabetic).map_or(0, |_| 1));
    let number: i64 = digits.parse().ok()?;
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn evidence_of_queue(sums: &Sums, now_s: i64) -> Queue {
    let age = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
    let row = |row: &queue::Row| QueueRow {
        messages: row.messages,
        recipients: row.recipients,
        oldest_s: age(row.oldest_s),
        ages: row.ages.to_vec(),
    };
    let named = |table: &BTreeMap<Vec<u8>, queue::Row>| {
        let mut rows: Vec<_> = table.iter().collect();
        rows.sort_by(|one, other| other.1.recipients.cmp(&one.1.recipients).then_with(|| one.0.cmp(other.0)));
        rows.into_iter().take(ROWS_MAX).map(|(name, of)| (untrusted(name), row(of))).collect()
    };
    let message = |waiting: &queue::Waiting| QueueMessage {
        id: untrusted(&waiting.id),
        age_s: age(waiting.age_s),
        sender: untrusted(&waiting.sender),
        recipients: waiting.recipients,
        first_recipient: untrusted(&waiting.first_recipient),
        reason: untrusted(&waiting.reason),
    };
    let mut causes: Vec<QueueCause> = sums.causes.values().map(cause).collect();
    causes.sort_by(|one, other| {
        let name = |of: &QueueCause| (of.cause.clone(), of.receiver.clone());
        other.recipients.cmp(&one.recipients).then_with(|| name(one).cmp(&name(other)))
    });
    causes.truncate(ROWS_MAX);
    Queue {
        source: String::new(),
        messages: sums.messages,
        recipients: sums.recipients,
        bytes: sums
            .bytes
            .map_or_else(|| Seen::not_attempted("the envelopes do not say how large messages are"), Seen::Value),
        states: sums.states.iter().map(|(state, of)| (state.name().to_owned(), row(of))).collect(),
        destinations: named(&sums.destinations),
        senders: named(&sums.senders),
        causes,
        oldest: sums.oldest.iter().map(|(state, of)| (state.name().to_owned(), message(of))).collect(),
        widest_active: sums.widest_active.as_ref().map_or(Seen::Absent, |of| Seen::Value(message(of))),
        young_deferred: sums.young_deferred,
        next_try_in_s: sums.next_try_s.map_or(Seen::Absent, |at| Seen::Value(age(at - now_s))),
        truncated_at: Seen::Absent,
        not_understood: 0,
    }
}

fn cause(row: &queue::CauseRow) -> QueueCause {
    QueueCause {
        cause: row.cause.name().to_owned(),
        receiver: untrusted(&row.receiver),
        host: untrusted(&row.host),
        domain: untrusted(&row.domain),
        about: row.cause.about().to_owned(),
        whose_move: mover(row.cause.whose_move()),
        finality: row.finality.name().to_owned(),
        retry: match row.retry {
            Retry::Yes => Seen::Value(true),
            Retry::No => Seen::Value(false),
            Retry::Unsaid => Seen::Absent,
        },
        proof: row.cause.proof().to_owned(),
        recipients: row.recipients,
        oldest_s: u64::try_from(row.oldest_s).unwrap_or(0),
        sample: untrusted(&row.sample),
    }
}

/// Domains whose mail waits for something that a session proves or clears, one for each receiver and cause.
pub(crate) fn failing(evidence: &Evidence) -> Vec<Target> {
    let chosen = waiting_for(evidence, is_provable).into_iter();
    chosen.map(|domain| Target::Exchangers { domain }).collect()
}

/// Domains of which what is published, or a session, proves or clears why their mail waits.
pub(crate) fn failing_names(evidence: &Evidence) -> Vec<String> {
    waiting_for(evidence, |cause| is_provable(cause) || is_published(cause))
}

/// Where a server was tried for a domain of which DNS says that it has none, mail for it takes another way (a transport, a
/// relay, a table of hosts): what DNS says of it is not why it waits.
pub(crate) fn forget_routed_otherwise(evidence: &mut Evidence) {
    let queued = evidence.queues.values().filter_map(Seen::value).flat_map(|queue| &queue.causes);
    let logged = evidence.logs.value().into_iter().flat_map(|logs| &logs.causes);
    let rows = queued.map(|row| (&row.domain, &row.cause)).chain(logged.map(|row| (&row.domain, &row.cause)));
    let tried = |cause: &String| Cause::named(cause).is_some_and(is_provable);
    let tried: BTreeSet<String> = rows.filter(|(_, cause)| tried(cause)).map(|(domain, _)| domain.clone()).collect();
    evidence.names.domains.retain(|name, domain| {
        let route = domain.route.value().map(|routing| &routing.route);
        let none = matches!(route, Some(MailRoute::Null | MailRoute::Nowhere | MailRoute::NoSuchDomain));
        !(none && domain.why.iter().all(|why| *why == DomainWhy::Receiver) && tried.contains(name))
    });
}

/// The domains whose mail waits, or did not arrive and has not since, for one of some causes; one for each receiver.
fn waiting_for(evidence: &Evidence, wanted: fn(Cause) -> bool) -> Vec<String> {
    // A dead domain or two wait in every queue, and stand in every log.
    let lately = evidence.logs.value().map_or(0, |logs| logs.whole.deferral.denominator);
    let large = |recipients: u64, all: u64| recipients.saturating_mul(100) >= all.saturating_mul(SHARE_MIN_PERCENT);
    let provable = |cause: &str| Cause::named(cause).is_some_and(wanted);
    // What fails on the way to a filter of this host or to the smarthost says nothing of the recipient's domain.
    let servers = evidence.servers.value().into_iter().flatten().map(|(_, server)| server);
    let smarthosts: Vec<&str> = servers
        .flat_map(|server| &server.egress.smarthosts)
        .filter_map(|host| name_of_smarthost(&host.value))
        .collect();
    let elsewhere = |host: &str, sample: &str| {
        host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            || host == "localhost"
            || smarthosts.iter().any(|name| sample.contains(name))
    };
    let mut rows: Vec<(u64, &str, &str)> = Vec::new();
    for queue in evidence.queues.values().filter_map(Seen::value) {
        let all = queue.recipients.max(lately);
        let chosen = queue.causes.iter().filter(|row| large(row.recipients, all) && provable(&row.cause));
        let chosen = chosen.filter(|row| !elsewhere(&row.host, &row.sample));
        rows.extend(chosen.map(|row| (row.recipients, row.domain.as_str(), row.receiver.as_str())));
    }
    for row in evidence.logs.value().into_iter().flat_map(|logs| &logs.causes) {
        let fails = row.delivered_since == 0 && row.recipients >= LOGGED_MIN && large(row.recipients, lately);
        if fails && provable(&row.cause) && !elsewhere(&row.host, &row.sample) {
            rows.push((row.recipients, &row.domain, &row.receiver));
        }
    }
    rows.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1)));
    let (mut domains, mut receivers) = (BTreeSet::new(), BTreeSet::new());
    let fresh = |(_, domain, receiver): &(u64, &str, &str)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_name = domain.contains('.') && domain.bytes().all(plain);
        is_name && receivers.insert((*receiver).to_owned()) && domains.insert((*domain).to_owned())
    };
    rows.into_iter().filter(fresh).take(TARGETS_MAX).map(|(_, domain, _)| domain.to_owned()).collect()
}

/// Of `[smtp.example.net]:587` the name.
fn name_of_smarthost(text: &str) -> Option<&str> {
    let name = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => text.split(':').next(),
    };
    name.filter(|name| name.contains('.') || name.contains(':'))
}

/// What MX, addresses, DNSSEC, TLSA records and MTA-STS policies show.
fn is_published(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::DomainMissing | Cause::DnsTemporary | Cause::NullMx | Cause::NotHosted | Cause::TlsTheyRequire
    )
}

/// What a greeting, EHLO and STARTTLS show.
fn is_provable(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Refused
            | Cause::ConnectTimeout
            | Cause::Unreachable
            | Cause::SessionTimeout
            | Cause::LostConnection
            | Cause::GreetingRefused
            | Cause::TlsWeRequire
            | Cause::TlsCertificate
            | Cause::TlsHandshake
            | Cause::HeloBad
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Mover;
    use mxray_model::evidence::LogCause;
    use mxray_model::evidence::published::{Domain, MailRouting};

    #[test]
    fn times_of_postfix() {
        for (text, seconds) in [
            ("300s", Some(300)),
            ("5m", Some(300)),
            ("1h", Some(3_600)),
            ("7", Some(7)),
            ("", None),
            ("x", None),
            ("5y", None),
        ] {
            assert_eq!(time_of(text), seconds, "{text}");
        }
    }

    fn listed(count: usize, reason: &str, domain: &str) -> Found {
        let line = |at: usize| {
            format!(
                r#"{{"queue_name":"deferred","queue_id":"A{at}","arrival_time":1000,"sender":"a@b.example","recipients":[{{"address":"u{at}@{domain}","delay_reason":"{reason}"}}]}}"#
            )
        };
        let text: Vec<String> = (0..count).map(line).collect();
        Found {
            source: "test".to_owned(),
            pieces: vec![Piece::PostfixListing(text.join("\n").into_bytes())],
            ..Found::default()
        }
    }

    #[test]
    fn what_waits_is_grouped_and_calls_for_a_probe() {
        let server = Server { software: "postfix".to_owned(), ..Server::default() };
        let refused = listed(3, "connect to mx.far.example[192.0.2.1]:25: Connection refused", "far.example");
        let queue = queue_of(&server, &refused, &Rules::built_in(), 1_900);
        assert_eq!((queue.messages, queue.young_deferred, queue.causes.len()), (3, 3, 1));
        assert_eq!(queue.next_try_in_s, Seen::Value(1_200));
        let mut evidence = Evidence::default();
        evidence.queues.insert("postfix".to_owned(), Seen::Value(queue));
        assert_eq!(failing(&evidence), [Target::Exchangers { domain: "far.example".to_owned() }]);
        assert_eq!(failing_names(&evidence), ["far.example"]);
        // What a zone shows and no session.
        let lost = listed(
            3,
            "Host or domain name not found. Name service error for name=far.example type=MX: Host not found, try again",
            "far.example",
        );
        evidence.queues.insert("postfix".to_owned(), Seen::Value(queue_of(&server, &lost, &Rules::built_in(), 1_900)));
        assert_eq!((failing(&evidence), failing_names(&evidence)), (vec![], vec!["far.example".to_owned()]));
        // What no session can show is left alone.
        let full = listed(3, "host mx.far.example[192.0.2.1] said: 452 4.2.2 mailbox full", "far.example");
        evidence.queues.insert("postfix".to_owned(), Seen::Value(queue_of(&server, &full, &Rules::built_in(), 1_900)));
        assert_eq!((failing(&evidence), failing_names(&evidence)), (vec![], Vec::<String>::new()));
    }

    #[test]
    fn what_the_log_shows_failing_is_examined_unless_mail_came_through_since() {
        let row = |domain: &str, recipients, delivered_since| LogCause {
            cause: "null-mx".to_owned(),
            domain: domain.to_owned(),
            receiver: domain.to_owned(),
            recipients,
            delivered_since,
            host: String::new(),
            about: String::new(),
            whose_move: Mover::Recipient,
            finality: String::new(),
            retry: Seen::Absent,
            proof: String::new(),
            attempts: recipients,
            first: String::new(),
            last: String::new(),
            sample: String::new(),
            rule: String::new(),
        };
        let mut logs = MailLogs::default();
        logs.whole.deferral.denominator = 100;
        logs.causes = vec![row("gone.example", 9, 0), row("over.example", 9, 1), row("rare.example", 4, 0)];
        let mut evidence = Evidence { logs: Seen::Value(logs), ..Evidence::default() };
        assert_eq!(failing_names(&evidence), ["gone.example"]);
        let Seen::Value(logs) = &mut evidence.logs else { return };
        logs.whole.deferral.denominator = 4;
        logs.causes = vec![row("typed.example", 2, 0)];
        assert_eq!(failing_names(&evidence), Vec::<String>::new());
    }

    #[test]
    fn a_domain_that_mail_reaches_by_another_way_is_not_judged_by_dns() {
        let server = Server { software: "postfix".to_owned(), ..Server::default() };
        let refused = listed(3, "connect to gate.example[192.0.2.1]:25: Connection refused", "far.example");
        let mut evidence = Evidence::default();
        evidence
            .queues
            .insert("postfix".to_owned(), Seen::Value(queue_of(&server, &refused, &Rules::built_in(), 1_900)));
        let nowhere = |why| Domain {
            why: BTreeSet::from([why]),
            route: Seen::Value(MailRouting {
                domain: String::new(),
                route: MailRoute::NoSuchDomain,
                problems: Vec::new(),
            }),
            ..Domain::default()
        };
        let domains = &mut evidence.names.domains;
        domains.insert("far.example".to_owned(), nowhere(DomainWhy::Receiver));
        domains.insert("other.example".to_owned(), nowhere(DomainWhy::Receiver));
        forget_routed_otherwise(&mut evidence);
        assert_eq!(evidence.names.domains.keys().collect::<Vec<_>>(), ["other.example"]);
        evidence.names.domains.insert("far.example".to_owned(), nowhere(DomainWhy::Asked));
        forget_routed_otherwise(&mut evidence);
        assert_eq!(evidence.names.domains.len(), 2);
    }

    #[test]
    fn what_fails_at_this_hosts_filter_or_smarthost_says_nothing_of_the_domain() {
        let chosen = |reason: &str, smarthost: &str| {
            let mut server = Server { software: "postfix".to_owned(), ..Server::default() };
            let configured = mxray_model::evidence::Configured {
                value: smarthost.to_owned(),
                setting: "relayhost".to_owned(),
                at: None,
            };
            server.egress.smarthosts = vec![configured];
            let mut evidence = Evidence::default();
            let waits = Seen::Value(queue_of(&server, &listed(3, reason, "far.example"), 1_900));
            evidence.queues.insert("postfix".to_owned(), waits);
            evidence.servers = Seen::Value([("postfix".to_owned(), server)].into());
            failing_names(&evidence)
        };
        let missing =
            "Host or domain name not found. Name service error for name=relay.example.net type=A: Host not found";
        assert_eq!(chosen("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", ""), Vec::<String>::new());
        assert_eq!(chosen(missing, "[relay.example.net]:587"), Vec::<String>::new());
        assert_eq!(chosen(missing, "[other.example.net]"), ["far.example"]);
        assert_eq!(chosen("connect to mx.far.example[192.0.2.1]:25: Connection refused", ""), ["far.example"]);
    }
}
