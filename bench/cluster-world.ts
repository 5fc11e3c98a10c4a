// A large installation as its nodes' records have it in etcd, made up: nodes, their slices, and containers that look like Compose's.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { identityKey } from "../src/engine/shared.ts";
import type { RemoteEndpoint } from "../src/network/cluster.ts";
import { endpointKey, identityHashKey, identityNumberKey, nodeKey, sliceKey } from "../src/peers/keys.ts";
import { encodeEndpoint, encodeIdentity, encodeIdentityKey, encodeNode, encodeSlice } from "../src/peers/records.ts";
import { parseCidr, parseIp, parseMac } from "../src/std/ip.ts";
import type { Cidr } from "../src/std/ip.ts";
import type { SharedChange } from "../src/store/shared.ts";
import { root } from "./run.ts";

export interface Size {
  readonly nodes: number;
  /** Of each node. */
  readonly containers: number;
  /** Of all nodes together. */
  readonly identities: number;
  /** How many networks the identities are spread over. */
  readonly networks: number;
  /** The slices begin at 10.FIRST.0.0; default 40. */
  readonly first?: number;
}

export function* world(size: Size): Iterable<SharedChange> {
  for (let i = 0; i < size.identities; i++) {
    const key = identityKey(labelsOf(i, size));
    yield { key: identityNumberKey(256 + i), value: encodeIdentity(key) };
    yield { key: identityHashKey(key), value: encodeIdentityKey(key, 256 + i) };
  }
  for (let node = 0; node < size.nodes; node++) {
    const [ipv4, ipv6] = slicesOf(node, size);
    for (const slice of [ipv4, ipv6]) yield { key: sliceKey(slice), value: encodeSlice(slice, nameOf(node)) };
    for (let i = 0; i < size.containers; i++) yield written(container(node, i, size));
    const record = { addresses: [parseIp(`192.0.${Math.floor(node / 250) + 2}.${(node % 250) + 1}`)], ipv4, ipv6, mtu: 1500, names: ["db", "web"], networks: [], version: "0.1.0", machine: "00", startedAt: 1 };
    yield { key: nodeKey(nameOf(node)), value: encodeNode({ name: nameOf(node), ...record }), leased: true };
  }
}

export function written(one: RemoteEndpoint): SharedChange {
  return { key: endpointKey(one.node, one.id), value: encodeEndpoint(one), leased: true };
}

/** `as`: with the labels of that identity instead of its own. */
export function container(node: number, i: number, size: Size, as = (node * 1000 + i) % size.identities): RemoteEndpoint {
  const number = node * 1000 + i;
  const service = `service-${as}`;
  const [ipv4, ipv6] = slicesOf(node, size).map((slice) => slice.replace(/\/.*$/, "")) as [string, string];
  return {
    node: nameOf(node), id: hex(number), containerId: hex(number + 0x1000_0000), name: `shop-${service}-${number}`, names: [`shop-${service}-${number}`, service, hex(number + 0x1000_0000).slice(0, 12)],
    network: networkOf(as, size), ipv4: parseIp(ipv4.replace(/0$/, String(i + 2))), ipv6: parseIp(`${ipv6}${(i + 2).toString(16)}`),
    mac: parseMac(`02:42:00:00:${Math.floor(i / 256).toString(16).padStart(2, "0")}:${(i % 256).toString(16).padStart(2, "0")}`),
    identity: 256 + as, labels: labelsOf(as, size),
  };
}

/** Node's flags for an agent, as bin/hawser has them. */
export function agentFlags(): readonly string[] {
  const found = /set -- (--\S+(?: --\S+)*) "\$@"/.exec(readFileSync(join(root, "bin/hawser"), "utf8"))?.[1];
  if (found === undefined) throw new Error("bin/hawser does not say any more with which flags an agent runs");
  return found.split(" ");
}

export function kept(holds: boolean): string {
  return holds ? "kept" : "MISSED";
}

function slicesOf(node: number, { first = 40 }: Size): readonly [Cidr, Cidr] {
  const high = Math.floor(node / 256) + first;
  return [parseCidr(`10.${high}.${node % 256}.0/24`), parseCidr(`fd44:0:0:${(high * 256 + (node % 256)).toString(16)}::/64`)];
}

function nameOf(node: number): string {
  return `node-${node.toString().padStart(3, "0")}`;
}

function hex(number: number): string {
  return number.toString(16).padStart(8, "0").repeat(8);
}

function networkOf(identity: number, { networks }: Size): string {
  return networks === 1 ? "shop" : `shop-${identity % networks}`;
}

function labelsOf(identity: number, size: Size): RemoteEndpoint["labels"] {
  return { network: networkOf(identity, size), project: "shop", service: `service-${identity}`, name: null, own: { tier: `tier-${identity % 7}`, team: `team-${identity % 31}` } };
}
