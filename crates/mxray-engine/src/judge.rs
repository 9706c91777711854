//! From evidence to report. Pure: the same evidence gives the same report, live or replayed.

use crate::cut_short::{self, Cut};
use mxray_model::evidence::{EndpointWhy, Evidence, ExaminedEndpoint, Purpose, Server};
use mxray_model::{Blind, Finding, Question, REPORT_SCHEMA, Report, Seen, Severity, Tool, Unseen, Verdict};
use mxray_rules::Judged;
use mxray_rules::Rule;
use std::collections::BTreeMap;

/// Runs the rules and makes the report.
pub fn judge(question: Question, evidence: Evidence, started: String, took_ms: u64) -> Report {
    // A probe asks about services; this host may not even have a mail server.
    if question.command == "probe" {
        return crate::outside::judge(question, evidence, started, took_ms);
    }
    if question.command == crate::ports::AUDIT {
        return crate::ports::judge(question, evidence, started, took_ms);
    }
    if question.command == crate::domains::COMMAND {
        return crate::domains::judge(question, evidence, started, took_ms);
    }
    let mut judged = mxray_rules::examine_by(&evidence, |rule| concerns(rule, &evidence));
    if let Seen::Unknown(blind @ Blind::NotAttempted { .. }) = &evidence.reports {
        let why = blind.why();
        judged.unseen.retain(|unseen| unseen.why != why || !OF_REPORTS.contains(&unseen.what.as_str()));
    }
    let in_charge = mxray_rules::in_charge(&evidence);
    let gaps = gaps(&in_charge);
    let verdict = verdict(&judged.causes, !gaps.is_empty());
    judged.unseen.extend(side_notes(&question, &evidence));
    judged.unseen.extend(gaps.iter().cloned());
    let summary = summary(verdict, &judged.causes, &gaps, &in_charge);
    drop(in_charge);
    report(Asked { question, started, took_ms }, evidence, judged, verdict, summary)
}

/// What was asked, and when.
pub(crate) struct Asked {
    pub question: Question,
    pub started: String,
    pub took_ms: u64,
}

/// The report of what was judged.
pub(crate) fn report(asked: Asked, evidence: Evidence, judged: Judged, verdict: Verdict, summary: String) -> Report {
    let mut unseen = judged.unseen;
    unseen.sort();
    unseen.dedup();
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        tool: Tool { name: "mxray".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        started: asked.started,
        took_ms: asked.took_ms,
        question: asked.question,
        verdict,
        summary,
        causes: judged.causes,
        findings: judged.findings,
        ruled_out: judged.ruled_out,
        healthy: judged.healthy,
        unseen,
        evidence,
    }
}

/// Rules that speak of receivers' reports. That nobody gave any is said once (`reports_note`), not by each of them.
const OF_REPORTS: [&str; 3] = ["DMARC114", "STS111", "LOG111"];
/// The rule that compares with an earlier run. The first run has none, and needs no word.
const OF_EARLIER: &str = "DNS109";

/// That nobody gave a mail is no news.
fn concerns(rule: &Rule, evidence: &Evidence) -> bool {
    fn given<T>(fact: &Seen<T>) -> bool {
        !matches!(fact, Seen::Unknown(Blind::NotAttempted { .. }))
    }
    match rule.code {
        code if code.starts_with("MAIL") => given(&evidence.mail),
        OF_EARLIER => given(&evidence.earlier),
        _ => true,
    }
}

/// What only receivers can tell was not part of the question.
fn reports_note(evidence: &Evidence) -> Option<Unseen> {
    let Seen::Unknown(blind @ Blind::NotAttempted { .. }) = &evidence.reports else { return None };
    // A host without a mail server has nobody who reports of it.
    evidence.servers.value().filter(|servers| servers.values().any(|server| server.enabled))?;
    Some(Unseen {
        what: "what receivers report of our mail (DMARC, TLS, complaints)".to_owned(),
        why: blind.why(),
        needs: "mxray reports PATH: the files or the mailbox where they arrive".to_owned(),
    })
}

