"""Talks SMTP on many connections at once, EHLO after EHLO, and keeps them until standard input ends. Says "ready" when
each has had all its replies.

usage: chat.py SESSIONS ROUNDS ADDRESS PORT --from ADDRESS…
"""
import argparse
import selectors
import socket
import sys

options = argparse.ArgumentParser()
options.add_argument("sessions", type=int)
options.add_argument("rounds", type=int)
options.add_argument("address")
options.add_argument("port", type=int)
options.add_argument("--from", dest="sources", nargs="+", required=True)
o = options.parse_args()

selector = selectors.DefaultSelector()
held, done = [], 0
for number in range(o.sessions):
    source = (o.sources[number % len(o.sources)], 0)
    connection = socket.create_connection((o.address, o.port), timeout=30, source_address=source)
    held.append(connection)
    selector.register(connection, selectors.EVENT_READ, [0, b""])
while done < o.sessions:
    events = selector.select(60)
    if not events:
        sys.exit(f"{done} of {o.sessions} sessions are through, and nothing more comes")
    for key, _ in events:
        state = key.data
        got = key.fileobj.recv(4096)
        if not got:
            sys.exit(f"closed after {state[0]} rounds: {state[1]!r}")
        state[1] += got
        # The last line of a reply has a blank behind its code.
        lines = state[1].split(b"\r\n")
        if not any(line[3:4] == b" " for line in lines[:-1]):
            continue
        if state[0] == o.rounds:
            selector.unregister(key.fileobj)
            done += 1
        else:
            state[0], state[1] = state[0] + 1, b""
            key.fileobj.sendall(b"EHLO peer.elsewhere.example\r\n")
print("ready", flush=True)
sys.stdin.read()
