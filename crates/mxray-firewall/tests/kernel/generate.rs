//! Rulesets and packets by chance, from a seed: the same seed makes the same.

use super::rare;
use std::fmt::Write as _;

/// Ports on which the driver's hosts listen.
pub const PORTS: [u16; 6] = [25, 53, 465, 587, 2525, 8025];

/// A generator of numbers (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<'list, T: ?Sized>(&mut self, list: &[&'list T]) -> &'list T {
        list[self.below(list.len())]
    }

    pub fn port(&mut self) -> u16 {
        PORTS[self.below(PORTS.len())]
    }
}

/// A packet that the driver sends.
#[derive(Debug, Clone)]
pub struct Sent {
    pub from: &'static str,
    pub tcp: bool,
    pub source: &'static str,
    pub destination: &'static str,
    pub source_port: u16,
    pub destination_port: u16,
    pub uid: u32,
    pub gid: u32,
    pub mark: u32,
}

pub fn packet(dice: &mut Dice, source_port: u16) -> Sent {
    let (from, source, destination) = match (dice.below(10), dice.one_in(2)) {
        (0..4, false) => ("b", dice.pick(&["10.9.1.2", "10.9.1.2", "10.8.0.5"]), "10.9.1.1"),
        (0..4, true) => ("b", dice.pick(&["fd09:1::2", "fd09:1::2", "fd08::5"]), "fd09:1::1"),
        (4, false) => ("c", "10.9.2.2", "10.9.2.1"),
        (4, true) => ("c", "fd09:2::2", "fd09:2::1"),
        (5, false) => ("b", "10.9.1.2", "10.9.2.2"),
        (5, true) => ("b", "fd09:1::2", "fd09:2::2"),
        (6, false) => ("a", dice.pick(&["127.0.0.1", "10.9.1.1"]), dice.pick(&["127.0.0.1", "10.9.1.1"])),
        (6, true) => ("a", "::1", "::1"),
        (_, false) => ("a", "10.9.1.1", dice.pick(&["10.9.1.2", "10.8.0.5"])),
        (_, true) => ("a", "fd09:1::1", dice.pick(&["fd09:1::2", "fd08::5"])),
    };
    let own = from == "a";
    Sent {
        from,
        tcp: !dice.one_in(3),
        source,
        destination,
        source_port,
        destination_port: dice.port(),
        uid: if own { [0, 0, 1000, 1001, 33][dice.below(5)] } else { 0 },
        gid: if own { [0, 1000, 8][dice.below(3)] } else { 0 },
        mark: if own && dice.one_in(4) { [1, 5, 0x25][dice.below(3)] } else { 0 },
    }
}

/// What a rule may be about at its place.
#[derive(Clone, Copy)]
pub struct Scene {
    pub family: &'static str,
    pub hook: &'static str,
    pub nat: bool,
}

impl Scene {
    pub fn four(self) -> bool {
        self.family != "ip6"
    }

    pub fn six(self) -> bool {
        self.family != "ip"
    }
}

fn ports(dice: &mut Dice) -> String {
    match dice.below(6) {
        0..3 => dice.port().to_string(),
        3 => format!("{{ {}, {} }}", dice.port(), dice.port()),
        4 => "{ 20-53, 465-587 }".to_owned(),
        _ => "25-600".to_owned(),
    }
}

fn ports_match(dice: &mut Dice) -> String {
    let not = if dice.one_in(5) { "!= " } else { "" };
    let ports = ports(dice);
    match dice.below(7) {
        0..3 => format!("tcp dport {not}{ports}"),
        3 => format!("udp dport {not}{ports}"),
        4 => format!("meta l4proto {{ tcp, udp }} th dport {not}{ports}"),
        5 => "tcp sport >= 1024".to_owned(),
        _ => "tcp dport < 500".to_owned(),
    }
}

fn addresses(dice: &mut Dice, scene: Scene) -> String {
    let four = if scene.four() && scene.six() { dice.one_in(2) } else { scene.four() };
    let not = if dice.one_in(5) { "!= " } else { "" };
    let side = dice.pick(&["saddr", "saddr", "daddr"]);
    if four {
        let what = dice.pick(&[
            "10.9.1.2",
            "10.9.1.0/24",
            "10.8.0.0/16",
            "{ 10.9.1.2, 10.8.0.5 }",
            "{ 10.0.0.0-10.8.255.255, 127.0.0.0/8 }",
            "10.9.1.1-10.9.2.9",
            "@four",
            "@ranges4",
            "0.0.0.0/0",
            "127.0.0.1",
        ]);
        format!("ip {side} {not}{what}")
    } else {
        let what = dice.pick(&[
            "fd09:1::2",
            "fd09:1::/64",
            "{ fd08::5, fd09:1::2 }",
            "fd08::-fd08::ffff",
            "@six",
            "::1",
            "fd00::/8",
        ]);
        format!("ip6 {side} {not}{what}")
    }
}

