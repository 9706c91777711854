//! Rules in nft's own words, as `nft --stateless list ruleset` writes them: so that a person finds them again.
//!
//! nft writes what was loaded into a register where it is compared. A match that only says what the next one implies (the
//! protocol of `tcp dport`) is left out, as nft does.

mod value;
mod xtables;

use crate::expression::{Base, Bitwise, Expression, Nat, Order, Register, Way};
use crate::ruleset::{Element, Family, Rule, Set, Table};
use value::Format;

/// A rule of very many elements is cut here.
const TEXT_MAX: usize = 1000;
const ELEMENTS_MAX: usize = 24;

/// What a register holds.
#[derive(Debug, Clone)]
struct Loaded {
    at: Register,
    len: usize,
    words: String,
    format: Format,
    /// A constant that is not yet written.
    constant: Option<Vec<u8>>,
    mask: Option<Vec<u8>>,
    /// Two values side by side, loaded as one.
    pair: bool,
}

struct Writer<'table> {
    table: &'table Table,
    words: Vec<String>,
    loaded: Vec<Loaded>,
    /// The transport protocol that the rule has asked for.
    protocol: Option<u8>,
    v6: Option<bool>,
    /// The word that says the protocol or family only, by its place: left out where the next match implies it.
    implied: Vec<(usize, Implied)>,
    /// A lower bound that was just written, by register and constant: with an upper one it is a range.
    lower: Option<(Register, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Implied {
    Protocol(u8),
    Family,
}

/// The rule's text.
pub(crate) fn text(table: &Table, rule: &Rule) -> String {
    let v6 = match table.family {
        Family::Ip => Some(false),
        Family::Ip6 => Some(true),
        _ => None,
    };
    let mut writer =
        Writer { table, words: Vec::new(), loaded: Vec::new(), protocol: None, v6, implied: Vec::new(), lower: None };
    for expression in &rule.expressions {
        writer.one(expression);
    }
    let mut text = writer.words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    if text.len() > TEXT_MAX {
        let cut = text.char_indices().take_while(|(at, _)| *at < TEXT_MAX).last().map_or(0, |(at, _)| at);
        text.truncate(cut);
        text.push('…');
    }
    text
}

impl Writer<'_> {
    fn say(&mut self, words: impl Into<String>) {
        self.words.push(words.into());
    }

    fn load(&mut self, at: Register, len: usize, words: impl Into<String>, format: Format) {
        self.loaded.retain(|old| old.at + old.len.next_multiple_of(4) <= at || old.at >= at + len.next_multiple_of(4));
        self.loaded.push(Loaded { at, len, words: words.into(), format, constant: None, mask: None, pair: false });
    }

    fn get(&self, at: Register) -> Option<&Loaded> {
        self.loaded.iter().find(|loaded| loaded.at == at)
    }

    /// The register's words, for what takes a value: `dnat to`, `mark set`.
    fn operand(&self, at: Register, format: Format) -> String {
        match self.get(at) {
            Some(Loaded { constant: Some(bytes), .. }) => value::value(format, bytes),
            Some(Loaded { words, mask: Some(mask), .. }) => format!("{words} & {}", value::value(format, mask)),
            Some(loaded) => loaded.words.clone(),
            None => "a value that is not known".to_owned(),
        }
    }

    fn one(&mut self, expression: &Expression) {
        let lower = self.lower.take();
        match expression {
            Expression::Payload { .. }
            | Expression::Meta { .. }
            | Expression::Ct { .. }
            | Expression::Fib { .. }
            | Expression::Socket { .. }
            | Expression::Immediate { .. }
            | Expression::NumberGenerator { .. }
            | Expression::Hash { .. }
            | Expression::Extension { .. }
            | Expression::Bitwise { .. }
            | Expression::ByteOrder { .. } => {
                self.loads(expression);
                self.lower = lower;
            }
            Expression::Compare { from, order, value } => self.compare(*from, *order, value, lower),
            Expression::Range { from, inverted, low, high } => {
                let Some(loaded) = self.get(*from).cloned() else { return };
                let not = if *inverted { "!= " } else { "" };
                self.imply(&loaded.words);
                self.say(format!("{} {not}{}", loaded.words, value::span(loaded.format, low, high)));
            }
            Expression::Lookup { set, from, to, verdict, inverted } => {
                self.lookup(set, *from, *to, *verdict, *inverted);
            }
            Expression::Dynamic { .. } => self.dynamic(expression),
            Expression::Nat { kind, family, address, port, flags } => {
                let before = self.v6;
                self.v6 = family.map_or(before, |family| Some(family == 10));
                self.nat(*kind, *address, *port, *flags);
                self.v6 = before;
            }
            Expression::MetaSet { from, key } => {
                let format = if *key == 3 { Format::Mark } else { Format::Native };
                self.say(format!("{} set {}", meta(*key).0, self.operand(*from, format)));
            }
            Expression::CtSet { from, key, .. } => {
                let format = if *key == 3 { Format::Mark } else { Format::Native };
                self.say(format!("ct {} set {}", connection(*key).0, self.operand(*from, format)));
            }
            Expression::PayloadSet { from, base, offset, len } => {
                let (words, format) = self.payload_words(*base, *offset, *len);
                self.say(format!("{words} set {}", self.operand(*from, format)));
            }
            Expression::Verdict(verdict) => self.say(value::verdict(verdict)),
            Expression::Reject { kind, code } => self.reject(*kind, *code),
            Expression::Match(one) => {
                let text = xtables::one_match(one, self.protocol);
                if matches!(one, crate::xt::Match::Ports { .. } | crate::xt::Match::MultiPort { .. }) {
                    self.imply(&text);
                }
                self.say(text);
            }
            Expression::Target(target) => self.say(xtables::target(target)),
            other => self.state(other),
        }
    }

    /// What has no register.
    fn state(&mut self, expression: &Expression) {
        let text = match expression {
            Expression::Counter { .. } => "counter".to_owned(),
            Expression::Limit { over, rate, unit, burst, bytes } => limit(*over, *rate, *unit, *burst, *bytes),
            Expression::Quota { over, bytes, .. } => {
                format!("quota {}{}", if *over { "over " } else { "" }, size(*bytes))
            }
            Expression::ConnLimit { over, count } => format!("ct count {}{count}", if *over { "over " } else { "" }),
            Expression::Log { prefix, group } => {
                let prefix = if prefix.is_empty() { String::new() } else { format!(" prefix \"{prefix}\"") };
                format!("log{prefix}{}", group.map_or(String::new(), |group| format!(" group {group}")))
            }
            Expression::NoTrack => "notrack".to_owned(),
            Expression::Queue { number, bypass } => {
                format!("queue{} to {number}", if *bypass { " flags bypass" } else { "" })
            }
            Expression::Tproxy { address, port, .. } => {
                let address = address.map_or(String::new(), |at| self.operand(at, self.address_format()));
                let port = port.map_or(String::new(), |at| format!(":{}", self.operand(at, Format::Number)));
                format!("tproxy to {address}{port}")
            }
            Expression::ObjectName { name, kind } => match kind {
                1 => format!("counter name \"{name}\""),
                2 => format!("quota name \"{name}\""),
                3 => format!("ct helper set \"{name}\""),
                4 => format!("limit name \"{name}\""),
                5 => format!("ct count name \"{name}\""),
                7 => format!("ct timeout set \"{name}\""),
                9 => format!("ct expectation set \"{name}\""),
                10 => format!("synproxy name \"{name}\""),
                _ => format!("object \"{name}\""),
            },
            Expression::ObjectMap { set, .. } => format!("object of @{set}"),
            Expression::Harmless { words, .. } => words.clone(),
            Expression::Unknown { name, .. } => format!("{name} (not understood)"),
            _ => return,
        };
        self.say(text);
    }

    fn address_format(&self) -> Format {
        if self.v6 == Some(true) { Format::Address6 } else { Format::Address4 }
    }

    fn payload_words(&mut self, base: Base, offset: u32, len: u32) -> (String, Format) {
        let six = self.v6 == Some(true);
        let known = match (base, offset, len) {
            (Base::Network, 12, 1..=4) if !six => Some(("ip saddr", Format::Address4)),
            (Base::Network, 16, 1..=4) if !six => Some(("ip daddr", Format::Address4)),
            (Base::Network, 9, 1) if !six => Some(("ip protocol", Format::Protocol)),
            (Base::Network, 8, 1) if !six => Some(("ip ttl", Format::Number)),
            (Base::Network, 2, 2) if !six => Some(("ip length", Format::Number)),
            (Base::Network, 6, 2) if !six => Some(("ip frag-off", Format::Number)),
            (Base::Network, 8, 1..=16) if six => Some(("ip6 saddr", Format::Address6)),
            (Base::Network, 24, 1..=16) if six => Some(("ip6 daddr", Format::Address6)),
            (Base::Network, 6, 1) if six => Some(("ip6 nexthdr", Format::Protocol)),
            (Base::Network, 7, 1) if six => Some(("ip6 hoplimit", Format::Number)),
            (Base::Transport, 0, 1) if self.protocol == Some(1) => Some(("icmp type", Format::IcmpType)),
            (Base::Transport, 0, 1) if self.protocol == Some(58) => Some(("icmpv6 type", Format::Icmp6Type)),
            (Base::Transport, 1, 1) if self.protocol == Some(1) => Some(("icmp code", Format::Number)),
            (Base::Transport, 1, 1) if self.protocol == Some(58) => Some(("icmpv6 code", Format::Number)),
            (Base::Transport, 13, 1) if self.protocol == Some(6) => Some(("tcp flags", Format::TcpFlags)),
            _ => None,
        };
        if let Some((words, format)) = known {
            return (words.to_owned(), format);
        }
        if base == Base::Transport && matches!((offset, len), (0 | 2, 2)) {
            let side = if offset == 0 { "sport" } else { "dport" };
            return (format!("{} {side}", protocol_word(self.protocol)), Format::Number);
        }
        let base = match base {
            Base::Link => "ll",
            Base::Network => "nh",
            Base::Transport => "th",
            Base::Inner => "ih",
            Base::Other(_) => "?",
        };
        (format!("@{base},{},{}", u64::from(offset) * 8, u64::from(len) * 8), Format::Raw)
    }

    fn loads(&mut self, expression: &Expression) {
        match expression {
            Expression::Payload { to, base, offset, len } => self.load_payload(*to, *base, *offset, *len),
            Expression::Meta { to, key } => {
                let (words, format, len) = meta(*key);
                self.load(*to, len, words, format);
            }
            Expression::Ct { to, key, way } => self.load_connection(*to, *key, *way),
            Expression::Fib { to, result, flags } => {
                let (words, format) = fib(*result, *flags);
                self.load(*to, 4, words, format);
            }
            Expression::Socket { to, key, level } => {
                let (words, format, len) = match key {
                    0 => ("socket transparent".to_owned(), Format::Number, 1),
                    1 => ("socket mark".to_owned(), Format::Mark, 4),
                    2 => ("socket wildcard".to_owned(), Format::Number, 1),
                    _ => (format!("socket cgroupv2 level {level}"), Format::Native, 8),
                };
                self.load(*to, len, words, format);
            }
            Expression::NumberGenerator { to, modulus, offset, random } => {
                let kind = if *random { "random" } else { "inc" };
                let offset = if *offset == 0 { String::new() } else { format!(" offset {offset}") };
                self.load(*to, 4, format!("numgen {kind} mod {modulus}{offset}"), Format::Native);
            }
            Expression::Hash { to, modulus, .. } => {
                self.load(*to, 4, format!("jhash mod {modulus}"), Format::Native);
            }
            Expression::Extension { to: Some(to), operation, kind, presence, .. } => {
                let words = if *operation == 1 { format!("tcp option {kind}") } else { format!("exthdr {kind}") };
                self.load(*to, 4, words, if *presence { Format::Boolean } else { Format::Raw });
            }
            Expression::Immediate { to, value } => {
                self.load(*to, value.len(), "", Format::Raw);
                if let Some(last) = self.loaded.last_mut() {
                    last.constant = Some(value.clone());
                }
            }
            Expression::Bitwise { from, to, len, operation } => self.bitwise(*from, *to, *len, operation),
            Expression::ByteOrder { from, to, .. } => self.byte_order(*from, *to),
            _ => {}
        }
    }

    fn load_payload(&mut self, to: Register, base: Base, offset: u32, len: u32) {
        let size = usize::try_from(len).unwrap_or(0);
        // Two ports, or two addresses, that stand side by side are loaded as one.
        let halves = match (base, offset, len, self.v6) {
            (Base::Transport, 0, 4, _) => Some((2, 2)),
            (Base::Network, 12, 8, Some(false)) => Some((4, 16)),
            (Base::Network, 8, 32, Some(true)) => Some((16, 24)),
            _ => None,
        };
        let (words, format) = match halves {
            Some((half, second)) => {
                let (first, format) = self.payload_words(base, offset, half);
                let (second, _) = self.payload_words(base, second, half);
                (format!("{first} . {second}"), format)
            }
            None => self.payload_words(base, offset, len),
        };
        self.load(to, size, words, format);
        if let (Some(_), Some(last)) = (halves, self.loaded.last_mut()) {
            last.pair = true;
        }
    }

    fn load_connection(&mut self, to: Register, key: u32, way: Option<Way>) {
        let (words, format, len) = connection(key);
        let way = match way {
            Some(Way::Original) => "original ",
            Some(Way::Reply) => "reply ",
            None => "",
        };
        let address = match (words, self.v6) {
            ("ip saddr" | "ip daddr", _) => Format::Address4,
            ("ip6 saddr" | "ip6 daddr", _) => Format::Address6,
            ("saddr" | "daddr", six) => {
                if six == Some(true) {
                    Format::Address6
                } else {
                    Format::Address4
                }
            }
            _ => format,
        };
        self.load(to, len, format!("ct {way}{words}"), address);
    }

    /// From here on the bytes are in the network's order.
    fn byte_order(&mut self, from: Register, to: Register) {
        let Some(mut loaded) = self.get(from).cloned() else { return };
        loaded.at = to;
        if loaded.format == Format::Native {
            loaded.format = Format::Number;
        }
        self.loaded.retain(|old| old.at != to);
        self.loaded.push(loaded);
    }

    fn bitwise(&mut self, from: Register, to: Register, len: usize, operation: &Bitwise) {
        let Some(mut loaded) = self.get(from).cloned() else { return };
        loaded.at = to;
        loaded.len = len;
        match operation {
            Bitwise::MaskXor { mask, xor } if xor.iter().all(|byte| *byte == 0) => loaded.mask = Some(mask.clone()),
            // What is cleared is what is set: nft's own "or".
            Bitwise::MaskXor { mask, xor } if mask.iter().zip(xor).all(|(mask, xor)| *mask == !*xor) => {
                loaded.words = format!("{} | {}", loaded.words, value::value(loaded.format, xor));
            }
            Bitwise::MaskXor { mask, xor } => {
                let (mask, xor) = (value::value(loaded.format, mask), value::value(loaded.format, xor));
                loaded.words = format!("{} & {mask} ^ {xor}", loaded.words);
            }
            Bitwise::ShiftLeft(by) => loaded.words = format!("{} << {by}", loaded.words),
            Bitwise::ShiftRight(by) => loaded.words = format!("{} >> {by}", loaded.words),
            Bitwise::Other => loaded.words = format!("{} (changed)", loaded.words),
        }
        self.loaded.retain(|old| old.at != to);
        self.loaded.push(loaded);
    }

    /// A match of a transport's or network's own field implies its protocol: what said so alone is left out.
    fn imply(&mut self, words: &str) {
        let wanted = |implied: &Implied| match implied {
            Implied::Protocol(6) => words.starts_with("tcp "),
            Implied::Protocol(17) => words.starts_with("udp "),
            Implied::Protocol(1) => words.starts_with("icmp "),
            Implied::Protocol(58) => words.starts_with("icmpv6 "),
            Implied::Protocol(_) => false,
            Implied::Family => ["ip ", "ip6 ", "icmp ", "icmpv6 "].iter().any(|start| words.starts_with(start)),
        };
        for (at, _) in self.implied.iter().filter(|(_, implied)| wanted(implied)) {
            if let Some(word) = self.words.get_mut(*at) {
                word.clear();
            }
        }
    }

    fn compare(&mut self, from: Register, order: Order, bytes: &[u8], lower: Option<(Register, Vec<u8>)>) {
        let Some(loaded) = self.get(from).cloned() else {
            return self.say("a comparison that is not understood");
        };
        self.imply(&loaded.words);
        if let (Some((register, low)), Order::LessOrEqual) = (lower, order)
            && register == from
        {
            self.words.pop();
            return self.say(format!("{} {}", loaded.words, value::span(loaded.format, &low, bytes)));
        }
        let operator = match order {
            Order::Equal => "",
            Order::NotEqual => "!= ",
            Order::Less => "< ",
            Order::LessOrEqual => "<= ",
            Order::Greater => "> ",
            Order::GreaterOrEqual => ">= ",
        };
        if order == Order::GreaterOrEqual {
            self.lower = Some((from, bytes.to_vec()));
        }
        if order == Order::Equal && loaded.mask.is_none() {
            self.learn(&loaded, bytes);
        }
        self.say(match &loaded.mask {
            Some(mask) => masked(&loaded, mask, order, operator, bytes),
            None if loaded.pair => {
                let parts: Vec<String> =
                    bytes.chunks(2.max(bytes.len() / 2)).map(|part| value::value(loaded.format, part)).collect();
                format!("{} {operator}{}", loaded.words, parts.join(" . "))
            }
            None => format!("{} {operator}{}", loaded.words, value::value(loaded.format, bytes)),
        });
    }

    /// What the rest of the rule can rely on.
    fn learn(&mut self, loaded: &Loaded, bytes: &[u8]) {
        let place = self.words.len();
        let number = bytes.last().copied().unwrap_or(0);
        match loaded.words.as_str() {
            "meta l4proto" | "ip protocol" | "ip6 nexthdr" => {
                self.protocol = Some(number);
                self.implied.push((place, Implied::Protocol(number)));
            }
            "meta nfproto" => {
                self.v6 = Some(number == 10);
                self.implied.push((place, Implied::Family));
            }
            "meta protocol" => {
                self.v6 = Some(bytes == [0x86, 0xdd]);
                self.implied.push((place, Implied::Family));
            }
            _ => {}
        }
    }

    /// The words and formats of the registers that make up a key.
    fn key(&self, from: Register, len: usize) -> (String, Vec<(usize, Format)>) {
        let mut words = Vec::new();
        let mut parts = Vec::new();
        let mut at = from;
        while at < from + len.max(1) {
            let Some(loaded) = self.get(at) else { break };
            words.push(match (&loaded.mask, &loaded.constant) {
                (_, Some(constant)) => value::value(Format::Number, constant),
                (Some(mask), None) => format!("{} & {}", loaded.words, value::value(loaded.format, mask)),
                (None, None) => loaded.words.clone(),
            });
            let size = loaded.len.max(1);
            if loaded.pair {
                parts.extend([(size / 2, loaded.format), (size / 2, loaded.format)]);
            } else {
                parts.push((size, loaded.format));
            }
            at += size.next_multiple_of(4);
        }
        (words.join(" . "), parts)
    }

    fn lookup(&mut self, name: &str, from: Register, to: Option<Register>, verdict: bool, inverted: bool) {
        let set = self.table.set(name);
        let (words, parts) = self.key(from, set.map_or(4, |set| set.key_len));
        for part in words.split(" . ") {
            self.imply(part);
        }
        let data = if verdict { None } else { to.map(|_| set.map_or(Format::Raw, |set| self.data_format(set))) };
        let contents = match set {
            Some(set) if set.anonymous => elements(set, &parts, data),
            _ => format!("@{name}"),
        };
        let not = if inverted { "!= " } else { "" };
        match (to, verdict) {
            (_, true) => self.say(format!("{words} vmap {contents}")),
            (Some(to), false) => self.load(to, 4, format!("{words} map {contents}"), Format::Raw),
            (None, false) => self.say(format!("{words} {not}{contents}")),
        }
    }

    /// How the values of a map are written, by nft's number of their type.
    fn data_format(&self, set: &Set) -> Format {
        match set.data_type {
            7 => Format::Address4,
            8 => Format::Address6,
            12 => Format::Protocol,
            13 => Format::Number,
            19 => Format::Mark,
            41 => Format::Interface,
            _ => Format::Raw,
        }
    }

    fn dynamic(&mut self, expression: &Expression) {
        let Expression::Dynamic { set, key, operation, expressions, .. } = expression else { return };
        let len = self.table.set(set).map_or(4, |set| set.key_len);
        let (words, _) = self.key(*key, len);
        for part in words.split(" . ") {
            self.imply(part);
        }
        let name = match operation {
            0 => "add",
            1 => "update",
            _ => "delete",
        };
        let mark = self.words.len();
        for inner in expressions {
            self.state(inner);
        }
        let inner: Vec<String> = self.words.drain(mark..).collect();
        let inner = if inner.is_empty() { String::new() } else { format!(" {}", inner.join(" ")) };
        self.say(format!("{name} @{set} {{ {words}{inner} }}"));
    }

    fn nat(
        &mut self,
        kind: Nat,
        address: Option<(Register, Register)>,
        port: Option<(Register, Register)>,
        flags: u32,
    ) {
        let format = self.address_format();
        let both = |pair: Option<(Register, Register)>, format| {
            pair.map(|(low, high)| {
                let (low, high) = (self.operand(low, format), self.operand(high, format));
                if low == high { low } else { format!("{low}-{high}") }
            })
        };
        let (address, port) = (both(address, format), both(port, Format::Number));
        let family = match (self.table.family, &address) {
            (Family::Inet, Some(_)) => {
                if self.v6 == Some(true) {
                    " ip6"
                } else {
                    " ip"
                }
            }
            _ => "",
        };
        let target = match (address, port) {
            (Some(address), Some(port)) if format == Format::Address6 => format!(" to [{address}]:{port}"),
            (Some(address), Some(port)) => format!(" to {address}:{port}"),
            (Some(address), None) => format!(" to {address}"),
            (None, Some(port)) => format!(" to :{port}"),
            (None, None) => String::new(),
        };
        let name = match kind {
            Nat::Source => "snat",
            Nat::Destination => "dnat",
            Nat::Masquerade => "masquerade",
            Nat::Redirect => "redirect",
        };
        let mut more = String::new();
        for (bit, word) in [(4, " random"), (8, " persistent"), (16, " fully-random")] {
            if flags & bit != 0 {
                more.push_str(word);
            }
        }
        self.say(format!("{name}{family}{target}{more}"));
    }

    fn reject(&mut self, kind: u32, code: u8) {
        let text = match (kind, code) {
            (1, _) => {
                self.imply("ip ");
                // Where the rule has said TCP before, it is not said again.
                let says = |word: &String| word.starts_with("tcp ") || word == "meta l4proto tcp";
                let last = self.words.iter().rposition(|word| word == "meta l4proto tcp");
                if let (true, Some(last)) = (self.words.iter().filter(|word| says(word)).count() > 1, last)
                    && let Some(word) = self.words.get_mut(last)
                {
                    word.clear();
                }
                "reject with tcp reset".to_owned()
            }
            (2, 1) => "reject".to_owned(),
            (2, 0) => "reject with icmpx no-route".to_owned(),
            (2, 2) => "reject with icmpx host-unreachable".to_owned(),
            (2, _) => "reject with icmpx admin-prohibited".to_owned(),
            (0, 3) if self.table.family == Family::Ip => "reject".to_owned(),
            (0, 4) if self.table.family == Family::Ip6 => "reject".to_owned(),
            (0, _) => {
                self.imply(if self.v6 == Some(true) { "ip6 " } else { "ip " });
                format!("reject with {}", crate::evaluate::reject_words(kind, code, self.v6 == Some(true)))
            }
            _ => format!("reject with {}", crate::evaluate::reject_words(kind, code, self.v6 == Some(true))),
        };
        self.say(text);
    }
}

