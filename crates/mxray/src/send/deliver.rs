//! Handing over: server by server, address by address, until each recipient has an answer.
//!
//! One connection at a time. Another server is asked only for those who were put off or not answered (RFC 5321 section 5.1),
//! and never for those whose message may have been taken.

use super::args::TlsWish;
use super::letter::Letter;
use super::outcome::{self, Circumstances, Outcome, Status};
use super::plan::{Plan, Verify};
use super::route::{self, Goal, Group, NoWay};
use super::stop::Halt;
use mxray_model::Seen;
use mxray_model::evidence::{CertificateProblem, Dial, DialOutcome, RootStore, TlsFacts};
use mxray_model::session::{Depth, SmtpSession};
use mxray_net::{Clock, DialPlan, Resolver, Stream, TlsPlan, dial, dial_unix, drive_judging};
use mxray_wire::smtp::{self, Dialect, Smtp};
use mxray_wire::{Client, Starttls};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Recipients of one transaction: what every server has to take (RFC 5321 section 4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;
/// Connections for one transaction, over all servers.
const ATTEMPTS_MAX: usize = 10;
/// Exchangers that may put off the same recipients; a third one seldom says anything else.
const PUT_OFF_MAX: usize = 2;
/// No session is longer than this, however slow.
const SESSION: Duration = Duration::from_secs(3600);
/// RFC 5321 section 4.5.3.2.6
const MESSAGE_PATIENCE: Duration = Duration::from_secs(600);
const QUIT_PATIENCE: Duration = Duration::from_secs(5);

/// One connection, or what kept it from standing.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// The name or address that was asked for, or the path of a UNIX socket.
    pub server: String,
    pub port: Option<u16>,
    pub address: Option<IpAddr>,
    /// Of its MX record.
    pub preference: Option<u16>,
    pub recipients: Vec<String>,
    /// Nothing was dialled, or a UNIX socket refused.
    pub trouble: Option<String>,
    pub dial: Option<Dial>,
    pub tls: Seen<TlsFacts>,
    pub session: Option<SmtpSession>,
    /// Not part of evidence: how it was meant to be.
    #[serde(skip)]
    pub dialect: Dialect,
}

/// What became of one recipient, and who said so.
#[derive(Debug, Clone)]
pub struct Row {
    pub recipient: String,
    pub outcome: Outcome,
    pub server: Option<String>,
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
}

/// What all deliveries of a run share.
#[derive(Debug)]
pub struct Post<'a> {
    pub plan: &'a Plan,
    pub letter: &'a Letter,
    pub resolver: &'a Resolver,
}

