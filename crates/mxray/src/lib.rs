//! The `mxray` command: argv, configuration, wiring, exit codes.
//!
//! What was typed stands in `cli.rs`, what it means is decided here and in each command's module. A library only so
//! that xtask can generate the reference, man pages and completions from [`command`]; nothing else may depend on it.
//! What must not live here: any judgement (`mxray-rules`), any look at the machine (`mxray-host`), any wording of a
//! report (`mxray-render`).

mod bounce;
mod cli;
mod config;
mod counters;
mod crash;
mod doctor;
mod domain;
mod environment;
mod exit;
mod explain;
mod generate;
mod lists;
mod logs;
mod mailbox;
mod output;
mod outside;
mod ports;
mod probe;
mod progress;
mod prometheus;
mod queue;
mod replies;
mod reports;
mod routes;
mod send;
mod sockets;
mod state;
mod talk;
mod watch;

pub use cli::command;
pub use config::SAMPLE as CONFIG_SAMPLE;
pub use environment::VARIABLES;

use clap::{Parser, ValueEnum};
use cli::{Cli, Command, ConfigCommand, ListFormat, ReportFormat};
use config::{Config, Flags};
use environment::Environment;
use exit::Failure;
use output::{ColourWish, Output, say};
use rustix::io::Errno;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program and says how it ended.
pub fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == mxray_net::HELPER_CALLED) {
        // Started by ourselves, to connect as another user; what it has to say goes over its channel.
        return if mxray_net::serve_as_helper().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    crash::install_hook();
    let environment = Environment::read();
    ExitCode::from(run(std::env::args_os(), &environment))
}

fn run(words: impl IntoIterator<Item = OsString>, environment: &Environment) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return not_a_command(&error, colour_typed(&words), environment),
    };
    let wish = match environment.colour_wish(cli.global.color) {
        Ok(wish) => wish,
        Err(usage) => return failed(&Failure::Usage(usage)),
    };
    let mut output = Output::stdout(wish, environment, cli.global.verbose);
    match dispatch(&cli, environment, &mut output) {
        Ok(code) => match output.finish() {
            Ok(()) => code,
            Err(error) => failed(&Failure::Output(error)),
        },
        Err(failure) => failed(&failure),
    }
}

fn dispatch(cli: &Cli, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    enter_namespace(cli)?;
    match &cli.command {
        Command::Doctor(args) => {
            let mut config = load(cli, environment)?;
            config.apply(&Flags { deadline: args.deadline, fail_on: args.fail_on, no_sessions: args.no_sessions });
            let format = environment.format(args.json, args.format, ReportFormat::Text).map_err(Failure::Usage)?;
            let place = state::place(cli, environment, config.settings.baseline.learn);
            doctor::run(args, format, &config, &place, output)
        }
        Command::Probe(args) => {
            let config = load(cli, environment)?;
            let format = environment.format(args.json, args.format, probe::Format::Text).map_err(Failure::Usage)?;
            probe::run(args, format, &config, environment, output)
        }
        Command::Sockets(args) => show_sockets(args, cli, environment, output),
        Command::Counters(args) => {
            let terminal = output.terminal();
            let format = environment.format(args.json, args.format, counters::Format::Text).map_err(Failure::Usage)?;
            let learn = load(cli, environment).is_ok_and(|config| config.settings.baseline.learn);
            let place = state::place(cli, environment, learn);
            Ok(counters::run(args, format, &place, terminal, output)?)
        }
        Command::Routes(args) => {
            let terminal = output.terminal();
            let format = environment.format(args.json, args.format, sockets::Format::Text).map_err(Failure::Usage)?;
            Ok(routes::run(args, format, output, terminal)?)
        }
        Command::Talk(args) => talk::run(args, &load(cli, environment)?, environment, output),
        Command::Send(args) => {
            let format = environment.format(args.output.json, args.output.format, ListFormat::Text);
            let servers = &load(cli, environment)?.settings.dns.servers;
            send::run(args, format.map_err(Failure::Usage)?, servers, output)
        }
        Command::Ports(command) => ports::run(command, cli, environment, output),
        Command::Domain(args) => domain::run(args, &load(cli, environment)?, environment, output),
        Command::Lists(args) => {
            lists::run(args, list_format(&args.output, environment)?, &load(cli, environment)?, environment, output)
        }
        Command::Logs(args) => {
            let format = environment.format(args.json, args.format, logs::Format::Text).map_err(Failure::Usage)?;
            logs::run(args, format, &load(cli, environment)?, environment, output)
        }
        Command::Queue(args) => {
            let terminal = output.terminal();
            queue::run(args, list_format(&args.output, environment)?, &load(cli, environment)?, terminal, output)
        }
        Command::Bounce(args) => {
            bounce::run(args, list_format(&args.output, environment)?, &load(cli, environment)?, output)
        }
        Command::Reports(args) => reports::run(args, list_format(&args.output, environment)?, environment, output),
        Command::Explain(args) => explain::run(args, &explain::pages(), environment, output),
        Command::Config(ConfigCommand::Check) => {
            config::command::check(cli.global.config.as_deref(), environment, output)
        }
        Command::Config(ConfigCommand::Show(args)) => {
            config::command::show(args, &load(cli, environment)?, environment, output)
        }
        Command::Config(ConfigCommand::Sample) => config::command::sample(output),
        Command::Completions(args) => generate::completions(args, output),
        Command::Man(args) => generate::man(args, output),
    }
}

