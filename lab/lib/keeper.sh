#!/bin/bash
# Keeps one machine: makes its directory and cgroup, starts its pid 1, and removes everything when that ends.
# Standard input is a pipe whose other end the lab holds and never writes to. However the lab dies, the pipe
# closes, the machine's pid 1 reads its end and leaves, and the kernel ends every process of the machine.
# usage: keeper.sh DIRECTORY CGROUP-OR-EMPTY HOSTNAME PROC-OPTIONS MXRAY-OR-EMPTY LIBRARY PACKAGE…
set -u
directory=$1 cgroup=$2
trap '' INT TERM HUP
mkdir -m 755 "$directory" || exit 1
if [ -n "$cgroup" ]; then
    mkdir "$cgroup" || { rmdir "$directory"; exit 1; }
fi
(
    # The cgroup namespace takes its root from where the process stands, so it moves there first.
    if [ -n "$cgroup" ]; then echo "$BASHPID" >"$cgroup/cgroup.procs" || exit 1; fi
    exec unshare --mount --pid --fork --kill-child=KILL --uts --ipc --net --cgroup \
        bash "$6/init.sh" "$directory" "$3" "$4" "$5" "$6" "${@:7}"
)
code=$?
# The last dead process leaves its cgroup a moment after it is gone from the process table.
for _ in $(seq 200); do
    if [ -n "$cgroup" ] && [ -d "$cgroup" ]; then
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || { sleep 0.02; continue; }
    fi
    rmdir "$directory" 2>/dev/null && break
    sleep 0.02
done
exit $code
