// sock-lb: the host's own programs reach published ports at every address of the host, and cannot take those ports.
//
//   host program ── connect 127.0.0.1:8080 ──▶ [sock-lb] ──▶ 10.44.0.2:80     (the program sees 127.0.0.1:8080)
//   (in the cgroup and the host's namespace)            └──▶ fd44::2:80
import test from "ava";
import { buildWorld } from "./sock-lb-world.ts";
import type { World } from "./sock-lb-world.ts";

let world: World;

test.serial.before(async () => {
  world = await buildWorld("main", {
    hostAddresses: ["192.0.2.1", "2001:db8::1"],
    servers: ["10.44.0.2@80", "fd44::2@80", "192.0.2.1@7000"],
    ownNamespaceOnly: true,
    setRetval: true,
  });
  world.publish("0.0.0.0", 8080, "10.44.0.2", 80);
  world.publish("::", 8080, "fd44::2", 80);
  world.publish("127.0.0.1", 8081, "10.44.0.2", 80);
  world.publish("::1", 8082, "10.44.0.2", 80);
  world.publish("192.0.2.1", 8083, "10.44.0.2", 80);
  world.publish("0.0.0.0", 8084, "10.44.0.2", 80);
  world.publish("::", 8085, "10.44.0.2", 80);
});

test.serial.after.always(() => world?.[Symbol.asyncDispose]());

const backend4 = "10.44.0.2 80";
const backend6 = "fd44::2 80";

test.serial("TCP to a port published everywhere reaches the backend by every address of the host", async (t) => {
  for (const address of ["127.0.0.1", "127.9.9.9", "192.0.2.1"]) {
    t.deepEqual(await world.host("tcp", address, "8080"), { said: backend4, peer: `${address} 8080` });
  }
  for (const address of ["::1", "2001:db8::1"]) {
    t.deepEqual(await world.host("tcp", address, "8080"), { said: backend6, peer: `${address} 8080` });
  }
});

test.serial("0.0.0.0 and :: as destinations mean loopback, as everywhere on Linux", async (t) => {
  t.deepEqual(await world.host("tcp", "0.0.0.0", "8080"), { said: backend4, peer: "127.0.0.1 8080" });
  t.deepEqual(await world.host("tcp", "::", "8080"), { said: backend6, peer: "::1 8080" });
});

test.serial("a v4-mapped destination of an IPv6 socket is IPv4", async (t) => {
  t.deepEqual(await world.host("tcp", "::ffff:127.0.0.1", "8080", "inet6"), { said: backend4, peer: "::ffff:127.0.0.1 8080" });
  t.deepEqual(await world.host("udp", "::ffff:127.0.0.1", "8080", "inet6"), { said: backend4, from: "::ffff:127.0.0.1 8080" });
});

test.serial("[::1] may lead to a container that has only IPv4", async (t) => {
  t.deepEqual(await world.host("tcp", "::1", "8082"), { said: backend4, peer: "::1 8082" });
  t.deepEqual(await world.host("tcp", "::1", "8085"), { said: backend4, peer: "::1 8085" });
  t.deepEqual(await world.host("connected-udp", "::1", "8082"), { said: backend4, peer: "::1 8082", from: "::1 8082" });
});

test.serial("datagrams are answered from the address that the program named, connected or not", async (t) => {
  t.deepEqual(await world.host("udp", "127.0.0.1", "8080"), { said: backend4, from: "127.0.0.1 8080" });
  t.deepEqual(await world.host("udp", "192.0.2.1", "8080"), { said: backend4, from: "192.0.2.1 8080" });
  t.deepEqual(await world.host("udp", "::1", "8080"), { said: backend6, from: "::1 8080" });
  t.deepEqual(await world.host("connected-udp", "127.0.0.1", "8080"), { said: backend4, peer: "127.0.0.1 8080", from: "127.0.0.1 8080" });
  t.deepEqual(await world.host("connected-udp", "::1", "8080"), { said: backend6, peer: "::1 8080", from: "::1 8080" });
});

