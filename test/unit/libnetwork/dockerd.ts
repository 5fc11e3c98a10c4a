// dockerd as the door sees it: requests over a real unix socket, and an engine that decides for real with no kernel below it.
import { rm } from "node:fs/promises";
import { request } from "node:http";
import { join as joinPath } from "node:path";
import type { ExecutionContext } from "ava";
import type { DockerCommands, Queries } from "../../../src/engine/types.ts";
import { endpointViews } from "../../../src/engine/views.ts";
import type { LibnetworkOptions } from "../../../src/libnetwork/server.ts";
import { serveLibnetwork } from "../../../src/libnetwork/server.ts";
import { createEndpoint } from "../../../src/network/create-endpoint.ts";
import { createNetwork } from "../../../src/network/create-network.ts";
import { deleteEndpoint } from "../../../src/network/delete-endpoint.ts";
import { deleteNetwork } from "../../../src/network/delete-network.ts";
import { join } from "../../../src/network/join.ts";
import { leave } from "../../../src/network/leave.ts";
import { publishPorts } from "../../../src/network/publish-ports.ts";
import { reconcile } from "../../../src/network/reconcile.ts";
import { releaseAddress } from "../../../src/network/release-address.ts";
import { releasePool } from "../../../src/network/release-pool.ts";
import { requestAddress } from "../../../src/network/request-address.ts";
import { requestPool } from "../../../src/network/request-pool.ts";
import { revokePorts } from "../../../src/network/revoke-ports.ts";
import type { Decision, State } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import { createLog } from "../../../src/std/log.ts";
import { scratchFolder } from "../../scratch.ts";
import { context, printSteps } from "../network/world.ts";

export interface World {
  readonly commands: DockerCommands;
  readonly queries: Pick<Queries, "endpoints">;
  /** Every step decided so far, as text. */
  readonly steps: string[];
  readonly state: () => State;
}

/** The real decisions, one after the other, with steps written down instead of done. */
export function createWorld(): World {
  let state = emptyState;
  const steps: string[] = [];
  const apply = async <Reply>(decide: (state: State) => Decision<Reply>, signal?: AbortSignal): Promise<Reply> => {
    signal?.throwIfAborted();
    const decision = decide(state);
    state = decision.next;
    steps.push(...printSteps(decision.steps));
    return decision.reply;
  };
  const commands: DockerCommands = {
    createNetwork: (command, signal) => apply((s) => createNetwork(s, command, context), signal),
    deleteNetwork: (id, signal) => apply((s) => deleteNetwork(s, id), signal),
    createEndpoint: (command, signal) => apply((s) => createEndpoint(s, command, context), signal),
    deleteEndpoint: (ref, signal) => apply((s) => deleteEndpoint(s, ref), signal),
    join: (command, signal) => apply((s) => join(s, command, context), signal),
    leave: (ref, signal) => apply((s) => leave(s, ref), signal),
    publishPorts: (command, signal) => apply((s) => publishPorts(s, command, context), signal),
    revokePorts: (ref, signal) => apply((s) => revokePorts(s, ref), signal),
    requestPool: (command, signal) => apply((s) => requestPool(s, command, context), signal),
    releasePool: (id, signal) => apply((s) => releasePool(s, id), signal),
    requestAddress: (command, signal) => apply((s) => requestAddress(s, command, context), signal),
    releaseAddress: (command, signal) => apply((s) => releaseAddress(s, command), signal),
    reconcile: (truth, signal) => apply((s) => reconcile(s, truth, context), signal),
  };
  return { commands, queries: { endpoints: () => endpointViews(state, "here", null) }, steps, state: () => state };
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: unknown;
}

export interface Docker extends World {
  readonly directory: string;
  readonly socket: string;
  readonly log: readonly string[];
  /** As dockerd 20.10 sends it: empty Host, no Content-Type. A string is sent as it is. */
  readonly call: (path: string, body?: unknown, method?: string) => Promise<Answer>;
}

/** A served socket in a folder of its own, closed and removed when the test ends. */
export async function serve(t: ExecutionContext, change: Partial<LibnetworkOptions> = {}): Promise<Docker> {
  const directory = scratchFolder("plugin");
  const world = createWorld();
  const log: string[] = [];
  const server = await serveLibnetwork({
    commands: world.commands, queries: world.queries, log: createLog((line) => log.push(line), () => 0, "debug"), pluginDirectory: directory, ...change,
  });
  const socket = joinPath(directory, "hawser.sock");
  t.teardown(async () => {
    await server[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });
  return { ...world, directory, socket, log, call: (path, body, method) => callOn(socket, path, body, method) };
}

export function callOn(socketPath: string, path: string, body?: unknown, method = "POST"): Promise<Answer> {
  const payload = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = {
      host: "", "user-agent": "Go-http-client/1.1", accept: "application/vnd.docker.plugins.v1.2+json", "content-length": Buffer.byteLength(payload),
    };
    const sent = request({ socketPath, path, method, headers, setHost: false, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, text, json: JSON.parse(text) });
      });
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(payload);
  });
}