fn interfaces(dice: &mut Dice, scene: Scene) -> String {
    match scene.hook {
        "prerouting" | "input" => dice.pick(&[
            "iifname \"a0\"",
            "iifname \"a*\"",
            "iif lo",
            "iifname != \"lo\"",
            "iifname { \"a0\", \"a1\" }",
            "iiftype ether",
        ]),
        "forward" => {
            dice.pick(&["iifname \"a0\" oifname \"a1\"", "oifname \"a*\"", "iifname . oifname { \"a0\" . \"a1\" }"])
        }
        _ => dice.pick(&["oifname \"a0\"", "oifname \"lo\"", "oif a0", "oifname != \"lo\""]),
    }
    .to_owned()
}

fn sender(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "meta skuid 1000",
        "meta skuid != 0",
        "meta skuid { 33, 1001 }",
        "meta skuid 1000-1999",
        "meta skgid 8",
        "meta skuid 0",
        "meta skuid < 100",
        "meta skgid != 1000",
    ])
}

fn others(dice: &mut Dice, scene: Scene) -> String {
    match dice.below(30) {
        0 => "ct state new".to_owned(),
        1 => "ct state established,related".to_owned(),
        2 => "ct state != new".to_owned(),
        3 => "ct state invalid".to_owned(),
        4 => "ct direction original".to_owned(),
        5 => "ct status dnat".to_owned(),
        6 => "ct mark 3".to_owned(),
        7 => "meta mark 5".to_owned(),
        8 => "meta mark and 0xf == 5".to_owned(),
        9 => "meta mark != 0".to_owned(),
        10 => "tcp flags & (fin|syn|rst|ack) == syn".to_owned(),
        11 => "tcp flags syn".to_owned(),
        12 => "limit rate 1000/second burst 1000 packets".to_owned(),
        13 => "limit rate over 1000/second burst 1000 packets".to_owned(),
        14 => "fib daddr type local".to_owned(),
        15 => "fib saddr type != local".to_owned(),
        16 if scene.family == "inet" => "meta nfproto ipv4".to_owned(),
        17 if scene.family == "inet" => "meta nfproto ipv6".to_owned(),
        18 => "quota over 100 mbytes".to_owned(),
        19 => "meta l4proto . th dport { tcp . 25, udp . 53, tcp . 587 }".to_owned(),
        20 if scene.four() => "ip saddr . tcp dport @pairs".to_owned(),
        21 if scene.four() => "ip saddr . tcp dport { 10.9.1.0/24 . 25-587, 10.8.0.5 . 2525 }".to_owned(),
        22 if scene.four() => "update @seen { ip saddr limit rate over 1000/second burst 1000 packets }".to_owned(),
        23 if scene.four() => "add @met { ip saddr } ip saddr @met".to_owned(),
        24 if scene.four() => "ip protocol tcp".to_owned(),
        25 if scene.four() => "ip ttl > 0 ip frag-off & 0x1fff == 0".to_owned(),
        26 => "meta l4proto { tcp, udp }".to_owned(),
        27 if dice.one_in(3) => "numgen random mod 2 == 0".to_owned(),
        28 if scene.six() => "ip6 nexthdr udp".to_owned(),
        29 if scene.hook == "prerouting" => "fib saddr . iif oif exists".to_owned(),
        _ => "meta l4proto tcp".to_owned(),
    }
}

fn matches(dice: &mut Dice, scene: Scene) -> String {
    let mut all = Vec::new();
    for _ in 0..1 + dice.below(2) {
        all.push(match dice.below(12) {
            0..4 => ports_match(dice),
            4 | 5 => addresses(dice, scene),
            6 => interfaces(dice, scene),
            7 if matches!(scene.hook, "output" | "postrouting") || dice.one_in(4) => sender(dice).to_owned(),
            8 => rare::nft_match(dice, scene),
            _ => others(dice, scene),
        });
    }
    all.join(" ")
}

