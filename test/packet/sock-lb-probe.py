# A host program's view: one socket call by name, its outcome as one line of JSON. `serve` is the backend.
import errno, json, socket, sys, threading

verb, *rest = sys.argv[1:]


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port):
    tcp = socket.create_server((address, port), family=family(address))
    udp = socket.socket(family(address), socket.SOCK_DGRAM)
    udp.bind((address, port))
    here = f"{address} {port}".encode()

    def answer():
        while True:
            _, client = udp.recvfrom(100)
            udp.sendto(here, client)

    def talk(client):
        with client:
            client.sendall(here)
            try:
                while client.recv(100):
                    client.sendall(here)
            except ConnectionError:
                pass  # its end was made to end

    def greet():
        while True:
            client, _ = tcp.accept()
            threading.Thread(target=talk, args=(client,)).start()

    threading.Thread(target=answer).start()
    threading.Thread(target=greet).start()


def outcome():
    if verb == "bind":
        kind, address, port, *options = rest
        s = socket.socket(family(address), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if "v6only" in options:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((address, int(port)))
        return {"bound": True}
    if verb == "cookie":
        raw = socket.socket().getsockopt(socket.SOL_SOCKET, 71, 8)
        return {"cookie": str(int.from_bytes(raw, sys.byteorder))}
    address, port = rest[0], int(rest[1])
    if verb == "tcp":
        s = socket.socket(socket.AF_INET6 if "inet6" in rest else family(address), socket.SOCK_STREAM)
        s.settimeout(5)
        s.connect((address, port))
        return {"said": s.recv(100).decode(), "peer": " ".join(map(str, s.getpeername()[:2]))}
    s = socket.socket(socket.AF_INET6 if "inet6" in rest else family(address), socket.SOCK_DGRAM)
    s.settimeout(5)
    if verb == "connected-udp":
        s.connect((address, port))
        s.send(b"?")
        said, peer = s.recvfrom(100)
        return {"said": said.decode(), "peer": " ".join(map(str, s.getpeername()[:2])), "from": " ".join(map(str, peer[:2]))}
    answers = []
    for _ in range(2):
        s.sendto(b"?", (address, port))
        said, peer = s.recvfrom(100)
        answers.append({"said": said.decode(), "from": " ".join(map(str, peer[:2]))})
    if answers[0] != answers[1]:
        return {"error": "two datagrams were answered differently"}
    return answers[0]


if verb == "serve":
    for spec in rest:
        at, _, number = spec.rpartition("@")
        serve(at, int(number))
    print("ready", flush=True)
else:
    try:
        print(json.dumps(outcome()))
    except OSError as error:
        print(json.dumps({"error": errno.errorcode.get(error.errno, str(error))}))
