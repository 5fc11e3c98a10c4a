// What Docker has and Hawser has forgotten (its state was lost, or an older generation of it was read) is known again (R24).
import { HawserError, messageOf } from "../std/errors.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { addressOf, formatIp, networkOf, parseCidr, parseIp } from "../std/ip.ts";
import { noCluster } from "./cluster.ts";
import type { CreateNetwork, DockerTruth, EndpointTruth, NetworkTruth, PoolTruth, SubnetRequest } from "./commands.ts";
import { createEndpoint } from "./create-endpoint.ts";
import { createNetwork, numberFor } from "./create-network.ts";
import { requestPool } from "./request-pool.ts";
import { usableIn } from "./subnet.ts";
import { addressesOf, shortId, withEndpoint, withNetwork, withPool } from "./state.ts";
import type { Allocation, Context, Endpoint, NetworkId, PoolId, PublishedPort, State } from "./types.ts";

export interface Restored {
  readonly next: State;
  readonly restored: readonly string[];
  readonly refused: readonly string[];
}

/** Changes the state alone: what it then claims is adopted from the host as after any restart. */
export function restore(state: State, truth: DockerTruth, around: Context): Restored {
  // What is there is there, whoever else was given its place meanwhile.
  const context: Context = { ...around, frontends: () => [] };
  const restored: string[] = [];
  const refused: string[] = [];
  let next: State = { ...state, cluster: noCluster };
  const attempt = (id: string, what: string, change: (state: State) => State): void => {
    const removedAt = context.removed.get(id);
    // Docker's answer may be older than the removal; ids of networks and endpoints never come again, a pool's does.
    if (removedAt !== undefined && removedAt >= (truth.askedAt ?? context.now)) return;
    try {
      next = change(next);
      restored.push(id);
    } catch (error) {
      if (!(error instanceof HawserError)) throw error;
      refused.push(`${what}: ${messageOf(error)}`);
    }
  };
  for (const pool of truth.pools ?? []) {
    const id = networkOf(parseCidr(pool.prefix, "pool"));
    if (!next.pools.has(id as string as PoolId)) attempt(id, `address pool ${id}`, (now) => withPoolAgain(now, pool, context));
  }
  for (const network of truth.networks) {
    const { made } = network;
    if (made && !next.networks.has(network.id)) attempt(network.id, `network ${network.name}`, (now) => withNetworkAgain(now, network, made, context));
    if (!next.networks.has(network.id)) continue;
    for (const endpoint of network.endpoints) {
      // Without its cable there is nothing to take back: the container has to be started again.
      if (next.endpoints.has(endpoint.id) || !endpoint.running || !context.standing().cables.has(cableOf(endpoint))) continue;
      attempt(endpoint.id, `endpoint ${shortId(endpoint.id)} of ${endpoint.container?.name ?? "a container"}`, (now) => withEndpointAgain(now, network.id, endpoint, context));
    }
  }
  return { next: restored.length === 0 ? state : { ...next, cluster: state.cluster }, restored, refused };
}

function withPoolAgain(state: State, truth: PoolTruth, context: Context): State {
  const { next, reply } = requestPool(state, {
    addressSpace: "", pool: truth.prefix, subPool: truth.range ?? "", options: {}, ipv6: truth.prefix.includes(":"),
  }, { ...context, hostPrefixes: [] });
  const pool = next.pools.get(reply.id);
  if (!pool) throw new HawserError("INTERNAL", `pool ${reply.id} was made and is not there`);
  const held = (purpose: Allocation["purpose"], addresses: readonly string[]): [string, Allocation][] =>
    addresses.map((address) => [bare(address), { purpose, at: context.now }]);
  // Docker tells only a gateway that the user named; another is the one that this driver gives out first.
  const gateway = truth.gateway ?? formatIp(usableIn(pool.prefix, pool.range).first, pool.family);
  return withPool(next, { ...pool, allocated: Object.fromEntries([...held("endpoint", truth.addresses), ...held("aux", truth.aux), ...held("gateway", [gateway])]) });
}

