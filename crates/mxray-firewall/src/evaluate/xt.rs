//! Matches of xtables and one packet, as the kernel's `xt_*` modules answer them.

use super::fib;
use super::view::{self, Device, INVALID, Sender, UNTRACKED, View, address_bits, bits_address};
use crate::bits::{Bits, Truth};
use crate::surroundings::Surroundings;
use crate::xt::{Conntrack, Match, PortSide, Span};
use std::net::IpAddr;

/// Whether the packet matches.
pub fn matches(one: &Match, view: &View, surroundings: &Surroundings) -> Truth {
    match one {
        Match::Source { address, mask, inverted } => masked(&view.source(), *address, *mask).inverted(*inverted),
        Match::Destination { address, mask, inverted } => {
            masked(&view.destination(), *address, *mask).inverted(*inverted)
        }
        Match::InterfaceIn { name, prefix, inverted } => device(&view.device_in, name, *prefix).inverted(*inverted),
        Match::InterfaceOut { name, prefix, inverted } => device(&view.device_out, name, *prefix).inverted(*inverted),
        // 0 is every protocol.
        Match::Protocol { number, inverted } => {
            let same = view.protocol.map(|protocol| protocol == *number || *number == 0);
            Truth::of_option(same).inverted(*inverted)
        }
        Match::Fragment { inverted } => Truth::of(*inverted),
        Match::Ports { .. } | Match::MultiPort { .. } => ports(one, view),
        Match::Icmp { v6, kind, codes, inverted } => icmp(view, *v6, *kind, *codes).inverted(*inverted),
        Match::Conntrack(asked) => conntrack(asked, view),
        Match::Owner { uid, gid, socket, groups } => owner(view, *uid, *gid, *socket, *groups),
        Match::Cgroup { path, class } => cgroup(view, path.as_ref(), *class),
        Match::Comment(_) | Match::Always { .. } => Truth::Yes,
        Match::AddressType { source, destination, limit_in, limit_out } => {
            let limited = match (limit_in, limit_out) {
                (true, _) => Some(&view.device_in),
                (false, true) => Some(&view.device_out),
                (false, false) => None,
            };
            let asked = |kinds: Option<(u16, bool)>, of_source| {
                kinds.map_or(Truth::Yes, |(kinds, inverted)| {
                    fib::is_kind(view, surroundings, of_source, kinds, limited).inverted(inverted)
                })
            };
            asked(*source, true).and(asked(*destination, false))
        }
        Match::Mark { mark, mask, inverted } => number(&view.mark, *mark, *mask).inverted(*inverted),
        Match::ConnMark { mark, mask, inverted } => match view.tracked() {
            Some(true) => number(&view.ct_mark, *mark, *mask).inverted(*inverted),
            Some(false) => Truth::No,
            None => Truth::Maybe,
        },
        // What a single quiet sender gets.
        Match::Limit { above, .. } => Truth::of(!above),
        Match::ConnLimit { limit, above } => Truth::of(if *above { *limit < 1 } else { *limit >= 1 }),
        Match::IpRange { source, destination } => {
            let within = |asked: &Option<(IpAddr, IpAddr, bool)>, bits: Bits| {
                asked.map_or(Truth::Yes, |(low, high, inverted)| between(&bits, low, high).inverted(inverted))
            };
            within(source, view.source()).and(within(destination, view.destination()))
        }
        Match::PacketType { kind, inverted } => match bits_address(&view.destination()) {
            Some(address) if !address.is_multicast() && !surroundings.broadcast(address) => {
                Truth::of(*kind == 0).inverted(*inverted)
            }
            _ => Truth::Maybe,
        },
        Match::ReversePath { loose, inverted } => fib::returns(view, surroundings, *loose).inverted(*inverted),
        Match::ExtensionHeader { .. } => Truth::No,
        Match::Helper { inverted } => match view.seen_states() {
            view::NEW | view::INVALID | view::UNTRACKED => Truth::of(*inverted),
            _ => Truth::Maybe,
        },
        Match::PhysDev { matches_unbridged } => Truth::of(*matches_unbridged),
        Match::Unknown { .. } => Truth::Maybe,
    }
}

