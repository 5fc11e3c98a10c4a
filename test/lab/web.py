"""A web server that may be ill: web.py NAME PORT FILE. A client that speaks first is answered the HTTP status that FILE holds; one that waits for a
quarter of a second is greeted with `who NAME PORT`, and everything that it says then comes back."""
import socket
import sys
import threading

name, port, status_file = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def status():
    with open(status_file) as file:
        return int(file.read())


def speak(peer):
    with peer:
        try:
            peer.settimeout(0.25)
            try:
                said = peer.recv(65536)
            except socket.timeout:
                said = None
            peer.settimeout(None)
            if said is not None and said.startswith(b"GET "):
                return peer.sendall(f"HTTP/1.1 {status()} so\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            peer.sendall(f"who {name} {peer.getpeername()[1]}\n".encode())
            while said != b"":
                if said is not None:
                    peer.sendall(said)
                said = peer.recv(65536)
        except OSError:
            pass


server = socket.create_server(("", port), backlog=256)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    threading.Thread(target=speak, args=(connection,), daemon=True).start()
