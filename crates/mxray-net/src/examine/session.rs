//! One session with one address, as the examination says.

use super::{CONNECT_PATIENCE, Examination, Tools, unanswered};
use crate::clock::Clock;
use crate::dial::DialPlan;
use crate::drive::{drive, drive_judging};
use crate::stream::Stream;
use crate::tls::TlsPlan;
use mxray_model::Seen;
use mxray_model::evidence::{Dial, Purpose, Session, SessionProtocol, TlsFacts, TlsMode};
use mxray_model::session::{Depth, MailboxProtocol};
use mxray_wire::{Auth, Client, Starttls, mailbox, smtp};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// RFC 5321 section 4.5.3.2.1: clients wait five minutes for the greeting.
const LONG_PATIENCE: Duration = Duration::from_secs(300);

/// What came of one connection.
pub(super) struct Seance {
    pub dial: Dial,
    pub session: Seen<Session>,
    pub tls: Seen<TlsFacts>,
    /// Other ports, where this one did not answer.
    pub compared: BTreeMap<String, Dial>,
}

/// Connects and holds the session.
pub(super) fn hold(examination: &Examination, address: IpAddr, tools: &Tools) -> Seance {
    let peer = SocketAddr::new(address, examination.port);
    let until = examination.until.min(Instant::now() + CONNECT_PATIENCE);
    let plan = DialPlan { peer, source: examination.source };
    let (dial, stream, compared) = unanswered::dial(examination, plan, tools, until);
    let Some(stream) = stream else { return Seance { dial, session: Seen::Absent, tls: Seen::Absent, compared } };
    if examination.depth == Depth::Connect {
        stream.close();
        let session = Seen::not_attempted("the connection alone was asked for");
        return Seance { dial, session, tls: Seen::Absent, compared };
    }
    let tls = tls_plan(examination, tools);
    let (session, tls) = match examination.protocol.mailbox() {
        Some(protocol) => mailbox_session(examination, protocol, stream, &tls),
        None => smtp_session(examination, stream, &tls),
    };
    Seance { dial, session, tls, compared }
}

/// The handshake that is made. An address is no name, neither to send nor to compare with.
pub(super) fn tls_plan(examination: &Examination, tools: &Tools) -> TlsPlan {
    let named = examination.host.parse::<IpAddr>().is_err().then(|| examination.host.clone());
    TlsPlan {
        server_name: named.clone(),
        reference_name: examination.reference_name.clone().or(named),
        roots: Arc::clone(&tools.roots),
        ..TlsPlan::default()
    }
}

fn starttls(mode: TlsMode) -> Starttls {
    match mode {
        TlsMode::None => Starttls::Never,
        TlsMode::StarttlsRequired => Starttls::Required,
        TlsMode::Starttls | TlsMode::Implicit => Starttls::IfOffered,
    }
}

/// A login with a nonce of its own: RFC 5802 section 5.1 wants a fresh one for every exchange.
fn auth(examination: &Examination) -> Option<Auth> {
    let mut auth = examination.auth.clone()?;
    let mut random = [0; 18];
    if SystemRandom::new().fill(&mut random).is_ok() {
        auth.nonce = random.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    Some(auth)
}

fn mailbox_session(
    examination: &Examination,
    protocol: MailboxProtocol,
    stream: Stream,
    tls: &TlsPlan,
) -> (Seen<Session>, Seen<TlsFacts>) {
    let mut plan = mailbox::Plan::new(protocol);
    plan.depth = examination.depth;
    plan.implicit_tls = examination.tls == TlsMode::Implicit;
    plan.starttls = starttls(examination.tls);
    plan.auth = auth(examination);
    if examination.beyond.deep {
        plan.patience.greeting = LONG_PATIENCE;
    }
    let clock = Clock::start(examination.until);
    let held = drive(Client::mailbox(plan), stream, tls, clock, Client::<mailbox::Mailbox>::bind);
    (Seen::Value(Session::Mailbox(Box::new(held.session))), held.tls)
}

fn smtp_session(examination: &Examination, stream: Stream, tls: &TlsPlan) -> (Seen<Session>, Seen<TlsFacts>) {
    let Ok(mut plan) = smtp::Plan::new(&examination.ehlo) else {
        return (Seen::not_attempted("the EHLO name cannot be part of a command"), Seen::Absent);
    };
    if examination.protocol == SessionProtocol::Lmtp {
        plan.dialect = smtp::Dialect::Lmtp;
    }
    plan.depth = examination.depth;
    plan.implicit_tls = examination.tls == TlsMode::Implicit;
    plan.starttls = starttls(examination.tls);
    plan.try_in_clear = asks_required(examination);
    plan.auth = auth(examination);
    plan.envelope = examination.envelope.clone();
    plan.further = examination.beyond.further.clone();
    if examination.beyond.deep {
        plan.patience.greeting = LONG_PATIENCE;
    }
    let clock = Clock::start(examination.until);
    let trusted_login = examination.beyond.trusted_login;
    let judge = |client: &mut Client<smtp::Smtp>, facts: &TlsFacts| {
        if trusted_login && !facts.problems.is_empty() {
            client.withhold_login("the certificate is not one that a password is shown to");
        }
    };
    let held = drive_judging(Client::smtp(plan), stream, tls, clock, Client::<smtp::Smtp>::bind, judge);
    (Seen::Value(Session::Smtp(Box::new(held.session))), held.tls)
}

/// Servers that others hand their mail to must not require TLS (RFC 3207 section 4), and are not asked.
pub(super) fn asks_required(examination: &Examination) -> bool {
    let submission = matches!(examination.purpose, Purpose::Submission | Purpose::Submissions);
    let smtp = examination.protocol == SessionProtocol::Smtp;
    let starttls = matches!(examination.tls, TlsMode::Starttls | TlsMode::StarttlsRequired);
    smtp && starttls && (submission || examination.beyond.ask_required)
}
