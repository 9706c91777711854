//! The examination of domains: what they publish, the servers that they name, and the report that it gives.
//!
//! Of this host it looks at no more than what its signers sign, where that is one of the domains. Its rules are those about
//! names and about services as others meet them, and its verdict is about the domains.

use crate::collect::{Asked, Options, flat, join_sessions, start_sessions, start_signers};
use crate::judge::{self, leave_out, report, verdict};
use crate::parts::{Parts, Progress};
use crate::resolvers;
use jiff::Timestamp;
use mxray_host::{processes, resolver, vantage};
use mxray_model::evidence::published::{Domain, DomainWhy, MailRoute};
use mxray_model::evidence::{Evidence, Signer};
use mxray_model::{Finding, Question, Report, Seen, Unseen, Verdict};
use mxray_rules::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The command of a question that is judged here.
pub(crate) const COMMAND: &str = "domain";

/// Families of codes that speak of names, and of services as others meet them.
const FAMILIES: [&str; 13] =
    ["DNS", "MX", "ID", "SPF", "DKIM", "DMARC", "STS", "DANE", "LIST", "TLS", "SMTP", "LOOK", "MBOX"];

/// Looks at what the domains publish.
pub(crate) fn collect(options: &Options, progress: Progress<'_>) -> Evidence {
    let mut parts = Parts::new(options.deadline, progress);
    let vantage = parts.start("vantage", vantage::look);
    let files = parts.start("name resolution", || resolver::look(BTreeSet::new(), &Seen::Absent));
    let table = parts.start("processes", processes::table);
    let mut evidence = Evidence { declared: options.declared.clone(), ..Evidence::default() };
    // Certificates and signatures end at a date.
    let now_s = Timestamp::now().as_second();
    evidence.clock.now_s = Seen::Value(now_s);
    evidence.clock.today = Seen::Value(mxray_host::clock::date(now_s));
    evidence.resolver = parts.wait(files).unwrap_or_default();
    let table = Arc::new(flat(parts.wait(table)));
    let signers = start_signers(&mut parts, &table);
    evidence.vantage = parts.wait(vantage).unwrap_or_else(|blind| vantage::without_files(&blind));
    let asked: Vec<String> = options.names.iter().flat_map(|wish| wish.domains.iter().cloned()).collect();
    evidence.signers = signers_of(flat(parts.wait(signers)), &asked);
    let resolver = resolvers::of(&evidence.resolver, options);
    let names = Asked::start(&mut parts, &evidence, options, &resolver);
    let sessions = start_sessions(&mut parts, &evidence, options, &resolver);
    join_sessions(&mut parts, &mut evidence, sessions);
    names.join(&mut parts, &mut evidence, &resolver);
    evidence.parts.extend(parts.finish());
    evidence
}

/// Those that sign for one of the domains: the others are nobody's question.
fn signers_of(signers: Seen<BTreeMap<String, Signer>>, asked: &[String]) -> Seen<BTreeMap<String, Signer>> {
    let for_asked = |name: &String| {
        asked.iter().any(|domain| name.to_ascii_lowercase().ends_with(&format!("._domainkey.{domain}")))
    };
    let Seen::Value(mut signers) = signers else { return signers };
    for signer in signers.values_mut() {
        signer.keys.retain(|_, key| {
            key.names.retain(for_asked);
            !key.names.is_empty()
        });
    }
    signers.retain(|_, signer| !signer.keys.is_empty());
    if signers.is_empty() {
        Seen::not_attempted("none of this host signs for these domains")
    } else {
        Seen::Value(signers)
    }
}

fn is_asked(rule: &Rule) -> bool {
    let family = rule.code.trim_end_matches(|c: char| c.is_ascii_digit());
    FAMILIES.contains(&family)
}

/// Runs these rules and makes the report.
pub(crate) fn judge(question: Question, evidence: Evidence, started: String, took_ms: u64) -> Report {
    let mut judged = mxray_rules::examine_by(&evidence, is_asked);
    let of_nothing = mxray_rules::examine_by(
        &Evidence { declared: evidence.declared.clone(), clock: evidence.clock.clone(), ..Evidence::default() },
        is_asked,
    );
    let gaps = gaps(&evidence);
    let verdict = verdict(&judged.causes, !gaps.is_empty());
    let summary = summary(verdict, &judged.causes, &gaps, &evidence);
    leave_out(&mut judged, &of_nothing);
    judged.unseen.extend(gaps);
    judged.unseen.extend(crate::names::notes(&evidence));
    judged.unseen.extend(not_connected(&evidence));
    report(judge::Asked { question, started, took_ms }, evidence, judged, verdict, summary)
}

fn asked(evidence: &Evidence) -> impl Iterator<Item = (&String, &Domain)> {
    evidence.names.domains.iter().filter(|(_, domain)| domain.why.contains(&DomainWhy::Asked))
}

