//! One login: which mechanism, and its exchange in base64, as every protocol carries it. How a message becomes a line is the
//! protocol's own.

use crate::base64;
use crate::sasl::{Binding, Exchange, Login, Mechanism, Trouble};
use crate::secret::Secret;
use mxray_model::session::AuthAttempt;
use mxray_model::{Blind, Seen};

/// A login to try.
#[derive(Debug, Clone)]
pub struct Auth {
    pub login: Login,
    /// The first of these that the server announces is used.
    pub mechanisms: Vec<Mechanism>,
    /// For SCRAM: fresh for every session, printable ASCII without a comma.
    pub nonce: String,
    /// A secret may go over the wire without TLS. Only for a connection that nobody else can read.
    pub in_clear: bool,
    /// Send the first message with the command (RFC 4954 section 4).
    pub initial_response: bool,
}

impl Auth {
    /// All mechanisms that need no more than a password, the strongest first.
    pub fn with_password(login: Login, nonce: &str) -> Self {
        Auth {
            login,
            mechanisms: vec![
                Mechanism::ScramSha256Plus,
                Mechanism::ScramSha1Plus,
                Mechanism::ScramSha256,
                Mechanism::ScramSha1,
                Mechanism::CramMd5,
                Mechanism::Plain,
                Mechanism::Login,
            ],
            nonce: nonce.to_owned(),
            in_clear: false,
            initial_response: true,
        }
    }
}

/// A message of ours, in base64.
pub(crate) struct Payload {
    pub coded: String,
    /// The transcript must not show it.
    pub telling: bool,
    raw: Secret,
}

impl Payload {
    /// What must not show up in what the server says.
    pub fn forms(&self) -> impl Iterator<Item = &[u8]> {
        [self.coded.as_bytes(), self.raw.expose()].into_iter().filter(|_| self.telling)
    }
}

/// One exchange under way.
#[derive(Debug)]
pub(crate) struct Attempt {
    exchange: Exchange,
    tls: bool,
    challenges: u32,
    cancelled: Option<String>,
}

impl Attempt {
    /// Chooses the mechanism among those that are announced. The payload goes with the command.
    ///
    /// # Errors
    /// Why nothing is tried.
    pub fn begin(
        auth: &Auth,
        announced: &[String],
        tls: bool,
        binding: Option<&Binding>,
        initial_bytes_max: usize,
    ) -> Result<(Self, Option<Payload>), Blind> {
        let because = |why: String| Blind::NotAttempted { why };
        let offers = |mechanism: &Mechanism| {
            announced.iter().any(|name| Mechanism::named(name) == Some(*mechanism))
                && (!mechanism.binds() || binding.is_some())
        };
        let mechanism =
            auth.mechanisms.iter().copied().find(offers).ok_or_else(|| {
                because(format!("no mechanism in common: the server announces {}", announced.join(" ")))
            })?;
        if !tls && !auth.in_clear && mechanism.shows_secret() {
            return Err(because(format!("without TLS, {} would show the secret to everybody", mechanism.name())));
        }
        let begin = || {
            Exchange::new(mechanism, &auth.login, &auth.nonce, binding)
                .map_err(|_| because(format!("the login cannot be used with {}", mechanism.name())))
        };
        let mut exchange = begin()?;
        let mut first = auth.initial_response.then(|| exchange.initial()).flatten();
        if first.as_ref().is_some_and(|first| first.expose().len().div_ceil(3) * 4 > initial_bytes_max) {
            // Too long for the command: the server asks for it with an empty challenge.
            exchange = begin()?;
            first = None;
        }
        let attempt = Attempt { exchange, tls, challenges: 0, cancelled: None };
        let payload = first.map(|raw| attempt.payload(raw));
        Ok((attempt, payload))
    }

    pub fn mechanism(&self) -> &'static str {
        self.exchange.mechanism().name()
    }

    /// The secret in all forms in which a server may repeat it.
    pub fn forms(&self) -> Vec<Secret> {
        self.exchange.forms()
    }

    fn payload(&self, raw: Secret) -> Payload {
        Payload { coded: base64::encode(raw.expose()), telling: self.exchange.is_telling(&raw), raw }
    }

    /// The answer to a challenge. `None`: the exchange is to be cancelled.
    pub fn next(&mut self, challenge: &[u8]) -> Option<Payload> {
        self.challenges += 1;
        let answer = match base64::decode(challenge.trim_ascii()) {
            Some(challenge) => self.exchange.respond(&challenge),
            // Some servers print their prompts as text; those of LOGIN are only prompts.
            None if self.exchange.mechanism() == Mechanism::Login => self.exchange.respond(b""),
            None => Err(Trouble::BadChallenge("not base64")),
        };
        match answer {
            Ok(answer) => Some(self.payload(answer)),
            Err(trouble) => {
                self.cancelled = Some(reason(&trouble));
                None
            }
        }
    }

    /// Data that came with success.
    pub fn finish(&mut self, data: &[u8]) {
        let outcome = base64::decode(data).map(|data| self.exchange.finish(&data));
        if let Some(Err(trouble)) = outcome {
            self.cancelled = Some(reason(&trouble));
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    pub fn facts<R>(&self, reply: Seen<R>) -> AuthAttempt<R> {
        AuthAttempt {
            mechanism: self.mechanism().to_owned(),
            tls: self.tls,
            challenges: self.challenges,
            reply,
            server_said: self.exchange.server_said().map(str::to_owned),
            server_proved_itself: self.exchange.server_proved_itself(),
            cancelled: self.cancelled.clone(),
        }
    }
}

fn reason(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Unusable => "the login cannot be used with this mechanism".to_owned(),
        Trouble::TooMany => "more challenges than the mechanism has".to_owned(),
        Trouble::BadChallenge(part) => format!("the server's challenge is not what the mechanism says: {part}"),
        Trouble::WrongServerSignature => "the server could not prove that it knows the password".to_owned(),
        Trouble::TooExpensive(count) => format!("the server asks for {count} iterations"),
    }
}
