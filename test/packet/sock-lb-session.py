# A program that keeps its sockets: one command a line, one line of JSON for each. Sockets have names of the caller's.
#   open NAME tcp|udp [inet6] [from=ADDRESS]     connect NAME ADDRESS PORT     ask NAME     wait NAME     send NAME ADDRESS PORT     peer NAME     close NAME
#   spread N ADDRESS PORT                         who answered how often, each time on a new TCP socket
import collections, errno, json, socket, sys

sockets = {}


def text(address):
    return " ".join(map(str, address[:2]))


def opened(kind, inet6=False, at=None):
    s = socket.socket(socket.AF_INET6 if inet6 or (at and ":" in at) else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(5)
    if at:
        s.bind((at, 0))
    return s


def run(verb, *rest):
    if verb == "spread":
        counts = collections.Counter()
        for _ in range(int(rest[0])):
            s = opened("tcp", ":" in rest[1])
            s.connect((rest[1], int(rest[2])))
            counts[s.recv(100).decode()] += 1
            s.close()
        return dict(counts)
    name, *rest = rest
    if verb == "open":
        at = next((word.removeprefix("from=") for word in rest if word.startswith("from=")), None)
        sockets[name] = opened(rest[0], "inet6" in rest, at)
        return {}
    s = sockets[name]
    if verb == "connect":
        s.connect((rest[0], int(rest[1])))
        return {"said": s.recv(100).decode()} if s.type == socket.SOCK_STREAM else {}
    if verb == "ask":
        s.send(b"?")
        said, peer = s.recvfrom(100)
        return {"said": said.decode()} if s.type == socket.SOCK_STREAM else {"said": said.decode(), "from": text(peer)}
    if verb == "wait":
        return {"said": s.recv(100).decode()}
    if verb == "send":
        s.sendto(b"?", (rest[0], int(rest[1])))
        said, peer = s.recvfrom(100)
        return {"said": said.decode(), "from": text(peer)}
    if verb == "peer":
        return {"peer": text(s.getpeername())}
    if verb == "close":
        sockets.pop(name).close()
        return {}
    raise ValueError(verb)


for line in sys.stdin:
    try:
        answer = run(*line.split())
    except TimeoutError:
        answer = {"error": "no answer"}
    except OSError as error:
        answer = {"error": errno.errorcode.get(error.errno, str(error))}
    print(json.dumps(answer), flush=True)