fn verdict(dice: &mut Dice, scene: Scene, below: &[usize]) -> String {
    if scene.nat {
        return translation(dice, scene);
    }
    if !below.is_empty() && dice.one_in(3) {
        let chain = below[dice.below(below.len())];
        return format!("{} sub{chain}", dice.pick(&["jump", "jump", "goto"]));
    }
    match dice.below(12) {
        0..4 => "accept",
        4..7 => "drop",
        7 if matches!(scene.hook, "input" | "output" | "forward") => "reject",
        8 if matches!(scene.hook, "input" | "output" | "forward") => "meta l4proto tcp reject with tcp reset",
        9 => "return",
        10 => dice.pick(&["meta mark set 5", "ct mark set 3"]),
        _ => return rare::nft_statement(dice, scene, below),
    }
    .to_owned()
}

fn translation(dice: &mut Dice, scene: Scene) -> String {
    let ip = if scene.family == "inet" { "ip " } else { "" };
    if dice.one_in(3)
        && let Some(rare) = rare::nft_translation(dice, scene)
    {
        return rare;
    }
    match (scene.hook, scene.family) {
        ("postrouting", _) => dice.pick(&["masquerade", "accept"]).to_owned(),
        ("prerouting" | "output", _) if dice.one_in(3) => {
            format!("meta l4proto {{ tcp, udp }} redirect to :{}", dice.port())
        }
        ("prerouting", "ip" | "inet") if dice.one_in(2) => {
            format!("meta l4proto tcp dnat {ip}to 10.9.2.2:{}", dice.port())
        }
        ("prerouting", "ip6") if dice.one_in(2) => format!("meta l4proto tcp dnat to [fd09:2::2]:{}", dice.port()),
        ("output", "ip") if dice.one_in(2) => format!("dnat to {}", dice.pick(&["10.9.1.2", "10.9.2.2", "127.0.0.1"])),
        ("prerouting", "ip") if dice.one_in(2) => {
            format!("dnat to tcp dport map {{ 25 : 10.9.2.2, {} : 10.9.1.1 }}", 587)
        }
        _ => "return".to_owned(),
    }
}

fn verdict_map(dice: &mut Dice, below: &[usize]) -> String {
    let mut to = |other: &'static str| match below.first() {
        Some(first) if dice.one_in(2) => format!("jump sub{first}"),
        _ => other.to_owned(),
    };
    let (a, b) = (to("accept"), to("drop"));
    match dice.below(5) {
        0 => format!("tcp dport vmap {{ 25 : {a}, 587 : {b}, 8000-9000 : drop }}"),
        1 => format!("ct state vmap {{ established : accept, new : {a}, invalid : drop }}"),
        2 => format!("meta l4proto . th dport vmap {{ tcp . 25 : {b}, udp . 53 : {a} }}"),
        3 => format!("iifname vmap {{ \"a0\" : {a}, \"lo\" : accept }}"),
        _ => format!("meta l4proto vmap {{ tcp : {a}, udp : {b} }}"),
    }
}

fn rule(dice: &mut Dice, scene: Scene, below: &[usize]) -> String {
    if !scene.nat && dice.one_in(8) {
        return verdict_map(dice, below);
    }
    if dice.one_in(20) && !scene.nat {
        return verdict(dice, scene, below);
    }
    format!("{} {}", matches(dice, scene), verdict(dice, scene, below))
}

const SETS: &str = "  set four { type ipv4_addr; elements = { 10.9.1.2, 192.0.2.1 } }
  set ranges4 { type ipv4_addr; flags interval; auto-merge; elements = { 10.8.0.0/24, 127.0.0.0/8, 192.0.2.0-192.0.2.9 } }
  set six { type ipv6_addr; flags interval; elements = { fd08::/64, 2001:db8::/32 } }
  set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.9.1.0/24 . 25, 10.8.0.5 . 400-600 } }
  set seen { type ipv4_addr; size 1024; flags dynamic; timeout 1m; }
  set met { type ipv4_addr; size 1024; flags dynamic; }
  set noted { type ipv4_addr . inet_service; size 1024; flags dynamic, timeout; timeout 1m; }
";

