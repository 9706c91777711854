//! DNS104: a wildcard answers where only a record of its own has a meaning.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::zones;
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DNS104",
    name: "wildcard-mail-name",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a wildcard answers for _dmarc, _domainkey or _mta-sts, with what means nothing there",
    page: include_str!("wildcard_mail_name.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let zone = match &domain.zone {
            Seen::Value(zone) => zone,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        let Some(first) = zone.wildcards.first() else {
            if published::is_ours(domain) {
                judgement.well(format!("no wildcard of {name} answers for names of mail"));
            }
            continue;
        };
        let names = zone.wildcards.join(", ");
        let summary = format!(
            "A wildcard record answers for {names}: receivers read there what was not meant for them, and no policy or key."
        );
        let fix = published::zone_step(
            name,
            published::is_ours(domain),
            "Publish records of their own at these names: a name that exists is not answered for by the wildcard above it (RFC 4592 section 3.3.1). Or make the wildcard an A or AAAA record, if that is what it is for.",
        );
        let fix = match first.strip_prefix("_dmarc.") {
            Some(_) => fix.record(first, "TXT", "v=DMARC1; p=none"),
            None => fix,
        };
        let finding = zones::finding(&RULE, RULE.severity, published::subject(name), domain, false, summary)
            .confidence(0.9)
            .because(
                format!("{names}: the answer is the one that a made-up name has."),
                "DNS, TXT",
                published::pointer(name, &["zone", "value", "wildcards"]),
            )
            .data("names", zone.wildcards.clone())
            .reference("RFC 4592 section 2.2")
            .fix(
                fix.command(format!("dig {} TXT", shell_word(first)))
                    .verify(format!("mxray domain {}", shell_word(name))),
            );
        judgement.find(finding);
    }
    Ok(judgement)
}
