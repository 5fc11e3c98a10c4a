// Addresses of services on uplinks that come, go and change: what the kernel's map and the uplinks' groups hold.
import test from "ava";
import { LbHeldState } from "../../../src/abi/generated.ts";
import type { LbHeld, LbHeldKey } from "../../../src/abi/generated.ts";
import { createHeld } from "../../../src/datapath/held.ts";
import { solicitedNode } from "../../../src/datapath/announcement.ts";
import { createHolding } from "../../../src/datapath/holding.ts";
import type { UplinkReading } from "../../../src/datapath/uplinks.ts";
import type { Kernel } from "../../../src/kernel/types.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { heldTable, rivalTable } from "./held-table.ts";

const [four, six] = [parseIp("192.0.2.10"), parseIp("2001:db8::10")];

function uplink(index: number, change: Partial<UplinkReading> = {}): UplinkReading {
  return { name: `eth${index}`, index, mac: parseMac(`02:00:00:00:00:0${index}`), carrier: true, mtu: 1500, ipv4: null, ipv6: null, ...change };
}

/** A kernel that is a map and a list of groups, at a time that stands still. */
function host(left: readonly (readonly [LbHeldKey, LbHeld])[] = []) {
  const groups: string[] = [];
  const time = { now: 1_000_000 };
  const clock: Clock = { now: () => time.now, sleep: async () => {}, deadline: () => new AbortController().signal };
  const log = createLog(() => undefined, () => 0, "error");
  const table = heldTable(left);
  const kernel = { loadObject: () => Promise.reject(new Error("nothing can be sent here")) } as unknown as Kernel;
  const netlink = {
    joinGroup: async (index: number, group: string) => void groups.push(`${group}%${index}`),
    deleteAddress: async (index: number, prefix: string) => {
      const at = groups.indexOf(`${prefix.replace("/128", "")}%${index}`);
      if (at >= 0) groups.splice(at, 1);
      return at >= 0;
    },
  };
  const holding = createHolding({ held: createHeld({ kernel, objectDirectory: "", table, rivals: rivalTable(), clock, log, uptime: () => time.now / 1000 }), table, netlink, clock, log });
  return {
    holding, time, groups,
    /** `ADDRESS DEVICE MAC`, sorted. */
    shown: async () => {
      await new Promise(setImmediate);
      return [...table.entries()].map(([{ addr, ifindex }, { mac }]) => `${addr} ${ifindex} ${mac.slice(-2)}`).toSorted();
    },
  };
}

const for10s = (now: number, ...addresses: readonly Ip[]): ReadonlyMap<Ip, number> => new Map(addresses.map((address) => [address, now + 10_000]));

test("addresses follow the uplinks and their MACs; what is new there waits for the next word", async (t) => {
  const { holding, time, shown } = host();
  holding.hostChanged([uplink(1)]);
  holding.hold(for10s(time.now, four));
  t.deepEqual(await shown(), ["192.0.2.10 1 01"]);
  holding.hostChanged([uplink(1, { mac: parseMac("02:00:00:00:00:0a") }), uplink(2)]);
  t.deepEqual(await shown(), ["192.0.2.10 1 0a"]);
  holding.hold(for10s(time.now, four));
  t.deepEqual(await shown(), ["192.0.2.10 1 0a", "192.0.2.10 2 02"]);
  holding.hostChanged([uplink(2)]);
  t.deepEqual(await shown(), ["192.0.2.10 2 02"]);
  holding.hold(new Map());
  t.deepEqual(await shown(), []);
});

test("behind a cable that was out only what is certain begins", async (t) => {
  const { holding, time, shown } = host();
  t.false(holding.linked);
  holding.hostChanged([uplink(1)]);
  t.is(holding.linkedSince, 0, "it was in when the agent began");
  holding.hold(for10s(time.now, four));
  holding.hostChanged([uplink(1, { carrier: false })]);
  t.false(holding.linked);
  t.deepEqual(await shown(), []);
  time.now += 20_000;
  holding.hostChanged([uplink(1)]);
  t.is(holding.linkedSince, time.now);
  holding.hold(new Map([[four, time.now - 1000]]));
  t.deepEqual(await shown(), []);
  holding.hold(for10s(time.now, four));
  t.deepEqual(await shown(), ["192.0.2.10 1 01"]);
  time.now += 20_000;
  holding.hold(new Map([[four, time.now - 10_000]]));
  t.deepEqual(await shown(), ["192.0.2.10 1 01"], "where it is answered for it goes on");
});

test("until this agent says what it wants, what an earlier one held stays", async (t) => {
  const { holding, shown, groups } = host([[{ addr: six, ifindex: 1 }, { mac: parseMac("02:00:00:00:00:01"), state: LbHeldState.ANSWERED, until: 0xffff_ffff }]]);
  groups.push("ff02::1:ff00:10%1");
  holding.hostChanged([uplink(1)]);
  t.deepEqual(await shown(), ["2001:db8::10 1 01"]);
  holding.hold(new Map());
  t.deepEqual(await shown(), []);
  t.deepEqual(groups, [], "its group goes with it");
});

test("uplinks are in the groups in which IPv6 addresses are asked for, once for addresses that share one", async (t) => {
  t.is(solicitedNode(six), parseIp("ff02::1:ff00:10"));
  const { holding, time, shown, groups } = host();
  const same = parseIp("2001:db8:1::10");
  holding.hostChanged([uplink(1)]);
  holding.hold(for10s(time.now, four, six, same));
  await shown();
  t.deepEqual(groups, ["ff02::1:ff00:10%1"]);
  holding.hold(for10s(time.now, same));
  await shown();
  t.deepEqual(groups, ["ff02::1:ff00:10%1"]);
  holding.hold(for10s(time.now, four));
  await shown();
  t.deepEqual(groups, []);
});
