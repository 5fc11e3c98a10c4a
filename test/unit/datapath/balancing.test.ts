// Turning balancing on, as far as it is seen without a kernel: what comes while the first services are on their way.
import test from "ava";
import { createBalancing, ownSources } from "../../../src/datapath/balancing.ts";
import type { BalancingSurroundings } from "../../../src/datapath/balancing.ts";
import { backendMaps, readBackends } from "../../../src/datapath/lb-backends.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";

function memoryMap(written: () => void = () => {}): KernelMap {
  const held = new Map<string, Uint8Array>();
  const name = (key: Uint8Array): string => Buffer.from(key).toString("hex");
  const entries = (): Iterable<readonly [Uint8Array, Uint8Array]> => Array.from(held, ([key, value]) => [Buffer.from(key, "hex"), value] as const);
  const set: KernelMap["set"] = (key, value) => {
    held.set(name(key), value.slice());
    written();
  };
  return {
    info: { maxEntries: 64 } as KernelMap["info"], get: (key) => held.get(name(key)), set, delete: (key) => held.delete(name(key)),
    filled: entries, entries, filledInTurns: async function* () {
      yield entries();
    }, setInner: () => {}, setInners: async () => {}, setPacked: (keys, values) => {
      const size = values.length / (keys.length / 4);
      for (let i = 0; 4 * i < keys.length; i++) set(keys.slice(4 * i, 4 * i + 4), values.subarray(size * i, size * (i + 1)));
    }, store: () => {}, close: () => {}, [Symbol.dispose]: () => {},
  } as Partial<KernelMap> as KernelMap;
}

const plan: ServicePlan = {
  name: "web", family: 4, number: 1, frontends: [{ address: "203.0.113.10" as Ip, port: 80, protocol: "tcp" }], affinity: null, sources: { allow: null, deny: [] }, open: true,
  backends: [{ number: 7, identity: "b/shop/web:80", address: "10.50.1.2" as Ip, port: 80, node: "b", way: "container", weight: 1, state: "active", takes: true }],
  slots: { size: 1, words: Uint32Array.of(7, 0), between: new Map() },
};

test("backends are sent where their node is, also if it becomes known while the first services are written; nothing is written for other news of nodes", async (t) => {
  let node: Ip | null | undefined;
  let changed: Promise<void> | undefined;
  let writes = 0;
  const maps = new Map(["hw_lb_frontends", "hw_lb_slots", "hw_lb_backends", "hw_lb_places", "hw_lb_sources", "hw_lb_origins", "hw_lb_pools", "hw_lb_clients", "hw_lb_closed"].map((name) => [name, memoryMap()] as const));
  maps.set("hw_lb_services", memoryMap(() => {
    writes++;
    if (node === undefined) node = "198.18.0.2" as Ip;
    changed ??= balancing.nodesChanged();
  }));
  await using balancing = createBalancing({
    kernel: { createMap: () => memoryMap() } as Partial<Kernel> as Kernel, config: { services: 0, hz: 250 } as BalancingSurroundings["config"], setting: "off",
    loaded: { maps, reload: async () => {} }, acceleration: { turn: () => {}, fail: () => {} }, node: "a", nodeAddress: () => node ?? undefined,
    facts: () => ({ uplinkMtu: 1500, hostPrefixes: [], uplinks: [], lan: [], nodeAddresses: [], uplinkAddresses: [] }), attachAgain: async () => {}, ports: () => ({ ephemeralLow: 0, ephemeralHigh: 0, snatFirst: 0, snatPorts: 0 }), onGone: () => {}, clock: { now: () => 0 }, log: createLog(() => {}, Date.now),
  });
  await balancing.install([plan]);
  await changed;
  const backend = () => readBackends(backendMaps((name) => maps.get(name) ?? memoryMap())).get(7);
  t.deepEqual([backend()?.mode, backend()?.outer], ["GENEVE", "198.18.0.2"]);

  writes = 0;
  await balancing.nodesChanged();
  t.is(writes, 0, "nothing is written for other news of nodes");
  node = "198.18.0.3" as Ip;
  await balancing.nodesChanged();
  t.is(backend()?.outer, "198.18.0.3" as Ip);
  const one = plan.backends.map((named) => ({ ...named, number: 8, address: "10.50.1.3" as Ip }));
  node = "198.18.0.4" as Ip;
  await balancing.install([plan, { ...plan, name: "more", number: 2, frontends: [{ address: "203.0.113.11" as Ip, port: 80, protocol: "tcp" }], backends: one, slots: { size: 1, words: Uint32Array.of(8, 0), between: new Map() } }]);
  await balancing.nodesChanged();
  t.is(backend()?.outer, "198.18.0.4" as Ip, "though another service was written when nobody had said that it moved");
  node = null;
  await balancing.nodesChanged();
  t.is(backend(), undefined, "it is down while nobody knows where it is");
});

