//! Name servers that misbehave, on 127.0.0.1, and what is said of them.

mod repeated;
mod unreadable;

use super::*;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, CNAME, MX, SOA, TXT};
use hickory_proto::rr::{RData, Record};
use mxray_model::evidence::{DnssecAnswer, NameServer, RecordData, Transport};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) type Udp = dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync;
pub(crate) type Tcp = dyn Fn(&mut TcpStream, &[u8]) + Send + Sync;

/// A server for one test; it ends with it.
pub(crate) struct Server {
    pub address: SocketAddr,
    questions: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Both wait for the next caller.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", self.address));
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub(crate) fn server(udp: Box<Udp>, tcp: Option<Box<Tcp>>) -> Server {
    let (socket, listener) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // The same port has to be free for TCP.
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
            break (socket, listener);
        }
    };
    let address = socket.local_addr().unwrap();
    let (questions, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, end) = (Arc::clone(&questions), Arc::clone(&over));
    let mut threads = vec![std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if end.load(Ordering::SeqCst) {
                break;
            }
            count.fetch_add(1, Ordering::SeqCst);
            for packet in udp(&buffer[..length]) {
                let _ = socket.send_to(&packet, from);
            }
        }
    })];
    if let Some(tcp) = tcp {
        let end = Arc::clone(&over);
        threads.push(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut asked).is_ok() {
                    tcp(&mut stream, &asked);
                }
            }
        }));
    }
    Server { address, questions, over, threads }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn name(text: &str) -> Name {
    names::read(text).unwrap()
}

/// The beginning of an honest answer.
fn reply(asked: &[u8]) -> Message {
    let asked = Message::from_vec(asked).unwrap();
    let mut message = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    message.add_queries(asked.queries.iter().cloned());
    message.metadata.recursion_available = true;
    message
}

