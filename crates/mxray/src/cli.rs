//! The grammar: what can be typed. One definition feeds help, completions, man pages and the reference.
//!
//! No meaning here: values are parsed into types, and every command's module decides what to do with them.

use crate::bounce::BounceArgs;
use crate::config::parse;
use crate::counters::CountersArgs;
use crate::domain::DomainArgs;
use crate::lists::ListsArgs;
use crate::logs::LogsArgs;
use crate::output::ColourWish;
use crate::ports::PortsCommand;
use crate::probe::ProbeArgs;
use crate::queue::QueueArgs;
use crate::reports::ReportsArgs;
use crate::routes::RoutesArgs;
use crate::send::SendArgs;
use crate::sockets::SocketsArgs;
use crate::talk::TalkArgs;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use mxray_sys::namespace::NetworkNamespace;
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "X-ray for mail servers: names why mail is not arriving, and the exact fix";

const EXIT_CODES: &str = "\
Exit codes:
  0   the question was answered, and no finding reaches --fail-on
  1   a finding reaches --fail-on (default: error);
      from `config check`: the configuration is invalid
  2   the main question could not be answered (verdict `unknown`)
  64  the command line or the configuration cannot be used;
      nothing was examined
  With --format nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

Environment:
  MXRAY_CONFIG, MXRAY_FORMAT, MXRAY_COLOR, MXRAY_DEADLINE, MXRAY_FAIL_ON
      stand for the options of these names; an option on the command line
      wins, and both win over the configuration
  NO_COLOR, CLICOLOR, CLICOLOR_FORCE
      are respected

Examples:
  mxray doctor
      why is mail not arriving?
  mxray doctor --format html >report.html
      the same, to attach or to print
  mxray explain SOCK101
      what a code means, and what to do
";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  mxray doctor
      examine this host: what stops mail, most damaging first, with the fix
  mxray doctor -v
      the same, with all evidence and everything that was ruled out
  mxray doctor user@example.org
      besides: what happens on the way to those who take this address's mail
  mxray doctor --json >case.json; mxray doctor --replay case.json
      keep a case, and look at it again elsewhere
  mxray doctor --diff
      the same, and what changed since the last run
  mxray doctor --history
      what was wrong on this host, since when and until when
  mxray doctor --note SOCK104 'raised the backlog'
      keep what was done beside it
  mxray doctor --format nagios --deadline 20
      as a check of Nagios, Icinga or Checkmk
  mxray doctor --fail-on warning || mail -s 'mail server' postmaster
      in a script
";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  mxray explain SOCK101
  mxray explain listener-missing
  mxray explain --list
  mxray explain --list --json
";

const PORTS_EXAMPLES: &str = "\
Examples:
  mxray ports explain 25
      would a packet from the Internet to port 25 pass, and which rule decides?
  mxray ports plan submission 587
      can it listen here, now and after the next start?
  mxray ports init --output mxray-ports.toml; mxray ports audit
      write down what listens, and be told when it changes
";

const CONFIG_EXAMPLES: &str = "\
Examples:
  mxray config sample >/etc/mxray/mxray.toml
      begin with a file that says what holds without one
  mxray config check
      is it right?
  mxray config show
      what is in effect, and where each setting comes from
";

const CHECK_EXAMPLES: &str = "\
Exit code 1: a file is invalid or cannot be read.

Examples:
  mxray config check
  mxray --config ./mxray.toml config check
";

const SHOW_EXAMPLES: &str = "\
Examples:
  mxray config show
  mxray config show --json
";

const SAMPLE_EXAMPLES: &str = "\
Examples:
  mxray config sample >/etc/mxray/mxray.toml
";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  mxray completions bash >/etc/bash_completion.d/mxray
  mxray completions zsh >/usr/local/share/zsh/site-functions/_mxray
  mxray completions fish >~/.config/fish/completions/mxray.fish
";

const MAN_EXAMPLES: &str = "\
Examples:
  mxray man | man -l -
  mxray man --dir /usr/local/share/man/man1
";

/// The whole command line, for whoever generates something from it.
pub fn command() -> clap::Command {
    Cli::command()
}

