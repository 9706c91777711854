//! Next hops as configurations write them: `[smtp.example.com]:587`, `example.com`, `smart.example.com::587`. Pure.

use std::net::IpAddr;

/// Where a server hands its mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    /// The name is looked up by MX first, as for any domain.
    pub by_mx: bool,
}

/// Understands what stands in the configuration of this software. `None`: it is no host (a UNIX socket, an expression that
/// only the server itself can expand).
pub(crate) fn next_hop(software: &str, text: &str) -> Option<NextHop> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('/') || text.contains(['$', '{', ' ']) {
        return None;
    }
    if let Some((_, rest)) = text.split_once('[') {
        let (host, rest) = rest.split_once(']')?;
        let host = host.strip_prefix("ipv6:").or_else(|| host.strip_prefix("IPv6:")).unwrap_or(host);
        return named(host, port(rest.trim_start_matches(':'))?, false);
    }
    if text.parse::<IpAddr>().is_ok() {
        return named(text, 25, false);
    }
    // Exim's `host/MX` (specification, 20.5); nobody else puts a slash behind a host.
    let (bare, suffix) = text.split_once('/').unwrap_or((text, ""));
    if !suffix.is_empty() && software != "exim" {
        return None;
    }
    let (host, rest) = bare.split_once(':').unwrap_or((bare, ""));
    // Without brackets Postfix and Sendmail take a name for a domain (transport(5); Sendmail's operations guide, 5.6).
    let by_mx = matches!(software, "postfix" | "sendmail") || suffix.eq_ignore_ascii_case("mx");
    named(host, port(rest.trim_start_matches(':'))?, by_mx)
}

fn named(host: &str, port: u16, by_mx: bool) -> Option<NextHop> {
    let by_mx = by_mx && host.parse::<IpAddr>().is_err();
    let host = host.trim_end_matches('.');
    (!host.is_empty()).then(|| NextHop { host: host.to_owned(), port, by_mx })
}

/// A port by number or by the names that mail has (IANA's registry, and what older systems called them).
fn port(text: &str) -> Option<u16> {
    match text {
        "" | "smtp" | "mail" => Some(25),
        "submission" => Some(587),
        "submissions" | "smtps" | "ssmtp" => Some(465),
        other => other.parse().ok().filter(|port| *port != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(software: &str, text: &str) -> Option<(String, u16, bool)> {
        next_hop(software, text).map(|hop| (hop.host, hop.port, hop.by_mx))
    }

    #[test]
    fn brackets_switch_the_question_for_mx_off() {
        let some = |host: &str, port, by_mx| Some((host.to_owned(), port, by_mx));
        assert_eq!(hop("postfix", "[smtp.example.com]:587"), some("smtp.example.com", 587, false));
        assert_eq!(hop("postfix", "[smtp.example.com]:submission"), some("smtp.example.com", 587, false));
        assert_eq!(hop("postfix", "example.com"), some("example.com", 25, true));
        assert_eq!(hop("postfix", "example.com:2525"), some("example.com", 2525, true));
        assert_eq!(hop("postfix", "192.0.2.1"), some("192.0.2.1", 25, false));
        assert_eq!(hop("postfix", "192.0.2.1:26"), some("192.0.2.1", 26, false));
        assert_eq!(hop("postfix", "[ipv6:2001:db8::1]:smtps"), some("2001:db8::1", 465, false));
        assert_eq!(hop("exim", "smart.example.com::587"), some("smart.example.com", 587, false));
        assert_eq!(hop("exim", "smart.example.com/MX"), some("smart.example.com", 25, true));
        assert_eq!(hop("sendmail", "esmtp:[192.0.2.1]"), some("192.0.2.1", 25, false));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for text in ["", "/var/run/lmtp", "$relay", "${lookup{x}}", "host:0", "host:x", "[host", "a/b"] {
            assert_eq!(next_hop("postfix", text), None, "{text}");
        }
    }
}
