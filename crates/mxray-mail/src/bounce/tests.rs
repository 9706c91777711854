//! Reports of every kind, small.

use super::*;

fn reading(text: &str) -> Reading {
    read(text.as_bytes(), &Rules::built_in())
}

fn only(text: &str) -> (Kind, Recipient) {
    let mut reading = reading(text);
    assert_eq!(reading.recipients.len(), 1, "{reading:?}");
    (reading.kind, reading.recipients.remove(0))
}

/// A report of the standard form about one recipient.
fn standard(fields: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example\nTo: s@example.org\nMessage-ID: <own@mx.example>\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n{fields}\n--b\nContent-Type: message/rfc822\n\nReceived: from x\nMessage-ID: <1@example.org>\nFrom: s@example.org\nTo: r@example.net\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n\nbody\n--b--\n"
    )
}

#[test]
fn the_standard_form_tells_everything() {
    let text = standard(
        "Final-Recipient: rfc822; r@example.net\nOriginal-Recipient: rfc822;list@example.com\nAction: failed\nStatus: 5.0.0\nRemote-MTA: dns; in.example.net\nDiagnostic-Code: smtp; 550 5.1.1 <r@example.net>: Recipient address\n rejected: User unknown",
    );
    let reading = reading(&text);
    assert_eq!((reading.kind, reading.form), (Kind::Failure, "rfc3464"));
    assert_eq!(reading.message_id.as_deref(), Some("<own@mx.example>"));
    assert_eq!(reading.original.message_id.as_deref(), Some("<1@example.org>"));
    assert_eq!(reading.reporting_mta.as_deref(), Some("mx.example"));
    let recipient = &reading.recipients[0];
    assert_eq!(
        (recipient.address.as_str(), recipient.original_address.as_deref()),
        ("r@example.net", Some("list@example.com"))
    );
    assert_eq!((recipient.status.as_deref(), recipient.reply_code), (Some("5.1.1"), Some(550)));
    assert_eq!((recipient.cause, recipient.hard), (Cause::RcptUnknown, Some(true)));
    assert_eq!(recipient.said_by, SaidBy::Remote("in.example.net".to_owned()));
}

#[test]
fn delays_relays_and_deliveries_are_no_failures() {
    for (action, status, kind, cause) in [
        ("delayed", "4.4.1", Kind::Delay, Cause::Refused),
        ("relayed", "2.0.0", Kind::Relayed, Cause::DeliveredReport),
        ("expanded", "2.0.0", Kind::Expanded, Cause::DeliveredReport),
        ("Delivered (to mailbox)", "2.1.5", Kind::Delivered, Cause::DeliveredReport),
    ] {
        let said = if kind == Kind::Delay {
            "connect to in.example.net[192.0.2.1]:25: Connection refused"
        } else {
            "250 2.0.0 accepted"
        };
        let fields = format!(
            "Final-Recipient: rfc822; r@example.net\nAction: {action}\nStatus: {status}\nDiagnostic-Code: X-Postfix; {said}"
        );
        let (found, recipient) = only(&standard(&fields));
        assert_eq!((found, recipient.cause, recipient.hard), (kind, cause, None), "{action}");
        assert!(matches!(recipient.said_by, SaidBy::Reporter(_)), "{action}");
    }
    // One that failed among those that arrived makes it a failure.
    let mixed = "Final-Recipient: rfc822; a@example.net\nAction: delivered\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; b@example.net\nAction: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 5.2.2 mailbox full";
    let mixed = reading(&standard(mixed));
    assert_eq!((mixed.kind, mixed.recipients.len()), (Kind::Failure, 2));
    assert_eq!((mixed.recipients[1].cause, mixed.recipients[1].hard), (Cause::RcptFull, Some(false)));
}

#[test]
fn damaged_reports_are_read_all_the_same() {
    for fields in [
        // An empty line within.
        "Final-Recipient: rfc822; r@example.net\n\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown here",
        // No type, brackets, nothing but the original.
        "Original-Recipient: <r@example.net>\nAction: failed\nStatus: 5.1.1 (no such user)",
        // A name that has a meaning only there.
        "Original-Recipient: rfc822; r@example.net\nFinal-Recipient: rfc822; r@daemon\nAction: failed\nStatus: 5.1.1 (user unknown)",
    ] {
        let (kind, recipient) = only(&standard(fields));
        assert_eq!(
            (kind, recipient.address.as_str(), recipient.cause),
            (Kind::Failure, "r@example.net", Cause::RcptUnknown),
            "{fields}"
        );
    }
    let courier = "Final-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822; b@example.net\nAction: failed\nStatus: 5.2.2";
    assert_eq!(reading(&standard(courier)).recipients.len(), 2);
}

