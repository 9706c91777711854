//! For tests: a zone in a few lines, and evaluations that are driven over it.

use crate::ask::{Evaluator, Fetched, Kind, Machine, Step, Want, answered, unanswered};
use crate::dnssec::Signed;
use mxray_model::evidence::{DnsOutcome, DnsRecord, Lookup, RecordData};

#[derive(Debug, Default, Clone)]
pub(crate) struct Zone {
    records: Vec<(String, RecordData)>,
    outcomes: Vec<(String, Kind, DnsOutcome)>,
    policy: Option<Fetched>,
}

impl Zone {
    pub fn with(mut self, name: &str, data: RecordData) -> Self {
        self.records.push((name.to_owned(), data));
        self
    }

    /// One string of at most 255 bytes after the other.
    pub fn txt(self, name: &str, text: &str) -> Self {
        let strings = text.as_bytes().chunks(255).map(Into::into).collect();
        self.with(name, RecordData::Txt { strings })
    }

    pub fn a(self, name: &str, address: &str) -> Self {
        let data = match address.parse().unwrap() {
            std::net::IpAddr::V4(address) => RecordData::A { address },
            std::net::IpAddr::V6(address) => RecordData::Aaaa { address },
        };
        self.with(name, data)
    }

    pub fn mx(self, name: &str, exchange: &str) -> Self {
        self.with(name, RecordData::Mx { preference: 10, exchange: exchange.to_owned() })
    }

    pub fn fails(mut self, name: &str, kind: Kind) -> Self {
        let servfail = DnsOutcome::Refused { rcode: "SERVFAIL".to_owned() };
        self.outcomes.push((name.to_owned(), kind, servfail));
        self
    }

    pub fn policy(mut self, fetched: Fetched) -> Self {
        self.policy = Some(fetched);
        self
    }

    /// A name exists when something stands at it or below it (RFC 8020).
    pub fn lookup(&self, name: &str, kind: Kind) -> Lookup {
        if let Some((_, _, outcome)) = self.outcomes.iter().find(|(of, which, _)| of == name && *which == kind) {
            return unanswered(name, kind, outcome.clone());
        }
        let below = format!(".{name}");
        if !self.records.iter().any(|(owner, _)| owner == name || owner.ends_with(&below)) {
            return unanswered(name, kind, DnsOutcome::NoSuchName);
        }
        let of = |(owner, data): &(String, RecordData)| {
            (owner == name && data.kind() == kind.as_str()).then(|| DnsRecord {
                name: name.to_owned(),
                ttl_s: 300,
                data: data.clone(),
            })
        };
        answered(name, kind, self.records.iter().filter_map(of).collect())
    }

    /// What the evaluation comes to, and the names that it asked for.
    pub fn play<E: Evaluator>(&self, evaluator: E) -> (E::Outcome, Vec<String>) {
        let mut machine = Machine::new(evaluator);
        let mut asked = Vec::new();
        loop {
            match machine.step() {
                Step::Done(outcome) => return (outcome, asked),
                Step::Wants(wants) => {
                    assert!(!wants.is_empty(), "it waits for nothing");
                    for want in wants {
                        match want {
                            Want::Dns { name, kind } => {
                                let key = Lookup::key(kind.as_str(), &name);
                                assert!(!asked.contains(&key), "{key} is asked for twice");
                                asked.push(key);
                                machine.dns(&name, kind, self.lookup(&name, kind));
                            }
                            Want::Signed { name, kind } => {
                                let signed = Signed::new(&self.lookup(&name, kind), None);
                                machine.signed(&name, kind, std::sync::Arc::new(signed));
                            }
                            Want::StsPolicy { domain } => {
                                asked.push(format!("policy {domain}"));
                                machine.policy(&domain, self.policy.clone().unwrap_or(Fetched::Status(404)));
                            }
                        }
                    }
                }
            }
        }
    }

    pub fn outcome<E: Evaluator>(&self, evaluator: E) -> E::Outcome {
        self.play(evaluator).0
    }
}
