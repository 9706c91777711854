//! Receivers' reports, added up: who sends in a domain's name, what aligns, what failed, what changed.
//!
//! Pure: reports come in as values, in any order, and evidence goes out. What must not live here: files (the command), and what is
//! wrong with a figure (rules).

use jiff::Timestamp;
use mxray_mail::bounce::{Kind, Reading};
use mxray_mail::report::{Aggregate, AuthResult, Disposition, Found, Report, Row, Source, TlsReport};
use mxray_model::evidence::reports::{
    CheckedDomain, DmarcReports, OwnBy, ReportChange, ReportChanged, ReportedSource, Reports, TlsFailures, TlsReports,
    Unaligned,
};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Prefix, Seen};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Sources of one domain that are kept one by one; spoofers are without number.
const SOURCES_MAX: usize = 50_000;
/// Domains. Who sends reports may name any.
const DOMAINS_MAX: usize = 10_000;
/// What is kept of one source's unaligned mail, and of a domain's failed sessions.
const KINDS_MAX: usize = 20;
/// Files that are named as unread.
const UNREAD_MAX: usize = 50;
/// Reporters whose last two reports of a domain are compared.
const REPORTERS_MAX: usize = 1000;
/// Differences that are kept of a domain.
const CHANGES_MAX: usize = 200;
/// A source with fewer messages is no news.
const NEWS_MIN: u64 = 5;

/// Receivers' words for "somebody passed it on" (RFC 7489 appendix C, PolicyOverrideType).
const PASSED_ON: [&str; 3] = ["forwarded", "mailing_list", "trusted_forwarder"];

/// What the operator knows.
#[derive(Debug, Clone, Default)]
pub struct Own {
    pub prefixes: Vec<Prefix>,
    /// Messages that a domain sent in the time of the reports.
    pub sent: BTreeMap<String, u64>,
}

/// Reports, while they are added up.
#[derive(Debug)]
pub struct Sum {
    own: Own,
    reports: Reports,
    seen: HashSet<(String, String, String)>,
    domains: BTreeMap<String, Domain>,
    tls: BTreeMap<String, Tls>,
}

/// One domain's DMARC reports.
#[derive(Debug, Default)]
struct Domain {
    sum: DmarcReports,
    policy_at: i64,
    window: Option<(i64, i64)>,
    sources: HashMap<Source, Sent>,
    /// Reporters as numbers, in the order of their coming.
    numbers: HashMap<String, usize>,
    /// The two newest reports of each reporter.
    latest: BTreeMap<String, Vec<Window>>,
}

/// One source.
#[derive(Debug, Default)]
struct Sent {
    sum: ReportedSource,
    window: Option<(i64, i64)>,
    reporters: BTreeSet<usize>,
    unaligned: HashMap<Checked, u64>,
}

/// What was checked, as what it is told apart by.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
struct Checked {
    header_from: String,
    dkim: Vec<CheckedDomain>,
    spf: Vec<CheckedDomain>,
}

/// What one report says of each source.
#[derive(Debug)]
struct Window {
    end: i64,
    policy: String,
    /// Messages, and those that aligned.
    sources: HashMap<Source, (u64, u64)>,
}

#[derive(Debug, Default)]
struct Tls {
    sum: TlsReports,
    failed: BTreeMap<(String, String, String, String), TlsFailures>,
    /// Of each reporter, the newest end and the failures then.
    latest: BTreeMap<String, (String, u64)>,
}

