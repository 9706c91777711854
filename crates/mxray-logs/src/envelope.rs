//! The frame around a line: stamp, host, tag and process id, in every form that collectors write.
//!
//! RFC 3164, RFC 3339 stamps (rsyslog's file format), RFC 5424, journald's JSON export, Docker's JSON files, prefixes of
//! `docker compose`, files that servers write themselves (postlogd, Exim, Dovecot, rspamd). Nothing is copied, but for JSON
//! with escapes. What must not live here: what a line means (the grammars) and where lines come from.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::stamp::{SECOND, Stamp, Years, dated};

/// One line without its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    pub stamp: Option<Stamp>,
    /// Empty where the collector leaves it out.
    pub host: &'a [u8],
    /// `postfix/submission/smtpd`; empty in files that a server writes itself.
    pub tag: &'a [u8],
    pub pid: Option<u32>,
    pub text: &'a [u8],
    /// rsyslog's `message repeated N times: [ … ]`; else 1.
    pub repeats: u32,
}

/// Copies of what a JSON line had escaped. Kept between lines, so that memory is asked for once.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
}

/// Longest name of a container before its `|`.
const PREFIX_BYTES_MAX: usize = 80;

/// What stands behind the prefix of `docker compose logs` (`name-1  | `), where there is one.
pub fn without_prefix(line: &[u8]) -> &[u8] {
    let line = without_colour(line);
    let first = line.first().copied().unwrap_or(0);
    // What begins like a stamp, a priority or JSON has no prefix; a name may begin with a letter, though.
    if matches!(first, b'0'..=b'9' | b'<' | b'{') {
        return line;
    }
    let head = &line[..line.len().min(PREFIX_BYTES_MAX)];
    // `kubectl logs --prefix`: `[pod/mail-0/postfix] …`.
    if head.starts_with(b"[pod/") {
        return memchr::memmem::find(line, b"] ").map_or(line, |at| &line[at + 2..]);
    }
    let Some(bar) = memchr::memchr(b'|', head) else { return line };
    let name = head[..bar].trim_ascii_end();
    let is_name =
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_name {
        return line;
    }
    let behind = without_colour(&line[bar + 1..]);
    behind.strip_prefix(b" ").map_or(line, without_colour)
}

/// Colours stand around the prefix where a terminal's output was kept.
fn without_colour(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(behind) = rest.strip_prefix(b"\x1b[") {
        let codes = behind.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
        match behind.get(codes) {
            Some(b'm') => rest = &behind[codes + 1..],
            _ => break,
        }
    }
    rest
}

/// The frame of a line. `None`: it has no stamp that we know, so nothing else of it can be trusted.
pub fn frame<'a>(line: &'a [u8], years: &mut Years, scratch: &'a mut Scratch, local_offset: i64) -> Option<Line<'a>> {
    let line = match line.first()? {
        b'J' | b'F' | b'M' | b'A' | b'S' | b'O' | b'N' | b'D' if line.get(3) == Some(&b' ') => line,
        _ => without_prefix(line),
    };
    match line.first()? {
        b'{' => journal(line, scratch, local_offset),
        b'<' => with_priority(line, years, local_offset),
        b'0'..=b'9' => with_year(line, local_offset),
        _ => match years.read(line) {
            Some((stamp, used)) => syslog(line.get(used + 1..)?, Some(stamp)),
            None => with_weekday(line, local_offset),
        },
    }
}

/// `journalctl -o short-full`: `Sun 2026-03-01 10:00:00 CET mx tag[1]: …`. A zone's name is this machine's or UTC.
fn with_weekday(line: &[u8], local_offset: i64) -> Option<Line<'_>> {
    const DAYS: [&[u8]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
    DAYS.contains(&line.get(..4)?).then_some(())?;
    let rest = &line[4..];
    let (_, used) = dated(rest, 0)?;
    let behind = rest.get(used + 1..)?;
    let space = memchr::memchr(b' ', behind)?;
    let offset = if &behind[..space] == b"UTC" { 0 } else { local_offset };
    let (stamp, _) = dated(rest, offset)?;
    syslog(&behind[space + 1..], Some(stamp))
}

