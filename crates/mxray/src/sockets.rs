//! `mxray sockets`: connections and listeners with state, queues, unit, process and TCP figures.
//!
//! One look is [`look::View`]; `text`, `json`, `group` and `overview` write it. Rows go straight into one buffer:
//! 50,000 of them are the normal case, and output is where other tools spend their time. What must not live here: any
//! judgement about what is seen (that is `mxray doctor`).

mod group;
mod json;
pub mod line;
mod look;
mod namespaces;
mod overview;
mod plan;
mod text;
pub mod usual;

#[cfg(test)]
mod tests;

use crate::output::Terminal;
use crate::{exit, watch};
use line::Output;
use look::View;
use mxray_host::baseline::Place;
use mxray_model::Blind;
use plan::Plan;
use std::io::{self, Write};
use std::time::Duration;

/// List connections and listeners: state, queues, unit, process, TCP figures.
///
/// Replaces netstat -an, netstat -p, lsof -i and ss. The systemd unit or container that owns a socket is always shown
/// and needs no privilege; --pids adds process and user. On a terminal, more sockets than fit are summed up.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SocketsArgs {
    /// Only sockets that wait for peers: TCP listeners and unconnected UDP.
    #[arg(long, short, conflicts_with = "state")]
    pub listening: bool,
    /// Only these states, in ss's words: estab, syn-sent, syn-recv, fin-wait-1, fin-wait-2, time-wait, close-wait,
    /// last-ack, closing, listen, unconn.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub state: Vec<String>,
    /// Only these ports, local or remote; numbers or names of /etc/services.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub port: Vec<String>,
    /// Only peers in these networks or at these addresses.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub peer: Vec<String>,
    /// Only sockets of units that match; * and ? stand for anything.
    #[arg(long, value_name = "GLOB")]
    pub unit: Option<String>,
    /// Only sockets that a process of this name holds; * and ? stand for anything.
    #[arg(long, value_name = "NAME")]
    pub process: Option<String>,
    /// Only inbound connections (their local port is a listener's) or only outbound ones.
    #[arg(long, value_enum)]
    pub direction: Option<Direction>,
    /// TCP sockets. Without --tcp, --udp or --unix: TCP and UDP.
    #[arg(long, short)]
    pub tcp: bool,
    /// UDP sockets.
    #[arg(long, short)]
    pub udp: bool,
    /// Listening UNIX stream sockets: milters, SASL, policy services.
    #[arg(long, short = 'x')]
    pub unix: bool,
    /// Sum up by remote address, network (/24, /64), service, state, unit or process.
    #[arg(long, value_enum, value_name = "KEY")]
    pub by: Option<By>,
    /// List the network namespaces of this machine instead, with who lives in them and their listeners on ports of mail
    /// (and of --port). What stands first in a row is what --netns takes.
    #[arg(long, conflicts_with_all = ["listening", "state", "peer", "unit", "process", "direction", "tcp", "udp", "unix", "by", "sort", "limit", "all", "pids", "no_bpf", "info", "watch"])]
    pub namespaces: bool,
    /// Order of the rows. Without it: listeners first, then by local port and peer; over 10,000 rows into a pipe, as
    /// the kernel gives them.
    #[arg(long, value_enum, value_name = "KEY")]
    pub sort: Option<Sort>,
    /// At most this many rows.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// All rows, also where a terminal would get a summary.
    #[arg(long)]
    pub all: bool,
    /// Add process and user. Processes of other users need root, or cap_sys_ptrace and cap_dac_read_search.
    #[arg(long, short)]
    pub pids: bool,
    /// Find the processes of very many sockets by reading /proc alone. Without it a BPF program is loaded for that while
    /// mxray runs, where over 8,000 sockets are listed and the kernel permits it.
    #[arg(long)]
    pub no_bpf: bool,
    /// Add TCP's own figures: round trip, retransmissions, bytes, idle time, what limits sending.
    #[arg(long, short)]
    pub info: bool,
    /// Look again every SECONDS until Ctrl-C or q.
    #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    pub watch: Option<f64>,
    /// Learn what is usual here: count one sample of connections by service, and say how much is learned. Each run of
    /// doctor and sockets does the same quietly.
    #[arg(long, conflicts_with_all = ["spikes", "watch", "by"])]
    pub learn: bool,
    /// With --learn: one sample a minute for this long, such as 10m
    #[arg(long = "for", value_name = "TIME", value_parser = crate::counters::interval, requires = "learn")]
    pub learn_for: Option<Duration>,
    /// Services, networks and states far above what was learned for this hour, and how much was learned.
    #[arg(long, conflicts_with_all = ["watch", "by"])]
    pub spikes: bool,
    /// How to print: text, json (one object), ndjson (one object a line) [default: text].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  mxray sockets --listening --pids
      who listens where
  mxray sockets --port smtp,465,587 --by remote
      which peers hold how many mail connections
  mxray sockets --direction out --state syn-sent
      connections that get no answer
  mxray sockets --unit 'postfix*' --info --sort rtt
      slowest paths of Postfix
  mxray sockets --peer 192.0.2.0/24 --json
      everything towards one network, for programs
  mxray sockets --by service --watch
      inbound and outbound load, live
  mxray sockets --namespaces
      where else on this machine mail is served (containers, ip netns)
  mxray sockets --spikes
      who is above what is usual at this hour

