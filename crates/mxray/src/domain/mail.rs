//! `mxray domain --mail`: a mail evaluated as a receiver does it, by two clocks: that of its last server, and now.
//!
//! What it looks like for a person stands in `mail_text.rs`. What must not live here: the evaluators (`mxray-auth`).

use super::client::{Wanted, both_forms};
use super::message::{self, AUTHORS_MAX, LineEnds, shown_time};
use super::{DomainArgs, mail_text, not_told, spf};
use crate::cli::ListFormat;
use crate::exit::Failure;
use crate::output::Output;
use mxray_auth::dkim::{ArcVerifier, DkimVerifier, Message, hashed_with_line_feeds};
use mxray_auth::dmarc::Dmarc;
use mxray_model::evidence::published::{
    ArcVerdict, DkimResult, DkimVerdict, DmarcInputs, DmarcPolicy, DmarcResult, DmarcVerdict, ExaminedMail,
};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Evidence, Finding, Seen, Unseen};
use mxray_net::{Evaluations, unicode_name};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/mail-auth/1";

/// What a receiver makes of a mail at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// RFC 3339.
    pub at: String,
    pub dkim: Vec<DkimVerdict>,
    pub arc: ArcVerdict,
    /// Of the author's domain; where there are several, of the one that asks for most.
    pub dmarc: Option<DmarcVerdict>,
    /// Of the other authors' domains.
    pub dmarc_others: Vec<DmarcVerdict>,
}

/// Everything that is told of a mail.
pub struct Told {
    pub spf: spf::Answer,
    pub now: Judged,
    /// `Absent`: the mail has no Received field.
    pub received: Seen<Judged>,
    pub differs: Vec<String>,
    pub authors: Result<Vec<String>, String>,
    pub line_ends: LineEnds,
    pub bytes: usize,
    /// Places of signatures whose body was hashed with LF.
    pub hashed_with_lf: Vec<u32>,
    pub unseen: Vec<Unseen>,
    /// What the rules say of it as it was received; where that is not known, of it now. Causes stand before what they explain.
    pub findings: Vec<Finding>,
}

impl Told {
    /// DMARC decides; where it has no say, everything below it has to be known.
    pub fn is_answered(&self) -> bool {
        if self.unseen.is_empty() {
            return true;
        }
        let open = |one: &DkimVerdict| one.result == DkimResult::TempError;
        match self.now.dmarc.as_ref().map(|verdict| verdict.result) {
            Some(DmarcResult::Pass | DmarcResult::Fail) => true,
            Some(DmarcResult::TempError) => false,
            Some(DmarcResult::None) | None => self.spf.is_answered() && !self.now.dkim.iter().any(open),
        }
    }
}

/// Whether it was answered.
pub fn run(
    args: &DomainArgs,
    file: &Path,
    wanted: &Wanted,
    evaluations: &Evaluations,
    format: ListFormat,
    output: &mut Output,
) -> Result<bool, Failure> {
    let bytes = message::read("--mail", file)?;
    let now_s = args.at.unwrap_or_else(|| jiff::Timestamp::now().as_second());
    let told = tell(&bytes, (file, now_s), wanted, evaluations)?;
    match format {
        ListFormat::Json => output.emit(|out| {
            serde_json::to_writer(&mut *out, &json(wanted, &told))?;
            out.write_all(b"\n")
        })?,
        ListFormat::Text => {
            let options = output.options();
            output.emit(|out| mail_text::write(wanted, &told, &options, out))?;
        }
    }
    Ok(told.is_answered())
}

fn tell(
    bytes: &[u8],
    (file, now_s): (&Path, i64),
    wanted: &Wanted,
    evaluations: &Evaluations,
) -> Result<Told, Failure> {
    let spf = spf::evaluate(wanted, evaluations)?;
    let message = Message::read(bytes);
    let authors = message::authors(&message);
    let judge = |at_s: i64| {
        judged(bytes, at_s, &authors, &spf, evaluations).map_err(|blind: Blind| Failure::Unanswered(blind.why()))
    };
    let now = judge(now_s)?;
    let received = match message::received(&message) {
        Seen::Value(at_s) => Seen::Value(judge(at_s)?),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    };
    let differs = received.value().map(|received| differences(&now, received)).unwrap_or_default();
    let hashed_with_lf =
        now.dkim.iter().filter(|verdict| hashed_with_line_feeds(verdict, bytes)).map(|verdict| verdict.at).collect();
    let unseen = not_told(&evaluations.lookups());
    let line_ends = message::line_ends(bytes);
    let mut told = Told {
        spf,
        now,
        received,
        differs,
        authors,
        line_ends,
        bytes: bytes.len(),
        hashed_with_lf,
        unseen,
        findings: Vec::new(),
    };
    told.findings = findings(examined(&told, (file, now_s), wanted, message::received(&message)));
    Ok(told)
}

