//! Which record applies to a domain: the tree walk of RFC 9989 section 4.10, and beside it RFC 7489 section 6.6.3.
//!
//! What must not live here: alignment.

use super::record::{is_record, near_miss, read};
use super::suffix::registrable;
use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::spf::{askable, text};
use mxray_model::Seen;
use mxray_model::evidence::DnsOutcome;
use mxray_model::evidence::published::{
    DmarcAnswer, DmarcDiscovery, DmarcFound, DmarcPolicy, DmarcPsd, DmarcRecord, DmarcStep,
};
use mxray_model::text::untrusted;

/// Section 4.10: from a name with eight labels or more the walk goes on with seven.
const LABELS_LONG: usize = 8;
const LABELS_AFTER: usize = 7;

/// Finds what applies to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcDiscoverer {
    pub domain: String,
}

/// The names of a walk, in order: at most eight.
pub(super) fn names(domain: &str) -> Vec<String> {
    let labels: Vec<&str> = domain.split('.').collect();
    let after = if labels.len() >= LABELS_LONG { LABELS_AFTER } else { labels.len().saturating_sub(1) };
    let above = (1..=after).rev().map(|kept| labels.get(labels.len() - kept..).unwrap_or_default().join("."));
    std::iter::once(domain.to_owned()).chain(above).collect()
}

/// Walks up from a domain. It ends above the first record that says what it is.
pub(super) fn walk(domain: &str, ask: &mut Asker<'_>) -> Result<Vec<DmarcStep>, Pending> {
    let names = names(domain);
    for name in &names {
        ask.ahead(&format!("_dmarc.{name}"), Kind::Txt);
    }
    let mut steps = Vec::new();
    for name in names {
        let found = found(&name, ask)?;
        let ends = matches!(&found, DmarcFound::Record(record) if record.psd != DmarcPsd::Undefined);
        steps.push(DmarcStep { domain: name, found });
        if ends {
            break;
        }
    }
    Ok(steps)
}

pub(super) fn found(name: &str, ask: &mut Asker<'_>) -> Result<DmarcFound, Pending> {
    let texts: Vec<Vec<u8>> = match ask.dns(&format!("_dmarc.{name}"), Kind::Txt)?.found() {
        Seen::Value(records) => records.into_iter().filter_map(text).collect(),
        Seen::Absent => return Ok(DmarcFound::Nothing),
        Seen::Unknown(blind) => return Ok(DmarcFound::Unknown { why: blind.why() }),
    };
    let records: Vec<&Vec<u8>> = texts.iter().filter(|text| is_record(text)).collect();
    Ok(match records.as_slice() {
        [] => {
            let near = texts.iter().find_map(|text| near_miss(text).map(|why| (untrusted(text), why)));
            near.map_or(DmarcFound::Nothing, |(text, why)| DmarcFound::NotRecord { text, why })
        }
        [record] => DmarcFound::Record(Box::new(read(record))),
        several => DmarcFound::Several { count: u32::try_from(several.len()).unwrap_or(u32::MAX) },
    })
}

/// The record of a step. One under a top-level domain counts only for a public suffix that says it is one.
pub(super) fn record(step: &DmarcStep) -> Option<&DmarcRecord> {
    match &step.found {
        DmarcFound::Record(record) if step.domain.contains('.') || record.psd == DmarcPsd::Yes => Some(record),
        _ => None,
    }
}

fn unknown(steps: &[DmarcStep]) -> Option<String> {
    steps.iter().find_map(|step| match &step.found {
        DmarcFound::Unknown { why } => Some(format!("TXT _dmarc.{}: {why}", step.domain)),
        _ => None,
    })
}

/// Section 4.10.2. `Err`: what could not be looked up.
pub(super) fn organizational(start: &str, steps: &[DmarcStep]) -> Result<String, String> {
    if let Some(why) = unknown(steps) {
        return Err(why);
    }
    let records = || steps.iter().filter_map(|step| record(step).map(|record| (step, record)));
    if let Some((step, _)) = records().find(|(_, record)| record.psd == DmarcPsd::No) {
        return Ok(step.domain.clone());
    }
    if let Some((step, _)) = records().find(|(step, record)| record.psd == DmarcPsd::Yes && step.domain != start) {
        return Ok(one_below(start, &step.domain));
    }
    // The walk goes up: the last one has the fewest labels.
    Ok(records().next_back().map_or_else(|| start.to_owned(), |(step, _)| step.domain.clone()))
}

