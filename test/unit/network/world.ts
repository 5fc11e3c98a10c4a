// What the model's tests share: a context, requests as Docker makes them, and steps and states as readable text.
import type { CreateEndpoint, CreateNetwork, Join, RequestPool } from "../../../src/network/commands.ts";
import { createEndpoint } from "../../../src/network/create-endpoint.ts";
import { createNetwork } from "../../../src/network/create-network.ts";
import { join } from "../../../src/network/join.ts";
import { publishPorts } from "../../../src/network/publish-ports.ts";
import type {
  Context, Decision, EndpointId, NetworkId, PoolId, PortRequest, Protocol, State, Step,
} from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { ErrorCode } from "../../../src/std/errors.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";

export const noon = Date.UTC(2026, 0, 1, 12);

/** A host on which no cable has gone. */
const everyCable: ReadonlySet<string> = Object.assign(new Set<string>(), { has: () => true });

export const context: Context = {
  now: noon,
  random: () => 0.25,
  uplinkMtu: 1500,
  hostPrefixes: ["192.0.2.10/24" as Cidr, "2001:db8::10/64" as Cidr],
  ipv6: true,
  pool: { ipv4: "10.44.0.0/16" as Cidr, ipv4NodePrefix: 24, ipv6: "fd44::/48" as Cidr, ipv6NodePrefix: 64 },
  takenPorts: new Set(),
  frontends: () => [],
  removed: new Map(),
  standing: () => ({ cables: everyCable, gateways: new Map(), ports: [] }),
};

export const laterBy = (ms: number): Context => ({ ...context, now: noon + ms });

/** Sixty-four hex digits that begin with the given ones. */
export const networkId = (start: string): NetworkId => start.padEnd(64, "0") as NetworkId;
export const endpointId = (start: string): EndpointId => start.padEnd(64, "0") as EndpointId;
export const poolId = (prefix: string): PoolId => prefix as PoolId;

export const shop = networkId("5409");
export const db = endpointId("db01");
export const web = endpointId("3eb1");

export function network(change: Partial<CreateNetwork> = {}): CreateNetwork {
  return {
    id: shop, ipv4: [{ pool: "10.50.0.0/24", gateway: "10.50.0.1/24", aux: {} }], ipv6: [],
    internal: false, enableIpv4: true, enableIpv6: false, options: {}, ...change,
  };
}

export const dual: Partial<CreateNetwork> = { ipv6: [{ pool: "fd50::/64", gateway: "fd50::1/64", aux: {} }], enableIpv6: true };

export function endpoint(change: Partial<CreateEndpoint> = {}): CreateEndpoint {
  return { id: db, network: shop, ipv4: "10.50.0.2/24", ipv6: null, mac: null, ports: [], options: {}, ...change };
}

export function joining(change: Partial<Join> = {}): Join {
  return { id: db, network: shop, sandboxKey: "/run/docker/netns/aaaaaaaaaaaa", ports: [], ...change };
}

export function pool(change: Partial<RequestPool> = {}): RequestPool {
  return { addressSpace: "hawserlocal", pool: "", subPool: "", options: {}, ipv6: false, ...change };
}

/** `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]:8080:80`, `9000-9010:80`, `:80`: as `docker run -p` writes them. */
export function port(text: string): PortRequest {
  const match = /^(?:\[?([^\]]+?)\]?:)?(\d*)(?:-(\d+))?:(\d+)(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (!match) throw new Error(`no port: ${text}`);
  const hostPort = Number(match[2] ?? 0);
  return {
    protocol: (match[5] ?? "tcp") as Protocol, containerPort: Number(match[4]), hostIp: match[1] === undefined ? null : parseIp(match[1]),
    hostPort, hostPortEnd: match[3] === undefined ? hostPort : Number(match[3]),
  };
}

/** A state made by decisions in turn. */
export function after(...decisions: readonly ((state: State) => Decision<unknown>)[]): State {
  return decisions.reduce((state, decide) => decide(state).next, emptyState);
}

export const made = (command: CreateNetwork) => (state: State) => createNetwork(state, command, context);
export const plugged = (command: CreateEndpoint) => (state: State) => createEndpoint(state, command, context);
export const joined = (command: Join) => (state: State) => join(state, command, context);
export const published = (id: EndpointId, ...ports: readonly string[]) => (state: State) =>
  publishPorts(state, { id, network: state.endpoints.get(id)?.network ?? shop, ports: ports.map(port) }, context);

export function printSteps(steps: readonly Step[]): readonly string[] {
  return steps.map(printStep);
}

function printStep(step: Step): string {
  switch (step.kind) {
    case "network":
    case "removeNetwork": {
      const { number, ipv4, ipv6, internal, icc, masquerade } = step.network;
      const flags = [internal && "internal", !icc && "no-icc", masquerade && "masquerade"].filter(Boolean);
      return [step.kind, number.toString(16), ipv4?.prefix, ipv4?.gateway, ipv6?.prefix, ipv6?.gateway, ...flags].filter(Boolean).join(" ");
    }
    case "cluster":
      return `cluster ${step.cluster.kind}`;
    case "services":
      return `services ${step.plans.length}`;
    case "clients":
      return `clients ${step.clients.namespaces.length}`;
    case "containerRoutes":
      return `containerRoutes ${step.routes.size}`;
    case "cable":
    case "removeCable":
      return `${step.kind} ${step.cable.hostInterface} ${step.cable.containerInterface} ${step.cable.mac} ${step.cable.mtu}`;
    case "attach":
    case "detach":
      return `${step.kind} ${step.cable.hostInterface}`;
    case "endpoint":
    case "removeEndpoint": {
      const { hostInterface, network: number, ipv4, ipv6, mac } = step.endpoint;
      return [step.kind, hostInterface, number.toString(16), ipv4, ipv6, mac].filter((part) => part !== null).join(" ");
    }
    case "policy":
      return `policy ${step.tables.rules.length}`;
    case "guest":
    case "removeGuest":
      return [step.kind, step.guest.device, step.guest.ipv4, step.guest.ipv6, step.guest.identity].filter((part) => part !== null).join(" ");
    case "claimPort":
    case "port":
    case "removePort": {
      const { protocol, hostIp, hostPort, address, containerPort } = step.port;
      return `${step.kind} ${protocol} ${hostIp} ${hostPort} -> ${address} ${containerPort}`;
    }
  }
}

/** The published ports of an endpoint, one line each. */
export function printPorts(state: State, id: EndpointId): readonly string[] {
  return (state.endpoints.get(id)?.ports ?? []).map((one) => `${one.protocol} ${one.hostIp} ${one.hostPort} -> ${one.containerPort}`);
}

export const ip = (text: string): Ip => parseIp(text);
export const cidr = (text: string): Cidr => parseCidr(text);

/** Code and sentence of the error that `work` throws. */
export function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof HawserError) return `${error.code satisfies ErrorCode}: ${error.message}`;
    throw error;
  }
  return "accepted";
}
