//! What is generated from the grammar: completions and man pages.

use crate::cli::{CompletionsArgs, ManArgs, command};
use crate::exit::{self, Failure};
use crate::output::Output;
use clap_mangen::Man;
use std::path::Path;

pub fn completions(args: &CompletionsArgs, output: &mut Output) -> Result<u8, Failure> {
    // The generators panic when a write fails, so they get a buffer.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "mxray", &mut script);
    output.emit(|out| out.write_all(&script))?;
    Ok(exit::OK)
}

pub fn man(args: &ManArgs, output: &mut Output) -> Result<u8, Failure> {
    match &args.dir {
        None => {
            let page = Man::new(built());
            output.emit(|mut out| page.render(&mut out))?;
        }
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .map_err(|error| Failure::Unanswered(format!("create {}: {error}", dir.display())))?;
            write_pages(&built(), dir)?;
        }
    }
    Ok(exit::OK)
}

/// With the names of subcommands spelled out (`mxray-config-check`), and global options handed down.
fn built() -> clap::Command {
    let mut command = command().disable_help_subcommand(true);
    command.build();
    command
}

fn write_pages(command: &clap::Command, dir: &Path) -> Result<(), Failure> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, dir)?;
    }
    let page = Man::new(command.clone());
    let path = dir.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)
        .and_then(|()| std::fs::write(&path, &text))
        .map_err(|error| Failure::Unanswered(format!("write {}: {error}", path.display())))
}