/// What a stranger counted: a sum of it ends at the largest number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl Sum {
    pub fn new(own: Own) -> Self {
        Sum { own, reports: Reports::default(), seen: HashSet::new(), domains: BTreeMap::new(), tls: BTreeMap::new() }
    }

    /// Adds what stands in a file.
    pub fn add(&mut self, file: &str, found: Found) {
        self.reports.read.files += 1;
        for report in found.reports {
            match report {
                Report::Dmarc(report) => {
                    self.damaged(file, &report);
                    self.dmarc(&report);
                }
                Report::Tls(report) => self.tls(&report),
                Report::Feedback(reading) => self.feedback(&reading),
            }
        }
        for trouble in found.troubles {
            let name = if trouble.what.is_empty() { file.to_owned() } else { format!("{file}: {}", trouble.what) };
            self.unread(&name, &trouble.why);
        }
    }

    /// What is missing of a report that was read is not seen.
    fn damaged(&mut self, file: &str, report: &Aggregate) {
        if !report.missing.is_empty() {
            let name = format!("{file}: report {} of {}", report.report_id, report.org_name);
            self.unread(&name, &format!("read in part: {}", report.missing.join(", ")));
        }
    }

    /// A file that could not be read, or not understood.
    pub fn unread(&mut self, name: &str, why: &str) {
        let read = &mut self.reports.read;
        read.unread_count += 1;
        if read.unread.len() < UNREAD_MAX {
            read.unread.insert(untrusted(name.as_bytes()), untrusted(why.as_bytes()));
        }
    }

    /// False: it was there before. Receivers send reports again, and mailboxes keep both.
    fn is_new(&mut self, who: &str, id: &str, window: String) -> bool {
        let new = self.seen.insert((who.to_owned(), id.to_owned(), window));
        self.reports.read.repeated += u64::from(!new);
        new
    }

    fn dmarc(&mut self, report: &Aggregate) {
        let (begin, end) = (report.begin.unwrap_or(0), report.end.or(report.begin).unwrap_or(0));
        let domain = name_of(&report.policy.domain);
        if !self.is_new(&report.org_name, &report.report_id, format!("{domain} {begin} {end}")) {
            return;
        }
        self.reports.read.dmarc += 1;
        self.reports.read.rows += report.rows.len() as u64;
        if !self.domains.contains_key(&domain) && self.domains.len() >= DOMAINS_MAX {
            return;
        }
        self.domains.entry(domain).or_default().add(report, begin, end);
    }

    fn tls(&mut self, report: &TlsReport) {
        let named = [&report.organization, &report.contact].into_iter().find(|name| !name.is_empty());
        let reporter = untrusted(named.map_or("a sender that is not named", String::as_str).as_bytes());
        if !self.is_new(&report.organization, &report.report_id, format!("tls {} {}", report.begin, report.end)) {
            return;
        }
        self.reports.read.tls += 1;
        let mut failures: BTreeMap<String, u64> = BTreeMap::new();
        for policy in &report.policies {
            // Postfix's reporter names no domain where it found no policy; those of its MX are all that tells.
            let domain = name_of(&policy.domain);
            if !self.tls.contains_key(&domain) && self.tls.len() >= DOMAINS_MAX {
                continue;
            }
            let failed = policy.failures.max(policy.details.iter().map(|detail| detail.sessions).sum());
            let tls = self.tls.entry(domain.clone()).or_default();
            add(failures.entry(domain).or_default(), failed);
            let sum = &mut tls.sum;
            add(&mut sum.successes, policy.successes);
            add(&mut sum.failures, failed);
            widen(&mut sum.first, &mut sum.last, &date_of(&report.begin), &date_of(&report.end));
            let sessions = sum.policies.entry(untrusted(policy.kind.as_bytes())).or_default();
            add(&mut sessions.successes, policy.successes);
            add(&mut sessions.failures, failed);
            for detail in &policy.details {
                let mx = if detail.mx_host.is_empty() { &detail.receiving_ip } else { &detail.mx_host };
                let (kind, mx) = (untrusted(detail.kind.as_bytes()), name_of(mx));
                let kept = untrusted(policy.kind.as_bytes());
                let key = (kind.clone(), kept.clone(), mx.clone(), reporter.clone());
                if !tls.failed.contains_key(&key) && tls.failed.len() >= SOURCES_MAX {
                    continue;
                }
                let failure = tls.failed.entry(key).or_insert_with(|| TlsFailures {
                    kind,
                    policy: kept,
                    mx,
                    reporter: reporter.clone(),
                    ..TlsFailures::default()
                });
                add(&mut failure.sessions, detail.sessions);
                let end = date_of(&report.end);
                if failure.last <= end {
                    failure.last = end;
                    let reason = if detail.reason.is_empty() { &detail.more } else { &detail.reason };
                    failure.reason = untrusted(reason.as_bytes());
                }
            }
        }
        for (domain, failed) in failures {
            let Some(tls) = self.tls.get_mut(&domain) else { continue };
            *tls.sum.reporters.entry(reporter.clone()).or_default() += 1;
            let end = date_of(&report.end);
            let latest = tls.latest.entry(reporter.clone()).or_insert_with(|| (end.clone(), failed));
            if latest.0 <= end {
                *latest = (end, failed);
            }
        }
    }

    fn feedback(&mut self, reading: &Reading) {
        let Some(complaint) = &reading.complaint else { return };
        let id = reading.message_id.clone().unwrap_or_default();
        let about = reading.original.message_id.clone().unwrap_or_default();
        let tells = !id.is_empty() || !about.is_empty();
        if tells && !self.is_new(&complaint.feedback_type, &id, about) {
            return;
        }
        self.reports.read.feedback += 1;
        let of_address = |address: &String| address.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let from = reading.original.from.as_deref().and_then(|from| of_address(&from.trim_end_matches('>').to_owned()));
        let domain = complaint.reported_domain.clone().or(from);
        let domain = domain.or_else(|| complaint.original_mail_from.as_ref().and_then(of_address));
        let domain = name_of(&domain.unwrap_or_default());
        if !self.reports.complaints.contains_key(&domain) && self.reports.complaints.len() >= DOMAINS_MAX {
            return;
        }
        let sum = self.reports.complaints.entry(domain).or_default();
        match reading.kind {
            Kind::NotSpam => add(&mut sum.not_spam, complaint.incidents),
            Kind::AuthFailure => add(&mut sum.auth_failures, complaint.incidents),
            _ => add(&mut sum.complaints, complaint.incidents),
        }
        let reporter = complaint.user_agent.as_deref().unwrap_or_default();
        let reporter = reporter.split(['/', ' ']).next().unwrap_or_default();
        if sum.reporters.len() < REPORTERS_MAX {
            add(sum.reporters.entry(untrusted(reporter.as_bytes())).or_default(), complaint.incidents);
        }
    }

    /// All that was added, as evidence.
    pub fn finish(mut self) -> Reports {
        let own = std::mem::take(&mut self.own);
        for (domain, sum) in std::mem::take(&mut self.domains) {
            let sum = sum.finish(&domain, &own);
            self.reports.dmarc.insert(domain, sum);
        }
        for (domain, tls) in std::mem::take(&mut self.tls) {
            self.reports.tls.insert(domain, tls.finish());
        }
        let dmarc = &self.reports.dmarc;
        for (domain, complaints) in &mut self.reports.complaints {
            let reported = dmarc.get(domain).map(|reports| reports.aligned).filter(|aligned| *aligned > 0);
            complaints.messages = match own.sent.get(domain).copied().or(reported) {
                Some(messages) => Seen::Value(messages),
                None => Seen::Unknown(Blind::Elsewhere {
                    why: format!("nobody says how many messages {domain} sent"),
                    look: format!("--sent {domain}=NUMBER, or DMARC reports of the same time"),
                }),
            };
        }
        self.reports
    }
}