/// Takes away what rules say of nothing at all: they speak of what was not part of the question.
pub(crate) fn leave_out(judged: &mut Judged, of_nothing: &Judged) {
    judged.unseen.retain(|unseen| !of_nothing.unseen.contains(unseen));
    judged.healthy.retain(|row| !of_nothing.healthy.contains(row));
    judged.ruled_out.retain(|rival| !of_nothing.healthy.iter().any(|row| row.code == rival.code));
}

/// Of this host, or of what was probed. `blind`: something that had to be seen was not.
pub(crate) fn verdict(causes: &[Finding], blind: bool) -> Verdict {
    // That a part of the examination failed is a finding about us, not about the mail server.
    let worst = causes.iter().filter(|cause| !cause.code.starts_with("LOOK")).map(|cause| cause.severity).max();
    match worst {
        Some(Severity::Critical) => Verdict::Broken,
        Some(_) => Verdict::Degraded,
        None if blind || !causes.is_empty() => Verdict::Unknown,
        None => Verdict::Healthy,
    }
}

/// What must be visible for "nothing is wrong" to mean anything.
fn gaps(evidence: &Evidence) -> Vec<Unseen> {
    let mut gaps = Vec::new();
    let mut gap = |what: &str, blind: &Blind| {
        gaps.push(Unseen { what: what.to_owned(), why: blind.why(), needs: blind.needs() });
    };
    if let Some(blind) = evidence.sockets.blind() {
        gap("sockets", blind);
    }
    match &evidence.servers {
        Seen::Unknown(blind) => gap("configuration of the mail server", blind),
        Seen::Absent => gaps.push(no_server(evidence)),
        Seen::Value(servers) if servers.values().all(|server| !server.enabled) => gaps.push(Unseen {
            what: "the mail server in charge".to_owned(),
            why: "none of those that are configured here is meant to run".to_owned(),
            needs: "a run where the mail is handled: on another host, in a container, or with --netns".to_owned(),
        }),
        Seen::Value(servers) => {
            for (instance, server) in servers.iter().filter(|(_, server)| server.enabled) {
                if let Some(blind) = server.master.blind() {
                    gap(&format!("whether {instance} runs"), blind);
                }
                if let Some(blind) = crate::surroundings::hides(evidence, instance) {
                    gap(&format!("the sockets of {instance}"), &blind);
                }
            }
        }
    }
    gaps.extend(unread(evidence));
    gaps.extend(evidence.endpoints.iter().filter_map(|(key, endpoint)| own_broke_off(key, endpoint)));
    gaps.extend(crate::sessions::unheard(evidence));
    gaps
}

/// Servers whose configuration was kept from us, beside those that were read. One that does not run may be left over.
fn unread(evidence: &Evidence) -> Vec<Unseen> {
    let runs = |software: &str| evidence.others.get(software).is_none_or(|other| other.running == Seen::Value(true));
    let kept = evidence.unread.iter().filter(|(software, blind)| {
        evidence.servers.value().is_some() && matches!(blind, Blind::NotPermitted { .. }) && runs(software)
    });
    let gap = |(software, blind): (&String, &Blind)| Unseen {
        what: format!("configuration of {software}"),
        why: blind.why(),
        needs: blind.needs(),
    };
    kept.map(gap).collect()
}

/// An own service that broke off with us at every address, without a word: what users meet there is not known. One that says why
/// (421), or that we had no time to wait for, has shown that it lives; that is a side note.
fn own_broke_off(key: &str, endpoint: &ExaminedEndpoint) -> Option<Unseen> {
    let own = endpoint.why.iter().any(|why| matches!(why, EndpointWhy::Own { .. }));
    let cuts: Vec<Cut> = cut_short::at(endpoint).map(|(_, cut)| cut).collect();
    let without_a_word = |cut: &Cut| !cut.told && !cut.waited && !cut.handshake;
    let all = cuts.len() == endpoint.addresses.len() && cuts.iter().all(without_a_word);
    let first = cuts.first().filter(|_| own && all)?;
    Some(broke_off(key.to_owned(), first))
}

