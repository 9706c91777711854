//! Can this run here? The kernel's own rules first, then what the next start will ask for, then what was decided. Pure: the same
//! facts and wish give the same reasons in the same order.

use super::confine;
use super::facts::{Asked, Facts, Holder, Holding, Way, endpoint, place};
use super::wish::{LowPorts, Wish, same_unit};
use mxray_model::Seen;
use mxray_model::binding::{Binding, Together, ephemeral, together};
use mxray_model::evidence::{Assignment, Direction, Exposure, FileLine, FilterRule, FilterVerdict};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The answer to one of the two questions: now, and after a restart of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Can {
    Yes,
    No,
    Unknown,
}

impl Can {
    pub fn as_str(self) -> &'static str {
        match self {
            Can::Yes => "yes",
            Can::No => "no",
            Can::Unknown => "unknown",
        }
    }
}

/// The answer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// Now, and not at the next restart.
    NotAfterRestart,
    Unknown,
}

impl Answer {
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::NotAfterRestart => "not_after_restart",
            Answer::Unknown => "unknown",
        }
    }
}

/// What a reason does to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It cannot run.
    Refuses,
    /// Whether it can run cannot be told.
    Hides,
    /// It can, until the next restart.
    RefusesLater,
    /// Whether it can after a restart cannot be told.
    HidesLater,
    /// It can, and something may go wrong.
    Risk,
    /// Good to know.
    Remark,
}

impl Weight {
    pub fn as_str(self) -> &'static str {
        match self {
            Weight::Refuses => "refuses",
            Weight::Hides => "hides",
            Weight::RefusesLater => "refuses_after_restart",
            Weight::HidesLater => "hides_after_restart",
            Weight::Risk => "risk",
            Weight::Remark => "remark",
        }
    }
}

/// One thing that bears on the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Stable, for programs.
    pub code: &'static str,
    pub weight: Weight,
    pub text: String,
    pub at: Option<FileLine>,
    pub unit: Option<String>,
    pub pids: Vec<u32>,
    /// What would help.
    pub remedy: Option<String>,
}

impl Reason {
    pub(super) fn new(code: &'static str, weight: Weight, text: String) -> Reason {
        Reason { code, weight, text, at: None, unit: None, pids: Vec::new(), remedy: None }
    }

    pub(super) fn at(self, at: &FileLine) -> Reason {
        Reason { at: Some(at.clone()), ..self }
    }

    pub(super) fn remedy(self, text: impl Into<String>) -> Reason {
        Reason { remedy: Some(text.into()), ..self }
    }

    fn by(self, holder: &Holder) -> Reason {
        let pids = holder.owners.value().into_iter().flatten().map(|owner| owner.pid).collect();
        Reason { unit: holder.unit.value().cloned(), pids, ..self }
    }
}

/// What was decided, and why.
#[derive(Debug, Clone)]
pub struct Decision {
    pub answer: Answer,
    pub now: Can,
    pub after_restart: Can,
    /// The heaviest first.
    pub reasons: Vec<Reason>,
    pub sockets: Vec<Binding>,
}

/// Decides.
pub fn decide(wish: &Wish, facts: &Facts) -> Decision {
    let sockets = wish.sockets(facts.has_ipv6, facts.bind_v6_only == Seen::Value(true));
    let mut reasons = Vec::new();
    own_limits(wish, facts, &sockets, &mut reasons);
    holders(wish, facts, &sockets, &mut reasons);
    configured(wish, facts, &sockets, &mut reasons);
    declared(wish, facts, &sockets, &mut reasons);
    surroundings(wish, facts, &mut reasons);
    taken_elsewhere(wish, facts, &mut reasons);
    reasons.sort_by_key(|reason| reason.weight);
    let mut once = BTreeSet::new();
    reasons.retain(|reason| once.insert((reason.code, reason.text.clone())));
    let has = |weight: Weight| reasons.iter().any(|reason| reason.weight == weight);
    let one = |refuses: bool, hides: bool| match (refuses, hides) {
        (true, _) => Can::No,
        (false, true) => Can::Unknown,
        (false, false) => Can::Yes,
    };
    let now = one(has(Weight::Refuses), has(Weight::Hides));
    // What has the port now may have gone by then, but nothing says so.
    let after_restart = match now {
        Can::Yes => one(has(Weight::RefusesLater), has(Weight::HidesLater)),
        Can::Unknown if has(Weight::RefusesLater) => Can::No,
        Can::No | Can::Unknown => now,
    };
    let answer = match (now, after_restart) {
        (Can::No, _) => Answer::No,
        (Can::Unknown, _) | (Can::Yes, Can::Unknown) => Answer::Unknown,
        (Can::Yes, Can::No) => Answer::NotAfterRestart,
        (Can::Yes, Can::Yes) => Answer::Yes,
    };
    Decision { answer, now, after_restart, reasons, sockets }
}

