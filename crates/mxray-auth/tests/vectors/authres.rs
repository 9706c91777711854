//! authres' examples of Authentication-Results: each field of its doctests, and what they say of it.

use super::{packages, score};
use mxray_auth::results::results;
use mxray_model::evidence::published::StatedResult;

/// As authres prints a result: without properties of no kind.
fn shown(result: &StatedResult) -> String {
    let mut out = format!("{}={}", result.method, result.result);
    if let Some(reason) = &result.reason {
        out.push_str(&format!(" reason=\"{reason}\""));
    }
    for (name, value) in result.properties.iter().filter(|(name, _)| name.contains('.')) {
        let quote = if value.contains(':') { "\"" } else { "" };
        out.push_str(&format!(" {name}={quote}{value}{quote}"));
    }
    out
}

#[test]
fn authres_examples() {
    let Some(folder) = packages("authres_examples") else { return };
    let text = std::fs::read_to_string(folder.join("authres-1.2.0/authres/tests")).unwrap();
    let (mut all, mut failures) = (0, Vec::new());
    let mut check = |what: String, right: bool| {
        all += 1;
        if !right {
            failures.push(what);
        }
    };
    for block in text.split("parse('").skip(1) {
        let (field, after) = block.split_once("')\n").unwrap();
        let value = field.split_once(':').unwrap().1;
        let read = results(value.as_bytes());
        // authres takes no colon without quotation marks; many servers write addresses so.
        let unquoted = value.contains("policy.iprev=2001:");
        let refused = after.lines().take(3).any(|line| line.starts_with("Syntax error")) && !unquoted;
        check(format!("{value}: {read:?}"), read.is_err() == refused);
        let Ok(read) = read else { continue };
        let mut lines = after.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(said) = lines.peek().and_then(|said| said.strip_prefix('\'')?.strip_suffix('\'')) else {
                continue;
            };
            if line == ">>> str(arobj.authserv_id)" {
                check(format!("{} is not {said}", read.server), read.server == said);
            }
            let number = line.strip_prefix(">>> str(arobj.results[").and_then(|rest| rest.strip_suffix("])"));
            if let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) {
                let ours = read.results.get(number).map(shown).unwrap_or_default();
                check(format!("{ours} is not {said}"), ours.eq_ignore_ascii_case(said));
            }
        }
    }
    score("results", all - failures.len(), all, &failures);
}
