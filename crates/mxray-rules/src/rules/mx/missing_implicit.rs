//! MX101: a domain without MX records whose own addresses stand in for them.

use crate::published::{self, Routed};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{MailHost, MailRoute};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "MX101",
    name: "mx-missing-implicit",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a domain has no MX record, and senders fall back to the addresses of its name",
    page: include_str!("missing_implicit.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        let MailRoute::Implicit { host } = &routed.routing.route else { continue };
        let name = routed.name;
        // Cron and the like write in the name of the machine; its own address is where answers belong.
        if published::is_host_name(evidence, name) {
            judgement.well(format!("{name} is this host's own name, and has addresses"));
            continue;
        }
        // Whom senders find without MX records, they find.
        if !published::is_ours(routed.domain) {
            judgement.well(format!("{name} has no MX record; mail goes to its own addresses"));
            continue;
        }
        judgement.find(finding(evidence, &routed, host));
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, routed: &Routed<'_>, host: &MailHost) -> Finding {
    let name = routed.name;
    let addresses = published::addresses(host);
    let summary = format!(
        "{name} has no MX record: mail for it goes to the addresses of the name itself, which a web server may have."
    );
    let target = routed.own_host(evidence).unwrap_or(name);
    let text = "Say where its mail goes: an MX record that names the mail server. Where the domain is to take no mail and \
                writes none, publish \"0 .\" in its place (RFC 7505).";
    let fix = routed.step(text).record(name, "MX", format!("10 {target}."));
    routed
        .finding(&RULE, RULE.severity, false, summary)
        .data("addresses", addresses)
        .reference("RFC 5321 section 5.1")
        .fix(fix)
}
