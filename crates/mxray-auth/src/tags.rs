//! Lists of tags, `name=value; name=value`, as DKIM, ARC, DMARC, MTA-STS, TLS-RPT and BIMI have them (RFC 6376 section 3.2).
//!
//! What must not live here: which tags there are, and what they mean.

use mxray_model::text::untrusted;

/// Most tags of one list.
const TAGS_MAX: usize = 200;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub name: &'a str,
    /// Without white space around it; within it may have some, folded or not.
    pub value: &'a str,
    /// Where the tag begins and where its value does, in bytes from 0.
    pub at: usize,
    pub value_at: usize,
}

/// Where a list is none, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagError {
    /// In bytes from 0.
    pub at: usize,
    pub why: String,
}

impl TagError {
    /// As editors count.
    pub fn column(&self) -> u32 {
        column(self.at)
    }
}

pub(crate) fn column(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags<'a>(pub Vec<Tag<'a>>);

impl<'a> Tags<'a> {
    /// Reads a list strictly: a name twice makes the whole of it invalid (section 3.2).
    pub fn parse(text: &'a str) -> Result<Tags<'a>, TagError> {
        let (tags, errors) = Tags::read(text);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(tags),
        }
    }

    /// Reads what can be read, and says what cannot.
    pub fn read(text: &'a str) -> (Tags<'a>, Vec<TagError>) {
        let mut tags: Vec<Tag<'a>> = Vec::new();
        let mut errors = Vec::new();
        let mut at = 0;
        let pieces = text.split(';').count();
        for (number, piece) in text.split(';').enumerate() {
            let start = at + (piece.len() - piece.trim_start_matches(BLANK).len());
            let whole = at;
            at += piece.len() + 1;
            if tags.len() == TAGS_MAX {
                errors.push(TagError { at: whole, why: format!("more than {TAGS_MAX} tags") });
                break;
            }
            if piece.trim_matches(BLANK).is_empty() {
                // A semicolon behind the last tag is allowed.
                if number + 1 < pieces || pieces == 1 {
                    errors.push(TagError { at: start.min(text.len()), why: "a tag is missing".to_owned() });
                }
                continue;
            }
            match tag(piece, whole, start) {
                Ok(tag) if tags.iter().any(|known| known.name == tag.name) => {
                    errors.push(TagError { at: start, why: format!("the tag {} stands there twice", tag.name) });
                }
                Ok(tag) => tags.push(tag),
                Err(error) => errors.push(error),
            }
        }
        (Tags(tags), errors)
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.tag(name).map(|tag| tag.value)
    }

    pub fn tag(&self, name: &str) -> Option<&Tag<'a>> {
        self.0.iter().find(|tag| tag.name == name)
    }
}

fn tag(piece: &str, whole: usize, start: usize) -> Result<Tag<'_>, TagError> {
    let Some((name, value)) = piece.split_once('=') else {
        let why = format!("{} is no `name=value`", untrusted(piece.trim_matches(BLANK).as_bytes()));
        return Err(TagError { at: start, why });
    };
    let value_at = whole + name.len() + 1 + (value.len() - value.trim_start_matches(BLANK).len());
    let name = name.trim_matches(BLANK);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(TagError { at: start, why: format!("{} is no name of a tag", untrusted(name.as_bytes())) });
    }
    let value = value.trim_matches(BLANK);
    let strange = |c: char| c.is_control() && !BLANK.contains(&c);
    match value.find(strange) {
        Some(offset) => Err(TagError { at: value_at + offset, why: "a control character".to_owned() }),
        None => Ok(Tag { name, value, at: start, value_at }),
    }
}

/// A value without its white space.
pub(crate) fn squeezed(value: &str) -> String {
    value.chars().filter(|c| !BLANK.contains(c)).collect()
}
