# The server's proof comes with success
plan: depth=auth user=user password=pencil mechanisms=scram-sha-1 tls=implicit
tls: ok
S: "SASL" "SCRAM-SHA-1"
S: OK
C: AUTHENTICATE "SCRAM-SHA-1" "biwsbj11c2VyLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdM"
S: {96}
S: cj1meWtvK2QybGJiRmdPTlJ2OXFreGRhd0wzcmZjTkhZSlkxWlZ2V1ZzN2oscz1RU1hDUitRNnNlazhiZjkyLGk9NDA5Ng==
C: "Yz1iaXdzLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdMM3JmY05IWUpZMVpWdldWczdqLHA9djBYOHYzQnoyVDBDSkdiSlF5RjBYK0hJNFRzPQ=="
S: OK (SASL "dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9")
C: LOGOUT
S: OK
expect: /login/value/server_proved_itself = true
expect: /ending = "finished"
anomalies:
