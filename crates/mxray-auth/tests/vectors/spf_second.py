# Records of chance, and what pyspf makes of them: scenarios in the form of the OpenSPF suite, a line each, as JSON, which is YAML.
#
# There are no aliases: pyspf counts what is void behind one twice (section 4.6.4 has it once).
#
# usage: spf_second.py PYSPF-SOURCE HOW-MANY SEED
import json
import random
import sys
import types

# pyspf wants a library for DNS, and is given its answers from here.
stub = types.ModuleType("DNS")
stub.Type = types.SimpleNamespace(SPF=99)
stub.DiscoverNameServers = lambda: None
sys.modules["dns"], sys.modules["DNS"] = None, stub
sys.path.insert(0, sys.argv[1])

import socket  # noqa: E402

import spf  # noqa: E402

dice = random.Random(int(sys.argv[3]))
NAMES = ["n%d.example.com" % n for n in range(8)]
GONE = ["gone1.example.com", "gone2.example.com"]
V4 = ["192.0.2.%d" % n for n in (1, 2, 65, 129, 200)]
V6 = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"]
zone = {}


def lookup(name, kind, *_, **__):
    name = name.lower().rstrip(".")
    for entry in zone.get(name, []):
        ((of, value),) = entry.items()
        if of != kind:
            continue
        if of == "AAAA":
            value = socket.inet_pton(socket.AF_INET6, value)
        elif of == "TXT":
            value = tuple(part.encode() for part in value)
        elif of == "MX":
            value = tuple(value)
        yield (name, of), value


spf.DNSLookup = lookup


def name():
    return dice.choice(NAMES + GONE[: dice.randrange(3)])


def domain():
    return dice.choice([lambda: ":" + name()] * 6 + [lambda: ":%{d}", lambda: ":n%{l1r-}.example.com", lambda: ":" + name() + ".", lambda: ":" + name().upper(), lambda: ":n1.%{d2}"])()


def lengths():
    return dice.choice(["", "", "", "/24", "/32", "/0", "/26//64", "//128", "//48", "/031", "/33", "/", "//"][: dice.choice([3, 9, 13])])


def term():
    q = dice.choice(["", "", "", "+", "-", "~", "?"])
    kind = dice.randrange(22)
    if kind < 4:
        return q + "ip4:" + dice.choice(V4) + dice.choice(["", "/24", "/25", "/26", "/32", "/8", "/0"])
    if kind < 6:
        return q + "ip6:" + dice.choice(V6) + dice.choice(["", "/32", "/64", "/128", "/0"])
    if kind < 9:
        return q + dice.choice(["a", "A"]) + dice.choice(["", domain()]) + lengths()
    if kind < 12:
        return q + dice.choice(["mx", "Mx"]) + dice.choice(["", domain()]) + lengths()
    if kind < 16:
        return q + "include" + domain()
    if kind < 18:
        return q + "exists:" + dice.choice([name(), "%{i}.e.example.com", "%{ir}.%{v}.e.example.com", "%{d1r}.example.com", "%{s}.example.com", "%{h2}", "%%x%_.example.com", "%{l}.%{o}"])
    if kind < 19:
        # pyspf does not know it in capitals (section 4.6.1).
        return "redirect=" + name()
    if kind < 20:
        return q + "all"
    if kind < 21:
        return dice.choice(["moo=x", "exp=" + name(), "moo=%{d}", "x-y.z_1=a:b/c", "unknown", "ip4:1.2.3", "ip6:::1/129", "a:", "include", "all:x", "=x", "1=x", "exists:a/24", "moo=%{z}", "redirect=", "ip4=192.0.2.1", "include:n1.example.com/24", "a:n1", "a:192.0.2.1", "mx:foo..example.com"])
    return q + dice.choice(["a", "mx", "all", "ip4:192.0.2.1", "ip6:2001:db8::1"])


def record():
    text = "v=spf1" + "".join(" " * dice.choice([1, 1, 1, 2]) + term() for _ in range(dice.randrange(5)))
    text += dice.choice(["", " -all", " ~all", " ?all", " -all ", " +all"])
    cut = dice.randrange(len(text))
    return [text] if dice.randrange(4) else [text[:cut], text[cut:]]


def entries(of):
    out = []
    if dice.randrange(10) < 8:
        out.append({"TXT": record()})
    if not dice.randrange(25):
        out.append({"TXT": record()})
    if not dice.randrange(8):
        out.append({"TXT": [dice.choice(["v=spf10 -all", " v=spf1 -all", "spf2.0/pra -all", "hello", "v=spf1;"])]})
    for _ in range(dice.randrange(3)):
        out.append({"A": dice.choice(V4)})
    for _ in range(dice.randrange(2)):
        out.append({"AAAA": dice.choice(V6)})
    for n in range(dice.choice([0, 0, 1, 2, 3, 11 if not dice.randrange(4) else 1])):
        out.append({"MX": [n, name()]})
    return out


for number in range(int(sys.argv[2])):
    zone = {of: entries(of) for of in NAMES}
    zone["192.0.2.1.e.example.com"] = [{"A": "127.0.0.2"}]
    zone["1.2.0.192.in-addr.e.example.com"] = [{"A": "127.0.0.2"}]
    tests = {}
    for test in range(4):
        host, sender, helo = dice.choice(V4 + V6), dice.choice(["foo@", "n1@", "a-b@", ""]) + dice.choice(NAMES), dice.choice(NAMES)
        result, _, why = spf.query(i=host, s=sender, h=helo, receiver="receiver.example", strict=True).check()
        tests["t%d" % test] = {"host": host, "mailfrom": sender, "helo": helo, "result": result, "why": why}
    print("---\n" + json.dumps({"description": "%d" % number, "zonedata": zone, "tests": tests}))
