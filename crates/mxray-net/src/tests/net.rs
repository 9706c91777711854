//! A small Internet of network namespaces: client - r1 - r2 - r3 - server, over IPv4 and IPv6. It is gone with its value.

use mxray_sys::namespace::NetworkNamespace;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The nodes in their order; the routers count as hops 1 to 3, the server is at 4.
pub const NODES: [&str; 5] = ["client", "r1", "r2", "r3", "server"];
pub const SERVER_AT: u8 = 4;

static MADE: AtomicU32 = AtomicU32::new(0);

pub struct Net {
    prefix: String,
}

impl Drop for Net {
    fn drop(&mut self) {
        for node in NODES {
            let _ = Command::new("ip").args(["netns", "del", &self.name(node)]).stderr(Stdio::null()).status();
        }
    }
}

/// The left or right end of link `link` (0: client - r1).
pub fn address(link: usize, right: bool, ipv4: bool) -> IpAddr {
    let end = if right { 2 } else { 1 };
    let text = if ipv4 { format!("10.77.{link}.{end}") } else { format!("fd77:{link}::{end}") };
    text.parse().unwrap()
}

pub fn client(ipv4: bool) -> IpAddr {
    address(0, false, ipv4)
}

pub fn server(ipv4: bool) -> IpAddr {
    address(3, true, ipv4)
}

/// The router's address towards the client, from which its errors come.
pub fn router(hop: usize, ipv4: bool) -> IpAddr {
    address(hop - 1, true, ipv4)
}

impl Net {
    /// `None`, and the reason printed, where namespaces cannot be made here.
    pub fn make(test: &str) -> Option<Net> {
        let skip = |why: &str| {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
            None
        };
        if !rustix::process::geteuid().is_root() {
            return skip("network namespaces need root");
        }
        for program in ["ip", "nft"] {
            let there = Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if there.is_err() {
                return skip(&format!("{program} is not installed"));
            }
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let net = Net { prefix: format!("mxray-way-{}-{number}", std::process::id()) };
        for node in NODES {
            let made = Command::new("ip").args(["netns", "add", &net.name(node)]).output().unwrap();
            if !made.status.success() {
                return skip(&String::from_utf8_lossy(&made.stderr));
            }
        }
        net.wire();
        Some(net)
    }

    pub fn name(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn wire(&self) {
        for (link, pair) in NODES.windows(2).enumerate() {
            let (left, right) = (self.name(pair[0]), self.name(pair[1]));
            run(&format!("ip link add right netns {left} type veth peer name left netns {right}"));
            for (name, device, is_right) in [(&left, "right", false), (&right, "left", true)] {
                let (v4, v6) = (address(link, is_right, true), address(link, is_right, false));
                run(&format!("ip -n {name} addr add {v4}/24 dev {device}"));
                run(&format!("ip -n {name} addr add {v6}/64 dev {device} nodad"));
                run(&format!("ip -n {name} link set {device} up"));
            }
        }
        for (index, node) in NODES.iter().enumerate() {
            let name = self.name(node);
            run(&format!("ip -n {name} link set lo up"));
            self.within(node, || {
                for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                    std::fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
                }
            });
            for ipv4 in [true, false] {
                if index + 1 < NODES.len() {
                    run(&format!("ip -n {name} route add default via {}", address(index, true, ipv4)));
                }
                // Everything on the left but the own link.
                for link in 0..index.saturating_sub(1) {
                    let network = if ipv4 { format!("10.77.{link}.0/24") } else { format!("fd77:{link}::/64") };
                    run(&format!("ip -n {name} route add {network} via {}", address(index - 1, false, ipv4)));
                }
            }
        }
    }

    /// Runs ip(8) in a node.
    pub fn ip(&self, node: &str, words: &str) {
        run(&format!("ip -n {} {words}", self.name(node)));
    }

    /// Adds rules to a chain of a node's own table: `filter forward`, `filter output`, `nat prerouting`.
    pub fn nft(&self, node: &str, kind: &str, hook: &str, rule: &str) {
        let priority = if kind == "nat" { "dstnat" } else { "filter" };
        let script = format!(
            "table inet t {{ chain {kind}_{hook} {{ type {kind} hook {hook} priority {priority}; policy accept; {rule}; }}; }};"
        );
        run_all("ip", &["netns", "exec", &self.name(node), "nft", &script]);
    }

    /// Runs in a node, on a thread of its own.
    pub fn within<T: Send>(&self, node: &str, look: impl FnOnce() -> T + Send) -> T {
        let namespace = NetworkNamespace::Named(self.name(node));
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                namespace.enter().unwrap();
                look()
            });
            thread.join().unwrap()
        })
    }

    /// Listens in a node, on all its addresses of the family, and of that family alone: a listener of the other one may
    /// still be held by a child that another test is about to start.
    pub fn listen(&self, node: &str, port: u16, ipv4: bool) -> TcpListener {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
        let (family, any): (_, IpAddr) = match ipv4 {
            true => (AddressFamily::INET, Ipv4Addr::UNSPECIFIED.into()),
            false => (AddressFamily::INET6, Ipv6Addr::UNSPECIFIED.into()),
        };
        self.within(node, || {
            let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
            if !ipv4 {
                sockopt::set_ipv6_v6only(&socket, true).unwrap();
            }
            rustix::net::bind(&socket, &SocketAddr::new(any, port)).unwrap();
            rustix::net::listen(&socket, 128).unwrap();
            TcpListener::from(socket)
        })
    }
}

fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    run_all(words[0], &words[1..]);
}

fn run_all(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}
