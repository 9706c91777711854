//! The lines of a sendmail.cf that listeners, domains, delivery and filters depend on (Sendmail Installation and
//! Operation Guide, section 5). Pure.
//!
//! Rewriting rules are the most of such a file, and nothing here runs them: what only they decide is not known.

use mxray_model::text::untrusted;
use std::collections::BTreeMap;

/// The longest logical line that is kept; sendmail's own limit is 2 KiB, and classes may be longer.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Lines that are kept of one kind; a file with more of them is no configuration.
const LINES_MAX: usize = 10_000;

/// A value and the line that it stands on; 1 is the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub value: T,
    pub line: u32,
}

/// `F`: a class that is read from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClassFile {
    File {
        path: String,
        /// `-o`: it need not exist.
        optional: bool,
    },
    /// A program's output or a map.
    Other(String),
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cf {
    /// `O Name=value` by the name in lower case, in order: some stand more than once.
    pub options: BTreeMap<String, Vec<At<String>>>,
    /// `Dxvalue`, `D{name}value`
    pub macros: BTreeMap<String, At<String>>,
    /// `Cxa b`, `C{name}a b`
    pub classes: BTreeMap<String, Vec<At<String>>>,
    /// `Fx…`, `F{name}…`
    pub files: BTreeMap<String, Vec<At<ClassFile>>>,
    /// `Xname, S=…`
    pub filters: BTreeMap<String, At<String>>,
    /// `Mname, P=…`
    pub mailers: BTreeMap<String, At<String>>,
    pub troubles: Vec<At<String>>,
}

impl Cf {
    /// The value of an option that stands once; of several the last one holds.
    pub fn option(&self, name: &str) -> Option<&At<String>> {
        self.options.get(&name.to_ascii_lowercase())?.last()
    }

    /// All values of an option that adds up.
    pub fn options(&self, name: &str) -> &[At<String>] {
        self.options.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Cf {
    let mut cf = Cf::default();
    let mut logical: Vec<u8> = Vec::new();
    let mut first = 0;
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        // What begins with a blank goes on with the line in front of it.
        if raw.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            if logical.len() + raw.len() <= LINE_BYTES_MAX {
                logical.push(b' ');
                logical.extend_from_slice(raw.trim_ascii());
            }
            continue;
        }
        cf.line(&logical, first);
        logical = raw.get(..raw.len().min(LINE_BYTES_MAX)).unwrap_or_default().to_vec();
        first = number;
    }
    cf.line(&logical, first);
    cf
}

impl Cf {
    fn line(&mut self, bytes: &[u8], line: u32) {
        let text = untrusted(bytes.trim_ascii_end());
        let mut chars = text.chars();
        let Some(kind) = chars.next() else { return };
        let rest = chars.as_str();
        match kind {
            'O' => self.set_option(rest, line),
            'D' => {
                if let Some((name, value)) = named(rest) {
                    self.macros.insert(name, At { value: value.to_owned(), line });
                }
            }
            'C' => {
                let Some((name, value)) = named(rest) else { return };
                let class = self.classes.entry(name).or_default();
                let room = LINES_MAX.saturating_sub(class.len());
                class.extend(value.split_whitespace().take(room).map(|word| At { value: word.to_owned(), line }));
            }
            'F' => {
                let Some((name, value)) = named(rest) else { return };
                let files = self.files.entry(name).or_default();
                if files.len() < LINES_MAX {
                    files.push(At { value: class_file(value), line });
                }
            }
            'X' | 'M' => {
                let (name, fields) = rest.split_once([',', ' ', '\t']).unwrap_or((rest, ""));
                let of_kind = if kind == 'X' { &mut self.filters } else { &mut self.mailers };
                if of_kind.len() < LINES_MAX {
                    of_kind.insert(name.to_owned(), At { value: fields.to_owned(), line });
                }
            }
            // Rules, headers, maps, priorities, trusted users, the version, environment, and comments.
            'R' | 'S' | 'H' | 'K' | 'P' | 'T' | 'V' | 'E' | 'L' | '#' => {}
            _ => {
                if self.troubles.len() < 100 {
                    self.troubles.push(At { value: "begins with a letter that is not known".to_owned(), line });
                }
            }
        }
    }

