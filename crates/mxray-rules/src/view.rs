//! How rules look at evidence: the joins that several of them need. No judgement lives here.

use crate::rule::{Judgement, Rule};
use mxray_model::evidence::{Children, DomainKind, Listener, Purpose, Server, Sockets, WantedListener};
use mxray_model::{Evidence, Prefix, Seen, Subject};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The mail servers whose configuration was read; `Err` is what the rule then says.
pub fn servers<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a BTreeMap<String, Server>, Judgement> {
    known(&evidence.servers, rule)
}

/// The sockets; `Err` is what the rule then says.
pub fn sockets<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a Sockets, Judgement> {
    known(&evidence.sockets, rule)
}

/// A fact that a rule cannot do without: nothing to say where it is absent, "cannot tell" where it is unknown.
pub fn known<'a, T>(fact: &'a Seen<T>, rule: &Rule) -> Result<&'a T, Judgement> {
    match fact {
        Seen::Value(value) => Ok(value),
        Seen::Absent => Err(Judgement::nothing()),
        Seen::Unknown(blind) => Err(Judgement::cannot_tell(rule, blind)),
    }
}

/// Servers that ought to run: enabled ones.
pub fn enabled(servers: &BTreeMap<String, Server>) -> impl Iterator<Item = (&String, &Server)> {
    servers.iter().filter(|(_, server)| server.enabled)
}

/// All TCP listeners on a port, with their keys.
pub fn listeners_on(sockets: &Sockets, port: u16) -> Vec<(&String, &Listener)> {
    sockets.listeners.iter().filter(|(_, l)| l.protocol == "tcp" && l.port == port).collect()
}

/// The listeners on a port that could be the ones which `wanted` asks for: on one of its addresses, or overlapping it.
pub fn listeners_of<'a>(sockets: &'a Sockets, wanted: &WantedListener) -> Vec<(&'a String, &'a Listener)> {
    listeners_on(sockets, wanted.port)
        .into_iter()
        .filter(|(_, l)| wanted.addresses.iter().any(|a| overlaps(*a, l)))
        .collect()
}

/// Could a socket bound to `address` and this listener not exist side by side?
pub fn overlaps(address: IpAddr, listener: &Listener) -> bool {
    let same_family = address.is_ipv4() == listener.address.is_ipv4();
    listener.covers(address) || (address.is_unspecified() && same_family)
}

/// The thing that findings about one port have in common.
pub fn port_scope(port: u16) -> Subject {
    Subject::endpoint(format!("*:{port}/tcp"))
}

/// What one server does on one port.
pub fn service_at(instance: &str, port: u16) -> Subject {
    Subject::service(format!("{instance} on port {port}"))
}

/// `192.0.2.1:25/tcp`, `[::1]:25/tcp`, and `*:25/tcp` for all addresses.
pub fn endpoint(addresses: &[IpAddr], port: u16) -> Subject {
    match addresses {
        [one] if !one.is_unspecified() => Subject::endpoint(format!("{}/tcp", std::net::SocketAddr::new(*one, port))),
        _ => port_scope(port),
    }
}

/// `smtp (port 25, mail from other servers)`
pub fn service_text(wanted: &WantedListener) -> String {
    format!("{} (port {}, {})", wanted.service, wanted.port, wanted.purpose.as_str())
}

/// A JSON pointer (RFC 6901) into the evidence.
pub fn pointer<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> String {
    parts.into_iter().fold(String::new(), |mut path, part| {
        path.push('/');
        path.push_str(&part.as_ref().replace('~', "~0").replace('/', "~1"));
        path
    })
}

pub fn server_pointer(instance: &str, rest: &[&str]) -> String {
    pointer(["servers", "value", instance].iter().chain(rest))
}

pub fn listener_pointer(key: &str) -> String {
    pointer(["sockets", "value", "listeners", key])
}

/// `4 KiB`, `1.5 GiB`: powers of 1024, one decimal.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut rest = 0;
    let mut unit = 0;
    while value >= 1024 && unit + 1 < UNITS.len() {
        rest = value % 1024 * 10 / 1024;
        value /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if rest == 0 || unit == 0 { format!("{value} {name}") } else { format!("{value}.{rest} {name}") }
}

/// Splits a list parameter as Postfix does: by commas and white space, `{ … }` kept together.
pub fn list(value: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut depth = 0u32;
    let mut start = None;
    for (i, c) in value.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let separator = depth == 0 && (c == ',' || c.is_ascii_whitespace());
        match (separator, start) {
            (true, Some(from)) => {
                out.push(value.get(from..i).unwrap_or_default());
                start = None;
            }
            (false, None) => start = Some(i),
            _ => {}
        }
    }
    if let Some(from) = start {
        out.push(value.get(from..).unwrap_or_default());
    }
    out
}