pub(crate) fn with(asked: &[u8], records: &[(&str, RData)]) -> Vec<u8> {
    let mut message = reply(asked);
    for (owner, data) in records {
        message.add_answer(Record::from_rdata(name(owner), 300, data.clone()));
    }
    message.to_vec().unwrap()
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

fn alias(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

pub(crate) fn code(asked: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut message = reply(asked);
    message.metadata.response_code = code;
    message.to_vec().unwrap()
}

/// Answers A questions for any name.
fn honest() -> Server {
    server(Box::new(|asked| vec![with(asked, &[(&asked_name(asked), a(1))])]), None)
}

pub(crate) fn asked_name(asked: &[u8]) -> String {
    names::shown(Message::from_vec(asked).unwrap().queries[0].name())
}

fn ask_one(server: &Server, kind: &str, name: &str) -> Lookup {
    Resolver::new(vec![server.address]).lookup(kind, name, soon())
}

fn silent() -> Server {
    server(Box::new(|_| Vec::new()), None)
}

/// An address on which nobody listens: one that nobody else uses, so that nobody takes the port.
fn closed() -> SocketAddr {
    UdpSocket::bind("127.25.1.4:0").unwrap().local_addr().unwrap()
}

fn addresses(lookup: &Lookup) -> Vec<String> {
    lookup.addresses().value().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn an_answer_is_taken() {
    let server = honest();
    let lookup = ask_one(&server, "a", "Mail.Example.ORG.");
    assert_eq!((lookup.outcome.clone(), addresses(&lookup)), (DnsOutcome::Found, vec!["192.0.2.1".to_owned()]));
    assert_eq!((lookup.kind.as_str(), lookup.name.as_str()), ("A", "Mail.Example.ORG"));
    assert_eq!((lookup.records[0].ttl_s, lookup.tries.len()), (300, 1));
    assert_eq!(lookup.tries[0].rcode, Seen::Value("NOERROR".to_owned()));
}

#[test]
fn nothing_there_and_no_such_name_are_two_things() {
    let server = server(
        Box::new(|asked| match asked_name(asked).as_str() {
            "none.example" => vec![code(asked, ResponseCode::NXDomain)],
            _ => vec![code(asked, ResponseCode::NoError)],
        }),
        None,
    );
    assert_eq!(ask_one(&server, "MX", "none.example").outcome, DnsOutcome::NoSuchName);
    assert_eq!(ask_one(&server, "MX", "empty.example").outcome, DnsOutcome::NoData);
}

#[test]
fn refusals_are_asked_of_the_next_and_kept() {
    let refusing = server(Box::new(|asked| vec![code(asked, ResponseCode::ServFail)]), None);
    let good = honest();
    let lookup = Resolver::new(vec![refusing.address, good.address]).lookup("A", "x.example", soon());
    assert_eq!(lookup.outcome, DnsOutcome::Found);
    assert_eq!(lookup.tries[0].rcode, Seen::Value("SERVFAIL".to_owned()));
    let alone = ask_one(&refusing, "A", "x.example");
    assert_eq!(alone.outcome, DnsOutcome::Refused { rcode: "SERVFAIL".to_owned() });
    // A refusal may be of the moment; and once more without validation, which tells why.
    assert_eq!(alone.tries.iter().map(|one| one.unchecked).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(alone.fails_validation(), Some(false));
    assert!(alone.found().blind().is_some());
}

#[test]
fn a_validation_that_fails_is_told_from_servers_that_do() {
    let validating = server(
        Box::new(|asked| {
            let unchecked = Message::from_vec(asked).unwrap().metadata.checking_disabled;
            vec![if unchecked { with(asked, &[("x.example", a(1))]) } else { code(asked, ResponseCode::ServFail) }]
        }),
        None,
    );
    let lookup = ask_one(&validating, "A", "x.example");
    assert_eq!(lookup.outcome, DnsOutcome::Refused { rcode: "SERVFAIL".to_owned() });
    assert!(lookup.records.is_empty(), "what was not validated is not the answer");
    assert_eq!(lookup.fails_validation(), Some(true));
}

#[test]
fn a_dead_first_server_is_passed_over_and_asked_last_from_then_on() {
    let (dead, good) = (silent(), honest());
    let resolver = Resolver::new(vec![dead.address, good.address]);
    let lookup = resolver.lookup("A", "x.example", soon());
    assert_eq!(lookup.outcome, DnsOutcome::Found);
    assert_eq!(lookup.tries.iter().map(|one| one.trouble).collect::<Vec<_>>(), [Some(DnsTrouble::Silent), None]);
    let next = resolver.lookup("A", "y.example", soon());
    assert_eq!(next.tries.iter().map(|one| one.server).collect::<Vec<_>>(), [good.address]);
}

#[test]
fn nobody_at_all() {
    let lookup = Resolver::new(vec![closed()]).lookup("A", "x.example", soon());
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }));
    assert!(lookup.tries.iter().all(|one| one.trouble == Some(DnsTrouble::PortClosed)), "{lookup:?}");
    let dead = silent();
    let until = Instant::now() + Duration::from_millis(300);
    let lookup = Resolver::new(vec![dead.address]).lookup("A", "x.example", until);
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }));
    assert!(lookup.tries.iter().all(|one| one.trouble == Some(DnsTrouble::Silent)));
    assert!(matches!(Resolver::default().lookup("A", "x.example", soon()).outcome, DnsOutcome::NotAsked(_)));
    let bad = Resolver::new(vec![dead.address]).lookup("A", "a..b", soon());
    assert!(matches!(bad.outcome, DnsOutcome::NotAsked(_)));
    assert!(matches!(Resolver::new(vec![dead.address]).lookup("NOPE", "a", soon()).outcome, DnsOutcome::NotAsked(_)));
}

