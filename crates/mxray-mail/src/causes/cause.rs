//! The causes, each with whose move it is, how final it is, and what proves it.
//!
//! What must not live here: how a receiver words it (the data beside this file).

use serde::{Deserialize, Serialize};

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Move {
    /// Us, who send.
    Us,
    /// The person whose mailbox it is, or who wrote the address.
    Recipient,
    /// The server that refuses.
    Receiver,
    /// Something between.
    Network,
    Nobody,
}

/// What is left to hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Finality {
    /// The address will not work again by itself.
    AddressGone,
    /// This message will not arrive; another one may.
    MessageDead,
    /// The next attempt may do.
    Wait,
    /// Waiting is right, and faster retries make it worse.
    SlowDown,
    /// Everything towards this receiver fails until something is changed.
    StopLane,
    /// Nothing failed.
    NoFailure,
}

impl Finality {
    /// The name that stands in reports.
    pub fn name(self) -> &'static str {
        match self {
            Finality::AddressGone => "address-gone",
            Finality::MessageDead => "message-dead",
            Finality::Wait => "wait",
            Finality::SlowDown => "slow-down",
            Finality::StopLane => "stop-lane",
            Finality::NoFailure => "no-failure",
        }
    }
}

macro_rules! causes {
    ($($variant:ident $name:literal $moves:ident $finality:ident $about:literal $proof:literal;)*) => {
        /// Why a receiver says what it says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Cause { $(#[doc = $about] #[serde(rename = $name)] $variant,)* }

        impl Cause {
            pub const ALL: &'static [Cause] = &[$(Cause::$variant),*];

            /// The name that stands in reports and in rule files.
            pub fn name(self) -> &'static str { match self { $(Cause::$variant => $name),* } }

            pub fn whose_move(self) -> Move { match self { $(Cause::$variant => Move::$moves),* } }

            pub fn finality(self) -> Finality { match self { $(Cause::$variant => Finality::$finality),* } }

            /// One sentence for a person.
            pub fn about(self) -> &'static str { match self { $(Cause::$variant => $about),* } }

            /// What to look at to confirm it; empty where nothing on our side can.
            pub fn proof(self) -> &'static str { match self { $(Cause::$variant => $proof),* } }
        }
    };
}

