//! Totals in Prometheus' text format 0.0.4: rates are the server's work, so one look is enough.

use super::change::View;
use crate::prometheus::label_value;
use std::io::{self, Write};

/// # Errors
/// Never: `out` is memory.
pub fn write(view: &View, out: &mut Vec<u8>) -> io::Result<()> {
    writeln!(
        out,
        "# HELP mxray_protocol_events_total Protocol counters of this network namespace, by table and name."
    )?;
    writeln!(out, "# TYPE mxray_protocol_events_total counter")?;
    for (name, reading) in &view.counters {
        let (table, name) = name.split_once('.').unwrap_or(("", name));
        let (table, name) = (label_value(table), label_value(name));
        writeln!(out, "mxray_protocol_events_total{{table=\"{table}\",name=\"{name}\"}} {}", reading.last)?;
    }
    writeln!(out, "# HELP mxray_sockets_level What sockets use now (/proc/net/sockstat).")?;
    writeln!(out, "# TYPE mxray_sockets_level gauge")?;
    for (name, level) in &view.levels {
        writeln!(out, "mxray_sockets_level{{name=\"{}\"}} {}", label_value(name), level.value)?;
    }
    writeln!(out, "# HELP mxray_listener_drops_total Connections or datagrams dropped at a listener (sk_drops).")?;
    writeln!(out, "# TYPE mxray_listener_drops_total counter")?;
    for (listener, reading) in &view.listeners {
        // Two sockets may share an address (SO_REUSEPORT): the cookie tells their series apart.
        let (name, unit) = (label_value(&listener.name), label_value(listener.unit.as_deref().unwrap_or_default()));
        let cookie = listener.cookie;
        writeln!(
            out,
            "mxray_listener_drops_total{{listener=\"{name}\",unit=\"{unit}\",cookie=\"{cookie:x}\"}} {}",
            reading.last
        )?;
    }
    Ok(())
}