#[test]
fn a_forged_answer_is_not_taken() {
    let server = server(
        Box::new(|asked| {
            let good = with(asked, &[("x.example", a(1))]);
            let mut wrong_id = with(asked, &[("x.example", a(66))]);
            wrong_id[0] ^= 0xff;
            let mut other = reply(asked);
            other.queries[0] = Query::query(name("y.example"), RecordType::A);
            other.add_answer(Record::from_rdata(name("x.example"), 1, a(67)));
            let mut unasked = reply(asked);
            unasked.queries.clear();
            unasked.add_answer(Record::from_rdata(name("x.example"), 1, a(68)));
            let question = asked.to_vec();
            vec![wrong_id, other.to_vec().unwrap(), unasked.to_vec().unwrap(), question, b"x".to_vec(), good]
        }),
        None,
    );
    let lookup = ask_one(&server, "A", "x.example");
    assert_eq!(addresses(&lookup), ["192.0.2.1"]);
    assert_eq!(lookup.tries[0].strays, 5);
}

#[test]
fn records_of_other_names_do_not_count() {
    let server = server(
        Box::new(|asked| vec![with(asked, &[("bank.example", a(66)), ("x.example", a(1)), ("other.example", a(67))])]),
        None,
    );
    let lookup = ask_one(&server, "A", "x.example");
    assert_eq!(addresses(&lookup), ["192.0.2.1"]);
    assert_eq!(lookup.tries[0].left_out, 2);
}

#[test]
fn an_answer_from_another_port_does_not_come_in() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listening = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let (length, from) = listening.recv_from(&mut buffer).unwrap();
        let asked = &buffer[..length];
        other.send_to(&with(asked, &[("x.example", a(66))]), from).unwrap();
        listening.send_to(&with(asked, &[("x.example", a(1))]), from).unwrap();
    });
    let lookup = Resolver::new(vec![address]).lookup("A", "x.example", soon());
    thread.join().unwrap();
    assert_eq!(addresses(&lookup), ["192.0.2.1"]);
}

#[test]
fn garbage_is_evidence() {
    let server = server(
        Box::new(|asked| {
            let mut packet = asked[..2].to_vec();
            packet.extend([0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0]);
            packet.extend([0xff; 40]);
            vec![packet]
        }),
        None,
    );
    let lookup = ask_one(&server, "A", "x.example");
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }));
    assert!(lookup.tries.iter().all(|one| one.trouble == Some(DnsTrouble::Unreadable)));
}

#[test]
fn a_name_that_points_at_itself_is_unreadable() {
    let server = server(
        Box::new(|asked| {
            let mut packet = with(asked, &[("x.example", a(1))]);
            // The owner of the record behind the question becomes a pointer to itself.
            let question_end = 12 + 1 + 1 + 1 + 7 + 1 + 4;
            packet.truncate(question_end);
            let place = u16::try_from(question_end).unwrap() | 0xc000;
            packet.extend(place.to_be_bytes());
            packet.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            vec![packet]
        }),
        None,
    );
    let lookup = ask_one(&server, "A", "x.example");
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }));
    assert_eq!(lookup.tries[0].trouble, Some(DnsTrouble::Unreadable));
}

#[test]
fn whoever_floods_is_not_waited_for() {
    let server = server(Box::new(|_| vec![b"nonsense that is long enough".to_vec(); 200]), None);
    let lookup = ask_one(&server, "A", "x.example");
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }));
    assert_eq!(lookup.tries[0].trouble, Some(DnsTrouble::Unreadable));
}

