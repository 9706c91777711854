//! What a line says, in the same words for every mail server: the language between grammars and the join.
//!
//! Everything borrows from the line. What must not live here: how a server words it.

use mxray_mail::causes::Speaker;

/// `name[address]`, with the port where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer<'a> {
    pub name: &'a [u8],
    pub address: &'a [u8],
}

impl Peer<'_> {
    /// This machine itself.
    pub fn is_loopback(&self) -> bool {
        self.address.starts_with(b"127.")
            || self.address == b"::1"
            || (self.address.is_empty() && self.name == b"localhost")
    }
}

/// What became of one attempt for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Sent,
    Deferred,
    Bounced,
    /// An address probe (Postfix's `deliverable`, `undeliverable`): no mail was sent.
    Probed,
}

/// A message came to be, or told more of itself: each field only where the line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival<'a> {
    pub client: Peer<'a>,
    /// Who logged in.
    pub account: Option<&'a [u8]>,
    pub sender: Option<&'a [u8]>,
    pub size: Option<u64>,
    pub recipients: Option<u32>,
    pub message_id: Option<&'a [u8]>,
    /// The queue id that the same message had before, here or at the hop before.
    pub earlier_id: Option<&'a [u8]>,
    /// The message whose notice this is (Exim's `R=` on `<=`).
    pub notice_of: Option<&'a [u8]>,
}

/// Where the time of a delivery went, in microseconds. Postfix's `delays=a/b/c/d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    pub before_queue: i64,
    pub in_queue: i64,
    pub connecting: i64,
    pub sending: i64,
}

/// One attempt for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    pub to: &'a [u8],
    pub original_to: &'a [u8],
    /// Empty name: nobody was reached.
    pub relay: Peer<'a>,
    pub delay: Option<i64>,
    pub delays: Option<Delays>,
    /// Postfix 3.11's `tls=`.
    pub tls: &'a [u8],
    /// The enhanced code that the own server noted; another server's is in the text.
    pub dsn: &'a [u8],
    pub status: Status,
    /// In parentheses behind the status; may be cut.
    pub text: &'a [u8],
    /// The queue id which the message has from here on, where the line names it.
    pub next_id: Option<&'a [u8]>,
    pub speaker: Speaker,
}

/// A refusal of ours, of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// `RCPT`, `END-OF-MESSAGE`, `connect` …
    pub stage: &'a [u8],
    pub client: Peer<'a>,
    /// The reply with its codes.
    pub reply: &'a [u8],
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub account: Option<&'a [u8]>,
    /// The whole message is gone (a milter's or a content filter's refusal behind DATA), not one recipient.
    pub ends_message: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Warning,
    Error,
    Fatal,
    Panic,
}

/// Which life a notice belongs to and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    NonDelivery,
    Delay,
    Status,
}

/// What one line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    Connect {
        client: Peer<'a>,
    },
    Disconnect {
        client: Peer<'a>,
    },
    /// A client was accepted, a local program handed something in, or a message told its sender.
    Arrival {
        id: &'a [u8],
        arrival: Arrival<'a>,
        begins: bool,
    },
    MessageId {
        id: &'a [u8],
        message_id: &'a [u8],
        resent: bool,
    },
    /// Each time that a message is taken up: sender, size, number of recipients.
    Queued {
        id: &'a [u8],
        sender: &'a [u8],
        size: Option<u64>,
        recipients: Option<u32>,
    },
    Attempt {
        id: &'a [u8],
        attempt: Attempt<'a>,
    },
    /// No more attempts: what is not delivered goes back.
    Expired {
        id: &'a [u8],
    },
    Removed {
        id: &'a [u8],
    },
    /// The transaction was given up before it became a message.
    Canceled {
        id: &'a [u8],
    },
    /// By an operator or a filter: nothing more is tried until it is released.
    Held {
        id: &'a [u8],
    },
    /// Silently thrown away by a rule of ours.
    Discarded {
        id: &'a [u8],
    },
    Notice {
        id: &'a [u8],
        notice_id: &'a [u8],
        kind: Notice,
    },
    Refusal {
        id: Option<&'a [u8]>,
        refusal: Refusal<'a>,
    },
    Login {
        account: &'a [u8],
        client: Peer<'a>,
        granted: bool,
    },
    /// A session with TLS; `towards`: we are the client.
    Tls {
        peer: Peer<'a>,
        towards: bool,
    },
    TlsFailed {
        peer: Peer<'a>,
        towards: bool,
        reason: &'a [u8],
    },
    /// A host that was tried before the one that the attempt names.
    Skipped {
        id: Option<&'a [u8]>,
        host: Peer<'a>,
        text: &'a [u8],
    },
    /// What a server behind the queue did with the message: Dovecot's `saved mail`, a sieve's `discarded`.
    Stored {
        message_id: &'a [u8],
        mailbox: &'a [u8],
        kept: bool,
    },
    /// A sign or verdict of a filter that names the message.
    Filtered {
        id: &'a [u8],
        text: &'a [u8],
    },
    Started,
    Stopped,
    /// The supervisor says that a process ended badly: what follows a fatal error, one incident with it.
    ProcessEnded {
        text: &'a [u8],
    },
    Trouble {
        severity: Severity,
        text: &'a [u8],
    },
    /// Understood, and nothing to count.
    Remark,
}

/// What a line is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives for one line, on the stack")]
pub enum Meaning<'a> {
    Understood(Event<'a>),
    /// Of a program that is no mail server.
    Foreign,
    /// In a mail server's log, in no form of its own: administrators write there too (Exim's `logwrite`).
    FreeText,
    /// Of a mail server, and we do not know the form.
    NotUnderstood,
}
