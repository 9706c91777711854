# OpenSMTPD as Debian packages it. Its package conflicts with Postfix's, so it is unpacked into the machine; what its
# scripts would do besides is done here.

opensmtpd_package() {
    foreign_packages libevent-2.1-7 opensmtpd
    getent passwd opensmtpd >/dev/null || useradd -r -M -d /var/lib/opensmtpd -s /usr/sbin/nologin -U opensmtpd
    getent passwd opensmtpq >/dev/null || useradd -r -M -d /var/lib/opensmtpd/empty -s /usr/sbin/nologin -U opensmtpq
    install -d -m 711 /var/lib/opensmtpd/empty
    id vmail >/dev/null 2>&1 || useradd -K SYS_UID_MAX=5000 -r -u 5000 -d /var/mail/vhosts -s /usr/sbin/nologin vmail
    install -d -o vmail -g vmail /var/mail/vhosts
    # smtpd refuses a spool that somebody else began.
    rm -rf /var/spool/smtpd
    printf 'postmaster: root\n' >/etc/aliases
}

# opensmtpd_conf: the mail exchanger of $DOMAIN. Without TLS: Debian 12's smtpd hands its keys to a process of their own,
# and with OpenSSL 3 every handshake then fails ("missing private key").
opensmtpd_conf() {
    cat >/etc/smtpd.conf <<END
wan = "eth0"
table aliases file:/etc/aliases
table mailboxes { "@$DOMAIN" = "vmail" }

smtp max-message-size "20M"
srs key "lab-srs-secret"

listen on lo
listen on \$wan \\
    port 25 tag outside

action "mailboxes" maildir "/var/mail/vhosts/%{dest.domain}/%{dest.user}/Maildir" virtual <mailboxes>
action "local" mbox alias <aliases>
action "elsewhere" relay host "smtp://$FAR4" srs
action "relay" relay

match from any for domain "$DOMAIN" action "mailboxes"
match for local action "local"
match for domain "elsewhere.example" action "elsewhere"
match from local for any action "relay"
END
}

# An address that is still checked for duplicates cannot be bound, and smtpd takes all that an interface has.
opensmtpd_start() {
    until_true 10 not_tentative
    smtpd -n
    unit opensmtpd.service smtpd
    until_true 10 opensmtpd_serves
}
not_tentative() { [ -z "$(ip -6 addr show tentative)" ]; }
opensmtpd_serves() { opensmtpd_runs && pgrep -f '^smtpd: scheduler' && test -S /var/run/smtpd.sock; }
opensmtpd_pid() { cat /run/smtpd.pid; }
opensmtpd_runs() { [ -s /run/smtpd.pid ] && [ -d "/proc/$(opensmtpd_pid)" ]; }
# The workers leave when they see that the parent is gone.
opensmtpd_stop() {
    kill "$(opensmtpd_pid)"
    opensmtpd_gone
}
opensmtpd_gone() {
    until_true 10 not pgrep -x smtpd
    rm -f /run/smtpd.pid
}
opensmtpd_restart() { opensmtpd_stop; opensmtpd_start; }
opensmtpd_queue_empty() { [ -z "$(find /var/spool/smtpd/{queue,incoming,offline} -type f -print -quit)" ]; }
