//! What each event does to lives and sums.

use mxray_mail::causes::{Cause, Retry, Said};
use mxray_model::text::untrusted;

use super::fold::Fold;
use super::life::{Birth, End, Key, Life, State};
use super::receiver::{Host, host_of, operator_of};
use super::sessions::from_client;
use super::story;
use super::sums::{CauseSums, Incident};
use super::{Analysis, CAUSES_MAX, ENDED_MAX, Ended, INCIDENTS_MAX, OTHERS, REMEMBERED_MAX, STORIES_MAX, Selection};
use crate::cut::{bare, first_of_list, has, kept};
use crate::envelope::Line;
use crate::event::{Arrival, Attempt, Event, Peer, Refusal, Severity, Status};
use crate::sketch::hashed;
use crate::stamp::{SECOND, Stamp};

/// What a fatal line draws after it comes within a minute: the supervisor's line, the throttled restart.
const INCIDENT_GAP: i64 = 60 * SECOND;

impl Analysis {
    pub(super) fn event(&mut self, origin: u16, line: &Line<'_>, event: &Event<'_>, raw: &[u8]) {
        let stamp = line.stamp.or(self.last).unwrap_or_default();
        let told = story::id_of(event).filter(|_| self.options.selection.is_some()).map(|id| Key::new(origin, id));
        // The last line of a life has to be kept before its end, the first one after its beginning.
        let before = !matches!(
            event,
            Event::Arrival { .. } | Event::MessageId { .. } | Event::Notice { .. } | Event::Split { .. }
        );
        if self.open_incidents && !matches!(event, Event::Trouble { .. } | Event::ProcessEnded { .. } | Event::Started)
        {
            self.over(origin, stamp, Some(line.tag));
        }
        let client = self.client_of_session(line, event);
        let has_line = told.is_some_and(|key| before && self.keep_line(key, line.stamp, raw));
        let filled = client.as_deref().map(|address| from_client(event, address));
        match *filled.as_ref().unwrap_or(event) {
            Event::Arrival { id, ref arrival, begins } => self.arrival(Key::new(origin, id), stamp, arrival, begins),
            Event::MessageId { id, message_id, resent } => {
                self.message_id(Key::new(origin, id), stamp, message_id, resent);
            }
            Event::Queued { id, sender, recipients, .. } => {
                let life = self.life(Key::new(origin, id), stamp);
                life.queued = true;
                life.announced = life.announced.max(recipients.unwrap_or(0));
                if life.sender.is_empty() {
                    life.sender = kept(sender).into();
                }
            }
            Event::Attempt { id, ref attempt } => self.attempt(Key::new(origin, id), stamp, line.pid, attempt),
            Event::Split { id, from } => self.split_off(Key::new(origin, id), Key::new(origin, from), stamp),
            Event::Expired { id } => self.life(Key::new(origin, id), stamp).expired = true,
            Event::Held { id } => self.life(Key::new(origin, id), stamp).held = true,
            Event::Discarded { id } => self.life(Key::new(origin, id), stamp).discarded = true,
            Event::Removed { id } => self.removed(Key::new(origin, id), stamp),
            Event::Canceled { id } => self.finish(Key::new(origin, id), End::NeverWas),
            Event::Notice { id, notice_id, .. } => {
                self.notice(Key::new(origin, notice_id), stamp);
                self.want_too(Key::new(origin, id), Key::new(origin, notice_id));
            }
            Event::Refusal { id, ref refusal } => self.refusal(origin, id, stamp, refusal),
            Event::Login { account, client, granted } => self.login(stamp, account, client.address, granted),
            Event::Tls { peer, towards: true } => self.tls_towards(origin, line.pid, peer),
            Event::SessionTls { session } => self.tls_session(session),
            Event::Tls { towards: false, .. } => self.totals.tls_in += 1,
            Event::TlsFailed { towards: true, .. } => self.totals.tls_failures_out += 1,
            Event::TlsFailed { .. } => self.totals.tls_failures_in += 1,
            Event::Connect { .. } => self.totals.connections += 1,
            Event::Started => {
                self.totals.starts += 1;
                self.over(origin, stamp, None);
            }
            Event::Stored { kept: true, .. } => self.totals.stored += 1,
            Event::Stored { .. } => self.totals.discarded_by_sieve += 1,
            Event::Trouble { severity, text } => self.trouble((origin, line.tag), stamp, severity, text),
            Event::ProcessEnded { text } => self.incident((origin, line.tag), stamp, text, false, false),
            Event::Disconnect { .. }
            | Event::Skipped { .. }
            | Event::Filtered { .. }
            | Event::Stopped
            | Event::Remark => {}
        }
        if let Some(key) = told
            && !has_line
        {
            self.keep_line(key, line.stamp, raw);
        }
    }

