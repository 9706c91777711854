//! DNS lists (RFC 5782): how an address or a domain is asked for, and what an answer means, and cannot mean.
//!
//! What must not live here: which lists there are, and how much they weigh.

use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::spf::askable;
use mxray_model::Seen;
use mxray_model::evidence::published::{ListAnswer, ListHealth};
use mxray_model::evidence::{Lookup, RecordData};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is known of a list's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListZone {
    /// `zen.spamhaus.org`.
    pub zone: String,
    pub about: ListAbout,
    /// Published codes and what they mean. An octet of `None` stands for any: DNSWL has its category in the third, its trust
    /// in the fourth. None at all: any answer is a listing.
    pub codes: Vec<([Option<u8>; 4], String)>,
    /// Codes that say why nothing is answered.
    pub refusals: Vec<(Ipv4Addr, String)>,
    /// IPv6 addresses are listed in networks of this length: 64 on most.
    pub v6_length: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListAbout {
    Addresses,
    Domains,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Address(IpAddr),
    Domain(String),
}

/// Asks a list about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuestion {
    pub list: ListZone,
    pub subject: Subject,
}

/// Asks a list for its test points (RFC 5782 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListProbe {
    pub list: ListZone,
}

/// Refusals that several lists share: Spamhaus's 127.255.255.x, and 127.0.0.1 of SURBL and URIBL, and 127.0.1.255.
const REFUSALS: [(Ipv4Addr, &str); 4] = [
    (Ipv4Addr::new(127, 255, 255, 252), "a typing error in the zone's name"),
    (Ipv4Addr::new(127, 255, 255, 254), "asked through a public resolver, or anonymously"),
    (Ipv4Addr::new(127, 255, 255, 255), "too many questions"),
    (Ipv4Addr::new(127, 0, 1, 255), "an address was asked of a list of domains"),
];

impl ListZone {
    /// The name to be asked for. `None`: the list is not about such a subject.
    pub fn name(&self, subject: &Subject) -> Option<String> {
        let labels = match (subject, self.about) {
            (Subject::Address(ip), ListAbout::Addresses) => match ip.to_canonical() {
                IpAddr::V4(address) => {
                    let [a, b, c, d] = address.octets();
                    format!("{d}.{c}.{b}.{a}")
                }
                // Section 2.4: nibbles, of the network that the list keeps.
                IpAddr::V6(address) => nibbles(address, self.v6_length),
            },
            (Subject::Domain(domain), ListAbout::Domains) => domain.trim_end_matches('.').to_owned(),
            _ => return None,
        };
        askable(&format!("{labels}.{}", self.zone))
    }

    /// What an answer means.
    pub fn taken(&self, lookup: &Lookup) -> ListAnswer {
        let addresses = match lookup.found() {
            Seen::Value(records) => records,
            Seen::Absent => return ListAnswer::NotListed,
            Seen::Unknown(blind) => return ListAnswer::Unknown { why: blind.why() },
        };
        let codes: Vec<Ipv4Addr> = addresses
            .iter()
            .filter_map(|record| match record.data {
                RecordData::A { address } => Some(address),
                _ => None,
            })
            .collect();
        if let Some((code, why)) = codes.iter().find_map(|code| self.refusal(*code).map(|why| (*code, why))) {
            return ListAnswer::Refused { code, why };
        }
        // Section 2.1: answers of lists are in 127.0.0.0/8, and not 127.0.0.1.
        if let Some(address) = codes.iter().find(|code| !code.is_loopback() || **code == Ipv4Addr::LOCALHOST) {
            return ListAnswer::Rewritten { address: *address };
        }
        if self.codes.is_empty() {
            return ListAnswer::Listed { codes, meanings: Vec::new() };
        }
        let meanings: Vec<String> = codes.iter().filter_map(|code| self.meaning(*code)).collect();
        match meanings.is_empty() {
            true => ListAnswer::Undocumented { codes },
            false => ListAnswer::Listed { codes, meanings },
        }
    }

