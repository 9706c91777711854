//! One entry of the assignments file, key by key.

use super::Reading;
use super::words::{TLS, V6};
use crate::config::keys::{self, Wrong};
use crate::config::parse;
use mxray_model::evidence::{Assignment, Exposure, Forbidden, PortOwner, V6Policy};
use mxray_model::text::untrusted;
use std::collections::BTreeSet;
use std::net::IpAddr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const SERVICE_KEYS: [&str; 12] = [
    "name",
    "protocol",
    "port",
    "dynamic",
    "addresses",
    "v6",
    "exposure",
    "tls",
    "owner",
    "purpose",
    "contact",
    "note",
];
const OWNER_KEYS: [&str; 3] = ["unit", "user", "package"];
const FORBIDDEN_KEYS: [&str; 4] = ["port", "protocol", "except", "reason"];
/// A sentence, not a page.
const TEXT_BYTES_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 64;

type Value<'i> = Spanned<DeValue<'i>>;

impl Reading<'_> {
    pub(super) fn service(&mut self, value: &Value<'_>) -> Option<(String, Assignment)> {
        let table = value.get_ref().as_table()?;
        self.unknown_keys(table, &SERVICE_KEYS, "a [[service]]");
        let before = self.complaints.len();
        let name = match table.get("name") {
            Some(name) => self.take(self::name(name)),
            None => self.missing(value, "name", "a service has one, such as name = \"smtp\""),
        };
        let protocol = self.protocol(table);
        let ports = self.ports(value, table);
        let addresses = table.get("addresses").and_then(|value| self.take(addresses(value))).unwrap_or_default();
        let v6 = table.get("v6").and_then(|value| self.take(word(value, &V6))).unwrap_or_default();
        let exposure = match table.get("exposure") {
            Some(value) => self.take(exposure(value)),
            None => self.missing(value, "exposure", "\"loopback\", \"private\", \"public\" or a list of prefixes"),
        };
        let tls = table.get("tls").and_then(|value| self.take(word(value, &TLS)));
        let owner = table.get("owner").map(|value| self.owner(value)).unwrap_or_default();
        let purpose = self.text(table, "purpose");
        let contact = self.text(table, "contact");
        self.text(table, "note");
        if v6 == V6Policy::None
            && let Some(address) = addresses.iter().find(|address| address.is_ipv6())
            && let Some(at) = table.get("addresses")
        {
            self.complain(at.span(), &format!("{address} is of IPv6, and v6 = \"none\""), None);
        }
        if self.complaints.len() > before {
            return None;
        }
        let at = self.line(&value.span());
        let (name, ports, exposure) = (name?, ports?, exposure?);
        Some((name, Assignment { at, protocol, ports, addresses, owner, v6, exposure, tls, purpose, contact }))
    }

    pub(super) fn forbidden(&mut self, value: &Value<'_>) -> Option<Forbidden> {
        let table = value.get_ref().as_table()?;
        self.unknown_keys(table, &FORBIDDEN_KEYS, "a [[forbidden]]");
        let before = self.complaints.len();
        let port = match table.get("port") {
            Some(port) => self.take(self::port(port)),
            None => self.missing(value, "port", "an entry forbids one port, such as port = 110"),
        };
        let protocol = self.protocol(table);
        let except = table.get("except").and_then(|value| self.take(word(value, &[("loopback", true)])));
        let reason = self.text(table, "reason");
        if self.complaints.len() > before {
            return None;
        }
        let at = self.line(&value.span());
        Some(Forbidden { at, protocol, port: port?, except_loopback: except.unwrap_or(false), reason })
    }

    fn missing<T>(&mut self, value: &Value<'_>, key: &str, help: &str) -> Option<T> {
        self.complain(value.span(), &format!("an entry without `{key}`"), Some(help.to_owned()));
        None
    }

    fn protocol(&mut self, table: &DeTable<'_>) -> String {
        let read = |value| word(value, &[("tcp", "tcp"), ("udp", "udp")]);
        table.get("protocol").and_then(|value| self.take(read(value))).unwrap_or("tcp").to_owned()
    }

    fn ports(&mut self, value: &Value<'_>, table: &DeTable<'_>) -> Option<(u16, u16)> {
        match (table.get("port"), table.get("dynamic")) {
            (Some(value), None) => self.take(port(value)).map(|port| (port, port)),
            (None, Some(value)) => self.take(range(value)),
            (Some(_), Some(dynamic)) => {
                let help = "a service has one port, or chooses one of a range";
                self.complain(dynamic.span(), "both `port` and `dynamic`", Some(help.to_owned()));
                None
            }
            (None, None) => self.missing(value, "port", "port = 25, or dynamic = \"20000-20099\""),
        }
    }

    fn owner(&mut self, value: &Value<'_>) -> PortOwner {
        let Some(table) = value.get_ref().as_table() else {
            let help = "owner = { unit = \"postfix.service\", user = \"root\", package = \"postfix\" }";
            self.complain(value.span(), "`owner` is a table of unit, user and package", Some(help.to_owned()));
            return PortOwner::default();
        };
        self.unknown_keys(table, &OWNER_KEYS, "an owner");
        PortOwner {
            unit: self.text(table, "unit"),
            user: self.text(table, "user"),
            package: self.text(table, "package"),
        }
    }

    fn text(&mut self, table: &DeTable<'_>, key: &str) -> String {
        table.get(key).and_then(|value| self.take(text(value))).unwrap_or_default()
    }
}

