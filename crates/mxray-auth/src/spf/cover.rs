//! Networks of IPv4 taken together: do they leave anybody out?
//!
//! Two halves of the Internet are all of it, and no single term says so. What must not live here: whether a term passes
//! ([`super::survey`]).

use std::net::Ipv4Addr;

/// Where no sender of the Internet is: whoever leaves these out leaves out nobody (RFC 6890, RFC 5771, RFC 1112 section 4).
const NOBODYS: [(Ipv4Addr, u8); 8] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];
/// Narrower ones do not count: 65,536 of them would be needed.
const LENGTH_MAX: u8 = 16;
/// Most networks that are kept, and most terms that are told.
const KEPT_MAX: usize = 1_000;
const TOLD_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Cover {
    networks: Vec<(Ipv4Addr, u8, String)>,
}

impl Cover {
    pub fn add(&mut self, network: Ipv4Addr, length: u8, term: &str) {
        if length <= LENGTH_MAX && self.networks.len() < KEPT_MAX {
            self.networks.push((network, length, term.to_owned()));
        }
    }

    pub fn is_everybody(&self) -> bool {
        if self.networks.is_empty() {
            return false;
        }
        let own = self.networks.iter().map(|(network, length, _)| range(*network, *length));
        let mut ranges: Vec<(u64, u64)> = own.chain(NOBODYS.map(|(network, length)| range(network, length))).collect();
        ranges.sort_unstable();
        // Up to where everything is in.
        let end = ranges.iter().try_fold(0, |end, (first, behind)| (*first <= end).then_some(end.max(*behind)));
        end == Some(1 << 32)
    }

    /// The terms that reach furthest.
    pub fn widest(&self) -> String {
        let mut terms: Vec<(u8, &str)> =
            self.networks.iter().map(|(_, length, term)| (*length, term.as_str())).collect();
        terms.sort_by_key(|(length, _)| *length);
        let more = if terms.len() > TOLD_MAX { " …" } else { "" };
        let told: Vec<&str> = terms.into_iter().take(TOLD_MAX).map(|(_, term)| term).collect();
        told.join(" ") + more
    }
}

/// The first address, and the one behind the last.
fn range(network: Ipv4Addr, length: u8) -> (u64, u64) {
    let size = 1_u64 << (32 - u32::from(length.min(32)));
    let first = u64::from(network.to_bits()) / size * size;
    (first, first + size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everybody(networks: &[&str]) -> bool {
        let mut cover = Cover::default();
        for text in networks {
            let (network, length) = text.split_once('/').unwrap();
            cover.add(network.parse().unwrap(), length.parse().unwrap(), text);
        }
        cover.is_everybody()
    }

    #[test]
    fn the_parts_are_the_whole() {
        assert!(everybody(&["0.0.0.0/1", "128.0.0.0/1"]));
        // The order does not count, nor what lies within another, nor bits behind the length.
        assert!(everybody(&["128.7.7.7/2", "192.0.0.0/3", "64.0.0.0/2", "0.0.0.0/2", "65.0.0.0/8"]));
        for none in
            [&[][..], &["0.0.0.0/1"], &["0.0.0.0/1", "128.0.0.0/2"], &["0.0.0.0/2", "64.0.0.0/3", "128.0.0.0/1"]]
        {
            assert!(!everybody(none), "{none:?}");
        }
    }
}
