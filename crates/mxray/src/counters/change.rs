//! What changed between two looks. Pure: it takes the time from the looks.

use super::look::{Listener, Look};
use super::meaning::{self, GROUPS, NOT_TRANSMITTED};
use mxray_host::baseline::{UsualRate, UsualRates};
use mxray_model::{Seen, Unseen};
use std::collections::BTreeMap;

/// One counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// `None`: there was one look only.
    pub first: Option<u64>,
    pub last: u64,
}

impl Reading {
    /// How much it rose within the window, or its total where there is no window. `None`: it went backwards, so nobody
    /// knows.
    pub fn amount(self) -> Option<u64> {
        match self.first {
            Some(first) => self.last.checked_sub(first),
            None => Some(self.last),
        }
    }
}

/// A level: what is in use now, and of how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub value: u64,
    pub limit: Option<u64>,
}

/// What is shown.
#[derive(Debug, Default)]
pub struct View {
    /// `None`: totals since boot.
    pub window_ms: Option<u64>,
    pub counters: BTreeMap<String, Reading>,
    pub levels: BTreeMap<String, Level>,
    /// A listener that was not there at the first look began with 0 then.
    pub listeners: Vec<(Listener, Reading)>,
    /// Rates as they usually are here at this hour. `None`: nothing is kept for what was looked at, or it cannot be read.
    pub usual: Option<UsualRates>,
    pub unseen: Vec<Unseen>,
}

impl View {
    /// Totals, of one look.
    pub fn totals(look: &Look) -> Self {
        let mut view = View::default();
        for (name, last) in &look.counters {
            view.counters.insert(name.clone(), Reading { first: None, last: *last });
        }
        let drops = look.listeners.value().into_iter().flatten();
        view.listeners = drops.map(|(l, last)| (l.clone(), Reading { first: None, last: u64::from(*last) })).collect();
        view.finish(look)
    }

    /// Changes, between two looks.
    pub fn between(first: &Look, last: &Look) -> Self {
        let window_ms = u64::try_from(last.at.saturating_duration_since(first.at).as_millis()).unwrap_or(u64::MAX);
        let mut view = View { window_ms: Some(window_ms), ..View::default() };
        for (name, now) in &last.counters {
            // The kernel lists a type of ICMP message only once it has seen one.
            let new = name.starts_with("IcmpMsg.").then_some(0);
            let before = first.counters.get(name).copied().or(new);
            let Some(before) = before else { continue };
            view.counters.insert(name.clone(), Reading { first: Some(before), last: *now });
        }
        if let (Seen::Value(before), Seen::Value(now)) = (&first.listeners, &last.listeners) {
            let change = |(listener, last): (&Listener, &u32)| {
                let first = before.get(listener).copied().unwrap_or(0);
                (listener.clone(), Reading { first: Some(u64::from(first)), last: u64::from(*last) })
            };
            view.listeners = now.iter().map(change).collect();
        }
        view.finish(last)
    }

    /// Puts what is usual here beside what changed.
    pub fn compare(&mut self, usual: Seen<UsualRates>) {
        match usual {
            Seen::Absent => {}
            Seen::Unknown(blind) => self.unseen.push(Unseen {
                what: "what is usual here".to_owned(),
                why: blind.why(),
                needs: blind.needs(),
            }),
            Seen::Value(usual) => {
                if let Some(blind) = usual.counted.blind() {
                    let what = "learning what is usual here".to_owned();
                    self.unseen.push(Unseen { what, why: blind.why(), needs: blind.needs() });
                }
                self.usual = Some(usual);
            }
        }
    }

    /// What is usual of a counter's rate, where anything was learned.
    pub fn usual(&self, name: &str) -> Option<&UsualRate> {
        self.usual.as_ref()?.per_second.get(name)
    }

