//! What few rulesets have: matches, statements and targets beyond ports, addresses and states, in nft's and iptables' words.

use super::generate::{Dice, Scene};

/// A match of nft.
pub fn nft_match(dice: &mut Dice, scene: Scene) -> String {
    match dice.below(4) {
        0 => raw_bytes(dice, scene),
        1 => joined(dice, scene),
        2 => of_connection(dice),
        _ => of_packet(dice, scene),
    }
}

/// Bytes by their place, and header fields that hardly anybody asks for.
fn raw_bytes(dice: &mut Dice, scene: Scene) -> String {
    let four = scene.family == "ip";
    match dice.below(14) {
        0 | 1 => format!("@th,16,16 {}", dice.port()),
        2 => format!("meta l4proto tcp @th,16,16 & 0xff == {}", dice.port() & 0xff),
        3 if four => "@nh,96,32 0x0a090102".to_owned(),
        4 if four => "@nh,96,24 0x0a0901".to_owned(),
        5 if four => "@nh,64,8 > 1".to_owned(),
        6 if four => "ip protocol vmap { tcp : continue, udp : continue }".to_owned(),
        7 if four => "ip version 4 ip hdrlength 5".to_owned(),
        8 if four => "ip option lsrr exists".to_owned(),
        9 if scene.family == "ip6" => "exthdr hbh exists".to_owned(),
        10 if scene.family == "ip6" => "ip6 version 6".to_owned(),
        11 => "tcp ackseq 0".to_owned(),
        12 => "tcp flags != syn".to_owned(),
        13 if dice.one_in(3) => dice
            .pick(&[
                "tcp option maxseg size 1-9000",
                "tcp window > 1",
                "@ih,0,8 0x6d",
                "tcp doff > 5",
                "udp length < 99",
            ])
            .to_owned(),
        _ => "tcp flags & (syn | ack) == syn".to_owned(),
    }
}

/// Concatenations and maps, with ranges in them.
fn joined(dice: &mut Dice, scene: Scene) -> String {
    let sends = matches!(scene.hook, "output" | "postrouting");
    match dice.below(9) {
        0 if scene.four() => {
            "ip saddr . ip daddr { 10.9.1.0/24 . 10.9.1.0-10.9.1.9, 10.8.0.0/16 . 10.9.2.1 }".to_owned()
        }
        1 if scene.four() => format!("ip daddr . tcp dport != {{ 10.9.1.1 . 20-100, 10.9.2.0/24 . {} }}", dice.port()),
        2 if scene.six() => "ip6 saddr . tcp dport { fd09:1::/64 . 25-587, fd08::5 . 2525 }".to_owned(),
        3 if sends => "meta skuid . tcp dport { 1000 . 25, 33 . 25, 0 . 587 }".to_owned(),
        4 if sends => "meta skuid vmap { 1000-1999 : continue, 33 : continue }".to_owned(),
        5 if matches!(scene.hook, "prerouting" | "input") => {
            format!("iifname . tcp dport {{ \"a0\" . 25, \"a0\" . {}, \"lo\" . 587 }}", dice.port())
        }
        6 => "tcp flags . tcp dport { syn . 25, syn . 587, ack . 53 }".to_owned(),
        7 => "meta mark . meta l4proto { 0 . tcp, 5 . udp }".to_owned(),
        _ => "ct state . tcp dport { new . 25, established . 587, untracked . 465 }".to_owned(),
    }
}

fn of_connection(dice: &mut Dice) -> String {
    match dice.below(9) {
        0 => format!("meta l4proto tcp ct original proto-dst {}", dice.port()),
        1 => "ct original ip saddr 10.9.1.0/24".to_owned(),
        2 => "ct original ip6 daddr fd09:1::/64".to_owned(),
        3 => "ct count over 60".to_owned(),
        4 => "ct count 60".to_owned(),
        5 => "ct status expected".to_owned(),
        6 => "ct state untracked".to_owned(),
        7 => "ct helper \"ftp\"".to_owned(),
        _ => "ct protocol tcp".to_owned(),
    }
}

