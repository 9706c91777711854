plan: depth=tls
S+: 300 "X" "y"\r\n
expect: /ending/limit/limit = "reply_lines"
anomalies:
findings: MBOX107
