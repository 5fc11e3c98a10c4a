// Probes in networks that a test can break: packets that vanish, ports that run out, and a kernel that answers for nobody.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createAsk } from "../../src/health/ask.ts";
import type { Verdict } from "../../src/health/answer.ts";
import type { Asked } from "../../src/health/types.ts";
import { parseIp } from "../../src/std/ip.ts";
import { isolatedTests } from "./kernel/isolated.ts";

const test = isolatedTests(import.meta.url);

const ip = (command: string): void => void execFileSync("ip", command.split(" "));
const localPorts = (first: number, last: number): void => writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", `${first} ${last}`);

async function probe(address: string, port: number, kind: Asked["kind"] = "tcp", timeout = 500): Promise<Verdict> {
  const { promise, resolve } = Promise.withResolvers<Verdict>();
  const asked = createAsk()({ key: 1, address: parseIp(address), port, kind, path: "/", interval: 1000, timeout }, resolve);
  const timer = setTimeout(() => setImmediate(() => resolve(asked.stop())), timeout);
  const verdict = await promise;
  clearTimeout(timer);
  return verdict;
}

test("whose packets vanish on the way does not answer", async () => {
  ip("link add near type veth peer name far");
  for (const device of ["near", "far"]) ip(`link set ${device} up arp off`);
  ip("address add 192.0.2.1/24 dev near");
  ip("address add 2001:db8::1/64 dev near nodad");
  for (const address of ["192.0.2.7", "2001:db8::7"]) assert.deepEqual(await probe(address, 80), { ok: false, why: "no answer in 500 ms" });
});

test("who has no route is not reached", async () => {
  ip("link set lo up");
  for (const address of ["192.0.2.7", "2001:db8::7"]) assert.deepEqual(await probe(address, 80, "http"), { ok: false, why: "no route to it" });
});

test("a probe that got the very port for its own end that it asks for is not taken for an answer", async () => {
  ip("link set lo up");
  localPorts(18_080, 18_081);
  for (let round = 0; round < 4; round++) {
    for (const kind of ["tcp", "http"] as const) {
      for (const address of ["127.0.0.1", "::1"]) assert.deepEqual(await probe(address, 18_080, kind), { ok: false, why: "connection refused" });
    }
  }
});

test("a node that has no ports left finds nobody ill", async () => {
  ip("link set lo up");
  localPorts(18_080, 18_081);
  const server = createServer().listen(80, "127.0.0.1");
  await once(server, "listening");
  const held = [0, 1].map(() => connect(80, "127.0.0.1"));
  for (const socket of held) await once(socket, "connect");
  assert.deepEqual(await probe("127.0.0.1", 80), { ok: null, why: "this node has no address of its own for it, or no port left" });
  for (const socket of held) socket.destroy();
  server.close();
});
