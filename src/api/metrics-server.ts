// Serves the metrics to Prometheus over HTTP: one path, few connections, nothing that a request could ask for.
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { HawserError, messageOf } from "../std/errors.ts";
import { createServer } from "../std/http.ts";
import type { Log } from "../std/log.ts";
import { metricsText, type MetricQueries } from "./metrics.ts";

export interface MetricsOptions {
  /** `127.0.0.1:9964`, `[::1]:9964`; port 0: any free one. */
  readonly listen: string;
  readonly queries: MetricQueries;
  readonly log: Log;
}

export interface MetricsServer extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
}

/** @throws HawserError PORT_IN_USE, or BAD_CONFIG when the address is none of this host's. */
export async function serveMetrics({ listen, queries, log }: MetricsOptions): Promise<MetricsServer> {
  // Counting a map's entries takes time: scrapes that come together share one.
  let running: Promise<string> | undefined;
  const text = (): Promise<string> => (running ??= metricsText(queries).finally(() => (running = undefined)));

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path !== "/metrics") return plain(response, 404, "there is only /metrics\n");
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return plain(response, 405, "metrics can only be read\n");
    }
    try {
      const body = await text();
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8", "content-length": Buffer.byteLength(body) });
      response.end(request.method === "HEAD" ? undefined : body);
    } catch (error) {
      log.warn("the metrics could not be read", { error: messageOf(error) });
      plain(response, 500, "the metrics could not be read; the agent's log says why\n");
    }
  };
  const server = createServer(
    { maxHeaderSize: 8192, headersTimeout: 5000, requestTimeout: 5000, keepAliveTimeout: 5000, connectionsCheckingInterval: 5000 },
    (request, response) => {
      request.resume();
      void answer(request, response);
    },
  );
  server.maxConnections = 16;
  const { address, port } = await bind(server, listen);
  server.on("error", (error) => log.warn("the metrics' server failed", { error: messageOf(error) }));
  log.info("metrics are served", { address, port });
  return {
    address, port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

async function bind(server: Server, listen: string): Promise<AddressInfo> {
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(listen) ?? [];
  const host = six ?? four;
  if (host === undefined) throw new HawserError("BAD_CONFIG", `metrics.listen: "${listen}" is not an address with a port, such as 127.0.0.1:9964`);
  server.listen({ host, port: Number(port), exclusive: true });
  try {
    await once(server, "listening");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EADDRINUSE") throw new HawserError("PORT_IN_USE", `metrics.listen: ${listen} is taken; choose another port or null`, { cause: error });
    throw new HawserError("BAD_CONFIG", `metrics.listen: cannot listen on ${listen}: ${messageOf(error)}`, { cause: error });
  }
  return server.address() as AddressInfo;
}
