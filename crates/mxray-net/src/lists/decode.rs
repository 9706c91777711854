//! What a list's answer says: listed and why, refused, or nothing that can be relied on. Pure.
//!
//! What must not live here: questions, health.

use super::catalogue::{ListScheme, ListZone};
use serde::Serialize;
use std::net::Ipv4Addr;

/// Answers to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    Listed {
        meanings: Vec<String>,
        policy: bool,
    },
    /// The list says that it does not answer us.
    Refused {
        why: String,
    },
    /// No answer that a list gives: a resolver that rewrites, a domain that was sold, a code that nobody has documented.
    Odd {
        why: String,
    },
}

/// How sure one answer is; the first that is not a listing decides.
pub fn decode(list: &ListZone, answers: &[Ipv4Addr]) -> Decoded {
    let (mut meanings, mut accused) = (Vec::new(), false);
    for answer in answers {
        match one(list, *answer) {
            One::Means { text, policy } => {
                meanings.push(text);
                accused |= !policy;
            }
            One::Refused(why) => return Decoded::Refused { why },
            One::Odd(why) => return Decoded::Odd { why },
        }
    }
    match meanings.is_empty() {
        true => Decoded::Odd { why: "the answer has no address".to_owned() },
        false => Decoded::Listed { meanings, policy: !accused },
    }
}

enum One {
    Means { text: String, policy: bool },
    Refused(String),
    Odd(String),
}

fn one(list: &ListZone, answer: Ipv4Addr) -> One {
    let [a, b, c, d] = answer.octets();
    if a != 127 {
        return One::Odd(format!(
            "{answer} is no answer of a list (RFC 5782 section 2.1): the resolver rewrites answers, or the list's domain was sold"
        ));
    }
    if let Some(code) = list.codes.iter().find(|code| code.code.holds(answer)) {
        return match code.refusal {
            true => One::Refused(format!("{answer}: {}", code.means)),
            false => One::Means { text: format!("{answer}: {}", code.means), policy: code.policy },
        };
    }
    match (b, c, d) {
        (255, 255, 252) => return One::Refused(format!("{answer}: the zone's name is not right")),
        (255, 255, 254) => return One::Refused(format!("{answer}: the question came through an open resolver")),
        (255, 255, 255) => return One::Refused(format!("{answer}: too many questions")),
        (255, 255, _) => return One::Refused(format!("{answer}: the list does not answer us")),
        (0, 0, 1) => return One::Odd(format!("{answer} is never a listing (RFC 5782 section 2.1)")),
        _ => {}
    }
    if list.scheme == Some(ListScheme::Dnswl) && b == 0 {
        return One::Means { text: format!("{answer}: {}, trust: {}", category(c), trust(d)), policy: false };
    }
    let bits: Vec<&str> = list.bits.iter().filter(|bit| d & bit.bit != 0).map(|bit| bit.means.as_str()).collect();
    if !bits.is_empty() && (b, c) == (0, 0) {
        return One::Means { text: format!("{answer}: {}", bits.join(", ")), policy: false };
    }
    if list.codes.is_empty() && list.bits.is_empty() {
        // A list of the user's own without meanings.
        return One::Means { text: format!("{answer}: listed"), policy: false };
    }
    One::Odd(format!("{answer} is no documented answer of {}", list.zone))
}

fn category(number: u8) -> String {
    let known = match number {
        2 => "financial services",
        3 => "email service providers",
        4 => "organisations",
        5 => "network providers",
        6 => "personal servers",
        7 => "travel and leisure",
        8 => "public sector",
        9 => "media and technology",
        10 => "special cases",
        11 => "education",
        12 => "health care",
        13 => "manufacturing",
        14 => "retail and services",
        15 => "email marketing",
        other => return format!("category {other}"),
    };
    known.to_owned()
}

fn trust(number: u8) -> String {
    match number {
        0 => "none".to_owned(),
        1 => "low".to_owned(),
        2 => "medium".to_owned(),
        3 => "high".to_owned(),
        other => other.to_string(),
    }
}

