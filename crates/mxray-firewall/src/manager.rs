//! The programs that write rules, by the names that they give: one table of names.
//!
//! A name proves nothing, but it says whose command changes the rule for good: what is changed behind a manager's back is gone
//! at its next reload.

use crate::expression::Expression;
use crate::ruleset::{Chain, Framework, Rule, Table};
use crate::xt::Match;

/// Where a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Table,
    Chain,
    Set,
    Comment,
}

/// How much of a name has to fit.
#[derive(Debug, Clone, Copy)]
enum Name {
    Is(&'static str),
    Begins(&'static str),
}

impl Name {
    fn fits(self, name: &str) -> bool {
        match self {
            Name::Is(whole) => name == whole,
            Name::Begins(start) => name.starts_with(start),
        }
    }
}

use Name::{Begins, Is};
use Of::{Comment, Set};

/// The first that fits is meant: what a manager puts into another's chains stands before that other.
const NAMES: &[(&str, Of, Name)] = &[
    // fail2ban: actions iptables-*, nftables-*; older versions name their chains fail2ban-*.
    ("fail2ban", Of::Table, Is("f2b-table")),
    ("fail2ban", Of::Chain, Begins("f2b-")),
    ("fail2ban", Of::Chain, Begins("fail2ban-")),
    ("fail2ban", Set, Begins("f2b-")),
    ("fail2ban", Set, Begins("addr-set-")),
    // CrowdSec's firewall bouncer.
    ("crowdsec", Of::Table, Begins("crowdsec")),
    ("crowdsec", Of::Chain, Begins("crowdsec")),
    ("crowdsec", Of::Chain, Begins("CROWDSEC")),
    ("crowdsec", Set, Begins("crowdsec")),
    // Docker, with either backend.
    ("docker", Of::Table, Begins("docker")),
    ("docker", Of::Chain, Is("DOCKER")),
    ("docker", Of::Chain, Begins("DOCKER-")),
    // Podman: netavark, and the plug-ins of before it.
    ("podman", Of::Table, Is("netavark")),
    ("podman", Of::Chain, Begins("NETAVARK")),
    ("podman", Of::Chain, Begins("netavark")),
    ("podman", Of::Chain, Begins("CNI-")),
    ("kube-proxy", Of::Table, Is("kube-proxy")),
    ("kube-proxy", Of::Chain, Begins("KUBE-")),
    ("kube-proxy", Comment, Begins("kubernetes ")),
    ("calico", Of::Chain, Begins("cali-")),
    ("cilium", Of::Chain, Begins("CILIUM_")),
    ("libvirt", Of::Table, Is("libvirt_network")),
    ("libvirt", Of::Chain, Begins("LIBVIRT_")),
    ("lxd", Of::Table, Is("lxd")),
    ("lxd", Comment, Begins("generated for LXD")),
    ("incus", Of::Table, Is("incus")),
    // ufw: its own chains, and those that hold the operator's rules.
    ("ufw", Of::Chain, Begins("ufw-")),
    ("ufw", Of::Chain, Begins("ufw6-")),
    // firewalld: a table of its own with nftables, chains with iptables.
    ("firewalld", Of::Table, Begins("firewalld")),
    ("firewalld", Of::Chain, Begins("INPUT_ZONES")),
    ("firewalld", Of::Chain, Begins("FORWARD_ZONES")),
    ("firewalld", Of::Chain, Begins("FORWARD_IN_ZONES")),
    ("firewalld", Of::Chain, Begins("FORWARD_OUT_ZONES")),
    ("firewalld", Of::Chain, Begins("PREROUTING_ZONES")),
    ("firewalld", Of::Chain, Begins("POSTROUTING_ZONES")),
    ("firewalld", Of::Chain, Begins("INPUT_direct")),
    ("firewalld", Of::Chain, Begins("OUTPUT_direct")),
    ("firewalld", Of::Chain, Begins("FORWARD_direct")),
    ("firewalld", Of::Chain, Begins("IN_public")),
    ("firewalld", Of::Chain, Begins("IN_drop")),
    ("shorewall", Of::Chain, Begins("shorewall")),
    ("shorewall", Of::Chain, Begins("sw-")),
    ("csf", Of::Chain, Is("LOCALINPUT")),
    ("csf", Of::Chain, Is("LOCALOUTPUT")),
    ("csf", Of::Chain, Is("DENYIN")),
    ("csf", Of::Chain, Is("DENYOUT")),
    ("sshguard", Of::Table, Is("sshguard")),
    ("sshguard", Of::Chain, Is("sshguard")),
    ("tailscale", Of::Chain, Begins("ts-")),
    ("wg-quick", Of::Table, Begins("wg-quick-")),
    ("systemd-networkd", Of::Table, Is("io.systemd.nat")),
    ("systemd", Of::Table, Is("io.systemd.firewall")),
];

fn named(of: Of, name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(_, place, pattern)| *place == of && pattern.fits(name)).map(|(manager, _, _)| *manager)
}

/// Who wrote a table. One with the names and chains that only `iptables-nft` gives is its work; who of several managers called it
/// is told by its chains.
pub fn of_table(table: &Table) -> Option<&'static str> {
    named(Of::Table, &table.name)
        .or_else(|| {
            // Managers that write by iptables fill the common tables: the first that shows itself in base-like chains.
            let mut seen = table.chains.iter().filter_map(|chain| named(Of::Chain, &chain.name));
            let first = seen.next()?;
            seen.all(|other| other == first).then_some(first)
        })
        .or_else(|| translated(table).then_some("iptables-nft"))
}

