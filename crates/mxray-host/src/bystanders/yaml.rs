//! YAML as a tree of texts with the lines where they stand. Aliases are shared, never copied, so that a few lines cannot become
//! gigabytes.

use super::found::number;
use mxray_model::text::untrusted;
use saphyr_parser::{Event, Parser};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most events of one document.
const EVENTS_MAX: usize = 200_000;
/// Most values within values.
const DEPTH_MAX: usize = 64;
/// Most merges (`<<`) that are followed for one key.
const MERGES_MAX: usize = 8;

/// One value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub value: Value,
    pub line: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// As it is written: `25` is a text, too.
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value of a key; what a merge key (`<<`) brings holds where the map itself says nothing.
    pub fn get(&self, name: &str) -> Option<&Rc<Node>> {
        self.get_within(name, MERGES_MAX)
    }

    fn get_within(&self, name: &str, left: usize) -> Option<&Rc<Node>> {
        let Value::Map(entries) = &self.value else { return None };
        let own = entries.iter().rev().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value);
        if own.is_some() || left == 0 {
            return own;
        }
        entries.iter().filter(|(key, _)| key.text() == Some("<<")).find_map(|(_, merged)| match &merged.value {
            Value::List(items) => items.iter().take(MERGES_MAX).find_map(|item| item.get_within(name, left - 1)),
            Value::Map(_) => merged.get_within(name, left - 1),
            Value::Text(_) => None,
        })
    }

    /// The entries of a map with their names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Rc<Node>)> {
        let entries = match &self.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Text(_) | Value::List(_) => &[],
        };
        entries.iter().filter_map(|(key, value)| Some((key.text()?, value)))
    }

    /// The items of a list; a single value is a list of one.
    pub fn items(self: &Rc<Node>) -> Vec<&Rc<Node>> {
        match &self.value {
            Value::List(items) => items.iter().collect(),
            Value::Text(_) | Value::Map(_) => vec![self],
        }
    }
}

/// A container that is being read.
struct Open {
    anchor: usize,
    line: u32,
    is_map: bool,
    parts: Vec<Rc<Node>>,
}

/// The first document of a text. An empty one is an empty map.
///
/// # Errors
/// The line and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Rc<Node>, (u32, String)> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, Rc<Node>> = BTreeMap::new();
    let empty = || Rc::new(Node { value: Value::Map(Vec::new()), line: 1 });
    for (count, event) in Parser::new_from_str(text).enumerate() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let line = number(error.marker().line().saturating_sub(1));
                return Err((line, format!("not YAML: {}", untrusted(error.info().as_bytes()))));
            }
        };
        let line = number(span.start.line().saturating_sub(1));
        if count > EVENTS_MAX || open.len() > DEPTH_MAX {
            return Err((line, "too large or too deep".to_owned()));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, _, anchor, _) => {
                (Rc::new(Node { value: Value::Text(text.into_owned()), line }), anchor)
            }
            Event::Alias(id) => (anchors.get(&id).cloned().unwrap_or_else(empty), 0),
            Event::SequenceStart(anchor, _) => {
                open.push(Open { anchor, line, is_map: false, parts: Vec::new() });
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open { anchor, line, is_map: true, parts: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = open.pop() else { continue };
                let anchor = done.anchor;
                (closed(done), anchor)
            }
            Event::DocumentEnd | Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        match open.last_mut() {
            Some(parent) => parent.parts.push(node),
            None => return Ok(node),
        }
    }
    Ok(empty())
}

fn closed(open: Open) -> Rc<Node> {
    let value = if open.is_map {
        let mut parts = open.parts.into_iter();
        let mut entries = Vec::new();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            entries.push((key, value));
        }
        Value::Map(entries)
    } else {
        Value::List(open.parts)
    };
    Rc::new(Node { value, line: open.line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_lines_and_merges_are_followed() {
        let text = "x: &base\n  restart: always\n  ports: [\"25:25\"]\nservices:\n  mail:\n    <<: *base\n    ports:\n      - 26:25\n";
        let root = parse(text).unwrap();
        let mail = root.get("services").unwrap().get("mail").unwrap();
        assert_eq!(mail.get("restart").unwrap().text(), Some("always"));
        let port = mail.get("ports").unwrap().items()[0];
        assert_eq!((port.text(), port.line), (Some("26:25"), 8));
        assert!(mail.get("none").is_none());
    }

    #[test]
    fn a_bomb_of_aliases_stays_small() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..60 {
            text.push_str(&format!("a{level}: &a{level} [{0}, {0}, {0}]\n", format!("*a{}", level - 1)));
        }
        assert!(parse(&text).unwrap().get("a59").is_some());
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
        assert_eq!(parse("a: [\n").unwrap_err().0, 2);
        assert_eq!(parse("").unwrap().entries().count(), 0);
    }

    #[test]
    fn merges_that_refer_to_one_another_end() {
        let text = "a: &a {<<: [{<<: {p: 1}}], q: 2}\nb: {<<: *a}\n";
        let root = parse(text).unwrap();
        assert_eq!(root.get("b").unwrap().get("p").unwrap().text(), Some("1"));
        assert!(root.get("b").unwrap().get("none").is_none());
    }
}