fn of_packet(dice: &mut Dice, scene: Scene) -> String {
    match dice.below(16) {
        0 => "meta protocol ip".to_owned(),
        1 => "meta protocol { ip6, arp }".to_owned(),
        2 => "meta pkttype { unicast, broadcast }".to_owned(),
        3 => "limit rate 10 mbytes/second".to_owned(),
        4 => "quota until 500 mbytes".to_owned(),
        5 => "jhash meta mark mod 1 0".to_owned(),
        6 => "numgen inc mod 1 0".to_owned(),
        7 if matches!(scene.hook, "prerouting") => "fib daddr . iif type { local, broadcast }".to_owned(),
        8 if matches!(scene.hook, "prerouting" | "input" | "forward") => "fib saddr oif != 0".to_owned(),
        9 => "fib daddr type { unicast, blackhole }".to_owned(),
        10 if scene.hook == "output" => dice.pick(&["socket mark 5", "socket mark 0", "socket wildcard 0"]).to_owned(),
        11 if scene.hook == "prerouting" => "ether type { ip, arp }".to_owned(),
        12 if dice.one_in(3) => dice
            .pick(&[
                "socket transparent 1",
                "meta cgroup 5",
                "meta length < 1000",
                "meta hour \"08:00\"-\"18:00\"",
                "iifgroup 0",
                "meta iifkind \"veth\"",
                "meta cpu 0",
                "rt classid 1",
                "osf name \"Linux\"",
                "meta secpath missing",
                "ct zone 0",
                "ct packets < 9",
                "symhash mod 2 0",
            ])
            .to_owned(),
        13 => "meta nfproto { ipv4, ipv6 }".to_owned(),
        14 => "meta mark and 0xf0 xor 0x10 == 0x10".to_owned(),
        _ => "th dport { 25, 587 }".to_owned(),
    }
}

/// A statement that decides nothing, or decides it in a way of its own.
pub fn nft_statement(dice: &mut Dice, scene: Scene, below: &[usize]) -> String {
    let deep = below.first().map_or_else(|| "accept".to_owned(), |first| format!("goto sub{first}"));
    match dice.below(20) {
        0 => "log prefix \"mail: \" level info".to_owned(),
        1 => "counter".to_owned(),
        2 => "tcp option maxseg size set 1400".to_owned(),
        3 if scene.four() => format!("add @noted {{ ip saddr . {} }}", dice.port()),
        4 if scene.four() => "update @noted { ip saddr . tcp dport timeout 10s }".to_owned(),
        5 if scene.four() => "delete @noted { ip saddr . tcp dport }".to_owned(),
        6 if scene.four() => {
            format!("meter m{} {{ ip saddr limit rate over 1000/second burst 999 packets }} drop", dice.below(9))
        }
        7 => "meta mark set tcp dport map { 25 : 5, 587 : 0x25 }".to_owned(),
        8 => "meta mark set meta mark or 0x4".to_owned(),
        9 => "ct mark set meta mark".to_owned(),
        10 => format!("tcp dport vmap {{ 25 : drop, 400-600 : {deep}, * : continue }}"),
        11 if scene.four() => {
            format!("ip saddr . tcp dport vmap {{ 10.9.1.0/24 . 20-30 : drop, 0.0.0.0/0 . 400-600 : {deep} }}")
        }
        12 => "fib daddr type vmap { local : continue, unicast : accept, broadcast : drop }".to_owned(),
        13 => format!("numgen random mod 3 vmap {{ 0 : {deep}, 1-2 : {deep} }}"),
        14 if matches!(scene.hook, "input" | "output" | "forward") => dice
            .pick(&[
                "reject with icmpx host-unreachable",
                "reject with icmpx no-route",
                "meta nfproto ipv4 reject with icmp host-prohibited",
                "meta nfproto ipv6 reject with icmpv6 addr-unreachable",
            ])
            .to_owned(),
        15 if scene.family == "ip" => "ip ttl set 9".to_owned(),
        16 if scene.family == "ip" => "ip dscp set cs1".to_owned(),
        17 if scene.hook == "prerouting" && dice.one_in(3) => dice
            .pick(&[
                "tcp dport 25 tcp dport set 2525",
                "tcp dport 587 ip daddr set 10.9.2.2",
                "meta l4proto tcp tproxy to :2525 accept",
                "meta l4proto tcp tproxy to :8025",
            ])
            .to_owned(),
        18 if scene.hook == "input" && dice.one_in(3) => "tcp dport 465 synproxy mss 1460 wscale 7".to_owned(),
        _ => "ct mark set ct mark or 0x8".to_owned(),
    }
}

