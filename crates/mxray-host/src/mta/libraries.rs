//! Does a program find the shared libraries that it needs? Looked up as ld.so(8) does, in the files alone: nothing is run.
//!
//! Only programs that glibc's dynamic linker starts, of 64 bits in this machine's byte order; of others nothing is said.
//! Whatever cannot be read counts as there.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Program headers, entries of the dynamic section, and bytes of a name: real ones have a dozen, a hundred, a hundred.
const HEADERS_MAX: u16 = 64;
const ENTRIES_MAX: u64 = 1_000;
const NAME_BYTES: usize = 4_096;
/// Libraries of one program with those that they need in turn; large ones have a hundred.
const LIBRARIES_MAX: usize = 400;
/// The linker's own list; some hundred kilobytes on a large desktop.
const CACHE_BYTES_MAX: u64 = 8 << 20;
const CACHE: &str = "/etc/ld.so.cache";
/// Behind the linker's list (ld.so(8)), with Debian's own directories.
const DIRECTORIES: &[&str] = &[
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib",
];

/// The linker's list of libraries, and which programs and libraries were found whole.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    cache: Option<Vec<u8>>,
    whole: BTreeSet<PathBuf>,
}

impl Libraries {
    pub fn look() -> Libraries {
        Libraries { cache: crate::read::bounded(Path::new(CACHE), CACHE_BYTES_MAX).ok(), whole: BTreeSet::new() }
    }

    /// The first library that a program, or a library of its, needs and that is nowhere. `None`: nothing is known to be missing.
    pub fn missing(&mut self, program: &Path) -> Option<String> {
        // Without the list nobody knows the directories that an admin added.
        self.cache.as_ref()?;
        let mut waiting = vec![program.to_path_buf()];
        // A directory that one of them names is looked into for all that follow: rather too many than too few.
        let mut paths: Vec<PathBuf> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(path) = waiting.pop() {
            if self.whole.contains(&path) || seen.len() >= LIBRARIES_MAX || !seen.insert(path.clone()) {
                continue;
            }
            let Some(object) = read_object(&path) else { continue };
            if path == program && !object.by_glibc {
                return None;
            }
            for directory in &object.search {
                let directory = expanded(directory, &path)?;
                if !paths.contains(&directory) {
                    paths.push(directory);
                }
            }
            for name in object.needed {
                match self.find(&name, &paths) {
                    Ok(found) => waiting.push(found),
                    Err(true) => return Some(name),
                    Err(false) => return None,
                }
            }
        }
        self.whole.extend(seen);
        None
    }

    /// `Err(true)`: it is nowhere. `Err(false)`: it may be where we cannot look.
    fn find(&self, name: &str, paths: &[PathBuf]) -> Result<PathBuf, bool> {
        let named = Path::new(name);
        let listed = self.cache.as_deref().map(|cache| listed(cache, name.as_bytes())).unwrap_or_default();
        let below = |directory: &Path| directory.join(named);
        let everywhere = paths.iter().map(|path| below(path));
        let everywhere = everywhere.chain(listed).chain(DIRECTORIES.iter().map(|path| below(Path::new(path))));
        let candidates: Vec<PathBuf> =
            if name.contains('/') { vec![named.to_path_buf()] } else { everywhere.collect() };
        let mut absent = true;
        for candidate in candidates {
            match std::fs::metadata(&candidate) {
                Ok(_) => return Ok(candidate),
                Err(error) => absent &= is_absence(&error),
            }
        }
        Err(absent)
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// `$ORIGIN/../lib`: other words of the linker's are not known here.
fn expanded(directory: &str, object: &Path) -> Option<PathBuf> {
    let origin = object.parent()?.to_str()?;
    let text = directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin);
    (!text.contains('$')).then(|| PathBuf::from(text))
}

/// The paths that the linker's list has for a name: `glibc-ld.so.cache1.1`, a header of 48 bytes, entries of 24 with the offsets
/// of name and path.
fn listed(cache: &[u8], name: &[u8]) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    // An older list stands in front of it where both kinds are written.
    let start = cache.windows(MAGIC.len()).position(|part| part == MAGIC).unwrap_or(cache.len());
    let cache = cache.get(start..).unwrap_or_default();
    let word = |at: usize| -> Option<usize> {
        let bytes = cache.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_ne_bytes(bytes.try_into().ok()?)).ok()
    };
    let text = |at: usize| cache.get(at..).and_then(|rest| rest.split(|byte| *byte == 0).next());
    let count = word(MAGIC.len()).unwrap_or(0).min(cache.len() / ENTRY);
    let entry = |index: usize| {
        let at = HEADER + index * ENTRY;
        let key = text(word(at + 4)?)?;
        (key == name).then(|| text(word(at + 8)?)).flatten()
    };
    (0..count).filter_map(entry).map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path))).collect()
}

