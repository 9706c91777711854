//! What a session is to do. Addresses and names are checked here, so that nothing in a plan can add a line of its own.

use super::handover::Handover;
use crate::Moment;
use crate::Starttls;
use crate::auth::Auth;
use mxray_model::session::Depth;
use std::fmt;
use std::num::NonZeroUsize;

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    #[default]
    Smtp,
    /// RFC 2033: LHLO, and a reply for each recipient behind the message.
    Lmtp,
}

/// How long each step is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub greeting: Moment,
    pub reply: Moment,
    /// Behind the end of the message, where the server may do a lot (RFC 5321 section 4.5.3.2.6: 10 minutes).
    pub message: Moment,
    /// For the reply to QUIT.
    pub quit: Moment,
}

impl Default for Patience {
    /// For an examination that a person waits for; what comes later than this is unknown, not absent.
    fn default() -> Self {
        Patience {
            greeting: Moment::from_secs(10),
            reply: Moment::from_secs(10),
            message: Moment::from_secs(60),
            quit: Moment::from_secs(2),
        }
    }
}

/// An address or name that cannot be written on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress {
    pub text: String,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be part of an SMTP command: {:?}", self.text)
    }
}

impl std::error::Error for BadAddress {}

/// RFC 5321 section 4.5.3.1: 256 bytes of path; a little more is let through, since servers are judged by what they do.
const ADDRESS_BYTES_MAX: usize = 1000;

/// The keyword, and the parameter of MAIL, of addresses beyond ASCII (RFC 6531).
pub(super) const UTF8: &str = "SMTPUTF8";

/// The envelope (RFC 5321 section 2.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    sender: String,
    recipients: Vec<String>,
    /// Behind the sender: `SIZE=1000`, `BODY=8BITMIME`.
    mail_parameters: Vec<String>,
    /// Behind each recipient: `NOTIFY=FAILURE`.
    rcpt_parameters: Vec<String>,
    /// Behind the sender, where the server announces the keyword in front.
    mail_where: Vec<(String, String)>,
    /// The same, recipient by recipient.
    rcpt_where: Vec<Vec<(String, String)>>,
}

impl Envelope {
    /// An empty sender is the null sender, `<>`.
    ///
    /// # Errors
    /// An address with a control character or an angle bracket in it, or far too long: it would be another command.
    pub fn new(sender: &str, recipients: &[&str]) -> Result<Self, BadAddress> {
        Ok(Envelope {
            sender: address(sender)?,
            recipients: recipients.iter().map(|recipient| address(recipient)).collect::<Result<_, _>>()?,
            mail_parameters: Vec::new(),
            rcpt_parameters: Vec::new(),
            mail_where: Vec::new(),
            rcpt_where: Vec::new(),
        })
    }

    /// A parameter of MAIL for servers that announce the keyword: `SIZE`, `SIZE=1000`.
    ///
    /// # Errors
    /// A parameter with a blank or a control character in it.
    pub fn with_announced(mut self, keyword: &str, mail: &str) -> Result<Self, BadAddress> {
        self.mail_where.push((keyword.to_ascii_uppercase(), parameter(mail)?));
        Ok(self)
    }

    /// A parameter of RCPT for servers that announce the keyword, recipient by recipient: `DSN`, `ORCPT=rfc822;…`.
    ///
    /// # Errors
    /// A parameter with a blank or a control character in it.
    pub fn with_announced_for_each(mut self, keyword: &str, of: impl Fn(&str) -> String) -> Result<Self, BadAddress> {
        self.rcpt_where.resize(self.recipients.len(), Vec::new());
        for (recipient, parameters) in self.recipients.iter().zip(&mut self.rcpt_where) {
            parameters.push((keyword.to_ascii_uppercase(), parameter(&of(recipient))?));
        }
        Ok(self)
    }

