//! One rule and one packet: nf_tables' registers with unknown bits, expression by expression as the kernel goes through them.

use super::load::{Loaded, connection, meta, payload, socket};
use super::reject::{reject_name, reject_words};
use super::sets;
use super::view::{self, Astray, Device, View};
use crate::bits::{Bits, Truth};
use crate::expression::{Base, Bitwise, Expression, Nat, Order, Register};
use crate::nft::REGISTER_BYTES;
use crate::ruleset::{Hook, Set, Table, Verdict};
use crate::surroundings::Surroundings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a rule may do to a packet that it matches.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Verdict(Verdict),
    Reject(String),
    Queue {
        bypass: bool,
    },
    /// Decided by an address translation: the chain ends with accept.
    Translated(Option<Box<Rewrite>>),
    /// It may be anything: what it does is not understood.
    Anything,
}

/// A new destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// `None`: the address stays.
    pub address: Option<Bits>,
    pub port: Option<Bits>,
    /// To this host itself, whatever the address is.
    pub here: bool,
}

/// What came of a rule.
#[derive(Debug)]
pub struct Outcome {
    /// Whether its matches hold.
    pub truth: Truth,
    /// What it then does; none where it goes on to the next rule. Several where a map's key is not known.
    pub acts: Vec<Act>,
    /// A map's key is not known, and may be in none of its elements.
    pub may_miss: bool,
    /// Why `truth` or the act is not known.
    pub why: Option<String>,
    /// Set elements that were looked at.
    pub cost: usize,
}

/// A key that a rule on the way added to a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    pub table: String,
    pub set: String,
    pub key: Bits,
    pub certain: bool,
}

/// What stands around the evaluation of a rule.
pub struct Around<'all> {
    pub table: &'all Table,
    pub surroundings: &'all Surroundings,
    pub added: &'all mut Vec<Added>,
}

/// The state of one rule's evaluation.
struct Machine<'all, 'walk> {
    around: &'walk mut Around<'all>,
    view: &'walk mut View,
    registers: Bits,
    truth: Truth,
    why: Option<String>,
    acts: Vec<Act>,
    may_miss: bool,
    /// The rule itself is reached only perhaps: what it changes is changed only perhaps.
    doubtful: bool,
    cost: usize,
}

/// Looks at one rule. `doubtful`: it is not certain that the packet comes to it.
pub fn look(around: &mut Around<'_>, view: &mut View, expressions: &[Expression], doubtful: bool) -> Outcome {
    let mut machine = Machine {
        around,
        view,
        registers: Bits::unknown(REGISTER_BYTES),
        truth: Truth::Yes,
        why: None,
        acts: Vec::new(),
        may_miss: false,
        doubtful,
        cost: 0,
    };
    machine.run(expressions);
    Outcome {
        truth: machine.truth,
        acts: machine.acts,
        may_miss: machine.may_miss,
        why: machine.why,
        cost: machine.cost,
    }
}

impl Machine<'_, '_> {
    fn run(&mut self, expressions: &[Expression]) {
        for (at, expression) in expressions.iter().enumerate() {
            self.one(expression);
            self.go_on(at + 1 == expressions.len());
            if self.truth == Truth::No || !self.acts.is_empty() {
                return;
            }
        }
    }

    /// A verdict map that says `continue` leaves the packet to the rule's next expression.
    fn go_on(&mut self, last: bool) {
        let goes_on = |act: &&Act| matches!(act, Act::Verdict(Verdict::Continue));
        let continues = self.acts.iter().filter(goes_on).count();
        if last || continues == 0 {
            return;
        }
        if continues < self.acts.len() {
            // What the rest does to a packet that is perhaps gone already is not worked out.
            return self.acts.push(Act::Anything);
        }
        self.acts.clear();
        if std::mem::take(&mut self.may_miss) {
            self.truth = self.truth.and(Truth::Maybe);
        }
    }

    fn require(&mut self, truth: Truth, why: impl FnOnce() -> String) {
        if truth == Truth::Maybe && self.why.is_none() {
            self.why = Some(why());
        }
        self.truth = self.truth.and(truth);
    }

