//! Lives of messages, each from a few lines.

use super::*;
use crate::reader::{Origin, Reader};

/// Reads lines `hh:mm:ss tag text` of one day on one host.
fn read(lines: &str, options: Options) -> Analysis {
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), options);
    let mut reader = Reader::new(Origin::default());
    let text: String = lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            let (tag, text) = rest.split_once(' ').unwrap();
            format!("2026-05-01T{time}Z mx {tag}[7]: {text}\n")
        })
        .collect();
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    reader.feed(text.as_bytes(), &mut sink);
    reader.finish(&mut sink);
    analysis
}

fn summary(lines: &str) -> Summary {
    let summary = read(lines, Options::default()).into_summary();
    assert_eq!(summary.lines.not_understood, 0, "{:?}", summary.lines.samples);
    summary
}

fn recipients(summary: &Summary) -> [u64; 5] {
    let recipients = summary.recipients;
    [recipients.delivered, recipients.bounced, recipients.expired, recipients.pending, recipients.unknown]
}

#[test]
fn a_message_with_several_recipients() {
    let summary = summary(
        "10:00:00 postfix/smtpd AAAAAA1: client=h[192.0.2.1], sasl_method=PLAIN, sasl_username=bob
         10:00:00 postfix/cleanup AAAAAA1: message-id=<1@x>
         10:00:00 postfix/qmgr AAAAAA1: from=<bob@x.example>, size=100, nrcpt=3 (queue active)
         10:00:01 postfix/smtp AAAAAA1: to=<a@b.example>, relay=mx.b.example[192.0.2.2]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)
         10:00:01 postfix/smtp AAAAAA1: to=<c@b.example>, relay=mx.b.example[192.0.2.2]:25, delay=1, delays=1/0/0/0, dsn=5.1.1, status=bounced (host mx.b.example[192.0.2.2] said: 550 5.1.1 User unknown (in reply to RCPT TO command))
         10:00:01 postfix/smtp AAAAAA1: to=<d@e.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to mx.e.example[192.0.2.3]:25: Connection refused)
         10:00:01 postfix/bounce AAAAAA1: sender non-delivery notification: AAAAAA2
         10:00:01 postfix/cleanup AAAAAA2: message-id=<2@x>
         10:00:01 postfix/qmgr AAAAAA2: from=<>, size=100, nrcpt=1 (queue active)
         10:00:02 postfix/local AAAAAA2: to=<bob@x.example>, relay=local, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)
         10:00:02 postfix/qmgr AAAAAA2: removed
         10:10:00 postfix/error AAAAAA1: to=<d@e.example>, relay=none, delay=600, delays=600/0/0/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to mx.e.example[192.0.2.3]:25: Connection refused)",
    );
    assert_eq!(recipients(&summary), [1, 1, 0, 1, 0], "the notice is not counted");
    assert_eq!(
        (summary.messages.received, summary.messages.notices, summary.messages.alive, summary.messages.removed),
        (1, 1, 1, 1)
    );
    assert_eq!(
        (summary.attempts.sent, summary.attempts.deferred, summary.attempts.bounced, summary.attempts.echoes),
        (2, 2, 1, 1)
    );
    let causes: Vec<_> = summary
        .causes
        .iter()
        .map(|cause| (cause.cause, cause.receiver.as_str(), cause.attempts, cause.recipients))
        .collect();
    assert_eq!(causes, [("rcpt-unknown", "b.example", 1, 1), ("refused", "e.example", 1, 1)]);
    assert_eq!(summary.rates.bounce, Rate { numerator: 1, denominator: 2, percent: None });
    assert_eq!((summary.accounts[0].name.as_str(), summary.accounts[0].messages), ("bob", 1));
}

use summary::Rate;

#[test]
fn behind_a_filter_a_message_is_counted_once() {
    let summary = summary(
        "10:00:00 postfix/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:00 postfix/qmgr AAAAAA1: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:00 postfix/smtpd AAAAAA2: client=localhost[127.0.0.1]
         10:00:00 postfix/qmgr AAAAAA2: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:00 postfix/smtp AAAAAA2: to=<b@y.example>, relay=mx.y.example[192.0.2.2]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)
         10:00:00 postfix/qmgr AAAAAA2: removed
         10:00:01 postfix/smtp AAAAAA1: to=<b@y.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as AAAAAA2)
         10:00:01 postfix/qmgr AAAAAA1: removed",
    );
    assert_eq!((summary.messages.received, summary.messages.continued, summary.messages.removed), (1, 1, 2));
    assert_eq!(recipients(&summary), [1, 0, 0, 0, 0]);
}