fn broke_off(what: String, cut: &Cut) -> Unseen {
    Unseen { what, why: cut.text(), needs: "a session that comes to its end: mxray probe, or a later run".to_owned() }
}

/// Every session that was cut short; what comes behind its end was not seen.
fn broken_off(evidence: &Evidence) -> Vec<Unseen> {
    let each = |(key, endpoint): (&String, &ExaminedEndpoint)| {
        let several = endpoint.addresses.len() > 1;
        let what = |address: &str| if several { format!("{key} at {address}") } else { key.clone() };
        cut_short::at(endpoint).map(|(address, cut)| broke_off(what(address), &cut)).collect::<Vec<_>>()
    };
    evidence.endpoints.iter().flat_map(each).collect()
}

fn no_server(evidence: &Evidence) -> Unseen {
    if evidence.others.is_empty() {
        return Unseen {
            what: "a mail server".to_owned(),
            why: "none that mxray knows is installed here".to_owned(),
            needs: "a run on the host that handles the mail".to_owned(),
        };
    }
    let others: Vec<String> = evidence.others.iter().map(|(name, other)| format!("{name}: {}", other.found)).collect();
    Unseen {
        what: "the configuration of a mail server".to_owned(),
        why: format!("found, but with no configuration that mxray reads: {}", others.join("; ")),
        needs: "Postfix, Exim, OpenSMTPD, Sendmail or Dovecot configured, or a run on the host that handles the mail"
            .to_owned(),
    }
}

/// What was not visible, without making the answer doubtful.
fn side_notes(question: &Question, evidence: &Evidence) -> Vec<Unseen> {
    let mut notes = Vec::new();
    for problem in evidence.servers.value().into_iter().flatten().flat_map(|(_, server)| &server.problems) {
        notes.push(Unseen {
            what: problem.at.to_string(),
            why: problem.text.clone(),
            needs: "the line corrected, or its value given in a form that can be read".to_owned(),
        });
    }
    if evidence.servers.value().is_some() {
        for (software, blind) in &evidence.unread {
            notes.push(Unseen { what: format!("configuration of {software}"), why: blind.why(), needs: blind.needs() });
        }
        for (software, other) in evidence.others.iter().filter(|(name, _)| !evidence.unread.contains_key(*name)) {
            notes.push(Unseen {
                what: format!("configuration of {software}"),
                why: format!("not read by this version ({})", other.found),
                needs: "a version of mxray that reads it".to_owned(),
            });
        }
    }
    notes.extend(crate::sessions::notes(question, evidence));
    notes.extend(broken_off(evidence));
    notes.extend(baseline_note(evidence));
    notes.extend(reports_note(evidence));
    for (path, blind) in &evidence.declared.unread {
        notes.push(Unseen {
            what: format!("mxray's own configuration {path}"),
            why: format!("{}; the examination went on without it", blind.why()),
            needs: blind.needs(),
        });
    }
    if let Some(left_out) =
        evidence.sockets.value().map(|sockets| sockets.listeners_left_out).filter(|count| *count > 0)
    {
        notes.push(Unseen {
            what: format!("{left_out} more listeners"),
            why: "left out of the report, because there are so many; none is on a port that bears on mail".to_owned(),
            needs: "mxray sockets --listening".to_owned(),
        });
    }
    if let Seen::Value(kind) = &evidence.vantage.container {
        notes.push(Unseen {
            what: "the machine around this container".to_owned(),
            why: format!(
                "this is a container ({kind}): its host's firewall, published ports and limits are not visible"
            ),
            needs: "a run on the container's host".to_owned(),
        });
    }
    notes.extend(crate::logs::notes(evidence));
    notes.extend(crate::surroundings::notes(evidence));
    notes.extend(crate::names::notes(evidence));
    notes
}

