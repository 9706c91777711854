//! Rows for a person: one line a socket, columns as wide as what is in them.

use super::line::{self, Output};
use super::look::{Owners, View, idle_ms};
use super::plan::Plan;
use mxray_host::sockets::{Protocol, Socket, State, TcpInfo, UnixListener};
use mxray_model::{Blind, Seen};
use std::net::IpAddr;

/// Widest unit and process columns; a longer name is clipped, since one such name would push everything else away.
const NAME_COLUMNS_MAX: usize = 40;
/// Narrowest on a terminal that is too small for everything.
const NAME_COLUMNS_MIN: usize = 12;

/// Column widths.
struct Widths {
    local: usize,
    remote: usize,
    unit: usize,
    process: usize,
    user: usize,
    /// Whole lines are clipped here.
    line: usize,
}

/// Everything in the plan's order, up to its limit.
pub fn rows(view: &View, plan: &Plan, output: &mut Output<'_>) {
    let shown = view.order.len().min(plan.limit);
    let unix = &view.unix[..view.unix.len().min(plan.limit - shown)];
    let widths = Widths::new(view, plan, shown, unix);
    header(plan, &widths, &mut output.buffer);
    for socket in view.sockets().take(shown) {
        let start = output.buffer.len();
        row(view, plan, &widths, socket, &mut output.buffer);
        finish(&mut output.buffer, start, &widths, plan.colour);
        if !output.goes_on() {
            return;
        }
    }
    for listener in unix {
        let start = output.buffer.len();
        unix_row(view, &widths, listener, &mut output.buffer);
        finish(&mut output.buffer, start, &widths, plan.colour);
    }
    let left = view.len() - shown - unix.len();
    if left > 0 && plan.terminal.is_some() {
        output.buffer.extend_from_slice(format!("and {left} more\n").as_bytes());
    }
}

impl Widths {
    fn new(view: &View, plan: &Plan, shown: usize, unix: &[UnixListener]) -> Self {
        let mut scratch = Vec::new();
        let (mut local, mut remote) = ("LOCAL".len(), "REMOTE".len());
        for socket in view.sockets().take(shown) {
            let (here, there) = ends(socket);
            local = local.max(endpoint_width(here, socket.local_port, &mut scratch));
            remote = remote.max(endpoint_width(there, socket.remote_port, &mut scratch));
        }
        for listener in unix {
            local = local.max(listener.path.chars().count().min(NAME_COLUMNS_MAX));
        }
        let unit = view.units.names().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut widths = Widths {
            local,
            remote,
            unit: unit.clamp("UNIT".len(), NAME_COLUMNS_MAX),
            process: 0,
            user: 0,
            line: usize::MAX,
        };
        if let Some(owners) = &view.owners {
            let names = owners.names.values().map(|name| name.chars().count() + 8);
            widths.process = names.max().unwrap_or(0).clamp("owner hidden (needs root)".len(), NAME_COLUMNS_MAX);
            widths.user = user_width(owners, view.sockets().take(shown).map(|socket| socket.uid));
        }
        if let Some(terminal) = plan.terminal {
            widths.fit(usize::from(terminal.columns), plan.info);
        }
        widths
    }

    /// Names give way first; what is still too long is clipped at the edge.
    fn fit(&mut self, columns: usize, info: bool) {
        self.line = columns.max(20);
        let names = usize::from(self.process > 0) * (self.process + self.user + 2);
        let info = if info { INFO_COLUMNS } else { 0 };
        let wanted = 5 + 11 + 8 + 8 + self.local + self.remote + 2 + self.unit + names + info;
        let too_much = wanted.saturating_sub(columns);
        let from_unit = too_much.min(self.unit.saturating_sub(NAME_COLUMNS_MIN));
        self.unit -= from_unit;
        let from_process = (too_much - from_unit).min(self.process.saturating_sub(NAME_COLUMNS_MIN));
        self.process -= from_process;
    }
}

/// Wide enough for the users that occur.
fn user_width(owners: &Owners, uids: impl Iterator<Item = u32>) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    let mut last = None;
    for uid in uids {
        if last.replace(uid) != Some(uid) {
            seen.insert(uid);
        }
    }
    let name = |uid: &u32| owners.users.get(uid).map_or(10, |name| name.chars().count());
    seen.iter().map(name).max().unwrap_or(0).clamp("USER".len(), 16)
}

/// An end of a socket. `None`: any address of both families.
type End = Option<IpAddr>;

fn endpoint(out: &mut Vec<u8>, end: End, port: u16) {
    match end {
        Some(ip) => line::endpoint(out, ip, port),
        None => line::both_families(out, port),
    }
}

fn endpoint_width(end: End, port: u16, scratch: &mut Vec<u8>) -> usize {
    fn digits(number: u16) -> usize {
        match number {
            0..10 => 1,
            10..100 => 2,
            100..1000 => 3,
            1000..10_000 => 4,
            _ => 5,
        }
    }
    match end {
        Some(IpAddr::V4(v4)) => {
            v4.octets().into_iter().map(|octet| digits(octet.into())).sum::<usize>() + 4 + digits(port)
        }
        Some(IpAddr::V6(_)) | None => {
            scratch.clear();
            endpoint(scratch, end, port);
            scratch.len()
        }
    }
}

