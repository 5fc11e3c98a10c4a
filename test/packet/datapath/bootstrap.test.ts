// Opening the datapath on a bare host, on one that an earlier agent left, and after the host changed meanwhile.
import assert from "node:assert/strict";
import { cpSync, readdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { u32 } from "../../../src/abi/codec.ts";
import { lbBackendCodec } from "../../../src/abi/generated.ts";
import { readBackends } from "../../../src/datapath/lb-backends.ts";
import type { BackendEntry } from "../../../src/datapath/lb-backends.ts";
import { ip4FromNumber, ipToBytes16, parseIp, parseMac } from "../../../src/std/ip.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";
import { mapPath } from "../../../src/datapath/pins.ts";
import { scratchFolder } from "../../scratch.ts";
import { sits, tcMode, tcx } from "./abilities.ts";
import { inOwnHost, nodeMac, objectDirectory, sysctl } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, desired } from "./plans.ts";

await inOwnHost(import.meta.url, {
  "hwhost stands with the node's MAC, NOARP and forwarding of its own only": async ({ open, netlink, ip }) => {
    const forwarding = [sysctl("ipv4/conf/all/forwarding"), sysctl("ipv6/conf/all/forwarding")];
    await using datapath = await open();
    const host = await netlink.link("hwhost");
    assert.deepEqual([host?.mac, host?.noArp, host?.up], [nodeMac, true, true]);
    assert.deepEqual([sysctl("ipv4/conf/hwhost/forwarding"), sysctl("ipv6/conf/hwhost/forwarding")], ["1", "1"]);
    assert.equal(sysctl("ipv4/conf/hwhost/rp_filter"), "2");
    assert.deepEqual([sysctl("ipv4/conf/all/forwarding"), sysctl("ipv6/conf/all/forwarding")], forwarding);
    assert.equal(ip("-6 address show dev hwhost scope link") + ip("-6 address show dev hwnet"), "");
    assert.deepEqual(datapath.inspect().problems, []);
  },

  "programs sit on hwhost, the uplink and the cgroup's hooks": async ({ open, cgroup, bpffs }) => {
    await using datapath = await open();
    const { programs, uplinks, features } = datapath.inspect();
    const at = (device: string): string[] => programs.filter((row) => row.device === device).map((row) => `${row.name} ${row.hook} ${row.mode}`);
    assert.deepEqual(at("hwhost"), [`from_host egress ${tcMode}`]);
    assert.deepEqual(at("wan0"), [`netdev ingress ${tcMode}`]);
    assert.equal(at(cgroup).length, 10);
    assert.ok(at(cgroup).every((row) => row.endsWith(" cgroup")));
    assert.deepEqual(uplinks, ["wan0"]);
    assert.equal(features["tcx"], tcx);
    assert.ok(sits(bpffs, "from_host", "hwhost", "egress") && sits(bpffs, "netdev", "wan0", "ingress"));
  },

  "a second opening keeps every link and every map: no packet meets a gap (R11, R14)": async ({ open, kernel, bpffs }) => {
    {
      await using datapath = await open();
      await doAll(datapath.doers, desired);
    }
    const before = pinnedIds(kernel, bpffs);
    assert.ok(before.length > 20);
    await using datapath = await open();
    const report = await datapath.adopt(desired);
    assert.deepEqual(report, { removed: { links: [], pins: [], routes: [], entries: {} }, missing: [], failed: [] });
    assert.deepEqual(pinnedIds(kernel, bpffs), before);
  },

  "a pinned map of another shape is replaced, and the log says which": async ({ open, kernel, bpffs, lines }) => {
    await (await open())[Symbol.asyncDispose]();
    const path = mapPath(bpffs, "hw_uplinks");
    unlinkSync(path);
    const other = kernel.createMap("hash", "hw_uplinks", 4, 24, 64);
    other.pin(path);
    other.close();
    await using datapath = await open();
    assert.deepEqual(lines.filter((line) => line["map"] === "hw_uplinks").map((line) => line["difference"]), ["valueSize 24 → 40"]);
    assert.equal((await datapath.maps()).find((row) => row.name === "hw_uplinks")?.valueSize, 40);
    assert.equal(datapath.dumpMap("hw_uplinks", 10).length, 1);
  },

  "an upgrade that fails leaves every map to the version before, and one that ended while it pinned is ended by the next": async ({ open, kernel, bpffs }) => {
    await (await open())[Symbol.asyncDispose]();
    const backends = mapPath(bpffs, "hw_lb_backends");
    for (const name of ["hw_lb_backends", "hw_lb_places"]) unlinkSync(mapPath(bpffs, name));
    using whole = kernel.createMap("array", "hw_lb_backends", 4, 64, 65_536);
    whole.set(u32.encode(1), Uint8Array.of(...ipToBytes16(parseIp("172.16.0.1")), ...ipToBytes16(parseIp("172.16.0.1")), 0, 80, 1, 0, ...new Uint8Array(28)));
    whole.pin(backends);
    const broken = scratchFolder("objects");
    try {
      cpSync(objectDirectory, broken, { recursive: true });
      writeFileSync(join(broken, "from-overlay.bpf.o"), "none");
      await assert.rejects(open({ objectDirectory: broken }));
    } finally {
      rmSync(broken, { recursive: true });
    }
    const pinned = (): KernelMap => kernel.openPinnedMap(backends);
    {
      using still = pinned();
      assert.equal(still.info.valueSize, 64);
    }
    using places = kernel.createMap("array", "hw_lb_places", 4, 32, 65_536);
    places.pin(mapPath(bpffs, "hw_lb_places"));
    places.pin(`${backends}@next`);
    await using datapath = await open();
    using now = pinned();
    assert.deepEqual([...readBackends({ backends: now, places })].map(([number, { address }]) => [number, address]), [[1, "172.16.0.1"]]);
    await datapath.adopt([]);
    assert.deepEqual(readdirSync(`${bpffs}/maps`).filter((name) => name.includes("@")), []);
  },

  "backends that an earlier version had in one map are the same in two, with all that standing flows need (R74)": async ({ open, kernel, bpffs, lines }) => {
    const of = (name: string): KernelMap => kernel.openPinnedMap(mapPath(bpffs, name));
    const ends: readonly BackendEntry[] = [
      { address: parseIp("172.16.0.1"), outer: parseIp("172.16.0.1"), port: 80, mode: "IPIP", returns: false },
      { address: parseIp("10.44.0.2"), outer: parseIp("fd00::2"), port: 8080, mode: "GENEVE", returns: true },
    ];
    await (await open())[Symbol.asyncDispose]();
    for (const name of ["hw_lb_backends", "hw_lb_places"]) unlinkSync(mapPath(bpffs, name));
    using whole = kernel.createMap("array", "hw_lb_backends", 4, 64, 65_536);
    const written = (mode: number, flags: number, port: number, { address, outer = address }: BackendEntry): Uint8Array =>
      Uint8Array.of(...ipToBytes16(address), ...ipToBytes16(outer), port >> 8, port & 255, mode, flags, 1, 0, 0, 0, ...new Uint8Array(24).fill(7));
    whole.set(u32.encode(1), written(1, 0, 80, ends[0] as BackendEntry));
    whole.set(u32.encode(700), written(2, 2, 8080, ends[1] as BackendEntry));
    whole.set(u32.encode(701), written(1, 1, 80, ends[0] as BackendEntry));
    whole.pin(mapPath(bpffs, "hw_lb_backends"));
    await using _ = await open();
    assert.deepEqual(lines.filter((line) => line["map"] === "hw_lb_backends").map((line) => line["difference"]), ["valueSize 64 → 32"]);
    using backends = of("hw_lb_backends");
    using places = of("hw_lb_places");
    assert.deepEqual([...readBackends({ backends, places })], [[1, ends[0]], [700, ends[1]]]);
    const { outer4, ifindex } = lbBackendCodec.decode(backends.get(u32.encode(1)) ?? new Uint8Array());
    assert.deepEqual([ip4FromNumber(outer4), ifindex, lbBackendCodec.decode(backends.get(u32.encode(700)) ?? new Uint8Array()).outer4], ["172.16.0.1", 0, 0]);
  },

  "pages of slots that cannot be mapped are replaced, whether there are any or none": async ({ open, kernel, bpffs, lines }) => {
    for (const held of [0, 1]) {
      await (await open())[Symbol.asyncDispose]();
      const path = mapPath(bpffs, "hw_lb_slots");
      unlinkSync(path);
      using inner = kernel.createMap("array", "hw_lb_page", 4, 8, 65_536);
      using outer = kernel.createMap("array_of_maps", "hw_lb_slots", 4, 4, 1024, { inner });
      if (held === 1) outer.setInner(new Uint8Array(4), inner);
      outer.pin(path);
      const seen = lines.length;
      await using _ = await open();
      assert.equal(lines.slice(seen).filter((line) => line["map"] === "hw_lb_slots").length, 1);
    }
  },

  "a pinned map of maps that takes others than ours is replaced too, whether it holds any or none": async ({ open, kernel, bpffs, lines }) => {
    for (const held of [0, 1]) {
      await (await open())[Symbol.asyncDispose]();
      const path = mapPath(bpffs, "hw_policy_pairs");
      unlinkSync(path);
      using inner = kernel.createMap("hash", "hw_policy_pairs", 12, 8, 1);
      using outer = kernel.createMap("array_of_maps", "hw_policy_pairs", 4, 4, 2, { inner });
      if (held === 1) outer.setInner(new Uint8Array(4), inner);
      outer.pin(path);
      const seen = lines.length;
      await using datapath = await open();
      assert.equal(lines.slice(seen).filter((line) => line["map"] === "hw_policy_pairs").length, 1);
      await doAll(datapath.doers, desired);
      assert.ok(datapath.policy().revision > 0);
    }
  },

  "adoption takes away what nobody claims and leaves the rest": async ({ open, netlink, ip, bpffs }) => {
    {
      await using datapath = await open();
      await doAll(datapath.doers, desired);
    }
    await using datapath = await open();
    const kept = desired.filter((step) => step.kind === "network" || JSON.stringify(step).includes("hwbbbbbbbbbbb"));
    const report = await datapath.adopt(kept);
    assert.deepEqual(report.removed.links, [cableA.hostInterface]);
    // A filter goes with its device and is nothing of its own.
    const pins = [`from_container@${cableA.hostInterface}`, `to_container@${cableA.hostInterface}`];
    assert.deepEqual(report.removed.pins, tcx ? pins : []);
    assert.deepEqual(report.removed.entries, { hw_frontends: 1, hw_addresses: 2, hw_endpoints: 1, hw_members: 1 });
    assert.deepEqual([report.removed.routes, report.missing, report.failed], [[], [], []]);
    assert.equal(await netlink.link(cableA.hostInterface), undefined);
    assert.deepEqual(datapath.dumpMap("hw_addresses", 10).map((entry) => entry.key).toSorted(), ["10.44.0.3", "fd44::3"]);
    assert.ok(sits(bpffs, "from_container", "hwbbbbbbbbbbb", "ingress"));

    const all = await datapath.adopt([]);
    assert.deepEqual(all.removed.links, ["hwbbbbbbbbbbb"]);
    assert.deepEqual(all.removed.routes.toSorted(), ["10.44.0.0/24", "10.44.0.1/32", "fd44::/64", "fd44::1/128"]);
    assert.deepEqual(all.removed.entries, { hw_addresses: 2, hw_endpoints: 1, hw_members: 1, hw_host_addrs: 2, hw_networks: 1 });
    assert.equal(ip("route show dev hwhost"), "");
    assert.deepEqual((await datapath.adopt([])).removed, { links: [], pins: [], routes: [], entries: {} });
  },

  "a claimed cable that died with its container is reported, not made again (R16)": async ({ open, netlink, ip }) => {
    {
      await using datapath = await open();
      await doAll(datapath.doers, desired);
    }
    ip(`link delete ${cableA.hostInterface}`);
    await using datapath = await open();
    const report = await datapath.adopt(desired);
    assert.deepEqual(report.missing, [cableA.hostInterface]);
    assert.deepEqual(report.failed, []);
    assert.deepEqual(report.removed.entries, { hw_frontends: 1, hw_addresses: 2, hw_endpoints: 1, hw_members: 1 });
    assert.equal(await netlink.link(cableA.hostInterface), undefined);
  },

  "a changed node MAC reaches hwhost": async ({ open, netlink }) => {
    await (await open())[Symbol.asyncDispose]();
    const other = parseMac("02:48:57:00:00:02");
    await using _datapath = await open({ nodeMac: other });
    assert.equal((await netlink.link("hwhost"))?.mac, other);
  },
});

function pinnedIds(kernel: Kernel, bpffs: string): string[] {
  const links = readdirSync(`${bpffs}/links`).toSorted().map((name) => {
    using link = kernel.openPinnedLink(`${bpffs}/links/${name}`);
    return `${name} ${link.id}`;
  });
  const maps = readdirSync(`${bpffs}/maps`).toSorted().map((name) => {
    using map = kernel.openPinnedMap(`${bpffs}/maps/${name}`);
    return `${name} ${map.info.id}`;
  });
  return [...links, ...maps];
}
