"""What tests need of a network and no shell tool gives: a greeting echo server, a client that names its errno, a steady
stream that measures its gaps, and crafted frames. Needs nothing but Debian's python3."""
import errno
import json
import selectors
import signal
import socket
import struct
import sys
import threading
import time

IP_PKTINFO = 8  # <linux/in.h>; Python has no name for it


def text_address(address):
    host = address[0].split("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def listener(kind, port, bind):
    family = socket.AF_INET6 if bind is None or ":" in bind else socket.AF_INET
    try:
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and bind is None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((bind or "::", port))
    except OSError:
        if bind is not None:
            raise
        # The namespace has IPv6 off.
        sock = socket.socket(socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(256)
    elif sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    return sock


def answer_datagram(sock):
    """Answers from the address that was asked: a host with several would else answer from the route's."""
    data, control, _, address = sock.recvmsg(65535, 256)
    head = f"who {text_address(address)} {address[1]}\n".encode()
    back = []
    for level, kind, value in control:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            back.append((level, kind, value[:16] + struct.pack("I", 0)))
        elif level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            back.append((level, kind, struct.pack("I", 0) + value[8:12] + b"\0" * 4))
    sock.sendmsg([head + data], back, 0, address)


def serve(args):
    bind = next((a[5:] for a in args if a.startswith("bind:")), None)
    poll = selectors.DefaultSelector()
    for arg in args:
        kind, _, port = arg.partition(":")
        if kind == "tcp":
            poll.register(listener(socket.SOCK_STREAM, int(port), bind), selectors.EVENT_READ, "accept")
        elif kind == "udp":
            sock = listener(socket.SOCK_DGRAM, int(port), bind)
            poll.register(sock, selectors.EVENT_READ, "udp")
    print("ready", flush=True)
    while True:
        for key, _ in poll.select():
            sock = key.fileobj
            try:
                if key.data == "accept":
                    peer, address = sock.accept()
                    peer.sendall(f"who {text_address(address)} {address[1]}\n".encode())
                    poll.register(peer, selectors.EVENT_READ, "echo")
                elif key.data == "udp":
                    answer_datagram(sock)
                else:
                    data = sock.recv(65536)
                    if data:
                        sock.sendall(data)
                    else:
                        poll.unregister(sock)
                        sock.close()
            except OSError:
                if key.data == "echo":
                    poll.unregister(sock)
                    sock.close()


def ask(args):
    protocol, host, port, size, timeout, source = args
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(float(timeout))
    body = b"x" * int(size)
    try:
        if int(source):
            sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", int(source)))
        sock.connect((host, int(port)))
        # An echo comes back while the rest is still being sent.
        if protocol == "tcp" and len(body) > 65536:
            threading.Thread(target=sock.sendall, args=(body,), daemon=True).start()
        else:
            sock.sendall(body)
        data = b""
        while b"\n" not in data or len(data.partition(b"\n")[2]) < len(body):
            piece = sock.recv(65535)
            if not piece:
                return print("CLOSED")
            data += piece
        head, _, echoed = data.partition(b"\n")
        print(head.decode()[4:] if echoed == body else "GARBLED")
    except socket.timeout:
        print("TIMEOUT")
    except OSError as error:
        print(errno.errorcode.get(error.errno, str(error)))


def stream(args):
    sock = socket.create_connection((args[0], int(args[1])), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    state = {"exchanges": 0, "longestMs": 0.0, "retransmits": 0, "error": None}
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    sock.settimeout(30)
    lines = sock.makefile("rb")
    lines.readline()
    print("connected", flush=True)
    try:
        while not stopped:
            sent = time.monotonic()
            word = f"{state['exchanges']}\n".encode()
            sock.sendall(word)
            if lines.readline() != word:
                raise OSError("the echo differs")
            state["longestMs"] = max(state["longestMs"], (time.monotonic() - sent) * 1000)
            state["exchanges"] += 1
            print(".", flush=True)
            time.sleep(0.02)
    except OSError as error:
        state["error"] = str(error)
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    state["retransmits"] = struct.unpack_from("I", info, 100)[0]
    print(json.dumps(state), flush=True)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ip4(source, target, protocol, body, options=b""):
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(body), 7, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ip6(source, target, protocol, body, hops=255):
    return struct.pack("!IHBB16s16s", 0x60000000, len(body), protocol, hops,
                       socket.inet_pton(socket.AF_INET6, source), socket.inet_pton(socket.AF_INET6, target)) + body


def icmp6(source, target, kind, body):
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
              + struct.pack("!II", len(message), 58))
    return ip6(source, target, 58, message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:])


def udp4(source, target, sport, dport, body):
    head = struct.pack("!HHHH", sport, dport, 8 + len(body), 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 17, 8 + len(body))
    return head[:6] + struct.pack("!H", checksum(pseudo + head + body) or 0xFFFF) + body


def udp6(source, target, sport, dport, body):
    head = struct.pack("!HHHH", sport, dport, 8 + len(body), 0)
    pseudo = (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
              + struct.pack("!II", 8 + len(body), 17))
    return head[:6] + struct.pack("!H", checksum(pseudo + head + body) or 0xFFFF) + body


def arp(operation, sender_mac, sender, target_mac, target):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, sender_mac, socket.inet_aton(sender),
                       target_mac, socket.inet_aton(target))