#[test]
fn ids_are_used_again_and_lines_are_missing() {
    let summary = summary(
        "10:00:00 postfix/qmgr AAAAAA9: from=<a@x.example>, size=100, nrcpt=2 (queue active)
         10:00:00 postfix/qmgr AAAAAA9: removed
         10:00:00 postfix/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:00 postfix/qmgr AAAAAA1: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:05 postfix/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:05 postfix/qmgr AAAAAA1: from=<b@x.example>, size=100, nrcpt=1 (queue active)
         10:00:06 postfix/virtual AAAAAA1: to=<b@y.example>, relay=virtual, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
         10:00:06 postfix/qmgr AAAAAA1: removed
         10:00:07 postfix/smtpd AAAAAA3: client=h[192.0.2.1]
         10:00:07 postfix/cleanup AAAAAA3: milter-reject: END-OF-MESSAGE from h[192.0.2.1]: 5.7.1 Spam; from=<a@x> to=<b@y> proto=ESMTP helo=<h>
         10:00:08 postfix/smtpd AAAAAA4: client=h[192.0.2.1]",
    );
    assert_eq!((summary.messages.received, summary.messages.began_before, summary.messages.ended_unseen), (2, 1, 1));
    assert_eq!((summary.messages.never_queued, summary.messages.alive), (1, 0), "what was not taken up is no message");
    assert_eq!(recipients(&summary), [1, 0, 0, 0, 3]);
    assert_eq!(summary.rejects.by_code.get("5xx"), Some(&1));
}

#[test]
fn what_expires_takes_its_open_recipients_along() {
    let summary = summary(
        "10:00:00 postfix/pickup AAAAAA1: uid=0 from=<root>
         10:00:00 postfix/qmgr AAAAAA1: from=<root@x.example>, size=100, nrcpt=3 (queue active)
         10:00:01 postfix/smtp AAAAAA1: to=<a@b.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to mx.b.example[192.0.2.3]:25: Connection timed out)
         10:00:01 postfix/local AAAAAA1: to=<c@x.example>, relay=local, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)
         23:00:00 postfix/qmgr AAAAAA1: from=<root@x.example>, status=expired, returned to sender
         23:00:00 postfix/qmgr AAAAAA1: removed",
    );
    assert_eq!(recipients(&summary), [1, 0, 2, 0, 0]);
    assert_eq!(summary.messages.received, 1);
}

#[test]
fn instances_have_their_own_ids() {
    let summary = summary(
        "10:00:00 postfix-in/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:00 postfix-in/qmgr AAAAAA1: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:00 mta/out/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:00 mta/qmgr AAAAAA1: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:01 mta/fancy-label AAAAAA1: to=<a@b.example>, relay=mx[192.0.2.2]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)
         10:00:01 mta/qmgr AAAAAA1: removed",
    );
    assert_eq!((summary.messages.received, summary.messages.alive), (2, 1));
    assert_eq!(recipients(&summary), [1, 0, 0, 1, 0]);
    assert_eq!(summary.instances.len(), 2);
}

#[test]
fn a_life_is_told() {
    let lines = "10:00:00 postfix/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:00 postfix/cleanup AAAAAA1: message-id=<1@x>
         10:00:00 postfix/smtpd AAAAAA2: client=h[192.0.2.1]
         10:00:00 postfix/qmgr AAAAAA1: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:01 postfix/smtp AAAAAA1: to=<B@y.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to mx.b.example[192.0.2.3]:25: Connection timed out)
         10:00:01 postfix/qmgr AAAAAA1: removed";
    let asked = [
        Selection::MessageId(b"<1@x>".to_vec()),
        Selection::To(b"b@y.example".to_vec()),
        Selection::From(b"A@x.example".to_vec()),
        Selection::QueueId(b"AAAAAA1".to_vec()),
    ];
    for selection in asked {
        let options = Options { selection: Some(selection.clone()), ..Options::default() };
        let (stories, left_out) = read(lines, options).stories();
        assert_eq!((stories.len(), left_out), (1, 0), "{selection:?}");
        assert_eq!((stories[0].queue_id.as_str(), stories[0].lines.len()), ("AAAAAA1", 5), "{selection:?}");
    }
}

