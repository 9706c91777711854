plan: depth=tls
S: BYE (TRYLATER) "too many"
expect: /greeting/value/status = "BYE"
expect: /ending = "refused"
anomalies:
