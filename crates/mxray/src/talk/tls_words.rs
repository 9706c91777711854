//! A TLS session in words: in short behind a handshake, in full when asked for.

use mxray_model::Seen;
use mxray_model::evidence::{Certificate, PresentedCertificate, RootStore, TlsEnding, TlsFacts};
use mxray_render::Style;

/// Names that are listed in short.
const NAMES_MAX: usize = 4;

/// What was agreed upon, whose certificate it is, and what is wrong with it.
pub fn short(facts: &TlsFacts) -> Vec<(Style, String)> {
    if facts.ending != TlsEnding::Established {
        return vec![(Style::Alarm, format!("the TLS handshake failed: {}", facts.ending.words()))];
    }
    let parts: Vec<&str> =
        [&facts.version, &facts.suite, &facts.group].into_iter().filter_map(Seen::value).map(String::as_str).collect();
    let mut lines = vec![(Style::Calm, format!("{}, in {} ms", parts.join(", "), facts.took_ms))];
    match own(facts) {
        Some(own) => lines.push((Style::Plain, certificate(own))),
        None => lines.push((Style::Caution, "no certificate that could be read".to_owned())),
    }
    lines.extend(problems(facts));
    lines
}

/// All of it.
pub fn full(facts: &TlsFacts) -> Vec<(Style, String)> {
    let mut lines = short(facts);
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
    lines.push((Style::Plain, format!("name sent (SNI): {}", name(&facts.server_name))));
    lines.push((Style::Plain, format!("name compared with: {}", name(&facts.reference_name))));
    for (place, presented) in facts.chain.value().into_iter().flatten().enumerate() {
        lines.extend(presented_lines(place, presented));
    }
    for (store, trusted) in &facts.trusted {
        let store = match store {
            RootStore::System => "this host's roots",
            RootStore::Mozilla => "Mozilla's roots",
        };
        lines.push((
            Style::Plain,
            match trusted {
                Seen::Value(true) => format!("trusted by {store}"),
                Seen::Value(false) | Seen::Absent => format!("not trusted by {store}"),
                Seen::Unknown(blind) => format!("{store}: unknown: {}", blind.why()),
            },
        ));
    }
    if facts.client_certificate_requested {
        lines.push((Style::Plain, "the server asks for a certificate of ours".to_owned()));
    }
    if facts.ocsp_stapled {
        lines.push((Style::Plain, "an OCSP response is stapled".to_owned()));
    }
    lines
}

fn own(facts: &TlsFacts) -> Option<&Certificate> {
    facts.chain.value()?.first()?.certificate.value()
}

fn problems(facts: &TlsFacts) -> impl Iterator<Item = (Style, String)> {
    facts.problems.iter().map(|problem| (Style::Caution, format!("certificate: {}", problem.words())))
}

fn certificate(certificate: &Certificate) -> String {
    let names: Vec<&str> = certificate.names.iter().map(String::as_str).take(NAMES_MAX).collect();
    let more = certificate.names.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = if names.is_empty() { "no names".to_owned() } else { format!("{}{more}", names.join(", ")) };
    let until = day(&certificate.not_after);
    format!("certificate: {}; {names}; until {until}; from {}", certificate.subject, certificate.issuer)
}

fn presented_lines(place: usize, presented: &PresentedCertificate) -> Vec<(Style, String)> {
    let mut lines = Vec::new();
    let number = place + 1;
    match &presented.certificate {
        Seen::Value(certificate) => {
            lines.push((Style::Bold, format!("{number}. {}", certificate.subject)));
            lines.push((Style::Plain, format!("   issued by {}", certificate.issuer)));
            lines.push((Style::Plain, format!("   {} to {}", certificate.not_before, certificate.not_after)));
            if !certificate.names.is_empty() {
                let names: Vec<&str> = certificate.names.iter().map(String::as_str).collect();
                lines.push((Style::Plain, format!("   names: {}", names.join(", "))));
            }
            let public = &certificate.public;
            lines.push((
                Style::Plain,
                format!("   key: {}, {} bits; signed with {}", public.algorithm, public.bits, presented.signed_with),
            ));
            lines.push((Style::Plain, format!("   SHA-256 of the key (TLSA 3 1 1): {}", public.spki_sha256)));
        }
        Seen::Absent => lines.push((Style::Caution, format!("{number}. nothing"))),
        Seen::Unknown(blind) => lines.push((Style::Caution, format!("{number}. cannot be read: {}", blind.why()))),
    }
    lines.push((Style::Plain, format!("   SHA-256: {}", presented.sha256)));
    lines
}

/// The day of an RFC 3339 time.
fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or(time)
}
