//! A record and all that it leads to, without a sender: what it costs at worst, and what is wrong with it.
//!
//! Evaluation stops at the first match; this walks every term. Voids are counted where a name has no address of either
//! family: that an IPv4 host has no AAAA is void for IPv6 clients alone, who are not meant. What must not live here: the
//! evaluation for a client ([`super::eval`]).

use super::cover::Cover;
use super::eval::text;
use super::macros::MacroString;
use super::names::{askable, evaluable};
use super::record::{self, Lengths, Mechanism, Qualifier, Record, Term, What};
use super::{LOOKUPS_MAX, NAMES_MAX, VOIDS_MAX};
use crate::ask::{Asker, Evaluator, Kind, Pending};
use mxray_model::Seen;
use mxray_model::evidence::published::{SpfFlaw, SpfNode, SpfProblem, SpfSurvey};
use mxray_model::evidence::{Lookup, RecordData};
use mxray_model::text::untrusted;
use std::collections::BTreeSet;

/// Most terms of all records together that are walked. Ten lookups end every evaluation; records that include each other
/// twice would never end.
const NODES_MAX: usize = 400;
/// Most flaws that are told: the first ones are those of the domain's own record.
const FLAWS_MAX: usize = 200;
/// Deepest chain of includes that is walked.
const DEPTH_MAX: u32 = 20;
/// Section 3.4: with its name and head the answer fits into 512 bytes.
const RECORD_BYTES_MAX: usize = 450;
/// More than an IPv4 /16, or an IPv6 /32, in the domain's own record.
const BROAD_V4_LOG2: u32 = 16;
const BROAD_V6_LOG2: u32 = 96;
const UNICAST_V6: u128 = 0x2000 << 112;

/// Surveys a domain's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfSurveyor {
    pub domain: String,
}

impl Evaluator for SpfSurveyor {
    type Outcome = SpfSurvey;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<SpfSurvey, Pending> {
        let domain = untrusted(self.domain.as_bytes());
        let survey =
            SpfSurvey { domain, record: None, lookups: 0, voids: 0, exact: true, tree: Vec::new(), flaws: Vec::new() };
        let mut walk = Walk { ask, survey, pending: false, path: Vec::new(), cover: Cover::default() };
        match evaluable(&self.domain) {
            Some(name) => walk.enter(&name, Way { depth: 0, default: true, passes: true, parent: None }),
            None => walk.flaw(0, &self.domain, SpfProblem::Missing),
        }
        if walk.pending {
            return Err(Pending);
        }
        walk.everybody_together();
        let mut survey = walk.survey;
        limits(&mut survey);
        Ok(survey)
    }
}

fn limits(survey: &mut SpfSurvey) {
    let (lookups, voids) = (survey.lookups, survey.voids);
    let mut add = |problem| survey.flaws.push(SpfFlaw { domain: survey.domain.clone(), depth: 0, problem });
    if lookups > LOOKUPS_MAX {
        add(SpfProblem::LookupsExceeded { lookups });
    } else if lookups >= LOOKUPS_MAX - 1 {
        add(SpfProblem::LookupsNear { lookups });
    }
    if voids > VOIDS_MAX {
        add(SpfProblem::VoidsExceeded { voids });
    }
}

/// How a record was reached.
#[derive(Clone, Copy)]
struct Way<'t> {
    depth: u32,
    /// Its default is the domain's default: its own record, or `redirect`.
    default: bool,
    /// A match in it is a pass for the domain.
    passes: bool,
    /// The term that led here.
    parent: Option<&'t str>,
}

struct Walk<'a, 'b> {
    ask: &'b mut Asker<'a>,
    survey: SpfSurvey,
    pending: bool,
    path: Vec<String>,
    /// The networks that pass.
    cover: Cover,
}

