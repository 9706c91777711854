//! `mxray counters`: protocol counters over a window, grouped by what they mean, and drops by listener.
//!
//! One or two looks are [`look::Look`], what changed between them is [`change::View`] (pure), what is usual of it is
//! `mxray-host`'s `baseline`, `text`, `json` and
//! `prometheus` write it, `meaning` is the table of groups. What must not live here: thresholds and judgement (the rules that
//! a group names have them).

mod change;
mod json;
mod look;
mod meaning;
mod prometheus;
mod text;

use crate::output::Terminal;
use crate::{exit, watch};
use change::View;
use look::Look;
use mxray_host::baseline::{self, Place, Window};
use mxray_model::{Blind, Seen};
use std::io::{self, Write};
use std::time::Duration;

/// Protocol counters as rates with meaning, and drops by listener.
///
/// Replaces netstat -s and nstat. Looks twice and shows what changed in between, grouped by what it means; what did not
/// change takes one line. Needs no privilege.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CountersArgs {
    /// Time between the two looks: 500ms, 5s, 2m; a bare number means seconds [default: 1s]
    #[arg(long, short, value_name = "TIME", value_parser = interval, conflicts_with = "since_boot")]
    pub interval: Option<Duration>,
    /// Totals instead of changes: since boot, or since this network namespace was made
    #[arg(long)]
    pub since_boot: bool,
    /// Every counter by its name, also those that did not change or belong to no group
    #[arg(long)]
    pub all: bool,
    /// Again after each interval, until Ctrl-C or q
    #[arg(long, short, conflicts_with = "since_boot")]
    pub watch: bool,
    /// How to print: text, json (one object), ndjson (one object a line), prometheus (totals) [default: text]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  mxray counters                       what changes right now, and what it means
  mxray counters --interval 30s        the same over half a minute: rare events show
  mxray counters --watch               again and again, until q
  mxray counters --since-boot          totals, as netstat -s has them
  mxray counters --all --interval 10s  every counter by its name
  mxray counters --json                all counters, levels and listeners, for a program
  mxray counters --format prometheus   for node_exporter's textfile collector";

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
    Ndjson,
    Prometheus,
}

const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// `5s`, `500ms`, `2m`, `1h`, `5`.
pub fn interval(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) =
        units.into_iter().find_map(|(name, seconds)| Some((text.strip_suffix(name)?, seconds))).unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().map_err(|_| "a time like 500ms, 5s or 2m is wanted".to_owned())? * unit;
    if (watch::SECONDS_MIN..=watch::SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("a time between 100ms and 24h is wanted".to_owned())
    }
}

/// Shows counters as `args` say and returns the exit code: 0, or 2 when they could not be read.
///
/// # Errors
/// `out` cannot be written.
pub fn run(
    args: &CountersArgs,
    format: Format,
    place: &Place,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let every = args.interval.unwrap_or(INTERVAL_DEFAULT);
    // Whoever watches does so because something is wrong now: that is not to become usual.
    let place = Place { learn: place.learn && !args.watch, ..place.clone() };
    let mut shown = Shown { all: args.all, format, every, place, last: None, view: None };
    if args.watch {
        return watch::run(shown, every, terminal, out);
    }
    let view = if args.since_boot || format == Format::Prometheus {
        Look::now().map(|look| View::totals(&look))
    } else {
        two_looks(every, &shown.place)
    };
    match view {
        Ok(view) => shown.view = Some(view),
        Err(blind) => {
            writeln!(io::stderr(), "mxray counters: {}", blind.why())?;
            return Ok(exit::UNANSWERED);
        }
    }
    let mut buffer = Vec::new();
    shown.write(&mut buffer)?;
    out.write_all(&buffer)?;
    out.flush()?;
    if matches!(format, Format::Text | Format::Prometheus) {
        shown.write_unseen(&mut io::stderr().lock())?;
    }
    Ok(exit::OK)
}

fn two_looks(every: Duration, place: &Place) -> Result<View, Blind> {
    let first = Look::now()?;
    std::thread::sleep(every);
    Ok(between(&first, &Look::now()?, place))
}

/// What changed, beside what is usual here; counts the window where it may be learned.
fn between(first: &Look, last: &Look, place: &Place) -> View {
    let mut view = View::between(first, last);
    let window = Window::between(&first.counters, &last.counters, view.window_ms.unwrap_or(0));
    view.compare(baseline::compare_rates(place, &window));
    view
}

/// The counters at one moment, for a window that is only learned from. `None`: they cannot be read.
pub fn moment() -> Option<(std::time::Instant, std::collections::BTreeMap<String, u64>)> {
    match mxray_host::kernel::counters() {
        Seen::Value(counters) => Some((std::time::Instant::now(), counters)),
        Seen::Absent | Seen::Unknown(_) => None,
    }
}

/// What is shown, and how.
struct Shown {
    all: bool,
    format: Format,
    every: Duration,
    place: Place,
    last: Option<Look>,
    view: Option<View>,
}

impl Shown {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(view) = &self.view else { return Ok(()) };
        match self.format {
            Format::Text => text::write(view, self.all, out),
            Format::Json => json::object(view, out),
            Format::Ndjson => json::lines(view, out),
            Format::Prometheus => prometheus::write(view, out),
        }
    }

    fn write_unseen(&self, out: &mut dyn Write) -> io::Result<()> {
        for unseen in self.view.iter().flat_map(|view| &view.unseen) {
            let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
            writeln!(out, "not seen: {}: {}{needs}", unseen.what, unseen.why)?;
        }
        Ok(())
    }
}

impl watch::Picture for Shown {
    const COMMAND: &'static str = "counters";

    fn look(&mut self) -> Result<(), Blind> {
        let first = match self.last.take() {
            Some(look) => look,
            None => {
                let look = Look::now()?;
                // There is nothing to draw before the first window is over.
                std::thread::sleep(self.every);
                look
            }
        };
        let last = Look::now()?;
        self.view = Some(between(&first, &last, &self.place));
        self.last = Some(last);
        Ok(())
    }

    fn draw(&self, screen: bool, out: &mut Vec<u8>) -> io::Result<()> {
        self.write(out)?;
        if screen {
            self.write_unseen(out)?;
        } else if self.format == Format::Text {
            out.push(b'\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        let seconds = |text: &str| interval(text).map(|time| time.as_secs_f64());
        assert_eq!(seconds("5s"), Ok(5.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
        assert_eq!(seconds("2m"), Ok(120.0));
        assert_eq!(seconds("3"), Ok(3.0));
        for bad in ["", "s", "0", "-1s", "nan", "inf", "1e9", "5x", "99h"] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }
}
