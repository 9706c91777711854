"""Binds pairs of sockets in its network namespace and says what the kernel did.

Standard input: a JSON list of [[first, second], destinations]; a socket is {protocol, address, v6_only, reuse_port, uid, device}.
Standard output: a JSON list. For each pair null where the first could not be had, else [errno of the second or 0, deals]; deals
tells for each destination how many of the connections each of the two got.
"""

import json
import os
import socket
import sys

PORT = 4025
SO_REUSEPORT, SO_BINDTODEVICE, IPV6_V6ONLY = 15, 25, 26
TRIES = 48


def take(wanted):
    family = socket.AF_INET6 if ":" in wanted["address"] else socket.AF_INET
    kind = socket.SOCK_STREAM if wanted["protocol"] == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    try:
        if wanted["uid"]:
            # A socket's user is its inode's: sockfs takes fchown, and bind compares what it says.
            os.fchown(made.fileno(), wanted["uid"], -1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, int(wanted["v6_only"]))
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wanted["reuse_port"]:
            made.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        if wanted["device"]:
            made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, wanted["device"].encode() + b"\0")
        made.bind((wanted["address"], PORT))
        if kind == socket.SOCK_STREAM:
            made.listen(TRIES * 2)
            made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def accepted(listener):
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def deal(first, second, destinations):
    told = {}
    for destination in destinations:
        clients = []
        for _ in range(TRIES):
            client = socket.socket(socket.AF_INET6 if ":" in destination else socket.AF_INET)
            # Reset at the end, so that no port stays in TIME_WAIT.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.connect((destination, PORT))
            clients.append(client)
        told[destination] = [accepted(first), accepted(second)]
        for client in clients:
            client.close()
    return told


def answer(pair, destinations):
    try:
        first = take(pair[0])
    except OSError:
        return None
    with first:
        try:
            second = take(pair[1])
        except OSError as error:
            return [error.errno, {}]
        with second:
            return [0, deal(first, second, destinations)]


json.dump([answer(pair, destinations) for pair, destinations in json.load(sys.stdin)], sys.stdout)
