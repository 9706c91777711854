//! Makes Postfix logs whose truth is known: used by the tests of `mxray-logs` and by `bench/logs/run`.
//!
//! Messages are simulated, not lines: each line carries the fact it tells, and the truth is added up from facts by message,
//! never by queue id. Same seed, same bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{self, Write};

/// How lines are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    Rfc3339,
    Journal,
    /// Plain, of two instances whose queue ids collide.
    TwoInstances,
}

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    pub messages: u64,
    pub form: Form,
    /// First second since 1970, UTC.
    pub start: i64,
    /// Mean gap between two arrivals in microseconds.
    pub gap: i64,
}

/// What truly happened, as far as lines were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Truth {
    pub lines: u64,
    pub foreign: u64,
    pub received: u64,
    pub removed: u64,
    pub alive: u64,
    pub notices: u64,
    pub continued: u64,
    pub began_before: u64,
    pub ended_unseen: u64,
    pub never_queued: u64,
    pub sent: u64,
    pub deferred: u64,
    pub bounced: u64,
    pub echoes: u64,
    pub delivered_recipients: u64,
    pub bounced_recipients: u64,
    pub expired_recipients: u64,
    pub pending_recipients: u64,
    pub unknown_recipients: u64,
    pub deferred_recipients: u64,
    pub refusals: u64,
    pub refusals_by_code: BTreeMap<String, u64>,
    pub login_failures: u64,
    /// Attempts by cause, without echoes.
    pub causes: BTreeMap<String, u64>,
    pub delivered_by_receiver: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    None,
    Foreign,
    Begin {
        before: bool,
    },
    Queued {
        recipients: u8,
    },
    Sent {
        recipient: u8,
        receiver: u8,
    },
    HandedOn {
        recipient: u8,
    },
    Deferred {
        recipient: u8,
        cause: u8,
        echo: bool,
    },
    Bounced {
        recipient: u8,
        cause: u8,
    },
    Expired,
    Removed,
    NeverWas,
    Notice,
    Continued,
    /// The id goes to another message.
    Reused,
    Refusal {
        code: u16,
        ends: bool,
    },
    LoginFailed,
}

#[derive(Debug, Default, Clone)]
struct Message {
    before: bool,
    queued: bool,
    notice: bool,
    continued: bool,
    expired: bool,
    announced: u8,
    /// Not yet, delivered, bounced, handed on; and whether it was ever put off.
    recipients: BTreeMap<u8, (Option<Fact>, bool)>,
}

#[derive(PartialEq, Eq)]
struct Pending {
    at: i64,
    order: u64,
    message: u64,
    instance: u8,
    tag: &'static str,
    pid: u32,
    text: String,
    fact: Fact,
}

impl Ord for Pending {
    fn cmp(&self, other: &Pending) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Pending) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What receivers say, with the cause that a person would name.
const REPLIES: [(&str, &str, bool); 9] = [
    (
        "host {h} said: 451 4.7.1 Greylisting in action, please come back later (in reply to RCPT TO command)",
        "greylist",
        false,
    ),
    ("connect to {h}:25: Connection timed out", "connect-timeout", false),
    ("connect to {h}:25: Connection refused", "refused", false),
    ("host {h} said: 452 4.2.2 Mailbox full (in reply to RCPT TO command)", "rcpt-full", false),
    ("lost connection with {h} while sending RCPT TO", "lost-connection", false),
    (
        "host {h} said: 550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command)",
        "rcpt-unknown",
        true,
    ),
    (
        "host {h} said: 554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org (in reply to RCPT TO command)",
        "dnsbl-public",
        true,
    ),
    ("Host or domain name not found. Name service error for name={d} type=A: Host not found", "domain-missing", true),
    ("host {h} said: 552 5.3.4 Message size exceeds fixed limit (in reply to MAIL FROM command)", "too-big", true),
];
const SOFT: u64 = 5;
const RECEIVERS: u64 = 20;

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct World {
    random: Random,
    settings: Settings,
    heap: BinaryHeap<Reverse<Pending>>,
    order: u64,
    messages: HashMap<u64, Message>,
    next_message: u64,
    /// Ids that are free again, with the time when and the message that never was seen to end.
    free: [Vec<(i64, String, Option<u64>)>; 2],
    truth: Truth,
    buffer: String,
}

