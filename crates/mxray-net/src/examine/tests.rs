//! Examinations of servers that play a part, on the loopback address: what they said has to come back as the right facts.

use super::*;
use mxray_model::evidence::{Conduct, Session};
use mxray_model::session::Ending;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers each line of a client; `None` closes. The first call is for the greeting, with an empty line.
type Answer = dyn Fn(usize, &str) -> Option<String> + Send + Sync;

/// A server until the test is over: its threads end with their clients.
fn server(answer: Arc<Answer>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = AtomicUsize::new(0);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), answer) = (stream, Arc::clone(&answer)) else { return };
            let number = count.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || hold(&stream, number, &*answer));
        }
    });
    port
}

fn hold(mut stream: &TcpStream, number: usize, answer: &Answer) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut lines = BufReader::new(copy).lines();
    let mut line = Some(String::new());
    while let Some(said) = line {
        let Some(reply) = answer(number, &said) else { return };
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
        line = lines.next().and_then(Result::ok);
    }
}

/// A usual server; what `special` knows it says instead.
fn usual(special: impl Fn(usize, &str) -> Option<&'static str> + Send + Sync + 'static) -> u16 {
    server(Arc::new(move |number, line| {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let usual = match verb.as_str() {
            "" => "220 mx.example ESMTP\r\n",
            "EHLO" => "250-mx.example\r\n250 SIZE 1000\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        Some(special(number, line).unwrap_or(usual).to_owned())
    }))
}

fn examination(port: u16) -> Examination {
    Examination {
        host: "127.0.0.1".to_owned(),
        port,
        protocol: SessionProtocol::Smtp,
        tls: TlsMode::Starttls,
        purpose: Purpose::Submission,
        why: BTreeSet::from([EndpointWhy::Asked]),
        depth: Depth::Tls,
        ehlo: "probe.example".to_owned(),
        reference_name: None,
        source: None,
        addresses: None,
        auth: None,
        envelope: None,
        beyond: Beyond::default(),
        until: Instant::now() + Duration::from_secs(30),
    }
}

fn look(examination: &Examination) -> ExaminedAddress {
    let (endpoint, _) = examine(examination, &Tools::default());
    endpoint.addresses["127.0.0.1"].clone()
}

fn phases(examined: &ExaminedAddress) -> Vec<Phase> {
    examined.timings.iter().map(|time| time.phase).collect()
}

#[test]
fn a_usual_server_has_its_facts_and_phases() {
    let examined = look(&examination(usual(|_, _| None)));
    assert_eq!(examined.starttls.offered, Seen::Value(false));
    assert_eq!(phases(&examined), [Phase::Resolve, Phase::Connect, Phase::Greeting, Phase::Ehlo, Phase::Quit]);
    assert!(examined.requires_tls.blind().is_some() && examined.conduct.is_empty());
    assert!(examined.roles.iter().all(|sign| sign.because.contains("users' mail")), "{:?}", examined.roles);
}

#[test]
fn put_off_is_not_without_starttls() {
    for first in ["421 4.7.0 too many connections\r\n", "450 4.3.2 busy\r\n"] {
        let at = if first.starts_with("421") { "" } else { "EHLO probe.example" };
        let port = usual(move |_, line| (line == at).then_some(first));
        let examined = look(&examination(port));
        assert!(examined.starttls.offered.blind().is_some(), "{first}: {:?}", examined.starttls);
        assert!(matches!(examined.conduct[..], [Conduct::PutsOff { .. }]), "{first}: {:?}", examined.conduct);
    }
}

#[test]
fn t09_a_refusal_that_names_us_is_about_us() {
    let port = usual(|_, line| line.is_empty().then_some("554 5.7.1 [127.0.0.1] has a poor reputation\r\n"));
    let examined = look(&examination(port));
    assert!(matches!(examined.conduct[..], [Conduct::TurnsUsAway { code: 554, .. }]), "{:?}", examined.conduct);
    assert!(examined.starttls.offered.blind().is_some());
}

#[test]
fn whether_tls_is_required_is_asked_on_submission_and_nowhere_else() {
    let ask = |reply: &'static str| {
        usual(move |_, line| match line {
            "EHLO probe.example" => Some("250-mx.example\r\n250 STARTTLS\r\n"),
            "MAIL FROM:<>" => Some(reply),
            "STARTTLS" => Some("454 not now\r\n"),
            _ => None,
        })
    };
    let required = |reply| look(&examination(ask(reply))).requires_tls;
    assert_eq!(required("530 5.7.0 Must issue a STARTTLS command first\r\n"), Seen::Value(true));
    // Nobody can log in without TLS there: what it wants needs TLS.
    assert_eq!(required("530 5.7.0 Authentication required\r\n"), Seen::Value(true));
    assert_eq!(required("250 ok\r\n"), Seen::Value(false));
    assert!(required("550 5.1.8 bad sender\r\n").blind().is_some());
    assert!(required("451 later\r\n").blind().is_some());

    let relay = Examination { purpose: Purpose::Relay, ..examination(ask("530 TLS\r\n")) };
    assert!(look(&relay).requires_tls.blind().is_some());
    let asked = Examination { beyond: Beyond { ask_required: true, ..Beyond::default() }, ..relay };
    assert_eq!(look(&asked).requires_tls, Seen::Value(true));
}