/// The mail as the rules read it.
fn examined(told: &Told, (file, now_s): (&Path, i64), wanted: &Wanted, received: Seen<i64>) -> ExaminedMail {
    let (judged, at_s) = match (&told.received, received) {
        (Seen::Value(judged), Seen::Value(at_s)) => (judged, at_s),
        _ => (&told.now, now_s),
    };
    ExaminedMail {
        file: untrusted(file.as_os_str().as_encoded_bytes()),
        at_s,
        client: wanted.ip,
        spf: told.spf.verdict.clone(),
        signatures: judged.dkim.clone(),
        signed_with_line_feeds: told.hashed_with_lf.clone(),
        arc: judged.arc.clone(),
        dmarc: judged.dmarc.clone().map_or(Seen::Absent, Seen::Value),
    }
}

/// Causes first, then what follows from them, then the rest.
fn findings(mail: ExaminedMail) -> Vec<Finding> {
    let evidence = Evidence { mail: Seen::Value(mail), ..Evidence::default() };
    let judged = mxray_rules::examine_by(&evidence, |rule| rule.code.starts_with("MAIL"));
    let is_cause = |finding: &Finding| judged.causes.iter().any(|cause| cause.id == finding.id);
    let (mut first, rest): (Vec<Finding>, Vec<Finding>) = judged.findings.into_iter().partition(is_cause);
    first.extend(rest);
    first
}

fn judged(
    bytes: &[u8],
    at_s: i64,
    authors: &Result<Vec<String>, String>,
    spf: &spf::Answer,
    evaluations: &Evaluations,
) -> Result<Judged, Blind> {
    let dkim = evaluations.run(DkimVerifier::new(bytes, at_s))?.outcome;
    let arc = evaluations.run(ArcVerifier::new(bytes, at_s))?.outcome;
    let mut dmarc = Vec::new();
    for author in authors.iter().flatten().take(AUTHORS_MAX) {
        let inputs = DmarcInputs {
            author: author.clone(),
            spf: Some((spf.verdict.domain.clone(), spf.verdict.result)),
            dkim: dkim.iter().filter_map(|one| Some((one.domain.clone()?, one.result))).collect(),
        };
        dmarc.push(evaluations.run(Dmarc { inputs })?.outcome);
    }
    // Of several authors the one whose policy asks for most decides.
    dmarc.sort_by_key(|verdict| std::cmp::Reverse(weight(verdict)));
    let mut dmarc = dmarc.into_iter();
    Ok(Judged { at: shown_time(at_s), dkim, arc, dmarc: dmarc.next(), dmarc_others: dmarc.collect() })
}

fn weight(verdict: &DmarcVerdict) -> (u8, Option<DmarcPolicy>) {
    let result = match verdict.result {
        DmarcResult::Fail => 3,
        DmarcResult::TempError => 2,
        DmarcResult::Pass => 1,
        DmarcResult::None => 0,
    };
    (result, verdict.asked)
}

/// What is judged otherwise now than when the mail came.
fn differences(now: &Judged, received: &Judged) -> Vec<String> {
    let mut out = Vec::new();
    for (new, old) in now.dkim.iter().zip(&received.dkim) {
        if new.result != old.result {
            let domain = new.domain.clone().unwrap_or_default();
            let (old, new) = (mail_text::dkim_result(old.result), mail_text::dkim_result(new.result));
            out.push(format!("the signature of {domain}: {old} when it was received, {new} now"));
        }
    }
    if now.arc.result != received.arc.result {
        let (old, new) = (mail_text::arc_result(received.arc.result), mail_text::arc_result(now.arc.result));
        out.push(format!("ARC: {old} when it was received, {new} now"));
    }
    let result = |judged: &Judged| judged.dmarc.as_ref().map(|verdict| mail_text::dmarc_result(verdict.result));
    if let (Some(new), Some(old)) = (result(now), result(received))
        && new != old
    {
        out.push(format!("DMARC: {old} when it was received, {new} now"));
    }
    out
}

fn json(wanted: &Wanted, told: &Told) -> Value {
    let mut spf = spf::json(wanted, &told.spf);
    if let Value::Object(spf) = &mut spf {
        // They stand below, for all that was evaluated.
        for key in ["schema", "dns", "unseen"] {
            spf.remove(key);
        }
    }
    let authors: Vec<&String> = told.authors.iter().flatten().collect();
    let no_received = match &told.received {
        Seen::Value(_) => None,
        Seen::Absent => Some("the mail has no Received field".to_owned()),
        Seen::Unknown(blind) => Some(blind.why()),
    };
    json!({
        "schema": SCHEMA,
        "answered": told.is_answered(),
        "message": { "bytes": told.bytes, "line_ends": told.line_ends, "hashed_with_lf": told.hashed_with_lf },
        "authors": authors,
        "authors_unicode": authors.iter().map(|name| unicode_name(name)).collect::<Vec<_>>(),
        "no_author": told.authors.as_ref().err(),
        "spf": spf,
        "at": told.now.at,
        "dkim": told.now.dkim,
        "arc": told.now.arc,
        "dmarc": told.now.dmarc,
        "dmarc_others": told.now.dmarc_others,
        "received": told.received.value(),
        "no_received": no_received,
        "differs": told.differs,
        "unseen": told.unseen,
        "findings": told.findings,
    })
}

/// Names of authors for a person.
pub fn shown_authors(authors: &[String]) -> String {
    authors.iter().map(|name| both_forms(name)).collect::<Vec<_>>().join(", ")
}