const SECOND: i64 = 1_000_000;

/// Writes a log and says what is in it.
///
/// # Errors
/// Those of the writer.
pub fn generate(settings: Settings, out: &mut impl Write) -> io::Result<Truth> {
    let mut world = World {
        random: Random(settings.seed),
        settings,
        heap: BinaryHeap::new(),
        order: 0,
        messages: HashMap::new(),
        next_message: 0,
        free: [Vec::new(), Vec::new()],
        truth: Truth::default(),
        buffer: String::new(),
    };
    let mut now = settings.start * SECOND;
    for number in 0..settings.messages {
        world.flush(now, out)?;
        if number < settings.messages / 100 {
            world.begun_before(now);
        } else {
            world.something(now);
        }
        now += 1 + (world.random.below(2 * settings.gap as u64)) as i64;
    }
    // Filters and notices are done by then; what waits for its next attempt stays.
    world.flush(now + 60 * SECOND, out)?;
    world.heap.clear();
    Ok(world.summed())
}

impl World {
    fn say(&mut self, at: i64, message: u64, instance: u8, tag: &'static str, text: String, fact: Fact) {
        self.order += 1;
        let pid = 1_000 + (self.order % 50) as u32;
        self.heap.push(Reverse(Pending { at, order: self.order, message, instance, tag, pid, text, fact }));
    }

    fn new_message(&mut self) -> u64 {
        self.next_message += 1;
        self.next_message
    }

    /// An id of the short kind, sometimes one that is free again.
    fn new_id(&mut self, at: i64, instance: u8) -> (String, Option<u64>) {
        let free = &mut self.free[usize::from(instance)];
        if self.random.chance(20)
            && let Some(place) = free.iter().position(|(since, ..)| *since < at)
        {
            let (_, id, unseen) = free.swap_remove(place);
            return (id, unseen);
        }
        // The same in both instances: half of the ids depend on the message alone.
        let inode = 0x10_0000 + self.next_message * 2 + u64::from(self.random.chance(50)) * u64::from(instance);
        (format!("{:05X}{inode:X}", at.rem_euclid(SECOND)), None)
    }

    fn instance(&mut self) -> u8 {
        u8::from(self.settings.form == Form::TwoInstances && self.random.chance(50))
    }

    fn something(&mut self, now: i64) {
        match self.random.below(100) {
            0..=69 => self.outbound(now),
            70..=76 => self.filtered(now),
            77..=84 => self.refused(now),
            85..=88 => self.milter(now),
            89..=91 => self.given_up(now),
            92..=95 => self.failed_login(now),
            _ => self.noise(now),
        }
    }

    fn noise(&mut self, now: i64) {
        let instance = self.instance();
        match self.random.below(4) {
            0 => self.say(now, 0, instance, "CRON", "(root) CMD (true)".into(), Fact::Foreign),
            1 => self.say(now, 0, instance, "smtpd", "connect from unknown[198.51.100.9]".into(), Fact::None),
            2 => self.say(
                now,
                0,
                instance,
                "anvil",
                "statistics: max connection rate 1/60s for (smtp:198.51.100.9) at Dec 31 23:59:59".into(),
                Fact::None,
            ),
            _ => self.say(
                now,
                0,
                instance,
                "smtpd",
                "warning: hostname gr\u{fc}n.example does not resolve to address 198.51.100.9".into(),
                Fact::None,
            ),
        }
    }

    fn refused(&mut self, now: i64) {
        let instance = self.instance();
        let (code, text) = [
            (450, "450 4.7.25 Client host rejected: cannot find your hostname"),
            (550, "550 5.1.1 <x@home.example>: User unknown"),
            (554, "554 5.7.1 <x@elsewhere.example>: Relay access denied"),
        ][self.random.below(3) as usize];
        let text = format!(
            "NOQUEUE: reject: RCPT from unknown[198.51.100.7]: {text}; from=<a@b.example> to=<x@home.example> proto=ESMTP helo=<x>"
        );
        self.say(now, 0, instance, "smtpd", text, Fact::Refusal { code, ends: false });
    }

    fn failed_login(&mut self, now: i64) {
        let instance = self.instance();
        let text = format!(
            "warning: unknown[198.51.100.{}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
            self.random.below(50)
        );
        self.say(now, 0, instance, "submission/smtpd", text, Fact::LoginFailed);
    }

