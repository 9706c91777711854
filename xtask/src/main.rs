//! `cargo xtask`: what is generated, what is checked, what is published.
//!
//! Start at [`Job`]. Each check is a module that compares the tree with the code; `dist` makes the artefacts. Nothing
//! here is part of the product, and nothing here needs the network.

mod catalogue;
mod changes;
mod dist;
mod generated;
mod product;
mod reference;
mod rooms;
mod schema;
mod traps;
mod tree;
mod trouble;

use clap::{Parser, Subcommand, ValueEnum};
use generated::Generated;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use trouble::{Trouble, none_of};

/// Generates, checks and packs mxray.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Compare the tree with the code: everything, or only the checks named
    Check { only: Vec<Check> },
    /// Rewrite every generated file
    Generate,
    /// Make the tar and the Debian package in the target folder's `dist`
    Dist {
        /// Cargo's profile; tests pack what `dev` makes, which they have built
        #[arg(long, default_value = "dist")]
        profile: String,
    },
}

/// What can be checked alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// ARCHITECTURE.md's table of rooms against cargo
    Crates,
    /// schema/report.json against the types
    Schema,
    /// docs/catalogue against the rules
    Catalogue,
    /// docs/manual/reference.md against the command line
    Cli,
    /// the form of changes/*.md
    Changes,
    /// docs/traps.md against the names of tests
    Traps,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = tree::root().and_then(|root| match args.job {
        Job::Check { only } => check(&root, &only),
        Job::Generate => generate(&root),
        Job::Dist { profile } => dist::make(&root, &profile),
    });
    match done {
        Ok(lines) => {
            // Whoever closed the pipe has read enough.
            let _ = lines.iter().try_for_each(|line| writeln!(io::stdout(), "{line}"));
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "{trouble}");
            ExitCode::FAILURE
        }
    }
}

fn check(root: &Path, only: &[Check]) -> Result<Vec<String>, Trouble> {
    let checks = if only.is_empty() { Check::value_variants() } else { only };
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    for check in checks {
        let name = format!("{check:?}").to_lowercase();
        match check.run(root) {
            Ok(()) => lines.push(format!("{name}: as it should be")),
            Err(trouble) => problems.extend(trouble.to_string().lines().map(|line| format!("{name}: {line}"))),
        }
    }
    none_of(problems).map(|()| lines)
}

impl Check {
    fn run(self, root: &Path) -> Result<(), Trouble> {
        match self {
            Check::Crates => rooms::check(root),
            Check::Changes => changes::check(root, &mxray_rules::catalogue().iter().map(|rule| rule.code).collect()),
            Check::Traps => traps::check(root),
            Check::Schema | Check::Catalogue | Check::Cli => self.generated()?.compare(root),
        }
    }

    /// The files that this check compares; none for a check of something written by hand.
    fn generated(self) -> Result<Generated, Trouble> {
        match self {
            Check::Schema => schema::generate(),
            Check::Catalogue => catalogue::generate(mxray_rules::catalogue()),
            Check::Cli => Ok(reference::generate(product::command(), product::variables())),
            Check::Crates | Check::Changes | Check::Traps => Ok(Generated::default()),
        }
    }
}

fn generate(root: &Path) -> Result<Vec<String>, Trouble> {
    let mut lines = Vec::new();
    for check in Check::value_variants() {
        let changed = check.generated()?.write(root)?;
        lines.extend(changed.iter().map(|path| format!("rewrote {}", path.display())));
    }
    if lines.is_empty() {
        lines.push("everything generated is as it should be".to_owned());
    }
    Ok(lines)
}