/// A translation of nft.
pub fn nft_translation(dice: &mut Dice, scene: Scene) -> Option<String> {
    let ip = if scene.family == "inet" { "ip " } else { "" };
    Some(match (scene.hook, scene.family) {
        ("prerouting", "ip" | "inet") => match dice.below(6) {
            0 => format!("meta l4proto tcp dnat {ip}to numgen inc mod 2 map {{ 0 : 10.9.2.2, 1 : 10.9.2.2 }}"),
            1 => format!("dnat {ip}to tcp dport map {{ 20-30 : 10.9.2.2, 400-600 : 10.9.1.1 }}"),
            2 => format!(
                "dnat {ip}addr . port to ip saddr . tcp dport map {{ 10.9.1.2 . 25 : 10.9.2.2 . 2525, 10.8.0.5 . 587 : 10.9.1.1 . 25 }}"
            ),
            3 => format!("meta l4proto tcp dnat {ip}to 10.9.2.2:25-25"),
            4 if scene.family == "ip" => "dnat ip prefix to ip daddr map { 10.9.1.0/24 : 10.9.2.0/24 }".to_owned(),
            _ => format!("tcp dport 465-587 dnat {ip}to 10.9.2.2-10.9.2.2"),
        },
        ("output", "ip") => "meta skuid 1000 tcp dport 25 redirect to :2525".to_owned(),
        ("postrouting", "ip") => {
            dice.pick(&["snat to 10.9.1.1", "meta l4proto tcp masquerade to :20000-61000"]).to_owned()
        }
        ("postrouting", "ip6") => "masquerade persistent".to_owned(),
        _ => return None,
    })
}

/// A match of iptables, with its `-m`.
pub fn iptables_match(dice: &mut Dice, chain: &str, v6: bool) -> String {
    let not = if dice.one_in(5) { "! " } else { "" };
    let sends = chain == "OUTPUT";
    match dice.below(24) {
        0 => format!(
            "-p tcp -m hashlimit --hashlimit-upto 900/sec --hashlimit-mode srcip --hashlimit-name h{}",
            dice.below(9)
        ),
        1 => format!(
            "-p tcp -m hashlimit --hashlimit-above 900/sec --hashlimit-mode srcip --hashlimit-name g{}",
            dice.below(9)
        ),
        2 => "-p tcp -m connlimit --connlimit-above 60".to_owned(),
        3 => "-p tcp -m connlimit --connlimit-upto 60".to_owned(),
        4 => format!("-m connmark {not}--mark 0x5/0xf"),
        5 => format!("-m connmark {not}--mark 0x0"),
        6 => format!("-p tcp -m conntrack {not}--ctorigdstport 25:600"),
        7 => "-m conntrack --ctdir ORIGINAL".to_owned(),
        8 => format!("-m conntrack {not}--ctproto tcp"),
        9 if !v6 => format!("-m conntrack {not}--ctorigsrc 10.9.1.0/24"),
        10 if !v6 => format!("-m conntrack {not}--ctorigdst 10.9.1.1"),
        11 => format!("-m conntrack {not}--ctstatus NONE"),
        12 if sends => "-m owner --socket-exists".to_owned(),
        13 if sends => format!("-m owner {not}--uid-owner 1000 ! --gid-owner 8"),
        14 => "-m pkttype --pkt-type unicast".to_owned(),
        15 if matches!(chain, "INPUT" | "FORWARD") => "-m physdev ! --physdev-is-bridged".to_owned(),
        16 if !v6 => format!("{not}-f"),
        17 => format!("-m mark {not}--mark 0x4/0x4"),
        18 if !v6 => format!("-m addrtype {not}--src-type LOCAL"),
        19 if !v6 => format!("-m addrtype {not}--dst-type UNICAST,LOCAL"),
        20 => format!("-p tcp -m tcp {not}--sport 1024:65535"),
        21 => format!("-p tcp -m multiport {not}--ports 25,587"),
        22 if dice.one_in(2) => dice
            .pick(&[
                "-m time --timestart 08:00 --timestop 18:00",
                "-m statistic --mode random --probability 0.5",
                "-m length --length 40:100",
                "-m u32 --u32 0x0&0xff=0x1",
                "-p tcp -m tcpmss --mss 1:500",
                "-m dscp --dscp 0x00",
                "-m cpu --cpu 0",
                "-p tcp -m string --string mail --algo bm",
                "-m helper --helper ftp",
                "-p tcp -m tcp --tcp-option 2",
                "-m connbytes --connbytes 100 --connbytes-mode packets --connbytes-dir both",
            ])
            .to_owned(),
        _ => format!("-p tcp -m tcp {not}--dport {}:{}", 20 + dice.below(9), 500 + dice.below(200)),
    }
}

