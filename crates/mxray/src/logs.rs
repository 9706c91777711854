//! `mxray logs`: what happened, by the logs of mail servers.
//!
//! Here stands what may be asked and in which order it is done; `show.rs` makes tables of the answer, `story.rs` tells the life of
//! one mail. What must not live here: reading (`mxray-engine`), grammars and sums (`mxray-logs`), any judgement.

mod compare;
mod follow;
mod here;
mod meter;
mod prometheus;
mod show;
mod stop;
mod story;
mod when;

use crate::config::Config;
use crate::config::parse::{self, FailOn};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::{Output, say};
use crate::replies::Replies;
use clap::ValueEnum;
use mxray_engine::maillog::{Ended, Reading, Source, read};
use mxray_host::maillog::{Found, find};
use mxray_logs::{Analysis, Options, Selection, Stamp, Summary};
use mxray_mail::causes::Rules;
use mxray_model::Unseen;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mxray logs
      the logs of the mail software of this host, rotated ones too
  mxray logs --since yesterday
  mxray logs /var/log/mail.log* --since 2026-03-01 --until 2026-03-08
      in the order of time, whatever the files' names; .gz .bz2 .xz .zst too
  mxray logs --to user@example.org --since 24h
      the life of each mail to an address, line by line
  journalctl -o json --since -1h | mxray logs -
  mxray logs --follow
      go on with what is written, across rotation
  mxray logs --compare before.log after.log
  mxray logs /srv/logs --format json | jq '.causes[:5]'
  mxray logs --format prometheus >/var/lib/node_exporter/mail.prom
";

/// Formats of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person at a terminal
    Text,
    /// For a program (schema mxray/logs/1); with --follow one object a line
    Json,
    /// For a ticket
    Markdown,
    /// One self-contained page
    Html,
    /// Totals in Prometheus' text format
    Prometheus,
}

/// What happened, by the logs of mail servers: rates, causes, receivers, lives of messages.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LogsArgs {
    /// Log files, patterns, directories (their files), or - for standard input [default: the logs of the mail software found here]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Read systemd's journal, too
    #[arg(long)]
    pub journal: bool,

    /// Leave out what is older: 2026-03-01, 2026-03-01T10:00:00Z, 90m, 24h, 7d, yesterday, today
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Leave out what is younger
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Tell the life of the mail with this Message-ID
    #[arg(long, value_name = "ID", group = "selection")]
    pub message: Option<String>,

    /// Tell the lives of mails to this address
    #[arg(long, value_name = "ADDR", group = "selection")]
    pub to: Option<String>,

    /// Tell the lives of mails of this sender
    #[arg(long, value_name = "ADDR", group = "selection")]
    pub from: Option<String>,

    /// Tell the life of the mail with this queue id
    #[arg(long, value_name = "ID", group = "selection")]
    pub queue_id: Option<String>,

    /// Go on with what is written, until Ctrl-C
    #[arg(short, long, conflicts_with = "compare")]
    pub follow: bool,

    /// With --follow: say how it stands every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline, default_value = "10", requires = "follow")]
    pub interval: Duration,

    /// What is different in B: two files, patterns or directories
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["files", "journal", "selection"])]
    pub compare: Vec<PathBuf>,

    /// Rules of your own for what replies mean, before those of `[replies] rules` and the built-in ones; may be repeated
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,

    /// Rows of each table in text, Markdown and HTML
    #[arg(long, value_name = "ROWS", default_value_t = 10)]
    pub top: usize,

    /// Exit with 1 when a finding is at least this severe: critical, error, warning, notice, info, or never [default: error]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on)]
    pub fail_on: Option<FailOn>,

    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<Format>,

    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

/// What is asked, resolved.
pub struct Asked {
    pub since: Option<Stamp>,
    pub until: Option<Stamp>,
    pub selection: Option<Selection>,
    pub rules: Arc<Rules>,
    pub stop: Arc<AtomicBool>,
}

impl Asked {
    fn analysis(&self) -> Analysis {
        let options =
            Options { since: self.since, until: self.until, selection: self.selection.clone(), ..Options::default() };
        Analysis::new(Arc::clone(&self.rules), options)
    }

    /// Reads sources to their ends, with a line that says how far it is.
    fn read(&self, sources: Vec<Source>, analysis: &mut Analysis) -> Ended {
        let mut meter = meter::Meter::start();
        let mut progress = |progress| meter.show(progress);
        let reading = Reading {
            since: self.since,
            until: self.until,
            tail_bytes: None,
            deadline: None,
            stop: &self.stop,
            progress: &mut progress,
        };
        read(sources, analysis, reading)
    }
}

/// An answer: the sums, and what they were made of.
pub struct Answer {
    pub summary: Summary,
    pub ended: Ended,
}

