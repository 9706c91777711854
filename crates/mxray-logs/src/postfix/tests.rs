//! Lines of Postfix of several versions.

use super::*;
use crate::event::{Delays, Peer, Status};
use mxray_mail::causes::Speaker;

fn said(text: &str) -> Event<'_> {
    read(b"smtp", text.as_bytes()).unwrap_or_else(|| panic!("not understood: {text}"))
}

#[test]
fn queue_ids_of_both_kinds() {
    for id in ["0F5383D", "D95341E50350", "4S5Z1y0tB9z1Xk", "3mPVKl0Mhjz7sXv"] {
        assert!(is_queue_id(id.as_bytes()), "{id}");
    }
    for word in ["warning", "statistics", "Deleted", "CONNECT", "0f5383d", "certificate", "discarding"] {
        assert!(!is_queue_id(word.as_bytes()), "{word}");
    }
}

#[test]
fn an_attempt_with_all_that_3_11_adds() {
    let text = "7EE668039: to=<a@b.example>, orig_to=<c@b.example>, relay=mx.b.example[192.0.2.1]:25, conn_use=3, delay=3.6, delays=0.2/0.02/0.04/3.3, tls=dane/!requiretls:nostarttls, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 153053D)";
    let Event::Attempt { id: b"7EE668039", attempt } = said(text) else { panic!() };
    assert_eq!((attempt.to, attempt.original_to), (&b"a@b.example"[..], &b"c@b.example"[..]));
    assert_eq!(attempt.relay, Peer { name: b"mx.b.example", address: b"192.0.2.1" });
    assert_eq!(
        attempt.delays,
        Some(Delays { before_queue: 200_000, in_queue: 20_000, connecting: 40_000, sending: 3_300_000 })
    );
    assert_eq!((attempt.tls, attempt.next_id), (&b"dane/!requiretls:nostarttls"[..], Some(&b"153053D"[..])));
}

