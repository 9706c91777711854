//! What handing a message over may need besides the usual steps: where to stop, what has to hold, who we say that we are.
//!
//! All of it is off by default, and no examination uses it.

use super::plan::{BadAddress, parameter};
use mxray_model::session::Stage;
use std::net::SocketAddr;

/// How a session ends at the place where it is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopHow {
    /// With QUIT, after the reply.
    Quit,
    /// Closed without a word, after the reply.
    Drop,
    /// Closed as soon as the command is written.
    DropUnanswered,
}

/// A place before the end at which the session stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub after: Stage,
    pub how: StopHow,
}

/// Everything that is not usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handover {
    /// HELO, and no extensions.
    pub helo_only: bool,
    /// No MAIL where the login did not succeed.
    pub auth_required: bool,
    /// Extensions without which MAIL is not sent, by keyword: what the message needs.
    pub needs: Vec<String>,
    /// Written before anything else, also before TLS.
    preface: Vec<u8>,
    /// `NAME=value` for XCLIENT; nothing: it is not used.
    xclient: Vec<String>,
    pub stop: Option<Stop>,
}

impl Handover {
    /// The header of HAProxy's PROXY protocol, version 1: who the connection is said to come from. `None`: `UNKNOWN`.
    #[must_use]
    pub fn with_proxy_v1(mut self, ends: Option<(SocketAddr, SocketAddr)>) -> Self {
        self.preface = match ends {
            None => b"PROXY UNKNOWN\r\n".to_vec(),
            Some((source, destination)) => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (source.ip(), destination.ip());
                format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
            }
        };
        self
    }

    /// The same in version 2, in binary. `None`: `LOCAL`, a health check of the proxy's own.
    #[must_use]
    pub fn with_proxy_v2(mut self, ends: Option<(SocketAddr, SocketAddr)>) -> Self {
        let (command, family, block) = match ends {
            None => (0x20, 0x00, Vec::new()),
            Some((SocketAddr::V4(source), SocketAddr::V4(destination))) => {
                let addresses = [source.ip().octets(), destination.ip().octets()].concat();
                (0x21, 0x11, [addresses, ports(source.port(), destination.port())].concat())
            }
            Some((source, destination)) => {
                let octets = |end: SocketAddr| match end.ip() {
                    std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    std::net::IpAddr::V6(v6) => v6.octets(),
                };
                let addresses = [octets(source), octets(destination)].concat();
                (0x21, 0x21, [addresses, ports(source.port(), destination.port())].concat())
            }
        };
        let length = u16::try_from(block.len()).unwrap_or_default().to_be_bytes();
        self.preface = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, &block].concat();
        self
    }

    /// Postfix's XCLIENT: attributes as `NAME=value`, sent behind TLS and answered by a new greeting.
    ///
    /// # Errors
    /// An attribute with a blank or a control character in it, or without a value; `xtext` spells such characters.
    pub fn with_xclient(mut self, attributes: &[&str]) -> Result<Self, BadAddress> {
        let checked = attributes.iter().map(|attribute| match attribute.split_once('=') {
            Some((name, _)) if !name.is_empty() => parameter(attribute),
            _ => Err(BadAddress { text: attribute.chars().take(80).collect() }),
        });
        self.xclient = checked.collect::<Result<_, _>>()?;
        Ok(self)
    }

    pub(crate) fn preface(&self) -> &[u8] {
        &self.preface
    }

    pub(crate) fn xclient_command(&self) -> Option<String> {
        (!self.xclient.is_empty()).then(|| format!("XCLIENT {}\r\n", self.xclient.join(" ")))
    }

    /// Something that comes in this stage is not said any more.
    pub(crate) fn stops_before(&self, stage: Stage) -> Option<StopHow> {
        self.stop.filter(|stop| stage > stop.after).map(|stop| stop.how)
    }

    /// This is the last thing that is said, and its reply is not waited for.
    pub(crate) fn drops_at(&self, stage: Stage) -> bool {
        self.stop == Some(Stop { after: stage, how: StopHow::DropUnanswered })
    }
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// Text as RFC 3461 section 4 and XCLIENT spell it: what is not printable ASCII, `+` and `=` as `+XX`.
pub fn xtext(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'+' && byte != b'=';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("+{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    #[test]
    fn proxy_headers_are_as_the_specification_has_them() {
        let v1 = Handover::default().with_proxy_v1(ends("192.0.2.1:1000", "192.0.2.2:25"));
        assert_eq!(v1.preface(), b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n");
        let v1 = Handover::default().with_proxy_v1(ends("[2001:db8::1]:1000", "[2001:db8::2]:25"));
        assert_eq!(v1.preface(), b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 25\r\n");
        let v2 = Handover::default().with_proxy_v2(ends("192.0.2.1:258", "192.0.2.2:25"));
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        assert_eq!(
            v2.preface(),
            [&signature[..], b"\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x01\x02\0\x19"].concat()
        );
        let v2 = Handover::default().with_proxy_v2(ends("[2001:db8::1]:1", "[2001:db8::2]:2"));
        assert_eq!((v2.preface().len(), &v2.preface()[12..16]), (16 + 36, &b"\x21\x21\0\x24"[..]));
        assert_eq!(Handover::default().with_proxy_v2(None).preface(), [&signature[..], b"\x20\0\0\0"].concat());
    }

    #[test]
    fn xtext_and_attributes() {
        assert_eq!(xtext("a+b=c d@e"), "a+2Bb+3Dc+20d@e");
        assert!(Handover::default().with_xclient(&["ADDR=192.0.2.1", "NAME=a b"]).is_err());
        assert!(
            Handover::default().with_xclient(&["=x"]).is_err() && Handover::default().with_xclient(&["x"]).is_err()
        );
        let plan = Handover::default().with_xclient(&["ADDR=192.0.2.1", "NAME=[UNAVAILABLE]"]).unwrap();
        assert_eq!(plan.xclient_command().unwrap(), "XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE]\r\n");
    }
}
