//! Drives `mxray-auth`'s evaluators: what they want to know is asked for side by side, within one deadline.
//!
//! A question is asked once in a run, whatever became of it, and every lookup is kept as evidence. What must not live here:
//! what an answer means (`mxray-auth`), how a question is asked ([`Resolver`]).

use crate::dns::Resolver;
use crate::fetch::{Fetching, Get, Page, Reach};
use mxray_auth::ask::{Answers, Evaluator, Fetched, Kind, Machine, Step, Want, unanswered};
use mxray_auth::dnssec::Signed;
use mxray_auth::transport::POLICY_BYTES_MAX;
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Questions of one evaluation on their way at the same time. All of a run together are limited by the resolver's [`crate::Turns`].
const SIDE_BY_SIDE: usize = 16;
/// One web server is waited for so long. RFC 8461 section 3.3 suggests a minute to senders, who have nothing else to do.
const FETCH_PATIENCE: Duration = Duration::from_secs(8);
/// Rounds of one evaluation. Each answers at least one of at most 512 wants.
const ROUNDS_MAX: usize = 600;

/// What a driver shares among the evaluations of one run.
#[derive(Debug)]
pub struct Evaluations {
    resolver: Resolver,
    /// When all has to be over.
    until: Instant,
    /// How long one question is waited for, so that one dead name does not take the time of all others.
    patience: Duration,
    known: Mutex<BTreeMap<String, Lookup>>,
    /// Answers with signatures; who asks first fills the place, the others wait for it.
    signed: Mutex<BTreeMap<(String, Kind), Place>>,
    /// `None`: nothing is fetched.
    fetching: Option<Fetching>,
    policies: Mutex<BTreeMap<String, Fetched>>,
}

type Place = Arc<OnceLock<Arc<Signed>>>;

/// What an evaluation came to, and the answers that it rests on.
#[derive(Debug, Clone)]
pub struct Evaluated<T> {
    pub outcome: T,
    pub answers: Answers,
}

impl Evaluations {
    pub fn new(resolver: Resolver, until: Instant, patience: Duration) -> Self {
        Evaluations {
            resolver,
            until,
            patience,
            known: Mutex::default(),
            signed: Mutex::default(),
            fetching: None,
            policies: Mutex::default(),
        }
    }

    /// The same name servers for questions of their own: they are over sooner, and are no part of this run's lookups.
    #[must_use]
    pub fn apart(&self, budget: Duration, patience: Duration) -> Evaluations {
        Evaluations::new(self.resolver.clone(), self.until.min(Instant::now() + budget), patience.min(self.patience))
    }

    /// Files of web servers are fetched as well: policies of MTA-STS.
    #[must_use]
    pub fn with_fetching(self, fetching: Fetching) -> Self {
        Evaluations { fetching: Some(fetching), ..self }
    }

    /// Evaluates to the end. What could not be asked in time is an answer, too: unknown.
    ///
    /// # Errors
    /// The evaluation goes on wanting; this is not expected of any evaluator.
    pub fn run<E: Evaluator>(&self, evaluator: E) -> Result<Evaluated<E::Outcome>, Blind> {
        let mut machine = Machine::new(evaluator);
        for _ in 0..ROUNDS_MAX {
            match machine.step() {
                Step::Done(outcome) => return Ok(Evaluated { outcome, answers: machine.into_answers() }),
                Step::Wants(wants) => self.answer(&mut machine, wants),
            }
        }
        let error = format!("it has not ended after {ROUNDS_MAX} rounds");
        Err(Blind::Failed { step: "evaluating".to_owned(), error })
    }

    fn answer<E: Evaluator>(&self, machine: &mut Machine<E>, wants: Vec<Want>) {
        let (mut questions, mut signed, mut policies) = (Vec::new(), Vec::new(), Vec::new());
        for want in wants {
            match want {
                Want::Dns { name, kind } => questions.push((name, kind)),
                Want::Signed { name, kind } => signed.push((name, kind)),
                Want::StsPolicy { domain } => policies.push(domain),
            }
        }
        for domain in policies {
            machine.policy(&domain, self.policy(&domain));
        }
        let lookups = side_by_side(&questions, SIDE_BY_SIDE, |(name, kind)| self.lookup(name, *kind));
        for ((name, kind), lookup) in questions.iter().zip(lookups) {
            machine.dns(name, *kind, lookup);
        }
        let answers = side_by_side(&signed, SIDE_BY_SIDE, |(name, kind)| self.signed(name, *kind));
        for ((name, kind), answer) in signed.iter().zip(answers) {
            machine.signed(name, *kind, answer);
        }
    }

