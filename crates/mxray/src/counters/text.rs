//! Counters for a person: the groups that moved, with their meaning; everything that did not in one line.

use super::change::{Reading, View};
use super::meaning::{self, GROUPS, Group};
use mxray_host::baseline::RETRANSMITTED;
use mxray_model::evidence::Usual;
use std::io::{self, Write};

/// Levels that are shown without `--all`, and what they are.
const LEVELS: [(&str, &str); 5] = [
    ("Tcp.CurrEstab", "established connections"),
    ("TCP.tw", "connections in TIME-WAIT"),
    ("TCP.orphan", "connections that no program holds any more (whole machine)"),
    ("TCP.mem", "pages of memory for TCP (whole machine)"),
    ("UDP.mem", "pages of memory for UDP (whole machine)"),
];

/// Writes the whole picture; `all`: every counter by name instead of groups.
///
/// # Errors
/// Never: `out` is memory.
pub fn write(view: &View, all: bool, out: &mut Vec<u8>) -> io::Result<()> {
    match view.window_ms {
        Some(window) => writeln!(out, "Changes within {} s", window as f64 / 1000.0)?,
        None => writeln!(out, "Totals since boot, or since this network namespace was made")?,
    }
    if all {
        each(view, out)?;
    } else {
        groups(view, out)?;
    }
    listeners(view, all, out)?;
    levels(view, all, out)?;
    learned(view, out)
}

fn groups(view: &View, out: &mut Vec<u8>) -> io::Result<()> {
    let mut still = Vec::new();
    for group in GROUPS {
        let moved: Vec<(&str, u64)> = group
            .counters
            .iter()
            .filter_map(|name| Some((*name, view.counters.get(*name)?.amount()?)))
            .filter(|(_, amount)| *amount > 0)
            .collect();
        if moved.is_empty() {
            // What cannot be told stands among what was not seen.
            if group.counters.iter().any(|name| view.counters.get(*name).is_some_and(|r| r.amount().is_some())) {
                still.push(group.title);
            }
            continue;
        }
        heading(view, group, out)?;
        for (name, amount) in moved {
            line(view, name, amount, out)?;
        }
    }
    if !still.is_empty() {
        let nothing = if view.window_ms.is_some() { "unchanged" } else { "none" };
        writeln!(out, "\n{nothing}: {}", still.join(", "))?;
    }
    Ok(())
}

/// What `usual here` was compared with, or how much is missing.
fn learned(view: &View, out: &mut Vec<u8>) -> io::Result<()> {
    let Some(usual) = view.usual.as_ref().filter(|usual| usual.samples > 0) else { return Ok(()) };
    let most = usual.per_second.values().max_by_key(|rate| (rate.samples, rate.days));
    let (samples, days) = most.map_or((0, 0), |rate| (rate.samples, rate.days));
    if usual.per_second.values().any(|rate| rate.is_learned) {
        writeln!(out, "\nusual here: of {samples} windows on {days} days at this hour ({})", usual.file)
    } else {
        let (samples_min, days_min) = (Usual::SAMPLES_MIN, Usual::DAYS_MIN);
        writeln!(
            out,
            "\nwhat is usual here is not known yet: {samples} windows of {samples_min} at this hour, on {days} of {days_min} days"
        )
    }
}

fn heading(view: &View, group: &Group, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "\n{}: {}", group.title, group.meaning)?;
    if let (Some(share), Some((part, whole))) = (view.share(group), group.share) {
        write!(out, " ({part} is {share:.1} % of {whole}{})", usual_share(view, part))?;
    }
    match group.judged_by {
        [] => writeln!(out),
        codes => writeln!(out, " [judged by {}]", codes.join(", ")),
    }
}

/// `; usual here 0.2 %, up to 0.5 %`, where the share is learned.
fn usual_share(view: &View, part: &str) -> String {
    let usual = view.usual.as_ref().filter(|_| part == RETRANSMITTED).and_then(|usual| usual.retransmitted_percent);
    match usual.filter(|usual| usual.is_learned) {
        Some(usual) => format!("; usual here {:.1} %, up to {:.1} %", usual.median, usual.p95),
        None => String::new(),
    }
}

fn line(view: &View, name: &str, amount: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let usual = match view.usual(name).filter(|usual| usual.is_learned) {
        Some(usual) => format!("   usual here {:.1}/s, up to {:.1}/s", usual.median, usual.p95),
        None => String::new(),
    };
    match view.per_second(amount) {
        Some(rate) => writeln!(out, "  {name:<32} {amount:>12} {rate:>12.1}/s{usual}"),
        None => writeln!(out, "  {name:<32} {amount:>20}"),
    }
}