    fn load(&mut self, to: Register, bits: &Bits) {
        // A value shorter than a register of four bytes is filled up with zeros.
        self.registers.put(to, &Bits::known(&vec![0; bits.len().next_multiple_of(4)]));
        self.registers.put(to, bits);
    }

    /// Loads what may be missing (then the rule does not match) or not known.
    fn load_option(&mut self, to: Register, loaded: &Loaded, len: usize, what: &str) {
        match loaded {
            Loaded::Bits(bits) => self.load(to, bits),
            Loaded::Missing => self.truth = Truth::No,
            Loaded::PerhapsMissing => {
                self.load(to, &Bits::unknown(len));
                self.require(Truth::Maybe, || format!("{what} is not known of this packet"));
            }
        }
    }

    /// Changes the packet; where the change is not certain, both states are kept as one.
    fn change(&mut self, change: impl FnOnce(&mut View)) {
        if self.truth == Truth::Yes && !self.doubtful {
            change(self.view);
        } else {
            let before = self.view.clone();
            change(self.view);
            self.view.join(&before);
        }
    }

    fn one(&mut self, expression: &Expression) {
        match expression {
            Expression::Payload { .. }
            | Expression::PayloadSet { .. }
            | Expression::Meta { .. }
            | Expression::MetaSet { .. }
            | Expression::Ct { .. }
            | Expression::CtSet { .. }
            | Expression::Fib { .. }
            | Expression::Socket { .. }
            | Expression::NumberGenerator { .. }
            | Expression::Hash { .. }
            | Expression::Extension { .. }
            | Expression::Immediate { .. } => self.data(expression),
            Expression::Compare { .. }
            | Expression::Range { .. }
            | Expression::Bitwise { .. }
            | Expression::ByteOrder { .. } => self.arithmetic(expression),
            Expression::Lookup { .. }
            | Expression::Dynamic { .. }
            | Expression::ObjectName { .. }
            | Expression::ObjectMap { .. } => self.sets(expression),
            Expression::Limit { over, rate, .. } => self.require(Truth::of(!over || *rate == 0), String::new),
            Expression::Quota { over, bytes, consumed } => self.quota(*over, *bytes, *consumed),
            Expression::ConnLimit { over, count } => self.require(Truth::of(*over == (*count < 1)), String::new),
            Expression::Counter { .. } | Expression::Log { .. } | Expression::Harmless { .. } => {}
            Expression::Verdict(Verdict::Continue) => {}
            Expression::Verdict(Verdict::Break) => self.truth = Truth::No,
            Expression::Verdict(verdict) => self.acts.push(Act::Verdict(verdict.clone())),
            Expression::Reject { kind, code } => self.acts.push(Act::Reject(reject_words(*kind, *code, self.view.v6))),
            Expression::Nat { kind, family, address, port, .. } => {
                // In a table of both families it is for packets of its own alone.
                let own = if self.view.v6 { 10 } else { 2 };
                if family.is_none_or(|family| family == own || family == 1) {
                    self.translate(*kind, *address, *port);
                }
            }
            Expression::Tproxy { .. } => {
                self.view.astray = Astray::Way;
                self.require(Truth::Maybe, || "whether tproxy finds a socket is not known".to_owned());
            }
            Expression::NoTrack => self.untrack(),
            Expression::Queue { bypass, .. } => self.acts.push(Act::Queue { bypass: *bypass }),
            Expression::Match(one) => {
                let truth = super::xt::matches(one, self.view, self.around.surroundings);
                self.require(truth, || super::xt::why(one));
            }
            Expression::Target(target) => self.target(target),
            Expression::Unknown { name, to, decides } => self.unknown(name, *to, *decides),
        }
    }