test.serial("a port published at one address is not published at another", async (t) => {
  t.deepEqual(await world.host("tcp", "127.0.0.1", "8081"), { said: backend4, peer: "127.0.0.1 8081" });
  t.deepEqual(await world.host("tcp", "192.0.2.1", "8081"), { error: "ECONNREFUSED" });
  t.deepEqual(await world.host("tcp", "192.0.2.1", "8083"), { said: backend4, peer: "192.0.2.1 8083" });
  t.deepEqual(await world.host("tcp", "127.0.0.1", "8083"), { error: "ECONNREFUSED" });
});

test.serial("what is not published, and what is not the host's, is left alone", async (t) => {
  t.deepEqual(await world.host("tcp", "192.0.2.1", "7000"), { said: "192.0.2.1 7000", peer: "192.0.2.1 7000" });
  t.deepEqual(await world.host("tcp", "10.44.0.2", "80"), { said: backend4, peer: "10.44.0.2 80" });
  t.deepEqual(await world.host("tcp", "10.44.0.2", "8080"), { error: "ECONNREFUSED" });
});

test.serial("a program outside the cgroup and a container in another namespace are not touched", async (t) => {
  t.deepEqual(await world.outsider("tcp", "127.0.0.1", "8080"), { error: "ECONNREFUSED" });
  t.deepEqual(await world.outsider("bind", "tcp", "127.0.0.1", "8080"), { bound: true });
  t.deepEqual(await world.container("tcp", "127.0.0.1", "8080"), { error: "ECONNREFUSED" });
  t.deepEqual(await world.container("bind", "tcp", "0.0.0.0", "8080"), { bound: true });
});

test.serial("a published port is in use for the host's own programs", async (t) => {
  const taken = { error: "EADDRINUSE" };
  for (const kind of ["tcp", "udp"]) {
    for (const address of ["0.0.0.0", "127.0.0.1", "192.0.2.1", "::", "::1", "2001:db8::1", "::ffff:127.0.0.1"]) {
      t.deepEqual(await world.host("bind", kind, address, "8080"), taken, `${kind} ${address}`);
    }
  }
  t.deepEqual(await world.host("bind", "tcp", "127.0.0.1", "8081"), taken);
  t.deepEqual(await world.host("bind", "tcp", "0.0.0.0", "8081"), taken, "0.0.0.0 holds 127.0.0.1");
  t.deepEqual(await world.host("bind", "tcp", "::", "8084"), taken, ":: holds 0.0.0.0");
});

test.serial("ports that are not published, other addresses and port 0 may be bound", async (t) => {
  const bound = { bound: true };
  t.deepEqual(await world.host("bind", "tcp", "0.0.0.0", "0"), bound);
  t.deepEqual(await world.host("bind", "udp", "::", "0"), bound);
  t.deepEqual(await world.host("bind", "tcp", "0.0.0.0", "9000"), bound);
  t.deepEqual(await world.host("bind", "tcp", "192.0.2.1", "8081"), bound);
  t.deepEqual(await world.host("bind", "tcp", "::1", "8084"), bound);
});

test.serial("the agent's own bind, which asks whether a host program holds a port, meets host programs only", async (t) => {
  t.deepEqual(await world.agent("bind", "tcp", "::", "8084", "v6only"), { bound: true });
});

test.serial("without a namespace cookie every namespace is the host's, and before Linux 5.18 a refused bind says EPERM", async (t) => {
  await using old = await buildWorld("old", { hostAddresses: [], servers: ["10.44.0.2@80"], ownNamespaceOnly: false, setRetval: false });
  old.publish("0.0.0.0", 8080, "10.44.0.2", 80);
  t.deepEqual(await old.host("tcp", "127.0.0.1", "8080"), { said: backend4, peer: "127.0.0.1 8080" });
  t.deepEqual(await old.host("bind", "tcp", "0.0.0.0", "8080"), { error: "EPERM" });
  t.deepEqual(await old.container("bind", "tcp", "0.0.0.0", "8080"), { error: "EPERM" });
});
