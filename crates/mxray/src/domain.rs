//! `mxray domain`: what a domain publishes for mail, evaluated as a receiver does it at that moment.
//!
//! `client.rs` makes of what was typed who sends; `spf.rs` evaluates SPF alone, `mail.rs` a whole mail. What must not live
//! here: the evaluators (`mxray-auth`), questions to name servers (`mxray-net`).

mod client;
mod ledger;
mod mail;
mod mail_text;
mod message;
mod spf;

use crate::cli::{ListFormat, ListFormatArgs};
use crate::config::parse;
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
  mxray domain example.org --spf --ip 192.0.2.25
      what a receiver makes of this client for postmaster@example.org
  mxray domain --spf --ip 2001:db8::25 --helo mail.example.org \\
      --mail-from anna@example.org
      the same for one sender, with every term and every count
  mxray domain example.org --spf --ip 192.0.2.25 --resolver 192.0.2.53 --json
      by another name server, for a program
  mxray domain --mail letter.eml --ip 192.0.2.25 --helo mail.example.org \\
      --mail-from anna@example.org
      SPF, every DKIM signature, ARC and DMARC of a mail as it was received
  mxray domain --mail - --ip 192.0.2.25 --helo h.example --mail-from '' \\
      --at 2026-11-02T08:00:00Z <bounce.eml
      a bounce, judged as on another day

This version evaluates: --spf or --mail has to be given.
";

/// Evaluate what a domain publishes, as a receiver would at this moment: SPF for a client (--spf), or a whole mail (--mail).
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DomainArgs {
    /// The domain, as A-labels or U-labels; with --mail-from, or --helo, theirs is evaluated instead
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// SPF alone, with the ledger of all its terms
    #[arg(long, conflicts_with = "mail", requires = "ip")]
    pub spf: bool,

    /// A mail as it was received: SPF, DKIM, ARC, DMARC, alignment; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "ip")]
    pub mail: Option<PathBuf>,

    /// The address of the client that connects
    #[arg(long, value_name = "CLIENT", value_parser = client::address)]
    pub ip: Option<IpAddr>,

    /// What the client says with HELO or EHLO
    #[arg(long, value_name = "NAME")]
    pub helo: Option<String>,

    /// The reverse-path; '' is that of a bounce. Without it: postmaster at the name of --helo, else at NAME
    #[arg(long, value_name = "ADDR", allow_hyphen_values = true)]
    pub mail_from: Option<String>,

    /// With --mail: judge it as at this time, RFC 3339 or @SECONDS, instead of now
    #[arg(long, value_name = "TIME", requires = "mail", value_parser = message::time)]
    pub at: Option<i64>,

    /// Ask this name server instead of the system's, or of [dns] servers; may be repeated
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = parse::server)]
    pub resolver: Vec<SocketAddr>,

    /// All is over after this many seconds; what was not answered then is unknown [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub deadline: Option<Duration>,

    /// One question is waited for this many seconds [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub patience: Option<Duration>,

    #[command(flatten)]
    pub output: ListFormatArgs,
}

/// Evaluates and prints. 0: it was answered, whatever the answer is; 2: it could not be, because of our own resolver.
pub fn run(
    args: &DomainArgs,
    format: ListFormat,
    configured: &[SocketAddr],
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let wanted = client::Wanted::new(args).map_err(Failure::Usage)?;
    let evaluations = evaluations(args, configured, environment)?;
    let answered = match &args.mail {
        Some(file) => mail::run(args, file, &wanted, &evaluations, format, output)?,
        None => spf::run(&wanted, &evaluations, format, output)?,
    };
    Ok(if answered { exit::OK } else { exit::UNANSWERED })
}

fn evaluations(
    args: &DomainArgs,
    configured: &[SocketAddr],
    environment: &Environment,
) -> Result<Evaluations, Failure> {
    let deadline = match args.deadline {
        Some(deadline) => deadline,
        None => environment.deadline().map_err(Failure::Usage)?.unwrap_or(DEADLINE),
    };
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
