//! How Postfix logs in at the host that it hands its mail to: the user and the password of smtp_sasl_password_maps.
//!
//! Only tables in files with their text are read, as the bytes stand: escaped or clipped, a right password would look wrong.

use super::tables::suffix;
use crate::mta::logins::{Credentials, credentials};
use crate::read;
use mxray_model::evidence::SmtpClient;
use mxray_model::{Blind, Seen};
use std::path::Path;

/// Files of passwords have a few lines; hosting platforms have some thousand.
const BYTES_MAX: u64 = 4 << 20;

/// The login for a next hop: `host` is the server's name, `next_hop` what the configuration says (`[smtp.example.com]:587`). smtp(8)
/// looks for the first and then for the second. `Absent`: Postfix does not log in there.
pub fn login(client: &SmtpClient, host: &str, next_hop: &str) -> Seen<Credentials> {
    let Some(login) = &client.login else { return Seen::Absent };
    let texts: Vec<Seen<Vec<u8>>> = login.tables.value.iter().map(|table| text(table)).collect();
    for key in [host, next_hop] {
        for table in &texts {
            match table {
                Seen::Value(text) => match entry(text, key) {
                    Some(found) => return found,
                    None => continue,
                },
                // smtp(8) would have found it there, or not.
                Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
                Seen::Absent => continue,
            }
        }
    }
    Seen::Absent
}

/// The text of a table, where the index says the same.
fn text(table: &str) -> Seen<Vec<u8>> {
    let unread = |why: String| Seen::Unknown(Blind::NotAttempted { why });
    let (kind, path) = table.split_once(':').unwrap_or_default();
    let Some(suffix) = suffix(kind).filter(|_| path.starts_with('/') && !matches!(kind, "regexp" | "pcre" | "cidr"))
    else {
        return unread(format!("passwords in {kind} tables are not read"));
    };
    let index = format!("{path}{suffix}");
    let changed = |path: &str| std::fs::metadata(path).and_then(|data| data.modified());
    if !suffix.is_empty() {
        match (changed(path), changed(&index)) {
            (Ok(text), Ok(index)) if text <= index => {}
            (Ok(_), Ok(_)) => return unread(format!("{path} is younger than {index}, which Postfix reads")),
            (Err(error), _) => return read::refused("look at", Path::new(path), &error),
            (_, Err(error)) => return read::refused("look at", Path::new(&index), &error),
        }
    }
    match read::file(Path::new(path), BYTES_MAX) {
        Seen::Value(content) if content.cut => unread(format!("{path} is larger than {BYTES_MAX} bytes")),
        Seen::Value(content) => Seen::Value(content.bytes),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// The entry of a key; keys are folded to lower case (postmap(1)). `None`: there is none.
fn entry(text: &[u8], key: &str) -> Option<Seen<Credentials>> {
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let first = line.first().copied().unwrap_or(b'#');
        if first == b'#' || first.is_ascii_whitespace() {
            continue;
        }
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (name, value) = line.split_at(end);
        if !name.eq_ignore_ascii_case(key.as_bytes()) {
            continue;
        }
        let mut value = value.trim_ascii().to_vec();
        while let Some(more) = lines.next_if(|line| line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'))) {
            value.push(b' ');
            value.extend_from_slice(more.trim_ascii());
        }
        // A key without a value is no login (smtp_sasl_glue.c).
        return Some(credentials(value.trim_ascii(), "smtp_sasl_password_maps"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::{ClientLogin, Configured};

    fn found(text: &[u8], key: &str) -> Option<(String, Vec<u8>)> {
        entry(text, key).and_then(|found| found.value().map(|c| (c.user.clone(), c.password.clone())))
    }

    #[test]
    fn the_value_is_taken_as_it_stands() {
        let text = b"# relay\n\n[Smtp.Example.com]:587\tuser@example.org:p w:d%\xff\\ \r\nother.example u\nempty.example\n[c]:25 u:a\n  b\n";
        let some = |user: &str, password: &[u8]| Some((user.to_owned(), password.to_vec()));
        assert_eq!(found(text, "[smtp.example.com]:587"), some("user@example.org", b"p w:d%\xff\\"));
        assert_eq!(found(text, "other.example"), some("u", b""));
        assert_eq!(found(text, "[c]:25"), some("u", b"a b"));
        assert_eq!(entry(text, "empty.example"), Some(Seen::Absent));
        assert_eq!(entry(text, "smtp.example.com"), None);
    }

    #[test]
    fn what_is_no_text_is_not_guessed_at() {
        let client = |tables: &[&str]| SmtpClient {
            login: Some(ClientLogin {
                tables: Configured {
                    value: tables.iter().map(|table| (*table).to_owned()).collect(),
                    ..Configured::default()
                },
                ..ClientLogin::default()
            }),
            ..SmtpClient::default()
        };
        for table in ["mysql:/etc/postfix/x.cf", "static:", "regexp:/etc/x", "hash:relative"] {
            assert!(login(&client(&[table]), "h", "[h]:587").blind().is_some(), "{table}");
        }
        assert!(login(&client(&["texthash:/does/not/exist"]), "h", "[h]:587").is_absent());
        assert!(login(&SmtpClient::default(), "h", "[h]:587").is_absent());
    }

    #[test]
    fn an_index_that_is_older_than_its_text_is_another_login() {
        let directory = std::env::temp_dir().join(format!("mxray-logins-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("passwd");
        let write = |path: &Path, bytes: &[u8], age_s: u64| {
            std::fs::write(path, bytes).unwrap();
            let when = std::time::SystemTime::now() - std::time::Duration::from_secs(age_s);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(when).unwrap();
        };
        let table = format!("hash:{}", path.display());
        write(&path, b"h u:p\n", 10);
        write(&path.with_extension("db"), b"index", 20);
        assert!(text(&table).blind().is_some());
        write(&path.with_extension("db"), b"index", 5);
        assert!(text(&table).value().is_some());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
