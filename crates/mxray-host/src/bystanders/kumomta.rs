//! KumoMTA: `kumo.start_esmtp_listener` and `kumo.start_http_listener` of its Lua. Read from its documentation alone, never
//! tried with it; Lua is not run, so that only what stands there as a text is understood.

use super::found::{Found, Line, host_and_port, number};
use super::place::Place;
use mxray_model::Seen;

const FILE: &str = "/opt/kumomta/etc/policy/init.lua";
const CALLS: &[(&str, &str, &str)] = &[
    ("kumo.start_esmtp_listener", "esmtp listener", "127.0.0.1:2025"),
    ("kumo.start_http_listener", "http listener", "127.0.0.1:8000"),
];
/// Most characters of one call's table.
const TABLE_MAX: usize = 64 * 1024;

pub(super) fn read(place: &Place) -> Seen<Found> {
    place.text(FILE).map(|text| {
        let mut found = Found::default();
        parse(place, &text, FILE, &mut found);
        found
    })
}

pub(super) fn parse(place: &Place, text: &str, file: &str, found: &mut Found) {
    let text = without_comments(text);
    for (call, service, usual) in CALLS {
        for (at, _) in text.match_indices(call) {
            let rest = text.get(at + call.len()..).unwrap_or_default();
            let line_of = |offset: usize| {
                number(text.get(..at + call.len() + offset).unwrap_or_default().bytes().filter(|b| *b == b'\n').count())
            };
            let line = Line { service, file, number: line_of(0) };
            let opening = rest.trim_start().trim_start_matches('(').trim_start();
            let Some(table) = opening.strip_prefix('{').and_then(table) else {
                found.puzzled(line, &format!("{call}: its settings are not written there"));
                continue;
            };
            let offset = rest.len() - opening.len() + 1;
            match listen(table) {
                Listen::At(spec, within) => {
                    let line = Line { number: line_of(offset + within), ..line };
                    one(place, line, spec, found);
                }
                Listen::None => one(place, line, usual, found),
                Listen::Computed(within) => {
                    let line = Line { number: line_of(offset + within), ..line };
                    found.puzzled(line, "listen is computed");
                }
            }
        }
    }
}

fn one(place: &Place, line: Line<'_>, spec: &str, found: &mut Found) {
    match host_and_port(spec).and_then(|(host, port)| Some((host, place.machine.port(port)?))) {
        Some((host, port)) => found.ask_host(place, line, host, port),
        None => found.puzzled(line, &format!("{spec} is no address with a port")),
    }
}

enum Listen<'a> {
    None,
    /// The text and its place in the table.
    At(&'a str, usize),
    Computed(usize),
}

/// The value of the key `listen` at the table's own level.
fn listen(table: &str) -> Listen<'_> {
    let mut depth = 0usize;
    for (at, c) in outside_quotes(table) {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            'l' if depth == 0 => {
                let before = table.get(..at).unwrap_or_default();
                if before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.')) {
                    continue;
                }
                let rest = table.get(at..).unwrap_or_default();
                let Some(value) = rest.strip_prefix("listen").map(str::trim_start).and_then(|r| r.strip_prefix('='))
                else {
                    continue;
                };
                let value = value.trim_start();
                let quoted = value
                    .chars()
                    .next()
                    .filter(|c| matches!(c, '\'' | '"'))
                    .and_then(|quote| value.get(1..)?.split_once(quote));
                // What follows has to end the entry: a text put together of several is computed.
                return match quoted {
                    Some((text, rest)) if rest.trim_start().is_empty() || rest.trim_start().starts_with([',', ';']) => {
                        Listen::At(text, at)
                    }
                    _ => Listen::Computed(at),
                };
            }
            _ => {}
        }
    }
    Listen::None
}

/// What stands before the brace that closes it.
fn table(text: &str) -> Option<&str> {
    let mut depth = 1usize;
    for (at, c) in outside_quotes(text).take_while(|(at, _)| *at < TABLE_MAX) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(..at);
        }
    }
    None
}

fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().filter(move |(_, c)| match (quote, *c) {
        _ if escaped => {
            escaped = false;
            false
        }
        (Some(_), '\\') => {
            escaped = true;
            false
        }
        (None, '\'' | '"') => {
            quote = Some(*c);
            false
        }
        (Some(open), c) if c == open => {
            quote = None;
            false
        }
        (quote, _) => quote.is_none(),
    })
}

/// Comments become blanks, so that places and lines stay.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let start = outside_quotes_start(rest);
        out.push_str(rest.get(..start).unwrap_or_default());
        let comment = rest.get(start..).unwrap_or_default();
        if comment.is_empty() {
            return out;
        }
        let length = if comment.starts_with("--[[") {
            comment.find("]]").map_or(comment.len(), |end| end + 2)
        } else {
            comment.find('\n').unwrap_or(comment.len())
        };
        let gone = comment.get(..length).unwrap_or_default();
        out.extend(gone.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = comment.get(length..).unwrap_or_default();
    }
}

/// Where the next `--` outside quotes stands.
fn outside_quotes_start(text: &str) -> usize {
    let mut dash = None;
    for (at, c) in outside_quotes(text) {
        match (c, dash) {
            ('-', Some(before)) if before + 1 == at => return before,
            ('-', _) => dash = Some(at),
            _ => dash = None,
        }
    }
    text.len()
}
