// The walk of docs/walks/container-to-world.md, packet by packet.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, hostMac, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { ip, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

for (const [family, source, uplink, target] of [["IPv4", "10.44.0.2", "192.0.2.1", "198.51.100.7"], ["IPv6", "fd44::2", "2001:db8::1", "2001:db8:7::7"]] as const) {
  const bracket = (address: string): string => (address.includes(":") ? `[${address}]` : address);
  for (const [protocol, payload] of [["tcp A", (sport: number, dport: number) => tcp(sport, dport, "A", "hello")], ["udp", (sport: number, dport: number) => udp(sport, dport, "hello")]] as const) {
    test.serial(`over ${family}, ${protocol}: out as the uplink's address, one hop less; the answer comes back as the container's`, async (t) => {
      const { bench } = t.context;
      const out = await bench.fromContainer(a, ip(source, target, payload(5000, 80)));
      const port = Number(/.*:(\d+) > /.exec(out.packet)?.[1]);
      t.deepEqual(out, { verdict: "redirect", packet: `${a.mac} > ${hostMac} ${bracket(uplink)}:${port} > ${bracket(target)}:80 ${protocol} ttl 63` });
      t.deepEqual(await bench.fromUplink(ip(target, uplink, payload(80, port))), {
        verdict: "redirect", packet: `${hostMac} > ${a.mac} ${bracket(target)}:80 > ${bracket(source)}:5000 ${protocol} ttl 64`,
      });
      t.is((await bench.fromContainer(a, ip(source, target, payload(5000, 80)))).packet, out.packet, "the flow keeps its port");
    });
  }
}
