"""Listeners that share a port by SO_REUSEPORT, each in a process of its own, as a server's workers have them.

usage: share.py PORT ADDRESS COUNT
"""
import os
import socket
import sys

port, address, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for _ in range(count - 1):
    if os.fork() == 0:
        break
listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
if ":" in address:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
listener.bind((address, port))
listener.listen(16)
while True:
    connection, _ = listener.accept()
    connection.close()
