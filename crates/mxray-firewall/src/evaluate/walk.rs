//! The walk through the base chains of one hook after the other, and what is possible at its end.

use super::rule::{Act, Added, Around, Outcome, Rewrite, look};
use super::view::{Astray, Device, NEW, RELATED, View, bits_address};
use crate::bits::Truth;
use crate::ruleset::{Base, Chain, ChainKind, Family, Hook, Policy, Rule, Ruleset, Table, Verdict};
use crate::surroundings::Surroundings;
use mxray_model::Blind;
use mxray_model::evidence::{FilterAnswer, FilterRule, FilterStep, FilterVerdict, Packet, RewrittenTo};

/// nf_tables allows 16 jumps deep; the legacy framework as many as there are chains. What is deeper is no ruleset that a
/// kernel loaded.
const DEPTH_MAX: u32 = 64;
/// Rules and set elements that are looked at for one packet. A set of 100,000 rules needs as many.
const STEPS_MAX: usize = 1_500_000;
/// Steps that are told of.
const WALK_MAX: usize = 256;
/// Possible ends, doubts and changes of the destination that are kept.
const KEPT_MAX: usize = 64;

/// Where a packet goes after a hook that may change its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Here,
    Elsewhere,
    /// Not known.
    Either,
}

/// A possible end of the packet's way.
#[derive(Debug, Clone)]
struct Stop {
    verdict: FilterVerdict,
    by: Option<FilterRule>,
}

/// A rule of which the effect is not known.
#[derive(Debug, Clone)]
struct Doubt {
    rule: Option<FilterRule>,
    why: String,
}

/// A change of the destination, by which rule, and whether it certainly happens.
#[derive(Debug, Clone)]
struct Change {
    to: Rewrite,
    by: FilterRule,
    certain: bool,
}

/// What of a chain's end is possible.
#[derive(Debug, Clone, Copy)]
struct Flow {
    /// No rule decided, or one returned.
    falls: bool,
    accepts: bool,
}

/// One base chain, and what calls it.
#[derive(Clone, Copy)]
struct Called<'all> {
    table: &'all Table,
    chain: &'all Chain,
    base: &'all Base,
    /// Rules of the table may be missing.
    partial: bool,
}

/// Where in the ruleset the walk is.
#[derive(Clone, Copy)]
struct Place<'all> {
    called: Called<'all>,
    chain: &'all Chain,
    depth: u32,
}

impl Place<'_> {
    fn found(&self, rule: &Rule) -> FilterRule {
        self.called.table.found(self.chain, rule)
    }
}

/// The walk of one packet.
pub struct Walk<'all> {
    rulesets: &'all [Ruleset],
    pub surroundings: &'all Surroundings,
    steps: Vec<FilterStep>,
    stops: Vec<Stop>,
    /// How many stops there were: of many, only some are kept.
    stopped: usize,
    doubts: Vec<Doubt>,
    /// Changes of the destination at this hook.
    changes: Vec<Change>,
    /// Those of hooks that are behind.
    done: Vec<Change>,
    added: Vec<Added>,
    looked: usize,
    /// The rules that are looked at are reached only perhaps: behind a jump that is not certain.
    beside: bool,
    /// The packet may have left the base chain already.
    left: bool,
    /// An address translation was chosen at this hook. `None`: perhaps.
    bound: Option<bool>,
    /// The packet's way may be another than the one that is walked, by which rule.
    astray: Option<(Astray, FilterRule)>,
}

impl<'all> Walk<'all> {
    pub fn new(rulesets: &'all [Ruleset], surroundings: &'all Surroundings) -> Self {
        Walk {
            rulesets,
            surroundings,
            steps: Vec::new(),
            stops: Vec::new(),
            stopped: 0,
            doubts: Vec::new(),
            changes: Vec::new(),
            done: Vec::new(),
            added: Vec::new(),
            looked: 0,
            beside: false,
            left: false,
            bound: Some(false),
            astray: None,
        }
    }

    fn doubtful(&self) -> bool {
        self.beside || self.left
    }

    fn doubt(&mut self, rule: Option<FilterRule>, why: String) {
        if self.doubts.len() < KEPT_MAX {
            self.doubts.push(Doubt { rule, why });
        }
    }