#[test]
fn one_incident_not_three() {
    let summary = summary(
        "10:00:00 postfix/smtpd fatal: no SASL authentication mechanisms
         10:00:01 postfix/master warning: process /usr/lib/postfix/smtpd pid 12 exit status 1
         10:00:01 postfix/master warning: /usr/lib/postfix/smtpd: bad command startup -- throttling
         11:00:01 postfix/smtpd fatal: no SASL authentication mechanisms",
    );
    let lines: Vec<_> = summary.incidents.iter().map(|incident| incident.lines).collect();
    assert_eq!(lines, [3, 1]);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), Options { lives_max: 100, ..Options::default() });
    let mut reader = Reader::new(Origin::default());
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    for turn in 0..20_000u32 {
        let line = format!(
            "2026-05-01T10:00:00Z mx postfix/qmgr[1]: {turn:08X}: from=<a{turn}@x{turn}.example>, size=1, nrcpt=1 (queue active)\n2026-05-01T10:00:00Z mx postfix/smtp[1]: {turn:08X}: to=<a{turn}@y{turn}.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to mx.y{turn}.example[192.0.2.3]:25: Connection timed out)\n"
        );
        reader.feed(line.as_bytes(), &mut sink);
    }
    assert!(analysis.lives.len() <= 100);
    assert!(analysis.ended.len() <= ENDED_MAX && analysis.receivers.sorted().len() <= RECEIVERS_MAX + 1);
    let summary = analysis.into_summary();
    assert_eq!(summary.recipients.pending, 20_000, "what was forgotten is counted, and said");
    assert!(summary.unseen.iter().any(|unseen| unseen.what == "messages on their way"));
}

#[test]
fn a_list_of_many_recipients_is_one_message() {
    let mut analysis =
        Analysis::new(Arc::new(Rules::built_in()), Options { recipients_max: 4_000, ..Options::default() });
    let mut reader = Reader::new(Origin::default());
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    let mut say = |tag: &str, text: &str| {
        reader.feed(format!("2026-05-01T10:00:00Z mx postfix/{tag}[1]: AAAAAA1: {text}\n").as_bytes(), &mut sink);
    };
    say("smtpd", "client=h[192.0.2.1]");
    say("qmgr", "from=<list@x.example>, size=1, nrcpt=3000 (queue active)");
    for (turn, status) in ["deferred (later)", "sent (250 ok)"].into_iter().enumerate() {
        for number in (0..3_000).filter(|number| turn == 0 || number % 3 > 0) {
            say(
                "smtp",
                &format!(
                    "to=<r{number}@y.example>, relay=mx.y.example[192.0.2.3]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status={status}"
                ),
            );
        }
    }
    assert_eq!(analysis.recipients_alive, 3_000);
    let summary = analysis.into_summary();
    assert_eq!((summary.messages.received, summary.messages.alive), (1, 1));
    assert_eq!(recipients(&summary), [2_000, 0, 0, 1_000, 0], "each is found again");
    assert_eq!(summary.recipients.deferred_ever, 3_000);
}

