"""A time server whose time is off by SECONDS.

usage: timeserver.py LISTEN SECONDS
Says "ready" when it listens, and ends when standard input does.
"""
import select
import socket
import struct
import sys
import time

NTP_EPOCH = 2208988800
listen, seconds = sys.argv[1], float(sys.argv[2])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((listen, 123))
print("ready", flush=True)


def stamp(moment):
    moment += NTP_EPOCH + seconds
    return struct.pack("!II", int(moment) & 0xFFFFFFFF, int(moment % 1 * 2**32))


while True:
    readable, _, _ = select.select([server, sys.stdin], [], [])
    if sys.stdin in readable and not sys.stdin.buffer.read1(1):
        break
    if server in readable:
        query, client = server.recvfrom(512)
        if len(query) < 48:
            continue
        now = stamp(time.time())
        # RFC 5905, section 7.3: no leap second, version 4, server; stratum 1; precision 2^-20.
        head = struct.pack("!BBbb", 0x24, 1, query[2] if query[2] < 128 else 6, -20)
        root = struct.pack("!II4s", 0, 0, b"GPS\0")
        server.sendto(head + root + now + query[40:48] + now + stamp(time.time()), client)
