//! The words for what a refused sender gets back, the same for both kinds of tables.

/// What comes back to the sender (`enum nft_reject_types`).
pub fn reject_words(kind: u32, code: u8, v6: bool) -> String {
    let four = |code: u8| match code {
        0 => "icmp net-unreachable".to_owned(),
        1 => "icmp host-unreachable".to_owned(),
        2 => "icmp prot-unreachable".to_owned(),
        3 => "icmp port-unreachable".to_owned(),
        9 => "icmp net-prohibited".to_owned(),
        10 => "icmp host-prohibited".to_owned(),
        13 => "icmp admin-prohibited".to_owned(),
        other => format!("icmp code {other}"),
    };
    let six = |code: u8| match code {
        0 => "icmpv6 no-route".to_owned(),
        1 => "icmpv6 admin-prohibited".to_owned(),
        3 => "icmpv6 addr-unreachable".to_owned(),
        4 => "icmpv6 port-unreachable".to_owned(),
        5 => "icmpv6 policy-fail".to_owned(),
        6 => "icmpv6 reject-route".to_owned(),
        other => format!("icmpv6 code {other}"),
    };
    match (kind, v6) {
        (1, _) => "tcp reset".to_owned(),
        // ICMPX has one number for what the two families number differently.
        (2, false) => four(match code {
            0 => 0,
            1 => 3,
            2 => 1,
            _ => 13,
        }),
        (2, true) => six(match code {
            0 => 0,
            1 => 4,
            2 => 3,
            _ => 1,
        }),
        (_, false) => four(code),
        (_, true) => six(code),
    }
}

/// The same words for xtables' names: `icmp-port-unreachable`, `icmp6-adm-prohibited`, `tcp-reset`.
pub fn reject_name(with: &str) -> String {
    match with {
        "tcp-reset" => "tcp reset".to_owned(),
        "icmp6-adm-prohibited" => "icmpv6 admin-prohibited".to_owned(),
        other => match other.split_once('-') {
            Some(("icmp6", rest)) => format!("icmpv6 {}", rest.replace("address-", "addr-")),
            Some(("icmp", rest)) => format!("icmp {}", rest.replace("proto-", "prot-")),
            _ => other.to_owned(),
        },
    }
}
