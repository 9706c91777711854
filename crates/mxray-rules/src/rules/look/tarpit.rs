//! LOOK008: a server answers slowly on purpose: it holds its greeting back, or every line, and serves then as usual.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::session::{Ending, SmtpSession, What};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "LOOK008",
    name: "tarpit",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "a server holds its greeting or its lines back on purpose, and serves then as usual",
    page: include_str!("tarpit.md"),
    check,
};

/// Sendmail's greet_pause and what is advised for it begin at five seconds; no healthy way to a server takes as long.
const GREETING_MS: u64 = 5_000;
/// Between two lines of one reply there is nothing to look up: postscreen waits six seconds in its greeting.
const LINE_MS: u64 = 2_000;
/// A server that is asked for its extensions has nothing to look up either.
const QUICK_MS: u64 = 1_000;
/// One slow reply may be chance. Where not even QUIT is answered while we wait, one less is enough.
const SLOW_REPLIES_MIN: usize = 3;

#[derive(Clone, Copy)]
enum Slow {
    /// The greeting came late, everything behind it at once.
    Greeting { ms: u64 },
    /// Between the lines of one reply, or within one line.
    Lines { ms: u64 },
    /// Every reply.
    Replies { ms: u64 },
}

impl Slow {
    fn ms(self) -> u64 {
        match self {
            Slow::Greeting { ms } | Slow::Lines { ms } | Slow::Replies { ms } => ms,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Slow::Greeting { .. } => "greeting",
            Slow::Lines { .. } => "lines",
            Slow::Replies { .. } => "replies",
        }
    }

    fn text(self) -> String {
        match self {
            Slow::Greeting { ms } => format!("its greeting came after {ms} ms, everything behind it at once"),
            Slow::Lines { ms } => format!("{ms} ms passed within one reply"),
            Slow::Replies { ms } => format!("each of its replies took {ms} ms or more"),
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it answers as fast as it can", judge, |bad| {
        let slow = bad.first.1;
        let summary = format!("{} answers slowly on purpose: {}.", bad.whose(), slow.text());
        let finding = bad
            .finding(&RULE, RULE.severity, summary)
            .confidence(0.7)
            .data("kind", slow.kind())
            .data("delay_ms", slow.ms())
            .reference("RFC 5321 section 4.5.3.2");
        let finding = bad.because(finding, &at::SMTP, |slow| slow.text());
        let step = outside::step(
            bad.endpoint,
            "Nothing has to be done: a mail server waits five minutes for a greeting. Whoever runs it finds the pause in its configuration (postscreen_greet_wait, greet_pause, smtpd_error_sleep_time, a delay in an access list).",
        );
        finding.fix(step.verify(outside::probe_command(bad.endpoint, "")))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Slow> {
    if contact.endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    // Of this host's own services a late greeting is a matter of the service (SMTP102).
    let own = outside::stake(contact.endpoint) == Stake::Own;
    if let Some(ms) = within_a_reply(session) {
        return Verdict::Bad(Slow::Lines { ms });
    }
    if let Some(ms) = every_reply(session) {
        return Verdict::Bad(Slow::Replies { ms });
    }
    match session.greeting.value() {
        None => Verdict::Blind(replies::cut_short(contact, session)),
        Some(greeting) if !own && greeting.after_ms >= GREETING_MS && quick_behind(session) => {
            Verdict::Bad(Slow::Greeting { ms: greeting.after_ms })
        }
        // A single reply that was slow says neither.
        Some(_) if is_slow(session) => Verdict::Silent,
        Some(_) => Verdict::Well,
    }
}

/// It answered what was asked behind the greeting, at once.
pub fn quick_behind(session: &SmtpSession) -> bool {
    !session.hellos.is_empty() && session.hellos.iter().all(|hello| hello.reply.after_ms < QUICK_MS)
}

/// The longest pause between two received lines with nothing between them, or within one line. Only of a session that came
/// to its end: one that broke off in a pause tells of a bad connection as well.
fn within_a_reply(session: &SmtpSession) -> Option<u64> {
    if session.ending != Ending::Finished {
        return None;
    }
    let entries = &session.transcript.entries;
    let received = |what: &What| matches!(what, What::Received(_));
    let within = entries.iter().filter(|entry| received(&entry.what)).map(|entry| entry.took_ms);
    let pairs = entries.iter().zip(entries.iter().skip(1));
    let between = pairs
        .filter(|(a, b)| matches!(&a.what, What::Received(line) if continues(line.line())) && received(&b.what))
        .map(|(a, b)| b.at_ms.saturating_sub(a.at_ms));
    within.chain(between).max().filter(|ms| *ms >= LINE_MS)
}

/// `220-…`: more of the same reply follows.
fn continues(line: &[u8]) -> bool {
    line.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit)) && line.get(3) == Some(&b'-')
}

/// Not one reply to EHLO came at once.
fn is_slow(session: &SmtpSession) -> bool {
    !session.hellos.is_empty() && session.hellos.iter().all(|hello| hello.reply.after_ms >= LINE_MS)
}

/// The quickest reply behind the greeting, where all of them are slow.
fn every_reply(session: &SmtpSession) -> Option<u64> {
    if session.ending != Ending::Finished {
        return None;
    }
    let hellos = session.hellos.iter().map(|hello| hello.reply.after_ms);
    let mails = session
        .transactions()
        .flat_map(|one| one.mail.value().into_iter().chain(one.recipients.iter().filter_map(|one| one.reply.value())));
    let all: Vec<u64> = hellos
        .chain(mails.map(|reply| reply.after_ms))
        .chain(session.quit.value().map(|reply| reply.after_ms))
        .collect();
    let least = all.iter().copied().min()?;
    let quit_was_slow = usize::from(session.quit.value().is_none());
    (all.len() + quit_was_slow >= SLOW_REPLIES_MIN && least >= LINE_MS).then_some(least)
}
