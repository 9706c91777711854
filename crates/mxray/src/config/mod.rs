//! The configuration: found, read, checked and resolved once, into final values.
//!
//! Flag over environment over file over default. `keys.rs` is the one table of settings; `read.rs` walks the files with
//! it, `complaint.rs` words what is wrong, `command.rs` is `mxray config`. A plain secret is never kept and never
//! printed, not even in the error that refuses it.

pub mod command;
pub mod complaint;
pub mod keys;
pub mod parse;
pub mod read;

use crate::environment::{self, Environment};
use crate::exit::Failure;
use crate::output::{ColourWish, colour_on_stderr};
use complaint::Complaint;
use mxray_model::{Prefix, Severity};
use parse::{FailOn, ListedZone, Secret, Span};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A commented file that equals the defaults; what packages install.
pub const SAMPLE: &str = include_str!("../../../../packaging/mxray.toml");

/// Of the machine; the user's own is read after it.
const SYSTEM_FILE: &str = "/etc/mxray/mxray.toml";
/// Below `$XDG_CONFIG_HOME`.
const USER_FILE: &str = "mxray/mxray.toml";

/// Every setting, final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub network: Network,
    pub dns: Dns,
    pub lists: Lists,
    pub submission: Submission,
    pub replies: Replies,
    pub doctor: Doctor,
    pub ports: Ports,
    pub baseline: Baseline,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Count these as public, whatever the registries say.
    pub public_prefixes: Vec<Prefix>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Instead of the system's; empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// Instead of the built-in root key.
    pub trust_anchor_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    pub zones: Vec<ListedZone>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    pub user: Option<String>,
    pub password: Option<Secret>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replies {
    /// Files of rules for what replies mean, before the built-in ones.
    pub rules: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doctor {
    pub targets: Vec<String>,
    /// Own services, smarthosts and targets are connected to.
    pub sessions: bool,
    /// How old evidence from logs may be.
    pub since: Span,
    pub deadline: Duration,
    /// From which severity the exit code is 1. `None`: never.
    pub fail_on: Option<Severity>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    /// The assignments file. `None`: at its usual place, if there is one.
    pub assignments: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// Each run counts what it saw as a sample of what is usual here.
    pub learn: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            network: Network::default(),
            dns: Dns::default(),
            lists: Lists::default(),
            submission: Submission::default(),
            replies: Replies::default(),
            doctor: Doctor {
                targets: Vec::new(),
                sessions: true,
                since: Span::hours(24),
                deadline: Duration::from_secs(10),
                fail_on: Some(Severity::Error),
            },
            ports: Ports::default(),
            baseline: Baseline { learn: true },
        }
    }
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment(&'static str),
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "{name}"),
            Origin::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// A file that is there and could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub path: PathBuf,
    pub why: String,
}

/// Values that only the command line has, over everything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    pub deadline: Option<Duration>,
    pub fail_on: Option<FailOn>,
    pub no_sessions: bool,
}

/// The configuration in effect, and how it came about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub settings: Settings,
    /// Where values come from, by `section.key`; those at their default are not in it.
    pub origins: BTreeMap<String, Origin>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Files at the usual places that this user may not read. A file named by --config or MXRAY_CONFIG is an error
    /// instead.
    pub unread: Vec<Unread>,
}

impl Config {
    /// Reads what there is. `named` is `--config`'s value.
    ///
    /// # Errors
    /// `Config` with everything that is wrong, worded for the user; `Usage` for an environment variable.
    pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, Failure> {
        let mut config = Config::default();
        let named = named.or(environment.config.as_deref());
        let complaints = config.read_files(named, environment);
        if !complaints.is_empty() {
            return Err(Failure::Config(worded(&complaints, environment)));
        }
        config.apply_environment(environment).map_err(Failure::Usage)?;
        Ok(config)
    }

