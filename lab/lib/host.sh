# What host files, fault files and checks share; every script that runs inside a machine reads it first.
# Waiting is always for a condition and always bounded; nothing here sleeps for a guess.

LAB=/usr/local/lib/lab
HOST_NAME=mail.harbour.example
DOMAIN=harbour.example
HOST4=203.0.113.25
HOST6=2001:db8:113::25
# The second Postfix instance's address, where a host has one.
SECOND4=203.0.113.26
PEER4=203.0.113.9
PEER6=2001:db8:113::9
# A host somewhere else, routed through the peer: the smarthost, and the far end of outgoing mail.
FAR4=198.51.100.25
FAR6=2001:db8:51::25
# Addresses of other hosts beyond the peer, for faults to put something there, or nothing.
OTHER4=198.51.100.26
OTHER6=2001:db8:52::26
NOBODY4=198.51.100.99
NOBODY6=2001:db8:51::99

. $LAB/foreign.sh
. $LAB/exim.sh
. $LAB/opensmtpd.sh
. $LAB/sendmail.sh
. $LAB/filters.sh
. $LAB/packetfilter.sh
. $LAB/tls.sh
. $LAB/neighbours.sh
. $LAB/zones.sh
. $LAB/policies.sh

# until_true SECONDS COMMAND…: waits until the command succeeds.
until_true() {
    local limit=$1 end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > end)); then
            echo "waited ${limit}s in vain for: $*" >&2
            "$@" >&2 || true
            return 1
        fi
        sleep 0.05
    done
}

not() { ! "$@"; }

# in_unit NAME COMMAND…: becomes the command, in the cgroup that systemd would give that unit, away from our terminal
# and pipes. For a subshell: it does not return.
in_unit() {
    local group=/sys/fs/cgroup/system.slice/$1 log=/run/lab/${1##*/}.log
    shift
    mkdir -p /run/lab
    if [ -e /sys/fs/cgroup/cgroup.procs ]; then
        mkdir -p "$group"
        echo "$BASHPID" >"$group/cgroup.procs"
    fi
    cd /
    exec setsid "$@" </dev/null >>"$log" 2>&1
}

# unit NAME COMMAND…: runs a command that leaves a daemon behind, and returns when the command does.
unit() { (in_unit "$@") || { local code=$?; cat "/run/lab/${1##*/}.log" >&2; return $code; }; }

# service NAME COMMAND…: the same for a program that stays in the foreground; its pid goes to /run/lab/NAME.pid.
service() {
    local name=$1
    shift
    mkdir -p /run/lab
    (in_unit "$name.service" bash -c 'echo $$ >"$1"; shift; exec "$@"' service "/run/lab/$name.pid" "$@") &
    disown
    until_true 5 test -s "/run/lab/$name.pid"
}

end_service() {
    local pid
    pid=$(cat "/run/lab/$1.pid")
    kill "-${2:-TERM}" "$pid"
    until_true 5 not test -d "/proc/$pid"
    rm -f "/run/lab/$1.pid"
}

# service_pid NAME
service_pid() { cat "/run/lab/$1.pid"; }

listens() { [ -n "$(ss -Hltn "sport = :$1")" ]; }
# shared_by COUNT: so many sockets share the workers' port.
shared_by() { [ "$(ss -Hltn 'sport = :8025' | wc -l)" = "$1" ]; }
listens_unix() { ss -Hlx src "$1" | grep -q .; }

# greets ADDRESS PORT [SECONDS]: true when a server says something there.
greets() { timeout "${3:-2}" bash -c 'exec 3<>"/dev/tcp/$1/$2" && IFS= read -r -u 3 line && [ -n "$line" ]' greets "$1" "$2"; }

# --- network -------------------------------------------------------------------------------------------------

# The host's end of the wire; host files for one family give only that one.
addresses() {
    ip link set eth0 up
    for address in "$@"; do
        case $address in
        *:*) ip addr add "$address/64" dev eth0 nodad ;;
        *) ip addr add "$address/24" dev eth0 ;;
        esac
    done
}