/// What the service itself may not do: low ports, addresses that are not here, what its unit forbids.
fn own_limits(wish: &Wish, facts: &Facts, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    low_port(wish, facts, reasons);
    for (place, socket) in sockets.iter().enumerate() {
        address(socket, facts, reasons);
        let others = sockets.iter().skip(place + 1);
        for other in others.filter(|other| together(socket, other) == Together::Refused) {
            let text = format!(
                "EADDRINUSE (Address already in use): its own sockets on {} and {} exclude each other",
                endpoint(socket.address, socket.port),
                endpoint(other.address, other.port)
            );
            reasons.push(Reason::new("own_sockets", Weight::Refuses, text).remedy("one of the two addresses left out"));
        }
    }
    for confinement in &wish.starter.confined {
        confine::judge(confinement, wish, sockets, reasons);
    }
}

/// ip(7): EACCES below net.ipv4.ip_unprivileged_port_start without CAP_NET_BIND_SERVICE, of TCP and UDP, IPv4 and IPv6.
fn low_port(wish: &Wish, facts: &Facts, reasons: &mut Vec<Reason>) {
    let (start, seen) = match &facts.kernel.unprivileged_port_start {
        Seen::Value(start) => (*start, true),
        Seen::Absent | Seen::Unknown(_) => (1024, false),
    };
    if seen && u32::from(wish.port) >= start {
        return;
    }
    let port = wish.port;
    match &wish.starter.low_ports {
        LowPorts::May { .. } => {}
        LowPorts::MayNot { because, .. } | LowPorts::Unknown { why: because, .. } if !seen => {
            let text = format!("net.ipv4.ip_unprivileged_port_start could not be read, and {because}");
            reasons.push(Reason::new("privilege", Weight::Hides, text));
        }
        LowPorts::MayNot { because, at } => {
            let text =
                format!("EACCES (Permission denied): ports below {start} need CAP_NET_BIND_SERVICE, and {because}");
            let unit = wish.starter.unit.as_deref().unwrap_or("its unit");
            let remedy = format!("AmbientCapabilities=CAP_NET_BIND_SERVICE in [Service] of {unit}, or a start as root");
            let reason = Reason::new("privilege", Weight::Refuses, text).remedy(remedy);
            reasons.push(Reason { at: at.clone(), ..reason });
        }
        LowPorts::Unknown { why, needs } => {
            let text = format!("port {port} needs CAP_NET_BIND_SERVICE (below {start}), and {why}");
            reasons.push(Reason::new("privilege", Weight::Hides, text).remedy(needs.clone()));
        }
    }
}