#[test]
fn aliases_are_followed_and_loops_end() {
    let server = server(
        Box::new(|asked| {
            let records: Vec<(&str, RData)> = match asked_name(asked).as_str() {
                "www.example" => {
                    vec![("www.example", alias("a.example")), ("a.example", alias("b.example")), ("b.example", a(7))]
                }
                "half.example" => vec![("half.example", alias("target.example"))],
                "target.example" => vec![("target.example", a(8))],
                "loop.example" => {
                    vec![("loop.example", alias("pool.example")), ("pool.example", alias("loop.example"))]
                }
                "ring.example" => vec![("ring.example", alias("ring2.example"))],
                "ring2.example" => vec![("ring2.example", alias("ring.example"))],
                _ => Vec::new(),
            };
            vec![with(asked, &records)]
        }),
        None,
    );
    let lookup = ask_one(&server, "A", "www.example");
    assert_eq!((addresses(&lookup), lookup.tries.len(), lookup.records.len()), (vec!["192.0.2.7".to_owned()], 1, 3));
    let lookup = ask_one(&server, "A", "half.example");
    assert_eq!((addresses(&lookup), lookup.tries.len()), (vec!["192.0.2.8".to_owned()], 2));
    for looping in ["loop.example", "ring.example"] {
        let lookup = ask_one(&server, "A", looping);
        assert_eq!(lookup.outcome, DnsOutcome::NoData, "{looping}");
        assert!(lookup.tries.len() <= FOLLOWED_MAX);
    }
    assert_eq!(ask_one(&server, "CNAME", "half.example").outcome, DnsOutcome::Found);
}

#[test]
fn an_alias_without_anything_behind_it_is_not_asked_for_again() {
    let server = server(
        Box::new(|asked| {
            let mut message = reply(asked);
            message.add_answer(Record::from_rdata(name("x.example"), 1, alias("y.example")));
            let soa = SOA::new(name("ns.example"), name("h.example"), 1, 2, 3, 4, 5);
            message.add_authority(Record::from_rdata(name("example"), 1, RData::SOA(soa)));
            vec![message.to_vec().unwrap()]
        }),
        None,
    );
    let lookup = ask_one(&server, "AAAA", "x.example");
    assert_eq!((lookup.outcome, lookup.tries.len()), (DnsOutcome::NoData, 1));
}

fn truncated(asked: &[u8]) -> Vec<u8> {
    let mut message = reply(asked);
    message.metadata.truncation = true;
    message.to_vec().unwrap()
}

fn send(stream: &mut TcpStream, message: &[u8]) {
    let _ = stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes());
    let _ = stream.write_all(message);
}

#[test]
fn what_does_not_fit_comes_over_tcp() {
    // About 60 kB of text in 240 strings.
    let text: Vec<String> = (0..240).map(|i| format!("{i:0>250}")).collect();
    let data = RData::TXT(TXT::new(text.clone()));
    let server = server(
        Box::new(|asked| vec![truncated(asked)]),
        Some(Box::new(move |stream, asked| send(stream, &with(asked, &[("x.example", data.clone())])))),
    );
    let lookup = ask_one(&server, "TXT", "x.example");
    let RecordData::Txt { strings } = &lookup.records[0].data else { panic!("{lookup:?}") };
    assert_eq!(strings.len(), 240);
    let how: Vec<_> = lookup.tries.iter().map(|one| (one.transport, one.truncated)).collect();
    assert_eq!(how, [(Transport::Udp, true), (Transport::Tcp, false)]);
}

#[test]
fn truncated_without_tcp_is_no_answer() {
    let server = server(
        Box::new(|asked| vec![truncated(asked)]),
        Some(Box::new(|stream, _| _ = stream.shutdown(std::net::Shutdown::Both))),
    );
    let lookup = ask_one(&server, "TXT", "x.example");
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }), "{lookup:?}");
    assert!(lookup.tries.iter().any(|one| one.trouble == Some(DnsTrouble::Broken)));
}

