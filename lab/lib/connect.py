"""Connects once. Exit code 0: connected. 1: refused or silent. 3: EADDRNOTAVAIL, no local port left.

usage: connect.py ADDRESS PORT
"""
import errno
import socket
import sys

try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
except OSError as error:
    print(error)
    sys.exit(3 if error.errno == errno.EADDRNOTAVAIL else 1)
