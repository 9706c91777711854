# Prints what a diagnosis must not change: configuration, rulesets, routes, sysctls, queue, listeners. One fact a line,
# sorted, so that a comparison names what changed. Left out: what changes by itself from one second to the next.
set -o pipefail
{
    find /etc /usr/local -xdev \( -type f -o -type l \) -printf 'file %p %s %T@ %m %u:%g %l\n'
    find /etc -xdev -type f -exec sha256sum {} + | sed 's/^/content /'
    # /var/lib/mxray is the one thing that mxray writes: what is usual here.
    find /var/spool/postfix /root /var/lib -xdev -maxdepth 1 -type d ! -path /var/lib/mxray -printf 'directory %p %m %u:%g\n'
    find /var/spool/postfix/deferred /var/spool/postfix/hold -type f -printf 'queued %p %s %T@\n' 2>/dev/null || true
    nft list ruleset | sed 's/^/nft /'
    ip rule show | sed 's/^/rule /'
    ip -6 rule show | sed 's/^/rule6 /'
    ip route show table all | sed 's/^/route /'
    ip -6 route show table all | sed 's/^/route6 /'
    # Lifetimes count down; the addresses do not.
    ip addr show | grep -v valid_lft | sed 's/^/addr /'
    sysctl -a 2>/dev/null |
        grep -vE '^(kernel\.(random|ns_last_pid|pty\.nr)|fs\.(dentry-state|file-nr|inode-nr|inode-state|quota|aio-nr)|vm\.(nr_|stat))' |
        sed 's/^/sysctl /'
    ss -Hltn | awk '{ print "listener", $4 }'
    sed 's/^/mount /' /proc/mounts
} | sort
