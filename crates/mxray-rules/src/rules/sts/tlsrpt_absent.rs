//! STS109: nobody is told when senders fail to reach the domain by TLS.

use crate::policies::{self, Of};
use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS109",
    name: "tlsrpt-absent",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "no TLS-RPT: senders whose TLS to the domain fails have nobody to tell",
    page: include_str!("tlsrpt_absent.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence).filter(Of::is_ours_to_receive) {
        let name = of.name;
        match (&of.domain.tls_reports, of.hosts()) {
            (Seen::Value(_), _) => judgement.well(format!("{name}: TLS reports are asked for")),
            (Seen::Unknown(blind), _) => judgement.blind(&RULE, blind),
            // Without mail there is nothing to report.
            (Seen::Absent, Seen::Value([]) | Seen::Absent) => {}
            (Seen::Absent, Seen::Unknown(blind)) => judgement.blind(&RULE, &blind),
            (Seen::Absent, Seen::Value(_)) => judgement.find(
                of.finding(
                    &RULE,
                    RULE.severity,
                    of.subject(),
                    format!("{name} asks for no TLS reports: when senders fail to reach it by TLS, nobody learns of it."),
                )
                .because(
                    format!("there is no TXT record at _smtp._tls.{name}"),
                    "DNS",
                    of.pointer(&["tls_reports"]),
                )
                .fix(
                    of.step("Publish where reports go: a mailbox that a program reads (they are JSON, one a day from each sender).")
                        .record(
                            format!("_smtp._tls.{name}"),
                            "TXT",
                            policies::quoted(&policies::reports_record(name)),
                        )
                        .undo("remove the record"),
                )
                .reference("RFC 8460 section 3"),
            ),
        }
    }
    Ok(judgement)
}