/// A connection's ends with IPv4 unwrapped; a listener's own as it was bound. An IPv6 wildcard that takes IPv4 as well
/// is no `[::]`, which might take IPv6 alone.
fn ends(socket: &Socket) -> (End, End) {
    if socket.remote_port != 0 {
        return (Some(socket.here()), Some(socket.peer()));
    }
    let both = socket.v6_only == Some(false) && socket.local.is_ipv6() && socket.local.is_unspecified();
    if both { (None, None) } else { (Some(socket.local), Some(socket.peer())) }
}

fn header(plan: &Plan, widths: &Widths, out: &mut Vec<u8>) {
    if plan.colour {
        out.extend_from_slice(b"\x1b[1m");
    }
    let start = out.len();
    let left = |out: &mut Vec<u8>, text: &str, width: usize| {
        let start = out.len();
        out.extend_from_slice(text.as_bytes());
        line::pad(out, start, width);
    };
    out.extend_from_slice(b"PROTO STATE       RECV-Q  SEND-Q ");
    left(out, "LOCAL", widths.local);
    left(out, "REMOTE", widths.remote);
    left(out, "UNIT", widths.unit);
    if plan.pids {
        left(out, "PROCESS", widths.process);
        left(out, "USER", widths.user);
    }
    if plan.info {
        out.extend_from_slice(b"   RTT-MS MIN-RTT-MS RETRANS   ACKED-B    RECV-B   IDLE-MS LIMITED");
    }
    clip(out, start, widths.line);
    if plan.colour {
        out.extend_from_slice(b"\x1b[0m");
    }
    line::end(out);
}

fn row(view: &View, plan: &Plan, widths: &Widths, socket: &Socket, out: &mut Vec<u8>) {
    out.extend_from_slice(match socket.protocol {
        Protocol::Tcp => b"tcp   ",
        Protocol::Udp => b"udp   ",
    });
    state(socket, plan.colour, out);
    line::right(out, u64::from(socket.receive_queue), 7);
    match socket.send_queue {
        Some(queue) => line::right(out, u64::from(queue), 7),
        None => out.extend_from_slice(b"      ? "),
    }
    let (here, there) = ends(socket);
    let start = out.len();
    endpoint(out, here, socket.local_port);
    line::pad(out, start, widths.local);
    let start = out.len();
    endpoint(out, there, socket.remote_port);
    line::pad(out, start, widths.remote);
    unit(view, socket, widths.unit, out);
    if let Some(owners) = &view.owners {
        owner(owners, socket, widths, out);
    }
    if plan.info {
        info(view.info(socket), out);
    }
}

/// The column of the state is 11 wide; its colour is not the only carrier of its meaning.
fn state(socket: &Socket, colour: bool, out: &mut Vec<u8>) {
    let name = socket.state.name();
    let paint: &[u8] = match socket.state {
        State::Listen => b"\x1b[36m",
        State::SynSent | State::SynReceived | State::CloseWait => b"\x1b[33m",
        _ => b"",
    };
    let paint = if colour { paint } else { b"" };
    out.extend_from_slice(paint);
    let start = out.len();
    out.extend_from_slice(name.as_bytes());
    line::pad(out, start, 10);
    if !paint.is_empty() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

fn unit(view: &View, socket: &Socket, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    match view.units.borrow(socket.cgroup) {
        Some(Seen::Value(name)) if name.is_ascii() && name.len() <= width => out.extend_from_slice(name.as_bytes()),
        Some(Seen::Value(name)) => return wide(out, name, width),
        Some(Seen::Absent) => out.push(b'-'),
        // These two belong to no cgroup.
        _ if matches!(socket.state, State::TimeWait | State::SynReceived) => out.push(b'-'),
        Some(Seen::Unknown(_)) | None => out.push(b'?'),
    }
    line::pad(out, start, width);
}

/// Text that may hold characters of several bytes, clipped and padded by characters.
fn wide(out: &mut Vec<u8>, text: &str, width: usize) {
    line::clipped(out, text, width);
    let shown = text.chars().count().min(width);
    out.resize(out.len() + width - shown + 1, b' ');
}

fn owner(owners: &Owners, socket: &Socket, widths: &Widths, out: &mut Vec<u8>) {
    if socket.inode == 0 {
        wide(out, if socket.waits_for_accept() { "waiting for accept" } else { "-" }, widths.process);
        // The kernel reports user 0 for what no process holds, whoever it belongs to.
        wide(out, "-", widths.user);
        return;
    }
    holders(owners, socket.inode, widths.process, out);
    user(owners, socket.uid, widths.user, out);
}

fn user(owners: &Owners, uid: u32, width: usize, out: &mut Vec<u8>) {
    match owners.users.get(&uid) {
        Some(name) => wide(out, name, width),
        None => {
            let start = out.len();
            line::number(out, u64::from(uid));
            line::pad(out, start, width);
        }
    }
}

fn holders(owners: &Owners, inode: u32, width: usize, out: &mut Vec<u8>) {
    let mut pids = owners.holders.of(inode);
    let Some(pid) = pids.next() else {
        return wide(out, hidden(owners), width);
    };
    let start = out.len();
    line::number(out, u64::from(pid));
    out.push(b'/');
    let name = owners.names.get(&pid).map_or("(ended)", String::as_str);
    let others = pids.count();
    if name.is_ascii() && out.len() - start + name.len() <= width && others == 0 {
        out.extend_from_slice(name.as_bytes());
        line::pad(out, start, width);
        return;
    }
    out.truncate(start);
    let more = if others > 0 { format!(" +{others}") } else { String::new() };
    wide(out, &format!("{pid}/{name}{more}"), width);
}

/// Why a socket that has an inode shows no process.
pub fn hidden(owners: &Owners) -> &'static str {
    match &owners.holders.blind {
        None => "no process",
        Some(Blind::NotPermitted { .. }) => "owner hidden (needs root)",
        Some(_) => "owner not visible here",
    }
}

