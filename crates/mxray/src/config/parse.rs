//! Single values of the configuration and of options, from text to what they mean. Errors say what would be right.

use mxray_model::{Prefix, Severity};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Nothing can be seen in less.
const DEADLINE_SECONDS_MIN: f64 = 0.001;
/// A day: whoever waits longer has asked for something else.
const DEADLINE_SECONDS_MAX: f64 = 86_400.0;
/// Ten years of logs.
const SPAN_SECONDS_MAX: u64 = 10 * 366 * 86_400;
const DNS_PORT: u16 = 53;

/// A network with no bit set behind its length: more often a slip than meant.
pub fn prefix(text: &str) -> Result<Prefix, String> {
    let wrong = "not a prefix such as 198.51.100.0/24 or 2001:db8::/32";
    let prefix: Prefix = text.parse().map_err(|_| wrong.to_owned())?;
    let network = prefix.network();
    match text.contains('/') {
        false => Err(wrong.to_owned()),
        true if network != prefix => Err(format!("bits are set behind the prefix; write {network}")),
        true => Ok(prefix),
    }
}

/// A resolver: an address, with a port where it is not 53.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, DNS_PORT));
    }
    text.parse().map_err(|_| "not an address such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53".to_owned())
}

/// A duration in whole seconds, that remembers how it is best written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    seconds: u64,
}

impl Span {
    pub const fn hours(hours: u64) -> Self {
        Span { seconds: hours * 3600 }
    }

    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) =
            UNITS.iter().find(|(unit, _)| self.seconds.is_multiple_of(*unit)).copied().unwrap_or((1, "s"));
        write!(f, "{}{name}", self.seconds / unit)
    }
}

/// Days are not among what is written: "24h" is how people say it in a log's context.
const UNITS: [(u64, &str); 3] = [(3600, "h"), (60, "m"), (1, "s")];

pub fn span(text: &str) -> Result<Span, String> {
    let wrong = || "not a duration such as 90s, 15m, 24h or 7d".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit) {
        Some(0) => Err("a duration of nothing sees nothing".to_owned()),
        Some(seconds) if seconds <= SPAN_SECONDS_MAX => Ok(Span { seconds }),
        _ => Err("longer than ten years".to_owned()),
    }
}

/// Seconds, as an option or a variable has them.
pub fn deadline(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    deadline_of(seconds)
}

pub fn deadline_of(seconds: f64) -> Result<Duration, String> {
    if (DEADLINE_SECONDS_MIN..=DEADLINE_SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("not between {DEADLINE_SECONDS_MIN} and {DEADLINE_SECONDS_MAX} seconds"))
    }
}

/// From which severity the exit code is 1. `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailOn(pub Option<Severity>);

pub const LEVELS: [(&str, Option<Severity>); 6] = [
    ("critical", Some(Severity::Critical)),
    ("error", Some(Severity::Error)),
    ("warning", Some(Severity::Warning)),
    ("notice", Some(Severity::Notice)),
    ("info", Some(Severity::Info)),
    ("never", None),
];

pub fn fail_on(text: &str) -> Result<FailOn, String> {
    let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, level)| FailOn(*level)).ok_or_else(|| {
        let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
        format!("not one of {}", names.join(", "))
    })
}

pub fn fail_on_name(level: Option<Severity>) -> &'static str {
    level.map_or("never", Severity::as_str)
}

/// Where a secret is to be read when it is needed. The secret itself is never part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    Variable(String),
    File(PathBuf),
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Variable(name) => write!(f, "env:{name}"),
            Secret::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// The errors repeat nothing of the text: it may be the secret itself.
pub fn secret(text: &str) -> Result<Secret, String> {
    if let Some(name) = text.strip_prefix("env:") {
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Ok(Secret::Variable(name.to_owned()));
        }
        return Err("what follows env: is not the name of an environment variable".to_owned());
    }
    if let Some(path) = text.strip_prefix("file:") {
        let path = PathBuf::from(path);
        if path.is_absolute() {
            return Ok(Secret::File(path));
        }
        return Err("what follows file: is not an absolute path".to_owned());
    }
    Err("a secret in plain text is refused; write \"env:NAME\" or \"file:/path\"".to_owned())
}

