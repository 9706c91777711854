//! nftables' own language, as far as files like /etc/nftables.conf go: tables with chains with rules, includes, definitions.
//!
//! Rules are compared as text in one form ([`normal`]). Whatever else stands in a file is unknown with its line. Sets and maps
//! are passed over: their elements come and go.

use super::super::Rulesets;
use super::super::ask::Way;
use super::{TOLD_MAX, at_boot, is_makers, nothing, text_of, walk};
use crate::names::{self, Services};
use mxray_firewall::{Framework, Policy, Ruleset, Table};
use mxray_model::evidence::{FileLine, Firewall, Persisted};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// Files that include each other.
const FILES_MAX: usize = 64;
const UNIT: &str = "nftables.service";

/// `None`: there is no such file.
pub(super) fn compare(
    rulesets: &Rulesets,
    way: &mut Way<'_>,
    running: &Firewall,
    file: &Path,
) -> Option<Seen<Persisted>> {
    // Debian installs the file with the package, whether or not anything loads it.
    let mut persisted = nothing(UNIT, at_boot(UNIT));
    let text = text_of(file)?;
    if persisted.at_boot != Seen::Value(true) {
        return Some(Seen::Value(persisted));
    }
    let mut reader = Reader::default();
    let read = match text {
        Seen::Value(text) => reader.read(&crate::read::shown(file), &String::from_utf8_lossy(&text), 0),
        Seen::Unknown(blind) => return Some(Seen::Unknown(blind)),
        Seen::Absent => return None,
    };
    if let Err(blind) = read {
        return Some(Seen::Unknown(blind));
    }
    let services = Services::read();
    match against(rulesets, &reader.tables, &services, &mut persisted) {
        Err(blind) => return Some(Seen::Unknown(blind)),
        Ok(then) if persisted.only_in_file.is_empty() => {
            if let Some(then) = then {
                walk::differences(way, running, &then, (None, None), &mut persisted);
            }
        }
        Ok(_) => {}
    }
    persisted.only_running.truncate(TOLD_MAX);
    persisted.only_in_file.truncate(TOLD_MAX);
    persisted.only_in_file_texts.truncate(TOLD_MAX);
    Some(Seen::Value(persisted))
}

/// A chain as the file has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct FileChain {
    drops: Option<bool>,
    rules: Vec<(String, FileLine)>,
}

type FileTables = BTreeMap<String, BTreeMap<String, FileChain>>;

/// Notes what differs, and gives the running rulesets without what the file does not have. `None`: nothing differs.
///
/// # Errors
/// Rules on both sides are left that may be one and the same, spelled in two ways.
fn against(
    rulesets: &Rulesets,
    file: &FileTables,
    services: &Services,
    persisted: &mut Persisted,
) -> Result<Option<Vec<Ruleset>>, Blind> {
    let mut then: Vec<Ruleset> = rulesets.rulesets.clone();
    let mut changed = false;
    for (key, chains) in file {
        let tables = then.iter_mut().flat_map(|ruleset| &mut ruleset.tables);
        let mut tables = tables.filter(|table| table.framework == Framework::NfTables);
        let Some(table) = tables.find(|table| table.key() == *key) else {
            for (text, at) in chains.values().flat_map(|chain| &chain.rules) {
                persisted.only_in_file.push(at.clone());
                persisted.only_in_file_texts.push(text.clone());
            }
            continue;
        };
        for (name, chain) in chains {
            changed |= one_chain(table, name, chain, services, persisted)?;
        }
    }
    Ok(changed.then_some(then))
}

