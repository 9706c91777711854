//! The names behind an address, and whether they lead back to it (RFC 1912 section 2.1, RFC 8601 section 2.7.3 `iprev`); the
//! addresses behind a name.
//!
//! What must not live here: who ought to have such names, and who refuses those that have none (rules).

use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::route::of_both;
use crate::spf::askable;
use mxray_model::evidence::RecordData;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen, reverse_name};
use std::net::IpAddr;

/// Names of one address that are followed. Receivers follow about ten (RFC 7208 section 5.5); a host of many sites may have more.
const POINTERS_MAX: usize = 32;

/// Finds the names of an address, and which of them lead back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointers {
    pub address: IpAddr,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointed {
    /// Absent: no PTR record.
    pub pointers: Seen<Vec<String>>,
    /// Of these, those whose addresses have it. Absent: none.
    pub confirmed: Seen<Vec<String>>,
}

impl Evaluator for Pointers {
    type Outcome = Pointed;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Pointed, Pending> {
        let address = self.address.to_canonical();
        let mut names: Vec<String> = match ask.dns(&reverse_name(address), Kind::Ptr)?.found() {
            Seen::Absent => return Ok(Pointed { pointers: Seen::Absent, confirmed: Seen::Absent }),
            Seen::Unknown(blind) => {
                return Ok(Pointed { pointers: Seen::Unknown(blind.clone()), confirmed: Seen::Unknown(blind) });
            }
            Seen::Value(records) => records.iter().filter_map(|record| target(&record.data)).collect(),
        };
        names.sort();
        names.dedup();
        let confirmed = confirmed(address, &names, ask)?;
        let shown = names.iter().take(POINTERS_MAX).map(|name| untrusted(name.as_bytes())).collect();
        Ok(Pointed { pointers: Seen::Value(shown), confirmed })
    }
}

fn target(data: &RecordData) -> Option<String> {
    match data {
        RecordData::Ptr { target } => Some(target.trim_end_matches('.').to_ascii_lowercase()),
        _ => None,
    }
}

fn confirmed(address: IpAddr, names: &[String], ask: &mut Asker<'_>) -> Result<Seen<Vec<String>>, Pending> {
    let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
    let followed: Vec<&String> = names.iter().take(POINTERS_MAX).filter(|name| askable(name).is_some()).collect();
    for name in &followed {
        ask.ahead(name, kind);
    }
    let (mut lead_back, mut blind) = (Vec::new(), None);
    for name in followed {
        match ask.dns(name, kind)?.addresses() {
            Seen::Value(found) if found.contains(&address) => lead_back.push(untrusted(name.as_bytes())),
            Seen::Value(_) | Seen::Absent => {}
            Seen::Unknown(why) => blind = Some(why),
        }
    }
    if names.len() > POINTERS_MAX {
        let why = format!("{} names stand behind the address, and {POINTERS_MAX} of them were followed", names.len());
        blind = blind.or(Some(Blind::NotAttempted { why }));
    }
    Ok(match (lead_back.is_empty(), blind) {
        (false, _) => Seen::Value(lead_back),
        (true, Some(blind)) => Seen::Unknown(blind),
        (true, None) => Seen::Absent,
    })
}

/// Finds the addresses of a name, of both families. Absent: it does not exist, or has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    pub name: String,
}

impl Evaluator for Addresses {
    type Outcome = Seen<Vec<IpAddr>>;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Self::Outcome, Pending> {
        let Some(name) = askable(&self.name) else {
            let why = format!("{} cannot be asked for", untrusted(self.name.as_bytes()));
            return Ok(Seen::Unknown(Blind::NotAttempted { why }));
        };
        ask.ahead(&name, Kind::Aaaa);
        Ok(of_both(ask.dns(&name, Kind::A)?, ask.dns(&name, Kind::Aaaa)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Zone;

    const REVERSE: &str = "1.0.0.1.in-addr.arpa";

    fn ptr(zone: Zone, target: &str) -> Zone {
        zone.with(REVERSE, RecordData::Ptr { target: target.to_owned() })
    }

    fn of(zone: &Zone) -> Pointed {
        zone.outcome(Pointers { address: "::ffff:1.0.0.1".parse().unwrap() })
    }

    fn names(all: &[&str]) -> Seen<Vec<String>> {
        Seen::Value(all.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn t15_one_of_several_names_that_leads_back_is_enough() {
        let zone = ptr(ptr(ptr(Zone::default(), "www.example.org."), "Mail.example.org"), "mail.example.org")
            .a("mail.example.org", "1.0.0.2")
            .a("mail.example.org", "1.0.0.1")
            .a("www.example.org", "1.0.0.9");
        let found = of(&zone);
        assert_eq!(found.pointers, names(&["mail.example.org", "www.example.org"]));
        assert_eq!(found.confirmed, names(&["mail.example.org"]));
    }

    #[test]
    fn no_name_and_a_name_that_leads_elsewhere_are_two_things() {
        assert_eq!(of(&Zone::default()), Pointed { pointers: Seen::Absent, confirmed: Seen::Absent });
        let elsewhere = ptr(Zone::default(), "a.example.org").a("a.example.org", "1.0.0.9");
        assert_eq!(of(&elsewhere), Pointed { pointers: names(&["a.example.org"]), confirmed: Seen::Absent });
    }

    #[test]
    fn what_has_no_answer_is_unknown_unless_another_name_leads_back() {
        let late = ptr(Zone::default(), "a.example.org").fails("a.example.org", Kind::A);
        assert!(matches!(of(&late).confirmed, Seen::Unknown(_)), "{:?}", of(&late));
        let other = ptr(late, "b.example.org").a("b.example.org", "1.0.0.1");
        assert_eq!(of(&other).confirmed, names(&["b.example.org"]));
        let silent = of(&Zone::default().fails(REVERSE, Kind::Ptr));
        assert!(matches!((&silent.pointers, &silent.confirmed), (Seen::Unknown(_), Seen::Unknown(_))));
    }

    #[test]
    fn more_names_than_are_followed_leave_it_open() {
        let many = (0..40).fold(Zone::default(), |zone, n| ptr(zone, &format!("n{n:02}.example.org")));
        let found = of(&many);
        assert_eq!(found.pointers.value().map(Vec::len), Some(POINTERS_MAX));
        assert!(matches!(found.confirmed, Seen::Unknown(_)));
    }

    #[test]
    fn a_name_has_the_addresses_of_both_families() {
        let zone = Zone::default().a("m.example.org", "1.0.0.1").a("m.example.org", "2a00::1");
        let of = |name: &str| zone.outcome(Addresses { name: name.to_owned() });
        assert_eq!(of("m.example.org").value().map(Vec::len), Some(2));
        assert_eq!(of("x.example.org"), Seen::Absent);
        assert!(matches!(of("a..b"), Seen::Unknown(_)));
    }
}
