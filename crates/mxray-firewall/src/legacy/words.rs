//! The options of one rule, as iptables-save writes them and people do.

use crate::evaluate::protocol_number;
use crate::expression::Expression;
use crate::ruleset::Verdict;
use crate::xt::{ConnMark, Conntrack, Match, PortSide, Span, Target};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A rule of more words is no rule that iptables wrote.
const WORDS_MAX: usize = 512;

/// `[packets:bytes]`
pub fn counters(text: &str) -> Option<(u64, u64)> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some((packets.parse().ok()?, bytes.parse().ok()?))
}

/// A word, and whether it was quoted: then it is no option, whatever it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    quoted: bool,
}

fn split(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while words.len() < WORDS_MAX {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else { break };
        let mut word = Word { text: String::new(), quoted: first == '"' || first == '\'' };
        if word.quoted {
            chars.next();
        }
        while let Some(c) = chars.next() {
            match c {
                '\\' if word.quoted => word.text.extend(chars.next()),
                c if word.quoted && c == first => break,
                c if !word.quoted && c.is_whitespace() => break,
                c => word.text.push(c),
            }
        }
        words.push(word);
    }
    words
}

/// One option with its arguments.
#[derive(Debug)]
struct Setting<'words> {
    name: &'words str,
    inverted: bool,
    values: Vec<&'words str>,
}

impl Setting<'_> {
    fn value(&self) -> Option<&str> {
        match self.values.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// A module (`-m tcp`, `-j DNAT`), or the rule's own head where the name is empty, and its options.
#[derive(Debug)]
struct Section<'words> {
    name: &'words str,
    target: bool,
    goto: bool,
    settings: Vec<Setting<'words>>,
}

/// The settings of a rule, each with the module before it. The head's options are known by name, wherever they stand.
fn sections(words: &[Word]) -> Vec<Section<'_>> {
    const HEAD: [&str; 16] = [
        "-s",
        "-d",
        "-i",
        "-o",
        "-p",
        "-f",
        "--source",
        "--src",
        "--destination",
        "--dst",
        "--in-interface",
        "--out-interface",
        "--protocol",
        "--proto",
        "--fragment",
        "-c",
    ];
    let section = |name, target| Section { name, target, goto: false, settings: Vec::new() };
    let mut all = vec![section("", false)];
    let mut inverted = false;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "!" if !word.quoted => inverted = true,
            "-m" | "--match" => {
                let name = words.next().map_or("", |word| word.text.as_str());
                all.push(section(name, false));
                inverted = false;
            }
            option @ ("-j" | "--jump" | "-g" | "--goto") => {
                let name = words.next().map_or("", |word| word.text.as_str());
                all.push(Section { goto: option == "-g" || option == "--goto", ..section(name, true) });
                inverted = false;
            }
            name => {
                let mut setting = Setting { name, inverted, values: Vec::new() };
                inverted = false;
                while let Some(value) = words.peek() {
                    if !value.quoted && (value.text.starts_with('-') && value.text.len() > 1 || value.text == "!") {
                        // The older form has its "!" behind the option.
                        if value.text == "!" && setting.values.is_empty() && !setting.inverted && older(&words) {
                            setting.inverted = true;
                            words.next();
                            continue;
                        }
                        break;
                    }
                    setting.values.push(&value.text);
                    words.next();
                }
                let at = if HEAD.contains(&name) { 0 } else { all.len() - 1 };
                if let Some(section) = all.get_mut(at) {
                    section.settings.push(setting);
                }
            }
        }
    }
    implied(&mut all);
    all
}