fn one_chain(
    table: &mut Table,
    name: &str,
    written: &FileChain,
    services: &Services,
    persisted: &mut Persisted,
) -> Result<bool, Blind> {
    let mut left: Vec<&(String, FileLine)> = written.rules.iter().collect();
    let mut extra = Vec::new();
    let texts: Vec<(String, bool)> = match table.chain(name) {
        Some(chain) => chain
            .rules
            .iter()
            .map(|rule| (table.text(rule), is_makers(table.found(chain, rule).manager.as_deref())))
            .collect(),
        None => Vec::new(),
    };
    for (index, (text, made)) in texts.iter().enumerate() {
        let form = normal(text, services);
        match left.iter().position(|(other, _)| normal(other, services) == form) {
            Some(place) => _ = left.remove(place),
            None if *made => {}
            None => extra.push((index, text.clone())),
        }
    }
    if let (Some((text, at)), false) = (left.first(), extra.is_empty()) {
        return Err(Blind::NotUnderstood {
            what: format!("{at} beside what runs in chain {name}"),
            text: text.clone(),
        });
    }
    for (text, at) in left {
        persisted.only_in_file.push(at.clone());
        persisted.only_in_file_texts.push(text.clone());
    }
    let mut changed = !extra.is_empty();
    let Some(chain) = table.chains.iter_mut().find(|chain| chain.name == name) else { return Ok(changed) };
    for (index, text) in extra.into_iter().rev() {
        chain.rules.remove(index);
        persisted.only_running.insert(0, text);
    }
    if let (Some(base), Some(drops)) = (&mut chain.base, written.drops) {
        let policy = if drops { Policy::Drop } else { Policy::Accept };
        if base.policy != policy {
            let word = |policy: Policy| if policy == Policy::Drop { "drop" } else { "accept" };
            persisted.only_running.push(format!("chain {name}: policy {}", word(base.policy)));
            base.policy = policy;
            changed = true;
        }
    }
    Ok(changed)
}

/// Reads files into tables.
#[derive(Debug, Default)]
struct Reader {
    tables: FileTables,
    defined: BTreeMap<String, String>,
    files: usize,
}

/// A word with its line, or the end of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String, u32),
    End,
}

impl Reader {
    fn read(&mut self, file: &str, text: &str, depth: u32) -> Result<(), Blind> {
        self.files += 1;
        if self.files > FILES_MAX || depth > 16 {
            return Err(Blind::NotAttempted { why: format!("{file}: more than {FILES_MAX} files are included") });
        }
        let tokens = tokens(text);
        let mut at = 0;
        while at < tokens.len() {
            let (statement, line) = statement(&tokens, &mut at);
            if !statement.is_empty() {
                self.top(file, line, &statement, depth)?;
            }
        }
        Ok(())
    }

    /// A statement outside of all tables: words, and blocks as words in braces.
    fn top(&mut self, file: &str, line: u32, statement: &[(String, u32)], depth: u32) -> Result<(), Blind> {
        let words: Vec<&str> = statement.iter().map(|(word, _)| word.as_str()).collect();
        let not_understood =
            || Blind::NotUnderstood { what: format!("{file}:{line}"), text: untrusted(words.join(" ").as_bytes()) };
        match words.as_slice() {
            ["flush", "ruleset"] => {
                self.tables.clear();
                Ok(())
            }
            ["include", pattern] => self.include(pattern.trim_matches('"'), depth),
            ["define" | "redefine", name, "=", value @ ..] => {
                let value = self.expanded(value);
                self.defined.insert((*name).to_owned(), value);
                Ok(())
            }
            ["undefine", ..] => Ok(()),
            ["delete" | "destroy", "table", rest @ ..] => {
                self.tables.remove(&key(rest));
                Ok(())
            }
            ["add" | "create", rest @ ..] if rest.first() == Some(&"rule") => match rest {
                ["rule", family @ ("ip" | "ip6" | "inet"), table, chain, rule @ ..] => {
                    self.rule(file, line, &key(&[family, table]), chain, rule);
                    Ok(())
                }
                _ => Err(not_understood()),
            },
            ["add" | "create", "table", name @ ..] if !name.contains(&"{") => {
                self.tables.entry(key(name)).or_default();
                Ok(())
            }
            ["add" | "create", "chain", family, table, chain, rest @ ..] => {
                let drops = policy(rest);
                let place =
                    self.tables.entry(key(&[family, table])).or_default().entry((*chain).to_owned()).or_default();
                place.drops = drops.or(place.drops);
                Ok(())
            }
            ["add" | "create", "set" | "map" | "element" | "flowtable" | "counter" | "limit" | "ct", ..] => Ok(()),
            ["table", name @ ..] => {
                let open = name.iter().position(|word| *word == "{");
                let table = key(name.get(..open.unwrap_or(name.len())).unwrap_or_default());
                self.tables.entry(table.clone()).or_default();
                match open {
                    Some(open) => self.table(file, &table, statement.get(open + 2..).unwrap_or_default()),
                    None => Ok(()),
                }
            }
            _ => Err(not_understood()),
        }
    }

