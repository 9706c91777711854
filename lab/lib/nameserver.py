"""A name server for a world of one host: every name exists but those below `nowhere`, its mail goes to that name, and its address is ANSWER.

usage: nameserver.py LISTEN ANSWER [--forever]
MX gives the name itself, A gives ANSWER, anything else exists and is empty; reverse names do not exist. Where ANSWER is
"none" no name exists, where it is "silent" nothing is answered at all, where it is "refused" everything is refused. Says
"ready" when it listens, and ends when standard input does.
"""
import select
import socket
import struct
import sys

MX, A = 15, 1
listen, answer = sys.argv[1:3]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((listen, 53))
print("ready", flush=True)


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
    data = b""
    if answer == "refused":
        pass
    elif exists and kind == MX:
        data = struct.pack("!H", 10) + b"\xc0\x0c"
    elif exists and kind == A:
        data = socket.inet_aton(answer)
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data if data else b""
    # Response, authoritative, recursion desired and available; 3 is NXDOMAIN.
    flags = 0x8185 if answer == "refused" else 0x8580 | (0 if exists else 3)
    return struct.pack("!HHHHHH", number, flags, questions and 1, 1 if data else 0, 0, 0) + question + record


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
