//! `mxray counters` beside `nstat`: the same numbers by the same names, totals and changes.

use super::{Scratch, answer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

/// Runs in a network namespace of its own, where nothing moves but what this script moves. Connections, a refused one, and
/// datagrams to a closed port while `mxray` watches; then both are asked for totals.
const SCRIPT: &str = r#"
set -eu
cd "$SCRATCH"
export NSTAT_HISTORY=/dev/null
ip link set lo up
nstat -asz >before
"$MXRAY" counters --watch --interval 100ms --format ndjson >frames &
watcher=$!
frames() { grep -c '"Tcp.ActiveOpens"' frames || true; }
for _ in $(seq 400); do [ "$(frames)" -ge 1 ] && break; sleep 0.05; done
python3 - <<'END'
import socket
listener = socket.create_server(("127.0.0.1", 2525), backlog=50)
held = []
for _ in range(7):
    held.append(socket.create_connection(("127.0.0.1", 2525)))
    held.append(listener.accept()[0])
    held[-1].sendall(b"220 ready\r\n")
    held[-2].recv(100)
try:
    socket.create_connection(("127.0.0.1", 2526))
except ConnectionRefusedError:
    pass
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3):
    datagram.sendto(b"x", ("127.0.0.1", 2527))
for connection in held:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
END
nstat -asz >after
seen=$(frames)
for _ in $(seq 400); do [ "$(frames)" -ge $((seen + 2)) ] && break; sleep 0.05; done
kill "$watcher"
"$MXRAY" counters --since-boot --json >ours
nstat -asz >theirs
"#;

/// What `nstat` says, by its names: `TcpExtListenDrops`.
fn nstat(text: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(row).collect()
}

fn counters(rows: impl Iterator<Item = Value>, key: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for row in rows.filter(|row| row["kind"] == "counter") {
        let name = row["name"].as_str().unwrap().replace('.', "");
        *sums.entry(name).or_insert(0) += row[key].as_u64().unwrap_or(0);
    }
    sums
}

#[test]
fn counters_are_those_of_nstat() {
    let scratch = Scratch::new("counters");
    let outcome = Command::new("unshare")
        .args(["-n", "--", "bash", "-c", SCRIPT])
        .env("SCRATCH", &scratch.0)
        .env("MXRAY", env!("CARGO_BIN_EXE_mxray"))
        .output();
    let missing = ["unshare", "nstat", "python3", "ip"].into_iter().find(|name| {
        !Command::new("sh").args(["-c", &format!("command -v {name}")]).output().is_ok_and(|o| o.status.success())
    });
    let why = match (&outcome, missing) {
        (_, Some(name)) => Some(format!("{name} is not installed")),
        (Ok(output), None) if String::from_utf8_lossy(&output.stderr).contains("unshare failed") => {
            Some("a network namespace needs root".to_owned())
        }
        _ => None,
    };
    if let Some(why) = why {
        writeln!(std::io::stderr(), "skipped: counters_are_those_of_nstat: {why}").unwrap();
        return;
    }
    let output = outcome.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = |name: &str| std::fs::read_to_string(scratch.0.join(name)).unwrap();

    let ours: Value = serde_json::from_str(&file("ours")).unwrap();
    assert_eq!(ours["schema"], "mxray/counters/1");
    let ours = counters(ours["rows"].as_array().unwrap().iter().cloned(), "total");
    let theirs = nstat(&file("theirs"));
    let (before, after) = (nstat(&file("before")), nstat(&file("after")));
    // A line that was being written when the watch ended is no row; nothing moved by then.
    let rows = file("frames").lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>();
    let changes = counters(rows.into_iter(), "delta");
    let (mut same, mut moved) = (0, 0);
    for (name, total) in &theirs {
        // Settings and levels, which are no counters here.
        let Some(our) = ours.get(name) else { continue };
        assert_eq!(our, total, "{name}");
        same += 1;
        let change = after[name] - before.get(name).copied().unwrap_or(0);
        assert_eq!(changes[name], change, "change of {name}");
        moved += usize::from(change > 0);
    }
    assert!(same > 150, "only {same} counters have a name in common");
    assert!(moved > 10, "only {moved} counters moved");
    for (name, change) in [("TcpActiveOpens", 8), ("TcpAttemptFails", 1), ("UdpNoPorts", 3)] {
        assert_eq!(changes[name], change, "{name}");
    }
    let left_out: Vec<_> = theirs.keys().filter(|name| !ours.contains_key(*name)).collect();
    let known = ["MPTcpExtMPCurrEstab"];
    assert!(left_out.iter().all(|name| known.contains(&name.as_str())), "{left_out:?}");
}

#[test]
fn every_format_tells_the_same_window() {
    let text = answer(&["counters", "--interval", "100ms"]);
    assert!(text.starts_with("Changes within 0.1"), "{text}");
    let json: Value = serde_json::from_str(&answer(&["counters", "--interval", "100ms", "--json"])).unwrap();
    assert!(json["window_ms"].as_u64().unwrap() >= 100);
    let lines = answer(&["counters", "--interval", "100ms", "--format", "ndjson"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let totals = answer(&["counters", "--format", "prometheus"]);
    assert!(totals.contains("\nmxray_protocol_events_total{table=\"Tcp\",name=\"ActiveOpens\"} "), "{totals}");
}