/// `journalctl -o short-unix`: seconds since 1970 with their fraction.
fn since_1970(line: &[u8]) -> Option<Line<'_>> {
    let (seconds, rest) = crate::cut::split(line.get(..line.len())?, b".")?;
    let space = memchr::memchr(b' ', rest)?;
    if !(9..=11).contains(&seconds.len()) || space != 6 {
        return None;
    }
    let micros = i64::from(number(seconds)?) * SECOND + i64::from(number(&rest[..space])?);
    syslog(&rest[space + 1..], Some(Stamp(micros)))
}

/// `host tag[pid]: text`, or without the host.
fn syslog(rest: &[u8], stamp: Option<Stamp>) -> Option<Line<'_>> {
    // Some templates put the facility in front of the host: `<mail.notice> mx sm-mta[1]: …`.
    let rest = match rest.first() {
        Some(b'<') => &rest[memchr::memchr(b' ', rest)? + 1..],
        _ => rest,
    };
    let space = memchr::memchr(b' ', rest)?;
    let first = &rest[..space];
    // A file that Dovecot writes itself: `imap-login: Info: …` without host; tags of syslog end in a colon, hosts do not.
    if let Some(tag) = first.strip_suffix(b":") {
        let (tag, pid) = tag_and_pid(tag);
        return Some(finished(stamp, b"", tag, pid, &rest[space + 1..]));
    }
    let behind = &rest[space + 1..];
    let end = tag_end(behind);
    let Some(end) = end else {
        // AIX: `mx mail:info postfix/smtpd[1]: …`.
        let (level, tail) = crate::cut::word(behind);
        let is_level = level.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b':');
        if let (true, true, Some(end)) = (is_level, level.contains(&b':'), tag_end(tail)) {
            let (tag, pid) = tag_and_pid(&tail[..end]);
            return Some(finished(stamp, first, tag, pid, tail.get(end + 2..).unwrap_or_default()));
        }
        // `host last message repeated 3 times`, `host kernel text`: no tag.
        return Some(finished(stamp, first, b"", None, behind));
    };
    let (tag, pid) = tag_and_pid(&behind[..end]);
    Some(finished(stamp, first, tag, pid, behind.get(end + 2..).unwrap_or_default()))
}

/// Where the colon behind a tag stands: before the first blank, or behind a bracket.
fn tag_end(text: &[u8]) -> Option<usize> {
    let space = memchr::memchr(b' ', text).unwrap_or(text.len());
    if space > 0 && text[space - 1] == b':' { Some(space - 1) } else { None }
}

fn tag_and_pid(tag: &[u8]) -> (&[u8], Option<u32>) {
    let Some(inner) = tag.strip_suffix(b"]") else { return (tag, None) };
    match memchr::memrchr(b'[', inner) {
        Some(open) => (&inner[..open], number(&inner[open + 1..])),
        None => (tag, None),
    }
}

pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        value = value * 10 + u64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    u32::try_from(value).ok()
}

fn finished<'a>(stamp: Option<Stamp>, host: &'a [u8], tag: &'a [u8], pid: Option<u32>, text: &'a [u8]) -> Line<'a> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // Solaris' message ids: `[ID 197553 mail.info] …`.
    let text = match text.strip_prefix(b"[ID ").and_then(|inner| crate::cut::split(inner, b"] ")) {
        Some((id, rest)) if id.first().is_some_and(u8::is_ascii_digit) => rest,
        _ => text,
    };
    if text.starts_with(b"message repeated ") {
        let counted = || {
            let rest = &text[b"message repeated ".len()..];
            let space = memchr::memchr(b' ', rest)?;
            let inner = rest.get(space..)?.strip_prefix(b" times: [ ")?;
            Some((number(&rest[..space])?, inner.strip_suffix(b"]").unwrap_or(inner)))
        };
        if let Some((repeats, text)) = counted() {
            return Line { stamp, host, tag, pid, text, repeats };
        }
    }
    Line { stamp, host, tag, pid, text, repeats: 1 }
}

/// `<pri>1 stamp host app procid msgid [sd] text` (RFC 5424 section 6), or `<pri>` before RFC 3164.
fn with_priority<'a>(line: &'a [u8], years: &mut Years, local_offset: i64) -> Option<Line<'a>> {
    let close = memchr::memchr(b'>', line.get(..line.len().min(6))?)?;
    number(&line[1..close])?;
    let rest = &line[close + 1..];
    let Some(rest) = rest.strip_prefix(b"1 ") else {
        return match dated(rest, local_offset) {
            Some((stamp, used)) => syslog(rest.get(used + 1..)?, Some(stamp)),
            None => {
                let (stamp, used) = years.read(rest)?;
                syslog(rest.get(used + 1..)?, Some(stamp))
            }
        };
    };
    let mut fields = rest.splitn(6, |byte| *byte == b' ');
    let mut field = || fields.next().map(|field| if field == b"-" { &b""[..] } else { field });
    let (stamp, host, app, pid, _id) = (field()?, field()?, field()?, field()?, field()?);
    let text = behind_structured_data(fields.next()?);
    let stamp = dated(stamp, local_offset).map(|(stamp, _)| stamp);
    // A byte order mark may begin the text (RFC 5424 section 6.4).
    Some(finished(stamp, host, app, number(pid), text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)))
}

