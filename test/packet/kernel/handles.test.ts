// After close() every method of every handle throws; close() itself may be called again.
import assert from "node:assert/strict";
import { addon } from "../../../src/kernel/addon.ts";
import { createKernel, openNetlink } from "../../../src/kernel/index.ts";
import type { Netlink } from "../../../src/kernel/index.ts";
import { isolatedTests, objectOf, u32 } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();

type Call = (...values: readonly unknown[]) => unknown;

/** Every method that must throw, by name. */
function methodsOf(handle: object): [string, Call][] {
  const prototype: object = Object.getPrototypeOf(handle);
  const home = prototype === Object.prototype ? handle : prototype;
  const methods: [string, Call][] = [];
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(home))) {
    if (typeof value !== "function" || name === "constructor" || name === "close") continue;
    methods.push([name, (...values: readonly unknown[]): unknown => Reflect.apply(value, handle, values)]);
  }
  return methods;
}

test("every method of the addon's handles throws EBADF once closed, whatever its arguments", async () => {
  const native = addon();
  const ringMap = native.createMap(27, "hwt_ring", 0, 0, 4096, 0);
  // XDP: the links on devices that every kernel has.
  const program = native.loadInstructions(6, "hwt", "GPL", Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0));
  const handles = {
    map: native.createMap(1, "hwt_map", 4, 4, 1, 0),
    program,
    link: native.attachDevice(program, 1, 37, 2),
    ring: new native.RingReader(ringMap, 1, 0, () => {}),
    netlink: new native.NetlinkSocket(undefined, 0, () => {}),
  };
  ringMap.close();
  let walked = 0;
  for (const [kind, handle] of Object.entries(handles)) {
    handle.close();
    handle.close();
    for (const [name, call] of methodsOf(handle)) {
      assert.throws(() => call(), { errno: 9, detail: "the handle is closed" }, `${kind}.${name}`);
      walked++;
    }
  }
  assert.equal(walked, 11 + 2 + 4 + 0 + 4);
});

test("every method of the kernel's handles throws once closed", async () => {
  const object = await kernel.loadObject(await objectOf("counters"));
  const [program, passes, map] = [object.programs.get("first"), object.programs.get("passes"), object.maps.get("counts")];
  assert.ok(program && passes && map);
  const link = kernel.attachXdp(passes, 1, "generic");
  link.close();
  object.close();
  object[Symbol.dispose]();
  const closed = { name: "KernelError", errno: 9 };
  const samples: Record<string, readonly unknown[]> = {
    get: [u32(1)], set: [u32(1), new Uint8Array(8)], delete: [u32(1)], values: [0, 1], setBatch: [[]], setPacked: [new Uint8Array(0), new Uint8Array(0)], setInners: [new Uint8Array(0), []], store: [0, new Uint8Array(8)], deleteBatch: [[]], pin: ["/nowhere"],
    update: [program], testRun: [{ data: new Uint8Array(64) }],
  };
  let walked = 0;
  for (const handle of [map, link, program]) {
    for (const [name, call] of methodsOf(handle)) {
      assert.throws(() => call(...(samples[name] ?? [])), closed, name);
      walked++;
    }
  }
  assert.equal(walked, 14 + 3 + 1);
  assert.throws(() => kernel.attachTcx(program, 1, "ingress"), closed);
  assert.throws(() => kernel.openRing(map, () => {}), closed);
  await assert.rejects(kernel.loadObject(await objectOf("counters"), { reuse: new Map([["counts", map]]) }), closed);
});

test("every method of a closed netlink rejects, and a request on its way as well", async () => {
  const netlink = await openNetlink();
  const onItsWay = netlink.links();
  netlink[Symbol.dispose]();
  netlink[Symbol.dispose]();
  const closed = { name: "KernelError", errno: 9 };
  await assert.rejects(onItsWay, closed);
  const samples: { readonly [K in keyof Netlink]?: readonly unknown[] } = {
    link: ["lo"], createVeth: [{ name: "va", peer: "vb" }], createTunnel: [{ name: "vx", kind: "vxlan", port: 8472 }],
    setLink: [1, { up: true }], deleteLink: ["va"],
    joinGroup: [1, "ff02::1:ff00:1"], addAddress: [1, "10.0.0.1/32"], deleteAddress: [1, "10.0.0.1/32"],
    replaceRoute: [{ destination: "10.0.0.0/8", index: 1 }], deleteRoute: [{ destination: "10.0.0.0/8", index: 1 }],
  };
  const methods = methodsOf(netlink);
  assert.equal(methods.length, 14);
  for (const [name, call] of methods) {
    await assert.rejects(async () => call(...(samples[name as keyof Netlink] ?? [])), closed, name);
  }
});

test("handles are told apart: one kind is not taken for another", async () => {
  const native = addon();
  const map = native.createMap(1, "hwt_map", 4, 4, 1, 0);
  assert.throws(() => Reflect.apply(native.attachDevice, native, [map, 1, 46, 0]), TypeError);
  assert.throws(() => Reflect.apply(native.attachDevice, native, [{}, 1, 46, 0]), TypeError);
  assert.throws(() => Reflect.construct(Reflect.get(native, "BpfMap"), []), /no public constructor/);
  assert.throws(() => Reflect.apply(native.openMap, native, [7]), TypeError);
  map.close();
});
