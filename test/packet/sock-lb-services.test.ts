// sock-lb: programs of the host and of containers reach services, and the packets that leave them know nothing of it.
//
//   program ── connect 203.0.113.10:80 ──▶ [sock-lb] slot of the socket's cookie ──▶ 10.44.0.11:80 │ 10.44.0.12:80
//   (the program sees 203.0.113.10:80)
import test from "ava";
import { openHomes } from "../../src/datapath/homes.ts";
import { createKernel } from "../../src/kernel/index.ts";
import { parseIp } from "../../src/std/ip.ts";
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
  world = await buildWorld("services", {
    hostAddresses: ["192.0.2.1"],
    servers: ["10.44.0.11@80", "10.44.0.12@80", "10.44.0.13@8080", "fd44::11@80", "fd44::12@80", "192.0.2.1@7000"],
    containerServers: ["10.44.0.11@80", "10.44.9.2@80"],
    ownNamespaceOnly: true,
    setRetval: true,
  });
  services = writeServices(world.map);
  [host, container] = [world.session("host"), world.session("container")];
  for (const [number, at] of ["10.44.0.11@80", "10.44.0.12@80", "10.44.0.13@8080", "fd44::11@80", "fd44::12@80", "10.44.9.2@80"].entries()) services.backend(number + 1, at);
});

test.serial.after.always(async () => {
  services?.[Symbol.dispose]();
  await world?.[Symbol.asyncDispose]();
});

const [one, two, three] = ["10.44.0.11 80", "10.44.0.12 80", "10.44.0.13 8080"];

test.serial("TCP reaches a backend, and the program sees the service's address", async (t) => {
  services.service(1, [1]);
  services.frontend("203.0.113.1@80", 1);
  services.service(2, [4]);
  services.frontend("2001:db8::1@80", 2);
  for (const program of [host, container]) {
    await program.do("open a tcp");
    t.deepEqual(await program.do("connect a 203.0.113.1 80"), { said: one });
    t.deepEqual(await program.do("peer a"), { peer: "203.0.113.1 80" });
    await program.do("open b tcp inet6");
    t.deepEqual(await program.do("connect b ::ffff:203.0.113.1 80"), { said: one }, "a v4-mapped address is IPv4");
    t.deepEqual(await program.do("peer b"), { peer: "::ffff:203.0.113.1 80" });
  }
  await host.do("open c tcp inet6");
  t.deepEqual(await host.do("connect c 2001:db8::1 80"), { said: "fd44::11 80" });
  t.deepEqual(await host.do("peer c"), { peer: "2001:db8::1 80" });
});

test.serial("datagrams are answered from the service's address, connected or not", async (t) => {
  services.service(3, [3]);
  services.frontend("203.0.113.3@53", 3);
  services.service(4, [5]);
  services.frontend("2001:db8::4@53", 4);
  await host.do("open a udp");
  t.deepEqual(await host.do("send a 203.0.113.3 53"), { said: three, from: "203.0.113.3 53" });
  await host.do("open b udp inet6");
  t.deepEqual(await host.do("send b ::ffff:203.0.113.3 53"), { said: three, from: "::ffff:203.0.113.3 53" });
  t.deepEqual(await host.do("send b 2001:db8::4 53"), { said: "fd44::12 80", from: "2001:db8::4 53" });
  await host.do("connect a 203.0.113.3 53");
  t.deepEqual(await host.do("ask a"), { said: three, from: "203.0.113.3 53" });
  t.deepEqual(await host.do("peer a"), { peer: "203.0.113.3 53" });
  await host.do("open c udp inet6");
  await host.do("connect c 2001:db8::4 53");
  t.deepEqual(await host.do("ask c"), { said: "fd44::12 80", from: "2001:db8::4 53" });
  t.deepEqual(await host.do("peer c"), { peer: "2001:db8::4 53" });
});

