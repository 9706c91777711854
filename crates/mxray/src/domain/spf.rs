//! `mxray domain --spf`: one evaluation with its ledger, as `mxray/spf/1` or for a person.

use super::client::{Wanted, both_forms};
use super::{ledger, not_told};
use crate::cli::ListFormat;
use crate::exit::Failure;
use crate::output::Output;
use mxray_model::Unseen;
use mxray_model::evidence::Lookup;
use mxray_model::evidence::published::{SpfResult, SpfVerdict};
use mxray_net::{Evaluations, unicode_name};
use mxray_render::{Options, Piece, Screen, Style};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/spf/1";

/// An evaluation, and whether it is one: with a resolver of ours that does not answer it is not.
pub struct Answer {
    pub verdict: SpfVerdict,
    pub lookups: Vec<Lookup>,
    pub unseen: Vec<Unseen>,
}

impl Answer {
    pub fn is_answered(&self) -> bool {
        self.verdict.result != SpfResult::TempError || self.unseen.is_empty()
    }
}

/// Whether it was answered.
pub fn run(
    wanted: &Wanted,
    evaluations: &Evaluations,
    format: ListFormat,
    output: &mut Output,
) -> Result<bool, Failure> {
    let answer = evaluate(wanted, evaluations)?;
    match format {
        ListFormat::Json => output.emit(|out| {
            serde_json::to_writer(&mut *out, &json(wanted, &answer))?;
            out.write_all(b"\n")
        })?,
        ListFormat::Text => {
            let options = output.options();
            output.emit(|out| text(wanted, &answer, &options, out))?;
        }
    }
    Ok(answer.is_answered())
}

pub fn evaluate(wanted: &Wanted, evaluations: &Evaluations) -> Result<Answer, Failure> {
    let evaluated = evaluations
        .run(wanted.query(jiff::Timestamp::now().as_second()))
        .map_err(|blind| Failure::Unanswered(blind.why()))?;
    let lookups: Vec<Lookup> = evaluated.answers.lookups().cloned().collect();
    let unseen = not_told(&lookups);
    Ok(Answer { verdict: evaluated.outcome, lookups, unseen })
}

pub fn json(wanted: &Wanted, answer: &Answer) -> Value {
    let verdict = &answer.verdict;
    json!({
        "schema": SCHEMA,
        "result": verdict.result,
        "reason": verdict.reason,
        "explanation": verdict.explanation,
        "domain": verdict.domain,
        "domain_unicode": unicode_name(&verdict.domain),
        "identity": wanted.identity(),
        "scope": wanted.scope,
        "ip": wanted.ip.to_canonical().to_string(),
        "helo": mxray_model::text::untrusted(wanted.helo.as_bytes()),
        "answered": answer.is_answered(),
        "lookups": verdict.lookups,
        "voids": verdict.voids,
        "ledger": verdict.ledger,
        "dns": answer.lookups,
        "unseen": answer.unseen,
    })
}

fn text(wanted: &Wanted, answer: &Answer, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    head(wanted, answer, &mut screen)?;
    screen.blank()?;
    ledger::write(&answer.verdict, &mut screen)?;
    unseen(&answer.unseen, &mut screen)
}

/// What it came to, for whom, and why.
pub fn head(wanted: &Wanted, answer: &Answer, screen: &mut Screen<'_>) -> io::Result<()> {
    let verdict = &answer.verdict;
    let what = format!("SPF of {} for {}:", both_forms(&verdict.domain), wanted.ip.to_canonical());
    screen.prose("", &[Piece::new(Style::Bold, &what), Piece::new(style(verdict.result), verdict.result.as_str())])?;
    let identity = format!("{} ({}), HELO {}", wanted.identity(), wanted.scope.as_str(), wanted.helo);
    screen.prose("  identity  ", &[Piece::plain(&identity)])?;
    if let Some(name) = wanted.passed_over.as_ref().filter(|name| !name.eq_ignore_ascii_case(&verdict.domain)) {
        let text = format!("{} was not evaluated: {} comes first", both_forms(name), wanted.scope.as_str());
        screen.prose("  note      ", &[Piece::new(Style::Caution, &text)])?;
    }
    screen.prose("  because   ", &[Piece::plain(&verdict.reason)])?;
    if let Some(explanation) = &verdict.explanation {
        screen.prose("  it says   ", &[Piece::plain(explanation)])?;
    }
    let counts = format!("{} of 10 lookups, {} of 2 without an answer", verdict.lookups, verdict.voids);
    screen.prose("  counted   ", &[Piece::plain(&counts)])?;
    if !answer.is_answered() {
        let text = "this says nothing of the domain: our own name server did not tell";
        screen.prose("  unknown   ", &[Piece::new(Style::Caution, text)])?;
    }
    Ok(())
}

pub fn unseen(unseen: &[Unseen], screen: &mut Screen<'_>) -> io::Result<()> {
    for one in unseen {
        let text = format!("{}: {}; needs {}", one.what, one.why, one.needs);
        screen.prose("not seen: ", &[Piece::new(Style::Faint, &text)])?;
    }
    Ok(())
}

pub fn style(result: SpfResult) -> Style {
    match result {
        SpfResult::Pass => Style::Calm,
        SpfResult::Fail | SpfResult::PermError => Style::Alarm,
        SpfResult::SoftFail | SpfResult::TempError => Style::Caution,
        SpfResult::None | SpfResult::Neutral => Style::Plain,
    }
}
