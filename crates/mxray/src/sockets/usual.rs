//! `--learn` and `--spikes`: what is usual here, learned and compared. The arithmetic is `mxray-host`'s `baseline`.

use super::look::View;
use super::plan::Plan;
use super::{Direction, Format, SocketsArgs};
use crate::counters;
use crate::exit;
use mxray_host::baseline::{self, Now, Place, Window};
use mxray_host::names::Services;
use mxray_host::sockets::{self, Protocol, State};
use mxray_model::evidence::{Baseline, Sockets, Usual};
use mxray_model::{Blind, Seen, Unseen};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const SCHEMA: &str = "mxray/sockets-usual/1";
/// The shortest window that says something of a counter's rate.
const WINDOW: Duration = Duration::from_secs(1);
/// A sample counts once a minute.
const EVERY: Duration = Duration::from_secs(60);

/// One number beside what is usual.
#[derive(Serialize)]
struct Row<'a> {
    /// `service`, `network` (the fullest one of a service) or `state`
    kind: &'static str,
    name: String,
    /// The network that is meant, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    is_learned: bool,
    is_spike: bool,
    #[serde(flatten)]
    usual: Usual,
}

#[derive(Serialize)]
struct Whole<'a> {
    schema: &'static str,
    file: &'a str,
    hour_utc: u8,
    samples: u32,
    days: u32,
    rows: Vec<Row<'a>>,
    unseen: Vec<Unseen>,
}

/// Learns or compares, as `args` say. Exit code 2 where nothing could be learned or compared.
///
/// # Errors
/// `out` cannot be written.
pub fn run(args: &SocketsArgs, format: Format, place: &Place, out: &mut dyn Write) -> io::Result<u8> {
    // Whoever asks for it means it, whatever the configuration says of quiet learning.
    let place = Place { learn: args.learn, ..place.clone() };
    let end = Instant::now() + args.learn_for.unwrap_or_default();
    let mut began = counters::moment();
    let mut is_alone = true;
    let looked = loop {
        let looked = look(&place);
        if looked.is_ok() && Instant::now() + EVERY <= end {
            std::thread::sleep(EVERY);
            learn_rates(&place, &mut began);
            is_alone = false;
            continue;
        }
        // A row of samples has the minutes between them.
        if looked.is_ok() && args.learn && is_alone {
            std::thread::sleep(WINDOW);
            learn_rates(&place, &mut began);
        }
        break looked;
    };
    let (now, baseline) = match looked {
        Ok(both) => both,
        Err(blind) => {
            let needs = if blind.needs().is_empty() { String::new() } else { format!(" (needs {})", blind.needs()) };
            writeln!(io::stderr(), "mxray sockets: {}{needs}", blind.why())?;
            return Ok(exit::UNANSWERED);
        }
    };
    let rows = rows(&now, &baseline);
    match format {
        Format::Text if args.learn => learned(&baseline, &rows, out)?,
        Format::Text => spikes(&baseline, &rows, out)?,
        Format::Json => {
            let unseen = unseen(&baseline, &rows);
            let (file, rows) = (baseline.file.as_str(), wanted(rows, args.learn));
            let (hour_utc, samples, days) = (baseline.hour, baseline.samples, baseline.days);
            let whole = Whole { schema: SCHEMA, file, hour_utc, samples, days, rows, unseen };
            serde_json::to_writer(&mut *out, &whole)?;
            writeln!(out)?;
        }
        Format::Ndjson => {
            let unseen = unseen(&baseline, &rows);
            for row in wanted(rows, args.learn) {
                serde_json::to_writer(&mut *out, &row)?;
                writeln!(out)?;
            }
            for unseen in unseen {
                serde_json::to_writer(&mut *out, &serde_json::json!({ "unseen": unseen }))?;
                writeln!(out)?;
            }
        }
    }
    out.flush()?;
    Ok(if args.learn && baseline.counted.blind().is_some() { exit::UNANSWERED } else { exit::OK })
}

/// Counts the window since `began`, which ends and begins anew. What hinders it was said of the sample already.
fn learn_rates(place: &Place, began: &mut Option<(Instant, BTreeMap<String, u64>)>) {
    let now = counters::moment();
    if let (Some((from, first)), Some((to, last))) = (&*began, &now) {
        let ms = u64::try_from(to.saturating_duration_since(*from).as_millis()).unwrap_or(u64::MAX);
        let _ = baseline::compare_rates(place, &Window::between(first, last, ms));
    }
    *began = now;
}

/// Counts a look at everything as a sample, and says nothing whatever comes of it: nobody asked. Of a look at a part
/// nothing can be learned.
pub fn learn_quietly(view: &View, plan: &Plan, place: &Place) {
    let is_whole = plan.query.tcp
        && plan.query.states == 0
        && plan.query.ports.is_empty()
        && plan.peers.is_empty()
        && plan.unit.is_none()
        && plan.process.is_none()
        && plan.direction.is_none();
    if place.learn && is_whole {
        let _ = baseline::compare(place, &now(view));
    }
}

/// The same numbers as [`Now::of`], from a list that is there anyway.
fn now(view: &View) -> Now {
    let mut now = Now::default();
    let mut networks: BTreeMap<(u16, (IpAddr, u8)), u32> = BTreeMap::new();
    for socket in view.sockets().filter(|socket| socket.protocol == Protocol::Tcp) {
        *now.states.entry(socket.state.name().to_owned()).or_default() += 1;
        if !baseline::is_mail_port(socket.local_port) {
            continue;
        }
        match socket.state {
            State::Listen => _ = now.services.entry(socket.local_port).or_default(),
            State::Established if view.inbound.direction(socket) == Some(Direction::In) => {
                *now.services.entry(socket.local_port).or_default() += 1;
                *networks.entry((socket.local_port, sockets::network(socket.peer()))).or_default() += 1;
            }
            _ => {}
        }
    }
    for port in now.services.keys() {
        let of_port = networks.iter().filter(|((of, _), _)| of == port).map(|(_, count)| *count);
        now.networks.insert(*port, of_port.max().unwrap_or(0));
    }
    now
}