    /// # Errors
    /// A parameter with a blank or a control character in it.
    pub fn with_parameters(mut self, mail: &[&str], rcpt: &[&str]) -> Result<Self, BadAddress> {
        self.mail_parameters = mail.iter().map(|word| parameter(word)).collect::<Result<_, _>>()?;
        self.rcpt_parameters = rcpt.iter().map(|word| parameter(word)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    pub fn sender(&self) -> &str {
        &self.sender
    }

    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// An address that only servers of SMTPUTF8 take (RFC 6531 section 3.2).
    pub(crate) fn is_utf8(&self) -> bool {
        !self.sender.is_ascii() || self.recipients.iter().any(|recipient| !recipient.is_ascii())
    }

    pub(crate) fn mail_command(&self, announces: impl Fn(&str) -> bool) -> String {
        let given = self.mail_parameters.iter().chain(self.mail_where.iter().map(|(_, parameter)| parameter));
        let said = given.into_iter().any(|parameter| parameter.eq_ignore_ascii_case(UTF8));
        let needed = self.is_utf8() && !said && announces(UTF8);
        let own: Vec<String> = needed.then(|| UTF8.to_owned()).into_iter().collect();
        let always = [own, self.mail_parameters.clone()].concat();
        command("MAIL FROM", &self.sender, &always, &self.mail_where, announces)
    }

    pub(crate) fn rcpt_command(&self, place: usize, announces: impl Fn(&str) -> bool) -> Option<String> {
        let own = self.rcpt_where.get(place).map(Vec::as_slice).unwrap_or_default();
        let recipient = self.recipients.get(place)?;
        Some(command("RCPT TO", recipient, &self.rcpt_parameters, own, announces))
    }
}

fn command(
    verb: &str,
    address: &str,
    always: &[String],
    conditional: &[(String, String)],
    announces: impl Fn(&str) -> bool,
) -> String {
    let announced = conditional.iter().filter(|(keyword, _)| announces(keyword)).map(|(_, parameter)| parameter);
    let parameters: String = always.iter().chain(announced).map(|parameter| format!(" {parameter}")).collect();
    format!("{verb}:<{address}>{parameters}\r\n")
}

fn address(text: &str) -> Result<String, BadAddress> {
    let bad = |c: char| c.is_control() || matches!(c, '<' | '>');
    if text.len() > ADDRESS_BYTES_MAX || text.contains(bad) {
        return Err(BadAddress { text: text.chars().take(80).collect() });
    }
    Ok(text.to_owned())
}

pub(super) fn parameter(text: &str) -> Result<String, BadAddress> {
    if text.is_empty() || text.len() > ADDRESS_BYTES_MAX || text.contains(|c: char| c.is_control() || c == ' ') {
        return Err(BadAddress { text: text.chars().take(80).collect() });
    }
    Ok(text.to_owned())
}

/// A message as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
    /// BDAT instead of DATA, where the server has CHUNKING (RFC 3030).
    pub chunking: bool,
    /// Most bytes of one BDAT; `None`: the message is one chunk.
    pub chunk_bytes: Option<NonZeroUsize>,
    exact: bool,
}

impl Message {
    /// Line endings become CRLF, whatever they were; the last line gets one. A bare CR in the text would be read as a line
    /// ending by some servers and not by others (SMTP smuggling), so none is ever written.
    pub fn new(text: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(text.len() + text.len() / 32 + 2);
        let mut rest = text.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            match byte {
                b'\r' => {
                    rest.next_if_eq(&b'\n');
                    bytes.extend_from_slice(b"\r\n");
                }
                b'\n' => bytes.extend_from_slice(b"\r\n"),
                byte => bytes.push(byte),
            }
        }
        if !bytes.ends_with(b"\r\n") {
            bytes.extend_from_slice(b"\r\n");
        }
        Message { bytes, chunking: false, chunk_bytes: None, exact: false }
    }

    /// The bytes as they are, line endings included. Dots are doubled behind CRLF only, and DATA gets a CRLF in front of its
    /// end where there is none. For tests of a server's own: see [`Message::has_bare_line_ends`].
    pub fn exact(bytes: Vec<u8>) -> Self {
        Message { bytes, chunking: false, chunk_bytes: None, exact: true }
    }

    /// A CR or LF that is not part of CRLF: what one server takes for the end of a line, and the next one does not (SMTP
    /// smuggling).
    pub fn has_bare_line_ends(&self) -> bool {
        let bytes = &self.bytes;
        let before = |place: usize| place.checked_sub(1).and_then(|place| bytes.get(place));
        bytes.iter().enumerate().any(|(place, byte)| match byte {
            b'\r' => bytes.get(place + 1) != Some(&b'\n'),
            b'\n' => before(place) != Some(&b'\r'),
            _ => false,
        })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With dots doubled at the beginning of lines, and the end (RFC 5321 section 4.5.2).
    pub(crate) fn stuffed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 16);
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n') {
            let begins = !self.exact || out.is_empty() || out.ends_with(b"\r\n");
            if begins && line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        out
    }
}

