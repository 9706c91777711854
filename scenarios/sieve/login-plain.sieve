plan: depth=auth user=tim password=tanstaaf mechanisms=plain tls=implicit
tls: ok
S: "SASL" "PLAIN"
S: OK
C: AUTHENTICATE "PLAIN" "AHRpbQB0YW5zdGFhZg=="
S: NO "Authentication failed."
C: LOGOUT
S: OK
expect: /login/value/reply/value/ok = false
expect: /login/value/reply/value/text = "Authentication failed."
anomalies:
findings: AUTH106