    /// Puts the command line's values over all others.
    pub fn apply(&mut self, flags: &Flags) {
        if let Some(deadline) = flags.deadline {
            self.settings.doctor.deadline = deadline;
            self.origins.insert("doctor.deadline_s".to_owned(), Origin::Flag("--deadline"));
        }
        if let Some(FailOn(level)) = flags.fail_on {
            self.settings.doctor.fail_on = level;
            self.origins.insert("doctor.fail_on".to_owned(), Origin::Flag("--fail-on"));
        }
        if flags.no_sessions {
            self.settings.doctor.sessions = false;
            self.origins.insert("doctor.sessions".to_owned(), Origin::Flag("--no-sessions"));
        }
    }

    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    fn read_files(&mut self, named: Option<&Path>, environment: &Environment) -> Vec<Complaint> {
        if let Some(named) = named {
            return match read::files_of(named) {
                Ok(files) => files.iter().flat_map(|file| self.read_named(file)).collect(),
                Err(refused) => vec![refused.into_complaint(named)],
            };
        }
        let user = environment.config_home.as_ref().map(|home| home.join(USER_FILE));
        [Some(PathBuf::from(SYSTEM_FILE)), user]
            .into_iter()
            .flatten()
            .flat_map(|file| match read::text_of_usual(&file) {
                Ok(text) => self.merge(&file, &text),
                Err(read::Refused::NotThere) => Vec::new(),
                Err(read::Refused::NotPermitted(why)) => {
                    self.unread.push(Unread { path: file, why });
                    Vec::new()
                }
                Err(read::Refused::Unusable(complaint)) => vec![*complaint],
            })
            .collect()
    }

    fn read_named(&mut self, file: &Path) -> Vec<Complaint> {
        match read::text_of_named(file) {
            Ok(text) => self.merge(file, &text),
            Err(refused) => vec![refused.into_complaint(file)],
        }
    }

    fn merge(&mut self, file: &Path, text: &str) -> Vec<Complaint> {
        self.files.push(file.to_owned());
        read::merge(self, file, text)
    }

    fn apply_environment(&mut self, environment: &Environment) -> Result<(), String> {
        if let Some(deadline) = environment.deadline()? {
            self.settings.doctor.deadline = deadline;
            self.origins.insert("doctor.deadline_s".to_owned(), Origin::Environment(environment::DEADLINE));
        }
        if let Some(level) = environment.fail_on()? {
            self.settings.doctor.fail_on = level;
            self.origins.insert("doctor.fail_on".to_owned(), Origin::Environment(environment::FAIL_ON));
        }
        Ok(())
    }
}

fn worded(complaints: &[Complaint], environment: &Environment) -> String {
    let colour = colour_on_stderr(ColourWish::Auto, environment);
    complaint::worded(complaints, colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_defaults_and_names_every_key() {
        let mut config = Config::default();
        let complaints = config.merge(Path::new("sample"), SAMPLE);
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(config.settings, Settings::default());
        let named: Vec<_> = config.origins.keys().cloned().collect();
        let mut all: Vec<_> = keys::KEYS.iter().map(keys::Key::path).collect();
        all.sort();
        assert_eq!(named, all);
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let mut config = Config::default();
        assert_eq!(config.origin("doctor.deadline_s"), Origin::Default);
        assert!(config.merge(Path::new("f.toml"), "[doctor]\ndeadline_s = 3\n").is_empty());
        assert_eq!(config.settings.doctor.deadline, Duration::from_secs(3));
        assert_eq!(config.origin("doctor.deadline_s").to_string(), "f.toml:2");
        let environment = Environment { deadline: Some("4".into()), ..Environment::default() };
        config.apply_environment(&environment).unwrap();
        assert_eq!(config.settings.doctor.deadline, Duration::from_secs(4));
        config.apply(&Flags { deadline: Some(Duration::from_secs(5)), ..Flags::default() });
        assert_eq!(config.settings.doctor.deadline, Duration::from_secs(5));
        assert_eq!(config.origin("doctor.deadline_s").to_string(), "--deadline");
    }

    #[test]
    fn a_later_file_wins_by_key() {
        let mut config = Config::default();
        config.merge(Path::new("a"), "[doctor]\nsince = \"1h\"\ntargets = [\"a.example\"]\n");
        config.merge(Path::new("b"), "[doctor]\nsince = \"2h\"\n");
        assert_eq!(config.settings.doctor.since, Span::hours(2));
        assert_eq!(config.settings.doctor.targets, ["a.example"]);
        assert_eq!(config.origin("doctor.since").to_string(), "b:2");
    }
}
