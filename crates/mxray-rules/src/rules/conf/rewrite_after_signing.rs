//! CONF109: content is changed after it was signed.

use super::signer_not_wired::{in_use, is_signer};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Configured, HelperKind, Rewrite, Server, Signer, SmtpClient};
use mxray_model::{Evidence, Finding, Fix, Seen, Subject};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "CONF109",
    name: "rewrite-after-signing",
    severity: mxray_model::Severity::Critical,
    since: "0.1.0",
    summary: "content changes after the signer",
    page: include_str!("rewrite_after_signing.md"),
    check,
};

/// Header fields that every signer signs: From must be, the others are recommended first (RFC 6376 section 5.4.1), and are
/// signed by OpenDKIM unless it is told otherwise.
const SIGNED: [&str; 6] = ["from", "subject", "date", "to", "cc", "reply-to"];

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let signers = match &evidence.signers {
        Seen::Value(signers) => signers,
        Seen::Absent => {
            judgement.well("nothing signs mail here that could be changed afterwards");
            return Ok(judgement);
        }
        Seen::Unknown(blind) => return Err(Judgement::cannot_tell(&RULE, blind)),
    };
    for (instance, server) in view::enabled(servers) {
        let tables = tables(server);
        for signer in signers.values().filter(|signer| is_asked(server, signer)) {
            let mut quiet = true;
            for (name, (service, table)) in &tables {
                let place = Place { instance, server, signer, service, table };
                match server.rewrites.get(*name) {
                    Some(Seen::Value(entries)) => {
                        if let Some(entry) = entries.iter().find(|entry| breaks(signer, table, entry)) {
                            judgement.find(found(evidence, &place, entry));
                            quiet = false;
                        }
                    }
                    Some(Seen::Unknown(blind)) => {
                        judgement.blind(&RULE, blind);
                        quiet = false;
                    }
                    Some(Seen::Absent) | None => {}
                }
            }
            if quiet {
                judgement.well(format!("{instance}: nothing changes what {} has signed", signer.software));
            }
        }
    }
    Ok(judgement)
}

/// The signer runs, and this server shows it mail.
fn is_asked(server: &Server, signer: &Signer) -> bool {
    let Seen::Value(socket) = in_use(signer) else { return false };
    let mut milters = server.helpers.values().filter(|helper| helper.kind == HelperKind::Milter);
    milters.any(|helper| is_signer(helper, signer, socket) == Seen::Value(true))
}

/// The tables by which ordinary mail is changed, each with the first service that does so. A transport of somebody's own may
/// carry mail that is not signed.
fn tables(server: &Server) -> BTreeMap<&String, (&String, &Configured<String>)> {
    let ordinary = |name: &str, table: &Configured<String>| {
        matches!(name, "smtp/unix" | "relay/unix") || table.at.as_ref().is_some_and(|at| at.file.ends_with("/main.cf"))
    };
    let mut found = BTreeMap::new();
    let clients: &BTreeMap<String, SmtpClient> = &server.clients;
    for (name, client) in clients {
        for table in client.rewriting.iter().filter(|table| ordinary(name, table)) {
            found.entry(&table.value).or_insert((name, table));
        }
    }
    found
}

/// Does this entry change what the signature covers?
fn breaks(signer: &Signer, table: &Configured<String>, entry: &Rewrite) -> bool {
    let changes = matches!(entry.action.as_str(), "REPLACE" | "IGNORE" | "STRIP");
    match table.setting.as_str() {
        "smtp_header_checks" => changes && fields(&entry.pattern).iter().any(|field| SIGNED.contains(&field.as_str())),
        // Parts and attached messages lie within the body.
        "smtp_body_checks" | "smtp_mime_header_checks" | "smtp_nested_header_checks" => changes,
        "smtp_generic_maps" => {
            let Some((_, domain)) = entry.pattern.rsplit_once('@') else { return false };
            signer.domains.value().is_some_and(|domains| domains.iter().any(|own| own.eq_ignore_ascii_case(domain)))
        }
        _ => false,
    }
}

/// The fields that an expression is about, where it says so: `^Subject:`, `^(From|Reply-To):`.
fn fields(pattern: &str) -> Vec<String> {
    let Some(rest) = pattern.strip_prefix('^') else { return Vec::new() };
    let rest = rest.strip_prefix("(?:").or_else(|| rest.strip_prefix('(')).unwrap_or(rest);
    let Some((names, _)) = rest.split_once(':') else { return Vec::new() };
    let names = names.trim_end_matches(')');
    let literal = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    names.split('|').filter(literal).map(str::to_ascii_lowercase).collect()
}

struct Place<'a> {
    instance: &'a str,
    server: &'a Server,
    signer: &'a Signer,
    service: &'a str,
    table: &'a Configured<String>,
}

fn found(evidence: &Evidence, place: &Place<'_>, entry: &Rewrite) -> Finding {
    let Place { instance, server, signer, service, table } = place;
    let file = table.value.split_once(':').map_or(table.value.as_str(), |(_, file)| file);
    let words = Words::new(evidence, server);
    let at = table.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string);
    let software = &signer.software;
    RULE.finding(
        Subject::file(file),
        format!(
            "{} changes mail after {software} has signed it ({file}:{}): receivers find the signature broken.",
            table.setting, entry.line
        ),
    )
    .confidence(0.9)
    .because(
        format!("{}: {}", entry.action, entry.pattern),
        format!("{file}:{}", entry.line),
        view::server_pointer(instance, &["rewrites", &table.value]),
    )
    .because(
        format!("{} = {}, which {service} applies while it sends.", table.setting, table.value),
        at,
        view::server_pointer(instance, &["clients", service]),
    )
    .because(
        format!("{software} signs before the mail is queued."),
        signer.socket_at.as_ref().map_or_else(|| signer.config_file.clone(), ToString::to_string),
        view::pointer(["signers", "value", software.as_str()]),
    )
    .data("setting", table.setting.clone())
    .data("table", table.value.clone())
    .data("line", entry.line)
    .data("action", entry.action.clone())
    .data("signer", software.clone())
    .fix(earlier(&words, place, file, entry))
    .fix(Fix::here("Let the running server read it.").command(words.reload()).verify("mxray doctor"))
    .reference("RFC 6376 section 3.7")
    .reference(format!("postconf(5), {}", table.setting))
}

/// The same change, made before the signature.
fn earlier(words: &Words<'_>, place: &Place<'_>, file: &str, entry: &Rewrite) -> Fix {
    let setting = place.table.setting.as_str();
    let before = match setting {
        "smtp_generic_maps" => "canonical_maps",
        _ => setting.strip_prefix("smtp_").unwrap_or(setting),
    };
    let text = format!(
        "Take this entry out, or make the change before the signature: {before} is applied when mail comes in, in front of \
         the milters (to mail from outside, too)."
    );
    Fix::here(text)
        .config(file, Some(entry.line), format!("# {} {}", entry.pattern, entry.action))
        .verify(words.show(setting))
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn fields_are_read_only_where_they_are_literal() {
        assert_eq!(fields("^Subject: (.*)"), ["subject"]);
        assert_eq!(fields("^(From|Reply-To):"), ["from", "reply-to"]);
        assert_eq!(fields("^(?:X-Mailer|User-Agent):"), ["x-mailer", "user-agent"]);
        assert!(fields("Subject: x").is_empty() && fields("^S.*t:").is_empty() && fields("no colon").is_empty());
    }
}