#[test]
fn a_drip_and_an_endless_answer_end_with_the_deadline() {
    for endless in [false, true] {
        let server = server(
            Box::new(|asked| vec![truncated(asked)]),
            Some(Box::new(move |stream, asked| {
                let mut wrong = with(asked, &[]);
                wrong[0] ^= 0xff;
                // Until the other side has had enough.
                loop {
                    let written = if endless {
                        send(stream, &wrong);
                        stream.write_all(&[])
                    } else {
                        stream.write_all(&[1])
                    };
                    if written.is_err() || stream.peek(&mut [0]).is_ok_and(|count| count == 0) {
                        break;
                    }
                }
            })),
        );
        let until = Instant::now() + Duration::from_millis(400);
        let lookup = Resolver::new(vec![server.address]).lookup("A", "x.example", until);
        assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }), "{lookup:?}");
    }
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    for (code, said) in
        [(ResponseCode::FormErr, "FORMERR"), (ResponseCode::NotImp, "NOTIMP"), (ResponseCode::BADVERS, "BADVERS")]
    {
        let server = server(
            Box::new(move |asked| {
                let message = Message::from_vec(asked).unwrap();
                if message.edns.is_none() {
                    return vec![with(asked, &[("x.example", a(1))])];
                }
                let mut answer = reply(asked);
                answer.metadata.response_code = code;
                // The upper half of the code stands there (RFC 6891 section 6.1.3).
                if code == ResponseCode::BADVERS {
                    answer.set_edns(hickory_proto::op::Edns::new());
                }
                vec![answer.to_vec().unwrap()]
            }),
            None,
        );
        let lookup = ask_one(&server, "A", "x.example");
        assert_eq!(addresses(&lookup), ["192.0.2.1"], "{said}");
        assert_eq!(lookup.tries[0].rcode, Seen::Value(said.to_owned()));
    }
}

#[test]
fn a_slow_answer_is_taken_although_another_was_asked_meanwhile() {
    let waiting: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (kept, answered) = (Arc::clone(&waiting), server(Box::new(|_| Vec::new()), None));
    // The first question is answered only when the second one has come.
    let slow = server(
        Box::new(move |asked| {
            let mut kept = lock(&kept);
            if kept.is_empty() {
                *kept = asked.to_vec();
                return Vec::new();
            }
            vec![with(&kept, &[("x.example", a(1))]), with(asked, &[("x.example", a(1))])]
        }),
        None,
    );
    let lookup = Resolver::new(vec![slow.address, answered.address]).lookup("A", "x.example", soon());
    assert_eq!(addresses(&lookup), ["192.0.2.1"]);
}

#[test]
fn what_was_answered_is_not_asked_again() {
    let server = honest();
    let resolver = Resolver::new(vec![server.address]);
    let all: Vec<Lookup> = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..8).map(|_| scope.spawn(|| resolver.clone().lookup("A", "x.example", soon()))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|lookup| lookup.outcome == DnsOutcome::Found));
    assert_eq!(server.questions.load(Ordering::SeqCst), 1);
}

#[test]
fn null_mx_and_extended_errors() {
    let server = server(
        Box::new(|asked| {
            let mut message = reply(asked);
            message.add_answer(Record::from_rdata(name("x.example"), 9, RData::MX(MX::new(0, name(".")))));
            let mut edns = Edns::new();
            edns.options_mut().insert(EdnsOption::Unknown(15, b"\0\x06no \x1b[2J luck".to_vec()));
            message.set_edns(edns);
            vec![message.to_vec().unwrap()]
        }),
        None,
    );
    let lookup = ask_one(&server, "MX", "x.example");
    assert_eq!(lookup.records[0].data, RecordData::Mx { preference: 0, exchange: String::new() });
    assert_eq!(lookup.tries[0].extended, ["6 DNSSEC Bogus: no \\u{1b}[2J luck"]);
}