/// The first word of what a table answers to everybody, in lower case. `None`: it depends on who asks, or stands in a
/// file.
///
/// Such tables stand in the list itself: `static:HOLD`, `cidr:{{0.0.0.0/0 OK}}`, `regexp:{{/./ HOLD}}` (DATABASE_README).
pub fn answer_to_all(entry: &str) -> Option<String> {
    let (kind, body) = entry.split_once(':')?;
    let body = body.trim();
    let is_for_all: fn(&str) -> bool = match kind.to_ascii_lowercase().as_str() {
        "static" => return first_word(unbraced(body).unwrap_or(body)),
        "cidr" => |pattern| prefix(pattern).is_some_and(|prefix| prefix.length == 0),
        "regexp" | "pcre" => matches_anything,
        _ => return None,
    };
    list(unbraced(body)?).into_iter().find_map(|rule| {
        let (pattern, result) = unbraced(rule)?.trim().split_once(char::is_whitespace)?;
        is_for_all(pattern).then(|| first_word(result)).flatten()
    })
}

fn unbraced(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix('}')
}

fn first_word(text: &str) -> Option<String> {
    text.split_whitespace().next().map(str::to_ascii_lowercase)
}

/// `/./`, `/^/i` and the like: expressions that no text fails to match.
fn matches_anything(pattern: &str) -> bool {
    const ANYTHING: [&str; 7] = ["", "^", ".", ".*", "^.", "^.*", "^.*$"];
    let Some(delimiter) = pattern.chars().next() else { return false };
    let inner = pattern.strip_prefix(delimiter).and_then(|rest| rest.rsplit_once(delimiter));
    inner.is_some_and(|(expression, _)| ANYTHING.contains(&expression))
}

/// Why this server is taken for one that receives mail from outside. `None`: nothing says so.
///
/// A null client or a send-only host also runs a mail server, often with its own names in `mydestination`. What makes a
/// receiving host is a domain beyond its own names, or any domain together with users who are served here. Behind a
/// relayhost neither counts: such a host may fetch its mail elsewhere.
pub fn receives_mail(evidence: &Evidence, server: &Server) -> Option<String> {
    if let Some(domains) = serves_domains(server) {
        return Some(domains);
    }
    let (list, domain) = local_domains(server).into_iter().next()?;
    let served = users_served_here(evidence, server)?;
    Some(format!("{list} contains {domain}, and {served}"))
}

/// A domain beyond its own names that this server is configured for.
pub fn serves_domains(server: &Server) -> Option<String> {
    for setting in ["virtual_mailbox_domains", "relay_domains", "virtual_alias_domains"] {
        let value = server.setting(setting);
        // By default relay_domains repeats mydestination: only what an admin wrote is a sign.
        if server.set_at(setting).is_some() && !list(value).is_empty() {
            return Some(format!("{setting} = {value}"));
        }
    }
    // What others keep in such lists stands in them by choice; Postfix's were looked at above, with their defaults.
    let taken = server.domains.iter().filter(|_| server.software != "postfix");
    if let Some(domain) = taken.into_iter().find(|domain| domain.value.kind != DomainKind::Local) {
        return Some(format!("{} contains {}", domain.setting, domain.value.name));
    }
    let is_foreign = |(_, name): &(&str, &str)| !is_own_name(server, &name.to_ascii_lowercase());
    let (list, foreign) = local_domains(server).into_iter().find(is_foreign)?;
    Some(format!("{list} contains {foreign}"))
}

/// A domain of `mydestination` that is more than the host's own name. It may be the name that the host writes under: a
/// machine that only sends often has that one there too, so this alone is no sign that mail comes in.
pub fn names_domain(server: &Server) -> Option<String> {
    let own = server.host_name.to_ascii_lowercase();
    // Debian puts the host's short and long names there; only what stands above them is a domain for mail.
    let above = |(_, name): &(&str, &str)| own.ends_with(&format!(".{}", name.to_ascii_lowercase()));
    let (list, domain) = local_domains(server).into_iter().find(above)?;
    Some(format!("{list} contains {domain}"))
}

/// Its mail to others leaves through another server.
pub fn has_relayhost(server: &Server) -> bool {
    if server.software == "postfix" {
        return !server.setting("relayhost").trim().is_empty();
    }
    !server.egress.smarthosts.is_empty()
}

/// Is mail from outside expected at all? Not behind a smarthost, and not where mail to others is an error (Debian's "Local
/// only"): such a host may fetch its mail elsewhere.
fn accepts_from_outside(server: &Server) -> bool {
    let sends = if server.software == "postfix" {
        transport_name(server.setting("default_transport")) != "error"
    } else {
        server.egress.sends
    };
    sends && !has_relayhost(server)
}

