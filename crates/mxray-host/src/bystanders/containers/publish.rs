//! What `-p` of docker and podman says: `[ADDRESS:][HOST-PORT:]CONTAINER-PORT[/PROTOCOL]`, with ranges.

use std::net::IpAddr;

/// More ports of one line are kept where they bear on mail.
const RANGE_MAX: u16 = 64;

/// Ports of this host that lead into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// `None`: all addresses.
    pub address: Option<IpAddr>,
    pub ports: Vec<u16>,
    pub udp: bool,
}

/// `Ok(None)`: a port that the engine chooses at the start. `Err`: it is not understood.
pub(super) fn parse(text: &str) -> Result<Option<Published>, ()> {
    let (spec, protocol) = text.trim().split_once('/').unwrap_or((text.trim(), "tcp"));
    let udp = match protocol {
        "tcp" => false,
        "udp" => true,
        "sctp" => return Ok(None),
        _ => return Err(()),
    };
    let Some((before, container)) = spec.rsplit_once(':') else {
        return range(spec).map(|_| None).ok_or(());
    };
    range(container).ok_or(())?;
    let (address, host) = match before.rsplit_once(':') {
        Some((address, host)) => (Some(address), host),
        // `[::1]` alone has no host port.
        None if before.starts_with('[') => return Err(()),
        None => (None, before),
    };
    let address = match address.map(|address| address.trim_matches(['[', ']'])) {
        None | Some("") => None,
        Some(address) => Some(address.parse::<IpAddr>().map_err(|_| ())?),
    };
    if host.is_empty() || host == "0" {
        return Ok(None);
    }
    let (first, last) = range(host).ok_or(())?;
    Ok(Some(Published { address, ports: ports(first, last), udp }))
}

/// The ports of a range; of a long one those that bear on mail.
pub(super) fn ports(first: u16, last: u16) -> Vec<u16> {
    let long = last.saturating_sub(first) > RANGE_MAX;
    (first..=last).filter(|port| !long || super::super::bears_on_mail(*port)).collect()
}

pub(super) fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_the_short_syntax() {
        let of = |text: &str| parse(text).unwrap().unwrap();
        assert_eq!(of("25:25"), Published { address: None, ports: vec![25], udp: false });
        assert_eq!(of("127.0.0.1:2525:25/tcp").address, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(of("[::1]:25:25").address, Some("::1".parse().unwrap()));
        assert_eq!(
            of("8000-8002:9000-9002/udp"),
            Published { address: None, ports: vec![8000, 8001, 8002], udp: true }
        );
        assert_eq!(of("1-65535:1-65535").ports.first(), Some(&24));
        for chosen in ["25", "127.0.0.1::25", "0:25", "3000-3005"] {
            assert_eq!(parse(chosen), Ok(None), "{chosen}");
        }
        for bad in ["", "a:b", "25:25/http", "example.org:25:25", "70000:25", "9-3:9-3", "[::1]:25"] {
            assert_eq!(parse(bad), Err(()), "{bad}");
        }
    }
}