/// What became of a list itself, by its test entries (RFC 5782 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListHealth {
    /// It lists what it has to list, and does not list what it must not.
    Healthy,
    /// It refuses us.
    Refused { why: String },
    /// Dead, sold, or seen through a resolver that rewrites.
    Unhealthy { why: String },
    /// Its test entries could not be looked up.
    Unknown { why: String },
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::ListCatalogue;
    use super::*;

    fn of(zone: &str, answers: &[&str]) -> Decoded {
        let catalogue = ListCatalogue::built_in().unwrap();
        let list = catalogue.lists.iter().find(|list| list.zone == zone).unwrap();
        let answers: Vec<Ipv4Addr> = answers.iter().map(|answer| answer.parse().unwrap()).collect();
        decode(list, &answers)
    }

    fn refused(zone: &str, answer: &str) {
        assert!(matches!(of(zone, &[answer]), Decoded::Refused { .. }), "{zone} {answer}: {:?}", of(zone, &[answer]));
    }

    fn odd(zone: &str, answer: &str) {
        assert!(matches!(of(zone, &[answer]), Decoded::Odd { .. }), "{zone} {answer}: {:?}", of(zone, &[answer]));
    }

    #[test]
    fn t30_refusals_are_no_listing() {
        for code in ["127.255.255.252", "127.255.255.254", "127.255.255.255", "127.255.255.250"] {
            refused("zen.spamhaus.org", code);
            refused("bl.spamcop.net", code);
            refused("list.dnswl.org", code);
        }
        // Whatever stands beside it.
        assert!(matches!(of("zen.spamhaus.org", &["127.0.0.2", "127.255.255.254"]), Decoded::Refused { .. }));
    }

    #[test]
    fn t31_an_address_at_a_list_of_domains_and_refusals_of_uri_lists() {
        refused("dbl.spamhaus.org", "127.0.1.255");
        refused("multi.uribl.com", "127.0.0.1");
        refused("multi.surbl.org", "127.0.0.1");
    }

    #[test]
    fn t32_every_documented_code_counts_and_no_other() {
        for (code, policy) in [
            ("127.0.0.2", false),
            ("127.0.0.3", false),
            ("127.0.0.4", false),
            ("127.0.0.10", true),
            ("127.0.0.11", true),
        ] {
            match of("zen.spamhaus.org", &[code]) {
                Decoded::Listed { policy: found, .. } => assert_eq!(found, policy, "{code}"),
                other => panic!("{code}: {other:?}"),
            }
        }
        odd("zen.spamhaus.org", "127.0.0.77");
        odd("bl.spamcop.net", "127.0.0.3");
        // An accusation beside a policy is an accusation.
        assert!(matches!(of("zen.spamhaus.org", &["127.0.0.11", "127.0.0.4"]), Decoded::Listed { policy: false, .. }));
    }

    #[test]
    fn t33_what_resolvers_make_up_is_no_listing() {
        odd("zen.spamhaus.org", "203.0.113.80");
        odd("zen.spamhaus.org", "127.0.0.1");
        odd("zen.spamhaus.org", "0.0.0.0");
    }

    #[test]
    fn bits_add_up() {
        let Decoded::Listed { meanings, .. } = of("multi.surbl.org", &["127.0.0.80"]) else { panic!() };
        assert_eq!(meanings, ["127.0.0.80: malware, found in spam"]);
        odd("multi.uribl.com", "127.0.0.16");
    }

    #[test]
    fn t37_allow_lists_have_their_own_code() {
        let Decoded::Listed { meanings, policy } = of("list.dnswl.org", &["127.0.10.3"]) else { panic!() };
        assert_eq!((meanings, policy), (vec!["127.0.10.3: special cases, trust: high".to_owned()], false));
        refused("list.dnswl.org", "127.0.0.255");
    }
}
