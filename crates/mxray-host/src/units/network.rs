//! What a unit's lines leave of its sockets: families, ports that it may bind, addresses that it may talk with, a network of its
//! own (systemd.exec(5), systemd.resource-control(5)). [`merge`] is pure.
//!
//! These are lists: each line adds to those before it, and an empty one takes them back.

use super::files::{self, Assignment, assignments};
use mxray_model::evidence::FileLine;
use mxray_model::{Prefix, Seen};
use std::net::IpAddr;
use std::path::Path;

/// A line as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub at: FileLine,
}

/// All that its lines say of sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLimits {
    /// PrivateNetwork=yes, or NetworkNamespacePath=: nobody reaches it from here.
    pub own_network: Option<Line>,
    /// RestrictAddressFamilies= leaves no sockets of IPv4, of IPv6.
    pub no_ipv4: Option<Line>,
    pub no_ipv6: Option<Line>,
    pub bind: BindRules,
    pub addresses: AddressRules,
    /// The program that ExecStart= starts.
    pub program: Option<String>,
    /// AppArmorProfile=
    pub profile: Option<String>,
}

/// SocketBindAllow= and SocketBindDeny=: what is allowed is asked first, what is in neither may be bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BindRules {
    allow: Vec<BindRule>,
    deny: Vec<BindRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct BindRule {
    ipv6: Option<bool>,
    protocol: Option<&'static str>,
    /// `None`: every port.
    ports: Option<(u16, u16)>,
    /// It was not understood: it may be for any.
    strange: bool,
    line: Line,
}

/// IPAddressAllow= and IPAddressDeny=: the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRules {
    allow: Vec<(Prefix, Line)>,
    deny: Vec<(Prefix, Line)>,
    strange: Option<Line>,
}

/// What rules say of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruled<'lines> {
    Free,
    Denied(&'lines Line),
    /// A line was not understood.
    Unknown(&'lines Line),
}

impl BindRules {
    /// May a socket of this kind be bound? systemd answers EPERM where not.
    pub fn ask(&self, ipv6: bool, protocol: &str, port: u16) -> Ruled<'_> {
        let for_it = |rule: &&BindRule| {
            rule.strange
                || rule.ipv6.is_none_or(|six| six == ipv6)
                    && rule.protocol.is_none_or(|name| name == protocol)
                    && rule.ports.is_none_or(|(first, last)| (first..=last).contains(&port))
        };
        let allowed: Vec<&BindRule> = self.allow.iter().filter(for_it).collect();
        if allowed.iter().any(|rule| !rule.strange) {
            return Ruled::Free;
        }
        let denied: Vec<&BindRule> = self.deny.iter().filter(for_it).collect();
        match (denied.iter().find(|rule| !rule.strange), denied.first(), allowed.first()) {
            (_, None, _) => Ruled::Free,
            (Some(rule), _, None) => Ruled::Denied(&rule.line),
            (_, Some(rule), _) => Ruled::Unknown(&rule.line),
        }
    }
}

impl AddressRules {
    /// May packets of this address come and go? The kernel drops those that may not.
    pub fn ask(&self, address: IpAddr) -> Ruled<'_> {
        let holds = |rules: &'_ [(Prefix, Line)]| rules.iter().position(|(prefix, _)| prefix.contains(address));
        if holds(&self.allow).is_some() {
            return Ruled::Free;
        }
        match (holds(&self.deny).and_then(|at| self.deny.get(at)), &self.strange) {
            (Some((_, line)), None) => Ruled::Denied(line),
            (_, Some(line)) => Ruled::Unknown(line),
            (None, None) => Ruled::Free,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.strange.is_none()
    }
}

/// What the unit leaves of its sockets. `Absent`: no such unit.
pub fn network(unit: &str) -> Seen<NetworkLimits> {
    files::load(Path::new("/"), unit).map(|loaded| merge(&loaded.texts))
}

