//! Rows for a program: `mxray/sockets/1` as one object, or one row a line. Keys and their order are stable, units are
//! in the names.

use super::line::Output;
use super::look::{Owners, Remark, View};
use super::plan::Plan;
use super::{Direction, Format, line};
use mxray_host::sockets::{Protocol, Socket, State, UnixListener, tcp_info};
use mxray_model::Seen;
use std::net::IpAddr;

/// Schema of this command's JSON.
pub const SCHEMA: &str = "mxray/sockets/1";

/// All rows up to the plan's limit, then what could not be seen.
pub fn rows(view: &View, plan: &Plan, output: &mut Output<'_>) {
    let shown = view.order.len().min(plan.limit);
    let unix = &view.unix[..view.unix.len().min(plan.limit - shown)];
    let mut list = List::begin(output, plan.format, view.len());
    for socket in view.sockets().take(shown) {
        if !list.row(|out| row(view, socket, out)) {
            return;
        }
    }
    for listener in unix {
        list.row(|out| unix_row(view, listener, out));
    }
    list.end(&view.unseen);
}

/// The frame around rows, the same for sockets and groups.
pub struct List<'a, 'out> {
    output: &'a mut Output<'out>,
    format: Format,
    first: bool,
}

impl<'a, 'out> List<'a, 'out> {
    pub fn begin(output: &'a mut Output<'out>, format: Format, total: usize) -> Self {
        let out = &mut output.buffer;
        if format == Format::Json {
            out.extend_from_slice(b"{\"schema\":\"");
            out.extend_from_slice(SCHEMA.as_bytes());
            out.extend_from_slice(b"\",\"total\":");
            line::number(out, total as u64);
            out.extend_from_slice(b",\"rows\":[");
        }
        List { output, format, first: true }
    }

    /// False: nobody reads any more.
    pub fn row(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let out = &mut self.output.buffer;
        if self.format == Format::Json {
            out.extend_from_slice(if self.first { b"\n" } else { b",\n" });
        }
        self.first = false;
        write(out);
        if self.format == Format::Ndjson {
            out.push(b'\n');
        }
        self.output.goes_on()
    }

    pub fn end(self, unseen: &[Remark]) {
        let rows: Vec<_> = unseen.iter().map(Remark::row).collect();
        let text = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap_or_else(|_| "null".to_owned());
        match self.format {
            Format::Json => {
                self.output.buffer.extend_from_slice(b"],\"unseen\":");
                self.output.buffer.extend_from_slice(text(&|| serde_json::to_string(&rows)).as_bytes());
                self.output.buffer.extend_from_slice(b"}\n");
            }
            Format::Ndjson | Format::Text => {
                for row in &rows {
                    self.output.buffer.extend_from_slice(b"{\"unseen\":");
                    self.output.buffer.extend_from_slice(text(&|| serde_json::to_string(row)).as_bytes());
                    self.output.buffer.extend_from_slice(b"}\n");
                }
            }
        }
    }
}

fn row(view: &View, socket: &Socket, out: &mut Vec<u8>) {
    out.extend_from_slice(match socket.protocol {
        Protocol::Tcp => b"{\"protocol\":\"tcp\",\"state\":\"",
        Protocol::Udp => b"{\"protocol\":\"udp\",\"state\":\"",
    });
    out.extend_from_slice(socket.state.name().as_bytes());
    out.push(b'"');
    let direction = match view.inbound.direction(socket) {
        _ if socket.protocol == Protocol::Udp => None,
        Some(Direction::In) => Some("in"),
        Some(Direction::Out) => Some("out"),
        None => None,
    };
    if let Some(direction) = direction {
        field(out, "direction");
        string(out, direction);
    }
    let has_peer = socket.remote_port != 0;
    end(out, "local_address", if has_peer { socket.here() } else { socket.local });
    count(out, "local_port", u64::from(socket.local_port));
    if has_peer {
        end(out, "remote_address", socket.peer());
        count(out, "remote_port", u64::from(socket.remote_port));
    }
    queues(socket, out);
    unit(view, socket, out);
    if socket.inode != 0 {
        count(out, "uid", u64::from(socket.uid));
        count(out, "inode", u64::from(socket.inode));
    }
    if socket.cookie != 0 {
        count(out, "cookie", socket.cookie);
    }
    if socket.interface != 0 {
        count(out, "interface", u64::from(socket.interface));
    }
    if let Some(v6_only) = socket.v6_only.filter(|_| !has_peer && socket.local.is_ipv6()) {
        field(out, "v6_only");
        out.extend_from_slice(if v6_only { b"true" } else { b"false" });
    }
    if let Some(drops) = socket.drops {
        count(out, "drops", u64::from(drops));
    }
    if let Some(owners) = &view.owners {
        owner(owners, socket, out);
    }
    // A listener's figures are defaults, except those that its queues already show.
    if let Some(info) = view.info(socket).filter(|_| has_peer) {
        field(out, "tcp_info");
        let mut first = true;
        tcp_info::each(info, |name, value| {
            out.extend_from_slice(if first { b"{\"" } else { b",\"" });
            first = false;
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            line::number(out, value);
        });
        out.extend_from_slice(if first { b"{}" } else { b"}" });
    }
    out.push(b'}');
}

