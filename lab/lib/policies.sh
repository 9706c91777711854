# Policies for the way to this host: MTA-STS on a web server of its own, SRV records for its users. Read by host.sh, behind
# zones.sh.

STS=/run/lab/sts

# sts_policy MODE MX…: the policy file.
sts_policy() {
    local mode=$1 name
    shift
    mkdir -p $STS
    {
        printf 'version: STSv1\nmode: %s\n' "$mode"
        for name in "$@"; do printf 'mx: %s\n' "$name"; done
        printf 'max_age: 604800\n'
    } >$STS/mta-sts.txt
}

# sts_certificate NAME BEGIN DAYS: what the web server presents; with a key of its own.
sts_certificate() {
    openssl ecparam -genkey -name prime256v1 -noout -out $STS/key.pem 2>/dev/null
    openssl req -new -key $STS/key.pem -subj "/CN=$1" -out $STS/leaf.csr 2>/dev/null
    printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n' "$1" >$STS/leaf.ext
    faketime -f "$2" openssl x509 -req -in $STS/leaf.csr -CA $CA/intermediate.pem -CAkey $CA/intermediate.key -CAcreateserial \
        -days "$3" -extfile $STS/leaf.ext -out $STS/leaf.pem 2>/dev/null
    cat $STS/leaf.pem $CA/intermediate.pem >$STS/cert.pem
}

sts_start() { service web python3 $LAB/web.py "$HOST4" $STS/cert.pem $STS/key.pem $STS && until_true 5 listens 443; }

# sts_says WORDS: the policy as curl and everybody who checks would have it; sts_head WORDS: the head of the answer.
sts_file() { printf 'GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.%s\r\n\r\n' $DOMAIN; }
sts_ask() {
    sts_file | timeout 5 openssl s_client -quiet -ign_eof -verify_return_error -verify_hostname mta-sts.$DOMAIN \
        -servername mta-sts.$DOMAIN -CAfile /etc/ssl/certs/ca-certificates.crt -connect "$HOST4:443" 2>&1
}
sts_says() { sts_ask | grep -q -- "$*"; }

# with_policies: the host of `published`, with a policy that is enforced and SRV records.
with_policies() {
    published
    sts_policy enforce $HOST_NAME
    sts_certificate mta-sts.$DOMAIN -30d 90
    sts_start
    zone_add harbour.example "mta-sts A $HOST4" '_mta-sts TXT "v=STSv1; id=20260101"' \
        '_imaps._tcp SRV 0 1 993 mail' '_submission._tcp SRV 0 1 587 mail' '_pop3s._tcp SRV 0 0 0 .'
    zones_serve
}

# has_signatures NAME TYPE: signatures come along with the answer.
has_signatures() { dig +dnssec +time=2 +tries=1 @127.0.0.1 "$1" "$2" | grep -q RRSIG; }
