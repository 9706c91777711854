"""Opens connections, says a word on each and hangs up. Says "ready", and stays until standard input ends.

usage: hangup.py COUNT ADDRESS PORT
"""
import socket
import sys

count, address, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
held = [socket.create_connection((address, port), timeout=10) for _ in range(count)]
for connection in held:
    connection.sendall(b"hello\r\n")
    connection.close()
print("ready", flush=True)
sys.stdin.read()
