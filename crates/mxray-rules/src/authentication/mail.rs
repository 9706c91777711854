//! What the rules on one mail share: the mail, its signatures, and what became of DMARC.

use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::published::{DkimResult, DkimVerdict, DmarcPolicy, DmarcResult, DmarcVerdict, ExaminedMail};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};

/// The mail that was given.
pub fn given<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a ExaminedMail, Judgement> {
    view::known(&evidence.mail, rule)
}

pub fn subject(mail: &ExaminedMail) -> Subject {
    Subject::new(SubjectKind::Message, mail.file.as_str())
}

/// A finding about the mail.
pub fn finding(rule: &Rule, severity: Severity, mail: &ExaminedMail, summary: String) -> Finding {
    rule.finding_as(severity, subject(mail), summary)
}

pub fn pointer(rest: &[&str]) -> String {
    view::pointer(["mail", "value"].iter().chain(rest))
}

pub fn signature_pointer(at: usize, rest: &str) -> String {
    pointer(&["signatures", &at.to_string(), rest])
}

/// `the signature of example.org (selector s1)`
pub fn named(signature: &DkimVerdict) -> String {
    let domain = signature.domain.as_deref().unwrap_or("nobody who can be read");
    match &signature.selector {
        Some(selector) => format!("the signature of {domain} (selector {selector})"),
        None => format!("the signature of {domain}"),
    }
}

pub fn source(signature: &DkimVerdict) -> String {
    format!("DKIM-Signature {}", signature.at + 1)
}

/// The verdict for the author's domain.
pub fn verdict(mail: &ExaminedMail) -> Option<&DmarcVerdict> {
    mail.dmarc.value()
}

pub fn passes(mail: &ExaminedMail) -> bool {
    verdict(mail).is_some_and(|verdict| verdict.result == DmarcResult::Pass)
}

/// Receivers are asked to refuse it, or to set it aside.
pub fn is_refused(mail: &ExaminedMail) -> bool {
    let asked = |verdict: &DmarcVerdict| verdict.asked.is_some_and(|policy| policy != DmarcPolicy::None);
    verdict(mail).is_some_and(|verdict| verdict.result == DmarcResult::Fail && asked(verdict))
}

/// Some signature holds, whoever made it.
pub fn is_signed(mail: &ExaminedMail) -> bool {
    mail.signatures.iter().any(|signature| signature.result == DkimResult::Pass)
}

/// What a broken signature means for the mail: nothing vouches for it, or something else still does.
pub fn weight(rule: &Rule, mail: &ExaminedMail) -> Severity {
    if passes(mail) || is_signed(mail) { Severity::Warning } else { rule.severity }
}

/// Why a signature could not be verified, where the key was not found out.
pub fn not_verified(mail: &ExaminedMail) -> Option<Blind> {
    let open = |signature: &&DkimVerdict| matches!(signature.result, DkimResult::TempError | DkimResult::Unknown);
    let signature = mail.signatures.iter().find(open)?;
    Some(Blind::NotAttempted { why: format!("{} could not be verified", named(signature)) })
}

/// The step that looks again.
pub fn verified(fix: Fix, mail: &ExaminedMail) -> Fix {
    let file = mxray_model::text::shell_word(&mail.file);
    let from = format!("--ip {} --helo NAME --mail-from ADDRESS", mail.client);
    fix.verify(format!("mxray domain --mail {file} {from}"))
}

/// What cannot be told because it rests on answers that did not come.
pub fn dmarc_blind(mail: &ExaminedMail) -> Option<Blind> {
    match &mail.dmarc {
        Seen::Value(verdict) if verdict.result == DmarcResult::TempError => {
            Some(Blind::NotAttempted { why: verdict.reason.clone() })
        }
        Seen::Unknown(blind) => Some(blind.clone()),
        Seen::Value(_) | Seen::Absent => None,
    }
}
