//! What the kernel's counters mean, as data: groups, each with one sentence, its counters, and the rules that judge it.
//!
//! Names are the kernel's (`/proc/net/snmp`, `netstat`, `snmp6`), with their table before them. What must not live here:
//! numbers of this machine, thresholds (those stand in the rules that a group names).

/// Counters that belong together.
#[derive(Debug)]
pub struct Group {
    /// In JSON.
    pub key: &'static str,
    pub title: &'static str,
    /// What it means when they rise.
    pub meaning: &'static str,
    pub counters: &'static [&'static str],
    /// `(part, whole)`: the part's change as a share of the whole's.
    pub share: Option<(&'static str, &'static str)>,
    /// Codes of the catalogue that judge it, with their thresholds.
    pub judged_by: &'static [&'static str],
}

/// Computed here from three others of the same table: what was made or forwarded on this host and handed to no interface.
/// A firewall's output chain shows nowhere else.
pub const NOT_TRANSMITTED: [(&str, [&str; 3]); 2] = [
    ("Ip.NotTransmitted", ["Ip.OutRequests", "Ip.ForwDatagrams", "Ip.OutTransmits"]),
    ("Ip6.NotTransmitted", ["Ip6.OutRequests", "Ip6.OutForwDatagrams", "Ip6.OutTransmits"]),
];

