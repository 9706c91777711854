//! nginx: `listen` of the servers in `mail {}` and `stream {}`. What serves the web is left out.

use super::command;
use super::found::{Found, Line};
use super::place::Place;
use crate::units::boot::Boot;
use mxray_model::Seen;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FILE: &str = "/etc/nginx/nginx.conf";
/// Files within files.
const DEPTH_MAX: usize = 8;
/// Most files of one configuration.
const FILES_MAX: usize = 2_000;
/// Most directives of one configuration.
const DIRECTIVES_MAX: usize = 500_000;

pub(super) fn read(place: &Place, boot: &Boot) -> Seen<Found> {
    let command = command::line(place, boot, &["nginx.service"], "nginx", &["/etc/default/nginx"]);
    let file = command.values(&[], Some('c')).pop().map_or(FILE.to_owned(), |word| word.text);
    let file = if file.starts_with('/') { file } else { FILE.to_owned() };
    if !place.exists(&file) {
        return Seen::Absent;
    }
    let mut reading = Reading { place, found: Found::default(), files: 0, directives: 0 };
    reading.file(&file, &mut Vec::new(), 0);
    Seen::Value(reading.found)
}

/// Pure, for one text.
pub(super) fn parse(place: &Place, text: &str, file: &str, found: &mut Found) {
    let mut reading = Reading { place, found: Found::default(), files: FILES_MAX, directives: 0 };
    reading.text(text, file, &mut Vec::new(), 0);
    found.add(reading.found);
}

struct Reading<'a> {
    place: &'a Place,
    found: Found,
    files: usize,
    directives: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String, u32),
    End,
    Open,
    Close,
}

impl Reading<'_> {
    fn file(&mut self, file: &str, context: &mut Vec<String>, depth: usize) {
        let line = Line { service: "nginx", file, number: 0 };
        if self.files == FILES_MAX || depth > DEPTH_MAX {
            return self.found.puzzled(line, "too many files, or files within files");
        }
        self.files += 1;
        match self.place.text(file) {
            Seen::Value(text) => self.text(&text, file, context, depth),
            Seen::Absent => self.found.puzzled(line, "is included and is not there"),
            Seen::Unknown(blind) => self.found.puzzled(line, &blind.why()),
        }
    }

    fn text(&mut self, text: &str, file: &str, context: &mut Vec<String>, depth: usize) {
        let mut tokens = Tokens { chars: text.chars().peekable(), line: 1 };
        let mut words: Vec<(String, u32)> = Vec::new();
        let base = context.len();
        while let Some(token) = tokens.next() {
            self.directives += 1;
            if self.directives > DIRECTIVES_MAX {
                return self.found.puzzled(Line { service: "nginx", file, number: tokens.line }, "too large");
            }
            match token {
                Token::Word(word, line) => words.push((word, line)),
                Token::End => {
                    self.directive(&std::mem::take(&mut words), file, context, depth);
                }
                Token::Open => {
                    let name = words.first().map(|(name, _)| name.clone()).unwrap_or_default();
                    words.clear();
                    // Lua has quotes and comments of its own; its braces are balanced (lua-nginx-module).
                    if name.ends_with("_by_lua_block") {
                        tokens.skip_block();
                    } else {
                        context.push(name);
                    }
                }
                Token::Close => {
                    words.clear();
                    if context.len() > base {
                        context.pop();
                    }
                }
            }
        }
        context.truncate(base);
    }

    fn directive(&mut self, words: &[(String, u32)], file: &str, context: &mut Vec<String>, depth: usize) {
        let Some(((name, line), rest)) = words.split_first() else { return };
        let inside: Vec<&str> = context.iter().map(String::as_str).collect();
        match (name.as_str(), inside.as_slice()) {
            // What belongs to the web is not read.
            ("include", ["http", ..]) => {}
            ("include", _) => {
                let Some((pattern, _)) = rest.first() else { return };
                let pattern = if pattern.starts_with('/') { pattern.clone() } else { format!("/etc/nginx/{pattern}") };
                let is_pattern = pattern.contains(['*', '?', '[']);
                let files = if is_pattern { self.place.matching(&pattern) } else { vec![pattern] };
                for file in files {
                    self.file(&file, context, depth + 1);
                }
            }
            ("listen", [kind @ ("mail" | "stream"), "server"]) => {
                let line = Line { service: &format!("{kind} server"), file, number: *line };
                listen(self.place, line, rest, &mut self.found);
            }
            _ => {}
        }
    }
}

/// `listen 25;` `listen [::]:25 ipv6only=off;` `listen 127.0.0.1:110-112 udp;`
fn listen(place: &Place, line: Line<'_>, words: &[(String, u32)], found: &mut Found) {
    let Some(((spec, _), options)) = words.split_first() else { return };
    let says = |option: &str| options.iter().any(|(word, _)| word == option);
    if spec.starts_with("unix:") {
        return;
    }
    let (host, ports) = match spec.rsplit_once(':') {
        Some((host, ports)) => (host, ports),
        None => ("*", spec.as_str()),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Some(first), Some(last)) = (place.machine.port(first), place.machine.port(last)) else {
        return found.puzzled(line, &format!("{spec} is no socket that mxray knows"));
    };
    let bare = host.trim_matches(['[', ']']);
    let addresses = match bare {
        "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        bare => match place.machine.resolve(bare) {
            Some(addresses) => addresses,
            None => return found.puzzled(line, &format!("the addresses of {bare} are not known from files")),
        },
    };
    for address in addresses {
        for port in (first..=last).take(usize::from(u8::MAX)) {
            if let Some(asked) = found.ask(line, address, port) {
                asked.udp = says("udp");
                asked.reuse_port = says("reuseport");
                asked.v6_only =
                    address.is_ipv6() && !(address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && says("ipv6only=off"));
            }
        }
    }
}

struct Tokens<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
}

impl Tokens<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(c)
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            match self.chars.peek()? {
                c if c.is_whitespace() => _ = self.take(),
                '#' => while self.take().is_some_and(|c| c != '\n') {},
                ';' => return self.take().map(|_| Token::End),
                '{' => return self.take().map(|_| Token::Open),
                '}' => return self.take().map(|_| Token::Close),
                _ => return Some(self.word()),
            }
        }
    }

    fn word(&mut self) -> Token {
        let line = self.line;
        let mut out = String::new();
        if let Some(quote) = self.chars.next_if(|c| matches!(c, '\'' | '"')) {
            while let Some(c) = self.take().filter(|c| *c != quote) {
                out.extend(if c == '\\' { self.take() } else { Some(c) });
            }
            return Token::Word(out, line);
        }
        while let Some(c) = self.chars.peek().copied() {
            // `${name}` is one word.
            if c == '{' && out.ends_with('$') {
                while let Some(c) = self.take() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
                continue;
            }
            if c.is_whitespace() || matches!(c, ';' | '{' | '}') {
                break;
            }
            self.take();
            out.push(c);
            if c == '\\' {
                out.extend(self.take());
            }
        }
        Token::Word(out, line)
    }

    /// Up to the brace that closes the block which was just opened.
    fn skip_block(&mut self) {
        let mut depth = 1usize;
        while let Some(c) = self.take() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}
