plan: depth=tls
S: "STARTTLS"
S: OK
C: STARTTLS
S: OK "go"
S: "SASL" "PLAIN"
expect: /starttls/value/injected/ok = true
expect: /ending = "distrusted"
anomalies: text_before_tls
findings: ABUSE103
