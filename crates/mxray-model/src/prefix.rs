//! Networks as address and length. Where a text may say more than that (brackets, a negation, a strict form without
//! bits behind the length), whoever reads it says so.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: the first `length` bits of `address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    pub address: IpAddr,
    /// At most the bits of the address.
    pub length: u8,
}

/// Not an address or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPrefix(pub String);

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither an address nor a network such as 192.0.2.0/24 or 2001:db8::/32", self.0)
    }
}

impl std::error::Error for BadPrefix {}

impl Prefix {
    /// One address alone.
    pub fn of(address: IpAddr) -> Prefix {
        Prefix { address, length: bits(address) }
    }

    /// Is `address` inside? A mapped IPv4 address is one of IPv6 here; the caller unwraps what it means otherwise.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (aligned(self.address) ^ aligned(address)) & mask(self.length) == 0
    }

    /// Is `other` wholly inside?
    pub fn holds(self, other: Prefix) -> bool {
        other.length >= self.length && self.contains(other.address)
    }

    /// A network of mapped addresses (`::ffff:192.0.2.0/120`; RFC 4291, section 2.5.5.2) as the network of IPv4 that is
    /// meant; any other as it is.
    pub fn unmapped(self) -> Prefix {
        match self.address {
            IpAddr::V6(v6) if self.length >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => Prefix { address: IpAddr::V4(v4), length: self.length.min(128) - 96 },
                None => self,
            },
            _ => self,
        }
    }

    /// The same network with no bit set behind its length.
    pub fn network(self) -> Prefix {
        let address = match self.address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::try_from(mask(self.length) >> 96).unwrap_or(0)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & mask(self.length)).into()),
        };
        Prefix { address, length: self.length }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address in the highest bits, so that one mask serves both families.
fn aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    /// `192.0.2.0/24`, `2001:db8::/32`, or one address. Bits behind the length may be set.
    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        match length {
            None => Ok(Prefix::of(address)),
            Some(length) => match length.parse() {
                Ok(length) if length <= bits(address) => Ok(Prefix { address, length }),
                _ => Err(bad()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_inside() {
        for (net, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7/24", "192.0.2.1", "192.0.1.255"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff::", "0.0.0.0"),
            ("::1", "::1", "::"),
        ] {
            assert!(prefix(net).contains(inside.parse().unwrap()), "{net} {inside}");
            assert!(!prefix(net).contains(outside.parse().unwrap()), "{net} {outside}");
        }
        assert!(prefix("10.0.0.0/8").holds(prefix("10.1.0.0/16")));
        assert!(!prefix("10.1.0.0/16").holds(prefix("10.0.0.0/8")));
        // A length beyond the address cannot be parsed, and does not panic where it was put there.
        assert!(Prefix { length: 255, ..prefix("::1") }.contains("::1".parse().unwrap()));
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        assert_eq!(prefix("::ffff:192.0.2.7").unmapped(), prefix("192.0.2.7"));
        assert_eq!(prefix("::ffff:10.0.0.0/104").unmapped(), prefix("10.0.0.0/8"));
        for same in ["::ffff:0:0/95", "::1", "2001:db8::/32", "192.0.2.0/24"] {
            assert_eq!(prefix(same).unmapped(), prefix(same));
        }
    }

    #[test]
    fn text_and_back() {
        for right in ["198.51.100.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.1/32"] {
            assert_eq!(prefix(right).to_string(), right);
            assert_eq!(prefix(right).network(), prefix(right));
        }
        assert_eq!(prefix("198.51.100.7/24").network().to_string(), "198.51.100.0/24");
        assert_eq!(prefix("2001:db8::1/64").network().to_string(), "2001:db8::/64");
        for wrong in ["", "x", "198.51.100.0/33", "x/8", "2001:db8::/129", "1.2.3.4/-1", "1.2.3.4/", "[::1]"] {
            assert_eq!(wrong.parse::<Prefix>(), Err(BadPrefix(wrong.to_owned())));
        }
    }
}
