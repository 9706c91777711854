plan: depth=greeting
S: hello there
S: "SASL" ""
S: OK
C: LOGOUT
S: OK
expect: /greeting/value/ok = true
anomalies: text_before_greeting
findings: MBOX107
