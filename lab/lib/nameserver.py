"""A name server for a world of one host: every name exists but those below `nowhere`, its mail goes to that name, and its address is ANSWER.

usage: nameserver.py LISTEN ANSWER [--forever]
MX gives the name itself, A gives ANSWER, anything else exists and is empty. Every address has a name that leads back to it, and
names of /etc/hosts have their first address there, as hosts on the Internet do. Where ANSWER is "none" no other name exists, where it is "silent" nothing is answered at all, where it is "refused" everything is refused, and
where it is a file its lines are all there is: `NAME MX PREFERENCE HOST`, `NAME A ADDRESS`, `NAME AAAA ADDRESS`. Says
"ready" when it listens, and ends when standard input does.
"""
import os
import select
import socket
import struct
import sys

A, PTR, MX, AAAA = 1, 12, 15, 28
listen, answer = sys.argv[1:3]
zone = {}
if os.path.isfile(answer):
    for line in open(answer):
        if words := line.split():
            zone.setdefault(words[0].lower(), []).append(words[1:])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((listen, 53))
print("ready", flush=True)


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


def of_zone(name, kind):
    """The data of all records of this name and type."""
    for words in zone.get(name, []):
        if words[0] == "A" and kind == A:
            yield socket.inet_aton(words[1])
        elif words[0] == "AAAA" and kind == AAAA:
            yield socket.inet_pton(socket.AF_INET6, words[1])
        elif words[0] == "MX" and kind == MX:
            yield struct.pack("!H", int(words[1])) + wire_name(words[2])


def hosts_file(wanted):
    """The first address of a name, as the file has it now."""
    for line in open("/etc/hosts", errors="replace"):
        address, *names = line.split("#")[0].split() or [""]
        if wanted in [name.lower() for name in names]:
            return address
    return None


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def of_host(labels, kind):
    """The name of an address, the address of such a name, or that of a name in /etc/hosts."""
    name = b".".join(labels).decode("ascii", "replace")
    if kind == PTR and labels[-2:] == [b"in-addr", b"arpa"] and len(labels) == 6:
        return wire_name("-".join(["host"] + name.split(".")[3::-1]) + ".reverse.example")
    if kind == PTR and labels[-2:] == [b"ip6", b"arpa"] and len(labels) == 34:
        return wire_name("h" + "".join(name.split(".")[31::-1]) + ".reverse.example")
    if labels[1:] == [b"reverse", b"example"]:
        first = labels[0].decode("ascii", "replace")
        if kind == A and first.startswith("host-"):
            return socket.inet_aton(".".join(first.split("-")[1:]))
        if kind == AAAA and len(first) == 33:
            return bytes.fromhex(first[1:])
    address = hosts_file(name)
    return packed(address) if address and kind == (AAAA if ":" in address else A) else None


def reply(query):
    number, _, questions = struct.unpack("!HHH", query[:6])
    end = 12
    labels = []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]].lower())
        end += 1 + query[end]
    kind, _ = struct.unpack("!HH", query[end + 1 : end + 5])
    question = query[12 : end + 5]
    exists = labels[-1:] != [b"arpa"] and b"nowhere" not in labels and answer != "none"
    # Nobody in this world is below the large registries: whoever asks there looks for a resolver that makes names up.
    exists = exists and labels[-1:] not in ([b"com"], [b"net"])
    # The lab's own domain is not published here; only its hosts have addresses.
    if labels[-2:] == [b"harbour", b"example"] and (len(labels) == 2 or b"_domainkey" in labels or labels[0][:1] == b"_"):
        exists = False
    found = []
    if answer == "refused":
        pass
    elif zone:
        name = b".".join(labels).decode()
        exists = name in zone
        found = list(of_zone(name, kind))
    if not found and answer not in ("refused", "silent") and kind in (A, AAAA, PTR):
        own = of_host(labels, kind)
        if own is not None:
            exists, found = True, [own]
    if found or answer == "refused":
        pass
    elif exists and not zone and kind == MX:
        found = [struct.pack("!H", 10) + b"\xc0\x0c"]
    elif exists and not zone and kind == A:
        found = [socket.inet_aton(answer)]
    record = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data for data in found)
    # Response, authoritative, recursion desired and available; 3 is NXDOMAIN.
    flags = 0x8185 if answer == "refused" else 0x8580 | (0 if exists else 3)
    return struct.pack("!HHHHHH", number, flags, questions and 1, len(found), 0, 0) + question + record


waits = [server] if "--forever" in sys.argv else [server, sys.stdin]
while True:
    readable, _, _ = select.select(waits, [], [])
    if sys.stdin in readable and not sys.stdin.buffer.read1(1):
        break
    if server in readable:
        query, client = server.recvfrom(4096)
        if answer == "silent":
            continue
        try:
            server.sendto(reply(query), client)
        except (IndexError, struct.error):
            continue
