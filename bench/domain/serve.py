"""A name server for bench/domain: every answer takes DELAY milliseconds, any number of them at a time. Says "ready"; at its end,
the number of questions.

usage: serve.py ADDRESS DELAY LINKS
Its world: bench.example with what a mail domain publishes, and an SPF record that is LINKS includes long, one behind the other.
"""
import heapq
import select
import signal
import socket
import struct
import sys
import time

A, NS, SOA, MX, TXT, AAAA, SRV, TLSA = 1, 2, 6, 15, 16, 28, 33, 52


def wire(name):
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def text(value):
    data = value.encode()
    return b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255))


def world(own, links):
    """Records by name, then type."""
    zone, records = "bench.example", {}

    def put(name, kind, *data):
        records.setdefault(name, {}).setdefault(kind, []).extend(data)

    address = socket.inet_aton(own)
    soa = wire("ns1." + zone) + wire("hostmaster." + zone) + struct.pack("!IIIII", 1, 3600, 600, 86400, 60)
    for apex in (zone, "reports.example", "example"):
        put(apex, SOA, soa)
        put(apex, NS, wire("ns1." + zone), wire("ns2." + zone))
    for host in ("ns1", "ns2"):
        put(f"{host}.{zone}", A, address)
    put(zone, MX, struct.pack("!H", 10) + wire("mx1." + zone), struct.pack("!H", 20) + wire("mx2." + zone))
    for host, last in (("mx1", 25), ("mx2", 26), ("host", 27)):
        put(f"{host}.{zone}", A, bytes([203, 0, 113, last]))
        put(f"{host}.{zone}", AAAA, socket.inet_pton(socket.AF_INET6, f"2001:db8:113::{last}"))
        put(f"{last}.113.0.203.in-addr.arpa", 12, wire(f"{host}.{zone}"))
    for host in ("mx1", "mx2"):
        put(f"_25._tcp.{host}.{zone}", TLSA, bytes([3, 1, 1]) + bytes(32))
    names = [zone] + [f"s{link}.{zone}" for link in range(1, links + 1)]
    for name, following in zip(names, names[1:]):
        put(name, TXT, text(f"v=spf1 include:{following} -all"))
    put(names[-1], TXT, text(f"v=spf1 a:host.{zone} -all"))
    put(f"_dmarc.{zone}", TXT, text("v=DMARC1; p=reject; rua=mailto:dmarc@reports.example"))
    put(f"{zone}._report._dmarc.reports.example", TXT, text("v=DMARC1"))
    put("reports.example", MX, struct.pack("!H", 10) + wire("mx1." + zone))
    put(f"_smtp._tls.{zone}", TXT, text("v=TLSRPTv1; rua=mailto:tls@" + zone))
    put(f"_submissions._tcp.{zone}", SRV, struct.pack("!HHH", 0, 1, 465) + wire("mx1." + zone))
    put(f"_imaps._tcp.{zone}", SRV, struct.pack("!HHH", 0, 1, 993) + wire("mx1." + zone))
    return records


def reply(query, records):
    end, labels = 12, []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]].decode("latin-1").lower())
        end += 1 + query[end]
    (kind,) = struct.unpack("!H", query[end + 1 : end + 3])
    question, name = query[12 : end + 5], ".".join(labels)
    known = records.get(name)
    exists = known is not None or any(other.endswith("." + name) for other in records) or not name
    found = (known or {}).get(kind, [])
    answers = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data for data in found)
    # A question with EDNS is answered with it (RFC 6891 section 6.1.1).
    edns = query[10:12] != b"\0\0"
    more = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if edns else b""
    flags = 0x8580 | (0 if exists else 3)
    return query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, int(edns)) + question + answers + more


def main():
    own, delay, links = sys.argv[1], float(sys.argv[2]) / 1000, int(sys.argv[3])
    records = world(own, links)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind((own, 53))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    waiting, count = [], 0
    try:
        while True:
            rest = max(0, waiting[0][0] - time.monotonic()) if waiting else None
            if select.select([server], [], [], rest)[0]:
                query, client = server.recvfrom(4096)
                count += 1
                heapq.heappush(waiting, (time.monotonic() + delay, count, reply(query, records), client))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, packet, client = heapq.heappop(waiting)
                server.sendto(packet, client)
    finally:
        print(count, flush=True)


main()
