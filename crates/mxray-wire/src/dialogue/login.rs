//! One login within a session that a person leads: the command, the answers to challenges, what came of it.

use super::Dialogue;
use super::heard::Answered;
use crate::auth::{Attempt, Auth, Payload};
use crate::sasl::Binding;
use mxray_model::Seen;
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::AuthAttempt;

/// RFC 4954 section 4, RFC 5034 section 4, RFC 4959, RFC 5804 section 1.6; the smallest of them that matters.
const INITIAL_BYTES_MAX: usize = 220;

impl Dialogue {
    /// The command that begins a login; `say` it. `announced`: the mechanisms to choose from.
    ///
    /// # Errors
    /// Why nothing can be tried.
    pub fn begin_login(
        &mut self,
        auth: &Auth,
        announced: &[String],
        binding: Option<&Binding>,
    ) -> Result<Vec<u8>, String> {
        let has = |keyword: &str| self.capabilities.iter().any(|known| known == keyword);
        let most = match self.protocol {
            SessionProtocol::Imap if !has("SASL-IR") && !has("IMAP4REV2") => 0,
            _ => INITIAL_BYTES_MAX,
        };
        let (attempt, first) =
            Attempt::begin(auth, announced, self.tls, binding, most).map_err(|blind| match blind {
                mxray_model::Blind::NotAttempted { why } => why,
                other => format!("{other:?}"),
            })?;
        let mechanism = attempt.mechanism();
        let forms = attempt.forms();
        forms.iter().for_each(|form| self.secrets.add(form.expose()));
        self.hide(first.as_ref());
        self.attempt = Some(attempt);
        let verb = match self.protocol {
            SessionProtocol::Imap | SessionProtocol::Sieve => "AUTHENTICATE",
            _ => "AUTH",
        };
        let sieve = self.protocol == SessionProtocol::Sieve;
        let mut command = if sieve { format!("{verb} \"{mechanism}\"") } else { format!("{verb} {mechanism}") };
        if let Some(first) = first {
            command.push(' ');
            command.push_str(&match first.coded.as_str() {
                coded if sieve => format!("\"{coded}\""),
                "" => "=".to_owned(),
                coded => coded.to_owned(),
            });
        }
        Ok(self.tagged(&command))
    }

    /// A login that we lead is under way.
    pub fn is_logging_in(&self) -> bool {
        self.attempt.is_some()
    }

    /// The answer to a challenge of the login that we lead; `say` it. It cancels the login where the challenge is wrong.
    pub fn answer(&mut self, challenge: &[u8]) -> Option<Vec<u8>> {
        let payload = self.attempt.as_mut()?.next(challenge);
        self.hide(payload.as_ref());
        let coded = payload.map_or_else(|| "*".to_owned(), |payload| payload.coded);
        let sieve = self.protocol == SessionProtocol::Sieve;
        Some(if sieve { format!("\"{coded}\"\r\n") } else { format!("{coded}\r\n") }.into_bytes())
    }

    /// The server's last word on the login that we lead, and what the mechanism has to say of it.
    pub fn end_login(&mut self, answered: &Answered) -> Option<AuthAttempt<()>> {
        let mut attempt = self.attempt.take()?;
        // ManageSieve sends the last message of a mechanism with its answer: `SASL "…"`.
        if let Some(data) = answered.response_code.strip_prefix("SASL ") {
            attempt.finish(data.trim().trim_matches('"').as_bytes());
        }
        Some(attempt.facts(Seen::Value(())))
    }

    fn hide(&mut self, payload: Option<&Payload>) {
        let forms: Vec<Vec<u8>> =
            payload.map(|payload| payload.forms().map(<[u8]>::to_vec).collect()).unwrap_or_default();
        forms.iter().for_each(|form| self.secrets.add(form));
    }
}
