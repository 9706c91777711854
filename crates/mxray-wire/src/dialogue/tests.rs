//! Conversations: whose turn it is, what a reply answers, what is masked.

use super::{Answered, Cut, Dialogue, Heard, Meaning};
use crate::scenario::Scenario;
use crate::{Auth, Moment, Secret, sasl};
use mxray_model::evidence::SessionProtocol::{Imap, Lmtp, Pop3, Sieve, Smtp};
use proptest::prelude::*;

const NOW: Moment = Moment::ZERO;

fn hear(dialogue: &mut Dialogue, text: &str) -> Vec<Heard> {
    dialogue.receive(text.as_bytes());
    std::iter::from_fn(|| dialogue.heard(NOW)).collect()
}

/// What the last line meant.
fn answer(dialogue: &mut Dialogue, text: &str) -> Answered {
    match hear(dialogue, text).pop().map(|heard| heard.meaning) {
        Some(Meaning::Answer(answered)) => answered,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn say(dialogue: &mut Dialogue, text: &str) -> String {
    String::from_utf8(dialogue.say(text.as_bytes(), NOW)).unwrap()
}

#[test]
fn smtp_replies_belong_to_commands() {
    let mut smtp = Dialogue::new(Smtp);
    assert!(smtp.is_waiting() && !smtp.is_greeted());
    assert_eq!(answer(&mut smtp, "220 a\r\n").verb.as_deref(), Some(""));
    assert!(!smtp.is_waiting() && smtp.is_greeted());
    say(&mut smtp, "EHLO x\r\n");
    assert!(smtp.is_waiting());
    let lines = hear(&mut smtp, "250-a\r\n250-AUTH=LOGIN\r\n250-size 5\r\n250-Auth plain LOGIN\r\n");
    assert!(lines.iter().all(|heard| heard.meaning == Meaning::Part) && smtp.is_waiting());
    assert_eq!(answer(&mut smtp, "250 HELP\r\n").verb.as_deref(), Some("EHLO"));
    assert_eq!(smtp.capabilities(), ["AUTH", "SIZE", "AUTH", "HELP"]);
    assert_eq!(smtp.mechanisms(), ["LOGIN", "PLAIN"]);
    say(&mut smtp, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n");
    answer(&mut smtp, "250 2.1.0 ok\r\n");
    assert!(smtp.is_waiting());
    let refused = answer(&mut smtp, "550 5.1.1 no\r\n");
    assert_eq!((refused.verb.as_deref(), refused.good, refused.code), (Some("RCPT"), false, Some(550)));
    assert_eq!(refused.enhanced.unwrap().to_string(), "5.1.1");
    assert_eq!(answer(&mut smtp, "421 bye\r\n").verb, None);
    assert_eq!(hear(&mut smtp, "hello\r\n")[0].meaning, Meaning::Foreign);
}

#[test]
fn a_message_is_no_command() {
    let mut smtp = Dialogue::new(Smtp);
    answer(&mut smtp, "220 a\r\n");
    say(&mut smtp, "DATA\r\n");
    assert!(answer(&mut smtp, "354 go\r\n").good);
    assert!(smtp.is_giving_message() && !smtp.is_waiting());
    say(&mut smtp, "Subject: x\r\n\r\nQUIT\r\nAUTH PLAIN x\r\n..\r\n");
    assert!(smtp.is_giving_message() && !smtp.has_left());
    say(&mut smtp, ".\r\n");
    assert!(smtp.is_waiting());
    answer(&mut smtp, "250 ok\r\n");
    assert!(!smtp.is_waiting());
    say(&mut smtp, "BDAT 5 LAST\r\nQU");
    assert!(smtp.is_giving());
    say(&mut smtp, "ITx");
    assert!(smtp.is_waiting() && !smtp.has_left());
    answer(&mut smtp, "250 ok\r\n");
    say(&mut smtp, "QUIT\r\n");
    assert!(smtp.has_left());
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let mut lmtp = Dialogue::new(Lmtp);
    answer(&mut lmtp, "220 a\r\n");
    say(&mut lmtp, "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n");
    for reply in ["250 ok\r\n", "250 ok\r\n", "550 no\r\n", "250 ok\r\n", "354 go\r\n"] {
        answer(&mut lmtp, reply);
    }
    say(&mut lmtp, "x\r\n.\r\n");
    answer(&mut lmtp, "250 ok\r\n");
    assert!(lmtp.is_waiting());
    answer(&mut lmtp, "452 full\r\n");
    assert!(!lmtp.is_waiting());
}

#[test]
fn imap_has_tags_literals_and_continuations() {
    let mut imap = Dialogue::new(Imap);
    answer(&mut imap, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n");
    assert_eq!(imap.mechanisms(), ["PLAIN"]);
    say(&mut imap, "a FETCH 1 BODY[]\r\n");
    let lines = hear(&mut imap, "* 1 FETCH (BODY[] {17}\r\na OK not yet\r\nx\r\n)\r\n");
    assert!(lines.iter().all(|heard| heard.meaning == Meaning::Part), "{lines:?}");
    assert!(imap.is_waiting());
    assert_eq!(answer(&mut imap, "a OK done\r\n").verb.as_deref(), Some("FETCH"));
    say(&mut imap, "b APPEND x {5}\r\n");
    assert!(imap.is_waiting());
    hear(&mut imap, "+ go\r\n");
    assert!(!imap.is_waiting() && imap.is_giving());
    say(&mut imap, "c OK");
    say(&mut imap, "\n\r\n");
    assert!(imap.is_waiting());
    assert_eq!(answer(&mut imap, "b NO [OVERQUOTA] full\r\n").response_code, "OVERQUOTA");
    say(&mut imap, "c IDLE\r\n");
    hear(&mut imap, "+ idling\r\n");
    assert_eq!(hear(&mut imap, "* 4 EXISTS\r\n")[0].meaning, Meaning::Part);
    assert_eq!(say(&mut imap, "DONE\r\n"), "DONE\r\n");
    assert!(imap.is_waiting());
    assert_eq!(answer(&mut imap, "z OK what\r\n").verb, None);
    assert!(answer(&mut imap, "c OK\r\n").good);
    say(&mut imap, "d APPEND x {5}\r\n");
    assert!(!answer(&mut imap, "d NO no\r\n").good && !imap.is_waiting() && !imap.is_giving());
    say(&mut imap, "e APPEND x {3+}\r\nabc\r\n");
    assert!(imap.is_waiting() && !imap.is_giving());
}

#[test]
fn pop3_lists_end_with_a_dot() {
    let mut pop3 = Dialogue::new(Pop3);
    answer(&mut pop3, "+OK hi\r\n");
    say(&mut pop3, "CAPA\r\n");
    hear(&mut pop3, "+OK\r\nSASL PLAIN\r\nSTLS\r\n");
    assert!(pop3.is_waiting());
    assert_eq!(answer(&mut pop3, ".\r\n").verb.as_deref(), Some("CAPA"));
    assert_eq!(
        (pop3.capabilities(), pop3.mechanisms()),
        (&["SASL".to_owned(), "STLS".to_owned()][..], &["PLAIN".to_owned()][..])
    );
    say(&mut pop3, "LIST 1\r\n");
    answer(&mut pop3, "+OK 1 100\r\n");
    say(&mut pop3, "RETR 9\r\n");
    assert_eq!(answer(&mut pop3, "-ERR [SYS/TEMP] no\r\n").response_code, "SYS/TEMP");
    assert!(!pop3.is_waiting());
}

#[test]
fn sieve_answers_end_lists_also_with_literals() {
    let mut sieve = Dialogue::new(Sieve);
    hear(&mut sieve, "\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\n");
    assert!(sieve.is_waiting());
    assert!(answer(&mut sieve, "OK \"ready\"\r\n").good);
    assert_eq!(sieve.mechanisms(), ["PLAIN", "LOGIN"]);
    say(&mut sieve, "PUTSCRIPT \"x\" {6+}\r\nkeep;\n\r\n");
    assert!(sieve.is_waiting() && !sieve.is_giving());
    let no = answer(&mut sieve, "NO (QUOTA/MAXSIZE) {10}\r\nOK no room\r\n");
    assert_eq!((no.good, no.response_code.as_str(), sieve.is_waiting()), (false, "QUOTA/MAXSIZE", false));
    sieve.on_tls(true, NOW);
    assert!(sieve.is_waiting());
}

#[test]
fn secrets_are_masked_in_every_protocol() {
    let login = |protocol, greeting: &str, lines: &[(&str, &str, &str)]| {
        let mut dialogue = Dialogue::new(protocol);
        hear(&mut dialogue, greeting);
        for (said, shown, reply) in lines {
            assert_eq!(say(&mut dialogue, said), *shown, "{said}");
            hear(&mut dialogue, reply);
        }
        // A server that repeats it.
        let heard = hear(&mut dialogue, "535 dGFuc3RhYWY= tanstaaf\r\n");
        assert_eq!(String::from_utf8_lossy(&heard[0].text), "535 *** ***");
        let file = dialogue.scenario("");
        assert!(
            !file.contains("tanstaaf") && !file.contains("AHRpbQB0YW5zdGFhZg") && !file.contains("dGFuc3RhYWY"),
            "{file}"
        );
        Scenario::parse(&file).unwrap();
    };
    let plain = "AHRpbQB0YW5zdGFhZg==";
    login(Smtp, "220 a\r\n", &[(&format!("auth plain {plain}\r\n"), "auth plain ***\r\n", "535 no\r\n")]);
    login(
        Smtp,
        "220 a\r\n",
        &[("AUTH PLAIN\r\n", "AUTH PLAIN\r\n", "334 \r\n"), (&format!("{plain}\r\n"), "***\r\n", "")],
    );
    login(
        Smtp,
        "220 a\r\n",
        &[
            ("AUTH LOGIN\r\n", "AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n"),
            ("dGltLi4u\r\n", "***\r\n", "334 UGFzc3dvcmQ6\r\n"),
            ("dGFuc3RhYWY=\r\n", "***\r\n", "235 tim... is in\r\n"),
        ],
    );
    login(Imap, "* OK\r\n", &[("a login tim tanstaaf\r\n", "a login tim ***\r\n", "a OK\r\n")]);
    login(
        Imap,
        "* OK\r\n",
        &[
            ("a LOGIN {3}\r\n", "a LOGIN {3}\r\n", "+\r\n"),
            ("tim {8}\r\n", "*** {8}\r\n", "+ go\r\n"),
            ("tanstaaf\r\n", "***\r\n", "a OK\r\n"),
        ],
    );
    login(Imap, "* OK\r\n", &[("a LOGIN tim {8+}\r\ntanstaaf\r\n", "a LOGIN tim {8+}\r\n***\r\n", "a OK\r\n")]);
    login(Pop3, "+OK\r\n", &[("PASS tanstaaf\r\n", "PASS ***\r\n", "-ERR\r\n")]);
    login(
        Sieve,
        "OK\r\n",
        &[(&format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"), "AUTHENTICATE \"PLAIN\" ***\r\n", "NO\r\n")],
    );
}

#[test]
fn a_secret_in_pieces_is_masked() {
    let mut smtp = Dialogue::new(Smtp);
    hear(&mut smtp, "220 a\r\n");
    assert_eq!(say(&mut smtp, "AUTH PLA"), "AUTH PLA");
    assert_eq!(say(&mut smtp, "IN AHRp"), "IN ***");
    assert_eq!(say(&mut smtp, "bQB0YW5zdGFhZg==\r\n"), "***\r\n");
    assert!(smtp.is_waiting());
}

#[test]
fn a_secret_that_comes_back_in_pieces_is_in_no_file() {
    let mut smtp = Dialogue::new(Smtp);
    hear(&mut smtp, "220 a\r\n");
    say(&mut smtp, "AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n");
    // Behind a line that is too long to be held, pieces are recorded as they come.
    for piece in ["535 ", &"x".repeat(9000), "tans", "taaf\r\n"] {
        smtp.receive(piece.as_bytes());
        while smtp.heard(NOW).is_some() {}
    }
    let file = smtp.scenario("");
    assert!(file.contains("***") && !file.contains("tanstaaf"), "{file}");
}

#[test]
fn a_login_is_led_to_its_end() {
    let mut smtp = Dialogue::new(Smtp);
    hear(&mut smtp, "220 a\r\n");
    let mut auth = Auth::with_password(sasl::Login::new("tim", Secret::new("tanstaaftanstaaf")), "n");
    let announced = ["CRAM-MD5".to_owned(), "PLAIN".to_owned()];
    let command = smtp.begin_login(&auth, &announced, None).unwrap();
    assert_eq!(smtp.say(&command, NOW), b"AUTH CRAM-MD5\r\n");
    let asked = "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n";
    let Some(Meaning::Asks(challenge)) = hear(&mut smtp, asked).pop().map(|heard| heard.meaning) else { panic!() };
    let answer_line = smtp.answer(&challenge).unwrap();
    // The vector of RFC 2195 section 2.
    assert_eq!(answer_line, b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n");
    assert_eq!(smtp.say(&answer_line, NOW), b"***\r\n");
    let good = answer(&mut smtp, "235 in\r\n");
    assert_eq!(smtp.end_login(&good).unwrap().mechanism, "CRAM-MD5");
    assert!(!smtp.is_logging_in());
    auth.mechanisms = vec![sasl::Mechanism::Plain];
    assert!(smtp.begin_login(&auth, &announced, None).unwrap_err().contains("without TLS"));
}

#[test]
fn endless_lines_are_clipped_and_still_read() {
    let mut smtp = Dialogue::new(Smtp);
    let mut given = 0;
    smtp.receive(b"220 ");
    for _ in 0..100 {
        smtp.receive(&[b'x'; 1000]);
        while let Some(heard) = smtp.heard(NOW) {
            assert_eq!(heard.cut, Cut::Long);
            given += heard.text.len();
        }
        assert!(smtp.pending_bytes() <= 9 * 1024);
    }
    let last = hear(&mut smtp, "y\r\n").pop().unwrap();
    assert_eq!(last.cut, Cut::Rest(100_004 + 3 - given as u64));
    assert!(matches!(last.meaning, Meaning::Answer(answered) if answered.code == Some(220)));
    smtp.receive(b"25");
    assert_eq!(smtp.heard(NOW), None);
    assert_eq!(smtp.rest(NOW).map(|heard| (heard.text, heard.cut)), Some((b"25".to_vec(), Cut::Open)));
}

proptest! {
    /// Whatever is said on either side, in whatever pieces: nothing panics, and nothing is lost in the file.
    #[test]
    fn any_conversation_is_kept(protocol in prop_oneof![Just(Smtp), Just(Lmtp), Just(Imap), Just(Pop3), Just(Sieve)],
        pieces in proptest::collection::vec((any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            Just(b"AUTH PLAIN\r\n".to_vec()), Just(b"334 \r\n".to_vec()), Just(b"a LOGIN {3}\r\n".to_vec()), Just(b"+ \r\n".to_vec()),
            Just(b"BDAT 10\r\n".to_vec()), Just(b"DATA\r\n".to_vec()), Just(b"354 go\r\n".to_vec()), Just(b".\r\n".to_vec()),
            Just(b"* x {5}\r\n".to_vec()), Just(b"a OK\r\n".to_vec()), Just(b"+OK\r\n".to_vec()), Just(b"{4+}\r\n".to_vec()),
            Just(b"AUTHENTICATE \"PLAIN\"\r\n".to_vec()), Just(b"\"eA==\"\r\n".to_vec()), Just(b"CAPA\r\n".to_vec()),
        ]), 0..40))
    {
        let mut dialogue = Dialogue::new(protocol);
        for (server, bytes) in pieces {
            if server {
                dialogue.receive(&bytes);
                while dialogue.heard(NOW).is_some() {}
            } else {
                dialogue.say(&bytes, NOW);
            }
        }
        dialogue.rest(NOW);
        Scenario::parse(&dialogue.scenario("x")).unwrap();
    }
}