    /// The ways that the packet may take after prerouting or output: one, unless a change of its destination is not certain.
    /// `asked` is where it goes as it came.
    pub fn ways(&mut self, before: &View, after: View, asked: Way) -> Vec<(View, Way)> {
        let changes = std::mem::take(&mut self.changes);
        self.done.extend(changes.iter().cloned());
        let certain = changes.iter().any(|change| change.certain);
        let mut ways = Vec::new();
        for change in &changes {
            let mut view = after.clone();
            rewrite(&mut view, &change.to);
            view.translated = view.translation();
            let way = if change.to.here { Way::Here } else { self.way(&view, asked) };
            ways.push((view, way));
        }
        if !certain {
            let mut view = after;
            if !changes.is_empty() {
                view.put_destination(&before.destination());
                if view.has_ports() {
                    view.transport.put(2, &before.destination_port());
                }
                view.translated = Some(false);
            }
            let way = self.way(&view, asked);
            ways.push((view, way));
        }
        ways
    }

    fn way(&self, view: &View, asked: Way) -> Way {
        if !view.redirected() {
            return asked;
        }
        match bits_address(&view.destination()).and_then(|address| self.surroundings.is_own(address)) {
            Some(true) => Way::Here,
            Some(false) => Way::Elsewhere,
            None => Way::Either,
        }
    }

    /// The interface by which the main table's routes send it.
    pub fn leaves_by(&self, view: &View) -> Device {
        let Some(address) = bits_address(&view.destination()) else { return Device::Unknown };
        let route = self.surroundings.route(address, None).flatten();
        Device::of(route.and_then(|route| route.interface.as_ref()))
    }

    /// All base chains of a hook, in the order of their priorities. Says whether the packet may come past it.
    pub fn hook(&mut self, hook: Hook, view: &mut View) -> bool {
        view.hook = hook;
        self.bound = Some(false);
        for called in self.called(hook, view) {
            if !self.base_chain(called, view, true) {
                return false;
            }
        }
        true
    }

    /// The chains of the interface by which it comes.
    pub fn ingress(&mut self, view: &mut View) -> bool {
        self.device_hook(Hook::Ingress, view)
    }

    /// The chains of the interface by which it leaves.
    pub fn egress(&mut self, view: &mut View) -> bool {
        self.device_hook(Hook::Egress, view)
    }

    fn device_hook(&mut self, hook: Hook, view: &mut View) -> bool {
        let device = if hook == Hook::Ingress { view.device_in.clone() } else { view.device_out.clone() };
        let kept = view.hook;
        view.hook = hook;
        let mut passes = true;
        for called in self.called(hook, view) {
            let listed = match &device {
                Device::Named(name) => called.base.devices.iter().any(|one| one == name),
                Device::None => false,
                Device::Unknown => true,
            };
            if listed && !self.base_chain(called, view, device != Device::Unknown) {
                passes = false;
                break;
            }
        }
        view.hook = kept;
        passes
    }

