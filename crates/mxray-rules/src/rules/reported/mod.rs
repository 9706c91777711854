//! What others told us later, or we saw before: reports of receivers, and an earlier run.

pub mod change_detected;
pub mod complaint_rate_high;
pub mod dmarc_enforced_unaligned;
pub mod tls_failures_reported;

use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::Reports;
use mxray_model::{Evidence, Subject, SubjectKind};

/// The reports; `Err` is what the rule then says.
fn reports<'e>(evidence: &'e Evidence, rule: &Rule) -> Result<&'e Reports, Judgement> {
    view::known(&evidence.reports, rule)
}

fn domain(name: &str) -> Subject {
    Subject::new(SubjectKind::Domain, name)
}

/// `7.3` of 100.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 10_000.0 / whole as f64).round() / 100.0 }
}
