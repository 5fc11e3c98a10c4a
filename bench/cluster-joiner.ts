// The node that joins: a real door over a real etcd, with an engine that only looks at what it is told.
// Started by cluster-join.ts with etcd's address, the keys' prefix and the cache's file; says when it is ready, and when it was told of a change that it was asked to wait for.
import { createPeersDoor } from "../src/peers/door.ts";
import { systemClock } from "../src/std/clock.ts";
import { parseCidr, parseIp } from "../src/std/ip.ts";
import { createLog } from "../src/std/log.ts";
import { openEtcd } from "../src/store/etcd.ts";
import type { Cluster } from "../src/network/cluster.ts";

export interface Started {
  readonly kind: "started";
  /** Milliseconds. */
  readonly ms: number;
  /** Seconds of the processor until now. */
  readonly cpu: number;
  /** MiB, now and at most. */
  readonly rss: number;
  readonly largest: number;
  readonly endpoints: number;
}

export interface Seen {
  readonly kind: "seen";
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const [endpoint = "", prefix = "", cacheFile = ""] = process.argv.slice(2);
const log = createLog((line) => console.error(line), Date.now, "error");
const store = openEtcd({ endpoints: [endpoint], prefix, clock: systemClock, log });
let told: Cluster | undefined;
let wanted: { readonly key: string; readonly name: string } | undefined;

const door = createPeersDoor({
  kind: "etcd", store, peers: [], probePort: 8473, cacheFile, clock: systemClock, random: Math.random, log,
  pool: { ipv4: parseCidr("10.32.0.0/11"), ipv4NodePrefix: 24, ipv6: parseCidr("fd44::/48"), ipv6NodePrefix: 64 },
  node: { name: "joiner", addresses: () => [parseIp("127.0.0.1")], mtu: () => 1500 },
  own: () => ({ endpoints: [], unnumbered: [], names: [], networks: [] }),
  commands: {
    syncServices: async () => {},
    ownWereGone: async () => {},
    syncCluster: async (cluster) => {
      told = cluster;
      if (wanted === undefined || cluster.endpoints.get(wanted.key)?.name !== wanted.name) return;
      process.send?.({ kind: "seen", at: performance.timeOrigin + performance.now() } satisfies Seen);
      wanted = undefined;
    },
  },
});

const report = (ms: number): void => {
  const mebibyte = 1024 * 1024;
  process.send?.({
    kind: "started", ms, cpu: (process.cpuUsage().user + process.cpuUsage().system) / 1e6, rss: process.memoryUsage().rss / mebibyte, largest: process.resourceUsage().maxRSS / 1024, endpoints: told?.endpoints.size ?? 0,
  } satisfies Started);
};

process.on("message", (message: "memory" | { readonly key: string; readonly name: string }) => {
  if (message === "memory") return report(0);
  wanted = message;
  process.send?.("watching");
});
const begin = performance.now();
await door.start(new AbortController().signal);
report(performance.now() - begin);
await new Promise((resolve) => process.once("disconnect", resolve));
await door[Symbol.asyncDispose]();
await store[Symbol.asyncDispose]();
