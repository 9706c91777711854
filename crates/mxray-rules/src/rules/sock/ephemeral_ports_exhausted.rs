//! SOCK108: no local port is left towards one destination.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Endpoint, Kernel, PortRange, Server, Towards};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "SOCK108",
    name: "ephemeral-ports-exhausted",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "no local port is left towards one destination",
    page: include_str!("ephemeral_ports_exhausted.md"),
    check,
};

/// Where mail goes out: relay, submission, LMTP.
const MAIL_OUT: [u16; 5] = [25, 587, 465, 24, 2525];

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let range = *view::known(&evidence.kernel.local_ports, &RULE)?;
    let usable = usable_ports(range, &evidence.kernel);
    let mut judgement = Judgement::nothing();
    let (mut most, mut blind) = (0, None);
    for (index, towards) in sockets.towards.iter().enumerate() {
        let held = ports_held(towards, &evidence.kernel);
        most = most.max(towards.ports_used);
        if is_exhausted(held, usable) {
            judgement.find(exhausted(evidence, index, towards, held, usable, range));
        } else if is_exhausted(towards.ports_used, usable) {
            // Enough only if TIME-WAIT counts, and whether it does is not known.
            blind = blind.or_else(|| evidence.kernel.tw_reuse.blind());
        } else if towards.ports_used > usable / 2 {
            // A reserved range may have made the rest of it unusable.
            blind = blind.or_else(|| evidence.kernel.reserved_ports.blind());
        }
    }
    match blind {
        Some(reason) => judgement.blind(&RULE, reason),
        None if judgement.findings.is_empty() => {
            judgement.well(format!("local ports towards any one destination: at most {most} of {usable} in use"));
        }
        None => {}
    }
    Ok(judgement)
}

/// Two in a hundred is what is gone before the next look; of a tiny range it is none at all.
fn is_exhausted(used: u32, usable: u32) -> bool {
    usable.saturating_sub(used) <= usable / 50
}

fn usable_ports(range: PortRange, kernel: &Kernel) -> u32 {
    let reserved = kernel.reserved_ports.value().map_or(&[][..], Vec::as_slice);
    let taken: u32 = reserved
        .iter()
        .filter(|r| r.first <= range.last && r.last >= range.first)
        .map(|r| PortRange { first: r.first.max(range.first), last: r.last.min(range.last) }.ports())
        .sum();
    range.ports().saturating_sub(taken)
}

/// With `tcp_tw_reuse` = 1 the kernel gives a port in TIME-WAIT to a new connection; 2 does so on loopback alone. Where
/// the setting is not known, what TIME-WAIT holds is left out.
fn ports_held(towards: &Towards, kernel: &Kernel) -> u32 {
    let reuse = match &kernel.tw_reuse {
        Seen::Value(1) | Seen::Unknown(_) => true,
        Seen::Value(2) => towards.destination.is_loopback(),
        Seen::Value(_) | Seen::Absent => false,
    };
    if reuse { towards.ports_used.saturating_sub(towards.time_wait) } else { towards.ports_used }
}

fn is_mail(evidence: &Evidence, towards: &Towards) -> bool {
    let servers = evidence.servers.value();
    let helper = servers.is_some_and(|servers| {
        servers.values().flat_map(|server| server.helpers.values()).any(|helper| {
            matches!(&helper.endpoint, Endpoint::Inet { host, port }
                if *port == towards.port && host.parse() == Ok(towards.destination))
        })
    });
    let by_unit = servers.is_some_and(|servers| {
        servers.values().any(|server| towards.units.iter().any(|unit| unit.who.contains(server.software.as_str())))
    });
    MAIL_OUT.contains(&towards.port) || helper || by_unit
}

