//! SOCK106: one address or network holds an outlying share of a service's connections.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{AcceptQueue, Count, Load, Purpose, Server, Sockets, WantedListener};
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "SOCK106",
    name: "connection-flood",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "one address or network holds an outlying share of a service's connections",
    page: include_str!("connection_flood.md"),
    check,
};

/// One client with fewer connections than this is no flood: Postfix itself allows 50 to each by default
/// (`smtpd_client_connection_count_limit`).
const CONNECTIONS_MIN: u32 = 50;
/// Without visible harm, only a crowd of this size is worth a word. Gateways and balancers hold many, too; those are
/// usually in `mynetworks`, and few of them hold this many at once.
const CONNECTIONS_MIN_UNHARMED: u32 = 200;

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut looked = 0;
    for (port, load) in sockets.services.iter().filter(|(port, _)| view::is_mail_port(evidence, **port)) {
        looked += 1;
        if let Some(finding) = flood(evidence, sockets, *port, load) {
            judgement.find(finding);
        }
    }
    if looked > 0 && judgement.findings.is_empty() {
        judgement.well("no single address or network crowds out the others");
    }
    Ok(judgement)
}

/// What the crowd does to the service.
#[derive(PartialEq)]
enum Harm {
    /// Others wait or are dropped.
    QueueFull,
    /// No process is left for others.
    LimitReached,
    None,
}

fn flood(evidence: &Evidence, sockets: &Sockets, port: u16, load: &Load) -> Option<Finding> {
    let total = load.established.saturating_add(load.waiting);
    let service = view::service_on(evidence, port);
    if service.is_some_and(|(_, server, wanted)| is_behind_proxy(server, wanted)) {
        return None;
    }
    let crowd = crowd(load, total)?;
    if view::address_of(&crowd.who).is_some_and(|address| address.is_loopback()) {
        return None;
    }
    let limit = service.and_then(|(_, server, wanted)| {
        let children = view::children_of(server, wanted)?;
        if !view::is_dovecot(server) {
            return children.limit;
        }
        // Behind Dovecot's login processes others take the connections over, and one that lives on takes many clients.
        let limit = children.limit.filter(|limit| children.count >= *limit)?;
        Some(limit.saturating_mul(view::dovecot_clients(server, &wanted.command)))
    });
    let harm = harm(sockets, port, load, limit);
    let trusted = service.is_some_and(|(_, server, _)| is_trusted(server, &crowd.who));
    let against_policy = service.is_some_and(|(_, server, wanted)| {
        let allowed: u32 = server.setting_of(wanted, "smtpd_client_connection_count_limit").trim().parse().unwrap_or(0);
        allowed > 0 && crowd.count > allowed && !trusted && view::address_of(&crowd.who).is_some()
    });
    let severity = match harm {
        Harm::QueueFull => Severity::Critical,
        Harm::LimitReached => Severity::Error,
        Harm::None if against_policy => Severity::Warning,
        Harm::None if !trusted && is_smtp(port, service) && crowd.count >= CONNECTIONS_MIN_UNHARMED => {
            Severity::Warning
        }
        Harm::None => return None,
    };
    let share = u64::from(crowd.count) * 100 / u64::from(total.max(1));
    let finding = RULE
        .finding_as(
            severity,
            subject(&crowd.who),
            format!(
                "{} holds {} of {total} connections to port {port} ({share} %){}.",
                crowd.who,
                crowd.count,
                consequence(&harm)
            ),
        )
        .confidence(if harm == Harm::None { 0.6 } else { 0.9 })
        .touches(view::port_scope(port))
        .because(
            format!("{} connections, {} different addresses; most: {}", total, load.peers_distinct, tops(load)),
            "sock_diag",
            view::pointer(["sockets", "value", "services", &port.to_string()]),
        )
        .data("port", port)
        .data("connections", crowd.count)
        .data("connections_all", total)
        .data("share_percent", share)
        .reference("postconf(5), smtpd_client_connection_count_limit");
    Some(fixes(evidence, finding, service.map(|(_, server, _)| server), port, crowd))
}

