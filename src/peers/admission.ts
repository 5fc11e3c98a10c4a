// Which of the records that nodes share are believed: a node speaks for its own slice, and for no address or number of another's.
import { Layered, slicesOf } from "../engine/shared.ts";
import type { ClusterNode, NodeNetwork, RemoteEndpoint } from "../network/cluster.ts";
import type { PoolConfig } from "../network/types.ts";
import { familyOf, parseCidr } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import type { Complaints } from "./complaints.ts";
import { endpointKey, nodeKey } from "./keys.ts";
import type { NodeRecord } from "./records.ts";
import type { Registry } from "./registry.ts";
import { spanOf } from "./span.ts";
import type { Span } from "./span.ts";
import { believedNetworks } from "./subnets.ts";
import type { Entry, Member } from "./view.ts";

export interface AdmissionOptions {
  readonly pool: PoolConfig;
  readonly addresses: () => readonly Ip[];
  readonly registry: Registry;
  readonly members: ReadonlyMap<string, Member>;
  readonly complain: Complaints;
}

export interface Admission {
  nodeChanged(name: string): void;
  endpointChanged(node: string, id: string): void;
  withdraw(node: string, id: string): void;
  /** Judges what changed. @returns what is different now; this node's own slices count among the nodes. */
  settle(): { readonly nodes: boolean; readonly endpoints: boolean };
  /** Those that are believed, by `NODE/ID`. */
  endpoints(): ReadonlyMap<string, RemoteEndpoint>;
  /** Those with a record, by name. */
  nodes(): ReadonlyMap<string, ClusterNode>;
  /** What they have of networks, by their names. */
  networks(): ReadonlyMap<string, readonly NodeNetwork[]>;
}

