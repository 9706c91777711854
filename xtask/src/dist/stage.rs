//! The content of the artefacts, gathered once: the binary, and what the binary says about itself.
//!
//! Man pages, completions and the sample configuration are printed by the program that is packed, so they cannot be
//! those of another version.

use super::Release;
use crate::tree;
use crate::trouble::Trouble;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Content by its place in the artefacts.
#[derive(Debug)]
pub struct Stage {
    /// The directory that holds what follows.
    pub directory: PathBuf,
    pub binary: Vec<u8>,
    /// File name (`mxray-doctor.1`) and content.
    pub man: Vec<(String, Vec<u8>)>,
    /// Shell and content.
    pub completions: Vec<(&'static str, Vec<u8>)>,
    pub sample: Vec<u8>,
    pub third_party: String,
    /// File name and content of docs/manual and docs/catalogue, by directory name.
    pub documents: Vec<(String, Vec<u8>)>,
}

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

impl Stage {
    pub fn fill(release: &Release, binary: &Path, third_party: &str) -> Result<Stage, Trouble> {
        let directory = release.out.join("stage");
        clear(&directory)?;
        let pages = directory.join("man-pages");
        fs::create_dir_all(&pages).map_err(Trouble::file("make", &pages))?;
        ask(binary, &["man", "--dir", &pages.to_string_lossy()])?;
        let mut man = Vec::new();
        for name in tree::names(&pages)? {
            let bytes = bytes(&pages.join(&name))?;
            man.push((name, bytes));
        }
        if man.is_empty() {
            return Err(Trouble::found("`mxray man --dir` wrote no page"));
        }
        let mut completions = Vec::new();
        for shell in SHELLS {
            completions.push((shell, ask(binary, &["completions", shell])?));
        }
        let sample = ask(binary, &["config", "sample"])?;
        let mut documents = Vec::new();
        for part in ["manual", "catalogue"] {
            let directory = release.root.join("docs").join(part);
            for name in tree::names(&directory)? {
                documents.push((format!("{part}/{name}"), bytes(&directory.join(&name))?));
            }
        }
        let binary = bytes(binary)?;
        Ok(Stage { directory, binary, man, completions, sample, third_party: third_party.to_owned(), documents })
    }
}

/// Runs the program that is packed; an empty answer is a fault of its own.
fn ask(binary: &Path, words: &[&str]) -> Result<Vec<u8>, Trouble> {
    let said = tree::output(Command::new(binary).args(words).env("NO_COLOR", "1"))?;
    if said.is_empty() && words.first() != Some(&"man") {
        return Err(Trouble::found(format!("`mxray {}` printed nothing", words.join(" "))));
    }
    Ok(said)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(path).map_err(Trouble::file("read", path))
}

fn clear(directory: &Path) -> Result<(), Trouble> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Trouble::file("remove", directory)(error)),
        _ => Ok(()),
    }
}

/// A tree being laid out on disk, with the modes that it is to have whatever the umask of who packs it.
#[derive(Debug)]
pub struct Tree<'a> {
    base: &'a Path,
}

impl<'a> Tree<'a> {
    /// An empty tree at this place.
    pub fn new(base: &'a Path) -> Result<Self, Trouble> {
        clear(base)?;
        fs::create_dir_all(base).map_err(Trouble::file("make", base))?;
        mode(base, 0o755)?;
        Ok(Tree { base })
    }

    pub fn file(&self, path: &str, bytes: &[u8]) -> Result<(), Trouble> {
        self.put(path, bytes, 0o644)
    }

    pub fn program(&self, path: &str, bytes: &[u8]) -> Result<(), Trouble> {
        self.put(path, bytes, 0o755)
    }

    fn put(&self, path: &str, bytes: &[u8], wanted: u32) -> Result<(), Trouble> {
        let full = self.base.join(path);
        tree::write(&full, bytes)?;
        mode(&full, wanted)?;
        for directory in full.ancestors().skip(1).take_while(|directory| *directory != self.base) {
            mode(directory, 0o755)?;
        }
        Ok(())
    }
}

fn mode(path: &Path, mode: u32) -> Result<(), Trouble> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Trouble::file("set the mode of", path))
}
