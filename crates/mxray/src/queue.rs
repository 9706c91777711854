//! `mxray queue`: what waits in the queues of this host's mail servers, why, since when, and when it is tried next.
//!
//! `show.rs` prints. What must not live here: reading queues (`mxray-host`), adding them up (`mxray-engine`), any judgement.

mod show;

use crate::cli::{ListFormat, ListFormatArgs};
use crate::config::Config;
use crate::exit::{self, Failure};
use crate::output::{Output, Terminal, say};
use crate::replies::Replies;
use crate::{counters, watch};
use mxray_engine::told;
use mxray_host::mta::readers;
use mxray_host::programs::Programs;
use mxray_mail::causes::Rules;
use mxray_model::evidence::{Queue, Server};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen, Unseen};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For one look: configurations first, which takes a tenth of a second, then the queues.
const PATIENCE: Duration = Duration::from_secs(10);
const WATCH_EVERY: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  mxray queue
      what waits: by cause, by destination with ages, by sender; when it is tried next
  mxray queue --interval 60s
      two looks: what came and what went in between
  mxray queue --watch
      again and again, until q
  mxray queue --instance postfix-out
  mxray queue --json | jq '.rows[] | select(.by == \"cause\")'

Postfix's own listing is asked (postqueue -j), which every user may; the queues of Exim and
OpenSMTPD are read as files, which needs root.
";

/// What waits in the mail queue: by cause, destination, age and sender.
///
/// Replaces postqueue, mailq and qshape. Ages are columns that double, as qshape has them. Nothing is changed. With --watch,
/// rules of your own are read again when their file changes.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct QueueArgs {
    /// Look twice, so long apart, and say what came and went: 10s, 2m; a bare number means seconds; with --watch the time
    /// between two looks [default with --watch: 5s]
    #[arg(long, short, value_name = "TIME", value_parser = counters::interval)]
    pub interval: Option<Duration>,
    /// Again after each interval, until Ctrl-C or q
    #[arg(long, short)]
    pub watch: bool,
    /// Only this mail server instance, by its name
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Rules of your own for what replies mean, before those of `[replies] rules` and the built-in ones; may be repeated
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Rows of each table [default: 10]
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    #[command(flatten)]
    pub output: ListFormatArgs,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Look {
    pub queues: BTreeMap<String, (String, Seen<Queue>)>,
    pub unseen: Vec<Unseen>,
}

impl Look {
    /// At the queues of all servers that are meant to run here.
    fn now(only: Option<&str>, rules: &Rules) -> Result<Look, Blind> {
        let programs = Programs::new(Instant::now() + PATIENCE);
        let look = Look::with(&programs, only, rules);
        programs.end();
        look
    }

    fn with(programs: &Programs, only: Option<&str>, rules: &Rules) -> Result<Look, Blind> {
        let until = Instant::now() + PATIENCE;
        let mut look = Look::default();
        let mut servers: BTreeMap<String, Server> = BTreeMap::new();
        for reader in readers() {
            match reader.servers(programs) {
                Seen::Value(found) => servers.extend(found),
                Seen::Absent => {}
                Seen::Unknown(blind) => look.unseen.push(Unseen {
                    what: format!("the queue of {}", reader.software()),
                    why: blind.why(),
                    needs: blind.needs(),
                }),
            }
        }
        servers.retain(|name, server| only.map_or(server.enabled, |only| only == name));
        for (name, server) in &servers {
            let queue = told::read_queue(server, programs, rules, until);
            match &queue {
                // Dovecot has none.
                Seen::Absent => continue,
                Seen::Unknown(blind) => look.unseen.push(Unseen {
                    what: format!("the queue of {name}"),
                    why: blind.why(),
                    needs: blind.needs(),
                }),
                Seen::Value(queue) => look.remarks(name, queue),
            }
            look.queues.insert(name.clone(), (server.software.clone(), queue));
        }
        if look.queues.is_empty() && look.unseen.is_empty() {
            let why = match only {
                Some(only) => format!("no mail server {} with a queue is configured here", untrusted(only.as_bytes())),
                None => "no mail server with a queue that mxray reads (Postfix, Exim, OpenSMTPD) is configured here"
                    .to_owned(),
            };
            return Err(Blind::NotAttempted { why });
        }
        Ok(look)
    }

