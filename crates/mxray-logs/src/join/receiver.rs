//! Who receives: the provider behind a host, not the domain of an address. All tenants of one provider are one receiver.

use crate::cut::split;
use crate::event::{Attempt, Peer};

/// The host that an attempt was about: the relay, else the one that the text names, else the recipient's domain.
pub fn host_of<'a>(attempt: &Attempt<'a>) -> Host<'a> {
    if is_local(&attempt.relay) {
        return Host::Local;
    }
    if !attempt.relay.name.is_empty() {
        return Host::Name(attempt.relay.name);
    }
    // `connect to mx.example.org[192.0.2.1]:25: Connection refused`, `host mx.example.org[…] said: …`
    let text = attempt.text;
    for head in [&b"connect to "[..], b"host ", b"conversation with ", b"lost connection with "] {
        if let Some((_, behind)) = split(text, head)
            && let Some((name, _)) = split(behind, b"[")
            && !name.contains(&b' ')
            && name.contains(&b'.')
        {
            return Host::Name(name);
        }
    }
    match memchr::memrchr(b'@', attempt.to) {
        Some(at) => Host::Name(&attempt.to[at + 1..]),
        None => Host::Local,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    Local,
    Name(&'a [u8]),
}

/// `local`, `virtual`, `private/dovecot-lmtp`, a transport of Exim's: no host.
fn is_local(relay: &Peer<'_>) -> bool {
    if relay.is_loopback() {
        return true;
    }
    let socket = relay.address.contains(&b'/');
    !relay.name.is_empty() && (socket || (relay.address.is_empty() && !relay.name.contains(&b'.')))
}

/// Labels under which registries sell names in two-letter domains.
const SECOND_LEVEL: [&[u8]; 12] =
    [b"co", b"com", b"net", b"org", b"ac", b"gov", b"edu", b"ne", b"or", b"go", b"gob", b"nom"];

/// The name that hosts of one operator share: `mx1.mail.example.co.uk` is of `example.co.uk`.
///
/// The public suffix list is not asked: a provider that is named too widely here is still one row, and rates are told per
/// sending domain too.
pub fn operator_of(host: &[u8]) -> Vec<u8> {
    let mut host = host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase();
    if host.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'))
        && host.iter().any(u8::is_ascii_digit)
    {
        return host;
    }
    let mut labels = host.rsplit(|byte| *byte == b'.');
    let (Some(top), Some(second)) = (labels.next(), labels.next()) else { return host };
    let mut length = second.len() + 1 + top.len();
    if top.len() == 2 && SECOND_LEVEL.contains(&second) {
        length += labels.next().map_or(0, |third| third.len() + 1);
    }
    host.split_off(host.len() - length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_of_hosts() {
        let of = |host: &str| String::from_utf8(operator_of(host.as_bytes())).unwrap();
        assert_eq!(of("mx1.mail.Example.co.uk."), "example.co.uk");
        assert_eq!(of("mx.example.org"), "example.org");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8::1"), "2001:db8::1");
        assert_eq!(of("localhost"), "localhost");
        assert_eq!(of(""), "");
    }
}
