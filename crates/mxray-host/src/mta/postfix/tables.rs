//! Lookup tables in files (DATABASE_README): is the file that Postfix opens there, and does an index hold what the text
//! beside it says. Only tables that a rule looks at.

use super::lines::logical;
use crate::read;
use mxray_model::Seen;
use mxray_model::evidence::{Server, Table};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;

/// A text and its index of this size are compared; a policy for single destinations has some dozen lines.
const COMPARED_BYTES_MAX: u64 = 256 * 1024;
/// Most entries that are looked for in an index.
const ENTRIES_MAX: usize = 200;
/// Keys that are told; the first ones say enough.
const TOLD_MAX: usize = 5;

/// How a type of table names its file (DATABASE_README, postmap(1)). `None`: not in a file, or not known.
fn suffix(kind: &str) -> Option<&'static str> {
    match kind {
        "hash" | "btree" => Some(".db"),
        "lmdb" => Some(".lmdb"),
        "cdb" => Some(".cdb"),
        "dbm" | "sdbm" => Some(".pag"),
        "texthash" | "regexp" | "pcre" | "cidr" => Some(""),
        _ => None,
    }
}

/// The tables of TLS policies.
pub(crate) fn look(server: &Server) -> BTreeMap<String, Table> {
    let names = server.clients.values().flat_map(|client| &client.policy_tables.value);
    names.filter_map(|name| Some((name.clone(), table(name)?))).collect()
}

fn table(name: &str) -> Option<Table> {
    let (kind, path) = name.split_once(':')?;
    let suffix = suffix(kind).filter(|_| path.starts_with('/'))?;
    let file = format!("{path}{suffix}");
    let opened = metadata(&file);
    let bytes = opened.as_ref().map(Metadata::len);
    if suffix.is_empty() {
        return Some(Table { file, bytes, text: Seen::Absent, not_indexed: Seen::Value(Vec::new()) });
    }
    let text = metadata(path);
    let not_indexed = match (&opened, &text) {
        (Seen::Value(index), Seen::Value(text)) => not_indexed(path, text, &file, index),
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
    };
    Some(Table { file, bytes, text: text.map(|_| path.to_owned()), not_indexed })
}

fn metadata(path: &str) -> Seen<Metadata> {
    match std::fs::metadata(path) {
        Ok(data) => Seen::Value(data),
        Err(error) => read::refused("look at", Path::new(path), &error),
    }
}

fn not_indexed(path: &str, text: &Metadata, file: &str, index: &Metadata) -> Seen<Vec<String>> {
    // A younger index was made of this text; Postfix itself compares no more than that.
    if let (Ok(text), Ok(index)) = (text.modified(), index.modified())
        && text <= index
    {
        return Seen::Value(Vec::new());
    }
    let whole = |path: &str| match read::file(Path::new(path), COMPARED_BYTES_MAX) {
        Seen::Value(content) if content.cut => {
            Seen::not_attempted(&format!("{path} is too large to be compared with its index"))
        }
        Seen::Value(content) => Seen::Value(content.bytes),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    };
    match (whole(path), whole(file)) {
        (Seen::Value(text), Seen::Value(index)) => missing(&text, &index),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind),
        _ => Seen::Absent,
    }
}

/// Keys whose own bytes, or whose value's, stand nowhere in the index. All types store both as they are; postmap folds
/// keys to lower case.
fn missing(text: &[u8], index: &[u8]) -> Seen<Vec<String>> {
    let lines = logical(text).0;
    if lines.len() > ENTRIES_MAX {
        return Seen::not_attempted("the table has too many entries to be compared with its index");
    }
    let holds =
        |wanted: &str| wanted.is_empty() || index.windows(wanted.len()).any(|window| window == wanted.as_bytes());
    let entries = lines.iter().filter_map(|line| line.text.split_once(char::is_whitespace));
    let absent = entries.filter(|(key, value)| !(holds(&key.to_lowercase()) && holds(value.trim())));
    Seen::Value(absent.map(|(key, _)| key.to_owned()).take(TOLD_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_holds_what_was_put_into_it() {
        let index = b"\x00\x01encrypt\x00elsewhere.example\x00secure match=nexthop\x00.other.example\x00";
        let text = b"# policies\nElsewhere.example   encrypt\n.other.example secure\n  match=nexthop\n";
        assert_eq!(missing(b"elsewhere.example encrypt\n", index), Seen::Value(vec![]));
        assert_eq!(
            missing(text, b"encrypt"),
            Seen::Value(vec!["Elsewhere.example".to_owned(), ".other.example".to_owned()])
        );
        assert_eq!(missing(b"elsewhere.example none\n", index), Seen::Value(vec!["elsewhere.example".to_owned()]));
        assert_eq!(missing(b"", index), Seen::Value(vec![]));
        assert!(missing("a b\n".repeat(ENTRIES_MAX + 1).as_bytes(), index).blind().is_some());
    }

    #[test]
    fn only_tables_in_files_are_looked_at() {
        for name in
            ["inline:", "static:may", "ldap:/etc/postfix/x.cf", "socketmap:inet:127.0.0.1:8461:p", "hash:relative"]
        {
            assert!(table(name).is_none(), "{name}");
        }
        let gone = table("hash:/does/not/exist").unwrap();
        assert_eq!(gone.file, "/does/not/exist.db");
        assert!(gone.bytes.is_absent() && gone.not_indexed.is_absent());
        assert!(table("regexp:/does/not/exist").unwrap().bytes.is_absent());
    }
}
