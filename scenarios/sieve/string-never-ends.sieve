# A quoted string without its end
plan: depth=ehlo
s: "IMPLEMENTATION" "x
endless: y
expect: /ending/limit/limit = "line_bytes"
anomalies:
findings: MBOX107
