// All the other nodes of cluster-agent.ts at once: stands in the host's namespaces, writes their records into etcd, and sees in the host's map when a change is programmed.
// Started with the pinned map's path, etcd's address and the size as JSON; says "loaded", and does so many changes when asked.
import { setTimeout } from "node:timers/promises";
import { maps } from "../src/abi/generated.ts";
import type { RemoteEndpoint } from "../src/network/cluster.ts";
import { createKernel } from "../src/kernel/index.ts";
import { endpointKey } from "../src/peers/keys.ts";
import { systemClock } from "../src/std/clock.ts";
import type { Ip } from "../src/std/ip.ts";
import { createLog } from "../src/std/log.ts";
import { openEtcd } from "../src/store/etcd.ts";
import type { SharedChange } from "../src/store/shared.ts";
import { container, world, written } from "./cluster-world.ts";
import type { Size } from "./cluster-world.ts";

export interface Asked {
  readonly changes: number;
  /** Milliseconds between them. */
  readonly pause: number;
}

/** Milliseconds from the write's beginning until the map has it, by kind of change. */
export interface Moved {
  readonly kind: "moved";
  readonly come: readonly number[];
  readonly changed: readonly number[];
  readonly gone: readonly number[];
}

const [mapPath = "", endpoint = "", text = "{}"] = process.argv.slice(2);
const size = JSON.parse(text) as Size;
const log = createLog((line) => console.error(line), Date.now, "warn");
const remotes = createKernel().openPinnedMap(mapPath);
const store = openEtcd({ endpoints: [endpoint], prefix: "/hawser/", ttl: 60, clock: systemClock, log });
const { key: addresses, value: content } = maps.hw_remotes;
/** Milliseconds: so much later a change is lost. */
const patience = 30_000;

const standing = (address: Ip): number | undefined => {
  const bytes = remotes.get(addresses.encode(address));
  return bytes === undefined ? undefined : content.decode(bytes).identity;
};

/** Until both addresses have the identity, or are nobody's. */
const programmed = async ({ ipv4, ipv6 }: RemoteEndpoint, change: SharedChange, identity: number | undefined): Promise<number> => {
  const begin = performance.now();
  await store.write([change]);
  while ([ipv4, ipv6].some((address) => address !== null && standing(address) !== identity)) {
    if (performance.now() - begin > patience) throw new Error(`${change.key} was not programmed within ${patience / 1000} s`);
    await setTimeout(1);
  }
  return performance.now() - begin;
};

const move = async ({ changes, pause }: Asked): Promise<Moved> => {
  const samples = { come: [] as number[], changed: [] as number[], gone: [] as number[] };
  for (let change = 0; change < changes; change += 3) {
    const [node, i, as] = [(change * 7) % size.nodes, size.containers + (change % 50), (change * 11) % size.identities];
    const one = container(node, i, size);
    const other = container(node, i, size, one.identity - 256 === as ? (as + 1) % size.identities : as);
    samples.come.push(await programmed(one, written(one), one.identity));
    await setTimeout(pause);
    samples.changed.push(await programmed(one, written(other), other.identity));
    await setTimeout(pause);
    samples.gone.push(await programmed(one, { key: endpointKey(one.node, one.id), value: undefined }, undefined));
    await setTimeout(pause);
  }
  return { kind: "moved", ...samples };
};

process.on("message", (asked: Asked) => void move(asked).then((moved) => process.send?.(moved)));
await store.write([...world(size)]);
process.send?.("loaded");
await new Promise((resolve) => process.once("disconnect", resolve));
await store[Symbol.asyncDispose]();
