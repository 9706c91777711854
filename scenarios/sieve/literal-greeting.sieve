# The text of an answer as a literal that looks like one itself
plan: depth=greeting
S: "IMPLEMENTATION" {5}
S: NO it
S: "SASL" ""
S: OK
C: LOGOUT
S: OK
expect: /greeting/value/ok = true
expect: /ending = "finished"
anomalies:
