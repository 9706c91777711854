//! What a positive reply to EHLO announces (RFC 5321 section 4.1.1.1).

use mxray_model::session::{Extension, Reply};
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

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::session::Raw;

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
