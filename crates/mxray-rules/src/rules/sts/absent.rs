//! STS101: a domain that takes mail has no MTA-STS.

use crate::policies::{self, Of, WEEK_S};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{MailHost, StsMode};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS101",
    name: "sts-absent",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "no MTA-STS: senders take any certificate, or none, for the domain's servers",
    page: include_str!("absent.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence).filter(Of::is_ours_to_receive) {
        let Some(sts) = of.sts(&RULE, &mut judgement) else { continue };
        match &sts.record {
            Seen::Value(_) => judgement.well(format!("{}: MTA-STS is published", of.name)),
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
            Seen::Absent => match of.hosts() {
                // Without mail there is nothing to protect.
                Seen::Value([]) | Seen::Absent => {}
                Seen::Value(hosts) => judgement.find(finding(evidence, of, hosts)),
                Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
            },
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, of: Of<'_>, hosts: &[MailHost]) -> Finding {
    let name = of.name;
    let file = policies::sts_file(name);
    let text = format!(
        "If you want it: put this policy at {file}, on a web server with a certificate for mta-sts.{name}. Begin with `testing`, and go to `enforce` when reports (STS109) show no failures."
    );
    let lines = policies::sts_policy(StsMode::Testing, hosts.iter().map(|host| host.name.as_str()), WEEK_S);
    let serve = lines.into_iter().fold(of.step(text), |fix, line| fix.config(file.clone(), None, line));
    let record = policies::quoted(&policies::sts_record(&policies::new_id(evidence, None)));
    let publish = of.step("Then publish the record. Its id has to change with each change of the policy.");
    of.finding(
        &RULE,
        RULE.severity,
        of.subject(),
        format!("{name} publishes no MTA-STS policy: senders without DANE do not check its servers' certificates."),
    )
    .because(format!("there is no TXT record at _mta-sts.{name}"), "DNS", of.pointer(&["sts", "value", "record"]))
    .fix(serve)
    .fix(publish.record(format!("_mta-sts.{name}"), "TXT", record).undo("remove the record"))
    .reference("RFC 8461 section 3")
}