/// What is now, beside what is usual.
fn look(place: &Place) -> Result<(Sockets, Baseline), Blind> {
    let sample = match sockets::sample() {
        Seen::Value(sample) => sample,
        Seen::Unknown(blind) => return Err(blind),
        Seen::Absent => return Err(Blind::NotAttempted { why: "there are no sockets".to_owned() }),
    };
    let now = sockets::summarise(&sample, None, &BTreeMap::new());
    match baseline::compare(place, &Now::of(&now, &[])) {
        Seen::Value(baseline) => Ok((now, baseline)),
        Seen::Unknown(blind) => Err(blind),
        Seen::Absent => {
            Err(Blind::NotAttempted { why: "nothing is learned about another network namespace".to_owned() })
        }
    }
}

fn rows<'a>(now: &'a Sockets, baseline: &Baseline) -> Vec<Row<'a>> {
    let names = Services::read();
    let service = |port: &u16| names.name(*port).map_or_else(|| port.to_string(), ToOwned::to_owned);
    let row = |kind, name, network, usual: &Usual| Row {
        kind,
        name,
        network,
        is_learned: usual.is_learned(),
        is_spike: usual.is_spike(),
        usual: *usual,
    };
    let mut rows: Vec<Row<'_>> =
        baseline.services.iter().map(|(port, usual)| row("service", service(port), None, usual)).collect();
    rows.extend(baseline.networks.iter().map(|(port, usual)| {
        let fullest = now.services.get(port).and_then(|load| load.networks.first());
        row("network", service(port), fullest.map(|network| network.who.as_str()), usual)
    }));
    rows.extend(baseline.states.iter().map(|(state, usual)| row("state", state.clone(), None, usual)));
    rows
}

/// All of them where they were learned, else what stands above.
fn wanted(mut rows: Vec<Row<'_>>, all: bool) -> Vec<Row<'_>> {
    rows.retain(|row| all || row.is_spike);
    rows
}

/// What cannot be compared yet, and why nothing could be learned.
fn unseen(baseline: &Baseline, rows: &[Row<'_>]) -> Vec<Unseen> {
    let needs = "more samples, on several days: `mxray sockets --learn` from a timer".to_owned();
    let not_learned = rows.iter().filter(|row| row.kind == "service" && !row.is_learned);
    let mut unseen: Vec<Unseen> = not_learned
        .map(|row| Unseen {
            what: format!("what is usual for {}", row.name),
            why: row.usual.learned_so_far(),
            needs: needs.clone(),
        })
        .collect();
    if let Some(blind) = baseline.counted.blind() {
        let what = "learning what is usual here".to_owned();
        unseen.push(Unseen { what, why: blind.why(), needs: blind.needs() });
    }
    unseen
}

fn learned(baseline: &Baseline, rows: &[Row<'_>], out: &mut dyn Write) -> io::Result<()> {
    match &baseline.counted {
        Seen::Value(true) => {
            writeln!(out, "learned one sample; before it: {} on {} days", baseline.samples, baseline.days)?;
        }
        Seen::Value(false) => {
            writeln!(out, "this minute is counted already; samples: {} on {} days", baseline.samples, baseline.days)?;
        }
        Seen::Absent | Seen::Unknown(_) => {}
    }
    if rows.is_empty() {
        writeln!(out, "{}: no service of mail listens, and there are no connections", baseline.file)?;
    } else {
        writeln!(out, "{}, around {:02} h UTC before this sample:\n", baseline.file, baseline.hour)?;
        table(rows.iter(), out)?;
    }
    remarks(&unseen(baseline, &[]))
}

fn spikes(baseline: &Baseline, rows: &[Row<'_>], out: &mut dyn Write) -> io::Result<()> {
    let above: Vec<&Row<'_>> = rows.iter().filter(|row| row.is_spike).collect();
    if above.is_empty() {
        writeln!(out, "nothing stands far above what was learned")?;
    } else {
        table(above.into_iter(), out)?;
    }
    writeln!(
        out,
        "\ncompared with the samples around {:02} h UTC of {} ({} in all, on {} days)",
        baseline.hour, baseline.file, baseline.samples, baseline.days
    )?;
    remarks(&unseen(baseline, rows))
}

fn table<'a, 'b: 'a>(rows: impl Iterator<Item = &'a Row<'b>>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<8} {:<32} {:>7} {:>7} {:>7} {:>7} {:>7}  LEARNED",
        "KIND", "NAME", "NOW", "MEDIAN", "P95", "MAX", "AGAIN"
    )?;
    for row in rows {
        let name = match row.network {
            Some(network) => format!("{} from {network}", row.name),
            None => row.name.clone(),
        };
        let Usual { now, median, p95, max, recurring, samples, days } = row.usual;
        let learned = format!("{samples} samples, {days} days{}", if row.is_learned { "" } else { " (too few)" });
        writeln!(out, "{:<8} {name:<32} {now:>7} {median:>7} {p95:>7} {max:>7} {recurring:>7}  {learned}", row.kind)?;
    }
    Ok(())
}

fn remarks(unseen: &[Unseen]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for unseen in unseen {
        writeln!(stderr, "not seen: {}: {} (needs {})", unseen.what, unseen.why, unseen.needs)?;
    }
    Ok(())
}
