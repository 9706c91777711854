//! `mxray ports audit`: one report about ports alone, quick enough to run after every change.

use crate::cli::ReportFormat;
use crate::config::{Config, parse};
use crate::doctor;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output::Output;
use crate::ports::file;
use crate::progress::Progress;
use clap::Args;
use mxray_engine::{Options, Scope, examine};
use mxray_host::baseline::Place;
use mxray_model::{Question, Seen, Severity};
use mxray_render::nagios_status;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
The file is --file, else `[ports] assignments` of the configuration, else
/etc/mxray/mxray-ports.toml, else mxray-ports.toml here.

Examples:
  mxray ports audit
      is every port as it was decided? Exit 1 says no
  mxray ports audit --file ./mxray-ports.toml --json
      in a pipeline, with a file from a repository
  mxray ports audit --fail-on error
      undeclared listeners are told, and let pass
  mxray ports audit --connect
      besides: greet each own service, as `mxray doctor` does
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// The assignments file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Greet this host's own services, too, as `mxray doctor` does; otherwise nothing is connected to
    #[arg(long)]
    pub connect: bool,

    /// Exit with 1 when a finding is at least this severe: critical, error, warning, notice, info, or never
    /// [default: warning]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on)]
    pub fail_on: Option<parse::FailOn>,

    /// End after this many seconds; what is missing then is reported as unseen [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub deadline: Option<Duration>,

    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<ReportFormat>,

    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &AuditArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment.format(args.json, args.format, ReportFormat::Text).map_err(Failure::Usage)?;
    let Some(assignments) = file::wanted(args.file.as_deref(), config, environment)? else {
        return Err(Failure::Usage(format!(
            "no assignments file: neither {} nor {} here; write one with `mxray ports init --output {}`",
            file::SYSTEM_FILE,
            file::NAME,
            file::SYSTEM_FILE
        )));
    };
    let question = Question { command: "ports audit".to_owned(), targets: vec![assignments.file.clone()] };
    let mut declared = doctor::declared(config);
    let sessions = args.connect.then(|| doctor::sessions(Vec::new(), config, &mut declared));
    let options = Options {
        deadline: args.deadline.unwrap_or(config.settings.doctor.deadline),
        declared,
        baseline: Place { directory: None, learn: false, elsewhere: false },
        sessions,
        names: None,
        name_servers: config.settings.dns.servers.clone(),
        assignments: Seen::Value(assignments),
        told: None,
        scope: Scope::Ports,
    };
    let progress = RefCell::new(Progress::start());
    let tell = |pending: &BTreeSet<String>| progress.borrow_mut().pending(pending.iter().map(String::as_str));
    let report = examine(question, &options, &tell);
    let rendering = output.options();
    output.emit(|out| mxray_render::render(&report, format.into(), &rendering, out))?;
    if format == ReportFormat::Nagios {
        return Ok(nagios_status(&report));
    }
    let fail_on = args.fail_on.map_or(Some(Severity::Warning), |level| level.0);
    Ok(doctor::code(&report, fail_on))
}
