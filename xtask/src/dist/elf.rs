//! What a 64-bit little-endian ELF file asks of the system it runs on: libraries, and versions of their symbols.
//!
//! Reads exactly what the package's `Depends` needs. Nothing here trusts an offset: a file that lies gives `None`.

use std::collections::{BTreeMap, BTreeSet};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    /// DT_NEEDED: the libraries the loader will look for.
    pub needed: BTreeSet<String>,
    /// Symbol versions wanted, by library: `libc.so.6` → `GLIBC_2.34`, …
    pub versions: BTreeMap<String, BTreeSet<String>>,
    /// A symbol table besides the dynamic one: the file was not stripped.
    pub has_symbols: bool,
}

const SYMTAB: u32 = 2;
const DYNAMIC: u32 = 6;
/// SHT_GNU_verneed.
const VERSIONS_NEEDED: u32 = 0x6fff_fffe;
const TAG_NEEDED: u64 = 1;

/// The file, read with bounds.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

struct Section<'a> {
    kind: u32,
    content: Bytes<'a>,
    /// sh_link: the string table of its names.
    link: usize,
}

impl Image {
    pub fn read(file: &[u8]) -> Option<Image> {
        let file = Bytes(file);
        // Magic, 64 bit, little-endian.
        if file.0.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let sections = sections(file)?;
        let mut image = Image { needed: BTreeSet::new(), versions: BTreeMap::new(), has_symbols: false };
        for section in &sections {
            match section.kind {
                SYMTAB => image.has_symbols = true,
                DYNAMIC => image.needed.extend(needed(section, sections.get(section.link)?)?),
                VERSIONS_NEEDED => image.versions.extend(versions(section, sections.get(section.link)?)?),
                _ => {}
            }
        }
        Some(image)
    }

    /// The greatest version with this prefix (`GLIBC_`) that any library is asked for.
    pub fn greatest(&self, prefix: &str) -> Option<String> {
        let wanted = self.versions.values().flatten().filter_map(|version| version.strip_prefix(prefix));
        let numbered = wanted.filter_map(|version| {
            let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
            Some((parts?, version))
        });
        numbered.max().map(|(_, version)| version.to_owned())
    }
}

fn sections(file: Bytes<'_>) -> Option<Vec<Section<'_>>> {
    let table = usize::try_from(file.u64(0x28)?).ok()?;
    let (size, count) = (usize::from(file.u16(0x3a)?), usize::from(file.u16(0x3c)?));
    (0..count).map(|index| section(file, table.checked_add(index.checked_mul(size)?)?)).collect()
}

fn section(file: Bytes<'_>, at: usize) -> Option<Section<'_>> {
    /// SHT_NOBITS: a size without content.
    const NO_CONTENT: u32 = 8;
    let header = Bytes(file.0.get(at..at.checked_add(64)?)?);
    let kind = header.u32(4)?;
    let (start, length) = (usize::try_from(header.u64(0x18)?).ok()?, usize::try_from(header.u64(0x20)?).ok()?);
    let content = if kind == NO_CONTENT { &[] } else { file.0.get(start..start.checked_add(length)?)? };
    Some(Section { kind, content: Bytes(content), link: usize::try_from(header.u32(0x28)?).ok()? })
}

fn needed(dynamic: &Section<'_>, names: &Section<'_>) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in dynamic.content.0.chunks_exact(16) {
        let entry = Bytes(entry);
        if entry.u64(0)? == TAG_NEEDED {
            found.insert(names.content.text(usize::try_from(entry.u64(8)?).ok()?)?);
        }
    }
    Some(found)
}

/// Two nested lists: libraries (Verneed), and for each its versions (Vernaux); every entry says how far the next is.
fn versions(section: &Section<'_>, names: &Section<'_>) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let bytes = section.content;
    let mut found = BTreeMap::new();
    let mut library_at = 0usize;
    loop {
        let library = names.content.text(usize::try_from(bytes.u32(library_at + 4)?).ok()?)?;
        let mut version_at = library_at.checked_add(usize::try_from(bytes.u32(library_at + 8)?).ok()?)?;
        let wanted: &mut BTreeSet<String> = found.entry(library).or_default();
        for _ in 0..bytes.u16(library_at + 2)? {
            wanted.insert(names.content.text(usize::try_from(bytes.u32(version_at.checked_add(8)?)?).ok()?)?);
            let step = bytes.u32(version_at.checked_add(12)?)?;
            version_at = version_at.checked_add(usize::try_from(step).ok()?)?;
        }
        // A step is at least one byte forward, so the list ends.
        match usize::try_from(bytes.u32(library_at + 12)?).ok()? {
            0 => return Some(found),
            step => library_at = library_at.checked_add(step)?,
        }
    }
}

impl Bytes<'_> {
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// The text that ends with the next zero byte.
    fn text(self, at: usize) -> Option<String> {
        let rest = self.0.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        String::from_utf8(rest.get(..end)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_test() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn this_very_test_asks_for_the_c_library() {
        let image = Image::read(&this_test()).unwrap();
        assert!(image.needed.contains("libc.so.6"), "{:?}", image.needed);
        assert!(image.has_symbols, "a test binary is not stripped");
        let wanted = image.greatest("GLIBC_").unwrap();
        assert!(wanted.starts_with("2."), "{wanted}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let versions = ["GLIBC_2.9", "GLIBC_2.34", "GLIBC_PRIVATE", "GCC_3.0"].map(str::to_owned);
        let versions = BTreeMap::from([("libc.so.6".to_owned(), BTreeSet::from(versions))]);
        let image = Image { needed: BTreeSet::new(), versions, has_symbols: false };
        assert_eq!(image.greatest("GLIBC_").as_deref(), Some("2.34"));
        assert_eq!(image.greatest("OTHER_"), None);
    }

    #[test]
    fn a_truncated_or_foreign_file_is_refused_and_nothing_panics() {
        let whole = this_test();
        // The section table is at the end: a file that lost its last byte lost a header.
        assert_eq!(Image::read(&whole[..whole.len() - 1]), None);
        for length in (0..64).chain([100, 1000, whole.len() / 2]) {
            assert_eq!(Image::read(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(Image::read(b"#!/bin/sh\nexit 0\n"), None);
        let mut lies = whole.clone();
        lies[0x28..0x30].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Image::read(&lies), None);
    }
}
