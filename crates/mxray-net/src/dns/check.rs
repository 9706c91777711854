//! One name server of this host, asked directly: whether it answers at all, how fast, over both transports, and what it says
//! of DNSSEC.

use super::message::{self, Answer, Question};
use super::turns::{Allowance, Turns};
use super::{ask, names, not_asked, outcome};
use crate::clock::millis;
use mxray_model::Seen;
use mxray_model::evidence::{DnsOutcome, DnsTrouble, DnssecAnswer, Lookup, RecordData, ResolverCheck, Transport};
use std::net::SocketAddr;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

/// A question that a name server is asked for trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQuestion {
    pub kind: String,
    pub name: String,
    /// With the bits DO and AD, as a client asks that relies on DNSSEC.
    pub dnssec: bool,
    /// Over TCP alone.
    pub transport: Transport,
}

impl DnsQuestion {
    /// What any server can be asked, whatever it knows: that of its answers matters only that they come.
    ///
    /// The root's name servers, which every resolver needs itself; a name that it serves by itself (RFC 6761 section 6.3), so that
    /// a resolver that lives behind a dead line is not taken for a dead one; the root's record with DO and AD; and TCP.
    pub fn usual() -> Vec<DnsQuestion> {
        let udp = |kind: &str, name: &str, dnssec| DnsQuestion {
            kind: kind.to_owned(),
            name: name.to_owned(),
            dnssec,
            transport: Transport::Udp,
        };
        vec![
            udp("NS", ".", false),
            udp("A", "localhost", false),
            udp("SOA", ".", true),
            DnsQuestion { transport: Transport::Tcp, ..udp("A", "localhost", false) },
        ]
    }
}

/// Asks one server all of these, side by side. They wait for no turn: how fast the server answers is what is asked.
pub fn check_resolver(server: SocketAddr, questions: &[DnsQuestion], until: Instant) -> ResolverCheck {
    let asked: Vec<(bool, Lookup)> = std::thread::scope(|scope| {
        let start = |question| {
            (question, std::thread::Builder::new().spawn_scoped(scope, move || one(server, question, until)))
        };
        let running: Vec<_> = questions.iter().map(start).collect();
        let join = |(question, thread): (&DnsQuestion, std::io::Result<ScopedJoinHandle<'_, Lookup>>)| {
            let broken = |why: &str| not_asked(&question.kind, &question.name, why.to_owned());
            let lookup = match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| broken("asking broke off")),
                Err(_) => broken("no thread could be started"),
            };
            (question.dnssec, lookup)
        };
        running.into_iter().map(join).collect()
    });
    let dnssec = asked.iter().find(|(dnssec, _)| *dnssec).map(|(_, lookup)| lookup);
    let dnssec = dnssec.map_or_else(|| Seen::not_attempted("it was not asked"), |one| self::dnssec(one, &asked));
    let asked: Vec<Lookup> = asked.into_iter().map(|(_, lookup)| lookup).collect();
    let (udp, tcp) = (answers(&asked, Transport::Udp), answers(&asked, Transport::Tcp));
    ResolverCheck { server, answers: either(&udp, &tcp), refused: is_closed(&asked), answers_tcp: tcp, dnssec, asked }
}

fn one(server: SocketAddr, question: &DnsQuestion, until: Instant) -> Lookup {
    let mut lookup = not_asked(&question.kind, &question.name, "there is no such question".to_owned());
    let (Some(kind), Ok(name)) = (message::kind(&question.kind), names::read(&question.name)) else { return lookup };
    let wire = Question { dnssec: question.dnssec, ..Question::new(name, kind) };
    let began = Instant::now();
    let asked = match question.transport {
        Transport::Udp => ask::ask(&wire, &[server], &Turns::default(), &Allowance::until(until)),
        Transport::Tcp => ask::ask_tcp(&wire, server, until),
    };
    lookup.tries = asked.tries;
    let refused = asked.answer;
    lookup.outcome = match &refused {
        Some(answer) => outcome(answer),
        None => DnsOutcome::NoAnswer { after_ms: millis(began.elapsed()) },
    };
    lookup.records = refused.map(|answer: Answer| answer.records).unwrap_or_default();
    lookup
}

/// Any answer is one, whatever it says.
fn answers(asked: &[Lookup], transport: Transport) -> Seen<bool> {
    let mut tries = asked.iter().flat_map(|lookup| &lookup.tries).filter(|one| one.transport == transport).peekable();
    if tries.peek().is_none() {
        return Seen::not_attempted("it was not asked");
    }
    Seen::Value(tries.any(|one| one.trouble.is_none()))
}

fn either(one: &Seen<bool>, other: &Seen<bool>) -> Seen<bool> {
    match (one, other) {
        (Seen::Value(true), _) | (_, Seen::Value(true)) => Seen::Value(true),
        (Seen::Value(false), _) | (_, Seen::Value(false)) => Seen::Value(false),
        _ => one.clone(),
    }
}

fn is_closed(asked: &[Lookup]) -> bool {
    let mut tries =
        asked.iter().flat_map(|lookup| &lookup.tries).filter(|one| one.transport == Transport::Udp).peekable();
    tries.peek().is_some() && tries.all(|one| one.trouble == Some(DnsTrouble::PortClosed))
}

fn dnssec(signed: &Lookup, all: &[(bool, Lookup)]) -> Seen<DnssecAnswer> {
    if signed.outcome != DnsOutcome::Found {
        let blind = signed.found().map(|_| ());
        return match blind {
            Seen::Unknown(blind) => Seen::Unknown(blind),
            _ => Seen::not_attempted(
                "the resolver says that the root zone has no SOA record, so whether it validates cannot be told: it answers for a root of its own, or not from the DNS",
            ),
        };
    }
    if signed.tries.last().is_some_and(|one| one.authentic) {
        return Seen::Value(DnssecAnswer::Validated);
    }
    if signed.records.iter().any(|record| record.data.kind() == "RRSIG") {
        return Seen::Value(DnssecAnswer::NotValidated);
    }
    let is_internet = |data: &RecordData| match data {
        RecordData::Ns { target } => target.to_ascii_lowercase().ends_with(".root-servers.net"),
        _ => false,
    };
    let mut records = all.iter().flat_map(|(_, lookup)| &lookup.records);
    if records.any(|record| record.name == "." && is_internet(&record.data)) {
        return Seen::Value(DnssecAnswer::Stripped);
    }
    Seen::Value(DnssecAnswer::Unsigned)
}
