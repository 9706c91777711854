//! What rules know of Exim alone: its options, its access control lists, and how they are changed. No rule lives here.
//!
//! The list that decides about recipients comes as text, one statement a line (`337:accept | hosts = +relay_from_hosts`):
//! the line of its file, the verb, the tests. What a test compares with is Exim's own list syntax.

use crate::words::Words;
use mxray_model::Fix;
use mxray_model::evidence::{FileLine, Server, Setting};

/// Where Debian writes the configuration that it makes of others.
const GENERATED_IN: &str = "/var/lib/exim4";
/// Named lists that name each other.
const DEPTH_MAX: u32 = 8;

/// Exim's lists: colons between the items, or what `<;` in front says; a doubled separator is the character itself.
pub fn items(list: &str) -> Vec<String> {
    let list = list.trim();
    let changed = list.strip_prefix('<').and_then(|rest| {
        let separator = rest.chars().next().filter(char::is_ascii_punctuation)?;
        Some((separator, rest.get(separator.len_utf8()..)?))
    });
    let (separator, rest) = changed.unwrap_or((':', list));
    let mut out = Vec::new();
    let mut item = String::new();
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        if c != separator {
            item.push(c);
        } else if chars.peek() == Some(&separator) {
            chars.next();
            item.push(separator);
        } else {
            out.push(item.trim().to_owned());
            item.clear();
        }
    }
    if !item.trim().is_empty() {
        out.push(item.trim().to_owned());
    }
    out
}

/// What a test says of a client that nobody here knows, who sends to a domain that nobody here has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Yes,
    No,
    /// Whether it does stands in a table, an expansion or an answer from elsewhere: this may be what tells strangers apart.
    Open,
    /// For some clients and not for others, whoever they are: a blocklist, a rate, the form of an address.
    Sometimes,
}

impl Holds {
    fn not(self) -> Holds {
        match self {
            Holds::Yes => Holds::No,
            Holds::No => Holds::Yes,
            other => other,
        }
    }
}

/// What the list does with such a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// Refused, by this statement or at the end of the list.
    Stopped,
    /// Taken, by this statement.
    Taken(Statement),
    /// Taken, unless this statement in front of it keeps strangers out, which cannot be told.
    Open(Statement),
}

/// One statement of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    pub line: u32,
    pub verb: String,
    /// Test and value, in order.
    pub tests: Vec<(String, String)>,
}

impl Statement {
    /// `accept hosts = +relay_from_hosts`
    pub fn text(&self) -> String {
        let tests = self
            .tests
            .iter()
            .map(|(name, value)| if value.is_empty() { name.clone() } else { format!("{name} = {value}") });
        std::iter::once(self.verb.clone()).chain(tests).collect::<Vec<_>>().join(" ")
    }
}

/// The list that decides about recipients. `None`: there is none, or which one it is depends on the connection.
pub fn recipients(server: &Server) -> Option<(Vec<Statement>, &Setting)> {
    let setting = server.settings.get("acl for RCPT")?;
    let statements = setting.value.lines().map(|line| {
        let (number, rest) =
            line.split_once(':').filter(|(number, _)| number.parse::<u32>().is_ok()).unwrap_or(("0", line));
        let mut parts = rest.split(" | ");
        let verb = parts.next().unwrap_or_default().to_owned();
        let tests = parts.map(|test| {
            test.split_once('=').map_or((test.trim().to_owned(), String::new()), |(name, value)| {
                (name.trim().to_owned(), value.trim().to_owned())
            })
        });
        Statement { line: number.parse().unwrap_or(0), verb, tests: tests.collect() }
    });
    Some((statements.collect(), setting))
}

/// Follows a list for a stranger (specification, 43.3).
pub fn stranger(server: &Server, statements: &[Statement], admits: &dyn Fn(&str) -> bool) -> Stranger {
    let mut open = None;
    for statement in statements {
        let mut tests: Vec<Holds> = Vec::new();
        let mut refuses_the_rest = false;
        for (name, value) in &statement.tests {
            if name == "endpass" {
                refuses_the_rest = tests.iter().all(|holds| *holds == Holds::Yes);
                continue;
            }
            tests.push(match name.strip_prefix('!') {
                Some(name) => test(server, name, value, admits).not(),
                None => test(server, name, value, admits),
            });
        }
        let any = |wanted: Holds| tests.contains(&wanted);
        let all = tests.iter().all(|holds| *holds == Holds::Yes);
        let stops = match statement.verb.as_str() {
            "accept" if all => return open.map_or_else(|| Stranger::Taken(statement.clone()), Stranger::Open),
            "accept" => refuses_the_rest && any(Holds::No),
            "deny" | "drop" | "defer" | "discard" => all,
            "require" => any(Holds::No),
            _ => false,
        };
        if stops {
            return Stranger::Stopped;
        }
        let may_stop = match statement.verb.as_str() {
            "deny" | "drop" | "defer" | "discard" => any(Holds::Open) && !any(Holds::No) && !any(Holds::Sometimes),
            "require" => any(Holds::Open),
            _ => false,
        };
        if may_stop && open.is_none() {
            open = Some(statement.clone());
        }
    }
    Stranger::Stopped
}