    /// The process, or the session, that makes the next attempts has TLS.
    fn tls_towards(&mut self, origin: u16, pid: Option<u32>, peer: Peer<'_>) {
        let Some(pid) = pid else { return };
        if self.tls_peers.len() > REMEMBERED_MAX {
            self.tls_peers.clear();
        }
        let named = if peer.address.is_empty() { peer.name } else { peer.address };
        self.tls_peers.insert((origin, pid), hashed(named));
    }

    fn tls_session(&mut self, session: &[u8]) {
        if self.tls_sessions.len() > REMEMBERED_MAX {
            self.tls_sessions.clear();
        }
        self.tls_sessions.insert(hashed(session));
    }

    /// The life of a key, begun before the log if nothing else is known.
    pub(super) fn life(&mut self, key: Key, stamp: Stamp) -> &mut Life {
        if self.lives.len() >= self.options.lives_max && !self.lives.contains_key(&key) {
            self.make_room(stamp);
        }
        let continued = !self.awaited.is_empty() && self.was_awaited(&key, stamp);
        let life = self.lives.entry(key).or_insert_with(|| Box::new(Life { first: stamp, ..Life::default() }));
        life.last = stamp;
        life.continued |= continued;
        life
    }

    /// Forgets what never was queued and is a day old, then the oldest, until a quarter is free: of lives and of recipients.
    fn make_room(&mut self, now: Stamp) {
        self.end_done();
        let mut ages: Vec<(bool, Stamp, Key)> =
            self.lives.iter().map(|(key, life)| (life.queued, life.last, *key)).collect();
        ages.sort_unstable();
        let stale = |queued: bool, last: Stamp| !queued && last.0 + 86_400 * SECOND < now.0;
        let (lives, recipients) = (self.options.lives_max, self.options.recipients_max);
        for (queued, last, key) in ages {
            let is_full = self.lives.len() >= lives - lives / 4 || self.recipients_alive >= recipients - recipients / 4;
            if is_full || stale(queued, last) {
                self.finish(key, End::Forgotten);
            }
        }
    }

    /// Some servers do not say that the queue is done with a message: there it is when each recipient is.
    pub(super) fn end_done(&mut self) {
        let silent = |origin: u16| {
            let instance = self.origins.get(usize::from(origin)).map_or(&b""[..], |origin| &origin.instance);
            instance == b"sendmail" || instance == b"smtpd"
        };
        let mut done: Vec<Key> =
            self.lives.iter().filter(|(key, life)| silent(key.origin) && life.is_done()).map(|(key, _)| *key).collect();
        // The order decides which names find room.
        done.sort_unstable();
        done.into_iter().for_each(|key| self.finish(key, End::Removed));
    }

