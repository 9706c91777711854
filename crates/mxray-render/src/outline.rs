//! Which finding stands under which cause, and what is left over: the same for every renderer.

use mxray_model::{Finding, Report};
use std::collections::{BTreeMap, BTreeSet};

/// A finding that a cause explains, directly or through others.
#[derive(Debug)]
pub(crate) struct Consequence<'a> {
    /// 0: explained by the cause itself.
    pub depth: usize,
    pub finding: &'a Finding,
    /// It stands under an earlier cause too, with its own consequences.
    pub again: bool,
}

/// The findings of one report, sorted under their causes.
pub(crate) struct Outline<'a> {
    findings: &'a [Finding],
    by_id: BTreeMap<&'a str, &'a Finding>,
    shown: BTreeSet<&'a str>,
}

impl<'a> Outline<'a> {
    pub(crate) fn new(report: &'a Report) -> Self {
        let by_id = report.findings.iter().map(|finding| (finding.id.as_str(), finding)).collect();
        let shown = report.causes.iter().map(|cause| cause.id.as_str()).collect();
        Outline { findings: &report.findings, by_id, shown }
    }

    /// What follows from `cause`, parents before children. Each finding's own consequences are given once per report,
    /// so the whole is no longer than the findings and the arrows between them, and a cycle ends.
    pub(crate) fn under(&mut self, cause: &'a Finding) -> Vec<Consequence<'a>> {
        let mut found = Vec::new();
        // A finding that several explain stands under the first of them: one line is enough under one cause.
        let mut here = BTreeSet::new();
        let mut stack = vec![(0, cause.explains.iter())];
        while let Some((depth, rest)) = stack.last_mut() {
            let depth = *depth;
            let Some(id) = rest.next() else {
                stack.pop();
                continue;
            };
            let Some(finding) = self.by_id.get(id.as_str()).copied() else { continue };
            if !here.insert(finding.id.as_str()) {
                continue;
            }
            let again = !self.shown.insert(finding.id.as_str());
            found.push(Consequence { depth, finding, again });
            if !again {
                stack.push((depth + 1, finding.explains.iter()));
            }
        }
        found
    }

    /// What stands under a cause, under headings: the same in other places, which its fix ends as well; then what follows from it.
    pub(crate) fn headed<'b>(
        cause: &Finding,
        below: &'b [Consequence<'a>],
    ) -> impl Iterator<Item = (&'static str, Vec<&'b Consequence<'a>>)> {
        let (same, following) = below.iter().partition(|one| one.depth == 0 && one.finding.code == cause.code);
        let lists: [(&str, Vec<_>); 2] = [("The same fix ends", same), ("What follows from it", following)];
        lists.into_iter().filter(|(_, list)| !list.is_empty())
    }

    /// What no cause explains and is none, most damaging first. Ask after all causes were gone through.
    pub(crate) fn rest(&self) -> Vec<&'a Finding> {
        let mut rest: Vec<_> =
            self.findings.iter().filter(|finding| !self.shown.contains(finding.id.as_str())).collect();
        rest.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        rest
    }
}