impl Domain {
    fn add(&mut self, report: &Aggregate, begin: i64, end: i64) {
        let reporter = untrusted(report.org_name.as_bytes());
        let policy = report.policy.p.to_ascii_lowercase();
        let next = self.numbers.len();
        let number = *self.numbers.entry(reporter.clone()).or_insert(next);
        if self.sum.reporters.contains_key(&reporter) || self.sum.reporters.len() < REPORTERS_MAX {
            *self.sum.reporters.entry(reporter.clone()).or_default() += 1;
        }
        if end >= self.policy_at {
            self.policy_at = end;
            self.sum.policy = if policy.is_empty() { Seen::Absent } else { Seen::Value(untrusted(policy.as_bytes())) };
            self.sum.subdomain_policy = untrusted(report.policy.sp.to_ascii_lowercase().as_bytes());
            self.sum.percent = untrusted(report.policy.pct.as_bytes());
            self.sum.testing = report.policy.testing.eq_ignore_ascii_case("y");
        }
        widen_seconds(&mut self.window, begin, end);
        let mut window = Window { end, policy, sources: HashMap::new() };
        for row in &report.rows {
            let aligned = if row.dkim_aligned || row.spf_aligned { row.count } else { 0 };
            let figures = window.sources.entry(row.source.clone()).or_default();
            add(&mut figures.0, row.count);
            add(&mut figures.1, aligned);
            self.row(row, number, begin, end);
        }
        let latest = self.latest.entry(reporter).or_default();
        // Two reports of one window are parts of one.
        match latest.iter_mut().find(|known| known.end == end) {
            Some(known) => {
                for (source, (messages, aligned)) in window.sources {
                    let figures = known.sources.entry(source).or_default();
                    add(&mut figures.0, messages);
                    add(&mut figures.1, aligned);
                }
            }
            None => latest.push(window),
        }
        latest.sort_by_key(|window| std::cmp::Reverse(window.end));
        latest.truncate(2);
    }

