//! Lookup tables in files (DATABASE_README): is the file that Postfix opens there, and does an index hold what the text
//! beside it says. Only tables that a rule looks at.

use super::effective::items;
use super::lines::logical;
use super::main_cf::clip_to;
use crate::{read, secrets};
use mxray_model::Seen;
use mxray_model::evidence::{Configured, Rewrite, Server, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::Path;

/// A text and its index of this size are compared; a policy for single destinations has some dozen lines.
const COMPARED_BYTES_MAX: u64 = 256 * 1024;
/// Most entries that are looked for in an index.
const ENTRIES_MAX: usize = 200;
/// Tables of expressions are kilobytes.
const REWRITES_BYTES_MAX: u64 = 1 << 20;
/// Most entries of such a table that a report carries.
const REWRITES_MAX: usize = 1_000;
/// Longest expression or key that is kept, and longest action; real ones are shorter.
const PATTERN_CHARS_MAX: usize = 500;
const ACTION_CHARS_MAX: usize = 20;
/// Keys that are told; the first ones say enough.
const TOLD_MAX: usize = 5;

/// How a type of table names its file (DATABASE_README, postmap(1)). `None`: not in a file, or not known.
pub(super) fn suffix(kind: &str) -> Option<&'static str> {
    match kind {
        "hash" | "btree" => Some(".db"),
        "lmdb" => Some(".lmdb"),
        "cdb" => Some(".cdb"),
        "dbm" | "sdbm" => Some(".pag"),
        "texthash" | "regexp" | "pcre" | "cidr" => Some(""),
        _ => None,
    }
}

/// The same for the file that Postfix opens first: of a table in a database or a directory the one that says where that
/// is.
pub(super) fn opened(kind: &str) -> Option<&'static str> {
    match kind {
        "mysql" | "pgsql" | "ldap" | "sqlite" | "memcache" => Some(""),
        // Dovecot's files of users.
        "passwd-file" => Some(""),
        _ => suffix(kind),
    }
}

/// The tables of TLS policies, and those that are asked for every message.
pub(crate) fn look(server: &Server) -> BTreeMap<String, Table> {
    let policies = server.clients.values().flat_map(|client| &client.policy_tables.value);
    let asked = server.asked.iter().map(|table| (&table.value, table.setting.as_str()));
    let names = policies.map(|name| (name, "smtp_tls_policy_maps")).chain(asked);
    names.filter_map(|(name, setting)| Some((name.clone(), table(name, setting)?))).collect()
}

/// The tables by which mail is changed on its way out, as far as they are text, or text lies beside the index.
pub(crate) fn rewrites(server: &Server) -> BTreeMap<String, Seen<Vec<Rewrite>>> {
    let tables = server.clients.values().flat_map(|client| &client.rewriting);
    tables.map(|table| (table.value.clone(), rewrite(&table.value))).collect()
}