    /// Begins a life with its client; tells first that the id's last owner is gone, where nobody saw it go.
    fn client(&mut self, now: i64, instance: u8, from: &str) -> (u64, String) {
        let message = self.new_message();
        let (id, unseen) = self.new_id(now, instance);
        if let Some(unseen) = unseen {
            self.say(now, unseen, instance, "smtpd", format!("connect from {from}"), Fact::Reused);
        }
        self.say(now, message, instance, "smtpd", format!("{id}: client={from}"), Fact::Begin { before: false });
        (message, id)
    }

    fn milter(&mut self, now: i64) {
        let instance = self.instance();
        let (message, id) = self.client(now, instance, "h[198.51.100.8]");
        let text = format!(
            "{id}: milter-reject: END-OF-MESSAGE from h[198.51.100.8]: 5.7.1 Spam; from=<a@b.example> to=<x@home.example> proto=ESMTP helo=<h>"
        );
        self.say(
            now + 1000,
            message,
            instance,
            "cleanup",
            format!("{id}: message-id=<m{message}@b.example>"),
            Fact::None,
        );
        self.say(now + 2000, message, instance, "cleanup", text, Fact::Refusal { code: 5, ends: true });
    }

    fn given_up(&mut self, now: i64) {
        let instance = self.instance();
        let (message, id) = self.client(now, instance, "h[198.51.100.8]");
        if self.random.chance(50) {
            self.say(now + 1000, message, instance, "cleanup", format!("{id}: canceled"), Fact::NeverWas);
        } else {
            self.say(
                now + 1000,
                message,
                instance,
                "smtpd",
                "lost connection after DATA from h[198.51.100.8]".into(),
                Fact::None,
            );
        }
    }

    fn outbound(&mut self, now: i64) {
        let instance = self.instance();
        let (message, id) =
            self.client(now, instance, "app[192.0.2.20], sasl_method=PLAIN, sasl_username=bob@home.example");
        self.say(
            now + 500,
            message,
            instance,
            "cleanup",
            format!("{id}: message-id=<m{message}@home.example>"),
            Fact::None,
        );
        self.deliver(now + 1000, message, instance, &id);
    }

    fn begun_before(&mut self, now: i64) {
        let instance = self.instance();
        let message = self.new_message();
        let (id, unseen) = self.new_id(now, instance);
        if unseen.is_some() {
            // Nobody could tell from the log that its last owner is gone: the id is left for one whose first line is there.
            self.free[usize::from(instance)].push((now, id, unseen));
            return;
        }
        self.say(
            now,
            message,
            instance,
            "qmgr",
            format!("{id}: from=<bob@home.example>, size=900, nrcpt=1 (queue active)"),
            Fact::Begin { before: true },
        );
        self.deliver(now + 1, message, instance, &id);
    }

    /// A content filter that hands the message in again, and only then says so.
    fn filtered(&mut self, now: i64) {
        let instance = self.instance();
        let (outer, outer_id) = self.client(now, instance, "app[192.0.2.20]");
        let queued = format!("{outer_id}: from=<bob@home.example>, size=900, nrcpt=1 (queue active)");
        self.say(now + 1000, outer, instance, "qmgr", queued, Fact::Queued { recipients: 1 });
        let (inner, inner_id) = self.client(now + SECOND, instance, "localhost[127.0.0.1]");
        let noise = "connect to nowhere.example[192.0.2.77]:25: Connection timed out";
        self.say(now + SECOND, inner, instance, "smtp", noise.into(), Fact::Continued);
        self.deliver(now + SECOND + 1000, inner, instance, &inner_id);
        let later = now + SECOND + self.random.below(4) as i64 * SECOND;
        let text = format!(
            "{outer_id}: to=<x@away.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1.2, delays=0.1/0/0/1.1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as {inner_id})"
        );
        self.say(later, outer, instance, "smtp", text, Fact::HandedOn { recipient: 0 });
        self.end(later, outer, instance, &outer_id);
    }