fn protocol_word(protocol: Option<u8>) -> &'static str {
    match protocol {
        Some(6) => "tcp",
        Some(17) => "udp",
        Some(33) => "dccp",
        Some(132) => "sctp",
        Some(136) => "udplite",
        _ => "th",
    }
}

fn masked(loaded: &Loaded, mask: &[u8], order: Order, operator: &str, bytes: &[u8]) -> String {
    let zero = bytes.iter().all(|byte| *byte == 0);
    match loaded.format {
        Format::Address4 | Format::Address6 => match value::prefix_len(mask) {
            Some(len) => format!("{} {operator}{}/{len}", loaded.words, value::value(loaded.format, bytes)),
            None => {
                let (mask, bytes) = (value::value(loaded.format, mask), value::value(loaded.format, bytes));
                format!("{} & {mask} {}{bytes}", loaded.words, if operator.is_empty() { "== " } else { operator })
            }
        },
        Format::CtState | Format::CtStatus if zero => {
            let not = if order == Order::Equal { "! " } else { "" };
            format!("{} {not}{}", loaded.words, value::flags(loaded.format, mask, ","))
        }
        Format::TcpFlags if zero && order == Order::NotEqual => {
            format!("{} {}", loaded.words, value::flags(Format::TcpFlags, mask, ","))
        }
        Format::TcpFlags => {
            let (mask, bytes) = (value::flags(Format::TcpFlags, mask, ","), value::flags(Format::TcpFlags, bytes, ","));
            format!("{} {operator}{bytes} / {mask}", loaded.words)
        }
        format => {
            let (mask, bytes) = (value::value(format, mask), value::value(format, bytes));
            format!("{} & {mask} {}{bytes}", loaded.words, if operator.is_empty() { "== " } else { operator })
        }
    }
}