    fn include(&mut self, pattern: &str, depth: u32) -> Result<(), Blind> {
        // A name without a slash is looked for where nft was built to look (/etc on Debian).
        let pattern = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            format!("/etc/{}", pattern.trim_start_matches("./"))
        };
        let found = glob::glob(&pattern).map_err(|error| Blind::Failed {
            step: format!("find {}", untrusted(pattern.as_bytes())),
            error: error.to_string(),
        })?;
        for path in found.flatten().take(FILES_MAX) {
            match text_of(&path) {
                Some(Seen::Value(text)) => {
                    self.read(&crate::read::shown(&path), &String::from_utf8_lossy(&text), depth + 1)?;
                }
                Some(Seen::Unknown(blind)) => return Err(blind),
                Some(Seen::Absent) | None => {}
            }
        }
        Ok(())
    }

    /// What stands between a table's braces.
    fn table(&mut self, file: &str, table: &str, body: &[(String, u32)]) -> Result<(), Blind> {
        let mut at = 0;
        while let Some((word, line)) = body.get(at) {
            let open = body.iter().skip(at).position(|(word, _)| word == "{").map(|place| at + place);
            match word.as_str() {
                ";" | "}" => at += 1,
                "flags" | "comment" => at += 2,
                "chain" => {
                    let (Some((name, _)), Some(open)) = (body.get(at + 1), open) else { break };
                    let close = closing(body, open);
                    self.chain(file, table, name, body.get(open + 1..close).unwrap_or_default());
                    at = close + 1;
                }
                "set" | "map" | "flowtable" | "counter" | "quota" | "limit" | "ct" | "secmark" | "synproxy" => {
                    let Some(open) = open else { break };
                    at = closing(body, open) + 1;
                }
                other => {
                    let text = untrusted(other.as_bytes());
                    return Err(Blind::NotUnderstood { what: format!("{file}:{line}"), text });
                }
            }
        }
        Ok(())
    }

    fn chain(&mut self, file: &str, table: &str, name: &str, body: &[(String, u32)]) {
        self.tables.entry(table.to_owned()).or_default().entry(name.to_owned()).or_default();
        let mut rule: Vec<(String, u32)> = Vec::new();
        let mut depth = 0u32;
        for (word, line) in body.iter().cloned().chain(std::iter::once((";".to_owned(), 0))) {
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if word != ";" {
                rule.push((word, line));
                continue;
            }
            // A line's end between the elements of a set.
            if depth > 0 {
                continue;
            }
            let words: Vec<&str> = rule.iter().map(|(word, _)| word.as_str()).collect();
            match words.first() {
                None | Some(&("type" | "comment" | "flags" | "devices" | "device")) => {}
                Some(&"policy") => {
                    let drops = words.get(1) == Some(&"drop");
                    self.tables.entry(table.to_owned()).or_default().entry(name.to_owned()).or_default().drops =
                        Some(drops);
                }
                Some(_) => {
                    let line = rule.first().map_or(1, |(_, line)| *line);
                    self.rule(file, line, table, name, &words);
                }
            }
            rule.clear();
        }
    }

    fn rule(&mut self, file: &str, line: u32, table: &str, chain: &str, words: &[&str]) {
        let text = untrusted(self.expanded(words).as_bytes());
        let place = self.tables.entry(table.to_owned()).or_default().entry(chain.to_owned()).or_default();
        place.rules.push((text, FileLine { file: file.to_owned(), line }));
    }

    /// With `$NAME` replaced.
    fn expanded(&self, words: &[&str]) -> String {
        let one = |word: &&str| match word.strip_prefix('$').and_then(|name| self.defined.get(name)) {
            Some(value) => value.clone(),
            None => (*word).to_owned(),
        };
        words.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// `nft inet filter` of `inet filter`; a table without a family is IPv4's (nft(8)).
fn key(words: &[&str]) -> String {
    match words {
        [name] => format!("nft ip {name}"),
        [family, name, ..] => format!("nft {family} {name}"),
        [] => "nft".to_owned(),
    }
}

fn policy(words: &[&str]) -> Option<bool> {
    words.windows(2).find_map(|pair| match pair {
        ["policy", word] => Some(*word == "drop"),
        _ => None,
    })
}

/// Words, with braces, commas and semicolons on their own, quoted strings whole. A line's end is a semicolon.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let joined = text.replace("\\\n", "  ");
    for (line, number) in joined.lines().zip(1u32..) {
        let mut word = String::new();
        let mut quoted = false;
        let flush = |word: &mut String, found: &mut Vec<Token>| {
            if !word.is_empty() {
                found.push(Token::Word(std::mem::take(word), number));
            }
        };
        for c in line.chars() {
            match c {
                '"' => {
                    quoted = !quoted;
                    word.push(c);
                }
                _ if quoted => word.push(c),
                '#' => break,
                '{' | '}' | ',' | ';' => {
                    flush(&mut word, &mut found);
                    found.push(Token::Word(c.to_string(), number));
                }
                c if c.is_whitespace() => flush(&mut word, &mut found),
                c => word.push(c),
            }
        }
        flush(&mut word, &mut found);
        found.push(Token::End);
    }
    found
}

