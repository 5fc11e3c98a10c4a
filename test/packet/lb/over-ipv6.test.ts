// Nodes that reach one another over IPv6: what another node wraps reaches the container here, whose answers leave as ever.
//
//   2001:db8::9 ▸ Geneve over IPv6 ▸ netdev ▸ a (10.44.0.2:8080, [fd44::2]:8080)
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { a, hostMac, openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { ip, tcp, udp } from "../packets.ts";
import { wrapped } from "./wrapped.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const from = "2001:db8::9";
const into = `${hostMac} > ${a.mac}`;
const config = { services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv6: parseIp("2001:db8::1") };

test.before(async (t) => {
  const bench = (t.context.bench = await openBench(config));
  await bench.otherNode({ address: from, containers: ["10.44.9.2"], identity: 77, network: 1 });
});
test.beforeEach(async (t) => { await t.context.bench.forget(); });
test.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

test.serial("IPv4 in IPv6", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(wrapped("10.44.0.2", 8080, ip("198.51.100.7", "203.0.113.200", tcp(5000, 80, "S")), { from })), { verdict: "redirect", packet: `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp S ttl 64` });
  t.deepEqual(await bench.fromUplink(wrapped("fd44::2", 53, ip("2001:db8:c::7", "2001:db8:5::20", udp(5000, 53, "x")), { from })), { verdict: "redirect", packet: `${into} [2001:db8:c::7]:5000 > [fd44::2]:53 udp ttl 64` });
});
