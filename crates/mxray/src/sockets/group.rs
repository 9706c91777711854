//! Sums: how many sockets by peer, network, service, state, unit or process. No text is made before the groups are
//! known.

use super::line::Output;
use super::look::View;
use super::plan::Plan;
use super::{By, Direction, Sort, json, line};
use mxray_host::sockets::{Protocol, Socket, State, network};
use mxray_model::Seen;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How many of each state one group holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub sockets: u32,
    pub established: u32,
    /// Established, not yet accepted.
    pub waiting: u32,
    pub syn_sent: u32,
    pub syn_received: u32,
    pub time_wait: u32,
    pub close_wait: u32,
    pub listening: u32,
}

impl Tally {
    fn add(&mut self, socket: &Socket) {
        self.sockets += 1;
        let place = match socket.state {
            State::Established | State::CloseWait if socket.waits_for_accept() => &mut self.waiting,
            State::Established => &mut self.established,
            State::SynSent => &mut self.syn_sent,
            State::SynReceived => &mut self.syn_received,
            State::TimeWait => &mut self.time_wait,
            State::CloseWait => &mut self.close_wait,
            State::Listen => &mut self.listening,
            State::Unconnected if socket.protocol == Protocol::Udp => &mut self.listening,
            State::Unconnected | State::FinWait1 | State::FinWait2 | State::LastAck | State::Closing => return,
        };
        *place += 1;
    }

    fn join(&mut self, other: &Tally) {
        self.sockets += other.sockets;
        self.established += other.established;
        self.waiting += other.waiting;
        self.syn_sent += other.syn_sent;
        self.syn_received += other.syn_received;
        self.time_wait += other.time_wait;
        self.close_wait += other.close_wait;
        self.listening += other.listening;
    }
}

/// A group's key before it has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Address(IpAddr),
    Network(IpAddr, u8),
    /// A listener's port here, or one elsewhere that we went to.
    Service {
        inbound: bool,
        protocol: Protocol,
        port: u16,
    },
    State(State),
    Unit(Option<u64>),
    Process(Option<u32>),
}

/// All groups with their names, the largest first; ties in the order of their keys.
pub fn groups(view: &View, plan: &Plan, by: By) -> Vec<(String, Tally)> {
    let mut tallies: BTreeMap<Key, Tally> = BTreeMap::new();
    // Neighbours in a sorted list often share their group.
    let mut last: Option<(Key, Tally)> = None;
    for socket in view.sockets() {
        let Some(key) = key(view, by, socket) else { continue };
        match &mut last {
            Some((same, tally)) if *same == key => tally.add(socket),
            _ => {
                if let Some((key, tally)) = last.take() {
                    tallies.entry(key).or_default().join(&tally);
                }
                let mut tally = Tally::default();
                tally.add(socket);
                last = Some((key, tally));
            }
        }
    }
    if let Some((key, tally)) = last {
        tallies.entry(key).or_default().join(&tally);
    }
    // Several keys may have one name: cgroups below one unit, processes of one program.
    let mut named: BTreeMap<String, (usize, Tally)> = BTreeMap::new();
    for (place, (key, tally)) in tallies.iter().enumerate() {
        named.entry(name(view, plan, *key)).or_insert((place, Tally::default())).1.join(tally);
    }
    let mut groups: Vec<(usize, String, Tally)> =
        named.into_iter().map(|(name, (place, tally))| (place, name, tally)).collect();
    groups.sort_by_key(|(place, _, _)| *place);
    match plan.sort {
        Some(Sort::Name) => groups.sort_by(|a, b| a.1.cmp(&b.1)),
        _ => groups.sort_by_key(|(_, _, tally)| std::cmp::Reverse(tally.sockets)),
    }
    groups.into_iter().map(|(_, name, tally)| (name, tally)).collect()
}

/// `None`: this socket has no place in such a sum (a listener has no peer).
fn key(view: &View, by: By, socket: &Socket) -> Option<Key> {
    let has_peer = socket.remote_port != 0;
    Some(match by {
        By::Remote if has_peer => Key::Address(socket.peer()),
        By::Network if has_peer => {
            let (address, bits) = network(socket.peer());
            Key::Network(address, bits)
        }
        By::Remote | By::Network => return None,
        By::Service => {
            let inbound = view.inbound.direction(socket) != Some(Direction::Out);
            let port = if inbound { socket.local_port } else { socket.remote_port };
            Key::Service { inbound, protocol: socket.protocol, port }
        }
        By::State => Key::State(socket.state),
        By::Unit => Key::Unit(socket.cgroup),
        By::Process => Key::Process(view.owners.as_ref().and_then(|owners| owners.holders.of(socket.inode).next())),
    })
}

