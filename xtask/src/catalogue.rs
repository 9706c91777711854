//! docs/catalogue: one page for each rule and an index, made from the rules themselves.

use crate::generated::Generated;
use crate::trouble::{Trouble, none_of};
use mxray_rules::Rule;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const MADE: &str =
    "<!-- Made by `cargo xtask generate` from the rule's own page in crates/mxray-rules. Edit it there. -->\n";

pub fn generate(rules: &[Rule]) -> Result<Generated, Trouble> {
    none_of(malformed(rules))?;
    let mut set = Generated { owns: vec!["docs/catalogue".into()], ..Generated::default() };
    for rule in rules {
        set.add(format!("docs/catalogue/{}.md", rule.code), page(rule));
    }
    set.add("docs/catalogue/index.md", index(rules));
    Ok(set)
}

/// The page with its identity under the heading. A page that brings no heading gets one.
fn page(rule: &Rule) -> String {
    let (heading, body) = match rule.page.trim_start().split_once('\n') {
        Some((first, rest)) if first.starts_with("# ") => (first.to_owned(), rest),
        _ => (format!("# {} {}", rule.code, rule.name), rule.page),
    };
    let identity = format!(
        "`{}` · {} · **{}** · since {} · [all findings](index.md)",
        rule.code,
        rule.name,
        rule.severity.as_str(),
        rule.since
    );
    format!("{MADE}{heading}\n\n{identity}\n\n{}\n", body.trim())
}

fn index(rules: &[Rule]) -> String {
    let mut sorted: Vec<&Rule> = rules.iter().collect();
    sorted.sort_by_key(|rule| rule.code);
    let mut text = format!(
        "{MADE}# The catalogue of findings\n\n\
         Every finding carries one of these codes. `mxray explain CODE` prints the page on any machine.\n\n\
         | code | name | severity | fires when | since |\n|---|---|---|---|---|\n"
    );
    for rule in sorted {
        let summary = rule.summary.replace('|', "\\|");
        let (code, name, severity, since) = (rule.code, rule.name, rule.severity.as_str(), rule.since);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| [{code}]({code}.md) | {name} | {severity} | {summary} | {since} |");
    }
    text
}

/// What would make a page that nobody can find or a file name that escapes the directory.
fn malformed(rules: &[Rule]) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut codes, mut names) = (BTreeSet::new(), BTreeSet::new());
    for rule in rules {
        if !is_code(rule.code) {
            problems.push(format!("`{}` is not a code: capital letters, then three digits", rule.code));
        }
        if !codes.insert(rule.code) {
            problems.push(format!("two rules carry the code {}", rule.code));
        }
        if !names.insert(rule.name) {
            problems.push(format!("two rules carry the name {}", rule.name));
        }
        if rule.summary.trim().is_empty() || rule.summary.contains('\n') {
            problems.push(format!("{}: its summary is not one line", rule.code));
        }
    }
    problems
}

/// Capital letters, then three digits.
pub fn is_code(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_uppercase()) && word.len() == letters.len() + 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Severity;
    use mxray_rules::Judgement;

    const RULE: Rule = Rule {
        code: "SOCK101",
        name: "listener-missing",
        severity: Severity::Critical,
        since: "0.1.0",
        summary: "a service | has no listener",
        page: "# SOCK101: nobody listens\n\nWhy.\n",
        check: |_| Ok(Judgement::nothing()),
    };

    #[test]
    fn a_page_keeps_its_heading_and_gets_its_identity() {
        let set = generate(&[RULE]).unwrap();
        let page = &set.files[std::path::Path::new("docs/catalogue/SOCK101.md")];
        assert!(
            page.contains("# SOCK101: nobody listens\n\n`SOCK101` · listener-missing · **critical** · since 0.1.0")
        );
        assert!(page.ends_with("\n\nWhy.\n"));
        let index = &set.files[std::path::Path::new("docs/catalogue/index.md")];
        assert!(index.contains(
            "| [SOCK101](SOCK101.md) | listener-missing | critical | a service \\| has no listener | 0.1.0 |"
        ));
    }

    #[test]
    fn codes_that_clash_or_would_leave_the_directory_are_refused() {
        let problems =
            generate(&[RULE, RULE, Rule { code: "../X101", name: "other", ..RULE }]).unwrap_err().to_string();
        for wanted in
            ["two rules carry the code SOCK101", "two rules carry the name listener-missing", "`../X101` is not a code"]
        {
            assert!(problems.contains(wanted), "{problems}");
        }
    }

    #[test]
    fn codes_are_letters_and_three_digits() {
        assert!(is_code("SOCK101") && is_code("FW103"));
        for word in ["SOCK", "101", "SOCK1010", "sock101", "SOCK10", ""] {
            assert!(!is_code(word), "{word}");
        }
    }
}
