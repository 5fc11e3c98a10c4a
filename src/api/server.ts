// The agent's gRPC API on its unix socket: answers queries, passes commands on, says why when it cannot.
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import {
  Server, ServerCredentials, type handleUnaryCall, type ServerWritableStream,
} from "@grpc/grpc-js";
import { HawserError, messageOf } from "../std/errors.ts";
import { nearest, slip } from "../std/nearest.ts";
import type { Log } from "../std/log.ts";
import { endpointToWire, entryToWire, networkToWire, nodeToWire, statusToWire } from "./codec.ts";
import { errorToStatus } from "./errors.ts";
import { observerDefinition, observerHandlers } from "./flows/service.ts";
import { HawserService, type DumpMapRequest, type HawserServer, type MapEntry } from "./generated/hawser/v1/hawser.ts";
import { metricsText } from "./metrics.ts";
import { identityToWire, policyTextToWire, policyToWire, traceToWire } from "./policy-codec.ts";
import { serviceTextToWire, serviceToWire } from "./service-codec.ts";
import { resolveContainer, resolveEndpoint, resolveNetwork, resolveNode } from "./resolve.ts";
import type { ApiCommands, ApiQueries } from "./types.ts";

export type { ApiCommands, ApiQueries, Swept } from "./types.ts";

export interface ApiOptions {
  readonly queries: ApiQueries;
  readonly commands: ApiCommands;
  /** Absolute path; at most 100 bytes (sun_path has 108 and the socket is made under a longer name first). */
  readonly socket: string;
  /** Its members may use the API; a group that does not exist leaves it to root. */
  readonly group: string | null;
  readonly log: Log;
}

export interface Api extends AsyncDisposable {
  readonly socket: string;
  /** Lets calls under way finish, for at most a second, and removes the socket. */
  close(): Promise<void>;
}

/** One dump holds all its entries in memory: this many are some tens of MiB for a moment. */
const mostEntries = 200_000;
/** A policy with sets of 100 000 addresses, and the files beside it. */
const largestRequest = 24 * 1024 * 1024;

/** @throws HawserError IN_USE when another agent answers on the socket. */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { socket, log } = options;
  if (Buffer.byteLength(socket) > 100) {
    throw new HawserError("BAD_CONFIG", `api.socket: "${socket}" is longer than the 100 bytes that a socket's path may have`);
  }
  if (await answers(socket)) {
    throw new HawserError("IN_USE", `another agent answers on ${socket}; stop it or choose another api.socket`);
  }
  const server = new Server({
    "grpc.max_receive_message_length": largestRequest,
    "grpc.max_concurrent_streams": 64,
  });
  server.addService(HawserService, handlers(options));
  server.addService(observerDefinition, observerHandlers(options.queries, log));
  await mkdir(dirname(socket), { recursive: true, mode: 0o755 });
  await listen(server, socket, options.group, log);
  log.info("the API listens", { socket });

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= shutDown(server).finally(() => rm(socket, { force: true })));
  return { socket, close, [Symbol.asyncDispose]: close };
}

