//! Targets for logs: every grammar, every frame, the join, the sketches, and what replies mean.

use std::sync::{Arc, LazyLock};

use bolero::check;
use mxray_logs::sketch::{Distinct, Heavy, Minutes, Percentiles};
use mxray_logs::{Analysis, Options, Origin, Read, Reader, Selection, YearScan};
use mxray_mail::causes::{Rules, Said, Speaker};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules::built_in()));

/// Lines that are right, of each server and in each frame, so that mutations reach what is behind the outer layers.
const LINES: &[&str] = &[
    "May  1 10:00:00 mx postfix/smtpd[12]: 4F2A1C0042: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=bob",
    "May  1 10:00:00 mx postfix/qmgr[12]: 4F2A1C0042: from=<a@b.example>, size=100, nrcpt=2 (queue active)",
    "May  1 10:00:01 mx postfix/smtp[12]: 4F2A1C0042: to=<a@b.example>, orig_to=<c>, relay=mx[192.0.2.1]:25, delay=1e+05, delays=1/0/0/0, tls=dane/!requiretls:nostarttls, dsn=5.1.1, status=bounced (host mx[192.0.2.1] said: 550-5.1.1 User 550 5.1.1 unknown (in reply to RCPT TO command))",
    "May  1 10:00:01 mx postfix/bounce[12]: 4F2A1C0042: sender non-delivery notification: 4F2A1C0043",
    "May  1 10:00:01 mx postfix/smtpd[12]: NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 5.1.1 <c@d>: no; from=<a@b> to=<c@d> proto=ESMTP helo=<x>",
    "May  1 10:00:01 mx postfix/postscreen[12]: NOQUEUE: reject: RCPT from [192.0.2.7]:4984: 550 no; from=<a@b>, to=<c@d>, proto=ESMTP, helo=<x>",
    "2026-05-01T10:00:00.000001+02:00 mx postfix/qmgr[12]: 4F2A1C0042: removed",
    "<22>1 2026-05-01T10:00:00Z mx postfix/master 12 - [x@1 a=\"]\"] fatal: no",
    r#"{"__REALTIME_TIMESTAMP":"1746093600000000","SYSLOG_IDENTIFIER":"postfix/smtp","MESSAGE":[104,228,105]}"#,
    r#"{"log":"2026-05-01 10:00:00 1jmFYj-00039V-QX Completed\n","time":"2026-05-01T10:00:00.5Z"}"#,
    "2026-05-01 10:00:00 1jmFYj-00039V-QX <= a@b.example H=(x) [192.0.2.1] P=esmtp A=plain:bob S=100 id=m@x",
    "2026-05-01 10:00:00 1jmFYj-00039V-QX ** c@d.example <c> R=r T=t H=mx [192.0.2.2]: SMTP error from remote mail server after RCPT TO:<c@d.example>: 550 no",
    "2026-05-01 10:00:00 H=([192.0.2.9]) [192.0.2.7]:25 F=<a@b> rejected RCPT <c@d>: no",
    "May  1 10:00:00 mx dovecot: imap-login: Disconnected (auth failed, 1 attempts): user=<a>, rip=192.0.2.1, lip=192.0.2.2",
    "May  1 10:00:00 mx dovecot: lmtp(a)<1><x>: sieve: msgid=<m@x>: stored mail into mailbox 'INBOX'",
    "May  1 10:00:00 mx smtpd[1]: 0123456789abcdef mta delivery evpid=4f2a1c00deadbeef from=<a> to=<c@d> rcpt=<-> relay=\"192.0.2.1 (mx)\" delay=1m5s result=\"PermFail\" stat=\"550 no\"",
    "May  1 10:00:00 mx sm-mta[1]: s1P819mk027713: to=<a@b>,<c@b>, delay=1+02:03:04, relay=mx. [192.0.2.1], dsn=5.1.1, stat=User unknown",
    "2026-05-01 10:00:00 #1(normal) <abc>; task; rspamd_task_write_log: id: <m@x>, qid: <4F2A1C0042>, ip: 192.0.2.1",
];

/// The first byte of each group of three chooses a line's place, the second what stands there then.
fn changed(input: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    for (number, group) in input.chunks(3).enumerate() {
        let choice = usize::from(group[0]);
        let mut line = LINES[(choice + number) % LINES.len()].as_bytes().to_vec();
        if let [_, place, value] = *group {
            let place = usize::from(place) * line.len() / 256;
            match value % 4 {
                0 => line.truncate(place),
                1 => drop(line.splice(place..place, [value, b'<', b' '])),
                2 => drop(line.remove(place)),
                _ => line[place] = value,
            }
        }
        log.extend_from_slice(&line);
        log.push(b'\n');
    }
    log
}

fn read(log: &[u8], piece: usize, selection: Option<Selection>) -> (String, u64) {
    let options = Options { selection, lives_max: 16, ..Options::default() };
    let mut analysis = Analysis::new(Arc::clone(&RULES), options);
    let mut reader = Reader::new(Origin { first_year: 2026, local_offset: 0 });
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    log.chunks(piece.max(1)).for_each(|piece| reader.feed(piece, &mut sink));
    reader.finish(&mut sink);
    let lines = analysis.lines().clone();
    assert_eq!(lines.read, lines.understood + lines.foreign + lines.not_understood + lines.outside_window);
    let stories = analysis.stories().0.len() as u64;
    (format!("{:?}", analysis.into_summary()), stories)
}

#[test]
fn log_lines() {
    check!().for_each(|input: &[u8]| {
        let log = changed(input);
        // Any split gives the same answer, whatever the lines are.
        let whole = read(&log, log.len(), None).0;
        assert_eq!(whole, read(&log, 7, None).0);
        assert!(!whole.contains(['\u{1b}', '\u{7}']), "nothing steers a terminal");
    });
}

#[test]
fn log_bytes() {
    check!().for_each(|input: &[u8]| {
        let mut scan = YearScan::default();
        scan.feed(input);
        let selection = Some(Selection::To(input.to_vec()));
        let (_, stories) = read(input, 13, selection);
        assert!(stories <= 50);
    });
}

#[test]
fn replies() {
    check!().for_each(|input: &[u8]| {
        let (host, text) = input.split_at(input.len() / 4);
        for speaker in [Speaker::Ours, Speaker::Theirs] {
            let said = Said { host, text, speaker };
            // The cache of a thread gives what the search gave.
            let first = format!("{:?}", RULES.judge(&said));
            assert_eq!(first, format!("{:?}", RULES.judge(&said)));
        }
    });
}

#[test]
fn sketches() {
    check!().for_each(|input: &[u8]| {
        if let Ok(mut minutes) = Minutes::<5>::from_bytes(input) {
            minutes.merge(&minutes.clone());
            let _ = minutes.rows();
        }
        if let Ok(percentiles) = Percentiles::from_bytes(input) {
            let _ = percentiles.at(0.95);
        }
        if let Ok(mut heavy) = Heavy::from_bytes(input) {
            heavy.add(input, 1);
            let _ = heavy.top(3);
        }
        if let Ok(distinct) = Distinct::from_bytes(input) {
            let _ = distinct.count();
        }
    });
}