    fn row(&mut self, row: &Row, reporter: usize, begin: i64, end: i64) {
        let sum = &mut self.sum;
        let aligned = row.dkim_aligned || row.spf_aligned;
        let of = |condition: bool| if condition { row.count } else { 0 };
        add(&mut sum.messages, row.count);
        add(&mut sum.aligned, of(aligned));
        add(&mut sum.quarantined, of(row.disposition == Disposition::Quarantine));
        add(&mut sum.rejected, of(row.disposition == Disposition::Reject));
        let full = self.sources.len() >= SOURCES_MAX;
        let sent = match self.sources.entry(row.source.clone()) {
            Entry::Vacant(_) if full => {
                add(&mut sum.others, row.count);
                return;
            }
            Entry::Vacant(vacant) => vacant.insert(Sent::default()),
            Entry::Occupied(known) => known.into_mut(),
        };
        let source = &mut sent.sum;
        add(&mut source.messages, row.count);
        add(&mut source.dkim_aligned, of(row.dkim_aligned));
        add(&mut source.spf_aligned, of(row.spf_aligned));
        add(&mut source.aligned, of(aligned));
        add(&mut source.quarantined, of(row.disposition == Disposition::Quarantine));
        add(&mut source.rejected, of(row.disposition == Disposition::Reject));
        sent.reporters.insert(reporter);
        widen_seconds(&mut sent.window, begin, end);
        // The domain's own record lets this address send: a receiver has evaluated it.
        let own = row.spf.iter().find(|spf| spf.result.eq_ignore_ascii_case("pass") && row.spf_aligned);
        if let Some(spf) = own.filter(|_| source.own.is_none()) {
            source.own = Some(OwnBy::Spf { domain: name_of(&spf.domain) });
        }
        // Google says "local_policy" with "arc=pass" of what a forwarder vouches for.
        let passed_on = row.reasons.iter().any(|reason| {
            PASSED_ON.iter().any(|word| reason.kind.eq_ignore_ascii_case(word)) || reason.comment.contains("arc=pass")
        });
        if !aligned && passed_on {
            add(&mut source.forwarded, row.count);
        } else if !aligned {
            let checked =
                Checked { header_from: name_of(&row.header_from), dkim: checks(&row.dkim), spf: checks(&row.spf) };
            if sent.unaligned.len() < SOURCES_MAX / 100 || sent.unaligned.contains_key(&checked) {
                add(sent.unaligned.entry(checked).or_default(), row.count);
            }
        }
    }

