"""A container engine's API: answers GET /containers/json and GET /containers/ID/json from two files, in chunks as the real
one does. Anything else ends it, so that a request which would change something is seen.

usage: engine.py SOCKET LIST INSPECTED
"""
import socket
import sys


def answer(request):
    line = request.split(b"\r\n")[0].decode()
    method, target, _ = line.split(" ")
    if method != "GET":
        sys.exit(f"asked to change something: {line}")
    name = sys.argv[2] if target.startswith("/containers/json") else sys.argv[3]
    with open(name, "rb") as file:
        body = file.read()
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(16)
while True:
    client, _ = listener.accept()
    with client:
        request = b""
        while b"\r\n\r\n" not in request and (more := client.recv(4096)):
            request += more
        if b"\r\n\r\n" in request:
            client.sendall(answer(request))
