//! SMTP102: a server takes its time before it greets.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use crate::rules::look::tarpit::quick_behind;
use mxray_model::session::{Ending, Stage, What};
use mxray_model::{Evidence, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "SMTP102",
    name: "greeting-slow",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "a server greets late; senders wait five minutes, programs and people do not",
    page: include_str!("greeting_slow.md"),
    check,
};

/// A name server that does not answer costs five seconds (resolv.conf(5), timeout); no healthy server needs as long.
const LATE_MS: u64 = 5_000;

#[derive(Clone, Copy)]
struct Late {
    ms: u64,
    came: bool,
}

impl Late {
    fn text(self) -> String {
        if self.came {
            format!("its greeting came after {} ms", self.ms)
        } else {
            format!("no greeting came within {} ms", self.ms)
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it greets at once", judge, |bad| {
        let late = bad.first.1;
        let finding = bad
            .finding(&RULE, RULE.severity, format!("{} greets late: {}.", bad.whose(), late.text()))
            .data("waited_ms", late.ms)
            .data("came", late.came)
            .reference("RFC 5321 section 4.5.3.2.1");
        let mut finding = outside::touching_helpers(finding, evidence, bad.endpoint);
        // It looks up names with the name servers of the server as a whole.
        if let Some((instance, ..)) = outside::own(evidence, bad.endpoint) {
            finding = finding.touches(Subject::service(instance));
        }
        let finding = bad.because(finding, &at::SMTP, |late| late.text());
        let silent = "Where it never says anything, it may be waiting itself: for TLS from the first byte (`mxray probe smtps://…`), or for the header of a proxy that should stand in front of it (PROXY protocol). Else look at";
        let first = if late.came { "Look at" } else { silent };
        let step = outside::step(
            bad.endpoint,
            format!(
                "{first} what the server does before it greets: it looks up the client's name (a dead name server costs five seconds for each try), asks a blocklist or a milter, has no process free, or pauses on purpose (postscreen_greet_wait, greet_pause)."
            ),
        );
        finding.fix(step.verify(outside::probe_command(bad.endpoint, " --depth greeting")))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Late> {
    if contact.endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let own = outside::stake(contact.endpoint) == Stake::Own;
    let received = session.transcript.entries.iter().any(|entry| matches!(entry.what, What::Received(_)));
    match (session.greeting.value(), &session.ending) {
        // A pause alone, and everything behind it at once: that is on purpose (LOOK008).
        (Some(greeting), _) if greeting.after_ms >= LATE_MS && !own && quick_behind(session) => Verdict::Silent,
        // Between the lines of a greeting nothing is looked up (LOOK008).
        (Some(greeting), _) if first_byte_ms(session, greeting.entry) >= LATE_MS => {
            Verdict::Bad(Late { ms: greeting.after_ms, came: true })
        }
        (Some(_), _) => Verdict::Well,
        // It waits for us to begin (SMTP101).
        (None, _) if replies::takes_tls_at_once(contact) => Verdict::Silent,
        (None, Ending::Deadline { waited_ms })
            if session.stage == Stage::Greeting && !received && *waited_ms >= LATE_MS =>
        {
            Verdict::Bad(Late { ms: *waited_ms, came: false })
        }
        (None, _) => Verdict::Blind(replies::cut_short(contact, session)),
    }
}

/// When the greeting's first line had come, from the moment from which it could.
fn first_byte_ms(session: &mxray_model::session::SmtpSession, entry: u32) -> u64 {
    let entries = &session.transcript.entries;
    let place = usize::try_from(entry).unwrap_or(usize::MAX);
    let came = entries.get(place).map_or(0, |entry| entry.at_ms.saturating_sub(entry.took_ms));
    let before = entries.iter().take(place).rev().find(|entry| matches!(entry.what, What::Mark(_)));
    came.saturating_sub(before.map_or(0, |entry| entry.at_ms))
}