/// ip(7), ipv6(7): EADDRNOTAVAIL for an address that is not here, unless ip_nonlocal_bind is set.
fn address(socket: &Binding, facts: &Facts, reasons: &mut Vec<Reason>) {
    let asked = socket.address;
    if asked.is_ipv6() && !facts.has_ipv6 {
        let text = format!("the kernel has no IPv6: a socket for {asked} gives EAFNOSUPPORT");
        return reasons.push(Reason::new("family", Weight::Refuses, text));
    }
    // A mapped address on a socket that refuses IPv4 is a contradiction to the kernel; we never ask for that.
    let asked = asked.to_canonical();
    if asked.is_unspecified() {
        return;
    }
    if let IpAddr::V6(six) = asked
        && six.is_unicast_link_local()
    {
        let text =
            format!("{asked} is a link-local address: the service must name the interface with it ({asked}%eth0)");
        reasons.push(Reason::new("address_scope", Weight::Risk, text));
    }
    if (asked.is_ipv6() && asked.is_multicast() && socket.protocol == "tcp") || asked == IpAddr::V4([255; 4].into()) {
        let text = format!("{asked} is not the address of one host: nobody can connect to it");
        return reasons.push(Reason::new("address", Weight::Refuses, text));
    }
    // IPv6 wants an address of an interface; IPv4 is content with a local route, which 127.0.0.0/8 has.
    let on_interface = facts.addresses.as_ref().map(|all| all.contains(&asked));
    let local = match (asked, facts.local.get(&asked)) {
        (IpAddr::V4(_), Some(routed @ Seen::Value(_))) => routed.clone(),
        _ => on_interface,
    };
    let (nonlocal, setting) = match asked {
        IpAddr::V4(_) => (&facts.nonlocal_v4, "net.ipv4.ip_nonlocal_bind"),
        IpAddr::V6(_) => (&facts.nonlocal_v6, "net.ipv6.ip_nonlocal_bind"),
    };
    reasons.extend(match (&local, nonlocal) {
        (Seen::Value(true), _) => None,
        (Seen::Value(false), Seen::Value(true)) => {
            let text = format!("{asked} is not an address of this host; {setting} lets the service bind it all the same");
            Some(Reason::new("address_nonlocal", Weight::Risk, text))
        }
        (Seen::Value(false), Seen::Value(false) | Seen::Absent) => {
            let text = format!(
                "EADDRNOTAVAIL (Cannot assign requested address): {asked} is not an address of this host, and {setting} is 0"
            );
            let remedy = format!("the address on an interface, or {setting} = 1 where it moves between hosts");
            Some(Reason::new("address", Weight::Refuses, text).remedy(remedy))
        }
        (Seen::Value(false), Seen::Unknown(blind)) | (Seen::Unknown(blind), _) => {
            let text = format!("whether {asked} can be bound is not known: {}", blind.why());
            Some(Reason::new("address", Weight::Hides, text).remedy(blind.needs()))
        }
        (Seen::Absent, _) => {
            let text = format!("the addresses of this host were not listed, so nothing is known of {asked}");
            Some(Reason::new("address", Weight::Hides, text))
        }
    });
}

fn holders(wish: &Wish, facts: &Facts, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    match &facts.holders {
        Seen::Value(_) => {}
        Seen::Absent => {
            let text = "sockets were not listed".to_owned();
            return reasons.push(Reason::new("sockets", Weight::Hides, text));
        }
        Seen::Unknown(blind) => {
            let text = format!("who has the port now cannot be told: {}", blind.why());
            return reasons.push(Reason::new("sockets", Weight::Hides, text).remedy(blind.needs()));
        }
    }
    for holder in facts.at(wish.port).iter().filter(|holder| holder.binding.protocol == wish.protocol) {
        let meeting: Vec<&Binding> = sockets
            .iter()
            .filter(|socket| together(&alone(&holder.binding), &alone(socket)) == Together::Refused)
            .collect();
        let Some(first) = meeting.first() else {
            reasons.extend(other_family(wish, facts, holder, sockets).map(|reason| reason.by(holder)));
            continue;
        };
        let reason = match holder.state {
            Holding::Listens | Holding::Datagrams { .. } => listening(wish, facts, holder, first),
            Holding::Bound => Some(bound(wish, facts, holder)),
            Holding::Connected { remote, port, closing, way } => connected(holder, (remote, port), closing, way),
        };
        reasons.extend(reason.map(|reason| reason.by(holder)));
    }
}

/// An IPv6 socket that this host connected without a bind is no IPV6_V6ONLY one, so to the kernel it stands in the way of an IPv4
/// wildcard (inet_rcv_saddr_equal), though it never takes a packet of IPv4. With a bind to its address before, it does not. The
/// kernel does not tell which of the two it is.
fn other_family(wish: &Wish, facts: &Facts, holder: &Holder, sockets: &[Binding]) -> Option<Reason> {
    let own = holder.binding.address;
    let made_here = matches!(
        holder.state,
        Holding::Connected { way: Way::Out | Way::Unknown, .. } | Holding::Datagrams { connected: true }
    );
    let wildcard = |socket: &Binding| socket.address.is_ipv4() && socket.address.is_unspecified();
    if !made_here || own.to_canonical().is_ipv4() || !sockets.iter().any(wildcard) || is_own(wish, facts, holder) {
        return None;
    }
    let text = format!(
        "an outgoing IPv6 connection of {} has {}: the kernel refuses 0.0.0.0 (EADDRINUSE) unless that socket takes IPv6 alone, which cannot be seen",
        holder.who(),
        holder.place()
    );
    let remedy = "that connection ended, and the port in net.ipv4.ip_local_reserved_ports";
    Some(Reason::new("connection_v6", Weight::Hides, text).remedy(remedy))
}

