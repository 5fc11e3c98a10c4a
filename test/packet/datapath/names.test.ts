// Names of other nodes' containers in the maps: as the plan says, for people in words, and gone with their network.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { installNames } from "../../../src/datapath/names.ts";
import { mapPath } from "../../../src/datapath/pins.ts";
import { sweep } from "../../../src/datapath/sweep.ts";
import { openTables, tableNames } from "../../../src/datapath/tables.ts";
import type { Tables } from "../../../src/datapath/tables.ts";
import { parseIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired, endpointA, endpointB } from "./plans.ts";

function pinnedTables({ kernel, bpffs }: World): Tables {
  return openTables(new Map(tableNames.map((name) => [name, kernel.openPinnedMap(mapPath(bpffs, name))])));
}

function plan(names: Readonly<Record<string, readonly string[]>>): ReadonlyMap<string, readonly Ip[]> {
  return new Map(Object.entries(names).map(([key, ips]) => [key, ips.map((ip) => parseIp(ip))]));
}

await inOwnHost(import.meta.url, {
  "names stand as the plan says and are shown in words": async (world) => {
    await using datapath = await world.open();
    const tables = pinnedTables(world);
    const wanted = plan({ "1/db": ["10.44.1.9", "fd44::1:9"], "1/db.shop": ["10.44.1.9", "fd44::1:9"], "1/data": ["10.44.1.9", "10.44.2.9"], [`1/${"x".repeat(64)}`]: ["10.44.1.8"] });
    assert.deepEqual(await installNames(tables, wanted), { skipped: [`1/${"x".repeat(64)}`], left: { names: 0, addresses: 0 } });
    await installNames(tables, wanted);
    const rows = (map: string): string[] => datapath.dumpMap(map, 10).map((entry) => JSON.stringify([entry.key, entry.value])).toSorted();
    assert.deepEqual(rows("hw_names"), [
      '[{"network":1,"name":"data"},{"ipv4":["10.44.1.9","10.44.2.9"],"ipv6":[]}]',
      '[{"network":1,"name":"db"},{"ipv4":["10.44.1.9"],"ipv6":["fd44::1:9"]}]',
      '[{"network":1,"name":"db.shop"},{"ipv4":["10.44.1.9"],"ipv6":["fd44::1:9"]}]',
    ]);
    assert.deepEqual(rows("hw_pointers").filter((row) => row.includes("in-addr")), [
      '[{"network":1,"name":"9.1.44.10.in-addr.arpa"},{"name":"db.shop"}]',
      '[{"network":1,"name":"9.2.44.10.in-addr.arpa"},{"name":"data"}]',
    ]);
    await installNames(tables, plan({ "1/db": ["10.44.1.10"], "2/db": ["10.44.1.11"] }));
    assert.deepEqual(rows("hw_names"), ['[{"network":1,"name":"db"},{"ipv4":["10.44.1.10"],"ipv6":[]}]', '[{"network":2,"name":"db"},{"ipv4":["10.44.1.11"],"ipv6":[]}]']);
    assert.equal(rows("hw_pointers").length, 2);
  },

  "of names that stood only what changed is touched, and an address answers to what is left to it": async (world) => {
    await using datapath = await world.open();
    const tables = pinnedTables(world);
    const rows = (map: string): string[] => datapath.dumpMap(map, 20).map(({ key, value }) => `${JSON.stringify(key)} ${JSON.stringify(value)}`).toSorted();
    const steps = [
      plan({}),
      plan({ "1/db": ["10.44.1.9"], "1/db.shop": ["10.44.1.9"], "1/data": ["10.44.1.9", "10.44.1.8"], "2/web": ["fd44::7"] }),
      plan({ "1/data": ["10.44.1.9", "10.44.1.8"], "2/web": ["fd44::7"], "2/web.wide": ["fd44::7"] }),
      plan({ "1/data": ["10.44.1.8"], "2/web": ["fd44::7"], "2/web.wide": ["fd44::7"], "2/new": ["10.44.2.1"] }),
      plan({ "2/new": ["10.44.2.1", "fd44::7"] }),
      plan({}),
    ];
    for (const [i, names] of steps.entries()) {
      const before = steps[i - 1];
      const known = new Set([...names.values()].flat());
      await installNames(tables, names, before === undefined ? {} : { before, known: (address) => known.has(address) });
      const [found, behind] = [rows("hw_names"), rows("hw_pointers")];
      assert.equal(found.length, names.size);
      // From nothing it is the same.
      await installNames(tables, new Map());
      assert.deepEqual([rows("hw_names"), rows("hw_pointers")], [[], []]);
      await installNames(tables, names);
      assert.deepEqual([rows("hw_names"), rows("hw_pointers")], [found, behind]);
    }
  },

  "names that find no room are counted, and those that stand change all the same": async (world) => {
    await using datapath = await world.open();
    const { names, pointers } = pinnedTables(world);
    const room = world.kernel.createMap("hash", "small", names.map.info.keySize, names.map.info.valueSize, 3);
    try {
      const small = { names: { ...names, map: room }, pointers };
      const many = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`1/c${i}`, ["10.44.1.9"]]));
      assert.equal((await installNames(small, plan(many))).left.names, 2);
      assert.equal([...room.entries()].length, 3);
      assert.deepEqual(await installNames(small, plan({ "1/c0": ["10.44.1.7"] })), { skipped: [], left: { names: 0, addresses: 0 } });
      assert.equal([...room.entries()].length, 1);
      assert.equal(datapath.dumpMap("hw_pointers", 10).length, 1);
    } finally {
      room.close();
    }
  },

  "names outlive their agent, and go when nobody claims their network": async (world) => {
    {
      await using datapath = await world.open();
      await doAll(datapath.doers, desired);
      await installNames(pinnedTables(world), plan({ "1/db": ["10.44.1.9"], "2/db": ["10.44.1.10"] }));
    }
    await using datapath = await world.open();
    assert.deepEqual((await datapath.adopt(desired)).removed.entries, { hw_names: 1, hw_pointers: 1 });
    assert.deepEqual(datapath.dumpMap("hw_names", 10).map((entry) => entry.key), [{ network: 1, name: "db" }]);
    const swept = await sweep({ ...world, claimed: [], all: false });
    assert.deepEqual([swept.entries["hw_names"], swept.entries["hw_pointers"]], [1, 1]);
    assert.deepEqual(datapath.dumpMap("hw_names", 10), []);
  },

  "a container on two networks may ask for the names of both by either device, as long as it is": async (world) => {
    const container = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
    try {
      await new Promise((resolve) => container.stdout.once("data", resolve));
      await using datapath = await world.open();
      await doAll(datapath.doers, [
        { kind: "cable", cable: cableA }, { kind: "cable", cable: cableB },
        { kind: "endpoint", endpoint: endpointA }, { kind: "endpoint", endpoint: { ...endpointB, network: 2 } },
      ]);
      const scopes = async (): Promise<string> => {
        const links = await world.netlink.links();
        return datapath.dumpMap("hw_name_scopes", 10).map(({ key, value }) => {
          const { networks } = value as { readonly networks: readonly number[] };
          return `${links.find((link) => link.index === key)?.name}: ${networks.filter((number) => number !== 0).join(" ")}`;
        }).toSorted().join(", ");
      };
      const becomes = (wanted: string): Promise<void> => world.until(`the scopes are "${wanted}"`, async () => (await scopes()) === wanted);
      assert.equal(await scopes(), "");
      world.ip(`link set ${cableA.containerInterface} netns ${container.pid}`);
      world.ip(`link set ${cableB.containerInterface} netns ${container.pid}`);
      await becomes(`${cableA.hostInterface}: 2, ${cableB.hostInterface}: 1`);
      await datapath.doers.removeEndpoint.do({ kind: "removeEndpoint", endpoint: { ...endpointB, network: 2 } });
      await becomes("");
    } finally {
      container.stdin.end();
    }
  },
});