    fn set_option(&mut self, rest: &str, line: u32) {
        // `O Name=value`, or a letter and its value, as sendmail 8.6 had it.
        let (name, value) = match rest.strip_prefix(' ') {
            Some(long) => long.split_once('=').unwrap_or((long, "")),
            None => {
                let mut chars = rest.chars();
                let name = match chars.next() {
                    Some('Q') => "QueueDirectory",
                    Some('u') => "DefaultUser",
                    _ => return,
                };
                (name, chars.as_str())
            }
        };
        let values = self.options.entry(name.trim().to_ascii_lowercase()).or_default();
        if values.len() < LINES_MAX {
            values.push(At { value: value.trim().to_owned(), line });
        }
    }
}

/// `{name}value`, or one letter and its value.
fn named(text: &str) -> Option<(String, &str)> {
    if let Some(inner) = text.strip_prefix('{') {
        let (name, value) = inner.split_once('}')?;
        return Some((name.to_owned(), value));
    }
    let mut chars = text.chars();
    let name = chars.next()?;
    Some((name.to_string(), chars.as_str()))
}

/// `/path`, `-o /path`, `/path %[^\#]`, `|program`, `key@map:…`
fn class_file(text: &str) -> ClassFile {
    let text = text.trim();
    let (optional, rest) = match text.strip_prefix("-o") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let path = rest.split_whitespace().next().unwrap_or_default();
    if path.starts_with('/') {
        ClassFile::File { path: path.to_owned(), optional }
    } else {
        ClassFile::Other(text.to_owned())
    }
}

/// `Key=value` pairs by commas, with blanks around: `Family=inet,  Name=MTA-v4, M=Ea`.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((key.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lines_are_read() {
        let cf = parse(
            b"# comment\nV10/Berkeley\nCwlocalhost a.example\n\tb.example\nFw/etc/mail/local-host-names %[^\\#]\n\
              FR-o /etc/mail/relay-domains %[^\\#]\nF{VirtHost}@LDAP\nDSsmtp:[relay.example]\nD{x}y\n\
              O DaemonPortOptions=Name=MTA\nO DaemonPortOptions=Name=MSA, Port=587, M=Ea\nO MaxMessageSize=1000\n\
              OQ/var/spool/old\nXfilter, S=local:/run/f.sock,\n\tF=T\nR$*\t$@ x\n~\n",
        );
        let words: Vec<&str> = cf.classes["w"].iter().map(|word| word.value.as_str()).collect();
        assert_eq!(words, ["localhost", "a.example", "b.example"]);
        let file = ClassFile::File { path: "/etc/mail/local-host-names".into(), optional: false };
        assert_eq!(cf.files["w"], [At { value: file, line: 5 }]);
        assert!(matches!(&cf.files["R"][0].value, ClassFile::File { optional: true, .. }));
        assert_eq!(cf.files["VirtHost"][0].value, ClassFile::Other("@LDAP".into()));
        assert_eq!(cf.macros["S"].value, "smtp:[relay.example]");
        assert_eq!(cf.options("DaemonPortOptions").len(), 2);
        assert_eq!(cf.option("maxmessagesize").map(|size| size.line), Some(12));
        assert_eq!(cf.option("QueueDirectory").map(|queue| queue.value.as_str()), Some("/var/spool/old"));
        assert_eq!(cf.filters["filter"].value.trim(), "S=local:/run/f.sock, F=T");
        assert_eq!(cf.troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [17]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_its_own_letters(text in "([ODCFXM]|[a-z{}=,/@ \t\n-]){0,200}") {
            let cf = parse(text.as_bytes());
            let _ = pairs(&text).count();
            prop_assert!(cf.troubles.len() <= 100);
        }
    }
}
