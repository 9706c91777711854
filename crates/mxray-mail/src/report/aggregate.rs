//! Aggregate reports of DMARC: RFC 7489 appendix C, its drafts, RFC 9990, and what receivers make of them.
//!
//! Elements are known by their local name and the one that they stand in; what is not known is passed over, what is missing is
//! missing. A document type is refused: nothing here expands an entity. What must not live here: what a row means.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use mail_parser::decoders::charsets::map::charset_decoder;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Rows of one report. A report of all of a large sender's addresses has some ten thousand.
pub const ROWS_MAX: usize = 2_000_000;
/// Elements within elements. The schema has six.
const DEPTH_MAX: usize = 24;
/// `<?xml version="1.0" encoding="…"?>` is shorter.
const DECLARATION_BYTES_MAX: usize = 200;
/// Longest value that is kept.
const VALUE_BYTES_MAX: usize = 4096;
/// Results of one kind in a row, reasons of a row, errors of a report.
const MANY: usize = 100;

/// A report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aggregate {
    pub org_name: String,
    pub email: String,
    pub report_id: String,
    /// Seconds since 1970.
    pub begin: Option<i64>,
    pub end: Option<i64>,
    pub errors: Vec<String>,
    pub generator: String,
    /// `urn:ietf:params:xml:ns:dmarc-2.0` and the like.
    pub version: String,
    pub policy: Published,
    pub rows: Vec<Row>,
    /// What of it could not be read.
    pub missing: Vec<String>,
    /// It had characters that XML forbids, and is whole all the same.
    pub mended: bool,
}

/// The policy that the receiver found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    pub domain: String,
    pub adkim: String,
    pub aspf: String,
    pub p: String,
    pub sp: String,
    pub np: String,
    pub pct: String,
    pub fo: String,
    pub testing: String,
    pub discovery_method: String,
}

/// Who sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Address(IpAddr),
    /// Something that is none.
    Other(Arc<str>),
}

impl Default for Source {
    fn default() -> Self {
        Source::Other(Arc::from(""))
    }
}

/// What was done with the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disposition {
    #[default]
    None,
    Quarantine,
    Reject,
    /// RFC 9990's word for messages that passed.
    Pass,
}

/// Messages that are alike.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub source: Source,
    pub count: u64,
    pub disposition: Disposition,
    /// Aligned and passed, as the receiver evaluated it.
    pub dkim_aligned: bool,
    pub spf_aligned: bool,
    pub reasons: Vec<Reason>,
    pub header_from: Arc<str>,
    pub envelope_from: Arc<str>,
    pub envelope_to: Arc<str>,
    pub dkim: Vec<AuthResult>,
    pub spf: Vec<AuthResult>,
}

/// Why the policy was not followed (RFC 7489 appendix C, PolicyOverrideType).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    pub kind: Arc<str>,
    pub comment: Arc<str>,
}

/// Which address SPF looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    #[default]
    Unsaid,
    MailFrom,
    Helo,
}

/// One check, before alignment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthResult {
    pub domain: Arc<str>,
    pub selector: Arc<str>,
    pub result: Arc<str>,
    pub scope: Scope,
}

/// The elements that have a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Other,
    Feedback,
    Metadata,
    DateRange,
    Policy,
    Record,
    Row,
    Evaluated,
    Reason,
    Identifiers,
    Results,
    Dkim,
    Spf,
    Leaf(Leaf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    OrgName,
    Email,
    ReportId,
    Begin,
    End,
    Error,
    Generator,
    Version,
    Domain,
    Adkim,
    Aspf,
    P,
    Sp,
    Np,
    Pct,
    Fo,
    Testing,
    Discovery,
    SourceIp,
    Count,
    Disposition,
    Type,
    Comment,
    HeaderFrom,
    EnvelopeFrom,
    EnvelopeTo,
    Selector,
    Result,
    Scope,
}