test.serial("one socket speaks to many services, also to several with one backend", async (t) => {
  await host.do("open a udp");
  for (let i = 1; i <= 8; i++) {
    services.service(10 + i, [1 + (i % 2)]);
    services.frontend(`203.0.113.${10 + i}@53`, 10 + i);
  }
  for (const round of [1, 2]) {
    for (let i = 1; i <= 8; i++) {
      t.deepEqual(await host.do(`send a 203.0.113.${10 + i} 53`), { said: i % 2 === 1 ? two : one, from: `203.0.113.${10 + i} 53` }, `round ${round}`);
    }
  }
});

test.serial("what a socket does beside services is its own", async (t) => {
  services.service(20, [1]);
  services.frontend("203.0.113.20@80", 20);
  await host.do("open a udp");
  t.deepEqual(await host.do("send a 203.0.113.20 80"), { said: one, from: "203.0.113.20 80" });
  t.deepEqual(await host.do("send a 10.44.0.12 80"), { said: two, from: "10.44.0.12 80" });
  await host.do("open b udp");
  await host.do("connect b 203.0.113.20 80");
  t.deepEqual(await host.do("peer b"), { peer: "203.0.113.20 80" });
  await host.do("connect b 10.44.0.11 80");
  t.deepEqual(await host.do("peer b"), { peer: "10.44.0.11 80" }, "the backend itself, after the service");
});

test.serial("flows are spread as the slots are", async (t) => {
  services.service(30, Array.from({ length: 100 }, (_, slot) => (slot % 4 === 0 ? 2 : 1)));
  services.frontend("203.0.113.30@80", 30);
  const spread = await host.do("spread 400 203.0.113.30 80");
  t.deepEqual(Object.keys(spread).toSorted(), [one, two]);
  const share = Number(spread[two]) / 400;
  t.true(share > 0.14 && share < 0.36, `${share} of the flows for a quarter of the slots`);
});

test.serial("a service without backends, and a port that is none of a service's, refuse at once", async (t) => {
  services.service(40, []);
  services.frontend("203.0.113.40@80", 40);
  services.service(41, [0, 0, 0]);
  services.frontend("203.0.113.41@80", 41);
  services.frontend("203.0.113.42@80", 42);
  for (const to of ["203.0.113.40 80", "203.0.113.41 80", "203.0.113.42 80", "203.0.113.41 81"]) {
    for (const program of [host, container]) {
      await program.do("open a tcp");
      t.deepEqual(await program.do(`connect a ${to}`), { error: "ECONNREFUSED" }, to);
      await program.do("open b udp");
      t.deepEqual(await program.do(`connect b ${to}`), { error: "ECONNREFUSED" }, to);
      t.deepEqual(await program.do(`send b ${to}`), { error: "ECONNREFUSED" }, to);
    }
  }
});

test.serial("an address that is the host's as well keeps its other ports", async (t) => {
  services.service(50, [2]);
  services.frontend("192.0.2.1@80", 50, true);
  await host.do("open a tcp");
  t.deepEqual(await host.do("connect a 192.0.2.1 80"), { said: two });
  await host.do("open b tcp");
  t.deepEqual(await host.do("connect b 192.0.2.1 7000"), { said: "192.0.2.1 7000" });
  t.deepEqual(await host.do("peer b"), { peer: "192.0.2.1 7000" });
});

test.serial("a published port of the host's stands beside services", async (t) => {
  world.publish("0.0.0.0", 8080, "10.44.0.12", 80);
  for (const address of ["127.0.0.1", "192.0.2.1"]) {
    await host.do("open a tcp");
    t.deepEqual(await host.do(`connect a ${address} 8080`), { said: two });
    t.deepEqual(await host.do("peer a"), { peer: `${address} 8080` });
  }
  await host.do("open b udp");
  t.deepEqual(await host.do("send b 127.0.0.1 8080"), { said: two, from: "127.0.0.1 8080" });
});

test.serial("a backend that is down is never chosen; if all are, nobody is", async (t) => {
  services.backend(20, "10.44.0.12@80", "down");
  services.service(60, Array.from({ length: 100 }, (_, slot) => (slot % 10 === 0 ? 20 : 1)));
  services.frontend("203.0.113.60@80", 60);
  t.deepEqual(await host.do("spread 100 203.0.113.60 80"), { [one]: 100 });
  services.service(60, Array.from({ length: 100 }, () => 20));
  await host.do("open a tcp");
  t.deepEqual(await host.do("connect a 203.0.113.60 80"), { error: "ECONNREFUSED" });
});

