//! The tar for machines without dpkg: unpack, run.

use super::Release;
use super::stage::{Stage, Tree};
use crate::tree;
use crate::trouble::Trouble;
use std::path::PathBuf;
use std::process::Command;

pub fn pack(release: &Release, stage: &Stage) -> Result<PathBuf, Trouble> {
    let name = format!("mxray-{}-{}-linux", release.version, release.architecture.machine);
    let base = stage.directory.join(&name);
    let tree = Tree::new(&base)?;
    tree.program("mxray", &stage.binary)?;
    tree.file("mxray.toml", &stage.sample)?;
    tree.file("THIRD-PARTY.txt", stage.third_party.as_bytes())?;
    for file in ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        tree.file(file, tree::read(&release.root.join(file))?.as_bytes())?;
    }
    for (name, page) in &stage.man {
        tree.file(&format!("man/{name}"), page)?;
    }
    for (shell, script) in &stage.completions {
        tree.file(&format!("completions/mxray.{shell}"), script)?;
    }
    for (path, text) in &stage.documents {
        tree.file(&format!("docs/{path}"), text)?;
    }
    let packed = release.out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{}", release.epoch))
        // Without a time and a name of its own in the gzip header.
        .arg(format!("--use-compress-program=gzip -{} --no-name", release.compression))
        .arg("--file")
        .arg(&packed)
        .arg("--directory")
        .arg(&stage.directory)
        .arg(&name);
    tree::output(&mut tar)?;
    Ok(packed)
}
