"""Mail readers that wait: logs in by IMAP many times, each ending in IDLE, until standard input ends.

usage: idle.py COUNT ADDRESS USER PASSWORD
"""
import selectors
import socket
import sys

count, address, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
# So many logins in flight at once: the server is to be busy with readers, not with a storm of them.
IN_FLIGHT = 40
STEPS = [b"* OK", b"a OK", b"b OK", b"+ "]
SAY = [f"a LOGIN {user} {password}\r\n".encode(), b"b SELECT INBOX\r\n", b"c IDLE\r\n", None]
selector = selectors.DefaultSelector()
held, begun, done = [], 0, 0
while done < count:
    while begun < count and begun - done < IN_FLIGHT:
        connection = socket.create_connection((address, 143), timeout=20)
        held.append(connection)
        selector.register(connection, selectors.EVENT_READ, [0, b""])
        begun += 1
    events = selector.select(30)
    if not events:
        sys.exit(f"{done} of {count} readers idle, and nothing more happens")
    for key, _ in events:
        state = key.data
        got = key.fileobj.recv(4096)
        if not got:
            sys.exit(f"closed at step {state[0]} after {done} readers: {state[1]!r}")
        state[1] += got
        if b"NO " in state[1] or b"BAD " in state[1]:
            sys.exit(f"refused: {state[1]!r}")
        if any(line.startswith(STEPS[state[0]]) for line in state[1].split(b"\r\n")[:-1]):
            say = SAY[state[0]]
            state[0], state[1] = state[0] + 1, b""
            if say is None:
                selector.unregister(key.fileobj)
                done += 1
            else:
                key.fileobj.sendall(say)
print("ready", flush=True)
sys.stdin.read()
