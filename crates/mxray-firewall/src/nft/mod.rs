//! nf_tables' netlink messages, read into a [`Ruleset`].
//!
//! The kernel's messages are the input, whole and in the order in which they came: dumps of tables, chains, rules, sets, their
//! elements, objects. Reading sockets is `mxray-host`'s. What lies outside a message's own bounds is never looked at.

mod attributes;
mod expressions;
pub mod request;
#[cfg(test)]
mod tests;
mod text;

use crate::expression::Expression;
use crate::ruleset::{
    Base, Chain, ChainKind, Element, Family, Framework, Hook, LeftOut, Object, Policy, Rule, Ruleset, Set, Table,
};
use attributes::{Attributes, messages, native_u32, user_data};
pub(crate) use expressions::REGISTER_BYTES;
use std::collections::BTreeMap;
pub(crate) use text::text;

/// More rules than any host has that still works; what is beyond is left out, and said so.
const RULES_MAX: usize = 400_000;
/// The largest block lists have some hundred thousand entries.
const ELEMENTS_MAX: usize = 1_500_000;
/// What was left out is listed up to here; one more entry says that there was more.
const LEFT_OUT_MAX: usize = 64;

/// `NFNL_SUBSYS_NFTABLES << 8`
const NFTABLES: u16 = 10 << 8;
/// `NLM_F_DUMP_INTR`
const INTERRUPTED: u16 = 0x10;

/// Collects messages until the ruleset is complete.
#[derive(Debug)]
pub struct Decoder {
    tables: Vec<Table>,
    index: BTreeMap<(Family, String), usize>,
    left_out: Vec<LeftOut>,
    rules: usize,
    elements: usize,
}

