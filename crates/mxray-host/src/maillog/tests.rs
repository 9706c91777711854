//! Files as they are found on hosts: packed, rotated, cut, not permitted, not there.

use super::*;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-maillog-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn all(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    LogFile::open(path).map_err(|unseen| io::Error::other(unseen.why))?.stream(0)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn every_packing_gives_the_same_bytes_whatever_the_name() {
    let scratch = Scratch::new("packing");
    let text = b"Jan  1 10:00:00 mx postfix/qmgr[1]: A1B2C3D4: removed\n".repeat(200);
    let bzip2 = {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap()
    };
    // Two members: what `cat a.gz b.gz` makes.
    let (front, back) = text.split_at(1000);
    let members = [gzip(front), gzip(back)].concat();
    let xz = {
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        writer.write_all(&text).unwrap();
        writer.finish().unwrap()
    };
    let packed = [
        (Packing::Plain, text.clone()),
        (Packing::Gzip, gzip(&text)),
        (Packing::Gzip, members),
        (Packing::Bzip2, bzip2),
        (Packing::Xz, xz),
        (Packing::Zstd, zstd::encode_all(text.as_slice(), 1).unwrap()),
    ];
    for (packing, bytes) in packed {
        let path = scratch.file("mail.log", &bytes);
        let file = LogFile::open(&path).unwrap();
        assert_eq!(file.packing, packing);
        assert_eq!(all(&path).unwrap(), text, "{packing:?}");
        assert_eq!(file.head().unwrap(), text, "{packing:?}");
        if packing != Packing::Plain {
            // Still being written, or damaged: what is there is read, and the end is an error.
            let path = scratch.file("cut", &bytes[..bytes.len() / 2]);
            assert!(all(&path).is_err(), "{packing:?}");
            let _ = LogFile::open(&path).unwrap().head();
        }
    }
}

#[test]
fn a_bomb_ends() {
    // 80 MiB of nought in 80 KiB.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 80 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    let mut stream = unpacked(Packing::Gzip, io::Cursor::new(bomb)).unwrap();
    let mut room = vec![0; 1 << 20];
    let error = loop {
        match stream.read(&mut room) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.to_string()),
        }
    };
    assert!(error.as_ref().is_some_and(|error| error.contains("times its packed size")), "{error:?}");
}

#[test]
fn words_are_files_patterns_and_directories() {
    let scratch = Scratch::new("find");
    scratch.file("mail.log", b"Jan  1 10:00:00 mx a: b\n");
    scratch.file("mail.log.1", b"Jan  1 09:00:00 mx a: b\n");
    scratch.file("wtmp", b"\x07\0\0\0tty\0");
    fs::hard_link(scratch.0.join("mail.log"), scratch.0.join("same.log")).unwrap();
    fs::create_dir(scratch.0.join("below")).unwrap();
    let names = |found: &Found| found.files.len();
    let of_directory = find(std::slice::from_ref(&scratch.0));
    assert_eq!((names(&of_directory), of_directory.unseen.len()), (2, 0), "{of_directory:?}");
    let of_pattern = find(&[scratch.0.join("mail.log*"), scratch.0.join("mail.log")]);
    assert_eq!(names(&of_pattern), 2);
    let missing = find(&[scratch.0.join("none"), scratch.0.join("none*")]);
    assert!(missing.files.is_empty() && missing.unseen.len() == 2, "{missing:?}");
    assert!(missing.unseen[0].why.contains("no such file"));
    let fifo = scratch.0.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(find(&[fifo]).unseen[0].why.contains("not a regular file"));
}

