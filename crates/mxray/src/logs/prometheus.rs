//! Totals in Prometheus' text format 0.0.4. Rates are the server's work.
//!
//! What must not live here: rows without a bound on their names; the summary has one.

use crate::prometheus::label_value;
use mxray_logs::Summary;
use std::io::{self, Write};

/// Rows of receivers and causes: each is a series.
const ROWS_MAX: usize = 50;

pub fn write(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let lines = &summary.lines;
    family(
        out,
        "mxray_log_lines",
        "Lines read, by what they were.",
        &[
            (&[("kind", "understood")], lines.understood),
            (&[("kind", "foreign")], lines.foreign),
            (&[("kind", "not_understood")], lines.not_understood),
            (&[("kind", "outside_window")], lines.outside_window),
        ],
    )?;
    let messages = &summary.messages;
    family(
        out,
        "mxray_log_messages",
        "Messages, by what became of them.",
        &[
            (&[("state", "received")], messages.received),
            (&[("state", "removed")], messages.removed),
            (&[("state", "alive")], messages.alive),
            (&[("state", "held")], messages.held),
        ],
    )?;
    let attempts = &summary.attempts;
    family(
        out,
        "mxray_log_attempts",
        "Delivery attempts, by status.",
        &[
            (&[("status", "sent")], attempts.sent),
            (&[("status", "deferred")], attempts.deferred),
            (&[("status", "bounced")], attempts.bounced),
        ],
    )?;
    let recipients = &summary.recipients;
    family(
        out,
        "mxray_log_recipients",
        "Recipients, by how they ended.",
        &[
            (&[("state", "delivered")], recipients.delivered),
            (&[("state", "bounced")], recipients.bounced),
            (&[("state", "expired")], recipients.expired),
            (&[("state", "pending")], recipients.pending),
        ],
    )?;
    shares(summary, out)?;
    rows(summary, out)?;
    family(
        out,
        "mxray_log_logins",
        "Logins, by whether they were granted.",
        &[(&[("granted", "yes")], summary.logins.granted), (&[("granted", "no")], summary.logins.failed)],
    )
}

/// Numerators and denominators of rates, and refusals by code.
fn shares(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let rates = &summary.rates;
    let shares =
        [("bounce", rates.bounce), ("block", rates.block), ("expiry", rates.expiry), ("deferral", rates.deferral)];
    head(out, "mxray_log_rate_numerator", "Recipients that count for a rate; docs/manual/logs.md defines them.")?;
    for (name, rate) in shares {
        writeln!(out, "mxray_log_rate_numerator{{rate=\"{name}\"}} {}", rate.numerator)?;
    }
    head(out, "mxray_log_rate_denominator", "Recipients that a rate is a share of.")?;
    for (name, rate) in shares {
        writeln!(out, "mxray_log_rate_denominator{{rate=\"{name}\"}} {}", rate.denominator)?;
    }
    head(out, "mxray_log_rejects", "Refusals of ours, by reply code.")?;
    for (code, count) in &summary.rejects.by_code {
        writeln!(out, "mxray_log_rejects{{code=\"{}\"}} {count}", label_value(code))?;
    }
    Ok(())
}

/// Receivers and causes.
fn rows(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    head(out, "mxray_log_receiver_recipients", "Recipients by receiver and how they ended.")?;
    for receiver in summary.receivers.iter().take(ROWS_MAX) {
        let name = label_value(&receiver.name);
        let of = &receiver.recipients;
        for (state, count) in [("delivered", of.delivered), ("bounced", of.bounced), ("expired", of.expired)] {
            writeln!(out, "mxray_log_receiver_recipients{{receiver=\"{name}\",state=\"{state}\"}} {count}")?;
        }
    }
    head(out, "mxray_log_cause_attempts", "Attempts that failed, by cause and receiver.")?;
    for cause in summary.causes.iter().take(ROWS_MAX) {
        let (name, receiver) = (label_value(cause.cause), label_value(&cause.receiver));
        writeln!(out, "mxray_log_cause_attempts{{cause=\"{name}\",receiver=\"{receiver}\"}} {}", cause.attempts)?;
    }
    Ok(())
}

type Series<'a> = (&'a [(&'a str, &'a str)], u64);

fn family(out: &mut dyn Write, name: &str, help: &str, series: &[Series<'_>]) -> io::Result<()> {
    head(out, name, help)?;
    for (labels, count) in series {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", label_value(value))).collect();
        writeln!(out, "{name}{{{}}} {count}", labels.join(","))?;
    }
    Ok(())
}

/// Sums over a window may fall from one file to the next: gauges.
fn head(out: &mut dyn Write, name: &str, help: &str) -> io::Result<()> {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge")
}