    fn arrival(&mut self, key: Key, stamp: Stamp, arrival: &Arrival<'_>, begins: bool) {
        self.totals.tls_in += u64::from(arrival.tls);
        // Exim delivers a message that it cuts through before it logs its arrival; the ids of such servers hold the time.
        let cut_through =
            |life: &Life| life.birth == Birth::Before && life.sender.is_empty() && arrival.size.is_some() && begins;
        let is_used = |life: &Life| life.birth != Birth::Before || life.queued || life.has_message_id;
        // An id that already had its client belongs to another message now.
        if begins && self.lives.get(&key).is_some_and(|life| is_used(life) && !cut_through(life)) {
            self.finish(key, End::Reused);
        }
        let parent = arrival.earlier_id.and_then(|earlier| self.find_elsewhere(earlier, key, stamp));
        if let Some(parent) = parent {
            self.want_too(parent, key);
        }
        let inherited = parent.map(|parent| self.handed_over(parent, arrival_is_pickup(arrival)));
        let notice_of = arrival.notice_of;
        let life = self.life(key, stamp);
        if begins {
            life.birth = Birth::Accepted;
        }
        life.notice |= notice_of.is_some();
        if let Some(sender) = arrival.sender {
            life.sender = kept(sender).into();
        }
        if let Some(account) = arrival.account {
            life.account = kept(account).into();
        }
        if !arrival.client.address.is_empty() {
            life.client = kept(arrival.client.address).into();
        }
        if let Some(message_id) = arrival.message_id {
            life.message_id = kept(message_id).into();
            life.has_message_id = true;
        }
        // Exim, Sendmail and OpenSMTPD tell the sender when the message is accepted; Postfix when the queue takes it up.
        life.queued |=
            begins && arrival.sender.is_some() && arrival.earlier_id.is_none() && !arrival_is_pickup(arrival);
        life.announced = life.announced.max(arrival.recipients.unwrap_or(0));
        if let Some((account, client)) = inherited {
            life.continued = true;
            if life.account.is_empty() {
                life.account = account;
            }
            life.client = client;
        }
        // A login that succeeded shows in what it hands in.
        if let Some(account) = arrival.account {
            let client = arrival.client.address;
            self.totals.logins += 1;
            let sums = self.accounts.named(account);
            sums.logins += 1;
            sums.seen(Some(stamp), client);
            self.bound();
        }
    }

    /// What a filtered or requeued message leaves to its continuation. One that was requeued (`postsuper -r`) has no other end.
    fn handed_over(&mut self, parent: Key, requeued: bool) -> (Box<[u8]>, Box<[u8]>) {
        let Some(life) = self.lives.get_mut(&parent) else { return Default::default() };
        life.goes_on = true;
        let left = (life.account.clone(), life.client.clone());
        if requeued {
            self.finish(parent, End::Requeued);
        }
        left
    }

    /// Another life by its id: on the same instance, else on any that is not younger than it may be.
    pub(super) fn find_elsewhere(&self, id: &[u8], but: Key, now: Stamp) -> Option<Key> {
        let own = Key::new(but.origin, id);
        let known = |key: &Key| *key != but && (self.lives.contains_key(key) || self.ended.contains_key(&key.short()));
        if known(&own) {
            return Some(own);
        }
        let origins = u16::try_from(self.origins.len()).unwrap_or(u16::MAX);
        let fits = |key: &Key| {
            key.origin != but.origin && known(key) && self.lives.get(key).is_none_or(|life| life.first <= now)
        };
        (0..origins).map(|origin| Key::new(origin, id)).find(fits)
    }

    fn message_id(&mut self, key: Key, stamp: Stamp, message_id: &[u8], resent: bool) {
        let message_id = kept(message_id);
        // The same one again is the same message; another one is another message under a used id.
        if !resent && self.lives.get(&key).is_some_and(|life| life.has_message_id && *life.message_id != *message_id) {
            self.finish(key, End::Reused);
        }
        let is_new = !self.lives.contains_key(&key);
        let life = self.life(key, stamp);
        // Its first line: nobody handed it in, so it was made here.
        if is_new {
            life.birth = Birth::Made;
        }
        if !resent {
            life.has_message_id = true;
            life.message_id = message_id.into();
        }
    }

    /// Postfix before 3.11 names a notice after its first lines, 3.11 before them.
    fn notice(&mut self, key: Key, stamp: Stamp) {
        let stale =
            |life: &Life| life.birth == Birth::Accepted || (life.notice && life.queued) || !life.recipients.is_empty();
        if self.lives.get(&key).is_some_and(|life| stale(life)) {
            self.finish(key, End::Reused);
        }
        let life = self.life(key, stamp);
        life.notice = true;
        life.birth = Birth::Made;
    }

