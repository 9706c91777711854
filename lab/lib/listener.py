"""Some other program's listener: holds a port and speaks another language.

usage: listener.py PORT [ADDRESS…]
"""
import socket
import sys

held = []
for address in sys.argv[2:] or ["0.0.0.0", "::"]:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, int(sys.argv[1])))
    listener.listen(16)
    held.append(listener)
while True:
    connection, _ = held[0].accept()
    connection.close()