    /// Attempts until each recipient is done, or the message expires.
    fn deliver(&mut self, now: i64, message: u64, instance: u8, id: &str) {
        let recipients = 1 + (self.random.below(20) / 16) as u8 * self.random.below(4) as u8;
        let queued = format!(
            "{id}: from=<bob@home.example>, size={}, nrcpt={recipients} (queue active)",
            500 + self.random.below(9000)
        );
        self.say(now, message, instance, "qmgr", queued.clone(), Fact::Queued { recipients });
        let mut last = now;
        let mut failed = false;
        let mut open = 0;
        for recipient in 0..recipients {
            let mut at = now + 1000 + self.random.below(3_000_000) as i64;
            let receiver = self.random.below(RECEIVERS) as u8;
            for round in 0..self.random.below(100).saturating_sub(80) / 4 {
                self.attempt(at, message, instance, id, recipient, receiver, None, round > 2);
                at += (300 << round) * SECOND;
            }
            match self.random.below(100) {
                0..=2 => {
                    self.attempt(at, message, instance, id, recipient, receiver, None, false);
                    open += 1;
                }
                3..=8 => {
                    let cause = SOFT + self.random.below(REPLIES.len() as u64 - SOFT);
                    self.attempt(at, message, instance, id, recipient, receiver, Some(cause as u8), false);
                    failed = true;
                }
                _ => self.sent(at, message, instance, id, recipient, receiver),
            }
            last = last.max(at);
        }
        if open > 0 {
            // An hour later its time is over, for most logs after the window.
            last += 3600 * SECOND;
            self.say(
                last,
                message,
                instance,
                "qmgr",
                format!("{id}: from=<bob@home.example>, status=expired, returned to sender"),
                Fact::Expired,
            );
            failed = true;
        }
        if failed {
            self.notice(last + 1000, instance, id);
        }
        self.end(last + 20_000, message, instance, id);
    }

    #[expect(clippy::too_many_arguments, reason = "what one line of an attempt has")]
    fn attempt(
        &mut self,
        at: i64,
        message: u64,
        instance: u8,
        id: &str,
        recipient: u8,
        receiver: u8,
        bounce: Option<u8>,
        echo: bool,
    ) {
        let cause = bounce.unwrap_or_else(|| self.random.below(SOFT) as u8);
        let host = format!("mx1.receiver{receiver}.example[192.0.2.{}]", 100 + receiver);
        let to = format!("u{message}-{recipient}@domain{receiver}.example");
        let said = REPLIES[usize::from(cause)]
            .0
            .replace("{h}", &host)
            .replace("{to}", &to)
            .replace("{d}", &format!("mx1.receiver{receiver}.example"));
        let said = if echo { format!("delivery temporarily suspended: {said}") } else { said };
        let relay = if said.contains(" said: ") && !echo { format!("{host}:25") } else { "none".into() };
        let (status, fact) = match bounce {
            Some(_) => ("bounced", Fact::Bounced { recipient, cause }),
            None => ("deferred", Fact::Deferred { recipient, cause, echo }),
        };
        let tag = if echo { "error" } else { "smtp" };
        let text = format!(
            "{id}: to=<{to}>, relay={relay}, delay=3.1, delays=0.1/0/1/2, dsn={}.0.0, status={status} ({said})",
            if bounce.is_some() { 5 } else { 4 }
        );
        self.say(at, message, instance, tag, text, fact);
    }

    fn sent(&mut self, at: i64, message: u64, instance: u8, id: &str, recipient: u8, receiver: u8) {
        let host = format!("mx1.receiver{receiver}.example[192.0.2.{}]", 100 + receiver);
        let next = self.random.next() & 0xff_ffff_ffff;
        // Now and then what 3.11 adds.
        let tls = if self.random.chance(50) { ", tls=may" } else { "" };
        let text = format!(
            "{id}: to=<u{message}-{recipient}@domain{receiver}.example>, relay={host}:25, delay=1.5, delays=0.2/0.01/0.3/0.99{tls}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {next:010X})"
        );
        self.say(at, message, instance, "smtp", text, Fact::Sent { recipient, receiver });
    }