function handlers({ queries, commands, log }: ApiOptions): HawserServer {
  const answer = <Request, Reply>(work: (request: Request, signal: AbortSignal) => Reply | Promise<Reply>): handleUnaryCall<Request, Reply> =>
    (call, done) => {
      const cancelled = new AbortController();
      call.on("cancelled", () => cancelled.abort(new HawserError("DEADLINE", "the caller went away")));
      const settle = async (): Promise<void> => {
        let reply: Reply;
        try {
          reply = await work(call.request, cancelled.signal);
        } catch (error) {
          const rendered = errorToStatus(error);
          log.warn("a call failed", { call: call.getPath(), error: rendered.details });
          return done(rendered);
        }
        done(null, reply);
      };
      void settle();
    };

  return {
    getStatus: answer(async () => statusToWire(await queries.status())),
    listEndpoints: answer(({ all }) => ({ endpoints: [...queries.endpoints(), ...(all ? queries.remoteEndpoints() : [])].map(endpointToWire) })),
    getEndpoint: answer(({ ref }) => endpointToWire(resolveEndpoint(queries.endpoints(), ref))),
    listNodes: answer(() => ({ nodes: queries.nodes().map(nodeToWire) })),
    getNode: answer(({ name }) => nodeToWire(resolveNode(queries.nodes(), name))),
    listNetworks: answer(() => ({ networks: queries.networks().map(networkToWire) })),
    getNetwork: answer(({ ref }) => networkToWire(resolveNetwork(queries.networks(), ref))),
    listPorts: answer(({ container }) => {
      if (container === "") return { ports: [...queries.ports()] };
      const wanted = new Set<string>(resolveContainer(queries.endpoints(), container).map((endpoint) => endpoint.id));
      return { ports: queries.ports().filter((port) => wanted.has(port.endpoint)) };
    }),
    applyPolicy: answer(async (request, signal) => {
      const { applied, warnings, revision } = await commands.applyPolicy(request, signal);
      return { applied: [...applied], warnings: [...warnings], revision };
    }),
    deletePolicy: answer(async ({ name }, signal) => {
      await commands.deletePolicy(name, signal);
      return {};
    }),
    listPolicies: answer(() => ({ policies: queries.policies().map(policyToWire) })),
    getPolicy: answer(({ name }) => policyTextToWire(queries.policy(name))),
    tracePolicy: answer(({ from, to }) => traceToWire(queries.trace(from, to))),
    applyService: answer(async (request, signal) => {
      const { applied, warnings } = await commands.applyService(request, signal);
      return { applied: [...applied], warnings: [...warnings] };
    }),
    deleteService: answer(async ({ name }, signal) => {
      await commands.deleteService(name, signal);
      return {};
    }),
    listServices: answer(async () => {
      const { flows } = await queries.serviceTraffic();
      return { services: queries.services().map((service) => serviceToWire({ ...service, flows: flows.get(service.name) ?? null })) };
    }),
    getService: answer(async ({ name }) => {
      const { flows } = await queries.serviceTraffic();
      return serviceTextToWire({ ...queries.service(name), flows: flows.get(name) ?? null });
    }),
    listIdentities: answer(() => ({ identities: queries.identities().map(identityToWire) })),
    getMetrics: answer(async () => ({ text: await metricsText(queries) })),
    listMaps: answer(async () => ({ maps: [...await queries.maps()] })),
    dumpMap: (call) => {
      dump(call, queries).catch((error: unknown) => {
        if (!call.cancelled) call.emit("error", errorToStatus(error));
      });
    },
    reconcile: answer(async (_request, signal) => {
      const report = await commands.reconcile(signal);
      return {
        removedEndpoints: [...report.removedEndpoints], removedNetworks: [...report.removedNetworks], identified: report.identified, restored: [...report.restored], refused: [...report.refused],
      };
    }),
    sweep: answer(async (_request, signal) => ({ swept: [...await commands.sweep(signal)] })),
  };
}

/** Writes no faster than the client reads. */
async function dump(call: ServerWritableStream<DumpMapRequest, MapEntry>, queries: ApiQueries): Promise<void> {
  const { name, limit } = call.request;
  const known = (await queries.maps()).map((map) => map.name);
  if (!known.includes(name)) {
    const near = nearest(name, known, slip) ?? nearest(`hw_${name}`, known, slip);
    const hint = near === undefined ? `known are ${known.join(", ") || "none"}` : `did you mean "${near}"?`;
    throw new HawserError("NOT_FOUND", `no map "${name}" exists; ${hint}`);
  }
  const gone = new AbortController();
  call.on("cancelled", () => gone.abort());
  for (const entry of await queries.dumpMap(name, limit === 0 ? mostEntries : Math.min(limit, mostEntries))) {
    if (call.cancelled) return;
    if (!call.write(entryToWire(entry))) await once(call, "drain", { signal: gone.signal });
  }
  call.end();
}

/**
 * Binds inside a folder that only we can enter and moves the socket into place once its mode and group are right:
 * there is no moment in which everyone may connect, and a stale socket is replaced.
 */
async function listen(server: Server, socket: string, group: string | null, log: Log): Promise<void> {
  const folder = await mkdtemp(join(dirname(socket), ".a"));
  try {
    const fresh = join(folder, "s");
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${fresh}`, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(new HawserError("INTERNAL", `cannot listen on ${socket}: ${error.message}`, { cause: error }));
        else resolve();
      });
    });
    await chmod(fresh, 0o660);
    const gid = group === null ? undefined : await groupId(group);
    if (gid === undefined) log.debug("the API's socket is for root alone", { group });
    else await chown(fresh, -1, gid).catch((error: unknown) => log.warn("the API's socket stays with its group", { group, error: messageOf(error) }));
    await rename(fresh, socket);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function groupId(name: string): Promise<number | undefined> {
  const lines = (await readFile("/etc/group", "utf8").catch(() => "")).split("\n");
  const fields = lines.map((line) => line.split(":")).find((each) => each[0] === name);
  return fields?.[2] === undefined ? undefined : Number(fields[2]);
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}

async function shutDown(server: Server): Promise<void> {
  const timer = setTimeout(() => server.forceShutdown(), 1000);
  await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  clearTimeout(timer);
}
