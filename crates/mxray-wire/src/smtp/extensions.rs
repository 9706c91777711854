//! What a positive reply to EHLO announces (RFC 5321 section 4.1.1.1).

use super::plan::{Envelope, UTF8};
use mxray_model::session::{Extension, Reply, SmtpSession};
use mxray_model::text::untrusted;
use std::collections::BTreeMap;

/// Most extensions that are kept; a reply has at most as many lines.
const PARAMETERS_MAX: usize = 64;

/// By keyword in upper case: keywords are not case-sensitive. The first line holds the server's name.
pub(crate) fn announced(reply: &Reply) -> BTreeMap<String, Extension> {
    let mut found: BTreeMap<String, Extension> = BTreeMap::new();
    for (entry, line) in (reply.entry..).zip(&reply.lines).skip(1) {
        let text = untrusted(&line.0);
        let mut words = text.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        // Old servers say `AUTH=PLAIN LOGIN` for old clients: the same thing, spelled before RFC 2554.
        let (keyword, joined) = match first.split_once('=') {
            Some((keyword, value)) if keyword.eq_ignore_ascii_case("AUTH") => (keyword, Some(value)),
            _ => (first, None),
        };
        let extension =
            found.entry(keyword.to_ascii_uppercase()).or_insert_with(|| Extension { parameters: Vec::new(), entry });
        for word in joined.into_iter().chain(words).filter(|word| !word.is_empty()) {
            if extension.parameters.len() < PARAMETERS_MAX && !extension.parameters.iter().any(|known| known == word) {
                extension.parameters.push(word.to_owned());
            }
        }
    }
    found
}

/// Why a transaction is not begun: what the server announces, or does not, forbids it to clients.
pub(crate) fn forbids(session: &SmtpSession, envelope: &Envelope) -> Option<String> {
    let extensions = session.hellos.last().and_then(|hello| hello.extensions.value());
    if envelope.is_utf8() && !extensions.is_some_and(|extensions| extensions.contains_key(UTF8)) {
        // RFC 6531 section 3.2: such an address is not sent to it.
        return Some(format!("the server does not announce {UTF8}, which an address with other letters needs"));
    }
    let begun = session.transactions().filter(|one| one.mail.value().is_some()).count();
    let most = limit(extensions?, "MAILMAX").filter(|most| begun >= *most)?;
    Some(format!("the server takes {most} in one session (LIMITS MAILMAX={most}, RFC 9422)"))
}

/// A number of `LIMITS MAILMAX=20 RCPTMAX=100` (RFC 9422 section 3). `None`: no such limit is announced, or it is no number.
fn limit(extensions: &BTreeMap<String, Extension>, name: &str) -> Option<usize> {
    let parameters = &extensions.get("LIMITS")?.parameters;
    let values = parameters.iter().filter_map(|parameter| parameter.split_once('='));
    let mut own = values.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    // At most six digits, none of them a leading zero.
    own.next().and_then(|(_, value)| value.parse().ok()).filter(|most| (1..=999_999).contains(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::session::Raw;

    #[test]
    fn limits_are_numbers() {
        let of = |line: &str| {
            let lines = ["mail.example", line].map(Raw::from).to_vec();
            limit(&announced(&Reply { code: 250, enhanced: None, lines, after_ms: 0, entry: 4 }), "MAILMAX")
        };
        assert_eq!(of("LIMITS RCPTMAX=20 mailmax=5"), Some(5));
        for none in ["LIMITS", "LIMITS MAILMAX", "LIMITS MAILMAX=0", "LIMITS MAILMAX=-1", "LIMITS MAILMAX=x", "SIZE"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn keywords_have_no_case_and_auth_has_two_spellings() {
        let lines = ["mail.example greets you", "starttls", "AUTH PLAIN LOGIN", "AUTH=PLAIN XOAUTH2", "SIZE 1000", ""];
        let lines = lines.iter().map(|line| Raw::from(*line)).collect();
        let found = announced(&Reply { code: 250, enhanced: None, lines, after_ms: 0, entry: 4 });
        assert_eq!(found.keys().collect::<Vec<_>>(), ["AUTH", "SIZE", "STARTTLS"]);
        assert_eq!(found["AUTH"].parameters, ["PLAIN", "LOGIN", "XOAUTH2"]);
        assert_eq!((found["STARTTLS"].entry, found["SIZE"].parameters.join(" ")), (5, "1000".to_owned()));
    }
}
