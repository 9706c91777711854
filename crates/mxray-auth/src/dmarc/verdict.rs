//! What DMARC makes of a message (RFC 9989 section 5), and who may be sent reports (RFC 9990 section 4).
//!
//! What must not live here: which record applies ([`super::walk`]).

use super::record::is_record;
use super::walk::{DmarcDiscoverer, organizational, walk};
use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::spf::{askable, is_within, text};
use mxray_model::Seen;
use mxray_model::evidence::published::{
    DkimResult, DmarcInputs, DmarcMode, DmarcResult, DmarcRow, DmarcTarget, DmarcUri, DmarcVerdict, SpfResult,
};
use mxray_model::text::untrusted;

/// Most signatures and report addresses that are looked at; each may cost a walk.
const SIGNATURES_MAX: usize = 10;
const TARGETS_MAX: usize = 20;

/// Evaluates DMARC for a message whose SPF and DKIM are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dmarc {
    pub inputs: DmarcInputs,
}

impl Evaluator for Dmarc {
    type Outcome = DmarcVerdict;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<DmarcVerdict, Pending> {
        let discovery = DmarcDiscoverer { domain: self.inputs.author.clone() }.evaluate(ask)?;
        let (dkim, spf) = match &discovery.record {
            Some(record) => (record.dkim, record.spf),
            None => (DmarcMode::Relaxed, DmarcMode::Relaxed),
        };
        let author = discovery.domain.clone();
        let own = discovery.current.organizational.clone();
        let mut rows = Vec::new();
        let mut undecided = false;
        if let Some((domain, result)) = &self.inputs.spf {
            let row = row("spf", domain, result.as_str().to_owned(), spf, &author, own.as_deref(), ask)?;
            undecided |= *result == SpfResult::TempError && row.aligned != Some(false);
            rows.push(row);
        }
        for (domain, result) in self.inputs.dkim.iter().take(SIGNATURES_MAX) {
            let row = row("dkim", domain, shown(*result).to_owned(), dkim, &author, own.as_deref(), ask)?;
            let open = matches!(result, DkimResult::TempError | DkimResult::Unknown);
            undecided |= open && row.aligned != Some(false);
            rows.push(row);
        }
        let passes = |row: &&DmarcRow| row.result == "pass";
        let aligned: Vec<&DmarcRow> = rows.iter().filter(passes).filter(|row| row.aligned == Some(true)).collect();
        undecided |= rows.iter().filter(passes).any(|row| row.aligned.is_none());
        let rests_on_spf = !aligned.is_empty() && aligned.iter().all(|row| row.mechanism == "spf");
        let (result, reason) = match (&discovery.record, aligned.first()) {
            (None, _) if discovery.current.unknown.is_some() => (DmarcResult::TempError, discovery.current.why.clone()),
            (None, _) => (DmarcResult::None, discovery.current.why.clone()),
            (Some(_), Some(row)) => {
                (DmarcResult::Pass, format!("{} passes for {}, which is aligned", row.mechanism, row.domain))
            }
            (Some(_), None) if undecided => (
                DmarcResult::TempError,
                "nothing passes and is aligned, and something could not be looked up".to_owned(),
            ),
            (Some(_), None) => (DmarcResult::Fail, why_not(&rows, &author)),
        };
        let asked = discovery.current.policy.filter(|_| result == DmarcResult::Fail);
        Ok(DmarcVerdict { result, reason, asked, rests_on_spf, rows, discovery })
    }
}

fn shown(result: DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Fail => "fail",
        DkimResult::PermError => "permerror",
        DkimResult::TempError => "temperror",
        DkimResult::Unknown => "unknown",
    }
}

fn why_not(rows: &[DmarcRow], author: &str) -> String {
    let strangers: Vec<String> = rows
        .iter()
        .filter(|row| row.result == "pass")
        .map(|row| format!("{} for {}", row.mechanism, row.domain))
        .collect();
    match strangers.as_slice() {
        [] => "neither SPF nor a signature passes".to_owned(),
        strangers => format!("{} passes, and is not aligned with {author}", strangers.join(" and ")),
    }
}

