# An answer that would steer a terminal: kept byte for byte, and spelled
plan: depth=greeting
s: "SASL" "PLAIN"\r\nOK "\x1b[2J\xff \\"quoted\\""\r\n
C: LOGOUT
S: OK
expect: /greeting/value/text = "\\x1b[2J\\xff \"quoted\""
expect: /ending = "finished"
anomalies:
