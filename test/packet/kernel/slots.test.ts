// Maps of maps: tables in slots that a program switches between with one write.
// Runs alone: it measures how long prefixes take to write.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelMap, KernelObject } from "../../../src/kernel/index.ts";
import { isolatedTests, numberOf, objectOf, privateBpffs, u32, u64 } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();
const outerName = "hwt_long_table_name";

function mapOf(object: KernelObject, name: string): KernelMap {
  const map = object.maps.get(name);
  assert.ok(map, name);
  return map;
}

function read(object: KernelObject): number | undefined {
  return object.programs.get("reads")?.testRun({ data: new Uint8Array(64) }).verdict;
}

function tableOf(value: number, capacity = 64): KernelMap {
  const map = kernel.createMap("hash", "hwt_inner", 4, 4, capacity);
  map.set(u32(1), u32(value));
  return map;
}

test("a program reads the table of the slot in force, of any size, and one write changes which that is", async () => {
  using object = await kernel.loadObject(await objectOf("slots"));
  const [outer, state] = [mapOf(object, outerName), mapOf(object, "in_force")];
  assert.deepEqual([outer.info.kind, outer.info.keySize, outer.info.valueSize, outer.info.maxEntries], ["array_of_maps", 4, 4, 2]);
  assert.equal(read(object), 100, "an empty slot");
  assert.equal(outer.get(u32(0)), undefined);
  using first = tableOf(7);
  using second = tableOf(8, 5000);
  outer.setInner(u32(0), first);
  outer.setInner(u32(1), second);
  assert.equal(read(object), 7);
  state.set(u32(0), u32(1));
  assert.equal(read(object), 8);
  second.delete(u32(1));
  assert.equal(read(object), 101);
});

test("the entry of a map of maps reads as an id, by which the inner map opens while somebody holds it", async () => {
  using object = await kernel.loadObject(await objectOf("slots"));
  const outer = mapOf(object, outerName);
  const inner = tableOf(7);
  const { id } = inner.info;
  outer.setInner(u32(0), inner);
  inner.close();
  assert.equal(numberOf(outer.get(u32(0))), id);
  {
    using again = kernel.openMapById(id);
    assert.deepEqual(again.get(u32(1)), u32(7));
  }
  using other = tableOf(9);
  outer.setInner(u32(0), other);
  // The kernel lets the replaced map go a moment later.
  for (let i = 0; i < 200 && isThere(id); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.throws(() => kernel.openMapById(id), { errno: 2, syscall: "BPF_MAP_GET_FD_BY_ID" });
});

test("a table of another shape does not fit a slot", async () => {
  using object = await kernel.loadObject(await objectOf("slots"));
  using wide = kernel.createMap("hash", "hwt_wide", 4, 8, 4);
  using trie = kernel.createMap("lpm_trie", "hwt_trie", 8, 4, 4);
  for (const wrong of [wide, trie]) assert.throws(() => mapOf(object, outerName).setInner(u32(0), wrong), { errno: 22 });
  assert.throws(() => mapOf(object, outerName).setInner(u32(2), wide), { name: "KernelError" });
});

test("a pinned map of maps is taken over by the next load with what its slots hold, long name and all", async () => {
  const path = join(privateBpffs(), "outer");
  {
    using object = await kernel.loadObject(await objectOf("slots"));
    using inner = tableOf(7, 1000);
    mapOf(object, outerName).setInner(u32(0), inner);
    mapOf(object, outerName).pin(path);
  }
  using pinned = kernel.openPinnedMap(path);
  using object = await kernel.loadObject(await objectOf("slots"), { reuse: new Map([[outerName, pinned]]) });
  assert.equal(mapOf(object, outerName).info.id, pinned.info.id);
  assert.equal(read(object), 7);
});

test("a map of maps is made like one of those that it is to hold", async () => {
  using like = tableOf(1);
  for (const kind of ["array_of_maps", "hash_of_maps"] as const) {
    using outer = kernel.createMap(kind, "hwt_outer", 4, 4, 4, { inner: like });
    assert.equal(outer.info.kind, kind);
    outer.setInner(u32(2), like);
    assert.equal(numberOf(outer.get(u32(2))), like.info.id);
  }
  assert.throws(() => kernel.createMap("array_of_maps", "hwt_outer", 4, 4, 4), { syscall: "BPF_MAP_CREATE" });
});

test("several maps are put in a map of maps at once, one for each key", async () => {
  using object = await kernel.loadObject(await objectOf("slots"));
  const outer = mapOf(object, outerName);
  using first = tableOf(7);
  using second = tableOf(8, 5000);
  assert.throws(() => outer.setInners(u32(0), [first, second]), { errno: 22 });
  await assert.rejects(outer.setInners(u32(99), [first]), { name: "KernelError", syscall: "BPF_MAP_UPDATE_BATCH" });
  await outer.setInners(new Uint8Array(Uint32Array.of(1, 0).buffer), [first, second]);
  assert.deepEqual([0, 1].map((at) => numberOf(outer.get(u32(at)))), [second.info.id, first.info.id]);
  assert.equal(read(object), 8);
});

test("values of 8 bytes are stored in an array that was made to be mapped, over the ends of pages, and in no other", async () => {
  const mappable = 1 << 10;
  using map = kernel.createMap("array", "hwt_mapped", 4, 8, 2000, { flags: mappable });
  assert.equal(map.info.flags, mappable);
  const words = BigUint64Array.from({ length: 1500 }, (_, i) => BigInt(i + 1) << 32n);
  // From an odd place in memory.
  const bytes = new Uint8Array(8 * words.length + 1).subarray(1);
  bytes.set(new Uint8Array(words.buffer));
  map.store(300, bytes);
  assert.deepEqual(map.values(299, 1502), new Uint8Array(BigUint64Array.of(0n, ...words, 0n).buffer));
  assert.throws(() => map.store(501, bytes), { errno: 22 });
  map.store(400, Uint16Array.of(0, 65_535).subarray(1));
  assert.deepEqual(map.values(400, 2), new Uint8Array(BigUint64Array.of(65_535n, words[101] ?? 0n).buffer), "or as words of 16 bits");
  assert.throws(() => map.store(1999, new Uint16Array(2)), { errno: 22 });
  using other = kernel.createMap("array", "hwt_other", 4, 8, 2000);
  assert.throws(() => other.store(0, bytes), { syscall: "mmap" });
});

test("one stretch of one map stays mapped from one store to the next, and none of a map that is closed", async () => {
  const mappable = 1 << 10;
  const stretches = (): number => readFileSync("/proc/self/maps", "utf8").split("\n").filter((line) => line.endsWith("anon_inode:bpf-map") && line.includes(" rw-s ")).length;
  const before = stretches();
  // Of two stretches and a bit.
  using large = kernel.createMap("array", "hwt_large", 4, 8, 150_000, { flags: mappable });
  using small = kernel.createMap("array", "hwt_small", 4, 8, 2000, { flags: mappable });
  for (const first of [0, 65_000, 149_990, 3, 131_070]) {
    large.store(first, Uint16Array.from({ length: 10 }, (_, i) => i + 1));
    small.store(first % 1999, Uint16Array.of(7));
    large.store(first + 9, Uint16Array.of(11));
    assert.equal(stretches(), before + 1);
    assert.deepEqual(large.values(first, 10), new Uint8Array(BigUint64Array.of(1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 11n).buffer));
    assert.deepEqual(small.values(first % 1999, 1), new Uint8Array(BigUint64Array.of(7n).buffer));
  }
  large.close();
  assert.equal(stretches(), before);
  assert.throws(() => large.store(0, Uint16Array.of(1)), { errno: 9 });
  small.store(0, Uint16Array.of(1));
  assert.equal(stretches(), before + 1);
});

test("100 000 prefixes are written in less than 300 ms", async () => {
  const count = 100_000;
  const [keys, values] = [new Uint8Array(count * 8), new Uint8Array(count * 8)];
  const view = new DataView(keys.buffer);
  for (let i = 0; i < count; i++) {
    view.setUint32(i * 8, 32, true);
    view.setUint32(i * 8 + 4, i * 40503);
    values.set(u64(i), i * 8);
  }
  using map = kernel.createMap("lpm_trie", "hwt_many", 8, 8, count);
  const start = performance.now();
  map.setPacked(keys, values);
  const took = performance.now() - start;
  assert.equal([...map.entries()].length, count);
  assert.ok(took < 300, `${took} ms`);
  assert.throws(() => map.setPacked(keys, values.subarray(8)), /values/);
});

function isThere(id: number): boolean {
  try {
    kernel.openMapById(id).close();
    return true;
  } catch {
    return false;
  }
}
