//! `cargo xtask dist`: what the sick server gets, which has no cargo.
//!
//! A tar and a Debian package from one staged tree. Two runs over the same commit give the same bytes: every time
//! stamp is the commit's, every owner root, every list sorted, and no path of the building machine is compiled in.

mod build;
mod deb;
mod elf;
mod licences;
mod stage;
mod tar;

use crate::tree;
use crate::trouble::Trouble;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What design promises; a dependency that doubles the binary has to be noticed on the day it comes.
const BINARY_BYTES_MAX: u64 = 30 * 1000 * 1000;
/// Cargo's profile of what is published.
const PUBLISHED: &str = "dist";
/// The profile that tests are built with. What is packed of it shows that packing works, and is built already.
const TESTED: &str = "dev";

/// What every step needs to know.
#[derive(Debug)]
struct Release {
    root: PathBuf,
    /// Where the artefacts go: the target folder's `dist`.
    out: PathBuf,
    version: String,
    /// Seconds since 1970, of everything that is packed.
    epoch: u64,
    architecture: Architecture,
    /// 1 to 9, of gzip and xz: what only tests unpack is packed fast.
    compression: u8,
}

#[derive(Debug, Clone, Copy)]
struct Architecture {
    /// As in `uname -m`.
    machine: &'static str,
    /// As in `dpkg --print-architecture`.
    debian: &'static str,
}

pub fn make(root: &Path, profile: &str) -> Result<Vec<String>, Trouble> {
    let metadata = tree::metadata(root, &[])?;
    let release = Release {
        root: root.to_owned(),
        out: Path::new(metadata["target_directory"].as_str().unwrap_or("target")).join("dist"),
        version: version(&metadata)?,
        epoch: epoch(root)?,
        architecture: architecture()?,
        compression: if profile == TESTED { 1 } else { 9 },
    };
    let mut built = build::build(root, profile)?;
    if profile == TESTED {
        built.binary = stripped(&built.binary, &release.out)?;
    }
    let bytes = fs::read(&built.binary).map_err(Trouble::file("read", &built.binary))?;
    let image = elf::Image::read(&bytes).ok_or_else(|| {
        Trouble::found(format!("{} is not a 64-bit ELF file that we can read", built.binary.display()))
    })?;
    weigh(bytes.len() as u64, &image, profile)?;

    let third_party = licences::collect(&metadata, &built.crates)?;
    let stage = stage::Stage::fill(&release, &built.binary, &third_party)?;
    let artefacts = [tar::pack(&release, &stage)?, deb::pack(&release, &stage, &image)?];

    let mut lines = vec![format!(
        "{:>9} bytes  {} (binary; published: at most {BINARY_BYTES_MAX})",
        bytes.len(),
        built.binary.display()
    )];
    let mut sums = Command::new("sha256sum");
    sums.current_dir(&release.out);
    for artefact in &artefacts {
        let size = fs::metadata(artefact).map_err(Trouble::file("look at", artefact))?.len();
        lines.push(format!("{size:>9} bytes  {}", artefact.display()));
        sums.args(artefact.file_name());
    }
    tree::write(&release.out.join("SHA256SUMS"), tree::output(&mut sums)?)?;
    Ok(lines)
}

/// A copy without its symbols, which the other profiles never write.
fn stripped(binary: &Path, out: &Path) -> Result<PathBuf, Trouble> {
    fs::create_dir_all(out).map_err(Trouble::file("make", out))?;
    let copy = out.join("mxray.stripped");
    tree::output(Command::new("strip").arg("--strip-all").arg("-o").args([&copy, binary]))?;
    Ok(copy)
}

/// The promise is about what is published; without optimisation across crates a binary is half as large again.
fn weigh(bytes: u64, image: &elf::Image, profile: &str) -> Result<(), Trouble> {
    if profile == PUBLISHED && bytes > BINARY_BYTES_MAX {
        return Err(Trouble::found(format!("the binary has {bytes} bytes, more than {BINARY_BYTES_MAX}")));
    }
    if image.has_symbols {
        return Err(Trouble::found("the binary still carries its symbol table: its profile has to strip it"));
    }
    Ok(())
}

fn version(metadata: &serde_json::Value) -> Result<String, Trouble> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let product = packages.iter().find(|package| package["name"] == "mxray");
    match product.and_then(|package| package["version"].as_str()) {
        Some(version) => Ok(version.to_owned()),
        None => Err(Trouble::found("cargo metadata knows no package mxray")),
    }
}

/// SOURCE_DATE_EPOCH, or the time of the commit.
fn epoch(root: &Path) -> Result<u64, Trouble> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(set) => set,
        Err(_) => {
            let mut git = Command::new("git");
            git.args(["log", "-1", "--format=%ct"]).current_dir(root);
            let shown = tree::output(&mut git).map_err(|trouble| {
                Trouble::found(format!("the time of the commit is not known, set SOURCE_DATE_EPOCH: {trouble}"))
            })?;
            String::from_utf8_lossy(&shown).into_owned()
        }
    };
    text.trim().parse().map_err(|_| Trouble::found(format!("`{}` is not a time in seconds", text.trim())))
}

fn architecture() -> Result<Architecture, Trouble> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(Architecture { machine: "x86_64", debian: "amd64" }),
        "aarch64" => Ok(Architecture { machine: "aarch64", debian: "arm64" }),
        other => Err(Trouble::found(format!("no package is made for {other}"))),
    }
}
