//! Rulesets as people and their managers write them, for the hosts of the driver: a mail server "a" with its neighbours.

use std::fmt::Write as _;

/// One ruleset: the driver's kind, its text (of both families, for iptables), and how many of its packets may be unknown.
pub struct Written {
    pub name: &'static str,
    pub kind: &'static str,
    pub text: String,
    pub six: String,
    pub unknown: usize,
}

fn nft(name: &'static str, text: &str) -> Written {
    Written { name, kind: "nft", text: text.to_owned(), six: String::new(), unknown: 0 }
}

fn iptables(name: &'static str, kind: &'static str, text: &str, six: &str) -> Written {
    Written { name, kind, text: text.to_owned(), six: six.to_owned(), unknown: 0 }
}

const UFW: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
:ufw-after-input - [0:0]
:ufw-not-local - [0:0]
:ufw-logging-deny - [0:0]
:ufw-skip-to-policy-input - [0:0]
:ufw-user-limit - [0:0]
:ufw-user-limit-accept - [0:0]
:ufw-track-output - [0:0]
:ufw-reject-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A INPUT -j ufw-after-input
-A INPUT -j ufw-reject-input
-A OUTPUT -j ufw-track-output
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp -m tcp --dport 587 -m conntrack --ctstate NEW -m recent --set --name DEFAULT --mask 255.255.255.255 --rsource
-A ufw-user-input -p tcp -m tcp --dport 587 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 --name DEFAULT --mask 255.255.255.255 --rsource -j ufw-user-limit
-A ufw-user-input -p tcp -m tcp --dport 587 -j ufw-user-limit-accept
-A ufw-user-input -p tcp -m multiport --dports 25,465 -m comment --comment \"'dapp_Postfix'\" -j ACCEPT
-A ufw-user-limit -m limit --limit 3/min -j LOG --log-prefix \"[UFW LIMIT BLOCK] \"
-A ufw-user-limit -j REJECT --reject-with icmp-port-unreachable
-A ufw-user-limit-accept -j ACCEPT
-A ufw-after-input -p udp -m udp --dport 137 -j ufw-skip-to-policy-input
-A ufw-after-input -m addrtype --dst-type BROADCAST -j ufw-skip-to-policy-input
-A ufw-skip-to-policy-input -j DROP
-A ufw-logging-deny -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j RETURN
-A ufw-logging-deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix \"[UFW BLOCK] \"
-A ufw-track-output -p tcp -m conntrack --ctstate NEW -j ACCEPT
COMMIT
";

const UFW6: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw6-before-input - [0:0]
:ufw6-user-input - [0:0]
-A INPUT -j ufw6-before-input
-A INPUT -j ufw6-user-input
-A ufw6-before-input -i lo -j ACCEPT
-A ufw6-before-input -m rt --rt-type 0 -j DROP
-A ufw6-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw6-before-input -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
-A ufw6-user-input -p tcp -m tcp --dport 25 -j ACCEPT
COMMIT
";

const DOCKER: &str = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.9.2.0/24 ! -o a1 -j MASQUERADE
-A DOCKER -i a1 -j RETURN
-A DOCKER ! -i a1 -p tcp -m tcp --dport 25 -j DNAT --to-destination 10.9.2.2:2525
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o a1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o a1 -j DOCKER
-A FORWARD -i a1 ! -o a1 -j ACCEPT
-A FORWARD -i a1 -o a1 -j ACCEPT
-A DOCKER -d 10.9.2.2/32 ! -i a1 -o a1 -p tcp -m tcp --dport 2525 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i a1 ! -o a1 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o a1 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

const OPEN: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