/// What of it is not known.
pub fn why(one: &Match) -> String {
    match one {
        Match::Unknown { name } => format!("the match {name} is not evaluated"),
        Match::Ports { .. } | Match::MultiPort { .. } => "a port is not known".to_owned(),
        Match::InterfaceIn { .. } | Match::InterfaceOut { .. } => "the interface is not known".to_owned(),
        Match::Owner { .. } | Match::Cgroup { .. } => "the sender is not known".to_owned(),
        Match::Conntrack(_) => "what conntrack knows of the connection is not known".to_owned(),
        Match::AddressType { .. } => "the kind of the address is not known".to_owned(),
        Match::ReversePath { .. } => "whether a route leads back to the source is not known".to_owned(),
        Match::Icmp { .. } => "the ICMP type is not known".to_owned(),
        Match::Mark { .. } | Match::ConnMark { .. } => "the mark is not known".to_owned(),
        _ => "what it compares is not known of this packet".to_owned(),
    }
}

fn masked(bits: &Bits, address: IpAddr, mask: IpAddr) -> Truth {
    let (address, mask) = (address_bits(address), address_bits(mask));
    if bits.len() != address.len() || mask.len() != address.len() {
        return Truth::No;
    }
    let zeros = vec![0; mask.len()];
    bits.masked(mask.value(), &zeros).equals(address.masked(mask.value(), &zeros).value())
}

fn between(bits: &Bits, low: IpAddr, high: IpAddr) -> Truth {
    let (low, high) = (address_bits(low), address_bits(high));
    if bits.len() != low.len() { Truth::No } else { bits.within(low.value(), high.value()) }
}

fn device(device: &Device, name: &str, prefix: bool) -> Truth {
    match device {
        Device::Unknown => Truth::Maybe,
        Device::None => Truth::of(name.is_empty()),
        Device::Named(own) if prefix => Truth::of(own.starts_with(name)),
        Device::Named(own) => Truth::of(own == name),
    }
}

fn number(bits: &Bits, wanted: u32, mask: u32) -> Truth {
    bits.masked(&mask.to_ne_bytes(), &[0; 4]).equals(&wanted.to_ne_bytes())
}

fn port(bits: &Bits, span: Span) -> Truth {
    let end = |number: u32| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    bits.within(&end(span.0), &end(span.1))
}

fn ports(one: &Match, view: &View) -> Truth {
    match one {
        Match::Ports { protocol, source, destination, flags, option } => {
            let right = Truth::of_option(view.protocol.map(|number| number == *protocol));
            let asked = |wanted: &Option<(Span, bool)>, bits: &Bits| {
                wanted.map_or(Truth::Yes, |(span, inverted)| port(bits, span).inverted(inverted))
            };
            let flags = flags.map_or(Truth::Yes, |(mask, wanted, inverted)| {
                view.transport.piece(13, 1).masked(&[mask], &[0]).equals(&[wanted]).inverted(inverted)
            });
            right
                .and(asked(source, &view.source_port()))
                .and(asked(destination, &view.destination_port()))
                .and(flags)
                .and(if *option { Truth::Maybe } else { Truth::Yes })
        }
        Match::MultiPort { which, spans, inverted } => {
            if !view.has_ports() {
                return if view.protocol.is_some() { Truth::No } else { Truth::Maybe };
            }
            let any = |bits: &Bits| spans.iter().fold(Truth::No, |truth, span| truth.or(port(bits, *span)));
            let found = match which {
                PortSide::Source => any(&view.source_port()),
                PortSide::Destination => any(&view.destination_port()),
                PortSide::Either => any(&view.source_port()).or(any(&view.destination_port())),
            };
            found.inverted(*inverted)
        }
        _ => Truth::Maybe,
    }
}

fn icmp(view: &View, v6: bool, kind: u8, codes: (u8, u8)) -> Truth {
    let right = Truth::of_option(view.protocol.map(|number| number == if v6 { 58 } else { 1 }));
    // 255 is any type.
    if kind == 255 && !v6 {
        return right;
    }
    right.and(view.transport.piece(0, 1).equals(&[kind])).and(view.transport.piece(1, 1).within(&[codes.0], &[codes.1]))
}

