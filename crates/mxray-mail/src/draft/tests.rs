//! What is composed is read again by somebody else's parser, and has to be what went in.

use super::*;
use crate::{LINE_BYTES_MAX, guessed_type};
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

fn stamp() -> Stamp {
    Stamp { date: "Sat, 1 Jan 2000 00:00:00 +0000".to_owned(), message_id: "1.a@mx.example".to_owned() }
}

fn fields(texts: &[&str]) -> Vec<Field> {
    texts.iter().map(|text| Field::parse(text).unwrap()).collect()
}

#[test]
fn a_plain_message_is_as_plain_as_can_be() {
    let draft = Draft {
        absent: fields(&["From: a@b.example", "To: c@d.example", "Subject: hello"]),
        text: Some(b"one\ntwo\n".to_vec()),
        ..Draft::default()
    };
    assert_eq!(
        String::from_utf8(draft.compose(&stamp()).unwrap()).unwrap(),
        "From: a@b.example\r\nTo: c@d.example\r\nSubject: hello\r\nDate: Sat, 1 Jan 2000 00:00:00 +0000\r\n\
         Message-ID: <1.a@mx.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\none\r\ntwo\r\n"
    );
}

#[test]
fn what_is_given_is_not_added_again() {
    let given = ["date: never", "MESSAGE-ID: <x>", "Mime-Version: 1.0", "content-type: text/x-odd", "Subject: mine"];
    let draft = Draft { always: fields(&given), absent: fields(&["Subject: other"]), ..Draft::default() };
    let text = String::from_utf8(draft.compose(&stamp()).unwrap()).unwrap();
    assert_eq!(text, format!("{}\r\n\r\n", given.join("\r\n")));
}

#[test]
fn text_that_is_encoded_already_stays_so() {
    let mut draft = Draft {
        always: fields(&["Content-Type: application/pdf", "Content-Transfer-Encoding: base64"]),
        text: Some(b"JVBERi0=\n".to_vec()),
        ..Draft::default()
    };
    let text = String::from_utf8(draft.compose(&stamp()).unwrap()).unwrap();
    assert!(text.ends_with("\r\n\r\nJVBERi0=\r\n") && text.matches("Content-Transfer-Encoding").count() == 1);
    draft.text = Some(vec![b'x'; LINE_BYTES_MAX + 1]);
    assert_eq!(draft.compose(&stamp()), Err(Trouble::LineTooLong));
    draft.html = Some(Vec::new());
    assert_eq!(draft.compose(&stamp()), Err(Trouble::TypeOfParts));
}

#[test]
fn all_parts_come_out_again() {
    let attachment = |name: &str, bytes: &[u8]| Attachment {
        name: name.to_owned(),
        content_type: guessed_type(name).to_owned(),
        bytes: bytes.to_vec(),
    };
    let long = format!("{}.pdf", "sehr langer Name mit ü ".repeat(8));
    let draft = Draft {
        absent: fields(&["From: Jörg Müßig <a@b.example>", "Subject: Grüße aus Köln, und zwar viele davon"]),
        text: Some("Zeile ä\nnoch eine\n".as_bytes().to_vec()),
        html: Some("<p>日本語</p>".as_bytes().to_vec()),
        attachments: vec![
            attachment("a.bin", &[0, 1, 2, 255, 13, 10, 13]),
            attachment(&long, b"x\ny"),
            attachment("in.eml", b"Subject: inner\n\nbody\n"),
        ],
        ..Draft::default()
    };
    let bytes = draft.compose(&stamp()).unwrap();
    assert!(bytes.is_ascii());
    let message = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(message.subject(), Some("Grüße aus Köln, und zwar viele davon"));
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Jörg Müßig"));
    assert_eq!(message.body_text(0).unwrap(), "Zeile ä\r\nnoch eine\r\n");
    assert_eq!(message.body_html(0).unwrap(), "<p>日本語</p>");
    let found: Vec<_> = message.attachments().map(|part| part.attachment_name().unwrap_or_default()).collect();
    assert_eq!(found, ["a.bin", &long, "in.eml"]);
    assert_eq!(message.attachment(0).unwrap().contents(), [0, 1, 2, 255, 13, 10, 13]);
    assert_eq!(message.attachment(1).unwrap().contents(), b"x\ny");
    assert_eq!(message.attachment(2).unwrap().message().unwrap().subject(), Some("inner"));
}

#[test]
fn a_message_within_is_not_encoded() {
    let mut draft = Draft {
        attachments: vec![Attachment {
            name: "a.eml".to_owned(),
            content_type: "message/rfc822".to_owned(),
            bytes: "Subject: ä\n\n".as_bytes().to_vec(),
        }],
        ..Draft::default()
    };
    assert!(matches!(draft.compose(&stamp()), Err(Trouble::EightBitMessage { .. })));
    draft.eight_bit = true;
    assert!(String::from_utf8(draft.compose(&stamp()).unwrap()).unwrap().contains("Encoding: 8bit"));
}

proptest! {
    #[test]
    fn text_and_subject_come_out_as_they_went_in(
        subject in "[ -~äß日\u{1F600}]{0,200}",
        text in "([ -~äß日=.]{0,90}\n){0,6}",
        file in "[a-z ä\"\\\\;%']{1,80}",
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let subject = subject.trim().to_owned();
        let draft = Draft {
            absent: vec![Field::new("Subject", &subject).unwrap(), Field::parse("From: a@b.example").unwrap()],
            text: Some(text.clone().into_bytes()),
            attachments: vec![Attachment { name: file.clone(), content_type: "application/x-y".to_owned(), bytes: bytes.clone() }],
            ..Draft::default()
        };
        let composed = draft.compose(&stamp()).unwrap();
        prop_assert!(composed.is_ascii());
        for line in composed.split(|byte| *byte == b'\n') {
            prop_assert!(line.len() <= LINE_BYTES_MAX + 1);
            prop_assert!(!line.strip_suffix(b"\r").unwrap_or(line).contains(&b'\r'));
        }
        let message = MessageParser::default().parse(&composed).unwrap();
        // A parser may fold white space; words and their order are what counts.
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if !(subject.is_ascii() && subject.contains("=?")) {
            prop_assert_eq!(words(message.subject().unwrap_or_default()), words(&subject));
        }
        prop_assert_eq!(message.body_text(0).unwrap().into_owned(), text.replace('\n', "\r\n"));
        prop_assert_eq!(message.attachment(0).unwrap().contents(), &bytes[..]);
        prop_assert_eq!(message.attachment(0).unwrap().attachment_name(), Some(file.as_str()));
    }
}
