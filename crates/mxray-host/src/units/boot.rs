//! Whether the next start of the machine starts a service, and with which command line: systemd's links and units, or the
//! links of the init systems before it.

use super::files::{self, Links, assignments};
use crate::read;
use mxray_model::evidence::FileLine;
use mxray_model::{Blind, Seen};
use std::path::{Path, PathBuf};

/// Most variables that a unit sets.
const VARIABLES_MAX: usize = 1_000;

/// What starts services here.
#[derive(Debug)]
pub(crate) struct Boot {
    root: PathBuf,
    links: Links,
    /// systemd is the service manager.
    systemd: Seen<()>,
}

/// What a unit starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// `ExecStart=`, as it is written.
    pub text: String,
    pub at: Option<FileLine>,
    /// `Environment=` and `EnvironmentFile=` in their order.
    pub environment: Vec<Environment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Environment {
    /// `NAME=value NAME=value`
    Assigned(String, FileLine),
    File(String),
}

impl Boot {
    pub fn read(root: &Path) -> Boot {
        let mark = root.join("run/systemd/system");
        let systemd = match mark.try_exists() {
            Ok(true) => Seen::Value(()),
            Ok(false) => Seen::Absent,
            Err(error) => read::refused("look for", &mark, &error),
        };
        Boot { root: root.to_owned(), links: Links::read(root), systemd }
    }

    /// The first of these services that is known here, and what starts it at boot. `Absent`: nothing does. The name is empty
    /// where none is known.
    pub fn of(&self, services: &[&str]) -> (String, Seen<String>) {
        if let Some(blind) = self.systemd.blind() {
            return (String::new(), Seen::Unknown(blind.clone()));
        }
        if self.systemd.is_absent() {
            return self.of_init(services);
        }
        for service in services {
            match files::load(&self.root, service) {
                Seen::Value(loaded) if loaded.masked => return ((*service).to_owned(), Seen::Absent),
                Seen::Value(_) => return ((*service).to_owned(), self.pulled_in(service)),
                Seen::Absent => {}
                Seen::Unknown(blind) => return ((*service).to_owned(), Seen::Unknown(blind)),
            }
        }
        // A script without a unit gets one at the next start (systemd-sysv-generator(8)).
        self.of_init(services)
    }

    /// By a link, or by the socket unit of the same name.
    fn pulled_in(&self, service: &str) -> Seen<String> {
        let socket = service.strip_suffix(".service").map(|stem| format!("{stem}.socket"));
        match (self.links.of(service), socket.map(|socket| self.links.of(&socket))) {
            (Seen::Absent, Some(by_socket)) => by_socket,
            (by_link, _) => by_link,
        }
    }

    /// Is this unit, such as a socket, there and pulled in?
    pub fn pulls_in(&self, unit: &str) -> bool {
        self.systemd.value().is_some()
            && files::load(&self.root, unit).value().is_some_and(|loaded| !loaded.masked)
            && self.links.of(unit).value().is_some()
    }

    /// Is there a unit of one of these names that may be started?
    pub fn knows(&self, services: &[&str]) -> bool {
        services.iter().any(|service| files::load(&self.root, service).value().is_some_and(|loaded| !loaded.masked))
    }

    /// SysV's links `S20name` in the run levels, or OpenRC's.
    fn of_init(&self, services: &[&str]) -> (String, Seen<String>) {
        let mut any_level = false;
        let mut blind: Option<Blind> = None;
        let stems: Vec<&str> =
            services.iter().map(|service| service.split(['.', '@']).next().unwrap_or(service)).collect();
        for level in ["rc2.d", "rc3.d", "rc4.d", "rc5.d", "runlevels/default"] {
            let directory = self.root.join("etc").join(level);
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    if let Seen::Unknown(why) = read::refused::<()>("list", &directory, &error) {
                        blind.get_or_insert(why);
                    }
                    continue;
                }
            };
            any_level = true;
            for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
                let started = if level.starts_with("rc") {
                    name.strip_prefix('S').and_then(|rest| rest.get(2..)).unwrap_or_default()
                } else {
                    name.as_str()
                };
                if let Some(stem) = stems.iter().find(|stem| **stem == started) {
                    return ((*stem).to_owned(), Seen::Value(read::shown(&directory.join(&name))));
                }
            }
        }
        let state = match blind {
            Some(blind) => Seen::Unknown(blind),
            None if any_level || self.systemd.value().is_some() => Seen::Absent,
            None => Seen::not_attempted("what starts services here is not known"),
        };
        (String::new(), state)
    }

    /// What the first of these services that has a unit would start.
    pub fn command(&self, services: &[&str]) -> Seen<Command> {
        for service in services {
            let loaded = match files::load(&self.root, service) {
                Seen::Value(loaded) if !loaded.masked => loaded,
                Seen::Value(_) | Seen::Absent => continue,
                Seen::Unknown(blind) => return Seen::Unknown(blind),
            };
            let mut command = Command::default();
            for line in assignments(&loaded.texts).into_iter().filter(|line| line.section == "Service") {
                let at = FileLine { file: line.file, line: line.line };
                match line.key.as_str() {
                    "ExecStart" => {
                        let at = (!line.value.is_empty()).then_some(at);
                        command.text = line.value;
                        command.at = at;
                    }
                    "Environment" | "EnvironmentFile" if line.value.is_empty() => command.environment.clear(),
                    "Environment" if command.environment.len() < VARIABLES_MAX => {
                        command.environment.push(Environment::Assigned(line.value, at));
                    }
                    "EnvironmentFile" if command.environment.len() < VARIABLES_MAX => {
                        let path = line.value.strip_prefix('-').unwrap_or(&line.value).to_owned();
                        command.environment.push(Environment::File(path));
                    }
                    _ => {}
                }
            }
            return Seen::Value(command);
        }
        Seen::Absent
    }
}