/// Without SO_REUSEPORT: do the two meet at all?
fn alone(binding: &Binding) -> Binding {
    Binding { reuse_port: false, ..binding.clone() }
}

/// The service that is asked about has the port already: the holder is it by name, or it is the software that is configured for
/// this service (`submission` of Postfix).
fn is_own(wish: &Wish, facts: &Facts, holder: &Holder) -> bool {
    let unit = holder.unit.value().map(String::as_str);
    let owners = holder.owners.value().into_iter().flatten().map(|owner| owner.name.as_str());
    let names: Vec<&str> = owners.chain(holder.software.iter().map(String::as_str)).collect();
    let by_configuration = |asked: &Asked| {
        let of_software = holder.software.contains(&asked.software)
            || unit.is_some_and(|unit| same_unit(&format!("{}.service", asked.software), unit));
        asked.binding.protocol == wish.protocol && of_software && is_its(wish, asked)
    };
    wish.is(unit, &names) || facts.asked_at(wish.port).iter().any(by_configuration)
}

/// Is this configured listener the service that is asked about?
fn is_its(wish: &Wish, asked: &Asked) -> bool {
    let unit = (!asked.unit.is_empty()).then_some(asked.unit.as_str());
    wish.is(unit, &[&asked.software, &asked.service])
}

fn listening(wish: &Wish, facts: &Facts, holder: &Holder, socket: &Binding) -> Option<Reason> {
    let (who, place) = (holder.who(), holder.place());
    let udp = matches!(holder.state, Holding::Datagrams { .. });
    if is_own(wish, facts, holder) {
        let text = format!("{who} has {place} already: it is the service itself, which gives it up when it restarts");
        return Some(Reason::new("own", Weight::Remark, text));
    }
    let verb = if udp { "has" } else { "listens on" };
    let refused = format!("EADDRINUSE (Address already in use): {who} {verb} {place}");
    if wish.reuse_port && holder.binding.uid == wish.starter.uid {
        let theirs = Binding { reuse_port: true, ..holder.binding.clone() };
        let how = match together(&theirs, socket) {
            Together::Divided => "where a connection goes decides which of the two gets it",
            _ => "the kernel deals connections out between the two",
        };
        if facts.shares(holder) {
            let text = format!("{who} {verb} {place} with SO_REUSEPORT under the same user: both run, and {how}");
            return Some(Reason::new("shared", Weight::Risk, text));
        }
        let text = format!(
            "{who} {verb} {place} under the same user: EADDRINUSE, or if it set SO_REUSEPORT as well, {how}; the kernel does not tell which"
        );
        return Some(Reason::new("maybe_shared", Weight::Hides, text).remedy("the configuration of the other service"));
    }
    let refused = if wish.reuse_port {
        let (theirs, ours) = (holder.binding.uid, wish.starter.uid);
        format!("{refused}; SO_REUSEPORT does not help between users (uid {theirs} and {ours})")
    } else {
        refused
    };
    let remedy = match holder.unit.value() {
        Some(unit) if unit.ends_with(".service") || unit.ends_with(".socket") => {
            Some(format!("another port for one of the two, or `systemctl disable --now {unit}` where it is not needed"))
        }
        _ => Some("another port for one of the two".to_owned()),
    };
    let code = if udp { "udp_socket" } else { "listener" };
    Some(Reason { remedy, ..Reason::new(code, Weight::Refuses, refused) })
}

