//! A reply out of its wrapping: who said it, its codes, and its words in one normal form.
//!
//! What must not live here: what a reply means.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The codes of a reply and where its words begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codes {
    /// Three digits (RFC 5321 section 4.2).
    pub reply: Option<u16>,
    /// Class, subject and detail (RFC 3463).
    pub enhanced: Option<(u8, u16, u16)>,
}

/// A reply found within a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    /// The host which the wrapping names.
    pub host: Option<&'a [u8]>,
    pub codes: Codes,
    /// The reply without its wrapping; the whole text where there is none.
    pub words: &'a [u8],
}

/// Longest text that is looked at. A reply is at most a few lines (RFC 5321 section 4.5.3.1.5); a bounce's body may be more.
pub const TEXT_BYTES_MAX: usize = 8192;

/// Built once: a reply is short, and to prepare a search would take longer than the search.
static HOST: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("host "));
static SAID: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [" said: ", "said:\n", "refused to talk to me: "].map(Finder::new));
static IN_REPLY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("(in reply to "));

/// Takes a reply out of what others wrapped around it, innermost last: `host X said: …` (Postfix), `SMTP error from remote
/// mail server after …: host X: …` (Exim), `smtp; …` (RFC 3464), `Remote host said: …` (qmail).
pub fn unwrap(text: &[u8]) -> Unwrapped<'_> {
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    let mut found = Unwrapped { host: None, codes: Codes::default(), words: text };
    if let Some(at) = HOST.find(text) {
        let named = &text[at + 5..];
        let end = named.iter().position(|byte| matches!(byte, b'[' | b' ' | b':' | b'\n')).unwrap_or(0);
        // `Remote host said` names none.
        if end > 0 && named[..end].contains(&b'.') {
            found.host = Some(&named[..end]);
        }
    }
    for wrap in &*SAID {
        if let Some(at) = wrap.find(found.words) {
            found.words = &found.words[at + wrap.needle().len()..];
        }
    }
    if let Some(at) = IN_REPLY.find(found.words) {
        found.words = found.words[..at].trim_ascii_end();
    }
    found.codes = codes(found.words);
    found
}

/// The first codes of a text. A number counts as a reply code only where a reply begins: at the start, or behind a mark.
pub fn codes(text: &[u8]) -> Codes {
    let mut found = Codes::default();
    let mut at = 0;
    while at + 2 < text.len() {
        let Some(digit) = text[at..].iter().position(|byte| matches!(byte, b'2' | b'4' | b'5')) else { break };
        at += digit;
        let before = at.checked_sub(1).map(|at| text[at]);
        if !before.is_none_or(|byte| {
            matches!(byte, b' ' | b'\n' | b'\t' | b'\'' | b'"' | b'(' | b'#' | b';' | b':' | b'<' | b'>' | b'-')
        }) {
            at += 1;
            continue;
        }
        if found.reply.is_none()
            && let Some(reply) = reply_code(&text[at..], before)
        {
            found.reply = Some(reply);
            at += 3;
            continue;
        }
        if found.enhanced.is_none() {
            found.enhanced = enhanced(&text[at..]);
        }
        if found.enhanced.is_some() && found.reply.is_some() {
            break;
        }
        at += 1;
    }
    found
}

fn reply_code(text: &[u8], before: Option<u8>) -> Option<u16> {
    let [a, b @ b'0'..=b'7', c @ b'0'..=b'9'] = *text.first_chunk::<3>()? else { return None };
    if before == Some(b'-')
        || !text
            .get(3)
            .is_none_or(|byte| matches!(byte, b' ' | b'-' | b'\n' | b'\r' | b':' | b'\'' | b')' | b'>' | b'#'))
    {
        return None;
    }
    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    // 200 to 259, 421 to 459 and 500 to 559 are in use; numbers of messages and addresses are seldom among them.
    matches!(code, 200..=259 | 420..=479 | 500..=579).then_some(code)
}

/// `5.7.26`, ended by anything but a digit or another part.
fn enhanced(text: &[u8]) -> Option<(u8, u16, u16)> {
    let mut parts = [0u16; 3];
    let mut at = 0;
    for (place, part) in parts.iter_mut().enumerate() {
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > 3 {
            return None;
        }
        for digit in &text[at..at + digits] {
            *part = *part * 10 + u16::from(digit - b'0');
        }
        at += digits;
        if place < 2 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
    }
    // An address has four parts.
    if text.get(at) == Some(&b'.') && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let class = u8::try_from(parts[0]).ok().filter(|class| matches!(class, 2 | 4 | 5))?;
    Some((class, parts[1], parts[2]))
}

