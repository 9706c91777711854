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


def killed_first(score):
    """How gladly the kernel kills this process (proc(5), oom_score_adj): 1000 before all others, -1000 never."""
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(score))


# While a child is being killed the kernel may look for another one.
killed_first(-1000)
held = take(int(sys.argv[1]))
said = False
while not select.select([sys.stdin], [], [], 0)[0]:
    child = os.fork()
    if child == 0:
        killed_first(1000)
        more = take(int(sys.argv[2]))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"a process was not killed: {status}")
    if not said:
        said = True
        print("ready", flush=True)
