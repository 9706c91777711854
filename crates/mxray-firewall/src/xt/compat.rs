//! Matches and targets from the kernel's own structures (linux/netfilter/xt_*.h), as `iptables-nft` writes them into nf_tables.

use super::{Match, Target};

/// A match by name, revision and structure.
pub fn read_match(name: &str, revision: u32, info: &[u8], v6: bool) -> Match {
    let _ = (revision, info, v6);
    Match::Unknown { name: name.to_owned() }
}

/// A target by name, revision and structure.
pub fn read_target(name: &str, revision: u32, info: &[u8], v6: bool) -> Target {
    let _ = (revision, info, v6);
    Target::Unknown { name: name.to_owned() }
}
