"""A web server for one policy file, over TLS.

usage: web.py ADDRESS CERTIFICATE KEY DIRECTORY
GET of /.well-known/mta-sts.txt gives DIRECTORY/mta-sts.txt as text/plain. Where DIRECTORY/redirect is, every path is
answered by 301 to what it says; a file that is not there by 404. Certificate and key are read for each connection.
"""
import os
import socket
import ssl
import sys

address, certificate, key, directory = sys.argv[1:5]
server = socket.create_server((address, 443), backlog=16)


def answer(request):
    redirect = os.path.join(directory, "redirect")
    if os.path.exists(redirect):
        target = open(redirect).read().strip()
        return f"HTTP/1.1 301 Moved Permanently\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    path = os.path.join(directory, "mta-sts.txt")
    if request.startswith(b"GET /.well-known/mta-sts.txt ") and os.path.exists(path):
        body = open(path, "rb").read()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body
    return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


while True:
    plain, _ = server.accept()
    plain.settimeout(5)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with context.wrap_socket(plain, server_side=True) as connection:
            request = b""
            while b"\r\n\r\n" not in request and len(request) < 8192:
                piece = connection.recv(4096)
                if not piece:
                    break
                request += piece
            connection.sendall(answer(request))
    except OSError:
        pass
    finally:
        plain.close()
