//! Macro strings (RFC 7208 section 7): read without inputs, and evaluated with them.
//!
//! What must not live here: which names are asked for, and `%{p}`'s lookups, whose answer comes in with the inputs.

use std::net::IpAddr;

/// One piece of a macro string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    /// `%%`, `%_` and `%-`, as what they stand for.
    Escaped(&'static str),
    Macro(Macro),
}

/// `%{…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Macro {
    /// In lower case.
    pub letter: char,
    /// Written in upper case: the value is URL-escaped.
    pub url: bool,
    /// Keep so many parts from the right. `None`: all.
    pub digits: Option<usize>,
    pub reverse: bool,
    /// Empty: a dot.
    pub delimiters: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MacroString(pub Vec<Piece>);

/// Where a string stands: `c`, `r` and `t` are for explanations alone (section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    Record,
    Explanation,
}

/// Why a string is none, and where, in bytes of the string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MacroError {
    pub at: usize,
    pub why: String,
}

/// What macros stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inputs<'a> {
    pub ip: IpAddr,
    pub local: &'a str,
    pub sender_domain: &'a str,
    pub domain: &'a str,
    pub helo: &'a str,
    /// `%{p}`: a validated name of the client, or `unknown`.
    pub validated: &'a str,
    pub receiver: &'a str,
    pub now_s: i64,
}

impl MacroString {
    /// Reads a string. In explanations (section 6.2) spaces are allowed; in records nothing but visible ASCII.
    pub fn parse(text: &str, within: Within) -> Result<MacroString, MacroError> {
        let bytes = text.as_bytes();
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte != b'%' {
                let allowed = byte.is_ascii_graphic() || (within == Within::Explanation && byte == b' ');
                if !allowed {
                    return Err(MacroError { at, why: "a character that is not visible ASCII".to_owned() });
                }
                literal.push(char::from(byte));
                at += 1;
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            let (piece, length) = match bytes.get(at + 1) {
                Some(b'%') => (Piece::Escaped("%"), 2),
                Some(b'_') => (Piece::Escaped(" "), 2),
                Some(b'-') => (Piece::Escaped("%20"), 2),
                Some(b'{') => expansion(text.get(at + 2..).unwrap_or_default(), within)
                    .map(|(found, length)| (Piece::Macro(found), length + 2))
                    .map_err(|why| MacroError { at, why })?,
                _ => {
                    let why = "a percent sign begins %{…}, %%, %_ or %- (section 7.1)".to_owned();
                    return Err(MacroError { at, why });
                }
            };
            pieces.push(piece);
            at += length;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(MacroString(pieces))
    }

    pub fn uses(&self, letter: char) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(found) if found.letter == letter))
    }

    pub fn expand(&self, inputs: &Inputs<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Escaped(text) => out.push_str(text),
                Piece::Macro(found) => out.push_str(&found.expand(inputs)),
            }
        }
        out
    }

    /// Without a sender: `%{d}` alone is known.
    pub fn expand_static(&self, domain: &str) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Escaped(text) => out.push_str(text),
                Piece::Macro(found) if found.letter == 'd' => out.push_str(&found.transform(domain)),
                Piece::Macro(_) => return None,
            }
        }
        Some(out)
    }
}

/// Reads what follows `%{`, and says how long it is with its brace.
fn expansion(rest: &str, within: Within) -> Result<(Macro, usize), String> {
    let Some((inside, _)) = rest.split_once('}') else { return Err("%{ without a closing brace".to_owned()) };
    let mut characters = inside.chars().peekable();
    let Some(first) = characters.next() else { return Err("%{} names no macro".to_owned()) };
    let letter = first.to_ascii_lowercase();
    match letter {
        's' | 'l' | 'o' | 'd' | 'i' | 'p' | 'v' | 'h' => {}
        'c' | 'r' | 't' if within == Within::Explanation => {}
        'c' | 'r' | 't' => return Err(format!("%{{{first}}} is for explanations alone (section 7.2)")),
        _ => return Err(format!("there is no macro %{{{}}}", mxray_model::text::untrusted(inside.as_bytes()))),
    }
    let mut number = String::new();
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        number.push(digit);
    }
    let digits = match number.as_str() {
        "" => None,
        // Whoever asks for more parts than can be has all of them.
        text => Some(text.parse::<usize>().unwrap_or(usize::MAX)),
    };
    if digits == Some(0) {
        return Err("a macro that keeps no part (section 7.3)".to_owned());
    }
    let reverse = characters.next_if(|c| c.eq_ignore_ascii_case(&'r')).is_some();
    let delimiters: String = characters.collect();
    match delimiters.chars().find(|c| !matches!(c, '.' | '-' | '+' | ',' | '/' | '_' | '=')) {
        Some(strange) => Err(format!("{strange:?} is no delimiter (section 7.1)")),
        None => {
            let found = Macro { letter, url: first.is_ascii_uppercase(), digits, reverse, delimiters };
            Ok((found, inside.len() + 1))
        }
    }
}

impl Macro {
    fn expand(&self, inputs: &Inputs<'_>) -> String {
        let value = match self.letter {
            's' => format!("{}@{}", inputs.local, inputs.sender_domain),
            'l' => inputs.local.to_owned(),
            'o' => inputs.sender_domain.to_owned(),
            'd' => inputs.domain.to_owned(),
            'i' => dotted(inputs.ip),
            'p' => inputs.validated.to_owned(),
            'v' => if inputs.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => inputs.helo.to_owned(),
            'c' => inputs.ip.to_string(),
            'r' => inputs.receiver.to_owned(),
            _ => inputs.now_s.to_string(),
        };
        self.transform(&value)
    }

    fn transform(&self, value: &str) -> String {
        let delimits = |c: char| match self.delimiters.as_str() {
            "" => c == '.',
            set => set.contains(c),
        };
        let mut parts: Vec<&str> = value.split(delimits).collect();
        if self.reverse {
            parts.reverse();
        }
        let drop = parts.len().saturating_sub(self.digits.unwrap_or(usize::MAX));
        let kept = parts.get(drop..).unwrap_or_default().join(".");
        if self.url { url_escaped(&kept) } else { kept }
    }
}

/// Section 7.3: all but the unreserved characters of RFC 3986.
fn url_escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `%{i}`: the usual form for IPv4, nibbles with dots for IPv6.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            nibbles.map(|nibble| format!("{nibble:X}")).collect::<Vec<_>>().join(".")
        }
    }
}
