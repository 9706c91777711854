# An old server that does not list its capabilities behind TLS by itself (RFC 5804 section 2.2 says that it must)
plan: depth=tls
S: "STARTTLS"
S: OK
C: STARTTLS
S: OK
tls: ok
wait: 20000
C: LOGOUT
expect: /capabilities/1/tls = true
expect: /capabilities/1/listed/unknown/timed_out/what = "the list of capabilities"
expect: /starttls/value/established/ok = true
anomalies:
