//! What a change touches: the share, and the faults, hosts and tables whose files it adds or edits.

use crate::runner::{self, Plan};
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The empty tree, which git knows in every repository: everything differs from it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
/// On the main branch itself, what was committed within this time before its last commit counts as the change. Everything
/// runs with `lab all`.
const CHANGE_S: i64 = 3 * 60 * 60;

/// The share, and every fault, host and table whose file differs from the base.
///
/// The base is `$LAB_BASE`, else the branch point from `main`, else (on `main`) the last commit that is three hours older.
///
/// # Errors
/// git is not there, or this is no repository.
pub fn plan() -> io::Result<Plan> {
    let base = base()?;
    let mut names = git(&["diff", "--name-only", "--relative", &base, "--", "faults", "hosts", "tables"])?;
    names.push_str(&git(&["ls-files", "--others", "--exclude-standard", "--", "faults", "hosts", "tables"])?);
    let everything = runner::everything()?;
    let mut plan = runner::share()?;
    for path in names.lines().map(PathBuf::from) {
        let slug = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.starts_with("faults") {
            plan.faults.extend(everything.faults.get_key_value(slug).map(|(k, v)| (k.clone(), v.clone())));
        } else if path.starts_with("tables") {
            plan.tables.extend(everything.tables.get_key_value(slug).map(|(k, v)| (k.clone(), v.clone())));
        } else {
            plan.healthy.extend(everything.healthy.get_key_value(slug).map(|(k, v)| (k.clone(), v.clone())));
        }
    }
    Ok(plan)
}

fn base() -> io::Result<String> {
    if let Ok(base) = std::env::var("LAB_BASE") {
        return line(&["merge-base", "HEAD", &base]);
    }
    let head = line(&["rev-parse", "HEAD"])?;
    if let Ok(point) = line(&["merge-base", "HEAD", "main"])
        && point != head
    {
        return Ok(point);
    }
    let committed: i64 = line(&["show", "--no-patch", "--format=%ct", "HEAD"])?.parse().map_err(io::Error::other)?;
    let before = line(&["rev-list", "--max-count=1", &format!("--before={}", committed - CHANGE_S), "HEAD"])?;
    Ok(if before.is_empty() { EMPTY_TREE.to_owned() } else { before })
}

fn line(arguments: &[&str]) -> io::Result<String> {
    Ok(git(arguments)?.trim().to_owned())
}

fn git(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("git {}: {error}", arguments.join(" "))))
}
