//! `mxray probe`: services examined from here, as a client meets them.
//!
//! `plan.rs` makes of what was typed who is to be connected to and how far; `work.rs` carries it out, many targets at a time,
//! and hands over what came of each service as it comes. What it means is the rules' business, how it looks the renderer's.

mod plan;
mod work;

use crate::config::Config;
use crate::config::parse::{self, FailOn};
use crate::doctor::code;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output::Output;
use crate::progress::Progress;
use clap::ValueEnum;
use mxray_engine::report_on;
use mxray_model::evidence::{Declared, Evidence, ExaminedEndpoint, Lookup};
use mxray_model::session::Depth;
use mxray_model::text::untrusted;
use mxray_model::{Question, Report};
use mxray_render::{nagios_status, render, write_json_line};
use serde::Serialize;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use work::Piece;

const EXAMPLES: &str = "\
Targets:
  mail.example.org              a host: 25, 465, 587, 2525, 143, 993, 110,
                                995 and 4190 side by side
  mail.example.org:587          one port, with the protocol that is usual there
  smtp+starttls://host:2526     one service; smtp, smtps, submission,
                                submissions, lmtp, imap, imaps, pop3, pop3s,
                                sieve; +starttls: nothing goes on without it
  mx:example.org                whoever takes the domain's mail
  user@example.org              the same, and at --depth rcpt this address

Examples:
  mxray probe mail.example.org
      what answers, what it offers, and whether it is well
  mxray probe -v smtp://mx.example.org
      the same with every line of the conversation
  mxray probe submission://mail.example.org --user anna
      log in; the password is asked for
  mxray probe mx:example.org --depth rcpt
      does it take postmaster's mail, and bounces? Nothing is sent.
  mxray probe --targets hosts.txt --concurrency 64 --format ndjson
      many, one line of JSON for each as it comes
  mxray probe imaps://mail.example.org --format nagios --deadline 10
      as a check of Nagios, Icinga or Checkmk

Nothing is handed over: a recipient is asked about and taken back with RSET.
";

/// Examine mail services from here: session, TLS, logins, timings, transcript.
///
/// Replaces telnet, testssl.sh and SMTP test pages for "does this server work, and what is wrong with it?".
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ProbeArgs {
    /// Hosts, host:port, smtp+starttls://host:port, mx:DOMAIN, user@DOMAIN
    #[arg(value_name = "TARGET", required_unless_present = "targets_file")]
    pub targets: Vec<String>,

    /// Targets from a file as well, one a line; `-` reads standard input
    #[arg(long = "targets", value_name = "FILE")]
    pub targets_file: Option<PathBuf>,

    /// How far to go [default: tls; auth with --user; rcpt with --from or --to]
    #[arg(long, value_enum, value_name = "STEP")]
    pub depth: Option<Step>,

    /// Log in as this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Where its password is: env:NAME or file:/path. Without it, it is asked for
    // Not parsed here: a complaint of clap's repeats what was typed.
    #[arg(long, value_name = "PLACE", requires = "user")]
    pub password: Option<String>,

    /// Mechanisms to log in with, the first that is offered wins, such as SCRAM-SHA-256,PLAIN or XOAUTH2
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "user")]
    pub mechanism: Vec<String>,

    /// At depth rcpt: also ask with this sender, besides the null sender
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,

    /// At depth rcpt: also ask about this recipient, besides postmaster
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,

    /// What EHLO says [default: this host's name]
    #[arg(long, value_name = "NAME")]
    pub ehlo: Option<String>,

    /// Connect from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,

    /// IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// IPv6 only
    #[arg(short = '6', long = "ipv6")]
    pub ipv6: bool,

    /// Connect as this user of this host, so that rules which go by user hold; needs root
    #[arg(long = "as", value_name = "USER")]
    pub as_user: Option<String>,

    /// End each target's examination after this many seconds [default: 20; 340 with --deep; 400 with --retry]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub deadline: Option<Duration>,

    /// So many targets at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub concurrency: u16,

    /// Also: three paced connections for each address, all TLS versions and suites one by one, five minutes of patience
    /// for the greeting, and on any port whether TLS is required
    #[arg(long)]
    pub deep: bool,

    /// At depth rcpt, ask again after a pause where a recipient was put off (greylisting) [pauses: 60 and 300 seconds]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "", value_parser = retry)]
    pub retry: Option<Pauses>,

    /// Exit with 1 when a finding is at least this severe: critical, error, warning, notice, info, or never
    /// [default: error]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on)]
    pub fail_on: Option<FailOn>,

    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<Format>,

    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

/// Pauses before asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pauses(pub Vec<Duration>);

/// Greylisting waits for a minute or for five (RFC 6647 section 5).
const PAUSES: [u64; 2] = [60, 300];

fn retry(text: &str) -> Result<Pauses, String> {
    if text.is_empty() {
        return Ok(Pauses(PAUSES.iter().map(|seconds| Duration::from_secs(*seconds)).collect()));
    }
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(|seconds| Pauses(vec![Duration::from_secs(seconds)])).ok_or_else(|| "1 to 3600 seconds".to_owned())
}

