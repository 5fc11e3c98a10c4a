// The socket that dockerd speaks to: bytes in, one route each, one JSON answer out, always in time.
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import type { DockerCommands, Queries } from "../engine/types.ts";
import { asHawserError, HawserError } from "../std/errors.ts";
import { createServer } from "../std/http.ts";
import type { Log } from "../std/log.ts";
import { listenOnDescriptor, listenOnPath } from "./listen.ts";
import type { Route } from "./routes.ts";
import { createRoutes, errorKeyOf } from "./routes.ts";

export interface LibnetworkOptions {
  readonly commands: DockerCommands;
  readonly queries: Pick<Queries, "endpoints">;
  readonly log: Log;
  /** Where dockerd looks for sockets, `/run/docker/plugins`; ours is `hawser.sock` in it. */
  readonly pluginDirectory: string;
  /** A listening socket that was inherited (systemd's LISTEN_FDS); then `pluginDirectory` is not touched. */
  readonly fd?: number;
  /** Calls that change or read state wait for this, within their deadlines; the socket answers from the start. */
  readonly ready?: Promise<void>;
  /** Milliseconds by path, `/NetworkDriver.Join`, instead of the table's own. */
  readonly deadlines?: Readonly<Record<string, number>>;
}

const bodyLimit = 1024 * 1024;
/** What dockerd's own helpers send; dockerd ignores it. */
const contentType = "application/vnd.docker.plugins.v1.1+json";
/** How long a closing server lets its last answers go out, in milliseconds. */
const closingTime = 6000;

/** @throws HawserError ALREADY_EXISTS, BAD_CONFIG when the socket cannot be opened. */
export async function serveLibnetwork(options: LibnetworkOptions): Promise<AsyncDisposable> {
  const routes = createRoutes(options.commands, options.queries);
  const server = createServer(
    {
      // dockerd 20.10 sends an empty Host header, and newer ones a made-up one.
      requireHostHeader: false,
      // An idle connection that we close may be one that dockerd is just writing to: it would retry with an empty body.
      keepAliveTimeout: 0,
      headersTimeout: 5000,
      requestTimeout: 10_000,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => void serve(request, response, routes, options),
  );
  if (options.fd === undefined) await listenOnPath(server, join(options.pluginDirectory, "hawser.sock"));
  else await listenOnDescriptor(server, options.fd);
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.closeAllConnections(), closingTime);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

async function serve(
  request: IncomingMessage, response: ServerResponse, routes: ReadonlyMap<string, Route>, options: LibnetworkOptions,
): Promise<void> {
  const path = request.url ?? "";
  const route = routes.get(path);
  const began = performance.now();
  try {
    if (!route) return answer(response, 404, failure(path, `${path.slice(0, 100)} is not a call that Hawser knows`));
    if (request.method !== "POST") return answer(response, 405, failure(path, `${path} wants POST`));
    const body = await read(request);
    const result = await inTime(route, body, options.deadlines?.[path] ?? route.deadline, path, options.ready);
    options.log.debug("answered Docker", { call: path.slice(1), ms: elapsed(began) });
    answer(response, 200, result);
  } catch (thrown) {
    if (response.destroyed) return options.log.debug("Docker went away before its answer", { call: path.slice(1, 100), ms: elapsed(began) });
    const error = asHawserError(thrown);
    const level = error.code === "INTERNAL" || error.code === "KERNEL" || error.code === "STORE" ? "error" : "warn";
    options.log[level]("refused Docker", { call: path.slice(1), code: error.code, error: error.message, ms: elapsed(began) });
    // Status 200, because Docker shows the message of any other status without saying that the driver sent it.
    answer(response, 200, failure(path, error.message));
  }
}

/** Rejects with DEADLINE when the time is over, whether or not the engine heeds the signal that it gets. */
async function inTime(route: Route, body: string, deadline: number, path: string, ready: Promise<void> | undefined): Promise<unknown> {
  const controller = new AbortController();
  const late = new HawserError("DEADLINE", `${path.slice(1)} took longer than ${deadline} ms and was given up; see hawser status`);
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      controller.abort(late);
      reject(late);
    }, deadline);
  });
  const work = async (): Promise<unknown> => {
    if (route.waits) await ready;
    controller.signal.throwIfAborted();
    return route.handle(body, controller.signal);
  };
  try {
    return await Promise.race([work(), expired]);
  } finally {
    clearTimeout(timer);
  }
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Left early, the stream must stay: destroying it would take the answer with it.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyLimit) throw new HawserError("BAD_REQUEST", `the request's body is larger than ${bodyLimit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function failure(path: string, message: string): unknown {
  return { [errorKeyOf(path)]: message };
}

function answer(response: ServerResponse, status: number, value: unknown): void {
  if (response.destroyed || response.headersSent) return;
  const text = JSON.stringify(value);
  // What was not read of a request would be taken for the next one.
  const close = response.req.complete ? {} : { connection: "close" };
  response.writeHead(status, { "content-type": contentType, "content-length": Buffer.byteLength(text), ...close });
  response.end(text);
}

function elapsed(began: number): number {
  return Math.round((performance.now() - began) * 10) / 10;
}