/// A target of iptables in the table filter that goes on, or ends in a rare way.
pub fn iptables_target(dice: &mut Dice, v6: bool) -> String {
    match dice.below(7) {
        0 => "LOG --log-prefix \"mail: \"".to_owned(),
        1 => "NFLOG --nflog-group 7".to_owned(),
        2 => "AUDIT --type drop".to_owned(),
        3 if v6 => "REJECT --reject-with icmp6-adm-prohibited".to_owned(),
        3 => "REJECT --reject-with icmp-host-prohibited".to_owned(),
        4 if v6 => "REJECT --reject-with icmp6-no-route".to_owned(),
        4 => "REJECT --reject-with icmp-net-unreachable".to_owned(),
        _ => "LOG".to_owned(),
    }
}

/// Lines of the table mangle.
pub fn iptables_mangle(dice: &mut Dice) -> String {
    let port = dice.port();
    match dice.below(9) {
        0 => format!("-A PREROUTING -p tcp -m tcp --dport {port} -j CONNMARK --set-xmark 0x5/0xff\n"),
        1 => "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n".to_owned(),
        2 => "-A OUTPUT -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff\n".to_owned(),
        3 => format!("-A OUTPUT -p tcp -m tcp --dport {port} -j MARK --set-xmark 0x4/0x4\n"),
        4 => "-A PREROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400\n".to_owned(),
        5 => format!("-A OUTPUT -p tcp -m tcp --dport {port} -j TOS --set-tos 0x10/0x3f\n"),
        6 => "-A PREROUTING -j DSCP --set-dscp 0x05\n".to_owned(),
        7 if dice.one_in(3) => {
            format!("-A PREROUTING -p tcp -m tcp --dport {port} -j TPROXY --on-port 2525 --on-ip ::\n")
                .replace(" --on-ip ::", "")
        }
        _ => "-A PREROUTING -m socket --nowildcard -j MARK --set-xmark 0x0/0xffffffff\n".to_owned(),
    }
}

/// Lines of the table nat.
pub fn iptables_nat(dice: &mut Dice, v6: bool) -> String {
    let port = dice.port();
    match (dice.below(6), v6) {
        (0, false) => format!("-A PREROUTING -d 10.9.1.0/24 -p tcp -m tcp --dport {port} -j NETMAP --to 10.9.2.0/24\n"),
        (1, false) => {
            format!("-A PREROUTING -p tcp -m tcp --dport {port} -j DNAT --to-destination 10.9.2.2-10.9.2.2:25-25\n")
        }
        (2, _) => format!("-A PREROUTING -p tcp -m tcp --dport {port} -j REDIRECT --to-ports 2525 --random\n"),
        (3, false) => "-A POSTROUTING -o a0 -j SNAT --to-source 10.9.1.1\n".to_owned(),
        (4, _) => "-A POSTROUTING -o a0 -p tcp -j MASQUERADE --to-ports 20000-61000\n".to_owned(),
        _ => format!("-A OUTPUT -p tcp -m owner --uid-owner 1000 -m tcp --dport {port} -j REDIRECT --to-ports 587\n"),
    }
}
