// Networks that find no place in this node's slices: one more is claimed, once for all who wait, until there is none.
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import type { Cluster } from "../../../src/network/cluster.ts";
import type { RequestPool } from "../../../src/network/commands.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { Family } from "../../../src/std/ip.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";

const automatic: RequestPool = { addressSpace: "local", pool: "", subPool: "", ipv6: false, options: {} };
const cluster: Cluster = { ...noCluster, kind: "etcd", ipv4: parseCidr("10.44.1.0/24") };

async function shop(last: number) {
  const claimed: Family[] = [];
  const engine = desk(fakeHost(), memoryStore(), {
    claimSlice: async (family) => {
      claimed.push(family);
      await new Promise(setImmediate);
      if (claimed.length > last) throw new HawserError("NO_FREE_POOL", "every slice of 10.44.0.0/16 has a node; enlarge pool.ipv4");
      await engine.commands.syncCluster({ ...cluster, more: claimed.map((_, i) => parseCidr(`10.44.${i + 2}.0/24`)) });
      return true;
    },
  });
  await engine.start();
  await engine.commands.syncCluster(cluster);
  return { engine, claimed };
}

test("networks go on into another slice when this node's are full, and two that wait claim one", async (t) => {
  const { engine, claimed } = await shop(9);
  for (let i = 0; i < 4; i++) await engine.commands.requestPool(automatic);
  t.deepEqual(claimed, []);
  const both = await Promise.all([engine.commands.requestPool(automatic), engine.commands.requestPool(automatic)]);
  t.deepEqual(both.map(({ prefix }) => prefix), ["10.44.2.0/26", "10.44.2.64/26"].map((text) => parseCidr(text)));
  t.deepEqual(claimed, [4]);
  // One that was given back is taken before anything is claimed.
  await engine.commands.releasePool(both[0].id);
  t.is((await engine.commands.requestPool(automatic)).prefix, parseCidr("10.44.2.0/26"));
  t.deepEqual(claimed, [4]);
});

test("when no slice is left the error names the pool and the remedy (R80), and the next who asks is not kept waiting", async (t) => {
  const { engine, claimed } = await shop(0);
  for (let i = 0; i < 4; i++) await engine.commands.requestPool(automatic);
  const asked = await Promise.allSettled([engine.commands.requestPool(automatic), engine.commands.requestPool(automatic)]);
  for (const one of asked) {
    t.regex(one.status === "rejected" ? String(one.reason) : "", /no free \/26 is left in 10\.44\.1\.0\/24, .* or give --subnet\. No other slice could be claimed: every slice of 10\.44\.0\.0\/16 has a node; enlarge pool\.ipv4/);
    t.is(one.status === "rejected" && (one.reason as HawserError).code, "NO_FREE_POOL");
  }
  t.deepEqual(claimed, [4, 4]);
  await t.throwsAsync(engine.commands.requestPool({ ...automatic, pool: "10.44.1.0/26" }), { code: "OVERLAP" });
  t.is((await engine.commands.requestPool({ ...automatic, pool: "10.50.0.0/24" })).prefix, parseCidr("10.50.0.0/24"));
});

test("where one more slice does not help, no others are claimed", async (t) => {
  let claimed = 0;
  const engine = desk(fakeHost(), memoryStore(), { claimSlice: async () => ++claimed > 0 });
  await engine.start();
  await engine.commands.syncCluster(cluster);
  for (let i = 0; i < 4; i++) await engine.commands.requestPool(automatic);
  for (let i = 0; i < 3; i++) await t.throwsAsync(engine.commands.requestPool(automatic), { code: "NO_FREE_POOL" });
  t.is(claimed, 1);
});

test("a node with peers from the configuration has no slice to claim", async (t) => {
  const engine = desk(fakeHost(), memoryStore(), { claimSlice: async () => false });
  await engine.start();
  await engine.commands.syncCluster({ ...cluster, kind: "static" });
  for (let i = 0; i < 4; i++) await engine.commands.requestPool(automatic);
  await t.throwsAsync(engine.commands.requestPool(automatic), { code: "NO_FREE_POOL", message: /give this node a larger slice in `peers`, or give --subnet$/ });
});
