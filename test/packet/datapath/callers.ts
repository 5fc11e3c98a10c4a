// A server in a namespace that says to each who calls, and keeps the connection.
import { spawn } from "node:child_process";
import { once } from "node:events";

const server = `
import socket, threading
def serve(listener):
    held = []
    while True:
        client, peer = listener.accept()
        client.sendall(peer[0].encode())
        held.append(client)
for family, at in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((at, 80))
    listener.listen()
    threading.Thread(target=serve, args=(listener,)).start()
print("ready", flush=True)
`;

/** On port 80 of every address there. */
export async function serveCallers(namespace: string): Promise<AsyncDisposable> {
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, "python3", "-c", server], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}
