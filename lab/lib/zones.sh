# A world of names on real servers: a root and a top-level domain, signed, on one BIND; the zones below on another one, so
# that delegations are really followed; unbound as the host's resolver, which validates with this root's key. Read by host.sh.
#
#   published                  a mail server of DOMAIN with everything published, and elsewhere.example
#   zone_put NAME <<END        a zone's records (SOA and NS are added); `zones_serve` makes it known
#   zone_add NAME RECORD…      adds lines;  zone_drop NAME PATTERN  takes the lines out that match (grep -E)
#   zone_args NAME ARGUMENTS   how dnssec-signzone signs it (`-s now-3456000 -e now-432000` is expired, for unbound, too); `unsigned` leaves it unsigned
#   zone_below NAME            one more zone below `example`
#   zone_delegation NAME <<END what `example` says of it, in place of the two servers: whole lines with absolute names
#   zones_serve                signs what changed, has it served, and forgets what the resolver knew
#
# Names of zones are without the final dot; records in a zone are relative to it.

ZONES=/run/lab/zones
# The servers: of the root and `example`; of the zones below, twice.
TOP4=127.0.0.5
LEAF4=127.0.0.6
LEAF_SECOND4=127.0.0.7
ZONES_BELOW='harbour.example elsewhere.example'
REVERSE4=113.0.203.in-addr.arpa
REVERSE6=3.1.1.0.8.b.d.0.1.0.0.2.ip6.arpa
REVERSE_FAR4=100.51.198.in-addr.arpa

# All of them.
zones_below() { echo "$ZONES_BELOW"; cat $ZONES/below 2>/dev/null || true; }
zone_below() { grep -qsxF "$1" $ZONES/below || echo "$1" >>$ZONES/below; }
zone_delegation() { cat >"$(zone_dir "$1")/delegation"; }

zone_dir() { if [ "$1" = . ]; then echo $ZONES/root; else echo "$ZONES/$1"; fi; }

# zone_put NAME: the lines of standard input; what stood there before is gone.
zone_put() {
    local dir
    dir=$(zone_dir "$1")
    mkdir -p "$dir"
    cat >"$dir/records"
    touch "$dir/changed"
}
zone_add() {
    local dir
    dir=$(zone_dir "$1")
    shift
    printf '%s\n' "$@" >>"$dir/records"
    touch "$dir/changed"
}
zone_drop() {
    local dir
    dir=$(zone_dir "$1")
    grep -vE -- "$2" "$dir/records" >"$dir/kept" || true
    mv "$dir/kept" "$dir/records"
    touch "$dir/changed"
}
zone_args() {
    local dir
    dir=$(zone_dir "$1")
    echo "$2" >"$dir/args"
    touch "$dir/changed"
}
# zone_keep NAME, zone_back NAME: the records and the way of signing, as they were.
zone_keep() {
    local dir
    dir=$(zone_dir "$1")
    cp "$dir/records" "$dir/records.kept"
    cp "$dir/args" "$dir/args.kept" 2>/dev/null || true
}
zone_back() {
    local dir
    dir=$(zone_dir "$1")
    mv "$dir/records.kept" "$dir/records"
    rm -f "$dir/args"
    if [ -e "$dir/args.kept" ]; then mv "$dir/args.kept" "$dir/args"; fi
    touch "$dir/changed"
}

# zone_key NAME [ALGORITHM]: one key for all; a zone has it for life.
zone_key() {
    local dir
    dir=$(zone_dir "$1")
    [ -e "$dir/key" ] || (cd "$dir" && dnssec-keygen -q -a "${2:-ECDSAP256SHA256}" -f KSK "$1" >key)
}

# zone_make NAME HEAD…: writes and signs a zone; the lines of HEAD stand before its records.
zone_make() {
    local name=$1 dir args origin
    shift
    dir=$(zone_dir "$name")
    args=$(cat "$dir/args" 2>/dev/null || true)
    origin=${name%.}.
    {
        printf '$ORIGIN %s\n$TTL 60\n' "$origin"
        printf '%s\n' "$@"
        cat "$dir/records"
    } >"$dir/zone"
    if [ "$args" = unsigned ]; then
        cp "$dir/zone" "$dir/zone.served"
        rm -f "$dir/dsset"
    else
        zone_key "$name"
        # shellcheck disable=SC2086
        (cd "$dir" && rm -f dsset-* && cat -- *.key >>zone && dnssec-signzone -q -z -P -N keep -o "$origin" $args -f zone.served zone "$(cat key)" >signed.log 2>&1) || cat "$dir/signed.log" >&2
        cat "$dir"/dsset-* >"$dir/dsset"
    fi
    chmod -R go+rX "$dir"
    rm -f "$dir/changed"
}

# Another one each time, also twice within a second.
zone_serial() { echo $(($(date +%s%2N) % 4000000000)); }

