// Containers that somebody else wired: judged at their veth, never carried for, and never deprived of it.
//
//   ns far: eth0 172.30.0.2 ── veth ── guest0 ── bridge guests0 172.30.0.1
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { sweep } from "../../../src/datapath/sweep.ts";
import type { GuestPlan, Step } from "../../../src/network/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import { filters, sits, tcx } from "./abilities.ts";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, desired, endpointA, noPolicy } from "./plans.ts";
import { ping, prepare } from "./plug.ts";

const device = "guest0";
const mac = parseMac("02:00:00:00:30:02");

async function wire(world: World): Promise<GuestPlan> {
  prepare(world);
  for (const words of [
    "link add guests0 type bridge", "address add 172.30.0.1/24 dev guests0", "link set guests0 up",
    `link add ${device} type veth peer name eth0 address ${mac} netns far`, `link set ${device} master guests0`, `link set ${device} up`,
    "-n far address add 172.30.0.2/24 dev eth0", "-n far link set eth0 up", "-n far link set lo up", "-n far route add default via 172.30.0.1",
  ]) world.ip(words);
  const ifindex = (await world.netlink.link(device))?.index ?? 0;
  return { device, ifindex, ipv4: parseIp("172.30.0.2"), ipv6: null, mac, identity: 300 };
}

const row = { class: 1, denyIn: false, denyOut: false, covered: true };
const open: PolicyTables = { ...noPolicy, classes: new Map([[300, row], [301, { ...row, class: 2 }]]) };
const closed: PolicyTables = { ...noPolicy, classes: new Map([[300, { ...row, denyOut: true }], [301, { ...row, class: 2 }]]) };

function steps(guest: GuestPlan, tables = open): readonly Step[] {
  return [{ kind: "policy", tables, before: null }, { kind: "guest", guest }];
}

function isJudged({ bpffs }: World): boolean {
  return sits(bpffs, "from_guest", device, "ingress") && sits(bpffs, "to_guest", device, "egress");
}

/** Nothing of ours is left on its device, which works as before. */
async function isLeftAlone(world: World): Promise<void> {
  assert.deepEqual([filters(device, "ingress"), filters(device, "egress")], [[], []]);
  assert.ok(!existsSync(`${world.bpffs}/links/from_guest@${device}`) && !existsSync(`${world.bpffs}/links/to_guest@${device}`));
  assert.equal((await world.netlink.link(device))?.up, true);
  ping("far", "172.30.0.1");
}