/// Structured data are `-` or elements in brackets, whose quoted values may hold brackets (RFC 5424 section 6.3).
fn behind_structured_data(rest: &[u8]) -> &[u8] {
    if rest.first() != Some(&b'[') {
        return rest.strip_prefix(b"- ").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest);
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && rest.get(at + 1) != Some(&b'[') => {
                let text = &rest[at + 1..];
                return text.strip_prefix(b" ").unwrap_or(text);
            }
            _ => {}
        }
    }
    rest
}

/// A line that begins with a year: rsyslog's file format, or a file that a server writes itself.
fn with_year(line: &[u8], local_offset: i64) -> Option<Line<'_>> {
    let Some((stamp, used)) = dated(line, local_offset) else { return since_1970(line) };
    let own = line.get(10) == Some(&b' ');
    let rest = line.get(used + 1..).unwrap_or_default();
    // Kubernetes' runtimes say which stream it was, and whether the line is whole: `stdout F `.
    let streamed =
        [&b"stdout F "[..], b"stderr F ", b"stdout P ", b"stderr P "].iter().find_map(|head| rest.strip_prefix(*head));
    if let Some(log) = streamed {
        return inner(log, Some(stamp), local_offset);
    }
    // A container writes its own stamp behind that of the runtime: `docker logs --timestamps`.
    if let Some((inner, used)) = dated(rest, local_offset) {
        return syslog(rest.get(used + 1..)?, Some(inner));
    }
    // One without a year adds nothing to it.
    if crate::stamp::yearless(rest).is_some() {
        return inner(rest, Some(stamp), local_offset);
    }
    if own && !has_syslog_head(rest) {
        return Some(finished(Some(stamp), b"", b"", None, rest));
    }
    syslog(rest, Some(stamp))
}

/// `host tag[123]: `. Exim, Dovecot and rspamd write a stamp with a blank in its middle, and then no host.
fn has_syslog_head(rest: &[u8]) -> bool {
    let Some(space) = memchr::memchr(b' ', rest) else { return false };
    let behind = &rest[space + 1..];
    !rest[..space].ends_with(b":") && tag_end(behind).is_some_and(|end| end > 0 && behind[end - 1] == b']')
}

/// One field of journald's export: text, an array of bytes where it is not UTF-8, null where it is too large; a field that
/// occurs twice is an array of texts (systemd's "Journal Export Formats").
#[derive(Debug, Default)]
enum Field<'a> {
    #[default]
    Missing,
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
}

impl Field<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Field::Missing => b"",
            Field::Text(text) => text.as_bytes(),
            Field::Bytes(bytes) => bytes,
        }
    }

    fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.bytes()).ok()?.trim().parse().ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

/// One element of an array: a byte, or the text of a repeated field.
#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Byte(u8),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a text, bytes or null")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Missing)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(value.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<'de>, A::Error> {
        let mut bytes = Vec::new();
        let mut text = None;
        while let Some(element) = items.next_element()? {
            match element {
                Element::Byte(byte) => bytes.push(byte),
                Element::Text(found) => text = text.or(Some(found)),
                Element::Other(_) => {}
            }
        }
        Ok(text.map_or(Field::Bytes(bytes), |text| Field::Text(Cow::Owned(text))))
    }
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default, rename = "__REALTIME_TIMESTAMP")]
    realtime: Field<'a>,
    #[serde(borrow, default, rename = "_SOURCE_REALTIME_TIMESTAMP")]
    source_realtime: Field<'a>,
    #[serde(borrow, default, rename = "_HOSTNAME")]
    host: Field<'a>,
    #[serde(borrow, default, rename = "SYSLOG_IDENTIFIER")]
    identifier: Field<'a>,
    #[serde(borrow, default, rename = "_COMM")]
    comm: Field<'a>,
    #[serde(borrow, default, rename = "SYSLOG_PID")]
    syslog_pid: Field<'a>,
    #[serde(borrow, default, rename = "_PID")]
    pid: Field<'a>,
    #[serde(borrow, default, rename = "MESSAGE")]
    message: Field<'a>,
    /// Docker's json-file driver: the line as the container wrote it.
    #[serde(borrow, default)]
    log: Field<'a>,
    #[serde(borrow, default)]
    time: Field<'a>,
}

