//! What is well, in few lines: a healthy host passes half a hundred checks, and nobody reads half a hundred sentences
//! before going back to bed.
//!
//! Up to six sentences are said; of more, each family of checks has one line: how many, and the first. `-v`, JSON, HTML
//! and Markdown have all. Wrapping and colour are `screen.rs`'s.

use crate::unseen::family;
use mxray_model::Row;
use std::collections::BTreeSet;

/// More sentences than these are grouped.
const SENTENCES_MAX: usize = 6;

/// What is well, as it is said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Well {
    Nothing,
    /// In one go.
    Sentences(String),
    /// One line for each family.
    Families(Vec<String>),
}

impl Well {
    /// `every`: leave out nothing.
    pub fn of(rows: &[Row], every: bool) -> Self {
        let sentences = if every { rows.iter().map(|row| (row, 0)).collect() } else { folded(rows) };
        if sentences.is_empty() {
            return Well::Nothing;
        }
        if sentences.len() <= SENTENCES_MAX {
            return Well::Sentences(format!("{}.", said(&sentences).join("; ")));
        }
        let mut families: Vec<(&str, Vec<(&Row, usize)>)> = Vec::new();
        for sentence in sentences {
            let name = words(family(&sentence.0.code).unwrap_or_default());
            match families.iter_mut().find(|(other, _)| *other == name) {
                Some((_, of_family)) => of_family.push(sentence),
                None => families.push((name, vec![sentence])),
            }
        }
        Well::Families(families.iter().map(|(name, sentences)| line(name, sentences, every)).collect())
    }
}

/// Of each rule the first sentence, and how many more there are like it; what several rules say in the same words is said
/// once.
fn folded(rows: &[Row]) -> Vec<(&Row, usize)> {
    let mut folded: Vec<(&Row, usize)> = Vec::new();
    for row in rows {
        match folded.iter_mut().find(|(first, _)| first.code == row.code) {
            Some((_, more)) => *more += 1,
            None => folded.push((row, 0)),
        }
    }
    let mut met = BTreeSet::new();
    folded.retain(|(row, more)| met.insert((row.text.as_str(), *more)));
    folded
}

fn said(sentences: &[(&Row, usize)]) -> Vec<String> {
    let text = |row: &Row| row.text.trim_end_matches('.').to_owned();
    let one = |(row, more): &(&Row, usize)| match more {
        0 => text(row),
        more => format!("{} (and {more} more like it)", text(row)),
    };
    sentences.iter().map(one).collect()
}

fn line(name: &str, sentences: &[(&Row, usize)], every: bool) -> String {
    let all: usize = sentences.iter().map(|(_, more)| more + 1).sum();
    let texts = said(sentences);
    let (shown, more) = match texts.first() {
        Some(first) if !every => (first.clone(), if texts.len() > 1 { "; …" } else { "" }),
        _ => (texts.join("; "), ""),
    };
    format!("{name} ({all}): {shown}{more}")
}

/// A family of codes, as a person would call what it looks at.
fn words(family: &str) -> &'static str {
    match family {
        "SOCK" => "listeners and connections",
        "PORT" => "ports",
        "FW" => "packet filters",
        "ROUTE" => "routes",
        "HOST" => "the machine",
        "CONF" => "configuration",
        "QUEUE" | "LOG" => "queue and logs",
        "MON" => "monitoring",
        "DNS" => "zone",
        "MX" => "MX",
        "ID" => "sender identity",
        "SPF" => "SPF",
        "DKIM" => "DKIM",
        "DMARC" => "DMARC",
        "MAIL" | "MSG" => "the message",
        "STS" => "MTA-STS and TLS-RPT",
        "DANE" => "DANE",
        "LIST" => "blocklists",
        "SMTP" => "SMTP sessions",
        "TLS" => "TLS and certificates",
        "AUTH" => "submission and logins",
        "ABUSE" => "openness to abuse",
        "MBOX" => "mailbox access",
        _ => "the examination",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(codes: &[&str]) -> Vec<Row> {
        let numbered = codes.iter().enumerate();
        numbered.map(|(at, code)| Row { code: (*code).to_owned(), text: format!("thing {at} is well.") }).collect()
    }

    #[test]
    fn few_sentences_are_one_paragraph() {
        assert_eq!(Well::of(&[], false), Well::Nothing);
        let few = rows(&["SOCK101", "SOCK101", "CONF101"]);
        let text = "thing 0 is well (and 1 more like it); thing 2 is well.";
        assert_eq!(Well::of(&few, false), Well::Sentences(text.to_owned()));
        let all = "thing 0 is well; thing 1 is well; thing 2 is well.";
        assert_eq!(Well::of(&few, true), Well::Sentences(all.to_owned()));
    }

    #[test]
    fn many_are_a_line_for_each_family_and_every_sentence_is_counted() {
        let many = rows(&["SOCK101", "SOCK101", "CONF101", "SOCK102", "SOCK103", "FW101", "HOST101", "HOST102"]);
        let lines = [
            "listeners and connections (4): thing 0 is well (and 1 more like it); …",
            "configuration (1): thing 2 is well",
            "packet filters (1): thing 5 is well",
            "the machine (2): thing 6 is well; …",
        ];
        assert_eq!(Well::of(&many, false), Well::Families(lines.map(str::to_owned).to_vec()));
    }

    #[test]
    fn verbose_leaves_out_nothing() {
        let many = rows(&["SOCK101"; 9]);
        let Well::Families(lines) = Well::of(&many, true) else { panic!("nine sentences are many") };
        assert!((0..9).all(|at| lines.join("\n").contains(&format!("thing {at} is well"))), "{lines:?}");
    }
}