/// `conntrack_mt` (net/netfilter/xt_conntrack.c).
fn conntrack(asked: &Conntrack, view: &View) -> Truth {
    const SNAT: u32 = 1 << 6;
    const DNAT: u32 = 1 << 7;
    const NOT_TRACKED: u32 = 1 << 8;
    let seen = view.seen_states();
    let mut truth = Truth::Yes;
    if let Some((mask, inverted)) = asked.state {
        let mask = u32::from(mask);
        let translated = [(view.source_translated, SNAT), (view.translated, DNAT)];
        let tracked = seen & !(INVALID | UNTRACKED);
        let mut each = Vec::new();
        for bit in [INVALID, view::ESTABLISHED, view::RELATED, view::NEW, UNTRACKED] {
            if seen & bit == 0 {
                continue;
            }
            let own = Truth::of(mask & if bit == UNTRACKED { NOT_TRACKED } else { bit } != 0);
            let by_nat = translated.iter().filter(|(_, bit)| mask & bit != 0);
            let by_nat = by_nat.fold(Truth::No, |truth, (known, _)| truth.or(Truth::of_option(*known)));
            each.push(if bit & tracked != 0 { own.or(by_nat) } else { own });
        }
        let same = |wanted: Truth| each.iter().all(|one| *one == wanted);
        truth = match (same(Truth::Yes), same(Truth::No)) {
            (true, _) => Truth::Yes,
            (_, true) => Truth::No,
            _ => Truth::Maybe,
        }
        .inverted(inverted);
    }
    let more = connection(asked, view);
    // Without an entry only the state can match.
    match (view.tracked(), &more) {
        (_, None) => truth,
        (Some(true), Some(more)) => truth.and(*more),
        (Some(false), Some(_)) if asked.state.is_some() => truth,
        (Some(false), Some(_)) => Truth::No,
        (None, Some(_)) => truth.and(Truth::Maybe),
    }
}

/// What is asked of the entry itself; `None`: nothing.
fn connection(asked: &Conntrack, view: &View) -> Option<Truth> {
    let fresh = view.states == view::NEW;
    let (network, transport) = &view.first;
    let address = |at: (usize, usize), wanted: Option<(IpAddr, IpAddr, bool)>| {
        wanted.map(|(address, mask, inverted)| {
            let (at, len) = if view.v6 { (at.1, 16) } else { (at.0, 4) };
            let bits = if fresh { network.piece(at, len) } else { Bits::unknown(len) };
            masked(&bits, address, mask).inverted(inverted)
        })
    };
    let of_port = |at: usize, wanted: Option<(Span, bool)>| {
        wanted.map(|(span, inverted)| {
            let bits = if fresh { transport.piece(at, 2) } else { Bits::unknown(2) };
            port(&bits, span).inverted(inverted)
        })
    };
    let status = asked
        .status
        .map(|(mask, inverted)| number(&super::load::status(view), 0, u32::from(mask)).not().inverted(inverted));
    let way = asked.original_way.map(|original| if fresh { Truth::of(original) } else { Truth::Maybe });
    let protocol = asked
        .protocol
        .map(|(number, inverted)| Truth::of_option(view.protocol.map(|own| own == number)).inverted(inverted));
    let all = [
        address((12, 8), asked.original_source),
        address((16, 24), asked.original_destination),
        of_port(0, asked.original_source_port),
        of_port(2, asked.original_destination_port),
        status,
        way,
        protocol,
        asked.more.then_some(Truth::Maybe),
    ];
    all.into_iter().flatten().reduce(Truth::and)
}

/// `owner_mt` (net/netfilter/xt_owner.c).
fn owner(
    view: &View,
    uid: Option<(Span, bool)>,
    gid: Option<(Span, bool)>,
    socket: Option<bool>,
    groups: bool,
) -> Truth {
    let within = |number: Option<u32>, asked: Option<(Span, bool)>| {
        asked.map_or(Truth::Yes, |((low, high), inverted)| {
            Truth::of_option(number.map(|number| (low..=high).contains(&number))).inverted(inverted)
        })
    };
    match &view.sender {
        // Without a socket all that is asked has to be inverted.
        Sender::None => {
            let asked =
                [uid.map(|(_, inverted)| inverted), gid.map(|(_, inverted)| inverted), socket.map(|with| !with)];
            Truth::of(asked.into_iter().flatten().all(|inverted| inverted))
        }
        Sender::Unknown => Truth::Maybe,
        Sender::Socket { uid: own, gid: group, .. } => {
            let by_group = within(*group, gid);
            // Supplementary groups are not known: a group that is not the first may be one of them.
            let by_group = if groups && gid.is_some() && by_group != Truth::Yes { Truth::Maybe } else { by_group };
            within(*own, uid).and(by_group).and(Truth::of(socket != Some(false)))
        }
    }
}

fn cgroup(view: &View, path: Option<&(String, bool)>, class: Option<(u32, bool)>) -> Truth {
    let Sender::Socket { cgroup, .. } = &view.sender else {
        return if view.sender == Sender::None { Truth::No } else { Truth::Maybe };
    };
    let by_path = path.map_or(Truth::Yes, |(wanted, inverted)| {
        let own = cgroup.as_ref().map(|own| {
            let (own, wanted) = (own.trim_matches('/'), wanted.trim_matches('/'));
            own == wanted || wanted.is_empty() || own.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
        });
        Truth::of_option(own).inverted(*inverted)
    });
    by_path.and(if class.is_some() { Truth::Maybe } else { Truth::Yes })
}
