//! `sinner FILE…`: serves scenario files until it is killed, and says where.

use mxray_wire::scenario::Scenario;
use sinner::Sinner;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "sinner: {error}");
            ExitCode::from(64)
        }
    }
}

fn serve() -> Result<(), String> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        return Err(
            "usage: sinner FILE…   serves each scenario file on a port of 127.0.0.1, and prints `FILE ADDRESS`".into(),
        );
    }
    let mut out = io::stdout();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let scenario = Scenario::parse(&text).map_err(|error| format!("{file}: {error}"))?;
        let sinner = Sinner::serve(scenario).map_err(|error| format!("{file}: {error}"))?;
        writeln!(out, "{file} {}", sinner.address).map_err(|error| error.to_string())?;
    }
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    loop {
        std::thread::park();
    }
}
