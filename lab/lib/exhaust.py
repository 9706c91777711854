"""Takes every local port towards one destination and holds the connections until standard input ends.

usage: exhaust.py ADDRESS PORT
"""
import errno
import socket
import sys

held = []
while True:
    connection = socket.socket()
    try:
        connection.connect((sys.argv[1], int(sys.argv[2])))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        break
    held.append(connection)
print(f"{len(held)} connections", flush=True)
print("ready", flush=True)
sys.stdin.read()
