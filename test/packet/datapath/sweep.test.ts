// Leftovers are found and removed without an agent and without loading a program.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { sweep } from "../../../src/datapath/sweep.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { sits, tcx } from "./abilities.ts";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { cluster } from "./nodes.ts";
import { routing } from "./other-node.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired } from "./plans.ts";

async function leaveBehind(world: World): Promise<void> {
  await using datapath = await world.open();
  await doAll(datapath.doers, desired);
}

await inOwnHost(import.meta.url, {
  "a sweep with everything claimed takes nothing": async (world) => {
    await leaveBehind(world);
    assert.deepEqual(await sweep({ ...world, claimed: desired, all: false }), { links: [], pins: [], routes: [], entries: {} });
  },

  "a sweep takes what is not claimed and leaves the host's own programs": async (world) => {
    await leaveBehind(world);
    const report = await sweep({ ...world, claimed: [], all: false });
    assert.deepEqual(report.links.toSorted(), [cableA.hostInterface, cableB.hostInterface]);
    assert.equal(report.pins.length, tcx ? 4 : 0);
    assert.equal(report.routes.length, 4);
    assert.deepEqual(report.entries, { hw_frontends: 1, hw_addresses: 4, hw_endpoints: 2, hw_members: 2, hw_host_addrs: 2, hw_networks: 1 });
    assert.ok(sits(world.bpffs, "netdev", "wan0", "ingress"));
  },

  "what is known of other nodes stays, unless there can be none": async (world) => {
    {
      await using datapath = await world.open({ routing });
      await doAll(datapath.doers, [...desired, cluster({ names: new Map([["1/far", [parseIp("10.44.1.2")]]]) })]);
    }
    assert.deepEqual(await sweep({ ...world, claimed: desired, all: false }), { links: [], pins: [], routes: [], entries: {} });
    assert.match(world.ip("route show proto 72"), /10\.44\.1\.0\/24/);
    const report = await sweep({ ...world, claimed: desired, all: false, alone: true });
    assert.deepEqual([report.links, report.pins, report.routes.toSorted()], [["hwtun"], tcx ? ["from_overlay@hwtun"] : [], ["10.44.1.0/24", "10.44.2.0/24", "fd44:0:0:1::/64"]]);
    assert.deepEqual(report.entries, { hw_names: 1, hw_pointers: 1, hw_remotes: 2, hw_slices: 5, hw_balancers: 1, hw_peers: 3, hw_nodes: 2 });
    assert.equal(world.ip("route show proto 72"), "");
    // What is this node's own is as it was.
    await using datapath = await world.open();
    assert.deepEqual((await datapath.adopt(desired)).removed, { links: [], pins: [], routes: [], entries: {} });
  },

  "sweep --all leaves a host that never saw Hawser, but for foreign devices": async (world) => {
    world.ip("link add hwfoo type veth peer name hwbar");
    await leaveBehind(world);
    const report = await sweep({ ...world, claimed: desired, all: true });
    assert.deepEqual(report.links.toSorted(), [cableA.hostInterface, cableB.hostInterface, "hwhost"]);
    assert.deepEqual((await world.netlink.links()).map((link) => link.name).toSorted(), ["hwbar", "hwfoo", "lan0", "lo", "wan0"]);
    assert.ok(!existsSync(`${world.bpffs}/links`) && !existsSync(`${world.bpffs}/maps`));
    assert.doesNotMatch(world.ip("route show"), /hwhost/);
    assert.deepEqual((await sweep({ ...world, claimed: [], all: true })).links, []);
  },
});
