//! What a session is to do. Addresses and names are checked here, so that nothing in a plan can add a line of its own.

use crate::Moment;
use crate::Starttls;
use crate::auth::Auth;
use mxray_model::session::Depth;
use std::fmt;

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

/// The envelope (RFC 5321 section 2.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    sender: String,
    recipients: Vec<String>,
    /// Behind the sender: `SIZE=1000`, `BODY=8BITMIME`.
    mail_parameters: Vec<String>,
    /// Behind each recipient: `NOTIFY=FAILURE`.
    rcpt_parameters: Vec<String>,
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
        })
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

    pub(crate) fn mail_command(&self) -> String {
        command("MAIL FROM", &self.sender, &self.mail_parameters)
    }

    pub(crate) fn rcpt_command(&self, place: usize) -> Option<String> {
        self.recipients.get(place).map(|recipient| command("RCPT TO", recipient, &self.rcpt_parameters))
    }
}

fn command(verb: &str, address: &str, parameters: &[String]) -> String {
    let parameters: String = parameters.iter().map(|parameter| format!(" {parameter}")).collect();
    format!("{verb}:<{address}>{parameters}\r\n")
}

fn address(text: &str) -> Result<String, BadAddress> {
    let bad = |c: char| c.is_control() || matches!(c, '<' | '>');
    if text.len() > ADDRESS_BYTES_MAX || text.contains(bad) {
        return Err(BadAddress { text: text.chars().take(80).collect() });
    }
    Ok(text.to_owned())
}

fn parameter(text: &str) -> Result<String, BadAddress> {
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
        Message { bytes, chunking: false }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With dots doubled at the beginning of lines, and the end (RFC 5321 section 4.5.2).
    pub(crate) fn stuffed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 16);
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(line);
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
        assert_eq!(envelope.mail_command(), "MAIL FROM:<> SIZE=10\r\n");
        assert_eq!(envelope.rcpt_command(0).unwrap(), "RCPT TO:<größe@example.org>\r\n");
        assert!(Envelope::new("", &[]).unwrap().with_parameters(&["SIZE=1 X"], &[]).is_err());
    }

    #[test]
    fn a_message_has_crlf_and_doubled_dots() {
        let message = Message::new(b"a\n.b\r\n..\rc\r\r\nd");
        assert_eq!(message.bytes(), b"a\r\n.b\r\n..\r\nc\r\n\r\nd\r\n");
        assert_eq!(message.stuffed(), b"a\r\n..b\r\n...\r\nc\r\n\r\nd\r\n.\r\n");
        assert_eq!(Message::new(b"").stuffed(), b"\r\n.\r\n");
    }
}
