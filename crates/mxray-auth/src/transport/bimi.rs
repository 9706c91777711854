//! BIMI's assertion record: syntax alone. The logo and its certificate are not fetched.

use crate::tags::{Tags, column};
use mxray_model::evidence::published::BimiRecord;
use mxray_model::text::untrusted;

/// Reads the TXT record of `SELECTOR._bimi`.
pub fn read(text: &[u8]) -> BimiRecord {
    let shown = untrusted(text);
    let text = String::from_utf8_lossy(text);
    let (tags, errors) = Tags::read(&text);
    let mut problems: Vec<(u32, String)> =
        errors.into_iter().take(8).map(|error| (error.column(), error.why)).collect();
    match tags.0.first() {
        Some(tag) if tag.name == "v" && tag.value == "BIMI1" => {}
        _ => problems.push((1, "it does not begin with v=BIMI1".to_owned())),
    }
    let mut uri = |name: &str| {
        let tag = tags.tag(name)?;
        let fine = tag.value.is_empty() || is_https(tag.value);
        if !fine {
            problems.push((column(tag.value_at), format!("{name}= is a URI that begins with https://, or empty")));
        }
        (!tag.value.is_empty()).then(|| untrusted(tag.value.as_bytes()))
    };
    let (logo, evidence) = (uri("l"), uri("a"));
    let declined = tags.get("l").is_some_and(str::is_empty) && evidence.is_none();
    if tags.get("l").is_none() {
        problems.push((1, "there is no l=".to_owned()));
    } else if logo.is_none() && evidence.is_some() {
        problems.push((1, "a= has a certificate for a logo, and l= is empty".to_owned()));
    }
    if logo.as_ref().is_some_and(|logo| !path_of(logo).to_ascii_lowercase().ends_with(".svg")) {
        problems.push((1, "the logo's name does not end in .svg; some readers ask for it".to_owned()));
    }
    BimiRecord { text: shown, logo, evidence, declined, problems }
}

fn is_https(uri: &str) -> bool {
    let host = uri.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://")).and_then(|_| uri.get(8..));
    host.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !rest.chars().any(char::is_whitespace)
    })
}

fn path_of(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}