    fn finish(mut self, domain: &str, own: &Own) -> DmarcReports {
        if let Some((first, last)) = self.window {
            (self.sum.first, self.sum.last) = (date(first), date(last));
        }
        self.sum.changes = self.changes();
        for (source, sent) in self.sources {
            let mut sum = sent.sum;
            if let Some((first, last)) = sent.window {
                (sum.first, sum.last) = (date(first), date(last));
            }
            sum.reporters = sent.reporters.len() as u64;
            if let Source::Address(address) = &source
                && let Some(prefix) = own.prefixes.iter().find(|prefix| prefix.contains(*address))
            {
                sum.own = Some(OwnBy::Declared { prefix: prefix.to_string() });
            }
            // A subdomain's record is another sender's as often as not.
            if matches!(&sum.own, Some(OwnBy::Spf { domain: passed }) if !same_or_below(passed, domain)) {
                sum.own = None;
            }
            let mut unaligned: Vec<(Checked, u64)> = sent.unaligned.into_iter().collect();
            unaligned.sort_by(|(a, first), (b, second)| second.cmp(first).then_with(|| a.cmp(b)));
            let kept = unaligned.into_iter().take(KINDS_MAX);
            sum.unaligned = kept
                .map(|(checked, messages)| Unaligned {
                    header_from: checked.header_from,
                    dkim: checked.dkim,
                    spf: checked.spf,
                    messages,
                })
                .collect();
            self.sum.sources.insert(name(&source), sum);
        }
        self.sum
    }

    /// Each reporter's newest report beside the one before.
    fn changes(&self) -> Vec<ReportChange> {
        let mut changes = Vec::new();
        for (reporter, windows) in &self.latest {
            let [now, before] = &windows[..] else { continue };
            let mut tell = |source: &Source, what: ReportChanged, messages: u64| {
                let source = name(source);
                changes.push(ReportChange { reporter: reporter.clone(), source, what, messages });
            };
            for (source, (messages, aligned)) in &now.sources {
                match before.sources.get(source) {
                    None if *messages >= NEWS_MIN => tell(source, ReportChanged::NewSource, *messages),
                    Some((then, then_aligned)) if *messages >= NEWS_MIN && *then >= NEWS_MIN => {
                        let (is, was) = (mostly(*aligned, *messages), mostly(*then_aligned, *then));
                        if was && !is {
                            tell(source, ReportChanged::AlignmentLost, *messages);
                        } else if is && !was {
                            tell(source, ReportChanged::AlignmentGained, *messages);
                        }
                    }
                    _ => {}
                }
            }
            for (source, (messages, aligned)) in &before.sources {
                // That spoofers come and go is no news.
                if !now.sources.contains_key(source) && *messages >= NEWS_MIN && mostly(*aligned, *messages) {
                    tell(source, ReportChanged::SourceGone, *messages);
                }
            }
            if now.policy != before.policy {
                let (from, to) = (untrusted(before.policy.as_bytes()), untrusted(now.policy.as_bytes()));
                let what = ReportChanged::Policy { from, to };
                changes.push(ReportChange { reporter: reporter.clone(), source: String::new(), what, messages: 0 });
            }
        }
        changes.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.cmp(b)));
        changes.truncate(CHANGES_MAX);
        changes
    }
}

impl Tls {
    fn finish(mut self) -> TlsReports {
        let mut failed: Vec<TlsFailures> = self.failed.into_values().collect();
        failed.sort_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| (&a.kind, &a.mx).cmp(&(&b.kind, &b.mx))));
        failed.truncate(KINDS_MAX * 5);
        self.sum.failed = failed;
        self.sum.over = self.sum.failures > 0 && self.latest.values().all(|(_, failures)| *failures == 0);
        self.sum
    }
}