/// A ruleset in nft's words. What the kernel does not accept is not counted.
pub fn nft(dice: &mut Dice) -> String {
    let mut text = String::new();
    for table in 0..1 + dice.below(2) {
        let family = dice.pick(&["inet", "inet", "ip", "ip6"]);
        let _ = writeln!(text, "table {family} t{table} {{");
        if dice.one_in(12) {
            text.push_str("  flags dormant;\n");
        }
        text.push_str(SETS);
        // Chains below are reached from all hooks of the table, so they hold what fits everywhere.
        let subs = dice.below(4);
        for at in (0..subs).rev() {
            let scene = Scene { family, hook: "anywhere", nat: false };
            let below: Vec<usize> = (at + 1..subs).collect();
            let _ = writeln!(text, "  chain sub{at} {{");
            for _ in 0..1 + dice.below(4) {
                let line = match dice.below(6) {
                    0 => verdict_map(dice, &below),
                    1 => format!("{} {}", addresses(dice, scene), verdict(dice, scene, &below)),
                    _ => format!("{} {}", ports_match(dice), verdict(dice, scene, &below)),
                };
                // iifname works everywhere, oif does not.
                let _ = writeln!(text, "    {line}");
            }
            text.push_str("  }\n");
        }
        let below: Vec<usize> = (0..subs).collect();
        for at in 0..1 + dice.below(4) {
            let mut hook = dice.pick(&["input", "input", "output", "output", "forward", "prerouting", "postrouting"]);
            if family == "inet" && dice.one_in(12) {
                hook = "ingress";
            }
            let nat = dice.one_in(4) && !matches!(hook, "forward" | "input" | "ingress");
            let route = !nat && hook == "output" && dice.one_in(5);
            let priority = match (nat, hook) {
                (true, "prerouting" | "output") => "-100".to_owned(),
                (true, _) => "100".to_owned(),
                (false, _) => dice.pick(&["0", "-10", "10", "-300", "-150", "50", "filter"]).to_owned(),
            };
            let scene = Scene { family, hook, nat };
            let policy = if !nat && dice.one_in(5) { "drop" } else { "accept" };
            let kind = match (nat, route) {
                (true, _) => "nat",
                (false, true) => "route",
                (false, false) => "filter",
            };
            let device = if hook == "ingress" { " device a0" } else { "" };
            let _ = writeln!(
                text,
                "  chain base{at} {{\n    type {kind} hook {hook}{device} priority {priority}; policy {policy};"
            );
            if !nat && hook == "prerouting" && priority == "-300" && dice.one_in(2) {
                let _ = writeln!(text, "    {} dport {} notrack", dice.pick(&["udp", "tcp"]), dice.port());
            }
            let length = dice.below(if nat { 3 } else { 6 });
            for _ in 0..length {
                let _ = writeln!(text, "    {}", rule(dice, scene, if nat { &[] } else { &below }));
            }
            text.push_str("  }\n");
        }
        text.push_str("}\n");
    }
    text
}

/// The text for iptables-restore, of one family.
pub fn iptables(dice: &mut Dice, v6: bool, legacy: bool) -> String {
    let mut text = "*filter\n".to_owned();
    for chain in ["INPUT", "FORWARD", "OUTPUT"] {
        let _ = writeln!(text, ":{chain} {} [0:0]", if dice.one_in(5) { "DROP" } else { "ACCEPT" });
    }
    text.push_str(":mine - [0:0]\n:inner - [0:0]\n");
    for chain in ["INPUT", "OUTPUT", "INPUT", "OUTPUT", "FORWARD", "mine", "inner", "INPUT", "OUTPUT"] {
        let mut line = String::new();
        for _ in 0..1 + dice.below(2) {
            let one =
                if dice.one_in(4) { rare::iptables_match(dice, chain, v6) } else { iptables_match(dice, chain, v6) };
            // One protocol for each rule.
            if line.contains("-p ") && (one.contains("-p ") || one.contains("multiport")) || line.contains(&one) {
                continue;
            }
            let _ = write!(line, " {one}");
        }
        let rare = rare::iptables_target(dice, v6);
        let target = match (dice.below(9), chain) {
            (0 | 1, _) => "ACCEPT",
            (2 | 3, _) => "DROP",
            (4, _) => "REJECT",
            (5, "INPUT" | "OUTPUT" | "FORWARD") => "mine",
            (6, "INPUT" | "OUTPUT" | "mine") => "inner",
            (8, _) => rare.as_str(),
            (7, _) if line.contains("-p tcp") => "REJECT --reject-with tcp-reset",
            _ => "RETURN",
        };
        let jump = if target == "inner" && dice.one_in(3) { "-g" } else { "-j" };
        let _ = writeln!(text, "-A {chain}{line} {jump} {target}");
    }
    text.push_str("COMMIT\n");
    if dice.one_in(2) {
        iptables_rest(dice, v6, legacy, &mut text);
    }
    text
}