fn name(view: &View, plan: &Plan, key: Key) -> String {
    match key {
        Key::Address(address) => address.to_string(),
        Key::Network(address, bits) => format!("{address}/{bits}"),
        Key::Service { inbound, protocol, port } => {
            let way = if inbound { "in" } else { "out" };
            match plan.services.name(port) {
                Some(name) => format!("{way} {}/{port} {name}", protocol.name()),
                None => format!("{way} {}/{port}", protocol.name()),
            }
        }
        Key::State(state) => state.name().to_owned(),
        Key::Unit(id) => match view.units.name(id) {
            Seen::Value(name) => name,
            Seen::Absent => "(no unit)".to_owned(),
            Seen::Unknown(_) => "(unit unknown)".to_owned(),
        },
        Key::Process(Some(pid)) => view
            .owners
            .as_ref()
            .and_then(|owners| owners.rows.get(&pid))
            .map_or_else(|| "(ended)".to_owned(), |row| row.name.clone()),
        Key::Process(None) => match &view.owners {
            Some(owners) if owners.holders.blind.is_some() => "(no process, or owner hidden)".to_owned(),
            _ => "(no process)".to_owned(),
        },
    }
}

/// The groups as a table.
pub fn text(view: &View, plan: &Plan, by: By, out: &mut Vec<u8>) {
    let groups = groups(view, plan, by);
    let shown = if plan.all || plan.limit != usize::MAX {
        plan.limit
    } else {
        // Header, and the line that says what is left.
        plan.terminal.map_or(usize::MAX, |terminal| usize::from(terminal.rows).saturating_sub(3).max(1))
    };
    table(&groups, shown, title(by), plan, out);
}

fn title(by: By) -> &'static str {
    match by {
        By::Remote => "REMOTE",
        By::Network => "NETWORK",
        By::Service => "SERVICE",
        By::State => "STATE",
        By::Unit => "UNIT",
        By::Process => "PROCESS",
    }
}

/// At most `shown` groups, and a line about the rest.
pub fn table(groups: &[(String, Tally)], shown: usize, title: &str, plan: &Plan, out: &mut Vec<u8>) {
    let bold = |out: &mut Vec<u8>, sequence: &[u8]| {
        if plan.colour {
            out.extend_from_slice(sequence);
        }
    };
    bold(out, b"\x1b[1m");
    out.extend_from_slice(b" SOCKETS   ESTAB WAITING SYN-SENT SYN-RECV TIME-WAIT CLOSE-WAIT LISTEN ");
    out.extend_from_slice(title.as_bytes());
    bold(out, b"\x1b[0m");
    out.push(b'\n');
    let name_columns = plan.terminal.map_or(usize::MAX, |t| usize::from(t.columns).saturating_sub(73).max(8));
    for (name, tally) in groups.iter().take(shown) {
        let figures = [
            (tally.sockets, 8),
            (tally.established, 7),
            (tally.waiting, 7),
            (tally.syn_sent, 8),
            (tally.syn_received, 8),
            (tally.time_wait, 9),
            (tally.close_wait, 10),
            (tally.listening, 6),
        ];
        for (figure, width) in figures {
            line::right(out, u64::from(figure), width);
        }
        line::clipped(out, name, name_columns);
        out.push(b'\n');
    }
    let left = groups.len().saturating_sub(shown);
    if left > 0 && plan.terminal.is_some() {
        let sockets: u64 = groups.iter().skip(shown).map(|(_, tally)| u64::from(tally.sockets)).sum();
        out.extend_from_slice(format!("and {left} more with {sockets} sockets; --all shows them\n").as_bytes());
    }
}

/// The groups as rows.
pub fn json(view: &View, plan: &Plan, by: By, output: &mut Output<'_>) {
    let groups = groups(view, plan, by);
    let mut list = json::List::begin(output, plan.format, groups.len());
    for (name, tally) in groups.iter().take(plan.limit) {
        let goes_on = list.row(|out| {
            out.extend_from_slice(b"{\"by\":");
            json::string(out, &title(by).to_ascii_lowercase());
            json::field(out, "name");
            json::string(out, name);
            let figures = [
                ("sockets", tally.sockets),
                ("established", tally.established),
                ("waiting", tally.waiting),
                ("syn_sent", tally.syn_sent),
                ("syn_recv", tally.syn_received),
                ("time_wait", tally.time_wait),
                ("close_wait", tally.close_wait),
                ("listening", tally.listening),
            ];
            for (name, figure) in figures {
                json::count(out, name, u64::from(figure));
            }
            out.push(b'}');
        });
        if !goes_on {
            return;
        }
    }
    list.end(&view.unseen);
}
