"""Opens connections and keeps them until standard input ends. Says "ready" when all of them stand.

usage: hold.py COUNT ADDRESS PORT [--greeted N] [--from ADDRESS…] [--forever]
--greeted N waits until exactly the first N greetings have come (Postfix under a process limit greets no more).
--forever goes on without standard input, as a service of the host does.
"""
import argparse
import selectors
import socket
import sys
import time

options = argparse.ArgumentParser()
options.add_argument("count", type=int)
options.add_argument("address")
options.add_argument("port", type=int)
options.add_argument("--from", dest="sources", nargs="+", default=[""])
options.add_argument("--greeted", type=int, default=0)
options.add_argument("--forever", action="store_true")
options.add_argument("--limit", type=float, default=40)
o = options.parse_args()

held = []
selector = selectors.DefaultSelector()
end = time.monotonic() + o.limit
for number in range(o.count):
    source = (o.sources[number % len(o.sources)], 0)
    connection = socket.create_connection((o.address, o.port), timeout=10, source_address=source)
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ)
    held.append(connection)
greeted = 0
while greeted < o.greeted:
    if time.monotonic() > end:
        sys.exit(f"{greeted} of {o.greeted} greetings came")
    for key, _ in selector.select(0.2):
        if not key.fileobj.recv(512):
            sys.exit("a held connection was closed by the server")
        selector.unregister(key.fileobj)
        greeted += 1
print("ready", flush=True)
while o.forever:
    time.sleep(3600)
sys.stdin.read()