/// The domains whose mail is delivered here, with the list that holds them; none where mail from outside is not expected.
fn local_domains(server: &Server) -> Vec<(&str, &str)> {
    if !accepts_from_outside(server) {
        return Vec::new();
    }
    let own = server.domains.iter().filter(|domain| domain.value.kind == DomainKind::Local);
    let own: Vec<(&str, &str)> = own.map(|domain| (domain.setting.as_str(), domain.value.name.as_str())).collect();
    let of_postfix = || list(server.setting("mydestination")).into_iter().map(|name| ("mydestination", name)).collect();
    let all = if server.software == "postfix" { of_postfix() } else { own };
    all.into_iter().filter(|(_, entry)| is_domain(entry)).collect()
}

/// A port of IMAP or POP3 on which others than this machine can fetch their mail.
pub fn mailbox_port(evidence: &Evidence) -> Option<u16> {
    const MAILBOX_PORTS: [u16; 4] = [143, 993, 110, 995];
    let sockets = evidence.sockets.value()?;
    let reachable = |port: &u16| listeners_on(sockets, *port).iter().any(|(_, listener)| !listener.is_loopback());
    MAILBOX_PORTS.into_iter().find(reachable)
}

fn is_domain(entry: &str) -> bool {
    entry.contains('.')
        && !entry.contains([':', '/', '!'])
        && !entry.to_ascii_lowercase().starts_with("localhost.")
        && !entry.to_ascii_lowercase().ends_with(".localdomain")
}

/// The host's own name, or its mail name. Debian keeps the latter in a file; where its content is not known, the host's
/// own domain may be that name.
fn is_own_name(server: &Server, name: &str) -> bool {
    let own = server.host_name.to_ascii_lowercase();
    let mail_name = ["myorigin", "qualify_domain"].map(|name| server.setting(name)).join("").to_ascii_lowercase();
    let is_mail_name = if mail_name.starts_with('/') { own.ends_with(&format!(".{name}")) } else { name == mail_name };
    name == own || is_mail_name
}

/// Signs of people who use this host for their mail.
fn users_served_here(evidence: &Evidence, server: &Server) -> Option<String> {
    if let Some(port) = mailbox_port(evidence) {
        return Some(format!("mailboxes are served here on port {port}"));
    }
    let submission =
        server.wanted.values().find(|w| matches!(w.purpose, Purpose::Submission | Purpose::Submissions))?;
    Some(format!("users submit mail here ({})", submission.at))
}

/// `smtp` of `smtp:[192.0.2.1]`.
pub fn transport_name(value: &str) -> &str {
    let value = value.trim();
    value.split(':').next().unwrap_or(value)
}

/// The parameter by which this server is set up for logins. `None`: nothing says so.
pub fn logins_sign(server: &Server) -> Option<&'static str> {
    ["smtpd_sasl_auth_enable", "smtpd_sasl_path", "smtpd_sasl_type"]
        .into_iter()
        .find(|name| server.set_at(name).is_some() && !matches!(server.setting(name).trim(), "no" | ""))
}

/// Does `master_service_disable` switch this inet service off? The first entry that matches decides, `!` turns it
/// round, `inet` stands for all of them (postconf(5)).
pub fn is_disabled(server: &Server, service: &str) -> bool {
    for entry in list(server.setting("master_service_disable")) {
        let (pattern, verdict) = entry.strip_prefix('!').map_or((entry, true), |rest| (rest, false));
        let named = pattern.strip_suffix("/inet").or_else(|| pattern.strip_suffix(".inet"));
        if pattern == "inet" || named == Some(service) {
            return verdict;
        }
    }
    false
}

/// Ports on which mail is accepted or fetched, by the IANA registry.
pub const MAIL_PORTS: [u16; 10] = [24, 25, 110, 143, 465, 587, 993, 995, 2525, 4190];

/// A registered mail port, or one that a mail server here asks for.
pub fn is_mail_port(evidence: &Evidence, port: u16) -> bool {
    MAIL_PORTS.contains(&port) || service_on(evidence, port).is_some()
}

/// The configured service on a port, with its instance and server.
pub fn service_on(evidence: &Evidence, port: u16) -> Option<(&String, &Server, &WantedListener)> {
    let servers = evidence.servers.value()?;
    enabled(servers).find_map(|(name, server)| {
        let wanted = server.wanted.values().find(|wanted| wanted.port == port)?;
        Some((name, server, wanted))
    })
}

/// Dovecot counts processes by service, of which one may have several listeners (`imap-login`: imap and imaps).
pub fn is_dovecot(server: &Server) -> bool {
    server.software == "dovecot"
}

/// One path, however it is written: `/var/run` is `/run`.
pub fn same_socket(a: &str, b: &str) -> bool {
    let bare =
        |path: &str| path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path).to_owned();
    bare(a) == bare(b)
}

