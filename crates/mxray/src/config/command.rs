//! `mxray config check|show|sample`.

use super::{Config, Origin, SAMPLE, keys, worded};
use crate::cli::{ListFormat, ShowArgs};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::{Output, say};
use crate::replies::Replies;
use mxray_render::write_json;
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

/// The name of this JSON form.
const SCHEMA: &str = "mxray/config/1";

/// Says what is wrong, all of it. A file at the usual place that may not be read is wrong here: it was asked about.
pub fn check(named: Option<&Path>, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let mut config = Config::default();
    let complaints = config.read_files(named.or(environment.config.as_deref()), environment);
    for file in &config.unread {
        say(&format!("mxray: {}: {}", file.path.display(), file.why));
    }
    if !complaints.is_empty() {
        say(&worded(&complaints, environment));
    }
    if !complaints.is_empty() || !config.unread.is_empty() {
        return Ok(exit::FINDING);
    }
    config.apply_environment(environment).map_err(Failure::Usage)?;
    let replies = Replies::read(&[], &config)?;
    if !replies.unused().is_empty() {
        replies.tell();
        return Ok(exit::FINDING);
    }
    output.emit(|out| {
        for file in config.files.iter().chain(&config.settings.replies.rules) {
            writeln!(out, "ok: {}", file.display())?;
        }
        if config.files.is_empty() {
            writeln!(out, "ok: no configuration file; the defaults hold")?;
        }
        Ok(())
    })?;
    Ok(exit::OK)
}

#[derive(Serialize)]
struct Rows {
    schema: &'static str,
    rows: Vec<Row>,
    unseen: Vec<mxray_model::Unseen>,
}

#[derive(Serialize)]
struct Row {
    key: String,
    /// As it would stand in the file.
    value: String,
    from: String,
}

pub fn show(args: &ShowArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment.format(args.format.json, args.format.format, ListFormat::Text).map_err(Failure::Usage)?;
    output.emit(|out| match format {
        ListFormat::Text => as_text(config, out),
        ListFormat::Json => write_json(&rows(config), out),
    })?;
    Ok(exit::OK)
}

/// A file that could be used as it is, with the origin behind each value.
fn as_text(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let mut section = "";
    for key in keys::KEYS {
        if key.section != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}[{}]", key.section)?;
            section = key.section;
        }
        let value = (key.show)(&config.settings);
        match config.origin(&key.path()) {
            Origin::Default => writeln!(out, "{} = {value}", key.name)?,
            origin => writeln!(out, "{} = {value}  # {origin}", key.name)?,
        }
    }
    for file in &config.unread {
        writeln!(out, "\n# not read: {}: {}", file.path.display(), file.why)?;
    }
    Ok(())
}

fn rows(config: &Config) -> Rows {
    let rows = keys::KEYS
        .iter()
        .map(|key| Row {
            key: key.path(),
            value: (key.show)(&config.settings),
            from: config.origin(&key.path()).to_string(),
        })
        .collect();
    let unseen = config
        .unread
        .iter()
        .map(|file| mxray_model::Unseen {
            what: file.path.display().to_string(),
            why: file.why.clone(),
            needs: "root, or a readable file".to_owned(),
        })
        .collect();
    Rows { schema: SCHEMA, rows, unseen }
}

pub fn sample(output: &mut Output) -> Result<u8, Failure> {
    output.emit(|out| out.write_all(SAMPLE.as_bytes()))?;
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        let mut config = Config::default();
        let text = "[network]\npublic_prefixes = [\"198.51.100.0/24\"]\n[dns]\nservers = [\"192.0.2.53\"]\n\
                    [lists]\nzones = [{ zone = \"bl.example.org\", kind = \"ipv4\", codes = { \"127.0.0.2\" = \"a \\\"b\\\"\" } }]\n\
                    [submission]\nuser = \"u\"\npassword = \"env:P\"\n[doctor]\nsince = \"7d\"\nfail_on = \"never\"\n";
        assert!(super::super::read::merge(&mut config, Path::new("f"), text).is_empty());
        let mut shown = Vec::new();
        as_text(&config, &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        let mut again = Config::default();
        let complaints = super::super::read::merge(&mut again, Path::new("g"), &shown);
        assert!(complaints.is_empty(), "{complaints:?}\n{shown}");
        assert_eq!(again.settings, config.settings);
        assert!(shown.contains("password = \"env:P\"  # f:9"), "{shown}");
    }
}