#[test]
fn addresses_may_hold_what_separates() {
    let text = r#"7EE668039: to=<"a>, b=c"@d.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to d.example[192.0.2.1]:25: Connection refused)"#;
    let Event::Attempt { attempt, .. } = said(text) else { panic!() };
    assert_eq!(attempt.to, br#""a>, b=c"@d.example"#);
    assert_eq!((attempt.status, attempt.speaker), (Status::Deferred, Speaker::Ours));
    assert_eq!(attempt.relay, Peer::default());
}

#[test]
fn a_line_that_was_cut_keeps_what_is_there() {
    let text = "7EE668039: to=<a@b.example>, relay=mx[192.0.2.1]:25, delay=1, delays=1/0/0/0, dsn=5.1.1, status=bounced (host mx[192.0.2.1] said: 550 5.1.1 User unk";
    let Event::Attempt { attempt, .. } = said(text) else { panic!() };
    assert_eq!((attempt.status, attempt.speaker), (Status::Bounced, Speaker::Theirs));
    assert!(attempt.text.ends_with(b"User unk"));
    assert_eq!(read(b"smtp", b"7EE668039: to=<a@b.example>, relay=mx[192"), None);
}

#[test]
fn lives_begin_and_end() {
    let client = said("4S5Z1y0tB9z1Xk: client=h[192.0.2.1], sasl_method=PLAIN, sasl_username=a@b.example");
    let Event::Arrival { arrival, begins: true, .. } = client else { panic!() };
    assert_eq!((arrival.account, arrival.client.address), (Some(&b"a@b.example"[..]), &b"192.0.2.1"[..]));
    let Event::Arrival { arrival, .. } = said("D2FAE20586: uid=0 from=<root> orig_id=D2FAE20587") else { panic!() };
    assert_eq!((arrival.sender, arrival.earlier_id), (Some(&b"root"[..]), Some(&b"D2FAE20587"[..])));
    assert_eq!(
        said("D2FAE20586: message-id=<>"),
        Event::MessageId { id: b"D2FAE20586", message_id: b"", resent: false }
    );
    let queued = said("0F5383D: from=<a>, size=5360, nrcpt=12 (queue active)");
    assert_eq!(queued, Event::Queued { id: b"0F5383D", sender: b"a", size: Some(5360), recipients: Some(12) });
    assert_eq!(said("0F5383D: from=<a>, status=expired, returned to sender"), Event::Expired { id: b"0F5383D" });
    assert_eq!(said("0F5383D: from=<a>, status=force-expired, returned to sender"), Event::Expired { id: b"0F5383D" });
    assert_eq!(said("0F5383D: removed"), Event::Removed { id: b"0F5383D" });
    assert_eq!(said("0F5383D: canceled"), Event::Canceled { id: b"0F5383D" });
    let notice = said("482E4404AC8: postmaster non-delivery notification: 47335405A44");
    assert_eq!(notice, Event::Notice { id: b"482E4404AC8", notice_id: b"47335405A44", kind: Notice::NonDelivery });
}

#[test]
fn refusals_in_all_places() {
    let texts = [
        "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 <c@d>: User unknown; from=<a@b> to=<c@d> proto=ESMTP helo=<x>",
        "NOQUEUE: reject: RCPT from [192.0.2.7]:4984: 550 5.1.1 <c@d>: User unknown; from=<a@b>, to=<c@d>, proto=ESMTP, helo=<x>",
        "0F5383D: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 <c@d>: User unknown; from=<a@b> to=<c@d> proto=ESMTP helo=<x>",
    ];
    for text in texts {
        let Event::Refusal { refusal, .. } = said(text) else { panic!("{text}") };
        assert_eq!(
            (refusal.client.address, refusal.from, refusal.to),
            (&b"192.0.2.7"[..], &b"a@b"[..], &b"c@d"[..]),
            "{text}"
        );
        assert_eq!(refusal.reply, b"550 5.1.1 <c@d>: User unknown", "{text}");
    }
    let milter = "0F5383D: milter-reject: END-OF-MESSAGE from h[192.0.2.7]: 5.7.1 Spam; from=<a@b> to=<c@d> proto=ESMTP helo=<x>";
    let Event::Refusal { refusal, id: Some(b"0F5383D") } = said(milter) else { panic!() };
    assert!(refusal.ends_message);
    let header = "0F5383D: reject: header Subject: x; from=<y> from h[192.0.2.7]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>: 5.7.1 no";
    let Event::Refusal { refusal, .. } = said(header) else { panic!() };
    assert_eq!((refusal.reply, refusal.client.address), (&b"5.7.1 no"[..], &b"192.0.2.7"[..]));
}

#[test]
fn logins_and_incidents() {
    let text = "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=a@b.example";
    let failed = Event::Login {
        account: b"a@b.example",
        client: Peer { name: b"unknown", address: b"192.0.2.7" },
        granted: false,
    };
    assert_eq!(said(text), failed);
    assert!(matches!(
        said("fatal: no SASL authentication mechanisms"),
        Event::Trouble { severity: Severity::Fatal, .. }
    ));
    let ended = read(b"master", b"warning: process /usr/libexec/postfix/smtpd pid 12 exit status 1");
    assert!(matches!(ended, Some(Event::ProcessEnded { .. })));
    for harmless in [
        "warning: /etc/postfix/main.cf, line 55: overriding earlier entry: virtual_transport=virtual",
        "warning: process /usr/lib/postfix/sbin/smtpd pid 18951 killed by signal 15",
    ] {
        let read = read(b"master", harmless.as_bytes());
        assert!(matches!(read, Some(Event::Trouble { severity: Severity::Warning, .. })), "{harmless}");
    }
    assert_eq!(said("daemon started -- version 3.11.0, configuration /etc/postfix"), Event::Started);
    assert_eq!(said("Requeued: 1 message"), Event::Remark);
    assert_eq!(read(b"smtpd", b"gibberish that is none of ours"), None);
}

#[test]
fn the_last_queue_id_is_the_one_that_counts() {
    let text = b"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as A17F830001CA";
    assert_eq!(next_id(text), Some(&b"A17F830001CA"[..]));
    assert_eq!(next_id(b"forwarded as 0F5383D"), Some(&b"0F5383D"[..]));
    assert_eq!(next_id(b"250 ok queued as somewhere"), None);
}