/// What is usual here could not be read, or not be learned. That nobody looked needs no word.
fn baseline_note(evidence: &Evidence) -> Option<Unseen> {
    let (what, blind) = match &evidence.baseline {
        Seen::Value(baseline) => ("learning what is usual here", baseline.counted.blind()?),
        Seen::Absent => return None,
        Seen::Unknown(blind) => ("what is usual here", blind),
    };
    let note = Unseen { what: what.to_owned(), why: blind.why(), needs: blind.needs() };
    (!matches!(blind, Blind::NotAttempted { .. })).then_some(note)
}

fn summary(verdict: Verdict, causes: &[Finding], gaps: &[Unseen], evidence: &Evidence) -> String {
    match (verdict, causes.first()) {
        (Verdict::Broken | Verdict::Degraded, Some(first)) => match causes.len() - 1 {
            0 => first.summary.clone(),
            1 => format!("{} There is one more cause.", first.summary),
            more => format!("{} There are {more} more causes.", first.summary),
        },
        (Verdict::Healthy, _) => healthy(evidence),
        _ => {
            let reasons: Vec<String> = gaps.iter().map(|gap| format!("{} ({})", gap.what, gap.why)).collect();
            match (reasons.is_empty(), causes.first()) {
                (false, _) => format!("Cannot say why mail would not arrive: not seen: {}.", reasons.join("; ")),
                (true, Some(first)) => format!("Cannot say whether all is well: {}", first.summary),
                (true, None) => "Cannot say why mail would not arrive.".to_owned(),
            }
        }
    }
}

fn healthy(evidence: &Evidence) -> String {
    let empty = BTreeMap::new();
    let servers = evidence.servers.value().unwrap_or(&empty);
    let names: Vec<String> =
        servers.iter().filter(|(_, s)| s.enabled).map(|(name, server)| described(name, server)).collect();
    format!("Nothing found on this host that keeps mail from arriving: {}.", names.join("; "))
}