/// Writes the words into `out`: lower case, blanks folded, the codes that begin each line of a longer reply left out, and
/// addresses masked, so that `<quota@example.org>: User unknown` says nothing of quotas.
pub fn normal_form(words: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut after_code = false;
    for word in words.split(u8::is_ascii_whitespace) {
        if word.is_empty() {
            continue;
        }
        let is_code =
            word.len() >= 3 && word[..3].iter().all(u8::is_ascii_digit) && (word.len() == 3 || word[3] == b'-');
        let is_enhanced = enhanced(word).is_some() && word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        if is_code && matches!(word[0], b'2' | b'4' | b'5') {
            after_code = true;
            // `550-The mailbox …`: the rest of the word is text, unless it is the enhanced code.
            let rest = word.get(4..).unwrap_or_default();
            if rest.is_empty() || enhanced(rest).is_some() {
                continue;
            }
            push(out, rest);
            continue;
        }
        if after_code && is_enhanced {
            after_code = false;
            continue;
        }
        after_code = false;
        push(out, word);
    }
}

fn push(out: &mut Vec<u8>, word: &[u8]) {
    if !out.is_empty() {
        out.push(b' ');
    }
    // `shown to <a@b>:` keeps its marks, so that what stands around an address can be told.
    if word.contains(&b'@') && !word.contains(&b'/') {
        // `found:a@example.org`: what is glued in front is text.
        let at = memchr::memchr(b'@', word).unwrap_or(0);
        let glued = word[..at].iter().rposition(|byte| matches!(byte, b':' | b'(' | b'=')).map_or(0, |mark| mark + 1);
        // Scripts without blanks go on in front of an address, and behind it.
        let wide = |byte: &u8| matches!(byte, 0xe3..=0xef);
        let before = word[..at].iter().rposition(wide).map(|last| last + 3).filter(|behind| *behind < at);
        out.extend(word[..glued.max(before.unwrap_or(0))].iter().map(u8::to_ascii_lowercase));
        out.push(b'@');
        let named = &word[at + 1..];
        if let Some(behind) = named.iter().position(wide).filter(|behind| named[..*behind].contains(&b'.')) {
            out.extend(named[behind..].iter().map(u8::to_ascii_lowercase));
            return;
        }
        if let Some(last @ (b':' | b',' | b'.' | b';')) = word.last() {
            out.push(*last);
        }
        return;
    }
    out.extend(word.iter().map(u8::to_ascii_lowercase));
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (Option<String>, Option<u16>, Option<(u8, u16, u16)>, String);

    fn read(text: &str) -> Found {
        let found = unwrap(text.as_bytes());
        let mut words = Vec::new();
        normal_form(found.words, &mut words);
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (found.host.map(lossy), found.codes.reply, found.codes.enhanced, lossy(&words))
    }

    #[test]
    fn a_reply_of_several_lines_becomes_one_sentence() {
        let (host, reply, enhanced, words) = read(
            "host mx.example[192.0.2.1] said: 550-5.1.1 The account <Quota@example.org>: does not 550-5.1.1 exist. 550 5.1.1 https://x/?p=NoSuchUser (in reply to RCPT TO command)",
        );
        assert_eq!(host.as_deref(), Some("mx.example"));
        assert_eq!((reply, enhanced), (Some(550), Some((5, 1, 1))));
        assert_eq!(words, "the account @: does not exist. https://x/?p=nosuchuser");
    }

    #[test]
    fn codes_are_told_from_other_numbers() {
        assert_eq!(codes(b"sorry, no mailbox here (#5.1.1 - chkuser)").enhanced, Some((5, 1, 1)));
        assert_eq!(codes(b"your address 5.7.1.4 in 250ms"), Codes::default());
        assert_eq!(codes(b"smtp;550 5.4.316 Message expired").reply, Some(550));
        assert_eq!(codes(b"421-4.7.0 x"), Codes { reply: Some(421), enhanced: Some((4, 7, 0)) });
        assert_eq!(codes(b""), Codes::default());
        assert_eq!(codes(b"5"), Codes::default());
    }
}
