// rtnetlink: what is made is seen again, by us and by iproute2; what is wrong comes with the kernel's own sentence.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createKernel, KernelError, openNetlink } from "../../../src/kernel/index.ts";
import { isolatedTests, until } from "./isolated.ts";

const test = isolatedTests(import.meta.url);

const ip = (...words: string[]): string => execFileSync("ip", words).toString();

test("a veth pair has the names, MACs and MTU that were asked for", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb", mac: "02:00:00:00:00:0a", peerMac: "02:00:00:00:00:0b", mtu: 1400 });
  const [va, vb] = [await netlink.link("va"), await netlink.link("vb")];
  assert.ok(va && vb);
  const common = { mtu: 1400, up: false, carrier: false, noArp: false, kind: "veth", type: 1, tunnelPort: null, peerNamespace: null, xdp: null };
  assert.deepEqual(va, { index: va.index, name: "va", mac: "02:00:00:00:00:0a", ...common });
  assert.deepEqual(vb, { index: vb.index, name: "vb", mac: "02:00:00:00:00:0b", ...common });
  assert.deepEqual((await netlink.links()).map(({ name }) => name).sort(), ["lo", "va", "vb"]);
  await assert.rejects(netlink.createVeth({ name: "va", peer: "vc" }), { name: "KernelError", errno: 17 });
  assert.equal(await netlink.link("vc"), undefined);
  assert.equal(await netlink.deleteLink("va"), true);
  assert.equal(await netlink.link("vb"), undefined, "the peer goes with it");
  assert.equal(await netlink.deleteLink("va"), false);
});

test("a link is changed in one call: name, MAC, MTU, NOARP and up", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const before = await netlink.link("va");
  assert.ok(before);
  await netlink.setLink(before.index, { name: "vx", mac: "02:00:00:00:00:cc", mtu: 1280, noArp: true, up: true });
  const after = await netlink.link("vx");
  assert.deepEqual(after, { ...before, name: "vx", mac: "02:00:00:00:00:cc", mtu: 1280, noArp: true, up: true });
  await netlink.setLink(before.index, { noArp: false });
  await netlink.setLink(before.index, {});
  assert.deepEqual(await netlink.link("vx"), { ...after, noArp: false }, "what is not mentioned stays");
});

test("R40: a link without link-local address gets none when it comes up", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const [va, vb] = [await netlink.link("va"), await netlink.link("vb")];
  assert.ok(va && vb);
  await netlink.setLink(va.index, { noLinkLocal: true, up: true });
  await netlink.setLink(vb.index, { up: true });
  await until("the other end has its link-local address", async () => (await netlink.addresses()).some(({ index }) => index === vb.index));
  assert.deepEqual((await netlink.addresses()).filter(({ index }) => index === va.index), []);
  // Where the device has no IPv6 at all there is nothing to turn off.
  await netlink.setLink(va.index, { up: false, mtu: 1000 });
  await netlink.setLink(va.index, { noLinkLocal: true, up: true });
});

test("addresses of both families come and go, and adding twice is no error", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const va = await netlink.link("va");
  assert.ok(va);
  await netlink.setLink(va.index, { up: true, noLinkLocal: true });
  for (const prefix of ["10.250.0.1/24", "10.250.1.1/32", "fd00:250::1/64"]) {
    await netlink.addAddress(va.index, prefix);
    await netlink.addAddress(va.index, prefix);
  }
  const addresses = (await netlink.addresses()).filter(({ index }) => index === va.index);
  assert.deepEqual(addresses.map(({ prefix }) => prefix), ["10.250.0.1/24", "10.250.1.1/32", "fd00:250::1/64"]);
  assert.ok(addresses.every(({ scope }) => scope === "global"));
  assert.match(ip("-6", "addr", "show", "dev", "va"), /fd00:250::1\/64 scope global nodad/);
  assert.equal(await netlink.deleteAddress(va.index, "fd00:250::1/64"), true);
  assert.equal(await netlink.deleteAddress(va.index, "fd00:250::1/64"), false);
  assert.equal(await netlink.deleteAddress(va.index, "10.250.0.9/24"), false);
});

test("a group is joined for good, twice without an error, and left", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const va = await netlink.link("va");
  assert.ok(va);
  await netlink.setLink(va.index, { up: true });
  const group = "ff02::1:ff00:10";
  for (let i = 0; i < 2; i++) await netlink.joinGroup(va.index, group);
  assert.match(ip("maddr", "show", "dev", "va"), new RegExp(`inet6 ${group}`));
  assert.match(ip("maddr", "show", "dev", "va"), /link {2}33:33:ff:00:00:10/);
  assert.equal(await netlink.deleteAddress(va.index, `${group}/128`), true);
  assert.doesNotMatch(ip("maddr", "show", "dev", "va"), new RegExp(`inet6 ${group}`));
});

