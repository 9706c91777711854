# The greeting's capabilities never end
plan: depth=ehlo
endless: "NOTIFY" "mailto"\r\n
expect: /ending/limit/limit = "reply_lines"
anomalies:
findings: MBOX107