/// One object of `journalctl -o json`, or of Docker's json-file driver. The unit is not asked: `postfix@-.service`, none, or
/// another name; the identifier is what the server chose itself.
fn journal<'a>(line: &[u8], scratch: &'a mut Scratch, local_offset: i64) -> Option<Line<'a>> {
    let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
    let stamp = entry.source_realtime.number().or(entry.realtime.number());
    let stamp = stamp.and_then(|micros| i64::try_from(micros).ok()).map(Stamp);
    if let (Field::Missing, Field::Text(_)) = (&entry.message, &entry.log) {
        return container(&entry, scratch, local_offset);
    }
    stamp?;
    let tag = if entry.identifier.bytes().is_empty() { &entry.comm } else { &entry.identifier };
    let pid = entry.syslog_pid.number().or(entry.pid.number()).and_then(|pid| u32::try_from(pid).ok());
    let parts = [entry.host.bytes(), tag.bytes(), entry.message.bytes()];
    let [host, tag, text] = copied(scratch, parts);
    Some(finished(stamp, host, tag, pid, text))
}

fn container<'a>(entry: &Entry<'_>, scratch: &'a mut Scratch, local_offset: i64) -> Option<Line<'a>> {
    let log = entry.log.bytes().trim_ascii_end();
    let outer = dated(entry.time.bytes(), local_offset).map(|(stamp, _)| stamp);
    let [log, ..] = copied(scratch, [log, b"", b""]);
    inner(log, outer, local_offset)
}

/// A line as a container wrote it, with the stamp that its runtime gave to it.
fn inner<'a>(log: &'a [u8], outer: Option<Stamp>, local_offset: i64) -> Option<Line<'a>> {
    if let Some((stamp, used)) = dated(log, local_offset) {
        let own = log.get(10) == Some(&b' ');
        let rest = log.get(used + 1..)?;
        return if own && !has_syslog_head(rest) {
            Some(finished(Some(stamp), b"", b"", None, rest))
        } else {
            syslog(rest, Some(stamp))
        };
    }
    match crate::stamp::yearless(log) {
        // The runtime's own stamp has a year and a zone: it is the better one.
        Some((_, used)) => syslog(log.get(used + 1..)?, Some(outer?)),
        None => syslog(log, Some(outer?)),
    }
}

fn copied<'a>(scratch: &'a mut Scratch, parts: [&[u8]; 3]) -> [&'a [u8]; 3] {
    scratch.bytes.clear();
    for part in parts {
        scratch.bytes.extend_from_slice(part);
    }
    let (first, rest) = scratch.bytes.split_at(parts[0].len());
    let (second, third) = rest.split_at(parts[1].len());
    [first, second, third]
}

