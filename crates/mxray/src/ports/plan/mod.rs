//! `mxray ports plan SERVICE PORT`: can this run here, which port instead, and what has to be written where.
//!
//! `look` is the rim that touches the machine; `gather`, `decide`, `propose` and `edits` are pure, `text` and `json` write the
//! answer. What must not live here: how the kernel decides about two sockets (`mxray_model::binding`), any reading of
//! configuration (`mxray-host`).

mod confine;
pub mod decide;
pub mod edits;
pub mod facts;
mod filter;
pub mod gather;
pub mod json;
#[cfg(test)]
mod kernel_tests;
pub mod look;
pub mod propose;
#[cfg(test)]
mod tests;
pub mod text;
pub mod wish;

use super::file;
use crate::cli::ListFormat;
use crate::config::Config;
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use clap::{Args, ValueEnum};
use decide::{Answer, Decision, decide};
use edits::{Edit, Role, daemon, entry, firewall};
use facts::Facts;
use filter::Filters;
use look::Look;
use mxray_host::{filter_managers, names};
use mxray_model::evidence::{Assignments, Exposure, Firewall, PortRange, V6Policy};
use mxray_model::special::is_special;
use mxray_model::text::untrusted;
use mxray_model::{Prefix, Seen};
use propose::Reservation;
use std::net::IpAddr;
use std::path::PathBuf;
use wish::{Starter, Wish};

const EXAMPLES: &str = "\
The answer is yes, no, yes but not after the next restart, or that it cannot be
told; exit code 0, 1, 1 and 2. Nothing is changed, and nothing is connected to.

Examples:
  mxray ports plan submissions 465
      may the mail server listen there, and what has to be written?
  mxray ports plan dovecot 993 --address 192.0.2.25 --unit dovecot.service
      on one address, with what systemd gives that unit
  mxray ports plan policyd 10040 --address 127.0.0.1 --user policyd
      a filter of its own user, on loopback
  mxray ports plan postgrey --dynamic 10100-10199 --address 127.0.0.1
      any port of a range; the same one each time
";

/// Transports that have ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// What the service does with IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum V6 {
    /// IPv4 alone
    None,
    /// One socket for both
    Dual,
    /// A socket of its own that refuses IPv4
    Separate,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// The service: software (postfix, dovecot, …), what it speaks (submission, imaps, …), or a name of your own
    #[arg(value_name = "SERVICE", value_parser = service)]
    pub service: String,

    /// The port: a number, or a name of /etc/services
    #[arg(value_name = "PORT", required_unless_present = "dynamic", conflicts_with = "dynamic")]
    pub port: Option<String>,

    /// Listen on these addresses only [default: all]
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = address)]
    pub address: Vec<IpAddr>,

    /// Transport
    #[arg(long, value_enum, default_value = "tcp", value_name = "PROTOCOL")]
    pub protocol: Protocol,

    /// Who starts it: a name in /etc/passwd or a number [default: the unit's User=, or root]
    #[arg(long, value_name = "USER|UID")]
    pub user: Option<String>,

    /// Its systemd unit, whose user, capabilities and restrictions then count
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<String>,

    /// What its sockets do with IPv6 [default: as mail servers do, one socket for each family]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub v6: Option<V6>,

    /// It sets SO_REUSEPORT
    #[arg(long)]
    pub reuse_port: bool,

    /// Who is to reach it: loopback, private, public, or networks [default: as its addresses say]
    #[arg(long, value_name = "WHO", value_parser = exposure)]
    pub exposure: Option<Exposure>,

    /// Choose a port of this range, the same one each time
    #[arg(long, value_name = "FIRST-LAST", value_parser = range)]
    pub dynamic: Option<PortRange>,

    /// The assignments file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<ListFormat>,

    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

/// A name goes into files and commands that somebody copies: what steers a terminal is no name.
fn service(text: &str) -> Result<String, String> {
    let shown = untrusted(text.as_bytes());
    if text.trim().is_empty() || text.chars().count() > 200 {
        return Err("a service's name has 1 to 200 characters".to_owned());
    }
    Ok(shown)
}

pub fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare == "*" {
        return Ok(IpAddr::V4([0; 4].into()));
    }
    bare.parse().map_err(|_| "not an address such as 192.0.2.25, ::1 or 0.0.0.0".to_owned())
}

