//! What an expression loads from a packet and from what is known around it: header bytes, meta keys, the connection's state,
//! the sending socket. What is done with it is the rule's affair.

use super::rule::to_usize;
use super::view::{self, Device, Sender, View};
use crate::bits::Bits;
use crate::expression::{Base, Way};
use crate::ruleset::Hook;
use crate::surroundings::Surroundings;

/// What an expression loads.
pub enum Loaded {
    Bits(Bits),
    /// The packet has no such thing: the rule does not match.
    Missing,
    PerhapsMissing,
}

pub(super) fn payload(view: &View, base: Base, offset: usize, len: usize) -> Loaded {
    match base {
        Base::Network if offset.saturating_add(len) <= view.network.len() => {
            Loaded::Bits(view.network.piece(offset, len))
        }
        Base::Transport if offset.saturating_add(len) <= view.transport.len() => {
            Loaded::Bits(view.transport.piece(offset, len))
        }
        // What this host sends has no link header yet.
        Base::Link if !matches!(view.sender, Sender::None) && matches!(view.hook, Hook::Output | Hook::Postrouting) => {
            Loaded::Missing
        }
        Base::Link => Loaded::Bits(Bits::unknown(len)),
        Base::Network | Base::Transport | Base::Inner | Base::Other(_) => Loaded::PerhapsMissing,
    }
}

pub(super) fn meta(view: &View, surroundings: &Surroundings, key: u32) -> Loaded {
    let facts = |device: &Device| match device {
        Device::Named(name) => surroundings.interfaces.get(name),
        Device::None | Device::Unknown => None,
    };
    let index = |device: &Device| match device {
        Device::None => Bits::number(0),
        _ => facts(device).and_then(|facts| facts.index).map_or(Bits::unknown(4), Bits::number),
    };
    let kind = |device: &Device| match device {
        Device::None => Loaded::Missing,
        _ => Loaded::Bits(
            facts(device)
                .and_then(|facts| facts.kind)
                .map_or(Bits::unknown(2), |kind| Bits::known(&kind.to_ne_bytes())),
        ),
    };
    let owner = |number: fn(&Sender) -> Option<u32>| match &view.sender {
        Sender::None => Loaded::Missing,
        Sender::Unknown => Loaded::PerhapsMissing,
        known @ Sender::Socket { .. } => Loaded::Bits(number(known).map_or(Bits::unknown(4), Bits::number)),
    };
    Loaded::Bits(match key {
        1 => Bits::known(if view.v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] }),
        3 => view.mark,
        4 => index(&view.device_in),
        5 => index(&view.device_out),
        6 => view.device_in.bits(),
        7 => view.device_out.bits(),
        8 => return kind(&view.device_in),
        9 => return kind(&view.device_out),
        10 => {
            return owner(|sender| if let Sender::Socket { uid, .. } = sender { *uid } else { None });
        }
        11 => {
            return owner(|sender| if let Sender::Socket { gid, .. } = sender { *gid } else { None });
        }
        15 => Bits::byte(if view.v6 { 10 } else { 2 }),
        16 => view.protocol.map_or(Bits::unknown(1), Bits::byte),
        // A packet for one host; what is for many says so by its address.
        19 => match view::bits_address(&view.destination()) {
            Some(address)
                if !address.is_multicast() && !surroundings.broadcast(address) && view.hook != Hook::Forward =>
            {
                Bits::byte(0)
            }
            _ => Bits::unknown(1),
        },
        0 | 2 | 12 | 13 | 14 | 20 | 21 | 22 | 24 => Bits::unknown(4),
        25 => Bits::unknown(1).masked(&[1], &[0]),
        _ => return Loaded::PerhapsMissing,
    })
}

pub(super) fn connection(view: &View, key: u32, way: Option<Way>) -> Loaded {
    if key == 0 {
        return Loaded::Bits(view.state_bits());
    }
    match view.tracked() {
        Some(false) => return Loaded::Missing,
        None => return Loaded::PerhapsMissing,
        Some(true) => {}
    }
    let fresh = view.states == view::NEW;
    let original = way != Some(Way::Reply) && fresh;
    let (network, transport) = &view.first;
    let part = |four: (usize, usize), six: (usize, usize)| {
        let (at, len) = if view.v6 { six } else { four };
        if original { network.piece(at, len) } else { Bits::unknown(len) }
    };
    Loaded::Bits(match key {
        1 => {
            if fresh {
                Bits::byte(0)
            } else {
                Bits::unknown(1).masked(&[1], &[0])
            }
        }
        2 => status(view),
        3 => view.ct_mark,
        7 => Bits::byte(if view.v6 { 10 } else { 2 }),
        8 | 19 | 21 => part((12, 4), (8, 16)),
        9 | 20 | 22 => part((16, 4), (24, 16)),
        10 => view.protocol.map_or(Bits::unknown(1), Bits::byte),
        11 => {
            if original {
                transport.piece(0, 2)
            } else {
                Bits::unknown(2)
            }
        }
        12 => {
            if original {
                transport.piece(2, 2)
            } else {
                Bits::unknown(2)
            }
        }
        // Only what another connection's helper expects has one (`ct->master`).
        6 if fresh => return Loaded::Missing,
        13 => view.ct_labels,
        17 => view.ct_zone,
        4 | 5 | 18 | 23 => Bits::unknown(4),
        14..=16 => Bits::unknown(8),
        _ => return Loaded::PerhapsMissing,
    })
}

/// `IPS_*` bits: those that a first packet cannot have are known to be 0, and those of translation as far as rules did it.
pub(super) fn status(view: &View) -> Bits {
    const SOURCE: u32 = 1 << 4;
    const DESTINATION: u32 = 1 << 5;
    if view.states != view::NEW {
        return Bits::unknown(4);
    }
    let mut unknown = (1 << 7) | (1 << 8);
    let mut value = 0;
    for (translated, bit) in [(view.source_translated, SOURCE), (view.translated, DESTINATION)] {
        match translated {
            Some(true) => value |= bit,
            Some(false) => {}
            None => unknown |= bit,
        }
    }
    Bits::unknown(4).masked(&unknown.to_ne_bytes(), &value.to_ne_bytes())
}

pub(super) fn socket(view: &View, surroundings: &Surroundings, key: u32, level: u32) -> Loaded {
    let Sender::Socket { cgroup, mark, .. } = &view.sender else {
        return Loaded::PerhapsMissing;
    };
    match key {
        0 | 2 => Loaded::Bits(Bits::unknown(1).masked(&[1], &[0])),
        1 => Loaded::Bits(Bits::number(*mark)),
        3 => {
            let Some(cgroup) = cgroup else { return Loaded::PerhapsMissing };
            let parts: Vec<&str> = cgroup.split('/').filter(|part| !part.is_empty()).collect();
            let Some(above) = parts.get(..to_usize(level)) else { return Loaded::Missing };
            let id = surroundings.cgroups.get(&above.join("/"));
            Loaded::Bits(id.map_or(Bits::unknown(8), |id| Bits::known(&id.to_ne_bytes())))
        }
        _ => Loaded::PerhapsMissing,
    }
}