/// Width of what [`info`] writes.
const INFO_COLUMNS: usize = 70;

fn info(info: Option<TcpInfo<'_>>, out: &mut Vec<u8>) {
    let Some(info) = info else { return };
    let figure = |out: &mut Vec<u8>, value: Option<u64>, width: usize| match value {
        Some(value) => line::right(out, value, width),
        None => {
            let start = out.len();
            out.push(b'?');
            line::push_right(out, start, width);
        }
    };
    for (value, width) in [(info.rtt_us(), 9), (info.min_rtt_us(), 10)] {
        let start = out.len();
        match value {
            // No round trip was measured yet (u32::MAX in min_rtt).
            Some(0 | u32::MAX) => out.push(b'-'),
            Some(us) => line::milliseconds(out, u64::from(us)),
            None => out.push(b'?'),
        }
        line::push_right(out, start, width);
    }
    figure(out, info.total_retrans().map(u64::from), 7);
    figure(out, info.bytes_acked(), 9);
    figure(out, info.bytes_received(), 9);
    figure(out, idle_ms(info).map(u64::from), 9);
    limited(info, out);
}

/// What held sending back for more than half of the time in which there was something to send.
fn limited(info: TcpInfo<'_>, out: &mut Vec<u8>) {
    let (Some(busy), Some(window), Some(buffer)) =
        (info.busy_time_us(), info.rwnd_limited_us(), info.sndbuf_limited_us())
    else {
        return;
    };
    for (word, time) in [("receiver ", window), ("sndbuf ", buffer)] {
        if busy > 0 && time > busy / 2 {
            out.extend_from_slice(word.as_bytes());
            line::number(out, (time.min(busy).saturating_mul(100)) / busy);
            out.push(b'%');
            return;
        }
    }
}

fn unix_row(view: &View, widths: &Widths, listener: &UnixListener, out: &mut Vec<u8>) {
    out.extend_from_slice(b"unix  LISTEN     ");
    match listener.queue.value() {
        Some(queue) => {
            line::right(out, u64::from(queue.waiting), 7);
            line::right(out, u64::from(queue.limit), 7);
        }
        None => out.extend_from_slice(b"      ?       ? "),
    }
    // The path takes both address columns.
    wide(out, &listener.path, widths.local + widths.remote + 1);
    wide(out, "?", widths.unit);
    if let Some(owners) = &view.owners {
        holders(owners, u32::try_from(listener.inode).unwrap_or(0), widths.process, out);
        match listener.uid {
            Seen::Value(uid) => user(owners, uid, widths.user, out),
            Seen::Absent | Seen::Unknown(_) => wide(out, "?", widths.user),
        }
    }
}

fn finish(out: &mut Vec<u8>, start: usize, widths: &Widths, colour: bool) {
    if widths.line < usize::MAX {
        let hidden = if colour { escapes(out.get(start..).unwrap_or_default()) } else { 0 };
        clip(out, start, widths.line + hidden);
    }
    line::end(out);
}

/// Bytes of our own colour sequences; text from outside holds none.
fn escapes(line: &[u8]) -> usize {
    let mut bytes = 0;
    let mut inside = false;
    for byte in line {
        inside |= *byte == 0x1b;
        bytes += usize::from(inside);
        inside &= *byte != b'm';
    }
    bytes
}

/// Cuts what was written since `start` to `columns` characters.
fn clip(out: &mut Vec<u8>, start: usize, columns: usize) {
    if out.len() - start <= columns {
        return;
    }
    let line = String::from_utf8_lossy(out.get(start..).unwrap_or_default()).trim_end().to_owned();
    out.truncate(start);
    line::clipped(out, &line, columns);
}
