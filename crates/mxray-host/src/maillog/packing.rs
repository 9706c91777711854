//! What a file is packed with, told by its first bytes and never by its name; and unpacking within bounds.
//!
//! What must not live here: which files there are.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// Most that one packed file may become. A year of a large provider's log stays under it.
pub const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// How many times its packed size a file may become, behind the first [`RATIO_FREE_BYTES`]. Logs reach 30, a flood of equal lines 150.
pub const RATIO_MAX: u64 = 500;
/// What a file may become whatever its ratio: unpacked in a second.
const RATIO_FREE_BYTES: u64 = 64 << 20;
/// Most memory that an unpacker may ask for. `xz -9` needs 64 MiB, `zstd --ultra` 128 MiB.
const MEMORY_KIB_MAX: u32 = 160 << 10;
/// 2 to this power: the largest window of zstd that is accepted, 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

impl Packing {
    /// By the magic number (RFC 1952 section 2.3.1, bzip2's `BZh`, the .xz file format section 2.1.1.1, RFC 8878 section 3.1.1).
    pub fn of(head: &[u8]) -> Packing {
        match head {
            [0x1f, 0x8b, 8, ..] => Packing::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Packing::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            _ => Packing::Plain,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Bzip2 => "bzip2",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
        }
    }
}

/// The unpacked bytes of a source: all members of a file that has several, within the bounds of this module.
///
/// # Errors
/// What the unpacker says when it begins; later ones come with reading. A file that becomes too large ends with
/// `InvalidData` and a sentence.
pub fn unpacked(packing: Packing, source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let taken = Arc::new(AtomicU64::new(0));
    let source = Counted { source, taken: Arc::clone(&taken) };
    let stream: Box<dyn Read + Send> = match packing {
        Packing::Plain => return Ok(Box::new(source)),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(source)),
        Packing::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(io::BufReader::new(source), true, MEMORY_KIB_MAX)),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(Bounded { stream, taken, given: 0 }))
}

/// A stream, unpacked where its first bytes say that it is packed: they are waited for when it is read.
pub fn unpacked_stream(source: impl Read + Send + 'static) -> impl Read + Send {
    Sniffed { unread: Some(Box::new(source)), stream: None }
}

/// Longest magic number.
const MAGIC_BYTES: usize = 6;

struct Sniffed {
    unread: Option<Box<dyn Read + Send>>,
    stream: Option<Box<dyn Read + Send>>,
}

impl Sniffed {
    /// What a line begins with is given on at once: a pipe may write four bytes and then nothing for hours.
    fn begin(mut source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let mut head = Vec::with_capacity(MAGIC_BYTES);
        let mut byte = [0];
        let may_be_packed = |head: &[u8]| matches!(head.first(), None | Some(0x1f | b'B' | 0xfd | 0x28));
        while head.len() < MAGIC_BYTES && may_be_packed(&head) {
            match source.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => head.extend(byte),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        unpacked(Packing::of(&head), io::Cursor::new(head).chain(source))
    }
}

impl Read for Sniffed {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if let Some(source) = self.unread.take() {
            self.stream = Some(Sniffed::begin(source)?);
        }
        self.stream.as_mut().map_or(Ok(0), |stream| stream.read(room))
    }
}

struct Counted<R> {
    source: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(room)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

struct Bounded {
    stream: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    given: u64,
}

impl Read for Bounded {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let taken = self.taken.load(Ordering::Relaxed);
        let stop = |why: String| Err(io::Error::new(ErrorKind::InvalidData, why));
        if self.given > UNPACKED_BYTES_MAX {
            return stop(format!("more than {} GiB unpacked", UNPACKED_BYTES_MAX >> 30));
        }
        if self.given > RATIO_FREE_BYTES && self.given / RATIO_MAX > taken {
            return stop(format!("it becomes more than {RATIO_MAX} times its packed size: no log does"));
        }
        let count = self.stream.read(room)?;
        self.given += count as u64;
        Ok(count)
    }
}
