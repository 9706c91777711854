//! Which server a line is from, and with that which grammar reads it.
//!
//! Names are learned: a tag whose last part is a program of Postfix names its first part as an instance, and from then on
//! every label under that instance is Postfix's. What must not live here: the grammars themselves.

use crate::cut::NAME_BYTES_MAX;
use crate::envelope::Line;
use crate::event::{Event, Meaning};
use crate::{dovecot, exim, filters, opensmtpd, postfix, sendmail};

/// The kind of server that wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    Postfix,
    Exim,
    Dovecot,
    OpenSmtpd,
    Sendmail,
    /// opendkim, opendmarc, rspamd, amavis, policy servers.
    Filter,
}

/// Most tags that are remembered. A tag is a service of this host: a few dozen.
const TAGS_MAX: usize = 4096;
const SLOTS: usize = 256;

/// What has been learned of names so far.
#[derive(Debug, Clone, Default)]
pub struct Grammars {
    /// First parts of tags that proved to be Postfix's.
    instances: Vec<Vec<u8>>,
    /// Answers for tags.
    tags: Vec<(Vec<u8>, Option<Program>)>,
    /// Where to look first in `tags`.
    slots: Vec<u16>,
    /// A line without a tag proved to be Exim's: the file is its log.
    exim: bool,
}

impl Grammars {
    /// What a line says, and who wrote it.
    pub fn read<'a>(&mut self, line: &Line<'a>) -> (Option<Program>, Meaning<'a>) {
        if line.tag.is_empty() {
            return self.untagged(line.text);
        }
        let program = self.program(line);
        let event = match program {
            Some(Program::Postfix) => {
                let program = last_part(line.tag);
                // A policy server that spawn(8) runs logs under Postfix's name.
                let policy = || by_name(program).filter(|of| *of == Program::Filter).map(|_| program);
                postfix::read(program, line.text).or_else(|| filters::read(policy()?, line.text))
            }
            Some(Program::Exim) => exim::read(line.text),
            Some(Program::Dovecot) => dovecot::read(line.tag, line.text),
            Some(Program::OpenSmtpd) => opensmtpd::read(line.text),
            Some(Program::Sendmail) => sendmail::read(line.text),
            Some(Program::Filter) => filters::read(line.tag, line.text),
            None => return (None, Meaning::Foreign),
        };
        (program, event.map_or(Meaning::NotUnderstood, Meaning::Understood))
    }

    fn program(&mut self, line: &Line<'_>) -> Option<Program> {
        let tag = line.tag;
        // Length and two letters tell the tags of a host apart nearly always.
        let letter = |at: usize| usize::from(tag.get(at).copied().unwrap_or(0));
        let slot = (tag.len() * 31 + letter(tag.len().saturating_sub(1)) * 7 + letter(tag.len() / 2)) % SLOTS;
        let guess = self.slots.get(slot).copied().unwrap_or(0);
        if let Some((known, program)) = self.tags.get(usize::from(guess))
            && known == tag
        {
            return *program;
        }
        let at = self.tags.iter().position(|(known, _)| known == tag);
        let program = match at {
            Some(at) => self.tags[at].1,
            None => self.learned(line),
        };
        // An unknown label may prove to be Postfix's later: what is foreign is not remembered until it is so by shape.
        let room = self.tags.len() < TAGS_MAX && tag.len() <= NAME_BYTES_MAX;
        let keep = at.is_some() || ((program.is_some() || !tag.contains(&b'/')) && room);
        if keep {
            if at.is_none() {
                self.tags.push((tag.to_vec(), program));
            }
            self.slots.resize(SLOTS, 0);
            self.slots[slot] = u16::try_from(at.unwrap_or(self.tags.len() - 1)).unwrap_or(0);
        }
        program
    }

    fn learned(&mut self, line: &Line<'_>) -> Option<Program> {
        let tag = line.tag;
        if let Some((instance, program)) = postfix::instance_and_program(tag) {
            let known = self.instances.iter().any(|own| own == instance);
            if postfix::is_program(program) || instance.starts_with(b"postfix") {
                if !known && self.instances.len() < TAGS_MAX && instance.len() <= NAME_BYTES_MAX {
                    self.instances.push(instance.to_vec());
                }
                return Some(Program::Postfix);
            }
            if known
                || (postfix::queue_id(line.text).is_some()
                    && postfix::read(program, line.text).is_some_and(|event| matches!(event, Event::Attempt { .. })))
            {
                return Some(Program::Postfix);
            }
        }
        // A file without hosts is Dovecot's own, and there its services are tags. Under syslog, `imap` and `master` are Cyrus'.
        let own = line.host.is_empty() || dovecot::has_level(line.text);
        by_name(tag).or_else(|| (own && dovecot::is_service(tag)).then_some(Program::Dovecot))
    }

    /// A file that a server writes itself.
    fn untagged<'a>(&mut self, text: &'a [u8]) -> (Option<Program>, Meaning<'a>) {
        if text.first() == Some(&b'#') {
            let meaning = filters::read(b"rspamd", text).map_or(Meaning::NotUnderstood, Meaning::Understood);
            return (Some(Program::Filter), meaning);
        }
        if let Some((service, rest)) = dovecot::own_file(text) {
            let meaning = dovecot::read(service, rest).map_or(Meaning::NotUnderstood, Meaning::Understood);
            return (Some(Program::Dovecot), meaning);
        }
        // syslog's own, without a tag.
        if text.starts_with(b"last message repeated ") || text.starts_with(b"--- last message repeated ") {
            return (None, Meaning::Foreign);
        }
        match exim::read(text) {
            Some(event) => {
                self.exim |= !matches!(event, Event::Trouble { .. });
                (Some(Program::Exim), Meaning::Understood(event))
            }
            None if self.exim => (Some(Program::Exim), Meaning::FreeText),
            None => (None, Meaning::NotUnderstood),
        }
    }
}

fn last_part(tag: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', tag).map_or(tag, |at| &tag[at + 1..])
}

fn by_name(tag: &[u8]) -> Option<Program> {
    let first = tag.split(|byte| matches!(byte, b'/' | b'-' | b'(' | b'[')).next()?;
    match first {
        b"postfix" if tag == b"postfix" || tag == b"postfix-script" || tag.contains(&b'/') => Some(Program::Postfix),
        // Neighbours that bear its name.
        b"postfix" => crate::cut::has(tag, b"policyd").then_some(Program::Filter),
        b"exim" | b"exim4" => Some(Program::Exim),
        b"dovecot" => Some(Program::Dovecot),
        b"smtpd" => Some(Program::OpenSmtpd),
        b"sendmail" | b"sm" => Some(Program::Sendmail),
        b"opendkim" | b"opendmarc" | b"rspamd" | b"amavis" | b"amavisd" | b"postgrey" | b"policyd" | b"policy"
        | b"dkim" | b"spamd" | b"clamav" | b"milter" | b"spamass" | b"openarc" => Some(Program::Filter),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
