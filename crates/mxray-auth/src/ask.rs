//! How evaluators ask: they know no network. An evaluation is a pure function of the answers so far; where one is missing it
//! stops and says what it wants, and is begun again when the answer is there.
//!
//! So the code of an evaluator reads as its RFC does, from top to bottom, and a driver may fetch several wants side by side.
//! Beginning again costs little: the number of questions of every evaluation is bounded. What must not live here: sending
//! anything, and what an answer means for a policy.

use crate::dnssec::Signed;
use mxray_model::Blind;
use mxray_model::evidence::{DnsOutcome, DnsRecord, Lookup};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most questions of one evaluation. RFC 7208 section 4.6.4 alone allows ten terms with ten names of two families each, and
/// as many for `%{p}`.
pub const WANTS_MAX: usize = 512;

/// A record type that evaluators ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    A,
    Aaaa,
    Mx,
    Ptr,
    Txt,
    Tlsa,
    Cname,
    Ns,
    Soa,
    Srv,
    Ds,
    Dnskey,
}

impl Kind {
    /// Its mnemonic.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Mx => "MX",
            Kind::Ptr => "PTR",
            Kind::Txt => "TXT",
            Kind::Tlsa => "TLSA",
            Kind::Cname => "CNAME",
            Kind::Ns => "NS",
            Kind::Soa => "SOA",
            Kind::Srv => "SRV",
            Kind::Ds => "DS",
            Kind::Dnskey => "DNSKEY",
        }
    }

    /// Its number on the wire (RFC 1035 section 3.2.2 and later ones).
    pub fn number(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Ns => 2,
            Kind::Cname => 5,
            Kind::Soa => 6,
            Kind::Ptr => 12,
            Kind::Mx => 15,
            Kind::Txt => 16,
            Kind::Aaaa => 28,
            Kind::Srv => 33,
            Kind::Ds => 43,
            Kind::Dnskey => 48,
            Kind::Tlsa => 52,
        }
    }
}

/// What an evaluation has to know before it can go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// `name` is in lower case, without the final dot, escaped as in a zone file.
    Dns { name: String, kind: Kind },
    /// The same, with signatures and without a validation by whoever is asked (DO and CD, RFC 4035 section 3.2). Aliases are
    /// not followed.
    Signed { name: String, kind: Kind },
    /// The file `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461 section 3.3).
    StsPolicy { domain: String },
}

/// What fetching a policy came to, under the rules of RFC 8461 section 3.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// 200, whatever it says.
    Body {
        bytes: Vec<u8>,
        content_type: Option<String>,
    },
    /// A status that is not 200; a redirection is one, and is not followed.
    Status(u16),
    /// The peer's certificate does not hold, or there is no TLS.
    NotTrusted(String),
    /// The file is there and larger than 64 KiB.
    TooLarge,
    /// The host's name does not exist, its port is closed: a peer that says no.
    NoServer(String),
    /// What it answers is no HTTP, or not whole.
    Malformed(String),
    /// Refused by us: a private address.
    NotAllowed(String),
    Unknown(Blind),
}

/// The answers so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    dns: BTreeMap<(String, Kind), Lookup>,
    policies: BTreeMap<String, Fetched>,
    signed: BTreeMap<(String, Kind), Arc<Signed>>,
}

impl Answers {
    pub fn dns(&mut self, name: &str, kind: Kind, lookup: Lookup) {
        self.dns.insert((canonical(name), kind), lookup);
    }

    pub fn policy(&mut self, domain: &str, fetched: Fetched) {
        self.policies.insert(canonical(domain), fetched);
    }

    pub fn signed(&mut self, name: &str, kind: Kind, signed: Arc<Signed>) {
        self.signed.insert((canonical(name), kind), signed);
    }

    /// All lookups, in the order of their names: they are evidence.
    pub fn lookups(&self) -> impl Iterator<Item = &Lookup> {
        self.dns.values()
    }
}

/// Answers are missing; what is wanted is with the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending;

/// What an evaluation asks through.
#[derive(Debug)]
pub struct Asker<'a> {
    answers: &'a Answers,
    wanted: BTreeSet<Want>,
}

impl<'a> Asker<'a> {
    pub fn new(answers: &'a Answers) -> Self {
        Asker { answers, wanted: BTreeSet::new() }
    }

