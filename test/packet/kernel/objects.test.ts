// Objects: configuration before load, the verifier's words, maps handed from one object to the next, test runs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createKernel, KernelError } from "../../../src/kernel/index.ts";
import { isolatedTests, numberOf, objectOf, u32, u64 } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();
const packet = new Uint8Array(100);

test("a test run answers with the verdict, the packet and the context as the program left them", async () => {
  using object = await kernel.loadObject(await objectOf("counters"));
  const program = object.programs.get("answers");
  assert.ok(program);
  assert.equal(program.section, "tc/answers");
  assert.ok(program.id > 0);
  const result = program.testRun({ data: packet });
  assert.equal(result.verdict, 7);
  assert.equal(result.data.length, 100);
  assert.equal(numberOf(result.context.subarray(8, 12)), 7, "__sk_buff.mark");
  assert.ok(result.duration >= 0);
  // __sk_buff.priority comes back as it was sent.
  const context = new Uint8Array(192);
  context.set(u32(6), 32);
  assert.equal(numberOf(program.testRun({ data: packet, context }).context.subarray(32, 36)), 6);
  assert.equal(object.programs.get("passes")?.testRun({ data: packet }).verdict, 2, "XDP_PASS");
});

test("a live run's frames go where the verdict says: passed, they come to the host", async () => {
  using object = await kernel.loadObject(await objectOf("counters"));
  const received = (): number => Number(/^Ip: (?:\d+ ){2}(\d+)/m.exec(readFileSync("/proc/net/snmp", "utf8"))?.[1]);
  const data = new Uint8Array(64);
  data.set([8, 0], 12);
  const before = received();
  const result = object.programs.get("passes")?.testRun({ data, repeat: 100, live: true });
  assert.deepEqual(result?.data, new Uint8Array(0));
  assert.equal(received() - before, 100);
});

test("read-only variables are set by name before load", async () => {
  using object = await kernel.loadObject(await objectOf("counters"), { rodata: { answer: u32(42), step: u64(1000) } });
  assert.equal(object.programs.get("answers")?.testRun({ data: packet }).verdict, 42);
  object.programs.get("first")?.testRun({ data: packet, repeat: 3 });
  assert.equal(numberOf(object.maps.get("counts")?.get(u32(1))), 3000);
});

test("a read-only variable that does not exist or has another size is named", async () => {
  const path = await objectOf("counters");
  await assert.rejects(kernel.loadObject(path, { rodata: { anwser: u32(1) } }), /no read-only variable anwser/);
  await assert.rejects(kernel.loadObject(path, { rodata: { step: u32(1) } }), /step has 8 bytes, not 4/);
  await assert.rejects(kernel.loadObject(await objectOf("refused"), { rodata: { any: u32(1) } }), /no read-only variable/);
});

test("a refused program's error carries the verifier's log", async () => {
  await assert.rejects(kernel.loadObject(await objectOf("refused")), (error) => {
    assert.ok(error instanceof KernelError);
    assert.equal(error.code, "KERNEL");
    assert.equal(error.syscall, "bpf_object__load");
    assert.match(error.detail, /invalid access to packet/);
    assert.match(error.detail, /reads_beyond/);
    return true;
  });
  await assert.rejects(kernel.loadObject("/nowhere.bpf.o"), { errno: 2, syscall: "bpf_object__open_file" });
});

test("objects share a map that is handed on, and it lives when the first is closed", async () => {
  const path = await objectOf("counters");
  using first = await kernel.loadObject(path);
  first.programs.get("first")?.testRun({ data: packet });
  using second = await kernel.loadObject(path, { reuse: first.maps });
  assert.equal(second.maps.get("counts")?.info.id, first.maps.get("counts")?.info.id);
  first.close();
  second.programs.get("first")?.testRun({ data: packet });
  assert.equal(numberOf(second.maps.get("counts")?.get(u32(1))), 2);
});

test("a map of another shape is refused by name with both shapes", async () => {
  using wrong = kernel.createMap("hash", "counts", 4, 8, 99);
  const reuse = new Map([["counts", wrong]]);
  await assert.rejects(kernel.loadObject(await objectOf("counters"), { reuse }), /map counts is \(.*entries 99.*wants \(.*entries 16/);
  // The same map fits when the object is told the size; a name it does not know is no fault.
  reuse.set("unknown_map", wrong);
  using object = await kernel.loadObject(await objectOf("counters"), { reuse, maxEntries: { counts: 99 } });
  assert.equal(object.maps.get("counts")?.info.id, wrong.info.id);
});

test("a map's size is changed before load", async () => {
  using object = await kernel.loadObject(await objectOf("counters"), { maxEntries: { counts: 1000 } });
  assert.equal(object.maps.get("counts")?.info.maxEntries, 1000);
  await assert.rejects(kernel.loadObject(await objectOf("counters"), { maxEntries: { cuonts: 1 } }), /map cuonts/);
});

test("only the maps that the object declares are listed, not those of its variables", async () => {
  using object = await kernel.loadObject(await objectOf("counters"));
  assert.deepEqual([...object.maps.keys()].sort(), ["counts", "events", "runs"]);
  assert.deepEqual([...object.programs.keys()].sort(), ["answers", "first", "passes", "refuses", "second", "whispers"]);
});

test("loads in parallel do not mix their errors", async () => {
  const [good, bad] = [await objectOf("counters"), await objectOf("refused")];
  const results = await Promise.allSettled([bad, good, bad, good].map((path) => kernel.loadObject(path)));
  assert.deepEqual(results.map(({ status }) => status), ["rejected", "fulfilled", "rejected", "fulfilled"]);
  for (const result of results) {
    if (result.status === "fulfilled") result.value.close();
    else assert.match(String(result.reason), /invalid access to packet/);
  }
});

test("BTF is read from an object and from the running kernel", async () => {
  for (const path of [await objectOf("counters"), "/sys/kernel/btf/vmlinux"]) {
    const btf = kernel.readBtf(path);
    assert.deepEqual([...btf.subarray(0, 3)], [0x9f, 0xeb, 1], path);
  }
  assert.throws(() => kernel.readBtf("/nowhere"), { errno: 2 });
});