    fn attempt(&mut self, key: Key, stamp: Stamp, pid: Option<u32>, attempt: &Attempt<'_>) {
        self.one_attempt(key, stamp, pid, attempt);
        let mut more = attempt.more;
        while !more.is_empty() {
            let (to, rest) = first_of_list(more);
            self.one_attempt(key, stamp, pid, &Attempt { to: bare(to), more: b"", ..*attempt });
            more = rest;
        }
    }

    fn one_attempt(&mut self, key: Key, stamp: Stamp, pid: Option<u32>, attempt: &Attempt<'_>) {
        if attempt.status == Status::Probed {
            self.life(key, stamp).probe = true;
            return;
        }
        if self.recipients_alive >= self.options.recipients_max {
            self.make_room(stamp);
        }
        let receiver = self.receiver_number(attempt);
        let cause = self.judged(receiver, stamp, attempt);
        let goes_on = attempt.relay.is_loopback() && self.lives.get(&key).is_some_and(|life| life.goes_on);
        let handed_on = attempt.status == Status::Sent
            && (attempt.next_id.is_some_and(|next| self.goes_on_as(key, next, stamp, attempt)) || goes_on);
        self.count_attempt(key, receiver, stamp, pid, attempt);
        let selected = matches!(&self.options.selection, Some(Selection::To(to))
            if attempt.to.eq_ignore_ascii_case(to) || attempt.original_to.eq_ignore_ascii_case(to));
        let life = self.life(key, stamp);
        life.queued = true;
        life.wanted |= selected;
        // amavis' words for what it took and threw away.
        life.discarded |=
            attempt.status == Status::Sent && attempt.relay.is_loopback() && has(attempt.text, b"Ok, discarded");
        let hash = hashed(attempt.to) ^ hashed(attempt.original_to).rotate_left(17);
        let known = life.recipients.len();
        let recipient = life.recipient(hash);
        recipient.receiver = receiver;
        match attempt.status {
            Status::Sent => recipient.state = if handed_on { State::HandedOn } else { State::Delivered },
            Status::Bounced if cause == Some(Cause::Expired) => recipient.state = State::Expired,
            Status::Bounced => recipient.state = State::Bounced,
            _ => recipient.deferred = true,
        }
        // An echo says nothing new: what was said before stays.
        let says_more = |cause: Cause| cause != Cause::Expired || recipient.cause == Cause::Unknown;
        if let Some(cause) = cause
            && cause != Cause::Echo
            && says_more(cause)
        {
            recipient.cause = cause;
        }
        let added = life.recipients.len() - known;
        self.recipients_alive += added;
    }

    fn count_attempt(&mut self, key: Key, receiver: u32, stamp: Stamp, pid: Option<u32>, attempt: &Attempt<'_>) {
        let totals = &mut self.totals;
        let (count, kind) = match attempt.status {
            Status::Sent => (&mut totals.sent, 0),
            Status::Deferred => (&mut totals.deferred, 1),
            _ => (&mut totals.bounced, 2),
        };
        *count += 1;
        self.minutes.add(stamp.minute(), kind, 1);
        let delays =
            attempt.delays.map(|delays| [delays.before_queue, delays.in_queue, delays.connecting, delays.sending]);
        if attempt.status == Status::Sent {
            let phases = [attempt.delay].into_iter().chain(delays.into_iter().flatten().map(Some));
            self.delays
                .iter_mut()
                .zip(phases)
                .for_each(|(sum, phase)| phase.into_iter().for_each(|phase| sum.add(phase)));
        }
        let remote =
            !attempt.relay.address.is_empty() && !attempt.relay.is_loopback() && !attempt.relay.address.contains(&b'/');
        let tls = if !attempt.session.is_empty() {
            self.tls_sessions.contains(&hashed(attempt.session))
        } else if attempt.tls.is_empty() {
            // Sendmail tells the name only.
            pid.and_then(|pid| self.tls_peers.get(&(key.origin, pid)))
                .is_some_and(|peer| *peer == hashed(attempt.relay.address) || *peer == hashed(attempt.relay.name))
        } else {
            !attempt.tls.starts_with(b"none")
                && !crate::cut::has(attempt.tls, b":none")
                && !crate::cut::has(attempt.tls, b"nostarttls")
        };
        let sums = self.receivers.row(receiver);
        sums.attempts += 1;
        if attempt.status == Status::Sent {
            sums.sent += 1;
            sums.last_sent = sums.last_sent.max(Some(stamp));
            attempt.delay.into_iter().for_each(|delay| sums.delay.add(delay));
            if remote {
                sums.sent_remote += 1;
                sums.sent_tls += u64::from(tls);
                self.totals.sent_remote += 1;
                self.totals.sent_tls += u64::from(tls);
            }
        }
    }

