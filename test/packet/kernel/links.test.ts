// Attachments, met by real packets over a veth pair: TCX, clsact, XDP and cgroup hooks.
//
//   us ── UDP broadcast ──▶ va ═══ vb ◀── programs on ingress
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdirSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createKernel, openNetlink } from "../../../src/kernel/index.ts";
import type { KernelObject, KernelProgram } from "../../../src/kernel/index.ts";
import { isolatedTests, numberOf, objectOf, privateBpffs, scratch, u32, until } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();

interface Wire extends AsyncDisposable {
  /** ifindex of the end that receives. */
  readonly to: number;
  send(count: number): Promise<void>;
}

async function layWire(): Promise<Wire> {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const [va, vb] = [await netlink.link("va"), await netlink.link("vb")];
  assert.ok(va && vb);
  // No IPv6 addresses: the only packets are the ones sent here. The sender comes up last: its queue is then ready at once,
  // where a carrier that comes later makes it ready at some later moment and packets are lost till then.
  await netlink.setLink(vb.index, { up: true, noLinkLocal: true });
  await netlink.setLink(va.index, { up: true, noLinkLocal: true });
  await netlink.addAddress(va.index, "10.250.0.1/24");
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => void socket.bind(0, "10.250.0.1", resolve));
  socket.setBroadcast(true);
  const sendOne = (): Promise<unknown> => new Promise((resolve, reject) => {
    socket.send("hello", 9, "10.250.0.255", (error) => (error ? reject(error) : resolve(undefined)));
  });
  return {
    to: vb.index,
    send: async (count) => {
      for (let i = 0; i < count; i++) await sendOne();
    },
    [Symbol.asyncDispose]: async () => void socket.close(),
  };
}

async function counters(): Promise<{ object: KernelObject; first: KernelProgram; second: KernelProgram; seen: (who: number) => number }> {
  const object = await kernel.loadObject(await objectOf("counters"));
  const [first, second, counts] = [object.programs.get("first"), object.programs.get("second"), object.maps.get("counts")];
  assert.ok(first && second && counts);
  return { object, first, second, seen: (who) => numberOf(counts.get(u32(who))) };
}

/** Linux before 6.6: says so with EINVAL, and nothing is attached. @returns whether that is the case here */
function refusesTcx(program: KernelProgram, ifindex: number): boolean {
  if (kernel.probeTcx()) return false;
  assert.throws(() => kernel.attachTcx(program, ifindex, "ingress"), { errno: 22, syscall: "BPF_LINK_CREATE" });
  return true;
}

