// A packet that goes on, of whose flow this node knows nothing: whoever else has the slot by this node's own tables is asked, as passOn (src/lb/choose.ts) has it.
//
//   another node, 192.0.2.9 ▸ Geneve, for a ▸ netdev ▸ known, a's ▸ a (10.44.0.2:8080)
//                                                    ▸ unknown ▸ Geneve, passed on 1 ▸ 1 (10.44.9.1 on 172.16.9.1), 3 (10.44.9.3 on 172.16.9.3)
//                                                                IPIP ▸ 5, a plain server (172.16.1.5)
//   backends: 2 is a, 4 another container here
import anyTest from "ava";
import type { TestFn } from "ava";
import { LbServiceFlags } from "../../../src/abi/generated.ts";
import { mostPassed, passOn } from "../../../src/lb/choose.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { a, b, hostMac, openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { icmpError, ip, ipv4, protocols, slice, tcp, udp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import type { SlotEntry } from "./tables.ts";
import { wrapped } from "./wrapped.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [client4, client6, web4, web6] = ["198.51.100.7", "2001:db8:c::7", "203.0.114.30", "2001:db8:5::30"];
const into = `${hostMac} > ${a.mac}`;
const changed = 10;

async function slot4(bench: Bench, slot: SlotEntry, flags = 0): Promise<void> {
  await bench.service(2, { address: parseIp(web4), port: 80, protocol: protocols.tcp }, { address: a.ipv4, port: 8080, mode: "LOCAL" }, { slot, flags });
}

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench({ services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") }));
  await bench.otherNode({ address: "192.0.2.9", containers: ["10.44.9.2"], identity: 77, network: 1 });
  for (const n of [1, 3]) await bench.backend(n, { address: parseIp(`10.44.9.${n}`), outer: parseIp(`172.16.9.${n}`), port: 8080, mode: "GENEVE" });
  await bench.backend(4, { address: b.ipv4, port: 8080, mode: "LOCAL" });
  await bench.backend(5, { address: parseIp("172.16.1.5"), port: 80, mode: "IPIP" });
  await bench.backend(11, { address: parseIp("fd44:9::1"), outer: parseIp("172.16.9.1"), port: 8080, mode: "GENEVE" });
});
test.serial.beforeEach(async (t) => {
  await t.context.bench.forget();
  await slot4(t.context.bench, { current: 1, previous: 2, changed });
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const goesOn = (sport = 5000, flags = "A"): Packet => ip(client4, web4, tcp(sport, 80, flags, "x"));
const toA = (inner: Packet, passed = 0): Packet => wrapped("10.44.0.2", 8080, inner, { passed });
/** Where it went: `2` to a, `N +M` to another node, passed on M times, `5` to the server; otherwise the verdict. */
async function went(bench: Bench, packet: Packet): Promise<string> {
  const { verdict, data } = await bench.raw(packet);
  if (verdict !== 7) return (await bench.fromUplink(packet)).verdict;
  const hex = Buffer.from(data).toString("hex");
  if (hex.startsWith(a.mac.replaceAll(":", ""))) return "2";
  if (hex.slice(60, 68) === "ac100105") return "5";
  const [, outer, option] = /^.{60}ac1009(..).{16}03406558.{8}ff4881020a2c09(..1f90..00)/.exec(hex) ?? [];
  return outer === undefined || option === undefined ? hex : `${Number.parseInt(outer, 16)}${option.slice(0, 2) === outer ? "" : " in another's name"} +${Number.parseInt(option.slice(6, 8), 16)}`;
}

test.serial("of a flow that it knows the node asks nobody, whatever the slot says", async (t) => {
  const { bench } = t.context;
  t.is(await went(bench, toA(ip(client4, web4, tcp(5000, 80, "S")))), "2");
  for (const flags of ["A", "PA", "FA", "R"]) t.is(await went(bench, toA(goesOn(5000, flags))), "2", flags);
});

test.serial("what it knows not goes to the other backend's node as the client sent it, marked, and opens nothing here", async (t) => {
  const { bench } = t.context;
  for (const flags of ["A", "PA", "FA", "R", "SA"]) t.is(await went(bench, toA(goesOn(5001, flags))), "1 +1", flags);
  t.deepEqual(await bench.flows(), []);
  const { data } = await bench.raw(toA(goesOn(5001)));
  const inner = goesOn(5001);
  t.is(Buffer.from(data.subarray(data.length - inner.bytes.length)).toString("hex"), Buffer.from(inner.bytes).toString("hex"));
});

test.serial("a packet that begins, and a datagram, are served here", async (t) => {
  const { bench } = t.context;
  t.is(await went(bench, toA(ip(client4, web4, tcp(5002, 80, "S")))), "2");
  await bench.service(7, { address: parseIp(web4), port: 53, protocol: protocols.udp }, { address: a.ipv4, port: 53, mode: "LOCAL" }, { slot: { current: 1, previous: 7, changed } });
  t.is(await went(bench, wrapped("10.44.0.2", 53, ip(client4, web4, udp(5002, 53, "who?")))), "2");
});

test.serial("passed on twice it is served here, though this node would pass it on: there is no loop", async (t) => {
  const { bench } = t.context;
  t.is(await went(bench, toA(goesOn(5003), 1)), "1 +2");
  for (const passed of [2, 3, 255]) t.is(await went(bench, toA(goesOn(5003 + passed), passed)), "2", `${passed}`);
  t.is(mostPassed, 2);
});

test.serial("every slot, as the model has it", async (t) => {
  const { bench } = t.context;
  let sport = 6000;
  const asked = new Map<number, number>();
  for (const current of [0, 1, 2, 3, 4, 5]) {
    for (const previous of [0, 1, 2, 3, 4, 5]) {
      for (const at of [0, changed]) {
        await slot4(bench, { current, previous, ...(at === 0 ? {} : { changed: at }) });
        const to = passOn(2, { current, previous, changed: at });
        asked.set(to, (asked.get(to) ?? 0) + 1);
        // Of a container here this node knows the flows: it has not that one.
        t.is(await went(bench, toA(goesOn(sport++))), to === 0 || to === 4 ? "2" : to === 5 ? "5" : `${to} +1`, `${current} ${previous} ${at}`);
      }
    }
  }
  t.deepEqual([...asked.keys()].toSorted(), [0, 1, 3, 4, 5]);
});

test.serial("a backend that is down is not asked", async (t) => {
  const { bench } = t.context;
  await bench.backend(3, { address: parseIp("10.44.9.3"), outer: parseIp("172.16.9.3"), port: 8080, mode: "GENEVE", down: true });
  await slot4(bench, { current: 3, previous: 2, changed });
  t.is(await went(bench, toA(goesOn(5010))), "2");
  await slot4(bench, { current: 3, previous: 1, changed });
  t.is(await went(bench, toA(goesOn(5011))), "1 +1");
  await bench.backend(3, { address: parseIp("10.44.9.3"), outer: parseIp("172.16.9.3"), port: 8080, mode: "GENEVE" });
});

test.serial("a server that is asked in the balancing node's name is not asked from here: who is not known here is told so by the container", async (t) => {
  const { bench } = t.context;
  await bench.backend(6, { address: parseIp("172.16.1.6"), port: 80, mode: "SNAT" });
  await slot4(bench, { current: 2, previous: 6, changed });
  t.is(await went(bench, toA(goesOn(5015))), "2");
  await slot4(bench, { current: 6, previous: 2, changed });
  t.is(await went(bench, toA(goesOn(5016))), "2");
});

test.serial("what this node has recorded when it balanced itself is surer than its slot", async (t) => {
  const { bench } = t.context;
  await slot4(bench, { current: 3, previous: 2, changed });
  t.is(await went(bench, ip(client4, web4, tcp(5020, 80, "S"))), "3 +0");
  await slot4(bench, { current: 1, previous: 2, changed });
  t.is(await went(bench, toA(goesOn(5020))), "3 +1");
  await slot4(bench, { current: 2, previous: 1, changed });
  t.is(await went(bench, ip(client4, web4, tcp(5021, 80, "S"))), "2");
  await bench.forget();
  t.is(await went(bench, toA(goesOn(5021))), "2", "it is a's, and conntrack has lost it");
});

test.serial("this node's own choice of a container here asks as well", async (t) => {
  const { bench } = t.context;
  t.is(await went(bench, goesOn(5030)), "1 +1");
  t.is(await went(bench, ip(client4, web4, tcp(5031, 80, "S"))), "1 +0", "it begins, and is the current one's");
  await slot4(bench, { current: 2 });
  t.is(await went(bench, goesOn(5032)), "2");
  await slot4(bench, { current: 2, previous: 1 });
  t.is(await went(bench, goesOn(5033)), "1 +1", "settled here, and maybe not elsewhere");
  t.is(await went(bench, ip(client4, web4, tcp(5034, 80, "S"))), "2");
  t.is(await went(bench, goesOn(5034)), "2");
});

test.serial("errors and fragments follow their flow", async (t) => {
  const { bench } = t.context;
  const error = (sport: number): Packet => ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, tcp(80, sport, "A")), { mtu: 1400 }));
  t.is(await went(bench, toA(error(5040))), "1 +1");
  t.is(await went(bench, error(5040)), "1 +1", "from the client's side");
  t.is(await went(bench, toA(error(5040), 2)), "drop ICMP_WITHOUT_FLOW");
  await bench.fromUplink(toA(ip(client4, web4, tcp(5041, 80, "S"))));
  t.is(await went(bench, toA(error(5041))), "2");
  const part = (offset: number, more: boolean): Packet => toA(ipv4(client4, web4, slice(tcp(5042, 80, "A", "x".repeat(76)), offset, 48), { id: 77, offset, more }));
  t.is(await went(bench, part(48, false)), "drop FRAGMENT_WITHOUT_FIRST");
  t.is(await went(bench, part(0, true)), "1 +1");
  t.is(await went(bench, part(48, false)), "1 +1");
});

