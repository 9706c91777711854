//! MX106: mail is written in the name of a domain that takes none.

use crate::published::{self, Routed};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{MailRoute, SpfSurvey};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "MX106",
    name: "null-mx-but-sending",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a domain that takes no mail is written for: receivers refuse such senders",
    page: include_str!("null_mx_but_sending.md"),
    check,
};

/// That SPF names senders is no mail yet.
const BY_RECORD: f32 = 0.7;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        if !matches!(routed.routing.route, MailRoute::Null) || !published::is_ours(routed.domain) {
            if published::written_by(routed.domain).is_some() {
                judgement.well(format!("{}, which is written for, takes answers", routed.name));
            }
            continue;
        }
        match (published::written_by(routed.domain), &routed.domain.spf) {
            (Some(by), _) => judgement.find(written(&routed, by)),
            (None, Seen::Value(survey)) if names_senders(survey) => judgement.find(authorised(&routed, survey)),
            (None, Seen::Value(_) | Seen::Absent) => {
                judgement.well(format!("nothing says that mail is written in the name of {}", routed.name));
            }
            (None, Seen::Unknown(blind)) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

/// A term besides `all` that lets somebody pass.
fn names_senders(survey: &SpfSurvey) -> bool {
    let Some(record) = &survey.record else { return false };
    let mut terms = record.split_ascii_whitespace().skip(1).map(str::to_ascii_lowercase);
    terms.any(|term| {
        let bare = term.trim_start_matches('+');
        let modifier = bare.split_once('=').is_some_and(|(name, _)| !name.contains(':') && name != "redirect");
        !bare.starts_with(['-', '~', '?']) && !modifier
    })
}

fn written(routed: &Routed<'_>, by: &str) -> Finding {
    let name = routed.name;
    let summary = format!(
        "{by} writes mail in the name of {name}, which says that it takes none (null MX): receivers refuse such senders."
    );
    finding(routed, RULE.severity, summary, "configuration").data("by", by)
}

fn authorised(routed: &Routed<'_>, survey: &SpfSurvey) -> Finding {
    let name = routed.name;
    let summary = format!(
        "{name} says that it takes no mail (null MX), and its SPF record names senders: mail of theirs is refused."
    );
    let record = survey.record.clone().unwrap_or_default();
    finding(routed, Severity::Warning, summary, "SPF").confidence(BY_RECORD).because(
        format!("SPF of {name}: {record}"),
        "DNS, TXT",
        published::pointer(name, &["spf"]),
    )
}

fn finding(routed: &Routed<'_>, severity: Severity, summary: String, known_by: &str) -> Finding {
    let text = "Let the domain take answers and bounces: MX records in place of the null MX. Or write in the name of another \
                domain, and let SPF say that nobody writes in the name of this one.";
    let step = routed.step(text);
    routed
        .finding(&RULE, severity, true, summary)
        .data("known_by", known_by)
        .reference("RFC 7505 section 4.2")
        .fix(step)
}
