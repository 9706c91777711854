//! A ruleset as a value: tables, chains, rules, sets. Both frameworks have the same form here.

use crate::expression::Expression;
use crate::manager;
use mxray_model::evidence::{FilterRule, FilterTable};
use std::collections::BTreeMap;

/// All tables of one framework, as they were at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    pub framework: Framework,
    /// In the order in which they were made.
    pub tables: Vec<Table>,
    /// What was in the input and is not in `tables`. A ruleset of which something is left out answers `unknown` where the
    /// part that is missing could decide.
    pub left_out: Vec<LeftOut>,
}

/// A piece of the input that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// `rule of inet filter input`, `line 7`
    pub what: String,
    pub why: String,
    /// The table ([`Table::key`]) that is therefore not complete; `None`: it may be any.
    pub table: Option<String>,
    /// Rules may be missing. Else it is a set's elements, and the set itself says so.
    pub rules: bool,
}

/// Who keeps the rules in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Framework {
    NfTables,
    /// The xtables of before it: `iptables-legacy`.
    Legacy,
}

/// Whose packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Ip,
    Ip6,
    /// IPv4 and IPv6.
    Inet,
    Arp,
    Bridge,
    Netdev,
    /// A number that this program has no name for.
    Other(u8),
}

impl Family {
    /// `ip`, `ip6`, `inet`, `arp`, `bridge`, `netdev`
    pub fn name(self) -> &'static str {
        match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Inet => "inet",
            Family::Arp => "arp",
            Family::Bridge => "bridge",
            Family::Netdev => "netdev",
            Family::Other(_) => "unknown",
        }
    }

    /// `NFPROTO_*` (linux/netfilter.h).
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Family::Inet,
            2 => Family::Ip,
            3 => Family::Arp,
            5 => Family::Netdev,
            7 => Family::Bridge,
            10 => Family::Ip6,
            other => Family::Other(other),
        }
    }

    pub fn number(self) -> u8 {
        match self {
            Family::Inet => 1,
            Family::Ip => 2,
            Family::Arp => 3,
            Family::Netdev => 5,
            Family::Bridge => 7,
            Family::Ip6 => 10,
            Family::Other(other) => other,
        }
    }
}

/// A table with all that is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub framework: Framework,
    pub family: Family,
    pub name: String,
    /// Loaded, but asleep: none of its chains sees a packet (`flags dormant`).
    pub dormant: bool,
    /// In the order in which they were made.
    pub chains: Vec<Chain>,
    pub sets: Vec<Set>,
    pub objects: Vec<Object>,
    pub(crate) chain_index: BTreeMap<String, usize>,
    pub(crate) set_index: BTreeMap<String, usize>,
}

impl Table {
    pub fn new(framework: Framework, family: Family, name: String) -> Self {
        Table {
            framework,
            family,
            name,
            dormant: false,
            chains: Vec::new(),
            sets: Vec::new(),
            objects: Vec::new(),
            chain_index: BTreeMap::new(),
            set_index: BTreeMap::new(),
        }
    }

    /// The key of `Firewall::tables`: `nft inet filter`, `legacy ip filter`.
    pub fn key(&self) -> String {
        let framework = match self.framework {
            Framework::NfTables => "nft",
            Framework::Legacy => "legacy",
        };
        format!("{framework} {} {}", self.family.name(), self.name)
    }

    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chain_index.get(name).and_then(|at| self.chains.get(*at))
    }

    pub fn set(&self, name: &str) -> Option<&Set> {
        self.set_index.get(name).and_then(|at| self.sets.get(*at))
    }

    /// The program that wrote the table, as its names show.
    pub fn manager(&self) -> Option<&'static str> {
        manager::of_table(self)
    }

    /// What a report keeps of it.
    pub fn facts(&self) -> FilterTable {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        FilterTable {
            framework: match self.framework {
                Framework::NfTables => "nf_tables".to_owned(),
                Framework::Legacy => "legacy".to_owned(),
            },
            chains: count(self.chains.len()),
            rules: count(self.chains.iter().map(|chain| chain.rules.len()).sum()),
            sets: count(self.sets.iter().filter(|set| !set.anonymous).count()),
            manager: self.manager().map(str::to_owned),
        }
    }

    /// A rule of one of its chains, as a person finds it again.
    pub fn found(&self, chain: &Chain, rule: &Rule) -> FilterRule {
        FilterRule {
            table: self.key(),
            chain: chain.name.clone(),
            handle: rule.handle,
            position: rule.position,
            text: self.text(rule),
            packets: rule.packets(),
            comment: rule.comment.clone(),
            manager: manager::of_rule(self, chain, rule).map(str::to_owned),
            by_sender: rule.by_sender(),
        }
    }

    /// The rule in its framework's own words.
    pub fn text(&self, rule: &Rule) -> String {
        match (&rule.written, self.framework) {
            (Some(text), _) => text.clone(),
            (None, Framework::NfTables) => crate::nft::text(self, rule),
            (None, Framework::Legacy) => String::new(),
        }
    }

    pub(crate) fn index(&mut self) {
        self.chain_index = self.chains.iter().enumerate().map(|(at, chain)| (chain.name.clone(), at)).collect();
        self.set_index = self.sets.iter().enumerate().map(|(at, set)| (set.name.clone(), at)).collect();
        for set in &mut self.sets {
            set.arrange();
        }
    }
}

