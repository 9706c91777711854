//! From how far a port is answered, wherever it is stopped.

use super::net::{Net, SERVER_AT, client, router, server};
use crate::dial::{DialPlan, dial};
use crate::distance::{distance, explain};
use crate::examine::{Beyond, Examination, Tools, examine};
use mxray_model::Seen;
use mxray_model::evidence::{
    DialOutcome, Distance, EndpointWhy, ExaminedAddress, HopAnswer, Purpose, SessionProtocol, TlsMode, WayAnswer,
};
use mxray_model::session::Depth;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const REFERENCES: [u16; 2] = [80, 443];

fn way(net: &Net, port: u16, ipv4: bool) -> Distance {
    let peer = SocketAddr::new(server(ipv4), port);
    let seen = net.within("client", || distance(peer, None, &REFERENCES, Instant::now() + LONG));
    match seen {
        Seen::Value(distance) => distance,
        unexpected => panic!("{unexpected:?}"),
    }
}

fn hops(to: u8, ipv4: bool) -> Vec<HopAnswer> {
    (1..=to).map(|ttl| HopAnswer { ttl, from: router(usize::from(ttl), ipv4) }).collect()
}

fn icmp_from(distance: &Distance) -> Option<IpAddr> {
    match &distance.answer {
        Seen::Value(WayAnswer::Icmp(icmp)) => Some(icmp.from),
        _ => None,
    }
}

#[test]
fn an_open_way_has_all_its_hops() {
    let Some(net) = Net::make("an_open_way_has_all_its_hops") else { return };
    for ipv4 in [true, false] {
        let _reference = net.listen("server", 443, ipv4);
        let _listener = net.listen("server", 25, ipv4);
        let open = way(&net, 25, ipv4);
        assert_eq!(open.hops, hops(3, ipv4));
        assert_eq!((&open.host_at, open.reference), (&Seen::Value(SERVER_AT), Some(443)));
        assert_eq!(open.answer, Seen::Value(WayAnswer::Accepted));
        assert_eq!(open.answered_at, Seen::Value(SERVER_AT));
        // The destination itself refuses: as far away as the destination is.
        let closed = way(&net, 26, ipv4);
        assert_eq!((&closed.answer, &closed.is_full()), (&Seen::Value(WayAnswer::Reset), &Seen::Value(true)));
        assert!(closed.asked_to <= SERVER_AT + 4, "{closed:?}");
    }
}

#[test]
fn a_filter_on_the_way_is_nearer_than_the_host() {
    let Some(net) = Net::make("a_filter_on_the_way_is_nearer_than_the_host") else { return };
    let rule = "tcp dport 25 drop; tcp dport 465 reject with icmpx admin-prohibited; \
                tcp dport 587 reject with tcp reset; tcp dport 2525 reject with icmpx port-unreachable";
    net.nft("r2", "filter", "forward", rule);
    for ipv4 in [true, false] {
        let _reference = net.listen("server", 443, ipv4);
        let dropped = way(&net, 25, ipv4);
        assert_eq!(dropped.answer, Seen::Absent);
        assert_eq!((&dropped.answered_at, &dropped.host_at), (&Seen::Absent, &Seen::Value(SERVER_AT)));
        // The TTL is looked at before the filter: r2 answers still.
        assert_eq!(dropped.hops, hops(2, ipv4));
        let forbidden = way(&net, 465, ipv4);
        assert_eq!(icmp_from(&forbidden), Some(router(2, ipv4)), "{forbidden:?}");
        let reset = way(&net, 587, ipv4);
        assert_eq!(reset.answer, Seen::Value(WayAnswer::Reset));
        assert_eq!((&reset.answered_at, &reset.is_full()), (&Seen::Value(3), &Seen::Value(false)));
        // Routers limit their errors; what was not answered is asked again.
        let unreachable = way(&net, 2525, ipv4);
        assert_eq!(icmp_from(&unreachable), Some(router(2, ipv4)), "{unreachable:?}");
    }
}

#[test]
fn a_proxy_answers_from_where_it_is() {
    let Some(net) = Net::make("a_proxy_answers_from_where_it_is") else { return };
    net.nft("r2", "nat", "prerouting", "tcp dport 25 redirect to :2526");
    net.nft("r2", "filter", "prerouting", "tcp dport 587 drop");
    for ipv4 in [true, false] {
        let _reference = net.listen("server", 443, ipv4);
        let _proxy = net.listen("r2", 2526, ipv4);
        let proxied = way(&net, 25, ipv4);
        assert_eq!(proxied.answer, Seen::Value(WayAnswer::Accepted));
        assert_eq!((&proxied.answered_at, &proxied.host_at), (&Seen::Value(2), &Seen::Value(SERVER_AT)));
        let dropped = way(&net, 587, ipv4);
        assert_eq!((&dropped.answer, dropped.hops), (&Seen::Absent, hops(1, ipv4)));
    }
}