fn iptables_rest(dice: &mut Dice, v6: bool, legacy: bool, text: &mut String) {
    let far = if v6 { "[fd09:2::2]:25" } else { "10.9.2.2:25" };
    text.push_str(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n",
    );
    let _ = match dice.below(5) {
        0 => writeln!(text, "-A PREROUTING -p tcp -m tcp --dport {} -j DNAT --to-destination {far}", dice.port()),
        1 => writeln!(text, "-A PREROUTING -m addrtype --dst-type LOCAL -p tcp -j REDIRECT --to-ports {}", dice.port()),
        2 => writeln!(text, "-A OUTPUT -p tcp -m tcp --dport {} -j REDIRECT --to-ports 2525", dice.port()),
        3 => writeln!(text, "-A POSTROUTING -o a0 -j MASQUERADE"),
        _ => writeln!(text, "-A PREROUTING -i a0 -p udp -m udp --dport 53 -j REDIRECT --to-ports 8025"),
    };
    if dice.one_in(3) {
        text.push_str(&rare::iptables_nat(dice, v6));
    }
    text.push_str("COMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    if dice.one_in(2) {
        text.push_str(&rare::iptables_mangle(dice));
    }
    let _ = writeln!(text, "-A OUTPUT -p tcp -m tcp --dport {} -j MARK --set-xmark 0x5/0xffffffff", dice.port());
    let _ = writeln!(text, "-A PREROUTING -p tcp -m tcp --dport {} -j MARK --set-xmark 0x5/0xf", dice.port());
    text.push_str("COMMIT\n*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    if dice.one_in(2) {
        let _ = writeln!(
            text,
            "-A PREROUTING -p udp -m udp --dport {} -j {}",
            dice.port(),
            if legacy { "NOTRACK" } else { "CT --notrack" }
        );
    }
    if dice.one_in(3) {
        let _ = writeln!(text, "-A PREROUTING -m rpfilter --invert -j DROP");
    }
    text.push_str("COMMIT\n");
}

fn iptables_match(dice: &mut Dice, chain: &str, v6: bool) -> String {
    let not = if dice.one_in(5) { "! " } else { "" };
    let network = if v6 {
        dice.pick(&["fd09:1::/64", "fd09:1::2/128", "fd08::/16"])
    } else {
        dice.pick(&["10.9.1.0/24", "10.9.1.2/32", "10.8.0.0/255.255.0.0", "127.0.0.0/8"])
    };
    let output = chain == "OUTPUT";
    match dice.below(20) {
        0..4 => format!("-p tcp -m tcp {not}--dport {}", dice.port()),
        4 => format!("-p udp -m udp {not}--dport {}", dice.port()),
        5 => format!("-p tcp -m tcp {not}--dport 25:587"),
        6 => format!("-p tcp -m multiport {not}--dports 25,465:600,{}", dice.port()),
        7 => format!("{not}-s {network}"),
        8 => format!("{not}-d {network}"),
        9 if output => format!("{not}-o {}", dice.pick(&["a0", "a+", "lo"])),
        9 if chain == "INPUT" || chain == "FORWARD" => format!("{not}-i {}", dice.pick(&["a0", "a+", "lo"])),
        10 => format!(
            "-m conntrack {not}--ctstate {}",
            dice.pick(&["NEW", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED", "DNAT"])
        ),
        11 => format!("-m state --state {}", dice.pick(&["NEW", "RELATED,ESTABLISHED"])),
        12 if output => format!("-m owner {not}--uid-owner {}", dice.pick(&["1000", "0", "1000-2000"])),
        12 => format!("-m mark {not}--mark 0x5/0xf"),
        13 if output => format!("-m owner {not}--gid-owner 8"),
        13 | 14 => format!("-m mark {not}--mark 0x5"),
        15 => format!("-m addrtype {not}--dst-type LOCAL"),
        16 if dice.one_in(2) => "-m recent --update --seconds 30 --hitcount 20 --name DEFAULT --rsource".to_owned(),
        16 => "-m limit --limit 1000/sec --limit-burst 1000".to_owned(),
        17 if !v6 => format!("-m iprange {not}--src-range 10.9.1.1-10.9.1.9"),
        17 => format!("-m iprange {not}--src-range fd09:1::1-fd09:1::9"),
        18 => format!("-p tcp -m tcp {not}--tcp-flags FIN,SYN,RST,ACK SYN"),
        _ => "-m comment --comment \"a -j DROP \\\"comment\\\"\"".to_owned(),
    }
}
