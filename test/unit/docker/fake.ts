// Docker's API as far as Hawser asks it, on a real unix socket, answering from plain data.
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { scratchFolder } from "../../scratch.ts";

export type Answer = (query: URLSearchParams) => unknown;

export interface FakeDocker extends AsyncDisposable {
  readonly socket: string;
  readonly asked: string[];
  /** Path → what is answered, or a function of the query that tells it; undefined answers 404, "silence" never, an Error 500. */
  answers: Record<string, unknown>;
  /** To every open event stream. */
  say(text: string): void;
  /** Ends every open event stream, as a daemon that stops. */
  hangUp(): void;
}

export async function fakeDocker(): Promise<FakeDocker> {
  const folder = scratchFolder("docker");
  const socket = join(folder, "docker.sock");
  const listeners = new Set<ServerResponse>();
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://docker");
    const path = decodeURIComponent(pathname.replace(/^\/v[\d.]+/, ""));
    fake.asked.push(`${request.method} ${path}`);
    if (path === "/events") {
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      listeners.add(response);
      response.on("close", () => listeners.delete(response));
      return;
    }
    const told = fake.answers[path];
    const answer: unknown = typeof told === "function" ? await (told as Answer)(searchParams) : told;
    if (answer === "silence") return;
    const status = answer === undefined ? 404 : answer instanceof Error ? 500 : 200;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(answer instanceof Error ? { message: answer.message } : answer ?? { message: "no such thing" }));
  };
  const server = createServer((request, response) => void respond(request, response));
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

interface Listed {
  readonly Id: string;
  readonly Names: readonly string[];
}

/** Docker's container list: each kind of filter must be met by one of its values, names as regular expressions with or without the slash. */
export function listOf(containers: () => readonly Listed[]): Answer {
  return (query) => {
    const { name, id } = JSON.parse(query.get("filters") ?? "{}") as { readonly name?: readonly string[]; readonly id?: readonly string[] };
    return containers().filter(({ Id, Names }) =>
      (!name || Names.some((each) => name.some((pattern) => new RegExp(pattern).test(each) || new RegExp(pattern).test(each.slice(1))))) &&
      (!id || id.some((prefix) => Id.startsWith(prefix))));
  };
}

/** Resolves once the fact holds. */
export async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise((resolve) => setTimeout(resolve, 5));
}