/// The name on the way from `start` up that has one label more than `above`.
fn one_below(start: &str, above: &str) -> String {
    let labels: Vec<&str> = start.split('.').collect();
    let kept = above.split('.').count() + 1;
    labels.get(labels.len().saturating_sub(kept)..).unwrap_or_default().join(".")
}

impl Evaluator for DmarcDiscoverer {
    type Outcome = DmarcDiscovery;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<DmarcDiscovery, Pending> {
        let Some(domain) = askable(&self.domain) else {
            let why = format!("{} is no domain name", untrusted(self.domain.as_bytes()));
            let answer = DmarcAnswer { organizational: None, record_of: None, policy: None, unknown: None, why };
            let domain = untrusted(self.domain.as_bytes());
            let (current, older) = (answer.clone(), answer);
            let (walk, misplaced) = (Vec::new(), Vec::new());
            return Ok(DmarcDiscovery { domain, walk, current, older, differ: None, record: None, misplaced });
        };
        if let Some(registrable) = registrable(&domain) {
            ask.ahead(&format!("_dmarc.{registrable}"), Kind::Txt);
        }
        let steps = walk(&domain, ask)?;
        let (current, record) = current(&domain, &steps, ask)?;
        let older = older(&domain, &steps, ask)?;
        let differ = differ(&current, &older);
        let misplaced = if steps.first().is_some_and(|step| matches!(step.found, DmarcFound::Record(_))) {
            Vec::new()
        } else {
            misplaced(&domain, ask)?
        };
        Ok(DmarcDiscovery { domain, walk: steps, current, older, differ, record, misplaced })
    }
}

/// RFC 9989 section 4.10.1: the domain's own record, the organisation's, the suffix's.
fn current(
    domain: &str,
    steps: &[DmarcStep],
    ask: &mut Asker<'_>,
) -> Result<(DmarcAnswer, Option<DmarcRecord>), Pending> {
    let own = steps.first().filter(|step| step.domain == domain);
    let organizational = organizational(domain, steps);
    let mut answer = DmarcAnswer {
        organizational: organizational.as_ref().ok().cloned(),
        record_of: None,
        policy: None,
        unknown: None,
        why: String::new(),
    };
    if let Some(record) = own.and_then(record) {
        answer.record_of = Some(domain.to_owned());
        let (policy, why) = applied(record, record.policy);
        (answer.policy, answer.why) = (policy, format!("its own record: {why}"));
        return Ok((answer, Some(record.clone())));
    }
    let organizational = match organizational {
        Ok(organizational) => organizational,
        Err(why) => {
            answer.why = format!("it depends on what could not be looked up: {why}");
            answer.unknown = Some(why);
            return Ok((answer, None));
        }
    };
    let of = |name: &str| steps.iter().find(|step| step.domain == name).and_then(|step| Some((step, record(step)?)));
    let suffix = || {
        let said = |step: &&DmarcStep| record(step).is_some_and(|record| record.psd == DmarcPsd::Yes);
        steps.iter().find(said).and_then(|step| Some((step, record(step)?)))
    };
    let Some((step, record)) = of(&organizational).or_else(suffix) else {
        answer.why = "no record applies".to_owned();
        return Ok((answer, None));
    };
    answer.record_of = Some(step.domain.clone());
    let missing = record.nonexistent != record.subdomains && is_missing(domain, ask)?;
    let (stated, tag) = if missing { (record.nonexistent, "np") } else { (record.subdomains, "sp") };
    let (policy, why) = applied(record, stated);
    (answer.policy, answer.why) = (policy, format!("{tag} of the record of {}: {why}", step.domain));
    Ok((answer, Some(record.clone())))
}

