# Filters beside opendkim: rspamd and OpenDMARC, as Debian packages them. What their packages' scripts would do besides
# (users, directories, the link that enables the unit) is done here.

filter_user() { id "$1" >/dev/null 2>&1 || useradd -r -M -U -d "$2" -s /usr/sbin/nologin "$1"; }
filter_enabled() { ln -sf "/lib/systemd/system/$1.service" "/etc/systemd/system/multi-user.target.wants/$1.service"; }

# opendkim as a machine has it that never had it running.
without_opendkim() {
    rm -f /etc/systemd/system/multi-user.target.wants/opendkim.service /etc/opendkim.conf
}

# rspamd signs for $DOMAIN and is Postfix's only milter. Checks that ask resolvers or redis are off: here is neither.
rspamd_files() {
    local name
    foreign_packages libhyperscan5 libluajit-5.1-common libluajit-5.1-2 rspamd
    filter_user _rspamd /var/lib/rspamd
    install -d -o _rspamd -g _rspamd -m 750 /var/lib/rspamd /var/lib/rspamd/dkim /var/log/rspamd
    install -d -o _rspamd -g _rspamd -m 755 /run/rspamd
    mkdir -p /etc/rspamd/local.d /etc/rspamd/override.d
    openssl genrsa -traditional -out "/var/lib/rspamd/dkim/$DOMAIN.lab.key" 2048 2>/dev/null
    chown _rspamd:_rspamd "/var/lib/rspamd/dkim/$DOMAIN.lab.key"
    chmod 600 "/var/lib/rspamd/dkim/$DOMAIN.lab.key"
    printf 'selector = "lab";\npath = "/var/lib/rspamd/dkim/$domain.$selector.key";\nuse_esld = false;\n' \
        >/etc/rspamd/local.d/dkim_signing.conf
    printf 'upstream "local" { self_scan = yes; }\n' >/etc/rspamd/local.d/worker-proxy.inc
    printf 'enabled = false;\n' >/etc/rspamd/local.d/worker-normal.inc
    # Compiling patterns for the names of all top-level domains takes 20 seconds.
    printf 'com\nexample\n' >/etc/rspamd/tld.dat
    printf 'filters = "dkim";\nurl_tld = "/etc/rspamd/tld.dat";\ndisable_hyperscan = true;\n' \
        >/etc/rspamd/local.d/options.inc
    # No resolver answers here, and mail is to wait for none.
    printf 'task_timeout = 2s;\ndns { timeout = 0.2s; retransmits = 1; }\n' >>/etc/rspamd/local.d/options.inc
    for name in asn fuzzy_check rbl surbl phishing greylist ratelimit spf dmarc mx_check neural antivirus replies; do
        printf 'enabled = false;\n' >"/etc/rspamd/local.d/$name.conf"
    done
    filter_enabled rspamd
    postconf -e smtpd_milters=inet:127.0.0.1:11332 'non_smtpd_milters = $smtpd_milters'
}
rspamd_start() {
    service rspamd rspamd -c /etc/rspamd/rspamd.conf -f -u _rspamd -g _rspamd
    # The port is there before the worker behind it.
    until_true 60 pgrep -f '^rspamd: rspamd_proxy'
}

# OpenDMARC behind opendkim, whose results it reads.
opendmarc_files() {
    foreign_packages libspf2-2 libopendmarc2 opendmarc
    filter_user opendmarc /run/opendmarc
    install -d -o opendmarc -g postfix -m 750 /var/spool/postfix/opendmarc
    install -d -o opendmarc -g opendmarc -m 755 /run/opendmarc
    sed -i 's,^Socket .*,Socket local:/var/spool/postfix/opendmarc/opendmarc.sock,' /etc/opendmarc.conf
    sed -i 's,^UserID .*,UserID opendmarc:postfix,' /etc/opendmarc.conf
    filter_enabled opendmarc
    postconf -e 'smtpd_milters = unix:opendkim/opendkim.sock, unix:opendmarc/opendmarc.sock' 'non_smtpd_milters = unix:opendkim/opendkim.sock'
}
opendmarc_start() {
    unit opendmarc.service opendmarc
    until_true 5 listens_unix /var/spool/postfix/opendmarc/opendmarc.sock
}
opendmarc_pid() { cat /run/opendmarc/opendmarc.pid; }