const FIREWALLD: &str = "table inet firewalld {
  chain mangle_PREROUTING { type filter hook prerouting priority -140; policy accept; jump mangle_PREROUTING_POLICIES; }
  chain mangle_PREROUTING_POLICIES { iifname \"a0\" jump mangle_PRE_policy; jump mangle_PRE_policy; return; }
  chain mangle_PRE_policy { }
  chain filter_PREROUTING {
    type filter hook prerouting priority 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain filter_INPUT {
    type filter hook input priority 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname \"lo\" accept
    ct state invalid drop
    jump filter_INPUT_POLICIES
    reject with icmpx admin-prohibited
  }
  chain filter_INPUT_POLICIES {
    iifname \"a1\" jump filter_IN_trusted
    iifname \"a1\" accept
    jump filter_IN_public
    reject with icmpx admin-prohibited
  }
  chain filter_IN_trusted { return; }
  chain filter_IN_public {
    jump filter_IN_public_pre
    jump filter_IN_public_log
    jump filter_IN_public_deny
    jump filter_IN_public_allow
    meta l4proto { icmp, ipv6-icmp } accept
  }
  chain filter_IN_public_pre { }
  chain filter_IN_public_log {
    ip saddr 10.8.0.0/16 tcp dport 587 limit rate 2/minute log prefix \"rich \" level notice
  }
  chain filter_IN_public_deny {
    ip saddr 10.8.0.5 tcp dport 25 reject with icmp port-unreachable
    ip6 saddr fd08::/64 drop
  }
  chain filter_IN_public_allow {
    tcp dport 25 accept
    ip saddr 10.9.1.0/24 tcp dport 587 accept
    tcp dport 465 ct state new,untracked limit rate 500/second accept
  }
}
";

const NFTABLES: &str = "table inet filter {
  chain input { type filter hook input priority 0; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
    iif lo accept
    iif != lo ip daddr 127.0.0.1/8 drop
    tcp dport { 25, 465, 587 } ct state new limit rate 200/second burst 300 packets accept
    ip protocol icmp accept
    meta l4proto udp ct state new jump udp_chain
    reject with icmpx port-unreachable
  }
  chain udp_chain { udp dport 53 ip saddr != 10.8.0.5 accept; }
  chain output { type filter hook output priority 0; policy accept;
    meta skuid != { 0, 1000 } tcp dport 25 oif != lo counter reject with tcp reset
  }
}
";

const BANNED: &str = "table inet f2b-table {
  set addr-set-postfix { type ipv4_addr; flags timeout; elements = { 10.8.0.5 timeout 1h, 192.0.2.7 timeout 10m } }
  set addr6-set-postfix { type ipv6_addr; flags interval,timeout; elements = { fd08::/64 timeout 1h } }
  chain f2b-chain { type filter hook input priority filter - 1; policy accept;
    tcp dport { 25, 465, 587 } ip saddr @addr-set-postfix reject with icmp port-unreachable
    tcp dport { 25, 465, 587 } ip6 saddr @addr6-set-postfix reject with icmpv6 port-unreachable
  }
}
table ip crowdsec {
  set crowdsec-blacklists { type ipv4_addr; flags timeout; elements = { 10.9.2.2 timeout 4h  } }
  chain crowdsec-chain-input { type filter hook input priority -10; policy accept;
    ip saddr @crowdsec-blacklists counter drop comment \"crowdsec\"
  }
}
table ip6 crowdsec6 {
  set crowdsec6-blacklists { type ipv6_addr; flags timeout; elements = { fd09:2::2 timeout 4h } }
  chain crowdsec6-chain-input { type filter hook input priority -10; policy accept; ip6 saddr @crowdsec6-blacklists drop; }
}
";

