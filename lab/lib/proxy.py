"""A front end as haproxy is one: takes connections on PORT and hands them on to TARGET, saying first in PROXY protocol
version 1 who came.

usage: proxy.py PORT TARGET ADDRESS…
"""
import socket
import sys
import threading


def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # Either end may go at any time.


def serve(client, target):
    peer, own = client.getpeername(), client.getsockname()
    family = "TCP6" if client.family == socket.AF_INET6 else "TCP4"
    server = socket.create_connection(("127.0.0.1", target))
    server.sendall(f"PROXY {family} {peer[0]} {own[0]} {peer[1]} {own[1]}\r\n".encode())
    back = threading.Thread(target=carry, args=(server, client), daemon=True)
    back.start()
    carry(client, server)
    back.join()
    client.close()
    server.close()


def listen(address, port, target):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port))
    listener.listen(64)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, target), daemon=True).start()


threads = [
    threading.Thread(target=listen, args=(address, int(sys.argv[1]), int(sys.argv[2])))
    for address in sys.argv[3:]
]
for thread in threads:
    thread.start()
