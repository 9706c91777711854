//! `mxray doctor`: to be joined with the engine.

use crate::cli::{DoctorArgs, ReportFormat};
use crate::config::Config;
use crate::exit::Failure;
use crate::output::Output;
use crate::progress::Progress;

pub fn run(_args: &DoctorArgs, _format: ReportFormat, _config: &Config, _output: &mut Output) -> Result<u8, Failure> {
    Progress::start().pending(["engine"]);
    Err(Failure::Unanswered("doctor is joined with the engine on another branch".to_owned()))
}
