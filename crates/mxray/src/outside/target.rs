//! Targets as they are typed: `host`, `host:port`, `smtp+starttls://host:port`, `mx:DOMAIN`, `user@DOMAIN`.

use mxray_model::evidence::{Purpose, SessionProtocol, TlsMode, standard_service};
use std::net::{IpAddr, Ipv6Addr};

/// What was typed, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A name or address alone: all usual mail ports.
    Host(String),
    Service(Service),
    /// Whoever takes the mail of this domain; the address, where one was typed.
    Exchangers {
        domain: String,
        recipient: Option<String>,
    },
}

/// One port of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub host: String,
    pub port: u16,
    pub protocol: SessionProtocol,
    pub tls: TlsMode,
    pub purpose: Purpose,
}

/// Scheme, protocol, TLS, usual port.
const SCHEMES: [(&str, SessionProtocol, TlsMode, u16); 16] = [
    ("smtp", SessionProtocol::Smtp, TlsMode::Starttls, 25),
    ("smtp+starttls", SessionProtocol::Smtp, TlsMode::StarttlsRequired, 25),
    ("smtp+plain", SessionProtocol::Smtp, TlsMode::None, 25),
    ("smtps", SessionProtocol::Smtp, TlsMode::Implicit, 465),
    ("submission", SessionProtocol::Smtp, TlsMode::Starttls, 587),
    ("submissions", SessionProtocol::Smtp, TlsMode::Implicit, 465),
    ("lmtp", SessionProtocol::Lmtp, TlsMode::Starttls, 24),
    ("imap", SessionProtocol::Imap, TlsMode::Starttls, 143),
    ("imap+starttls", SessionProtocol::Imap, TlsMode::StarttlsRequired, 143),
    ("imaps", SessionProtocol::Imap, TlsMode::Implicit, 993),
    ("pop3", SessionProtocol::Pop3, TlsMode::Starttls, 110),
    ("pop", SessionProtocol::Pop3, TlsMode::Starttls, 110),
    ("pop3+starttls", SessionProtocol::Pop3, TlsMode::StarttlsRequired, 110),
    ("pop3s", SessionProtocol::Pop3, TlsMode::Implicit, 995),
    ("sieve", SessionProtocol::Sieve, TlsMode::Starttls, 4190),
    ("sieves", SessionProtocol::Sieve, TlsMode::Implicit, 5190),
];

/// What was typed cannot be a target; the sentence says what can.
pub fn parse(text: &str) -> Result<Target, String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return with_scheme(scheme, rest.trim_end_matches('/')).map(Target::Service);
    }
    if let Some(domain) = text.strip_prefix("mx:") {
        return Ok(Target::Exchangers { domain: name(domain)?, recipient: None });
    }
    if let Some((local, domain)) = text.rsplit_once('@') {
        if local.is_empty() {
            return Err(format!("{text}: no mail address; for the exchangers of a domain: mx:{domain}"));
        }
        return Ok(Target::Exchangers { domain: name(domain)?, recipient: Some(text.to_owned()) });
    }
    let (host, port) = host_and_port(text)?;
    let Some(port) = port else { return Ok(Target::Host(host)) };
    let (protocol, tls, purpose) =
        standard_service(port).unwrap_or((SessionProtocol::Smtp, TlsMode::Starttls, Purpose::Other));
    Ok(Target::Service(Service { host, port, protocol, tls, purpose }))
}

fn with_scheme(scheme: &str, rest: &str) -> Result<Service, String> {
    let known = SCHEMES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(scheme));
    let Some((_, protocol, tls, usual)) = known else {
        let names: Vec<&str> = SCHEMES.iter().map(|(known, ..)| *known).collect();
        return Err(format!("{scheme}://: not one of {}", names.join(", ")));
    };
    let (host, port) = host_and_port(rest)?;
    let port = port.unwrap_or(*usual);
    let purpose = match standard_service(port) {
        Some((usual, _, purpose)) if usual == *protocol => purpose,
        _ if scheme.starts_with("submission") => Purpose::Submission,
        _ => Purpose::Other,
    };
    Ok(Service { host, port, protocol: *protocol, tls: *tls, purpose })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, or an address of IPv6 without brackets, which then has no port.
pub fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']').ok_or_else(|| format!("{text}: no ] behind the address"))?;
        let address = address.strip_prefix("IPv6:").unwrap_or(address);
        address.parse::<IpAddr>().map_err(|_| format!("{text}: no address in the brackets"))?;
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((address.to_owned(), Some(port(digits)?))),
            None if rest.is_empty() => Ok((address.to_owned(), None)),
            None => Err(format!("{text}: only :PORT may follow the brackets")),
        };
    }
    match text.split_once(':') {
        Some((host, digits)) => Ok((name(host)?, Some(port(digits)?))),
        None => Ok((name(text)?, None)),
    }
}

fn port(digits: &str) -> Result<u16, String> {
    digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{digits}: no port (1 to 65535)"))
}

/// A host name, loosely: underscores are seen in the wild, and the lookup says what is wrong with the rest. What is typed in
/// letters beyond ASCII is what certificates have as A-labels.
fn name(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('.');
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > 253 || !text.chars().all(plain) || text.starts_with('-') {
        return Err(format!("{text:?}: neither a name nor an address"));
    }
    mxray_net::wire_name(text).map_err(|error| format!("{text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> (String, u16, SessionProtocol, TlsMode) {
        match parse(text).unwrap() {
            Target::Service(service) => (service.host, service.port, service.protocol, service.tls),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_is_understood() {
        let mx = "mx.example.org".to_owned();
        assert_eq!(parse("mx.example.org."), Ok(Target::Host(mx.clone())));
        assert_eq!(parse("2001:db8::25"), Ok(Target::Host("2001:db8::25".to_owned())));
        assert_eq!(service("mx.example.org:993"), (mx.clone(), 993, SessionProtocol::Imap, TlsMode::Implicit));
        assert_eq!(service("mx.example.org:2526"), (mx.clone(), 2526, SessionProtocol::Smtp, TlsMode::Starttls));
        assert_eq!(service("[2001:db8::25]:587").0, "2001:db8::25");
        assert_eq!(service("[IPv6:2001:db8::25]:587").1, 587);
        assert_eq!(
            service("smtp+starttls://mx.example.org/"),
            (mx, 25, SessionProtocol::Smtp, TlsMode::StarttlsRequired)
        );
        assert_eq!(service("imaps://[::1]:1993").1, 1993);
        assert_eq!(service("imaps://m\u{fc}nchen.example").0, "xn--mnchen-3ya.example");
        let domain = "example.org".to_owned();
        assert_eq!(parse("mx:example.org"), Ok(Target::Exchangers { domain: domain.clone(), recipient: None }));
        let recipient = Some("a@b@example.org".to_owned());
        assert_eq!(parse("a@b@example.org"), Ok(Target::Exchangers { domain, recipient }));
    }

    #[test]
    fn what_cannot_be_a_target_is_refused() {
        for wrong in ["", "a b", "x:0", "x:65536", "[::1", "[x]:25", "[::1]25", "gopher://x", "@x", "-x", "a@", "x:y"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