    fn finish(mut self, look: &Look) -> Self {
        self.not_transmitted();
        for (name, value) in look.levels.value().into_iter().flatten() {
            let limit = look.limits.get(name).and_then(|limit| limit.value().copied());
            self.levels.insert(name.clone(), Level { value: *value, limit });
        }
        if let Some(value) = look.counters.get("Tcp.CurrEstab") {
            self.levels.insert("Tcp.CurrEstab".to_owned(), Level { value: *value, limit: None });
        }
        self.counters.retain(|name, _| meaning::is_counter(name));
        let mut blind = |what: &str, blind: Option<&mxray_model::Blind>| {
            if let Some(blind) = blind {
                self.unseen.push(Unseen { what: what.to_owned(), why: blind.why(), needs: blind.needs() });
            }
        };
        blind("levels (/proc/net/sockstat)", look.levels.blind());
        blind("drops by listener", look.listeners.blind());
        for (name, limit) in &look.limits {
            blind(&format!("the limit of {name}"), limit.blind());
        }
        self.missing();
        self.backwards();
        self
    }

    /// Made or forwarded, and handed to no interface. Fragments and copies are handed over more often than they are made:
    /// then there is nothing to say.
    fn not_transmitted(&mut self) {
        for (name, [made, forwarded, sent]) in NOT_TRANSMITTED {
            let of = |name: &str| self.counters.get(name).copied();
            let (Some(made), Some(forwarded), Some(sent)) = (of(made), of(forwarded), of(sent)) else { continue };
            let rest = |made: u64, forwarded: u64, sent: u64| made.saturating_add(forwarded).saturating_sub(sent);
            let rise = |reading: Reading| reading.amount();
            let (first, last) = match (made.first, forwarded.first, sent.first) {
                (Some(made_first), Some(forwarded_first), Some(sent_first)) => {
                    let (Some(made), Some(forwarded), Some(sent)) = (rise(made), rise(forwarded), rise(sent)) else {
                        continue;
                    };
                    // From the changes alone: fragments of long ago must not hide what is dropped now.
                    let first = rest(made_first, forwarded_first, sent_first);
                    (Some(first), first.saturating_add(rest(made, forwarded, sent)))
                }
                _ => (None, rest(made.last, forwarded.last, sent.last)),
            };
            self.counters.insert(name.to_owned(), Reading { first, last });
        }
    }

    /// Columns that this kernel does not have are not zero.
    fn missing(&mut self) {
        let has_ipv6 = self.counters.keys().any(|name| name.starts_with("Ip6."));
        let of_ipv6 = |name: &str| ["Ip6.", "Udp6.", "Icmp6."].iter().any(|table| name.starts_with(table));
        if !has_ipv6 {
            self.unseen.push(Unseen {
                what: "counters of IPv6".to_owned(),
                why: "this kernel has no IPv6 (/proc/net/snmp6)".to_owned(),
                needs: String::new(),
            });
        }
        let names = GROUPS.iter().flat_map(|group| group.counters);
        let missing: Vec<&str> =
            names.copied().filter(|name| !self.counters.contains_key(*name) && (has_ipv6 || !of_ipv6(name))).collect();
        if !missing.is_empty() {
            self.unseen.push(Unseen {
                what: missing.join(", "),
                why: "this kernel does not count it".to_owned(),
                needs: "another version of Linux".to_owned(),
            });
        }
    }

    fn backwards(&mut self) {
        let counters = self.counters.iter().map(|(name, reading)| (name.clone(), *reading));
        let drops = self.listeners.iter().map(|(listener, reading)| (format!("drops of {}", listener.name), *reading));
        let lines: Vec<Unseen> = counters
            .chain(drops)
            .filter(|(_, reading)| reading.amount().is_none())
            .map(|(what, reading)| Unseen {
                what,
                why: format!(
                    "it went backwards, from {} to {}: it was reset, or it is full and began anew",
                    reading.first.unwrap_or_default(),
                    reading.last
                ),
                needs: "another look".to_owned(),
            })
            .collect();
        self.unseen.extend(lines);
    }

    /// Change within a second.
    pub fn per_second(&self, amount: u64) -> Option<f64> {
        let window = self.window_ms.filter(|window| *window > 0)?;
        Some(amount as f64 * 1000.0 / window as f64)
    }

