//! `mxray domain`: what domains publish for mail, examined as a whole or evaluated as a receiver does it at that moment.
//!
//! `examine.rs` makes the report about domains, with `overview.rs` and `trace.rs` above it; `client.rs` makes of what was typed
//! who sends; `spf.rs` evaluates SPF alone, `mail.rs` a whole mail. What must not live here: the evaluators (`mxray-auth`),
//! questions to name servers (`mxray-net`), what is asked and judged (`mxray-engine`).

mod client;
mod examine;
mod ledger;
mod mail;
mod mail_text;
mod message;
mod overview;
mod spf;
mod trace;

use crate::cli::{ListFormat, ReportFormat};
use crate::config::Config;
use crate::config::parse::{self, FailOn};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::outside::names;
use mxray_model::Unseen;
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_net::{Evaluations, why_no_answer};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// RFC 7208 section 4.6.4: at least 20 seconds for all lookups together.
const DEADLINE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  mxray domain example.org
      everything that is published for mail to and from it, and its servers
  mxray domain example.org --ip 192.0.2.25 --ip 2001:db8::25
      besides: the names, SPF and lists of the addresses that send for it
  mxray domain example.org example.net --selector s1 --no-connect
      several, one DKIM key, and nothing but questions to DNS
  mxray domain --from-mail letter.eml --trace
      the author's domain, the keys of its signatures, and every step
  mxray domain example.org --resolver 192.0.2.53 --format html >report.html
      by another name server, as a page
  mxray domain example.org --spf --ip 192.0.2.25
      what a receiver makes of this client for postmaster@example.org
  mxray domain --spf --ip 2001:db8::25 --helo mail.example.org \\
      --mail-from anna@example.org
      the same for one sender, with every term and every count
  mxray domain --mail letter.eml --ip 192.0.2.25 --helo mail.example.org \\
      --mail-from anna@example.org
      SPF, every DKIM signature, ARC and DMARC of a mail as it was received
  mxray domain --mail - --ip 192.0.2.25 --helo h.example --mail-from '' \\
      --at 2026-11-02T08:00:00Z <bounce.eml
      a bounce, judged as on another day
";

/// Examine what domains publish for mail, and the servers that they name; or evaluate SPF for a client (--spf), or a whole mail
/// (--mail), as a receiver would at this moment.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DomainArgs {
    /// The domains, as A-labels or U-labels. With --spf and --mail one, and with --mail-from, or --helo, theirs is evaluated
    /// instead
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// SPF alone, with the ledger of all its terms
    #[arg(long, conflicts_with = "mail", requires = "ip")]
    pub spf: bool,

    /// A mail as it was received: SPF, DKIM, ARC, DMARC, alignment; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "ip")]
    pub mail: Option<PathBuf>,

    /// The address of the client that connects; without --spf and --mail, an address that mail leaves from: may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = client::address)]
    pub ip: Vec<IpAddr>,

    /// What the client says with HELO or EHLO
    #[arg(long, value_name = "NAME")]
    pub helo: Option<String>,

    /// The reverse-path; '' is that of a bounce. Without it: postmaster at the name of --helo, else at NAME
    #[arg(long, value_name = "ADDR", allow_hyphen_values = true)]
    pub mail_from: Option<String>,

    /// With --mail: judge it as at this time, RFC 3339 or @SECONDS, instead of now
    #[arg(long, value_name = "TIME", requires = "mail", value_parser = message::time)]
    pub at: Option<i64>,

    /// A DKIM selector of the domains; may be repeated. Selectors cannot be found out, and are never guessed
    #[arg(long, value_name = "SELECTOR", conflicts_with_all = ["spf", "mail"])]
    pub selector: Vec<String>,

    /// Take selectors from the signatures of this mail, and, without NAME, the domain from its From field; `-` reads standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spf", "mail"])]
    pub from_mail: Option<PathBuf>,

    /// Take selectors from receivers' DMARC reports: those of signatures that verified. What `mxray reports` reads; may be
    /// repeated
    #[arg(long, value_name = "PATH", conflicts_with_all = ["spf", "mail"])]
    pub from_reports: Vec<PathBuf>,

    /// Ask DNS alone: connect neither to the servers that take the domains' mail, nor to those of their policies
    #[arg(long, conflicts_with_all = ["spf", "mail"])]
    pub no_connect: bool,

    /// Ask no blocklist
    #[arg(long, conflicts_with_all = ["spf", "mail"])]
    pub no_lists: bool,

    /// Ask the own servers of each zone, which the name server finds, instead of what it remembers
    #[arg(long, conflicts_with_all = ["spf", "mail"])]
    pub authoritative: bool,

    /// Above the report: SPF's ledger, the walk of DMARC, the chain of DNSSEC, and each record with its server and TTL
    #[arg(long, conflicts_with_all = ["spf", "mail"])]
    pub trace: bool,

    /// Exit with 1 when a finding is at least this severe: critical, error, warning, notice, info, or never
    /// [default: error]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on, conflicts_with_all = ["spf", "mail"])]
    pub fail_on: Option<FailOn>,

    /// Ask this name server instead of the system's, or of [dns] servers; may be repeated
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = parse::server)]
    pub resolver: Vec<SocketAddr>,

    /// All is over after this many seconds; what was not answered then is unknown [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub deadline: Option<Duration>,

    /// One question is waited for this many seconds [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub patience: Option<Duration>,

    /// Output format; --spf and --mail have text and json [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<ReportFormat>,

    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

