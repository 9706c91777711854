"""Begins exchanges over UDP with more and more ports and addresses, and again from the first when the kernel's table of
tracked connections is full. Ends when standard input does.

usage: flows.py NETWORK
NETWORK is the first three numbers of a /24 (198.51.100). Says "ready" when the table is full.
"""
import itertools
import select
import socket
import sys

TRACKED = "/proc/sys/net/netfilter/nf_conntrack_"
BATCH = 4000


def number(name):
    with open(TRACKED + name, encoding="ascii") as setting:
        return int(setting.read())


limit = number("max")
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peers = itertools.cycle((f"{sys.argv[1]}.{host}", port) for host in range(100, 200) for port in range(1024, 60000))
said = False
while not select.select([sys.stdin], [], [], 0)[0]:
    for peer in itertools.islice(peers, BATCH):
        try:
            sender.sendto(b"", peer)
        except (PermissionError, ConnectionRefusedError):
            # A full table, or an answer that the port is closed.
            continue
    if not said and number("count") * 100 >= limit * 99:
        said = True
        print("ready", flush=True)
