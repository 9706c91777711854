//! Exim's logical lines as what they are: main options, named lists, access control lists, drivers. Pure.

use super::text::{Line, Text, Trouble};
use mxray_model::evidence::FileLine;
use std::collections::BTreeMap;

/// Options, statements and drivers in all.
const ENTRIES_MAX: usize = 100_000;
const TROUBLES_MAX: usize = 100;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub text: String,
    pub at: FileLine,
    /// `hide`: may hold a secret, and is never kept.
    pub hidden: bool,
}

/// One router, transport or authenticator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Driver {
    pub name: String,
    pub options: BTreeMap<String, Value>,
}

impl Driver {
    pub fn option(&self, name: &str) -> &str {
        self.options.get(name).map_or("", |value| value.text.as_str())
    }

    pub fn is(&self, driver: &str) -> bool {
        self.option("driver") == driver
    }
}

/// `deny` with its conditions, in order: what is tested, and what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub verb: String,
    /// `!hosts`, `10.0.0.0/8`; `endpass` has no value.
    pub conditions: Vec<(String, String)>,
    pub at: FileLine,
}

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub main: BTreeMap<String, Value>,
    /// `domainlist local_domains = …`, by kind and name.
    pub lists: BTreeMap<(String, String), Value>,
    pub acls: BTreeMap<String, Vec<Statement>>,
    pub routers: Vec<Driver>,
    pub transports: Vec<Driver>,
    pub authenticators: Vec<Driver>,
    pub troubles: Vec<Trouble>,
}

impl Config {
    pub fn list(&self, kind: &str, name: &str) -> Option<&Value> {
        self.lists.get(&(kind.to_owned(), name.to_owned()))
    }

    pub fn transport(&self, name: &str) -> Option<&Driver> {
        self.transports.iter().find(|driver| driver.name == name)
    }
}

const VERBS: &[&str] = &["accept", "defer", "deny", "discard", "drop", "require", "warn"];
const SECTIONS: &[&str] = &["acl", "authenticators", "local_scan", "retry", "rewrite", "routers", "transports"];
const LISTS: &[&str] = &["domainlist", "hostlist", "addresslist", "localpartlist"];

pub(crate) fn parse(text: &Text) -> Config {
    let mut parser = Parser {
        config: Config { troubles: text.troubles.clone(), ..Config::default() },
        section: "main".to_owned(),
        acl: None,
        entries: 0,
    };
    for line in text.lines.iter().filter(|line| !line.text.is_empty()) {
        parser.entries += 1;
        if parser.entries > ENTRIES_MAX {
            parser.trouble(line, format!("more than {ENTRIES_MAX} lines; the rest is not read"));
            break;
        }
        parser.line(line);
    }
    parser.config
}

struct Parser {
    config: Config,
    section: String,
    acl: Option<String>,
    entries: usize,
}

impl Parser {
    fn trouble(&mut self, line: &Line, text: String) {
        if self.config.troubles.len() < TROUBLES_MAX {
            self.config.troubles.push(Trouble { at: line.at.clone(), text });
        }
    }

    fn line(&mut self, line: &Line) {
        if let Some(section) = line.text.strip_prefix("begin").filter(|rest| rest.starts_with(' ')) {
            section.trim().clone_into(&mut self.section);
            self.acl = None;
            if !SECTIONS.contains(&section.trim()) {
                self.trouble(line, format!("there is no section {}: Exim cannot start", section.trim()));
            }
            return;
        }
        match self.section.as_str() {
            "main" => self.main(line),
            "acl" => self.acl(line),
            "routers" | "transports" | "authenticators" => self.driver(line),
            // What says how addresses are rewritten and how often is tried is not looked at.
            _ => {}
        }
    }

