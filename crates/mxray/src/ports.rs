//! `mxray ports`: the assignments file against what is configured, what listens and what can be reached.
//!
//! `file.rs` reads the file, `init.rs` writes one from reality, `audit.rs` compares. What a difference means is `mxray-rules`'
//! business.

mod audit;
pub mod file;
mod init;

use crate::cli::Cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output::Output;
use audit::AuditArgs;
use clap::Subcommand;
use init::InitArgs;

/// What can be done with ports.
#[derive(Debug, Subcommand)]
pub enum PortsCommand {
    /// Write an assignments file from what listens now
    Init(InitArgs),
    /// Compare the assignments file with what is configured, listens and can be reached
    Audit(AuditArgs),
}

pub fn run(command: &PortsCommand, cli: &Cli, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    match command {
        PortsCommand::Init(args) => init::run(args, &crate::load(cli, environment)?, output),
        PortsCommand::Audit(args) => audit::run(args, &crate::load(cli, environment)?, environment, output),
    }
}