    fn unknown(&mut self, name: &str, to: Option<Register>, decides: bool) {
        match (to, decides) {
            (Some(to), false) => {
                self.registers.put(to, &Bits::unknown(16));
                self.require(Truth::Maybe, || format!("the expression {name} is not evaluated"));
            }
            (None, false) => {
                self.registers = Bits::unknown(REGISTER_BYTES);
                self.require(Truth::Maybe, || format!("the expression {name} is not evaluated"));
            }
            (_, true) => {
                self.why.get_or_insert_with(|| format!("the expression {name} is not evaluated"));
                self.change(|view| {
                    view.mark = Bits::unknown(4);
                    view.ct_mark = Bits::unknown(4);
                });
                self.acts.push(Act::Anything);
            }
        }
    }

    fn data(&mut self, expression: &Expression) {
        match expression {
            Expression::Immediate { to, value } => self.load(*to, &Bits::known(value)),
            Expression::Payload { to, base, offset, len } => {
                let (offset, len) = (to_usize(*offset), to_usize(*len).min(REGISTER_BYTES));
                let loaded = payload(self.view, *base, offset, len);
                self.load_option(*to, &loaded, len, "this part of the payload");
            }
            Expression::PayloadSet { from, base, offset, len } => {
                let (offset, len) = (to_usize(*offset), to_usize(*len).min(REGISTER_BYTES));
                let bits = self.registers.piece(*from, len);
                match base {
                    Base::Network => self.change(|view| view.overwrite(true, offset, &bits)),
                    Base::Transport => self.change(|view| view.overwrite(false, offset, &bits)),
                    Base::Link | Base::Inner | Base::Other(_) => {}
                }
            }
            Expression::Meta { to, key } => {
                let loaded = meta(self.view, self.around.surroundings, *key);
                self.load_option(*to, &loaded, 16, "a property that a rule asks for");
            }
            Expression::MetaSet { from, key } => {
                let bits = self.registers.piece(*from, 4);
                if *key == 3 {
                    let kept = self.around.surroundings.routes.is_some() && !self.around.surroundings.policy_routing;
                    self.change(|view| {
                        if view.hook == Hook::Output && !kept && view.mark != bits {
                            view.device_out = Device::Unknown;
                        }
                        view.mark = bits;
                    });
                }
            }
            Expression::Ct { to, key, way } => {
                let loaded = connection(self.view, *key, *way);
                self.load_option(*to, &loaded, 16, "what conntrack knows of the connection");
            }
            Expression::CtSet { from, key, .. } => {
                let registers = self.registers;
                let from = *from;
                match key {
                    3 => self.change(|view| view.ct_mark = registers.piece(from, 4)),
                    13 => self.change(|view| view.ct_labels = Bits::unknown(16)),
                    17 => self.change(|view| view.ct_zone = registers.piece(from, 2)),
                    _ => {}
                }
            }
            Expression::Fib { to, result, flags } => {
                let loaded = super::fib::look(self.view, self.around.surroundings, *result, *flags);
                self.load_option(*to, &loaded, 16, "the route or the kind of the address");
            }
            Expression::Socket { to, key, level } => {
                let loaded = socket(self.view, self.around.surroundings, *key, *level);
                self.load_option(*to, &loaded, 8, "the socket that the packet is for");
            }
            Expression::NumberGenerator { to, modulus, offset, .. } | Expression::Hash { to, modulus, offset } => {
                self.load(*to, &generated(*modulus, *offset));
            }
            Expression::Extension { to, operation, presence, .. } => self.extension(*to, *operation, *presence),
            _ => {}
        }
    }

    fn extension(&mut self, to: Option<Register>, operation: u32, presence: bool) {
        let option_of_tcp = operation == 1 && self.view.protocol == Some(view::TCP);
        let Some(to) = to else {
            return self.require(Truth::Maybe, || "an option of the header is not known".to_owned());
        };
        match (option_of_tcp, presence) {
            (true, true) => self.load(to, &Bits::unknown(1).masked(&[1], &[0])),
            (true, false) => self.load_option(to, &Loaded::PerhapsMissing, 16, "a TCP option"),
            // An ordinary packet has no extension header.
            (false, true) => self.load(to, &Bits::byte(0)),
            (false, false) => self.truth = Truth::No,
        }
    }