/// What a session is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub dialect: Dialect,
    pub depth: Depth,
    /// The argument of EHLO: who asks (RFC 5321 section 4.1.1.1).
    name: String,
    /// TLS from the first byte (port 465).
    pub implicit_tls: bool,
    pub starttls: Starttls,
    /// For the depths from `Auth` on.
    pub auth: Option<Auth>,
    /// For the depths from `Rcpt` on.
    pub envelope: Option<Envelope>,
    /// Transactions behind the first, each taken back with RSET. Nothing is handed over in them.
    pub further: Vec<Envelope>,
    /// Ask with MAIL and RSET, before STARTTLS, whether the server goes on without TLS (RFC 3207 section 4: it may say 530).
    /// For services of users; nobody has to be asked this on port 25.
    pub try_in_clear: bool,
    /// For `Message`.
    pub message: Option<Message>,
    /// Commands in groups where the server allows it (RFC 2920).
    pub pipelining: bool,
    pub patience: Patience,
    /// What handing a message over needs besides.
    pub handover: Handover,
}

impl Plan {
    /// To the extensions, and no further.
    ///
    /// # Errors
    /// The name cannot be an argument of EHLO.
    pub fn new(name: &str) -> Result<Self, BadAddress> {
        Ok(Plan {
            dialect: Dialect::Smtp,
            depth: Depth::Tls,
            name: parameter(name)?,
            implicit_tls: false,
            starttls: Starttls::IfOffered,
            auth: None,
            envelope: None,
            further: Vec::new(),
            try_in_clear: false,
            message: None,
            pipelining: false,
            patience: Patience::default(),
            handover: Handover::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_another_command() {
        for bad in ["a@b\r\nRSET", "a@b\n", "a\0@b", "a>b", "<a@b>"] {
            assert!(Envelope::new(bad, &["c@d"]).is_err() && Envelope::new("", &[bad]).is_err(), "{bad:?}");
        }
        assert!(Plan::new("a b").is_err() && Plan::new("").is_err() && Plan::new("a\r\nMAIL").is_err());
        let envelope = Envelope::new("", &["größe@example.org"]).unwrap().with_parameters(&["SIZE=10"], &[]).unwrap();
        assert_eq!(envelope.mail_command(|_| false), "MAIL FROM:<> SIZE=10\r\n");
        assert_eq!(envelope.rcpt_command(0, |_| false).unwrap(), "RCPT TO:<größe@example.org>\r\n");
        assert!(Envelope::new("", &[]).unwrap().with_parameters(&["SIZE=1 X"], &[]).is_err());
    }

    #[test]
    fn parameters_go_to_those_who_know_them() {
        let envelope = Envelope::new("a@b.example", &["c@d.example", "e@f.example"]).unwrap();
        let envelope = envelope.with_announced("size", "SIZE=3").unwrap().with_announced("DSN", "RET=HDRS").unwrap();
        let envelope = envelope.with_announced_for_each("DSN", |to| format!("ORCPT=rfc822;{to}")).unwrap();
        assert_eq!(envelope.mail_command(|keyword| keyword == "SIZE"), "MAIL FROM:<a@b.example> SIZE=3\r\n");
        assert_eq!(envelope.rcpt_command(1, |_| true).unwrap(), "RCPT TO:<e@f.example> ORCPT=rfc822;e@f.example\r\n");
        assert!(envelope.with_announced("DSN", "ENVID=a b").is_err());
    }

    #[test]
    fn an_exact_message_keeps_its_bytes() {
        let message = Message::exact(b".a\n.\r\n.b\r.c".to_vec());
        assert!(message.has_bare_line_ends());
        assert_eq!(message.bytes(), b".a\n.\r\n.b\r.c");
        assert_eq!(message.stuffed(), b"..a\n.\r\n..b\r.c\r\n.\r\n");
        assert_eq!(Message::exact(Vec::new()).stuffed(), b".\r\n");
        assert!(!Message::new(b"a\rb\nc").has_bare_line_ends());
        assert!(
            Message::exact(b"\n".to_vec()).has_bare_line_ends()
                && !Message::exact(b"\r\n".to_vec()).has_bare_line_ends()
        );
    }

    #[test]
    fn a_message_has_crlf_and_doubled_dots() {
        let message = Message::new(b"a\n.b\r\n..\rc\r\r\nd");
        assert_eq!(message.bytes(), b"a\r\n.b\r\n..\r\nc\r\n\r\nd\r\n");
        assert_eq!(message.stuffed(), b"a\r\n..b\r\n...\r\nc\r\n\r\nd\r\n.\r\n");
        assert_eq!(Message::new(b"").stuffed(), b"\r\n.\r\n");
    }
}
