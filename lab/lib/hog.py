"""Takes memory over and over, each time in a new process, until standard input ends: what a runaway worker does.

usage: hog.py BYTES
Says "ready" when the first process was killed for it.
"""
import os
import select
import signal
import sys

size = int(sys.argv[1])
said = False
while not select.select([sys.stdin], [], [], 0)[0]:
    child = os.fork()
    if child == 0:
        taken = bytearray(size)
        # Every page has to be touched, or the kernel gives none.
        for at in range(0, size, 4096):
            taken[at] = 1
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"a process with {size} bytes was not killed: {status}")
    if not said:
        said = True
        print("ready", flush=True)