impl<'a> Walk<'a, '_> {
    fn enter(&mut self, name: &str, way: Way<'_>) {
        let Some(bytes) = self.record(name, way) else { return };
        let record = record::parse(&bytes);
        if way.depth == 0 && self.survey.record.is_none() && way.parent.is_none() {
            self.survey.record = Some(record.text.clone());
        }
        for error in &record.errors {
            let (column, text, why) = (error.column, error.text.clone(), error.why.clone());
            self.flaw(way.depth, name, SpfProblem::Syntax { column, text, why });
        }
        self.text_flaws(&record, name, way);
        self.path.push(name.to_owned());
        let end = record.terms.iter().position(|term| matches!(term.what, What::Directive(_, Mechanism::All)));
        let reached = record.terms.get(..end.map_or(record.terms.len(), |end| end + 1)).unwrap_or_default();
        for term in reached {
            if let What::Directive(qualifier, mechanism) = &term.what {
                self.term(term, *qualifier, mechanism, name, way);
            }
        }
        if end.is_none()
            && let Some((term, target)) = record.redirect()
        {
            self.leads(term, target, name, Way { parent: Some(&term.text), ..way });
        }
        self.path.pop();
    }

    /// The one record of a name, with what is to be said of its others.
    fn record(&mut self, name: &str, way: Way<'_>) -> Option<Vec<u8>> {
        let lookup = self.lookup(name, Kind::Txt)?;
        let texts: Vec<Vec<u8>> = match lookup.found() {
            Seen::Value(records) => records.into_iter().filter_map(text).collect(),
            Seen::Absent => Vec::new(),
            Seen::Unknown(blind) => {
                self.not_seen(way.depth, name, format!("TXT {name}"), blind.why());
                return None;
            }
        };
        for text in &texts {
            if let Some(why) = record::near_miss(text) {
                let problem = SpfProblem::NotRecord { text: untrusted(text), why: why.to_owned() };
                self.flaw(way.depth, name, problem);
            }
            if text
                .get(..8)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"spf2.0/p") || start.eq_ignore_ascii_case(b"spf2.0/m"))
            {
                self.flaw(way.depth, name, SpfProblem::SenderId { text: untrusted(text) });
            }
        }
        let mut records: Vec<Vec<u8>> = texts.into_iter().filter(|text| record::is_record(text)).collect();
        match (records.len(), way.parent) {
            (0, None) => self.flaw(way.depth, name, SpfProblem::Missing),
            (0, Some(_)) => self.flaw(way.depth, name, SpfProblem::IncludeNoRecord { target: name.to_owned() }),
            (1, _) => {
                let record = records.pop()?;
                if record.len() > RECORD_BYTES_MAX {
                    let strings = string_lengths(lookup, &record);
                    let bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
                    self.flaw(way.depth, name, SpfProblem::TooLong { bytes, strings });
                }
                return Some(record);
            }
            (many, _) => {
                let count = u32::try_from(many).unwrap_or(u32::MAX);
                self.flaw(way.depth, name, SpfProblem::Multiple { count });
            }
        }
        None
    }

    /// What the text alone says.
    fn text_flaws(&mut self, record: &Record, name: &str, way: Way<'_>) {
        let all = record.terms.iter().position(|term| matches!(term.what, What::Directive(_, Mechanism::All)));
        let mut seen = BTreeSet::new();
        for (at, term) in record.terms.iter().enumerate() {
            let directive = matches!(term.what, What::Directive(..));
            let after_all = all.is_some_and(|all| at > all);
            let why = match &term.what {
                _ if directive && after_all => Some("it stands behind `all`, which always matches (section 5.1)"),
                What::Redirect(_) if all.is_some() => Some("a record with `all` never redirects (section 6.1)"),
                _ if directive && !seen.insert(normal(&term.text)) => Some("the same mechanism stands before it"),
                _ => None,
            };
            if let Some(why) = why {
                let (text, column) = (term.text.clone(), term.column);
                self.flaw(way.depth, name, SpfProblem::DeadTerm { term: text, column, why: why.to_owned() });
            }
        }
        if !way.default {
            return;
        }
        match all.and_then(|all| record.terms.get(all)) {
            None if record.redirect().is_none() => self.flaw(way.depth, name, SpfProblem::NoDefault { term: None }),
            Some(Term { what: What::Directive(Qualifier::Neutral, _), text, .. }) => {
                self.flaw(way.depth, name, SpfProblem::NoDefault { term: Some(text.clone()) });
            }
            _ => {}
        }
    }

    fn term(&mut self, term: &Term, qualifier: Qualifier, mechanism: &Mechanism, name: &str, way: Way<'_>) {
        let passes = way.passes && qualifier == Qualifier::Pass;
        if let (true, Mechanism::Ip4(address, length)) = (passes, mechanism) {
            self.cover.add(*address, *length, &term.text);
        }
        if passes && matches_all(mechanism) {
            self.flaw(way.depth, name, SpfProblem::PassAll { term: term.text.clone() });
        } else if passes
            && way.depth == 0
            && let Some(addresses_log2) = broad(mechanism)
        {
            self.flaw(way.depth, name, SpfProblem::BroadRange { term: term.text.clone(), addresses_log2 });
        }
        match mechanism {
            Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..) => self.node(term, name, way, 0, Vec::new()),
            Mechanism::Include(target) => {
                let below = Way { depth: way.depth + 1, default: false, passes, parent: Some(&term.text) };
                self.leads(term, target, name, below);
            }
            Mechanism::A(target, _) => {
                let voids = self.target(term, target.as_ref(), name, way).map(|asked| self.void_addresses(&asked, way));
                self.node(term, name, way, 1, voids.unwrap_or_default());
            }
            Mechanism::Mx(target, _) => {
                let voids = self.target(term, target.as_ref(), name, way).map(|asked| self.void_exchanges(&asked, way));
                self.node(term, name, way, 1, voids.unwrap_or_default());
            }
            Mechanism::Ptr(_) => {
                self.flaw(way.depth, name, SpfProblem::PtrUsed { term: term.text.clone() });
                self.node(term, name, way, 1, Vec::new());
            }
            Mechanism::Exists(target) => {
                let voids = match self.target(term, Some(target), name, way) {
                    Some(asked) => self.void(&asked, Kind::A, way).into_iter().collect(),
                    None => Vec::new(),
                };
                self.node(term, name, way, 1, voids);
            }
        }
    }

    /// `include` and `redirect`.
    fn leads(&mut self, term: &Term, target: &MacroString, name: &str, below: Way<'_>) {
        let above = below.depth.saturating_sub(u32::from(!matches!(term.what, What::Redirect(_))));
        self.node(term, name, Way { depth: above, ..below }, 1, Vec::new());
        let Some(target) = self.target(term, Some(target), name, Way { depth: above, ..below }) else { return };
        let Some(asked) = evaluable(&target) else {
            let target = untrusted(target.as_bytes());
            return self.flaw(above, name, SpfProblem::IncludeNoRecord { target });
        };
        if self.path.contains(&asked) {
            self.flaw(above, name, SpfProblem::Loop { target: asked });
        } else if below.depth > DEPTH_MAX || self.path.len() > DEPTH_MAX as usize || self.survey.tree.len() >= NODES_MAX
        {
            self.not_seen(above, name, asked, "the records lead on and on".to_owned());
        } else {
            self.enter(&asked, below);
        }
    }

    /// The name a term asks for. `None`: it depends on who sends.
    fn target(&mut self, term: &Term, spec: Option<&MacroString>, name: &str, way: Way<'_>) -> Option<String> {
        let Some(spec) = spec else { return Some(name.to_owned()) };
        let known = spec.expand_static(name);
        if known.is_none() {
            self.survey.exact = false;
            self.flaw(way.depth, name, SpfProblem::Dynamic { term: term.text.clone(), column: term.column });
        }
        known
    }

    fn node(&mut self, term: &Term, name: &str, way: Way<'_>, lookups: u32, voids: Vec<String>) {
        self.survey.lookups += lookups;
        self.survey.voids += u32::try_from(voids.len()).unwrap_or(u32::MAX);
        if self.survey.tree.len() < NODES_MAX {
            let lookups_so_far = self.survey.lookups;
            let (domain, column, term) = (name.to_owned(), term.column, term.text.clone());
            self.survey.tree.push(SpfNode { depth: way.depth, domain, column, term, lookups, lookups_so_far, voids });
        }
    }

    /// The key of the question, where it has no answer.
    fn void(&mut self, name: &str, kind: Kind, way: Way<'_>) -> Option<String> {
        let name = askable(name)?;
        match self.lookup(&name, kind)?.found() {
            Seen::Value(_) => None,
            Seen::Absent => Some(Lookup::key(kind.as_str(), &name)),
            Seen::Unknown(blind) => {
                self.not_seen(way.depth, &name, Lookup::key(kind.as_str(), &name), blind.why());
                None
            }
        }
    }

    /// A name without addresses of either family.
    fn void_addresses(&mut self, name: &str, way: Way<'_>) -> Vec<String> {
        if let Some(name) = askable(name) {
            self.ask.ahead(&name, Kind::Aaaa);
        }
        match self.void(name, Kind::A, way) {
            Some(key) if self.void(name, Kind::Aaaa, way).is_some() => vec![key],
            _ => Vec::new(),
        }
    }

    fn void_exchanges(&mut self, name: &str, way: Way<'_>) -> Vec<String> {
        if let Some(key) = self.void(name, Kind::Mx, way) {
            return vec![key];
        }
        let Some(lookup) = askable(name).and_then(|name| self.lookup(&name, Kind::Mx)) else { return Vec::new() };
        let Seen::Value(records) = lookup.found() else { return Vec::new() };
        if records.len() > NAMES_MAX {
            let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
            self.flaw(way.depth, name, SpfProblem::MxOverTen { name: untrusted(name.as_bytes()), count });
        }
        let exchanges = records.iter().take(NAMES_MAX).filter_map(|record| match &record.data {
            RecordData::Mx { exchange, .. } if !exchange.is_empty() => Some(exchange.as_str()),
            _ => None,
        });
        let mut voids = Vec::new();
        for exchange in exchanges {
            voids.extend(self.void_addresses(exchange, way));
        }
        voids
    }

    fn lookup(&mut self, name: &str, kind: Kind) -> Option<&'a Lookup> {
        match self.ask.dns(name, kind) {
            Ok(lookup) => Some(lookup),
            Err(Pending) => {
                self.pending = true;
                None
            }
        }
    }

    /// No single term matches everybody, and all of them do.
    fn everybody_together(&mut self) {
        let told = self.survey.flaws.iter().any(|flaw| matches!(flaw.problem, SpfProblem::PassAll { .. }));
        if !told && self.cover.is_everybody() {
            let (name, term) = (self.survey.domain.clone(), self.cover.widest());
            self.flaw(0, &name, SpfProblem::PassAll { term });
        }
    }

    fn not_seen(&mut self, depth: u32, name: &str, what: String, why: String) {
        self.survey.exact = false;
        self.flaw(depth, name, SpfProblem::NotSeen { what, why });
    }

    /// The same flaw of the same record, reached twice, is one.
    fn flaw(&mut self, depth: u32, domain: &str, problem: SpfProblem) {
        let domain = untrusted(domain.as_bytes());
        if self.survey.flaws.len() < FLAWS_MAX
            && !self.survey.flaws.iter().any(|flaw| flaw.domain == domain && flaw.problem == problem)
        {
            self.survey.flaws.push(SpfFlaw { domain, depth, problem });
        }
    }
}

