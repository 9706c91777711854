plan: depth=tls
S: "IMPLEMENTATION" "Dovecot Pigeonhole"
S: "SIEVE" "fileinto reject"
S: "STARTTLS"
S: OK "ready."
C: STARTTLS
S: OK "Begin TLS negotiation now."
tls: ok
S: "IMPLEMENTATION" "Dovecot Pigeonhole"
S: "SASL" "PLAIN LOGIN"
S: OK "TLS negotiation successful."
C: LOGOUT
S: OK "Logout completed."
expect: /capabilities/1/listed/value/SASL/parameters = ["PLAIN", "LOGIN"]
expect: /capabilities/0/listed/value/STARTTLS/parameters = []
expect: /ending = "finished"
anomalies:
