// Other namespaces as seen from ours: which veth leads where, whatever a namespace says of itself.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { inspectNamespaces } from "../../../src/kernel/index.ts";
import { isolatedTests, until } from "./isolated.ts";

const test = isolatedTests(import.meta.url);

const ip = (...words: string[]): string => execFileSync("ip", words).toString();

/** A process in a new network namespace. */
async function neighbour() {
  const child = spawn("unshare", ["--net", "sleep", "infinity"], { stdio: "ignore" });
  await once(child, "spawn");
  const namespace = (pid: number | "self"): string => readlinkSync(`/proc/${pid}/ns/net`);
  const pid = child.pid ?? 0;
  await until("it has a namespace of its own", () => namespace(pid) !== namespace("self"));
  return {
    pid, path: `/proc/${pid}/ns/net`,
    inside: (...words: string[]) => execFileSync("nsenter", [`--net=/proc/${pid}/ns/net`, "ip", ...words]).toString(),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

test("a veth's host end, MAC and global addresses are found from the namespace's file", async () => {
  await using other = await neighbour();
  ip("link", "add", "va", "type", "veth", "peer", "name", "eth0", "address", "02:00:00:00:00:0b", "netns", String(other.pid));
  other.inside("address", "add", "10.9.0.2/24", "dev", "eth0");
  other.inside("address", "add", "fd09::2/64", "dev", "eth0", "nodad");
  other.inside("link", "set", "eth0", "up");
  const [view, gone] = await inspectNamespaces([other.path, "/proc/4194305/ns/net"]);
  assert.equal(gone, null);
  assert.equal(view?.own, false);
  const [eth0, ...more] = view.devices;
  assert.deepEqual(more, []);
  const index = Number(/^(\d+): va@/m.exec(ip("-o", "link", "show", "va"))?.[1]);
  assert.deepEqual({ ...eth0, addresses: eth0?.addresses.toSorted() },
    { name: "eth0", index: eth0?.index, mac: "02:00:00:00:00:0b", kind: "veth", host: { name: "va", index }, addresses: ["10.9.0.2/24", "fd09::2/64"] });
});

test("our own namespace is known as such", async () => {
  const [view] = await inspectNamespaces(["/proc/self/ns/net"]);
  assert.equal(view?.own, true);
  assert.deepEqual(view.devices, []);
});

test("a veth between two other namespaces is nobody's on this host, though an index of ours fits", async () => {
  await using victim = await neighbour();
  await using attacker = await neighbour();
  ip("link", "add", "va", "index", "77", "type", "veth", "peer", "name", "eth0", "index", "78", "netns", String(victim.pid));
  // The same numbers as the victim's cable has, made by a container that may make devices: its peer is in a namespace of its own.
  attacker.inside("link", "add", "eth0", "index", "78", "type", "veth", "peer", "name", "other", "index", "77");
  attacker.inside("link", "add", "mv", "link", "eth0", "type", "macvlan");
  const [seen, wanted] = await inspectNamespaces([attacker.path, victim.path]);
  assert.deepEqual(seen?.devices.map(({ host }) => host), [null, null, null]);
  assert.equal(seen.devices.find(({ name }) => name === "mv")?.kind, "macvlan");
  assert.deepEqual(wanted?.devices.map(({ host }) => host), [{ name: "va", index: 77 }]);
});