    /// The number of the receiver that an attempt was about.
    fn receiver_number(&mut self, attempt: &Attempt<'_>) -> u32 {
        let host = match host_of(attempt) {
            Host::Local => &b""[..],
            Host::Name(host) => kept(host),
        };
        if let Some(number) = self.receiver_of.get(host) {
            return *number;
        }
        let name = match self.rules.receiver_of(host) {
            Some(name) => name.as_bytes().to_vec(),
            None if host.is_empty() => super::LOCAL.to_vec(),
            None => operator_of(host),
        };
        let number = self.receivers.number(&name);
        // Forgotten as a whole when it is full: it is found again.
        if self.receiver_of.len() > REMEMBERED_MAX {
            self.receiver_of.clear();
        }
        self.receiver_of.insert(host.into(), number);
        if self.receivers.is_full() {
            self.prune_receivers();
            return self.receivers.number(&name);
        }
        number
    }

    fn prune_receivers(&mut self) {
        let moved = self.receivers.prune();
        let new = |old: u32| moved.get(old as usize).copied().unwrap_or(OTHERS);
        self.receiver_of.clear();
        for life in self.lives.values_mut() {
            life.recipients.iter_mut().for_each(|recipient| recipient.receiver = new(recipient.receiver));
        }
        for ((cause, receiver), sums) in std::mem::take(&mut self.causes) {
            self.add_cause(cause, new(receiver), sums);
        }
    }

    fn add_cause(&mut self, cause: Cause, receiver: u32, sums: CauseSums) {
        match self.causes.get_mut(&(cause, receiver)) {
            Some(own) => {
                own.attempts += sums.attempts;
                own.recipients += sums.recipients;
                own.first = own.first.min(sums.first);
                own.last = own.last.max(sums.last);
                own.sent_before = own.sent_before.max(sums.sent_before);
            }
            None => {
                let receiver = if self.causes.len() < CAUSES_MAX { receiver } else { OTHERS };
                self.causes.entry((cause, receiver)).or_insert(sums);
            }
        }
    }

    /// The cause of a deferral or a bounce, counted.
    fn judged(&mut self, receiver: u32, stamp: Stamp, attempt: &Attempt<'_>) -> Option<Cause> {
        if attempt.status == Status::Sent {
            return None;
        }
        let rules = std::sync::Arc::clone(&self.rules);
        let verdict = rules.judge(&Said { host: attempt.relay.name, text: attempt.text, speaker: attempt.speaker });
        if !verdict.is_evidence() {
            self.totals.echoes += 1;
            return Some(Cause::Echo);
        }
        let sent_before = self.receivers.get(receiver).map_or(0, |row| row.sent);
        // More causes than are told apart: one row for the others of each.
        let is_full = self.causes.len() >= CAUSES_MAX && !self.causes.contains_key(&(verdict.cause, receiver));
        let row = if is_full { OTHERS } else { receiver };
        match self.causes.get_mut(&(verdict.cause, row)) {
            Some(sums) => {
                sums.attempts += 1;
                sums.sent_before = sent_before;
                sums.first = sums.first.min(stamp);
                sums.last = sums.last.max(stamp);
            }
            None => {
                let retry = if verdict.retry == Retry::Unsaid && attempt.status == Status::Bounced {
                    Retry::No
                } else {
                    verdict.retry
                };
                let sums = CauseSums {
                    attempts: 1,
                    recipients: 0,
                    first: stamp,
                    last: stamp,
                    sent_before,
                    host: match host_of(attempt) {
                        Host::Local => String::new(),
                        Host::Name(name) => untrusted(&name[..name.len().min(255)]),
                    },
                    domain: domain_of(attempt.to),
                    sample: untrusted(&attempt.text[..attempt.text.len().min(500)]),
                    rule: verdict.rule.map(str::to_owned),
                    finality: verdict.finality,
                    retry,
                };
                self.add_cause(verdict.cause, receiver, sums);
            }
        }
        Some(verdict.cause)
    }

