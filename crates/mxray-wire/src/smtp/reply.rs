//! Replies, line by line, as the server writes them (RFC 5321 section 4.2), with what is odd about each.

use crate::Moment;
use crate::lines::{Line, Lines, millis};
use mxray_model::session::{AnomalyKind, Enhanced, Limit, Raw, Reply};

/// Most lines of one reply. The longest EHLO replies have some thirty; no RFC sets a limit, and programs that send mail read
/// on.
pub(crate) const REPLY_LINES_MAX: usize = 1024;
/// Most lines that are no reply, before we stop to hope for one.
pub(crate) const FOREIGN_LINES_MAX: u32 = 32;

/// What the lines so far make.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    codes: Vec<u16>,
    texts: Vec<Raw>,
    entry: u32,
    foreign: u32,
}

impl Replies {
    /// Takes one line; a reply, where it was the last one of it.
    ///
    /// # Errors
    /// More lines than anybody reads.
    pub fn add(
        &mut self,
        line: &Line,
        awaited_since: Moment,
        greeting: bool,
        lines: &mut Lines,
    ) -> Result<Option<Reply>, Limit> {
        let Some((code, last, text)) = parse(&line.text) else {
            let kind = if greeting { AnomalyKind::TextBeforeGreeting } else { AnomalyKind::NotAReply };
            lines.odd(kind, line.entry);
            self.foreign += 1;
            return if self.foreign > FOREIGN_LINES_MAX { Err(Limit::ForeignLines) } else { Ok(None) };
        };
        if self.codes.is_empty() {
            self.entry = line.entry;
        }
        if last == Separator::Odd {
            lines.odd(AnomalyKind::BadSeparator, line.entry);
        }
        if !(200..600).contains(&code) || code % 100 / 10 > 5 {
            lines.odd(AnomalyKind::OddCode { code }, line.entry);
        }
        self.codes.push(code);
        self.texts.push(Raw::from(text));
        if last == Separator::More {
            return if self.codes.len() >= REPLY_LINES_MAX { Err(Limit::ReplyLines) } else { Ok(None) };
        }
        if let Some(first) = self.codes.first().filter(|first| self.codes.iter().any(|code| code != *first)) {
            lines.odd(AnomalyKind::MixedCodes { first: *first, last: code }, self.entry);
        }
        self.codes.clear();
        let texts = std::mem::take(&mut self.texts);
        Ok(Some(Reply {
            code,
            enhanced: texts.first().and_then(|text| enhanced(&text.0, code)),
            lines: texts,
            after_ms: millis(line.at.saturating_sub(awaited_since)),
            entry: self.entry,
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    Last,
    More,
    /// Taken for the last line: `220****` comes from a box in the middle that rewrote the greeting.
    Odd,
}

/// `250-text`, `250 text`, `250`. `None`: no reply.
pub(crate) fn parse(line: &[u8]) -> Option<(u16, Separator, &[u8])> {
    let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let rest = line.get(3..).unwrap_or_default();
    Some(match rest.split_first() {
        None => (code, Separator::Last, rest),
        Some((b' ', text)) => (code, Separator::Last, text),
        Some((b'-', text)) => (code, Separator::More, text),
        Some((digit, _)) if digit.is_ascii_digit() => return None,
        Some(_) => (code, Separator::Odd, rest),
    })
}

/// `5.7.1 text` (RFC 2034 section 4): only where its class is the reply's.
pub(crate) fn enhanced(text: &[u8], code: u16) -> Option<Enhanced> {
    let word = text.split(|byte| *byte == b' ').next()?;
    let mut numbers = std::str::from_utf8(word).ok()?.split('.').map(|part| {
        let plain = !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    });
    let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let class = u8::try_from(class).ok()?;
    (numbers.next().is_none() && u16::from(class) == code / 100).then_some(Enhanced { class, subject, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_reply() {
        assert_eq!(parse(b"250"), Some((250, Separator::Last, &b""[..])));
        assert_eq!(parse(b"250-STARTTLS"), Some((250, Separator::More, &b"STARTTLS"[..])));
        assert_eq!(parse(b"220****"), Some((220, Separator::Odd, &b"****"[..])));
        for foreign in [&b"2501 x"[..], b"25", b"", b" 250 x", b"2x0 y"] {
            assert_eq!(parse(foreign), None);
        }
    }

    #[test]
    fn enhanced_codes_belong_to_the_reply() {
        assert_eq!(enhanced(b"5.7.1 no", 550).unwrap().to_string(), "5.7.1");
        assert_eq!(enhanced(b"2.0.0", 250).unwrap().to_string(), "2.0.0");
        for (text, code) in
            [(&b"5.7.1 no"[..], 450), (b"5.7", 550), (b"5.7.1.2", 550), (b"5.7.", 550), (b"5.7.1234 x", 550)]
        {
            assert_eq!(enhanced(text, code), None);
        }
    }
}
