//! `mxray ports init`: an assignments file from what listens now, with a comment for each value that says where it came from.
//!
//! The text is made by `text.rs` from evidence; here is what was typed, and the one file that is written.

mod text;

use crate::config::Config;
use crate::doctor;
use crate::exit::{self, Failure};
use crate::output::{Output, say};
use crate::progress::Progress;
use clap::Args;
use mxray_engine::{Options, Scope, collect};
use mxray_host::baseline::Place;
use mxray_host::{names, ownership};
use mxray_model::text::untrusted;
use mxray_model::{Evidence, Seen};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Run it as root: otherwise units and users are known, and the programs of other
users are not.

Examples:
  mxray ports init
      look at it first
  mxray ports init --output /etc/mxray/mxray-ports.toml
      keep it; then correct it, put it under version control, and let
      `mxray ports audit` hold it
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// Write this file, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Replace the file if there is one
    #[arg(long, requires = "output")]
    pub force: bool,
}

pub fn run(args: &InitArgs, config: &Config, output: &mut Output) -> Result<u8, Failure> {
    let evidence = look(config);
    let sockets = match &evidence.sockets {
        Seen::Value(sockets) => sockets,
        Seen::Unknown(blind) => return Err(Failure::Unanswered(format!("what listens here: {}", blind.why()))),
        Seen::Absent => return Err(Failure::Unanswered("there are no sockets to be seen here".to_owned())),
    };
    let listeners = sockets.listeners.values();
    let holders: BTreeSet<u32> =
        listeners.filter_map(|listener| listener.owners.value()).flatten().map(|owner| owner.pid).collect();
    let known = text::Known { users: names::users(), packages: ownership::packages(&holders) };
    let text = text::written(&evidence, sockets, &known);
    match &args.output {
        None => output.emit(|out| out.write_all(text.as_bytes()))?,
        Some(file) => {
            write(file, &text, args.force)?;
            let shown = untrusted(file.as_os_str().as_bytes());
            say(&format!("mxray: wrote {shown}; read it, correct it, then: mxray ports audit --file {shown}"));
        }
    }
    Ok(exit::OK)
}

/// What an audit would see, without a file.
fn look(config: &Config) -> Evidence {
    let options = Options {
        deadline: config.settings.doctor.deadline,
        declared: doctor::declared(config),
        baseline: Place { directory: None, learn: false, elsewhere: false },
        sessions: None,
        names: None,
        name_servers: Vec::new(),
        assignments: Seen::Absent,
        told: None,
        scope: Scope::Ports,
    };
    let progress = RefCell::new(Progress::start());
    let tell = |pending: &BTreeSet<String>| progress.borrow_mut().pending(pending.iter().map(String::as_str));
    collect(&options, &tell)
}

/// A file that is there holds somebody's decisions: it is replaced only by order.
fn write(file: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let shown = untrusted(file.as_os_str().as_bytes());
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(file).and_then(|mut open| open.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Usage(format!("{shown} is there already; --force replaces it")),
        _ => Failure::Unanswered(format!("write {shown}: {error}")),
    })
}
