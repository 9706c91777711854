//! The build of what is published, and the list of crates that really went into it.

use super::TESTED;
use crate::tree;
use crate::trouble::Trouble;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug)]
pub struct Built {
    pub binary: PathBuf,
    /// Cargo's package ids of everything that was compiled for it, build scripts and macros included.
    pub crates: BTreeSet<String>,
}

pub fn build(root: &Path, profile: &str) -> Result<Built, Trouble> {
    let mut cargo = Command::new(tree::cargo());
    cargo
        .args(["build", "--locked", "--profile", profile, "--package", "mxray", "--bin", "mxray"])
        .arg("--message-format=json-render-diagnostics")
        // Set by `cargo run` for xtask; crates whose build script reads it would be built again each time.
        .env_remove("CARGO_MANIFEST_DIR")
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // With flags of its own nothing that the tests have built would be used.
    if profile != TESTED {
        cargo.env("CARGO_ENCODED_RUSTFLAGS", without_paths(root));
    }
    let done = cargo
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .map_err(|source| Trouble::Start { program: "cargo build".to_owned(), source })?;
    if !done.status.success() {
        let stderr = String::new();
        return Err(Trouble::Ended { program: "cargo build".to_owned(), status: done.status, stderr });
    }
    read(&String::from_utf8_lossy(&done.stdout))
}

/// Panic messages name source files. With these flags they name neither the home nor the checkout of who built it.
fn without_paths(root: &Path) -> std::ffi::OsString {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = std::ffi::OsString::new();
    for (from, to) in [(Some(root.to_owned()), "/mxray"), (home, "/cargo")] {
        let Some(from) = from else { continue };
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}

fn read(messages: &str) -> Result<Built, Trouble> {
    let mut crates = BTreeSet::new();
    let mut binary = None;
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)
            .map_err(|source| Trouble::Json { what: "a message of cargo build".to_owned(), source })?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        crates.extend(message["package_id"].as_str().map(str::to_owned));
        if message["target"]["name"] == "mxray" {
            binary = message["executable"].as_str().map(PathBuf::from).or(binary);
        }
    }
    match binary {
        Some(binary) => Ok(Built { binary, crates }),
        None => Err(Trouble::found("cargo build made no executable mxray")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_and_every_crate_are_read_from_the_messages() {
        let built = read(concat!(
            "{\"reason\":\"compiler-artifact\",\"package_id\":\"a#1\",\"target\":{\"name\":\"a\"},\"executable\":null}\n",
            "{\"reason\":\"build-script-executed\",\"package_id\":\"b#1\"}\n",
            "{\"reason\":\"compiler-artifact\",\"package_id\":\"m#1\",\"target\":{\"name\":\"mxray\"},\"executable\":\"/t/mxray\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        ))
        .unwrap();
        assert_eq!(built.binary, Path::new("/t/mxray"));
        assert_eq!(built.crates, BTreeSet::from(["a#1".to_owned(), "m#1".to_owned()]));
    }

    #[test]
    fn a_build_without_the_executable_is_refused() {
        assert!(read("{\"reason\":\"build-finished\",\"success\":true}\n").is_err());
    }
}