    fn called(&self, hook: Hook, view: &View) -> Vec<Called<'all>> {
        let mut found = Vec::new();
        for ruleset in self.rulesets {
            let all_partial = ruleset.left_out.iter().any(|left| left.rules && left.table.is_none());
            for table in &ruleset.tables {
                let for_it = match table.family {
                    Family::Ip => !view.v6,
                    Family::Ip6 => view.v6,
                    Family::Inet => true,
                    Family::Netdev => matches!(hook, Hook::Ingress | Hook::Egress),
                    Family::Arp | Family::Bridge | Family::Other(_) => false,
                };
                if table.dormant || !for_it {
                    continue;
                }
                let partial = all_partial
                    || !ruleset.left_out.is_empty() && {
                        let key = table.key();
                        ruleset.left_out.iter().any(|left| left.rules && left.table.as_ref() == Some(&key))
                    };
                for chain in &table.chains {
                    if let Some(base) = chain.base.as_ref().filter(|base| base.hook == hook) {
                        found.push(Called { table, chain, base, partial });
                    }
                }
            }
        }
        // Of the same priority, what was registered later is called first.
        found.reverse();
        found.sort_by_key(|called| (effective(called.base), called.base.kind == ChainKind::Nat, called.base.priority));
        found
    }

    /// One base chain. Says whether the packet may go on. `certain`: it certainly meets the chain.
    fn base_chain(&mut self, called: Called<'all>, view: &mut View, certain: bool) -> bool {
        let mut certain = certain;
        view.priority = effective(called.base);
        if called.base.kind == ChainKind::Nat {
            // Only what begins a connection, and only until a translation is chosen. What a host sends to itself had its
            // chance in output and postrouting.
            let first = view.states & (NEW | RELATED);
            let again = view.looped && matches!(called.base.hook, Hook::Prerouting | Hook::Input);
            if first == 0 || self.bound == Some(true) || again {
                return true;
            }
            certain &= first == view.states && self.bound == Some(false);
        }
        let mark = (self.doubts.len(), self.stopped, self.changes.len());
        self.left = false;
        self.beside = !certain;
        if !certain {
            self.doubt(None, format!("whether it meets the chain {} is not known", called.chain.name));
        }
        let flow = self.chain(Place { called, chain: called.chain, depth: 0 }, view);
        self.beside = false;
        self.left = false;
        let mut passes = flow.accepts;
        if flow.falls {
            match called.base.policy {
                Policy::Accept => passes = true,
                Policy::Drop => self.end(FilterVerdict::Drop, None),
            }
        }
        if called.partial {
            self.doubt(None, format!("rules of {} may be missing", called.table.key()));
            self.end(FilterVerdict::Drop, None);
            passes = true;
        }
        if self.stopped == mark.1 && self.changes.len() == mark.2 {
            self.doubts.truncate(mark.0);
        }
        passes || !certain
    }

    /// One chain, from its first rule to where the packet leaves it.
    fn chain(&mut self, place: Place<'all>, view: &mut View) -> Flow {
        let mut flow = Flow { falls: false, accepts: false };
        if place.depth > DEPTH_MAX {
            self.anything(None, "chains jump deeper than any kernel allows");
            return Flow { falls: true, accepts: true };
        }
        for rule in &place.chain.rules {
            self.looked += 1;
            if self.looked > STEPS_MAX {
                self.anything(None, "the rules are more than are looked at for one packet");
                return Flow { falls: true, accepts: true };
            }
            let doubtful = self.doubtful();
            let table = place.called.table;
            let mut around = Around { table, surroundings: self.surroundings, added: &mut self.added };
            let outcome = look(&mut around, view, &rule.expressions, doubtful);
            self.looked += outcome.cost;
            let astray = std::mem::replace(&mut view.astray, Astray::No);
            if outcome.truth != Truth::No {
                self.lead_astray(astray, || place.found(rule));
            }
            if outcome.truth == Truth::No || outcome.acts.is_empty() {
                continue;
            }
            if !self.acts(place, rule, view, outcome, &mut flow) {
                return flow;
            }
        }
        flow.falls = true;
        if place.depth == 0 {
            self.tell_policy(place);
        }
        flow
    }

    /// What a rule that matches, or may match, does. Says whether the packet may come to the next rule.
    fn acts(
        &mut self,
        place: Place<'all>,
        rule: &'all Rule,
        view: &mut View,
        outcome: Outcome,
        flow: &mut Flow,
    ) -> bool {
        let maybe = outcome.truth == Truth::Maybe;
        let open = maybe || outcome.may_miss || outcome.acts.len() > 1;
        let mut next = maybe || outcome.may_miss;
        let mark = (self.doubts.len(), self.stopped, self.changes.len());
        let before = *flow;
        if open {
            let why = outcome.why.unwrap_or_else(|| "whether it matches is not known".to_owned());
            self.tell(place, Some(rule), &format!("not known: {why}"));
            if self.doubts.len() < KEPT_MAX {
                self.doubt(Some(place.found(rule)), why);
            }
        }
        let was = self.beside;
        self.beside |= open;
        for act in outcome.acts {
            next |= self.act(place, rule, view, act, flow);
        }
        self.beside = was;
        if open {
            // Once a packet may have left, what follows is reached only perhaps.
            let left = flow.accepts || flow.falls;
            self.left |= left;
            let nothing = self.stopped == mark.1 && self.changes.len() == mark.2;
            if nothing && flow.accepts == before.accepts && flow.falls == before.falls {
                self.doubts.truncate(mark.0);
            }
        }
        next
    }

    /// One act. Says whether the packet may come to the next rule.
    fn act(&mut self, place: Place<'all>, rule: &'all Rule, view: &mut View, act: Act, flow: &mut Flow) -> bool {
        match act {
            Act::Verdict(Verdict::Accept | Verdict::Stolen) => {
                self.tell(place, Some(rule), "accept");
                flow.accepts = true;
            }
            Act::Verdict(Verdict::Drop) => self.stop(place, rule, FilterVerdict::Drop, "drop"),
            Act::Reject(with) => {
                let said = format!("reject with {with}");
                self.stop(place, rule, FilterVerdict::Reject { with }, &said);
            }
            Act::Verdict(Verdict::Queue) | Act::Queue { .. } => self.stop(place, rule, FilterVerdict::Queue, "queue"),
            Act::Verdict(Verdict::Continue | Verdict::Break) => return true,
            Act::Verdict(Verdict::Return) => {
                self.tell(place, Some(rule), "return");
                if place.depth == 0 {
                    self.tell_policy(place);
                }
                flow.falls = true;
            }
            Act::Verdict(Verdict::Jump(to)) => {
                let inner = self.enter(place, rule, view, &to, "jump");
                flow.accepts |= inner.accepts;
                return inner.falls;
            }
            Act::Verdict(Verdict::Goto(to)) => {
                let inner = self.enter(place, rule, view, &to, "goto");
                flow.accepts |= inner.accepts;
                flow.falls |= inner.falls;
                if inner.falls && place.depth == 0 {
                    self.tell_policy(place);
                }
            }
            Act::Translated(rewritten) => {
                self.translated(place, rule, view, rewritten.map(|to| *to));
                flow.accepts = true;
            }
            Act::Anything | Act::Verdict(Verdict::Other(_)) => {
                // Where a packet's way is chosen, it may be sent elsewhere as well.
                if matches!(view.hook, Hook::Ingress | Hook::Prerouting | Hook::Output) {
                    self.lead_astray(Astray::Way, || place.found(rule));
                }
                self.tell(place, Some(rule), "not known: what it does is not evaluated");
                self.anything(Some(place.found(rule)), "what it does is not evaluated");
                flow.accepts = true;
                return true;
            }
        }
        false
    }

    fn enter(&mut self, place: Place<'all>, rule: &'all Rule, view: &mut View, to: &str, how: &str) -> Flow {
        self.tell(place, Some(rule), &format!("{how} {to}"));
        let Some(chain) = place.called.table.chain(to) else {
            self.anything(Some(place.found(rule)), "it jumps to a chain that is not known");
            return Flow { falls: true, accepts: true };
        };
        self.chain(Place { chain, depth: place.depth + 1, ..place }, view)
    }

    fn translated(&mut self, place: Place<'all>, rule: &'all Rule, view: &mut View, rewritten: Option<Rewrite>) {
        let certain = !self.doubtful();
        self.bound = if certain { Some(true) } else { None };
        let Some(to) = rewritten else {
            return self.tell(place, Some(rule), "accept, with another source");
        };
        self.tell(place, Some(rule), &words(&to));
        let before = view.clone();
        rewrite(view, &to);
        view.translated = view.translation();
        if !certain {
            view.join(&before);
        }
        if self.changes.len() < KEPT_MAX {
            self.changes.push(Change { to, by: place.found(rule), certain });
        } else {
            self.anything(Some(place.found(rule)), "too many rules may change its destination");
        }
    }

    fn lead_astray(&mut self, how: Astray, by: impl FnOnce() -> FilterRule) {
        if how > self.astray.as_ref().map_or(Astray::No, |(how, _)| *how) {
            self.astray = Some((how, by()));
        }
    }

    /// A rule that may do anything.
    fn anything(&mut self, rule: Option<FilterRule>, why: &str) {
        self.doubt(rule.clone(), why.to_owned());
        self.end(FilterVerdict::Drop, rule);
        self.left = true;
    }

    fn stop(&mut self, place: Place<'all>, rule: &'all Rule, verdict: FilterVerdict, said: &str) {
        self.tell(place, Some(rule), said);
        self.end(verdict, Some(place.found(rule)));
    }

    /// A possible end. Of very many, the last stands for all that came after the first ones.
    fn end(&mut self, verdict: FilterVerdict, by: Option<FilterRule>) {
        self.stopped += 1;
        if self.stops.len() >= KEPT_MAX {
            self.stops.pop();
        }
        self.stops.push(Stop { verdict, by });
    }

    fn tell_policy(&mut self, place: Place<'all>) {
        let drops = place.called.base.policy == Policy::Drop;
        self.tell(place, None, if drops { "policy drop" } else { "policy accept" });
    }

    fn tell(&mut self, place: Place<'all>, rule: Option<&'all Rule>, said: &str) {
        if self.steps.len() >= WALK_MAX {
            return;
        }
        let hook = if place.depth == 0 { place.called.base.hook.name() } else { "" };
        self.steps.push(FilterStep {
            table: place.called.table.key(),
            chain: place.chain.name.clone(),
            hook: hook.to_owned(),
            priority: place.called.base.priority,
            depth: place.depth,
            rule: rule.map(|rule| place.found(rule)),
            said: said.to_owned(),
        });
    }

    /// Joins what is possible into one answer.
    pub fn answer(mut self, packet: &Packet, arrives: bool) -> FilterAnswer {
        let doubtful_change = !self.done.is_empty() && !self.done.iter().any(|change| change.certain);
        let by_change = self.done.first().map(|change| change.by.clone());
        let rewritten_to =
            self.done.iter().rev().find(|change| change.certain && changes(&change.to, packet)).map(|change| {
                RewrittenTo {
                    address: change.to.address.as_ref().and_then(bits_address),
                    port: change
                        .to
                        .port
                        .as_ref()
                        .and_then(|bits| Some(u16::from_be_bytes(bits.all()?.try_into().ok()?))),
                    by: change.by.clone(),
                }
            });
        let (verdict, by) = match (arrives, self.stops.is_empty()) {
            (false, false) if !self.way_is_known() => self.gone_astray(),
            (true, true) if self.astray.is_some() => self.gone_astray(),
            (true, true) if doubtful_change => {
                let why = "whether its destination is changed is not known".to_owned();
                (unknown(why), by_change)
            }
            (true, true) => (FilterVerdict::Pass, None),
            (false, _) => self.stopped(),
            (true, false) => {
                let first = self.doubts.iter().find(|doubt| doubt.rule.is_some()).or(self.doubts.first());
                let why =
                    first.map_or_else(|| "whether a rule matches is not known".to_owned(), |doubt| doubt.why.clone());
                let rule = first.and_then(|doubt| doubt.rule.clone());
                (unknown(why), rule)
            }
        };
        self.steps.shrink_to_fit();
        FilterAnswer { packet: packet.clone(), verdict, by, walk: self.steps, rewritten_to }
    }

    fn way_is_known(&self) -> bool {
        self.astray.as_ref().is_none_or(|(how, _)| *how < Astray::Way)
    }

    fn gone_astray(&self) -> (FilterVerdict, Option<FilterRule>) {
        let why = match &self.astray {
            Some((Astray::Port, _)) => "a rule gives its header another port",
            _ => "where a rule sends it is not known",
        };
        (unknown(why.to_owned()), self.astray.as_ref().map(|(_, by)| by.clone()))
    }

    /// All ends are stops: which one.
    fn stopped(&self) -> (FilterVerdict, Option<FilterRule>) {
        let queued = self.stops.iter().any(|stop| stop.verdict == FilterVerdict::Queue);
        let all_queued = self.stops.iter().all(|stop| stop.verdict == FilterVerdict::Queue);
        if queued && !all_queued {
            let why = "whether a program decides or a rule stops it is not known".to_owned();
            return (unknown(why), self.stops.first().and_then(|stop| stop.by.clone()));
        }
        // The last is the one that nothing can pass.
        let Some(last) = self.stops.last() else {
            return (unknown("no end was found".to_owned()), None);
        };
        (last.verdict.clone(), last.by.clone())
    }
}