fn queues(socket: &Socket, out: &mut Vec<u8>) {
    if socket.state == State::Listen {
        count(out, "waiting_connections", u64::from(socket.receive_queue));
        if let Some(limit) = socket.send_queue {
            count(out, "waiting_limit", u64::from(limit));
        }
        return;
    }
    count(out, "receive_queue_bytes", u64::from(socket.receive_queue));
    if let Some(queue) = socket.send_queue {
        count(out, "send_queue_bytes", u64::from(queue));
    }
    if socket.waits_for_accept() {
        field(out, "waits_for_accept");
        out.extend_from_slice(b"true");
    }
}

fn unit(view: &View, socket: &Socket, out: &mut Vec<u8>) {
    match view.units.borrow(socket.cgroup) {
        Some(Seen::Value(name)) => {
            field(out, "unit");
            string(out, name);
        }
        Some(Seen::Absent) => {
            field(out, "unit");
            out.extend_from_slice(b"null");
        }
        Some(Seen::Unknown(_)) | None => {}
    }
}

fn owner(owners: &Owners, socket: &Socket, out: &mut Vec<u8>) {
    if socket.inode == 0 {
        return;
    }
    if let Some(user) = owners.users.get(&socket.uid) {
        field(out, "user");
        string(out, user);
    }
    holders(owners, socket.inode, out);
}

fn holders(owners: &Owners, inode: u32, out: &mut Vec<u8>) {
    let mut first = true;
    for pid in owners.holders.of(inode) {
        if first {
            field(out, "owners");
        }
        out.extend_from_slice(if first { b"[{\"pid\":" } else { b",{\"pid\":" });
        first = false;
        line::number(out, u64::from(pid));
        if let Some(row) = owners.rows.get(&pid) {
            field(out, "process");
            string(out, &row.name);
        }
        out.push(b'}');
    }
    if !first {
        out.push(b']');
    } else if owners.holders.blind.is_some() {
        field(out, "owner_hidden");
        string(out, super::text::hidden(owners));
    } else {
        field(out, "owners");
        out.extend_from_slice(b"[]");
    }
}

fn unix_row(view: &View, listener: &UnixListener, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"protocol\":\"unix\",\"state\":\"LISTEN\"");
    field(out, "path");
    string(out, &listener.path);
    if let Seen::Value(queue) = &listener.queue {
        count(out, "waiting_connections", u64::from(queue.waiting));
        count(out, "waiting_limit", u64::from(queue.limit));
    }
    if let Seen::Value(uid) = listener.uid {
        count(out, "uid", u64::from(uid));
    }
    count(out, "inode", listener.inode);
    if let Some(owners) = &view.owners {
        holders(owners, u32::try_from(listener.inode).unwrap_or(0), out);
    }
    out.push(b'}');
}

/// `,"name":`
pub fn field(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub fn count(out: &mut Vec<u8>, name: &str, value: u64) {
    field(out, name);
    line::number(out, value);
}

fn end(out: &mut Vec<u8>, name: &str, address: IpAddr) {
    field(out, name);
    out.push(b'"');
    line::address(out, address);
    out.push(b'"');
}

/// A JSON string. Names are escaped for terminals already; quotes and backslashes are left to do.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), HEX[usize::from(byte & 15)]])
            }
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    #[test]
    fn strings_are_what_a_parser_reads_back() {
        for text in ["smtpd", "a\"b\\c", "x\n\u{1}\u{1f}y", "größe", ""] {
            let mut out = Vec::new();
            super::string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
