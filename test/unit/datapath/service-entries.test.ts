// Frontends' numbers, by which flows are known: a frontend keeps its own. And how a backend is reached.
import test from "ava";
import { u32 } from "../../../src/abi/codec.ts";
import { lbBackendCodec, lbPlaceCodec } from "../../../src/abi/generated.ts";
import { backendMaps, readBackends, setBackend, writeBackends } from "../../../src/datapath/lb-backends.ts";
import type { BackendEntry } from "../../../src/datapath/lb-backends.ts";
import { noTable } from "../../../src/datapath/lb-slots.ts";
import { backendEntries, frontendEntries, sameBackend } from "../../../src/datapath/service-entries.ts";
import type { EntrySurroundings } from "../../../src/datapath/service-entries.ts";
import type { BackendPlan, ServicePlan } from "../../../src/lb/types.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { openMaps } from "./lb-maps.ts";

const around: EntrySurroundings = { node: "n1", nodeAddress: () => undefined, isOwn: () => false, translates: () => true };
type Frontend = ServicePlan["frontends"][number];
const frontend = (i: number): Frontend => ({ address: parseIp(`203.0.${i >> 8}.${i & 255}`), port: 80, protocol: "tcp" });
const numbersOf = (frontends: readonly Frontend[], before: ReadonlyMap<string, number> = new Map(), service = 1): ReadonlyMap<string, number> => {
  const plan: ServicePlan = {
    name: "web", family: 4, number: 1, frontends, affinity: null, sources: { allow: null, deny: [] }, open: true, backends: [], slots: { size: 1, words: new Uint32Array(2), between: new Map() },
  };
  return new Map(frontendEntries(plan, around, noTable, (at) => (before.has(at) ? { address: frontend(0).address, port: 80, protocol: 6, service, number: before.get(at) ?? 0, shared: false } : undefined)).flatMap(([key, { port, number }]) => (port === 0 ? [] : [[key, number] as const])));
};

test("each frontend has another number, none has 0, and their order does not matter", (t) => {
  const all = Array.from({ length: 5000 }, (_, i) => frontend(i));
  const numbers = numbersOf(all);
  t.is(new Set(numbers.values()).size, 5000);
  for (const number of numbers.values()) t.true(number > 0 && number <= 0xffff);
  t.deepEqual(new Map([...numbersOf(all.toReversed())].toSorted()), new Map([...numbers].toSorted()));
});

test("a frontend keeps its number when others come before it or go", (t) => {
  const [a, b, c] = [frontend(1), frontend(2), frontend(3)];
  const whole = numbersOf([a, b, c]);
  for (const some of [[a], [b, c], [c, a]]) for (const [key, number] of numbersOf(some)) t.is(number, whole.get(key) ?? 0);
});

test("of two that would have the same number the one that stands keeps it, whichever comes to it; what was another service's counts for nothing", (t) => {
  const all = Array.from({ length: 3000 }, (_, i) => frontend(i));
  const alone = all.map((one) => [...numbersOf([one]).values()][0]);
  const pairs = all.flatMap((one, i) => {
    const first = alone.indexOf(alone[i]);
    return first < i ? [[all[first] as Frontend, one] as const, [one, all[first] as Frontend] as const] : [];
  });
  t.true(pairs.length > 10);
  for (const [stands, comes] of pairs) {
    const before = numbersOf([stands]);
    const [key, number] = [...before][0] ?? ["", 0];
    const after = numbersOf([comes, stands], before);
    t.is(after.get(key), number);
    t.is(new Set(after.values()).size, 2);
    t.deepEqual(numbersOf([comes, stands], before, 2), numbersOf([comes, stands]));
  }
});

test("more frontends than numbers are refused", (t) => {
  const { message } = t.throws(() => numbersOf(Array.from({ length: 0x10000 }, (_, i) => frontend(i)))) as Error;
  t.regex(message, /^service web has 65536 frontends/);
});

test("a container is reached where it is, and only on another node does the mode say by which way it answers", (t) => {
  const nodes = { ...around, nodeAddress: (node: string) => (node === "n2" ? parseIp("192.0.2.2") : undefined) };
  const reached = (node: string, way: BackendPlan["way"]): unknown => {
    const plan: BackendPlan = { number: 7, identity: "web", address: parseIp("10.44.0.2"), port: 8080, node, way, weight: 1, state: "active", takes: true };
    return backendEntries([plan], nodes)[0]?.[1];
  };
  const container = { address: "10.44.0.2", port: 8080 };
  for (const way of ["container", "snat"] as const) t.deepEqual(reached("n1", way), { ...container, mode: "LOCAL" });
  t.deepEqual(reached("n2", "container"), { ...container, mode: "GENEVE", outer: "192.0.2.2", returns: false });
  t.deepEqual(reached("n2", "snat"), { ...container, mode: "GENEVE", outer: "192.0.2.2", returns: true });
  t.is(reached("n3", "snat"), undefined, "nobody knows where that is");
});

test("a backend that answers by another way is another entry, and comes back from the kernel as it was", (t) => {
  const entry: BackendEntry = { address: parseIp("10.44.0.2"), port: 8080, mode: "GENEVE", outer: parseIp("192.0.2.2"), returns: true };
  t.false(sameBackend(entry, { ...entry, returns: false }));
  const { maps } = openMaps();
  const tables = backendMaps((name) => maps[name]);
  setBackend(tables, 7, entry);
  setBackend(tables, 8, { ...entry, down: true });
  t.deepEqual([...readBackends(tables)], [[7, entry]]);
});

test("while a node goes over to another family nobody is sent by IPv6 to an address of IPv4", async (t) => {
  const entry = (outer: string): BackendEntry => ({ address: parseIp("10.44.9.2"), outer: parseIp(outer), port: 8080, mode: "GENEVE" });
  let seen: string[] = [];
  const map = openMaps((when) => {
    if (when === "before") return;
    const [backend, place] = [maps.backends.get(u32.encode(1)), maps.places.get(u32.encode(1))];
    if (backend !== undefined && place !== undefined) seen.push(lbBackendCodec.decode(backend).outer4 !== 0 ? "IPv4" : `IPv6 to ${lbPlaceCodec.decode(place).outer}`);
  });
  const maps = backendMaps((name) => map.maps[name]);
  const [six, four] = [entry("2001:db8:9::9"), entry("172.16.9.9")];
  const write = (after: BackendEntry, before?: BackendEntry): Promise<void> => writeBackends(maps, [[1, after, before]], async () => undefined);
  await write(six);
  for (const [after, before] of [[four, six], [six, four]] as const) {
    seen = [];
    await write(after, before);
    t.deepEqual(new Set(seen), after === four ? new Set(["IPv4"]) : new Set(["IPv4", "IPv6 to 2001:db8:9::9"]));
    t.like(readBackends(maps).get(1), after);
  }
});
