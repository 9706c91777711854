"""Rows of the table of who gets a port: each is made for real, `mxray ports plan` is asked, and then a process of that user really
binds and listens. A yes has to work, a no has to be refused; what a row says beside that is compared as well.

usage: plan_truth.py MXRAY…
"""
import errno
import json
import os
import socket
import subprocess
import sys

PORT = 8425
NOBODY = 65534


def opened(address, port, *options, kind=socket.SOCK_STREAM, listen=True):
    six = ":" in address
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    if six:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "v6only" in options)
    if "reuseaddr" in options:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if "reuseport" in options:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    if listen and kind == socket.SOCK_STREAM:
        made.listen(8)
    return made


def as_user(uid, work):
    """The errno of what a process of this user does; 0: it works."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            work()
        except OSError as error:
            code = error.errno
        os.write(write, str(code).encode())
        os._exit(0)
    os.close(write)
    code = int(os.read(read, 16))
    os.close(read)
    os.waitpid(child, 0)
    return code


def sysctl(name, value):
    path = "/proc/sys/net/" + name
    with open(path, encoding="ascii") as file:
        before = file.read()
    with open(path, "w", encoding="ascii") as file:
        file.write(value)
    return lambda: open(path, "w", encoding="ascii").write(before)


def by(uid, *arguments):
    """A holder of another user."""
    os.seteuid(uid)
    try:
        return opened(*arguments)
    finally:
        os.seteuid(0)


def outgoing():
    """A connection of this host; the kernel chooses its port, which is then asked for."""
    server = opened("127.0.0.1", PORT + 1, "reuseaddr")
    client = socket.socket()
    client.connect(("127.0.0.1", PORT + 1))
    # Whoever closes first keeps its port for a minute.
    return [server.accept()[0], server, client]


def with_setting(name, value):
    return lambda: sysctl(name, value)


# What it is, what holds the port or is set, the addresses and options of the newcomer, its user, its port, the errno, reasons.
ROWS = [
    ("nothing there", None, ["0.0.0.0"], (), 0, PORT, 0, []),
    ("0.0.0.0 before 127.0.0.1", lambda: opened("0.0.0.0", PORT, "reuseaddr"), ["127.0.0.1"], (), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("127.0.0.1 before 0.0.0.0", lambda: opened("127.0.0.1", PORT, "reuseaddr"), ["0.0.0.0"], (), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("127.0.0.1 before 127.0.0.2", lambda: opened("127.0.0.1", PORT), ["127.0.0.2"], (), 0, PORT, 0, []),
    ("0.0.0.0 before a [::] for both", lambda: opened("0.0.0.0", PORT), ["::"], ("dual",), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("a [::] for both before 0.0.0.0", lambda: opened("::", PORT), ["0.0.0.0"], (), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("a [::] for both before 127.0.0.1", lambda: opened("::", PORT), ["127.0.0.1"], (), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("a [::] for IPv6 alone before 0.0.0.0", lambda: opened("::", PORT, "v6only"), ["0.0.0.0"], (), 0, PORT, 0, []),
    ("[::1] before 0.0.0.0", lambda: opened("::1", PORT, "v6only"), ["0.0.0.0"], (), 0, PORT, 0, []),
    ("a mapped address before 127.0.0.1", lambda: opened("::ffff:127.0.0.1", PORT), ["127.0.0.1"], (), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("REUSEPORT without it", lambda: opened("127.0.0.1", PORT, "reuseport"), ["127.0.0.1"], (), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("REUSEPORT of another user", lambda: by(NOBODY, "127.0.0.1", PORT, "reuseport"), ["127.0.0.1"], ("reuseport",), 0, PORT, errno.EADDRINUSE, ["listener"]),
    ("bound, and not listening", lambda: opened("127.0.0.1", PORT, listen=False), ["127.0.0.1"], (), 0, PORT, errno.EADDRINUSE, []),
    ("an outgoing connection", outgoing, ["0.0.0.0"], (), 0, PORT, errno.EADDRINUSE, []),
    ("a low port without the capability", None, ["0.0.0.0"], (), NOBODY, 425, errno.EACCES, ["privilege"]),
    ("a low port where none is low", with_setting("ipv4/ip_unprivileged_port_start", "0"), ["0.0.0.0"], (), NOBODY, 425, 0, []),
    ("an address that is not here", None, ["198.51.100.99"], (), 0, PORT, errno.EADDRNOTAVAIL, ["address"]),
    ("one that is not here and may be bound", with_setting("ipv4/ip_nonlocal_bind", "1"), ["198.51.100.99"], (), 0, PORT, 0, ["address_nonlocal"]),
    ("in the range of outgoing connections", with_setting("ipv4/ip_local_port_range", "8000 60999"), ["0.0.0.0"], (), 0, PORT, 0, ["ephemeral"]),
    ("UDP beside TCP", lambda: opened("0.0.0.0", PORT, kind=socket.SOCK_DGRAM), ["0.0.0.0"], (), 0, PORT, 0, []),
]


def planned(command, row, port):
    _, _, addresses, options, uid, *_ = row
    words = [*command, "ports", "plan", "newcomer", str(port), "--address", ",".join(addresses), "--user", str(uid), "--json"]
    if "dual" in options:
        words += ["--v6", "dual"]
    if "reuseport" in options:
        words += ["--reuse-port"]
    return json.loads(subprocess.run(words, capture_output=True, check=False).stdout)


def main():
    wrong = []
    for row in ROWS:
        name, make, addresses, options, uid, port, expected, reasons = row
        made = make() if make else None
        if isinstance(made, list):
            port = made[-1].getsockname()[1]
        plan = planned(sys.argv[1:], row, port)
        code = as_user(uid, lambda: [opened(one, port, "reuseaddr", *options) for one in addresses])
        answer, found = plan["answer"], [reason["code"] for reason in plan["reasons"]]
        if code != expected:
            wrong.append(f"{name}: the kernel says {errno.errorcode.get(code, code)}")
        if (answer == "yes") != (code == 0) or answer not in ("yes", "no"):
            wrong.append(f"{name}: the plan says {answer} {found}, the kernel {errno.errorcode.get(code, 'yes')}")
        wrong += [f"{name}: no reason {reason} in {found}" for reason in reasons if reason not in found]
        if answer == "no" and not plan["reasons"]:
            wrong.append(f"{name}: no reason")
        for one in made if isinstance(made, list) else [made]:
            if callable(one):
                one()
            elif one:
                one.close()
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


main()