fn unknown(why: String) -> FilterVerdict {
    FilterVerdict::Unknown { why: Blind::NotUnderstood { what: "packet filter".to_owned(), text: why } }
}

/// Address translation has a place of its own at each hook, whatever priority its chains have among one another.
fn effective(base: &Base) -> i32 {
    match (base.kind, base.hook) {
        (ChainKind::Nat, Hook::Prerouting | Hook::Output) => -100,
        (ChainKind::Nat, Hook::Input | Hook::Postrouting) => 100,
        _ => base.priority,
    }
}

fn rewrite(view: &mut View, to: &Rewrite) {
    if let Some(address) = &to.address {
        view.put_destination(address);
    }
    if let (Some(port), true) = (&to.port, view.has_ports()) {
        view.transport.put(2, port);
    }
}

/// Whether the new destination is another than the packet's own.
fn changes(to: &Rewrite, packet: &Packet) -> bool {
    let own_address = super::view::address_bits(packet.destination);
    let same_address = to.address.as_ref().is_none_or(|address| *address == own_address);
    let own_port = packet.destination_port.map(u16::to_be_bytes);
    let same_port = to.port.as_ref().is_none_or(|port| own_port.is_some_and(|own| port.all() == Some(own.as_slice())));
    !(same_address && same_port)
}

fn words(to: &Rewrite) -> String {
    let address = to.address.as_ref().and_then(bits_address);
    let port = to.port.as_ref().and_then(|bits| Some(u16::from_be_bytes(bits.all()?.try_into().ok()?)));
    let name = if to.here { "redirect" } else { "dnat" };
    match (address, port) {
        (Some(address), Some(port)) => format!("{name} to {}", std::net::SocketAddr::new(address, port)),
        (Some(address), None) => format!("{name} to {address}"),
        (None, Some(port)) => format!("{name} to :{port}"),
        (None, None) => name.to_owned(),
    }
}