    /// One question with its signatures, once in a run. It is no evidence by itself: what comes of it is a chain of trust.
    fn signed(&self, name: &str, kind: Kind) -> Arc<Signed> {
        let place = {
            let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(signed.entry((name.to_owned(), kind)).or_default())
        };
        let ask = || {
            if Instant::now() >= self.until {
                let why = "the time was over before it was asked".to_owned();
                let outcome = DnsOutcome::NotAsked(Blind::NotAttempted { why });
                return Arc::new(Signed::new(&unanswered(name, kind, outcome), None));
            }
            let answer = self.resolver.signed(kind.as_str(), name, self.patience, self.until);
            Arc::new(Signed::new(&answer.lookup, answer.packet.as_deref()))
        };
        Arc::clone(place.get_or_init(ask))
    }

    /// Whom this run asks, and when it has to be over.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub fn until(&self) -> Instant {
        self.until
    }

    /// How long one question is waited for.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// One question, once in a run.
    pub fn lookup(&self, name: &str, kind: Kind) -> Lookup {
        let key = Lookup::key(kind.as_str(), name);
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let lookup = if Instant::now() >= self.until {
            let why = "the time was over before it was asked".to_owned();
            unanswered(name, kind, DnsOutcome::NotAsked(Blind::NotAttempted { why }))
        } else {
            self.resolver.lookup_within(kind.as_str(), name, self.patience, self.until)
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, lookup.clone());
        lookup
    }

    /// The policy file of a domain (RFC 8461 section 3.3), once in a run.
    fn policy(&self, domain: &str) -> Fetched {
        if let Some(known) = self.policies.lock().unwrap_or_else(PoisonError::into_inner).get(domain) {
            return known.clone();
        }
        let host = format!("mta-sts.{domain}");
        let fetched = match self.fetch(&host, "/.well-known/mta-sts.txt") {
            Ok(Page { status: 200, bytes, content_type, .. }) => Fetched::Body { bytes, content_type },
            Ok(page) => Fetched::Status(page.status),
            Err(fetched) => fetched,
        };
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.to_owned(), fetched.clone());
        fetched
    }

    /// A file of a web server, over TLS that holds for its name. No redirection is followed.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn fetch(&self, host: &str, path: &str) -> Result<Page, Fetched> {
        let Some(fetching) = &self.fetching else {
            let why = "nothing is fetched from web servers here".to_owned();
            return Err(Fetched::Unknown(Blind::NotAttempted { why }));
        };
        let addresses = match self.addresses(host) {
            Seen::Value(addresses) => addresses,
            Seen::Absent => return Err(Fetched::NoServer(format!("{host} does not exist, or has no address"))),
            Seen::Unknown(blind) => return Err(Fetched::Unknown(blind)),
        };
        let until = self.until.min(Instant::now() + FETCH_PATIENCE);
        fetching.get(Get { host, path, addresses: &addresses, body_max: POLICY_BYTES_MAX, until })
    }

    /// Connects to a service, at its addresses one behind the other until one takes it, and closes again. Where TLS is there
    /// from the first byte, one handshake is made: what a program that checks would say against it. Absent: all addresses
    /// refuse.
    pub fn reach(&self, host: &str, port: u16, addresses: &[IpAddr], implicit: bool) -> Seen<Seen<String>> {
        let until = self.until.min(Instant::now() + FETCH_PATIENCE);
        match &self.fetching {
            Some(fetching) => fetching.reach(Reach { host, port, addresses, implicit, until }),
            None => Seen::not_attempted("nothing is connected to here"),
        }
    }

    /// What a program that checks would say against a chain, for a name. Absent: nothing.
    pub fn chain_trouble(&self, ders: &[Vec<u8>], name: &str) -> Seen<String> {
        match &self.fetching {
            Some(fetching) => fetching.chain_trouble(ders, name),
            None => Seen::not_attempted("no roots to hold it against"),
        }
    }

    /// The addresses of a name, of both families. Absent: it has none.
    pub fn addresses(&self, host: &str) -> Seen<Vec<IpAddr>> {
        let both = side_by_side(&[Kind::A, Kind::Aaaa], 2, |kind| self.lookup(host, *kind).addresses());
        let mut found = Vec::new();
        let mut unknown = None;
        for one in both {
            match one {
                Seen::Value(addresses) => found.extend(addresses),
                Seen::Absent => {}
                Seen::Unknown(blind) => unknown = Some(blind),
            }
        }
        match (found.is_empty(), unknown) {
            (false, _) => Seen::Value(found),
            (true, Some(blind)) => Seen::Unknown(blind),
            (true, None) => Seen::Absent,
        }
    }

    /// Every question of the run with its answer, in the order of their keys.
    pub fn lookups(&self) -> Vec<Lookup> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Why a question has no answer, in the words of what was tried. `None`: it has one.