/// Where in a packet's way a base chain is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Ingress,
    Egress,
    Other(u32),
}

impl Hook {
    pub fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
            Hook::Ingress => "ingress",
            Hook::Egress => "egress",
            Hook::Other(_) => "unknown",
        }
    }
}

/// What a base chain is for: it decides when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChainKind {
    Filter,
    /// Sees the first packet of a connection only.
    Nat,
    /// A packet that it changes is routed anew (output only).
    Route,
    Other,
}

/// What becomes of a packet that no rule of a base chain decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    Accept,
    Drop,
}

/// What makes a chain one that netfilter itself calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub hook: Hook,
    pub priority: i32,
    pub kind: ChainKind,
    pub policy: Policy,
    /// Of `ingress` and `egress`.
    pub devices: Vec<String>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    pub name: String,
    pub handle: Option<u64>,
    /// `None`: it is reached by jumps alone.
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
    /// Packets on which its policy decided, where it counts.
    pub packets: Option<u64>,
}

/// One rule: expressions that are looked at in turn, until one does not match or gives a verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub handle: Option<u64>,
    /// 1 is the first of its chain.
    pub position: u32,
    pub expressions: Vec<Expression>,
    pub comment: Option<String>,
    /// Its text, where it was read from text.
    pub written: Option<String>,
    /// Its line in the text that it was read from.
    pub line: Option<u32>,
}

impl Rule {
    /// Packets that it matched, where it counts.
    pub fn packets(&self) -> Option<u64> {
        self.expressions.iter().find_map(|expression| match expression {
            Expression::Counter { packets, .. } => Some(*packets),
            _ => None,
        })
    }

    /// Whether it looks at who sends: user, group, mark or cgroup.
    pub fn by_sender(&self) -> bool {
        self.expressions.iter().any(Expression::by_sender)
    }
}

/// What a rule, a map's element or a policy says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Accept,
    Drop,
    Queue,
    /// Taken out of netfilter's hands (`NF_STOLEN`).
    Stolen,
    Continue,
    /// The rule does not match after all.
    Break,
    Return,
    Jump(String),
    Goto(String),
    /// A number that this program has no name for.
    Other(i32),
}

/// A set, a map or a verdict map.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    pub name: String,
    pub anonymous: bool,
    /// Its elements are ranges.
    pub interval: bool,
    /// Rules may add to it.
    pub dynamic: bool,
    pub timeout: bool,
    pub map: bool,
    /// `ipv4_addr . inet_service`, as nft numbers its types; 0 where nobody said.
    pub key_type: u32,
    pub key_len: usize,
    /// The lengths of a concatenation's parts; each part begins on a multiple of four.
    pub fields: Vec<usize>,
    pub data_type: u32,
    /// In the order of their keys, once the table is complete.
    pub elements: Vec<Element>,
    /// The element for all that no other is for.
    pub catch_all: Option<Box<Element>>,
    /// Elements were left out: what is not found may be in it all the same.
    pub incomplete: bool,
    pub comment: Option<String>,
}

/// What a set holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    pub key: Vec<u8>,
    /// The end of a range of a concatenation, inclusive (`NFTA_SET_ELEM_KEY_END`).
    pub key_end: Option<Vec<u8>>,
    /// Not an element: the range before it ends before this key (`NFT_SET_ELEM_INTERVAL_END`).
    pub interval_end: bool,
    pub data: Option<Vec<u8>>,
    pub verdict: Option<Verdict>,
    /// A stateful object's name, in a map of objects.
    pub object: Option<String>,
    /// What is looked at as well when it is found (a limit of its own).
    pub expressions: Vec<Expression>,
}

impl Set {
    /// Puts the elements into the order in which they are searched.
    pub(crate) fn arrange(&mut self) {
        if let Some(at) = self.elements.iter().position(|element| element.key.is_empty()) {
            let element = self.elements.swap_remove(at);
            if self.catch_all.is_none() {
                self.catch_all = Some(Box::new(element));
            }
            self.elements.retain(|element| !element.key.is_empty());
        }
        // Where one range ends and the next begins at the same key, the end comes first.
        self.elements.sort_by(|a, b| a.key.cmp(&b.key).then(b.interval_end.cmp(&a.interval_end)));
    }
}

/// A named stateful object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub name: String,
    pub kind: u32,
    /// What it does to a packet.
    pub expression: Expression,
}
