"""A policy service in the manner of postgrey: answers DUNNO to every request."""
import socket
import socketserver
import sys


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if line == b"\n":
                self.wfile.write(b"action=DUNNO\n\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if ":" in sys.argv[1]:
    Server.address_family = socket.AF_INET6
Server((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