fn tag(name: &str) -> Tag {
    let leaf = match name {
        "feedback" => return Tag::Feedback,
        "report_metadata" => return Tag::Metadata,
        "date_range" => return Tag::DateRange,
        "policy_published" => return Tag::Policy,
        "record" => return Tag::Record,
        "row" => return Tag::Row,
        "policy_evaluated" => return Tag::Evaluated,
        "reason" => return Tag::Reason,
        // The drafts wrote `identities`.
        "identifiers" | "identities" => return Tag::Identifiers,
        "auth_results" => return Tag::Results,
        "dkim" => return Tag::Dkim,
        "spf" => return Tag::Spf,
        "org_name" => Leaf::OrgName,
        "email" => Leaf::Email,
        "report_id" => Leaf::ReportId,
        "begin" => Leaf::Begin,
        "end" => Leaf::End,
        "error" => Leaf::Error,
        "generator" => Leaf::Generator,
        "version" => Leaf::Version,
        "domain" => Leaf::Domain,
        "adkim" => Leaf::Adkim,
        "aspf" => Leaf::Aspf,
        "p" => Leaf::P,
        "sp" => Leaf::Sp,
        "np" => Leaf::Np,
        "pct" => Leaf::Pct,
        "fo" => Leaf::Fo,
        "testing" => Leaf::Testing,
        "discovery_method" => Leaf::Discovery,
        "source_ip" => Leaf::SourceIp,
        "count" => Leaf::Count,
        "disposition" => Leaf::Disposition,
        "type" => Leaf::Type,
        "comment" => Leaf::Comment,
        "header_from" => Leaf::HeaderFrom,
        "envelope_from" => Leaf::EnvelopeFrom,
        "envelope_to" => Leaf::EnvelopeTo,
        "selector" => Leaf::Selector,
        "result" => Leaf::Result,
        "scope" => Leaf::Scope,
        _ => return Tag::Other,
    };
    Tag::Leaf(leaf)
}

/// Reads a report.
///
/// # Errors
/// It is none, has a document type, or is nested deeper than any.
pub fn read(bytes: &[u8]) -> Result<Aggregate, String> {
    let text = decoded(bytes);
    let first = Reading::new().read(&text);
    match first {
        Ok(report) => Ok(report),
        // A `<` within a value: all that begins no element we know becomes text, and the rest is read again.
        Err((_, true)) => {
            let mended = mended(&text);
            let mut report = Reading::new().read(&mended).map_err(|(why, _)| why)?;
            report.mended = true;
            Ok(report)
        }
        Err((why, false)) => Err(why),
    }
}

/// UTF-8, whatever is not replaced; UTF-16 by its mark.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    let pairs = |read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).skip(1).map(|pair| read([pair[0], pair[1]])).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xff, 0xfe, ..] => pairs(u16::from_le_bytes),
        [0xfe, 0xff, ..] => pairs(u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            // Nearly all are UTF-8, which is seen in a quarter of the time.
            std::str::from_utf8(bytes).map_or_else(|_| in_its_set(bytes), Cow::Borrowed)
        }
    }
}

/// In the character set that the declaration names (XML 1.0 section 4.3.3).
fn in_its_set(bytes: &[u8]) -> Cow<'_, str> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION_BYTES_MAX)]);
    let named = head.split_once("encoding=").and_then(|(_, value)| value.get(1..)?.split(['"', '\'']).next());
    let named = named.filter(|name| !name.eq_ignore_ascii_case("utf-8") && head.starts_with("<?xml"));
    match named.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decoder) => Cow::Owned(decoder(bytes)),
        None => String::from_utf8_lossy(bytes),
    }
}

/// With every `<` that begins no element of the schema as `&lt;`, and every `&` that begins no reference as `&amp;`.
fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = &from[1..];
        let name = after.strip_prefix('/').unwrap_or(after);
        let end =
            name.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'))).unwrap_or(name.len());
        let local = name[..end].rsplit(':').next().unwrap_or_default();
        let closed = matches!(name[end..].bytes().next(), Some(b'>' | b' ' | b'/' | b'\n' | b'\r' | b'\t'));
        let keeps = match from.as_bytes()[0] {
            b'<' => closed && tag(local) != Tag::Other || after.starts_with("?xml") || after.starts_with("!--"),
            _ => name[end..].starts_with(';') && end > 0 || after.starts_with('#'),
        };
        out.push_str(match (from.as_bytes()[0], keeps) {
            (b'<', true) => "<",
            (b'<', false) => "&lt;",
            (_, true) => "&",
            (_, false) => "&amp;",
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// An element that is open.
#[derive(Clone, Copy)]
struct Open<'a> {
    tag: Tag,
    /// Its name as it stood in a plain beginning ([`plain`]); empty for another one.
    name: &'a str,
}

/// A report while it is read.
struct Reading<'a> {
    report: Aggregate,
    stack: Vec<Open<'a>>,
    value: String,
    row: Row,
    reason: Reason,
    result: AuthResult,
    /// Values that repeat from row to row are kept once.
    known: foldhash::HashSet<Arc<str>>,
    empty: Arc<str>,
    seen: bool,
}