/// A mechanism without its qualifier, in lower case: the first one decides.
fn normal(term: &str) -> String {
    term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase()
}

fn matches_all(mechanism: &Mechanism) -> bool {
    match mechanism {
        Mechanism::All | Mechanism::Ip4(_, 0) | Mechanism::Ip6(_, 0) => true,
        // All that is given to anybody lies in 2000::/3 (RFC 4291 section 2.4).
        Mechanism::Ip6(network, length) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(*length)).unwrap_or(0);
            *length <= 3 && network.to_bits() & kept == UNICAST_V6 & kept
        }
        Mechanism::A(_, lengths) | Mechanism::Mx(_, lengths) => lengths.v4 == 0,
        _ => false,
    }
}

/// How many addresses a term names, as a power of two, where that is more than one sender has.
fn broad(mechanism: &Mechanism) -> Option<u32> {
    let v4 = |length: u8| 32 - u32::from(length.min(32));
    let v6 = |length: u8| 128 - u32::from(length.min(128));
    let over = |bits: u32, most: u32| (bits > most).then_some(bits);
    match mechanism {
        Mechanism::Ip4(_, length) => over(v4(*length), BROAD_V4_LOG2),
        Mechanism::Ip6(_, length) => over(v6(*length), BROAD_V6_LOG2),
        Mechanism::A(_, Lengths { v4: short, v6: long }) | Mechanism::Mx(_, Lengths { v4: short, v6: long }) => {
            over(v4(*short), BROAD_V4_LOG2).or_else(|| over(v6(*long), BROAD_V6_LOG2))
        }
        _ => None,
    }
}

fn string_lengths(lookup: &Lookup, wanted: &[u8]) -> Vec<u32> {
    let of = |record: &&mxray_model::evidence::DnsRecord| text(record).is_some_and(|text| text == wanted);
    match lookup.records.iter().find(of).map(|record| &record.data) {
        Some(RecordData::Txt { strings }) => {
            strings.iter().map(|string| u32::try_from(string.0.len()).unwrap_or(u32::MAX)).collect()
        }
        _ => Vec::new(),
    }
}