/// The contents of an anonymous set or map.
fn elements(set: &Set, parts: &[(usize, Format)], data: Option<Format>) -> String {
    let mut all = Vec::new();
    let mut rest = set.elements.iter().peekable();
    while let Some(element) = rest.next() {
        if element.interval_end {
            continue;
        }
        if all.len() == ELEMENTS_MAX {
            all.push("…".to_owned());
            break;
        }
        let mut text = match (&element.key_end, set.interval, parts) {
            (Some(end), _, _) => key_text(&element.key, Some(end), parts),
            (None, true, [(_, format)]) => {
                let next = rest.peek().map(|next| next.key.as_slice());
                value::range(*format, &element.key, &before(next, element.key.len()))
            }
            _ => key_text(&element.key, None, parts),
        };
        text.push_str(&element_value(element, data));
        all.push(text);
    }
    if let Some(element) = set.catch_all.as_deref() {
        all.push(format!("*{}", element_value(element, data)));
    }
    format!("{{ {} }}", all.join(", "))
}

fn element_value(element: &Element, data: Option<Format>) -> String {
    match (&element.verdict, &element.data, data) {
        (Some(verdict), _, _) => format!(" : {}", value::verdict(verdict)),
        (None, Some(bytes), Some(format)) => format!(" : {}", value::value(format, bytes)),
        _ => String::new(),
    }
}

