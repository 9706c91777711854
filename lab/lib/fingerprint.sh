# Prints what a diagnosis must not change: configuration, rulesets, routes, sysctls, queue, services. One line a fact,
# sorted, so that a comparison names what changed.
# Left out: what changes by itself from one second to the next.
{
    find /etc /var/spool/postfix/etc /var/spool/cron /root /home /usr/local -xdev \( -type f -o -type l \) \
        -exec stat -c 'file %n %s %Y %a %u:%g %h' {} + 2>/dev/null
    find /etc -xdev -type f -exec sha256sum {} + | sed 's/^/content /'
    find /var/spool/postfix -type d -printf 'directory %p %m %u:%g\n'
    find /var/spool/postfix/deferred /var/spool/postfix/hold -type f -printf 'queued %p %s %T@\n'
    nft list ruleset | sed 's/^/nft /'
    ip rule show | sed 's/^/rule /'
    ip -6 rule show | sed 's/^/rule6 /'
    # A cached route to a neighbour carries counters; tables do not.
    ip route show table all | sed 's/^/route /'
    ip -6 route show table all | sed 's/^/route6 /'
    ip -d addr show | grep -v valid_lft | sed 's/^/addr /'
    sysctl -a 2>/dev/null | grep -vE '^(kernel\.(random|ns_last_pid|pty\.nr|sched_domain)|fs\.(dentry-state|file-nr|inode-nr|inode-state|quota|aio-nr|epoll)|net\.netfilter\.nf_conntrack_count|vm\.(nr_|stat)|dev\.)' |
        sed 's/^/sysctl /'
    ss -Hltn | awk '{ print "listener", $4 }'
    cat /proc/mounts | sed 's/^/mount /'
} | sort
