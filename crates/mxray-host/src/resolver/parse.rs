//! The text of `resolv.conf` and `nsswitch.conf`, read as the GNU C library reads it. Pure.

use mxray_model::evidence::{NameServer, ResolvConf};
use mxray_model::text::untrusted;
use std::net::{IpAddr, Ipv4Addr};

/// MAXNS in resolv.h: the library passes over further ones.
const NAMESERVERS_MAX: usize = 3;
/// Of search domains, options and lines that are not understood, so many are kept; people write a handful.
const KEPT_MAX: usize = 64;

/// resolv.conf(5). A keyword counts only at the very beginning of its line, with a blank behind it; a line that begins
/// with `#` or `;` is a comment; of `domain` and `search` the last one holds, `options` add up.
pub(super) fn resolv_conf(bytes: &[u8]) -> ResolvConf {
    let mut found = ResolvConf::default();
    for (number, line) in (1u32..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() || matches!(line.first(), Some(b'#' | b';')) {
            continue;
        }
        let keyword = line.iter().take_while(|byte| !matches!(byte, b' ' | b'\t')).count();
        let (keyword, rest) = line.split_at_checked(keyword).unwrap_or((line, b""));
        let words: Vec<&[u8]> = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        let understood = match keyword {
            b"nameserver" => nameserver(&mut found, &words, number),
            b"domain" => words.first().is_some_and(|word| {
                found.search = vec![untrusted(word)];
                true
            }),
            b"search" => {
                found.search = words.iter().take(KEPT_MAX).map(|word| untrusted(word)).collect();
                true
            }
            b"options" => {
                let room = KEPT_MAX.saturating_sub(found.options.len());
                found.options.extend(words.iter().take(room).map(|word| untrusted(word)));
                true
            }
            b"sortlist" => true,
            _ => false,
        };
        if !understood && found.ignored.len() < KEPT_MAX {
            found.ignored.insert(number, untrusted(line));
        }
    }
    found
}

fn nameserver(found: &mut ResolvConf, words: &[&[u8]], line: u32) -> bool {
    let Some((address, zone)) = words.first().and_then(|word| address(word)) else { return false };
    if found.nameservers.len() >= NAMESERVERS_MAX {
        return false;
    }
    found.nameservers.push(NameServer { address, zone, line });
    true
}

/// IPv4 in any form of inet_aton(3), or IPv6, which may carry a zone (`fe80::1%eth0`).
fn address(word: &[u8]) -> Option<(IpAddr, Option<String>)> {
    let text = std::str::from_utf8(word).ok()?;
    if let Some((address, zone)) = text.split_once('%') {
        return Some((address.parse().ok()?, Some(untrusted(zone.as_bytes()))));
    }
    Some((text.parse().ok().or_else(|| inet_aton(text).map(IpAddr::V4))?, None))
}

/// `127.1`, `0x7f.0.0.1`: up to four numbers in C's notations, the last of which fills what is left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, front) = parts.split_last()?;
    if front.len() > 3 || front.iter().any(|part| *part > 255) {
        return None;
    }
    let bits = 8 * u32::try_from(front.len()).ok()?;
    let room = u32::MAX.checked_shr(bits)?;
    if *last > room {
        return None;
    }
    let high = front.iter().fold(0u32, |sum, part| (sum << 8) | part);
    let high = if bits == 0 { 0 } else { high << (32 - bits) };
    Some(Ipv4Addr::from(high | last))
}

fn c_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// What stands behind `hosts:` in nsswitch.conf(5), blanks made single.
pub(super) fn hosts_line(bytes: &[u8]) -> Option<String> {
    bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let line = line.split(|byte| *byte == b'#').next()?.trim_ascii();
        let rest = line.strip_prefix(b"hosts")?.trim_ascii_start().strip_prefix(b":")?;
        let words: Vec<String> =
            rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(KEPT_MAX).map(untrusted).collect();
        Some(words.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(text: &str) -> Vec<String> {
        resolv_conf(text.as_bytes()).nameservers.iter().map(|server| server.address.to_string()).collect()
    }

    #[test]
    fn it_is_read_as_the_library_reads_it() {
        let text = "# a comment\n; another\nnameserver 192.0.2.1 # why\n nameserver 192.0.2.9\nnameserver\t2001:db8::1\n\
                    nameserver fe80::1%eth0\nnameserver 192.0.2.4\nnameservers 192.0.2.5\nsearch a.example b.example\n\
                    domain c.example\noptions timeout:1 trust-ad\noptions rotate\nsortlist 192.0.2.0\nnameserver\nnonsense\r\n";
        let found = resolv_conf(text.as_bytes());
        assert_eq!(addresses(text), ["192.0.2.1", "2001:db8::1", "fe80::1"]);
        assert_eq!(found.nameservers[1].line, 5);
        assert_eq!(found.nameservers[2].zone.as_deref(), Some("eth0"));
        assert_eq!(found.search, ["c.example"]);
        assert_eq!(found.options, ["timeout:1", "trust-ad", "rotate"]);
        assert_eq!(found.ignored.keys().copied().collect::<Vec<_>>(), [4, 7, 8, 14, 15]);
        assert_eq!(found.ignored[&15], "nonsense\\r");
    }

    #[test]
    fn old_forms_of_addresses_are_addresses() {
        assert_eq!(addresses("nameserver 127.1\nnameserver 0x7f.0.0.1\nnameserver 2130706433\n"), ["127.0.0.1"; 3]);
        assert_eq!(addresses("nameserver 10.1.2\n"), ["10.1.0.2"]);
        for bad in ["256.1", "1.2.3.4.5", "1.2.3.256", "", "x", "1..2", "0x1ffffffff"] {
            assert_eq!(inet_aton(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_hosts_line_is_found() {
        let text = b"passwd: files\n  hosts :  files  mymachines dns # x\nhosts: db\n";
        assert_eq!(hosts_line(text).as_deref(), Some("files mymachines dns"));
        assert_eq!(hosts_line(b"#hosts: files\nhostsx: dns\n"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            resolv_conf(&bytes);
            hosts_line(&bytes);
        }

        #[test]
        fn lines_of_words_neither(text in "((nameserver|options|search|domain)[ \t][0-9a-fx.:%]{0,12}\n){0,8}") {
            prop_assert!(resolv_conf(text.as_bytes()).nameservers.len() <= NAMESERVERS_MAX);
        }
    }
}
