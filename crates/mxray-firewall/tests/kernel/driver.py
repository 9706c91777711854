"""Loads rulesets into a network namespace of its own, sends real packets, and says what became of each.

Reads cases as JSON on standard input, one per line, and answers each with one line. Run behind `unshare --net`. Three hosts:
"a" has the rulesets, "b" and "c" are its neighbours. Nothing leaves the machine, and all of it ends with this process.
"""

import ctypes
import errno
import json
import os
import select
import socket
import struct
import subprocess
import sys

CLONE_NEWNET = 0x40000000
PORTS = [25, 53, 465, 587, 2525, 8025]
libc = ctypes.CDLL(None, use_errno=True)


def check(code, what):
    if code != 0:
        raise OSError(ctypes.get_errno(), what)


def run(*words, stdin=""):
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """A network namespace: this process's own, or a new one, held by a child that ends with this process."""

    def __init__(self, name, new):
        self.name = name
        if new:
            check(libc.unshare(CLONE_NEWNET), "unshare")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        run("ip", "link", "set", "lo", "up")

    def enter(self):
        check(libc.setns(self.fd, CLONE_NEWNET), "setns")

    def end(self):
        self.child.stdin.close()
        self.child.wait()


def sysctl(name, value):
    with open("/proc/sys/net/" + name, "w", encoding="ascii") as file:
        file.write(value)


def prepare(hosts):
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    a.enter()
    for link, peer, host in (("a0", "b0", b), ("a1", "c0", c)):
        run("ip", "link", "add", link, "type", "veth", "peer", "name", peer)
        run("ip", "link", "set", peer, "netns", str(host.child.pid))
    plan = {
        "a": [("a0", "10.9.1.1/24", "fd09:1::1/64"), ("a1", "10.9.2.1/24", "fd09:2::1/64")],
        "b": [("b0", "10.9.1.2/24", "fd09:1::2/64"), ("b0", "10.8.0.5/32", "fd08::5/128")],
        "c": [("c0", "10.9.2.2/24", "fd09:2::2/64")],
    }
    macs = {}
    for name, links in plan.items():
        hosts[name].enter()
        for link, four, six in links:
            for key in ("accept_dad", "autoconf", "accept_ra"):
                sysctl(f"ipv6/conf/{link}/{key}", "0")
            run("ip", "link", "set", link, "up")
            run("ip", "address", "add", four, "dev", link)
            run("ip", "address", "add", six, "dev", link, "nodad")
        for line in run("ip", "-o", "link").splitlines():
            words = line.split()
            macs[words[1].split("@")[0].rstrip(":")] = words[words.index("link/ether") + 1] if "link/ether" in words else ""
    for name, link, peer, addresses in (
        ("a", "a0", "b0", ["10.9.1.2", "fd09:1::2"]),
        ("a", "a1", "c0", ["10.9.2.2", "fd09:2::2"]),
        ("b", "b0", "a0", ["10.9.1.1", "fd09:1::1"]),
        ("c", "c0", "a1", ["10.9.2.1", "fd09:2::1"]),
    ):
        hosts[name].enter()
        for address in addresses:
            run("ip", "neigh", "replace", address, "lladdr", macs[peer], "dev", link, "nud", "permanent")
    for name, four, six in (("b", "10.9.1.1", "fd09:1::1"), ("c", "10.9.2.1", "fd09:2::1")):
        hosts[name].enter()
        run("ip", "route", "add", "default", "via", four)
        run("ip", "-6", "route", "add", "default", "via", six)
    a.enter()
    run("ip", "route", "add", "10.8.0.0/24", "via", "10.9.1.2")
    run("ip", "-6", "route", "add", "fd08::/64", "via", "fd09:1::2")
    for host in hosts.values():
        host.enter()
        sysctl("ipv4/ip_forward", "1")
        sysctl("ipv6/conf/all/forwarding", "1")
        sysctl("ipv4/icmp_ratelimit", "0")
        sysctl("ipv6/icmp/ratelimit", "0")
        for link in os.listdir("/proc/sys/net/ipv4/conf"):
            sysctl(f"ipv4/conf/{link}/rp_filter", "0")
            sysctl(f"ipv4/conf/{link}/accept_local", "1")
            sysctl(f"ipv4/conf/{link}/route_localnet", "1")