/// How far a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// The connection alone
    Connect,
    /// The greeting
    Greeting,
    /// What is offered without TLS
    Ehlo,
    /// TLS, and what is offered behind it
    Tls,
    /// A login (--user)
    Auth,
    /// MAIL and RCPT, taken back with RSET
    Rcpt,
}

impl From<Step> for Depth {
    fn from(step: Step) -> Self {
        match step {
            Step::Connect => Depth::Connect,
            Step::Greeting => Depth::Greeting,
            Step::Ehlo => Depth::Ehlo,
            Step::Tls => Depth::Tls,
            Step::Auth => Depth::Auth,
            Step::Rcpt => Depth::Rcpt,
        }
    }
}

/// Formats of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person at a terminal
    Text,
    /// The report as a program reads it (schema mxray/report/1)
    Json,
    /// One line for each service as it comes (schema mxray/probe/1), the report without its evidence last
    Ndjson,
    /// For a ticket
    Markdown,
    /// One self-contained page
    Html,
    /// A plugin's line, with the plugin's exit codes
    Nagios,
}

/// One line of ndjson.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a ExaminedEndpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookup: Option<&'a Lookup>,
}

/// The name of the form of these lines.
const LINE_SCHEMA: &str = "mxray/probe/1";

/// Examines and reports; the code is as with doctor.
pub fn run(
    args: &ProbeArgs,
    format: Format,
    config: &Config,
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let plan = plan::plan(args, config, environment)?;
    let question = Question {
        command: "probe".to_owned(),
        targets: plan.targets.iter().map(|target| untrusted(target.text.as_bytes())).collect(),
    };
    let fail_on = args.fail_on.map_or(config.settings.doctor.fail_on, |level| level.0);
    let declared = Declared {
        public_prefixes: config.settings.network.public_prefixes.iter().map(ToString::to_string).collect(),
        ..Declared::default()
    };
    let mut written = Ok(());
    let mut report = report_on(question, || {
        let mut progress = Progress::start();
        let mut evidence = Evidence { declared, ..Evidence::default() };
        work::run(plan, &mut |piece, pending| {
            if format == Format::Ndjson && written.is_ok() {
                written = emit(&piece, output);
            }
            join(&mut evidence, piece);
            progress.pending(pending.iter().map(String::as_str));
            // Nobody reads any more: what is under way may end, and nothing new is begun.
            written.is_ok()
        });
        evidence
    });
    written?;
    if format == Format::Ndjson {
        // Its lines have told it.
        report.evidence = Evidence::default();
    }
    write(&report, format, output)?;
    if format == Format::Nagios {
        return Ok(nagios_status(&report));
    }
    Ok(code(&report, fail_on))
}

fn write(report: &Report, format: Format, output: &mut Output) -> Result<(), Failure> {
    let options = output.options();
    let format = match format {
        Format::Text => mxray_render::Format::Text,
        Format::Json => mxray_render::Format::Json,
        Format::Markdown => mxray_render::Format::Markdown,
        Format::Html => mxray_render::Format::Html,
        Format::Nagios => mxray_render::Format::Nagios,
        Format::Ndjson => return Ok(output.emit(|mut out| write_json_line(report, &mut out))?),
    };
    Ok(output.emit(|out| render(report, format, &options, out))?)
}

fn emit(piece: &Piece, output: &mut Output) -> Result<(), Failure> {
    let blank = Line { schema: LINE_SCHEMA, target: "", key: None, endpoint: None, lookup: None };
    Ok(output.emit_or_stop(|mut out| match piece {
        Piece::Endpoint { target, key, endpoint, .. } => {
            write_json_line(&Line { target, key: Some(key), endpoint: Some(endpoint), ..blank }, &mut out)
        }
        Piece::Lookup { target, lookup } => write_json_line(&Line { target, lookup: Some(lookup), ..blank }, &mut out),
        Piece::Waiting | Piece::Part { .. } => Ok(()),
    })?)
}

/// One service may be asked about twice (an exchanger of two domains): what it is to us adds up.
fn join(evidence: &mut Evidence, piece: Piece) {
    match piece {
        Piece::Endpoint { key, endpoint, lookups, .. } => {
            evidence
                .lookups
                .extend(lookups.into_iter().map(|lookup| (Lookup::key(&lookup.kind, &lookup.name), lookup)));
            match evidence.endpoints.entry(key) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(*endpoint);
                }
                std::collections::btree_map::Entry::Occupied(mut place) => {
                    let known = place.get_mut();
                    known.why.extend(endpoint.why);
                    for (address, examined) in endpoint.addresses {
                        known.addresses.entry(address).or_insert(examined);
                    }
                }
            }
        }
        Piece::Lookup { lookup, .. } => {
            evidence.lookups.insert(Lookup::key(&lookup.kind, &lookup.name), *lookup);
        }
        Piece::Part { name, part } => {
            evidence.parts.insert(name, part);
        }
        Piece::Waiting => {}
    }
}