    fn remarks(&mut self, name: &str, queue: &Queue) {
        let mut say = |what: String, why: String, needs: &str| {
            self.unseen.push(Unseen { what, why, needs: needs.to_owned() });
        };
        if let Seen::Value(count) = &queue.truncated_at {
            say(
                format!("the rest of the queue of {name}"),
                format!("{count} messages were read, and there are more"),
                "",
            );
        }
        if queue.not_understood > 0 {
            let why = format!("{} files or lines could not be read or understood", queue.not_understood);
            say(format!("parts of the queue of {name}"), why, "a second look: what is delivered meanwhile is gone");
        }
    }

    fn all_blind(&self) -> bool {
        self.queues.values().all(|(_, queue)| queue.value().is_none())
    }
}

/// Looks and prints. 0; 2 where no queue could be looked at.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(
    args: &QueueArgs,
    format: ListFormat,
    config: &Config,
    terminal: Option<Terminal>,
    output: &mut Output,
) -> Result<u8, Failure> {
    let mut picture = Picture {
        instance: args.instance.clone(),
        replies: Replies::read(&args.rules, config)?,
        top: args.top,
        format,
        options: output.options(),
        before: None,
        look: Look::default(),
    };
    if args.watch {
        return Ok(watch::run(picture, args.interval.unwrap_or(WATCH_EVERY), terminal, output)?);
    }
    let mut looked = watch::Picture::look(&mut picture);
    if let (Ok(()), Some(interval)) = (&looked, args.interval) {
        std::thread::sleep(interval);
        looked = watch::Picture::look(&mut picture);
    }
    if let Err(blind) = looked {
        say(&format!("mxray queue: {}", blind.why()));
        return Ok(exit::UNANSWERED);
    }
    let mut buffer = Vec::new();
    watch::Picture::draw(&picture, false, &mut buffer)?;
    output.emit(|out| out.write_all(&buffer))?;
    if format == ListFormat::Text {
        for unseen in &picture.look.unseen {
            let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
            say(&format!("not seen: {}: {}{needs}", unseen.what, unseen.why));
        }
    }
    Ok(if picture.look.all_blind() { exit::UNANSWERED } else { exit::OK })
}

/// What is drawn, once or again and again.
struct Picture {
    instance: Option<String>,
    replies: Replies,
    top: usize,
    format: ListFormat,
    options: mxray_render::Options,
    before: Option<Look>,
    look: Look,
}

impl watch::Picture for Picture {
    const COMMAND: &'static str = "queue";

    fn look(&mut self) -> Result<(), Blind> {
        // On a screen there is no place to say it but among what was not seen.
        let stale = self.replies.changed().err();
        let mut now = Look::now(self.instance.as_deref(), self.replies.rules())?;
        now.unseen.extend(self.replies.unseen());
        let what = "changes of the rules for replies".to_owned();
        now.unseen.extend(stale.map(|why| Unseen { what, why, needs: String::new() }));
        let last = std::mem::replace(&mut self.look, now);
        // Before the first look there is nothing.
        self.before = (!last.queues.is_empty()).then_some(last);
        Ok(())
    }

    fn draw(&self, screen: bool, out: &mut Vec<u8>) -> io::Result<()> {
        let before = self.before.as_ref();
        match self.format {
            ListFormat::Json => show::json(&self.look, before, out),
            ListFormat::Text => {
                show::text(&self.look, before, self.top, &self.options, out)?;
                if screen {
                    for unseen in &self.look.unseen {
                        io::Write::write_all(out, format!("not seen: {}: {}\n", unseen.what, unseen.why).as_bytes())?;
                    }
                }
                Ok(())
            }
        }
    }
}