def listen(hosts):
    """One listener for each port, protocol, family and host."""
    tcp, udp = [], []
    for name, host in hosts.items():
        host.enter()
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in PORTS:
                for kind, into in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
                    one = socket.socket(family, kind)
                    one.setblocking(False)
                    if family == socket.AF_INET6:
                        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind(("", port))
                    if kind == socket.SOCK_STREAM:
                        one.listen(512)
                    into.append((name, port, one))
    return tcp, udp


# Behind all other chains of input: which connections began here, whatever becomes of the answer.
WATCH = """table inet watch {
  set arrived { type inet_service . inet_service; flags dynamic, timeout; timeout 20s; size 65535; }
  chain last {
    type filter hook input priority 2147483647; policy accept;
    tcp flags & (syn | ack) == syn add @arrived { tcp sport . tcp dport }
  }
}
"""
NETLINK = {}


def attributes(bytes_):
    at = 0
    while at + 4 <= len(bytes_):
        length, kind = struct.unpack_from("=HH", bytes_, at)
        yield kind & 0x3FFF, bytes_[at + 4 : at + length]
        at += (length + 3) & ~3


def attribute(kind, value):
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def ask(one, datagrams, kind, family=0, body=b""):
    """One dump: its datagrams, and the bodies of its messages."""
    found = []
    one.send(struct.pack("=IHHII", 20 + len(body), 0x0A00 | kind, 0x301, 1, 0) + struct.pack("=BBH", family, 0, 0) + body)
    while True:
        datagram = one.recv(1 << 18)
        datagrams.append(datagram.hex())
        at = 0
        while at + 16 <= len(datagram):
            length, what = struct.unpack_from("=IH", datagram, at)
            if what in (2, 3):
                return found
            found.append(datagram[at + 16 : at + length])
            at += (length + 3) & ~3


def dump():
    """nf_tables' messages, as hexadecimal digits: one datagram each."""
    one = NETLINK["a"]
    datagrams = []
    ask(one, datagrams, 1)
    for message in ask(one, datagrams, 10):
        found = dict(attributes(message[4:]))
        ask(one, datagrams, 13, message[0], attribute(1, found[1]) + attribute(2, found[2]))
    for kind in (19, 4, 7):
        ask(one, datagrams, kind)
    return datagrams


def connections():
    """Source ports of connections that began, with the host and the port that they are for."""
    found = {}
    for name, one in NETLINK.items():
        for message in ask(one, [], 13, 1, attribute(1, b"watch\0") + attribute(2, b"arrived\0")):
            for element in attributes(dict(attributes(message[4:])).get(3, b"")):
                key = dict(attributes(dict(attributes(element[1]))[1]))[1]
                found[int.from_bytes(key[:2], "big")] = (name, int.from_bytes(key[4:6], "big"))
    return found


def load(case):
    answer = {"messages": [], "save4": "", "save6": ""}
    if case["kind"] == "nft":
        run("nft", "-f", "-", stdin="flush ruleset\n" + WATCH + case["text"])
    else:
        run("nft", "-f", "-", stdin="flush ruleset\n" + WATCH)
        flavour = "legacy" if case["kind"] == "legacy" else "nft"
        for tool, text in (("iptables", case["text4"]), ("ip6tables", case["text6"])):
            run(f"{tool}-{flavour}-restore", stdin=text)
        if flavour == "legacy":
            answer["save4"] = run("iptables-legacy-save", "-c")
            answer["save6"] = run("ip6tables-legacy-save", "-c")
    answer["messages"] = dump()
    if case.get("list"):
        answer["list"] = run("nft", "--stateless", "list", "ruleset")
        answer["json"] = json.loads(run("nft", "--json", "list", "ruleset"))
    return answer


