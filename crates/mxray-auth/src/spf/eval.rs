//! The evaluation of a record for a client and a sender: `check_host` of RFC 7208 section 4, with a ledger.
//!
//! Order, counters and error cases are those of the RFC; what it leaves open is said where it is decided. What must not live
//! here: opinions on records, which are the survey's.

use super::macros::{Inputs, MacroString, Within};
use super::names::{askable, evaluable, is_within};
use super::record::{self, Lengths, Mechanism, Qualifier, Record, Term, What};
use super::{LOOKUPS_MAX, NAMES_MAX, VOIDS_MAX};
use crate::ask::{Asker, Evaluator, Kind, Pending};
use mxray_model::evidence::published::{SpfEffect, SpfResult, SpfStep, SpfVerdict};
use mxray_model::evidence::{DnsRecord, Lookup, RecordData};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen, reverse_name};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a receiver knows when it evaluates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spf {
    /// The client's address. IPv4 within IPv6 is IPv4 (section 5).
    pub ip: IpAddr,
    /// The name given with HELO or EHLO.
    pub helo: String,
    /// The reverse-path. Empty: the name given with HELO is evaluated instead (section 2.4).
    pub mail_from: String,
    /// `%{r}` in explanations.
    pub receiver: String,
    /// `%{t}` in explanations.
    pub now_s: i64,
}

/// Why an evaluation ends early.
enum Stop {
    Pending,
    Error(SpfResult, String),
}

impl From<Pending> for Stop {
    fn from(_: Pending) -> Self {
        Stop::Pending
    }
}

type Flow<T> = Result<T, Stop>;

fn permanent<T>(why: String) -> Flow<T> {
    Err(Stop::Error(SpfResult::PermError, why))
}

/// Why a question has no answer; most reasons name the question themselves.
fn unanswered(kind: Kind, name: &str, blind: &Blind) -> String {
    let (question, why) = (format!("{} {name}", kind.as_str()), blind.why());
    if why.contains(&question) { why } else { format!("{question}: {why}") }
}

fn temporary<T>(why: String) -> Flow<T> {
    Err(Stop::Error(SpfResult::TempError, why))
}

/// What a record came to, and where its explanation is.
struct Decided {
    result: SpfResult,
    reason: String,
    exp: Option<(MacroString, String)>,
}

impl Evaluator for Spf {
    type Outcome = SpfVerdict;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<SpfVerdict, Pending> {
        let (local, sender_domain) = match self.mail_from.rsplit_once('@') {
            Some(("", domain)) => ("postmaster", domain),
            Some((local, domain)) => (local, domain),
            None if self.mail_from.is_empty() => ("postmaster", self.helo.as_str()),
            None => ("postmaster", self.mail_from.as_str()),
        };
        let ip = self.ip.to_canonical();
        let mut run = Run { query: self, ip, ask, local, sender_domain, lookups: 0, voids: 0, ledger: Vec::new() };
        let (result, reason, explanation) = match run.check(sender_domain, 0) {
            Ok(decided) => {
                let explanation = match (decided.result, decided.exp) {
                    (SpfResult::Fail, Some((target, domain))) => run.explanation(&target, &domain)?,
                    _ => None,
                };
                (decided.result, decided.reason, explanation)
            }
            Err(Stop::Pending) => return Err(Pending),
            Err(Stop::Error(result, why)) => {
                run.broke(&why);
                (result, why, None)
            }
        };
        let (lookups, voids, ledger) = (run.lookups, run.voids, run.ledger);
        let domain = untrusted(sender_domain.as_bytes());
        Ok(SpfVerdict { result, reason, explanation, domain, lookups, voids, ledger })
    }
}

struct Run<'q, 'a, 'b> {
    query: &'q Spf,
    ip: IpAddr,
    ask: &'b mut Asker<'a>,
    local: &'q str,
    sender_domain: &'q str,
    lookups: u32,
    voids: u32,
    ledger: Vec<SpfStep>,
}