fn test(server: &Server, name: &str, value: &str, admits: &dyn Fn(&str) -> bool) -> Holds {
    match name {
        "hosts" => list(server, "hostlist", value, 0, &|item| match item {
            "" | "@" | "@[]" => Holds::No,
            item if admits(item) => Holds::Yes,
            item if item.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/' | '[' | ']')) => {
                Holds::No
            }
            _ => Holds::Open,
        }),
        "domains" => list(server, "domainlist", value, 0, &|item| match item {
            "*" => Holds::Yes,
            item if item.contains([';', '*', '^', '$', '/']) => Holds::Open,
            _ => Holds::No,
        }),
        // A login, and a certificate that was verified, are no stranger's.
        "authenticated" => Holds::No,
        "verify" if value.starts_with("certificate") => Holds::No,
        // A stranger gives addresses that exist.
        "verify" if value.starts_with("recipient") || value.starts_with("sender") => Holds::Yes,
        "local_parts" | "senders" | "recipients" if value == "*" => Holds::Yes,
        "condition" if matches!(value, "true" | "yes" | "1") => Holds::Yes,
        "condition" if matches!(value, "false" | "no" | "0" | "") => Holds::No,
        "condition" if !asks_who(value) => Holds::Sometimes,
        "dnslists" | "encrypted" | "local_parts" | "malware" | "ratelimit" | "spam" | "spf" | "spf_guess"
        | "verify" => Holds::Sometimes,
        _ => Holds::Open,
    }
}

/// Does an expansion look at who sends or where to?
fn asks_who(expansion: &str) -> bool {
    const SIGNS: [&str; 8] = ["acl_", "address", "auth", "domain", "host", "interface", "lookup", "port"];
    SIGNS.iter().any(|sign| expansion.contains(sign))
}

/// The first item that matches decides; a list whose last item is negated matches what none of them does.
fn list(server: &Server, kind: &str, value: &str, depth: u32, item_of: &dyn Fn(&str) -> Holds) -> Holds {
    if value.contains("${") || depth > DEPTH_MAX {
        return Holds::Open;
    }
    let items = items(value);
    let mut open = false;
    for item in &items {
        let (negated, bare) = item.strip_prefix('!').map_or((false, item.as_str()), |bare| (true, bare.trim_start()));
        let holds = match bare.strip_prefix('+') {
            Some("ignore_unknown" | "include_unknown" | "ignore_defer" | "include_defer" | "caseful") => continue,
            Some(name) => match server.settings.get(&format!("{kind} {name}")) {
                Some(named) => list(server, kind, &named.value, depth + 1, item_of),
                None => Holds::Open,
            },
            None => item_of(bare),
        };
        match holds {
            Holds::Yes => {
                return if open {
                    Holds::Open
                } else if negated {
                    Holds::No
                } else {
                    Holds::Yes
                };
            }
            Holds::Open | Holds::Sometimes => open = true,
            Holds::No => {}
        }
    }
    let last_is_negated = items.last().is_some_and(|last| last.starts_with('!'));
    match (open, last_is_negated) {
        (true, _) => Holds::Open,
        (false, true) => Holds::Yes,
        (false, false) => Holds::No,
    }
}

/// `50M`: a number with K, M or G behind it, powers of 1024.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(['K', 'k', 'M', 'm', 'G', 'g']);
    let factor = match text.get(digits.len()..)? {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1_u64 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The option as an admin sets it: on Debian some are answers in a file of its own.
pub fn written<'a>(server: &'a Server, option: &'a str, answer: &'a str) -> (&'a str, Option<&'a FileLine>) {
    let by_answer = server.settings.get(answer).filter(|setting| !setting.value.trim().is_empty());
    match by_answer {
        Some(setting) => (answer, setting.at.as_ref()),
        None => (option, server.set_at(option)),
    }
}