    /// Before 3.11 the notice's own lines come first.
    fn notice(&mut self, at: i64, instance: u8, id: &str) {
        let message = self.new_message();
        let (notice_id, unseen) = self.new_id(at, instance);
        let early = self.random.chance(50);
        let told = format!("{id}: sender non-delivery notification: {notice_id}");
        // An id whose last owner was never seen to end: only 3.11's order tells that it is another message.
        if let Some(unseen) = unseen {
            self.say(
                at,
                unseen,
                instance,
                "bounce",
                "statistics: max connection count 1 for (smtp:192.0.2.1) at Jan  1 00:00:00".into(),
                Fact::Reused,
            );
        }
        let early = early || unseen.is_some();
        if early {
            self.say(at, message, instance, "bounce", told.clone(), Fact::Notice);
        }
        self.say(
            at,
            message,
            instance,
            "cleanup",
            format!("{notice_id}: message-id=<n{message}@home.example>"),
            Fact::None,
        );
        if !early {
            self.say(at, message, instance, "bounce", told, Fact::Notice);
        }
        self.say(
            at + 5,
            message,
            instance,
            "qmgr",
            format!("{notice_id}: from=<>, size=3000, nrcpt=1 (queue active)"),
            Fact::Queued { recipients: 1 },
        );
        let text = format!(
            "{notice_id}: to=<bob@home.example>, relay=virtual, delay=0.1, delays=0.1/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)"
        );
        self.say(at + 5000, message, instance, "virtual", text, Fact::Sent { recipient: 0, receiver: 255 });
        self.end(at + 6000, message, instance, &notice_id);
    }

    /// The last line, which is missing now and then; the id is free afterwards.
    fn end(&mut self, at: i64, message: u64, instance: u8, id: &str) {
        let seen = !self.random.chance(1);
        if seen {
            self.say(at, message, instance, "qmgr", format!("{id}: removed"), Fact::Removed);
        }
        // Not so soon that a link to it could be told later.
        self.free[usize::from(instance)].push((at + 20 * SECOND, id.to_owned(), (!seen).then_some(message)));
    }

    fn flush(&mut self, until: i64, out: &mut impl Write) -> io::Result<()> {
        while self.heap.peek().is_some_and(|Reverse(line)| line.at <= until) {
            if let Some(Reverse(line)) = self.heap.pop() {
                self.write(&line, out)?;
                self.apply(&line);
            }
        }
        Ok(())
    }

    fn write(&mut self, line: &Pending, out: &mut impl Write) -> io::Result<()> {
        use std::fmt::Write as _;
        self.truth.lines += 1;
        let tag = match (line.fact, self.settings.form, line.instance) {
            (Fact::Foreign, ..) => line.tag.to_owned(),
            (_, Form::TwoInstances, 0) => format!("postfix-in/{}", line.tag),
            (_, Form::TwoInstances, _) => format!("postfix-out/{}", line.tag),
            _ => format!("postfix/{}", line.tag),
        };
        let (second, micros) = (line.at.div_euclid(SECOND), line.at.rem_euclid(SECOND));
        let (year, month, day) = civil(second.div_euclid(86_400));
        let of_day = second.rem_euclid(86_400);
        let (hour, minute, sec) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        self.buffer.clear();
        let buffer = &mut self.buffer;
        let done = match self.settings.form {
            Form::Plain | Form::TwoInstances => {
                let name = &"JanFebMarAprMayJunJulAugSepOctNovDec"[(month as usize - 1) * 3..][..3];
                writeln!(buffer, "{name} {day:2} {hour:02}:{minute:02}:{sec:02} mx {tag}[{}]: {}", line.pid, line.text)
            }
            Form::Rfc3339 => {
                // An hour east, so that the date differs from UTC's for a while.
                let (year, month, day) = civil((second + 3600).div_euclid(86_400));
                let hour = (second + 3600).rem_euclid(86_400) / 3600;
                writeln!(
                    buffer,
                    "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{sec:02}.{micros:06}+01:00 mx {tag}[{}]: {}",
                    line.pid, line.text
                )
            }
            Form::Journal => {
                let message = if line.text.is_ascii() {
                    serde_json::Value::from(line.text.as_str())
                } else {
                    // As journald does with what is no UTF-8: here Latin-1.
                    serde_json::Value::from(line.text.chars().map(|c| u32::from(c) as u8).collect::<Vec<u8>>())
                };
                writeln!(
                    buffer,
                    r#"{{"__CURSOR":"s=1;i={:x}","__REALTIME_TIMESTAMP":"{}","_HOSTNAME":"mx","PRIORITY":"6","SYSLOG_IDENTIFIER":"{tag}","SYSLOG_PID":"{}","_PID":"{}","MESSAGE":{message}}}"#,
                    line.order, line.at, line.pid, line.pid
                )
            }
        };
        done.map_err(|_| io::Error::other("a line could not be formatted"))?;
        let _ = year;
        out.write_all(self.buffer.as_bytes())
    }

