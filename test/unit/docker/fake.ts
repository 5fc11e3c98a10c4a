// Docker's API as far as Hawser asks it, on a real unix socket, answering from plain data.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface FakeDocker extends AsyncDisposable {
  readonly socket: string;
  readonly asked: string[];
  /** Path → what is answered; undefined answers 404, "silence" never. */
  answers: Record<string, unknown>;
  /** To every open event stream. */
  say(text: string): void;
  /** Ends every open event stream, as a daemon that stops. */
  hangUp(): void;
}

export async function fakeDocker(): Promise<FakeDocker> {
  const folder = mkdtempSync(join(tmpdir(), "hawser-docker-"));
  const socket = join(folder, "docker.sock");
  const listeners = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    const path = (request.url ?? "").replace(/^\/v[\d.]+/, "").replace(/\?.*/, "");
    fake.asked.push(`${request.method} ${path}`);
    if (path === "/events") {
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      listeners.add(response);
      response.on("close", () => listeners.delete(response));
      return;
    }
    const answer = fake.answers[path];
    if (answer === "silence") return;
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? { message: "no such thing" }));
  });
  server.listen(socket);
  await once(server, "listening");
  const fake: FakeDocker = {
    socket,
    asked: [],
    answers: { "/version": { Version: "20.10.24", ApiVersion: "1.41" }, "/networks": [], "/containers/json": [] },
    say: (text) => {
      for (const listener of listeners) listener.write(text);
    },
    hangUp: () => {
      for (const listener of listeners) listener.end();
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return fake;
}

/** Resolves once the fact holds. */
export async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise((resolve) => setTimeout(resolve, 5));
}
