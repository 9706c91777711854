plan: depth=tls
S: "STARTTLS"
S: OK
C: STARTTLS
S: NO "not now"
C: LOGOUT
S: OK
expect: /starttls/value/refused/text = "not now"
anomalies:
findings: TLS102
