//! AUTH (RFC 4954): which mechanism, and one exchange carried over the session.

use super::plan::Auth;
use crate::base64;
use crate::sasl::{Binding, Exchange, Mechanism, Trouble};
use crate::secret::{MASK, Secret};
use mxray_model::session::{AuthAttempt, Extension, Reply};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// RFC 4954 section 4: a command line with an initial response has to fit into 512 bytes.
const INITIAL_BYTES_MAX: usize = 480;

/// A command or line to send, and what the transcript shows of it.
pub(crate) struct Message {
    pub bytes: Secret,
    pub masked: Vec<u8>,
    /// What must not show up in what the server says.
    pub hide: Vec<Secret>,
}

impl Message {
    /// `command` is shown; what follows only where it is not telling.
    fn new(command: &str, payload: Option<(&Secret, bool)>) -> Self {
        let mut bytes = command.as_bytes().to_vec();
        let mut masked = bytes.clone();
        let mut hide = Vec::new();
        if let Some((payload, telling)) = payload {
            // An empty initial response is `=` (RFC 4954 section 4); an empty line is one.
            let coded = match payload.expose() {
                [] if !command.is_empty() => "=".to_owned(),
                bytes => base64::encode(bytes),
            };
            let blank: &[u8] = if command.is_empty() { b"" } else { b" " };
            bytes.extend_from_slice(blank);
            bytes.extend_from_slice(coded.as_bytes());
            masked.extend_from_slice(blank);
            masked.extend_from_slice(if telling { MASK } else { coded.as_bytes() });
            if telling {
                hide.push(Secret::new(coded));
                hide.push(payload.clone());
            }
        }
        bytes.extend_from_slice(b"\r\n");
        masked.extend_from_slice(b"\r\n");
        Message { bytes: Secret::new(bytes), masked, hide }
    }
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    exchange: Exchange,
    pub facts: AuthAttempt,
}

/// Why nothing was tried.
pub(crate) enum NotTried {
    NotAnnounced,
    Because(Blind),
}

impl Attempt {
    /// Chooses the mechanism and makes the command.
    pub fn begin(
        auth: &Auth,
        extensions: &Seen<BTreeMap<String, Extension>>,
        tls: bool,
        binding: Option<&Binding>,
    ) -> Result<(Self, Message), NotTried> {
        let because = |why: String| NotTried::Because(Blind::NotAttempted { why });
        let announced = match extensions {
            Seen::Value(extensions) => extensions.get("AUTH").ok_or(NotTried::NotAnnounced)?,
            Seen::Absent => return Err(NotTried::NotAnnounced),
            Seen::Unknown(blind) => return Err(NotTried::Because(blind.clone())),
        };
        let offers = |mechanism: &Mechanism| {
            announced.parameters.iter().any(|name| Mechanism::named(name) == Some(*mechanism))
                && (!mechanism.binds() || binding.is_some())
        };
        let mechanism = auth.mechanisms.iter().copied().find(offers).ok_or_else(|| {
            because(format!("no mechanism in common: the server announces {}", announced.parameters.join(" ")))
        })?;
        if !tls && !auth.in_clear && mechanism.shows_secret() {
            return Err(because(format!("without TLS, {} would show the secret to everybody", mechanism.name())));
        }
        let mut exchange = Exchange::new(mechanism, &auth.login, &auth.nonce, binding)
            .map_err(|_| because(format!("the login cannot be used with {}", mechanism.name())))?;
        let first = auth.initial_response.then(|| exchange.initial()).flatten();
        let fits = first.as_ref().is_none_or(|first| first.expose().len() / 3 * 4 <= INITIAL_BYTES_MAX);
        if !fits {
            // Too long for the command: the server asks for it with an empty challenge.
            exchange = Exchange::new(mechanism, &auth.login, &auth.nonce, binding)
                .map_err(|_| because(format!("the login cannot be used with {}", mechanism.name())))?;
        }
        let mut message = Message::new(
            &format!("AUTH {}", mechanism.name()),
            first.as_ref().filter(|_| fits).map(|first| (first, true)),
        );
        message.hide.extend(exchange.forms());
        let facts = AuthAttempt {
            mechanism: mechanism.name().to_owned(),
            tls,
            challenges: 0,
            reply: Seen::not_attempted("AUTH was not answered"),
            server_said: None,
            server_proved_itself: None,
            cancelled: None,
        };
        Ok((Attempt { exchange, facts }, message))
    }

    /// The next line, while the server asks for one (334).
    pub fn next(&mut self, reply: &Reply) -> Option<Message> {
        if reply.code != 334 {
            self.facts.reply = Seen::Value(reply.clone());
            self.facts.server_proved_itself = self.exchange.server_proved_itself();
            return None;
        }
        self.facts.challenges += 1;
        // A challenge may be spread over lines by nobody; what is no base64 ends the exchange.
        let challenge = reply.lines.first().and_then(|line| base64::decode(line.0.trim_ascii()));
        let answer = match (&self.facts.cancelled, challenge) {
            (Some(_), _) => return None,
            (None, Some(challenge)) => self.exchange.respond(&challenge),
            // Some servers print their prompt as text; those of LOGIN are only prompts.
            (None, None) if self.exchange.mechanism() == Mechanism::Login => self.exchange.respond(b""),
            (None, None) => Err(Trouble::BadChallenge("not base64")),
        };
        self.facts.server_said = self.exchange.server_said().map(str::to_owned);
        Some(match answer {
            Ok(answer) => Message::new("", Some((&answer, self.exchange.is_telling(&answer)))),
            Err(trouble) => {
                self.facts.cancelled = Some(reason(&trouble));
                Message::new("*", None)
            }
        })
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