/// A table of nf_tables that `iptables-nft` keeps: its names, and base chains in capitals with its own priorities.
fn translated(table: &Table) -> bool {
    use crate::ruleset::Family;
    table.framework == Framework::NfTables
        && matches!(table.family, Family::Ip | Family::Ip6)
        && ["filter", "nat", "mangle", "raw", "security"].contains(&table.name.as_str())
        && table
            .chains
            .iter()
            .filter(|chain| chain.base.is_some())
            .all(|chain| ["INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING"].contains(&chain.name.as_str()))
        && table.chains.iter().any(|chain| chain.base.is_some())
}

/// Who wrote a chain, by its name.
pub fn of_chain(chain: &str) -> Option<&'static str> {
    named(Of::Chain, chain)
}

/// Who wrote a rule: by the set that it asks, the chain that it stands in or jumps to, its comment, its table.
pub fn of_rule(table: &Table, chain: &Chain, rule: &Rule) -> Option<&'static str> {
    let by_name = rule.expressions.iter().find_map(|expression| match expression {
        Expression::Lookup { set, .. } => named(Set, set),
        Expression::Verdict(crate::ruleset::Verdict::Jump(to) | crate::ruleset::Verdict::Goto(to)) => of_chain(to),
        Expression::Match(Match::Comment(text)) => named(Comment, text),
        _ => None,
    });
    by_name
        .or_else(|| rule.written.as_deref().and_then(by_words))
        .or_else(|| of_chain(&chain.name))
        .or_else(|| rule.comment.as_deref().and_then(|text| named(Comment, text)))
        .or_else(|| named(Of::Table, &table.name))
        .or_else(|| translated(table).then_some("iptables-nft"))
}

/// `-m set --match-set f2b-sshd src`
fn by_words(text: &str) -> Option<&'static str> {
    let (_, rest) = text.split_once("--match-set ")?;
    named(Set, rest.split_whitespace().next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy;
    use crate::ruleset::Family;

    #[test]
    fn rules_are_known_by_their_names() {
        let text = "*filter\n:INPUT DROP [0:0]\n:f2b-postfix - [0:0]\n:ufw-user-input - [0:0]\n\
            -A INPUT -p tcp -m multiport --dports 25 -j f2b-postfix\n-A INPUT -j ufw-user-input\n\
            -A INPUT -m set --match-set crowdsec-blacklists src -j DROP\n-A f2b-postfix -s 192.0.2.1/32 -j REJECT\n\
            -A ufw-user-input -p tcp -m tcp --dport 25 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 26 -j DROP\nCOMMIT\n";
        let ruleset = legacy::parse(Family::Ip, &mut text.as_bytes());
        let table = &ruleset.tables[0];
        let of = |chain: &str, at: usize| {
            let chain = table.chain(chain).unwrap();
            of_rule(table, chain, &chain.rules[at])
        };
        assert_eq!(of("INPUT", 0), Some("fail2ban"));
        assert_eq!(of("INPUT", 1), Some("ufw"));
        assert_eq!(of("INPUT", 2), Some("crowdsec"));
        assert_eq!(of("INPUT", 3), None);
        assert_eq!(of("f2b-postfix", 0), Some("fail2ban"));
        assert_eq!(of("ufw-user-input", 0), Some("ufw"));
        assert_eq!(of_table(table), None, "several managers write into it");
    }

    #[test]
    fn a_table_of_ones_own_is_its_managers() {
        let table = |framework, name: &str| Table::new(framework, Family::Inet, name.to_owned());
        assert_eq!(of_table(&table(Framework::NfTables, "firewalld")), Some("firewalld"));
        assert_eq!(of_table(&table(Framework::NfTables, "filter")), None);
    }
}
