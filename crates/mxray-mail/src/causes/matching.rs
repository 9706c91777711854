//! Rules from their data, and the search for the one that fits.
//!
//! All words of all rules are looked for in one pass; only rules of which something was found are tried, in the order of the
//! file: what is special to a receiver stands before what all say.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Deserialize;

use super::cause::{Cause, Finality};
use super::reply::{Codes, normal_form, unwrap};
use super::{Retry, Said, Speaker, Verdict};

/// The rules that are built in.
const BUILT_IN: &str = include_str!("rules.toml");

/// Most rules of a user's file, and most words of all: both far beyond need, so that a wrong file is noticed.
const RULES_MAX: usize = 10_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub source: std::collections::BTreeMap<String, Source>,
    #[serde(default)]
    pub receiver: Vec<Receiver>,
    #[serde(default)]
    pub rule: Vec<Rule>,
}

impl File {
    #[expect(clippy::expect_used, reason = "the file is compiled in, and a test reads it")]
    pub(super) fn built_in() -> File {
        toml::from_str(BUILT_IN).expect("the built-in rules are read by a test")
    }

    /// With other rules in front.
    pub(super) fn behind(&self, rules: &[Rule]) -> File {
        let rule = rules.iter().chain(&self.rule).cloned().collect();
        File { source: self.source.clone(), receiver: self.receiver.clone(), rule }
    }
}

/// Where a rule comes from. The field is data for those who refresh the rules; tests see that none is missing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    about: String,
    date: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receiver {
    name: String,
    /// Ends of host names.
    hosts: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub id: String,
    cause: Cause,
    #[serde(default)]
    receiver: Vec<String>,
    /// First digits of the reply code.
    #[serde(default)]
    reply: Vec<String>,
    /// `5.7.1`, or `x.7.1` for any class.
    #[serde(default)]
    enhanced: Vec<String>,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    all: Vec<String>,
    #[serde(default)]
    not: Vec<String>,
    /// Words of the own server, not of a receiver.
    #[serde(default)]
    ours: bool,
    #[serde(default)]
    finality: Option<Finality>,
    source: String,
    sample: String,
    /// Host that said the sample.
    #[serde(default)]
    host: String,
}

/// What is wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("not a rule file: {what}")]
    Form { what: String },
    #[error("the rule {id} has neither words nor a receiver: an enhanced code alone does not name a cause")]
    CodeAlone { id: String },
    #[error("the rule {id} names the source {name}, which the file does not describe")]
    NoSource { id: String, name: String },
    #[error("the rule {id} names the receiver {name}, which is not known")]
    NoReceiver { id: String, name: String },
    #[error("the rule {id} does not match its own sample: {found}")]
    Sample { id: String, found: String },
    #[error("the rule {id} has a code that is none: {code:?}")]
    Code { id: String, code: String },
    #[error("there are more than {RULES_MAX} rules, or their words are too many")]
    TooMany,
}

#[derive(Debug, Clone, Copy)]
struct Enhanced {
    class: Option<u8>,
    subject: u16,
    detail: u16,
}

/// A rule with its words as numbers.
#[derive(Debug)]
struct Compiled {
    id: String,
    cause: Cause,
    finality: Finality,
    receivers: Vec<u16>,
    reply: Vec<String>,
    enhanced: Vec<Enhanced>,
    any: Vec<u32>,
    all: Vec<u32>,
    not: Vec<u32>,
    ours: bool,
}

/// Rules, ready to judge.
#[derive(Debug)]
pub struct Rules {
    receivers: Vec<Receiver>,
    rules: Vec<Compiled>,
    words: AhoCorasick,
    /// For each word the rules that cannot match without it, or need one of several with it.
    rules_of_word: Vec<Vec<u32>>,
    /// Rules without words, which a receiver and a code are enough for.
    wordless: Vec<u32>,
    sources: usize,
    /// Tells these rules from others in the cache of a thread.
    number: u64,
}

#[derive(Default)]
struct Scratch {
    words: Vec<u8>,
    found: Vec<u32>,
    candidates: Vec<u32>,
    /// Rules that the same words had lately, by a hash of them and of all that the answer depends on. The same reply is said
    /// a thousand times in a row.
    lately: Vec<(u64, u32)>,
    /// The same, by what was said word for word.
    judged: Vec<Option<(u64, Judged)>>,
}

const LATELY: usize = 1_024;
const NO_RULE: u32 = u32::MAX;

/// What a reply means, in numbers.
#[derive(Debug, Clone, Copy)]
struct Judged {
    cause: Cause,
    finality: Finality,
    retry: Retry,
    codes: Codes,
    rule: Option<u32>,
    receiver: Option<usize>,
}