    fn arithmetic(&mut self, expression: &Expression) {
        match expression {
            Expression::Compare { from, order, value } => {
                let bits = self.registers.piece(*from, value.len());
                let truth = match order {
                    Order::Equal => bits.equals(value),
                    Order::NotEqual => bits.equals(value).not(),
                    Order::Less => bits.less_than(value),
                    Order::LessOrEqual => bits.greater_than(value).not(),
                    Order::Greater => bits.greater_than(value),
                    Order::GreaterOrEqual => bits.less_than(value).not(),
                };
                self.require(truth, || "what it compares is not known of this packet".to_owned());
            }
            Expression::Range { from, inverted, low, high } => {
                let truth = self.registers.piece(*from, low.len()).within(low, high).inverted(*inverted);
                self.require(truth, || "what it compares is not known of this packet".to_owned());
            }
            Expression::Bitwise { from, to, len, operation } => {
                let bits = self.registers.piece(*from, *len);
                let result = match operation {
                    Bitwise::MaskXor { mask, xor } => bits.masked(mask, xor),
                    Bitwise::ShiftLeft(by) => bits.shifted(*by, true),
                    Bitwise::ShiftRight(by) => bits.shifted(*by, false),
                    Bitwise::Other => Bits::unknown(*len),
                };
                self.registers.put(*to, &result);
            }
            Expression::ByteOrder { from, to, len, size } => {
                let bits = self.registers.piece(*from, *len).swapped(*size);
                self.registers.put(*to, &bits);
            }
            _ => {}
        }
    }

