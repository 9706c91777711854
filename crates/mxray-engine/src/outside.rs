//! From what was seen by connecting to a report: the same rules, and a verdict about services instead of this host.
//!
//! Pure, as `judge` is. Rules that speak of this host's inside see nothing here; what they say of nothing at all is left out,
//! so that a probe's "could not look" holds only what a probe could have seen.

use crate::cut_short;
use crate::judge::{Asked, leave_out, report, verdict};
use mxray_model::evidence::{DialOutcome, DnsOutcome, EndpointWhy, Evidence, ExaminedEndpoint, RecordData, Session};
use mxray_model::{Blind, Finding, Question, Report, Seen, Unseen, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// Runs the rules on endpoints and lookups, and makes the report.
pub(crate) fn judge(question: Question, evidence: Evidence, started: String, took_ms: u64) -> Report {
    let mut judged = mxray_rules::examine(&evidence);
    let of_nothing = mxray_rules::examine(&Evidence {
        declared: evidence.declared.clone(),
        clock: evidence.clock.clone(),
        ..Evidence::default()
    });
    let gaps = gaps(&evidence);
    let verdict = verdict(&judged.causes, !gaps.is_empty());
    let summary = summary(verdict, &judged.causes, &gaps, &evidence);
    if let Some(heard) = heard(&evidence) {
        judged.unseen = mxray_rules::examine(&heard).unseen;
    }
    leave_out(&mut judged, &of_nothing);
    judged.unseen.extend(gaps);
    report(Asked { question, started, took_ms }, evidence, judged, verdict, summary)
}

/// Without the ports that nobody named and where nobody answered: that rules cannot tell what these would say is no news.
/// `None`: there are none.
fn heard(evidence: &Evidence) -> Option<Evidence> {
    let silent = |endpoint: &ExaminedEndpoint| {
        endpoint.why.iter().all(|why| *why == EndpointWhy::Surveyed)
            && endpoint.addresses.values().all(|examined| examined.dial.outcome != DialOutcome::Connected)
    };
    if !evidence.endpoints.values().any(silent) {
        return None;
    }
    let mut heard = evidence.clone();
    heard.endpoints.retain(|_, endpoint| !silent(endpoint));
    Some(heard)
}

/// What was asked for and could not be examined. A closed port of a host that was named without one is none of these.
fn gaps(evidence: &Evidence) -> Vec<Unseen> {
    let mut gaps: Vec<Unseen> = evidence.lookups.values().filter_map(no_exchangers).collect();
    let mut surveys: BTreeMap<&str, Vec<&ExaminedEndpoint>> = BTreeMap::new();
    let mut domains: BTreeMap<&str, Vec<&ExaminedEndpoint>> = BTreeMap::new();
    for (key, endpoint) in &evidence.endpoints {
        let asked =
            endpoint.why.iter().any(|why| !matches!(why, EndpointWhy::Surveyed | EndpointWhy::Exchanger { .. }));
        gaps.extend(unheard(key, endpoint, asked));
        for why in &endpoint.why {
            match why {
                EndpointWhy::Surveyed => surveys.entry(&endpoint.host).or_default().push(endpoint),
                EndpointWhy::Exchanger { domain, .. } => domains.entry(domain).or_default().push(endpoint),
                _ => {}
            }
        }
    }
    let mut none_of = |what: String, endpoints: &[&ExaminedEndpoint]| {
        let silences: Vec<String> = endpoints.iter().filter_map(|endpoint| nothing_came(endpoint)).collect();
        if silences.len() == endpoints.len() {
            let reasons: BTreeSet<String> = silences.into_iter().collect();
            gaps.push(gap(&what, &reasons.into_iter().collect::<Vec<_>>().join("; ")));
        }
    };
    for (host, endpoints) in surveys {
        none_of(format!("any mail service of {host}"), &endpoints);
    }
    for (domain, endpoints) in domains {
        none_of(format!("any server that takes mail for {domain}"), &endpoints);
    }
    gaps
}

/// What one service that was asked about did not show, or a surveyed one that let us in: at all of its addresses, or at some.
fn unheard(key: &str, endpoint: &ExaminedEndpoint, asked: bool) -> Vec<Unseen> {
    let surveyed = endpoint.why.contains(&EndpointWhy::Surveyed);
    if asked && let Some(why) = silence(endpoint) {
        return vec![gap(key, &why)];
    }
    if !asked && !surveyed {
        return Vec::new();
    }
    let several = endpoint.addresses.len() > 1;
    let what = |address: &str| if several { format!("{key} at {address}") } else { key.to_owned() };
    cut_short::at(endpoint).map(|(address, cut)| gap(&what(address), &cut.text())).collect()
}

/// Why no session came through at any address. `None`: one did.
fn nothing_came(endpoint: &ExaminedEndpoint) -> Option<String> {
    let reasons: Vec<Option<String>> = endpoint
        .addresses
        .values()
        .filter(|examined| examined.dial.outcome == DialOutcome::Connected)
        .map(|examined| cut_short::of(examined).map(|cut| cut.text()))
        .collect();
    // Those that did not let us in say the same as before.
    let cut: Option<BTreeSet<String>> = reasons.into_iter().collect();
    silence(endpoint).or_else(|| Some(cut?.into_iter().collect::<Vec<_>>().join("; ")).filter(|why| !why.is_empty()))
}

fn gap(what: &str, why: &str) -> Unseen {
    Unseen {
        what: what.to_owned(),
        why: why.to_owned(),
        needs: "a service that answers, or a run from where it can be reached".to_owned(),
    }
}

/// Why nothing was heard at any address. `None`: something was.
fn silence(endpoint: &ExaminedEndpoint) -> Option<String> {
    match &endpoint.resolved {
        Seen::Absent => return Some("the name has no address".to_owned()),
        Seen::Unknown(blind) if endpoint.addresses.is_empty() => return Some(blind.why()),
        _ if endpoint.addresses.is_empty() => return Some("no address of the right family".to_owned()),
        _ => {}
    }
    let mut reasons: BTreeSet<String> = BTreeSet::new();
    for examined in endpoint.addresses.values() {
        if examined.dial.outcome != DialOutcome::Connected {
            reasons.insert(examined.dial.outcome.as_str().to_owned());
            continue;
        }
        let greeting: Option<&Blind> = match &examined.session {
            Seen::Value(Session::Smtp(session)) => session.greeting.blind(),
            Seen::Value(Session::Mailbox(session)) => session.greeting.blind(),
            Seen::Unknown(blind) => Some(blind),
            Seen::Absent => None,
        };
        // That no greeting was wanted (a depth of `connect`) is no silence.
        match greeting {
            Some(blind) if !matches!(blind, Blind::NotAttempted { .. }) => reasons.insert(blind.why()),
            _ => return None,
        };
    }
    Some(reasons.into_iter().collect::<Vec<_>>().join("; "))
}

/// A domain whose MX records lead nowhere, or are not known.
fn no_exchangers(lookup: &mxray_model::evidence::Lookup) -> Option<Unseen> {
    if lookup.kind != "MX" {
        return None;
    }
    let what = format!("who takes mail for {}", lookup.name);
    match lookup.found() {
        Seen::Unknown(blind) => Some(Unseen { what, why: blind.why(), needs: blind.needs() }),
        Seen::Absent if lookup.outcome == DnsOutcome::NoSuchName => {
            Some(Unseen { what, why: "there is no such domain".to_owned(), needs: "the right name".to_owned() })
        }
        Seen::Absent | Seen::Value(_) => None,
    }
}

fn summary(verdict: Verdict, causes: &[Finding], gaps: &[Unseen], evidence: &Evidence) -> String {
    match (verdict, causes.first()) {
        (Verdict::Broken | Verdict::Degraded, Some(first)) => match causes.len() - 1 {
            0 => first.summary.clone(),
            1 => format!("{} There is one more cause.", first.summary),
            more => format!("{} There are {more} more causes.", first.summary),
        },
        (Verdict::Healthy, _) => healthy(evidence),
        (_, first) if gaps.is_empty() => first.map_or_else(
            || "Cannot say.".to_owned(),
            |first| format!("Cannot say whether all is well: {}", first.summary),
        ),
        _ => {
            let reasons: Vec<String> = gaps.iter().map(|gap| format!("{} ({})", gap.what, gap.why)).collect();
            format!("Not examined: {}.", reasons.join("; "))
        }
    }
}

fn healthy(evidence: &Evidence) -> String {
    let answering = evidence.endpoints.values().filter(|endpoint| nothing_came(endpoint).is_none()).count();
    let null = evidence.lookups.values().filter(|lookup| is_null_mx(lookup)).map(|lookup| lookup.name.as_str());
    let null: Vec<&str> = null.collect();
    let services = match answering {
        0 => String::new(),
        1 => "One service examined; nothing found that is wrong with it.".to_owned(),
        many => format!("{many} services examined; nothing found that is wrong with them."),
    };
    let none = if null.is_empty() { String::new() } else { format!("{} takes no mail (null MX).", null.join(", ")) };
    [services, none].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 7505: `MX 0 .`, and no other.
fn is_null_mx(lookup: &mxray_model::evidence::Lookup) -> bool {
    let exchange = |data: &RecordData| matches!(data, RecordData::Mx { exchange, .. } if exchange.is_empty());
    let mut records = lookup.records.iter().filter(|record| record.data.kind() == "MX").peekable();
    lookup.kind == "MX" && records.peek().is_some() && records.all(|record| exchange(&record.data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut_short::tests::{mailbox, smtp};
    use mxray_model::evidence::{ExaminedAddress, Purpose, SessionProtocol};
    use mxray_model::session::{Ending, MailboxStage, Stage};

    fn question() -> Question {
        Question { command: "probe".to_owned(), targets: vec!["x".to_owned()] }
    }

    fn endpoint(why: &EndpointWhy, outcome: &DialOutcome) -> ExaminedEndpoint {
        serde_json::from_value(serde_json::json!({
            "host": "mail.example", "port": 587, "protocol": "smtp", "tls": "starttls", "purpose": "submission",
            "why": [why], "resolved": {"value": ["192.0.2.1"]},
            "addresses": {"192.0.2.1": {
                "dial": {"peer": "192.0.2.1:587", "local": "absent", "took_ms": 1, "outcome": outcome},
                "session": "absent", "tls": "absent", "timings": []
            }}
        }))
        .unwrap()
    }

    fn report(endpoints: Vec<ExaminedEndpoint>) -> Report {
        let keyed = endpoints.into_iter().enumerate().map(|(at, endpoint)| (at.to_string(), endpoint)).collect();
        judge(question(), Evidence { endpoints: keyed, ..Evidence::default() }, String::new(), 0)
    }

    #[test]
    fn a_probe_does_not_speak_of_a_host_that_was_not_looked_at() {
        let report = report(vec![endpoint(&EndpointWhy::Surveyed, &DialOutcome::Refused)]);
        assert!(report.unseen.iter().all(|unseen| !unseen.what.starts_with("SOCK1")), "{:#?}", report.unseen);
    }

    #[test]
    fn a_closed_port_counts_only_where_nothing_else_answers() {
        let open = endpoint(&EndpointWhy::Surveyed, &DialOutcome::Connected);
        let closed = endpoint(&EndpointWhy::Surveyed, &DialOutcome::Refused);
        let one = report(vec![open, closed.clone()]);
        assert!(one.unseen.iter().all(|unseen| !unseen.what.starts_with("any mail service")), "{:#?}", one.unseen);
        let none = report(vec![closed]);
        assert!(
            none.unseen.iter().any(|unseen| unseen.what == "any mail service of mail.example"),
            "{:#?}",
            none.unseen
        );
        assert_ne!(none.verdict, Verdict::Healthy);
        assert!(none.unseen.iter().all(|unseen| !unseen.what.starts_with("SMTP")), "{:#?}", none.unseen);
    }

    #[test]
    fn a_session_that_broke_off_is_not_healthy() {
        let cut = |why: &EndpointWhy, examined: ExaminedAddress| {
            let mut endpoint = endpoint(why, &DialOutcome::Connected);
            endpoint.protocol = SessionProtocol::Sieve;
            endpoint.purpose = Purpose::Mailbox;
            endpoint.addresses = BTreeMap::from([("192.0.2.1".to_owned(), examined)]);
            endpoint
        };
        let reset = || Ending::Broke { error: "reset".to_owned() };
        for why in [EndpointWhy::Asked, EndpointWhy::Surveyed] {
            let report = report(vec![cut(&why, mailbox(MailboxStage::Capabilities, reset()))]);
            assert_eq!(report.verdict, Verdict::Unknown, "{why:?} {:#?}", report.findings);
            assert!(report.unseen.iter().any(|unseen| unseen.why.contains("capabilities")), "{:#?}", report.unseen);
            assert!(report.summary.contains("capabilities"), "{}", report.summary);
        }
        let came = report(vec![cut(&EndpointWhy::Asked, mailbox(MailboxStage::Goodbye, Ending::Finished))]);
        assert!(came.unseen.iter().all(|unseen| !unseen.why.starts_with("the session ended")), "{:#?}", came.unseen);
    }

    #[test]
    fn one_exchanger_that_comes_through_is_enough() {
        let exchanger = |ending: Ending| {
            let why = EndpointWhy::Exchanger { domain: "example.org".to_owned(), preference: 10 };
            let mut endpoint = endpoint(&why, &DialOutcome::Connected);
            endpoint.addresses = BTreeMap::from([("192.0.2.1".to_owned(), smtp(Stage::Ehlo, ending))]);
            endpoint
        };
        let what = "any server that takes mail for example.org";
        let one = gaps(&Evidence {
            endpoints: [("a", Ending::PeerClosed), ("b", Ending::Finished)]
                .map(|(key, ending)| (key.to_owned(), exchanger(ending)))
                .into(),
            ..Evidence::default()
        });
        assert_eq!(one, []);
        let none = gaps(&Evidence {
            endpoints: [("a".to_owned(), exchanger(Ending::PeerClosed))].into(),
            ..Evidence::default()
        });
        assert!(none.iter().any(|gap| gap.what == what && gap.why.contains("EHLO")), "{none:#?}");
    }

    #[test]
    fn a_null_mx_is_an_answer_and_an_unknown_one_is_none() {
        let lookup = |outcome: serde_json::Value, records: serde_json::Value| {
            let lookup = serde_json::json!({
                "name": "example.org", "kind": "MX", "outcome": outcome, "records": records, "tries": []
            });
            let lookups = BTreeMap::from([("MX example.org".to_owned(), serde_json::from_value(lookup).unwrap())]);
            judge(question(), Evidence { lookups, ..Evidence::default() }, String::new(), 0)
        };
        let null =
            serde_json::json!([{"name": "example.org", "ttl_s": 1, "data": {"mx": {"preference": 0, "exchange": ""}}}]);
        let null = lookup("found".into(), null);
        assert_eq!((null.verdict, null.summary.as_str()), (Verdict::Healthy, "example.org takes no mail (null MX)."));
        let dead = lookup(serde_json::json!({"no_answer": {"after_ms": 5}}), serde_json::json!([]));
        assert_eq!(dead.verdict, Verdict::Unknown);
    }

    #[test]
    fn replay_gives_the_same_report() {
        let report = report(vec![endpoint(&EndpointWhy::Asked, &DialOutcome::Refused)]);
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(crate::judge(again.question, again.evidence, again.started, again.took_ms), report);
    }
}