#[test]
fn a_file_is_followed_across_rotation_and_truncation() {
    let scratch = Scratch::new("follow");
    let path = scratch.file("mail.log", b"one\n");
    let file = LogFile::open(&path).unwrap();
    let mut follow = Follow::new(&file, 4);
    let mut room = [0; 64];
    let mut look = |follow: &mut Follow| match follow.look(&mut room).unwrap() {
        News::Bytes(count) => String::from_utf8(room[..count].to_vec()).unwrap(),
        other => format!("{other:?}"),
    };
    assert_eq!(look(&mut follow), "Nothing");
    let mut writer = fs::File::options().append(true).open(&path).unwrap();
    writer.write_all(b"two\n").unwrap();
    assert_eq!([look(&mut follow), look(&mut follow)], ["two\n", "Nothing"]);
    // Moved away: the writer goes on in the old file until it is told.
    fs::rename(&path, scratch.0.join("mail.log.1")).unwrap();
    writer.write_all(b"three\n").unwrap();
    assert_eq!([look(&mut follow), look(&mut follow)], ["three\n", "Nothing"]);
    scratch.file("mail.log", b"four\n");
    assert_eq!([look(&mut follow), look(&mut follow), look(&mut follow)], ["Rotated", "four\n", "Nothing"]);
    // Cut (copytruncate), and then grown past where we were.
    scratch.file("mail.log", b"five and more\n");
    assert_eq!([look(&mut follow), look(&mut follow)], ["Truncated", "five and more\n"]);
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!([look(&mut follow), look(&mut follow)], ["Truncated", "Nothing"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(look(&mut follow), "Nothing");
}

#[test]
fn a_file_that_is_cut_while_it_is_read_ends_early() {
    let scratch = Scratch::new("shrinks");
    let path = scratch.file("mail.log", &vec![b'x'; 1 << 20]);
    let file = LogFile::open(&path).unwrap();
    let mut stream = file.stream(0).unwrap();
    let mut room = vec![0; 1 << 16];
    assert_eq!(stream.read(&mut room).unwrap(), room.len());
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert_eq!(stream.read(&mut room).unwrap(), 0);
    assert_eq!(file.read_at(4, &mut room).unwrap(), 6);
}

#[test]
fn whatever_becomes_of_a_file_wakes_the_one_who_waits() {
    const LONG: std::time::Duration = std::time::Duration::from_secs(60);
    const SHORT: std::time::Duration = std::time::Duration::ZERO;
    let scratch = Scratch::new("watch");
    let path = scratch.file("mail.log", b"one\n");
    let mut watch = Watch::default();
    watch.file(&path);
    assert!(!watch.wait(SHORT), "nothing happened");
    let mut writer = fs::File::options().append(true).open(&path).unwrap();
    writer.write_all(b"two\n").unwrap();
    assert!(watch.wait(LONG) && !watch.wait(SHORT), "it grew, and is told once");
    writer.set_len(0).unwrap();
    assert!(watch.wait(LONG), "it was cut");
    fs::rename(&path, scratch.0.join("mail.log.1")).unwrap();
    assert!(watch.wait(LONG), "it was moved");
    writer.write_all(b"three\n").unwrap();
    assert!(watch.wait(LONG), "it is still written under its other name");
    let path = scratch.file("mail.log", b"four\n");
    assert!(watch.wait(LONG), "another one has its name");
    watch.file(&path);
    while watch.wait(SHORT) {}
    writer.write_all(b"five\n").unwrap();
    assert!(!watch.wait(SHORT), "the old one is watched no longer");
    scratch.file("mail.log", b"six\n");
    assert!(watch.wait(LONG));
    while watch.wait(SHORT) {}
    let bell = watch.bell();
    std::thread::spawn(move || bell.ring()).join().unwrap();
    assert!(watch.wait(LONG) && !watch.wait(SHORT));
    // A file that is not there, and no watch at all: the wait is over when its time is.
    watch.file(&scratch.0.join("none"));
    assert!(!watch.wait(SHORT) && !Watch::default().wait(SHORT));
}

#[test]
fn what_was_written_and_put_away_between_two_looks_is_found() {
    let scratch = Scratch::new("between");
    let path = scratch.file("mail.log", b"one\n");
    scratch.file("mail.log.9", b"older\n");
    let old = std::time::SystemTime::UNIX_EPOCH;
    let dated = |path: &Path, seconds: u64| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(old + std::time::Duration::from_secs(seconds)).unwrap();
    };
    dated(&scratch.0.join("mail.log.9"), 1);
    dated(&path, 2);
    let file = LogFile::open(&path).unwrap();
    let mut follow = Follow::new(&file, 4);
    let renamed = |from: &str, to: &str| fs::rename(scratch.0.join(from), scratch.0.join(to)).unwrap();
    // Two rotations, the second of which packs what the first left: that was read already.
    renamed("mail.log", "mail.log.1");
    dated(&scratch.file("mail.log", b"two\n"), 3);
    let packed = scratch.file("mail.log.2.gz", &gzip(b"one\n"));
    dated(&packed, 2);
    fs::remove_file(scratch.0.join("mail.log.1")).unwrap();
    renamed("mail.log", "mail.log.1");
    scratch.file("mail.log", b"three\n");
    let mut room = [0; 64];
    assert_eq!(follow.look(&mut room).unwrap(), News::Rotated);
    let missed: Vec<_> = follow.missed().iter().map(|(file, from)| (file.path.clone(), *from)).collect();
    assert_eq!(missed, [(scratch.0.join("mail.log.1"), 0)]);
    assert_eq!(follow.look(&mut room).unwrap(), News::Bytes(6));
    // Copied and cut, with a line that was not read before.
    scratch.file("mail.log.0", b"three\nfour\n");
    fs::write(&path, b"").unwrap();
    assert_eq!(follow.look(&mut room).unwrap(), News::Truncated);
    let missed: Vec<_> = follow.missed().iter().map(|(file, from)| (file.path.clone(), *from)).collect();
    assert_eq!(missed, [(scratch.0.join("mail.log.0"), 6)]);
}

#[test]
fn a_stream_is_unpacked_by_its_first_bytes() {
    for bytes in [&b"plain"[..], b"", b"B", b"BZ not packed"] {
        let mut read = Vec::new();
        super::unpacked_stream(io::Cursor::new(bytes.to_vec())).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
    }
    let mut read = Vec::new();
    super::unpacked_stream(io::Cursor::new(gzip(b"line\n"))).read_to_end(&mut read).unwrap();
    assert_eq!(read, b"line\n");
}