/// The service whose processes serve a listener's clients: its own, or the one that postscreen hands them to.
pub fn workers_of(server: &Server, wanted: &WantedListener) -> String {
    if is_dovecot(server) {
        return wanted.command.clone();
    }
    if !wanted.multiplexed {
        return format!("{}/inet", wanted.service);
    }
    match server.setting_of(wanted, "smtpd_service_name").trim() {
        "" => "smtpd/pass".to_owned(),
        name => format!("{name}/pass"),
    }
}

/// The processes that serve a listener's clients.
pub fn children_of<'a>(server: &'a Server, wanted: &WantedListener) -> Option<&'a Children> {
    server.children.value()?.get(&workers_of(server, wanted))
}

/// Clients that one process of a Dovecot service takes at the same time: one where it ends behind its client.
pub fn dovecot_clients(server: &Server, service: &str) -> u32 {
    let number = |setting: &str| server.setting(&format!("service/{service}/{setting}")).parse::<u32>().ok();
    if number("service_count") == Some(1) { 1 } else { number("client_limit").unwrap_or(1).max(1) }
}

/// How much a kernel counter rose while we looked. `None`: not visible.
pub fn counter_rise(evidence: &Evidence, name: &str) -> Option<u64> {
    Some(evidence.kernel.counters.value()?.get(name)?.rise())
}

/// The address in a count's `who`, where it is an address and not a network.
pub fn address_of(who: &str) -> Option<IpAddr> {
    who.parse().ok()
}

/// A network as `mynetworks` spells it (`192.0.2.0/24`, `[2001:db8::]/32`, a bare address). `None` for anything that is
/// no network: a table, a file, a negation.
pub fn prefix(text: &str) -> Option<Prefix> {
    match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, length)) => format!("{address}{length}").parse().ok(),
        None => text.parse().ok(),
    }
}

/// How a listener is looked at again after the fix.
pub fn look_again(port: u16) -> String {
    format!("mxray sockets --listening --port {port}")
}

/// SMTP services that users or other servers reach.
pub fn is_public_smtp(wanted: &WantedListener) -> bool {
    matches!(wanted.purpose, Purpose::Relay | Purpose::Submission | Purpose::Submissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_as_postfix_splits_them() {
        assert_eq!(list("a, b\tc,,d"), ["a", "b", "c", "d"]);
        assert_eq!(
            list("{ inet:x:1, default_action=accept }, unix:y"),
            ["{ inet:x:1, default_action=accept }", "unix:y"]
        );
        assert!(list(" , ").is_empty());
    }

    #[test]
    fn bytes_are_readable() {
        assert_eq!(bytes_text(0), "0 B");
        assert_eq!(bytes_text(1536), "1.5 KiB");
        assert_eq!(bytes_text(15 * 1024 * 1024), "15 MiB");
    }

    #[test]
    fn tables_that_answer_everybody_alike_are_known() {
        let answer = |entry| answer_to_all(entry);
        assert_eq!(answer("static:HOLD").as_deref(), Some("hold"));
        assert_eq!(answer("static:{HOLD for maintenance}").as_deref(), Some("hold"));
        assert_eq!(answer("cidr:{{0.0.0.0/0 OK}}").as_deref(), Some("ok"));
        assert_eq!(answer("cidr:{{192.0.2.0/24 DUNNO}, {::/0 HOLD}}").as_deref(), Some("hold"));
        assert_eq!(answer("regexp:{{/./ HOLD}}").as_deref(), Some("hold"));
        assert_eq!(answer("pcre:{{/^Subject:/ HOLD}}"), None);
        assert_eq!(answer("cidr:{{192.0.2.0/24 OK}}"), None);
        assert_eq!(answer("regexp:/etc/postfix/header_checks"), None);
        assert_eq!(answer("permit_mynetworks"), None);
    }

    #[test]
    fn services_are_disabled_as_postfix_matches_them() {
        let server = |value: &str| {
            let setting = mxray_model::evidence::Setting { value: value.to_owned(), at: None };
            Server { settings: [("master_service_disable".to_owned(), setting)].into(), ..Server::default() }
        };
        assert!(!is_disabled(&server(""), "smtp"));
        assert!(is_disabled(&server("smtp/inet"), "smtp"));
        assert!(!is_disabled(&server("smtp/inet"), "submission"));
        assert!(is_disabled(&server("!smtp/inet, inet"), "submission"));
        assert!(!is_disabled(&server("!smtp/inet, inet"), "smtp"));
        assert!(!is_disabled(&server("unix"), "smtp"));
    }

    #[test]
    fn pointers_escape() {
        assert_eq!(listener_pointer("tcp/0.0.0.0:25"), "/sockets/value/listeners/tcp~10.0.0.0:25");
    }
}