const SHOREWALL: &str = "*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -j MARK --set-xmark 0x0/0xff
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
:dynamic - [0:0]
:fw-net - [0:0]
:loc-fw - [0:0]
:loc-net - [0:0]
:logdrop - [0:0]
:logflags - [0:0]
:net-fw - [0:0]
:reject - [0:0]
:sha-lh-1 - [0:0]
:tcpflags - [0:0]
-A INPUT -i a0 -j net-fw
-A INPUT -i a1 -j loc-fw
-A INPUT -i lo -j ACCEPT
-A INPUT -m addrtype --dst-type BROADCAST -j DROP
-A INPUT -m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name lograte -j LOG --log-prefix \"INPUT REJECT \"
-A INPUT -g reject
-A FORWARD -i a1 -o a0 -j loc-net
-A FORWARD -g reject
-A OUTPUT -o a0 -j fw-net
-A OUTPUT -o lo -j ACCEPT
-A OUTPUT -o a1 -j ACCEPT
-A OUTPUT -g reject
-A fw-net -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A fw-net -p tcp -m tcp --dport 25 -m owner --uid-owner 1000 -j ACCEPT
-A fw-net -p tcp -m multiport --dports 465,587 -j ACCEPT
-A fw-net -p udp -m udp --dport 53 -j ACCEPT
-A fw-net -g reject
-A loc-fw -j ACCEPT
-A loc-net -j ACCEPT
-A logdrop -j DROP
-A logflags -m limit --limit 1/sec -j LOG --log-prefix \"flags \"
-A logflags -j DROP
-A net-fw -m conntrack --ctstate INVALID,NEW,UNTRACKED -j dynamic
-A net-fw -p tcp -j tcpflags
-A net-fw -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A net-fw -p tcp -m multiport --dports 25,587 -m comment --comment \"Mail\" -j ACCEPT
-A net-fw -j logdrop
-A reject -m addrtype --src-type BROADCAST -j DROP
-A reject -s 224.0.0.0/4 -j DROP
-A reject -p igmp -j DROP
-A reject -p tcp -j REJECT --reject-with tcp-reset
-A reject -p udp -j REJECT --reject-with icmp-port-unreachable
-A reject -j REJECT --reject-with icmp-host-prohibited
-A tcpflags -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG FIN,PSH,URG -g logflags
-A tcpflags -p tcp -m tcp --tcp-flags FIN,SYN FIN,SYN -g logflags
-A tcpflags -p tcp -m tcp --sport 0 --tcp-flags FIN,SYN,RST,ACK SYN -g logflags
COMMIT
";

const CSF: &str = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A OUTPUT -p tcp -m multiport --dports 25,465,587 -m owner --uid-owner 33 -j REDIRECT --to-ports 2525
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
:ALLOWIN - [0:0]
:DENYIN - [0:0]
:INVALID - [0:0]
:INVDROP - [0:0]
:LOCALINPUT - [0:0]
:LOCALOUTPUT - [0:0]
:LOGDROPIN - [0:0]
:SMTPOUTPUT - [0:0]
:PORTFLOOD - [0:0]
:CONNLIMIT - [0:0]
-A INPUT ! -i lo -j LOCALINPUT
-A INPUT -i lo -j ACCEPT
-A INPUT ! -i lo -p tcp -j INVALID
-A INPUT ! -i lo -p tcp -m tcp --dport 25 --tcp-flags FIN,SYN,RST,ACK SYN -m connlimit --connlimit-above 20 --connlimit-mask 32 --connlimit-saddr -j CONNLIMIT
-A INPUT ! -i lo -p tcp -m tcp --dport 25 -m conntrack --ctstate NEW -m recent --set --name 25 --mask 255.255.255.255 --rsource
-A INPUT ! -i lo -p tcp -m tcp --dport 25 -m conntrack --ctstate NEW -m recent --update --seconds 5 --hitcount 20 --name 25 --mask 255.255.255.255 --rsource -j PORTFLOOD
-A INPUT ! -i lo -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT ! -i lo -p tcp -m conntrack --ctstate NEW -m tcp --dport 25 -j ACCEPT
-A INPUT ! -i lo -p tcp -m conntrack --ctstate NEW -m tcp --dport 465:600 -j ACCEPT
-A INPUT ! -i lo -j LOGDROPIN
-A OUTPUT ! -o lo -j LOCALOUTPUT
-A OUTPUT -o lo -j ACCEPT
-A OUTPUT -j SMTPOUTPUT
-A OUTPUT ! -o lo -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OUTPUT ! -o lo -p tcp -m conntrack --ctstate NEW -m multiport --dports 25,587 -j ACCEPT
-A OUTPUT ! -o lo -p udp -m conntrack --ctstate NEW -m udp --dport 53 -j ACCEPT
-A OUTPUT ! -o lo -j REJECT --reject-with icmp-port-unreachable
-A LOCALINPUT ! -i lo -j DENYIN
-A LOCALINPUT ! -i lo -j ALLOWIN
-A DENYIN -s 10.8.0.0/16 ! -i lo -j DROP
-A ALLOWIN -s 10.9.2.2/32 ! -i lo -j ACCEPT
-A INVALID -m conntrack --ctstate INVALID -j INVDROP
-A INVALID -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j INVDROP
-A INVDROP -j DROP
-A LOGDROPIN -p tcp -m tcp --dport 23 -j DROP
-A LOGDROPIN -p tcp -m limit --limit 30/min -j LOG --log-prefix \"Firewall: *TCP_IN Blocked* \"
-A LOGDROPIN -j DROP
-A CONNLIMIT -p tcp -j REJECT --reject-with tcp-reset
-A PORTFLOOD -j DROP
-A SMTPOUTPUT -o lo -p tcp -m multiport --dports 25,465,587 -j ACCEPT
-A SMTPOUTPUT -p tcp -m multiport --dports 25,465,587 -m owner --gid-owner 8 -j ACCEPT
-A SMTPOUTPUT -p tcp -m multiport --dports 25,465,587 -m owner --uid-owner 0 -j ACCEPT
-A SMTPOUTPUT -p tcp -m multiport --dports 25,465,587 -j REJECT --reject-with icmp-port-unreachable
COMMIT
";

