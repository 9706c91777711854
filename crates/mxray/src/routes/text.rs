//! For a person: sections of lines in ip(8)'s own words, and answers with one fact a line.

use super::look::{Answers, Listing, Row};
use crate::sockets::line::clipped;
use mxray_host::routes::{self, Kind, Links, MAIN, Neighbour, Route, table_name};
use mxray_model::Seen;
use std::fmt::Write;

/// Clips each line to the terminal; what goes into a pipe keeps its length.
pub fn fitted(text: &[u8], columns: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in String::from_utf8_lossy(text).lines() {
        clipped(&mut out, line, columns);
        out.push(b'\n');
    }
    out
}

/// What a program gets from connect(2) for a route that refuses.
pub fn program_gets(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Blackhole => Some(("EINVAL", "Invalid argument")),
        Kind::Prohibit => Some(("EACCES", "Permission denied")),
        Kind::Unreachable => Some(("EHOSTUNREACH", "No route to host")),
        _ => None,
    }
}

pub fn listing(listing: &Listing, out: &mut Vec<u8>) {
    let mut text = String::new();
    for is_ipv4 in [true, false] {
        let family = if is_ipv4 { "IPv4" } else { "IPv6" };
        let rules: Vec<_> = listing.tables.rules.iter().filter(|rule| rule.is_ipv4 == is_ipv4).collect();
        // The three that every kernel has say nothing.
        if rules.len() > if is_ipv4 { 3 } else { 2 } {
            let _ = writeln!(text, "Rules of {family}");
            for rule in rules {
                let _ = writeln!(text, "  {:>5}: {}", rule.priority, rule.text());
            }
        }
        let mut table = None;
        for route in listing.tables.routes.iter().filter(|route| route.is_ipv4() == is_ipv4) {
            if table.replace(route.table) != Some(route.table) {
                let _ = writeln!(text, "Routes of {family}, table {}", table_name(route.table));
            }
            let _ = writeln!(text, "  {}", route_line(route, &listing.tables.links));
        }
        if table.is_none() {
            let _ = writeln!(text, "No routes of {family}");
        }
    }
    if !listing.neighbours.is_empty() {
        text.push_str("Neighbours\n");
    }
    for neighbour in &listing.neighbours {
        let name = listing.tables.links.name(neighbour.interface);
        let _ = writeln!(text, "  {} on {name}: {}", neighbour.address, neighbour_text(neighbour));
    }
    out.extend_from_slice(text.as_bytes());
}

fn route_line(route: &Route, links: &Links) -> String {
    // The table stands above.
    let mut shown = route.clone();
    shown.table = MAIN;
    let mut line = shown.text(links);
    if let Some((errno, message)) = program_gets(route.kind) {
        let _ = write!(line, "  (programs get {errno}, {message})");
    }
    if !route.hops.is_empty() && route.hops.iter().all(|hop| hop.is_dead()) {
        line.push_str("  (dead: not used)");
    } else if route.hops.iter().any(|hop| hop.is_without_carrier()) {
        line.push_str("  (no carrier)");
    }
    line
}

fn neighbour_text(neighbour: &Neighbour) -> String {
    let mut text = neighbour.state_name().to_owned();
    if let Some(hardware) = &neighbour.hardware {
        let _ = write!(text, ", {hardware}");
    }
    if let Some(ms) = neighbour.updated_ms {
        let _ = write!(text, ", changed {} ago", duration(ms));
    }
    text
}