In JSON, a unit of null is a socket created in the root cgroup; a unit that
is left out is unknown, and \"unseen\" says why. On a listener, Recv-Q and
Send-Q are connections: those waiting to be accepted, and their limit.";

/// Which end opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    In,
    Out,
}

/// What to sum up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    Remote,
    Network,
    Service,
    State,
    Unit,
    Process,
}

/// What to sort by; numbers are sorted largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    Local,
    Remote,
    State,
    Unit,
    RecvQ,
    SendQ,
    /// Smoothed round trip time
    Rtt,
    /// Segments sent again
    Retrans,
    /// Time since data last moved
    Idle,
    /// Groups: how many sockets
    Count,
    /// Groups: their name
    Name,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
    Ndjson,
}

/// Lists sockets as `args` say and returns the exit code: 0, 2 when they could not be listed, 64 for bad usage.
///
/// `terminal`: what `out` is, if it is one. Remarks about what could not be seen go to standard error in text mode, and
/// into `unseen` otherwise.
///
/// # Errors
/// `out` cannot be written.
pub fn run(
    args: &SocketsArgs,
    format: Format,
    place: &Place,
    out: &mut dyn Write,
    terminal: Option<Terminal>,
    colour: bool,
) -> io::Result<u8> {
    let plan = match Plan::new(args, format, terminal, colour) {
        Ok(plan) => plan,
        Err(error) => {
            writeln!(io::stderr(), "mxray sockets: {error}")?;
            return Ok(exit::USAGE);
        }
    };
    if args.namespaces {
        return namespaces::run(&plan.query.ports, plan.format, out);
    }
    match plan.watch {
        Some(every) => watch::run(Repeated { plan: &plan, view: None }, every, plan.terminal, out),
        None => once(&plan, place, out),
    }
}

fn once(plan: &Plan, place: &Place, out: &mut dyn Write) -> io::Result<u8> {
    let view = match View::look(plan) {
        Ok(view) => view,
        Err(blind) => {
            writeln!(io::stderr(), "mxray sockets: {}", blind.why())?;
            return Ok(exit::UNANSWERED);
        }
    };
    write_view(&view, plan, out)?;
    if plan.format == Format::Text {
        let mut stderr = io::stderr().lock();
        for unseen in &view.unseen {
            writeln!(stderr, "{}", unseen.sentence())?;
        }
    }
    usual::learn_quietly(&view, plan, place);
    Ok(0)
}

/// The list, looked at again and again.
struct Repeated<'a> {
    plan: &'a Plan,
    view: Option<View>,
}

impl watch::Picture for Repeated<'_> {
    const COMMAND: &'static str = "sockets";

    fn look(&mut self) -> Result<(), Blind> {
        self.view = Some(View::look(self.plan)?);
        Ok(())
    }

    fn draw(&self, screen: bool, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(view) = &self.view else { return Ok(()) };
        write_view(view, self.plan, out)?;
        if screen {
            for remark in &view.unseen {
                writeln!(out, "{}", remark.sentence())?;
            }
        } else if self.plan.format == Format::Text {
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Writes one look in the format that the plan asks for.
fn write_view(view: &View, plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let mut output = Output::new(out);
    match (plan.format, plan.by) {
        (Format::Text, Some(by)) => group::text(view, plan, by, &mut output.buffer),
        (Format::Text, None) if overview::is_needed(view, plan) => overview::write(view, plan, &mut output.buffer),
        (Format::Text, None) => text::rows(view, plan, &mut output),
        (_, Some(by)) => group::json(view, plan, by, &mut output),
        (_, None) => json::rows(view, plan, &mut output),
    }
    output.finish()
}
