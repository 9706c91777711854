#!/bin/bash
# Pid 1 of a machine: an overlay of / with everything of its own on top, then nothing but reaping until the lab
# closes the pipe on standard input. Prints "ready PID" (the pid as the lab sees it) when the machine stands.
# usage: init.sh DIRECTORY HOSTNAME PROC-OPTIONS MXRAY-OR-EMPTY LIBRARY PACKAGE…
set -eu
directory=$1 name=$2 proc_options=$3 mxray=$4 library=$5
# /proc is still the one outside, so this is the pid that the lab can name.
read -r outer _ </proc/self/stat

# 1 GiB is a bound, not a cost: tmpfs takes memory only for what is written.
mount -t tmpfs -o size=1g,mode=755 lab "$directory"
mkdir "$directory/upper" "$directory/work" "$directory/root"
root=$directory/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$root"
mount -t proc -o "nosuid,nodev,noexec${proc_options:+,$proc_options}" proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup" 2>/dev/null || true
mount -t tmpfs -o nosuid,nodev,mode=755,size=64m tmpfs "$root/run"
mount -t tmpfs -o nosuid,nodev,mode=1777,size=64m tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,mode=755,size=1m tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/lock"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev,mode=1777,size=16m tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

mkdir -p "$root/usr/local/lib/lab" "$root/usr/local/bin"
cp "$library"/*.sh "$library"/*.py "$root/usr/local/lib/lab/"
mkdir "$root/usr/local/lib/lab/packages"
if [ $# -gt 5 ]; then cp "${@:6}" "$root/usr/local/lib/lab/packages/"; fi
if [ -n "$mxray" ]; then
    : >"$root/usr/local/bin/mxray"
    mount --bind "$mxray" "$root/usr/local/bin/mxray"
fi

hostname "$name"
ip link set lo up
cd "$root"
mkdir -p "$root/mnt/outside"
pivot_root . mnt/outside
cd /
umount -l /mnt/outside
rmdir /mnt/outside
mkdir -p /sys/fs/cgroup/init.scope 2>/dev/null && echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs 2>/dev/null || true

echo "ready $outer"
exec >/dev/null 2>&1
# Reading is also reaping: bash collects every orphan that falls to pid 1 in its SIGCHLD handler.
while read -r _; do :; done