fn each(view: &View, out: &mut Vec<u8>) -> io::Result<()> {
    writeln!(out, "\n  {:<32} {:>20} {:>12} {:>14}  GROUP", "COUNTER", "TOTAL", "CHANGE", "PER SECOND")?;
    for (name, reading) in &view.counters {
        let group = meaning::group_of(name).map_or("", |group| group.title);
        let (change, rate) = change(view, *reading);
        let row = format!("  {name:<32} {:>20} {change:>12} {rate:>14}  {group}", reading.last);
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

/// Change and rate as words; `?` where it went backwards.
fn change(view: &View, reading: Reading) -> (String, String) {
    if reading.first.is_none() {
        return ("-".to_owned(), "-".to_owned());
    }
    match reading.amount() {
        None => ("?".to_owned(), "?".to_owned()),
        Some(amount) => {
            let rate = view.per_second(amount).map_or("-".to_owned(), |rate| format!("{rate:.1}"));
            (amount.to_string(), rate)
        }
    }
}

fn listeners(view: &View, all: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let shown: Vec<_> =
        view.listeners.iter().filter(|(_, reading)| all || reading.amount().is_none_or(|amount| amount > 0)).collect();
    if shown.is_empty() {
        if !view.listeners.is_empty() {
            writeln!(out, "no listener dropped anything")?;
        }
        return Ok(());
    }
    writeln!(out, "\ndrops by listener: connections or datagrams that came for it and were dropped")?;
    for (listener, reading) in shown {
        let amount = reading.amount().map_or("?".to_owned(), |amount| amount.to_string());
        let service = listener.service.as_deref().unwrap_or("-");
        let unit = listener.unit.as_deref().unwrap_or("-");
        writeln!(out, "  {:<32} {amount:>12}  {service:<14} {unit}", listener.name)?;
    }
    Ok(())
}

fn levels(view: &View, all: bool, out: &mut Vec<u8>) -> io::Result<()> {
    if view.levels.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nnow:")?;
    for (name, level) in &view.levels {
        let known = LEVELS.iter().find(|(level, _)| level == name).map(|(_, what)| *what);
        if !all && known.is_none() {
            continue;
        }
        let of = level.limit.map_or(String::new(), |limit| format!(" of {limit}"));
        writeln!(out, "  {name:<32} {}{of}  {}", level.value, known.unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::look::Listener;
    use super::*;
    use mxray_host::baseline::{UsualRate, UsualRates};

    fn reading(first: u64, last: u64) -> Reading {
        Reading { first: Some(first), last }
    }

    fn written(view: &View, all: bool) -> String {
        let mut out = Vec::new();
        write(view, all, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_usual_stands_beside_the_rate_once_it_is_learned() {
        let usual = |is_learned| UsualRate { median: 0.5, p95: 1.5, max: 9.0, samples: 30, days: 4, is_learned };
        let view = |is_learned| View {
            window_ms: Some(2000),
            counters: [
                ("Tcp.RetransSegs", reading(0, 40)),
                ("Tcp.OutSegs", reading(0, 400)),
                ("TcpExt.TCPTimeouts", reading(0, 4)),
            ]
            .map(|(name, reading)| (name.to_owned(), reading))
            .into(),
            usual: Some(UsualRates {
                file: "F".to_owned(),
                samples: 99,
                per_second: [("TcpExt.TCPTimeouts".to_owned(), usual(is_learned))].into(),
                retransmitted_percent: Some(usual(is_learned)),
                ..UsualRates::default()
            }),
            ..View::default()
        };
        let text = written(&view(true), false);
        assert!(text.contains("2.0/s   usual here 0.5/s, up to 1.5/s\n"), "{text}");
        assert!(text.contains("is 10.0 % of Tcp.OutSegs; usual here 0.5 %, up to 1.5 %)"), "{text}");
        assert!(text.contains("usual here: of 30 windows on 4 days at this hour (F)"), "{text}");
        let text = written(&view(false), false);
        assert!(!text.contains("usual here 0.5") && text.contains("not known yet: 30 windows of 20"), "{text}");
    }

    #[test]
    fn what_moved_is_told_with_its_meaning_and_the_rest_in_one_line() {
        let counters = [
            ("TcpExt.ListenDrops", reading(3, 8)),
            ("Tcp.EstabResets", reading(4, 4)),
            ("TcpExt.PruneCalled", reading(9, 1)),
        ];
        let listener = Listener { name: "tcp/0.0.0.0:25".into(), service: Some("smtp".into()), unit: None, cookie: 1 };
        let view = View {
            window_ms: Some(2000),
            counters: counters.map(|(name, reading)| (name.to_owned(), reading)).into(),
            listeners: vec![(listener, reading(0, 5))],
            ..View::default()
        };
        let text = written(&view, false);
        assert!(text.contains("accept queue: connections found no room"), "{text}");
        assert!(text.contains("[judged by SOCK104]") && text.contains("2.5/s"), "{text}");
        assert!(text.contains("unchanged: resets\n"), "{text}");
        assert!(!text.contains("PruneCalled") && !text.contains("memory"), "{text}");
        assert!(text.contains("tcp/0.0.0.0:25") && text.contains("smtp"), "{text}");
        let all = written(&view, true);
        assert!(all.contains("TcpExt.PruneCalled") && all.contains('?'), "{all}");
    }
}
