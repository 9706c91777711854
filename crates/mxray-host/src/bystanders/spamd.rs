//! SpamAssassin's spamd: `-i`, `-p` and `--socketpath` of its command line (spamd(1)).

use super::command;
use super::found::{Found, Line};
use super::place::Place;
use crate::units::boot::Boot;
use mxray_model::Seen;

pub(super) const UNITS: &[&str] = &["spamd.service", "spamassassin.service"];
const PORT: u16 = 783;
/// Short options that take a value, which may hold the letters that are looked for.
const WITH_VALUE: &str = "AcCdgHmrsuUxS";

pub(super) fn read(place: &Place, boot: &Boot) -> Seen<Found> {
    // Up to Debian 11 the file had the package's name; it stays behind where the package was upgraded.
    let files = ["/etc/default/spamd", "/etc/default/spamassassin", "/etc/sysconfig/spamassassin"];
    let file = files.into_iter().find(|file| place.exists(file)).unwrap_or("/etc/default/spamd");
    let usual = if file.contains("sysconfig") { "spamd $SPAMDOPTIONS" } else { "spamd $OPTIONS" };
    let command = command::line(place, boot, UNITS, usual, &[file]);
    let mut found = Found::default();
    for (name, at) in &command.puzzling {
        let line = Line { service: "spamd", file: &at.file, number: at.line };
        found.puzzled(line, &format!("{name} is set in a way that is not understood"));
    }
    if !found.unread.is_empty() {
        return Seen::Value(found);
    }
    let option = |long: &[&str], short| command.values(long, short);
    let port = option(&["port"], Some('p')).pop();
    let ssl_port = option(&["ssl-port"], None).pop();
    let listens = option(&["listen", "listen-ip", "ip-address"], Some('i'));
    let socket_path = option(&["socketpath"], None);
    let ssl = command.has("--ssl") || ssl_port.is_some();
    let usual_port = if ssl { ssl_port.or(port) } else { port };
    let default_at = command.at.clone().map_or((file.to_owned(), 0), |at| (at.file, at.line));
    if let Some(word) = command.words.iter().skip(1).find(|word| bundles(&word.text)) {
        let line = Line { service: "spamd", file: &word.at.file, number: word.at.line };
        found.puzzled(line, &format!("{} is not understood", word.text));
        return Seen::Value(found);
    }
    let mut specs: Vec<(String, String, u32)> =
        listens.into_iter().map(|word| (word.text, word.at.file, word.at.line)).collect();
    if specs.is_empty() && socket_path.is_empty() {
        let at = usual_port.as_ref().map_or(default_at, |word| (word.at.file.clone(), word.at.line));
        specs.push(("localhost".to_owned(), at.0, at.1));
    }
    let usual_port = usual_port.map(|word| word.text);
    for (spec, file, number) in &specs {
        let line = Line { service: "spamd", file, number: *number };
        one(place, line, spec, usual_port.as_deref(), &command, &mut found);
    }
    Seen::Value(found)
}

/// `-di0.0.0.0`: options without a value may stand together before one that is looked for.
fn bundles(word: &str) -> bool {
    let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.starts_with(['-', 'i', 'p'])) else { return false };
    let until = letters.find(|c| WITH_VALUE.contains(c)).unwrap_or(letters.len());
    letters.get(..until).is_some_and(|flags| flags.contains(['i', 'p']))
}

fn one(
    place: &Place,
    line: Line<'_>,
    spec: &str,
    usual_port: Option<&str>,
    command: &command::CommandLine,
    found: &mut Found,
) {
    let spec = spec.strip_prefix("ssl:").unwrap_or(spec);
    if spec.starts_with('/') {
        return;
    }
    let (host, port) = match spec.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // An IPv6 address may stand without brackets where no port follows.
        None if spec.matches(':').count() > 1 => (spec, None),
        None => spec.split_once(':').map_or((spec, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()).or(usual_port) {
        Some(port) => place.machine.port(port),
        None => Some(PORT),
    };
    let Some(port) = port else { return found.puzzled(line, &format!("{spec}: not a port")) };
    let Some(addresses) = place.addresses(host) else {
        return found.puzzled(line, &format!("the addresses of {host} are not known from files"));
    };
    let (four, six) = (command.has("-4"), command.has("-6"));
    let is_left_out = |address: &std::net::IpAddr| if address.is_ipv6() { four } else { six };
    for address in addresses.into_iter().filter(|address| !is_left_out(address)) {
        found.ask(line, address, port);
    }
}
