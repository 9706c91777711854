//! Rules of users: each is looked at by itself. One that is wrong is named with its line, and stops none of the others.
//!
//! What must not live here: reading files, and judging.

use serde::Deserialize;
use toml::Spanned;

use super::matching::{File, Receiver, Rule, RuleError, Rules, Source};

/// What of a user's file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {why}")]
pub struct Unused {
    pub file: String,
    /// Where it begins; 1 where only the file is known.
    pub line: usize,
    pub why: RuleError,
}

/// A file whose rules are not looked at yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Loose {
    #[serde(default)]
    source: std::collections::BTreeMap<String, Source>,
    #[serde(default)]
    receiver: Vec<Receiver>,
    #[serde(default)]
    rule: Vec<Spanned<toml::Value>>,
}

/// A user's rule and where it stands.
struct Placed {
    rule: Rule,
    file: String,
    line: usize,
}

impl Rules {
    /// The built-in rules behind those of users, whose files come first in the order given, each with its name; and what of them
    /// is not used.
    pub fn of_users(files: &[(String, String)]) -> (Rules, Vec<Unused>) {
        let mut all = File::built_in();
        let mut unused = Vec::new();
        let mut placed = Vec::new();
        for (name, text) in files {
            let unused_at = |line, why| Unused { file: name.clone(), line, why };
            let loose: Loose = match toml::from_str(text) {
                Ok(loose) => loose,
                Err(error) => {
                    let line = line_of(text, error.span().map_or(0, |span| span.start));
                    unused.push(unused_at(line, RuleError::Form { what: error.message().to_owned() }));
                    continue;
                }
            };
            all.receiver.splice(0..0, loose.receiver);
            for value in loose.rule {
                let line = line_of(text, value.span().start);
                let rule: Result<Rule, RuleError> = value
                    .into_inner()
                    .try_into()
                    .map_err(|error: toml::de::Error| RuleError::Form { what: error.message().to_owned() });
                match rule.and_then(|rule| rule.checked(&loose.source, &all.receiver)) {
                    Ok(rule) => placed.push(Placed { rule, file: name.clone(), line }),
                    Err(why) => unused.push(unused_at(line, why)),
                }
            }
        }
        let rules = compiled(&all, placed, &mut unused);
        (rules, unused)
    }
}

/// Without the rules that do not match their own samples: each that goes may let another one match.
fn compiled(built_in: &File, mut placed: Vec<Placed>, unused: &mut Vec<Unused>) -> Rules {
    loop {
        let own: Vec<Rule> = placed.iter().map(|placed| placed.rule.clone()).collect();
        let rules = match Rules::compiled(&built_in.behind(&own)) {
            Ok(rules) => rules,
            Err(why) => {
                let file = placed.first().map(|placed| placed.file.clone()).unwrap_or_default();
                unused.push(Unused { file, line: 1, why });
                return Rules::built_in();
            }
        };
        let before = placed.len();
        placed.retain(|placed| match rules.sample_of(&placed.rule) {
            None => true,
            Some(found) => {
                let why = RuleError::Sample { id: placed.rule.id.clone(), found };
                unused.push(Unused { file: placed.file.clone(), line: placed.line, why });
                false
            }
        });
        if placed.len() == before {
            return rules;
        }
    }
}

/// Lines are counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Said, Speaker};
    use super::*;

    #[test]
    fn a_wrong_rule_is_named_with_its_line_and_stops_no_other() {
        let text = r#"
[source.me]
about = "seen here"
date = "2026-01-01"

[[rule]]
id = "first"
cause = "greylist"
any = ["xyzzy"]
source = "me"
sample = "450 xyzzy"

[[rule]]
id = "no such cause"
cause = "bad weather"
any = ["rain"]
source = "me"
sample = "450 rain"

[[rule]]
id = "misses its sample"
cause = "virus"
any = ["plugh"]
source = "me"
sample = "550 something else"

[[rule]]
id = "code alone"
cause = "virus"
enhanced = ["5.1.1"]
source = "me"
sample = "550 5.1.1 x"

[[rule]]
id = "last"
cause = "virus"
any = ["frobozz"]
source = "me"
sample = "550 frobozz"
"#;
        let files =
            [("broken.toml".to_owned(), "rule = [\n  {\n".to_owned()), ("own.toml".to_owned(), text.to_owned())];
        let (rules, unused) = Rules::of_users(&files);
        let judge =
            |text: &str| rules.judge(&Said { host: b"", text: text.as_bytes(), speaker: Speaker::Theirs }).cause;
        assert_eq!(judge("450 xyzzy"), Cause::Greylist);
        assert_eq!(judge("550 frobozz"), Cause::Virus);
        assert_eq!(judge("550 5.1.1 user unknown"), Cause::RcptUnknown);
        let places: Vec<(&str, usize)> = unused.iter().map(|unused| (unused.file.as_str(), unused.line)).collect();
        assert_eq!(places.len(), 4, "{unused:?}");
        assert_eq!(places[0].0, "broken.toml");
        assert_eq!(places[1..], [("own.toml", 13), ("own.toml", 27), ("own.toml", 20)], "{unused:?}");
        assert!(unused[1].to_string().starts_with("own.toml, line 13: "), "{}", unused[1]);
        assert_eq!(Rules::of_users(&[]).1, []);
    }
}
