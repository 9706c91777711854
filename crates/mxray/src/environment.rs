//! Every environment variable that mxray reads, by name, and the one place where it reads them.

use crate::config::parse;
use crate::output::ColourWish;
use clap::ValueEnum;
use mxray_model::Severity;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub const CONFIG: &str = "MXRAY_CONFIG";
pub const FORMAT: &str = "MXRAY_FORMAT";
pub const COLOR: &str = "MXRAY_COLOR";
pub const DEADLINE: &str = "MXRAY_DEADLINE";
pub const FAIL_ON: &str = "MXRAY_FAIL_ON";
/// <https://no-color.org>
pub const NO_COLOR: &str = "NO_COLOR";
/// <https://bixense.com/clicolors/>
pub const CLICOLOR: &str = "CLICOLOR";
pub const CLICOLOR_FORCE: &str = "CLICOLOR_FORCE";
pub const TERM: &str = "TERM";
pub const COLUMNS: &str = "COLUMNS";
/// XDG Base Directory Specification 0.8
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// Set by systemd where a unit has StateDirectory= (systemd.exec(5)).
pub const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
pub const HOME: &str = "HOME";

/// What each of mxray's own and the shared variables does, for help and manual.
pub const VARIABLES: &[(&str, &str)] = &[
    (CONFIG, "configuration file or directory, as --config"),
    (FORMAT, "output format, as --format"),
    (COLOR, "auto, always or never, as --color"),
    (DEADLINE, "seconds that an examination may take, as doctor --deadline"),
    (FAIL_ON, "severity from which the exit code is 1, as doctor --fail-on"),
    (NO_COLOR, "set to anything: no colours, unless --color says otherwise"),
    (CLICOLOR, "0: no colours"),
    (CLICOLOR_FORCE, "anything but 0: colours even into a file or a pipe"),
    (XDG_CONFIG_HOME, "where mxray/mxray.toml of this user is looked for; default $HOME/.config"),
    (STATE_DIRECTORY, "where what is usual here is kept; set by systemd for a unit with StateDirectory="),
    (XDG_STATE_HOME, "where users other than root keep it, below mxray/; default $HOME/.local/state"),
];

/// The environment as it was at the start. An empty variable counts as not set.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub config: Option<PathBuf>,
    pub format: Option<String>,
    pub color: Option<String>,
    pub deadline: Option<String>,
    pub fail_on: Option<String>,
    pub no_color: bool,
    pub clicolor_off: bool,
    pub clicolor_force: bool,
    pub dumb_terminal: bool,
    pub columns: Option<u16>,
    /// `$XDG_CONFIG_HOME`, or `$HOME/.config`.
    pub config_home: Option<PathBuf>,
    /// The first directory of `$STATE_DIRECTORY`.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, or `$HOME/.local/state`.
    pub state_home: Option<PathBuf>,
}

impl Environment {
    pub fn read() -> Self {
        Environment::from(|name| std::env::var_os(name))
    }

    fn from(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let os = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| os(name).map(|value| value.to_string_lossy().into_owned());
        // The specification has relative paths ignored.
        let absolute = |name: &str| os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Environment {
            config: os(CONFIG).map(PathBuf::from),
            format: text(FORMAT),
            color: text(COLOR),
            deadline: text(DEADLINE),
            fail_on: text(FAIL_ON),
            no_color: os(NO_COLOR).is_some(),
            clicolor_off: text(CLICOLOR).as_deref() == Some("0"),
            clicolor_force: text(CLICOLOR_FORCE).is_some_and(|value| value != "0"),
            dumb_terminal: text(TERM).as_deref() == Some("dumb"),
            columns: text(COLUMNS).and_then(|value| value.parse().ok()).filter(|columns| *columns > 0),
            state_directory: text(STATE_DIRECTORY)
                .and_then(|list| list.split(':').next().map(PathBuf::from))
                .filter(|path| path.is_absolute()),
            state_home: absolute(XDG_STATE_HOME).or_else(|| absolute(HOME).map(|home| home.join(".local/state"))),
            config_home: absolute(XDG_CONFIG_HOME).or_else(|| absolute(HOME).map(|home| home.join(".config"))),
        }
    }

    /// `--color` over `MXRAY_COLOR` over the default.
    pub fn colour_wish(&self, flag: Option<ColourWish>) -> Result<ColourWish, String> {
        resolve(flag, COLOR, self.color.as_deref(), ColourWish::Auto)
    }

    /// `--json` and `--format` over `MXRAY_FORMAT` over the default. Which formats there are depends on the command.
    pub fn format<F: ValueEnum>(&self, json: bool, flag: Option<F>, default: F) -> Result<F, String> {
        let flag = if json { F::from_str("json", false).ok() } else { flag };
        resolve(flag, FORMAT, self.format.as_deref(), default)
    }

    pub fn deadline(&self) -> Result<Option<Duration>, String> {
        let read = |text: &String| parse::deadline(text).map_err(|error| format!("{DEADLINE}: {error}"));
        self.deadline.as_ref().map(read).transpose()
    }

    pub fn fail_on(&self) -> Result<Option<Option<Severity>>, String> {
        let read =
            |text: &String| parse::fail_on(text).map(|level| level.0).map_err(|error| format!("{FAIL_ON}: {error}"));
        self.fail_on.as_ref().map(read).transpose()
    }
}

fn resolve<F: ValueEnum>(flag: Option<F>, name: &str, text: Option<&str>, default: F) -> Result<F, String> {
    match (flag, text) {
        (Some(flag), _) => Ok(flag),
        (None, None) => Ok(default),
        (None, Some(text)) => F::from_str(text, true).map_err(|_| {
            let possible: Vec<_> = F::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value)
                .map(|value| value.get_name().to_owned())
                .collect();
            format!("{name}: {text:?} is not one of {}", possible.join(", "))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{ListFormat, ReportFormat};

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn flag_over_environment_over_default() {
        let env = environment(&[(FORMAT, "nagios")]);
        assert_eq!(env.format(false, None, ReportFormat::Text), Ok(ReportFormat::Nagios));
        assert_eq!(env.format(false, Some(ReportFormat::Html), ReportFormat::Text), Ok(ReportFormat::Html));
        assert_eq!(env.format(true, None, ReportFormat::Text), Ok(ReportFormat::Json));
        assert_eq!(environment(&[]).format(false, None, ReportFormat::Text), Ok(ReportFormat::Text));
    }

    #[test]
    fn a_format_that_the_command_lacks_is_named() {
        let error = environment(&[(FORMAT, "nagios")]).format(false, None, ListFormat::Text).unwrap_err();
        assert_eq!(error, "MXRAY_FORMAT: \"nagios\" is not one of text, json");
    }

    #[test]
    fn empty_and_relative_are_not_set() {
        let env = environment(&[(XDG_CONFIG_HOME, "here"), (HOME, "/home/a"), (NO_COLOR, ""), (COLUMNS, "0")]);
        assert_eq!(env.config_home, Some("/home/a/.config".into()));
        assert!(!env.no_color);
        assert_eq!(env.columns, None);
    }
}