fn exhausted(
    evidence: &Evidence,
    index: usize,
    towards: &Towards,
    used: u32,
    usable: u32,
    range: PortRange,
) -> Finding {
    let destination = std::net::SocketAddr::new(towards.destination, towards.port);
    let severity = if is_mail(evidence, towards) { Severity::Critical } else { Severity::Warning };
    let units: Vec<String> = towards.units.iter().map(|unit| format!("{} ({})", unit.who, unit.count)).collect();
    let left = usable.saturating_sub(used);
    let what = if left == 0 { "No local port is left".to_owned() } else { format!("Only {left} local ports are left") };
    let then = if left == 0 { "new connections fail" } else { "without one, a new connection fails" };
    let by = if units.is_empty() { String::new() } else { format!(", by {}", units.join(", ")) };
    let finding = RULE
        .finding_as(
            severity,
            Subject::endpoint(format!("{destination}/tcp")),
            format!(
                "{what} from {} to {destination}: {used} of {usable} are in use; {then} with EADDRNOTAVAIL.",
                towards.source
            ),
        )
        .confidence(0.95)
        .because(
            format!("{used} connections to {destination}, {} of them in TIME-WAIT{by}.", towards.time_wait),
            "sock_diag",
            view::pointer(["sockets", "value", "towards", &index.to_string()]),
        )
        .because(
            format!("net.ipv4.ip_local_port_range = {} {} ({usable} usable)", range.first, range.last),
            "/proc/sys/net/ipv4",
            view::pointer(["kernel", "local_ports"]),
        )
        .data("source", towards.source.to_string())
        .data("destination", destination.to_string())
        .data("ports_used", used)
        .data("ports_usable", usable)
        .data("time_wait", towards.time_wait)
        .reference("ip(7), ip_local_port_range")
        .reference("RFC 6056");
    fixes(evidence, finding, towards, range)
}

fn fixes(evidence: &Evidence, finding: Finding, towards: &Towards, range: PortRange) -> Finding {
    let mut finding = finding;
    if range.first > 10_240 || range.ports() < 20_000 {
        finding = finding.fix(
            Fix::here("Widen the range; it takes effect at once.")
                .command("sysctl -w net.ipv4.ip_local_port_range='10240 65535'")
                .config("/etc/sysctl.d/60-mail.conf", None, "net.ipv4.ip_local_port_range = 10240 65535")
                .undo(format!("sysctl -w net.ipv4.ip_local_port_range='{} {}'", range.first, range.last))
                .verify(format!("mxray sockets --peer {} --by state", towards.destination)),
        );
    }
    let mostly_time_wait = towards.time_wait.saturating_mul(2) > towards.ports_used;
    if let (true, Seen::Value(reuse @ (0 | 2))) = (mostly_time_wait, &evidence.kernel.tw_reuse) {
        finding = finding.fix(
            Fix::here("Most of them are in TIME-WAIT: let the kernel reuse these for new outgoing connections.")
                .command("sysctl -w net.ipv4.tcp_tw_reuse=1")
                .config("/etc/sysctl.d/60-mail.conf", None, "net.ipv4.tcp_tw_reuse = 1")
                .undo(format!("sysctl -w net.ipv4.tcp_tw_reuse={reuse}"))
                .verify(format!("mxray sockets --peer {} --by state", towards.destination)),
        );
    }
    match sender(evidence, towards).and_then(|server| Some((server, relay_host(server)?))) {
        Some((server, relay)) if mostly_time_wait => {
            let words = Words::new(evidence, server);
            finding.fix(
                Fix::here("Let Postfix keep connections to it open and use them again.")
                    .command(words.set("smtp_connection_cache_destinations", relay))
                    .command(words.reload())
                    .undo(words.set("smtp_connection_cache_destinations", ""))
                    .verify(format!("mxray sockets --peer {} --by state", towards.destination)),
            )
        }
        _ => finding.fix(
            Fix::here("Make the program that holds them reuse its connections, or give it more source addresses.")
                .command(format!("mxray sockets --peer {} --port {} --by unit", towards.destination, towards.port))
                .verify(format!("mxray sockets --peer {} --by state", towards.destination)),
        ),
    }
}

/// The Postfix that sends there: the only one here, or none of several.
fn sender<'a>(evidence: &'a Evidence, towards: &Towards) -> Option<&'a Server> {
    let by_postfix = towards.units.first().is_none_or(|unit| unit.who.contains("postfix"));
    // A mailbox server sends nothing.
    let mut servers =
        view::enabled(evidence.servers.value()?).map(|(_, server)| server).filter(|server| !view::is_dovecot(server));
    let server = servers.next().filter(|server| server.software == "postfix")?;
    (by_postfix && MAIL_OUT.contains(&towards.port) && servers.next().is_none()).then_some(server)
}

/// The name under which the connection cache knows the relay host: without brackets and port (postconf(5)).
fn relay_host(server: &Server) -> Option<&str> {
    let value = server.setting("relayhost").trim();
    let name = match value.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => value.split(':').next()?,
    };
    (!name.is_empty()).then_some(name)
}