/// bind(2) succeeds only if both set SO_REUSEADDR, and then whoever listens second is refused: the port is contested either way.
fn bound(wish: &Wish, facts: &Facts, holder: &Holder) -> Reason {
    let who = holder.who();
    if is_own(wish, facts, holder) {
        let text = format!("{who} has bound {} and does not listen: it is the service itself", holder.place());
        return Reason::new("own", Weight::Remark, text);
    }
    if wish.reuse_port && holder.binding.uid == wish.starter.uid {
        let text = format!(
            "{who} has bound {} under the same user without listening: EADDRINUSE unless it set SO_REUSEPORT as well, which the kernel does not tell",
            holder.place()
        );
        return Reason::new("maybe_shared", Weight::Hides, text).remedy("the configuration of the other service");
    }
    let text = format!(
        "EADDRINUSE (Address already in use): {who} has bound {} without listening (if both set SO_REUSEADDR, whoever listens first gets it)",
        holder.place()
    );
    Reason::new("bound", Weight::Refuses, text).remedy("another port, or that program ended")
}

fn connected(holder: &Holder, (remote, port): (IpAddr, u16), closing: bool, way: Way) -> Option<Reason> {
    let who = holder.who();
    let (near, far) =
        (endpoint(holder.binding.address.to_canonical(), holder.binding.port), endpoint(remote.to_canonical(), port));
    let kind = if closing { "a closing connection" } else { "a connection" };
    let by = if holder.inode == 0 { String::new() } else { format!(" of {who}") };
    match way {
        // The listener itself stands among the reasons.
        Way::InListened => None,
        Way::InLeft => {
            let text = format!(
                "{kind}{by} from {far} is left over from a listener that has gone: SO_REUSEADDR, which mail servers set, gets past it"
            );
            Some(Reason::new("connection_left", Weight::Remark, text))
        }
        Way::Out => {
            let text = format!(
                "EADDRINUSE (Address already in use): {kind}{by} from {near} to {far} has the port, and SO_REUSEADDR does not help"
            );
            let wait = if closing { "a minute's patience" } else { "that connection ended" };
            let remedy = format!(
                "{wait}, and the port in net.ipv4.ip_local_reserved_ports, so that no connection takes it again"
            );
            Some(Reason::new("connection", Weight::Refuses, text).remedy(remedy))
        }
        Way::Unknown => {
            let text = format!(
                "{kind}{by} between {near} and {far} has the port: EADDRINUSE if this host opened it; which side did cannot be told"
            );
            Some(Reason::new("connection", Weight::Hides, text).remedy("that connection ended"))
        }
    }
}

fn configured(wish: &Wish, facts: &Facts, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    let meets = |asked: &Asked| {
        sockets.iter().any(|socket| together(&alone(&asked.binding), &alone(socket)) == Together::Refused)
    };
    for asked in facts.asked_at(wish.port).iter().filter(|asked| asked.binding.protocol == wish.protocol) {
        if meets(asked) {
            reasons.push(asked_for(wish, asked, sockets).at(&asked.at));
        }
    }
}

fn asked_for(wish: &Wish, asked: &Asked, sockets: &[Binding]) -> Reason {
    let unit = (!asked.unit.is_empty()).then_some(asked.unit.as_str());
    let what = format!("{} ({}) is configured for {}", asked.software, asked.service, place(&asked.binding));
    let named = |reason: Reason| Reason { unit: unit.map(str::to_owned), ..reason };
    let caution = if asked.from_documentation { " (read by the maker's documentation alone)" } else { "" };
    if is_its(wish, asked) {
        return named(Reason::new("own_configured", Weight::Remark, format!("{what}: it is the service itself")));
    }
    if asked.by_dnat {
        let text =
            format!("{what} by DNAT{caution}: what comes from outside is taken to the container before any listener");
        return named(Reason::new("dnat", Weight::Refuses, text).remedy("another published port for the container"));
    }
    let shared = |socket: &Binding| matches!(together(&asked.binding, socket), Together::Shared | Together::Divided);
    if sockets.iter().any(shared) {
        let text = format!(
            "{what} with SO_REUSEPORT{caution}: at the next restart both run, and the kernel divides connections"
        );
        return named(Reason::new("shared_configured", Weight::Risk, text));
    }
    let loses = "whichever starts second gets EADDRINUSE";
    let remedy = format!("another port for one of the two: {}", asked.at);
    named(match (&asked.at_boot, &asked.running) {
        (_, Seen::Value(true)) => {
            let text = format!("{what} and runs{caution}: at its next restart {loses}");
            Reason::new("configured", Weight::RefusesLater, text).remedy(remedy)
        }
        (Seen::Value(by), _) => {
            let text = format!("{what} and starts at boot ({by}){caution}: at the next restart {loses}");
            Reason::new("configured", Weight::RefusesLater, text).remedy(remedy)
        }
        (Seen::Absent, _) => {
            let text = format!("{what}{caution}; nothing starts it");
            Reason::new("configured_off", Weight::Remark, text)
        }
        (Seen::Unknown(blind), _) => {
            let text = format!("{what}{caution}; whether it starts at boot is not known: {}", blind.why());
            Reason::new("configured", Weight::HidesLater, text).remedy(blind.needs())
        }
    })
}