fn checks(results: &[AuthResult]) -> Vec<CheckedDomain> {
    let mut checks: Vec<CheckedDomain> = results
        .iter()
        .map(|result| CheckedDomain {
            domain: name_of(&result.domain),
            selector: untrusted(result.selector.as_bytes()),
            result: untrusted(result.result.to_ascii_lowercase().as_bytes()),
        })
        .collect();
    checks.sort();
    checks.dedup();
    checks
}

/// More than half of it.
fn mostly(part: u64, whole: u64) -> bool {
    part.saturating_mul(2) > whole
}

fn same_or_below(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn name(source: &Source) -> String {
    match source {
        Source::Address(address) => address.to_string(),
        Source::Other(text) => untrusted(text.as_bytes()),
    }
}

/// A domain as it is compared.
fn name_of(text: &str) -> String {
    untrusted(text.trim().trim_end_matches('.').to_ascii_lowercase().as_bytes())
}

fn widen_seconds(window: &mut Option<(i64, i64)>, begin: i64, end: i64) {
    // A report without dates is of no time.
    if begin == 0 && end == 0 {
        return;
    }
    let (first, last) = window.get_or_insert((begin, end));
    *first = (*first).min(begin);
    *last = (*last).max(end);
}

fn widen(first: &mut String, last: &mut String, begin: &str, end: &str) {
    if !begin.is_empty() && (first.is_empty() || begin < first.as_str()) {
        begin.clone_into(first);
    }
    if end > last.as_str() {
        end.clone_into(last);
    }
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |stamp| stamp.to_string())
}

