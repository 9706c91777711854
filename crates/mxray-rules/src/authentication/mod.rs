//! What the rules on SPF, DKIM and DMARC share: which domains are ours to judge, what they are used for, and how a record to
//! publish is written.
//!
//! A receiver's own policy is its own business, and names that are only addresses backwards never stand in MAIL FROM. What must
//! not live here: any judgement.

pub mod alignment;
pub mod dkim;
pub mod dmarc;
pub mod mail;
pub mod spf;

use crate::policies::no_domain;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::published::{DmarcPolicy, Domain, DomainWhy, MailRoute};
use mxray_model::evidence::{Server, Signer};
pub use mxray_model::quoted_txt as quoted;
use mxray_model::{Evidence, Fix, Prefix, Record, Seen, Subject, SubjectKind};
use std::net::IpAddr;

/// Names that no public zone has (RFC 6761, RFC 6762, RFC 8375, RFC 9476, and those of habit), and reverse zones.
const PRIVATE: [&str; 12] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "lan",
    "intranet",
    "home",
    "corp",
    "invalid",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
];

/// A domain that is ours to judge.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub name: &'a str,
    pub domain: &'a Domain,
}

impl Of<'_> {
    /// This host writes mail in its name.
    pub fn sends(&self) -> bool {
        self.domain.why.iter().any(|why| matches!(why, DomainWhy::Sends { .. }))
    }

    /// It publishes that it takes no mail (RFC 7505).
    pub fn is_null_mx(&self) -> bool {
        self.domain.route.value().is_some_and(|routing| routing.route == MailRoute::Null)
    }

    /// Nothing is sent in its name, as far as it says: a record that lets nobody send, or no mail taken.
    pub fn is_parked(&self) -> bool {
        let record = self.domain.spf.value().and_then(|survey| survey.record.as_deref()).unwrap_or_default();
        let terms: Vec<&str> = record.split_ascii_whitespace().skip(1).collect();
        let nobody = matches!(terms.as_slice(), [all] if all.eq_ignore_ascii_case("-all"));
        !self.sends() && (nobody || self.is_null_mx())
    }

    pub fn subject(&self) -> Subject {
        subject(self.name)
    }

    /// A pointer below the domain.
    pub fn pointer(&self, rest: &[&str]) -> String {
        view::pointer(["names", "domains", self.name].iter().chain(rest))
    }
}

pub fn subject(domain: &str) -> Subject {
    Subject::new(SubjectKind::Domain, domain)
}

fn is_private(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let below = |zone: &&str| name == **zone || name.strip_suffix(*zone).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.') || PRIVATE.iter().any(below)
}

fn is_ours(name: &str, domain: &Domain) -> bool {
    !is_private(name) && domain.why.iter().any(DomainWhy::is_own)
}

/// Every domain that is ours to judge.
pub fn each(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Of<'_>, &mut Judgement)) -> Said {
    if evidence.names.domains.is_empty() {
        return Err(Judgement::cannot_tell(rule, &no_domain()));
    }
    let mut judgement = Judgement::nothing();
    for of in ours(evidence) {
        judge(&of, &mut judgement);
    }
    Ok(judgement)
}

/// The same, and those in whose name a signer of this host signs mail of others: their keys are ours to publish.
pub fn each_signed(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Of<'_>, &mut Judgement)) -> Said {
    let mut judgement = each(evidence, rule, &judge)?;
    let all = evidence.names.domains.iter().map(|(name, domain)| Of { name, domain });
    let signs = |of: &Of<'_>| of.domain.why.iter().any(|why| matches!(why, DomainWhy::Signs { .. }));
    for of in all.filter(|of| signs(of) && !is_ours(of.name, of.domain) && !is_private(of.name)) {
        judge(&of, &mut judgement);
    }
    Ok(judgement)
}

/// The domains that are ours to judge, in their order.
pub fn ours(evidence: &Evidence) -> impl Iterator<Item = Of<'_>> {
    let all = evidence.names.domains.iter().map(|(name, domain)| Of { name, domain });
    all.filter(|of| is_ours(of.name, of.domain))
}

/// The server whose own host name this domain is: what is written in it is for the host's operator, from cron and the like.
pub fn is_host_name(evidence: &Evidence, name: &str) -> bool {
    let own = |server: &Server| server.host_name.trim_end_matches('.').eq_ignore_ascii_case(name);
    evidence.servers.value().is_some_and(|servers| servers.values().any(own))
}