routes() {
    for gateway in "$@"; do
        case $gateway in
        *:*) ip -6 route add default via "$gateway" ;;
        *) ip route add default via "$gateway" ;;
        esac
    done
}

# --- the machine, before any mail ------------------------------------------------------------------------------

base_system() {
    rm -rf /var/log/* /var/mail/* /etc/mxray /var/lib/mxray
    mkdir -p /var/log /etc/mxray /run/lab
    cat >/etc/hosts <<END
127.0.0.1 localhost
::1 localhost ip6-localhost
$HOST4 ${1:-$HOST_NAME}
$HOST6 ${1:-$HOST_NAME}
END
    echo "${1:-$HOST_NAME}" >/etc/hostname
    echo "${1:-$HOST_NAME}" >/etc/mailname
    # Names stand in /etc/hosts, and no lookup may wait: a name server of this machine says that no other exists.
    sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
    name_server_start
    # The lab's addresses are documentation ranges; for mxray they are the public network.
    cat >/etc/mxray/mxray.toml <<END
[network]
public_prefixes = ["203.0.113.0/24", "198.51.100.0/24", "2001:db8::/32"]
END
}

start_syslog() {
    mkdir -p /var/spool/rsyslog /var/spool/postfix/dev
    cat >/etc/rsyslog.conf <<'END'
module(load="imuxsock")
$FileOwner root
$FileGroup adm
$FileCreateMode 0640
$DirCreateMode 0755
$Umask 0022
$WorkDirectory /var/spool/rsyslog
$IncludeConfig /etc/rsyslog.d/*.conf
*.*;auth,authpriv,mail.none -/var/log/syslog
auth,authpriv.* /var/log/auth.log
mail.* -/var/log/mail.log
END
    unit rsyslog.service rsyslogd
    until_true 5 test -S /dev/log
}

# What systemd leaves for others to see: the mark of sd_booted(3), and for each unit the link that enables it. The unit
# files are those of the packages; postfix@-.service is what Debian's generator makes.
systemd_units() {
    local unit wants=/etc/systemd/system/multi-user.target.wants generated=/run/systemd/generator
    mkdir -p /run/systemd/system "$wants" "$generated/postfix.service.wants"
    for unit in postfix dovecot opendkim rsyslog; do
        ln -sf "/lib/systemd/system/$unit.service" "$wants/$unit.service"
    done
    ln -sf /lib/systemd/system/postfix@.service "$generated/postfix.service.wants/postfix@-.service"
}

# --- Postfix ---------------------------------------------------------------------------------------------------

# The files as Debian's package installs them, whatever this machine has in /etc/postfix.
postfix_files() {
    local directory=${1:-/etc/postfix}
    cp /usr/share/postfix/master.cf.dist "$directory/master.cf"
    cp /usr/share/postfix/main.cf.debian "$directory/main.cf"
    cp -n /usr/share/postfix/dynamicmaps.cf "$directory/" 2>/dev/null || true
    # A clean queue: the same directories, nothing of this machine's own mail.
    for queue in active bounce corrupt defer deferred flush hold incoming maildrop saved trace; do
        if [ -d "/var/spool/postfix/$queue" ]; then find "/var/spool/postfix/$queue" -type f -delete; fi
    done
    cat >>"$directory/main.cf" <<END
myhostname = $(hostname)
myorigin = /etc/mailname
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
mydestination = \$myhostname, localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
END
    [ -e /etc/aliases ] || echo 'postmaster: root' >/etc/aliases
    cool /etc/aliases
    newaliases
}

# Postfix's programs wait until a file that they read is a second or two old. Files that we have just written, and
# that nobody is writing any more, need not be waited for.
cool() { touch -c -d '-10 seconds' /etc/postfix*/*.cf "$@"; }
make_maps() { cool "$@" && postmap "$@"; }

