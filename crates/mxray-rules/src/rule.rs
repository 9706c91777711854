//! What a rule is, and what it can say.

use mxray_model::{Blind, Evidence, Finding, Severity, Subject, Unseen};

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Rule {
    /// Never reused, never renumbered.
    pub code: &'static str,
    pub name: &'static str,
    /// As a rule; a finding may be milder or worse where the page says so.
    pub severity: Severity,
    /// The version that brought it.
    pub since: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What, why it matters, how to fix, how to verify, data keys, and samples, which are its tests.
    pub page: &'static str,
    pub check: fn(&Evidence) -> Said,
}

impl Rule {
    /// What the rule says of this evidence.
    pub fn judge(&self, evidence: &Evidence) -> Judgement {
        (self.check)(evidence).unwrap_or_else(|early| early)
    }

    /// A finding of this rule with its usual severity.
    pub fn finding(&self, subject: Subject, summary: impl Into<String>) -> Finding {
        self.finding_as(self.severity, subject, summary)
    }

    /// A finding of this rule where the context makes it milder or worse.
    pub fn finding_as(&self, severity: Severity, subject: Subject, summary: impl Into<String>) -> Finding {
        Finding::new(self.code, self.name, severity, subject, summary)
    }

    /// "Cannot tell", and why.
    pub fn cannot_tell(&self, blind: &Blind) -> Unseen {
        Unseen { what: self.code.to_owned(), why: blind.why(), needs: blind.needs() }
    }
}

/// What a rule's check gives. `Err` is no failure: it is what the rule says early, where a fact that it cannot do without
/// is missing, so that `?` hands it on.
pub type Said = Result<Judgement, Judgement>;

/// What one rule says. All of it may stand side by side: one listener is missing, of another we cannot tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    pub findings: Vec<Finding>,
    pub unseen: Vec<Unseen>,
    /// What was examined and is well, one line each.
    pub well: Vec<String>,
}

impl Judgement {
    pub fn nothing() -> Self {
        Judgement::default()
    }

    /// The rule cannot tell, at all.
    pub fn cannot_tell(rule: &Rule, blind: &Blind) -> Self {
        Judgement { unseen: vec![rule.cannot_tell(blind)], ..Judgement::default() }
    }

    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub fn blind(&mut self, rule: &Rule, blind: &Blind) {
        self.unseen.push(rule.cannot_tell(blind));
    }

    pub fn well(&mut self, text: impl Into<String>) {
        self.well.push(text.into());
    }
}
