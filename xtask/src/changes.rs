//! The form of changes/*.md: entries that the release folds into CHANGELOG.md without reading them again.
//!
//! One file for one topic, `changes/<topic>.md`. Sections `## Added`, `## Changed`, `## Fixed`, `## Removed`,
//! `## Security`, each with entries `- …`; lines that go on are indented by two blanks.

use crate::catalogue::is_code;
use crate::tree;
use crate::trouble::{Trouble, none_of};
use std::collections::BTreeSet;
use std::path::Path;

const SECTIONS: [&str; 5] = ["Added", "Changed", "Fixed", "Removed", "Security"];
/// The house's line; tables and addresses do not belong into an entry.
const LINE_CHARS_MAX: usize = 160;

pub fn check(root: &Path, codes: &BTreeSet<&str>) -> Result<(), Trouble> {
    let directory = root.join("changes");
    let mut problems = Vec::new();
    for name in tree::names(&directory)? {
        if name == "README.md" {
            continue;
        }
        let text = tree::read(&directory.join(&name))?;
        problems.extend(faults(&name, &text, codes).into_iter().map(|fault| format!("changes/{name}: {fault}")));
    }
    none_of(problems)
}

fn faults(name: &str, text: &str, codes: &BTreeSet<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    let topic = name.strip_suffix(".md").unwrap_or_default();
    if topic.is_empty() || !topic.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        faults.push("the file name is not `<topic>.md` in small letters, digits and `-`".to_owned());
    }
    let mut section: Option<&str> = None;
    let mut entries = 0;
    for (index, line) in text.lines().enumerate() {
        let at = format!("line {}", index + 1);
        if line.chars().count() > LINE_CHARS_MAX {
            faults.push(format!("{at}: longer than {LINE_CHARS_MAX} characters"));
        }
        if let Some(title) = line.strip_prefix("## ") {
            if section.is_some() && entries == 0 {
                faults.push(format!("{at}: the section before it has no entry"));
            }
            if !SECTIONS.contains(&title) {
                faults.push(format!("{at}: `{title}` is none of {}", SECTIONS.join(", ")));
            }
            (section, entries) = (Some(title), 0);
        } else if line.starts_with("- ") {
            entries += 1;
            if section.is_none() {
                faults.push(format!("{at}: an entry before any section"));
            }
        } else if !(line.is_empty() || line.starts_with("  ") && entries > 0) {
            faults.push(format!("{at}: neither a section, an entry nor the indented rest of one"));
        }
    }
    if entries == 0 {
        faults.push("ends without an entry".to_owned());
    }
    faults.extend(unknown_codes(text, codes));
    faults
}

/// A code in an entry is what operators search for: it has to exist.
fn unknown_codes(text: &str, codes: &BTreeSet<&str>) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let named: BTreeSet<&str> = words.filter(|word| is_code(word)).collect();
    let unknown = named.iter().filter(|word| !codes.contains(**word));
    unknown.map(|word| format!("{word} is not in the catalogue")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Vec<String> {
        faults(name, text, &BTreeSet::from(["SOCK101"]))
    }

    #[test]
    fn a_good_entry_passes() {
        assert_eq!(
            of(
                "frame-2.md",
                "## Added\n\n- SOCK101 names the service\n  and the port.\n\n## Fixed\n\n- It no longer hangs.\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        for (name, text, wanted) in [
            ("Frame.md", "## Added\n- a\n", "the file name is not"),
            ("a.md", "## News\n- a\n", "line 1: `News` is none of"),
            ("a.md", "- a\n", "line 1: an entry before any section"),
            ("a.md", "## Added\n## Fixed\n- a\n", "line 2: the section before it has no entry"),
            ("a.md", "## Added\n- a\nflush\n", "line 3: neither a section"),
            ("a.md", "## Added\n", "ends without an entry"),
            ("a.md", "## Added\n- SOCK999 is new\n", "SOCK999 is not in the catalogue"),
        ] {
            let found = of(name, text);
            assert!(found.iter().any(|fault| fault.starts_with(wanted)), "{text:?}: {found:?}");
        }
        let long = format!("## Added\n- {}\n", "x".repeat(LINE_CHARS_MAX));
        assert_eq!(of("a.md", &long), ["line 2: longer than 160 characters"]);
    }
}