test("plain servers are asked from the uplinks' own addresses, other nodes from those by which they know this one", (t) => {
  const [uplinkAddresses, nodeAddresses] = [["192.0.2.10" as Ip, "192.0.3.10" as Ip, "2001:db8:1::20" as Ip], ["198.51.100.1" as Ip, "192.0.2.10" as Ip, "2001:db8:1::10" as Ip]];
  t.deepEqual(ownSources({ uplinkAddresses, nodeAddresses }), { lbIpv4: 0xc000020a, lbIpv6: "2001:db8:1::20" as Ip, nodeIpv4: 0xc6336401, nodeIpv6: "2001:db8:1::10" as Ip });
  t.deepEqual(ownSources({ uplinkAddresses: [], nodeAddresses: [] }), { lbIpv4: 0, lbIpv6: null, nodeIpv4: 0, nodeIpv6: null });
});

test("news of nodes that have not moved wait for no service that is being written", async (t) => {
  const maps = new Map(["hw_lb_frontends", "hw_lb_slots", "hw_lb_backends", "hw_lb_places", "hw_lb_sources", "hw_lb_origins", "hw_lb_pools", "hw_lb_services", "hw_lb_clients", "hw_lb_closed"].map((name) => [name, memoryMap()] as const));
  const [begun, gate] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  const load = async (): Promise<void> => {
    begun.resolve(undefined);
    await gate.promise;
  };
  await using balancing = createBalancing({
    kernel: { createMap: () => memoryMap() } as Partial<Kernel> as Kernel, config: { services: 0, hz: 250 } as BalancingSurroundings["config"], setting: "off",
    loaded: { maps, reload: load }, acceleration: { turn: () => {}, fail: () => {} }, node: "a", nodeAddress: () => "198.18.0.2" as Ip,
    facts: () => ({ uplinkMtu: 1500, hostPrefixes: [], uplinks: [], lan: [], nodeAddresses: [], uplinkAddresses: [] }), attachAgain: async () => {}, ports: () => ({ ephemeralLow: 0, ephemeralHigh: 0, snatFirst: 0, snatPorts: 0 }), onGone: () => {}, clock: { now: () => 0 }, log: createLog(() => {}, Date.now),
  });
  const installing = balancing.install([plan]);
  await begun.promise;
  const first = await Promise.race([balancing.nodesChanged().then(() => "nodes"), new Promise((resolve) => setTimeout(() => resolve("nothing"), 500))]);
  gate.resolve(undefined);
  await installing;
  t.is(first, "nodes");
});

test("ports that the host gives free are loaded before servers are asked from them, and a load that fails is tried again", async (t) => {
  let [free, broken, told, known] = [0, true, 0, false];
  const loads: number[] = [];
  const maps = new Map(["hw_lb_frontends", "hw_lb_slots", "hw_lb_backends", "hw_lb_places", "hw_lb_sources", "hw_lb_origins", "hw_lb_pools", "hw_lb_services", "hw_lb_clients", "hw_lb_closed"].map((name) => [name, memoryMap()] as const));
  await using balancing = createBalancing({
    kernel: { createMap: () => memoryMap() } as Partial<Kernel> as Kernel, config: { services: 0, hz: 250, snatPorts: 0 } as BalancingSurroundings["config"], setting: "off",
    loaded: { maps, reload: async (_, { snatPorts }) => {
      if (snatPorts > 0 && broken) throw new Error("not now");
      loads.push(snatPorts);
    } },
    acceleration: { turn: () => {}, fail: () => {} }, node: "a", nodeAddress: () => (known ? ("198.18.0.2" as Ip) : undefined),
    facts: () => ({ uplinkMtu: 1500, hostPrefixes: [], uplinks: [], lan: [], nodeAddresses: [], uplinkAddresses: [] }), attachAgain: async () => {}, ports: () => ({ ephemeralLow: 0, ephemeralHigh: 0, snatFirst: 16_384, snatPorts: free }),
    onGone: () => {}, clock: { now: () => 0 }, log: createLog(() => {}, Date.now),
  });
  const [backend] = plan.backends;
  const asking: ServicePlan = { ...plan, name: "asking", number: 2, frontends: [{ address: "203.0.113.11" as Ip, port: 80, protocol: "tcp" }], backends: backend === undefined ? [] : [{ ...backend, number: 8, node: null, way: "snat" }] };
  balancing.services.onRefused(() => void told++);
  await balancing.install([plan, asking]);
  t.deepEqual([[...balancing.services.refused().keys()], balancing.services.refusal(asking)?.code, loads], [[asking], "UNSUPPORTED", [0, 0]]);
  known = true;
  await balancing.nodesChanged();
  t.deepEqual([told, [...balancing.services.refused().keys()]], [1, [asking]], "whoever waits hears of what no step has done");
  free = 8;
  t.is(balancing.services.refusal(asking), undefined);
  await t.throwsAsync(balancing.install([plan, asking]), { message: "not now" });
  broken = false;
  await balancing.install([plan, asking]);
  t.deepEqual([balancing.services.refused().size, loads], [0, [0, 0, 8, 8]]);
});