impl<'a> Run<'_, 'a, '_> {
    /// Section 4: `check_host`.
    fn check(&mut self, domain: &str, depth: u32) -> Flow<Decided> {
        let none = |why: String| Decided { result: SpfResult::None, reason: why, exp: None };
        let Some(name) = evaluable(domain) else {
            return Ok(none(format!("{} is no domain name that can be evaluated", untrusted(domain.as_bytes()))));
        };
        let record = match self.record(&name)? {
            Some(bytes) => record::parse(&bytes),
            None => return Ok(none(format!("{name} publishes no SPF record"))),
        };
        if let Some(error) = record.errors.first() {
            self.ledger.push(self.line(&name, depth, error.column, &error.text));
            return permanent(format!("{name}, column {}: {}: {}", error.column, error.text, error.why));
        }
        for (at, term) in record.terms.iter().enumerate() {
            let What::Directive(qualifier, mechanism) = &term.what else { continue };
            self.ledger.push(self.line(&name, depth, term.column, &term.text));
            let step = self.ledger.len() - 1;
            let matched = self.directive(mechanism, &name, depth, step)?;
            self.settle(step, if matched { SpfEffect::Matched } else { SpfEffect::NotMatched });
            if matched {
                let after = record.terms.get(at + 1..).unwrap_or_default();
                self.skipped(after, &name, depth);
                return Ok(decided(*qualifier, term, &name, &record));
            }
        }
        match record.redirect() {
            Some((term, target)) => self.redirect(term, target, &name, depth),
            None => Ok(Decided {
                result: SpfResult::Neutral,
                reason: format!("no term of the record of {name} matches (section 4.7)"),
                exp: None,
            }),
        }
    }

    /// Sections 4.4 and 4.5.
    fn record(&mut self, name: &str) -> Flow<Option<Vec<u8>>> {
        let lookup = self.ask.dns(name, Kind::Txt)?;
        let texts: Vec<Vec<u8>> = match lookup.found() {
            Seen::Value(records) => {
                records.into_iter().filter_map(text).filter(|text| record::is_record(text)).collect()
            }
            Seen::Absent => return Ok(None),
            Seen::Unknown(blind) => return temporary(unanswered(Kind::Txt, name, &blind)),
        };
        match texts.len() {
            0 | 1 => Ok(texts.into_iter().next()),
            many => permanent(format!("{name} publishes {many} SPF records (section 4.5)")),
        }
    }

    /// Section 6.1.
    fn redirect(&mut self, term: &Term, target: &MacroString, name: &str, depth: u32) -> Flow<Decided> {
        self.ledger.push(self.line(name, depth, term.column, &term.text));
        let step = self.ledger.len() - 1;
        self.count(step)?;
        let target = self.target(Some(target), name, step)?;
        self.settle(step, SpfEffect::Entered);
        let decided = self.check(&target, depth)?;
        match decided.result {
            SpfResult::None => permanent(format!("redirect={}: {}", untrusted(target.as_bytes()), decided.reason)),
            _ => Ok(decided),
        }
    }

