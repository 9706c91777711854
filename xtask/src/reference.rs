//! docs/manual/reference.md: every command and option, made from the same definition that parses them.

use crate::generated::Generated;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

const PROGRAM: &str = "mxray";
const MADE: &str = "<!-- Made by `cargo xtask generate` from the command line's definition. Edit that. -->\n";

/// `variables`: what the program reads from its environment, and what each does.
pub fn generate(command: Command, variables: &[(&str, &str)]) -> Generated {
    let mut command = command.term_width(0);
    command.build();
    let mut text = format!("{MADE}# Command reference\n");
    write_command(&mut text, &mut command, PROGRAM);
    if !variables.is_empty() {
        text.push_str("\n## Environment\n\n| variable | meaning |\n|---|---|\n");
    }
    for (name, meaning) in variables {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "| `{name}` | {} |", cell(meaning));
    }
    let mut set = Generated::default();
    set.add("docs/manual/reference.md", text);
    set
}

fn write_command(text: &mut String, command: &mut Command, path: &str) {
    let _ = write!(text, "\n## {path}\n");
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = write!(text, "\n{}\n", about.to_string().trim());
    }
    let usage = command.render_usage().to_string();
    let _ = write!(text, "\n```text\n{}\n```\n", usage.trim().trim_start_matches("Usage: "));
    // Options that every command takes stand with the program alone.
    let repeated = |arg: &Arg| arg.is_global_set() && path != PROGRAM;
    let visible =
        |arg: &&Arg| !arg.is_hide_set() && !repeated(arg) && !matches!(arg.get_id().as_str(), "help" | "version");
    let (places, options): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(visible).partition(|arg| arg.is_positional());
    for (title, args) in [("argument", places), ("option", options)] {
        if !args.is_empty() {
            let _ = write!(text, "\n| {title} | meaning |\n|---|---|\n");
        }
        for arg in args {
            let _ = writeln!(text, "| {} | {} |", cell(&spelling(arg)), meaning(arg));
        }
    }
    if let Some(after) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        let _ = write!(text, "\n```text\n{}\n```\n", after.to_string().trim());
    }
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        write_command(text, sub, &path);
    }
}

fn spelling(arg: &Arg) -> String {
    let mut values: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    if values.is_empty() {
        values.push(arg.get_id().as_str().to_uppercase());
    }
    let value = values.join(" ");
    if arg.is_positional() {
        let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        return format!("`{value}{}`", if many { "…" } else { "" });
    }
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let mut names: Vec<String> = Vec::new();
    names.extend(arg.get_short().map(|short| format!("`-{short}`")));
    names.extend(arg.get_long().map(|long| if takes { format!("`--{long} {value}`") } else { format!("`--{long}`") }));
    names.join(", ")
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut meaning = help.split("\n\n").map(sentence).collect::<Vec<_>>().join(" ");
    let shown: Vec<String> = match arg.get_action() {
        ArgAction::Set | ArgAction::Append => arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect(),
        _ => Vec::new(),
    };
    let mut extras = Vec::new();
    if !shown.is_empty() {
        extras.push(format!("One of {}.", shown.join(", ")));
    }
    if let (ArgAction::Set, [default, ..]) = (arg.get_action(), arg.get_default_values()) {
        extras.push(format!("Default: `{}`.", default.to_string_lossy()));
    }
    for extra in extras {
        meaning.push(' ');
        meaning.push_str(&extra);
    }
    cell(meaning.trim())
}

/// A paragraph of help on one line, ended as a sentence.
fn sentence(paragraph: &str) -> String {
    let mut sentence = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// Text that stays in its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Command {
        let format = Arg::new("format")
            .long("format")
            .short('f')
            .value_name("FORMAT")
            .value_parser(["text", "json"])
            .default_value("text")
            .help("How to print: a|b");
        let colour = Arg::new("color")
            .long("color")
            .global(true)
            .value_name("WHEN|HOW")
            .help("Colours")
            .long_help("Colours\n\nOn a\nterminal");
        Command::new("mxray").about("X-ray for mail servers").arg(colour).after_help("Exit codes:\n  0").subcommand(
            Command::new("doctor")
                .about("The main job")
                .arg(Arg::new("TARGET").num_args(0..).help("What to examine"))
                .arg(format)
                .arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue).help("Say less"))
                .arg(Arg::new("secret").long("secret").hide(true)),
        )
    }

    #[test]
    fn every_visible_option_stands_with_value_and_default() {
        let set = generate(sample(), &[("MXRAY_COLOR", "auto|never")]);
        let page = &set.files[std::path::Path::new("docs/manual/reference.md")];
        assert!(page.contains("\n## mxray\n\nX-ray for mail servers\n"), "{page}");
        assert!(page.contains("\n## mxray doctor\n\nThe main job\n"), "{page}");
        assert!(page.contains("| `TARGET…` | What to examine. |"), "{page}");
        let format = "| `-f`, `--format FORMAT` | How to print: a\\|b. One of `text`, `json`. Default: `text`. |";
        assert!(page.contains(format), "{page}");
        assert!(page.contains("| `--quiet` | Say less. |"), "{page}");
        assert_eq!(page.matches("| `--color WHEN\\|HOW` | Colours. On a terminal. |").count(), 1, "{page}");
        assert!(page.contains("\n```text\nExit codes:\n  0\n```\n"), "{page}");
        assert!(
            page.ends_with("\n## Environment\n\n| variable | meaning |\n|---|---|\n| `MXRAY_COLOR` | auto\\|never |\n")
        );
        assert!(!page.contains("secret") && !page.contains("## mxray help"), "{page}");
    }
}