    /// A group's share in percent, where the whole moved.
    pub fn share(&self, group: &meaning::Group) -> Option<f64> {
        let (part, whole) = group.share?;
        let amount = |name: &str| self.counters.get(name).and_then(|reading| reading.amount());
        let whole = amount(whole).filter(|whole| *whole > 0)?;
        Some(amount(part)? as f64 * 100.0 / whole as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn look(at: Instant, counters: &[(&str, u64)], drops: u32, cookie: u64) -> Look {
        let listener = Listener { name: "tcp/0.0.0.0:25".into(), service: Some("smtp".into()), unit: None, cookie };
        Look {
            at,
            counters: counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            levels: Seen::Value([("TCP.tw".to_owned(), 3)].into()),
            limits: [("TCP.tw".to_owned(), Seen::Value(100))].into(),
            listeners: Seen::Value([(listener, drops)].into()),
        }
    }

    fn view(first: &[(&str, u64)], last: &[(&str, u64)]) -> View {
        let start = Instant::now();
        View::between(&look(start, first, 5, 1), &look(start + Duration::from_secs(2), last, 9, 1))
    }

    fn said(view: &View, what: &str) -> bool {
        view.unseen.iter().any(|unseen| unseen.what.contains(what))
    }

    #[test]
    fn a_change_is_a_difference_and_a_rate() {
        let view =
            view(&[("Tcp.RetransSegs", 10), ("Tcp.OutSegs", 100)], &[("Tcp.RetransSegs", 14), ("Tcp.OutSegs", 180)]);
        assert_eq!(view.counters["Tcp.RetransSegs"].amount(), Some(4));
        assert_eq!(view.per_second(4), Some(2.0));
        let loss = meaning::group_of("Tcp.RetransSegs").unwrap();
        assert_eq!(view.share(loss), Some(5.0));
        assert_eq!(view.listeners[0].1.amount(), Some(4));
        assert_eq!(view.levels["TCP.tw"], Level { value: 3, limit: Some(100) });
    }

    #[test]
    fn what_went_backwards_or_is_not_counted_is_said_and_never_zero() {
        let view = view(&[("Tcp.InErrs", 7)], &[("Tcp.InErrs", 2), ("Tcp.OutRsts", 1)]);
        assert_eq!(view.counters["Tcp.InErrs"].amount(), None);
        assert!(said(&view, "Tcp.InErrs"));
        // It was not there at the first look: no change is known.
        assert!(!view.counters.contains_key("Tcp.OutRsts") && said(&view, "Tcp.OutRsts"));
        assert!(said(&view, "counters of IPv6"));
        assert!(!said(&view, "Ip6.OutNoRoutes"));
    }

    #[test]
    fn a_new_listener_and_a_new_kind_of_message_began_with_nothing() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let view = View::between(&look(start, &[], 50, 1), &look(later, &[("IcmpMsg.InType3", 2)], 1, 2));
        assert_eq!(view.listeners[0].1, Reading { first: Some(0), last: 1 });
        assert_eq!(view.counters["IcmpMsg.InType3"].amount(), Some(2));
    }

    #[test]
    fn packets_that_never_left_are_the_difference() {
        let before = [("Ip.OutRequests", 100), ("Ip.ForwDatagrams", 10), ("Ip.OutTransmits", 110)];
        let after = [("Ip.OutRequests", 150), ("Ip.ForwDatagrams", 10), ("Ip.OutTransmits", 140)];
        assert_eq!(view(&before, &after).counters["Ip.NotTransmitted"].amount(), Some(20));
        // Fragments: more went out than were made.
        let fragments = [("Ip.OutRequests", 150), ("Ip.ForwDatagrams", 10), ("Ip.OutTransmits", 500)];
        assert_eq!(view(&before, &fragments).counters["Ip.NotTransmitted"].amount(), Some(0));
        let later = [("Ip.OutRequests", 160), ("Ip.ForwDatagrams", 10), ("Ip.OutTransmits", 503)];
        assert_eq!(view(&fragments, &later).counters["Ip.NotTransmitted"].amount(), Some(7));
        assert!(said(&view(&before[..2], &after[..2]), "Ip.NotTransmitted"));
    }
}