fn text(value: &Value<'_>) -> Result<String, Wrong> {
    let text = keys::string(value)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(Wrong::at(value.span(), format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(untrusted(text.as_bytes()))
}

fn name(value: &Value<'_>) -> Result<String, Wrong> {
    let name = text(value)?;
    if name.trim().is_empty() {
        return Err(Wrong::at(value.span(), "a name of nothing"));
    }
    Ok(name)
}

/// One of a few words.
fn word<T: Copy>(value: &Value<'_>, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = keys::string(value)?;
    words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let near =
            mxray_model::nearest::nearest(text, all.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
        Wrong { at: value.span(), what: format!("\"{text}\" is not one of {}", all.join(", ")), help: near }
    })
}

fn port(value: &Value<'_>) -> Result<u16, Wrong> {
    let number = keys::integer(value)?;
    possible(number).ok_or_else(|| Wrong::at(value.span(), format!("{number} is no port: they go from 1 to 65535")))
}

fn possible(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

/// `20000-20099`
fn range(value: &Value<'_>) -> Result<(u16, u16), Wrong> {
    let text = keys::string(value)?;
    let wrong = |what: String| Wrong::at(value.span(), what);
    let ends = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse::<i64>().ok()?, last.trim().parse::<i64>().ok()?)));
    let (first, last) = ends.ok_or_else(|| wrong("not a range such as \"20000-20099\"".to_owned()))?;
    let (Some(low), Some(high)) = (possible(first), possible(last)) else {
        let bad = if possible(first).is_none() { first } else { last };
        return Err(wrong(format!("{bad} is no port: they go from 1 to 65535")));
    };
    if low > high { Err(wrong(format!("the range ends before it begins: {low} to {high}"))) } else { Ok((low, high)) }
}

fn addresses(value: &Value<'_>) -> Result<BTreeSet<IpAddr>, Wrong> {
    let items = keys::items(value)?;
    if items.len() > ADDRESSES_MAX {
        return Err(Wrong::at(value.span(), format!("more than {ADDRESSES_MAX} addresses")));
    }
    items
        .iter()
        .map(|item| {
            let text = keys::string(item)?;
            let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
            bare.parse().map_err(|_| {
                let help = "a network that may reach the port belongs into `exposure`";
                Wrong {
                    at: item.span(),
                    what: format!("\"{text}\" is not an address such as 192.0.2.25 or 2001:db8::25"),
                    help: text.contains('/').then(|| help.to_owned()),
                }
            })
        })
        .collect()
}

fn exposure(value: &Value<'_>) -> Result<Exposure, Wrong> {
    if value.get_ref().as_array().is_some() {
        let prefixes = keys::each(value, parse::prefix)?;
        if prefixes.is_empty() {
            let what = "an empty list of prefixes; nobody but this machine is \"loopback\"";
            return Err(Wrong::at(value.span(), what));
        }
        return Ok(Exposure::Prefixes(prefixes.iter().map(ToString::to_string).collect()));
    }
    let words = [("loopback", 0), ("private", 1), ("public", 2)];
    Ok(match word(value, &words)? {
        0 => Exposure::Loopback,
        1 => Exposure::Private,
        _ => Exposure::Public,
    })
}