/// A list of networks as long as those that are made of country lists, with the neighbours in it or between its ranges.
fn countries() -> String {
    let mut list = String::new();
    for at in 0..20_000_u32 {
        let address = std::net::Ipv4Addr::from(0x2000_0000 + at * 512);
        let _ = write!(list, "{address}-{}, ", std::net::Ipv4Addr::from(u32::from(address) + 255));
    }
    format!(
        "table inet geo {{
  set denied {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {list}10.8.0.0-10.8.0.4, 10.8.0.6-10.8.255.255, 10.9.2.0/24 }} }}
  chain input {{ type filter hook input priority -5; policy accept; tcp dport {{ 25, 587 }} ip saddr @denied drop; }}
}}
"
    )
}

/// All of them.
pub fn all() -> Vec<Written> {
    let mut all = vec![
        nft("no rule at all", ""),
        nft("nftables' example for servers, with a rule by user", NFTABLES),
        nft("firewalld with zones and rich rules", FIREWALLD),
        nft("fail2ban and CrowdSec with sets", BANNED),
        nft("all of them at once", &format!("{NFTABLES}{FIREWALLD}{BANNED}")),
        nft("countries", &countries()),
        iptables("ufw", "xt", UFW, UFW6),
        iptables("ufw, legacy", "legacy", UFW, UFW6),
        iptables("Docker publishes", "xt", DOCKER, OPEN),
        iptables("Docker publishes, legacy", "legacy", DOCKER, OPEN),
        iptables("Shorewall", "xt", SHOREWALL, OPEN),
        iptables("Shorewall, legacy", "legacy", SHOREWALL, OPEN),
        iptables("csf with SMTP_BLOCK and a redirect", "xt", CSF, OPEN),
        iptables("csf, legacy", "legacy", CSF, OPEN),
    ];
    all.extend(of_mail());
    all.extend(of_routers());
    all
}

