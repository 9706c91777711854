# An authority of the lab's own, as in real life: a root that the host trusts, an intermediate that signs, a leaf for the
# server. Read by host.sh.

CA=/run/lab/ca

# lab_ca: makes root and intermediate, and has the host trust the root. Once for each host.
lab_ca() {
    [ -e $CA/intermediate.pem ] && return
    mkdir -p $CA
    new_root root 'Lab Root'
    authority_signed intermediate 'Lab Issuing' root
    cat $CA/root.pem >>/etc/ssl/certs/ca-certificates.crt
}

# new_root FILE NAME: a root that nobody trusts yet.
new_root() {
    mkdir -p $CA
    faketime -f -400d openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$2" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$CA/$1.key" -out "$CA/$1.pem" 2>/dev/null
}

# authority_signed FILE NAME BY: an authority below another one.
authority_signed() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" -keyout "$CA/$1.key" -out "$CA/$1.csr" 2>/dev/null
    printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n' >"$CA/$1.ext"
    faketime -f -400d openssl x509 -req -in "$CA/$1.csr" -CA "$CA/$3.pem" -CAkey "$CA/$3.key" -CAcreateserial -days 1825 \
        -extfile "$CA/$1.ext" -out "$CA/$1.pem" 2>/dev/null
}

# issue NAME BEGIN DAYS [BY]: a certificate for a name into $CA/leaf.pem, with its key in /etc/ssl/mail/key.pem, which is
# made once. BEGIN is where its time begins, as libfaketime has it (-100d, +10d).
issue() {
    local by=${4:-intermediate}
    mkdir -p /etc/ssl/mail
    if ! [ -e /etc/ssl/mail/key.pem ]; then
        openssl ecparam -genkey -name prime256v1 -noout -out /etc/ssl/mail/key.pem 2>/dev/null
        chmod 600 /etc/ssl/mail/key.pem
    fi
    openssl req -new -key /etc/ssl/mail/key.pem -subj "/CN=$1" -out $CA/leaf.csr 2>/dev/null
    printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n' "$1" >$CA/leaf.ext
    faketime -f "$2" openssl x509 -req -in $CA/leaf.csr -CA "$CA/$by.pem" -CAkey "$CA/$by.key" -CAcreateserial -days "$3" \
        -extfile $CA/leaf.ext -out $CA/leaf.pem 2>/dev/null
}

# make_certificate NAME: the certificate that the host presents, with its chain.
make_certificate() {
    lab_ca
    issue "$1" -30d 90
    cat $CA/leaf.pem $CA/intermediate.pem >/etc/ssl/mail/cert.pem
}

# present FILE…: puts these into the file that the servers present, and has them read it. The master of Postfix need not.
present() {
    cat "$@" >/run/lab/presented.pem
    cat /run/lab/presented.pem >/etc/ssl/mail/cert.pem
    [ -e /etc/postfix/main.cf ] && postfix_reload
    if pgrep -x dovecot >/dev/null; then dovecot_restart; fi
    until_true 10 greets "$HOST4" 587
}

# shows PORT WORDS…: openssl, as a client with the host's roots, says this of the certificate at that port.
shows() {
    local port=$1 starttls
    shift
    case $port in
    25 | 587) starttls='-starttls smtp' ;;
    143) starttls='-starttls imap' ;;
    *) starttls= ;;
    esac
    # shellcheck disable=SC2086
    timeout 5 openssl s_client -connect "$HOST4:$port" $starttls -verify_hostname "$HOST_NAME" -CAfile /etc/ssl/certs/ca-certificates.crt \
        </dev/null 2>&1 | grep -q "$*"
}

# offers PORT WORD, offers_in_clear PORT WORD: does the server announce it, under TLS or without?
offers() { ehlo_under_tls "$1" | grep -q "^250[- ]$2"; }
ehlo_under_tls() {
    printf 'EHLO client.elsewhere.example\r\nQUIT\r\n' |
        timeout 5 openssl s_client -quiet -ign_eof -starttls smtp -connect "127.0.0.1:$1" 2>/dev/null || true
}
offers_in_clear() {
    local line
    exec 5<>"/dev/tcp/127.0.0.1/$1"
    printf 'EHLO client.elsewhere.example\r\nQUIT\r\n' >&5
    while read -r -t 5 -u 5 line; do case $line in 250?"$2"*) exec 5>&-; return 0 ;; esac; done
    exec 5>&-
    return 1
}