pub fn range(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |word: &str| word.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        (Some(_), Some(_)) => Err("the range ends before it begins".to_owned()),
        _ => Err("not a range such as 10100-10199; ports go from 1 to 65535".to_owned()),
    }
}

fn exposure(text: &str) -> Result<Exposure, String> {
    Ok(match text {
        "loopback" => Exposure::Loopback,
        "private" => Exposure::Private,
        "public" => Exposure::Public,
        list => {
            let each =
                list.split(',').map(|word| word.trim().parse::<Prefix>().map(|prefix| prefix.network().to_string()));
            let networks = each.collect::<Result<Vec<_>, _>>();
            Exposure::Prefixes(networks.map_err(|error| format!("neither loopback, private nor public; {error}"))?)
        }
    })
}

/// The whole answer.
pub struct Plan {
    pub wish: Wish,
    /// `None`: no port of the range is free.
    pub decision: Option<Decision>,
    /// The range that the port was chosen from, and why this one.
    pub chosen: Option<(PortRange, &'static str)>,
    pub proposal: Option<u16>,
    pub reservation: Option<Reservation>,
    /// The port that the edits are for.
    pub edits_for: u16,
    pub edits: Vec<Edit>,
    pub unseen: Vec<mxray_model::Unseen>,
}

pub fn run(args: &PlanArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment.format(args.json, args.format, ListFormat::Text).map_err(Failure::Usage)?;
    let assignments = file::wanted(args.file.as_deref(), config, environment)?;
    let plan = make(args, config, assignments)?;
    let options = output.options();
    match format {
        ListFormat::Text => output.emit(|out| text::write(&plan, usize::from(options.columns), out))?,
        ListFormat::Json => output.emit(|out| json::write(&plan, out))?,
    }
    Ok(code(&plan))
}

fn code(plan: &Plan) -> u8 {
    match plan.decision.as_ref().map(|decision| decision.answer) {
        Some(Answer::Yes) => exit::OK,
        Some(Answer::No | Answer::NotAfterRestart) | None => exit::FINDING,
        Some(Answer::Unknown) => exit::UNANSWERED,
    }
}

fn make(args: &PlanArgs, config: &Config, assignments: Option<Assignments>) -> Result<Plan, Failure> {
    let services = names::Services::read();
    let port = match &args.port {
        Some(text) => services.port(text).filter(|port| *port > 0).ok_or_else(|| {
            let shown = untrusted(text.as_bytes());
            Failure::Usage(format!("{shown}: neither a port from 1 to 65535 nor a name in /etc/services"))
        })?,
        None => 0,
    };
    let usage = |what: &str| Failure::Usage(what.to_owned());
    if args.v6 == Some(V6::None) && args.address.iter().any(|address| address.to_canonical().is_ipv6()) {
        return Err(usage("--v6 none, and an IPv6 address"));
    }
    let vantage = mxray_host::vantage::look();
    let starter = look::starter(args.user.as_deref(), args.unit.as_deref(), args.protocol.name(), &vantage)
        .map_err(Failure::Usage)?;
    let assignments_file = assignments.as_ref().map(|assignments| assignments.file.clone());
    let wish = wish(args, port, starter, assignments.as_ref(), &config.settings.network.public_prefixes);
    let mut seen = look::look(config, assignments.map_or(Seen::Absent, Seen::Value), &wish.addresses, &|one| {
        args.dynamic.map_or(one == port, |range| (range.first..=range.last).contains(&one))
    });
    let local_port = seen.facts.kernel.local_ports.value().map_or(46_000, |range| range.first / 2 + range.last / 2);
    let filters = Filters::read();
    seen.facts.firewall = filters.about(&wish, local_port);
    let around = Around {
        assignments_file,
        installed: filter_managers::look(),
        filter: &|wish| filters.about(wish, local_port),
    };
    Ok(planned(wish, args.dynamic, &seen, &around))
}

fn wish(args: &PlanArgs, port: u16, starter: Starter, assignments: Option<&Assignments>, public: &[Prefix]) -> Wish {
    let v6 = match args.v6 {
        None => V6Policy::Any,
        Some(V6::None) => V6Policy::None,
        Some(V6::Dual) => V6Policy::Dual,
        Some(V6::Separate) => V6Policy::Separate,
    };
    let mut wish = Wish {
        service: args.service.clone(),
        protocol: args.protocol.name().to_owned(),
        port,
        addresses: args.address.clone(),
        v6,
        reuse_port: args.reuse_port,
        starter,
        exposure: Exposure::Public,
    };
    let of_entry = |(name, entry): (&String, &mxray_model::evidence::Assignment)| {
        let unit = (!entry.owner.unit.is_empty()).then_some(entry.owner.unit.as_str());
        let inside = (entry.ports.0..=entry.ports.1).contains(&port) && entry.protocol == wish.protocol;
        (inside && wish.is(unit, &[name])).then(|| entry.exposure.clone())
    };
    let decided = assignments.into_iter().flat_map(|all| &all.services).find_map(of_entry);
    wish.exposure = args.exposure.clone().or(decided).unwrap_or_else(|| by_addresses(&wish.addresses, public));
    wish
}

/// Who can reach these addresses at all.
fn by_addresses(addresses: &[IpAddr], public: &[Prefix]) -> Exposure {
    let declared = |address: IpAddr| public.iter().any(|prefix| prefix.contains(address));
    let near = |address: &IpAddr| is_special(*address) && !address.is_unspecified() && !declared(*address);
    let all: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
    match all.as_slice() {
        [] => Exposure::Public,
        all if all.iter().all(IpAddr::is_loopback) => Exposure::Loopback,
        all if all.iter().all(near) => Exposure::Private,
        _ => Exposure::Public,
    }
}

/// What the edits are made of, beside the facts.
struct Around<'a> {
    assignments_file: Option<String>,
    installed: filter_managers::Installed,
    /// What the packet filters do with what such a service is to get.
    filter: &'a dyn Fn(&Wish) -> Seen<Firewall>,
}