#[test]
fn names_become_addresses_of_both_families() {
    let server = honest();
    let mut resolver = Resolver::new(vec![server.address]);
    let answered = resolver.addresses("x.example", soon());
    assert_eq!(answered.addresses, Seen::Value(vec!["192.0.2.1".parse().unwrap()]));
    assert_eq!(answered.lookups.len(), 2);
    for text in ["[IPv6:2001:db8::1]", "2001:db8::1", "[2001:db8::1]"] {
        let answered = resolver.addresses(text, soon());
        assert_eq!(answered.addresses, Seen::Value(vec!["2001:db8::1".parse().unwrap()]));
        assert!(answered.lookups.is_empty());
    }
    resolver.hosts = Arc::new([("h.example".to_owned(), vec!["192.0.2.9".parse().unwrap()])].into());
    let from_file = resolver.addresses_like_libc("H.example.", soon());
    assert_eq!(from_file.addresses, Seen::Value(vec!["192.0.2.9".parse().unwrap()]));
    assert_eq!(resolver.addresses("h.example", soon()).addresses, Seen::Value(vec!["192.0.2.1".parse().unwrap()]));
}

#[test]
fn the_servers_of_the_file() {
    let conf = ResolvConf {
        nameservers: vec![
            NameServer { address: "192.0.2.53".parse().unwrap(), zone: None, line: 1 },
            NameServer { address: "fe80::1".parse().unwrap(), zone: Some("lo".to_owned()), line: 2 },
        ],
        ..ResolvConf::default()
    };
    let servers = servers_of(&conf);
    assert_eq!(servers[0], "192.0.2.53:53".parse().unwrap());
    assert_eq!(servers[1], SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 1).into());
    assert_eq!(Resolver::system(&Seen::Absent).unwrap().servers, ["127.0.0.1:53".parse().unwrap()]);
    assert!(Resolver::system(&Seen::not_attempted("x")).is_err());
}

#[test]
fn a_server_is_examined() {
    let good = server(
        Box::new(|asked| vec![code(asked, ResponseCode::Refused)]),
        Some(Box::new(|stream, asked| send(stream, &code(asked, ResponseCode::Refused)))),
    );
    let check = check_resolver(good.address, &DnsQuestion::usual(), soon());
    assert_eq!((check.answers, check.answers_tcp, check.refused), (Seen::Value(true), Seen::Value(true), false));
    assert!(check.dnssec.blind().is_some());
    let check = check_resolver(closed(), &DnsQuestion::usual(), soon());
    assert_eq!((check.answers, check.answers_tcp, check.refused), (Seen::Value(false), Seen::Value(false), true));
    let dead = silent();
    let check = check_resolver(dead.address, &DnsQuestion::usual(), Instant::now() + Duration::from_millis(200));
    assert_eq!((check.answers, check.refused), (Seen::Value(false), false));
}

#[test]
fn what_a_server_says_of_dnssec() {
    let answers = |ad: bool, signed: bool, server: &'static str| {
        self::server(
            Box::new(move |asked| {
                let question = Message::from_vec(asked).unwrap();
                let mut message = reply(asked);
                let kind = question.queries[0].query_type();
                if kind == RecordType::NS {
                    let data = RData::NS(hickory_proto::rr::rdata::NS(name(server)));
                    message.add_answer(Record::from_rdata(name("."), 1, data));
                } else if kind == RecordType::SOA {
                    let soa = SOA::new(name("a.root"), name("h.root"), 1, 2, 3, 4, 5);
                    message.add_answer(Record::from_rdata(name("."), 1, RData::SOA(soa)));
                    if signed {
                        let rdata = hickory_proto::rr::rdata::NULL::with(vec![0; 40]);
                        let data = RData::Unknown { code: RecordType::RRSIG, rdata };
                        message.add_answer(Record::from_rdata(name("."), 1, data));
                    }
                }
                message.metadata.authentic_data = ad && question.metadata.authentic_data;
                vec![message.to_vec().unwrap()]
            }),
            None,
        )
    };
    for (ad, signed, root, expected) in [
        (true, true, "a.root-servers.net", DnssecAnswer::Validated),
        (false, true, "a.root-servers.net", DnssecAnswer::NotValidated),
        (false, false, "a.Root-Servers.net", DnssecAnswer::Stripped),
        (false, false, "ns.lab", DnssecAnswer::Unsigned),
    ] {
        let server = answers(ad, signed, root);
        let check = check_resolver(server.address, &DnsQuestion::usual(), soon());
        assert_eq!(check.dnssec, Seen::Value(expected), "{check:?}");
    }
}