# Signs from the leaves to the root, since each parent has the DS records of its children.
zones_serve() {
    local name serial top
    serial=$(zone_serial)
    for name in $(zones_below) $REVERSE4 $REVERSE6 $REVERSE_FAR4; do
        [ -e "$(zone_dir "$name")/changed" ] || continue
        zone_make "$name" "@ SOA ns1.harbour.example. hostmaster.harbour.example. $serial 3600 600 86400 60" \
            '@ NS ns1.harbour.example.' '@ NS ns2.harbour.example.'
    done
    top=$(zone_dir example)
    mkdir -p "$top" "$(zone_dir .)"
    if [ -e "$top/changed" ] || [ "$(cat "$top/below.sum" 2>/dev/null)" != "$(zones_delegated)" ]; then
        zones_delegated >"$top/below.sum"
        touch "$top/records" "$(zone_dir .)/records"
        # shellcheck disable=SC2046
        zone_make example "@ SOA ns.example. hostmaster.example. $serial 3600 600 86400 60" '@ NS ns.example.' "ns A $TOP4" "$(zones_delegated)"
        zone_make . "@ SOA ns.example. hostmaster.example. $serial 3600 600 86400 60" '@ NS ns.example.' \
            'example. NS ns.example.' "ns.example. A $TOP4" "$(cat "$top/dsset" 2>/dev/null)" \
            "$(for name in $REVERSE4 $REVERSE6 $REVERSE_FAR4; do printf '%s. NS ns1.harbour.example.\n%s. NS ns2.harbour.example.\n' "$name" "$name"; done)"
        cat "$(zone_dir .)"/K*.key >$ZONES/anchor
    fi
    zones_run
}

# What `example` says of the zones below it: their servers, the addresses of these, their DS records. The delegation of a zone
# is its own file where a fault has put one.
zones_delegated() {
    local name dir
    for name in $(zones_below); do
        dir=$(zone_dir "$name")
        if [ -e "$dir/delegation" ]; then cat "$dir/delegation"; else printf '%s. NS ns1.harbour.example.\n%s. NS ns2.harbour.example.\n' "$name" "$name"; fi
        if [ -e "$dir/ds" ]; then cat "$dir/ds"; else cat "$dir/dsset" 2>/dev/null || true; fi
    done
    printf 'ns1.harbour.example. A %s\nns2.harbour.example. A %s\n' $LEAF4 $LEAF_SECOND4
}

# named_conf FILE ADDRESSES… -- ZONES…
named_conf() {
    local file=$1 addresses='' name
    shift
    while [ "$1" != -- ]; do addresses="$addresses $1;"; shift; done
    shift
    {
        printf 'options { directory "%s"; listen-on {%s }; listen-on-v6 { none; }; recursion no; dnssec-validation no; max-records-per-type 0; pid-file none; session-keyfile none; };\ncontrols { };\n' $ZONES "$addresses"
        for name in "$@"; do printf 'zone "%s" { type primary; file "%s/zone.served"; };\n' "$name" "$(zone_dir "$name")"; done
    } >"$file"
}

zones_run() {
    local address
    # shellcheck disable=SC2046
    named_conf $ZONES/leaf.conf $LEAF4 $LEAF_SECOND4 -- $(zones_below) $REVERSE4 $REVERSE6 $REVERSE_FAR4
    if ! [ -e /run/lab/named-top.pid ]; then
        # named listens on addresses that an interface has.
        for address in $TOP4 $LEAF4 $LEAF_SECOND4; do ip addr replace "$address/32" dev lo; done
        named_conf $ZONES/top.conf $TOP4 -- . example
        chmod -R go+rX $ZONES
        service named-top named -f -n 1 -c $ZONES/top.conf
        service named-leaf named -f -n 1 -c $ZONES/leaf.conf
        printf '. 3600 NS ns.example.\nns.example. 3600 A %s\n' $TOP4 >$ZONES/hints
        zones_resolver 'validator iterator'
    else
        kill -HUP "$(service_pid named-top)" "$(service_pid named-leaf)"
    fi
    until_true 10 zones_are_served
    zones_forget
}
# What the servers say is what the files say. One dig asks for all: a hundred of them take seconds to begin.
zones_are_served() {
    local name address asked='' wanted='' said
    for name in $(zones_below) $REVERSE4 $REVERSE6 $REVERSE_FAR4; do
        asked="$asked $name SOA"
        wanted="$wanted$name $(zone_file_serial "$name")"$'\n'
    done
    for address in $LEAF4 $LEAF_SECOND4; do
        # shellcheck disable=SC2086
        said=$(dig +noall +answer +time=1 +tries=1 "@$address" $asked | awk '{ sub(/\.$/, "", $1); print $1, $7 }')
        diff <(sort <<<"${wanted%?}") <(sort <<<"$said") >&2 || return 1
    done
    [ "$(dig +short +time=1 +tries=1 @$TOP4 example SOA | cut -d' ' -f3)" = "$(zone_file_serial example)" ]
}
zone_file_serial() { sed -n 's/^@ SOA [^ ]* [^ ]* \([0-9]*\) .*/\1/p' "$(zone_dir "$1")/zone"; }

