//! From what was seen by connecting to a report: the same rules, and a verdict about services instead of this host.
//!
//! Pure, as `judge` is. Rules that speak of this host's inside see nothing here; what they say of nothing at all is left out,
//! so that a probe's "could not look" holds only what a probe could have seen.

use mxray_model::evidence::{DialOutcome, DnsOutcome, EndpointWhy, Evidence, ExaminedEndpoint, RecordData, Session};
use mxray_model::session::{Ending, Reply};
use mxray_model::{Blind, Finding, Question, REPORT_SCHEMA, Report, RuledOut, Seen, Severity, Tool, Unseen, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// Runs the rules on endpoints and lookups, and makes the report.
pub(crate) fn judge(question: Question, evidence: Evidence, started: String, took_ms: u64) -> Report {
    let judged = mxray_rules::examine(&evidence);
    let of_nothing = mxray_rules::examine(&Evidence { declared: evidence.declared.clone(), ..Evidence::default() });
    let gaps = gaps(&evidence);
    let verdict = verdict(&judged.causes, !gaps.is_empty());
    let summary = summary(verdict, &judged.causes, &gaps, &evidence);
    let mut unseen = heard(&evidence).map_or(judged.unseen, |heard| mxray_rules::examine(&heard).unseen);
    unseen.retain(|unseen| !of_nothing.unseen.contains(unseen));
    unseen.extend(gaps);
    unseen.sort();
    unseen.dedup();
    let mut healthy = judged.healthy;
    healthy.retain(|row| !of_nothing.healthy.contains(row));
    let mut ruled_out: Vec<RuledOut> = judged.ruled_out;
    ruled_out.retain(|rival| !of_nothing.healthy.iter().any(|row| row.code == rival.code));
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        tool: Tool { name: "mxray".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        started,
        took_ms,
        question,
        verdict,
        summary,
        causes: judged.causes,
        findings: judged.findings,
        ruled_out,
        healthy,
        unseen,
        evidence,
    }
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

fn verdict(causes: &[Finding], blind: bool) -> Verdict {
    let worst = causes.iter().filter(|cause| !cause.code.starts_with("LOOK")).map(|cause| cause.severity).max();
    match worst {
        Some(Severity::Critical) => Verdict::Broken,
        Some(_) => Verdict::Degraded,
        None if blind || !causes.is_empty() => Verdict::Unknown,
        None => Verdict::Healthy,
    }
}

/// What was asked for and could not be examined. A closed port of a host that was named without one is none of these.
fn gaps(evidence: &Evidence) -> Vec<Unseen> {
    let mut gaps: Vec<Unseen> = evidence.lookups.values().filter_map(no_exchangers).collect();
    gaps.extend(broken_off(evidence));
    let mut surveys: BTreeMap<&str, Vec<&ExaminedEndpoint>> = BTreeMap::new();
    let mut domains: BTreeMap<&str, Vec<&ExaminedEndpoint>> = BTreeMap::new();
    for (key, endpoint) in &evidence.endpoints {
        let asked =
            endpoint.why.iter().any(|why| !matches!(why, EndpointWhy::Surveyed | EndpointWhy::Exchanger { .. }));
        if asked && let Some(why) = silence(endpoint) {
            gaps.push(gap(key, &why));
        }
        for why in &endpoint.why {
            match why {
                EndpointWhy::Surveyed => surveys.entry(&endpoint.host).or_default().push(endpoint),
                EndpointWhy::Exchanger { domain, .. } => domains.entry(domain).or_default().push(endpoint),
                _ => {}
            }
        }
    }
    let mut none_of = |what: String, endpoints: &[&ExaminedEndpoint]| {
        let silences: Vec<String> = endpoints.iter().filter_map(|endpoint| silence(endpoint)).collect();
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
            // That no greeting was wanted (a depth of `connect`) is no silence.
            Seen::Unknown(Blind::NotAttempted { .. }) | Seen::Absent => None,
            Seen::Unknown(blind) => Some(blind),
        };
        match greeting {
            Some(blind) => reasons.insert(blind.why()),
            None => return None,
        };
    }
    Some(reasons.into_iter().collect::<Vec<_>>().join("; "))
}

/// Services whose sessions began and were cut short.
pub(crate) fn broken_off(evidence: &Evidence) -> Vec<Unseen> {
    let endpoints = evidence.endpoints.iter().filter(|(_, endpoint)| silence(endpoint).is_none());
    endpoints.filter_map(|(key, endpoint)| Some(gap(&format!("all of {key}"), &cut_short(endpoint)?))).collect()
}

/// Why a session that began did not come as far as it was meant to. `None`: it did, at every address. What was not heard may
/// hold any fault, so a service that breaks off is never one that is well.
fn cut_short(endpoint: &ExaminedEndpoint) -> Option<String> {
    let reasons: BTreeSet<String> = endpoint
        .addresses
        .iter()
        .filter_map(|(address, examined)| {
            let why = match examined.session.value()? {
                Session::Smtp(session) => {
                    let greeted = session.greeting.value().is_some_and(Reply::is_positive);
                    let told = session.hellos.last().is_some_and(|hello| hello.extensions.value().is_some());
                    early(&session.ending, greeted && told)
                }
                Session::Mailbox(session) => {
                    let greeted = session.greeting.value().is_some_and(|greeting| greeting.ok);
                    let told = session.capabilities.last().is_some_and(|list| list.listed.value().is_some());
                    early(&session.ending, greeted && told)
                }
            };
            why.map(|why| format!("{address}: {why}"))
        })
        .collect();
    if reasons.is_empty() { None } else { Some(reasons.into_iter().collect::<Vec<_>>().join("; ")) }
}

/// `told`: the server has greeted and said what it offers; a refusal behind that is an answer to what was asked.
fn early(ending: &Ending, told: bool) -> Option<String> {
    match ending {
        // Why a handshake failed is judged by itself.
        Ending::Finished | Ending::Open | Ending::TlsFailed => None,
        Ending::Refused if told => None,
        Ending::Refused => Some("it said no, or asked to come again, before it said what it offers".to_owned()),
        Ending::PeerClosed => Some("it closed the connection within the session".to_owned()),
        Ending::Broke { error } => Some(format!("the connection broke within the session: {error}")),
        Ending::Deadline { waited_ms } => Some(format!("no answer within {waited_ms} ms")),
        Ending::Limit { .. } => Some("it said more than is read; the session was ended".to_owned()),
        Ending::Distrusted => Some("what it said could not be trusted any further; the session was ended".to_owned()),
    }
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
    let answering = evidence.endpoints.values().filter(|endpoint| silence(endpoint).is_none()).count();
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
    use mxray_model::session::{Limit, SmtpSession};

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

    fn answering(greeting: &serde_json::Value, ending: &Ending) -> ExaminedEndpoint {
        let mut endpoint = serde_json::to_value(endpoint(&EndpointWhy::Asked, &DialOutcome::Connected)).unwrap();
        let session = SmtpSession { ending: ending.clone(), ..SmtpSession::default() };
        let mut session = serde_json::to_value(session).unwrap();
        session["greeting"] = greeting.clone();
        endpoint["addresses"]["192.0.2.1"]["session"] = serde_json::json!({"value": {"smtp": session}});
        serde_json::from_value(endpoint).unwrap()
    }

    #[test]
    fn a_session_that_was_cut_short_is_never_well() {
        let reply = |code: u16| {
            let reply = serde_json::json!({"code": code, "enhanced": null, "lines": ["x"], "after_ms": 1, "entry": 1});
            serde_json::json!({"value": reply})
        };
        let before = serde_json::json!({"unknown": {"not_attempted": {"why": "the session ended before"}}});
        for (greeting, ending) in [
            (reply(421), Ending::Refused),
            (reply(554), Ending::Refused),
            (reply(220), Ending::Refused),
            (reply(220), Ending::PeerClosed),
            (reply(220), Ending::Broke { error: "reset".to_owned() }),
            (reply(220), Ending::Deadline { waited_ms: 5 }),
            (reply(220), Ending::Distrusted),
            (reply(220), Ending::Limit { limit: Limit::ReplyLines }),
            (before.clone(), Ending::Limit { limit: Limit::LineBytes }),
            (before, Ending::TlsFailed),
        ] {
            let report = report(vec![answering(&greeting, &ending)]);
            assert_ne!(report.verdict, Verdict::Healthy, "{greeting} {ending:?}");
        }
        let finished = report(vec![answering(&reply(220), &Ending::Finished)]);
        assert!(finished.unseen.iter().all(|unseen| !unseen.what.starts_with("all of")), "{:#?}", finished.unseen);
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
