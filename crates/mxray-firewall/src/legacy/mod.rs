//! The text of `iptables-save` and `ip6tables-save`, read into a [`Ruleset`].
//!
//! Line by line, so that a file of any size needs no more than its rules do. What a line's options mean is read in `words`.

mod words;

#[cfg(test)]
mod tests;

use crate::expression::Expression;
use crate::ruleset::{Base, Chain, ChainKind, Family, Framework, Hook, LeftOut, Policy, Rule, Ruleset, Table};
use crate::xt::Match;
use std::io::BufRead;

/// More rules than any host has that still works; what is beyond is left out, and said so.
const RULES_MAX: usize = 200_000;
/// A line of 32 KiB is no rule that iptables wrote.
const LINE_MAX: usize = 32 * 1024;
const CHAINS_MAX: usize = 20_000;
const LEFT_OUT_MAX: usize = 16;

/// Reads the text of one family, line by line. Never fails: what could not be read is said in [`Ruleset::left_out`].
///
/// Chains get the hooks and priorities of the legacy framework's tables. Text that `iptables-nft-save` wrote reads the same.
pub fn parse(family: Family, text: &mut dyn BufRead) -> Ruleset {
    let mut reader = Reader {
        family,
        ruleset: Ruleset { framework: Framework::Legacy, tables: Vec::new(), left_out: Vec::new() },
        current: None,
        rules: 0,
        chains: 0,
        line: 0,
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        reader.line = reader.line.saturating_add(1);
        match line(text, &mut buffer) {
            Ok(Ending::End) => break,
            Ok(Ending::Line) => reader.take(&String::from_utf8_lossy(&buffer)),
            Ok(Ending::TooLong) => {
                let what = format!("line {}", reader.line);
                reader.leave_out(&what, "it is longer than any rule");
            }
            Err(error) => {
                reader.current = None;
                reader.leave_out("the rest", &error.to_string());
                break;
            }
        }
    }
    for table in &mut reader.ruleset.tables {
        table.index();
    }
    reader.ruleset
}

enum Ending {
    Line,
    TooLong,
    End,
}

/// One line without its end. What is longer than the limit is read over.
fn line(text: &mut dyn BufRead, buffer: &mut Vec<u8>) -> std::io::Result<Ending> {
    let mut too_long = false;
    let mut any = false;
    loop {
        let available = match text.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            break;
        }
        any = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        if buffer.len() + piece.len() > LINE_MAX {
            too_long = true;
        } else {
            buffer.extend_from_slice(piece);
        }
        let used = piece.len() + usize::from(end.is_some());
        text.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(match (any, too_long) {
        (false, _) => Ending::End,
        (true, true) => Ending::TooLong,
        (true, false) => Ending::Line,
    })
}

struct Reader {
    family: Family,
    ruleset: Ruleset,
    /// The table whose lines are read.
    current: Option<usize>,
    rules: usize,
    chains: usize,
    line: u32,
}

impl Reader {
    fn leave_out(&mut self, what: &str, why: &str) {
        let table = self.current.and_then(|at| self.ruleset.tables.get(at)).map(Table::key);
        let same = |left: &LeftOut| left.table == table && left.why == why;
        if self.ruleset.left_out.len() < LEFT_OUT_MAX || !self.ruleset.left_out.iter().any(same) {
            let entry = LeftOut { what: what.to_owned(), why: why.to_owned(), table, rules: true };
            if self.ruleset.left_out.len() < 4 * LEFT_OUT_MAX {
                self.ruleset.left_out.push(entry);
            }
        }
    }

    fn take(&mut self, text: &str) {
        let text = text.trim();
        let Some(first) = text.chars().next() else { return };
        match first {
            '#' => {}
            '*' => self.table(text.get(1..).unwrap_or_default()),
            ':' => self.chain(text.get(1..).unwrap_or_default()),
            _ if text == "COMMIT" => self.current = None,
            _ => self.rule(text),
        }
    }

    fn table(&mut self, name: &str) {
        let name = mxray_model::text::untrusted(name.trim().as_bytes());
        let known = self.ruleset.tables.iter().position(|table| table.name == name);
        if known.is_none() && self.ruleset.tables.len() >= 32 {
            self.current = None;
            let what = format!("line {}", self.line);
            return self.leave_out(&what, "there are more tables than iptables has");
        }
        self.current = Some(known.unwrap_or_else(|| {
            self.ruleset.tables.push(Table::new(Framework::Legacy, self.family, name));
            self.ruleset.tables.len() - 1
        }));
    }

