plan: depth=tls
wait: 20000
expect: /greeting/unknown/timed_out/after_ms = 10000
anomalies:
