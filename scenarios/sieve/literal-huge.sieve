plan: depth=tls
S: "IMPLEMENTATION" {4294967295}
expect: /ending/limit/limit = "line_bytes"
anomalies:
findings: MBOX107