    /// Does the mechanism match?
    fn directive(&mut self, mechanism: &Mechanism, domain: &str, depth: u32, step: usize) -> Flow<bool> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(matches!(self.ip, IpAddr::V4(ip) if same4(ip, *network, *length))),
            Mechanism::Ip6(network, length) => Ok(matches!(self.ip, IpAddr::V6(ip) if same6(ip, *network, *length))),
            Mechanism::Include(target) => self.include(target, domain, depth, step),
            Mechanism::A(target, lengths) => {
                self.count(step)?;
                let target = self.target(target.as_ref(), domain, step)?;
                let addresses = self.addresses(&target, step)?;
                Ok(self.is_among(&addresses, *lengths))
            }
            Mechanism::Mx(target, lengths) => self.mx(target.as_ref(), *lengths, domain, step),
            Mechanism::Ptr(target) => self.ptr(target.as_ref(), domain, step),
            Mechanism::Exists(target) => {
                self.count(step)?;
                let target = self.target(Some(target), domain, step)?;
                // Section 5.7: an A question whatever the client's family is.
                let records = self.found(&target, Kind::A, step)?;
                Ok(!records.is_empty())
            }
        }
    }

    /// Section 5.2.
    fn include(&mut self, target: &MacroString, domain: &str, depth: u32, step: usize) -> Flow<bool> {
        self.count(step)?;
        let target = self.target(Some(target), domain, step)?;
        self.settle(step, SpfEffect::Entered);
        let decided = self.check(&target, depth + 1)?;
        if let Some(line) = self.ledger.get_mut(step) {
            line.note = format!("{}: {}", untrusted(target.as_bytes()), decided.result.as_str());
        }
        match decided.result {
            SpfResult::Pass => Ok(true),
            SpfResult::None => permanent(format!("include:{}: {}", untrusted(target.as_bytes()), decided.reason)),
            _ => Ok(false),
        }
    }

    /// Section 5.4.
    fn mx(&mut self, target: Option<&MacroString>, lengths: Lengths, domain: &str, step: usize) -> Flow<bool> {
        self.count(step)?;
        let target = self.target(target, domain, step)?;
        let records = self.found(&target, Kind::Mx, step)?;
        if records.len() > NAMES_MAX {
            return permanent(format!(
                "MX {target} has {} names, more than {NAMES_MAX} (section 4.6.4)",
                records.len()
            ));
        }
        let mut exchanges: Vec<(u16, &str)> = records
            .iter()
            .filter_map(|record| match &record.data {
                RecordData::Mx { preference, exchange } if !exchange.is_empty() => {
                    Some((*preference, exchange.as_str()))
                }
                _ => None,
            })
            .collect();
        exchanges.sort_unstable();
        let kind = self.address_kind();
        for (_, exchange) in &exchanges {
            self.ask.ahead(exchange, kind);
        }
        for (_, exchange) in exchanges {
            let addresses = self.escaped_addresses(exchange, step)?;
            if self.is_among(&addresses, lengths) {
                self.note(step, format!("by {}", untrusted(exchange.as_bytes())));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Section 5.5.
    fn ptr(&mut self, target: Option<&MacroString>, domain: &str, step: usize) -> Flow<bool> {
        self.count(step)?;
        let target = self.target(target, domain, step)?;
        let question = reverse_name(self.ip);
        self.asked(step, Kind::Ptr, &question);
        match self.ask.dns(&question, Kind::Ptr)?.found() {
            Seen::Absent => self.void(step, &question, Kind::Ptr)?,
            Seen::Value(_) => {}
            Seen::Unknown(blind) => self.note(step, format!("PTR {question}: {}", blind.why())),
        }
        let names = self.validated()?;
        let within = names.iter().find(|name| is_within(name, &target));
        if let Some(name) = within {
            self.note(step, format!("by {}", untrusted(name.as_bytes())));
        }
        Ok(within.is_some())
    }

    /// The client's names that lead back to it (section 5.5). Lookups that fail are skipped there.
    fn validated(&mut self) -> Result<Vec<String>, Pending> {
        let records = match self.ask.dns(&reverse_name(self.ip), Kind::Ptr)?.found() {
            Seen::Value(records) => records,
            Seen::Absent | Seen::Unknown(_) => return Ok(Vec::new()),
        };
        let name = |record: &DnsRecord| match &record.data {
            RecordData::Ptr { target } => Some(target.clone()),
            _ => None,
        };
        let names: Vec<String> = records.into_iter().filter_map(name).take(NAMES_MAX).collect();
        let kind = self.address_kind();
        for name in &names {
            self.ask.ahead(name, kind);
        }
        let mut kept = Vec::new();
        for name in names {
            if let Seen::Value(addresses) = self.ask.dns(&name, kind)?.addresses()
                && addresses.contains(&self.ip)
            {
                kept.push(name);
            }
        }
        Ok(kept)
    }

    /// `%{p}`: of the validated names the domain itself, one below it, any (section 7.3).
    fn best_validated(&mut self, domain: &str) -> Result<String, Pending> {
        let names = self.validated()?;
        let same = names.iter().find(|name| name.trim_end_matches('.').eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_within(name, domain));
        let best = same.or_else(below).or_else(|| names.first());
        Ok(best.map_or_else(|| "unknown".to_owned(), |name| name.trim_end_matches('.').to_owned()))
    }

    /// The name a term asks for. A term without one asks for the domain.
    fn target(&mut self, spec: Option<&MacroString>, domain: &str, step: usize) -> Flow<String> {
        let name = match spec {
            None => domain.to_owned(),
            Some(spec) => self.expand(spec, domain)?,
        };
        if let Some(line) = self.ledger.get_mut(step) {
            line.target = Some(untrusted(name.as_bytes()));
        }
        Ok(name)
    }

    fn expand(&mut self, spec: &MacroString, domain: &str) -> Result<String, Pending> {
        let validated = if spec.uses('p') { self.best_validated(domain)? } else { String::new() };
        let inputs = Inputs {
            ip: self.ip,
            local: self.local,
            sender_domain: self.sender_domain,
            domain,
            helo: &self.query.helo,
            validated: &validated,
            receiver: &self.query.receiver,
            now_s: self.query.now_s,
        };
        Ok(spec.expand(&inputs))
    }

    fn address_kind(&self) -> Kind {
        if self.ip.is_ipv4() { Kind::A } else { Kind::Aaaa }
    }

    fn addresses(&mut self, name: &str, step: usize) -> Flow<Vec<IpAddr>> {
        match askable(name) {
            Some(name) => self.escaped_addresses(&name, step),
            None => self.nameless(name, step),
        }
    }

    /// Of a name as it stands in a record of the DNS.
    fn escaped_addresses(&mut self, name: &str, step: usize) -> Flow<Vec<IpAddr>> {
        let kind = self.address_kind();
        let lookup = self.answer(name, kind, step)?;
        match lookup.addresses() {
            Seen::Value(addresses) => Ok(addresses),
            Seen::Absent => self.void(step, name, kind).map(|()| Vec::new()),
            Seen::Unknown(blind) => temporary(unanswered(kind, name, &blind)),
        }
    }

    fn found(&mut self, name: &str, kind: Kind, step: usize) -> Flow<Vec<&'a DnsRecord>> {
        let Some(name) = askable(name) else { return self.nameless(name, step) };
        let lookup = self.answer(&name, kind, step)?;
        match lookup.found() {
            Seen::Value(records) => Ok(records),
            Seen::Absent => self.void(step, &name, kind).map(|()| Vec::new()),
            Seen::Unknown(blind) => temporary(unanswered(kind, &name, &blind)),
        }
    }

    /// Section 4.8: a name that cannot be asked for does not exist. No question is sent, none is void.
    fn nameless<T>(&mut self, name: &str, step: usize) -> Flow<Vec<T>> {
        self.note(step, format!("{} cannot be asked for", untrusted(name.as_bytes())));
        Ok(Vec::new())
    }

    fn answer(&mut self, name: &str, kind: Kind, step: usize) -> Flow<&'a Lookup> {
        self.asked(step, kind, name);
        Ok(self.ask.dns(name, kind)?)
    }

    /// Section 4.6.4, before the term is evaluated.
    fn count(&mut self, step: usize) -> Flow<()> {
        self.lookups += 1;
        if let Some(line) = self.ledger.get_mut(step) {
            line.lookups = self.lookups;
        }
        match self.lookups > LOOKUPS_MAX {
            true => permanent(format!("more than {LOOKUPS_MAX} terms that need a lookup (section 4.6.4)")),
            false => Ok(()),
        }
    }

    fn void(&mut self, step: usize, name: &str, kind: Kind) -> Flow<()> {
        self.voids += 1;
        self.note(step, format!("{} {name} has no answer", kind.as_str()));
        if let Some(line) = self.ledger.get_mut(step) {
            line.voids = self.voids;
        }
        match self.voids > VOIDS_MAX {
            true => permanent(format!("more than {VOIDS_MAX} lookups without an answer (section 4.6.4)")),
            false => Ok(()),
        }
    }

    fn is_among(&self, addresses: &[IpAddr], lengths: Lengths) -> bool {
        addresses.iter().any(|address| match (self.ip, address) {
            (IpAddr::V4(ip), IpAddr::V4(address)) => same4(ip, *address, lengths.v4),
            (IpAddr::V6(ip), IpAddr::V6(address)) => same6(ip, *address, lengths.v6),
            _ => false,
        })
    }

    /// Section 6.2: whatever goes wrong, there is no explanation.
    fn explanation(&mut self, target: &MacroString, domain: &str) -> Result<Option<String>, Pending> {
        let Some(name) = askable(&self.expand(target, domain)?) else { return Ok(None) };
        let texts: Vec<Vec<u8>> = match self.ask.dns(&name, Kind::Txt)?.found() {
            Seen::Value(records) => records.into_iter().filter_map(text).collect(),
            Seen::Absent | Seen::Unknown(_) => return Ok(None),
        };
        let [bytes] = texts.as_slice() else { return Ok(None) };
        let read = std::str::from_utf8(bytes).ok().and_then(|text| MacroString::parse(text, Within::Explanation).ok());
        match read {
            Some(read) => self.expand(&read, domain).map(|text| Some(untrusted(text.as_bytes()))),
            None => Ok(None),
        }
    }

    fn line(&self, domain: &str, depth: u32, column: u32, term: &str) -> SpfStep {
        SpfStep {
            depth,
            domain: domain.to_owned(),
            column,
            term: term.to_owned(),
            target: None,
            lookups: self.lookups,
            voids: self.voids,
            effect: SpfEffect::Skipped,
            note: String::new(),
            asked: Vec::new(),
        }
    }

    fn settle(&mut self, step: usize, effect: SpfEffect) {
        if let Some(line) = self.ledger.get_mut(step) {
            line.effect = effect;
        }
    }

    fn note(&mut self, step: usize, note: String) {
        if let Some(line) = self.ledger.get_mut(step) {
            line.note = note;
        }
    }

    fn asked(&mut self, step: usize, kind: Kind, name: &str) {
        if let Some(line) = self.ledger.get_mut(step) {
            line.asked.push(Lookup::key(kind.as_str(), name));
        }
    }

    fn skipped(&mut self, terms: &[Term], domain: &str, depth: u32) {
        for term in terms {
            let mut line = self.line(domain, depth, term.column, &term.text);
            line.note = "an earlier term decides".to_owned();
            self.ledger.push(line);
        }
    }

    /// The last line is the term that could not be evaluated.
    fn broke(&mut self, why: &str) {
        if let Some(line) = self.ledger.last_mut() {
            line.effect = SpfEffect::Broke;
            line.note = why.to_owned();
            (line.lookups, line.voids) = (self.lookups, self.voids);
        }
    }
}

fn decided(qualifier: Qualifier, term: &Term, name: &str, record: &Record) -> Decided {
    let result = match qualifier {
        Qualifier::Pass => SpfResult::Pass,
        Qualifier::Fail => SpfResult::Fail,
        Qualifier::SoftFail => SpfResult::SoftFail,
        Qualifier::Neutral => SpfResult::Neutral,
    };
    let reason = format!("{} in the record of {name}", term.text);
    Decided { result, reason, exp: record.exp().map(|exp| (exp.clone(), name.to_owned())) }
}

/// The strings of a TXT record, joined without a space (section 3.3).
pub(crate) fn text(record: &DnsRecord) -> Option<Vec<u8>> {
    match &record.data {
        RecordData::Txt { strings } => Some(strings.iter().flat_map(|string| string.0.iter().copied()).collect()),
        _ => None,
    }
}

fn same4(left: Ipv4Addr, right: Ipv4Addr, length: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
    u32::from(left) & mask == u32::from(right) & mask
}

fn same6(left: Ipv6Addr, right: Ipv6Addr, length: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
    u128::from(left) & mask == u128::from(right) & mask
}