/// The greatest key before another; without another, the greatest of all.
fn before(next: Option<&[u8]>, len: usize) -> Vec<u8> {
    let Some(next) = next else { return vec![0xff; len] };
    let mut bytes = next.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            break;
        }
    }
    bytes
}

fn key_text(key: &[u8], end: Option<&Vec<u8>>, parts: &[(usize, Format)]) -> String {
    if parts.len() < 2 {
        let format = parts.first().map_or(Format::Raw, |(_, format)| *format);
        return end.map_or_else(|| value::value(format, key), |end| value::range(format, key, end));
    }
    let mut at = 0;
    let mut texts = Vec::new();
    for (len, format) in parts {
        let (Some(low), high) = (key.get(at..at + len), end.and_then(|end| end.get(at..at + len))) else { break };
        texts.push(high.map_or_else(|| value::value(*format, low), |high| value::range(*format, low, high)));
        at += len.next_multiple_of(4);
    }
    texts.join(" . ")
}

fn limit(over: bool, rate: u64, unit: u64, burst: u32, bytes: bool) -> String {
    let unit = match unit {
        1 => "second",
        60 => "minute",
        3600 => "hour",
        86_400 => "day",
        604_800 => "week",
        _ => "unit",
    };
    let over = if over { "over " } else { "" };
    if bytes {
        let burst = if burst == 0 { String::new() } else { format!(" burst {burst} bytes") };
        return format!("limit rate {over}{rate} bytes/{unit}{burst}");
    }
    let burst = if burst == 5 || burst == 0 { String::new() } else { format!(" burst {burst} packets") };
    format!("limit rate {over}{rate}/{unit}{burst}")
}