/// Without knowing where its mail goes nothing can be said of a domain.
fn gaps(evidence: &Evidence) -> Vec<Unseen> {
    let gap = |(name, domain): (&String, &Domain)| {
        let (why, needs) = match &domain.route {
            Seen::Unknown(blind) => (blind.why(), blind.needs()),
            Seen::Value(routing) => match &routing.route {
                MailRoute::Unknown { why } => (why.clone(), "a name server that answers (--resolver)".to_owned()),
                _ => return None,
            },
            Seen::Absent => return None,
        };
        Some(Unseen { what: format!("where mail for {name} goes"), why, needs })
    };
    let mut gaps: Vec<Unseen> = asked(evidence).filter_map(gap).collect();
    if evidence.names.domains.is_empty() {
        let why = "nothing was asked".to_owned();
        gaps.push(Unseen { what: "the domains".to_owned(), why, needs: String::new() });
    }
    gaps
}

/// Domains whose servers nobody spoke to.
fn not_connected(evidence: &Evidence) -> Vec<Unseen> {
    let unheard = |(name, domain): (&String, &Domain)| {
        let routing = domain.route.value().filter(|routing| !routing.route.hosts().is_empty())?;
        let is_its = |why: &mxray_model::evidence::EndpointWhy| match why {
            mxray_model::evidence::EndpointWhy::Exchanger { domain, .. } => domain.eq_ignore_ascii_case(name),
            _ => false,
        };
        let spoken = evidence.endpoints.values().any(|endpoint| endpoint.why.iter().any(is_its));
        let hosts: Vec<&str> = routing.route.hosts().iter().map(|host| host.name.as_str()).collect();
        (!spoken).then(|| Unseen {
            what: format!("the servers of {name} ({})", hosts.join(", ")),
            why: "nothing was connected to".to_owned(),
            needs: "a run without --no-connect".to_owned(),
        })
    };
    asked(evidence).filter_map(unheard).chain(crate::sessions::unheard(evidence)).collect()
}

fn summary(verdict: Verdict, causes: &[Finding], gaps: &[Unseen], evidence: &Evidence) -> String {
    match (verdict, causes) {
        (Verdict::Broken | Verdict::Degraded, [only]) => only.summary.clone(),
        (Verdict::Broken | Verdict::Degraded, [first, rest @ ..]) => match rest.len() {
            1 => format!("{} There is one more cause.", first.summary),
            more => format!("{} There are {more} more causes.", first.summary),
        },
        (Verdict::Healthy, _) => healthy(evidence),
        (_, causes) if gaps.is_empty() => causes.first().map_or_else(
            || "Cannot say.".to_owned(),
            |first| format!("Cannot say whether all is well: {}", first.summary),
        ),
        _ => {
            let reasons: Vec<String> = gaps.iter().map(|gap| format!("{} ({})", gap.what, gap.why)).collect();
            format!("Cannot say: not seen: {}.", reasons.join("; "))
        }
    }
}

fn healthy(evidence: &Evidence) -> String {
    let names: Vec<&str> = asked(evidence).map(|(name, domain)| domain.shown.as_deref().unwrap_or(name)).collect();
    format!("Nothing found in what names say that keeps mail to or from {} from arriving.", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::published::{MailHost, MailRouting, Names};

    fn question() -> Question {
        Question { command: COMMAND.to_owned(), targets: vec!["quay.example".to_owned()] }
    }

    fn evidence(route: Seen<MailRouting>) -> Evidence {
        let domain = Domain { why: [DomainWhy::Asked].into(), route, ..Domain::default() };
        let names = Names { domains: [("quay.example".to_owned(), domain)].into(), ..Names::default() };
        Evidence { names, ..Evidence::default() }
    }

    fn routing(route: MailRoute) -> Seen<MailRouting> {
        Seen::Value(MailRouting { domain: "quay.example".to_owned(), route, problems: Vec::new() })
    }

    #[test]
    fn what_was_not_answered_is_no_health() {
        let timed_out = mxray_model::Blind::TimedOut { what: "MX".to_owned(), after_ms: 5 };
        for route in [Seen::Unknown(timed_out), routing(MailRoute::Unknown { why: "SERVFAIL".to_owned() })] {
            let report = judge(question(), evidence(route), String::new(), 0);
            assert_ne!(report.verdict, Verdict::Healthy);
            assert!(report.unseen.iter().any(|unseen| unseen.what == "where mail for quay.example goes"));
        }
        let nothing = judge(question(), Evidence::default(), String::new(), 0);
        assert_eq!(nothing.verdict, Verdict::Unknown);
    }

    #[test]
    fn servers_that_nobody_spoke_to_are_named_and_no_word_is_of_this_host() {
        let host = MailHost {
            preference: 10,
            name: "mx.quay.example".to_owned(),
            addresses: Seen::Value(vec!["192.0.2.1".parse().unwrap()]),
            alias: None,
        };
        let report = judge(question(), evidence(routing(MailRoute::Servers { hosts: vec![host] })), String::new(), 0);
        assert!(report.unseen.iter().any(|unseen| unseen.what.contains("mx.quay.example")), "{:#?}", report.unseen);
        for family in ["SOCK", "CONF", "HOST", "FW", "PORT", "ROUTE"] {
            assert!(report.unseen.iter().all(|unseen| !unseen.what.starts_with(family)), "{:#?}", report.unseen);
        }
    }

    #[test]
    fn replay_gives_the_same_report() {
        let report = judge(question(), evidence(routing(MailRoute::Null)), String::new(), 0);
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(crate::judge(again.question, again.evidence, again.started, again.took_ms), report);
    }
}