test.serial("what is connected stays where it is, whatever becomes of the slots", async (t) => {
  services.service(70, [1]);
  services.frontend("203.0.113.70@80", 70);
  await host.do("open a tcp");
  await host.do("connect a 203.0.113.70 80");
  await host.do("open b udp");
  await host.do("connect b 203.0.113.70 80");
  services.service(70, [2]);
  t.deepEqual(await host.do("ask a"), { said: one });
  t.deepEqual(await host.do("ask b"), { said: one, from: "203.0.113.70 80" });
  await host.do("open c tcp");
  t.deepEqual(await host.do("connect c 203.0.113.70 80"), { said: two }, "new ones go where the slot says");
});

test.serial("a socket without connection keeps its backend while the slot has a history, and leaves one that is down", async (t) => {
  services.backend(21, "10.44.0.11@80");
  services.service(80, [21]);
  services.frontend("203.0.113.80@53", 80);
  const answer = (said: string): unknown => ({ said, from: "203.0.113.80 53" });
  await host.do("open a udp");
  t.deepEqual(await host.do("send a 203.0.113.80 53"), answer(one));
  services.service(80, [[2, 21, 1]]);
  t.deepEqual(await host.do("send a 203.0.113.80 53"), answer(one));
  await host.do("open b udp");
  t.deepEqual(await host.do("send b 203.0.113.80 53"), answer(two), "one that is new goes to the current one");
  services.backend(21, "10.44.0.13@8080");
  t.deepEqual(await host.do("send a 203.0.113.80 53"), answer(two), "the number is another's now");
  services.backend(21, "10.44.0.11@80");
  services.service(80, [[21, 2, 1]]);
  t.deepEqual(await host.do("send a 203.0.113.80 53"), answer(two));
  services.backend(2, "10.44.0.12@80", "down");
  t.deepEqual(await host.do("send a 203.0.113.80 53"), answer(one));
  services.backend(2, "10.44.0.12@80");
  services.service(80, [2]);
  t.deepEqual(await host.do("send a 203.0.113.80 53"), answer(two), "a settled slot has one backend");
});

test.serial("a service's sources are asked for the client's own address, and who is not known may not", async (t) => {
  services.service(90, [1], { allow: ["0.0.0.0/0"], deny: ["10.44.9.0/24"] });
  services.frontend("203.0.113.90@80", 90);
  services.service(91, [1], { allow: ["10.44.9.0/24"] });
  services.frontend("203.0.113.91@80", 91);
  const connect = async (more: string, to: string): Promise<unknown> => {
    await container.do(`open a tcp ${more}`);
    return container.do(`connect a ${to} 80`);
  };
  for (const to of ["203.0.113.90", "203.0.113.91"]) t.deepEqual(await connect("", to), { error: "EPERM" }, "nobody has said who the container is");
  const home = { namespace: world.namespaces.container, ipv4: parseIp("10.44.9.2"), ipv6: null };
  const gone = { namespace: `${world.namespaces.container}-gone`, ipv4: parseIp("10.44.9.3"), ipv6: null };
  const homes = openHomes(createKernel(), world.map("hw_lb_homes"));
  t.false(homes.sync([home, gone]), "one of the namespaces is not there");
  t.deepEqual(await connect("", "203.0.113.90"), { error: "EPERM" });
  t.deepEqual(await connect("", "203.0.113.91"), { said: one });
  t.deepEqual(await connect("from=10.44.9.2", "203.0.113.91"), { said: one });
  t.deepEqual(await connect("from=10.44.0.11", "203.0.113.91"), { error: "EPERM" }, "by the address that it is bound to");
  t.deepEqual(await connect("from=10.44.0.11", "203.0.113.90"), { said: one });
  await container.do("open b udp");
  t.deepEqual(await container.do("send b 203.0.113.90 80"), { error: "EPERM" });
  t.deepEqual(await container.do("send b 203.0.113.91 80"), { said: one, from: "203.0.113.91 80" });
  t.true(homes.sync([{ ...home, ipv4: parseIp("10.44.8.2") }]));
  t.deepEqual(await connect("", "203.0.113.90"), { said: one }, "it has another address now");
  t.deepEqual(await connect("", "203.0.113.91"), { error: "EPERM" });
  t.true(openHomes(createKernel(), world.map("hw_lb_homes")).sync([]), "what an earlier agent wrote goes, too");
  t.deepEqual(await connect("", "203.0.113.90"), { error: "EPERM" }, "and now none that is known");
});