#[test]
fn what_this_host_stops_ends_at_once() {
    let Some(net) = Net::make("what_this_host_stops_ends_at_once") else { return };
    let rule =
        "tcp dport 25 drop; tcp dport 465 reject with icmpx port-unreachable; tcp dport 587 reject with tcp reset";
    net.nft("client", "filter", "output", rule);
    for ipv4 in [true, false] {
        let _reference = net.listen("server", 443, ipv4);
        let dropped = way(&net, 25, ipv4);
        assert_eq!((&dropped.answer, dropped.hops.last().map(|hop| hop.ttl)), (&Seen::Absent, Some(3)));
        let refused = way(&net, 465, ipv4);
        assert_eq!((icmp_from(&refused), &refused.answered_at), (Some(client(ipv4)), &Seen::Value(1)));
        let reset = way(&net, 587, ipv4);
        assert_eq!((&reset.answer, &reset.answered_at), (&Seen::Value(WayAnswer::Reset), &Seen::Value(1)));
    }
}

#[test]
fn without_a_port_that_answers_the_distance_is_unknown() {
    let Some(net) = Net::make("without_a_port_that_answers_the_distance_is_unknown") else { return };
    net.nft("server", "filter", "input", "tcp dport 465 reject with icmpx port-unreachable");
    let closed = way(&net, 25, true);
    assert_eq!((&closed.answer, &closed.answered_at), (&Seen::Value(WayAnswer::Reset), &Seen::Value(SERVER_AT)));
    assert!(closed.is_full().blind().is_some());
    // An error that the host itself sends says where it is.
    let refused = way(&net, 465, true);
    assert_eq!((icmp_from(&refused), &refused.is_full()), (Some(server(true)), &Seen::Value(true)));
}

#[test]
fn only_what_left_this_host_has_a_way() {
    let Some(net) = Net::make("only_what_left_this_host_has_a_way") else { return };
    net.ip("client", "route add unreachable 10.78.1.0/24");
    let explained = |peer: &str| {
        let peer: SocketAddr = peer.parse().unwrap();
        net.within("client", || {
            let until = Instant::now() + LONG;
            let (mut seen, _) = dial(DialPlan { peer, source: None }, until);
            explain(&mut seen, None, &REFERENCES, until);
            seen
        })
    };
    let refused = explained(&format!("{}:25", server(true)));
    assert_eq!(refused.outcome, DialOutcome::Refused);
    assert_eq!(refused.distance.value().map(|way| way.answered_at.clone()), Some(Seen::Value(SERVER_AT)));
    for own in ["10.78.1.9:25".to_owned(), format!("{}:25", client(true)), "127.0.0.1:25".to_owned()] {
        let seen = explained(&own);
        assert!(seen.distance.blind().is_some(), "{seen:?}");
    }
}

/// The server as an exchanger of somebody's mail, from the client.
fn exchanger(net: &Net, port: u16, why: EndpointWhy, patience: Duration) -> ExaminedAddress {
    let look = || {
        let examination = Examination {
            host: "mx.example.org".to_owned(),
            port,
            protocol: SessionProtocol::Smtp,
            tls: TlsMode::Starttls,
            purpose: Purpose::Relay,
            why: [why].into(),
            depth: Depth::Connect,
            ehlo: "mail.example.net".to_owned(),
            reference_name: None,
            source: None,
            addresses: Some(vec![server(true)]),
            auth: None,
            envelope: None,
            beyond: Beyond::default(),
            until: Instant::now() + patience,
        };
        examine(&examination, &Tools::default()).0.addresses.into_values().next().unwrap()
    };
    net.within("client", look)
}

#[test]
fn whoever_takes_our_mail_and_does_not_answer_is_looked_into() {
    let Some(net) = Net::make("whoever_takes_our_mail_and_does_not_answer_is_looked_into") else { return };
    net.nft("r2", "filter", "forward", "tcp dport 26 drop");
    let _reference = net.listen("server", 443, true);
    let exchanges = || EndpointWhy::Exchanger { domain: "example.org".to_owned(), preference: 10 };
    let outcome = |seen: &ExaminedAddress, port: &str| seen.compared.get(port).map(|dial| dial.outcome.clone());

    let closed = exchanger(&net, 25, exchanges(), LONG);
    assert_eq!(closed.dial.outcome, DialOutcome::Refused);
    assert_eq!(outcome(&closed, "443"), Some(DialOutcome::Connected));
    assert_eq!(closed.dial.distance.value().map(Distance::is_full), Some(Seen::Value(true)));

    // While a silent port is waited for, not behind it.
    let patience = Duration::from_secs(10);
    let silent = exchanger(&net, 26, exchanges(), patience);
    assert!(matches!(silent.dial.outcome, DialOutcome::TimedOut { .. }), "{silent:?}");
    assert_eq!(outcome(&silent, "443"), Some(DialOutcome::Connected));
    let way = silent.dial.distance.value().unwrap();
    assert_eq!((&way.answered_at, &way.hops), (&Seen::Absent, &hops(2, true)));

    // An own service is not: nothing but what was to be dialled is dialled.
    let own = EndpointWhy::Own { server: "postfix".to_owned(), wanted: "smtp/inet".to_owned() };
    let own = exchanger(&net, 25, own, LONG);
    assert_eq!((own.dial.outcome, own.compared.len()), (DialOutcome::Refused, 0));
    assert!(own.dial.distance.blind().is_some());
}