    fn refusal(&mut self, origin: u16, id: Option<&[u8]>, stamp: Stamp, refusal: &Refusal<'_>) {
        self.totals.refusals += 1;
        self.minutes.add(stamp.minute(), 3, 1);
        let codes = mxray_mail::causes::unwrap(refusal.reply).codes;
        let code = codes.reply.map(|code| code.to_string());
        let class = codes.enhanced.map(|(class, ..)| u16::from(class)).or(refusal.class.map(u16::from));
        let code = code.or(class.map(|class| format!("{class}xx"))).unwrap_or_else(|| "none".to_owned());
        *self.totals.refusals_by_code.entry(code).or_default() += 1;
        if !refusal.client.address.is_empty() {
            self.clients.named(refusal.client.address).refused += 1;
            self.bound();
        }
        if let (Some(id), true) = (id, refusal.ends_message) {
            self.finish(Key::new(origin, id), End::NeverWas);
        }
    }

    fn login(&mut self, stamp: Stamp, account: &[u8], client: &[u8], granted: bool) {
        let sums = self.accounts.named(account);
        if granted {
            sums.logins += 1;
            sums.seen(Some(stamp), client);
            self.totals.logins += 1;
        } else {
            sums.failures += 1;
            self.totals.login_failures += 1;
            self.login_sources.add(client, 1);
        }
        self.bound();
    }

    /// Keeps the tables of names within their room.
    fn bound(&mut self) {
        if self.accounts.is_full() {
            self.accounts.prune();
        }
        if self.clients.is_full() {
            self.clients.prune();
        }
        if self.senders.is_full() {
            self.senders.prune();
        }
    }

    fn trouble(&mut self, (origin, tag): (u16, &[u8]), stamp: Stamp, severity: Severity, text: &[u8]) {
        match severity {
            Severity::Warning => self.totals.warnings += 1,
            Severity::Error => self.totals.errors += 1,
            Severity::Fatal => self.totals.fatals += 1,
            Severity::Panic => self.totals.panics += 1,
        }
        if severity >= Severity::Fatal {
            self.incident((origin, tag), stamp, text, severity == Severity::Panic, true);
        }
    }

    /// What a program does after its fatal line says that it lives again: until its next one.
    fn over(&mut self, origin: u16, stamp: Stamp, tag: Option<&[u8]>) {
        let is_it = |incident: &&mut Incident| {
            incident.origin == origin && incident.last < stamp && tag.is_none_or(|tag| *incident.tag == *kept(tag))
        };
        self.incidents.iter_mut().filter(is_it).for_each(|incident| incident.over = true);
        self.open_incidents = self.incidents.iter().any(|incident| !incident.over);
    }

    fn incident(&mut self, (origin, tag): (u16, &[u8]), stamp: Stamp, text: &[u8], panic: bool, tells: bool) {
        self.open_incidents = true;
        let near =
            |incident: &&mut Incident| incident.origin == origin && (stamp.0 - incident.last.0).abs() <= INCIDENT_GAP;
        let text = untrusted(&text[..text.len().min(300)]);
        // A second fatal line with other words is another incident; the supervisor's line is part of the one before.
        if let Some(incident) =
            self.incidents.iter_mut().rev().take(8).find(|incident| near(incident) && (!tells || incident.text == text))
        {
            incident.last = incident.last.max(stamp);
            incident.lines += 1;
            incident.over = false;
            return;
        }
        if self.incidents.len() < INCIDENTS_MAX {
            self.incidents.push(Incident {
                first: stamp,
                last: stamp,
                origin,
                text,
                panic,
                lines: 1,
                tag: kept(tag).into(),
                over: false,
            });
        }
    }