/// `-p tcp --dport 25` means `-p tcp -m tcp --dport 25`: iptables loads the protocol's module by itself, and ufw's files leave it to that.
fn implied(all: &mut Vec<Section<'_>>) {
    const OPTIONS: [&str; 9] = [
        "--dport",
        "--destination-port",
        "--sport",
        "--source-port",
        "--tcp-flags",
        "--syn",
        "--tcp-option",
        "--icmp-type",
        "--icmpv6-type",
    ];
    const MODULES: [&str; 8] = ["tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmp6", "icmpv6"];
    let head = all.first().map_or(&[][..], |head| &head.settings);
    let protocol = head.iter().find(|setting| matches!(setting.name, "-p" | "--protocol" | "--proto"));
    let module = match protocol.filter(|setting| !setting.inverted).and_then(Setting::value) {
        Some("tcp" | "6") => "tcp",
        Some("udp" | "17") => "udp",
        Some("udplite" | "136") => "udplite",
        Some("sctp" | "132") => "sctp",
        Some("dccp" | "33") => "dccp",
        Some("icmp" | "1") => "icmp",
        Some("icmpv6" | "ipv6-icmp" | "58") => "icmp6",
        _ => return,
    };
    let elsewhere = all.iter_mut().filter(|section| !section.target && !MODULES.contains(&section.name));
    let moved: Vec<Setting<'_>> = elsewhere
        .flat_map(|section| section.settings.extract_if(.., |setting| OPTIONS.contains(&setting.name)))
        .collect();
    if moved.is_empty() {
        return;
    }
    match all.iter_mut().find(|section| !section.target && section.name == module) {
        Some(section) => section.settings.extend(moved),
        None => all.insert(1, Section { name: module, target: false, goto: false, settings: moved }),
    }
}

/// Whether the "!" that comes next belongs to the option before it: a value follows, no option.
fn older<'word>(words: &std::iter::Peekable<impl Iterator<Item = &'word Word> + Clone>) -> bool {
    words.clone().nth(1).is_some_and(|after| after.quoted || !after.text.starts_with('-'))
}

/// The expressions of one rule's text.
pub fn expressions(text: &str, v6: bool, into: &mut Vec<Expression>) {
    let words = split(text);
    let all = sections(&words);
    for section in all.iter().filter(|section| !section.target) {
        matches(section, v6, into);
    }
    // A rule without target counts.
    for section in all.iter().filter(|section| section.target) {
        into.push(target(section, v6));
    }
    if words.len() >= WORDS_MAX {
        into.push(Expression::Unknown { name: "a rule of so many words".to_owned(), to: None, decides: true });
    }
}

fn matches(section: &Section<'_>, v6: bool, into: &mut Vec<Expression>) {
    let unknown =
        |name: &str| Expression::Match(Match::Unknown { name: mxray_model::text::untrusted(name.as_bytes()) });
    if section.name.is_empty() {
        for setting in &section.settings {
            into.push(head(setting, v6).map_or_else(|| unknown(setting.name), Expression::Match));
        }
        return;
    }
    into.push(module(section, v6).map_or_else(|| unknown(section.name), Expression::Match));
}

fn head(setting: &Setting<'_>, v6: bool) -> Option<Match> {
    let inverted = setting.inverted;
    Some(match setting.name {
        "-s" | "--source" | "--src" => {
            let (address, mask) = network(setting.value()?, v6)?;
            Match::Source { address, mask, inverted }
        }
        "-d" | "--destination" | "--dst" => {
            let (address, mask) = network(setting.value()?, v6)?;
            Match::Destination { address, mask, inverted }
        }
        "-i" | "--in-interface" => {
            let (name, prefix) = interface(setting.value()?);
            Match::InterfaceIn { name, prefix, inverted }
        }
        "-o" | "--out-interface" => {
            let (name, prefix) = interface(setting.value()?);
            Match::InterfaceOut { name, prefix, inverted }
        }
        "-p" | "--protocol" | "--proto" => Match::Protocol { number: protocol_number(setting.value()?)?, inverted },
        "-f" | "--fragment" => Match::Fragment { inverted },
        "-c" => Match::Always { name: "counters".to_owned() },
        _ => return None,
    })
}

