//! How far reading is, how fast and how long yet: one line on standard error, where somebody watches.
//!
//! What must not live here: reading.

use crate::output::columns_on_stderr;
use crate::progress::draw;
use mxray_engine::maillog::Progress;
use std::time::{Duration, Instant};

/// A run that is over sooner needs no line.
const QUIET: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(200);

pub struct Meter {
    started: Instant,
    drawn: Option<Instant>,
    columns: Option<u16>,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { started: Instant::now(), drawn: None, columns: columns_on_stderr() }
    }

    pub fn show(&mut self, progress: Progress) {
        let Some(columns) = self.columns else { return };
        let now = Instant::now();
        let elapsed = now.duration_since(self.started);
        if elapsed < QUIET || self.drawn.is_some_and(|drawn| now.duration_since(drawn) < AGAIN) {
            return;
        }
        self.drawn = Some(now);
        let line = line(progress, elapsed);
        draw(&line.chars().take(usize::from(columns).saturating_sub(1)).collect::<String>());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            draw("");
        }
    }
}

fn line(progress: Progress, elapsed: Duration) -> String {
    let rate = progress.bytes as f64 / elapsed.as_secs_f64().max(0.001);
    let mut line = format!("{} MB, {:.0} MB/s", progress.bytes / 1_000_000, rate / 1e6);
    if let Some(share) = (progress.bytes.min(progress.total) * 100).checked_div(progress.total) {
        let left = progress.total.saturating_sub(progress.bytes) as f64 / rate.max(1.0);
        line.push_str(&format!(", {share} %, {left:.0} s left"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left() {
        let half = Progress { bytes: 500_000_000, total: 1_000_000_000 };
        assert_eq!(line(half, Duration::from_secs(5)), "500 MB, 100 MB/s, 50 %, 5 s left");
        assert_eq!(line(Progress { bytes: 2_000_000, total: 0 }, Duration::from_secs(1)), "2 MB, 2 MB/s");
    }
}