fn described(instance: &str, server: &Server) -> String {
    let version = server.version.value().map_or_else(String::new, |version| format!(" {version}"));
    // Whether anybody else can reach a port decides what "listens" is worth.
    let mut public: BTreeMap<u16, bool> = BTreeMap::new();
    for wanted in server.wanted.values().filter(|wanted| wanted.purpose != Purpose::Other) {
        *public.entry(wanted.port).or_default() |= !wanted.is_loopback_only();
    }
    let told =
        |(port, public): (&u16, &bool)| if *public { port.to_string() } else { format!("{port} (loopback only)") };
    let ports: Vec<String> = public.iter().map(told).collect();
    let listens = if ports.is_empty() {
        "it takes no mail over the network".to_owned()
    } else {
        format!("listens on {}", ports.join(", "))
    };
    format!("{instance}{version} runs and {listens}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_port_that_only_this_machine_reaches_is_told_as_such() {
        let wanted = |port: u16, address: &str| WantedListener {
            service: port.to_string(),
            command: "smtpd".to_owned(),
            port,
            addresses: vec![address.parse().unwrap()],
            purpose: Purpose::Submission,
            tls: TlsMode::None,
            process_limit: None,
            multiplexed: false,
            overrides: BTreeMap::new(),
            at: FileLine { file: "/etc/postfix/master.cf".to_owned(), line: 1 },
        };
        let both = [("a", wanted(587, "127.0.0.1")), ("b", wanted(25, "127.0.0.1")), ("c", wanted(25, "0.0.0.0"))];
        let server = Server { wanted: both.map(|(key, wanted)| (key.to_owned(), wanted)).into(), ..Server::default() };
        assert_eq!(described("postfix", &server), "postfix runs and listens on 25, 587 (loopback only)");
    }

    use super::*;
    use crate::cut_short::tests::smtp;
    use mxray_model::evidence::{ExaminedAddress, FileLine, TlsMode, WantedListener};

    use mxray_model::session::{Ending, Stage};

    fn question() -> Question {
        Question { command: "doctor".to_owned(), targets: Vec::new() }
    }

    #[test]
    fn nothing_seen_is_unknown() {
        let report = judge(question(), Evidence::default(), String::new(), 0);
        assert_eq!(report.verdict, Verdict::Unknown);
        assert!(report.summary.contains("sockets"), "{}", report.summary);
    }

    #[test]
    fn a_host_without_a_mail_server_is_not_healthy() {
        let mut evidence =
            Evidence { servers: Seen::Absent, sockets: Seen::Value(Default::default()), ..Evidence::default() };
        evidence.processes = Seen::Value(Default::default());
        let report = judge(question(), evidence, String::new(), 0);
        assert_eq!(report.verdict, Verdict::Unknown);
        assert!(report.summary.contains("a mail server"), "{}", report.summary);
    }

    #[test]
    fn replay_gives_the_same_report() {
        let report = judge(question(), Evidence::default(), "2026-11-21T00:00:00Z".to_owned(), 5);
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(judge(again.question, again.evidence, again.started, again.took_ms), report);
    }

    fn with_endpoint(why: &EndpointWhy, examined: &ExaminedAddress) -> Evidence {
        let endpoint: ExaminedEndpoint = serde_json::from_value(serde_json::json!({
            "host": "mail.example", "port": 25, "protocol": "smtp", "tls": "starttls", "purpose": "relay",
            "why": [why], "resolved": {"value": ["192.0.2.1"]}, "addresses": {"192.0.2.1": examined}
        }))
        .unwrap();
        Evidence { endpoints: BTreeMap::from([("mail.example:25/smtp".to_owned(), endpoint)]), ..Evidence::default() }
    }

    #[test]
    fn a_session_that_broke_off_is_said_and_an_own_one_is_a_gap() {
        let own = EndpointWhy::Own { server: "postfix".to_owned(), wanted: "smtp/inet".to_owned() };
        let reset = Ending::Broke { error: "reset".to_owned() };
        for (stage, ending, is_gap) in [
            (Stage::Ehlo, reset.clone(), true),
            (Stage::Ehlo, Ending::Refused, false),
            (Stage::Ehlo, Ending::Deadline { waited_ms: 5 }, false),
        ] {
            let evidence = with_endpoint(&own, &smtp(stage, ending.clone()));
            let gap = gaps(&evidence).into_iter().any(|gap| gap.what == "mail.example:25/smtp");
            assert_eq!(gap, is_gap, "{ending:?}");
            let report = judge(question(), evidence, String::new(), 0);
            let said = report.unseen.iter().any(|unseen| unseen.what == "mail.example:25/smtp");
            assert!(said, "{ending:?}: {:#?}", report.unseen);
        }
        let finished = with_endpoint(&own, &smtp(Stage::Quit, Ending::Finished));
        assert!(broken_off(&finished).is_empty() && gaps(&finished).iter().all(|gap| !gap.what.contains(":25")));
    }

    #[test]
    fn a_target_none_of_whose_sessions_came_through_is_a_gap() {
        for why in [EndpointWhy::Asked, EndpointWhy::Exchanger { domain: "example.org".to_owned(), preference: 10 }] {
            let cut = gaps(&with_endpoint(&why, &smtp(Stage::Ehlo, Ending::PeerClosed)));
            assert!(cut.iter().any(|gap| gap.why.contains("EHLO")), "{why:?}: {cut:#?}");
            let through = gaps(&with_endpoint(&why, &smtp(Stage::Quit, Ending::Finished)));
            assert!(through.iter().all(|gap| !gap.why.contains("session")), "{why:?}: {through:#?}");
        }
    }

    #[test]
    fn a_target_that_is_not_examined_is_said() {
        let mut evidence = Evidence::default();
        evidence.declared.targets.push("example.org".to_owned());
        let report = judge(question(), evidence, String::new(), 0);
        assert!(report.unseen.iter().any(|unseen| unseen.what == "example.org"));
    }
}
