//! Text from outside (process names, configuration, sockets, peers), made safe to keep and to print.
//!
//! Collectors call [`untrusted`] once, where foreign bytes become a `String`; from there on every surface may print it.
//! A renderer still escapes for its own medium (HTML, JSON).

/// Longest piece of foreign text that is kept, in characters. A process may name itself with a megabyte.
pub const UNTRUSTED_CHARS_MAX: usize = 4096;

/// Escapes what could steer a terminal or hide text, and clips.
///
/// Control characters (C0, C1, DEL), the bidirectional overrides and isolates, zero-width characters and line
/// separators become `\u{…}`; invalid UTF-8 becomes `\x…` byte by byte, so that nothing is lost and nothing acts.
pub fn untrusted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().min(UNTRUSTED_CHARS_MAX));
    let mut kept = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if kept == UNTRUSTED_CHARS_MAX {
                out.push('…');
                return out;
            }
            kept += 1;
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if is_steering(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            if kept == UNTRUSTED_CHARS_MAX {
                out.push('…');
                return out;
            }
            kept += 1;
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// A character that could steer a terminal, hide text or reorder it. A renderer escapes these once more, whatever a
/// collector did.
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
}

/// One word of a shell command: as it is where it is plain, else quoted.
pub fn shell_word(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | ':' | '+' | ',' | '%' | '=');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        text.to_owned()
    } else {
        shell_quoted(text)
    }
}

/// One word of a shell command, quoted: what stands in a configuration file may be anything, and a suggested command is
/// copied and run by root.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_survives() {
        assert_eq!(untrusted(b"ma\x1b[2Jster"), "ma\\u{1b}[2Jster");
        assert_eq!(untrusted(b"a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(untrusted("x\u{202e}y\u{9b}z".as_bytes()), "x\\u{202e}y\\u{9b}z");
        assert_eq!(untrusted(b"ok\xff\xfe"), "ok\\xff\\xfe");
        assert_eq!(untrusted("größe".as_bytes()), "größe");
    }

    #[test]
    fn a_megabyte_is_clipped() {
        let long = vec![b'a'; 1 << 20];
        let kept = untrusted(&long);
        assert_eq!(kept.chars().count(), UNTRUSTED_CHARS_MAX + 1);
        assert!(kept.ends_with('…'));
    }

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(shell_quoted("mynetworks = 127.0.0.0/8"), "'mynetworks = 127.0.0.0/8'");
        assert_eq!(shell_quoted("x'; reboot; '"), r"'x'\''; reboot; '\'''");
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        assert_eq!(shell_word("/var/spool/postfix"), "/var/spool/postfix");
        assert_eq!(shell_word("postfix@-.service"), "postfix@-.service");
        assert_eq!(shell_word("/mnt/two words"), "'/mnt/two words'");
        assert_eq!(shell_word("$(reboot)"), "'$(reboot)'");
        assert_eq!(shell_word("--help"), "'--help'");
        assert_eq!(shell_word(""), "''");
    }
}