await inOwnHost(import.meta.url, {
  "a guest is known by device and address, judged, told another identity, and left alone again": async (world) => {
    const guest = await wire(world);
    await using datapath = await world.open();
    await doAll(datapath.doers, [...steps(guest), ...steps(guest)]);
    assert.ok(isJudged(world));
    const value = { ifindex: guest.ifindex, network: 0, identity: 300, mtu: 65535, ipv4: "172.30.0.2", ipv6: null, mac, flags: 16 };
    assert.deepEqual(datapath.dumpMap("hw_endpoints", 10), [{ key: guest.ifindex, value }]);
    assert.deepEqual(datapath.dumpMap("hw_addresses", 10), [{ key: "172.30.0.2", value }]);
    ping("far", "172.30.0.1");
    await datapath.doers.policy.do({ kind: "policy", tables: closed, before: open });
    assert.throws(() => ping("far", "172.30.0.1"));
    assert.ok(datapath.counters().some((counter) => counter.reason === "policy-default-out"));

    const { revision } = datapath.policy();
    const renamed = { kind: "guest", guest: { ...guest, identity: 301 }, before: guest } as const;
    await datapath.doers.guest.do(renamed);
    assert.equal(datapath.policy().revision, revision + 2);
    ping("far", "172.30.0.1");
    await datapath.doers.guest.undo(renamed);
    assert.throws(() => ping("far", "172.30.0.1"));

    await datapath.doers.removeGuest.do({ kind: "removeGuest", guest });
    await datapath.doers.removeGuest.do({ kind: "removeGuest", guest });
    assert.deepEqual([datapath.dumpMap("hw_endpoints", 10), datapath.dumpMap("hw_addresses", 10)], [[], []]);
    await isLeftAlone(world);
    assert.ok(datapath.intact());
  },

  "told with another MAC and another identity at once, it is another: its flows are judged again, and those of its address forgotten (R58)": async (world) => {
    const guest = await wire(world);
    const moved = parseMac("02:00:00:00:30:03");
    await using datapath = await world.open();
    await doAll(datapath.doers, steps(guest));
    const flows = (): number => datapath.dumpMap("hw_ct4", 10).length;
    ping("far", "172.30.0.1");
    assert.ok(flows() > 0);
    const kept = flows();
    await datapath.doers.guest.do({ kind: "guest", guest });
    assert.equal(flows(), kept);
    const { revision } = datapath.policy();
    await datapath.doers.guest.do({ kind: "guest", guest: { ...guest, mac: moved, identity: 301 } });
    assert.deepEqual([datapath.policy().revision, flows()], [revision + 2, 0]);
    assert.throws(() => ping("far", "172.30.0.1"));
    assert.ok(datapath.counters().some((counter) => counter.reason === "invalid-source-mac"));
    world.ip(`-n far link set eth0 address ${moved}`);
    ping("far", "172.30.0.1");
  },

  "a guest whose device went is forgotten, and one under its name is another": async (world) => {
    const guest = await wire(world);
    await using datapath = await world.open();
    await doAll(datapath.doers, steps(guest));
    world.ip(`link delete ${device}`);
    world.ip(`link add ${device} type veth peer name other0`);
    await assert.rejects(datapath.doers.guest.do({ kind: "guest", guest }), { code: "KERNEL", message: /made anew/ });
    const heir = { ...guest, ifindex: (await world.netlink.link(device))?.index ?? 0, ipv4: parseIp("172.30.0.3"), identity: 301 };
    await datapath.doers.guest.do({ kind: "guest", guest: heir });
    await datapath.doers.removeGuest.do({ kind: "removeGuest", guest });
    assert.ok(isJudged(world));
    assert.deepEqual(datapath.dumpMap("hw_addresses", 10).map(({ key }) => key), ["172.30.0.3"]);
    world.ip(`link delete ${device}`);
    await datapath.doers.removeGuest.do({ kind: "removeGuest", guest: heir });
    assert.deepEqual([datapath.dumpMap("hw_endpoints", 10), datapath.dumpMap("hw_addresses", 10)], [[], []]);
    assert.ok(!existsSync(`${world.bpffs}/links/from_guest@${device}`));
  },

  "an address or a device of ours is no guest's": async (world) => {
    const guest = await wire(world);
    await using datapath = await world.open();
    await doAll(datapath.doers, desired);
    const index = (await world.netlink.link(cableA.hostInterface))?.index ?? 0;
    const refused = async (plan: GuestPlan): Promise<void> => assert.rejects(datapath.doers.guest.do({ kind: "guest", guest: plan }), { code: "IN_USE" });
    await refused({ ...guest, ipv4: endpointA.ipv4 });
    await refused({ ...guest, device: cableA.hostInterface, ifindex: index });
    assert.equal(datapath.dumpMap("hw_addresses", 10).length, 4);
    await isLeftAlone(world);
  },

  "a new agent goes on with the guests that are claimed and leaves the others alone": async (world) => {
    const guest = await wire(world);
    {
      await using datapath = await world.open();
      await doAll(datapath.doers, steps(guest, closed));
    }
    assert.throws(() => ping("far", "172.30.0.1"));
    await using datapath = await world.open();
    const kept = await datapath.adopt(steps(guest, closed));
    assert.deepEqual(kept, { removed: { links: [], pins: [], routes: [], entries: {} }, missing: [], failed: [] });
    assert.ok(isJudged(world) && datapath.intact());
    const gone = await datapath.adopt(steps({ ...guest, ifindex: 4000 }));
    assert.deepEqual([gone.missing, gone.failed], [[device], []]);
    await datapath.doers.guest.do({ kind: "guest", guest });
    const { removed } = await datapath.adopt([{ kind: "policy", tables: open, before: null }]);
    assert.deepEqual([removed.links, removed.entries], [[], { hw_addresses: 1, hw_endpoints: 1 }]);
    assert.equal(removed.pins.length, tcx ? 2 : 0);
    await isLeftAlone(world);
  },

  "a sweep without an agent takes unclaimed guests' programs, never their devices and never the policy": async (world) => {
    const guest = await wire(world);
    {
      await using datapath = await world.open();
      await doAll(datapath.doers, steps(guest));
    }
    const nothing = { links: [], pins: [], routes: [], entries: {} };
    assert.deepEqual(await sweep({ ...world, claimed: steps(guest), all: false }), nothing);
    assert.ok(isJudged(world));
    const taken = await sweep({ ...world, claimed: [], all: false });
    assert.deepEqual([taken.links, taken.pins.length, taken.entries], [[], tcx ? 2 : 0, { hw_addresses: 1, hw_endpoints: 1 }]);
    await isLeftAlone(world);
    for (const name of ["state", "classes", "prefixes", "pairs", "ports"]) assert.ok(existsSync(`${world.bpffs}/maps/hw_policy_${name}`));
    {
      await using datapath = await world.open();
      await doAll(datapath.doers, steps(guest));
    }
    assert.deepEqual((await sweep({ ...world, claimed: steps(guest), all: true })).links, ["hwhost"]);
    await isLeftAlone(world);
    assert.ok(!existsSync(`${world.bpffs}/maps`));
  },
});