    fn apply(&mut self, line: &Pending) {
        let truth = &mut self.truth;
        let message = match line.fact {
            Fact::None => return,
            Fact::Foreign => {
                truth.foreign += 1;
                return;
            }
            Fact::LoginFailed => {
                truth.login_failures += 1;
                return;
            }
            Fact::Refusal { code, ends } => {
                truth.refusals += 1;
                let code = if code < 10 { format!("{code}xx") } else { code.to_string() };
                *truth.refusals_by_code.entry(code).or_default() += 1;
                if ends {
                    truth.never_queued += 1;
                    self.messages.remove(&line.message);
                }
                return;
            }
            Fact::NeverWas => {
                truth.never_queued += 1;
                self.messages.remove(&line.message);
                return;
            }
            Fact::Removed | Fact::Reused => {
                let Some(message) = self.messages.remove(&line.message) else { return };
                truth.removed += u64::from(line.fact == Fact::Removed);
                truth.ended_unseen += u64::from(line.fact == Fact::Reused);
                self.fold(&message, false);
                return;
            }
            _ => self.messages.entry(line.message).or_default(),
        };
        let mut ended = |recipient: u8| message.recipients.entry(recipient).or_default().0 = Some(line.fact);
        match line.fact {
            Fact::Begin { before } => {
                message.before = before;
                message.queued |= before;
            }
            Fact::Queued { recipients } => {
                message.queued = true;
                message.announced = recipients;
            }
            Fact::Notice => message.notice = true,
            Fact::Continued => message.continued = true,
            Fact::Expired => message.expired = true,
            Fact::Sent { recipient, .. } | Fact::HandedOn { recipient } => {
                truth.sent += 1;
                ended(recipient);
            }
            Fact::Bounced { recipient, cause } => {
                truth.bounced += 1;
                *truth.causes.entry(REPLIES[usize::from(cause)].1.to_owned()).or_default() += 1;
                ended(recipient);
            }
            Fact::Deferred { recipient, cause, echo } => {
                truth.deferred += 1;
                truth.echoes += u64::from(echo);
                if !echo {
                    *truth.causes.entry(REPLIES[usize::from(cause)].1.to_owned()).or_default() += 1;
                }
                message.recipients.entry(recipient).or_default().1 = true;
            }
            _ => {}
        }
    }

    fn fold(&mut self, message: &Message, alive: bool) {
        let truth = &mut self.truth;
        if !message.queued {
            truth.never_queued += u64::from(!alive);
            return;
        }
        truth.alive += u64::from(alive);
        if message.notice {
            truth.notices += 1;
            return;
        }
        truth.continued += u64::from(message.continued);
        truth.began_before += u64::from(message.before);
        truth.received += u64::from(!message.continued && !message.before);
        let unseen = u64::from(message.announced).saturating_sub(message.recipients.len() as u64);
        let open = if message.expired {
            &mut truth.expired_recipients
        } else if alive {
            &mut truth.pending_recipients
        } else {
            &mut truth.unknown_recipients
        };
        *open += unseen + message.recipients.values().filter(|(end, _)| end.is_none()).count() as u64;
        for (end, deferred) in message.recipients.values() {
            match end {
                Some(Fact::HandedOn { .. }) => continue,
                Some(Fact::Sent { receiver, .. }) => {
                    truth.delivered_recipients += 1;
                    *truth.delivered_by_receiver.entry(format!("receiver{receiver}.example")).or_default() += 1;
                }
                Some(_) => truth.bounced_recipients += 1,
                None => {}
            }
            truth.deferred_recipients += u64::from(*deferred);
        }
    }

    fn summed(mut self) -> Truth {
        for (_, message) in std::mem::take(&mut self.messages) {
            self.fold(&message, true);
        }
        self.truth
    }
}

/// Year, month and day of a day since 1970 (Howard Hinnant's days_from_civil, turned round).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}