    fn sets(&mut self, expression: &Expression) {
        match expression {
            Expression::Lookup { set, from, to, verdict, inverted } => {
                let Some(set) = self.around.table.set(set) else {
                    return self.unknown(&format!("lookup in {set}, which is not known"), None, *verdict);
                };
                self.lookup(set, *from, *to, *verdict, *inverted);
            }
            Expression::Dynamic { set, key, operation, inverted, expressions } => {
                let len = self.around.table.set(set).map_or(4, |set| set.key_len);
                let key = self.registers.piece(*key, len);
                // What stands in the set is looked at as in a rule: a limit of a quiet sender.
                self.run(expressions);
                self.truth = if *inverted && self.truth != Truth::No { Truth::No } else { self.truth };
                if *operation != 2 && self.truth != Truth::No {
                    let certain = self.truth == Truth::Yes && !self.doubtful;
                    let table = self.around.table.key();
                    self.around.added.push(Added { table, set: set.clone(), key, certain });
                }
            }
            Expression::ObjectName { name, kind } => self.object(name, *kind),
            Expression::ObjectMap { set, from } => {
                let Some(set) = self.around.table.set(set) else { return self.unknown("objref", None, true) };
                let found = sets::find(set, &self.registers.piece(*from, set.key_len));
                self.cost += found.cost;
                let name = found.elements.first().and_then(|element| element.object.clone());
                let one = found.elements.len() == 1 && !found.more;
                self.require(found.truth, || format!("whether {} has the key is not known", set.name));
                match name {
                    Some(name) if one && self.truth == Truth::Yes => self.object(&name, set.data_type),
                    Some(_) => self.require(Truth::Maybe, || "which object it is for is not known".to_owned()),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, name: &str, kind: u32) {
        let same = |object: &&crate::ruleset::Object| object.name == name && (kind == 0 || object.kind == kind);
        let table = self.around.table;
        match table.objects.iter().find(same) {
            Some(object) => self.one(&object.expression),
            // Counters, helpers, timeouts, marks of security and expectations leave the packet as it is.
            None if matches!(kind, 1 | 3 | 6 | 7 | 8 | 9) => {}
            None => self.unknown(&format!("object {name}"), None, true),
        }
    }

    fn lookup(&mut self, set: &Set, from: Register, to: Option<Register>, verdict: bool, inverted: bool) {
        let key = self.registers.piece(from, set.key_len);
        let mut found = sets::find(set, &key);
        self.cost += found.cost;
        let table = self.around.table.key();
        for added in self.around.added.iter().filter(|added| added.set == set.name && added.table == table) {
            let same = added.key.all().map_or(Truth::Maybe, |bytes| key.equals(bytes));
            let same = if added.certain { same } else { same.and(Truth::Maybe) };
            found.truth = found.truth.or(same);
            found.more |= same != Truth::No && set.map;
        }
        let name = if set.anonymous { "its set".to_owned() } else { format!("the set {}", set.name) };
        let unknown = || format!("whether {name} has what it looks for is not known");
        if inverted || (to.is_none() && !verdict) {
            self.require(found.truth.inverted(inverted), unknown);
            if !inverted && let [element] = found.elements.as_slice() {
                self.run(&element.expressions);
            }
            return;
        }
        if found.truth == Truth::No {
            self.truth = Truth::No;
            return;
        }
        if verdict {
            self.may_miss = found.truth == Truth::Maybe;
            if found.elements.len() != 1 || found.more || self.may_miss {
                self.why.get_or_insert_with(unknown);
            }
            for element in &found.elements {
                self.acts.push(element.verdict.clone().map_or(Act::Anything, Act::Verdict));
            }
            if found.more || found.elements.is_empty() {
                self.acts.push(Act::Anything);
            }
            return;
        }
        self.require(found.truth, unknown);
        if let Some(to) = to {
            let values = found.elements.iter().filter_map(|element| element.data.as_deref()).map(Bits::known);
            let joined = values.reduce(|a, b| a.join(&b)).filter(|_| !found.more);
            self.load(to, &joined.unwrap_or(Bits::unknown(16)));
        }
    }

    fn quota(&mut self, over: bool, bytes: u64, consumed: u64) {
        let exceeded = if consumed >= bytes {
            Truth::Yes
        } else if bytes - consumed > 65_535 {
            Truth::No
        } else {
            Truth::Maybe
        };
        self.require(exceeded.inverted(!over), || "the quota is nearly used up".to_owned());
    }

    fn untrack(&mut self) {
        // A packet that conntrack has seen stays as it is.
        if self.view.tracked() != Some(true) {
            self.change(|view| view.states = view::UNTRACKED);
        }
    }

    fn translate(&mut self, kind: Nat, address: Option<(Register, Register)>, port: Option<(Register, Register)>) {
        let width = if self.view.v6 { 16 } else { 4 };
        let joined = |registers: &Bits, pair: Option<(Register, Register)>, len: usize| {
            let (low, high) = pair?;
            Some(if low == high {
                registers.piece(low, len)
            } else {
                span(&registers.piece(low, len), &registers.piece(high, len))
            })
        };
        let port = joined(&self.registers, port, 2);
        let address = joined(&self.registers, address, width);
        self.act_nat(kind, address, port);
    }

    fn act_nat(&mut self, kind: Nat, address: Option<Bits>, port: Option<Bits>) {
        match kind {
            Nat::Source | Nat::Masquerade => {
                self.change(|view| {
                    view.put_source(&address.unwrap_or(Bits::unknown(if view.v6 { 16 } else { 4 })));
                    view.transport.put(0, &Bits::unknown(2));
                    view.source_translated = None;
                });
                self.acts.push(Act::Translated(None));
            }
            Nat::Destination => self.acts.push(Act::Translated(Some(Box::new(Rewrite { address, port, here: false })))),
            Nat::Redirect => {
                let address = redirected(self.view, self.around.surroundings);
                self.acts.push(Act::Translated(Some(Box::new(Rewrite { address: Some(address), port, here: true }))));
            }
        }
    }

    fn target(&mut self, target: &crate::xt::Target) {
        use crate::xt::{ConnMark, Target};
        let ports = |ports: &Option<(u16, u16)>| {
            ports.map(|(low, high)| span(&Bits::known(&low.to_be_bytes()), &Bits::known(&high.to_be_bytes())))
        };
        match target {
            Target::Reject { with } => self.acts.push(Act::Reject(reject_name(with))),
            Target::Destination { low, high, ports: wanted } => {
                let address = low.map(|low| span(&view::address_bits(low), &view::address_bits(high.unwrap_or(low))));
                self.act_nat(Nat::Destination, address, ports(wanted));
            }
            Target::Source => self.act_nat(Nat::Source, None, None),
            Target::Masquerade => self.act_nat(Nat::Masquerade, None, None),
            Target::Redirect { ports: wanted } => self.act_nat(Nat::Redirect, None, ports(wanted)),
            Target::Mark { value, mask } => {
                let bits = self.view.mark.masked(&(!mask).to_ne_bytes(), &value.to_ne_bytes());
                let kept = self.around.surroundings.routes.is_some() && !self.around.surroundings.policy_routing;
                self.change(|view| {
                    if view.hook == Hook::Output && !kept && view.mark != bits {
                        view.device_out = Device::Unknown;
                    }
                    view.mark = bits;
                });
            }
            Target::ConnMark(mode) => {
                let mode = *mode;
                self.change(|view| match mode {
                    ConnMark::Set { value, mask } => {
                        view.ct_mark = view.ct_mark.masked(&(!mask).to_ne_bytes(), &value.to_ne_bytes());
                    }
                    ConnMark::Save { connection: u32::MAX, packet: u32::MAX } => view.ct_mark = view.mark,
                    ConnMark::Restore { connection: u32::MAX, packet: u32::MAX } => view.mark = view.ct_mark,
                    ConnMark::Save { .. } => view.ct_mark = Bits::unknown(4),
                    ConnMark::Restore { .. } => view.mark = Bits::unknown(4),
                    ConnMark::Other => {
                        view.ct_mark = Bits::unknown(4);
                        view.mark = Bits::unknown(4);
                    }
                });
            }
            Target::NoTrack => self.untrack(),
            Target::Queue { .. } => self.acts.push(Act::Queue { bypass: false }),
            Target::Continues { .. } => {}
            Target::Unknown { name } => self.unknown(&format!("target {name}"), None, true),
        }
    }
}

pub(super) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX / 4)
}

/// What two ends of a range have in common.
fn span(low: &Bits, high: &Bits) -> Bits {
    if low == high {
        return *low;
    }
    // Bits behind the first that differs may be anything.
    let joined = low.join(high);
    let mut out = Bits::unknown(joined.len());
    for at in 0..joined.len() {
        let piece = joined.piece(at, 1);
        out.put(at, &piece);
        if !piece.is_known() {
            out.put(at, &Bits::unknown(1));
            break;
        }
    }
    out
}

/// The address of `redirect`: in output loopback's, else one of the interface by which the packet came.
fn redirected(view: &View, surroundings: &Surroundings) -> Bits {
    if view.hook == Hook::Output {
        let loopback = if view.v6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { IpAddr::from(Ipv4Addr::LOCALHOST) };
        return view::address_bits(loopback);
    }
    let width = if view.v6 { 16 } else { 4 };
    let Device::Named(name) = &view.device_in else { return Bits::unknown(width) };
    let addresses = surroundings.interfaces.get(name).map(|facts| facts.addresses.as_slice()).unwrap_or_default();
    let mut family = addresses.iter().filter(|(address, _)| address.is_ipv6() == view.v6).map(|(address, _)| *address);
    if view.v6 {
        family.map(view::address_bits).reduce(|a, b| a.join(&b)).unwrap_or(Bits::unknown(width))
    } else {
        family.next().map_or(Bits::unknown(width), view::address_bits)
    }
}

/// A number below a modulus: the bits that it can never have are known.
fn generated(modulus: u32, offset: u32) -> Bits {
    if modulus == 1 {
        return Bits::number(offset);
    }
    let greatest = modulus.saturating_sub(1);
    let mask = u32::MAX.checked_shr(greatest.leading_zeros()).unwrap_or(0);
    if offset == 0 { Bits::unknown(4).masked(&mask.to_ne_bytes(), &[0; 4]) } else { Bits::unknown(4) }
}
