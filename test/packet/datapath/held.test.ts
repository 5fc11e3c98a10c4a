// Addresses of services on a real link: a neighbour finds the node that holds one, and hears of it when the address moves.
//
//   this namespace: near ══ veth ══ far 192.0.2.254, 2001:db8::fe :another namespace
//                   near2 ═ veth ══╝ a bridge then, for some
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { LbHeldState, configCodec, maps } from "../../../src/abi/generated.ts";
import type { Config } from "../../../src/abi/generated.ts";
import { createHeld } from "../../../src/datapath/held.ts";
import type { Held } from "../../../src/datapath/held.ts";
import { objectNames } from "../../../src/datapath/programs.ts";
import { openTables } from "../../../src/datapath/tables.ts";
import type { Tables } from "../../../src/datapath/tables.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelMap, KernelProgram } from "../../../src/kernel/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { isolatedTests, until } from "../kernel/isolated.ts";
import { objectDirectory } from "./namespace.ts";

const test = isolatedTests(import.meta.url);

const mac = parseMac("02:00:00:00:00:0a");
const macs = [mac, parseMac("02:00:00:00:00:0b")];
/** Nobody waits between announcements, so that with the first all are over; for answers of neighbours one does. */
const hasty: Clock = { ...systemClock, sleep: async (ms, signal) => (ms <= 100 ? systemClock.sleep(ms, signal) : undefined) };
const boot = (): number => Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
const former = "02:00:00:00:00:99";
const addresses = ["192.0.2.10", "2001:db8::10"].map((text) => parseIp(text));

interface Link extends AsyncDisposable {
  readonly held: Held;
  readonly tables: Tables;
  readonly uplinks: readonly { readonly index: number; readonly mac: typeof mac }[];
  /** What the neighbour believes of an address, as `ip neighbour` says it; "": nothing. */
  believed(address: Ip): string;
  /** Of the neighbour's `net.ipv4.conf.all`. */
  setting(name: string, value: number): void;
  /** Makes the neighbour ask for it. */
  ask(address: Ip): void;
  /** Makes the neighbour send something from one of its addresses to another, for which it asks first. */
  askAs(from: Ip, to: Ip): void;
  ip(words: string): string;
}

