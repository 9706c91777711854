plan: depth=tls
S: NO (TRYLATER) "busy"
expect: /greeting/value/code = "TRYLATER"
expect: /ending = "refused"
anomalies:
