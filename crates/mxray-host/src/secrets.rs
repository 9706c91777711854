//! Keeps passwords out of what is kept: foreign text loses what may be one before it becomes evidence.
//!
//! Evidence holds chosen parameters only, none of which takes a password. Three things cannot be chosen in advance:
//! command lines, a service's own `-o` values, and quotes of lines that were not understood. They come through here. A
//! value that is masked for nothing costs little, one that slips through travels with the report.

use std::ops::Range;

/// What stands where something was taken out.
const MASK: &str = "[masked]";
/// Parts of names whose values may be secrets.
const TELLING: &[&str] = &["pass", "pwd", "secret", "token", "credential", "apikey", "api_key", "api-key", "_pw"];
/// Table types of Postfix whose contents stand in the configuration itself.
const CONTENT_IN_NAME: &[&str] = &["static:", "inline:"];

/// Actions of access(5): a table that consists of one is no secret.
const ACTIONS: &[&str] = &[
    "ok",
    "permit",
    "hold",
    "reject",
    "defer",
    "defer_if_permit",
    "defer_if_reject",
    "discard",
    "dunno",
    "warn",
    "info",
];

/// Does a name say that its value is a secret?
pub(crate) fn is_telling(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    TELLING.iter().any(|part| lower.contains(part)) || lower == "pw"
}

/// The value of a parameter, without what may be a secret.
pub(crate) fn value(name: &str, value: &str) -> String {
    if holds_none(name) {
        return value.to_owned();
    }
    if value.is_empty() || !is_telling(name) { text(value) } else { MASK.to_owned() }
}

/// Lists of restrictions and checks: what stands in their inline tables is rules, not logins.
fn holds_none(name: &str) -> bool {
    name.ends_with("_restrictions") || name.ends_with("_checks")
}

/// Free text without what may be a secret: values behind telling names, contents of tables, logins in addresses.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(secret) = [assigned(rest), content(rest), login(rest)].into_iter().flatten().min_by_key(|s| s.start)
    {
        out.push_str(rest.get(..secret.start).unwrap_or_default());
        out.push_str(MASK);
        rest = rest.get(secret.end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// A command line, word by word: also the word behind an option that takes a secret.
pub(crate) fn command(words: &[String]) -> String {
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    let mut next_is_secret = false;
    for word in words {
        let is_option = word.starts_with('-');
        out.push(if next_is_secret && !is_option { MASK.to_owned() } else { self::text(word) });
        next_is_secret = is_option && !word.contains('=') && is_telling(word);
    }
    out.join(" ")
}

/// The first `name = value` whose name is telling.
fn assigned(text: &str) -> Option<Range<usize>> {
    text.match_indices('=').find_map(|(at, _)| {
        let before = text.get(..at)?.trim_end();
        let name = before.rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))).next()?;
        let behind = text.get(at + 1..)?;
        let start = at + 1 + (behind.len() - behind.trim_start().len());
        let value = text.get(start..)?;
        (is_telling(name) && !value.is_empty()).then(|| start..start + reach(value))
    })
}

/// The first table whose contents stand in its name.
fn content(text: &str) -> Option<Range<usize>> {
    let starts = CONTENT_IN_NAME.iter().flat_map(|kind| text.match_indices(kind).map(|(at, kind)| at + kind.len()));
    let values = starts.map(|start| (start, text.get(start..).unwrap_or_default()));
    let telling = values.filter(|(_, value)| !value.is_empty() && !is_action(value));
    telling.map(|(start, value)| start..start + reach(value)).min_by_key(|range| range.start)
}

/// `HOLD`, `{OK}`: what access(5) does with mail, which rules look for.
fn is_action(value: &str) -> bool {
    let word = value.trim_start_matches(['{', ' ']);
    let end = word.find(|c: char| !(c.is_ascii_alphabetic() || c == '_')).unwrap_or(word.len());
    let ends_there = word.get(end..).is_none_or(|rest| !rest.starts_with(':'));
    ends_there && word.get(..end).is_some_and(|word| ACTIONS.contains(&word.to_ascii_lowercase().as_str()))
}

/// The first `user:password` in front of the host of an address.
fn login(text: &str) -> Option<Range<usize>> {
    text.match_indices("://").find_map(|(at, separator)| {
        let start = at + separator.len();
        let authority = text.get(start..)?.split(['/', ' ', '"']).next()?;
        let (login, _) = authority.rsplit_once('@')?;
        login.contains(':').then(|| start..start + login.len())
    })
}

/// How far a value reaches: to the end of its braces or quotes, anything else to the next blank.
fn reach(value: &str) -> usize {
    match value.chars().next() {
        // Entries may nest, and a line that was cut has no end: all of the rest.
        Some('{') => value.rfind('}').map_or(value.len(), |at| at + 1),
        Some(quote @ ('"' | '\'')) => value.get(1..).and_then(|rest| rest.find(quote)).map_or(value.len(), |at| at + 2),
        _ => value.find([' ', '\t', '"']).unwrap_or(value.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_password_stays() {
        for foreign in [
            "smtp_sasl_password_maps = static:user:hunter2",
            "missing \"=\" behind the parameter name \"static:user:hunter2\"",
            "unused parameter: ldap_bind_pw=hunter2",
            "ldap_bind_pw = \"hunter2 hunter2\" more",
            "sql_password=hunter2",
            "maps = inline:{ { user = hunter2 }, x = hunter2 }",
            "inline:{user=hunter2",
            "pgsql://mail:hunter2@db.example/mail",
            "a https://u:hunter2@[::1]:8080/x b https://u:hunter2@y/",
            "PASSWORD=hunter2 TOKEN='hunter2 hunter2'",
            "--auth-token=hunter2",
            "password=x@hunter2 y",
            "see https://x.example/ and https://u:hunter2@y/",
            "hosts = postgresql://u:hunter2@127.0.0.1",
        ] {
            let kept = text(foreign);
            assert!(!kept.contains("hunter2"), "{foreign}: {kept}");
            assert!(kept.contains(MASK), "{foreign}: {kept}");
        }
        for value_of in [("smtp_sasl_password_maps", "hunter2"), ("x_pw", "hunter2"), ("x", "static:u:hunter2")] {
            assert!(!value(value_of.0, value_of.1).contains("hunter2"), "{value_of:?}");
        }
    }

    #[test]
    fn commands_lose_their_secrets_and_nothing_else() {
        let kept = |line: &[&str]| command(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(kept(&["x", "--db-password", "hunter2", "-v"]), "x --db-password [masked] -v");
        assert_eq!(kept(&["x", "--password=hunter2", "y"]), "x --password=[masked] y");
        assert_eq!(kept(&["x", "--no-auth", "--port", "25"]), "x --no-auth --port 25");
        let smtpd = ["smtpd", "-n", "smtp", "-t", "inet", "-u", "-c", "-o", "content_filter=smtp:[127.0.0.1]:10024"];
        assert_eq!(kept(&smtpd), smtpd.join(" "));
    }

    #[test]
    fn harmless_text_stays_as_it_is() {
        for harmless in [
            "",
            "smtpd_milters: unix:/run/a.sock is read as nothing",
            "mynetworks = 127.0.0.0/8, [::1]/128",
            "https://www.example/x?y=1",
            "mail to user@example.org",
            "password =",
            "größe = 5",
        ] {
            assert_eq!(text(harmless), harmless);
        }
    }

    #[test]
    fn actions_stay_and_logins_do_not() {
        assert_eq!(text("check_client_access static:HOLD, permit"), "check_client_access static:HOLD, permit");
        assert_eq!(text("static:{OK}"), "static:{OK}");
        assert_eq!(text("static:ok:secret"), "static:[masked]");
        assert_eq!(text("static:HOLD static:user:word"), "static:HOLD static:[masked]");
    }

    #[test]
    fn lists_of_rules_stay_whole() {
        let list = "check_client_access inline:{ { 0.0.0.0/0 = HOLD } }";
        assert_eq!(value("smtpd_client_restrictions", list), list);
        assert_eq!(value("smtp_sasl_password_maps", "inline:{ host=user:word }"), "[masked]");
        assert_eq!(value("x_maps", "inline:{ host=user:word }"), "inline:[masked]");
    }
}