/** Docker does not tell a gateway that it chose itself; the kernel's entry of the network does, or the pool. */
function withNetworkAgain(state: State, { id, name }: NetworkTruth, made: CreateNetwork, context: Context): State {
  const known = context.standing().gateways.get(numberFor(state, id));
  const told = (subnets: readonly SubnetRequest[], gateway: Ip | null | undefined): readonly SubnetRequest[] =>
    subnets.map((subnet) => ({ ...subnet, gateway: subnet.gateway ?? gateway ?? gatewayIn(state, subnet.pool) }));
  const command = { ...made, ipv4: told(made.ipv4, known?.ipv4), ipv6: told(made.ipv6, known?.ipv6) };
  const { next } = createNetwork(state, command, context);
  const network = next.networks.get(id);
  if (!network) throw new HawserError("INTERNAL", `network ${shortId(id)} was made and is not there`);
  return [network.ipv4, network.ipv6].reduce(
    (now, subnet) => (subnet ? withAllocation(now, subnet.prefix, subnet.gateway, "gateway", context) : now), withNetwork(next, { ...network, name }),
  );
}

function withEndpointAgain(state: State, network: NetworkId, { id, container, running }: EndpointTruth, context: Context): State {
  const { next } = createEndpoint(state, { id, network, ipv4: running?.ipv4 ?? null, ipv6: running?.ipv6 ?? null, mac: running?.mac ?? null, ports: [], options: {} }, context);
  const endpoint = next.endpoints.get(id);
  if (!endpoint) throw new HawserError("INTERNAL", `endpoint ${shortId(id)} was made and is not there`);
  const ports = portsOf(endpoint, next, context);
  const whole: Endpoint = {
    ...endpoint, container, joined: true, state: "init", ports, identity: identityOf(endpoint, context),
    portRequests: ports.map((port) => ({ ...port, hostPortEnd: port.hostPort })),
  };
  return [whole.ipv4, whole.ipv6].reduce(
    (now, cidr) => (cidr ? withAllocation(now, networkOf(cidr), addressOf(cidr), "endpoint", context) : now), withEndpoint(next, whole),
  );
}

/** Its packets are judged by the number that the kernel knows; who it is, Docker has told. */
function identityOf(endpoint: Endpoint, context: Context): number {
  const carried = context.standing().identities;
  return addressesOf(endpoint).map((address) => carried?.get(address) ?? 0).find((identity) => identity !== 0) ?? 0;
}

function gatewayIn(state: State, prefix: string): string | null {
  const allocated = Object.entries(state.pools.get(prefix as PoolId)?.allocated ?? {});
  return allocated.find(([, held]) => held.purpose === "gateway")?.[0] ?? null;
}

/** Docker does not show what a remote driver publishes; the kernel's frontends do. */
function portsOf(endpoint: Endpoint, state: State, context: Context): readonly PublishedPort[] {
  const number = state.networks.get(endpoint.network)?.number;
  const own = [endpoint.ipv4, endpoint.ipv6].filter((cidr) => cidr !== null).map(addressOf);
  return context.standing().ports
    .filter((port) => port.network === number && own.includes(port.address))
    .map(({ protocol, containerPort, hostIp, hostPort }) => ({ protocol, containerPort, hostIp, hostPort }));
}

function withAllocation(state: State, prefix: Cidr, address: Ip, purpose: Allocation["purpose"], context: Context): State {
  const pool = state.pools.get(prefix as string as PoolId);
  if (!pool || Object.hasOwn(pool.allocated, address)) return state;
  return withPool(state, { ...pool, allocated: { ...pool.allocated, [address]: { purpose, at: context.now } } });
}

function cableOf({ id }: EndpointTruth): string {
  return `hw${id.slice(0, 11)}`;
}

function bare(address: string): Ip {
  return parseIp(address.split("/", 1)[0] ?? "", "address");
}