# Enables submission or submissions by taking away the comment signs of Debian's own lines.
enable_master_service() {
    sed -i "/^#$1 \+inet/,/milter_macro_daemon_name/{s/^#\($1 \)/\1/;s/^#\(  -o [a-z_]*=[^ ]\)/\1/;s/^#\(  -o smtpd_relay_restrictions=\)/\1/}" \
        "${2:-/etc/postfix}/master.cf"
}

# Every enabled instance in its own unit, as Debian's generator has it.
postfix_start() {
    local instance
    cool
    for instance in $(postmulti -l | awk '$3 == "y" || $1 == "-" { print $1 }'); do
        unit "system-postfix.slice/postfix@$instance.service" bash -c \
            '/usr/lib/postfix/configure-instance.sh "$1" && postmulti -i "$1" -p start' postfix_start "$instance"
    done
}
postfix_stop() {
    postfix stop >/dev/null 2>&1 || true
    until_true 10 not postfix status
}
postfix_restart() { postfix_stop; postfix_start; }
# A reload is done when the master has read its files again: it says so in the log.
postfix_reload() {
    local before
    before=$(grep -c 'reload -- version' /var/log/mail.log || true)
    cool
    postfix reload 2>/dev/null
    until_true 10 reloaded_since "$before"
}
reloaded_since() { [ "$(grep -c 'reload -- version' /var/log/mail.log)" -gt "$1" ]; }
master_pid() { tr -d ' ' </var/spool/postfix/pid/master.pid; }
# children_of_master NAME: the pids of the master's children that run this program.
children_of_master() { pgrep -P "$(master_pid)" -x "$1"; }

# --- names ---------------------------------------------------------------------------------------------------------

# Does a program outside any chroot get an address for a name? Whatever nsswitch.conf says, DNS is asked.
knows_names() { until_true 10 getent -s hosts:dns ahostsv4 far.example; }