/// The next statement with all of its blocks; a line's end within a block is a semicolon, but not within a set's elements.
fn statement(tokens: &[Token], at: &mut usize) -> (Vec<(String, u32)>, u32) {
    let mut words: Vec<(String, u32)> = Vec::new();
    let mut depth = 0u32;
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token {
            Token::Word(word, line) => {
                match word.as_str() {
                    "{" => depth += 1,
                    "}" => depth = depth.saturating_sub(1),
                    ";" if depth == 0 => break,
                    _ => {}
                }
                words.push((word.clone(), *line));
            }
            Token::End if depth == 0 && !words.is_empty() => break,
            Token::End if depth > 0 => {
                let goes_on = words.last().is_some_and(|(word, _)| matches!(word.as_str(), "," | "{" | ";"));
                if !goes_on {
                    words.push((";".to_owned(), 0));
                }
            }
            Token::End => {}
        }
    }
    let line = words.first().map_or(1, |(_, line)| *line);
    (words, line)
}

/// The place of the brace that closes the one at `open`.
fn closing(body: &[(String, u32)], open: usize) -> usize {
    let mut depth = 0u32;
    for (place, (word, _)) in body.iter().enumerate().skip(open) {
        match word.as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return place;
                }
            }
            _ => {}
        }
    }
    body.len()
}

/// One form for one rule: counters, comments and quotes gone, names of ports and users as numbers, lists in order.
fn normal(text: &str, services: &Services) -> String {
    let spaced = text.replace('{', " { ").replace('}', " } ").replace(',', " , ").replace(';', " ");
    let mut words: Vec<String> = Vec::new();
    let mut rest = spaced.split_whitespace().peekable();
    while let Some(word) = rest.next() {
        match word {
            "counter" => {
                while rest.peek().is_some_and(|next| matches!(*next, "packets" | "bytes")) {
                    rest.next();
                    rest.next();
                }
            }
            "comment" => {
                // A quoted string may have blanks in it.
                let mut quotes = 0;
                for next in rest.by_ref() {
                    quotes += next.matches('"').count();
                    if quotes != 1 {
                        break;
                    }
                }
            }
            "meta" | "==" | "eq" | "{" | "}" => {}
            word => words.push(word.trim_matches('"').to_owned()),
        }
    }
    let mut kind = String::new();
    for word in &mut words {
        match word.as_str() {
            "dport" | "sport" | "skuid" | "skgid" | "iif" | "oif" => kind.clone_from(word),
            "," | "!=" => {}
            other => {
                let number = match kind.as_str() {
                    "dport" | "sport" => services.port(other).map(|port| port.to_string()),
                    "iif" | "oif" => index_of(other),
                    "skuid" => names::account(other).value().map(|account| account.uid.to_string()),
                    _ => None,
                };
                if let Some(number) = number {
                    *word = number;
                }
            }
        }
        if matches!(word.as_str(), "accept" | "drop" | "reject" | "jump" | "ct" | "ip" | "ip6" | "tcp" | "udp") {
            kind.clear();
        }
    }
    let joined = words.join(" ").replace(" , ", ",");
    let sorted = joined.split(' ').map(|word| {
        let mut parts: Vec<&str> = word.split(',').collect();
        parts.sort_unstable();
        parts.join(",")
    });
    let mut form = sorted.collect::<Vec<_>>().join(" ");
    // What nft writes or leaves out by default.
    for (long, short) in [
        (" with icmpx type port-unreachable", ""),
        (" with icmpx port-unreachable", ""),
        (" with icmp type port-unreachable", ""),
        (" with icmp port-unreachable", ""),
        (" burst 5 packets", ""),
    ] {
        form = form.replace(long, short);
    }
    form
}