    fn refusal(&self, code: Ipv4Addr) -> Option<String> {
        let own = self.refusals.iter().find(|(refusal, _)| *refusal == code).map(|(_, why)| why.clone());
        let published = || self.codes.iter().any(|(pattern, _)| fits(*pattern, code));
        let shared = || REFUSALS.iter().find(|(refusal, _)| *refusal == code).map(|(_, why)| (*why).to_owned());
        own.or_else(|| if published() { None } else { shared() })
    }

    fn meaning(&self, code: Ipv4Addr) -> Option<String> {
        self.codes.iter().find(|(pattern, _)| fits(*pattern, code)).map(|(_, meaning)| meaning.clone())
    }
}

fn fits(pattern: [Option<u8>; 4], code: Ipv4Addr) -> bool {
    pattern.into_iter().zip(code.octets()).all(|(wanted, octet)| wanted.is_none_or(|wanted| wanted == octet))
}

fn nibbles(address: Ipv6Addr, length: u8) -> String {
    let digits: Vec<String> = address
        .octets()
        .into_iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(usize::from(length.clamp(4, 128)) / 4)
        .map(|nibble| format!("{nibble:x}"))
        .collect();
    digits.into_iter().rev().collect::<Vec<_>>().join(".")
}

impl Evaluator for ListQuestion {
    /// `None`: the list is not about such a subject, and nothing was asked.
    type Outcome = Option<ListAnswer>;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Self::Outcome, Pending> {
        match self.list.name(&self.subject) {
            Some(name) => ask.dns(&name, Kind::A).map(|lookup| Some(self.list.taken(lookup))),
            None => Ok(None),
        }
    }
}

