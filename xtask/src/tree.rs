//! The working tree: where it is, and how its files are read and written.

use crate::trouble::Trouble;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace this was started in.
///
/// Taken from cargo at run time: a path compiled in would name whichever checkout last filled a shared target folder.
pub fn root() -> Result<PathBuf, Trouble> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or_else(|| Trouble::found("CARGO_MANIFEST_DIR is not set: start this as `cargo xtask …`"))?;
    match Path::new(&manifest).parent() {
        Some(root) => Ok(root.to_owned()),
        None => Err(Trouble::found("CARGO_MANIFEST_DIR has no parent directory")),
    }
}

pub fn read(path: &Path) -> Result<String, Trouble> {
    fs::read_to_string(path).map_err(Trouble::file("read", path))
}

pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Trouble> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Trouble::file("make", directory))?;
    }
    fs::write(path, bytes).map_err(Trouble::file("write", path))
}

/// The names in a directory, sorted; an absent directory has none.
pub fn names(directory: &Path) -> Result<Vec<String>, Trouble> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Trouble::file("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Trouble::file("list", directory))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Runs a program to its end and returns what it printed.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Trouble> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|source| Trouble::Start { program: program.clone(), source })?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let stderr = String::from_utf8_lossy(&done.stderr).trim_end().to_owned();
    Err(Trouble::Ended { program, status: done.status, stderr })
}

/// What cargo says about the workspace. `extra` narrows it (`--no-deps`).
pub fn metadata(root: &Path, extra: &[&str]) -> Result<Value, Trouble> {
    let mut cargo = Command::new(cargo());
    cargo.args(["metadata", "--format-version", "1", "--locked"]).args(extra).current_dir(root);
    let bytes = output(&mut cargo)?;
    serde_json::from_slice(&bytes).map_err(|source| Trouble::Json { what: "cargo metadata".to_owned(), source })
}

/// The cargo that started this, so that a toolchain chosen with `cargo +…` stays chosen.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