/// The unit's file and its drop-ins, in order, as path and text.
pub fn merge(texts: &[(String, Vec<u8>)]) -> NetworkLimits {
    let mut limits = NetworkLimits::default();
    let (mut private, mut path) = (None, None);
    let mut families = Families::default();
    for line in assignments(texts).into_iter().filter(|line| line.section == "Service") {
        let shown = shown(&line);
        match line.key.as_str() {
            "PrivateNetwork" => private = is_yes(&line.value).then_some(shown),
            "NetworkNamespacePath" => path = (!line.value.is_empty()).then_some(shown),
            "RestrictAddressFamilies" => families.take(&line.value, shown),
            "SocketBindAllow" => bind_rules(&mut limits.bind.allow, &line.value, &shown),
            "SocketBindDeny" => bind_rules(&mut limits.bind.deny, &line.value, &shown),
            "IPAddressAllow" => {
                prefixes(&mut limits.addresses.allow, &mut limits.addresses.strange, &line.value, &shown);
            }
            "IPAddressDeny" => {
                prefixes(&mut limits.addresses.deny, &mut limits.addresses.strange, &line.value, &shown);
            }
            "ExecStart" => {
                let word = line.value.split_whitespace().next().unwrap_or("");
                let program = word.trim_start_matches(['-', '@', ':', '+', '!', '|']);
                limits.program = program.starts_with('/').then(|| program.to_owned()).or(limits.program);
            }
            "AppArmorProfile" => {
                let name = line.value.trim_start_matches('-');
                limits.profile = (!name.is_empty()).then(|| name.to_owned());
            }
            _ => {}
        }
    }
    limits.own_network = private.or(path);
    (limits.no_ipv4, limits.no_ipv6) = (families.without("AF_INET"), families.without("AF_INET6"));
    limits
}

fn shown(line: &Assignment) -> Line {
    Line { text: format!("{}={}", line.key, line.value), at: FileLine { file: line.file.clone(), line: line.line } }
}

/// `parse_boolean` of systemd.
fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "yes" | "y" | "true" | "t" | "on")
}

/// RestrictAddressFamilies=: the first line says whether it is a list of what is allowed or (`~`) of what is not; later ones add
/// to it, or take away from it where they are of the other kind.
#[derive(Debug, Default)]
struct Families {
    listed: Option<(bool, Vec<String>)>,
    last: Option<Line>,
}

impl Families {
    fn take(&mut self, value: &str, line: Line) {
        if value.is_empty() {
            return *self = Families::default();
        }
        let (inverted, list) = match value.strip_prefix('~') {
            Some(list) => (true, list),
            None => (false, value),
        };
        // "none" is an empty list of what is allowed.
        let words = list.split_whitespace().filter(|word| *word != "none").map(str::to_owned);
        let (denies, names) = self.listed.get_or_insert((inverted, Vec::new()));
        if *denies == inverted {
            names.extend(words);
        } else {
            for word in words {
                names.retain(|name| *name != word);
            }
        }
        self.last = Some(line);
    }

    /// The line that leaves no sockets of the family.
    fn without(&self, family: &str) -> Option<Line> {
        let (denies, names) = self.listed.as_ref()?;
        let named = names.iter().any(|name| name == family);
        (named == *denies).then(|| self.last.clone()).flatten()
    }
}

/// `[ipv4:|ipv6:][tcp:|udp:]PORT[-PORT]`, or `any`.
fn bind_rules(rules: &mut Vec<BindRule>, value: &str, line: &Line) {
    if value.is_empty() {
        return rules.clear();
    }
    for word in value.split_whitespace() {
        let mut rule = BindRule { ipv6: None, protocol: None, ports: None, strange: false, line: line.clone() };
        for part in word.split(':') {
            match part {
                "ipv4" => rule.ipv6 = Some(false),
                "ipv6" => rule.ipv6 = Some(true),
                "tcp" => rule.protocol = Some("tcp"),
                "udp" => rule.protocol = Some("udp"),
                "any" => {}
                ports => match ports_of(ports) {
                    Some(ports) => rule.ports = Some(ports),
                    None => rule.strange = true,
                },
            }
        }
        rules.push(rule);
    }
}

