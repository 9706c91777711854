//! The text of a record, read (RFC 7208 sections 4.5, 4.6.1, 5, 6 and 12). Every error has its column.
//!
//! What must not live here: lookups, and what a term does.

use super::macros::{MacroString, Within};
use mxray_model::text::untrusted;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Most terms that are read; a record of 64 KiB has fewer that mean something, and costs its owner every receiver.
const TERMS_MAX: usize = 2048;
/// Most errors that are told.
const ERRORS_MAX: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mechanism {
    All,
    Include(MacroString),
    /// No name: the domain itself.
    A(Option<MacroString>, Lengths),
    Mx(Option<MacroString>, Lengths),
    Ptr(Option<MacroString>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(MacroString),
}

/// `/24//64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub v4: u8,
    pub v6: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directive(Qualifier, Mechanism),
    Redirect(MacroString),
    Exp(MacroString),
    /// Section 6: unknown modifiers are ignored.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// From 1.
    pub column: u32,
    pub text: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub column: u32,
    pub text: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Made safe to print.
    pub text: String,
    pub terms: Vec<Term>,
    pub errors: Vec<SyntaxError>,
}

impl Record {
    pub fn redirect(&self) -> Option<(&Term, &MacroString)> {
        self.terms.iter().find_map(|term| match &term.what {
            What::Redirect(target) => Some((term, target)),
            _ => None,
        })
    }

    pub fn exp(&self) -> Option<&MacroString> {
        self.terms.iter().find_map(|term| match &term.what {
            What::Exp(target) => Some(target),
            _ => None,
        })
    }
}

/// Section 4.5: a record begins with exactly the version, and a space or the end follows.
pub(crate) fn is_record(bytes: &[u8]) -> bool {
    const VERSION: usize = 6;
    let begins = bytes.get(..VERSION).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"));
    begins && bytes.get(VERSION).is_none_or(|next| *next == b' ')
}

/// Why text that is meant to be a record is none. `None`: it is one, or it is not meant to be.
pub(crate) fn near_miss(bytes: &[u8]) -> Option<&'static str> {
    if is_record(bytes) {
        return None;
    }
    let lower = bytes.iter().take(80).map(u8::to_ascii_lowercase).collect::<Vec<_>>();
    let text = String::from_utf8_lossy(&lower);
    let trimmed = text.trim_start_matches(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '\'' | '\u{feff}'));
    if trimmed.starts_with("v=spf1") {
        return Some(match trimmed.len() == text.len() {
            true => "after v=spf1 comes neither a space nor the end",
            false => "something stands before v=spf1: a space, a quote, an invisible character",
        });
    }
    let squeezed: String = trimmed.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let looks = ["v=spf", "spf1", "v-spf1", "v:spf1", "v=sfp1", "spf=v1", "=spf1"];
    looks.iter().any(|start| squeezed.starts_with(start)).then_some("it does not begin with v=spf1 and a space")
}

/// Reads a record; that it is one is known.
pub(crate) fn parse(bytes: &[u8]) -> Record {
    let mut record = Record { text: untrusted(bytes), terms: Vec::new(), errors: Vec::new() };
    let mut at = 0;
    let mut seen = 0;
    for piece in bytes.split(|byte| *byte == b' ') {
        let start = at;
        at += piece.len() + 1;
        if piece.is_empty() || start == 0 {
            continue;
        }
        seen += 1;
        let column = u32::try_from(start + 1).unwrap_or(u32::MAX);
        let read = if seen > TERMS_MAX { Err((0, format!("more than {TERMS_MAX} terms"))) } else { term(piece) };
        match read {
            Ok(what) => {
                twice(&mut record, &what, column, piece);
                record.terms.push(Term { column, text: untrusted(piece), what });
            }
            Err((offset, why)) => {
                let column = column.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
                if record.errors.len() < ERRORS_MAX {
                    record.errors.push(SyntaxError { column, text: untrusted(piece), why });
                }
                if seen > TERMS_MAX {
                    break;
                }
            }
        }
    }
    record
}

/// Section 6: `redirect` and `exp` stand at most once each.
fn twice(record: &mut Record, what: &What, column: u32, piece: &[u8]) {
    let again = match what {
        What::Redirect(_) => record.redirect().is_some(),
        What::Exp(_) => record.exp().is_some(),
        What::Directive(..) | What::Unknown => false,
    };
    if again && record.errors.len() < ERRORS_MAX {
        let why = "the modifier stands there twice (section 6)".to_owned();
        record.errors.push(SyntaxError { column, text: untrusted(piece), why });
    }
}

/// Why a term is none, and the offset in it.
type Wrong = (usize, String);

fn wrong<T>(at: usize, why: &str) -> Result<T, Wrong> {
    Err((at, why.to_owned()))
}

fn term(piece: &[u8]) -> Result<What, Wrong> {
    if let Some(at) = piece.iter().position(|byte| !byte.is_ascii_graphic()) {
        return wrong(at, "a character that is not visible ASCII (terms are separated by spaces alone)");
    }
    // All of it is ASCII by now.
    let Ok(text) = std::str::from_utf8(piece) else { return wrong(0, "not ASCII") };
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if let Some(end) = name_end
        && begins
        && text.as_bytes().get(end) == Some(&b'=')
    {
        return modifier(&text[..end], &text[end + 1..], end + 1);
    }
    let (qualifier, rest) = match text.as_bytes().first() {
        Some(b'+') => (Qualifier::Pass, &text[1..]),
        Some(b'-') => (Qualifier::Fail, &text[1..]),
        Some(b'~') => (Qualifier::SoftFail, &text[1..]),
        Some(b'?') => (Qualifier::Neutral, &text[1..]),
        _ => (Qualifier::Pass, text),
    };
    mechanism(rest, text.len() - rest.len()).map(|mechanism| What::Directive(qualifier, mechanism))
}

