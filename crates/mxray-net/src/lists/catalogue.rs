//! The catalogue of lists: a data file, read once, and what a user adds to it.
//!
//! What must not live here: questions, and what an answer comes to (`decode`).

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

const TEXT: &str = include_str!("catalogue.toml");

/// What a list lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    Ipv4,
    Ipv6,
    Domain,
}

impl ListKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ListKind::Ipv4 => "ipv4",
            ListKind::Ipv6 => "ipv6",
            ListKind::Domain => "domain",
        }
    }
}

/// What of a domain a list is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListName {
    #[default]
    Full,
    /// One label below the public suffix: other names are never listed.
    Registered,
}

/// A list that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListZone {
    pub zone: String,
    pub title: String,
    pub kinds: Vec<ListKind>,
    #[serde(default)]
    pub allow: bool,
    pub tier: u8,
    /// It lists networks for what others in them did.
    #[serde(default)]
    pub netblock: bool,
    pub granularity: String,
    pub delisting: Option<String>,
    /// Where the meanings come from.
    pub source: String,
    #[serde(default)]
    pub name: ListName,
    /// Entries for tests, where they are not those of RFC 5782 section 5.
    pub listed: Option<String>,
    pub clear: Option<String>,
    #[serde(default)]
    pub codes: Vec<ListCode>,
    #[serde(default)]
    pub bits: Vec<ListBit>,
    pub scheme: Option<ListScheme>,
}

/// What one answer means, or several that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCode {
    pub code: CodeRange,
    pub means: String,
    /// No accusation: no mail is expected from there.
    #[serde(default)]
    pub policy: bool,
    /// The question was refused.
    #[serde(default)]
    pub refusal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListBit {
    pub bit: u8,
    pub means: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListScheme {
    Dnswl,
}

/// `127.0.0.2`, or `127.0.0.10-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CodeRange {
    first: Ipv4Addr,
    last: u8,
}

impl CodeRange {
    pub fn one(code: Ipv4Addr) -> Self {
        CodeRange { first: code, last: code.octets()[3] }
    }

    pub fn holds(&self, answer: Ipv4Addr) -> bool {
        let ([a, b, c, first], [d, e, f, last]) = (self.first.octets(), answer.octets());
        (a, b, c) == (d, e, f) && (first..=self.last).contains(&last)
    }
}

impl TryFrom<String> for CodeRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text} is no answer of a list");
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (first, Some(last.parse().map_err(|_| wrong())?)),
            None => (text.as_str(), None),
        };
        let first: Ipv4Addr = first.parse().map_err(|_| wrong())?;
        if !first.is_loopback() {
            return Err(wrong());
        }
        Ok(CodeRange { first, last: last.unwrap_or(first.octets()[3]) })
    }
}

/// A list that is not asked any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedList {
    pub zone: String,
    pub since: String,
    pub why: String,
    pub source: String,
}

/// What is known of lists, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCatalogue {
    /// The day on which its entries were looked at last.
    pub checked: String,
    #[serde(rename = "list")]
    pub lists: Vec<ListZone>,
    pub closed: Vec<ClosedList>,
}

impl ListCatalogue {
    /// The catalogue of this version.
    ///
    /// # Errors
    /// The file is broken; a test sees that it is not.
    pub fn built_in() -> Result<Self, String> {
        toml::from_str(TEXT).map_err(|error| error.to_string())
    }

    /// Is this zone, or the one above it, closed?
    pub fn closed(&self, zone: &str) -> Option<&ClosedList> {
        let zone = zone.trim_end_matches('.').to_ascii_lowercase();
        let within = |closed: &str| zone == closed || zone.strip_suffix(closed).is_some_and(|rest| rest.ends_with('.'));
        self.closed.iter().find(|closed| within(&closed.zone))
    }

    /// Takes a list in; what was known of it for the same kinds is replaced.
    pub fn add(&mut self, zone: ListZone) {
        for known in self.lists.iter_mut().filter(|known| known.zone.eq_ignore_ascii_case(&zone.zone)) {
            known.kinds.retain(|kind| !zone.kinds.contains(kind));
        }
        self.lists.retain(|known| !known.kinds.is_empty());
        self.lists.push(zone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_catalogue_is_whole_and_dated() {
        let catalogue = ListCatalogue::built_in().unwrap();
        assert_eq!(catalogue.checked.len(), 10);
        let zones: BTreeSet<&str> = catalogue.lists.iter().map(|list| list.zone.as_str()).collect();
        assert_eq!(zones.len(), catalogue.lists.len(), "each stands there once");
        for list in &catalogue.lists {
            assert!((1..=3).contains(&list.tier) && !list.kinds.is_empty(), "{}", list.zone);
            assert!(!list.codes.is_empty() || !list.bits.is_empty(), "{}", list.zone);
            assert!(list.delisting.as_ref().is_some_and(|page| page.starts_with("https://")), "{}", list.zone);
            assert!(catalogue.closed(&list.zone).is_none(), "{} is closed", list.zone);
            assert!(list.bits.iter().all(|bit| bit.bit.is_power_of_two()), "{}", list.zone);
        }
        assert!(catalogue.closed("spam.dnsbl.sorbs.net.").is_some());
        assert!(catalogue.closed("notdnsbl.sorbs.net").is_none());
    }

    #[test]
    fn a_list_of_the_user_s_takes_the_place_of_a_known_one() {
        let mut catalogue = ListCatalogue::built_in().unwrap();
        let zen = catalogue.lists.iter().find(|list| list.zone == "zen.spamhaus.org").unwrap();
        let own = ListZone { title: "own".to_owned(), kinds: vec![ListKind::Ipv4], ..zen.clone() };
        catalogue.add(own);
        let of = |kind: ListKind| {
            let asked =
                catalogue.lists.iter().filter(|list| list.zone == "zen.spamhaus.org" && list.kinds.contains(&kind));
            asked.map(|list| list.title.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((of(ListKind::Ipv4), of(ListKind::Ipv6)), (vec!["own"], vec!["Spamhaus ZEN"]));
    }

    #[test]
    fn codes_are_single_or_ranges() {
        let range = CodeRange::try_from("127.0.0.10-11".to_owned()).unwrap();
        let holds = |text: &str| range.holds(text.parse().unwrap());
        assert!(holds("127.0.0.10") && holds("127.0.0.11") && !holds("127.0.0.12") && !holds("127.0.1.10"));
        for wrong in ["", "127.0.0", "10.0.0.2", "127.0.0.2-x", "127.0.0.2-300"] {
            assert!(CodeRange::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