/// Sections 4.7 and 4.10.1: what is left of a policy when its record is a test. Without p= it is none.
fn applied(record: &DmarcRecord, stated: DmarcPolicy) -> (Option<DmarcPolicy>, String) {
    match (record.testing, stated) {
        (true, DmarcPolicy::Reject) => (Some(DmarcPolicy::Quarantine), "reject, as a test: quarantine".to_owned()),
        (true, DmarcPolicy::Quarantine) => (Some(DmarcPolicy::None), "quarantine, as a test: none".to_owned()),
        _ => (Some(stated), stated.as_str().to_owned()),
    }
}

/// RFC 8020: the name, and with it all below, does not exist.
fn is_missing(domain: &str, ask: &mut Asker<'_>) -> Result<bool, Pending> {
    Ok(ask.dns(domain, Kind::A)?.outcome == DnsOutcome::NoSuchName)
}

/// RFC 7489 section 6.6.3: the domain's own record, else that of the registrable domain.
fn older(domain: &str, steps: &[DmarcStep], ask: &mut Asker<'_>) -> Result<DmarcAnswer, Pending> {
    let organizational = registrable(domain).unwrap_or_else(|| domain.to_owned());
    let mut answer = DmarcAnswer {
        organizational: Some(organizational.clone()),
        record_of: None,
        policy: None,
        unknown: None,
        why: "no record applies".to_owned(),
    };
    let mut names = vec![domain.to_owned()];
    if organizational != domain {
        names.push(organizational);
    }
    for (number, name) in names.into_iter().enumerate() {
        let step = match steps.iter().find(|step| step.domain == name) {
            Some(step) => step.found.clone(),
            None => found(&name, ask)?,
        };
        match step {
            DmarcFound::Record(record) => {
                let stated = if number == 0 { record.policy } else { record.subdomains };
                answer.record_of = Some(name.clone());
                // Without p= the record counts where it asks for reports, and as none.
                if !record.policy_stated && record.aggregate.is_empty() {
                    answer.record_of = None;
                    answer.why = format!("the record of {name} has no p= and no rua=, and is ignored");
                } else {
                    answer.policy = Some(if record.policy_stated { stated } else { DmarcPolicy::None });
                    answer.why = format!("the record of {name}");
                }
                return Ok(answer);
            }
            DmarcFound::Several { .. } => {
                answer.why = format!("{name} has several records, and DMARC is not applied");
                return Ok(answer);
            }
            DmarcFound::Unknown { why } => {
                answer.why = format!("it depends on what could not be looked up: TXT _dmarc.{name}: {why}");
                answer.unknown = Some(why);
                return Ok(answer);
            }
            DmarcFound::Nothing | DmarcFound::NotRecord { .. } => {}
        }
    }
    Ok(answer)
}

/// Only what changes the treatment of a mail is a difference.
fn differ(current: &DmarcAnswer, older: &DmarcAnswer) -> Option<String> {
    if current.unknown.is_some() || older.unknown.is_some() {
        return None;
    }
    let shown = |answer: &DmarcAnswer| match (&answer.record_of, answer.policy) {
        (Some(of), Some(policy)) => format!("{} from the record of {of}", policy.as_str()),
        _ => "no record".to_owned(),
    };
    if (current.record_of.as_ref(), current.policy) != (older.record_of.as_ref(), older.policy) {
        return Some(format!("RFC 9989: {}; RFC 7489: {}", shown(current), shown(older)));
    }
    match (&current.organizational, &older.organizational) {
        // Without a record nothing has to be aligned.
        (Some(new), Some(old)) if new != old && current.record_of.is_some() => {
            Some(format!("the organisational domain is {new} (RFC 9989) or {old} (RFC 7489)"))
        }
        _ => None,
    }
}

fn misplaced(domain: &str, ask: &mut Asker<'_>) -> Result<Vec<String>, Pending> {
    let records = match ask.dns(domain, Kind::Txt)?.found() {
        Seen::Value(records) => records,
        Seen::Absent | Seen::Unknown(_) => return Ok(Vec::new()),
    };
    Ok(records.into_iter().filter_map(text).filter(|text| is_record(text)).map(|text| untrusted(&text)).collect())
}