#[test]
fn prose_of_well_known_programs_is_read() {
    let qmail = "From: MAILER-DAEMON@mx.example\nTo: s@example.org\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<r@example.net>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 User unknown\nGiving up on 192.0.2.1.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <s@example.org>\nMessage-ID: <1@example.org>\nTo: other@example.net\n";
    let exim = "From: Mail Delivery System <Mailer-Daemon@mx.example>\nX-Failed-Recipients: r@example.net\nAuto-Submitted: auto-replied\nSubject: Mail delivery failed: returning message to sender\n\nA message that you sent could not be delivered to one or more of its\nrecipients. The following address(es) failed:\n\n  r@example.net\n    host in.example.net [192.0.2.1]: 550 5.1.1 unknown user\n\n------ This is a copy of the message, including all the headers. ------\n\nMessage-Id: <1@example.org>\n";
    let exchange = "From: System Administrator <postmaster@example.net>\nSubject: Undeliverable: hello\n\nYour message\n\n  To:      r@example.net\n  Subject: hello\n\ndid not reach the following recipient(s):\n\nr@example.net on Fri, 4 Oct 2002 17:10:56 -0400\n    The recipient name is not recognized\n";
    for text in [qmail, exim, exchange] {
        let (kind, recipient) = only(text);
        assert_eq!(
            (kind, recipient.address.as_str(), recipient.cause),
            (Kind::Failure, "r@example.net", Cause::RcptUnknown),
            "{text}"
        );
        assert_eq!(recipient.hard, Some(true));
    }
    for text in [qmail, exim] {
        assert_eq!(reading(text).original.message_id.as_deref(), Some("<1@example.org>"));
    }
    let late = "From: MAILER-DAEMON@mx.example\nSubject: Warning: message delayed\n\nThe address to which the message has not yet been delivered is:\n\n  r@example.net\n\nNo action is required on your part.\n";
    assert_eq!(only(late).0, Kind::Delay);
    let several = "From: MAILER-DAEMON@mx.example\nSubject: failure notice\n\nUnable to deliver message to the following address(es).\n\n<a@example.net>:\nUser unknown\n\n<b@example.net>:\nmailbox full\n";
    let causes: Vec<_> = reading(several).recipients.into_iter().map(|one| (one.address, one.cause)).collect();
    assert_eq!(
        causes,
        [("a@example.net".to_owned(), Cause::RcptUnknown), ("b@example.net".to_owned(), Cause::RcptFull)]
    );
}

#[test]
fn machines_that_answer_are_no_bounces() {
    for text in [
        "From: r@example.net\nAuto-Submitted: auto-replied\nSubject: Re: hello\n\nI am away until Monday. Mail to colleagues could not be better.\n",
        "From: r@example.net\nSubject: Out of office: hello\n\nBack soon.\n",
        "From: r@example.net\nReturn-Path: <>\nSubject: Thank you for your e-mail\n\nI will reply as soon as possible.\n",
    ] {
        assert_eq!(reading(text).kind, Kind::AutomaticReply, "{text}");
    }
    for text in [
        "From: friend@example.net\nSubject: lunch\n\nThe delivery of my parcel failed, it was rejected.\n",
        "",
        "\u{0}\u{1}",
        "no header at all",
    ] {
        let reading = reading(text);
        assert_eq!((reading.kind, reading.recipients.len()), (Kind::Other, 0), "{text}");
    }
    let seen = "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nread\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; r@example.net\nOriginal-Message-ID: <1@example.org>\nDisposition: manual-action/MDN-sent-manually; displayed\n--b--\n";
    assert_eq!(only(seen).0, Kind::Disposition);
}

#[test]
fn complaints_are_told_from_their_opposite() {
    let arf = |kind: &str| {
        format!(
            "From: fbl@example.net\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nUser-Agent: FBL/1\nVersion: 1\n\nSource-IP: 192.0.2.25\nOriginal-Rcpt-To: <r@example.net>\nIncidents: 3\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <gateway@ses>\nMessage-ID: <1@example.org>\nFrom: s@example.org\n\nx\n--b--\n"
        )
    };
    let abuse = reading(&arf("abuse"));
    let complaint = abuse.complaint.as_ref().unwrap();
    assert_eq!(
        (abuse.kind, complaint.incidents, complaint.source_ip.as_deref()),
        (Kind::Complaint, 3, Some("192.0.2.25"))
    );
    assert_eq!((abuse.recipients[0].address.as_str(), abuse.recipients[0].cause), ("r@example.net", Cause::Feedback));
    assert_eq!(abuse.original.message_id.as_deref(), Some("<1@example.org>"));
    assert_eq!(reading(&arf("not-spam")).kind, Kind::NotSpam);
    let hotmail = "From: <staff@hotmail.com>\nSubject: complaint about message from 192.0.2.25\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: r@example.com\nMessage-ID: <1@example.org>\n\nx\n--b--\n";
    let hotmail = reading(hotmail);
    assert_eq!((hotmail.kind, hotmail.recipients[0].address.as_str()), (Kind::Complaint, "r@example.com"));
    assert_eq!(hotmail.complaint.and_then(|complaint| complaint.source_ip).as_deref(), Some("192.0.2.25"));
    let plain = "From: fbl@example.net\nSubject: Abuse\n\nFeedback-Type: abuse\nSource-IP: 192.0.2.25\n";
    assert_eq!(reading(plain).form, "arf-text");
}

#[test]
fn a_report_that_was_passed_on_is_found() {
    let inner = standard(
        "Final-Recipient: rfc822; r@example.net\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown",
    );
    let outer = format!("From: postmaster@example.org\nSubject: Fwd\nContent-Type: message/rfc822\n\n{inner}");
    assert_eq!(only(&outer).1.address, "r@example.net");
    let carriage = inner.replace('\n', "\r\n");
    assert_eq!(only(&carriage).1.cause, Cause::RcptUnknown);
    assert_eq!(only(&inner.replace('\n', "\r")).1.cause, Cause::RcptUnknown);
}

#[test]
fn nothing_hostile_takes_long() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(1000);
    assert!(reading(&nested).cut);
    let many: String =
        (0..5000).map(|n| format!("Final-Recipient: rfc822; r{n}@example.net\nAction: failed\n\n")).collect();
    assert_eq!(reading(&standard(&many)).recipients.len(), RECIPIENTS_MAX);
    assert_eq!(
        reading(&format!("From: mailer-daemon@x\nSubject: failure notice\n\n{}", "@".repeat(100_000))).recipients.len(),
        1
    );
}
