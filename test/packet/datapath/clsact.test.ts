// Kernels before 6.6 have no TCX: the same programs sit in clsact filters, replaced in place.
import assert from "node:assert/strict";
import { sweep } from "../../../src/datapath/sweep.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import { filters, ourFilter } from "./abilities.ts";
import { inOwnHost, objectDirectory } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, desired } from "./plans.ts";

/** The real kernel, which says that it knows no TCX. */
function older(world: World): World["kernel"] {
  return { ...world.kernel, probeTcx: () => false };
}

await inOwnHost(import.meta.url, {
  "each hook has one filter of ours under its own handle, however often it is attached (R100)": async (world) => {
    const kernel = older(world);
    for (let round = 0; round < 2; round++) {
      await using datapath = await world.open({ kernel });
      if (round === 0) await doAll(datapath.doers, desired);
      else assert.deepEqual((await datapath.adopt(desired)).failed, []);
      assert.deepEqual(filters("hwhost", "egress"), [ourFilter]);
      assert.deepEqual(filters("wan0", "ingress"), [ourFilter]);
      assert.deepEqual(filters(cableA.hostInterface, "ingress"), [ourFilter]);
      assert.deepEqual(filters(cableA.hostInterface, "egress"), [ourFilter]);
      assert.ok(datapath.inspect().programs.some((row) => row.device === "wan0" && row.mode === "clsact"));
    }
  },

  "detaching leaves other people's filters alone": async (world) => {
    await using datapath = await world.open({ kernel: older(world) });
    await doAll(datapath.doers, desired);
    using foreign = await world.kernel.loadObject(`${objectDirectory}/from-host.bpf.o`, { rodata: {} });
    const [program] = [...foreign.programs.values()];
    const index = (await world.netlink.link(cableA.hostInterface))?.index ?? 0;
    if (program !== undefined) world.kernel.attachClsact(program, index, "ingress", 1, 7);
    await datapath.doers.detach.do({ kind: "detach", cable: cableA });
    await datapath.doers.detach.do({ kind: "detach", cable: cableA });
    assert.deepEqual(filters(cableA.hostInterface, "ingress"), ["7 0x1"]);
  },

  "a guest has its filters as long as somebody claims it, and its device stays": async (world) => {
    const kernel = older(world);
    world.ip("link add guest0 type veth peer name guest1");
    const ifindex = (await world.netlink.link("guest0"))?.index ?? 0;
    const guest = { device: "guest0", ifindex, ipv4: parseIp("172.30.0.2"), ipv6: null, mac: parseMac("02:00:00:00:30:02"), identity: 0 };
    const step = { kind: "guest", guest } as const;
    const has = (count: 0 | 1): void => {
      const expected = count === 1 ? [ourFilter] : [];
      assert.deepEqual([filters("guest0", "ingress"), filters("guest0", "egress")], [expected, expected]);
    };
    await using datapath = await world.open({ kernel });
    await datapath.doers.guest.do(step);
    has(1);
    await datapath.adopt([step]);
    await sweep({ ...world, kernel, claimed: [step], all: false });
    has(1);
    await datapath.doers.guest.undo(step);
    has(0);
    await datapath.doers.guest.do(step);
    await datapath.adopt([]);
    has(0);
    for (const all of [false, true]) {
      await datapath.doers.guest.do(step);
      has(1);
      await sweep({ ...world, kernel, claimed: [], all });
      has(0);
    }
    assert.ok(await world.netlink.link("guest0"));
  },

  "an uplink that is none any more loses its filter, and sweep --all takes the rest": async (world) => {
    const kernel = older(world);
    await using datapath = await world.open({ kernel });
    world.ip("route delete default");
    await world.until("wan0 is no uplink", () => datapath.facts.uplinks.length === 0);
    assert.deepEqual(filters("wan0", "ingress"), []);
    world.ip("route add default via 192.0.2.1");
    await world.until("wan0 is one again", () => filters("wan0", "ingress").length === 1);
    await datapath[Symbol.asyncDispose]();
    await sweep({ ...world, kernel, claimed: [], all: true });
    assert.deepEqual(filters("wan0", "ingress"), []);
  },
});
