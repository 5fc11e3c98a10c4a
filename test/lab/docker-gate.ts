// A gate in front of a host's Docker API: while it is shut, whoever asks waits, and so an agent does not learn whose an endpoint is.
import { rmSync } from "node:fs";
import { createServer, connect, type Socket } from "node:net";

export interface Gate extends AsyncDisposable {
  /** Where the agent is to look for Docker. */
  readonly socket: string;
  shut(): void;
  /** Lets pass what has waited. */
  open(): void;
}

/** Listens on `socket` and speaks with Docker's own socket at `docker`. */
export async function dockerGate(socket: string, docker: string): Promise<Gate> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let isShut = false;
  rmSync(socket, { force: true });
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const dockerd = connect({ path: docker, allowHalfOpen: true });
    const pair = [client, dockerd] as const;
    pairs.add(pair);
    for (const [from, to] of [[client, dockerd], [dockerd, client]] as const) {
      from.on("data", (data) => to.write(data));
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
      if (isShut) from.pause();
    }
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(socket, resolve));
  const each = (work: (one: Socket) => void): void => {
    for (const pair of pairs) for (const one of pair) work(one);
  };
  return {
    socket,
    shut: () => {
      isShut = true;
      each((one) => one.pause());
    },
    open: () => {
      isShut = false;
      each((one) => one.resume());
    },
    [Symbol.asyncDispose]: async () => {
      each((one) => one.destroy());
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(socket, { force: true });
    },
  };
}
