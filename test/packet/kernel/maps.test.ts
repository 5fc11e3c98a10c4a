// Maps: single operations, batches, per-CPU values and pins.
import assert from "node:assert/strict";
import { join } from "node:path";
import { addon } from "../../../src/kernel/addon.ts";
import { createKernel, KernelError } from "../../../src/kernel/index.ts";
import { isolatedTests, numberOf, objectOf, privateBpffs, u32, u64 } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();

test("a map gives back what was set, and says what was not there", async () => {
  using map = kernel.createMap("hash", "hwt_map", 4, 8, 16);
  assert.deepEqual({ ...map.info, id: 0 }, { id: 0, name: "hwt_map", kind: "hash", keySize: 4, valueSize: 8, maxEntries: 16, flags: 0 });
  assert.equal(map.get(u32(1)), undefined);
  map.set(u32(1), u64(10));
  assert.deepEqual(map.get(u32(1)), u64(10));
  assert.throws(() => map.set(u32(1), u64(11), "create"), { name: "KernelError", errno: 17, syscall: "BPF_MAP_UPDATE_ELEM" });
  assert.throws(() => map.set(u32(2), u64(11), "update"), { errno: 2 });
  assert.equal(map.delete(u32(1)), true);
  assert.equal(map.delete(u32(1)), false);
});

test("a key or value of the wrong size is refused before the kernel reads past it", async () => {
  using map = kernel.createMap("hash", "hwt_map", 4, 8, 16);
  assert.throws(() => map.get(u64(1)), /hwt_map: key has 8 bytes, not 4/);
  assert.throws(() => map.set(u32(1), u32(1)), /hwt_map: value has 4 bytes, not 8/);
  assert.throws(() => map.setBatch([[u32(1), u32(1)]]), /hwt_map: value has 4 bytes, not 8/);
  assert.throws(() => map.deleteBatch([u64(1)]), /hwt_map: key has 8 bytes, not 4/);
});

test("batches write, read and delete thousands of entries, stepping over keys that are not there", async () => {
  for (const kind of ["hash", "lru_hash", "lpm_trie"] as const) {
    // An LPM key is its prefix length and the bytes; the others do not mind.
    const key = (i: number): Uint8Array => Uint8Array.of(32, 0, 0, 0, i >> 24, i >> 16, i >> 8, i);
    using map = kernel.createMap(kind, "hwt_batch", 8, 8, 8192);
    map.setBatch(Array.from({ length: 3000 }, (_, i) => [key(i), u64(i)] as const));
    const seen = [...map.entries()].map(([, value]) => numberOf(value)).sort((a, b) => a - b);
    assert.deepEqual(seen, Array.from({ length: 3000 }, (_, i) => i), kind);
    assert.equal(map.deleteBatch(Array.from({ length: 4000 }, (_, i) => key(i * 2))), 1500, kind);
    assert.equal([...map.entries()].length, 1500, kind);
    assert.equal(map.deleteBatch([]), 0);
    map.setBatch([]);
  }
});

test("a batch that does not fit fails with the kernel's errno", async () => {
  using map = kernel.createMap("hash", "hwt_small", 4, 8, 4);
  assert.throws(() => map.setBatch(Array.from({ length: 9 }, (_, i) => [u32(i), u64(i)] as const)), (error) => {
    assert.ok(error instanceof KernelError);
    assert.equal(error.errno, 7);
    assert.match(error.detail, /hwt_small after 4 entries/);
    return true;
  });
});

test("a kind of map that the kernel has no batches for is written entry by entry", async () => {
  const devmap = addon().createMap(14, "hwt_devmap", 4, 4, 8, 0); // its values are numbers of devices; 1 is lo
  const [keys, lo] = [Uint8Array.from([...u32(1), ...u32(3)]), Uint8Array.from([...u32(1), ...u32(1)])];
  assert.equal(devmap.updateBatch(keys, lo, 0), 2);
  assert.deepEqual([0, 1, 2, 3].map((i) => numberOf(devmap.get(u32(i)))), [0, 1, 0, 1]);
  assert.throws(() => devmap.updateBatch(Uint8Array.from([...u32(0), ...u32(8)]), lo, 0), { errno: 7, detail: "hwt_devmap after 1 entries" });
  devmap.close();
});

test("entries of an empty map are none, and small arrays come whole", async () => {
  using hash = kernel.createMap("hash", "hwt_empty", 4, 8, 4);
  assert.deepEqual([...hash.entries()], []);
  using array = kernel.createMap("array", "hwt_array", 4, 8, 3);
  assert.deepEqual([...array.entries()], [0, 1, 2].map((i) => [u32(i), u64(0)]));
  assert.deepEqual([...array.filled()], []);
  array.set(u32(1), u64(7));
  assert.deepEqual([...array.filled()], [[u32(1), u64(7)]]);
});

test("others have turns while an array is gone through, also where nothing is in it", async () => {
  using array = kernel.createMap("array", "hwt_turns", 4, 8, 5000);
  array.set(u32(4711), u64(7));
  let turns = 0;
  const found: unknown[] = [];
  for await (const some of array.filledInTurns(async () => void turns++)) found.push(...some);
  assert.deepEqual(found, [[u32(4711), u64(7)]]);
  assert.equal(turns, Math.ceil(5000 / 512));
});

test("an array's values come one after the other from any key on, and end with it", async () => {
  using array = kernel.createMap("array", "hwt_values", 4, 8, 300);
  array.setBatch(Array.from({ length: 300 }, (_, i) => [u32(i), u64(i)] as const));
  const values = (first: number, count: number): readonly number[] => [...new BigUint64Array(array.values(first, count).slice().buffer)].map(Number);
  const from = (first: number, count: number): readonly number[] => Array.from({ length: count }, (_, i) => first + i);
  assert.deepEqual(values(0, 300), from(0, 300));
  assert.deepEqual([values(0, 2), values(1, 3), values(256, 44), values(290, 100)], [from(0, 2), from(1, 3), from(256, 44), from(290, 10)]);
});

test("a per-CPU map gives every CPU's value, each rounded up to eight bytes", async () => {
  using object = await kernel.loadObject(await objectOf("counters"));
  const [map, program] = [object.maps.get("runs"), object.programs.get("first")];
  assert.ok(map && program);
  program.testRun({ data: new Uint8Array(64), repeat: 100 });
  const value = map.get(u32(0));
  assert.ok(value && value.length % 8 === 0 && map.info.valueSize === 4);
  let sum = 0;
  for (let at = 0; at < value.length; at += 8) sum += numberOf(value.subarray(at, at + 4));
  assert.equal(sum, 100);
  const entries = [...map.entries()];
  assert.equal(entries.length, 2);
  assert.deepEqual(entries[0]?.[1], value);
});

test("a pinned map outlives its handle and opens again with its contents", async () => {
  const path = join(privateBpffs(), "hwt_pinned");
  {
    using map = kernel.createMap("hash", "hwt_pinned", 4, 8, 16);
    map.set(u32(5), u64(50));
    map.pin(path);
    assert.throws(() => map.pin(path), { errno: 17 });
  }
  using again = kernel.openPinnedMap(path);
  assert.deepEqual(again.get(u32(5)), u64(50));
  assert.throws(() => kernel.openPinnedMap(`${path}-not`), { errno: 2, syscall: "BPF_OBJ_GET" });
});
