# Packet filters of this host: what Debian's packages and common tools load, and what goes wrong with them.

# ruleset: standard input becomes one transaction of nft.
ruleset() { nft -f -; }

# iptables of both frameworks, as Debian's package has them; what its scripts do besides.
iptables_files() {
    local name
    foreign_packages iptables libip4tc2 libip6tc2 libxtables12 libnetfilter-conntrack3 libnfnetlink0
    for name in iptables iptables-restore iptables-save ip6tables ip6tables-restore ip6tables-save; do
        ln -sf xtables-nft-multi "/usr/sbin/$name"
    done
}

# A ruleset that the next start loads: standard input goes to /etc/nftables.conf, whose unit is enabled, and runs.
persisted_ruleset() {
    (echo '#!/usr/sbin/nft -f'; echo; cat) >/etc/nftables.conf
    mkdir -p /etc/systemd/system/sysinit.target.wants
    ln -sf /lib/systemd/system/nftables.service /etc/systemd/system/sysinit.target.wants/nftables.service
    nft -f /etc/nftables.conf
}
not_persisted() {
    rm -f /etc/nftables.conf /etc/systemd/system/sysinit.target.wants/nftables.service
    nft flush ruleset
}

# What firewalld 1.3 (Debian 12) makes of its default zone with these services open; the names are its own.
firewalld_ruleset() {
    local service rules= xml=
    for service in "$@"; do
        case $service in
        ssh) rules="$rules tcp dport 22 accept;" ;;
        smtp) rules="$rules tcp dport 25 accept;" ;;
        smtps) rules="$rules tcp dport 465 accept;" ;;
        smtp-submission) rules="$rules tcp dport 587 accept;" ;;
        imap) rules="$rules tcp dport 143 accept;" ;;
        imaps) rules="$rules tcp dport 993 accept;" ;;
        esac
        xml="$xml  <service name=\"$service\"/>
"
    done
    mkdir -p /etc/firewalld/zones /etc/systemd/system/multi-user.target.wants
    ln -sf /lib/systemd/system/firewalld.service /etc/systemd/system/multi-user.target.wants/firewalld.service
    printf '<?xml version="1.0" encoding="utf-8"?>\n<zone>\n  <short>Public</short>\n%s</zone>\n' "$xml" >/etc/firewalld/zones/public.xml
    nft -f - <<NFT
table inet firewalld
delete table inet firewalld
table inet firewalld {
    chain filter_PREROUTING {
        type filter hook prerouting priority filter + 10; policy accept;
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_OUTPUT {
        type filter hook output priority filter + 10; policy accept;
        ct state { established, related } accept
        oifname "lo" accept
        ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002:0000::/24, 2002:0a00::/24, 2002:7f00::/24, 2002:a9fe::/32, 2002:ac10::/28, 2002:c0a8::/32, 2002:e000::/19 } reject with icmpv6 addr-unreachable
    }
    chain filter_INPUT_ZONES {
        iifname "eth0" goto filter_IN_public
        goto filter_IN_public
    }
    chain filter_IN_public {
        jump filter_IN_public_pre
        jump filter_IN_public_log
        jump filter_IN_public_deny
        jump filter_IN_public_allow
        jump filter_IN_public_post
        meta l4proto { icmp, ipv6-icmp } accept
    }
    chain filter_IN_public_pre { }
    chain filter_IN_public_log { }
    chain filter_IN_public_deny { }
    chain filter_IN_public_allow {
        $rules
        ip6 daddr fe80::/64 udp dport 546 accept
    }
    chain filter_IN_public_post { }
}
NFT
}