impl Post<'_> {
    /// All groups, one after the other. `on_attempt` sees each connection as soon as it is over.
    ///
    /// # Errors
    /// What `on_attempt` returns, or something that cannot be part of a command.
    pub fn deliver(
        &self,
        groups: &[Group],
        on_attempt: &mut dyn FnMut(Attempt) -> Result<(), String>,
    ) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for group in groups {
            match self.goals(group) {
                Ok(goals) => {
                    for batch in group.recipients.chunks(RECIPIENTS_MAX) {
                        rows.extend(self.batch(batch, &goals, on_attempt)?);
                    }
                }
                Err(NoWay { status, why }) => rows.extend(group.recipients.iter().map(|recipient| Row {
                    recipient: recipient.clone(),
                    outcome: Outcome::without_session(status, "mx", why.clone()),
                    server: None,
                    address: None,
                    port: None,
                })),
            }
        }
        Ok(rows)
    }

    /// Where a group's mail can go.
    pub fn goals(&self, group: &Group) -> Result<Vec<Goal>, NoWay> {
        let Some(domain) = &group.domain else { return Ok(self.plan.goals.clone()) };
        if let Some(address) = route::literal(domain) {
            return Ok(vec![Goal::Host { name: address.to_string(), port: self.plan.port, preference: None }]);
        }
        let answer = self.resolver.lookup("MX", domain, self.until());
        route::exchangers(domain, &answer, self.plan.port)
    }

    fn until(&self) -> Instant {
        Instant::now() + self.plan.timeout
    }

    fn batch(
        &self,
        recipients: &[String],
        goals: &[Goal],
        on_attempt: &mut dyn FnMut(Attempt) -> Result<(), String>,
    ) -> Result<Vec<Row>, String> {
        let mut batch = Batch::new(recipients);
        for goal in goals {
            match goal {
                Goal::Unix(path) => {
                    let attempt = self.through_unix(path, &batch.left_addresses())?;
                    batch.learn(&attempt, self);
                    on_attempt(attempt)?;
                }
                Goal::Host { name, port, preference } => {
                    for address in self.addresses(name, &mut batch) {
                        if batch.is_over() {
                            break;
                        }
                        let mut attempt =
                            self.through(SocketAddr::new(address, *port), name, &batch.left_addresses())?;
                        attempt.preference = *preference;
                        batch.learn(&attempt, self);
                        on_attempt(attempt)?;
                    }
                }
            }
            if batch.is_over() {
                break;
            }
        }
        Ok(batch.rows)
    }

    /// The addresses of a host that may be gone to; none where that is known to all who wait.
    fn addresses(&self, host: &str, batch: &mut Batch) -> Vec<IpAddr> {
        let answered = self.resolver.addresses_like_libc(host, self.until());
        let fits = |address: &IpAddr| {
            let family = self.plan.family.is_none_or(|ipv4| address.is_ipv4() == ipv4);
            family && self.plan.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
        };
        let (status, why) = match answered.addresses {
            Seen::Value(all) => {
                let found: Vec<IpAddr> = all.into_iter().filter(fits).collect();
                if !found.is_empty() {
                    return found;
                }
                (Status::NotSent, format!("{host} has no address of the family that was asked for"))
            }
            Seen::Absent => (Status::NotSent, format!("{host} has no address")),
            Seen::Unknown(blind) => (Status::Unknown, format!("the addresses of {host}: {}", blind.why())),
        };
        batch.note(host, &Outcome::without_session(status, "resolve", why));
        Vec::new()
    }

    fn through(&self, peer: SocketAddr, name: &str, recipients: &[String]) -> Result<Attempt, String> {
        let (dialled, stream) = dial(DialPlan { peer, source: self.plan.source }, self.until());
        let local = dialled.local.value().map(SocketAddr::ip);
        let own = peer.ip().is_loopback() || local == Some(peer.ip());
        let attempt = Attempt {
            server: name.to_owned(),
            port: Some(peer.port()),
            address: Some(peer.ip()),
            preference: None,
            recipients: recipients.to_vec(),
            trouble: None,
            dial: Some(dialled),
            tls: Seen::Absent,
            session: None,
            dialect: self.plan.dialect,
        };
        match stream {
            Some(stream) => self.hold(attempt, stream, own, peer.port()),
            None => Ok(attempt),
        }
    }

    fn through_unix(&self, path: &Path, recipients: &[String]) -> Result<Attempt, String> {
        let mut attempt = Attempt {
            server: mxray_model::text::untrusted(path.as_os_str().as_encoded_bytes()),
            port: None,
            address: None,
            preference: None,
            recipients: recipients.to_vec(),
            trouble: None,
            dial: None,
            tls: Seen::Absent,
            session: None,
            dialect: self.plan.dialect,
        };
        match dial_unix(path, self.until()) {
            Ok(stream) => self.hold(attempt, stream, true, 0),
            Err(error) => {
                let text = error.to_string();
                attempt.trouble = Some(text.split(" (os error").next().unwrap_or(&text).to_owned());
                Ok(attempt)
            }
        }
    }

    /// `own`: nobody else can read this connection.
    fn hold(&self, mut attempt: Attempt, stream: Stream, own: bool, port: u16) -> Result<Attempt, String> {
        if self.letter.message.has_bare_line_ends() && !own {
            attempt.trouble = Some("lone CR or LF are sent to this host itself alone".to_owned());
            return Ok(attempt);
        }
        let plan = self.session(&attempt.recipients, own, port)?;
        let named = attempt.port.filter(|_| attempt.server.parse::<IpAddr>().is_err()).map(|_| attempt.server.clone());
        let verify = &self.plan.verify;
        let tls = TlsPlan {
            server_name: match &self.plan.sni {
                Some(name) => (!name.is_empty()).then(|| name.clone()),
                None => named.clone(),
            },
            reference_name: verify.name.clone().or(named).or_else(|| Some(attempt.server.clone())),
            roots: self.plan.roots.clone(),
            identity: self.plan.identity.clone(),
            lowest: self.plan.lowest,
            highest: self.plan.highest,
            ..TlsPlan::default()
        };
        let clock = Clock::start(Instant::now() + SESSION).with_handshake_within(self.plan.timeout);
        let judge = |client: &mut Client<Smtp>, facts: &TlsFacts| {
            if verify.required && distrust(facts).is_some() {
                client.distrust();
            }
        };
        let held = drive_judging(Client::smtp(plan), stream, &tls, clock, Client::<Smtp>::bind, judge);
        attempt.session = Some(held.session);
        attempt.tls = held.tls;
        Ok(attempt)
    }

    /// What one session is to do.
    pub fn session(&self, recipients: &[String], own: bool, port: u16) -> Result<smtp::Plan, String> {
        let wish = self.plan;
        let mut plan = smtp::Plan::new(&wish.helo).map_err(|error| format!("--helo: {error}"))?;
        plan.dialect = wish.dialect;
        plan.depth = if wish.halt == Some(Halt::Connected) { Depth::Connect } else { Depth::Message };
        let tls = wish.tls.unwrap_or(if port == 465 { TlsWish::Implicit } else { TlsWish::Opportunistic });
        plan.implicit_tls = tls == TlsWish::Implicit;
        plan.starttls = match tls {
            TlsWish::None | TlsWish::Implicit => Starttls::Never,
            // Whoever insists on a certificate insists on there being one.
            TlsWish::Opportunistic if !wish.verify.required => Starttls::IfOffered,
            TlsWish::Opportunistic | TlsWish::Required => Starttls::Required,
        };
        plan.auth = wish.auth.clone();
        if let Some(auth) = &mut plan.auth {
            auth.nonce = mxray_net::token().ok_or("the system gives no random bytes")?;
            auth.in_clear |= own;
        }
        plan.envelope = Some(wish.envelope(self.letter, recipients)?);
        let mut message = self.letter.message.clone();
        message.chunking = wish.chunking.is_some();
        message.chunk_bytes = wish.chunking.flatten();
        plan.message = Some(message);
        plan.pipelining = wish.pipelining;
        plan.patience = smtp::Patience {
            greeting: wish.timeout,
            reply: wish.timeout,
            message: wish.timeout.max(MESSAGE_PATIENCE),
            quit: wish.timeout.min(QUIT_PATIENCE),
        };
        plan.handover = wish.handover(self.letter, recipients)?;
        Ok(plan)
    }
}