EMPTY = "".join(
    f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
    for table, chains in (
        ("raw", ["PREROUTING", "OUTPUT"]),
        ("mangle", ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
        ("nat", ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
        ("filter", ["INPUT", "FORWARD", "OUTPUT"]),
    )
)


def unload(kind):
    """Of nf_tables the next case flushes everything itself."""
    if kind == "legacy":
        run("iptables-legacy-restore", stdin=EMPTY)
        run("ip6tables-legacy-restore", stdin=EMPTY)


def send(hosts, packet):
    """Sends one packet and gives the socket, and the error that came at once."""
    hosts[packet["from"]].enter()
    family = socket.AF_INET6 if ":" in packet["destination"] else socket.AF_INET
    kind = socket.SOCK_STREAM if packet["protocol"] == "tcp" else socket.SOCK_DGRAM
    os.setegid(packet["gid"])
    os.seteuid(packet["uid"])
    one = socket.socket(family, kind)
    os.seteuid(0)
    os.setegid(0)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if packet["mark"]:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, packet["mark"])
    one.bind((packet["source"], packet["source_port"]))
    error = one.connect_ex((packet["destination"], packet["destination_port"]))
    if kind == socket.SOCK_DGRAM and error == 0:
        try:
            one.send(b"mxray %d" % packet["source_port"])
        except OSError as refused:
            error = refused.errno
    return one, error


def outcome(listeners, packets, sent, seen, patience):
    """Looks until all packets have an end, or nothing new is seen for as long as `patience`."""
    tcp, udp = listeners
    by_fd = {one.fileno(): (name, port, one) for name, port, one in udp}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    for packet in packets:
        if packet["source_port"] not in seen and packet["protocol"] == "tcp":
            poll.register(sent[packet["source_port"]][0].fileno(), select.POLLOUT | select.POLLERR)
    waiting = patience
    while len(seen) < len(packets):
        before = len(seen)
        for fd, _ in poll.poll(waiting):
            if fd in by_fd:
                name, port, one = by_fd[fd]
                while True:
                    try:
                        text = one.recv(64)
                    except BlockingIOError:
                        break
                    seen.setdefault(int(text.split()[1]), {"host": name, "port": port})
            else:
                poll.unregister(fd)
        arrived = connections()
        for packet in packets:
            port = packet["source_port"]
            one, error = sent[port]
            if port in seen:
                continue
            if port in arrived and packet["protocol"] == "tcp":
                seen[port] = {"host": arrived[port][0], "port": arrived[port][1]}
                continue
            failed = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error in (0, errno.EINPROGRESS):
                error = failed
            if error:
                seen[port] = {"error": errno.errorcode.get(error, str(error))}
        if len(seen) == before:
            break
    return seen


def play(hosts, listeners, case):
    hosts["a"].enter()
    try:
        answer = load(case)
    except RuntimeError as error:
        return {"refused": str(error)}
    sent, seen = {}, {}
    packets = case["packets"]
    for packet in packets:
        sent[packet["source_port"]] = send(hosts, packet)
    outcome(listeners, packets, sent, seen, case["patience"])
    for one, _ in sent.values():
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    for _, _, one in listeners[0]:
        while True:
            try:
                accepted, _ = one.accept()
            except OSError:
                break
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
    hosts["a"].enter()
    unload(case["kind"])
    answer["packets"] = {str(port): what for port, what in seen.items()}
    return answer


def main():
    hosts = {"a": Host("a", False), "b": Host("b", True), "c": Host("c", True)}
    try:
        prepare(hosts)
        listeners = listen(hosts)
        for name in ("b", "c", "a"):
            hosts[name].enter()
            NETLINK[name] = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
            run("nft", "-f", "-", stdin=WATCH)
        indexes = {}
        for line in run("ip", "-o", "link").splitlines():
            number, name = line.split(": ")[:2]
            indexes[name.split("@")[0]] = int(number)
        print(json.dumps({"indexes": indexes}), flush=True)
        for line in sys.stdin:
            print(json.dumps(play(hosts, listeners, json.loads(line))), flush=True)
    finally:
        for host in hosts.values():
            host.end()


main()