causes! {
    RcptUnknown "rcpt-unknown" Recipient AddressGone "the address does not exist there" "";
    RcptDisabled "rcpt-disabled" Recipient AddressGone "the mailbox is disabled, suspended or inactive" "";
    RcptFull "rcpt-full" Recipient Wait "the mailbox is full" "";
    RcptRate "rcpt-rate" Receiver Wait "the mailbox receives too fast for its server" "";
    RcptRestricted "rcpt-restricted" Recipient MessageDead "only some senders may write to this address" "";
    RcptMoved "rcpt-moved" Recipient AddressGone "the address has moved" "";
    RcptSyntax "rcpt-syntax" Us AddressGone "the address is not well formed" "";
    NotHosted "not-hosted" Recipient MessageDead "the server does not serve this domain, or takes us for a relay" "MX of the domain";
    ListExpansion "list-expansion" Recipient MessageDead "a list or a forwarding behind the address is misconfigured" "";
    DomainMissing "domain-missing" Recipient AddressGone "the domain does not exist or has no mail server" "MX and addresses of the domain";
    DnsTemporary "dns-temp" Network Wait "the domain could not be looked up just then" "the lookup from here and from elsewhere; DNSSEC";
    NullMx "null-mx" Recipient AddressGone "the domain says that it takes no mail (RFC 7505)" "MX of the domain";
    Loop "loop" Us MessageDead "the message goes round in circles" "our own destination domains; hops in the message";
    Refused "refused" Network Wait "the connection is refused" "a connection to the port";
    ConnectTimeout "connect-timeout" Network Wait "nothing answers on the port" "the path to the port; many receivers at once mean our own way out";
    Unreachable "unreachable" Us Wait "there is no route" "our routes, IPv6 above all";
    SessionTimeout "session-timeout" Network Wait "the session stalled" "the stage: before the greeting, or in DATA (path MTU, firewalls)";
    LostConnection "lost-connection" Network Wait "the connection was cut within the session" "a session of our own";
    GreetingRefused "greeting-refused" Receiver Wait "the server refuses to talk to us and does not say why" "a session of our own";
    TooManyConnections "too-many-connections" Us SlowDown "too many connections, recipients or messages at once" "our concurrency towards it";
    TlsWeRequire "tls-we-require" Receiver Wait "we require TLS, and it is not offered" "STARTTLS there; our policy map, DANE, MTA-STS";
    TlsCertificate "tls-cert" Receiver Wait "its certificate is not what we, or its policy, require" "its chain, TLSA and MTA-STS policy";
    TlsTheyRequire "tls-they-require" Us StopLane "it requires TLS, and we do not use it" "our TLS setting as a client";
    TlsHandshake "tls-handshake" Network Wait "the TLS handshake fails" "protocols and ciphers of both sides";
    AuthSpf "auth-spf" Us MessageDead "SPF does not cover the address that we send from" "SPF of the envelope domain with our address";
    AuthDkim "auth-dkim" Us MessageDead "the DKIM signature is missing or does not verify" "our DKIM record; the signer's log line";
    AuthDmarc "auth-dmarc" Us MessageDead "the message is not authenticated as the receiver or DMARC requires" "SPF, DKIM and DMARC of the From domain";
    AuthPtr "auth-ptr" Us StopLane "our address has no name, or none that leads back to it" "PTR and address of our sending address";
    HeloBad "helo-bad" Us StopLane "the name in our HELO is not accepted" "our HELO name and its address";
    SenderDomainBad "sender-domain-bad" Us MessageDead "the sender's domain or address does not exist or takes no mail" "DNS of the envelope sender's domain";
    IpBlockPrivate "ip-block-private" Us StopLane "our address is on the receiver's own block list" "";
    DnsblPublic "dnsbl-public" Us StopLane "our address is on a public block list" "the list itself, asked from a resolver that it answers";
    DomainBlock "domain-block" Us StopLane "our domain, or a link in the message, is on a block list" "the domain lists";
    RateReputation "rate-reputation" Us SlowDown "we are slowed down for our reputation or volume" "volume towards the receiver; its postmaster pages";
    RateNewIp "rate-new-ip" Us SlowDown "our address is new to the receiver" "how long we send from it";
    Complaints "complaints" Us SlowDown "recipients complain" "feedback loops; the receiver's postmaster pages";
    Greylist "greylist" Nobody Wait "a first attempt is put off on purpose; the next one succeeds" "the next attempt";
    SpamContent "spam-content" Us MessageDead "the content is taken for spam" "";
    Virus "virus" Us MessageDead "an attachment or a link is taken for dangerous" "";
    Format "format" Us MessageDead "the message breaks the rules of its form" "header fields and line lengths of the message";
    TooBig "too-big" Us MessageDead "the message is larger than the receiver takes" "SIZE in its EHLO";
    Smtputf8 "smtputf8" Us MessageDead "the address needs SMTPUTF8, and the receiver has none" "SMTPUTF8 in its EHLO";
    RelayhostAuth "relayhost-auth" Us StopLane "our smarthost does not accept our login" "a login at the smarthost";
    SubmissionQuota "submission-quota" Us StopLane "our account at the smarthost has sent its share" "";
    LocalConfig "local-config" Us Wait "our own server is misconfigured" "its configuration and its fatal lines";
    LocalResource "local-resource" Us Wait "a server lacks space or another resource" "space and inodes of the spool";
    Expired "expired" Nobody MessageDead "the message waited until its time was over" "the cause that came before";
    Echo "suspended-echo" Nobody Wait "nothing was tried: an earlier failure is repeated" "the first error";
    ReceiverBusy "receiver-busy" Receiver Wait "the receiver has a fault or too much to do" "";
    Protocol "protocol" Us MessageDead "the dialogue broke the protocol, or something in the path changed it" "a session of our own with its transcript";
    PolicyThere "local-policy-there" Receiver MessageDead "the receiver's administrator decided so" "";
    Callout "callout-verify" Us MessageDead "the receiver asked our server about the sender, and was not satisfied" "our MX as strangers see it";
    NotABounce "not-a-bounce" Nobody NoFailure "an automatic answer or a challenge" "";
    Feedback "feedback" Us NoFailure "a complaint or another report" "";
    DeliveredReport "delivered-report" Nobody NoFailure "delivered, relayed, expanded or only delayed" "";
    Unknown "unknown" Nobody MessageDead "the reply is not known to our rules" "the reply itself";
}

impl Cause {
    pub fn named(name: &str) -> Option<Cause> {
        Cause::ALL.iter().copied().find(|cause| cause.name() == name)
    }

    /// The address itself is wrong: what counts as a bounce in the bounce rate.
    pub fn is_recipient_side(self) -> bool {
        matches!(
            self,
            Cause::RcptUnknown
                | Cause::RcptDisabled
                | Cause::RcptMoved
                | Cause::RcptSyntax
                | Cause::DomainMissing
                | Cause::NullMx
        )
    }

    /// Reputation or policy: what counts in the block rate.
    pub fn is_block(self) -> bool {
        matches!(
            self,
            Cause::IpBlockPrivate
                | Cause::DnsblPublic
                | Cause::DomainBlock
                | Cause::RateReputation
                | Cause::RateNewIp
                | Cause::Complaints
                | Cause::SpamContent
                | Cause::Virus
                | Cause::Format
        )
    }
}
