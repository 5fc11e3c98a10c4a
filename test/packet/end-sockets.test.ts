// Sockets of programs that were led to a backend which is gone: ended in whatever namespace they are, and no others.
import test from "ava";
import { writeFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { endSockets } from "../../src/datapath/end-sockets.ts";
import type { GoneBackend } from "../../src/datapath/end-sockets.ts";
import { parseIp } from "../../src/std/ip.ts";
import { scratchFolder } from "../scratch.ts";
import { writeServices } from "./sock-lb-services.ts";
import type { Services } from "./sock-lb-services.ts";
import type { Session } from "./sock-lb-session.ts";
import { buildWorld } from "./sock-lb-world.ts";
import type { World } from "./sock-lb-world.ts";

let world: World;
let services: Services;
let host: Session;
let container: Session;

test.serial.before(async () => {
  const servers = ["10.44.0.11@80", "10.44.0.12@80", "fd44::11@80"];
  world = await buildWorld("end", { hostAddresses: [], servers, containerServers: servers, ownNamespaceOnly: true, setRetval: true });
  services = writeServices(world.map);
  [host, container] = [world.session("host"), world.session("container")];
  for (const [number, at] of servers.entries()) services.backend(number + 1, at);
  services.service(1, [1]);
  services.service(2, [1]);
  services.service(3, [3]);
  services.service(4, [2]);
  for (const [at, service] of [["203.0.113.1@80", 1], ["203.0.113.2@80", 2], ["2001:db8::3@80", 3], ["203.0.113.4@80", 4]] as const) services.frontend(at, service);
});

test.serial.after.always(async () => {
  services?.[Symbol.dispose]();
  await world?.[Symbol.asyncDispose]();
});

const gone = (protocol: "tcp" | "udp", address = "10.44.0.11"): GoneBackend => ({ protocol, address: parseIp(address), port: 80 });
const endIn = (namespaces: readonly string[], ...backends: readonly GoneBackend[]): Promise<number> =>
  endSockets(new Map(["hw_sock_connected", "hw_sock_udp"].map((name) => [name, world.map(name)])), namespaces, backends);
const end = (...backends: readonly GoneBackend[]): Promise<number> => endIn([world.namespaces.host, world.namespaces.container], ...backends);
const ended = { error: "ECONNABORTED" };

async function connected(program: Session, name: string, kind: string, to: string): Promise<void> {
  await program.do(`open ${name} ${kind}`);
  const { error } = await program.do(`connect ${name} ${to} 80`);
  if (error !== undefined) throw new Error(`${to}: ${String(error)}`);
}

test.serial("TCP ends at once in every namespace, for those who wait too, and a new connection is had at once", async (t) => {
  for (const program of [host, container]) {
    await connected(program, "a", "tcp", "203.0.113.1");
    await connected(program, "b", "tcp inet6", "::ffff:203.0.113.1");
    await connected(program, "other", "tcp", "203.0.113.4");
    await connected(program, "direct", "tcp", "10.44.0.11");
  }
  const waiting = [host, container].map((program) => program.do("wait a"));
  services.service(1, [2]);
  t.is(await end(gone("tcp")), 4);
  t.deepEqual(await Promise.all(waiting), [ended, ended]);
  for (const program of [host, container]) {
    t.deepEqual(await program.do("ask b"), ended, "an IPv6 socket that is connected to an IPv4 backend");
    t.deepEqual(await program.do("ask other"), { said: "10.44.0.12 80" });
    t.deepEqual(await program.do("ask direct"), { said: "10.44.0.11 80" }, "a program's own connection is its own");
    await program.do("open a tcp");
    t.deepEqual(await program.do("connect a 203.0.113.1 80"), { said: "10.44.0.12 80" });
  }
  t.is(await end(gone("tcp")), 0);
  services.service(1, [1]);
});

test.serial("UDP that is connected ends as well, and what is not connected goes on", async (t) => {
  await connected(container, "a", "udp", "203.0.113.1");
  await container.do("open b udp");
  await container.do("send b 203.0.113.1 80");
  const waiting = container.do("wait a");
  t.is(await end(gone("tcp"), gone("udp")), 1);
  t.deepEqual(await waiting, ended);
  t.deepEqual(await container.do("ask a"), { error: "EDESTADDRREQ" }, "it is connected to nobody");
  services.service(1, [2]);
  t.deepEqual(await container.do("send b 203.0.113.1 80"), { said: "10.44.0.12 80", from: "203.0.113.1 80" });
  services.service(1, [1]);
});

test.serial("IPv6 ends, and the protocol and port tell backends apart", async (t) => {
  await connected(host, "a", "tcp inet6", "2001:db8::3");
  await connected(host, "b", "udp inet6", "2001:db8::3");
  t.is(await end({ ...gone("tcp", "fd44::11"), port: 81 }, gone("tcp", "fd44::12")), 0);
  t.is(await end(gone("tcp", "fd44::11")), 1);
  t.deepEqual(await host.do("ask a"), ended);
  t.deepEqual(await host.do("ask b"), { said: "fd44::11 80", from: "2001:db8::3 80" });
  t.is(await end(gone("udp", "fd44::11")), 1);
});

test.serial("of a backend that only one service has lost, the other's sockets stay", async (t) => {
  await connected(host, "a", "tcp", "203.0.113.1");
  await connected(host, "b", "tcp", "203.0.113.2");
  t.is(await end({ ...gone("tcp"), through: [{ address: parseIp("203.0.113.2"), port: 80 }] }), 1);
  t.deepEqual(await host.do("ask a"), { said: "10.44.0.11 80" });
  t.deepEqual(await host.do("ask b"), ended);
  t.is(await end(gone("tcp")), 1);
});

test.serial("a backend that one change took out of one service, and the next out of another, is gone from both", async (t) => {
  await connected(host, "a", "tcp", "203.0.113.1");
  await connected(host, "b", "tcp", "203.0.113.2");
  const from = (address: string): GoneBackend => ({ ...gone("tcp"), through: [{ address: parseIp(address), port: 80 }] });
  t.is(await end(from("203.0.113.1"), from("203.0.113.2")), 2);
  t.deepEqual(await host.do("ask a"), ended);
  t.deepEqual(await host.do("ask b"), ended);
});

test.serial("a socket that went elsewhere afterwards is not taken for the service's", async (t) => {
  await connected(host, "a", "udp", "203.0.113.1");
  await host.do("connect a 10.44.0.11 80");
  t.is(await end(gone("udp")), 0);
  t.deepEqual(await host.do("ask a"), { said: "10.44.0.11 80", from: "10.44.0.11 80" });
});

test.serial("thousands of backends may go at once, in any place of the list", async (t) => {
  const others = Array.from({ length: 2500 }, (_, i) => gone("tcp", i % 2 === 0 ? `10.45.${i >> 8}.${i & 255}` : `fd45::${i.toString(16)}`));
  for (const at of [0, 999, 1000, 1777, 2500]) {
    await connected(host, "a", "tcp", "203.0.113.1");
    t.is(await end(...others.slice(0, at), gone("tcp"), ...others.slice(at)), 1, `${at}`);
    t.deepEqual(await host.do("ask a"), ended);
  }
});

test.serial("a namespace that is gone has no sockets and stops nothing; what else fails is told when the rest is done", async (t) => {
  const folder = scratchFolder("end");
  writeFileSync(join(folder, "empty"), "");
  try {
    await connected(host, "a", "tcp", "203.0.113.1");
    const paths = [join(folder, "none"), join(folder, "empty"), world.namespaces.host, world.namespaces.host];
    t.is(await endIn(paths, gone("tcp")), 1);
    t.deepEqual(await host.do("ask a"), ended);
    await connected(host, "a", "tcp", "203.0.113.1");
    await t.throwsAsync(endIn([join(folder, "empty/none"), world.namespaces.host], gone("tcp")), { instanceOf: AggregateError });
    t.deepEqual(await host.do("ask a"), ended);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
