//! What becomes of a packet: netfilter's hooks in their order, with three-valued matching.
//!
//! The walk keeps two things apart: whether the packet may come to a rule, and whether it certainly does. What a rule of which
//! the match is not known would do is noted as possible, and the walk goes on beside it; at the end the possibilities are
//! joined. Each rule is looked at once, so the cost is linear in the rules.

mod fib;
mod load;
mod reject;
mod rule;
mod sets;
mod view;
mod walk;
mod xt;

#[cfg(test)]
mod tests;

use crate::ruleset::{Hook, Ruleset};
use crate::surroundings::Surroundings;
use mxray_model::evidence::{Direction, FilterAnswer, FilterRule, FilterVerdict, Packet};
pub(crate) use reject::reject_words;
pub(crate) use view::protocol_number;
use view::{Device, Sender, View};
use walk::{Walk, Way};

/// Walks the packet through all base chains of the hooks that it meets.
///
/// What goes out to an own address meets output and postrouting, then prerouting and input.
pub fn evaluate(rulesets: &[Ruleset], packet: &Packet, surroundings: &Surroundings) -> FilterAnswer {
    let mut walk = Walk::new(rulesets, surroundings);
    let view = View::new(packet);
    let arrives = match packet.direction {
        Direction::In => incoming(&mut walk, view, packet, false),
        Direction::Forward => forwarded_from_start(&mut walk, view, packet),
        Direction::Out => outgoing(&mut walk, view, packet),
    };
    walk.answer(packet, arrives)
}

/// Prerouting; then, by the destination that it has now, input or forward. Says whether the packet may arrive.
fn incoming(walk: &mut Walk<'_>, mut view: View, packet: &Packet, looped: bool) -> bool {
    let own_source = !looped && walk.surroundings.is_own(packet.source) == Some(true);
    view.looped = looped || own_source;
    view.device_in = if looped { Device::Named("lo".to_owned()) } else { Device::of(packet.interface_in.as_ref()) };
    view.device_out = Device::None;
    view.sender = Sender::None;
    if !walk.ingress(&mut view) {
        return false;
    }
    let before = view.clone();
    if !walk.hook(Hook::Prerouting, &mut view) {
        return false;
    }
    let mut arrives = false;
    for (view, to) in walk.ways(&before, view, Way::Here) {
        let (here, elsewhere) = match to {
            Way::Here => (true, false),
            Way::Elsewhere => (false, true),
            Way::Either => (true, true),
        };
        if here {
            let mut view = view.clone();
            // A connection that exists has its socket found before input; what begins one has none yet.
            view.sender = if view.states == view::NEW { Sender::None } else { Sender::Unknown };
            arrives |= walk.hook(Hook::Input, &mut view);
        }
        if elsewhere {
            arrives |= forwarded(walk, view, packet);
        }
    }
    arrives
}

fn forwarded_from_start(walk: &mut Walk<'_>, mut view: View, packet: &Packet) -> bool {
    view.device_in = Device::of(packet.interface_in.as_ref());
    if !walk.ingress(&mut view) {
        return false;
    }
    let before = view.clone();
    if !walk.hook(Hook::Prerouting, &mut view) {
        return false;
    }
    let mut arrives = false;
    for (view, to) in walk.ways(&before, view, Way::Elsewhere) {
        if to != Way::Elsewhere {
            let mut view = view.clone();
            arrives |= walk.hook(Hook::Input, &mut view);
        }
        if to != Way::Here {
            arrives |= forwarded(walk, view, packet);
        }
    }
    arrives
}

/// Forward and postrouting.
fn forwarded(walk: &mut Walk<'_>, mut view: View, packet: &Packet) -> bool {
    view.device_out = match (view.redirected(), &packet.interface_out) {
        (false, Some(name)) => Device::Named(name.clone()),
        _ => walk.leaves_by(&view),
    };
    walk.hook(Hook::Forward, &mut view) && walk.hook(Hook::Postrouting, &mut view) && walk.egress(&mut view)
}

/// Output and postrouting; what is for this host itself then comes in by loopback.
fn outgoing(walk: &mut Walk<'_>, mut view: View, packet: &Packet) -> bool {
    let own = walk.surroundings.is_own(packet.destination);
    view.device_out = match (own, &packet.interface_out) {
        (Some(true), _) => Device::Named("lo".to_owned()),
        (_, Some(name)) => Device::Named(name.clone()),
        (_, None) => walk.leaves_by(&view),
    };
    let before = view.clone();
    if !walk.hook(Hook::Output, &mut view) {
        return false;
    }
    let mut arrives = false;
    let asked = if own == Some(true) { Way::Here } else { Way::Elsewhere };
    for (mut view, to) in walk.ways(&before, view, asked) {
        if view.redirected() {
            view.device_out = match to {
                Way::Here => Device::Named("lo".to_owned()),
                Way::Elsewhere => walk.leaves_by(&view),
                Way::Either => Device::Unknown,
            };
        }
        if !walk.hook(Hook::Postrouting, &mut view) || !walk.egress(&mut view) {
            continue;
        }
        match to {
            Way::Elsewhere => arrives = true,
            Way::Here => arrives |= incoming(walk, view, packet, true),
            Way::Either => {
                arrives = true;
                let _ = incoming(walk, view, packet, true);
            }
        }
    }
    arrives
}

/// What the same packet gets when root sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct SenderDifference {
    pub sender: FilterAnswer,
    pub root: FilterAnswer,
    /// One passes and the other does not.
    pub differs: bool,
    /// The rule that looks at the sender and makes the difference.
    pub by: Option<FilterRule>,
}

/// Compares what the packet's own sender gets with what root would get who tries by hand: from a shell, which is in `user.slice`
/// where the sender's service has a cgroup.
pub fn compare_senders(rulesets: &[Ruleset], packet: &Packet, surroundings: &Surroundings) -> SenderDifference {
    let cgroup = packet.cgroup.as_ref().map(|_| "user.slice".to_owned());
    let as_root = Packet { uid: Some(0), gid: Some(0), cgroup, ..packet.clone() };
    let sender = evaluate(rulesets, packet, surroundings);
    let root = evaluate(rulesets, &as_root, surroundings);
    let passes = |answer: &FilterAnswer| answer.verdict == FilterVerdict::Pass;
    let differs = (passes(&sender) && root.verdict.stops()) || (sender.verdict.stops() && passes(&root));
    let by = differs.then(|| decider(&sender, &root)).flatten();
    SenderDifference { sender, root, differs, by }
}

/// The rule that looks at the sender: the one that decides, or the first on which the two walks part.
fn decider(sender: &FilterAnswer, root: &FilterAnswer) -> Option<FilterRule> {
    let deciding = [&sender.by, &root.by].into_iter().flatten().find(|rule| rule.by_sender);
    let parting = || {
        let other = |answer: &FilterAnswer, of: &FilterAnswer| {
            let looks =
                |rule: &&FilterRule| rule.by_sender && !of.walk.iter().any(|step| step.rule.as_ref() == Some(rule));
            answer.walk.iter().filter_map(|step| step.rule.as_ref()).find(looks).cloned()
        };
        other(sender, root).or_else(|| other(root, sender))
    };
    deciding.cloned().or_else(parting)
}