/// What a list lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    Ipv4,
    Ipv6,
    Domain,
    Allow,
}

impl ListKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ListKind::Ipv4 => "ipv4",
            ListKind::Ipv6 => "ipv6",
            ListKind::Domain => "domain",
            ListKind::Allow => "allow",
        }
    }
}

pub fn list_kind(text: &str) -> Result<ListKind, String> {
    [ListKind::Ipv4, ListKind::Ipv6, ListKind::Domain, ListKind::Allow]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| "not one of ipv4, ipv6, domain, allow".to_owned())
}

/// One more blocklist or allow list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedZone {
    pub zone: String,
    pub kind: ListKind,
    /// Meanings of its answers.
    pub codes: BTreeMap<Ipv4Addr, String>,
    /// 1: decides about mail at large receivers; 3: hardly anywhere.
    pub tier: u8,
}

/// An answer of a list: within 127.0.0.0/8 (RFC 5782, 2.1).
pub fn list_code(text: &str) -> Result<Ipv4Addr, String> {
    let code = text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback);
    code.ok_or_else(|| "not an answer of a list, such as 127.0.0.2".to_owned())
}

/// A domain name, as far as its form tells (RFC 1035, 2.3.4; underscores occur).
pub fn domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
    };
    if name.len() <= 253 && name.contains('.') && name.split('.').all(label) {
        Ok(name.to_lowercase())
    } else {
        Err("not a domain name such as example.org".to_owned())
    }
}

/// A mail address or a domain.
pub fn target(text: &str) -> Result<String, String> {
    let wrong = |_| "neither an address such as user@example.org nor a domain such as example.org".to_owned();
    match text.rsplit_once('@') {
        Some((local, name)) if !local.is_empty() && !local.contains(char::is_whitespace) => {
            domain(name).map(|name| format!("{local}@{name}")).map_err(wrong)
        }
        Some(_) => Err(wrong(String::new())),
        None => domain(text).map_err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for right in ["198.51.100.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.1/32"] {
            assert_eq!(prefix(right).unwrap().to_string(), right);
        }
        assert_eq!(prefix("198.51.100.7/24").unwrap_err(), "bits are set behind the prefix; write 198.51.100.0/24");
        for wrong in ["198.51.100.0", "198.51.100.0/33", "x/8", "2001:db8::/129", "1.2.3.4/-1"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(span("24h"), Ok(Span::hours(24)));
        assert_eq!(span("7d"), Ok(Span::hours(7 * 24)));
        assert_eq!(span("90s").unwrap().to_string(), "90s");
        assert_eq!(span("120s").unwrap().to_string(), "2m");
        for wrong in ["", "h", "24", "24 h", "-1h", "1y", "0h", "99999999999999999999d", "999999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn resolvers() {
        assert_eq!(server("192.0.2.53").unwrap().to_string(), "192.0.2.53:53");
        assert_eq!(server("[2001:db8::53]:5353").unwrap().to_string(), "[2001:db8::53]:5353");
        assert!(server("dns.example").is_err());
    }

    #[test]
    fn secrets_are_places_and_errors_do_not_repeat_them() {
        assert_eq!(secret("env:PASS").unwrap().to_string(), "env:PASS");
        assert_eq!(secret("file:/run/secret").unwrap().to_string(), "file:/run/secret");
        for wrong in ["hunter2", "env:hunter2 x", "file:hunter2"] {
            let error = secret(wrong).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn targets_are_addresses_or_domains() {
        assert_eq!(target("User@Example.ORG").unwrap(), "User@example.org");
        assert_eq!(target("example.org.").unwrap(), "example.org");
        for wrong in ["", "@example.org", "a b@example.org", "user@", "localhost", "a..b", "exa mple.org"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn deadlines_have_bounds() {
        assert_eq!(deadline("10"), Ok(Duration::from_secs(10)));
        assert_eq!(deadline("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "86401", "1e-9", "1e300", "NaN", "inf", "", "ten"] {
            assert!(deadline(wrong).is_err(), "{wrong}");
        }
    }
}
