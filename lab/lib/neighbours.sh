# Software besides mail servers that keeps ports: its files as Debian's packages ship them, its units, and the links that
# enable them. Where a program of it has to run, either the real one does, or one that holds its port.

# neighbour_unit NAME SECTION-LINES…: a unit file; `enable_unit NAME` pulls it in.
neighbour_unit() {
    local name=$1
    shift
    printf '[Unit]\nDescription=%s\n[Service]\n' "$name" >"/etc/systemd/system/$name.service"
    printf '%s\n' "$@" >>"/etc/systemd/system/$name.service"
    printf '[Install]\nWantedBy=multi-user.target\n' >>"/etc/systemd/system/$name.service"
}
enable_unit() {
    mkdir -p /etc/systemd/system/multi-user.target.wants
    ln -sf "/etc/systemd/system/$1.service" "/etc/systemd/system/multi-user.target.wants/$1.service"
}
forget_unit() { rm -f "/etc/systemd/system/$1.service" "/etc/systemd/system/multi-user.target.wants/$1.service"; }
unit_is_enabled() { test -L "/etc/systemd/system/multi-user.target.wants/$1.service"; }

# shares_25 PROGRAM: it has a socket on port 25 of all addresses.
shares_25() { ss -Hltnp 'sport = :25' | grep -F '0.0.0.0:25 ' | grep -q "\"$1\""; }

# The filter's file of Debian, with the port on which it listens by default.
amavis_files() {
    mkdir -p /etc/amavis/conf.d
    printf 'use strict;\n$unix_socketname = "/var/lib/amavis/amavisd.sock";\n$inet_socket_port = 10024;   # default listening socket\n1;\n' \
        >/etc/amavis/conf.d/20-debian_defaults
    neighbour_unit amavis 'ExecStart=/usr/sbin/amavisd foreground'
}
# postsrsd_files FORWARD-PORT
postsrsd_files() {
    printf 'SRS_SEPARATOR==\nSRS_SECRET=/etc/postsrsd.secret\nSRS_FORWARD_PORT=%s\nSRS_REVERSE_PORT=10002\nSRS_LISTEN_ADDR=127.0.0.1\n' "$1" \
        >/etc/default/postsrsd
    neighbour_unit postsrsd 'ExecStart=/usr/share/postsrsd/postsrsd-systemd-launcher'
}
# engine_start LIST INSPECTED: a container engine's API on its socket, by a process of the engine's name.
engine_start() {
    cp "$(command -v python3)" /usr/local/bin/dockerd
    neighbour_unit docker 'ExecStart=/usr/bin/dockerd -H fd://'
    enable_unit docker
    printf '%s' "$1" >/run/lab/containers.json
    printf '%s' "$2" >/run/lab/container.json
    rm -f /run/docker.sock
    service docker /usr/local/bin/dockerd $LAB/engine.py /run/docker.sock /run/lab/containers.json /run/lab/container.json
    until_true 5 test -S /run/docker.sock
}
engine_end() {
    end_service docker
    rm -f /run/docker.sock
    forget_unit docker
}
