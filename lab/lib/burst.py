"""Bursts of clients that connect and leave at once, again and again, until standard input ends.

usage: burst.py ADDRESS PORT PER_BURST PAUSE_SECONDS
All connects of a burst are started before any is awaited, so they reach the listener together. Says "ready" after the
first ten bursts.
"""
import select
import socket
import sys

address, port, per_burst, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
bursts = 0
while True:
    clients = []
    for _ in range(per_burst):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((address, port))
        clients.append(client)
    # The pause is also the look at standard input.
    if select.select([sys.stdin], [], [], pause)[0] and not sys.stdin.readline():
        break
    for client in clients:
        client.close()
    bursts += 1
    if bursts == 10:
        print("ready", flush=True)