/// A report's date as one that can be compared; as it stands where it is none.
fn date_of(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| untrusted(text.as_bytes()), |stamp| stamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_mail::causes::Rules;

    fn xml(id: &str, end: i64, policy: &str, rows: &[(&str, u64, &str, &str, &str)]) -> String {
        let rows: String = rows
            .iter()
            .map(|(ip, count, dkim, spf, more)| format!("<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition><dkim>{dkim}</dkim><spf>{spf}</spf>{more}</policy_evaluated></row><identifiers><header_from>example.org</header_from></identifiers><auth_results><spf><domain>example.org</domain><result>{spf}</result></spf></auth_results></record>"))
            .collect();
        format!(
            "<feedback><report_metadata><org_name>Receiver</org_name><report_id>{id}</report_id><date_range><begin>{}</begin><end>{end}</end></date_range></report_metadata><policy_published><domain>Example.ORG</domain><p>{policy}</p></policy_published>{rows}</feedback>",
            end - 86_400
        )
    }

    fn sum(texts: &[String], own: Own) -> Reports {
        let rules = Rules::built_in();
        let mut sum = Sum::new(own);
        for text in texts {
            sum.add("file", mxray_mail::report::read(text.as_bytes(), &rules));
        }
        sum.finish()
    }

    #[test]
    fn reports_are_added_up_once_each() {
        let first = xml(
            "1",
            1_700_000_000,
            "none",
            &[("192.0.2.1", 10, "pass", "pass", ""), ("192.0.2.9", 5, "fail", "fail", "")],
        );
        let again = first.clone();
        let next = xml(
            "2",
            1_700_086_400,
            "reject",
            &[("192.0.2.1", 10, "fail", "fail", ""), ("192.0.2.2", 8, "fail", "pass", "")],
        );
        let own = Own { prefixes: vec!["192.0.2.9/32".parse().unwrap()], sent: BTreeMap::new() };
        // In any order.
        for texts in [[first.clone(), again.clone(), next.clone()], [next, again, first]] {
            let reports = sum(&texts, own.clone());
            assert_eq!((reports.read.dmarc, reports.read.repeated, reports.read.rows), (2, 1, 4));
            let domain = &reports.dmarc["example.org"];
            assert_eq!(
                (domain.messages, domain.aligned, domain.policy.value().map(String::as_str)),
                (33, 18, Some("reject"))
            );
            assert_eq!(domain.sources["192.0.2.1"].own, Some(OwnBy::Spf { domain: "example.org".to_owned() }));
            assert_eq!(domain.sources["192.0.2.1"].unaligned[0].messages, 10);
            assert_eq!(domain.sources["192.0.2.9"].own, Some(OwnBy::Declared { prefix: "192.0.2.9/32".to_owned() }));
            let changes: Vec<_> =
                domain.changes.iter().map(|change| (change.source.as_str(), change.what.clone())).collect();
            assert_eq!(changes[0], ("192.0.2.1", ReportChanged::AlignmentLost));
            assert_eq!(changes[1], ("192.0.2.2", ReportChanged::NewSource));
            assert!(matches!(&changes[2].1, ReportChanged::Policy { from, to } if from == "none" && to == "reject"));
            assert_eq!(changes.len(), 3);
        }
    }

    #[test]
    fn what_a_stranger_counted_ends_no_sum_and_what_is_missing_is_told() {
        let most = 1_000_000_000_000;
        let rows = vec![("192.0.2.1", most, "pass", "pass", ""); 3];
        let whole = xml("1", i64::MAX / 2, "none", &rows);
        let beyond =
            whole.replace(">1</report_id>", ">2</report_id>").replace(&most.to_string(), &u64::MAX.to_string());
        let cut = xml("3", 1_700_000_000, "none", &rows).replace("</feedback>", "");
        let reports = sum(&[whole, beyond, cut], Own::default());
        assert_eq!(reports.dmarc["example.org"].messages, 6 * most);
        let told: Vec<(&str, &str)> =
            reports.read.unread.iter().map(|(what, why)| (what.as_str(), why.as_str())).collect();
        assert_eq!(
            told,
            [
                ("file: report 2 of Receiver", "read in part: a count that is none"),
                ("file: report 3 of Receiver", "read in part: it ends in the middle"),
            ]
        );
        let mut sum = u64::MAX - 1;
        add(&mut sum, 7);
        assert_eq!(sum, u64::MAX);
    }

    #[test]
    fn what_was_passed_on_is_no_failure_of_ours() {
        let forwarded = "<reason><type>forwarded</type></reason>";
        let text = xml("1", 1_700_000_000, "reject", &[("192.0.2.7", 4, "fail", "fail", forwarded)]);
        let source = &sum(&[text], Own::default()).dmarc["example.org"].sources["192.0.2.7"];
        assert_eq!((source.messages, source.forwarded, source.unaligned.len()), (4, 4, 0));
    }

    #[test]
    fn failures_of_tls_are_over_when_the_newest_report_has_none() {
        let json = |id: &str, day: &str, failed: u64| {
            format!(
                r#"{{"organization-name": "S", "report-id": "{id}", "date-range": {{"start-datetime": "2026-01-{day}T00:00:00Z", "end-datetime": "2026-01-{day}T23:59:59Z"}}, "policies": [{{"policy": {{"policy-type": "sts", "policy-domain": "example.org"}}, "summary": {{"total-successful-session-count": 9, "total-failure-session-count": {failed}}}, "failure-details": [{{"result-type": "certificate-expired", "receiving-mx-hostname": "mx.example.org", "failed-session-count": {failed}}}]}}]}}"#
            )
        };
        let reports = sum(&[json("2", "02", 0), json("1", "01", 3)], Own::default());
        let tls = &reports.tls["example.org"];
        assert_eq!((tls.successes, tls.failures, tls.over), (18, 3, true));
        assert_eq!((tls.failed[0].kind.as_str(), tls.failed[0].sessions), ("certificate-expired", 3));
        assert!(!sum(&[json("1", "01", 0), json("2", "02", 1)], Own::default()).tls["example.org"].over);
    }
}
