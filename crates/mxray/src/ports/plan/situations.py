"""Makes situations in a network namespace and lets a process bind there. One JSON object a line, in and out.

{"holders": [{"kind", "protocol", "address", "v6_only", "reuse_port", "uid"}], "port"}  ->  {"port"} once all of them stand
{"sockets": [{"address", "v6_only"}], "protocol", "port", "uid", "reuse_port"}          ->  {"errno"} of bind and listen, 0: all work
{}                                                                                      ->  {} once all is closed again
"""
import errno
import json
import os
import socket
import sys


def make(protocol, address, v6_only, reuse_port, reuse_address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if v6_only else 0)
    if reuse_address:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return made


def hold(holder, port, held):
    """Holders that cannot stand together are left out: the situation is what the kernel permits."""
    kind, protocol, address = holder["kind"], holder["protocol"], holder["address"]
    os.seteuid(holder["uid"])
    # A socket that is bound and never listens is a client's, or a program's that is still starting: no SO_REUSEADDR.
    made = make(protocol, address, holder["v6_only"], holder["reuse_port"], kind in ("listen", "left"))
    os.seteuid(0)
    held.append(made)
    try:
        made.bind((address, port))
        if kind == "bound" or protocol == "udp":
            return port
        made.listen(8)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        made.close()
        return port
    if kind == "left":
        client = socket.socket(made.family)
        client.connect((to_connect(address), port))
        accepted, _ = made.accept()
        held.extend([client, accepted])
        made.close()
    return port


def to_connect(address):
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def outgoing(holder, held):
    """The kernel chooses the port."""
    address = holder["address"]
    server = make("tcp", address, True, False, True)
    server.bind((address, 0))
    server.listen(8)
    client = socket.socket(server.family)
    os.seteuid(0)
    client.connect(server.getsockname()[:2])
    accepted, _ = server.accept()
    port = client.getsockname()[1]
    if holder["kind"] == "time_wait":
        # Whoever closes first waits.
        client.close()
        while accepted.recv(1):
            pass
        accepted.close()
        held.append(server)
    else:
        held.extend([server, client, accepted])
    return port


def bind(wish):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        result = 0
        try:
            os.setgroups([])
            os.setresgid(wish["uid"], wish["uid"], wish["uid"])
            os.setresuid(wish["uid"], wish["uid"], wish["uid"])
            opened = []
            for one in wish["sockets"]:
                made = make(wish["protocol"], one["address"], one["v6_only"], wish["reuse_port"], wish["protocol"] == "tcp")
                opened.append(made)
                made.bind((one["address"], wish["port"]))
                if wish["protocol"] == "tcp":
                    made.listen(8)
        except OSError as error:
            result = error.errno
        os.write(write, str(result).encode())
        os._exit(0)
    os.close(write)
    result = int(os.read(read, 16))
    os.close(read)
    os.waitpid(child, 0)
    return result


def main():
    held = []
    for line in sys.stdin:
        order = json.loads(line)
        if "holders" in order:
            port = order["port"]
            # What makes the kernel choose a port comes first.
            for holder in sorted(order["holders"], key=lambda one: one["kind"] not in ("outgoing", "time_wait")):
                chooses = holder["kind"] in ("outgoing", "time_wait")
                port = outgoing(holder, held) if chooses else hold(holder, port, held)
            answer = {"port": port}
        elif "sockets" in order:
            answer = {"errno": bind(order)}
        else:
            for one in held:
                one.close()
            held.clear()
            answer = {}
        print(json.dumps(answer), flush=True)


main()
