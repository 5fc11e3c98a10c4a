// Containers on other nodes that find no room in the maps are counted and told, and are taken in when there is room again.
import assert from "node:assert/strict";
import { createCluster } from "../../../src/datapath/cluster.ts";
import { createConntrack } from "../../../src/datapath/conntrack.ts";
import { jiffiesClock, ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { mapPath } from "../../../src/datapath/pins.ts";
import { createPolicy } from "../../../src/datapath/policy.ts";
import { openTables, tableNames } from "../../../src/datapath/tables.ts";
import type { ClusterPlan } from "../../../src/network/cluster.ts";
import { formatIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { inOwnHost } from "./namespace.ts";
import { cluster, identity } from "./nodes.ts";
import { routing } from "./other-node.ts";
import { doAll } from "./perform.ts";

const addresses = (count: number, first = 0): readonly Ip[] => Array.from({ length: count }, (_, i) => formatIp(0x0a2c_0000n + BigInt(first + i), 4));
const remotesOf = (all: readonly Ip[]): ClusterPlan["remotes"] => new Map(all.map((address) => [address, { node: 1, identity, network: 1 }]));
const namesOf = (all: readonly Ip[]): ClusterPlan["names"] => new Map(all.map((address, i) => [`1/c${i}`, [address]]));

await inOwnHost(import.meta.url, {
  "names and addresses without room are told as long as they have none, and stand when others have gone": async (world) => {
    const { kernel, bpffs, netlink } = world;
    await using _datapath = await world.open({ routing });
    const [room, policyMaps] = [16, ["hw_policy_state", "hw_policy_classes", "hw_policy_prefixes", "hw_policy_pairs", "hw_policy_ports"]];
    const maps = new Map([...tableNames, ...policyMaps].map((name) => [name, kernel.openPinnedMap(mapPath(bpffs, name))]));
    const narrow = ["hw_remotes", "hw_names", "hw_pointers"].map((name) => {
      const { keySize = 0, valueSize = 0 } = maps.get(name)?.info ?? {};
      return [name, kernel.createMap("hash", name, keySize, valueSize, room)] as const;
    });
    const tables = openTables(new Map([...maps, ...narrow]));
    const lines: string[] = [];
    const log = createLog((line) => lines.push(line), Date.now);
    const hz = ticksPerSecond(log);
    using policy = createPolicy(kernel, maps);
    const parts = createCluster({ tables, netlink, policy, conntrack: createConntrack(tables, hz, jiffiesClock(hz)), routing, log });
    const held = (): readonly number[] => narrow.map(([, map]) => [...map.entries()].length);
    const problems = (...patterns: readonly RegExp[]): boolean => patterns.length === parts.problems.length && patterns.every((pattern, i) => pattern.test(parts.problems[i] ?? ""));
    const becomes = async (count: number, names: number, first: number, wanted: readonly number[], ...patterns: readonly RegExp[]): Promise<void> => {
      await parts.install({ ...cluster().cluster, remotes: remotesOf(addresses(count, first)), names: namesOf(addresses(names, first)) });
      await world.until(`${wanted.join()} ${patterns.join()}`, () => held().join() === wanted.join() && problems(...patterns)).catch((error: unknown) => {
        throw new Error(`${held().join()} ${parts.problems.join()}`, { cause: error });
      });
    };

    await becomes(16, 16, 0, [16, 16, 16]);
    await becomes(
      20, 19, 0, [16, 16, 16],
      /^addresses of containers on other nodes without room: 4 \(hw_remotes holds 16\); nothing passes .*: run fewer containers/,
      /^names of containers on other nodes without room: 3 \(hw_names holds 16\), and .*: 3 \(hw_pointers holds 16\).* smaller networks/,
    );
    assert.equal(lines.filter((line) => line.includes("finds no room")).length, 1);
    // Others take the places: as many are left out as before.
    await becomes(20, 19, 10, [16, 16, 16], / without room: 4 /, / without room: 3 .*: 3 /);
    await becomes(12, 15, 10, [12, 15, 15]);
    await becomes(17, 15, 10, [16, 15, 15], / without room: 1 /);
    // Who was left out goes, and nobody of those who were there.
    await becomes(16, 15, 10, [16, 15, 15]);
    await becomes(0, 0, 0, [0, 0, 0]);
    for (const [, map] of [...maps, ...narrow]) map.close();
  },

  "the datapath says so of its own maps": async (world) => {
    await using datapath = await world.open({ routing });
    await doAll(datapath.doers, [cluster({ remotes: remotesOf(addresses(131_072 + 3)) })]);
    assert.match(datapath.inspect().problems.join(), /^addresses of containers on other nodes without room: 3 \(hw_remotes holds 131072\)/);
    await doAll(datapath.doers, [cluster()]);
    assert.deepEqual(datapath.inspect().problems, []);
  },
});
