//! `lab`: runs faults against `mxray doctor`, or a host for a person to look at.

use lab::doctor::{self, Circumstances};
use lab::host::Host;
use lab::machine::say;
use lab::runner::{self, Plan};
use lab::{fault, host, preflight, table, verdicts};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: lab all | share | changed | FAULT… | host:NAME… | table:NAME…
                                                      run faults, healthy hosts, tables of verdicts; print what came of it
       lab list                                       what there is
       lab run HOST -- COMMAND…                       bring a host up, run a command on it, take it down
       lab shell HOST                                 the same with a shell
       lab shell FAULT                                a shell on a host with this fault in place
options: --unprivileged      examine as uid 65534
         --without-netlink   examine where no netlink socket can be opened
         --jobs N            hosts side by side (default 3)
         --keep DIRECTORY    keep each report there, for mxray doctor --replay
         --results FILE      write the table there (`all` writes bench/results/lab.md without being told)
The program under test is $MXRAY_BIN, else target/release/mxray, else target/debug/mxray.";

/// What the command line asked for.
#[derive(Debug, Default)]
struct Asked {
    words: Vec<String>,
    after_dashes: Vec<String>,
    circumstances: Circumstances,
    jobs: usize,
    results: Option<PathBuf>,
    keep: Option<PathBuf>,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { jobs: 3, ..Asked::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--unprivileged" => asked.circumstances.unprivileged = true,
            "--without-netlink" => asked.circumstances.without_netlink = true,
            "--jobs" => {
                let given = arguments.next().unwrap_or_default();
                asked.jobs = given.parse().map_err(|_| format!("--jobs wants a number, not {given:?}"))?;
            }
            "--keep" => asked.keep = Some(arguments.next().ok_or("--keep wants a directory")?.into()),
            "--results" => asked.results = Some(arguments.next().ok_or("--results wants a file")?.into()),
            "--" => asked.after_dashes = arguments.by_ref().collect(),
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            _ => asked.words.push(argument),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) if !asked.words.is_empty() => asked,
        Ok(_) => return usage(""),
        Err(error) => return usage(&error),
    };
    if let Err(reason) = preflight::check() {
        say(&format!("lab: cannot run here: {reason}"));
        return ExitCode::from(2);
    }
    let done = match asked.words.first().map(String::as_str) {
        Some("list") => list(),
        Some("run") => on_host(&asked, &asked.after_dashes),
        Some("shell") => on_host(&asked, &["bash".to_owned(), "-i".to_owned()]),
        _ => run(&asked),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            say(&format!("lab: {error}"));
            ExitCode::from(2)
        }
    }
}

fn usage(error: &str) -> ExitCode {
    if !error.is_empty() {
        say(&format!("lab: {error}"));
    }
    say(USAGE);
    ExitCode::from(64)
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn list() -> io::Result<ExitCode> {
    let mut text = String::new();
    for (slug, file) in host::all()? {
        text.push_str(&format!("host:{slug}\t{}\n", file.about));
    }
    for (slug, fault) in fault::all()? {
        text.push_str(&format!("{slug}\t{}\t{}\n", fault.expect, fault.about));
    }
    for (slug, table) in verdicts::all()? {
        text.push_str(&format!("table:{slug}\t{} cases\t{}\n", table.case.len(), table.about));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Brings up a host (with a fault, if a fault was named), runs a command on it with this terminal, takes it down.
fn on_host(asked: &Asked, argv: &[String]) -> io::Result<ExitCode> {
    let (Some(name), false) = (asked.words.get(1), argv.is_empty()) else { return Ok(usage("a host and a command")) };
    let (hosts, faults) = (host::all()?, fault::all()?);
    let fault = faults.get(name);
    let slug = fault.map_or(name.as_str(), |fault| fault.host.as_str());
    let file = hosts.get(slug).ok_or_else(|| io::Error::other(format!("neither a host nor a fault: {name}")))?;
    let mxray = doctor::binary().inspect_err(|reason| say(&format!("lab: {reason}; going on without it"))).ok();
    let host = Host::up(slug, file, mxray.as_deref())?;
    let traces = host.traces();
    let injected = fault.map(|fault| fault.inject(name, &host)).transpose()?;
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let status = host.machine.command(&words).status()?;
    drop(injected);
    drop(host);
    report_leftovers(&runner::leftovers(&traces))?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn report_leftovers(left: &[String]) -> io::Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("the lab left something behind: {}", left.join(", "))))
}

fn plan(asked: &Asked) -> io::Result<Plan> {
    let mut plan = match asked.words.first().map(String::as_str) {
        Some("all") => runner::everything()?,
        Some("share") => runner::share()?,
        Some("changed") => lab::changed::plan()?,
        _ => named(&asked.words)?,
    };
    plan.circumstances = asked.circumstances;
    plan.jobs = asked.jobs;
    plan.keep = asked.keep.clone();
    Ok(plan)
}

fn named(words: &[String]) -> io::Result<Plan> {
    let everything = runner::everything()?;
    let mut plan = Plan::default();
    for word in words {
        let host = word.strip_prefix("host:").and_then(|name| everything.healthy.get_key_value(name));
        let table = word.strip_prefix("table:").and_then(|name| everything.tables.get_key_value(name));
        if let Some((name, table)) = table {
            plan.tables.insert(name.clone(), table.clone());
        } else if let Some((name, file)) = host {
            plan.healthy.insert(name.clone(), file.clone());
        } else if let Some(fault) = everything.faults.get(word) {
            plan.faults.insert(word.clone(), fault.clone());
        } else {
            return Err(io::Error::other(format!(
                "neither a fault, nor host:NAME of a healthy host, nor table:NAME: {word}"
            )));
        }
    }
    Ok(plan)
}

fn run(asked: &Asked) -> io::Result<ExitCode> {
    let plan = plan(asked)?;
    let mxray = doctor::binary().map_err(io::Error::other)?;
    let outcomes = runner::run(&plan, &mxray)?;
    print(&table::rows(&outcomes.cases))?;
    print(&format!("\n{}\n", table::summary(&outcomes)))?;
    let all = asked.words.first().is_some_and(|word| word == "all");
    let standard = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bench/results").join(
        match (asked.circumstances.unprivileged, asked.circumstances.without_netlink) {
            (false, false) => "lab.md",
            (true, false) => "lab-unprivileged.md",
            (false, true) => "lab-without-netlink.md",
            (true, true) => "lab-unprivileged-without-netlink.md",
        },
    );
    if let Some(file) = asked.results.clone().or_else(|| all.then_some(standard)) {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        std::fs::write(&file, table::results(&outcomes, &format!("cargo run -p lab -- {}", arguments.join(" "))))?;
    }
    report_leftovers(&outcomes.left)?;
    let good = outcomes.cases.iter().all(runner::Case::good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