/// Section 4.4: strict is the same name; relaxed is the same organisational domain.
fn row(
    mechanism: &str,
    domain: &str,
    result: String,
    mode: DmarcMode,
    author: &str,
    own: Option<&str>,
    ask: &mut Asker<'_>,
) -> Result<DmarcRow, Pending> {
    let shown = untrusted(domain.as_bytes());
    let mut row = DmarcRow {
        mechanism: mechanism.to_owned(),
        domain: shown,
        result,
        mode,
        aligned: Some(false),
        organizational: None,
    };
    let Some(domain) = askable(domain) else { return Ok(row) };
    if domain == author {
        (row.aligned, row.organizational) = (Some(true), own.map(str::to_owned));
        return Ok(row);
    }
    if mode == DmarcMode::Strict {
        return Ok(row);
    }
    match own {
        // No walk is needed for a name of somebody else.
        Some(own) if !is_within(&domain, own) => Ok(row),
        _ => {
            let of = organizational(&domain, &walk(&domain, ask)?);
            row.aligned = match (own, &of) {
                (Some(own), Ok(of)) => Some(own == of),
                _ => None,
            };
            row.organizational = of.ok();
            Ok(row)
        }
    }
}

/// Asks whether the targets of a record take reports about its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcReports {
    /// Whose record it is.
    pub domain: String,
    pub targets: Vec<DmarcUri>,
}

impl Evaluator for DmarcReports {
    type Outcome = Vec<DmarcTarget>;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<Vec<DmarcTarget>, Pending> {
        let Some(domain) = askable(&self.domain) else { return Ok(Vec::new()) };
        let own = organizational(&domain, &walk(&domain, ask)?);
        let mut out = Vec::new();
        let mut pending = false;
        for uri in self.targets.iter().take(TARGETS_MAX) {
            match target(&domain, &own, uri, ask) {
                Ok(Some(target)) => out.push(target),
                Ok(None) => {}
                Err(Pending) => pending = true,
            }
        }
        if pending { Err(Pending) } else { Ok(out) }
    }
}

fn target(
    domain: &str,
    own: &Result<String, String>,
    uri: &DmarcUri,
    ask: &mut Asker<'_>,
) -> Result<Option<DmarcTarget>, Pending> {
    let Some(of) = uri.domain.as_deref().and_then(askable) else { return Ok(None) };
    let receives = Seen::not_attempted("not part of the authorisation");
    let (why, asked, authorized) = (String::new(), None, None);
    let mut target = DmarcTarget { uri: uri.uri.clone(), domain: of.clone(), asked, authorized, why, receives };
    if of == domain {
        (target.authorized, target.why) = (Some(true), "the domain's own".to_owned());
        return Ok(Some(target));
    }
    let name = askable(&format!("{domain}._report._dmarc.{of}"));
    if let Some(name) = &name {
        ask.ahead(name, Kind::Txt);
    }
    match (own, organizational(&of, &walk(&of, ask)?)) {
        (Ok(own), Ok(theirs)) if *own == theirs => {
            (target.authorized, target.why) = (Some(true), format!("the same organisation, {theirs}"));
            return Ok(Some(target));
        }
        (Ok(_), Ok(_)) => {}
        (Err(why), _) => target.why.clone_from(why),
        (_, Err(why)) => target.why = why,
    }
    let Some(name) = name else {
        (target.authorized, target.why) = (Some(false), "the name to be asked is too long".to_owned());
        return Ok(Some(target));
    };
    target.asked = Some(name.clone());
    let answer = ask.dns(&name, Kind::Txt)?.found();
    let undecided = !target.why.is_empty();
    match answer {
        Seen::Value(records) if records.iter().filter_map(|record| text(record)).any(|text| is_record(&text)) => {
            (target.authorized, target.why) = (Some(true), format!("{name} says so"));
        }
        // Whether they are one organisation could not be found out; if they are, nobody is asked.
        _ if undecided => {}
        Seen::Value(_) => (target.authorized, target.why) = (Some(false), format!("{name} has no v=DMARC1")),
        Seen::Absent => (target.authorized, target.why) = (Some(false), format!("{name} has no TXT record")),
        Seen::Unknown(blind) => target.why = blind.why(),
    }
    Ok(Some(target))
}
