//! What announced extensions mean, what is not there, and what does not fit together: in words, for a person.

use mxray_model::session::{Extension, MailboxProtocol};
use std::collections::BTreeMap;

type Listed = BTreeMap<String, Extension>;

/// Extensions whose lack somebody notices (RFC 6152, 6531, 3030, 2920, 3461, 8689), and what is lost.
const WANTED: [(&str, &str); 7] = [
    ("8BITMIME", "8-bit text is sent in an encoding"),
    ("SMTPUTF8", "no mail to or from addresses with letters beyond ASCII"),
    ("PIPELINING", "one round trip for each command"),
    ("ENHANCEDSTATUSCODES", "refusals do not say precisely why"),
    ("DSN", "senders cannot ask for delivery reports"),
    ("CHUNKING", "no BDAT"),
    ("REQUIRETLS", "senders cannot demand TLS for the whole way"),
];

/// What one extension of SMTP means here. `None`: the keyword says it, or nobody knows it.
fn meaning(keyword: &str, parameters: &[String]) -> Option<String> {
    let text = match keyword {
        "SIZE" => return Some(size(parameters.first().map(String::as_str))),
        "ETRN" => "keeps mail for other servers (RFC 1985)",
        "XCLIENT" | "XFORWARD" => "takes the word of this client for who others are",
        "VRFY" => "may tell whether an address exists",
        "BURL" => "fetches messages from IMAP (RFC 4468)",
        "X-ANONYMOUSTLS" | "X-EXPS" | "XEXCH50" => "Exchange, to other Exchange servers",
        _ => return None,
    };
    Some(text.to_owned())
}

/// RFC 1870 section 4: 0, or nothing, is no limit that is told.
fn size(parameter: Option<&str>) -> String {
    match parameter.map(str::parse::<u64>) {
        None | Some(Ok(0)) => "no limit is told".to_owned(),
        Some(Ok(bytes)) if bytes < 1_000_000 => format!("messages up to {} kB", bytes / 1000),
        Some(Ok(bytes)) => format!("messages up to {} MB", bytes / 1_000_000),
        Some(Err(_)) => "not a number".to_owned(),
    }
}

/// `SIZE 1000 (messages up to 1 kB), PIPELINING`, in the order of their names; AUTH is told elsewhere.
pub(crate) fn smtp(listed: &Listed) -> String {
    if listed.is_empty() {
        return "none".to_owned();
    }
    let told = |(keyword, extension): (&String, &Extension)| {
        let mut text = named(keyword, extension);
        if let Some(meaning) = meaning(keyword, &extension.parameters) {
            text.push_str(&format!(" ({meaning})"));
        }
        text
    };
    listed.iter().map(told).collect::<Vec<_>>().join(", ")
}

fn named(keyword: &str, extension: &Extension) -> String {
    let mut text = keyword.to_owned();
    for parameter in &extension.parameters {
        text.push(' ');
        text.push_str(parameter);
    }
    text
}

/// All of a mailbox service's list, with what its odd ones mean.
pub(crate) fn mailbox(protocol: MailboxProtocol, listed: &Listed) -> String {
    if listed.is_empty() {
        return "none".to_owned();
    }
    let told = |(keyword, extension): (&String, &Extension)| match (protocol, keyword.as_str()) {
        (MailboxProtocol::Imap, "LOGINDISABLED") => "LOGINDISABLED (LOGIN only behind TLS, as it should be)".to_owned(),
        _ => named(keyword, extension),
    };
    listed.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// What does not fit together, or is gone behind TLS, or missing: one sentence each. `after` where there was TLS.
pub(crate) fn smtp_remarks(before: Option<&Listed>, after: Option<&Listed>) -> Vec<String> {
    let mut remarks = Vec::new();
    let Some(last) = after.or(before) else { return remarks };
    let has = |keyword: &str| last.contains_key(keyword);
    if has("SMTPUTF8") && !has("8BITMIME") {
        remarks.push("SMTPUTF8 without 8BITMIME, which RFC 6531 section 3.1 asks for".to_owned());
    }
    if after.is_some() && has("STARTTLS") {
        remarks.push("STARTTLS is offered again behind TLS, against RFC 3207 section 4.2".to_owned());
    }
    if last.get("SIZE").and_then(|size| size.parameters.first()).is_some_and(|size| size.parse::<u64>().is_err()) {
        remarks.push("SIZE has no number (RFC 1870)".to_owned());
    }
    if let (Some(before), Some(after)) = (before, after) {
        let gone: Vec<&str> = before
            .keys()
            .map(String::as_str)
            .filter(|keyword| *keyword != "STARTTLS" && !after.contains_key(*keyword))
            .collect();
        if !gone.is_empty() {
            remarks.push(format!("behind TLS no longer offered: {}", gone.join(", ")));
        }
    }
    let missing: Vec<String> = WANTED
        .iter()
        .filter(|(keyword, _)| !has(keyword))
        .map(|(keyword, lost)| format!("{keyword} ({lost})"))
        .collect();
    if !missing.is_empty() {
        remarks.push(format!("not offered: {}", missing.join(", ")));
    }
    remarks
}

/// The mechanisms of a list; `None`: it announces none.
pub(crate) fn mechanisms<'a>(listed: &'a Listed, keyword: &str) -> Option<&'a [String]> {
    listed.get(keyword).map(|found| found.parameters.as_slice()).filter(|found| !found.is_empty())
}

/// Mechanisms that show the secret to whoever reads along (RFC 4616, and LOGIN, which never was a standard).
pub(crate) fn shows_secret(mechanism: &str) -> bool {
    ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"].iter().any(|known| known.eq_ignore_ascii_case(mechanism))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(lines: &[&str]) -> Listed {
        let parse = |line: &&str| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap(), Extension { parameters: words.collect(), entry: 0 })
        };
        lines.iter().map(parse).collect()
    }

    #[test]
    fn extensions_are_told_with_their_meaning() {
        assert_eq!(smtp(&listed(&["SIZE 52428800", "DSN"])), "DSN, SIZE 52428800 (messages up to 52 MB)");
        assert_eq!(smtp(&listed(&["SIZE"])), "SIZE (no limit is told)");
        assert_eq!(smtp(&listed(&["SIZE x"])), "SIZE x (not a number)");
        assert_eq!(smtp(&listed(&[])), "none");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let all = ["8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING", "REQUIRETLS"];
        assert_eq!(smtp_remarks(Some(&listed(&all)), None), Vec::<String>::new());
        let after = listed(&all[1..]);
        let remarks = smtp_remarks(Some(&listed(&all)), Some(&after));
        assert!(remarks.iter().any(|remark| remark.contains("RFC 6531")), "{remarks:?}");
        assert!(remarks.iter().any(|remark| remark == "behind TLS no longer offered: 8BITMIME"), "{remarks:?}");
    }
}