test.serial("of a service that this node does not know it serves everything", async (t) => {
  const { bench } = t.context;
  t.is(await went(bench, toA(ip(client4, "203.0.113.200", tcp(5050, 80, "A", "x")))), "2");
});

test.serial("where clients stay with a backend the slot is the client's", async (t) => {
  const { bench } = t.context;
  await slot4(bench, { current: 1, previous: 2, changed }, LbServiceFlags.AFFINITY);
  t.is(await went(bench, toA(goesOn(5060))), "1 +1");
});

test.serial("where a client's backend takes nothing new its flows still reach it, also by another node, and what begins is served elsewhere", async (t) => {
  const { bench } = t.context;
  const of = (sport: number, flags: string): Packet => ip("198.51.100.9", web4, tcp(sport, 80, flags, flags === "S" ? "" : "x"));
  await slot4(bench, { current: 2 }, LbServiceFlags.AFFINITY);
  t.is(await went(bench, of(5100, "S")), "2");
  await slot4(bench, { current: 3, previous: 2, changed }, LbServiceFlags.AFFINITY);
  await bench.close(2, 2);
  for (const packet of [of(5100, "A"), toA(of(5100, "A"))]) t.is(await went(bench, packet), "2");
  for (const flags of ["S", "A"]) t.is(await went(bench, of(5101, flags)), "3 +0", flags);
  t.is(await went(bench, toA(of(5101, "A"))), "3 +1", "by a node that knows nothing of the client");
  t.is(await went(bench, toA(of(5102, "A"))), "3 +1", "and nobody knows of it");
  await slot4(bench, { current: 1, previous: 2, changed }, LbServiceFlags.AFFINITY);
  t.is(await went(bench, toA(of(5101, "A"))), "3 +1", "recorded");
});

