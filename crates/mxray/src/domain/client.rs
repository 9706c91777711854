//! Who sends, as it was typed: address, HELO, reverse-path, and which of them is the identity that SPF is about.
//!
//! What must not live here: the evaluation.

use super::DomainArgs;
use crate::outside::ehlo_name;
use mxray_auth::spf::Spf;
use mxray_model::text::untrusted;
use mxray_net::{unicode_name, wire_name};
use serde::Serialize;
use std::net::IpAddr;

/// The longest text that is taken for a name or an address (RFC 5321 section 4.5.3.1.3 has 256).
const TEXT_BYTES_MAX: usize = 4096;

/// What the evaluated name was taken from (RFC 7208 sections 2.3 and 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A reverse-path was given.
    MailFrom,
    /// The name of HELO: the reverse-path is empty, or was not given.
    Helo,
    /// The name on the command line.
    Name,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::MailFrom => "MAIL FROM",
            Scope::Helo => "HELO",
            Scope::Name => "the name itself",
        }
    }
}

/// Names are A-labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub ip: IpAddr,
    pub helo: String,
    pub mail_from: String,
    pub scope: Scope,
    /// The name on the command line, when it is not what is evaluated.
    pub passed_over: Option<String>,
}

impl Wanted {
    /// # Errors
    /// Something is missing, or is no name.
    pub fn new(args: &DomainArgs) -> Result<Self, String> {
        let [ip] = *args.ip else {
            return Err("--ip ADDRESS has to be there once: whose mail is evaluated?".to_owned());
        };
        let name = match &*args.names {
            [] => None,
            [name] => Some(name),
            _ => return Err("--spf and --mail take one NAME".to_owned()),
        };
        for text in [name, args.helo.as_ref(), args.mail_from.as_ref()].into_iter().flatten() {
            if text.len() > TEXT_BYTES_MAX {
                return Err(format!("a name of {} bytes is none", text.len()));
            }
        }
        let name = name.map(|name| own_name(name)).transpose()?;
        let mail_from = args.mail_from.as_deref().map(path);
        let helo = args.helo.as_deref().map(foreign_name);
        let scope = match (&mail_from, &helo, &name) {
            (Some(path), _, _) if !path.is_empty() => Scope::MailFrom,
            (_, Some(_), _) => Scope::Helo,
            (_, None, Some(_)) => Scope::Name,
            (_, None, None) => return Err("what is evaluated? Say NAME, --helo or --mail-from".to_owned()),
        };
        let passed_over = name.clone().filter(|_| scope != Scope::Name);
        let mail_from = mail_from.unwrap_or_default();
        let helo = helo.or(name).unwrap_or_else(|| domain_of(&mail_from).to_owned());
        Ok(Wanted { ip, helo, mail_from, scope, passed_over })
    }

    pub fn query(&self, now_s: i64) -> Spf {
        let (ip, helo, mail_from) = (self.ip, self.helo.clone(), self.mail_from.clone());
        Spf { ip, helo, mail_from, receiver: ehlo_name(), now_s }
    }

    /// The identity in full, as `%{s}` has it.
    pub fn identity(&self) -> String {
        let address = match self.mail_from.rsplit_once('@') {
            _ if self.mail_from.is_empty() => format!("postmaster@{}", self.helo),
            Some(("", domain)) => format!("postmaster@{domain}"),
            Some(_) => self.mail_from.clone(),
            None => format!("postmaster@{}", self.mail_from),
        };
        untrusted(address.as_bytes())
    }
}

/// A name that the user means: it has to be one.
pub fn own_name(text: &str) -> Result<String, String> {
    let name = wire_name(text).map_err(|error| format!("{}: {error}", untrusted(text.as_bytes())))?;
    let name = name.trim_end_matches('.');
    match name.is_empty() || name.contains(['@', ' ', '/']) {
        true => Err(format!("{} is no domain name", untrusted(text.as_bytes()))),
        false => Ok(name.to_owned()),
    }
}

/// A name as a stranger says it: whatever cannot be one is evaluated as it stands.
fn foreign_name(text: &str) -> String {
    wire_name(text).unwrap_or_else(|_| text.to_owned())
}

/// A reverse-path, with or without its brackets; its local part is left alone.
fn path(text: &str) -> String {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    match bare.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", foreign_name(domain)),
        None => foreign_name(bare),
    }
}

fn domain_of(path: &str) -> &str {
    path.rsplit_once('@').map_or(path, |(_, domain)| domain)
}

/// An address, also as address literals have it (RFC 5321 section 4.1.3).
pub fn address(text: &str) -> Result<IpAddr, String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    let inner = if tagged { inner.get(5..).unwrap_or_default() } else { inner };
    inner.parse().map_err(|_| "not an address such as 192.0.2.25 or 2001:db8::25".to_owned())
}

/// A name with what it is read as, where that differs.
pub fn both_forms(name: &str) -> String {
    match unicode_name(name) {
        Some(unicode) => format!("{name} ({unicode})"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DomainArgs,
    }

    fn wanted(words: &[&str]) -> Result<Wanted, String> {
        let line = Line::try_parse_from([&["domain", "--spf", "--ip", "192.0.2.1"], words].concat()).unwrap();
        Wanted::new(&line.args)
    }

    #[test]
    fn the_identity_is_the_reverse_path_then_helo_then_the_name() {
        let identity = |words: &[&str]| wanted(words).map(|wanted| (wanted.identity(), wanted.scope)).unwrap();
        assert_eq!(identity(&["a.example"]), ("postmaster@a.example".into(), Scope::Name));
        assert_eq!(identity(&["a.example", "--helo", "h.example"]), ("postmaster@h.example".into(), Scope::Helo));
        let sender = ["a.example", "--helo", "h.example", "--mail-from", "<x@b.example>"];
        assert_eq!(identity(&sender), ("x@b.example".into(), Scope::MailFrom));
        assert_eq!(
            identity(&["--helo", "h.example", "--mail-from", "<>"]),
            ("postmaster@h.example".into(), Scope::Helo)
        );
        assert_eq!(identity(&["a.example", "--mail-from", ""]), ("postmaster@a.example".into(), Scope::Name));
        assert_eq!(identity(&["--mail-from", "@b.example"]), ("postmaster@b.example".into(), Scope::MailFrom));
        assert!(wanted(&["--mail-from", ""]).is_err());
        assert!(wanted(&[]).is_err());
    }

    #[test]
    fn names_may_be_international_and_strangers_may_say_anything() {
        let wanted = wanted(&["--helo", "\u{202e}x", "--mail-from", "\u{fc}@b\u{fc}cher.example"]).unwrap();
        assert_eq!((wanted.mail_from.as_str(), wanted.helo.as_str()), ("\u{fc}@xn--bcher-kva.example", "\u{202e}x"));
        assert_eq!(both_forms("xn--bcher-kva.example"), "xn--bcher-kva.example (b\u{fc}cher.example)");
        let own = |name: &str| super::own_name(name);
        assert_eq!(own("B\u{fc}cher.example.").as_deref(), Ok("xn--bcher-kva.example"));
        assert!(own("a@b.example").is_err() && own(".").is_err() && own("\u{202e}x.example").is_err());
    }

    #[test]
    fn addresses() {
        for text in ["2001:db8::1", "[2001:db8::1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(address(text), Ok("2001:db8::1".parse().unwrap()), "{text}");
        }
        assert!(address("mail.example.org").is_err());
    }
}