/// What the dynamic linker reads of a program or a library.
#[derive(Debug, Default, PartialEq, Eq)]
struct Object {
    needed: Vec<String>,
    /// DT_RPATH and DT_RUNPATH.
    search: Vec<String>,
    /// It names glibc's linker as its interpreter.
    by_glibc: bool,
}

fn read_object(path: &Path) -> Option<Object> {
    let file = File::open(path).ok()?;
    object(&|at, bytes| file.read_exact_at(bytes, at).is_ok(), &|at| {
        let mut bytes = vec![0; NAME_BYTES];
        // The last name of a file ends before so many bytes.
        let read = file.read_at(&mut bytes, at).ok()?;
        bytes.truncate(read);
        let end = bytes.iter().position(|byte| *byte == 0)?;
        bytes.truncate(end);
        String::from_utf8(bytes).ok()
    })
}

/// One entry of the program header table: kind, place in the file, place in memory, size in the file (elf(5), Elf64_Phdr).
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// `fill` reads whole buffers at a place, `name` what ends with a zero byte.
fn object(fill: &dyn Fn(u64, &mut [u8]) -> bool, name: &dyn Fn(u64) -> Option<String>) -> Option<Object> {
    let segments = segments(fill)?;
    let interpreter = segments.iter().find(|segment| segment.kind == PT_INTERP).and_then(|one| name(one.offset));
    let mut object =
        Object { by_glibc: interpreter.is_some_and(|path| path.contains("/ld-linux")), ..Object::default() };
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else { return Some(object) };
    let mut names = Vec::new();
    let mut strings = None;
    for index in 0..(dynamic.size / 16).min(ENTRIES_MAX) {
        let mut entry = [0; 16];
        if !fill(dynamic.offset.checked_add(index * 16)?, &mut entry) {
            return None;
        }
        let (tag, value) = (u64_at(&entry, 0)?, u64_at(&entry, 8)?);
        match tag {
            0 => break,
            1 => names.push((false, value)),
            5 => strings = Some(value),
            15 | 29 => names.push((true, value)),
            _ => {}
        }
    }
    // DT_STRTAB is a place in memory.
    let strings = strings?;
    let holds =
        |one: &&Segment| one.kind == PT_LOAD && strings.checked_sub(one.address).is_some_and(|into| into < one.size);
    let table = segments.iter().find(holds).and_then(|one| one.offset.checked_add(strings - one.address))?;
    for (is_search, at) in names {
        let text = name(table.checked_add(at)?)?;
        if is_search {
            object.search.extend(text.split(':').filter(|part| !part.is_empty()).map(str::to_owned));
        } else {
            object.needed.push(text);
        }
    }
    Some(object)
}