/// Postfix's queue manager passes a message on to error(8) with the first failure; Exim waits for the host's own retry time.
fn is_echo(text: &[u8]) -> bool {
    let waits = text.starts_with(b"retry time not reached");
    text.starts_with(b"delivery temporarily suspended")
        || waits && memchr::memmem::find(text, b"after a long failure").is_none()
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn mixed(hash: u64, bytes: &[u8]) -> u64 {
    let chunks = bytes.chunks_exact(8);
    let rest = chunks.remainder();
    let hash = chunks.fold(hash, |hash, chunk| mix(hash, u64::from_le_bytes(chunk.try_into().unwrap_or_default())));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Rules {
    /// The rules that are built in.
    ///
    /// # Panics
    /// Never: a test reads the file that is compiled in.
    #[expect(clippy::expect_used, reason = "the file is compiled in, and a test reads it")]
    pub fn built_in() -> Rules {
        Rules::with(&[]).expect("the built-in rules are read by a test")
    }

    /// The built-in rules behind those of users, whose files come first in the order given.
    ///
    /// # Errors
    /// Names the rule that is wrong; nothing of the file is used then.
    pub fn with(files: &[&str]) -> Result<Rules, RuleError> {
        let mut all = File { source: Default::default(), receiver: Vec::new(), rule: Vec::new() };
        let mut users = 0;
        for text in files.iter().chain([&BUILT_IN]) {
            users = all.rule.len();
            let file: File =
                toml::from_str(text).map_err(|error| RuleError::Form { what: error.message().to_owned() })?;
            for rule in &file.rule {
                rule.sourced(&file.source)?;
            }
            all.source.extend(file.source);
            all.receiver.extend(file.receiver);
            all.rule.extend(file.rule);
        }
        let rules = Rules::compiled(&all)?;
        // A user's rule may take a built-in one's sample away from it: that is what it is for.
        rules.check_samples(if files.is_empty() { &all.rule } else { &all.rule[..users] })?;
        Ok(rules)
    }

    pub(super) fn compiled(file: &File) -> Result<Rules, RuleError> {
        if file.rule.len() > RULES_MAX {
            return Err(RuleError::TooMany);
        }
        let mut words: Vec<String> = Vec::new();
        let mut index = std::collections::BTreeMap::new();
        let mut number = |text: &String| {
            *index.entry(text.to_ascii_lowercase()).or_insert_with_key(|key| {
                words.push(key.clone());
                u32::try_from(words.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let mut rules = Vec::new();
        for rule in &file.rule {
            rule.worded()?;
            let mut numbers = |texts: &[String]| texts.iter().map(&mut number).collect::<Vec<_>>();
            rules.push(Compiled {
                id: rule.id.clone(),
                cause: rule.cause,
                finality: rule.finality.unwrap_or(rule.cause.finality()),
                receivers: receivers_of(rule, &file.receiver)?,
                reply: rule.reply.clone(),
                enhanced: rule.enhanced.iter().map(|code| enhanced_of(rule, code)).collect::<Result<_, _>>()?,
                any: numbers(&rule.any),
                all: numbers(&rule.all),
                not: numbers(&rule.not),
                ours: rule.ours,
            });
        }
        let mut rules_of_word = vec![Vec::new(); words.len()];
        let mut wordless = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            // All of `all` must be there, so its first word is enough to find the rule by.
            let keys = if rule.all.is_empty() { &rule.any[..] } else { &rule.all[..1] };
            keys.iter().for_each(|word| rules_of_word[*word as usize].push(at));
            if keys.is_empty() {
                wordless.push(at);
            }
        }
        let words =
            AhoCorasick::builder().match_kind(MatchKind::Standard).build(&words).map_err(|_| RuleError::TooMany)?;
        Ok(Rules {
            receivers: file.receiver.clone(),
            rules,
            words,
            rules_of_word,
            wordless,
            sources: file.source.len(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        })
    }

    fn check_samples(&self, rules: &[Rule]) -> Result<(), RuleError> {
        // All of them, so that whoever edits the file sees all at once.
        let wrong: Vec<_> = rules.iter().filter_map(|rule| Some((rule, self.sample_of(rule)?))).collect();
        let Some((first, found)) = wrong.first() else { return Ok(()) };
        let others: Vec<_> = wrong.iter().skip(1).map(|(rule, found)| format!("{}: {found}", rule.id)).collect();
        let others =
            if others.is_empty() { String::new() } else { format!("; others are wrong too: {}", others.join(", ")) };
        Err(RuleError::Sample { id: first.id.clone(), found: format!("{found}{others}") })
    }

    /// What a rule's sample gives instead of the rule.
    pub(super) fn sample_of(&self, rule: &Rule) -> Option<String> {
        let speaker = if rule.ours { Speaker::Ours } else { Speaker::Theirs };
        let found = self.judge(&Said { host: rule.host.as_bytes(), text: rule.sample.as_bytes(), speaker });
        (found.rule != Some(rule.id.as_str())).then(|| found.rule.unwrap_or("no rule").to_owned())
    }

    /// How many rules there are, and from how many sources.
    pub fn counts(&self) -> (usize, usize) {
        (self.rules.len(), self.sources)
    }

    /// Each cause that some rule can name.
    pub fn causes(&self) -> impl Iterator<Item = Cause> + '_ {
        self.rules.iter().map(|rule| rule.cause)
    }

    /// Name of the receiver that a host belongs to.
    pub fn receiver_of(&self, host: &[u8]) -> Option<&str> {
        self.receiver_number(host).map(|number| self.receivers[number].name.as_str())
    }

    fn receiver_number(&self, host: &[u8]) -> Option<usize> {
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        self.receivers.iter().position(|receiver| {
            receiver.hosts.iter().any(|end| {
                host.len() >= end.len()
                    && host[host.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
                    && (host.len() == end.len() || host[host.len() - end.len() - 1] == b'.')
            })
        })
    }

    /// What a reply means.
    pub fn judge(&self, said: &Said<'_>) -> Verdict<'_> {
        // Word for word the same reply is judged once: most servers repeat themselves.
        let around = [self.number, said.host.len() as u64, u64::from(said.speaker == Speaker::Ours)];
        let hash = mixed(mixed(around.into_iter().fold(said.text.len() as u64, mix), said.host), said.text).max(1);
        let slot = (hash % LATELY as u64) as usize;
        let known = SCRATCH.with_borrow(|scratch| scratch.judged.get(slot).copied().flatten());
        if let Some((known, judged)) = known
            && known == hash
        {
            return self.verdict(judged);
        }
        let judged = self.judged(said);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.judged.resize(LATELY, None);
            scratch.judged[slot] = Some((hash, judged));
        });
        self.verdict(judged)
    }

    fn verdict(&self, judged: Judged) -> Verdict<'_> {
        Verdict {
            cause: judged.cause,
            finality: judged.finality,
            retry: judged.retry,
            codes: judged.codes,
            rule: judged.rule.and_then(|rule| self.rules.get(rule as usize)).map(|rule| rule.id.as_str()),
            receiver: judged
                .receiver
                .and_then(|number| self.receivers.get(number))
                .map(|receiver| receiver.name.as_str()),
        }
    }

    fn judged(&self, said: &Said<'_>) -> Judged {
        let found = unwrap(said.text);
        let number = self.receiver_number(said.host).or_else(|| found.host.and_then(|host| self.receiver_number(host)));
        let mut verdict = Judged {
            cause: Cause::Unknown,
            finality: Cause::Unknown.finality(),
            retry: retry(found.codes),
            codes: found.codes,
            rule: None,
            receiver: number,
        };
        // What Postfix and Exim say because they did not try again: no evidence, whatever they repeat.
        if is_echo(said.text) {
            verdict.cause = Cause::Echo;
            verdict.finality = Cause::Echo.finality();
            return verdict;
        }
        let rule =
            SCRATCH.with_borrow_mut(|scratch| self.first(found.words, found.codes, number, said.speaker, scratch));
        if let Some((at, rule)) = rule.and_then(|at| Some((at, self.rules.get(at as usize)?))) {
            verdict.cause = rule.cause;
            verdict.finality = rule.finality;
            verdict.rule = Some(at);
        }
        // A reply that says "later" is not final, whatever its words; one that says "never" does not wait.
        verdict.finality = match (verdict.retry, verdict.finality) {
            (Retry::Yes, Finality::MessageDead | Finality::AddressGone) => Finality::Wait,
            (Retry::No, Finality::Wait) => Finality::MessageDead,
            (_, finality) => finality,
        };
        verdict
    }

    fn first(
        &self,
        words: &[u8],
        codes: Codes,
        receiver: Option<usize>,
        speaker: Speaker,
        scratch: &mut Scratch,
    ) -> Option<u32> {
        normal_form(words, &mut scratch.words);
        let hash = self.hash(&scratch.words, codes, receiver, speaker);
        scratch.lately.resize(LATELY, (0, NO_RULE));
        let slot = (hash % LATELY as u64) as usize;
        if let Some((_, rule)) = scratch.lately.get(slot).filter(|(known, _)| *known == hash) {
            return (*rule != NO_RULE).then_some(*rule);
        }
        let rule = self.searched(codes, receiver, speaker, scratch);
        scratch.lately[slot] = (hash, rule.unwrap_or(NO_RULE));
        rule
    }

    /// A hash of the words and of all else that the answer depends on.
    fn hash(&self, words: &[u8], codes: Codes, receiver: Option<usize>, speaker: Speaker) -> u64 {
        let (class, subject, detail) = codes.enhanced.unwrap_or_default();
        let around = [
            self.number,
            u64::from(codes.reply.unwrap_or(0)),
            u64::from(class) << 32 | u64::from(subject) << 16 | u64::from(detail),
            receiver.map_or(0, |receiver| receiver as u64 + 1),
            u64::from(speaker == Speaker::Ours) + 1,
        ];
        let hash = around.into_iter().fold(words.len() as u64, mix);
        mixed(hash, words).max(1)
    }

    fn searched(&self, codes: Codes, receiver: Option<usize>, speaker: Speaker, scratch: &mut Scratch) -> Option<u32> {
        scratch.found.clear();
        for found in self.words.find_overlapping_iter(&scratch.words) {
            let word = found.pattern().as_u32();
            if !scratch.found.contains(&word) {
                scratch.found.push(word);
            }
        }
        scratch.candidates.clear();
        scratch.candidates.extend_from_slice(&self.wordless);
        for word in &scratch.found {
            scratch.candidates.extend_from_slice(&self.rules_of_word[*word as usize]);
        }
        scratch.candidates.sort_unstable();
        let fits = |rule: &u32| self.rules[*rule as usize].fits(&scratch.found, codes, receiver, speaker);
        scratch.candidates.iter().copied().find(fits)
    }
}

impl Rule {
    fn sourced(&self, sources: &std::collections::BTreeMap<String, Source>) -> Result<(), RuleError> {
        let described = |source: &Source| !source.about.is_empty() && !source.date.is_empty();
        if sources.get(&self.source).is_some_and(described) {
            return Ok(());
        }
        Err(RuleError::NoSource { id: self.id.clone(), name: self.source.clone() })
    }

    fn worded(&self) -> Result<(), RuleError> {
        if self.any.is_empty() && self.all.is_empty() && self.receiver.is_empty() {
            return Err(RuleError::CodeAlone { id: self.id.clone() });
        }
        Ok(())
    }

    /// All that can be said of a rule without the others.
    pub(super) fn checked(
        self,
        sources: &std::collections::BTreeMap<String, Source>,
        receivers: &[Receiver],
    ) -> Result<Rule, RuleError> {
        self.sourced(sources)?;
        self.worded()?;
        receivers_of(&self, receivers)?;
        self.enhanced.iter().try_for_each(|code| enhanced_of(&self, code).map(|_| ()))?;
        Ok(self)
    }
}

impl Compiled {
    fn fits(&self, found: &[u32], codes: Codes, receiver: Option<usize>, speaker: Speaker) -> bool {
        let has = |word: &u32| found.contains(word);
        let here = |number: usize| self.receivers.iter().any(|own| usize::from(*own) == number);
        (speaker == Speaker::Ours || !self.ours)
            && (self.receivers.is_empty() || receiver.is_some_and(here))
            && (self.reply.is_empty()
                || codes
                    .reply
                    .is_some_and(|code| self.reply.iter().any(|head| code.to_string().starts_with(head.as_str()))))
            && (self.enhanced.is_empty()
                || codes.enhanced.is_some_and(|code| self.enhanced.iter().any(|own| own.is(code))))
            && (self.any.is_empty() || self.any.iter().any(has))
            && self.all.iter().all(has)
            && !self.not.iter().any(has)
    }
}

impl Enhanced {
    fn is(self, (class, subject, detail): (u8, u16, u16)) -> bool {
        self.class.is_none_or(|own| own == class) && self.subject == subject && self.detail == detail
    }
}

fn enhanced_of(rule: &Rule, code: &str) -> Result<Enhanced, RuleError> {
    let parse = || {
        let mut parts = code.split('.');
        let class = match parts.next()? {
            "x" => None,
            class => Some(class.parse().ok()?),
        };
        let parsed = Enhanced { class, subject: parts.next()?.parse().ok()?, detail: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(parsed)
    };
    parse().ok_or_else(|| RuleError::Code { id: rule.id.clone(), code: code.to_owned() })
}

fn receivers_of(rule: &Rule, receivers: &[Receiver]) -> Result<Vec<u16>, RuleError> {
    let number = |name: &String| {
        let at = receivers.iter().position(|receiver| receiver.name == *name);
        at.and_then(|at| u16::try_from(at).ok())
            .ok_or_else(|| RuleError::NoReceiver { id: rule.id.clone(), name: name.clone() })
    };
    rule.receiver.iter().map(number).collect()
}

fn retry(codes: Codes) -> Retry {
    let digit = codes.reply.map(|code| code / 100).or(codes.enhanced.map(|(class, ..)| u16::from(class)));
    match digit {
        Some(4) => Retry::Yes,
        Some(5) => Retry::No,
        _ => Retry::Unsaid,
    }
}