/// The kernel keeps `iif` as a number.
fn index_of(interface: &str) -> Option<String> {
    if interface.contains('/') || interface.starts_with('.') {
        return None;
    }
    crate::read::line(&format!("/sys/class/net/{interface}/ifindex")).value().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FileTables, Blind> {
        let mut reader = Reader::default();
        reader.read("/x", text, 0).map(|()| reader.tables)
    }

    #[test]
    fn a_file_is_read_into_chains() {
        let tables = read(
            "#!/usr/sbin/nft -f\nflush ruleset\ndefine MAIL = { 25, 587 }\n\ntable inet filter {\n\tset lan { type ipv4_addr; flags interval;\n\t\telements = { 10.0.0.0/8,\n 192.0.2.0/24 } }\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\tct state { established, related } accept # known\n\t\ttcp dport $MAIL \\\n accept\n\t\tip saddr @lan tcp dport {\n 143, 993\n } accept; iif lo accept\n\t}\n\tchain out { type filter hook output priority 0; }\n}\nadd rule inet filter out tcp dport 25 drop\n",
        )
        .unwrap();
        let input = &tables["nft inet filter"]["input"];
        assert_eq!(input.drops, Some(true));
        let rules: Vec<(&str, u32)> = input.rules.iter().map(|(text, at)| (text.as_str(), at.line)).collect();
        assert_eq!(
            rules.iter().map(|(text, _)| *text).collect::<Vec<_>>(),
            [
                "ct state { established , related } accept",
                "tcp dport { 25 , 587 } accept",
                "ip saddr @lan tcp dport { 143 , 993 } accept",
                "iif lo accept"
            ]
        );
        assert_eq!(tables["nft inet filter"]["out"].rules[0].0, "tcp dport 25 drop");
        assert_eq!(tables["nft inet filter"]["out"].drops, None);
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line() {
        for bad in ["table inet x {\n what is this\n}\n", "list ruleset\n", "insert rule x y z accept\n"] {
            assert!(matches!(read(bad), Err(Blind::NotUnderstood { .. })), "{bad}");
        }
        // A table that is emptied first, as scripts do.
        let again = read("table ip x\ndelete table ip x\ntable ip x { chain a { drop; } }\n").unwrap();
        assert_eq!(again["nft ip x"]["a"].rules.len(), 1);
    }

    #[test]
    fn one_rule_has_one_form() {
        let services = Services::read();
        let same = |a: &str, b: &str| assert_eq!(normal(a, &services), normal(b, &services));
        same("ct state { established, related } accept", "ct state established,related accept");
        same("tcp dport { smtp, 587 } counter accept", "tcp dport { 587, 25 } counter packets 3 bytes 180 accept");
        same("iifname \"eth0\" accept comment \"the way out\"", "meta iifname eth0 accept");
        same("reject with icmpx type port-unreachable", "reject");
        same("meta skuid root tcp dport 25 drop", "meta skuid 0 tcp dport 25 drop");
        assert_ne!(normal("tcp dport 25 accept", &services), normal("tcp dport 25 drop", &services));
        assert_ne!(normal("tcp dport != 25 drop", &services), normal("tcp dport 25 drop", &services));
    }
}
