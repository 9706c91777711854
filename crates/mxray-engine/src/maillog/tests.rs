//! Generated logs through files, as hosts have them: the counts equal the truth, whatever the form.

#[path = "../../../../bench/logs/lives.rs"]
mod lives;

use super::*;
use lives::{Form, Settings, Truth, generate};
use mxray_host::maillog::find;
use mxray_logs::{Options, Summary};
use mxray_mail::causes::Rules;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Four hours before New Year, so that the log crosses it.
const START: i64 = 1_767_211_200;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-read-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Written so many days after the log began.
    fn file(&self, name: &str, bytes: &[u8], days: u64) {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(START.unsigned_abs());
        let written = begin + Duration::from_secs(days * 86_400);
        File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    }

    fn read(&self, since: Option<Stamp>, until: Option<Stamp>) -> (Summary, Ended) {
        let found = find(std::slice::from_ref(&self.0));
        assert!(found.unseen.is_empty(), "{:?}", found.unseen);
        let sources = found.files.into_iter().map(Source::File).collect();
        let options = Options { since, until, ..Options::default() };
        let mut analysis = Analysis::new(std::sync::Arc::new(Rules::built_in()), options);
        let (stop, mut progress) = (AtomicBool::new(false), |_| {});
        let reading = Reading { since, until, tail_bytes: None, deadline: None, stop: &stop, progress: &mut progress };
        let ended = read(sources, &mut analysis, reading);
        (analysis.into_summary(), ended)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn generated(form: Form, seed: u64) -> (Vec<u8>, Truth) {
    let mut log = Vec::new();
    let settings = Settings { seed, messages: 20_000, form, start: START, gap: 1_200_000 };
    let truth = generate(settings, &mut log).unwrap();
    (log, truth)
}

/// The answer beside the truth, by what is counted.
fn compare(summary: &Summary, truth: &Truth) {
    let mut causes: BTreeMap<String, u64> = BTreeMap::new();
    summary.causes.iter().for_each(|cause| *causes.entry(cause.cause.to_owned()).or_default() += cause.attempts);
    let messages = &summary.messages;
    let told = [
        ("lines", summary.lines.read, truth.lines),
        ("not understood", summary.lines.not_understood, 0),
        ("foreign", summary.lines.foreign, truth.foreign),
        ("received", messages.received, truth.received),
        ("removed", messages.removed, truth.removed),
        ("alive", messages.alive, truth.alive),
        ("notices", messages.notices, truth.notices),
        ("continued", messages.continued, truth.continued),
        ("began before", messages.began_before, truth.began_before),
        ("ended unseen", messages.ended_unseen, truth.ended_unseen),
        ("sent", summary.attempts.sent, truth.sent),
        ("deferred", summary.attempts.deferred, truth.deferred),
        ("bounced", summary.attempts.bounced, truth.bounced),
        ("delivered", summary.recipients.delivered, truth.delivered_recipients),
        ("expired", summary.recipients.expired, truth.expired_recipients),
        ("pending", summary.recipients.pending, truth.pending_recipients),
        ("refusals", summary.rejects.total, truth.refusals),
        ("login failures", summary.logins.failed, truth.login_failures),
    ];
    for (what, told, true_) in told {
        assert_eq!(told, true_, "{what}");
    }
    assert_eq!(causes, truth.causes);
    assert!(summary.window.first.as_ref().is_some_and(|first| first.starts_with("2025-12-31T20:00")));
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Cut at line ends.
fn parts(log: &[u8], count: usize) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = log;
    for left in (1..=count).rev() {
        let at = rest.len() / left;
        let end = rest[at..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| at + end + 1);
        let (part, behind) = rest.split_at(if left == 1 { rest.len() } else { end });
        parts.push(part);
        rest = behind;
    }
    parts
}

#[test]
fn truth_in_one_packed_file() {
    let (log, truth) = generated(Form::Plain, 11);
    let scratch = Scratch::new("gz");
    scratch.file("mail.log.gz", &packed(&log), 2);
    compare(&scratch.read(None, None).0, &truth);
}

#[test]
fn truth_in_a_rotated_set_whose_names_say_nothing() {
    let (log, truth) = generated(Form::Plain, 12);
    let scratch = Scratch::new("rotated");
    // Names against the order of time, one packed, one named as if it were.
    let parts = parts(&log, 4);
    scratch.file("mail.log.3", parts[2], 2);
    scratch.file("a.gz", parts[0], 1);
    scratch.file("mail.log", &packed(parts[1]), 1);
    scratch.file("mail.log.1", parts[3], 2);
    let (summary, ended) = scratch.read(None, None);
    compare(&summary, &truth);
    let order: Vec<&str> = ended.sources.iter().map(|source| source.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(order, ["a.gz", "mail.log", "mail.log.3", "mail.log.1"]);
}

#[test]
fn truth_in_two_files_that_are_written_at_the_same_time() {
    let (log, truth) = generated(Form::TwoInstances, 13);
    let scratch = Scratch::new("instances");
    let mut halves = [Vec::new(), Vec::new()];
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        // The tag tells the instance: what is not the second one's is the first one's.
        let second = line.windows(9).any(|window| window == b"postfix-o");
        halves[usize::from(second)].extend_from_slice(line);
    }
    assert!(halves.iter().all(|half| half.len() > log.len() / 10), "{:?}", halves.each_ref().map(Vec::len));
    scratch.file("one.log", &halves[0], 2);
    scratch.file("two.log", &halves[1], 2);
    compare(&scratch.read(None, None).0, &truth);
}

#[test]
fn truth_of_the_journals_export_and_of_rfc_3339() {
    for (form, seed) in [(Form::Journal, 14), (Form::Rfc3339, 15)] {
        let (log, truth) = generated(form, seed);
        let scratch = Scratch::new(&format!("form{seed}"));
        let parts = parts(&log, 2);
        scratch.file("new", parts[1], 2);
        scratch.file("old", &packed(parts[0]), 2);
        compare(&scratch.read(None, None).0, &truth);
    }
}

#[test]
fn a_window_is_sought_and_gives_what_reading_it_all_gives() {
    let (log, _) = generated(Form::Plain, 16);
    let scratch = Scratch::new("window");
    scratch.file("mail.log", &log, 2);
    let (since, until) = (Stamp((START + 5 * 3600) * 1_000_000), Stamp((START + 6 * 3600) * 1_000_000));
    let (sought, _) = scratch.read(Some(since), Some(until));
    let whole = Scratch::new("window-whole");
    whole.file("mail.log.gz", &packed(&log), 2);
    let (all, _) = whole.read(Some(since), Some(until));
    assert!(sought.lines.read < all.lines.read * 9 / 10, "{} of {}", sought.lines.read, all.lines.read);
    assert_eq!((sought.attempts.sent, sought.messages.received), (all.attempts.sent, all.messages.received));
    assert_eq!(sought.window, all.window);
    assert!(sought.window.first.is_some_and(|first| first.starts_with("2026-01-01T01:00")));
}

#[test]
fn what_is_stopped_or_broken_says_so_and_the_rest_counts() {
    let (log, _) = generated(Form::Plain, 17);
    let scratch = Scratch::new("broken");
    let whole = packed(&log);
    scratch.file("mail.log.gz", &whole[..whole.len() / 2], 2);
    let (summary, ended) = scratch.read(None, None);
    assert!(summary.lines.read > 1_000 && ended.unseen.len() == 1, "{:?}", ended.unseen);
    assert!(ended.unseen[0].what.starts_with("the rest of ") && ended.unseen[0].needs == "a file that is whole");

    let sources = find(std::slice::from_ref(&scratch.0)).files.into_iter().map(Source::File).collect();
    let mut analysis = Analysis::new(std::sync::Arc::new(Rules::built_in()), Options::default());
    let (stop, mut progress) = (AtomicBool::new(true), |_| {});
    let reading =
        Reading { since: None, until: None, tail_bytes: None, deadline: None, stop: &stop, progress: &mut progress };
    let ended = read(sources, &mut analysis, reading);
    assert!(ended.cut_short && analysis.lines().read <= 4_096);
}

#[test]
fn a_log_is_followed_through_its_rotation() {
    let scratch = Scratch::new("follow");
    let (log, truth) = generated(Form::Plain, 18);
    let parts = parts(&log, 3);
    scratch.file("mail.log", parts[0], 2);
    let sources = find(&[scratch.0.join("mail.log")]).files.into_iter().map(Source::File).collect();
    let mut analysis = Analysis::new(std::sync::Arc::new(Rules::built_in()), Options::default());
    let (stop, mut progress) = (AtomicBool::new(false), |_| {});
    let reading =
        Reading { since: None, until: None, tail_bytes: None, deadline: None, stop: &stop, progress: &mut progress };
    let mut followed = read(sources, &mut analysis, reading).followed;
    followed.leave_rotated();
    let mut look = |analysis: &mut Analysis| {
        let mut lines = 0;
        loop {
            match followed.look(analysis, (None, None)) {
                0 => break lines,
                more => lines += more,
            }
        }
    };
    assert_eq!(look(&mut analysis), 0);
    // A line is written in two pieces.
    let mut writer = File::options().append(true).open(scratch.0.join("mail.log")).unwrap();
    let (front, back) = parts[1].split_at(parts[1].len() - 7);
    writer.write_all(front).unwrap();
    assert!(look(&mut analysis) > 0);
    writer.write_all(back).unwrap();
    assert_eq!(look(&mut analysis), 1);
    fs::rename(scratch.0.join("mail.log"), scratch.0.join("mail.log.1")).unwrap();
    fs::write(scratch.0.join("mail.log"), parts[2]).unwrap();
    assert!(look(&mut analysis) > 0);
    compare(&analysis.into_summary(), &truth);
}

#[test]
fn a_stream_wakes_the_one_who_waits_and_so_does_its_end() {
    const LONG: Duration = Duration::from_secs(60);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut followed = Followed::default();
    followed.add_stream(Source::Stream { name: "pipe".to_owned(), stream: Box::new(reader) }).unwrap();
    let mut analysis = Analysis::new(std::sync::Arc::new(Rules::built_in()), Options::default());
    writer.write_all(b"2026-05-01T10:00:00Z mx postfix/qmgr[1]: AAAAAA1: removed\n").unwrap();
    while followed.look(&mut analysis, (None, None)) == 0 {
        followed.wait(LONG);
    }
    drop(writer);
    while !followed.is_empty() {
        followed.wait(LONG);
        followed.look(&mut analysis, (None, None));
    }
    assert_eq!(analysis.lines().understood, 1);
}
