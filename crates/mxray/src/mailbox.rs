//! Mails that a user names: files, mailboxes in one file, maildirs and other directories, standard input.
//!
//! One at a time is in memory. What cannot be read is told and stops nothing. What must not live here: what stands in a mail.

use crate::exit::Failure;
use mxray_mail::read::MESSAGE_BYTES_MAX;
use mxray_model::text::untrusted;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Directories within directories.
const DEPTH_MAX: usize = 16;
/// Files of one run. Whoever has more gives them in parts.
const FILES_MAX: usize = 5_000_000;
/// Longest line that is looked at as one; what is longer is no mark of a mailbox.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What was gone through.
#[derive(Debug, Default)]
pub struct Went {
    pub files: usize,
    /// What could not be read, and why.
    pub unread: Vec<(String, String)>,
}

/// Hands every mail to `each`, with the name of its file.
///
/// # Errors
/// Only what `each` says: its reader has gone.
pub fn each(paths: &[PathBuf], mut take: impl FnMut(&str, &[u8]) -> Result<(), Failure>) -> Result<Went, Failure> {
    let mut went = Went::default();
    for path in paths {
        if path == Path::new("-") {
            went.files += 1;
            let read = split(&mut io::stdin().lock(), &mut |mail| take("-", mail));
            ended("-", read, &mut went)?;
        } else {
            below(path, 0, &mut went, &mut take)?;
        }
    }
    Ok(went)
}

fn ended(name: &str, read: Result<(), Stop>, went: &mut Went) -> Result<(), Failure> {
    match read {
        Ok(()) => Ok(()),
        Err(Stop::Asked(failure)) => Err(failure),
        Err(Stop::Unread(error)) => {
            went.unread.push((name.to_owned(), error.to_string()));
            Ok(())
        }
    }
}

/// Why a file was not read to its end.
enum Stop {
    Unread(io::Error),
    Asked(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Unread(error)
    }
}

fn below(
    path: &Path,
    depth: usize,
    went: &mut Went,
    take: &mut impl FnMut(&str, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let name = untrusted(path.as_os_str().as_encoded_bytes());
    let kind = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) => {
            went.unread.push((name, error.to_string()));
            return Ok(());
        }
    };
    if kind.is_dir() {
        return directory(path, &name, depth, went, take);
    }
    if went.files >= FILES_MAX {
        return Ok(());
    }
    went.files += 1;
    if went.files == FILES_MAX {
        went.unread.push((name.clone(), format!("more than {FILES_MAX} files: the rest is left out")));
    }
    // A named pipe among files would hold the run; one that the user names is meant.
    if !kind.is_file() && depth > 0 {
        return Ok(());
    }
    let read = File::open(path).map_err(Stop::from).and_then(|file| {
        let mut file = BufReader::with_capacity(128 * 1024, file);
        split(&mut file, &mut |mail| take(&name, mail))
    });
    ended(&name, read, went)
}

fn directory(
    path: &Path,
    name: &str,
    depth: usize,
    went: &mut Went,
    take: &mut impl FnMut(&str, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if depth >= DEPTH_MAX {
        went.unread.push((name.to_owned(), "directories within directories, too deep".to_owned()));
        return Ok(());
    }
    let entries = fs::read_dir(path).and_then(|entries| {
        entries
            .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            went.unread.push((name.to_owned(), error.to_string()));
            return Ok(());
        }
    };
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    // What a maildir has in `tmp` is not written to its end.
    let is_maildir = ["cur", "new"].iter().all(|part| path.join(part).is_dir());
    for (entry, kind) in entries {
        let of_link = kind.is_symlink() && !entry.is_file();
        if of_link || is_maildir && kind.is_dir() && entry.ends_with("tmp") || is_maildir && !kind.is_dir() {
            continue;
        }
        below(&entry, depth + 1, went, take)?;
    }
    Ok(())
}

/// A file's mails: one, or those of a mailbox (RFC 4155).
fn split(from: &mut impl BufRead, take: &mut impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Stop> {
    let is_mailbox = from.fill_buf()?.starts_with(b"From ");
    let mut mail = Vec::new();
    if !is_mailbox {
        from.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut mail)?;
        if mail.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("longer than a mail may be").into());
        }
        return take(&mail).map_err(Stop::Asked);
    }
    let mut after_empty = true;
    loop {
        let start = mail.len();
        let read = from.take(LINE_BYTES_MAX).read_until(b'\n', &mut mail)?;
        let line = &mail[start..];
        let begins = after_empty && begins_mail(line);
        if begins && start > 0 {
            take(&mail[..start]).map_err(Stop::Asked)?;
            mail.drain(..start);
        }
        if read == 0 {
            break;
        }
        after_empty = mail.ends_with(b"\n\n") || mail.ends_with(b"\n\r\n");
        // The rest of one that is too long is gone through, and not kept.
        mail.truncate(MESSAGE_BYTES_MAX);
    }
    if mail.is_empty() { Ok(()) } else { take(&mail).map_err(Stop::Asked) }
}

/// `From sender date`: a sentence may begin with `From `, and has no time in it.
fn begins_mail(line: &[u8]) -> bool {
    line.starts_with(b"From ")
        && line
            .windows(5)
            .any(|part| matches!(part, [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mails(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut take = |mail: &[u8]| {
            found.push(String::from_utf8_lossy(mail).into_owned());
            Ok(())
        };
        assert!(split(&mut io::Cursor::new(text), &mut take).is_ok());
        found
    }

    #[test]
    fn a_mailbox_is_split_and_a_mail_is_not() {
        let two =
            "From a Mon Jan  1 10:00:00 2026\nSubject: 1\n\nx\n\nFrom b Mon Jan  1 10:00:00 2026\nSubject: 2\n\ny\n";
        let found = mails(two);
        assert_eq!(found.len(), 2);
        assert!(found[1].starts_with("From b"));
        assert_eq!(mails("Subject: 1\n\nFrom here on\n\nFrom b Mon Jan  1 10:00:00 2026\n").len(), 1);
        assert_eq!(mails("From a Mon Jan  1 10:00:00 2026\nS: 1\n\nx\n\nFrom my point of view\n").len(), 1);
        assert_eq!(mails(""), [""]);
    }

    #[test]
    fn directories_are_gone_through_and_what_is_unfinished_is_not() {
        let root = std::env::temp_dir().join(format!("mxray-mailbox-{}", std::process::id()));
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(part)).unwrap();
            fs::write(root.join(part).join("1"), format!("Subject: {part}\n\n")).unwrap();
        }
        let mut found = Vec::new();
        let went = each(&[root.clone(), root.join("none")], |_, mail| {
            found.push(String::from_utf8_lossy(mail).into_owned());
            Ok(())
        });
        fs::remove_dir_all(&root).unwrap();
        let went = went.unwrap();
        assert_eq!(found, ["Subject: cur\n\n", "Subject: new\n\n"]);
        assert_eq!((went.files, went.unread.len()), (2, 1));
    }
}
