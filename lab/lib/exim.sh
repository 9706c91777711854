# Exim as Debian packages it. Its packages conflict with Postfix's, so they are unpacked into the machine; what their
# scripts would do besides is done here.

EXIM_LOG=/var/log/exim4/mainlog

exim_packages() {
    local level
    foreign_packages libidn12 libnsl2 libunbound8 libgnutls-dane0 exim4-config exim4-base exim4-daemon-light
    getent passwd Debian-exim >/dev/null || useradd -r -M -d /var/spool/exim4 -s /usr/sbin/nologin -U Debian-exim
    install -d -o Debian-exim -g adm -m 2750 /var/log/exim4
    install -d -o Debian-exim -g Debian-exim -m 750 /run/exim4 /var/spool/exim4 \
        /var/spool/exim4/db /var/spool/exim4/input /var/spool/exim4/msglog
    install -d -m 755 /var/lib/exim4
    install -d -g mail -m 2775 /var/mail
    chown root:Debian-exim /etc/exim4/passwd.client
    chmod 640 /etc/exim4/passwd.client
    for level in 2 3 4 5; do ln -sf ../init.d/exim4 "/etc/rc$level.d/S01exim4"; done
    [ -e /etc/default/exim4 ] || update-exim4defaults --init
    printf 'mailer-daemon: postmaster\npostmaster: root\n' >/etc/aliases
    id bob >/dev/null 2>&1 || useradd -M -d / -s /usr/sbin/nologin bob
}

# exim_logins: users log in with PLAIN, under TLS only. In front of exim_debconf, which makes the file of it.
exim_logins() {
    local block=/run/lab/exim-logins
    cat >$block <<'END'
plain_server:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth2}{alice}}{eq{$auth3}{alice-secret}}}}
  server_set_id = $auth2
  server_prompts = :
  server_advertise_condition = ${if eq{$tls_in_cipher}{}{}{*}}
END
    sed -i "/^begin authenticators/r $block" /etc/exim4/exim4.conf.template
    cp $block /etc/exim4/conf.d/auth/05_lab
}

# exim_debconf NAME=VALUE…: the answers that Debian's dialogue would have written, and the file made of them.
exim_debconf() {
    local name answer
    : >/etc/exim4/update-exim4.conf.conf
    for name in "dc_eximconfig_configtype='local'" "dc_other_hostnames=''" "dc_local_interfaces='127.0.0.1 ; ::1'" \
        "dc_readhost=''" "dc_relay_domains=''" "dc_minimaldns='false'" "dc_relay_nets=''" "dc_smarthost=''" \
        "CFILEMODE='644'" "dc_use_split_config='false'" "dc_hide_mailname=''" "dc_mailname_in_oh='true'" \
        "dc_localdelivery='mail_spool'"; do
        for answer in "$@"; do
            if [ "${answer%%=*}" = "${name%%=*}" ]; then name="${answer%%=*}='${answer#*=}'"; fi
        done
        echo "$name" >>/etc/exim4/update-exim4.conf.conf
    done
    update-exim4.conf
}

# The daemon as the init script starts it, with /etc/default/exim4.
exim_start() {
    (
        QUEUERUNNER=combined QUEUEINTERVAL=30m QFLAGS='' COMMONOPTIONS='' QUEUERUNNEROPTIONS='' SMTPLISTENEROPTIONS=''
        . /etc/default/exim4
        case $QUEUERUNNER in
        combined) set -- -bd "-q$QFLAGS$QUEUEINTERVAL" $COMMONOPTIONS $QUEUERUNNEROPTIONS $SMTPLISTENEROPTIONS ;;
        no | separate) set -- -bd $COMMONOPTIONS $SMTPLISTENEROPTIONS ;;
        *) exit 1 ;;
        esac
        unit exim4.service /usr/sbin/exim4 "$@"
        if [ "$QUEUERUNNER" = separate ]; then
            unit exim4.service /usr/sbin/exim4 -oP /run/exim4/eximqr.pid "-q$QFLAGS$QUEUEINTERVAL" $COMMONOPTIONS
        fi
    )
}
exim_pid() { cat /run/exim4/exim.pid; }
exim_runs() { [ -s /run/exim4/exim.pid ] && [ -d "/proc/$(exim_pid)" ]; }
exim_stop() {
    local pid
    pid=$(exim_pid)
    kill "$pid"
    until_true 10 not test -d "/proc/$pid"
    rm -f /run/exim4/exim.pid
}
exim_restart() { exim_stop; exim_start; }

exim_queue_empty() { [ -z "$(find /var/spool/exim4/input -type f -print -quit)" ]; }
in_spool() { grep -qs "$2" "/var/mail/$1"; }