mod reading {
    use super::super::message::{self, Question};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            reads_as_answer(&bytes, "MX", "example.org");
        }

        /// An honest answer, damaged in some places and cut.
        #[test]
        fn no_damage_panics(flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..6), cut in 0usize..400) {
            let question = Question::new(name("x.example"), RecordType::MX);
            let asked = question.bytes(7).unwrap();
            let records: Vec<(&str, RData)> = vec![
                ("x.example", alias("mail.example")),
                ("mail.example", RData::MX(MX::new(10, name("mx.mail.example")))),
                ("mail.example", RData::TXT(TXT::new(vec!["text".to_owned()]))),
            ];
            let mut packet = with(&asked, &records);
            for (place, bits) in flips {
                if let Some(byte) = packet.get_mut(place) {
                    *byte ^= bits;
                }
            }
            packet.truncate(cut.max(2));
            if let message::Packet::Answer(answer) = message::read(&packet, 7, &question) {
                prop_assert!(answer.records.len() <= 65_535 / 12);
            }
        }
    }
}

/// One server for all: a delegation of `child.example` to a name whose address is this machine, and an alias out of it.
#[test]
fn zones_are_asked_by_their_own_servers_and_aliases_lead_to_others() {
    use hickory_proto::rr::rdata::NS;
    let recursive = Arc::new(Mutex::new(BTreeMap::<String, bool>::new()));
    let seen = Arc::clone(&recursive);
    let server = server(
        Box::new(move |asked| {
            let message = Message::from_vec(asked).unwrap();
            let query = message.queries.first().unwrap();
            let text = query.name().to_ascii();
            seen.lock().unwrap().insert(format!("{} {text}", query.query_type()), message.metadata.recursion_desired);
            let ns = |host: &str| RData::NS(NS(name(host)));
            let here = RData::A(A(Ipv4Addr::LOCALHOST));
            vec![match (query.query_type(), text.as_str()) {
                (RecordType::NS, "child.example.") => with(asked, &[("child.example", ns("ns.child.example"))]),
                (RecordType::NS, "other.example.") => with(asked, &[("other.example", ns("ns.child.example"))]),
                // Behind an alias stands another zone.
                (RecordType::NS, "www.child.example.") => with(asked, &[("far.example", ns("ns.far.example"))]),
                (RecordType::A, "ns.child.example.") => with(asked, &[("ns.child.example", here)]),
                (RecordType::A, "www.child.example.") => {
                    with(asked, &[("www.child.example", RData::CNAME(CNAME(name("host.other.example"))))])
                }
                (RecordType::A, "host.other.example.") => with(asked, &[("host.other.example", a(7))]),
                _ => reply(asked).to_vec().unwrap(),
            }]
        }),
        None,
    );
    let finder = Resolver { zone_port: Some(server.address.port()), ..Resolver::new(vec![server.address]) };
    let own = Resolver::at_own_servers(finder);
    let lookup = own.lookup("A", "www.child.example", soon());
    assert_eq!(lookup.addresses(), Seen::Value(vec!["192.0.2.7".parse().unwrap()]), "{lookup:#?}");
    let asked = recursive.lock().unwrap().clone();
    for (question, wants_recursion) in [
        ("NS child.example.", true),
        ("NS other.example.", true),
        ("A ns.child.example.", true),
        ("A www.child.example.", false),
        ("A host.other.example.", false),
    ] {
        assert_eq!(asked.get(question), Some(&wants_recursion), "{question}: {asked:?}");
    }
    // What a parent says of its child, it is asked for itself; and here nobody serves it.
    let ds = own.signed("DS", "child.example", Duration::from_secs(5), soon());
    assert!(matches!(ds.lookup.outcome, DnsOutcome::NotAsked(_)), "{ds:?}");
}