/// What a log of strangers may hold, made small: names without end, recipients without end, ids that never end, bytes that are
/// no text. The structures keep their sizes, whatever the log's.
#[test]
fn hostile_logs_find_no_more_room() {
    let options = Options { lives_max: 100, recipients_max: 1_000, ..Options::default() };
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), options);
    let mut reader = Reader::new(Origin::default());
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    let long = "n".repeat(10_000);
    for turn in 0..200u32 {
        let id = format!("{turn:08X}");
        let lines = [
            format!("smtpd[1]: {id}: client={long}{turn}[{long}], sasl_method=PLAIN, sasl_username={long}{turn}"),
            format!("cleanup[1]: {id}: message-id=<{long}{turn}>"),
            format!("qmgr[1]: {id}: from=<{long}@{long}{turn}>, size=1, nrcpt=1 (queue active)"),
            format!(
                "{long}[1]: {id}: to=<{turn}@{long}>, relay={turn}{long}[{long}]:25, delay=1, delays=1/0/0/0, dsn=4.0.0, status=deferred ({long})"
            ),
            format!("smtpd[1]: warning: x[{long}{turn}]: SASL LOGIN authentication failed: \0\u{fc}"),
        ];
        for line in lines {
            reader.feed(format!("2026-05-01T10:00:00Z {turn}{long} postfix/{line}\n").as_bytes(), &mut sink);
        }
        for number in 0..40 {
            let line = format!(
                "2026-05-01T10:00:00Z mx postfix/smtp[1]: {turn:07X}F: to=<{number}@x.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.0.0, status=deferred (x)\n"
            );
            reader.feed(line.as_bytes(), &mut sink);
        }
        reader.feed(b"\0\xff\xfe broken \x80\n\0\0\0\n", &mut sink);
    }
    let boxes =
        |life: &Life| life.sender.len().max(life.account.len()).max(life.client.len()).max(life.message_id.len());
    assert!(analysis.lives.len() <= 100 && analysis.recipients_alive <= 1_000);
    assert_eq!(analysis.recipients_alive, analysis.lives.values().map(|life| life.recipients.len()).sum::<usize>());
    assert!(analysis.lives.values().all(|life| boxes(life) <= crate::cut::NAME_BYTES_MAX));
    assert!(analysis.receiver_of.keys().all(|host| host.len() <= crate::cut::NAME_BYTES_MAX));
    assert!(analysis.accounts.sorted().iter().all(|(name, _)| name.len() <= crate::cut::NAME_BYTES_MAX));
    assert!(analysis.origins.iter().all(|origin| origin.host.len() <= crate::cut::NAME_BYTES_MAX));
    assert!(analysis.causes.values().all(|sums| sums.sample.len() <= 4 * 500 && sums.host.len() <= 4 * 255));
    let summary = analysis.into_summary();
    assert_eq!(summary.messages.received, 200, "what was forgotten was counted first");
    assert_eq!(summary.recipients.pending, 200 * 41);
    assert!(summary.unseen.iter().any(|unseen| unseen.what == "messages on their way"));
}

#[test]
fn places_an_account_came_from_are_counted_few_or_many() {
    let came_from = |clients: std::ops::Range<u32>| {
        let mut sums = AccountSums::default();
        clients.for_each(|client| sums.seen(None, &client.to_le_bytes()));
        sums
    };
    assert_eq!((came_from(0..1).clients(), came_from(0..16).clients()), (1, 16));
    let many = came_from(0..1_000).clients();
    assert!((930..=1_070).contains(&many), "{many}: two per cent are permitted, and a margin");
    for (one, other, whole) in [(0..5, 3..9, 9), (0..5, 0..100, 100), (0..100, 90..95, 100)] {
        let mut merged = came_from(one.clone());
        crate::join::table::Row::merge(&mut merged, &came_from(other.clone()));
        assert!(merged.clients().abs_diff(whole) <= whole / 20, "{one:?} and {other:?}: {}", merged.clients());
    }
}

#[test]
fn servers_that_do_not_say_when_a_message_is_done() {
    let summary = summary(
        "10:00:00 sendmail 621AL0Ab000110: from=root, size=300, nrcpts=1, msgid=<1@x>, relay=root@localhost
         10:00:00 sm-mta 621AL0Cd000111: from=<root@x.example>, size=600, nrcpts=3, msgid=<1@x>, relay=localhost [127.0.0.1]
         10:00:00 sendmail 621AL0Ab000110: to=a,b,c, ctladdr=root (0/0), mailer=relay, relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (621AL0Cd000111 Message accepted for delivery)
         10:00:01 sm-mta 621AL0Cd000111: to=<a@x.example>,<b@x.example>, mailer=local, dsn=2.0.0, stat=Sent
         10:00:02 sm-mta 621AL0Cd000111: to=<c@d.example>, mailer=esmtp, relay=mx.d.example. [192.0.2.9], dsn=4.0.0, stat=Deferred: 450 4.2.0 Greylisted
         10:30:02 sm-mta 621AL0Cd000111: to=<c@d.example>, mailer=esmtp, relay=mx.d.example. [192.0.2.9], dsn=5.0.0, stat=Cannot send message for 5 days",
    );
    assert_eq!(recipients(&summary), [2, 0, 1, 0, 0]);
    let messages = &summary.messages;
    assert_eq!((messages.received, messages.continued, messages.removed, messages.alive), (1, 1, 2, 0));
}

