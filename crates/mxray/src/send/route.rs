//! Where a recipient's mail goes: the servers that were named, or the exchangers of the domain (RFC 5321 section 5.1).

use super::address;
use super::outcome::Status;
use mxray_model::evidence::{DnsOutcome, Lookup, RecordData};
use std::path::PathBuf;

/// A place to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    Host {
        name: String,
        port: u16,
        /// `None`: nobody asked for MX records.
        preference: Option<u16>,
    },
    Unix(PathBuf),
}

/// Recipients that go the same way, and the places to try, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where the way was asked for by domain.
    pub domain: Option<String>,
    pub recipients: Vec<String>,
}

/// Nothing can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoWay {
    /// Refused: for good. Unknown: nobody could say.
    pub status: Status,
    pub why: String,
}

/// Recipients by domain, in the order in which the domains came.
///
/// # Errors
/// An address without a domain: nobody can be asked where it goes.
pub fn by_domain(recipients: &[String]) -> Result<Vec<Group>, String> {
    let mut groups: Vec<Group> = Vec::new();
    for recipient in recipients {
        let domain = address::domain(recipient)
            .ok_or_else(|| format!("{recipient}: an address without a domain needs --server or --unix"))?;
        match groups.iter_mut().find(|group| group.domain.as_deref() == Some(domain.as_str())) {
            Some(group) => group.recipients.push(recipient.clone()),
            None => groups.push(Group { domain: Some(domain), recipients: vec![recipient.clone()] }),
        }
    }
    Ok(groups)
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`: the address itself (RFC 5321 section 4.1.3).
pub fn literal(domain: &str) -> Option<std::net::IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    let lower = inner.to_ascii_lowercase();
    match lower.strip_prefix("ipv6:") {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(Into::into),
        None => lower.parse::<std::net::Ipv4Addr>().ok().map(Into::into),
    }
}

/// The exchangers that an answer names, the most preferred first.
///
/// # Errors
/// The domain takes no mail, or that could not be found out.
pub fn exchangers(domain: &str, answer: &Lookup, port: u16) -> Result<Vec<Goal>, NoWay> {
    let host = |name: &str, preference| Goal::Host { name: name.to_owned(), port, preference };
    let implicit = || vec![host(domain, None)];
    match &answer.outcome {
        DnsOutcome::Found => {
            let mut found: Vec<(u16, &str)> = Vec::new();
            for record in &answer.records {
                if let RecordData::Mx { preference, exchange } = &record.data {
                    found.push((*preference, exchange));
                }
            }
            if found.is_empty() {
                return Ok(implicit());
            }
            found.retain(|(_, exchange)| !matches!(*exchange, "" | "."));
            if found.is_empty() {
                let why = format!("{domain} takes no mail: its MX record is the null one (RFC 7505)");
                return Err(NoWay { status: Status::Refused, why });
            }
            // Equal ones stay in the order of the answer, which name servers change from answer to answer.
            found.sort_by_key(|(preference, _)| *preference);
            Ok(found.into_iter().map(|(preference, name)| host(name, Some(preference))).collect())
        }
        DnsOutcome::NoData => Ok(implicit()),
        DnsOutcome::NoSuchName => {
            Err(NoWay { status: Status::Refused, why: format!("there is no domain {domain} (NXDOMAIN)") })
        }
        DnsOutcome::Refused { .. } | DnsOutcome::NoAnswer { .. } | DnsOutcome::NotAsked(_) => {
            let why = answer.found().blind().map(mxray_model::Blind::why).unwrap_or_default();
            Err(NoWay {
                status: Status::Unknown,
                why: format!("the exchangers of {domain} could not be found out: {why}"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Blind;
    use mxray_model::evidence::DnsRecord;

    fn answer(outcome: DnsOutcome, records: &[(u16, &str)]) -> Lookup {
        let record = |(preference, exchange): &(u16, &str)| DnsRecord {
            name: "example.org".to_owned(),
            ttl_s: 60,
            data: RecordData::Mx { preference: *preference, exchange: (*exchange).to_owned() },
        };
        Lookup {
            name: "example.org".to_owned(),
            kind: "MX".to_owned(),
            outcome,
            records: records.iter().map(record).collect(),
            tries: Vec::new(),
        }
    }

    fn names(answer: &Lookup) -> Vec<String> {
        let goals = exchangers("example.org", answer, 25).unwrap();
        goals.into_iter().map(|goal| if let Goal::Host { name, .. } = goal { name } else { String::new() }).collect()
    }

    #[test]
    fn by_preference_and_equal_ones_as_they_came() {
        let found = answer(DnsOutcome::Found, &[(20, "c.example"), (10, "b.example"), (10, "a.example")]);
        assert_eq!(names(&found), ["b.example", "a.example", "c.example"]);
        assert_eq!(names(&answer(DnsOutcome::NoData, &[])), ["example.org"]);
        // A null record beside others is a mistake of theirs, and no exchanger (RFC 7505 section 3).
        assert_eq!(names(&answer(DnsOutcome::Found, &[(0, ""), (10, "a.example")])), ["a.example"]);
    }

    #[test]
    fn no_mail_is_for_good_and_no_answer_is_not() {
        let status = |outcome, records: &[(u16, &str)]| {
            exchangers("example.org", &answer(outcome, records), 25).unwrap_err().status
        };
        assert_eq!(status(DnsOutcome::Found, &[(0, "")]), Status::Refused);
        assert_eq!(status(DnsOutcome::NoSuchName, &[]), Status::Refused);
        assert_eq!(status(DnsOutcome::Refused { rcode: "SERVFAIL".to_owned() }, &[]), Status::Unknown);
        assert_eq!(status(DnsOutcome::NoAnswer { after_ms: 5 }, &[]), Status::Unknown);
        let blind = Blind::NotAttempted { why: "no name server".to_owned() };
        assert_eq!(status(DnsOutcome::NotAsked(blind), &[]), Status::Unknown);
    }

    #[test]
    fn recipients_go_by_domain() {
        let all = ["a@x.example", "b@y.example", "c@X.Example"].map(str::to_owned);
        let groups = by_domain(&all).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].recipients, ["a@x.example", "c@X.Example"]);
        assert!(by_domain(&["postmaster".to_owned()]).is_err());
        assert_eq!(literal("[ipv6:2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!((literal("[192.0.2.1]").is_some(), literal("192.0.2.1"), literal("[x]")), (true, None, None));
    }
}
