//! Blocklists and allow lists over DNS (RFC 5782): which there are, whether each is well, and what it says.
//!
//! Start reading at [`ask_lists`]. What must not live here: how grave a listing is (rules, the command).

mod catalogue;
mod decode;
#[cfg(test)]
mod tests;

pub use catalogue::{ClosedList, CodeRange, ListCatalogue, ListCode, ListKind, ListName, ListZone};
pub use decode::ListHealth;

use crate::dns::reverse_name;
use crate::evaluate::{Evaluations, side_by_side, why_no_answer};
use crate::random::token;
use decode::{Decoded, decode};
use mxray_auth::ask::Kind;
use mxray_auth::dmarc::registrable;
use mxray_model::Seen;
use mxray_model::evidence::{Lookup, RecordData};
use mxray_model::text::untrusted;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};

/// Questions on their way at the same time. They go to as many different servers as there are lists.
const SIDE_BY_SIDE: usize = 64;
/// Texts of one listing that are kept.
const TEXTS_MAX: usize = 4;

/// What lists are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listable {
    Address(IpAddr),
    /// A-labels.
    Name(String),
}

impl Listable {
    pub fn kind(&self) -> ListKind {
        match self {
            Listable::Address(address) if address.to_canonical().is_ipv4() => ListKind::Ipv4,
            Listable::Address(_) => ListKind::Ipv6,
            Listable::Name(_) => ListKind::Domain,
        }
    }

    pub fn shown(&self) -> String {
        match self {
            Listable::Address(address) => address.to_canonical().to_string(),
            Listable::Name(name) => untrusted(name.as_bytes()),
        }
    }

    /// What stands in front of a list's zone (RFC 5782 sections 2.1, 2.4 and 3).
    fn within(&self, list: &ListZone) -> String {
        let label = match self {
            Listable::Address(address) => {
                let name = reverse_name(*address);
                let bare = name.strip_suffix(".in-addr.arpa").or_else(|| name.strip_suffix(".ip6.arpa"));
                bare.unwrap_or(&name).to_owned()
            }
            Listable::Name(name) if list.name == ListName::Registered => {
                registrable(name).unwrap_or_else(|| name.clone())
            }
            Listable::Name(name) => name.clone(),
        };
        format!("{label}.{}", list.zone)
    }
}

/// What one list says of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    Listed,
    NotListed,
    /// Nothing that can be relied on; see `why`.
    Unknown,
}

/// One list, one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListRow {
    pub subject: String,
    pub kind: ListKind,
    pub list: String,
    pub zone: String,
    pub allow: bool,
    pub tier: u8,
    pub netblock: bool,
    pub state: ListState,
    /// No accusation: no mail is expected from there.
    pub policy: bool,
    pub meanings: Vec<String>,
    /// What the list says in words (its TXT records).
    pub texts: Vec<String>,
    pub why: Option<String>,
    /// It is unknown because the list refused this very question.
    #[serde(skip)]
    pub refused: bool,
    /// The name that was asked for, and the answer as it came.
    pub asked: String,
    pub answers: Vec<String>,
    pub health: ListHealth,
    pub granularity: String,
    pub delisting: Option<String>,
    pub source: String,
}

/// What all of it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListAnswers {
    pub rows: Vec<ListRow>,
    /// The resolver makes up addresses for names that do not exist. Unknown: it could not be asked.
    pub rewrites: Seen<bool>,
}

/// Asks the lists about the subjects, all side by side: the lists' own health, a name that cannot exist, and the subjects.
pub fn ask_lists(lists: &[ListZone], subjects: &[Listable], run: &Evaluations) -> ListAnswers {
    let pairs: Vec<(&ListZone, &Listable)> = subjects
        .iter()
        .flat_map(|subject| lists.iter().map(move |list| (list, subject)))
        .filter(|(list, subject)| list.kinds.contains(&subject.kind()))
        .collect();
    let made_up = format!("{}.invalid", token().unwrap_or_else(|| "mxray-no-such-name".to_owned()));
    let mut questions = vec![made_up.clone()];
    for (list, subject) in &pairs {
        questions.extend([listed_entry(list, subject.kind()), clear_entry(list, subject.kind()), subject.within(list)]);
    }
    questions.sort();
    questions.dedup();
    side_by_side(&questions, SIDE_BY_SIDE, |name| run.lookup(name, Kind::A));
    // From here on the answers are there already.
    let rewrites = addresses(&run.lookup(&made_up, Kind::A)).map(|found| !found.is_empty()).or_absent(false);
    let rows = side_by_side(&pairs, SIDE_BY_SIDE, |(list, subject)| row(list, subject, &rewrites, run));
    ListAnswers { rows, rewrites }
}

trait OrAbsent<T> {
    fn or_absent(self, value: T) -> Seen<T>;
}

impl<T> OrAbsent<T> for Seen<T> {
    fn or_absent(self, value: T) -> Seen<T> {
        match self {
            Seen::Absent => Seen::Value(value),
            other => other,
        }
    }
}

