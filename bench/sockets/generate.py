#!/usr/bin/env python3
"""Holds TOTAL TCP sockets in this network namespace until its standard input closes.

Both ends of established connections on 127.x.y.z, 500 sockets a process, about 2% of them listeners; each process in
its own cgroup, where a cgroup v2 tree can be written, so that units have to be resolved. Prints "ready" when all are
there. Run inside `unshare --net`; `run` does all of it.
"""
import os
import resource
import socket
import sys

PER_PROCESS = 500
LISTENERS = 10


def cgroup_root():
    for line in open("/proc/self/mountinfo"):
        before, after = line.split(" - ", 1)
        if after.split()[0] == "cgroup2":
            return before.split()[4]
    return None


def join_cgroup(base, index):
    """Each process gets a unit of its own; a tree that cannot be written leaves them where they are."""
    if not base:
        return
    try:
        unit = os.path.join(base, f"bench-{index}.service")
        os.makedirs(unit, exist_ok=True)
        with open(os.path.join(unit, "cgroup.procs"), "w") as procs:
            procs.write(str(os.getpid()))
    except OSError:
        pass


def hold(index, sockets, ready, stop):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    address = f"127.{1 + index // 62500}.{index // 250 % 250}.{1 + index % 250}"
    listeners = []
    for number in range(min(LISTENERS, sockets)):
        listener = socket.socket()
        listener.bind((address, 2000 + number))
        listener.listen(sockets)
        listeners.append(listener)
    kept = []
    pairs = (sockets - len(listeners)) // 2
    for number in range(pairs):
        listener = listeners[number % len(listeners)]
        client = socket.socket()
        client.connect(listener.getsockname())
        kept.append(client)
        kept.append(listener.accept()[0])
    os.write(ready, b"x")
    os.close(ready)
    os.read(stop, 1)
    # Reset, so that no TIME-WAIT is left behind.
    for one in kept:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    os._exit(0)


def main():
    total = int(sys.argv[1])
    base = sys.argv[2] if len(sys.argv) > 2 else ""
    processes = (total + PER_PROCESS - 1) // PER_PROCESS
    ready_read, ready_write = os.pipe()
    stop_read, stop_write = os.pipe()
    children = []
    for index in range(processes):
        pid = os.fork()
        if pid == 0:
            os.close(stop_write)
            os.close(ready_read)
            join_cgroup(base, index)
            hold(index, min(PER_PROCESS, total - index * PER_PROCESS), ready_write, stop_read)
        children.append(pid)
    os.close(ready_write)
    os.close(stop_read)
    seen = 0
    while seen < processes:
        got = os.read(ready_read, 4096)
        if not got:
            print(f"only {seen} of {processes} processes got ready", flush=True)
            break
        seen += len(got)
    else:
        print("ready", flush=True)
    sys.stdin.read()
    os.close(stop_write)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cgroup-root"]:
        print(cgroup_root() or "")
    else:
        main()