test("routes are added, replaced and deleted, with source or gateway", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const va = await netlink.link("va");
  assert.ok(va);
  const index = va.index;
  await netlink.setLink(index, { up: true, noLinkLocal: true });
  await netlink.setLink((await netlink.link("vb"))?.index ?? 0, { up: true });
  await netlink.addAddress(index, "10.250.0.1/24");
  await netlink.addAddress(index, "fd00:250::1/64");
  await netlink.replaceRoute({ destination: "10.251.0.0/16", index, source: "10.250.0.1" });
  await netlink.replaceRoute({ destination: "10.251.0.0/16", index, source: "10.250.0.1" });
  assert.match(ip("route", "show", "10.251.0.0/16"), /^10\.251\.0\.0\/16 dev va proto static scope link src 10\.250\.0\.1 \n$/);
  await netlink.replaceRoute({ destination: "10.251.0.0/16", index, gateway: "10.250.0.9" });
  await netlink.replaceRoute({ destination: "0.0.0.0/0", index, gateway: "10.250.0.9" });
  await netlink.replaceRoute({ destination: "fd00:251::/48", index, source: "fd00:250::1" });
  await netlink.replaceRoute({ destination: "::/0", index, gateway: "fd00:250::9" });
  const main = (await netlink.routes()).filter((route) => route.table === 254 && route.index === index);
  assert.deepEqual(main.filter(({ source }) => source !== null).map(({ destination, source }) => [destination, source]).filter(([destination]) => destination?.includes("251")), [["fd00:251::/48", "fd00:250::1"]]);
  const wanted: readonly [string, string | null][] = [
    ["10.251.0.0/16", "10.250.0.9"], ["0.0.0.0/0", "10.250.0.9"], ["fd00:251::/48", null], ["::/0", "fd00:250::9"],
  ];
  for (const [destination, gateway] of wanted) {
    assert.equal(main.find((route) => route.destination === destination)?.gateway, gateway, destination);
    assert.equal(await netlink.deleteRoute({ destination, index }), true, destination);
    assert.equal(await netlink.deleteRoute({ destination, index }), false, destination);
  }
});

test("each hop of a multipath route is listed", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  ip("addr", "add", "10.250.0.1/24", "dev", "va");
  ip("link", "set", "va", "up");
  ip("link", "set", "vb", "up");
  ip("route", "add", "10.251.0.0/16", "metric", "7", "nexthop", "via", "10.250.0.8", "nexthop", "via", "10.250.0.9");
  const index = (await netlink.link("va"))?.index ?? 0;
  const common = { destination: "10.251.0.0/16", table: 254, type: 1, protocol: 3, metric: 7, index, source: null }; // RTPROT_BOOT, as `ip` has it
  assert.deepEqual((await netlink.routes()).filter(({ destination }) => destination === common.destination), [
    { ...common, gateway: "10.250.0.8" }, { ...common, gateway: "10.250.0.9" },
  ]);
});

test("the kernel's own sentence is the error's detail", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const index = (await netlink.link("va"))?.index ?? 0;
  await netlink.setLink(index, { up: true });
  await assert.rejects(netlink.setLink(index, { mtu: 10 }), { errno: 22, detail: "mtu less than device minimum" });
  await assert.rejects(netlink.replaceRoute({ destination: "10.9.0.0/16", index, gateway: "192.0.2.1" }), (error) => {
    assert.ok(error instanceof KernelError);
    assert.match(error.message, /route 10\.9\.0\.0\/16 .*ENETUNREACH.*Nexthop has invalid gateway/);
    return true;
  });
  await assert.rejects(netlink.addAddress(index, "10.0.0.1"), { code: "BAD_REQUEST" });
});

test("routes of one destination with other metrics stand beside each other, and go by protocol and metric", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  const index = (await netlink.link("va"))?.index ?? 0;
  await netlink.setLink(index, { up: true, noLinkLocal: true });
  await netlink.addAddress(index, "10.250.0.1/24");
  await netlink.addAddress(index, "fd00:250::1/64");
  for (const [destination, gateway] of [["10.251.0.0/24", "10.250.0.254"], ["fd00:251::/64", "fd00:250::fe"]] as const) {
    const standing = async (): Promise<readonly string[]> =>
      (await netlink.routes()).filter((route) => route.destination === destination).map(({ protocol, metric }) => `${protocol} ${metric}`).toSorted();
    const own = destination.includes(":") ? 1024 : 0;
    ip("route", "add", destination, "via", gateway, "proto", "boot");
    await netlink.replaceRoute({ destination, gateway, index, protocol: 72, metric: 4096 });
    await netlink.replaceRoute({ destination, gateway, index, protocol: 72, metric: 4096 });
    assert.deepEqual(await standing(), [`3 ${own}`, "72 4096"]);
    assert.equal(await netlink.deleteRoute({ destination, index, protocol: 3, metric: 4096 }), false);
    assert.equal(await netlink.deleteRoute({ destination, index, protocol: 72, metric: 4096 }), true);
    assert.deepEqual(await standing(), [`3 ${own}`]);
    await netlink.replaceRoute({ destination, gateway, index, protocol: 72, metric: 4096 });
    assert.equal(await netlink.deleteRoute({ destination, index, protocol: 3, metric: own }), true);
    assert.deepEqual(await standing(), ["72 4096"]);
    // Whoever adds a route, as Docker does at a container's start, meets none of ours.
    ip("route", "add", destination, "via", gateway);
    assert.deepEqual(await standing(), [`3 ${own}`, "72 4096"]);
  }
});