/// The answer of what was seen.
fn planned(mut wish: Wish, range: Option<PortRange>, seen: &Look, around: &Around<'_>) -> Plan {
    let facts = &seen.facts;
    let mut chosen = None;
    if let Some(range) = range {
        match propose::dynamic(&wish, range, facts) {
            Some((port, why)) => {
                wish.port = port;
                chosen = Some((range, why));
            }
            None => {
                let unseen = facts.unseen.clone();
                let (edits, reservation, proposal) = (Vec::new(), None, None);
                let chosen = Some((range, "no port of the range is free"));
                return Plan { wish, decision: None, chosen, proposal, reservation, edits_for: 0, edits, unseen };
            }
        }
    }
    // Which port it is to be is known only now: what the packet filters do with it was not asked before.
    let chosen_facts = range.map(|_| Facts { firewall: (around.filter)(&wish), ..facts.clone() });
    let facts = chosen_facts.as_ref().unwrap_or(facts);
    let decision = decide(&wish, facts);
    // Where only what holds for every port speaks against this one, another is no better; a range was chosen by somebody.
    let helps = decision.answer != Answer::Yes && !propose::is_clear(&decision) && range.is_none();
    let proposal = helps.then(|| propose::nearest(&wish, facts)).flatten();
    let edits_for = match (decision.answer, proposal) {
        (Answer::No | Answer::NotAfterRestart, Some(port)) => port,
        _ => wish.port,
    };
    let edited = wish.on(edits_for);
    let edits = edits_of(&edited, wish.port, range, seen, around);
    let reservation = propose::reservation(edits_for, facts);
    let unseen = facts.unseen.clone();
    Plan { wish, decision: Some(decision), chosen, proposal, reservation, edits_for, edits, unseen }
}

/// The role follows from what was asked for: another port for submission is submission all the same.
fn edits_of(wish: &Wish, asked: u16, range: Option<PortRange>, seen: &Look, around: &Around<'_>) -> Vec<Edit> {
    let (facts, evidence) = (&seen.facts, &seen.evidence);
    let role = Role::of(&wish.service, asked);
    let sockets = wish.sockets(facts.has_ipv6, facts.bind_v6_only == Seen::Value(true));
    let known = daemon::Known {
        servers: evidence.servers.value(),
        socket: daemon::socket_of(wish, &evidence.units),
        bystanders: evidence.bystanders.value().map(|all| &all.listeners),
    };
    let filtered = (around.filter)(wish);
    let manager = firewall::Manager::of(&filtered, &around.installed);
    vec![
        daemon::edit(wish, role, &sockets, &known),
        firewall::edit(wish, &manager, &filtered),
        entry::edit(wish, role, around.assignments_file.as_deref(), range),
        edits::test(wish, role, &sockets),
    ]
}