/// `4 s`, `12 min`, `3 h`
fn duration(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

pub fn answers(answers: &Answers, out: &mut Vec<u8>) {
    let mut text = String::new();
    for row in &answers.rows {
        let _ = writeln!(text, "{}", heading(row));
        match &row.answer {
            None => no_source(row, &mut text),
            Some(answer) => match &answer.outcome {
                Ok(route) => sent(row, route, answer.matched.as_ref(), &answers.tables.links, &mut text),
                Err(errno) => refused(row, *errno, &mut text),
            },
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn heading(row: &Row) -> String {
    let mut text = row.question.destination.to_string();
    if row.asked != text {
        let _ = write!(text, " ({})", row.asked);
    }
    let _ = write!(text, ", port {}", row.question.port);
    match (row.question.uid, row.asker.user.as_str()) {
        (Some(uid), "") => _ = write!(text, ", for uid {uid}"),
        (Some(uid), user) => _ = write!(text, ", for {user} (uid {uid})"),
        (None, _) => text.push_str(", for the user that asks"),
    }
    if let Some(source) = row.question.source {
        let _ = write!(text, " from {source}");
    }
    if row.question.mark != 0 {
        let _ = write!(text, " with mark {:#x}", row.question.mark);
    }
    if let Some(server) = &row.asker.server {
        let _ = write!(text, ", as {server} sends");
    }
    text
}

fn fact(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<9}{value}");
}

fn no_source(row: &Row, text: &mut String) {
    let source = row.question.source.map_or(String::new(), |source| source.to_string());
    fact(text, "refused", &format!("{source} is not an address of this host: bind gives EADDRNOTAVAIL"));
    fact(text, "", "(Cannot assign requested address), unless net.ipv4.ip_nonlocal_bind permits it");
}

fn sent(row: &Row, route: &Route, matched: Option<&Route>, links: &Links, text: &mut String) {
    let hop = route.hops.first().copied().unwrap_or_default();
    let device = links.name(hop.interface);
    match route.kind {
        Kind::Local => fact(text, "way", "this host itself"),
        _ => match hop.gateway {
            Some(gateway) => fact(text, "way", &format!("via {gateway} on {device}")),
            None => fact(text, "way", &format!("directly on {device}")),
        },
    }
    if let Some(matched) = matched {
        let by = format!("{} in table {}", matched.destination_word(), table_name(matched.table));
        let rule = row.rule.as_ref().map_or(String::new(), |rule| format!(", by rule {rule}"));
        fact(text, "route", &format!("{by}{rule}"));
    }
    if let Some(source) = route.prefer_source.or(row.question.source) {
        fact(text, "source", &source.to_string());
    }
    let link = links.0.get(&hop.interface);
    if route.kind == Kind::Unicast {
        let who = if hop.gateway.is_some() { "gateway" } else { "neighbour" };
        match (&row.neighbour, link) {
            (Some(neighbour), _) => fact(text, who, &neighbour_text(neighbour)),
            (None, Some(link)) if link.has_no_neighbours() => {}
            (None, _) => fact(text, who, "not in use: the kernel has no entry for it"),
        }
        if link.is_some_and(|link| !link.has_carrier()) {
            fact(text, "link", "no carrier");
        }
    }
    fact(text, "mtu", &mtu_text(route, link.map_or(0, |link| link.mtu), &device));
}

/// Where the path MTU comes from.
fn mtu_text(route: &Route, link: u32, device: &str) -> String {
    let lock = if route.mtu_locked { ", locked: what routers say of the path is ignored" } else { "" };
    match (route.mtu, route.expires_ms) {
        (Some(mtu), Some(ms)) => format!("{mtu}, learnt from the path, for another {}{lock}", duration(ms)),
        (Some(mtu), None) => format!("{mtu}, set by the route{lock}"),
        (None, _) => format!("{link}, of {device}"),
    }
}

fn refused(row: &Row, errno: routes::Errno, text: &mut String) {
    let message = std::io::Error::from(errno).to_string();
    let message = message.split(" (os error").next().unwrap_or_default();
    fact(text, "refused", &format!("programs get {} ({message})", routes::errno_name(errno)));
    match &row.refuser {
        Seen::Value(refuser) => {
            let thing = if refuser.is_rule { "rule" } else { "route" };
            fact(text, "by", &format!("the {thing} {}", refuser.text));
            fact(text, "remove", &refuser.delete);
        }
        Seen::Absent => fact(text, "by", "nothing: no rule leads to a route that matches"),
        Seen::Unknown(blind) => fact(text, "by", &format!("not known: {}", blind.why())),
    }
}
