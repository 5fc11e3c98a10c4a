// The walk of docs/walks/container-to-container.md, packet by packet.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, hostMac, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { arp, ip, ipv6, neighbourDiscovery, tcp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

test.serial("over IPv4: the neighbour is asked for, the connection opened, answered and closed", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, arp("request", { mac: a.mac, ip: "10.44.0.2" }, { ip: "10.44.0.3" }), { destination: "ff:ff:ff:ff:ff:ff" }), {
    verdict: "redirect", packet: `${hostMac} > ${a.mac} arp 10.44.0.3 is at ${hostMac} told 10.44.0.2 at ${a.mac}`,
  });
  for (const flags of ["S", "A", "FA"]) {
    t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, flags, flags === "A" ? "hello" : ""))), {
      verdict: "redirect", packet: `${hostMac} > ${b.mac} 10.44.0.2:5000 > 10.44.0.3:80 tcp ${[..."FSRPA"].filter((letter) => flags.includes(letter)).join("")} ttl 64`,
    });
  }
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "SA"))), {
    verdict: "redirect", packet: `${hostMac} > ${a.mac} 10.44.0.3:80 > 10.44.0.2:5000 tcp SA ttl 64`,
  });
});

test.serial("over IPv6: the same", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ipv6("fd44::2", "ff02::1:ff00:3", neighbourDiscovery(135, "fd44::3", a.mac), { ttl: 255 }), { destination: "33:33:ff:00:00:03" }), {
    verdict: "redirect", packet: `${hostMac} > ${a.mac} fd44::3 > fd44::2 nd 136 fd44::3 at ${hostMac} flags 60 ttl 255`,
  });
  t.deepEqual(await bench.fromContainer(a, ip("fd44::2", "fd44::3", tcp(5000, 80, "S"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} [fd44::2]:5000 > [fd44::3]:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("fd44::3", "fd44::2", tcp(80, 5000, "SA"))), { verdict: "redirect", packet: `${hostMac} > ${a.mac} [fd44::3]:80 > [fd44::2]:5000 tcp SA ttl 64` });
});