#[test]
fn cut_through_precedes_its_arrival_and_a_subject_is_no_field() {
    let summary = summary(
        "10:00:00 exim 1tnABF-00000001242-1AbC >> y@z.example R=dnslookup T=remote_smtp H=mx.z.example [198.51.100.30] X=TLS1.3:x:256 C=\"250 ok\"
         10:00:00 exim 1tnABF-00000001242-1AbC <= bob@x.example U=bob P=local S=700 T=\"A=plain:victim@x.example\"
         10:00:00 exim 1tnABF-00000001242-1AbC Completed",
    );
    assert_eq!(recipients(&summary), [1, 0, 0, 0, 0]);
    assert_eq!((summary.messages.received, summary.messages.began_before, summary.messages.ended_unseen), (1, 0, 0));
    assert!(summary.accounts.is_empty());
    assert_eq!((summary.tls.sent_remote, summary.tls.sent_tls), (1, 1));
}

#[test]
fn what_a_filter_threw_away_was_not_delivered_and_what_was_held_is_a_message() {
    let summary = summary(
        "10:00:00 postfix/smtpd AAAAAA1: client=h[192.0.2.1]
         10:00:00 postfix/qmgr AAAAAA1: from=<a@x.example>, size=100, nrcpt=1 (queue active)
         10:00:01 postfix/smtp AAAAAA1: to=<u@b.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=1/0/0/0, dsn=2.7.0, status=sent (250 2.7.0 Ok, discarded, id=12345-01 - spam)
         10:00:01 postfix/qmgr AAAAAA1: removed
         10:00:02 postfix/pickup AAAAAA2: uid=0 from=<root>
         10:00:02 postfix/cleanup AAAAAA2: hold: header Subject: x from local; from=<root@mx>: held
         10:00:03 postfix/postsuper AAAAAA2: removed",
    );
    assert_eq!(recipients(&summary), [0, 0, 0, 0, 0]);
    assert_eq!((summary.messages.received, summary.messages.discarded), (1, 1));
}

const REQUEUED: &str = "10:00:00 postfix/pickup AAAAAA1: uid=0 from=<root>
    10:00:00 postfix/cleanup AAAAAA1: message-id=<1@x>
    10:00:00 postfix/qmgr AAAAAA1: from=<root@mx>, size=100, nrcpt=1 (queue active)
    10:01:00 postfix/postsuper AAAAAA1: requeued
    10:01:01 postfix/pickup AAAAAA2: uid=0 from=<root@mx> orig_id=AAAAAA1
    10:01:01 postfix/cleanup AAAAAA2: message-id=<1@x>
    10:01:02 postfix/smtp AAAAAA2: to=<c@d.example>, relay=mx.d.example[192.0.2.2]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)
    10:01:02 postfix/qmgr AAAAAA2: removed";

#[test]
fn a_life_goes_on_where_it_was_requeued() {
    let options = Options { selection: Some(Selection::QueueId(b"AAAAAA1".to_vec())), ..Options::default() };
    let (stories, _) = read(REQUEUED, options).stories();
    let told: Vec<(&str, usize)> = stories.iter().map(|story| (&*story.queue_id, story.lines.len())).collect();
    assert_eq!(told, [("AAAAAA1", 4), ("AAAAAA2", 4)]);
}

#[test]
fn lines_that_are_kept_have_a_bound_and_what_went_is_counted() {
    let options = Options { selection: Some(Selection::To(b"c@d.example".to_vec())), ..Options::default() };
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), options);
    analysis.story_bytes_max = 4_000;
    let mut reader = Reader::new(Origin::default());
    let mut text = String::new();
    for at in 0..100 {
        text.push_str(&format!("2026-05-01T10:00:00Z mx postfix/smtpd[7]: AAAAA{at:03}: client=h[192.0.2.1]\n"));
    }
    for at in 0..100 {
        text.push_str(&format!("2026-05-01T10:00:01Z mx postfix/smtp[7]: AAAAA{at:03}: to=<c@d.example>, relay=mx.d.example[192.0.2.2]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)\n"));
    }
    reader.feed(text.as_bytes(), &mut |raw: &[u8], read: Read<'_>| analysis.line(raw, read));
    assert!(analysis.story_bytes <= 4_500, "{}", analysis.story_bytes);
    let (kept, left): (usize, u64) = analysis
        .lives
        .values()
        .fold((0, 0), |(kept, left), life| (kept + life.lines.len(), left + life.lines_left_out));
    assert_eq!(kept as u64 + left, 200);
    assert!(left > 100);
}

