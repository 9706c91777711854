//! Fills what a domain publishes for the authentication of its mail: SPF, the keys of known selectors, DMARC, BIMI.
//!
//! Which selectors are asked for stands in `plan.rs`: somebody named each of them, and none is guessed. What must not live here: what a record means (`mxray-auth`), and whether it is well (rules).

use super::Context;
use mxray_auth::ask::Kind;
use mxray_auth::dmarc::{DmarcDiscoverer, DmarcReports};
use mxray_auth::route::MailRouter;
use mxray_auth::spf::SpfSurveyor;
use mxray_auth::{dkim, transport};
use mxray_model::evidence::published::{
    BimiRecord, DkimKey, DmarcDiscovery, DmarcTarget, Domain, MailRoute, MailRouting, Selector, SpfProblem, SpfSurvey,
};
use mxray_model::evidence::{Lookup, RecordData};
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

/// Keys under one name: more are not judged. One is right; verifiers try a few.
const KEYS_MAX: usize = 8;
/// Hosts of other organisations that reports go to.
const TARGETS_MAX: usize = 16;

pub(super) fn look(name: &str, domain: &mut Domain, context: &Context<'_>) {
    let wanted = domain.selectors.clone();
    thread::scope(|scope| {
        let spf = scope.spawn(|| survey(name, context));
        let keys = scope.spawn(|| keys(name, wanted, context));
        let bimi = scope.spawn(|| bimi(name, context));
        let dmarc = discovery(name, context);
        domain.report_targets = match &dmarc {
            Seen::Value(found) => targets(found, context),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        domain.spf = spf.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        domain.selectors = keys.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        domain.bimi = match bimi.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Seen::Absent => organisation_bimi(name, &dmarc, context),
            found => found,
        };
        domain.dmarc = dmarc;
    });
}

fn survey(name: &str, context: &Context<'_>) -> Seen<SpfSurvey> {
    match context.run.run(SpfSurveyor { domain: name.to_owned() }) {
        Ok(evaluated) => surveyed(evaluated.outcome),
        Err(blind) => Seen::Unknown(blind),
    }
}

/// No record and nothing that looks like one is an absence; a question without an answer is none.
fn surveyed(survey: SpfSurvey) -> Seen<SpfSurvey> {
    let own = survey.flaws.iter().filter(|flaw| flaw.depth == 0);
    for flaw in own {
        if let (SpfProblem::NotSeen { what, why }, None) = (&flaw.problem, &survey.record) {
            let why = if why.starts_with(what.as_str()) { why.clone() } else { format!("{what}: {why}") };
            return Seen::Unknown(Blind::Elsewhere { why, look: "name servers that answer".to_owned() });
        }
    }
    let missing = survey.flaws.iter().all(|flaw| flaw.problem == SpfProblem::Missing);
    if survey.record.is_none() && missing { Seen::Absent } else { Seen::Value(survey) }
}

fn keys(name: &str, mut wanted: BTreeMap<String, Selector>, context: &Context<'_>) -> BTreeMap<String, Selector> {
    thread::scope(|scope| {
        let asked = wanted.iter_mut().map(|(selector, one)| {
            scope.spawn(move || one.keys = key_records(&format!("{selector}._domainkey.{name}"), context))
        });
        for one in asked.collect::<Vec<_>>() {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    wanted
}

fn key_records(name: &str, context: &Context<'_>) -> Seen<Vec<DkimKey>> {
    let lookup = context.run.lookup(name, Kind::Txt);
    texts(&lookup).map(|texts| texts.iter().take(KEYS_MAX).map(|text| dkim::judge_key(name, text)).collect())
}

/// The texts of a name, the strings of each joined. Absent: it has none.
fn texts(lookup: &Lookup) -> Seen<Vec<Vec<u8>>> {
    lookup.found().map(|records| {
        let text = |data: &RecordData| match data {
            RecordData::Txt { strings } => Some(strings.iter().flat_map(|string| string.0.iter().copied()).collect()),
            _ => None,
        };
        records.iter().filter_map(|record| text(&record.data)).collect()
    })
}

fn discovery(name: &str, context: &Context<'_>) -> Seen<DmarcDiscovery> {
    match context.run.run(DmarcDiscoverer { domain: name.to_owned() }) {
        Ok(evaluated) => Seen::Value(evaluated.outcome),
        Err(blind) => Seen::Unknown(blind),
    }
}

/// Whether those whom the record names may be sent reports, and can be. Absent: no record, or it names nobody.
fn targets(found: &DmarcDiscovery, context: &Context<'_>) -> Seen<Vec<DmarcTarget>> {
    let (Some(record), Some(of)) = (&found.record, &found.current.record_of) else {
        return match &found.current.unknown {
            Some(why) => Seen::not_attempted(why),
            None => Seen::Absent,
        };
    };
    let targets = record.aggregate.iter().chain(&record.failure).cloned().collect();
    let mut targets = match context.run.run(DmarcReports { domain: of.clone(), targets }) {
        Ok(evaluated) => evaluated.outcome,
        Err(blind) => return Seen::Unknown(blind),
    };
    targets.truncate(TARGETS_MAX);
    let domains: BTreeSet<String> = targets.iter().map(|target| target.domain.clone()).collect();
    let routes: BTreeMap<String, Seen<bool>> = thread::scope(|scope| {
        let asked: Vec<_> =
            domains.into_iter().map(|domain| scope.spawn(|| (domain.clone(), receives(domain, context)))).collect();
        asked.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    for target in &mut targets {
        if let Some(receives) = routes.get(&target.domain) {
            target.receives = receives.clone();
        }
    }
    if targets.is_empty() { Seen::Absent } else { Seen::Value(targets) }
}

fn receives(domain: String, context: &Context<'_>) -> Seen<bool> {
    match context.run.run(MailRouter { domain }) {
        Ok(evaluated) => takes_mail(&evaluated.outcome),
        Err(blind) => Seen::Unknown(blind),
    }
}

fn takes_mail(routing: &MailRouting) -> Seen<bool> {
    match &routing.route {
        MailRoute::Unknown { why } => return Seen::not_attempted(why),
        MailRoute::Null | MailRoute::Nowhere | MailRoute::NoSuchDomain => return Seen::Value(false),
        MailRoute::Servers { .. } | MailRoute::Implicit { .. } => {}
    }
    let hosts = routing.route.hosts();
    match hosts.iter().find_map(|host| host.addresses.blind()) {
        _ if hosts.iter().any(|host| host.addresses.value().is_some()) => Seen::Value(true),
        Some(blind) => Seen::Unknown(blind.clone()),
        None => Seen::Value(false),
    }
}

fn bimi(name: &str, context: &Context<'_>) -> Seen<BimiRecord> {
    let lookup = context.run.lookup(&format!("default._bimi.{name}"), Kind::Txt);
    match texts(&lookup) {
        Seen::Value(texts) => {
            let is_record = |text: &&Vec<u8>| text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"v=BIMI1"));
            texts.iter().find(is_record).map_or(Seen::Absent, |text| Seen::Value(transport::bimi_record(text)))
        }
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// A name without a record of its own shows its organisation's.
fn organisation_bimi(name: &str, dmarc: &Seen<DmarcDiscovery>, context: &Context<'_>) -> Seen<BimiRecord> {
    match dmarc.value().and_then(|found| found.current.organizational.as_deref()) {
        Some(organisation) if organisation != name => bimi(organisation, context),
        _ => Seen::Absent,
    }
}
