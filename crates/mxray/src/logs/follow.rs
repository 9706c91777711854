//! `--follow`: what is new is told as it comes, how it stands every so often.
//!
//! What must not live here: how a file goes on (`mxray-engine`).

use super::{Answer, Asked, Format, LogsArgs, judge, print, story};
use crate::exit::{self, Failure};
use crate::output::{Output, say};
use crate::replies::Replies;
use mxray_engine::maillog::{Ended, Followed};
use mxray_logs::{Analysis, Stamp, Summary};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often files are looked at where nothing says that they grew, and whether it is to end.
const LOOK: Duration = Duration::from_millis(250);

pub fn run(
    args: &LogsArgs,
    (asked, mut replies): (&Asked, Replies),
    mut analysis: Analysis,
    mut ended: Ended,
    format: Format,
    output: &mut Output,
) -> Result<u8, Failure> {
    let mut followed = std::mem::take(&mut ended.followed);
    followed.leave_rotated();
    followed.search(&args.files);
    if followed.is_empty() {
        return Err(super::unanswered(&ended.unseen));
    }
    say(&format!("mxray: {} lines read; Ctrl-C ends with the whole answer", analysis.lines().read));
    let mut teller = Teller { known: BTreeSet::new(), told: 0, format };
    let outcome = teller.follow(args, (asked, &mut replies), &mut analysis, &mut followed, output);
    if let Err(error) = outcome {
        return Err(Failure::Output(error));
    }
    ended.unseen.extend(replies.unseen());
    if asked.selection.is_some() {
        return story::run(&analysis, &ended.unseen, format, output);
    }
    let mut answer = Answer { summary: analysis.into_summary(), ended };
    let findings = judge(&mut answer);
    if format != Format::Json {
        print(&answer, &findings, format, args.top, output)?;
    } else {
        output.emit(|out| mxray_render::write_json_line(&answer.summary, out))?;
    }
    Ok(exit::OK)
}

/// What was counted stays; what comes is judged by the new rules.
fn use_if_changed(replies: &mut Replies, analysis: &mut Analysis) {
    match replies.changed() {
        Ok(false) => {}
        Ok(true) => {
            analysis.use_rules(Arc::clone(replies.rules()));
            say("mxray: rules: changed, and read again");
            replies.tell();
        }
        Err(why) => say(&format!("mxray: rules: {why}")),
    }
}

struct Teller {
    /// Causes that were told, each with its receiver.
    known: BTreeSet<(&'static str, String)>,
    /// Lines of lives that were told.
    told: usize,
    format: Format,
}

impl Teller {
    fn follow(
        &mut self,
        args: &LogsArgs,
        (asked, replies): (&Asked, &mut Replies),
        analysis: &mut Analysis,
        followed: &mut Followed,
        output: &mut Output,
    ) -> io::Result<()> {
        let mut next = Instant::now() + args.interval;
        let mut changed = false;
        self.known = causes(&analysis.summary());
        while !asked.stop.load(Ordering::Relaxed) && !followed.is_empty() {
            let lines = followed.look(analysis, (asked.since, asked.until));
            changed |= lines > 0;
            if asked.selection.is_some() && lines > 0 {
                self.tell_lives(analysis, output)?;
            }
            if changed && Instant::now() >= next {
                if asked.selection.is_none() {
                    self.tell(&analysis.summary(), output)?;
                }
                next = Instant::now() + args.interval;
                changed = false;
            }
            use_if_changed(replies, analysis);
            if lines == 0 {
                followed.wait(LOOK);
            }
        }
        Ok(())
    }

    /// How it stands, and what failed for the first time.
    fn tell(&mut self, summary: &Summary, output: &mut Output) -> io::Result<()> {
        match self.format {
            Format::Json => return output.emit_or_stop(|out| mxray_render::write_json_line(summary, out)),
            Format::Text => {}
            _ => return Ok(()),
        }
        let fresh: Vec<String> = summary
            .causes
            .iter()
            .filter(|cause| !self.known.contains(&(cause.cause, cause.receiver.clone())))
            .map(|cause| format!("  new: {} at {}: {}", cause.cause, cause.receiver, cause.sample))
            .collect();
        self.known.extend(causes(summary));
        let line = format!(
            "{}  received {}  sent {}  deferred {}  bounced {}  refused {}  in the queue {}",
            summary.window.last.as_deref().unwrap_or("-"),
            summary.messages.received,
            summary.attempts.sent,
            summary.attempts.deferred,
            summary.attempts.bounced,
            summary.rejects.total,
            summary.messages.alive
        );
        output.emit_or_stop(|out| {
            writeln!(out, "{line}")?;
            fresh.iter().try_for_each(|fresh| writeln!(out, "{}", mxray_render::printable(fresh)))
        })
    }

    /// Lines of the lives that are looked for, as they come.
    fn tell_lives(&mut self, analysis: &Analysis, output: &mut Output) -> io::Result<()> {
        if self.format != Format::Text {
            return Ok(());
        }
        let (stories, _) = analysis.stories();
        let mut lines: Vec<(Option<Stamp>, &String)> =
            stories.iter().flat_map(|story| story.lines.iter().map(|(at, text)| (*at, text))).collect();
        lines.sort_by_key(|(at, _)| *at);
        let fresh: Vec<&String> = lines.iter().skip(self.told).map(|(_, text)| *text).collect();
        self.told = lines.len();
        output.emit_or_stop(|out| fresh.iter().try_for_each(|text| writeln!(out, "{}", mxray_render::printable(text))))
    }
}

fn causes(summary: &Summary) -> BTreeSet<(&'static str, String)> {
    summary.causes.iter().map(|cause| (cause.cause, cause.receiver.clone())).collect()
}
