//! master.cf: services with their columns and `-o` overrides. Pure.

use super::lines::{Logical, Trouble, logical};
use super::main_cf::{clip, name_and_value};
use std::collections::BTreeMap;

/// Most services that are kept. The largest real files (hundreds of outgoing addresses) have some thousand.
const SERVICES_MAX: usize = 5_000;

/// The process limit column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessLimit {
    /// `-`: default_process_limit
    Default,
    /// `0`
    None,
    At(u32),
}

/// One service, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub name: String,
    /// `inet`, `unix`, `pass`, `fifo`, `unix-dgram`
    pub kind: String,
    pub private: bool,
    /// Runs as `mail_owner` instead of root.
    pub unprivileged: bool,
    /// `None`: at its default, which depends on compatibility_level.
    pub chroot: Option<bool>,
    pub processes: ProcessLimit,
    /// The daemon: `smtpd`, `postscreen`.
    pub command: String,
    pub arguments: Vec<String>,
    /// `-o name=value`, unexpanded. Of several for one name the last one holds.
    pub overrides: BTreeMap<String, String>,
    pub line: u32,
}

impl Service {
    /// `smtp/inet`
    pub fn key(&self) -> String {
        format!("{}/{}", self.name, self.kind)
    }

    /// The daemon without directories in front of it.
    pub fn daemon(&self) -> &str {
        self.command.rsplit('/').next().unwrap_or(&self.command)
    }
}

/// What a master.cf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MasterCf {
    /// By `name/type`. Of several entries the last one holds.
    pub services: BTreeMap<String, Service>,
    pub troubles: Vec<Trouble>,
}

pub(crate) fn parse(bytes: &[u8]) -> MasterCf {
    let (lines, troubles) = logical(bytes);
    let mut master = MasterCf { services: BTreeMap::new(), troubles };
    let mut full = false;
    for logical in lines {
        match service(&logical, &mut master.troubles) {
            Ok(service) => {
                let key = service.key();
                if master.services.len() == SERVICES_MAX && !master.services.contains_key(&key) {
                    // Later lines may still change what is kept.
                    if !std::mem::replace(&mut full, true) {
                        let text = format!("more than {SERVICES_MAX} services; further names are not read");
                        master.troubles.push(Trouble::new(logical.line, text));
                    }
                    continue;
                }
                master.services.insert(key, service);
            }
            Err(why) => master.troubles.push(Trouble::fatal(logical.line, why)),
        }
    }
    master
}

fn service(logical: &Logical, troubles: &mut Vec<Trouble>) -> Result<Service, String> {
    let mut fields = logical.text.split(' ').filter(|field| !field.is_empty());
    let mut field = |what: &str| fields.next().ok_or_else(|| format!("no {what} field"));
    let name = field("service name")?;
    let kind = field("type")?;
    if !matches!(kind, "inet" | "unix" | "pass" | "fifo" | "unix-dgram") {
        return Err(format!("service {}: unknown type {}", clip(name), clip(kind)));
    }
    let private = flag(field("private")?, "private")?.unwrap_or(true);
    if kind == "inet" && private {
        return Err(format!(
            "service {}: an inet service cannot be private; write \"n\" in the third column",
            clip(name)
        ));
    }
    let unprivileged = flag(field("unprivileged")?, "unprivileged")?.unwrap_or(true);
    let chroot = flag(field("chroot")?, "chroot")?;
    wakeup(field("wakeup")?)?;
    let processes = match field("process limit")? {
        "-" => ProcessLimit::Default,
        digits => match digits.parse() {
            Ok(0) => ProcessLimit::None,
            Ok(most) => ProcessLimit::At(most),
            Err(_) => return Err(format!("process limit {} is not a number", clip(digits))),
        },
    };
    let command = field("command")?;
    let behind = fields.collect::<Vec<_>>().join(" ");
    let arguments = words(&behind).map_err(|why| format!("service {}: {why}", clip(name)))?;
    let overrides = overrides(&arguments, logical.line, troubles);
    Ok(Service {
        name: name.to_owned(),
        kind: kind.to_owned(),
        private,
        unprivileged,
        chroot,
        processes,
        command: command.to_owned(),
        arguments,
        overrides,
        line: logical.line,
    })
}

fn flag(text: &str, what: &str) -> Result<Option<bool>, String> {
    match text {
        "y" => Ok(Some(true)),
        "n" => Ok(Some(false)),
        "-" => Ok(None),
        other => Err(format!("{what} column {}: neither y, n nor -", clip(other))),
    }
}

fn wakeup(text: &str) -> Result<(), String> {
    let digits = text.strip_suffix('?').unwrap_or(text);
    if text == "-" || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
        Ok(())
    } else {
        Err(format!("wakeup column {}: neither seconds nor -", clip(text)))
    }
}

