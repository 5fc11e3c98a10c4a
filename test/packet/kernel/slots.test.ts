// Maps of maps: tables in slots that a program switches between with one write.
import assert from "node:assert/strict";
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