/// The words, format and length of what `meta` loads.
fn meta(key: u32) -> (&'static str, Format, usize) {
    match key {
        0 => ("meta length", Format::Native, 4),
        1 => ("meta protocol", Format::EtherType, 2),
        2 => ("meta priority", Format::Native, 4),
        3 => ("meta mark", Format::Mark, 4),
        4 => ("iif", Format::Native, 4),
        5 => ("oif", Format::Native, 4),
        6 => ("iifname", Format::Interface, 16),
        7 => ("oifname", Format::Interface, 16),
        8 => ("meta iiftype", Format::LinkKind, 2),
        9 => ("meta oiftype", Format::LinkKind, 2),
        10 => ("meta skuid", Format::Native, 4),
        11 => ("meta skgid", Format::Native, 4),
        12 => ("meta nftrace", Format::Number, 1),
        15 => ("meta nfproto", Format::Family, 1),
        16 => ("meta l4proto", Format::Protocol, 1),
        17 => ("ibrname", Format::Interface, 16),
        18 => ("obrname", Format::Interface, 16),
        19 => ("meta pkttype", Format::PacketKind, 1),
        20 => ("meta cpu", Format::Native, 4),
        21 => ("iifgroup", Format::Native, 4),
        22 => ("oifgroup", Format::Native, 4),
        23 => ("meta cgroup", Format::Native, 4),
        25 => ("meta ipsec", Format::Boolean, 1),
        26 => ("meta iifkind", Format::Interface, 16),
        27 => ("meta oifkind", Format::Interface, 16),
        30 => ("meta time", Format::Native, 8),
        31 => ("meta day", Format::Number, 1),
        32 => ("meta hour", Format::Native, 4),
        33 => ("meta sdif", Format::Native, 4),
        34 => ("meta sdifname", Format::Interface, 16),
        _ => ("meta (not understood)", Format::Raw, 4),
    }
}