/// Why a certificate is none to send to. `None`: it is trusted, and has the name.
pub fn distrust(facts: &TlsFacts) -> Option<String> {
    // Weak, or in the wrong order: not nice, and still theirs.
    let matters = |problem: &&CertificateProblem| {
        !matches!(
            problem,
            CertificateProblem::Disordered
                | CertificateProblem::WeakKey { .. }
                | CertificateProblem::WeakSignature { .. }
        )
    };
    if let Some(problem) = facts.problems.iter().find(matters) {
        return Some(format!("the certificate is {}", problem.words()));
    }
    match facts.trusted.get(&RootStore::System) {
        Some(Seen::Value(true)) if facts.reference_name.is_some() => None,
        Some(Seen::Value(true)) => Some("there is no name to compare the certificate with".to_owned()),
        Some(Seen::Unknown(blind)) => Some(format!("whether the certificate is trusted is unknown: {}", blind.why())),
        Some(Seen::Value(false) | Seen::Absent) | None => Some("the certificate is trusted by no root here".to_owned()),
    }
}

/// Recipients of one transaction, on their way from server to server.
struct Batch {
    rows: Vec<Row>,
    /// Places in `rows` that another server may be asked for.
    left: Vec<usize>,
    attempts: usize,
    put_off: usize,
}