test("R14: a TCX link swaps its program without missing a packet", async () => {
  await using wire = await layWire();
  const { object, first, second, seen } = await counters();
  if (refusesTcx(first, wire.to)) return object.close();
  using link = kernel.attachTcx(first, wire.to, "ingress");
  assert.ok(link.id > 0);
  await wire.send(3);
  await until("three packets", () => seen(1) === 3);
  let swaps = 0;
  const sending = wire.send(2000).then(() => (swaps = -swaps));
  while (swaps >= 0) {
    link.update(swaps % 2 ? first : second);
    swaps++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await sending;
  await until(() => `2003 packets: ${seen(1)} + ${seen(2)}`, () => seen(1) + seen(2) === 2003);
  assert.ok(seen(2) > 0);
  object.close();
});

test("R11: a pinned link carries on without its handle; reopened it updates, detached it is gone", async () => {
  await using wire = await layWire();
  const { object, first, second, seen } = await counters();
  using _object = object;
  if (refusesTcx(first, wire.to)) return;
  const path = join(privateBpffs(), "first@vb");
  {
    using link = kernel.attachTcx(first, wire.to, "ingress");
    link.pin(path);
  }
  await wire.send(2);
  await until("two packets", () => seen(1) === 2);
  using again = kernel.openPinnedLink(path);
  again.update(second);
  await wire.send(2);
  await until("two packets for the second", () => seen(2) === 2);
  again.detach();
  await wire.send(2);
  assert.deepEqual([seen(1), seen(2)], [2, 2]);
  unlinkSync(path);
});

test("an unpinned link ends with its handle", async () => {
  await using wire = await layWire();
  const { object, first, seen } = await counters();
  using _object = object;
  if (refusesTcx(first, wire.to)) return;
  const link = kernel.attachTcx(first, wire.to, "ingress");
  link.close();
  await wire.send(2);
  assert.equal(seen(1), 0);
});

test("R14, R100: a clsact filter is replaced in place, and others on the device stay", async () => {
  await using wire = await layWire();
  const { object, first, second, seen } = await counters();
  using _object = object;
  kernel.attachClsact(second, wire.to, "ingress", 1, 10); // somebody else's
  kernel.attachClsact(first, wire.to, "ingress", 1, 20);
  let swaps = 0;
  const sending = wire.send(500).then(() => (swaps = -swaps));
  while (swaps >= 0) {
    kernel.attachClsact(first, wire.to, "ingress", 1, 20);
    swaps++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await sending;
  await until(() => `500 packets at both: ${seen(1)}, ${seen(2)}`, () => seen(1) === 500 && seen(2) === 500);
  kernel.detachClsact(wire.to, "ingress", 1, 20);
  await wire.send(1);
  await until("one packet more, for the other alone", () => seen(2) === 501);
  assert.equal(seen(1), 500);
  assert.throws(() => kernel.detachClsact(wire.to, "ingress", 1, 20), { name: "KernelError", syscall: "bpf_tc_detach" });
});

test("a clsact filter lives without us, on egress as well", async () => {
  await using wire = await layWire();
  const { object, first } = await counters();
  using netlink = await openNetlink();
  const va = await netlink.link("va");
  assert.ok(va);
  kernel.attachClsact(first, va.index, "egress", 7, 3);
  object.close();
  assert.match(execFileSync("tc", ["filter", "show", "dev", "va", "egress"]).toString(), /pref 3 bpf chain 0 handle 0x7 .*direct-action/);
  await wire.send(1);
});

test("attaching to a device that is not there says ENODEV and names it", async () => {
  const { object, first } = await counters();
  using _object = object;
  if (!refusesTcx(first, 4321)) {
    assert.throws(() => kernel.attachTcx(first, 4321, "ingress"), { errno: 19, syscall: "BPF_LINK_CREATE", detail: "device 4321" });
  }
  assert.throws(() => kernel.attachClsact(first, 4321, "ingress", 1, 1), { name: "KernelError" });
});

test("XDP sees the packets, native and generic", async () => {
  await using wire = await layWire();
  const { object, seen } = await counters();
  using _object = object;
  const program = object.programs.get("passes");
  assert.ok(program);
  for (const [round, mode] of (["native", "generic"] as const).entries()) {
    using _link = kernel.attachXdp(program, wire.to, mode);
    await wire.send(2);
    await until(() => `two packets more, ${mode}: ${seen(3)}`, () => seen(3) === (round + 1) * 2);
  }
});

test("a cgroup hook refuses the connections of its cgroup until it is detached", async () => {
  const root = join(scratch(), "cgroup");
  mkdirSync(root);
  execFileSync("mount", ["-t", "cgroup2", "none", root]);
  const home = join(root, /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/");
  const ours = join(root, `hwt-kernel-${process.pid}`);
  mkdirSync(ours);
  const { object, seen } = await counters();
  using _object = object;
  const program = object.programs.get("refuses");
  assert.ok(program);
  using netlink = await openNetlink();
  await netlink.setLink(1, { up: true });
  const refusal = (): Promise<string | undefined> => new Promise((resolve) => {
    connect(9, "127.0.0.1").on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  try {
    writeFileSync(join(ours, "cgroup.procs"), String(process.pid));
    using link = kernel.attachCgroup(program, ours, "connect4");
    assert.equal(await refusal(), "EPERM");
    assert.equal(seen(4), 1);
    link.detach();
    assert.equal(await refusal(), "ECONNREFUSED");
  } finally {
    writeFileSync(join(home, "cgroup.procs"), String(process.pid));
    rmdirSync(ours);
  }
  assert.throws(() => kernel.attachCgroup(program, join(root, "nowhere"), "connect4"), { errno: 2, syscall: "open" });
});