#[test]
fn a_login_in_clear_leaves_open_why_mail_was_refused() {
    let port = usual(|_, line| match line {
        "EHLO probe.example" => Some("250-mx.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"),
        "MAIL FROM:<>" => Some("530 5.7.0 Authentication required\r\n"),
        _ => None,
    });
    assert!(look(&examination(port)).requires_tls.blind().is_some());
}

#[test]
fn mailboxes_say_in_their_lists_whether_tls_is_required() {
    let ask = |protocol: SessionProtocol, greeting: &'static str, list: &'static str| {
        let port = server(Arc::new(move |_, line: &str| {
            let mut words = line.split(' ');
            let (first, second) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
            Some(match (line, protocol, second) {
                ("", _, _) => greeting.to_owned(),
                (_, SessionProtocol::Imap, "CAPABILITY") => {
                    format!("* CAPABILITY IMAP4rev1 {list}\r\n{first} OK done\r\n")
                }
                (_, SessionProtocol::Imap, _) => format!("* BYE\r\n{first} OK done\r\n"),
                ("CAPA", _, _) => format!("+OK\r\n{list}UIDL\r\n.\r\n"),
                _ => "+OK\r\n".to_owned(),
            })
        }));
        look(&Examination { protocol, purpose: Purpose::Mailbox, ..examination(port) }).requires_tls
    };
    let imap = |list| ask(SessionProtocol::Imap, "* OK ready\r\n", list);
    assert_eq!(imap("LOGINDISABLED"), Seen::Value(true));
    assert_eq!(imap("LOGINDISABLED AUTH=PLAIN"), Seen::Value(false));
    assert_eq!(imap("IDLE"), Seen::Value(false));
    let pop = |list| ask(SessionProtocol::Pop3, "+OK ready\r\n", list);
    assert_eq!(pop(""), Seen::Value(true));
    assert_eq!(pop("USER\r\n"), Seen::Value(false));
    assert_eq!(pop("SASL PLAIN\r\n"), Seen::Value(false));
    assert_eq!(pop("SASL\r\n"), Seen::Value(true));
}

#[test]
fn t49_greylisting_is_told_from_a_refusal_by_asking_again() {
    let wanted = |port: u16, pauses: &[u64]| Examination {
        tls: TlsMode::None,
        depth: Depth::Rcpt,
        envelope: Some(smtp::Envelope::new("", &["postmaster@b.example"]).unwrap()),
        beyond: Beyond { retry: pauses.iter().map(|ms| Duration::from_millis(*ms)).collect(), ..Beyond::default() },
        ..examination(port)
    };
    let greylists =
        || usual(|number, line| (line.starts_with("RCPT") && number == 0).then_some("450 4.2.0 come again\r\n"));
    let later = |examined: &ExaminedAddress| match &examined.conduct[..] {
        [Conduct::Greylists { accepted_later, .. }] => accepted_later.clone(),
        other => panic!("{other:?}"),
    };
    let once = look(&wanted(greylists(), &[]));
    assert!(later(&once).blind().is_some() && once.retried.is_empty());
    let twice = look(&wanted(greylists(), &[10, 10]));
    assert_eq!((later(&twice), twice.retried.len()), (Seen::Value(true), 1));
    let never = usual(|_, line| line.starts_with("RCPT").then_some("451 4.7.1 come again\r\n"));
    let never = look(&wanted(never, &[10, 10]));
    assert_eq!((later(&never), never.retried.len()), (Seen::Value(false), 2));
    let taken = look(&wanted(usual(|_, _| None), &[10]));
    assert!(taken.retried.is_empty() && taken.conduct.is_empty());
    assert!(taken.roles.iter().any(|sign| sign.because.contains("postmaster@b.example")), "{:?}", taken.roles);
}

#[test]
fn a_pause_beyond_the_deadline_is_not_begun() {
    let port = usual(|_, line| line.starts_with("RCPT").then_some("450 4.2.0 come again\r\n"));
    let examined = look(&Examination {
        tls: TlsMode::None,
        depth: Depth::Rcpt,
        envelope: Some(smtp::Envelope::new("", &["a@b.example"]).unwrap()),
        beyond: Beyond { retry: vec![Duration::from_secs(3600)], ..Beyond::default() },
        ..examination(port)
    });
    assert!(examined.retried[0].session.blind().is_some());
}

