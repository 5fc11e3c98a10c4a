// Reconciliation: what Docker no longer has goes, what it has gets its name and labels, what Hawser forgot is known again.
import type { Cidr, Ip } from "../std/ip.ts";
import { networkOf, parseCidr } from "../std/ip.ts";
import type { DockerTruth, ReconcileReport } from "./commands.ts";
import { isDead } from "./dead.ts";
import { deleteNetwork } from "./delete-network.ts";
import { networkPlan, removalOf } from "./plan.ts";
import { released } from "./release-address.ts";
import { restore } from "./restore.ts";
import { addressesOf, endpointsOf, withEndpoint, withNetwork, withoutEndpoint, withoutPool, withPool } from "./state.ts";
import type {
  ContainerIdentity, Context, Decision, Endpoint, EndpointId, Network, NetworkId, Pool, PoolId, State, Step, Subnet,
} from "./types.ts";

/** What is younger may be in the making: Docker lists an endpoint only after it has made it. Milliseconds. */
export const grace = 60_000;

export function reconcile(state: State, truth: DockerTruth, context: Context): Decision<ReconcileReport> {
  // A clock that was set back (R23) must not keep what is gone until it has caught up.
  const isOld = (made: number): boolean => Math.abs(context.now - made) >= grace;
  const listed = new Map(truth.networks.map((network) => [network.id, network]));
  const steps: Step[] = [];
  const removedEndpoints: EndpointId[] = [];
  const removedNetworks: NetworkId[] = [];
  let identified = 0;
  let next = state;

  for (const network of state.networks.values()) {
    const known = listed.get(network.id);
    if (!known) {
      if (!isOld(network.createdAt)) continue;
      removedEndpoints.push(...endpointsOf(next, network.id).map((endpoint) => endpoint.id));
      removedNetworks.push(network.id);
      const gone = deleteNetwork(next, network.id);
      steps.push(...gone.steps);
      next = withoutPoolsOf(gone.next, network);
      continue;
    }
    if (network.name !== known.name) {
      const named = { ...network, name: known.name };
      next = withNetwork(next, named);
      // Other nodes know it by what is made of its name.
      steps.push({ kind: "network", network: networkPlan(named) });
    }
    const containers = new Map(known.endpoints.map((endpoint) => [endpoint.id, endpoint.container]));
    for (const endpoint of endpointsOf(next, network.id)) {
      const container = containers.get(endpoint.id);
      if (container === undefined) {
        if (!isOld(endpoint.createdAt) && !isDead(endpoint, context)) continue;
        steps.push(...removalOf(endpoint, network));
        removedEndpoints.push(endpoint.id);
        next = withoutEndpoint(next, endpoint.id);
      } else if (container && !isSameIdentity(container, endpoint)) {
        next = withEndpoint(next, { ...endpoint, container: withKnownAliases(container, endpoint) });
        identified++;
      }
    }
  }
  const { next: known, restored, refused } = restore(withoutForgottenAddresses(next, truth, isOld), truth, context);
  return { next: known, steps, reply: { removedEndpoints, removedNetworks, identified, restored, refused } };
}

function isSameIdentity(container: ContainerIdentity, endpoint: Endpoint): boolean {
  const known = endpoint.container;
  if (!known || known.id !== container.id || known.name !== container.name) return false;
  return known.several === container.several && sameLabels(known.labels, container.labels) && (known.own === undefined) === (container.own === undefined) && sameLabels(known.own ?? {}, container.own ?? {}) &&
    sameLabels(known.doubtful ?? {}, container.doubtful ?? {}) && sameLines(known.notes, container.notes) && (container.aliases === undefined || sameLines(known.aliases, container.aliases));
}

/** Docker's lists do not tell them: what an agent knew before it started again holds until it has asked. */
function withKnownAliases(container: ContainerIdentity, { container: known }: Endpoint): ContainerIdentity {
  return container.aliases !== undefined || known?.id !== container.id || known.aliases === undefined ? container : { ...container, aliases: known.aliases };
}

function sameLines(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.join("\n") === b.join("\n");
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

function withoutPoolsOf(state: State, network: Network): State {
  return subnetsOf(network).reduce((next, subnet) => withoutPool(next, subnet.prefix as string as PoolId), state);
}

/** Docker only logs a failed release and forgets the address, so what nobody claims any more is freed here. */
function withoutForgottenAddresses(state: State, truth: DockerTruth, isOld: (made: number) => boolean): State {
  const claims = claimsByPool(state);
  const elsewhere = truth.pools && new Set<Cidr>(truth.pools.map(({ prefix }) => networkOf(parseCidr(prefix, "pool"))));
  let next = state;
  for (const pool of state.pools.values()) {
    const claimed = claims.get(pool.prefix);
    if (!claimed) {
      // A network of another driver may use our IPAM driver; then only Docker knows the pool and its addresses.
      if (elsewhere && !elsewhere.has(pool.prefix) && isOld(pool.createdAt)) next = withoutPool(next, pool.id);
      continue;
    }
    const forgotten = forgottenIn(pool, claimed, isOld);
    if (forgotten.length > 0) next = withPool(next, released(pool, forgotten));
  }
  return next;
}

function forgottenIn(pool: Pool, claimed: ReadonlySet<Ip>, isOld: (made: number) => boolean): readonly Ip[] {
  return Object.entries(pool.allocated)
    .filter(([address, held]) => held.purpose === "endpoint" && isOld(held.at) && !claimed.has(address as Ip))
    .map(([address]) => address as Ip);
}

function claimsByPool(state: State): ReadonlyMap<Cidr, ReadonlySet<Ip>> {
  const claims = new Map<Cidr, Set<Ip>>();
  for (const network of state.networks.values()) {
    for (const subnet of subnetsOf(network)) claims.set(subnet.prefix, new Set([subnet.gateway]));
  }
  for (const endpoint of state.endpoints.values()) {
    const network = state.networks.get(endpoint.network);
    for (const subnet of network ? subnetsOf(network) : []) {
      for (const ip of addressesOf(endpoint)) claims.get(subnet.prefix)?.add(ip);
    }
  }
  return claims;
}

function subnetsOf(network: Network): readonly Subnet[] {
  return [network.ipv4, network.ipv6].filter((subnet) => subnet !== null);
}
