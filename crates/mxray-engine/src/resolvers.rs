//! The name servers of this host, each asked directly, side by side: those of the system, those behind a resolver of this
//! machine, and those that a mail server finds in a root directory of its own.
//!
//! One that is dead must not make the examination slow, so all of them together have [`BUDGET`].

use crate::collect::Options;
use crate::parts::{Parts, Pending};
use mxray_model::Seen;
use mxray_model::evidence::{NameServer, ResolvConf, Resolver, ResolverCheck};
use mxray_net::{DnsQuestion, check_resolver, servers_of};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A resolver that serves a mail server answers what it knows by itself within milliseconds.
const BUDGET: Duration = Duration::from_millis(2500);
/// Name servers that are asked: three a file, and few files.
const SERVERS_MAX: usize = 16;

/// Whom an examination asks: those that were chosen, else the system's, or whom these name as the servers of each zone. Sessions and names share what it remembers.
pub(crate) fn of(resolver: &Resolver, options: &Options) -> mxray_net::Resolver {
    let chosen = &options.name_servers;
    let found = if chosen.is_empty() {
        mxray_net::Resolver::system(&resolver.system.resolv_conf).unwrap_or_default()
    } else {
        mxray_net::Resolver::new(chosen.clone())
    };
    match options.names.as_ref().is_some_and(|wish| wish.own_servers) {
        true => mxray_net::Resolver::at_own_servers(found),
        false => found,
    }
}

/// Name servers by their keys.
type Checks = BTreeMap<String, ResolverCheck>;

pub(crate) fn start(parts: &mut Parts<'_>, resolver: &Resolver) -> Pending<Checks> {
    let (servers, until) = (servers(resolver), parts.margin().min(Instant::now() + BUDGET));
    parts.start("name servers", move || check(&servers, until))
}

fn check(servers: &BTreeMap<String, SocketAddr>, until: Instant) -> Checks {
    let questions = DnsQuestion::usual();
    std::thread::scope(|scope| {
        let start = |(key, server): (&String, &SocketAddr)| {
            let (server, questions) = (*server, &questions);
            let thread =
                std::thread::Builder::new().spawn_scoped(scope, move || check_resolver(server, questions, until));
            thread.ok().map(|thread| (key.clone(), thread))
        };
        let running: Vec<_> = servers.iter().filter_map(start).collect();
        running.into_iter().filter_map(|(key, thread)| Some((key, thread.join().ok()?))).collect()
    })
}

/// Everybody whom a program of this host, or a mail server in its root directory, would ask.
fn servers(resolver: &Resolver) -> BTreeMap<String, SocketAddr> {
    let files = std::iter::once(&resolver.system).chain(resolver.roots.values());
    let listed = files.flat_map(|files| match &files.resolv_conf {
        Seen::Value(conf) => servers_of(conf),
        Seen::Absent => servers_of(&ResolvConf::default()),
        Seen::Unknown(_) => Vec::new(),
    });
    let behind = resolver.upstream.value().into_iter().flatten().map(|address| by_default(*address));
    listed.chain(behind).map(|server| (ResolverCheck::key(&server), server)).take(SERVERS_MAX).collect()
}

fn by_default(address: IpAddr) -> SocketAddr {
    let conf = ResolvConf { nameservers: vec![NameServer { address, zone: None, line: 0 }], ..ResolvConf::default() };
    servers_of(&conf).into_iter().next().unwrap_or_else(|| SocketAddr::new(address, 53))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::ResolverFiles;

    fn files(addresses: &[&str]) -> ResolverFiles {
        let line = |(address, line): (&&str, u32)| NameServer { address: address.parse().unwrap(), zone: None, line };
        let nameservers = addresses.iter().zip(1..).map(line).collect();
        ResolverFiles {
            resolv_conf: Seen::Value(ResolvConf { nameservers, ..ResolvConf::default() }),
            ..ResolverFiles::default()
        }
    }

    #[test]
    fn all_whom_somebody_here_asks() {
        let absent = ResolverFiles { resolv_conf: Seen::Absent, ..ResolverFiles::default() };
        let resolver = Resolver {
            system: files(&["127.0.0.53", "192.0.2.1"]),
            upstream: Seen::Value(vec!["192.0.2.53".parse().unwrap()]),
            roots: [("/a".to_owned(), absent), ("/b".to_owned(), files(&["192.0.2.1", "2001:db8::1"]))].into(),
            processes: Seen::Absent,
        };
        let found: Vec<String> = servers(&resolver).into_keys().collect();
        assert_eq!(found, ["127.0.0.1", "127.0.0.53", "192.0.2.1", "192.0.2.53", "2001:db8::1"]);
        // What could not be read names nobody.
        assert!(servers(&Resolver::default()).is_empty());
    }

    #[test]
    fn a_closed_port_is_seen_at_once() {
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let checks = check(&[("x".to_owned(), closed)].into(), until);
        assert_eq!((&checks["x"].answers, checks["x"].refused), (&Seen::Value(false), true));
        assert!(Instant::now() < until);
    }
}