# A message to a domain that only DNS knows stays, because Postfix finds no one to ask.
names_fail() {
    local token=named-$RANDOM
    mail --host 127.0.0.1 --from "root@$DOMAIN" --to "$token@far.example"
    until_true 40 grep -q "to=<$token@far.example>.* status=deferred .*Name service error" /var/log/mail.log
}
# The machine's own name server, which knows that no name exists.
name_server_start() { service nameserver python3 $LAB/nameserver.py 127.0.0.1 none --forever; }
name_server_stop() { end_service nameserver; }
# look_towards TARGET… -- RECORD…: mxray's configuration names these targets, and the machine's own name server knows
# these records (lab/lib/nameserver.py) and nothing else. look_back undoes both.
look_towards() {
    local targets=
    cp /etc/mxray/mxray.toml /run/lab/mxray.toml
    while [ "$1" != -- ]; do
        targets="$targets${targets:+, }\"$1\""
        shift
    done
    shift
    printf '[doctor]\ntargets = [%s]\n' "$targets" >>/etc/mxray/mxray.toml
    name_server_stop
    printf '%s\n' "$@" >/run/lab/zone
    service nameserver python3 $LAB/nameserver.py 127.0.0.1 /run/lab/zone --forever
    until_true 5 dig +short +time=1 +tries=1 @127.0.0.1 "${1%% *}"
}
# Does the service on this port take MAIL before STARTTLS?
takes_mail_in_clear() {
    python3 -c 'import smtplib, sys; s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=3); s.ehlo(); sys.exit(s.mail("")[0] == 530)' "$1"
}
# operator_login PASSWORD: mxray's configuration says how alice logs in on this host's submission. operator_login_back undoes it.
operator_login() {
    cp /etc/mxray/mxray.toml /run/lab/mxray.toml
    echo "$1" >/etc/mxray/password
    printf '[submission]\nuser = "alice@%s"\npassword = "file:/etc/mxray/password"\n' "$DOMAIN" >>/etc/mxray/mxray.toml
}
operator_login_back() {
    cp /run/lab/mxray.toml /etc/mxray/mxray.toml
    rm -f /etc/mxray/password
}
look_back() {
    cp /run/lab/mxray.toml /etc/mxray/mxray.toml
    name_server_stop
    name_server_start
}
# names_by ADDRESS…: these name servers, in the system's file and in the copy of Postfix's chroot.
names_by() {
    printf 'nameserver %s\n' "$@" >/etc/resolv.conf
    install -D -m 644 /etc/resolv.conf /var/spool/postfix/etc/resolv.conf
}
# A name is found, and the first server of the file has been waited for.
names_are_late() {
    local began=$SECONDS
    getent -s hosts:dns ahostsv4 far.example && [ $((SECONDS - began)) -ge 4 ]
}
# A root of our own, signed as the Internet's is: named serves it, unbound asks it, validating or not.
# signed_root MODULES: `validator iterator`, or `iterator` alone.
signed_root() {
    mkdir -p /run/lab/root
    # named listens on addresses that an interface has.
    ip addr add 127.0.0.5/32 dev lo
    (
        cd /run/lab/root || exit 1
        printf '. 3600 IN SOA ns.root. hostmaster.root. 1 3600 600 86400 300\n. 3600 IN NS ns.root.\nns.root. 3600 IN A 127.0.0.5\n' >zone
        key=$(dnssec-keygen -q -a ECDSAP256SHA256 -f KSK .)
        dnssec-keygen -q -a ECDSAP256SHA256 . >/dev/null
        dnssec-signzone -q -S -o . -f zone.signed zone >/dev/null
        cp "$key.key" anchor
        printf 'options { directory "/run/lab/root"; listen-on { 127.0.0.5; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; pid-file none; session-keyfile none; };\ncontrols { };\nzone "." { type primary; file "zone.signed"; };\n' >named.conf
        chmod -R go+rX .
    )
    service named named -f -c /run/lab/root/named.conf
    printf '. 3600 NS ns.root.\nns.root. 3600 A 127.0.0.5\n' >/run/lab/root/hints
    unbound_with "$1"
}
# What the Internet knows of a healthy host: its name, and the names behind its addresses.
names_of_this_host() {
    printf ' local-data: "%s. A %s"\n local-data: "%s. AAAA %s"\n' $HOST_NAME $HOST4 $HOST_NAME $HOST6
    printf ' local-data-ptr: "%s %s"\n' $HOST4 $HOST_NAME $HOST6 $HOST_NAME
}
unbound_with() {
    printf 'server:\n interface: 127.0.0.1\n do-daemonize: no\n use-syslog: no\n username: ""\n chroot: ""\n pidfile: ""\n do-not-query-localhost: no\n root-hints: /run/lab/root/hints\n trust-anchor-file: /run/lab/root/anchor\n module-config: "%s"\n%s\nremote-control:\n control-enable: no\n' "$1" "$(names_of_this_host)" >/run/lab/root/unbound.conf
    service unbound unbound -d -c /run/lab/root/unbound.conf
    until_true 10 signed_answer
}
signed_answer() { dig +dnssec +time=1 +tries=1 @127.0.0.1 . SOA | grep -q RRSIG; }
validated() { dig +dnssec +time=1 +tries=1 @127.0.0.1 . SOA | grep -q 'flags:[^;]* ad[ ;]'; }
# Whoever relies on DNSSEC has it from this machine's own resolver.
dane_outgoing() {
    postconf -e smtp_dns_support_level=dnssec smtp_tls_security_level=dane
    postfix_reload
}

# What a restart of Debian's Postfix does with the copy; then the files are again as on any host here.
heal_names() {
    test -e /run/lab/nameserver.pid || name_server_start
    install -D -m 644 /etc/resolv.conf /var/spool/postfix/etc/resolv.conf
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
    install -m 644 /etc/resolv.conf /var/spool/postfix/etc/resolv.conf
    postfix_reload
}

# --- memory ----------------------------------------------------------------------------------------------------------