/** `time`: seconds by which the agent takes it for later than it is. `two`: uplinks on the link. */
async function link({ time = { ahead: 0 }, lines, two = false }: { readonly time?: { readonly ahead: number }; readonly lines?: string[]; readonly two?: boolean } = {}): Promise<Link> {
  const stack = new AsyncDisposableStack();
  const other = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  stack.defer(async () => {
    other.kill("SIGKILL");
    await once(other, "close");
  });
  await once(other.stdout, "data");
  const here = (words: string): string => execFileSync("ip", words.split(" "), { encoding: "utf8" });
  const there = (...words: string[]): string => execFileSync("nsenter", [`--net=/proc/${other.pid}/ns/net`, ...words], { encoding: "utf8" });
  const ip = (words: string): string => there("ip", ...words.split(" "));
  const near = two ? ["near", "near2"] : ["near"];
  if (two) ip("link add far type bridge");
  for (const [i, name] of near.entries()) {
    const peer = two ? `port${i}` : "far";
    here(`link add ${name} address ${macs[i]} type veth peer name ${peer}`);
    here(`link set ${peer} netns ${other.pid}`);
    here(`link set ${name} up`);
    if (two) ip(`link set ${peer} master far up`);
  }
  ip("address add 192.0.2.254/24 dev far");
  ip("address add 2001:db8::fe/64 dev far nodad");
  ip("link set far up");
  const kernel = createKernel();
  const open = new Map<string, KernelMap>();
  const programs = new Map<string, KernelProgram>();
  const config = configCodec.encode({ ...configCodec.decode(new Uint8Array(configCodec.size)), ipv6: 1 } satisfies Config);
  for (const name of objectNames) {
    const object = stack.use(await kernel.loadObject(`${objectDirectory}/${name}.bpf.o`, { rodata: { hw_config: config }, reuse: open }));
    for (const [name, map] of object.maps) if (name in maps) open.set(name, map);
    for (const [name, program] of object.programs) programs.set(name, program);
  }
  const netdev = programs.get("netdev");
  assert.ok(netdev);
  const tables = openTables(open);
  const uplinks = near.map((name, i) => ({ index: Number(here(`-o link show ${name}`).split(":")[0]), mac: macs[i] ?? mac }));
  for (const uplink of uplinks) {
    tables.uplinkMacs.set(uplink, 1);
    stack.use(kernel.attachTcx(netdev, uplink.index, "ingress"));
  }
  const held = stack.use(createHeld({ kernel, objectDirectory, table: tables.held, rivals: tables.rivals, clock: hasty, uptime: () => boot() + time.ahead, log: createLog((line) => (lines === undefined ? assert.fail(line) : void lines.push(line)), () => 0, "warn") }));
  return {
    held, tables, ip, uplinks,
    believed: (address) => ip(`neighbour show ${address} dev far`).trim(),
    setting: (name, value) => void there("sh", "-c", `echo ${value} >/proc/sys/net/ipv4/conf/all/${name}`),
    ask: (address) => void there("sh", "-c", `ping -c 1 -w 1 ${address} >/dev/null || true`),
    askAs: (from, to) => void there("sh", "-c", `ping -c 1 -w 1 -I ${from} ${to} >/dev/null || true`),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test("a neighbour finds who holds an address, and nobody where it is not held any more", async () => {
  await using world = await link();
  for (const address of addresses) {
    world.ask(address);
    assert.doesNotMatch(world.believed(address), /lladdr/);
  }
  world.held.sync(new Map(addresses.map((address) => [address, null])), world.uplinks);
  await until("they are held", () => world.held.answered().size === addresses.length);
  for (const address of addresses) {
    world.ip(`neighbour flush to ${address}`);
    world.ask(address);
    assert.match(world.believed(address), new RegExp(`lladdr ${mac}`));
  }
  world.held.sync(new Map(), world.uplinks);
  assert.deepEqual([...world.tables.held.entries()], []);
  for (const address of addresses) {
    world.ip(`neighbour flush to ${address}`);
    world.ask(address);
    assert.doesNotMatch(world.believed(address), /lladdr/);
  }
});

test("a neighbour that knows another holder is told at once where the address is now, and only of what is new", async () => {
  await using world = await link();
  const believe = (address: Ip): void => void world.ip(`neighbour replace ${address} lladdr ${former} dev far nud reachable`);
  for (const address of addresses) believe(address);
  world.held.sync(new Map(addresses.map((address) => [address, null])), world.uplinks);
  for (const address of addresses) await until(() => world.believed(address), () => world.believed(address).includes(mac));
  const [first, other] = [addresses[0] ?? parseIp("::"), parseIp("192.0.2.11")];
  for (const address of [first, other]) believe(address);
  world.held.sync(new Map([...addresses, other].map((address) => [address, null])), world.uplinks);
  await until(() => world.believed(other), () => world.believed(other).includes(mac));
  assert.match(world.believed(first), new RegExp(`lladdr ${former}`));
});

test("what an earlier agent held is known, not announced again, and given up when it is not wanted", async () => {
  await using world = await link();
  const [index = 0] = world.uplinks.map((uplink) => uplink.index);
  for (const addr of addresses) world.tables.held.set({ addr, ifindex: index }, { mac, state: LbHeldState.ANSWERED, until: 0xffff_ffff });
  const again = createHeld({ kernel: createKernel(), objectDirectory: "/nowhere", table: world.tables.held, rivals: world.tables.rivals, clock: systemClock, log: createLog((line) => assert.fail(line), () => 0, "warn") });
  again.sync(new Map(addresses.map((address) => [address, null])), world.uplinks);
  again.sync(new Map(addresses.slice(1).map((address) => [address, systemClock.now() + 60_000])), world.uplinks);
  assert.deepEqual([...again.answered().keys()], addresses.slice(1));
  await again[Symbol.asyncDispose]();
  const left = [...world.tables.held.entries()];
  assert.deepEqual(left.map(([{ addr }]) => addr), ["2001:db8::10"]);
  assert.ok((left[0]?.[1].until ?? 0xffff_ffff) < 0xffff_ffff);
});

test("an address that another has announced is given up, and had again only when it is announced", async () => {
  await using world = await link();
  const [address = parseIp("::")] = addresses;
  const [key] = world.uplinks.map(({ index }) => ({ addr: address, ifindex: index }));
  assert.ok(key);
  const hold = (until: number): void => world.held.sync(new Map([[address, until]]), world.uplinks);
  hold(systemClock.now() - 5000);
  await until("it is held", () => world.held.answered().has(address));
  world.tables.held.set(key, { mac, state: LbHeldState.YIELDED, until: world.tables.held.get(key)?.until ?? 0 });
  hold(systemClock.now() - 5000);
  assert.deepEqual([...world.held.answered()], []);
  world.ip(`neighbour replace ${address} lladdr ${former} dev far nud reachable`);
  hold(systemClock.now() + 60_000);
  await until(() => world.believed(address), () => world.believed(address).includes(mac));
  const left = (world.held.answered().get(address) ?? 0) - systemClock.now();
  assert.ok(left > 57_000 && left <= 60_000, `certain for ${left} ms`);
});

test("what a neighbour has is left to it, and told; when it is free, and was asked for again, it is this node's", async () => {
  const [lines, time]: [string[], { ahead: number }] = [[], { ahead: 0 }];
  await using world = await link({ time, lines });
  const wanted = new Map(addresses.map((address) => [address, null]));
  world.ip("address add 192.0.2.10/24 dev far");
  world.ip("address add 2001:db8::10/64 dev far nodad");
  const theirs = /link\/ether (\S+)/.exec(world.ip("link show far"))?.[1] ?? "";
  world.held.sync(wanted, world.uplinks);
  await until("the link was asked", () => world.held.taken().size === 2);
  for (const where of world.held.taken().values()) assert.equal(where, `${theirs} on device ${world.uplinks[0]?.index}`);
  assert.deepEqual([...world.held.answered()], []);
  assert.equal(lines.filter((line) => line.includes("another machine on the link has an address of a service")).length, 2);
  assert.equal(world.believed(addresses[0] ?? parseIp("::")), "", "nothing was announced");

  world.ip("address delete 192.0.2.10/24 dev far");
  world.ip("address delete 2001:db8::10/64 dev far");
  world.held.sync(wanted, world.uplinks);
  await systemClock.sleep(400);
  assert.equal(world.held.taken().size, 2, "nobody asks before the time");
  time.ahead = 11;
  world.held.sync(wanted, world.uplinks);
  await until("they are held", () => world.held.answered().size === 2);
  assert.equal(world.held.taken().size, 0);
  for (const address of addresses) {
    world.ask(address);
    assert.match(world.believed(address), new RegExp(`lladdr ${mac}`));
  }
});

test("a server with the addresses on lo: of IPv4 it says that they are its own until arp_ignore is 1, of IPv6 it says nothing", async () => {
  const [lines, time]: [string[], { ahead: number }] = [[], { ahead: 0 }];
  await using world = await link({ time, lines });
  const wanted = new Map(addresses.map((address) => [address, null]));
  const [four = parseIp("::"), six = parseIp("::")] = addresses;
  world.ip("link set lo up");
  world.ip(`address add ${four}/32 dev lo`);
  world.ip(`address add ${six}/128 dev lo`);
  world.held.sync(wanted, world.uplinks);
  await until("the link was asked", () => world.held.taken().size > 0 && world.held.answered().size > 0);
  assert.deepEqual([[...world.held.taken().keys()], [...world.held.answered().keys()]], [[four], [six]]);
  assert.match(lines.join(), /set arp_ignore=1 there/);

  world.setting("arp_ignore", 1);
  time.ahead = 11;
  world.held.sync(wanted, world.uplinks);
  await until("both are held", () => world.held.answered().size === 2);
  assert.equal(world.held.taken().size, 0);
});

test("a server with an address on lo that asks in its name has what is not certain here; with arp_announce at 2 it asks in its own", async () => {
  const lines: string[] = [];
  await using world = await link({ lines });
  const [address = parseIp("::")] = addresses;
  world.held.sync(new Map([[address, systemClock.now() - 5000]]), world.uplinks);
  await until("it is held", () => world.held.answered().has(address));
  world.ip("link set lo up");
  world.ip(`address add ${address}/32 dev lo`);
  world.setting("arp_ignore", 1);
  world.setting("arp_announce", 2);
  world.askAs(address, parseIp("192.0.2.9"));
  assert.deepEqual([...world.held.answered().keys()], [address]);
  world.setting("arp_announce", 0);
  world.askAs(address, parseIp("192.0.2.8"));
  await until("it is the server's", () => world.held.answered().size === 0);
});

test("a machine that is given an address which is certainly held is noticed when it speaks in its name, and as long as it answers", async () => {
  const [lines, time]: [string[], { ahead: number }] = [[], { ahead: 0 }];
  await using world = await link({ time, lines });
  const [address] = addresses;
  assert.ok(address);
  const look = (): void => world.held.sync(new Map([[address, null]]), world.uplinks);
  look();
  await until("it is held", () => world.held.answered().size === 1);
  world.ip("address add 192.0.2.10/24 dev far");
  const theirs = /link\/ether (\S+)/.exec(world.ip("link show far"))?.[1] ?? "";
  world.askAs(parseIp("192.0.2.10"), parseIp("192.0.2.77"));
  look();
  assert.match(world.held.rivals().get(address) ?? "", new RegExp(`^${theirs} on device ${world.uplinks[0]?.index}, \\d+ time`));
  assert.equal(lines.filter((line) => line.includes("says that it has an address of a service")).length, 1);
  const count = (): number => Number(/(\d+) time/.exec(world.held.rivals().get(address) ?? "")?.[1] ?? 0);
  const before = count();
  for (const ahead of [11, 22]) {
    time.ahead = ahead;
    look();
    await systemClock.sleep(300);
  }
  look();
  assert.ok(count() > before, "it is asked, and answers");
  world.ip("address delete 192.0.2.10/24 dev far");
  for (const ahead of [33, 60, 90]) {
    time.ahead = ahead;
    look();
    await systemClock.sleep(100);
  }
  assert.equal(world.held.rivals().size, 0);
  assert.deepEqual([...world.held.answered().keys()], [address]);
});

test("of two uplinks on one link each answers, certain or not, and what one announces does not hide a machine that the other has heard", async () => {
  const lines: string[] = [];
  await using world = await link({ lines, two: true });
  const [address = parseIp("::")] = addresses;
  const states = (): readonly unknown[] => world.uplinks.map(({ index }) => world.tables.held.get({ addr: address, ifindex: index })?.state);
  world.held.sync(new Map([[address, systemClock.now() - 5000]]), world.uplinks);
  await until("it is held", () => world.held.answered().has(address));
  await systemClock.sleep(100);
  assert.deepEqual(states(), [LbHeldState.ANSWERED, LbHeldState.ANSWERED]);

  const look = (): void => world.held.sync(new Map([[address, null]]), world.uplinks);
  look();
  world.ip(`address add ${address}/24 dev far`);
  const theirs = /link\/ether (\S+)/.exec(world.ip("link show far"))?.[1] ?? "";
  world.askAs(address, parseIp("192.0.2.77"));
  world.ip(`address delete ${address}/24 dev far`);
  const frames = (): number => [...world.tables.rivals.entries()].reduce((sum, [, { frames }]) => sum + frames, 0);
  const before = frames();
  assert.ok(before > 0, "both have heard it");
  world.held.announce();
  await systemClock.sleep(200);
  assert.equal(frames(), before);
  look();
  assert.match(world.held.rivals().get(address) ?? "", new RegExp(`^${theirs} on device \\d+, `));
});