    /// The queue is done with a message; of one that began before the log and says nothing else, this is all.
    fn removed(&mut self, key: Key, stamp: Stamp) {
        let life = self.lives.remove(&key).unwrap_or_else(|| Box::new(Life { first: stamp, ..Life::default() }));
        self.close(key, &life, End::Removed);
    }

    /// The end of a life: its sums stay, it goes.
    fn finish(&mut self, key: Key, end: End) {
        if let Some(life) = self.lives.remove(&key) {
            self.close(key, &life, end);
        }
    }

    fn close(&mut self, key: Key, life: &Life, end: End) {
        self.recipients_alive -= life.recipients.len().min(self.recipients_alive);
        self.story_bytes = self.story_bytes.saturating_sub(story::bytes_of(life));
        if self.is_wanted(&key, life) {
            if self.stories.len() < STORIES_MAX {
                let story = self.story(key, life);
                self.stories.push(story);
            } else {
                self.stories_left_out += 1;
            }
            // Its id may be another message's next.
            self.wanted.remove(&key);
        }
        let mut counted = false;
        match end {
            End::NeverWas => self.totals.never_were += 1,
            _ if life.discarded => self.totals.discarded += 1,
            _ if life.probe => self.totals.probes += 1,
            _ if !(life.queued || life.held) && end != End::Removed => self.totals.never_were += 1,
            _ => {
                let folded = Fold::of(life, end);
                counted = folded.received;
                self.totals.removed += u64::from(end == End::Removed);
                self.totals.reused += u64::from(end == End::Reused);
                self.totals.forgotten += u64::from(end == End::Forgotten);
                self.fold(key, life, &folded);
            }
        }
        self.ends += 1;
        self.ended.insert(key.short(), Ended { counted, first: life.first, number: self.ends });
        self.ended_order.push_back((key.short(), self.ends));
        if self.ended_order.len() > ENDED_MAX
            && let Some((oldest, number)) = self.ended_order.pop_front()
            && self.ended.get(&oldest).is_some_and(|ended| ended.number == number)
        {
            self.ended.remove(&oldest);
        }
    }

    pub(super) fn fold(&mut self, key: Key, life: &Life, folded: &Fold) {
        let totals = &mut self.totals;
        totals.received += u64::from(folded.received);
        totals.continued += u64::from(life.continued && !life.notice);
        totals.notices += u64::from(life.notice);
        totals.began_before += u64::from(life.birth == Birth::Before && !life.notice && !life.continued);
        if life.notice {
            return;
        }
        totals.recipients.merge(&folded.recipients);
        for (receiver, cause, recipients) in &folded.rows {
            self.receivers.row(*receiver).recipients.merge(recipients);
            if let Some(sums) = self.causes.get_mut(&(*cause, *receiver)) {
                sums.recipients += 1;
            }
        }
        let message = u64::from(folded.received);
        if folded.received {
            self.minutes.add(life.first.minute(), 4, 1);
        }
        let domain = memchr::memrchr(b'@', &life.sender).map_or(&b""[..], |at| &life.sender[at + 1..]);
        let instance = self.origins.get(usize::from(key.origin)).map_or(&[][..], |origin| &origin.both);
        for (table, name) in
            [(&mut self.senders, domain), (&mut self.clients, &*life.client), (&mut self.instances, instance)]
        {
            if !name.is_empty() {
                let sums = table.named(name);
                sums.messages += message;
                sums.recipients.merge(&folded.recipients);
            }
        }
        if !life.account.is_empty() {
            let sums = self.accounts.named(&life.account);
            if folded.received {
                sums.sent(life.first);
            }
            sums.recipients.merge(&folded.recipients);
        }
        self.bound();
    }
}

fn domain_of(address: &[u8]) -> String {
    let domain = memchr::memrchr(b'@', address).map_or(&b""[..], |at| &address[at + 1..]);
    let mut domain = untrusted(&domain[..domain.len().min(255)]);
    domain.make_ascii_lowercase();
    domain
}

/// pickup tells the user before cleanup has accepted anything.
fn arrival_is_pickup(arrival: &Arrival<'_>) -> bool {
    arrival.client.address.is_empty()
        && arrival.message_id.is_none()
        && arrival.size.is_none()
        && arrival.recipients.is_none()
}
