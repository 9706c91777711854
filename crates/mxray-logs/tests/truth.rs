//! Generated logs whose truth is known: the counts have to be equal, in every form.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

#[path = "../../../bench/logs/lives.rs"]
mod lives;

use std::collections::BTreeMap;
use std::sync::Arc;

use lives::{Form, Settings, Truth, generate};
use mxray_logs::{Analysis, Options, Origin, Read, Reader, Stamp, Summary, YearScan};
use mxray_mail::causes::Rules;

/// Four hours before New Year, so that the log crosses it.
const START: i64 = 1_767_211_200;

fn read(log: &[u8]) -> Summary {
    let mut scan = YearScan::default();
    log.chunks(50_000).for_each(|piece| scan.feed(piece));
    // Written two days later; years are walked back from there.
    let first_year = scan.first_year(Stamp((START + 2 * 86_400) * 1_000_000)).unwrap_or(1970);
    let mut reader = Reader::new(Origin { first_year, local_offset: 0 });
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), Options::default());
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    log.chunks(10_007).for_each(|piece| reader.feed(piece, &mut sink));
    reader.finish(&mut sink);
    analysis.into_summary()
}

/// The answer in the words of the truth.
fn told(summary: &Summary) -> Truth {
    let mut causes: BTreeMap<String, u64> = BTreeMap::new();
    summary.causes.iter().for_each(|cause| *causes.entry(cause.cause.to_owned()).or_default() += cause.attempts);
    let delivered = summary.receivers.iter().filter(|receiver| receiver.recipients.delivered > 0);
    Truth {
        lines: summary.lines.read,
        foreign: summary.lines.foreign,
        received: summary.messages.received,
        removed: summary.messages.removed,
        alive: summary.messages.alive,
        notices: summary.messages.notices,
        continued: summary.messages.continued,
        began_before: summary.messages.began_before,
        ended_unseen: summary.messages.ended_unseen,
        never_queued: summary.messages.never_queued,
        sent: summary.attempts.sent,
        deferred: summary.attempts.deferred,
        bounced: summary.attempts.bounced,
        echoes: summary.attempts.echoes,
        delivered_recipients: summary.recipients.delivered,
        bounced_recipients: summary.recipients.bounced,
        expired_recipients: summary.recipients.expired,
        pending_recipients: summary.recipients.pending,
        unknown_recipients: summary.recipients.unknown,
        deferred_recipients: summary.recipients.deferred_ever,
        refusals: summary.rejects.total,
        refusals_by_code: summary.rejects.by_code.clone(),
        login_failures: summary.logins.failed,
        causes,
        delivered_by_receiver: delivered
            .map(|receiver| (receiver.name.clone(), receiver.recipients.delivered))
            .collect(),
    }
}

fn compare(form: Form, seed: u64) {
    let mut log = Vec::new();
    let settings = Settings { seed, messages: 20_000, form, start: START, gap: 1_200_000 };
    let truth = generate(settings, &mut log).unwrap();
    assert!(
        truth.continued > 100 && truth.ended_unseen > 3 && truth.expired_recipients > 50,
        "the log has what is hard: {truth:?}"
    );
    let summary = read(&log);
    assert_eq!(summary.lines.not_understood, 0, "{:?}", summary.lines.samples);
    assert_eq!(told(&summary), truth);
    let window = (summary.window.first.unwrap_or_default(), summary.window.last.unwrap_or_default());
    assert!(window.0.starts_with("2025-12-31T20:00") && window.1.starts_with("2026-01-01T"), "{window:?}");
}

#[test]
fn plain() {
    compare(Form::Plain, 1);
    compare(Form::Plain, 20_260_101);
}

#[test]
fn rfc3339() {
    compare(Form::Rfc3339, 2);
}

#[test]
fn journal() {
    compare(Form::Journal, 3);
}

#[test]
fn two_instances() {
    compare(Form::TwoInstances, 4);
}