fn rewrite(name: &str) -> Seen<Vec<Rewrite>> {
    let (kind, path) = name.split_once(':').unwrap_or_default();
    if suffix(kind).is_none() || !path.starts_with('/') {
        let name = secrets::text(name);
        return Seen::not_attempted(&format!("what {name} changes is not read: only tables in files are"));
    }
    let text = match read::file(Path::new(path), REWRITES_BYTES_MAX) {
        Seen::Value(content) => content.bytes,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    Seen::Value(entries(kind, &text))
}

fn entries(kind: &str, text: &[u8]) -> Vec<Rewrite> {
    let by_expression = matches!(kind, "regexp" | "pcre");
    let entries = logical(text).0.into_iter().filter_map(|line| {
        let (pattern, action) = if by_expression { rule(&line.text)? } else { address(&line.text)? };
        let pattern = secrets::text(&clip_to(pattern, PATTERN_CHARS_MAX));
        Some(Rewrite { line: line.line, pattern, action: clip_to(action, ACTION_CHARS_MAX).to_ascii_uppercase() })
    });
    entries.take(REWRITES_MAX).collect()
}

/// `/expression/flags ACTION …`; what stands between `if` and `endif`, and what is negated, is left out
/// (regexp_table(5)).
fn rule(line: &str) -> Option<(&str, &str)> {
    let delimiter = line.chars().next().filter(|c| !c.is_alphanumeric() && *c != '!')?;
    let rest = line.get(delimiter.len_utf8()..)?;
    let mut escaped = false;
    let end = rest.char_indices().find_map(|(at, c)| {
        let ends = c == delimiter && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })?;
    let behind = rest.get(end + delimiter.len_utf8()..)?;
    let action = behind.split_once(char::is_whitespace)?.1.split_whitespace().next()?;
    Some((rest.get(..end)?, action))
}

fn address(line: &str) -> Option<(&str, &str)> {
    let (key, _) = line.split_once(char::is_whitespace)?;
    Some((key, "ADDRESS"))
}

fn table(name: &str, setting: &str) -> Option<Table> {
    // A list in a file of its own is read as it is.
    let (kind, path) = if name.starts_with('/') { ("texthash", name) } else { name.split_once(':')? };
    let suffix = opened(kind).filter(|_| path.starts_with('/'))?;
    let file = format!("{path}{suffix}");
    let opened = metadata(&file);
    let bytes = opened.as_ref().map(Metadata::len);
    if suffix.is_empty() {
        let not_indexed = Seen::Value(Vec::new());
        return Some(Table { file, bytes, text: Seen::Absent, damage: Seen::Absent, not_indexed });
    }
    let text = metadata(path);
    let not_indexed = match (&opened, &text) {
        (Seen::Value(index), Seen::Value(text)) => not_indexed((path, text), (&file, index), setting == "alias_maps"),
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
    };
    let damage = if opened.value().is_some() { damage(kind, Path::new(&file)) } else { Seen::Absent };
    Some(Table { file, bytes, text: text.map(|_| path.to_owned()), damage, not_indexed })
}

/// An index says in its first bytes what it is; opened as something else, it is refused (`Invalid argument`).
fn damage(kind: &str, file: &Path) -> Seen<String> {
    /// Of Berkeley DB's magic(5) numbers, at the offset 12 and in the byte order of who made the file.
    const HASH: u32 = 0x0006_1561;
    const BTREE: u32 = 0x0005_3162;
    const HEAD_BYTES: u64 = 32;
    if !matches!(kind, "hash" | "btree") {
        return Seen::Absent;
    }
    let head = match read::file(file, HEAD_BYTES) {
        Seen::Value(content) => content.bytes,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let Some(magic) = head.get(12..16).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) else {
        return Seen::Value("it is cut short".to_owned());
    };
    let is = |wanted: u32| [u32::from_le_bytes(magic), u32::from_be_bytes(magic)].contains(&wanted);
    match (is(HASH), is(BTREE)) {
        (true, _) if kind == "hash" => Seen::Absent,
        (_, true) if kind == "btree" => Seen::Absent,
        (true, _) => Seen::Value("it is an index of the type hash".to_owned()),
        (_, true) => Seen::Value("it is an index of the type btree".to_owned()),
        (false, false) => Seen::Value("it is no index of Berkeley DB".to_owned()),
    }
}

/// The domains whose mailboxes stand in a table and which none of the lists names: mail to them is refused as relaying, or sent
/// elsewhere. Said only where all lists could be read.
pub(crate) fn unlisted(server: &Server) -> Vec<Configured<String>> {
    const LISTS: [&str; 4] = ["mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains"];
    let mut listed = BTreeSet::new();
    for name in LISTS {
        for item in items(server.setting(name)) {
            match keys(item.text()) {
                Some(keys) => listed.extend(keys.into_iter().filter(|key| !key.contains('@'))),
                None => return Vec::new(),
            }
        }
    }
    let is_listed = |domain: &str| {
        listed.iter().any(|known| {
            let known = known.trim_start_matches('.');
            domain == known || domain.strip_suffix(known).is_some_and(|front| front.ends_with('.'))
        })
    };
    let at = server.set_at("virtual_mailbox_maps").cloned();
    let mut found: Vec<Configured<String>> = Vec::new();
    for item in items(server.setting("virtual_mailbox_maps")) {
        for key in keys(item.text()).unwrap_or_default() {
            let Some((_, domain)) = key.rsplit_once('@') else { continue };
            let known = found.iter().any(|known| known.value == domain);
            if domain.contains('.') && !known && !is_listed(domain) && found.len() < TOLD_MAX {
                let setting = "virtual_mailbox_maps".to_owned();
                found.push(Configured { value: domain.to_owned(), setting, at: at.clone() });
            }
        }
    }
    found
}

/// What an entry of a list names: itself, or the keys of the text of a table. `None`: that cannot be told.
fn keys(entry: &str) -> Option<Vec<String>> {
    let Some((kind, path)) = entry.split_once(':').filter(|(kind, _)| !kind.contains('.')) else {
        let is_domain = !entry.starts_with(['/', '!', '{', '$']);
        return is_domain.then(|| vec![entry.trim_end_matches('.').to_lowercase()]);
    };
    if !matches!(kind, "hash" | "btree" | "lmdb" | "cdb" | "dbm" | "sdbm" | "texthash") || !path.starts_with('/') {
        return None;
    }
    let text = read::file(Path::new(path), REWRITES_BYTES_MAX);
    let content = text.value().filter(|content| !content.cut)?;
    let lines = logical(&content.bytes).0;
    let key = |line: &super::lines::Logical| line.text.split_whitespace().next().unwrap_or_default().to_lowercase();
    Some(lines.iter().map(key).collect())
}

fn metadata(path: &str) -> Seen<Metadata> {
    match std::fs::metadata(path) {
        Ok(data) => Seen::Value(data),
        Err(error) => read::refused("look at", Path::new(path), &error),
    }
}

fn not_indexed((path, text): (&str, &Metadata), (file, index): (&str, &Metadata), aliases: bool) -> Seen<Vec<String>> {
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
        (Seen::Value(text), Seen::Value(index)) => missing(&text, &index, aliases),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind),
        _ => Seen::Absent,
    }
}

