//! Matches and targets of xtables in nft's words, where nft has words for them.

use crate::xt::{Match, PortSide, Span, Target};

fn not(inverted: bool) -> &'static str {
    if inverted { "!= " } else { "" }
}

fn span((low, high): Span) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

fn protocol(number: u8) -> &'static str {
    match number {
        6 => "tcp",
        17 => "udp",
        136 => "udplite",
        _ => "th",
    }
}

pub fn one_match(one: &Match, asked: Option<u8>) -> String {
    match one {
        Match::Comment(_) => String::new(),
        Match::Ports { protocol: number, source, destination, flags, .. } => {
            let name = protocol(*number);
            let side = |side: &str, asked: &Option<(Span, bool)>| {
                asked.map(|(ports, inverted)| format!("{name} {side} {}{}", not(inverted), span(ports)))
            };
            let flags =
                flags.map(|(mask, wanted, inverted)| format!("tcp flags {}0x{wanted:x} / 0x{mask:x}", not(inverted)));
            [side("sport", source), side("dport", destination), flags]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
        }
        Match::MultiPort { which, spans, inverted } => {
            let name = asked.map_or("th", protocol);
            let list = spans.iter().copied().map(span).collect::<Vec<_>>().join(", ");
            let side = match which {
                PortSide::Source => "sport",
                PortSide::Destination => "dport",
                PortSide::Either => "port",
            };
            format!("{name} {side} {}{{ {list} }}", not(*inverted))
        }
        Match::Conntrack(asked) if asked.state.is_some() && asked.status.is_none() && !asked.more => {
            let (mask, inverted) = asked.state.unwrap_or_default();
            let names = [
                (1, "invalid"),
                (2, "established"),
                (4, "related"),
                (8, "new"),
                (64, "snat"),
                (128, "dnat"),
                (256, "untracked"),
            ];
            let list: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
            format!("ct state {}{}", if inverted { "! " } else { "" }, list.join(","))
        }
        Match::Owner { uid, gid, .. } if uid.is_some() || gid.is_some() => {
            let side = |name: &str, asked: &Option<(Span, bool)>| {
                asked.map(|(ids, inverted)| format!("{name} {}{}", not(inverted), span(ids)))
            };
            [side("meta skuid", uid), side("meta skgid", gid)].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Match::Mark { mark, mask: u32::MAX, inverted } => format!("meta mark {}0x{mark:08x}", not(*inverted)),
        Match::Mark { mark, mask, inverted } => {
            format!("meta mark & 0x{mask:08x} {} 0x{mark:08x}", if *inverted { "!=" } else { "==" })
        }
        Match::IpRange { source, destination } => {
            let side = |name: &str, asked: &Option<(std::net::IpAddr, std::net::IpAddr, bool)>| {
                asked.map(|(low, high, inverted)| {
                    let family = if low.is_ipv6() { "ip6" } else { "ip" };
                    format!("{family} {name} {}{low}-{high}", not(inverted))
                })
            };
            [side("saddr", source), side("daddr", destination)].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        other => format!("xt match \"{}\"", name(other)),
    }
}

fn name(one: &Match) -> &str {
    match one {
        Match::Icmp { v6: true, .. } => "icmp6",
        Match::Icmp { .. } => "icmp",
        Match::Conntrack(_) => "conntrack",
        Match::Owner { .. } => "owner",
        Match::Cgroup { .. } => "cgroup",
        Match::AddressType { .. } => "addrtype",
        Match::ConnMark { .. } => "connmark",
        Match::Limit { name, .. } => name,
        Match::ConnLimit { .. } => "connlimit",
        Match::PacketType { .. } => "pkttype",
        Match::PhysDev { .. } => "physdev",
        Match::ReversePath { .. } => "rpfilter",
        Match::Helper { .. } => "helper",
        Match::ExtensionHeader { name } | Match::Always { name } | Match::Unknown { name } => name,
        _ => "ip",
    }
}

pub fn target(target: &Target) -> String {
    let ports = |ports: &Option<(u16, u16)>| match ports {
        Some((low, high)) if low == high => format!(":{low}"),
        Some((low, high)) => format!(":{low}-{high}"),
        None => String::new(),
    };
    match target {
        Target::Reject { with } if with == "icmp-port-unreachable" || with == "icmp6-port-unreachable" => {
            "reject".to_owned()
        }
        Target::Reject { with } if with == "tcp-reset" => "reject with tcp reset".to_owned(),
        Target::Reject { with } => format!("reject with {}", with.replacen('-', " ", 1)),
        Target::Destination { low, high, ports: to } => {
            let address = match (low, high) {
                (Some(low), Some(high)) if low != high => format!("{low}-{high}"),
                (Some(low), _) if low.is_ipv6() && to.is_some() => format!("[{low}]"),
                (Some(low), _) => low.to_string(),
                (None, _) => String::new(),
            };
            format!("dnat to {address}{}", ports(to))
        }
        Target::Source => "snat".to_owned(),
        Target::Redirect { ports: None } => "redirect".to_owned(),
        Target::Redirect { ports: to } => format!("redirect to {}", ports(to)),
        Target::Masquerade => "masquerade".to_owned(),
        Target::Mark { value, mask: u32::MAX } => format!("meta mark set 0x{value:x}"),
        Target::Mark { value, mask } => format!("meta mark set meta mark & 0x{:x} ^ 0x{value:x}", !mask),
        Target::NoTrack => "notrack".to_owned(),
        Target::Queue { number } => format!("queue to {number}"),
        Target::ConnMark(_) => "xt target \"CONNMARK\"".to_owned(),
        Target::Continues { name } | Target::Unknown { name } => format!("xt target \"{name}\""),
    }
}