fn segments(fill: &dyn Fn(u64, &mut [u8]) -> bool) -> Option<Vec<Segment>> {
    let mut header = [0; 64];
    let own_order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if !fill(0, &mut header) || !header.starts_with(b"\x7fELF") || header.get(4..6)? != [2, own_order] {
        return None;
    }
    let (table, size, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    if size != 56 || count > HEADERS_MAX {
        return None;
    }
    let segment = |index: u16| {
        let mut entry = [0; 56];
        let at = table.checked_add(u64::from(index) * 56)?;
        if !fill(at, &mut entry) {
            return None;
        }
        Some(Segment {
            kind: u32::from_ne_bytes(entry.get(..4)?.try_into().ok()?),
            offset: u64_at(&entry, 8)?,
            address: u64_at(&entry, 16)?,
            size: u64_at(&entry, 32)?,
        })
    };
    (0..count).map(segment).collect()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program with one segment that holds all of it; `search` is its DT_RUNPATH.
    fn program(needed: &str, search: &str) -> Vec<u8> {
        let strings = format!("\0/lib64/ld-linux-x86-64.so.2\0{needed}\0{search}\0");
        let at = |text: &str| u64::try_from(strings.find(&format!("\0{text}\0")).unwrap() + 1).unwrap();
        let table = 64 + 3 * 56 + 4 * 16;
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        let mut bytes = b"\x7fELF\x02".to_vec();
        bytes.push(order);
        bytes.resize(64, 0);
        bytes[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        bytes[56..58].copy_from_slice(&3_u16.to_ne_bytes());
        let dynamic = 64 + 3 * 56;
        let interpreter = table + 1;
        for (kind, offset, size) in [(1_u32, 0, 100_000_u64), (3, interpreter, 10), (2, dynamic, 64)] {
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend([offset, offset, offset, size, size, 8].iter().flat_map(|word: &u64| word.to_ne_bytes()));
        }
        for (tag, value) in [(5_u64, table), (1, at(needed)), (29, at(search)), (0, 0)] {
            bytes.extend(tag.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend(strings.as_bytes());
        bytes
    }

    fn in_file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mxray-library-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn this_program_has_all_of_its_libraries() {
        let own = std::env::current_exe().unwrap();
        let object = read_object(&own).unwrap();
        assert!(object.needed.iter().any(|name| name.starts_with("libc.")) || !object.by_glibc, "{object:?}");
        assert_eq!(Libraries::look().missing(&own), None);
    }

    #[test]
    fn a_library_that_is_nowhere_is_named() {
        let path = in_file("gone", &program("libmxray-gone.so.9", "/nonexistent/mxray"));
        let mut libraries = Libraries { cache: Some(Vec::new()), whole: BTreeSet::new() };
        assert_eq!(libraries.missing(&path), Some("libmxray-gone.so.9".to_owned()));
        // Where the linker's list cannot be read, it may be anywhere.
        assert_eq!(Libraries::default().missing(&path), None);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_library_beside_the_program_is_found() {
        let library = in_file("beside.so", b"no object");
        let name = library.file_name().unwrap().to_str().unwrap().to_owned();
        let path = in_file("user", &program(&name, "$ORIGIN"));
        let mut libraries = Libraries { cache: Some(Vec::new()), whole: BTreeSet::new() };
        assert_eq!(libraries.missing(&path), None);
        std::fs::remove_file(&library).unwrap();
        assert_eq!(Libraries { cache: Some(Vec::new()), whole: BTreeSet::new() }.missing(&path), Some(name));
        std::fs::remove_file(&path).unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..400, at in 0_usize..300) {
            let mut program = program("liba.so", "/b");
            program.truncate(cut);
            for (index, byte) in bytes.iter().enumerate() {
                if let Some(old) = program.get_mut(at + index) {
                    *old = *byte;
                }
            }
            let fill = |at: u64, wanted: &mut [u8]| {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let found = start.checked_add(wanted.len()).and_then(|end| program.get(start..end));
                found.map(|found| wanted.copy_from_slice(found)).is_some()
            };
            let name = |at: u64| {
                let rest = program.get(usize::try_from(at).ok()?..)?;
                String::from_utf8(rest.split(|byte| *byte == 0).next()?.to_vec()).ok()
            };
            let _ = object(&fill, &name);
            let _ = listed(&bytes, b"liba.so");
        }
    }
}