/** Addresses that no other host and no container has (RFC 6890). */
const nobodys = spans(["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "169.254.0.0/16", "::/128", "ff00::/8", "fe80::/10"]);
const loopback = spans(["127.0.0.0/8", "::1/128"]);
const nobodyAtAll = [...nobodys, ...loopback];

export function isLoopback(address: Ip): boolean {
  return loopback.some((prefix) => prefix.has(address));
}

function spans(prefixes: readonly string[]): readonly Span[] {
  return prefixes.map((text) => spanOf(parseCidr(text)));
}

function sameEntries<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean {
  return a.size === b.size && [...a].every(([name, value]) => b.get(name) === value);
}

export function openAdmission({ pool, addresses, registry, members, complain }: AdmissionOptions): Admission {
  let admitted = new Layered<string, RemoteEndpoint>();
  /** What is to be different in it. */
  let changes = new Map<string, RemoteEndpoint | undefined>();
  /** Waiting to be judged, or judged and not believed: what they lack may come. */
  const pending = new Map<string, readonly [node: string, id: string]>();
  const unjudged = new Set<string>();
  let view = new Map<string, ClusterNode>();
  let networks = new Map<string, readonly NodeNetwork[]>();
  let underlay = new Set<Ip>();
  const slices = new Map<string, readonly Span[]>();

  const withdraw = (node: string, id: string): void => {
    pending.delete(`${node}/${id}`);
    changes.set(`${node}/${id}`, undefined);
  };

  const whole = [pool.ipv4, pool.ipv6].flatMap((cidr) => (cidr === null ? [] : [spanOf(cidr)]));
  const inPool = (address: Ip): boolean => whole.some((span) => span.has(address));

  const judgeNode = (node: NodeRecord, taken: ReadonlySet<Ip>, onLoopback: boolean): ClusterNode => {
    const refuse = (what: string, why: string): void => complain(`${nodeKey(node.name)} ${what}`, why);
    const believed = node.addresses.filter((address) => {
      const wrong = nobodys.some((prefix) => prefix.has(address)) || (isLoopback(address) && !onLoopback) ? `${address} is no address of another host`
        : inPool(address) ? `its address ${address} is of the pool, which is for containers`
          : taken.has(address) ? `its address ${address} is another node's, or this one's` : undefined;
      if (wrong !== undefined) refuse(address, wrong);
      return wrong === undefined;
    });
    const slice = (claimed: Cidr | null): Cidr | null => {
      if (claimed === null || registry.ownerOf(claimed) === node.name) return claimed;
      refuse("slice", `the slice ${claimed} is not its own: ${registry.ownerOf(claimed) ?? "nobody"} claimed it`);
      return null;
    };
    const [ipv4, ipv6] = [slice(node.ipv4), slice(node.ipv6)];
    const more = registry.moreOf(node.name).filter((one) => one !== ipv4 && one !== ipv6);
    return { name: node.name, addresses: believed, ipv4, ipv6, ...(more.length === 0 ? {} : { more }), mtu: node.mtu, names: node.names };
  };

  /** @returns whether any is another now. */
  const judgeNodes = (): boolean => {
    const own = addresses();
    const onLoopback = own.some(isLoopback);
    const before = view;
    view = new Map();
    underlay = new Set(own);
    slices.clear();
    for (const { node } of members.values()) {
      if (node === undefined) continue;
      const judged = judgeNode(node, underlay, onLoopback);
      for (const address of judged.addresses) underlay.add(address);
      const known = before.get(node.name);
      view.set(node.name, known !== undefined && JSON.stringify(known) === JSON.stringify(judged) ? known : judged);
      slices.set(node.name, slicesOf(judged).map(spanOf));
    }
    if (sameEntries(view, before)) view = before;
    const networksChange = judgeNetworks();
    return networksChange || view !== before;
  };

  /** When all nodes' addresses are known. @returns whether any is another now. */
  const judgeNetworks = (): boolean => {
    const before = networks;
    networks = new Map();
    const rules = { pool: whole, nobodys: nobodyAtAll, underlay };
    for (const name of view.keys()) {
      const told = members.get(name)?.node?.networks ?? [];
      const judged = believedNetworks(told, slices.get(name) ?? [], rules, (subnet, why) => complain(`${nodeKey(name)} ${subnet}`, `its network's subnet ${subnet} is not believed: ${why}`));
      const known = before.get(name);
      if (judged.length > 0) networks.set(name, known !== undefined && JSON.stringify(known) === JSON.stringify(judged) ? known : judged);
    }
    if (sameEntries(networks, before)) networks = before;
    return networks !== before;
  };

  /** Why the endpoint is not believed; null: what is known does not suffice yet. */
  const judge = ({ endpoint, labelled }: Entry): string | null | undefined => {
    const node = view.get(endpoint.node);
    if (node === undefined) return null;
    for (const address of [endpoint.ipv4, endpoint.ipv6]) {
      if (address === null || (slices.get(endpoint.node) ?? []).some((span) => span.has(address))) continue;
      if (inPool(address)) return `its address ${address} is not of its node's slice ${(familyOf(address) === 4 ? node.ipv4 : node.ipv6) ?? "(none)"}`;
      if (underlay.has(address) || nobodys.some((prefix) => prefix.has(address)) || isLoopback(address)) return `its address ${address} is no container's`;
    }
    if (registry.agreed(labelled.key) === endpoint.identity) return undefined;
    return registry.keyOf(endpoint.identity) === undefined ? null : `its labels are not those of identity ${endpoint.identity}`;
  };

  const judgeEndpoints = (): void => {
    for (const [key, [node, id]] of pending) {
      const entry = members.get(node)?.entries.get(id);
      const why = entry === undefined ? null : judge(entry);
      if (entry !== undefined && why === undefined) {
        pending.delete(key);
        changes.set(key, entry.endpoint);
        continue;
      }
      changes.set(key, undefined);
      if (entry === undefined) pending.delete(key);
      else if (typeof why === "string") complain(`${endpointKey(node, id)} (judged)`, why);
    }
  };

  const rejudge = (names: Iterable<string>): void => {
    for (const name of names) for (const id of members.get(name)?.entries.keys() ?? []) pending.set(`${name}/${id}`, [name, id]);
  };

  return {
    withdraw,
    endpoints: () => admitted,
    nodes: () => view,
    networks: () => networks,
    nodeChanged: (name) => void unjudged.add(name),
    endpointChanged: (node, id) => void pending.set(`${node}/${id}`, [node, id]),
    settle: () => {
      // Of a name that is none of the others' it is this node's own slices that changed.
      let nodes = [...unjudged].some((name) => !members.has(name));
      if (unjudged.size > 0) {
        const before = underlay;
        if (judgeNodes()) nodes = true;
        for (const [key, { node, id, ipv4, ipv6 }] of underlay.isSubsetOf(before) ? [] : admitted) {
          // An address that is a container's here was a host's first.
          if ((ipv4 !== null && underlay.has(ipv4)) || (ipv6 !== null && underlay.has(ipv6))) pending.set(key, [node, id]);
        }
      }
      rejudge(registry.replaced() ? members.keys() : unjudged);
      unjudged.clear();
      judgeEndpoints();
      const before = admitted;
      admitted = admitted.with(changes);
      changes = new Map();
      return { nodes, endpoints: admitted !== before };
    },
  };
}