fn row(list: &ListZone, subject: &Listable, rewrites: &Seen<bool>, run: &Evaluations) -> ListRow {
    let asked = subject.within(list);
    let health = health(list, subject.kind(), rewrites, run);
    let lookup = run.lookup(&asked, Kind::A);
    let found = addresses(&lookup);
    let mut row = ListRow {
        subject: subject.shown(),
        kind: subject.kind(),
        list: list.title.clone(),
        zone: list.zone.clone(),
        allow: list.allow,
        tier: list.tier,
        netblock: list.netblock,
        state: ListState::Unknown,
        policy: false,
        meanings: Vec::new(),
        texts: Vec::new(),
        why: None,
        refused: false,
        asked: untrusted(asked.as_bytes()),
        answers: found.value().into_iter().flatten().map(Ipv4Addr::to_string).collect(),
        health,
        granularity: list.granularity.clone(),
        delisting: list.delisting.clone(),
        source: list.source.clone(),
    };
    match (&found, &row.health) {
        (Seen::Unknown(_), _) => row.why = Some(why_not(&lookup)),
        // Of a list that is not well neither a yes nor a no counts.
        (_, ListHealth::Refused { why } | ListHealth::Unhealthy { why } | ListHealth::Unknown { why }) => {
            row.why = Some(why.clone());
        }
        (Seen::Absent, ListHealth::Healthy) => row.state = ListState::NotListed,
        (Seen::Value(answers), ListHealth::Healthy) => match decode(list, answers) {
            Decoded::Refused { why } => (row.refused, row.why) = (true, Some(why)),
            Decoded::Odd { why } => row.why = Some(why),
            Decoded::Listed { meanings, policy } => {
                (row.state, row.policy, row.meanings) = (ListState::Listed, policy, meanings);
                row.texts = texts(&run.lookup(&asked, Kind::Txt));
            }
        },
    }
    row
}

fn why_not(lookup: &Lookup) -> String {
    why_no_answer(lookup).unwrap_or_else(|| "no answer".to_owned())
}

/// An answer without an address is none.
fn addresses(lookup: &Lookup) -> Seen<Vec<Ipv4Addr>> {
    let found = lookup.found().map(|records| {
        let address = |record: &&mxray_model::evidence::DnsRecord| match record.data {
            RecordData::A { address } => Some(address),
            _ => None,
        };
        records.iter().filter_map(address).collect::<Vec<_>>()
    });
    match found {
        Seen::Value(found) if found.is_empty() => Seen::Absent,
        other => other,
    }
}

fn texts(lookup: &Lookup) -> Vec<String> {
    let Seen::Value(records) = lookup.found() else { return Vec::new() };
    let text = |record: &&mxray_model::evidence::DnsRecord| match &record.data {
        RecordData::Txt { strings } => {
            Some(untrusted(&strings.iter().flat_map(|string| string.0.iter().copied()).collect::<Vec<u8>>()))
        }
        _ => None,
    };
    records.iter().filter_map(text).take(TEXTS_MAX).collect()
}

/// RFC 5782 section 5: 127.0.0.2, ::FFFF:7F00:2 and TEST are listed, 127.0.0.1, ::FFFF:7F00:1 and INVALID are not.
fn listed_entry(list: &ListZone, kind: ListKind) -> String {
    let entry = list.listed.as_deref();
    entry.map_or_else(|| test_entry(kind, 2, "test"), str::to_owned) + "." + &list.zone
}

fn clear_entry(list: &ListZone, kind: ListKind) -> String {
    let entry = list.clear.as_deref();
    entry.map_or_else(|| test_entry(kind, 1, "invalid"), str::to_owned) + "." + &list.zone
}

fn test_entry(kind: ListKind, last: u8, name: &str) -> String {
    match kind {
        ListKind::Domain => name.to_owned(),
        ListKind::Ipv4 => format!("{last}.0.0.127"),
        // ::FFFF:7F00:LAST, nibble by nibble from the end.
        ListKind::Ipv6 => format!("{last}.0.0.0.0.0.f.7.f.f.f.f{}", ".0".repeat(20)),
    }
}

fn health(list: &ListZone, kind: ListKind, rewrites: &Seen<bool>, run: &Evaluations) -> ListHealth {
    let (listed, clear) =
        (run.lookup(&listed_entry(list, kind), Kind::A), run.lookup(&clear_entry(list, kind), Kind::A));
    if rewrites.value() == Some(&true) {
        let why =
            "the resolver makes up addresses for names that do not exist: it cannot be told from a listing".to_owned();
        return ListHealth::Unhealthy { why };
    }
    match addresses(&clear) {
        Seen::Value(answers) => {
            return match decode(list, &answers) {
                Decoded::Refused { why } => ListHealth::Refused { why },
                Decoded::Odd { why } => ListHealth::Unhealthy { why },
                Decoded::Listed { .. } => ListHealth::Unhealthy {
                    why: format!("it lists {}, which no list may list: it says yes to everything", clear.name),
                },
            };
        }
        Seen::Unknown(_) => return ListHealth::Unknown { why: why_not(&clear) },
        Seen::Absent => {}
    }
    match addresses(&listed) {
        Seen::Value(answers) => match decode(list, &answers) {
            Decoded::Refused { why } => ListHealth::Refused { why },
            // An answer for its test entry alone may be a code of its own.
            Decoded::Odd { why } if answers.iter().any(|answer| !answer.is_loopback()) => ListHealth::Unhealthy { why },
            Decoded::Odd { .. } | Decoded::Listed { .. } => ListHealth::Healthy,
        },
        Seen::Absent => ListHealth::Unhealthy {
            why: format!("it does not list {}, which every list has: it is dead, or empty", listed.name),
        },
        Seen::Unknown(_) => ListHealth::Unknown { why: why_not(&listed) },
    }
}