/// What a datagram said of the dump that it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fed {
    /// The dump is at its end (`NLMSG_DONE`).
    pub done: bool,
    /// The ruleset changed meanwhile (`NLM_F_DUMP_INTR`): what was read may be no ruleset that ever was.
    pub interrupted: bool,
    /// The kernel refused, by errno.
    pub error: Option<i32>,
    /// The number of the ruleset's generation, from `NFT_MSG_NEWGEN`.
    pub generation: Option<u32>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    pub fn new() -> Self {
        Decoder { tables: Vec::new(), index: BTreeMap::new(), left_out: Vec::new(), rules: 0, elements: 0 }
    }

    /// Takes one datagram: any number of netlink messages.
    pub fn feed(&mut self, datagram: &[u8]) -> Fed {
        let mut fed = Fed::default();
        let (found, broken) = messages(datagram);
        for message in found {
            fed.interrupted |= message.flags & INTERRUPTED != 0;
            match message.kind {
                // NLMSG_ERROR, with 0 for an acknowledgement; NLMSG_DONE, with what ended the dump.
                2 | 3 => {
                    fed.done = true;
                    let code = native_u32(message.body).map_or(0, |number| i32::from_ne_bytes(number.to_ne_bytes()));
                    fed.error = (code < 0).then(|| code.saturating_neg()).or(fed.error);
                }
                kind if kind & 0xff00 == NFTABLES => self.message(kind & 0xff, message.body, &mut fed),
                _ => {}
            }
        }
        if broken {
            self.leave_out("the rest of a datagram", "it is no netlink message");
        }
        fed
    }

    fn message(&mut self, kind: u16, body: &[u8], fed: &mut Fed) {
        // struct nfgenmsg: family, version, resource.
        let (Some(family), Some(rest)) = (body.first(), body.get(4..)) else { return };
        let family = Family::from_number(*family);
        let attributes = Attributes(rest);
        match kind {
            0 => self.table(family, attributes),
            3 => self.chain(family, attributes),
            6 => self.rule(family, attributes),
            9 => self.set(family, attributes),
            12 => self.elements(family, attributes),
            15 => fed.generation = attributes.u32(1),
            18 => self.object(family, attributes),
            _ => {}
        }
    }

    /// The sets that were seen so far, whose elements have to be asked for one by one: family, table, set.
    pub fn sets(&self) -> Vec<(Family, String, String)> {
        let of = |table: &Table| {
            let (family, name) = (table.family, table.name.clone());
            table.sets.iter().map(move |set| (family, name.clone(), set.name.clone())).collect::<Vec<_>>()
        };
        self.tables.iter().flat_map(of).collect()
    }

    /// Says that something could not be asked for.
    pub fn leave_out(&mut self, what: &str, why: &str) {
        self.leave_out_of(None, what, why, true);
    }

    /// Says that a set's elements could not be read: what is not found in it may be in it all the same.
    pub fn leave_out_elements(&mut self, family: Family, table: &str, set: &str, why: &str) {
        let Some(found) = self.index.get(&(family, table.to_owned())).and_then(|at| self.tables.get_mut(*at)) else {
            return;
        };
        if let Some(set) = found.set_index.get(set).and_then(|at| found.sets.get_mut(*at)) {
            set.incomplete = true;
        }
        self.leave_out_of(None, &format!("elements of {} {table} {set}", family.name()), why, false);
    }

    fn leave_out_of(&mut self, table: Option<String>, what: &str, why: &str, rules: bool) {
        if self.left_out.len() < LEFT_OUT_MAX {
            self.left_out.push(LeftOut { what: what.to_owned(), why: why.to_owned(), table, rules });
        } else if self.left_out.len() == LEFT_OUT_MAX {
            let (what, why) = ("more".to_owned(), "the list ends here".to_owned());
            self.left_out.push(LeftOut { what, why, table: None, rules: true });
        }
    }

    pub fn finish(mut self) -> Ruleset {
        for table in &mut self.tables {
            table.index();
        }
        Ruleset { framework: Framework::NfTables, tables: self.tables, left_out: self.left_out }
    }

    /// The table that an attribute names, made where its own message was not seen.
    fn of(&mut self, family: Family, name: Option<String>) -> Option<&mut Table> {
        let key = (family, name?);
        let at = match self.index.get(&key) {
            Some(at) => *at,
            None => {
                self.tables.push(Table::new(Framework::NfTables, family, key.1.clone()));
                self.index.insert(key, self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        self.tables.get_mut(at)
    }

    fn table(&mut self, family: Family, attributes: Attributes<'_>) {
        let dormant = attributes.u32(2).unwrap_or(0) & 1 != 0;
        if let Some(table) = self.of(family, attributes.text(1)) {
            table.dormant = dormant;
        }
    }

    fn chain(&mut self, family: Family, attributes: Attributes<'_>) {
        let Some(name) = attributes.text(3) else { return };
        let Some(table) = self.of(family, attributes.text(1)) else { return };
        let chain = Chain {
            name: name.clone(),
            handle: attributes.u64(2),
            base: base(family, attributes),
            rules: Vec::new(),
            packets: attributes.get(8).and_then(|inner| Attributes(inner).u64(2)),
        };
        match table.chain_index.get(&name).and_then(|at| table.chains.get_mut(*at)) {
            // A rule came first.
            Some(known) => *known = Chain { rules: std::mem::take(&mut known.rules), ..chain },
            None => {
                table.chain_index.insert(name, table.chains.len());
                table.chains.push(chain);
            }
        }
    }

    fn rule(&mut self, family: Family, attributes: Attributes<'_>) {
        let (Some(table), Some(name)) = (attributes.text(1), attributes.text(2)) else { return };
        if self.rules >= RULES_MAX {
            let key = format!("nft {} {table}", family.name());
            let what = format!("rules of {} {table}", family.name());
            if !self.left_out.iter().any(|left| left.what == what) {
                self.leave_out_of(Some(key), &what, &format!("more than {RULES_MAX} rules"), true);
            }
            return;
        }
        self.rules += 1;
        let Some(table) = self.of(family, Some(table)) else { return };
        let at = match table.chain_index.get(&name) {
            Some(at) => *at,
            None => {
                table.chain_index.insert(name.clone(), table.chains.len());
                table.chains.push(Chain { name, handle: None, base: None, rules: Vec::new(), packets: None });
                table.chains.len() - 1
            }
        };
        let Some(chain) = table.chains.get_mut(at) else { return };
        let v6 = family == Family::Ip6;
        let expressions = expressions::list(attributes.nested(4), v6, 0);
        let comment = attributes
            .get(7)
            .and_then(|bytes| user_data(bytes, 0))
            .map(attributes::text)
            .or_else(|| comment_match(&expressions));
        let position = u32::try_from(chain.rules.len() + 1).unwrap_or(u32::MAX);
        chain.rules.push(Rule { handle: attributes.u64(3), position, expressions, comment, written: None, line: None });
    }

    fn set(&mut self, family: Family, attributes: Attributes<'_>) {
        let Some(name) = attributes.text(2) else { return };
        let flags = attributes.u32(3).unwrap_or(0);
        let length = |kind| attributes.u32(kind).and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        let fields = attributes.nested(9).nested(2);
        let set = Set {
            name: name.clone(),
            anonymous: flags & 1 != 0,
            interval: flags & 4 != 0,
            map: flags & (8 | 0x40) != 0,
            timeout: flags & 0x10 != 0,
            dynamic: flags & 0x20 != 0,
            key_type: attributes.u32(4).unwrap_or(0),
            key_len: length(5),
            fields: fields.take(16).filter_map(|(_, field)| usize::try_from(Attributes(field).u32(1)?).ok()).collect(),
            data_type: attributes.u32(6).unwrap_or(0),
            elements: Vec::new(),
            catch_all: None,
            incomplete: false,
            comment: attributes.get(13).and_then(|bytes| user_data(bytes, 7)).map(attributes::text),
        };
        let Some(table) = self.of(family, attributes.text(1)) else { return };
        if !table.set_index.contains_key(&name) {
            table.set_index.insert(name, table.sets.len());
            table.sets.push(set);
        }
    }

    fn elements(&mut self, family: Family, attributes: Attributes<'_>) {
        let (Some(table), Some(name)) = (attributes.text(1), attributes.text(2)) else { return };
        let room = ELEMENTS_MAX.saturating_sub(self.elements);
        let mut taken = 0;
        let mut cut = false;
        {
            let Some(table) = self.of(family, Some(table.clone())) else { return };
            let Some(set) = table.set_index.get(&name).and_then(|at| table.sets.get_mut(*at)) else { return };
            for (_, one) in attributes.nested(3) {
                if taken == room {
                    cut = true;
                    set.incomplete = true;
                    break;
                }
                if let Some(element) = element(Attributes(one), family == Family::Ip6) {
                    set.elements.push(element);
                    taken += 1;
                } else {
                    set.incomplete = true;
                }
            }
        }
        self.elements += taken;
        let what = format!("elements of {} {table} {name}", family.name());
        if cut && !self.left_out.iter().any(|left| left.what == what) {
            self.leave_out_of(None, &what, &format!("more than {ELEMENTS_MAX} elements"), false);
        }
    }

    fn object(&mut self, family: Family, attributes: Attributes<'_>) {
        let (Some(name), Some(kind)) = (attributes.text(2), attributes.u32(3)) else { return };
        let data = attributes.nested(4);
        let expression = match kind {
            1 => expressions::stateful("counter", data),
            2 => expressions::stateful("quota", data),
            4 => expressions::stateful("limit", data),
            5 => expressions::stateful("connlimit", data),
            3 => harmless("ct helper"),
            6 => harmless("tunnel"),
            7 => harmless("ct timeout"),
            8 => harmless("secmark"),
            9 => harmless("ct expectation"),
            _ => None,
        };
        let expression = expression.unwrap_or_else(|| Expression::Unknown {
            name: if kind == 10 { "synproxy".to_owned() } else { format!("object of type {kind}") },
            to: None,
            decides: true,
        });
        if let Some(table) = self.of(family, attributes.text(1)) {
            table.objects.push(Object { name, kind, expression });
        }
    }
}

fn harmless(name: &str) -> Option<Expression> {
    Some(Expression::Harmless { name: name.to_owned(), words: name.to_owned() })
}

/// `-m comment`, which `iptables-nft` writes as a match.
fn comment_match(expressions: &[Expression]) -> Option<String> {
    expressions.iter().find_map(|expression| match expression {
        Expression::Match(crate::xt::Match::Comment(text)) => Some(text.clone()),
        _ => None,
    })
}

/// What makes a chain a base chain.
fn base(family: Family, attributes: Attributes<'_>) -> Option<Base> {
    let hook = attributes.nested(4);
    let number = hook.u32(1)?;
    let hook_name = match (family, number) {
        (Family::Netdev, 0) => Hook::Ingress,
        (Family::Netdev, 1) => Hook::Egress,
        (Family::Netdev | Family::Arp, other) => Hook::Other(other),
        (_, 0) => Hook::Prerouting,
        (_, 1) => Hook::Input,
        (_, 2) => Hook::Forward,
        (_, 3) => Hook::Output,
        (_, 4) => Hook::Postrouting,
        // NF_INET_INGRESS
        (Family::Inet, 5) => Hook::Ingress,
        (_, other) => Hook::Other(other),
    };
    let mut devices: Vec<String> = hook.text(3).into_iter().collect();
    devices.extend(hook.nested(4).take(256).map(|(_, name)| attributes::text(name)));
    devices.dedup();
    Some(Base {
        hook: hook_name,
        priority: i32::from_be_bytes(hook.u32(2).unwrap_or(0).to_be_bytes()),
        kind: match attributes.text(7).as_deref() {
            Some("filter") | None => ChainKind::Filter,
            Some("nat") => ChainKind::Nat,
            Some("route") => ChainKind::Route,
            Some(_) => ChainKind::Other,
        },
        policy: if attributes.u32(5) == Some(0) { Policy::Drop } else { Policy::Accept },
        devices,
    })
}

/// One element. `None`: not understood.
fn element(attributes: Attributes<'_>, v6: bool) -> Option<Element> {
    let flags = attributes.u32(3).unwrap_or(0);
    let key = match attributes.get(1) {
        Some(bytes) => Attributes(bytes).get(1)?.to_vec(),
        None if flags & 2 != 0 => Vec::new(),
        None => return None,
    };
    let key_end = match attributes.get(10) {
        Some(bytes) => Some(Attributes(bytes).get(1)?.to_vec()),
        None => None,
    };
    if key.len() > REGISTER_BYTES || (key.is_empty() && flags & 2 == 0) {
        return None;
    }
    let data = attributes.nested(2);
    let mut expressions = expressions::list(attributes.nested(11), v6, 1);
    if let (true, Some(one)) = (expressions.is_empty(), attributes.get(7)) {
        expressions.push(expressions::expression(Attributes(one), v6, 1));
    }
    Some(Element {
        key,
        key_end,
        interval_end: flags & 1 != 0,
        data: data.get(1).map(<[u8]>::to_vec),
        verdict: data.get(2).and_then(|_| expressions::verdict(data)),
        object: attributes.text(9),
        expressions,
    })
}