fn interface(text: &str) -> (String, bool) {
    match text.strip_suffix('+') {
        Some(prefix) => (mxray_model::text::untrusted(prefix.as_bytes()), true),
        None => (mxray_model::text::untrusted(text.as_bytes()), false),
    }
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`, an address
fn network(text: &str, v6: bool) -> Option<(IpAddr, IpAddr)> {
    let (address, mask) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    if address.is_ipv6() != v6 {
        return None;
    }
    let mask = match (mask, mask.parse::<u32>(), v6) {
        ("", _, false) => IpAddr::from(Ipv4Addr::BROADCAST),
        ("", _, true) => IpAddr::from(Ipv6Addr::from(u128::MAX)),
        (_, Ok(len @ 0..=32), false) => IpAddr::from(Ipv4Addr::from(u32::MAX.checked_shl(32 - len).unwrap_or(0))),
        (_, Ok(len @ 0..=128), true) => IpAddr::from(Ipv6Addr::from(u128::MAX.checked_shl(128 - len).unwrap_or(0))),
        (mask, Err(_), _) => mask.parse().ok().filter(|mask: &IpAddr| mask.is_ipv6() == v6)?,
        _ => return None,
    };
    Some((address, mask))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `1/0xff`, `0x1`
fn marked(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((mark, mask)) => Some((number(mark)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// A port by number, or by one of the names that mail has to do with (`/etc/services`).
fn port(text: &str) -> Option<u32> {
    Some(match text {
        "ssh" => 22,
        "smtp" | "mail" => 25,
        "domain" => 53,
        "http" => 80,
        "pop3" | "pop-3" => 110,
        "ntp" => 123,
        "imap2" | "imap" => 143,
        "https" => 443,
        "submissions" | "ssmtp" | "smtps" | "urd" => 465,
        "submission" => 587,
        "domain-s" => 853,
        "imaps" => 993,
        "pop3s" => 995,
        "sieve" => 4190,
        other => u32::from(other.parse::<u16>().ok()?),
    })
}

/// `25`, `1024:65535`, `:1023`
fn ports(text: &str) -> Option<Span> {
    match text.split_once(':') {
        Some((low, high)) => {
            let low = if low.is_empty() { 0 } else { port(low)? };
            let high = if high.is_empty() { 65_535 } else { port(high)? };
            Some((low, high))
        }
        None => port(text).map(|port| (port, port)),
    }
}

/// `1000`, `1000-1999`
fn ids(text: &str) -> Option<Span> {
    match text.split_once('-') {
        Some((low, high)) => Some((low.parse().ok()?, high.parse().ok()?)),
        None => text.parse().ok().map(|id| (id, id)),
    }
}

fn module(section: &Section<'_>, v6: bool) -> Option<Match> {
    match section.name {
        "tcp" | "udp" | "udplite" | "sctp" | "dccp" => transport(section),
        "multiport" => multiport(section),
        "icmp" | "icmp6" | "icmpv6" => icmp(section, v6),
        "conntrack" | "state" => conntrack(section, v6),
        "owner" => owner(section),
        "mark" | "connmark" => {
            let [setting] = section.settings.as_slice() else { return None };
            let (mark, mask) = marked(setting.value().filter(|_| setting.name == "--mark")?)?;
            let inverted = setting.inverted;
            Some(if section.name == "mark" {
                Match::Mark { mark, mask, inverted }
            } else {
                Match::ConnMark { mark, mask, inverted }
            })
        }
        "limit" => Some(Match::Limit { name: "limit", above: false }),
        "hashlimit" => {
            let above = section.settings.iter().any(|setting| setting.name == "--hashlimit-above" || setting.inverted);
            Some(Match::Limit { name: "hashlimit", above })
        }
        "connlimit" => {
            let limit = section.settings.iter().find_map(|setting| {
                let above = (setting.name == "--connlimit-above") != setting.inverted;
                let named = matches!(setting.name, "--connlimit-above" | "--connlimit-upto");
                Some((setting.value().filter(|_| named)?.parse().ok()?, above))
            });
            let (limit, above) = limit?;
            Some(Match::ConnLimit { limit, above })
        }
        "iprange" => ranges(section, v6),
        "physdev" => {
            Some(Match::PhysDev { matches_unbridged: section.settings.iter().all(|setting| setting.inverted) })
        }
        "comment" => section
            .settings
            .first()
            .and_then(Setting::value)
            .map(|text| Match::Comment(mxray_model::text::untrusted(text.as_bytes()))),
        "addrtype" => address_type(section),
        name if crate::xt::EXTENSION_HEADERS.contains(&name) => Some(Match::ExtensionHeader { name: name.to_owned() }),
        "helper" => {
            let [setting] = section.settings.as_slice() else { return None };
            (setting.name == "--helper").then_some(Match::Helper { inverted: setting.inverted })
        }
        "nfacct" => Some(Match::Always { name: section.name.to_owned() }),
        _ => rarer(section),
    }
}

fn rarer(section: &Section<'_>) -> Option<Match> {
    match section.name {
        "rpfilter" => {
            let has = |name: &str| section.settings.iter().any(|setting| setting.name == name);
            let known = ["--loose", "--validmark", "--accept-local", "--invert"];
            let all_known = section.settings.iter().all(|setting| known.contains(&setting.name));
            all_known.then(|| Match::ReversePath { loose: has("--loose"), inverted: has("--invert") })
        }
        "recent" => {
            let get = |name: &str| section.settings.iter().find(|setting| setting.name == name);
            let hits = get("--hitcount").and_then(|setting| setting.value()?.parse().ok()).unwrap_or(0);
            let inverted = section.settings.iter().any(|setting| setting.inverted);
            let check = get("--update").is_some() || get("--rcheck").is_some();
            if get("--remove").is_some() {
                None
            } else {
                crate::xt::recent(get("--set").is_some(), check, hits, inverted)
            }
        }
        "pkttype" => {
            let [setting] = section.settings.as_slice() else { return None };
            let kind = match setting.value()? {
                "unicast" | "host" => 0,
                "broadcast" => 1,
                "multicast" => 2,
                other => other.parse().ok()?,
            };
            Some(Match::PacketType { kind, inverted: setting.inverted })
        }
        "cgroup" => {
            let [setting] = section.settings.as_slice() else { return None };
            let value = setting.value()?;
            match setting.name {
                "--path" => Some(Match::Cgroup { path: Some((value.to_owned(), setting.inverted)), class: None }),
                "--cgroup" => Some(Match::Cgroup { path: None, class: Some((number(value)?, setting.inverted)) }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn transport(section: &Section<'_>) -> Option<Match> {
    let (mut source, mut destination, mut flags, mut option) = (None, None, None, false);
    for setting in &section.settings {
        match setting.name {
            "--sport" | "--source-port" => source = Some((ports(setting.value()?)?, setting.inverted)),
            "--dport" | "--destination-port" => destination = Some((ports(setting.value()?)?, setting.inverted)),
            "--syn" => flags = Some((0x17, 0x02, setting.inverted)),
            "--tcp-flags" => match setting.values.as_slice() {
                [mask, wanted] => flags = Some((tcp_flags(mask)?, tcp_flags(wanted)?, setting.inverted)),
                _ => return None,
            },
            "--tcp-option" => option = true,
            _ => return None,
        }
    }
    Some(Match::Ports { protocol: protocol_number(section.name)?, source, destination, flags, option })
}

fn tcp_flags(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |flags, name| {
        Some(
            flags
                | match name {
                    "FIN" => 0x01,
                    "SYN" => 0x02,
                    "RST" => 0x04,
                    "PSH" => 0x08,
                    "ACK" => 0x10,
                    "URG" => 0x20,
                    "ALL" => 0x3f,
                    "NONE" => 0,
                    _ => return None,
                },
        )
    })
}

fn multiport(section: &Section<'_>) -> Option<Match> {
    let [setting] = section.settings.as_slice() else { return None };
    let which = match setting.name {
        "--sports" | "--source-ports" => PortSide::Source,
        "--dports" | "--destination-ports" => PortSide::Destination,
        "--ports" => PortSide::Either,
        _ => return None,
    };
    let spans = setting.value()?.split(',').map(ports).collect::<Option<Vec<_>>>()?;
    Some(Match::MultiPort { which, spans, inverted: setting.inverted })
}

fn icmp(section: &Section<'_>, v6: bool) -> Option<Match> {
    let [setting] = section.settings.as_slice() else { return None };
    let text = setting.value()?;
    let (kind, code) = text.split_once('/').map_or((text, None), |(kind, code)| (kind, Some(code)));
    let kind = match (kind, v6) {
        ("any", _) => 255,
        ("echo-reply" | "pong", false) => 0,
        ("destination-unreachable", false) => 3,
        ("echo-request" | "ping", false) => 8,
        ("time-exceeded" | "ttl-exceeded", false) => 11,
        ("parameter-problem", false) => 12,
        ("destination-unreachable", true) => 1,
        ("packet-too-big", true) => 2,
        ("time-exceeded" | "ttl-exceeded", true) => 3,
        ("parameter-problem", true) => 4,
        ("echo-request" | "ping", true) => 128,
        ("echo-reply" | "pong", true) => 129,
        ("router-solicitation", true) => 133,
        ("router-advertisement", true) => 134,
        ("neighbour-solicitation" | "neighbor-solicitation", true) => 135,
        ("neighbour-advertisement" | "neighbor-advertisement", true) => 136,
        (other, _) => other.parse().ok()?,
    };
    let codes = match code {
        Some(code) => code.parse().ok().map(|code| (code, code))?,
        None => (0, 255),
    };
    Some(Match::Icmp { v6, kind, codes, inverted: setting.inverted })
}

fn states(text: &str) -> Option<u16> {
    text.split(',').try_fold(0, |mask, name| {
        Some(
            mask | match name {
                "INVALID" => 1,
                "ESTABLISHED" => 2,
                "RELATED" => 4,
                "NEW" => 8,
                "SNAT" => 1 << 6,
                "DNAT" => 1 << 7,
                "UNTRACKED" => 1 << 8,
                _ => return None,
            },
        )
    })
}

fn conntrack(section: &Section<'_>, v6: bool) -> Option<Match> {
    let mut asked = Conntrack::default();
    for setting in &section.settings {
        let value = setting.value()?;
        let inverted = setting.inverted;
        match setting.name {
            "--ctstate" | "--state" => asked.state = Some((states(value)?, inverted)),
            "--ctstatus" => {
                let mask = value.split(',').try_fold(0, |mask, name| {
                    Some(
                        mask | match name {
                            "NONE" => 0,
                            "EXPECTED" => 1,
                            "SEEN_REPLY" => 2,
                            "ASSURED" => 4,
                            "CONFIRMED" => 8,
                            _ => return None,
                        },
                    )
                });
                asked.status = Some((mask?, inverted));
            }
            "--ctproto" => asked.protocol = Some((protocol_number(value)?, inverted)),
            "--ctorigsrc" => {
                asked.original_source = network(value, v6).map(|(address, mask)| (address, mask, inverted));
                asked.original_source?;
            }
            "--ctorigdst" => {
                asked.original_destination = network(value, v6).map(|(address, mask)| (address, mask, inverted));
                asked.original_destination?;
            }
            "--ctorigsrcport" => asked.original_source_port = Some((ports(value)?, inverted)),
            "--ctorigdstport" => asked.original_destination_port = Some((ports(value)?, inverted)),
            "--ctdir" => {
                asked.original_way = Some(match value {
                    "ORIGINAL" => true,
                    "REPLY" => false,
                    _ => return None,
                });
            }
            "--ctreplsrc" | "--ctrepldst" | "--ctreplsrcport" | "--ctrepldstport" | "--ctexpire" => asked.more = true,
            _ => return None,
        }
    }
    Some(Match::Conntrack(Box::new(asked)))
}

fn owner(section: &Section<'_>) -> Option<Match> {
    let (mut uid, mut gid, mut socket, mut groups) = (None, None, None, false);
    for setting in &section.settings {
        match setting.name {
            "--uid-owner" => uid = Some((ids(setting.value()?)?, setting.inverted)),
            "--gid-owner" => gid = Some((ids(setting.value()?)?, setting.inverted)),
            "--socket-exists" => socket = Some(!setting.inverted),
            "--suppl-groups" => groups = true,
            _ => return None,
        }
    }
    Some(Match::Owner { uid, gid, socket, groups })
}

fn ranges(section: &Section<'_>, v6: bool) -> Option<Match> {
    let (mut source, mut destination) = (None, None);
    for setting in &section.settings {
        let text = setting.value()?;
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high): (IpAddr, IpAddr) = (low.parse().ok()?, high.parse().ok()?);
        if low.is_ipv6() != v6 || high.is_ipv6() != v6 {
            return None;
        }
        match setting.name {
            "--src-range" => source = Some((low, high, setting.inverted)),
            "--dst-range" => destination = Some((low, high, setting.inverted)),
            _ => return None,
        }
    }
    Some(Match::IpRange { source, destination })
}

fn address_type(section: &Section<'_>) -> Option<Match> {
    let (mut source, mut destination, mut limit_in, mut limit_out) = (None, None, false, false);
    let kinds = |text: &str| {
        text.split(',').try_fold(0_u16, |mask, name| {
            Some(
                mask | (1
                    << match name {
                        "UNSPEC" => 0,
                        "UNICAST" => 1,
                        "LOCAL" => 2,
                        "BROADCAST" => 3,
                        "ANYCAST" => 4,
                        "MULTICAST" => 5,
                        "BLACKHOLE" => 6,
                        "UNREACHABLE" => 7,
                        "PROHIBIT" => 8,
                        _ => return None,
                    }),
            )
        })
    };
    for setting in &section.settings {
        match setting.name {
            "--src-type" => source = Some((kinds(setting.value()?)?, setting.inverted)),
            "--dst-type" => destination = Some((kinds(setting.value()?)?, setting.inverted)),
            "--limit-iface-in" => limit_in = true,
            "--limit-iface-out" => limit_out = true,
            _ => return None,
        }
    }
    Some(Match::AddressType { source, destination, limit_in, limit_out })
}

fn target(section: &Section<'_>, v6: bool) -> Expression {
    let named = mxray_model::text::untrusted(section.name.as_bytes());
    match section.name {
        "ACCEPT" => return Expression::Verdict(Verdict::Accept),
        "DROP" => return Expression::Verdict(Verdict::Drop),
        "RETURN" => return Expression::Verdict(Verdict::Return),
        "QUEUE" => return Expression::Queue { number: 0, bypass: false },
        _ => {}
    }
    if section.goto {
        return Expression::Verdict(Verdict::Goto(named));
    }
    let extension = known(section, v6);
    match extension {
        Some(target) => Expression::Target(target),
        // Extensions have names in capitals only, but chains may as well: a chain of that name is asked for at the end.
        None if section.settings.is_empty() => Expression::Verdict(Verdict::Jump(named)),
        None => Expression::Target(Target::Unknown { name: named }),
    }
}

fn known(section: &Section<'_>, v6: bool) -> Option<Target> {
    let get = |name: &str| section.settings.iter().find(|setting| setting.name == name);
    match section.name {
        "REJECT" => {
            let with = match get("--reject-with") {
                Some(setting) => setting.value()?,
                None if v6 => "icmp6-port-unreachable",
                None => "icmp-port-unreachable",
            };
            Some(Target::Reject { with: mxray_model::text::untrusted(with.as_bytes()) })
        }
        "DNAT" => {
            let to = get("--to-destination").or(get("--to"))?.value()?;
            let (low, high, ports) = destination(to, v6)?;
            Some(Target::Destination { low, high, ports })
        }
        "REDIRECT" => match get("--to-ports").or(get("--to-port")) {
            Some(setting) => Some(Target::Redirect { ports: Some(port_range(setting.value()?)?) }),
            None => Some(Target::Redirect { ports: None }),
        },
        "SNAT" => Some(Target::Source),
        "MASQUERADE" => Some(Target::Masquerade),
        "MARK" => {
            let [setting] = section.settings.as_slice() else { return None };
            let (value, mask) = marked(setting.value()?)?;
            Some(match setting.name {
                // `--set-mark value/mask` clears the mask's bits and the value's, and sets the value's.
                "--set-mark" => Target::Mark { value, mask: mask | value },
                "--set-xmark" => Target::Mark { value, mask },
                "--and-mark" => Target::Mark { value: 0, mask: !value },
                "--or-mark" => Target::Mark { value, mask: value },
                "--xor-mark" => Target::Mark { value, mask: 0 },
                _ => return None,
            })
        }
        "CONNMARK" => Some(Target::ConnMark(connection_mark(section))),
        "NOTRACK" => Some(Target::NoTrack),
        "CT" if get("--notrack").is_some() => Some(Target::NoTrack),
        "CT" => Some(Target::Continues { name: section.name.to_owned() }),
        "NFQUEUE" => {
            let number = get("--queue-num").and_then(|setting| setting.value()?.parse().ok());
            Some(Target::Queue { number: number.unwrap_or(0) })
        }
        name if crate::xt::continues(name) => Some(Target::Continues { name: name.to_owned() }),
        "TPROXY" | "SYNPROXY" | "NETMAP" | "CLUSTERIP" | "SNPT" | "DNPT" | "HMARK" => {
            Some(Target::Unknown { name: section.name.to_owned() })
        }
        _ => None,
    }
}

fn connection_mark(section: &Section<'_>) -> ConnMark {
    let get = |name: &str| section.settings.iter().find(|setting| setting.name == name);
    let mask = |name: &str| get(name).map_or(Some(u32::MAX), |setting| number(setting.value()?)).unwrap_or(0);
    let both = (mask("--ctmask") & mask("--mask"), mask("--nfmask") & mask("--mask"));
    if let Some((value, mask)) = get("--set-xmark").and_then(|setting| marked(setting.value()?)) {
        return ConnMark::Set { value, mask };
    }
    if let Some((value, mask)) = get("--set-mark").and_then(|setting| marked(setting.value()?)) {
        return ConnMark::Set { value, mask: mask | value };
    }
    match (get("--save-mark").is_some(), get("--restore-mark").is_some()) {
        (true, _) => ConnMark::Save { connection: both.0, packet: both.1 },
        (_, true) => ConnMark::Restore { connection: both.0, packet: both.1 },
        _ => ConnMark::Other,
    }
}

/// `2525`, `2525-2530`
fn port_range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let of = |text: &str| u16::try_from(port(text)?).ok();
    Some((of(low)?, of(high)?))
}

/// `10.0.0.1`, `10.0.0.1-10.0.0.9:25-30`, `:25`, `[2001:db8::1]:25`
#[expect(clippy::type_complexity, reason = "two addresses and a pair of ports, each of which may be missing")]
fn destination(text: &str, v6: bool) -> Option<(Option<IpAddr>, Option<IpAddr>, Option<(u16, u16)>)> {
    let (addresses, ports) = match (text.strip_prefix('['), v6) {
        (Some(rest), true) => {
            let (inside, after) = rest.split_once(']')?;
            (inside, after.strip_prefix(':'))
        }
        (None, true) => (text, None),
        _ => text.split_once(':').map_or((text, None), |(addresses, ports)| (addresses, Some(ports))),
    };
    let ports = match ports {
        // Behind a slash stands the port from which an offset counts.
        Some(ports) => Some(port_range(ports.split_once('/').map_or(ports, |(ports, _)| ports))?),
        None => None,
    };
    if addresses.is_empty() {
        return Some((None, None, ports));
    }
    let (low, high) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let (low, high): (IpAddr, IpAddr) =
        (low.trim_end_matches(']').parse().ok()?, high.trim_start_matches('[').parse().ok()?);
    (low.is_ipv6() == v6 && high.is_ipv6() == v6).then_some((Some(low), Some(high), ports))
}