/// Command-line words. One in braces, `{ … }`, may hold white space (Postfix 3.0).
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_matches(' ');
    while !rest.is_empty() {
        let mut depth = 0_u32;
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            match c {
                '{' => depth = depth.saturating_add(1),
                '}' => depth = depth.saturating_sub(1),
                ' ' if depth == 0 => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let (word, behind) = rest.split_at(end);
        if depth > 0 && word.starts_with('{') {
            return Err(format!("missing \"}}\" in {}", clip(word)));
        }
        words.push(match word.strip_prefix('{') {
            Some(inner) => match inner.strip_suffix('}') {
                Some(inner) => inner.trim_matches(' ').to_owned(),
                None => return Err(format!("text behind \"}}\" in {}", clip(word))),
            },
            None => word.to_owned(),
        });
        rest = behind.trim_start_matches(' ');
    }
    Ok(words)
}

/// Options of the daemons that take a value (src/master/single_server.c and its like, `cdDi:lm:n:o:s:t:uvVz`).
const WITH_VALUE: [char; 6] = ['i', 'm', 'n', 'o', 's', 't'];

/// The `-o` options in front of the first argument that is none (`user=filter argv=…` of pipe and spawn may hold
/// options of a foreign program).
fn overrides(arguments: &[String], line: u32, troubles: &mut Vec<Trouble>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty() && *letters != "-") else {
            break;
        };
        // Options without a value may stand in front of one in the same word: `-vo name=value`.
        let Some(at) = letters.find(WITH_VALUE) else { continue };
        let (option, attached) = letters.split_at(at + 1);
        let text = if attached.is_empty() { words.next().map(String::as_str) } else { Some(attached) };
        if !option.ends_with('o') {
            continue;
        }
        let Some(text) = text else {
            troubles.push(Trouble::new(line, "-o with nothing behind it"));
            break;
        };
        match name_and_value(text) {
            Ok((name, value)) => {
                found.insert(name.to_owned(), value.to_owned());
            }
            Err(why) => troubles.push(Trouble::new(line, format!("-o: {why}"))),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Service {
        let master = parse(text.as_bytes());
        assert_eq!(master.troubles, [], "{text}");
        master.services.into_values().next().unwrap()
    }

    #[test]
    fn options_may_share_a_word() {
        let service = one("x unix - - y - - smtp -vo a=b -vvoc=d -m o -D -- -o e=f\n");
        let wanted = [("a", "b"), ("c", "d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(service.overrides, wanted.into());
    }

    #[test]
    fn columns_and_overrides_in_both_forms() {
        let service = one(concat!(
            "submission inet n - y - 20 smtpd -v\n",
            "  -o syslog_name=postfix/submission\n",
            "# -o commented=out\n",
            "  -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject }\n",
            "  -ocontent_filter= -o smtpd_milters=inet:a:1,\n",
        ));
        assert_eq!(service.key(), "submission/inet");
        assert_eq!(service.processes, ProcessLimit::At(20));
        assert_eq!(service.chroot, Some(true));
        assert_eq!(service.overrides["smtpd_recipient_restrictions"], "permit_sasl_authenticated, reject");
        assert_eq!(service.overrides["content_filter"], "");
        assert_eq!(service.overrides["smtpd_milters"], "inet:a:1,");
        assert!(!service.overrides.contains_key("commented"));
    }

    #[test]
    fn options_of_a_foreign_program_are_not_overrides() {
        let service = one("policy unix - n n - 0 spawn user=nobody argv=/usr/bin/policy -o smtpd_milters=x");
        assert!(service.overrides.is_empty());
        assert_eq!(service.processes, ProcessLimit::None);
    }

    #[test]
    fn the_last_entry_of_a_name_and_type_holds() {
        let master = parse(b"smtp inet n - y - - smtpd\nsmtp unix - - y - - smtp\nsmtp inet n - n - 1 postscreen\n");
        assert_eq!(master.services.len(), 2);
        assert_eq!(master.services["smtp/inet"].command, "postscreen");
        assert_eq!(master.services["smtp/inet"].line, 3);
    }

    #[test]
    fn what_the_master_refuses_is_a_trouble_with_its_line() {
        let file = concat!(
            "smtp inet - - y - - smtpd\n",
            "a inet n - y - -\n",
            "b tcp n - y - - smtpd\n",
            "c inet n - maybe - - smtpd\n",
            "d inet n - y often - smtpd\n",
            "e inet n - y - many smtpd\n",
            "f inet n - y - - smtpd -o\n",
            "g inet n - y - - smtpd -o { x = y\n",
            "h inet n - y - - smtpd -o x\n",
            "i unix n - y 1000? - flush\n",
        );
        let master = parse(file.as_bytes());
        assert_eq!(master.troubles.iter().map(|t| t.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // A bad option does not hide the listener.
        assert!(master.services.contains_key("f/inet") && master.services.contains_key("h/inet"));
        assert!(master.services.contains_key("i/unix"));
    }

    #[test]
    fn ten_megabytes_are_read_within_bounds() {
        let mut file = String::new();
        for port in 0..250_000 {
            file.push_str(&format!("10.0.{}.{}:{} inet n - y - - smtpd -o a=b\n", port % 250, port % 199, port));
        }
        assert!(file.len() > 8 << 20);
        let master = parse(file.as_bytes());
        assert_eq!(master.services.len(), SERVICES_MAX);
        assert_eq!(master.troubles.len(), 1);
    }
}
