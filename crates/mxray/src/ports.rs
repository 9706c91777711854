//! `mxray ports`: the assignments file against what is configured, what listens and what can be reached.
//!
//! `file.rs` reads the file, `init.rs` writes one from reality, `audit.rs` compares, `explain.rs` walks a packet through the rules. What a difference means is `mxray-rules`'
//! business.

mod audit;
mod diff;
mod doc;
mod explain;
pub mod file;
mod free;
mod init;
mod plan;
mod standing;

use crate::cli::Cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output::Output;
use audit::AuditArgs;
use clap::Subcommand;
use diff::DiffArgs;
use doc::DocArgs;
use explain::ExplainArgs;
use free::FreeArgs;
use init::InitArgs;
use plan::PlanArgs;

/// What can be done with ports.
#[derive(Debug, Subcommand)]
pub enum PortsCommand {
    /// Write an assignments file from what listens now
    Init(InitArgs),
    /// Compare the assignments file with what is configured, listens and can be reached
    Audit(AuditArgs),
    /// Can a service listen on a port here? Which one instead, and what has to be written where
    Plan(Box<PlanArgs>),
    /// Ports that nothing speaks against
    Free(FreeArgs),
    /// A page of who uses which port, and why
    Doc(DocArgs),
    /// What differs between two saved reports: two hosts, or two days
    Diff(DiffArgs),
    /// Would a packet to or from a port pass this host's packet filters, and which rule decides?
    Explain(ExplainArgs),
}

pub fn run(command: &PortsCommand, cli: &Cli, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    match command {
        PortsCommand::Init(args) => init::run(args, &crate::load(cli, environment)?, output),
        PortsCommand::Audit(args) => audit::run(args, &crate::load(cli, environment)?, environment, output),
        PortsCommand::Free(args) => free::run(args, &crate::load(cli, environment)?, environment, output),
        PortsCommand::Doc(args) => doc::run(args, &crate::load(cli, environment)?, environment, output),
        PortsCommand::Diff(args) => diff::run(args, environment, output),
        PortsCommand::Plan(args) => plan::run(args, &crate::load(cli, environment)?, environment, output),
        PortsCommand::Explain(args) => explain::run(args, environment, output),
    }
}
