//! Which programs are set up here to manage the packet filter: by their files, which everybody may read. What the ruleset itself
//! says is another question, and root's.

use crate::{read, units};
use std::path::Path;

/// ufw's file has 300 bytes.
const UFW_BYTES_MAX: u64 = 64 * 1024;
/// What nftables.service loads: Debian and most others; Red Hat.
const NFT_FILES: &[&str] = &["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"];
/// What netfilter-persistent and iptables.service load.
const IPTABLES_FILES: &[&str] = &["/etc/iptables/rules.v4", "/etc/sysconfig/iptables"];

/// Which managers are there and switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// /etc/ufw/ufw.conf says ENABLED=yes.
    pub ufw: bool,
    /// firewalld.service starts at boot.
    pub firewalld: bool,
    /// The file that nftables.service loads, where that starts at boot.
    pub nft_file: Option<String>,
    /// The file that iptables' rules are saved in.
    pub iptables_file: Option<String>,
}

/// Looks.
pub fn look() -> Installed {
    let at_boot = |unit: &str| units::describe_one(unit).value().is_some_and(|unit| unit.enabled.value().is_some());
    let first = |files: &[&str]| files.iter().find(|file| Path::new(file).is_file()).map(|file| (*file).to_owned());
    let ufw = read::bounded(Path::new("/etc/ufw/ufw.conf"), UFW_BYTES_MAX).unwrap_or_default();
    Installed {
        ufw: is_enabled(&ufw),
        firewalld: at_boot("firewalld.service"),
        nft_file: first(NFT_FILES).filter(|_| at_boot("nftables.service")),
        iptables_file: first(IPTABLES_FILES),
    }
}

/// The last ENABLED= of a file that a shell reads.
fn is_enabled(ufw_conf: &[u8]) -> bool {
    let text = String::from_utf8_lossy(ufw_conf);
    let last = text.lines().filter_map(|line| line.trim().strip_prefix("ENABLED=")).next_back();
    last.is_some_and(|value| value.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw_is_on_where_its_file_says_so_last() {
        assert!(is_enabled(b"# ENABLED=no\nENABLED=yes\nLOGLEVEL=low\n"));
        assert!(is_enabled(b"ENABLED=no\nENABLED=\"Yes\"\n"));
        assert!(!is_enabled(b"ENABLED=no\n"));
        assert!(!is_enabled(b"#ENABLED=yes\n"));
        assert!(!is_enabled(b""));
    }
}
