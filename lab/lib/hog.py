"""Fills a control group's memory and goes on taking, each time in a new process that is killed for it: what a runaway
worker beside a large one does. Ends when standard input does.

usage: hog.py HELD TAKEN
HELD bytes are kept all the time, TAKEN more are tried for. Says "ready" when the first process was killed.
"""
import os
import select
import signal
import sys

PAGE = 4096


def take(size):
    taken = bytearray(size)
    # Every page has to be touched, or the kernel gives none.
    for at in range(0, size, PAGE):
        taken[at] = 1
    return taken


held = take(int(sys.argv[1]))
said = False
while not select.select([sys.stdin], [], [], 0)[0]:
    child = os.fork()
    if child == 0:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("1000")
        more = take(int(sys.argv[2]))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"a process was not killed: {status}")
    if not said:
        said = True
        print("ready", flush=True)