impl Evaluator for ListProbe {
    type Outcome = ListHealth;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<ListHealth, Pending> {
        let points = match self.list.about {
            ListAbout::Addresses => [
                Subject::Address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))),
                Subject::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ],
            ListAbout::Domains => [Subject::Domain("test".to_owned()), Subject::Domain("invalid".to_owned())],
        };
        let names = points.map(|point| self.list.name(&point).unwrap_or_default());
        let [listed, clean] = &names;
        ask.ahead(clean, Kind::A);
        let (listed, clean) = (self.list.taken(ask.dns(listed, Kind::A)?), self.list.taken(ask.dns(clean, Kind::A)?));
        Ok(match (listed, clean) {
            (ListAnswer::Refused { why, .. }, _) | (_, ListAnswer::Refused { why, .. }) => ListHealth::Refused { why },
            (ListAnswer::Rewritten { .. }, _) | (_, ListAnswer::Rewritten { .. }) => ListHealth::Rewritten,
            (ListAnswer::Unknown { why }, _) | (_, ListAnswer::Unknown { why }) => ListHealth::Unknown { why },
            (_, ListAnswer::Listed { .. } | ListAnswer::Undocumented { .. }) => ListHealth::ListsEverything,
            (ListAnswer::NotListed, ListAnswer::NotListed) => ListHealth::ListsNothing,
            // A test point may have a code of its own.
            (ListAnswer::Listed { .. } | ListAnswer::Undocumented { .. }, ListAnswer::NotListed) => ListHealth::Working,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Zone;

    fn list(about: ListAbout) -> ListZone {
        let exact = |c, d, meaning: &str| ([Some(127), Some(0), Some(c), Some(d)], meaning.to_owned());
        ListZone {
            zone: "list.example".into(),
            about,
            codes: vec![
                exact(0, 2, "spam"),
                exact(0, 3, "snowshoe"),
                exact(0, 4, "infected"),
                exact(0, 10, "dynamic"),
                exact(0, 11, "dynamic"),
            ],
            refusals: Vec::new(),
            v6_length: 64,
        }
    }

    fn asked(answer: &str) -> ListAnswer {
        let zone = Zone::default().a("9.2.0.192.list.example", answer);
        let subject = Subject::Address("192.0.2.9".parse().unwrap());
        zone.outcome(ListQuestion { list: list(ListAbout::Addresses), subject }).unwrap()
    }

    #[test]
    fn t30_refusals_are_no_listings() {
        for code in ["127.255.255.252", "127.255.255.254", "127.255.255.255"] {
            assert!(matches!(asked(code), ListAnswer::Refused { .. }), "{code}");
        }
    }

    #[test]
    fn t31_an_address_is_not_asked_of_a_list_of_domains() {
        let zone = list(ListAbout::Domains);
        assert_eq!(zone.name(&Subject::Address("192.0.2.9".parse().unwrap())), None);
        assert_eq!(zone.name(&Subject::Domain("Example.ORG.".into())).as_deref(), Some("example.org.list.example"));
        assert!(matches!(asked("127.0.1.255"), ListAnswer::Refused { .. }));
        assert!(matches!(asked("127.0.0.1"), ListAnswer::Rewritten { .. }));
    }

    #[test]
    fn t32_every_published_code_is_a_listing_and_no_other() {
        for (code, meaning) in
            [("127.0.0.2", "spam"), ("127.0.0.3", "snowshoe"), ("127.0.0.4", "infected"), ("127.0.0.11", "dynamic")]
        {
            assert!(matches!(asked(code), ListAnswer::Listed { meanings, .. } if meanings == [meaning]), "{code}");
        }
        assert!(matches!(asked("127.0.0.77"), ListAnswer::Undocumented { .. }));
    }

    #[test]
    fn t33_answers_from_elsewhere_are_no_listings() {
        for address in ["192.0.2.80", "10.0.0.1", "127.0.0.1", "0.0.0.0"] {
            assert!(matches!(asked(address), ListAnswer::Rewritten { .. }), "{address}");
        }
    }

    #[test]
    fn t34_a_list_is_probed_before_it_is_believed() {
        let health = |zone: Zone| zone.outcome(ListProbe { list: list(ListAbout::Addresses) });
        let (two, one) = ("2.0.0.127.list.example", "1.0.0.127.list.example");
        assert_eq!(health(Zone::default().a(two, "127.0.0.2")), ListHealth::Working);
        assert_eq!(health(Zone::default()), ListHealth::ListsNothing);
        assert_eq!(health(Zone::default().a(two, "127.0.0.2").a(one, "127.0.0.2")), ListHealth::ListsEverything);
        assert_eq!(health(Zone::default().a(two, "198.51.100.1").a(one, "198.51.100.1")), ListHealth::Rewritten);
        assert!(matches!(health(Zone::default().a(two, "127.255.255.254")), ListHealth::Refused { .. }));
        assert!(matches!(health(Zone::default().fails(two, Kind::A)), ListHealth::Unknown { .. }));
    }

    #[test]
    fn t36_ipv6_is_asked_as_the_list_keeps_it() {
        let mut zone = list(ListAbout::Addresses);
        let subject = Subject::Address("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(zone.name(&subject).unwrap(), "2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.list.example");
        zone.v6_length = 128;
        let whole = "6.0.0.0.5.0.0.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.list.example";
        assert_eq!(zone.name(&subject).unwrap(), whole);
    }

    #[test]
    fn t37_a_list_of_the_good_has_codes_of_its_own() {
        let mut zone = list(ListAbout::Addresses);
        zone.codes = (0..4).map(|trust| ([Some(127), Some(0), None, Some(trust)], format!("trust {trust}"))).collect();
        zone.refusals = vec![(Ipv4Addr::new(127, 0, 0, 255), "too many questions".into())];
        let taken = |answer: &str| {
            let data = Zone::default().a("9.2.0.192.list.example", answer);
            zone.taken(&data.lookup("9.2.0.192.list.example", Kind::A))
        };
        assert!(matches!(taken("127.0.9.3"), ListAnswer::Listed { meanings, .. } if meanings == ["trust 3"]));
        assert!(matches!(taken("127.0.0.255"), ListAnswer::Refused { .. }));
    }
}