/// Examines or evaluates, and prints. Evaluating, 0: it was answered, whatever the answer is; 2: it could not be, because of our
/// own resolver.
pub fn run(args: &DomainArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment.format(args.json, args.format, ReportFormat::Text).map_err(Failure::Usage)?;
    if !args.spf && args.mail.is_none() {
        return examine::run(args, format, config, environment, output);
    }
    let format = match format {
        ReportFormat::Text => ListFormat::Text,
        ReportFormat::Json => ListFormat::Json,
        ReportFormat::Markdown | ReportFormat::Html | ReportFormat::Nagios => {
            return Err(Failure::Usage("--format: --spf and --mail have text and json".to_owned()));
        }
    };
    let wanted = client::Wanted::new(args).map_err(Failure::Usage)?;
    let evaluations = evaluations(args, &config.settings.dns.servers, environment)?;
    let answered = match &args.mail {
        Some(file) => mail::run(args, file, &wanted, &evaluations, format, output)?,
        None => spf::run(&wanted, &evaluations, format, output)?,
    };
    Ok(if answered { exit::OK } else { exit::UNANSWERED })
}

/// For all of it.
fn deadline(args: &DomainArgs, environment: &Environment) -> Result<Duration, Failure> {
    match args.deadline {
        Some(deadline) => Ok(deadline),
        None => Ok(environment.deadline().map_err(Failure::Usage)?.unwrap_or(DEADLINE)),
    }
}

fn evaluations(
    args: &DomainArgs,
    configured: &[SocketAddr],
    environment: &Environment,
) -> Result<Evaluations, Failure> {
    let deadline = deadline(args, environment)?;
    let chosen = if args.resolver.is_empty() { configured } else { &args.resolver };
    let resolver = names::servers(chosen);
    Ok(Evaluations::new(resolver, Instant::now() + deadline, args.patience.unwrap_or(PATIENCE)))
}

/// What nobody told us although we asked: no server of ours answered, or it refused us. SERVFAIL is told of the name's own
/// servers, and a receiver would see it as well.
fn not_told(lookups: &[Lookup]) -> Vec<Unseen> {
    let ours = |lookup: &&Lookup| match &lookup.outcome {
        DnsOutcome::NoAnswer { .. } | DnsOutcome::NotAsked(_) => true,
        DnsOutcome::Refused { rcode } => rcode != "SERVFAIL",
        DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName => false,
    };
    let unseen = |lookup: &Lookup| {
        let why = why_no_answer(lookup).unwrap_or_default();
        Unseen {
            what: Lookup::key(&lookup.kind, &lookup.name),
            why,
            needs: "a name server that answers (--resolver, --patience)".to_owned(),
        }
    };
    lookups.iter().filter(ours).map(unseen).collect()
}