test.serial("IPv6", async (t) => {
  const { bench } = t.context;
  await bench.service(12, { address: parseIp(web6), port: 80, protocol: protocols.tcp }, { address: parseIp("fd44::2"), port: 8080, mode: "LOCAL" }, { slot: { current: 11, previous: 12, changed } });
  const on = (passed: number): Packet => wrapped("fd44::2", 8080, ip(client6, web6, tcp(5070, 80, "A", "x")), { passed });
  const { verdict, data } = await bench.raw(on(1));
  t.is(verdict, 7);
  t.regex(Buffer.from(data).toString("hex"), /^.{24}0800.{32}ac100901.{16}06406558.{8}ff488105fd440009000000000000000000000001 ?1f900200/);
  t.regex((await bench.fromUplink(on(2))).packet, /\[2001:db8:c::7\]:5070 > \[fd44::2\]:8080 tcp A ttl 64$/);
});

test.serial("what the service's client may not be is refused by who serves it", async (t) => {
  const { bench } = t.context;
  t.is(await went(bench, toA(ip("10.44.0.3", web4, tcp(5080, 80, "A", "x")), 2)), "drop MARTIAN");
  t.is((await bench.fromUplink(toA(goesOn(5081), 2))).packet, `${into} 198.51.100.7:5081 > 10.44.0.2:8080 tcp A ttl 64`);
});