/// What the operator decided: the assignments file.
fn declared(wish: &Wish, facts: &Facts, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    let assignments = match &facts.assignments {
        Seen::Value(assignments) => assignments,
        Seen::Absent => return,
        Seen::Unknown(blind) => {
            let text = format!("the assignments file could not be used: {}", blind.why());
            return reasons.push(Reason::new("assignments", Weight::HidesLater, text).remedy(blind.needs()));
        }
    };
    for forbidden in assignments.forbidden.values() {
        let harmless = forbidden.except_loopback && sockets.iter().all(|socket| is_loopback(socket.address));
        if forbidden.port != wish.port || forbidden.protocol != wish.protocol || harmless {
            continue;
        }
        let off = if forbidden.except_loopback { " off loopback" } else { "" };
        let why = if forbidden.reason.is_empty() { String::new() } else { format!(": {}", forbidden.reason) };
        let text = format!("nobody may listen on port {}/{}{off}{why}", wish.port, wish.protocol);
        reasons.push(Reason::new("forbidden", Weight::Refuses, text).at(&forbidden.at));
    }
    for (name, assignment) in &assignments.services {
        reasons.extend(assigned(wish, name, assignment, sockets));
    }
}

fn assigned(wish: &Wish, name: &str, assignment: &Assignment, sockets: &[Binding]) -> Option<Reason> {
    let (first, last) = assignment.ports;
    if assignment.protocol != wish.protocol || !(first..=last).contains(&wish.port) || !meets(assignment, sockets) {
        return None;
    }
    let unit = (!assignment.owner.unit.is_empty()).then_some(assignment.owner.unit.as_str());
    let contact = match assignment.contact.as_str() {
        "" => String::new(),
        contact => format!(", contact {contact}"),
    };
    let purpose = match assignment.purpose.as_str() {
        "" => String::new(),
        purpose => format!(" ({purpose})"),
    };
    if wish.is(unit, &[name]) {
        let text = format!("the port is assigned to this service{purpose}{contact}");
        let wider = wider(&wish.exposure, &assignment.exposure);
        if wider {
            let text = format!("{text}, but only for {}", exposure_words(&assignment.exposure));
            return Some(Reason::new("assigned_narrower", Weight::Refuses, text).at(&assignment.at));
        }
        return Some(Reason::new("own_assigned", Weight::Remark, text).at(&assignment.at));
    }
    let range = if first == last { String::new() } else { format!("the range {first} to {last} ") };
    let text = match range.as_str() {
        "" => format!("the port is assigned to {name}{purpose}{contact}"),
        range => format!("{range}is assigned to {name}{purpose}{contact}, which may choose this port"),
    };
    Some(Reason::new("assigned", Weight::Refuses, text).at(&assignment.at).remedy("another port, or the entry changed"))
}