#[test]
fn t05_nodes_behind_one_address_are_told_apart() {
    let port = usual(|number, line| match (number, line) {
        (1, "") => Some("220 other.example ESMTP\r\n"),
        (1, "EHLO probe.example") => Some("250-other.example\r\n250 STARTTLS\r\n"),
        (1, "STARTTLS") => Some("454 not now\r\n"),
        _ => None,
    });
    let deep = Beyond { deep: true, ..Beyond::default() };
    let examined = look(&Examination { beyond: deep, purpose: Purpose::Relay, ..examination(port) });
    let offered: Vec<_> = examined.samples.iter().map(|sample| sample.starttls.offered.clone()).collect();
    assert_eq!(offered, [Seen::Value(false), Seen::Value(true), Seen::Value(false)]);
    let greetings: BTreeSet<_> = examined.samples.iter().filter_map(|sample| sample.greeting.value()).collect();
    assert_eq!(greetings.len(), 2);
}

#[test]
fn lmtp_is_spoken_where_it_is_asked_for() {
    let port = usual(|_, line| match line {
        "LHLO probe.example" => Some("250-mx.example\r\n250 PIPELINING\r\n"),
        line if line.starts_with("EHLO") => Some("500 this is LMTP\r\n"),
        _ => None,
    });
    let examined = look(&Examination {
        protocol: SessionProtocol::Lmtp,
        tls: TlsMode::None,
        depth: Depth::Rcpt,
        envelope: Some(smtp::Envelope::new("", &["a@b.example"]).unwrap()),
        ..examination(port)
    });
    let Seen::Value(Session::Smtp(session)) = &examined.session else { panic!("{:?}", examined.session) };
    assert_eq!((session.hellos[0].verb.as_str(), &session.ending), ("LHLO", &Ending::Finished));
    assert!(examined.roles.iter().any(|sign| sign.because.contains("LMTP")));
}

#[test]
fn a_connection_alone_says_nothing_and_hears_nothing() {
    for tls in [TlsMode::Starttls, TlsMode::Implicit] {
        let examined = look(&Examination { depth: Depth::Connect, tls, ..examination(usual(|_, _| None)) });
        assert_eq!(examined.dial.outcome, DialOutcome::Connected);
        assert!(examined.session.blind().is_some() && examined.tls.is_absent());
    }
}

#[test]
fn nobody_there_is_no_session() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
    // Bound, so that nobody else gets the port, and never listened on.
    let held = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&held, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = SocketAddr::try_from(getsockname(&held).unwrap()).unwrap().port();
    let examined = look(&examination(port));
    assert_eq!((examined.dial.outcome, examined.session.is_absent()), (DialOutcome::Refused, true));
    assert!(examined.starttls.offered.blind().is_some() && examined.requires_tls.blind().is_some());
}

#[test]
fn a_crash_costs_one_address_and_is_told() {
    let addresses = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let seen = side_by_side(&addresses, &|address| {
        assert!(address != addresses[1], "broken \x1b[2J table");
        blank(Dial::of(SocketAddr::new(address, 25)))
    });
    assert!(seen["127.0.0.1"].session.is_absent());
    let blind = seen["127.0.0.2"].session.blind().unwrap().why();
    assert!(blind.contains("broken \\u{1b}[2J table"), "{blind}");
}

/// Another protocol's record comes to whoever connects first; from those behind it, what they say first is kept.
fn speaks_tls(heard: Arc<std::sync::Mutex<Vec<u8>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut first = [0];
            if number > 0 && std::io::Read::read_exact(&mut stream, &mut first).is_ok() {
                heard.lock().unwrap().push(first[0]);
            }
            // An alert, and the end: no version is spoken here. The client is heard out, so that nothing is lost.
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    port
}

/// What comes in place of a greeting is a record of TLS: there, and where nothing comes at all, a hello is said.
#[test]
fn a_server_that_does_not_greet_is_asked_for_tls() {
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let examined = look(&examination(speaks_tls(Arc::clone(&heard))));
    assert!(matches!(examined.session.value(), Some(Session::Smtp(_))));
    assert_eq!(examined.hellos.len(), 2, "{:?}", examined.hellos);
    assert!(examined.hellos.iter().all(|hello| hello.takes_offer() == Seen::Value(false)), "{:?}", examined.hellos);
    assert_eq!(*heard.lock().unwrap(), [22, 22]);
    // One that greets is not asked so.
    assert!(look(&examination(usual(|_, _| None))).hellos.is_empty());
}
