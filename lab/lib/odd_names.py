"""A name server as nobody should run one. What it does to a question is the first label of the zone, below `example`:

silent      says nothing
servfail    fails
refused     refuses: the zone was delegated to it and is not there
lame        answers without authority, from nothing
truncated   says by UDP that the answer is longer, and nobody listens for TCP
late        answers after four seconds: MX, addresses, SPF and DMARC as they should be
noedns      the same at once, and FORMERR to whoever asks with EDNS(0)
notlsa      the same, and fails where it is asked for TLSA records
negative    the same, and fails where there is nothing

usage: odd_names.py ADDRESS HOST-ADDRESS --forever
"""
import socket
import struct
import sys
import threading

LATE_S = 4
A, NS, SOA, MX, TXT, TLSA = 1, 2, 6, 15, 16, 52
address, host = sys.argv[1:3]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((address, 53))


def wire_name(labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def text(words):
    return bytes([len(words)]) + words.encode()


def found(labels, kind):
    """The data of one record, in a zone in which all is well."""
    zone, below = labels[-2:], labels[:-2]
    name = b".".join(zone).decode()
    records = {
        ((), SOA): wire_name([b"ns", *zone]) + wire_name([b"hostmaster", *zone]) + struct.pack("!IIIII", 1, 3600, 600, 86400, 60),
        ((), NS): wire_name([b"ns", *zone]),
        ((), MX): struct.pack("!H", 10) + wire_name([b"mx", *zone]),
        ((), TXT): text("v=spf1 mx -all"),
        ((b"mx",), A): socket.inet_aton(host),
        ((b"ns",), A): socket.inet_aton(address),
        ((b"_dmarc",), TXT): text(f"v=DMARC1; p=reject; rua=mailto:postmaster@{name}"),
    }
    return records.get((tuple(below), kind))


def answer(query, client):
    end, labels = 12, []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]].lower())
        end += 1 + query[end]
    (kind,) = struct.unpack("!H", query[end + 1 : end + 3])
    question = query[12 : end + 5]
    how = labels[-2].decode() if len(labels) > 1 else "refused"
    flags, record = 0x8400, None
    if how == "silent":
        return
    elif how == "servfail":
        flags = 0x8002
    elif how == "lame":
        flags = 0x8000
    elif how == "truncated":
        flags |= 0x0200
    elif how == "noedns" and struct.unpack("!H", query[10:12]) != (0,):
        flags = 0x8001
    elif how in ("notlsa", "negative") and (kind == TLSA if how == "notlsa" else found(labels, kind) is None):
        flags = 0x8002
    elif how in ("late", "noedns", "notlsa", "negative"):
        record = found(labels, kind)
        if record is None and tuple(labels[:-2]) not in ((), (b"mx",), (b"ns",), (b"_dmarc",)):
            flags |= 3
    else:
        flags = 0x8005
    number = struct.unpack("!H", query[:2])[0]
    zone = wire_name(labels[-2:])
    # Where there is nothing, the SOA record says so.
    empty = record is None and flags & 0x0600 == 0x0400
    denial = zone + struct.pack("!HHIH", SOA, 1, 60, len(found(labels[-2:], SOA))) + found(labels[-2:], SOA) if empty else b""
    data = denial if record is None else struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(record)) + record
    reply = struct.pack("!HHHHHH", number, flags, 1, int(record is not None), int(empty), 0) + question + data
    if how == "late":
        threading.Timer(LATE_S, server.sendto, (reply, client)).start()
    else:
        server.sendto(reply, client)


while True:
    query, client = server.recvfrom(4096)
    try:
        answer(query, client)
    except (IndexError, struct.error):
        continue
