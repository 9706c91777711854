# Sendmail as Debian packages it. Its packages conflict with Postfix's, so they are unpacked into the machine; what their
# scripts would do besides is done here.

SENDMAIL=/usr/libexec/sendmail/sendmail

sendmail_packages() {
    foreign_packages libsigsegv2 m4 sendmail-base sendmail-cf sendmail-bin
    local user
    for user in smmta smmsp; do
        getent passwd $user >/dev/null || useradd -r -M -d /var/lib/sendmail -s /usr/sbin/nologin -U $user
    done
    install -d -o smmta -g smmsp -m 2755 /run/sendmail/mta /run/sendmail/stampdir
    install -d -o smmsp -g smmsp -m 2755 /run/sendmail/msp
    install -d -m 755 /var/lib/sendmail/host_status
    install -d -o smmta -g smmsp -m 2750 /var/spool/mqueue
    install -d -o smmsp -g smmsp -m 2770 /var/spool/mqueue-client
    install -d -g mail -m 2775 /var/mail
    touch /etc/mail/m4/dialup.m4 /etc/mail/m4/provider.m4 /etc/mail/local-host-names
    # There is no name server: nothing may wait for one.
    cp /etc/mail/service.switch-nodns /etc/mail/service.switch
    printf 'postmaster: root\n' >/etc/mail/aliases
    id bob >/dev/null 2>&1 || useradd -M -s /usr/sbin/nologin bob
    # It is called with the sender in front: `to-spool -f bob@… bob`.
    printf '#!/bin/sh\nfor user; do :; done\nexec cat >>"/var/mail/$user"\n' >/usr/local/bin/to-spool
    chmod 755 /usr/local/bin/to-spool
    : >/etc/mail/access
    : >/etc/mail/mailertable
    # makemap asks sendmail.cf who may own its maps.
    sendmail_mc
    sendmail_maps
    cp /usr/share/sendmail/cf/debian/submit.mc /etc/mail/submit.mc
    (cd /etc/mail && m4 submit.mc >submit.cf)
    $SENDMAIL -bi >/dev/null 2>&1
}
sendmail_maps() {
    local map
    for map in access mailertable; do /usr/libexec/sendmail/makemap hash /etc/mail/$map </etc/mail/$map; done
}

# sendmail_mc [SED-SCRIPT]: Debian's own sendmail.mc, changed, with a delivery program that is there.
sendmail_mc() {
    sed -e '/conncontrol\|ratecontrol\|greet_pause/d' -e "${1:-}" /usr/share/sendmail/cf/debian/sendmail.mc |
        sed "/^MAILER_DEFINITIONS/i FEATURE(\`local_procmail', \`/usr/local/bin/to-spool', \`to-spool \$u', \`SPfhn9')dnl\n\
FEATURE(\`mailertable')dnl\nFEATURE(\`accept_unresolvable_domains')dnl" >/etc/mail/sendmail.mc
    if [ -e /run/lab/sendmail-tls ]; then
        sed -i -e '/^MAILER_DEFINITIONS/{' -e 'e cat /run/lab/sendmail-tls' -e '}' /etc/mail/sendmail.mc
    fi
    (cd /etc/mail && m4 sendmail.mc >sendmail.cf)
}
# sendmail_certificate NAME: a certificate of the lab's authority; sendmail_mc, called after this, has it offered.
sendmail_certificate() {
    make_certificate "$1"
    local define
    for define in CERT=cert.pem KEY=key.pem; do
        echo "define(\`confSERVER_${define%%=*}', \`/etc/ssl/mail/${define#*=}')dnl"
    done >/run/lab/sendmail-tls
    # Without these two sendmail offers no TLS at all; V: it asks no client for a certificate.
    printf "define(\`confCACERT_PATH', \`/etc/ssl/certs')dnl\ndefine(\`confCACERT', \`/etc/ssl/mail/cert.pem')dnl\ndefine(\`confTLS_SRV_OPTIONS', \`V')dnl\n" >>/run/lab/sendmail-tls
}
# On all addresses instead of loopback.
SENDMAIL_PUBLIC="s/, *Addr=127.0.0.1')/')/"

sendmail_start() {
    unit sendmail.service $SENDMAIL -bd -q10m -L sm-mta
    until_true 10 sendmail_runs
}
sendmail_pid() { head -n 1 /run/sendmail/mta/sendmail.pid; }
sendmail_runs() { [ -s /run/sendmail/mta/sendmail.pid ] && [ -d "/proc/$(sendmail_pid)" ]; }
sendmail_stop() {
    local pid
    pid=$(sendmail_pid)
    kill "$pid"
    until_true 10 not test -d "/proc/$pid"
    rm -f /run/sendmail/mta/sendmail.pid
}
sendmail_restart() { sendmail_stop; sendmail_start; }
sendmail_queue_empty() { [ -z "$(find /var/spool/mqueue -name 'qf*' -print -quit)" ]; }
in_spool() { grep -qs "$2" "/var/mail/$1"; }