/// A duration in seconds as Postfix prints it: `0`, `0.07`, `5.4`, `1e+05`.
pub(crate) fn seconds(text: &[u8]) -> Option<i64> {
    // The common form by hand: digits, a point, digits.
    let (mut micros, mut scale, mut seen_point) = (0i64, SECOND, false);
    if text.is_empty() || text.len() > 12 {
        return None;
    }
    for byte in text {
        match byte {
            b'0'..=b'9' if !seen_point => {
                micros = micros.checked_mul(10)?.checked_add(i64::from(byte - b'0') * SECOND)?;
            }
            b'0'..=b'9' => {
                scale /= 10;
                micros += i64::from(byte - b'0') * scale;
            }
            b'.' if !seen_point => seen_point = true,
            _ => {
                let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
                return (value.is_finite() && (0.0..1e9).contains(&value)).then_some((value * 1e6) as i64);
            }
        }
    }
    Some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (String, String, String, Option<u32>, String, u32);

    fn parts(line: &[u8]) -> Option<Parts> {
        let (mut years, mut scratch) = (Years::starting(2025, 0), Scratch::default());
        let line = frame(line, &mut years, &mut scratch, 0)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stamp = line.stamp.map_or("none".to_owned(), Stamp::rfc3339);
        Some((stamp, text(line.host), text(line.tag), line.pid, text(line.text), line.repeats))
    }

    fn own(stamp: &str, host: &str, tag: &str, pid: Option<u32>, text: &str) -> Option<Parts> {
        Some((stamp.into(), host.into(), tag.into(), pid, text.into(), 1))
    }

    #[test]
    fn every_form_of_the_same_line() {
        let stamp = "2025-05-01T10:00:00Z";
        let same = own(stamp, "mx", "postfix/smtpd", Some(12), "connect from a[192.0.2.1]");
        let forms = [
            "May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "May 01 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]\r",
            "mail-1  | May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "\x1b[36mmail-1  |\x1b[0m May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "2025-05-01T10:00:00.0Z stdout F May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "2025-05-01T10:00:00.0Z stderr F 2025-05-01T12:00:00+02:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "[pod/mail-0/postfix] May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "May 01 10:00:00.000123 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "Thu 2025-05-01 10:00:00 UTC mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "1746093600.000123 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "May  1 10:00:00 mx postfix/smtpd[12]: [ID 197553 mail.info] connect from a[192.0.2.1]",
            "May  1 10:00:00 mx mail:info postfix/smtpd[12]: connect from a[192.0.2.1]",
            "<22>May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "2025-05-01T12:00:00.000000+02:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "2025-05-01 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            "<22>1 2025-05-01T10:00:00Z mx postfix/smtpd 12 - - connect from a[192.0.2.1]",
            "<22>1 2025-05-01T10:00:00Z mx postfix/smtpd 12 - [x@1 a=\"]\"][y b=\"\\\"\"] connect from a[192.0.2.1]",
            "2025-05-01T10:00:00Z May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]",
            r#"{"__REALTIME_TIMESTAMP":"1746093600000000","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"postfix/smtpd","_PID":"9","SYSLOG_PID":"12","MESSAGE":"connect from a[192.0.2.1]"}"#,
            r#"{"log":"May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]\n","stream":"stdout","time":"2025-05-01T10:00:00.5Z"}"#,
        ];
        for form in forms {
            assert_eq!(parts(form.as_bytes()), same, "{form}");
        }
    }

    #[test]
    fn journal_messages_as_bytes_null_and_repeated() {
        let entry = |message: &str| {
            format!(
                r#"{{"__REALTIME_TIMESTAMP":"1746093600000000","_COMM":"dovecot","UNKNOWN":[{{"a":1}}],"MESSAGE":{message}}}"#
            )
        };
        let text = |message: &str| parts(entry(message).as_bytes()).map(|parts| parts.4);
        assert_eq!(text("[104,228,105]"), Some("h\u{fffd}i".into()));
        assert_eq!(text("null"), Some(String::new()));
        assert_eq!(text(r#"["first","second"]"#), Some("first".into()));
        assert_eq!(text(r#""a\tb""#), Some("a\tb".into()));
    }

    #[test]
    fn files_that_servers_write() {
        let exim = "2025-05-01 10:00:00 1jmFYj-00039V-QX Completed";
        assert_eq!(parts(exim.as_bytes()), own("2025-05-01T10:00:00Z", "", "", None, "1jmFYj-00039V-QX Completed"));
        let dovecot = "May 01 10:00:00 imap-login: Info: Login: user=<a>";
        assert_eq!(
            parts(dovecot.as_bytes()),
            own("2025-05-01T10:00:00Z", "", "imap-login", None, "Info: Login: user=<a>")
        );
        let repeated = "May  1 10:00:00 mx postfix/smtpd[1]: message repeated 3 times: [ warning: x]";
        assert_eq!(parts(repeated.as_bytes()).map(|parts| (parts.4, parts.5)), Some(("warning: x".into(), 3)));
        assert_eq!(parts(b"\0\0\0"), None);
        assert_eq!(parts(b"{\"a\":"), None);
    }

    #[test]
    fn seconds_in_every_form() {
        assert_eq!(seconds(b"0"), Some(0));
        assert_eq!(seconds(b"0.07"), Some(70_000));
        assert_eq!(seconds(b"1e+05"), Some(100_000_000_000));
        assert_eq!(seconds(b"11"), Some(11_000_000));
        assert_eq!(seconds(b"x"), None);
        assert_eq!(seconds(b"999999999999"), Some(999_999_999_999_000_000));
    }
}