fn ports_of(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Addresses with a length or without, and systemd's four names.
fn prefixes(rules: &mut Vec<(Prefix, Line)>, strange: &mut Option<Line>, value: &str, line: &Line) {
    if value.is_empty() {
        return rules.clear();
    }
    for word in value.split_whitespace() {
        let itself = [word];
        let named: &[&str] = match word {
            "any" => &["0.0.0.0/0", "::/0"],
            "localhost" => &["127.0.0.0/8", "::1/128"],
            "link-local" => &["169.254.0.0/16", "fe80::/64"],
            "multicast" => &["224.0.0.0/4", "ff00::/8"],
            _ => &itself,
        };
        for text in named {
            match text.parse::<Prefix>() {
                Ok(prefix) => rules.push((prefix, line.clone())),
                // A specifier, or what systemd itself would refuse.
                Err(_) => *strange = Some(line.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> NetworkLimits {
        merge(&[("/u.service".to_owned(), format!("[Service]\n{text}").into_bytes())])
    }

    fn may_bind(limits: &NetworkLimits, ipv6: bool, protocol: &str, port: u16) -> bool {
        limits.bind.ask(ipv6, protocol, port) == Ruled::Free
    }

    #[test]
    fn families_add_up_over_lines_and_drop_ins() {
        let two = merged("RestrictAddressFamilies=AF_UNIX AF_INET\nRestrictAddressFamilies=AF_INET6\n");
        assert_eq!((two.no_ipv4, two.no_ipv6), (None, None));
        let less = merged("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nRestrictAddressFamilies=~AF_INET6\n");
        assert_eq!(less.no_ipv4, None);
        assert_eq!(less.no_ipv6.unwrap().at.line, 3);
        let not = merged("RestrictAddressFamilies=~AF_INET AF_PACKET\n");
        assert!(not.no_ipv4.is_some() && not.no_ipv6.is_none());
        let none = merged("RestrictAddressFamilies=none\n");
        assert!(none.no_ipv4.is_some() && none.no_ipv6.is_some());
        let again = merged("RestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=\n");
        assert!(again.no_ipv4.is_none());
    }

    #[test]
    fn what_may_be_bound_is_asked_first() {
        let limits = merged("SocketBindDeny=any\nSocketBindAllow=tcp:25 ipv6:tcp:465-587\n");
        assert!(may_bind(&limits, false, "tcp", 25) && may_bind(&limits, true, "tcp", 500));
        assert!(!may_bind(&limits, false, "tcp", 465) && !may_bind(&limits, false, "udp", 25));
        let one = merged("SocketBindDeny=ipv4:tcp\nSocketBindDeny=udp:53\n");
        assert!(
            !may_bind(&one, false, "tcp", 25) && may_bind(&one, true, "tcp", 25) && !may_bind(&one, true, "udp", 53)
        );
        let back = merged("SocketBindDeny=any\nSocketBindDeny=\nSocketBindDeny=1-1023\n");
        assert!(may_bind(&back, false, "tcp", 2525) && !may_bind(&back, false, "tcp", 25));
        let strange = merged("SocketBindDeny=%i\n");
        assert!(matches!(strange.bind.ask(false, "tcp", 25), Ruled::Unknown(_)));
        assert_eq!(merged("").bind.ask(false, "tcp", 25), Ruled::Free);
    }

    #[test]
    fn addresses_are_dropped_unless_they_are_let_through() {
        let limits = merged("IPAddressDeny=any\nIPAddressAllow=localhost 192.0.2.0/24\nIPAddressAllow=2001:db8::/32\n");
        let denied = |text: &str| matches!(limits.addresses.ask(text.parse().unwrap()), Ruled::Denied(_));
        assert!(denied("8.97.33.1") && denied("2001:600::1"));
        assert!(!denied("127.0.0.1") && !denied("::1") && !denied("192.0.2.9") && !denied("2001:db8::9"));
        assert!(merged("IPAddressAllow=192.0.2.1\n").addresses.is_empty());
        assert!(merged("IPAddressDeny=any\nIPAddressDeny=\n").addresses.is_empty());
    }

    #[test]
    fn the_last_word_about_the_network_holds() {
        assert!(merged("PrivateNetwork=yes\n").own_network.is_some());
        assert!(merged("PrivateNetwork=yes\nPrivateNetwork=no\n").own_network.is_none());
        assert!(merged("NetworkNamespacePath=/run/netns/mail\n").own_network.is_some());
        let program = merged("ExecStart=-!/usr/sbin/dovecot -F\nAppArmorProfile=-mail\n");
        assert_eq!((program.program.as_deref(), program.profile.as_deref()), (Some("/usr/sbin/dovecot"), Some("mail")));
    }
}