/// Whether a signer of this host signs mail of this domain. Unknown: one may that is not read, or a server by itself.
pub fn is_signed(evidence: &Evidence, name: &str) -> Seen<bool> {
    let signs = |signer: &Signer| match &signer.domains {
        Seen::Value(domains) => {
            let of = |domain: &String| domain == "*" || domain.trim_start_matches('.').eq_ignore_ascii_case(name);
            Seen::Value(signer.mode.value().is_none_or(|mode| mode.signs) && domains.iter().any(of))
        }
        Seen::Absent => Seen::Value(false),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    };
    let signers = match &evidence.signers {
        Seen::Value(signers) => signers,
        Seen::Absent => return by_itself(evidence),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let all: Vec<Seen<bool>> = signers.values().map(signs).collect();
    if all.contains(&Seen::Value(true)) {
        return Seen::Value(true);
    }
    all.into_iter().find(|one| one.blind().is_some()).unwrap_or_else(|| by_itself(evidence))
}

/// Exim and others sign without a signer of their own; a smarthost or a relay behind may.
fn by_itself(evidence: &Evidence) -> Seen<bool> {
    let Some(servers) = evidence.servers.value() else { return Seen::not_attempted("the mail servers are not known") };
    let alone = |server: &Server| server.software == "postfix" && server.egress.smarthosts.is_empty();
    if servers.values().filter(|server| server.enabled && server.egress.sends).all(alone) {
        return Seen::Value(false);
    }
    Seen::not_attempted("another program, or the host that mail is handed to, may sign")
}

/// What the domain asks receivers to do with mail that is not authenticated. `None`: nothing, or not known.
pub fn enforced(domain: &Domain) -> Option<DmarcPolicy> {
    domain.dmarc.value()?.current.policy.filter(|policy| *policy != DmarcPolicy::None)
}

/// What the operator says is public whatever the registries say.
pub fn public_prefixes(evidence: &Evidence) -> Vec<Prefix> {
    evidence.declared.public_prefixes.iter().filter_map(|text| view::prefix(text)).collect()
}

/// An address that others never see mail come from: behind it stands a translation whose address is not known here.
pub fn is_hidden(address: IpAddr, public: &[Prefix]) -> bool {
    if public.iter().any(|prefix| prefix.contains(address)) {
        return false;
    }
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && (64..128).contains(&second);
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback() || v6.is_unspecified(),
    }
}

/// A TXT record to publish.
pub fn publish(text: impl Into<String>, name: &str, value: &str) -> Fix {
    let mut fix = Fix::here(text);
    fix.who = "whoever publishes the zone".to_owned();
    fix.records.push(Record { name: format!("{name}."), kind: "TXT".to_owned(), value: quoted(value) });
    fix
}

/// A change of what is published, without a record that could be proposed.
pub fn change(text: impl Into<String>) -> Fix {
    Fix { who: "whoever publishes the zone".to_owned(), ..Fix::here(text) }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed<S: AsRef<str>>(all: &[S]) -> String {
    match all {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::published::MailRouting;
    use std::collections::BTreeSet;

    #[test]
    fn t26_reverse_zones_and_private_names_are_not_asked_for_spf() {
        let domain = Domain { why: BTreeSet::from([DomainWhy::Asked]), ..Domain::default() };
        for name in ["113.0.203.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa", "mail.lan", "localhost", "x.localdomain"] {
            assert!(!is_ours(name, &domain), "{name}");
        }
        assert!(is_ours("plan.example", &domain) && is_ours("homelan.example", &domain));
        let receiver = Domain { why: BTreeSet::from([DomainWhy::Receiver]), ..Domain::default() };
        assert!(!is_ours("example.org", &receiver));
    }

    /// What a rule says of one domain that was asked about.
    fn said(code: &str, domain: Domain) -> Vec<mxray_model::Finding> {
        let mut evidence = Evidence::default();
        evidence.names.domains.insert("plan.example".to_owned(), domain);
        crate::examine_by(&evidence, |rule| rule.code == code).findings
    }

    #[test]
    fn t11_only_what_sends_nothing_is_told_to_let_nobody_send() {
        let route = || {
            let domain = "plan.example".to_owned();
            Seen::Value(MailRouting { domain, route: MailRoute::Null, problems: Vec::new() })
        };
        let record = |why: DomainWhy| {
            let domain = Domain { why: BTreeSet::from([why]), route: route(), spf: Seen::Absent, ..Domain::default() };
            said("SPF101", domain).remove(0).fix.remove(0).records.remove(0).value
        };
        assert_eq!(record(DomainWhy::Asked), "\"v=spf1 -all\"");
        assert!(record(DomainWhy::Sends { by: "postfix".to_owned() }).contains("~all"));
    }

    #[test]
    fn t27_without_a_selector_no_key_is_called_missing() {
        let domain = || Domain { why: BTreeSet::from([DomainWhy::Asked]), ..Domain::default() };
        assert_eq!(said("DKIM102", domain()), []);
        assert_eq!(said("DKIM101", domain()).remove(0).severity, mxray_model::Severity::Info);
    }

    #[test]
    fn long_texts_are_split_and_quoted() {
        assert_eq!(quoted("v=spf1 -all"), "\"v=spf1 -all\"");
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
        let long = quoted(&"x".repeat(600));
        let strings: Vec<usize> = long.split(' ').map(|string| string.len() - 2).collect();
        assert_eq!(strings, [255, 255, 90]);
    }
}