pub fn why_no_answer(lookup: &Lookup) -> Option<String> {
    let blind = lookup.found().blind().cloned()?;
    let mut troubles: Vec<String> = Vec::new();
    for one in &lookup.tries {
        let text = one.trouble.map(|trouble| format!("{} {}", one.server, trouble.as_str()));
        troubles.extend(text.filter(|text| !troubles.contains(text)));
    }
    Some(match &lookup.outcome {
        DnsOutcome::Refused { rcode } => format!("the name servers say {rcode}"),
        DnsOutcome::NoAnswer { .. } if !troubles.is_empty() => troubles.join(", "),
        _ => blind.why(),
    })
}

/// Does something for each, a bounded number at the same time; what comes of it is in the same order.
pub fn side_by_side<T: Sync, R: Send>(all: &[T], most: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    side_by_side_named("", all, most, work)
}

/// The same, in threads of this name.
pub fn side_by_side_named<T: Sync, R: Send>(
    name: &str,
    all: &[T],
    most: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, R>> = Mutex::default();
    let worker = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(place) else { return };
            let result = work(one);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(place, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..all.len().min(most) {
            // Where no thread can be had, the others do its work.
            let _ = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, worker);
        }
        worker();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_auth::ask::{Asker, Pending};

    struct Two;

    impl Evaluator for Two {
        type Outcome = (DnsOutcome, DnsOutcome);

        fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Self::Outcome, Pending> {
            ask.ahead("b.example", Kind::A);
            let one = ask.dns("a.example", Kind::Txt)?.outcome.clone();
            Ok((one, ask.dns("b.example", Kind::A)?.outcome.clone()))
        }
    }

    #[test]
    fn what_cannot_be_asked_is_an_answer_and_is_kept() {
        let run = Evaluations::new(
            Resolver::new(Vec::new()),
            Instant::now() + Duration::from_secs(5),
            Duration::from_secs(1),
        );
        let evaluated = run.run(Two).unwrap();
        assert!(matches!(evaluated.outcome, (DnsOutcome::NotAsked(_), DnsOutcome::NotAsked(_))));
        assert_eq!(evaluated.answers.lookups().count(), 2);
        let names: Vec<String> =
            run.lookups().into_iter().map(|lookup| Lookup::key(&lookup.kind, &lookup.name)).collect();
        assert_eq!(names, ["A b.example", "TXT a.example"]);
    }

    #[test]
    fn after_the_deadline_nothing_is_asked() {
        let run = Evaluations::new(
            Resolver::new(vec!["127.0.0.1:9".parse().unwrap()]),
            Instant::now(),
            Duration::from_secs(1),
        );
        let evaluated = run.run(Two).unwrap();
        assert!(matches!(evaluated.outcome.0, DnsOutcome::NotAsked(_)), "{:?}", evaluated.outcome);
        assert!(run.lookups().iter().all(|lookup| lookup.tries.is_empty()));
    }

    #[test]
    fn everything_is_done_once_and_in_order() {
        let all: Vec<usize> = (0..100).collect();
        assert_eq!(side_by_side(&all, 8, |one| one * 2), all.iter().map(|one| one * 2).collect::<Vec<_>>());
        assert_eq!(side_by_side(&[0usize; 0], 8, |one| *one), Vec::<usize>::new());
    }
}