/// What is written about mail alone.
fn of_mail() -> Vec<Written> {
    let input = |rules: &str| {
        format!("table inet m {{\n chain i {{ type filter hook input priority 0; policy accept;\n{rules}\n }}\n}}\n")
    };
    let output = |rules: &str| {
        format!("table inet m {{\n chain o {{ type filter hook output priority 0; policy accept;\n{rules}\n }}\n}}\n")
    };
    vec![
        nft("SYNs are limited by a meter", &input(
            "tcp dport 25 tcp flags & (fin|syn|rst|ack) == syn meter smtp { ip saddr timeout 60s limit rate over 20/minute burst 40 packets } counter drop",
        )),
        nft("new connections are limited, the rest is dropped", &input(
            "ct state established,related accept\niif lo accept\ntcp dport 25 ct state new limit rate 10/second burst 50 packets accept\ntcp dport 25 drop",
        )),
        nft("too many connections of one", &input("tcp dport 25 ct count over 50 reject with tcp reset")),
        nft("only one user sends", &output(
            "tcp dport 25 oifname != \"lo\" meta skuid 1000 accept\ntcp dport 25 oifname != \"lo\" log prefix \"smtp out: \" reject",
        )),
        nft("only one group sends, by a map", &output("meta skgid . tcp dport vmap { 8 . 25 : accept, 0 . 25 : goto no, 1000 . 25 : drop }").replacen("{\n chain o", "{\n chain no { meta l4proto tcp reject with tcp reset; }\n chain o", 1)),
        nft("mail goes out by mark", &format!(
            "table inet marks {{\n chain o {{ type route hook output priority mangle; policy accept; meta skuid 1000 tcp dport 25 meta mark set 0x19; }}\n}}\n{}",
            output("tcp dport 25 oifname \"a*\" meta mark != 0x19 drop")
        )),
        nft("another port leads to 25", "table ip n {
  chain p { type nat hook prerouting priority dstnat; policy accept; tcp dport 2525 redirect to :25; }
  chain o { type nat hook output priority -100; policy accept; ip daddr 127.0.0.1 tcp dport 2525 redirect to :25; }
}
table ip6 n {
  chain p { type nat hook prerouting priority dstnat; policy accept; tcp dport 2525 redirect to :25; }
}
table inet f {
  chain i { type filter hook input priority 0; policy accept; tcp dport 25 ct original proto-dst 2525 accept; tcp dport 25 ip saddr 10.8.0.0/16 drop; }
}
"),
        nft("mail is not tracked", "table inet r {
  chain p { type filter hook prerouting priority raw; policy accept; tcp dport { 25, 465 } notrack; }
  chain o { type filter hook output priority raw; policy accept; tcp sport { 25, 465 } notrack; }
  chain i { type filter hook input priority 0; policy drop; ct state established,related accept; ct state invalid drop; iif lo accept; ct state new tcp dport { 25, 587 } accept; ct state untracked tcp dport 25 accept; }
}
"),
        nft("a helper and a zone", "table inet h {
  ct helper ftp-standard { type \"ftp\" protocol tcp; l3proto inet; }
  chain p { type filter hook prerouting priority -250; policy accept; iifname \"a1\" ct zone set 7; }
  chain i { type filter hook input priority 0; policy accept; tcp dport 21 ct helper set \"ftp-standard\"; iifname \"a1\" ct state new tcp dport 25 drop; ct helper \"ftp\" drop; }
}
"),
        nft("at the interface itself", "table inet early {
  set bogons { type ipv4_addr; flags interval; elements = { 10.8.0.0/16, 192.168.0.0/16 } }
  chain in0 { type filter hook ingress device a0 priority -500; policy accept; ip saddr @bogons tcp dport 25 drop; ip6 saddr fd08::/64 drop; }
}
"),
        nft("a table that is asleep", "table inet off {\n flags dormant;\n chain i { type filter hook input priority 0; policy drop; }\n}\n"),
        nft("accepted in one table, dropped in the next", &format!("{}table ip z {{\n chain i {{ type filter hook input priority 10; policy accept; tcp dport 25 drop; }}\n}}\n", input("tcp dport 25 accept"))),
    ]
}

/// A mail server that is a gateway as well.
fn of_routers() -> Vec<Written> {
    vec![
        nft("mail for an inner server", "table inet gw {
  chain pre { type nat hook prerouting priority dstnat; policy accept;
    iifname \"a0\" fib daddr type local tcp dport { 25, 587 } dnat ip to 10.9.2.2
    iifname \"a0\" meta nfproto ipv6 fib daddr type local tcp dport 25 dnat ip6 to fd09:2::2; }
  chain post { type nat hook postrouting priority srcnat; policy accept; oifname \"a0\" masquerade; }
  chain through { type filter hook forward priority 0; policy drop; ct state established,related accept; ct status dnat accept; iifname \"a1\" oifname \"a0\" tcp dport != 25 accept; }
  chain inside { type filter hook input priority 0; policy drop; ct state established,related accept; iifname { \"lo\", \"a1\" } accept; }
}
"),
        nft("ports by a map of two keys", "table ip lb {
  map back { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { 10.9.1.1 . 25 : 10.9.2.2 . 2525, 10.9.1.1 . 465 : 10.9.2.2 . 465 } }
  chain pre { type nat hook prerouting priority dstnat; policy accept; dnat ip addr . port to ip daddr . tcp dport map @back; }
}
"),
        nft("reverse path and martians", "table inet rp {
  chain pre { type filter hook prerouting priority -300; policy accept; iif != lo ip saddr 127.0.0.0/8 drop; fib saddr . iif oif missing drop; fib daddr . iif type != { local, unicast, broadcast, multicast } drop; }
}
"),
    ]
}

/// Packets that every ruleset gets: sender, protocol, source, destination, port, user, group.
pub const PACKETS: &[(&str, bool, &str, &str, u16, u32, u32)] = &[
    ("b", true, "10.9.1.2", "10.9.1.1", 25, 0, 0),
    ("b", true, "10.9.1.2", "10.9.1.1", 465, 0, 0),
    ("b", true, "10.9.1.2", "10.9.1.1", 587, 0, 0),
    ("b", true, "10.9.1.2", "10.9.1.1", 2525, 0, 0),
    ("b", false, "10.9.1.2", "10.9.1.1", 53, 0, 0),
    ("b", true, "10.8.0.5", "10.9.1.1", 25, 0, 0),
    ("b", true, "10.8.0.5", "10.9.1.1", 587, 0, 0),
    ("c", true, "10.9.2.2", "10.9.2.1", 25, 0, 0),
    ("c", true, "10.9.2.2", "10.9.2.1", 8025, 0, 0),
    ("b", true, "fd09:1::2", "fd09:1::1", 25, 0, 0),
    ("b", true, "fd08::5", "fd09:1::1", 25, 0, 0),
    ("b", true, "fd09:1::2", "fd09:1::1", 587, 0, 0),
    ("c", true, "fd09:2::2", "fd09:2::1", 25, 0, 0),
    ("b", true, "10.9.1.2", "10.9.2.2", 25, 0, 0),
    ("b", true, "fd09:1::2", "fd09:2::2", 25, 0, 0),
    ("a", true, "10.9.1.1", "10.9.1.2", 25, 0, 0),
    ("a", true, "10.9.1.1", "10.9.1.2", 25, 1000, 1000),
    ("a", true, "10.9.1.1", "10.8.0.5", 25, 33, 8),
    ("a", true, "10.9.1.1", "10.9.1.2", 587, 33, 0),
    ("a", false, "10.9.1.1", "10.9.1.2", 53, 1001, 0),
    ("a", true, "fd09:1::1", "fd09:1::2", 25, 1001, 1000),
    ("a", true, "fd09:1::1", "fd09:1::2", 25, 1000, 8),
    ("a", true, "127.0.0.1", "127.0.0.1", 25, 33, 0),
    ("a", true, "127.0.0.1", "127.0.0.1", 2525, 1001, 0),
    ("a", true, "::1", "::1", 25, 0, 0),
];