/// Keys whose own bytes, or whose value's, stand nowhere in the index. All types store both as they are; postmap folds
/// keys to lower case. Of aliases(5) only the keys are looked for: postalias writes the values in a form of its own.
fn missing(text: &[u8], index: &[u8], aliases: bool) -> Seen<Vec<String>> {
    let lines = logical(text).0;
    if lines.len() > ENTRIES_MAX {
        return Seen::not_attempted("the table has too many entries to be compared with its index");
    }
    let holds =
        |wanted: &str| wanted.is_empty() || index.windows(wanted.len()).any(|window| window == wanted.as_bytes());
    let split = |line: &'_ super::lines::Logical| -> Option<(String, String)> {
        let (key, value) =
            if aliases { (line.text.split_once(':')?.0, "") } else { line.text.split_once(char::is_whitespace)? };
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    // postmap(1) and postalias(1) take quotes away.
    let entries = lines.iter().filter_map(split).filter(|(key, _)| !key.starts_with('"'));
    let absent = entries.filter(|(key, value)| {
        // `postmap -f` folds nothing.
        !((holds(&key.to_lowercase()) || holds(key)) && holds(value))
    });
    Seen::Value(absent.map(|(key, _)| key).take(TOLD_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_holds_what_was_put_into_it() {
        let index = b"\x00\x01encrypt\x00elsewhere.example\x00secure match=nexthop\x00.other.example\x00";
        let text = b"# policies\nElsewhere.example   encrypt\n.other.example secure\n  match=nexthop\n";
        assert_eq!(missing(b"elsewhere.example encrypt\n", index, false), Seen::Value(vec![]));
        assert_eq!(
            missing(text, b"encrypt", false),
            Seen::Value(vec!["Elsewhere.example".to_owned(), ".other.example".to_owned()])
        );
        assert_eq!(
            missing(b"elsewhere.example none\n", index, false),
            Seen::Value(vec!["elsewhere.example".to_owned()])
        );
        assert_eq!(missing(b"", index, false), Seen::Value(vec![]));
        let aliases = b"\"odd name\": x\nPostmaster:    root\nops: alice,\n bob\n";
        assert_eq!(missing(aliases, b"postmaster\x00root\x00ops\x00alice,bob\x00", true), Seen::Value(vec![]));
        assert_eq!(missing(aliases, b"postmaster\x00root\x00", true), Seen::Value(vec!["ops".to_owned()]));
        assert!(missing("a b\n".repeat(ENTRIES_MAX + 1).as_bytes(), index, false).blind().is_some());
    }

    #[test]
    fn an_index_of_another_kind_is_told() {
        let file = std::env::temp_dir().join(format!("mxray-index-{}", std::process::id()));
        let of = |kind: &str, bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            damage(kind, &file)
        };
        let magic = |number: u32| [&[0; 12][..], &number.to_le_bytes(), &[0; 16]].concat();
        assert!(of("hash", &magic(0x61561)).is_absent() && of("btree", &magic(0x53162)).is_absent());
        let swapped = [&[0; 12][..], &0x61561_u32.to_be_bytes()].concat();
        assert!(of("hash", &swapped).is_absent() && of("lmdb", b"").is_absent());
        assert_eq!(of("hash", &magic(0x53162)), Seen::Value("it is an index of the type btree".to_owned()));
        assert_eq!(of("btree", &magic(7)), Seen::Value("it is no index of Berkeley DB".to_owned()));
        assert_eq!(of("hash", b""), Seen::Value("it is cut short".to_owned()));
        std::fs::remove_file(&file).unwrap();
        assert!(damage("hash", &file).is_absent());
    }

    #[test]
    fn mailboxes_of_a_domain_that_no_list_names_are_told() {
        let text = std::env::temp_dir().join(format!("mxray-boxes-{}", std::process::id()));
        std::fs::write(&text, "alice@One.example x\n@two.example y\nlisted.example ok\nbob@sub.one.example z\n")
            .unwrap();
        let table = format!("hash:{}", text.display());
        let with = |lists: &[(&str, &str)]| {
            let mut server = Server::default();
            for (name, value) in lists {
                let setting = mxray_model::evidence::Setting { value: (*value).to_owned(), at: None };
                server.settings.insert((*name).to_owned(), setting);
            }
            let maps = mxray_model::evidence::Setting { value: table.clone(), at: None };
            server.settings.insert("virtual_mailbox_maps".to_owned(), maps);
            unlisted(&server).into_iter().map(|domain| domain.value).collect::<Vec<String>>()
        };
        assert_eq!(with(&[("mydestination", "localhost, two.example")]), ["one.example", "sub.one.example"]);
        assert_eq!(with(&[("mydestination", "two.example"), ("relay_domains", "one.example")]), [""; 0]);
        assert_eq!(with(&[("virtual_mailbox_domains", &table)]), ["one.example", "two.example", "sub.one.example"]);
        // A list that cannot be read may name all of them.
        assert_eq!(with(&[("virtual_mailbox_domains", "mysql:/etc/postfix/domains.cf")]), [""; 0]);
        std::fs::remove_file(&text).unwrap();
    }

    #[test]
    fn rules_are_taken_apart_at_their_own_delimiter() {
        assert_eq!(rule("/^Subject: (.*)/i REPLACE Subject: [x] $1"), Some(("^Subject: (.*)", "REPLACE")));
        assert_eq!(rule(r"|^X-A: a\|b| IGNORE"), Some((r"^X-A: a\|b", "IGNORE")));
        for other in ["if /^To:/", "endif", "!/^From:/ REPLACE x", "/never closed", "/no action/", ""] {
            assert_eq!(rule(other), None, "{other}");
        }
        let text = b"# remark\n/^Received:/ ignore\n/^Subject: (.*)/\n  REPLACE Subject: $1\n";
        let found = entries("regexp", text);
        let short: Vec<_> = found.iter().map(|e| (e.line, e.pattern.as_str(), e.action.as_str())).collect();
        assert_eq!(short, [(2, "^Received:", "IGNORE"), (3, "^Subject: (.*)", "REPLACE")]);
        assert_eq!(entries("hash", b"a@b.example c@d.example\n")[0].pattern, "a@b.example");
        assert!(rewrite("mysql:/etc/postfix/generic.cf").blind().is_some());
        assert!(rewrite("regexp:/does/not/exist").is_absent());
    }

    #[test]
    fn only_tables_in_files_are_looked_at() {
        for name in ["inline:", "static:may", "ldap:x", "socketmap:inet:127.0.0.1:8461:p", "hash:relative"] {
            assert!(table(name, "x").is_none(), "{name}");
        }
        let gone = table("hash:/does/not/exist", "x").unwrap();
        assert_eq!(gone.file, "/does/not/exist.db");
        assert!(gone.bytes.is_absent() && gone.not_indexed.is_absent());
        assert!(table("regexp:/does/not/exist", "x").unwrap().bytes.is_absent());
    }
}