# zones_resolver MODULES: unbound as the host's own resolver, `validator iterator` or `iterator` alone. Reverse names of the
# documentation's prefixes are answered by unbound itself unless it is told not to.
zones_resolver() {
    {
        printf 'server:\n interface: 127.0.0.1\n do-daemonize: no\n use-syslog: no\n username: ""\n chroot: ""\n pidfile: ""\n do-ip6: no\n do-not-query-localhost: no\n'
        printf ' root-hints: %s/hints\n trust-anchor-file: %s/anchor\n module-config: "%s"\n' $ZONES $ZONES "$1"
        printf ' local-zone: "%s" nodefault\n' 100.51.198.in-addr.arpa 113.0.203.in-addr.arpa 8.b.d.0.1.0.0.2.ip6.arpa
        printf 'remote-control:\n control-enable: no\n'
    } >$ZONES/unbound.conf
    zones_resolver_start
}
zones_resolver_start() {
    service unbound unbound -d -c $ZONES/unbound.conf
    until_true 10 resolves example SOA
}
resolves() { dig +time=1 +tries=1 @127.0.0.1 "$@" | grep -q 'status: NOERROR'; }
# Whatever the resolver knew is gone.
zones_forget() {
    end_service unbound
    zones_resolver_start
}

# dns_says NAME TYPE WORDS: what the host's resolver answers has these words.
dns_says() { dig +time=2 +tries=1 @127.0.0.1 "$1" "$2" | grep -q -- "$3"; }
dns_status() { dig +time=2 +tries=1 @127.0.0.1 "$1" "$2" | grep -q "status: $3"; }

# The TXT record of the key that the host's milter signs with.
dkim_record() {
    local key
    key=$(openssl rsa -in /etc/dkimkeys/lab.private -pubout -outform DER 2>/dev/null | base64 -w0)
    printf 'lab._domainkey TXT ( "v=DKIM1; k=rsa; p=" "%s" "%s" )\n' "${key:0:200}" "${key:200}"
}
# tlsa_of PORT HOST [KEY]: 3 1 1 of the server's key.
tlsa_of() {
    local hash
    hash=$(openssl pkey -in "${3:-/etc/ssl/mail/key.pem}" -pubout -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1)
    printf '_%s._tcp.%s TLSA 3 1 1 %s\n' "$1" "$2" "$hash"
}

# Everything that this host's domain has published, for the servers as they are set up.
zone_harbour() {
    zone_put harbour.example <<END
ns1 A $LEAF4
ns2 A $LEAF_SECOND4
@ MX 10 mail
@ TXT "v=spf1 mx -all"
mail A $HOST4
mail AAAA $HOST6
mail TXT "v=spf1 a -all"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:postmaster@$DOMAIN"
_smtp._tls TXT "v=TLSRPTv1; rua=mailto:postmaster@$DOMAIN"
$(if [ -e /etc/dkimkeys/lab.private ]; then dkim_record; fi)
$(if [ -e /etc/ssl/mail/key.pem ]; then tlsa_of 25 mail; fi)
END
    zone_put $REVERSE4 <<END
25 PTR $HOST_NAME.
END
    zone_put $REVERSE6 <<END
5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR $HOST_NAME.
END
}
# The other side of the world, where mail of this host goes.
zone_elsewhere() {
    zone_put elsewhere.example <<END
@ MX 10 mx
@ TXT "v=spf1 mx -all"
mx A $FAR4
mx AAAA $FAR6
mx TXT "v=spf1 a -all"
_dmarc TXT "v=DMARC1; p=reject"
END
    zone_put $REVERSE_FAR4 <<END
25 PTR mx.elsewhere.example.
END
}

# Names are looked up where they are published, and mxray trusts the root of this world.
zones_known() {
    zone_args $REVERSE4 unsigned
    zone_args $REVERSE6 unsigned
    zone_args $REVERSE_FAR4 unsigned
    printf '[dns]\ntrust_anchor_file = "%s/anchor"\n' $ZONES >>/etc/mxray/mxray.toml
    if [ -e /run/lab/nameserver.pid ]; then name_server_stop; fi
    zones_serve
}

# published: the host of `mail_server`, all that its domain publishes, and mail to elsewhere.example by its MX record.
published() {
    mail_server
    postconf -X transport_maps
    postfix_reload
    zone_harbour
    zone_elsewhere
    zones_known
}
