//! What a line says, in the same words for every mail server: the language between grammars and the join.
//!
//! Everything borrows from the line. The types are generic in their texts, so that what one thread understood can be handed
//! to another as places in a batch (`batch.rs`). What must not live here: how a server words it.

use mxray_mail::causes::Speaker;

/// `name[address]`, with the port where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerOf<S> {
    pub name: S,
    pub address: S,
}

impl PeerOf<&[u8]> {
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
pub struct ArrivalOf<S> {
    pub client: PeerOf<S>,
    /// Who logged in.
    pub account: Option<S>,
    pub sender: Option<S>,
    pub size: Option<u64>,
    pub recipients: Option<u32>,
    pub message_id: Option<S>,
    /// The queue id that the same message had before, here or at the hop before.
    pub earlier_id: Option<S>,
    /// The message whose notice this is (Exim's `R=` on `<=`).
    pub notice_of: Option<S>,
    /// It came over TLS, where the line that tells of the message says so.
    pub tls: bool,
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
pub struct AttemptOf<S> {
    pub to: S,
    /// Further recipients of the same attempt, separated by commas (Sendmail).
    pub more: S,
    pub original_to: S,
    /// Empty name: nobody was reached.
    pub relay: PeerOf<S>,
    pub delay: Option<i64>,
    pub delays: Option<Delays>,
    /// Postfix 3.11's `tls=`.
    pub tls: S,
    /// The session that it was made in, where TLS is told of sessions (OpenSMTPD).
    pub session: S,
    /// The enhanced code that the own server noted; another server's is in the text.
    pub dsn: S,
    pub status: Status,
    /// In parentheses behind the status; may be cut.
    pub text: S,
    /// The queue id which the message has from here on, where the line names it.
    pub next_id: Option<S>,
    pub speaker: Speaker,
}

/// A refusal of ours, of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalOf<S> {
    /// `RCPT`, `END-OF-MESSAGE`, `connect` …
    pub stage: S,
    pub client: PeerOf<S>,
    /// The reply with its codes.
    pub reply: S,
    pub from: S,
    pub to: S,
    pub account: Option<S>,
    /// First digit of the reply, where the log says of it only whether it is for good (Exim's `temporarily rejected`).
    pub class: Option<u8>,
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
pub enum EventOf<S> {
    Connect {
        client: PeerOf<S>,
    },
    Disconnect {
        client: PeerOf<S>,
    },
    /// A client was accepted, a local program handed something in, or a message told its sender.
    Arrival {
        id: S,
        arrival: ArrivalOf<S>,
        begins: bool,
    },
    MessageId {
        id: S,
        message_id: S,
        resent: bool,
    },
    /// Each time that a message is taken up: sender, size, number of recipients.
    Queued {
        id: S,
        sender: S,
        size: Option<u64>,
        recipients: Option<u32>,
    },
    Attempt {
        id: S,
        attempt: AttemptOf<S>,
    },
    /// Some of the recipients of a message go on under an id of their own (Sendmail's `clone`).
    Split {
        id: S,
        from: S,
    },
    /// No more attempts: what is not delivered goes back.
    Expired {
        id: S,
    },
    Removed {
        id: S,
    },
    /// The transaction was given up before it became a message.
    Canceled {
        id: S,
    },
    /// By an operator or a filter: nothing more is tried until it is released.
    Held {
        id: S,
    },
    /// Silently thrown away by a rule of ours.
    Discarded {
        id: S,
    },
    Notice {
        id: S,
        notice_id: S,
        kind: Notice,
    },
    Refusal {
        id: Option<S>,
        refusal: RefusalOf<S>,
    },
    Login {
        account: S,
        client: PeerOf<S>,
        granted: bool,
    },
    /// A session with TLS; `towards`: we are the client.
    Tls {
        peer: PeerOf<S>,
        towards: bool,
    },
    /// A session of ours as a client has TLS; attempts name the session.
    SessionTls {
        session: S,
    },
    TlsFailed {
        peer: PeerOf<S>,
        towards: bool,
        reason: S,
    },
    /// A host that was tried before the one that the attempt names.
    Skipped {
        id: Option<S>,
        host: PeerOf<S>,
        text: S,
    },
    /// What a server behind the queue did with the message: Dovecot's `saved mail`, a sieve's `discarded`.
    Stored {
        message_id: S,
        mailbox: S,
        kept: bool,
    },
    /// Something else that names the message: a sign or verdict of a filter, a remark, what an operator did. Nothing to count.
    Filtered {
        id: S,
        text: S,
    },
    Started,
    Stopped,
    /// The supervisor says that a process ended badly: what follows a fatal error, one incident with it.
    ProcessEnded {
        text: S,
    },
    Trouble {
        severity: Severity,
        text: S,
    },
    /// Understood, and nothing to count.
    Remark,
}

/// What a line is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeaningOf<S> {
    Understood(EventOf<S>),
    /// Of a program that is no mail server.
    Foreign,
    /// In a mail server's log, in no form of its own: administrators write there too (Exim's `logwrite`).
    FreeText,
    /// Of a mail server, and we do not know the form.
    NotUnderstood,
}

pub type Peer<'a> = PeerOf<&'a [u8]>;
pub type Arrival<'a> = ArrivalOf<&'a [u8]>;
pub type Attempt<'a> = AttemptOf<&'a [u8]>;
pub type Refusal<'a> = RefusalOf<&'a [u8]>;
pub type Event<'a> = EventOf<&'a [u8]>;
pub type Meaning<'a> = MeaningOf<&'a [u8]>;

impl<S: Copy> PeerOf<S> {
    #[inline]
    fn map<T>(self, text: &mut impl FnMut(S) -> T) -> PeerOf<T> {
        PeerOf { name: text(self.name), address: text(self.address) }
    }
}

impl<S: Copy> ArrivalOf<S> {
    #[inline]
    fn map<T>(self, text: &mut impl FnMut(S) -> T) -> ArrivalOf<T> {
        ArrivalOf {
            client: self.client.map(text),
            account: self.account.map(&mut *text),
            sender: self.sender.map(&mut *text),
            size: self.size,
            recipients: self.recipients,
            message_id: self.message_id.map(&mut *text),
            earlier_id: self.earlier_id.map(&mut *text),
            notice_of: self.notice_of.map(&mut *text),
            tls: self.tls,
        }
    }
}

impl<S: Copy> AttemptOf<S> {
    #[inline]
    fn map<T>(self, text: &mut impl FnMut(S) -> T) -> AttemptOf<T> {
        AttemptOf {
            to: text(self.to),
            more: text(self.more),
            original_to: text(self.original_to),
            relay: self.relay.map(text),
            delay: self.delay,
            delays: self.delays,
            tls: text(self.tls),
            session: text(self.session),
            dsn: text(self.dsn),
            status: self.status,
            text: text(self.text),
            next_id: self.next_id.map(&mut *text),
            speaker: self.speaker,
        }
    }
}

impl<S: Copy> RefusalOf<S> {
    #[inline]
    fn map<T>(self, text: &mut impl FnMut(S) -> T) -> RefusalOf<T> {
        RefusalOf {
            stage: text(self.stage),
            client: self.client.map(text),
            reply: text(self.reply),
            from: text(self.from),
            to: text(self.to),
            account: self.account.map(&mut *text),
            class: self.class,
            ends_message: self.ends_message,
        }
    }
}

impl<S: Copy> EventOf<S> {
    #[inline]
    fn map<T>(self, text: &mut impl FnMut(S) -> T) -> EventOf<T> {
        use EventOf as Of;
        match self {
            Of::Connect { client } => Of::Connect { client: client.map(text) },
            Of::Disconnect { client } => Of::Disconnect { client: client.map(text) },
            Of::Arrival { id, arrival, begins } => Of::Arrival { id: text(id), arrival: arrival.map(text), begins },
            Of::MessageId { id, message_id, resent } => {
                Of::MessageId { id: text(id), message_id: text(message_id), resent }
            }
            Of::Queued { id, sender, size, recipients } => {
                Of::Queued { id: text(id), sender: text(sender), size, recipients }
            }
            Of::Attempt { id, attempt } => Of::Attempt { id: text(id), attempt: attempt.map(text) },
            Of::Split { id, from } => Of::Split { id: text(id), from: text(from) },
            Of::Expired { id } => Of::Expired { id: text(id) },
            Of::Removed { id } => Of::Removed { id: text(id) },
            Of::Canceled { id } => Of::Canceled { id: text(id) },
            Of::Held { id } => Of::Held { id: text(id) },
            Of::Discarded { id } => Of::Discarded { id: text(id) },
            Of::Notice { id, notice_id, kind } => Of::Notice { id: text(id), notice_id: text(notice_id), kind },
            Of::Refusal { id, refusal } => Of::Refusal { id: id.map(&mut *text), refusal: refusal.map(text) },
            Of::Login { account, client, granted } => {
                Of::Login { account: text(account), client: client.map(text), granted }
            }
            Of::Tls { peer, towards } => Of::Tls { peer: peer.map(text), towards },
            Of::SessionTls { session } => Of::SessionTls { session: text(session) },
            Of::TlsFailed { peer, towards, reason } => {
                Of::TlsFailed { peer: peer.map(text), towards, reason: text(reason) }
            }
            Of::Skipped { id, host, text: words } => {
                Of::Skipped { id: id.map(&mut *text), host: host.map(text), text: text(words) }
            }
            Of::Stored { message_id, mailbox, kept } => {
                Of::Stored { message_id: text(message_id), mailbox: text(mailbox), kept }
            }
            Of::Filtered { id, text: words } => Of::Filtered { id: text(id), text: text(words) },
            Of::Started => Of::Started,
            Of::Stopped => Of::Stopped,
            Of::ProcessEnded { text: words } => Of::ProcessEnded { text: text(words) },
            Of::Trouble { severity, text: words } => Of::Trouble { severity, text: text(words) },
            Of::Remark => Of::Remark,
        }
    }
}

impl<S: Copy> MeaningOf<S> {
    /// The same meaning, its texts in another form.
    #[inline]
    pub(crate) fn map<T>(self, mut text: impl FnMut(S) -> T) -> MeaningOf<T> {
        match self {
            MeaningOf::Understood(event) => MeaningOf::Understood(event.map(&mut text)),
            MeaningOf::Foreign => MeaningOf::Foreign,
            MeaningOf::FreeText => MeaningOf::FreeText,
            MeaningOf::NotUnderstood => MeaningOf::NotUnderstood,
        }
    }
}
