//! Messages as far as validation needs them: owners, and data in the canonical form that signatures are made over.
//!
//! The walk is our own, because a validator needs the bytes of data of every type, those of unknown types included
//! (RFC 3597), and has to have them in canonical form (RFC 4034 section 6.2, RFC 6840 section 5.1). What must not live here:
//! whether a packet answers a question (`mxray-net`), and what a record means.

use std::fmt;

/// Records of one message that are read. A referral with NSEC3 proofs has about thirty.
const RECORDS_MAX: usize = 512;
/// Labels of a name (RFC 1035 section 2.3.4: 255 bytes).
const LABELS_MAX: usize = 127;
const NAME_BYTES_MAX: usize = 255;

/// A name as labels, in lower case. The root has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Name(Vec<Vec<u8>>);

impl Name {
    /// Reads the text form of [`crate::ask::Want`]: lower case, no final dot, escaped as in a zone file.
    pub fn read(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Some(Name::default());
        }
        let mut labels = vec![Vec::new()];
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'.' => {
                    labels.push(Vec::new());
                    continue;
                }
                b'\\' => escape(&mut bytes)?,
                byte => byte,
            };
            labels.last_mut()?.push(byte.to_ascii_lowercase());
        }
        Name(labels).checked()
    }

    fn checked(self) -> Option<Name> {
        let fits = self.0.iter().all(|label| (1..=63).contains(&label.len()));
        let bytes: usize = self.0.iter().map(|label| label.len() + 1).sum();
        (fits && bytes < NAME_BYTES_MAX).then_some(self)
    }

    pub fn labels(&self) -> &[Vec<u8>] {
        &self.0
    }

    pub fn parent(&self) -> Option<Name> {
        self.0.split_first().map(|(_, rest)| Name(rest.to_vec()))
    }

    /// The last `count` labels.
    pub fn last(&self, count: usize) -> Name {
        let skip = self.0.len().saturating_sub(count);
        Name(self.0.get(skip..).unwrap_or_default().to_vec())
    }

    pub fn wildcard(&self) -> Name {
        let mut labels = vec![b"*".to_vec()];
        labels.extend(self.0.iter().cloned());
        Name(labels)
    }

    /// This name, or one below `zone`.
    pub fn is_in(&self, zone: &Name) -> bool {
        self.0.ends_with(&zone.0)
    }

    /// What is left of the name above which `suffix` stood, put above `target`: what DNAME does (RFC 6672 section 2.2).
    pub fn substituted(&self, suffix: &Name, target: &Name) -> Option<Name> {
        let kept = self.0.len().checked_sub(suffix.0.len())?;
        let mut labels = self.0.get(..kept)?.to_vec();
        labels.extend(target.0.iter().cloned());
        Name(labels).checked()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for label in &self.0 {
            out.push(u8::try_from(label.len()).unwrap_or(0));
            out.extend(label);
        }
        out.push(0);
        out
    }
}

/// RFC 4034 section 6.1: from the right, label by label.
impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (place, label) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*byte))?,
                    byte => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

fn escape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let digits = [Some(first), bytes.next(), bytes.next()];
    let value = digits.into_iter().try_fold(0u32, |sum, digit| {
        let digit = digit.filter(u8::is_ascii_digit)?;
        Some(sum * 10 + u32::from(digit - b'0'))
    })?;
    u8::try_from(value).ok()
}

/// One record of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub owner: Name,
    pub kind: u16,
    /// Canonical.
    pub data: Vec<u8>,
}

/// What a message says, as far as validation needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub code: u16,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
}

impl Message {
    /// Reads a message. `None`: it is cut off, or a name in it leads nowhere.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        let mut reader = Reader { bytes, at: 0 };
        let _id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let [questions, answers, authorities, _] = counts;
        for _ in 0..questions {
            reader.name()?;
            reader.take(4)?;
        }
        let mut left = RECORDS_MAX;
        let answers = reader.records(answers, &mut left)?;
        let authorities = reader.records(authorities, &mut left)?;
        Some(Message { code: flags & 0xf, answers, authorities })
    }
}

#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// A name, through compression (RFC 1035 section 4.1.4). Pointers lead backwards only, so that they end.
    fn name(&mut self) -> Option<Name> {
        let mut labels: Vec<Vec<u8>> = Vec::new();
        let (mut at, mut lowest, mut after) = (self.at, self.at, None);
        loop {
            let length = *self.bytes.get(at)?;
            match length {
                0 => {
                    self.at = after.unwrap_or(at.checked_add(1)?);
                    return Name(labels).checked();
                }
                1..=63 => {
                    let end = at.checked_add(1)?.checked_add(usize::from(length))?;
                    labels.push(self.bytes.get(at.checked_add(1)?..end)?.to_ascii_lowercase());
                    at = end;
                }
                0xc0.. => {
                    let low = *self.bytes.get(at.checked_add(1)?)?;
                    after.get_or_insert(at.checked_add(2)?);
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if target >= lowest {
                        return None;
                    }
                    (lowest, at) = (target, target);
                }
                _ => return None,
            }
            if labels.len() > LABELS_MAX {
                return None;
            }
        }
    }

    fn records(&mut self, count: u16, left: &mut usize) -> Option<Vec<Record>> {
        const IN: u16 = 1;
        let mut records = Vec::new();
        for _ in 0..count {
            *left = left.checked_sub(1)?;
            let owner = self.name()?;
            let kind = self.u16()?;
            let class = self.u16()?;
            let _ttl = self.take(4)?;
            let length = usize::from(self.u16()?);
            let end = self.at.checked_add(length)?;
            let mut data = Reader { bytes: self.bytes.get(..end)?, at: self.at };
            let plain = self.take(length)?;
            // Data that are not what their type says are signed as they are.
            let data = data.canonical(kind).unwrap_or_else(|| plain.to_vec());
            if class == IN {
                records.push(Record { owner, kind, data });
            }
        }
        Some(records)
    }

    /// The data of a record with its names in full and in lower case, for the types that RFC 4034 section 6.2 names.
    fn canonical(&mut self, kind: u16) -> Option<Vec<u8>> {
        // How many bytes stand before the names, and how many names follow.
        let (before, names) = match kind {
            // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME.
            2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 => (0, 1),
            // SOA, MINFO, RP.
            6 | 14 | 17 => (0, 2),
            // MX, AFSDB, RT, KX.
            15 | 18 | 21 | 36 => (2, 1),
            // PX.
            26 => (2, 2),
            // SRV.
            33 => (6, 1),
            // RRSIG.
            46 => (18, 1),
            // NAPTR: two numbers, three strings, a name.
            35 => {
                let mut probe = *self;
                probe.take(4)?;
                for _ in 0..3 {
                    let length = usize::from(*probe.take(1)?.first()?);
                    probe.take(length)?;
                }
                (probe.at.checked_sub(self.at)?, 1)
            }
            _ => (0, 0),
        };
        let mut data = self.take(before)?.to_vec();
        for _ in 0..names {
            data.extend(self.name()?.bytes());
        }
        data.extend(self.bytes.get(self.at..)?);
        Some(data)
    }
}

/// A name at the beginning of data, and what follows it. Data are without compression by then.
pub(super) fn split_name(data: &[u8]) -> Option<(Name, &[u8])> {
    let mut reader = Reader { bytes: data, at: 0 };
    let name = reader.name()?;
    Some((name, data.get(reader.at..)?))
}