fn modifier(name: &str, value: &str, at: usize) -> Result<What, Wrong> {
    if name.eq_ignore_ascii_case("redirect") {
        return domain_spec(value, at).map(What::Redirect);
    }
    if name.eq_ignore_ascii_case("exp") {
        return domain_spec(value, at).map(What::Exp);
    }
    match MacroString::parse(value, Within::Record) {
        Ok(_) => Ok(What::Unknown),
        Err(error) => Err((at + error.at, error.why)),
    }
}

fn mechanism(text: &str, at: usize) -> Result<Mechanism, Wrong> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let after = at + end;
    // What follows the name: `:argument`, `/length`, nothing.
    let argument = rest.strip_prefix(':');
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "all" if rest.is_empty() => Ok(Mechanism::All),
        "all" => wrong(after, "`all` takes nothing behind it (section 5.1)"),
        "include" | "exists" => {
            let Some(argument) = argument else { return wrong(after, "the name of a domain is missing") };
            let target = domain_spec(argument, after + 1)?;
            Ok(if lower == "include" { Mechanism::Include(target) } else { Mechanism::Exists(target) })
        }
        "a" | "mx" => {
            let (spec, lengths) = dual_cidr(rest, after)?;
            let target = match spec.strip_prefix(':') {
                Some(spec) => Some(domain_spec(spec, after + 1)?),
                None if spec.is_empty() => None,
                None => return wrong(after, "after the name comes `:` or `/`"),
            };
            Ok(if lower == "a" { Mechanism::A(target, lengths) } else { Mechanism::Mx(target, lengths) })
        }
        "ptr" => match argument {
            Some(argument) => domain_spec(argument, after + 1).map(|target| Mechanism::Ptr(Some(target))),
            None if rest.is_empty() => Ok(Mechanism::Ptr(None)),
            None => wrong(after, "`ptr` takes no prefix length (section 5.5)"),
        },
        "ip4" => {
            let Some(argument) = argument else { return wrong(after, "the address is missing") };
            let (address, length) = network(argument, 32, after + 1)?;
            match address.parse() {
                Ok(address) => Ok(Mechanism::Ip4(address, length)),
                Err(_) => wrong(after + 1, "no IPv4 address"),
            }
        }
        "ip6" => {
            let Some(argument) = argument else { return wrong(after, "the address is missing") };
            let (address, length) = network(argument, 128, after + 1)?;
            match address.parse() {
                Ok(address) => Ok(Mechanism::Ip6(address, length)),
                Err(_) => wrong(after + 1, "no IPv6 address"),
            }
        }
        _ => wrong(at, "no such mechanism (section 4.6.1)"),
    }
}

/// `address` or `address/length`.
fn network(text: &str, most: u8, at: usize) -> Result<(&str, u8), Wrong> {
    match text.split_once('/') {
        Some((address, length)) => Ok((address, cidr(length, most, at + address.len() + 1)?)),
        None => Ok((text, most)),
    }
}

/// No leading zeros, and no more than the family has bits.
fn cidr(text: &str, most: u8, at: usize) -> Result<u8, Wrong> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return wrong(at, "a prefix length is a number without leading zeros");
    }
    match text.parse::<u8>() {
        Ok(length) if length <= most => Ok(length),
        _ => Err((at, format!("a prefix length is at most {most}"))),
    }
}

/// Splits `[/24][//64]` off the end. The names before may have slashes of their own, which is why it is read from the end.
fn dual_cidr(rest: &str, at: usize) -> Result<(&str, Lengths), Wrong> {
    let numbered = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut lengths = Lengths { v4: 32, v6: 128 };
    let mut spec = rest;
    if let Some((before, number)) = spec.rsplit_once("//")
        && numbered(number)
    {
        lengths.v6 = cidr(number, 128, at + before.len() + 2)?;
        spec = before;
    }
    if let Some((before, number)) = spec.rsplit_once('/')
        && numbered(number)
        && !within_macro(before)
    {
        lengths.v4 = cidr(number, 32, at + before.len() + 1)?;
        spec = before;
    }
    Ok((spec, lengths))
}

/// A slash may be a macro's delimiter.
fn within_macro(before: &str) -> bool {
    before.rfind("%{").is_some_and(|open| !before[open..].contains('}'))
}

/// Section 7.1: a macro string that ends in a macro or in a dot and a top label.
fn domain_spec(text: &str, at: usize) -> Result<MacroString, Wrong> {
    if text.is_empty() {
        return wrong(at, "the name of a domain is missing");
    }
    let read = MacroString::parse(text, Within::Record).map_err(|error| (at + error.at, error.why))?;
    let ends_well = match read.0.last() {
        Some(super::macros::Piece::Macro(_)) => true,
        // `%%`, `%_`, `%-` are macro-expands too.
        Some(super::macros::Piece::Escaped(_)) => true,
        Some(super::macros::Piece::Literal(tail)) => {
            let tail = tail.strip_suffix('.').unwrap_or(tail);
            tail.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
        }
        None => false,
    };
    match ends_well {
        true => Ok(read),
        false => wrong(at, "the name of a domain ends in a dot and a top-level label, or in a macro (section 7.1)"),
    }
}

fn is_top_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let fits = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let ends =
        bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    fits && ends && bytes.iter().any(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}
