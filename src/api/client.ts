// The API's client: the same views that the engine gives out, over the agent's socket.
import { connect as connectSocket } from "node:net";
import { credentials, Metadata, type CallOptions, type ServiceError } from "@grpc/grpc-js";
import {
  endpointFromWire, entryFromWire, networkFromWire, nodeFromWire, portFromWire, reconcileFromWire, statusFromWire,
} from "./codec.ts";
import { errorFromStatus, unreachable } from "./errors.ts";
import { HawserClient, type MapEntry } from "./generated/hawser/v1/hawser.ts";
import { identityFromWire, policyFromWire, policyTextFromWire, traceFromWire } from "./policy-codec.ts";
import { serviceFromWire, serviceTextFromWire } from "./service-codec.ts";
import type { ApiClient, GetFlowsResponse } from "./types.ts";

export type * from "./types.ts";

export interface ConnectOptions {
  /** Milliseconds for one answer; default 5000. Commands and a map's dump have twelve times as long. */
  readonly deadline?: number;
}

/** The last overload of each generated method. */
type UnaryCall<Request, Reply> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, reply: Reply) => void,
) => unknown;

/** Every endpoint of a full host with long labels fits many times over. */
const largestAnswer = 32 * 1024 * 1024;

/** @throws HawserError AGENT_UNREACHABLE when nothing accepts on the socket. */
export async function connect(socket: string, options: ConnectOptions = {}): Promise<ApiClient> {
  await knock(socket);
  const channel = {
    "grpc.max_receive_message_length": largestAnswer,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,
    "grpc.service_config_disable_resolution": 1,
  };
  const client = new HawserClient(`unix:${socket}`, credentials.createInsecure(), channel);
  const patience = options.deadline ?? 5000;

  const none = new Metadata();

  /** One unary call as a promise. */
  const ask = <Request, Reply>(method: UnaryCall<Request, Reply>, request: Request, times = 1): Promise<Reply> =>
    new Promise((resolve, reject) => {
      method.call(client, request, none, { deadline: Date.now() + times * patience }, (error, reply) => {
        if (error) reject(errorFromStatus(error, socket));
        else resolve(reply);
      });
    });

  return {
    status: async () => statusFromWire(await ask(client.getStatus, {})),
    endpoints: async (all = false) => (await ask(client.listEndpoints, { all }, all ? 12 : 1)).endpoints.map(endpointFromWire),
    endpoint: async (ref) => endpointFromWire(await ask(client.getEndpoint, { ref })),
    nodes: async () => (await ask(client.listNodes, {})).nodes.map(nodeFromWire),
    node: async (name) => nodeFromWire(await ask(client.getNode, { name })),
    networks: async () => (await ask(client.listNetworks, {})).networks.map(networkFromWire),
    network: async (ref) => networkFromWire(await ask(client.getNetwork, { ref })),
    ports: async (container = "") => (await ask(client.listPorts, { container })).ports.map(portFromWire),
    maps: async () => (await ask(client.listMaps, {})).maps,
    dumpMap: async function* (name, limit) {
      const call = client.dumpMap({ name, limit }, none, { deadline: Date.now() + 12 * patience });
      try {
        for await (const entry of call) yield entryFromWire(entry as MapEntry);
      } catch (error) {
        throw errorFromStatus(error, socket);
      } finally {
        call.cancel();
      }
    },
    applyPolicy: async ({ documents, strict }) => ask(client.applyPolicy, { documents: [...documents], strict }, 12),
    deletePolicy: async (name) => void (await ask(client.deletePolicy, { name }, 12)),
    policies: async () => (await ask(client.listPolicies, {})).policies.map(policyFromWire),
    policy: async (name) => policyTextFromWire(await ask(client.getPolicy, { name })),
    trace: async (from, to) => traceFromWire(await ask(client.tracePolicy, { from, to })),
    applyService: async ({ documents }) => ask(client.applyService, { documents: [...documents] }, 12),
    deleteService: async (name) => void (await ask(client.deleteService, { name }, 12)),
    services: async () => (await ask(client.listServices, {})).services.map(serviceFromWire),
    service: async (name) => serviceTextFromWire(await ask(client.getService, { name })),
    identities: async () => (await ask(client.listIdentities, {})).identities.map(identityFromWire),
    flows: async function* (request) {
      // Code that no other call needs.
      const { GetFlowsRequest, ObserverClient } = await import("./generated/observer/observer.ts");
      const observer = new ObserverClient(`unix:${socket}`, credentials.createInsecure(), channel);
      const call = observer.getFlows(
        { ...GetFlowsRequest.decode(new Uint8Array()), ...request }, none, request.follow === true ? {} : { deadline: Date.now() + 12 * patience },
      );
      try {
        for await (const response of call) yield response as GetFlowsResponse;
      } catch (error) {
        throw errorFromStatus(error, socket);
      } finally {
        call.cancel();
        observer.close();
      }
    },
    metrics: async () => (await ask(client.getMetrics, {}, 12)).text,
    reconcile: async () => reconcileFromWire(await ask(client.reconcile, {}, 12)),
    sweep: async () => (await ask(client.sweep, {}, 12)).swept,
    [Symbol.dispose]: () => client.close(),
  };
}

/** gRPC keeps trying a socket that is not there; a plain connect tells at once, and why. */
function knock(socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const connection = connectSocket(socket);
    connection.setTimeout(2000, () => connection.destroy(new Error("no answer in 2 s")));
    connection.once("connect", () => {
      connection.destroy();
      resolve();
    });
    connection.once("error", (error: NodeJS.ErrnoException) => reject(unreachable(socket, reasonOf(error))));
  });
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return "no such socket";
  if (error.code === "ECONNREFUSED") return "nothing listens there";
  if (error.code === "EACCES") return "permission denied; be root or a member of the socket's group";
  return error.message;
}