/// Behind a balancer that speaks the PROXY protocol, or a filter, the peer is that one, whoever the client may be.
fn is_behind_proxy(server: &Server, wanted: &WantedListener) -> bool {
    let proxied = |name: &str| !server.setting_of(wanted, name).trim().is_empty();
    wanted.purpose == Purpose::Internal
        || wanted.overrides.contains_key("haproxy")
        || proxied("smtpd_upstream_proxy_protocol")
        || proxied("postscreen_upstream_proxy_protocol")
}

/// Only among mail clients is a crowd odd in itself: an office reads its mail over hundreds of connections from behind
/// one address.
fn is_smtp(port: u16, service: Option<(&String, &Server, &WantedListener)>) -> bool {
    matches!(port, 25 | 465 | 587 | 2525) || service.is_some_and(|(_, _, wanted)| view::is_public_smtp(wanted))
}

/// The address that holds most, or else the network; `None` where nobody stands out.
fn crowd(load: &Load, total: u32) -> Option<&Count> {
    let outlying = |count: &&Count, percent: u64| {
        count.count >= CONNECTIONS_MIN && u64::from(count.count) * 100 >= u64::from(total) * percent
    };
    let address = load.peers.first().filter(|top| outlying(top, 50));
    address.or_else(|| load.networks.first().filter(|top| outlying(top, 80) && top.count >= 2 * CONNECTIONS_MIN))
}

fn harm(sockets: &Sockets, port: u16, load: &Load, limit: Option<u32>) -> Harm {
    let full = view::listeners_on(sockets, port).iter().any(|(_, l)| l.queue.value().is_some_and(AcceptQueue::is_full));
    if full {
        Harm::QueueFull
    } else if limit.is_some_and(|limit| load.established >= limit) {
        Harm::LimitReached
    } else {
        Harm::None
    }
}

fn consequence(harm: &Harm) -> &'static str {
    match harm {
        Harm::QueueFull => "; others are turned away",
        Harm::LimitReached => "; no process is left for others",
        Harm::None => "",
    }
}

/// One of our own, or one whom no limit is to meet (postconf(5), smtpd_client_event_limit_exceptions).
fn is_trusted(server: &Server, who: &str) -> bool {
    let Some(crowd) = view::prefix(who) else { return false };
    let lists = ["mynetworks", "smtpd_client_event_limit_exceptions"].map(|name| view::list(server.setting(name)));
    lists.into_iter().flatten().filter_map(view::prefix).any(|prefix| prefix.holds(crowd))
}

fn subject(who: &str) -> Subject {
    match who.parse::<IpAddr>() {
        Ok(_) => Subject::new(mxray_model::SubjectKind::Address, who),
        Err(_) => Subject::new(mxray_model::SubjectKind::Network, who),
    }
}

fn tops(load: &Load) -> String {
    load.peers.iter().take(3).map(|peer| format!("{} ({})", peer.who, peer.count)).collect::<Vec<_>>().join(", ")
}

fn fixes(evidence: &Evidence, finding: Finding, server: Option<&Server>, port: u16, crowd: &Count) -> Finding {
    let family = if crowd.who.contains(':') { "ip6" } else { "ip" };
    let block = Fix::here("Look who it is; if it is no partner, block it.")
        .command(format!("mxray sockets --port {port} --peer {}", crowd.who))
        .command(format!("nft insert rule inet filter input {family} saddr {} tcp dport {port} reject", crowd.who))
        .undo("nft -a list chain inet filter input; nft delete rule inet filter input handle N")
        .verify(format!("mxray sockets --port {port} --by remote"));
    let Some(server) = server else { return finding.fix(block) };
    let words = Words::new(evidence, server);
    let allowed = server.setting("smtpd_client_connection_count_limit").trim().to_owned();
    let allowed_is_loose = allowed.parse::<u32>().is_ok_and(|n| n == 0 || n > CONNECTIONS_MIN);
    if server.software == "postfix" && allowed_is_loose {
        return finding
            .fix(words.setting_fix(
                "Limit how many connections one client may hold.",
                "smtpd_client_connection_count_limit",
                "50",
            ))
            .fix(
                Fix::here("Let the running server read it.")
                    .command(words.reload())
                    .verify(words.show("smtpd_client_connection_count_limit")),
            )
            .fix(block);
    }
    finding.fix(block)
}