    fn main(&mut self, line: &Line) {
        let (text, hidden) = unhidden(&line.text);
        for kind in LISTS {
            if let Some(rest) = text.strip_prefix(kind).filter(|rest| rest.starts_with(' ')) {
                let (rest, _) = unhidden(rest.trim());
                let rest = rest.strip_prefix("_cache ").unwrap_or(rest);
                return match rest.split_once('=') {
                    Some((name, value)) => {
                        let value = Value { text: unquoted(value.trim()), at: line.at.clone(), hidden };
                        self.config.lists.insert(((*kind).to_owned(), name.trim().to_owned()), value);
                    }
                    None => self.trouble(line, format!("a {kind} without a value")),
                };
            }
        }
        match option(text) {
            Some((name, value)) => {
                let value = Value { text: value, at: line.at.clone(), hidden };
                if self.config.main.insert(name.clone(), value).is_some() {
                    self.trouble(line, format!("{name} is set for the second time: Exim cannot start"));
                }
            }
            None => self.trouble(line, "this is no option".to_owned()),
        }
    }

    fn acl(&mut self, line: &Line) {
        let text = line.text.as_str();
        if let Some(name) = text.strip_suffix(':').filter(|name| is_name(name)) {
            self.config.acls.entry(name.to_owned()).or_default();
            self.acl = Some(name.to_owned());
            return;
        }
        let Some(acl) = self.acl.clone().and_then(|name| self.config.acls.get_mut(&name)) else {
            return self.trouble(line, "a statement in front of the name of its list".to_owned());
        };
        let word = text.split(|c: char| c.is_whitespace() || c == '=').next().unwrap_or_default();
        let mut rest = text;
        if VERBS.contains(&word) {
            acl.push(Statement { verb: word.to_owned(), conditions: Vec::new(), at: line.at.clone() });
            rest = text.get(word.len()..).unwrap_or_default().trim();
        }
        let Some(statement) = acl.last_mut() else {
            return self.trouble(line, "a condition in front of its verb".to_owned());
        };
        if rest == "endpass" {
            statement.conditions.push((rest.to_owned(), String::new()));
        } else if !rest.is_empty() {
            let condition = rest.split_once('=').map(|(name, value)| {
                // `! hosts` is `!hosts`.
                (name.split_whitespace().collect::<String>(), unquoted(value.trim()))
            });
            match condition {
                // Variables: `set acl_m_x = …`
                Some((name, _)) if name.starts_with("set") && name.len() > 3 => {}
                Some(condition) => statement.conditions.push(condition),
                // `message` and the like need no value to be understood.
                None => statement.conditions.push((rest.to_owned(), String::new())),
            }
        }
    }

    fn driver(&mut self, line: &Line) {
        let drivers = match self.section.as_str() {
            "routers" => &mut self.config.routers,
            "transports" => &mut self.config.transports,
            _ => &mut self.config.authenticators,
        };
        if let Some((name, rest)) =
            line.text.split_once(':').filter(|(name, rest)| is_name(name) && rest.trim().is_empty())
        {
            debug_assert!(rest.trim().is_empty());
            drivers.push(Driver { name: name.trim().to_owned(), ..Driver::default() });
            return;
        }
        let Some(driver) = drivers.last_mut() else {
            return self.trouble(line, "an option in front of its driver".to_owned());
        };
        let (text, hidden) = unhidden(&line.text);
        match option(text) {
            Some((name, value)) => {
                let value = Value { text: value, at: line.at.clone(), hidden };
                driver.options.insert(name, value);
            }
            None => self.trouble(line, "this is no option".to_owned()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let name = name.trim();
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn unhidden(text: &str) -> (&str, bool) {
    text.strip_prefix("hide ").map_or((text, false), |rest| (rest.trim_start(), true))
}

/// `name = value`, or a switch: `name`, `no_name`, `not_name` are `true` and `false`.
fn option(text: &str) -> Option<(String, String)> {
    if let Some((name, value)) = text.split_once('=') {
        let name = name.trim();
        return is_name(name).then(|| (name.to_owned(), unquoted(value.trim())));
    }
    let off = text.strip_prefix("no_").or_else(|| text.strip_prefix("not_"));
    let (name, value) = off.map_or((text, "true"), |name| (name, "false"));
    is_name(name).then(|| (name.trim().to_owned(), value.to_owned()))
}

/// A value in double quotes has C's escapes (specification, 6.16); without them all of it is meant as it stands.
pub(crate) fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push(' '),
                Some('t' | 'r') => out.push(' '),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}