#[derive(Debug, Parser)]
#[command(name = "mxray", version, about = ABOUT, after_help = EXIT_CODES, subcommand_required = true)]
#[command(arg_required_else_help = true, infer_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration: a file, or a directory whose *.toml are read in the order of their names
    ///
    /// Instead of /etc/mxray/mxray.toml and $XDG_CONFIG_HOME/mxray/mxray.toml.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Look at another network namespace: a name of `ip netns`, or a process in it
    #[arg(long, global = true, value_name = "NAME|PID", value_parser = NetworkNamespace::parse)]
    pub netns: Option<NetworkNamespace>,

    /// Colours
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub color: Option<ColourWish>,

    /// Say everything: all evidence, what was ruled out
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Why is mail not arriving? Everything that bears on it, causes first
    Doctor(DoctorArgs),
    /// Connections and listeners with queues, state, unit and process
    Sockets(SocketsArgs),
    /// Routes, rules, neighbours, and what the kernel does with a destination
    Routes(RoutesArgs),
    /// Protocol counters as rates with meaning, and drops by listener
    Counters(CountersArgs),
    /// Mail services as a client meets them: session, TLS, logins, times, transcript
    Probe(Box<ProbeArgs>),
    /// Speak with a mail server by hand: TLS inline, times, codes explained, logins
    Talk(TalkArgs),
    /// Send a message, and say what each server said of each recipient
    Send(Box<SendArgs>),
    /// Who has which port: assignments, conflicts, packet filters
    #[command(subcommand, after_help = PORTS_EXAMPLES)]
    Ports(PortsCommand),
    /// What a domain publishes for mail, judged record by record as receivers do
    Domain(Box<DomainArgs>),
    /// Is an address or a domain on a blocklist, and is the list itself well?
    Lists(ListsArgs),
    /// What happened, by the logs: rates, causes, receivers, lives of messages
    Logs(Box<LogsArgs>),
    /// What waits: by cause, destination, age and sender, and when it is tried next
    Queue(QueueArgs),
    /// Bounces and complaints: who did not get it, why, and is the address gone?
    Bounce(BounceArgs),
    /// Reports of receivers (DMARC, TLS): who sends in our name, what fails, why
    Reports(ReportsArgs),
    /// What a finding's code means, why it matters, how to fix it and how to verify
    Explain(ExplainArgs),
    /// The configuration: check it, show what is in effect, print a sample
    #[command(subcommand, after_help = CONFIG_EXAMPLES)]
    Config(ConfigCommand),
    /// Completions for a shell, on standard output
    Completions(CompletionsArgs),
    /// Man pages
    Man(ManArgs),
}

/// Formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a person at a terminal
    Text,
    /// The report as a program reads it (schema mxray/report/1)
    Json,
    /// For a ticket
    Markdown,
    /// One self-contained page
    Html,
    /// A plugin's line, with the plugin's exit codes
    Nagios,
}

impl From<ReportFormat> for mxray_render::Format {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Text => mxray_render::Format::Text,
            ReportFormat::Json => mxray_render::Format::Json,
            ReportFormat::Markdown => mxray_render::Format::Markdown,
            ReportFormat::Html => mxray_render::Format::Html,
            ReportFormat::Nagios => mxray_render::Format::Nagios,
        }
    }
}

/// Formats of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For a person at a terminal
    Text,
    /// Rows for a program
    Json,
}

/// How a list is to be printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct ListFormatArgs {
    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<ListFormat>,
    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct DoctorArgs {
    /// Also look towards these: a domain or an address (those who take its mail), host:port, smtps://host
    ///
    /// Besides `[doctor] targets` of the configuration. A name alone is a domain.
    #[arg(value_name = "TARGET", conflicts_with = "replay")]
    pub targets: Vec<String>,

    /// Judge the evidence of a saved JSON report again, instead of looking at this machine; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,

    /// Connect to nothing: look at this machine alone
    ///
    /// Otherwise each own service is greeted as a client would, and quit; smarthosts and targets, too. No mail is begun.
    #[arg(long, conflicts_with = "replay")]
    pub no_sessions: bool,

    /// Do not keep this run; else the last 200 are kept where mxray has its state
    #[arg(long)]
    pub no_save: bool,

    /// Look at nothing: list the causes of the runs that are kept, with first seen, last seen, and gone since
    #[arg(long, conflicts_with_all = ["targets", "replay", "diff", "note", "no_save", "no_sessions"])]
    pub history: bool,

    /// Besides: what changed since the last run that is kept
    #[arg(long, conflicts_with_all = ["replay", "note"])]
    pub diff: bool,

    /// Look at nothing: note what was done about a finding; ID is its id, or its code
    #[arg(long, num_args = 2, value_names = ["ID", "TEXT"], conflicts_with_all = ["targets", "replay", "no_save", "no_sessions"])]
    pub note: Vec<String>,

    /// Rules of your own for what replies mean, before those of `[replies] rules` and the built-in ones; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "history", "note"])]
    pub rules: Vec<PathBuf>,

    /// Exit with 1 when a finding is at least this severe: critical, error, warning, notice, info, or never
    /// [default: error]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on)]
    pub fail_on: Option<parse::FailOn>,

    /// End the examination after this many seconds; what is missing then is reported as unseen [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub deadline: Option<Duration>,

    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<ReportFormat>,

    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct ExplainArgs {
    /// A code (SOCK101) or a name (listener-missing), in any case
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    pub code: Option<String>,
    /// List all codes
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub format: ListFormatArgs,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and say what is wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check,
    /// Every setting in effect, and where it comes from; secrets are not shown
    Show(ShowArgs),
    /// A commented file that says what holds without one
    #[command(after_help = SAMPLE_EXAMPLES)]
    Sample,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub struct ShowArgs {
    #[command(flatten)]
    pub format: ListFormatArgs,
}

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Write one page per command into this directory, instead of the main page to standard output
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }
}
