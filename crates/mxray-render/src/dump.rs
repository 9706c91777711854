//! All evidence as indented lines, for `-v`. Knows nothing of what the facts mean: it walks the serialised form, so a
//! new fact shows without a line here.

use crate::safe::printable;
use mxray_model::{Blind, Evidence};
use serde_json::Value;

/// The evidence, one fact a line, already escaped. Evidence that cannot be serialised says so.
pub(crate) fn lines(evidence: &Evidence) -> Vec<String> {
    let mut lines = Vec::new();
    match serde_json::to_value(evidence) {
        Ok(value) => entry(&mut lines, 0, "", &value),
        Err(error) => lines.push(printable(&format!("not serialisable: {error}")).into_owned()),
    }
    lines
}

fn entry(lines: &mut Vec<String>, depth: usize, key: &str, value: &Value) {
    if let Some(short) = one_line(value) {
        push(lines, depth, &format!("{key}: {short}"));
        return;
    }
    let inner = if key.is_empty() {
        depth
    } else {
        push(lines, depth, &format!("{key}:"));
        depth + 1
    };
    match seen(value) {
        Value::Object(members) => {
            for (name, member) in members {
                entry(lines, inner, name, member);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                entry(lines, inner, &format!("[{index}]"), item);
            }
        }
        other => push(lines, inner, &scalar(other)),
    }
}

fn push(lines: &mut Vec<String>, depth: usize, text: &str) {
    let indent = depth * 2;
    lines.push(format!("{:indent$}{}", "", printable(text)));
}

/// Values that take one line: scalars, lists of scalars, the absent and the unknown.
fn one_line(value: &Value) -> Option<String> {
    if let Some(why) = unknown(value) {
        return Some(why);
    }
    if value == "absent" {
        return Some("absent (looked for, not there)".to_owned());
    }
    match seen(value) {
        Value::Object(members) if members.is_empty() => Some("none".to_owned()),
        Value::Object(_) => None,
        Value::Array(items) if items.is_empty() => Some("none".to_owned()),
        Value::Array(items) => {
            if items.iter().any(|item| item.is_object() || item.is_array()) {
                return None;
            }
            Some(items.iter().map(scalar).collect::<Vec<_>>().join(", "))
        }
        other => Some(scalar(other)),
    }
}

/// What was seen, without its wrapping `{"value": …}`; anything else as it is.
fn seen(value: &Value) -> &Value {
    match value {
        Value::Object(members) if members.len() == 1 => members.get("value").unwrap_or(value),
        other => other,
    }
}

fn unknown(value: &Value) -> Option<String> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let blind: Blind = serde_json::from_value(members.get("unknown")?.clone()).ok()?;
    let needs = blind.needs();
    Some(if needs.is_empty() {
        format!("UNKNOWN ({})", blind.why())
    } else {
        format!("UNKNOWN ({}; needs {needs})", blind.why())
    })
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dumped(value: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        entry(&mut lines, 0, "", value);
        lines
    }

    #[test]
    fn the_three_states_are_three_texts() {
        let facts = json!({
            "a": {"value": 7},
            "b": "absent",
            "c": {"unknown": {"not_permitted": {"what": "read /proc/1/fd", "needs": "root"}}},
            "d": {"value": {"x": [1, 2], "y": {}}},
        });
        assert_eq!(
            dumped(&facts),
            [
                "a: 7",
                "b: absent (looked for, not there)",
                "c: UNKNOWN (not permitted: read /proc/1/fd; needs root)",
                "d:",
                "  x: 1, 2",
                "  y: none",
            ]
        );
    }

    #[test]
    fn lists_of_objects_are_numbered() {
        assert_eq!(
            dumped(&json!({"o": [{"pid": 1}, {"pid": 2}]})),
            ["o:", "  [0]:", "    pid: 1", "  [1]:", "    pid: 2"]
        );
    }
}
