//! STS110: the record that asks for TLS reports cannot be used.

use crate::policies::{self, Of};
use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS110",
    name: "tlsrpt-invalid",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the record of TLS-RPT cannot be used: no reports come",
    page: include_str!("tlsrpt_invalid.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    // Where a receiver has its reports sent is nothing to our mail.
    for of in policies::domains(evidence).filter(Of::is_ours) {
        let name = of.name;
        let record = match &of.domain.tls_reports {
            Seen::Value(record) => record,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        if record.problems.is_empty() {
            judgement.well(format!("{name}: the record of TLS-RPT is as it should be"));
            continue;
        }
        let what: Vec<String> =
            record.problems.iter().map(|(column, why)| format!("at column {column}: {why}")).collect();
        let good = match record.targets.as_slice() {
            [] => policies::reports_record(name),
            targets => format!("v=TLSRPTv1; rua={}", targets.join(",")),
        };
        let fix = of
            .step(format!("Publish exactly this one TXT record at _smtp._tls.{name}."))
            .record(format!("_smtp._tls.{name}"), "TXT", policies::quoted(&good))
            .undo(format!("publish `{}` again", record.text));
        judgement.find(
            of.finding(
                &RULE,
                RULE.severity,
                of.subject(),
                format!("The TLS-RPT record of {name} cannot be used, so that no reports come: {}.", what.join("; ")),
            )
            .data("record", record.text.clone())
            .data("problems", what)
            .because(
                format!("_smtp._tls.{name} TXT {}", policies::quoted(&record.text)),
                "DNS",
                of.pointer(&["tls_reports", "value"]),
            )
            .fix(fix)
            .reference("RFC 8460 section 3"),
        );
    }
    Ok(judgement)
}
