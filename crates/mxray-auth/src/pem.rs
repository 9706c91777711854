//! Textual encodings of keys and certificates (RFC 7468): several blocks in one file, with anything between them.

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// A chain has a handful of certificates of 2 KB each; the bundle of all public authorities is 220 KB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most blocks that are looked at: the bundle of all public authorities has some 150.
const BLOCKS_MAX: usize = 512;

/// One block between `-----BEGIN LABEL-----` and `-----END LABEL-----`.
pub(crate) struct Block {
    pub label: String,
    /// Of the BEGIN line; 1 is the first.
    pub line: usize,
    /// The old OpenSSL form of an encrypted key (RFC 1421 headers, `Proc-Type: 4,ENCRYPTED`).
    pub encrypted: bool,
    /// The contents, or what is wrong with them.
    pub der: Result<Zeroizing<Vec<u8>>, &'static str>,
}

/// Base64 whose padding may be missing, as OpenSSL takes it.
static BASE64: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    specification.ignore.push_str(" \t\r\n=");
    specification.check_trailing_bits = false;
    specification.encoding().ok()
});

/// All blocks of a file, in order. What stands outside of them is commentary (RFC 7468 section 2).
pub(crate) fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if let Some(label) = boundary(line, b"-----BEGIN ") {
            // A block that is never closed ends where the next one begins.
            found.extend(open.take().map(Open::cut_off));
            open = Some(Open { label, line: number + 1, encrypted: false, text: Zeroizing::new(Vec::new()) });
        } else if let Some(label) = boundary(line, b"-----END ") {
            found.extend(open.take().map(|block| block.closed(&label)));
        } else if let Some(block) = &mut open {
            block.add(line);
        }
        if found.len() >= BLOCKS_MAX {
            return found;
        }
    }
    found.extend(open.map(Open::cut_off));
    found
}

struct Open {
    label: String,
    line: usize,
    encrypted: bool,
    text: Zeroizing<Vec<u8>>,
}

impl Open {
    fn add(&mut self, line: &[u8]) {
        if line.contains(&b':') {
            // A header: no character of base64.
            self.encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
        } else if !(self.encrypted && line.is_empty()) {
            self.text.extend_from_slice(line);
        }
    }

    fn closed(self, label: &str) -> Block {
        let decoded = BASE64.as_ref().and_then(|base64| base64.decode(&self.text).ok());
        let der = match decoded {
            _ if label != self.label => Err("it ends with another label than it begins with"),
            Some(der) if !der.is_empty() => Ok(Zeroizing::new(der)),
            _ => Err("what stands between BEGIN and END is no base64"),
        };
        Block { label: self.label, line: self.line, encrypted: self.encrypted, der }
    }

    fn cut_off(self) -> Block {
        let der = Err("its END line is missing");
        Block { label: self.label, line: self.line, encrypted: self.encrypted, der }
    }
}

fn boundary(line: &[u8], begin: &[u8]) -> Option<String> {
    let label = line.strip_prefix(begin)?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}