impl Batch {
    fn new(recipients: &[String]) -> Self {
        let row = |recipient: &String| Row {
            recipient: recipient.clone(),
            outcome: Outcome::without_session(Status::Unknown, "connect", "no server was tried".to_owned()),
            server: None,
            address: None,
            port: None,
        };
        Batch {
            rows: recipients.iter().map(row).collect(),
            left: (0..recipients.len()).collect(),
            attempts: 0,
            put_off: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.left.is_empty() || self.attempts >= ATTEMPTS_MAX || self.put_off >= PUT_OFF_MAX
    }

    fn left_addresses(&self) -> Vec<String> {
        self.left.iter().filter_map(|place| self.rows.get(*place)).map(|row| row.recipient.clone()).collect()
    }

    /// The same for all who wait, without a connection.
    fn note(&mut self, server: &str, outcome: &Outcome) {
        for place in &self.left {
            if let Some(row) = self.rows.get_mut(*place)
                && is_worth_more(outcome, &row.outcome)
            {
                row.outcome = outcome.clone();
                row.server = Some(server.to_owned());
            }
        }
    }

    fn learn(&mut self, attempt: &Attempt, post: &Post<'_>) {
        self.attempts += 1;
        let distrusted = attempt.tls.value().and_then(distrust).unwrap_or_default();
        let around = Circumstances {
            dialect: attempt.dialect,
            stops: post.plan.halt.is_some(),
            auth_required: post.plan.auth_required,
            tls: &attempt.tls,
            distrust: &distrusted,
        };
        let outcomes: Vec<Outcome> = (0..self.left.len())
            .map(|place| match (&attempt.session, &attempt.trouble) {
                (Some(session), _) => outcome::of(session, place, &around),
                (None, Some(trouble)) if attempt.dial.is_some() => {
                    Outcome::without_session(Status::NotSent, "connect", trouble.clone())
                }
                (None, Some(trouble)) => Outcome::without_session(Status::Unknown, "connect", trouble.clone()),
                (None, None) => Outcome::without_session(Status::Unknown, "connect", unreached(attempt)),
            })
            .collect();
        let in_transaction = attempt.session.as_ref().is_some_and(|session| session.transaction.is_some());
        if in_transaction && outcomes.iter().any(|outcome| outcome.status == Status::Deferred) && post.plan.by_mx {
            self.put_off += 1;
        }
        let mut left = Vec::new();
        for (place, outcome) in std::mem::take(&mut self.left).into_iter().zip(outcomes) {
            let Some(row) = self.rows.get_mut(place) else { continue };
            if outcome.elsewhere {
                left.push(place);
            }
            if is_worth_more(&outcome, &row.outcome) {
                row.outcome = outcome;
                row.server = Some(attempt.server.clone());
                row.address = attempt.address;
                row.port = attempt.port;
            }
        }
        self.left = left;
    }
}

/// A server that put a recipient off has said more than the next one that was not reached.
fn is_worth_more(new: &Outcome, known: &Outcome) -> bool {
    !new.elsewhere || new.status >= known.status
}

fn unreached(attempt: &Attempt) -> String {
    let Some(dial) = &attempt.dial else { return String::new() };
    let by = match &dial.icmp {
        Seen::Value(icmp) => format!(" ({} says: {})", icmp.from, icmp.name),
        _ => String::new(),
    };
    match dial.outcome {
        DialOutcome::TimedOut { after_ms } => format!("{} within {after_ms} ms{by}", dial.outcome.as_str()),
        _ => format!("{}{by}", dial.outcome.as_str()),
    }
}

impl Verify {
    /// Whatever is wrong is said, and nothing more.
    pub fn not() -> Self {
        Verify { required: false, name: None }
    }
}