/// In the order in which they bear on mail that does not arrive.
pub const GROUPS: &[Group] = &[
    Group {
        key: "accept_queue",
        title: "accept queue",
        meaning: "connections found no room in a listener's accept queue: its program accepts too slowly, or the queue is too short",
        counters: &["TcpExt.ListenOverflows", "TcpExt.ListenDrops"],
        share: None,
        judged_by: &["SOCK104"],
    },
    Group {
        key: "syn_flood",
        title: "SYN flood",
        meaning: "half-open connections filled a backlog; cookies still let clients in, drops do not",
        counters: &[
            "TcpExt.TCPReqQFullDoCookies",
            "TcpExt.TCPReqQFullDrop",
            "TcpExt.SyncookiesSent",
            "TcpExt.SyncookiesRecv",
            "TcpExt.SyncookiesFailed",
        ],
        share: None,
        judged_by: &["SOCK105"],
    },
    Group {
        key: "unanswered",
        title: "unanswered",
        meaning: "connections got no answer to their first packet: where 25 is blocked on the way out, it shows here first (replies to SYNs of others are counted along)",
        counters: &["TcpExt.TCPSynRetrans", "Tcp.AttemptFails"],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "loss",
        title: "loss",
        meaning: "segments were sent again: the path loses them, or the peer does not answer",
        counters: &[
            "Tcp.RetransSegs",
            "TcpExt.TCPTimeouts",
            "TcpExt.TCPLostRetransmit",
            "TcpExt.TCPFastRetrans",
            "TcpExt.TCPSlowStartRetrans",
            "TcpExt.TCPSpuriousRTOs",
            "TcpExt.TCPRetransFail",
        ],
        share: Some(("Tcp.RetransSegs", "Tcp.OutSegs")),
        judged_by: &["HOST108"],
    },
    Group {
        key: "resets",
        title: "resets",
        meaning: "connections ended by reset or were given up, not closed",
        counters: &[
            "Tcp.EstabResets",
            "Tcp.OutRsts",
            "TcpExt.TCPAbortOnData",
            "TcpExt.TCPAbortOnClose",
            "TcpExt.TCPAbortOnTimeout",
            "TcpExt.TCPAbortOnLinger",
            "TcpExt.TCPAbortOnMemory",
            "TcpExt.TCPAbortFailed",
            "TcpExt.EmbryonicRsts",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "memory",
        title: "memory",
        meaning: "the kernel was short of memory for sockets, or a program did not read: received data was dropped or squeezed",
        counters: &[
            "TcpExt.TCPMemoryPressures",
            "TcpExt.PruneCalled",
            "TcpExt.RcvPruned",
            "TcpExt.OfoPruned",
            "TcpExt.TCPRcvCollapsed",
            "TcpExt.TCPRcvQDrop",
            "TcpExt.TCPBacklogDrop",
            "TcpExt.TCPZeroWindowDrop",
            "TcpExt.TCPOFODrop",
            "TcpExt.TCPWqueueTooBig",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "local_drop",
        title: "local drop",
        meaning: "packets of this host never left it: no route, a full queue, or a firewall rule on the way out",
        counters: &[
            "Ip.OutNoRoutes",
            "Ip.OutDiscards",
            "Ip.NotTransmitted",
            "Ip6.OutNoRoutes",
            "Ip6.OutDiscards",
            "Ip6.NotTransmitted",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "refused",
        title: "refused on arrival",
        meaning: "packets arrived and were dropped before any program saw them",
        counters: &[
            "TcpExt.IPReversePathFilter",
            "IpExt.InNoRoutes",
            "Ip.InAddrErrors",
            "Ip.InDiscards",
            "Ip6.InNoRoutes",
            "Ip6.InAddrErrors",
            "Ip6.InDiscards",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "damaged",
        title: "damaged",
        meaning: "packets arrived broken: a bad link, network card or tunnel",
        counters: &[
            "Tcp.InErrs",
            "Tcp.InCsumErrors",
            "Udp.InCsumErrors",
            "Udp6.InCsumErrors",
            "Ip.InHdrErrors",
            "Ip6.InHdrErrors",
            "IpExt.InCsumErrors",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "packet_size",
        title: "packet size",
        meaning: "packets were too large for the path or could not be put together: large messages hang, small ones pass",
        counters: &[
            "TcpExt.TCPMTUPFail",
            "Ip.FragFails",
            "Ip.ReasmFails",
            "Ip6.FragFails",
            "Ip6.ReasmFails",
            "Ip6.InTooBigErrors",
            "Icmp6.InPktTooBigs",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "unreachable",
        title: "unreachable",
        meaning: "others answered that a destination cannot be reached, or that a packet went in circles",
        counters: &["Icmp.InDestUnreachs", "Icmp.InTimeExcds", "Icmp6.InDestUnreachs", "Icmp6.InTimeExcds"],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "datagrams",
        title: "datagrams lost",
        meaning: "UDP datagrams (DNS answers, mostly) came and found no room or no program",
        counters: &[
            "Udp.RcvbufErrors",
            "Udp.SndbufErrors",
            "Udp.NoPorts",
            "Udp.MemErrors",
            "Udp6.RcvbufErrors",
            "Udp6.SndbufErrors",
            "Udp6.NoPorts",
            "Udp6.MemErrors",
        ],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "time_wait",
        title: "TIME-WAIT",
        meaning: "closed connections were forgotten early, because there are too many of them",
        counters: &["TcpExt.TCPTimeWaitOverflow"],
        share: None,
        judged_by: &[],
    },
    Group {
        key: "traffic",
        title: "traffic",
        meaning: "how much there is at all",
        counters: &[
            "Tcp.ActiveOpens",
            "Tcp.PassiveOpens",
            "Tcp.InSegs",
            "Tcp.OutSegs",
            "Udp.InDatagrams",
            "Udp.OutDatagrams",
        ],
        share: None,
        judged_by: &[],
    },
];

/// Columns of the counters' files that are settings or levels: they have no rate (net/ipv4/proc.c, RFC 4022, RFC 4293). `Ip.ReasmTimeout`
/// is not among them: the RFC has a setting there, Linux counts fragments that came too late.
const LEVELS: [&str; 7] = [
    "Ip.Forwarding",
    "Ip.DefaultTTL",
    "Tcp.RtoAlgorithm",
    "Tcp.RtoMin",
    "Tcp.RtoMax",
    "Tcp.CurrEstab",
    "MPTcpExt.MPCurrEstab",
];

/// True for a column that only ever rises.
pub fn is_counter(name: &str) -> bool {
    !LEVELS.contains(&name)
}

/// The group that a counter stands in.
pub fn group_of(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.counters.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_learned_has_a_meaning() {
        for name in mxray_host::baseline::RATES {
            assert!(group_of(name).is_some(), "{name}");
        }
        let shares: Vec<_> = GROUPS.iter().filter_map(|group| group.share).collect();
        assert_eq!(shares, [(mxray_host::baseline::RETRANSMITTED, "Tcp.OutSegs")]);
    }

    #[test]
    fn no_counter_stands_in_two_groups_and_every_code_exists() {
        let mut seen = BTreeSet::new();
        for group in GROUPS {
            for name in group.counters {
                assert!(seen.insert(name), "{name} stands twice");
                assert!(is_counter(name), "{name} is a level");
            }
            for code in group.judged_by {
                assert!(mxray_rules::rule(code).is_some(), "{}: {code}", group.key);
            }
        }
        let keys: BTreeSet<_> = GROUPS.iter().map(|group| group.key).collect();
        assert_eq!(keys.len(), GROUPS.len());
    }
}
