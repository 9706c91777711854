//! DMARC111: receivers of RFC 7489 and of RFC 9989 do not do the same.

use crate::authentication::change;
use crate::authentication::dmarc::{discoveries, verified};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DmarcAnswer;
use mxray_model::{Blind, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC111",
    name: "dmarc-walk-differs",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "old and new receivers find different DMARC policies for a domain",
    page: include_str!("walk_differs.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    discoveries(evidence, &RULE, |of, found, judgement| {
        let unknown = found.current.unknown.as_ref().or(found.older.unknown.as_ref());
        let Some(how) = &found.differ else {
            return match unknown {
                Some(why) => judgement.blind(&RULE, &Blind::NotAttempted { why: why.clone() }),
                None => judgement.well(format!("{}: receivers of RFC 7489 and RFC 9989 do the same", of.name)),
            };
        };
        // One record that both find, and tags of it that the older do not know (t=, np=): its author meant that.
        let one_record = found.current.record_of.is_some()
            && found.current.record_of == found.older.record_of
            && found.current.organizational == found.older.organizational;
        let severity = if one_record || of.is_parked() { Severity::Notice } else { RULE.severity };
        let step = change(if one_record {
            "Nothing has to be done. Older receivers do not know t= and np=, and go by p= and sp= alone: while these are not \
             to be in force anywhere yet, publish p=none."
        } else {
            "Publish a record at each name whose policy matters, and psd=n in that of the organisation: both kinds of receivers \
             then find the same."
        });
        judgement.find(
            RULE.finding_as(
                severity,
                of.subject(),
                format!("Receivers do not agree on the DMARC policy of {}: {how}.", of.name),
            )
            .because(
                format!("RFC 9989: {}", words(&found.current)),
                format!("TXT _dmarc.{}", of.name),
                of.pointer(&["dmarc", "value", "current"]),
            )
            .because(
                format!("RFC 7489: {}", words(&found.older)),
                format!("TXT _dmarc.{}", of.name),
                of.pointer(&["dmarc", "value", "older"]),
            )
            .data("domain", of.name)
            .data("current", found.current.record_of.clone())
            .data("older", found.older.record_of.clone())
            .data("one_record", one_record)
            .fix(verified(step, of.name))
            .reference("RFC 9989 section 4.10")
            .reference("RFC 7489 section 6.6.3"),
        );
    })
}

fn words(answer: &DmarcAnswer) -> String {
    let record = answer.record_of.as_deref().map_or("no record".to_owned(), |owner| format!("the record of {owner}"));
    let policy = answer.policy.map_or("no policy", |policy| policy.as_str());
    format!("{record}, {policy}; {}", answer.why)
}