impl<'a> Reading<'a> {
    fn new() -> Self {
        Reading {
            report: Aggregate::default(),
            stack: Vec::with_capacity(DEPTH_MAX),
            value: String::new(),
            row: Row::default(),
            reason: Reason::default(),
            result: AuthResult::default(),
            known: foldhash::HashSet::default(),
            empty: Arc::from(""),
            seen: false,
        }
    }

    /// The reason, and whether mending may help.
    fn read(mut self, text: &'a str) -> Result<Aggregate, (String, bool)> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        // Markup was read last, so that its end is a place to go on from.
        let mut behind_markup = false;
        loop {
            if behind_markup {
                let left = reader.get_mut();
                let at = text.len() - left.len();
                let rest = self.plain(text.get(at..).unwrap_or_default())?;
                *left = rest.as_bytes();
            }
            let event = match reader.read_event() {
                Ok(event) => event,
                // A cut report: what came before its end holds.
                Err(error) if self.report.rows.is_empty() => return Err((format!("not XML: {error}"), true)),
                Err(error) => {
                    self.damaged(&format!("it ends in the middle: {error}"));
                    break;
                }
            };
            behind_markup = matches!(event, Event::Start(_) | Event::End(_));
            match event {
                Event::Start(start) => self.open(start.local_name().as_ref(), "")?,
                Event::End(end) => {
                    let closing = tag(end.local_name().as_ref());
                    let Some(open) = self.stack.pop() else { continue };
                    if !same(open.tag, closing) && closing != Tag::Other {
                        return Err(("elements end that did not begin".to_owned(), true));
                    }
                    self.close(open.tag);
                }
                Event::Text(text) => self.push(&text),
                Event::CData(text) => self.push(&text),
                Event::GeneralRef(reference) => self.reference(&reference),
                Event::DocType(_) => return Err(("it has a document type, which no report has".to_owned(), false)),
                Event::Eof => {
                    if self.stack.iter().any(|open| open.tag == Tag::Feedback) {
                        self.damaged("it ends in the middle");
                    }
                    break;
                }
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        self.ended()
    }

    fn ended(mut self) -> Result<Aggregate, (String, bool)> {
        // Some name themselves in their address alone.
        if self.report.org_name.is_empty()
            && let Some((_, domain)) = self.report.email.rsplit_once('@')
        {
            self.report.org_name = domain.trim_end_matches('>').to_owned();
        }
        if !self.seen {
            return Err(("XML, but no DMARC report".to_owned(), false));
        }
        if self.report.rows.is_empty() && self.report.report_id.is_empty() && self.report.policy.domain.is_empty() {
            return Err(("a DMARC report without rows, identifier and domain".to_owned(), true));
        }
        Ok(self.report)
    }

    /// Reads elements as long as they are plain: names without prefix and attributes, values without references. Nearly all of
    /// a large report is. Gives what is left: any other markup, which is the parser's to read.
    fn plain(&mut self, text: &'a str) -> Result<&'a str, (String, bool)> {
        let mut rest = text;
        loop {
            let markup = rest.trim_ascii_start();
            let name_of = |behind: &'a str| {
                let end = behind.bytes().position(|byte| !matches!(byte, b'a'..=b'z' | b'_')).filter(|end| *end > 0)?;
                behind[end..].starts_with('>').then(|| (&behind[..end], &behind[end + 1..]))
            };
            if let Some(behind) = markup.strip_prefix("</") {
                let Some(open) = self.stack.last().copied() else { return Ok(rest) };
                let Some((name, after)) = name_of(behind).filter(|(name, _)| *name == open.name) else {
                    return Ok(rest);
                };
                debug_assert!(!name.is_empty());
                self.stack.pop();
                self.close(open.tag);
                rest = after;
                continue;
            }
            let Some((name, behind)) = markup.strip_prefix('<').and_then(name_of) else { return Ok(rest) };
            self.open(name, name)?;
            rest = behind;
            // A value and the end of its element.
            let Some(end) = memchr::memchr2(b'<', b'&', behind.as_bytes()).filter(|end| *end <= VALUE_BYTES_MAX) else {
                return Ok(rest);
            };
            let (value, after) = behind.split_at(end);
            let closing = after.strip_prefix("</").and_then(|after| after.strip_prefix(name));
            if let Some(after) = closing.and_then(|after| after.strip_prefix('>')) {
                if let Some(open) = self.stack.pop() {
                    self.finish(open.tag, value.trim());
                }
                rest = after;
            }
        }
    }

    fn open(&mut self, local: &str, name: &'a str) -> Result<(), (String, bool)> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(("elements within elements, deeper than any report".to_owned(), false));
        }
        let tag = self.placed(tag(local));
        self.seen |= tag == Tag::Feedback;
        self.begin(tag);
        self.stack.push(Open { tag, name });
        self.value.clear();
        Ok(())
    }

    /// The end of an element whose value was gathered.
    fn close(&mut self, tag: Tag) {
        let mut value = std::mem::take(&mut self.value);
        self.finish(tag, value.trim());
        value.clear();
        self.value = value;
    }

    fn parent(&self) -> Tag {
        self.stack.last().map_or(Tag::Other, |open| open.tag)
    }

    fn push(&mut self, text: &str) {
        // Between elements stand line breaks and indentation.
        if !matches!(self.parent(), Tag::Leaf(_) | Tag::Dkim | Tag::Spf) {
            return;
        }
        let left = VALUE_BYTES_MAX.saturating_sub(self.value.len());
        let end = (0..=left.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.value.push_str(&text[..end]);
    }

    fn reference(&mut self, reference: &quick_xml::events::BytesRef<'_>) {
        let text = match (reference.resolve_char_ref(), reference.as_ref()) {
            (Ok(Some(character)), _) => character.to_string(),
            (_, "lt") => "<".to_owned(),
            (_, "gt") => ">".to_owned(),
            (_, "amp") => "&".to_owned(),
            (_, "quot") => "\"".to_owned(),
            (_, "apos") => "'".to_owned(),
            // No other is defined without a document type.
            (_, other) => format!("&{other};"),
        };
        self.push(&text);
    }

    /// `dkim` and `spf` are leaves in what was evaluated, and blocks among the results.
    fn placed(&self, tag: Tag) -> Tag {
        match (tag, self.parent()) {
            (Tag::Dkim | Tag::Spf, Tag::Evaluated | Tag::Results) => tag,
            (Tag::Dkim | Tag::Spf, _) => Tag::Other,
            _ => tag,
        }
    }

    fn begin(&mut self, tag: Tag) {
        match tag {
            Tag::Record => self.row = self.fresh(),
            Tag::Reason => self.reason = Reason { kind: self.empty.clone(), comment: self.empty.clone() },
            Tag::Dkim | Tag::Spf => {
                self.result = AuthResult {
                    domain: self.empty.clone(),
                    selector: self.empty.clone(),
                    result: self.empty.clone(),
                    scope: Scope::Unsaid,
                };
            }
            _ => {}
        }
    }

    fn fresh(&self) -> Row {
        Row {
            source: Source::Other(self.empty.clone()),
            count: 0,
            disposition: Disposition::None,
            dkim_aligned: false,
            spf_aligned: false,
            reasons: Vec::new(),
            header_from: self.empty.clone(),
            envelope_from: self.empty.clone(),
            envelope_to: self.empty.clone(),
            dkim: Vec::new(),
            spf: Vec::new(),
        }
    }

    fn finish(&mut self, tag: Tag, value: &str) {
        match tag {
            Tag::Record if self.report.rows.len() < ROWS_MAX => {
                let row = std::mem::take(&mut self.row);
                if matches!(&row.source, Source::Other(text) if text.is_empty()) && row.count == 0 {
                    self.damaged("a record without an address and a count");
                } else {
                    self.report.rows.push(row);
                }
            }
            Tag::Record => self.damaged("more rows than are read"),
            Tag::Reason if self.row.reasons.len() < MANY => self.row.reasons.push(std::mem::take(&mut self.reason)),
            Tag::Dkim | Tag::Spf => self.checked(tag, value),
            Tag::Leaf(leaf) => self.leaf(leaf, value),
            _ => {}
        }
    }

    fn damaged(&mut self, what: &str) {
        if !self.report.missing.iter().any(|known| known == what) {
            self.report.missing.push(what.to_owned());
        }
    }

    fn checked(&mut self, tag: Tag, value: &str) {
        if self.parent() == Tag::Evaluated {
            let pass = value.eq_ignore_ascii_case("pass");
            if tag == Tag::Dkim {
                self.row.dkim_aligned = pass;
            } else {
                self.row.spf_aligned = pass;
            }
            return;
        }
        let results = if tag == Tag::Dkim { &mut self.row.dkim } else { &mut self.row.spf };
        if results.len() < MANY {
            // One is the rule, and a vector that grows by itself begins with four.
            if results.is_empty() {
                results.reserve_exact(1);
            }
            results.push(std::mem::take(&mut self.result));
        }
    }

    /// The value as one of those that are kept once.
    fn shared(&mut self, value: &str) -> Arc<str> {
        if value.is_empty() {
            return self.empty.clone();
        }
        if let Some(known) = self.known.get(value) {
            return known.clone();
        }
        let shared: Arc<str> = Arc::from(value);
        self.known.insert(shared.clone());
        shared
    }

    fn leaf(&mut self, leaf: Leaf, value: &str) {
        let parent = self.parent();
        match parent {
            Tag::Row | Tag::Evaluated | Tag::Reason | Tag::Identifiers | Tag::Record => self.of_row(leaf, value),
            Tag::Dkim | Tag::Spf => {
                let value = self.shared(value);
                match leaf {
                    Leaf::Domain => self.result.domain = value,
                    Leaf::Selector => self.result.selector = value,
                    Leaf::Result => self.result.result = value,
                    Leaf::Scope if value.eq_ignore_ascii_case("mfrom") => self.result.scope = Scope::MailFrom,
                    Leaf::Scope if value.eq_ignore_ascii_case("helo") => self.result.scope = Scope::Helo,
                    _ => {}
                }
            }
            _ => self.of_report(leaf, parent, value),
        }
    }

    fn of_row(&mut self, leaf: Leaf, value: &str) {
        match leaf {
            Leaf::SourceIp => {
                self.row.source = match value.parse::<IpAddr>() {
                    Ok(address) => Source::Address(address.to_canonical()),
                    Err(_) => Source::Other(self.shared(value)),
                };
            }
            Leaf::Count => {
                let count = value.parse::<u64>().ok().filter(|count| *count <= super::COUNT_MAX);
                if count.is_none() {
                    self.damaged("a count that is none");
                }
                self.row.count = count.unwrap_or(0);
            }
            Leaf::Disposition => {
                let is = |word: &str| value.eq_ignore_ascii_case(word);
                self.row.disposition = match () {
                    () if is("reject") => Disposition::Reject,
                    () if is("quarantine") => Disposition::Quarantine,
                    () if is("pass") => Disposition::Pass,
                    () => Disposition::None,
                };
            }
            Leaf::Type => self.reason.kind = self.shared(value),
            Leaf::Comment => self.reason.comment = self.shared(value),
            Leaf::HeaderFrom => self.row.header_from = self.shared(value),
            Leaf::EnvelopeFrom => self.row.envelope_from = self.shared(value),
            Leaf::EnvelopeTo => self.row.envelope_to = self.shared(value),
            _ => {}
        }
    }

    fn of_report(&mut self, leaf: Leaf, parent: Tag, value: &str) {
        let value = value.to_owned();
        let report = &mut self.report;
        let policy = &mut report.policy;
        match (leaf, parent) {
            (Leaf::OrgName, _) => report.org_name = value,
            (Leaf::Email, _) => report.email = value,
            (Leaf::ReportId, _) => report.report_id = value,
            (Leaf::Begin, _) => report.begin = value.parse().ok(),
            (Leaf::End, _) => report.end = value.parse().ok(),
            (Leaf::Error, _) if report.errors.len() < MANY && !value.is_empty() => report.errors.push(value),
            (Leaf::Generator, _) => report.generator = value,
            (Leaf::Version, Tag::Feedback) => report.version = value,
            (Leaf::Domain, Tag::Policy) => policy.domain = value,
            (Leaf::Adkim, _) => policy.adkim = value,
            (Leaf::Aspf, _) => policy.aspf = value,
            (Leaf::P, _) => policy.p = value,
            (Leaf::Sp, _) => policy.sp = value,
            (Leaf::Np, _) => policy.np = value,
            (Leaf::Pct, _) => policy.pct = value,
            (Leaf::Fo, _) => policy.fo = value,
            (Leaf::Testing, _) => policy.testing = value,
            (Leaf::Discovery, _) => policy.discovery_method = value,
            _ => {}
        }
    }
}

/// `dkim` outside of its places was opened as something else.
fn same(open: Tag, closing: Tag) -> bool {
    open == closing || open == Tag::Other && matches!(closing, Tag::Dkim | Tag::Spf)
}