def frames(args):
    kind, values = args[0], dict(a.split("=", 1) for a in args[1:])
    device = values.get("device", "eth0")
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((device, 0))
    own = sock.getsockname()[4]
    source_mac = mac(values["sourceMac"]) if "sourceMac" in values else own
    target_mac = mac(values["targetMac"]) if "targetMac" in values else b"\xff" * 6
    source, target = values.get("source", ""), values.get("target", "")
    port = int(values.get("port", 9))
    if kind == "udp4":
        body = ip4(source, target, 17, udp4(source, target, 4000, port, b"spoof"))
        ether = 0x0800
    elif kind == "udp6":
        body = ip6(source, target, 17, udp6(source, target, 4000, port, b"spoof"))
        ether = 0x86DD
    elif kind == "options4":
        # Loose source route through the target's neighbour.
        route = struct.pack("!BBB4sB", 131, 7, 4, socket.inet_aton(values["via"]), 0)
        body = ip4(source, target, 17, udp4(source, target, 4000, port, b"spoof"), route)
        ether = 0x0800
    elif kind == "arp":
        body = arp(int(values.get("operation", 2)), source_mac, source, target_mac, target)
        ether = 0x0806
    elif kind == "ra":
        prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 14400, 0, socket.inet_pton(socket.AF_INET6, "2001:db8:bad::"))
        body = icmp6(source, "ff02::1", 134, struct.pack("!BBHII", 64, 0, 1800, 0, 0) + prefix)
        ether = 0x86DD
    elif kind == "na":
        body = icmp6(source, target, 136, struct.pack("!I", 0xA0000000) + socket.inet_pton(socket.AF_INET6, values["claim"])
                     + b"\x02\x01" + source_mac)
        ether = 0x86DD
    elif kind == "redirect":
        body = icmp6(source, target, 137, struct.pack("!I", 0) + socket.inet_pton(socket.AF_INET6, values["claim"]) * 2)
        ether = 0x86DD
    else:
        raise SystemExit(f"unknown kind {kind}")
    for _ in range(int(values.get("count", 1))):
        sock.send(target_mac + source_mac + struct.pack("!H", ether) + body)
        time.sleep(float(values.get("interval", 0)))
    print("sent", values.get("count", 1))


def tunnel(args):
    """Sends VXLAN (or Geneve) datagrams from a socket, so from an address that is really the sender's; within each is one UDP packet."""
    values = dict(a.split("=", 1) for a in args)
    outer, source, target = values["outer"], values["source"], values["target"]
    port = int(values.get("port", 9))
    if ":" in source:
        body = struct.pack("!H", 0x86DD) + ip6(source, target, 17, udp6(source, target, 4000, port, b"spoof"), 64)
    else:
        body = struct.pack("!H", 0x0800) + ip4(source, target, 17, udp4(source, target, 4000, port, b"spoof"))
    frame = mac(values.get("targetMac", "02:00:00:00:00:02")) + mac(values.get("sourceMac", "02:00:00:00:00:01")) + body
    key = int(values["key"])
    if values.get("encapsulation", "vxlan") == "vxlan":
        head = struct.pack("!II", 0x08000000, key << 8)
    else:
        head = struct.pack("!HHI", 0, 0x6558, key << 8)
    sock = socket.socket(socket.AF_INET6 if ":" in outer else socket.AF_INET, socket.SOCK_DGRAM)
    if "bind" in values:
        sock.bind((values["bind"], 0))
    for _ in range(int(values.get("count", 1))):
        sock.sendto(head + frame, (outer, int(values.get("outerPort", 8472))))
    print("sent", values.get("count", 1))


def whohas(args):
    """Asks the whole link for an address every 100 ms; a line each: when, in milliseconds since the epoch, and the MACs that answered, once each."""
    own, target = args
    six = ":" in target
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD if six else 0x0806))
    sock.bind(("eth0", 0x86DD if six else 0x0806))
    own_mac = sock.getsockname()[4]
    if six:
        wanted = socket.inet_pton(socket.AF_INET6, target)
        group = socket.inet_ntop(socket.AF_INET6, bytes.fromhex("ff0200000000000000000001ff") + wanted[13:])
        question = b"\x33\x33\xff" + wanted[13:] + own_mac + b"\x86\xdd" + icmp6(own, group, 135, b"\0" * 4 + wanted + b"\x01\x01" + own_mac)
    else:
        wanted = socket.inet_aton(target)
        question = b"\xff" * 6 + own_mac + b"\x08\x06" + arp(1, own_mac, own, b"\0" * 6, target)
    print("ready", flush=True)
    while True:
        asked, macs = time.time(), []
        sock.send(question)
        while (left := asked + 0.1 - time.time()) > 0:
            sock.settimeout(left)
            try:
                data = sock.recv(2048)
            except TimeoutError:
                break
            # Asked for by us: announcements go to everybody.
            answer = data[62:78] == wanted and data[54] == 136 if six else data[20:22] == b"\0\x02" and data[28:32] == wanted
            sender = data[6:12].hex(":")
            if answer and data[:6] == own_mac and sender not in macs:
                macs.append(sender)
        print(round(asked * 1000), ",".join(macs), flush=True)


{"serve": serve, "ask": ask, "stream": stream, "frames": frames, "tunnel": tunnel, "whohas": whohas}[sys.argv[1]](sys.argv[2:])