# The tree of control groups that accounts for memory: version 1's own, or version 2's.
memory_tree() {
    if [ -e /sys/fs/cgroup/memory.stat ] || grep -qs memory /sys/fs/cgroup/cgroup.controllers; then
        echo /sys/fs/cgroup
        return
    fi
    mkdir -p /run/lab/memory
    mountpoint -q /run/lab/memory || mount -t cgroup -o memory memory /run/lab/memory
    echo /run/lab/memory
}
# memory_group NAME BYTES PID…: puts the processes into a group with this limit. Version 1's tree is the machine's own,
# so the group has to be taken away by memory_group_end.
memory_group() {
    local tree group limit=$2 pid
    tree=$(memory_tree)
    group=$tree/$1
    if [ "$tree" = /sys/fs/cgroup ]; then echo +memory >$tree/cgroup.subtree_control; fi
    memory_group_end "$1"
    mkdir "$group"
    echo "$limit" >"$group/$([ "$tree" = /sys/fs/cgroup ] && echo memory.max || echo memory.limit_in_bytes)"
    shift 2
    for pid in "$@"; do echo "$pid" >"$group/cgroup.procs"; done
}
memory_group_end() {
    local tree pid
    tree=$(memory_tree)
    [ -d "$tree/$1" ] || return 0
    while read -r pid; do echo "$pid" >"$tree/cgroup.procs" || true; done <"$tree/$1/cgroup.procs"
    until_true 5 rmdir "$tree/$1"
}
in_memory_group() {
    echo "$BASHPID" >"$(memory_tree)/$1/cgroup.procs"
    shift
    exec "$@"
}
memory_kills() {
    local group
    group=$(memory_tree)/$1
    { cat "$group"/memory.events "$group"/memory.oom_control 2>/dev/null || true; } | awk '$1 == "oom_kill" { print $2 }'
}

# --- opendkim, Dovecot, a policy service --------------------------------------------------------------------------

opendkim_files() {
    mkdir -p /etc/dkimkeys /var/spool/postfix/opendkim /run/opendkim
    chown opendkim:postfix /var/spool/postfix/opendkim
    chown opendkim:opendkim /run/opendkim
    chmod 750 /var/spool/postfix/opendkim
    openssl genrsa -traditional -out /etc/dkimkeys/lab.private 2048 2>/dev/null
    chown opendkim:opendkim /etc/dkimkeys/lab.private
    chmod 600 /etc/dkimkeys/lab.private
    cat >/etc/opendkim.conf <<END
Syslog yes
SyslogSuccess yes
Canonicalization relaxed/simple
OversignHeaders From
Domain $DOMAIN
Selector lab
KeyFile /etc/dkimkeys/lab.private
UserID opendkim:postfix
UMask 007
Socket local:/var/spool/postfix/opendkim/opendkim.sock
PidFile /run/opendkim/opendkim.pid
END
}
opendkim_start() {
    unit opendkim.service opendkim
    until_true 5 listens_unix /var/spool/postfix/opendkim/opendkim.sock
}
# With another configuration.
opendkim_again() {
    local pid
    pid=$(opendkim_pid)
    kill -TERM "$pid"
    until_true 5 not test -d "/proc/$pid"
    rm -f /var/spool/postfix/opendkim/opendkim.sock
    opendkim_start
}
opendkim_pid() { cat /run/opendkim/opendkim.pid; }