    /// The answer to one question.
    ///
    /// # Errors
    /// It is not there yet.
    pub fn dns(&mut self, name: &str, kind: Kind) -> Result<&'a Lookup, Pending> {
        let name = canonical(name);
        match self.answers.dns.get(&(name.clone(), kind)) {
            Some(lookup) => Ok(lookup),
            None => {
                self.wanted.insert(Want::Dns { name, kind });
                Err(Pending)
            }
        }
    }

    /// Says ahead what will be asked in any case, so that a driver can fetch it side by side with the rest.
    pub fn ahead(&mut self, name: &str, kind: Kind) {
        // The answer, if there is one, is read where it is needed.
        let _ = self.dns(name, kind);
    }

    /// The answer to one question, with its signatures.
    ///
    /// # Errors
    /// It is not there yet.
    pub fn signed(&mut self, name: &str, kind: Kind) -> Result<&'a Signed, Pending> {
        let name = canonical(name);
        match self.answers.signed.get(&(name.clone(), kind)) {
            Some(signed) => Ok(signed),
            None => {
                self.wanted.insert(Want::Signed { name, kind });
                Err(Pending)
            }
        }
    }

    /// The policy file of a domain.
    ///
    /// # Errors
    /// It is not there yet.
    pub fn policy(&mut self, domain: &str) -> Result<&'a Fetched, Pending> {
        let domain = canonical(domain);
        match self.answers.policies.get(&domain) {
            Some(fetched) => Ok(fetched),
            None => {
                self.wanted.insert(Want::StsPolicy { domain });
                Err(Pending)
            }
        }
    }
}

/// A question that is evaluated from answers alone.
pub trait Evaluator {
    type Outcome;

    /// # Errors
    /// An answer is missing; the asker knows which.
    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Self::Outcome, Pending>;
}

/// Where an evaluation stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<T> {
    /// All of these can be fetched side by side. Answering some is enough to go on.
    Wants(Vec<Want>),
    Done(T),
}

/// An evaluation and its answers.
#[derive(Debug)]
pub struct Machine<E> {
    evaluator: E,
    answers: Answers,
}

impl<E: Evaluator> Machine<E> {
    pub fn new(evaluator: E) -> Self {
        Machine { evaluator, answers: Answers::default() }
    }

    /// With answers that an earlier evaluation of the same run has.
    pub fn with_answers(evaluator: E, answers: Answers) -> Self {
        Machine { evaluator, answers }
    }

    /// Goes on as far as the answers reach.
    pub fn step(&self) -> Step<E::Outcome> {
        let mut ask = Asker::new(&self.answers);
        match self.evaluator.evaluate(&mut ask) {
            Ok(outcome) => Step::Done(outcome),
            Err(Pending) => Step::Wants(ask.wanted.into_iter().collect()),
        }
    }

    /// Takes the answer to a DNS want. Beyond [`WANTS_MAX`] questions none is fetched any more: whoever drives says so.
    pub fn dns(&mut self, name: &str, kind: Kind, lookup: Lookup) {
        let room = self.answers.dns.len() < WANTS_MAX;
        let lookup = if room { lookup } else { not_asked(name, kind) };
        self.answers.dns(name, kind, lookup);
    }

    /// Takes the answer to a want of signed records, under the same bound.
    pub fn signed(&mut self, name: &str, kind: Kind, signed: Arc<Signed>) {
        let room = self.answers.signed.len() < WANTS_MAX;
        let signed = if room { signed } else { Arc::new(Signed::new(&not_asked(name, kind), None)) };
        self.answers.signed(name, kind, signed);
    }

    pub fn policy(&mut self, domain: &str, fetched: Fetched) {
        self.answers.policy(domain, fetched);
    }

    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    pub fn into_answers(self) -> Answers {
        self.answers
    }
}

fn not_asked(name: &str, kind: Kind) -> Lookup {
    let why = format!("more than {WANTS_MAX} questions in one evaluation");
    unanswered(name, kind, DnsOutcome::NotAsked(Blind::NotAttempted { why }))
}

/// A lookup without records: for drivers that have nothing to tell of tries, and for names that cannot be asked.
pub fn unanswered(name: &str, kind: Kind, outcome: DnsOutcome) -> Lookup {
    Lookup { name: canonical(name), kind: kind.as_str().to_owned(), outcome, records: Vec::new(), tries: Vec::new() }
}

/// A lookup with these records, as a driver makes it that has nothing to tell of tries.
pub fn answered(name: &str, kind: Kind, records: Vec<DnsRecord>) -> Lookup {
    let has = records.iter().any(|record| record.data.kind() == kind.as_str());
    let outcome = if has { DnsOutcome::Found } else { DnsOutcome::NoData };
    Lookup { name: canonical(name), kind: kind.as_str().to_owned(), outcome, records, tries: Vec::new() }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
