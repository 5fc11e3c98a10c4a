"""Probes a server of probe.py at a steady rate and keeps, of each probe, when it was sent and whether it was answered."""
import json
import selectors
import signal
import socket
import sys
import time

kind, host, port, interval = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
poll = selectors.DefaultSelector()
sent = []
answered = set()
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))


def connected(sock_type):
    sock = socket.socket(family, sock_type)
    if sock_type == socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(10)
    sock.connect((host, port))
    sock.setblocking(False)
    return sock


def take(data):
    """An echoed datagram is `who …\\nINDEX\\n`, a piece of a stream is lines of indices after its first."""
    for line in data.split(b"\n"):
        if line.isdigit():
            answered.add(int(line))


same = None if kind == "fresh" else connected(socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
if same is not None:
    poll.register(same, selectors.EVENT_READ)
open_flows = []
rest = b""
print(f"probing from {same.getsockname()[1] if same else 0}", flush=True)
due = time.monotonic()
while not stopped:
    now = time.monotonic()
    if now >= due:
        due = max(due + interval, now - 0.05)
        word = f"{len(sent)}\n".encode()
        try:
            sock = same
            if sock is None:
                sock = connected(socket.SOCK_DGRAM)
                poll.register(sock, selectors.EVENT_READ)
                open_flows.append((now, sock))
            sent.append(time.monotonic_ns() // 1000)
            sock.send(word)
        except OSError:
            pass
        while open_flows and open_flows[0][0] < now - 0.5:
            _, old = open_flows.pop(0)
            poll.unregister(old)
            old.close()
    for key, _ in poll.select(max(0, min(0.005, due - time.monotonic()))):
        try:
            data = key.fileobj.recv(65535)
        except OSError:
            continue
        if kind == "tcp":
            whole, mark, rest = (rest + data).rpartition(b"\n")
            take(whole)
            if not data:
                poll.unregister(key.fileobj)
        else:
            take(data)
print(json.dumps({"sent": sent, "answered": sorted(answered)}), flush=True)