dovecot_files() {
    mkdir -p /etc/dovecot/conf.d /var/mail/vhosts
    cp /usr/share/dovecot/*.conf* /etc/dovecot/
    cp /usr/share/dovecot/conf.d/* /etc/dovecot/conf.d/
    id vmail >/dev/null 2>&1 || useradd -K SYS_UID_MAX=5000 -r -u 5000 -d /var/mail/vhosts -s /usr/sbin/nologin vmail
    chown vmail:vmail /var/mail/vhosts
    sed -i -e 's/^!include auth-system/#&/' -e 's/^#\(!include auth-passwdfile\)/\1/' /etc/dovecot/conf.d/10-auth.conf
    cat >/etc/dovecot/users <<END
alice@$DOMAIN:{PLAIN}alice-secret:vmail:vmail::/var/mail/vhosts/$DOMAIN/alice::
bob@$DOMAIN:{PLAIN}bob-secret:vmail:vmail::/var/mail/vhosts/$DOMAIN/bob::
END
    chown root:dovecot /etc/dovecot/users
    chmod 640 /etc/dovecot/users
    cat >/etc/dovecot/local.conf <<'END'
ssl_cert = </etc/ssl/mail/cert.pem
ssl_key = </etc/ssl/mail/key.pem
mail_location = maildir:~/Maildir
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    mode = 0600
    user = postfix
    group = postfix
  }
}
END
}
dovecot_start() {
    unit dovecot.service dovecot
    until_true 10 test -S /run/dovecot/anvil
}
dovecot_stop() {
    doveadm stop 2>/dev/null || true
    until_true 10 not pgrep -x dovecot
}
dovecot_restart() { dovecot_stop; dovecot_start; }

policy_start() {
    service policyd python3 $LAB/policy.py "${POLICY_ADDRESS:-127.0.0.1}" 10023
    until_true 5 listens 10023
}

# --- the receiving host that most faults are injected into ---------------------------------------------------------

# The queue and the mailboxes on file systems of their own, as an admin who was once surprised has them. Small, so
# that a fault can fill one in a moment; the queue's must stay far above 1.5 times message_size_limit.
own_file_systems() {
    mkdir -p /run/lab/spool
    mount -t tmpfs -o size=96m,nr_inodes=8000,mode=755 spool /run/lab/spool
    cp -a /var/spool/postfix/. /run/lab/spool/
    mount --move /run/lab/spool /var/spool/postfix
    mount -t tmpfs -o size=48m,nr_inodes=8000,mode=2775,gid=mail mail /var/mail
}

mail_server_files() {
    make_certificate "$HOST_NAME"
    postfix_files
    cat >>/etc/postfix/main.cf <<END
smtpd_tls_cert_file = /etc/ssl/mail/cert.pem
smtpd_tls_key_file = /etc/ssl/mail/key.pem
smtpd_tls_security_level = may
smtp_tls_CApath = /etc/ssl/certs
smtp_tls_security_level = may
virtual_mailbox_domains = $DOMAIN
virtual_mailbox_maps = hash:/etc/postfix/vmailbox
virtual_alias_maps = hash:/etc/postfix/virtual
virtual_transport = lmtp:unix:private/dovecot-lmtp
transport_maps = hash:/etc/postfix/transport
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,
    check_policy_service inet:127.0.0.1:10023
smtpd_milters = unix:opendkim/opendkim.sock
non_smtpd_milters = \$smtpd_milters
END
    printf 'alice@%s ok\nbob@%s ok\n' "$DOMAIN" "$DOMAIN" >/etc/postfix/vmailbox
    printf 'postmaster@%s bob@%s\n' "$DOMAIN" "$DOMAIN" >/etc/postfix/virtual
    printf 'elsewhere.example smtp:[%s]\n' "$FAR4" >/etc/postfix/transport
    make_maps /etc/postfix/vmailbox /etc/postfix/virtual /etc/postfix/transport
    enable_master_service submission
    enable_master_service submissions
    opendkim_files
    dovecot_files
}

mail_server_start() {
    start_syslog
    policy_start
    opendkim_start
    dovecot_start
    postfix_start
}

mail_server() {
    base_system
    own_file_systems
    mail_server_files
    mail_server_start
}

# assignments_by_hand: an assignments file as a person writes it, and the services besides mail that it names.
assignments_by_hand() {
    cat >/etc/mxray/mxray-ports.toml <<END
version = 1

service = [
    { name = "smtp", port = 25, exposure = "public", owner = { unit = "postfix.service" }, purpose = "mail from other servers" },
    { name = "submission", port = 587, exposure = "public", tls = "starttls-required", owner = { package = "postfix" } },
    { name = "submissions", port = 465, exposure = "public", tls = "implicit", owner = { user = "root" } },
    { name = "imap", port = 143, exposure = "public", owner = { unit = "dovecot", package = "dovecot-core" } },
    { name = "imaps", port = 993, addresses = ["0.0.0.0", "::"], v6 = "separate", exposure = "public" },
    { name = "pop3", port = 110, addresses = ["0.0.0.0", "::"], exposure = "public" },
    { name = "pop3s", port = 995, exposure = "public" },
    { name = "greylisting", port = 10023, exposure = "loopback", owner = { unit = "policyd.service" } },
    { name = "names", port = 53, protocol = "udp", exposure = "loopback", addresses = ["127.0.0.1"] },
    { name = "archive", port = 8090, exposure = "loopback", owner = { unit = "archive.service", user = "root" } },
    { name = "workers", port = 8025, exposure = "loopback", owner = { unit = "workers.service" } },
    { name = "rangers", dynamic = "20000-20099", exposure = "loopback", owner = { unit = "rangers.service" } },
]
forbidden = [
    { port = 6666, reason = "the old relay" },
    { port = 8025, except = "loopback" },
]
END
    service archive python3 $LAB/listener.py 8090 127.0.0.1 ::1
    service workers python3 $LAB/share.py 8025 127.0.0.1 2
    service rangers python3 $LAB/listener.py 20017 127.0.0.1
    until_true 5 listens 8090
    until_true 5 listens 8025
    until_true 5 listens 20017
}

# A content filter between two passes through Postfix: out to 10024, back by 10025 without filter or milter.
content_filter_files() {
    postconf -e content_filter=smtp-amavis:[127.0.0.1]:10024
    cat >>/etc/postfix/master.cf <<'END'
smtp-amavis unix -      -       y       -       2       smtp
  -o smtp_data_done_timeout=1200
  -o smtp_send_xforward_command=no
127.0.0.1:10025 inet n  -       y       -       -       smtpd
  -o content_filter=
  -o smtpd_milters=
  -o smtpd_delay_reject=no
  -o smtpd_client_restrictions=permit_mynetworks,reject
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
  -o smtpd_relay_restrictions=permit_mynetworks,reject
  -o mynetworks=127.0.0.0/8
  -o receive_override_options=no_header_body_checks,no_unknown_recipient_checks
END
}
filter_start() {
    service filter python3 $LAB/filter.py 10024 10025
    until_true 5 listens 10024
}

# A second instance made by postmulti, on an address of its own.
second_instance() {
    cool
    postmulti -e init
    cool
    postmulti -I postfix-second -e create
    cool
    sed -i '/^master_service_disable/d' /etc/postfix-second/main.cf
    # The name that it says in HELO exists.
    grep -q second.example /etc/hosts || echo "$SECOND4 second.example" >>/etc/hosts
    postconf -c /etc/postfix-second -e "inet_interfaces = $SECOND4" myhostname=second.example \
        'mydestination = $myhostname' "mynetworks = 127.0.0.0/8" authorized_submit_users= \
        alias_maps=hash:/etc/aliases compatibility_level=3.6 smtpd_tls_security_level=may \
        smtpd_tls_cert_file=/etc/ssl/mail/cert.pem smtpd_tls_key_file=/etc/ssl/mail/key.pem
    cool
    postmulti -i postfix-second -e enable
}

# --- what is usual -------------------------------------------------------------------------------------------------

# usual_load: lets mxray learn this moment as usual, seven times on each of the last five days at this hour.
usual_load() {
    rm -rf /var/lib/mxray
    for day in 5 4 3 2 1; do
        for minute in 7 6 5 4 3 2 1; do
            faketime -f "-$((day * 1440 + minute))m" mxray sockets --learn >/dev/null
        done
    done
    # Where the clock of the binary cannot be set, all of it is one minute.
    mxray sockets --learn --json | grep -q '"samples":35,"days":5'
}

# networks_on_peer: five networks with ten addresses each, on the peer: 10.50.1.1 to 10.50.5.10.
networks_on_peer() {
    for net in 1 2 3 4 5; do
        for host in 1 2 3 4 5 6 7 8 9 10; do
            ip addr replace "10.50.$net.$host/32" dev eth0
            echo "10.50.$net.$host"
        done
    done
}

# --- the clock -----------------------------------------------------------------------------------------------------

# clock_off OFFSET: every program that starts from now on sees this clock (libfaketime's way to write it: +200d), and those
# that run already are for the caller to start anew. The kernel's clock, which all machines share, stays.
clock_off() {
    echo "$1" >/etc/faketimerc
    echo "$(dirname "$(find /usr/lib -name libfaketimeMT.so.1 -print -quit)")/libfaketimeMT.so.1" >/etc/ld.so.preload
}
clock_right() { rm -f /etc/ld.so.preload /etc/faketimerc; }
# clock_is_off SECONDS: by at least so much, against the time that keep_time wrote down.
keep_time() { date +%s >/run/lab/real_time; }
clock_is_off() {
    local off=$(($(date +%s) - $(cat /run/lab/real_time)))
    [ "${off#-}" -ge "$1" ]
}

# --- health -------------------------------------------------------------------------------------------------------

in_mailbox() { grep -rqs "$2" "/var/mail/vhosts/$DOMAIN/$1/Maildir/new"; }
in_sink() { grep -qs "$1" /run/lab/sink.mbox; }
queue_empty() { [ -z "$(find /var/spool/postfix/{incoming,active,deferred,maildrop} -type f -print -quit)" ]; }
mail() { python3 $LAB/mail.py "$@"; }

# On the peer: one message in, one out by submission; the one that went out carries our signature.
mail_each_way() {
    mail --host "${1:-$HOST4}" --port 25 --from "carol@elsewhere.example" --to "bob@$DOMAIN" --token "$TOKEN-in"
    mail --host "${1:-$HOST4}" --port 587 --from "alice@$DOMAIN" --to "dave@elsewhere.example" --token "$TOKEN-out" \
        --user "alice@$DOMAIN" --password alice-secret
    until_true 15 in_sink "$TOKEN-out"
    until_true 2 in_sink "$TOKEN-out DKIM"
}

# On the host: the message is in the mailbox, by way of LMTP, and nothing waits.
mail_arrived() {
    until_true 15 in_mailbox bob "$TOKEN-in"
    grep -rhs -B20 "$TOKEN-in" "/var/mail/vhosts/$DOMAIN/bob/Maildir/new" | grep -q 'with LMTP'
    until_true 10 queue_empty
    greets 127.0.0.1 143
}

# Between faults: no old mail, no old log line.
clean_slate() {
    postsuper -d ALL >/dev/null 2>&1 || true
    find /var/spool/exim4/input /var/spool/exim4/msglog -type f -delete 2>/dev/null || true
    if [ -e $EXIM_LOG ]; then : >$EXIM_LOG; fi
    for log in /var/log/mail.log /var/log/syslog; do if [ -e $log ]; then : >$log; fi; done
    find /var/mail/vhosts -path '*/Maildir/*' -type f -name '*[0-9]M*' -delete 2>/dev/null || true
}

# --- the peer -------------------------------------------------------------------------------------------------------

# The other end of the wire: clients come from here, and a far mail server takes what the host sends.
peer_setup() {
    mkdir -p /run/lab
    addresses $PEER4 $PEER6
    ip addr add $FAR4/32 dev eth0
    ip addr add $FAR6/128 dev eth0 nodad
    routes $HOST4 $HOST6
    # This end has no name server: nothing may wait for one.
    sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
    : >/run/lab/sink.mbox
    service sink python3 $LAB/sink.py --listen $FAR4 --listen $FAR6
    until_true 5 listens 25
}