#[test]
fn a_list_with_an_owner_is_one_message_under_two_ids() {
    let summary = summary(
        "10:00:00 sm-mta 621A01Ab000101: from=<a@b.example>, size=10, class=0, nrcpts=1, msgid=<x@b.example>, relay=mail.b.example [192.0.2.1]
         10:00:00 sm-mta 621A01Ab000102: clone 621A01Ab000101, owner=owner-list
         10:00:01 sm-mta 621A01Ab000102: to=<c@d.example>, delay=00:00:01, mailer=esmtp, relay=mx.d.example. [192.0.2.9], dsn=2.0.0, stat=Sent (ok)
         10:00:01 sm-mta 621A01Ab000101: to=<e@f.example>, delay=00:00:01, mailer=esmtp, relay=mx.f.example. [192.0.2.8], dsn=2.0.0, stat=Sent (ok)
         10:00:01 sm-mta 621A01Ab000101: done; delay=00:00:01, ntries=1
         10:00:01 sm-mta 621A01Ab000102: done; delay=00:00:01, ntries=1",
    );
    assert_eq!(recipients(&summary), [2, 0, 0, 0, 0]);
    assert_eq!(summary.messages.received, 1);
}

#[test]
fn what_is_forwarded_is_one_recipient_in_whichever_order_it_is_told() {
    let parent = [
        "10:00:00 postfix/smtpd AAAAAA1: client=h[192.0.2.1]",
        "10:00:00 postfix/qmgr AAAAAA1: from=<a@b.example>, size=10, nrcpt=1 (queue active)",
        "10:00:01 postfix/local AAAAAA1: to=<bob@b.example>, relay=local, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (forwarded as BBBBBB2)",
        "10:00:01 postfix/qmgr AAAAAA1: removed",
    ];
    let child = [
        "10:00:01 postfix/cleanup BBBBBB2: message-id=<x@b.example>",
        "10:00:01 postfix/qmgr BBBBBB2: from=<a@b.example>, size=10, nrcpt=1 (queue active)",
        "10:00:02 postfix/smtp BBBBBB2: to=<c@d.example>, orig_to=<bob@b.example>, relay=mx.d.example[192.0.2.9]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)",
        "10:00:02 postfix/qmgr BBBBBB2: removed",
    ];
    let late = [&parent[..], &child[..]].concat();
    let early = [&parent[..2], &child[..1], &parent[2..], &child[1..]].concat();
    // Without cleanup's lines, which some hosts log apart.
    let bare = [&parent[..], &child[1..]].concat();
    for lines in [late, early, bare] {
        let summary = summary(&lines.join("\n"));
        assert_eq!((recipients(&summary), summary.messages.received), ([1, 0, 0, 0, 0], 1), "{lines:?}");
    }
}

#[test]
fn a_session_tells_the_address_of_its_failed_logins() {
    let summary = summary(
        "10:00:00 smtpd e94c4a3a6b2c1d00 smtp connected address=192.0.2.66 host=x.example
         10:00:00 smtpd e94c4a3a6b2c1d01 smtp connected address=192.0.2.1 host=mail.b.example
         10:00:01 smtpd e94c4a3a6b2c1d00 smtp authentication user=bob result=permfail
         10:00:01 smtpd e94c4a3a6b2c1d01 smtp failed-command command=\"RCPT TO:<c@e.example>\" result=\"550 Invalid recipient\"
         10:00:02 smtpd e94c4a3a6b2c1d00 smtp disconnected reason=quit",
    );
    let sources: Vec<&str> = summary.logins.sources.iter().map(|row| row.address.as_str()).collect();
    assert_eq!(sources, ["192.0.2.66"]);
    assert!(summary.clients.iter().any(|row| row.name == "192.0.2.1" && row.refused == 1), "{:?}", summary.clients);
}