test.serial("with affinity a client has one backend, by each of its sockets and after the slots change", async (t) => {
  services.service(100, Array.from({ length: 100 }, (_, slot) => 1 + (slot % 2)), { affinity: 60 });
  services.frontend("203.0.113.100@80", 100);
  const first = await host.do("spread 20 203.0.113.100 80");
  t.is(Object.keys(first).length, 1, JSON.stringify(first));
  const [chosen = ""] = Object.keys(first);
  services.service(100, Array.from({ length: 100 }, () => (chosen === one ? 2 : 1)), { affinity: 60 });
  t.deepEqual(await host.do("spread 20 203.0.113.100 80"), { [chosen]: 20 });
  await host.do("open a udp");
  t.deepEqual(await host.do("send a 203.0.113.100 80"), { said: chosen, from: "203.0.113.100 80" });
  services.backend(chosen === one ? 1 : 2, chosen.replace(" ", "@"), "down");
  t.deepEqual(await host.do("spread 20 203.0.113.100 80"), { [chosen === one ? two : one]: 20 });
  services.backend(chosen === one ? 1 : 2, chosen.replace(" ", "@"));
});

test.serial("with affinity new sockets leave a backend that takes nothing new, and those that are led to it stay", async (t) => {
  services.service(101, [1], { affinity: 60 });
  services.frontend("203.0.113.101@80", 101);
  await host.do("open a udp");
  t.deepEqual(await host.do("send a 203.0.113.101 80"), { said: one, from: "203.0.113.101 80" });
  services.service(101, [2], { affinity: 60 });
  t.deepEqual(await host.do("spread 5 203.0.113.101 80"), { [one]: 5 });
  services.close(101, 1);
  t.deepEqual(await host.do("spread 5 203.0.113.101 80"), { [two]: 5 });
  t.deepEqual(await host.do("send a 203.0.113.101 80"), { said: one, from: "203.0.113.101 80" });
  await host.do("open b udp");
  t.deepEqual(await host.do("send b 203.0.113.101 80"), { said: two, from: "203.0.113.101 80" });
  services.open(101, 1);
  t.deepEqual(await host.do("spread 5 203.0.113.101 80"), { [two]: 5 }, "its clients have another now");
  services.close(101, 2);
  services.service(101, [[0, 2, 1]], { affinity: 60 });
  await host.do("open c tcp");
  t.deepEqual(await host.do("connect c 203.0.113.101 80"), { error: "ECONNREFUSED" });
  t.deepEqual(await host.do("send b 203.0.113.101 80"), { said: two, from: "203.0.113.101 80" });
});

test.serial("a backend that calls its own service and gets itself is answered", async (t) => {
  services.service(110, [6]);
  services.frontend("203.0.113.110@80", 110);
  await container.do("open a tcp");
  t.deepEqual(await container.do("connect a 203.0.113.110 80"), { said: "10.44.9.2 80" });
  await container.do("open b udp");
  t.deepEqual(await container.do("send b 203.0.113.110 80"), { said: "10.44.9.2 80", from: "203.0.113.110 80" });
});

test.serial("before Linux 5.18 a refusal says EPERM", async (t) => {
  await using old = await buildWorld("services-old", { hostAddresses: [], servers: ["10.44.0.11@80"], ownNamespaceOnly: true, setRetval: false });
  using written = writeServices(old.map);
  written.service(1, []);
  written.frontend("203.0.113.1@80", 1);
  t.deepEqual(await old.host("tcp", "203.0.113.1", "80"), { error: "EPERM" });
});