/// The words, format and length of what `ct` loads.
fn connection(key: u32) -> (&'static str, Format, usize) {
    match key {
        0 => ("state", Format::CtState, 4),
        1 => ("direction", Format::CtDirection, 1),
        2 => ("status", Format::CtStatus, 4),
        3 => ("mark", Format::Mark, 4),
        5 => ("expiration", Format::Native, 4),
        6 => ("helper", Format::Interface, 16),
        7 => ("l3proto", Format::Family, 1),
        8 => ("saddr", Format::Raw, 16),
        9 => ("daddr", Format::Raw, 16),
        10 => ("protocol", Format::Protocol, 1),
        11 => ("proto-src", Format::Number, 2),
        12 => ("proto-dst", Format::Number, 2),
        13 => ("label", Format::Raw, 16),
        14 => ("packets", Format::Native, 8),
        15 => ("bytes", Format::Native, 8),
        16 => ("avgpkt", Format::Native, 8),
        17 => ("zone", Format::Native, 2),
        19 => ("ip saddr", Format::Address4, 4),
        20 => ("ip daddr", Format::Address4, 4),
        21 => ("ip6 saddr", Format::Address6, 16),
        22 => ("ip6 daddr", Format::Address6, 16),
        23 => ("id", Format::Native, 4),
        _ => ("(not understood)", Format::Raw, 4),
    }
}

fn fib(result: u32, flags: u32) -> (String, Format) {
    let names = [(1, "saddr"), (2, "daddr"), (4, "mark"), (8, "iif"), (16, "oif")];
    let of: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let (result, format) = match result {
        1 => ("oif", if flags & 32 != 0 { Format::Boolean } else { Format::Native }),
        2 => ("oifname", Format::Interface),
        _ => ("type", Format::AddressKind),
    };
    (format!("fib {} {result}", of.join(" . ")), format)
}

/// A number of bytes in the greatest unit that it is a multiple of.
fn size(bytes: u64) -> String {
    let units = [(1 << 20, "mbytes"), (1 << 10, "kbytes")];
    let unit = units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}
