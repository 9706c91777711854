//! THIRD-PARTY: the licence texts of every crate that was really built, from the sources that cargo unpacked.
//!
//! Permissive licences ask for their text beside the binary. Equal texts are printed once, with the crates they
//! belong to, in an order that depends on nothing but the crates.

use crate::tree;
use crate::trouble::{Trouble, none_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Longest licence file that is taken; the longest in use has 35 kB.
const TEXT_BYTES_MAX: u64 = 1 << 20;
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
const RULE: &str = "--------------------------------------------------------------------------------\n";

pub fn collect(metadata: &Value, built: &BTreeSet<String>) -> Result<String, Trouble> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut foreign: Vec<Crate> = Vec::new();
    let mut problems = Vec::new();
    // A package of this workspace has no source.
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        if package["id"].as_str().is_some_and(|id| built.contains(id)) {
            match Crate::read(package)? {
                Some(found) => foreign.push(found),
                None => problems.push(format!("{} names no licence and ships no text", package["name"])),
            }
        }
    }
    none_of(problems)?;
    foreign.sort_by(|a, b| a.title.cmp(&b.title));
    Ok(print(&foreign))
}

struct Crate {
    /// Name and version.
    title: String,
    /// The SPDX expression, where it has one.
    licence: String,
    home: String,
    texts: BTreeSet<String>,
}

impl Crate {
    /// `None` where nothing at all says under which terms it may be passed on.
    fn read(package: &Value) -> Result<Option<Crate>, Trouble> {
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let mut texts = BTreeSet::new();
        let manifest = word("manifest_path");
        if let Some(directory) = Path::new(&manifest).parent() {
            let declared = package["license_file"].as_str();
            for name in tree::names(directory)? {
                let named = NAMES.iter().any(|start| name.to_uppercase().starts_with(start));
                if named || declared == Some(name.as_str()) {
                    texts.extend(text(&directory.join(name))?);
                }
            }
        }
        let licence = word("license");
        if licence.is_empty() && texts.is_empty() {
            return Ok(None);
        }
        let title = format!("{} {}", word("name"), word("version"));
        Ok(Some(Crate { title, licence, home: word("repository"), texts }))
    }
}

/// A licence file's text; nothing for a directory of that name or an empty file.
fn text(path: &Path) -> Result<Option<String>, Trouble> {
    let about = fs::metadata(path).map_err(Trouble::file("look at", path))?;
    if !about.is_file() {
        return Ok(None);
    }
    if about.len() > TEXT_BYTES_MAX {
        return Err(Trouble::found(format!("{}: too long for a licence ({} bytes)", path.display(), about.len())));
    }
    let bytes = fs::read(path).map_err(Trouble::file("read", path))?;
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim_matches('\n').trim_end().to_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn print(crates: &[Crate]) -> String {
    let mut page = "Third-party software in mxray\n\n\
        The program mxray is made with the crates below, besides the Rust standard library\n\
        (MIT OR Apache-2.0). Their licence texts follow, each once.\n\n"
        .to_owned();
    // Writing to a String cannot fail, here and below.
    for one in crates {
        let licence = if one.licence.is_empty() { "see its text" } else { &one.licence };
        let _ = writeln!(page, "{}: {licence}{}{}", one.title, if one.home.is_empty() { "" } else { "; " }, one.home);
    }
    let bare: Vec<&Crate> = crates.iter().filter(|one| one.texts.is_empty()).collect();
    if !bare.is_empty() {
        page.push_str("\nThese ship no licence text of their own; the terms are those of the expression:\n\n");
        for one in bare {
            let _ = writeln!(page, "{}: {}", one.title, one.licence);
        }
    }
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in crates {
        for text in &one.texts {
            owners.entry(text).or_default().push(&one.title);
        }
    }
    let mut texts: Vec<(&str, Vec<&str>)> = owners.into_iter().collect();
    texts.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (text, titles) in texts {
        let _ = write!(page, "\n{RULE}{}\n{RULE}\n{text}\n", titles.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_texts_stand_once_crates_without_text_are_listed_and_what_was_not_built_is_left_out() {
        let home = std::env::temp_dir().join(format!("xtask-licences-{}", std::process::id()));
        let package = |name: &str, licence: Option<&str>, files: &[(&str, &str)]| {
            for (file, text) in files {
                tree::write(&home.join(name).join(file), text).unwrap();
            }
            tree::write(&home.join(name).join("Cargo.toml"), "").unwrap();
            json!({"id": name, "name": name, "version": "1.0.0", "source": "registry", "license": licence,
                "repository": null, "license_file": null, "manifest_path": home.join(name).join("Cargo.toml")})
        };
        let metadata = json!({"packages": [
            package("beta", Some("MIT"), &[("LICENSE-MIT", "the text\r\n"), ("src/LICENSE.rs", "not one")]),
            package("alpha", Some("MIT"), &[("license", "the text\n"), ("NOTICE.md", "a notice")]),
            package("bare", Some("ISC"), &[]),
            package("unused", Some("GPL-3.0"), &[("COPYING", "never built")]),
            {"id": "ours", "name": "ours", "source": null},
        ]});
        let built = ["alpha", "beta", "bare", "ours"].map(str::to_owned).into();
        let page = collect(&metadata, &built).unwrap();
        assert_eq!(page.matches("\nthe text\n").count(), 1, "{page}");
        assert!(page.contains(&format!("{RULE}alpha 1.0.0, beta 1.0.0\n{RULE}\nthe text\n")), "{page}");
        assert!(page.contains("a notice") && page.contains("those of the expression:\n\nbare 1.0.0: ISC\n"), "{page}");
        assert!(!page.contains("never built") && !page.contains("not one"), "{page}");

        let nothing = json!({"packages": [package("dark", None, &[])]});
        let refused = collect(&nothing, &BTreeSet::from(["dark".to_owned()])).unwrap_err().to_string();
        assert!(refused.contains("names no licence and ships no text"), "{refused}");
        fs::remove_dir_all(&home).unwrap();
    }
}
