//! The life of one mail, line by line: when, what, and how long after the line before.
//!
//! What must not live here: which lines belong to it (`mxray-logs`).

use super::{Format, rendered};
use crate::exit::{self, Failure};
use crate::output::Output;
use mxray_logs::{Analysis, Stamp, Story};
use mxray_model::Unseen;
use mxray_render::{Block, Document, Section};
use serde::Serialize;

const SCHEMA: &str = "mxray/logs-lives/1";

#[derive(Serialize)]
struct Lives<'a> {
    schema: &'static str,
    lives: Vec<Life<'a>>,
    /// Further ones that match.
    left_out: u64,
    unseen: &'a [Unseen],
}

#[derive(Serialize)]
struct Life<'a> {
    queue_id: &'a str,
    host: &'a str,
    instance: &'a str,
    sender: &'a str,
    message_id: &'a str,
    lines: Vec<LifeLine<'a>>,
    /// Lines of it that were not kept.
    lines_left_out: u64,
}

#[derive(Serialize)]
struct LifeLine<'a> {
    at: Option<String>,
    text: &'a str,
}

/// 2: nothing in the logs is what was asked for.
pub fn run(analysis: &Analysis, unseen: &[Unseen], format: Format, output: &mut Output) -> Result<u8, Failure> {
    let (stories, left_out) = analysis.stories();
    let options = output.options();
    let none = stories.is_empty();
    output.emit(|out| match format {
        Format::Json => {
            let lives = stories.iter().map(life).collect();
            mxray_render::write_json(&Lives { schema: SCHEMA, lives, left_out, unseen }, out)
        }
        _ => {
            let document = document(&stories, left_out, analysis.lines().read, unseen);
            mxray_render::render_document(&document, rendered(format), &options, out)
        }
    })?;
    Ok(if none { exit::UNANSWERED } else { exit::OK })
}

fn life(story: &Story) -> Life<'_> {
    Life {
        queue_id: &story.queue_id,
        host: &story.host,
        instance: &story.instance,
        sender: &story.sender,
        message_id: &story.message_id,
        lines: story.lines.iter().map(|(at, text)| LifeLine { at: at.map(Stamp::rfc3339), text }).collect(),
        lines_left_out: story.lines_left_out,
    }
}

fn document(stories: &[Story], left_out: u64, lines: u64, unseen: &[Unseen]) -> Document {
    let mut sections: Vec<Section> = stories.iter().map(section).collect();
    let mut rest = Vec::new();
    if left_out > 0 {
        rest.push(format!("{left_out} more lives match: ask more narrowly"));
    }
    let lines_left_out: u64 = stories.iter().map(|story| story.lines_left_out).sum();
    if lines_left_out > 0 {
        rest.push(format!(
            "{lines_left_out} lines of these lives were not kept, for the memory's bound: ask for a shorter window"
        ));
    }
    rest.extend(unseen.iter().map(|unseen| format!("{}: {}", unseen.what, unseen.why)));
    if !rest.is_empty() {
        sections.push(Section { title: "Not seen".to_owned(), blocks: vec![Block::Items(rest)] });
    }
    let title = match stories.len() {
        0 => format!("Nothing in {lines} lines is what was asked for"),
        1 => "One mail".to_owned(),
        many => format!("{many} mails"),
    };
    Document { title, sections }
}

fn section(story: &Story) -> Section {
    let sender = if story.sender.is_empty() { "<>" } else { &story.sender };
    let id = if story.message_id.is_empty() { String::new() } else { format!(", Message-ID {}", story.message_id) };
    let place = format!("{} {}", story.host, story.instance);
    let mut last = None;
    let told = story.lines.iter().map(|(at, text)| {
        let at = at.or(last);
        let since = at.zip(last).map(|(at, last): (Stamp, Stamp)| at.0 - last.0);
        last = at;
        format!(
            "{}{:>9}  {}",
            at.map(Stamp::rfc3339).unwrap_or_default(),
            since.map(gap).unwrap_or_default(),
            said(text)
        )
    });
    let title = format!("{} on {}: from {sender}{id}", story.queue_id, place.trim());
    Section { title, blocks: vec![Block::Quoted(told.collect())] }
}

/// A step of time as short as it can be read.
fn gap(micros: i64) -> String {
    match micros / 1_000_000 {
        i64::MIN..1 => String::new(),
        seconds @ 1..120 => format!("+{seconds} s"),
        seconds @ 120..7_200 => format!("+{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("+{} h", seconds / 3_600),
        seconds => format!("+{} d", seconds / 86_400),
    }
}

/// The line without its frame: the stamp stands in front, host and queue id in the heading.
fn said(text: &str) -> &str {
    match text.split_once("]: ") {
        Some((head, rest)) if head.len() < 120 && !head.contains('=') => {
            let tag = head.rfind(' ').map_or(0, |at| at + 1);
            if rest.is_empty() { text } else { &text[tag..] }
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_frames_and_steps_are_short() {
        assert_eq!(said("May  1 10:00:00 mx postfix/smtp[7]: A: to=<a@b>"), "postfix/smtp[7]: A: to=<a@b>");
        assert_eq!(said("2025-05-01 10:00:00 1jmFYj-00039V-QX => a@b"), "2025-05-01 10:00:00 1jmFYj-00039V-QX => a@b");
        let gaps = [0, 59, 600, 86_400, 900_000].map(|seconds| gap(seconds * 1_000_000));
        assert_eq!(gaps, ["", "+59 s", "+10 min", "+24 h", "+10 d"]);
    }
}