/// A step that changes an option or an answer, and what makes it the running configuration.
pub fn change(
    server: &Server,
    words: &Words<'_>,
    text: &str,
    (name, at): (&str, Option<&FileLine>),
    value: &str,
    restart: bool,
) -> Fix {
    let is_answer = name.starts_with("dc_") || name.ends_with("OPTIONS") || name == "QUEUERUNNER";
    let line = if is_answer { format!("{name}='{value}'") } else { format!("{name} = {value}") };
    let file = at.map_or_else(|| server.config_dir.clone(), |at| at.file.clone());
    let old = server.settings.get(name).map_or("the old value", |setting| setting.value.as_str());
    let fix = Fix::here(text)
        .config(file.clone(), at.map(|at| at.line), line)
        .undo(format!("put {name} = {old} back in {file}"));
    let fix =
        if server.config_dir == GENERATED_IN { fix.command("update-exim4.conf") } else { fix.command(words.check()) };
    fix.command(if restart { words.restart() } else { words.reload() })
}

/// Who goes through the queue: `daemon`, `cron`, `none`, or `unknown`.
pub fn queue_runner(server: &Server) -> &str {
    server.setting("queue runner")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(acl: &str, lists: &[(&str, &str)]) -> Server {
        let mut server = Server { software: "exim".to_owned(), ..Server::default() };
        let own = [("acl for RCPT", acl)];
        for (name, value) in own.iter().chain(lists) {
            server.settings.insert((*name).to_owned(), Setting { value: (*value).to_owned(), at: None });
        }
        server
    }

    fn of(acl: &str, lists: &[(&str, &str)]) -> String {
        let server = server(acl, lists);
        let (statements, _) = recipients(&server).unwrap();
        match stranger(&server, &statements, &|item| matches!(item, "*" | "0.0.0.0/0")) {
            Stranger::Stopped => "stopped".to_owned(),
            Stranger::Taken(statement) => format!("{} {}", statement.line, statement.text()),
            Stranger::Open(statement) => format!("open after {}", statement.line),
        }
    }

    const LISTS: [(&str, &str); 3] = [
        ("domainlist local_domains", "@ : harbour.example"),
        ("domainlist relay_to_domains", ""),
        ("hostlist relay_from_hosts", ": 127.0.0.1 : ::::1"),
    ];

    const DEBIAN: &str = "1:accept | hosts = :\n2:deny | domains = !+local_domains | local_parts = ^[./|]\n\
        3:accept | hosts = +relay_from_hosts\n4:accept | authenticated = *\n\
        5:require | domains = +local_domains : +relay_to_domains\n6:require | verify = recipient\n7:accept";

    #[test]
    fn a_stranger_is_followed_through_the_list() {
        assert_eq!(of(DEBIAN, &LISTS), "stopped");
        let mut open = LISTS;
        open[2].1 = "127.0.0.1 : 0.0.0.0/0";
        assert_eq!(of(DEBIAN, &open), "3 accept hosts = +relay_from_hosts");
        assert_eq!(of("1:accept", &[]), "1 accept");
        assert_eq!(of("1:deny | domains = !+local_domains\n2:accept", &LISTS), "stopped");
        assert_eq!(
            of(
                "1:accept | domains = +local_domains | endpass | verify = recipient\n2:accept | verify = recipient",
                &LISTS
            ),
            "2 accept verify = recipient"
        );
        assert_eq!(of("1:accept | hosts = !192.0.2.0/24", &[]), "1 accept hosts = !192.0.2.0/24");
    }

    #[test]
    fn what_cannot_be_told_neither_opens_nor_closes() {
        assert_eq!(of("1:accept | hosts = ${lookup{x}lsearch{/y}}", &[]), "stopped");
        assert_eq!(of("1:accept | hosts = +elsewhere\n2:accept | condition = ${if eq{a}{b}}", &[]), "stopped");
        assert_eq!(of("1:deny | dnslists = x.example\n2:accept", &[]), "2 accept");
        assert_eq!(of("1:accept | domains = lsearch;/etc/domains", &[]), "stopped");
        assert_eq!(of("1:require | domains = +unknown\n2:accept", &[]), "open after 1");
        assert_eq!(of("1:deny | !domains = ${lookup mysql{x}}\n2:accept", &[]), "open after 1");
        assert_eq!(of("1:deny | condition = ${if >{$rcpt_count}{10}}\n2:accept", &[]), "2 accept");
    }
}