    /// `:INPUT ACCEPT [12:3456]`, `:mine - [0:0]`
    fn chain(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let (Some(name), policy) = (words.next(), words.next().unwrap_or("-")) else { return };
        let name = mxray_model::text::untrusted(name.as_bytes());
        let packets = words.next().and_then(words::counters).map(|(packets, _)| packets);
        self.chains += 1;
        if self.chains > CHAINS_MAX {
            let what = format!("line {}", self.line);
            return self.leave_out(&what, &format!("more than {CHAINS_MAX} chains"));
        }
        let Some(table) = self.current.and_then(|at| self.ruleset.tables.get_mut(at)) else { return };
        let base = base(&table.name, &name, policy);
        match table.chain_index.get(&name).and_then(|at| table.chains.get_mut(*at)) {
            Some(known) => known.base = base,
            None => {
                table.chain_index.insert(name.clone(), table.chains.len());
                table.chains.push(Chain { name, handle: None, base, rules: Vec::new(), packets });
            }
        }
    }

    /// `[0:0] -A INPUT -p tcp -m tcp --dport 25 -j DROP`
    fn rule(&mut self, text: &str) {
        let (counted, rest) = match text.strip_prefix('[').and_then(|_| text.split_once(' ')) {
            Some((counters, rest)) => (words::counters(counters), rest.trim_start()),
            None => (None, text),
        };
        let what = format!("line {}", self.line);
        let appended = rest.strip_prefix("-A ").or_else(|| rest.strip_prefix("--append "));
        let Some((name, written)) = appended.map(|rest| rest.trim_start().split_once(' ').unwrap_or((rest.trim(), "")))
        else {
            // `-N chain` makes a chain, which a rule makes as well.
            if !rest.starts_with("-N ") {
                self.leave_out(&what, "it is no line of iptables-save");
            }
            return;
        };
        if self.rules >= RULES_MAX {
            return self.leave_out(&format!("{what} and what follows"), &format!("more than {RULES_MAX} rules"));
        }
        self.rules += 1;
        let v6 = self.family == Family::Ip6;
        let mut expressions = Vec::new();
        if let Some((packets, bytes)) = counted {
            expressions.push(Expression::Counter { packets, bytes });
        }
        words::expressions(written, v6, &mut expressions);
        let comment = expressions.iter().find_map(|expression| match expression {
            Expression::Match(Match::Comment(text)) => Some(text.clone()),
            _ => None,
        });
        let name = mxray_model::text::untrusted(name.as_bytes());
        let line = Some(self.line);
        let Some(table) = self.current.and_then(|at| self.ruleset.tables.get_mut(at)) else {
            return self.leave_out(&what, "it stands in no table");
        };
        let at = match table.chain_index.get(&name) {
            Some(at) => *at,
            None => {
                table.chain_index.insert(name.clone(), table.chains.len());
                table.chains.push(Chain { name, handle: None, base: None, rules: Vec::new(), packets: None });
                table.chains.len() - 1
            }
        };
        let Some(chain) = table.chains.get_mut(at) else { return };
        chain.rules.push(Rule {
            handle: None,
            position: u32::try_from(chain.rules.len() + 1).unwrap_or(u32::MAX),
            expressions,
            comment,
            written: Some(mxray_model::text::untrusted(written.trim().as_bytes())),
            line,
        });
    }
}

/// Where the legacy framework calls a table's own chains (linux/netfilter_ipv4.h).
fn base(table: &str, chain: &str, policy: &str) -> Option<Base> {
    let policy = match policy {
        "ACCEPT" => Policy::Accept,
        "DROP" => Policy::Drop,
        _ => return None,
    };
    let hook = match chain {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "FORWARD" => Hook::Forward,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        _ => return None,
    };
    let (kind, priority) = match (table, hook) {
        ("raw", _) => (ChainKind::Filter, -300),
        ("mangle", Hook::Output) => (ChainKind::Route, -150),
        ("mangle", _) => (ChainKind::Filter, -150),
        ("nat", Hook::Prerouting | Hook::Output) => (ChainKind::Nat, -100),
        ("nat", _) => (ChainKind::Nat, 100),
        ("security", _) => (ChainKind::Filter, 50),
        _ => (ChainKind::Filter, 0),
    };
    Some(Base { hook, priority, kind, policy, devices: Vec::new() })
}