fn show_sockets(
    args: &sockets::SocketsArgs,
    cli: &Cli,
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let (terminal, colour) = (output.terminal(), output.colour());
    let format = environment.format(args.json, args.format, sockets::Format::Text).map_err(Failure::Usage)?;
    // A configuration that cannot be read is no reason to show no sockets; what it may forbid is not done then.
    let learn = load(cli, environment).is_ok_and(|config| config.settings.baseline.learn);
    let place = state::place(cli, environment, learn);
    if args.learn || args.spikes {
        return Ok(sockets::usual::run(args, format, &place, output)?);
    }
    Ok(sockets::run(args, format, &place, output, terminal, colour)?)
}

fn enter_namespace(cli: &Cli) -> Result<(), Failure> {
    let Some(target) = &cli.global.netns else { return Ok(()) };
    target.enter().map_err(|error| {
        let help = match error.errno() {
            Some(Errno::NOENT) => "; `mxray sockets --namespaces` lists those that are here",
            Some(Errno::ACCESS | Errno::PERM) => "; it takes root (CAP_SYS_ADMIN, for a process also CAP_SYS_PTRACE)",
            _ => "",
        };
        Failure::Unanswered(format!("--netns: {error}{help}"))
    })
}

fn list_format(asked: &cli::ListFormatArgs, environment: &Environment) -> Result<ListFormat, Failure> {
    environment.format(asked.json, asked.format, ListFormat::Text).map_err(Failure::Usage)
}

fn load(cli: &Cli, environment: &Environment) -> Result<Config, Failure> {
    Config::load(cli.global.config.as_deref(), environment)
}

/// `--color` on a line that clap gave no meaning to: help, version, or a usage error.
fn colour_typed(words: &[OsString]) -> Option<ColourWish> {
    let mut words = words.iter().map(|word| word.to_string_lossy()).take_while(|word| word != "--");
    while let Some(word) = words.next() {
        let wish = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('=').map(|rest| rest.to_owned().into()),
            None => continue,
        };
        return wish.and_then(|wish| ColourWish::from_str(&wish, false).ok());
    }
    None
}

/// Help and version are data; a usage error is talk, and ends with [`exit::USAGE`] where clap would say 2.
fn not_a_command(error: &clap::Error, typed: Option<ColourWish>, environment: &Environment) -> u8 {
    let text = error.render();
    let wish = environment.colour_wish(typed).unwrap_or(ColourWish::Auto);
    if error.use_stderr() {
        let colour = output::colour_on_stderr(wish, environment);
        say(if colour { text.ansi().to_string() } else { text.to_string() }.trim_end());
        return exit::USAGE;
    }
    let mut output = Output::stdout(wish, environment, false);
    let text = if output.colour() { text.ansi().to_string() } else { text.to_string() };
    match output.emit(|out| out.write_all(text.as_bytes())).and_then(|()| output.finish()) {
        Ok(()) => exit::OK,
        Err(error) => failed(&Failure::Output(error)),
    }
}

fn failed(failure: &Failure) -> u8 {
    if let Some(message) = failure.message() {
        say(&message);
    }
    failure.code()
}