/// Reads and prints. 1: a finding reaches `--fail-on`; 2: nothing could be read.
pub fn run(
    args: &LogsArgs,
    format: Format,
    config: &Config,
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let now = jiff::Zoned::now();
    let time = |text: &Option<String>| {
        let read = |text: &String| when::parse(text, &now).map_err(Failure::Usage);
        text.as_ref().map(read).transpose()
    };
    let replies = Replies::read(&args.rules, config)?;
    replies.tell();
    let asked = Asked {
        since: time(&args.since)?,
        until: time(&args.until)?,
        selection: selection(args),
        rules: Arc::clone(replies.rules()),
        stop: stop::on_interrupt(),
    };
    let level = match args.fail_on {
        Some(FailOn(level)) => level,
        None => environment.fail_on().map_err(Failure::Usage)?.unwrap_or(Some(mxray_model::Severity::Error)),
    };
    if let [before, after] = args.compare.as_slice() {
        return compare::run(&asked, (before, after), format, args.top, output);
    }
    let (sources, streams, unseen) = sources(args, &asked);
    let any = !sources.is_empty();
    let mut analysis = asked.analysis();
    let mut ended = asked.read(sources, &mut analysis);
    ended.unseen.extend(unseen);
    if args.follow {
        for stream in streams {
            let added = ended.followed.add_stream(stream);
            added.map_err(|error| Failure::Unanswered(format!("logs: start a thread: {error}")))?;
        }
        return follow::run(args, (&asked, replies), analysis, ended, format, output);
    }
    // A log that was read and says nothing of the window is an answer.
    if analysis.lines().read == 0 && (!any || !ended.unseen.is_empty()) {
        return Err(unanswered(&ended.unseen));
    }
    ended.unseen.extend(replies.unseen());
    if asked.selection.is_some() {
        return story::run(&analysis, &ended.unseen, format, output);
    }
    let mut answer = Answer { summary: analysis.into_summary(), ended };
    let findings = judge(&mut answer);
    print(&answer, &findings, format, args.top, output)?;
    let reaches = |severity: mxray_model::Severity| level.is_some_and(|level| severity >= level);
    Ok(if findings.iter().any(|finding| reaches(finding.severity)) { exit::FINDING } else { exit::OK })
}

/// What could not be read goes into the answer, and so do the findings.
pub fn judge(answer: &mut Answer) -> Vec<mxray_model::Finding> {
    let unseen = answer.ended.unseen.iter().map(|unseen| mxray_logs::LogUnseen {
        what: unseen.what.clone(),
        why: unseen.why.clone(),
        needs: unseen.needs.clone(),
    });
    answer.summary.unseen.extend(unseen);
    let (findings, unseen) = mxray_engine::logs::findings(&answer.summary);
    answer.summary.findings = findings.iter().filter_map(|finding| serde_json::to_value(finding).ok()).collect();
    answer.summary.unseen.extend(unseen.into_iter().map(|unseen| mxray_logs::LogUnseen {
        what: unseen.what,
        why: unseen.why,
        needs: unseen.needs,
    }));
    findings
}

pub fn print(
    answer: &Answer,
    findings: &[mxray_model::Finding],
    format: Format,
    top: usize,
    output: &mut Output,
) -> Result<(), Failure> {
    let options = output.options();
    output.emit(|out| match format {
        Format::Json => mxray_render::write_json(&answer.summary, out),
        Format::Prometheus => prometheus::write(&answer.summary, out),
        Format::Text | Format::Markdown | Format::Html => {
            let document = show::document(answer, findings, top, options.verbose);
            mxray_render::render_document(&document, rendered(format), &options, out)
        }
    })?;
    Ok(())
}

pub fn rendered(format: Format) -> mxray_render::Format {
    match format {
        Format::Markdown => mxray_render::Format::Markdown,
        Format::Html => mxray_render::Format::Html,
        Format::Text | Format::Json | Format::Prometheus => mxray_render::Format::Text,
    }
}

/// Nothing could be read: what stood in the way, and what would help.
pub fn unanswered(unseen: &[Unseen]) -> Failure {
    let mut text = "logs: no line could be read".to_owned();
    for unseen in unseen {
        text.push_str(&format!("\n  {}: {}", unseen.what, unseen.why));
        if !unseen.needs.is_empty() {
            text.push_str(&format!("; needs {}", unseen.needs));
        }
    }
    Failure::Unanswered(text)
}

fn selection(args: &LogsArgs) -> Option<Selection> {
    let bytes = |text: &String| text.trim().as_bytes().to_vec();
    let address = |text: &String| text.trim().trim_start_matches('<').trim_end_matches('>').as_bytes().to_vec();
    let by_message = args.message.as_ref().map(|id| Selection::MessageId(bytes(id)));
    let by_recipient = args.to.as_ref().map(|to| Selection::To(address(to)));
    let by_sender = args.from.as_ref().map(|from| Selection::From(address(from)));
    by_message.or(by_recipient).or(by_sender).or(args.queue_id.as_ref().map(|id| Selection::QueueId(bytes(id))))
}

/// What is read; what has no end (with `--follow`); and what cannot be read.
fn sources(args: &LogsArgs, asked: &Asked) -> (Vec<Source>, Vec<Source>, Vec<Unseen>) {
    let (streams, files): (Vec<&PathBuf>, Vec<&PathBuf>) = args.files.iter().partition(|path| path.as_os_str() == "-");
    let files: Vec<PathBuf> = files.into_iter().cloned().collect();
    let mut open: Vec<Source> = Vec::new();
    if !streams.is_empty() {
        let stream = mxray_host::maillog::unpacked_stream(std::io::stdin());
        open.push(Source::Stream { name: "standard input".to_owned(), stream: Box::new(stream) });
    }
    let Found { files, mut unseen, .. } = if args.files.is_empty() && !args.journal {
        let (found, journal) = here::found(asked, args.follow);
        open.extend(journal);
        found
    } else {
        find(&files)
    };
    if args.journal {
        match here::journal(asked, args.follow) {
            Ok(journal) => open.push(journal),
            Err(blind) => unseen.push(blind),
        }
    }
    for blind in &unseen {
        say(&format!("mxray: {}: {}{}", blind.what, blind.why, needs(&blind.needs)));
    }
    let mut sources: Vec<Source> = files.into_iter().map(Source::File).collect();
    if args.follow {
        return (sources, open, unseen);
    }
    sources.extend(open);
    (sources, Vec::new(), unseen)
}

fn needs(needs: &str) -> String {
    if needs.is_empty() { String::new() } else { format!("; needs {needs}") }
}