test("requests made at once are answered each with its own", async () => {
  using netlink = await openNetlink();
  const asked = [netlink.links(), netlink.link("nothing"), netlink.routes(), netlink.link("lo"), netlink.deleteLink("nothing"), netlink.links()];
  const [links, none, routes, lo, deleted, again] = await Promise.all(asked);
  assert.deepEqual([none, deleted, routes], [undefined, false, []]);
  assert.deepEqual(links, again);
  assert.deepEqual(links, [lo]);
});

test("a watcher hears of links, addresses and routes, many changes in few calls, and none after disposal", async () => {
  using netlink = await openNetlink();
  let calls = 0;
  const watch = netlink.watch(() => calls++);
  for (let i = 0; i < 20; i++) await netlink.createVeth({ name: `va${i}`, peer: `vb${i}` });
  await until("a call for the links", () => calls > 0);
  assert.ok(calls <= 10, `${calls} calls for 20 pairs`);
  const index = (await netlink.link("va0"))?.index ?? 0;
  await netlink.setLink(index, { up: true, noLinkLocal: true });
  for (const change of [
    () => netlink.addAddress(index, "10.250.0.1/24"), () => netlink.addAddress(index, "fd00:250::1/64"),
    () => netlink.replaceRoute({ destination: "10.251.0.0/16", index }), () => netlink.replaceRoute({ destination: "fd00:251::/48", index }),
  ]) {
    await new Promise((resolve) => setTimeout(resolve, 60)); // past what earlier changes still announce
    const before = calls;
    await change();
    await until(`a call after ${change.toString()}`, () => calls > before);
  }
  watch[Symbol.dispose]();
  const before = calls;
  await netlink.deleteLink("va1");
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(calls, before);
});

test("another namespace is spoken to by its path, and this process never goes there", async () => {
  const kernel = createKernel();
  const other = spawn("unshare", ["--net", "sleep", "60"], { stdio: "ignore" });
  try {
    const path = `/proc/${other.pid}/ns/net`;
    using here = await openNetlink();
    await here.createVeth({ name: "va", peer: "vb" });
    await until("the other namespace is made", async () => {
      using there = await openNetlink(path);
      return (await there.links()).length === 1;
    });
    const cookie = kernel.netnsCookie();
    ip("link", "set", "vb", "netns", String(other.pid));
    using there = await openNetlink(path);
    const vb = await there.link("vb");
    assert.ok(vb);
    await there.setLink(vb.index, { name: "eth0", up: true });
    await there.addAddress(vb.index, "10.250.0.2/24");
    assert.equal(await here.link("eth0"), undefined);
    assert.equal(kernel.netnsCookie(), cookie);
    await assert.rejects(openNetlink("/proc/1/nothing"), { errno: 2, syscall: "open" });
    await assert.rejects(openNetlink("/dev/null"), { errno: 22, syscall: "setns" });
  } finally {
    other.kill("SIGKILL");
    await once(other, "exit");
  }
});

test("a tunnel device takes addresses and keys from the packets, and tells its port", async () => {
  using netlink = await openNetlink();
  await netlink.createTunnel({ name: "vx", kind: "vxlan", port: 8472 });
  const link = await netlink.link("vx");
  assert.deepEqual([link?.kind, link?.tunnelPort, link?.up], ["vxlan", 8472, false]);
  await assert.rejects(netlink.createTunnel({ name: "vx", kind: "vxlan", port: 8473 }), { name: "KernelError", errno: 17 });
  assert.equal(await netlink.deleteLink("vx"), true);
});

test("a route bears the protocol that it is made with", async () => {
  using netlink = await openNetlink();
  await netlink.createVeth({ name: "va", peer: "vb" });
  ip("addr", "add", "10.250.0.1/24", "dev", "va");
  ip("link", "set", "vb", "up");
  ip("link", "set", "va", "up");
  const index = (await netlink.link("va"))?.index ?? 0;
  await netlink.replaceRoute({ destination: "10.252.0.0/16", index, gateway: "10.250.0.9", protocol: 72 });
  assert.deepEqual((await netlink.routes()).filter(({ destination }) => destination === "10.252.0.0/16").map(({ protocol, gateway }) => [protocol, gateway]), [[72, "10.250.0.9"]]);
  assert.equal(await netlink.deleteRoute({ destination: "10.252.0.0/16", index }), true);
});