/// The entry's addresses and the service's sockets have one in common. No addresses: any.
fn meets(assignment: &Assignment, sockets: &[Binding]) -> bool {
    assignment.addresses.is_empty()
        || sockets.iter().any(|socket| {
            assignment.addresses.iter().any(|address| {
                let theirs = Binding::new(&socket.protocol, *address, socket.port);
                together(&theirs, &alone(socket)) == Together::Refused
            })
        })
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Would it be reached from more than was decided?
fn wider(wished: &Exposure, declared: &Exposure) -> bool {
    rank(wished) > rank(declared)
}

fn rank(exposure: &Exposure) -> u8 {
    match exposure {
        Exposure::Loopback => 0,
        Exposure::Private | Exposure::Prefixes(_) => 1,
        Exposure::Public => 2,
    }
}

/// For a sentence.
pub fn exposure_words(exposure: &Exposure) -> String {
    match exposure {
        Exposure::Loopback => "loopback".to_owned(),
        Exposure::Private => "private networks".to_owned(),
        Exposure::Public => "everybody".to_owned(),
        Exposure::Prefixes(prefixes) => prefixes.join(", "),
    }
}

/// What takes the port on other days: connections from here, and names that promise it to another service.
fn surroundings(wish: &Wish, facts: &Facts, reasons: &mut Vec<Reason>) {
    match ephemeral(wish.port, &facts.kernel) {
        Seen::Value(range) => {
            let text = format!(
                "it lies in net.ipv4.ip_local_port_range ({} to {}): a connection from this host may have it when the service starts",
                range.first, range.last
            );
            let remedy = format!("{} in net.ipv4.ip_local_reserved_ports, or a port outside the range", wish.port);
            reasons.push(Reason::new("ephemeral", Weight::Risk, text).remedy(remedy));
        }
        Seen::Absent => {}
        Seen::Unknown(blind) => {
            let text = format!("whether connections from here may take the port is not known: {}", blind.why());
            reasons.push(Reason::new("ephemeral", Weight::Risk, text).remedy(blind.needs()));
        }
    }
    if let Some(name) = facts.names.get(&wish.port)
        && !wish.service.eq_ignore_ascii_case(name)
    {
        let text = format!("/etc/services has port {} as {name}: people and tools will take it for that", wish.port);
        reasons.push(Reason::new("registered", Weight::Remark, text));
    }
    let unread = facts.unseen.iter().filter(|unseen| unseen.what.starts_with(CONFIGURATION));
    for unseen in unread {
        let text =
            format!("what asks for the port at the next restart is not all known: {}: {}", unseen.what, unseen.why);
        let reason = Reason::new("unread", Weight::HidesLater, text);
        reasons.push(if unseen.needs.is_empty() { reason } else { reason.remedy(unseen.needs.clone()) });
    }
}

/// A rule of this host's own packet filters that gives the port's packets another destination: a listener would see none of them.
fn taken_elsewhere(wish: &Wish, facts: &Facts, reasons: &mut Vec<Reason>) {
    for answer in facts.firewall.value().into_iter().flat_map(|firewall| firewall.answers.values()) {
        let packet = &answer.packet;
        let asked = packet.direction == Direction::In
            && packet.destination_port == Some(wish.port)
            && packet.protocol == wish.protocol;
        if let (true, FilterVerdict::Unknown { why }) = (asked, &answer.verdict) {
            let by = answer.by.as_ref().map_or_else(String::new, |rule| format!(", at {}", rule_words(rule)));
            let to = endpoint(packet.destination, wish.port);
            let text = format!("whether packets to {to} come to a listener here is not known: {}{by}", why.why());
            reasons.push(Reason::new("filter_unknown", Weight::Risk, text));
        }
        let Some(to) = answer.rewritten_to.as_ref().filter(|_| asked) else { continue };
        let port = to.port.unwrap_or(wish.port);
        let place = to.address.map_or_else(|| format!("port {port}"), |address| endpoint(address, port));
        let rule = &to.by;
        let text = format!(
            "packets to {} are taken to {place} by {}: no listener here gets them",
            endpoint(packet.destination, wish.port),
            rule_words(rule)
        );
        reasons.push(
            Reason::new("dnat_rule", Weight::Refuses, text)
                .remedy("that rule removed where it is managed, or another port"),
        );
    }
}

/// A rule as a person finds it again.
pub fn rule_words(rule: &FilterRule) -> String {
    let own =
        if rule.text.is_empty() { format!("rule {}", rule.position) } else { format!("the rule `{}`", rule.text) };
    format!("{own} of chain {} ({})", rule.chain, rule.table)
}

/// How an unseen thing begins that could ask for a port.
pub const CONFIGURATION: &str = "configuration of ";
