//! Spools as the servers lay them out, in a directory of the test's own.

use super::{Piece, files};
use std::path::PathBuf;
use std::time::{Duration, Instant};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-queue-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn a_spool_of_exim_split_or_not() {
    let spool = Scratch::new("exim");
    spool.file("input/one-H", "a");
    spool.file("input/one-D", "body");
    spool.file("input/x/two-H", "b");
    spool.file("input/x/two-J", "done\n");
    spool.file("msglog/x/two", "log");
    let found = files::exim(spool.path(), later());
    let found = found.value().unwrap();
    assert_eq!((found.pieces.len(), found.cut, found.unread), (2, false, 0));
    let second =
        Piece::Exim { id: b"two".to_vec(), header: b"b".to_vec(), journal: b"done\n".to_vec(), log: b"log".to_vec() };
    assert_eq!(found.pieces[1], second);
    // No time is left: what is there is told as cut.
    assert!(files::exim(spool.path(), Instant::now()).value().unwrap().cut);
}

#[test]
fn a_queue_of_opensmtpd() {
    let spool = Scratch::new("opensmtpd");
    spool.file("queue/01/01234567/0123456789abcdef", "ctime: 1");
    spool.file("queue/01/01234567/message", "body");
    let found = files::opensmtpd(spool.path(), later());
    let id = b"0123456789abcdef".to_vec();
    assert_eq!(found.value().unwrap().pieces, [Piece::OpenSmtpd { id, envelope: b"ctime: 1".to_vec() }]);
}

#[test]
fn a_spool_that_was_never_used_is_empty() {
    let spool = Scratch::new("unused");
    assert!(files::exim(spool.path(), later()).value().unwrap().pieces.is_empty());
}

#[test]
fn a_queue_of_a_postfix_that_does_not_run() {
    let queue = Scratch::new("postfix");
    queue.file("maildrop/one", "a");
    queue.file("deferred/4/4two", "b");
    queue.file("defer/4/4two", "why");
    queue.file("hold/4three", "c");
    queue.file("corrupt/4four", "d");
    let found = files::postfix(queue.path(), later());
    let found = found.value().unwrap();
    let told: Vec<_> = found
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Postfix { state, id, deferred, .. } => {
                (*state, String::from_utf8_lossy(id).into_owned(), deferred.len())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("maildrop", "one", 0), ("deferred", "4two", 3), ("hold", "4three", 0)];
    assert_eq!(told, expected.map(|(state, id, length)| (state, id.to_owned(), length)));
    assert_eq!(found.unread, 0);
}

#[test]
fn queues_of_sendmail_in_one_directory_or_in_groups() {
    let queue = Scratch::new("sendmail");
    queue.file("qfone", "V8\n.\n");
    queue.file("dfone", "body");
    queue.file("q1/qf/qftwo", "V8\n");
    queue.file("q2/hfthree", "V8\n");
    queue.file("q2/qfempty", "");
    let found = files::sendmail(queue.path(), later());
    let found = found.value().unwrap();
    let ids: Vec<_> = found
        .pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Sendmail { id, set_aside, .. } => Some((String::from_utf8_lossy(id).into_owned(), *set_aside)),
            _ => None,
        })
        .filter(|(id, _)| ["one", "two", "three", "empty"].contains(&id.as_str()))
        .collect();
    assert_eq!(ids, [("one".to_owned(), false), ("two".to_owned(), false), ("three".to_owned(), true)]);
    assert!(files::sendmail(queue.path(), Instant::now()).value().unwrap().cut);
}
